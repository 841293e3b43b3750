/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The budgeted cursor over a table's dense ids: refresh, flush, stale sweep, show and audit all use this one.
 * Works on its arguments only; any RIB reader, or the shard.
 */
#pragma once

#include "lpm/base.h"
#include "rib/dest.h"

struct shards_table;

struct walk {
	const struct dest_table *table;
	const struct shards_table *over; /* or this, with ids of all shards (rib/shards.h) */
	uint32_t next; /* id to visit next */
	uint32_t end; /* dest_limit() when it began: younger destinations are in the journal */
	bool (*skip)(void *ctx,
		struct dest_id
			id); /* NULL, or asked first, and quicker than a visit: true: there is nothing to visit */
};

/* A visitor returns false to end the slice after this destination (it counts as visited). */
typedef bool walk_visit(void *ctx, struct dest_id id, const struct dest_view *view);

void walk_begin(struct walk *w, const struct dest_table *t);
/* `t` is lent for the walk. */
void walk_begin_all(struct walk *w, const struct shards_table *t);
/*
 * Visits up to `max` ids. `now` is asked every 64 visits, and the slice ends when it passes `deadline_ns` (0: no deadline).
 * Free ids are skipped; tombstones are visited with view->paths NULL. True while there is more.
 */
bool walk_slice(struct walk *w, unsigned max, uint64_t deadline_ns, uint64_t (*now)(void),
	walk_visit *visit, void *ctx);
bool walk_done(const struct walk *w);
/* The clock that deadlines of this layer are held against: CLOCK_MONOTONIC in ns. */
uint64_t walk_clock(void);
