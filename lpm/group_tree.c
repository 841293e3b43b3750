/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/group_tree.h"

#include "lpm/base/arena.h"
#include "lpm/shadow.h"

#include <errno.h>
#include <string.h>

#define GROUP 256u
#define LENGTH_SHIFT 24 /* as in lpm/table_v6.h */
#define GROUPS_MAX (1u << 16) /* the slot of a lookup has 24 bits */

/* Number of leading bytes shared by two addresses. */
static unsigned
bytes_shared(const struct prefix *a, const struct prefix *b)
{
	unsigned n = 0;

	while (n < 4 && a->b[n] == b->b[n])
		n++;
	return n;
}

/* Level of the group in which a prefix ends: the root has level 0 and lengths from 1 to 8. */
static unsigned
level_of(const struct prefix *p)
{
	return p->len == 0 ? 0 : (p->len - 1u) / 8;
}

/*
 * Counts groups. Prefixes come in order, so the path to a prefix shares with all earlier paths only
 * groups that it shares with the last path: the groups of `path` down to level `depth`.
 */
static uint64_t
groups_count(const struct shadow *routes)
{
	struct prefix path = {.len = 0};
	struct shadow_cursor c;
	struct shadow_entry e;
	unsigned depth = 0;
	uint64_t groups = 1;

	shadow_seek(routes, NULL, &c);
	while (shadow_next(&c, &e)) {
		unsigned shared = bytes_shared(&path, &e.prefix), level = level_of(&e.prefix);

		if (shared > depth)
			shared = depth;
		if (level > shared)
			groups += level - shared;
		depth = level > shared ? level : shared;
		path = e.prefix;
	}
	return groups;
}

static size_t
tree_bytes(uint64_t groups)
{
	return sizeof(struct group_tree) + groups * GROUP * sizeof(uint32_t);
}

size_t
group_tree_need(const struct shadow *routes)
{
	return tree_bytes(groups_count(routes));
}

/* Creates the groups on the path to `p`. Returns the word number of the group in which it ends. */
static uint32_t
descend(uint32_t *words, const struct prefix *p, uint32_t *groups)
{
	unsigned end = level_of(p);
	uint32_t group = 0;

	for (unsigned level = 0; level < end; level++) {
		uint32_t *word = &words[group * GROUP + p->b[level]];

		if ((*word & TABLE_V6_GROUP) == 0) {
			for (unsigned i = 0; i < GROUP; i++)
				words[*groups * GROUP + i] = *word;
			*word = TABLE_V6_GROUP | (*groups)++;
		}
		group = *word & TABLE_V6_VALUE;
	}
	return group * GROUP;
}

/* A covering prefix comes first, so no slot of the prefix has a group yet. */
static void
paint(uint32_t *words, const struct shadow_entry *e, uint32_t *groups)
{
	unsigned level = level_of(&e->prefix), count = 1u << (8 * (level + 1) - e->prefix.len);
	uint32_t *slot = &words[descend(words, &e->prefix, groups) + e->prefix.b[level]];

	for (unsigned i = 0; i < count; i++)
		slot[i] = e->list.v | (uint32_t)(e->prefix.len - 1) << LENGTH_SHIFT;
}

int
group_tree_create(struct arena *a, const struct shadow *routes, struct group_tree **out)
{
	uint64_t count = groups_count(routes);
	struct shadow_cursor c;
	struct shadow_entry e;
	struct group_tree *t;
	uint32_t *words, groups = 1;

	if (count > GROUPS_MAX)
		return -E2BIG;
	t = arena_alloc_aligned(a, CACHE_LINE, tree_bytes(count));
	if (t == NULL)
		return -ENOMEM;
	*t = (struct group_tree){
		.head = {COMPACT_TREE, AFI_IPV4}, .bytes = tree_bytes(count), .arena = a};
	words = (uint32_t *)(void *)(t + 1);
	memset(words, 0, GROUP * sizeof(*words));
	shadow_seek(routes, NULL, &c);
	while (shadow_next(&c, &e)) {
		if (e.prefix.len == 0)
			t->miss = e.list.v;
		else
			paint(words, &e, &groups);
	}
	assert(groups == count);
	*out = t;
	return 0;
}

void
group_tree_destroy(struct group_tree *t)
{
	if (t != NULL)
		arena_free(t->arena, t);
}

bool
group_tree_read(
	const struct group_tree *t, const uint8_t *addr, struct path_list_id *list, uint8_t *len)
{
	const uint32_t *words = group_tree_words(t);
	uint32_t word = words[addr[0]];

	for (unsigned byte = 1; table_v6_goes_on(word); byte++)
		word = words[(word & TABLE_V6_VALUE) * GROUP + addr[byte]];
	list->v = table_v6_answer(word, t->miss);
	*len = word != 0 ? (uint8_t)((word >> LENGTH_SHIFT) + 1) : 0;
	return list->v != PATH_LIST_NONE;
}
