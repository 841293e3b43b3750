/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tunnels of MPLS over UDP (RFC 7510) from which workers take packets: pairs of the address of a
 * remote edge router and the own address. Immutable sets, replaced as a whole by one store.
 *
 * Writer: the fib thread. Readers: workers, registered and online in the workers' QSBR; a replaced
 * set is freed after a grace period.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/bounds.h"
#include "lpm/base/prefix.h"

#include <stdatomic.h>

struct arena;
struct qsbr;
struct tunnel_sets;

#define TUNNELS_MAX 1024u
#define TUNNEL_SLOTS_MAX (2 * TUNNELS_MAX)
#define UDP_TUNNEL_HEADERS 28 /* octets: IPv4 and UDP */
#define UDP_TUNNEL_PORT 6635 /* RFC 7510 6 */

/* Addresses in wire order. */
struct tunnel {
	uint32_t remote, own;
};

/* Open addressing; a slot with remote 0 is empty. At most half of the slots are in use. */
struct tunnel_set {
	uint32_t mask; /* slots - 1 */
	struct tunnel slot[];
};

/* The reader's view. Public for the inlined lookup. */
struct tunnel_reader {
	_Atomic(const struct tunnel_set *) set; /* NULL: no tunnel */
};

/* Returns 0 or -ENOMEM. */
int tunnel_sets_create(struct arena *a, struct qsbr *workers, struct tunnel_sets **out);
/* After the readers have stopped. */
void tunnel_sets_destroy(struct tunnel_sets *s);
/* Replaces all tunnels. Returns 0; -ENOMEM, -ENOSPC (above TUNNELS_MAX): nothing changed. */
int tunnel_sets_put(struct tunnel_sets *s, const struct tunnel *t, unsigned count)
	RUNS_ON(role_fib);
const struct tunnel_reader *tunnel_reader(const struct tunnel_sets *s);

static inline uint32_t
tunnel_hash(struct tunnel t)
{
	return (uint32_t)hash_mix((uint64_t)t.remote << 32 | t.own);
}

/* Data-path safe: at most as many steps as tunnels in a row of slots. */
static inline bool
tunnel_known(const struct tunnel_reader *r, const struct bounds *bounds, struct tunnel t)
{
	/* acquire: pairs with the release store in tunnel_sets_put */
	const struct tunnel_set *set =
		bounds_check(bounds, atomic_load_explicit(&r->set, memory_order_acquire));
	uint32_t mask;

	if (set == NULL || t.remote == 0)
		return false;
	mask = set->mask % TUNNEL_SLOTS_MAX;
	for (uint32_t i = tunnel_hash(t) & mask, n = 0; n <= mask && set->slot[i].remote != 0;
		i = (i + 1) & mask, n++)
		if (set->slot[i].remote == t.remote && set->slot[i].own == t.own)
			return true;
	return false;
}
