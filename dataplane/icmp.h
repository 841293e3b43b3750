/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ICMP errors about packets that a worker drops: RFC 792 and RFC 1812 4.3 for IPv4, RFC 4443 for IPv6. Made in place, in front of the
 * packet that they quote.
 *
 * Data-path safe: no memory, log, lock or system call. Who may send how many is the worker's to say; the source addresses are set by the
 * host thread (worker_icmp_source).
 */
#pragma once

#include "dataplane/burst.h"
#include "lpm/base.h"

/* May anybody be told of it? The packet is one that passed ip4_/ip6_classify, as received. */
bool icmp_allowed(const struct fault *f) RUNS_ON(role_worker);
/*
 * Turns the packet into the error about it, from the address of the port that received it to its source, and puts it into the lane of its
 * family. False: there is no address to send it from, or no room in front; the packet is as it was.
 */
bool icmp_make(struct burst *out, const struct fault *f, uint16_t port) RUNS_ON(role_worker);
/* Main: no port has an address any more. */
void icmp_forget_sources(void);
