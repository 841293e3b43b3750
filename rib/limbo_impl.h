/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What waits for a grace period in great numbers, for attr.c and dest.c: objects are gathered in chunks and one chunk is one
 * entry of a retire list, so a refresh that replaces a million sets costs an append each and a token per 511.
 *
 * Writer: the owner's thread, which must not itself be online in that QSBR (a full list waits).
 */
#pragma once

#include "lpm/qsbr.h"

#define LIMBO_CHUNK 511 /* with its head a page of 4 KiB */

struct limbo_chunk;

struct limbo {
	struct arena *arena;
	struct qsbr *readers;
	struct retire_list *retire;
	retire_fn *fn;
	void (*prefetch)(void *ctx, void *p); /* of one that fn will be given soon; NULL: none */
	void *ctx;
	struct limbo_chunk *open; /* not yet in the list */
	struct limbo_chunk *spare; /* one kept, as a quiet table opens and closes one a loop */
};

/* `fn` runs for each object in limbo_reclaim(), limbo_fini(), or limbo_push() when memory is short. 0, -ENOMEM. */
int limbo_init(struct limbo *l, struct arena *a, struct qsbr *readers, retire_fn *fn, void *ctx);
/* Half of the room is taken: give back more than is pushed. */
bool limbo_behind(const struct limbo *l);
/* Waits for all. */
void limbo_fini(struct limbo *l);
/* Never fails: without memory for a chunk it waits out a grace period. The object is out of readers' reach already. */
void limbo_push(struct limbo *l, void *p);
/* Closes the open chunk when no grace period is under way, and frees at most `chunks` that are past theirs. True: it was that many. */
bool limbo_reclaim(struct limbo *l, unsigned chunks);
