/* SPDX-License-Identifier: BSD-3-Clause */
/* What destinations share. */
#include "rib/shard.h"

#include "tests/rib/shard_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* How many different sets of paths 16 prefixes have, and how many of peer 2's paths are stale. */
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

/* What an UPDATE makes of prefixes that were alike is one set of paths, until one of them is told something else. */
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
		n[i] = rig_nlri(0x01000000 + (i << 8), 24);
	for (uint16_t p = 1; p <= 4; p++) {
		rig_peer(&r, p, 65000u + p, true, false);
		shard_peer_import(r.shard, (struct peer_id){p}, rig_family(), policy_accept_all());
		rig_up(&r, p, 65000u + p, p, true);
		rig_attrs_make(&a, path_65001, 2, 0x0a000000u + p);
		rig_update(&r, p, &a.a, n, 8);
		rig_update(&r, p, &a.a, n + 8, 8);
	}
	rig_settle(&r);
	assert_int_equal(sets_of(&r, n, 4, &stale), 2); /* two UPDATEs of each */
	assert_int_equal(stale, 0);
	/* a refresh of half of the first: stamps of the others stay old */
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
	/* one alone */
	rig_attrs_make(&a, path_65001, 1, 0x0a000002);
	rig_update(&r, 2, &a.a, &n[3], 1);
	rig_settle(&r);
	assert_int_equal(sets_of(&r, n, 4, &stale), 4);
	assert_true(rig_view(&r, &n[3].prefix, &v));
	assert_int_equal(v.paths->path[0].peer.v, 2);
	/* a peer is lost, of all at once */
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prefixes_share_their_paths),
	};
	int failed;

	role_enter_rib();
	role_enter_session();
	rig_mode = RIG_V4;
	failed = cmocka_run_group_tests_name(rig_mode_name(), tests, NULL, NULL);
	rig_mode = RIG_V6;
	return failed + cmocka_run_group_tests_name(rig_mode_name(), tests, NULL, NULL);
}
