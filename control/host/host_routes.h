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

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"
#include "rib/policy/policy.h"

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

/* The route that this host has for a prefix, BGP aside. */
struct host_entry {
	enum route_source source; /* SOURCE_COUNT: none */
	uint64_t hops; /* as in struct preview_entry */
};
/* A prefix of this host under another configuration. */
struct host_preview {
	struct vrf_id vrf;
	struct prefix prefix;
	bool differs; /* the route originated in BGP */
	enum route_source source; /* with `attrs` */
	unsigned after; /* with `attrs`: flags of PATH_AFTER */
	const struct attr_set *attrs; /* then; lent for the call. NULL: not in BGP */
	struct host_entry now, then;
};
/*
 * Calls visit() for each prefix of this host under the running configuration or `next`; nothing is
 * changed. 0, -ENOMEM, or the first error of visit().
 */
int host_routes_preview(struct host_routes *h, const struct config *next,
	int (*visit)(void *ctx, const struct host_preview *p), void *ctx) RUNS_ON(role_main);

/*
 * A subnet of this host was added or removed (netlink.h, `address`). An address of lo or keel0
 * counts as a host prefix with PORT_NONE.
 */
void host_routes_connected(struct host_routes *h, struct vrf_id vrf, const struct prefix *subnet,
	uint16_t port, bool present) RUNS_ON(role_main);
/*
 * The zone of a port, or without a data plane of the interface with this number; 0: the port was
 * removed.
 */
void host_routes_port(struct host_routes *h, struct vrf_id vrf, uint16_t port, uint16_t zone)
	RUNS_ON(role_main);
void host_routes_link(struct host_routes *h, uint16_t port, bool up) RUNS_ON(role_main);
/* The addresses of keel0; `old` NULL: keel0 is new. */
void host_routes_loopbacks(const struct layers *l, const struct config *old,
	const struct config *next) RUNS_ON(role_main);
/* The fib thread reports: a static route has begun to resolve, or no longer does. */
void host_routes_static(struct host_routes *h, struct vrf_id vrf, const struct prefix *p, bool up)
	RUNS_ON(role_main);
/*
 * A route was added to, or removed from, the main table of the kernel. `ports`: a bit for each port
 * of the route; 0: no port.
 */
void host_routes_kernel_route(struct host_routes *h, struct vrf_id vrf, const struct prefix *p,
	uint64_t ports, bool present) RUNS_ON(role_main);
