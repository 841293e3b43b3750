/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/adj_rib_out.h"

#include "lpm/arena.h"

#include <errno.h>
#include <string.h>

/*
 * 16 KB a segment: a full table needs 300 segments, a VRF with a hundred routes one. When the
 * directory grows, only the directory moves; the owner is its only reader.
 */
#define SEGMENT_BITS 12
#define SEGMENT_ENTRIES (1u << SEGMENT_BITS)
#define SEGMENT_MASK (SEGMENT_ENTRIES - 1)
/* A full table has 190,000 pairs, about one per exported set. */
#define PAIR_BITS 10
#define PAIR_ENTRIES (1u << PAIR_BITS)
#define PAIR_MASK (PAIR_ENTRIES - 1)
/*
 * First pair of each set, by set id; most sets have one pair. 1 KB a segment, as the sets of a
 * small group are scattered over all ids.
 */
#define SET_BITS 8
#define SET_ENTRIES (1u << SET_BITS)
#define SET_MASK (SET_ENTRIES - 1)

struct pair {
	struct attr_id set;
	struct peer_id source;
	uint16_t unused;
	uint32_t refs; /* 0: free */
	uint32_t next; /* next pair of the set, or next free pair */
};
static_assert(sizeof(struct pair) == 16, "four a cache line");

/* A segmented array: directory of segments. */
struct directory {
	void **segment;
	uint32_t count;
};

struct adj_rib_out {
	struct directory entries; /* struct adj_pair_id at dest + 1, so that DEST_NONE is first */
	uint64_t count;
	struct attr_table *exported;
	struct arena *arena;

	struct directory pairs;
	struct directory sets; /* uint32_t by set id: the first pair */
	uint32_t pair_end, pair_free, pair_count;

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

static struct pair *
pair_at(const struct adj_rib_out *o, uint32_t id)
{
	return &((struct pair *)o->pairs.segment[id >> PAIR_BITS])[id & PAIR_MASK];
}

/* The segment of the set must exist. */
static uint32_t *
first_of(const struct adj_rib_out *o, struct attr_id set)
{
	return &((uint32_t *)o->sets.segment[set.v >> SET_BITS])[set.v & SET_MASK];
}

/* ---- pairs ---- */

static uint32_t
pair_alloc(struct adj_rib_out *o)
{
	uint32_t id = o->pair_free;

	if (id != 0) {
		o->pair_free = pair_at(o, id)->next;
		return id;
	}
	if (directory_reserve(o->arena, &o->pairs, o->pair_end >> PAIR_BITS,
		    PAIR_ENTRIES * sizeof(struct pair)) < 0)
		return 0;
	return o->pair_end++;
}

/*
 * Takes ownership of a reference on the set, returns a reference on the pair. 0, -ENOMEM (the
 * reference on the set is dropped).
 */
static int
pair_intern(struct adj_rib_out *o, struct adj_route r, uint32_t *out)
{
	uint32_t *first, id = 0;
	struct pair *p;

	if (directory_reserve(
		    o->arena, &o->sets, r.set.v >> SET_BITS, SET_ENTRIES * sizeof(uint32_t)) < 0) {
		attr_unref(o->exported, r.set);
		return -ENOMEM;
	}
	first = first_of(o, r.set);
	for (id = *first; id != 0; id = p->next) {
		p = pair_at(o, id);
		if (p->source.v == r.source.v) {
			p->refs++;
			attr_unref(o->exported, r.set); /* the pair holds a reference */
			*out = id;
			return 0;
		}
	}
	id = pair_alloc(o);
	if (id == 0) {
		attr_unref(o->exported, r.set);
		return -ENOMEM;
	}
	*pair_at(o, id) =
		(struct pair){.set = r.set, .source = r.source, .refs = 1, .next = *first};
	*first = *out = id;
	o->pair_count++;
	return 0;
}

static void
pair_free(struct adj_rib_out *o, uint32_t id)
{
	struct pair *p = pair_at(o, id);
	uint32_t *at = first_of(o, p->set);

	while (*at != id)
		at = &pair_at(o, *at)->next;
	*at = p->next;
	attr_unref(o->exported, p->set);
	*p = (struct pair){.next = o->pair_free};
	o->pair_free = id;
	o->pair_count--;
}

void
adj_pair_put(struct adj_rib_out *o, struct adj_pair_id id)
{
	if (id.v != 0 && --pair_at(o, id.v)->refs == 0)
		pair_free(o, id.v);
}

struct adj_route
adj_pair_get(const struct adj_rib_out *o, struct adj_pair_id id)
{
	const struct pair *p;

	if (id.v == 0)
		return (struct adj_route){0};
	p = pair_at(o, id.v);
	return (struct adj_route){p->set, p->source};
}

/* ---- life ---- */

int
adj_rib_out_create(struct arena *a, struct attr_table *exported, struct adj_rib_out **out)
{
	struct adj_rib_out *o = arena_calloc(a, sizeof(*o));

	if (o == NULL)
		return -ENOMEM;
	o->arena = a;
	o->exported = exported;
	o->pair_end = 1;
	*out = o;
	return 0;
}

bool
adj_rib_out_dismantle(struct adj_rib_out *o)
{
	struct adj_pair_id *segment;

	if (o->entries.count == 0)
		return false;
	segment = o->entries.segment[--o->entries.count];
	for (uint32_t i = 0; segment != NULL && i < SEGMENT_ENTRIES; i++)
		adj_pair_put(o, segment[i]);
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
	directory_fini(o->arena, &o->pairs);
	directory_fini(o->arena, &o->sets);
	arena_free(o->arena, o->from);
	arena_free(o->arena, o);
}

/* ---- entries ---- */

static struct adj_pair_id *
entry_find(const struct adj_rib_out *o, struct dest_id dest)
{
	uint32_t at = dest.v + 1, s = at >> SEGMENT_BITS;

	if (s >= o->entries.count || o->entries.segment[s] == NULL)
		return NULL;
	return &((struct adj_pair_id *)o->entries.segment[s])[at & SEGMENT_MASK];
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
		SEGMENT_ENTRIES * sizeof(struct adj_pair_id));

	return err == 0 ? from_reserve(o, source) : err;
}

static void
entry_count(struct adj_rib_out *o, uint32_t pair, int by)
{
	if (pair == 0)
		return;
	o->count += (uint64_t)(int64_t)by;
	o->from[pair_at(o, pair)->source.v] += (uint32_t)by;
}

int
adj_rib_out_set(
	struct adj_rib_out *o, struct dest_id dest, struct adj_route r, struct adj_pair_id *old)
{
	struct adj_pair_id *entry = entry_find(o, dest);
	uint32_t id = 0;

	*old = entry != NULL ? *entry : (struct adj_pair_id){0};
	if (r.set.v == 0 && old->v == 0)
		return 0;
	if (r.set.v != 0) {
		const struct pair *p = old->v != 0 ? pair_at(o, old->v) : NULL;

		if (p != NULL && p->set.v == r.set.v && p->source.v == r.source.v) {
			attr_unref(o->exported, r.set);
			return 0;
		}
		if (entry_reserve(o, dest, r.source) < 0) {
			attr_unref(o->exported, r.set);
			return -ENOMEM;
		}
		if (pair_intern(o, r, &id) < 0)
			return -ENOMEM;
		entry = entry_find(o, dest);
	}
	entry_count(o, old->v, -1);
	entry_count(o, id, 1);
	entry->v = id;
	return 1;
}

struct adj_route
adj_rib_out_get(const struct adj_rib_out *o, struct dest_id dest)
{
	const struct adj_pair_id *entry = entry_find(o, dest);

	return entry != NULL ? adj_pair_get(o, *entry) : (struct adj_route){0};
}

struct adj_pair_id
adj_rib_out_hold(struct adj_rib_out *o, struct dest_id dest)
{
	const struct adj_pair_id *entry = entry_find(o, dest);

	if (entry == NULL || entry->v == 0)
		return (struct adj_pair_id){0};
	pair_at(o, entry->v)->refs++;
	return *entry;
}

void
adj_rib_out_prefetch(const struct adj_rib_out *o, struct dest_id dest)
{
	const struct adj_pair_id *entry = entry_find(o, dest);

	if (entry != NULL && entry->v != 0)
		__builtin_prefetch(pair_at(o, entry->v), 1);
}

void
adj_pair_prefetch(const struct adj_rib_out *o, struct adj_pair_id id)
{
	if (id.v != 0)
		attr_prefetch(o->exported, pair_at(o, id.v)->set);
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

uint32_t
adj_rib_out_pairs(const struct adj_rib_out *o)
{
	return o->pair_count;
}

int
adj_rib_out_copy(struct adj_rib_out *o, const struct adj_rib_out *from, uint32_t *at)
{
	const struct adj_pair_id *segment;
	struct adj_pair_id old;

	if (*at >= from->entries.count)
		return 0;
	segment = from->entries.segment[*at];
	for (uint32_t i = 0; segment != NULL && i < SEGMENT_ENTRIES; i++) {
		struct adj_route r = adj_pair_get(from, segment[i]);

		if (r.set.v == 0)
			continue;
		attr_ref(o->exported, r.set, 1);
		if (adj_rib_out_set(o, (struct dest_id){(*at << SEGMENT_BITS) + i - 1}, r, &old) <
			0)
			return -ENOMEM;
	}
	return ++*at < from->entries.count;
}
