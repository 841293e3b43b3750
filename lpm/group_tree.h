/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of a VPN instance with thousands of IPv4 routes: a tree of groups of 256 words, 8 bits
 * of the address a level. From 500 routes on a lookup takes half the time of a range table
 * (lpm/range_table.h), but the tree takes 30 times the memory. Words and steps of a lookup are as
 * in lpm/table_v6.h. Answers are pushed down, so the last word is the complete answer.
 * The default route is not painted: `miss` answers where the word is 0.
 *
 * Not for IPv6: prefixes of VPNs end at /64 to /128, so a tree takes 3 KiB a route and 3 to 20
 * million lookups a second, a range table 67 to 90 (docs/decisions/0018).
 *
 * Writer, readers and lifetime as in lpm/range_table.h: a tree is immutable, a change of routes
 * builds a new tree, the old tree is destroyed after a grace period. A tree takes 1 KiB for each
 * different /8, /16 and /24 with longer prefixes inside.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/compact.h"
#include "lpm/path_list.h"
#include "lpm/table_v6.h"

struct arena;
struct shadow;

/* The words follow the header of one cache line; the first group is the root. */
struct group_tree {
	alignas(CACHE_LINE) struct compact head;
	uint32_t miss;
	size_t bytes;
	struct arena *arena;
};
static_assert(sizeof(struct group_tree) == CACHE_LINE, "words are aligned to lines");

/* Size of the tree of all routes of the shadow. */
size_t group_tree_need(const struct shadow *routes);
/* Builds the tree of all routes of the shadow. Returns 0, -ENOMEM, or -E2BIG (65,536 groups). */
int group_tree_create(struct arena *a, const struct shadow *routes, struct group_tree **out);
/* After a grace period without readers. */
void group_tree_destroy(struct group_tree *t);
/*
 * Looks up the 4 bytes of an address in wire order, with the length of the prefix. Returns false
 * without a route. Any reader.
 */
bool group_tree_read(
	const struct group_tree *t, const uint8_t *addr, struct path_list_id *list, uint8_t *len);

static inline const uint32_t *
group_tree_words(const struct group_tree *t)
{
	return (const uint32_t *)(const void *)(t + 1);
}

/* Path lists of `n` IPv4 addresses in host order; PATH_LIST_NONE where no route matches. */
static inline __attribute__((always_inline)) void
group_tree_lookup(const struct group_tree *t, const uint32_t *ip, uint32_t *list, unsigned n)
{
	const uint32_t *words = group_tree_words(t);
	uint32_t miss = t->miss;
	unsigned eights = n / 8;

	for (unsigned i = 0; i < n; i++)
		list[i] = ip[i] >> 24;
#pragma GCC unroll 3
	for (unsigned step = 0; step < 3; step++) {
		unsigned shift = 16 - 8 * step;

		for (unsigned i = 0; i < 8 * eights; i += 8) {
			words8 bytes;

			__builtin_memcpy(&bytes, ip + i, sizeof(bytes));
			bytes = bytes >> shift & 0xff;
			table_v6_step8(words, list + i, &bytes);
		}
		for (unsigned i = 8 * eights; i < n; i++)
			list[i] = table_v6_step(list[i], words[list[i]], (uint8_t)(ip[i] >> shift));
	}
	for (unsigned i = 0; i < n; i++)
		list[i] = table_v6_answer(words[list[i]], miss);
}
