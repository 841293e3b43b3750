/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adj-RIB-Out of an update group: 4 bytes per destination id, which name an interned pair (exported
 * set, source). The members of the group advertise the set; the source is the peer of the route,
 * excluded by split horizon.
 *
 * Writer: the session thread that owns the group. Entries never move, and each step takes
 * microseconds. DEST_NONE is a valid id here: the default route generated for a peer
 * (`default_originate`).
 */
#pragma once

#include "lpm/base.h"
#include "rib/attr.h"
#include "rib/dest.h"

struct adj_rib_out;
struct arena;

DEFINE_ID(adj_pair_id, uint32_t); /* 0: not advertised */

struct adj_route {
	struct attr_id set; /* 0: not advertised */
	struct peer_id source; /* PEER_SELF: a route of this router, or not advertised */
};

/* Pairs hold references in `exported`. 0, -ENOMEM. */
int adj_rib_out_create(struct arena *a, struct attr_table *exported, struct adj_rib_out **out);
void adj_rib_out_destroy(struct adj_rib_out *o);
/*
 * A bounded step of emptying (4,096 entries); true if more is due. Afterwards only
 * adj_rib_out_destroy() may follow.
 */
bool adj_rib_out_dismantle(struct adj_rib_out *o);
/*
 * Sets the route of `dest`. Takes ownership of one reference on `r.set`. 1: the route changed, and
 * *old with its reference belongs to the caller (adj_pair_put()). 0: the route is unchanged.
 * -ENOMEM: nothing changed and the reference is dropped; never for a withdrawal.
 */
int adj_rib_out_set(
	struct adj_rib_out *o, struct dest_id dest, struct adj_route r, struct adj_pair_id *old);
struct adj_route adj_rib_out_get(const struct adj_rib_out *o, struct dest_id dest);
/* As adj_rib_out_get(), as a pair with a reference for the caller. */
struct adj_pair_id adj_rib_out_hold(struct adj_rib_out *o, struct dest_id dest);
struct adj_route adj_pair_get(const struct adj_rib_out *o, struct adj_pair_id id);
void adj_pair_put(struct adj_rib_out *o, struct adj_pair_id id);
/* Prefetches for adj_rib_out_set(), and for adj_pair_put() after adj_pair_get(). */
void adj_rib_out_prefetch(const struct adj_rib_out *o, struct dest_id dest);
void adj_pair_prefetch(const struct adj_rib_out *o, struct adj_pair_id id);

uint64_t adj_rib_out_count(const struct adj_rib_out *o);
/* Number of entries from `source`. */
uint64_t adj_rib_out_count_from(const struct adj_rib_out *o, struct peer_id source);
uint32_t adj_rib_out_pairs(const struct adj_rib_out *o);
/*
 * A bounded step of copying `from` into an empty Adj-RIB-Out: 4,096 entries at *at, which advances.
 * 1 if more is due, 0, -ENOMEM. `from` must not change during the copy.
 */
int adj_rib_out_copy(struct adj_rib_out *o, const struct adj_rib_out *from, uint32_t *at);
