/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parts of the destination table: dest.c (segments, tombstones), dest_index.c (the hash index),
 * dest_publish.c (path sets and their publication), dest_read.c (readers). One owner writes. A field
 * without a comment is constant after the creation.
 */
#pragma once

#include "rib/table/dest.h"

#include "lpm/base/arena.h"
#include "lpm/base/qsbr.h"
#include "rib/table/deferred_free_impl.h"
#include "rib/table/dest_word_impl.h"

#include <string.h>

struct dest_index;
struct segment_use;

/* `word` is the published path set, or links of the owner (dest_word_impl.h). */
struct destination {
	_Atomic uint64_t word;
	_Atomic uint32_t sequence;
	_Atomic uint32_t time_s; /* of an INLINE path */
	uint8_t len;
	/*
	 * USED | enum dest_fib << FIB_AT; 0: the id is free. The prefix of a free id may be
	 * rewritten; an id becomes free a grace period earlier.
	 */
	_Atomic uint8_t used;
	/*
	 * Owner. fresh: no journal entry since dest_get(). sequence_high extends the sequence by 15
	 * bits: quiet changes keep an old sequence, and 2^31 changes may take a month.
	 */
	uint16_t fresh:1, sequence_high:15;
	uint8_t b[]; /* 4 or 16; in a VPN table padding and the distinguisher follow */
};
static_assert(offsetof(struct destination, b) + 4 == DEST_BYTES_IPV4,
	"budget of docs/architecture.md: x 1.2 million = 29 MB");
static_assert(offsetof(struct destination, b) + 16 <= DEST_BYTES_IPV6, "a multiple of the word");
static_assert(DEST_BYTES_VPNV4 == DEST_BYTES_IPV4 + 8 && DEST_BYTES_VPNV6 == DEST_BYTES_IPV6 + 8,
	"the distinguisher is the last word");

#define USED 1u
#define FIB_AT 1u

#define ID_NIL 0x7fffffffu /* also the limit of ids: two ids and LINK fit into a word */

#define SEGMENT_BITS 10
#define SEGMENT_DESTS (1u << SEGMENT_BITS)

typedef _Atomic(struct destination *) segment_at;

struct dest_table {
	struct arena *arena;
	enum afi afi;
	unsigned max_len;
	uint32_t held; /* owner: ids in the index */
	uint32_t oldest, newest; /* owner: tombstones by sequence, fresh ids at the front */
	/*
	 * owner: the id of the last dest_get(), not yet in the list, because paths mostly follow at
	 * once; ID_NIL: none
	 */
	uint32_t newborn;
	struct dest_index *next; /* owner: the index being filled, or NULL */
	uint32_t next_at; /* owner: lines of the index below are in `next` */
	struct hash_probes probes; /* owner: of dest_get() */
	unsigned tight_from; /* owner: dest_tight() */
	/* owner: segments below segment_count are in use or vacant; the last is in use */
	uint32_t segment_count, segments_size;
	struct segment_use *use; /* owner, by segment */
	uint64_t *room; /* owner: bitmap of segments with a free id */
	uint32_t filling; /* owner: the segment of the next new id, if it has room */
	uint32_t first; /* owner: destinations in the first segment; never falls */
	struct deferred_free sets, ids;
	struct retire_list *retired; /* old indexes and segment lists */
	uint32_t in_length[129]; /* owner: destinations by prefix length */
	size_t dest_size;
	unsigned addr_len;
	unsigned rd_at; /* offset of the distinguisher in a destination; 0: the table has none */
	/* owner: spare sets of each size for path_set_alloc() */
	struct path_set *draft[PATHS_PACKED_MAX + 1];

	/* read by readers */
	alignas(CACHE_LINE) _Atomic(struct dest_index *) index;
	_Atomic(segment_at *) segments;
	/*
	 * ids below have a segment; readers need this line for each destination, so only a new
	 * segment changes the line
	 */
	_Atomic uint32_t reach;
	_Atomic uint64_t lengths[3]; /* bitmap of prefix lengths in use */

	/* no id in use is at or above; falls when the last segment is freed */
	alignas(CACHE_LINE) _Atomic uint32_t limit;
	_Atomic uint32_t count;
	_Atomic uint32_t path_count, tombstones;
	_Atomic size_t bytes;
};

/* Single-writer counters: no locked instruction. */
static inline void
count_add(_Atomic uint32_t *c, uint32_t n)
{
	atomic_store_explicit(
		c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline void
bytes_add(struct dest_table *t, size_t n)
{
	size_t old = atomic_load_explicit(&t->bytes, memory_order_relaxed);

	atomic_store_explicit(&t->bytes, old + n, memory_order_relaxed);
}

/* `id` is below a reach or limit that the caller loaded, or was found in the index. */
static inline struct destination *
dest_at(const struct dest_table *t, uint32_t id)
{
	/* acquire: pairs with the release store in segments_grow */
	segment_at *segments = atomic_load_explicit(&t->segments, memory_order_acquire);
	/* acquire: pairs with the release stores in segment_set and segment_vacate */
	struct destination *first =
		atomic_load_explicit(&segments[id >> SEGMENT_BITS], memory_order_acquire);

	return (struct destination *)(void *)((uint8_t *)first +
					      (id & (SEGMENT_DESTS - 1)) * t->dest_size);
}

static uint32_t
dest_octets_v4(const struct destination *d)
{
	uint32_t octets;

	memcpy(&octets, d->b, sizeof(octets));
	return octets;
}

static inline struct vpn_rd
dest_rd(const struct dest_table *t, const struct destination *d)
{
	struct vpn_rd rd = {0};

	if (t->rd_at != 0)
		memcpy(&rd, (const uint8_t *)d + t->rd_at, sizeof(rd));
	return rd;
}

static inline void
dest_prefix(const struct dest_table *t, const struct destination *d, struct prefix *out)
{
	if (t->addr_len == 4) {
		prefix_put_octets_v4(out, dest_octets_v4(d), d->len);
		return;
	}
	memcpy(out->b, d->b, sizeof(out->b));
	prefix_put_len(out, (uint8_t)t->afi, d->len);
}

/* ---- links of tombstones and free ids ---- */

static inline uint64_t
link_word(uint32_t before, uint32_t after)
{
	return (uint64_t)before << 32 | (uint64_t)after << 1 | LINK;
}

static inline uint32_t
link_before(uint64_t word)
{
	return (uint32_t)(word >> 32);
}

static inline uint32_t
link_after(uint64_t word)
{
	return (uint32_t)word >> 1;
}

static inline uint64_t
word_of(const struct destination *d)
{
	return atomic_load_explicit(&d->word, memory_order_relaxed);
}

static inline void
word_set(struct destination *d, uint64_t word)
{
	/*
	 * release: pairs with the load in peek; also for links, because readers may load them
	 */
	atomic_store_explicit(&d->word, word, memory_order_release);
}

static inline void
tombstone_link(struct dest_table *t, uint32_t id, uint32_t before, uint32_t after)
{
	if (before == ID_NIL) {
		t->oldest = id;
	} else {
		struct destination *d = dest_at(t, before);
		word_set(d, link_word(link_before(word_of(d)), id));
	}
	if (after == ID_NIL) {
		t->newest = id;
	} else {
		struct destination *d = dest_at(t, after);
		word_set(d, link_word(id, link_after(word_of(d))));
	}
	word_set(dest_at(t, id), link_word(before, after));
}

/* The word of `id` stays; the caller stores the next word. */
static inline void
tombstone_unlink(struct dest_table *t, uint32_t id)
{
	uint64_t word = word_of(dest_at(t, id));
	uint32_t before = link_before(word), after = link_after(word);

	if (before == ID_NIL) {
		t->oldest = after;
	} else {
		struct destination *d = dest_at(t, before);
		word_set(d, link_word(link_before(word_of(d)), after));
	}
	if (after == ID_NIL) {
		t->newest = before;
	} else {
		struct destination *d = dest_at(t, after);
		word_set(d, link_word(before, link_after(word_of(d))));
	}
}

/* True if `id` has a segment; the id may be unused. */
static inline bool
is_there(const struct dest_table *t, struct dest_id id)
{
	/* acquire: pairs with the release store in reach_set */
	return id.v < atomic_load_explicit(&t->reach, memory_order_acquire);
}

static inline bool
dest_has(const struct dest_table *t, const struct destination *d, struct vpn_rd rd,
	const struct prefix *p)
{
	return d->len == p->len &&
	       (t->addr_len == 4 ? memcmp(d->b, p->b, 4) == 0 : memcmp(d->b, p->b, 16) == 0) &&
	       dest_rd(t, d).v == rd.v;
}

/* Prefetches what tail_init() will write. */
static inline void
tail_prefetch(uint64_t word)
{
	const struct wide_set *w = word_wide(word);

	__builtin_prefetch(
		(const void *)((uintptr_t)w->tail->body + wide_entries(word) * sizeof(tail_body)),
		1);
	__builtin_prefetch(&tail_peers_of(w->tail, w->tail_size)[wide_entries(word)], 1);
}

static inline uint64_t
dest_hash(const struct dest_table *t, const struct destination *d)
{
	struct prefix p;

	if (t->addr_len == 4 && t->rd_at == 0)
		return prefix_hash_octets_v4(dest_octets_v4(d), d->len);
	dest_prefix(t, d, &p);
	return dest_key_hash(t, dest_rd(t, d), &p);
}

/* ---- dest_index.c ---- */

/* The first index of a table. 0, -ENOMEM. */
int dest_index_create(struct dest_table *t);
void dest_index_destroy(struct dest_table *t);

/* *steps: the number of slots read after the first line. DEST_NONE: not found. */
uint32_t dest_index_find(const struct dest_table *t, struct vpn_rd rd, const struct prefix *p,
	uint64_t hash, uint32_t *steps);

/* Makes room in the index for one more destination. 0, -ENOMEM. */
int dest_index_reserve(struct dest_table *t);

/* Adds a destination to the index, and to the next index if the line was copied. */
void dest_index_add(struct dest_table *t, uint64_t hash, uint32_t id);
void dest_index_drop(struct dest_table *t, uint64_t hash, uint32_t id);

/*
 * After a withdrawal: a smaller index replaces an index that is less than an eighth full, even with
 * all ids below the limit. Also continues the growth of a table without new destinations. True if
 * more is due.
 */
bool dest_index_tidy(struct dest_table *t);
