/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/compact.h"

#include "lpm/group_tree.h"
#include "lpm/range_table.h"
#include "lpm/shadow.h"

#include <errno.h>
#include <stddef.h>

static_assert(offsetof(struct range_table, head) == 0, "a compact table is a range table");
static_assert(offsetof(struct group_tree, head) == 0, "or a tree");
static_assert(COMPACT_ROUTES_MAX <= RANGE_ROUTES_MAX, "");

static bool
tree_wanted(enum afi afi, const struct shadow *routes, const struct compact *old)
{
	bool was_tree = old != NULL && old->kind == COMPACT_TREE;
	uint64_t count = shadow_count(routes);

	return afi == AFI_IPV4 && count >= (was_tree ? COMPACT_RANGES_BELOW : COMPACT_TREE_FROM) &&
	       group_tree_need(routes) <= COMPACT_TREE_BYTES;
}

int
compact_create(struct arena *a, enum afi afi, const struct shadow *routes,
	const struct compact *old, struct compact **out)
{
	struct range_table *ranges;
	struct group_tree *tree;
	int err;

	if (tree_wanted(afi, routes, old)) {
		err = group_tree_create(a, routes, &tree);
		if (err == 0)
			*out = &tree->head;
		return err;
	}
	err = range_table_create(a, afi, routes, &ranges);
	if (err == 0)
		*out = &ranges->head;
	return err;
}

void
compact_destroy(struct compact *c)
{
	if (c != NULL && c->kind == COMPACT_TREE)
		group_tree_destroy((struct group_tree *)(void *)c);
	else
		range_table_destroy((struct range_table *)(void *)c);
}

size_t
compact_bytes(const struct compact *c)
{
	return c->kind == COMPACT_TREE ? compact_tree(c)->bytes
				       : range_table_bytes(compact_ranges(c));
}

bool
compact_read(const struct compact *c, const uint8_t *addr, struct path_list_id *list, uint8_t *len)
{
	return c->kind == COMPACT_TREE ? group_tree_read(compact_tree(c), addr, list, len)
				       : range_table_read(compact_ranges(c), addr, list, len);
}
