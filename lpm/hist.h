/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log-linear histogram of nanoseconds: one thread adds, anyone sums. 16 linear steps in each
 * power of two (error at most 1/16), 0 to 2^42 ns (over an hour); larger values land in the last step.
 * Single writer: relaxed load, add, store, no locked instruction.
 */
#pragma once

#include "lpm/base.h"

#include <stdatomic.h>

#define HIST_SUB_BITS 4
#define HIST_BUCKETS ((42 - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

struct hist {
	_Atomic uint64_t bucket[HIST_BUCKETS];
	_Atomic uint64_t min; /* 0 until the first value; stored as value + 1 */
	_Atomic uint64_t max;
};

struct hist_summary {
	uint64_t count, min, p50, p90, p99, p999, max; /* ns but count */
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

/* The one writer. */
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

/* Any thread. Adds the counts of `n` histograms and reads percentiles (upper edge of their step, clipped to max). */
void hist_summarize(const struct hist *const *h, unsigned n, struct hist_summary *out);
/* The one writer, or while it rests. */
void hist_reset(struct hist *h);

/*
 * A histogram starts anew for who looks at it, without its writer: a copy is the mark, and a summary
 * is of what came since. Ends that are older than the mark are known to a step only.
 */
void hist_copy(struct hist *to, const struct hist *from);
void hist_summarize_since(const struct hist *h, const struct hist *mark, struct hist_summary *out);
