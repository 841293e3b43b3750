/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/dest_impl.h"

#include <errno.h>

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

/* A newborn id without paths becomes a fresh tombstone. */
static void
newborn_link(struct dest_table *t)
{
	if (t->newborn != ID_NIL)
		tombstone_link(t, t->newborn, ID_NIL, t->oldest);
	t->newborn = ID_NIL;
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
	dest_index_destroy(t);
	arena_free(t->arena, t);
}

static int
table_create(struct arena *a, struct qsbr *readers, enum afi afi, bool vpn, struct dest_table **out)
{
	struct dest_table *t = arena_alloc_aligned(a, CACHE_LINE, sizeof(*t));

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
	if (retire_list_create(a, readers, 8, &t->retired) < 0 || dest_index_create(t) < 0) {
		dest_table_destroy(t);
		return -ENOMEM;
	}
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
	out->v = dest_index_find(t, rd, p, hash, &steps);
	hash_probes_add(&t->probes, steps);
	if (out->v != DEST_NONE)
		return 0;
	id = id_reserve(t);
	if (id == DEST_NONE || dest_index_reserve(t) < 0)
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
	dest_index_add(t, hash, id);
	if (id >= atomic_load_explicit(&t->limit, memory_order_relaxed))
		/* release: pairs with the load in dest_limit */
		atomic_store_explicit(&t->limit, id + 1, memory_order_release);
	out->v = id;
	return 0;
}

void
dest_tight(struct dest_table *t, unsigned from_len)
{
	t->tight_from = from_len;
}

static void
tombstone_drop(struct dest_table *t, uint32_t id)
{
	struct destination *d = dest_at(t, id);
	uint64_t hash = dest_hash(t, d);

	tombstone_unlink(t, id);
	if (!d->fresh)
		count_add(&t->tombstones, -1u);
	dest_index_drop(t, hash, id);
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
	more |= dest_index_tidy(t);
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
