/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Forwarding steps shared by IPv4 and IPv6: the Ethernet check with the split of a burst by
 * family, and the selection of an adjacency for a path list. Runs on workers.
 *
 * Data-path safe: no allocation, log, lock or system call.
 */
#pragma once

#include "dataplane/forward/burst.h"
#include "dataplane/forward/eight.h"
#include "lpm/base/base.h"
#include "lpm/fib_read.h"

#include <string.h>

#define VLAN_ID 0x0fff /* of the tag control information */
#define SPLIT_MTU_MIN 68 /* RFC 791 3.2: the longest header and eight bytes */
#define DROP_NOT DROP_COUNT /* result of a check: no reason to drop */

/*
 * Splits the received packets v4.pkt[0..n) by EtherType into the lanes (pkt[] and ip[]); drops the
 * rest. `mac` is the address of the receiving port. The lane of MPLS is checked by mpls_finish().
 */
void forward_split(struct burst *b, unsigned n, const uint8_t mac[6]) RUNS_ON(role_worker);
/*
 * Chooses the adjacency for pkt[i] by the path list l->list[i], and copies it to `hop`. Returns false if
 * nothing is left to do: the packet has moved to dropped[], fault[] or waiting[], or has left with
 * labels.
 */
bool forward_choose(struct burst *b, const struct lane *l, unsigned i, enum afi afi,
	const struct fib_reader *fib, struct outbox *out, struct fib_hop *hop) RUNS_ON(role_worker);

/* The path list for a packet with a valid header in a VRF; follows PATH_LIST_INSTANCE. */
uint32_t forward_list(const uint8_t *ip, enum afi afi, struct vrf_id vrf,
	const struct fib_reader *fib, const struct fib_generation *g) RUNS_ON(role_worker);

/* True if the packet was received as link-layer broadcast or multicast. */
static inline bool
forward_is_group(const struct rte_mbuf *m)
{
	return *rte_pktmbuf_mtod(m, const uint8_t *) & 1;
}

/*
 * True if the device removed a VLAN tag although no port asks for VLAN stripping: forwarding would
 * move the packet out of its VLAN. A tag with VLAN 0 has only a priority, and means no VLAN (IEEE
 * 802.1Q 6.9). Classification calls this for packets with a tag other than zeros.
 */
static inline bool
forward_vlan_stripped(const struct rte_mbuf *m)
{
	return (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) && (m->vlan_tci & VLAN_ID) != 0;
}

/* True if the source of a received packet is an address of this router. */
static inline bool
forward_is_own(const struct burst *b, const struct rte_mbuf *m, enum afi afi, const void *source)
{
	struct vrf_id vrf = {b->each ? m->port : b->vrf};

	return own_addresses_have(b->own_addresses, vrf, afi, source);
}

/* Not 0 if one of eight sources may be an address of this router. */
static __rte_always_inline unsigned
forward_maybe_own(const _Atomic uint8_t *filter, words8 place)
{
	unsigned any = 0;

#pragma GCC unroll 8
	for (unsigned k = 0; k < 8; k++)
		any |= atomic_load_explicit(&filter[place[k]], memory_order_relaxed);
	return any;
}

/*
 * Drops a packet that fails a check of forwarding. Packets with a link-local address are for the
 * kernel if they are for this router; punt_burst() decides.
 */
static inline void
forward_refuse(struct burst *b, struct rte_mbuf *m, enum drop_reason reason)
{
	if (reason == DROP_bad_source || reason == DROP_bad_destination ||
		reason == DROP_link_scope)
		burst_host(b, m, reason);
	else
		burst_drop(b, m, reason);
}

/* Removes bytes that the link layer added after the IP packet of `ip_len` bytes. */
static inline void
forward_trim(struct rte_mbuf *m, unsigned ip_len)
{
	if (m->nb_segs == 1)
		m->pkt_len = m->data_len = (uint16_t)(ip_len + ETHER_LEN);
}

static __rte_always_inline unsigned
forward_len(const uint8_t *ip, enum afi afi)
{
	return afi == AFI_IPV4 ? ip[2] * 256u + ip[3] : ip[4] * 256u + ip[5] + 40;
}

static __rte_always_inline uint8_t
forward_ttl(const uint8_t *ip, enum afi afi)
{
	return afi == AFI_IPV4 ? ip[8] : ip[7];
}

/* RFC 2474 3 */
static __rte_always_inline uint8_t
forward_dscp(const uint8_t *ip, enum afi afi)
{
	return afi == AFI_IPV4 ? ip[1] >> 2 : (uint8_t)((ip[0] & 15) << 2 | ip[1] >> 6);
}

/* Index of the first packet in pkt[i..to) with a TTL or hop limit of 0 or 1, or `to`. */
static inline unsigned
forward_end(const struct lane *l, unsigned i, unsigned to, enum afi afi)
{
	if (!l->any_expired)
		return to;
	while (i < to && forward_ttl(l->ip[i], afi) > 1)
		i++;
	return i;
}

/*
 * RFC 1812 5.3.1, RFC 8200 3: the TTL is checked only when forwarding; a packet whose hop limit
 * would become 0 is dropped. RFC 8200 5: routers do not fragment IPv6 packets.
 */
static __rte_always_inline enum drop_reason
forward_check(const uint8_t *ip, const struct adjacency *a, enum afi afi, bool own)
{
	if (!own && forward_ttl(ip, afi) <= 1)
		return DROP_ttl_expired;
	return forward_len(ip, afi) > a->mtu ? DROP_too_big : DROP_NOT;
}

/* RFC 791 3.1, RFC 1812 5.2.6: true if the packet may be fragmented for this MTU. */
static __rte_always_inline bool
forward_may_split(const uint8_t *ip, enum afi afi, unsigned mtu)
{
	return afi == AFI_IPV4 && !(ip[6] & 0x40) && mtu >= SPLIT_MTU_MIN;
}

/*
 * Writes the new Ethernet header and the TTL. Received packets keep their EtherType; packets of
 * this router get the EtherType of their family, because an IPv4 packet may leave to an IPv6
 * neighbour (RFC 8950 4).
 */
static __rte_always_inline void
forward_rewrite(const struct lane *l, unsigned i, uint8_t *ip, const struct adjacency *a,
	enum afi afi, bool own)
{
	static const uint8_t type[2][2] = {{0x08, 0x00}, {0x86, 0xdd}};
	/*
	 * a single 16-byte store, which keeps the EtherType and the first two bytes of the IP
	 * header
	 */
	halves8 frame = __builtin_shufflevector((halves8)load16(a->ether),
		(halves8)load16(ip - ETHER_LEN), 0, 1, 2, 3, 4, 5, 14, 15);

	memcpy(ip - ETHER_LEN, &frame, sizeof(frame));
	if (own)
		memcpy(ip - 2, type[afi == AFI_IPV6], 2);
	else if (afi == AFI_IPV4)
		memcpy(ip + 8, &l->ttl_word[i], sizeof(l->ttl_word[i]));
	else
		ip[7]--;
}

/* Finishes pkt[i] on the general path: any path list, TTL or size. */
static __rte_always_inline void
forward_general(struct burst *b, const struct lane *l, unsigned i, enum afi afi,
	const struct fib_reader *fib, struct outbox *out) RUNS_ON(role_worker)
{
	uint8_t *ip = rte_pktmbuf_mtod_offset(l->pkt[i], uint8_t *, ETHER_LEN);
	const struct adjacency *a;
	enum drop_reason reason;
	struct fib_hop hop;
	bool split;

	if (!forward_choose(b, l, i, afi, fib, out, &hop))
		return;
	a = &hop.adjacency;
	reason = forward_check(ip, a, afi, b->own);
	split = reason == DROP_too_big && forward_may_split(ip, afi, a->mtu);
	if (reason != DROP_NOT && !split) {
		burst_fault(b, l->pkt[i], afi, reason, a->mtu);
	} else if (a->port >= out->ports) {
		burst_drop(b, l->pkt[i], DROP_invariant);
	} else {
		forward_rewrite(l, i, ip, a, afi, b->own);
		tx_add(&out->tx[a->port], l->pkt[i]);
		out->pending |= UINT64_C(1) << a->port;
		if (split)
			burst_split(b, l->pkt[i], ETHER_LEN, a->mtu, false);
	}
}

/*
 * Prefetches into L2: few of a full table's random destinations are needed twice, and L1 is full
 * of packets (59 instead of 57 Mpps; with 100,000 changes a second 58 instead of 54).
 */
static __rte_always_inline void
forward_prefetch(const uint32_t *words, uint32_t at)
{
	__builtin_prefetch(&words[at], 0, 2);
}

/*
 * Finishes packets of pkt[i..end), none with an expiring TTL, while they are of the common kind: a
 * list with a single path, without labels and backups, and a next hop that is up and takes the
 * longest packet of the lane. Returns the index of the first packet left. Makes no calls, so all values
 * stay in registers.
 */
static __rte_always_inline unsigned
forward_plain(const struct lane *l, unsigned i, unsigned end, enum afi afi,
	const struct fib_reader *fib, struct outbox *out) RUNS_ON(role_worker)
{
	const _Atomic uint64_t *next_hops = fib->next_hops;
	const struct adjacency *adjacencies = fib->adjacencies;
	const uint32_t *prefetch_words = l->prefetch_words, *prefetch_first = l->prefetch_first;
	unsigned ports = out->ports;
	uint32_t longest = l->longest;
	struct tx_buffer *tx = out->tx;
	uint64_t pending = out->pending;

	for (; i < end; i++) {
		const struct path_list *list = fib_read_list(fib, l->list[i]);
		const struct adjacency *a;
		struct {
			uint16_t port, mtu; /* mtu_plain */
		} to;
		uint32_t id, word;

		forward_prefetch(prefetch_words, prefetch_first[i]);
		if (list->kind != PATH_LIST_FORWARD || list->path_count != 1)
			break;
		id = fib_read_up(next_hops, list->path[0].next_hop);
		if (id == 0)
			break;
		a = &adjacencies[id];
		memcpy(&word, &a->port, sizeof(word)); /* a single load, not repeated */
		READ_ONCE_DONE(word);
		memcpy(&to, &word, sizeof(to));
		if (to.mtu < longest || to.port >= ports)
			break;
		forward_rewrite(l, i, l->ip[i], a, afi, false);
		tx_add(&tx[to.port], l->pkt[i]);
		pending |= UINT64_C(1) << to.port;
	}
	out->pending = pending;
	return i;
}

/*
 * Finishes pkt[from..to). `plain` is forward_plain() of the family, compiled as a separate
 * function, which keeps its values in registers.
 */
static __rte_always_inline void
forward_finish(struct burst *b, const struct lane *l, unsigned from, unsigned to, enum afi afi,
	const struct fib_reader *fib, struct outbox *out,
	unsigned (*plain)(const struct lane *l, unsigned i, unsigned end,
		const struct fib_reader *fib, struct outbox *out)) RUNS_ON(role_worker)
{
	unsigned end = from;

	for (unsigned i = from; i < to; i++) {
		if (i >= end)
			end = b->own ? i : forward_end(l, i, to, afi);
		i = plain(l, i, end, fib, out);
		if (i < to)
			forward_general(b, l, i, afi, fib, out);
	}
}
