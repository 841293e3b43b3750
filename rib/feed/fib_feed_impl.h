/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * State of the feed, shared by fib_feed.c, fib_hops.c, fib_edges.c, fib_own.c and fib_audit.c.
 * Owner: the fib thread.
 *
 * fib_feed.c: journal to fib, and commits.
 * fib_hops.c: directly reachable neighbours, and ports.
 * fib_edges.c: remote edge routers, and label-switched paths.
 * fib_own.c: routes of the host, and the preference between the sources of a prefix.
 * fib_audit.c: comparison of the tables with the RIB.
 *
 * A turn (fib_feed_work()) runs the activities of the table in fib_feed.c in order. Each activity
 * keeps one state below.
 */
#pragma once

#include "rib/feed/fib_audit.h"
#include "rib/feed/fib_feed.h"
#include "rib/feed/nexthop_impl.h"
#include "rib/shard/shards.h"
#include "rib/shard/walk.h"

#include <stdatomic.h>

#define HOP_BUCKETS 4096
#define PORT_BUCKETS 64
#define OWN_BUCKETS 1024
#define EDGE_BUCKETS 1024

/* A directly reachable address: a next hop of routes, a neighbour of the kernel, or both. */
struct hop {
	struct hop *next; /* in the bucket */
	struct hop *port_next; /* in the bucket of the port: visited at a link loss */
	/*
	 * address of the pointer to this hop there: a port may have as many hops as there are ids
	 */
	struct hop **port_at;
	struct vrf_id vrf;
	uint16_t port;
	struct ip_addr addr;
	struct next_hop_id next_hop; /* a reference */
	/*
	 * number of next hops and routes over this address; while > 0 the kernel keeps the address
	 * resolved
	 */
	unsigned users;
	/* the kernel has the MAC address; unless link-local, there is a host route */
	bool resolved;
	uint8_t ether_len;
	uint8_t ether[14]; /* kept while the link is down */
	uint16_t mtu;
};

/*
 * A remote edge router, or the end of a label-switched path: a next hop with transport labels, or
 * with a UDP tunnel.
 */
struct edge {
	struct edge *next; /* in the bucket */
	struct vrf_id vrf;
	struct ip_addr addr; /* resolved like the next hop of a route */
	uint8_t label_count, mark; /* mark: as in struct nexthop */
	uint32_t label[PUSH_LABELS_MAX];
	uint32_t udp_source; /* of the tunnel to `addr`, in wire order; 0: no UDP */
	struct next_hop_id next_hop; /* a reference */
	struct nexthop *by; /* a reference */
	unsigned users; /* static label-switched paths, and swapped labels */
};

struct lsp {
	struct fib_feed_lsp key;
	struct edge *edge; /* a use; NULL: none */
};

/* A label of ours that is swapped for the label of an edge (rib/table/swap.h). */
struct swapped {
	struct swapped *next; /* in the bucket */
	uint32_t label, received;
	struct ip_addr next_hop;
	struct edge *edge; /* a use */
};
#define SWAPPED_BUCKETS (1u << 16)

/* A neighbour without an id or memory so far, kept because the host reports a neighbour once. */
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
 * A claim of the host on a prefix: a subnet on a port, an own address, a resolved neighbour. A
 * prefix may have several claims (a subnet on two ports, a host that moved, a neighbour that
 * answers for an own address); local_find() selects.
 */
struct local_route {
	struct local_route *next;
	struct vrf_id vrf;
	struct prefix prefix;
	enum path_list_kind kind;
	uint16_t port;
	struct path_list_id list; /* a reference */
	unsigned users; /* number of addresses in the subnet */
};

/* A static route, or a route of the kernel. */
struct host_route {
	struct host_route *next;
	struct vrf_id vrf;
	struct prefix prefix;
	enum route_source source;
	uint32_t metric;
	bool active; /* resolves, or is a blackhole by configuration */
	struct path_list_id list; /* a reference; PATH_LIST_NONE: inactive, or no fib */
	unsigned count; /* 0: a blackhole */
	struct host_hop {
		struct fib_feed_hop key;
		struct nexthop *by; /* a reference; to be resolved */
		struct hop *hop; /* a use; directly reachable */
	} hop[];
};

/* The selected route of the host for a prefix. */
struct own_answer {
	int preference; /* lower wins; -1: an own address, preferred to all routes */
	enum route_source source;
	struct path_list_id list;
};

/* The action of the tables for a destination, by the state of the RIB. */
enum feed_want {
	/* withdraw: no eligible path, an own route, or no usable next hop and no report to come */
	WANT_NOTHING,
	WANT_LIST,
	/*
	 * Keep the installed route (count 0) or use the next best: the next hop of the best path is
	 * down and the shard will hear of the change. Also when all usable paths lacked ids or
	 * memory (`failed`): retried later.
	 */
	WANT_LATER,
};

struct feed_answer {
	struct path path[LIST_PATHS_MAX]; /* as in a path list: equal paths, then backups */
	unsigned count, backups; /* count: of both */
	unsigned left_out; /* equal paths beyond PATHS_MAX */
	uint16_t port[LIST_PATHS_MAX]; /* of each */
	struct peer_id peer; /* peer of the first path */
	bool blackhole; /* packets are dropped; count is 0 */
	/* not VRF_DEFAULT: a route of this router in that instance; looked up there; count is 0 */
	struct vrf_id instance;
	bool failed; /* no path is left, for lack of ids or memory alone */
};

/* The reader of the journal. */
enum feed_journal {
	JOURNAL_FOLLOWED,
	/*
	 * The cursor was overrun. The journal is pinned until the walk over the RIB has replaced
	 * the lost entries (journal.h, "Recovery of a lapped cursor").
	 */
	JOURNAL_LAPPED,
};

/*
 * The walk over the RIB. After an overrun: SET_CHANGED, SETTLE, EMPTIES. After changes of next
 * hops: SET_ALL; SETTLE and EMPTIES follow if the fib has a prefix that is no longer in the RIB.
 */
enum feed_walk {
	RIB_WALK_NONE,
	RIB_WALK_SET_CHANGED, /* destinations that changed since `reach_back` */
	RIB_WALK_SET_ALL, /* all destinations */
	RIB_WALK_SETTLE, /* no walk: the journal is read until no withdrawal has to wait */
	/* withdraws destinations without a path whose last change is before `reach_back` */
	RIB_WALK_EMPTIES,
};

/* Releases next hops unused since the start of the last SET_ALL. */
enum feed_sweep { SWEEP_NONE, SWEEP_UNTRACKED, SWEEP_UNTRACKED_AND_HOLDS };

/* The walk over host routes: the routes to compare with the tables. */
enum own_walk { OWN_WALK_NONE, OWN_WALK_STATIC, OWN_WALK_ALL };

/* Prefixes left in the fib because a withdrawal had no memory: a walk over the fib finds them. */
enum lost_walk {
	LOST_NONE,
	LOST_DUE, /* with the next retry */
	LOST_WALK,
	LOST_WALK_AGAIN, /* a walk runs, and a further walk is due with the next retry */
};

/* The newest flip. */
enum feed_flip {
	FLIP_PASSED, /* every worker has begun a burst since */
	FLIP_OPEN,
};

/* The RIB as the source of the feed: shards with a shared journal. */
struct feed_source {
	struct shards shards;
	struct journal *journal;
	struct journal_cursor *cursor;
	/* first entry of each shard after `visible`, and after `flip_after`; 0: no entry */
	uint64_t first[SHARDS_MAX], flip_first[SHARDS_MAX];
	uint64_t applied; /* journal position contained in the open batch */
	uint64_t visible; /* journal position visible to workers */
	uint64_t flip_after, flip_to; /* range of the journal that the newest flip made visible */
	enum feed_journal reader;
	enum feed_walk rewalk;
	/* the fib has a prefix without a withdrawal to come in the journal: EMPTIES follows */
	bool empties_due;
	uint64_t reach_back; /* a sequence of the journal */
	unsigned rewalk_table;
	struct walk walk;
	struct shards_table walked; /* by `walk` */
};

/* A prefix without a host route or RIB route, still in the fib. */
struct pending_withdrawal {
	struct vrf_id vrf;
	struct prefix prefix;
};

struct fib_feed {
	struct fib_feed_config config;
	struct path_lists *path_lists;
	struct hop *hops[HOP_BUCKETS], *port_hops[PORT_BUCKETS];
	struct late_neighbor *late; /* retried by retry() */
	struct {
		struct edge *bucket[EDGE_BUCKETS];
		unsigned count, most; /* above `most` a sweep is due */
	} edges;
	struct {
		struct lsp *at;
		unsigned count;
	} lsps;
	struct {
		struct swapped **bucket; /* NULL: no label so far */
		unsigned count;
		/* buckets from here on are written again; SWAPPED_BUCKETS: none */
		unsigned at;
	} swapped;
	struct {
		struct tunnel *at; /* ordered by remote */
		unsigned count;
	} tunnels;
	struct local_route *locals[OWN_BUCKETS];
	struct host_route *routes[OWN_BUCKETS];
	/* number of routes per family and length, to select the probes */
	unsigned own_lens[2][129], route_lens[2][129];
	uint8_t preference[SOURCE_COUNT];
	struct {
		enum own_walk state, next; /* next: a walk that follows the current one */
		unsigned bucket;
	} own_walk;
	struct pending_withdrawal *pending; /* still in the fib */
	unsigned pending_count, pending_size;
	struct {
		enum lost_walk state;
		struct vrf_id vrf; /* the VRF and the prefix seen last */
		struct prefix prefix;
	} lost;
	struct feed_source source;
	struct nexthop *untracked; /* next hops that no shard watches (next_hop_tracking: false) */
	unsigned untracked_count, untracked_max;
	uint8_t mark;
	enum feed_sweep sweep;
	bool scarce; /* path lists run out: no backups */
	uint64_t work_ns; /* start of the current turn */
	uint64_t work_clock_ns; /* work_ns by the real clock; tests pass their own work_ns */
	enum feed_flip flip;
	uint64_t flip_clock_ns; /* of the newest flip, by the clock */
	/* earliest commit of a batch of batch_some; 0: nothing is pending */
	uint64_t commit_due_ns;
	uint64_t commit_latest_ns; /* earliest commit of a smaller batch; 0: nothing is pending */
	bool wait_readers; /* a worker still used the other copy at the last commit */
	/*
	 * the last commit lacked memory for some instances: their changes are in the open batch, and
	 * `visible` stays
	 */
	bool commit_short;
	/* time to retry after a failure, or to look for backups again; 0: no retry */
	uint64_t retry_due_ns;
	_Atomic uint64_t failed;
	struct shard_report *report; /* one a shard; NULL: nothing is reported */
	/* per shard a bitmap of tables reported as ROOM_TIGHT */
	uint64_t tight[SHARDS_MAX][SHARD_TABLES_MAX / 64];
	struct trace_tap *tap; /* NULL: no trace */
	uint8_t tap_open; /* traces with a change that is in no generation yet */
	/* The last generations: the changes up to `applied` are in `number`. 64 KiB. */
	struct feed_flip_note {
		uint64_t applied, number;
	} flips[FIB_FEED_FLIPS];
	uint64_t flip_count;
	struct hist update_hist, use_hist, link_hist;
	_Atomic uint64_t link_last_ns;
	struct fib_auditor *auditor;
};

/* True if no walk that changes tables without a journal entry runs or is due. */
static inline bool
feed_walks_done(const struct fib_feed *f)
{
	return f->source.rewalk == RIB_WALK_NONE && f->own_walk.state == OWN_WALK_NONE &&
	       f->pending_count == 0 && nexthop_settled(f->config.nexthops);
}

static inline enum family
fib_feed_family(uint8_t afi)
{
	return afi == AFI_IPV6 ? FAMILY_IPV6_UNICAST : FAMILY_IPV4_UNICAST;
}

/* The shard of a prefix of a unicast table. */
static inline struct shard *
feed_shard(const struct feed_source *s, struct vrf_id vrf, const struct prefix *p)
{
	return shards_for(&s->shards, shards_by(vrf, fib_feed_family(p->afi)), p);
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
	return a->count > 0 || a->blackhole || a->instance.v != VRF_DEFAULT.v;
}

/* ---- fib_feed.c ---- */

/* Something was left out for want of ids or memory: all is tried again in a second. */
void fib_feed_fail(struct fib_feed *f);
/* Next hops moved: everything present is put in again. */
void fib_feed_rewalk(struct fib_feed *f);
/* Applies the current route for `p` to the tables: host route, RIB route, or withdrawal. */
void fib_feed_refresh(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p)
	RUNS_ON(role_fib);
enum feed_want fib_feed_want(struct fib_feed *f, const struct feed_source *s, struct vrf_id vrf,
	const struct dest_view *view, struct feed_answer *out) RUNS_ON(role_fib);
/* Is the RIB's route to `p`, from `peer`, preferred to the host's own? */
bool fib_feed_rib_wins(const struct fib_feed *f, const struct feed_source *s, struct vrf_id vrf,
	const struct prefix *p, struct peer_id peer, const struct own_answer *own);
/* The table of the shard responsible for the prefix; false without a table. */
bool fib_feed_table(const struct feed_source *s, struct vrf_id vrf, const struct prefix *p,
	const struct dest_table **out);
/* True if all current journal entries are visible to workers. */
bool fib_feed_drained(const struct fib_feed *f);

/* ---- fib_hops.c ---- */

/* Finds or creates a hop, and adds a user. NULL: out of memory or of ids. */
struct hop *fib_hop_use(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr,
	uint16_t port) RUNS_ON(role_fib);
void fib_hop_release(struct fib_feed *f, struct hop *h) RUNS_ON(role_fib);
/* Fills n->hold, unless already filled. False: out of memory or of ids. */
bool fib_hold(struct fib_feed *f, struct nexthop *n) RUNS_ON(role_fib);
/* Releases the holds of next hops unused since the last fib_feed_rewalk(). */
void fib_hops_sweep(struct fib_feed *f) RUNS_ON(role_fib);
/* Retries neighbours that failed. */
void fib_neighbors_retry(struct fib_feed *f) RUNS_ON(role_fib);
/* `ctx` is the feed: see struct nexthop_feed. */
void fib_next_hop_changed(void *ctx, struct nexthop *n) RUNS_ON(role_fib);
void fib_hops_fini(struct fib_feed *f) RUNS_ON(role_fib);

/* ---- fib_edges.c ---- */

/*
 * The edge for labelled packets to `addr`, with a mark: over the label-switched path that begins here
 * and leads there, or without transport labels. NULL: out of memory or of ids.
 */
struct edge *fib_edge_to(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_fib);
/* Stores the way of all edges resolved by `by` again; NULL: of all. */
void fib_edges_update(struct fib_feed *f, const struct nexthop *by) RUNS_ON(role_fib);
/* Frees the edges unused since the last fib_feed_rewalk(). */
void fib_edges_sweep(struct fib_feed *f) RUNS_ON(role_fib);
/* Writes the labels of static paths again. */
void fib_lsps_retry(struct fib_feed *f) RUNS_ON(role_fib);
void fib_edges_fini(struct fib_feed *f) RUNS_ON(role_fib);

/* ---- fib_swaps.c ---- */

/* The ways to edges have changed: all swapped labels are written again, in slices. */
void fib_swaps_rewrite(struct fib_feed *f);
/* One slice; true if more is due. */
bool fib_swaps_work(struct fib_feed *f, uint64_t deadline_ns) RUNS_ON(role_fib);
void fib_swaps_fini(struct fib_feed *f) RUNS_ON(role_fib);

/* ---- fib_own.c ---- */

/* The selected host route for exactly `p`. */
bool fib_own_find(const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	struct own_answer *out);
/* Takes ownership of `list` on success. 0, -ENOMEM. */
int fib_local_add(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	enum path_list_kind kind, uint16_t port, struct path_list_id list) RUNS_ON(role_fib);
void fib_local_remove(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	enum path_list_kind kind, uint16_t port) RUNS_ON(role_fib);
/* Compares routes of the host with the tables again. */
void fib_own_rewalk(struct fib_feed *f, enum own_walk which);
/* One slice; true if more is due. */
bool fib_own_work(struct fib_feed *f, uint64_t deadline_ns) RUNS_ON(role_fib);
/* `ctx` is the feed: see struct nexthop_feed. */
bool fib_route_longest(void *ctx, struct vrf_id vrf, const struct ip_addr *addr, unsigned max_len,
	unsigned skip, bool bgp, struct nexthop_route *out);
void fib_own_fini(struct fib_feed *f) RUNS_ON(role_fib);
