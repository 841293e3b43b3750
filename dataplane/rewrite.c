/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/rewrite.h"

#include <rte_ip.h>
#include <string.h>

static bool
has_ports(const struct rte_ipv4_hdr *ip, unsigned header_len, unsigned len)
{
	/* A first fragment has ports, the others have not: none of them may use them. */
	if (ip->fragment_offset & rte_cpu_to_be_16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK))
		return false;
	if (len < header_len + 4)
		return false;
	return ip->next_proto_id == IPPROTO_TCP || ip->next_proto_id == IPPROTO_UDP ||
	       ip->next_proto_id == IPPROTO_SCTP;
}

uint32_t
rewrite_flow_hash(const uint8_t *ip, unsigned len)
{
	const struct rte_ipv4_hdr *h = (const struct rte_ipv4_hdr *)ip;
	unsigned header_len = (h->version_ihl & RTE_IPV4_HDR_IHL_MASK) * 4u;
	uint64_t addresses;
	uint32_t ports = 0;

	memcpy(&addresses, &h->src_addr, sizeof(addresses));
	if (has_ports(h, header_len, len))
		memcpy(&ports, ip + header_len, sizeof(ports));
	/* The path is chosen by the high bits of 32 (fib_read_adjacency), and the mix ends with its good bits low. */
	return (uint32_t)hash_mix(addresses ^ hash_mix((uint64_t)h->next_proto_id << 32 | ports));
}

void
rewrite_burst(struct burst *b)
{
	for (unsigned i = 0; i < b->count; i++)
		memcpy(rte_pktmbuf_mtod(b->pkt[i], void *), b->adjacency[i]->ether, ETHER_LEN);
}
