/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Conditions in groups, negated conditions, jumps, sets of AS numbers, patterns of communities and
 * relative changes, against an oracle, which walks the nodes and evaluates every condition in place.
 */
#include "rib/policy/policy.h"
#include "rib/policy/policy_build.h"
#include "tests/rib/rib_test.h"

#include <errno.h>

#define NODES_MAX 10
#define CONDITIONS_MAX 5

struct plain_condition {
	unsigned kind, group; /* kinds: see plain_holds() */
	bool negate;
	uint32_t low, high;
	struct prefix prefix;
	struct community_pattern pattern;
};

struct plain_node {
	uint32_t seq, goto_seq;
	bool permit, jump, sets, prepends, removes;
	int64_t change; /* of the local preference */
	unsigned count;
	struct plain_condition conditions[CONDITIONS_MAX];
};

#define KINDS 9u

static const struct policy_context context = {.peer = {.b = {192, 0, 2, 2}, .afi = AFI_IPV4},
	.family = FAMILY_IPV4_UNICAST,
	.source = SOURCE_EXTERNAL,
	.peer_asn = 3,
	.peer_group = 7};

static union {
	struct attr_set set;
	uint8_t bytes[ATTR_SET_MAX];
} input, expected, longer;

static uint32_t
word_at(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* A path of at most 4 numbers below 6, and at most 4 communities of numbers below 4. */
static void
random_input(uint64_t *seed)
{
	struct attr_set *a = &input.set;
	unsigned hops = (unsigned)random_below(seed, 5);
	uint8_t *w = a->var;

	memset(&input, 0, sizeof(input));
	if (hops > 0) {
		*w++ = 2;
		*w++ = (uint8_t)hops;
	}
	for (unsigned i = 0; i < hops; i++, w += 4)
		memcpy(w, (const uint8_t[]){0, 0, 0, (uint8_t)(1 + random_below(seed, 5))}, 4);
	a->as_path_len = (uint16_t)(w - a->var);
	a->community_count = (uint16_t)random_below(seed, 5);
	for (unsigned i = 0; i < a->community_count; i++, w += 4)
		memcpy(w,
			(const uint8_t[]){0, (uint8_t)random_below(seed, 4), 0,
				(uint8_t)(4 * i + random_below(seed, 4))},
			4);
	a->next_hop = addr_from_v4(0xc0000201);
	if (random_below(seed, 2)) {
		a->has |= ATTR_HAS_LOCAL_PREF;
		a->local_pref = (uint32_t)random_below(seed, 20);
	}
	attr_set_derive(a);
}

static bool
in(const struct plain_condition *c, uint32_t v)
{
	return c->low <= v && v <= c->high;
}

static bool
plain_part(const struct community_part *p, uint32_t v)
{
	return p->peer ? v == context.peer_asn : p->low <= v && v <= p->high;
}

static bool
plain_pattern(const struct community_pattern *p, const uint8_t *v)
{
	return plain_part(&p->part[0], word_at(v) >> 16) &&
	       plain_part(&p->part[1], word_at(v) & 0xffff);
}

static bool
plain_holds(const struct plain_condition *c, const struct attr_set *a, const struct prefix *p)
{
	const uint8_t *path = attr_as_path(a);
	bool any = false;

	switch (c->kind) {
	case 0:
		return prefix_covers(&c->prefix, p);
	case 1:
		return in(c, a->as_path_hops);
	case 2:
		return in(c, context.peer_asn);
	case 3:
		return c->low == context.peer_group;
	case 4:
		return in(c, a->community_count);
	case 5:
		return in(c, a->as_path_hops ? word_at(path + a->as_path_len - 4) : 0);
	case 6:
		return in(c, a->as_path_hops ? word_at(path + 2) : 0);
	case 7:
		for (unsigned i = 0; i < a->as_path_hops; i++)
			any |= in(c, word_at(path + 2 + 4 * i));
		return any;
	default:
		for (unsigned i = 0; i < a->community_count; i++)
			any |= plain_pattern(&c->pattern, attr_communities(a) + 4 * i);
		return any;
	}
}

/* Any condition of a kind and group must hold. A negated condition is a group. */
static bool
plain_matches(const struct plain_node *n, const struct attr_set *a, const struct prefix *p)
{
	for (unsigned i = 0; i < n->count; i++) {
		const struct plain_condition *c = &n->conditions[i];
		bool any = false;

		for (unsigned k = 0; k < n->count; k++) {
			const struct plain_condition *o = &n->conditions[k];

			any |= !c->negate && !o->negate && o->kind == c->kind &&
			       o->group == c->group && plain_holds(o, a, p);
		}
		if (c->negate ? plain_holds(c, a, p) : !any)
			return false;
	}
	return true;
}

static void
plain_change(const struct plain_node *n, const struct community_pattern *remove)
{
	struct attr_set *e = &expected.set;

	if (n->sets) {
		int64_t v = (e->has & ATTR_HAS_LOCAL_PREF ? e->local_pref : 100) + n->change;

		e->local_pref = v < 0 ? 0 : (uint32_t)v;
		e->has |= ATTR_HAS_LOCAL_PREF;
	}
	if (n->removes) {
		uint8_t *c = e->var + e->as_path_len;
		unsigned kept = 0;

		for (unsigned i = 0; i < e->community_count; i++)
			if (!plain_pattern(remove, c + 4 * (size_t)i))
				memmove(c + 4 * (size_t)kept++, c + 4 * (size_t)i, 4);
		e->community_count = (uint16_t)kept;
	}
	if (n->prepends && e->first_asn != 0) {
		assert_int_equal(
			attr_set_prepend(e, e->first_asn, 2, &longer.set, sizeof(longer)), 0);
		memcpy(e, &longer, attr_set_size(&longer.set));
	}
}

/* The deciding node, or NULL. */
static const struct plain_node *
plain_walk(const struct plain_node *nodes, unsigned count, const struct prefix *p,
	const struct community_pattern *remove)
{
	const struct plain_node *decides = NULL;
	uint32_t next = 0;

	memcpy(&expected, &input, sizeof(expected));
	for (unsigned i = 0; i < count; i++) {
		const struct plain_node *n = &nodes[i];

		if (n->seq < next || !plain_matches(n, &input.set, p))
			continue;
		if (!n->jump)
			decides = n;
		if (n->permit)
			plain_change(n, remove);
		if (n->goto_seq == 0)
			break;
		next = n->goto_seq;
	}
	return decides;
}

static void
random_condition(uint64_t *seed, struct plain_condition *c, unsigned group, bool negate)
{
	struct ip_addr a = addr_from_v4((uint32_t)random_below(seed, 4) << 30);

	c->kind = (unsigned)random_below(seed, KINDS);
	c->group = group;
	c->negate = negate;
	c->low = (uint32_t)random_below(seed, 6);
	c->high = c->low + (uint32_t)random_below(seed, 3);
	if (c->kind == 3)
		c->low = (uint32_t)(7 + random_below(seed, 2));
	c->prefix = prefix_from_addr(&a, (uint8_t)random_below(seed, 3));
	for (unsigned i = 0; i < 2; i++) {
		c->pattern.part[i] = (struct community_part){0, UINT32_MAX, false};
		if (random_below(seed, 2))
			c->pattern.part[i].low = c->pattern.part[i].high =
				(uint32_t)random_below(seed, 5);
		else if (random_below(seed, 3) == 0)
			c->pattern.part[i] = (struct community_part){0, 0, true};
	}
}

static void
build_as_set(struct policy_builder *b, enum policy_as which, const struct plain_condition *c)
{
	struct policy_as_set *s;

	assert_int_equal(policy_as_set_create(&s), 0);
	for (uint32_t asn = c->high; asn + 1 > c->low && asn != UINT32_MAX; asn--)
		assert_int_equal(policy_as_set_add(s, asn, asn), 0);
	assert_int_equal(policy_as_set_seal(s), 0);
	assert_int_equal(policy_builder_match_as_set(b, which, s), 0);
	policy_as_set_unref(s);
}

static void
build_condition(struct policy_builder *b, const struct plain_condition *c)
{
	struct policy_prefix_list *prefixes;
	struct policy_community_list *communities;

	switch (c->kind) {
	case 0:
		assert_int_equal(policy_prefix_list_create(&prefixes), 0);
		policy_prefix_list_add(prefixes, true, &c->prefix, c->prefix.len, 32);
		assert_int_equal(policy_prefix_list_seal(prefixes), 0);
		assert_int_equal(policy_builder_match_prefix_list(b, prefixes), 0);
		policy_prefix_list_unref(prefixes);
		break;
	case 1:
		policy_builder_match_number(b, NUMBER_AS_PATH_LENGTH, c->low, c->high);
		break;
	case 3:
		policy_builder_match_peer_group(b, c->low);
		break;
	case 4:
		policy_builder_match_number(b, NUMBER_COMMUNITIES, c->low, c->high);
		break;
	case 8:
		policy_community_list_create_kind(COMMUNITIES_STANDARD, &communities);
		policy_community_list_add_pattern(communities, true, &c->pattern);
		assert_int_equal(policy_community_list_seal(communities), 0);
		assert_int_equal(policy_builder_match_community_list(b, communities), 0);
		policy_community_list_unref(communities);
		break;
	default:
		build_as_set(b,
			c->kind == 2   ? AS_OF_PEER
			: c->kind == 5 ? AS_ORIGIN
			: c->kind == 6 ? AS_FIRST
				       : AS_ANY,
			c);
	}
}

static void
build_node(struct policy_builder *b, const struct plain_node *n,
	const struct community_pattern *remove)
{
	unsigned group = 0;

	assert_int_equal(policy_builder_node(b, n->seq, n->permit), 0);
	for (unsigned i = 0; i < n->count; i++) {
		for (; group < n->conditions[i].group; group++)
			policy_builder_group(b);
		policy_builder_negate(b, n->conditions[i].negate);
		build_condition(b, &n->conditions[i]);
	}
	if (n->goto_seq)
		policy_builder_goto(b, n->goto_seq);
	if (n->jump)
		policy_builder_jump(b);
	if (n->sets)
		policy_builder_set_relative(b, NUMBER_LOCAL_PREF, n->change);
	if (n->prepends)
		policy_builder_set_prepend_first(b, 2);
	if (n->removes)
		assert_int_equal(
			policy_builder_remove_patterns(b, COMMUNITIES_STANDARD, remove, 1), 0);
}

static void
random_node(uint64_t *seed, struct plain_node *n, unsigned i, unsigned count)
{
	unsigned group = 0;

	*n = (struct plain_node){.seq = 10 * (i + 1), .permit = random_below(seed, 3) > 0};
	n->count = (unsigned)random_below(seed, CONDITIONS_MAX + 1);
	for (unsigned k = 0; k < n->count; k++) {
		bool negate = random_below(seed, 3) == 0;

		random_condition(seed, &n->conditions[k], group, negate);
		group += !negate && random_below(seed, 2);
	}
	if (n->permit && i + 1 < count && random_below(seed, 2)) {
		n->goto_seq = 10 * (i + 2 + (uint32_t)random_below(seed, count - i - 1));
		n->jump = random_below(seed, 2);
	}
	n->sets = random_below(seed, 2);
	n->change = (int64_t)random_below(seed, 200) - 100;
	n->prepends = random_below(seed, 4) == 0;
	n->removes = random_below(seed, 4) == 0;
}

static void
check_route(struct policy_eval *e, const struct policy *p, const struct plain_node *nodes,
	unsigned count, const struct prefix *prefix, const struct community_pattern *remove)
{
	const struct plain_node *n = plain_walk(nodes, count, prefix, remove);
	struct policy_decision d;
	struct policy_verdict v;

	assert_int_equal(policy_eval_prefix(e, prefix, &v), 0);
	assert_int_equal(v.permit, n != NULL && n->permit);
	assert_int_equal(v.seq, n != NULL ? n->seq : 0);
	if (n != NULL)
		assert_int_equal(v.node, n->seq / 10 - 1);
	if (v.permit) {
		size_t size = attr_set_size(&expected.set);

		assert_int_equal(attr_set_size(v.attrs), size);
		assert_int_equal(v.attrs->local_pref, expected.set.local_pref);
		assert_int_equal(v.attrs->has, expected.set.has);
		assert_memory_equal(
			v.attrs->var, expected.set.var, attr_set_var_len(&expected.set));
	}
	if (v.permit)
		assert_true(policy_may_permit(p, prefix));
	if (!policy_has_digest(p))
		return;
	assert_true(policy_digest_decide(p, policy_eval_digest(e), prefix, &d));
	assert_int_equal(d.permit, v.permit);
	assert_int_equal(d.seq, v.seq);
	assert_int_equal(d.outcome, v.outcome);
}

static void
test_random(void **state)
{
	struct rib_test t;
	struct policy_eval *e;
	unsigned permits = 0;

	(void)state;
	rib_test_begin(&t);
	assert_int_equal(policy_eval_create(t.arena, &e), 0);
	for (uint64_t run = 1; run <= 3000; run++) {
		struct plain_node nodes[NODES_MAX];
		struct plain_condition removed = {0};
		struct policy_builder *b;
		struct policy *p;
		uint64_t seed = run;
		unsigned count = 1 + (unsigned)random_below(&seed, NODES_MAX);

		random_condition(&seed, &removed, 0, false);
		removed.pattern.part[0].peer = removed.pattern.part[1].peer = 0;
		assert_int_equal(policy_builder_create("p", &b), 0);
		for (unsigned i = 0; i < count; i++) {
			random_node(&seed, &nodes[i], i, count);
			build_node(b, &nodes[i], &removed.pattern);
		}
		assert_int_equal(policy_builder_finish(b, &p), 0);
		for (unsigned k = 0; k < 8; k++) {
			random_input(&seed);
			assert_int_equal(policy_eval_begin(e, p, &input.set, &context), 0);
			for (unsigned i = 0; i < 4; i++) {
				struct ip_addr a = addr_from_v4((uint32_t)i << 30);
				struct prefix prefix = prefix_from_addr(&a, 8);

				check_route(e, p, nodes, count, &prefix, &removed.pattern);
				permits +=
					plain_walk(nodes, count, &prefix, &removed.pattern) != NULL;
			}
		}
		policy_destroy(p);
	}
	assert_true(permits > 10000);
	policy_eval_destroy(e);
	rib_test_end(&t);
}

/* Extended communities: subtype, AS number of either size, and addresses only by a wildcard. */
static void
test_extended_pattern(void **state)
{
	static const struct {
		uint8_t value[8];
		bool any, asn;
	} cases[] = {
		{{0, 2, 0, 9, 0, 0, 0, 5}, true, true},
		{{2, 2, 0, 0, 0, 9, 0, 5}, true, true},
		{{1, 2, 0, 0, 0, 9, 0, 5}, true, false},
		{{0, 3, 0, 9, 0, 0, 0, 5}, false, false},
		{{3, 2, 0, 9, 0, 0, 0, 5}, false, false},
		{{0, 2, 0, 8, 0, 0, 0, 5}, true, false},
	};
	struct community_pattern any = {{{2, 2, 0}, {0, UINT32_MAX, 0}, {0, UINT32_MAX, 0}}},
				 asn = {{{2, 2, 0}, {9, 9, 0}, {0, 9, 0}}};
	struct rib_test t;
	struct policy_eval *e;

	(void)state;
	rib_test_begin(&t);
	assert_int_equal(policy_eval_create(t.arena, &e), 0);
	for (unsigned i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		struct prefix prefix = {.afi = AFI_IPV4};
		struct policy_community_list *l;
		struct policy_builder *b;
		struct policy_verdict v;
		struct policy *p;

		memset(&input, 0, sizeof(input));
		input.set.ext_community_count = 1;
		memcpy(input.set.var, cases[i / 2].value, 8);
		attr_set_derive(&input.set);
		assert_int_equal(policy_builder_create("p", &b), 0);
		policy_builder_node(b, 1, true);
		policy_community_list_create_kind(COMMUNITIES_EXTENDED, &l);
		policy_community_list_add_pattern(l, true, i % 2 ? &asn : &any);
		policy_community_list_seal(l);
		policy_builder_match_community_list(b, l);
		policy_community_list_unref(l);
		assert_int_equal(policy_builder_finish(b, &p), 0);
		assert_int_equal(policy_eval_begin(e, p, &input.set, &context), 0);
		assert_int_equal(policy_eval_prefix(e, &prefix, &v), 0);
		assert_int_equal(v.permit, i % 2 ? cases[i / 2].asn : cases[i / 2].any);
		policy_destroy(p);
	}
	policy_eval_destroy(e);
	rib_test_end(&t);
}

/* Relative numbers stop at their ends; the next hops `peer` and `self`. */
static void
test_changes(void **state)
{
	static const uint32_t med[] = {12, 0, UINT32_MAX, UINT32_MAX - 12};
	struct prefix prefix = {.afi = AFI_IPV4};
	struct policy_builder *b;
	struct policy_eval *e;
	struct policy_verdict v;
	struct rib_test t;
	struct policy *p;

	(void)state;
	rib_test_begin(&t);
	assert_int_equal(policy_eval_create(t.arena, &e), 0);
	for (unsigned i = 0; i < 4; i++) {
		memset(&input, 0, sizeof(input));
		input.set.has = ATTR_HAS_MED;
		input.set.med = i < 2 ? 5 : UINT32_MAX - 5;
		assert_int_equal(policy_builder_create("p", &b), 0);
		policy_builder_node(b, 1, true);
		policy_builder_set_relative(b, NUMBER_MED, i % 2 ? -7 : 7);
		policy_builder_set_number(b, NUMBER_LOCAL_PREF, 50);
		policy_builder_set_relative(b, NUMBER_LOCAL_PREF, 5);
		policy_builder_set_next_hop_kind(b, i % 2 ? NEXT_HOP_PEER : NEXT_HOP_SELF);
		assert_int_equal(policy_builder_finish(b, &p), 0);
		assert_int_equal(policy_sets_next_hop(p, NEXT_HOP_PEER), i % 2);
		assert_int_equal(policy_sets_next_hop(p, NEXT_HOP_SELF), !(i % 2));
		assert_int_equal(policy_eval_begin(e, p, &input.set, &context), 0);
		assert_int_equal(policy_eval_prefix(e, &prefix, &v), 0);
		assert_int_equal(v.attrs->med, med[i]);
		assert_int_equal(v.attrs->local_pref, 55);
		if (i % 2)
			assert_true(addr_equal(&v.attrs->next_hop, &context.peer));
		else
			assert_true(addr_is_discard(&v.attrs->next_hop));
		policy_destroy(p);
	}
	policy_eval_destroy(e);
	rib_test_end(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_extended_pattern),
		cmocka_unit_test(test_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
