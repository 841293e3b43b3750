/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one hot inline header: load the generation once per burst, look up in bulk, reach the adjacency.
 * For workers and lpm/fib.c. Its structs are shown because inlining pays here.
 *
 * A reader is registered and online in the workers' QSBR; what it got from fib_read_begin() is good until
 * its next quiescent report. No malloc, lock, log or system call.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/fib.h"
#include "lpm/path_list.h"
#include "lpm/table_v6.h"

#include <rte_lpm.h>
#include <stdatomic.h>

/* Immutable once published. v4[vrf], v6[vrf] are NULL where that VRF has no table. */
struct fib_generation {
	uint64_t number;
	struct {
		struct rte_lpm *lpm;
		uint32_t miss; /* path list of 0/0, or PATH_LIST_NONE */
	} v4[FIB_VRF_MAX];
	struct {
		const uint32_t *words;
		uint32_t miss; /* of ::/0 */
	} v6[FIB_VRF_MAX];
};

struct fib_reader {
	_Atomic(const struct fib_generation *) current;
	const struct path_list *path_lists;
	const _Atomic uint64_t *next_hops;
	const struct adjacency *adjacencies;
};

static inline const struct fib_generation *
fib_read_begin(const struct fib_reader *r)
{
	/* acquire: pairs with the release store in fib_commit */
	return atomic_load_explicit(&r->current, memory_order_acquire);
}

/*
 * The entries of `n` IPv4 addresses in host order, for fib_read_v4_answer(); the caller has prefetched tbl24's (a full table does not fit a
 * cache). rte_lpm_lookup_bulk does nothing else between two loads, so that as many as the CPU can hold are under way: read one by one in the
 * loop that finishes packets, they let 27 million a second through instead of 43 where memory is slow.
 */
static inline void
fib_read_v4_front(const struct fib_generation *g, struct vrf_id vrf, const uint32_t *ip, uint32_t *word, unsigned n)
{
	const struct rte_lpm *lpm = g->v4[vrf.v].lpm;

	if (__builtin_expect(lpm == NULL, 0))
		__builtin_memset(word, 0, n * sizeof(*word));
	else
		rte_lpm_lookup_bulk(lpm, ip, word, n);
}

/* The path list, `miss` where nothing matches. */
static inline uint32_t
fib_read_v4_answer(uint32_t word, uint32_t miss)
{
	return (word & RTE_LPM_LOOKUP_SUCCESS) ? word & 0x00ffffff : miss;
}

/*
 * `ip`: `n` IPv4 addresses in host order. `out`: path list ids, PATH_LIST_NONE without a route. rte_lpm_lookup_bulk's own loop; tbl24 of all is
 * prefetched first: 5.3 instead of 6.2 ns a lookup for random destinations of a full table, 1.0 instead of 0.8 for 4,096 hot ones.
 */
static inline void
fib_read_v4_bulk(const struct fib_generation *g, struct vrf_id vrf, const uint32_t *ip, uint32_t *out, unsigned n)
{
	const struct rte_lpm *lpm = g->v4[vrf.v].lpm;
	uint32_t miss = g->v4[vrf.v].miss;

	for (unsigned i = 0; lpm != NULL && i < n; i++)
		__builtin_prefetch(&lpm->tbl24[ip[i] >> 8]);
	fib_read_v4_front(g, vrf, ip, out, n);
	for (unsigned i = 0; i < n; i++)
		out[i] = fib_read_v4_answer(out[i], miss);
}

/* As fib_read_v4_bulk; `ip`: addresses as on the wire. */
static inline void
fib_read_v6_bulk(const struct fib_generation *g, struct vrf_id vrf, const uint8_t (*ip)[16], uint32_t *out, unsigned n)
{
	const uint32_t *words = g->v6[vrf.v].words;

	if (words == NULL) {
		for (unsigned i = 0; i < n; i++)
			out[i] = PATH_LIST_NONE;
		return;
	}
	table_v6_lookup_bulk(words, ip, out, n, g->v6[vrf.v].miss);
}

/*
 * The same in steps, for who finishes packets as the answers come. `ip`: at most TABLE_V6_BURST. `slot`: where each answer lies, or the table goes on
 * (table_v6_goes_on() of its word): then table_v6_lookup_deep(), and words again.
 */
static inline void
fib_read_v6_front(const struct fib_generation *g, struct vrf_id vrf, const uint8_t (*ip)[16], uint32_t *slot, unsigned n)
{
	if (g->v6[vrf.v].words != NULL)
		table_v6_lookup_front(g->v6[vrf.v].words, ip, slot, n);
}

/* In a loop of its own for the same reason as IPv4's: 33 instead of 28 million packets a second. For table_v6_answer(). */
static inline void
fib_read_v6_words(const struct fib_generation *g, struct vrf_id vrf, const uint32_t *slot, uint32_t *word, unsigned n)
{
	const uint32_t *words = g->v6[vrf.v].words;

	for (unsigned i = 0; i < n; i++)
		word[i] = words != NULL ? words[slot[i]] : 0;
}

static inline __attribute__((always_inline)) const struct adjacency *
fib_read_next_hop(const struct fib_reader *r, struct next_hop_id id)
{
	/* acquire: pairs with the release store in next_hop_up */
	uint64_t word = atomic_load_explicit(&r->next_hops[id.v], memory_order_acquire);

	return (word >> 32) == NEXT_HOP_UP ? &r->adjacencies[(uint32_t)word] : NULL;
}

/* The path that `hash` chooses among equal ones. Multiply-shift instead of a division. */
static inline unsigned
fib_read_choice(const struct path_list *list, uint32_t hash)
{
	return list->path_count > 1 ? (unsigned)(((uint64_t)hash * list->path_count) >> 32) : 0;
}

/* The chosen next hop is not up: the others of the equal ones in turn, then the backups in order. */
static __attribute__((noinline, unused)) const struct adjacency *
fib_read_fallback(const struct fib_reader *r, const struct path_list *list, unsigned chosen)
{
	unsigned all = list->path_count + (unsigned)list->backup_count;

	for (unsigned n = 1; n < all; n++) {
		unsigned i = n < list->path_count ? (chosen + n) % list->path_count : n;
		const struct adjacency *adj = fib_read_next_hop(r, list->path[i].next_hop);

		if (adj != NULL)
			return adj;
	}
	return NULL;
}

/* NULL when no next hop of the list is up. */
static inline const struct adjacency *
fib_read_adjacency(const struct fib_reader *r, const struct path_list *list, uint32_t hash)
{
	unsigned i = fib_read_choice(list, hash);
	const struct adjacency *adj = fib_read_next_hop(r, list->path[i].next_hop);

	return __builtin_expect(adj != NULL, 1) ? adj : fib_read_fallback(r, list, i);
}
