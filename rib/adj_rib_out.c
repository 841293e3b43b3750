/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/adj_rib_out.h"

#include "lpm/arena.h"
#include "lpm/hash.h"

#include <errno.h>
#include <string.h>

/*
 * 16 KB a segment: a full table needs 300 segments, a VRF with a hundred routes one. When the
 * directory grows, only the directory moves; the owner is its only reader.
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

struct record {
	struct adj_path path;
	uint32_t refs; /* 0: free */
	uint32_t next; /* next record of the accepted set, or next free record */
	uint64_t likeness;
};
static_assert(sizeof(struct record) == 32, "two a cache line");

/* A segmented array: directory of segments. */
struct directory {
	void **segment;
	uint32_t count;
};

struct adj_records {
	struct arena *arena;
	struct directory records;
	struct directory sets; /* uint32_t by id of the accepted set: the first record */
	uint32_t end, free, count;
	struct hash_probes probes;
};

/* An entry: record << 8 | edit; 0: not advertised. */
struct adj_rib_out {
	struct directory entries; /* uint32_t at dest + 1, so that DEST_NONE is first */
	uint64_t count;
	struct adj_records *records;
	struct arena *arena;

	uint32_t from_size;
	uint32_t *from; /* entries by source */
};

/* ---- directories ---- */

/* 0, -ENOMEM. Then segment `s` is there, zero when new. */
static int
directory_reserve(struct arena *a, struct directory *d, uint32_t s, size_t segment_size)
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

static struct record *
record_at(const struct adj_records *r, uint32_t id)
{
	return &((struct record *)r->records.segment[id >> RECORD_BITS])[id & RECORD_MASK];
}

/* The segment of the set must exist. */
static uint32_t *
first_of(const struct adj_records *r, struct attr_id set)
{
	return &((uint32_t *)r->sets.segment[set.v >> SET_BITS])[set.v & SET_MASK];
}

int
adj_records_create(struct arena *a, struct adj_records **out)
{
	struct adj_records *r = arena_calloc(a, sizeof(*r));

	if (r == NULL)
		return -ENOMEM;
	r->arena = a;
	r->end = 1;
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
	arena_free(r->arena, r);
}

static uint32_t
record_alloc(struct adj_records *r)
{
	uint32_t id = r->free;

	if (id != 0) {
		r->free = record_at(r, id)->next;
		return id;
	}
	if (r->end == ADJ_RECORDS_MAX ||
		directory_reserve(r->arena, &r->records, r->end >> RECORD_BITS,
			RECORD_ENTRIES * sizeof(struct record)) < 0)
		return 0;
	return r->end++;
}

static bool
path_equal(const struct adj_path *a, const struct adj_path *b)
{
	return a->accepted.v == b->accepted.v && a->serial == b->serial &&
	       a->originator == b->originator && a->source.v == b->source.v && a->kind == b->kind;
}

int
adj_record_get(struct adj_records *r, const struct adj_path *p, struct adj_record_id *out)
{
	uint32_t *first, id, steps = 0;

	if (directory_reserve(r->arena, &r->sets, p->accepted.v >> SET_BITS,
		    SET_ENTRIES * sizeof(uint32_t)) < 0)
		return -ENOMEM;
	first = first_of(r, p->accepted);
	for (id = *first; id != 0; id = record_at(r, id)->next, steps++) {
		if (path_equal(&record_at(r, id)->path, p)) {
			record_at(r, id)->refs++;
			out->v = id;
			hash_probes_add(&r->probes, steps);
			return 0;
		}
	}
	id = record_alloc(r);
	if (id == 0)
		return -ENOMEM;
	*record_at(r, id) = (struct record){.path = *p, .refs = 1, .next = *first};
	*first = out->v = id;
	r->count++;
	return 0;
}

static void
record_free(struct adj_records *r, uint32_t id)
{
	struct record *p = record_at(r, id);
	uint32_t *at = first_of(r, p->path.accepted);

	while (*at != id)
		at = &record_at(r, *at)->next;
	*at = p->next;
	*p = (struct record){.next = r->free};
	r->free = id;
	r->count--;
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

/* ---- life ---- */

static uint32_t
entry_of(struct adj_route r)
{
	return r.record.v << 8 | r.edit;
}

static struct adj_route
route_of(uint32_t entry)
{
	return (struct adj_route){{entry >> 8}, (uint8_t)entry};
}

int
adj_rib_out_create(struct arena *a, struct adj_records *records, struct adj_rib_out **out)
{
	struct adj_rib_out *o = arena_calloc(a, sizeof(*o));

	if (o == NULL)
		return -ENOMEM;
	o->arena = a;
	o->records = records;
	*out = o;
	return 0;
}

bool
adj_rib_out_dismantle(struct adj_rib_out *o)
{
	uint32_t *segment;

	if (o->entries.count == 0)
		return false;
	segment = o->entries.segment[--o->entries.count];
	for (uint32_t i = 0; segment != NULL && i < SEGMENT_ENTRIES; i++)
		adj_record_put(o->records, route_of(segment[i]).record);
	arena_free(o->arena, segment);
	return o->entries.count > 0;
}

void
adj_rib_out_destroy(struct adj_rib_out *o)
{
	if (o == NULL)
		return;
	while (adj_rib_out_dismantle(o))
		;
	directory_fini(o->arena, &o->entries);
	arena_free(o->arena, o->from);
	arena_free(o->arena, o);
}

/* ---- entries ---- */

static uint32_t *
entry_find(const struct adj_rib_out *o, struct dest_id dest)
{
	uint32_t at = dest.v + 1, s = at >> SEGMENT_BITS;

	if (s >= o->entries.count || o->entries.segment[s] == NULL)
		return NULL;
	return &((uint32_t *)o->entries.segment[s])[at & SEGMENT_MASK];
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

static int
entry_reserve(struct adj_rib_out *o, struct dest_id dest, struct peer_id source)
{
	int err = directory_reserve(o->arena, &o->entries, (dest.v + 1) >> SEGMENT_BITS,
		SEGMENT_ENTRIES * sizeof(uint32_t));

	return err == 0 ? from_reserve(o, source) : err;
}

static void
entry_count(struct adj_rib_out *o, struct adj_route r, int by)
{
	if (r.record.v == 0)
		return;
	o->count += (uint64_t)(int64_t)by;
	o->from[record_at(o->records, r.record.v)->path.source.v] += (uint32_t)by;
}

int
adj_rib_out_set(
	struct adj_rib_out *o, struct dest_id dest, struct adj_route r, struct adj_route *old)
{
	uint32_t *entry = entry_find(o, dest);

	*old = entry != NULL ? route_of(*entry) : (struct adj_route){0};
	if (r.record.v == 0 && old->record.v == 0)
		return 0;
	if (r.record.v != 0 &&
		entry_reserve(o, dest, adj_record_path(o->records, r.record)->source) < 0) {
		adj_record_put(o->records, r.record);
		return -ENOMEM;
	}
	entry = entry_find(o, dest);
	entry_count(o, *old, -1);
	entry_count(o, r, 1);
	*entry = entry_of(r);
	return 0;
}

struct adj_route
adj_rib_out_get(const struct adj_rib_out *o, struct dest_id dest)
{
	const uint32_t *entry = entry_find(o, dest);

	return entry != NULL ? route_of(*entry) : (struct adj_route){0};
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
adj_rib_out_prefetch(const struct adj_rib_out *o, struct dest_id dest)
{
	struct adj_route r = adj_rib_out_get(o, dest);

	if (r.record.v != 0)
		__builtin_prefetch(record_at(o->records, r.record.v), 1);
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
	for (uint32_t s = 0; s < o->entries.count; s++) {
		const uint32_t *segment = o->entries.segment[s];

		for (uint32_t i = 0; segment != NULL && i < SEGMENT_ENTRIES; i++)
			used[route_of(segment[i]).edit] = true;
	}
}

int
adj_rib_out_copy(struct adj_rib_out *o, const struct adj_rib_out *from, uint32_t *at)
{
	const uint32_t *segment;
	struct adj_route old;

	if (*at >= from->entries.count)
		return 0;
	segment = from->entries.segment[*at];
	for (uint32_t i = 0; segment != NULL && i < SEGMENT_ENTRIES; i++) {
		struct adj_route r = route_of(segment[i]);

		if (r.record.v == 0)
			continue;
		record_at(o->records, r.record.v)->refs++;
		if (adj_rib_out_set(o, (struct dest_id){(*at << SEGMENT_BITS) + i - 1}, r, &old) <
			0)
			return -ENOMEM;
	}
	return ++*at < from->entries.count;
}
