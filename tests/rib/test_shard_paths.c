/* SPDX-License-Identifier: BSD-3-Clause */
/* Path sets shared by destinations. */
#include "rib/shard/shard.h"

#include "rib/policy/policy_build.h"
#include "tests/rib/shard_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* Number of different path sets of 16 prefixes; *stale: number of stale paths of peer 2. */
static unsigned
sets_of(const struct rig *r, const struct rib_nlri *n, unsigned paths, unsigned *stale)
{
	uint64_t seen[16];
	unsigned count = 0;

	*stale = 0;
	for (unsigned i = 0; i < 16; i++) {
		struct dest_view v;
		unsigned k = 0;

		assert_true(rig_view(r, &n[i].prefix, &v));
		assert_int_equal(v.paths->count, paths);
		for (unsigned p = 0; p < paths; p++)
			*stale += v.paths->path[p].peer.v == 2 &&
				  shard_path_stale(r->shard, rig_family(), &v.paths->path[p]);
		while (k < count && seen[k] != v.identity)
			k++;
		seen[k] = v.identity;
		count += k == count;
	}
	return count;
}

/*
 * Prefixes of one UPDATE share a path set if their paths were equal before the UPDATE. A prefix
 * that changes alone leaves the shared set.
 */
static void
test_prefixes_share_their_paths(void **state)
{
	struct rib_nlri n[16];
	union rig_attrs a;
	struct dest_view v;
	unsigned stale;
	struct rig r;

	rig_init(&r, false);
	for (unsigned i = 0; i < 16; i++)
		n[i] = rig_nlri_numbered(i);
	for (uint16_t p = 1; p <= 4; p++) {
		rig_peer(&r, p, 65000u + p, true, false);
		shard_peer_import(r.shard, (struct peer_id){p}, rig_family(), policy_accept_all());
		rig_up(&r, p, 65000u + p, p, true);
		rig_attrs_make(&a, path_65001, 2, 0x0a000000u + p);
		rig_update(&r, p, &a.a, n, 8);
		rig_update(&r, p, &a.a, n + 8, 8);
	}
	rig_settle(&r);
	assert_int_equal(sets_of(&r, n, 4, &stale), 2); /* two UPDATEs of each peer */
	assert_int_equal(stale, 0);
	/* after BoRR peer 2 repeats four of its 16 prefixes: the other twelve are stale */
	rig_event(&r, RIB_BEGIN_REFRESH, 2);
	rig_attrs_make(&a, path_65001, 2, 0x0a000002);
	rig_update(&r, 2, &a.a, n, 4);
	rig_settle(&r);
	assert_int_equal(sets_of(&r, n, 4, &stale), 3);
	assert_int_equal(stale, 12);
	rig_update(&r, 2, &a.a, n + 4, 12);
	rig_event(&r, RIB_END_REFRESH, 2);
	rig_settle(&r);
	assert_int_equal(sets_of(&r, n, 4, &stale), 3);
	assert_int_equal(stale, 0);
	/* a single prefix */
	rig_attrs_make(&a, path_65001, 1, 0x0a000002);
	rig_update(&r, 2, &a.a, &n[3], 1);
	rig_settle(&r);
	assert_int_equal(sets_of(&r, n, 4, &stale), 4);
	assert_true(rig_view(&r, &n[3].prefix, &v));
	assert_int_equal(v.paths->path[0].peer.v, 2);
	/* a lost peer is removed from all sets alike */
	rig_event(&r, RIB_SESSION_DOWN, 3);
	rig_settle(&r);
	assert_int_equal(sets_of(&r, n, 3, &stale), 4);
	assert_int_equal(rig_received(&r, 3), 0);
	for (uint16_t p = 1; p <= 2; p++)
		rig_update(&r, p, NULL, n, 16);
	rig_settle(&r);
	assert_int_equal(sets_of(&r, n, 1, &stale), 1);
	assert_int_equal(rig_received(&r, 4), 16);
	rig_update(&r, 4, NULL, n, 16);
	rig_settle(&r);
	assert_int_equal(dest_count(shard_table(r.shard, r.table)), 0);
	assert_int_equal(attr_table_count(shard_attrs(r.shard)), 0);
	rig_fini(&r);
}

/*
 * A peer announces prefixes whose stale paths of another peer a sweep is about to remove: each
 * change takes a path of one peer and drops a path of the other peer.
 */
static void
test_new_paths_beside_doomed_paths(void **state)
{
	struct rib_nlri n[16];
	union rig_attrs a;
	unsigned stale;
	struct rig r;

	rig_init(&r, false);
	for (unsigned i = 0; i < 16; i++)
		n[i] = rig_nlri_numbered(i);
	for (uint16_t p = 1; p <= 2; p++) {
		rig_peer(&r, p, 65000u + p, true, false);
		shard_peer_import(r.shard, (struct peer_id){p}, rig_family(), policy_accept_all());
		rig_up(&r, p, 65000u + p, p, true);
	}
	rig_attrs_make(&a, path_65001, 2, 0x0a000002u);
	rig_update(&r, 2, &a.a, n, 16);
	rig_settle(&r);
	rig_event(&r, RIB_BEGIN_REFRESH, 2);
	rig_event(&r, RIB_END_REFRESH, 2);
	rig_attrs_make(&a, path_65001, 2, 0x0a000001u);
	rig_update(&r, 1, &a.a, n, 16);
	rig_drain(&r);
	assert_int_equal(rig_received(&r, 1), 16);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 16);
	assert_int_equal(rig_received(&r, 2), 0);
	assert_int_equal(sets_of(&r, n, 1, &stale), 1);
	rig_update(&r, 1, NULL, n, 16);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 0);
	assert_int_equal(dest_count(shard_table(r.shard, r.table)), 0);
	assert_int_equal(attr_table_count(shard_attrs(r.shard)), 0);
	rig_fini(&r);
}

/* Sets preference `first` on the first `count` prefixes, `others` on the rest. */
static struct policy *
preferring(unsigned count, uint32_t first, uint32_t others)
{
	struct policy_prefix_list *l = rig_prefix_list(0, 1, count);
	struct policy_builder *b;
	struct policy *p;

	assert_non_null(l);
	assert_int_equal(policy_builder_create("preferring", &b), 0);
	policy_builder_node(b, 10, true);
	assert_int_equal(policy_builder_match_prefix_list(b, l), 0);
	policy_builder_set_number(b, NUMBER_LOCAL_PREF, first);
	policy_builder_node(b, 20, true);
	policy_builder_set_number(b, NUMBER_LOCAL_PREF, others);
	assert_int_equal(policy_builder_finish(b, &p), 0);
	policy_prefix_list_unref(l);
	return p;
}

/* Peer 1's path of each prefix has the preference of the policy, and the received attributes. */
static void
check_preferences(const struct rig *r, const struct rib_nlri *n, unsigned count, uint32_t first,
	uint32_t others)
{
	for (unsigned i = 0; i < 16; i++) {
		const struct rib_path *p = NULL;
		struct dest_view v;

		assert_true(rig_view(r, &n[i].prefix, &v));
		for (unsigned k = 0; k < v.paths->count; k++)
			if (v.paths->path[k].peer.v == 1)
				p = &v.paths->path[k];
		assert_non_null(p);
		assert_int_equal(attr_of(shard_attrs(r->shard), p->accepted)->local_pref,
			i < count ? first : others);
		assert_int_not_equal(p->received.v, 0);
		assert_int_not_equal(p->received.v, p->accepted.v);
		assert_int_equal(
			attr_of(shard_attrs(r->shard), p->received)->has & ATTR_HAS_LOCAL_PREF, 0);
	}
}

/*
 * rig_settle() with a generous deadline: when a slice of the scan ends by time, sharing ends there
 * for good.
 */
static void
settle_at_leisure(struct rig *r)
{
	rig_put(r);
	do
		r->now_ns += 1000;
	while (shard_work(r->shard, r->now_ns, rig_clock() + 60000000000u));
}

static void
replay(struct rig *r, const struct policy *p)
{
	const struct peer_id one = {1};

	shard_peer_import(r->shard, one, rig_family(), p);
	(void)shard_peer_replay(r->shard, one, rig_family());
	settle_at_leisure(r);
}

/* Replays with preferences `first` and `first` + 1; expects `sets` path sets afterwards. */
static void
replay_into(struct rig *r, struct policy **now, const struct rib_nlri *n, unsigned count,
	uint32_t first, unsigned paths, unsigned sets)
{
	struct policy *before = *now;
	unsigned stale;

	*now = preferring(count, first, first + 1);
	replay(r, *now);
	policy_destroy(before);
	check_preferences(r, n, count, first, first + 1);
	assert_int_equal(sets_of(r, n, paths, &stale), sets);
}

/*
 * Kept routes changed by a policy share path sets, too: on arrival, and in a replay, which
 * evaluates each prefix.
 */
static void
test_kept_ones_share_what_policy_made(void **state)
{
	struct rib_nlri n[16];
	union rig_attrs a;
	unsigned stale;
	struct rig r;

	for (uint16_t others = 0; others <= 2; others++) {
		struct policy *now = preferring(0, 0, 150);

		rig_init(&r, false);
		for (unsigned i = 0; i < 16; i++)
			n[i] = rig_nlri_numbered(i);
		for (uint16_t p = 1; p <= 1 + others; p++) {
			rig_peer(&r, p, 65000u + p, true, false);
			shard_peer_keep(r.shard, (struct peer_id){p}, rig_family(), p == 1);
			shard_peer_import(r.shard, (struct peer_id){p}, rig_family(),
				p == 1 ? now : policy_accept_all());
			rig_up(&r, p, 65000u + p, p, true);
			rig_attrs_make(&a, path_65001, 2, 0x0a000000u + p);
			rig_update(&r, p, &a.a, n, 8);
			rig_update(&r, p, &a.a, n + 8, 8);
		}
		settle_at_leisure(&r);
		check_preferences(&r, n, 0, 0, 150);
		assert_int_equal(sets_of(&r, n, 1 + others, &stale), 2);
		replay_into(&r, &now, n, 0, 200, 1 + others, 2);
		/* the first UPDATE is split in two; equal again, the two sets are not merged */
		replay_into(&r, &now, n, 3, 300, 1 + others, 3);
		replay_into(&r, &now, n, 0, 400, 1 + others, 3);
		replay(&r, policy_deny_all());
		for (uint16_t p = 1; p <= 1 + others; p++)
			rig_update(&r, p, NULL, n, 16);
		rig_settle(&r);
		assert_int_equal(dest_count(shard_table(r.shard, r.table)), 0);
		assert_int_equal(attr_table_count(shard_attrs(r.shard)), 0);
		rig_fini(&r);
		policy_destroy(now);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prefixes_share_their_paths),
		cmocka_unit_test(test_new_paths_beside_doomed_paths),
		cmocka_unit_test(test_kept_ones_share_what_policy_made),
	};
	int failed;

	role_enter_rib();
	role_enter_session();
	rig_mode = RIG_V4;
	failed = cmocka_run_group_tests_name(rig_mode_name(), tests, NULL, NULL);
	rig_mode = RIG_V6;
	return failed + cmocka_run_group_tests_name(rig_mode_name(), tests, NULL, NULL);
}
