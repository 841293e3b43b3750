/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/dest.h"

#include "lpm/arena.h"
#include "lpm/qsbr.h"
#include "rib/dest_word_impl.h"
#include "rib/deferred_free_impl.h"

#include <errno.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

/*
 * The owner's record of a segment. Ids come from the lowest segment with room, so that the ids in use
 * move to the front as destinations come and go. A segment without ids in use is freed: readers then
 * find `vacant`, and a new segment takes the place when all lower segments are full.
 *
 * The first segment starts with FIRST_MIN destinations and grows to SEGMENT_DESTS: a larger copy
 * takes its place, so that a table with few routes stays small. A reader of the old copy sees the
 * state before the copy, until its next look. Like an old path set, the old copy is freed after a
 * grace period.
 */
struct segment_use {
	uint16_t held; /* ids in use, or waiting for readers */
	uint16_t given; /* ids below were given out */
	uint16_t free; /* list of free ids below `given`; NO_FREE: empty */
};
#define NO_FREE SEGMENT_DESTS
#define FIRST_MIN 16u
#define FIRST_GROWTH 4u
static_assert(SEGMENT_DESTS <= UINT16_MAX, "places in a segment have 16 bits");

/* Never written: the destinations of a freed segment, all unused. */
static struct {
	alignas(CACHE_LINE) uint8_t b[SEGMENT_DESTS * DEST_BYTES_VPNV6];
} vacant;

static struct destination *
vacant_segment(void)
{
	return (struct destination *)(void *)vacant.b;
}

/*
 * Open addressing, 4 bytes a slot, by cache lines: the hash selects a line of 16 slots, a search
 * compares the whole line at once, and continues with the next line only if no slot of the line is
 * EMPTY. So most searches read one line, which a prefetch can load in advance.
 *
 * In an index of 2^bits slots an entry has, from the low bits: id + 1 in `bits` bits; in two bits by
 * how many lines the entry is behind the line of the hash, FAR: three or more; the tag, hash bits.
 * There are fewer than 3/4 * 2^bits ids, so no entry equals EMPTY or GONE. Line, distance and tag
 * give HASH_BITS bits of the hash, whatever the size: an index of another size is filled line by
 * line, without reading a destination. Entries never move within an index: a reader finds every
 * entry that is present during the whole search.
 */
struct index {
	unsigned bits;
	uint32_t mask;
	uint32_t filled; /* owner: slots that are not EMPTY */
	/* owner: slots cleared so far, from the first; all of them before the index is used */
	uint32_t cleared;
	_Atomic uint32_t *slot;
};

#define EMPTY 0u
#define GONE UINT32_MAX
#define LINE_BITS 4u
#define LINE_SLOTS (1u << LINE_BITS)
static_assert(LINE_SLOTS * sizeof(uint32_t) == CACHE_LINE, "a search reads a cache line");
#define FAR 3u
#define HASH_BITS (30u - LINE_BITS)
#define INDEX_BITS_MIN 8
#define INDEX_BITS_MAX 29

/*
 * Growing: the next index is cleared, then filled, next to the current index, in steps. Each new
 * destination adds a step of less than a microsecond; the new index is complete after 1.9 % more
 * destinations. One step for all would stop a full table for milliseconds.
 */
#define CLEAR_STEP 4096 /* slots */
#define GROW_STEP 4 /* lines */
#define TIDY_STEPS 16 /* in a call of dest_reclaim() */

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
	struct index *next; /* owner: the index being filled, or NULL */
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
	alignas(CACHE_LINE) _Atomic(struct index *) index;
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
static void
count_add(_Atomic uint32_t *c, uint32_t n)
{
	atomic_store_explicit(
		c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static void
bytes_add(struct dest_table *t, size_t n)
{
	size_t old = atomic_load_explicit(&t->bytes, memory_order_relaxed);

	atomic_store_explicit(&t->bytes, old + n, memory_order_relaxed);
}

/* `id` is below a reach or limit that the caller loaded, or was found in the index. */
static struct destination *
dest_at(const struct dest_table *t, uint32_t id)
{
	/* acquire: pairs with the release store in segments_grow */
	segment_at *segments = atomic_load_explicit(&t->segments, memory_order_acquire);
	/* acquire: pairs with the release stores in segment_place and segment_vacate */
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

static void
dest_prefix(const struct dest_table *t, const struct destination *d, struct prefix *out)
{
	if (t->addr_len == 4) {
		prefix_put_octets_v4(out, dest_octets_v4(d), d->len);
		return;
	}
	memcpy(out->b, d->b, sizeof(out->b));
	out->afi = (uint8_t)t->afi;
	out->len = d->len;
}

uint64_t
dest_key_hash(const struct dest_table *t, struct vpn_rd rd, const struct prefix *p)
{
	return t->rd_at != 0 ? vpn_prefix_hash(rd, p) : prefix_hash(p);
}

static uint64_t
dest_hash(const struct dest_table *t, const struct destination *d)
{
	struct prefix p;

	if (t->addr_len == 4 && t->rd_at == 0)
		return prefix_hash_octets_v4(dest_octets_v4(d), d->len);
	dest_prefix(t, d, &p);
	return dest_key_hash(t, dest_rd(t, d), &p);
}

/* ---- links of tombstones and free ids ---- */

static uint64_t
link_word(uint32_t before, uint32_t after)
{
	return (uint64_t)before << 32 | (uint64_t)after << 1 | LINK;
}

static uint32_t
link_before(uint64_t word)
{
	return (uint32_t)(word >> 32);
}

static uint32_t
link_after(uint64_t word)
{
	return (uint32_t)word >> 1;
}

static uint64_t
word_of(const struct destination *d)
{
	return atomic_load_explicit(&d->word, memory_order_relaxed);
}

static void
word_set(struct destination *d, uint64_t word)
{
	/*
	 * release: pairs with the load in dest_peek; also for links, because readers may load them
	 */
	atomic_store_explicit(&d->word, word, memory_order_release);
}

/* `most`: limit of paths expanded from a packed set. */
static inline const struct path_set *
word_paths(const struct destination *d, uint64_t word, unsigned most, union dest_paths *room)
{
	if (word & LINK)
		return NULL;
	if (word & INLINE)
		/* relaxed: the time may be newer than the word; no decision depends on an age */
		view_inline(word, atomic_load_explicit(&d->time_s, memory_order_relaxed), room);
	else if (word & PACKED)
		view_packed(word, most, room);
	else if (word & WIDE)
		view_wide(word, most, room);
	else
		return word_block(word);
	return &room->set;
}

static void
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
static void
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

/* A newborn id without paths becomes a fresh tombstone. */
static void
newborn_link(struct dest_table *t)
{
	if (t->newborn != ID_NIL)
		tombstone_link(t, t->newborn, ID_NIL, t->oldest);
	t->newborn = ID_NIL;
}

/* ---- index ---- */

static int
index_create(struct dest_table *t, unsigned bits, struct index **out)
{
	struct index *x = arena_alloc(t->arena, sizeof(*x));

	if (x == NULL)
		return -ENOMEM;
	*x = (struct index){.bits = bits, .mask = (1u << bits) - 1};
	x->slot = arena_alloc_aligned(t->arena,
		sizeof(*x->slot) << bits < ARENA_PAGE ? CACHE_LINE : ARENA_PAGE,
		sizeof(*x->slot) << bits);
	if (x->slot == NULL) {
		arena_free(t->arena, x);
		return -ENOMEM;
	}
	bytes_add(t, sizeof(*x->slot) << bits);
	*out = x;
	return 0;
}

/* retire_fn */
static void
index_free(void *ctx, void *p)
{
	struct dest_table *t = ctx;
	struct index *x = p;

	bytes_add(t, -(sizeof(*x->slot) << x->bits));
	/* a growing table needs the pages soon, for destinations and sets */
	if (x->bits < atomic_load_explicit(&t->index, memory_order_relaxed)->bits)
		arena_free(t->arena, x->slot);
	else
		arena_release(t->arena, x->slot);
	arena_free(t->arena, x);
}

/* The first slot of the line of a hash. */
static uint32_t
index_line(const struct index *x, uint64_t hash)
{
	return (uint32_t)hash << LINE_BITS & x->mask;
}

static uint32_t
index_tag(const struct index *x, uint64_t hash)
{
	uint32_t known = (uint32_t)hash & ((1u << HASH_BITS) - 1);

	return known >> (x->bits - LINE_BITS) << (x->bits + 2);
}

static unsigned
entry_distance(const struct index *x, uint32_t v)
{
	return v >> x->bits & FAR;
}

/* The entry, one line further on. */
static uint32_t
entry_further(const struct index *x, uint32_t v)
{
	return entry_distance(x, v) < FAR ? v + (1u << x->bits) : v;
}

static void
index_prefetch(const struct index *x, uint64_t hash)
{
	__builtin_prefetch(
		(const void *)((uintptr_t)x->slot + index_line(x, hash) * sizeof(*x->slot)));
}

/* Bits by slot of a line. */
struct line {
	uint32_t match, empty;
};

#if defined(__SSE2__) && !defined(KEEL_SANITIZED)

/* Of the lanes that are all ones. */
static inline uint32_t
lane_bits(const __m128i lane[4])
{
	return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(
		_mm_packs_epi32(lane[0], lane[1]), _mm_packs_epi32(lane[2], lane[3])));
}

/*
 * Slots whose bits of `mask` equal `tag`, EMPTY and GONE slots included. The loads of 16 bytes are
 * aligned, so each slot is read in one piece, and x86 orders them before the loads of the
 * destinations that follow.
 */
static inline struct line
line_read(const _Atomic uint32_t *slot, uint32_t mask, uint32_t tag)
{
	const __m128i *p = (const __m128i *)(uintptr_t)slot;
	__m128i masks = _mm_set1_epi32((int)mask), tags = _mm_set1_epi32((int)tag);
	__m128i match[4], empty[4];

	for (unsigned i = 0; i < 4; i++) {
		__m128i v = _mm_load_si128(&p[i]);

		match[i] = _mm_cmpeq_epi32(_mm_and_si128(v, masks), tags);
		empty[i] = _mm_cmpeq_epi32(v, _mm_setzero_si128());
	}
	/* acquire: as below, for the compiler */
	atomic_signal_fence(memory_order_acquire);
	return (struct line){lane_bits(match), lane_bits(empty)};
}

#else

static inline struct line
line_read(const _Atomic uint32_t *slot, uint32_t mask, uint32_t tag)
{
	struct line l = {0};

	for (unsigned i = 0; i < LINE_SLOTS; i++) {
		/* acquire: pairs with the release store in index_insert */
		uint32_t v = atomic_load_explicit(&slot[i], memory_order_acquire);

		l.match |= (uint32_t)((v & mask) == tag) << i;
		l.empty |= (uint32_t)(v == EMPTY) << i;
	}
	return l;
}

#endif

static void
slot_set(struct index *x, uint32_t i, uint32_t v)
{
	/* release: pairs with the load in line_read; the destination's prefix comes first */
	atomic_store_explicit(&x->slot[i], v, memory_order_release);
}

/* Returns the line of the new entry. */
static uint32_t
index_insert(struct index *x, uint64_t hash, uint32_t id)
{
	uint32_t i = index_line(x, hash), v = index_tag(x, hash) | (id + 1);
	struct line l;

	/* `match`: GONE slots, which go first, because a full line stays full */
	for (;;) {
		l = line_read(&x->slot[i], UINT32_MAX, GONE);
		if ((l.empty | l.match) != 0)
			break;
		i = (i + LINE_SLOTS) & x->mask;
		v = entry_further(x, v);
	}
	i += (uint32_t)__builtin_ctz(l.match != 0 ? l.match : l.empty);
	x->filled += l.match == 0;
	slot_set(x, i, v);
	return i >> LINE_BITS;
}

static inline bool
dest_has(const struct dest_table *t, const struct destination *d, struct vpn_rd rd,
	const struct prefix *p)
{
	return d->len == p->len &&
	       (t->addr_len == 4 ? memcmp(d->b, p->b, 4) == 0 : memcmp(d->b, p->b, 16) == 0) &&
	       dest_rd(t, d).v == rd.v;
}

/* *steps: how many slots beyond the first line were read. */
static inline uint32_t
index_find(const struct dest_table *t, const struct index *x, struct vpn_rd rd,
	const struct prefix *p, uint64_t hash, uint32_t *steps)
{
	uint32_t tag = index_tag(x, hash), i = index_line(x, hash);
	struct line l;

	for (*steps = 0;; *steps += LINE_SLOTS) {
		l = line_read(&x->slot[i], ~x->mask, tag);
		for (l.match &= ~l.empty; l.match != 0; l.match &= l.match - 1) {
			/*
			 * acquire: pairs with the release store in slot_set. The entry may have
			 * changed since line_read().
			 */
			uint32_t v =
				atomic_load_explicit(&x->slot[i + (uint32_t)__builtin_ctz(l.match)],
					memory_order_acquire);

			if ((v & ~x->mask) == tag && v != GONE && v != EMPTY &&
				dest_has(t, dest_at(t, (v & x->mask) - 1), rd, p))
				return (v & x->mask) - 1;
		}
		if (l.empty != 0)
			return DEST_NONE;
		i = (i + LINE_SLOTS) & x->mask;
		tag = entry_further(x, tag);
	}
}

/*
 * A search passes a line without an EMPTY slot only. So a removal from a line with an EMPTY slot
 * makes another one; in a full line the slot becomes GONE. Returns the line.
 */
static uint32_t
index_remove(struct index *x, uint64_t hash, uint32_t id)
{
	uint32_t v = index_tag(x, hash) | (id + 1), i = index_line(x, hash);
	struct line l;

	while ((l = line_read(&x->slot[i], UINT32_MAX, v)).match == 0) {
		i = (i + LINE_SLOTS) & x->mask;
		v = entry_further(x, v);
	}
	i += (uint32_t)__builtin_ctz(l.match);
	/* release: pairs with the load in line_read */
	atomic_store_explicit(&x->slot[i], l.empty != 0 ? EMPTY : GONE, memory_order_release);
	x->filled -= l.empty != 0;
	return i >> LINE_BITS;
}

/* True when the whole index is cleared. */
static bool
index_clear(struct index *x, uint32_t slots)
{
	uint32_t left = x->mask + 1 - x->cleared, n = slots < left ? slots : left;
	void *from = (void *)((uintptr_t)x->slot + x->cleared * sizeof(*x->slot));

	arena_populate(from, n * sizeof(*x->slot));
	memset(from, EMPTY, n * sizeof(*x->slot));
	x->cleared += n;
	return x->cleared > x->mask;
}

/* The hash of an entry, as far as the index uses it. */
static uint64_t
entry_hash(const struct dest_table *t, const struct index *x, uint32_t line, uint32_t v)
{
	unsigned distance = entry_distance(x, v);

	if (distance == FAR)
		return dest_hash(t, dest_at(t, (v & x->mask) - 1));
	return (uint64_t)(v >> (x->bits + 2)) << (x->bits - LINE_BITS) |
	       ((line - distance) & (x->mask >> LINE_BITS));
}

/*
 * Copies the entries of a line into the next index. When the index grows, the entries go to two
 * lines; otherwise, to one. Each of the lines is read once: a load of 16 bytes would wait for the
 * stores of 4 before.
 */
static void
line_copy(struct dest_table *t, const struct index *x, uint32_t line)
{
	struct index *n = t->next;
	uint32_t second = n->bits > x->bits ? 1u << x->bits : 0, first = index_line(n, line);
	uint32_t empty[2], left = 0;

	empty[0] = line_read(&n->slot[first], UINT32_MAX, GONE).empty;
	empty[1] = line_read(&n->slot[first | second], UINT32_MAX, GONE).empty;
	for (uint32_t k = 0; k < LINE_SLOTS; k++) {
		uint32_t v =
			atomic_load_explicit(&x->slot[line << LINE_BITS | k], memory_order_relaxed);
		uint64_t hash;
		unsigned to;

		if (v == EMPTY || v == GONE)
			continue;
		hash = entry_distance(x, v) == 0 ? entry_hash(t, x, line, v) : 0;
		to = (index_line(n, hash) & second) != 0;
		if (entry_distance(x, v) > 0 || empty[to] == 0) {
			left |= 1u << k;
			continue;
		}
		slot_set(n, index_line(n, hash) + (uint32_t)__builtin_ctz(empty[to]),
			index_tag(n, hash) | (v & x->mask));
		empty[to] &= empty[to] - 1;
		n->filled++;
	}
	for (; left != 0; left &= left - 1) {
		uint32_t v = atomic_load_explicit(
			&x->slot[line << LINE_BITS | (uint32_t)__builtin_ctz(left)],
			memory_order_relaxed);

		(void)index_insert(n, entry_hash(t, x, line, v), (v & x->mask) - 1);
	}
}

static void
grow_step(struct dest_table *t)
{
	struct index *x = atomic_load_explicit(&t->index, memory_order_relaxed);
	uint32_t lines = (x->mask + 1) >> LINE_BITS;

	if (!index_clear(t->next, CLEAR_STEP))
		return;
	for (unsigned i = 0; i < GROW_STEP; i++)
		line_copy(t, x, t->next_at++);
	if (t->next_at < lines)
		return;
	/* release: pairs with the load in dest_find */
	atomic_store_explicit(&t->index, t->next, memory_order_release);
	t->next = NULL;
	retire_push(t->retired, index_free, t, x);
}

/* Adds a destination to the index, and to the next index if the line was copied. */
static void
index_add(struct dest_table *t, uint64_t hash, uint32_t id)
{
	uint32_t line =
		index_insert(atomic_load_explicit(&t->index, memory_order_relaxed), hash, id);

	if (t->next != NULL && line < t->next_at)
		(void)index_insert(t->next, hash, id);
}

static void
index_drop(struct dest_table *t, uint64_t hash, uint32_t id)
{
	uint32_t line =
		index_remove(atomic_load_explicit(&t->index, memory_order_relaxed), hash, id);

	if (t->next != NULL && line < t->next_at)
		(void)index_remove(t->next, hash, id);
}

/* True if one more destination, of id `limit` or below, needs a larger index. */
static bool
index_is_short(const struct index *x, uint32_t limit)
{
	uint32_t most = (x->mask + 1) / 4 * 3;

	return x->filled >= most || limit >= most;
}

/* Makes room in the index for one more destination. 0, -ENOMEM. */
static int
index_reserve(struct dest_table *t)
{
	const struct index *x = atomic_load_explicit(&t->index, memory_order_relaxed);
	uint32_t limit = atomic_load_explicit(&t->limit, memory_order_relaxed);
	uint32_t size = x->mask + 1;
	unsigned bits;

	if (t->next != NULL && index_is_short(t->next, limit)) {
		index_free(t, t->next); /* it was meant to be smaller */
		t->next = NULL;
	}
	if (t->next != NULL) {
		grow_step(t);
		return 0;
	}
	if (!index_is_short(x, limit))
		return 0;
	/* many slots are GONE: the size stays if there is room for an eighth more */
	bits = limit >= size / 4 * 3 || t->held >= size / 8 * 5 ? x->bits + 1 : x->bits;
	if (bits <= INDEX_BITS_MAX && index_create(t, bits, &t->next) == 0) {
		t->next_at = 0;
		return 0;
	}
	t->next = NULL;
	/*
	 * without memory: continue with longer probes while each probe still ends at an EMPTY slot
	 */
	return x->filled < size / 16 * 15 && limit < size - 2 ? 0 : -ENOMEM;
}

/*
 * After a withdrawal: a smaller index replaces an index that is less than an eighth full, even with
 * all ids below the limit. Also continues the growth of a table without new destinations. True if
 * more is due.
 */
static bool
index_tidy(struct dest_table *t)
{
	const struct index *x = atomic_load_explicit(&t->index, memory_order_relaxed);
	uint32_t limit = atomic_load_explicit(&t->limit, memory_order_relaxed);
	unsigned bits = INDEX_BITS_MIN;

	if (t->next == NULL && x->bits > INDEX_BITS_MIN && limit < (x->mask + 1) / 8) {
		while (1u << bits < 4 * limit)
			bits++;
		if (index_create(t, bits, &t->next) == 0)
			t->next_at = 0;
	}
	for (unsigned i = 0; i < TIDY_STEPS && t->next != NULL; i++)
		grow_step(t);
	return t->next != NULL;
}

/* ---- segments ---- */

/* retire_fn */
static void
block_free(void *ctx, void *p)
{
	struct dest_table *t = ctx;

	arena_free(t->arena, p);
}

#define SEGMENT_OVERHEAD (sizeof(segment_at) + sizeof(struct segment_use))

/* Doubles the arrays with an element a segment. 0, -ENOMEM. */
static int
segments_grow(struct dest_table *t)
{
	segment_at *old = atomic_load_explicit(&t->segments, memory_order_relaxed), *bigger;
	uint32_t size = t->segments_size ? t->segments_size * 2 : 64;
	struct segment_use *use = arena_realloc(t->arena, t->use, size * sizeof(*use));
	uint64_t *room;

	if (use == NULL)
		return -ENOMEM;
	t->use = use;
	room = arena_realloc(t->arena, t->room, size / 64 * sizeof(*room));
	if (room == NULL)
		return -ENOMEM;
	t->room = room;
	bigger = arena_alloc(t->arena, size * sizeof(*bigger));
	if (bigger == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < t->segments_size; i++)
		atomic_init(&bigger[i], atomic_load_explicit(&old[i], memory_order_relaxed));
	for (uint32_t i = t->segments_size; i < size; i++) {
		atomic_init(&bigger[i], vacant_segment());
		use[i] = (struct segment_use){.free = NO_FREE};
	}
	memset(&room[t->segments_size / 64], 0, (size - t->segments_size) / 8);
	/* release: pairs with the load in dest_at */
	atomic_store_explicit(&t->segments, bigger, memory_order_release);
	if (old != NULL)
		retire_push(t->retired, block_free, t, old);
	bytes_add(t, (size - t->segments_size) * SEGMENT_OVERHEAD);
	t->segments_size = size;
	return 0;
}

static void
room_set(struct dest_table *t, uint32_t segment, bool room)
{
	uint64_t bit = 1ull << segment % 64;

	if (room)
		t->room[segment / 64] |= bit;
	else
		t->room[segment / 64] &= ~bit;
}

static size_t
segment_bytes(const struct dest_table *t, uint32_t segment)
{
	return (segment == 0 ? t->first : SEGMENT_DESTS) * t->dest_size;
}

/* Publishes the destinations of the segment. */
static void
segment_set(struct dest_table *t, uint32_t segment, struct destination *d)
{
	/* release: pairs with the load in dest_at; unused destinations are zero */
	atomic_store_explicit(&atomic_load_explicit(&t->segments, memory_order_relaxed)[segment], d,
		memory_order_release);
}

/* Publishes how far the segments reach. */
static void
reach_set(struct dest_table *t)
{
	uint32_t n = t->segment_count;

	/* release: pairs with the load in is_there */
	atomic_store_explicit(
		&t->reach, n == 1 ? t->first : n << SEGMENT_BITS, memory_order_release);
}

/* Allocates the segment. 0, -ENOMEM. */
static int
segment_place(struct dest_table *t, uint32_t segment)
{
	struct destination *d = arena_calloc_touched(t->arena, segment_bytes(t, segment));

	if (d == NULL)
		return -ENOMEM;
	t->use[segment] = (struct segment_use){.free = NO_FREE};
	segment_set(t, segment, d);
	room_set(t, segment, true);
	if (segment == t->segment_count) {
		t->segment_count++;
		reach_set(t);
	}
	bytes_add(t, segment_bytes(t, segment));
	return 0;
}

/* A larger first segment. Other segments come after the growth. 0, -ENOMEM. */
static int
first_grow(struct dest_table *t)
{
	struct destination *old = dest_at(t, 0);
	size_t size = t->first * t->dest_size;
	struct destination *d = arena_calloc_touched(t->arena, FIRST_GROWTH * size);

	if (d == NULL)
		return -ENOMEM;
	memcpy(d, old, size);
	segment_set(t, 0, d);
	t->first *= FIRST_GROWTH;
	reach_set(t);
	bytes_add(t, (FIRST_GROWTH - 1) * size);
	deferred_free_push(&t->sets, old);
	return 0;
}

static bool
segment_is_vacant(const struct dest_table *t, uint32_t segment)
{
	return atomic_load_explicit(
		       &atomic_load_explicit(&t->segments, memory_order_relaxed)[segment],
		       memory_order_relaxed) == vacant_segment();
}

/* Frees a segment without ids in use, after a grace period. Lowers the limit if it was the last. */
static void
segment_vacate(struct dest_table *t, uint32_t segment)
{
	segment_at *at = &atomic_load_explicit(&t->segments, memory_order_relaxed)[segment];
	struct destination *d = atomic_load_explicit(at, memory_order_relaxed);

	/* release: pairs with the load in dest_at */
	atomic_store_explicit(at, vacant_segment(), memory_order_release);
	t->use[segment] = (struct segment_use){.free = NO_FREE};
	room_set(t, segment, false);
	bytes_add(t, -segment_bytes(t, segment));
	deferred_free_push(&t->sets, d);
	if (segment + 1 < t->segment_count)
		return;
	while (t->segment_count > 0 && segment_is_vacant(t, t->segment_count - 1))
		t->segment_count--;
	/* a reader with the old limit or reach finds unused destinations */
	atomic_store_explicit(&t->limit,
		t->segment_count == 0 ? 0
				      : (t->segment_count - 1) * SEGMENT_DESTS +
						t->use[t->segment_count - 1].given,
		memory_order_release);
	reach_set(t);
}

/* The lowest segment with a free id, allocated if necessary. False: out of memory. */
static bool
segment_open(struct dest_table *t)
{
	uint32_t i = 0;

	for (; i < t->segment_count / 64 + 1 && i < t->segments_size / 64; i++) {
		if (t->room[i] == 0)
			continue;
		t->filling = i * 64 + (uint32_t)__builtin_ctzll(t->room[i]);
		return true;
	}
	for (i = 0; i < t->segment_count && !segment_is_vacant(t, i); i++)
		;
	if (i >= ID_NIL / SEGMENT_DESTS - 1 || (i == t->segments_size && segments_grow(t) < 0) ||
		segment_place(t, i) < 0)
		return false;
	t->filling = i;
	return true;
}

/* A free id with a segment, not yet taken. DEST_NONE: out of memory. */
static uint32_t
id_reserve(struct dest_table *t)
{
	const struct segment_use *use;

	if ((t->filling >= t->segment_count || t->use[t->filling].held == SEGMENT_DESTS ||
		    segment_is_vacant(t, t->filling)) &&
		!segment_open(t))
		return DEST_NONE;
	use = &t->use[t->filling];
	if (use->free == NO_FREE && t->filling == 0 && use->given == t->first && first_grow(t) < 0)
		return DEST_NONE;
	return t->filling << SEGMENT_BITS | (use->free != NO_FREE ? use->free : use->given);
}

/* Takes the id of id_reserve(). */
static void
id_take(struct dest_table *t, uint32_t id)
{
	struct segment_use *use = &t->use[id >> SEGMENT_BITS];

	if (use->free != NO_FREE)
		use->free = (uint16_t)link_after(word_of(dest_at(t, id)));
	else
		use->given++;
	if (++use->held == SEGMENT_DESTS)
		room_set(t, id >> SEGMENT_BITS, false);
}

static void
length_add(struct dest_table *t, unsigned len)
{
	if (t->in_length[len]++ == 0)
		/*
		 * release: pairs with the load in dest_longest; comes before the entry in the index
		 */
		atomic_fetch_or_explicit(
			&t->lengths[len / 64], 1ull << len % 64, memory_order_release);
}

static void
length_remove(struct dest_table *t, unsigned len)
{
	if (--t->in_length[len] == 0)
		atomic_fetch_and_explicit(
			&t->lengths[len / 64], ~(1ull << len % 64), memory_order_release);
}

/* retire_fn of ids: after the grace period no reader holds the id */
static void
id_free(void *ctx, void *p)
{
	struct dest_table *t = ctx;
	uint32_t id = (uint32_t)(uintptr_t)p, segment = id >> SEGMENT_BITS;
	struct segment_use *use = &t->use[segment];

	word_set(dest_at(t, id), link_word(ID_NIL, use->free));
	use->free = (uint16_t)(id & (SEGMENT_DESTS - 1));
	if (--use->held == 0)
		segment_vacate(t, segment);
	else
		room_set(t, segment, true);
	if (segment < t->filling)
		t->filling = segment;
}

/* ---- the table ---- */

void
dest_table_destroy(struct dest_table *t)
{
	segment_at *segments;
	uint32_t limit;

	if (t == NULL)
		return;
	deferred_free_fini(&t->ids); /* frees segments by `sets` */
	deferred_free_fini(&t->sets);
	if (t->retired != NULL)
		retire_list_destroy(t->retired);
	limit = atomic_load_explicit(&t->limit, memory_order_relaxed);
	for (uint32_t id = 0; id < limit; id++) {
		uint64_t word = word_of(dest_at(t, id));
		if (word_is_wide(word))
			block_free(t, word_wide(word)->tail);
		if ((word & (LINK | INLINE)) == 0 &&
			(!(word & PACKED) || --((struct packed_set *)word_block(word))->refs == 0))
			block_free(t, word_block(word));
	}
	for (unsigned i = 0; i <= PATHS_PACKED_MAX; i++)
		arena_free(t->arena, t->draft[i]);
	segments = atomic_load_explicit(&t->segments, memory_order_relaxed);
	for (uint32_t i = 0; i < t->segment_count; i++)
		if (!segment_is_vacant(t, i))
			arena_free(
				t->arena, atomic_load_explicit(&segments[i], memory_order_relaxed));
	arena_free(t->arena, segments);
	arena_free(t->arena, t->use);
	arena_free(t->arena, t->room);
	if (t->next != NULL)
		index_free(t, t->next);
	if (atomic_load_explicit(&t->index, memory_order_relaxed) != NULL)
		index_free(t, atomic_load_explicit(&t->index, memory_order_relaxed));
	arena_free(t->arena, t);
}

static int
table_create(struct arena *a, struct qsbr *readers, enum afi afi, bool vpn, struct dest_table **out)
{
	struct dest_table *t = arena_alloc_aligned(a, CACHE_LINE, sizeof(*t));
	struct index *x;

	if (t == NULL)
		return -ENOMEM;
	memset(t, 0, sizeof(*t));
	t->arena = a;
	t->afi = afi;
	t->max_len = prefix_max_len(afi);
	t->addr_len = t->max_len / 8;
	t->tight_from = DEST_TIGHT_NEVER;
	t->first = FIRST_MIN;
	t->dest_size = afi == AFI_IPV4 ? DEST_BYTES_IPV4 : DEST_BYTES_IPV6;
	if (vpn) {
		t->rd_at = (unsigned)t->dest_size;
		t->dest_size += sizeof(struct vpn_rd);
	}
	t->oldest = t->newest = t->newborn = ID_NIL;
	atomic_init(&t->bytes, sizeof(*t));
	deferred_free_init(&t->sets, a, readers, block_free, t);
	deferred_free_init(&t->ids, a, readers, id_free, t);
	if (retire_list_create(a, readers, 8, &t->retired) < 0 ||
		index_create(t, INDEX_BITS_MIN, &x) < 0) {
		dest_table_destroy(t);
		return -ENOMEM;
	}
	index_clear(x, x->mask + 1);
	atomic_init(&t->index, x);
	*out = t;
	return 0;
}

int
dest_table_create(struct arena *a, struct qsbr *readers, enum afi afi, struct dest_table **out)
{
	return table_create(a, readers, afi, false, out);
}

int
dest_table_create_vpn(struct arena *a, struct qsbr *readers, enum afi afi, struct dest_table **out)
{
	return table_create(a, readers, afi, true, out);
}

int
dest_get(struct dest_table *t, const struct prefix *p, struct dest_id *out)
{
	return dest_get_rd(t, (struct vpn_rd){0}, p, out);
}

int
dest_get_rd(struct dest_table *t, struct vpn_rd rd, const struct prefix *p, struct dest_id *out)
{
	return dest_get_hashed(t, rd, p, dest_key_hash(t, rd, p), out);
}

int
dest_get_hashed(struct dest_table *t, struct vpn_rd rd, const struct prefix *p, uint64_t hash,
	struct dest_id *out)
{
	struct destination *d;
	uint32_t id, steps;

	if (p->afi != t->afi || p->len > t->max_len || (rd.v != 0 && t->rd_at == 0))
		return -EINVAL;
	out->v = index_find(
		t, atomic_load_explicit(&t->index, memory_order_relaxed), rd, p, hash, &steps);
	hash_probes_add(&t->probes, steps);
	if (out->v != DEST_NONE)
		return 0;
	id = id_reserve(t);
	if (id == DEST_NONE || index_reserve(t) < 0)
		return -ENOMEM;
	d = dest_at(t, id);
	id_take(t, id);
	memcpy(d->b, p->b, t->addr_len);
	if (t->rd_at != 0)
		memcpy((uint8_t *)d + t->rd_at, &rd, sizeof(rd));
	d->len = p->len;
	d->fresh = 1;
	atomic_store_explicit(&d->sequence, 0, memory_order_relaxed);
	newborn_link(t);
	word_set(d, link_word(ID_NIL, ID_NIL));
	t->newborn = id;
	/* release: pairs with the load in dest_used */
	atomic_store_explicit(&d->used, USED, memory_order_release);
	length_add(t, p->len);
	t->held++;
	index_add(t, hash, id);
	if (id >= atomic_load_explicit(&t->limit, memory_order_relaxed))
		/* release: pairs with the load in dest_limit */
		atomic_store_explicit(&t->limit, id + 1, memory_order_release);
	out->v = id;
	return 0;
}

struct path_set *
path_set_alloc(struct dest_table *t, unsigned count)
{
	struct path_set *s = NULL;

	if (count <= PATHS_PACKED_MAX) {
		s = t->draft[count];
		t->draft[count] = NULL;
	}
	if (s == NULL)
		s = arena_alloc(t->arena, set_size(count));
	if (s != NULL)
		*s = (struct path_set){.count = (uint16_t)count};
	return s;
}

static void
draft_put(struct dest_table *t, struct path_set *s)
{
	if (s->count <= PATHS_PACKED_MAX && t->draft[s->count] == NULL)
		t->draft[s->count] = s;
	else
		arena_free(t->arena, s);
}

/* A block whose address fits into a word, or NULL. */
static void *
block_alloc(struct dest_table *t, size_t size)
{
	void *p = arena_alloc(t->arena, size);

	if (p == NULL || ((uintptr_t)p & ~BLOCK_MASK) == 0)
		return p;
	arena_free(t->arena, p);
	return NULL;
}

/* The INLINE or PACKED word of a front of at most PATHS_PACKED_MAX paths; 0 without memory. */
static uint64_t
front_word(struct dest_table *t, const struct front *f)
{
	uint64_t word = front_inline(f);
	bool changed = front_changed(f), labelled = front_labelled(f, f->count);
	struct packed_set *to;
	uint32_t *received, *label;

	if (word != 0)
		return word;
	to = block_alloc(t, packed_size(f->count, changed, labelled));
	if (to == NULL)
		return 0;
	word = PACKED | (uint64_t)f->count << COUNT_AT | (uint64_t)f->eligible << ELIGIBLE_AT |
	       (uint64_t)f->multipath << MULTIPATH_AT | (uintptr_t)to | (changed ? CHANGED : 0) |
	       (labelled ? LABELLED : 0);
	to->refs = 0;
	for (unsigned i = 0; i < f->count; i++)
		packed_copy(&to->path[i], &f->path[i]);
	received = packed_received(to, word);
	if (received != NULL)
		memcpy(received, f->received, f->count * sizeof(*received));
	label = packed_labels(to, word);
	if (label != NULL)
		memcpy(label, f->label, f->count * sizeof(*label));
	return word;
}

/* ---- wide sets ---- */

/*
 * Room for at least `count` entries and some more, up to the end of jemalloc's size class. NULL
 * without memory.
 */
static struct path_tail *
tail_alloc(struct dest_table *t, unsigned count, bool changed)
{
	size_t bytes = tail_bytes(count + 1, changed), step = 16;
	struct path_tail *tail;

	while (step * 8 < bytes)
		step *= 2;
	bytes = (bytes + step - 1) / step * step;
	count = (unsigned)((bytes - sizeof(*tail)) / (tail_bytes(1, changed) - sizeof(*tail)));
	if (count > TAIL_MAX)
		return NULL;
	tail = arena_alloc(t->arena, tail_bytes(count, changed));
	if (tail != NULL)
		*tail = (struct path_tail){.size = (uint16_t)count, .changed = changed};
	return tail;
}

/* Writes entry `i` of the tail, which no reader sees yet. Reads nothing of the tail. */
static void
tail_init(struct wide_set *w, unsigned i, const struct packed_path *p, uint32_t received)
{
	struct dest_tail_peer *peer = &tail_peers_of(w->tail, w->tail_size)[i];

	peer->peer = p->peer;
	atomic_init(&peer->epoch, atomic_load_explicit(&p->epoch, memory_order_relaxed));
	atomic_init(&w->tail->body[i], body_of(p->set_flags, p->time_s));
	if (w->changed)
		tail_received(w->tail)[i] = received;
}

/* Stores a path of the entry's peer in entry `i`, which readers see. */
static void
tail_fill(struct path_tail *t, unsigned i, uint64_t body, uint16_t epoch)
{
	atomic_store_explicit(&tail_peers(t)[i].epoch, epoch, memory_order_relaxed);
	/* release: pairs with the load in tail_path */
	atomic_store_explicit(&t->body[i], body, memory_order_release);
}

static bool
tail_is_hole(const struct path_tail *t, unsigned i)
{
	return atomic_load_explicit(&t->body[i], memory_order_relaxed) == 0;
}

/* Copies `count` entries without holes and entry `removed`; returns the number of copies. */
static unsigned
tail_copy(struct path_tail *to, struct path_tail *from, unsigned count, unsigned removed)
{
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++) {
		uint64_t body = atomic_load_explicit(&from->body[i], memory_order_relaxed);

		if (body == 0 || i == removed)
			continue;
		atomic_init(&to->body[n], body);
		tail_peers(to)[n].peer = tail_peers(from)[i].peer;
		atomic_init(&tail_peers(to)[n].epoch,
			atomic_load_explicit(&tail_peers(from)[i].epoch, memory_order_relaxed));
		if (to->changed)
			tail_received(to)[n] = tail_received(from)[i];
		n++;
	}
	return n;
}

static uint64_t
peer_bit(unsigned peer)
{
	return 1ull << peer % 64;
}

/* A wide set with this front, and no tail yet; NULL without memory. */
static struct wide_set *
wide_alloc(struct dest_table *t, const struct front *f, bool changed)
{
	struct wide_set *w = block_alloc(t, wide_bytes(changed));

	if (w == NULL)
		return NULL;
	*w = (struct wide_set){.changed = changed,
		.count = (uint8_t)f->count,
		.eligible = (uint8_t)f->eligible,
		.multipath = (uint8_t)f->multipath};
	for (unsigned i = 0; i < f->count; i++)
		packed_copy(&w->path[i], &f->path[i]);
	if (changed)
		memcpy(wide_received(w), f->received, f->count * sizeof(uint32_t));
	return w;
}

static void
wide_note(struct wide_set *w, const struct packed_path *p)
{
	w->peers |= peer_bit(p->peer);
	w->med |= (p->set_flags & PACKED_MED) != 0;
}

static uint64_t
wide_word(const struct wide_set *w, unsigned entries)
{
	return WIDE | (uintptr_t)w | (uint64_t)entries << COUNT_AT;
}

/* True if all paths of the set are common, without labels, and in the order of the classes. */
static bool
set_is_plain(const struct path_set *s, bool *changed)
{
	for (unsigned i = 0; i < s->count; i++) {
		uint32_t flags = path_pack(&s->path[i], changed);

		if (flags == 0 || packed_eligible(flags) != (i < s->eligible) ||
			path_label(&s->path[i]) != PATH_LABEL_NONE)
			return false;
	}
	return true;
}

/* The WIDE word of a set; 0 if the set stays as is. */
static uint64_t
set_widen(struct dest_table *t, const struct path_set *s)
{
	struct front f = {
		.eligible = at_most(s->eligible, PATHS_PACKED_MAX), .multipath = s->multipath};
	unsigned behind = s->count - PATHS_PACKED_MAX;
	bool changed = false;
	struct wide_set *w;

	if (s->multipath >= PATHS_PACKED_MAX || !set_is_plain(s, &changed))
		return 0;
	for (; f.count < PATHS_PACKED_MAX; f.count++)
		(void)front_put(&f, f.count, &s->path[f.count]);
	w = wide_alloc(t, &f, changed);
	if (w == NULL)
		return 0;
	w->tail = tail_alloc(t, behind, changed);
	if (w->tail == NULL) {
		arena_free(t->arena, w);
		return 0;
	}
	w->tail_size = w->tail->size;
	for (unsigned i = 0; i < behind; i++) {
		const struct rib_path *p = &s->path[PATHS_PACKED_MAX + i];

		(void)front_put(&f, 0, p);
		tail_init(w, i, &f.path[0], p->received.v);
		wide_note(w, &f.path[0]);
	}
	return wide_word(w, behind);
}

/* The INLINE or PACKED word of a set; 0 if the set stays as is (an uncommon path, or no memory). */
static uint64_t
set_pack(struct dest_table *t, const struct path_set *s)
{
	struct front f = {.count = s->count, .eligible = s->eligible, .multipath = s->multipath};

	for (unsigned i = 0; i < s->count; i++)
		if (!front_put(&f, i, &s->path[i]))
			return 0;
	return front_word(t, &f);
}

/* Encodes a set as a word. The caller's set is reused, or becomes the published set. */
static uint64_t
set_keep(struct dest_table *t, struct path_set *s)
{
	uint64_t word = s->count > PATHS_PACKED_MAX ? set_widen(t, s) : set_pack(t, s);

	if (word != 0)
		draft_put(t, s);
	else
		word = (uintptr_t)s;
	bytes_add(t, word_size(word));
	return word;
}

static void
word_hold(uint64_t word)
{
	if ((word & (LINK | PACKED)) == PACKED)
		((struct packed_set *)word_block(word))->refs++;
}

/* Drops a reference; the last reference retires the set. */
static void
word_drop(struct dest_table *t, uint64_t word)
{
	if (word & (LINK | INLINE))
		return;
	if ((word & PACKED) && --((struct packed_set *)word_block(word))->refs > 0)
		return;
	bytes_add(t, -word_size(word));
	if (word_is_wide(word))
		deferred_free_push(&t->sets, word_wide(word)->tail);
	deferred_free_push(&t->sets, word_block(word));
}

/* Publishes `word`; 0: links. */
static void
replace(struct dest_table *t, uint32_t id, uint64_t word, uint32_t time_s)
{
	struct destination *d = dest_at(t, id);
	uint64_t old = word_of(d);
	bool had = (old & LINK) == 0;

	if (word != 0) {
		word_hold(word);
		count_add(&t->path_count, word_count(word));
		atomic_store_explicit(&d->time_s, time_s, memory_order_relaxed);
		word_set(d, word);
	} else if (d->fresh) {
		tombstone_link(t, id, ID_NIL, t->oldest);
	} else {
		tombstone_link(t, id, t->newest, ID_NIL);
		count_add(&t->tombstones, 1);
	}
	count_add(&t->count, (word != 0) - (uint32_t)had);
	if (had) {
		count_add(&t->path_count, -(uint32_t)word_count(old));
		word_drop(t, old);
	}
}

bool
dest_stamp(struct dest_table *t, struct dest_id id, unsigned index, uint16_t epoch)
{
	struct destination *d = dest_at(t, id.v);
	uint64_t word = word_of(d);
	struct rib_path *p;

	/* relaxed: a stamp does not order anything */
	if (word & INLINE) {
		word_set(d, (word & ~INLINE_EPOCH_MASK) | (uint64_t)epoch << INLINE_EPOCH_AT);
	} else if (word & PACKED) {
		struct packed_set *s = word_block(word);

		if (s->refs > 1)
			return false;
		atomic_store_explicit(&s->path[index].epoch, epoch, memory_order_relaxed);
	} else if (word & WIDE) {
		struct wide_set *w = word_wide(word);

		atomic_store_explicit(
			index < PATHS_PACKED_MAX
				? &w->path[index].epoch
				: &tail_peers(w->tail)[index - PATHS_PACKED_MAX].epoch,
			epoch, memory_order_relaxed);
	} else {
		p = &((struct path_set *)word_block(word))->path[index];
		atomic_store_explicit(&p->epoch, epoch, memory_order_relaxed);
	}
	return true;
}

static void
fib_state_set(struct destination *d, enum dest_fib state)
{
	/* release: pairs with the load in peek; the sequence is stored first */
	atomic_store_explicit(
		&d->used, (uint8_t)(USED | (unsigned)state << FIB_AT), memory_order_release);
}

/* Takes destination `id` out of the list of tombstones. */
static void
tombstone_revive(struct dest_table *t, uint32_t id)
{
	struct destination *d = dest_at(t, id);

	if (id == t->newborn)
		t->newborn = ID_NIL;
	else
		tombstone_unlink(t, id);
	if (!d->fresh)
		count_add(&t->tombstones, -1u);
	if (d->len >= t->tight_from)
		fib_state_set(d, DEST_ASKED);
}

/* Takes destination `id` out of the list of tombstones if it is in the list. */
static inline void
revive(struct dest_table *t, uint32_t id)
{
	if (word_of(dest_at(t, id)) & LINK)
		tombstone_revive(t, id);
}

static void
sequence_set(struct destination *d, uint64_t sequence)
{
	d->fresh = 0;
	d->sequence_high = (uint16_t)(sequence >> 32 & 0x7fff);
	/* before the word: a reader of the new paths sees a sequence at least as new */
	atomic_store_explicit(&d->sequence, (uint32_t)sequence, memory_order_relaxed);
}

/* ---- edits of one path ---- */

/* Prefetches what tail_init() will write. */
static void
tail_prefetch(uint64_t word)
{
	const struct wide_set *w = word_wide(word);

	__builtin_prefetch(
		(const void *)((uintptr_t)w->tail->body + wide_entries(word) * sizeof(tail_body)),
		1);
	__builtin_prefetch(&tail_peers_of(w->tail, w->tail_size)[wide_entries(word)], 1);
}

struct dest_tail
dest_tail_of(const struct dest_table *t, struct dest_id id)
{
	uint64_t word = word_of(dest_at(t, id.v));
	struct wide_set *w;

	if (!word_is_wide(word))
		return (struct dest_tail){.entries = 0};
	w = word_wide(word);
	tail_prefetch(word);
	return (struct dest_tail){.peers = tail_peers_of(w->tail, w->tail_size),
		.peer_mask = w->peers,
		.entries = wide_entries(word),
		.paths = wide_entries(word) - w->holes,
		.med = w->med,
		.front_key = &w->key};
}

bool
dest_tail_path(const struct dest_table *t, struct dest_id id, unsigned entry, struct rib_path *out)
{
	return tail_path(word_wide(word_of(dest_at(t, id.v)))->tail, entry, out);
}

/* The entry of the peer, `hole` or not; TAIL_MAX: none. */
static unsigned
tail_find(uint64_t word, uint16_t peer, bool hole)
{
	const struct wide_set *w = word_wide(word);
	const struct dest_tail_peer *p = tail_peers_of(w->tail, w->tail_size);
	unsigned n = wide_entries(word);

	if (!(w->peers & peer_bit(peer)))
		return TAIL_MAX;
	for (unsigned i = 0; i < n; i++)
		if (p[i].peer == peer && tail_is_hole(w->tail, i) == hole)
			return i;
	return TAIL_MAX;
}

unsigned
dest_tail_find(
	const struct dest_table *t, struct dest_id id, struct peer_id peer, struct rib_path *out)
{
	uint64_t word = word_of(dest_at(t, id.v));
	unsigned i = word_is_wide(word) ? tail_find(word, peer.v, false) : TAIL_MAX;

	if (i == TAIL_MAX)
		return DEST_NO_PATH;
	(void)tail_path(word_wide(word)->tail, i, out);
	return PATHS_PACKED_MAX + i;
}

/* The counts of the next front. */
static void
front_settle(struct front *f, unsigned multipath)
{
	f->multipath = multipath;
	for (f->eligible = 0; f->eligible < f->count; f->eligible++)
		if (!packed_eligible(f->path[f->eligible].set_flags))
			break;
}

/* Where the next path of the tail goes, and what leaves the tail. */
struct tail_edit {
	struct wide_set *old; /* NULL: no tail yet */
	unsigned entries; /* of the old tail */
	unsigned removed; /* entry; DEST_NO_PATH: none */
	const struct packed_path *added; /* NULL: none */
	uint32_t received; /* of `added` */
};

/* Without a copy: the added path takes the entry that the peer has or had. */
static void
tail_refill(const struct dest_table *t, uint64_t word, struct tail_edit *e, struct dest_change *c)
{
	unsigned entry = TAIL_MAX;

	/* two stores are not atomic for readers */
	if (e->added == NULL || e->old == NULL || e->old->changed)
		return;
	if (e->removed != DEST_NO_PATH &&
		tail_peers(e->old->tail)[e->removed].peer == e->added->peer) {
		entry = e->removed;
		e->removed = DEST_NO_PATH;
	} else {
		entry = tail_find(word, e->added->peer, true);
		c->holes -= entry != TAIL_MAX;
	}
	if (entry == TAIL_MAX)
		return;
	c->fill = entry;
	c->body = body_of(e->added->set_flags, e->added->time_s);
	c->epoch = atomic_load_explicit(&e->added->epoch, memory_order_relaxed);
	wide_note(e->old, e->added);
	e->added = NULL;
}

/*
 * The next wide set: the old set if the front stays and the tail has room, else a new set. 0,
 * -ENOMEM.
 */
static int
wide_edit(struct dest_table *t, struct front *f, uint64_t word, bool front_stays, bool changed,
	struct tail_edit *e, struct dest_change *c)
{
	struct path_tail *tail = e->old != NULL ? e->old->tail : NULL, *grown = NULL;
	struct wide_set *w = e->old;
	unsigned entries = e->entries;

	if (e->added != NULL && (tail == NULL || entries == e->old->tail_size)) {
		grown = tail_alloc(t, entries - c->holes + 1, changed);
		if (grown == NULL)
			return -ENOMEM;
	}
	if (!front_stays || grown != NULL || w == NULL) {
		struct front same;

		if (front_stays)
			front_load(&same, word, 0);
		w = wide_alloc(t, front_stays ? &same : f, changed);
		if (w == NULL) {
			arena_free(t->arena, grown);
			return -ENOMEM;
		}
		w->peers = e->old != NULL ? e->old->peers : 0;
		w->med = e->old != NULL && e->old->med;
		w->tail = tail;
		w->tail_size = tail != NULL ? e->old->tail_size : 0;
	}
	if (grown != NULL) {
		entries = tail != NULL ? tail_copy(grown, tail, entries, e->removed) : 0;
		w->tail = grown;
		w->tail_size = grown->size;
		c->holes = 0;
		e->removed = DEST_NO_PATH;
	}
	if (e->added != NULL) {
		tail_init(w, entries++, e->added, e->received);
		wide_note(w, e->added);
	}
	c->hole = e->removed;
	c->holes += e->removed != DEST_NO_PATH;
	c->word = wide_word(w, entries);
	return 0;
}

int
dest_edit_begin(
	struct dest_table *t, struct dest_id id, const struct dest_edit *e, struct dest_change *c)
{
	const struct destination *d = dest_at(t, id.v);
	uint64_t word = word_of(d);
	struct tail_edit tail = {.removed = DEST_NO_PATH};
	bool front_stays =
		word_is_wide(word) && e->remove >= PATHS_PACKED_MAX && e->insert > PATHS_PACKED_MAX;
	uint32_t time_s = atomic_load_explicit(&d->time_s, memory_order_relaxed);
	unsigned paths = 0;
	bool changed;
	struct front f;

	*c = (struct dest_change){.fill = DEST_NO_PATH, .hole = DEST_NO_PATH};
	if ((word & KIND_BITS) == 0)
		return -ENOTSUP;
	f.count = f.eligible = f.multipath = 0;
	f.labelled = false;
	if (!front_stays)
		front_load(&f, word, time_s);
	if (word_is_wide(word)) {
		tail.old = word_wide(word);
		tail.entries = wide_entries(word);
		c->holes = tail.old->holes;
		paths = tail.entries - c->holes;
	}
	if (e->remove < PATHS_PACKED_MAX) {
		front_remove(&f, e->remove);
	} else if (e->remove != DEST_NO_PATH) {
		tail.removed = e->remove - PATHS_PACKED_MAX;
		paths--;
	}
	if (e->insert <= PATHS_PACKED_MAX)
		front_open(&f, e->insert);
	if (e->insert != DEST_NO_PATH &&
		!front_put(&f, e->insert == DEST_BEHIND ? f.count : e->insert, &e->path))
		return -ENOTSUP;
	if (e->insert == DEST_BEHIND || f.count > PATHS_PACKED_MAX) {
		f.count = at_most(f.count, PATHS_PACKED_MAX);
		tail.added = &f.path[f.count];
		tail.received = f.received[f.count];
		paths++;
	}
	if (!front_stays)
		front_settle(&f, e->multipath);
	c->paths = (e->insert != DEST_NO_PATH) - (e->remove != DEST_NO_PATH);
	if (paths == 0) {
		if (front_stays)
			front_load(&f, word, time_s);
		c->time_s = f.path[0].time_s;
		c->word = f.count > 0 ? front_word(t, &f) : 0;
		return c->word != 0 ? 0 : f.count > 0 ? -ENOMEM : -ENOTSUP;
	}
	/* a wide set has no labels */
	if (front_labelled(&f, f.count + (tail.added != NULL)))
		return -ENOTSUP;
	changed = front_changed(&f) ||
		  (tail.added != NULL && tail.received != packed_kept(tail.added));
	if (f.multipath >= PATHS_PACKED_MAX || (tail.old != NULL && changed && !tail.old->changed))
		return -ENOTSUP;
	if (tail.old != NULL)
		changed = tail.old->changed;
	tail_refill(t, word, &tail, c);
	return wide_edit(t, &f, word, front_stays, changed, &tail, c);
}

/* Frees the set of `old` except parts in use by `now`. */
static void
set_replaced(struct dest_table *t, uint64_t old, uint64_t now)
{
	if (word_block(old) == word_block(now) && word_is_wide(old))
		return;
	if (!word_is_wide(old)) {
		word_drop(t, old);
		return;
	}
	bytes_add(t, -word_size(old));
	if (!word_is_wide(now) || word_wide(now)->tail != word_wide(old)->tail)
		deferred_free_push(&t->sets, word_wide(old)->tail);
	deferred_free_push(&t->sets, word_wide(old));
}

void
dest_edit_end(
	struct dest_table *t, struct dest_id id, const struct dest_change *c, uint64_t sequence)
{
	struct destination *d = dest_at(t, id.v);
	uint64_t old;

	revive(t, id.v);
	if (sequence != 0)
		sequence_set(d, sequence);
	old = word_of(d);
	/*
	 * a reader finds a path that moves twice or in the old place, never not at all; the path of
	 * the front counts (dest_peek_all)
	 */
	if (c->fill != DEST_NO_PATH)
		tail_fill(word_wide(c->word)->tail, c->fill, c->body, c->epoch);
	if (c->word != old) {
		word_hold(c->word);
		if (!word_is_wide(old) || word_block(c->word) != word_block(old))
			bytes_add(t, word_size(c->word));
		atomic_store_explicit(&d->time_s, c->time_s, memory_order_relaxed);
		word_set(d, c->word);
	}
	if (c->hole != DEST_NO_PATH)
		/* relaxed: after the word; no reader misses the path (dest_peek_all) */
		atomic_store_explicit(
			&word_wide(c->word)->tail->body[c->hole], 0, memory_order_release);
	if (word_is_wide(c->word))
		word_wide(c->word)->holes = c->holes;
	count_add(&t->path_count, (uint32_t)c->paths);
	count_add(&t->count, (old & LINK) != 0);
	if (c->word != old && !(old & LINK))
		set_replaced(t, old, c->word);
}

static void
publish(struct dest_table *t, uint32_t id, struct path_set *paths)
{
	uint32_t time_s = paths != NULL ? paths->path[0].time_s : 0;

	replace(t, id, paths != NULL ? set_keep(t, paths) : 0, time_s);
}

void
dest_publish(struct dest_table *t, struct dest_id id, struct path_set *paths, uint64_t sequence)
{
	revive(t, id.v);
	sequence_set(dest_at(t, id.v), sequence);
	publish(t, id.v, paths);
}

void
dest_publish_quiet(struct dest_table *t, struct dest_id id, struct path_set *paths)
{
	revive(t, id.v);
	publish(t, id.v, paths);
}

void
dest_fib_set(struct dest_table *t, struct dest_id id, enum dest_fib state, uint64_t sequence)
{
	struct destination *d = dest_at(t, id.v);

	if (sequence != 0)
		sequence_set(d, sequence);
	fib_state_set(d, state);
}

enum dest_fib
dest_fib_get(const struct dest_table *t, struct dest_id id)
{
	return (enum dest_fib)(
		atomic_load_explicit(&dest_at(t, id.v)->used, memory_order_relaxed) >> FIB_AT);
}

void
dest_tight(struct dest_table *t, unsigned from_len)
{
	t->tight_from = from_len;
}

struct dest_ref
dest_ref_take(struct dest_table *t, struct dest_id id)
{
	const struct destination *d = dest_at(t, id.v);
	uint64_t word = word_of(d);
	uint32_t time_s = 0;

	if (word & LINK)
		return (struct dest_ref){.word = LINK};
	/* a set without a reference count has a single owner */
	if (!(word & (INLINE | PACKED))) /* also WIDE */
		return (struct dest_ref){0};
	if (word & INLINE)
		time_s = atomic_load_explicit(&d->time_s, memory_order_relaxed);
	word_hold(word);
	return (struct dest_ref){word, time_s};
}

void
dest_ref_drop(struct dest_table *t, struct dest_ref *r)
{
	if (r->word != 0)
		word_drop(t, r->word);
	*r = (struct dest_ref){0};
}

bool
dest_ref_is(const struct dest_table *t, struct dest_id id, const struct dest_ref *r)
{
	const struct destination *d = dest_at(t, id.v);

	if (r->word == LINK)
		return word_of(d) & LINK;
	return r->word != 0 && word_of(d) == r->word &&
	       (!(r->word & INLINE) ||
		       atomic_load_explicit(&d->time_s, memory_order_relaxed) == r->time_s);
}

void
dest_publish_ref(
	struct dest_table *t, struct dest_id id, const struct dest_ref *r, uint64_t sequence)
{
	revive(t, id.v);
	if (sequence != 0)
		sequence_set(dest_at(t, id.v), sequence);
	replace(t, id.v, r->word == LINK ? 0 : r->word, r->time_s);
}

static void
tombstone_drop(struct dest_table *t, uint32_t id)
{
	struct destination *d = dest_at(t, id);
	uint64_t hash = dest_hash(t, d);

	tombstone_unlink(t, id);
	if (!d->fresh)
		count_add(&t->tombstones, -1u);
	index_drop(t, hash, id);
	length_remove(t, d->len);
	t->held--;
	/* release: pairs with the load in dest_used */
	atomic_store_explicit(&d->used, 0, memory_order_release);
	deferred_free_push(&t->ids, (void *)(uintptr_t)id);
}

static bool
tombstone_passed(const struct dest_table *t, uint32_t id, uint64_t safe_sequence)
{
	const struct destination *d = dest_at(t, id);
	uint64_t sequence = (uint64_t)d->sequence_high << 32 |
			    atomic_load_explicit(&d->sequence, memory_order_relaxed);

	/* by the low 47 bits: a million changes a second take two years to make 2^46 */
	return d->fresh || (int64_t)((safe_sequence - sequence) << 17) > 0;
}

/* A call takes some 0.1 ms: two cache misses a tombstone, and freeing two chunks of sets. */
#define RECLAIM_TOMBSTONES 512
#define RECLAIM_CHUNKS 2

bool
dest_reclaim(struct dest_table *t, uint64_t safe_sequence)
{
	bool more = deferred_free_reclaim(&t->sets, RECLAIM_CHUNKS);

	more |= deferred_free_reclaim(&t->ids, RECLAIM_CHUNKS);
	retire_reclaim(t->retired, 8);
	more |= index_tidy(t);
	newborn_link(t);
	for (unsigned n = 0; t->oldest != ID_NIL && tombstone_passed(t, t->oldest, safe_sequence);
		n++) {
		if (n == RECLAIM_TOMBSTONES)
			return true;
		tombstone_drop(t, t->oldest);
	}
	if (t->segment_count <= 1) {
		deferred_free_rest(&t->sets);
		deferred_free_rest(&t->ids);
	}
	return more;
}

bool
dest_at_rest(const struct dest_table *t)
{
	return t->oldest == ID_NIL && t->newborn == ID_NIL && t->next == NULL &&
	       deferred_free_idle(&t->sets) && deferred_free_idle(&t->ids) &&
	       retire_pending(t->retired) == 0;
}

bool
dest_behind(const struct dest_table *t)
{
	return deferred_free_behind(&t->sets) || deferred_free_behind(&t->ids);
}

/* ---- readers ---- */

uint32_t
dest_limit(const struct dest_table *t)
{
	/* acquire: pairs with the release store in dest_get */
	return atomic_load_explicit(&t->limit, memory_order_acquire);
}

/* True if `id` has a segment; the id may be unused. */
static bool
is_there(const struct dest_table *t, struct dest_id id)
{
	/* acquire: pairs with the release store in id_reserve */
	return id.v < atomic_load_explicit(&t->reach, memory_order_acquire);
}

static inline uint64_t
word_identity(uint64_t word)
{
	if (word & LINK || word_is_wide(word))
		return 0;
	return word & INLINE ? word & ~INLINE_EPOCH_MASK : word;
}

/* NULL: the id is free. */
static inline const struct destination *
dest_used(const struct dest_table *t, struct dest_id id)
{
	const struct destination *d;

	if (!is_there(t, id))
		return NULL;
	d = dest_at(t, id.v);
	/* acquire: pairs with the release store in dest_get */
	return atomic_load_explicit(&d->used, memory_order_acquire) ? d : NULL;
}

bool
dest_hint_prefix(const struct dest_table *t, struct dest_id id, struct prefix *out)
{
	const struct destination *d = dest_used(t, id);

	if (d != NULL)
		dest_prefix(t, d, out);
	return d != NULL;
}

/* *read: the word. */
static inline bool
peek(const struct dest_table *t, struct dest_id id, unsigned most, struct dest_view *out,
	uint64_t *read)
{
	const struct destination *d = dest_used(t, id);
	uint64_t word;

	if (d == NULL)
		return false;
	dest_prefix(t, d, &out->prefix);
	out->rd = dest_rd(t, d);
	/*
	 * acquire: pairs with the release store in word_set. The sequence is loaded afterwards, so
	 * the sequence may be newer than the paths (then a later journal entry follows) but never
	 * older.
	 */
	word = atomic_load_explicit(&d->word, memory_order_acquire);
	out->paths = word_paths(d, word, most, &out->room);
	out->ordered = out->paths != NULL ? out->paths->count : 0;
	out->behind = word_is_wide(word) ? wide_entries(word) : 0;
	/* acquire: pairs with the release store in fib_state_set */
	out->fib = (enum dest_fib)(atomic_load_explicit(&d->used, memory_order_acquire) >> FIB_AT);
	out->identity = word_identity(word);
	out->sequence = atomic_load_explicit(&d->sequence, memory_order_relaxed);
	*read = word;
	return true;
}

bool
dest_peek(const struct dest_table *t, struct dest_id id, struct dest_view *out)
{
	uint64_t word;

	return peek(t, id, PATHS_PACKED_MAX, out, &word);
}

bool
dest_peek_best(const struct dest_table *t, struct dest_id id, struct dest_view *out)
{
	uint64_t word;

	return peek(t, id, 1, out, &word);
}

static bool
is_among(const struct rib_path *p, unsigned n, uint16_t peer)
{
	for (unsigned i = 0; i < n; i++)
		if (p[i].peer.v == peer)
			return true;
	return false;
}

/* 0: eligible, 1: next hop not valid, 2: rejected */
static unsigned
path_class(const struct rib_path *p)
{
	if (p->label_flags & PATH_REJECTED)
		return 2;
	return p->label_flags & PATH_NEXT_HOP_UP ? 0 : 1;
}

/*
 * Each entry is read once: the owner may replace a path while a reader is here, and the path must
 * not count in two classes, nor in none.
 */
static void
tail_append(uint64_t word, const struct path_set *front, struct path_set *to)
{
	struct path_tail *tail = word_wide(word)->tail;
	unsigned n = wide_entries(word), end[3]; /* of each class in `to` */
	struct rib_path p;

	to->count = front->count;
	to->multipath = front->multipath;
	to->unused = 0;
	memcpy(to->path, front->path, front->count * sizeof(to->path[0]));
	end[0] = end[1] = end[2] = front->count;
	for (unsigned i = 0; i < n; i++) {
		unsigned class;

		if (!tail_path(tail, i, &p) || is_among(front->path, front->count, p.peer.v))
			continue;
		class = path_class(&p);
		/* the first path of each class behind moves to the end of that class */
		for (unsigned k = 2; k > class; k--)
			to->path[end[k]++] = to->path[end[k - 1]];
		to->path[end[class]++] = p;
	}
	to->eligible = (uint16_t)(front->eligible + end[0] - front->count);
	to->count = (uint16_t)end[2];
}

#define PEEK_ATTEMPTS 16 /* each change of a destination takes longer than a copy */

bool
dest_peek_all(const struct dest_table *t, struct dest_id id, struct dest_view *out,
	struct path_set *room, unsigned size)
{
	uint64_t word;

	for (unsigned i = 0; i < PEEK_ATTEMPTS; i++) {
		if (!peek(t, id, PATHS_PACKED_MAX, out, &word))
			return false;
		if (out->behind == 0 || out->paths->count + out->behind > size)
			return true;
		tail_append(word, out->paths, room);
		/* a path that has moved meanwhile may be missing */
		if (word_of(dest_at(t, id.v)) == word)
			break;
	}
	out->paths = room;
	out->behind = 0;
	return true;
}

bool
dest_offers(const struct dest_table *t, struct dest_id id, struct peer_id peer)
{
	struct dest_view view;
	struct rib_path p;
	uint64_t word;

	for (unsigned attempt = 0; attempt < PEEK_ATTEMPTS; attempt++) {
		if (!peek(t, id, PATHS_PACKED_MAX, &view, &word) || view.paths == NULL)
			return false;
		if (is_among(view.paths->path, view.paths->eligible, peer.v))
			return true;
		for (unsigned i = 0; i < view.behind; i++)
			if (tail_path(word_wide(word)->tail, i, &p) && p.peer.v == peer.v &&
				path_class(&p) == 0)
				return true;
		/* a path that has moved meanwhile may be missing */
		if (word_of(dest_at(t, id.v)) == word)
			return false;
	}
	return false;
}

struct dest_id
dest_find(const struct dest_table *t, const struct prefix *p)
{
	return dest_find_rd(t, (struct vpn_rd){0}, p);
}

struct dest_id
dest_find_rd(const struct dest_table *t, struct vpn_rd rd, const struct prefix *p)
{
	/* acquire: pairs with the release store in grow_step */
	const struct index *x = atomic_load_explicit(&t->index, memory_order_acquire);
	uint32_t steps;

	if (p->afi != t->afi)
		return (struct dest_id){DEST_NONE};
	return (struct dest_id){index_find(t, x, rd, p, dest_key_hash(t, rd, p), &steps)};
}

static bool
longest_at(const struct dest_table *t, const struct ip_addr *a, unsigned len, struct dest_id *id,
	struct dest_view *out)
{
	struct prefix p = prefix_from_addr(a, (uint8_t)len);

	*id = dest_find(t, &p);
	return id->v != DEST_NONE && dest_peek(t, *id, out) && out->paths != NULL &&
	       out->paths->eligible > 0;
}

struct dest_id
dest_longest(const struct dest_table *t, const struct ip_addr *a, struct dest_view *out)
{
	struct dest_id id;

	if (a->afi != t->afi)
		return (struct dest_id){DEST_NONE};
	for (unsigned w = t->max_len / 64 + 1; w-- > 0;) {
		/* acquire: pairs with length_add */
		uint64_t bits = atomic_load_explicit(&t->lengths[w], memory_order_acquire);
		while (bits != 0) {
			unsigned b = 63 - (unsigned)__builtin_clzll(bits);
			if (longest_at(t, a, w * 64 + b, &id, out))
				return id;
			bits &= ~(1ull << b);
		}
	}
	return (struct dest_id){DEST_NONE};
}

bool
dest_is(const struct dest_table *t, struct dest_id id, struct vpn_rd rd, const struct prefix *p)
{
	const struct destination *d;

	if (!is_there(t, id) || p->afi != t->afi)
		return false;
	d = dest_at(t, id.v);
	return dest_has(t, d, rd, p) && atomic_load_explicit(&d->used, memory_order_relaxed);
}

void
dest_prefetch(const struct dest_table *t, uint64_t hash)
{
	/* acquire: pairs with the release store in grow_step */
	const struct index *x = atomic_load_explicit(&t->index, memory_order_acquire);

	index_prefetch(x, hash);
}

struct dest_id
dest_hint(const struct dest_table *t, uint64_t hash)
{
	/* acquire: pairs with the release store in grow_step */
	const struct index *x = atomic_load_explicit(&t->index, memory_order_acquire);
	uint32_t i = index_line(x, hash), tag = index_tag(x, hash), v;
	struct line l;

	for (;;) {
		l = line_read(&x->slot[i], ~x->mask, tag);
		l.match &= ~l.empty;
		if (l.match != 0)
			break;
		if (l.empty != 0)
			return (struct dest_id){DEST_NONE};
		i = (i + LINE_SLOTS) & x->mask;
		tag = entry_further(x, tag);
	}
	i += (uint32_t)__builtin_ctz(l.match);
	/* relaxed: a hint */
	v = atomic_load_explicit(&x->slot[i], memory_order_relaxed);
	if (v == EMPTY || v == GONE)
		return (struct dest_id){DEST_NONE};
	__builtin_prefetch(dest_at(t, (v & x->mask) - 1));
	return (struct dest_id){(v & x->mask) - 1};
}

void
dest_prefetch_id(const struct dest_table *t, struct dest_id id)
{
	if (is_there(t, id))
		__builtin_prefetch(dest_at(t, id.v));
}

void
dest_prefetch_paths(const struct dest_table *t, struct dest_id id)
{
	uint64_t word;

	if (!is_there(t, id))
		return;
	/* relaxed: a hint for prefetching, never dereferenced */
	word = atomic_load_explicit(&dest_at(t, id.v)->word, memory_order_relaxed);
	if ((word & (LINK | INLINE)) == 0)
		__builtin_prefetch(word_block(word));
	if (word_is_wide(word))
		__builtin_prefetch((const uint8_t *)word_block(word) + CACHE_LINE);
	else if ((word & (LINK | PACKED)) == PACKED)
		__builtin_prefetch(
			(const uint8_t *)word_block(word) +
			packed_size(packed_count(word), word & CHANGED, word & LABELLED) - 1);
}

unsigned
dest_hint_rivals(
	const struct dest_table *t, struct dest_id id, struct attr_id set[PATHS_PACKED_MAX])
{
	const struct packed_path *path;
	unsigned count = 0;
	uint64_t word;

	if (!is_there(t, id))
		return 0;
	/* relaxed: the owner's own store */
	word = atomic_load_explicit(&dest_at(t, id.v)->word, memory_order_relaxed);
	if (word & LINK)
		return 0;
	if (word_is_wide(word))
		tail_prefetch(word);
	if (word & INLINE)
		set[count++] = word_first_set(word);
	path = word & PACKED ? ((const struct packed_set *)word_block(word))->path : NULL;
	for (; path != NULL && count < packed_count(word); count++)
		set[count].v = path[count].set_flags >> 8;
	return count;
}

bool
dest_identical(
	const struct dest_table *t, struct dest_id id, uint64_t identity, struct prefix *prefix)
{
	const struct destination *d;

	if (!is_there(t, id))
		return false;
	d = dest_at(t, id.v);
	/* the word of a free id is links */
	if (word_identity(word_of(d)) != identity)
		return false;
	dest_prefix(t, d, prefix);
	return true;
}

bool
dest_alike(const struct dest_table *t, struct dest_id a, struct dest_id b)
{
	uint64_t first = LINK, second = LINK;

	/* relaxed: the words are compared, not dereferenced */
	if (is_there(t, a))
		first = atomic_load_explicit(&dest_at(t, a.v)->word, memory_order_relaxed);
	if (is_there(t, b))
		second = atomic_load_explicit(&dest_at(t, b.v)->word, memory_order_relaxed);
	return first == second || (first & second & LINK) != 0;
}

bool
dest_like_last(const struct dest_table *t, struct dest_id id)
{
	uint64_t word, last;

	if (id.v == 0 || !is_there(t, id))
		return false;
	/* relaxed: the words are compared, not dereferenced */
	word = atomic_load_explicit(&dest_at(t, id.v)->word, memory_order_relaxed);
	last = atomic_load_explicit(&dest_at(t, id.v - 1)->word, memory_order_relaxed);
	return word == last || (word & last & LINK) != 0;
}

struct attr_id
dest_hint_best(const struct dest_table *t, struct dest_id id)
{
	uint64_t word;

	if (!is_there(t, id))
		return (struct attr_id){0};
	/* acquire: pairs with the release store in word_set */
	word = atomic_load_explicit(&dest_at(t, id.v)->word, memory_order_acquire);
	return word_first_set(word);
}

uint32_t
dest_count(const struct dest_table *t)
{
	return atomic_load_explicit(&t->count, memory_order_relaxed);
}

uint32_t
dest_path_count(const struct dest_table *t)
{
	return atomic_load_explicit(&t->path_count, memory_order_relaxed);
}

uint32_t
dest_tombstones(const struct dest_table *t)
{
	return atomic_load_explicit(&t->tombstones, memory_order_relaxed);
}

const struct hash_probes *
dest_table_probes(const struct dest_table *t)
{
	return &t->probes;
}

size_t
dest_table_bytes(const struct dest_table *t)
{
	return atomic_load_explicit(&t->bytes, memory_order_relaxed);
}
