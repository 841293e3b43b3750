/* SPDX-License-Identifier: BSD-3-Clause */
/* Members without progress: sessions are dropped, and no other member is held up. */
#include "tests/control/update_group_members.h"

#include "rib/policy/policy_build.h"

#include <errno.h>

/* ---- dropped members ---- */

/* A turn of the shard, 10 ms after the previous turn. Checks the limit of tombstones. */
static void
shard_turn(struct rigged *r)
{
	rig_put(&r->rig);
	r->rig.now_ns += 10000000;
	(void)rig_turn(&r->rig);
	assert_true(dest_tombstones(shard_table(r->rig.shard, r->rig.table)) < BORNE + 200);
}

/* Both members have read all entries, and no tombstone is held. */
static void
all_is_told(struct rigged *r)
{
	struct journal *j = shard_journal(r->rig.shard);

	for (bool more = true; more || !rig_drained(&r->rig);) {
		shard_turn(r);
		more = false;
		for (unsigned i = 0; i < 2; i++)
			more |= r->told[i].m != NULL &&
				(encode(r, i, false) || member_pending(r->told[i].m));
	}
	drain(r, false);
	for (unsigned i = 0; i < 2; i++) {
		if (r->told[i].m == NULL)
			continue;
		assert_int_equal(member_error(r->told[i].m), 0);
		assert_int_equal(update_group_advertised(r->told[i].m), LOADED);
	}
	assert_int_equal(journal_safe_sequence(j), journal_head(j) + 1);
	assert_false(journal_pressed(j));
}

static void
two_told_few_borne(struct rigged *r)
{
	struct shard_settings settings = {.tombstones_max = BORNE};

	two_told(r);
	shard_settings(r->rig.shard, &settings);
}

/* The thread of the groups has no turn for ten seconds: no session is dropped. */
static void
test_late_thread_costs_no_session(void **state)
{
	static struct rigged r;

	(void)state;
	two_told_few_borne(&r);
	for (unsigned i = 0; i < FLAPPED; i += 500) {
		flap(&r, i, 500, true);
		flap(&r, i, 500, false);
	}
	for (unsigned i = 0; i < 1000; i++)
		shard_turn(&r);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(member_error(r.told[i].m), 0);
	all_is_told(&r);
	assert_int_equal(shard_evictions(r.rig.shard), 0);
	rigged_end(&r);
}

/*
 * A member without turns beside a member with turns: data is kept for the member, whose connection
 * has room, and the session stays.
 */
static void
test_late_turn_costs_no_session(void **state)
{
	static struct rigged r;

	(void)state;
	two_told_few_borne(&r);
	flap(&r, 0, FLAPPED, true);
	rig_settle(&r.rig);
	for (unsigned i = 0; i < 200; i++)
		(void)encode(&r, 0, false);
	flap(&r, 0, FLAPPED, false);
	for (unsigned i = 0; i < 1000; i++) {
		shard_turn(&r);
		(void)encode(&r, 0, false);
		assert_int_equal(member_error(r.told[1].m), 0);
	}
	all_is_told(&r);
	assert_int_equal(shard_evictions(r.rig.shard), 0);
	rigged_end(&r);
}

static void
dropped(struct rigged *r, unsigned i)
{
	struct update_group *g = update_group_leave(r->told[i].m);

	r->told[i].m = NULL;
	if (g != NULL)
		assert_false(update_group_dismantle(g, UINT64_MAX));
}

/* Writes at most one message. */
static void
encode_little(struct rigged *r, unsigned i)
{
	static uint8_t buf[BGP_MSG_MAX];
	bool more, others;

	qsbr_online(r->rig.readers, r->reader);
	(void)turn_send(r->told[i].m, buf, sizeof(buf), now_ns() + 1000000, &more, &others, on_mark,
		&r->told[i]);
	qsbr_offline(r->rig.readers, r->reader);
}

/*
 * A member with a full connection, or with room for one message in `every` turns (0: none), is kept
 * up to the limit; then it is dropped, without an effect on the other member.
 */
static void
goes(unsigned every)
{
	static struct rigged r;
	unsigned turns = 0;

	two_told_few_borne(&r);
	flap(&r, 0, FLAPPED, true);
	rig_settle(&r.rig);
	flap(&r, 0, FLAPPED, false);
	while (member_error(r.told[1].m) == 0) {
		assert_true(++turns < 1000);
		shard_turn(&r);
		(void)encode(&r, 0, false);
		if (every != 0 && turns % every == 0)
			encode_little(&r, 1);
		else
			(void)blocked(&r, 1);
	}
	assert_int_equal(member_error(r.told[1].m), -ESTALE);
	assert_int_equal(shard_evictions(r.rig.shard), 1);
	dropped(&r, 1);
	all_is_told(&r);
	assert_int_equal(shard_evictions(r.rig.shard), 1);
	rigged_end(&r);
}

static void
test_who_takes_nothing_goes(void **state)
{
	(void)state;
	goes(0);
	goes(50);
}

/*
 * All members have full connections: the group reads the journal nevertheless, and each member
 * holds its own data.
 */
static void
test_nobody_takes_anything(void **state)
{
	static struct rigged r;
	unsigned turns = 0;

	(void)state;
	two_told_few_borne(&r);
	flap(&r, 0, FLAPPED, true);
	rig_settle(&r.rig);
	flap(&r, 0, FLAPPED, false);
	while (r.told[0].m != NULL || r.told[1].m != NULL) {
		assert_true(++turns < 1000);
		shard_turn(&r);
		for (unsigned i = 0; i < 2; i++) {
			if (r.told[i].m == NULL)
				continue;
			(void)blocked(&r, i);
			if (member_error(r.told[i].m) == -ESTALE)
				dropped(&r, i);
		}
	}
	assert_int_equal(shard_evictions(r.rig.shard), 2);
	all_is_told(&r);
	rigged_end(&r);
}

/*
 * A member was blocked while there was no pressure, then read again: later tombstones are not held
 * against the member.
 */
static void
test_who_takes_again_stays(void **state)
{
	static struct rigged r;

	(void)state;
	two_told_few_borne(&r);
	flap(&r, 0, FLAPPED, true);
	rig_settle(&r.rig);
	for (unsigned i = 0; i < 100; i++) {
		(void)blocked(&r, 1);
		(void)encode(&r, 0, false);
	}
	drain(&r, false);
	flap(&r, 0, FLAPPED, false);
	for (unsigned i = 0; i < 1000; i++) {
		shard_turn(&r);
		(void)encode(&r, 0, false);
		if (i == 500)
			(void)blocked(&r, 1); /* a blocked turn, five seconds after the last */
		assert_int_equal(member_error(r.told[1].m), 0);
	}
	all_is_told(&r);
	assert_int_equal(shard_evictions(r.rig.shard), 0);
	rigged_end(&r);
}

/*
 * A peer reads more slowly than routes are withdrawn, and the connection is full between two
 * messages: the shard waits for the member, and the session stays.
 */
static void
test_slow_reader_stays(void **state)
{
	static struct rigged r;

	(void)state;
	two_told_few_borne(&r);
	r.groups->c.stall_octets = 50; /* messages of the load have 63 */
	flap(&r, 0, FLAPPED, true);
	rig_settle(&r.rig);
	drain(&r, false);
	load(&r, LOADED, 2);
	flap(&r, 0, FLAPPED, false);
	for (unsigned turn = 0; turn < 300; turn++) {
		shard_turn(&r);
		(void)encode(&r, 0, false);
		encode_little(&r, 1);
		(void)blocked(&r, 1);
		(void)blocked(&r, 1);
		encode_little(&r, 1);
		assert_int_equal(member_error(r.told[1].m), 0);
	}
	assert_true(journal_pressed(shard_journal(r.rig.shard)));
	all_is_told(&r);
	assert_int_equal(shard_evictions(r.rig.shard), 0);
	rigged_end(&r);
}

/* Permits the /24s of the table, and no /32. */
static struct policy *
only_table(void)
{
	const struct prefix all = prefix_from_v4(0x0a000000, 8);
	struct policy_prefix_list *l;
	struct policy_builder *b;
	struct policy *p;

	assert_int_equal(policy_prefix_list_create(&l), 0);
	assert_int_equal(policy_prefix_list_add(l, true, &all, 8, 24), 0);
	assert_int_equal(policy_prefix_list_seal(l), 0);
	assert_int_equal(policy_builder_create("only-table", &b), 0);
	assert_int_equal(policy_builder_node(b, 10, true), 0);
	assert_int_equal(policy_builder_match_prefix_list(b, l), 0);
	assert_int_equal(policy_builder_finish(b, &p), 0);
	policy_prefix_list_unref(l);
	return p;
}

/*
 * The connection is full, but the withdrawn routes were never advertised to the member: the member
 * holds no tombstones, so the shard neither drops nor awaits the member.
 */
static void
test_who_holds_nothing_stays(void **state)
{
	struct policy *policy = only_table();
	static struct rigged r;
	unsigned turns = 0;

	(void)state;
	two_told_few_borne(&r);
	for (unsigned i = 0; i < 2; i++)
		update_group_policy(r.told[i].m, policy);
	drain(&r, false);
	load(&r, 10, 3);
	(void)encode(&r, 0, false);
	assert_true(member_pending(r.told[1].m));
	flap(&r, 0, FLAPPED, true);
	flap(&r, 0, FLAPPED, false);
	while (!rig_drained(&r.rig)) {
		assert_true(++turns < 1000);
		shard_turn(&r);
		(void)encode(&r, 0, false);
		(void)blocked(&r, 1);
		assert_int_equal(member_error(r.told[1].m), 0);
	}
	assert_int_equal(behind_of(&r), 1);
	all_is_told(&r);
	assert_int_equal(shard_evictions(r.rig.shard), 0);
	rigged_end(&r);
	policy_destroy(policy);
}

/* ---- one member in ten without room ---- */

/* The other members get the whole table long before the patience of the walk ends. */
static void
test_few_hold_up_nobody(void **state)
{
	static struct rigged r;
	uint64_t until = now_ns() + UINT64_C(300000000000);
	struct update_group_stats s;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	r.groups->c.patience_ns = UINT64_C(600000000000);
	load(&r, 20000, 1);
	join_first(&r, 10);
	while (r.told[0].marks[MARK_END_OF_RIB] == 0 && now_ns() < until)
		for (unsigned i = 0; i < 10; i++) {
			if (i == 9)
				turn_block(r.told[i].m, 0);
			else
				encode(&r, i, false);
		}
	assert_int_equal(r.told[0].marks[MARK_END_OF_RIB], 1);
	update_group_stats(r.told[0].m, &s);
	assert_int_equal(s.fell_behind, 1);
	assert_int_equal(r.told[9].octets, 0);
	drain(&r, false);
	assert_int_equal(r.told[9].marks[MARK_END_OF_RIB], 1);
	rigged_end(&r);
}

/* With half of the members full, the checks of the waiting walk become rare. */
static void
test_waits_grow(void **state)
{
	static struct rigged r;
	uint64_t until = now_ns() + UINT64_C(20000000000), longest = 0, began = 0;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	r.groups->c.patience_ns = UINT64_C(600000000000);
	load(&r, 20000, 1);
	join_first(&r, 10);
	while (longest < 20000000 && now_ns() < until)
		for (unsigned i = 0; i < 10; i++) {
			uint64_t now, at;

			if (i >= 5) {
				turn_block(r.told[i].m, 0);
				continue;
			}
			encode(&r, i, false);
			now = now_ns();
			at = member_wait_ns(r.told[i].m);
			if (at > now && at - now > longest)
				longest = at - now;
			if (at != 0 && began == 0)
				began = now;
		}
	assert_in_range(longest, 20000000, 60000000);
	assert_true(now_ns() - began >= 40000000); /* half of the time so far */
	rigged_end(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_late_thread_costs_no_session),
		cmocka_unit_test(test_late_turn_costs_no_session),
		cmocka_unit_test(test_who_takes_nothing_goes),
		cmocka_unit_test(test_nobody_takes_anything),
		cmocka_unit_test(test_who_takes_again_stays),
		cmocka_unit_test(test_slow_reader_stays),
		cmocka_unit_test(test_who_holds_nothing_stays),
		cmocka_unit_test(test_few_hold_up_nobody),
		cmocka_unit_test(test_waits_grow),
	};

	role_enter_rib();
	role_enter_session();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
