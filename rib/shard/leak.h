/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lookup structures of the leak engine (rib/shard/shard_leak.c): the VPN instances of a route target
 * (RFC 4364 4.3.1), the places of its routes, and the origins of imported paths.
 *
 * Owner and writer: the thread of a shard. Other threads call leak_origin_get() only.
 */
#pragma once

#include "lpm/base/base.h"
#include "rib/table/vpn.h"

struct arena;

/* ---- value -> instances ---- */

/*
 * Lists instances for a route target or another number of 64 bits. A lookup costs the same with 1 and
 * with 1,000 instances.
 */
struct leak_index;
int leak_index_create(struct arena *a, struct leak_index **out);
void leak_index_destroy(struct leak_index *x);
/* Lists the instance, once. 0, -ENOMEM. */
int leak_index_add(struct leak_index *x, uint64_t key, struct vrf_id vrf);
void leak_index_remove(struct leak_index *x, uint64_t key, struct vrf_id vrf);
/* The instances of a key, in no order, valid until the next change; *count 0: none. */
const struct vrf_id *leak_index_find(const struct leak_index *x, uint64_t key, unsigned *count);
/* Number of keys. */
unsigned leak_index_keys(const struct leak_index *x);

/* ---- places of the routes of a target ---- */

/*
 * The blocks of destination ids with routes of a target: routes that came together mostly have ids
 * side by side. A block stays listed when the routes go. Owner's thread only.
 */
#define LEAK_BLOCK_IDS 256u
struct leak_places;
int leak_places_create(struct arena *a, struct leak_places **out);
void leak_places_destroy(struct leak_places *p);
/* 0, -ENOMEM. */
int leak_places_add(struct leak_places *p, uint64_t key, uint32_t block);
/* Adds the blocks of a key below 64 * words to the bitmap. */
void leak_places_get(const struct leak_places *p, uint64_t key, uint64_t *bits, unsigned words);
void leak_places_clear(struct leak_places *p);
/* Number of pairs (key, block), and of words of all bitmaps. */
uint64_t leak_places_count(const struct leak_places *p);
uint64_t leak_places_words(const struct leak_places *p);

/* ---- origins of imported paths ---- */

/*
 * An imported path has the peer of its source. The RD and the path id of the source have one number,
 * used as the path id of the imported path: two sites behind one reflector are two paths.
 */
struct leak_origin {
	struct vpn_rd rd;
	struct vrf_id vrf; /* the exporting local instance; VRF_DEFAULT: a peer */
	uint32_t path_id; /* as received */
};

struct leak_origins;
int leak_origins_create(struct arena *a, struct leak_origins **out);
void leak_origins_destroy(struct leak_origins *o);
/* The number of an origin, from 1, with one more reference. 0, -ENOMEM. */
int leak_origin_hold(struct leak_origins *o, const struct leak_origin *key, uint32_t *out);
/* The number of an origin; 0: no path has this origin. */
uint32_t leak_origin_find(const struct leak_origins *o, const struct leak_origin *key);
void leak_origin_ref(struct leak_origins *o, uint32_t number);
/* The number of an origin without references is used again. */
void leak_origin_unref(struct leak_origins *o, uint32_t number);
/*
 * Any thread, of a path read from a table: false if the number is unknown. The origin of a path
 * withdrawn meanwhile may be of a newer path.
 */
bool leak_origin_get(const struct leak_origins *o, uint32_t number, struct leak_origin *out);
unsigned leak_origins_count(const struct leak_origins *o);
