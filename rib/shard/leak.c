/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/shard/leak.h"

#include "lpm/base/arena.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define SIZE_MIN 64u /* places of a hash table, a power of two; at most 3/4 are taken */

/* ---- value -> instances ---- */

struct leak_entry {
	uint64_t key;
	unsigned count, room; /* count 0: an empty place */
	struct vrf_id *vrfs;
};

struct leak_index {
	struct arena *arena;
	unsigned size, keys;
	struct leak_entry *at;
};

static unsigned
place_of(uint64_t key, unsigned size)
{
	return (unsigned)hash_words(key, 0, 0) & (size - 1);
}

int
leak_index_create(struct arena *a, struct leak_index **out)
{
	struct leak_index *x = arena_calloc(a, sizeof(*x));

	if (x == NULL)
		return -ENOMEM;
	x->arena = a;
	x->size = SIZE_MIN;
	x->at = arena_calloc(a, x->size * sizeof(*x->at));
	if (x->at == NULL) {
		arena_free(a, x);
		return -ENOMEM;
	}
	*out = x;
	return 0;
}

void
leak_index_destroy(struct leak_index *x)
{
	if (x == NULL)
		return;
	for (unsigned i = 0; i < x->size; i++)
		arena_free(x->arena, x->at[i].vrfs);
	arena_free(x->arena, x->at);
	arena_free(x->arena, x);
}

/* The place of the key, or the empty place for it. */
static struct leak_entry *
entry_of(const struct leak_index *x, uint64_t key)
{
	unsigned i = place_of(key, x->size);

	while (x->at[i].count > 0 && x->at[i].key != key)
		i = (i + 1) & (x->size - 1);
	return &x->at[i];
}

static int
index_grow(struct leak_index *x)
{
	struct leak_index larger = {.size = x->size * 2};

	larger.at = arena_calloc(x->arena, larger.size * sizeof(*larger.at));
	if (larger.at == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < x->size; i++)
		if (x->at[i].count > 0)
			*entry_of(&larger, x->at[i].key) = x->at[i];
	arena_free(x->arena, x->at);
	x->at = larger.at;
	x->size = larger.size;
	return 0;
}

int
leak_index_add(struct leak_index *x, uint64_t key, struct vrf_id vrf)
{
	struct leak_entry *e = entry_of(x, key);

	for (unsigned i = 0; i < e->count; i++)
		if (e->vrfs[i].v == vrf.v)
			return 0;
	if (e->count == 0 && x->keys >= x->size / 4 * 3) {
		if (index_grow(x) != 0)
			return -ENOMEM;
		e = entry_of(x, key);
	}
	if (e->count == e->room) {
		unsigned room = e->room > 0 ? e->room * 2 : 2;
		struct vrf_id *grown = arena_realloc(x->arena, e->vrfs, room * sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		e->vrfs = grown;
		e->room = room;
	}
	x->keys += e->count == 0;
	e->key = key;
	e->vrfs[e->count++] = vrf;
	return 0;
}

/* Moves later entries of the probe sequence into the gap at `hole`. */
static void
gap_close(struct leak_index *x, unsigned hole)
{
	unsigned mask = x->size - 1;

	for (unsigned i = (hole + 1) & mask; x->at[i].count > 0; i = (i + 1) & mask) {
		unsigned home = place_of(x->at[i].key, x->size);

		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		x->at[hole] = x->at[i];
		x->at[i] = (struct leak_entry){0};
		hole = i;
	}
}

void
leak_index_remove(struct leak_index *x, uint64_t key, struct vrf_id vrf)
{
	struct leak_entry *e = entry_of(x, key);

	for (unsigned i = 0; i < e->count; i++) {
		if (e->vrfs[i].v != vrf.v)
			continue;
		e->vrfs[i] = e->vrfs[--e->count];
		if (e->count > 0)
			return;
		arena_free(x->arena, e->vrfs);
		*e = (struct leak_entry){0};
		x->keys--;
		gap_close(x, (unsigned)(e - x->at));
		return;
	}
}

const struct vrf_id *
leak_index_find(const struct leak_index *x, uint64_t key, unsigned *count)
{
	const struct leak_entry *e = entry_of(x, key);

	*count = e->count;
	return e->vrfs;
}

unsigned
leak_index_keys(const struct leak_index *x)
{
	return x->keys;
}

/* ---- places ---- */

struct places_entry {
	uint64_t key;
	unsigned words; /* of the bitmap; 0: an empty place */
	uint64_t *bits;
};

struct leak_places {
	struct arena *arena;
	unsigned size, keys;
	uint64_t count, words;
	struct places_entry *at;
};

int
leak_places_create(struct arena *a, struct leak_places **out)
{
	struct leak_places *p = arena_calloc(a, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	p->arena = a;
	p->size = SIZE_MIN;
	p->at = arena_calloc(a, p->size * sizeof(*p->at));
	if (p->at == NULL) {
		arena_free(a, p);
		return -ENOMEM;
	}
	*out = p;
	return 0;
}

void
leak_places_clear(struct leak_places *p)
{
	for (unsigned i = 0; i < p->size; i++) {
		arena_free(p->arena, p->at[i].bits);
		p->at[i] = (struct places_entry){0};
	}
	p->keys = 0;
	p->count = p->words = 0;
}

void
leak_places_destroy(struct leak_places *p)
{
	if (p == NULL)
		return;
	leak_places_clear(p);
	arena_free(p->arena, p->at);
	arena_free(p->arena, p);
}

/* The entry of the key, or the empty place for it. */
static struct places_entry *
places_of(const struct leak_places *p, uint64_t key)
{
	unsigned i = place_of(key, p->size);

	while (p->at[i].words > 0 && p->at[i].key != key)
		i = (i + 1) & (p->size - 1);
	return &p->at[i];
}

static int
places_larger(struct leak_places *p)
{
	struct leak_places larger = {.size = p->size * 2};

	larger.at = arena_calloc(p->arena, larger.size * sizeof(*larger.at));
	if (larger.at == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < p->size; i++)
		if (p->at[i].words > 0)
			*places_of(&larger, p->at[i].key) = p->at[i];
	arena_free(p->arena, p->at);
	p->at = larger.at;
	p->size = larger.size;
	return 0;
}

int
leak_places_add(struct leak_places *p, uint64_t key, uint32_t block)
{
	struct places_entry *e = places_of(p, key);
	uint64_t bit = UINT64_C(1) << block % 64;

	if (e->words == 0 && p->keys >= p->size / 4 * 3) {
		if (places_larger(p) != 0)
			return -ENOMEM;
		e = places_of(p, key);
	}
	if (block / 64 >= e->words) {
		unsigned words = block / 64 + 1 + e->words / 2;
		uint64_t *grown = arena_realloc(p->arena, e->bits, words * sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		memset(grown + e->words, 0, (words - e->words) * sizeof(*grown));
		p->keys += e->words == 0;
		p->words += words - e->words;
		e->key = key;
		e->bits = grown;
		e->words = words;
	}
	p->count += (e->bits[block / 64] & bit) == 0;
	e->bits[block / 64] |= bit;
	return 0;
}

void
leak_places_get(const struct leak_places *p, uint64_t key, uint64_t *bits, unsigned words)
{
	const struct places_entry *e = places_of(p, key);

	for (unsigned i = 0; i < words && i < e->words; i++)
		bits[i] |= e->bits[i];
}

uint64_t
leak_places_count(const struct leak_places *p)
{
	return p->count;
}

uint64_t
leak_places_words(const struct leak_places *p)
{
	return p->words;
}

/* ---- origins ---- */

#define SEGMENT 1024u
#define SEGMENTS 1024u

struct origin {
	_Atomic uint64_t rd;
	_Atomic uint32_t path_id;
	_Atomic uint16_t vrf;
	uint32_t refs; /* the owner's; 0: free */
	uint32_t next_free; /* the owner's */
};

struct leak_origins {
	struct arena *arena;
	/* by number; segments stay until the end, so readers need no grace period */
	_Atomic(struct origin *) segment[SEGMENTS];
	uint32_t used; /* numbers ever used; the first is 1 */
	uint32_t free; /* list of free numbers */
	uint32_t count;
	uint32_t size, *place; /* hash of numbers; 0: empty */
};

static struct origin *
origin_at(const struct leak_origins *o, uint32_t number)
{
	/* acquire: pairs with the release in origin_new */
	struct origin *segment = atomic_load_explicit(
		&o->segment[number / SEGMENT % SEGMENTS], memory_order_acquire);

	return segment != NULL ? &segment[number % SEGMENT] : NULL;
}

static struct leak_origin
origin_read(const struct origin *e)
{
	return (struct leak_origin){
		.rd = {atomic_load_explicit(&e->rd, memory_order_relaxed)},
		.vrf = {atomic_load_explicit(&e->vrf, memory_order_relaxed)},
		.path_id = atomic_load_explicit(&e->path_id, memory_order_relaxed),
	};
}

static unsigned
origin_place(const struct leak_origin *key, uint32_t size)
{
	return (unsigned)hash_words(key->rd.v, (uint64_t)key->path_id << 16 | key->vrf.v, 0) &
	       (size - 1);
}

int
leak_origins_create(struct arena *a, struct leak_origins **out)
{
	struct leak_origins *o = arena_calloc(a, sizeof(*o));

	if (o == NULL)
		return -ENOMEM;
	o->arena = a;
	o->size = SIZE_MIN;
	o->place = arena_calloc(a, o->size * sizeof(*o->place));
	if (o->place == NULL) {
		arena_free(a, o);
		return -ENOMEM;
	}
	*out = o;
	return 0;
}

void
leak_origins_destroy(struct leak_origins *o)
{
	if (o == NULL)
		return;
	for (unsigned i = 0; i < SEGMENTS; i++)
		arena_free(o->arena, atomic_load_explicit(&o->segment[i], memory_order_relaxed));
	arena_free(o->arena, o->place);
	arena_free(o->arena, o);
}

/* The place of the origin in the hash, or the empty place for it. */
static unsigned
place_find(const struct leak_origins *o, const struct leak_origin *key)
{
	unsigned i = origin_place(key, o->size);

	for (; o->place[i] != 0; i = (i + 1) & (o->size - 1)) {
		struct leak_origin e = origin_read(origin_at(o, o->place[i]));

		if (e.rd.v == key->rd.v && e.vrf.v == key->vrf.v && e.path_id == key->path_id)
			break;
	}
	return i;
}

static int
places_grow(struct leak_origins *o)
{
	uint32_t old_size = o->size, *old = o->place,
		 *larger = arena_calloc(o->arena, 2 * o->size * sizeof(*larger));

	if (larger == NULL)
		return -ENOMEM;
	o->place = larger;
	o->size *= 2;
	for (uint32_t i = 0; i < old_size; i++) {
		struct leak_origin key;

		if (old[i] == 0)
			continue;
		key = origin_read(origin_at(o, old[i]));
		o->place[place_find(o, &key)] = old[i];
	}
	arena_free(o->arena, old);
	return 0;
}

/* A free number, which the caller takes. 0: no memory, or all numbers are taken. */
static uint32_t
origin_new(struct leak_origins *o)
{
	uint32_t number = o->used + 1;
	struct origin *segment;

	if (o->free != 0)
		return o->free;
	if (number >= SEGMENT * SEGMENTS)
		return 0;
	if (origin_at(o, number) == NULL) {
		segment = arena_calloc(o->arena, SEGMENT * sizeof(*segment));
		if (segment == NULL)
			return 0;
		/* release: pairs with the acquire in origin_at */
		atomic_store_explicit(&o->segment[number / SEGMENT], segment, memory_order_release);
	}
	return number;
}

int
leak_origin_hold(struct leak_origins *o, const struct leak_origin *key, uint32_t *out)
{
	unsigned at = place_find(o, key);
	uint32_t number = o->place[at];
	struct origin *e;

	*out = number;
	if (number != 0) {
		origin_at(o, number)->refs++;
		return 0;
	}
	if (o->count >= o->size / 4 * 3) {
		if (places_grow(o) != 0)
			return -ENOMEM;
		at = place_find(o, key);
	}
	number = origin_new(o);
	if (number == 0)
		return -ENOMEM;
	e = origin_at(o, number);
	if (number == o->free)
		o->free = e->next_free;
	else
		o->used = number;
	atomic_store_explicit(&e->rd, key->rd.v, memory_order_relaxed);
	atomic_store_explicit(&e->vrf, key->vrf.v, memory_order_relaxed);
	atomic_store_explicit(&e->path_id, key->path_id, memory_order_relaxed);
	e->refs = 1;
	o->place[at] = number;
	o->count++;
	*out = number;
	return 0;
}

uint32_t
leak_origin_find(const struct leak_origins *o, const struct leak_origin *key)
{
	return o->place[place_find(o, key)];
}

void
leak_origin_ref(struct leak_origins *o, uint32_t number)
{
	origin_at(o, number)->refs++;
}

void
leak_origin_unref(struct leak_origins *o, uint32_t number)
{
	struct origin *e = origin_at(o, number);
	struct leak_origin key;
	unsigned hole, mask = o->size - 1;

	if (--e->refs > 0)
		return;
	key = origin_read(e);
	hole = place_find(o, &key);
	o->place[hole] = 0;
	for (unsigned i = (hole + 1) & mask; o->place[i] != 0; i = (i + 1) & mask) {
		struct leak_origin other = origin_read(origin_at(o, o->place[i]));
		unsigned home = origin_place(&other, o->size);

		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		o->place[hole] = o->place[i];
		o->place[i] = 0;
		hole = i;
	}
	e->next_free = o->free;
	o->free = number;
	o->count--;
}

bool
leak_origin_get(const struct leak_origins *o, uint32_t number, struct leak_origin *out)
{
	const struct origin *e = number < SEGMENT * SEGMENTS ? origin_at(o, number) : NULL;

	if (e == NULL || number == 0)
		return false;
	*out = origin_read(e);
	return true;
}

unsigned
leak_origins_count(const struct leak_origins *o)
{
	return o->count;
}
