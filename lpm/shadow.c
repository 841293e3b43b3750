/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/shadow.h"

#include "lpm/base/arena.h"
#include "lpm/shadow_impl.h"

#include <errno.h>
#include <string.h>

#define LEAF_MAX 125
#define INNER_MAX 63

struct leaf {
	struct leaf *prev, *next;
	uint32_t count;
	uint32_t reserved;
	uint64_t word[LEAF_MAX];
};

struct inner {
	uint32_t count;
	uint32_t reserved;
	struct inner *link; /* used while the tree is freed */
	uint64_t key[INNER_MAX];
	void *child[INNER_MAX];
};
/* A packed entry without flags and list. */
struct tree_key {
	uint64_t v;
};

struct tree_entry {
	uint64_t word;
};

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

/*
 * Counts the numbers below `limit` among `n` ascending numbers. Branch-free: branches would be
 * mispredicted.
 */
static unsigned
count_below(const uint64_t *number, unsigned n, uint64_t limit)
{
	unsigned low = 0;

	while (n > 0) {
		unsigned half = (n + 1) / 2;

		low += half & -(unsigned)(number[low + half - 1] < limit);
		n -= half;
	}
	return low;
}

/* First position whose key is not below `key`. */
static unsigned
leaf_position(const struct leaf *l, uint64_t key)
{
	return count_below(l->word, l->count, key);
}

static unsigned
inner_position(const struct inner *in, struct tree_key key)
{
	return count_below(&in->key[1], in->count - 1, key.v + 1);
}

static void
inner_move(struct inner *to, unsigned at, const struct inner *from, unsigned first, unsigned count)
{
	memmove(&to->key[at], &from->key[first], count * sizeof(to->key[0]));
	memmove(&to->child[at], &from->child[first], count * sizeof(to->child[0]));
}

static struct tree_key
inner_key(const struct inner *in, unsigned at)
{
	return (struct tree_key){in->key[at]};
}

static void
inner_key_put(struct inner *in, unsigned at, struct tree_key key)
{
	in->key[at] = key.v;
}

static void
leaf_move(struct leaf *to, unsigned at, const struct leaf *from, unsigned first, unsigned count)
{
	memmove(&to->word[at], &from->word[first], count * sizeof(to->word[0]));
}

static struct tree_key
leaf_key(const struct leaf *l, unsigned at)
{
	return (struct tree_key){l->word[at] >> 24 << 24};
}

static void
leaf_entry_put(struct leaf *l, unsigned at, struct tree_entry entry)
{
	l->word[at] = entry.word;
}

#include "lpm/shadow_tree.h"

int
shadow_create(struct arena *a, enum afi afi, struct shadow **out)
{
	struct shadow *s;
	int err;

	if (afi != AFI_IPV4 && afi != AFI_IPV6)
		return -EAFNOSUPPORT;
	s = arena_calloc(a, sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	s->arena = a;
	s->afi = afi;
	err = afi == AFI_IPV6 ? shadow_v6_init(s) : tree_init(s);
	if (err != 0) {
		arena_free(a, s);
		return err;
	}
	*out = s;
	return 0;
}

void
shadow_clear(struct shadow *s)
{
	if (s->afi == AFI_IPV6)
		shadow_v6_clear(s);
	else
		tree_clear(s);
	s->count = 0;
	memset(s->len_mask, 0, sizeof(s->len_mask));
	memset(s->len_count, 0, sizeof(s->len_count));
}

void
shadow_destroy(struct shadow *s)
{
	if (s == NULL)
		return;
	if (s->afi == AFI_IPV6)
		shadow_v6_fini(s);
	else
		tree_fini(s);
	arena_free(s->arena, s);
}

/* Inserts an entry. `replace`: an existing entry gets the new list. */
static int
shadow_v4_put(struct shadow *s, const struct prefix *p, struct path_list_id list, bool waiting,
	bool replace, bool *added)
{
	uint64_t key = shadow_v4_key(addr_of(p->b), p->len);
	uint64_t word = key | (waiting ? SHADOW_V4_WAITING : 0) | list.v;
	struct descent w;
	unsigned at;

	assert(p->len <= 32 && list.v < PATH_LIST_MAX);
	descent_find(s, (struct tree_key){key}, &w);
	at = leaf_position(w.leaf, key);
	*added = at == w.leaf->count || !same_key(w.leaf->word[at], key);
	if (!*added) {
		if (replace)
			w.leaf->word[at] = word;
		return 0;
	}
	if (tree_insert(s, &w, at, (struct tree_entry){word}) != 0)
		return -ENOMEM;
	shadow_len_add(s, p->len);
	return 0;
}

int
shadow_set(struct shadow *s, const struct prefix *p, struct path_list_id list, bool waiting)
{
	bool added;

	assert(p->afi == s->afi);
	return s->afi == AFI_IPV6 ? shadow_v6_set(s, p, list, waiting)
				  : shadow_v4_put(s, p, list, waiting, true, &added);
}

int
shadow_add(struct shadow *s, const struct prefix *p, struct path_list_id list, bool *added)
{
	assert(p->afi == s->afi);
	if (s->afi == AFI_IPV4)
		return shadow_v4_put(s, p, list, false, false, added);
	*added = !shadow_v6_get(s, p, NULL);
	return *added ? shadow_v6_set(s, p, list, false) : 0;
}

static int
shadow_v4_remove(struct shadow *s, const struct prefix *p)
{
	uint64_t key = shadow_v4_key(addr_of(p->b), p->len);
	struct descent w;
	unsigned at;

	descent_find(s, (struct tree_key){key}, &w);
	at = leaf_position(w.leaf, key);
	if (at == w.leaf->count || !same_key(w.leaf->word[at], key))
		return -ENOENT;
	tree_remove(s, &w, at);
	shadow_len_drop(s, p->len);
	return 0;
}

int
shadow_remove(struct shadow *s, const struct prefix *p)
{
	return s->afi == AFI_IPV6 ? shadow_v6_remove(s, p) : shadow_v4_remove(s, p);
}

bool
shadow_get(const struct shadow *s, const struct prefix *p, struct shadow_entry *out)
{
	uint64_t key = shadow_v4_key(addr_of(p->b), p->len);
	const struct leaf *l;
	unsigned at;

	if (s->afi == AFI_IPV6)
		return shadow_v6_get(s, p, out);
	l = descend(s, (struct tree_key){key});
	at = leaf_position(l, key);
	if (at == l->count || !same_key(l->word[at], key))
		return false;
	if (out != NULL)
		entry_of(l->word[at], out);
	return true;
}

/* Last entry whose key is at most `key`. */
static const uint64_t *
word_before(const struct shadow *s, uint64_t key)
{
	const struct leaf *l = descend(s, (struct tree_key){key});
	unsigned at = leaf_position(l, key + (1ull << 24));

	if (at > 0)
		return &l->word[at - 1];
	return l->prev == NULL ? NULL : &l->prev->word[l->prev->count - 1];
}

/*
 * The entry before (addr, len) is the answer if it covers addr. Otherwise, any prefix that covers
 * addr also covers this entry, so the answer is at most as long as the common bits of both: search
 * again with this length. Lengths without prefixes are skipped.
 */
uint64_t
shadow_v4_cover(const struct shadow *s, uint32_t addr, uint8_t max_len, bool *found)
{
	unsigned len = max_len;

	*found = false;
	for (;;) {
		uint64_t lengths = s->len_mask[0] & ((2ull << len) - 1);
		const uint64_t *word;

		if (lengths == 0)
			return 0;
		len = 63 - (unsigned)__builtin_clzll(lengths);
		word = word_before(s, shadow_v4_key(addr & v4_mask(len), len));
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
	uint64_t word;

	if (s->afi == AFI_IPV6)
		return shadow_v6_cover(s, addr->b, max_len, out);
	word = shadow_v4_cover(s, addr_of(addr->b), max_len, &found);
	if (found && out != NULL)
		entry_of(word, out);
	return found;
}

void
shadow_v4_seek_begin(
	const struct shadow *s, unsigned n, const uint64_t *key, struct shadow_cursor *c)
{
	for (unsigned i = 0; i < n; i++)
		c[i] = (struct shadow_cursor){.leaf = s->root};
	for (unsigned level = 0; level < s->height; level++) {
		for (unsigned i = 0; i < n; i++) {
			const struct inner *in = c[i].leaf;

			c[i].leaf = in->child[inner_position(in, (struct tree_key){key[i]})];
		}
	}
	for (unsigned i = 0; i < n; i++)
		leaf_prefetch(c[i].leaf);
}

void
shadow_v4_seek_end(uint64_t key, struct shadow_cursor *c)
{
	c->at = leaf_position(c->leaf, key);
}

void
shadow_v4_seek(const struct shadow *s, uint32_t addr, uint8_t len, struct shadow_cursor *c)
{
	uint64_t key = shadow_v4_key(addr, len);
	const struct leaf *l = descend(s, (struct tree_key){key});

	*c = (struct shadow_cursor){.leaf = l, .at = leaf_position(l, key)};
}

void
shadow_prefetch(const struct shadow *s, const struct prefix *p, unsigned n)
{
	struct shadow_cursor c[SHADOW_SEEKS];
	uint64_t key[SHADOW_SEEKS];

	if (s->afi == AFI_IPV6) {
		for (unsigned i = 0; i < n; i++)
			shadow_v6_prefetch(s, &p[i]);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		key[i] = shadow_v4_key(addr_of(p[i].b), p[i].len);
	shadow_v4_seek_begin(s, n, key, c);
}

void
shadow_seek(const struct shadow *s, const struct prefix *p, struct shadow_cursor *c)
{
	if (s->afi == AFI_IPV6 && p == NULL)
		shadow_v6_first(s, c);
	else if (s->afi == AFI_IPV6)
		shadow_v6_seek(s, p->b, p->len, c);
	else if (p == NULL)
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
	const uint64_t *word;

	if (c->wide)
		return shadow_v6_next(c, out);
	word = shadow_v4_peek(c);
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
