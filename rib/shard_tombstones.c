/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tombstones wait for the journal's latest consumer, so one that stands still would let them pile
 * up without end. They are bounded by number, in each table: `tombstones_max`.
 *
 * From half of that on nothing is taken in and nothing is swept until the one who holds them back has
 * come on. So a million routes that are withdrawn at once go out as fast as the slowest healthy
 * consumer takes them, and cost nobody its session. The shard can't know why one is late: its thread
 * may have had no time, or other things to do. Who may be evicted (JOURNAL_EVICT) its owner says, which
 * sees the connection: that one is waited for as long as it comes on at a fair pace, once for a tenth of
 * a second when it stands still; at the full number it is evicted.
 */
#include "rib/shard_impl.h"

#define TOMBSTONES_MIN 65536u
#define PATIENCE_NS 100000000u
#define PATIENCE_ENTRIES 16384u /* 160,000 changes a second: a sixth of what a shard makes */
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
	unsigned n = shard_table_count(s);

	for (unsigned i = 0; i < n; i++) {
		const struct dest_table *t = s->table[i].dests;

		if (dest_tombstones(t) > tombstones_max(s, t) / divisor)
			return true;
	}
	return false;
}

/* What nobody holds back. True: there is more. */
static bool
give_back(struct shard *s, uint64_t deadline_ns) RUNS_ON(role_rib)
{
	uint64_t safe = journal_safe_sequence(s->journal);
	unsigned n = shard_table_count(s);
	bool more;

	do {
		more = false;
		for (unsigned i = 0; i < n; i++)
			more |= dest_reclaim(s->table[i].dests, safe);
	} while (more && walk_clock() < deadline_ns);
	return more;
}

/* Worth waiting for: it comes on, or it has just begun to hold us up. */
static bool
comes_on(struct shard_late *l, const struct journal_holder *h, uint64_t now_ns)
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

/* Who has nothing to do but to find out that a connection takes nothing would not look. */
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
	if (above(s, 2) && give_back(s, deadline_ns))
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
		s->late.waits = h.patience == JOURNAL_WAIT || comes_on(&s->late, &h, s->now_ns);
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
