/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Serving ROUTE-REFRESH: by cases, and by random histories against what a peer sees. A walk that begins at or after a request, or
 * had sent nothing when it came, answers it.
 */
#include "control/refresh.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

/* clang-format off */
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

static uint64_t
splitmix64(uint64_t *s)
{
	uint64_t z = (*s += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static void
test_plain(void **state)
{
	struct refresh_serve r = {0};

	assert_true(refresh_serve_request(&r, true));
	assert_true(r.walking);
	refresh_serve_first_entry(&r);
	assert_false(refresh_serve_walk_done(&r));
	assert_false(r.walking);
	assert_int_equal(r.requests_received, 1);
	assert_int_equal(r.served, 1);
	assert_int_equal(r.coalesced, 0);
}

/* RFC 7313 4 */
static void
test_before_end_of_rib(void **state)
{
	struct refresh_serve r = {0};

	assert_false(refresh_serve_end_of_rib(&r)); /* nobody asked */
	assert_false(refresh_serve_request(&r, false));
	assert_false(refresh_serve_request(&r, false));
	assert_true(refresh_serve_end_of_rib(&r));
	assert_false(refresh_serve_walk_done(&r));
	assert_int_equal(r.served, 1);
	assert_int_equal(r.coalesced, 1);
}

static void
test_joins_before_first_entry(void **state)
{
	struct refresh_serve r = {0};

	assert_true(refresh_serve_request(&r, true));
	assert_false(refresh_serve_request(&r, true));
	refresh_serve_first_entry(&r);
	assert_false(refresh_serve_walk_done(&r));
	assert_int_equal(r.served, 1);
	assert_int_equal(r.coalesced, 1);
}

static void
test_storm_during_a_walk(void **state)
{
	struct refresh_serve r = {0};

	assert_true(refresh_serve_request(&r, true));
	refresh_serve_first_entry(&r);
	for (int i = 0; i < 1000; i++)
		assert_false(refresh_serve_request(&r, true));
	assert_true(refresh_serve_walk_done(&r)); /* one more for them all */
	refresh_serve_first_entry(&r);
	assert_false(refresh_serve_walk_done(&r));
	assert_int_equal(r.requests_received, 1001);
	assert_int_equal(r.served, 2);
	assert_int_equal(r.coalesced, 999);
}

/* An export refresh by command: its walk may answer the peer's requests, too, and is served then; alone it is not. */
static void
test_orders_are_not_counted(void **state)
{
	struct refresh_serve r = {0};

	assert_true(refresh_serve_order(&r, true));
	assert_int_equal(r.served, 0);
	assert_false(refresh_serve_request(&r, true)); /* joins ours */
	assert_false(refresh_serve_request(&r, true));
	assert_int_equal(r.served, 1);
	assert_int_equal(r.coalesced, 1);
	refresh_serve_first_entry(&r);
	assert_false(refresh_serve_order(&r, true));
	assert_false(refresh_serve_request(&r, true)); /* behind our own */
	assert_false(refresh_serve_order(&r, true));
	assert_true(refresh_serve_walk_done(&r));
	assert_int_equal(r.served, 2);
	assert_int_equal(r.coalesced, 1);
	refresh_serve_first_entry(&r);
	assert_false(refresh_serve_order(&r, true));
	assert_true(refresh_serve_walk_done(&r));
	assert_false(refresh_serve_walk_done(&r));
	assert_int_equal(r.requests_received, 3);
	assert_int_equal(r.served, 2);
	assert_int_equal(r.coalesced, 1);
}

static void
test_reset_keeps_counters(void **state)
{
	struct refresh_serve r = {0};

	assert_true(refresh_serve_request(&r, true));
	refresh_serve_first_entry(&r);
	assert_false(refresh_serve_request(&r, true));
	refresh_serve_reset(&r);
	assert_false(r.walking || r.first_sent || r.pending);
	assert_int_equal(r.requests_received, 2);
	assert_int_equal(r.served, 1);
	assert_false(refresh_serve_end_of_rib(&r)); /* the new session owes nothing */
}

/* The other side, seen from outside: when requests came and when walks began. */
struct history {
	struct refresh_serve r;
	bool end_of_rib;
	bool walking, first_sent; /* what we did, not what the room says */
	unsigned unanswered; /* requests that no walk has begun for, or could still take in */
	unsigned walks, walks_owed_at_most;
	bool with_orders;
};

static void
walk_begins(struct history *h)
{
	assert_true(h->end_of_rib); /* never before our End-of-RIB */
	assert_false(h->walking); /* never two at a time */
	assert_true(h->unanswered > 0); /* never for nobody */
	h->walking = true;
	h->first_sent = false;
	h->unanswered = 0;
	h->walks++;
	/* However many requests asked for it, they had at most one walk coming. */
	assert_true(h->walks_owed_at_most > 0);
	h->walks_owed_at_most--;
}

/* The peer's, or our own order. */
static void
request(struct history *h, bool ours)
{
	bool joins = h->walking && !h->first_sent;

	if (!joins) {
		h->unanswered++;
		if (h->walks_owed_at_most == 0)
			h->walks_owed_at_most = 1;
	}
	if (ours ? refresh_serve_order(&h->r, h->end_of_rib)
		 : refresh_serve_request(&h->r, h->end_of_rib))
		walk_begins(h);
	/* Free to walk: nothing to wait for. */
	if (h->end_of_rib)
		assert_true(h->walking);
}

static void
one_step(struct history *h, uint64_t x)
{
	switch (x % 8) {
	case 0:
		if (!h->end_of_rib) {
			h->end_of_rib = true;
			if (refresh_serve_end_of_rib(&h->r))
				walk_begins(h);
		}
		break;
	case 1:
	case 2:
		if (h->walking) {
			h->first_sent = true;
			refresh_serve_first_entry(&h->r);
		}
		break;
	case 3:
	case 4:
		/* An empty table's walk ends without an entry. */
		if (h->walking) {
			h->walking = false;
			if (refresh_serve_walk_done(&h->r))
				walk_begins(h);
		}
		break;
	default:
		request(h, h->with_orders && (x >> 8 & 1));
		break;
	}
	assert_int_equal(h->r.walking, h->walking);
	if (h->end_of_rib && !h->walking)
		assert_int_equal(h->unanswered, 0); /* none is lost */
}

static void
test_histories(void **state)
{
	for (uint64_t seed = 1; seed <= 20000; seed++) {
		struct history h = {.with_orders = seed % 2};
		uint64_t s = seed;

		for (unsigned n = (unsigned)(splitmix64(&s) % 60); n > 0; n--)
			one_step(&h, splitmix64(&s));
		/* Let everything end: then every request was served by a walk or counted with one. */
		one_step(&h, 0);
		for (int i = 0; i < 3; i++)
			one_step(&h, 3);
		if (h.walking || h.unanswered || h.r.pending || h.walks < h.r.served ||
			(!h.with_orders && h.walks != h.r.served) ||
			h.r.requests_received != h.r.served + h.r.coalesced)
			fail_msg("seed %llu: requests %llu, served %llu, coalesced %llu",
				(unsigned long long)seed, (unsigned long long)h.r.requests_received,
				(unsigned long long)h.r.served, (unsigned long long)h.r.coalesced);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_before_end_of_rib),
		cmocka_unit_test(test_joins_before_first_entry),
		cmocka_unit_test(test_storm_during_a_walk),
		cmocka_unit_test(test_orders_are_not_counted),
		cmocka_unit_test(test_reset_keeps_counters),
		cmocka_unit_test(test_histories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
