/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Deferred freeing of many objects after a grace period, for attr.c and dest.c. Objects are
 * collected in chunks, and one chunk is one entry of a retire list, so a refresh that replaces a
 * million sets costs an append each and a token per 511.
 *
 * Writer: the thread of the owner, which must not be online in that QSBR (a full list waits).
 */
#pragma once

#include "lpm/base/qsbr.h"

#define DEFERRED_CHUNK 511 /* with the header a page of 4 KiB */

struct deferred_chunk;

struct deferred_free {
	struct arena *arena;
	struct qsbr *readers;
	struct retire_list *retire; /* 6 KiB; NULL: nothing waits */
	retire_fn *fn;
	/* called for an object shortly before `fn`, to prefetch; may be NULL */
	void (*prefetch)(void *ctx, void *p);
	void *ctx;
	struct deferred_chunk *open; /* not yet in the list */
	/* an empty chunk for reuse: a quiet table opens and closes a chunk each loop */
	struct deferred_chunk *spare;
};

/*
 * `fn` runs for each object, in deferred_free_reclaim(), in deferred_free_fini(), or in
 * deferred_free_push() if memory is short. Memory is allocated by the first push.
 */
void deferred_free_init(
	struct deferred_free *l, struct arena *a, struct qsbr *readers, retire_fn *fn, void *ctx);
/* True if half of the room is used: reclaim more than is pushed. */
bool deferred_free_behind(const struct deferred_free *l);
/* True if no object waits. */
bool deferred_free_idle(const struct deferred_free *l);
/* Frees the memory of an idle list until the next push. */
void deferred_free_rest(struct deferred_free *l);
/* Waits until all objects are freed. */
void deferred_free_fini(struct deferred_free *l);
/*
 * Defers an object that readers can no longer find. Never fails: without memory for a chunk, waits
 * for a grace period.
 */
void deferred_free_push(struct deferred_free *l, void *p);
/*
 * Closes the open chunk if no grace period is running, and frees at most `chunks` chunks whose
 * grace period has elapsed. True if that many were freed.
 */
bool deferred_free_reclaim(struct deferred_free *l, unsigned chunks);
