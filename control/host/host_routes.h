/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Routes of this host: static routes and preferences for the fib thread, loopback addresses for
 * keel0, and routes originated in BGP (RFC 4271 9.4): `networks`, and connected, static and kernel
 * routes by `redistribute`. A prefix has one attribute set: of a network, or of the source with the
 * best `preference`. A prefix without a source is withdrawn.
 *
 * Main only. Events of the host thread arrive by messages and are gathered for 20 ms.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/prefix.h"

struct config;
struct host_routes;
struct layers;

/* 0, -ENOMEM. `l` is lent. */
int host_routes_create(const struct layers *l, struct host_routes **out) RUNS_ON(role_main);
/* After the other threads have ended, before the layers are destroyed. */
void host_routes_destroy(struct host_routes *h) RUNS_ON(role_main);

/*
 * At start (`old` NULL) and at each commit, while `old` still lives. 0; -ENOMEM: applied in part,
 * logged, and tried again.
 */
int host_routes_apply(struct host_routes *h, const struct config *old, const struct config *next)
	RUNS_ON(role_main);

/*
 * A subnet of this host was added or removed (netlink.h, `address`). An address of lo or keel0
 * counts as a host prefix with PORT_NONE.
 */
void host_routes_connected(struct host_routes *h, struct vrf_id vrf, const struct prefix *subnet,
	uint16_t port, bool present) RUNS_ON(role_main);
/* The zone of a port; 0: the port was removed. */
void host_routes_port(struct host_routes *h, uint16_t port, uint16_t zone) RUNS_ON(role_main);
void host_routes_link(struct host_routes *h, uint16_t port, bool up) RUNS_ON(role_main);
/*
 * A route was added to, or removed from, the main table of the kernel. `ports`: a bit for each port
 * of the route; 0: no port.
 */
void host_routes_kernel_route(struct host_routes *h, struct vrf_id vrf, const struct prefix *p,
	uint64_t ports, bool present) RUNS_ON(role_main);
