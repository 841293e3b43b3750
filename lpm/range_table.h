/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of a small VPN instance, for one family. The addresses are cut into ranges with one
 * answer each. A sorted array keeps the last address of each range, and a lookup compares 16 of
 * them at a time. 100 IPv4 routes take 1.2 to 1.6 KB (docs/decisions/0018).
 *
 * A table is immutable. A change of routes builds a new table; the writer publishes the new table
 * by a release store and destroys the old table after a grace period of the workers' QSBR.
 *
 * Writer: the fib thread. Readers: workers and main, registered and online in the workers' QSBR; a
 * table stays valid until the reader's next quiescent report. Lookups are inline because calls
 * would take a third of the time; the caller is a HOT function, so the search uses SSE2, AVX2 or
 * AVX-512 as the CPU has it.
 *
 * Layout behind the header of one cache line:
 *
 *   nodes   16 keys each: the last addresses of 16 ranges (level 0), or of the first 16 of 17 nodes
 *           of the level below. The number of keys below an address selects the range or node. The
 *           root comes first, beside the header. Missing keys are the highest address, so no
 *           address is above them
 *   index   for each range the number of its word: 8 bits for up to 256 different words, else 16
 *   words   different answers: prefix length in bits 31..24, path list in 23..0. 0: no route
 *   runs    IPv6 only. A key is the first half of an address. A word with length RANGE_DEEP refers
 *           to a run: ranges of the second half, for prefixes longer than /64 below one /64
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/compact.h"
#include "lpm/path_list.h"
#include "lpm/base/prefix.h"

struct arena;
struct shadow;

#define RANGE_ROUTES_MAX 16000u
#define RANGE_LEVELS 4
#define RANGE_NODE 16 /* keys */
#define RANGE_FAN 17 /* nodes below a node */
#define RANGE_BURST 64
#define RANGE_VALUE ((1u << 24) - 1)
#define RANGE_DEEP 255u

/*
 * A faulty writer may give each member any value. The types bound what a lookup reads: less than 5 GiB
 * behind the header.
 */
struct range_table {
	alignas(CACHE_LINE) struct compact head;
	uint8_t levels;
	uint8_t index_shift:1; /* 0: the index has 8 bits, 1: 16 bits */
	uint16_t index_mask;
	uint16_t low_count; /* ranges of all runs */
	uint16_t first[RANGE_LEVELS]; /* first node of each level; levels above the root: 0 */
	uint32_t index_at, word_at, run_at, low_at; /* in bytes from the header */
	uint32_t range_count;
	uint32_t bytes;
	struct arena *arena;
};
static_assert(sizeof(struct range_table) == CACHE_LINE, "one line, the root is the next");

struct range_run {
	uint16_t first, count;
};

/*
 * Builds the table of all routes of the shadow, the default route included. Returns 0, -ENOMEM, or
 * -E2BIG (more than RANGE_ROUTES_MAX routes).
 */
int range_table_create(
	struct arena *a, enum afi afi, const struct shadow *routes, struct range_table **out);
/* After a grace period without readers. */
void range_table_destroy(struct range_table *t);
/* Size of the allocated block. */
size_t range_table_bytes(const struct range_table *t);
/*
 * Looks up 4 or 16 bytes of an address in wire order, with the length of the prefix. Returns false
 * without a route. Any reader.
 */
bool range_table_read(
	const struct range_table *t, const uint8_t *addr, struct path_list_id *list, uint8_t *len);

#define RANGE_BIAS_V4 (1u << 31) /* keys are signed: SSE2 and AVX2 compare signed numbers only */
#define RANGE_BIAS_V6 (1ull << 63)

typedef int64_t range_keys4 __attribute__((vector_size(32)));

static inline const void *
range_at(const struct range_table *t, uint32_t offset)
{
	return (const char *)t + offset;
}

static inline const int32_t *
range_v4_node(const struct range_table *t, uint32_t node)
{
	return (const int32_t *)range_at(t, sizeof(*t)) + (size_t)node * RANGE_NODE;
}

static inline const int64_t *
range_v6_node(const struct range_table *t, uint32_t node)
{
	return (const int64_t *)range_at(t, sizeof(*t)) + (size_t)node * RANGE_NODE;
}

/* The word of range number `range`. */
static inline uint32_t
range_word(const struct range_table *t, uint32_t range)
{
	uint16_t index;
	uint32_t word;

	__builtin_memcpy(&index, (const char *)t + t->index_at + ((size_t)range << t->index_shift),
		sizeof(index));
	__builtin_memcpy(&word,
		(const char *)range_at(t, t->word_at) +
			sizeof(word) * (size_t)(index & t->index_mask),
		sizeof(word));
	return word;
}

/* Minus the number of keys below `key`, spread over eight lanes. */
static inline __attribute__((always_inline)) void
range_v4_below(const int32_t *node, int32_t key, ints8 *out)
{
	ints8 a, b;

	__builtin_memcpy(&a, node, sizeof(a));
	__builtin_memcpy(&b, node + 8, sizeof(b));
	*out = (a < key) + (b < key);
}

/* Like range_v4_below(), with the doubled number: a lane of 64 bits counts as two. */
static inline __attribute__((always_inline)) void
range_v6_below(const int64_t *node, int64_t key, ints8 *out)
{
	range_keys4 a[4];

	__builtin_memcpy(a, node, sizeof(a));
	*out = ((ints8)(a[0] < key) + (ints8)(a[1] < key)) +
	       ((ints8)(a[2] < key) + (ints8)(a[3] < key));
}

/* Sums of neighbouring lanes of two vectors, as the instruction vphaddd. */
#define RANGE_PAIRS(a, b)                                                                          \
	(__builtin_shufflevector((a), (b), 0, 2, 8, 10, 4, 6, 12, 14) +                            \
		__builtin_shufflevector((a), (b), 1, 3, 9, 11, 5, 7, 13, 15))

/* Lane k: the sum of all lanes of s[k]. */
static inline __attribute__((always_inline)) void
range_sums(const ints8 *s, ints8 *out)
{
	ints8 a = RANGE_PAIRS(s[0], s[1]), b = RANGE_PAIRS(s[2], s[3]);
	ints8 c = RANGE_PAIRS(s[4], s[5]), d = RANGE_PAIRS(s[6], s[7]);
	ints8 front = RANGE_PAIRS(a, b), back = RANGE_PAIRS(c, d);

	*out = __builtin_shufflevector(front, back, 0, 1, 2, 3, 8, 9, 10, 11) +
	       __builtin_shufflevector(front, back, 4, 5, 6, 7, 12, 13, 14, 15);
}

/*
 * One level for eight addresses: at[k] is a node of the level, afterwards a node of the level below
 * or, for level 0, a range. Table k is t[k * each], so `each` 0 means one table for all. A table
 * with fewer levels stays at its root.
 */
static inline __attribute__((always_inline)) void
range_level8(const struct range_table *const *t, unsigned each, bool wide, const void *key,
	uint32_t *at, unsigned level)
{
	ints8 below[8], sums;
	words8 rank, next;

#pragma GCC unroll 8
	for (unsigned k = 0; k < 8; k++) {
		uint32_t node = t[k * each]->first[level] + at[k];

		if (wide)
			range_v6_below(range_v6_node(t[k * each], node), ((const int64_t *)key)[k],
				&below[k]);
		else
			range_v4_below(range_v4_node(t[k * each], node), ((const int32_t *)key)[k],
				&below[k]);
	}
	range_sums(below, &sums);
	rank = (words8)-sums >> (wide ? 1 : 0);
	if (each && level > 0) {
		words8 levels = {t[0]->levels, t[1]->levels, t[2]->levels, t[3]->levels,
			t[4]->levels, t[5]->levels, t[6]->levels, t[7]->levels};

		rank &= (words8)(levels > level);
	}
	__builtin_memcpy(&next, at, sizeof(next));
	next = next * (level > 0 ? RANGE_FAN : RANGE_NODE) + rank;
	__builtin_memcpy(at, &next, sizeof(next));
}

/* Prefetches the node at[k] of `level`, and for leaves the index behind. */
static inline __attribute__((always_inline)) void
range_prefetch8(const struct range_table *const *t, unsigned each, bool wide, const uint32_t *at,
	unsigned level)
{
#pragma GCC unroll 8
	for (unsigned k = 0; k < 8; k++) {
		const struct range_table *one = t[k * each];
		uint32_t node = one->first[level] + at[k];

		if (wide) {
			__builtin_prefetch(range_v6_node(one, node));
			__builtin_prefetch(range_v6_node(one, node) + 8);
		} else {
			__builtin_prefetch(range_v4_node(one, node));
		}
		if (level == 0)
			__builtin_prefetch((const char *)one + one->index_at +
					   ((size_t)at[k] * RANGE_NODE << one->index_shift));
	}
}

/* Words of `n` addresses, at most RANGE_BURST. key[], and t[] with `each`, are padded to eights. */
static inline __attribute__((always_inline)) void
range_search(const struct range_table *const *t, unsigned each, bool wide, const void *key,
	uint32_t *at, unsigned n)
{
	unsigned levels = t[0]->levels, size = wide ? sizeof(int64_t) : sizeof(int32_t);

	for (unsigned i = 1; each && i < n; i++)
		levels = t[i]->levels > levels ? t[i]->levels : levels;
	levels = (levels - 1) % RANGE_LEVELS + 1;
	__builtin_memset(at, 0, RANGE_BURST * sizeof(*at));
	for (unsigned level = levels; --level > 0;) {
		for (unsigned i = 0; i < n; i += 8) {
			range_level8(t + i * each, each, wide, (const char *)key + i * size, at + i,
				level);
			range_prefetch8(t + i * each, each, wide, at + i, level - 1);
		}
	}
	for (unsigned i = 0; i < n; i += 8)
		range_level8(t + i * each, each, wide, (const char *)key + i * size, at + i, 0);
	for (unsigned i = 0; i < n; i++)
		at[i] = range_word(t[i * each], at[i]);
}

/* Tables of a burst, padded to eights; prefetches headers and roots. */
static inline __attribute__((always_inline)) void
range_tables(const struct range_table *const *t, const struct range_table **padded, bool wide,
	unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		padded[i] = t[i];
		__builtin_prefetch(t[i]);
		__builtin_prefetch(t[i] + 1);
		if (wide)
			__builtin_prefetch(t[i] + 2);
	}
	for (unsigned i = n; i % 8 != 0; i++)
		padded[i] = t[0];
}

static inline __attribute__((always_inline)) void
range_v4_some(const struct range_table *const *t, unsigned each, const uint32_t *ip, uint32_t *list,
	unsigned n)
{
	const struct range_table *padded[RANGE_BURST];
	uint32_t key[RANGE_BURST], at[RANGE_BURST];

	if (each)
		range_tables(t, padded, false, n);
	for (unsigned i = 0; i < n; i++)
		key[i] = ip[i] ^ RANGE_BIAS_V4;
	for (unsigned i = n; i % 8 != 0; i++)
		key[i] = 0;
	range_search(each ? padded : t, each, false, key, at, n);
	for (unsigned i = 0; i < n; i++)
		list[i] = at[i] & RANGE_VALUE;
}

/* The answer of a run, by a search in halves. */
static __attribute__((noinline, unused)) uint32_t
range_v6_deep(const struct range_table *t, uint32_t run, const uint8_t *ip)
{
	const char *lows = range_at(t, t->low_at);
	struct range_run r;
	uint32_t from = 0, to, word;
	uint64_t low, last;

	__builtin_memcpy(&r, (const char *)range_at(t, t->run_at) + run * sizeof(r), sizeof(r));
	to = (uint16_t)(r.count - 1);
	__builtin_memcpy(&low, ip + 8, sizeof(low));
	low = __builtin_bswap64(low);
	while (from < to) {
		uint32_t middle = (from + to) / 2;

		__builtin_memcpy(&last, lows + (r.first + middle) * sizeof(last), sizeof(last));
		if (last < low)
			from = middle + 1;
		else
			to = middle;
	}
	__builtin_memcpy(&word,
		lows + t->low_count * sizeof(last) + (r.first + from) * sizeof(word), sizeof(word));
	return word;
}

static inline __attribute__((always_inline)) void
range_v6_some(const struct range_table *const *t, unsigned each, const uint8_t (*ip)[16],
	uint32_t *list, unsigned n)
{
	const struct range_table *padded[RANGE_BURST];
	uint64_t key[RANGE_BURST];
	uint32_t at[RANGE_BURST], most = 0;

	if (each)
		range_tables(t, padded, true, n);
	for (unsigned i = 0; i < n; i++) {
		__builtin_memcpy(&key[i], ip[i], sizeof(key[i]));
		key[i] = __builtin_bswap64(key[i]) ^ RANGE_BIAS_V6;
	}
	for (unsigned i = n; i % 8 != 0; i++)
		key[i] = 0;
	range_search(each ? padded : t, each, true, key, at, n);
	for (unsigned i = 0; i < n; i++) {
		most = at[i] > most ? at[i] : most;
		list[i] = at[i] & RANGE_VALUE;
	}
	if (__builtin_expect(most >> 24 != RANGE_DEEP, 1))
		return;
	for (unsigned i = 0; i < n; i++)
		if (at[i] >> 24 == RANGE_DEEP)
			list[i] = range_v6_deep(t[i * each], list[i], ip[i]) & RANGE_VALUE;
}

/*
 * Path lists of `n` IPv4 addresses in host order in one table; PATH_LIST_NONE where no route
 * matches.
 */
static inline __attribute__((always_inline)) void
range_v4_lookup(const struct range_table *t, const uint32_t *ip, uint32_t *list, unsigned n)
{
	for (unsigned count; n > 0; n -= count, ip += count, list += count) {
		count = n < RANGE_BURST ? n : RANGE_BURST;
		range_v4_some(&t, 0, ip, list, count);
	}
}

/* Like range_v4_lookup(), with table t[i] for address i. */
static inline __attribute__((always_inline)) void
range_v4_lookup_each(
	const struct range_table *const *t, const uint32_t *ip, uint32_t *list, unsigned n)
{
	for (unsigned count; n > 0; n -= count, t += count, ip += count, list += count) {
		count = n < RANGE_BURST ? n : RANGE_BURST;
		range_v4_some(t, 1, ip, list, count);
	}
}

/* Like range_v4_lookup(), for IPv6 addresses in wire order. */
static inline __attribute__((always_inline)) void
range_v6_lookup(const struct range_table *t, const uint8_t (*ip)[16], uint32_t *list, unsigned n)
{
	for (unsigned count; n > 0; n -= count, ip += count, list += count) {
		count = n < RANGE_BURST ? n : RANGE_BURST;
		range_v6_some(&t, 0, ip, list, count);
	}
}

/* Like range_v6_lookup(), with table t[i] for address i. */
static inline __attribute__((always_inline)) void
range_v6_lookup_each(
	const struct range_table *const *t, const uint8_t (*ip)[16], uint32_t *list, unsigned n)
{
	for (unsigned count; n > 0; n -= count, t += count, ip += count, list += count) {
		count = n < RANGE_BURST ? n : RANGE_BURST;
		range_v6_some(t, 1, ip, list, count);
	}
}
