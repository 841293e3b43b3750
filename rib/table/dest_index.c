/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/dest_impl.h"

#include <errno.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

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
struct dest_index {
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

uint64_t
dest_key_hash(const struct dest_table *t, struct vpn_rd rd, const struct prefix *p)
{
	return t->rd_at != 0 ? vpn_prefix_hash(rd, p) : prefix_hash(p);
}

static int
index_create(struct dest_table *t, unsigned bits, struct dest_index **out)
{
	struct dest_index *x = arena_alloc(t->arena, sizeof(*x));

	if (x == NULL)
		return -ENOMEM;
	*x = (struct dest_index){.bits = bits, .mask = (1u << bits) - 1};
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
	struct dest_index *x = p;

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
index_line(const struct dest_index *x, uint64_t hash)
{
	return (uint32_t)hash << LINE_BITS & x->mask;
}

static uint32_t
index_tag(const struct dest_index *x, uint64_t hash)
{
	uint32_t known = (uint32_t)hash & ((1u << HASH_BITS) - 1);

	return known >> (x->bits - LINE_BITS) << (x->bits + 2);
}

static unsigned
entry_distance(const struct dest_index *x, uint32_t v)
{
	return v >> x->bits & FAR;
}

/* The entry, one line further on. */
static uint32_t
entry_further(const struct dest_index *x, uint32_t v)
{
	return entry_distance(x, v) < FAR ? v + (1u << x->bits) : v;
}

static void
index_prefetch(const struct dest_index *x, uint64_t hash)
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
slot_set(struct dest_index *x, uint32_t i, uint32_t v)
{
	/* release: pairs with the load in line_read; the destination's prefix comes first */
	atomic_store_explicit(&x->slot[i], v, memory_order_release);
}

/* Returns the line of the new entry. */
static uint32_t
index_insert(struct dest_index *x, uint64_t hash, uint32_t id)
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

static inline uint32_t
index_find(const struct dest_table *t, const struct dest_index *x, struct vpn_rd rd,
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
index_remove(struct dest_index *x, uint64_t hash, uint32_t id)
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
index_clear(struct dest_index *x, uint32_t slots)
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
entry_hash(const struct dest_table *t, const struct dest_index *x, uint32_t line, uint32_t v)
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
line_copy(struct dest_table *t, const struct dest_index *x, uint32_t line)
{
	struct dest_index *n = t->next;
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
	struct dest_index *x = atomic_load_explicit(&t->index, memory_order_relaxed);
	uint32_t lines = (x->mask + 1) >> LINE_BITS;

	if (!index_clear(t->next, CLEAR_STEP))
		return;
	for (unsigned i = 0; i < GROW_STEP; i++)
		line_copy(t, x, t->next_at++);
	if (t->next_at < lines)
		return;
	/* release: pairs with the load in dest_find_rd */
	atomic_store_explicit(&t->index, t->next, memory_order_release);
	t->next = NULL;
	retire_push(t->retired, index_free, t, x);
}

void
dest_index_add(struct dest_table *t, uint64_t hash, uint32_t id)
{
	uint32_t line =
		index_insert(atomic_load_explicit(&t->index, memory_order_relaxed), hash, id);

	if (t->next != NULL && line < t->next_at)
		(void)index_insert(t->next, hash, id);
}

void
dest_index_drop(struct dest_table *t, uint64_t hash, uint32_t id)
{
	uint32_t line =
		index_remove(atomic_load_explicit(&t->index, memory_order_relaxed), hash, id);

	if (t->next != NULL && line < t->next_at)
		(void)index_remove(t->next, hash, id);
}

/* True if one more destination, of id `limit` or below, needs a larger index. */
static bool
index_is_short(const struct dest_index *x, uint32_t limit)
{
	uint32_t most = (x->mask + 1) / 4 * 3;

	return x->filled >= most || limit >= most;
}

int
dest_index_reserve(struct dest_table *t)
{
	const struct dest_index *x = atomic_load_explicit(&t->index, memory_order_relaxed);
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

bool
dest_index_tidy(struct dest_table *t)
{
	const struct dest_index *x = atomic_load_explicit(&t->index, memory_order_relaxed);
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

int
dest_index_create(struct dest_table *t)
{
	struct dest_index *x;

	if (index_create(t, INDEX_BITS_MIN, &x) < 0)
		return -ENOMEM;
	index_clear(x, x->mask + 1);
	atomic_init(&t->index, x);
	return 0;
}

void
dest_index_destroy(struct dest_table *t)
{
	struct dest_index *x = atomic_load_explicit(&t->index, memory_order_relaxed);

	if (t->next != NULL)
		index_free(t, t->next);
	if (x != NULL)
		index_free(t, x);
}

uint32_t
dest_index_find(const struct dest_table *t, struct vpn_rd rd, const struct prefix *p, uint64_t hash,
	uint32_t *steps)
{
	/* relaxed: the owner's own store */
	return index_find(
		t, atomic_load_explicit(&t->index, memory_order_relaxed), rd, p, hash, steps);
}

/* ---- readers ---- */

struct dest_id
dest_find(const struct dest_table *t, const struct prefix *p)
{
	return dest_find_rd(t, (struct vpn_rd){0}, p);
}

struct dest_id
dest_find_rd(const struct dest_table *t, struct vpn_rd rd, const struct prefix *p)
{
	/* acquire: pairs with the release store in grow_step */
	const struct dest_index *x = atomic_load_explicit(&t->index, memory_order_acquire);
	uint32_t steps;

	if (p->afi != t->afi)
		return (struct dest_id){DEST_NONE};
	return (struct dest_id){index_find(t, x, rd, p, dest_key_hash(t, rd, p), &steps)};
}

void
dest_prefetch(const struct dest_table *t, uint64_t hash)
{
	/* acquire: pairs with the release store in grow_step */
	const struct dest_index *x = atomic_load_explicit(&t->index, memory_order_acquire);

	index_prefetch(x, hash);
}

struct dest_id
dest_hint(const struct dest_table *t, uint64_t hash)
{
	/* acquire: pairs with the release store in grow_step */
	const struct dest_index *x = atomic_load_explicit(&t->index, memory_order_acquire);
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
