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
	struct path_list_id list;    /* it alone; a reference */
	bool resolved;               /* the kernel knows its MAC: a host route stands for it */
	bool wanted;                 /* BGP asked for it */
};

/* Connected subnet, address of ours, or resolved neighbour; preferred to whatever the RIB has (preference 0). */
struct local_route {
	struct local_route *next;
	struct vrf_id vrf;
	struct prefix prefix;
	struct path_list_id list; /* a reference */
	unsigned users;
};

/*
 * After an overrun: SET everything present, read the journal on until no withdrawal would have to wait (SETTLE), then withdraw the
 * EMPTIES (journal.h, "A lapped cursor"). When only ports changed: SET alone.
 */
enum rewalk { REWALK_NONE, REWALK_SET, REWALK_SETTLE, REWALK_EMPTIES };

/* One shard's side of the feed. */
struct feed_source {
	struct shard *shard;
	struct journal_cursor *cursor;
	uint64_t applied;   /* journal position that the open batch contains */
	uint64_t visible;   /* ... that the workers see */
	enum rewalk rewalk;
	bool lapped;
	bool all; /* the first walk leaves nothing out: ports changed */
	uint64_t reach_back; /* sequence from which on the first walk looks, up to which the second one withdraws */
	unsigned rewalk_table;
	struct walk walk;
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
	struct feed_source *sources;
	uint64_t commit_due_ns; /* not before; 0: nothing waits */
	bool wait_readers;      /* the last commit met readers of the old copy */
	_Atomic uint64_t failed;
	struct hist update_hist;
	/* audit */
	struct fib_audit audit;
	struct walk audit_walk;
	unsigned audit_source, audit_table;
	struct audit_suspect suspects[AUDIT_SUSPECTS_MAX];
	unsigned suspect_count;
};

/* The list that a destination's present best path leads to; false: none (no eligible path, ours, or no way there). */
bool fib_feed_list_of(struct fib_feed *f, const struct feed_source *s, struct vrf_id vrf, const struct dest_view *view,
	struct path_list_id *out) RUNS_ON(role_fib);
/* The exact local route, NULL when none. */
struct local_route *fib_feed_local_find(const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p);
/* One slice; true while there is more to do now. */
bool fib_audit_work(struct fib_feed *f, uint64_t deadline_ns) RUNS_ON(role_fib);
/* Everything that the journals hold now is visible to workers. */
bool fib_feed_drained(const struct fib_feed *f);
uint64_t fib_feed_now(void);
