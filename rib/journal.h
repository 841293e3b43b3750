/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ring of changed destinations; every consumer has a cursor of its own and reads the
 * destination's present state, so ten changes seen late cost one.
 *
 * Writers: the shards, each with a number of its own, without a lock between them (docs/decisions/0006); one alone writes with
 * plain stores. Consumers: fib thread, update groups, event subscribers.
 * Order is sacred: a consumer may take a change early, a withdrawal only at the entry of the destination's last
 * sequence (journal_entry_is_last), else a coalesced aggregate goes before the specifics that replace it: a hole.
 *
 * That alone is not enough. Announce D (1), announce C (2), withdraw D (3), announce E (4), withdraw C (5), all covering one
 * address: who reads 2 to 5 late finds C empty at 2, passes it over, and D's last entry at 3: withdrawing it there leaves a hole until 4. So
 * a withdrawal also waits until the consumer has read up to the last change of every destination that it found empty and
 * passed over (the horizon). At such a position it holds all that the stream held there, and may let the rest go.
 * journal_may_withdraw() is the whole rule; the cursor keeps what it needs. The property is tests/rib/test_journal_property.c.
 */
#pragma once

#include "lpm/base.h"
#include "rib/dest.h"

struct arena;
struct journal;
struct journal_cursor;

DEFINE_ID(table_id, uint16_t); /* a shard's tables: see rib/shard.h */

struct journal_entry {
	uint64_t sequence; /* from 1 */
	struct table_id table;
	uint8_t shard; /* the writer */
	bool aside; /* there was a route before, and its best path stayed what it is: see journal_awaits() */
	struct dest_id dest;
};

#define JOURNAL_CURSORS_MAX 1024
#define JOURNAL_WRITERS_MAX 16

/* `capacity` entries (rounded up to a power of two), 8 bytes each. 0, -ENOMEM. */
int journal_create(struct arena *a, uint32_t capacity, struct journal **out);
/* The same for several writers, 0 .. `writers` - 1. */
int journal_create_shared(
	struct arena *a, uint32_t capacity, unsigned writers, struct journal **out);
void journal_destroy(struct journal *j);
unsigned journal_writers(const struct journal *j);

/* Writer, of a journal that has one. The sequence that the next append will get: dest_publish() needs it first. */
uint64_t journal_next_sequence(const struct journal *j) RUNS_ON(role_rib);
void journal_append(struct journal *j, struct table_id table, struct dest_id dest)
	RUNS_ON(role_rib);
/*
 * Writer, of one of any number. Reserves a sequence for dest_publish(), and then makes it an entry; one at a time. In between no consumer
 * reads on behind it, so nothing is seen out of order.
 */
uint64_t journal_reserve(struct journal *j, unsigned writer) RUNS_ON(role_rib);
void journal_commit(struct journal *j, unsigned writer, uint64_t sequence, struct table_id table,
	struct dest_id dest, bool aside) RUNS_ON(role_rib);
/* The lowest sequence that some cursor has not passed (head + 1 without cursors): what is older, nobody will ask for. */
uint64_t journal_safe_sequence(const struct journal *j);

/* Writer, now and then: memory of entries that nobody will ask for goes back to the system. */
void journal_tidy(struct journal *j) RUNS_ON(role_rib);

/* Any thread, once for each consumer. The cursor starts behind the newest entry. 0, -ENOSPC. */
int journal_subscribe(struct journal *j, struct journal_cursor **out);
void journal_unsubscribe(struct journal *j, struct journal_cursor *c);
/*
 * The thread of `from`: a second cursor that stands where it stands, waits for what it waits for and holds back what it holds back.
 * 0, -ENOSPC; -ESTALE: `from` is evicted.
 */
int journal_fork(struct journal *j, const struct journal_cursor *from, struct journal_cursor **out);
/* As that, only to hold back: it reads nothing, and journal_advance() moves what it holds. */
int journal_hold(struct journal *j, const struct journal_cursor *from, struct journal_cursor **out);
/*
 * What is to be done when tombstones pile up behind this consumer. Without a word, nothing: they pile up.
 *   JOURNAL_EVICT  it is evicted, and knows what to do about -ESTALE (a member whose connection takes nothing)
 *   JOURNAL_WAIT   the shard takes nothing in until it has come on (the fib thread, update groups and all members that read)
 */
enum journal_patience { JOURNAL_BEAR, JOURNAL_EVICT, JOURNAL_WAIT };
void journal_set_patience(struct journal_cursor *c, enum journal_patience patience);
/* Tombstones of that writer's pile up behind a consumer, or do no longer. Any thread sees whether some writer's do: a hint, as journal_wait(). */
void journal_press(struct journal *j, unsigned writer, bool pressed) RUNS_ON(role_rib);
bool journal_pressed(const struct journal *j);

/* The consumer's thread, after subscribing: long walks of the writer don't run far ahead of this one (shard_walks.c). */
void journal_set_paced(struct journal_cursor *c);
/* Any thread. How many entries the slowest of these has not read, and which was its last; 0 without any. */
uint64_t journal_lag(const struct journal *j, uint64_t *position);
/*
 * That writer's long walks wait for these, or do no longer; the consumers' thread, when it has read, asks for one to be woken (-1: none), in turn,
 * and only where less than `lag` entries are not read. A hint, which may be missed: who waits looks again by itself before long.
 */
void journal_wait(struct journal *j, unsigned writer, bool waits) RUNS_ON(role_rib);
int journal_waiter(struct journal *j, uint64_t lag) RUNS_ON(role_session);

/*
 * Writer. Who holds back most: what is newer than `passed` can't be given back because of it. False: nobody holds anything. The cursor may
 * be gone or another's by the time it is used: only journal_evict() looks at it.
 */
struct journal_holder {
	struct journal_cursor *cursor; /* NULL: one that is just subscribing */
	uint64_t passed;
	uint32_t state;
	enum journal_patience patience;
};
bool journal_holder(const struct journal *j, struct journal_holder *out) RUNS_ON(role_rib);
/*
 * Writer. It holds nothing from now on, and its journal_read() says -ESTALE; an id that it remembers may mean another destination from its
 * next quiescent report on. False: it is gone meanwhile, or not to be
 * evicted.
 */
bool journal_evict(struct journal *j, const struct journal_holder *h) RUNS_ON(role_rib);

/*
 * All below: the cursor's thread, online in the readers' QSBR while it looks at destinations.
 *
 * Up to `max` entries behind the cursor's position, in order; the position stays. Returns how many, 0 when there is nothing new, or
 * -EOVERFLOW when the ring lapped this cursor (the last of `capacity` entries is already the writer's). -ESTALE: evicted, for good;
 * all that is left is journal_unsubscribe().
 */
int journal_read(
	struct journal *j, struct journal_cursor *c, struct journal_entry *out, unsigned max);
/* What journal_read() would say by -ESTALE; of the writer's lines it looks at none. */
bool journal_evicted(const struct journal_cursor *c);
/*
 * The entries up to `passed_sequence` are done: the position moves there, and tombstones up to there may be given back, except
 * those whose withdrawal still waits. When the wait is over the position moves back to the first of these, and journal_read() gives the
 * entries from there once more (to read present state again is harmless).
 */
void journal_advance(struct journal *j, struct journal_cursor *c, uint64_t passed_sequence);

/*
 * At an entry for whose destination the consumer would now hold nothing (no paths, none eligible, refused by its policy): may it take
 * that withdrawal here? On false it leaves what it has; the entry of the last change comes later, or this one comes again.
 */
bool journal_may_withdraw(
	struct journal_cursor *c, const struct journal_entry *e, const struct dest_view *v);
/*
 * May this entry be one that a withdrawal waits for: put off until it, or to be judged at it again? Who looks at nothing but best paths may
 * pass over an entry that is `aside` and is not awaited (docs/decisions/0002).
 */
bool journal_awaits(const struct journal_cursor *c, const struct journal_entry *e);
/*
 * In a walk, for each destination found empty in that sense: withdrawals at later entries then wait for it, and its last entry is awaited. A walk
 * withdraws nothing by itself whose sequence is beyond journal_passed().
 */
void journal_passed_over(
	const struct journal *j, struct journal_cursor *c, const struct dest_view *v);

/*
 * A lapped cursor:
 *   journal_pin(c), reach_back = journal_resume(j, c)
 *   first walk, over all destinations with (int32_t)(view.sequence - reach_back) > 0: the others are applied, for
 *      empty ones journal_passed_over(); no journal_read() meanwhile
 *   journal_read() and journal_advance() as usual until journal_settled(); upto = journal_position(c)
 *   second walk: withdraw what is empty with (int32_t)(view.sequence - upto) <= 0; who passes `aside` entries over says
 *      journal_passed_over() for the other empty ones: what emptied them may lie before `upto`, and the entry that comes be an `aside` one
 *   journal_unpin(c)
 * Lapped again on the way: from the top. Tombstones stay from the old place on until journal_unpin().
 */
/* Puts the position behind the newest entry; returns the sequence that the walk must reach back to: journal_passed(). */
uint64_t journal_resume(struct journal *j, struct journal_cursor *c);
/* While pinned, journal_advance() moves the position only. */
void journal_pin(struct journal_cursor *c);
void journal_unpin(struct journal_cursor *c);
/* No withdrawal would have to wait at this position. */
bool journal_settled(const struct journal_cursor *c);
/* What journal_read() goes on behind. */
uint64_t journal_position(const struct journal_cursor *c);

/* All entries up to this sequence are written; any thread. With several writers it may seem to go back a little. */
uint64_t journal_head(const struct journal *j);
/* What is published by now is an entry up to this sequence, or becomes one without further ado; any thread. */
uint64_t journal_reserved(const struct journal *j);
/* No destination has been published with a higher sequence; any thread. */
uint64_t journal_newest(const struct journal *j);
/* The highest sequence this cursor passed; any thread. */
uint64_t journal_passed(const struct journal_cursor *c);

/* Does an empty destination's view belong to this entry? Necessary for a withdrawal, and not enough: journal_may_withdraw(). */
static inline bool
journal_entry_is_last(const struct journal_entry *e, const struct dest_view *v)
{
	return (uint32_t)e->sequence == v->sequence;
}
