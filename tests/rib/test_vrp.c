/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sets of VRPs and validation, against an array that is searched from end to end, with the rules
 * of RFC 6811 2 written out. Addresses come from a small space, so that prefixes nest and meet.
 */
#include "rib/table/vrp.h"

#include "lpm/base/arena.h"
#include "tests/lpm/size.h"
#include "rib/table/attr.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#define RECORDS_MAX 400u

static uint64_t rng_state = 1;

static unsigned
below(unsigned n)
{
	rng_state = hash_mix(rng_state + 0x9e3779b97f4a7c15u);
	return (unsigned)(rng_state % n);
}

/* ---- the oracle ---- */

struct known {
	struct prefix prefix;
	uint8_t max_len;
	uint32_t asn;
};
struct oracle {
	struct known record[RECORDS_MAX];
	unsigned count;
};

static bool
bits_equal(const struct prefix *a, const struct prefix *b, unsigned bits)
{
	for (unsigned i = 0; i < bits; i++)
		if ((a->b[i / 8] ^ b->b[i / 8]) >> (7 - i % 8) & 1)
			return false;
	return true;
}

static bool
oracle_covers(const struct known *k, const struct prefix *p)
{
	return k->prefix.afi == p->afi && k->prefix.len <= p->len &&
	       bits_equal(&k->prefix, p, k->prefix.len);
}

static enum validation
oracle_validate(const struct oracle *o, const struct prefix *p, uint32_t origin)
{
	bool covered = false;

	for (unsigned i = 0; i < o->count; i++) {
		const struct known *k = &o->record[i];

		if (!oracle_covers(k, p))
			continue;
		covered = true;
		if (p->len <= k->max_len && k->asn != 0 && k->asn == origin)
			return VALIDATION_VALID;
	}
	return covered ? VALIDATION_INVALID : VALIDATION_NOT_FOUND;
}

static int
oracle_find(const struct oracle *o, const struct known *k)
{
	for (unsigned i = 0; i < o->count; i++)
		if (o->record[i].asn == k->asn && o->record[i].max_len == k->max_len &&
			prefix_equal(&o->record[i].prefix, &k->prefix))
			return (int)i;
	return -1;
}

/* ---- inputs ---- */

static struct prefix
any_prefix(void)
{
	struct prefix p = {.afi = below(2) ? AFI_IPV4 : AFI_IPV6};
	unsigned max = p.afi == AFI_IPV4 ? 32 : 128;

	/* few values, at the front, at the bit 64 and at the end */
	p.len = (uint8_t)(below(4) ? below(12) : below(2) ? max - below(6) : below(max + 1));
	p.b[0] = (uint8_t)(below(4) << 6 | below(4));
	if (p.afi == AFI_IPV6) {
		p.b[7] = (uint8_t)below(3);
		p.b[8] = (uint8_t)(below(2) << 7);
		p.b[15] = (uint8_t)below(4);
	}
	p.b[3] = (uint8_t)below(4);
	for (unsigned i = p.len; i < 128; i++)
		p.b[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
	return p;
}

static struct known
any_record(void)
{
	struct known k = {.prefix = any_prefix(), .asn = below(5)};
	unsigned max = k.prefix.afi == AFI_IPV4 ? 32 : 128;

	k.max_len = (uint8_t)(k.prefix.len + below(max - k.prefix.len + 1));
	return k;
}

static struct vrp
as_vrp(const struct known *k, bool withdraw)
{
	struct vrp v = vrp_make(&k->prefix, k->max_len, k->asn);

	v.withdraw = withdraw;
	return v;
}

/* Changes the oracle at random; each change is legal. */
static unsigned
changes_make(struct oracle *o, struct vrp *changes, unsigned max)
{
	unsigned count = 0;

	while (count < max) {
		struct known k =
			o->count > 0 && below(2) ? o->record[below(o->count)] : any_record();
		int at = oracle_find(o, &k);

		if (at < 0 && o->count == RECORDS_MAX)
			continue;
		changes[count++] = as_vrp(&k, at >= 0);
		if (at >= 0)
			o->record[at] = o->record[--o->count];
		else
			o->record[o->count++] = k;
	}
	return count;
}

static void
assert_like(const struct vrps *v, const struct oracle *o)
{
	unsigned v4 = 0;

	assert_int_equal(vrps_count(v, AFI_NONE), o->count);
	for (unsigned i = 0; i < o->count; i++) {
		const struct vrp *r = vrps_at(v, i);
		struct known k = {vrp_prefix(r), r->max_len, r->asn};

		assert_true(oracle_find(o, &k) >= 0);
		v4 += k.prefix.afi == AFI_IPV4;
	}
	assert_int_equal(vrps_count(v, AFI_IPV4), v4);
	for (unsigned i = 0; i < 200; i++) {
		struct prefix p = any_prefix();
		uint32_t origin = below(6);
		enum validation expected = oracle_validate(o, &p, origin);

		assert_int_equal(vrps_validate(v, &p, origin), expected);
		assert_int_equal(vrps_cover(v, &p), expected != VALIDATION_NOT_FOUND);
	}
}

static void
sets_follow_the_oracle(void **state)
{
	static struct oracle o;
	static struct vrp changes[RECORDS_MAX];
	struct vrps *v = NULL, *next;
	struct arena *a;
	struct vrp at;

	(void)state;
	assert_int_equal(arena_create("vrp", &a), 0);
	for (unsigned step = 0; step < test_size(2000, 100000); step++) {
		unsigned count = changes_make(&o, changes, below(step % 50 == 0 ? 300 : 8));

		assert_int_equal(vrps_apply(a, v, changes, count, &next, &at), 0);
		vrps_unref(v);
		v = next;
		assert_like(v, &o);
	}
	vrps_unref(v);
	arena_destroy(a);
}

/* A changed state of a prefix implies that a record of the difference covers the prefix. */
static void
differences_cover_all_changes(void **state)
{
	static struct oracle o, before;
	static struct vrp changes[RECORDS_MAX];
	struct vrps *v = NULL, *next, *delta;
	unsigned changed = 0, outside = 0;
	struct arena *a;
	struct vrp at;

	(void)state;
	assert_int_equal(arena_create("vrp", &a), 0);
	for (unsigned step = 0; step < 500; step++) {
		unsigned count;

		before = o;
		count = changes_make(&o, changes, below(6));
		assert_int_equal(vrps_apply(a, v, changes, count, &next, &at), 0);
		assert_int_equal(vrps_difference(a, v, next, &delta), 0);
		for (unsigned i = 0; i < 200; i++) {
			struct prefix p = any_prefix();
			uint32_t origin = below(6);

			if (oracle_validate(&before, &p, origin) !=
				oracle_validate(&o, &p, origin)) {
				changed++;
				assert_true(vrps_cover(delta, &p));
			}
			outside += !vrps_cover(delta, &p);
		}
		vrps_unref(delta);
		vrps_unref(v);
		v = next;
	}
	assert_true(changed > 100 && outside > 100);
	vrps_unref(v);
	arena_destroy(a);
}

static void
unions_have_all_records(void **state)
{
	static struct oracle o[3], all;
	static struct vrp changes[RECORDS_MAX];
	struct vrps *set[3], *v;
	struct arena *a;
	struct vrp at;

	(void)state;
	assert_int_equal(arena_create("vrp", &a), 0);
	for (unsigned round = 0; round < 50; round++) {
		all.count = 0;
		for (unsigned i = 0; i < 3; i++) {
			unsigned count;

			o[i].count = 0;
			count = changes_make(&o[i], changes, below(100));
			assert_int_equal(vrps_apply(a, NULL, changes, count, &set[i], &at), 0);
			for (unsigned k = 0; k < o[i].count; k++)
				if (oracle_find(&all, &o[i].record[k]) < 0)
					all.record[all.count++] = o[i].record[k];
		}
		assert_int_equal(vrps_union(a, set, 3, &v), 0);
		assert_like(v, &all);
		vrps_unref(v);
		for (unsigned i = 0; i < 3; i++)
			vrps_unref(set[i]);
	}
	arena_destroy(a);
}

static void
illegal_changes_are_errors(void **state)
{
	struct known k = {.max_len = 24, .asn = 64500}, other = {.max_len = 24, .asn = 64501};
	struct vrps *v, *next;
	struct vrp c[3], at;
	struct arena *a;

	(void)state;
	assert_int_equal(arena_create("vrp", &a), 0);
	assert_int_equal(prefix_parse("192.0.2.0/24", &k.prefix), 0);
	other.prefix = k.prefix;
	c[0] = as_vrp(&k, false);
	assert_int_equal(vrps_apply(a, NULL, c, 1, &v, &at), 0);
	c[0] = as_vrp(&other, false);
	c[1] = as_vrp(&k, false);
	assert_int_equal(vrps_apply(a, v, c, 2, &next, &at), -EEXIST);
	assert_int_equal(at.asn, 64500);
	c[0] = as_vrp(&other, true);
	assert_int_equal(vrps_apply(a, v, c, 1, &next, &at), -ENOENT);
	assert_int_equal(at.asn, 64501);
	/* withdrawn and announced in one answer: no change */
	c[0] = as_vrp(&k, true);
	c[1] = as_vrp(&k, false);
	assert_int_equal(vrps_apply(a, v, c, 2, &next, &at), 0);
	assert_int_equal(vrps_count(next, AFI_NONE), 1);
	vrps_unref(next);
	vrps_unref(v);
	arena_destroy(a);
}

/* CPU time of a validation against `count` records of one prefix; the least of some rounds. */
static double
validation_ns(struct arena *a, unsigned count)
{
	struct vrp *changes = calloc(count, sizeof(*changes)), at;
	struct prefix wide, inside;
	struct vrps *v;
	double least = 1e18;

	assert_non_null(changes);
	assert_int_equal(prefix_parse("2001:db8::/32", &wide), 0);
	assert_int_equal(prefix_parse("2001:db8:7::/48", &inside), 0);
	for (unsigned i = 0; i < count; i++)
		changes[i] = vrp_make(&wide, (uint8_t)(32 + i % 17), 2 * (i / 17 + 1));
	assert_int_equal(vrps_apply(a, NULL, changes, count, &v, &at), 0);
	free(changes);
	for (unsigned round = 0; round < 20; round++) {
		struct timespec from, to;

		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
		for (unsigned i = 0; i < 50; i++) {
			/* odd: no record of the origin */
			uint32_t origin = below(count / 17 * 2) + 1;

			assert_int_equal(vrps_validate(v, &inside, origin),
				origin % 2 == 0 ? VALIDATION_VALID : VALIDATION_INVALID);
		}
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
		double ns = ((double)(to.tv_sec - from.tv_sec) * 1e9 +
				    (double)(to.tv_nsec - from.tv_nsec)) /
			    50;
		least = ns < least ? ns : least;
	}
	vrps_unref(v);
	return least;
}

/* A cache, or many origins of one block, choose the number of records of one prefix. */
static void
records_of_one_prefix_cost_their_logarithm(void **state)
{
	struct arena *a;
	double ns[3];

	(void)state;
	assert_int_equal(arena_create("vrp", &a), 0);
	for (unsigned i = 0, count = 1000; i < 3; i++, count *= 10) {
		ns[i] = validation_ns(a, count);
		printf("%u records of one prefix: %.0f ns a validation\n", count, ns[i]);
	}
	assert_true(ns[2] < 20 * ns[0]); /* 100 times the records */
	arena_destroy(a);
}

/* RFC 6811 2, and the cases of RFC 6483 and RFC 7607 about AS 0. */
static void
states_of_the_rfc(void **state)
{
	static const struct {
		const char *prefix;
		uint32_t origin;
		enum validation expected;
	} cases[] = {
		{"198.51.100.0/24", 64500, VALIDATION_VALID},
		{"198.51.100.0/25", 64500, VALIDATION_INVALID}, /* longer than maxLength */
		{"198.51.100.0/24", 64501, VALIDATION_INVALID},
		{"198.51.0.0/16", 64500, VALIDATION_NOT_FOUND}, /* shorter than the VRP */
		{"203.0.113.0/24", 64502, VALIDATION_VALID}, /* the second VRP matches */
		{"203.0.113.0/24", 0, VALIDATION_INVALID}, /* an AS_SET at the end */
		{"10.0.0.0/8", 0, VALIDATION_INVALID}, /* AS 0 matches no route */
		{"10.1.0.0/16", 64500, VALIDATION_INVALID},
		{"192.0.2.0/24", 64500, VALIDATION_NOT_FOUND},
		{"2001:db8::/32", 64500, VALIDATION_VALID},
		{"2001:db8:1::/48", 64500, VALIDATION_VALID},
		{"2001:db8:1:1::/64", 64500, VALIDATION_INVALID},
		{"0.0.0.0/0", 64500, VALIDATION_NOT_FOUND},
	};
	static const struct {
		const char *prefix;
		uint8_t max_len;
		uint32_t asn;
	} roas[] = {
		{"198.51.100.0/24", 24, 64500},
		{"203.0.113.0/24", 24, 64501},
		{"203.0.113.0/24", 24, 64502},
		{"10.0.0.0/8", 32, 0},
		{"2001:db8::/32", 48, 64500},
	};
	struct vrp c[sizeof(roas) / sizeof(roas[0])], at;
	struct prefix p;
	struct vrps *v;
	struct arena *a;

	(void)state;
	assert_int_equal(arena_create("vrp", &a), 0);
	for (unsigned i = 0; i < sizeof(roas) / sizeof(roas[0]); i++) {
		assert_int_equal(prefix_parse(roas[i].prefix, &p), 0);
		c[i] = vrp_make(&p, roas[i].max_len, roas[i].asn);
	}
	assert_int_equal(vrps_apply(a, NULL, c, sizeof(roas) / sizeof(roas[0]), &v, &at), 0);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(prefix_parse(cases[i].prefix, &p), 0);
		assert_int_equal(vrps_validate(v, &p, cases[i].origin), cases[i].expected);
		assert_int_equal(vrps_validate(NULL, &p, cases[i].origin), VALIDATION_NOT_FOUND);
	}
	vrps_unref(v);
	arena_destroy(a);
}

static void
origins_of_paths(void **state)
{
	static const uint8_t sequence[] = {2, 2, 0, 0, 0xfb, 0xf4, 0, 0, 0xfb, 0xf5};
	static const uint8_t set[] = {2, 1, 0, 0, 0xfb, 0xf4, 1, 1, 0, 0, 0xfb, 0xf5};
	static union {
		struct attr_set a;
		uint8_t room[sizeof(struct attr_set) + 64];
	} u;

	(void)state;
	attr_set_derive(&u.a);
	assert_int_equal(vrp_origin(&u.a, 64999), 64999);
	memcpy(u.a.var, sequence, sizeof(sequence));
	u.a.as_path_len = sizeof(sequence);
	attr_set_derive(&u.a);
	assert_int_equal(vrp_origin(&u.a, 64999), 0xfbf5);
	memcpy(u.a.var, set, sizeof(set));
	u.a.as_path_len = sizeof(set);
	attr_set_derive(&u.a);
	assert_int_equal(vrp_origin(&u.a, 64999), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_of_one_prefix_cost_their_logarithm),
		cmocka_unit_test(states_of_the_rfc),
		cmocka_unit_test(origins_of_paths),
		cmocka_unit_test(illegal_changes_are_errors),
		cmocka_unit_test(sets_follow_the_oracle),
		cmocka_unit_test(differences_cover_all_changes),
		cmocka_unit_test(unions_have_all_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
