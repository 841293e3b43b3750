/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A burst: at most 128 packets, passed from stage to stage of forwarding: receive, forward_split
 * (one lane per family), ip4_/ip6_classify, ip6_look_up, ip4_/ip6_finish, transmit. A lane is a
 * struct of arrays. Each stage leaves the remaining packets dense and in order in pkt[0..count),
 * so the packets of a flow stay in order. Dropped packets go to dropped[], packets without a
 * resolved neighbour to waiting[], packets that may cause an ICMP error to fault[], and packets that
 * may be for this router to to_host[].
 *
 * Owner: the worker that received the packets. A full burst is held until the next burst is
 * classified (worker.c). The struct is public because the stages index the arrays inline.
 */
#pragma once

#include "dataplane/port/own_addresses.h"
#include "dataplane/forward/stats.h"
#include "lpm/base/base.h"
#include "lpm/path_list.h"

#include <rte_mbuf.h>

/*
 * A prefetch of an IPv6 lookup has the time of a whole step to complete: with random destinations
 * of a full table, bursts of 128 forward 61 million packets a second, bursts of 64 only 38. An
 * IPv4 lookup has a single step; with bursts of 64, two bursts and their table entries stay in L1:
 * 63 instead of 61 Mpps. If more than one packet in BURST_V6_PART is IPv6, bursts are
 * of 128: with a fifth of IPv6 packets 38 instead of 34 Mpps (bench_forward --family 46).
 */
#define BURST_MAX 128
#define BURST_V4 64
#define BURST_V6_PART 16
#define NEXT_HOP_NONE UINT32_MAX

/* Classification takes eight packets at a time: the last group may extend beyond BURST_MAX. */
#define LANE_ROOM (BURST_MAX + 8)

/*
 * The packets of one family. Receiving fills the IPv4 lane, before the split. Only received
 * packets (burst.own is false) use ip[] after classification, and ttl_word[]; icmp_make() sets
 * neither.
 */
struct lane {
	struct rte_mbuf *pkt[LANE_ROOM];
	uint8_t *ip[LANE_ROOM]; /* IP header */
	/* IPv4: third word of the outgoing header */
	alignas(32) uint32_t ttl_word[LANE_ROOM];
	/* index of the first table word to be read */
	alignas(32) uint32_t first[LANE_ROOM];
	union {
		alignas(32) uint32_t v4[LANE_ROOM]; /* host order */
		uint8_t v6[LANE_ROOM][16];
	} destination;
	/* IPv6 lookup in progress: slot of the next table word, and the remaining address bytes. */
	alignas(32) uint32_t slot[BURST_MAX];
	alignas(32) uint32_t rest[BURST_MAX];
	alignas(32) uint32_t list[BURST_MAX]; /* path list id found in the table */
	unsigned count;
	/* Table words of the next burst, to be prefetched while this burst is finished. */
	const uint32_t *prefetch_words, *prefetch_first;
	/* results for the whole lane, which replace checks of each packet */
	bool any_expired; /* some packet may have a TTL or hop limit of 0 or 1 */
	uint32_t longest; /* length of the longest IP packet, or more */
};

/*
 * Fills up the last eight packets of a lane with copies of the last one. The lane must not be
 * empty.
 */
static inline void
lane_pad(struct lane *l)
{
	for (unsigned i = l->count; i % 8 != 0; i++) {
		l->pkt[i] = l->pkt[l->count - 1];
		l->ip[i] = l->ip[l->count - 1];
	}
}

/* Packets to be sent on one port, at most a whole burst. Empty before a burst is finished. */
struct tx_buffer {
	struct rte_mbuf *pkt[BURST_MAX];
	unsigned count;
	uint16_t ethdev, queue;
	struct tx_lock *lock; /* NULL: the queue belongs to this worker alone */
	bool closed; /* the port was removed; `lock` is set */
	uint16_t most; /* port_frame_most() */
	uint16_t tag_octets; /* 0: no tags */
	uint8_t tag[2 * VLAN_TAG]; /* of a port on a VLAN */
};

static inline void
tx_add(struct tx_buffer *t, struct rte_mbuf *m)
{
	t->pkt[t->count++] = m;
}

struct outbox {
	struct tx_buffer *tx; /* indexed by port */
	unsigned ports;
	uint32_t ecmp_key; /* of the choice among paths */
	bool pipe; /* RFC 3443 3.2: labels do not carry the TTL of the packet */
	uint64_t pending; /* bit n: port n has packets */
};

/*
 * A packet whose neighbour is not resolved, unchanged: a next hop, or, with NEXT_HOP_NONE, the
 * destination on the subnet of `port`. A labelled packet has AFI_NONE, and causes no ICMP error.
 */
struct waiting {
	struct rte_mbuf *pkt;
	struct ip_addr addr;
	uint32_t next_hop;
	uint32_t list; /* path list that was found */
	uint16_t port;
	uint8_t afi; /* of the packet; the next hop may have the other family */
};

/* A packet, dropped and counted, that may cause an ICMP error. */
struct fault {
	struct rte_mbuf *pkt;
	uint16_t mtu; /* for DROP_too_big */
	uint8_t reason;
	uint8_t afi;
};

/* An IPv4 packet in a transmit buffer that has to be fragmented (fragment.h). */
struct split {
	struct rte_mbuf *pkt;
	uint16_t head; /* bytes in front of the IP header, repeated in each fragment */
	uint16_t mtu; /* of each fragment, from its IP header on */
	bool udp; /* the Ethernet header is followed by the headers of a UDP tunnel */
};

/*
 * A packet that may be for this router. `reason`: counted if the port has no host path, or if the
 * packet is for another host.
 */
struct host_packet {
	struct rte_mbuf *pkt;
	uint8_t reason;
	bool anycast; /* for an anycast address of this router */
};

/* The labelled packets of a burst. ip[] points to the outermost label. */
struct label_lane {
	unsigned count; /* read for each burst: in the cache line of the counts of struct burst */
	unsigned tunnelled; /* the last ones, which came in UDP tunnels */
	struct rte_mbuf *pkt[LANE_ROOM];
	uint8_t *ip[LANE_ROOM];
};

struct burst {
	struct lane v4, v6;
	struct worker_stats *stats;
	/*
	 * packets of many VPN instances: rte_mbuf.port is the VRF of each. Otherwise all packets
	 * belong to the VRF of the burst.
	 */
	bool each;
	bool group; /* some packets were received as link-layer broadcast or multicast */
	bool tunnels; /* of `default`, received: packets for own addresses may be UDP tunnels */
	bool own; /* packets of this router: TTL and hop limit stay unchanged */
	bool host; /* the receiving port has a way to the kernel; see to_host[] */
	bool source_routes; /* packets with a source route are forwarded */
	uint16_t port; /* receiving port */
	uint16_t vrf; /* of received packets, unless `each` */
	const struct own_addresses *own_addresses; /* refused as sources */
	unsigned host_count;
	unsigned dropped_count;
	unsigned waiting_count;
	unsigned fault_count;
	unsigned split_count;
	struct label_lane mpls;
	struct rte_mbuf *dropped[BURST_MAX];
	struct waiting waiting[BURST_MAX];
	struct fault fault[BURST_MAX];
	struct host_packet to_host[BURST_MAX];
	struct split split[BURST_MAX];
};

static inline void
burst_init(struct burst *b, struct worker_stats *stats, bool own)
{
	static const uint32_t nothing[LANE_ROOM];

	b->v4.count = b->v6.count = b->mpls.count = b->mpls.tunnelled = 0;
	b->v4.prefetch_words = b->v4.prefetch_first = b->v6.prefetch_words = b->v6.prefetch_first =
		nothing;
	b->dropped_count = b->waiting_count = b->fault_count = b->host_count = b->split_count = 0;
	b->stats = stats;
	b->group = b->each = b->tunnels = b->host = b->source_routes = false;
	b->own = own;
	b->port = b->vrf = 0;
	b->own_addresses = &own_addresses_none;
}

/*
 * Adds to a counter with a single writer: relaxed load and store instead of a locked instruction.
 */
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

/* A packet that may be for this router; dropped for `reason` if the port has no way to the kernel. */
static inline void
burst_host(struct burst *b, struct rte_mbuf *m, enum drop_reason reason)
{
	if (b->host)
		b->to_host[b->host_count++] =
			(struct host_packet){.pkt = m, .reason = (uint8_t)reason};
	else
		burst_drop(b, m, reason);
}

/* Drops and counts a packet that may cause an ICMP error. */
static inline void
burst_fault(
	struct burst *b, struct rte_mbuf *m, enum afi afi, enum drop_reason reason, uint16_t mtu)
{
	count_add(&b->stats->drops[reason], 1);
	b->fault[b->fault_count++] = (struct fault){
		.pkt = m, .mtu = mtu, .reason = (uint8_t)reason, .afi = (uint8_t)afi};
}

/* Notes that a packet in a transmit buffer has to be fragmented. */
static inline void
burst_split(struct burst *b, struct rte_mbuf *m, unsigned head, unsigned mtu, bool udp)
{
	b->split[b->split_count++] =
		(struct split){.pkt = m, .head = (uint16_t)head, .mtu = (uint16_t)mtu, .udp = udp};
}
