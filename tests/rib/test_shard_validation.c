/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes of VRPs in a shard: after each change the state of each path is the verdict of its policy
 * on the state that vrps_validate() gives (tests/rib/test_vrp.c checks that function), and a change
 * touches no prefix outside of the changed records.
 */
#include "rib/shard/shard.h"

#include "rib/policy/policy_build.h"
#include "rib/table/vrp.h"
#include "tests/lpm/size.h"
#include "tests/rib/shard_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define PREFIXES 512u
#define ORIGINS 4u
#define PEERS 3u /* 1 and 2 validate, 3 does not */

static uint64_t rng_state = 1;

static unsigned
below(unsigned n)
{
	rng_state = hash_mix(rng_state + 0x9e3779b97f4a7c15u);
	return (unsigned)(rng_state % n);
}

struct lab {
	struct rig r;
	struct vrps *vrps;
	struct policy *policy[PEERS + 1];
	uint32_t origin[PEERS + 1][PREFIXES]; /* 0: not announced */
};

/* Denies invalid; sets 200 on valid, 50 on not-found. `goto_first`: the change comes by a goto. */
static struct policy *
policy_make(bool goto_first)
{
	struct policy_builder *b;
	struct policy *p;

	assert_int_equal(policy_builder_create("origins", &b), 0);
	if (goto_first) {
		policy_builder_node(b, 5, true);
		policy_builder_set_number(b, NUMBER_MED, 7);
		policy_builder_goto(b, 10);
	}
	policy_builder_node(b, 10, false);
	policy_builder_match_validation(b, VALIDATION_INVALID);
	policy_builder_node(b, 20, true);
	policy_builder_match_validation(b, VALIDATION_VALID);
	policy_builder_set_number(b, NUMBER_LOCAL_PREF, 200);
	policy_builder_node(b, 30, true);
	policy_builder_set_number(b, NUMBER_LOCAL_PREF, 50);
	assert_int_equal(policy_builder_finish(b, &p), 0);
	assert_true(policy_validates(p) && policy_asks_prefix(p) && !policy_has_digest(p));
	return p;
}

static void
lab_begin(struct lab *l)
{
	memset(l, 0, sizeof(*l));
	rig_init(&l->r, false);
	for (uint16_t i = 1; i <= PEERS; i++) {
		rig_peer(&l->r, i, 65000u + i, true, false);
		rig_up(&l->r, i, 65000u + i, i, true);
		if (i < PEERS) {
			l->policy[i] = policy_make(i == 2);
			shard_peer_keep(l->r.shard, (struct peer_id){i}, rig_family(), true);
		}
		shard_peer_import(l->r.shard, (struct peer_id){i}, rig_family(),
			i < PEERS ? l->policy[i] : policy_accept_all());
	}
	rig_settle(&l->r);
}

static void
lab_end(struct lab *l)
{
	vrps_unref(l->vrps);
	rig_fini(&l->r);
	for (unsigned i = 1; i < PEERS; i++)
		policy_destroy(l->policy[i]);
}

static void
announce(struct lab *l, uint16_t peer, unsigned i, unsigned origin)
{
	uint32_t path[] = {65000u + peer, 64500u + origin};
	struct rib_nlri n = rig_nlri_numbered(i);
	union rig_attrs a;

	rig_attrs_make(&a, path, 2, 0x0a000001);
	rig_update(&l->r, peer, origin != 0 ? &a.a : NULL, &n, 1);
	l->origin[peer][i] = origin != 0 ? 64500u + origin : 0;
}

/* A record on one of the prefixes, or on a prefix above. */
static struct vrp
any_record(void)
{
	struct prefix p = rig_nlri_numbered(below(PREFIXES)).prefix;
	struct ip_addr a = {.afi = p.afi};
	uint8_t len = (uint8_t)(p.len - (below(3) ? 0 : below(7)));

	memcpy(a.b, p.b, sizeof(a.b));
	p = prefix_from_addr(&a, len);
	return vrp_make(&p, (uint8_t)(below(3) ? 24 + (p.afi == AFI_IPV6 ? 24 : 0) : len),
		64500u + below(ORIGINS + 1));
}

/* *changed: with a reference. */
static void
vrps_change(struct lab *l, struct vrps **changed)
{
	struct vrp c[64], at;
	struct vrps *next;
	unsigned count = 1 + below(below(4) ? 3 : 60);
	int err;

	do {
		for (unsigned i = 0; i < count; i++) {
			size_t known = vrps_count(l->vrps, AFI_NONE);

			c[i] = any_record();
			if (known > 0 && below(2)) {
				c[i] = *vrps_at(l->vrps, below((unsigned)known));
				c[i].withdraw = 1;
			}
		}
		err = vrps_apply(l->r.arena, l->vrps, c, count, &next, &at);
		count = 1 + count / 2;
	} while (err != 0);
	assert_int_equal(vrps_difference(l->r.arena, l->vrps, next, changed), 0);
	vrps_unref(l->vrps);
	l->vrps = next;
}

static void
path_check(const struct lab *l, const struct rib_path *p, const struct prefix *prefix, unsigned i)
{
	uint32_t origin = l->origin[p->peer.v][i];
	enum validation v = vrps_validate(l->vrps, prefix, origin);
	struct attr_set fixed;

	assert_int_not_equal(origin, 0);
	if (p->peer.v == PEERS) {
		assert_int_equal(shard_path_refused(p), DECISION_EQUAL);
		return;
	}
	assert_int_equal(shard_path_refused(p),
		v == VALIDATION_INVALID ? DECISION_REJECTED_BY_POLICY : DECISION_EQUAL);
	if (v == VALIDATION_INVALID)
		return;
	(void)attr_unpack_fixed(attr_get(shard_attrs(l->r.shard), p->accepted), &fixed);
	assert_int_equal(fixed.local_pref, v == VALIDATION_VALID ? 200 : 50);
	assert_int_equal(fixed.has & ATTR_HAS_MED ? fixed.med : 0, p->peer.v == 2 ? 7 : 0);
}

static void
lab_check(struct lab *l)
{
	for (unsigned i = 0; i < PREFIXES; i++) {
		struct prefix prefix = rig_nlri_numbered(i).prefix;
		unsigned announced = 0, found = 0;
		struct dest_view v;

		for (unsigned p = 1; p <= PEERS; p++)
			announced += l->origin[p][i] != 0;
		if (rig_view(&l->r, &prefix, &v) && v.paths != NULL)
			for (; found < v.paths->count; found++)
				path_check(l, &v.paths->path[found], &prefix, i);
		assert_int_equal(found, announced);
	}
}

static void
changes_follow_the_vrps(void **state)
{
	static struct lab l;
	struct vrps *changed, *next;

	(void)state;
	lab_begin(&l);
	for (unsigned step = 0; step < test_size(300, 10000); step++) {
		unsigned turns = below(6);

		for (unsigned i = below(step < 20 ? 100 : 8); i > 0; i--)
			announce(&l, (uint16_t)(1 + below(PEERS)), below(PREFIXES),
				below(ORIGINS + 1));
		if (below(2))
			rig_settle(&l.r);
		vrps_change(&l, &changed);
		shard_validation(l.r.shard, l.vrps, changed);
		vrps_unref(changed);
		/* a second change, or another replay, while the walk runs */
		while (turns-- > 0)
			(void)rig_turn(&l.r);
		if (below(3) == 0) {
			vrps_change(&l, &next);
			shard_validation(l.r.shard, l.vrps, next);
			vrps_unref(next);
		}
		if (below(8) == 0)
			(void)shard_peer_replay(l.r.shard,
				(struct peer_id){(uint16_t)(1 + below(2))}, rig_family());
		rig_settle(&l.r);
		assert_false(shard_validating(l.r.shard));
		lab_check(&l);
	}
	lab_end(&l);
}

/*
 * RFC 9324: exactly the covered prefixes. The set that the shard gets differs everywhere; the
 * changed records name one prefix, so no other path may change.
 */
static void
other_prefixes_are_not_evaluated(void **state)
{
	struct prefix prefix = rig_nlri_numbered(7).prefix;
	struct vrp all, one = vrp_make(&prefix, prefix.len, 64999), at;
	struct vrps *vrps, *changed;
	struct prefix any = {.afi = prefix.afi};
	static struct lab l;
	struct dest_view v;

	(void)state;
	lab_begin(&l);
	for (unsigned i = 0; i < PREFIXES; i++)
		announce(&l, (uint16_t)(1 + i % 2), i, 1);
	rig_settle(&l.r);
	all = vrp_make(&any, 0, 64999);
	assert_int_equal(vrps_apply(l.r.arena, NULL, &all, 1, &vrps, &at), 0);
	assert_int_equal(vrps_apply(l.r.arena, NULL, &one, 1, &changed, &at), 0);
	shard_validation(l.r.shard, vrps, changed);
	vrps_unref(vrps);
	vrps_unref(changed);
	assert_true(shard_validating(l.r.shard));
	rig_settle(&l.r);
	for (unsigned i = 0; i < PREFIXES; i++) {
		struct prefix p = rig_nlri_numbered(i).prefix;

		assert_true(rig_view(&l.r, &p, &v));
		assert_int_equal(shard_path_refused(&v.paths->path[0]),
			i == 7 ? DECISION_REJECTED_BY_POLICY : DECISION_EQUAL);
	}
	lab_end(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(other_prefixes_are_not_evaluated),
		cmocka_unit_test(changes_follow_the_vrps),
	};
	int failed = 0;

	role_enter_rib();
	role_enter_session();
	for (unsigned m = 0; m < 2; m++) {
		rig_mode = (enum rig_mode)m;
		failed += cmocka_run_group_tests_name(rig_mode_name(), tests, NULL, NULL);
	}
	return failed;
}
