/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/fib.h"
#include "lpm/inspect.h"

#include "lpm/table_v4.h"
#include "tests/lpm/fib_rig.h"
#include "tests/lpm/lpm_test.h"
#include "tests/lpm/one_thread.h"
#include "tests/lpm/size.h"
#include "tests/oracle/lpm_oracle.h"

#include <pthread.h>

#ifdef KEEL_SANITIZED
#define TABLE_ROUTES 40000
#define LONG_ROUTES 8000
#define GENERATIONS 400
#else
#define TABLE_ROUTES test_size(400000, 1200000)
#define LONG_ROUTES test_size(52000, 210000) /* 200,000 after removal of duplicates */
#define GENERATIONS test_size(1000, 3000)
#endif

static void
fib_make(uint32_t groups)
{
	fib_begin((struct fib_config){
		.memory_bytes = (size_t)4 << 30, .huge = true, .tbl8_groups = groups});
	assert_int_equal(fib_vrf_add(fib, VRF_DEFAULT, AFI_IPV4), 0);
}

static struct fib_stats
stats(void)
{
	struct fib_stats s;

	fib_stats_get(fib, &s);
	return s;
}

static void
test_basics(void **state)
{
	struct prefix p = pfx("10.0.0.0/8"), found;
	struct ip_addr a;
	struct path_list_id id;
	struct fib_stats before;

	(void)state;
	fib_make(16);
	lists_make(4);
	check("10.0.0.1", NULL, list[0]);
	assert_int_equal(stats().generation, 1);
	assert_int_equal(fib_withdraw(fib, VRF_DEFAULT, &p), -ENOENT);
	assert_int_equal(fib_set(fib, (struct vrf_id){3}, &p, list[0]), -ENOENT);
	set("10.0.0.0/8", list[0]);
	assert_int_equal(fib_batch_count(fib), 1);
	assert_true(fib_shadow_get(fib, VRF_DEFAULT, &p, &id));
	assert_int_equal(id.v, list[0].v);
	check("10.0.0.1", NULL, list[0]); /* not published yet */
	assert_int_equal(commit(), 0);
	assert_int_equal(fib_batch_count(fib), 0);
	check("10.0.0.1", "10.0.0.0/8", list[0]);
	assert_int_equal(stats().generation, 2);
	assert_int_equal(stats().writes, 65536);
	assert_int_equal(stats().installed, 1);
	assert_false(fib_settled(fib));
	settle();
	before = stats();
	set("10.0.0.0/8", list[0]);
	assert_int_equal(fib_batch_count(fib), 0);
	assert_int_equal(commit(), 0);
	assert_int_equal(stats().generation, before.generation);
	assert_int_equal(stats().writes, before.writes);
	set("10.0.0.0/8", list[1]);
	set("10.0.0.0/24", list[2]);
	set("10.0.0.7/32", list[3]);
	assert_int_equal(commit(), 0);
	check("10.0.0.7", "10.0.0.7/32", list[3]);
	check("10.0.0.8", "10.0.0.0/24", list[2]);
	check("10.0.1.8", "10.0.0.0/8", list[1]);
	withdraw("10.0.0.0/24");
	assert_int_equal(commit(), 0);
	check("10.0.0.8", "10.0.0.0/8", list[1]);
	withdraw("10.0.0.7/32");
	withdraw("10.0.0.0/8");
	assert_int_equal(addr_parse("10.0.0.7", &a), 0);
	assert_false(fib_shadow_lookup(fib, VRF_DEFAULT, &a, &found, &id));
	assert_int_equal(commit(), 0);
	check("10.0.0.7", NULL, list[0]);
	assert_int_equal(stats().groups_used, 0);
	assert_int_equal(stats().installed, 0);
	settle();
	lists_drop(4);
	fib_unmake();
}

static void
test_default_route(void **state)
{
	uint32_t ip[2] = {0x0a000001, 0xc0000001}, out[2];
	uint64_t writes;

	(void)state;
	fib_make(16);
	lists_make(3);
	set("0.0.0.0/0", list[0]);
	set("10.0.0.0/24", list[1]);
	assert_int_equal(commit(), 0);
	writes = stats().writes;
	assert_int_equal(writes, 1); /* 0/0 is not painted */
	check("10.0.0.1", "10.0.0.0/24", list[1]);
	check("192.0.0.1", "0.0.0.0/0", list[0]);
	qsbr_online(workers, me);
	fib_read_v4_bulk(fib_reader(fib), fib_read_begin(fib_reader(fib)), VRF_DEFAULT, ip, out, 2);
	qsbr_offline(workers, me);
	assert_int_equal(out[0], list[1].v);
	assert_int_equal(out[1], list[0].v);
	set("0.0.0.0/0", list[2]);
	assert_int_equal(commit(), 0);
	check("192.0.0.1", "0.0.0.0/0", list[2]);
	withdraw("0.0.0.0/0");
	assert_int_equal(commit(), 0);
	check("192.0.0.1", NULL, list[0]);
	assert_int_equal(stats().writes, writes);
	lists_drop(3);
	fib_unmake();
}

/*
 * Commit never waits: a reader without quiescent reports delays the second commit, not the first.
 */
static void
test_reader_holds(void **state)
{
	const struct fib_generation *g;
	uint32_t ip = 0x0a000001, out;

	(void)state;
	fib_make(16);
	lists_make(3);
	set("10.0.0.0/8", list[0]);
	assert_int_equal(commit(), 0);
	settle();
	qsbr_online(workers, me);
	g = fib_read_begin(fib_reader(fib));
	set("10.0.0.0/8", list[1]);
	assert_int_equal(fib_commit(fib, 1000), 0);
	set("10.0.0.0/8", list[2]);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(fib_commit(fib, 1000), -EAGAIN);
	fib_read_v4_bulk(fib_reader(fib), g, VRF_DEFAULT, &ip, &out, 1);
	assert_int_equal(out, list[0].v);
	fib_read_v4_bulk(
		fib_reader(fib), fib_read_begin(fib_reader(fib)), VRF_DEFAULT, &ip, &out, 1);
	assert_int_equal(out, list[1].v);
	qsbr_quiescent(workers, me);
	assert_int_equal(fib_commit(fib, 5000), 0);
	fib_read_v4_bulk(
		fib_reader(fib), fib_read_begin(fib_reader(fib)), VRF_DEFAULT, &ip, &out, 1);
	assert_int_equal(out, list[2].v);
	qsbr_offline(workers, me);
	lists_drop(3);
	fib_unmake();
}

static void
assert_late(uint64_t grace, uint64_t commits)
{
	struct fib_stats s;

	fib_stats_get(fib, &s);
	assert_int_equal(s.grace_late, grace);
	assert_int_equal(s.commits_delayed, commits);
}

#define AGES_NS                                                                                    \
	(100000 * (uint64_t)FIB_LATE_NS) /* longer than painting takes on any busy machine */

/*
 * A reader that does not run: counted once per generation as late, and as delaying a commit only
 * if a commit waited.
 */
static void
test_late_readers_are_counted(void **state)
{
	const struct hist *grace;
	struct hist_summary before, after;
	uint64_t now = 1000;

	(void)state;
	fib_make(16);
	lists_make(3);
	grace = fib_grace_hist(fib);
	qsbr_online(workers, me);
	set("10.0.0.0/8", list[0]);
	assert_int_equal(fib_commit(fib, now), 0);
	hist_summarize(&grace, 1, &before);
	assert_false(fib_in_use(fib, now));
	assert_late(0, 0);
	/* bringing the idle copy up to date is not a delayed commit */
	now += AGES_NS;
	assert_int_equal(fib_commit(fib, now), -EAGAIN);
	assert_false(fib_in_use(fib, now));
	assert_late(1, 0);
	set("10.0.0.0/8", list[1]);
	assert_int_equal(fib_commit(fib, now), -EAGAIN);
	assert_int_equal(fib_commit(fib, now), -EAGAIN);
	assert_late(1, 1);
	qsbr_quiescent(workers, me);
	assert_true(fib_in_use(fib, now));
	hist_summarize(&grace, 1, &after);
	assert_int_equal(after.count, before.count + 1);
	assert_int_equal(fib_commit(fib, now), 0);
	/* a reader in time */
	qsbr_quiescent(workers, me);
	assert_true(fib_in_use(fib, now));
	assert_true(fib_in_use(fib, now + AGES_NS));
	hist_summarize(&grace, 1, &after);
	assert_int_equal(after.count, before.count + 2);
	assert_late(1, 1);
	qsbr_offline(workers, me);
	settle();
	lists_drop(3);
	fib_unmake();
}

/* A list stays in use while the shadow or a copy contains the list. */
static void
test_references(void **state)
{
	struct path_lists *p;
	unsigned none;

	(void)state;
	fib_make(16);
	p = fib_path_lists(fib);
	none = path_lists_in_use(p);
	lists_make(3);
	set("10.0.0.0/8", list[0]);
	assert_int_equal(commit(), 0);
	settle();
	set("10.0.0.0/8", list[1]); /* never painted: released at once */
	set("10.0.0.0/8", list[2]);
	set("10.0.0.0/8", list[1]);
	lists_drop(3);
	path_lists_reclaim(p);
	path_lists_reclaim(p);
	assert_int_equal(path_lists_in_use(p), none + 2);
	qsbr_online(workers, me);
	assert_int_equal(fib_commit(fib, 1000), 0);
	/* this reader may use the copy with list[0] */
	assert_int_equal(fib_commit(fib, 1000), -EAGAIN);
	path_lists_reclaim(p);
	path_lists_reclaim(p);
	assert_int_equal(path_lists_in_use(p), none + 2);
	qsbr_quiescent(workers, me);
	assert_int_equal(fib_commit(fib, 1000), 0);
	qsbr_offline(workers, me);
	path_lists_reclaim(p);
	path_lists_reclaim(p);
	assert_int_equal(path_lists_in_use(p), none + 1);
	withdraw("10.0.0.0/8");
	settle();
	path_lists_reclaim(p);
	path_lists_reclaim(p);
	assert_int_equal(path_lists_in_use(p), none);
	fib_unmake();
}

/* Both VRFs are published together; a VRF without a table has no routes. */
static void
test_vrfs(void **state)
{
	struct vrf_id red = {5};
	struct prefix p = pfx("10.0.0.0/8");
	struct ip_addr a = addr_from_v4(0x0a000001);
	const struct fib_generation *g;
	struct fib_result result;
	uint32_t ip = 0x0a000001, out;

	(void)state;
	fib_make(16);
	lists_make(2);
	assert_int_equal(fib_lookup(fib, red, &a, &result), -ENOENT);
	assert_int_equal(fib_vrf_add(fib, red, AFI_IPV4), 0);
	assert_int_equal(fib_lookup(fib, red, &a, &result), 0);
	assert_false(result.hit);
	set("10.0.0.0/8", list[0]);
	assert_int_equal(fib_set(fib, red, &p, list[1]), 0);
	g = fib_read_begin(fib_reader(fib));
	fib_read_v4_bulk(fib_reader(fib), g, red, &ip, &out, 1);
	assert_int_equal(out, PATH_LIST_NONE);
	assert_int_equal(commit(), 0);
	g = fib_read_begin(fib_reader(fib));
	fib_read_v4_bulk(fib_reader(fib), g, VRF_DEFAULT, &ip, &out, 1);
	assert_int_equal(out, list[0].v);
	fib_read_v4_bulk(fib_reader(fib), g, red, &ip, &out, 1);
	assert_int_equal(out, list[1].v);
	fib_read_v4_bulk(fib_reader(fib), g, (struct vrf_id){6}, &ip, &out, 1);
	assert_int_equal(out, PATH_LIST_NONE);
	assert_int_equal(fib_vrf_add(fib, (struct vrf_id){FIB_VRF_MAX}, AFI_IPV4), -ENOSPC);
	lists_drop(2);
	fib_unmake();
}

/* The memory limit is enforced and reported. */
static void
test_memory(void **state)
{
	(void)state;
	fib_begin((struct fib_config){.memory_bytes = (size_t)210 << 20});
	assert_int_equal(fib_vrf_add(fib, VRF_DEFAULT, AFI_IPV4), 0);
	assert_in_range(stats().memory_bytes, (size_t)192 << 20, (size_t)210 << 20);
	assert_int_equal(fib_vrf_add(fib, (struct vrf_id){1}, AFI_IPV4), -ENOSPC);
	assert_int_equal(fib_vrf_add(fib, (struct vrf_id){1}, AFI_IPV6), -ENOSPC);
	fib_unmake();
}

/*
 * Any limit above the first levels is accepted, although copies consist of whole huge pages; the
 * copies get the groups that fit.
 */
static void
test_memory_is_not_whole_pages(void **state)
{
	static const size_t over[] = {0, 4096, 3 << 20, (4 << 20) - 4096, 9 << 20};
	const size_t page = 2 << 20;

	(void)state;
	for (enum afi afi = AFI_IPV4; afi <= AFI_IPV6; afi++)
		for (unsigned i = 0; i < sizeof(over) / sizeof(over[0]); i++) {
			size_t bytes =
				2 * (afi == AFI_IPV6 ? table_v6_bytes(0) : table_v4_bytes(0)) +
				over[i];

			fib_begin((struct fib_config){.memory_bytes = bytes});
			assert_int_equal(fib_vrf_add(fib, VRF_DEFAULT, afi), 0);
			assert_in_range(stats().memory_bytes, bytes - 2 * page + 1, bytes);
			fib_unmake();
		}
}

/* A route already waiting for a group gets the group before a later route. */
static void
test_waiting_first(void **state)
{
	(void)state;
	fib_make(1);
	lists_make(3);
	set("10.0.0.1/32", list[0]);
	set("10.0.1.1/32", list[1]);
	assert_int_equal(commit(), -ENOSPC);
	check("10.0.1.1", NULL, list[0]);
	withdraw("10.0.0.1/32");
	set("10.0.2.1/32", list[2]);
	assert_int_equal(commit(), -ENOSPC);
	check("10.0.0.1", NULL, list[0]);
	check("10.0.1.1", "10.0.1.1/32", list[1]);
	check("10.0.2.1", NULL, list[0]);
	/* a waiting route, withdrawn and set again, still gets the next free group */
	withdraw("10.0.2.1/32");
	set("10.0.2.1/32", list[2]);
	withdraw("10.0.1.1/32");
	assert_int_equal(commit(), 0);
	check("10.0.2.1", "10.0.2.1/32", list[2]);
	lists_drop(3);
	fib_unmake();
}

/*
 * With more /32 than groups, whole /24s wait, the rest is installed, and waiting /24s are
 * installed when groups become free. The oracle learns by a lookup of each /32 whether the route
 * is installed: all routes of a /24, or none.
 */
static void
test_exhaustion(void **state)
{
	enum { GROUPS = 40, USUAL = 38, SLOTS_24 = 100, EACH = 3 };
	static bool present[SLOTS_24][EACH];
	uint64_t seed = 11;

	(void)state;
	fib_make(GROUPS);
	lists_make(8);
	memset(present, 0, sizeof(present));
	set("10.0.0.0/8", list[0]);
	for (unsigned step = 0; step < 3000; step++) {
		unsigned installed = 0, wanted = 0, waiting = 0;
		int err;

		for (unsigned n = rnd_below(&seed, 30); n > 0; n--) {
			unsigned i = rnd_below(&seed, SLOTS_24), k = rnd_below(&seed, EACH);
			struct prefix p = prefix_from_v4(0x0a000000 + i * 256 + k, 32);

			/* phases of growth and of decrease */
			if (rnd_below(&seed, 8) < (step / 200 % 2 ? 2u : 6u)) {
				assert_int_equal(fib_set(fib, VRF_DEFAULT, &p,
							 list[1 + rnd_below(&seed, 7)]),
					0);
				present[i][k] = true;
			} else {
				assert_int_equal(fib_withdraw(fib, VRF_DEFAULT, &p),
					present[i][k] ? 0 : -ENOENT);
				present[i][k] = false;
			}
		}
		err = commit();
		qsbr_online(workers, me);
		for (unsigned i = 0; i < SLOTS_24; i++) {
			unsigned here = 0, found = 0;

			for (unsigned k = 0; k < EACH; k++) {
				struct ip_addr a = addr_from_v4(0x0a000000 + i * 256 + k);
				struct prefix p = prefix_from_addr(&a, 32);
				struct path_list_id id = list[0];
				struct fib_result result;

				assert_int_equal(fib_lookup(fib, VRF_DEFAULT, &a, &result), 0);
				assert_true(result.hit);
				assert_int_equal(fib_is_waiting(fib, VRF_DEFAULT, &p),
					present[i][k] && result.prefix.len != 32);
				if (result.prefix.len == 32)
					assert_true(fib_shadow_get(fib, VRF_DEFAULT, &p, &id));
				assert_int_equal(result.path_list.v, id.v);
				here += present[i][k];
				found += result.prefix.len == 32;
			}
			assert_true(found == 0 || found == here);
			wanted += here > 0;
			installed += found > 0;
			waiting += here - found;
		}
		qsbr_offline(workers, me);
		assert_int_equal(installed, wanted < USUAL ? wanted : USUAL);
		assert_int_equal(err, waiting > 0 ? -ENOSPC : 0);
		assert_int_equal(stats().not_installed, waiting);
		assert_int_equal(stats().groups_used, installed);
	}
	settle();
	lists_drop(8);
	fib_unmake();
}

static void
set_own(const char *text, struct path_list_id id)
{
	struct prefix p = pfx(text);

	assert_int_equal(fib_set_host(fib, VRF_DEFAULT, &p, id), 0);
}

/* 10.0.0.0/25 to 10.0.49.0/25: each needs a group. */
static void
flood(void)
{
	for (unsigned i = 0; i < 50; i++) {
		struct prefix p = prefix_from_v4(0x0a000000 + i * 256, 25);

		assert_int_equal(fib_set(fib, VRF_DEFAULT, &p, list[0]), 0);
	}
}

/* A flood of long prefixes leaves a sixteenth of the groups to host routes. */
static void
test_groups_kept_back(void **state)
{
	(void)state;
	fib_make(32);
	lists_make(4);
	flood();
	assert_int_equal(commit(), -ENOSPC);
	assert_int_equal(stats().groups_used, 30);
	assert_int_equal(stats().not_installed, 20);
	set_own("192.0.2.1/32", list[1]);
	assert_int_equal(commit(), -ENOSPC);
	check("192.0.2.1", "192.0.2.1/32", list[1]);
	assert_int_equal(stats().not_installed, 20);
	/* a waiting host route is installed with its whole /24 */
	check("10.0.49.200", NULL, list[0]);
	set("10.0.49.128/25", list[2]);
	set_own("10.0.49.0/25", list[1]);
	assert_int_equal(commit(), -ENOSPC);
	check("10.0.49.1", "10.0.49.0/25", list[1]);
	check("10.0.49.200", "10.0.49.128/25", list[2]);
	assert_int_equal(stats().groups_used, 32);
	assert_int_equal(stats().not_installed, 19);
	/* all groups are in use */
	set_own("192.0.3.1/32", list[3]);
	assert_int_equal(commit(), -ENOSPC);
	check("192.0.3.1", NULL, list[0]);
	/* repeated when a group is free, without a change of the route */
	withdraw("192.0.2.1/32");
	set_own("192.0.3.1/32", list[3]);
	assert_int_equal(commit(), -ENOSPC);
	check("192.0.3.1", "192.0.3.1/32", list[3]);
	/* groups that become free beyond the kept ones go to waiting routes */
	for (unsigned i = 0; i < 30; i++) {
		struct prefix p = prefix_from_v4(0x0a000000 + i * 256, 25);

		assert_int_equal(fib_withdraw(fib, VRF_DEFAULT, &p), 0);
	}
	assert_int_equal(commit(), 0);
	assert_int_equal(stats().not_installed, 0);
	settle();
	lists_drop(4);
	fib_unmake();
}

/* A waiting host route gets the next free group, even a kept group, without another call. */
static void
test_own_waits(void **state)
{
	(void)state;
	fib_make(32);
	lists_make(4);
	flood();
	set_own("192.0.2.1/32", list[1]);
	set_own("192.0.3.1/32", list[1]);
	set_own("192.0.4.1/32", list[2]);
	set_own("192.0.5.1/32", list[2]);
	assert_int_equal(commit(), -ENOSPC);
	assert_int_equal(stats().groups_used, 32);
	check("192.0.4.1", NULL, list[0]);
	settle();
	withdraw("192.0.2.1/32");
	assert_int_equal(commit(), -ENOSPC);
	check("192.0.4.1", "192.0.4.1/32", list[2]);
	check("192.0.5.1", NULL, list[0]);
	settle();
	/* before the routes of the flood */
	withdraw("10.0.0.0/25");
	assert_int_equal(commit(), -ENOSPC);
	check("192.0.5.1", "192.0.5.1/32", list[2]);
	check("10.0.49.1", NULL, list[0]);
	settle();
	/* not if the route is removed or is not a host route any more */
	set_own("192.0.6.1/32", list[1]);
	set_own("192.0.7.1/32", list[1]);
	set("192.0.6.1/32", list[3]);
	withdraw("192.0.7.1/32");
	withdraw("192.0.3.1/32");
	assert_int_equal(commit(), -ENOSPC);
	check("192.0.6.1", NULL, list[0]);
	check("192.0.7.1", NULL, list[0]);
	assert_int_equal(stats().groups_used, 31);
	settle();
	lists_drop(4);
	fib_unmake();
}

/*
 * Installing the longer prefixes of a waiting /24 keeps the list of the /24 itself in use while
 * copies still contain the list.
 */
static void
test_group_for_a_slot(void **state)
{
	struct path_lists *p;

	(void)state;
	fib_make(16);
	p = fib_path_lists(fib);
	lists_make(4);
	for (unsigned i = 0; i < 15; i++) {
		struct prefix slot = prefix_from_v4(0x0a000000 + i * 256, 25);

		assert_int_equal(fib_set(fib, VRF_DEFAULT, &slot, list[0]), 0);
	}
	set("10.9.0.0/24", list[1]);
	set("10.9.0.128/25", list[0]);
	assert_int_equal(commit(), -ENOSPC);
	settle();
	set_own("10.9.0.1/32", list[3]);
	set("10.9.0.0/24", list[2]);
	path_list_unref(p, list[1]); /* the test's reference */
	check("10.9.0.2", "10.9.0.0/24", list[1]);
	assert_int_equal(path_list_refs(p, list[1]), 1);
	assert_int_equal(commit(), 0);
	check("10.9.0.1", "10.9.0.1/32", list[3]);
	check("10.9.0.2", "10.9.0.0/24", list[2]);
	check("10.9.0.200", "10.9.0.128/25", list[0]);
	settle();
	assert_int_equal(path_list_refs(p, list[1]), 0);
	path_list_unref(p, list[0]);
	path_list_unref(p, list[2]);
	path_list_unref(p, list[3]);
	fib_unmake();
}

/* State of the full-table test. Routes now in the table come first in `route`. */
struct world {
	struct lpm_oracle oracle;
	struct v4_route *route;
	size_t count; /* number of all routes */
	uint64_t seed;
	uint64_t lookups;
};

static void
world_make(struct world *w, size_t table_max, size_t long_count)
{
	size_t table_count;
	struct v4_route *table = v4_table(table_max, &table_count);

	*w = (struct world){.seed = 20260619};
	w->route = realloc(table, (table_count + long_count) * sizeof(*w->route));
	assert_non_null(w->route);
	w->count = table_count;
	for (size_t i = 0; i < long_count; i++) {
		/* two fifths in about a thousand /24, the rest anywhere */
		uint32_t addr = (uint32_t)rnd(&w->seed);
		uint8_t len = (uint8_t)(25 + rnd_below(&w->seed, 8));

		if (i % 5 < 2)
			addr = (w->route[rnd_below(&w->seed, 8000) * (table_count / 8000)].addr &
				       ~0xffu) |
			       (addr & 0xff);
		w->route[w->count++] = (struct v4_route){.addr = addr & v4_mask(len), .len = len};
	}
	/* both ends of the address space; the short prefixes nest over the rest */
	w->route[w->count - 1] = (struct v4_route){.addr = 0, .len = 32};
	w->route[w->count - 2] = (struct v4_route){.addr = UINT32_MAX, .len = 32};
	w->route[w->count - 3] = (struct v4_route){.addr = 0, .len = 1};
	w->route[w->count - 4] = (struct v4_route){.addr = 0x80000000, .len = 1};
	w->route[w->count - 5] = (struct v4_route){.addr = 0, .len = 0};
	w->count = v4_unique(w->route, w->count);
	v4_shuffle(w->route, w->count, &w->seed);
	oracle_init(&w->oracle, (uint32_t)w->count);
}

static void
world_set(struct world *w, size_t i)
{
	struct prefix p = v4_prefix(w->route[i]);
	struct path_list_id id = list[rnd_below(&w->seed, LISTS)];

	assert_int_equal(fib_set(fib, VRF_DEFAULT, &p, id), 0);
	oracle_set(&w->oracle, w->route[i].addr, w->route[i].len, id.v);
}

static void
world_withdraw(struct world *w, size_t i)
{
	struct prefix p = v4_prefix(w->route[i]);
	bool present = oracle_get(&w->oracle, w->route[i].addr, w->route[i].len) != 0;

	assert_int_equal(fib_withdraw(fib, VRF_DEFAULT, &p), present ? 0 : -ENOENT);
	oracle_set(&w->oracle, w->route[i].addr, w->route[i].len, 0);
}

static void
check_answer(struct world *w, uint32_t addr, uint32_t found)
{
	uint32_t expected = oracle_lookup(&w->oracle, addr) & 0xffffff;

	if (found != expected)
		fail_msg("%08x: list %u, expected %u", addr, found, expected);
}

/* Checks the first and last address and both neighbours of every prefix, in the table or not. */
static void
world_check(struct world *w)
{
	const struct fib_generation *g;

	oracle_paint(&w->oracle);
	qsbr_online(workers, me);
	g = fib_read_begin(fib_reader(fib));
	for (size_t i = 0; i < w->count; i += 16) {
		uint32_t ip[64], out[64];
		unsigned n = 0;

		for (size_t k = i; k < i + 16 && k < w->count; k++) {
			uint32_t addr = w->route[k].addr, last = addr | ~v4_mask(w->route[k].len);

			ip[n++] = addr;
			ip[n++] = last;
			ip[n++] = addr - 1;
			ip[n++] = last + 1;
		}
		fib_read_v4_bulk(fib_reader(fib), g, VRF_DEFAULT, ip, out, n);
		for (unsigned k = 0; k < n; k++)
			check_answer(w, ip[k], out[k]);
		w->lookups += n;
		/* for some, also the matched prefix */
		for (unsigned k = i / 16 % 8; k < n; k += 8) {
			struct ip_addr a = addr_from_v4(ip[k]);
			uint32_t expected = oracle_lookup(&w->oracle, ip[k]);
			struct fib_result result;

			assert_int_equal(fib_lookup(fib, VRF_DEFAULT, &a, &result), 0);
			assert_int_equal(result.hit, expected != 0);
			if (result.hit)
				assert_int_equal(result.prefix.len, expected >> 24);
		}
	}
	qsbr_offline(workers, me);
}

/* 1 to 8,192 prefixes, often few. */
static size_t
batch_size(struct world *w)
{
	return 1 + rnd_below(&w->seed, 1u << (1 + rnd_below(&w->seed, 13)));
}

static void
world_insert_all(struct world *w)
{
	size_t i = 0;

	/* one batch large enough for a rebuild, then many small batches */
	for (; i < w->count / 3; i++)
		world_set(w, i);
	assert_int_equal(commit(), 0);
	world_check(w);
	while (i < w->count) {
		size_t next_check = i + w->count / 6;

		while (i < w->count && i < next_check) {
			for (size_t n = batch_size(w); n > 0 && i < w->count; n--)
				world_set(w, i++);
			assert_int_equal(commit(), 0);
		}
		world_check(w);
	}
}

static void
world_churn(struct world *w, unsigned checks)
{
	for (unsigned c = 0; c < checks; c++) {
		for (size_t done = 0; done < w->count / 8;) {
			size_t n = batch_size(w);

			done += n;
			for (; n > 0; n--) {
				size_t i = rnd_below(&w->seed, (uint32_t)w->count);

				if (rnd_below(&w->seed, 3) == 0)
					world_withdraw(w, i);
				else
					world_set(w, i);
			}
			assert_int_equal(commit(), 0);
			/* sometimes the idle copy is brought up to date alone */
			if (n % 4 == 1)
				assert_int_equal(commit(), 0);
		}
		world_check(w);
	}
}

static void
world_remove_all(struct world *w)
{
	size_t i = 0;

	v4_shuffle(w->route, w->count, &w->seed);
	while (i < w->count) {
		size_t next_check = i + w->count / 4;

		while (i < w->count && i < next_check) {
			for (size_t n = batch_size(w); n > 0 && i < w->count; n--)
				world_withdraw(w, i++);
			assert_int_equal(commit(), 0);
		}
		world_check(w);
	}
}

/* Compares a full table and 200,000 longer prefixes with the oracle. */
static void
test_full_table(void **state)
{
	struct world w;
	unsigned none;

	(void)state;
	fib_make(262144);
	none = path_lists_in_use(fib_path_lists(fib));
	lists_make(LISTS);
	world_make(&w, TABLE_ROUTES, LONG_ROUTES);
	world_insert_all(&w);
	assert_true(stats().rebuilds > 0 || w.count < 100000);
	assert_true(w.count >= (size_t)(TABLE_ROUTES > 1000000 ? 1200000 : TABLE_ROUTES));
	world_churn(&w, 2);
	assert_int_equal(stats().not_installed, 0);
	/* repeating changes nothing */
	settle();
	world_remove_all(&w);
	settle();
	print_message("%zu prefixes, %lu lookups, %lu commits, %lu writes, %lu rebuilds\n", w.count,
		(unsigned long)w.lookups, (unsigned long)stats().commits,
		(unsigned long)stats().writes, (unsigned long)stats().rebuilds);
	assert_int_equal(stats().installed, 0);
	assert_int_equal(stats().groups_used, 0);
	lists_drop(LISTS);
	path_lists_reclaim(fib_path_lists(fib));
	path_lists_reclaim(fib_path_lists(fib));
	assert_int_equal(path_lists_in_use(fib_path_lists(fib)), none);
	oracle_fini(&w.oracle);
	free(w.route);
	fib_unmake();
}

/*
 * Commits with concurrent readers. The content of the table is a function of the generation's
 * number, so a reader computes each expected answer from the number. An answer of an older or
 * newer generation, or of half a batch, is an error. Pairs of distant prefixes move together; each
 * has a /24 or longer prefixes below, which come and go, and all are covered by a changing /8.
 */
#define PAIRS 32
#define READERS 2
#define PHASES 16

static struct path_list_id phase_list[PHASES][4];
static _Atomic bool stop;
static _Atomic uint64_t reader_errors, reader_bursts[READERS], reader_flips[READERS];

static unsigned
pair_kind(uint64_t number, unsigned i)
{
	return (unsigned)(hash_mix(number / 3 * 64 + i) & 3);
}

static uint32_t
pair_addr(unsigned i, bool second)
{
	return (second ? 0x0ac80000u : 0x0a010000u) + i * 256;
}

/* Expected list for the pair's address in this generation. */
static struct path_list_id
pair_answer(uint64_t number, unsigned i)
{
	return phase_list[number % PHASES][pair_kind(number, i)];
}

/*
 * Kind 0: the /8 answers; 1: a /24; 2: a /26 inside; 3: a /32 without a /24. The lookups use
 * address .9.
 */
static void
pair_set(uint64_t number, unsigned i, bool second)
{
	static const uint8_t len[3] = {24, 26, 32};
	unsigned kind = pair_kind(number, i);

	for (unsigned k = 0; k < 3; k++) {
		uint32_t addr = (pair_addr(i, second) + 9) & v4_mask(len[k]);
		struct prefix p = prefix_from_v4(addr, len[k]);

		if (k + 1 == kind || (kind == 2 && k == 0))
			assert_int_equal(
				fib_set(fib, VRF_DEFAULT, &p, phase_list[number % PHASES][k + 1]),
				0);
		else
			(void)fib_withdraw(fib, VRF_DEFAULT, &p);
	}
}

static void
generation_set(uint64_t number)
{
	struct prefix all = pfx("10.0.0.0/8");

	assert_int_equal(fib_set(fib, VRF_DEFAULT, &all, phase_list[number % PHASES][0]), 0);
	for (unsigned i = 0; i < PAIRS; i++) {
		pair_set(number, i, false);
		pair_set(number, i, true);
	}
}

static bool
burst_right(const struct fib_generation *g)
{
	uint32_t ip[2 * PAIRS], out[2 * PAIRS];

	for (unsigned i = 0; i < PAIRS; i++) {
		ip[i] = pair_addr(i, false) + 9;
		ip[PAIRS + i] = pair_addr(i, true) + 9;
	}
	fib_read_v4_bulk(fib_reader(fib), g, VRF_DEFAULT, ip, out, 2 * PAIRS);
	for (unsigned i = 0; i < PAIRS; i++) {
		uint32_t expected = pair_answer(g->number, i).v;

		if (out[i] != expected || out[PAIRS + i] != expected)
			return false;
	}
	return true;
}

static void *
reader_main(void *arg)
{
	unsigned index = *(unsigned *)arg, id;
	uint64_t last = 0, flips = 0, bursts = 0;

	role_enter_worker();
	if (qsbr_register(workers, &id) != 0)
		return NULL;
	qsbr_online(workers, id);
	/* relaxed: only ends the loop */
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		const struct fib_generation *g = fib_read_begin(fib_reader(fib));

		if (g->number < last || !burst_right(g))
			atomic_fetch_add_explicit(&reader_errors, 1, memory_order_relaxed);
		flips += g->number != last;
		last = g->number;
		/* like a worker that sometimes sleeps */
		if (++bursts % 1000 == 0) {
			qsbr_offline(workers, id);
			sched_yield();
			qsbr_online(workers, id);
		} else {
			qsbr_quiescent(workers, id);
		}
		atomic_store_explicit(&reader_bursts[index], bursts, memory_order_relaxed);
		atomic_store_explicit(&reader_flips[index], flips, memory_order_relaxed);
	}
	qsbr_offline(workers, id);
	qsbr_unregister(workers, id);
	return NULL;
}

static void
churn_some(uint64_t *seed)
{
	for (unsigned n = rnd_below(seed, 50); n > 0; n--) {
		/* outside of the pairs, with groups that come and go */
		struct prefix p = prefix_from_v4(0x0b000000 + (rnd_below(seed, 4096) << 6),
			(uint8_t)(23 + rnd_below(seed, 4)));

		if (rnd_below(seed, 2))
			assert_int_equal(
				fib_set(fib, VRF_DEFAULT, &p, list[rnd_below(seed, 64)]), 0);
		else
			(void)fib_withdraw(fib, VRF_DEFAULT, &p);
	}
}

static void
test_beside_readers(void **state)
{
	pthread_t thread[READERS];
	unsigned index[READERS];
	uint64_t seed = 5, number;

	(void)state;
	fib_make(4096);
	lists_make(PHASES * 4);
	for (unsigned i = 0; i < PHASES * 4; i++)
		phase_list[i / 4][i % 4] = list[i];
	generation_set(2);
	assert_int_equal(commit(), 0);
	assert_int_equal(stats().generation, 2);
	atomic_store(&stop, false);
	atomic_store(&reader_errors, 0);
	for (unsigned i = 0; i < READERS; i++) {
		index[i] = i;
		atomic_store(&reader_bursts[i], 0);
		assert_int_equal(pthread_create(&thread[i], NULL, reader_main, &index[i]), 0);
	}
	for (number = 3; number < 3 + GENERATIONS; number++) {
		generation_set(number);
		churn_some(&seed);
		assert_int_equal(commit(), 0);
		assert_int_equal(stats().generation, number);
		/* sometimes the idle copy is brought up to date without a new generation */
		if (number % 7 == 0)
			assert_int_equal(commit(), 0);
		if (number % 5 == 0)
			path_lists_reclaim(fib_path_lists(fib));
		/* each reader has done some lookups before the end */
		if (number == GENERATIONS / 2) {
			while (atomic_load(&reader_bursts[0]) < 10 ||
				atomic_load(&reader_bursts[1]) < 10)
				sched_yield();
		}
	}
	/* a reader kept off the CPU saw little, but always the last generation */
	for (unsigned i = 0; i < READERS; i++) {
		while (atomic_load(&reader_flips[i]) < 2)
			sched_yield();
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(thread[i], NULL);
		print_message("reader %u: %lu bursts, saw %lu generations of %u\n", i,
			(unsigned long)atomic_load(&reader_bursts[i]),
			(unsigned long)atomic_load(&reader_flips[i]), GENERATIONS);
		assert_true(atomic_load(&reader_flips[i]) > 1);
	}
	assert_int_equal(atomic_load(&reader_errors), 0);
	lists_drop(PHASES * 4);
	fib_unmake();
}

/* A waiting route becomes a host route with the same list, in a table without other changes. */
static void
test_host_route_again(void **state)
{
	struct prefix p;

	(void)state;
	role_enter_fib();
	fib_make(32);
	lists_make(1);
	for (unsigned i = 0; i < 31; i++) {
		p = prefix_from_v4((10u << 24) + (i << 8), 32);
		assert_int_equal(fib_set(fib, VRF_DEFAULT, &p, list[0]), 0);
	}
	settle();
	assert_true(fib_is_waiting(fib, VRF_DEFAULT, &p));
	set_own("10.0.30.0/32", list[0]);
	assert_false(fib_settled(fib));
	assert_int_equal(commit(), 0);
	check("10.0.30.0", "10.0.30.0/32", list[0]);
	settle();
	check("10.0.30.0", "10.0.30.0/32", list[0]);
	lists_drop(1);
	fib_unmake();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		one_thread_test(test_basics),
		one_thread_test(test_default_route),
		one_thread_test(test_reader_holds),
		one_thread_test(test_late_readers_are_counted),
		one_thread_test(test_references),
		one_thread_test(test_vrfs),
		one_thread_test(test_memory),
		one_thread_test(test_memory_is_not_whole_pages),
		one_thread_test(test_waiting_first),
		one_thread_test(test_exhaustion),
		one_thread_test(test_groups_kept_back),
		one_thread_test(test_own_waits),
		one_thread_test(test_group_for_a_slot),
		one_thread_test(test_host_route_again),
		one_thread_test(test_full_table),
		cmocka_unit_test(test_beside_readers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
