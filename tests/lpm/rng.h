/* SPDX-License-Identifier: BSD-3-Clause */
/* splitmix64. A failing run prints its seed; KEEL_TEST_SEED repeats the run. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct rng {
	uint64_t state;
};

static inline uint64_t
splitmix64(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline uint64_t
rng_next(struct rng *r)
{
	return splitmix64(&r->state);
}

/* 0 to n - 1 */
static inline uint32_t
rng_below(struct rng *r, uint32_t n)
{
	return (uint32_t)(((rng_next(r) >> 32) * n) >> 32);
}

static inline struct rng
rng_seeded(uint64_t fallback)
{
	const char *text = getenv("KEEL_TEST_SEED");
	struct rng r = {text != NULL ? strtoull(text, NULL, 0) : fallback};

	printf("KEEL_TEST_SEED=%llu\n", (unsigned long long)r.state);
	return r;
}
