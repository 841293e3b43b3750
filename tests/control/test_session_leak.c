/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * max_prefixes is exact: whatever a peer leaks, another peer never has more than `limit` of its
 * prefixes, with one shard and with four. A peer that stays within the limit is never refused a
 * prefix, in whatever order its prefixes come and go.
 */
#include "control/session/session.h"

#include "tests/control/own_net.h"
#include "tests/control/session_calls.h"
#include "tests/lpm/rng.h"
#include "tests/lpm/size.h"

#define OWN_AS 64512u
#define OWN_ID 0xc0000201u
#define LEAKS 65001u
#define HEARS 65002u
#define LIMIT 100u
#define PREFIXES (1u << 17)
#define LEAKED thread_turns(100000, 20000)
#define NEXT_HOP 0xc0000263u
#define V4 FAMILY_IPV4_UNICAST

static struct node n;
static struct script leaks, hears;

/* Neighbours are in different ranges of 12 bits, so of different shards. */
static struct prefix
prefix_at(unsigned i)
{
	return prefix_from_v4(0x0a000000u + (i % 32 << 20) + (i / 32 << 8), 24);
}

static unsigned
index_of(const struct prefix *p)
{
	uint32_t a = prefix_v4(p) - 0x0a000000u;

	return (a >> 20) + (a >> 8 & 0xfff) * 32;
}

/* ---- the receiver: its routes at any time ---- */

static struct heard {
	_Atomic bool has[PREFIXES];
	_Atomic unsigned now, most;
	_Atomic bool wrong;
	pthread_t thread;
} heard;

static void
hear_field(const struct bgp_nlri_field *f, bool present)
{
	struct rd r = f->nlri;
	struct nlri nlri;

	while (nlri_read(&r, V4, false, &nlri)) {
		unsigned i = index_of(&nlri.prefix);

		if (i >= PREFIXES) {
			heard.wrong = true;
			continue;
		}
		if (heard.has[i] != present)
			heard.now += present ? 1 : -1u;
		heard.has[i] = present;
	}
	if (heard.now > heard.most)
		heard.most = heard.now;
}

/* Reads until the connection ends. */
static void *
hear(void *arg)
{
	static union {
		struct attr_set a;
		uint8_t room[ATTR_SET_MAX];
	} attrs;
	struct bgp_update_options o = {.as4 = true, .families = 1, .external = true};
	const uint8_t *p;

	(void)arg;
	while ((p = script_next(&hears)) != NULL) {
		struct bgp_update u;

		if (hears.type != BGP_UPDATE)
			continue;
		bgp_update_decode(p, hears.len, &o, &attrs.a, &u);
		for (unsigned i = 0; i < u.withdrawn_count; i++)
			hear_field(&u.withdrawn[i], false);
		for (unsigned i = 0; i < u.announced_count; i++)
			hear_field(&u.announced[i], true);
	}
	return NULL;
}

static void
begin(unsigned shards, struct config_peer *c)
{
	struct config_peer h = peer_config(HEARS, OWN_AS, 3);
	struct bgp_open_options o = script_open(HEARS, 0xc0000303u);

	node_shards = shards;
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, c, policy_accept_all());
	node_peer(&n, 2, &h, policy_accept_all());
	memset(&heard, 0, sizeof(heard));
	script_establish(&hears, &n, 3, &o);
	wait_for(node_view(&n, 2).state == FSM_ESTABLISHED);
	assert_int_equal(pthread_create(&heard.thread, NULL, hear, NULL), 0);
}

static void
leaks_establish(void)
{
	struct bgp_open_options o = script_open(LEAKS, 0xc0000302u);

	script_establish(&leaks, &n, 2, &o);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
}

static void
end(void)
{
	assert_false(heard.wrong);
	shutdown(hears.fd, SHUT_RDWR);
	pthread_join(heard.thread, NULL);
	script_close(&hears);
	node_end(&n);
	node_shards = 1;
}

/* ---- messages of the peer ---- */

static uint64_t updates; /* UPDATEs of this session */

static void
attrs_with(union script_attrs *a, uint32_t med)
{
	script_attrs(a, LEAKS, NEXT_HOP);
	a->a.med = med;
	a->a.has |= ATTR_HAS_MED;
	attr_set_derive(&a->a);
}

/* UPDATEs of prefixes [from, to); `attrs` NULL: withdrawn. False: the connection ended. */
static bool
say(const struct attr_set *attrs, unsigned from, unsigned to)
{
	struct bgp_encode_options o = {.as4 = true, .send_communities = true};
	uint8_t msg[BGP_MSG_MAX];

	while (from < to) {
		struct update_packer u;
		size_t len;

		assert_true(update_packer_begin(&u, V4, attrs, &o, msg, sizeof(msg)));
		for (; from < to; from++) {
			struct prefix p = prefix_at(from);

			if (!update_packer_add(&u, &p, 0))
				break;
		}
		len = update_packer_finish(&u);
		if (send(leaks.fd, msg, len, MSG_NOSIGNAL) != (ssize_t)len)
			return false;
		updates++;
	}
	return true;
}

static uint64_t
refused(void)
{
	uint64_t r[REFUSED_CAUSES];

	shards_peer_refused(&n.shards, (struct peer_id){1}, V4, r);
	return r[REFUSED_PREFIX_LIMIT];
}

static uint64_t
counted(void)
{
	struct adj_rib_in_counts c;

	shards_peer_counts(&n.shards, (struct peer_id){1}, V4, &c);
	return c.counted;
}

static unsigned
shard_at(const struct prefix *p)
{
	return shards_of(&n.shards, SHARDS_BY_NETWORK, p);
}

/*
 * Begins a node with an established peer that may announce LIMIT prefixes. Returns the peer's
 * configuration; sets attributes of MED 1.
 */
static struct config_peer
begin_limited(unsigned shards, enum max_prefixes_action action, union script_attrs *a)
{
	struct config_peer c = peer_config(LEAKS, OWN_AS, 2);

	c.families[V4].max_prefixes = LIMIT;
	c.families[V4].max_prefixes_action = (uint8_t)action;
	begin(shards, &c);
	leaks_establish();
	attrs_with(a, 1);
	return c;
}

struct leak {
	unsigned shards;
	enum max_prefixes_action action;
	unsigned prefixes;
};

static void
leak(const struct leak *l)
{
	struct config_peer c = peer_config(LEAKS, OWN_AS, 2);
	union script_attrs a;

	c.families[V4].max_prefixes = LIMIT;
	c.families[V4].max_prefixes_action = (uint8_t)l->action;
	c.families[V4].max_prefixes_threshold = 80;
	begin(l->shards, &c);
	leaks_establish();
	attrs_with(&a, 1);
	say(&a.a, 0, l->prefixes); /* the connection may end meanwhile */
	if (l->action == MAX_PREFIXES_DISCARD) {
		wait_for(refused() == l->prefixes - LIMIT);
		assert_int_equal(counted(), LIMIT);
		wait_for(heard.now == LIMIT);
		wait_for(node_view(&n, 1).families[V4].max_prefixes_exceeded);
		assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
		assert_int_equal(
			speaker_limit_level(n.speaker, (struct peer_id){1}, V4), LIMIT_PASSED);
	} else {
		wait_for(node_view(&n, 1).held);
		assert_string_equal(node_view(&n, 1).last_error,
			"sent cease/maximum-number-of-prefixes-reached");
		wait_for(counted() == 0);
		wait_for(heard.now == 0);
	}
	assert_true(heard.most <= LIMIT);
	script_close(&leaks);
	wait_for(heard.now == 0);
	end();
}

static void
test_leaks(void **state)
{
	static const struct leak leaks_[] = {
		{1, MAX_PREFIXES_SHUTDOWN, LIMIT + 10},
		{1, MAX_PREFIXES_SHUTDOWN, LEAKED},
		{1, MAX_PREFIXES_DISCARD, LIMIT + 10},
		{1, MAX_PREFIXES_DISCARD, LEAKED},
		{4, MAX_PREFIXES_SHUTDOWN, LIMIT + 10},
		{4, MAX_PREFIXES_SHUTDOWN, LEAKED},
		{4, MAX_PREFIXES_DISCARD, LIMIT + 10},
		{4, MAX_PREFIXES_DISCARD, LEAKED},
	};

	for (unsigned i = 0; i < sizeof(leaks_) / sizeof(leaks_[0]); i++)
		leak(&leaks_[i]);
}

/*
 * An UPDATE withdraws a prefix and announces a prefix of another shard: the limit always allows the
 * exchange.
 */
static void
swap(const struct attr_set *attrs, unsigned from, unsigned to)
{
	struct bgp_encode_options o = {.as4 = true, .send_communities = true};
	struct prefix was = prefix_at(from), is = prefix_at(to);
	uint8_t msg[BGP_MSG_MAX], withdrawn[] = {24, was.b[0], was.b[1], was.b[2]};
	struct update_packer u;
	size_t len;

	assert_true(update_packer_begin(&u, V4, attrs, &o, msg, sizeof(msg)));
	assert_true(update_packer_add(&u, &is, 0));
	len = update_packer_finish(&u);
	memmove(msg + BGP_HEADER_LEN + 2 + sizeof(withdrawn), msg + BGP_HEADER_LEN + 2,
		len - BGP_HEADER_LEN - 2);
	memcpy(msg + BGP_HEADER_LEN + 2, withdrawn, sizeof(withdrawn));
	len += sizeof(withdrawn);
	msg[BGP_HEADER_LEN + 1] = sizeof(withdrawn);
	msg[16] = (uint8_t)(len >> 8);
	msg[17] = (uint8_t)len;
	script_send(&leaks, msg, len);
	updates++;
}

/* True when the shards have applied all UPDATEs. */
static bool
all_done(void)
{
	struct prefix last = prefix_at(PREFIXES - 1);

	return node_paths_of(&n, &last, NULL) == 1;
}

/*
 * No prefix of a peer within its limit is refused. (The receiver's intermediate state is not
 * checked: of changes sent together, announcements precede withdrawals.)
 */
static void
within(unsigned shards)
{
	struct rng rng = {shards};
	unsigned have[LIMIT], count = LIMIT, next = LIMIT;
	union script_attrs a, b;

	begin_limited(shards, MAX_PREFIXES_SHUTDOWN, &a);
	attrs_with(&b, 2);
	assert_true(say(&a.a, 0, LIMIT));
	for (unsigned i = 0; i < LIMIT; i++)
		have[i] = i;
	for (unsigned i = 0; i < thread_turns(20000, 3000); i++) {
		unsigned k = (unsigned)(rng_next(&rng) % LIMIT),
			 what = (unsigned)(rng_next(&rng) % 4);

		if (what == 0 && count == LIMIT) { /* announced twice: counts once */
			assert_true(say(i % 2 ? &a.a : &b.a, have[k], have[k] + 1));
		} else if (what == 1 && count < LIMIT) {
			have[count++] = next;
			assert_true(say(&a.a, next, next + 1));
			next++;
		} else if (what == 2 && count > 1) {
			k %= count;
			assert_true(say(NULL, have[k], have[k] + 1));
			have[k] = have[--count];
		} else {
			k %= count;
			swap(&b.a, have[k], next);
			have[k] = next++;
		}
	}
	assert_true(say(NULL, have[0], have[0] + 1));
	assert_true(say(&a.a, PREFIXES - 1, PREFIXES));
	wait_for(all_done());
	wait_for(counted() == count);
	assert_int_equal(refused(), 0);
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	wait_for(heard.now == count);
	/* fill up to the limit, plus one: refused */
	assert_true(say(&a.a, next, next + LIMIT - count + 1));
	wait_for(node_view(&n, 1).held);
	script_close(&leaks);
	wait_for(heard.now == 0);
	end();
}

#define SWAPS thread_turns(50000u, 3000u)

static _Atomic bool all_sent;

static void *
swap_all(void *arg)
{
	const union script_attrs *a = arg;

	for (unsigned i = 0; i < SWAPS && !node_view(&n, 1).held; i++)
		swap(&a->a, i, LIMIT + i);
	all_sent = true;
	return NULL;
}

/* Each prefix again and again, each time with another MED. */
static void *
replace_all(void *arg)
{
	union script_attrs a;

	(void)arg;
	for (unsigned i = 0; i < SWAPS && !node_view(&n, 1).held; i++) {
		attrs_with(&a, i);
		say(&a.a, i % LIMIT, i % LIMIT + 1);
	}
	all_sent = true;
	return NULL;
}

/* The most prefixes of a peer at its limit that a reader of the counts sees while `changes` runs. */
static void
counted_meanwhile(unsigned shards, void *(*changes)(void *))
{
	uint64_t most = 0, sent, until;
	union script_attrs a;
	pthread_t thread;

	begin_limited(shards, MAX_PREFIXES_SHUTDOWN, &a);
	updates = 0;
	assert_true(say(&a.a, 0, LIMIT));
	wait_for(counted() == LIMIT);
	all_sent = false;
	assert_int_equal(pthread_create(&thread, NULL, changes, &a), 0);
	until = now_ns() + WAIT_MS * 1000000ull;
	do {
		uint64_t sum;

		sent = all_sent ? updates : UINT64_MAX;
		if (shards_peer_counted(&n.shards, 0, (struct peer_id){1}, V4, &sum) && sum > most)
			most = sum;
	} while (node_view(&n, 1).updates_received < sent && now_ns() < until);
	pthread_join(thread, NULL);
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	assert_int_equal(node_view(&n, 1).updates_received, updates);
	script_close(&leaks);
	wait_for(heard.now == 0);
	end();
	assert_int_equal(most, LIMIT);
}

/*
 * Each UPDATE of a peer at its limit exchanges a prefix for a prefix of another shard. The sum of the
 * shards never exceeds the limit (shards_peer_counts() does).
 */
static void
test_counted_meanwhile(void **state)
{
	counted_meanwhile(4, swap_all);
}

/* A replaced path never counts twice, not even for a moment: such a peer was shut down. */
static void
test_replaced_meanwhile(void **state)
{
	counted_meanwhile(1, replace_all);
	counted_meanwhile(4, replace_all);
}

static void
test_within(void **state)
{
	within(1);
	within(4);
}

static void
update_config(struct config_peer *c)
{
	struct session_policies policies = {
		.export_policy = {policy_accept_all()}, .has_import = {true}};
	struct node_call call = {.n = &n, .id = {1}, .config = c, .policies = &policies};

	thread_call(n.session, call_update, &call);
	assert_false(call.result);
}

/*
 * A limit lowered below the current number: existing prefixes stay, new prefixes are refused. A
 * raised limit: the peer is asked for the discarded prefixes.
 */
static void
lowered(unsigned shards)
{
	struct config_peer c;
	struct bgp_refresh r = {0};
	union script_attrs a;
	const uint8_t *p;

	c = begin_limited(shards, MAX_PREFIXES_DISCARD, &a);
	assert_true(say(&a.a, 0, LIMIT));
	wait_for(counted() == LIMIT);
	c.families[V4].max_prefixes = LIMIT / 2;
	update_config(&c);
	assert_true(say(&a.a, LIMIT, LIMIT + 10));
	wait_for(refused() == 10);
	assert_int_equal(counted(), LIMIT);
	assert_true(say(NULL, 0, LIMIT / 2));
	assert_true(say(&a.a, LIMIT, LIMIT + 10));
	wait_for(refused() == 20);
	assert_int_equal(counted(), LIMIT / 2);
	assert_true(say(NULL, LIMIT / 2, LIMIT / 2 + 3));
	assert_true(say(&a.a, LIMIT, LIMIT + 10));
	wait_for(refused() == 27);
	assert_int_equal(counted(), LIMIT / 2);
	c.families[V4].max_prefixes = LIMIT;
	update_config(&c);
	do {
		p = script_next(&leaks);
		assert_non_null(p);
	} while (leaks.type != BGP_ROUTE_REFRESH);
	assert_int_equal(bgp_refresh_decode(p, leaks.len, true, &r).severity, BGP_OK);
	assert_int_equal(r.subtype, REFRESH_REQUEST);
	assert_true(say(&a.a, LIMIT, LIMIT + 10));
	wait_for(counted() == LIMIT / 2 + 7);
	wait_for(heard.now == LIMIT / 2 + 7);
	assert_true(heard.most <= LIMIT);
	script_close(&leaks);
	end();
}

static void
test_lowered(void **state)
{
	lowered(1);
	lowered(4);
}

#define ALL_SHARDS UINT32_MAX

/* Several UPDATEs in the queues of the shards exceed the limit, a single UPDATE does not. */
static void
test_waiting_updates_count(void **state)
{
	union script_attrs a;

	begin_limited(4, MAX_PREFIXES_DISCARD, &a);
	assert_true(say(&a.a, 0, 60));
	wait_for(counted() == 60);
	assert_true(say(NULL, 0, 60));
	wait_for(counted() == 0);
	node_pause_shards(&n, ALL_SHARDS);
	assert_true(say(&a.a, 0, 60));
	assert_true(say(&a.a, 60, LIMIT + 10));
	wait_for(node_view(&n, 1).updates_received == 4);
	node_pause_shards(&n, 0);
	wait_for(counted() + refused() == LIMIT + 10);
	assert_int_equal(counted(), LIMIT);
	script_close(&leaks);
	end();
}

/* The limit is raised while prefixes above the limit are queued: keeld requests the routes again. */
static void
raised_meanwhile(unsigned shards)
{
	struct config_peer c;
	union script_attrs a;

	c = begin_limited(shards, MAX_PREFIXES_SHUTDOWN, &a);
	assert_true(say(&a.a, 0, 1));
	wait_for(counted() == 1);
	node_pause_shards(&n, ALL_SHARDS);
	assert_true(say(&a.a, 1, LIMIT + 10));
	wait_for(node_view(&n, 1).updates_received == 2);
	c.families[V4].max_prefixes = 2 * LIMIT;
	update_config(&c);
	node_pause_shards(&n, 0);
	do {
		assert_non_null(script_next(&leaks));
	} while (leaks.type != BGP_ROUTE_REFRESH);
	assert_true(say(&a.a, 0, LIMIT + 10));
	wait_for(counted() == LIMIT + 10);
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	assert_int_equal(speaker_limit_level(n.speaker, (struct peer_id){1}, V4), LIMIT_KEPT);
	script_close(&leaks);
	end();
}

static void
test_raised_meanwhile(void **state)
{
	raised_meanwhile(1);
	raised_meanwhile(4);
}

/* A peer at the limit exchanges a prefix; a shard withdraws the old prefix late: no warning. */
static void
test_late_withdrawal(void **state)
{
	struct config_peer c = peer_config(LEAKS, OWN_AS, 2);
	struct prefix late = prefix_at(0);
	union script_attrs a;
	unsigned to = LIMIT;

	c.families[V4].max_prefixes = LIMIT;
	c.families[V4].max_prefixes_action = MAX_PREFIXES_WARNING;
	c.families[V4].max_prefixes_threshold = 101; /* LIMIT_NEAR shows that LIMIT + 1 was seen */
	begin(4, &c);
	leaks_establish();
	attrs_with(&a, 1);
	assert_true(say(&a.a, 0, LIMIT));
	wait_for(counted() == LIMIT);
	for (struct prefix p = prefix_at(to); shard_at(&p) == shard_at(&late); p = prefix_at(to))
		to++;
	node_pause_shards(&n, 1u << shard_at(&late));
	swap(&a.a, 0, to);
	wait_for(speaker_limit_level(n.speaker, (struct peer_id){1}, V4) == LIMIT_NEAR);
	node_pause_shards(&n, 0);
	wait_for(speaker_limit_level(n.speaker, (struct peer_id){1}, V4) == LIMIT_KEPT);
	assert_true(say(&a.a, PREFIXES - 1, PREFIXES)); /* number LIMIT + 1 */
	wait_for(speaker_limit_level(n.speaker, (struct peer_id){1}, V4) == LIMIT_PASSED);
	assert_int_equal(counted(), LIMIT + 1);
	script_close(&leaks);
	end();
}

/*
 * No shard takes the prefixes of an ended session off the count while another shard still checks prefixes
 * of that session: it would store more than the limit, before the receiver hears of the withdrawals.
 */
static void
test_end_waits_for_all_shards(void **state)
{
	union script_attrs a;
	struct prefix late;
	unsigned to = LIMIT;
	uint64_t until;

	begin_limited(4, MAX_PREFIXES_DISCARD, &a);
	updates = 0;
	assert_true(say(&a.a, 0, LIMIT));
	wait_for(counted() == LIMIT);
	node_pause_shards(&n, 1u << 3);
	for (late = prefix_at(to); shard_at(&late) != 3; late = prefix_at(to))
		to++;
	assert_true(say(&a.a, to, to + 1));
	wait_for(node_view(&n, 1).updates_received == updates);
	script_close(&leaks);
	wait_for(node_view(&n, 1).state != FSM_ESTABLISHED);
	/* the session hands the record over after at most 10 ms; each call is a turn of the shards */
	until = now_ns() + 100000000u;
	while (now_ns() < until) {
		node_pause_shards(&n, 1u << 3);
		assert_int_equal(counted(), LIMIT);
	}
	node_pause_shards(&n, 0);
	wait_for(counted() == 0);
	wait_for(heard.now == 0);
	assert_true(heard.most <= LIMIT);
	end();
}

/* A session that returns during the flush of its predecessor has the whole limit. */
static void
again(unsigned shards)
{
	struct config_peer c = peer_config(LEAKS, OWN_AS, 2);
	union script_attrs a;

	c.timers.idle_hold_s = 0;
	c.families[V4].max_prefixes = 20000;
	c.families[V4].max_prefixes_action = MAX_PREFIXES_SHUTDOWN;
	begin(shards, &c);
	attrs_with(&a, 1);
	for (unsigned i = 0; i < 3; i++) {
		leaks_establish();
		/* different prefixes each time */
		assert_true(say(&a.a, i * 20000, i * 20000 + 20000));
		wait_for(heard.has[i * 20000 + 19999]);
		wait_for(counted() == 20000);
		assert_int_equal(refused(), 0);
		script_close(&leaks);
	}
	wait_for(counted() == 0);
	wait_for(heard.now == 0);
	end();
}

static void
test_again(void **state)
{
	again(1);
	again(4);
}

/* BoRR, some routes, EoRR: swept routes free room below the limit. */
static void
test_refreshed(void **state)
{
	uint8_t msg[64];
	union script_attrs a;

	begin_limited(1, MAX_PREFIXES_SHUTDOWN, &a);
	assert_true(say(&a.a, 0, LIMIT));
	script_send(&leaks, msg, bgp_end_of_rib_encode(V4, msg, sizeof(msg)));
	for (unsigned i = 1; i <= 5; i++) {
		script_send(&leaks, msg, bgp_refresh_encode(V4, REFRESH_BEGIN, msg, sizeof(msg)));
		assert_true(say(&a.a, 0, LIMIT / 2));
		script_send(&leaks, msg, bgp_refresh_encode(V4, REFRESH_END, msg, sizeof(msg)));
		assert_true(say(&a.a, LIMIT * i, LIMIT * i + LIMIT / 2));
		wait_for(counted() == LIMIT);
		wait_for(heard.has[LIMIT * i]);
		wait_for(!heard.has[LIMIT * (i - 1) + (i == 1 ? LIMIT - 1 : 0)]);
	}
	assert_int_equal(refused(), 0);
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	script_close(&leaks);
	end();
}

static void
test_threshold_and_restart(void **state)
{
	struct config_peer c = peer_config(LEAKS, OWN_AS, 2);
	struct peer_id id = {1};
	union script_attrs a;

	c.timers.idle_hold_s = 1;
	c.families[V4].max_prefixes = LIMIT;
	c.families[V4].max_prefixes_action = MAX_PREFIXES_SHUTDOWN;
	c.families[V4].max_prefixes_threshold = 80;
	c.families[V4].max_prefixes_restart_s = 1;
	begin(1, &c);
	leaks_establish();
	attrs_with(&a, 1);
	assert_true(say(&a.a, 0, 79));
	wait_for(counted() == 79);
	assert_int_equal(speaker_limit_level(n.speaker, id, V4), LIMIT_KEPT);
	assert_true(say(&a.a, 79, 80));
	wait_for(speaker_limit_level(n.speaker, id, V4) == LIMIT_NEAR);
	assert_true(say(NULL, 79, 80));
	wait_for(speaker_limit_level(n.speaker, id, V4) == LIMIT_KEPT);
	assert_true(say(&a.a, 79, LIMIT + 1));
	wait_for(speaker_limit_level(n.speaker, id, V4) == LIMIT_PASSED);
	wait_for(node_view(&n, 1).held);
	script_close(&leaks);
	leaks_establish(); /* restart_s has expired */
	assert_false(node_view(&n, 1).held);
	assert_int_equal(speaker_limit_level(n.speaker, id, V4), LIMIT_KEPT);
	assert_true(say(&a.a, 0, LIMIT));
	wait_for(counted() == LIMIT);
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	assert_true(heard.most <= LIMIT);
	script_close(&leaks);
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_leaks),
		cmocka_unit_test(test_within),
		cmocka_unit_test(test_counted_meanwhile),
		cmocka_unit_test(test_replaced_meanwhile),
		cmocka_unit_test(test_lowered),
		cmocka_unit_test(test_waiting_updates_count),
		cmocka_unit_test(test_raised_meanwhile),
		cmocka_unit_test(test_late_withdrawal),
		cmocka_unit_test(test_end_waits_for_all_shards),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_refreshed),
		cmocka_unit_test(test_threshold_and_restart),
	};

	role_enter_main();
	if (!own_net_ports())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
