/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/shard/walk.h"
#include "tests/rib/rib_test.h"

#define DESTINATIONS 1000

struct fixture {
	struct rib_test base;
	struct dest_table *table;
	uint8_t visits[DESTINATIONS + 10];
	uint32_t seen, empty, stop_at;
};

static void
publish(struct fixture *f, uint32_t i, bool present, uint64_t sequence)
{
	struct prefix p = test_prefix(i << 8, 24);
	struct path_set *s = NULL;
	struct dest_id id;

	assert_int_equal(dest_get(f->table, &p, &id), 0);
	if (present) {
		s = path_set_alloc(f->table, 1);
		assert_non_null(s);
		memset(s->path, 0, sizeof(s->path[0]));
	}
	dest_publish(f->table, id, s, sequence);
}

/* A third of the ids live, a third tombstones, a third free. */
static void
fixture_begin(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->stop_at = UINT32_MAX;
	rib_test_begin(&f->base);
	assert_int_equal(dest_table_create(f->base.arena, f->base.readers, test_afi, &f->table), 0);
	for (uint32_t i = 0; i < DESTINATIONS; i++)
		publish(f, i, true, 1 + i);
	for (uint32_t i = 0; i < DESTINATIONS; i++)
		if (i % 3 == 1)
			publish(f, i, false, 2000 + i);
	while (dest_reclaim(f->table, 4000))
		;
	for (uint32_t i = 0; i < DESTINATIONS; i++)
		if (i % 3 == 2)
			publish(f, i, false, 5000 + i);
}

static void
fixture_end(struct fixture *f)
{
	dest_table_destroy(f->table);
	rib_test_end(&f->base);
}

static bool
visit(void *ctx, struct dest_id id, const struct dest_view *view)
{
	struct fixture *f = ctx;

	assert_int_equal(test_number(&view->prefix), id.v << 8);
	f->visits[id.v]++;
	f->empty += view->paths == NULL;
	return ++f->seen != f->stop_at;
}

static void
all_are_visited_once_in_slices_of_any_size(void **state)
{
	static const unsigned sizes[] = {1, 7, 64, 999, 1000, 5000};

	for (unsigned k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		struct fixture f;
		struct walk w;
		unsigned slices = 0;

		fixture_begin(&f);
		walk_begin(&w, f.table);
		assert_false(walk_done(&w));
		/* destinations created later are left to the journal */
		for (uint32_t i = DESTINATIONS; i < DESTINATIONS + 10; i++)
			publish(&f, i, true, 9000 + i);
		bool more = true;
		for (; more; slices++)
			more = walk_slice(&w, sizes[k], 0, NULL, visit, &f);
		assert_true(walk_done(&w));
		assert_int_equal(slices, (DESTINATIONS + sizes[k] - 1) / sizes[k]);
		assert_int_equal(f.seen, DESTINATIONS - DESTINATIONS / 3);
		assert_int_equal(f.empty, DESTINATIONS / 3);
		for (uint32_t i = 0; i < DESTINATIONS + 10; i++)
			assert_int_equal(f.visits[i], i < DESTINATIONS && i % 3 != 1);
		fixture_end(&f);
	}
}

static void
a_visitor_ends_the_slice(void **state)
{
	struct fixture f;
	struct walk w;

	fixture_begin(&f);
	walk_begin(&w, f.table);
	f.stop_at = 3;
	assert_true(walk_slice(&w, DESTINATIONS, 0, NULL, visit, &f));
	assert_int_equal(f.seen, 3);
	f.stop_at = UINT32_MAX;
	assert_false(walk_slice(&w, DESTINATIONS, 0, NULL, visit, &f));
	for (uint32_t i = 0; i < DESTINATIONS; i++)
		assert_int_equal(f.visits[i], i % 3 != 1);
	fixture_end(&f);
}

static uint64_t clock_ns;

static uint64_t
ticking(void)
{
	return clock_ns++;
}

static void
the_deadline_ends_the_slice(void **state)
{
	struct fixture f;
	struct walk w;

	fixture_begin(&f);
	walk_begin(&w, f.table);
	clock_ns = 100;
	assert_true(walk_slice(&w, DESTINATIONS, 103, ticking, visit, &f));
	assert_int_equal(w.next, 4 * 64); /* the clock is read at 64, 128, 192 and 256 */
	/* a slice always makes progress, even after its deadline */
	for (unsigned slices = 0; !walk_done(&w); slices++) {
		uint32_t next = w.next;
		walk_slice(&w, DESTINATIONS, 1, ticking, visit, &f);
		assert_true(w.next > next && slices < DESTINATIONS / 64);
	}
	fixture_end(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_are_visited_once_in_slices_of_any_size),
		cmocka_unit_test(a_visitor_ends_the_slice),
		cmocka_unit_test(the_deadline_ends_the_slice),
	};

	int failed;

	role_enter_rib();
	failed = cmocka_run_group_tests_name("IPv4", tests, NULL, NULL);
	test_afi = AFI_IPV6;
	return failed + cmocka_run_group_tests_name("IPv6", tests, NULL, NULL);
}
