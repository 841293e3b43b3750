/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/forward/forward.h"
#include "dataplane/forward/mpls.h"
#include "dataplane/forward/rewrite.h"
#include "dataplane/forward/udp_tunnel.h"

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <string.h>

#define V4_OR_V6 (RTE_BE16(RTE_ETHER_TYPE_IPV4) ^ RTE_BE16(RTE_ETHER_TYPE_IPV6))

/* Drop reason for a packet of neither family or for another host. */
static enum drop_reason
drop_reason_of(const struct rte_mbuf *m, const uint8_t *frame, const uint8_t mac[6])
{
	if (rte_pktmbuf_data_len(m) < ETHER_LEN)
		return DROP_too_short;
	return !(frame[0] & 1) && memcmp(frame, mac, 6) != 0 ? DROP_other_host : DROP_not_ipv4;
}

/* A packet that no lane takes: not for this router, or for the kernel (ARP, multicast, others). */
static void
split_other(struct burst *b, struct rte_mbuf *m, const uint8_t *frame, const uint8_t mac[6])
	RUNS_ON(role_worker)
{
	enum drop_reason reason = drop_reason_of(m, frame, mac);

	if (reason == DROP_not_ipv4)
		burst_host(b, m, reason);
	else
		burst_drop(b, m, reason);
}

/*
 * IEEE 802.1Q 6.9: a frame with VLAN 0 belongs to no VLAN. Removes the tag of packet i. False: the
 * frame has no such tag, or has another tag behind.
 */
static bool
untag(struct lane *l, unsigned i) RUNS_ON(role_worker)
{
	struct rte_mbuf *m = l->pkt[i];
	uint8_t *frame = l->ip[i] - ETHER_LEN;
	uint16_t word[3]; /* EtherType of the tag, control information, EtherType */

	if (rte_pktmbuf_data_len(m) < ETHER_LEN + VLAN_TAG)
		return false;
	memcpy(word, frame + 12, sizeof(word));
	if (word[0] != RTE_BE16(RTE_ETHER_TYPE_VLAN) || (word[1] & RTE_BE16(VLAN_ID)) != 0 ||
		word[2] == RTE_BE16(RTE_ETHER_TYPE_VLAN))
		return false;
	memmove(frame + VLAN_TAG, frame, 12);
	m->data_off += VLAN_TAG;
	m->data_len = (uint16_t)(m->data_len - VLAN_TAG);
	m->pkt_len -= VLAN_TAG;
	l->ip[i] += VLAN_TAG;
	return true;
}

/*
 * Splits packet by packet: for bursts with labels beside IP packets, with VLAN tags, with packets for
 * foreign hosts, or with packets for the kernel.
 */
static __attribute__((noinline)) void
split_each(struct burst *b, unsigned n, const uint8_t mac[6]) RUNS_ON(role_worker)
{
	unsigned v4 = 0, v6 = 0, mpls = 0;
	uint64_t group = 0, to = 0,
		 kernel = b->host; /* 1: broadcast and multicast go to the kernel */

	memcpy(&to, mac, 6);
	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = b->v4.pkt[i];
		uint8_t *ip = b->v4.ip[i];
		const uint8_t *frame = ip - ETHER_LEN;
		bool is_v4, is_v6, is_mpls, mine;
		uint64_t first;
		uint16_t type;

		memcpy(&first, frame, sizeof(first));
		memcpy(&type, frame + 12, sizeof(type));
		is_v4 = type == RTE_BE16(RTE_ETHER_TYPE_IPV4);
		is_v6 = type == RTE_BE16(RTE_ETHER_TYPE_IPV6);
		is_mpls = type == RTE_BE16(RTE_ETHER_TYPE_MPLS);
		mine = ((first ^ to) << 16 == 0) | (first & 1);
		if (__builtin_expect(!mine | !(is_v4 | is_v6 | is_mpls) |
					     (first & kernel & !is_mpls) |
					     (rte_pktmbuf_data_len(m) < ETHER_LEN),
			    0)) {
			if (untag(&b->v4, i))
				i--; /* once more, without the tag */
			else
				split_other(b, m, frame, mac);
			continue;
		}
		group |= first & 1;
		/*
		 * write to all lanes and advance one: a branch on the family would be
		 * mispredicted
		 */
		b->v4.pkt[v4] = b->v6.pkt[v6] = b->mpls.pkt[mpls] = m;
		b->v4.ip[v4] = b->v6.ip[v6] = b->mpls.ip[mpls] = ip;
		v4 += is_v4;
		v6 += is_v6;
		mpls += is_mpls;
	}
	b->mpls.count = mpls;
	b->v4.count = v4;
	b->v6.count = v6;
	b->group = group != 0;
}

static inline uint16_t
ether_type(const uint8_t *ip)
{
	uint16_t type;

	memcpy(&type, ip - 2, sizeof(type));
	return type;
}

static __rte_always_inline void
prefetch_headers8(struct lane *l, unsigned i)
{
#pragma GCC unroll 8
	for (unsigned k = 0; k < 8; k++) {
		l->ip[i + k] = rte_pktmbuf_mtod_offset(l->pkt[i + k], uint8_t *, ETHER_LEN);
		__builtin_prefetch(l->ip[i + k] - ETHER_LEN);
	}
}

static inline void
all_v6(struct burst *b, unsigned n)
{
	memcpy(b->v6.pkt, b->v4.pkt, n * sizeof(b->v6.pkt[0]));
	memcpy(b->v6.ip, b->v4.ip, n * sizeof(b->v6.ip[0]));
	b->v6.count = n;
}

static inline void
all_mpls(struct burst *b, unsigned n)
{
	memcpy(b->mpls.pkt, b->v4.pkt, n * sizeof(b->mpls.pkt[0]));
	memcpy(b->mpls.ip, b->v4.ip, n * sizeof(b->mpls.ip[0]));
	b->mpls.count = n;
}

/*
 * Splits a burst of IPv4 and IPv6 packets. All packets must be addressed to the router. Returns false
 * and changes nothing if some packet is neither IPv4 nor IPv6. A frame that ends before the EtherType
 * is split by older octets of the buffer; classification drops the frame.
 */
static __attribute__((noinline)) bool
split_both(struct burst *b, unsigned n) RUNS_ON(role_worker)
{
	const longs2 v4_type = {0, (uint64_t)RTE_BE16(RTE_ETHER_TYPE_IPV4) << 32};
	/* half 6 is the EtherType */
	const halves8 v6_differs = {0, 0, 0, 0, 0, 0, V4_OR_V6, 0};
	struct lane *l = &b->v4;
	halves8 other = {0};
	unsigned v4 = 0, v6 = 0;

	for (unsigned i = 0; i < n; i++) {
		halves8 d = (halves8)(load16(l->ip[i] - ETHER_LEN) ^ v4_type);

		other |= d & ~(halves8)(d == v6_differs);
	}
	if (other[6] != 0)
		return false;
	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = l->pkt[i];
		uint8_t *ip = l->ip[i];
		unsigned is_v6 = ip[-2] >> 7;

		static_assert(RTE_ETHER_TYPE_IPV6 >> 15 == 1 && RTE_ETHER_TYPE_IPV4 >> 15 == 0,
			"the first bit of the EtherType is the family");
		/* write to both lanes and advance one: a branch would be mispredicted */
		l->pkt[v4] = b->v6.pkt[v6] = m;
		l->ip[v4] = b->v6.ip[v6] = ip;
		v4 += 1 - is_v6;
		v6 += is_v6;
	}
	l->count = v4;
	b->v6.count = v6;
	return true;
}

/*
 * A check of all headers together finds the two usual kinds of bursts, all addressed to the router:
 * packets of one family; packets of both families, whose EtherTypes differ in exactly the bits of
 * V4_OR_V6. Classification checks the length.
 */
HOT void
forward_split(struct burst *b, unsigned n, const uint8_t mac[6])
{
	struct lane *l = &b->v4;
	longs2 wanted, other = {0};
	uint64_t to = 0;
	uint16_t type;

	for (unsigned i = n; i % 8 != 0; i++)
		l->pkt[i] = l->pkt[n - 1];
	prefetch_headers8(l, 0);
	memcpy(&to, mac, 6);
	type = ether_type(l->ip[0]);
	if (type != RTE_BE16(RTE_ETHER_TYPE_IPV6) && type != RTE_BE16(RTE_ETHER_TYPE_MPLS))
		type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	wanted = (longs2){to, (uint64_t)type << 32};
	for (unsigned i = 0; i < n; i += 8) {
		if (i + 8 < n)
			prefetch_headers8(l, i + 8);
#pragma GCC unroll 8
		for (unsigned k = 0; k < 8; k++)
			other |= load16(l->ip[i + k] - ETHER_LEN) ^ wanted;
	}
	other &= (longs2){UINT64_C(0xffffffffffff), UINT64_C(0xffff) << 32};
	if ((other[0] | other[1]) != 0) {
		if (other[0] != 0 || other[1] != (uint64_t)V4_OR_V6 << 32 || !split_both(b, n))
			split_each(b, n, mac);
	} else if (type == RTE_BE16(RTE_ETHER_TYPE_IPV6))
		all_v6(b, n);
	else if (type == RTE_BE16(RTE_ETHER_TYPE_MPLS))
		all_mpls(b, n);
	else
		l->count = n;
}

static inline uint32_t
flow_hash(const struct rte_mbuf *m, enum afi afi) RUNS_ON(role_worker)
{
	const uint8_t *ip = rte_pktmbuf_mtod_offset(m, const uint8_t *, ETHER_LEN);
	unsigned len = rte_pktmbuf_data_len(m) - ETHER_LEN;

	return afi == AFI_IPV4 ? rewrite_flow_hash_v4(ip, len) : rewrite_flow_hash_v6(ip, len);
}

static void
wait_for(struct burst *b, const struct lane *l, unsigned i, enum afi afi, uint32_t list,
	uint16_t port, uint32_t next_hop) RUNS_ON(role_worker)
{
	struct waiting *w = &b->waiting[b->waiting_count++];

	*w = (struct waiting){.pkt = l->pkt[i],
		.next_hop = next_hop,
		.list = list,
		.port = port,
		.afi = (uint8_t)afi};
	if (next_hop != NEXT_HOP_NONE)
		return;
	if (afi == AFI_IPV4) {
		w->addr = addr_from_v4(l->destination.v4[i]);
	} else {
		w->addr.afi = AFI_IPV6;
		memcpy(w->addr.b, l->destination.v6[i], sizeof(w->addr.b));
	}
}

/*
 * Finishes pkt[i], which gets the labels of the adjacency and `label`: checks TTL and MTU, and adds
 * the packet to `out`, dropped[] or fault[]. RFC 3032 3.4, 3.5: a packet that is too large with its
 * labels is fragmented below them, or causes an error with the MTU less the labels.
 */
static void
push_labels(struct burst *b, const struct lane *l, unsigned i, enum afi afi,
	const struct adjacency *a, uint32_t label, struct outbox *out) RUNS_ON(role_worker)
{
	static const uint8_t type[2][2] = {{0x08, 0x00}, {0x86, 0xdd}};
	struct rte_mbuf *m = l->pkt[i];
	uint8_t *ip = rte_pktmbuf_mtod_offset(m, uint8_t *, ETHER_LEN);
	unsigned labels = MPLS_ENTRY * mpls_push_count(a, label, false);
	bool big = forward_len(ip, afi) + labels > a->mtu, split = false,
	     udp = a->udp_destination != 0;

	if (big && a->mtu > labels)
		split = forward_may_split(ip, afi, a->mtu - labels);
	if (!b->own && forward_ttl(ip, afi) <= 1) {
		burst_fault(b, m, afi, DROP_ttl_expired, 0);
	} else if (big && !split) {
		/* RFC 3032 3.4, 3.5 */
		burst_fault(b, m, afi, DROP_too_big, (uint16_t)(a->mtu - labels));
	} else {
		unsigned dropped = b->dropped_count;

		if (!b->own && afi == AFI_IPV4)
			memcpy(ip + 8, &l->ttl_word[i], sizeof(l->ttl_word[i]));
		else if (!b->own)
			ip[7]--;
		mpls_send(b, m, ip, type[afi == AFI_IPV6],
			&(struct mpls_push){a, label, forward_ttl(ip, afi), forward_dscp(ip, afi)},
			out);
		if (split && b->dropped_count == dropped)
			burst_split(b, m, ETHER_LEN + (udp ? UDP_TUNNEL_HEADERS : 0) + labels,
				a->mtu - labels, udp);
	}
}

/* The list for a packet in the tables of a VRF. */
static uint32_t
list_of(const uint8_t *ip, enum afi afi, struct vrf_id vrf, const struct fib_reader *fib,
	const struct fib_generation *g) RUNS_ON(role_worker)
{
	uint8_t v6[1][16];
	uint32_t v4, id;

	if (afi == AFI_IPV4) {
		memcpy(&v4, ip + 16, sizeof(v4));
		v4 = rte_be_to_cpu_32(v4);
		fib_read_v4_bulk(fib, g, vrf, &v4, &id, 1);
	} else {
		memcpy(v6[0], ip + 24, sizeof(v6[0]));
		fib_read_v6_bulk(fib, g, vrf, (const uint8_t(*)[16])v6, &id, 1);
	}
	return id;
}

uint32_t
forward_list(const uint8_t *ip, enum afi afi, struct vrf_id vrf, const struct fib_reader *fib,
	const struct fib_generation *g)
{
	struct fib_list list;
	uint32_t id = list_of(ip, afi, vrf, fib, g);

	list = fib_read_head(fib, id);
	return list.kind == PATH_LIST_INSTANCE
		       ? list_of(ip, afi, (struct vrf_id){list.port % FIB_VRF_MAX}, fib, g)
		       : id;
}

bool
forward_choose(struct burst *b, const struct lane *l, unsigned i, enum afi afi,
	const struct fib_reader *fib, struct outbox *out, struct fib_hop *hop)
{
	uint32_t id = l->list[i];
	struct fib_list list = fib_read_head(fib, id);
	enum drop_reason reason = DROP_invariant;
	uint32_t hash = 0;

	if (list.kind == PATH_LIST_INSTANCE) {
		id = list_of(rte_pktmbuf_mtod_offset(l->pkt[i], const uint8_t *, ETHER_LEN), afi,
			(struct vrf_id){list.port % FIB_VRF_MAX}, fib, fib_read_begin(fib));
		list = fib_read_head(fib, id);
	}
	if (id == PATH_LIST_NONE) {
		burst_fault(b, l->pkt[i], afi, DROP_no_route, 0);
		return false;
	}
	switch (list.kind) {
	case PATH_LIST_FORWARD:
	case PATH_LIST_PUSH:
		if (list.path_count > 1)
			hash = rewrite_keyed(flow_hash(l->pkt[i], afi), out->ecmp_key);
		if (!fib_read_path(fib, &list, hash, hop)) {
			wait_for(b, l, i, afi, id, PORT_NONE, hop->path.next_hop.v);
			return false;
		}
		if (hop->path.label == LABEL_NONE &&
			hop->adjacency.mtu_plain == hop->adjacency.mtu) /* no tunnel */
			return true;
		push_labels(b, l, i, afi, &hop->adjacency, hop->path.label, out);
		return false;
	case PATH_LIST_GLEAN:
		wait_for(b, l, i, afi, id, list.port, NEXT_HOP_NONE);
		return false;
	case PATH_LIST_PUNT:
		if (b->tunnels && afi == AFI_IPV4 &&
			udp_tunnel_take(b, l->pkt[i],
				rte_pktmbuf_mtod_offset(l->pkt[i], uint8_t *, ETHER_LEN), fib))
			return false;
		if (list.port == PORT_ANYCAST && !b->own) /* by keel0, from any port */
			b->to_host[b->host_count++] = (struct host_packet){
				.pkt = l->pkt[i], .reason = DROP_local_loop, .anycast = true};
		else
			burst_host(b, l->pkt[i], DROP_local_loop);
		return false;
	case PATH_LIST_INSTANCE: /* a second time */
		reason = DROP_local_loop;
		break;
	case PATH_LIST_BLACKHOLE:
		reason = DROP_blackhole;
		break;
	}
	burst_drop(b, l->pkt[i], reason);
	return false;
}
