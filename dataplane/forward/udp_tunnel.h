/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MPLS over UDP (RFC 7510) over IPv4. Received packets are recognized at the route of an own address,
 * so other packets pay nothing. Runs on workers.
 *
 * RFC 7510 3, not done: fragments of tunnel packets are not reassembled; sent packets have DF.
 *
 * Data-path safe: no allocation, log, lock or system call.
 */
#pragma once

#include "dataplane/forward/burst.h"
#include "lpm/base/base.h"
#include "lpm/fib_read.h"
#include "lpm/tunnel_set.h"

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_udp.h>

/* A packet with udp_tunnel_is(): goes to the lane of labelled packets, or to dropped[]. */
void udp_tunnel_unwrap(struct burst *b, struct rte_mbuf *m, uint8_t *ip,
	const struct fib_reader *fib) RUNS_ON(role_worker);

/*
 * True for a UDP packet to the port of the tunnels that is not a fragment. `len`: octets of the IP
 * packet in the buffer.
 */
static inline bool
udp_tunnel_is(const struct rte_ipv4_hdr *ip, unsigned len)
{
	unsigned header_len = (ip->version_ihl & RTE_IPV4_HDR_IHL_MASK) * 4u;
	const struct rte_udp_hdr *udp = (const void *)((const uint8_t *)ip + header_len);

	return ip->next_proto_id == IPPROTO_UDP && len >= header_len + sizeof(*udp) &&
	       udp->dst_port == RTE_BE16(UDP_TUNNEL_PORT) &&
	       !(ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK));
}

/*
 * Takes a packet for an own address of `default` that is MPLS over UDP: to the lane of labelled
 * packets, or to dropped[]. `ip` is the checked header. False: a packet of another kind. Inline,
 * because each packet of a flood to an own address takes this path.
 */
static inline bool
udp_tunnel_take(struct burst *b, struct rte_mbuf *m, uint8_t *ip, const struct fib_reader *fib)
	RUNS_ON(role_worker)
{
	if (!udp_tunnel_is((const struct rte_ipv4_hdr *)ip, rte_pktmbuf_data_len(m) - ETHER_LEN))
		return false;
	udp_tunnel_unwrap(b, m, ip, fib);
	return true;
}

/*
 * Writes UDP and IPv4 header before the label at `at`; `len` octets follow from `at`. The hash of the
 * flow gives the source port. Returns the start of the IPv4 header.
 */
uint8_t *udp_tunnel_push(uint8_t *at, unsigned len, const struct adjacency *a, uint32_t hash,
	uint8_t dscp) RUNS_ON(role_worker);
