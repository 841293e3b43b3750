/* SPDX-License-Identifier: BSD-3-Clause */
/* Random sets of tunnels are compared with an array. A replaced set stays until its readers are quiescent. */
#include "lpm/tunnel_set.h"

#include "lpm/base/arena.h"
#include "lpm/base/qsbr.h"
#include "tests/lpm/one_thread.h"
#include "tests/lpm/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define ROUNDS 200
#define ADDRESSES 64 /* few, so that pairs share addresses */

static bool
has(const struct tunnel *t, unsigned count, struct tunnel x)
{
	for (unsigned i = 0; i < count; i++)
		if (t[i].remote == x.remote && t[i].own == x.own)
			return true;
	return false;
}

static void
test_random(void **state)
{
	static struct tunnel t[TUNNELS_MAX + 1];
	struct tunnel_sets *sets;
	struct arena *arena;
	struct qsbr *workers;
	struct rng rng = rng_seeded(7);
	unsigned reader, count = 0;

	(void)state;
	role_enter_fib();
	assert_int_equal(arena_create("test", &arena), 0);
	assert_int_equal(qsbr_create(arena, 4, &workers), 0);
	assert_int_equal(qsbr_register(workers, &reader), 0);
	assert_int_equal(tunnel_sets_create(arena, workers, &sets), 0);
	assert_false(tunnel_known(tunnel_reader(sets), &BOUNDS_ALL, (struct tunnel){1, 1}));
	for (unsigned round = 0; round < ROUNDS; round++) {
		count = round == 0 ? TUNNELS_MAX : rng_below(&rng, 20);
		for (unsigned i = 0; i < count; i++)
			t[i] = (struct tunnel){
				1 + rng_below(&rng, ADDRESSES), 1 + rng_below(&rng, ADDRESSES)};
		assert_int_equal(tunnel_sets_put(sets, t, count), 0);
		for (uint32_t remote = 0; remote <= ADDRESSES; remote++)
			for (uint32_t own = 0; own <= ADDRESSES; own++) {
				struct tunnel x = {remote, own};

				assert_int_equal(tunnel_known(tunnel_reader(sets), &BOUNDS_ALL, x),
					remote != 0 && has(t, count, x));
			}
		qsbr_quiescent(workers, reader);
	}
	assert_int_equal(tunnel_sets_put(sets, t, TUNNELS_MAX + 1), -ENOSPC);
	assert_int_equal(tunnel_known(tunnel_reader(sets), &BOUNDS_ALL, t[0]), count > 0);
	assert_int_equal(tunnel_sets_put(sets, NULL, 0), 0);
	assert_false(tunnel_known(tunnel_reader(sets), &BOUNDS_ALL, t[0]));
	qsbr_unregister(workers, reader);
	tunnel_sets_destroy(sets);
	qsbr_destroy(workers);
	assert_int_equal(arena_bytes(arena), 0);
	arena_destroy(arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
