/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The forwarding tables' face: set and withdraw into the shadow, commit flips a numbered generation.
 *
 * Writer: the fib thread. Readers: workers by fib_read.h; main (fib.lookup, fib.stats) by fib_lookup() and fib_stats_get().
 * Left-right: fib_commit() paints the idle copy from what changed, publishes it with one release store, and
 * the next commit waits until no reader can be in the old copy, paints there what these changed, and goes on. Reserve,
 * then paint: a prefix that gets no tbl8 group is left out (not-installed, retried when groups come free), the batch goes on.
 * A large batch is a rebuild from the shadow. 0/0 is the table's miss entry. No DPDK type in this header.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/hist.h"
#include "lpm/path_list.h"
#include "lpm/prefix.h"

struct arena;
struct fib;
struct qsbr;

#define FIB_VRF_MAX 64

struct fib_config {
	struct arena *arena;
	struct qsbr *workers;
	size_t memory_bytes; /* bound for tables and groups of both copies */
	bool huge; /* try hugepages (MAP_HUGETLB, then THP), never fail for want of them */
	uint32_t
		tbl8_groups; /* of each IPv4 table copy; 0: as many as memory_bytes leaves, at most 65,536 */
	uint32_t
		groups_v6; /* of each IPv6 table copy; 0: as many as memory_bytes leaves, at most 131,072 */
};

struct fib_stats {
	uint64_t generation;
	uint64_t commits,
		writes; /* writes: table entries changed since start, both copies counted once */
	uint64_t installed, not_installed;
	uint32_t groups_used;
	uint64_t memory_bytes;
	uint64_t rebuilds;
	uint64_t grace_late; /* flips that some reader had not passed FIB_LATE_NS later */
	uint64_t
		commits_delayed; /* commits that such a reader held up, however often they were tried */
};

/*
 * A worker reports after each burst, every few microseconds. One that has not so long after a flip
 * does not run: somebody else has its CPU.
 */
#define FIB_LATE_NS 1000000u

struct fib_result {
	bool hit;
	struct prefix prefix; /* from the depth that the entry carries */
	struct path_list_id path_list;
	uint64_t generation;
};

/* 0, or -ENOSPC: `memory_bytes` has no room for an IPv4 and an IPv6 table. Creates nothing; groups_v6 is the default. */
int fib_memory_check(size_t memory_bytes, uint32_t tbl8_groups);
/* 0, -ENOMEM. Generation 1 is empty and published at once. */
int fib_create(const struct fib_config *config, struct fib **out);
void fib_destroy(struct fib *f);

/*
 * Tables appear by vrf and family: before any route of it. 0 (also when it is there), -ENOMEM, -ENOSPC, -EAFNOSUPPORT.
 */
int fib_vrf_add(struct fib *f, struct vrf_id vrf, enum afi afi) RUNS_ON(role_fib);

struct path_lists *fib_path_lists(struct fib *f);

/*
 * Into the open batch. Setting what is set already is no change. The fib takes its own references on the list.
 * 0; -ENOENT: no such table; -ENOMEM: nothing was changed.
 */
int fib_set(struct fib *f, struct vrf_id vrf, const struct prefix *p, struct path_list_id list)
	RUNS_ON(role_fib);
/*
 * The same for a route of the host's own (a connected host, an address of ours): it may take from a sixteenth of the groups that fib_set() leaves
 * alone, so that nobody's flood of long prefixes keeps it out. It is not left waiting as long as there is any group.
 */
int fib_set_own(struct fib *f, struct vrf_id vrf, const struct prefix *p, struct path_list_id list)
	RUNS_ON(role_fib);
/* 0, -ENOENT when it was not set; -ENOMEM: nothing was changed. */
int fib_withdraw(struct fib *f, struct vrf_id vrf, const struct prefix *p) RUNS_ON(role_fib);
/* Up to FIB_PREFETCH prefixes of one family are set or withdrawn soon: for batches. */
#define FIB_PREFETCH 8
void fib_prefetch(const struct fib *f, struct vrf_id vrf, const struct prefix *p, unsigned n)
	RUNS_ON(role_fib);
/* Prefixes in the open batch (not yet visible to workers). */
unsigned fib_batch_count(const struct fib *f);
/* What painting them costs, an IPv4 prefix being 1; an IPv6 one has more levels to paint. */
unsigned fib_batch_cost(const struct fib *f);

/*
 * Whose changes go on and on commits what is no full batch no more often. Each flip leaves the workers with a copy that is cold in their caches: beside
 * 100,000 changes a second a worker forwards 3 to 5 % more IPv6, and up to 3 % more IPv4, with 5 ms than with 2.
 *
 * A flip costs that whether it brings one change or a thousand, so what costs less than FIB_COMMIT_SOME to paint (fib_batch_cost()) waits until
 * FIB_COMMIT_LATEST_NS after the last one: in a storm with 10,000 updates a second, of both families, a worker keeps some three hundredths more of its
 * rate. From 80,000 changes a second on it makes no difference, nor to the first one after a rest.
 */
#define FIB_COMMIT_INTERVAL_NS 5000000u
#define FIB_COMMIT_SOME 400
#define FIB_COMMIT_LATEST_NS 20000000u

/*
 * Makes the open batch visible. 0; -EAGAIN: readers still use the copy that would be painted, nothing was done, call
 * again soon; -ENOSPC: done, but some prefixes are not installed (as long as there are any). `now_ns` feeds the commit
 * and grace histograms.
 * An empty batch flips nothing and still lets the other copy catch up.
 */
int fib_commit(struct fib *f, uint64_t now_ns) RUNS_ON(role_fib);
/*
 * Has every reader passed the newest flip, so that all of them use it? Never waits; asked in time it
 * makes the grace histogram exact.
 */
bool fib_in_use(struct fib *f, uint64_t now_ns) RUNS_ON(role_fib);
/* True when nothing waits: batch empty and both copies equal. */
bool fib_settled(const struct fib *f);

/* The shadow: what was set, visible or not. The exact entry; false when none. */
bool fib_shadow_get(
	const struct fib *f, struct vrf_id vrf, const struct prefix *p, struct path_list_id *out);
/* Is it set, and left out of the tables for want of a group (not-installed, retried)? */
bool fib_waits(const struct fib *f, struct vrf_id vrf, const struct prefix *p) RUNS_ON(role_fib);
/* Is the prefix set, and in the tables or in the batch on the way to them? */
bool fib_installed(const struct fib *f, struct vrf_id vrf, const struct prefix *p)
	RUNS_ON(role_fib);
/* Does any prefix of that table wait for a group? */
bool fib_some_wait(const struct fib *f, struct vrf_id vrf, unsigned afi) RUNS_ON(role_fib);
/* Does any prefix of that table wait, or are less than a quarter of the groups left? A new prefix may find no group then. */
bool fib_tight(const struct fib *f, struct vrf_id vrf, unsigned afi) RUNS_ON(role_fib);

/* Shorter prefixes, of either family, need no group. */
#define FIB_GROUPS_FROM 25u

/*
 * The prefixes whose destinations have to be told whether they are installed, one note a prefix, the newest state. The fib notes a prefix that
 * waited and got its groups; the caller notes the others (rib/fib_feed.c).
 */
struct fib_room {
	struct vrf_id vrf;
	struct prefix prefix;
	bool installed;
};
void fib_room_note(struct fib *f, struct vrf_id vrf, const struct prefix *p, bool installed)
	RUNS_ON(role_fib);
/* The first note; false: there is none. */
bool fib_room_peek(const struct fib *f, struct fib_room *out) RUNS_ON(role_fib);
/* Removes the note that fib_room_peek() gave. */
void fib_room_take(struct fib *f) RUNS_ON(role_fib);
/* True once after a note was lost for want of memory: the caller compares all destinations with fib_installed(). */
bool fib_room_lost(struct fib *f) RUNS_ON(role_fib);
/* The longest set prefix covering `addr`. */
bool fib_shadow_lookup(const struct fib *f, struct vrf_id vrf, const struct ip_addr *addr,
	struct prefix *prefix, struct path_list_id *out);

/* The prefix set next behind `after` (IPv4 first; by address, then length; NULL: the first). False at the end. */
bool fib_shadow_next(
	const struct fib *f, struct vrf_id vrf, const struct prefix *after, struct prefix *out);

/* Any registered and online reader of the workers' QSBR; answers from what workers read. 0, -ENOENT: no such table. */
int fib_lookup(
	const struct fib *f, struct vrf_id vrf, const struct ip_addr *addr, struct fib_result *out);

/* Any thread: relaxed counters. */
uint64_t fib_generation(const struct fib *f);
void fib_stats_get(const struct fib *f, struct fib_stats *out);
int fib_table_stats_get(
	const struct fib *f, struct vrf_id vrf, enum afi afi, struct fib_stats *out);
const struct hist *fib_commit_hist(const struct fib *f);
const struct hist *fib_grace_hist(const struct fib *f);

/* What a worker is handed: opaque here, read through fib_read.h. */
struct fib_reader;
const struct fib_reader *fib_reader(const struct fib *f);
