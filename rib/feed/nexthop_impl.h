/* SPDX-License-Identifier: BSD-3-Clause */
/* A next hop and its resolution, shared by nexthop.c and fib_feed*.c. Writer: the fib thread. */
#pragma once

#include "lpm/path_list.h"
#include "rib/feed/nexthop.h"

/* An address directly reachable on a port. */
struct nexthop_direct {
	struct ip_addr addr;
	uint16_t port;
};

struct nexthop {
	struct nexthop *next; /* in the bucket */
	struct nexthop_message last; /* the key, and the state last reported to shards */
	unsigned watchers; /* number of watches by shards */
	/* watches, host routes over this next hop, dependent next hops; of a variant: of `of`, too */
	unsigned refs;
	/*
	 * A variant resolves without the BGP route of `without`, for the paths of this prefix.
	 * AFI_NONE: no variant. `of`: the next hop that lists the variant in `own`; NULL: the last
	 * resolution does not use that BGP route.
	 */
	struct prefix without;
	struct nexthop *of;
	struct nexthop *own[NEXTHOP_OWN_MAX]; /* a reference each */
	uint8_t own_count;
	bool up, connected;
	bool blackhole; /* while up: packets are dropped, direct_count is 0 */
	bool follows; /* BGP routes count in the resolution */
	uint8_t depth; /* number of routes between this next hop and directly reachable addresses */
	uint8_t direct_count, on_count;
	uint16_t left_out; /* addresses without room in `direct`, some perhaps twice */
	uint32_t metric;
	uint64_t digest; /* of the addresses and ports; never 0 */
	uint64_t given; /* digest last written into tables; 0: never written */
	struct nexthop_direct *direct; /* points to `one` or an array */
	struct nexthop_direct one;
	struct nexthop **on; /* next hops of the resolving routes, with a reference each */
	/*
	 * For the feed: held state for `direct`; list of untracked next hops, which no shard
	 * watches.
	 */
	struct hold *hold;
	struct nexthop *untracked_next;
	bool untracked;
	bool owed; /* a report is due when there is memory for the message */
	uint8_t mark;
	/* see nexthop.h: NEXTHOP_CHANGES changes are allowed while busy_ns is so many s ahead */
	uint64_t busy_ns;
	uint64_t held_until_ns; /* 0: not held */
	uint64_t hold_ns, released_ns; /* of the last hold */
	struct nexthop *held_next;
};

/* True if a route or another next hop depends on the next hop. */
static inline bool
nexthop_needed(const struct nexthop *n)
{
	return n->refs > n->watchers + n->untracked + (n->of != NULL);
}

/* The next hop for a path of the prefix `p`: a variant, or `n`. */
static inline struct nexthop *
nexthop_for(struct nexthop *n, const struct prefix *p)
{
	for (unsigned i = 0; i < n->own_count; i++)
		if (prefix_equal(&n->own[i]->without, p))
			return n->own[i];
	return n;
}

struct nexthop *nexthop_find(
	const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr);
/*
 * Finds or creates and resolves the next hop, and takes a reference; no report. NULL: out of
 * memory.
 */
struct nexthop *nexthop_ref(struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_fib);
void nexthop_unref(struct nexthop_table *t, struct nexthop *n) RUNS_ON(role_fib);
/* Visits all next hops in one call. */
void nexthop_each(struct nexthop_table *t, void (*visit)(void *ctx, struct nexthop *n), void *ctx)
	RUNS_ON(role_fib);
bool nexthop_port_up(const struct nexthop_table *t, uint16_t port);
