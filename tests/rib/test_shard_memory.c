/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of a shard: tombstones behind a stuck consumer, and memory after all routes are withdrawn.
 * Limits are derived from the layout, printed, and compared with arena counts and resident memory.
 */
#include "rib/table/inspect.h"
#include "rib/shard/shard.h"

#include "tests/rib/shard_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cmocka.h>

#ifdef KEEL_SANITIZED
#define FLAPS 200000u
#define LOAD 60000u
#define SETS 10000u
#else
#define FLAPS 5000000u
#define LOAD 1000000u
#define SETS 190000u
#endif

#define NLRI_BATCH 50u

struct scene {
	struct rig rig;
	struct journal_cursor *healthy, *stuck;
	struct dest_table *table;
	uint32_t most; /* highest number of tombstones */
	uint32_t most_ids;
	size_t most_bytes; /* of the table */
};

/* Without pages of files (the third number): the kernel drops and reads file pages at any time. */
static size_t
resident(void)
{
	unsigned long total, pages = 0, files = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu %lu", &total, &pages, &files), 3);
	(void)fclose(f);
	return (pages - files) * (size_t)sysconf(_SC_PAGESIZE);
}

static void
follow(struct scene *s)
{
	struct journal *j = shard_journal(s->rig.shard);
	struct journal_entry e[256];
	int n;

	while ((n = journal_read(j, s->healthy, e, 256)) > 0)
		journal_advance(j, s->healthy, e[n - 1].sequence);
	assert_int_equal(n, 0);
}

static bool
turn(struct scene *s)
{
	uint64_t now = rig_clock();
	bool more = shard_work(s->rig.shard, now, now + 1000000);
	uint32_t tombstones = dest_tombstones(s->table);

	if (tombstones > s->most)
		s->most = tombstones;
	if (dest_limit(s->table) > s->most_ids)
		s->most_ids = dest_limit(s->table);
	if (dest_table_bytes(s->table) > s->most_bytes)
		s->most_bytes = dest_table_bytes(s->table);
	follow(s);
	return more;
}

static void
settle(struct scene *s)
{
	rig_put(&s->rig);
	while (turn(s) || !rig_drained(&s->rig))
		;
}

/*
 * rig_update() runs turns of its own while the shard has all batches; here the consumer must run in
 * between.
 */
static void
update(struct scene *s, const struct attr_set *a, const struct rib_nlri *n, unsigned count)
{
	uint32_t used = s->rig.batch != NULL ? s->rig.batch->used : 0;

	rig_update(&s->rig, 1, a, n, count);
	if (s->rig.batch->used >= used && s->rig.batch->used < RIB_BATCH_SIZE / 2)
		return;
	rig_put(&s->rig);
	while (!rig_drained(&s->rig))
		(void)turn(s);
}

static void
begin(struct scene *s)
{
	*s = (struct scene){0};
	rig_init(&s->rig, false);
	rig_peer(&s->rig, 1, 65001, true, false);
	shard_peer_import(s->rig.shard, (struct peer_id){1}, rig_family(), policy_accept_all());
	rig_up(&s->rig, 1, 65001, 7, true);
	s->table = shard_table(s->rig.shard, s->rig.table);
	assert_int_equal(journal_subscribe(shard_journal(s->rig.shard), &s->healthy), 0);
	journal_set_patience(s->healthy, JOURNAL_EVICT);
	settle(s);
}

/* Idle turns until no memory waits for readers; then the allocator trims. */
static void
rest(struct scene *s)
{
	for (unsigned i = 0; i < 5000; i++)
		(void)turn(s);
	arena_trim(s->rig.arena);
}

/* Bytes of a destination, and of its share of an index between 3/8 and 3/4 full. */
#define DESTINATION_BYTES (rig_family() == FAMILY_IPV4_UNICAST ? 24.0 : 40.0)
#define INDEX_BYTES_MAX (4.0 / (3.0 / 8))

/* Five million unique host routes come and go beside a consumer that never reads. */
static void
test_flaps_beside_a_stuck_consumer(void **state)
{
	/* plus ids that wait for readers: as many as are freed in a turn during a grace period */
	enum { TOMBSTONES = 65536, WAITING = 40000 };
	double allowed = (TOMBSTONES + WAITING) * (DESTINATION_BYTES + 1.5 * INDEX_BYTES_MAX);
	struct rib_nlri n[NLRI_BATCH];
	struct journal_entry e;
	size_t before, rss, table;
	union rig_attrs a;
	struct scene s;

	begin(&s);
	assert_int_equal(journal_subscribe(shard_journal(s.rig.shard), &s.stuck), 0);
	journal_set_patience(s.stuck, JOURNAL_EVICT);
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	before = resident();
	table = dest_table_bytes(s.table);
	for (uint32_t i = 0; i < FLAPS; i += NLRI_BATCH) {
		for (uint32_t k = 0; k < NLRI_BATCH; k++)
			/* inside 10.0.0.0/8: the shard remembers unusable prefixes */
			n[k] = rig_nlri(0x0a000000u | ((i + k) * 2654435761u & 0xffffffu), 32);
		update(&s, &a.a, n, NLRI_BATCH);
		update(&s, NULL, n, NLRI_BATCH);
	}
	settle(&s);
	rss = resident() - before;
	table = s.most_bytes - table;
	print_message("%u flaps: at most %u tombstones (bound %d), %u ids; %.1f B a tombstone "
		      "(%.0f destination, %.1f to %.1f index): "
		      "%.1f MB allowed, table grew by %.1f MB, resident memory by %.1f MB\n",
		FLAPS, s.most, TOMBSTONES, s.most_ids, (double)table / s.most, DESTINATION_BYTES,
		INDEX_BYTES_MAX / 2, INDEX_BYTES_MAX, allowed / 1e6, (double)table / 1e6,
		(double)rss / 1e6);
	if (FLAPS > 2 * TOMBSTONES) {
		assert_int_equal(s.rig.evicted, 1);
		assert_ptr_equal(s.rig.last_evicted, s.stuck);
		assert_int_equal(journal_read(shard_journal(s.rig.shard), s.stuck, &e, 1), -ESTALE);
	}
	assert_true(s.most_ids <= TOMBSTONES + WAITING);
	assert_true((double)table <= allowed);
	rest(&s);
	assert_int_equal(dest_tombstones(s.table), 0);
	assert_int_equal(shard_failures(s.rig.shard), 0);
#ifndef KEEL_SANITIZED
	/* batches and the journal's 8 MB become resident, too */
	assert_true(
		(double)rss <= allowed + 8.4e6 + RIB_BATCHES_PER_INPUT * (double)RIB_BATCH_SIZE);
#endif
	rig_fini(&s.rig);
}

static void
load(struct scene *s, bool announce)
{
	struct rib_nlri n[NLRI_BATCH];
	uint32_t set = 0;
	union rig_attrs a;

	for (uint32_t i = 0; i < LOAD;) {
		uint32_t until = (uint32_t)((uint64_t)(set + 1) * LOAD / SETS), count = 0;
		uint32_t path[4] = {65001, 1000 + set % 1000, 100000 + set, 3356};

		for (; i < until && count < NLRI_BATCH; i++)
			n[count++] = rig_nlri(0x01000000 + (i << 4), 28);
		rig_attrs_make(&a, path, 4, 0x0a000001);
		update(s, announce ? &a.a : NULL, n, count);
		set += i == until;
	}
	settle(s);
}

static void
test_memory_comes_back(void **state)
{
	size_t start, full, empty, first_full = 0, first_empty = 0, bytes, segments, rss,
				   first_rss = 0;
	struct scene s;

	begin(&s);
	rest(&s);
	start = arena_bytes(s.rig.arena);
	for (unsigned round = 0; round < 3; round++) {
		load(&s, true);
		full = arena_bytes(s.rig.arena) - start;
		assert_int_equal(dest_count(s.table), LOAD);
		assert_int_equal(attr_table_count(shard_attrs(s.rig.shard)), SETS);
		load(&s, false);
		rest(&s);
		assert_int_equal(dest_count(s.table), 0);
		assert_int_equal(attr_table_count(shard_attrs(s.rig.shard)), 0);
		empty = arena_bytes(s.rig.arena) - start;
		bytes = dest_table_bytes(s.table);
		segments = attr_table_bytes(shard_attrs(s.rig.shard));
		rss = resident();
		print_message("round %u: full %.1f MB; withdrawn %.1f MB, of which index and "
			      "destinations %.1f, ids of attribute sets %.1f; "
			      "resident %.1f MB\n",
			round + 1, (double)full / 1e6, (double)empty / 1e6, (double)bytes / 1e6,
			(double)segments / 1e6, (double)rss / 1e6);
		/*
		 * these, a few chunks of lists, spare pages of the size classes, and the address
		 * range of 18 bytes for each set, whose pages were given back
		 */
		assert_true(empty <= bytes + segments + 18 * (SETS + 4096) + (1u << 20));
		assert_true(segments <= 300000);
		/* destinations and index are freed, not only reused */
		assert_int_equal(dest_limit(s.table), 0);
		assert_true(bytes <= s.most_bytes / 100);
		if (round == 0) {
			first_full = full;
			first_empty = empty;
			first_rss = rss;
			continue;
		}
		assert_true(full <= first_full + first_full / 20);
		assert_true(empty <= first_empty + first_empty / 20);
#ifndef KEEL_SANITIZED
		assert_true(rss <= first_rss + (8u << 20));
#endif
	}
#ifndef KEEL_SANITIZED
	/* destinations, and the index at its peak: old and new index during growth */
	assert_true(bytes <= LOAD * 1.2 * DESTINATION_BYTES + 1.5 * 4 * (1u << 21));
#endif
	(void)first_rss;
	rig_fini(&s.rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flaps_beside_a_stuck_consumer),
		cmocka_unit_test(test_memory_comes_back),
	};
	int failed;

	/* Transparent huge pages would round resident memory up. */
	(void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	role_enter_rib();
	role_enter_session();
	rig_mode = RIG_V4;
	failed = cmocka_run_group_tests_name(rig_mode_name(), tests, NULL, NULL);
	rig_mode = RIG_V6;
	return failed + cmocka_run_group_tests_name(rig_mode_name(), tests, NULL, NULL);
}
