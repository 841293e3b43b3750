/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/shadow.h"

#include "lpm/shadow_impl.h"

#include <string.h>

#define LEAF_MAX 50
#define INNER_MAX 40

/* One array per field: a search mostly reads `hi` only, and no bytes are lost to alignment. */
struct leaf {
	struct leaf *prev, *next;
	uint32_t count;
	uint32_t reserved;
	uint64_t hi[LEAF_MAX];
	uint64_t lo[LEAF_MAX];
	uint32_t word[LEAF_MAX]; /* length, waiting, list */
};

struct inner {
	uint32_t count;
	uint32_t reserved;
	struct inner *link; /* used while the tree is freed */
	uint64_t hi[INNER_MAX];
	uint64_t lo[INNER_MAX];
	void *child[INNER_MAX];
	uint8_t len[INNER_MAX];
	uint8_t unused[8];
};

struct tree_key {
	uint64_t hi, lo;
	uint32_t len;
};

struct tree_entry {
	struct tree_key key;
	uint32_t word;
};

static uint64_t
load_be64(const uint8_t *b)
{
	uint64_t v;

	memcpy(&v, b, sizeof(v));
	return __builtin_bswap64(v);
}

static void
store_be64(uint8_t *b, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(b, &v, sizeof(v));
}

static struct tree_key
key_of(const uint8_t *b, unsigned len)
{
	return (struct tree_key){load_be64(b), load_be64(b + 8), len};
}

/* True if the key (hi, lo, len) is less than `key`. */
static bool
before(uint64_t hi, uint64_t lo, unsigned len, struct tree_key key)
{
	if (hi != key.hi)
		return hi < key.hi;
	if (lo != key.lo)
		return lo < key.lo;
	return len < key.len;
}

static unsigned
inner_position(const struct inner *in, struct tree_key key)
{
	unsigned low = 1, high = in->count;

	key.len++; /* search for the first key greater than `key` */
	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (before(in->hi[middle], in->lo[middle], in->len[middle], key))
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

/* First position whose key is not below `key`. */
static unsigned
leaf_position(const struct leaf *l, struct tree_key key)
{
	unsigned low = 0, high = l->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (before(l->hi[middle], l->lo[middle], l->word[middle] >> 24, key))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void
inner_move(struct inner *to, unsigned at, const struct inner *from, unsigned first, unsigned count)
{
	memmove(&to->hi[at], &from->hi[first], count * sizeof(to->hi[0]));
	memmove(&to->lo[at], &from->lo[first], count * sizeof(to->lo[0]));
	memmove(&to->child[at], &from->child[first], count * sizeof(to->child[0]));
	memmove(&to->len[at], &from->len[first], count * sizeof(to->len[0]));
}

static struct tree_key
inner_key(const struct inner *in, unsigned at)
{
	return (struct tree_key){in->hi[at], in->lo[at], in->len[at]};
}

static void
inner_key_put(struct inner *in, unsigned at, struct tree_key key)
{
	in->hi[at] = key.hi;
	in->lo[at] = key.lo;
	in->len[at] = (uint8_t)key.len;
}

static void
leaf_move(struct leaf *to, unsigned at, const struct leaf *from, unsigned first, unsigned count)
{
	memmove(&to->hi[at], &from->hi[first], count * sizeof(to->hi[0]));
	memmove(&to->lo[at], &from->lo[first], count * sizeof(to->lo[0]));
	memmove(&to->word[at], &from->word[first], count * sizeof(to->word[0]));
}

static struct tree_key
leaf_key(const struct leaf *l, unsigned at)
{
	return (struct tree_key){l->hi[at], l->lo[at], l->word[at] >> 24};
}

static void
leaf_entry_put(struct leaf *l, unsigned at, struct tree_entry entry)
{
	l->hi[at] = entry.key.hi;
	l->lo[at] = entry.key.lo;
	l->word[at] = entry.word;
}

#include "lpm/shadow_tree.h"

static bool
leaf_has(const struct leaf *l, unsigned at, struct tree_key key)
{
	return at < l->count && l->hi[at] == key.hi && l->lo[at] == key.lo &&
	       l->word[at] >> 24 == key.len;
}

static void
entry_of(const struct leaf *l, unsigned at, struct shadow_entry *out)
{
	uint32_t word = l->word[at];

	*out = (struct shadow_entry){
		.prefix = {.afi = AFI_IPV6, .len = (uint8_t)(word >> 24)},
		.list = {word & 0xffff},
		.waiting = (word & SHADOW_V6_WAITING) != 0,
	};
	store_be64(out->prefix.b, l->hi[at]);
	store_be64(out->prefix.b + 8, l->lo[at]);
}

int
shadow_v6_init(struct shadow *s)
{
	return tree_init(s);
}

void
shadow_v6_clear(struct shadow *s)
{
	tree_clear(s);
}

void
shadow_v6_fini(struct shadow *s)
{
	tree_fini(s);
}

int
shadow_v6_set(struct shadow *s, const struct prefix *p, struct path_list_id list, bool waiting)
{
	struct tree_key key = key_of(p->b, p->len);
	uint32_t word = (uint32_t)p->len << 24 | (waiting ? SHADOW_V6_WAITING : 0) | list.v;
	struct descent w;
	unsigned at;

	assert(p->len <= 128 && list.v < PATH_LIST_MAX);
	descent_find(s, key, &w);
	at = leaf_position(w.leaf, key);
	if (leaf_has(w.leaf, at, key)) {
		w.leaf->word[at] = word;
		return 0;
	}
	if (tree_insert(s, &w, at, (struct tree_entry){key, word}) != 0)
		return -ENOMEM;
	shadow_len_add(s, p->len);
	return 0;
}

int
shadow_v6_remove(struct shadow *s, const struct prefix *p)
{
	struct tree_key key = key_of(p->b, p->len);
	struct descent w;
	unsigned at;

	descent_find(s, key, &w);
	at = leaf_position(w.leaf, key);
	if (!leaf_has(w.leaf, at, key))
		return -ENOENT;
	tree_remove(s, &w, at);
	shadow_len_drop(s, p->len);
	return 0;
}

bool
shadow_v6_get(const struct shadow *s, const struct prefix *p, struct shadow_entry *out)
{
	struct tree_key key = key_of(p->b, p->len);
	const struct leaf *l = descend(s, key);
	unsigned at = leaf_position(l, key);

	if (!leaf_has(l, at, key))
		return false;
	if (out != NULL)
		entry_of(l, at, out);
	return true;
}

/* Greatest length, at most `len`, of any prefix. Returns false if there is no such length. */
static bool
length_below(const struct shadow *s, unsigned len, unsigned *out)
{
	uint64_t mask = s->len_mask[len / 64] & ((2ull << len % 64) - 1);

	for (unsigned word = len / 64;; mask = s->len_mask[--word]) {
		if (mask != 0) {
			*out = word * 64 + 63 - (unsigned)__builtin_clzll(mask);
			return true;
		}
		if (word == 0)
			return false;
	}
}

static unsigned
common_bits(struct tree_key a, uint64_t hi, uint64_t lo)
{
	if (a.hi != hi)
		return (unsigned)__builtin_clzll(a.hi ^ hi);
	return a.lo != lo ? 64 + (unsigned)__builtin_clzll(a.lo ^ lo) : 128;
}

static struct tree_key
key_masked(struct tree_key key, unsigned len)
{
	if (len <= 64) {
		key.hi &= len == 0 ? 0 : UINT64_MAX << (64 - len);
		key.lo = 0;
	} else {
		key.lo &= UINT64_MAX << (128 - len);
	}
	key.len = len;
	return key;
}

/* Last entry whose key is at most `key`, or NULL. */
static const struct leaf *
entry_before(const struct shadow *s, struct tree_key key, unsigned *at)
{
	const struct leaf *l = descend(s, key);

	key.len++;
	*at = leaf_position(l, key);
	if (*at == 0) {
		l = l->prev;
		if (l == NULL)
			return NULL;
		*at = l->count;
	}
	*at -= 1;
	return l;
}

/* Works like shadow_v4_cover(). */
bool
shadow_v6_cover(
	const struct shadow *s, const uint8_t *addr, uint8_t max_len, struct shadow_entry *out)
{
	struct tree_key key = key_of(addr, max_len);
	unsigned len = max_len, at;

	while (length_below(s, len, &len)) {
		const struct leaf *l = entry_before(s, key_masked(key, len), &at);
		unsigned common;

		if (l == NULL)
			return false;
		common = common_bits(key, l->hi[at], l->lo[at]);
		if (l->word[at] >> 24 <= common && l->word[at] >> 24 <= len) {
			if (out != NULL)
				entry_of(l, at, out);
			return true;
		}
		if (len == 0)
			return false;
		len = common < len ? common : len - 1;
	}
	return false;
}

void
shadow_v6_seek(const struct shadow *s, const uint8_t *addr, uint8_t len, struct shadow_cursor *c)
{
	struct tree_key key = key_of(addr, len);
	const struct leaf *l = descend(s, key);

	*c = (struct shadow_cursor){.leaf = l, .at = leaf_position(l, key), .wide = true};
}

void
shadow_v6_prefetch(const struct shadow *s, const struct prefix *p)
{
	leaf_prefetch(descend(s, key_of(p->b, p->len)));
}

void
shadow_v6_first(const struct shadow *s, struct shadow_cursor *c)
{
	*c = (struct shadow_cursor){.leaf = leaf_first(s), .at = 0, .wide = true};
}

/* Leaf of the cursor after skipping finished leaves; NULL at the end. */
static const struct leaf *
cursor_leaf(struct shadow_cursor *c)
{
	const struct leaf *l = c->leaf;

	while (l != NULL && c->at >= l->count) {
		l = l->next;
		c->leaf = l;
		c->at = 0;
	}
	return l;
}

bool
shadow_v6_next(struct shadow_cursor *c, struct shadow_entry *out)
{
	const struct leaf *l = cursor_leaf(c);

	if (l == NULL)
		return false;
	entry_of(l, c->at++, out);
	return true;
}

bool
shadow_v6_run(struct shadow_cursor *c, struct shadow_v6_run *out)
{
	const struct leaf *l = cursor_leaf(c);

	if (l == NULL)
		return false;
	*out = (struct shadow_v6_run){.hi = &l->hi[c->at],
		.lo = &l->lo[c->at],
		.word = &l->word[c->at],
		.count = l->count - c->at};
	c->leaf = l->next;
	c->at = 0;
	return true;
}
