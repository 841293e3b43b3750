/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many members: packed once, one walk for all requests, and groups that read the journal together.
 */
#include "tests/control/update_group_members.h"

#include "rib/policy/policy_build.h"

#include <stdio.h>

/* ---- packed once ---- */

#ifdef KEEL_SANITIZED
#define ROUTES 50000u
#else
#define ROUTES 200000u
#endif

/* CPU seconds of the first dump and of a refresh with `members` members. */
static void
measure(unsigned members, double *dump, double *again)
{
	static struct rigged r;
	struct update_group_stats s;
	uint64_t messages;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	load(&r, ROUTES, 6);
	join_first(&r, members);
	*dump = cpu_s();
	drain(&r, false);
	*dump = cpu_s() - *dump;
	update_group_stats(r.told[0].m, &s);
	assert_int_equal(s.members, members);
	assert_int_equal(s.walks, 1);
	messages = s.messages;
	for (unsigned i = 0; i < members; i++)
		update_group_refresh(r.told[i].m, true);
	*again = cpu_s();
	drain(&r, false);
	*again = cpu_s() - *again;
	update_group_stats(r.told[0].m, &s);
	assert_int_equal(s.walks, 2); /* shared by all */
	assert_int_equal(s.own_messages, 0);
	assert_in_range(s.messages, 2 * messages - messages / 50, 2 * messages + messages / 50);
	for (unsigned i = 0; i < members; i++) {
		assert_int_equal(r.told[i].marks[MARK_END_OF_RIB], 1);
		assert_int_equal(r.told[i].marks[MARK_BORR], 1);
		assert_int_equal(r.told[i].marks[MARK_EORR], 1);
		assert_int_equal(r.told[i].octets, r.told[0].octets);
		assert_int_equal(update_group_advertised(r.told[i].m), ROUTES);
	}
	printf("%u members: dump %.3f s, refresh %.3f s of CPU, %.1f MB each, longest call %.2f "
	       "ms\n",
		members, *dump, *again, (double)r.told[0].octets / 1e6, r.longest_s * 1e3);
	rigged_end(&r);
}

/* Copying is much cheaper than packing; the limit is generous for busy machines. */
static bool
packed_once(void)
{
	double dump[2], again[2];

	measure(1, &dump[0], &again[0]);
	measure(MEMBERS, &dump[1], &again[1]);
	printf("%u members cost %.2f times one for a dump, %.2f for a refresh\n", MEMBERS,
		dump[1] / dump[0], again[1] / again[0]);
	return dump[1] < 8 * dump[0] && again[1] < 8 * again[0];
}

static void
test_packed_once(void **state)
{
	unsigned times = 1;

	while (!packed_once())
		assert_true(++times <= 3);
}

/* ---- members that join within a walk ---- */

#define LATE_ROUTES 20000u
#define LATE_MEMBERS 3u

/*
 * Members that join when the walk has visited a quarter and half of the routes get the rest of this walk, and then the routes before: each route is packed less than
 * twice, and each member gets each route once.
 */
static void
test_late_joins_share_the_walk(void **state)
{
	static struct rigged r;
	struct update_group_stats s = {0};

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	load(&r, LATE_ROUTES, 1); /* a message each */
	for (unsigned i = 0; i < LATE_MEMBERS; i++) {
		struct update_member_config c = member_config(&r, i);

		while (s.messages < i * LATE_ROUTES / 4) {
			for (unsigned k = 0; k < i; k++)
				(void)encode(&r, k, true);
			update_group_stats(r.told[0].m, &s);
		}
		join(&r, i, &c);
	}
	drain(&r, true);
	update_group_stats(r.told[0].m, &s);
	assert_int_equal(s.walks, 2);
	assert_in_range(s.messages, LATE_ROUTES * 5 / 4, LATE_ROUTES * 7 / 4);
	for (unsigned i = 0; i < LATE_MEMBERS; i++) {
		assert_int_equal(r.told[i].marks[MARK_END_OF_RIB], 1);
		/* a walk ends for a member with the batch that reaches the place */
		assert_in_range(r.told[i].announced, LATE_ROUTES, LATE_ROUTES + 1024);
	}
	rigged_end(&r);
}

/* The first walk ends after the last member of the first walk has left, and the late member gets the rest. */
static void
test_late_join_stays_alone(void **state)
{
	static struct rigged r;
	struct update_group_stats s = {0};
	struct update_member_config c;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	load(&r, LATE_ROUTES, 1);
	c = member_config(&r, 0);
	join(&r, 0, &c);
	while (s.messages < LATE_ROUTES / 2) {
		(void)encode(&r, 0, false);
		update_group_stats(r.told[0].m, &s);
	}
	c = member_config(&r, 1);
	join(&r, 1, &c);
	assert_null(update_group_leave(r.told[0].m));
	r.told[0].m = NULL;
	drain(&r, true);
	assert_int_equal(r.told[1].marks[MARK_END_OF_RIB], 1);
	assert_in_range(r.told[1].announced, LATE_ROUTES, LATE_ROUTES + 1024);
	rigged_end(&r);
}

/* ---- groups read the journal together ---- */

#define APART 8u /* groups of one member */
#define APART_ROUTES 80000u
#define SOCKET (256u << 10) /* octets that wait for a receiver, at most */

static void
apart_join(struct rigged *r, uint64_t await_ns)
{
	rigged_begin(r, FAMILY_IPV4_UNICAST);
	r->groups->c.await_ns = await_ns;
	for (unsigned i = 0; i < APART; i++) {
		struct update_member_config c = member_config(r, i);

		c.rules.local_as = 100000 + i;
		join(r, i, &c);
	}
	drain(r, false);
}

static void
apart_begin(struct rigged *r, uint64_t await_ns)
{
	apart_join(r, await_ns);
	r->rig.bulk = true;
	load(r, APART_ROUTES, 8);
	r->rig.bulk = false;
}

/* Turns of the groups whose socket has room, until no group has work. */
static void
apart_turns(struct rigged *r, uint64_t *waits)
{
	static uint8_t buf[64u << 10];
	bool more, others, any;

	do {
		any = false;
		for (unsigned i = 0; i < APART; i++) {
			size_t len;

			if (waits[i] + sizeof(buf) > SOCKET)
				continue;
			qsbr_online(r->rig.readers, r->reader);
			len = turn_send(r->told[i].m, buf, sizeof(buf), UINT64_MAX, &more, &others,
				on_mark, &r->told[i]);
			qsbr_offline(r->rig.readers, r->reader);
			waits[i] += len;
			any |= len > 0 || more;
		}
	} while (any);
}

/* Receivers empty their sockets one after another until all have `routes`: the number of windows made. */
static uint64_t
apart_windows(struct rigged *r, unsigned routes)
{
	uint64_t waits[APART] = {0}, before;
	struct update_group_stats s;

	update_group_stats(r->told[0].m, &s);
	before = s.windows;
	for (unsigned i = 0; update_group_advertised(r->told[i % APART].m) < routes; i++) {
		assert_true(i < 1000 * APART);
		apart_turns(r, waits);
		waits[i % APART] = 0;
	}
	drain(r, false);
	for (unsigned i = 0; i < APART; i++)
		assert_int_equal(update_group_advertised(r->told[i].m), routes);
	update_group_stats(r->told[0].m, &s);
	return s.windows - before;
}

/*
 * Receivers that empty their sockets one after another: without a wait each group would read the journal alone, as far as its socket has room.
 */
static void
test_groups_read_together(void **state)
{
	static struct rigged r;
	uint64_t windows;

	apart_begin(&r, UINT64_C(600000000000));
	windows = apart_windows(&r, APART_ROUTES);
	printf("%u routes, %u groups: %llu windows\n", APART_ROUTES, APART,
		(unsigned long long)windows);
	assert_in_range(windows, APART_ROUTES / WINDOW_ENTRIES, 2 * APART_ROUTES / WINDOW_ENTRIES);
	rigged_end(&r);
}

/*
 * A peer with min_advertisement_s that is alone in its group sends nothing for a while: the others do not wait, neither for a peer that paused before the
 * round nor for one that pauses within the round.
 */
static void
test_no_group_waits_for_a_paused_one(void **state)
{
	static struct rigged r;
	uint64_t waits[APART] = {0};
	struct update_io paused = {.paused = true};
	unsigned last = APART - 1;

	for (unsigned first = 0; first < 2; first++) {
		apart_begin(&r, UINT64_C(600000000000));
		for (unsigned turn = 0; turn < 64; turn++) {
			waits[last] = SOCKET; /* no turn with output */
			if (turn >= 1 - first) {
				qsbr_online(r.rig.readers, r.reader);
				(void)update_member_turn(r.told[last].m, &paused, UINT64_MAX);
				qsbr_offline(r.rig.readers, r.reader);
			}
			apart_turns(&r, waits);
			memset(waits, 0, sizeof(waits));
		}
		for (unsigned i = 0; i < last; i++)
			assert_int_equal(update_group_advertised(r.told[i].m), APART_ROUTES);
		assert_int_equal(update_group_advertised(r.told[last].m), 0);
		drain(&r, false);
		assert_int_equal(update_group_advertised(r.told[last].m), APART_ROUTES);
		rigged_end(&r);
	}
}

#define BEHIND_ROUTES 20000u

/* Paths behind the best path of all routes, in the journal between a route and the withdrawal of this route: groups find the route passed over. */
static void
passed_over_load(struct rigged *r)
{
	union rig_attrs a;
	struct rib_nlri gone = {.prefix = prefix_from_v4(0xc0000200u, 24), .label = 0xfffff};

	r->rig.bulk = true;
	rig_attrs_make(&a, (uint32_t[]){65100}, 1, 0x0a0a0a0a);
	rig_update(&r->rig, SOURCE, &a.a, &gone, 1);
	load(r, BEHIND_ROUTES, 8);
	for (unsigned i = 0; i < BEHIND_ROUTES; i++) {
		struct rib_nlri n = {
			.prefix = prefix_from_v4(0x0a000000u + i * 256, 24), .label = 0xfffff};

		rig_attrs_make(&a, (uint32_t[]){65100, 65101, 65102, 65103 + i / 8}, 4, 0x0a0a0a0b);
		rig_update(&r->rig, SOURCE + 1, &a.a, &n, 1);
		if (i % 1000 == 0)
			rig_settle(&r->rig);
	}
	rig_update(&r->rig, SOURCE, NULL, &gone, 1);
	rig_settle(&r->rig);
	r->rig.bulk = false;
}

/* Of the entries before the withdrawal, a group reads those of the route alone, and uses the windows of the other groups. */
static void
test_passed_over_costs_no_windows(void **state)
{
	static struct rigged r;
	uint64_t windows;

	(void)state;
	apart_join(&r, UINT64_C(600000000000));
	passed_over_load(&r);
	windows = apart_windows(&r, BEHIND_ROUTES);
	printf("%u entries, %u groups: %llu windows\n", 2 * BEHIND_ROUTES, APART,
		(unsigned long long)windows);
	assert_in_range(
		windows, 2 * BEHIND_ROUTES / WINDOW_ENTRIES, 3 * BEHIND_ROUTES / WINDOW_ENTRIES);
	rigged_end(&r);
}

#define RING 4096u
#define LINKS (3 * RING / WINDOW_ENTRIES)
#define LINK(i) (0xc6330000u + (i)*256)
#define FLAPPING 0xc0000200u

static void
update_one(struct rigged *r, const struct attr_set *a, uint32_t prefix)
{
	struct rib_nlri n = {.prefix = prefix_from_v4(prefix, 24), .label = 0xfffff};

	rig_update(&r->rig, SOURCE, a, &n, 1);
}

/* The entries of one window: a link, the withdrawal of the link before, and other routes. */
static void
chain_part(struct rigged *r, unsigned i)
{
	union rig_attrs a;

	rig_attrs_make(&a, (uint32_t[]){65100}, 1, 0x0a0a0a0a);
	update_one(r, &a.a, LINK(i));
	update_one(r, NULL, i > 0 ? LINK(i - 1) : FLAPPING);
	for (unsigned k = 2; k < WINDOW_ENTRIES; k++)
		update_one(r, &a.a, 0x0a000000u + (i * WINDOW_ENTRIES + k) * 256);
	rig_settle(&r->rig);
}

/* Turns of the first member, each twice as long as the turn before, until the group has read one more window. */
static void
one_window(struct rigged *r)
{
	static uint8_t buf[64u << 10];
	struct update_group_stats s;
	uint64_t before;
	bool more, others;

	update_group_stats(r->told[0].m, &s);
	before = s.windows;
	for (unsigned i = 0; s.windows == before; i++) {
		assert_true(i < 20);
		qsbr_online(r->rig.readers, r->reader);
		(void)turn_send(r->told[0].m, buf, sizeof(buf), now_ns() + (1000u << i), &more,
			&others, on_mark, &r->told[0]);
		qsbr_offline(r->rig.readers, r->reader);
		update_group_stats(r->told[0].m, &s);
	}
}

/*
 * A late group finds each link withdrawn, before the entry of the withdrawal. So the first withdrawal waits for the whole chain, and meanwhile the ring overwrites
 * the entry of the first withdrawal. The group visits the waiting destinations, and walks over no table.
 */
static void
test_chain_longer_than_ring(void **state)
{
	static struct rigged r;
	struct update_member_config c;
	struct update_group_stats s;
	union rig_attrs a;

	(void)state;
	rigged_begin_journal(&r, FAMILY_IPV4_UNICAST, RING);
	c = member_config(&r, 0);
	join(&r, 0, &c);
	rig_attrs_make(&a, (uint32_t[]){65100}, 1, 0x0a0a0a0a);
	update_one(&r, &a.a, FLAPPING);
	rig_settle(&r.rig);
	drain(&r, false);
	assert_int_equal(update_group_advertised(r.told[0].m), 1);
	r.rig.bulk = true;
	chain_part(&r, 0);
	chain_part(&r, 1);
	for (unsigned i = 2; i < LINKS; i++) {
		chain_part(&r, i);
		one_window(&r);
		/* the withdrawn route, too */
		assert_int_equal(
			update_group_advertised(r.told[0].m), (i - 1) * (WINDOW_ENTRIES - 2) + 1);
	}
	drain(&r, false);
	assert_int_equal(update_group_advertised(r.told[0].m), LINKS * (WINDOW_ENTRIES - 2) + 1);
	update_group_stats(r.told[0].m, &s);
	assert_int_equal(s.lapped, 0);
	rigged_end(&r);
}

static void
visit_none(struct update_group *g, struct dest_id id, uint64_t at, const struct dest_view *view)
{
	(void)g, (void)id, (void)at, (void)view;
	fail_msg("a destination without a change");
}

/* All destinations of a lapped group are dirty, and the lap ends with the last, also when the time ends there. */
static void
test_lap_of_all(void **state)
{
	enum { LAST = 62 }; /* a read of the clock follows */
	static struct rigged r;
	struct update_member_config c;
	struct update_group *g;
	uint32_t limit;

	(void)state;
	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	c = member_config(&r, 0);
	join(&r, 0, &c);
	load(&r, 1000, 1);
	drain(&r, false);
	g = r.told[0].m->group;
	limit = shards_limit(&g->table);
	assert_true(limit >= 1000);
	dirty_all(g);
	assert_int_equal(g->order.dirty.count, limit);
	assert_false(bits_has(&g->order.dirty, DEST_DEFAULT));
	assert_false(bits_has(&g->order.dirty, (struct dest_id){limit}));
	for (uint32_t id = 0; id < limit; id++)
		assert_int_equal(id > LAST ? bits_clear(&g->order.dirty, (struct dest_id){id})
					   : bits_has(&g->order.dirty, (struct dest_id){id}),
			true);
	qsbr_online(r.rig.readers, r.reader);
	order_lap(g, 0, visit_none);
	qsbr_offline(r.rig.readers, r.reader);
	assert_int_equal(g->order.dirty.count, 0);
	assert_false(g->order.lapped);
	drain(&r, false);
	rigged_end(&r);
}

static void
due_count(void *ctx, struct peer_id id)
{
	((unsigned *)ctx)[id.v]++;
}

/* The rounds of two tables end: the members of both are due in the next turn of the thread. */
static void
test_two_rounds_end(void **state)
{
	static struct rigged r;
	struct export_table *t[2];
	unsigned due[PEER_MAX] = {0};
	union rig_attrs a;

	(void)state;
	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	for (unsigned i = 0; i < 4; i++) {
		struct update_member_config c;

		if (i == 2) {
			r.family = FAMILY_IPV6_UNICAST;
			assert_int_equal(
				shard_table_add(r.rig.shard, VRF_DEFAULT, r.family, &r.rig.table),
				0);
			shard_peer_import(r.rig.shard, (struct peer_id){SOURCE}, r.family,
				policy_accept_all());
		}
		c = member_config(&r, i);
		c.rules.local_as = 100000 + i;
		join(&r, i, &c);
	}
	drain(&r, false);
	rig_attrs_make(&a, (uint32_t[]){65100}, 1, 0x0a0a0a0a);
	announce(&r, SOURCE, "2001:db8::/32", &a);
	r.family = FAMILY_IPV4_UNICAST;
	announce(&r, SOURCE, "192.0.2.0/24", &a);
	rig_settle(&r.rig);
	for (unsigned i = 0; i < 2; i++) {
		(void)encode(&r, 2 * i, false);
		t[i] = r.told[2 * i].m->group->reader;
		assert_int_equal(t[i]->late, 1);
		t[i]->wait_ns = 1; /* as behind a full round */
	}
	round_end(t[1]);
	round_end(t[0]);
	assert_int_not_equal(update_groups_pass_ns(r.groups), 0);
	update_groups_news(r.groups, due_count, due);
	for (unsigned i = 0; i < 4; i++)
		assert_int_not_equal(due[r.told[i].m->id.v], 0);
	drain(&r, false);
	rigged_end(&r);
}

/* A receiver that takes nothing holds up bulk of the others for a moment, and no live change. */
static void
test_groups_leave_one_behind(void **state)
{
	static struct rigged r;
	uint64_t waits[APART] = {0}, until = now_ns() + UINT64_C(300000000000), sent;
	union rig_attrs a;

	apart_begin(&r, UINT64_C(600000000000));
	waits[0] = SOCKET;
	apart_turns(&r, waits);
	sent = update_group_advertised(r.told[1].m);
	assert_in_range(sent, 1, APART_ROUTES / 2);
	for (unsigned i = 1; i < APART; i++) {
		waits[i] = 0;
		assert_false(member_pending(r.told[i].m));
	}
	rig_attrs_make(&a, (uint32_t[]){65100}, 1, 0x0a0a0a0a);
	announce(&r, SOURCE, "192.168.0.0/16", &a);
	rig_settle(&r.rig);
	apart_turns(&r, waits);
	for (unsigned i = 1; i < APART; i++)
		assert_int_equal(update_group_advertised(r.told[i].m), sent + 1);
	r.groups->c.await_ns = 1000000;
	for (unsigned i = 1; i < APART; i++) {
		while (update_group_advertised(r.told[i].m) <= APART_ROUTES && now_ns() < until) {
			memset(waits + 1, 0, sizeof(waits) - sizeof(waits[0]));
			apart_turns(&r, waits);
		}
		assert_int_equal(update_group_advertised(r.told[i].m), APART_ROUTES + 1);
	}
	assert_int_equal(
		update_group_advertised(r.told[0].m), 1); /* the live change, in the stream */
	drain(&r, false);
	assert_int_equal(update_group_advertised(r.told[0].m), APART_ROUTES + 1);
	rigged_end(&r);
}

/* ---- new routes and routes sent again ---- */

#define OWN_POLICIES 4u

/* 0: appends a community; 1: appends, also one that the route has; 2: sets the MED; 3: refuses the route. */
static struct policy *
own_policy(unsigned i)
{
	struct policy_builder *b;
	struct policy *p;

	assert_int_equal(policy_builder_create("own", &b), 0);
	assert_int_equal(policy_builder_node(b, 10, i != 3), 0);
	if (i < 2)
		policy_builder_set_communities(b, COMMUNITIES_STANDARD, EDIT_ADD,
			(const uint8_t *)"\0\7\0\1\0\1\0\2\0\7\0\3", i == 0 ? 1 : 3);
	if (i == 2)
		policy_builder_set_number(b, NUMBER_MED, 77);
	assert_int_equal(policy_builder_finish(b, &p), 0);
	return p;
}

/* A new route has the attributes of the same route sent again, which is made from the whole set by policy and rules. */
static void
test_new_as_again(void **state)
{
	static struct rigged r;
	struct policy *policy[OWN_POLICIES];
	uint8_t first[OWN_POLICIES][sizeof(r.told[0].attrs)];

	(void)state;
	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	for (unsigned i = 0; i < OWN_POLICIES; i++) {
		struct update_member_config c = member_config(&r, i);

		policy[i] = own_policy(i);
		c.rules.policy = policy[i];
		join(&r, i, &c);
	}
	drain(&r, true);
	for (unsigned i = 0; i < 3000; i++) {
		struct rib_nlri n = {
			.prefix = prefix_from_v4(0x0a000000u + i * 256, 24), .label = 0xfffff};
		union rig_attrs a;

		rig_attrs_make(&a, (uint32_t[]){65100, 70000}, 2, 0x0a0a0a0a);
		memcpy(a.a.var + a.a.as_path_len, "\0\1\0\1\0\1\0\2", 8);
		a.a.community_count = 2;
		rig_update(&r.rig, SOURCE, &a.a, &n, 1);
	}
	drain(&r, true);
	for (unsigned i = 0; i < OWN_POLICIES; i++) {
		assert_int_equal(r.told[i].announced, i == 3 ? 0 : 3000);
		assert_true(i == 3 || r.told[i].updates < 10); /* full messages */
		memcpy(first[i], r.told[i].attrs, sizeof(first[i]));
		update_group_refresh(r.told[i].m, true);
	}
	drain(&r, true);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(r.told[i].announced, 6000);
		assert_memory_equal(first[i], r.told[i].attrs, sizeof(first[i]));
		assert_int_equal(attrs_of(&r.told[i])->community_count, i == 0	 ? 3
									: i == 1 ? 4
										 : 2);
		assert_int_equal(attrs_of(&r.told[i])->med, i == 2 ? 77 : 0);
	}
	rigged_end(&r);
	for (unsigned i = 0; i < OWN_POLICIES; i++)
		policy_destroy(policy[i]);
}

/* ---- requests ---- */

#ifdef KEEL_SANITIZED
#define REQUESTS 400u
#else
#define REQUESTS 2000u
#endif

/* Constant requests: one walk at a time, and each request is answered by a later walk. */
static void
test_requests(void **state)
{
	static struct rigged r;
	struct update_group_stats s;
	unsigned asked = 0;
	uint64_t rng = 5;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	load(&r, 20000, 4);
	join_first(&r, MEMBERS);
	drain(&r, false);
	while (asked < REQUESTS) {
		unsigned i = (unsigned)(hash_mix(rng++) % MEMBERS);
		unsigned borr = r.told[i].marks[MARK_BORR];

		update_group_refresh(r.told[i].m, true);
		asked++;
		for (unsigned k = 0; k < MEMBERS; k++)
			encode(&r, k, false);
		assert_in_range(r.told[i].marks[MARK_BORR], borr, borr + 1);
	}
	for (unsigned i = 0; i < MEMBERS; i++) { /* the last request of each is answered whole */
		unsigned eorr = r.told[i].marks[MARK_EORR];

		update_group_refresh(r.told[i].m, true);
		drain(&r, false);
		assert_true(r.told[i].marks[MARK_EORR] > eorr);
		assert_int_equal(r.told[i].marks[MARK_EORR], r.told[i].marks[MARK_BORR]);
		assert_int_equal(r.told[i].marks[MARK_EORR], r.told[i].marks[MARK_WALK_DONE]);
	}
	update_group_stats(r.told[0].m, &s);
	printf("%u requests, %llu walks\n", asked, (unsigned long long)s.walks);
	assert_true(s.walks < asked);
	rigged_end(&r);
}

/* Steps of the stream until the walk comes to `place`. */
static void
walk_to(struct rigged *r, struct update_group *g, uint64_t place)
{
	qsbr_online(r->rig.readers, r->reader);
	while (walk_place(g) < place)
		(void)stream_produce(g, UINT64_MAX);
	qsbr_offline(r->rig.readers, r->reader);
}

/* The begin of the first lap. */
static uint64_t
lap_begin(const struct update_group *g)
{
	return g->laps.first_end - (UINT64_C(1) << 32);
}

/* Members 0 and 1 have asked for the table: member 1 with the walk of member 0 at route `first`. */
static struct update_group *
two_ask(struct rigged *r, unsigned first)
{
	struct update_group *g;

	rigged_begin(r, FAMILY_IPV4_UNICAST);
	r->groups->c.kept_max = 64u << 20; /* the steps wait for no member */
	load(r, LATE_ROUTES, 1000);
	two_join(r);
	g = r->told[0].m->group;
	update_group_refresh(r->told[0].m, true);
	walk_to(r, g, walk_place(g) + 1);
	walk_to(r, g, lap_begin(g) + first);
	update_group_refresh(r->told[1].m, true);
	walk_to(r, g, walk_place(g) + 1);
	return g;
}

/* The last member to ask leaves: the walk ends with the end for member 0. */
static void
test_walk_of_who_leaves(void **state)
{
	static struct rigged r;
	struct update_group *g = two_ask(&r, LATE_ROUTES / 2);
	uint64_t end = r.told[1].m->walk_end;

	assert_null(update_group_leave(r.told[1].m));
	r.told[1].m = NULL;
	drain(&r, false);
	assert_int_equal(r.told[0].marks[MARK_EORR], 1);
	assert_true(walk_place(g) < end - LATE_ROUTES / 4);
	rigged_end(&r);
}

/*
 * Routes withdrawn in front of the walk delay EoRR until the journal has brought the withdrawals. The walk of member 1 pauses until then, and meets no further
 * withdrawn route.
 */
static void
test_end_before_further_walks(void **state)
{
	static struct rigged r;
	struct update_group *g = two_ask(&r, LATE_ROUTES / 2);
	bool waited = false;

	walk_to(&r, g, lap_begin(g) + LATE_ROUTES - 2000);
	for (unsigned i = LATE_ROUTES / 2; i < LATE_ROUTES; i++) {
		struct rib_nlri n = {
			.prefix = prefix_from_v4(0x0a000000u + i * 256, 24), .label = 0xfffff};

		rig_update(&r.rig, SOURCE, NULL, &n, 1);
	}
	rig_settle(&r.rig);
	qsbr_online(r.rig.readers, r.reader);
	while (r.told[0].m->walk_end != 0) {
		uint64_t place = walk_place(g);
		bool waits = place >= g->laps.first_end && group_passed(g) < g->laps.end_after;

		(void)stream_produce(g, UINT64_MAX);
		if (waits)
			assert_int_equal(walk_place(g), place);
		waited |= waits;
	}
	qsbr_offline(r.rig.readers, r.reader);
	assert_true(waited);
	assert_int_not_equal(r.told[1].m->walk_end, 0);
	drain(&r, false);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(r.told[i].marks[MARK_EORR], 1);
	assert_int_equal(update_group_advertised(r.told[0].m), LATE_ROUTES / 2);
	rigged_end(&r);
}

/* The differences of changed rules end before the table of a new member is complete: the member is due no mark. */
static void
test_policy_end_within_a_table(void **state)
{
	static struct rigged r;
	struct update_member_config c;
	struct update_group *g;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	r.groups->c.kept_max = 64u << 20;
	load(&r, LATE_ROUTES, 1000);
	two_join(&r);
	g = r.told[0].m->group;
	for (unsigned i = 0; i < 2; i++) {
		c = member_config(&r, i);
		c.rules.next_hop_unchanged = true;
		update_group_rules(r.told[i].m, &c.rules);
	}
	walk_to(&r, g, g->laps.policy_until - (UINT64_C(1) << 32) + LATE_ROUTES / 2);
	c = member_config(&r, 2);
	c.rules.next_hop_unchanged = true;
	join(&r, 2, &c);
	assert_ptr_equal(r.told[2].m->group, g);
	drain(&r, false);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(r.told[i].marks[MARK_END_OF_RIB], 1);
		assert_int_equal(r.told[i].marks[MARK_POLICY_DONE], i < 2);
	}
	rigged_end(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_packed_once),
		cmocka_unit_test(test_late_joins_share_the_walk),
		cmocka_unit_test(test_late_join_stays_alone),
		cmocka_unit_test(test_walk_of_who_leaves),
		cmocka_unit_test(test_end_before_further_walks),
		cmocka_unit_test(test_policy_end_within_a_table),
		cmocka_unit_test(test_groups_read_together),
		cmocka_unit_test(test_no_group_waits_for_a_paused_one),
		cmocka_unit_test(test_passed_over_costs_no_windows),
		cmocka_unit_test(test_chain_longer_than_ring),
		cmocka_unit_test(test_lap_of_all),
		cmocka_unit_test(test_two_rounds_end),
		cmocka_unit_test(test_groups_leave_one_behind),
		cmocka_unit_test(test_new_as_again),
	};

	role_enter_rib();
	role_enter_session();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
