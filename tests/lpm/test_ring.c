/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/base/inspect.h"
#include "lpm/base/ring.h"

#include "tests/lpm/arena_rig.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

static void
rounds_up(void **state)
{
	static const struct {
		unsigned asked, holds;
	} cases[] = {
		{1, 1}, {2, 3}, {3, 3}, {4, 7}, {100, 127}, {127, 127}, {128, 255}, {4096, 8191}};
	struct ring *r;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(ring_create(*state, "r", cases[i].asked, &r), 0);
		assert_int_equal(ring_free_count(r), cases[i].holds);
		assert_int_equal(ring_count(r), 0);
		ring_destroy(r);
	}
	assert_int_equal(ring_create(*state, "r", 0, &r), -EINVAL);
	assert_int_equal(ring_create(*state, "r", UINT32_MAX, &r), -EINVAL);
	ring_destroy(NULL);
}

static void
first_in_first_out(void **state)
{
	const char *name = "a name that is longer than rte_ring takes by itself";
	int item[7];
	struct ring *r;

	assert_int_equal(ring_create(*state, name, 7, &r), 0);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 7; i++)
			assert_true(ring_push(r, &item[i]));
		assert_false(ring_push(r, &item[0]));
		assert_int_equal(ring_count(r), 7);
		assert_int_equal(ring_free_count(r), 0);
		for (unsigned i = 0; i < 7; i++)
			assert_ptr_equal(ring_pop(r), &item[i]);
		assert_null(ring_pop(r));
		/* the next round starts at a different slot */
		assert_true(ring_push(r, item));
		assert_ptr_equal(ring_pop(r), item);
	}
	ring_destroy(r);
}

#define ITEMS 200000

struct feed {
	struct ring *ring;
	uint64_t *value;
};

static void *
produce(void *arg)
{
	struct feed *f = arg;

	for (uint64_t i = 0; i < ITEMS; i++) {
		f->value[i] = i * 3;
		while (!ring_push(f->ring, &f->value[i]))
			sched_yield();
	}
	return NULL;
}

/* Data written by the producer before the push is visible after the pop; checked by TSan. */
static void
publishes_content(void **state)
{
	struct feed f = {.value = arena_alloc(*state, ITEMS * sizeof(uint64_t))};
	pthread_t t;

	assert_int_equal(ring_create(*state, "feed", 63, &f.ring), 0);
	assert_int_equal(pthread_create(&t, NULL, produce, &f), 0);
	for (uint64_t i = 0; i < ITEMS; i++) {
		uint64_t *p;

		while ((p = ring_pop(f.ring)) == NULL)
			sched_yield();
		assert_ptr_equal(p, &f.value[i]);
		assert_int_equal(*p, i * 3);
	}
	pthread_join(t, NULL);
	assert_null(ring_pop(f.ring));
	ring_destroy(f.ring);
	arena_free(*state, f.value);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(rounds_up, setup, teardown),
		cmocka_unit_test_setup_teardown(first_in_first_out, setup, teardown),
		cmocka_unit_test_setup_teardown(publishes_content, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
