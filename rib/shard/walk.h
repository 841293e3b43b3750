/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A budgeted cursor over the dense ids of a table, for refresh, flush, stale sweep, show and audit.
 * No state outside the arguments; for any RIB reader, and for the shard.
 */
#pragma once

#include "lpm/base/base.h"
#include "rib/table/dest.h"

struct shards_table;

struct walk {
	const struct dest_table *table;
	const struct shards_table
		*over; /* or NULL table and ids across shards (rib/shard/shards.h) */
	uint32_t next; /* id to visit next */
	uint32_t end; /* dest_limit() at the start: later destinations are in the journal */
	bool (*skip)(void *ctx,
		struct dest_id id); /* quick test before a visit: true skips the id. May be NULL */
};

/* Returns false to end the slice after this destination, which counts as visited. */
typedef bool walk_visit(void *ctx, struct dest_id id, const struct dest_view *view);

void walk_begin(struct walk *w, const struct dest_table *t);
/* `t` is lent for the walk. */
void walk_begin_all(struct walk *w, const struct shards_table *t);
/*
 * Visits up to `max` ids. `now` is read every 64 visits, and the slice ends after `deadline_ns` (0:
 * no deadline). Free ids are skipped; tombstones are visited with view->paths NULL. True if more is
 * due.
 */
bool walk_slice(struct walk *w, unsigned max, uint64_t deadline_ns, uint64_t (*now)(void),
	walk_visit *visit, void *ctx);
bool walk_done(const struct walk *w);
/* The clock for deadlines of this layer: CLOCK_MONOTONIC in ns. */
uint64_t walk_clock(void);
