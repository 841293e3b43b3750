/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The circulating scan: its tasks, and its waits for consumers and for tombstones held by
 * consumers.
 */
#include "rib/shard/shard.h"

#include "tests/rib/shard_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

/* Existing routes follow the peer's new multihop setting. */
static void
test_multihop_changes(void **state)
{
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	struct shard_peer p;
	union rig_attrs a;
	struct dest_view v;
	struct rig r;

	rig_simple(&r, policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	rig_tell(&r, 0, 0x0a000001, true, false, 0);
	assert_true(shard_peer_peek(r.shard, (struct peer_id){1}, &p));
	for (unsigned i = 0; i < 4; i++) {
		p.multihop = i % 2;
		assert_int_equal(shard_peer_change(r.shard, &p), 0);
		rig_settle(&r);
		assert_true(rig_view(&r, &n.prefix, &v));
		assert_int_equal(v.paths->eligible, p.multihop || rig_mode == RIG_V6_LINK_LOCAL);
	}
	rig_fini(&r);
}

/*
 * The new session's routes survive the flush of the old session's routes, and do not wait for the
 * flush.
 */
static void
test_flush_and_new_session(void **state)
{
	enum { N = 5000 };
	union rig_attrs a, other;
	struct rib_nlri n;
	struct dest_view v;
	unsigned left = 0;
	struct rig r;

	rig_simple(&r, policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_attrs_make(&other, path_65001, 1, 0x0a000001);
	for (unsigned i = 0; i < N; i++) {
		n = rig_nlri_numbered(i);
		rig_update(&r, 1, &a.a, &n, 1);
	}
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), N);
	assert_int_equal(shard_peer_remove(r.shard, (struct peer_id){1}), -EBUSY);
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_up(&r, 1, 65001, 8, true);
	/* an equal and a changed route, while most of the table is still to be flushed */
	n = rig_nlri(0x01000000 + ((N - 1) << 8), 24);
	rig_update(&r, 1, &a.a, &n, 1);
	n = rig_nlri(0x01000000 + ((N - 2) << 8), 24);
	rig_update(&r, 1, &other.a, &n, 1);
	rig_event(&r, RIB_BEGIN_REFRESH,
		/*
		 * plus a refresh in between, which makes the new routes stale; they are not routes of the
		 * lost session
		 */
		1);
	rig_drain(&r);
	assert_true(rig_received(&r, 1) > N / 2);
	assert_false(shard_peer_idle(r.shard, (struct peer_id){1}));
	rig_settle(&r);
	for (unsigned i = 0; i < N; i++) {
		n = rig_nlri_numbered(i);
		left += rig_view(&r, &n.prefix, &v);
	}
	assert_int_equal(left, 2);
	assert_int_equal(rig_received(&r, 1), 2);
	rig_event(&r, RIB_END_REFRESH, 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 0);
	struct adj_rib_in_counts c;

	shard_peer_counts(r.shard, (struct peer_id){1}, rig_family(), &c);
	assert_int_equal(c.stale_swept, 2); /* a flush is not counted as a sweep */
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_settle(&r);
	assert_true(shard_peer_idle(r.shard, (struct peer_id){1}));
	assert_int_equal(shard_peer_remove(r.shard, (struct peer_id){1}), 0);
	assert_int_equal(attr_table_count(shard_attrs(r.shard)), 0);
	rig_fini(&r);
}

/* A new router id changes the rank of an otherwise unchanged path. */
static void
test_router_id_changes(void **state)
{
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	union rig_attrs a;
	struct dest_view v;
	struct rig r;

	rig_init(&r, false);
	for (uint16_t p = 1; p <= 2; p++) {
		rig_peer(&r, p, RIG_OWN_ASN, false, false);
		rig_up(&r, p, RIG_OWN_ASN, 10u + p, false);
	}
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_update(&r, 2, &a.a, &n, 1);
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->path[0].peer.v, 1);
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_up(&r, 1, RIG_OWN_ASN, 99, false);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->count, 2);
	assert_int_equal(v.paths->path[0].peer.v, 2);
	rig_fini(&r);
}

/* Many answers during a load, with the shortest turns: every route becomes eligible. */
enum { LOAD_HOPS = 200 };

struct answers {
	bool asked[LOAD_HOPS], answered[LOAD_HOPS];
};

static void
note_ask(struct rig *r, const struct nexthop_message *m)
{
	((struct answers *)r->ctx)->asked[rig_hop_number(&m->addr) - 0x0a000000] = true;
}

/* Answers one open question; false: no question is open. */
static bool
answer_one(struct rig *r, struct answers *a)
{
	for (unsigned i = 0; i < LOAD_HOPS; i++) {
		if (!a->asked[i] || a->answered[i])
			continue;
		a->answered[i] = true;
		rig_tell(r, 0, 0x0a000000 + i, true, true, 0);
		return true;
	}
	return false;
}

static void
test_answers_during_load(void **state)
{
	enum { N = 20000 };
	struct answers answers = {0};
	unsigned told = 0, early = 0;
	union rig_attrs a;
	struct dest_view v;
	struct rig r;

	rig_simple(&r, policy_accept_all());
	r.asked = note_ask;
	r.ctx = &answers;
	for (unsigned i = 0; i < N; i++) {
		struct rib_nlri n = rig_nlri_numbered(i);

		rig_attrs_make(&a, path_65001, 2, 0x0a000000 + i % LOAD_HOPS);
		rig_update(&r, 1, &a.a, &n, 1);
		if (i % 40 != 39)
			continue;
		rig_put(&r);
		(void)rig_turn(&r);
		told += answer_one(&r, &answers);
	}
	early = told;
	while (rig_turn(&r) || told < LOAD_HOPS)
		told += answer_one(&r, &answers);
	assert_true(early > LOAD_HOPS / 2);
	for (unsigned i = 0; i < N; i++) {
		struct rib_nlri n = rig_nlri_numbered(i);

		assert_true(rig_view(&r, &n.prefix, &v));
		assert_int_equal(v.paths->eligible, 1);
	}
	rig_fini(&r);
}

/* ---- consumers ---- */

static struct journal_cursor *
subscribe(struct rig *r, enum journal_patience patience)
{
	struct journal_cursor *c;

	assert_int_equal(journal_subscribe(shard_journal(r->shard), &c), 0);
	journal_set_patience(c, patience);
	return c;
}

/* A route of peer 2, changed on each call. */
static void
flutter(struct rig *r, unsigned i)
{
	struct rib_nlri n = rig_nlri(0x02000000, 24);
	union rig_attrs a;

	rig_attrs_make(&a, path_65001, 1 + i % 2, 0x0a000001);
	rig_update(r, 2, &a.a, &n, 1);
}

/*
 * Live input keeps pace with a consumer that is far behind but reading: the walk is slow, and ends.
 */
static void
test_walk_beside_live_input(void **state)
{
	enum { N = 3000, BEHIND = 4096 };
	struct journal_cursor *c;
	uint64_t begun;
	union rig_attrs a;
	struct rig r;
	unsigned i;

	rig_simple(&r, policy_accept_all());
	rig_peer(&r, 2, 65001, true, true);
	rig_up(&r, 2, 65001, 2, true);
	shard_peer_import(r.shard, (struct peer_id){2}, rig_family(), policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	for (i = 0; i < N; i++) {
		struct rib_nlri n = rig_nlri_numbered(i);

		rig_update(&r, 1, &a.a, &n, 1);
	}
	rig_settle(&r);
	c = subscribe(&r, JOURNAL_BEAR);
	journal_set_paced(c);
	for (i = 0; i < BEHIND; i++)
		flutter(&r, i);
	rig_settle(&r);
	assert_int_equal(journal_head(shard_journal(r.shard)), journal_position(c) + BEHIND);
	rig_event(&r, RIB_SESSION_DOWN, 1);
	begun = rig_clock();
	for (; rig_received(&r, 1) > 0 || i < BEHIND + 2; i++) {
		flutter(&r, i);
		rig_put(&r);
		(void)rig_turn(&r);
		journal_advance(shard_journal(r.shard), c, journal_position(c) + 1);
		assert_true(rig_clock() - begun < 10000000000u);
	}
	/* three slices, with the delays in between */
	assert_true(rig_clock() - begun >= 40000000u);
	journal_unsubscribe(shard_journal(r.shard), c);
	rig_fini(&r);
}

/* Reads all entries; false: evicted. */
static bool
follow(struct rig *r, struct journal_cursor *c)
{
	struct journal_entry e[64];
	int n;

	while ((n = journal_read(shard_journal(r->shard), c, e, 64)) > 0)
		journal_advance(shard_journal(r->shard), c, e[n - 1].sequence);
	assert_true(n == 0 || n == -ESTALE);
	return n == 0;
}

/*
 * A waiting walk names the thread to wake, once, to a consumer that has read; after the walk no
 * thread is named.
 */
static void
test_walk_waits_to_be_woken(void **state)
{
	enum { N = 20000 };
	struct journal_cursor *c;
	struct journal *j;
	union rig_attrs a;
	struct rig r;
	unsigned waits = 0;

	rig_simple(&r, policy_accept_all());
	j = shard_journal(r.shard);
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	for (unsigned i = 0; i < N; i++) {
		struct rib_nlri n = rig_nlri_numbered(i);

		rig_update(&r, 1, &a.a, &n, 1);
	}
	rig_settle(&r);
	c = subscribe(&r, JOURNAL_BEAR);
	journal_set_paced(c);
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_put(&r);
	while (rig_received(&r, 1) > 0) {
		(void)rig_turn(&r);
		if (!shard_waits(r.shard))
			continue;
		waits++;
		assert_true(journal_head(j) - journal_position(c) >= SHARD_PACE_ENTRIES);
		assert_int_equal(journal_waiter(j, SHARD_PACE_ENTRIES / 2), -1);
		assert_true(follow(&r, c));
		assert_int_equal(journal_waiter(j, SHARD_PACE_ENTRIES / 2), 0);
		assert_int_equal(journal_waiter(j, SHARD_PACE_ENTRIES / 2), -1);
	}
	assert_true(waits > 0);
	assert_true(follow(&r, c));
	rig_settle(&r);
	assert_int_equal(journal_waiter(j, SHARD_PACE_ENTRIES / 2), -1);
	journal_unsubscribe(j, c);
	rig_fini(&r);
}

/* ---- tombstones ---- */

enum { FLAPS = 20000, TOMBSTONES = 1000 };

/*
 * Announces and withdraws unique prefixes, while `healthy` reads. Returns the highest number of
 * tombstones.
 */
static uint32_t
flap(struct rig *r, struct journal_cursor *healthy)
{
	uint32_t most = 0, now;
	union rig_attrs a;

	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	for (unsigned i = 0; i < FLAPS; i++) {
		struct rib_nlri n = rig_nlri(0x01000000 + i, 32);

		rig_update(r, 1, &a.a, &n, 1);
		rig_update(r, 1, NULL, &n, 1);
		if (i % 10 != 9)
			continue;
		rig_put(r);
		while (!rig_drained(r)) {
			(void)rig_turn(r);
			assert_true(follow(r, healthy));
			now = dest_tombstones(shard_table(r->shard, r->table));
			most = now > most ? now : most;
		}
	}
	return most;
}

static void
test_tombstones_evict(void **state)
{
	struct shard_settings limit = {.tombstones_max = TOMBSTONES};
	struct journal_cursor *stuck, *healthy;
	struct journal_entry e;
	uint32_t most;
	struct rig r;

	rig_simple(&r, policy_accept_all());
	shard_settings(r.shard, &limit);
	stuck = subscribe(&r, JOURNAL_EVICT);
	healthy = subscribe(&r, JOURNAL_EVICT);
	most = flap(&r, healthy);
	assert_true(most > TOMBSTONES && most < TOMBSTONES + 200);
	assert_int_equal(r.evicted, 1);
	assert_int_equal(shard_evictions(r.shard), 1);
	assert_ptr_equal(r.last_evicted, stuck);
	assert_int_equal(journal_read(shard_journal(r.shard), stuck, &e, 1), -ESTALE);
	rig_settle(&r);
	assert_true(follow(&r, healthy));
	rig_settle(&r);
	assert_int_equal(dest_tombstones(shard_table(r.shard, r.table)), 0);
	assert_true(dest_limit(shard_table(r.shard, r.table)) < 2 * TOMBSTONES + 2000);
	rig_fini(&r);
}

/*
 * A follower that does not read yet; announcements and withdrawals of `count` prefixes are queued.
 */
static struct journal_cursor *
come_and_go(struct rig *r, union rig_attrs *a, uint32_t max, enum journal_patience patience,
	unsigned count)
{
	struct shard_settings limit = {.tombstones_max = max};
	struct journal_cursor *c;

	rig_simple(r, policy_accept_all());
	shard_settings(r->shard, &limit);
	c = subscribe(r, patience);
	rig_attrs_make(a, path_65001, 2, 0x0a000001);
	for (unsigned i = 0; i < count; i++) {
		struct rib_nlri n = rig_nlri(0x01000000 + i, 32);

		rig_update(r, 1, &a->a, &n, 1);
		rig_update(r, 1, NULL, &n, 1);
	}
	return c;
}

static void
on_short(void *ctx)
{
	++*(unsigned *)ctx;
}

/*
 * While memory is short exports wait until the peer with the most memory is flushed. So the flush passes the limit of tombstones without the consumer.
 */
static void
test_a_flush_without_memory_waits_for_no_consumer(void **state)
{
	struct shard_settings limit = {.tombstones_max = TOMBSTONES};
	struct journal_cursor *waits;
	struct adj_rib_in_counts counts;
	unsigned shortages = 0;
	union rig_attrs a;
	struct rig r;

	(void)state;
#ifdef KEEL_SANITIZED
	skip(); /* the allocation that fails would end the process */
#endif
	rig_simple(&r, policy_accept_all());
	shard_settings(r.shard, &limit);
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	for (unsigned i = 0; i < 4 * TOMBSTONES; i++) {
		struct rib_nlri n = rig_nlri(0x01000000 + i, 32);

		rig_update(&r, 1, &a.a, &n, 1);
	}
	rig_settle(&r);
	waits = subscribe(&r, JOURNAL_WAIT);
	arena_on_short(on_short, &shortages);
	assert_null(arena_alloc(r.arena, (size_t)1 << 60));
	assert_int_equal(shortages, 1);
	shard_peer_evict(r.shard, (struct peer_id){1});
	for (unsigned i = 0; i < 10000; i++)
		(void)rig_turn(&r);
	shard_peer_counts(r.shard, (struct peer_id){1}, FAMILY_IPV4_UNICAST, &counts);
	assert_int_equal(counts.received, 0);
	arena_short_end();
	arena_on_short(NULL, NULL);
	while (follow(&r, waits) && dest_tombstones(shard_table(r.shard, r.table)) > 0)
		(void)rig_turn(&r);
	rig_fini(&r);
}

/* The shard waits for a consumer that must not be evicted, and loses no change. */
static void
test_tombstones_wait(void **state)
{
	struct rib_nlri last = rig_nlri(0x02000000, 32);
	struct dest_table *t;
	struct journal_cursor *kept;
	union rig_attrs a;
	struct dest_view v;
	struct rig r;

	kept = come_and_go(&r, &a, TOMBSTONES, JOURNAL_WAIT, 2 * TOMBSTONES);
	t = shard_table(r.shard, r.table);
	rig_update(&r, 1, &a.a, &last, 1);
	rig_put(&r);
	for (unsigned i = 0; i < 10000; i++)
		assert_true(rig_turn(&r)); /* always more work */
	assert_true(dest_tombstones(t) > TOMBSTONES / 2);
	assert_true(dest_tombstones(t) < TOMBSTONES / 2 + 200);
	assert_true(shard_waits(
		r.shard)); /* the shard's thread may sleep: the late consumer needs the processor */
	assert_true(journal_pressed(shard_journal(r.shard)));
	assert_false(rig_view(&r, &last.prefix, &v));
	while (!rig_drained(&r)) {
		assert_true(follow(&r, kept));
		(void)rig_turn(&r);
	}
	assert_true(rig_view(&r, &last.prefix, &v));
	assert_false(journal_pressed(shard_journal(r.shard)));
	/* a flush waits, too, and live input waits for the flush */
	for (unsigned i = 0; i < 2 * TOMBSTONES; i++) {
		struct rib_nlri n = rig_nlri(0x03000000 + i, 32);

		rig_update(&r, 1, &a.a, &n, 1);
	}
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_put(&r);
	for (unsigned i = 0; i < 10000; i++)
		(void)rig_turn(&r);
	assert_true(dest_tombstones(t) > TOMBSTONES / 2);
	assert_true(dest_tombstones(t) < TOMBSTONES / 2 + 2000); /* one slice of the walk */
	assert_true(rig_received(&r, 1) > 0);
	while (rig_received(&r, 1) > 0) {
		assert_true(follow(&r, kept));
		(void)rig_turn(&r);
	}
	assert_int_equal(r.evicted, 0);
	rig_fini(&r);
}

/* All tombstones were freed in one turn without further input: the pressure on consumers ends. */
static void
test_tombstones_press_ends(void **state)
{
	static struct rib_nlri n[4000];
	struct journal_cursor *kept;
	struct journal *j;
	union rig_attrs a;
	struct rig r;

	(void)state;
	kept = come_and_go(&r, &a, 4000, JOURNAL_WAIT, 0);
	j = shard_journal(r.shard);
	for (unsigned i = 0; i < 4000; i++)
		n[i] = rig_nlri(0x01000000 + i, 32);
	for (unsigned i = 0; i < 4000; i += 1000)
		rig_update(&r, 1, &a.a, n + i, 1000);
	rig_settle(&r);
	for (unsigned i = 0; i < 4000; i += 1000)
		rig_update(&r, 1, NULL, n + i, 1000);
	rig_put(&r);
	(void)shard_work(r.shard, r.now_ns, rig_clock() + 1000000000u);
	(void)rig_turn(&r);
	assert_true(journal_pressed(j));
	assert_true(follow(&r, kept));
	(void)shard_work(r.shard, r.now_ns, rig_clock() + 1000000000u);
	assert_int_equal(dest_tombstones(shard_table(r.shard, r.table)), 0);
	assert_false(journal_pressed(j));
	rig_fini(&r);
}

/* The shard waits for a slow consumer that still reads, and evicts a stopped consumer. */
static void
test_tombstones_patience(void **state)
{
	struct journal_cursor *slow;
	struct dest_table *t;
	union rig_attrs a;
	uint64_t begun;
	struct rig r;

	slow = come_and_go(&r, &a, 8 * TOMBSTONES, JOURNAL_EVICT, 12 * TOMBSTONES);
	t = shard_table(r.shard, r.table);
	rig_put(&r);
	while (dest_tombstones(t) <= 4 * TOMBSTONES)
		(void)rig_turn(&r);
	begun = r.now_ns;
	while (r.evicted == 0) {
		(void)rig_turn(&r);
		assert_true(dest_tombstones(t) <= 8 * TOMBSTONES + 200);
		if (dest_tombstones(t) > 4 * TOMBSTONES + 400)
			/* the consumer had its full patience */
			assert_true(r.now_ns - begun > 100000000u);
	}
	assert_ptr_equal(r.last_evicted, slow);
	rig_settle(&r);
	assert_int_equal(dest_tombstones(t), 0);
	assert_true(rig_drained(&r));
	rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_multihop_changes),
		cmocka_unit_test(test_flush_and_new_session),
		cmocka_unit_test(test_router_id_changes),
		cmocka_unit_test(test_answers_during_load),
		cmocka_unit_test(test_walk_beside_live_input),
		cmocka_unit_test(test_walk_waits_to_be_woken),
		cmocka_unit_test(test_tombstones_evict),
		cmocka_unit_test(test_a_flush_without_memory_waits_for_no_consumer),
		cmocka_unit_test(test_tombstones_wait),
		cmocka_unit_test(test_tombstones_press_ends),
		cmocka_unit_test(test_tombstones_patience),
	};

	int failed = 0;

	role_enter_rib();
	role_enter_session();
	for (rig_mode = 0; rig_mode < RIG_MODES; rig_mode++)
		failed += cmocka_run_group_tests_name(rig_mode_name(), tests, NULL, NULL);
	return failed;
}
