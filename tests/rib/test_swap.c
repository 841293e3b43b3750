/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Labels for VPN routes with our next hop: parts of a range after a start, and a random run against
 * a model of who has which label. Times are given.
 */
#include "rib/swap.h"

#include "lpm/arena.h"
#include "tests/lpm/rng.h"

#include <errno.h>
#include <string.h>

/* clang-format off */
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#define S UINT64_C(1000000000)

static struct arena *arena;

static struct swaps *
create(uint32_t last, struct swap_window fresh, struct swap_window all, uint64_t all_ns)
{
	struct swaps_config c = {.arena = arena,
		.first = 100,
		.last = last,
		.fresh = fresh,
		.all = all,
		.all_ns = all_ns};
	struct swaps *s = NULL;

	assert_int_equal(swaps_create(&c, &s), 0);
	return s;
}

static uint32_t
label(struct swaps *s, uint32_t hop, uint32_t received)
{
	struct ip_addr a = addr_from_v4(hop);

	return swaps_label(s, &a, received);
}

/* Before the rest of the start is over, labels of the fresh part alone; then those of the window, around the end of the range. */
static void
test_parts(void **state)
{
	struct swaps *s =
		create(139, (struct swap_window){100, 10}, (struct swap_window){130, 20}, 300 * S);

	(void)state;
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(label(s, 1, 16 + i), 100 + i);
	assert_int_equal(label(s, 1, 26), 0);
	assert_false(swaps_tidy(s, 299 * S, UINT64_MAX));
	assert_int_equal(label(s, 1, 26), 0);
	assert_true(swaps_tidy(s, 300 * S, UINT64_MAX));
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(label(s, 1, 26 + i), 130 + i);
	assert_int_equal(label(s, 1, 36), 0);
	assert_int_equal(label(s, 1, 16), 100);
	swaps_destroy(s);
	/* no fresh part */
	s = create(139, (struct swap_window){100, 0}, (struct swap_window){130, 20}, 300 * S);
	assert_int_equal(label(s, 1, 16), 0);
	assert_true(swaps_tidy(s, 300 * S, UINT64_MAX));
	assert_int_equal(label(s, 1, 16), 130);
	swaps_destroy(s);
}

/* The first failure of a label asks for a step at once, which orders the label again; further failures do not. */
static void
test_failures(void **state)
{
	struct swaps *s =
		create(139, (struct swap_window){100, 40}, (struct swap_window){100, 40}, 0);
	struct swap_order o;

	(void)state;
	assert_int_equal(label(s, 1, 16), 100);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(swaps_orders(s, &o, 1), 1);
		o.result = -ENOSPC;
		assert_int_equal(swaps_answer(s, &o, 1), i == 0);
		assert_int_equal(swaps_tidy(s, (i + 1) * S, UINT64_MAX), i == 0);
	}
	assert_int_equal(label(s, 1, 16), 0);
	assert_int_equal(swaps_orders(s, &o, 1), 1);
	o.result = 0;
	assert_false(swaps_answer(s, &o, 1));
	assert_true(swaps_tidy(s, 6 * S, UINT64_MAX));
	assert_int_equal(label(s, 1, 16), 100);
	swaps_destroy(s);
}

/*
 * A label rests for 60 s and the longest restart time (RFC 4724 4.2); the rest of the start takes
 * the restart time longer, too.
 */
static void
test_restart_time(void **state)
{
	struct swaps *s =
		create(100, (struct swap_window){100, 1}, (struct swap_window){100, 1}, 0);
	struct swap_order o;

	(void)state;
	swaps_restart_time(s, 120);
	swaps_restart_time(s, 30);
	assert_int_equal(label(s, 1, 16), 100);
	assert_int_equal(swaps_orders(s, &o, 1), 1);
	o.result = 0;
	assert_false(swaps_answer(s, &o, 1));
	for (uint64_t now = 1; now <= 181; now++) { /* the second step begins the rest */
		(void)swaps_tidy(s, now * S, UINT64_MAX);
		assert_int_equal(swaps_orders(s, &o, 1), 0);
	}
	(void)swaps_tidy(s, 182 * S, UINT64_MAX);
	assert_int_equal(swaps_orders(s, &o, 1), 1);
	assert_false(o.present);
	assert_false(swaps_answer(s, &o, 1));
	assert_int_equal(label(s, 2, 16), 100);
	swaps_destroy(s);
	s = create(139, (struct swap_window){100, 0}, (struct swap_window){130, 20}, 300 * S);
	swaps_restart_time(s, 120);
	assert_int_equal(label(s, 1, 16), 0);
	assert_false(swaps_tidy(s, 419 * S, UINT64_MAX));
	assert_true(swaps_tidy(s, 420 * S, UINT64_MAX));
	assert_int_equal(label(s, 1, 16), 130);
	swaps_destroy(s);
}

#define PAIRS 64u
#define LABELS 40u
#define STEPS 200000u

/* A pair: its label, references, and when the last one was dropped. */
static struct {
	uint32_t label, refs;
	uint64_t dropped_ns;
} pair[PAIRS];
/* Of a label: true while the fib thread has its action. */
static bool installed[LABELS];

static void
answer(struct swaps *s, struct rng *rng)
{
	struct swap_order o[7];
	unsigned n = swaps_orders(s, o, 1 + rng_below(rng, 7));

	for (unsigned i = 0; i < n; i++) {
		uint32_t at = o[i].label - 100;

		assert_true(at < LABELS);
		assert_int_equal(installed[at], !o[i].present);
		o[i].result = o[i].present && rng_below(rng, 8) == 0 ? -ENOMEM : 0;
		if (o[i].result == 0)
			installed[at] = o[i].present;
	}
	swaps_answer(s, o, n);
}

/* No label has two pairs, none changes while it has routes, and a label is used for another pair at the earliest 60 s after its last route. */
static void
test_random(void **state)
{
	struct swaps *s = create(99 + LABELS, (struct swap_window){100, LABELS},
		(struct swap_window){100, LABELS}, 0);
	struct rng rng = {7};
	struct swaps_figures f;
	unsigned refused = 0, moved = 0;
	uint64_t now = S;

	(void)state;
	for (unsigned n = 0; n < STEPS; n++) {
		uint32_t p = rng_below(&rng, PAIRS), got;

		switch (rng_below(&rng, 8)) {
		case 0:
			now += rng_below(&rng, 20) * S / 10;
			(void)swaps_tidy(s, now, rng_below(&rng, 4) > 0 ? UINT64_MAX : now - 5 * S);
			break;
		case 1:
		case 2:
			answer(s, &rng);
			break;
		case 3:
		case 4:
			if (pair[p].refs == 0)
				break;
			if (--pair[p].refs == 0)
				pair[p].dropped_ns = now;
			swaps_drop(s, pair[p].label);
			break;
		default:
			if (pair[p].refs == 2 || rng_below(&rng, PAIRS) < p)
				break; /* some pairs are rare */
			got = label(s, p, 16 + p);
			refused += got == 0;
			if (pair[p].refs > 0 && got != 0)
				assert_int_equal(got, pair[p].label);
			if (got == 0)
				break;
			assert_in_range(got, 100, 99 + LABELS);
			for (uint32_t q = 0; q < PAIRS; q++) {
				if (q == p || pair[q].label != got)
					continue;
				assert_int_equal(pair[q].refs, 0);
				assert_true(now - pair[q].dropped_ns >= SWAP_REST_NS);
				pair[q].label = 0;
				moved++;
			}
			pair[p].label = got;
			pair[p].refs++;
			swaps_hold(s, got);
		}
	}
	assert_true(refused > 100 && moved > 100);
	swaps_figures(s, &f);
	assert_true(f.in_use <= LABELS && f.resting <= f.in_use);
	/* all routes go: all labels are free at the end */
	for (uint32_t p = 0; p < PAIRS; p++)
		for (; pair[p].refs > 0; pair[p].refs--)
			swaps_drop(s, pair[p].label);
	for (unsigned n = 0; n < 1000; n++) {
		struct swap_order o[LABELS];
		unsigned count = swaps_orders(s, o, LABELS);

		for (unsigned i = 0; i < count; i++)
			o[i].result = 0;
		swaps_answer(s, o, count);
		(void)swaps_tidy(s, now += S, UINT64_MAX);
	}
	swaps_figures(s, &f);
	assert_int_equal(f.in_use + f.resting + f.failed, 0);
	assert_false(f.full);
	assert_true(swaps_asked(s) == swaps_done(s));
	swaps_destroy(s);
}

static int
make_arena(void **state)
{
	(void)state;
	return arena_create("test", &arena);
}

static int
free_arena(void **state)
{
	(void)state;
	assert_int_equal(arena_bytes(arena), 0);
	arena_destroy(arena);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_parts, make_arena, free_arena),
		cmocka_unit_test_setup_teardown(test_failures, make_arena, free_arena),
		cmocka_unit_test_setup_teardown(test_restart_time, make_arena, free_arena),
		cmocka_unit_test_setup_teardown(test_random, make_arena, free_arena),
	};

	role_enter_session();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
