/* SPDX-License-Identifier: BSD-3-Clause */
/* The detector of slow peers, with a given clock: each test is a history of looks. */
#include "control/session/slow_peer.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

/* clang-format off */
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#define S UINT64_C(1000000000)
#define LIMITS(absolute, relative, back)                                                           \
	{                                                                                          \
		(absolute) * S, (relative)*S, (back)*S                                             \
	}

static const struct slow_sample idle, stands = {.due = true, .blocked = true},
				      reads = {.due = true, .blocked = true, .moved = true},
				      sends = {.due = true};

/* A history of one peer. */
struct history {
	struct slow_limits limits;
	struct slow_peer p;
	uint64_t now, lag_since; /* 0: level */
};

static struct history
begin(struct slow_limits limits)
{
	struct history h = {.limits = limits, .now = 5 * S};

	slow_peer_start(&h.p, h.now);
	return h;
}

static enum slow_change
look(struct history *h, const struct slow_sample *s, uint64_t step)
{
	struct slow_sample one = *s;

	h->now += step;
	if (h->lag_since != 0)
		one.lag_ns = h->now - h->lag_since;
	return slow_peer_look(&h->p, &h->limits, &one, h->now);
}

/* Looks until a change, for at most `ns`. The change; *at (unless NULL): the time from the first look. */
static enum slow_change
looks(struct history *h, const struct slow_sample *s, uint64_t ns, uint64_t *at)
{
	uint64_t from = h->now;

	while (h->now - from < ns) {
		enum slow_change c = look(h, s, SLOW_LOOK_NS);

		if (at != NULL)
			*at = h->now - from;
		if (c != SLOW_SAME)
			return c;
	}
	return SLOW_SAME;
}

#define assert_within(at, expected)                                                                \
	assert_in_range(at, expected, (expected) + S) /* the contract: within a second */

static void
test_absolute(void **state)
{
	struct history h = begin((struct slow_limits)LIMITS(5, 0, 3600));
	uint64_t at;

	assert_int_equal(looks(&h, &stands, 60 * S, &at), SLOW_BEGINS);
	assert_within(at, 5 * S);
	assert_int_equal(h.p.reason, SLOW_ABSOLUTE);
	assert_int_equal(h.p.count, 1);
	assert_true(h.p.slow);
	assert_int_equal(looks(&h, &stands, 60 * S, NULL), SLOW_SAME);

	/* Octets now and then are enough. */
	h = begin(h.limits);
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(looks(&h, &stands, 4 * S, NULL), SLOW_SAME);
		assert_int_equal(look(&h, &reads, SLOW_LOOK_NS), SLOW_SAME);
	}
	/* Nothing waits, or nothing is blocked. */
	h = begin(h.limits);
	assert_int_equal(
		looks(&h, &(struct slow_sample){.blocked = true}, 60 * S, NULL), SLOW_SAME);
	assert_int_equal(looks(&h, &sends, 60 * S, NULL), SLOW_SAME);
	assert_false(slow_peer_watched(&h.p));
	/* The limit is off. */
	h = begin((struct slow_limits)LIMITS(0, 0, 3600));
	assert_int_equal(looks(&h, &stands, 60 * S, NULL), SLOW_SAME);
}

static void
test_relative(void **state)
{
	struct history h = begin((struct slow_limits)LIMITS(0, 300, 3600));
	uint64_t at;

	/* Without others ahead, a peer is not behind. */
	assert_int_equal(looks(&h, &stands, 1000 * S, NULL), SLOW_SAME);
	/* Reading does not help while the distance grows. */
	h.lag_since = h.now;
	assert_int_equal(looks(&h, &reads, 1000 * S, &at), SLOW_BEGINS);
	assert_within(at, 300 * S);
	assert_int_equal(h.p.reason, SLOW_RELATIVE);

	/* A distance below the limit stays unnoticed, however long it lasts. */
	h = begin(h.limits);
	for (unsigned i = 0; i < 4000; i++) {
		h.lag_since = h.now - 299 * S;
		assert_int_equal(look(&h, &reads, SLOW_LOOK_NS), SLOW_SAME);
	}
}

/* The distance grows, but the connection has room: this thread has not served the peer. */
static void
test_not_served(void **state)
{
	struct history h = begin((struct slow_limits)LIMITS(5, 5, 3600));

	h.lag_since = h.now;
	assert_int_equal(looks(&h, &sends, 100 * S, NULL), SLOW_SAME);
	/* One look in ten finds the connection full. */
	for (unsigned i = 0; i < 19; i++) {
		assert_int_equal(looks(&h, &sends, 9 * SLOW_LOOK_NS, NULL), SLOW_SAME);
		assert_int_equal(look(&h, &stands, SLOW_LOOK_NS), SLOW_SAME);
	}
}

/* The time of a late thread does not count. */
static void
test_late(void **state)
{
	struct history h = begin((struct slow_limits)LIMITS(5, 5, 3600));
	uint64_t at;

	h.lag_since = h.now;
	assert_int_equal(looks(&h, &stands, 3 * S, NULL), SLOW_SAME);
	assert_int_equal(look(&h, &stands, 100 * S), SLOW_SAME);
	assert_int_equal(looks(&h, &stands, 60 * S, &at), SLOW_BEGINS);
	assert_within(at, 2 * S - SLOW_LOOK_NS);

	/* A short delay does: looks every 0.9 s. */
	h = begin(h.limits);
	for (at = 0; look(&h, &stands, 9 * S / 10) == SLOW_SAME;)
		at += 9 * S / 10;
	assert_within(at + 9 * S / 10, 5 * S);
}

static void
test_caught_up(void **state)
{
	struct history h = begin((struct slow_limits)LIMITS(5, 300, 3600));
	uint64_t at;

	assert_int_equal(looks(&h, &stands, 60 * S, NULL), SLOW_BEGINS);
	/* The peer reads again, and has not caught up. */
	assert_int_equal(looks(&h, &reads, 60 * S, NULL), SLOW_SAME);
	assert_int_equal(looks(&h, &idle, 4 * S, NULL), SLOW_SAME);
	/* The peer stands again. */
	assert_int_equal(looks(&h, &stands, 2 * S, NULL), SLOW_SAME);
	assert_int_equal(looks(&h, &sends, 60 * S, NULL), SLOW_SAME);
	assert_int_equal(look(&h, &idle, SLOW_LOOK_NS), SLOW_SAME);
	/* From here on the peer stays caught up, with routes that wait for a moment now and then. */
	for (at = 0;; at += SLOW_LOOK_NS)
		if (look(&h, at % S == 0 ? &stands : &idle, SLOW_LOOK_NS) == SLOW_ENDS)
			break;
	assert_within(at + SLOW_LOOK_NS, 5 * S);
	assert_int_equal(h.p.reason, SLOW_CAUGHT_UP);
	assert_false(h.p.slow || slow_peer_watched(&h.p));
}

static void
test_switch_back(void **state)
{
	struct history h = begin((struct slow_limits)LIMITS(5, 0, 3600));
	uint64_t at;

	assert_int_equal(looks(&h, &stands, 60 * S, NULL), SLOW_BEGINS);
	assert_int_equal(looks(&h, &stands, 4000 * S, &at), SLOW_ENDS);
	assert_within(at, 3600 * S);
	assert_int_equal(h.p.reason, SLOW_SWITCH_BACK);
	/* Detection starts again. */
	assert_int_equal(looks(&h, &stands, 60 * S, &at), SLOW_BEGINS);
	assert_within(at, 5 * S);
	assert_int_equal(h.p.count, 2);

	h.limits = (struct slow_limits){.switch_back_ns = 3600 * S};
	assert_int_equal(look(&h, &stands, SLOW_LOOK_NS), SLOW_ENDS);
	assert_int_equal(h.p.reason, SLOW_LIMITS_OFF);
}

static void
test_session_down(void **state)
{
	struct history h = begin((struct slow_limits)LIMITS(5, 0, 3600));

	assert_int_equal(looks(&h, &stands, 4 * S, NULL), SLOW_SAME);
	assert_int_equal(slow_peer_end(&h.p), SLOW_SAME);
	assert_int_equal(looks(&h, &stands, 4 * S, NULL), SLOW_SAME); /* the next session */
	assert_int_equal(looks(&h, &stands, 2 * S, NULL), SLOW_BEGINS);
	slow_peer_cancel(&h.p);
	assert_int_equal(h.p.count, 0);
	assert_int_equal(look(&h, &stands, SLOW_LOOK_NS), SLOW_BEGINS);
	assert_int_equal(slow_peer_end(&h.p), SLOW_ENDS);
	assert_int_equal(h.p.reason, SLOW_SESSION_DOWN);
	assert_false(h.p.slow);
}

/* ---- every order of events, beside the rules of slow_peer.h in continuous time ---- */

#define ABSOLUTE_S 5.0
#define BACK_S 12.3
#define MARGIN_S 0.8 /* two looks and more: the order decides nothing so close to a limit */

enum event { STANDS, STANDS_LONG, READS, CATCHES_UP, STAYS_LEVEL, DOWN, EVENTS };

static const double event_s[] = {3.1, 7.4, 0.25, 3.1, 7.4, 0};

struct model {
	bool slow, level, vague;
	double stands, level_for, slow_for;
};

static bool
model_reaches(struct model *m, double at, double limit)
{
	m->vague |= at > limit - MARGIN_S && at < limit + MARGIN_S;
	return at >= limit;
}

static void
model_event(struct model *m, enum event e)
{
	double left = event_s[e], ends;

	if (e == DOWN)
		m->slow = false;
	if (e == DOWN || e >= READS)
		m->stands = 0;
	while (left > 0) {
		double step = left;

		if (!m->slow) {
			if (e > STANDS_LONG || !model_reaches(m, m->stands + left, ABSOLUTE_S)) {
				m->stands += e > STANDS_LONG ? 0 : left;
				return;
			}
			step = ABSOLUTE_S - m->stands;
			m->stands = ABSOLUTE_S;
			m->slow = true;
			m->level = false;
			m->level_for = m->slow_for = 0;
			left -= step;
			continue;
		}
		m->stands += e > STANDS_LONG ? 0 : left;
		m->level = (m->level || e >= CATCHES_UP) && m->stands < 1;
		m->level_for = m->level ? m->level_for : 0;
		ends = BACK_S - m->slow_for;
		m->slow = !model_reaches(m, m->slow_for + left, BACK_S);
		if (m->level && model_reaches(m, m->level_for + left, ABSOLUTE_S)) {
			m->slow = false;
			ends = ABSOLUTE_S - m->level_for < ends ? ABSOLUTE_S - m->level_for : ends;
		}
		m->level_for += m->level ? left : 0;
		m->slow_for += left;
		if (m->slow)
			return;
		left -= ends; /* detection starts again */
		m->stands = 0;
	}
}

static void
event_look(struct history *h, enum event e)
{
	const struct slow_sample *s = e <= STANDS_LONG ? &stands : e == READS ? &reads : &idle;

	if (e == DOWN) {
		(void)slow_peer_end(&h->p);
		slow_peer_start(&h->p, h->now);
	}
	for (double t = 0; e != DOWN && t < event_s[e]; t += 0.25)
		(void)look(h, s, SLOW_LOOK_NS);
}

/* Orders of up to five events; those that end within two looks of a limit are passed over. */
static void
test_every_order(void **state)
{
	unsigned orders = 1, checked = 0, slow = 0;

	(void)state;
	for (unsigned count = 1; count <= 5; count++) {
		orders *= EVENTS;
		for (unsigned order = 0; order < orders; order++) {
			struct history h = begin((struct slow_limits){
				(uint64_t)(ABSOLUTE_S * 1e9), 0, (uint64_t)(BACK_S * 1e9)});
			struct model m = {0};

			for (unsigned i = 0, left = order; i < count; i++, left /= EVENTS) {
				model_event(&m, left % EVENTS);
				event_look(&h, left % EVENTS);
			}
			if (m.vague)
				continue;
			if (h.p.slow != m.slow)
				fail_msg("order %u of %u events: slow %d", order, count, h.p.slow);
			checked++;
			slow += m.slow;
		}
	}
	printf("%u orders, %u end slow\n", checked, slow);
	assert_true(checked > 1000 && slow > 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_order),
		cmocka_unit_test(test_absolute),
		cmocka_unit_test(test_relative),
		cmocka_unit_test(test_not_served),
		cmocka_unit_test(test_late),
		cmocka_unit_test(test_caught_up),
		cmocka_unit_test(test_switch_back),
		cmocka_unit_test(test_session_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
