/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/forward/udp_tunnel.h"

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_udp.h>
#include <string.h>

#define ENTRY 4 /* octets of a label */
#define TTL 64
#define PORTS_FIRST 0xc000u /* RFC 7510 3: source ports 49152 to 65535 */

static_assert(sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_udp_hdr) == UDP_TUNNEL_HEADERS, "");

/* ---- sending ---- */

uint8_t *
udp_tunnel_push(uint8_t *at, unsigned len, const struct adjacency *a, uint32_t hash, uint8_t dscp)
{
	struct rte_udp_hdr udp = {
		.src_port = rte_cpu_to_be_16((uint16_t)(PORTS_FIRST | hash >> 18)),
		.dst_port = RTE_BE16(UDP_TUNNEL_PORT),
		.dgram_len = rte_cpu_to_be_16((uint16_t)(len + sizeof(udp))),
	};
	/* RFC 6864 4.1: with DF the identification has no meaning */
	struct rte_ipv4_hdr ip = {
		.version_ihl = RTE_IPV4_VHL_DEF,
		.type_of_service = (uint8_t)(dscp << 2), /* RFC 6040: without ECN */
		.total_length = rte_cpu_to_be_16((uint16_t)(len + UDP_TUNNEL_HEADERS)),
		.fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG),
		.time_to_live = TTL,
		.next_proto_id = IPPROTO_UDP,
		.src_addr = a->udp_source,
		.dst_addr = a->udp_destination,
	};

	ip.hdr_checksum = rte_ipv4_cksum(&ip);
	memcpy(at - sizeof(udp), &udp, sizeof(udp));
	memcpy(at - UDP_TUNNEL_HEADERS, &ip, sizeof(ip));
	return at - UDP_TUNNEL_HEADERS;
}

/* ---- receiving ---- */

/* Returns DROP_COUNT, or a reason to drop. `len`: octets of the IP packet in the buffer. */
static enum drop_reason
check(const struct rte_ipv4_hdr *ip, unsigned len, unsigned header_len,
	const struct fib_reader *fib)
{
	const struct rte_udp_hdr *udp = (const void *)((const uint8_t *)ip + header_len);
	unsigned total = rte_be_to_cpu_16(ip->total_length),
		 udp_len = rte_be_to_cpu_16(udp->dgram_len);

	if (!tunnel_known(fib->tunnels, &fib->bounds, (struct tunnel){ip->src_addr, ip->dst_addr}))
		return DROP_udp_source;
	if (udp_len < sizeof(*udp) + ENTRY || header_len + udp_len != total || total > len)
		return DROP_udp_short;
	/*
	 * RFC 7510 3: zero is a packet without checksum. The sum with the right checksum is 0xffff,
	 * which the function returns as the complement 0, made 0xffff.
	 */
	if (udp->dgram_cksum != 0 && rte_ipv4_udptcp_cksum(ip, udp) != 0xffff)
		return DROP_udp_checksum;
	return DROP_COUNT;
}

void
udp_tunnel_unwrap(struct burst *b, struct rte_mbuf *m, uint8_t *at, const struct fib_reader *fib)
{
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)at;
	unsigned len = rte_pktmbuf_data_len(m) - ETHER_LEN,
		 header_len = (ip->version_ihl & RTE_IPV4_HDR_IHL_MASK) * 4u, udp_len;
	enum drop_reason reason;
	uint8_t *label;

	/* In a chain, buffers behind the UDP payload would exceed the new length of the packet. */
	reason = m->nb_segs == 1 ? check(ip, len, header_len, fib) : DROP_udp_short;
	if (reason != DROP_COUNT) {
		burst_drop(b, m, reason);
		return;
	}
	label = at + header_len + sizeof(struct rte_udp_hdr);
	udp_len = rte_be_to_cpu_16(((const struct rte_udp_hdr *)(at + header_len))->dgram_len);
	/* 14 octets before the label stand for an Ethernet header; a first octet of 0: no multicast */
	m->data_off = (uint16_t)(label - ETHER_LEN - (uint8_t *)m->buf_addr);
	m->pkt_len = m->data_len = (uint16_t)(ETHER_LEN + udp_len - sizeof(struct rte_udp_hdr));
	label[-ETHER_LEN] = 0;
	m->ol_flags &= ~RTE_MBUF_F_RX_IP_CKSUM_MASK; /* the device checked the outer header only */
	b->mpls.pkt[b->mpls.count] = m;
	b->mpls.ip[b->mpls.count++] = label;
	b->mpls.tunnelled++;
}
