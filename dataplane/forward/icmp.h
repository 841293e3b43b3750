/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ICMP errors for dropped packets: RFC 792 and RFC 1812 4.3 for IPv4, RFC 4443 for IPv6. An error
 * is built in place, in front of the quoted packet. Runs on workers, which also limit the rate
 * (icmp_limit.h). The host thread sets the source addresses.
 *
 * Data-path safe: no allocation, log, lock or system call.
 */
#pragma once

#include "dataplane/forward/burst.h"
#include "dataplane/port/icmp_source.h"
#include "lpm/base/base.h"

/*
 * True if an ICMP error about the packet is allowed. The packet has passed ip4_/ip6_classify() and
 * is otherwise unchanged.
 */
bool icmp_allowed(const struct fault *f) RUNS_ON(role_worker);

/*
 * Turns the packet into the ICMP error about it, from the address of the receiving port to the
 * packet's source, and adds the error to the lane of its family. Without a source address, an IPv4
 * error comes from 192.0.0.8. Returns false, with the packet unchanged, if there is no IPv6 source
 * address or the buffer has no headroom.
 */
bool icmp_make(struct burst *out, const struct fault *f, const struct icmp_sources *sources,
	uint16_t port) RUNS_ON(role_worker);
/*
 * The same for a packet of this router, whose error the kernel gets: from 192.0.0.8, because the kernel
 * accepts no IPv4 packet from an own address, or from the IPv6 source of the packet. False: the buffer
 * has no headroom.
 */
bool icmp_make_local(const struct fault *f) RUNS_ON(role_worker);
