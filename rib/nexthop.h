/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Next-hop tracking: which next hops the shards asked for, and how each resolves now.
 *
 * An address on a connected subnet, or a link-local one on its zone (RFC 4007 6), is directly reachable there. Any other, and one for which
 * the host has a longer route of its own, takes the longest route that covers it (static, kernel's, BGP's) and shares what that leads to: so
 * a path list of a recursive next hop has only directly reachable ones. `discard` (lpm/prefix.h), and an address whose longest route is a static
 * blackhole, or a route by such a next hop, is up with no directly reachable address: packets are dropped. A route is passed over when it leads by the next hop itself (also
 * round several corners), or over more than NEXTHOP_DEPTH_MAX routes; then a shorter one decides. No default route, unless it may.
 *
 * Writer: the fib thread. Shards hear of every change by a message; they hold no pointer into this table. Changes are noted by prefix
 * and looked at in slices (nexthop_work()), only the next hops that lie under one.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/path_list.h"
#include "lpm/prefix.h"
#include "rib/shard.h"

struct arena;
struct nexthop;
struct nexthop_table;

#define NEXTHOP_DEPTH_MAX 8

/* A route that is no connected subnet. */
struct nexthop_route {
	struct prefix prefix;
	uint32_t metric; /* the kernel's; 0 for static ones */
	bool bgp; /* its metric is that of its own next hop */
	bool dead; /* the kernel's blackhole: resolves nothing, and no shorter route does */
	bool blackhole; /* a static one: resolves, packets are dropped */
	unsigned count;
	struct {
		struct ip_addr addr; /* AFI_NONE: the destination itself is on `port` */
		uint16_t port; /* PORT_NONE: `addr` is to be resolved */
	} via[PATHS_MAX];
};

/* What the feed gives. */
struct nexthop_feed {
	/* The longest route of at most `max_len` bits that covers `addr`; `bgp` false: of the host's alone. False: none. */
	bool (*route)(void *ctx, struct vrf_id vrf, const struct ip_addr *addr, unsigned max_len,
		bool bgp, struct nexthop_route *out);
	/* It is resolved otherwise than before, or not at all any more, or is about to be forgotten (then it is down). */
	void (*changed)(void *ctx, struct nexthop *n);
	void *ctx;
};

/*
 * `tell` is called on the fib thread for each answer and change. False: no memory for the message; nexthop_tell_owed() calls again with the
 * state of then. 0, -ENOMEM.
 */
int nexthop_table_create(struct arena *a, bool (*tell)(void *ctx, const struct nexthop_message *m),
	void *ctx, struct nexthop_table **out);
void nexthop_table_destroy(struct nexthop_table *t);
const struct hash_probes *nexthop_probes(
	const struct nexthop_table *t); /* any thread: chains of new next hops */
/* Before anything else, or not at all: then connected subnets alone resolve. */
void nexthop_bind(struct nexthop_table *t, const struct nexthop_feed *feed);
/* The feed goes: nothing is up any more, so that it lets go of what it holds for next hops. Nobody is told. */
void nexthop_unbind(struct nexthop_table *t) RUNS_ON(role_fib);

/* A shard asks: answered at once. 0, -ENOMEM (then told as unresolvable). Counted. */
int nexthop_watch(struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_fib);
/* Nobody of that shard's uses it any more. */
void nexthop_unwatch(struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_fib);
/* Was it asked for, so that each change of it is told? */
bool nexthop_watched(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_fib);
/* Connected subnets come and go. 0, -ENOMEM, -EEXIST, -ENOENT. */
int nexthop_connected_add(struct nexthop_table *t, struct vrf_id vrf, const struct prefix *subnet,
	uint16_t port) RUNS_ON(role_fib);
int nexthop_connected_remove(struct nexthop_table *t, struct vrf_id vrf,
	const struct prefix *subnet, uint16_t port) RUNS_ON(role_fib);
/* The link of a port: while it is down its subnets and zone resolve nothing. */
void nexthop_link(struct nexthop_table *t, uint16_t port, bool up) RUNS_ON(role_fib);
/* The interface that `zone` names is our port; counted. */
void nexthop_zone(struct nexthop_table *t, uint16_t zone, uint16_t port, bool present)
	RUNS_ON(role_fib);
/* The port behind which `addr` is directly reachable, or -ENOENT. The longest subnet decides, among equal ones the oldest. */
int nexthop_port(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr,
	uint16_t *port) RUNS_ON(role_fib);
/* Our own addresses: a next hop that names one of them resolves to nothing (RFC 4271 5.1.3). */
int nexthop_local(struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr,
	bool present) RUNS_ON(role_fib);
/* May a default route resolve? False at first. */
void nexthop_via_default(struct nexthop_table *t, bool yes) RUNS_ON(role_fib);
/* A route of this prefix came, went or leads elsewhere. Cheap where no next hop lies under it. */
void nexthop_changed(struct nexthop_table *t, struct vrf_id vrf, const struct prefix *p)
	RUNS_ON(role_fib);
/* One slice of what changes left to do; true while there is more. `deadline_ns` 0: all of it. */
bool nexthop_work(struct nexthop_table *t, uint64_t deadline_ns) RUNS_ON(role_fib);
/* Answers and changes that `tell` refused: once more. True while some are still owed; the caller comes back later. */
bool nexthop_tell_owed(struct nexthop_table *t) RUNS_ON(role_fib);
/* Nothing waits for nexthop_work(). */
bool nexthop_settled(const struct nexthop_table *t);
unsigned nexthop_count(const struct nexthop_table *t);
