/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many sessions with a keepalive every second, a table, and constant refreshes from all peers:
 * keepalives are sent on time, and no session is lost. A peer that does not read is dropped by the
 * send hold timer (RFC 9687), without an effect on other peers.
 */
#include "control/session/session.h"

#include "tests/control/own_net.h"
#include "tests/control/session_rig.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#define OWN_AS 64512u
#define OWN_ID 0xc0000201u
#define PEER_AS 65001u
#define PEER_ID 0xc0000302u
#define NEXT_HOP 0xc0000263u

#define PEERS 100u
#define ROUTES 3000u
#define STORM_NS 6000000000ull
#define HOLD_S 9u /* a delay of three seconds on a slow machine is tolerated */
#define SILENCE_NS 3000000000u
#define SLOW_S                                                                                     \
	3600u /* of a peer that sends nothing: the end must have another cause on any machine */
#define V4 FAMILY_IPV4_UNICAST

static struct node n;

struct originate {
	struct node *n;
	unsigned count;
};

static void
call_originate_many(void *arg)
{
	struct originate *o = arg;

	role_enter_rib();
	for (unsigned i = 0; i < o->count; i++) {
		struct prefix p = prefix_from_v4(0x0a000000 + i * 256, 24);
		struct attr_set own;

		memset(&own, 0, sizeof(own));
		own.next_hop = addr_from_v4(NEXT_HOP);
		own.has = ATTR_HAS_MED;
		own.med = i; /* its own message */
		assert_int_equal(shard_originate(o->n->shard, VRF_DEFAULT, V4, &p, &own), 0);
	}
}

static void
originate(unsigned count)
{
	struct originate o = {.n = &n, .count = count};

	thread_call(n.rib[0], call_originate_many, &o);
	thread_wake(n.rib[0]);
}

/* Withdraws the first route, which all peers have received. */
static void
call_take_back(void *arg)
{
	struct prefix p = prefix_from_v4(0x0a000000, 24);

	(void)arg;
	role_enter_rib();
	assert_int_equal(shard_originate(n.shard, VRF_DEFAULT, V4, &p, NULL), 0);
}

/* ---- a crowd ---- */

struct member {
	struct script s;
	uint64_t heard_ns, keepalive_ns, silence_ns, keepalive_gap_ns, spoken_ns;
	unsigned refreshes; /* EoRR seen */
};

static void
member_heard(struct member *m, uint8_t type, const uint8_t *p, size_t len)
{
	uint64_t now = now_ns();
	struct bgp_refresh r;

	if (now - m->heard_ns > m->silence_ns)
		m->silence_ns = now - m->heard_ns;
	m->heard_ns = now;
	if (type == BGP_KEEPALIVE) {
		if (now - m->keepalive_ns > m->keepalive_gap_ns)
			m->keepalive_gap_ns = now - m->keepalive_ns;
		m->keepalive_ns = now;
	}
	assert_int_not_equal(type, BGP_NOTIFICATION);
	if (type != BGP_ROUTE_REFRESH)
		return;
	assert_int_equal(bgp_refresh_decode(p, len, true, &r).severity, BGP_OK);
	m->refreshes += r.subtype == REFRESH_END;
}

/* Reads available octets without waiting. */
static void
member_read(struct member *m)
{
	struct script *s = &m->s;
	ssize_t got;
	size_t at = 0;

	memmove(s->buf, s->buf + s->taken, s->have - s->taken);
	s->have -= s->taken;
	s->taken = 0;
	got = recv(s->fd, s->buf + s->have, sizeof(s->buf) - s->have, MSG_DONTWAIT);
	assert_true(got > 0 || (got < 0 && errno == EAGAIN));
	if (got < 0)
		return;
	s->have += (size_t)got;
	while (s->have - at >= BGP_HEADER_LEN) {
		size_t len = (size_t)s->buf[at + 16] << 8 | s->buf[at + 17];

		if (s->have - at < len)
			break;
		member_heard(m, s->buf[at + 18], s->buf + at, len);
		at += len;
	}
	s->taken = at;
}

static void
crowd_read(struct member *m, unsigned count)
{
	struct pollfd p[PEERS];

	for (unsigned i = 0; i < count; i++)
		p[i] = (struct pollfd){.fd = m[i].s.fd, .events = POLLIN};
	if (poll(p, count, 10) <= 0)
		return;
	for (unsigned i = 0; i < count; i++) {
		if (p[i].revents != 0)
			member_read(&m[i]);
	}
}

/* Serves a single member for one turn: reads, and sends keepalives. */
static void
member_tend(struct member *m)
{
	crowd_read(m, 1);
	if (now_ns() - m->spoken_ns < 500000000u)
		return;
	script_send_keepalive(&m->s);
	m->spoken_ns = now_ns();
}

static void
member_greet(struct member *m, unsigned i)
{
	struct bgp_open_options o = script_open(PEER_AS + i, PEER_ID + i);

	o.hold_time_s = HOLD_S;
	script_establish(&m->s, &n, 2 + i, &o);
	m->heard_ns = m->keepalive_ns = now_ns();
}

static unsigned
least(const struct member *m)
{
	unsigned count = UINT32_MAX;

	for (unsigned i = 0; i < PEERS; i++)
		count = m[i].refreshes < count ? m[i].refreshes : count;
	return count;
}

/* False: a keepalive was late, sent or received. */
static bool
crowd_in_time(void)
{
	static struct member m[PEERS];
	uint64_t begin, spoken = 0, asked = 0;
	struct hist_summary late, turns;
	bool in_time = true;

	memset(m, 0, sizeof(m));
	node_begin(&n, OWN_AS, OWN_ID);
	originate(ROUTES);
	for (unsigned i = 0; i < PEERS; i++) {
		struct config_peer c = peer_config(PEER_AS + i, OWN_AS, 2 + i);

		c.timers.keepalive_s = 1;
		node_peer(&n, 1 + i, &c, policy_accept_all());
	}
	for (unsigned i = 0; i < PEERS; i++) {
		member_greet(&m[i], i);
		crowd_read(m, i + 1);
		if (now_ns() - spoken > 500000000u) {
			for (unsigned k = 0; k <= i; k++)
				script_send_keepalive(&m[k].s);
			spoken = now_ns();
		}
	}
	begin = now_ns();
	/* Longer on a slow machine: every member needs an answer. */
	while (now_ns() - begin < STORM_NS || least(m) == 0) {
		uint64_t now = now_ns();

		assert_true(now - begin < 2 * WAIT_MS * 1000000ull);
		for (unsigned i = 0; i < PEERS && now - spoken > 500000000u; i++)
			script_send_keepalive(&m[i].s);
		if (now - spoken > 500000000u)
			spoken = now;
		for (unsigned i = 0; i < PEERS && now - asked > 100000000u; i++)
			script_send_refresh(&m[i].s, REFRESH_REQUEST);
		if (now - asked > 100000000u)
			asked = now;
		crowd_read(m, PEERS);
	}
	for (unsigned i = 0; i < PEERS; i++) {
		struct session_view v = node_view(&n, 1 + i);

		assert_int_equal(v.state, FSM_ESTABLISHED);
		assert_int_equal(v.established_count, 1);
		in_time &= m[i].silence_ns < SILENCE_NS && m[i].keepalive_gap_ns < SILENCE_NS &&
			   v.keepalive_late_ns < 1000000000u;
	}
	speaker_keepalive_late(n.speaker, &late);
	speaker_turns(n.speaker, &turns);
	assert_true(late.count >= PEERS * 4);
	print_message("%lu keepalives, late by %.3f ms (median), %.3f ms (latest); turns of %.3f "
		      "ms (p99), "
		      "%.3f ms (longest); at least %u refreshes each\n",
		(unsigned long)late.count, (double)late.p50 / 1e6, (double)late.max / 1e6,
		(double)turns.p99 / 1e6, (double)turns.max / 1e6, least(m));
	for (unsigned i = 0; i < PEERS; i++)
		script_close(&m[i].s);
	node_end(&n);
	return in_time;
}

/* Repeats the test, because a busy machine can be late at random. */
static void
test_crowd(void **state)
{
	unsigned times = 1;

	while (!crowd_in_time())
		assert_true(++times <= 3);
}

/* ---- a peer that does not read ---- */

#define MANY 150000u /* more than all buffers on the way */

static void
test_stuck(void **state)
{
	static struct script stuck;
	static struct member m;
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2),
			   d = peer_config(PEER_AS + 1, OWN_AS, 3);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	uint64_t begin;

	memset(&m, 0, sizeof(m));
	c.timers.send_hold_s = 2;
	d.timers.keepalive_s = 1;
	node_begin(&n, OWN_AS, OWN_ID);
	originate(MANY);
	node_peer(&n, 1, &c, policy_accept_all());
	node_peer(&n, 2, &d, policy_accept_all());
	script_connect(&stuck, &n, 2, 4096);
	assert_non_null(script_read(&stuck, WAIT_MS));
	script_send_open(&stuck, &o);
	assert_non_null(script_read(&stuck, WAIT_MS));
	begin = now_ns();
	script_send_keepalive(&stuck);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	member_greet(&m, 1);
	while (node_view(&n, 1).state == FSM_ESTABLISHED) {
		assert_true(now_ns() - begin < WAIT_MS * 1000000ull);
		member_tend(&m);
	}
	assert_true(now_ns() - begin >= 1900000000u);
	assert_string_equal(node_view(&n, 1).last_error, "sent send-hold-timer-expired");
	/* The peer finally reads, and finds the reason. */
	script_expect_notification(&stuck, ERR_SEND_HOLD_TIMER, 0);
	script_close(&stuck);
	while (!node_view(&n, 2).families[V4].end_of_rib_sent)
		member_tend(&m);
	assert_int_equal(node_view(&n, 2).families[V4].advertised, MANY);
	assert_int_equal(node_view(&n, 2).established_count, 1);
	assert_true(m.silence_ns < HOLD_S * 1000000000ull);
	script_close(&m.s);
	node_end(&n);
}

struct flap {
	uint32_t first;
};

/* Unique prefixes, used once. */
static void
call_flap(void *arg)
{
	struct flap *f = arg;
	struct attr_set own;

	role_enter_rib();
	memset(&own, 0, sizeof(own));
	own.next_hop = addr_from_v4(NEXT_HOP);
	for (unsigned i = 0; i < 500; i++) {
		struct prefix p = prefix_from_v4(f->first++, 32);

		assert_int_equal(shard_originate(n.shard, VRF_DEFAULT, V4, &p, &own), 0);
		assert_int_equal(shard_originate(n.shard, VRF_DEFAULT, V4, &p, NULL), 0);
	}
}

/*
 * The number of tombstones held by a stuck peer is limited: Cease / Out of Resources, long before
 * the send hold timer.
 */
static void
test_stuck_evicted(void **state)
{
	static struct script stuck;
	static struct member m;
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2),
			   d = peer_config(PEER_AS + 1, OWN_AS, 3);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	struct flap flap = {.first = 0xc0000000};
	uint64_t begin = now_ns();
	unsigned rounds = 0;

	memset(&m, 0, sizeof(m));
	c.timers.hold_s = o.hold_time_s = SLOW_S;
	node_begin_with(&n, OWN_AS, OWN_ID, 20000);
	originate(MANY);
	node_peer(&n, 1, &c, policy_accept_all());
	node_peer(&n, 2, &d, policy_accept_all());
	script_connect(&stuck, &n, 2, 4096);
	assert_non_null(script_read(&stuck, WAIT_MS));
	script_send_open(&stuck, &o);
	assert_non_null(script_read(&stuck, WAIT_MS));
	script_send_keepalive(&stuck);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	member_greet(&m, 1);
	while (!node_view(&n, 2).families[V4].end_of_rib_sent)
		member_tend(&m);
	thread_call(n.rib[0], call_take_back,
		NULL); /* the shard does not wait for a peer without withdrawals */
	while (node_view(&n, 1).state == FSM_ESTABLISHED) {
		assert_true(now_ns() - begin < 2 * WAIT_MS * 1000000ull);
		/*
		 * the limit allows a twentieth of the rounds; afterwards only the session thread is
		 * waited for
		 */
		if (rounds++ < 1000) {
			thread_call(n.rib[0], call_flap, &flap);
			thread_wake(n.rib[0]);
		}
		member_tend(&m);
	}
	assert_true(rounds > 20); /* 20,000 tombstones, plus the entries read by the group */
	assert_string_equal(node_view(&n, 1).last_error, "sent cease/out-of-resources");
	script_expect_notification(&stuck, ERR_CEASE, CEASE_OUT_OF_RESOURCES);
	script_close(&stuck);
	while (node_view(&n, 2).families[V4].advertised != MANY - 1)
		member_tend(&m);
	assert_int_equal(node_view(&n, 2).established_count, 1);
	assert_int_equal(node_view(&n, 2).state, FSM_ESTABLISHED);
	script_close(&m.s);
	node_end(&n);
}

/*
 * A session without hold time survives two hours of silence and a full buffer (RFC 9687 3.1 needs a
 * hold time).
 */
static void
test_stuck_without_hold_time(void **state)
{
	static struct script stuck;
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	uint64_t until;

	c.timers.send_hold_s = 1;
	o.hold_time_s = 0;
	node_begin(&n, OWN_AS, OWN_ID);
	originate(MANY);
	node_peer(&n, 1, &c, policy_accept_all());
	script_connect(&stuck, &n, 2, 4096);
	assert_non_null(script_read(&stuck, WAIT_MS));
	script_send_open(&stuck, &o);
	assert_non_null(script_read(&stuck, WAIT_MS));
	script_send_keepalive(&stuck);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	for (until = now_ns() + 2500000000ull; now_ns() < until;)
		breathe();
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	assert_false(node_view(&n, 1).families[V4].end_of_rib_sent);
	script_close(&stuck);
	node_end(&n);
}

/* ---- a pass over all peers that its deadline ends ---- */

#define IDLE_PEERS 20u

struct passes {
	unsigned turns;
	bool more;
};

/* All peers are due, and each slice has time for one peer. */
static void
call_passes(void *arg)
{
	struct passes *p = arg;

	role_enter_session();
	speaker_plan_settle(n.speaker);
	do {
		uint64_t now = now_ns();

		p->more = speaker_work(n.speaker, now, now);
	} while (p->more && ++p->turns < 10 * IDLE_PEERS);
}

/* A pass that its deadline ends goes on with the peers left out, and does not make all peers due again: then a thread with many peers never rests. */
static void
test_pass_ends(void **state)
{
	static struct member m[IDLE_PEERS];
	struct passes passes = {0};

	memset(m, 0, sizeof(m));
	node_begin(&n, OWN_AS, OWN_ID);
	for (unsigned i = 0; i < IDLE_PEERS; i++) {
		struct config_peer c = peer_config(PEER_AS + i, OWN_AS, 2 + i);

		node_peer(&n, 1 + i, &c, policy_accept_all());
	}
	for (unsigned i = 0; i < IDLE_PEERS; i++)
		member_greet(&m[i], i);
	for (unsigned i = 0; i < IDLE_PEERS; i++)
		wait_for(node_view(&n, 1 + i).families[V4].end_of_rib_sent);
	thread_call(n.session, call_passes, &passes);
	assert_false(passes.more);
	assert_in_range(passes.turns, IDLE_PEERS / 2, 2 * IDLE_PEERS);
	for (unsigned i = 0; i < IDLE_PEERS; i++)
		script_close(&m[i].s);
	node_end(&n);
}

/* ---- tables of several peers, with a shard that is slower than the session thread ---- */

#define TABLES 4u
#ifdef __SANITIZE_THREAD__ /* ThreadSanitizer is ten times slower */
#define TABLE_UPDATES 4000u
#else
#define TABLE_UPDATES 20000u
#endif
#define TABLE_PREFIXES 8u /* of an UPDATE */
#define TABLE_SHARE (16u << 10) /* octets: INPUT_OCTETS */
#define TABLE_PAUSE_NS 1000000000ull /* of control/session/session_in.c */

struct progress {
	uint64_t updates[TABLES];
};

/* Reads the counters of all peers within one turn. */
static void
call_progress(void *arg)
{
	struct progress *p = arg;
	struct session_view v;

	role_enter_session();
	for (unsigned i = 0; i < TABLES; i++) {
		assert_true(session_peek(n.speaker, (struct peer_id){(uint16_t)(1 + i)}, &v));
		p->updates[i] = v.updates_received;
	}
}

/* The peers send equal prefixes; each UPDATE has unique attributes. */
static void
table_send(struct script *s, unsigned peer)
{
	static uint8_t all[TABLE_UPDATES * 128];
	union script_attrs a;
	size_t len = 0;

	script_attrs(&a, PEER_AS + peer, NEXT_HOP);
	a.a.has |= ATTR_HAS_MED;
	for (unsigned i = 0; i < TABLE_UPDATES; i++) {
		a.a.med = i;
		len += script_update(
			all + len, &a.a, 0x10000000 + i * TABLE_PREFIXES * 256, TABLE_PREFIXES);
	}
	script_send(s, all, len);
}

/* Octets that keeld's socket has not acknowledged. */
static int
unacknowledged(const struct script *s)
{
	int octets;

	assert_int_equal(ioctl(s->fd, SIOCOUTQ, &octets), 0);
	return octets;
}

static bool
progress_of_all(const struct progress *p)
{
	for (unsigned i = 0; i < TABLES; i++)
		if (p->updates[i] == 0)
			return false;
	return true;
}

/* The longest lead of one peer over another, in octets. 0 after the end of a table. */
static uint64_t
lead_of(const struct progress *now, const struct progress *begin, size_t len)
{
	uint64_t least = UINT64_MAX, most = 0;

	for (unsigned i = 0; i < TABLES; i++) {
		uint64_t handled = (now->updates[i] - begin->updates[i]) * len;

		if (now->updates[i] == TABLE_UPDATES)
			return 0;
		least = handled < least ? handled : least;
		most = handled > most ? handled : most;
	}
	return most - least;
}

/*
 * All tables wait in the sockets, and must advance together: the paths of a destination arrive
 * close together, and receivers get the best path once.
 */
static void
test_tables_advance_together(void **state)
{
	static struct script s[TABLES];
	struct progress begin, now;
	uint8_t msg[BGP_MSG_MAX];
	union script_attrs a;
	uint64_t lead = 0, handled, until;
	size_t len;

	if (!own_net_takes_much())
		skip();
	script_attrs(&a, PEER_AS, NEXT_HOP);
	a.a.has |= ATTR_HAS_MED;
	len = script_update(msg, &a.a, 0x10000000, TABLE_PREFIXES);
	node_begin(&n, OWN_AS, OWN_ID);
	for (unsigned i = 0; i < TABLES; i++) {
		struct config_peer c = peer_config(PEER_AS + i, OWN_AS, 2 + i);
		struct bgp_open_options o = script_open(PEER_AS + i, PEER_ID + i);

		node_peer(&n, 1 + i, &c, policy_accept_all());
		script_establish(&s[i], &n, 2 + i, &o);
	}
	node_pause_shards(&n, 1);
	for (unsigned i = 0; i < TABLES; i++)
		table_send(&s[i], i);
	for (unsigned i = 0; i < TABLES; i++)
		wait_for(unacknowledged(&s[i]) == 0);
	/* The tables wait for us longer than a table may pause. */
	until = now_ns() + TABLE_PAUSE_NS * 5 / 4;
	wait_for(now_ns() >= until);
	node_pause_shards(&n, 0);
	until = now_ns() + 2 * WAIT_MS * 1000000ull;
	do {
		assert_true(now_ns() < until);
		thread_call(n.session, call_progress, &begin);
	} while (!progress_of_all(&begin));
	do {
		uint64_t present;

		assert_true(now_ns() < until);
		thread_call(n.session, call_progress, &now);
		present = lead_of(&now, &begin, len);
		lead = present > lead ? present : lead;
		handled = 0;
		for (unsigned i = 0; i < TABLES; i++)
			handled += now.updates[i];
	} while (handled < TABLES * TABLE_UPDATES);
	print_message("longest lead of a peer: %lu octets\n", (unsigned long)lead);
	assert_in_range(lead, 1, 3 * TABLE_SHARE);
	for (unsigned i = 0; i < TABLES; i++)
		script_close(&s[i]);
	node_end(&n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pass_ends), cmocka_unit_test(test_crowd),
		cmocka_unit_test(test_stuck), cmocka_unit_test(test_stuck_evicted),
		cmocka_unit_test(test_stuck_without_hold_time),
		cmocka_unit_test(test_tables_advance_together), /* last: it keeps large buffers */
	};

	role_enter_main();
	if (!own_net_ports())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
