/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/journal.h"
#include "tests/rib/rib_test.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct fixture {
	struct rib_test base;
	struct journal *journal;
	struct journal_cursor *c;
};

static void
fixture_begin(struct fixture *f, uint32_t capacity)
{
	rib_test_begin(&f->base);
	assert_int_equal(journal_create(f->base.arena, capacity, &f->journal), 0);
	assert_int_equal(journal_subscribe(f->journal, &f->c), 0);
}

static void
fixture_end(struct fixture *f)
{
	journal_destroy(f->journal);
	rib_test_end(&f->base);
}

/*
 * Destination and table are derived from the sequence, so that a reader detects a torn or stale
 * entry.
 */
static struct table_id
table_of(uint64_t sequence)
{
	return (struct table_id){(uint16_t)(sequence * 40503u)};
}

static struct dest_id
dest_of(uint64_t sequence)
{
	return (struct dest_id){(uint32_t)(sequence * 2654435761u)};
}

static void
append(struct journal *j, unsigned n)
{
	for (; n > 0; n--) {
		uint64_t sequence = journal_next_sequence(j);
		journal_append(j, table_of(sequence), dest_of(sequence));
	}
}

static bool
entry_is(const struct journal_entry *e, uint64_t sequence)
{
	return e->sequence == sequence && e->table.v == table_of(sequence).v &&
	       e->dest.v == dest_of(sequence).v;
}

static void
entries_come_in_order(void **state)
{
	struct fixture f;
	struct journal_entry e[8];

	fixture_begin(&f, 16);
	assert_int_equal(journal_head(f.journal), 0);
	assert_int_equal(journal_next_sequence(f.journal), 1);
	assert_int_equal(journal_read(f.journal, f.c, e, 8), 0);
	append(f.journal, 5);
	assert_int_equal(journal_head(f.journal), 5);
	assert_int_equal(journal_read(f.journal, f.c, e, 3), 3);
	for (unsigned i = 0; i < 3; i++)
		assert_true(entry_is(&e[i], i + 1));
	/* not advanced: the entries are read again, and hold their tombstones */
	assert_int_equal(journal_safe_sequence(f.journal), 1);
	assert_int_equal(journal_read(f.journal, f.c, e, 8), 5);
	journal_advance(f.journal, f.c, 2);
	assert_int_equal(journal_passed(f.c), 2);
	assert_int_equal(journal_safe_sequence(f.journal), 3);
	assert_int_equal(journal_read(f.journal, f.c, e, 8), 3);
	assert_true(entry_is(&e[0], 3));
	journal_advance(f.journal, f.c, 5);
	assert_int_equal(journal_read(f.journal, f.c, e, 8), 0);
	fixture_end(&f);
}

static void
safe_is_the_slowest(void **state)
{
	struct fixture f;
	static struct journal_cursor *all[JOURNAL_CURSORS_MAX];
	struct journal_cursor *slow, *over;

	fixture_begin(&f, 16);
	append(f.journal, 3);
	journal_advance(f.journal, f.c, 3);
	assert_int_equal(journal_safe_sequence(f.journal), 4);
	assert_int_equal(journal_subscribe(f.journal, &slow), 0);
	assert_int_equal(journal_passed(slow), 3);
	append(f.journal, 4);
	journal_advance(f.journal, f.c, 7);
	assert_int_equal(journal_safe_sequence(f.journal), 4);
	journal_unsubscribe(f.journal, slow);
	assert_int_equal(journal_safe_sequence(f.journal), 8);
	journal_unsubscribe(f.journal, f.c);
	append(f.journal, 1);
	assert_int_equal(journal_safe_sequence(f.journal), 9);
	for (unsigned i = 0; i < JOURNAL_CURSORS_MAX; i++)
		assert_int_equal(journal_subscribe(f.journal, &all[i]), 0);
	assert_int_equal(journal_subscribe(f.journal, &over), -ENOSPC);
	journal_unsubscribe(f.journal, all[100]);
	assert_int_equal(journal_subscribe(f.journal, &over), 0);
	fixture_end(&f);
}

static void
only_paced_ones_are_waited_for(void **state)
{
	struct journal_cursor *slow, *paced;
	struct fixture f;
	uint64_t at;

	fixture_begin(&f, 16);
	append(f.journal, 3);
	assert_int_equal(journal_lag(f.journal, &at), 0);
	assert_int_equal(at, 3);
	assert_int_equal(journal_subscribe(f.journal, &slow), 0);
	assert_int_equal(journal_subscribe(f.journal, &paced), 0);
	journal_set_paced(f.c);
	journal_set_paced(paced);
	append(f.journal, 5);
	assert_int_equal(journal_lag(f.journal, &at), 8);
	assert_int_equal(at, 0);
	journal_advance(f.journal, f.c, 7);
	assert_int_equal(journal_lag(f.journal, &at), 5);
	assert_int_equal(at, 3);
	journal_pin(paced); /* pinning is independent of the lag */
	journal_advance(f.journal, paced, 8);
	assert_int_equal(journal_passed(paced), 3);
	assert_int_equal(journal_lag(f.journal, &at), 1);
	journal_unsubscribe(f.journal, f.c);
	assert_int_equal(journal_lag(f.journal, &at), 0);
	journal_unsubscribe(f.journal, paced);
	/* the cursor's slot is reused by a consumer that is not paced */
	assert_int_equal(journal_subscribe(f.journal, &paced), 0);
	append(f.journal, 1);
	assert_int_equal(journal_lag(f.journal, &at), 0);
	fixture_end(&f);
}

static void
who_waits_for_paced_ones_is_woken_in_turn(void **state)
{
	struct fixture f;

	fixture_begin(&f, 16);
	journal_set_paced(f.c);
	append(f.journal, 4);
	assert_int_equal(journal_waiter(f.journal, 5), -1); /* no writer waits */
	for (unsigned w = 1; w <= 3; w++)
		journal_wait(f.journal, w, true);
	assert_int_equal(journal_waiter(f.journal, 4), -1); /* fewer entries are unread */
	assert_int_equal(journal_waiter(f.journal, 5), 1);
	assert_true(journal_waits(f.journal));
	journal_wait(f.journal, 1, true);
	assert_int_equal(journal_waiter(f.journal, 5), 2);
	assert_int_equal(journal_waiter(f.journal, 5), 3);
	journal_wait(f.journal, 0, true);
	assert_int_equal(journal_waiter(f.journal, 5), 0);
	journal_wait(f.journal, 1, false);
	assert_int_equal(journal_waiter(f.journal, 5), -1);
	fixture_end(&f);
}

static void
a_lapped_cursor_keeps_its_tombstones(void **state)
{
	struct fixture f;
	struct journal_entry e[32];

	fixture_begin(&f, 16);
	append(f.journal, 4);
	journal_advance(f.journal, f.c, 4);
	append(f.journal, 15);
	assert_int_equal(journal_read(f.journal, f.c, e, 32), 15);
	append(f.journal, 1);
	assert_int_equal(journal_read(f.journal, f.c, e, 32), -EOVERFLOW);
	journal_pin(f.c);
	assert_int_equal(journal_resume(f.journal, f.c), 4);
	assert_int_equal(journal_position(f.c), 20);
	assert_int_equal(journal_safe_sequence(f.journal), 5);
	append(f.journal, 2);
	assert_int_equal(journal_read(f.journal, f.c, e, 32), 2);
	assert_true(entry_is(&e[0], 21));
	journal_advance(f.journal, f.c, 22);
	assert_int_equal(journal_safe_sequence(f.journal), 5);
	journal_unpin(f.c);
	assert_int_equal(journal_safe_sequence(f.journal), 23);
	assert_int_equal(journal_passed(f.c), 22);
	fixture_end(&f);
}

/* ---- withdrawals ---- */

static struct dest_view
empty_since(uint64_t sequence)
{
	return (struct dest_view){.sequence = (uint32_t)sequence};
}

static void
withdrawals_wait_for_what_was_passed_over(void **state)
{
	struct fixture f;
	struct journal_entry e[8];
	struct dest_view v;

	fixture_begin(&f, 16);
	append(f.journal, 6);
	assert_int_equal(journal_read(f.journal, f.c, e, 5), 5);
	v = empty_since(1);
	assert_true(journal_may_withdraw(f.c, &e[0], &v));
	v = empty_since(5);
	assert_false(journal_may_withdraw(f.c, &e[1], &v)); /* skipped: withdrawn at 5 */
	assert_false(journal_settled(f.c));
	v = empty_since(3);
	assert_true(journal_entry_is_last(&e[2], &v));
	assert_false(journal_may_withdraw(f.c, &e[2], &v)); /* must wait */
	journal_advance(f.journal, f.c, 4);
	assert_int_equal(journal_passed(f.c), 2); /* the tombstone stays */
	assert_int_equal(journal_position(f.c), 4);
	v = empty_since(5);
	assert_true(journal_may_withdraw(f.c, &e[4], &v));
	journal_advance(f.journal, f.c, 5);
	/* reading restarts at the delayed entry, which may be withdrawn now */
	assert_int_equal(journal_read(f.journal, f.c, e, 8), 4);
	assert_true(entry_is(&e[0], 3));
	v = empty_since(9); /* also while another destination is skipped */
	assert_false(journal_may_withdraw(f.c, &e[1], &v));
	v = empty_since(3);
	assert_true(journal_may_withdraw(f.c, &e[0], &v));
	v = empty_since(6);
	assert_false(journal_may_withdraw(f.c, &e[3], &v));
	journal_advance(f.journal, f.c, 6);
	assert_int_equal(journal_passed(f.c), 5);
	append(f.journal, 3);
	assert_int_equal(journal_read(f.journal, f.c, e, 8), 3);
	journal_advance(f.journal, f.c, 9);
	assert_int_equal(journal_read(f.journal, f.c, e, 8), 4);
	assert_true(entry_is(&e[0], 6));
	fixture_end(&f);
}

/*
 * The head of a journal with several writers may appear older than the real head, so a new cursor
 * may stand before entries of destinations freed since: the ids may now belong to older
 * destinations. Such entries have no withdrawal, and set no horizon.
 */
static void
older_than_the_entry_is_no_horizon(void **state)
{
	struct fixture f;
	struct journal_entry e[8];
	struct dest_view v;

	fixture_begin(&f, 16);
	append(f.journal, 4);
	assert_int_equal(journal_read(f.journal, f.c, e, 8), 4);
	v = empty_since(2);
	assert_false(journal_may_withdraw(f.c, &e[2], &v));
	assert_true(journal_settled(f.c));
	v = empty_since(4);
	assert_true(journal_may_withdraw(f.c, &e[3], &v));
	fixture_end(&f);
}

/* Evaluated, but the consumer's batch was full: the entry counts as unread. */
static void
what_is_judged_and_not_done_comes_again(void **state)
{
	struct fixture f;
	struct journal_entry e[8];
	struct dest_view v;

	fixture_begin(&f, 16);
	append(f.journal, 4);
	assert_int_equal(journal_read(f.journal, f.c, e, 8), 4);
	v = empty_since(4);
	assert_false(journal_may_withdraw(f.c, &e[0], &v));
	v = empty_since(3);
	assert_false(journal_may_withdraw(f.c, &e[2], &v));
	journal_advance(f.journal, f.c, 1);
	assert_int_equal(journal_passed(f.c), 1);
	assert_int_equal(journal_read(f.journal, f.c, e, 8), 3);
	assert_true(entry_is(&e[0], 2));
	fixture_end(&f);
}

static void
walks_make_withdrawals_wait(void **state)
{
	struct fixture f;
	struct dest_view v;

	fixture_begin(&f, 16);
	append(f.journal, 5);
	journal_advance(f.journal, f.c, 3);
	v = empty_since(3);
	journal_passed_over(f.journal, f.c, &v);
	assert_true(journal_settled(f.c));
	v = empty_since(UINT32_MAX - 7); /* old, or impossibly far ahead */
	journal_passed_over(f.journal, f.c, &v);
	v = empty_since(7);
	journal_passed_over(f.journal, f.c, &v);
	assert_true(journal_settled(f.c));
	v = empty_since(6); /* published, not yet appended */
	journal_passed_over(f.journal, f.c, &v);
	assert_false(journal_settled(f.c));
	journal_advance(f.journal, f.c, 5);
	assert_false(journal_settled(f.c));
	append(f.journal, 1);
	journal_advance(f.journal, f.c, 6);
	assert_true(journal_settled(f.c));
	fixture_end(&f);
}

/* ---- a small ring, a fast writer ---- */

struct follower {
	struct journal *journal;
	struct journal_cursor *cursor;
	_Atomic bool *stop;
	uint64_t random, read, lapped, bad;
};

static void *
follow(void *arg)
{
	struct follower *f = arg;
	struct journal_entry e[64];
	bool last = false;

	for (;;) {
		uint64_t position = journal_position(f->cursor);
		int n = journal_read(f->journal, f->cursor, e, 1 + random_below(&f->random, 64));

		if (n == -EOVERFLOW) {
			f->lapped++;
			f->bad += journal_resume(f->journal, f->cursor) != position;
			journal_advance(f->journal, f->cursor, journal_position(f->cursor));
		} else if (n == 0) {
			if (last)
				return NULL;
			last = atomic_load_explicit(f->stop, memory_order_acquire);
			sched_yield();
		}
		for (int i = 0; i < n; i++)
			f->bad += !entry_is(&e[i], position + 1 + (unsigned)i);
		if (n > 0) {
			f->read += (unsigned)n;
			journal_advance(f->journal, f->cursor, e[n - 1].sequence);
		}
	}
}

static void
threads_read_whole_entries_or_none(void **state)
{
	struct fixture f;
	struct follower follower[3];
	pthread_t thread[3];
	_Atomic bool stop = false;

	fixture_begin(&f, 64);
	journal_unsubscribe(f.journal, f.c);
	for (unsigned i = 0; i < 3; i++) {
		follower[i] = (struct follower){.journal = f.journal, .stop = &stop, .random = i};
		assert_int_equal(journal_subscribe(f.journal, &follower[i].cursor), 0);
		assert_int_equal(pthread_create(&thread[i], NULL, follow, &follower[i]), 0);
	}
	for (unsigned n = 0; n < 30000; n++) {
		append(f.journal, 1 + n % 64);
		if (journal_safe_sequence(f.journal) > journal_head(f.journal) + 1)
			fail_msg("a cursor passed what was not written");
		if (n % 3 == 0)
			sched_yield();
	}
	/*
	 * A delayed follower may only have been lapped so far: after all have caught up, append a
	 * few entries that cannot lap a follower.
	 */
	for (unsigned i = 0; i < 3; i++) {
		while (journal_passed(follower[i].cursor) != journal_head(f.journal))
			sched_yield();
	}
	append(f.journal, 8);
	atomic_store_explicit(&stop, true, memory_order_release);
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(thread[i], NULL);
		print_message("follower: %llu read, lapped %llu times\n",
			(unsigned long long)follower[i].read,
			(unsigned long long)follower[i].lapped);
		assert_int_equal(follower[i].bad, 0);
		assert_true(follower[i].read >= 8);
	}
	assert_int_equal(journal_safe_sequence(f.journal), journal_head(f.journal) + 1);
	fixture_end(&f);
}

/*
 * The latest consumer with permission is evicted and holds no tombstones; a new consumer in its
 * slot is not affected.
 */
static void
test_eviction(void **state)
{
	struct journal_cursor *late, *kept, *next;
	struct journal_holder h;
	struct journal_entry e[8];
	struct fixture f;

	fixture_begin(&f, 16);
	assert_int_equal(journal_subscribe(f.journal, &late), 0);
	assert_int_equal(journal_subscribe(f.journal, &kept), 0);
	assert_false(journal_holder(f.journal, &h));
	append(f.journal, 5);
	journal_advance(f.journal, late, 1);
	journal_advance(f.journal, f.c, 3);
	journal_advance(f.journal, kept, 2);
	assert_true(journal_holder(f.journal, &h));
	assert_ptr_equal(h.cursor, late);
	assert_int_equal(h.passed, 1);
	assert_int_equal(h.patience, JOURNAL_BEAR);
	assert_false(journal_evict(f.journal, &h)); /* no consumer has permitted eviction */
	journal_set_patience(late, JOURNAL_EVICT);
	journal_set_patience(kept, JOURNAL_WAIT);
	assert_true(journal_holder(f.journal, &h));
	assert_false(journal_evicted(late));
	assert_true(journal_evict(f.journal, &h));
	assert_false(journal_evict(f.journal, &h)); /* only once */
	assert_true(journal_evicted(late));
	assert_int_equal(journal_read(f.journal, late, e, 8), -ESTALE);
	assert_int_equal(journal_safe_sequence(f.journal), 3);
	assert_true(journal_holder(f.journal, &h));
	assert_ptr_equal(h.cursor, kept);
	assert_int_equal(h.patience, JOURNAL_WAIT);
	assert_false(journal_evict(f.journal, &h));
	journal_advance(f.journal, late, 5); /* the consumer may not have noticed yet */
	assert_int_equal(journal_safe_sequence(f.journal), 3);
	assert_int_equal(journal_read(f.journal, late, e, 8), -ESTALE);
	journal_unsubscribe(f.journal, late);
	assert_int_equal(journal_subscribe(f.journal, &next), 0);
	assert_ptr_equal(next, late);
	assert_int_equal(journal_read(f.journal, next, e, 8), 0);
	/* a holder found earlier: evicted, and its slot reused */
	journal_set_patience(next, JOURNAL_EVICT);
	append(f.journal, 2);
	journal_advance(f.journal, kept, 7);
	journal_advance(f.journal, f.c, 7);
	assert_true(journal_holder(f.journal, &h));
	assert_ptr_equal(h.cursor, next);
	journal_unsubscribe(f.journal, next);
	assert_int_equal(journal_subscribe(f.journal, &late), 0);
	assert_ptr_equal(next, late);
	assert_false(journal_evict(f.journal, &h));
	append(f.journal, 1);
	assert_int_equal(journal_read(f.journal, late, e, 8), 1);
	fixture_end(&f);
}

/* ---- consumers that subscribe, stall and leave beside the writer ---- */

#define EVICT_LAG 1000u

struct crowd {
	struct journal *journal;
	_Atomic bool stop;
	_Atomic uint64_t stale, wrong;
};

/* One life of a consumer: reads for a while, then stalls until evicted, or leaves. */
static void
consumer_life(struct crowd *c, uint64_t *random)
{
	unsigned reads = random_below(random, 50);
	bool stays = random_below(random, 2) == 0;
	struct journal_cursor *cursor;
	struct journal_entry e[16];

	if (journal_subscribe(c->journal, &cursor) != 0)
		return;
	journal_set_patience(cursor, JOURNAL_EVICT);
	for (unsigned i = 0; i < reads || stays; i++) {
		int n = journal_read(c->journal, cursor, e, 16);

		if (n == -ESTALE) {
			/*
			 * evicted only after a large lag, and never in place of the slot's previous
			 * owner
			 */
			if (journal_head(c->journal) - journal_passed(cursor) < EVICT_LAG)
				atomic_fetch_add(&c->wrong, 1);
			atomic_fetch_add(&c->stale, 1);
			break;
		}
		if (atomic_load(&c->stop))
			break;
		if (n > 0 && i < reads)
			journal_advance(c->journal, cursor, e[n - 1].sequence);
		if (n <= 0 || i >= reads)
			sched_yield();
	}
	journal_unsubscribe(c->journal, cursor);
}

static void *
consumer_main(void *arg)
{
	struct crowd *c = arg;
	uint64_t random = (uint64_t)(uintptr_t)&random;

	while (!atomic_load(&c->stop))
		consumer_life(c, &random);
	return NULL;
}

static void
test_eviction_beside_consumers(void **state)
{
	struct crowd c = {0};
	pthread_t thread[4];
	uint64_t evicted = 0;
	struct fixture f;

	fixture_begin(&f, 1u << 14);
	journal_unsubscribe(f.journal, f.c);
	c.journal = f.journal;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, consumer_main, &c), 0);
	for (unsigned n = 0; evicted < 300 && n < 5000000; n++) {
		struct journal_holder h;

		append(f.journal, 1);
		if (n % 64 == 0)
			sched_yield();
		if (!journal_holder(f.journal, &h) ||
			journal_head(f.journal) - h.passed < EVICT_LAG)
			continue;
		evicted += journal_evict(f.journal, &h);
	}
	atomic_store(&c.stop, true);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	assert_true(evicted > 0);
	assert_int_equal(c.wrong, 0);
	assert_true(c.stale > 0 && c.stale <= evicted);
	assert_int_equal(journal_safe_sequence(f.journal), journal_head(f.journal) + 1);
	fixture_end(&f);
}

/* ---- consumers of one table ---- */

#define RED ((struct table_id){1})
#define BLUE ((struct table_id){2})

static void
append_of(struct journal *j, struct table_id table, unsigned n)
{
	while (n-- > 0)
		journal_append(j, table, (struct dest_id){n});
}

static void
entries_of_other_tables_are_passed(void **state)
{
	struct journal_entry e;
	struct dest_view v = {.paths = NULL};
	struct fixture f;

	fixture_begin(&f, 64);
	assert_false(journal_pass(f.journal, f.c, RED, UINT64_MAX));
	append_of(f.journal, BLUE, 10);
	assert_false(journal_pass(f.journal, f.c, BLUE, UINT64_MAX));
	assert_true(journal_pass(f.journal, f.c, RED, 4));
	assert_int_equal(journal_position(f.c), 4);
	assert_int_equal(journal_passed(f.c), 4);
	assert_false(journal_pass(f.journal, f.c, RED, 4));
	assert_true(journal_pass(f.journal, f.c, RED, UINT64_MAX));
	assert_int_equal(journal_position(f.c), 10);
	/* an entry of the table ends the pass, also behind others, until the entry is read */
	append_of(f.journal, BLUE, 5);
	append_of(f.journal, RED, 1);
	append_of(f.journal, BLUE, 5);
	assert_false(journal_pass(f.journal, f.c, RED, UINT64_MAX));
	assert_false(journal_pass(f.journal, f.c, RED, 12));
	journal_advance(f.journal, f.c, 16);
	assert_true(journal_pass(f.journal, f.c, RED, UINT64_MAX));
	/* a withdrawal that waits comes again */
	append_of(f.journal, RED, 1);
	assert_int_equal(journal_read(f.journal, f.c, &e, 1), 1);
	v.sequence = 24; /* the destination has changed again since */
	assert_false(journal_may_withdraw(f.c, &e, &v));
	journal_advance(f.journal, f.c, e.sequence);
	append_of(f.journal, RED, 1);
	assert_int_equal(journal_read(f.journal, f.c, &e, 1), 1);
	v.sequence = (uint32_t)e.sequence;
	assert_false(journal_may_withdraw(f.c, &e, &v));
	journal_advance(f.journal, f.c, e.sequence);
	append_of(f.journal, BLUE, 1);
	assert_true(journal_pass(f.journal, f.c, RED, UINT64_MAX));
	assert_int_equal(journal_position(f.c), 22); /* before the entry at 23 */
	assert_int_equal(journal_passed(f.c), 22);
	assert_int_equal(journal_read(f.journal, f.c, &e, 1), 1);
	assert_int_equal(e.table.v, RED.v);
	assert_true(journal_may_withdraw(f.c, &e, &v));
	assert_int_equal(journal_newest_of(f.journal, RED), 23);
	assert_int_equal(journal_newest_of(f.journal, BLUE), 24);
	/* a lap of other tables' entries loses nothing */
	journal_advance(f.journal, f.c, journal_head(f.journal));
	append_of(f.journal, BLUE, 200);
	assert_int_equal(journal_read(f.journal, f.c, &e, 1), -EOVERFLOW);
	assert_true(journal_pass(f.journal, f.c, RED, UINT64_MAX));
	assert_int_equal(journal_read(f.journal, f.c, &e, 1), 0);
	journal_unsubscribe(f.journal, f.c);
	fixture_end(&f);
}

/* An entry of any writer ends the pass. */
static void
entries_of_each_writer_end_a_pass(void **state)
{
	struct journal_cursor *c;
	struct rib_test base;
	struct journal *j;

	rib_test_begin(&base);
	assert_int_equal(journal_create_shared(base.arena, 64, 3, &j), 0);
	assert_int_equal(journal_subscribe(j, &c), 0);
	for (unsigned writer = 0; writer < 3; writer++) {
		uint64_t sequence = journal_reserve(j, writer);

		journal_commit(j, writer, sequence, RED, (struct dest_id){1}, 0);
		assert_false(journal_pass(j, c, BLUE, sequence - 1));
		assert_false(journal_pass(j, c, RED, UINT64_MAX));
		assert_true(journal_pass(j, c, BLUE, UINT64_MAX));
		assert_int_equal(journal_position(c), sequence);
		assert_int_equal(journal_newest_of(j, RED), sequence);
		assert_int_equal(journal_newest_of(j, BLUE), 0);
	}
	journal_unsubscribe(j, c);
	journal_destroy(j);
	rib_test_end(&base);
}

/* ---- several writers, each on its own thread ---- */

#define WRITERS 3u
#define WRITES 100000u

static struct shared {
	struct journal *journal;
	_Atomic uint32_t published[WRITERS]; /* by writer: stored before the entry is appended */
	_Atomic unsigned done;
} shared;

static void *
write_shared(void *arg)
{
	unsigned writer = (unsigned)(uintptr_t)arg;

	role_enter_rib();
	for (uint32_t i = 1; i <= WRITES; i++) {
		uint64_t sequence = journal_reserve(shared.journal, writer);

		atomic_store_explicit(&shared.published[writer], i, memory_order_relaxed);
		journal_commit(shared.journal, writer, sequence,
			(struct table_id){(uint16_t)writer}, (struct dest_id){i}, i % 3 == 0);
		if (writer == 0 && i % 4 == 0)
			journal_tidy(shared.journal);
	}
	atomic_fetch_add_explicit(&shared.done, 1, memory_order_release);
	return NULL;
}

#define RARE 300u /* every RARE entry of a writer is of RED, and the last is not */

static void *
write_rarely(void *arg)
{
	unsigned writer = (unsigned)(uintptr_t)arg;

	role_enter_rib();
	for (uint32_t i = 1; i <= WRITES; i++) {
		uint64_t sequence = journal_reserve(shared.journal, writer);

		journal_commit(shared.journal, writer, sequence, i % RARE == 0 ? RED : BLUE,
			(struct dest_id){i}, 0);
	}
	atomic_fetch_add_explicit(&shared.done, 1, memory_order_release);
	return NULL;
}

/* A consumer of RED passes the other entries and misses no entry of RED. */
static void
several_write_and_one_passes(void **state)
{
	struct rib_test base;
	struct journal_cursor *c;
	struct journal_entry e[8];
	pthread_t thread[WRITERS];
	uint32_t last[WRITERS] = {0};
	unsigned passes = 0;
	bool done;

	rib_test_begin(&base);
	memset(&shared, 0, sizeof(shared));
	assert_int_equal(journal_create_shared(base.arena, 1u << 19, WRITERS, &shared.journal), 0);
	assert_int_equal(journal_subscribe(shared.journal, &c), 0);
	for (uintptr_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, write_rarely, (void *)i), 0);
	do {
		int n;

		done = atomic_load_explicit(&shared.done, memory_order_acquire) == WRITERS;
		for (;;) {
			passes += journal_pass(shared.journal, c, RED, UINT64_MAX);
			n = journal_read(shared.journal, c, e, 8);
			assert_true(n >= 0);
			if (n == 0)
				break;
			for (int i = 0; i < n; i++) {
				if (e[i].table.v != RED.v)
					continue;
				assert_int_equal(e[i].dest.v, last[e[i].shard] + RARE);
				last[e[i].shard] = e[i].dest.v;
			}
			journal_advance(shared.journal, c, e[n - 1].sequence);
		}
	} while (!done);
	for (unsigned i = 0; i < WRITERS; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(last[i], WRITES / RARE * RARE);
	}
	assert_true(passes > 0);
	journal_unsubscribe(shared.journal, c);
	journal_destroy(shared.journal);
	rib_test_end(&base);
}

/*
 * Every entry is read once, in the order of its writer, and never before its destination is
 * published. After a lap, reading continues at the head. The first writer gives memory back.
 */
static void
several_write_to(uint32_t capacity)
{
	struct rib_test base;
	struct journal_cursor *c;
	struct journal_entry e[64];
	pthread_t thread[WRITERS];
	uint32_t last[WRITERS] = {0};
	uint64_t read = 0, lost = 0;
	bool done;

	rib_test_begin(&base);
	memset(&shared, 0, sizeof(shared));
	assert_int_equal(journal_create_shared(base.arena, capacity, WRITERS, &shared.journal), 0);
	assert_int_equal(journal_subscribe(shared.journal, &c), 0);
	for (uintptr_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, write_shared, (void *)i), 0);
	do {
		int n;

		done = atomic_load_explicit(&shared.done, memory_order_acquire) == WRITERS;
		while ((n = journal_read(shared.journal, c, e, 64)) != 0) {
			if (n == -EOVERFLOW) {
				uint64_t before = journal_position(c);

				journal_resume(shared.journal, c);
				lost += journal_position(c) - before;
				continue;
			}
			for (int i = 0; i < n; i++) {
				assert_int_equal(e[i].table.v, e[i].shard);
				assert_int_equal(e[i].aside, e[i].dest.v % 3 == 0);
				assert_true(e[i].dest.v > last[e[i].shard]);
				assert_true(e[i].dest.v <=
					    atomic_load_explicit(&shared.published[e[i].shard],
						    memory_order_relaxed));
				last[e[i].shard] = e[i].dest.v;
			}
			read += (uint64_t)n;
			journal_advance(shared.journal, c, e[n - 1].sequence);
		}
		sched_yield();
	} while (!done);
	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	print_message("%llu read, %llu lost to laps\n", (unsigned long long)read,
		(unsigned long long)lost);
	assert_int_equal(read + lost, WRITERS * WRITES);
	assert_true(lost == 0 || capacity < WRITERS * WRITES);
	assert_int_equal(journal_head(shared.journal), WRITERS * WRITES);
	journal_unsubscribe(shared.journal, c);
	journal_destroy(shared.journal);
	rib_test_end(&base);
}

static void
several_write(void **state)
{
	several_write_to(1u << 19);
	several_write_to(1024); /* two pages; writers wait for journal_tidy() */
	several_write_to(256); /* writers wait for each other */
}

#define TIDY_CAPACITY 8192u /* 16 pages */
#define TIDY_FIRST 4096u /* entries that every consumer has read */
#define TIDY_ROOM (TIDY_CAPACITY / 16) /* entries that may be written during journal_tidy() */
#define TIDY_QUIET_MS 100

static struct {
	struct journal *journal;
	_Atomic bool armed; /* the next return of memory waits for the writer */
	_Atomic unsigned committed;
} tidying;

/*
 * In place of the C library's: memory that journal_tidy() returns is gone only when the writer has
 * come to a stop.
 */
int
madvise(void *p, size_t size, int advice)
{
	if (advice == MADV_DONTNEED && atomic_exchange(&tidying.armed, false)) {
		unsigned seen = 0;

		for (unsigned quiet = 0; quiet < TIDY_QUIET_MS; quiet++) {
			unsigned now = atomic_load(&tidying.committed);

			if (now != seen || now < TIDY_ROOM - 1)
				quiet = 0;
			seen = now;
			poll(NULL, 0, 1);
		}
	}
	return (int)syscall(SYS_madvise, p, size, advice);
}

static void *
write_during_tidy(void *arg)
{
	(void)arg;
	role_enter_rib();
	while (atomic_load(&tidying.armed))
		sched_yield();
	for (uint64_t i = 1; i < TIDY_CAPACITY; i++) {
		uint64_t sequence = journal_reserve(tidying.journal, 1);

		journal_commit(
			tidying.journal, 1, sequence, table_of(sequence), dest_of(sequence), 0);
		atomic_store(&tidying.committed, (unsigned)i);
	}
	return NULL;
}

/* A writer waits while memory of the journal is returned: entries in this memory would be lost. */
static void
writer_waits_for_tidy(void **state)
{
	struct rib_test base;
	struct journal_cursor *c;
	struct journal_entry e[64];
	pthread_t thread;
	int n;

	(void)state;
	role_enter_rib();
	rib_test_begin(&base);
	assert_int_equal(journal_create_shared(base.arena, TIDY_CAPACITY, 2, &tidying.journal), 0);
	assert_int_equal(journal_subscribe(tidying.journal, &c), 0);
	for (uint64_t i = 1; i <= TIDY_FIRST; i++)
		journal_commit(tidying.journal, 0, journal_reserve(tidying.journal, 0), table_of(i),
			dest_of(i), 0);
	journal_advance(tidying.journal, c, TIDY_FIRST);
	atomic_store(&tidying.armed, true);
	assert_int_equal(pthread_create(&thread, NULL, write_during_tidy, NULL), 0);
	journal_tidy(tidying.journal);
	assert_false(tidying.armed);
	assert_int_equal(pthread_join(thread, NULL), 0);
	for (uint64_t at = TIDY_FIRST; at < TIDY_FIRST + TIDY_CAPACITY - 1; at += (unsigned)n) {
		n = journal_read(tidying.journal, c, e, 64);
		assert_true(n > 0);
		for (int i = 0; i < n; i++)
			assert_true(entry_is(&e[i], at + 1 + (unsigned)i));
		journal_advance(tidying.journal, c, e[n - 1].sequence);
	}
	journal_unsubscribe(tidying.journal, c);
	journal_destroy(tidying.journal);
	rib_test_end(&base);
}

/* Live entries are found behind bulk entries, each once, in order; the position stays. */
static void
live_entries(void **state)
{
	struct rib_test base;
	struct journal *j;
	struct journal_cursor *c;
	struct journal_entry e[8];
	uint64_t from = 0;

	rib_test_begin(&base);
	assert_int_equal(journal_create(base.arena, 64, &j), 0);
	assert_int_equal(journal_subscribe(j, &c), 0);
	assert_int_equal(journal_read_live(j, &from, e, 8), 0);
	assert_int_equal(journal_bulk(j), 0);
	for (uint32_t i = 1; i <= 20; i++) {
		unsigned flags = i % 5 != 0 ? JOURNAL_BULK : i == 15 ? JOURNAL_ASIDE : 0;

		journal_commit(j, 0, journal_reserve(j, 0), (struct table_id){3},
			(struct dest_id){i}, flags);
	}
	assert_int_equal(journal_bulk(j), 19);
	assert_int_equal(journal_read_live(j, &from, e, 2), 2);
	assert_true(e[0].sequence == 5 && e[0].dest.v == 5 && e[0].table.v == 3 && !e[0].bulk);
	assert_true(e[1].sequence == 10 && from == 10);
	assert_int_equal(journal_read_live(j, &from, e, 8), 1);
	assert_true(e[0].sequence == 20 && from == 20);
	assert_int_equal(journal_read_live(j, &from, e, 8), 0);
	assert_int_equal(journal_position(c), 0);
	assert_int_equal(journal_read(j, c, e, 8), 8);
	assert_true(e[3].bulk && !e[4].bulk && !e[4].aside);
	for (uint32_t i = 0; i < 64; i++)
		journal_append(j, (struct table_id){3}, (struct dest_id){i});
	from = 0;
	assert_int_equal(journal_read_live(j, &from, e, 8), -EOVERFLOW);
	journal_unsubscribe(j, c);
	journal_destroy(j);
	rib_test_end(&base);
}

/*
 * A writer with a reserved slot and no entry yet holds back the head for all writers; a new cursor
 * misses no entry.
 */
static void
one_is_slow(void **state)
{
	struct rib_test base;
	struct journal *j;
	struct journal_cursor *c;
	struct journal_entry e[8];
	uint64_t slow, fast;

	rib_test_begin(&base);
	assert_int_equal(journal_create_shared(base.arena, 64, 2, &j), 0);
	slow = journal_reserve(j, 0);
	fast = journal_reserve(j, 1);
	assert_int_equal(fast, slow + 1);
	assert_true(journal_newest(j) >= fast);
	journal_commit(j, 1, fast, (struct table_id){5}, (struct dest_id){7}, true);
	assert_int_equal(journal_head(j), slow - 1);
	assert_int_equal(journal_subscribe(j, &c), 0);
	assert_int_equal(journal_read(j, c, e, 8), 0);
	assert_int_equal(journal_safe_sequence(j), slow);
	journal_commit(j, 0, slow, (struct table_id){4}, (struct dest_id){6}, false);
	assert_int_equal(journal_read(j, c, e, 8), 2);
	assert_true(
		e[0].sequence == slow && e[0].shard == 0 && e[0].table.v == 4 && e[0].dest.v == 6);
	assert_true(!e[0].aside && e[1].aside);
	assert_true(
		e[1].sequence == fast && e[1].shard == 1 && e[1].table.v == 5 && e[1].dest.v == 7);
	assert_int_equal(journal_head(j), fast);
	journal_destroy(j);
	assert_int_equal(journal_create_shared(base.arena, 64, 0, &j), -EINVAL);
	assert_int_equal(
		journal_create_shared(base.arena, 64, JOURNAL_WRITERS_MAX + 1, &j), -EINVAL);
	rib_test_end(&base);
}

/*
 * Whenever memory of the journal is freed, each consumer reads all appended entries or gets
 * -ESTALE.
 */
static void
what_is_given_back_nobody_asks_for(void **state)
{
	struct journal_cursor *slow;
	struct journal_entry e[300];
	uint64_t random = 9, overflows = 0;
	struct fixture f;

	fixture_begin(&f, 8192);
	assert_int_equal(journal_subscribe(f.journal, &slow), 0);
	for (unsigned i = 0; i < 20000; i++) {
		struct journal_cursor *c = random_below(&random, 16) == 0 ? slow : f.c;
		int n;

		append(f.journal, random_below(&random, 200));
		if (random_below(&random, 4) == 0)
			journal_tidy(f.journal);
		while ((n = journal_read(f.journal, c, e, 1 + random_below(&random, 300))) > 0) {
			for (int k = 0; k < n; k++)
				assert_true(entry_is(&e[k], e[0].sequence + (unsigned)k));
			journal_advance(f.journal, c, e[n - 1].sequence);
			if (random_below(&random, 8) == 0)
				break;
		}
		if (n == -EOVERFLOW) {
			overflows++;
			journal_resume(f.journal, c);
			journal_advance(f.journal, c, journal_head(f.journal));
		}
	}
	assert_true(overflows > 0);
	journal_unsubscribe(f.journal, slow);
	fixture_end(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(several_write),
		cmocka_unit_test(several_write_and_one_passes),
		cmocka_unit_test(entries_of_other_tables_are_passed),
		cmocka_unit_test(entries_of_each_writer_end_a_pass),
		cmocka_unit_test(writer_waits_for_tidy),
		cmocka_unit_test(live_entries),
		cmocka_unit_test(one_is_slow),
		cmocka_unit_test(what_is_given_back_nobody_asks_for),
		cmocka_unit_test(entries_come_in_order),
		cmocka_unit_test(safe_is_the_slowest),
		cmocka_unit_test(only_paced_ones_are_waited_for),
		cmocka_unit_test(who_waits_for_paced_ones_is_woken_in_turn),
		cmocka_unit_test(a_lapped_cursor_keeps_its_tombstones),
		cmocka_unit_test(withdrawals_wait_for_what_was_passed_over),
		cmocka_unit_test(what_is_judged_and_not_done_comes_again),
		cmocka_unit_test(older_than_the_entry_is_no_horizon),
		cmocka_unit_test(walks_make_withdrawals_wait),
		cmocka_unit_test(test_eviction),
		cmocka_unit_test(test_eviction_beside_consumers),
		cmocka_unit_test(threads_read_whole_entries_or_none),
	};

	role_enter_rib();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
