/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by fib_feed.c and fib_audit.c: what the fib thread knows beside the RIB. Writer: the fib thread.
 */
#pragma once

#include "rib/fib_feed.h"
#include "rib/walk.h"

#include <stdatomic.h>

#define HOP_BUCKETS 1024
#define LOCAL_BUCKETS 256

/* A directly reachable address: BGP's next hop, a neighbour of the kernel's, or both. */
struct hop {
	struct hop *next;
	struct vrf_id vrf;
	uint16_t port;
	struct ip_addr addr;
	struct next_hop_id next_hop; /* a reference */
	struct path_list_id list; /* it alone; a reference */
	bool resolved; /* the kernel knows its MAC: a host route stands for it */
	bool wanted; /* BGP asked for it */
};

/*
 * Why the host has a route: a subnet on a port, an address of ours, a resolved neighbour. Several may claim one prefix (a subnet
 * on two ports, a host that moved, somebody who answers for our address); fib_feed_local_find() says which counts. Preferred to whatever the RIB has
 * (preference 0).
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

/* What the fib is to have for a destination. */
enum feed_want {
	WANT_NOTHING, /* no eligible path, ours, or no way there that anybody will tell of */
	WANT_LIST,
	/* The best path's next hop is gone and the shard will hear of it: until it has decided, the list of the next best, or (PATH_LIST_NONE) what is there. */
	WANT_LATER,
};

/*
 * After an overrun: SET everything present, read the journal on until no withdrawal would have to wait (SETTLE), then withdraw the
 * EMPTIES (journal.h, "A lapped cursor"). When only ports changed: SET, and the rest when something stands in the fib that should not.
 */
enum rewalk { REWALK_NONE, REWALK_SET, REWALK_SETTLE, REWALK_EMPTIES };

/* One shard's side of the feed. */
struct feed_source {
	struct shard *shard;
	struct journal_cursor *cursor;
	uint64_t applied; /* journal position that the open batch contains */
	uint64_t visible; /* ... that the workers see */
	enum rewalk rewalk;
	bool lapped;
	bool all; /* the first walk leaves nothing out: ports changed */
	bool stranded; /* the fib has what no journal entry will withdraw: the second walk does */
	uint64_t
		reach_back; /* sequence from which on the first walk looks, up to which the second one withdraws */
	unsigned rewalk_table;
	struct walk walk;
};

/* A prefix whose local route is gone and for which the RIB has nothing. */
struct leaving {
	struct vrf_id vrf;
	struct prefix prefix;
};

/* One address whose answer differed, to be asked again when all is drained. */
struct audit_suspect {
	struct vrf_id vrf;
	struct ip_addr addr;
	unsigned tries;
};

#define AUDIT_SUSPECTS_MAX 256

struct fib_feed {
	struct fib_feed_config config;
	struct path_lists *path_lists;
	struct hop *hops[HOP_BUCKETS];
	struct local_route *locals[LOCAL_BUCKETS];
	uint16_t local_lens[129]; /* how many local routes of each length: which to probe */
	struct leaving *leaving; /* still in the fib */
	unsigned leaving_count, leaving_size;
	struct feed_source *sources;
	uint64_t work_ns; /* when the present turn began */
	uint64_t commit_due_ns; /* not before; 0: nothing waits */
	bool wait_readers; /* the last commit met readers of the old copy */
	uint64_t retry_due_ns; /* something could not be set: all is tried again then; 0: nothing */
	_Atomic uint64_t failed;
	struct hist update_hist;
	/* audit */
	struct fib_audit audit;
	enum audit_stage { AUDIT_RIB, AUDIT_LOCALS, AUDIT_FIB, AUDIT_SUSPECTS } audit_stage;
	struct walk audit_walk;
	unsigned audit_source, audit_table;
	unsigned audit_bucket, audit_at; /* of the local routes */
	struct vrf_id audit_vrf; /* of the fib's prefixes, and the one seen last */
	struct prefix audit_prefix;
	struct audit_suspect suspects[AUDIT_SUSPECTS_MAX];
	unsigned suspect_count;
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

/* `out` is PATH_LIST_NONE unless there is a list. */
enum feed_want fib_feed_want(struct fib_feed *f, const struct feed_source *s, struct vrf_id vrf,
	const struct dest_view *view, struct path_list_id *out) RUNS_ON(role_fib);
/*
 * The exact local route that counts, NULL when none: an address of ours before a neighbour before a subnet; of neighbours the newest (it
 * moved), of subnets the oldest (as nexthop_port() and the kernel do).
 */
struct local_route *fib_feed_local_find(
	const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p);
/* One slice; true while there is more to do now. */
bool fib_audit_work(struct fib_feed *f, uint64_t deadline_ns) RUNS_ON(role_fib);
/* Everything that the journals hold now is visible to workers. */
bool fib_feed_drained(const struct fib_feed *f);
