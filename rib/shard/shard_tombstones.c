/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Limits the tombstones of each table that wait for the slowest consumer of the journal
 * (`tombstones_max`).
 *
 * From half of the limit on, the shard takes no input and sweeps nothing until the slowest consumer
 * advances. So a million routes withdrawn at once are advertised at the speed of the slowest
 * healthy consumer, and no session is lost. The shard cannot know the reason of a delay: the thread
 * of the consumer may be busy. The owner of a cursor knows the connection and decides whether the
 * cursor may be evicted (JOURNAL_EVICT). The shard waits for such a cursor while progress is fair,
 * and 100 ms without progress; at the full limit the cursor is evicted.
 */
#include "rib/shard/shard_impl.h"

#define TOMBSTONES_MIN 65536u
#define PATIENCE_NS 100000000u
#define PATIENCE_ENTRIES 16384u /* 160,000 changes a second: a sixth of the rate of a shard */
#define WAKE_NS 10000000u

static uint32_t
tombstones_max(const struct shard *s, const struct dest_table *t)
{
	uint32_t part = (dest_count(t) + dest_tombstones(t)) / 8;

	if (s->config.tombstones_max != 0)
		return s->config.tombstones_max;
	return part > TOMBSTONES_MIN ? part : TOMBSTONES_MIN;
}

static bool
above(const struct shard *s, unsigned divisor)
{
	const struct shard_table *t;

	for (unsigned i = 0; (t = shard_table_next(s, s->stirred, &i)) != NULL;)
		if (dest_tombstones(t->dests) > tombstones_max(s, t->dests) / divisor)
			return true;
	return false;
}

/* Reclaims tombstones that no cursor holds. True if more is due. */
static bool
tombstones_reclaim(struct shard *s, uint64_t deadline_ns) RUNS_ON(role_rib)
{
	uint64_t safe = journal_safe_sequence(s->journal);
	bool more;

	do {
		more = tables_reclaim(s, safe);
	} while (more && walk_clock() < deadline_ns);
	return more;
}

/* True while waiting is worthwhile: the cursor advances, or has become the slowest just now. */
static bool
makes_progress(struct shard_late *l, const struct journal_holder *h, uint64_t now_ns)
{
	if (l->holder.cursor != h->cursor || l->holder.state != h->state) {
		l->holder = *h;
		l->since_ns = now_ns;
		l->given_up = false;
		return true;
	}
	if (l->given_up || now_ns - l->since_ns < PATIENCE_NS)
		return !l->given_up;
	l->given_up = h->passed - l->holder.passed < PATIENCE_ENTRIES;
	l->holder.passed = h->passed;
	l->since_ns = now_ns;
	return !l->given_up;
}

static void
press(struct shard *s, bool pressed) RUNS_ON(role_rib)
{
	if (s->late.pressed != pressed)
		journal_press(s->journal, s->config.index, pressed);
	s->late.pressed = pressed;
}

/* A sleeping consumer would not notice a connection that accepts no data. */
static void
wake_late(struct shard *s)
{
	if (s->config.wake_consumers == NULL || s->now_ns - s->late.woken_ns < WAKE_NS)
		return;
	s->late.woken_ns = s->now_ns;
	s->config.wake_consumers(s->config.wake_ctx);
}

bool
tombstones_hold(struct shard *s, uint64_t deadline_ns)
{
	struct journal_holder h;

	s->late.waits = false;
	if (above(s, 2) && tombstones_reclaim(s, deadline_ns))
		return true;
	if (!above(s, 2)) {
		press(s, false);
		s->late.holder.cursor = NULL;
		return false;
	}
	if (!journal_holder(s->journal, &h) || h.patience == JOURNAL_BEAR)
		return false;
	press(s, true);
	if (h.patience == JOURNAL_WAIT || !above(s, 1)) {
		s->late.waits =
			h.patience == JOURNAL_WAIT || makes_progress(&s->late, &h, s->now_ns);
		if (s->late.waits)
			wake_late(s);
		return s->late.waits;
	}
	if (journal_evict(s->journal, &h)) {
		shard_count(&s->evictions, 1);
		if (s->config.evicted != NULL)
			s->config.evicted(s->config.evicted_ctx, h.cursor);
	}
	return true;
}
