/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Input for tests and benchmarks of the IPv4 table: seeded random numbers and prefixes of a full
 * table.
 */
#pragma once

#include "lpm/base/prefix.h"
#include "lpm/shadow.h"
#include "tests/lpm/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct v4_route {
	uint32_t addr;
	uint8_t len;
};

static inline uint64_t
rnd(uint64_t *state)
{
	return splitmix64(state);
}

static inline uint32_t
rnd_below(uint64_t *state, uint32_t n)
{
	return (uint32_t)((rnd(state) >> 32) * n >> 32);
}

/* Sorts `count` elements of `size` bytes, removes duplicates, and returns the number left. */
static inline size_t
routes_unique(void *routes, size_t count, size_t size, int (*order)(const void *, const void *))
{
	char *r = routes;
	size_t kept = 0;

	qsort(r, count, size, order);
	for (size_t i = 0; i < count; i++) {
		if (kept == 0 || order(r + (kept - 1) * size, r + i * size) != 0)
			memmove(r + kept++ * size, r + i * size, size);
	}
	return kept;
}

/* Keeps at most `max` elements, evenly spread; returns the number left. */
static inline size_t
routes_spread(void *routes, size_t count, size_t size, size_t max)
{
	char *r = routes;

	if (count <= max)
		return count;
	for (size_t i = 0; i < max; i++)
		memmove(r + i * size, r + i * count / max * size, size);
	return max;
}

/*
 * Reads the prefixes of a recorded full table from shared/data (KEEL_SHARED, or ../shared of the
 * repository). Calls `take` for each prefix until `take` returns false. Reads nothing if the file
 * is missing, and says so: lookups in generated tables have other rates.
 */
static inline void
routes_read(const char *name, bool (*take)(void *ctx, const struct prefix *p), void *ctx)
{
	const char *shared = getenv("KEEL_SHARED");
	char path[512], unpack[600], line[256];
	FILE *in;

	snprintf(path, sizeof(path), "%s/data/%s",
		shared != NULL ? shared : KEEL_SOURCE_ROOT "/../shared", name);
	in = fopen(path, "r");
	if (in == NULL) {
		fprintf(stderr, "%s is missing (KEEL_SHARED): a generated table instead\n", path);
		return;
	}
	fclose(in);
	snprintf(unpack, sizeof(unpack), "gzip -dc '%s'", path);
	in = popen(unpack, "r");
	while (in != NULL && fgets(line, sizeof(line), in) != NULL) {
		struct prefix p;

		line[strcspn(line, " \n")] = '\0';
		if (line[0] != '#' && prefix_parse(line, &p) == 0 && !take(ctx, &p))
			break;
	}
	if (in != NULL)
		pclose(in);
}

static inline struct prefix
v4_prefix(struct v4_route r)
{
	return prefix_from_v4(r.addr, r.len);
}

static inline void
v4_shuffle(struct v4_route *r, size_t count, uint64_t *state)
{
	for (size_t i = count; i > 1; i--) {
		size_t j = rnd_below(state, (uint32_t)i);
		struct v4_route t = r[i - 1];

		r[i - 1] = r[j];
		r[j] = t;
	}
}

static inline int
v4_order(const void *a, const void *b)
{
	const struct v4_route *x = a, *y = b;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	return (x->len > y->len) - (x->len < y->len);
}

/* Sorts and removes duplicates; returns the number left. */
static inline size_t
v4_unique(struct v4_route *r, size_t count)
{
	return routes_unique(r, count, sizeof(*r), v4_order);
}

/* True if some addresses of the prefix must not be forwarded: 127/8, 169.254/16 (RFC 1812 5.3.7, RFC 3927 7). */
static inline bool
v4_holds_martian(const struct v4_route *r)
{
	return r->addr >> 24 == 127 || r->addr >> 16 == 0xa9fe ||
	       r->addr == (0xa9fe0000 & v4_mask(r->len));
}

/*
 * A random prefix, of addresses that routers forward, with the lengths of today's Internet, per
 * thousand (shared/data/README.md).
 */
static inline struct v4_route
v4_generated(uint64_t *state)
{
	static const struct {
		uint8_t len;
		uint16_t share;
	} part[] = {{24, 635}, {23, 108}, {22, 105}, {21, 49}, {20, 43}, {19, 24}, {18, 13},
		{17, 8}, {16, 11}, {15, 1}, {14, 1}, {13, 1}, {12, 1}};
	uint32_t at = rnd_below(state, 1000);
	struct v4_route r;
	unsigned i = 0;

	while (i + 1 < sizeof(part) / sizeof(part[0]) && at >= part[i].share)
		at -= part[i++].share;
	r.len = part[i].len;
	do
		r.addr = ((1 + rnd_below(state, 222)) << 24 | (uint32_t)(rnd(state) & 0xffffff)) &
			 v4_mask(r.len);
	while (v4_holds_martian(&r));
	return r;
}

struct v4_routes {
	struct v4_route *route;
	size_t count, room;
};

static inline bool
v4_take(void *ctx, const struct prefix *p)
{
	struct v4_routes *r = ctx;

	r->route[r->count++] = (struct v4_route){.addr = prefix_v4(p), .len = p->len};
	return r->count < r->room;
}

/*
 * A full table in address order, at most `max` prefixes: the recorded table if available, else a
 * generated table of similar shape. The caller frees the array.
 */
static inline struct v4_route *
v4_table(size_t max, size_t *count)
{
	struct v4_routes r = {.room = 1200000};
	uint64_t seed = 20260619;

	r.route = malloc(r.room * sizeof(*r.route));
	if (r.route == NULL)
		abort();
	routes_read("table-v4.txt.gz", v4_take, &r);
	if (r.count == 0) {
		while (r.count < 1100000)
			r.route[r.count++] = v4_generated(&seed);
	}
	r.count = v4_unique(r.route, r.count);
	*count = routes_spread(r.route, r.count, sizeof(*r.route), max);
	return r.route;
}
