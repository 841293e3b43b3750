/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/base/hist.h"
#include "lpm/base/inspect.h"

#include "tests/lpm/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define VALUES 20000

static void
steps_ascend_and_are_fine(void **state)
{
	unsigned last = 0;

	for (uint64_t v = 0; v < 1u << 20; v++) {
		unsigned i = hist_bucket_of(v);

		assert_true(i == last || i == last + 1);
		last = i;
	}
	for (unsigned bit = 20; bit < 42; bit++) {
		uint64_t v = 1ull << bit;

		assert_int_equal(hist_bucket_of(v), hist_bucket_of(v - 1) + 1);
		assert_int_equal(hist_bucket_of(v + v / 16 - 1), hist_bucket_of(v));
		assert_int_equal(hist_bucket_of(v + v / 16), hist_bucket_of(v) + 1);
	}
	assert_int_equal(hist_bucket_of((1ull << 42) - 1), HIST_BUCKETS - 1);
	assert_int_equal(hist_bucket_of(1ull << 42), HIST_BUCKETS - 1);
	assert_int_equal(hist_bucket_of(UINT64_MAX), HIST_BUCKETS - 1);
}

static void
nothing_is_zero(void **state)
{
	static struct hist h;
	const struct hist *one = &h;
	struct hist_summary s, zero = {0};

	memset(&s, 0xff, sizeof(s));
	hist_summarize(&one, 1, &s);
	assert_memory_equal(&s, &zero, sizeof(s));
	hist_summarize(NULL, 0, &s);
	assert_memory_equal(&s, &zero, sizeof(s));
}

static int
compare(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

/* The result is at or above the true value, by at most a sixteenth. */
static void
assert_near(uint64_t got, uint64_t truth)
{
	assert_true(got >= truth);
	assert_true(got <= truth + truth / 16);
}

static void
percentiles_of(struct rng *rng, unsigned n, unsigned bits)
{
	static struct hist h[3];
	const struct hist *all[3] = {&h[0], &h[1], &h[2]};
	static uint64_t v[VALUES];
	struct hist_summary s;

	for (unsigned i = 0; i < n; i++) {
		v[i] = rng_next(rng) >> (64 - bits) >> rng_below(rng, bits);
		hist_add(&h[i % 3], v[i]);
	}
	qsort(v, n, sizeof(v[0]), compare);
	hist_summarize(all, 3, &s);
	assert_int_equal(s.count, n);
	assert_int_equal(s.min, v[0]);
	assert_int_equal(s.max, v[n - 1]);
	assert_near(s.p50, v[(n * 500 + 999) / 1000 - 1]);
	assert_near(s.p90, v[(n * 900 + 999) / 1000 - 1]);
	assert_near(s.p99, v[(n * 990 + 999) / 1000 - 1]);
	assert_near(s.p999, v[(n * 999 + 999) / 1000 - 1]);
	for (unsigned k = 0; k < 3; k++)
		hist_reset(&h[k]);
	hist_summarize(all, 3, &s);
	assert_int_equal(s.count + s.min + s.max, 0);
}

static void
percentiles_match_sorted_values(void **state)
{
	struct rng rng = rng_seeded(1);

	percentiles_of(&rng, 1, 10);
	percentiles_of(&rng, 2, 30);
	for (unsigned round = 0; round < 50; round++)
		percentiles_of(&rng, 1 + rng_below(&rng, VALUES), 4 + rng_below(&rng, 38));
}

static void
beyond_the_end_counts_by_max(void **state)
{
	static struct hist h;
	const struct hist *one = &h;
	struct hist_summary s;

	hist_add(&h, 5);
	hist_add(&h, 1ull << 50);
	hist_summarize(&one, 1, &s);
	assert_int_equal(s.count, 2);
	assert_int_equal(s.min, 5);
	assert_int_equal(s.p50, 5);
	assert_int_equal(s.p99, 1ull << 50);
	assert_int_equal(s.max, 1ull << 50);
}

static void
since_a_mark_is_what_came_since(void **state)
{
	static struct hist h, mark;
	struct hist_summary s;

	hist_add(&h, 7);
	hist_add(&h, 1000000);
	hist_summarize_since(&h, &mark, &s); /* empty mark: all values count */
	assert_int_equal(s.count, 2);
	assert_int_equal(s.min, 7);
	assert_int_equal(s.max, 1000000);
	hist_copy(&mark, &h);
	hist_summarize_since(&h, &mark, &s);
	assert_int_equal(s.count + s.min + s.p50 + s.p999 + s.max, 0);
	for (unsigned i = 0; i < 100; i++)
		hist_add(&h, 500);
	hist_summarize_since(&h, &mark, &s);
	assert_int_equal(s.count, 100);
	assert_near(500, s.min);
	assert_near(s.p50, 500);
	assert_near(s.max, 500);
	hist_add(&h, 3); /* a new extreme is exact */
	hist_add(&h, 2000000);
	hist_summarize_since(&h, &mark, &s);
	assert_int_equal(s.count, 102);
	assert_int_equal(s.min, 3);
	assert_int_equal(s.max, 2000000);
	hist_summarize_since(&h, &(struct hist){0}, &s);
	assert_int_equal(s.count, 104);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps_ascend_and_are_fine),
		cmocka_unit_test(nothing_is_zero),
		cmocka_unit_test(percentiles_match_sorted_values),
		cmocka_unit_test(beyond_the_end_counts_by_max),
		cmocka_unit_test(since_a_mark_is_what_came_since),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
