/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/hist.h"

/* The largest value that falls into step `i`. */
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

/* The value at or below which `permille` of all lie. */
static uint64_t
percentile(const uint64_t *bucket, const struct hist_summary *s, unsigned permille)
{
	uint64_t rank = s->count / 1000 * permille + (s->count % 1000 * permille + 999) / 1000;
	uint64_t seen = 0, v;

	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		seen += bucket[i];
		if (seen < rank)
			continue;
		/* the last step has no upper edge */
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
