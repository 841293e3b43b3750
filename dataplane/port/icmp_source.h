/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source addresses of ICMP errors, by port and family. Writer: the host thread. Readers: workers
 * (icmp.c), without a lock.
 */
#pragma once

#include "dataplane/port/port.h"
#include "lpm/base/base.h"

#include <stdatomic.h>

/*
 * Source address of a port and family. Written by the host thread, with an odd `version` during the
 * write. A worker that reads an odd or changed version uses no address for this packet.
 */
struct icmp_source {
	_Atomic uint32_t version;
	_Atomic uint32_t set;
	_Atomic uint64_t half[2];
};

/* Source addresses of all ports. Part of the data plane; zeroed memory has no addresses. */
struct icmp_sources {
	struct icmp_source port[PORTS_MAX][2]; /* by port; IPv4, IPv6 */
};

/* Sets the source address of a port; an AFI_NONE address removes the address. Host thread. */
void icmp_source_set(
	struct icmp_sources *s, uint16_t port, enum afi afi, const struct ip_addr *addr);
