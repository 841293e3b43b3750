/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Next-hop tracking: the next hops used by shards, and their resolution.
 *
 * An address on a connected subnet, or a link-local address on its zone (RFC 4007 6), is directly
 * reachable there. Any other address, and an address with a longer host route, takes the longest
 * covering route (static, kernel, BGP) and the directly reachable addresses of that route: so the
 * path list of a recursive next hop has directly reachable addresses alone. `discard`
 * (lpm/base/prefix.h), an address whose longest route is a static blackhole, and a route over such a
 * next hop are up without a directly reachable address: packets are dropped.
 *
 * A route over the next hop itself (directly or through further routes), or a chain of more than
 * NEXTHOP_DEPTH_MAX routes, is skipped; then the next route decides: the route of another source to
 * the same prefix, or a shorter route. A default route resolves only if allowed.
 *
 * RFC 4271 9.1.2.1: a BGP path of a prefix must not resolve by the route of this prefix. So a next
 * hop that resolves by BGP routes has a variant for each of these prefixes: the same address,
 * resolved without the BGP route of the prefix. Reports name the variants; they are for the paths of
 * the prefix.
 *
 * Routes may still resolve in circles that no rule finds (each of two BGP routes over the other, a
 * static route over a BGP route over the static route). A next hop may change its state
 * NEXTHOP_CHANGES times at once, and once a second on average; a change of the metric alone counts
 * an eighth. With one change more the next hop is
 * held down: for NEXTHOP_HOLD_NS, and twice as long at each further hold that begins before a time of
 * the length of the last hold has passed, at most NEXTHOP_HOLD_MAX_NS.
 *
 * Writer: the fib thread. A message reports each change to the shards, which hold no pointer into
 * this table. Changes are queued by prefix and processed in slices (nexthop_work()), for the next
 * hops covered by the prefix.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/path_list.h"
#include "lpm/base/prefix.h"
#include "rib/shard/shard.h"

struct arena;
struct nexthop;
struct nexthop_table;

#define NEXTHOP_DEPTH_MAX 8
#define NEXTHOP_CHANGES 10u
#define NEXTHOP_HOLD_NS UINT64_C(2000000000)
#define NEXTHOP_HOLD_MAX_NS UINT64_C(64000000000)

/* A route other than a connected subnet. */
struct nexthop_route {
	struct prefix prefix;
	uint32_t metric; /* kernel metric; 0 for static routes */
	bool bgp; /* the metric is the metric of the route's own next hop */
	bool dead; /* kernel blackhole: neither this route nor a shorter one resolves */
	bool blackhole; /* static blackhole: resolves, and packets are dropped */
	unsigned count;
	unsigned left_out; /* next hops without room in `via` */
	struct {
		struct ip_addr addr; /* AFI_NONE: the destination itself is on `port` */
		uint16_t port; /* PORT_NONE: resolve `addr` */
	} via[PATHS_MAX];
};

/* Callbacks of the feed. */
struct nexthop_feed {
	/*
	 * The longest route of at most `max_len` bits that covers `addr`, and of routes to one prefix
	 * the preferred one; `bgp` false: host routes alone. `skip`: this number of routes of
	 * exactly `max_len` bits is passed over. False if there is no route.
	 */
	bool (*route)(void *ctx, struct vrf_id vrf, const struct ip_addr *addr, unsigned max_len,
		unsigned skip, bool bgp, struct nexthop_route *out);
	/*
	 * The resolution of `n` changed, or the prefixes that nexthop_for() tells apart, or `n` is down and
	 * about to be freed.
	 */
	void (*changed)(void *ctx, struct nexthop *n);
	void *ctx;
};

/*
 * `report` is called on the fib thread for each answer and change. False: no memory for the
 * message; nexthop_report_owed() repeats the call with the then current state. 0, -ENOMEM.
 */
int nexthop_table_create(struct arena *a,
	bool (*report)(void *ctx, const struct nexthop_message *m), void *ctx,
	struct nexthop_table **out);
void nexthop_table_destroy(struct nexthop_table *t);
/* any thread: chains of new next hops */
const struct hash_probes *nexthop_probes(const struct nexthop_table *t);
/* Optional, before any other call. Without a feed, connected subnets alone resolve. */
void nexthop_bind(struct nexthop_table *t, const struct nexthop_feed *feed);
/*
 * The feed ends: every next hop goes down, so that the feed releases its state of next hops.
 * Without reports.
 */
void nexthop_unbind(struct nexthop_table *t) RUNS_ON(role_fib);

/*
 * A shard asks for a next hop and gets an answer at once. Calls are counted: each needs a
 * nexthop_unwatch(). 0; -ENOMEM: the next hop was reported as unresolvable.
 */
int nexthop_watch(struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_fib);
/* The shard no longer uses the next hop. */
void nexthop_unwatch(struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_fib);
/* True if a shard watches the next hop, so that changes are reported. */
bool nexthop_watched(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_fib);
/* Connected subnets come and go. 0, -ENOMEM, -EEXIST, -ENOENT. */
int nexthop_connected_add(struct nexthop_table *t, struct vrf_id vrf, const struct prefix *subnet,
	uint16_t port) RUNS_ON(role_fib);
int nexthop_connected_remove(struct nexthop_table *t, struct vrf_id vrf,
	const struct prefix *subnet, uint16_t port) RUNS_ON(role_fib);
/* State of a port's link: while down, subnets and zone of the port resolve nothing. */
void nexthop_link(struct nexthop_table *t, uint16_t port, bool up) RUNS_ON(role_fib);
/* The interface of `zone` is `port`; counted. 0, -ENOMEM. */
int nexthop_zone(struct nexthop_table *t, struct vrf_id vrf, uint16_t zone, uint16_t port,
	bool present) RUNS_ON(role_fib);
/*
 * The port on which `addr` is directly reachable, or -ENOENT. The longest subnet decides, among
 * equal subnets the oldest.
 */
int nexthop_port(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr,
	uint16_t *port) RUNS_ON(role_fib);
/* Own addresses: a next hop equal to an own address does not resolve (RFC 4271 5.1.3). */
int nexthop_local(struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr,
	bool present) RUNS_ON(role_fib);
/* May a default route resolve? False at first. */
void nexthop_via_default(struct nexthop_table *t, bool yes) RUNS_ON(role_fib);
/* A route of this prefix was added, removed or changed. Cheap if the prefix covers no next hop. */
void nexthop_changed(struct nexthop_table *t, struct vrf_id vrf, const struct prefix *p)
	RUNS_ON(role_fib);
/*
 * One slice of queued changes; true if more is due. `deadline_ns` 0: all. `now_ns`: for holds; the
 * caller's clock.
 */
bool nexthop_work(struct nexthop_table *t, uint64_t now_ns, uint64_t deadline_ns) RUNS_ON(role_fib);
/* The end of the next hold, by the clock of nexthop_work(); UINT64_MAX: nothing is held. */
uint64_t nexthop_release_ns(const struct nexthop_table *t) RUNS_ON(role_fib);
/*
 * Any thread: the number of next hops whose resolution may depend on BGP routes: those on no connected
 * subnet. While it is above 0, the table must hear of BGP routes by nexthop_changed().
 */
unsigned nexthop_follows(const struct nexthop_table *t);
/* BGP routes changed, and it is not known which: as nexthop_changed() of all prefixes. */
void nexthop_changed_all(struct nexthop_table *t) RUNS_ON(role_fib);
/* Any thread: the number of next hops that are held down. */
unsigned nexthop_held_count(const struct nexthop_table *t);
/* The next hops that are held down, at most `max`; returns the number. */
struct nexthop_held {
	struct vrf_id vrf;
	struct ip_addr addr;
	struct prefix own; /* held for paths of this prefix alone; AFI_NONE: for all */
	uint64_t hold_ns; /* length of the hold */
};
unsigned nexthop_held(const struct nexthop_table *t, struct nexthop_held *out, unsigned max)
	RUNS_ON(role_fib);
/* Repeats reports that `report` refused. True while some are still owed; call again later. */
bool nexthop_report_owed(struct nexthop_table *t) RUNS_ON(role_fib);
/* True if nothing is queued for nexthop_work(). */
bool nexthop_settled(const struct nexthop_table *t);
/* Variants are not counted. */
unsigned nexthop_count(const struct nexthop_table *t);
