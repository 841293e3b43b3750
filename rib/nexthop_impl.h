/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by nexthop.c and fib_feed*.c: a next hop as it is resolved now. Writer: the fib thread.
 */
#pragma once

#include "lpm/path_list.h"
#include "rib/nexthop.h"

/* An address that is on the wire of a port of ours. */
struct nexthop_direct {
	struct ip_addr addr;
	uint16_t port;
};

struct nexthop {
	struct nexthop *next; /* in its bucket */
	struct nexthop_message last; /* its key, and what the shards were told */
	unsigned watchers; /* shards that asked */
	unsigned refs; /* these, the host's routes by it, and next hops that rest on it */
	bool up, connected;
	bool blackhole; /* while up: packets are dropped, direct_count is 0 */
	uint8_t depth; /* routes between it and what is directly reachable */
	uint8_t direct_count, on_count;
	uint32_t metric;
	uint64_t digest; /* which addresses on which ports; never 0 */
	uint64_t given; /* that of what was last put into tables; 0: never */
	struct nexthop_direct *direct; /* `one` or an array */
	struct nexthop_direct one;
	struct nexthop **on; /* next hops of the routes that it is resolved by: a reference each */
	/* Of the feed: what it holds for `direct`; untracked ones, which no shard asked for. */
	struct hold *hold;
	struct nexthop *untracked_next;
	bool untracked;
	bool owed; /* shards are to be told, when there is memory for the message */
	uint8_t mark;
};

struct nexthop *nexthop_find(
	const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr);
/* Find or make, resolve, and take a reference; nobody is told. NULL: out of memory. */
struct nexthop *nexthop_ref(struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_fib);
void nexthop_unref(struct nexthop_table *t, struct nexthop *n) RUNS_ON(role_fib);
/* Each there is, in one go. */
void nexthop_each(struct nexthop_table *t, void (*visit)(void *ctx, struct nexthop *n), void *ctx)
	RUNS_ON(role_fib);
bool nexthop_port_up(const struct nexthop_table *t, uint16_t port);
