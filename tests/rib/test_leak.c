/* SPDX-License-Identifier: BSD-3-Clause */
/* The index of route targets and the numbers of origins, each against a plain array. */
#include "rib/shard/leak.h"

#include "lpm/base/arena.h"
#include "tests/lpm/one_thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#define STEPS 20000u
#define KEYS 200u
#define VRFS 12u

static uint64_t rng_state = 1;

static unsigned
below(unsigned n)
{
	rng_state = hash_mix(rng_state + 0x9e3779b97f4a7c15u);
	return (unsigned)(rng_state % n);
}

static void
index_follows_an_array(void **state)
{
	static bool listed[KEYS][VRFS];
	struct leak_index *x;
	struct arena *a;

	(void)state;
	assert_int_equal(arena_create("leak", &a), 0);
	assert_int_equal(leak_index_create(a, &x), 0);
	for (unsigned step = 0; step < STEPS; step++) {
		/* phases that fill and empty the index */
		bool add = below(10) < (step / 2000 % 2 == 0 ? 8u : 2u);
		unsigned key = below(KEYS), vrf = below(VRFS), keys = 0;

		if (add)
			assert_int_equal(
				leak_index_add(x, 1000 + key, (struct vrf_id){(uint16_t)vrf}), 0);
		else
			leak_index_remove(x, 1000 + key, (struct vrf_id){(uint16_t)vrf});
		listed[key][vrf] = add;
		for (unsigned k = 0; k < KEYS; k += step % 64 == 0 ? 1 : KEYS) {
			unsigned at = step % 64 == 0 ? k : key, count, expected = 0;
			const struct vrf_id *list = leak_index_find(x, 1000 + at, &count);

			for (unsigned v = 0; v < VRFS; v++)
				expected += listed[at][v];
			assert_int_equal(count, expected);
			for (unsigned i = 0; i < count; i++)
				assert_true(listed[at][list[i].v]);
			keys += count > 0;
		}
		if (step % 64 == 0)
			assert_int_equal(leak_index_keys(x), keys);
	}
	leak_index_destroy(x);
	arena_destroy(a);
}

static struct leak_origin
origin_number(unsigned i)
{
	return (struct leak_origin){
		.rd = {i % 70}, .vrf = {(uint16_t)(i / 70 % 2)}, .path_id = i / 140};
}

static void
origins_keep_their_numbers(void **state)
{
	enum { ORIGINS = 420 };
	static unsigned refs[ORIGINS];
	static uint32_t number[ORIGINS];
	struct leak_origins *o;
	struct leak_origin got;
	struct arena *a;

	(void)state;
	assert_int_equal(arena_create("leak", &a), 0);
	assert_int_equal(leak_origins_create(a, &o), 0);
	assert_false(leak_origin_get(o, 1, &got));
	for (unsigned step = 0; step < STEPS; step++) {
		bool hold = below(10) < (step / 2000 % 2 == 0 ? 8u : 3u);
		unsigned i = below(ORIGINS), there = 0;
		struct leak_origin key = origin_number(i);
		uint32_t n;

		if (hold) {
			assert_int_equal(leak_origin_hold(o, &key, &n), 0);
			if (refs[i]++ > 0)
				assert_int_equal(n, number[i]);
			number[i] = n;
		} else if (refs[i] > 0) {
			leak_origin_unref(o, number[i]);
			refs[i]--;
		}
		assert_int_equal(leak_origin_find(o, &key), refs[i] > 0 ? number[i] : 0);
		if (step % 64 != 0)
			continue;
		for (i = 0; i < ORIGINS; i++) {
			key = origin_number(i);
			assert_int_equal(leak_origin_find(o, &key), refs[i] > 0 ? number[i] : 0);
			there += refs[i] > 0;
			if (refs[i] == 0)
				continue;
			assert_true(leak_origin_get(o, number[i], &got));
			assert_int_equal(got.rd.v, key.rd.v);
			assert_int_equal(got.vrf.v, key.vrf.v);
			assert_int_equal(got.path_id, key.path_id);
		}
		assert_int_equal(leak_origins_count(o), there);
	}
	leak_origins_destroy(o);
	arena_destroy(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		one_thread_test(index_follows_an_array),
		one_thread_test(origins_keep_their_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
