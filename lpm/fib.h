/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The forwarding tables. Routes are set and withdrawn in the shadow (a complete copy of all
 * routes); fib_commit() brings a batch of changes into the tables and publishes a numbered
 * generation.
 *
 * Writer: the fib thread. Readers: workers, through fib_read.h; main, through fib_lookup() and
 * fib_stats_get(). Created before the workers start, destroyed after they stop. No DPDK type
 * appears in this header.
 *
 * Each table has two copies (left-right). fib_commit() paints the idle copy, that is, overwrites
 * the range of each changed prefix with the answers of the shadow, and publishes the copy with one
 * release store. The next commit waits until every reader has left the old copy, paints the last
 * changes there, too, then the new ones. Groups (of 256 entries) are reserved before painting: a
 * route whose groups are not available is not installed, counts as waiting, and is retried when
 * groups become free; the rest of the batch is not affected. A large batch rebuilds the idle copy
 * from the shadow. The default route is not in the table; each generation keeps its path list as
 * the answer for misses.
 *
 * The table of a VPN instance (fib_instance_add()) is immutable (lpm/compact.h). fib_commit() builds
 * a new one for each instance with changes, and the generation refers to the newest. A commit visits
 * only tables with changes, with any number of instances.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/hist.h"
#include "lpm/path_list.h"
#include "lpm/base/prefix.h"

struct arena;
struct fib;
struct label_table;
struct qsbr;

#define FIB_VRF_MAX 1024

struct fib_config {
	struct arena *arena;
	/* for all that readers use; NULL: `arena`. In a region if readers are in another process */
	struct arena *shared;
	struct qsbr *workers;
	size_t memory_bytes; /* limit for tables and groups of both copies */
	/*
	 * Try huge pages (MAP_HUGETLB, then THP; in a region MADV_COLLAPSE), fall back to normal pages;
	 * and populate the first levels, so that workers take no page faults there.
	 */
	bool huge;
	/* groups of each IPv4 table copy; 0: the number that memory_bytes allows, at most 65,536 */
	uint32_t tbl8_groups;
	/* groups of each IPv6 table copy; 0: the number that memory_bytes allows, at most 131,072 */
	uint32_t groups_v6;
};

struct fib_stats {
	uint64_t generation;
	uint64_t commits;
	uint64_t writes; /* table entries changed since start, counted for one copy only */
	uint64_t installed, not_installed;
	uint32_t groups_used;
	uint64_t memory_bytes;
	uint64_t rebuilds;
	uint64_t grace_late; /* generations not in use by every reader after FIB_LATE_NS */
	uint64_t commits_delayed; /* commits delayed by a late reader, counted once each */
};

/*
 * A worker reports a quiescent state after each burst, every few microseconds. A reader without a
 * report for this long after a new generation is not running: another task has its CPU.
 */
#define FIB_LATE_NS 1000000u

struct fib_result {
	bool hit;
	struct prefix prefix; /* with the length stored in the table entry */
	struct path_list_id path_list;
	uint64_t generation;
};

/*
 * Checks that `memory_bytes` has room for an IPv4 table with `tbl8_groups` groups and an IPv6
 * table with the default number. Creates nothing. Returns 0 or -ENOSPC.
 */
int fib_memory_check(size_t memory_bytes, uint32_t tbl8_groups);
/* Publishes an empty generation 1. Returns 0 or -ENOMEM. */
int fib_create(const struct fib_config *config, struct fib **out);
void fib_destroy(struct fib *f);

/*
 * Creates the table of a VRF and family. Required before the first route of the table. Returns 0
 * (also if the table exists), -ENOMEM, -ENOSPC or -EAFNOSUPPORT.
 */
int fib_vrf_add(struct fib *f, struct vrf_id vrf, enum afi afi) RUNS_ON(role_fib);

/*
 * Creates the table of a VPN instance: like fib_vrf_add(), but with memory in proportion to the
 * routes, and without a share in memory_bytes. With more than FIB_INSTANCE_ROUTES routes the
 * instance gets a painted table, as by fib_vrf_add(), and keeps the painted table. A table exists
 * until fib_destroy(); without routes it takes some kilobytes. Returns 0 (also if the table exists),
 * -ENOMEM, -ENOSPC or -EAFNOSUPPORT.
 */
#define FIB_INSTANCE_ROUTES 16000u
int fib_instance_add(struct fib *f, struct vrf_id vrf, enum afi afi) RUNS_ON(role_fib);

struct path_lists *fib_path_lists(struct fib *f);
/* The actions for incoming MPLS labels, the same in all generations. */
struct label_table *fib_labels(struct fib *f);
/* The UDP tunnels from which workers take packets; the fib thread writes. */
struct tunnel_sets *fib_tunnels(struct fib *f);

/*
 * Sets the path list of a route, in the open batch. Setting an unchanged list does nothing. The
 * fib takes its own reference on `list`. Returns 0, -ENOENT (no such table), -ENOSPC (the instance
 * needs a painted table, and memory_bytes has no room), or -ENOMEM; after an error nothing has changed.
 */
int fib_set(struct fib *f, struct vrf_id vrf, const struct prefix *p, struct path_list_id list)
	RUNS_ON(role_fib);
/*
 * Like fib_set(), for routes of the host itself: connected hosts and local addresses. Such routes
 * may also use the sixteenth of the groups withheld from fib_set(), so a flood of long prefixes
 * cannot keep them out. A host route waits only while no group is free at all.
 */
int fib_set_host(struct fib *f, struct vrf_id vrf, const struct prefix *p, struct path_list_id list)
	RUNS_ON(role_fib);
/*
 * Removes a route, in the open batch. Returns 0, -ENOENT (the route was not set), or -ENOMEM
 * (nothing changed).
 */
int fib_withdraw(struct fib *f, struct vrf_id vrf, const struct prefix *p) RUNS_ON(role_fib);
/*
 * Prefetches the shadow entries of at most FIB_PREFETCH prefixes of one family, for a caller about
 * to set or withdraw these.
 */
#define FIB_PREFETCH 8
void fib_prefetch(const struct fib *f, struct vrf_id vrf, const struct prefix *p, unsigned n)
	RUNS_ON(role_fib);
/* Number of prefixes in the open batch, which workers do not see yet. */
unsigned fib_batch_count(const struct fib *f);
/*
 * Cost of painting the open batch, in units of one IPv4 prefix. An IPv6 prefix costs more because
 * more levels are painted. Without instances for which the last commit found no memory, so that
 * these do not hold up the others.
 */
unsigned fib_batch_cost(const struct fib *f);

/*
 * Intervals between commits while changes keep arriving; the caller applies them. A batch that is
 * not full is committed at most once per FIB_COMMIT_INTERVAL_NS. Each new generation uses a copy
 * that is cold in the workers' caches: at 100,000 changes a second, a worker forwards 3 to 5 %
 * more IPv6 and up to 3 % more IPv4 packets with 5 ms than with 2 ms.
 *
 * A new generation has this cost for one change as for a thousand. A batch with fib_batch_cost()
 * below FIB_COMMIT_SOME therefore waits until FIB_COMMIT_LATEST_NS after the last commit: at
 * 10,000 updates a second of both families a worker gains about 3 % of its rate. At 80,000 changes
 * a second or more, and for the first change after a pause, there is no effect.
 */
#define FIB_COMMIT_INTERVAL_NS 5000000u
#define FIB_COMMIT_SOME 400
#define FIB_COMMIT_LATEST_NS 20000000u

/*
 * Publishes the open batch. Returns 0; -EAGAIN: readers still use the idle copy, nothing was done,
 * call again soon; -ENOSPC: done, and some routes are not installed (returned as long as any route
 * waits); -ENOMEM: done, but the changes of some
 * instances remain in the open batch. `now_ns` is the time for the histograms of commits and grace
 * periods. With an empty batch, only the idle copy is brought up to date.
 */
int fib_commit(struct fib *f, uint64_t now_ns) RUNS_ON(role_fib);
/*
 * True if every reader uses the newest generation. Never waits. Frequent calls make the histogram
 * of grace periods exact.
 */
bool fib_in_use(struct fib *f, uint64_t now_ns) RUNS_ON(role_fib);
/* True if no work remains: the batch is empty and both copies are equal. */
bool fib_settled(const struct fib *f);

/*
 * Reads the list of exactly this prefix from the shadow, published or not. Returns false if the
 * route is not set.
 */
bool fib_shadow_get(
	const struct fib *f, struct vrf_id vrf, const struct prefix *p, struct path_list_id *out);
/* True if the route is set but not installed, because its groups are not available. */
bool fib_is_waiting(const struct fib *f, struct vrf_id vrf, const struct prefix *p)
	RUNS_ON(role_fib);
/* True if the route is set and in the tables, or in the open batch with its groups reserved. */
bool fib_installed(const struct fib *f, struct vrf_id vrf, const struct prefix *p)
	RUNS_ON(role_fib);
/* True if any route of the table waits for groups. */
bool fib_any_waiting(const struct fib *f, struct vrf_id vrf, unsigned afi) RUNS_ON(role_fib);
/*
 * True if the table of a VPN instance has FIB_INSTANCE_ROUTES routes. A new route needs a painted
 * table, for which memory_bytes may have no room.
 */
bool fib_is_full(const struct fib *f, struct vrf_id vrf, unsigned afi) RUNS_ON(role_fib);
/*
 * True if a new route may have to wait: a route of the table waits, or less than a quarter of the
 * groups are free.
 */
bool fib_is_tight(const struct fib *f, struct vrf_id vrf, unsigned afi) RUNS_ON(role_fib);

/* Prefixes shorter than this need no group, in both families. */
#define FIB_GROUPS_FROM 25u

/*
 * Notes for destinations whose installed state changed; each prefix has at most one note, with the
 * newest state. The fib adds a note when a waiting route gets its groups. The caller adds the
 * remaining notes (rib/feed/fib_feed.c).
 */
struct fib_note {
	struct vrf_id vrf;
	struct prefix prefix;
	bool installed;
};
void fib_note_add(struct fib *f, struct vrf_id vrf, const struct prefix *p, bool installed)
	RUNS_ON(role_fib);
/* Reads the first note. Returns false if no note is left. */
bool fib_note_peek(const struct fib *f, struct fib_note *out) RUNS_ON(role_fib);
/* Removes the note read by fib_note_peek(). */
void fib_note_remove(struct fib *f) RUNS_ON(role_fib);
/*
 * True once after a note was lost for lack of memory. The caller then compares all destinations
 * with fib_installed().
 */
bool fib_notes_lost(struct fib *f) RUNS_ON(role_fib);

/*
 * Next set prefix after `after`, in order of family (IPv4 first), address and length; NULL starts.
 * Returns false at the end.
 */
bool fib_shadow_next(
	const struct fib *f, struct vrf_id vrf, const struct prefix *after, struct prefix *out);

/*
 * Looks up `addr` in the published generation, as workers do. Any reader that is registered and
 * online in the workers' QSBR. Returns 0 or -ENOENT (no such table).
 */
int fib_lookup(
	const struct fib *f, struct vrf_id vrf, const struct ip_addr *addr, struct fib_result *out);

/* Counters and histograms. Any thread. */
uint64_t fib_generation(const struct fib *f);
void fib_stats_get(const struct fib *f, struct fib_stats *out);
int fib_table_stats_get(
	const struct fib *f, struct vrf_id vrf, enum afi afi, struct fib_stats *out);
const struct hist *fib_commit_hist(const struct fib *f);
const struct hist *fib_grace_hist(const struct fib *f);

/* The reader's view of the fib for workers. Opaque here; see fib_read.h. */
struct fib_reader;
const struct fib_reader *fib_reader(const struct fib *f);
