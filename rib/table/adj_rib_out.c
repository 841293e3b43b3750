/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/adj_rib_out.h"

#include "lpm/base/arena.h"
#include "lpm/base/hash.h"
#include "rib/table/swap.h"

#include <errno.h>
#include <string.h>

/*
 * 512 octets a segment with one edit: a full table needs 300 segments, a VRF with a hundred routes
 * one. When the directory grows, only the directory moves; the owner is its only reader.
 */
#define SEGMENT_BITS 12
#define SEGMENT_ENTRIES (1u << SEGMENT_BITS)
#define SEGMENT_MASK (SEGMENT_ENTRIES - 1)
/* A full table has 190,000 records, about one per accepted set. */
#define RECORD_BITS 10
#define RECORD_ENTRIES (1u << RECORD_BITS)
#define RECORD_MASK (RECORD_ENTRIES - 1)
/*
 * First record of each accepted set, by id of the set; most sets have one record. 1 KB a segment,
 * as the sets of a small table may be scattered over all ids.
 */
#define SET_BITS 8
#define SET_ENTRIES (1u << SET_BITS)
#define SET_MASK (SET_ENTRIES - 1)
#define SWAPPED_MIN 64u

struct record {
	struct adj_path path;
	uint32_t refs; /* 0: free */
	uint32_t next; /* next record of the accepted set, or next free record */
	uint64_t likeness;
};
static_assert(sizeof(struct record) == 32, "two a cache line");

/* A segment without records in use is freed. */
struct record_segment {
	uint32_t used;
	uint32_t given; /* records from here on were never in use */
	uint32_t free; /* list of free records, through `next`: index + 1 */
	/* in the list of segments with room: segment + 1 */
	uint32_t before, after;
	uint32_t unused[3];
	struct record at[RECORD_ENTRIES];
};

/* The first record of accepted sets, by id of the set. A segment of zeros is freed. */
struct set_segment {
	uint32_t used; /* entries that are not 0 */
	uint32_t first[SET_ENTRIES];
};

/* A segmented array: directory of segments. */
struct directory {
	void **segment;
	uint32_t count;
};

struct adj_records {
	struct arena *arena;
	struct directory records; /* struct record_segment; record 0 is never in use */
	struct directory sets; /* struct set_segment; of records without swapped labels */
	/*
	 * The first records of a hash of set and swapped label: a peer may give each route of a set
	 * a label of its own. `swapped_size` buckets for `swapped_count` records.
	 */
	uint32_t *swapped, swapped_size, swapped_count;
	uint32_t room; /* the first segment of records with room, + 1; 0: none */
	uint32_t count;
	struct hash_probes probes;
	struct directory tables; /* struct shared, by table */
	struct swaps *swaps;
};

/*
 * Groups of a table mostly advertise the same path for a destination, so the record is stored once
 * for all groups, in one of two slots; a group stores which slot, and its edit. Two slots, because
 * groups read a change one after another: while some groups still have the old path in one slot,
 * the others use the other slot. A group that needs a third path keeps a record of its own (an
 * exception).
 */
#define SLOTS 2
#define BLOCK_BITS 8
#define BLOCK_ENTRIES (1u << BLOCK_BITS)
#define BLOCK_MASK (BLOCK_ENTRIES - 1)
struct block {
	uint32_t record[BLOCK_ENTRIES]; /* with a reference, while used */
	uint16_t uses[BLOCK_ENTRIES]; /* number of groups */
	uint32_t used; /* entries with uses > 0 */
	uint32_t label[]; /* in tables with labels: BLOCK_ENTRIES */
};
struct shared {
	uint32_t groups;
	bool labels;
	struct directory slot[SLOTS]; /* struct block, by dest + 1 */
};

/*
 * The entries of a group: edit << 2 | where. 0: not advertised. WHERE_SLOT + n: the record is in
 * slot n.
 */
#define WHERE_SLOT 1u
#define WHERE_OWN 3u /* an exception */
#define WHERE_MASK 3u

/*
 * Entries of a segment, as indexes into a palette of the values that occur: a group with one edit
 * takes one bit a destination. With more than 256 values the entries are the values.
 */
struct column {
	uint8_t width; /* bits of an entry: 1, 2, 4, 8; 16: no palette */
	uint8_t log_width, mask;
	uint16_t used; /* entries that are not 0 */
	uint16_t *value, *count; /* the palette; value[0] is 0 */
	uint8_t *entry;
};
#define WIDTH_VALUES 16u

/* Open addressing; key 0 is free, as keys are dest + 2. */
struct exception {
	uint64_t key;
	uint32_t record; /* with a reference */
	uint32_t label;
};

struct adj_rib_out {
	struct directory columns; /* struct column, by dest + 1: DEST_NONE is first */
	uint64_t count;
	struct adj_records *records;
	struct shared *shared;
	struct arena *arena;

	struct exception *exceptions;
	uint32_t exception_count, exception_size;

	uint32_t from_size;
	uint32_t *from; /* entries by source */
};

/* ---- directories ---- */

/* 0, -ENOMEM. Then segment `s` has a place, NULL when new. */
static int
directory_room(struct arena *a, struct directory *d, uint32_t s)
{
	if (s >= d->count) {
		uint32_t count = d->count > 0 ? d->count : 4;
		void **segment;

		while (count <= s)
			count *= 2;
		segment = arena_realloc(a, d->segment, count * sizeof(void *));
		if (segment == NULL)
			return -ENOMEM;
		memset(segment + d->count, 0, (count - d->count) * sizeof(void *));
		d->segment = segment;
		d->count = count;
	}
	return 0;
}

/* 0, -ENOMEM. Then segment `s` is there, zero when new. */
static int
directory_reserve(struct arena *a, struct directory *d, uint32_t s, size_t segment_size)
{
	if (directory_room(a, d, s) < 0)
		return -ENOMEM;
	if (d->segment[s] == NULL)
		d->segment[s] = arena_calloc_touched(a, segment_size);
	return d->segment[s] != NULL ? 0 : -ENOMEM;
}

static void
directory_fini(struct arena *a, struct directory *d)
{
	for (uint32_t s = 0; s < d->count; s++)
		arena_free(a, d->segment[s]);
	arena_free(a, d->segment);
	*d = (struct directory){0};
}

/* ---- records ---- */

static struct record_segment *
record_segment(const struct adj_records *r, uint32_t segment)
{
	return r->records.segment[segment];
}

static struct record *
record_at(const struct adj_records *r, uint32_t id)
{
	return &record_segment(r, id >> RECORD_BITS)->at[id & RECORD_MASK];
}

/* The segment of the set must exist. */
static struct set_segment *
set_segment(const struct adj_records *r, struct attr_id set)
{
	return r->sets.segment[set.v >> SET_BITS];
}

int
adj_records_create(struct arena *a, struct adj_records **out)
{
	struct adj_records *r = arena_calloc(a, sizeof(*r));

	if (r == NULL)
		return -ENOMEM;
	r->arena = a;
	*out = r;
	return 0;
}

void
adj_records_destroy(struct adj_records *r)
{
	if (r == NULL)
		return;
	directory_fini(r->arena, &r->records);
	directory_fini(r->arena, &r->sets);
	directory_fini(r->arena, &r->tables);
	arena_free(r->arena, r->swapped);
	arena_free(r->arena, r);
}

void
adj_records_swaps(struct adj_records *r, struct swaps *s)
{
	r->swaps = s;
}

static void
room_link(struct adj_records *r, uint32_t segment)
{
	struct record_segment *g = record_segment(r, segment);

	g->before = 0;
	g->after = r->room;
	if (r->room != 0)
		record_segment(r, r->room - 1)->before = segment + 1;
	r->room = segment + 1;
}

static void
room_unlink(struct adj_records *r, uint32_t segment)
{
	struct record_segment *g = record_segment(r, segment);

	if (g->before != 0)
		record_segment(r, g->before - 1)->after = g->after;
	else
		r->room = g->after;
	if (g->after != 0)
		record_segment(r, g->after - 1)->before = g->before;
}

/* Allocates the first missing segment. 0, -ENOMEM. */
static int
record_segment_add(struct adj_records *r)
{
	uint32_t n = 0;

	while (n < r->records.count && r->records.segment[n] != NULL)
		n++;
	if (n == ADJ_RECORDS_MAX >> RECORD_BITS ||
		directory_reserve(r->arena, &r->records, n, sizeof(struct record_segment)) < 0)
		return -ENOMEM;
	if (n == 0) /* id 0 is no record */
		record_segment(r, 0)->used = record_segment(r, 0)->given = 1;
	room_link(r, n);
	return 0;
}

/* 0: no memory. */
static uint32_t
record_alloc(struct adj_records *r)
{
	struct record_segment *g;
	uint32_t n, i;

	if (r->room == 0 && record_segment_add(r) < 0)
		return 0;
	n = r->room - 1;
	g = record_segment(r, n);
	i = g->free != 0 ? g->free - 1 : g->given;
	if (g->free != 0)
		g->free = g->at[i].next;
	else
		g->given++;
	if (++g->used == RECORD_ENTRIES)
		room_unlink(r, n);
	return n << RECORD_BITS | i;
}

static void
record_release(struct adj_records *r, uint32_t id)
{
	uint32_t n = id >> RECORD_BITS, i = id & RECORD_MASK;
	struct record_segment *g = record_segment(r, n);

	g->at[i] = (struct record){.next = g->free};
	g->free = i + 1;
	if (g->used-- == RECORD_ENTRIES)
		room_link(r, n);
	if (g->used > 0)
		return;
	room_unlink(r, n);
	arena_free(r->arena, g);
	r->records.segment[n] = NULL;
}

static bool
path_equal(const struct adj_path *a, const struct adj_path *b)
{
	return a->accepted.v == b->accepted.v && a->serial == b->serial &&
	       a->originator == b->originator && a->source.v == b->source.v && a->kind == b->kind &&
	       a->swapped == b->swapped;
}

static void
set_segment_tidy(struct adj_records *r, struct attr_id set)
{
	struct set_segment *g = set_segment(r, set);

	if (g->used > 0)
		return;
	arena_free(r->arena, g);
	r->sets.segment[set.v >> SET_BITS] = NULL;
}

void
adj_record_prefetch(const struct adj_records *r, struct attr_id accepted, bool record)
{
	uint32_t s = accepted.v >> SET_BITS;
	const struct set_segment *g = s < r->sets.count ? r->sets.segment[s] : NULL;
	const uint32_t *first = g != NULL ? &g->first[accepted.v & SET_MASK] : NULL;

	if (first != NULL && !record)
		__builtin_prefetch(first);
	else if (first != NULL && *first != 0)
		__builtin_prefetch(record_at(r, *first), 1);
}

static uint32_t *
swapped_first(const struct adj_records *r, const struct adj_path *p)
{
	return &r->swapped[hash_words(p->accepted.v, p->swap, 0) & (r->swapped_size - 1)];
}

/* 0; -ENOMEM: there is no bucket at all. Otherwise the chains become longer without memory. */
static int
swapped_grow(struct adj_records *r)
{
	uint32_t *old = r->swapped, old_size = r->swapped_size,
		 size = old_size > 0 ? 2 * old_size : SWAPPED_MIN,
		 *grown = arena_calloc(r->arena, size * sizeof(*grown));

	if (grown == NULL)
		return old_size > 0 ? 0 : -ENOMEM;
	r->swapped = grown;
	r->swapped_size = size;
	for (uint32_t i = 0; i < old_size; i++) {
		for (uint32_t id = old[i], next; id != 0; id = next) {
			uint32_t *first = swapped_first(r, &record_at(r, id)->path);

			next = record_at(r, id)->next;
			record_at(r, id)->next = *first;
			*first = id;
		}
	}
	arena_free(r->arena, old);
	return 0;
}

/* The first record of the chain in which the path has its place. 0, -ENOMEM. */
static int
first_reserve(struct adj_records *r, const struct adj_path *p, uint32_t **out)
{
	if (p->swapped) {
		if (r->swapped_count >= r->swapped_size && swapped_grow(r) < 0)
			return -ENOMEM;
		*out = swapped_first(r, p);
		return 0;
	}
	if (directory_reserve(
		    r->arena, &r->sets, p->accepted.v >> SET_BITS, sizeof(struct set_segment)) < 0)
		return -ENOMEM;
	*out = &set_segment(r, p->accepted)->first[p->accepted.v & SET_MASK];
	return 0;
}

/* The chain from `first` on was empty before (by 1), or is empty now (by -1). */
static void
first_count(struct adj_records *r, const struct adj_path *p, const uint32_t *first, int by)
{
	r->swapped_count += p->swapped ? (uint32_t)by : 0;
	if (!p->swapped && *first == 0)
		set_segment(r, p->accepted)->used += (uint32_t)by;
}

int
adj_record_get(struct adj_records *r, const struct adj_path *p, struct adj_record_id *out)
{
	uint32_t *first, id, steps = 0;

	if (first_reserve(r, p, &first) < 0)
		return -ENOMEM;
	for (id = *first; id != 0; id = record_at(r, id)->next, steps++) {
		if (path_equal(&record_at(r, id)->path, p)) {
			record_at(r, id)->refs++;
			out->v = id;
			hash_probes_add(&r->probes, steps);
			return 0;
		}
	}
	id = record_alloc(r);
	if (id == 0) {
		if (!p->swapped)
			set_segment_tidy(r, p->accepted);
		return -ENOMEM;
	}
	first_count(r, p, first, 1);
	*record_at(r, id) = (struct record){.path = *p, .refs = 1, .next = *first};
	*first = out->v = id;
	r->count++;
	if (p->swapped)
		swaps_hold(r->swaps, p->swap);
	return 0;
}

static void
record_free(struct adj_records *r, uint32_t id)
{
	const struct adj_path p = record_at(r, id)->path;
	uint32_t *first = p.swapped ? swapped_first(r, &p)
				    : &set_segment(r, p.accepted)->first[p.accepted.v & SET_MASK];
	uint32_t *at = first;

	while (*at != id)
		at = &record_at(r, *at)->next;
	*at = record_at(r, id)->next;
	first_count(r, &p, first, -1);
	if (p.swapped)
		swaps_drop(r->swaps, p.swap);
	if (p.swapped && r->swapped_count == 0) {
		arena_free(r->arena, r->swapped);
		r->swapped = NULL;
		r->swapped_size = 0;
	}
	if (!p.swapped)
		set_segment_tidy(r, p.accepted);
	record_release(r, id);
	r->count--;
}

void
adj_record_ref(struct adj_records *r, struct adj_record_id id)
{
	record_at(r, id.v)->refs++;
}

void
adj_record_put(struct adj_records *r, struct adj_record_id id)
{
	if (id.v != 0 && --record_at(r, id.v)->refs == 0)
		record_free(r, id.v);
}

const struct adj_path *
adj_record_path(const struct adj_records *r, struct adj_record_id id)
{
	return &record_at(r, id.v)->path;
}

uint64_t
adj_record_likeness(const struct adj_records *r, struct adj_record_id id)
{
	return record_at(r, id.v)->likeness;
}

void
adj_record_like(struct adj_records *r, struct adj_record_id id, uint64_t likeness)
{
	record_at(r, id.v)->likeness = likeness;
}

uint32_t
adj_records_count(const struct adj_records *r)
{
	return r->count;
}

const struct hash_probes *
adj_records_probes(const struct adj_records *r)
{
	return &r->probes;
}

/* ---- columns ---- */

static size_t
column_size(unsigned width)
{
	size_t palette = width == WIDTH_VALUES ? 0 : 2 * sizeof(uint16_t) << width;

	return sizeof(struct column) + palette + SEGMENT_ENTRIES * width / 8;
}

static struct column *
column_create(struct arena *a, unsigned width)
{
	struct column *c = arena_calloc(a, column_size(width));

	if (c == NULL)
		return NULL;
	c->width = (uint8_t)width;
	c->log_width = (uint8_t)__builtin_ctz(width);
	c->mask = (uint8_t)((1u << width) - 1);
	c->value = (uint16_t *)(c + 1);
	c->count = width == WIDTH_VALUES ? c->value : c->value + (1u << width);
	c->entry = (uint8_t *)(width == WIDTH_VALUES ? c->value : c->count + (1u << width));
	return c;
}

/* The number of bits of an entry is a power of two: entries never span octets. */
static inline unsigned
column_index(const struct column *c, uint32_t i)
{
	uint32_t bit = i << c->log_width;

	return c->entry[bit / 8] >> bit % 8 & c->mask;
}

static inline unsigned
column_get(const struct column *c, uint32_t i)
{
	uint16_t v;

	if (c->width != WIDTH_VALUES)
		return c->value[column_index(c, i)];
	memcpy(&v, c->entry + 2 * (size_t)i, 2);
	return v;
}

/* The place of a value in the palette, or a free place. The size of the palette: there is none. */
static unsigned
palette_find(const struct column *c, unsigned value)
{
	unsigned size = 1u << c->width, place = size;

	if (value == 0)
		return 0;
	for (unsigned n = 1; n < size; n++) {
		if (c->count[n] > 0 && c->value[n] == value)
			return n;
		if (c->count[n] == 0 && place == size)
			place = n;
	}
	return place;
}

static bool
column_fits(const struct column *c, unsigned value)
{
	return c->width == WIDTH_VALUES || palette_find(c, value) < 1u << c->width;
}

/* There must be a place for the value. */
static void
column_set(struct column *c, uint32_t i, unsigned value)
{
	unsigned old = column_get(c, i), place;
	uint32_t bit = i << c->log_width;
	uint16_t v = (uint16_t)value;

	c->used = (uint16_t)(c->used + (value != 0) - (old != 0));
	if (c->width == WIDTH_VALUES) {
		memcpy(c->entry + 2 * (size_t)i, &v, 2);
		return;
	}
	c->count[column_index(c, i)]--;
	place = palette_find(c, value);
	c->value[place] = v;
	c->count[place]++;
	c->entry[bit / 8] =
		(uint8_t)((c->entry[bit / 8] & ~((unsigned)c->mask << bit % 8)) | place << bit % 8);
}

/* The segment of an entry, with a place for `value`. NULL: no memory. */
static struct column *
column_reserve(struct adj_rib_out *o, uint32_t at, unsigned value)
{
	uint32_t s = at >> SEGMENT_BITS;
	struct column *c, *wider;

	if (directory_room(o->arena, &o->columns, s) < 0)
		return NULL;
	c = o->columns.segment[s];
	if (c == NULL)
		return o->columns.segment[s] = column_create(o->arena, 1);
	if (column_fits(c, value))
		return c;
	wider = column_create(o->arena, 2u * c->width);
	if (wider == NULL)
		return NULL;
	for (uint32_t i = 0; i < SEGMENT_ENTRIES; i++) {
		unsigned v = column_get(c, i);

		if (v != 0)
			column_set(wider, i, v);
	}
	arena_free(o->arena, c);
	return o->columns.segment[s] = wider;
}

static struct column *
column_find(const struct adj_rib_out *o, uint32_t at)
{
	uint32_t s = at >> SEGMENT_BITS;

	return s < o->columns.count ? o->columns.segment[s] : NULL;
}

/* ---- exceptions ---- */

static uint64_t
exception_key(uint32_t at)
{
	return (uint64_t)at + 1;
}

static uint32_t
exception_place(const struct adj_rib_out *o, uint64_t key)
{
	uint32_t i = (uint32_t)hash_word(key) & (o->exception_size - 1);

	while (o->exceptions[i].key != 0 && o->exceptions[i].key != key)
		i = (i + 1) & (o->exception_size - 1);
	return i;
}

static int
exceptions_reserve(struct adj_rib_out *o, uint32_t more)
{
	struct exception *old = o->exceptions;
	uint32_t size = o->exception_size > 0 ? o->exception_size : 16, n = o->exception_size;

	while (o->exception_count + more > size / 2)
		size *= 2;
	if (size == o->exception_size)
		return 0;
	o->exceptions = arena_calloc(o->arena, size * sizeof(*o->exceptions));
	if (o->exceptions == NULL) {
		o->exceptions = old;
		return -ENOMEM;
	}
	o->exception_size = size;
	for (uint32_t i = 0; i < n; i++)
		if (old[i].key != 0)
			o->exceptions[exception_place(o, old[i].key)] = old[i];
	arena_free(o->arena, old);
	return 0;
}

/* The exception of an entry, which must exist. */
static struct exception *
exception_get(const struct adj_rib_out *o, uint32_t at)
{
	return &o->exceptions[exception_place(o, exception_key(at))];
}

static void
exception_add(struct adj_rib_out *o, uint32_t at, struct adj_route r)
{
	o->exceptions[exception_place(o, exception_key(at))] = (struct exception){
		.key = exception_key(at), .record = r.record.v, .label = r.label};
	o->exception_count++;
}

static void
exception_remove(struct adj_rib_out *o, uint32_t at)
{
	uint32_t mask = o->exception_size - 1, hole = exception_place(o, exception_key(at));

	o->exception_count--;
	for (uint32_t i = (hole + 1) & mask; o->exceptions[i].key != 0; i = (i + 1) & mask) {
		uint32_t home = (uint32_t)hash_word(o->exceptions[i].key) & mask;

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			o->exceptions[hole] = o->exceptions[i];
			hole = i;
		}
	}
	o->exceptions[hole] = (struct exception){0};
	if (o->exception_count == 0) {
		arena_free(o->arena, o->exceptions);
		o->exceptions = NULL;
		o->exception_size = 0;
	}
}

/* ---- slots ---- */

static struct block *
block_find(const struct adj_rib_out *o, unsigned slot, uint32_t at)
{
	const struct directory *d = &o->shared->slot[slot];
	uint32_t s = at >> BLOCK_BITS;

	return s < d->count ? d->segment[s] : NULL;
}

static size_t
block_size(const struct adj_rib_out *o)
{
	return sizeof(struct block) + (o->shared->labels ? BLOCK_ENTRIES * sizeof(uint32_t) : 0);
}

/* Stores the record and the label of an entry. */
static void
slot_store(const struct adj_rib_out *o, struct block *b, uint32_t at, struct adj_route r)
{
	b->record[at & BLOCK_MASK] = r.record.v;
	if (o->shared->labels)
		b->label[at & BLOCK_MASK] = r.label;
}

/* True if a group uses the slot for this record and label. */
static bool
slot_has(const struct adj_rib_out *o, const struct block *b, uint32_t at, struct adj_route r)
{
	uint32_t i = at & BLOCK_MASK;

	return b->uses[i] > 0 && b->record[i] == r.record.v &&
	       (!o->shared->labels || b->label[i] == r.label);
}

static void
slot_use(const struct adj_rib_out *o, struct block *b, uint32_t at, struct adj_route r)
{
	uint32_t i = at & BLOCK_MASK;

	b->used += b->uses[i] == 0;
	b->uses[i]++;
	slot_store(o, b, at, r);
}

/* Ends a use. True: the last one; the reference of the slot is the caller's. */
static bool
slot_release(struct adj_rib_out *o, unsigned slot, uint32_t at)
{
	struct block *b = block_find(o, slot, at);
	uint32_t i = at & BLOCK_MASK;

	if (--b->uses[i] > 0)
		return false;
	b->record[i] = 0;
	if (--b->used == 0) {
		arena_free(o->records->arena, b);
		o->shared->slot[slot].segment[at >> BLOCK_BITS] = NULL;
	}
	return true;
}

/*
 * The slot for a route: with its record and label, else free after this group has left slot `old`
 * (SLOTS: none). SLOTS: no slot is free. -ENOMEM.
 */
static int
slot_reserve(struct adj_rib_out *o, uint32_t at, struct adj_route r, unsigned old)
{
	int unused = SLOTS;

	for (unsigned n = 0; n < SLOTS; n++) {
		const struct block *b = block_find(o, n, at);
		unsigned uses = b != NULL ? b->uses[at & BLOCK_MASK] : 0;

		if (uses > 0 && slot_has(o, b, at, r))
			return (int)n;
		if ((uses == 0 || (uses == 1 && n == old)) &&
			(unused == SLOTS ||
				(b != NULL && block_find(o, (unsigned)unused, at) == NULL)))
			unused = (int)n;
	}
	if (unused < SLOTS && directory_reserve(o->records->arena, &o->shared->slot[unused],
				      at >> BLOCK_BITS, block_size(o)) < 0)
		return -ENOMEM;
	return unused;
}

/* ---- life ---- */

static struct shared *
shared_get(struct adj_records *r, uint16_t table, bool labels)
{
	struct shared *s;

	if (directory_reserve(r->arena, &r->tables, table, sizeof(struct shared)) < 0)
		return NULL;
	s = r->tables.segment[table];
	assert(s->groups == 0 || s->labels == labels);
	s->labels = labels;
	s->groups++;
	return s;
}

int
adj_rib_out_create(struct arena *a, struct adj_records *records, struct table_id table, bool labels,
	struct adj_rib_out **out)
{
	struct adj_rib_out *o = arena_calloc(a, sizeof(*o));

	if (o == NULL)
		return -ENOMEM;
	o->arena = a;
	o->records = records;
	o->shared = shared_get(records, table.v, labels);
	if (o->shared == NULL) {
		arena_free(a, o);
		return -ENOMEM;
	}
	*out = o;
	return 0;
}

/* ---- entries ---- */

/* Not inlined: few entries are exceptions. */
static __attribute__((noinline)) struct adj_route
exception_route(const struct adj_rib_out *o, uint32_t at, uint32_t edit)
{
	const struct exception *e = exception_get(o, at);

	return (struct adj_route){{e->record}, e->label, edit};
}

static inline struct adj_route
route_of(const struct adj_rib_out *o, uint32_t at, unsigned value)
{
	unsigned where = value & WHERE_MASK;
	uint32_t edit = value >> 2;
	const struct block *b;

	if (value == 0)
		return (struct adj_route){0};
	if (where == WHERE_OWN)
		return exception_route(o, at, edit);
	b = block_find(o, where - WHERE_SLOT, at);
	return (struct adj_route){{b->record[at & BLOCK_MASK]},
		o->shared->labels ? b->label[at & BLOCK_MASK] : 0, edit};
}

/* Ends the use of the record of an entry. The reference passes to the caller. */
static void
entry_release(struct adj_rib_out *o, uint32_t at, unsigned value, uint32_t record)
{
	unsigned where = value & WHERE_MASK;

	if (where == WHERE_OWN)
		exception_remove(o, at);
	else if (!slot_release(o, where - WHERE_SLOT, at))
		record_at(o->records, record)->refs++;
}

bool
adj_rib_out_dismantle(struct adj_rib_out *o)
{
	struct column *c;
	uint32_t s;

	if (o->columns.count == 0)
		return false;
	s = --o->columns.count;
	c = o->columns.segment[s];
	for (uint32_t i = 0; c != NULL && i < SEGMENT_ENTRIES; i++) {
		uint32_t at = s << SEGMENT_BITS | i, record;
		unsigned value = column_get(c, i);

		if (value == 0)
			continue;
		record = route_of(o, at, value).record.v;
		entry_release(o, at, value, record);
		adj_record_put(o->records, (struct adj_record_id){record});
	}
	arena_free(o->arena, c);
	return o->columns.count > 0;
}

void
adj_rib_out_destroy(struct adj_rib_out *o)
{
	if (o == NULL)
		return;
	while (adj_rib_out_dismantle(o))
		;
	directory_fini(o->arena, &o->columns);
	arena_free(o->arena, o->exceptions);
	arena_free(o->arena, o->from);
	if (--o->shared->groups == 0) {
		for (unsigned n = 0; n < SLOTS; n++)
			directory_fini(o->records->arena, &o->shared->slot[n]);
	}
	arena_free(o->arena, o);
}

static int
from_reserve(struct adj_rib_out *o, struct peer_id source)
{
	uint32_t size = o->from_size > 0 ? o->from_size : 16, *from;

	if (source.v < o->from_size)
		return 0;
	while (size <= source.v)
		size *= 2;
	from = arena_realloc(o->arena, o->from, size * sizeof(*from));
	if (from == NULL)
		return -ENOMEM;
	memset(from + o->from_size, 0, (size - o->from_size) * sizeof(*from));
	o->from = from;
	o->from_size = size;
	return 0;
}

static void
entry_count(struct adj_rib_out *o, struct adj_route r, int by)
{
	if (r.record.v == 0)
		return;
	o->count += (uint64_t)(int64_t)by;
	o->from[record_at(o->records, r.record.v)->path.source.v] += (uint32_t)by;
}

static void
entry_remove(struct adj_rib_out *o, uint32_t at, unsigned value, struct adj_route old)
{
	struct column *c = column_find(o, at);

	entry_release(o, at, value, old.record.v);
	column_set(c, at & SEGMENT_MASK, 0);
	if (c->used == 0) {
		arena_free(o->arena, c);
		o->columns.segment[at >> SEGMENT_BITS] = NULL;
	}
}

/* Nothing has changed on an error. */
static int
entry_set(struct adj_rib_out *o, uint32_t at, unsigned value, struct adj_route r,
	struct adj_route old)
{
	unsigned where = value & WHERE_MASK,
		 had = value != 0 && where != WHERE_OWN ? where - WHERE_SLOT : SLOTS;
	int slot = slot_reserve(o, at, r, had);
	unsigned new = r.edit << 2 | (slot == SLOTS ? WHERE_OWN : WHERE_SLOT + (unsigned)slot);
	struct column *c;
	struct block *b;

	if (slot < 0 || from_reserve(o, record_at(o->records, r.record.v)->path.source) < 0 ||
		(slot == SLOTS && exceptions_reserve(o, 1) < 0))
		return -ENOMEM;
	c = column_reserve(o, at, new);
	if (c == NULL)
		return -ENOMEM;
	b = slot < SLOTS ? block_find(o, (unsigned)slot, at) : NULL;
	if (b != NULL && b->uses[at & BLOCK_MASK] > 0 && !slot_has(o, b, at, r)) {
		slot_store(o, b, at, r); /* this group alone used the slot */
		column_set(c, at & SEGMENT_MASK, new);
		return 0;
	}
	if (b != NULL) {
		if (b->uses[at & BLOCK_MASK] > 0)
			record_at(o->records, r.record.v)->refs--; /* the slot has a reference */
		slot_use(o, b, at, r);
	}
	if (b == NULL && value != 0 && where == WHERE_OWN) {
		exception_get(o, at)->record = r.record.v;
		exception_get(o, at)->label = r.label;
	} else {
		if (b == NULL)
			exception_add(o, at, r);
		if (value != 0)
			entry_release(o, at, value, old.record.v);
	}
	column_set(c, at & SEGMENT_MASK, new);
	return 0;
}

/*
 * Where the group alone uses a slot and the edit stays: stores the record in the slot. False:
 * nothing changed.
 */
static bool
entry_replace(const struct adj_rib_out *o, uint32_t at, unsigned value, struct adj_route r,
	struct adj_route old)
{
	unsigned where = value & WHERE_MASK;
	struct block *b, *other;

	if (value == 0 || where == WHERE_OWN || r.edit != old.edit)
		return false;
	b = block_find(o, where - WHERE_SLOT, at);
	other = block_find(o, SLOTS - 1 - (where - WHERE_SLOT), at);
	if (b->uses[at & BLOCK_MASK] != 1 || (other != NULL && slot_has(o, other, at, r)))
		return false;
	slot_store(o, b, at, r);
	return true;
}

static struct peer_id
record_source(const struct adj_rib_out *o, struct adj_route r)
{
	return record_at(o->records, r.record.v)->path.source;
}

int
adj_rib_out_set(
	struct adj_rib_out *o, struct dest_id dest, struct adj_route r, struct adj_route *old)
{
	uint32_t at = dest.v + 1;
	const struct column *c = column_find(o, at);
	unsigned value = c != NULL ? column_get(c, at & SEGMENT_MASK) : 0;

	*old = route_of(o, at, value);
	if (r.record.v == 0) {
		if (value != 0) {
			entry_count(o, *old, -1);
			entry_remove(o, at, value, *old);
		}
		return 0;
	}
	if (value != 0 && record_source(o, r).v == record_source(o, *old).v &&
		entry_replace(o, at, value, r, *old))
		return 0;
	if (entry_set(o, at, value, r, *old) < 0) {
		adj_record_put(o->records, r.record);
		return -ENOMEM;
	}
	entry_count(o, *old, -1);
	entry_count(o, r, 1);
	return 0;
}

/* The column and the blocks of the last destination, and the place of the new value. */
struct add_place {
	uint32_t column_at, block_at; /* UINT32_MAX: not looked up */
	struct column *column; /* with `value` at `place` of the palette; NULL: none */
	unsigned value, place;
	struct block *block[SLOTS];
};

static void
add_look(const struct adj_rib_out *o, uint32_t at, struct add_place *p)
{
	if (p->column_at != at >> SEGMENT_BITS) {
		p->column_at = at >> SEGMENT_BITS;
		p->column = column_find(o, at);
		p->place = 0;
	}
	if (p->block_at == at >> BLOCK_BITS)
		return;
	p->block_at = at >> BLOCK_BITS;
	for (unsigned n = 0; n < SLOTS; n++)
		p->block[n] = block_find(o, n, at);
}

/* True if the palette of the column has the value. */
static bool
add_has_place(struct add_place *p)
{
	struct column *c = p->column;

	if (p->place > 0)
		return true;
	if (c == NULL || c->width == WIDTH_VALUES || !column_fits(c, p->value))
		return false;
	p->place = palette_find(c, p->value);
	c->value[p->place] = (uint16_t)p->value;
	return true;
}

/* Where the route goes into slot 0 without an allocation. False: nothing changed. */
static bool
add_quickly(struct adj_rib_out *o, uint32_t at, struct adj_route r, struct add_place *p)
{
	struct block *b = p->block[0], *other = p->block[1];
	uint32_t i = at & BLOCK_MASK, bit;
	struct column *c = p->column;

	if (b == NULL)
		return false;
	if (b->uses[i] > 0 ? !slot_has(o, b, at, r) : other != NULL && slot_has(o, other, at, r))
		return false;
	if (!add_has_place(p))
		return false;
	record_at(o->records, r.record.v)->refs += b->uses[i] == 0;
	slot_use(o, b, at, r);
	bit = (at & SEGMENT_MASK) << c->log_width;
	c->entry[bit / 8] = (uint8_t)(c->entry[bit / 8] | p->place << bit % 8);
	c->count[0]--;
	c->count[p->place]++;
	c->used++;
	return true;
}

int
adj_rib_out_add(struct adj_rib_out *o, const struct dest_id *dest, unsigned n, struct adj_route r,
	const uint32_t *label, bool *added, unsigned *count)
{
	struct peer_id source = record_at(o->records, r.record.v)->path.source;
	struct add_place p = {
		.column_at = UINT32_MAX, .block_at = UINT32_MAX, .value = r.edit << 2 | WHERE_SLOT};
	unsigned i;

	*count = 0;
	if (from_reserve(o, source) < 0)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		uint32_t at = dest[i].v + 1;

		add_look(o, at, &p);
		added[i] = p.column == NULL || column_get(p.column, at & SEGMENT_MASK) == 0;
		if (!added[i])
			continue;
		if (o->shared->labels)
			r.label = label[i];
		if (!add_quickly(o, at, r, &p)) {
			record_at(o->records, r.record.v)->refs++;
			if (entry_set(o, at, 0, r, (struct adj_route){0}) < 0) {
				adj_record_put(o->records, r.record);
				break;
			}
			p.column_at = p.block_at = UINT32_MAX; /* may have moved */
		}
		++*count;
	}
	memset(added + i, 0, n - i);
	o->count += *count;
	o->from[source.v] += *count;
	return i == n ? 0 : -ENOMEM;
}

struct adj_route
adj_rib_out_get(const struct adj_rib_out *o, struct dest_id dest)
{
	uint32_t at = dest.v + 1;
	const struct column *c = column_find(o, at);

	return route_of(o, at, c != NULL ? column_get(c, at & SEGMENT_MASK) : 0);
}

struct adj_route
adj_rib_out_hold(struct adj_rib_out *o, struct dest_id dest)
{
	struct adj_route r = adj_rib_out_get(o, dest);

	if (r.record.v != 0)
		record_at(o->records, r.record.v)->refs++;
	return r;
}

void
adj_rib_out_prefetch(const struct adj_rib_out *o, struct dest_id dest, bool record)
{
	uint32_t at = dest.v + 1;
	const struct column *c = column_find(o, at);

	if (record) {
		struct adj_route r = adj_rib_out_get(o, dest);

		if (r.record.v != 0)
			__builtin_prefetch(record_at(o->records, r.record.v), 1);
		return;
	}
	if (c != NULL)
		__builtin_prefetch(&c->entry[((at & SEGMENT_MASK) << c->log_width) / 8], 1);
	for (unsigned n = 0; n < SLOTS; n++) {
		const struct block *b = block_find(o, n, at);

		if (b == NULL)
			continue;
		__builtin_prefetch(&b->record[at & BLOCK_MASK], 1);
		__builtin_prefetch(&b->uses[at & BLOCK_MASK], 1);
	}
}

uint64_t
adj_rib_out_count(const struct adj_rib_out *o)
{
	return o->count;
}

uint64_t
adj_rib_out_count_from(const struct adj_rib_out *o, struct peer_id source)
{
	return source.v < o->from_size ? o->from[source.v] : 0;
}

void
adj_rib_out_edits(const struct adj_rib_out *o, bool used[ADJ_EDIT_MAX + 1])
{
	for (uint32_t s = 0; s < o->columns.count; s++) {
		const struct column *c = o->columns.segment[s];

		for (uint32_t i = 0; c != NULL && i < SEGMENT_ENTRIES; i++)
			used[column_get(c, i) >> 2] = true;
	}
}

/* The number of exceptions in a column. */
static uint32_t
column_exceptions(const struct column *c)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < SEGMENT_ENTRIES; i++)
		n += (column_get(c, i) & WHERE_MASK) == WHERE_OWN;
	return n;
}

int
adj_rib_out_copy(struct adj_rib_out *o, const struct adj_rib_out *from, uint32_t *at)
{
	const struct column *c;
	struct column *copy;
	uint32_t s = *at;

	if (s >= from->columns.count)
		return 0;
	c = from->columns.segment[s];
	if (c != NULL) {
		uint32_t exceptions = column_exceptions(c);

		copy = column_create(o->arena, c->width);
		if (copy == NULL || directory_room(o->arena, &o->columns, s) < 0 ||
			(from->from_size > 0 &&
				from_reserve(o, (struct peer_id){(uint16_t)(from->from_size - 1)}) <
					0) ||
			(exceptions > 0 && exceptions_reserve(o, exceptions) < 0)) {
			arena_free(o->arena, copy);
			return -ENOMEM;
		}
		o->columns.segment[s] = copy;
		for (uint32_t i = 0; i < SEGMENT_ENTRIES; i++) {
			unsigned value = column_get(c, i), where = value & WHERE_MASK;
			uint32_t key = s << SEGMENT_BITS | i;
			struct adj_route r = route_of(from, key, value);

			if (value == 0)
				continue;
			column_set(copy, i, value);
			entry_count(o, r, 1);
			if (where == WHERE_OWN) {
				record_at(o->records, r.record.v)->refs++;
				exception_add(o, key, r);
			} else {
				slot_use(o, block_find(o, where - WHERE_SLOT, key), key, r);
			}
		}
	}
	return ++*at < from->columns.count;
}
