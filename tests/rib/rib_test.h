/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared parts of the tests of rib/: seeded random numbers, and an arena with the readers' QSBR. */
#pragma once

#include "lpm/base/arena.h"
#include "lpm/base/prefix.h"
#include "lpm/base/qsbr.h"

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

/*
 * Maps numbers to prefixes and addresses of the family under test: in IPv6, 10.0.0.0 is
 * 2001:db8:a00:: and length 24 is 56.
 */
static enum afi test_afi = AFI_IPV4;

static inline struct ip_addr
test_addr(uint32_t number)
{
	struct ip_addr a = {.afi = AFI_IPV6, .b = {0x20, 0x01, 0x0d, 0xb8}};

	if (test_afi == AFI_IPV4)
		return addr_from_v4(number);
	for (unsigned i = 0; i < 4; i++)
		a.b[4 + i] = (uint8_t)(number >> (24 - 8 * i));
	return a;
}

static inline uint8_t
test_len(unsigned len)
{
	return (uint8_t)(test_afi == AFI_IPV4 ? len : len + 32);
}

static inline struct prefix
test_prefix(uint32_t number, unsigned len)
{
	struct ip_addr a = test_addr(number);

	return prefix_from_addr(&a, test_len(len));
}

static inline uint32_t
test_number(const struct prefix *p)
{
	if (p->afi == AFI_IPV4)
		return prefix_v4(p);
	return (uint32_t)p->b[4] << 24 | (uint32_t)p->b[5] << 16 | (uint32_t)p->b[6] << 8 | p->b[7];
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

/* Checks that all memory was freed. */
static inline void
rib_test_end(struct rib_test *t)
{
	qsbr_destroy(t->readers);
	assert_int_equal(arena_bytes(t->arena), 0);
	arena_destroy(t->arena);
}
