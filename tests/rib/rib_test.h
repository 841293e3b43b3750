/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of rib/ share: seeded randomness, and an arena with the readers' QSBR. */
#pragma once

#include "lpm/arena.h"
#include "lpm/prefix.h"
#include "lpm/qsbr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* splitmix64 */
static inline uint64_t
random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* 0 .. n-1 */
static inline uint32_t
random_below(uint64_t *state, uint32_t n)
{
	return (uint32_t)((random_next(state) >> 32) * n >> 32);
}

struct rib_test {
	struct arena *arena;
	struct qsbr *readers;
};

static inline void
rib_test_begin(struct rib_test *t)
{
	assert_int_equal(arena_create("test", &t->arena), 0);
	assert_int_equal(qsbr_create(t->arena, 16, &t->readers), 0);
}

/* Everything made since was given back. */
static inline void
rib_test_end(struct rib_test *t)
{
	qsbr_destroy(t->readers);
	assert_int_equal(arena_bytes(t->arena), 0);
	arena_destroy(t->arena);
}
