/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/adj_rib_in.h"

/* Single writer: no locked instruction. */
static void
count_one(_Atomic uint64_t *c)
{
	atomic_store_explicit(
		c, atomic_load_explicit(c, memory_order_relaxed) + 1, memory_order_relaxed);
}

void
adj_rib_in_init(struct adj_rib_in *a)
{
	/* stores, not atomic_init: a peer's place is used again while readers may look */
	atomic_store_explicit(&a->received, 0, memory_order_relaxed);
	atomic_store_explicit(&a->accepted, 0, memory_order_relaxed);
	atomic_store_explicit(&a->rejected_total, 0, memory_order_relaxed);
	atomic_store_explicit(&a->blackholed_total, 0, memory_order_relaxed);
	atomic_store_explicit(&a->stale_swept, 0, memory_order_relaxed);
	atomic_store_explicit(&a->borr_received, 0, memory_order_relaxed);
	atomic_store_explicit(&a->eorr_received, 0, memory_order_relaxed);
	atomic_store_explicit(&a->eorr_ignored, 0, memory_order_relaxed);
	atomic_store_explicit(&a->borr_ignored, 0, memory_order_relaxed);
	atomic_store_explicit(&a->kept, 0, memory_order_relaxed);
	atomic_store_explicit(&a->replays_done, 0, memory_order_relaxed);
	atomic_store_explicit(&a->counted, 0, memory_order_relaxed);
	atomic_store_explicit(&a->waiting, 0, memory_order_relaxed);
	atomic_store_explicit(&a->epoch, 0, memory_order_relaxed);
	a->fresh = a->fresh_before = 0;
	a->oldest = 0;
	a->refreshing = a->retained = a->awaiting = false;
}

uint16_t
adj_rib_in_open_epoch(struct adj_rib_in *a)
{
	uint16_t epoch = (uint16_t)(atomic_load_explicit(&a->epoch, memory_order_relaxed) + 1);

	/*
	 * relaxed: a stamp does not order anything; a reader before the sweep sees the paths as
	 * stale, correctly
	 */
	atomic_store_explicit(&a->epoch, epoch, memory_order_relaxed);
	a->fresh_before = a->fresh;
	a->fresh = 0;
	return epoch;
}

void
adj_rib_in_doomed(struct adj_rib_in *a, uint16_t below)
{
	bool before = below != atomic_load_explicit(&a->epoch, memory_order_relaxed);

	atomic_store_explicit(
		&a->counted, a->fresh + (before ? a->fresh_before : 0), memory_order_relaxed);
}

void
adj_rib_in_swept(struct adj_rib_in *a, uint16_t below)
{
	a->oldest = below;
}

bool
adj_rib_in_retain(struct adj_rib_in *a, bool long_lived, uint16_t *below)
{
	uint16_t epoch = atomic_load_explicit(&a->epoch, memory_order_relaxed);
	bool sweep =
		a->retained && (!long_lived || (uint16_t)(epoch - a->oldest) >= ADJ_RIB_IN_EPOCHS);

	/* the last session ended before End-of-RIB: paths stale then have expired */
	*below = epoch;
	adj_rib_in_open_epoch(a);
	a->refreshing = a->awaiting = false;
	a->retained = true;
	return sweep;
}

bool
adj_rib_in_end_of_rib(struct adj_rib_in *a)
{
	bool sweep = a->retained;

	a->retained = a->awaiting = false;
	return sweep;
}

bool
adj_rib_in_timeout(struct adj_rib_in *a)
{
	if (!a->retained && !a->refreshing)
		return false;
	a->retained = a->refreshing = false; /* RFC 7313 4: End-of-RIB is still waited for */
	return true;
}

uint16_t
adj_rib_in_lost(struct adj_rib_in *a)
{
	a->retained = a->awaiting = a->refreshing = false;
	return adj_rib_in_open_epoch(a);
}

void
adj_rib_in_up(struct adj_rib_in *a, bool awaiting)
{
	a->awaiting = awaiting;
	adj_rib_in_open_epoch(a);
}

void
adj_rib_in_begin_refresh(struct adj_rib_in *a)
{
	uint16_t epoch = atomic_load_explicit(&a->epoch, memory_order_relaxed);

	/* RFC 7313 4 */
	if (a->awaiting || a->retained) {
		count_one(&a->borr_ignored);
		return;
	}
	if ((uint16_t)(epoch - a->oldest) < ADJ_RIB_IN_EPOCHS)
		adj_rib_in_open_epoch(a);
	a->refreshing = true;
	count_one(&a->borr_received);
}

bool
adj_rib_in_end_refresh(struct adj_rib_in *a)
{
	/* RFC 7313 4: an EoRR without BoRR is ignored */
	count_one(a->refreshing ? &a->eorr_received : &a->eorr_ignored);
	if (!a->refreshing)
		return false;
	a->refreshing = false;
	return true;
}

void
adj_rib_in_counts_get(const struct adj_rib_in *a, struct adj_rib_in_counts *out)
{
	/*
	 * acquire: pairs with the release in replays_end; loaded first, so that the other counters
	 * are no older
	 */
	out->replays_done = atomic_load_explicit(&a->replays_done, memory_order_acquire);
	out->kept = atomic_load_explicit(&a->kept, memory_order_relaxed);
	/* acquire: pairs with the release in limit_count; see shards_peer_counted() */
	out->counted = atomic_load_explicit(&a->counted, memory_order_acquire);
	out->received = atomic_load_explicit(&a->received, memory_order_relaxed);
	out->accepted = atomic_load_explicit(&a->accepted, memory_order_relaxed);
	out->rejected_total = atomic_load_explicit(&a->rejected_total, memory_order_relaxed);
	out->blackholed_total = atomic_load_explicit(&a->blackholed_total, memory_order_relaxed);
	out->stale_swept = atomic_load_explicit(&a->stale_swept, memory_order_relaxed);
	out->borr_received = atomic_load_explicit(&a->borr_received, memory_order_relaxed);
	out->eorr_received = atomic_load_explicit(&a->eorr_received, memory_order_relaxed);
	out->borr_ignored = atomic_load_explicit(&a->borr_ignored, memory_order_relaxed);
	out->eorr_ignored = atomic_load_explicit(&a->eorr_ignored, memory_order_relaxed);
}
