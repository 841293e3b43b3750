/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our own routes: static ones and the preferences for the fib thread, loopback addresses for keel0, and what goes into BGP without a
 * peer having said it (RFC 4271 9.4): `networks`, and connected, static and kernel routes by `redistribute`. One attribute set a prefix: a
 * network wins, then the source that `preference` says. What its source loses is withdrawn.
 *
 * Main only. The host's events come by messages from the host thread; they are gathered for some milliseconds.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/prefix.h"

struct config;
struct keeld;
struct netlink_hop;

/* At start (`old` NULL) and at each commit, while `old` still lives. 0; -ENOMEM: in part, logged, and tried again. */
int keeld_host_routes_apply(struct keeld *k, const struct config *old, const struct config *next);
/* After the other threads have ended. */
void keeld_host_routes_fini(struct keeld *k);

/* A subnet of ours came or went (netlink.h, `address`); an address of lo or keel0 as its host prefix with PORT_NONE. */
void keeld_host_connected(struct keeld *k, struct vrf_id vrf, const struct prefix *subnet,
	uint16_t port, bool present);
void keeld_host_link(struct keeld *k, uint16_t port, bool up);
/* The kernel's main table has the route, or no longer. It leads by these ports, a bit each; 0: by none whose link may be lost. */
void keeld_host_kernel_route(
	struct keeld *k, struct vrf_id vrf, const struct prefix *p, uint64_t ports, bool present);
