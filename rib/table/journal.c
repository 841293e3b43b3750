/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/journal.h"

#include "lpm/base/arena.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

enum cursor_state { CURSOR_FREE, CURSOR_JOINING, CURSOR_USED, CURSOR_EVICTED };
#define STATE_MASK 3u
#define STATE_GENERATION 4u /* counts subscribers, so that a stale holder evicts no new one */

/*
 * One cache line per consumer. Other threads read `passed`, `state`, `patience`, `paced` and `read`
 * alone.
 */
struct journal_cursor {
	alignas(CACHE_LINE) _Atomic uint64_t passed;
	_Atomic uint32_t state;
	_Atomic uint8_t patience; /* enum journal_patience */
	_Atomic bool paced;
	bool pinned;
	_Atomic uint64_t read; /* `position`, for the writer */
	uint64_t position; /* journal_read() continues after this sequence */
	uint64_t horizon; /* withdrawals wait until the position reaches the horizon */
	uint64_t held; /* the first entry with a waiting withdrawal; 0: none waits */
	/* entries up to here are read a second time, and their withdrawals no longer wait */
	uint64_t replay;
};
static_assert(sizeof(struct journal_cursor) == CACHE_LINE, "a consumer's own line");

#define CHUNK_CURSORS 256u

#define PAGE_BYTES 4096u
#define PAGE_ENTRIES (PAGE_BYTES / sizeof(uint64_t))

/*
 * State of one of several writers. No sequence from `from` on is an entry of this writer yet; 0:
 * nothing reserved.
 */
struct journal_writer {
	alignas(CACHE_LINE) _Atomic uint64_t from;
	uint64_t seen; /* writer: a head seen earlier */
};

/*
 * Newest sequence of the entries of a writer, by the low bits of the table. Tables with equal bits
 * are told apart by their entries.
 */
#define NEWEST_TABLES 4096u
struct newest {
	_Atomic uint64_t sequence[NEWEST_TABLES];
};

/*
 * Of an entry's 8 bytes: destination in the low half, then the table, then the writer, the flags at
 * the top. The sequence is the place in the ring.
 */
#define FLAGS_SHIFT 62
#define FLAG(f) ((uint64_t)(f) << FLAGS_SHIFT)
struct journal {
	struct arena *arena;
	_Atomic uint64_t *ring;
	uint64_t mask;
	uint64_t given_back; /* of the first writer: up to here */
	unsigned writer_count;
	struct journal_writer writer[JOURNAL_WRITERS_MAX]; /* with more than one writer */
	struct newest *newest; /* of each writer */
	/*
	 * newest sequence, 0 before the first; with several writers the newest reserved sequence,
	 * written or not
	 */
	alignas(CACHE_LINE) _Atomic uint64_t head;
	_Atomic uint64_t bulk; /* newest bulk entry */
	/* several writers: entries from this sequence on wait for the end of journal_tidy() */
	_Atomic uint64_t limit;
	alignas(CACHE_LINE) _Atomic uint32_t cursor_end; /* slots at and above were never used */
	_Atomic uint32_t waiting; /* bitmap of writers that wait for paced consumers */
	_Atomic uint32_t pressed; /* bitmap of writers with accumulated tombstones */
	unsigned waiter; /* consumers' thread: the writer woken last */
	_Atomic uint32_t cursor_free; /* a hint: slots below are in use */
	/* allocated when the first of a chunk is used, until the end */
	_Atomic(struct journal_cursor *) chunk[JOURNAL_CURSORS_MAX / CHUNK_CURSORS];
};

int
journal_create(struct arena *a, uint32_t capacity, struct journal **out)
{
	return journal_create_shared(a, capacity, 1, out);
}

int
journal_create_shared(struct arena *a, uint32_t capacity, unsigned writers, struct journal **out)
{
	struct journal *j;
	uint64_t size = 2;

	if (writers == 0 || writers > JOURNAL_WRITERS_MAX)
		return -EINVAL;
	j = arena_alloc_aligned(a, CACHE_LINE, sizeof(*j));
	if (j == NULL)
		return -ENOMEM;
	memset(j, 0, sizeof(*j));
	while (size < capacity)
		size *= 2;
	j->arena = a;
	j->mask = size - 1;
	j->writer_count = writers;
	atomic_init(&j->limit, UINT64_MAX);
	/*
	 * not cleared: entries are read after the append alone, and unused pages are never touched
	 */
	j->ring = arena_alloc_aligned(a, PAGE_BYTES, size * sizeof(*j->ring));
	j->newest = arena_calloc(a, writers * sizeof(*j->newest));
	if (j->ring == NULL || j->newest == NULL) {
		arena_free(a, j->ring);
		arena_free(a, j->newest);
		arena_free(a, j);
		return -ENOMEM;
	}
	*out = j;
	return 0;
}

void
journal_destroy(struct journal *j)
{
	if (j == NULL)
		return;
	for (unsigned i = 0; i < JOURNAL_CURSORS_MAX / CHUNK_CURSORS; i++)
		arena_free(j->arena, atomic_load_explicit(&j->chunk[i], memory_order_relaxed));
	arena_free(j->arena, j->ring);
	arena_free(j->arena, j->newest);
	arena_free(j->arena, j);
}

uint64_t
journal_capacity(const struct journal *j)
{
	return j->mask + 1;
}

unsigned
journal_writers(const struct journal *j)
{
	return j->writer_count;
}

uint64_t
journal_next_sequence(const struct journal *j)
{
	return atomic_load_explicit(&j->head, memory_order_relaxed) + 1;
}

static void
append(struct journal *j, uint64_t entry) RUNS_ON(role_rib)
{
	uint64_t sequence = journal_next_sequence(j);

	/*
	 * release: pairs with the load in journal_read: a reader of this entry also sees a head of
	 * at least sequence - 1
	 */
	atomic_store_explicit(&j->ring[sequence & j->mask], entry, memory_order_release);
	/* release: pairs with the load in shared_head; the destination was published before */
	atomic_store_explicit(&j->head, sequence, memory_order_release);
}

/* Before the entry is written. */
static void
newest_set(struct journal *j, unsigned writer, struct table_id table, uint64_t sequence)
{
	/* relaxed: the release of the entry's head follows; pairs with the load in shared_head */
	atomic_store_explicit(&j->newest[writer].sequence[table.v % NEWEST_TABLES], sequence,
		memory_order_relaxed);
}

void
journal_append(struct journal *j, struct table_id table, struct dest_id dest)
{
	newest_set(j, 0, table, journal_next_sequence(j));
	append(j, (uint64_t)table.v << 32 | dest.v);
}

/* ---- several writers ---- */

/*
 * `from` is set to a lower bound before the sequence is reserved. A thread that sees the sequence
 * reserved also sees `from`, and therefore no head beyond the sequence.
 */
static uint64_t
shared_reserve(struct journal *j, struct journal_writer *w)
{
	uint64_t from = atomic_load_explicit(&j->head, memory_order_relaxed) + 1, sequence;

	/*
	 * release: pairs with the load in shared_head; earlier reservations of this writer are
	 * entries
	 */
	atomic_store_explicit(&w->from, from, memory_order_release);
	/*
	 * release: pairs with the load in shared_head; acquire: orders the entries that this writer
	 * has seen before the reservation
	 */
	sequence = atomic_fetch_add_explicit(&j->head, 1, memory_order_acq_rel) + 1;
	atomic_store_explicit(&w->from, sequence, memory_order_release);
	return sequence;
}

static uint64_t
shared_head(const struct journal *j)
{
	/*
	 * acquire: pairs with the release in shared_reserve: writers of sequences up to here have
	 * set `from`
	 */
	uint64_t head = atomic_load_explicit(&j->head, memory_order_acquire);

	for (unsigned i = 0; i < j->writer_count; i++) {
		/* acquire: pairs with the releases in shared_reserve and shared_commit */
		uint64_t from = atomic_load_explicit(&j->writer[i].from, memory_order_acquire);

		if (from != 0 && from <= head)
			head = from - 1;
	}
	return head;
}

static void
shared_commit(struct journal *j, struct journal_writer *w, uint64_t sequence, uint64_t entry)
{
	/*
	 * A writer that is delayed between reserve and commit must not overwrite this entry a lap
	 * later, so wait for that writer.
	 */
	while (sequence > w->seen + j->mask) {
		w->seen = shared_head(j);
		if (sequence > w->seen + j->mask)
			sched_yield();
	}
	/* acquire: pairs with the release in tidy_end; tidy_begin describes the first load */
	while (sequence >= atomic_load_explicit(&j->limit, memory_order_acquire))
		sched_yield();
	/*
	 * release: pairs with the load in journal_read: a reader of this entry also sees a head of
	 * at least sequence
	 */
	atomic_store_explicit(&j->ring[sequence & j->mask], entry, memory_order_release);
	/* release: pairs with the load in shared_head; the destination was published before */
	atomic_store_explicit(&w->from, 0, memory_order_release);
}

uint64_t
journal_reserve(struct journal *j, unsigned writer)
{
	return j->writer_count == 1 ? journal_next_sequence(j)
				    : shared_reserve(j, &j->writer[writer]);
}

void
journal_commit(struct journal *j, unsigned writer, uint64_t sequence, struct table_id table,
	struct dest_id dest, unsigned flags)
{
	uint64_t entry = FLAG(flags) | (uint64_t)writer << 48 | (uint64_t)table.v << 32 | dest.v;

	/* relaxed: a reader that misses this entry sees the next */
	if (flags & JOURNAL_BULK)
		atomic_store_explicit(&j->bulk, sequence, memory_order_relaxed);

	newest_set(j, writer, table, sequence);
	if (j->writer_count == 1)
		append(j, entry);
	else
		shared_commit(j, &j->writer[writer], sequence, entry);
}

/* ---- cursors ---- */

/* Of a slot below `cursor_end`, or after chunk_reserve(). */
static struct journal_cursor *
cursor_at(const struct journal *j, uint32_t i)
{
	/* acquire: pairs with the release in chunk_reserve */
	return &atomic_load_explicit(
		&j->chunk[i / CHUNK_CURSORS], memory_order_acquire)[i % CHUNK_CURSORS];
}

/* The cursors of a new chunk are free. False: no memory. */
static bool
chunk_reserve(struct journal *j, uint32_t i)
{
	_Atomic(struct journal_cursor *) *at = &j->chunk[i / CHUNK_CURSORS];
	struct journal_cursor *chunk, *none = NULL;

	if (atomic_load_explicit(at, memory_order_acquire) != NULL)
		return true;
	chunk = arena_alloc_aligned(j->arena, CACHE_LINE, CHUNK_CURSORS * sizeof(*chunk));
	if (chunk == NULL)
		return false;
	memset(chunk, 0, CHUNK_CURSORS * sizeof(*chunk));
	/* release: pairs with the load in cursor_at */
	if (!atomic_compare_exchange_strong_explicit(
		    at, &none, chunk, memory_order_acq_rel, memory_order_acquire))
		arena_free(j->arena, chunk); /* another thread was first */
	return true;
}

static uint32_t
cursor_state(const struct journal_cursor *c)
{
	return atomic_load_explicit(&c->state, memory_order_acquire);
}

bool
journal_holder(const struct journal *j, struct journal_holder *out)
{
	/* acquire: pairs with the release in cursor_end_raise */
	uint32_t end = atomic_load_explicit(&j->cursor_end, memory_order_acquire);

	*out = (struct journal_holder){.passed = journal_head(j)};
	for (uint32_t i = 0; i < end; i++) {
		const struct journal_cursor *c = cursor_at(j, i);
		uint32_t state = cursor_state(c);
		uint64_t passed;

		if ((state & STATE_MASK) == CURSOR_FREE || (state & STATE_MASK) == CURSOR_EVICTED)
			continue;
		passed = journal_passed(c);
		if (passed >= out->passed)
			continue;
		*out = (struct journal_holder){
			.cursor = (struct journal_cursor *)(uintptr_t)c,
			.passed = passed,
			.state = state,
			.patience = atomic_load_explicit(&c->patience, memory_order_relaxed),
		};
		if ((state & STATE_MASK) == CURSOR_JOINING)
			out->cursor = NULL;
	}
	return out->passed < journal_head(j);
}

uint64_t
journal_safe_sequence(const struct journal *j)
{
	uint64_t head = journal_head(j);
	/* acquire: pairs with the release in cursor_end_raise */
	uint32_t end = atomic_load_explicit(&j->cursor_end, memory_order_acquire);
	uint64_t safe = head + 1;

	for (uint32_t i = 0; i < end; i++) {
		const struct journal_cursor *c = cursor_at(j, i);
		uint32_t state = cursor_state(c) & STATE_MASK;

		if (state == CURSOR_FREE || state == CURSOR_EVICTED)
			continue;
		uint64_t next = journal_passed(c) + 1;
		if (next < safe)
			safe = next;
	}
	return safe;
}

/* Of the capacity: room between the head and the pages that journal_tidy() gives back. */
#define TIDY_ROOM 16u

/*
 * No entry from the returned sequence on is written before tidy_end(). Entries below may be written
 * meanwhile.
 */
static uint64_t
tidy_begin(struct journal *j)
{
	uint64_t limit, head;

	if (j->writer_count == 1)
		return journal_head(j) + 1;
	limit = atomic_load_explicit(&j->head, memory_order_relaxed) + (j->mask + 1) / TIDY_ROOM;
	atomic_store_explicit(&j->limit, limit, memory_order_relaxed);
	/*
	 * acq_rel: pairs with the reservation in shared_reserve: a sequence above `head` is reserved
	 * after this operation, and its writer sees `limit`
	 */
	head = atomic_fetch_add_explicit(&j->head, 0, memory_order_acq_rel);
	return head < limit ? limit : head + 1;
}

static void
tidy_end(struct journal *j)
{
	/* release: pairs with the load in shared_commit: the pages are given back */
	atomic_store_explicit(&j->limit, UINT64_MAX, memory_order_release);
}

void
journal_tidy(struct journal *j)
{
	uint64_t pages = (j->mask + 1) / PAGE_ENTRIES, safe = journal_safe_sequence(j);
	uint64_t from = j->given_back / PAGE_ENTRIES, end = safe / PAGE_ENTRIES, newest;

	if (pages == 0 || from >= end)
		return;
	newest = tidy_begin(j) / PAGE_ENTRIES;
	/* the places of older entries have newer entries, or get them meanwhile */
	if (newest + 1 > pages && from < newest + 1 - pages)
		from = newest + 1 - pages;
	while (from < end) {
		uint64_t at = from % pages, n = end - from < pages - at ? end - from : pages - at;

		arena_discard((void *)(uintptr_t)(j->ring + at * PAGE_ENTRIES), n * PAGE_BYTES);
		from += n;
	}
	tidy_end(j);
	j->given_back = safe;
}

bool
journal_evict(struct journal *j, const struct journal_holder *h)
{
	uint32_t state = h->state;

	if (h->cursor == NULL || h->patience != JOURNAL_EVICT)
		return false;
	/*
	 * release: pairs with the acquire load in journal_read; entries held by this cursor were
	 * kept until now
	 */
	return atomic_compare_exchange_strong_explicit(&h->cursor->state, &state,
		(state & ~STATE_MASK) | CURSOR_EVICTED, memory_order_acq_rel, memory_order_relaxed);
}

static bool
cursor_claim(struct journal_cursor *c)
{
	uint32_t state = atomic_load_explicit(&c->state, memory_order_relaxed);

	if ((state & STATE_MASK) != CURSOR_FREE)
		return false;
	return atomic_compare_exchange_strong_explicit(&c->state, &state,
		state + STATE_GENERATION + CURSOR_JOINING, memory_order_acq_rel,
		memory_order_relaxed);
}

/* Owner of the cursor: the generation stays. */
static void
cursor_state_set(struct journal_cursor *c, enum cursor_state state)
{
	uint32_t old = atomic_load_explicit(&c->state, memory_order_relaxed);

	/* release: pairs with the claim of the next subscriber, and with cursor_state */
	atomic_store_explicit(&c->state, (old & ~STATE_MASK) | state, memory_order_release);
}

static void
cursor_end_raise(struct journal *j, uint32_t end)
{
	uint32_t old = atomic_load_explicit(&j->cursor_end, memory_order_relaxed);

	/* release: pairs with the load in journal_safe_sequence */
	while (old < end && !atomic_compare_exchange_weak_explicit(&j->cursor_end, &old, end,
				    memory_order_release, memory_order_relaxed))
		;
}

static struct journal_cursor *
cursor_find_free(struct journal *j)
{
	uint32_t from = atomic_load_explicit(&j->cursor_free, memory_order_relaxed);

	for (uint32_t n = 0; n < JOURNAL_CURSORS_MAX; n++) {
		uint32_t i = (from + n) % JOURNAL_CURSORS_MAX;

		if (!chunk_reserve(j, i))
			return NULL;
		if (!cursor_claim(cursor_at(j, i)))
			continue;
		atomic_store_explicit(&j->cursor_free, i + 1, memory_order_relaxed);
		/*
		 * While the cursor joins, `passed` is 0 and holds everything back, so an old head
		 * is safe.
		 */
		cursor_end_raise(j, i + 1);
		return cursor_at(j, i);
	}
	return NULL;
}

int
journal_subscribe(struct journal *j, struct journal_cursor **out)
{
	struct journal_cursor *c = cursor_find_free(j);
	uint64_t head;

	if (c == NULL)
		return -ENOSPC;
	head = journal_head(j);
	c->position = head;
	c->horizon = c->held = c->replay = 0;
	c->pinned = false;
	atomic_store_explicit(&c->patience, JOURNAL_BEAR, memory_order_relaxed);
	atomic_store_explicit(&c->paced, false, memory_order_relaxed);
	atomic_store_explicit(&c->passed, head, memory_order_release);
	cursor_state_set(c, CURSOR_USED);
	*out = c;
	return 0;
}

static uint32_t
cursor_index(const struct journal *j, const struct journal_cursor *c)
{
	for (uint32_t n = 0; n < JOURNAL_CURSORS_MAX / CHUNK_CURSORS; n++) {
		const struct journal_cursor *chunk =
			atomic_load_explicit(&j->chunk[n], memory_order_relaxed);

		if (chunk != NULL && c >= chunk && c < chunk + CHUNK_CURSORS)
			return n * CHUNK_CURSORS + (uint32_t)(c - chunk);
	}
	return 0;
}

void
journal_unsubscribe(struct journal *j, struct journal_cursor *c)
{
	uint32_t i = cursor_index(j, c);

	atomic_store_explicit(&c->passed, 0, memory_order_relaxed);
	cursor_state_set(c, CURSOR_FREE);
	/* low slots first, so that few slots are looked at; a lost store costs a search */
	if (i < atomic_load_explicit(&j->cursor_free, memory_order_relaxed))
		atomic_store_explicit(&j->cursor_free, i, memory_order_relaxed);
}

bool
journal_evicted(const struct journal_cursor *c)
{
	/* acquire, in cursor_state: pairs with journal_evict */
	return (cursor_state(c) & STATE_MASK) == CURSOR_EVICTED;
}

int
journal_hold(struct journal *j, const struct journal_cursor *from, struct journal_cursor **out)
{
	struct journal_cursor *c;
	int err = journal_subscribe(j, &c);

	if (err < 0)
		return err;
	c->position = journal_passed(from);
	journal_set_patience(c, atomic_load_explicit(&from->patience, memory_order_relaxed));
	/* `from` has held everything after this position until now */
	atomic_store_explicit(&c->passed, c->position, memory_order_release);
	if (journal_evicted(from)) {
		journal_unsubscribe(j, c);
		return -ESTALE;
	}
	*out = c;
	return 0;
}

/* relaxed, as `read`: only the pace of the writer depends on the values */
void
journal_set_paced(struct journal_cursor *c)
{
	atomic_store_explicit(&c->read, c->position, memory_order_relaxed);
	atomic_store_explicit(&c->paced, true, memory_order_relaxed);
}

uint64_t
journal_lag(const struct journal *j, uint64_t *position)
{
	/* acquire: pairs with the release in cursor_end_raise */
	uint32_t end = atomic_load_explicit(&j->cursor_end, memory_order_acquire);
	uint64_t head = journal_head(j);

	*position = head;
	for (uint32_t i = 0; i < end; i++) {
		const struct journal_cursor *c = cursor_at(j, i);
		uint64_t at;

		if (!atomic_load_explicit(&c->paced, memory_order_relaxed) ||
			(cursor_state(c) & STATE_MASK) != CURSOR_USED)
			continue;
		at = atomic_load_explicit(&c->read, memory_order_relaxed);
		if (at < *position)
			*position = at;
	}
	return head - *position;
}

static void
writer_mark(_Atomic uint32_t *writers, unsigned writer, bool marked)
{
	if (marked)
		atomic_fetch_or_explicit(writers, 1u << writer, memory_order_relaxed);
	else
		atomic_fetch_and_explicit(writers, ~(1u << writer), memory_order_relaxed);
}

void
journal_wait(struct journal *j, unsigned writer, bool waits)
{
	writer_mark(&j->waiting, writer, waits);
}

bool
journal_waits(const struct journal *j)
{
	return atomic_load_explicit(&j->waiting, memory_order_relaxed) != 0;
}

int
journal_waiter(struct journal *j, uint64_t lag)
{
	uint32_t waiting = atomic_load_explicit(&j->waiting, memory_order_relaxed), later;
	uint64_t position;

	if (waiting == 0 || journal_lag(j, &position) >= lag)
		return -1;
	later = waiting & ~((2u << j->waiter) - 1);
	j->waiter = (unsigned)__builtin_ctz(later != 0 ? later : waiting);
	atomic_fetch_and_explicit(&j->waiting, ~(1u << j->waiter), memory_order_relaxed);
	return (int)j->waiter;
}

void
journal_set_patience(struct journal_cursor *c, enum journal_patience patience)
{
	atomic_store_explicit(&c->patience, (uint8_t)patience, memory_order_relaxed);
}

void
journal_press(struct journal *j, unsigned writer, bool pressed)
{
	writer_mark(&j->pressed, writer, pressed);
}

bool
journal_pressed(const struct journal *j)
{
	return atomic_load_explicit(&j->pressed, memory_order_relaxed) != 0;
}

/* Sequences up to this one are reserved by writers. */
static uint64_t
taken(const struct journal *j)
{
	/* acquire: pairs with the release in append and shared_reserve */
	return atomic_load_explicit(&j->head, memory_order_acquire);
}

/*
 * True if entry `sequence` is still intact in the ring while writers have reserved up to `head` and
 * may write the next.
 */
static bool
in_ring(const struct journal *j, uint64_t sequence, uint64_t head)
{
	return sequence + j->mask > head;
}

static struct journal_entry
entry_of(uint64_t e, uint64_t sequence)
{
	return (struct journal_entry){.sequence = sequence,
		.table = {(uint16_t)(e >> 32)},
		.shard = e >> 48 & (JOURNAL_WRITERS_MAX - 1),
		.aside = (e & FLAG(JOURNAL_ASIDE)) != 0,
		.bulk = (e & FLAG(JOURNAL_BULK)) != 0,
		.dest = {(uint32_t)e}};
}

int
journal_read(struct journal *j, struct journal_cursor *c, struct journal_entry *out, unsigned max)
{
	uint64_t head = journal_head(j), first = c->position + 1;
	unsigned n = max;

	if (head < first)
		n = 0; /* a reserved, unwritten entry holds the head before this cursor */
	else if (head - c->position < max)
		n = (unsigned)(head - c->position);

	if (journal_evicted(c))
		return -ESTALE;
	if (n == 0)
		return 0;
	if (!in_ring(j, first, taken(j)))
		return -EOVERFLOW;
	for (unsigned i = 0; i < n; i++) {
		/*
		 * acquire: pairs with the release store in append and shared_commit, so that the
		 * head loaded below is no older than this entry
		 */
		uint64_t e =
			atomic_load_explicit(&j->ring[(first + i) & j->mask], memory_order_acquire);
		out[i] = entry_of(e, first + i);
	}
	return in_ring(j, first, taken(j)) ? (int)n : -EOVERFLOW;
}

uint64_t
journal_bulk(const struct journal *j)
{
	return atomic_load_explicit(&j->bulk, memory_order_relaxed);
}

int
journal_read_live(const struct journal *j, uint64_t *from, struct journal_entry *out, unsigned max)
{
	uint64_t head = journal_head(j), at = *from;
	uint64_t first = at + 1, end = head > at + JOURNAL_LOOK ? at + JOURNAL_LOOK : head;
	unsigned n = 0;

	if (head < first)
		return 0;
	if (!in_ring(j, first, taken(j)))
		return -EOVERFLOW;
	for (; at < end && n < max; at++) {
		/* acquire: as in journal_read() */
		uint64_t e =
			atomic_load_explicit(&j->ring[(at + 1) & j->mask], memory_order_acquire);

		if ((e & FLAG(JOURNAL_ASIDE | JOURNAL_BULK)) == 0)
			out[n++] = entry_of(e, at + 1);
	}
	if (!in_ring(j, first, taken(j)))
		return -EOVERFLOW;
	*from = at;
	return (int)n;
}

static void
read_publish(struct journal_cursor *c)
{
	atomic_store_explicit(&c->read, c->position, memory_order_relaxed);
}

static void
passed_publish(struct journal_cursor *c)
{
	uint64_t passed = c->held != 0 ? c->held - 1 : c->position;

	if (c->pinned || passed <= journal_passed(c))
		return;
	/* release: pairs with the load in journal_passed */
	atomic_store_explicit(&c->passed, passed, memory_order_release);
}

void
journal_advance(struct journal *j, struct journal_cursor *c, uint64_t passed_sequence)
{
	if (passed_sequence > c->position)
		c->position = passed_sequence;
	if (c->held > c->position)
		c->held = 0; /* evaluated but not done: read again */
	passed_publish(c);
	if (c->held != 0 && c->horizon <= c->position) {
		c->replay = c->position;
		c->position = c->held - 1;
		c->held = 0;
	}
	read_publish(c);
}

uint64_t
journal_newest_of(const struct journal *j, struct table_id table)
{
	uint64_t newest = 0;

	for (unsigned i = 0; i < j->writer_count; i++) {
		uint64_t of = atomic_load_explicit(
			&j->newest[i].sequence[table.v % NEWEST_TABLES], memory_order_relaxed);

		if (of > newest)
			newest = of;
	}
	return newest;
}

bool
journal_pass(struct journal *j, struct journal_cursor *c, struct table_id table, uint64_t upto)
{
	/* before `newest`: entries up to the head are in `newest` */
	uint64_t head = journal_head(j);

	if (upto > head)
		upto = head;
	if (upto <= c->position || journal_evicted(c))
		return false;
	if (journal_newest_of(j, table) > c->position)
		return false;
	journal_advance(j, c, upto);
	return true;
}

uint64_t
journal_resume(struct journal *j, struct journal_cursor *c)
{
	c->position = journal_head(j);
	c->held = 0; /* the walk finds these destinations */
	c->replay = 0;
	read_publish(c);
	return journal_passed(c);
}

void
journal_pin(struct journal_cursor *c)
{
	c->pinned = true;
}

void
journal_unpin(struct journal_cursor *c)
{
	c->pinned = false;
	passed_publish(c);
}

bool
journal_may_withdraw(
	struct journal_cursor *c, const struct journal_entry *e, const struct dest_view *v)
{
	uint32_t newer = v->sequence - (uint32_t)e->sequence;

	/*
	 * older: the id was reassigned before this cursor held the entry (an old head of several
	 * writers)
	 */
	if (newer > INT32_MAX)
		return false;
	if (newer != 0) {
		if (c->horizon < e->sequence + newer)
			c->horizon = e->sequence + newer;
		return false;
	}
	if (c->horizon <= e->sequence || e->sequence <= c->replay)
		return true;
	if (c->held == 0)
		c->held = e->sequence;
	return false;
}

void
journal_passed_over(const struct journal *j, struct journal_cursor *c, const struct dest_view *v)
{
	uint32_t newer = v->sequence - (uint32_t)c->position;

	/* beyond every published sequence: an old sequence, after wrapping */
	if (newer > journal_newest(j) - c->position)
		return;
	if (c->horizon < c->position + newer)
		c->horizon = c->position + newer;
}

bool
journal_settled(const struct journal_cursor *c)
{
	return c->horizon <= c->position;
}

uint64_t
journal_position(const struct journal_cursor *c)
{
	return c->position;
}

uint64_t
journal_head(const struct journal *j)
{
	return j->writer_count == 1 ? taken(j) : shared_head(j);
}

uint64_t
journal_reserved(const struct journal *j)
{
	return taken(j);
}

uint64_t
journal_newest(const struct journal *j)
{
	/*
	 * with several writers, each may have published one sequence beyond the head that this
	 * thread sees
	 */
	return taken(j) + j->writer_count;
}

uint64_t
journal_passed(const struct journal_cursor *c)
{
	/*
	 * acquire: pairs with the release store in passed_publish: the consumer is done with
	 * earlier entries
	 */
	return atomic_load_explicit(&c->passed, memory_order_acquire);
}
