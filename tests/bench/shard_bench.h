/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Common parts of the shard benchmarks. Only the processor time within shard_work() counts; a consumer follows the journal, and one reader is
 * quiescent between turns.
 */
#pragma once

#include "tests/rib/shard_rig.h"

#define SHARD_BENCH_SLICE_NS 1000000u

struct shard_bench {
	struct rig rig;
	struct journal_cursor *cursor;
	unsigned reader;
	uint64_t busy_ns, longest_ns, entries; /* since shard_bench_reset() */
};

/* CPU time of the shard: on a shared machine the wall clock includes other work. */
static inline uint64_t
shard_bench_cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void
shard_bench_reset(struct shard_bench *b)
{
	b->busy_ns = b->longest_ns = b->entries = 0;
}

/* `journal` 0: the usual size. */
static inline void
shard_bench_begin(struct shard_bench *b, uint32_t journal)
{
	rig_init_journal(&b->rig, true, journal);
	if (journal_subscribe(shard_journal(b->rig.shard), &b->cursor) != 0 ||
		qsbr_register(b->rig.readers, &b->reader) != 0)
		abort();
	qsbr_online(b->rig.readers, b->reader);
	shard_bench_reset(b);
}

static inline void
shard_bench_end(struct shard_bench *b)
{
	qsbr_offline(b->rig.readers, b->reader);
	qsbr_unregister(b->rig.readers, b->reader);
	journal_unsubscribe(shard_journal(b->rig.shard), b->cursor);
	rig_fini(&b->rig);
}

static inline void
shard_bench_follow(struct shard_bench *b)
{
	struct journal *j = shard_journal(b->rig.shard);
	struct journal_entry e[256];
	int n;

	while ((n = journal_read(j, b->cursor, e, 256)) > 0) {
		b->entries += (unsigned)n;
		journal_advance(j, b->cursor, e[n - 1].sequence);
	}
	if (n < 0)
		(void)journal_resume(j, b->cursor);
	qsbr_quiescent(b->rig.readers, b->reader);
}

static inline bool
shard_bench_turn(struct shard_bench *b)
{
	uint64_t now = rig_clock(), begun = shard_bench_cpu(), took;
	bool more = shard_work(b->rig.shard, now, now + SHARD_BENCH_SLICE_NS);

	took = shard_bench_cpu() - begun;
	b->busy_ns += took;
	if (took > b->longest_ns)
		b->longest_ns = took;
	shard_bench_follow(b);
	return more;
}

static inline void
shard_bench_settle(struct shard_bench *b)
{
	rig_put(&b->rig);
	while (shard_bench_turn(b))
		;
}

/* `count` prefixes of one set; the shard works whenever eight batches are full. */
static inline void
shard_bench_update(struct shard_bench *b, uint16_t peer, const struct attr_set *a,
	const struct rib_nlri *n, unsigned count)
{
	static unsigned batches;
	uint32_t used = b->rig.batch != NULL ? b->rig.batch->used : 0;

	if (used + 8192 > RIB_BATCH_SIZE && ++batches % 8 == 0) {
		rig_put(&b->rig);
		while (!rig_drained(&b->rig))
			(void)shard_bench_turn(b);
	}
	rig_update_in(&b->rig, rig_family(), peer, a, n, count, rig_clock());
}
