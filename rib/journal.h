/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shard's ring of changed destinations; every consumer has a cursor of its own and reads the
 * destination's present state, so ten changes seen late cost one.
 *
 * Writer: the shard. Consumers: fib thread, update groups, event subscribers.
 * Order is sacred: a consumer may take a change early, a withdrawal only at the entry of the destination's last
 * sequence (journal_entry_is_last), else a coalesced aggregate goes before the specifics that replace it: a hole.
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
	struct dest_id dest;
};

#define JOURNAL_CURSORS_MAX 256

/* `capacity` entries (rounded up to a power of two), 8 bytes each. 0, -ENOMEM. */
int journal_create(struct arena *a, uint32_t capacity, struct journal **out);
void journal_destroy(struct journal *j);

/* Writer. The sequence that the next append will get: dest_publish() needs it first. */
uint64_t journal_next_sequence(const struct journal *j) RUNS_ON(role_rib);
void journal_append(struct journal *j, struct table_id table, struct dest_id dest) RUNS_ON(role_rib);
/* The lowest sequence that some cursor has not passed: what is older, nobody will ask for. */
uint64_t journal_safe_sequence(const struct journal *j);

/* Any thread, once for each consumer. The cursor starts behind the newest entry. 0, -ENOSPC, -ENOMEM. */
int journal_subscribe(struct journal *j, struct journal_cursor **out);
void journal_unsubscribe(struct journal *j, struct journal_cursor *c);

/*
 * The cursor's thread. Up to `max` entries in order; returns how many, 0 when there is nothing new, or -EOVERFLOW when the
 * ring lapped this cursor: walk the table for newer sequences, the empty destinations last, then go on from
 * journal_resume(). Entries returned count as passed only after journal_advance().
 */
int journal_read(struct journal *j, struct journal_cursor *c, struct journal_entry *out, unsigned max);
void journal_advance(struct journal *j, struct journal_cursor *c, uint64_t passed_sequence);
/* Puts a lapped cursor behind the newest entry; returns the sequence that the walk must reach back to (its old place). */
uint64_t journal_resume(struct journal *j, struct journal_cursor *c);
/* The highest sequence written; any thread. */
uint64_t journal_head(const struct journal *j);
/* The highest sequence this cursor passed; any thread. */
uint64_t journal_passed(const struct journal_cursor *c);

/* The rule about withdrawals: does an empty destination's view belong to this entry? */
static inline bool
journal_entry_is_last(const struct journal_entry *e, const struct dest_view *v)
{
	return (uint32_t)e->sequence == v->sequence;
}
