/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/policy/inspect.h"
#include "rib/policy/policy.h"
#include "rib/policy/policy_build.h"
#include "tests/rib/rib_test.h"

#include <errno.h>

/* ---- prefix lists against a linear search ---- */

struct plain_entry {
	struct prefix prefix;
	uint8_t ge, le;
	bool permit;
};

static bool
plain_match(const struct plain_entry *e, unsigned count, const struct prefix *p)
{
	for (unsigned i = 0; i < count; i++)
		if (prefix_covers(&e[i].prefix, p) && e[i].ge <= p->len && p->len <= e[i].le)
			return e[i].permit;
	return false;
}

/* Few leading bytes, so that prefixes nest and collide, some at the edges of the address space. */
static struct prefix
random_prefix(uint64_t *seed, enum afi afi)
{
	static const uint8_t bytes[] = {0, 1, 10, 10, 127, 128, 255};
	struct ip_addr a = {.afi = (uint8_t)afi};
	unsigned max = prefix_max_len(afi);
	uint8_t len = (uint8_t)random_below(seed, max + 1);

	for (unsigned i = 0; i < max / 8; i++)
		a.b[i] = bytes[random_below(seed, sizeof(bytes))];
	if (random_below(seed, 4) == 0)
		len = (uint8_t)random_below(seed, 17);
	return prefix_from_addr(&a, len);
}

static struct plain_entry
random_entry(uint64_t *seed, enum afi afi)
{
	struct plain_entry e = {
		.prefix = random_prefix(seed, afi), .permit = random_below(seed, 3) > 0};
	unsigned max = prefix_max_len(afi);

	e.ge = (uint8_t)(e.prefix.len +
			 (random_below(seed, 2) ? random_below(seed, max - e.prefix.len + 1) : 0));
	e.le = (uint8_t)(e.ge + random_below(seed, max - e.ge + 1));
	return e;
}

/* A prefix near an entry: the entry, a prefix inside, or an adjacent prefix. */
static struct prefix
prefix_near(uint64_t *seed, const struct plain_entry *e)
{
	struct ip_addr a = {.afi = e->prefix.afi};
	unsigned max = prefix_max_len(e->prefix.afi);
	int step = (int)random_below(seed, 3) - 1;

	memcpy(a.b, e->prefix.b, sizeof(a.b));
	if (random_below(seed, 2))
		for (unsigned bit = e->prefix.len; bit < max; bit++)
			a.b[bit / 8] |= (uint8_t)((random_next(seed) & 1) << (7 - bit % 8));
	for (int i = (int)(max / 8) - 1; step && i >= 0; i--) {
		int v = a.b[i] + step;
		a.b[i] = (uint8_t)v;
		step = v < 0 ? -1 : v > 255;
	}
	return prefix_from_addr(
		&a, (uint8_t)(random_below(seed, 2) ? e->le : random_below(seed, max + 1)));
}

static void
check_random_list(uint64_t seed, unsigned count)
{
	struct plain_entry *plain = calloc(count + 1, sizeof(*plain));
	struct policy_prefix_list *l;
	uint64_t first = seed;

	assert_int_equal(policy_prefix_list_create(&l), 0);
	for (unsigned i = 0; i < count; i++) {
		plain[i] = random_entry(&seed, random_below(&seed, 3) ? AFI_IPV4 : AFI_IPV6);
		assert_int_equal(policy_prefix_list_add(l, plain[i].permit, &plain[i].prefix,
					 plain[i].ge, plain[i].le),
			0);
	}
	assert_int_equal(policy_prefix_list_seal(l), 0);
	for (unsigned i = 0; i < 2000; i++) {
		struct prefix p = count && random_below(&seed, 4)
					  ? prefix_near(&seed, &plain[random_below(&seed, count)])
					  : random_prefix(&seed,
						    random_below(&seed, 2) ? AFI_IPV4 : AFI_IPV6);
		char text[PREFIX_TEXT_MAX];
		if (policy_prefix_list_match(l, &p) != plain_match(plain, count, &p))
			fail_msg("seed %llu, %u entries: %s", (unsigned long long)first, count,
				prefix_format(&p, text));
	}
	policy_prefix_list_unref(l);
	free(plain);
}

static void
test_prefix_lists(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 300; seed++)
		check_random_list(seed, seed % 10 == 0 ? 400 : (unsigned)seed % 40);
	check_random_list(1000, 5000);
}

static void
test_prefix_list_refuses(void **state)
{
	struct policy_prefix_list *l;
	struct prefix p = prefix_from_v4(0x0a000000, 8);

	(void)state;
	assert_int_equal(policy_prefix_list_create(&l), 0);
	assert_int_equal(policy_prefix_list_add(l, true, &p, 7, 8), -EINVAL);
	assert_int_equal(policy_prefix_list_add(l, true, &p, 9, 8), -EINVAL);
	assert_int_equal(policy_prefix_list_add(l, true, &p, 9, 33), -EINVAL);
	assert_int_equal(policy_prefix_list_seal(l), 0);
	assert_false(policy_prefix_list_match(l, &p));
	policy_prefix_list_unref(l);
}

/* ---- attribute sets ---- */

static union {
	struct attr_set set;
	uint8_t bytes[600000];
} attrs;

static void
append(uint8_t **p, const void *v, size_t len)
{
	memcpy(*p, v, len);
	*p += len;
}

/*
 * `segments` in wire form, two communities, an extended and a large community, a cluster, an
 * unknown attribute.
 */
static const struct attr_set *
attrs_with_path(const void *segments, size_t len)
{
	uint8_t *p = attrs.set.var;

	memset(&attrs.set, 0, sizeof(attrs.set));
	append(&p, segments, len);
	append(&p, "\0\1\0\1\0\2\0\2", 8);
	append(&p, "\0\2\0\1\0\0\0\7", 8);
	append(&p, "\0\0\0\1\0\0\0\2\0\0\0\3", 12);
	append(&p, "\x0a\0\0\1", 4);
	append(&p, "\xe0\x63\0\2hi", 6);
	attrs.set.as_path_len = (uint16_t)len;
	attrs.set.community_count = 2;
	attrs.set.ext_community_count = 1;
	attrs.set.large_community_count = 1;
	attrs.set.cluster_count = 1;
	attrs.set.unknown_len = 6;
	attrs.set.next_hop = addr_from_v4(0xc0000209);
	attr_set_derive(&attrs.set);
	return &attrs.set;
}

#define PATH_3356_1 "\2\2\0\0\x0d\x1c\0\0\0\1"

static const struct attr_set *
plain_attrs(void)
{
	return attrs_with_path(PATH_3356_1, 10);
}

/* ---- running ---- */

struct fixture {
	struct rib_test t;
	struct policy_eval *e;
	struct policy_builder *b;
	struct policy *p;
};

static const struct policy_context context = {.peer = {.b = {192, 0, 2, 2}, .afi = AFI_IPV4},
	.family = FAMILY_IPV4_UNICAST,
	.source = SOURCE_EXTERNAL,
	.tag = 3};

static void
fixture_begin(struct fixture *f)
{
	rib_test_begin(&f->t);
	assert_int_equal(policy_eval_create(f->t.arena, &f->e), 0);
	assert_int_equal(policy_builder_create("test", &f->b), 0);
}

static void
fixture_finish(struct fixture *f)
{
	assert_int_equal(policy_builder_finish(f->b, &f->p), 0);
	assert_string_equal(policy_name(f->p), "test");
}

static void
fixture_end(struct fixture *f)
{
	policy_eval_destroy(f->e);
	policy_destroy(f->p);
	rib_test_end(&f->t);
}

static struct policy_verdict
verdict_of(struct fixture *f, const struct attr_set *a, const char *prefix)
{
	struct policy_verdict v;
	struct prefix p;

	assert_int_equal(prefix_parse(prefix, &p), 0);
	assert_int_equal(policy_eval_begin(f->e, f->p, a, &context), 0);
	assert_int_equal(policy_eval_prefix(f->e, &p, &v), 0);
	return v;
}

static struct policy_prefix_list *
list_of(const char *prefix, uint8_t le)
{
	struct policy_prefix_list *l;
	struct prefix p;

	assert_int_equal(prefix_parse(prefix, &p), 0);
	assert_int_equal(policy_prefix_list_create(&l), 0);
	assert_int_equal(policy_prefix_list_add(l, true, &p, p.len, le), 0);
	assert_int_equal(policy_prefix_list_seal(l), 0);
	return l;
}

/* ---- AS paths ---- */

static bool
path_matches(const char *regex, const void *segments, size_t len)
{
	struct policy_as_path_list *l;
	struct fixture f;
	char error[100];

	fixture_begin(&f);
	assert_int_equal(policy_as_path_list_create(&l), 0);
	assert_int_equal(policy_as_path_list_add(l, true, regex, error, sizeof(error)), 0);
	assert_int_equal(policy_as_path_list_seal(l), 0);
	assert_int_equal(policy_builder_node(f.b, 1, true), 0);
	assert_int_equal(policy_builder_match_as_path_list(f.b, l), 0);
	policy_as_path_list_unref(l);
	fixture_finish(&f);
	bool permit = verdict_of(&f, attrs_with_path(segments, len), "10.0.0.0/8").permit;
	fixture_end(&f);
	return permit;
}

static void
test_regular_expressions(void **state)
{
	static const char one_set[] = "\2\1\0\0\x0d\x1c\1\2\0\0\0\1\0\0\0\2"; /* 3356 {1,2} */
	static const char confed[] = "\3\2\0\0\0\1\0\0\0\2\2\1\0\0\x0d\x1c"; /* (1 2) 3356 */
	static const struct {
		const char *regex;
		/* matches 3356 1; 3356 {1,2}; (1 2) 3356; the empty path */
		bool plain, set, confed, empty;
	} cases[] = {
		{"^3356_", true, true, false, false},
		{"_1$", true, false, false, false},
		{"_1_", true, true, true, false},
		{"_2_", false, true, true, false},
		{"_33_", false, false, false, false},
		{"^$", false, false, false, true},
		{"^_$", false, false, false, true},
		{"_3356_1_", true, false, false, false},
		{"\\{", false, true, false, false},
		{"\\(1 2\\)", false, false, true, false},
		{"[ ]", true, true, true, false},
		{"^[0-9]+$", false, false, false, false},
		{"^[0-9]+_[0-9]+$", true, false, false, false},
		{"^[[:digit:]]+ 1$", true, false, false, false},
		{"[_]", false, false, false, false},
		{"\\_", false, false, false, false},
		{"[]_]", false, false, false, false},
		{".*", true, true, true, true},
		{"", true, true, true, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool plain = path_matches(cases[i].regex, PATH_3356_1, 10),
		     set = path_matches(cases[i].regex, one_set, 16);
		bool confederation = path_matches(cases[i].regex, confed, 16),
		     empty = path_matches(cases[i].regex, "", 0);
		if (plain != cases[i].plain || set != cases[i].set ||
			confederation != cases[i].confed || empty != cases[i].empty)
			fail_msg("`%s`: %d %d %d %d", cases[i].regex, plain, set, confederation,
				empty);
	}
}

static void
test_bad_expressions(void **state)
{
	static const char *const bad[] = {"(", "[", "*", "a{2,1}", "\\"};
	struct policy_as_path_list *l;
	char error[100], *longest = malloc(5000);

	(void)state;
	assert_int_equal(policy_as_path_list_create(&l), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(
			policy_as_path_list_add(l, true, bad[i], error, sizeof(error)), -EINVAL);
		assert_true(strlen(error) > 0);
	}
	memset(longest, '1', 4999);
	longest[4999] = '\0';
	assert_int_equal(policy_as_path_list_add(l, true, longest, error, sizeof(error)), -EINVAL);
	memset(longest, '_', 200);
	longest[200] = '\0';
	assert_int_equal(policy_as_path_list_add(l, true, longest, error, sizeof(error)), 0);
	policy_as_path_list_unref(l);
	free(longest);
}

/* `count` hops of padding. */
static const struct attr_set *
padded_attrs(unsigned count)
{
	static uint8_t path[65000];
	uint8_t *p = path;

	while (count > 0) {
		unsigned n = count < 255 ? count : 255;

		*p++ = 2;
		*p++ = (uint8_t)n;
		count -= n;
		for (; n > 0; n--)
			append(&p, "\0\0\x0d\x1c", 4);
	}
	return attrs_with_path(path, (size_t)(p - path));
}

/*
 * A peer pads the path until the expression of a deny list reaches the match limit. The policy then denies every prefix, whatever the action of
 * the node, and counts the error. Paths below the limit are not affected.
 */
static void
test_match_error(void **state)
{
	static const char hard[] = "^(([0-9]+)* *)*[({]$";
	struct policy_prefix_list *ten = list_of("10.0.0.0/8", 32);
	struct policy_match_error last;

	(void)state;
	for (unsigned hops = 120; hops <= 15000; hops += 14880)
		for (unsigned permits = 0; permits < 2; permits++) {
			struct policy_as_path_list *l;
			struct policy_decision d;
			struct fixture f;
			char error[100];

			fixture_begin(&f);
			assert_int_equal(policy_as_path_list_create(&l), 0);
			assert_int_equal(
				policy_as_path_list_add(l, true, hard, error, sizeof(error)), 0);
			assert_int_equal(policy_as_path_list_name(l, "leaks"), 0);
			assert_int_equal(policy_as_path_list_seal(l), 0);
			policy_builder_node(f.b, 1, true);
			policy_builder_match_prefix_list(f.b, ten);
			policy_builder_node(f.b, 2, permits);
			policy_builder_match_as_path_list(f.b, l);
			policy_builder_node(f.b, 3, true);
			policy_as_path_list_unref(l);
			fixture_finish(&f);
			assert_true(verdict_of(&f, plain_attrs(), "11.0.0.0/8").permit);
			assert_int_equal(policy_eval_match_errors(f.e), 0);
			assert_false(verdict_of(&f, padded_attrs(hops), "11.0.0.0/8").permit);
			assert_int_equal(policy_eval_match_errors(f.e), 1);
			assert_true(policy_digest_decide(f.p, policy_eval_digest(f.e), NULL, &d));
			assert_false(d.permit);
			assert_false(verdict_of(&f, padded_attrs(hops), "10.0.0.0/8").permit);
			assert_true(policy_match_errors(&last) >= 2);
			assert_string_equal(last.policy, "test");
			assert_string_equal(last.list, "leaks");
			assert_true(addr_equal(&last.peer, &context.peer));
			fixture_end(&f);
		}
	policy_prefix_list_unref(ten);
}

/* ---- walks ---- */

static void
test_built_in(void **state)
{
	struct fixture f;
	const struct attr_set *a = plain_attrs();

	(void)state;
	fixture_begin(&f);
	policy_builder_destroy(f.b);
	f.p = NULL;
	struct policy_verdict v;
	struct prefix p = prefix_from_v4(0x0a000000, 8);
	assert_int_equal(policy_eval_begin(f.e, policy_accept_all(), a, &context), 0);
	assert_int_equal(policy_eval_prefix(f.e, &p, &v), 0);
	assert_true(v.permit);
	assert_ptr_equal(v.attrs, a);
	assert_int_equal(v.outcome, 0);
	assert_int_equal(policy_eval_begin(f.e, policy_deny_all(), a, &context), 0);
	assert_int_equal(policy_eval_prefix(f.e, &p, &v), 0);
	assert_false(v.permit);
	assert_int_equal(v.seq, 0);
	fixture_end(&f);
}

/* The first matching node decides; without a match the policy denies. */
static void
test_order(void **state)
{
	struct fixture f;
	struct policy_prefix_list *ten = list_of("10.0.0.0/8", 32),
				  *part = list_of("10.1.0.0/16", 32);

	(void)state;
	fixture_begin(&f);
	policy_builder_node(f.b, 10, false);
	policy_builder_match_prefix_list(f.b, part);
	policy_builder_node(f.b, 20, true);
	policy_builder_match_prefix_list(f.b, ten);
	policy_builder_set_number(f.b, NUMBER_LOCAL_PREF, 120);
	assert_int_equal(policy_builder_node(f.b, 20, true), -EINVAL);
	assert_int_equal(policy_builder_node(f.b, 19, true), -EINVAL);
	fixture_finish(&f);
	policy_prefix_list_unref(ten);
	policy_prefix_list_unref(part);

	struct policy_verdict v = verdict_of(&f, plain_attrs(), "10.1.2.0/24");
	assert_false(v.permit);
	assert_int_equal(v.seq, 10);
	v = verdict_of(&f, plain_attrs(), "10.2.0.0/16");
	assert_true(v.permit);
	assert_int_equal(v.seq, 20);
	assert_int_equal(v.attrs->local_pref, 120);
	v = verdict_of(&f, plain_attrs(), "11.0.0.0/16");
	assert_false(v.permit);
	assert_int_equal(v.seq, 0);
	fixture_end(&f);
}

/* Conditions of different kinds must all hold; of conditions of the same kind, any. */
static void
test_all_and_any(void **state)
{
	struct fixture f;
	struct policy_prefix_list *a = list_of("10.0.0.0/8", 8), *b = list_of("11.0.0.0/8", 8);

	(void)state;
	fixture_begin(&f);
	policy_builder_node(f.b, 1, true);
	policy_builder_match_prefix_list(f.b, a);
	policy_builder_match_number(f.b, NUMBER_AS_PATH_LENGTH, 7, 9);
	policy_builder_match_number(f.b, NUMBER_AS_PATH_LENGTH, 2, 2);
	policy_builder_match_prefix_list(f.b, b);
	policy_builder_match_origin(f.b, ORIGIN_EGP);
	policy_builder_match_origin(f.b, ORIGIN_IGP);
	fixture_finish(&f);
	policy_prefix_list_unref(a);
	policy_prefix_list_unref(b);
	assert_true(verdict_of(&f, plain_attrs(), "10.0.0.0/8").permit);
	assert_true(verdict_of(&f, plain_attrs(), "11.0.0.0/8").permit);
	assert_false(verdict_of(&f, plain_attrs(), "12.0.0.0/8").permit);
	assert_false(verdict_of(&f, attrs_with_path("\2\1\0\0\0\1", 6), "10.0.0.0/8").permit);
	fixture_end(&f);
}

static void
test_absent_numbers(void **state)
{
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	policy_builder_node(f.b, 1, true);
	policy_builder_match_number(f.b, NUMBER_MED, 0, 0);
	policy_builder_match_number(f.b, NUMBER_LOCAL_PREF, 100, 100);
	policy_builder_match_number(f.b, NUMBER_TAG, 3, 3);
	fixture_finish(&f);
	assert_true(verdict_of(&f, plain_attrs(), "10.0.0.0/8").permit);
	attrs.set.med = 5;
	attrs.set.has = ATTR_HAS_MED;
	assert_false(verdict_of(&f, &attrs.set, "10.0.0.0/8").permit);
	fixture_end(&f);
}

/* The order of the list decides, not the order of the communities. */
static void
test_community_lists(void **state)
{
	struct policy_community_list *l;
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	assert_int_equal(policy_community_list_create(&l), 0);
	policy_community_list_add(l, false, 2u << 16 | 2);
	policy_community_list_add(l, true, 1u << 16 | 1);
	policy_community_list_add(l, true, 2u << 16 | 2);
	policy_community_list_seal(l);
	policy_builder_node(f.b, 1, true);
	policy_builder_match_community_list(f.b, l);
	fixture_finish(&f);
	policy_community_list_unref(l);
	assert_false(verdict_of(&f, plain_attrs(), "10.0.0.0/8").permit);
	attrs.set.var[10 + 7] = 3; /* 2:2 becomes 2:3 */
	assert_true(verdict_of(&f, &attrs.set, "10.0.0.0/8").permit);
	attrs.set.var[10 + 3] = 3; /* 1:1 becomes 1:3 */
	assert_false(verdict_of(&f, &attrs.set, "10.0.0.0/8").permit);
	fixture_end(&f);
}

/*
 * Large and extended communities have their own lists; all kinds must match, by any list of a kind.
 */
static void
test_community_kinds(void **state)
{
	static const char *const large[] = {"\0\0\0\1\0\0\0\2\0\0\0\4", "\0\0\0\1\0\0\0\2\0\0\0\3"};
	static const char *const ext[] = {"\0\2\0\1\0\0\0\6", "\0\2\0\1\0\0\0\7"};

	(void)state;
	for (unsigned c = 0; c < 8; c++) {
		struct policy_community_list *l[4];
		struct fixture f;

		fixture_begin(&f);
		policy_builder_node(f.b, 1, true);
		assert_int_equal(policy_community_list_create_kind(COMMUNITIES_LARGE, &l[0]), 0);
		assert_int_equal(policy_community_list_create_kind(COMMUNITIES_EXTENDED, &l[1]), 0);
		assert_int_equal(policy_community_list_create_kind(COMMUNITIES_LARGE, &l[2]), 0);
		assert_int_equal(policy_community_list_create_kind(COMMUNITIES_STANDARD, &l[3]), 0);
		policy_community_list_add_value(l[0], true, (const uint8_t *)large[c & 1]);
		policy_community_list_add_value(l[1], true, (const uint8_t *)ext[c >> 1 & 1]);
		policy_community_list_add_value(l[2], true, (const uint8_t *)large[c >> 2]);
		policy_community_list_add(l[3], true, 1u << 16 | 1);
		for (unsigned i = 0; i < 4; i++) {
			assert_int_equal(policy_community_list_seal(l[i]), 0);
			assert_int_equal(policy_builder_match_community_list(f.b, l[i]), 0);
			policy_community_list_unref(l[i]);
		}
		fixture_finish(&f);
		assert_int_equal(verdict_of(&f, plain_attrs(), "10.0.0.0/8").permit,
			((c & 1) || c >> 2) && (c >> 1 & 1));
		fixture_end(&f);
	}
}

/* The first matching entry decides for large communities, too. */
static void
test_large_community_order(void **state)
{
	struct policy_community_list *l;
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	assert_int_equal(policy_community_list_create_kind(COMMUNITIES_LARGE, &l), 0);
	for (uint8_t i = 0; i < 200; i++)
		policy_community_list_add_value(l, i % 2,
			(const uint8_t[]){0, 0, 0, 9, 0, 0, 0, (uint8_t)(i * 37), 0, 0, 0, i});
	policy_community_list_add_value(l, false, (const uint8_t *)"\0\0\0\1\0\0\0\2\0\0\0\3");
	policy_community_list_add_value(l, true, (const uint8_t *)"\0\0\0\1\0\0\0\2\0\0\0\3");
	policy_community_list_seal(l);
	policy_builder_node(f.b, 1, true);
	policy_builder_match_community_list(f.b, l);
	fixture_finish(&f);
	policy_community_list_unref(l);
	assert_false(verdict_of(&f, plain_attrs(), "10.0.0.0/8").permit);
	for (uint8_t i = 0; i < 200; i++) {
		memcpy(attrs.set.var + 10 + 8 + 8,
			(const uint8_t[]){0, 0, 0, 9, 0, 0, 0, (uint8_t)(i * 37), 0, 0, 0, i}, 12);
		assert_int_equal(verdict_of(&f, &attrs.set, "10.0.0.0/8").permit, i % 2);
	}
	fixture_end(&f);
}

/* policy_uses_peer() decides which peers may share an update group. */
static void
test_uses_peer(void **state)
{
	struct ip_addr peer = addr_from_v4(7);
	struct fixture f;

	(void)state;
	assert_false(policy_uses_peer(policy_accept_all()));
	for (unsigned with = 0; with < 2; with++) {
		fixture_begin(&f);
		policy_builder_node(f.b, 1, false);
		policy_builder_match_origin(f.b, ORIGIN_EGP);
		policy_builder_node(f.b, 2, true);
		policy_builder_match_source(f.b, SOURCE_EXTERNAL);
		if (with)
			policy_builder_match_peer(f.b, &peer);
		fixture_finish(&f);
		assert_int_equal(policy_uses_peer(f.p), with);
		fixture_end(&f);
	}
}

/*
 * Matches the next hop used for forwarding: the link-local address when the global address is
 * missing.
 */
static void
test_next_hop_link_local(void **state)
{
	struct policy_prefix_list *l;
	struct prefix p;
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	assert_int_equal(prefix_parse("fe80::/10", &p), 0);
	assert_int_equal(policy_prefix_list_create(&l), 0);
	assert_int_equal(policy_prefix_list_add(l, true, &p, 10, 128), 0);
	assert_int_equal(policy_prefix_list_seal(l), 0);
	policy_builder_node(f.b, 1, true);
	policy_builder_match_next_hop_list(f.b, l);
	fixture_finish(&f);
	policy_prefix_list_unref(l);
	plain_attrs();
	assert_false(verdict_of(&f, &attrs.set, "2001:db8::/32").permit);
	assert_int_equal(addr_parse("2001:db8::1", &attrs.set.next_hop), 0);
	assert_int_equal(addr_parse("fe80::1", &attrs.set.next_hop_link_local), 0);
	assert_false(verdict_of(&f, &attrs.set, "2001:db8::/32").permit);
	assert_int_equal(addr_parse("::", &attrs.set.next_hop), 0);
	assert_true(verdict_of(&f, &attrs.set, "2001:db8::/32").permit);
	fixture_end(&f);
}

/* ---- changes ---- */

/* Each kind of community is changed separately; other communities stay in place. */
static void
test_community_kinds_change(void **state)
{
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	policy_builder_node(f.b, 1, true);
	policy_builder_set_communities(f.b, COMMUNITIES_EXTENDED, EDIT_ADD,
		(const uint8_t *)"\0\2\0\1\0\0\0\7\0\3\0\1\0\0\0\7", 2);
	policy_builder_set_communities(
		f.b, COMMUNITIES_LARGE, EDIT_ADD, (const uint8_t *)"\0\0\0\5\0\0\0\5\0\0\0\5", 1);
	policy_builder_set_communities(f.b, COMMUNITIES_LARGE, EDIT_REMOVE,
		(const uint8_t *)"\0\0\0\1\0\0\0\2\0\0\0\3", 1);
	policy_builder_set_number(f.b, NUMBER_MED, 5);
	fixture_finish(&f);
	struct policy_verdict v = verdict_of(&f, plain_attrs(), "10.0.0.0/8");
	assert_true(v.permit);
	assert_int_equal(v.attrs->community_count, 2);
	assert_memory_equal(attr_communities(v.attrs), "\0\1\0\1\0\2\0\2", 8);
	assert_int_equal(v.attrs->ext_community_count, 2);
	assert_memory_equal(attr_ext_communities(v.attrs), "\0\2\0\1\0\0\0\7\0\3\0\1\0\0\0\7", 16);
	assert_int_equal(v.attrs->large_community_count, 1);
	assert_memory_equal(attr_large_communities(v.attrs), "\0\0\0\5\0\0\0\5\0\0\0\5", 12);
	assert_memory_equal(attr_cluster_list(v.attrs), "\x0a\0\0\1", 4);
	assert_memory_equal(attr_unknown(v.attrs), "\xe0\x63\0\2hi", 6);
	fixture_end(&f);
}

#define CHANGES 17u

static void
change_build(struct policy_builder *b, unsigned which)
{
	struct ip_addr hop = addr_from_v4(0x0a000001u + (which == 13));

	switch (which) {
	case 0:
	case 1:
		policy_builder_set_number(b, NUMBER_MED, 5 + which);
		break;
	case 2:
		policy_builder_set_number(b, NUMBER_LOCAL_PREF, 5);
		break;
	case 3:
	case 4:
		policy_builder_set_prepend(b, 7, which);
		break;
	case 5:
		policy_builder_set_prepend(b, 8, 3);
		break;
	case 6:
	case 7:
	case 8:
		policy_builder_set_communities(b, COMMUNITIES_STANDARD,
			(enum policy_edit)(EDIT_REPLACE + which - 6), (const uint8_t *)"\0\1\0\1",
			1);
		break;
	case 9:
		policy_builder_set_communities(b, COMMUNITIES_STANDARD, EDIT_REPLACE, NULL, 0);
		break;
	case 10:
		policy_builder_set_communities(
			b, COMMUNITIES_STANDARD, EDIT_ADD, (const uint8_t *)"\0\1\0\2", 1);
		break;
	case 11:
		policy_builder_set_communities(b, COMMUNITIES_EXTENDED, EDIT_REPLACE, NULL, 0);
		break;
	case 12:
	case 13:
		policy_builder_set_next_hop(b, &hop);
		break;
	case 14:
	case 15:
		policy_builder_set_origin(b, which == 14 ? ORIGIN_IGP : ORIGIN_EGP);
		break;
	default: /* the changes 0 and 10 together */
		change_build(b, 0);
		change_build(b, 10);
	}
}

/* policy_verdict.sets of change `which`. */
static unsigned
change_sets(unsigned which)
{
	switch (which) {
	case 0:
	case 1:
		return POLICY_SETS_MED;
	case 2:
		return 0;
	case 12:
	case 13:
		return POLICY_SETS_NEXT_HOP;
	case CHANGES - 1:
		return POLICY_SETS_MED | POLICY_SETS_OTHER;
	default:
		return POLICY_SETS_OTHER;
	}
}

/* The hash of change `which`, in a policy whose earlier nodes make other changes; by number or, with `many`, by key. */
static uint64_t
change_hash(unsigned which, unsigned before, bool permits)
{
	struct fixture f;
	struct policy_prefix_list *eleven = list_of("11.0.0.0/8", 32);
	struct policy_verdict v;
	uint64_t h;

	fixture_begin(&f);
	for (unsigned i = 0; i < before; i++) {
		policy_builder_node(f.b, 1 + i, true);
		policy_builder_match_prefix_list(f.b, eleven);
		policy_builder_set_number(f.b, NUMBER_MED, 1000 + i);
	}
	policy_builder_node(f.b, 1000, permits);
	change_build(f.b, which);
	fixture_finish(&f);
	policy_prefix_list_unref(eleven);
	v = verdict_of(&f, plain_attrs(), "10.0.0.0/8");
	assert_int_equal(v.permit, permits);
	assert_int_equal(v.sets, permits ? change_sets(which) : 0);
	h = policy_outcome_hash(f.p, v.outcome);
	fixture_end(&f);
	return h;
}

/* Equal changes have equal hashes in any policy, also where their numbers differ; different changes have different hashes. */
static void
test_outcome_hash(void **state)
{
	uint64_t hash[CHANGES];

	(void)state;
	for (unsigned i = 0; i < CHANGES; i++) {
		hash[i] = change_hash(i, 0, true);
		assert_true(hash[i] != 0);
		assert_true(hash[i] == change_hash(i, 3, true));
		assert_true(hash[i] == change_hash(i, POLICY_OUTCOMES_MAX + 5, true));
		for (unsigned k = 0; k < i; k++)
			assert_true(hash[i] != hash[k]);
	}
	assert_true(change_hash(0, 3, false) == 0);
}

/* True if change `which` appends communities alone; the result of the policy must then say so. */
static bool
change_appends(unsigned which)
{
	struct fixture f;
	const struct attr_set *a = plain_attrs();
	struct policy_verdict v;
	const uint8_t *values;
	unsigned count, had = a->community_count;
	bool appends;

	fixture_begin(&f);
	policy_builder_node(f.b, 10, true);
	change_build(f.b, which);
	fixture_finish(&f);
	v = verdict_of(&f, a, "10.0.0.0/8");
	assert_true(v.permit);
	appends = policy_outcome_appends(f.p, v.outcome, &values, &count);
	assert_int_equal(policy_outcome_only_appends(f.p, v.outcome, &values, &count),
		appends && v.attrs->has == a->has && v.attrs->local_pref == a->local_pref);
	if (appends) {
		assert_int_equal(v.sets, change_sets(which));
		assert_int_equal(v.sets & (POLICY_SETS_MED | POLICY_SETS_NEXT_HOP), 0);
		assert_int_equal(v.attrs->origin, a->origin);
		assert_int_equal(attr_set_var_len(v.attrs) - attr_set_var_len(a),
			4 * (v.attrs->community_count - had));
		assert_memory_equal(v.attrs->var, a->var, a->as_path_len + 4 * had);
		assert_true(v.attrs->community_count <= had + count);
		for (unsigned i = had; i < v.attrs->community_count; i++)
			assert_memory_equal(attr_communities(v.attrs) + 4 * i,
				values + 4 * (count - v.attrs->community_count + i), 4);
	}
	fixture_end(&f);
	return appends;
}

static void
test_outcome_appends(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CHANGES; i++) {
		/* the local preference stays in the AS */
		bool expected = i == 2 || i == 6 + EDIT_ADD - EDIT_REPLACE || i == 10;

		assert_int_equal(change_appends(i), expected);
	}
}

static void
test_changes_keep_the_rest(void **state)
{
	struct fixture f;
	const struct attr_set *a = plain_attrs();

	(void)state;
	fixture_begin(&f);
	policy_builder_node(f.b, 1, true);
	policy_builder_set_communities(
		f.b, COMMUNITIES_STANDARD, EDIT_REMOVE, (const uint8_t *)"\0\1\0\1", 1);
	policy_builder_set_communities(f.b, COMMUNITIES_STANDARD, EDIT_ADD,
		(const uint8_t *)"\0\2\0\2\0\1\0\1\0\x9\0\x9", 3);
	policy_builder_set_communities(f.b, COMMUNITIES_LARGE, EDIT_REPLACE, NULL, 0);
	policy_builder_set_prepend(f.b, 7, 3);
	fixture_finish(&f);
	struct policy_verdict v = verdict_of(&f, a, "10.0.0.0/8");
	assert_true(v.permit);
	assert_int_equal(v.attrs->as_path_len, 10 + 12);
	assert_memory_equal(
		attr_as_path(v.attrs), "\2\5\0\0\0\7\0\0\0\7\0\0\0\7\0\0\x0d\x1c\0\0\0\1", 22);
	assert_int_equal(v.attrs->as_path_hops, 5);
	assert_int_equal(v.attrs->first_asn, 7);
	assert_int_equal(v.attrs->origin_asn, 1);
	/* 2:2 stays in place; 1:1 was removed first and is added at the end */
	assert_int_equal(v.attrs->community_count, 3);
	assert_memory_equal(attr_communities(v.attrs), "\0\2\0\2\0\1\0\1\0\x9\0\x9", 12);
	assert_int_equal(v.attrs->ext_community_count, 1);
	assert_memory_equal(attr_ext_communities(v.attrs), "\0\2\0\1\0\0\0\7", 8);
	assert_int_equal(v.attrs->large_community_count, 0);
	assert_memory_equal(attr_cluster_list(v.attrs), "\x0a\0\0\1", 4);
	assert_int_equal(v.attrs->unknown_len, 6);
	assert_memory_equal(attr_unknown(v.attrs), "\xe0\x63\0\2hi", 6);
	/* the input is unchanged */
	assert_int_equal(a->as_path_len, 10);
	assert_int_equal(a->community_count, 2);
	fixture_end(&f);
}

/* A path that cannot be extended: the route is refused, and not passed unchanged. */
static void
test_path_too_long(void **state)
{
	struct fixture f;
	uint8_t *path = calloc(1, 70000), *p = path;

	(void)state;
	fixture_begin(&f);
	while (p - path + 1022 <= 65535) {
		*p++ = 2;
		*p++ = 255;
		for (unsigned j = 0; j < 255; j++)
			append(&p, "\0\0\0\1", 4);
	}
	policy_builder_node(f.b, 1, true);
	policy_builder_set_prepend(f.b, 7, 64);
	fixture_finish(&f);
	struct policy_verdict v =
		verdict_of(&f, attrs_with_path(path, (size_t)(p - path)), "10.0.0.0/8");
	assert_int_equal(v.seq, 1);
	assert_int_equal(v.permit, p - path + 64 * 4 + 2 <= 65535);
	fixture_end(&f);
	free(path);
}

/*
 * Equal outcomes have equal attributes, different changes have different attributes, and results
 * live until the next begin.
 */
static void
test_outcomes(void **state)
{
	struct fixture f;
	struct policy_prefix_list *lists[4];
	static const char *const prefixes[] = {
		"10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8", "13.0.0.0/8", "14.0.0.0/8"};
	static const uint32_t local_pref[] = {110, 120, 110, 0, 130};
	struct policy_verdict v[5], again;

	(void)state;
	fixture_begin(&f);
	for (unsigned i = 0; i < 5; i++) {
		policy_builder_node(f.b, 10 + i, true);
		if (i < 4) {
			lists[i] = list_of(prefixes[i], 32);
			policy_builder_match_prefix_list(f.b, lists[i]);
			policy_prefix_list_unref(lists[i]);
		}
		if (local_pref[i])
			policy_builder_set_number(f.b, NUMBER_LOCAL_PREF, local_pref[i]);
	}
	fixture_finish(&f);
	const struct attr_set *a = plain_attrs();
	assert_int_equal(policy_eval_begin(f.e, f.p, a, &context), 0);
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < 5; i++) {
			struct prefix p;
			assert_int_equal(prefix_parse(prefixes[i], &p), 0);
			assert_int_equal(policy_eval_prefix(f.e, &p, round ? &again : &v[i]), 0);
			if (round)
				assert_ptr_equal(again.attrs, v[i].attrs);
		}
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(v[i].seq, 10 + i);
		assert_int_equal(v[i].attrs->local_pref, local_pref[i]);
		assert_true(v[i].outcome < POLICY_OUTCOMES_MAX);
	}
	assert_int_equal(v[0].outcome, v[2].outcome);
	assert_ptr_equal(v[0].attrs, v[2].attrs);
	assert_int_not_equal(v[0].outcome, v[1].outcome);
	assert_int_not_equal(v[1].outcome, v[4].outcome);
	assert_ptr_equal(v[3].attrs, a);
	assert_int_equal(v[3].outcome, 0);
	fixture_end(&f);
}

/*
 * The nodes: 10 matches 10/8, sets MED 1 and continues at 30; 20 sets local-pref 5; 30 denies
 * 10.1/16; 40 matches 10/8 le 15 and sets MED 2.
 */
static void
test_goto(void **state)
{
	struct fixture f;
	struct policy_prefix_list *ten = list_of("10.0.0.0/8", 32),
				  *part = list_of("10.1.0.0/16", 32),
				  *wide = list_of("10.0.0.0/8", 15);

	(void)state;
	fixture_begin(&f);
	policy_builder_node(f.b, 10, true);
	policy_builder_match_prefix_list(f.b, ten);
	policy_builder_set_number(f.b, NUMBER_MED, 1);
	policy_builder_goto(f.b, 30);
	policy_builder_node(f.b, 20, true);
	policy_builder_set_number(f.b, NUMBER_LOCAL_PREF, 5);
	policy_builder_node(f.b, 30, false);
	policy_builder_match_prefix_list(f.b, part);
	policy_builder_node(f.b, 40, true);
	policy_builder_match_prefix_list(f.b, wide);
	policy_builder_set_communities(f.b, COMMUNITIES_STANDARD, EDIT_REPLACE, NULL, 0);
	fixture_finish(&f);
	policy_prefix_list_unref(ten);
	policy_prefix_list_unref(part);
	policy_prefix_list_unref(wide);

	/* outside 10/8: only node 20 */
	struct policy_verdict v = verdict_of(&f, plain_attrs(), "11.0.0.0/8");
	assert_int_equal(v.seq, 20);
	assert_int_equal(v.attrs->local_pref, 5);
	assert_int_equal(v.attrs->has & ATTR_HAS_MED, 0);
	/* goto a deny */
	v = verdict_of(&f, plain_attrs(), "10.1.0.0/16");
	assert_false(v.permit);
	assert_int_equal(v.seq, 30);
	/* goto a permit: both changes */
	v = verdict_of(&f, plain_attrs(), "10.0.0.0/9");
	assert_true(v.permit);
	assert_int_equal(v.seq, 40);
	assert_int_equal(v.attrs->med, 1);
	assert_int_equal(v.attrs->community_count, 0);
	assert_int_equal(v.attrs->has & ATTR_HAS_LOCAL_PREF, 0);
	/* no node matches after the goto: the route stays permitted */
	v = verdict_of(&f, plain_attrs(), "10.2.0.0/16");
	assert_true(v.permit);
	assert_int_equal(v.seq, 10);
	assert_int_equal(v.attrs->med, 1);
	assert_int_equal(v.attrs->community_count, 2);
	fixture_end(&f);
}

static void
test_goto_refused(void **state)
{
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	policy_builder_node(f.b, 10, true);
	policy_builder_goto(f.b, 20);
	assert_int_equal(policy_builder_finish(f.b, &f.p), -ENOENT);
	policy_builder_node(f.b, 20, true);
	policy_builder_goto(f.b, 10);
	assert_int_equal(policy_builder_finish(f.b, &f.p), -ENOENT);
	policy_builder_destroy(f.b);
	f.p = NULL;
	fixture_end(&f);
}

/* Seven nodes with goto to the next and a change each: 127 chains of changes, more than there are slots. */
static void
test_goto_outcomes(void **state)
{
	struct fixture f;

	(void)state;
	for (unsigned n = 5; n <= 60; n += n < 8 ? 1 : 13) {
		fixture_begin(&f);
		for (unsigned i = 1; i <= n; i++) {
			struct policy_prefix_list *l =
				list_of("10.0.0.0/8", (uint8_t)(8 + i < 32 ? 8 + i : 32));
			policy_builder_node(f.b, i, true);
			policy_builder_match_prefix_list(f.b, l);
			policy_prefix_list_unref(l);
			policy_builder_set_number(f.b, NUMBER_MED, i);
			if (i < n)
				policy_builder_goto(f.b, i + 1);
		}
		fixture_finish(&f);
		assert_int_equal(verdict_of(&f, plain_attrs(), "10.0.0.0/8").attrs->med, n);
		assert_int_equal(verdict_of(&f, plain_attrs(), "10.0.0.0/12").seq, n);
		assert_int_equal(
			verdict_of(&f, plain_attrs(), "10.0.0.0/12").sets, POLICY_SETS_MED);
		fixture_end(&f);
	}
}

#define BITS 12

/* The prefixes 10.0.0.0/32 to 10.0.15.255/32 with bit `i % BITS` set. */
static struct policy_prefix_list *
list_of_bit(unsigned i)
{
	struct policy_prefix_list *l;

	assert_int_equal(policy_prefix_list_create(&l), 0);
	for (uint32_t high = 0; high < 1u << (BITS - 1 - i % BITS); high++) {
		struct prefix p = prefix_from_v4(
			0x0a000000 | (2 * high + 1) << i % BITS, (uint8_t)(32 - i % BITS));

		assert_int_equal(policy_prefix_list_add(l, true, &p, 32, 32), 0);
	}
	assert_int_equal(policy_prefix_list_seal(l), 0);
	return l;
}

/* The outcome of every earlier prefix: equal keys have equal results. */
struct by_key {
	uint64_t outcome;
	uint64_t steps;
};

static void
check_steps(struct fixture *f, unsigned steps, struct policy_prefix_list **lists)
{
	static struct by_key known[4096];
	unsigned known_count = 0, large = 0;
	uint64_t seed = steps;

	attrs_with_path("", 0);
	for (unsigned n = 0; n < 4000; n++) {
		struct prefix p = prefix_from_v4(0x0a000000 | random_below(&seed, 1u << BITS), 32);
		struct policy_verdict v;
		uint64_t want = 0, got = 0;
		unsigned i;

		if (n % 1000 == 0)
			assert_int_equal(policy_eval_begin(f->e, f->p, plain_attrs(), &context), 0);
		assert_int_equal(policy_eval_prefix(f->e, &p, &v), 0);
		assert_true(v.permit);
		for (i = 0; i < steps; i++)
			want |= (uint64_t)policy_prefix_list_match(lists[i], &p) << i;
		for (i = 0; i < v.attrs->community_count; i++) {
			const uint8_t *c = attr_communities(v.attrs) + 4 * i;

			if (c[1] == 77)
				got |= UINT64_C(1) << c[3];
		}
		assert_int_equal(got, want);
		large += v.outcome >= POLICY_OUTCOMES_MAX;
		for (i = 0; i < known_count && known[i].outcome != v.outcome; i++)
			;
		if (v.outcome == POLICY_OUTCOME_ALONE)
			continue;
		if (i < known_count)
			assert_int_equal(known[i].steps, want);
		else
			known[known_count++] = (struct by_key){v.outcome, want};
	}
	assert_true(large > 3000);
	assert_true(steps > 48 || known_count > 100);
}

/* Optional steps in a row, each a goto to the next: 7 are 128 results, 20 are a million, 60 are more than there are keys. */
static void
test_many_outcomes(void **state)
{
	static const unsigned counts[] = {7, 20, 48, 60};

	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		struct policy_prefix_list *lists[60];
		struct fixture f;

		fixture_begin(&f);
		for (unsigned i = 0; i < counts[k]; i++) {
			uint8_t community[4] = {0, 77, 0, (uint8_t)i};

			lists[i] = list_of_bit(i);
			policy_builder_node(f.b, i + 1, true);
			policy_builder_match_prefix_list(f.b, lists[i]);
			assert_int_equal(policy_builder_set_communities(
						 f.b, COMMUNITIES_STANDARD, EDIT_ADD, community, 1),
				0);
			policy_builder_goto(f.b, i + 1 < counts[k] ? i + 2 : 100);
		}
		policy_builder_node(f.b, 100, true);
		policy_builder_goto(f.b, 101);
		policy_builder_node(f.b, 101, true);
		fixture_finish(&f);
		check_steps(&f, counts[k], lists);
		assert_int_equal(policy_has_digest(f.p), counts[k] <= 48);
		for (unsigned i = 0; i < counts[k]; i++)
			policy_prefix_list_unref(lists[i]);
		fixture_end(&f);
	}
}

/* No goto: 200 prefixes, each with its own values to set. */
static void
test_many_sets(void **state)
{
	struct fixture f;
	char text[PREFIX_TEXT_MAX];

	(void)state;
	fixture_begin(&f);
	for (unsigned i = 1; i <= 200; i++) {
		snprintf(text, sizeof(text), "10.%u.0.0/16", i);
		struct policy_prefix_list *l = list_of(text, 32);
		policy_builder_node(f.b, i, true);
		policy_builder_match_prefix_list(f.b, l);
		policy_prefix_list_unref(l);
		policy_builder_set_number(f.b, NUMBER_LOCAL_PREF, 1000 + i);
	}
	fixture_finish(&f);
	for (unsigned i = 1; i <= 200; i++) {
		snprintf(text, sizeof(text), "10.%u.1.0/24", i);
		assert_int_equal(verdict_of(&f, plain_attrs(), text).attrs->local_pref, 1000 + i);
	}
	fixture_end(&f);
}

/* The same scratch object evaluates several policies: no state of the previous policy remains. */
static void
test_eval_is_used_again(void **state)
{
	struct fixture f;
	struct policy *other;
	struct policy_builder *b;
	struct policy_verdict v;
	struct prefix p = prefix_from_v4(0x0a000000, 8);

	(void)state;
	fixture_begin(&f);
	policy_builder_node(f.b, 1, true);
	policy_builder_set_number(f.b, NUMBER_MED, 1);
	fixture_finish(&f);
	assert_int_equal(policy_builder_create("other", &b), 0);
	for (unsigned i = 1; i <= 30; i++) {
		policy_builder_node(b, i, true);
		policy_builder_match_number(b, NUMBER_MED, i, i);
		policy_builder_set_number(b, NUMBER_LOCAL_PREF, i);
	}
	assert_int_equal(policy_builder_finish(b, &other), 0);
	for (unsigned round = 0; round < 100; round++) {
		assert_int_equal(policy_eval_begin(f.e, f.p, plain_attrs(), &context), 0);
		assert_int_equal(policy_eval_prefix(f.e, &p, &v), 0);
		assert_int_equal(v.attrs->med, 1);
		attrs.set.has = ATTR_HAS_MED;
		attrs.set.med = round % 40;
		assert_int_equal(policy_eval_begin(f.e, other, &attrs.set, &context), 0);
		assert_int_equal(policy_eval_prefix(f.e, &p, &v), 0);
		assert_int_equal(v.permit, round % 40 >= 1 && round % 40 <= 30);
		if (v.permit)
			assert_int_equal(v.attrs->local_pref, round % 40);
	}
	policy_destroy(other);
	fixture_end(&f);
}

/* ---- random policies against a plain interpreter ---- */

#define PLAIN_NODES 14
#define PLAIN_LISTS 3

struct plain_node {
	bool permit, has_list, has_range, sets_pref, adds;
	unsigned list, goes_to; /* 0: no goto */
	uint32_t low, high, pref, community;
};

struct plain_result {
	bool permit;
	uint32_t seq, pref;
	unsigned count;
	uint32_t communities[PLAIN_NODES];
};

static struct plain_node
random_node(uint64_t *seed, unsigned at, unsigned count)
{
	struct plain_node n = {.permit = random_below(seed, 4) > 0};

	n.has_list = random_below(seed, 4) > 0;
	n.list = random_below(seed, PLAIN_LISTS);
	n.has_range = random_below(seed, 3) == 0;
	n.low = random_below(seed, 3);
	n.high = n.low + random_below(seed, 3);
	n.sets_pref = random_below(seed, 2); /* without effect in a deny node */
	n.pref = 1 + random_below(seed, 3);
	n.adds = n.permit && random_below(seed, 2);
	n.community = random_below(seed, 3);
	if (n.permit && at + 1 < count && random_below(seed, 6) < (count > 10 ? 5 : 2))
		n.goes_to = at + 1 + random_below(seed, count > 10 ? 1 : count - at - 1);
	return n;
}

static void
build_node(struct policy_builder *b, unsigned at, const struct plain_node *n,
	struct policy_prefix_list **lists)
{
	uint8_t community[4] = {0, 0, 0, (uint8_t)n->community};

	assert_int_equal(policy_builder_node(b, 10 * (at + 1), n->permit), 0);
	if (n->has_list)
		assert_int_equal(policy_builder_match_prefix_list(b, lists[n->list]), 0);
	if (n->has_range)
		assert_int_equal(policy_builder_match_number(b, NUMBER_MED, n->low, n->high), 0);
	if (n->sets_pref)
		policy_builder_set_number(b, NUMBER_LOCAL_PREF, n->pref);
	if (n->adds)
		assert_int_equal(policy_builder_set_communities(
					 b, COMMUNITIES_STANDARD, EDIT_ADD, community, 1),
			0);
	if (n->goes_to)
		policy_builder_goto(b, 10 * (n->goes_to + 1));
}

static void
plain_add(struct plain_result *r, uint32_t community)
{
	for (unsigned i = 0; i < r->count; i++)
		if (r->communities[i] == community)
			return;
	r->communities[r->count++] = community;
}

static struct plain_result
plain_walk(const struct plain_node *nodes, unsigned count, struct policy_prefix_list **lists,
	uint32_t med, const struct prefix *p)
{
	struct plain_result r = {0};

	for (unsigned i = 0; i < count;) {
		const struct plain_node *n = &nodes[i];
		if ((n->has_list && !policy_prefix_list_match(lists[n->list], p)) ||
			(n->has_range && (med < n->low || med > n->high))) {
			i++;
			continue;
		}
		r.seq = 10 * (i + 1);
		r.permit = n->permit;
		if (n->sets_pref)
			r.pref = n->pref;
		if (n->adds)
			plain_add(&r, n->community);
		if (!n->goes_to)
			break;
		i = n->goes_to;
	}
	return r;
}

/* True if some permitting node accepts the prefix, whatever its other conditions are. */
static bool
plain_may(const struct plain_node *nodes, unsigned count, struct policy_prefix_list **lists,
	const struct prefix *p)
{
	for (unsigned i = 0; i < count; i++)
		if (nodes[i].permit &&
			(!nodes[i].has_list || policy_prefix_list_match(lists[nodes[i].list], p)))
			return true;
	return false;
}

static void
check_verdict(const struct policy_verdict *v, const struct plain_result *r, uint64_t seed)
{
	if (v->permit != r->permit || v->seq != r->seq)
		fail_msg("seed %llu: node %u, %d; wanted %u, %d", (unsigned long long)seed, v->seq,
			v->permit, r->seq, r->permit);
	if (!r->permit)
		return;
	if (v->attrs->local_pref != r->pref || v->attrs->community_count != r->count)
		fail_msg(
			"seed %llu: other attributes at node %u", (unsigned long long)seed, v->seq);
	for (unsigned i = 0; i < r->count; i++)
		assert_int_equal(attr_communities(v->attrs)[4 * i + 3], r->communities[i]);
}

static bool
same_changes(const struct plain_result *a, const struct plain_result *b)
{
	return a->pref == b->pref && a->count == b->count &&
	       !memcmp(a->communities, b->communities, a->count * sizeof(a->communities[0]));
}

/* The digest alone gives the same decision, and its outcome makes the same attribute set. */
static void
check_digest(struct fixture *f, const struct prefix *p, const struct policy_verdict *v)
{
	static uint8_t expected[65536];
	struct policy_digest digest = policy_eval_digest(f->e);
	struct policy_decision d, all;
	const struct attr_set *made;

	assert_true(policy_has_digest(f->p));
	assert_true(policy_digest_decide(f->p, digest, p, &d));
	assert_int_equal(d.permit, v->permit);
	assert_int_equal(d.seq, v->seq);
	if (policy_digest_decide(f->p, digest, NULL, &all)) {
		assert_int_equal(all.seq, v->seq);
		assert_int_equal(all.outcome, d.outcome);
	}
	if (!v->permit)
		return;
	assert_int_equal(d.outcome, v->outcome);
	memcpy(expected, v->attrs, attr_set_size(v->attrs));
	assert_int_equal(
		policy_eval_outcome(f->e, f->p, &attrs.set, &context.peer, d.outcome, &made), 0);
	assert_memory_equal(made, expected, attr_set_size(made));
	assert_int_equal(policy_eval_begin(f->e, f->p, &attrs.set, &context), 0);
}

static void
check_random_policy(
	struct fixture *f, uint64_t first, struct policy_prefix_list **lists, unsigned *many)
{
	struct plain_node nodes[PLAIN_NODES];
	struct plain_result by_outcome[30];
	uint64_t known[30];
	unsigned known_count = 0;
	uint64_t seed = first;
	unsigned count = random_below(&seed, PLAIN_NODES + 1);
	struct policy_verdict v;

	assert_int_equal(policy_builder_create("test", &f->b), 0);
	for (unsigned i = 0; i < count; i++) {
		nodes[i] = random_node(&seed, i, count);
		build_node(f->b, i, &nodes[i], lists);
	}
	assert_int_equal(policy_builder_finish(f->b, &f->p), 0);
	attrs_with_path("", 0);
	attrs.set.community_count = 0;
	attrs.set.ext_community_count = attrs.set.large_community_count = attrs.set.cluster_count =
		attrs.set.unknown_len = 0;
	attrs.set.has = ATTR_HAS_MED;
	attrs.set.med = random_below(&seed, 4);
	for (unsigned i = 0; i < 30; i++) {
		/* outcomes keep their meaning across begins */
		if (i % 5 == 0)
			assert_int_equal(policy_eval_begin(f->e, f->p, &attrs.set, &context), 0);
		struct prefix p = random_prefix(&seed, AFI_IPV4);
		struct plain_result r = plain_walk(nodes, count, lists, attrs.set.med, &p);
		assert_int_equal(policy_eval_prefix(f->e, &p, &v), 0);
		check_verdict(&v, &r, first);
		check_digest(f, &p, &v);
		assert_int_equal(policy_may_permit(f->p, &p),
			!policy_asks_few(f->p) || plain_may(nodes, count, lists, &p));
		if (!v.permit)
			continue;
		*many += v.outcome >= POLICY_OUTCOMES_MAX;
		assert_true(v.outcome != POLICY_OUTCOME_ALONE);
		unsigned at = 0;
		while (at < known_count && known[at] != v.outcome)
			at++;
		assert_true(at == known_count || same_changes(&by_outcome[at], &r));
		known_count += at == known_count;
		by_outcome[at] = r;
		known[at] = v.outcome;
	}
	policy_destroy(f->p);
}

static void
test_random_policies(void **state)
{
	struct policy_prefix_list *lists[PLAIN_LISTS] = {
		list_of("0.0.0.0/1", 32), list_of("10.0.0.0/8", 32), list_of("0.0.0.0/0", 12)};
	struct fixture f;
	unsigned many = 0;

	(void)state;
	fixture_begin(&f);
	policy_builder_destroy(f.b);
	for (uint64_t seed = 1; seed <= 20000; seed++)
		check_random_policy(&f, seed, lists, &many);
	assert_true(many > 100);
	for (unsigned i = 0; i < PLAIN_LISTS; i++)
		policy_prefix_list_unref(lists[i]);
	f.p = NULL;
	fixture_end(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prefix_lists),
		cmocka_unit_test(test_prefix_list_refuses),
		cmocka_unit_test(test_regular_expressions),
		cmocka_unit_test(test_bad_expressions),
		cmocka_unit_test(test_match_error),
		cmocka_unit_test(test_built_in),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_all_and_any),
		cmocka_unit_test(test_absent_numbers),
		cmocka_unit_test(test_community_lists),
		cmocka_unit_test(test_community_kinds),
		cmocka_unit_test(test_large_community_order),
		cmocka_unit_test(test_uses_peer),
		cmocka_unit_test(test_next_hop_link_local),
		cmocka_unit_test(test_community_kinds_change),
		cmocka_unit_test(test_outcome_hash),
		cmocka_unit_test(test_outcome_appends),
		cmocka_unit_test(test_changes_keep_the_rest),
		cmocka_unit_test(test_path_too_long),
		cmocka_unit_test(test_outcomes),
		cmocka_unit_test(test_goto),
		cmocka_unit_test(test_goto_refused),
		cmocka_unit_test(test_goto_outcomes),
		cmocka_unit_test(test_many_outcomes),
		cmocka_unit_test(test_many_sets),
		cmocka_unit_test(test_eval_is_used_again),
		cmocka_unit_test(test_random_policies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
