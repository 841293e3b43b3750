/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building in four steps: ranges of whole addresses from the shadow; for IPv6, ranges of first
 * halves with runs of second halves; the different words; nodes.
 */
#include "lpm/range_table.h"

#include "lpm/base/arena.h"
#include "lpm/shadow.h"

#include <errno.h>
#include <string.h>

static_assert(PATH_LIST_NONE == 0, "the word 0 is no answer");
static_assert(PATH_LIST_MAX <= RANGE_VALUE + 1, "a path list id is a word's value");

/* A route makes two ranges, an IPv6 range at most two keys. */
static_assert(2 * (2 * RANGE_ROUTES_MAX + 1) <= UINT16_MAX, "an index of 16 bits");
static_assert(2 * (2 * RANGE_ROUTES_MAX + 1) <= RANGE_NODE * RANGE_FAN * RANGE_FAN * RANGE_FAN,
	"four levels");
/* nodes, and the ranges of runs, have numbers of 16 bits */
static_assert(2 * (2 * RANGE_ROUTES_MAX + 1) / RANGE_NODE * 2 <= UINT16_MAX, "");

/* An IPv4 address is the highest 32 bits. */
__extension__ typedef unsigned __int128 wide_addr;

struct range {
	wide_addr last;
	uint32_t word;
};

/* Arrays of the writer, for one call. */
struct build {
	struct arena *arena;
	enum afi afi;
	struct range *range; /* whole addresses */
	uint32_t range_count;
	uint64_t *key; /* last address of each range of the table: 32 bits, or the first half */
	uint32_t *word;
	uint32_t count;
	uint64_t *low; /* last second half of each range of the runs */
	uint32_t *low_word;
	uint32_t low_count;
	struct range_run *run;
	uint32_t run_count;
	uint32_t *different; /* the different words */
	uint32_t different_count;
	uint32_t *index; /* number of the word of each range */
	uint32_t *slot; /* hash table: number of a different word + 1 */
};

static wide_addr
first_of(const struct prefix *p)
{
	wide_addr a = 0;

	for (unsigned i = 0; i < 16; i++)
		a = a << 8 | p->b[i];
	return a;
}

static wide_addr
last_of(const struct prefix *p)
{
	return p->len == 0 ? ~(wide_addr)0 : first_of(p) | ~(~(wide_addr)0 << (128 - p->len));
}

static void
range_add(struct build *b, wide_addr last, uint32_t word)
{
	if (b->range_count > 0 && b->range[b->range_count - 1].word == word)
		b->range_count--;
	b->range[b->range_count++] = (struct range){last, word};
}

/* Cuts the addresses into ranges. Prefixes come in order, a covering prefix first. */
static void
ranges_find(struct build *b, const struct shadow *routes)
{
	struct range around[130]; /* prefixes around `pos`, outermost first */
	struct shadow_cursor c;
	struct shadow_entry e;
	unsigned top = 0;
	wide_addr pos = 0; /* addresses below are done */

	around[0] = (struct range){~(wide_addr)0, 0};
	shadow_seek(routes, NULL, &c);
	while (shadow_next(&c, &e)) {
		wide_addr first = first_of(&e.prefix);

		for (; around[top].last < first; top--) {
			if (pos <= around[top].last)
				range_add(b, around[top].last, around[top].word);
			pos = around[top].last + 1;
		}
		if (pos < first)
			range_add(b, first - 1, around[top].word);
		pos = first;
		around[++top] =
			(struct range){last_of(&e.prefix), e.list.v | (uint32_t)e.prefix.len << 24};
	}
	for (;; top--) {
		if (pos <= around[top].last)
			range_add(b, around[top].last, around[top].word);
		if (around[top].last == ~(wide_addr)0)
			return; /* all further prefixes around end here, too */
		pos = around[top].last + 1;
	}
}

static void
key_add(struct build *b, uint64_t key, uint32_t word)
{
	b->key[b->count] = key;
	b->word[b->count++] = word;
}

static void
low_add(struct build *b, uint64_t low, uint32_t word)
{
	b->low[b->low_count] = low;
	b->low_word[b->low_count++] = word;
	b->run[b->run_count - 1].count++;
}

/* Ranges of IPv6 addresses: whole first halves, and a run for each /64 with more than one range. */
static void
halves_split(struct build *b)
{
	wide_addr pos = 0;

	for (uint32_t i = 0; i < b->range_count; i++) {
		const struct range *r = &b->range[i];
		uint64_t high = (uint64_t)(r->last >> 64), low = (uint64_t)r->last;

		/* the rest of a /64 that an earlier range shares */
		if ((uint64_t)pos != 0) {
			bool inside = high == (uint64_t)(pos >> 64);

			low_add(b, inside ? low : UINT64_MAX, r->word);
			if (inside) {
				pos = r->last + 1;
				continue;
			}
			pos = ((pos >> 64) + 1) << 64;
		}
		if (low == UINT64_MAX) {
			key_add(b, high, r->word);
		} else {
			if (high > (uint64_t)(pos >> 64))
				key_add(b, high - 1, r->word);
			key_add(b, high, RANGE_DEEP << 24 | b->run_count);
			b->run[b->run_count++] =
				(struct range_run){.first = (uint16_t)b->low_count};
			low_add(b, low, r->word);
		}
		pos = r->last + 1;
	}
}

static void
keys_v4(struct build *b)
{
	for (uint32_t i = 0; i < b->range_count; i++)
		key_add(b, (uint64_t)(b->range[i].last >> 96), b->range[i].word);
}

static uint32_t
word_number(struct build *b, uint32_t word, uint32_t mask)
{
	uint32_t at = (uint32_t)hash_mix(word) & mask;

	while (b->slot[at] != 0 && b->different[b->slot[at] - 1] != word)
		at = (at + 1) & mask;
	if (b->slot[at] == 0) {
		b->different[b->different_count] = word;
		b->slot[at] = ++b->different_count;
	}
	return b->slot[at] - 1;
}

static uint32_t
slots_for(uint32_t count)
{
	uint32_t slots = 16;

	while (slots < 2 * count)
		slots *= 2;
	return slots;
}

static void
words_number(struct build *b, uint32_t slots)
{
	for (uint32_t i = 0; i < b->count; i++)
		b->index[i] = word_number(b, b->word[i], slots - 1);
}

static void
build_fini(struct build *b)
{
	arena_free(b->arena, b->range);
	arena_free(b->arena, b->key);
	arena_free(b->arena, b->word);
	arena_free(b->arena, b->low);
	arena_free(b->arena, b->low_word);
	arena_free(b->arena, b->run);
	arena_free(b->arena, b->different);
	arena_free(b->arena, b->index);
	arena_free(b->arena, b->slot);
}

/*
 * `routes` prefixes make at most 2 * routes + 1 ranges. Each range makes at most two keys and two
 * ranges of runs.
 */
static int
build_init(struct build *b, uint32_t routes)
{
	size_t ranges = 2 * (size_t)routes + 1, keys = 2 * ranges;

	b->range = arena_alloc(b->arena, ranges * sizeof(*b->range));
	b->key = arena_alloc(b->arena, keys * sizeof(*b->key));
	b->word = arena_alloc(b->arena, keys * sizeof(*b->word));
	b->low = arena_alloc(b->arena, keys * sizeof(*b->low));
	b->low_word = arena_alloc(b->arena, keys * sizeof(*b->low_word));
	b->run = arena_alloc(b->arena, keys * sizeof(*b->run));
	b->different = arena_alloc(b->arena, keys * sizeof(*b->different));
	b->index = arena_alloc(b->arena, keys * sizeof(*b->index));
	b->slot = arena_calloc(b->arena, slots_for((uint32_t)keys) * sizeof(*b->slot));
	return b->range != NULL && b->key != NULL && b->word != NULL && b->low != NULL &&
			       b->low_word != NULL && b->run != NULL && b->different != NULL &&
			       b->index != NULL && b->slot != NULL
		       ? 0
		       : -ENOMEM;
}

/* Sets sizes and places. nodes[level] is the number of nodes of a level. */
static void
layout(const struct build *b, struct range_table *t, uint32_t nodes[RANGE_LEVELS])
{
	size_t key_bytes = b->afi == AFI_IPV6 ? sizeof(int64_t) : sizeof(int32_t), at;
	uint32_t all = 0;

	*t = (struct range_table){.head = {COMPACT_RANGES, (uint8_t)b->afi},
		.arena = b->arena,
		.range_count = b->count,
		.low_count = (uint16_t)b->low_count,
		.index_shift = b->different_count > 256,
		.index_mask = b->different_count > 256 ? UINT16_MAX : UINT8_MAX};
	nodes[0] = (b->count + RANGE_NODE - 1) / RANGE_NODE;
	for (t->levels = 1; nodes[t->levels - 1] > 1; t->levels++)
		nodes[t->levels] = (nodes[t->levels - 1] + RANGE_FAN - 1) / RANGE_FAN;
	for (unsigned level = t->levels; level-- > 0;) {
		t->first[level] = (uint16_t)all;
		all += nodes[level];
	}
	at = sizeof(*t) + all * RANGE_NODE * key_bytes;
	t->index_at = (uint32_t)at;
	/* behind an index of 8 bits there are words: the last range is read as 16 bits */
	at += (size_t)nodes[0] * RANGE_NODE << t->index_shift;
	t->word_at = (uint32_t)at;
	at += b->different_count * sizeof(*b->different);
	at = (at + sizeof(*b->low) - 1) & ~(sizeof(*b->low) - 1);
	t->low_at = (uint32_t)at;
	at += b->low_count * (sizeof(*b->low) + sizeof(*b->low_word));
	t->run_at = (uint32_t)at;
	at += b->run_count * sizeof(*b->run);
	t->bytes = (uint32_t)((at + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1));
}

/* Last address below node `node` of a level. */
static uint64_t
node_last(const struct build *b, unsigned level, uint64_t node)
{
	uint64_t after = (node + 1) * RANGE_NODE; /* first range behind */

	for (; level > 0; level--)
		after *= RANGE_FAN;
	return b->key[(after < b->count ? after : b->count) - 1];
}

static void
key_store(const struct range_table *t, void *node, unsigned i, uint64_t key)
{
	if (t->head.afi == AFI_IPV6)
		((int64_t *)node)[i] = (int64_t)(key ^ RANGE_BIAS_V6);
	else
		((int32_t *)node)[i] = (int32_t)((uint32_t)key ^ RANGE_BIAS_V4);
}

static void
nodes_fill(const struct build *b, struct range_table *t, const uint32_t nodes[RANGE_LEVELS])
{
	size_t size = RANGE_NODE * (t->head.afi == AFI_IPV6 ? sizeof(int64_t) : sizeof(int32_t));
	char *node = (char *)(t + 1);

	for (unsigned level = t->levels; level-- > 0;) {
		for (uint32_t n = 0; n < nodes[level]; n++, node += size) {
			for (unsigned i = 0; i < RANGE_NODE; i++) {
				uint64_t range = (uint64_t)n * RANGE_NODE + i;
				uint64_t below = (uint64_t)n * RANGE_FAN + i;
				uint64_t key = UINT64_MAX;

				if (level == 0 && range < b->count)
					key = b->key[range];
				else if (level > 0 && below < nodes[level - 1])
					key = node_last(b, level - 1, below);
				key_store(t, node, i, key);
			}
		}
	}
}

static void
answers_fill(const struct build *b, struct range_table *t)
{
	char *at = (char *)t;

	memset(at + t->index_at, 0, t->bytes - t->index_at);
	memcpy(at + t->word_at, b->different, b->different_count * sizeof(*b->different));
	memcpy(at + t->low_at, b->low, b->low_count * sizeof(*b->low));
	memcpy(at + t->low_at + b->low_count * sizeof(*b->low), b->low_word,
		b->low_count * sizeof(*b->low_word));
	memcpy(at + t->run_at, b->run, b->run_count * sizeof(*b->run));
	for (uint32_t i = 0; i < b->count; i++) {
		uint16_t index = (uint16_t)b->index[i];

		memcpy(at + t->index_at + ((size_t)i << t->index_shift), &index,
			1u << t->index_shift);
	}
}

int
range_table_create(
	struct arena *a, enum afi afi, const struct shadow *routes, struct range_table **out)
{
	struct build b = {.arena = a, .afi = afi};
	uint32_t nodes[RANGE_LEVELS];
	struct range_table head, *t = NULL;

	if (shadow_count(routes) > RANGE_ROUTES_MAX)
		return -E2BIG;
	if (build_init(&b, (uint32_t)shadow_count(routes)) != 0)
		goto out;
	ranges_find(&b, routes);
	if (afi == AFI_IPV6)
		halves_split(&b);
	else
		keys_v4(&b);
	words_number(&b, slots_for(2 * (2 * (uint32_t)shadow_count(routes) + 1)));
	layout(&b, &head, nodes);
	t = arena_alloc_aligned(a, CACHE_LINE, head.bytes);
	if (t == NULL)
		goto out;
	*t = head;
	nodes_fill(&b, t, nodes);
	answers_fill(&b, t);
	*out = t;
out:
	build_fini(&b);
	return t != NULL ? 0 : -ENOMEM;
}

void
range_table_destroy(struct range_table *t)
{
	if (t != NULL)
		arena_free(t->arena, t);
}

size_t
range_table_bytes(const struct range_table *t)
{
	return t->bytes;
}

static uint64_t
key_of(const struct range_table *t, const uint8_t *addr)
{
	uint64_t key = 0;

	for (unsigned i = 0; i < (t->head.afi == AFI_IPV6 ? 8 : 4); i++)
		key = key << 8 | addr[i];
	return key;
}

static bool
key_below(const struct range_table *t, uint32_t node, unsigned i, uint64_t key)
{
	if (t->head.afi == AFI_IPV6)
		return range_v6_node(t, node)[i] < (int64_t)(key ^ RANGE_BIAS_V6);
	return range_v4_node(t, node)[i] < (int32_t)((uint32_t)key ^ RANGE_BIAS_V4);
}

bool
range_table_read(
	const struct range_table *t, const uint8_t *addr, struct path_list_id *list, uint8_t *len)
{
	uint64_t key = key_of(t, addr);
	uint32_t at = 0, word;

	for (unsigned level = t->levels; level-- > 0;) {
		unsigned rank = 0;

		while (rank < RANGE_NODE && key_below(t, t->first[level] + at, rank, key))
			rank++;
		at = at * (level > 0 ? RANGE_FAN : RANGE_NODE) + rank;
	}
	word = range_word(t, at);
	if (t->head.afi == AFI_IPV6 && word >> 24 == RANGE_DEEP)
		word = range_v6_deep(t, word & RANGE_VALUE, addr);
	list->v = word & RANGE_VALUE;
	*len = (uint8_t)(word >> 24);
	return word != 0;
}
