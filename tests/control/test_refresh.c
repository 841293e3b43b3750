/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Serving ROUTE-REFRESH: single cases, and random histories as seen by a peer. A request is
 * answered by a walk that begins at or after the request, or that had sent no route when the
 * request arrived.
 */
#include "control/session/refresh.h"

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

static const struct refresh_pace rested;

static void
test_plain(void **state)
{
	struct refresh_serve r = {0};

	assert_true(refresh_serve_request(&r, &rested, true, 1));
	assert_true(r.walking);
	refresh_serve_first_message(&r);
	assert_false(refresh_serve_walk_done(&r, &rested, 1));
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

	assert_false(refresh_serve_end_of_rib(&r, &rested, 1)); /* no request yet */
	assert_false(refresh_serve_request(&r, &rested, false, 1));
	assert_false(refresh_serve_request(&r, &rested, false, 1));
	assert_true(refresh_serve_end_of_rib(&r, &rested, 1));
	assert_false(refresh_serve_walk_done(&r, &rested, 1));
	assert_int_equal(r.served, 1);
	assert_int_equal(r.coalesced, 1);
}

static void
test_joins_before_first_message(void **state)
{
	struct refresh_serve r = {0};

	assert_true(refresh_serve_request(&r, &rested, true, 1));
	assert_false(refresh_serve_request(&r, &rested, true, 1));
	refresh_serve_first_message(&r);
	assert_false(refresh_serve_walk_done(&r, &rested, 1));
	assert_int_equal(r.served, 1);
	assert_int_equal(r.coalesced, 1);
}

static void
test_storm_during_a_walk(void **state)
{
	struct refresh_serve r = {0};

	assert_true(refresh_serve_request(&r, &rested, true, 1));
	refresh_serve_first_message(&r);
	for (int i = 0; i < 1000; i++)
		assert_false(refresh_serve_request(&r, &rested, true, 1));
	assert_true(refresh_serve_walk_done(&r, &rested, 1)); /* one more walk for all requests */
	refresh_serve_first_message(&r);
	assert_false(refresh_serve_walk_done(&r, &rested, 1));
	assert_int_equal(r.requests_received, 1001);
	assert_int_equal(r.served, 2);
	assert_int_equal(r.coalesced, 999);
}

/*
 * An export refresh by command may also answer the peer's requests and then counts as served;
 * without a request it does not count.
 */
static void
test_orders_are_not_counted(void **state)
{
	struct refresh_serve r = {0};

	assert_true(refresh_serve_order(&r, true, 1));
	assert_int_equal(r.served, 0);
	assert_false(refresh_serve_request(&r, &rested, true, 1)); /* joins our walk */
	assert_false(refresh_serve_request(&r, &rested, true, 1));
	assert_int_equal(r.served, 1);
	assert_int_equal(r.coalesced, 1);
	refresh_serve_first_message(&r);
	assert_false(refresh_serve_order(&r, true, 1));
	assert_false(refresh_serve_request(&r, &rested, true, 1)); /* after our own order */
	assert_false(refresh_serve_order(&r, true, 1));
	assert_true(refresh_serve_walk_done(&r, &rested, 1));
	assert_int_equal(r.served, 2);
	assert_int_equal(r.coalesced, 1);
	refresh_serve_first_message(&r);
	assert_false(refresh_serve_order(&r, true, 1));
	assert_true(refresh_serve_walk_done(&r, &rested, 1));
	assert_false(refresh_serve_walk_done(&r, &rested, 1));
	assert_int_equal(r.requests_received, 3);
	assert_int_equal(r.served, 2);
	assert_int_equal(r.coalesced, 1);
}

static void
test_reset_keeps_counters(void **state)
{
	struct refresh_serve r = {0};

	assert_true(refresh_serve_request(&r, &rested, true, 1));
	refresh_serve_first_message(&r);
	assert_false(refresh_serve_request(&r, &rested, true, 1));
	refresh_serve_reset(&r);
	assert_false(r.walking || r.first_sent || r.pending);
	assert_int_equal(r.requests_received, 2);
	assert_int_equal(r.served, 1);
	assert_false(refresh_serve_end_of_rib(&r, &rested, 1)); /* the new session owes no answer */
}

/* An outside view: times of requests and of walks. */
struct history {
	struct refresh_serve r;
	bool end_of_rib;
	bool walking, first_sent; /* state as seen from outside, not as reported by the room */
	/* requests without a walk that has begun or could still include them */
	unsigned unanswered;
	unsigned walks, walks_owed_at_most;
	bool with_orders, with_rests;
	struct refresh_pace pace;
	uint64_t now_ns;
};

static void
walk_begins(struct history *h)
{
	assert_true(h->end_of_rib); /* never before our End-of-RIB */
	assert_false(h->walking); /* never two at a time */
	assert_true(h->unanswered > 0); /* never without a request */
	h->walking = true;
	h->first_sent = false;
	h->unanswered = 0;
	h->walks++;
	/* Any number of requests together cause at most one further walk. */
	assert_true(h->walks_owed_at_most > 0);
	h->walks_owed_at_most--;
}

/* A request of the peer, or our own order. */
static void
request(struct history *h, bool ours)
{
	bool joins = h->walking && !h->first_sent;

	if (!joins) {
		h->unanswered++;
		if (h->walks_owed_at_most == 0)
			h->walks_owed_at_most = 1;
	}
	if (ours ? refresh_serve_order(&h->r, h->end_of_rib, h->now_ns)
		 : refresh_serve_request(&h->r, &h->pace, h->end_of_rib, h->now_ns))
		walk_begins(h);
	/* A walk that need not wait has begun. Our own orders never wait. */
	if (h->end_of_rib && (ours || h->now_ns >= h->pace.free_ns))
		assert_true(h->walking);
}

static void
one_step(struct history *h, uint64_t x)
{
	h->now_ns += x >> 32 & 0xff;
	switch (x % 8) {
	case 0:
		if (!h->end_of_rib) {
			h->end_of_rib = true;
			if (refresh_serve_end_of_rib(&h->r, &h->pace, h->now_ns))
				walk_begins(h);
		}
		break;
	case 1:
	case 2:
		if (h->walking) {
			h->first_sent = true;
			refresh_serve_first_message(&h->r);
		}
		break;
	case 3:
	case 4:
		/* The walk of an empty table ends without an entry. */
		if (h->walking) {
			h->walking = false;
			if (h->with_rests)
				refresh_pace_spent(&h->pace, h->now_ns, x >> 40 & 0x3f);
			if (refresh_serve_walk_done(&h->r, &h->pace, h->now_ns))
				walk_begins(h);
		}
		break;
	default:
		request(h, h->with_orders && (x >> 8 & 1));
		break;
	}
	/* the timer */
	if (h->now_ns >= h->pace.free_ns && refresh_serve_resume(&h->r, h->now_ns))
		walk_begins(h);
	assert_int_equal(h->r.walking, h->walking);
	/* no request is lost */
	if (h->end_of_rib && !h->walking)
		assert_int_equal(h->unanswered > 0, h->r.resting);
	assert_true(!h->r.resting || h->now_ns < h->pace.free_ns);
}

static void
test_histories(void **state)
{
	for (uint64_t seed = 1; seed <= 20000; seed++) {
		struct history h = {
			.with_orders = seed % 2, .with_rests = seed / 2 % 2, .now_ns = 1000};
		uint64_t s = seed;

		for (unsigned n = (unsigned)(splitmix64(&s) % 60); n > 0; n--)
			one_step(&h, splitmix64(&s));
		/*
		 * Let all walks end: every request was served by a walk or coalesced with another
		 * request.
		 */
		one_step(&h, 0);
		for (int i = 0; i < 3; i++) {
			h.now_ns += 10000;
			one_step(&h, 3);
		}
		if (h.walking || h.unanswered || h.r.pending || h.walks < h.r.served ||
			(!h.with_orders && h.walks != h.r.served) ||
			h.r.requests_received != h.r.served + h.r.coalesced)
			fail_msg("seed %llu: requests %llu, served %llu, coalesced %llu",
				(unsigned long long)seed, (unsigned long long)h.r.requests_received,
				(unsigned long long)h.r.served, (unsigned long long)h.r.coalesced);
	}
}

/* ---- time limits of walks ---- */

#define MS 1000000ull

/*
 * A single request never waits, nor does a request after a long pause. After a walk follows a
 * proportional rest, then a single walk for all requests received meanwhile.
 */
static void
test_a_rest_behind_a_walk(void **state)
{
	struct refresh_serve r = {0}, other = {0};
	struct refresh_pace p = {0};
	uint64_t now = 1000 * MS, begun = now;

	assert_true(refresh_serve_request(&r, &p, true, now));
	refresh_serve_first_message(&r);
	for (int slice = 0; slice < 100; slice++) {
		now += MS;
		refresh_pace_spent(&p, now, MS);
	}
	assert_int_equal(p.free_ns, begun + REFRESH_SHARE * 100 * MS);
	assert_false(refresh_serve_request(&r, &p, true, now));
	assert_false(refresh_serve_walk_done(&r, &p, now));
	assert_true(r.resting && r.pending && !r.walking);
	for (int i = 0; i < 1000; i++)
		assert_false(refresh_serve_request(&r, &p, true, now));
	/* another peer does not wait */
	assert_true(refresh_serve_request(&other, &p, true, now));
	assert_false(refresh_serve_walk_done(&other, &p, now));
	now = p.free_ns;
	assert_true(refresh_serve_resume(&r, now));
	assert_false(refresh_serve_resume(&r, now));
	refresh_serve_first_message(&r);
	assert_false(refresh_serve_walk_done(&r, &p, now + 100 * MS));
	assert_int_equal(r.requests_received, 1002);
	assert_int_equal(r.served, 2);
	assert_int_equal(r.coalesced, 1000);
	/* the peer has asked recently, until it paused long enough */
	p.free_ns = now + REFRESH_SELDOM_NS + 1000 * MS;
	assert_false(refresh_serve_request(&r, &p, true, now + REFRESH_SELDOM_NS - 1));
	refresh_serve_reset(&r);
	assert_true(refresh_serve_request(&r, &p, true, now + REFRESH_SELDOM_NS));
}

static void
test_our_orders_never_rest(void **state)
{
	struct refresh_serve r = {0};
	struct refresh_pace p = {.free_ns = 1000 * MS};

	assert_true(refresh_serve_request(&r, &p, true, 1));
	refresh_serve_first_message(&r);
	assert_false(refresh_serve_order(&r, true, 2));
	assert_true(refresh_serve_walk_done(&r, &p, 3)); /* also counts against our order */
	refresh_serve_first_message(&r);
	assert_false(refresh_serve_request(&r, &p, true, 4));
	assert_false(refresh_serve_walk_done(&r, &p, 5));
	assert_true(r.resting);
	/* our order ends the rest and answers the peer */
	assert_true(refresh_serve_order(&r, true, 6));
	assert_int_equal(r.served, 2);
	assert_false(r.resting || r.pending);
	assert_false(refresh_serve_resume(&r, 7));
}

static void
test_a_rest_has_an_end(void **state)
{
	struct refresh_pace p = {0};
	uint64_t now = 1;

	for (int i = 0; i < 100; i++) {
		now += 1000 * MS;
		refresh_pace_spent(&p, now, 1000 * MS);
		assert_true(p.free_ns <= now + REFRESH_REST_MAX_NS);
	}
}

/*
 * Peers that ask constantly, in turn and all together: walks take their share of the time and no
 * more, and each peer is answered.
 */
static void
test_floods_have_their_share(void **state)
{
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct refresh_serve r[5] = {0};
		struct refresh_pace p = {0};
		uint64_t s = seed, now = 1000 * MS, busy = 0,
			 cost = (1 + splitmix64(&s) % 200) * MS;
		unsigned peers = 1 + (unsigned)(splitmix64(&s) % 5);

		/* a thread serving the peers in turn: 60 s */
		for (unsigned turn = 0; now < 61000 * MS; turn++) {
			struct refresh_serve *at = &r[turn % peers];

			if (refresh_serve_request(at, &p, true, now) ||
				(now >= p.free_ns && refresh_serve_resume(at, now))) {
				refresh_serve_first_message(at);
				now += cost;
				busy += cost;
				refresh_pace_spent(&p, now, cost);
				/* a request during the walk */
				(void)refresh_serve_request(at, &p, true, now);
				if (refresh_serve_walk_done(at, &p, now))
					refresh_serve_reset(at);
			}
			now += MS;
		}
		for (unsigned i = 0; i < peers; i++)
			assert_true(r[i].served > 1);
		/* plus the walks of peers that had waited for REFRESH_SELDOM_NS */
		if (busy > 60000 * MS / REFRESH_SHARE +
				   cost * peers * (1 + 60000 * MS / REFRESH_SELDOM_NS))
			fail_msg("seed %llu: busy %llu ms", (unsigned long long)seed,
				(unsigned long long)(busy / MS));
		assert_true(busy >= 60000 * MS / REFRESH_SHARE / 2 || cost < 10 * MS);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_before_end_of_rib),
		cmocka_unit_test(test_joins_before_first_message),
		cmocka_unit_test(test_storm_during_a_walk),
		cmocka_unit_test(test_orders_are_not_counted),
		cmocka_unit_test(test_reset_keeps_counters),
		cmocka_unit_test(test_histories),
		cmocka_unit_test(test_a_rest_behind_a_walk),
		cmocka_unit_test(test_our_orders_never_rest),
		cmocka_unit_test(test_a_rest_has_an_end),
		cmocka_unit_test(test_floods_have_their_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
