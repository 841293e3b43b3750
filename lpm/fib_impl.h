/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by fib.c (generations, IPv4) and fib_v6.c (IPv6): the table of one VRF and family. Owner:
 * the fib thread.
 */
#pragma once

#include "lpm/fib.h"

#include <stdatomic.h>

struct compact;
struct shadow;
struct shadow_entry;
struct table_v4;
struct table_v6;

/* Written by the fib thread, read by any thread, all relaxed. */
struct table_counters {
	_Atomic uint64_t writes, rebuilds, installed, not_installed, groups_used, memory_bytes;
};

struct fib_table {
	struct vrf_id vrf;
	enum afi afi;
	/* an instance: immutable tables (lpm/compact.h) instead of painted copies, no groups */
	bool instance;
	bool dirty; /* in the list of tables with changes */
	bool built; /* during a commit: the open batch is in the idle copy */
	bool lacks; /* the last commit found no memory for the table of the instance */
	struct fib_table *dirty_next;
	struct fib_table *painted_next; /* the list of tables with painted copies */
	struct shadow *routes; /* all routes; IPv6: without waiting routes */
	struct shadow *open; /* the open batch: prefix -> list before the batch */
	struct shadow *behind; /* the last batch: published, but missing in the idle copy */
	/* IPv4: each /24 with waiting prefixes below. IPv6: the waiting routes */
	struct shadow *waiting;
	/* waiting routes set by fib_set_host(); may contain routes that have been installed since */
	struct shadow *host_waiting;
	/*
	 * Notes of fib_note_add(): list 0 means installed, 1 not installed. `notes_lost`: a note
	 * was lost for lack of memory.
	 */
	struct shadow *notes; /* of an instance: NULL until the first note */
	bool notes_lost;
	/*
	 * IPv6: groups added while routes below waited; such routes may be able to use these
	 * groups now
	 */
	struct shadow *added_groups;
	union {
		struct table_v4 *copy[2];
		struct table_v6 *copy_v6[2];
	};
	/*
	 * of an instance. NULL: no routes; both may be one table. After table_promote() until both
	 * copies are painted: the tables that readers may still use
	 */
	struct compact *compact[2];
	bool unpainted[2]; /* copies that need all routes, after table_promote() */
	/* of an instance: the groups of a painted table do not suffice; until half the routes are gone */
	bool too_large;
	uint32_t groups_max;
	uint32_t groups_kept; /* part of groups_max, for host routes only */
	uint32_t groups_wanted; /* number of groups needed by all routes that do not wait */
	uint64_t waiting_routes;
	uint32_t retry_from; /* the retries continue from here */
	struct prefix retry_from_v6, added_from;
	bool grant_wanted; /* IPv6: a route was removed since the last retry, or `added_groups` is not empty */
	size_t mapped_bytes;
	alignas(CACHE_LINE) struct table_counters counters;
};

/*
 * Adds a prefix to the open batch with the list before the change. *added is false if the prefix
 * was in the batch already. Returns 0 or -ENOMEM.
 */
int fib_batch_add(
	struct fib_table *t, const struct prefix *p, struct path_list_id before, bool *added);

/* Adds the note that the waiting route `p` is installed now. */
void fib_note_installed(struct fib_table *t, const struct prefix *p);

/* Looks up `p` among installed and waiting routes. */
bool fib_v6_get(const struct fib_table *t, const struct prefix *p, struct shadow_entry *out);
bool fib_v6_cover(const struct fib_table *t, const struct ip_addr *addr, struct shadow_entry *out);
/* First route after `from` (NULL: first of all), installed or waiting. */
bool fib_v6_next(const struct fib_table *t, const struct prefix *from, struct shadow_entry *out);

/*
 * Inserts a new route: with the groups needed, or as a waiting route. Returns 0, or -ENOMEM
 * (nothing changed).
 */
int fib_v6_insert(struct fib_table *t, const struct prefix *p, struct path_list_id list, bool own);
/*
 * Gives a waiting route its groups, from the kept ones if necessary. Returns 0; -ENOSPC or
 * -ENOMEM: the route still waits.
 */
int fib_v6_install(struct fib_table *t, const struct prefix *p);
void fib_v6_replace(
	struct fib_table *t, const struct prefix *p, struct path_list_id list, bool waiting);
void fib_v6_remove(struct fib_table *t, const struct prefix *p, bool waiting);

bool fib_v6_grant_pays(const struct fib_table *t);
/*
 * Installs waiting routes: in turn, as far as groups are free; then routes whose groups were added
 * for neighbours, a limited number per commit. Installed routes join the open batch, so both
 * copies are painted.
 */
void fib_v6_grant(struct fib_table *t);

bool fib_v6_rebuild_pays(const struct fib_table *t);
/*
 * Paints the changes of the open and the last batch into `copy`. Returns the number of slots
 * changed by the open batch.
 */
uint64_t fib_v6_paint(const struct fib_table *t, struct table_v6 *copy);
