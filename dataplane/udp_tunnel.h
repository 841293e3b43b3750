/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MPLS over UDP (RFC 7510) over IPv4. Received packets are split off where packets for an own address
 * leave forwarding, so other packets pay nothing. Runs on workers.
 *
 * RFC 7510 3, not done: fragments of tunnel packets are not reassembled; sent packets have DF.
 *
 * Data-path safe: no allocation, log, lock or system call.
 */
#pragma once

#include "dataplane/burst.h"
#include "lpm/base.h"
#include "lpm/tunnel_set.h"

/*
 * Takes a packet for an own address of `default` that is MPLS over UDP: to the lane of labelled
 * packets, or to dropped[]. `ip` is the checked header. False: a packet of another kind.
 */
bool udp_tunnel_take(struct burst *b, struct rte_mbuf *m, uint8_t *ip,
	const struct tunnel_reader *tunnels) RUNS_ON(role_worker);
/*
 * Writes UDP and IPv4 header before the label at `at`; `len` octets follow from `at`. The hash of the
 * flow gives the source port. Returns the start of the IPv4 header.
 */
uint8_t *udp_tunnel_push(uint8_t *at, unsigned len, const struct adjacency *a, uint32_t hash)
	RUNS_ON(role_worker);
