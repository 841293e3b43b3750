/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Deferred freeing of many objects after a grace period, for attr.c and dest.c. Objects are
 * collected in chunks, and one chunk is one entry of a retire list, so a refresh that replaces a
 * million sets costs an append each and a token per 511.
 *
 * Writer: the thread of the owner, which must not be online in that QSBR (a full list waits).
 */
#pragma once

#include "lpm/qsbr.h"

#define LIMBO_CHUNK 511 /* with the header a page of 4 KiB */

struct limbo_chunk;

struct limbo {
	struct arena *arena;
	struct qsbr *readers;
	struct retire_list *retire;
	retire_fn *fn;
	/* called for an object shortly before `fn`, to prefetch; may be NULL */
	void (*prefetch)(void *ctx, void *p);
	void *ctx;
	struct limbo_chunk *open; /* not yet in the list */
	/* an empty chunk for reuse: a quiet table opens and closes a chunk each loop */
	struct limbo_chunk *spare;
};

/* `fn` runs for each object in limbo_reclaim(), limbo_fini(), or limbo_push() when memory is short. 0, -ENOMEM. */
int limbo_init(struct limbo *l, struct arena *a, struct qsbr *readers, retire_fn *fn, void *ctx);
/* True if half of the room is used: reclaim more than is pushed. */
bool limbo_behind(const struct limbo *l);
/* Waits until all objects are freed. */
void limbo_fini(struct limbo *l);
/*
 * Defers an object that readers can no longer find. Never fails: without memory for a chunk, waits
 * for a grace period.
 */
void limbo_push(struct limbo *l, void *p);
/*
 * Closes the open chunk if no grace period is running, and frees at most `chunks` chunks whose
 * grace period has elapsed. True if that many were freed.
 */
bool limbo_reclaim(struct limbo *l, unsigned chunks);
