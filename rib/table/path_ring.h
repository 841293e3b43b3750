/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changed paths of peers, from a shard to the BMP thread: a bounded ring of names. An entry names the
 * peer and the destination; the reader looks up the state at the time of reading, so entries hold no
 * attributes, and an entry may be read late or twice.
 *
 * Writer: the shard. Reader: one thread. A change without room is lost; the ring remembers the peer,
 * and the reader reads all paths of this peer again.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"
#include "rib/table/dest.h"
#include "rib/table/journal.h"
#include "rib/table/vpn.h"

struct arena;
struct path_ring;

struct path_change {
	struct vpn_rd rd;
	struct prefix prefix;
	struct peer_id peer;
	struct table_id table;
	/*
	 * what there was before the change, so that the reader withdraws nothing that it never announced: a shard has PATH_HAD_ bits, an
	 * update group the source of the route, or PATH_HAD_NONE
	 */
	uint16_t had;
};
#define PATH_HAD_RECEIVED 1u
#define PATH_HAD_ACCEPTED 2u
#define PATH_HAD_NONE UINT16_MAX
static_assert(sizeof(struct path_change) == 32, "two entries a cache line");

#define PATH_RING_ENTRIES 65536u /* 2 MiB */

/* 0, -ENOMEM. */
int path_ring_create(struct arena *a, struct path_ring **out);
void path_ring_destroy(struct path_ring *r);
/* The writer. */
void path_ring_put(struct path_ring *r, const struct path_change *c);
/* The writer: changes of the peer are lost. */
void path_ring_lose(struct path_ring *r, struct peer_id peer);
/* The reader. False: the ring is empty. */
bool path_ring_get(struct path_ring *r, struct path_change *out);
/* The reader: true if changes were lost; sets the bits of their peers in `peers`. */
bool path_ring_lost(struct path_ring *r, uint64_t peers[PEER_WORDS]);
