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
struct host_routes;
struct layers;

/* 0, -ENOMEM. `l` is lent. */
int host_routes_create(const struct layers *l, struct host_routes **out);
/* After the other threads have ended, before the layers are destroyed. */
void host_routes_destroy(struct host_routes *h);

/* At start (`old` NULL) and at each commit, while `old` still lives. 0; -ENOMEM: applied in part, logged, and tried again. */
int host_routes_apply(struct host_routes *h, const struct config *old, const struct config *next);

/* A subnet of ours was added or removed (netlink.h, `address`). An address of lo or keel0 counts as its host prefix with PORT_NONE. */
void host_routes_connected(struct host_routes *h, struct vrf_id vrf, const struct prefix *subnet,
	uint16_t port, bool present);
void host_routes_link(struct host_routes *h, uint16_t port, bool up);
/* The kernel's main table has the route, or no longer has it. `ports`: a bit for each port that the route uses; 0: no port whose link may be lost. */
void host_routes_kernel_route(struct host_routes *h, struct vrf_id vrf, const struct prefix *p,
	uint64_t ports, bool present);
