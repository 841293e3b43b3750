/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/decision.h"
#include "rib/table/inspect.h"

#include "tests/rib/decision_reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static uint64_t rng_state;

static uint64_t
rng(void)
{
	uint64_t z = (rng_state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static unsigned
below(unsigned n)
{
	return (unsigned)(rng() % n);
}

#define PATHS_MAX_TEST 200
#ifdef KEEL_SANITIZED /* the reference is quadratic */
#define MANY_ROUNDS 60
#else
#define MANY_ROUNDS 300
#endif

static struct attr_set sets[PATHS_MAX_TEST];

/* Few values for each step, so that every step decides in some inputs. */
static void
random_input(struct decision_input *in, struct attr_set *a, unsigned i, unsigned n, unsigned spread)
{
	*a = (struct attr_set){0};
	if (below(2))
		a->has |= ATTR_HAS_LOCAL_PREF, a->local_pref = 99 + below(3);
	if (below(2))
		a->has |= ATTR_HAS_MED, a->med = below(3);
	if (below(6) == 0)
		a->has |= ATTR_HAS_ORIGINATOR_ID, a->originator_id = below(3);
	if (below(4) == 0)
		a->has |= ATTR_LLGR_STALE;
	a->first_asn = below(spread);
	a->as_path_len = a->first_asn != 0 || below(2) ? 6 : 0;
	a->as_path_hops = (uint16_t)(below(6) == 0);
	a->origin = (uint8_t)(below(6) == 0);
	a->cluster_count = (uint16_t)below(2);
	a->next_hop = addr_from_v4(0x0a000000 + below(n / 2 + 1));
	*in = (struct decision_input){
		.attrs = a,
		.eligible = below(5) != 0,
		.external = below(4) != 0,
		.local = below(20) == 0,
		.igp_metric = below(4) == 0,
		.router_id = below(3),
		.peer_addr = addr_from_v4(0xc0000200u + below(3)),
		.path_id = i,
	};
	if (below(3)) /* mostly without local-pref, so that ties last longer */
		a->has &= ~(uint32_t)ATTR_HAS_LOCAL_PREF;
}

static void
shuffle(unsigned *at, unsigned n)
{
	for (unsigned i = n; i > 1; i--) {
		unsigned j = below(i), t = at[i - 1];

		at[i - 1] = at[j];
		at[j] = t;
	}
}

static bool
worse_by(enum decision_reason r, const struct decision_input *best, const struct decision_input *in,
	unsigned step)
{
	(void)r;
	return ref_step_value(in, step) > ref_step_value(best, step);
}

/* The reported reason must be true: its step prefers the best path. */
static void
check_reason(const struct decision_input *in, unsigned n, unsigned best, unsigned i,
	enum decision_reason r)
{
	static const int step_of[] = {
		[DECISION_LLGR_STALE] = 1,
		[DECISION_LOCAL_PREF] = 2,
		[DECISION_AS_PATH_LENGTH] = 3,
		[DECISION_ORIGIN] = 4,
		[DECISION_EXTERNAL] = 6,
		[DECISION_IGP_METRIC] = 7,
		[DECISION_ROUTER_ID] = 8,
		[DECISION_CLUSTER_LENGTH] = 9,
		[DECISION_PATH_ID] = 11,
	};

	if (!in[i].eligible) {
		assert_int_equal(r, DECISION_NEXT_HOP_UNREACHABLE);
	} else if (i == best) {
		assert_int_equal(r, DECISION_EQUAL);
	} else if (r == DECISION_MED) {
		bool found = false;

		for (unsigned j = 0; j < n; j++)
			found |= in[j].eligible && ref_neighbours(in[i].attrs, in[j].attrs) &&
				 (in[j].attrs->has & ATTR_HAS_MED ? in[j].attrs->med : 0) <
					 in[i].attrs->med;
		assert_true(found);
	} else if (r == DECISION_PREFERENCE) {
		assert_true(in[best].local != in[i].local);
	} else if (r == DECISION_PEER_ADDRESS) {
		assert_true(addr_compare(&in[best].peer_addr, &in[i].peer_addr) < 0);
	} else {
		assert_true(step_of[r] != 0);
		assert_true(worse_by(r, &in[best], &in[i], (unsigned)step_of[r]));
	}
}

static unsigned multipaths;

static void
property_round(unsigned n, unsigned spread)
{
	struct decision_input in[PATHS_MAX_TEST] = {0}, mixed[PATHS_MAX_TEST];
	unsigned order[PATHS_MAX_TEST], mixed_order[PATHS_MAX_TEST], expected[PATHS_MAX_TEST],
		at[PATHS_MAX_TEST];
	enum decision_reason reason[PATHS_MAX_TEST];

	for (unsigned i = 0; i < n; i++) {
		random_input(&in[i], &sets[i], i, n, spread);
		at[i] = i;
	}
	decision_order(in, n, order, reason);
	ref_order(in, n, expected);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(order[i], expected[i]);
	for (unsigned i = 0; i < n; i++)
		check_reason(in, n, order[0], i, reason[i]);
	shuffle(at, n);
	for (unsigned i = 0; i < n; i++)
		mixed[i] = in[at[i]];
	decision_order(mixed, n, mixed_order, NULL);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(at[mixed_order[i]], order[i]);
	for (unsigned i = 1; i < n; i++)
		assert_true(in[order[i - 1]].eligible || !in[order[i]].eligible);
	unsigned max_paths = below(8), together = decision_multipath(in, n, order, max_paths);

	assert_int_equal(together, ref_multipath(in, n, expected, max_paths));
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(order[i], expected[i]);
	multipaths += together > 1;
}

static void
test_property(void **state)
{
	for (uint64_t seed = 1; seed <= 60000; seed++) {
		rng_state = seed;
		property_round(1 + below(9), 1 + below(4));
	}
	assert_true(multipaths > 5000);
}

static void
test_property_many(void **state)
{
	for (uint64_t seed = 1; seed <= MANY_ROUNDS; seed++) {
		rng_state = seed * 7919;
		property_round(17 + below(PATHS_MAX_TEST - 17), 1 + below(60));
	}
}

/* RFC 4271's MED trap: pairwise a < b, b < c, c < a. */
/*
 * Routes of this router with a preference after routes of peers: the best route of the peers decides,
 * and the order of the routes of peers stays.
 */
static void
test_preference(void **state)
{
	struct decision_input in[9] = {0}, plain[9];
	unsigned order[9], before[9], behind = 0;
	enum decision_reason reason[9];

	(void)state;
	for (uint64_t seed = 1; seed <= 20000; seed++) {
		unsigned n = 1 + below(9), best = UINT32_MAX, last = 0;

		rng_state = seed;
		for (unsigned i = 0; i < n; i++) {
			random_input(&in[i], &sets[i], i, n, 3);
			in[i].local = below(3) == 0;
			plain[i] = in[i];
			in[i].after_external = in[i].local && below(2);
			in[i].after_internal = in[i].local && below(2);
		}
		decision_order(plain, n, before, NULL);
		decision_order(in, n, order, reason);
		for (unsigned i = n; i-- > 0;)
			if (plain[before[i]].eligible && !plain[before[i]].local)
				best = before[i];
		for (unsigned i = 0; i < n; i++) {
			const struct decision_input *p = &in[order[i]];
			bool after = best != UINT32_MAX && p->local &&
				     (in[best].external ? p->after_external : p->after_internal);
			/* own routes, routes of peers, own routes after these, unusable routes */
			unsigned group = !p->eligible ? 3 : after ? 2 : p->local ? 0 : 1;

			assert_true(group >= last);
			last = group;
			behind += group == 2;
			if (group == 2 && !in[order[0]].local)
				assert_int_equal(reason[order[i]], DECISION_PREFERENCE);
		}
		/* own routes behind the routes of peers take none of the equal routes of these away */
		if (in[order[0]].eligible && !in[order[0]].local) {
			struct decision_input peers[9];
			unsigned count = 0, peers_order[9], beside[9];

			for (unsigned i = 0; i < n; i++)
				if (!in[i].local)
					peers[count++] = plain[i];
			decision_order(peers, count, peers_order, NULL);
			for (unsigned i = 0; i < n; i++)
				beside[i] = order[i];
			assert_int_equal(decision_multipath(in, n, beside, 9),
				decision_multipath(peers, count, peers_order, 9));
		}
		/* the order inside of each group */
		for (unsigned i = 0, at = 0; i < n; i++) {
			if (in[before[i]].eligible && in[before[i]].local)
				continue;
			while (in[order[at]].eligible && in[order[at]].local)
				at++;
			assert_int_equal(order[at++], before[i]);
		}
	}
	assert_true(behind > 1000);
}

static void
test_med_cycle(void **state)
{
	struct attr_set a = {.first_asn = 1, .as_path_len = 6, .has = ATTR_HAS_MED, .med = 10};
	struct attr_set b = {.first_asn = 2, .as_path_len = 6};
	struct attr_set c = {.first_asn = 1, .as_path_len = 6, .has = ATTR_HAS_MED, .med = 5};
	struct decision_input in[3] = {
		{.attrs = &a, .eligible = true, .external = true, .router_id = 1},
		{.attrs = &b, .eligible = true, .external = true, .router_id = 2},
		{.attrs = &c, .eligible = true, .external = true, .router_id = 3},
	};
	enum decision_reason r[3];
	unsigned order[3];

	assert_true(decision_compare(&in[0], &in[1], r) < 0);
	assert_true(decision_compare(&in[1], &in[2], r) < 0);
	assert_true(decision_compare(&in[2], &in[0], r) < 0);
	assert_int_equal(r[0], DECISION_MED);
	decision_order(in, 3, order, r);
	assert_int_equal(order[0], 1);
	assert_int_equal(order[1], 2);
	assert_int_equal(order[2], 0);
	assert_int_equal(r[0], DECISION_MED);
	assert_int_equal(r[1], DECISION_EQUAL);
	assert_int_equal(r[2], DECISION_ROUTER_ID);
}

/*
 * Two upstreams; a path that differs in a step from a to e is not used together with the best path.
 */
static void
test_multipath(void **state)
{
	struct attr_set a = {
		.first_asn = 1, .as_path_len = 6, .as_path_hops = 3, .next_hop = addr_from_v4(1)};
	struct attr_set b = {
		.first_asn = 2, .as_path_len = 6, .as_path_hops = 3, .next_hop = addr_from_v4(2)};
	struct attr_set worse = a, internal_hop = a;
	struct decision_input in[4] = {
		{.attrs = &a, .eligible = true, .external = true, .router_id = 1},
		{.attrs = &worse, .eligible = true, .external = true, .router_id = 2},
		{.attrs = &b, .eligible = true, .external = true, .router_id = 3},
		{.attrs = &internal_hop, .eligible = true, .router_id = 4},
	};
	unsigned order[4];

	/*
	 * same neighbour AS as the best path, higher MED: ranked second, but skipped for multipath
	 */
	worse.has = ATTR_HAS_MED;
	worse.med = 10;
	worse.next_hop = addr_from_v4(3);
	internal_hop.next_hop = addr_from_v4(4);
	internal_hop.first_asn = 3;
	decision_order(in, 4, order, NULL);
	assert_int_equal(order[1], 1);
	assert_int_equal(decision_multipath(in, 4, order, 15), 2);
	assert_int_equal(order[0], 0);
	assert_int_equal(order[1], 2);
	assert_int_equal(order[2], 1);
	assert_int_equal(order[3], 3);
	assert_int_equal(decision_multipath(in, 4, order, 1), 1);
	b.next_hop = a.next_hop; /* two paths by the same next hop count once */
	assert_int_equal(decision_multipath(in, 4, order, 15), 1);
	b.next_hop = addr_from_v4(2);
	in[2].igp_metric = 1;
	decision_order(in, 4, order, NULL);
	assert_int_equal(decision_multipath(in, 4, order, 15), 1);
	in[0].igp_metric = 1;
	in[0].external = in[2].external = false; /* internal paths of equal metric */
	in[1].eligible = in[3].eligible = false;
	decision_order(in, 4, order, NULL);
	assert_int_equal(decision_multipath(in, 4, order, 15), 2);
	in[0].local = true;
	decision_order(in, 4, order, NULL);
	assert_int_equal(decision_multipath(in, 4, order, 15), 1);
	assert_int_equal(decision_multipath(in, 0, order, 15), 0);
}

static void
test_defaults(void **state)
{
	struct attr_set none = {0}, low = {.has = ATTR_HAS_LOCAL_PREF, .local_pref = 99};
	struct attr_set equal = {.has = ATTR_HAS_LOCAL_PREF, .local_pref = 100},
			med = {.has = ATTR_HAS_MED, .med = 0};
	struct decision_input a = {.attrs = &none, .eligible = true}, b = a;
	enum decision_reason r;

	b.attrs = &low;
	assert_true(decision_compare(&a, &b, &r) < 0);
	assert_int_equal(r, DECISION_LOCAL_PREF);
	b.attrs = &equal;
	assert_int_equal(decision_compare(&a, &b, &r), 0);
	assert_int_equal(r, DECISION_EQUAL);
	b.attrs = &med; /* an empty path: both are of our own AS, so MED is compared */
	assert_int_equal(decision_compare(&a, &b, &r), 0);
	med.med = 1;
	assert_true(decision_compare(&a, &b, &r) < 0);
	assert_int_equal(r, DECISION_MED);
	low.local_pref = 4000000000u;
	b.attrs = &low;
	a.local = true; /* a local route wins over any local-pref */
	assert_true(decision_compare(&a, &b, &r) < 0);
	assert_int_equal(r, DECISION_PREFERENCE);
	a.eligible = false;
	assert_true(decision_compare(&a, &b, &r) > 0);
	assert_int_equal(r, DECISION_NEXT_HOP_UNREACHABLE);
}

static void
test_originator_and_cluster(void **state)
{
	struct attr_set x = {.has = ATTR_HAS_ORIGINATOR_ID, .originator_id = 1, .cluster_count = 2};
	struct attr_set y = {.cluster_count = 1};
	struct decision_input a = {
		.attrs = &x, .eligible = true, .router_id = 9, .peer_addr = addr_from_v4(1)};
	struct decision_input b = {
		.attrs = &y, .eligible = true, .router_id = 2, .peer_addr = addr_from_v4(2)};
	enum decision_reason r;

	assert_true(decision_compare(&a, &b, &r) < 0);
	assert_int_equal(r, DECISION_ROUTER_ID);
	b.router_id = 1;
	assert_true(decision_compare(&a, &b, &r) > 0);
	assert_int_equal(r, DECISION_CLUSTER_LENGTH);
	y.cluster_count = 2;
	assert_true(decision_compare(&a, &b, &r) < 0);
	assert_int_equal(r, DECISION_PEER_ADDRESS);
}

static void
test_words(void **state)
{
	assert_string_equal(decision_reason_text(DECISION_LOCAL_PREF), "local-pref");
	assert_string_equal(
		decision_reason_text(DECISION_NEXT_HOP_UNREACHABLE), "next-hop-unreachable");
	for (int r = DECISION_EQUAL; r <= DECISION_PREFERENCE; r++)
		assert_non_null(decision_reason_text((enum decision_reason)r));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_property),
		cmocka_unit_test(test_property_many),
		cmocka_unit_test(test_preference),
		cmocka_unit_test(test_med_cycle),
		cmocka_unit_test(test_multipath),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_originator_and_cluster),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
