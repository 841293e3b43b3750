/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/adj_rib_out.h"

#include "lpm/arena.h"

#include <errno.h>

/*
 * 16 KB a segment: a full table needs 300 of them, a VRF with a hundred routes pays one. The directory alone is moved when it
 * grows; nobody but the owner follows it.
 */
#define SEGMENT_BITS 12
#define SEGMENT_ENTRIES (1u << SEGMENT_BITS)
#define SEGMENT_MASK (SEGMENT_ENTRIES - 1)

struct adj_rib_out {
	struct attr_id **segment;
	uint32_t segment_count;
	uint64_t count;
	struct attr_table *exported;
	struct arena *arena;
};

int
adj_rib_out_create(struct arena *a, struct attr_table *exported, struct adj_rib_out **out)
{
	struct adj_rib_out *o = arena_calloc(a, sizeof(*o));

	if (o == NULL)
		return -ENOMEM;
	o->arena = a;
	o->exported = exported;
	*out = o;
	return 0;
}

bool
adj_rib_out_dismantle(struct adj_rib_out *o)
{
	struct attr_id *segment;

	if (o->segment_count == 0)
		return false;
	segment = o->segment[--o->segment_count];
	for (uint32_t i = 0; segment != NULL && i < SEGMENT_ENTRIES; i++) {
		if (segment[i].v != 0)
			attr_unref(o->exported, segment[i]);
	}
	arena_free(o->arena, segment);
	return o->segment_count > 0;
}

void
adj_rib_out_destroy(struct adj_rib_out *o)
{
	if (o == NULL)
		return;
	while (adj_rib_out_dismantle(o))
		;
	arena_free(o->arena, o->segment);
	arena_free(o->arena, o);
}

static int
directory_grow(struct adj_rib_out *o, uint32_t want)
{
	uint32_t count = o->segment_count > 0 ? o->segment_count : 16;
	struct attr_id **segment;

	while (count < want)
		count *= 2;
	segment = arena_realloc(o->arena, o->segment, count * sizeof(struct attr_id *));
	if (segment == NULL)
		return -ENOMEM;
	for (uint32_t s = o->segment_count; s < count; s++)
		segment[s] = NULL;
	o->segment = segment;
	o->segment_count = count;
	return 0;
}

static struct attr_id *
entry_reserve(struct adj_rib_out *o, struct dest_id dest)
{
	uint32_t s = dest.v >> SEGMENT_BITS;

	if (s >= o->segment_count && directory_grow(o, s + 1) < 0)
		return NULL;
	if (o->segment[s] == NULL) {
		o->segment[s] = arena_calloc(o->arena, SEGMENT_ENTRIES * sizeof(struct attr_id));
		if (o->segment[s] == NULL)
			return NULL;
	}
	return &o->segment[s][dest.v & SEGMENT_MASK];
}

int
adj_rib_out_set(struct adj_rib_out *o, struct dest_id dest, struct attr_id id, bool *changed)
{
	struct attr_id old = adj_rib_out_get(o, dest);
	struct attr_id *entry;

	*changed = old.v != id.v;
	if (old.v == id.v) {
		if (id.v != 0)
			attr_unref(o->exported, id); /* the entry has one already */
		return 0;
	}
	entry = entry_reserve(o, dest);
	if (entry == NULL)
		return -ENOMEM;
	*entry = id;
	o->count += (id.v != 0);
	o->count -= (old.v != 0);
	if (old.v != 0)
		attr_unref(o->exported, old);
	return 0;
}

struct attr_id
adj_rib_out_get(const struct adj_rib_out *o, struct dest_id dest)
{
	uint32_t s = dest.v >> SEGMENT_BITS;

	if (s >= o->segment_count || o->segment[s] == NULL)
		return (struct attr_id){0};
	return o->segment[s][dest.v & SEGMENT_MASK];
}

uint64_t
adj_rib_out_count(const struct adj_rib_out *o)
{
	return o->count;
}
