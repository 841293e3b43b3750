/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Path choice by flow hash, and the Ethernet rewrite. Data-path safe.
 */
#pragma once

#include "dataplane/burst.h"
#include "lpm/base.h"

/*
 * Over addresses, protocol and ports; fragments of a datagram have no ports of their own and hash without (so all take one path).
 * `ip`: the IPv4 header, `len` bytes of it and what follows are readable.
 */
uint32_t rewrite_flow_hash(const uint8_t *ip, unsigned len) RUNS_ON(role_worker);
/* Writes adjacency[i]'s Ethernet header over pkt[i]'s. */
void rewrite_burst(struct burst *b) RUNS_ON(role_worker);
