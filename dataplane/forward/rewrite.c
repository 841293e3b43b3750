/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/forward/rewrite.h"

#include <rte_ip.h>
#include <string.h>

/* Protocols whose header starts with source and destination port. */
static inline bool
has_ports(uint8_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP ||
	       protocol == IPPROTO_DCCP || protocol == IPPROTO_UDPLITE;
}

/* The best bits of hash_mix() are the low ones. */
static inline uint32_t
mix(uint64_t addresses, uint8_t protocol, uint32_t ports)
{
	return (uint32_t)hash_mix(addresses ^ hash_mix((uint64_t)protocol << 32 | ports));
}

uint32_t
rewrite_flow_hash_v4(const uint8_t *ip, unsigned len)
{
	const struct rte_ipv4_hdr *h = (const struct rte_ipv4_hdr *)ip;
	unsigned header_len = (h->version_ihl & RTE_IPV4_HDR_IHL_MASK) * 4u;
	uint64_t addresses;
	uint32_t ports = 0;

	memcpy(&addresses, &h->src_addr, sizeof(addresses));
	/* Only the first fragment contains ports, so fragments are hashed without. */
	if (!(h->fragment_offset &
		    rte_cpu_to_be_16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) &&
		has_ports(h->next_proto_id) && len >= header_len + 4)
		memcpy(&ports, ip + header_len, sizeof(ports));
	return mix(addresses, h->next_proto_id, ports);
}

uint32_t
rewrite_flow_hash_v6(const uint8_t *ip, unsigned len)
{
	const struct rte_ipv6_hdr *h = (const struct rte_ipv6_hdr *)ip;
	uint64_t w[4], addresses;
	uint32_t ports;

	memcpy(w, ip + offsetof(struct rte_ipv6_hdr, src_addr), sizeof(w));
	addresses = w[0] ^ hash_mix(w[1] ^ hash_mix(w[2] ^ hash_mix(w[3])));
	if (has_ports(h->proto) && len >= sizeof(*h) + 4) {
		memcpy(&ports, ip + sizeof(*h), sizeof(ports));
		return mix(addresses, h->proto, ports);
	}
	return mix(addresses, 0, h->vtc_flow & RTE_BE32(RTE_IPV6_HDR_FL_MASK));
}
