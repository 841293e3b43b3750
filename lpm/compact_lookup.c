/* SPDX-License-Identifier: BSD-3-Clause */
/* Lookups of workers, apart from the building, because scripts/hot.sh reads the object. */
#include "lpm/compact.h"
#include "lpm/group_tree.h"
#include "lpm/range_table.h"

#include <stddef.h>

#define HIGHEST_4(x) (x), (x), (x), (x)
#define HIGHEST_16(x) HIGHEST_4(x), HIGHEST_4(x), HIGHEST_4(x), HIGHEST_4(x)

/* The table of NULL: one range without a route. */
static const struct {
	struct range_table table;
	int64_t key[RANGE_NODE];
	uint16_t index[RANGE_NODE];
	uint32_t word;
} none_v6 =
	{
		.table = {.head = {COMPACT_RANGES, AFI_IPV6},
			.levels = 1,
			.index_mask = UINT8_MAX,
			.index_at = sizeof(struct range_table) + sizeof(none_v6.key),
			.word_at = offsetof(__typeof__(none_v6), word),
			.range_count = 1},
		.key = {HIGHEST_16(INT64_MAX)},
},
  none_v4 = {
	  .table = {.head = {COMPACT_RANGES, AFI_IPV4},
		  .levels = 1,
		  .index_mask = UINT8_MAX,
		  .index_at = sizeof(struct range_table) + sizeof(none_v6.key),
		  .word_at = offsetof(__typeof__(none_v6), word),
		  .range_count = 1},
	  /* two keys of 32 bits */
	  .key = {HIGHEST_16(INT64_C(0x7fffffff7fffffff))},
};

HOT void
compact_v4_lookup(const struct compact *c, const uint32_t *ip, uint32_t *list, unsigned n)
{
	if (c->kind == COMPACT_TREE)
		group_tree_lookup(compact_tree(c), ip, list, n);
	else
		range_v4_lookup(compact_ranges(c), ip, list, n);
}

HOT void
compact_v6_lookup(const struct compact *c, const uint8_t (*ip)[16], uint32_t *list, unsigned n)
{
	range_v6_lookup(compact_ranges(c), ip, list, n);
}

/*
 * Range tables of a burst. Trees, and NULL, are replaced by the table without routes. Returns true
 * if there are trees.
 */
static inline __attribute__((always_inline)) bool
ranges_each(const struct compact *const *c, const struct range_table *none,
	const struct range_table **t, unsigned n)
{
	bool trees = false;

	for (unsigned i = 0; i < n; i++) {
		bool tree = c[i] != NULL && c[i]->kind == COMPACT_TREE;

		trees |= tree;
		t[i] = c[i] == NULL || tree ? none : compact_ranges(c[i]);
	}
	return trees;
}

HOT void
compact_v4_lookup_each(
	const struct compact *const *c, const uint32_t *ip, uint32_t *list, unsigned n)
{
	const struct range_table *t[RANGE_BURST];

	for (unsigned count; n > 0; n -= count, c += count, ip += count, list += count) {
		bool trees;

		count = n < RANGE_BURST ? n : RANGE_BURST;
		trees = ranges_each(c, &none_v4.table, t, count);
		range_v4_lookup_each(t, ip, list, count);
		for (unsigned i = 0; trees && i < count; i++) {
			if (c[i] != NULL && c[i]->kind == COMPACT_TREE)
				group_tree_lookup(compact_tree(c[i]), ip + i, list + i, 1);
		}
	}
}

HOT void
compact_v6_lookup_each(
	const struct compact *const *c, const uint8_t (*ip)[16], uint32_t *list, unsigned n)
{
	const struct range_table *t[RANGE_BURST];

	for (unsigned count; n > 0; n -= count, c += count, ip += count, list += count) {
		count = n < RANGE_BURST ? n : RANGE_BURST;
		(void)ranges_each(c, &none_v6.table, t, count);
		range_v6_lookup_each(t, ip, list, count);
	}
}
