/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Labels for VPN routes with our next hop: parts of a range after a start, and a random run against
 * a model of who has which label. Times are given.
 */
#include "rib/table/swap.h"

#include "lpm/base/arena.h"
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
label_for(struct swaps *s, const struct swap_owner *owner, uint32_t hop, uint32_t received)
{
	struct ip_addr a = addr_from_v4(hop);

	return swaps_label(s, owner, &a, received);
}

static const struct swap_owner one = {.addr = {.afi = AFI_IPV4, .b = {192, 0, 2, 1}}},
			       two = {.addr = {.afi = AFI_IPV4, .b = {192, 0, 2, 2}}};

static uint32_t
label(struct swaps *s, uint32_t hop, uint32_t received)
{
	return label_for(s, &one, hop, received);
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

/* Asks for `count` labels and holds them. Returns the number of labels. */
static uint32_t
take(struct swaps *s, const struct swap_owner *owner, uint32_t hop, uint32_t count)
{
	uint32_t got = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t l = label_for(s, owner, hop, 16 + i);

		if (l == 0)
			continue;
		swaps_hold(s, l);
		got++;
	}
	return got;
}

/* The fib thread answers all orders. */
static void
all_answered(struct swaps *s)
{
	struct swap_order o;

	while (swaps_orders(s, &o, 1) > 0) {
		o.result = 0;
		(void)swaps_answer(s, &o, 1);
	}
}

#define POOL 4096u

/*
 * The share of an owner equals the free labels: half of all for the first owner, half of the rest
 * for the second owner, also after the routes of the first owner have gone. The shares are reported.
 */
static void
test_shares(void **state)
{
	struct swaps *s = create(
		99 + POOL, (struct swap_window){100, POOL}, (struct swap_window){100, POOL}, 0);
	struct swap_owner listened[2] = {{.dynamic = true, .group = 7, .addr = one.addr},
		{.dynamic = true, .group = 7, .addr = two.addr}};
	struct swap_share wanting, most;

	(void)state;
	assert_int_equal(swaps_wanting(s, &wanting, &most), 0);
	assert_int_equal(take(s, &one, 1, 10 * POOL), POOL / 2);
	assert_int_equal(swaps_wanting(s, &wanting, &most), 1);
	assert_true(addr_equal(&wanting.owner.addr, &one.addr));
	assert_int_equal(wanting.labels, POOL / 2);
	assert_int_equal(wanting.refused, 10 * POOL - POOL / 2);
	/* without a change of the labels there is nothing to evaluate again */
	assert_false(swaps_tidy(s, 100 * S, 0));
	/* all routes of the first owner go, and the labels rest */
	for (uint32_t i = 0; i < POOL / 2; i++)
		swaps_drop(s, label(s, 1, 16 + i));
	all_answered(s);
	assert_int_equal(take(s, &one, 2, POOL), 0);
	assert_int_equal(take(s, &two, 3, POOL), POOL / 4);
	assert_int_equal(swaps_wanting(s, &wanting, &most), 2);
	assert_true(addr_equal(&most.owner.addr, &one.addr));
	/* two peers of a listen range share labels */
	assert_int_equal(take(s, &listened[0], 4, POOL), POOL / 8);
	assert_int_equal(take(s, &listened[1], 5, POOL), 0);
	assert_true(swaps_owner(s, &listened[0], &wanting));
	assert_int_equal(wanting.labels, POOL / 8);
	/* a small owner gets labels until the last */
	for (uint32_t i = 0; i < 7; i++) {
		struct swap_owner o = {.addr = addr_from_v4(0x0a000000u + i)};

		assert_true(take(s, &o, 6 + i, SWAP_LEAST) == SWAP_LEAST);
	}
	all_answered(s);
	/* the rest is over */
	for (uint64_t now = 101; now < 163; now++)
		(void)swaps_tidy(s, now * S, UINT64_MAX);
	all_answered(s);
	assert_false(swaps_owner(s, &two, &most) && !most.wants);
	assert_true(swaps_tidy(s, 163 * S, UINT64_MAX));
	assert_int_equal(swaps_wanting(s, &wanting, &most), 0);
	assert_false(swaps_owner(s, &one, &wanting));
	assert_in_range(take(s, &two, 13, POOL), POOL / 8, POOL / 2);
	swaps_destroy(s);
}

/* A label counts for the owner of the newest route, in use or resting. */
static void
test_share_moves(void **state)
{
	struct swaps *s =
		create(199, (struct swap_window){100, 100}, (struct swap_window){100, 100}, 0);
	struct swap_share share;
	uint32_t l = label(s, 1, 16);

	(void)state;
	swaps_hold(s, l);
	assert_int_equal(label_for(s, &two, 1, 16), l);
	assert_true(swaps_owner(s, &two, &share));
	assert_int_equal(share.labels, 1);
	assert_false(swaps_owner(s, &one, &share));
	swaps_drop(s, l);
	assert_int_equal(label_for(s, &one, 1, 16), l);
	assert_true(swaps_owner(s, &one, &share));
	assert_int_equal(share.labels, 1);
	assert_false(swaps_owner(s, &two, &share));
	swaps_destroy(s);
}

/*
 * Two reflectors have the same routes. The first one goes, and the routes continue with the paths of
 * the second one: each new record holds the label before the old record drops the label. The first
 * one returns with other routes, and has room for them.
 */
static void
test_reflectors(void **state)
{
	struct swaps *s = create(
		99 + POOL, (struct swap_window){100, POOL}, (struct swap_window){100, POOL}, 0);
	struct swap_share wanting, most;

	(void)state;
	assert_int_equal(take(s, &one, 1, POOL / 2), POOL / 2);
	assert_int_equal(take(s, &two, 1, POOL / 2), POOL / 2);
	for (uint32_t i = 0; i < POOL / 2; i++)
		swaps_drop(s, label_for(s, &two, 1, 16 + i));
	assert_int_equal(take(s, &one, 2, POOL), POOL / 4);
	assert_int_equal(swaps_wanting(s, &wanting, &most), 1);
	assert_true(addr_equal(&wanting.owner.addr, &one.addr));
	assert_true(addr_equal(&most.owner.addr, &two.addr));
	assert_int_equal(most.labels, POOL / 2);
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

/* No label has two pairs, no label with routes changes, and a label gets another pair at the earliest 60 s after the last route. */
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
		cmocka_unit_test_setup_teardown(test_shares, make_arena, free_arena),
		cmocka_unit_test_setup_teardown(test_share_moves, make_arena, free_arena),
		cmocka_unit_test_setup_teardown(test_reflectors, make_arena, free_arena),
		cmocka_unit_test_setup_teardown(test_random, make_arena, free_arena),
	};

	role_enter_session();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
