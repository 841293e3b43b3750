/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/shadow.h"

#include "lpm/arena.h"
#include "tests/lpm/lpm_test.h"

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

/*
 * The naive model: is it there, and which list; over a small universe so that prefixes nest and
 * repeat.
 */
#define SLOTS 33
#define ADDRS 64

struct model {
	uint16_t list[ADDRS][SLOTS]; /* by the 6 bits that vary, by length; 0: absent */
};

/* Six bits of the address vary, spread over all lengths: two at 8, two at 16, two at 30. */
static uint32_t
universe(unsigned i)
{
	return 10u << 24 | (i >> 4 & 3) << 22 | (i >> 2 & 3) << 14 | (i & 3);
}

static struct v4_route
universe_route(unsigned i, uint8_t len)
{
	return (struct v4_route){.addr = universe(i) & v4_mask(len), .len = len};
}

/* One cell for each prefix: the lowest i that gives it. */
static unsigned
canonical(unsigned i, uint8_t len)
{
	for (unsigned k = 0; k < i; k++) {
		if ((universe(k) & v4_mask(len)) == (universe(i) & v4_mask(len)))
			return k;
	}
	return i;
}

static void
check_covers(const struct shadow *s, const struct model *m, unsigned i, uint8_t max_len)
{
	struct ip_addr addr = addr_from_v4(universe(i));
	struct shadow_entry e;
	int len = max_len;

	while (len >= 0 && m->list[canonical(i, (uint8_t)len)][len] == 0)
		len--;
	assert_int_equal(shadow_cover(s, &addr, max_len, &e), len >= 0);
	if (len < 0)
		return;
	assert_int_equal(e.prefix.len, len);
	assert_int_equal(prefix_v4(&e.prefix), universe(i) & v4_mask((unsigned)len));
	assert_int_equal(e.list.v, m->list[canonical(i, (uint8_t)len)][len]);
}

static void
check_order(const struct shadow *s, const struct model *m)
{
	struct shadow_cursor c;
	struct shadow_entry e, last = {0};
	uint64_t count = 0, expected = 0;

	for (unsigned i = 0; i < ADDRS; i++) {
		for (unsigned len = 0; len < SLOTS; len++)
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
	assert_int_equal(shadow_create(arena, AFI_IPV4, &s), 0);
	for (unsigned step = 0; step < 400000 / SCALE; step++) {
		uint8_t len = (uint8_t)rnd_below(&seed, SLOTS);
		unsigned i = canonical(rnd_below(&seed, ADDRS), len);
		struct prefix p = v4_prefix(universe_route(i, len));
		uint16_t list = (uint16_t)(1 + rnd_below(&seed, 65535));
		bool waiting = list & 1;
		struct shadow_entry e;

		/* phases of growth and of shrinking */
		if (rnd_below(&seed, 8) < (step / 5000 % 2 ? 2u : 6u)) {
			assert_int_equal(
				shadow_set(s, &p, (struct path_list_id){list}, waiting), 0);
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
		check_covers(s, &m, rnd_below(&seed, ADDRS), (uint8_t)rnd_below(&seed, SLOTS));
		if (step % 1000 == 0)
			check_order(s, &m);
	}
	shadow_clear(s);
	memset(&m, 0, sizeof(m));
	check_order(s, &m);
	shadow_destroy(s);
}

static void
check_bytes(const struct shadow *s, const char *what)
{
	double each = (double)shadow_bytes(s) / (double)shadow_count(s);

	print_message(
		"%s: %lu prefixes, %.1f bytes each\n", what, (unsigned long)shadow_count(s), each);
	assert_true(each <= 24.0);
}

static void
insert_all(struct shadow *s, const struct v4_route *r, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct prefix p = v4_prefix(r[i]);

		assert_int_equal(shadow_set(s, &p, (struct path_list_id){1 + i % 1000}, false), 0);
	}
}

static void
remove_all(struct shadow *s, const struct v4_route *r, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct prefix p = v4_prefix(r[i]);

		assert_int_equal(shadow_remove(s, &p), 0);
	}
}

/* At most 24 bytes a prefix, however it was filled and thinned. */
static void
test_bytes(void **state)
{
	uint64_t seed = 2;
	size_t count;
	struct v4_route *r = v4_table(1200000 / SCALE, &count);
	struct shadow *s;

	(void)state;
	assert_int_equal(shadow_create(arena, AFI_IPV4, &s), 0);
	insert_all(s, r, count);
	check_bytes(s, "in order");
	shadow_clear(s);
	for (size_t i = 0; i < count / 2; i++) {
		struct v4_route t = r[i];

		r[i] = r[count - 1 - i];
		r[count - 1 - i] = t;
	}
	insert_all(s, r, count);
	check_bytes(s, "in reverse order");
	shadow_clear(s);
	v4_shuffle(r, count, &seed);
	insert_all(s, r, count);
	check_bytes(s, "at random");
	for (size_t left = count; left > 1000; left = left * 9 / 10) {
		size_t keep = left * 9 / 10;

		remove_all(s, r + keep, left - keep);
		assert_int_equal(shadow_count(s), keep);
		assert_true(shadow_bytes(s) <= 24 * keep + 8192);
		count = keep;
	}
	check_bytes(s, "thinned at random");
	remove_all(s, r, count);
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
	size_t count;
	struct v4_route *r = v4_table(100000 / SCALE, &count);
	struct shadow *s;
	struct shadow_cursor c;
	const uint64_t *word;
	size_t at = 0;
	unsigned run;

	(void)state;
	assert_int_equal(shadow_create(arena, AFI_NONE, &s), -EAFNOSUPPORT);
	assert_int_equal(shadow_create(arena, AFI_IPV4, &s), 0);
	v4_shuffle(r, count, &seed);
	insert_all(s, r, count);
	count = v4_unique(r, count);
	for (unsigned i = 0; i < 100000 / SCALE; i++) {
		size_t k = rnd_below(&seed, (uint32_t)count);
		struct v4_route from = r[k];
		struct shadow_entry e;
		struct prefix p;

		/* one length further is the entry after it (33 sorts behind all of that address) */
		if (i & 1) {
			from.len++;
			k++;
		}
		p = (struct prefix){.afi = AFI_IPV4, .len = from.len};
		memcpy(p.b,
			(uint8_t[]){from.addr >> 24, from.addr >> 16, from.addr >> 8, from.addr},
			4);
		shadow_seek(s, &p, &c);
		assert_int_equal(shadow_next(&c, &e), k < count);
		if (k < count)
			assert_int_equal(prefix_v4(&e.prefix), r[k].addr);
	}
	shadow_seek(s, NULL, &c);
	while ((run = shadow_v4_run(&c, &word)) > 0) {
		for (unsigned i = 0; i < run; i++, at++) {
			assert_int_equal(shadow_v4_addr(word[i]), r[at].addr);
			assert_int_equal(shadow_v4_len(word[i]), r[at].len);
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
