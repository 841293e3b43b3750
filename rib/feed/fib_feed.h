/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Without a data plane: tracks next hops alone, and reads the journal while next hops may depend on BGP
 * routes (nexthop_follows()).
 *
 * Applies the journal to the shadow and commits fib transactions, in journal order; an unchanged
 * path list writes nothing. Merges the best paths of the RIB with routes of the host (connected
 * subnets, own addresses, resolved neighbours, static and kernel routes) by preference.
 *
 * Writer: the fib thread, a RIB reader (online in the QSBR of RIB readers during each call).
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/fib.h"
#include "lpm/base/hist.h"
#include "rib/feed/fib_audit.h"
#include "rib/feed/nexthop.h"
#include "rib/shard/shard.h"
#include "rib/table/swap.h"

struct arena;
struct fib_feed;

struct fib_feed_config {
	struct arena *arena;
	struct fib *fib; /* NULL without a data plane: only next hops are tracked */
	struct nexthop_table *nexthops;
	struct shard *const *shards;
	unsigned shard_count;
	/*
	 * batch limit in IPv4 prefixes, or an eighth of that in IPv6 prefixes (fib_batch_cost()): 1
	 * ms; 4,096
	 */
	uint32_t batch_max;
	uint64_t commit_interval_ns; /* FIB_COMMIT_INTERVAL_NS */
	uint32_t batch_some; /* a batch of lower cost waits longer: FIB_COMMIT_SOME */
	uint64_t commit_latest_ns; /* FIB_COMMIT_LATEST_NS; both may be 0 */
	/*
	 * Asks the kernel to keep a next hop on `port` resolved, or no longer; control passes the
	 * request to the host thread.
	 */
	void (*resolve)(void *ctx, uint16_t port, const struct ip_addr *addr, bool wanted);
	void *resolve_ctx;
	/*
	 * Passes a report to the thread of the shard, which calls shard_report() and then wakes the
	 * fib thread. 0; -ENOMEM: the feed repeats the call later. NULL: no reports of missing
	 * room.
	 */
	int (*report)(void *ctx, unsigned shard, struct shard_report *r);
	void *report_ctx;
	/*
	 * A static route has begun to resolve, or no longer does; not called for a removed route. NULL:
	 * not reported.
	 */
	void (*static_changed)(void *ctx, struct vrf_id vrf, const struct prefix *p, bool up);
	void *static_ctx;
};

int fib_feed_create(const struct fib_feed_config *config, struct fib_feed **out);
void fib_feed_destroy(struct fib_feed *f);

/*
 * From the host: links and addresses. `local` is the own address in `subnet` (a /32 or /128 to the
 * kernel). A link-local address (with zone) gives no route for its subnet, because routers do not
 * forward there (RFC 4291 2.5.6). `port` PORT_NONE: an address without a port (loopback). 0;
 * -ENOMEM, -ENOSPC: applied in part.
 */
int fib_feed_connected(struct fib_feed *f, struct vrf_id vrf, const struct prefix *subnet,
	const struct ip_addr *local, uint16_t port, bool up) RUNS_ON(role_fib);
/* An anycast address of this host: a claim for each port that has it. 0; -ENOMEM, -ENOSPC: in part. */
int fib_feed_anycast(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, bool up)
	RUNS_ON(role_fib);
/*
 * Maps `zone` to `port`: link-local next hops with that zone are directly reachable there.
 * fib_feed_connected() learns the mapping from own link-local addresses (zone of `local`), so this
 * call is needed only for ports without one. 0, -ENOMEM.
 */
int fib_feed_zone(struct fib_feed *f, struct vrf_id vrf, uint16_t zone, uint16_t port)
	RUNS_ON(role_fib);
/* The port was removed. */
void fib_feed_zone_remove(struct fib_feed *f, struct vrf_id vrf, uint16_t zone, uint16_t port)
	RUNS_ON(role_fib);
/*
 * From the host: a neighbour is resolved (`adj`) or lost (NULL). Changes the state of the next hop
 * with one store, without a batch. 0; -ENOMEM, -ENOSPC: repeated each second until the neighbour is
 * lost.
 */
int fib_feed_neighbor(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr,
	uint16_t port, const struct adjacency *adj) RUNS_ON(role_fib);
/*
 * A static route, or a route of the kernel (an IGP on this host). `hops`: up to ROUTE_HOPS_MAX, of
 * which PATHS_MAX different ones forward; link-local hops with zone; a hop with `port` PORT_NONE is resolved recursively. count 0 with
 * `present`: a blackhole. Replaces an earlier route of the same (vrf, prefix, source); `present`
 * false removes. 0; -ENOENT; -ENOMEM, -ENOSPC: nothing changed, and the caller logs the error.
 */
#define ROUTE_HOPS_MAX 256u
struct fib_feed_hop {
	struct ip_addr addr; /* AFI_NONE: the destination is directly on `port` */
	uint16_t port;
};
int fib_feed_route(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	enum route_source source, const struct fib_feed_hop *hops, unsigned count, uint32_t metric,
	bool present) RUNS_ON(role_fib);
/* True if the address resolves as a next hop: for previews. */
bool fib_feed_resolves(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_fib);
/* True if the static route of exactly `p` resolves, or is a blackhole. */
bool fib_feed_static_up(const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p)
	RUNS_ON(role_fib);
/*
 * The static label-switched paths (RFC 3031), which replace those of an earlier call. A path with
 * `in_label` takes labelled packets; a path with in_label LABEL_NONE begins here, for routes with a
 * label whose next hop is in `destination`. 0; -ENOMEM: nothing changed.
 */
struct fib_feed_lsp {
	uint32_t in_label;
	struct prefix destination;
	struct ip_addr next_hop; /* AFI_NONE: the packet belongs to the instance `vrf` */
	struct vrf_id vrf;
	/* outgoing labels, outermost first; none, or implicit null alone: the label is popped */
	uint8_t label_count;
	uint32_t label[PUSH_LABELS_MAX];
};
int fib_feed_lsps(struct fib_feed *f, const struct fib_feed_lsp *lsps, unsigned count)
	RUNS_ON(role_fib);
/*
 * Installs or removes labels of VPN routes with our next hop (RFC 4364 10 b), and writes the result
 * of each order: 0; -ENOMEM, -ENOSPC: not installed. A label is removed before a further order for
 * the label. Without a data plane nothing is installed, and each result is 0.
 */
void fib_feed_swaps(struct fib_feed *f, struct swap_order *order, unsigned count) RUNS_ON(role_fib);
/*
 * The tunnels of MPLS over UDP (RFC 7510), which replace those of an earlier call: labelled packets
 * for the next hop `remote` of `default` leave in UDP, and come in UDP from there. Both addresses are
 * IPv4. A tunnel comes before a label-switched path. 0; -ENOMEM, -ENOSPC: nothing changed.
 */
struct fib_feed_tunnel {
	struct ip_addr remote, own;
};
int fib_feed_tunnels(struct fib_feed *f, const struct fib_feed_tunnel *tunnels, unsigned count)
	RUNS_ON(role_fib);
/* The lowest `preference` wins. Installed routes are compared again. */
void fib_feed_preference(struct fib_feed *f, const uint8_t preference[SOURCE_COUNT])
	RUNS_ON(role_fib);
/* May a default route resolve next hops? False at first. */
void fib_feed_resolve_via_default(struct fib_feed *f, bool yes) RUNS_ON(role_fib);
/* The link of a port came (back) up: neighbours follow by fib_feed_neighbor(). */
void fib_feed_port_up(struct fib_feed *f, uint16_t port) RUNS_ON(role_fib);
/*
 * Time from a netlink event to the next hops of the port stored as down, ns: one entry per link
 * loss.
 */
const struct hist *fib_feed_link_hist(const struct fib_feed *f);
/* The newest entry of fib_feed_link_hist(), exact; 0: no entry. Any thread. */
uint64_t fib_feed_link_last_ns(const struct fib_feed *f);
/* The link of a port went down: stores all next hops of the port as down. */
void fib_feed_port_down(struct fib_feed *f, uint16_t port, uint64_t event_ns) RUNS_ON(role_fib);

/* One turn: journal, walks, commit when due. True if more work is due. */
bool fib_feed_work(struct fib_feed *f, uint64_t now_ns, uint64_t deadline_ns) RUNS_ON(role_fib);
/*
 * After a turn that returned false: ns until the next turn is due (readers of the old copy, or the
 * commit interval); 0: nothing is pending.
 */
uint64_t fib_feed_wait_ns(const struct fib_feed *f) RUNS_ON(role_fib);
/*
 * A generation whose tables contain the change with this journal sequence (low 32 bits, as of
 * dest_view). 0: no generation yet. The change may be in earlier generations too, if the change
 * needed no store in the tables, or is older than the last FIB_FEED_FLIPS generations.
 */
#define FIB_FEED_FLIPS 4096u
uint64_t fib_feed_generation_of(const struct fib_feed *f, uint32_t sequence) RUNS_ON(role_fib);
/* Puts changes of the tables into `tap` from now on; NULL: ends. Lent until the next call. */
struct trace_tap;
void fib_feed_trace(struct fib_feed *f, struct trace_tap *tap) RUNS_ON(role_fib);
/*
 * True if all journal entries up to `sequence`, and all that the host and next hops have reported, are in
 * the tables that readers use.
 */
bool fib_feed_reached(const struct fib_feed *f, uint64_t sequence) RUNS_ON(role_fib);
/* A shard's question, see nexthop_watch(). */
int fib_feed_watch(struct fib_feed *f, const struct nexthop_message *m) RUNS_ON(role_fib);
/*
 * Time from reading an UPDATE until the routes are visible to workers, and until all workers use
 * them: every worker has begun a burst since, so no worker forwards by older routes. The second
 * excludes messages without a change of the tables. Messages read within 200 us count as one, at
 * the time of the oldest.
 */
const struct hist *fib_feed_update_hist(const struct fib_feed *f);
const struct hist *fib_feed_use_hist(const struct fib_feed *f);
/*
 * Number of destinations that got no path list (out of ids) or no memory; all are retried each
 * second. Any thread.
 */
uint64_t fib_feed_failed(const struct fib_feed *f);

/* ---- the audit (rib/feed/fib_audit.h) ---- */

/* Audits the VRF `only`; NULL: all. 0; -EBUSY: an audit is running; -ENODEV: there is no fib; -ENOMEM. */
int fib_feed_audit_begin(struct fib_feed *f, const struct vrf_id *only) RUNS_ON(role_fib);
/* The result so far; `running` is true until the audit has ended. */
const struct fib_audit *fib_feed_audit(const struct fib_feed *f) RUNS_ON(role_fib);
/* Any thread: prefixes checked so far, and an estimate of the total. */
void fib_feed_audit_progress(const struct fib_feed *f, uint64_t *done, uint64_t *total);
