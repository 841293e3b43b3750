/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Next-hop tracking: which next hops the shards asked for, and how each resolves now.
 *
 * Writer: the fib thread. Here: over connected routes (recursion over the shadow comes with static routes and internal
 * peers). Shards hear of every change by a message; they hold no pointer into this table.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/prefix.h"
#include "rib/shard.h"

struct arena;
struct nexthop_table;

/* `tell` is called on the fib thread for each answer and change. 0, -ENOMEM. */
int nexthop_table_create(struct arena *a, void (*tell)(void *ctx, const struct nexthop_message *m),
	void *ctx, struct nexthop_table **out);
void nexthop_table_destroy(struct nexthop_table *t);

/* A shard asks: answered at once. 0, -ENOMEM (then told as unresolvable). */
int nexthop_watch(struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_fib);
/* Was it asked for, so that each change of it is told? */
bool nexthop_watched(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_fib);
/* Connected subnets come and go (link and address up); those watched that change are told. 0, -ENOMEM, -EEXIST, -ENOENT. */
int nexthop_connected_add(struct nexthop_table *t, struct vrf_id vrf, const struct prefix *subnet,
	uint16_t port) RUNS_ON(role_fib);
int nexthop_connected_remove(struct nexthop_table *t, struct vrf_id vrf,
	const struct prefix *subnet, uint16_t port) RUNS_ON(role_fib);
/*
 * The interface that `zone` names is our port (RFC 4007 6); counted. A link-local address (RFC 4291 2.5.6) is on its zone's port, whatever
 * subnets there are: all ports have the same.
 */
void nexthop_zone(struct nexthop_table *t, uint16_t zone, uint16_t port, bool present)
	RUNS_ON(role_fib);
/* The port behind which `addr` is directly reachable, or -ENOENT. The longest subnet decides, among equal ones the oldest. */
int nexthop_port(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr,
	uint16_t *port) RUNS_ON(role_fib);
/* Our own addresses: a next hop that names one of them resolves to nothing (RFC 4271 5.1.3). */
int nexthop_local(struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr,
	bool present) RUNS_ON(role_fib);
unsigned nexthop_count(const struct nexthop_table *t);
