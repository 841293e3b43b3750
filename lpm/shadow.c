/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/shadow.h"

#include "lpm/arena.h"

#include <errno.h>
#include <string.h>

#define NODE_BYTES 1024
#define LEAF_MAX 125
#define INNER_MAX 63
#define HEIGHT_MAX 8 /* a third of INNER_MAX to that power is far beyond 2^33 prefixes */

struct leaf {
	struct leaf *prev, *next;
	uint32_t count;
	uint32_t reserved;
	uint64_t word[LEAF_MAX];
};
static_assert(sizeof(struct leaf) == NODE_BYTES, "leaves and inner nodes share spares");

/* Child i holds keys from key[i] up to, not including, key[i + 1]; key[0] is not looked at. */
struct inner {
	uint32_t count;
	uint32_t reserved;
	struct inner *link; /* while the tree is taken down */
	uint64_t key[INNER_MAX];
	void *child[INNER_MAX];
};
static_assert(sizeof(struct inner) == NODE_BYTES, "");

struct shadow {
	struct arena *arena;
	void *root;
	unsigned height; /* inner levels above the leaves */
	uint64_t count;
	uint64_t node_count; /* with spares */
	uint64_t len_mask; /* bit: some prefix has this length */
	uint32_t len_count[33];
	void *spare; /* reserved nodes, linked by their first pointer */
	unsigned spare_count;
};

/* The way from the root: level[0] is the root, level[height - 1] the leaf's parent. */
struct way {
	struct inner *node[HEIGHT_MAX];
	unsigned at[HEIGHT_MAX];
	struct leaf *leaf;
};

static uint64_t
key_of(uint32_t addr, unsigned len)
{
	return (uint64_t)addr << 32 | (uint64_t)len << 24;
}

static uint32_t
addr_of(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static bool
same_key(uint64_t a, uint64_t b)
{
	return a >> 24 == b >> 24;
}

static void
entry_of(uint64_t word, struct shadow_entry *out)
{
	uint32_t addr = shadow_v4_addr(word);

	*out = (struct shadow_entry){
		.prefix = {.b = {(uint8_t)(addr >> 24), (uint8_t)(addr >> 16), (uint8_t)(addr >> 8),
				   (uint8_t)addr},
			.afi = AFI_IPV4,
			.len = shadow_v4_len(word)},
		.list = {shadow_v4_list(word)},
		.waiting = (word & SHADOW_V4_WAITING) != 0,
	};
}

/* First position whose key is not below `key`. */
static unsigned
leaf_position(const struct leaf *l, uint64_t key)
{
	const uint64_t *base = l->word;
	unsigned n = l->count;

	while (n > 0) {
		unsigned half = n / 2;

		if (base[half] < key) {
			base += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return (unsigned)(base - l->word);
}

/* The child that holds `key`. */
static unsigned
inner_position(const struct inner *in, uint64_t key)
{
	unsigned low = 1, high = in->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (in->key[middle] <= key)
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

static struct leaf *
descend(const struct shadow *s, uint64_t key)
{
	void *node = s->root;

	for (unsigned level = 0; level < s->height; level++) {
		struct inner *in = node;

		node = in->child[inner_position(in, key)];
	}
	return node;
}

static void
descend_way(const struct shadow *s, uint64_t key, struct way *w)
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

int
shadow_create(struct arena *a, enum afi afi, struct shadow **out)
{
	struct shadow *s;

	if (afi != AFI_IPV4)
		return -EAFNOSUPPORT;
	s = arena_calloc(a, sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	s->arena = a;
	if (spare_reserve(s, 1) != 0) {
		arena_free(a, s);
		return -ENOMEM;
	}
	s->root = leaf_take(s);
	*out = s;
	return 0;
}

/* The first leaf; its list reaches all of them. */
static struct leaf *
leaf_first(const struct shadow *s)
{
	void *node = s->root;

	for (unsigned level = 0; level < s->height; level++)
		node = ((struct inner *)node)->child[0];
	return node;
}

/* Level by level from the root, so without recursion. */
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

void
shadow_clear(struct shadow *s)
{
	struct leaf *first = leaf_first(s);

	leaf_free_all(s, first->next);
	inner_free_all(s);
	first->next = NULL;
	first->count = 0;
	s->root = first;
	s->count = 0;
	s->len_mask = 0;
	memset(s->len_count, 0, sizeof(s->len_count));
}

void
shadow_destroy(struct shadow *s)
{
	if (s == NULL)
		return;
	shadow_clear(s);
	node_free(s, s->root);
	while (s->spare != NULL)
		node_free(s, spare_take(s));
	arena_free(s->arena, s);
}

/*
 * Nodes that an insertion at the end of this way may need: one for each full node from the leaf up,
 * and a root.
 */
static unsigned
split_count(const struct shadow *s, const struct way *w)
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
inner_put(struct inner *in, unsigned at, uint64_t key, void *child)
{
	memmove(&in->key[at + 1], &in->key[at], (in->count - at) * sizeof(in->key[0]));
	memmove(&in->child[at + 1], &in->child[at], (in->count - at) * sizeof(in->child[0]));
	in->key[at] = key;
	in->child[at] = child;
	in->count++;
}

static void
inner_take(struct inner *in, unsigned at)
{
	in->count--;
	memmove(&in->key[at], &in->key[at + 1], (in->count - at) * sizeof(in->key[0]));
	memmove(&in->child[at], &in->child[at + 1], (in->count - at) * sizeof(in->child[0]));
}

/*
 * Puts a new right neighbour of the child on the way into the parents, splitting those that are
 * full.
 */
static void
parents_put(struct shadow *s, struct way *w, uint64_t key, void *child)
{
	for (unsigned level = s->height; level-- > 0;) {
		struct inner *in = w->node[level], *right;
		unsigned at = w->at[level] + 1, keep;

		if (in->count < INNER_MAX) {
			inner_put(in, at, key, child);
			return;
		}
		/* at the far right nothing will come back to the left half: leave it full */
		keep = at == INNER_MAX ? INNER_MAX - 1 : INNER_MAX / 2;
		right = spare_take(s);
		right->count = in->count - keep;
		memcpy(right->key, &in->key[keep], right->count * sizeof(in->key[0]));
		memcpy(right->child, &in->child[keep], right->count * sizeof(in->child[0]));
		in->count = keep;
		if (at > keep)
			inner_put(right, at - keep, key, child);
		else
			inner_put(in, at, key, child);
		key = right->key[0];
		child = right;
	}
	struct inner *root = spare_take(s);

	root->count = 2;
	root->key[0] = 0;
	root->child[0] = s->root;
	root->key[1] = key;
	root->child[1] = child;
	s->root = root;
	s->height++;
	assert(s->height <= HEIGHT_MAX);
}

static void
leaf_put(struct leaf *l, unsigned at, uint64_t word)
{
	memmove(&l->word[at + 1], &l->word[at], (l->count - at) * sizeof(l->word[0]));
	l->word[at] = word;
	l->count++;
}

static void
leaf_split(struct shadow *s, struct way *w, unsigned at, uint64_t word)
{
	struct leaf *l = w->leaf, *right = leaf_take(s);
	/* a load in order appends at the far right: leave full leaves behind */
	unsigned keep = l->next == NULL && at == l->count ? LEAF_MAX : LEAF_MAX / 2;

	right->count = l->count - keep;
	memcpy(right->word, &l->word[keep], right->count * sizeof(l->word[0]));
	l->count = keep;
	right->next = l->next;
	right->prev = l;
	if (right->next != NULL)
		right->next->prev = right;
	l->next = right;
	if (at > keep || keep == LEAF_MAX)
		leaf_put(right, at - keep, word);
	else
		leaf_put(l, at, word);
	parents_put(s, w, right->word[0] >> 24 << 24, right);
}

int
shadow_set(struct shadow *s, const struct prefix *p, struct path_list_id list, bool waiting)
{
	uint64_t key = key_of(addr_of(p->b), p->len);
	uint64_t word = key | (waiting ? SHADOW_V4_WAITING : 0) | list.v;
	struct way w;
	unsigned at;

	assert(p->afi == AFI_IPV4 && p->len <= 32 && list.v < PATH_LIST_MAX);
	descend_way(s, key, &w);
	at = leaf_position(w.leaf, key);
	if (at < w.leaf->count && same_key(w.leaf->word[at], key)) {
		w.leaf->word[at] = word;
		return 0;
	}
	if (w.leaf->count < LEAF_MAX) {
		leaf_put(w.leaf, at, word);
	} else {
		if (spare_reserve(s, split_count(s, &w)) != 0)
			return -ENOMEM;
		leaf_split(s, &w, at, word);
	}
	s->count++;
	s->len_count[p->len]++;
	s->len_mask |= 1ull << p->len;
	return 0;
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

/* Shrinks the parents after child `at` of the way's last inner node went away. */
static void
parents_take(struct shadow *s, struct way *w, unsigned level)
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

/* Appends inner node `right` to `left` where both are children of `parent`. */
static void
inner_merge(struct shadow *s, struct inner *parent, unsigned left_at)
{
	struct inner *left = parent->child[left_at], *right = parent->child[left_at + 1];

	right->key[0] = parent->key[left_at + 1];
	memcpy(&left->key[left->count], right->key, right->count * sizeof(left->key[0]));
	memcpy(&left->child[left->count], right->child, right->count * sizeof(left->child[0]));
	left->count += right->count;
	inner_take(parent, left_at + 1);
	node_free(s, right);
}

/*
 * Thin inner nodes on the way join a neighbour, from below; the key of a thin node is given back by
 * its parent.
 */
static void
parents_thin(struct shadow *s, struct way *w)
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

/* Joins leaf `at + 1` of `parent` into leaf `at`. */
static void
leaf_merge(struct shadow *s, struct inner *parent, unsigned at)
{
	struct leaf *left = parent->child[at], *right = parent->child[at + 1];

	memcpy(&left->word[left->count], right->word, right->count * sizeof(left->word[0]));
	left->count += right->count;
	inner_take(parent, at + 1);
	leaf_unlink(s, right);
}

static void
leaf_thin(struct shadow *s, struct way *w)
{
	struct inner *parent = w->node[s->height - 1];
	unsigned at = w->at[s->height - 1];
	unsigned limit = LEAF_MAX * 4 / 5; /* room is left, so a merge is not split again at once */

	if (at + 1 < parent->count &&
		w->leaf->count + ((struct leaf *)parent->child[at + 1])->count <= limit)
		leaf_merge(s, parent, at);
	else if (at > 0 && w->leaf->count + ((struct leaf *)parent->child[at - 1])->count <= limit)
		leaf_merge(s, parent, at - 1);
	else
		return;
	parents_thin(s, w);
}

int
shadow_remove(struct shadow *s, const struct prefix *p)
{
	uint64_t key = key_of(addr_of(p->b), p->len);
	struct way w;
	struct leaf *l;
	unsigned at;

	descend_way(s, key, &w);
	l = w.leaf;
	at = leaf_position(l, key);
	if (at == l->count || !same_key(l->word[at], key))
		return -ENOENT;
	l->count--;
	memmove(&l->word[at], &l->word[at + 1], (l->count - at) * sizeof(l->word[0]));
	s->count--;
	if (--s->len_count[p->len] == 0)
		s->len_mask &= ~(1ull << p->len);
	if (s->height == 0)
		return 0;
	if (l->count == 0) {
		leaf_unlink(s, l);
		parents_take(s, &w, s->height - 1);
	} else if (l->count < LEAF_MAX / 2) {
		leaf_thin(s, &w);
	}
	return 0;
}

bool
shadow_get(const struct shadow *s, const struct prefix *p, struct shadow_entry *out)
{
	uint64_t key = key_of(addr_of(p->b), p->len);
	const struct leaf *l = descend(s, key);
	unsigned at = leaf_position(l, key);

	if (at == l->count || !same_key(l->word[at], key))
		return false;
	if (out != NULL)
		entry_of(l->word[at], out);
	return true;
}

/* The last entry whose key is at most `key`. */
static const uint64_t *
word_before(const struct shadow *s, uint64_t key)
{
	const struct leaf *l = descend(s, key);
	unsigned at = leaf_position(l, key + (1ull << 24));

	if (at > 0)
		return &l->word[at - 1];
	return l->prev == NULL ? NULL : &l->prev->word[l->prev->count - 1];
}

/*
 * The entry before (addr, len) is the answer if it covers addr. If not, what covers addr covers
 * that entry too, so it is no longer than the bits that both share: look again there. Lengths that
 * nobody has are skipped.
 */
uint64_t
shadow_v4_cover(const struct shadow *s, uint32_t addr, uint8_t max_len, bool *found)
{
	unsigned len = max_len;

	*found = false;
	for (;;) {
		uint64_t lengths = s->len_mask & ((2ull << len) - 1);
		const uint64_t *word;

		if (lengths == 0)
			return 0;
		len = 63 - (unsigned)__builtin_clzll(lengths);
		word = word_before(s, key_of(addr & v4_mask(len), len));
		if (word == NULL)
			return 0;
		uint32_t differ = shadow_v4_addr(*word) ^ addr;

		if ((differ & v4_mask(shadow_v4_len(*word))) == 0 && shadow_v4_len(*word) <= len) {
			*found = true;
			return *word;
		}
		if (len == 0)
			return 0;
		unsigned common = differ == 0 ? 32 : (unsigned)__builtin_clz(differ);

		len = common < len ? common : len - 1;
	}
}

bool
shadow_cover(const struct shadow *s, const struct ip_addr *addr, uint8_t max_len,
	struct shadow_entry *out)
{
	bool found;
	uint64_t word = shadow_v4_cover(s, addr_of(addr->b), max_len, &found);

	if (found && out != NULL)
		entry_of(word, out);
	return found;
}

void
shadow_v4_seek(const struct shadow *s, uint32_t addr, uint8_t len, struct shadow_cursor *c)
{
	uint64_t key = key_of(addr, len);
	const struct leaf *l = descend(s, key);

	*c = (struct shadow_cursor){.leaf = l, .at = leaf_position(l, key)};
}

void
shadow_seek(const struct shadow *s, const struct prefix *p, struct shadow_cursor *c)
{
	if (p == NULL)
		*c = (struct shadow_cursor){.leaf = leaf_first(s), .at = 0};
	else
		shadow_v4_seek(s, addr_of(p->b), p->len, c);
}

const uint64_t *
shadow_v4_peek(struct shadow_cursor *c)
{
	const struct leaf *l = c->leaf;

	while (l != NULL && c->at >= l->count) {
		l = l->next;
		c->leaf = l;
		c->at = 0;
	}
	return l == NULL ? NULL : &l->word[c->at];
}

unsigned
shadow_v4_run(struct shadow_cursor *c, const uint64_t **words)
{
	const struct leaf *l;
	unsigned count;

	*words = shadow_v4_peek(c);
	l = c->leaf;
	if (l == NULL)
		return 0;
	count = l->count - c->at;
	c->leaf = l->next;
	c->at = 0;
	return count;
}

bool
shadow_next(struct shadow_cursor *c, struct shadow_entry *out)
{
	const uint64_t *word = shadow_v4_peek(c);

	if (word == NULL)
		return false;
	entry_of(*word, out);
	c->at++;
	return true;
}

uint64_t
shadow_count(const struct shadow *s)
{
	return s->count;
}

size_t
shadow_bytes(const struct shadow *s)
{
	return sizeof(*s) + s->node_count * NODE_BYTES;
}
