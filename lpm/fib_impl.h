/* SPDX-License-Identifier: BSD-3-Clause */
/* What fib.c (generations, IPv4) and fib_v6.c share: a table of one VRF and family. */
#pragma once

#include "lpm/fib.h"

#include <stdatomic.h>

struct shadow;
struct shadow_entry;
struct table_v4;
struct table_v6;

/* Written by the fib thread, read by any: relaxed. */
struct table_counters {
	_Atomic uint64_t writes, rebuilds, installed, not_installed, groups_used, memory_bytes;
};

struct fib_table {
	struct vrf_id vrf;
	enum afi afi;
	struct shadow *routes; /* IPv6: without those that wait */
	struct shadow *open; /* changed since the last commit: prefix -> list before */
	struct shadow *behind; /* published, but the idle copy lacks it */
	/* IPv4: each /24 whose longer prefixes have no group. IPv6: the prefixes that have none */
	struct shadow *waiting;
	struct shadow *
		own_waiting; /* of the prefixes that wait, those of fib_set_own(); some may have been served since */
	/*
	 * Prefixes that fib_room_take() has not given out yet: list 0 means installed, 1 not installed.
	 * `room_lost`: one of them was not stored for want of memory.
	 */
	struct shadow *room;
	bool room_lost;
	/* IPv6: of the groups that there are those that came while others waited below, who may need no more */
	struct shadow *came;
	union {
		struct table_v4 *copy[2];
		struct table_v6 *copy_v6[2];
	};
	uint32_t groups_max;
	uint32_t groups_kept; /* of these, for the host's own routes alone */
	uint32_t groups_wanted; /* those that the prefixes that do not wait need */
	uint64_t waiting_routes;
	uint32_t retry_from; /* the retries go round */
	struct prefix retry_from_v6, came_from;
	bool grant_wanted; /* IPv6: since the last retry something went, or is in `came` */
	size_t mapped_bytes;
	alignas(CACHE_LINE) struct table_counters counters;
};

/* In the batch, with what it had before; `*added` says whether it was not there yet. 0, -ENOMEM. */
int fib_batch_add(
	struct fib_table *t, const struct prefix *p, struct path_list_id before, bool *added);

/* `p` waited and has its groups now: fib_room_take() gives it out. */
void fib_room_found(struct fib_table *t, const struct prefix *p);

/* The entry of `p`, whether it waits or not. */
bool fib_v6_get(const struct fib_table *t, const struct prefix *p, struct shadow_entry *out);
bool fib_v6_cover(const struct fib_table *t, const struct ip_addr *addr, struct shadow_entry *out);
/* The first entry that is not before `from` (NULL: of all) and not `from` itself. */
bool fib_v6_next(const struct fib_table *t, const struct prefix *from, struct shadow_entry *out);

/* A new prefix: with the groups it needs, or among those that wait. 0; -ENOMEM: nothing was changed. */
int fib_v6_insert(struct fib_table *t, const struct prefix *p, struct path_list_id list, bool own);
/* One that waits gets its groups, those kept back if need be. 0; -ENOSPC, -ENOMEM: it goes on waiting. */
int fib_v6_install(struct fib_table *t, const struct prefix *p);
/* One that is there gets another list. */
void fib_v6_replace(
	struct fib_table *t, const struct prefix *p, struct path_list_id list, bool waiting);
void fib_v6_remove(struct fib_table *t, const struct prefix *p, bool waiting);

bool fib_v6_grant_pays(const struct fib_table *t);
/*
 * Groups came free: to those that wait, in turn. Others brought groups: to those that need no more,
 * so many a commit. They join the batch, so that both copies paint them.
 */
void fib_v6_grant(struct fib_table *t);

bool fib_v6_rebuild_pays(const struct fib_table *t);
/* What the open batch and the last one changed, into this copy. Slots changed by the open one. */
uint64_t fib_v6_paint(const struct fib_table *t, struct table_v6 *copy);
