/* SPDX-License-Identifier: BSD-3-Clause */
/* The flow hash, which selects one of several equal-cost paths. Runs on workers. Data-path safe. */
#pragma once

#include "dataplane/forward/burst.h"
#include "lpm/base/base.h"

/*
 * The hash of a flow with the key of this router. Mixes after the key: an exclusive or alone permutes
 * the paths, and routers in a row would still choose alike.
 */
static inline uint32_t
rewrite_keyed(uint32_t hash, uint32_t key)
{
	return (uint32_t)hash_mix((uint64_t)key << 32 | hash);
}

/*
 * Hash of addresses, protocol and ports. Fragments are hashed without ports, so all fragments of a
 * datagram take one path. `ip` is a valid header with `len` readable bytes from its start.
 */
uint32_t rewrite_flow_hash_v4(const uint8_t *ip, unsigned len) RUNS_ON(role_worker);
/*
 * Hash of addresses, protocol and ports; without a TCP- or UDP-like header directly after the IPv6
 * header (fragments, too): of addresses and flow label, RFC 6437 3.
 */
uint32_t rewrite_flow_hash_v6(const uint8_t *ip, unsigned len) RUNS_ON(role_worker);
