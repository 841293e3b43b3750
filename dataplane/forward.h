/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What IPv4 and IPv6 share of forwarding: the Ethernet check with the split of a burst by family, and the way from a path list to an
 * adjacency.
 *
 * Data-path safe: no memory, log, lock or system call.
 */
#pragma once

#include "dataplane/burst.h"
#include "dataplane/eight.h"
#include "lpm/base.h"
#include "lpm/fib_read.h"

#include <string.h>

#define DROP_NOT DROP_COUNT /* what a check says of a packet that goes on */

/* Fills the lanes' pkt[] and ip[] from v4.pkt[0..n), as received, by EtherType. `mac` is the receiving port's. */
void forward_split(struct burst *b, unsigned n, const uint8_t mac[6]) RUNS_ON(role_worker);
/* Path list `id`'s answer for pkt[i]; NULL: the packet has gone to dropped[], fault[] or waiting[]. */
const struct adjacency *forward_choose(struct burst *b, const struct lane *l, unsigned i,
	enum afi afi, uint32_t id, const struct fib_reader *fib) RUNS_ON(role_worker);

/* Received as a link-layer broadcast or multicast (only a split burst can be). */
static inline bool
forward_is_group(const struct rte_mbuf *m)
{
	return *rte_pktmbuf_mtod(m, const uint8_t *) & 1;
}

/*
 * The device took the VLAN tag off the frame although no port asks for that. Forwarded, the packet would leave its VLAN. A tag of all zeros
 * means no VLAN (IEEE 802.1Q 6.9), so classification looks at packets with another tag only.
 */
static inline bool
forward_vlan_stripped(const struct rte_mbuf *m)
{
	return (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) && m->vlan_tci != 0;
}

/* What the link added behind the datagram of `ip_len` bytes is not forwarded. */
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

/* Of pkt[i..to), the first whose TTL or hop limit ends here, or `to`. */
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
 * RFC 1812 5.3.1, RFC 8200 3: TTL is looked at only when forwarding; a hop limit that would become 0 ends here. RFC 1812 5.2.7.3, not done:
 * fragmentation; what does not fit is dropped with its reason. RFC 8200 5: routers do not fragment.
 */
static __rte_always_inline enum drop_reason
forward_check(const uint8_t *ip, const struct adjacency *a, enum afi afi, bool own)
{
	if (!own && forward_ttl(ip, afi) <= 1)
		return DROP_ttl_expired;
	return forward_len(ip, afi) > a->mtu ? DROP_too_big : DROP_NOT;
}

/*
 * The Ethernet header, over the one that was there, and TTL. The EtherType is the packet's own: an IPv4 packet may leave to an IPv6 neighbour,
 * RFC 8950 4; a received one has it.
 */
static __rte_always_inline void
forward_rewrite(const struct lane *l, unsigned i, uint8_t *ip, const struct adjacency *a,
	enum afi afi, bool own)
{
	static const uint8_t type[2][2] = {{0x08, 0x00}, {0x86, 0xdd}};
	/* in one store, with the EtherType and what stands behind it as they were */
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

/* pkt[i], whose way is not the plain one or which may not fit it. */
static __rte_always_inline void
forward_other(struct burst *b, const struct lane *l, unsigned i, enum afi afi,
	const struct fib_reader *fib, struct outbox *out) RUNS_ON(role_worker)
{
	uint8_t *ip = rte_pktmbuf_mtod_offset(l->pkt[i], uint8_t *, ETHER_LEN);
	const struct adjacency *a = forward_choose(b, l, i, afi, l->list[i], fib);
	enum drop_reason reason;

	if (a == NULL)
		return;
	reason = forward_check(ip, a, afi, b->own);
	if (reason != DROP_NOT) {
		burst_fault(b, l->pkt[i], afi, reason, a->mtu);
	} else if (a->port >= out->ports) {
		burst_drop(b, l->pkt[i], DROP_invariant);
	} else {
		forward_rewrite(l, i, ip, a, afi, b->own);
		tx_add(&out->tx[a->port], l->pkt[i]);
		out->pending |= UINT64_C(1) << a->port;
	}
}

/*
 * Into L2: of a full table's random destinations few are asked for twice, and L1 is full of packets (59 instead of 57 Mpps; beside 100,000
 * changes a second 58 instead of 54).
 */
static __rte_always_inline void
forward_fetch(const uint32_t *words, uint32_t at)
{
	__builtin_prefetch(&words[at], 0, 2);
}

/*
 * pkt[i..end), of which no TTL ends: those whose list has one path without backups, and a next hop that is up and takes the longest packet of the
 * lane, as most have. Returns how far it came. It calls nothing, so that what it needs stays in registers.
 */
static __rte_always_inline unsigned
forward_plain(const struct lane *l, unsigned i, unsigned end, enum afi afi,
	const struct fib_reader *fib, struct outbox *out) RUNS_ON(role_worker)
{
	const struct path_list *lists = fib->path_lists;
	const _Atomic uint64_t *next_hops = fib->next_hops;
	const struct adjacency *adjacencies = fib->adjacencies;
	const uint32_t *ahead_words = l->ahead_words, *ahead_first = l->ahead_first;
	unsigned ports = out->ports;
	uint32_t longest = l->longest;
	struct tx_buffer *tx = out->tx;
	uint64_t pending = out->pending;

	for (; i < end; i++) {
		const struct path_list *list = &lists[l->list[i]];
		const struct adjacency *a;
		struct {
			uint16_t port, mtu;
		} to;
		uint32_t id;

		forward_fetch(ahead_words, ahead_first[i]);
		if (list->kind != PATH_LIST_FORWARD || list->path_count != 1)
			break;
		id = fib_read_up(next_hops, list->path[0].next_hop);
		if (id == 0)
			break;
		a = &adjacencies[id];
		memcpy(&to, &a->port, sizeof(to)); /* one load; stores do not make it again */
		if (to.mtu < longest || to.port >= ports)
			break;
		forward_rewrite(l, i, l->ip[i], a, afi, false);
		tx_add(&tx[to.port], l->pkt[i]);
		pending |= UINT64_C(1) << to.port;
	}
	out->pending = pending;
	return i;
}

/* pkt[from..to). `plain` is forward_plain() of this family in a function of its own, which keeps its registers. */
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
			forward_other(b, l, i, afi, fib, out);
	}
}
