/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The audit beside churn: the audit ends, finds a planted difference, and reports no difference that a later commit removes. The sweep is compared with an
 * oracle that searches all prefixes for each address. KEEL_AUDIT_ROUTES=1200000 measures the processor time of a large table.
 */
#include "rib/feed/fib_feed.h"
#include "rib/feed/fib_feed_impl.h"
#include "rib/feed/prefix_sort_impl.h"

#include "lpm/base/arena.h"
#include "tests/rib/feed_rig.h"

#include <stdlib.h>
#include <time.h>

#define V4(a, b, c, d)                                                                             \
	((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))
#define HOP V4(192, 0, 2, 1)
#define HOP2 V4(192, 0, 2, 2)

static struct feed_rig r;
static uint32_t seed;

static uint32_t
draw(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static void
begin(uint32_t batch)
{
	feed_rig_init(&r, true, 0, batch);
	feed_rig_peer(&r, 1);
	rig_up(&r.rig, 1, RIG_OWN_ASN, 1, false);
	assert_int_equal(feed_rig_connected(&r, V4(192, 0, 2, 254), 24, 0, true), 0);
	assert_int_equal(feed_rig_connected_text(&r, "2001:db8:1::1", 64, 0, true), 0);
	feed_rig_settle(&r);
}

/* The sorter returns each prefix once and in order, also after repeated additions. */
static void
test_sort(void **state)
{
	static struct prefix last;
	struct prefix_sort *s;
	struct arena *a;

	(void)state;
	assert_int_equal(arena_create("sort", &a), 0);
	for (unsigned round = 0; round < 6; round++) {
		enum afi afi = round % 2 == 0 ? AFI_IPV4 : AFI_IPV6;
		unsigned count = round < 2 ? 0 : round < 4 ? 4096 : 20000, read = 0;
		struct prefix p;

		seed = round;
		assert_int_equal(prefix_sort_create(a, afi, &s), 0);
		for (unsigned i = 0; i < count; i++) {
			struct ip_addr addr = {.afi = (uint8_t)afi};

			for (unsigned k = 0; k < prefix_max_len(afi) / 8; k++)
				addr.b[k] = (uint8_t)draw(256);
			p = prefix_from_addr(&addr, (uint8_t)draw(prefix_max_len(afi) + 1));
			assert_int_equal(prefix_sort_add(s, &p), 0);
			if (i % 5 == 0)
				assert_int_equal(prefix_sort_add(s, &p), 0);
		}
		while (prefix_sort_next(s, &p) == 1) {
			if (read++ > 0)
				assert_true(prefix_compare(&last, &p) < 0);
			last = p;
		}
		assert_true(count == 0 ? read == 0 : read > count / 2 && read <= count);
		prefix_sort_destroy(s);
	}
	assert_int_equal(arena_bytes(a), 0);
	arena_destroy(a);
}

static void
change(uint32_t i)
{
	uint32_t addr = V4(10, 0, 0, 0) + (i << 8);

	if (draw(3) == 0)
		feed_rig_withdraw(&r, 1, addr, 24);
	else
		feed_rig_announce(&r, 1, addr, 24, draw(2) == 0 ? HOP : HOP2, 100);
}

/* Changes prefixes until the feed has `backlog` entries to read. */
static void
churn(unsigned prefixes, uint64_t backlog)
{
	struct journal *j = shard_journal(r.rig.shard);

	while (journal_head(j) - journal_position(r.feed->source.cursor) < backlog) {
		change(draw(prefixes));
		rig_settle(&r.rig);
	}
}

/*
 * The feed takes some entries in each turn, and always has 200 more to read. Prefixes that do not change are compared all the same: a prefix that was removed
 * from the tables behind the feed's back is found, and no other difference is reported.
 */
static void
test_ends_beside_churn(void **state)
{
	enum { CHURNED = 300, STILL = 2000 };
	struct prefix planted = prefix_from_v4(V4(20, 0, 77, 0), 24);
	const struct fib_audit *a;
	uint64_t done, total;
	unsigned turns = 0;

	(void)state;
	begin(16);
	seed = 1;
	for (uint32_t i = 0; i < STILL; i++)
		feed_rig_announce(&r, 1, V4(20, 0, 0, 0) + (i << 8), 24, HOP, 100);
	feed_rig_settle(&r);
	assert_int_equal(fib_withdraw(r.fib, VRF_DEFAULT, &planted), 0);
	feed_rig_drain(&r);
	churn(CHURNED, 200);
	assert_int_equal(fib_feed_audit_begin(r.feed, NULL), 0);
	for (; fib_feed_audit(r.feed)->running; turns++) {
		churn(CHURNED, 200);
		qsbr_quiescent(r.workers, r.worker);
		r.now_ns += FEED_INTERVAL_NS;
		feed_rig_turn(&r, UINT64_MAX);
		assert_false(fib_feed_drained(r.feed));
		assert_true(turns < 20000);
	}
	a = fib_feed_audit(r.feed);
	assert_int_equal(a->error, 0);
	fib_feed_audit_progress(r.feed, &done, &total);
	assert_true(total >= STILL && done >= STILL && done <= total);
	assert_true(a->checked > 2 * STILL);
	assert_int_equal(a->mismatch_count, 2); /* the first and the last address */
	assert_true(prefix_equal(&a->mismatch[0].expected, &planted));
	assert_true(prefix_equal(&a->mismatch[1].expected, &planted));
	assert_int_equal(a->not_installed, 0);
	feed_rig_settle(&r);
	assert_int_equal(feed_rig_audit(&r), 2);
	assert_int_equal(fib_feed_audit(r.feed)->skipped, 0);
	feed_rig_fini(&r);
}

/* A prefix that changes in each turn can not be compared: its addresses count as skipped, and the audit ends. */
static void
test_skips_what_keeps_changing(void **state)
{
	const struct fib_audit *a;
	unsigned turns = 0;

	(void)state;
	begin(FEED_BATCH);
	feed_rig_announce(&r, 1, V4(20, 0, 0, 0), 24, HOP, 100);
	feed_rig_settle(&r);
	/* no worker reports quiescence: the first of these changes becomes visible, the others wait */
	for (; turns < 4 || fib_feed_audit(r.feed)->running; turns++) {
		uint32_t hop = turns < 3 ? HOP2 : V4(192, 0, 2, 10) + turns % 100;

		if (turns == 3)
			assert_int_equal(fib_feed_audit_begin(r.feed, NULL), 0);
		feed_rig_announce(&r, 1, V4(20, 0, 0, 0), 24, hop, 100);
		rig_settle(&r.rig);
		while ((int)feed_rig_pump_ask(&r) | (int)feed_rig_pump_tell(&r))
			;
		rig_settle(&r.rig);
		r.now_ns += FEED_INTERVAL_NS;
		feed_rig_turn(&r, UINT64_MAX);
		assert_true(turns < 20000);
	}
	a = fib_feed_audit(r.feed);
	assert_int_equal(a->mismatch_count, 0);
	assert_true(a->skipped > 0 && a->skipped <= 2);
	feed_rig_settle(&r);
	assert_int_equal(feed_rig_audit(&r), 0);
	feed_rig_fini(&r);
}

/* ---- against an oracle ---- */

#define ORACLE_MAX 200

/* True if `hole` is the longest of these prefixes that contains the address. */
static bool
covers_deepest(const struct prefix *all, unsigned count, const struct prefix *hole, uint32_t addr)
{
	struct ip_addr a = addr_from_v4(addr);

	if (!prefix_contains(hole, &a))
		return false;
	for (unsigned i = 0; i < count; i++) {
		if (all[i].len > hole->len && prefix_contains(&all[i], &a))
			return false;
	}
	return true;
}

/*
 * Random nested prefixes, each removed from the tables in turn: the audit reports every edge where
 * the removed prefix was the longest match.
 */
static void
test_every_hole_is_found(void **state)
{
	struct prefix all[ORACLE_MAX];

	(void)state;
	for (unsigned round = 0; round < 12; round++) {
		unsigned count = 0;

		begin(FEED_BATCH);
		seed = 100 + round;
		for (unsigned i = 0; i < ORACLE_MAX; i++) {
			struct prefix p = prefix_from_v4(
				V4(60, 0, 0, 0) + (draw(1024) << 6), (uint8_t)(18 + draw(15)));
			bool twice = false;

			for (unsigned k = 0; k < count; k++)
				twice |= prefix_equal(&all[k], &p);
			if (twice)
				continue;
			all[count++] = p;
			feed_rig_announce(&r, 1, prefix_v4(&p), p.len, HOP, 100);
		}
		feed_rig_settle(&r);
		assert_int_equal(feed_rig_audit(&r), 0);
		for (unsigned h = 0; h < count; h += 7) {
			const struct prefix *hole = &all[h];
			uint32_t edge[4 * ORACLE_MAX];
			unsigned edges = 0, expected = 0;
			struct path_list_id list;

			for (unsigned i = 0; i < count; i++) {
				uint32_t first = prefix_v4(&all[i]);
				uint32_t last =
					first | (all[i].len == 32 ? 0 : UINT32_MAX >> all[i].len);
				uint32_t each[4] = {first, first - 1, last, last + 1};

				for (unsigned k = 0; k < 4; k++) {
					bool known = false;

					for (unsigned n = 0; n < edges; n++)
						known |= edge[n] == each[k];
					if (!known)
						edge[edges++] = each[k];
				}
			}
			for (unsigned n = 0; n < edges; n++)
				expected += covers_deepest(all, count, hole, edge[n]);
			assert_true(fib_shadow_get(r.fib, VRF_DEFAULT, hole, &list));
			path_list_ref(fib_path_lists(r.fib), list);
			assert_int_equal(fib_withdraw(r.fib, VRF_DEFAULT, hole), 0);
			feed_rig_drain(&r);
			assert_int_equal(feed_rig_audit(&r), expected);
			assert_int_equal(fib_set(r.fib, VRF_DEFAULT, hole, list), 0);
			path_list_unref(fib_path_lists(r.fib), list);
			feed_rig_drain(&r);
		}
		assert_int_equal(feed_rig_audit(&r), 0);
		feed_rig_fini(&r);
	}
}

static double
cpu_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Three quarters of the routes are IPv4, with prefix lengths close to a real table. */
static void
test_large(void **state)
{
	const char *text = getenv("KEEL_AUDIT_ROUTES");
	uint32_t count = text != NULL ? (uint32_t)strtoul(text, NULL, 10) : 20000;
	double before;

	(void)state;
	begin(FEED_BATCH);
	seed = 7;
	for (uint32_t i = 0; i < count; i++) {
		struct ip_addr addr = {.afi = AFI_IPV6, .b = {0x2a, (uint8_t)draw(4)}};
		struct ip_addr hop = text_addr("2001:db8:1::2");
		struct prefix p;

		for (unsigned k = 2; k < 6; k++)
			addr.b[k] = (uint8_t)draw(k == 2 ? 8 : 256);
		p = prefix_from_addr(&addr, draw(2) == 0 ? 48 : 40);
		if (i % 4 == 0)
			feed_rig_announce_to(&r, 1, &p, &hop, 100);
		else
			feed_rig_announce(&r, 1, draw(1u << 23) << 9 & 0xdfffff00u,
				(uint8_t)(draw(3) != 0 ? 23 : 20 + draw(4)),
				draw(2) == 0 ? HOP : HOP2, 100);
		if (i % 20000 == 19999)
			feed_rig_settle(&r);
	}
	feed_rig_settle(&r);
	before = cpu_s();
	assert_int_equal(feed_rig_audit(&r), 0);
	if (text != NULL)
		print_message(
			"audit of %u routes: %llu addresses, %.2f s of CPU, not installed %llu\n",
			dest_count(shard_table(r.rig.shard, r.rig.table)) +
				dest_count(shard_table(r.rig.shard, r.table_v6)),
			(unsigned long long)fib_feed_audit(r.feed)->checked, cpu_s() - before,
			(unsigned long long)fib_feed_audit(r.feed)->not_installed);
	feed_rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sort),
		cmocka_unit_test(test_ends_beside_churn),
		cmocka_unit_test(test_skips_what_keeps_changing),
		cmocka_unit_test(test_every_hole_is_found),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
