/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hash by which a flow chooses its path. Data-path safe.
 */
#pragma once

#include "dataplane/burst.h"
#include "lpm/base.h"

/*
 * Over addresses, protocol and ports; fragments of a datagram have no ports of their own and hash without (so all take one path).
 * `ip`: the header, which is valid; `len` bytes of it and what follows are readable.
 */
uint32_t rewrite_flow_hash_v4(const uint8_t *ip, unsigned len) RUNS_ON(role_worker);
/* Where the transport header is not right behind (a fragment, too): addresses and flow label, RFC 6437 3. */
uint32_t rewrite_flow_hash_v6(const uint8_t *ip, unsigned len) RUNS_ON(role_worker);
