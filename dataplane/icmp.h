/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ICMP errors for dropped packets: RFC 792 and RFC 1812 4.3 for IPv4, RFC 4443 for IPv6. An error
 * is built in place, in front of the quoted packet. Runs on workers, which also limit the rate
 * (icmp_limit.h). The host thread sets the source addresses (worker_icmp_source()).
 *
 * Data-path safe: no allocation, log, lock or system call.
 */
#pragma once

#include "dataplane/burst.h"
#include "lpm/base.h"

/*
 * True if an ICMP error about the packet is allowed. The packet has passed ip4_/ip6_classify() and
 * is otherwise unchanged.
 */
bool icmp_allowed(const struct fault *f) RUNS_ON(role_worker);
/*
 * Turns the packet into the ICMP error about it, from the address of the receiving port to the
 * packet's source, and adds the error to the lane of its family. Returns false, with the packet
 * unchanged, if the port has no address or the buffer has no headroom.
 */
bool icmp_make(struct burst *out, const struct fault *f, uint16_t port) RUNS_ON(role_worker);
/* Removes the source addresses of all ports. Main. */
void icmp_forget_sources(void);
