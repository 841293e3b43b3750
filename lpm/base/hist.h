/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log-linear histogram of nanoseconds. Each power of two has 16 linear buckets (relative error at
 * most 1/16) from 0 to 2^42 ns (more than an hour); larger values count in the last bucket.
 *
 * One writer thread adds values with a relaxed load, an addition and a relaxed store, without a
 * locked instruction. Any thread may read. The histogram is embedded in its owner's memory; zeroed
 * memory is an empty histogram.
 */
#pragma once

#include "lpm/base/base.h"

#include <stdatomic.h>

#define HIST_SUB_BITS 4
#define HIST_BUCKETS ((42 - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

struct hist {
	_Atomic uint64_t bucket[HIST_BUCKETS];
	_Atomic uint64_t min; /* value + 1; 0 while the histogram is empty */
	_Atomic uint64_t max;
};

struct hist_summary {
	uint64_t count, min, p50, p90, p99, p999, max; /* ns, except `count` */
};

static inline unsigned
hist_bucket_of(uint64_t ns)
{
	if (ns < (1u << HIST_SUB_BITS))
		return (unsigned)ns;
	unsigned top = 63 - (unsigned)__builtin_clzll(ns);
	unsigned i = ((top - HIST_SUB_BITS + 1) << HIST_SUB_BITS) +
		     (unsigned)((ns >> (top - HIST_SUB_BITS)) & ((1u << HIST_SUB_BITS) - 1));
	return i < HIST_BUCKETS ? i : HIST_BUCKETS - 1;
}

/* Adds a value. Writer only. */
static inline void
hist_add(struct hist *h, uint64_t ns)
{
	_Atomic uint64_t *b = &h->bucket[hist_bucket_of(ns)];
	uint64_t min = atomic_load_explicit(&h->min, memory_order_relaxed);

	atomic_store_explicit(
		b, atomic_load_explicit(b, memory_order_relaxed) + 1, memory_order_relaxed);
	if (min == 0 || ns + 1 < min)
		atomic_store_explicit(&h->min, ns + 1, memory_order_relaxed);
	if (ns > atomic_load_explicit(&h->max, memory_order_relaxed))
		atomic_store_explicit(&h->max, ns, memory_order_relaxed);
}

/*
 * Sums `n` histograms and computes percentiles: the upper edge of the bucket, at most `max`. Any
 * thread.
 */
void hist_summarize(const struct hist *const *h, unsigned n, struct hist_summary *out);

/*
 * Statistics since a point in time, for readers that cannot reset the histogram: hist_copy() takes
 * a mark, and hist_summarize_since() covers the values added after the mark. Without a new extreme
 * since the mark, min and max are exact to one bucket only.
 */
void hist_copy(struct hist *to, const struct hist *from);
void hist_summarize_since(const struct hist *h, const struct hist *mark, struct hist_summary *out);
