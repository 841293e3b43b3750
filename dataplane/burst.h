/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Up to 128 packets, handed from stage to stage: receive, forward_split (one lane a family), ip4_/ip6_classify, ip6_look_up, ip4_/ip6_finish,
 * transmit. A lane is a struct of arrays; the first stages leave the survivors dense and in order in pkt[0..count), the last takes them in
 * that order, so a flow, which is of one family, keeps its own. What a stage drops is in dropped[], what waits for a neighbour in waiting[], what its sender is
 * perhaps to be told of in fault[].
 *
 * Writer: the worker that received it; its own (those of our making: on its stack). A full one is held until the next one is classified
 * (worker.c). Shown because the stages index it inline.
 */
#pragma once

#include "dataplane/stats.h"
#include "lpm/base.h"
#include "lpm/path_list.h"

#include <rte_mbuf.h>

/*
 * What a level of an IPv6 lookup fetches has until the next one to come: of a full table's random destinations 61 million a second go by 128, 38 by 64.
 * IPv4 has one, and with 64 a burst, the one before and what they read lie in L1: 63 instead of 61 Mpps.
 */
#define BURST_MAX 128
#define BURST_V4 64
#define ETHER_LEN 14
#define NEXT_HOP_NONE UINT32_MAX

#define LANE_ROOM                                                                                  \
	(BURST_MAX + 8) /* classification takes eight packets at a time, and pads the last */

/* The packets of one family. ip[] is where classification and received packets (burst.own is false) look, not what icmp_make() adds; ttl_word[] is received packets'. Receiving fills the IPv4 lane. */
struct lane {
	struct rte_mbuf *pkt[LANE_ROOM];
	uint8_t *ip[LANE_ROOM]; /* the header */
	alignas(32) uint32_t
		ttl_word[LANE_ROOM]; /* of IPv4: the header's third word as it is to leave */
	alignas(32) uint32_t
		first[LANE_ROOM]; /* the word of the table's first level that each will read */
	union {
		alignas(32) uint32_t v4[LANE_ROOM]; /* host order */
		uint8_t v6[LANE_ROOM][16];
	} destination;
	/* Of IPv6, a lookup under way: where the table's word lies, and the bytes that it goes by. */
	alignas(32) uint32_t slot[BURST_MAX];
	alignas(32) uint32_t rest[BURST_MAX];
	alignas(32) uint32_t list[BURST_MAX]; /* what the table answers: a path list's id */
	unsigned count;
	/* What the burst behind this one will read, asked for while this one is finished. */
	const uint32_t *ahead_words, *ahead_first;
	/* what spares looking at each packet */
	bool any_expired; /* there may be a TTL or hop limit at its end */
	uint32_t longest; /* no IP packet is longer */
};

/* A lane that has packets, for who takes eight at a time: the last eight in full. */
static inline void
lane_pad(struct lane *l)
{
	for (unsigned i = l->count; i % 8 != 0; i++) {
		l->pkt[i] = l->pkt[l->count - 1];
		l->ip[i] = l->ip[l->count - 1];
	}
}

/* Packets that leave by one port: up to a whole burst, and empty before it. */
struct tx_buffer {
	struct rte_mbuf *pkt[BURST_MAX];
	unsigned count;
	uint16_t ethdev;
};

static inline void
tx_add(struct tx_buffer *t, struct rte_mbuf *m)
{
	t->pkt[t->count++] = m;
}

struct outbox {
	struct tx_buffer *tx; /* by port */
	unsigned ports;
	uint64_t pending; /* bit per port whose buffer has packets */
};

/* A packet whose neighbour is not resolved: a next hop, or (NEXT_HOP_NONE) the destination itself, which is on `port`'s subnet. */
struct waiting {
	struct rte_mbuf *pkt;
	struct ip_addr addr;
	uint32_t next_hop;
	uint16_t port;
	uint8_t afi; /* the packet's, which the next hop's need not be */
};

/* A packet that is dropped and counted, and that an ICMP error may be about. */
struct fault {
	struct rte_mbuf *pkt;
	uint16_t mtu; /* of DROP_too_big */
	uint8_t reason;
	uint8_t afi;
};

struct burst {
	struct lane v4, v6;
	struct worker_stats *stats;
	bool group; /* some were received as link-layer broadcast or multicast */
	bool own; /* made by us or by our kernel: TTL and hop limit stay as they are */
	unsigned dropped_count;
	unsigned waiting_count;
	unsigned fault_count;
	struct rte_mbuf *dropped[BURST_MAX];
	struct waiting waiting[BURST_MAX];
	struct fault fault[BURST_MAX];
};

static inline void
burst_init(struct burst *b, struct worker_stats *stats, bool own)
{
	static const uint32_t nothing[LANE_ROOM];

	b->v4.count = b->v6.count = 0;
	b->v4.ahead_words = b->v4.ahead_first = b->v6.ahead_words = b->v6.ahead_first = nothing;
	b->dropped_count = b->waiting_count = b->fault_count = 0;
	b->stats = stats;
	b->group = false;
	b->own = own;
}

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

/* Counts it already, too. Nobody is told of what we sent ourselves. */
static inline void
burst_fault(
	struct burst *b, struct rte_mbuf *m, enum afi afi, enum drop_reason reason, uint16_t mtu)
{
	if (b->own) {
		burst_drop(b, m, reason);
		return;
	}
	count_add(&b->stats->drops[reason], 1);
	b->fault[b->fault_count++] = (struct fault){
		.pkt = m, .mtu = mtu, .reason = (uint8_t)reason, .afi = (uint8_t)afi};
}
