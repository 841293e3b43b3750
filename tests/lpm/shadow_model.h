/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compares the shadow, both families, with a naive model. The universe of prefixes is small, so
 * prefixes nest and repeat.
 */
#pragma once

#include "lpm/base/arena.h"
#include "lpm/shadow.h"
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

#define ADDRS 64

static struct arena *arena;

struct model {
	enum afi afi;
	unsigned lengths; /* greatest length + 1 */
	struct ip_addr (*universe)(unsigned i); /* six bits vary, spread over all lengths */
	unsigned steps;
	unsigned growth, shrinking; /* of 16 steps, the number that set a prefix, by phase */
	uint16_t list[ADDRS][129]; /* indexed by the six varying bits and the length; 0: absent */
};

static inline int
setup(void **state)
{
	(void)state;
	return arena_create("test", &arena);
}

static inline int
teardown(void **state)
{
	(void)state;
	assert_int_equal(arena_bytes(arena), 0);
	arena_destroy(arena);
	return 0;
}

static inline struct prefix
model_prefix(const struct model *m, unsigned i, unsigned len)
{
	struct ip_addr a = m->universe(i);

	return prefix_from_addr(&a, (uint8_t)len);
}

/* The model has one cell per prefix: the lowest i that gives the prefix. */
static inline unsigned
model_canonical(const struct model *m, unsigned i, unsigned len)
{
	struct prefix p = model_prefix(m, i, len);

	for (unsigned k = 0; k < i; k++) {
		struct prefix q = model_prefix(m, k, len);

		if (prefix_equal(&p, &q))
			return k;
	}
	return i;
}

static inline void
model_check_covers(const struct shadow *s, const struct model *m, unsigned i, unsigned max_len)
{
	struct ip_addr addr = m->universe(i);
	struct shadow_entry e;
	struct prefix expected;
	int len = (int)max_len;

	while (len >= 0 && m->list[model_canonical(m, i, (unsigned)len)][len] == 0)
		len--;
	assert_int_equal(shadow_cover(s, &addr, (uint8_t)max_len, &e), len >= 0);
	if (len < 0)
		return;
	expected = model_prefix(m, i, (unsigned)len);
	assert_int_equal(e.prefix.len, len);
	assert_true(prefix_equal(&e.prefix, &expected));
	assert_int_equal(e.list.v, m->list[model_canonical(m, i, (unsigned)len)][len]);
}

static inline void
model_check_order(const struct shadow *s, const struct model *m)
{
	struct shadow_cursor c;
	struct shadow_entry e, last = {0};
	uint64_t count = 0, expected = 0;

	for (unsigned i = 0; i < ADDRS; i++) {
		for (unsigned len = 0; len < m->lengths; len++)
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

static inline void
model_step(struct shadow *s, struct model *m, unsigned step, uint64_t *seed)
{
	unsigned len = rnd_below(seed, m->lengths);
	unsigned i = model_canonical(m, rnd_below(seed, ADDRS), len);
	struct prefix p = model_prefix(m, i, len);
	uint16_t list = (uint16_t)(1 + rnd_below(seed, 65535));
	struct shadow_entry e;
	bool added;

	if (list % 32 == 0) { /* even, so the entry is not a waiting entry */
		assert_int_equal(shadow_add(s, &p, (struct path_list_id){list}, &added), 0);
		assert_int_equal(added, m->list[i][len] == 0);
		if (added)
			m->list[i][len] = list;
	} else if (rnd_below(seed, 16) < (step / 5000 % 2 ? m->shrinking : m->growth)) {
		assert_int_equal(shadow_set(s, &p, (struct path_list_id){list}, list & 1), 0);
		m->list[i][len] = list;
	} else {
		assert_int_equal(shadow_remove(s, &p), m->list[i][len] ? 0 : -ENOENT);
		m->list[i][len] = 0;
	}
	assert_int_equal(shadow_get(s, &p, &e), m->list[i][len] != 0);
	if (m->list[i][len] != 0) {
		assert_true(prefix_equal(&e.prefix, &p));
		assert_int_equal(e.list.v, m->list[i][len]);
		assert_int_equal(e.waiting, e.list.v & 1);
	}
	model_check_covers(s, m, rnd_below(seed, ADDRS), rnd_below(seed, m->lengths));
	if (step % 1000 == 0)
		model_check_order(s, m);
}

static inline void
model_run(struct model *m)
{
	struct shadow *s;
	uint64_t seed = 1;

	assert_int_equal(shadow_create(arena, m->afi, &s), 0);
	for (unsigned step = 0; step < m->steps / SCALE; step++)
		model_step(s, m, step, &seed);
	shadow_clear(s);
	memset(m->list, 0, sizeof(m->list));
	model_check_order(s, m);
	model_check_covers(s, m, 0, m->lengths - 1);
	shadow_destroy(s);
}

static inline void
check_bytes(const struct shadow *s, double limit, const char *what)
{
	double each = (double)shadow_bytes(s) / (double)shadow_count(s);

	print_message(
		"%s: %lu prefixes, %.1f bytes each\n", what, (unsigned long)shadow_count(s), each);
	assert_true(each <= limit);
}
