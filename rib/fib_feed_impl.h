/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state of the feed, shared by fib_feed.c, fib_hops.c, fib_own.c and fib_audit.c. Owner: the fib thread.
 *
 * fib_feed.c: journal to fib, and commits. fib_hops.c: neighbours that are directly reachable, and ports. fib_own.c: routes of the host, and the
 * preference between the sources of a prefix. fib_audit.c: the comparison of the tables with the RIB.
 *
 * A turn (fib_feed_work()) runs the activities of the table in fib_feed.c in their order. Each activity keeps one state of its own below.
 */
#pragma once

#include "rib/fib_audit.h"
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

/* The reader of the journal. */
enum feed_journal {
	JOURNAL_FOLLOWED,
	/* The cursor was overrun. The journal is pinned until the walk over the RIB has replaced the lost entries (journal.h, "A lapped cursor"). */
	JOURNAL_LAPPED,
};

/*
 * The walk over the RIB. After an overrun: SET_CHANGED, then SETTLE, then EMPTIES. When next hops moved: SET_ALL, and the other two only where the fib
 * has a prefix that is gone.
 */
enum feed_walk {
	RIB_WALK_NONE,
	RIB_WALK_SET_CHANGED, /* destinations that changed since `reach_back` */
	RIB_WALK_SET_ALL, /* all destinations */
	RIB_WALK_SETTLE, /* no walk: the journal is read until no withdrawal has to wait */
	RIB_WALK_EMPTIES, /* withdraws destinations without a path that changed last before `reach_back` */
};

/* Releases what was not used since the last SET_ALL began. */
enum feed_sweep { SWEEP_NONE, SWEEP_UNTRACKED, SWEEP_UNTRACKED_AND_HOLDS };

/* The walk over the routes of the host: which routes are compared with the tables again. */
enum own_walk { OWN_WALK_NONE, OWN_WALK_STATIC, OWN_WALK_ALL };

/* Prefixes of the fib whose withdrawal found no memory: a walk over the fib finds them. */
enum lost_walk {
	LOST_NONE,
	LOST_DUE, /* with the next retry */
	LOST_WALK,
	LOST_WALK_AGAIN, /* a walk runs, and another one is due with the next retry */
};

/* The newest flip. */
enum feed_flip {
	FLIP_PASSED, /* every worker has begun a burst since */
	FLIP_OPEN,
};

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
	enum feed_journal reader;
	enum feed_walk rewalk;
	bool empties_due; /* the fib has a prefix that no journal entry will withdraw: EMPTIES follows */
	uint64_t reach_back; /* a sequence of the journal */
	unsigned rewalk_table;
	struct walk walk;
	struct shards_table walked; /* by `walk` */
};

/* A prefix whose own route is gone and for which the RIB has nothing. */
struct leaving {
	struct vrf_id vrf;
	struct prefix prefix;
};

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
	struct {
		enum own_walk state, next; /* next: a walk that is due behind this one */
		unsigned bucket;
	} own_walk;
	struct leaving *leaving; /* still in the fib */
	unsigned leaving_count, leaving_size;
	struct {
		enum lost_walk state;
		struct vrf_id vrf; /* the VRF and the prefix seen last */
		struct prefix prefix;
	} lost;
	struct feed_source source;
	struct nexthop
		*untracked; /* next hops that no shard asked for (next_hop_tracking: false) */
	unsigned untracked_count, untracked_max;
	uint8_t mark;
	enum feed_sweep sweep;
	bool scarce; /* path lists run out: no backups any more */
	uint64_t work_ns; /* when the present turn began */
	uint64_t
		work_clock_ns; /* the same by the clock: what passed since is real, also in tests */
	enum feed_flip flip;
	uint64_t flip_clock_ns; /* of the newest flip, by the clock */
	uint64_t commit_due_ns,
		commit_latest_ns; /* not before: a batch that is worth it, any; 0: nothing waits */
	bool wait_readers; /* at the last commit a worker still used the other copy */
	uint64_t
		retry_due_ns; /* something could not be set, or backups may come back: all is tried again then; 0: nothing */
	_Atomic uint64_t failed;
	struct shard_report *report; /* one a shard; NULL: nothing is reported */
	uint64_t tight[SHARDS_MAX]; /* of each shard, by table: it was told ROOM_TIGHT */
	struct hist update_hist, use_hist, link_hist;
	_Atomic uint64_t link_last_ns;
	struct fib_auditor *auditor;
};

/* No walk runs or is due that changes tables without a journal entry. */
static inline bool
feed_walks_done(const struct fib_feed *f)
{
	return f->source.rewalk == RIB_WALK_NONE && f->own_walk.state == OWN_WALK_NONE &&
	       f->leaving_count == 0 && nexthop_settled(f->config.nexthops);
}

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
/* `list` is taken over, but for an error. 0, -ENOMEM. */
int fib_local_add(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	enum path_list_kind kind, uint16_t port, struct path_list_id list) RUNS_ON(role_fib);
void fib_local_remove(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	enum path_list_kind kind, uint16_t port) RUNS_ON(role_fib);
/* Compares routes of the host with the tables again. */
void fib_own_rewalk(struct fib_feed *f, enum own_walk which);
/* One slice; true while there is more. */
bool fib_own_work(struct fib_feed *f, uint64_t deadline_ns) RUNS_ON(role_fib);
/* `ctx` is the feed: see struct nexthop_feed. */
bool fib_route_longest(void *ctx, struct vrf_id vrf, const struct ip_addr *addr, unsigned max_len,
	bool bgp, struct nexthop_route *out);
void fib_own_fini(struct fib_feed *f) RUNS_ON(role_fib);
