/* SPDX-License-Identifier: BSD-3-Clause */
/* AS-path lists against plain PCRE2 (tests/oracle/as_path.h). */
#include "rib/policy/inspect.h"
#include "rib/policy/policy.h"
#include "rib/policy/policy_build.h"
#include "rib/policy/policy_impl.h"
#include "tests/oracle/as_path.h"
#include "tests/rib/rib_test.h"

#define TEXT_MAX 512

struct fixture {
	struct rib_test t;
	struct policy_path *path;
	pcre2_match_data *match;
};

static void
fixture_begin(struct fixture *f)
{
	rib_test_begin(&f->t);
	assert_int_equal(policy_path_create(f->t.arena, &f->path), 0);
	f->match = pcre2_match_data_create(1, NULL);
	assert_non_null(f->match);
}

static void
fixture_end(struct fixture *f)
{
	pcre2_match_data_free(f->match);
	policy_path_destroy(f->path);
	rib_test_end(&f->t);
}

/* ---- random expressions ---- */

struct text {
	char *p, *end;
};

static void
put(struct text *t, const char *s)
{
	t->p += snprintf(t->p, (size_t)(t->end - t->p), "%s", s);
}

static const char *
any_of(uint64_t *seed, const char *const *texts)
{
	unsigned count = 0;

	while (texts[count])
		count++;
	return texts[random_below(seed, count)];
}

/*
 * Some numbers are the head or tail of longer numbers. A list and its paths draw from a small pool,
 * so that many paths match.
 */
#define POOL 4
static uint32_t pool[POOL];

static void
pool_draw(uint64_t *seed)
{
	static const uint32_t asns[] = {0, 1, 2, 3, 9, 10, 11, 12, 19, 20, 21, 100, 110, 112, 64511,
		64512, 64513, 64519, 65535, 65536, 4199999999u, 4200000000u, 4294967294u,
		4294967295u};

	for (unsigned i = 0; i < POOL; i++)
		pool[i] = asns[random_below(seed, sizeof(asns) / sizeof(asns[0]))];
}

static uint32_t
random_asn(uint64_t *seed)
{
	return pool[random_below(seed, POOL)];
}

static void
put_number(struct text *t, uint64_t *seed)
{
	static const char *const patterns[] = {"1[0-2]", "[12]", "6451[2-9]", "[0-9]+", "[0-9]*",
		"1[0-9]?", "\\d{2}", "[1-9][0-9]{4}", "42[0-9]{8}", "429496729[0-9]", "0[1-9]",
		"[02468]+", "1{1,3}", "[[:digit:]]+", "[13-5]", "1\\d*", "6451[2-9]?", "[0-9]{2,}",
		"9{12}", "[0-24-9]1", "[4-9][0-9]{9}", "[[:digit:]_]+", "[^[:alpha:]_]", NULL};
	char number[16];

	if (random_below(seed, 3)) {
		snprintf(number, sizeof(number), "%u", random_asn(seed));
		put(t, number);
	} else {
		put(t, any_of(seed, patterns));
	}
}

static void
put_element(struct text *t, uint64_t *seed)
{
	unsigned count = random_below(seed, 3) ? 1 : 1 + random_below(seed, 3);
	bool group = count > 1 || random_below(seed, 6) == 0;

	if (group)
		put(t, random_below(seed, 4) ? "(" : "(?:");
	for (unsigned i = 0; i < count; i++) {
		put(t, i > 0 ? "|" : "");
		put_number(t, seed);
	}
	if (group)
		put(t, ")");
}

static void
put_alternative(struct text *t, uint64_t *seed)
{
	static const char *const whole[] = {"", ".*", "^.*", ".*$", "^.*$", "^", "$", "_", ".",
		".+", "^.+$", "^$", "^_$", "[ ]", "\\{", "[_]", NULL};
	static const char *const begin[] = {
		"_", "_", "^", "^", ".*_", "^.*_", "(^|_)", "(_|^)", "", "^_", " ", NULL};
	static const char *const end[] = {"_", "_", "$", "$", "_.*", "_.*$", "(_|$)", "($|_)",
		"(_.*)?$", "", "_$", "_?$", ".*", NULL};
	static const char *const between[] = {"_", "_", "_", " ", "__", ",", ".", NULL};
	static const char *const numbers[] = {
		"(_[0-9]+)*_", "(?:_[0-9]+)*_", "(_\\d+)*_", "(_[0-9]+)+_", "(_[0-9]*)*_", NULL};

	/* the paths from an AS to some others, as written by bgpq4 */
	if (random_below(seed, 6) == 0) {
		put(t, random_below(seed, 8) ? "^" : any_of(seed, begin));
		put_element(t, seed);
		put(t, any_of(seed, numbers));
		put_element(t, seed);
		put(t, random_below(seed, 8) ? "$" : any_of(seed, end));
		return;
	}
	if (random_below(seed, 12) == 0) {
		put(t, any_of(seed, whole));
		return;
	}
	put(t, any_of(seed, begin));
	put_element(t, seed);
	for (unsigned more = random_below(seed, 4) ? 0 : random_below(seed, 4); more > 0; more--) {
		put(t, any_of(seed, between));
		put_element(t, seed);
	}
	put(t, any_of(seed, end));
}

static void
random_regex(uint64_t *seed, char out[TEXT_MAX])
{
	struct text t = {out, out + TEXT_MAX};
	unsigned alternatives = random_below(seed, 5) ? 1 : 1 + random_below(seed, 3);

	out[0] = '\0';
	for (unsigned i = 0; i < alternatives; i++) {
		put(&t, i > 0 ? "|" : "");
		put_alternative(&t, seed);
	}
	/* a random typing error */
	if (random_below(seed, 6) == 0 && out[0] != '\0')
		out[random_below(seed, (uint32_t)strlen(out))] =
			"_^$()[]{}|*+?.\\0159, -:"[random_below(seed, 23)];
}

/* ---- random paths ---- */

static union {
	struct attr_set set;
	uint8_t bytes[4096];
} attrs;

static void
random_path(uint64_t *seed)
{
	uint8_t *p = attrs.set.var;

	memset(&attrs, 0, sizeof(attrs));
	for (unsigned segments = random_below(seed, 4); segments > 0; segments--) {
		unsigned count = random_below(seed, 5);

		*p++ = (uint8_t)(random_below(seed, 2) ? 2 : 1 + random_below(seed, 4));
		*p++ = (uint8_t)count;
		for (; count > 0; count--) {
			uint32_t asn = random_asn(seed);

			for (unsigned shift = 32; shift > 0; shift -= 8)
				*p++ = (uint8_t)(asn >> (shift - 8));
		}
	}
	attrs.set.as_path_len = (uint16_t)(p - attrs.set.var);
	attr_set_derive(&attrs.set);
}

/* ---- tests ---- */

static unsigned
check_random_list(struct fixture *f, uint64_t first)
{
	static char regexes[PLAIN_ENTRIES_MAX][TEXT_MAX];
	struct plain_list plain = {0};
	struct policy_as_path_list *l;
	uint64_t seed = first;
	unsigned understood;
	char error[160];

	pool_draw(&seed);
	assert_int_equal(policy_as_path_list_create(&l), 0);
	for (unsigned n = 1 + random_below(&seed, PLAIN_ENTRIES_MAX); plain.count < n;) {
		char *regex = regexes[plain.count];
		bool permit = random_below(&seed, 2);
		pcre2_code *code;
		int err;

		random_regex(&seed, regex);
		code = plain_compile(regex);
		err = policy_as_path_list_add(l, permit, regex, error, sizeof(error));
		if (err != (code != NULL ? 0 : -EINVAL))
			fail_msg("seed %llu: `%s`: %d, %s", (unsigned long long)first, regex, err,
				error);
		if (code == NULL)
			continue;
		plain.entry[plain.count].regex = regex;
		plain.entry[plain.count].code = code;
		plain.entry[plain.count++].permit = permit;
	}
	assert_int_equal(policy_as_path_list_seal(l), 0);
	understood = plain.count - policy_as_path_list_expressions(l);
	for (unsigned i = 0; i < 40; i++) {
		char text[2048];
		int got, want;

		random_path(&seed);
		assert_true(attr_as_path_format(&attrs.set, text, sizeof(text)) < sizeof(text));
		policy_path_begin(f->path, &attrs.set);
		got = policy_path_match(f->path, l);
		want = plain_match(&plain, text, f->match, NULL);
		if (got == want)
			continue;
		for (unsigned k = 0; k < plain.count; k++)
			print_error("%s %s\n", plain.entry[k].permit ? "permit" : "deny",
				plain.entry[k].regex);
		fail_msg("seed %llu: path `%s`: %d", (unsigned long long)first, text, got);
	}
	plain_free(&plain);
	policy_as_path_list_unref(l);
	return understood;
}

static void
test_random_lists(void **state)
{
	struct fixture f;
	unsigned understood = 0;

	(void)state;
	fixture_begin(&f);
	for (uint64_t seed = 1; seed <= 6000; seed++)
		understood += check_random_list(&f, seed);
	assert_true(understood > 20000); /* enough expressions were accepted for the property */
	fixture_end(&f);
}

#define PRIVATE_ASNS                                                                               \
	"_(6451[2-9]|645[2-9][0-9]|64[6-9][0-9]{2}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])_"

/* The usual expressions need no PCRE2 at run time. */
static void
test_common_expressions(void **state)
{
	static const char *const common[] = {"_64513_", "^64513_", "_64513$", "^64513$", "^$", ".*",
		"^64513_64514_", "_(1|2|3)_", "_6451[2-9]_", "^64513_.*", ".*_64513_.*", "^[0-9]+$",
		PRIVATE_ASNS, "_42[0-9]{8}_", "(^|_)64513(_|$)", "^64513(_[0-9]+)*_(64514|64515)$",
		"^(64513|64514)(?:_\\d+)*_64515$", "^(64513|64514)_(64515|64516)$",
		"^64513_|_64514$", "_0_", "^64513(_.*)?$"};
	static const char *const others[] = {
		"^64513(_64513)*$", "64513", "_64513", "^64513_[0-9]+$", "(_64513)+$", "^(.)\\1"};
	struct policy_as_path_list *l;
	char error[160];

	(void)state;
	assert_int_equal(policy_as_path_list_create(&l), 0);
	for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++) {
		assert_int_equal(
			policy_as_path_list_add(l, true, common[i], error, sizeof(error)), 0);
		if (policy_as_path_list_expressions(l) != 0)
			fail_msg("`%s` needs PCRE2", common[i]);
	}
	/* evaluated by PCRE2; the last fails: a reference to a group that captures nothing */
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(
			policy_as_path_list_add(l, true, others[i], error, sizeof(error)), 0);
	assert_int_equal(
		policy_as_path_list_add(l, true, others[5], error, sizeof(error)), -EINVAL);
	assert_int_equal(policy_as_path_list_expressions(l), 5);
	policy_as_path_list_unref(l);
}

/* The path `1 22`: 1; 0. -EINVAL: the list refuses the expression. */
static int
match_1_22(struct fixture *f, const char *regex)
{
	static const uint8_t path[] = {2, 2, 0, 0, 0, 1, 0, 0, 0, 22};
	struct policy_as_path_list *l;
	char error[160];
	int err;

	memset(&attrs, 0, sizeof(attrs));
	memcpy(attrs.set.var, path, sizeof(path));
	attrs.set.as_path_len = sizeof(path);
	assert_int_equal(policy_as_path_list_create(&l), 0);
	err = policy_as_path_list_add(l, true, regex, error, sizeof(error));
	if (!err) {
		assert_int_equal(policy_as_path_list_seal(l), 0);
		policy_path_begin(f->path, &attrs.set);
		err = policy_path_match(f->path, l);
	}
	policy_as_path_list_unref(l);
	return err;
}

/* In a bracket expression `_` is an underscore, also behind a class name. The fuzzer found `[[:digit:]_]` refused. */
static void
test_bracket_expressions(void **state)
{
	static const struct {
		const char *regex;
		int want;
	} cases[] = {
		{"^[[:digit:]_]+$", 0},
		{"^[[:digit:]_ ]+$", 1},
		{"^[[:digit:]]_[[:^alpha:]_]{2}$", 1},
		{"^[^[:digit:]_]", 0},
		{"^[^]_]_22$", 1},
		{"^[]_1]_22$", 1},
		{"[[:]_22", 0},
		{"[1[:]_22$", 1},
		{"[[:digit:]", -EINVAL},
		{"[[:number:]_]", -EINVAL},
	};
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int got = match_1_22(&f, cases[i].regex);

		if (got != cases[i].want)
			fail_msg("`%s`: %d", cases[i].regex, got);
	}
	fixture_end(&f);
}

/* Issue 21: 5,000 single expressions, twice. PCRE2 runs none of them; the first matching entry decides. */
static void
test_five_thousand(void **state)
{
	struct policy_as_path_list *l;
	struct fixture f;
	char regex[64], error[160];

	(void)state;
	fixture_begin(&f);
	assert_int_equal(policy_as_path_list_create(&l), 0);
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(regex, sizeof(regex),
			i % 3 == 0   ? "_%u_"
			: i % 3 == 1 ? "^%u_"
				     : "_%u$",
			100000 + 7 * (i % 5000));
		assert_int_equal(
			policy_as_path_list_add(l, i % 2 == 0, regex, error, sizeof(error)), 0);
	}
	assert_int_equal(policy_as_path_list_seal(l), 0);
	assert_int_equal(policy_as_path_list_expressions(l), 0);
	for (unsigned i = 0; i < 5000; i++) {
		uint32_t asn = 100000 + 7 * i;
		uint8_t path[] = {2, 3, 0, 0, 0, 1, (uint8_t)(asn >> 24), (uint8_t)(asn >> 16),
			(uint8_t)(asn >> 8), (uint8_t)asn, 0, 0, 0, 2};
		/* `asn` is in the middle, so only `_N_` matches; entry i + 5000 has an equal number */
		unsigned which = i % 3 == 0 ? i : (i + 5000) % 3 == 0 ? i + 5000 : 1;

		memset(&attrs, 0, sizeof(attrs));
		memcpy(attrs.set.var, path, sizeof(path));
		attrs.set.as_path_len = sizeof(path);
		policy_path_begin(f.path, &attrs.set);
		assert_int_equal(policy_path_match(f.path, l), which % 2 == 0);
	}
	policy_as_path_list_unref(l);
	fixture_end(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_lists),
		cmocka_unit_test(test_common_expressions),
		cmocka_unit_test(test_bracket_expressions),
		cmocka_unit_test(test_five_thousand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
