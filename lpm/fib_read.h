/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lookups for workers, inlined: load the generation once per burst, look up path lists in bulk,
 * find the adjacency. For workers and lpm/fib.c. The structs are public because inlining pays
 * here.
 *
 * The reader is registered and online in the workers' QSBR. Pointers from fib_read_begin() stay
 * valid until the reader's next quiescent report. No function here calls malloc, takes a lock,
 * logs, or enters the kernel.
 *
 * keelfwd reads tables that a faulty keeld may change at any time: with any content, loads stay in the
 * region and the zeros behind it, and loops end (docs/decisions/0033-what-keelfwd-reads.md).
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/bounds.h"
#include "lpm/compact.h"
#include "lpm/fib.h"
#include "lpm/label_table.h"
#include "lpm/path_list.h"
#include "lpm/table_v4.h"
#include "lpm/table_v6.h"
#include "lpm/tunnel_set.h"

#include <rte_lpm.h>
#include <stdatomic.h>

/*
 * Immutable while published. v4[vrf] and v6[vrf] have NULL tables if the VRF has no table of the
 * family. An instance has only `compact`, or NULL without routes.
 */
struct fib_generation {
	alignas(CACHE_LINE) uint64_t number;
	struct {
		struct rte_lpm *lpm;
		const uint16_t *answers; /* table_v4_answers() */
		uint32_t miss; /* path list of 0/0, or PATH_LIST_NONE */
		const struct compact *compact;
	} v4[FIB_VRF_MAX];
	struct {
		const uint32_t *words;
		uint32_t miss; /* path list of ::/0, or PATH_LIST_NONE */
		const struct compact *compact;
	} v6[FIB_VRF_MAX];
};

/* In keelfwd a private copy: fib_reader_bound(). */
struct fib_reader {
	/* The word that fib_commit() writes. */
	const _Atomic(const struct fib_generation *) *current;
	const struct path_list *path_lists;
	const struct path_list_far *path_lists_far;
	const _Atomic uint64_t *next_hops;
	const struct adjacency *adjacencies;
	const struct label_reader *labels;
	const struct tunnel_reader *tunnels;
	struct bounds bounds;
};

/*
 * The reader for a process that does not trust the writer: copies `shared`, a reader of fib_reader(),
 * with the bounds of the region. False: an array is not inside.
 */
bool fib_reader_bound(
	const struct fib_reader *shared, const struct bounds *bounds, struct fib_reader *out);

static inline const struct fib_generation *
fib_read_begin(const struct fib_reader *r)
{
	/* acquire: pairs with the release store in publish */
	return bounds_or_nothing(
		&r->bounds, atomic_load_explicit(r->current, memory_order_acquire));
}

static inline uint32_t
fib_read_any(const words8 *w)
{
	return ((*w)[0] | (*w)[1] | (*w)[2] | (*w)[3]) | ((*w)[4] | (*w)[5] | (*w)[6] | (*w)[7]);
}

static inline const struct rte_lpm *
fib_read_v4_table(const struct fib_reader *r, const struct fib_generation *g, struct vrf_id vrf)
{
	return bounds_or_nothing(&r->bounds, __atomic_load_n(&g->v4[vrf.v].lpm, __ATOMIC_RELAXED));
}

/*
 * Looks up an address in the table of rte_lpm, for addresses with the answer TABLE_V4_LOOK. As
 * rte_lpm_lookup() (test_table_v4.c compares), but the pointer to tbl8 is checked.
 */
static inline uint32_t
fib_read_v4_lpm(const struct fib_reader *r, const struct rte_lpm *lpm, uint32_t ip, uint32_t miss)
{
	const struct rte_lpm_tbl_entry *tbl8 =
		bounds_or_nothing(&r->bounds, __atomic_load_n(&lpm->tbl8, __ATOMIC_RELAXED));
	uint32_t entry;

	__builtin_memcpy(&entry, &lpm->tbl24[ip >> 8], sizeof(entry));
	READ_ONCE_DONE(entry);
	if ((entry & RTE_LPM_VALID_EXT_ENTRY_BITMASK) == RTE_LPM_VALID_EXT_ENTRY_BITMASK)
		__builtin_memcpy(&entry,
			&tbl8[(size_t)(entry & 0xffffff) * RTE_LPM_TBL8_GROUP_NUM_ENTRIES +
				(ip & 255)],
			sizeof(entry));
	return entry & RTE_LPM_LOOKUP_SUCCESS ? entry & 0xffffff : miss;
}

/* The table has `answers`, which the caller has checked. */
static inline uint32_t
fib_read_v4_one(const struct fib_reader *r, const struct fib_generation *g, struct vrf_id vrf,
	const uint16_t *answers, uint32_t ip)
{
	uint32_t answer = answers[ip >> 8], miss = g->v4[vrf.v].miss;

	if (answer == TABLE_V4_LOOK)
		return fib_read_v4_lpm(r, fib_read_v4_table(r, g, vrf), ip, miss);
	return answer != PATH_LIST_NONE ? answer : miss;
}

/*
 * Looks up eight addresses in `answers`. Where rte_lpm must be asked, list[i] is TABLE_V4_LOOK and
 * `look` becomes non-zero.
 */
static inline __attribute__((always_inline)) void
fib_read_v4_eight(
	const uint16_t *answers, const uint32_t *ip, uint32_t *list, uint32_t miss, words8 *look)
{
	words8 w = {answers[ip[0] >> 8], answers[ip[1] >> 8], answers[ip[2] >> 8],
		answers[ip[3] >> 8], answers[ip[4] >> 8], answers[ip[5] >> 8], answers[ip[6] >> 8],
		answers[ip[7] >> 8]};

	*look |= (words8)(w == TABLE_V4_LOOK);
	w |= miss & (words8)(w == PATH_LIST_NONE);
	__builtin_memcpy(list, &w, sizeof(w));
}

/*
 * Looks up by rte_lpm where list[i] is TABLE_V4_LOOK. A miss with an equal number is looked up
 * again and gives the miss again.
 */
static __attribute__((noinline, unused)) void
fib_read_v4_look(const struct fib_reader *r, const struct rte_lpm *lpm, const uint32_t *ip,
	uint32_t *list, uint32_t miss, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (list[i] == TABLE_V4_LOOK)
			list[i] = fib_read_v4_lpm(r, lpm, ip[i], miss);
}

/* fib_read_v4_lists() for a VRF without a painted table. */
static __attribute__((noinline, unused)) void
fib_read_v4_instance(const struct fib_reader *r, const struct fib_generation *g, struct vrf_id vrf,
	const uint32_t *ip, uint32_t *list, unsigned n)
{
	const struct compact *c = BOUNDS_READ(&r->bounds, g->v4[vrf.v].compact);

	if (c != NULL)
		compact_v4_lookup(c, ip, list, n);
	else
		__builtin_memset(list, 0, n * sizeof(*list));
}

/*
 * `address >> FIB_READ_V4_FIRST` is the index of the 32-bit word of the first level with the
 * answer, for prefetching.
 */
#define FIB_READ_V4_FIRST 9

/*
 * Path lists of `n` IPv4 addresses in host order; PATH_LIST_NONE where no route matches. Gives the
 * results of rte_lpm_lookup_bulk(). The caller prefetches the answers, because a full table does
 * not fit into a cache.
 *
 * The loop contains only loads, so the CPU overlaps as many as possible: 43 million packets a
 * second where memory is slow, against 27 million with each load in the loop that finishes
 * packets.
 */
static inline __attribute__((always_inline)) void
fib_read_v4_lists(const struct fib_reader *r, const struct fib_generation *g, struct vrf_id vrf,
	const uint32_t *ip, uint32_t *list, unsigned n)
{
	const uint16_t *answers = BOUNDS_READ(&r->bounds, g->v4[vrf.v].answers);
	uint32_t miss = g->v4[vrf.v].miss;
	words8 look = {0};
	unsigned i = 0;

	if (__builtin_expect(answers == NULL, 0)) {
		fib_read_v4_instance(r, g, vrf, ip, list, n);
		return;
	}
	for (; i + 8 <= n; i += 8)
		fib_read_v4_eight(answers, ip + i, list + i, miss, &look);
	if (fib_read_any(&look))
		fib_read_v4_look(r, fib_read_v4_table(r, g, vrf), ip, list, miss, i);
	for (; i < n; i++)
		list[i] = fib_read_v4_one(r, g, vrf, answers, ip[i]);
}

/*
 * Like fib_read_v4_lists(), with its own prefetch: 5.3 instead of 6.2 ns a lookup for random
 * destinations of a full table, 1.0 instead of 0.8 ns for 4,096 hot destinations.
 */
static inline __attribute__((always_inline)) void
fib_read_v4_bulk(const struct fib_reader *r, const struct fib_generation *g, struct vrf_id vrf,
	const uint32_t *ip, uint32_t *out, unsigned n)
{
	const uint16_t *answers = BOUNDS_READ(&r->bounds, g->v4[vrf.v].answers);

	for (unsigned i = 0; answers != NULL && i < n; i++)
		__builtin_prefetch(&answers[ip[i] >> 8]);
	fib_read_v4_lists(r, g, vrf, ip, out, n);
}

/* fib_read_v6_bulk() for a VRF without a painted table. */
static __attribute__((noinline, unused)) void
fib_read_v6_instance(const struct fib_reader *r, const struct fib_generation *g, struct vrf_id vrf,
	const uint8_t (*ip)[16], uint32_t *list, unsigned n)
{
	const struct compact *c = BOUNDS_READ(&r->bounds, g->v6[vrf.v].compact);

	if (c != NULL)
		compact_v6_lookup(c, ip, list, n);
	else
		__builtin_memset(list, 0, n * sizeof(*list));
}

/* The table of a VRF, or NULL. */
static inline __attribute__((always_inline)) const uint32_t *
fib_read_v6_words(const struct fib_reader *r, const struct fib_generation *g, struct vrf_id vrf)
{
	return BOUNDS_READ(&r->bounds, g->v6[vrf.v].words);
}

/* Like fib_read_v4_bulk(), for IPv6 addresses in wire order. */
static inline __attribute__((always_inline)) void
fib_read_v6_bulk(const struct fib_reader *r, const struct fib_generation *g, struct vrf_id vrf,
	const uint8_t (*ip)[16], uint32_t *out, unsigned n)
{
	const uint32_t *words = fib_read_v6_words(r, g, vrf);

	if (words == NULL) {
		fib_read_v6_instance(r, g, vrf, ip, out, n);
		return;
	}
	table_v6_lookup_bulk(words, ip, out, n, g->v6[vrf.v].miss);
}

/*
 * fib_read_v6_bulk() in steps (table_v6_lookup_step()), so the caller can do work in between. All
 * steps must use one generation. At most TABLE_V6_BURST addresses. After the last step, slot[i] is
 * the slot with the answer, or with a reference to deeper levels (table_v6_goes_on() is true for
 * its word). For an instance the first step finds the answers, and slot[i] is the path list.
 */
static inline __attribute__((always_inline)) void
fib_read_v6_step(const struct fib_reader *r, const struct fib_generation *g, struct vrf_id vrf,
	const uint8_t (*ip)[16], uint32_t *slot, uint32_t *rest, unsigned n, unsigned step)
{
	const uint32_t *words = fib_read_v6_words(r, g, vrf);

	if (words != NULL)
		table_v6_lookup_step(words, ip, slot, rest, n, step);
	else if (step == 0)
		fib_read_v6_instance(r, g, vrf, ip, slot, n);
}

/*
 * Reads the path lists of the slots found by fib_read_v6_step(). Returns true if some addresses
 * continue on deeper levels; call table_v6_lookup_deep(), then this function again. The separate
 * loop gives 33 instead of 28 million packets a second (see fib_read_v4_lists()).
 */
static inline __attribute__((always_inline)) bool
fib_read_v6_lists(const struct fib_reader *r, const struct fib_generation *g, struct vrf_id vrf,
	const uint32_t *slot, uint32_t *list, unsigned n)
{
	const uint32_t *words = fib_read_v6_words(r, g, vrf);
	uint32_t miss = g->v6[vrf.v].miss, more = 0;
	words8 any = {0};
	unsigned i = 0;

	if (__builtin_expect(words == NULL, 0)) {
		__builtin_memcpy(list, slot, n * sizeof(*list));
		return false;
	}
	for (; i + 8 <= n; i += 8) {
		const uint32_t *s = slot + i;
		words8 w = {words[s[0]], words[s[1]], words[s[2]], words[s[3]], words[s[4]],
			words[s[5]], words[s[6]], words[s[7]]};
		words8 missed = (words8)(w == 0), answer;

		any |= w;
		answer = (w & TABLE_V6_VALUE) | (miss & missed);
		__builtin_memcpy(list + i, &answer, sizeof(answer));
	}
	for (; i < n; i++) {
		more |= words[slot[i]];
		list[i] = table_v6_answer(words[slot[i]], miss);
	}
	return table_v6_goes_on(fib_read_any(&any) | more);
}

/* The path list of an id from a table: the id may have any value. */
static inline __attribute__((always_inline)) const struct path_list *
fib_read_list(const struct fib_reader *r, uint32_t id)
{
	return &r->path_lists[id % PATH_LIST_MAX];
}

/* Adjacency id of a next hop, or 0 if the next hop is not up. */
static inline __attribute__((always_inline)) uint32_t
fib_read_up(const _Atomic uint64_t *next_hops, struct next_hop_id id)
{
	/* acquire: pairs with the release store in word_store */
	return (uint32_t)(atomic_load_explicit(
				  &next_hops[id.v % NEXT_HOP_MAX], memory_order_acquire) %
			  ADJACENCY_MAX);
}

/* What a path list says, and where its paths are. */
struct fib_list {
	const struct path *path;
	enum path_list_kind kind;
	unsigned path_count, all; /* all: with the backups */
	uint16_t port;
};

/* Reads the first word of a path list, once. */
static inline struct fib_list
fib_read_head(const struct fib_reader *r, uint32_t id)
{
	const struct path_list *list = fib_read_list(r, id);
	struct {
		uint8_t kind, path_count;
		uint16_t port;
		uint8_t backup_count, unused[3];
	} head;
	struct fib_list out;
	uint64_t word;

	static_assert(offsetof(struct path_list, path) == sizeof(word) &&
			      sizeof(head) == sizeof(word) &&
			      offsetof(struct path_list, port) == 2 &&
			      offsetof(struct path_list, backup_count) == 4,
		"the word before the paths");
	__builtin_memcpy(&word, list, sizeof(word));
	READ_ONCE_DONE(word);
	__builtin_memcpy(&head, &word, sizeof(head));
	out.kind = (enum path_list_kind)head.kind;
	out.port = head.port;
	out.path_count = head.path_count < PATHS_MAX ? head.path_count : PATHS_MAX;
	out.all = out.path_count + head.backup_count;
	out.all = out.all < LIST_PATHS_MAX ? out.all : LIST_PATHS_MAX;
	out.path = path_list_is_near(out.path_count, out.all)
			   ? list->path
			   : r->path_lists_far[id % PATH_LIST_MAX].path;
	return out;
}

/* A path with its adjacency, both copied. */
struct fib_hop {
	struct path path;
	struct adjacency adjacency;
};

typedef uint32_t words4 __attribute__((vector_size(16)));

/* In each lane the larger score, with its place. */
static inline void
fib_read_larger(words4 *best, words4 *at, words4 score, words4 place)
{
	words4 more = (words4)(score > *best);

	*best = (score & more) | (*best & ~more);
	*at = (place & more) | (*at & ~more);
}

/*
 * Selects one of the equal-cost paths by `hash`: the path with the largest score (lpm/path_list.h). Four
 * paths a step, without a branch on the hash: 4 ns for up to four paths, 10 ns for 16, 33 ns for 64 at
 * 2.6 GHz.
 */
static inline unsigned
fib_read_choice(const struct fib_list *l, uint32_t hash)
{
	const struct path *salts = l->path + l->all;
	words4 best = {0}, at = {0}, place = {0, 1, 2, 3};

	if (l->path_count <= 1)
		return 0;
	for (unsigned i = 0; i < l->path_count; i += 4, salts += 2, place += 4) {
		words4 score;

		static_assert(2 * sizeof(*salts) == sizeof(score), "");
		__builtin_memcpy(&score, salts, sizeof(score));
		score = (score ^ hash) * PATH_SCORE_FIRST;
		score = (score ^ score >> 16) * PATH_SCORE_SECOND;
		fib_read_larger(&best, &at, score & (words4)(place < l->path_count), place);
	}
	fib_read_larger(&best, &at, __builtin_shufflevector(best, best, 2, 3, 0, 1),
		__builtin_shufflevector(at, at, 2, 3, 0, 1));
	fib_read_larger(&best, &at, __builtin_shufflevector(best, best, 1, 0, 3, 2),
		__builtin_shufflevector(at, at, 1, 0, 3, 2));
	return at[0];
}

/* Copies path i, and its adjacency if the next hop is up. Returns false if it is not up. */
static inline bool
fib_read_hop(const struct fib_reader *r, const struct fib_list *l, unsigned i, struct fib_hop *out)
{
	uint64_t word;
	uint32_t id;

	static_assert(sizeof(struct path) == sizeof(word), "");
	__builtin_memcpy(&word, &l->path[i], sizeof(word));
	READ_ONCE_DONE(word);
	__builtin_memcpy(&out->path, &word, sizeof(word));
	id = fib_read_up(r->next_hops, out->path.next_hop);
	if (__builtin_expect(id == 0, 0))
		return false;
	out->adjacency = r->adjacencies[id];
	/* checks and uses of the adjacency read the copy alone */
	__asm__("" : "+m"(out->adjacency));
	if (out->adjacency.label_count > PUSH_LABELS_MAX)
		out->adjacency.label_count = 0;
	return true;
}

/*
 * Finds a path and its adjacency when the chosen next hop is not up: the choice among the equal-cost paths
 * that are up, as in a list without the others, then the backups in order. Without one, out->path is the
 * chosen path.
 */
static __attribute__((noinline, unused)) bool
fib_read_fallback(
	const struct fib_reader *r, const struct fib_list *l, uint32_t hash, struct fib_hop *out)
{
	const char *salts = (const char *)(l->path + l->all);
	struct path first = out->path;
	unsigned chosen = PATHS_MAX;
	uint32_t best = 0;

	for (unsigned i = 0; l->path_count > 1 && i < l->path_count; i++) {
		struct next_hop_id next_hop;
		uint32_t score;

		__builtin_memcpy(&next_hop, &l->path[i].next_hop, sizeof(next_hop));
		if (fib_read_up(r->next_hops, next_hop) == 0)
			continue;
		__builtin_memcpy(&score, salts + i * sizeof(score), sizeof(score));
		score = (score ^ hash) * PATH_SCORE_FIRST;
		score = (score ^ score >> 16) * PATH_SCORE_SECOND;
		if (chosen == PATHS_MAX || score > best) {
			chosen = i;
			best = score;
		}
	}
	if (chosen < PATHS_MAX && fib_read_hop(r, l, chosen, out))
		return true;
	for (unsigned i = l->path_count; i < l->all; i++)
		if (fib_read_hop(r, l, i, out))
			return true;
	out->path = first;
	return false;
}

/*
 * Path and adjacency for a packet with this flow hash. Returns false if no next hop of the list is
 * up; out->path is then the path for this hash.
 */
static inline bool
fib_read_path(
	const struct fib_reader *r, const struct fib_list *l, uint32_t hash, struct fib_hop *out)
{
	unsigned i = fib_read_choice(l, hash);

	return __builtin_expect(fib_read_hop(r, l, i, out), 1) ||
	       fib_read_fallback(r, l, hash, out);
}
