/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/shadow.h"

#include "tests/lpm/lpm6_test.h"
#include "tests/lpm/shadow_model.h"

/* Varying bits at 7, 32, 48, between the two words, and at the end. */
static struct ip_addr
universe(unsigned i)
{
	struct ip_addr a = {.b = {0x20}, .afi = AFI_IPV6};

	a.b[0] |= (uint8_t)(i >> 5 & 1);
	a.b[4] = (uint8_t)((i >> 4 & 1) << 7);
	a.b[5] = (uint8_t)(i >> 3 & 1);
	a.b[7] = (uint8_t)(i >> 2 & 1);
	a.b[8] = (uint8_t)((i >> 1 & 1) << 7);
	a.b[15] = (uint8_t)(i & 1);
	return a;
}

static void
test_against_model(void **state)
{
	/* shrinks to almost nothing */
	static struct model m = {.afi = AFI_IPV6,
		.lengths = 129,
		.universe = universe,
		.steps = 200000,
		.growth = 12,
		.shrinking = 1};

	(void)state;
	model_run(&m);
}

static void
insert_all(struct shadow *s, const struct prefix *r, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_int_equal(
			shadow_set(s, &r[i], (struct path_list_id){1 + i % 1000}, false), 0);
}

/*
 * At most 24 bytes per prefix after loading in order; after random changes no leaf stays half
 * empty for long.
 */
static void
test_bytes(void **state)
{
	uint64_t seed = 2;
	size_t count;
	struct prefix *r = v6_table(1200000 / SCALE, &count);
	struct shadow *s;

	(void)state;
	assert_int_equal(shadow_create(arena, AFI_IPV6, &s), 0);
	insert_all(s, r, count);
	check_bytes(s, 24, "in order");
	shadow_clear(s);
	v6_shuffle(r, count, &seed);
	insert_all(s, r, count);
	check_bytes(s, 36, "at random");
	for (size_t left = count; left > 1000;) {
		size_t keep = left * 9 / 10;

		while (left > keep)
			assert_int_equal(shadow_remove(s, &r[--left]), 0);
		assert_int_equal(shadow_count(s), keep);
		assert_true(shadow_bytes(s) <= 60 * keep + 8192);
		count = keep;
	}
	check_bytes(s, 60, "thinned at random");
	for (size_t i = 0; i < count; i++)
		assert_int_equal(shadow_remove(s, &r[i]), 0);
	assert_int_equal(shadow_count(s), 0);
	assert_true(shadow_bytes(s) < 8192);
	shadow_destroy(s);
	free(r);
}

/* A seek finds the first entry at or after the key; runs and single steps give equal entries. */
static void
test_seek(void **state)
{
	uint64_t seed = 3;
	size_t count, at = 0;
	struct prefix *r = v6_table(100000 / SCALE, &count);
	struct shadow_v6_run run;
	struct shadow_cursor c;
	struct shadow_entry e;
	struct shadow *s;

	(void)state;
	assert_int_equal(shadow_create(arena, AFI_NONE, &s), -EAFNOSUPPORT);
	assert_int_equal(shadow_create(arena, AFI_IPV6, &s), 0);
	v6_shuffle(r, count, &seed);
	insert_all(s, r, count);
	count = v6_unique(r, count);
	for (unsigned i = 0; i < 100000 / SCALE; i++) {
		size_t k = rnd_below(&seed, (uint32_t)count);
		struct prefix from = r[k];

		/* a length one greater gives the next entry */
		if (i & 1) {
			from.len++;
			k++;
		}
		shadow_seek(s, &from, &c);
		assert_int_equal(shadow_next(&c, &e), k < count);
		if (k < count)
			assert_true(prefix_equal(&e.prefix, &r[k]));
	}
	shadow_seek(s, NULL, &c);
	while (shadow_v6_run(&c, &run)) {
		for (unsigned i = 0; i < run.count; i++, at++) {
			assert_int_equal(run.hi[i] >> 56, r[at].b[0]);
			assert_int_equal(run.hi[i] & 0xff, r[at].b[7]);
			assert_int_equal(run.lo[i] & 0xff, r[at].b[15]);
			assert_int_equal(run.word[i] >> 24, r[at].len);
		}
	}
	assert_int_equal(at, count);
	shadow_destroy(s);
	free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_against_model, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_seek, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
