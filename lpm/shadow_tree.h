/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The B+tree of the shadow, compiled into shadow.c and shadow_v6.c with different node layouts.
 * Before including this file they define LEAF_MAX and INNER_MAX; struct leaf {prev, next, count,
 * and entries}; struct inner {count, link, child[], and keys}; struct tree_key; struct tree_entry;
 * and
 *
 *   inner_position  index of the child for a key: child i has the keys from key i up to, not
 *                   including, key i + 1; key 0 is not compared
 *   inner_move      moves keys and children, within a node or between nodes (as memmove)
 *   inner_key, inner_key_put, leaf_key, leaf_entry_put, leaf_move
 */
#pragma once

#include "lpm/base/arena.h"
#include "lpm/shadow_impl.h"

#include <errno.h>

#define HEIGHT_MAX 8 /* (INNER_MAX / 3)^8 is far more than 2^29 prefixes */

static_assert(sizeof(struct leaf) == NODE_BYTES, "leaves and inner nodes share spares");
static_assert(sizeof(struct inner) == NODE_BYTES, "");

/* The path from the root to a leaf: node[0] is the root, node[height - 1] the leaf's parent. */
struct descent {
	struct inner *node[HEIGHT_MAX];
	unsigned at[HEIGHT_MAX];
	struct leaf *leaf;
};

static struct leaf *
descend(const struct shadow *s, struct tree_key key)
{
	void *node = s->root;

	for (unsigned level = 0; level < s->height; level++) {
		struct inner *in = node;

		node = in->child[inner_position(in, key)];
	}
	return node;
}

static void
descent_find(const struct shadow *s, struct tree_key key, struct descent *w)
{
	void *node = s->root;

	for (unsigned level = 0; level < s->height; level++) {
		struct inner *in = node;

		w->node[level] = in;
		w->at[level] = inner_position(in, key);
		node = in->child[w->at[level]];
	}
	w->leaf = node;
}

/*
 * Prefetches a leaf before the search position is known. Touches every second line: most CPUs also
 * fetch the adjacent line.
 */
static void
leaf_prefetch(const struct leaf *l)
{
	for (unsigned at = 0; at < NODE_BYTES; at += NODE_BYTES / 8)
		__builtin_prefetch((const char *)l + at);
}

static int
spare_reserve(struct shadow *s, unsigned count)
{
	while (s->spare_count < count) {
		void **node = arena_alloc_aligned(s->arena, CACHE_LINE, NODE_BYTES);

		if (node == NULL)
			return -ENOMEM;
		*node = s->spare;
		s->spare = node;
		s->spare_count++;
		s->node_count++;
	}
	return 0;
}

static void *
spare_take(struct shadow *s)
{
	void **node = s->spare;

	assert(node != NULL);
	s->spare = *node;
	s->spare_count--;
	return node;
}

static void
node_free(struct shadow *s, void *node)
{
	arena_free(s->arena, node);
	s->node_count--;
}

static struct leaf *
leaf_take(struct shadow *s)
{
	struct leaf *l = spare_take(s);

	l->prev = l->next = NULL;
	l->count = 0;
	return l;
}

/* The first leaf, head of the list of all leaves. */
static struct leaf *
leaf_first(const struct shadow *s)
{
	void *node = s->root;

	for (unsigned level = 0; level < s->height; level++)
		node = ((struct inner *)node)->child[0];
	return node;
}

/* Frees all inner nodes level by level from the root, without recursion. */
static void
inner_free_all(struct shadow *s)
{
	struct inner *list = s->height > 0 ? s->root : NULL;

	if (list != NULL)
		list->link = NULL;
	for (; s->height > 0; s->height--) {
		struct inner *below = NULL;

		while (list != NULL) {
			struct inner *next = list->link;

			for (unsigned i = 0; s->height > 1 && i < list->count; i++) {
				struct inner *child = list->child[i];

				child->link = below;
				below = child;
			}
			node_free(s, list);
			list = next;
		}
		list = below;
	}
}

static void
leaf_free_all(struct shadow *s, struct leaf *l)
{
	while (l != NULL) {
		struct leaf *next = l->next;

		node_free(s, l);
		l = next;
	}
}

/*
 * Number of nodes an insertion may need: one for each full node from the leaf up, and a new root.
 */
static unsigned
split_count(const struct shadow *s, const struct descent *w)
{
	unsigned count = 1;

	for (unsigned level = s->height; level-- > 0;) {
		if (w->node[level]->count < INNER_MAX)
			return count;
		count++;
	}
	return count + 1;
}

static void
inner_put(struct inner *in, unsigned at, struct tree_key key, void *child)
{
	inner_move(in, at + 1, in, at, in->count - at);
	inner_key_put(in, at, key);
	in->child[at] = child;
	in->count++;
}

static void
inner_take(struct inner *in, unsigned at)
{
	in->count--;
	inner_move(in, at, in, at + 1, in->count - at);
}

/* Inserts the new right sibling of the current child into its parents; splits full parents. */
static void
parents_put(struct shadow *s, struct descent *w, struct tree_key key, void *child)
{
	for (unsigned level = s->height; level-- > 0;) {
		struct inner *in = w->node[level], *right;
		unsigned at = w->at[level] + 1, keep;

		if (in->count < INNER_MAX) {
			inner_put(in, at, key, child);
			return;
		}
		/* at the right edge the left half gets no more keys: leave it full */
		keep = at == INNER_MAX ? INNER_MAX - 1 : INNER_MAX / 2;
		right = spare_take(s);
		right->count = in->count - keep;
		inner_move(right, 0, in, keep, right->count);
		in->count = keep;
		if (at > keep)
			inner_put(right, at - keep, key, child);
		else
			inner_put(in, at, key, child);
		key = inner_key(right, 0);
		child = right;
	}
	struct inner *root = spare_take(s);

	root->count = 2;
	inner_key_put(root, 0, (struct tree_key){0});
	root->child[0] = s->root;
	inner_key_put(root, 1, key);
	root->child[1] = child;
	s->root = root;
	s->height++;
	assert(s->height <= HEIGHT_MAX);
}

static void
leaf_put(struct leaf *l, unsigned at, struct tree_entry entry)
{
	leaf_move(l, at + 1, l, at, l->count - at);
	leaf_entry_put(l, at, entry);
	l->count++;
}

static void
leaf_split(struct shadow *s, struct descent *w, unsigned at, struct tree_entry entry)
{
	struct leaf *l = w->leaf, *right = leaf_take(s);
	/* loading in order appends at the right edge: leave full leaves behind */
	unsigned keep = l->next == NULL && at == l->count ? LEAF_MAX : LEAF_MAX / 2;

	right->count = l->count - keep;
	leaf_move(right, 0, l, keep, right->count);
	l->count = keep;
	right->next = l->next;
	right->prev = l;
	if (right->next != NULL)
		right->next->prev = right;
	l->next = right;
	if (at > keep || keep == LEAF_MAX)
		leaf_put(right, at - keep, entry);
	else
		leaf_put(l, at, entry);
	parents_put(s, w, leaf_key(right, 0), right);
}

static void
root_shrink(struct shadow *s)
{
	while (s->height > 0 && ((struct inner *)s->root)->count == 1) {
		struct inner *root = s->root;

		s->root = root->child[0];
		s->height--;
		node_free(s, root);
	}
}

/* Removes the child from its parents after the child was freed. */
static void
parents_take(struct shadow *s, struct descent *w, unsigned level)
{
	for (;;) {
		struct inner *in = w->node[level];

		inner_take(in, w->at[level]);
		if (in->count > 0 || level == 0)
			break;
		node_free(s, in);
		level--;
	}
	root_shrink(s);
}

/* Appends the inner node `right` to `left`, both children of `parent`. */
static void
inner_merge(struct shadow *s, struct inner *parent, unsigned left_at)
{
	struct inner *left = parent->child[left_at], *right = parent->child[left_at + 1];

	inner_key_put(right, 0, inner_key(parent, left_at + 1));
	inner_move(left, left->count, right, 0, right->count);
	left->count += right->count;
	inner_take(parent, left_at + 1);
	node_free(s, right);
}

/*
 * Merges inner nodes with few keys with a sibling, from the leaf's parent upwards. Key 0 of a
 * merged node is restored from its parent.
 */
static void
parents_merge_small(struct shadow *s, struct descent *w)
{
	for (unsigned level = s->height; level-- > 1;) {
		struct inner *in = w->node[level], *parent = w->node[level - 1];
		unsigned at = w->at[level - 1];

		if (in->count >= INNER_MAX / 3)
			return;
		if (at + 1 < parent->count &&
			in->count + ((struct inner *)parent->child[at + 1])->count <=
				INNER_MAX * 3 / 4)
			inner_merge(s, parent, at);
		else if (at > 0 && in->count + ((struct inner *)parent->child[at - 1])->count <=
					   INNER_MAX * 3 / 4)
			inner_merge(s, parent, at - 1);
		else
			return;
	}
	root_shrink(s);
}

static void
leaf_unlink(struct shadow *s, struct leaf *l)
{
	if (l->prev != NULL)
		l->prev->next = l->next;
	if (l->next != NULL)
		l->next->prev = l->prev;
	node_free(s, l);
}

/* Merges leaf `at + 1` of `parent` into leaf `at`. */
static void
leaf_merge(struct shadow *s, struct inner *parent, unsigned at)
{
	struct leaf *left = parent->child[at], *right = parent->child[at + 1];

	leaf_move(left, left->count, right, 0, right->count);
	left->count += right->count;
	inner_take(parent, at + 1);
	leaf_unlink(s, right);
}

static void
leaf_merge_small(struct shadow *s, struct descent *w)
{
	struct inner *parent = w->node[s->height - 1];
	unsigned at = w->at[s->height - 1];
	/* leaves room, so a merged leaf is not split again at once */
	unsigned limit = LEAF_MAX * 4 / 5;

	if (at + 1 < parent->count &&
		w->leaf->count + ((struct leaf *)parent->child[at + 1])->count <= limit)
		leaf_merge(s, parent, at);
	else if (at > 0 && w->leaf->count + ((struct leaf *)parent->child[at - 1])->count <= limit)
		leaf_merge(s, parent, at - 1);
	else
		return;
	parents_merge_small(s, w);
}

static int
tree_init(struct shadow *s)
{
	if (spare_reserve(s, 1) != 0)
		return -ENOMEM;
	s->root = leaf_take(s);
	return 0;
}

/* Keeps one leaf, so the tree always has a root. */
static void
tree_clear(struct shadow *s)
{
	struct leaf *first = leaf_first(s);

	leaf_free_all(s, first->next);
	inner_free_all(s);
	first->next = NULL;
	first->count = 0;
	s->root = first;
}

static void
tree_fini(struct shadow *s)
{
	tree_clear(s);
	node_free(s, s->root);
	while (s->spare != NULL)
		node_free(s, spare_take(s));
}

/* Inserts an entry at position `at` of the leaf. Returns 0, or -ENOMEM (nothing changed). */
static int
tree_insert(struct shadow *s, struct descent *w, unsigned at, struct tree_entry entry)
{
	if (w->leaf->count < LEAF_MAX) {
		leaf_put(w->leaf, at, entry);
		return 0;
	}
	if (spare_reserve(s, split_count(s, w)) != 0)
		return -ENOMEM;
	leaf_split(s, w, at, entry);
	return 0;
}

static void
tree_remove(struct shadow *s, struct descent *w, unsigned at)
{
	struct leaf *l = w->leaf;

	l->count--;
	leaf_move(l, at, l, at + 1, l->count - at);
	if (s->height == 0)
		return;
	if (l->count == 0) {
		leaf_unlink(s, l);
		parents_take(s, w, s->height - 1);
	} else if (l->count < LEAF_MAX / 2) {
		leaf_merge_small(s, w);
	}
}
