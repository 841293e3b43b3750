/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Journal -> shadow -> fib transaction, in journal order; an unchanged path list writes nothing.
 * Merges the RIB's best paths with routes of the host (connected subnets, our addresses, resolved neighbours, static and kernel routes) by preference.
 *
 * Writer: the fib thread. It is a RIB reader (the caller is online in the readers' QSBR during each call).
 */
#pragma once

#include "lpm/base.h"
#include "lpm/fib.h"
#include "lpm/hist.h"
#include "rib/fib_audit.h"
#include "rib/nexthop.h"
#include "rib/shard.h"

struct arena;
struct fib_feed;

struct fib_feed_config {
	struct arena *arena;
	struct fib *fib; /* NULL without a data plane: only next hops are tracked */
	struct nexthop_table *nexthops;
	struct shard *const *shards;
	unsigned shard_count;
	uint32_t
		batch_max; /* IPv4 prefixes a commit, or an eighth of it of IPv6 (fib_batch_cost()): 1 ms; 4,096 */
	uint64_t commit_interval_ns; /* FIB_COMMIT_INTERVAL_NS */
	uint32_t batch_some; /* what costs less waits longer: FIB_COMMIT_SOME */
	uint64_t commit_latest_ns; /* FIB_COMMIT_LATEST_NS; both may be 0 */
	/* A next hop (on `port`) is (no longer) to be kept resolved by the kernel: control passes it to the host thread. */
	void (*resolve)(void *ctx, uint16_t port, const struct ip_addr *addr, bool wanted);
	void *resolve_ctx;
	/*
	 * Passes a report to that shard's thread, which calls shard_report() and then wakes the fib thread. 0; -ENOMEM: it is tried again. NULL: no shard
	 * is told what is not installed.
	 */
	int (*report)(void *ctx, unsigned shard, struct shard_report *r);
	void *report_ctx;
};

int fib_feed_create(const struct fib_feed_config *config, struct fib_feed **out);
void fib_feed_destroy(struct fib_feed *f);

/*
 * From the host: link and addresses. `local`: our own address in that subnet (a /32 or /128 to the kernel). A link-local one (with its zone)
 * makes no route for its subnet: no router forwards there (RFC 4291 2.5.6). `port` PORT_NONE: an address of no port (a loopback's). 0; -ENOMEM, -ENOSPC: in part.
 */
int fib_feed_connected(struct fib_feed *f, struct vrf_id vrf, const struct prefix *subnet,
	const struct ip_addr *local, uint16_t port, bool up) RUNS_ON(role_fib);
/*
 * The interface that `zone` names is `port`: link-local next hops with that zone are directly there. Also learned from link-local addresses
 * of ours (fib_feed_connected() with `local`'s zone), so a caller that passes these needs this for ports without one.
 */
void fib_feed_zone(struct fib_feed *f, uint16_t zone, uint16_t port) RUNS_ON(role_fib);
/*
 * From the host: a neighbour resolved (adjacency given) or lost (NULL). Also a next hop's state: one store, no batch. 0; -ENOMEM, -ENOSPC: it
 * is tried again each second until it is lost.
 */
int fib_feed_neighbor(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr,
	uint16_t port, const struct adjacency *adj) RUNS_ON(role_fib);
/*
 * A route that is neither BGP's nor a subnet of ours: static, or of the kernel's table (an IGP beside us). `hops`: up to PATHS_MAX, a
 * link-local one with its zone; a hop with `port` PORT_NONE is resolved recursively. count 0 with `present`: a blackhole. The same (vrf,
 * prefix, source) again replaces; `present` false removes. 0; -ENOENT; -ENOMEM, -ENOSPC: nothing was changed, it is logged by the caller.
 */
struct fib_feed_hop {
	struct ip_addr addr; /* AFI_NONE: directly on `port` */
	uint16_t port;
};
int fib_feed_route(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	enum route_source source, const struct fib_feed_hop *hops, unsigned count, uint32_t metric,
	bool present) RUNS_ON(role_fib);
/* The lowest `preference` wins. Installed routes are judged anew. */
void fib_feed_preference(struct fib_feed *f, const uint8_t preference[SOURCE_COUNT])
	RUNS_ON(role_fib);
/* May a default route resolve next hops? False at first. */
void fib_feed_resolve_via_default(struct fib_feed *f, bool yes) RUNS_ON(role_fib);
/* The link of a port came (back) up: neighbours follow by fib_feed_neighbor(). */
void fib_feed_port_up(struct fib_feed *f, uint16_t port) RUNS_ON(role_fib);
/* Netlink event read -> next hops of that port stored as down, ns: one entry a link loss. */
const struct hist *fib_feed_link_hist(const struct fib_feed *f);
/* The newest entry of it as it was measured; 0: none. Any thread. */
uint64_t fib_feed_link_last_ns(const struct fib_feed *f);
/* The link of a port went down: all its next hops are down now. */
void fib_feed_port_down(struct fib_feed *f, uint16_t port, uint64_t event_ns) RUNS_ON(role_fib);

/* One turn: journals, commit when due. True while there is more to do. */
bool fib_feed_work(struct fib_feed *f, uint64_t now_ns, uint64_t deadline_ns) RUNS_ON(role_fib);
/* After a turn that returned false: ns until the next one is due (readers of the old copy, or the commit interval); 0: nothing waits. */
uint64_t fib_feed_wait_ns(const struct fib_feed *f) RUNS_ON(role_fib);
/* A shard's question, see nexthop_watch(). */
int fib_feed_watch(struct fib_feed *f, const struct nexthop_message *m) RUNS_ON(role_fib);
/*
 * UPDATE read -> visible to workers, and -> used by all of them: every worker has begun a burst since, so none forwards by what was before.
 * A message that changes nothing in the tables is in the first alone. Messages read within 200 us count as one, the oldest.
 */
const struct hist *fib_feed_update_hist(const struct fib_feed *f);
const struct hist *fib_feed_use_hist(const struct fib_feed *f);
/* How often a destination got no path list (out of ids) or no memory; all are retried each second. Any thread. */
uint64_t fib_feed_failed(const struct fib_feed *f);

/* ---- the audit (rib/fib_audit.h) ---- */

/* 0; -EBUSY: an audit is running; -ENODEV: there is no fib; -ENOMEM. */
int fib_feed_audit_begin(struct fib_feed *f) RUNS_ON(role_fib);
/* The result so far; `running` is true until the audit has ended. */
const struct fib_audit *fib_feed_audit(const struct fib_feed *f) RUNS_ON(role_fib);
/* Any thread: prefixes that the audit has checked, of an estimate of all. */
void fib_feed_audit_progress(const struct fib_feed *f, uint64_t *done, uint64_t *total);
