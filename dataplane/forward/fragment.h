/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fragmentation of IPv4 packets that are larger than the MTU and may be fragmented: RFC 791 2.3,
 * 3.2, RFC 1812 5.2.6. Stages add the packet as a whole to the transmit buffer of its port and note
 * it with burst_split(); the worker replaces the packet by its fragments when it sends the buffer,
 * so the packets of a flow stay in order and other packets pay nothing. Fragments are copies in one
 * buffer each, because AF_XDP sends no chains (the reason against librte_ip_frag, which builds
 * chains, or in one buffer by an experimental function).
 *
 * Data-path safe: no allocation outside a pool, log, lock or system call.
 */
#pragma once

#include "dataplane/forward/burst.h"
#include "lpm/base/base.h"

/* 65,515 bytes in fragments of the smallest MTU of a port (576), 552 bytes each: 119. */
#define FRAGMENTS_MAX BURST_MAX

struct rte_mempool;

/*
 * False: the packet is a fragment itself, and ends beyond 65,535 octets, so that the offsets of its
 * fragments would wrap (RFC 791 3.1). No receiver can reassemble it.
 */
bool fragment_fits(const struct split *x) RUNS_ON(role_worker);
/*
 * Makes the fragments of x->pkt: each starts with the first x->head bytes of the frame (the headers
 * in front of IP). Returns their number; 0: no buffers, or more than FRAGMENTS_MAX fragments. The
 * packet is unchanged.
 */
unsigned fragment_v4(const struct split *x, struct rte_mempool *pool,
	struct rte_mbuf *out[FRAGMENTS_MAX]) RUNS_ON(role_worker);
