/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ring of changed destinations. Each consumer has its own cursor and reads the current state of a
 * destination, so a consumer that sees ten changes late handles one change. Writers: the shards,
 * each with its own writer number and without a lock (docs/decisions/0006); a single writer needs
 * no atomic read-modify-write. Consumers: the fib thread, a reader for the
 * update groups of each table, and the BMP thread.
 *
 * Order of withdrawals: a consumer may take a change early, but a withdrawal only at the entry of
 * the last sequence of the destination (journal_entry_is_last()). Otherwise a withdrawn aggregate
 * could leave before the specifics that replace the aggregate arrive: a hole. A second rule is
 * needed. Announce D (1), announce C (2), withdraw D (3), announce E (4), withdraw C (5), where all
 * three cover one address: a consumer that reads 2 to 5 late finds C empty at 2, passes over C, and
 * reaches the last entry of D at 3. A withdrawal of D at 3 leaves a hole until 4. So a withdrawal
 * also waits until the consumer has read up to the last change of every destination that the
 * consumer found empty and passed over (the horizon). At that position the consumer holds
 * everything that the stream held there, and may withdraw the rest.
 *
 * journal_may_withdraw() is the whole rule; the cursor keeps the state.
 * tests/rib/test_journal_property.c tests the property.
 */
#pragma once

#include "lpm/base/base.h"
#include "rib/table/dest.h"

struct arena;
struct journal;
struct journal_cursor;

DEFINE_ID(table_id, uint16_t); /* a shard's tables: see rib/shard/shard.h */

struct journal_entry {
	uint64_t sequence; /* from 1 */
	struct table_id table;
	uint8_t shard; /* the writer */
	/*
	 * the destination had a route before, and the best path stayed the same
	 */
	bool aside;
	/*
	 * made by a walk over the table, or for a peer that is sending a whole table:
	 * journal_read_live()
	 */
	bool bulk;
	struct dest_id dest;
};
enum journal_flags { JOURNAL_ASIDE = 1, JOURNAL_BULK = 2 };

/*
 * Memory is taken for the cursors in use: two for each table with update groups, one for each group
 * whose stream is not empty, and one for each member behind the stream of its group.
 */
#define JOURNAL_CURSORS_MAX 32768
#define JOURNAL_WRITERS_MAX 16

/* A single writer; `capacity` entries of 8 bytes, rounded up to a power of two. 0, -ENOMEM. */
int journal_create(struct arena *a, uint32_t capacity, struct journal **out);
/* As journal_create(), for the writers 0 to `writers` - 1. -EINVAL: 0, or too many writers. */
int journal_create_shared(
	struct arena *a, uint32_t capacity, unsigned writers, struct journal **out);
void journal_destroy(struct journal *j);
unsigned journal_writers(const struct journal *j);
uint64_t journal_capacity(const struct journal *j); /* entries */

/* Writer of a journal with a single writer. Sequence of the next append, for dest_publish(). */
uint64_t journal_next_sequence(const struct journal *j) RUNS_ON(role_rib);
void journal_append(struct journal *j, struct table_id table, struct dest_id dest)
	RUNS_ON(role_rib);
/*
 * Any writer. journal_reserve() reserves a sequence for dest_publish(), journal_commit() writes its
 * entry. A writer has one reservation at a time. Between the two calls no consumer reads past the
 * reserved sequence, so entries appear in order.
 */
uint64_t journal_reserve(struct journal *j, unsigned writer) RUNS_ON(role_rib);
/* `flags`: of enum journal_flags. */
void journal_commit(struct journal *j, unsigned writer, uint64_t sequence, struct table_id table,
	struct dest_id dest, unsigned flags) RUNS_ON(role_rib);
/*
 * The lowest sequence that some cursor has not passed (head + 1 without cursors). No consumer will
 * ask for an older entry.
 */
uint64_t journal_safe_sequence(const struct journal *j);

/*
 * The first writer, now and then: returns the memory of entries before the safe sequence to the
 * system. Further writers wait meanwhile if they are about to reuse that memory.
 */
void journal_tidy(struct journal *j) RUNS_ON(role_rib);

/*
 * Any thread, once for each consumer. The cursor starts after the newest entry. 0; -ENOSPC: all
 * JOURNAL_CURSORS_MAX cursors are in use.
 */
int journal_subscribe(struct journal *j, struct journal_cursor **out);
void journal_unsubscribe(struct journal *j, struct journal_cursor *c);
/*
 * Thread of `from`: a cursor that never reads, but keeps tombstones after journal_passed(from).
 * journal_advance() ends this up to a sequence. 0, -ENOSPC; -ESTALE: `from` is evicted.
 */
int journal_hold(struct journal *j, const struct journal_cursor *from, struct journal_cursor **out);
/*
 * What a shard does when tombstones accumulate because of this consumer.
 * JOURNAL_BEAR (default): nothing.
 * JOURNAL_EVICT: waits while the cursor advances; evicts the cursor at the limit of tombstones
 * (tombstones_max). The consumer handles -ESTALE (a member whose connection accepts no data).
 * JOURNAL_WAIT: takes no input until the cursor has advanced (fib thread, update groups, members
 * that read).
 */
enum journal_patience { JOURNAL_BEAR, JOURNAL_EVICT, JOURNAL_WAIT };
void journal_set_patience(struct journal_cursor *c, enum journal_patience patience);
/*
 * journal_press(): with `pressed`, tombstones of `writer` accumulate because of a slow consumer.
 * journal_pressed(): true if any writer is pressed. For any thread; may be slightly out of date.
 */
void journal_press(struct journal *j, unsigned writer, bool pressed) RUNS_ON(role_rib);
bool journal_pressed(const struct journal *j);

/*
 * Thread of the consumer, after subscribing: long walks of the writers stay close to this cursor
 * (shard_walks.c).
 */
void journal_set_paced(struct journal_cursor *c);
/*
 * Any thread. Number of entries that the slowest paced cursor has not read, and the last entry
 * read; 0 without a paced cursor.
 */
uint64_t journal_lag(const struct journal *j, uint64_t *position);
/*
 * journal_wait(): long walks of `writer` wait for the paced cursors, or no longer do.
 * journal_waiter(), on the thread of the consumers after a read: a waiting writer to wake, in turn,
 * if less than `lag` entries are unread; otherwise -1. A hint that may be missed: a waiting shard
 * also polls.
 */
void journal_wait(struct journal *j, unsigned writer, bool waits) RUNS_ON(role_rib);
int journal_waiter(struct journal *j, uint64_t lag) RUNS_ON(role_session);
/* Any thread: true if a writer waits. A hint, as journal_waiter(). */
bool journal_waits(const struct journal *j);

/*
 * Writer. The cursor that holds back most: entries after `passed` are kept for this cursor. False
 * if there is no such cursor. Only for journal_evict(): the cursor may have been released or reused
 * since.
 */
struct journal_holder {
	struct journal_cursor *cursor; /* NULL: a consumer is subscribing */
	uint64_t passed;
	uint32_t state;
	enum journal_patience patience;
};
bool journal_holder(const struct journal *j, struct journal_holder *out) RUNS_ON(role_rib);
/*
 * Writer. Evicts the cursor: the cursor holds nothing, and journal_read() returns -ESTALE. An id
 * that the consumer remembers may mean another destination after its next quiescent report. False
 * if the cursor was released or must not be evicted.
 */
bool journal_evict(struct journal *j, const struct journal_holder *h) RUNS_ON(role_rib);

/*
 * Everything below: thread of the cursor, online in the QSBR of RIB readers while destinations are
 * read.
 *
 * Reads up to `max` entries after the position of the cursor, in order; the position stays. Returns
 * the number of entries; 0 without new entries; -EOVERFLOW: the ring lapped the cursor, with
 * `capacity` or more unread entries (a writer may be overwriting the oldest); -ESTALE if the cursor
 * is evicted: the consumer may then only call journal_unsubscribe().
 */
int journal_read(
	struct journal *j, struct journal_cursor *c, struct journal_entry *out, unsigned max);
/*
 * Entries that a consumer may take before the bulk entries in front of them: entries after *from
 * that are neither `bulk` nor `aside`, at most `max`, in order. Moves *from over the examined
 * entries, at most JOURNAL_LOOK of them. Such an entry may bring a route early. A withdrawal must wait until journal_read() returns the entry. Returns the number of
 * entries, or -EOVERFLOW, as journal_read().
 */
#define JOURNAL_LOOK 16384u
int journal_read_live(
	const struct journal *j, uint64_t *from, struct journal_entry *out, unsigned max);
/* Any thread. The newest bulk entry; with several writers, the newest of one of the writers. */
uint64_t journal_bulk(const struct journal *j);
/* True if journal_read() would return -ESTALE. Cheaper: reads no cache line of the writers. */
bool journal_evicted(const struct journal_cursor *c);
/*
 * Entries up to `passed_sequence` are done: the position moves there, and tombstones up to there
 * may be reused, but not from the first waiting withdrawal on. When the wait is over the position
 * moves back to the first waiting withdrawal, and journal_read() returns the entries from there
 * again (reading current state twice is harmless).
 */
void journal_advance(struct journal *j, struct journal_cursor *c, uint64_t passed_sequence);
/*
 * For a consumer that reads one table. If no entry after the position, up to `upto` and the head, is
 * of the table: advances as after a read of these entries, at the same cost for any number of
 * entries. False: the position stays; journal_read() tells which entries there are.
 */
bool journal_pass(
	struct journal *j, struct journal_cursor *c, struct table_id table, uint64_t upto);
/*
 * Any thread. Of the entries up to a head read before, no later one is of the table; 0: none is. A
 * table whose id has the same low 12 bits counts, too.
 */
uint64_t journal_newest_of(const struct journal *j, struct table_id table);

/*
 * For an entry whose destination the consumer would now drop (no paths, no eligible path, refused
 * by policy): true if the consumer may withdraw here. On false the consumer keeps the old state; a
 * later entry, or this entry again, allows the withdrawal.
 */
bool journal_may_withdraw(
	struct journal_cursor *c, const struct journal_entry *e, const struct dest_view *v);
/*
 * In a walk, for each empty destination: withdrawals at later entries wait for the last entry of
 * `v`. A walk withdraws only destinations whose sequence is at most
 * journal_passed().
 */
void journal_passed_over(
	const struct journal *j, struct journal_cursor *c, const struct dest_view *v);

/*
 * Recovery of a lapped cursor:
 * journal_pin(c), reach_back = journal_resume(j, c)
 * first walk, all destinations with (int32_t)(view.sequence - reach_back) > 0: apply routes, call
 * journal_passed_over() for empty destinations; no journal_read() meanwhile
 * journal_read() and journal_advance() as usual until journal_settled(); upto = journal_position(c)
 * second walk: withdraw empty destinations with (int32_t)(view.sequence - upto) <= 0.
 * journal_unpin(c)
 * If the ring laps the cursor again, start over. Tombstones after the old position are kept until
 * journal_unpin().
 */
/*
 * Moves the position to the newest entry; returns journal_passed(), the sequence that the walk must
 * reach back to.
 */
uint64_t journal_resume(struct journal *j, struct journal_cursor *c);
/* While pinned, journal_advance() moves the position only. */
void journal_pin(struct journal_cursor *c);
void journal_unpin(struct journal_cursor *c);
/* True if no withdrawal would have to wait at this position. */
bool journal_settled(const struct journal_cursor *c);
/* The sequence after which journal_read() continues. */
uint64_t journal_position(const struct journal_cursor *c);

/*
 * Any thread. All entries up to this sequence are written. With several writers the value may seem
 * to decrease a little.
 */
uint64_t journal_head(const struct journal *j);
/*
 * Any thread. Each destination published so far has, or will get, an entry at or before this
 * sequence.
 */
uint64_t journal_reserved(const struct journal *j);
/* Any thread. No destination has been published with a higher sequence. */
uint64_t journal_newest(const struct journal *j);
/*
 * Any thread. The consumer is done with all entries up to this sequence: tombstones up to there are
 * not kept for this cursor.
 */
uint64_t journal_passed(const struct journal_cursor *c);

/*
 * True if the view of an empty destination belongs to this entry. A withdrawal needs more: see
 * journal_may_withdraw().
 */
static inline bool
journal_entry_is_last(const struct journal_entry *e, const struct dest_view *v)
{
	return (uint32_t)e->sequence == v->sequence;
}
