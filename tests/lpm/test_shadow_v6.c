/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/shadow.h"

#include "lpm/arena.h"
#include "tests/lpm/lpm6_test.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#ifdef KEEL_SANITIZED
#define SCALE 8
#else
#define SCALE 1
#endif

static struct arena *arena;

static int
setup(void **state)
{
	(void)state;
	return arena_create("test", &arena);
}

static int
teardown(void **state)
{
	(void)state;
	assert_int_equal(arena_bytes(arena), 0);
	arena_destroy(arena);
	return 0;
}

/* The naive model: a prefix's list, 0 for none, over a small universe so that prefixes nest and repeat. */
#define LENGTHS 129
#define ADDRS 64

struct model {
	uint16_t list[ADDRS][LENGTHS];
};

/* Six bits of the address vary: at 7, 32, 48, at the seam of the two words, and at the end. */
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

static struct prefix
universe_prefix(unsigned i, unsigned len)
{
	struct ip_addr a = universe(i);

	return prefix_from_addr(&a, (uint8_t)len);
}

/* One cell for each prefix: the lowest i that gives it. */
static unsigned
canonical(unsigned i, unsigned len)
{
	struct prefix p = universe_prefix(i, len);

	for (unsigned k = 0; k < i; k++) {
		struct prefix q = universe_prefix(k, len);

		if (prefix_equal(&p, &q))
			return k;
	}
	return i;
}

static void
check_covers(const struct shadow *s, const struct model *m, unsigned i, unsigned max_len)
{
	struct ip_addr addr = universe(i);
	struct shadow_entry e;
	struct prefix expected;
	int len = (int)max_len;

	while (len >= 0 && m->list[canonical(i, (unsigned)len)][len] == 0)
		len--;
	assert_int_equal(shadow_cover(s, &addr, (uint8_t)max_len, &e), len >= 0);
	if (len < 0)
		return;
	expected = universe_prefix(i, (unsigned)len);
	assert_true(prefix_equal(&e.prefix, &expected));
	assert_int_equal(e.list.v, m->list[canonical(i, (unsigned)len)][len]);
}

static void
check_order(const struct shadow *s, const struct model *m)
{
	struct shadow_cursor c;
	struct shadow_entry e, last = {0};
	uint64_t count = 0, expected = 0;

	for (unsigned i = 0; i < ADDRS; i++) {
		for (unsigned len = 0; len < LENGTHS; len++)
			expected += m->list[i][len] != 0;
	}
	shadow_seek(s, NULL, &c);
	while (shadow_next(&c, &e)) {
		if (count++ > 0)
			assert_true(prefix_compare(&last.prefix, &e.prefix) < 0);
		last = e;
	}
	assert_int_equal(count, expected);
	assert_int_equal(shadow_count(s), expected);
}

static void
test_against_model(void **state)
{
	static struct model m;
	struct shadow *s;
	uint64_t seed = 1;

	(void)state;
	memset(&m, 0, sizeof(m));
	assert_int_equal(shadow_create(arena, AFI_IPV6, &s), 0);
	for (unsigned step = 0; step < 200000 / SCALE; step++) {
		unsigned len = rnd_below(&seed, LENGTHS);
		unsigned i = canonical(rnd_below(&seed, ADDRS), len);
		struct prefix p = universe_prefix(i, len);
		uint16_t list = (uint16_t)(1 + rnd_below(&seed, 65535));
		struct shadow_entry e;

		/* phases of growth and of shrinking, down to almost nothing */
		if (rnd_below(&seed, 16) < (step / 5000 % 2 ? 1u : 12u)) {
			assert_int_equal(
				shadow_set(s, &p, (struct path_list_id){list}, list & 1), 0);
			m.list[i][len] = list;
		} else {
			assert_int_equal(shadow_remove(s, &p), m.list[i][len] ? 0 : -ENOENT);
			m.list[i][len] = 0;
		}
		assert_int_equal(shadow_get(s, &p, &e), m.list[i][len] != 0);
		if (m.list[i][len] != 0) {
			assert_true(prefix_equal(&e.prefix, &p));
			assert_int_equal(e.list.v, m.list[i][len]);
			assert_int_equal(e.waiting, e.list.v & 1);
		}
		check_covers(s, &m, rnd_below(&seed, ADDRS), rnd_below(&seed, LENGTHS));
		if (step % 1000 == 0)
			check_order(s, &m);
	}
	shadow_clear(s);
	memset(&m, 0, sizeof(m));
	check_order(s, &m);
	check_covers(s, &m, 0, 128);
	shadow_destroy(s);
}

static void
check_bytes(const struct shadow *s, double limit, const char *what)
{
	double each = (double)shadow_bytes(s) / (double)shadow_count(s);

	print_message(
		"%s: %lu prefixes, %.1f bytes each\n", what, (unsigned long)shadow_count(s), each);
	assert_true(each <= limit);
}

static void
insert_all(struct shadow *s, const struct prefix *r, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_int_equal(
			shadow_set(s, &r[i], (struct path_list_id){1 + i % 1000}, false), 0);
}

/* At most 24 bytes a prefix, in order; filled and thinned at random, no leaf stays half empty for long. */
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

/* Seeking finds the first entry that is not before; runs give the same as steps. */
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

		/* one length further is the entry after it */
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
