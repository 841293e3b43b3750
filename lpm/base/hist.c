/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/base/hist.h"

#include "lpm/base/inspect.h"

/* Largest value in bucket `i`. */
static uint64_t
bucket_edge(unsigned i)
{
	unsigned shift;
	uint64_t step;

	if (i < (1u << HIST_SUB_BITS))
		return i;
	shift = (i >> HIST_SUB_BITS) - 1;
	step = (1u << HIST_SUB_BITS) + (i & ((1u << HIST_SUB_BITS) - 1));
	return ((step + 1) << shift) - 1;
}

/* Smallest bucket edge with at least `permille` of all values at or below. */
static uint64_t
percentile(const uint64_t *bucket, const struct hist_summary *s, unsigned permille)
{
	uint64_t rank = s->count / 1000 * permille + (s->count % 1000 * permille + 999) / 1000;
	uint64_t seen = 0, v;

	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		seen += bucket[i];
		if (seen < rank)
			continue;
		/* the last bucket has no upper edge */
		v = i == HIST_BUCKETS - 1 ? s->max : bucket_edge(i);
		return v < s->max ? v : s->max;
	}
	return s->max;
}

void
hist_summarize(const struct hist *const *h, unsigned n, struct hist_summary *out)
{
	uint64_t sum[HIST_BUCKETS] = {0};

	*out = (struct hist_summary){0};
	for (unsigned k = 0; k < n; k++) {
		uint64_t min = atomic_load_explicit(&h[k]->min, memory_order_relaxed);
		uint64_t max = atomic_load_explicit(&h[k]->max, memory_order_relaxed);

		for (unsigned i = 0; i < HIST_BUCKETS; i++) {
			uint64_t v = atomic_load_explicit(&h[k]->bucket[i], memory_order_relaxed);

			sum[i] += v;
			out->count += v;
		}
		if (min != 0 && (out->min == 0 || min < out->min))
			out->min = min;
		if (max > out->max)
			out->max = max;
	}
	if (out->min != 0)
		out->min--;
	if (out->count == 0)
		return;
	out->p50 = percentile(sum, out, 500);
	out->p90 = percentile(sum, out, 900);
	out->p99 = percentile(sum, out, 990);
	out->p999 = percentile(sum, out, 999);
}

void
hist_reset(struct hist *h)
{
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		atomic_store_explicit(&h->bucket[i], 0, memory_order_relaxed);
	atomic_store_explicit(&h->min, 0, memory_order_relaxed);
	atomic_store_explicit(&h->max, 0, memory_order_relaxed);
}

void
hist_copy(struct hist *to, const struct hist *from)
{
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		atomic_store_explicit(&to->bucket[i],
			atomic_load_explicit(&from->bucket[i], memory_order_relaxed),
			memory_order_relaxed);
	atomic_store_explicit(&to->min, atomic_load_explicit(&from->min, memory_order_relaxed),
		memory_order_relaxed);
	atomic_store_explicit(&to->max, atomic_load_explicit(&from->max, memory_order_relaxed),
		memory_order_relaxed);
}

/*
 * Computes now - mark. Without a new extreme since the mark, min and max are exact to one bucket
 * only.
 */
static void
hist_subtract(struct hist *now, const struct hist *mark)
{
	uint64_t newest_max = atomic_load_explicit(&now->max, memory_order_relaxed);
	uint64_t min = 0, max = 0;

	if (atomic_load_explicit(&mark->min, memory_order_relaxed) == 0)
		return;
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		uint64_t n = atomic_load_explicit(&now->bucket[i], memory_order_relaxed) -
			     atomic_load_explicit(&mark->bucket[i], memory_order_relaxed);

		atomic_store_explicit(&now->bucket[i], n, memory_order_relaxed);
		if (n == 0)
			continue;
		if (min == 0)
			min = (i > 0 ? bucket_edge(i - 1) + 1 : 0) + 1;
		max = i + 1 < HIST_BUCKETS ? bucket_edge(i) : newest_max;
	}
	atomic_store_explicit(&now->min, min, memory_order_relaxed);
	if (newest_max == atomic_load_explicit(&mark->max, memory_order_relaxed) &&
		max < newest_max)
		atomic_store_explicit(&now->max, max, memory_order_relaxed);
}

void
hist_summarize_since(const struct hist *h, const struct hist *mark, struct hist_summary *out)
{
	struct hist since;
	const struct hist *one = &since;

	hist_copy(&since, h);
	hist_subtract(&since, mark);
	hist_summarize(&one, 1, out);
}
