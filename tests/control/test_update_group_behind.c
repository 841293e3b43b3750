/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Members behind: a group splits no more than necessary, reads on for the members that take output, and
 * reports how far a member is behind.
 */
#include "tests/control/update_group_members.h"

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define S UINT64_C(1000000000)

/* ---- unnecessary splits ---- */

/* A group without members does not exist, and cannot hold the journal. */
static void
nobody_holds(struct rigged *r)
{
	struct journal *j = shard_journal(r->rig.shard);

	load(r, 100, 1);
	drain(r, false);
	assert_int_equal(journal_safe_sequence(j), journal_head(j) + 1);
}

/*
 * A commit that outlasts the group's wait: the rest gets the same rules while the first members are
 * being split off.
 */
static void
test_rest_follows_during_split(void **state)
{
	static struct rigged r;
	struct update_group_stats s;

	two_told(&r);
	for (unsigned i = 0; i < 2; i++) {
		struct update_rules rules = *update_group_rules_of(r.told[i].m);

		rules.next_hop_unchanged = true;
		update_group_rules(r.told[i].m, &rules);
		for (s.splits = 0; i == 0 && s.splits == 0; update_group_stats(r.told[0].m, &s))
			encode_for(&r, 0, false, 1000);
	}
	assert_int_equal(s.members, 2); /* still running */
	drain(&r, false);
	update_group_stats(r.told[0].m, &s);
	assert_int_equal(s.members, 2);
	nobody_holds(&r);
	rigged_end(&r);
}

/*
 * Commits follow each other faster than a group is copied: the copy completes nevertheless, and
 * does not hold the journal throughout.
 */
static void
test_commits_faster_than_a_split(void **state)
{
	static struct rigged r;
	struct update_group_stats s;

	(void)state;
	two_told(&r);
	for (unsigned round = 1; round <= 40; round++) {
		for (unsigned i = 0; i < 2; i++) {
			struct update_rules rules = *update_group_rules_of(r.told[i].m);
			unsigned number =
				/* no member has the rules of another member a round before */
				2 * round + i;

			rules.next_hop_unchanged = number & 1;
			rules.remove_private_as = number >> 1 & 1;
			rules.as_override = number >> 2 & 1;
			update_group_rules(r.told[i].m, &rules);
		}
		encode_for(&r, 0, false, 1000);
	}
	for (unsigned i = 0; i < 2; i++) {
		update_group_stats(r.told[i].m, &s);
		assert_int_equal(s.members, 1);
	}
	nobody_holds(&r);
	rigged_end(&r);
}

/* Walks of the shard wait for the reader of the table, which reads for both groups of a split. */
static void
test_split_is_paced(void **state)
{
	static struct rigged r;
	uint64_t position;

	(void)state;
	two_told(&r);
	for (unsigned i = 0; i < 2; i++) {
		struct update_rules rules = *update_group_rules_of(r.told[i].m);

		rules.next_hop_unchanged = i == 0;
		rules.as_override = i == 1;
		update_group_rules(r.told[i].m, &rules);
	}
	drain(&r, false);
	assert_false(update_group_shared(r.told[0].m, r.told[1].m));
	for (unsigned i = 0; i < 2; i++) {
		load(&r, 1000, 3 + i);
		assert_true(journal_lag(shard_journal(r.rig.shard), &position) > 900);
		while (encode(&r, i, false))
			;
		assert_int_equal(journal_lag(shard_journal(r.rig.shard), &position), 0);
		drain(&r, false);
	}
	rigged_end(&r);
}

/* A split needs no place in the journal. */
static void
test_split_without_a_cursor(void **state)
{
	static struct journal_cursor *cursor[JOURNAL_CURSORS_MAX];
	static struct rigged r;
	struct journal *j;
	unsigned count = 0;

	(void)state;
	two_told(&r);
	drain(&r, false);
	j = shard_journal(r.rig.shard);
	while (journal_subscribe(j, &cursor[count]) == 0)
		count++;
	for (unsigned i = 0; i < 2; i++) {
		struct update_rules rules = *update_group_rules_of(r.told[i].m);

		rules.next_hop_unchanged = i == 0;
		rules.as_override = i == 1;
		update_group_rules(r.told[i].m, &rules);
	}
	drain(&r, false);
	assert_false(update_group_shared(r.told[0].m, r.told[1].m));
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(member_error(r.told[i].m), 0);
	for (unsigned i = 0; i < count; i++)
		journal_unsubscribe(j, cursor[i]);
	rigged_end(&r);
}

static size_t
address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	size_t pages;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%zu", &pages), 1);
	(void)fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* The group of two members begins a split: the first member gets `policy`. No route is copied yet. */
static void
split_begin(struct rigged *r, const struct policy *policy)
{
	update_group_policy(r->told[0].m, policy);
	update_groups_settle(r->groups);
	qsbr_online(r->rig.readers, r->reader);
	assert_true(split_run(r->told[0].m->group));
	qsbr_offline(r->rig.readers, r->reader);
}

/* No memory for the order of the copy: the session of the member with new rules ends, and nothing else. */
static void
test_split_without_memory(void **state)
{
	static struct rigged r;
	struct rlimit before, limit;
	union rig_attrs a;
	bool any = false;

	(void)state;
#ifdef KEEL_SANITIZED
	skip();
#endif
	two_told(&r);
	owed_add(r.told[0].m->group, (struct dest_id){1u << 28}); /* 64 MiB */
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	limit = (struct rlimit){address_space() + (32u << 20), before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	split_begin(&r, policy_deny_all());
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	order_reset(r.told[0].m->group);
	assert_int_equal(member_error(r.told[0].m), -ENOMEM);
	assert_int_equal(member_error(r.told[1].m), 0);
	assert_null(update_group_leave(r.told[0].m));
	r.told[0].m = NULL;
	r.rig.bulk = true;
	load(&r, 5000, 3);
	r.rig.bulk = false;
	rig_attrs_make(&a, (uint32_t[]){65100}, 1, 0x0a0a0a0a);
	announce(&r, SOURCE, "192.0.2.0/24", &a);
	rig_settle(&r.rig);
	assert_true(update_groups_live_due(r.groups));
	qsbr_online(r.rig.readers, r.reader);
	(void)update_groups_live(r.groups, UINT64_MAX, turn_due, &any);
	qsbr_offline(r.rig.readers, r.reader);
	assert_true(any);
	drain(&r, false);
	assert_int_equal(update_group_advertised(r.told[1].m), 20001);
	rigged_end(&r);
}

/*
 * Routes go before a copy without rules for any route has them: also the member of the copy gets the withdrawals, and the destinations stay until then.
 */
static void
test_withdrawn_before_the_copy(void **state)
{
	static struct rigged r;
	struct update_member_config c;

	(void)state;
	two_told(&r);
	c = member_config(&r, 2);
	c.rules.local_as = 100000; /* reads the journal during the split */
	join(&r, 2, &c);
	drain(&r, true);
	split_begin(&r, policy_deny_all());
	for (unsigned i = LOADED - 100; i < LOADED; i++) {
		struct rib_nlri n = {
			.prefix = prefix_from_v4(0x0a000000u + i * 256, 24), .label = 0xfffff};

		rig_update(&r.rig, SOURCE, NULL, &n, 1);
	}
	rig_settle(&r.rig);
	while (encode(&r, 2, true))
		;
	while (encode(&r, 1, true)) /* ends the copy */
		;
	rig_settle(&r.rig);
	drain(&r, true);
	assert_int_equal(r.told[0].withdrawn, LOADED);
	assert_int_equal(r.told[1].withdrawn, 100);
	assert_int_equal(r.told[2].withdrawn, 100);
	nobody_holds(&r);
	rigged_end(&r);
}

/*
 * Live changes wait for a member that has not had its turn, but not for a member with a full
 * connection.
 */
static void
test_only_full_ones_fall_behind(void **state)
{
	static struct rigged r;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	two_join(&r);
	load(&r, 50000, 1);
	for (unsigned n = 0; n < 1000; n++)
		(void)encode(&r, 0, true);
	assert_in_range(r.told[0].announced, 1, 49999);
	assert_true(member_pending(r.told[1].m));
	assert_int_equal(behind_of(&r), 0);
	turn_hold(r.told[1].m);
	while (encode(&r, 0, true))
		;
	assert_int_equal(r.told[0].announced, 50000);
	assert_int_equal(behind_of(&r), 1);
	drain(&r, true);
	assert_int_equal(r.told[1].announced, 50000);
	assert_int_equal(behind_of(&r), 0);
	rigged_end(&r);
}

/*
 * However short a call is, a member behind receives output: collecting changes does not use up
 * every call.
 */
static void
test_behind_with_little_time(void **state)
{
	static struct rigged r;
	unsigned calls = 0;

	(void)state;
	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	two_join(&r);
	load(&r, 20000, 1);
	while (behind_of(&r) == 0) {
		turn_hold(r.told[1].m);
		(void)encode(&r, 0, false);
	}
	while (r.told[1].announced < 20000) {
		assert_true(++calls <= 20000);
		(void)encode(&r, 0, false);
		(void)encode_for(&r, 1, true, 0);
	}
	rigged_end(&r);
}

/* A member falls behind after a live change has reached its stream: the member still gets this change first. `read`: all bulk before was read. `replaces`: an advertised route. */
static void
live_change_of_the_stream(bool read, bool replaces)
{
	static uint8_t buf[2 * BGP_MSG_MAX];
	static struct rigged r;
	const uint8_t live[4] = {24, 192, 0, 2};
	uint32_t path[2] = {65100, 70001};
	bool more, others;
	union rig_attrs a;
	uint64_t kept_max, first, bulk;
	size_t len;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	kept_max = r.groups->c.kept_max;
	r.groups->c.kept_max = 64u << 20;
	two_join(&r);
	rig_attrs_make(&a, path, 1, 0x0a0a0a0a);
	if (replaces) {
		load(&r, 4000, 2);
		announce(&r, SOURCE, "192.0.2.0/24", &a);
	}
	rig_settle(&r.rig);
	drain(&r, true);
	first = r.told[0].announced;
	r.rig.bulk = true;
	load(&r, 4000, 1);
	r.rig.bulk = false;
	bulk = replaces ? 3999 : 4000; /* the first route is equal in both loads */
	while (read && r.told[0].announced < first + bulk)
		(void)encode(&r, 0, true);
	rig_attrs_make(&a, path, 2, 0x0a0a0a0a);
	announce(&r, SOURCE, "192.0.2.0/24", &a);
	rig_settle(&r.rig);
	while (r.told[0].announced < first + bulk + 1)
		(void)encode(&r, 0, true);
	turn_hold(r.told[1].m);
	r.groups->c.kept_max = 1;
	announce(&r, SOURCE, "198.51.100.0/24", &a);
	rig_settle(&r.rig);
	while (behind_of(&r) == 0)
		(void)encode(&r, 0, true);
	r.groups->c.kept_max = kept_max;

	qsbr_online(r.rig.readers, r.reader);
	len = turn_send(
		r.told[1].m, buf, sizeof(buf), UINT64_MAX, &more, &others, on_mark, &r.told[1]);
	qsbr_offline(r.rig.readers, r.reader);
	assert_non_null(memmem(buf, len, live, sizeof(live)));
	drain(&r, true);
	rigged_end(&r);
}

static void
test_live_change_of_the_stream(void **state)
{
	(void)state;
	live_change_of_the_stream(false, false);
	live_change_of_the_stream(true, false);
	live_change_of_the_stream(true, true);
}

/* ---- reading on for the group ---- */

/* Turns of member `i` alone, also at the times when it asks for one. */
static void
drain_one(struct rigged *r, unsigned i)
{
	uint64_t until = now_ns() + 120 * S;

	while (encode(r, i, true) || member_wait_ns(r->told[i].m) != 0 ||
		member_pending(r->told[i].m))
		assert_true(now_ns() < until);
}

/* Member 1 is behind and must receive 100 withdrawals. */
static void
two_told_one_behind(struct rigged *r)
{
	two_told(r);
	load(r, LOADED, 1);
	while (behind_of(r) == 0) {
		turn_hold(r->told[1].m);
		(void)encode(r, 0, false);
	}
	drain_one(r, 0);
	for (unsigned i = 0; i < 100; i++) {
		struct rib_nlri n = {
			.prefix = prefix_from_v4(0x0a000000u + i * 256, 24), .label = 0xfffff};

		rig_update(&r->rig, SOURCE, NULL, &n, 1);
	}
	rig_settle(&r->rig);
	drain_one(r, 0);
}

/* Member 0 reads a part of the journal. */
static void
read_some(struct rigged *r, struct journal *j)
{
	uint64_t position, all = journal_lag(j, &position);

	while (journal_lag(j, &position) == all)
		(void)encode_for(r, 0, false, 20000);
}

/*
 * Member 1 is behind and has withdrawals to receive; member 0 has read to a position where no
 * withdrawal is allowed yet, and then has a full connection, well below the limit. Member 1 reads
 * on for both, and finally overtakes member 0.
 */
static void
test_behind_goes_on_for_full_ones(void **state)
{
	static struct rigged r;
	struct journal *j;
	uint64_t position;
	unsigned calls = 0;
	bool others;

	(void)state;
	two_told_one_behind(&r);
	j = shard_journal(r.rig.shard);
	flap(&r, 0, FLAPPED, true);
	rig_settle(&r.rig);
	flap(&r, 0, FLAPPED, false);
	rig_settle(&r.rig);
	read_some(&r, j);
	assert_true(journal_lag(j, &position) > 0);
	others = blocked(&r, 0);
	while (encode(&r, 1, true) || member_pending(r.told[1].m))
		assert_true(++calls < 10000);
	assert_int_equal(journal_lag(j, &position), 0);
	assert_int_equal(r.told[1].withdrawn, 100);
	assert_int_equal(behind_of(&r), 0);
	assert_true(others); /* without work for other members the session would not call again */
	assert_false(blocked(&r, 0)); /* only once */
	drain(&r, true);
	rigged_end(&r);
}

/* As before, but more changes than the group keeps for full connections. */
static void
full_one_falls_behind(bool bulk)
{
	static struct rigged r;
	uint64_t position;
	struct journal *j;

	two_told_one_behind(&r);
	j = shard_journal(r.rig.shard);
	r.rig.bulk = bulk;
	flap(&r, 0, FLAPPED, true);
	rig_settle(&r.rig);
	load(&r, LOADED, 2);
	flap(&r, 0, FLAPPED, false);
	rig_settle(&r.rig);
	r.rig.bulk = false;
	read_some(&r, j);
	assert_true(journal_lag(j, &position) > LOADED);
	assert_true(blocked(&r, 0));
	drain_one(&r, 1);
	assert_int_equal(journal_lag(j, &position), 0);
	assert_int_equal(behind_of(&r), 1);
	drain(&r, true);
	assert_int_equal(behind_of(&r), 0);
	rigged_end(&r);
}

static void
test_full_ones_fall_behind_by_it(void **state)
{
	(void)state;
	full_one_falls_behind(false);
	full_one_falls_behind(true);
}

/* A policy walk waits for a connection without room. A new member needs the end of the walk, and gets the table. */
static void
test_join_with_a_full_one(void **state)
{
	static struct rigged r;
	struct update_member_config c;

	(void)state;
	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	load(&r, LOADED, 1);
	c = member_config(&r, 0);
	join(&r, 0, &c);
	drain(&r, true);
	c.rules.next_hop_unchanged = true;
	update_group_rules(r.told[0].m, &c.rules);
	turn_hold(r.told[0].m);
	c = member_config(&r, 1);
	c.rules.next_hop_unchanged = true;
	join(&r, 1, &c);
	assert_true(update_group_shared(r.told[0].m, r.told[1].m));
	drain_one(&r, 1);
	assert_int_equal(r.told[1].marks[MARK_END_OF_RIB], 1);
	assert_int_equal(r.told[1].announced, LOADED);
	assert_int_equal(behind_of(&r), 1);
	drain(&r, true);
	assert_int_equal(r.told[0].announced, 2 * LOADED);
	rigged_end(&r);
}

/* ---- how far a member is behind ---- */

/* A changed route at time `now`. */
static void
change_at(struct rigged *r, uint64_t now)
{
	static uint32_t number = 80000;
	uint32_t path[2] = {65100, ++number};
	struct rib_nlri n = {.prefix = prefix_from_v4(0x0a000000u, 24), .label = 0xfffff};
	union rig_attrs a;

	rig_attrs_make(&a, path, 2, 0x0a0a0a0a);
	rig_update(&r->rig, SOURCE, &a.a, &n, 1);
	rig_settle(&r->rig);
	update_groups_gather(r->groups, now, false);
}

static void
take_all(struct rigged *r, unsigned i)
{
	while (encode(r, i, false) || member_pending(r->told[i].m))
		;
}

/* The first messages of a batch. */
static void
take_some(struct rigged *r, unsigned i)
{
	static uint8_t buf[2 * BGP_MSG_MAX];
	bool more, others;

	qsbr_online(r->rig.readers, r->reader);
	assert_int_not_equal(turn_send(r->told[i].m, buf, sizeof(buf), UINT64_MAX, &more, &others,
				     on_mark, &r->told[i]),
		0);
	qsbr_offline(r->rig.readers, r->reader);
}

static void
expect_lag(struct rigged *r, unsigned i, uint64_t now, uint64_t lag)
{
	uint64_t seen = update_group_lag_ns(r->told[i].m, now);

	assert_in_range(seen, lag > S / 5 ? lag - S / 5 : 0, lag > 0 ? lag + S / 5 : 0);
}

static void
test_lag(void **state)
{
	static struct rigged r;
	uint64_t t = 100 * S;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	load(&r, 10, 1);
	update_groups_gather(r.groups, t, false);
	join_first(&r, 2);
	drain(&r, false);
	assert_true(update_group_shared(r.told[0].m, r.told[1].m));
	for (unsigned i = 0; i < 2; i++) {
		expect_lag(&r, i, t + 50 * S, 0);
		assert_false(update_group_waits(r.told[i].m));
	}
	/* The oldest message counts. */
	change_at(&r, t + S);
	turn_block(r.told[1].m, UINT64_MAX);
	take_all(&r, 0);
	change_at(&r, t + 5 * S);
	take_all(&r, 0);
	assert_true(update_group_waits(r.told[1].m));
	expect_lag(&r, 1, t + 11 * S, 10 * S);
	expect_lag(&r, 0, t + 11 * S, 0);
	/* Likewise behind the stream, and until the member is back. */
	behind_begin(r.told[1].m);
	assert_true(update_group_waits(r.told[1].m));
	expect_lag(&r, 1, t + 21 * S, 20 * S);
	take_all(&r, 1);
	assert_false(update_group_waits(r.told[1].m));
	expect_lag(&r, 1, t + 21 * S, 0);
	/* Messages that no member has taken are no distance. */
	load(&r, 2000, 1);
	update_groups_gather(r.groups, t + 30 * S, false);
	take_some(&r, 0);
	for (unsigned i = 0; i < 2; i++)
		turn_block(r.told[i].m, 0);
	assert_true(update_group_waits(r.told[0].m));
	expect_lag(&r, 0, t + 50 * S, 0);
	expect_lag(&r, 1, t + 50 * S, 20 * S);
	/* The other member passes, and leaves. */
	take_all(&r, 1);
	expect_lag(&r, 1, t + 50 * S, 0);
	expect_lag(&r, 0, t + 50 * S, 20 * S);
	assert_null(update_group_leave(r.told[1].m));
	r.told[1].m = NULL;
	take_all(&r, 0);
	expect_lag(&r, 0, t + 50 * S, 0);
	rigged_end(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rest_follows_during_split),
		cmocka_unit_test(test_commits_faster_than_a_split),
		cmocka_unit_test(test_split_is_paced),
		cmocka_unit_test(test_split_without_a_cursor),
		cmocka_unit_test(test_split_without_memory),
		cmocka_unit_test(test_withdrawn_before_the_copy),
		cmocka_unit_test(test_only_full_ones_fall_behind),
		cmocka_unit_test(test_behind_with_little_time),
		cmocka_unit_test(test_live_change_of_the_stream),
		cmocka_unit_test(test_behind_goes_on_for_full_ones),
		cmocka_unit_test(test_full_ones_fall_behind_by_it),
		cmocka_unit_test(test_join_with_a_full_one),
		cmocka_unit_test(test_lag),
	};

	role_enter_rib();
	role_enter_session();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
