/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by fib_feed*.c and fib_audit.c: what the fib thread knows beside the RIB. Writer: the fib thread.
 *
 * fib_feed.c: journal -> fib, commit. fib_hops.c: what is directly reachable, ports. fib_own.c: routes of the host, and which source of a
 * prefix is preferred.
 */
#pragma once

#include "rib/fib_feed.h"
#include "rib/nexthop_impl.h"
#include "rib/shards.h"
#include "rib/walk.h"

#include <stdatomic.h>

#define HOP_BUCKETS 4096
#define PORT_BUCKETS 64
#define OWN_BUCKETS 1024

/* A directly reachable address: where routes lead, a neighbour of the kernel's, or both. */
struct hop {
	struct hop *next; /* in its bucket */
	struct hop *port_next; /* of the ports' bucket: a lost link is told to these */
	struct hop **port_at; /* what leads to it there: a port may have as many as there are ids */
	struct vrf_id vrf;
	uint16_t port;
	struct ip_addr addr;
	struct next_hop_id next_hop; /* a reference */
	unsigned users; /* next hops and routes that need it: the kernel is to keep it resolved */
	bool resolved; /* the kernel knows its MAC; not link-local: a host route stands for it */
	uint8_t ether_len;
	uint8_t ether[14]; /* for when the link comes back */
	uint16_t mtu;
};

/* A neighbour that got no id or no memory: the host says it once. */
struct late_neighbor {
	struct late_neighbor *next;
	struct vrf_id vrf;
	uint16_t port;
	struct ip_addr addr;
	struct adjacency adj;
};

/* A use of each of a next hop's `direct`. */
struct hold {
	unsigned count;
	struct hop *hop[];
};

/*
 * Why the host has a route: a subnet on a port, an address of ours, a resolved neighbour. Several may claim one prefix (a subnet
 * on two ports, a host that moved, somebody who answers for our address); local_find() says which counts.
 */
struct local_route {
	struct local_route *next;
	struct vrf_id vrf;
	struct prefix prefix;
	enum path_list_kind kind;
	uint16_t port;
	struct path_list_id list; /* a reference */
	unsigned users; /* several addresses in one subnet */
};

/* A static route, or one of the kernel's. */
struct host_route {
	struct host_route *next;
	struct vrf_id vrf;
	struct prefix prefix;
	enum route_source source;
	uint32_t metric;
	bool active; /* it leads somewhere, or nowhere on purpose */
	struct path_list_id list; /* a reference; PATH_LIST_NONE: not active, or no fib */
	unsigned count; /* 0: a blackhole */
	struct host_hop {
		struct fib_feed_hop key;
		struct nexthop *by; /* a reference; to be resolved */
		struct hop *hop; /* a use; directly reachable */
	} hop[];
};

/* What of the host's own counts for a prefix. */
struct own_answer {
	int preference; /* lower wins; -1: an address of ours, before all */
	enum route_source source;
	struct path_list_id list;
};

/* What the RIB wants for a destination. */
enum feed_want {
	WANT_NOTHING, /* no eligible path, ours, or no way there that anybody will tell of */
	WANT_LIST,
	/*
	 * The best path's next hop is gone and the shard will hear of it: until it has decided, the next best, or (count 0) what is there.
	 * And what is there when ids or memory were out for all that could lead there (`failed`): it is tried again.
	 */
	WANT_LATER,
};

struct feed_answer {
	struct path path[PATHS_MAX]; /* as in a path list: equal ones, then backups */
	unsigned count, backups; /* count: of both */
	uint16_t port[PATHS_MAX]; /* of each */
	struct peer_id peer; /* whose path is first */
	bool blackhole; /* packets are dropped; count is 0 */
	bool failed; /* none is left for want of ids or memory alone */
};

/*
 * After an overrun: SET everything present, read the journal on until no withdrawal would have to wait (SETTLE), then withdraw the
 * EMPTIES (journal.h, "A lapped cursor"). When only next hops moved: SET, and the rest when something stands in the fib that should not.
 */
enum rewalk { REWALK_NONE, REWALK_SET, REWALK_SETTLE, REWALK_EMPTIES };

/* The RIB's side of the feed: shards that share a journal. */
struct feed_source {
	struct shards shards;
	struct journal *journal;
	struct journal_cursor *cursor;
	uint64_t first[SHARDS_MAX],
		flip_first
			[SHARDS_MAX]; /* of each one's entries behind `visible`, `flip_after`; 0: none */
	uint64_t applied; /* journal position that the open batch contains */
	uint64_t visible; /* ... that the workers see */
	uint64_t flip_after, flip_to; /* what the newest flip showed them */
	enum rewalk rewalk;
	bool lapped;
	bool all; /* the first walk leaves nothing out: next hops moved */
	bool stranded; /* the fib has what no journal entry will withdraw: the second walk does */
	uint64_t
		reach_back; /* sequence from which on the first walk looks, up to which the second one withdraws */
	unsigned rewalk_table;
	struct walk walk;
	struct shards_table walked; /* by `walk` */
};

/* A prefix whose own route is gone and for which the RIB has nothing. */
struct leaving {
	struct vrf_id vrf;
	struct prefix prefix;
};

struct audit; /* fib_audit.c */

struct fib_feed {
	struct fib_feed_config config;
	struct path_lists *path_lists;
	struct hop *hops[HOP_BUCKETS], *port_hops[PORT_BUCKETS];
	struct late_neighbor *late; /* tried again by retry() */
	struct local_route *locals[OWN_BUCKETS];
	struct host_route *routes[OWN_BUCKETS];
	unsigned own_lens[2][129],
		route_lens[2][129]; /* how many of each family and length: which to probe */
	uint8_t preference[SOURCE_COUNT];
	unsigned own_next; /* bucket of the walk over all of these; OWN_BUCKETS: none */
	bool own_again, own_locals, own_locals_again;
	struct leaving *leaving; /* still in the fib */
	unsigned leaving_count, leaving_size;
	bool withdrawals_lost; /* for want of memory: retry() looks for them in the fib */
	bool lost_walk; /* it does; these are the VRF and the prefix seen last */
	struct vrf_id lost_vrf;
	struct prefix lost_prefix;
	struct feed_source source;
	struct nexthop
		*untracked; /* next hops that no shard asked for (next_hop_tracking: false) */
	unsigned untracked_count, untracked_max;
	uint8_t mark;
	bool sweep_due; /* when everything present was put in again, these not in use go */
	bool sweep_hops; /* and what next hops hold that nothing leads by: ids are out */
	bool scarce; /* path lists run out: no backups any more */
	uint64_t work_ns; /* when the present turn began */
	uint64_t
		work_clock_ns; /* the same by the clock: what passed since is real, also in tests */
	bool flip_open; /* not all workers have passed it yet */
	uint64_t flip_clock_ns; /* the newest, by the clock */
	uint64_t commit_due_ns,
		commit_latest_ns; /* not before: a batch that is worth it, any; 0: nothing waits */
	bool wait_readers; /* the last commit met readers of the old copy */
	uint64_t
		retry_due_ns; /* something could not be set, or backups may come back: all is tried again then; 0: nothing */
	_Atomic uint64_t failed;
	struct shard_report *report; /* one a shard; NULL: nothing is reported */
	uint64_t tight[SHARDS_MAX]; /* of each shard, by table: it was told ROOM_TIGHT */
	struct hist update_hist, use_hist, link_hist;
	_Atomic uint64_t link_last_ns;
	/* audit */
	struct fib_audit audit;
	struct audit *auditing; /* while one runs */
	_Atomic uint64_t audit_done, audit_total; /* prefixes; read by any thread */
};

static inline enum family
fib_feed_family(uint8_t afi)
{
	return afi == AFI_IPV6 ? FAMILY_IPV6_UNICAST : FAMILY_IPV4_UNICAST;
}

static inline bool
fib_feed_forwards(enum family family)
{
	return family == FAMILY_IPV4_UNICAST || family == FAMILY_IPV6_UNICAST;
}

/* There is an entry for the forwarding table. */
static inline bool
feed_answers(const struct feed_answer *a)
{
	return a->count > 0 || a->blackhole;
}

/* ---- fib_feed.c ---- */

/* Something was left out for want of ids or memory: all is tried again in a second. */
void fib_feed_fail(struct fib_feed *f);
/* Next hops moved: everything present is put in again. */
void fib_feed_rewalk(struct fib_feed *f);
/* What is to stand for `p` by now: its own route's, the RIB's, or nothing. */
void fib_feed_refresh(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p)
	RUNS_ON(role_fib);
enum feed_want fib_feed_want(struct fib_feed *f, const struct feed_source *s, struct vrf_id vrf,
	const struct dest_view *view, struct feed_answer *out) RUNS_ON(role_fib);
/* Is the RIB's answer preferred to the host's own? */
bool fib_feed_rib_wins(const struct fib_feed *f, const struct feed_source *s, struct peer_id peer,
	const struct own_answer *own);
/* The shard's table that has, or would have, the prefix; false when there is none. */
bool fib_feed_table(const struct feed_source *s, struct vrf_id vrf, const struct prefix *p,
	const struct dest_table **out);
/* Everything that the journals hold now is visible to workers. */
bool fib_feed_drained(const struct fib_feed *f);

/* ---- fib_hops.c ---- */

/* Find or create, and use it. NULL: out of memory or of ids. */
struct hop *fib_hop_use(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr,
	uint16_t port) RUNS_ON(role_fib);
void fib_hop_release(struct fib_feed *f, struct hop *h) RUNS_ON(role_fib);
/* Fills n->hold, unless it is there. False: out of memory or of ids. */
bool fib_hold(struct fib_feed *f, struct nexthop *n) RUNS_ON(role_fib);
/* Next hops that nothing led by since the last fib_feed_rewalk() let go of what they hold. */
void fib_hops_sweep(struct fib_feed *f) RUNS_ON(role_fib);
/* Neighbours that failed are tried once more. */
void fib_neighbors_retry(struct fib_feed *f) RUNS_ON(role_fib);
/* `ctx` is the feed: see struct nexthop_feed. */
void fib_next_hop_changed(void *ctx, struct nexthop *n) RUNS_ON(role_fib);
void fib_hops_fini(struct fib_feed *f) RUNS_ON(role_fib);

/* ---- fib_own.c ---- */

/* The host's own route of exactly `p` that counts. */
bool fib_own_find(const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	struct own_answer *out);
/* Of the longest of these that cover `addr`. */
bool fib_own_longest(const struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr,
	struct prefix *p, struct own_answer *out);
/* `list` is taken over, but for an error. 0, -ENOMEM. */
int fib_local_add(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	enum path_list_kind kind, uint16_t port, struct path_list_id list) RUNS_ON(role_fib);
void fib_local_remove(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	enum path_list_kind kind, uint16_t port) RUNS_ON(role_fib);
/* All of the host's routes are to be looked at again; those of ports, too? */
void fib_own_rewalk(struct fib_feed *f, bool locals);
/* One slice; true while there is more. */
bool fib_own_work(struct fib_feed *f, uint64_t deadline_ns) RUNS_ON(role_fib);
/* `ctx` is the feed: see struct nexthop_feed. */
bool fib_route_longest(void *ctx, struct vrf_id vrf, const struct ip_addr *addr, unsigned max_len,
	bool bgp, struct nexthop_route *out);
void fib_own_fini(struct fib_feed *f) RUNS_ON(role_fib);

/* ---- fib_audit.c ---- */

/* One slice; true while there is more to do now. */
bool fib_audit_work(struct fib_feed *f, uint64_t deadline_ns) RUNS_ON(role_fib);
/* Frees what a running audit holds. */
void fib_audit_fini(struct fib_feed *f);
