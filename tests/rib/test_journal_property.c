/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The basis of loss-free convergence (docs/architecture.md, the RIB): an address that is always
 * covered in the stream is always covered at every consumer, at any lag. Streams of announcements,
 * changes and withdrawals over 63 nested prefixes of 32 addresses. The stream skips a withdrawal
 * that would uncover one of its chosen addresses; covers are kept tight, so that most of the chosen
 * addresses depend on a single prefix. Consumers take small random steps between (and inside) the
 * changes, pause, and fall off a small ring. In some streams consumers refuse some routes, which
 * then cover no address, and two consumers skip `aside` entries. The second of the two keeps a set of
 * the prefixes that await an entry, and reads the set alone a second time, like update groups. Half
 * of the entries are bulk, and one consumer takes the routes of the other entries early.
 */
#include "rib/table/journal.h"
#include "rib/shard/walk.h"
#include "tests/lpm/one_thread.h"
#include "tests/lpm/size.h"
#include "tests/rib/rib_test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#ifdef __SANITIZE_THREAD__ /* ThreadSanitizer is ten times slower */
#define STREAMS 1000
#elif defined(KEEL_SANITIZED)
#define STREAMS test_size(1200, 4000)
#else
#define STREAMS test_size(3000, 10000)
#endif
#define DEPTH 5
#define ADDRESSES (1u << DEPTH)
#define PREFIXES (2 * ADDRESSES - 1)
#define BUFFER 16

static uint64_t
prefix_mask(unsigned index)
{
	unsigned len = 31 - (unsigned)__builtin_clz(index + 1);
	unsigned size = ADDRESSES >> len, first = (index + 1 - (1u << len)) * size;

	return ((1ull << size) - 1) << first;
}

static struct prefix
prefix_at(unsigned index)
{
	unsigned len = 31 - (unsigned)__builtin_clz(index + 1);
	unsigned first = (index + 1 - (1u << len)) * (ADDRESSES >> len);

	return test_prefix(0x0a000000u | first, 32 - DEPTH + len);
}

static unsigned
prefix_index(const struct prefix *p)
{
	unsigned len = p->len - test_len(32 - DEPTH);

	return (1u << len) - 1 + (test_number(p) & (ADDRESSES - 1)) / (ADDRESSES >> len);
}

/* Addresses covered by the prefixes of `have`, one bit for each prefix. */
static uint64_t
cover_of(uint64_t have)
{
	uint64_t cover = 0;

	for (; have != 0; have &= have - 1)
		cover |= prefix_mask((unsigned)__builtin_ctzll(have));
	return cover;
}

/* ---- the stream ---- */

#define WRITERS_MAX 3

struct stream {
	struct rib_test base;
	struct dest_table *table;
	struct journal *journal;
	uint64_t random;
	uint64_t have; /* present prefixes */
	uint64_t refused; /* prefixes with a route refused by consumers */
	bool refuses;
	uint64_t always; /* addresses that are always covered */
	unsigned writers; /* each writer has its own prefixes */
	struct pending {
		int64_t dest; /* published without an entry yet; -1: none */
		bool aside;
		uint64_t sequence;
	} pending[WRITERS_MAX];
};

static void
stream_commit(struct stream *s, unsigned writer)
{
	struct pending *p = &s->pending[writer];

	if (p->dest >= 0)
		journal_commit(s->journal, writer, p->sequence, (struct table_id){0},
			(struct dest_id){(uint32_t)p->dest},
			(p->aside ? JOURNAL_ASIDE : 0) |
				(p->sequence / 8 % 2 != 0 ? JOURNAL_BULK : 0));
	p->dest = -1;
}

static void
stream_append(struct stream *s)
{
	for (unsigned i = 0; i < s->writers; i++)
		stream_commit(s, i);
}

/* Some of several writers are slow, but never slow enough to make the others wait. */
static void
stream_append_some(struct stream *s)
{
	uint64_t newest = 0;

	for (unsigned i = 0; i < s->writers; i++)
		if (s->pending[i].dest >= 0 && s->pending[i].sequence > newest)
			newest = s->pending[i].sequence;
	for (unsigned i = 0; i < s->writers; i++)
		if (s->writers == 1 || newest - s->pending[i].sequence > 3 ||
			random_below(&s->random, 3) == 0)
			stream_commit(s, i);
}

enum kind { GONE, TAKEN, REFUSED };

static void
stream_publish(struct stream *s, unsigned index, enum kind kind)
{
	unsigned writer = index % s->writers;
	uint64_t bit = 1ull << index;
	bool aside = (kind == TAKEN && (s->have & bit) != 0) ||
		     (kind == REFUSED && (s->refused & bit) != 0);
	struct prefix p = prefix_at(index);
	struct path_set *set = NULL;
	struct dest_id id;

	stream_commit(s, writer);
	assert_int_equal(dest_get(s->table, &p, &id), 0);
	s->have &= ~bit;
	s->refused &= ~bit;
	if (kind != GONE) {
		set = path_set_alloc(s->table, 1);
		assert_non_null(set);
		set->eligible = 1;
		memset(set->path, 0, sizeof(set->path[0]));
		set->path[0].peer.v = kind == REFUSED;
		*(kind == TAKEN ? &s->have : &s->refused) |= bit;
	}
	s->pending[writer] = (struct pending){id.v, aside, journal_reserve(s->journal, writer)};
	dest_publish(s->table, id, set, s->pending[writer].sequence);
}

/* Publishes one change; the caller appends the entry at once or later. */
static void
stream_change(struct stream *s)
{
	unsigned index = random_below(&s->random, PREFIXES);

	stream_append_some(s);
	if (random_below(&s->random, 8) == 0)
		while (dest_reclaim(s->table, journal_safe_sequence(s->journal)))
			;
	if (random_below(&s->random, 5) < 3) {
		/* the first present prefix from `index` on */
		uint64_t later = s->have >> index << index;
		unsigned victim = (unsigned)__builtin_ctzll(later != 0 ? later : s->have);

		if ((~cover_of(s->have & ~(1ull << victim)) & s->always) == 0) {
			stream_publish(s, victim,
				s->refuses && random_below(&s->random, 2) ? REFUSED : GONE);
			return;
		}
	}
	/* half of the time, use a prefix with a refused route */
	if (s->refused != 0 && random_below(&s->random, 2)) {
		index = (unsigned)__builtin_ctzll(s->refused);
		stream_publish(s, index, random_below(&s->random, 8) ? REFUSED : GONE);
		return;
	}
	stream_publish(s, index, TAKEN);
}

static void
stream_begin(struct stream *s, uint64_t seed, uint32_t capacity, unsigned writers)
{
	*s = (struct stream){.random = seed, .writers = writers, .base = s->base};
	for (unsigned i = 0; i < WRITERS_MAX; i++)
		s->pending[i].dest = -1;
	assert_int_equal(dest_table_create(s->base.arena, s->base.readers, test_afi, &s->table), 0);
	assert_int_equal(journal_create_shared(s->base.arena, capacity, writers, &s->journal), 0);
	s->always = random_next(&s->random) & ((1ull << ADDRESSES) - 1);
	if (random_below(&s->random, 2) == 0)
		s->always = (1ull << ADDRESSES) - 1;
}

/* Covers all chosen addresses at the start. */
static void
stream_cover(struct stream *s)
{
	while ((~cover_of(s->have) & s->always) != 0) {
		stream_publish(s, random_below(&s->random, PREFIXES), TAKEN);
		stream_append(s);
	}
}

static void
stream_end(struct stream *s)
{
	dest_table_destroy(s->table);
	journal_destroy(s->journal);
}

/* ---- consumers ---- */

enum rule {
	RULE_WHOLE, /* journal_may_withdraw() */
	RULE_LAST, /* only journal_entry_is_last(): insufficient */
	RULE_PRESENT, /* no rule: follows the current state of the destination */
};

enum mode { MODE_JOURNAL, MODE_WALK_SET, MODE_SETTLE, MODE_WALK_EMPTY };

struct consumer {
	struct stream *stream;
	enum rule rule;
	bool early; /* takes live routes before the bulk in front of them */
	uint64_t live_from;
	struct journal_cursor *cursor;
	unsigned reader;
	uint64_t random;
	uint64_t have;
	enum mode mode;
	struct journal_entry entry[BUFFER];
	int entries, next;
	struct walk walk;
	uint32_t reach_back, upto;
	bool checked; /* the first cover was complete */
	unsigned violations, lapped, held, before;
};

/* True for a route that consumers accept. */
static bool
is_present(const struct dest_view *v)
{
	return v->paths != NULL && v->paths->eligible > 0 && v->paths->path[0].peer.v == 0;
}

static void
consumer_begin(struct consumer *c, struct stream *s, enum rule rule, uint64_t seed)
{
	*c = (struct consumer){.stream = s, .rule = rule, .random = seed};
	assert_int_equal(journal_subscribe(s->journal, &c->cursor), 0);
	assert_int_equal(qsbr_register(s->base.readers, &c->reader), 0);
}

static void
consumer_end(struct consumer *c)
{
	qsbr_unregister(c->stream->base.readers, c->reader);
	journal_unsubscribe(c->stream->journal, c->cursor);
}

static void
consumer_put(struct consumer *c, const struct dest_view *v, bool present)
{
	uint64_t bit = 1ull << prefix_index(&v->prefix);

	if (present) {
		c->have |= bit;
		return;
	}
	c->have &= ~bit;
	if (c->checked && (~cover_of(c->have) & c->stream->always) != 0)
		c->violations++;
}

static void
consumer_entry(struct consumer *c, const struct journal_entry *e)
{
	struct dest_view v;
	bool may;

	if (!dest_peek(c->stream->table, e->dest, &v))
		return;
	if (is_present(&v)) {
		consumer_put(c, &v, true);
		return;
	}
	may = c->rule == RULE_WHOLE  ? journal_may_withdraw(c->cursor, e, &v)
	      : c->rule == RULE_LAST ? journal_entry_is_last(e, &v)
				     : true;
	if (may)
		consumer_put(c, &v, false);
	else if (journal_entry_is_last(e, &v))
		c->held++;
}

static void
consumer_lapped(struct consumer *c)
{
	c->lapped++;
	c->entries = c->next = 0;
	if (c->rule == RULE_WHOLE)
		journal_pin(c->cursor);
	c->reach_back = (uint32_t)journal_resume(c->stream->journal, c->cursor);
	c->upto = (uint32_t)journal_position(c->cursor);
	c->mode = MODE_WALK_SET;
	walk_begin(&c->walk, c->stream->table);
}

static bool
consumer_visit(void *ctx, struct dest_id id, const struct dest_view *v)
{
	struct consumer *c = ctx;
	bool present = is_present(v);

	if (c->mode == MODE_WALK_SET) {
		if ((int32_t)(v->sequence - c->reach_back) <= 0)
			return true;
		if (present)
			consumer_put(c, v, true);
		else if (c->rule == RULE_WHOLE)
			journal_passed_over(c->stream->journal, c->cursor, v);
	} else if (!present && (int32_t)(v->sequence - c->upto) <= 0) {
		consumer_put(c, v, false);
	}
	return true;
}

static void
consumer_walk(struct consumer *c)
{
	if (walk_slice(&c->walk, 1 + random_below(&c->random, 16), 0, NULL, consumer_visit, c))
		return;
	if (c->mode == MODE_WALK_SET && c->rule == RULE_WHOLE) {
		c->mode = MODE_SETTLE;
	} else if (c->mode == MODE_WALK_SET) {
		c->mode = MODE_WALK_EMPTY;
		walk_begin(&c->walk, c->stream->table);
	} else {
		c->mode = MODE_JOURNAL;
		if (c->rule == RULE_WHOLE)
			journal_unpin(c->cursor);
		else
			journal_advance(c->stream->journal, c->cursor, journal_position(c->cursor));
	}
}

/* Fills the buffer, or handles one entry from the buffer. False: no new entry. */
static bool
consumer_read(struct consumer *c)
{
	struct journal *j = c->stream->journal;
	int n;

	if (c->next < c->entries) {
		consumer_entry(c, &c->entry[c->next++]);
		/* at the end of the buffer, or at random: then the rest is read again */
		if (c->next == c->entries || random_below(&c->random, 16) == 0) {
			journal_advance(j, c->cursor, c->entry[c->next - 1].sequence);
			c->entries = c->next = 0;
		}
		return true;
	}
	n = journal_read(j, c->cursor, c->entry, 1 + random_below(&c->random, BUFFER));
	if (n == -EOVERFLOW) {
		consumer_lapped(c);
		return true;
	}
	c->entries = n;
	c->next = 0;
	return n > 0;
}

/* Withdrawals wait for the entries in order. */
static void
consumer_early(struct consumer *c)
{
	struct journal *j = c->stream->journal;
	struct journal_entry e[4];
	int n;

	if (c->live_from < journal_position(c->cursor))
		c->live_from = journal_position(c->cursor);
	n = journal_read_live(j, &c->live_from, e, 1 + random_below(&c->random, 4));
	for (int i = 0; i < n; i++) {
		struct dest_view v;

		assert_true(!e[i].bulk && !e[i].aside);
		if (!dest_peek(c->stream->table, e[i].dest, &v) || !is_present(&v))
			continue;
		c->before += e[i].sequence > journal_position(c->cursor) + 1;
		consumer_put(c, &v, true);
	}
}

/* One small step. False: no work left. */
static bool
consumer_step(struct consumer *c)
{
	bool more = true;

	qsbr_online(c->stream->base.readers, c->reader);
	if (c->early && random_below(&c->random, 4) == 0)
		consumer_early(c);
	if (c->mode == MODE_SETTLE && c->next == c->entries && journal_settled(c->cursor)) {
		c->mode = MODE_WALK_EMPTY;
		c->upto = (uint32_t)journal_position(c->cursor);
		walk_begin(&c->walk, c->stream->table);
	}
	if (c->mode == MODE_JOURNAL || c->mode == MODE_SETTLE)
		more = consumer_read(c) || c->mode != MODE_JOURNAL;
	else
		consumer_walk(c);
	qsbr_offline(c->stream->base.readers, c->reader);
	return more;
}

static void
consumer_drain(struct consumer *c)
{
	while (consumer_step(c))
		;
}

/* ---- 10,000 streams ---- */

#define CONSUMERS 4
static const enum rule rules[CONSUMERS] = {RULE_WHOLE, RULE_WHOLE, RULE_LAST, RULE_PRESENT};

struct totals {
	uint64_t changes, violations[3], lapped, held, before;
};

static void
run_stream(struct stream *s, uint64_t seed, unsigned writers, bool refuses, struct totals *total)
{
	struct consumer c[CONSUMERS];
	unsigned pause[CONSUMERS] = {0};

	stream_begin(s, seed, 8u << random_below(&seed, 4), writers);
	s->refuses = refuses;
	for (unsigned i = 0; i < CONSUMERS; i++) {
		consumer_begin(&c[i], s, rules[i], seed + i);
		c[i].early = i == 1;
	}
	stream_cover(s);
	for (unsigned i = 0; i < CONSUMERS; i++) {
		consumer_drain(&c[i]);
		c[i].checked = true;
	}
	for (unsigned n = 0; n < 300; n++) {
		stream_change(s);
		if (random_below(&s->random, 4) != 0)
			stream_append_some(s);
		total->changes++;
		for (unsigned i = 0; i < CONSUMERS; i++) {
			if (pause[i] > 0 && pause[i]-- > 0)
				continue;
			if (random_below(&s->random, 16) == 0)
				pause[i] = random_below(&s->random, 30);
			for (unsigned steps = random_below(&s->random, 5); steps > 0; steps--)
				consumer_step(&c[i]);
		}
	}
	stream_append(s);
	for (unsigned i = 0; i < CONSUMERS; i++) {
		consumer_drain(&c[i]);
		total->violations[c[i].rule] += c[i].violations;
		total->lapped += c[i].lapped;
		total->before += c[i].before;
		total->held += c[i].rule == RULE_WHOLE ? c[i].held : 0;
		if (c[i].rule == RULE_WHOLE && (c[i].violations != 0 || c[i].have != s->have))
			fail_msg("seed %llu: consumer %u: %u times uncovered; at the end has %llx "
				 "of %llx",
				(unsigned long long)seed, i, c[i].violations,
				(unsigned long long)c[i].have, (unsigned long long)s->have);
		assert_int_equal(journal_passed(c[i].cursor), journal_head(s->journal));
		consumer_end(&c[i]);
	}
	/* no consumer needs the tombstones any more */
	while (dest_reclaim(s->table, journal_safe_sequence(s->journal)))
		;
	assert_int_equal(dest_tombstones(s->table), 0);
	stream_end(s);
}

static void
streams_run(unsigned streams, unsigned writers, bool refuses)
{
	struct stream s;
	struct totals total = {0};

	rib_test_begin(&s.base);
	for (uint64_t n = 0; n < streams; n++)
		run_stream(&s, 1000 + n * 16, writers, refuses, &total);
	print_message("%u streams of %u, %llu changes, lapped %llu times, %llu withdrawals held, "
		      "uncovered: %llu by the rule, "
		      "%llu by the last entry alone, %llu without a rule\n",
		streams, writers, (unsigned long long)total.changes,
		(unsigned long long)total.lapped, (unsigned long long)total.held,
		(unsigned long long)total.violations[RULE_WHOLE],
		(unsigned long long)total.violations[RULE_LAST],
		(unsigned long long)total.violations[RULE_PRESENT]);
	assert_int_equal(total.violations[RULE_WHOLE], 0);
	/* the checker detects the weaker rules, and every situation occurred */
	assert_true(total.violations[RULE_PRESENT] > 0);
	assert_true(total.violations[RULE_LAST] > 0);
	assert_true(total.lapped > 0 && total.held > 0);
	assert_true(total.before > streams);
	rib_test_end(&s.base);
}

static void
no_address_is_ever_uncovered(void **state)
{
	streams_run(STREAMS, 1, false);
}

/* Several shards: some changes are visible before their entries. */
static void
nor_with_several_writers(void **state)
{
	streams_run(STREAMS / 4, WRITERS_MAX, false);
}

/* Consumers refuse some routes. */
static void
nor_where_routes_are_refused(void **state)
{
	streams_run(STREAMS / 4, 1, true);
	streams_run(STREAMS / 4, WRITERS_MAX, true);
}

/* ---- the example in rib/table/journal.h ---- */

static unsigned
example_run(enum rule rule)
{
	struct stream s;
	struct consumer c;
	unsigned violations;
	/* all prefixes cover address 0: 0/27, 0/28, 0/29 */
	static const struct {
		unsigned index;
		enum kind kind;
	} change[] = {{0, TAKEN}, {1, TAKEN}, {0, GONE}, {3, TAKEN}, {1, GONE}};

	rib_test_begin(&s.base);
	stream_begin(&s, 1, 64, 1);
	s.always = 1;
	consumer_begin(&c, &s, rule, 1);
	for (unsigned i = 0; i < 5; i++) {
		stream_publish(&s, change[i].index, change[i].kind);
		stream_append(&s);
		if (i == 0) {
			consumer_drain(&c);
			c.checked = true;
		}
	}
	consumer_drain(&c);
	assert_int_equal(c.have, s.have);
	assert_int_equal(c.held, rule == RULE_WHOLE);
	violations = c.violations;
	consumer_end(&c);
	stream_end(&s);
	rib_test_end(&s.base);
	return violations;
}

static void
the_last_entry_alone_leaves_a_hole(void **state)
{
	assert_int_equal(example_run(RULE_LAST), 1);
	assert_int_equal(example_run(RULE_WHOLE), 0);
}

/* ---- threads ---- */

struct follower {
	struct consumer consumer;
	_Atomic bool *stop;
};

static void *
follow(void *arg)
{
	struct follower *f = arg;
	struct consumer *c = &f->consumer;
	bool last = false;

	for (;;) {
		if (consumer_step(c)) {
			if (random_below(&c->random, 2000) == 0)
				sched_yield();
			continue;
		}
		if (last)
			return NULL;
		last = atomic_load_explicit(f->stop, memory_order_acquire);
		sched_yield();
	}
}

static void
threads_see_no_hole_either(void **state)
{
	struct stream s;
	struct follower f[2];
	pthread_t thread[2];
	_Atomic bool stop = false;

	rib_test_begin(&s.base);
	stream_begin(&s, 7, 256, 1);
	for (unsigned i = 0; i < 2; i++) {
		f[i].stop = &stop;
		consumer_begin(&f[i].consumer, &s, RULE_WHOLE, i);
	}
	stream_cover(&s);
	for (unsigned i = 0; i < 2; i++) {
		consumer_drain(&f[i].consumer);
		f[i].consumer.checked = true;
		assert_int_equal(pthread_create(&thread[i], NULL, follow, &f[i]), 0);
	}
	for (unsigned n = 0; n < 200000; n++) {
		stream_change(&s);
		stream_append(&s);
		if (random_below(&s.random, 200) == 0)
			sched_yield();
	}
	atomic_store_explicit(&stop, true, memory_order_release);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(thread[i], NULL), 0);
		print_message("follower: lapped %u times, %u withdrawals held\n",
			f[i].consumer.lapped, f[i].consumer.held);
		assert_int_equal(f[i].consumer.violations, 0);
		assert_int_equal(f[i].consumer.have, s.have);
		consumer_end(&f[i].consumer);
	}
	stream_end(&s);
	rib_test_end(&s.base);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		one_thread_test(the_last_entry_alone_leaves_a_hole),
		one_thread_test(no_address_is_ever_uncovered),
		one_thread_test(nor_with_several_writers),
		one_thread_test(nor_where_routes_are_refused),
		cmocka_unit_test(threads_see_no_hole_either),
	};

	int failed;

	role_enter_rib();
	failed = cmocka_run_group_tests_name("IPv4", tests, NULL, NULL);
	test_afi = AFI_IPV6;
	return failed + cmocka_run_group_tests_name("IPv6", tests, NULL, NULL);
}
