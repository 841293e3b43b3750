/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adj-RIB-Out of one update group: 4 bytes by destination id, an interned pair (exported set, source): what all are told, and
 * the peer that it comes from, who is not. Writer: the session thread that owns the group. Nothing moves when it grows, and no step
 * takes longer than some microseconds.
 *
 * DEST_NONE is an id here, too: of the default route that we make up for a peer (`default_originate`).
 */
#pragma once

#include "lpm/base.h"
#include "rib/attr.h"
#include "rib/dest.h"

struct adj_rib_out;
struct arena;

DEFINE_ID(adj_pair_id, uint32_t); /* 0: nothing is advertised */

struct adj_route {
	struct attr_id set; /* 0: nothing */
	struct peer_id source; /* PEER_SELF: our own, and for nothing */
};

/* `exported` counts the references that pairs hold. 0, -ENOMEM. */
int adj_rib_out_create(struct arena *a, struct attr_table *exported, struct adj_rib_out **out);
void adj_rib_out_destroy(struct adj_rib_out *o);
/* A bounded piece of emptying it (4,096 entries); true while there is more. Nothing else but _destroy() may follow. */
bool adj_rib_out_dismantle(struct adj_rib_out *o);
/*
 * Takes over one reference on `r.set`. 1: it was another one, *old, whose reference is the caller's (adj_pair_put); 0: it is that
 * already; -ENOMEM (nothing changed, the reference on the set is gone; not to withdraw).
 */
int adj_rib_out_set(
	struct adj_rib_out *o, struct dest_id dest, struct adj_route r, struct adj_pair_id *old);
struct adj_route adj_rib_out_get(const struct adj_rib_out *o, struct dest_id dest);
/* The same as a pair with a reference for the caller. */
struct adj_pair_id adj_rib_out_hold(struct adj_rib_out *o, struct dest_id dest);
struct adj_route adj_pair_get(const struct adj_rib_out *o, struct adj_pair_id id);
void adj_pair_put(struct adj_rib_out *o, struct adj_pair_id id);
/* What adj_rib_out_set(), and what adj_pair_put() of a pair just looked at, will wait for. */
void adj_rib_out_prefetch(const struct adj_rib_out *o, struct dest_id dest);
void adj_pair_prefetch(const struct adj_rib_out *o, struct adj_pair_id id);

uint64_t adj_rib_out_count(const struct adj_rib_out *o);
/* Of these, from `source`. */
uint64_t adj_rib_out_count_from(const struct adj_rib_out *o, struct peer_id source);
uint32_t adj_rib_out_pairs(const struct adj_rib_out *o);
/*
 * A bounded piece of copying all of `from` into an empty one: 4,096 entries at *at, which moves on. 1 while there is more, 0, -ENOMEM.
 * `from` must not change meanwhile.
 */
int adj_rib_out_copy(struct adj_rib_out *o, const struct adj_rib_out *from, uint32_t *at);
