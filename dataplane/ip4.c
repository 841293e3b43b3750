/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/ip4.h"
#include "dataplane/forward.h"

#include <rte_ip.h>
#include <string.h>

/* One's complement sum over the header; 0xffff when it is right. RFC 1071. */
static uint16_t
header_sum(const uint8_t *header, unsigned words32)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < words32; i++) {
		uint32_t w;
		memcpy(&w, header + 4 * i, sizeof(w));
		sum += w;
	}
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* RFC 1812 5.3.7, RFC 3927 7 (link-local leaves no link). `a` in host order. */
static inline bool
martian(uint32_t a)
{
	return a >> 24 == 0 || a >> 24 == 127 || a >> 28 >= 14 || a >> 16 == 0xa9fe;
}

static inline bool
checksum_ok(const struct rte_mbuf *m, const uint8_t *header, unsigned words32)
{
	uint64_t offload = m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;

	if (offload == RTE_MBUF_F_RX_IP_CKSUM_GOOD)
		return true;
	return header_sum(header, words32) == 0xffff;
}

/* RFC 1812 5.2.2. Leaves the destination in *dst. */
static inline enum drop_reason
check_header(const struct rte_mbuf *m, const struct rte_ipv4_hdr *ip, uint32_t *dst)
{
	unsigned len = rte_pktmbuf_data_len(m) - ETHER_LEN;
	unsigned header_len, total_len;

	if (len < sizeof(*ip))
		return DROP_too_short;
	header_len = (ip->version_ihl & RTE_IPV4_HDR_IHL_MASK) * 4u;
	total_len = rte_be_to_cpu_16(ip->total_length);
	if (ip->version_ihl >> 4 != 4)
		return DROP_bad_version;
	if (header_len < sizeof(*ip) || header_len > len)
		return DROP_bad_header_length;
	if (!checksum_ok(m, (const uint8_t *)ip, header_len / 4))
		return DROP_bad_checksum;
	/* RFC 1812 5.2.2 (5), and the link layer must have brought all of it. */
	if (total_len < header_len || total_len + ETHER_LEN > rte_pktmbuf_pkt_len(m))
		return DROP_too_short;
	if (martian(rte_be_to_cpu_32(ip->src_addr)))
		return DROP_bad_source;
	*dst = rte_be_to_cpu_32(ip->dst_addr);
	if (martian(*dst))
		return DROP_bad_destination;
	/* RFC 1812 5.3.4: comes after the header checks, as it is about forwarding. */
	return forward_is_group(m) ? DROP_link_broadcast : DROP_NOT;
}

void
ip4_classify(struct burst *b)
{
	struct lane *l = &b->v4;
	unsigned kept = 0;

	for (unsigned i = 0; i < l->count; i++) {
		struct rte_mbuf *m = l->pkt[i];
		const struct rte_ipv4_hdr *ip =
			rte_pktmbuf_mtod_offset(m, const struct rte_ipv4_hdr *, ETHER_LEN);
		enum drop_reason reason = check_header(m, ip, &l->destination.v4[kept]);

		if (reason != DROP_NOT) {
			burst_drop(b, m, reason);
			continue;
		}
		forward_trim(m, rte_be_to_cpu_16(ip->total_length));
		l->pkt[kept++] = m;
	}
	l->count = kept;
}

/* RFC 1624 eqn. 3: HC' = ~(~HC + ~m + m'), with m the word of TTL and protocol. */
static inline void
decrement_ttl(struct rte_ipv4_hdr *ip)
{
	uint16_t before, after;
	uint32_t sum;

	memcpy(&before, &ip->time_to_live, sizeof(before));
	ip->time_to_live--;
	memcpy(&after, &ip->time_to_live, sizeof(after));
	sum = (uint16_t)~ip->hdr_checksum + (uint32_t)(uint16_t)~before + after;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->hdr_checksum = (uint16_t)~sum;
}

/*
 * RFC 1812 5.3.1: TTL is looked at only when forwarding. RFC 1812 5.2.7.3, not done: fragmentation; what does not fit is
 * dropped with its reason.
 */
static __rte_always_inline enum drop_reason
check_forward(struct rte_mbuf *m, const struct adjacency *a, bool own)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, ETHER_LEN);

	if (!own && ip->time_to_live <= 1)
		return DROP_ttl_expired;
	if (rte_be_to_cpu_16(ip->total_length) > a->mtu)
		return DROP_too_big;
	if (a->ether_len != ETHER_LEN || a->port >= PORTS_MAX)
		return DROP_invariant;
	if (!own)
		decrement_ttl(ip);
	return DROP_NOT;
}

void
ip4_route(struct burst *b, const struct fib_reader *fib, const struct fib_generation *generation,
	struct vrf_id vrf)
{
	struct lane *l = &b->v4;

	fib_read_v4_bulk(generation, vrf, l->destination.v4, l->list, l->count);
	forward_resolve(b, AFI_IPV4, fib);
	forward_keep(b, AFI_IPV4, check_forward);
}
