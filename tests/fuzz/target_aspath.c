/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An AS-path list with a line per entry (`+` or `-` and the expression), a NUL, and the segments
 * of a path. Invariants: the list rejects exactly what PCRE2 rejects, and decides like plain
 * PCRE2; an error while matching denies the route.
 */
#include "tests/fuzz/targets.h"

#include "lpm/base/arena.h"
#include "rib/policy/inspect.h"
#include "rib/policy/policy_build.h"
#include "rib/policy/policy_impl.h"
#include "tests/oracle/as_path.h"

#define REGEX_LEN_MAX 4096
#define PATH_LEN_MAX 1024
/*
 * JIT code counts steps differently from the interpreter. Between a tenth of the list's limit and
 * the limit, the list may fail.
 */
#define STEPS_MAX 200000
#define STEPS_FEW (STEPS_MAX / 10)

/* Created once. */
static struct {
	struct arena *arena;
	struct policy_path *path;
	struct policy_eval *eval;
	pcre2_match_data *match;
	pcre2_match_context *limits;
} made;

static void
make(void)
{
	if (made.arena)
		return;
	HARNESS_CHECK(arena_create("fuzz", &made.arena) == 0);
	HARNESS_CHECK(policy_path_create(made.arena, &made.path) == 0);
	HARNESS_CHECK(policy_eval_create(made.arena, &made.eval) == 0);
	made.match = pcre2_match_data_create(1, NULL);
	made.limits = pcre2_match_context_create(NULL);
	HARNESS_CHECK(made.match && made.limits);
}

static void
add_entry(struct policy_as_path_list *l, struct plain_list *plain, bool permit, const char *regex)
{
	pcre2_code *code = strlen(regex) > REGEX_LEN_MAX ? NULL : plain_compile(regex);
	char error[160];
	int err = policy_as_path_list_add(l, permit, regex, error, sizeof(error));

	HARNESS_CHECK(err == (code ? 0 : -EINVAL));
	HARNESS_CHECK((error[0] != '\0') == (code == NULL));
	if (!code)
		return;
	plain->entry[plain->count].regex = regex;
	plain->entry[plain->count].code = code;
	plain->entry[plain->count++].permit = permit;
}

/* Makes a set with exactly the memory needed for the path. */
static struct attr_set *
path_of(const uint8_t *data, size_t len)
{
	size_t used = 0, at = 0;
	struct attr_set *a;

	if (len > PATH_LEN_MAX)
		len = PATH_LEN_MAX;
	/* segments contain whole AS numbers; the decoder rejects other lengths */
	while (at + 2 <= len && at + 2 + 4u * data[at + 1] <= len)
		used = at += 2 + 4u * data[at + 1];
	a = calloc(1, sizeof(*a) + used);
	HARNESS_CHECK(a);
	if (used > 0)
		memcpy(a->var, data, used);
	for (at = 0; at < used; at += 2 + 4u * a->var[at + 1])
		a->var[at] = (uint8_t)(1 + (a->var[at] - 1u) % 4);
	a->as_path_len = (uint16_t)used;
	attr_set_derive(a);
	return a;
}

/* Decision of a policy: node 1 has the list, node 2 has the other action and no condition. */
static bool
policy_permits(struct policy_as_path_list *l, const struct attr_set *a, bool action)
{
	struct policy_context context = {.family = FAMILY_IPV4_UNICAST, .source = SOURCE_EXTERNAL};
	struct prefix prefix = {.afi = AFI_IPV4, .len = 8, .b = {10}};
	struct policy_verdict verdict;
	struct policy_builder *b;
	struct policy *p;

	HARNESS_CHECK(policy_builder_create("fuzz", &b) == 0);
	HARNESS_CHECK(policy_builder_node(b, 1, action) == 0);
	HARNESS_CHECK(policy_builder_match_as_path_list(b, l) == 0);
	HARNESS_CHECK(policy_builder_node(b, 2, !action) == 0);
	HARNESS_CHECK(policy_builder_finish(b, &p) == 0);
	HARNESS_CHECK(policy_eval_begin(made.eval, p, a, &context) == 0);
	HARNESS_CHECK(policy_eval_prefix(made.eval, &prefix, &verdict) == 0);
	policy_destroy(p);
	return verdict.permit;
}

/*
 * -EIO is right if PCRE2 fails or needs many steps. An answer is right if PCRE2 gives an equal
 * answer or needs too many steps.
 */
static bool
is_right(int got, const struct plain_list *plain, const char *text)
{
	int want;

	pcre2_set_match_limit(made.limits, got == -EIO ? STEPS_FEW : STEPS_MAX);
	want = plain_match(plain, text, made.match, made.limits);
	return want == got || (got >= 0 && want == -EIO);
}

static void
decide(struct policy_as_path_list *l, const struct plain_list *plain, const struct attr_set *a)
{
	size_t len = attr_as_path_format(a, NULL, 0);
	char *text = malloc(len + 1);
	int got;

	HARNESS_CHECK(text);
	HARNESS_CHECK(attr_as_path_format(a, text, len + 1) == len && strlen(text) == len);
	policy_path_begin(made.path, a);
	got = policy_path_match(made.path, l);
	if (!is_right(got, plain, text)) {
		for (unsigned i = 0; i < plain->count; i++)
			fprintf(stderr, "%s `%s`\n", plain->entry[i].permit ? "permit" : "deny",
				plain->entry[i].regex);
		fprintf(stderr, "path `%s`: %d\n", text, got);
		abort();
	}
	HARNESS_CHECK(policy_permits(l, a, true) == (got == 1));
	HARNESS_CHECK(policy_permits(l, a, false) == (got == 0));
	free(text);
}

void
target_aspath(const uint8_t *data, size_t len)
{
	const uint8_t *nul = len > 0 ? memchr(data, 0, len) : NULL;
	size_t text_len = nul ? (size_t)(nul - data) : len;
	struct plain_list plain = {0};
	struct policy_as_path_list *l;
	char *text = strndup((const char *)data, text_len), *rest = text, *line;
	struct attr_set *a = path_of(nul ? nul + 1 : data, nul ? len - text_len - 1 : 0);

	HARNESS_CHECK(text);
	make();
	HARNESS_CHECK(policy_as_path_list_create(&l) == 0);
	while ((line = strsep(&rest, "\n")) != NULL && plain.count < PLAIN_ENTRIES_MAX)
		if (line[0] == '+' || line[0] == '-')
			add_entry(l, &plain, line[0] == '+', line + 1);
	HARNESS_CHECK(policy_as_path_list_seal(l) == 0);
	HARNESS_CHECK(policy_as_path_list_expressions(l) <= plain.count);
	decide(l, &plain, a);
	plain_free(&plain);
	policy_as_path_list_unref(l);
	free(a);
	free(text);
}
