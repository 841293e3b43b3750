/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Up to 64 packets as a struct of arrays, handed from stage to stage (receive, ip4_classify, ip4_route, rewrite_burst,
 * transmit). Each stage leaves the survivors dense in pkt[0..count) and what it drops in dropped[].
 *
 * Writer: the worker that received it; on its stack, gone after the burst. Shown because the stages index it inline.
 */
#pragma once

#include "dataplane/stats.h"
#include "lpm/base.h"
#include "lpm/path_list.h"

#include <rte_mbuf.h>

#define BURST_MAX 64
#define ETHER_LEN 14

/* What burst.unresolved holds: a destination on a port's subnet, or (with this bit) the id of a next hop. */
#define UNRESOLVED_NEXT_HOP (UINT64_C(1) << 63)
#define UNRESOLVED_ON_PORT(port, v4) ((UINT64_C(1) << 62) | (uint64_t)(port) << 32 | (v4))

struct burst {
	struct rte_mbuf *pkt[BURST_MAX];
	uint32_t destination[BURST_MAX]; /* host order */
	uint32_t list[BURST_MAX];
	const struct adjacency *adjacency[BURST_MAX];
	unsigned count;
	unsigned dropped_count;
	unsigned unresolved_count;
	struct worker_stats *stats;
	struct rte_mbuf *dropped[BURST_MAX];
	uint64_t unresolved[BURST_MAX];
};

/* Single writer: a relaxed load, add and store instead of a locked instruction. */
static inline void
count_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed);
}

static inline void
burst_drop(struct burst *b, struct rte_mbuf *m, enum drop_reason reason)
{
	b->dropped[b->dropped_count++] = m;
	count_add(&b->stats->drops[reason], 1);
}
