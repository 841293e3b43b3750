/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Input for tests and benchmarks of the IPv6 table: prefixes of a full table, and long prefixes
 * inside.
 */
#pragma once

#include "lpm/base/prefix.h"
#include "tests/lpm/lpm_test.h"

static inline struct ip_addr
v6_addr(const uint8_t *b)
{
	struct ip_addr a = {.afi = AFI_IPV6};

	memcpy(a.b, b, sizeof(a.b));
	return a;
}

/* A random address inside `p`. */
static inline struct ip_addr
v6_within(const struct prefix *p, uint64_t *state)
{
	struct ip_addr a = {.afi = AFI_IPV6};

	for (unsigned i = 0; i < 16; i++) {
		unsigned fixed = p->len > i * 8 ? p->len - i * 8 : 0;
		uint8_t host = fixed >= 8 ? 0 : (uint8_t)(0xff >> fixed);

		a.b[i] = (uint8_t)((p->b[i] & ~host) | (rnd(state) & host));
	}
	return a;
}

static inline void
v6_first_last(const struct prefix *p, uint8_t *first, uint8_t *last)
{
	for (unsigned i = 0; i < 16; i++) {
		unsigned fixed = p->len > i * 8 ? p->len - i * 8 : 0;

		first[i] = p->b[i];
		last[i] = fixed >= 8 ? p->b[i] : (uint8_t)(p->b[i] | 0xff >> fixed);
	}
}

/* The previous (-1) or next (1) address, with wrap-around. */
static inline void
v6_step(uint8_t *b, int by)
{
	for (unsigned i = 16; i-- > 0;) {
		b[i] = (uint8_t)(b[i] + by);
		if (b[i] != (by > 0 ? 0 : 0xff))
			return;
	}
}

static inline int
v6_order(const void *a, const void *b)
{
	return prefix_compare(a, b);
}

/* Sorts and removes duplicates; returns the number left. */
static inline size_t
v6_unique(struct prefix *r, size_t count)
{
	return routes_unique(r, count, sizeof(*r), v6_order);
}

static inline void
v6_shuffle(struct prefix *r, size_t count, uint64_t *state)
{
	for (size_t i = count; i > 1; i--) {
		size_t j = rnd_below(state, (uint32_t)i);
		struct prefix t = r[i - 1];

		r[i - 1] = r[j];
		r[j] = t;
	}
}

/*
 * A random prefix with the lengths of the real table, per thousand, in 17,000 blocks of /32 inside
 * some 8,000 /24. Needs about as many groups as the real table.
 */
static inline struct prefix
v6_generated(uint64_t *state)
{
	static const struct {
		uint8_t len;
		uint16_t share;
	} part[] = {{48, 464}, {32, 97}, {44, 96}, {40, 88}, {47, 35}, {46, 30}, {36, 37}, {33, 21},
		{34, 21}, {29, 20}, {45, 18}, {41, 17}, {42, 13}, {38, 10}, {43, 9}, {35, 8},
		{39, 7}, {37, 5}, {30, 3}, {28, 1}};
	uint32_t at = rnd_below(state, 1000);
	uint64_t block = rnd_below(state, 17000), home = hash_mix(block * 8 / 17 + 1);
	uint8_t b[16] = {0};
	struct ip_addr a;
	unsigned i = 0;

	while (i + 1 < sizeof(part) / sizeof(part[0]) && at >= part[i].share)
		at -= part[i++].share;
	b[0] = (uint8_t)(0x20 + (home & 0xf));
	b[1] = (uint8_t)(home >> 8);
	b[2] = (uint8_t)(home >> 16);
	b[3] = (uint8_t)hash_mix(block);
	/* most prefixes of a block are in two of its /40 */
	b[4] = (uint8_t)(rnd(state) & (rnd_below(state, 8) ? 0x80 : 0xff));
	b[5] = (uint8_t)rnd(state);
	a = v6_addr(b);
	return prefix_from_addr(&a, part[i].len);
}

struct v6_routes {
	struct prefix *route;
	size_t count, room;
};

static inline bool
v6_take(void *ctx, const struct prefix *p)
{
	struct v6_routes *r = ctx;

	r->route[r->count++] = *p;
	return r->count < r->room;
}

/* A full IPv6 table, like v4_table(). */
static inline struct prefix *
v6_table(size_t max, size_t *count)
{
	struct v6_routes r = {.room = 400000};
	uint64_t seed = 20260619;

	r.route = malloc(r.room * sizeof(*r.route));
	if (r.route == NULL)
		abort();
	routes_read("table-v6.txt.gz", v6_take, &r);
	if (r.count == 0) {
		while (r.count < 290000)
			r.route[r.count++] = v6_generated(&seed);
	}
	r.count = v6_unique(r.route, r.count);
	*count = routes_spread(r.route, r.count, sizeof(*r.route), max);
	return r.route;
}

/* A random /49 to /128 inside a random prefix of `r`. */
static inline struct prefix
v6_long(const struct prefix *r, size_t count, uint64_t *state)
{
	struct ip_addr a = v6_within(&r[rnd_below(state, (uint32_t)count)], state);

	return prefix_from_addr(&a, (uint8_t)(49 + rnd_below(state, 80)));
}
