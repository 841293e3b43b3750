/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Policies of documents. The long test runs the three benchmark policies of ../shared over a
 * generated table and compares with eval_policy.py, node by node. KEEL_POLICY_TABLE=FILE uses
 * another table (`gen_table.py --text FILE` writes the full table).
 */
#include "control/config/policy_compile.h"
#include "control/config/config.h"
#include "lpm/base/arena.h"
#include "tests/lpm/size.h"
#include "tests/control/config_test.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

/* ---- tables in the form of gen_table.py --text ---- */

union attr_buffer {
	struct attr_set set;
	uint8_t bytes[8192];
};

static void
put_u32(uint8_t **p, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		*(*p)++ = (uint8_t)(v >> (24 - 8 * i));
}

/* Converts "3356 7922 {1,2}" to segments. */
static void
put_path(uint8_t **p, char *text)
{
	char *save = NULL, *inner = NULL;
	uint8_t *count = NULL;

	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		bool is_set = *word == '{';
		if (is_set || !count) {
			*(*p)++ = is_set ? 1 : 2;
			count = (*p)++;
			*count = 0;
		}
		for (char *asn = strtok_r(word, "{},", &inner); asn;
			asn = strtok_r(NULL, "{},", &inner)) {
			put_u32(p, (uint32_t)strtoul(asn, NULL, 10));
			++*count;
		}
		if (is_set)
			count = NULL;
	}
}

static unsigned
put_communities(uint8_t **p, char *text)
{
	char *save = NULL;
	unsigned count = 0;
	uint32_t v;

	for (char *word = strtok_r(text, " \n", &save); word;
		word = strtok_r(NULL, " \n", &save), count++) {
		assert_int_equal(policy_community_parse(word, &v), 0);
		put_u32(p, v);
	}
	return count;
}

static unsigned
put_large(uint8_t **p, char *text)
{
	char *save = NULL;
	unsigned count = 0;

	for (char *word = strtok_r(text, " \n", &save); word;
		word = strtok_r(NULL, " \n", &save), count++) {
		assert_int_equal(policy_large_community_parse(word, *p), 0);
		*p += 12;
	}
	return count;
}

/* Fields of a line, cut in place. */
static unsigned
cut(char *line, char **field, unsigned max)
{
	unsigned n = 0;

	for (char *p = line; p && n < max; n++) {
		field[n] = p;
		p = strchr(p, '|');
		if (p)
			*p++ = '\0';
	}
	return n;
}

static struct attr_set *
attrs_of(char *path, char *origin, char *next_hop, char *med, char *communities, char *large)
{
	static union attr_buffer b;
	struct attr_set *a = &b.set;
	uint8_t *p;

	memset(&b, 0, sizeof(b));
	p = a->var;
	put_path(&p, path);
	a->as_path_len = (uint16_t)(p - a->var);
	a->community_count = (uint16_t)put_communities(&p, communities);
	a->large_community_count = (uint16_t)put_large(&p, large);
	a->origin = *origin == 'I' && origin[1] == 'G' ? ORIGIN_IGP
		    : *origin == 'E'		       ? ORIGIN_EGP
						       : ORIGIN_INCOMPLETE;
	assert_int_equal(addr_parse(next_hop, &a->next_hop), 0);
	a->med = (uint32_t)strtoul(med, NULL, 10);
	a->has = a->med ? ATTR_HAS_MED : 0;
	attr_set_derive(a);
	return a;
}

/* Routes with equal attributes, as in UPDATE messages. */
struct group {
	struct attr_set *attrs;
	struct prefix *prefixes;
	unsigned count, size;
};

struct table {
	struct group *group;
	unsigned count, size, routes;
};

static void
group_add(struct group *g, const char *prefix)
{
	if (g->count == g->size) {
		g->size = g->size ? 2 * g->size : 4;
		g->prefixes = realloc(g->prefixes, g->size * sizeof(*g->prefixes));
		assert_non_null(g->prefixes);
	}
	assert_int_equal(prefix_parse(prefix, &g->prefixes[g->count++]), 0);
}

static struct group *
group_new(struct table *t)
{
	if (t->count == t->size) {
		t->size = t->size ? 2 * t->size : 1024;
		t->group = realloc(t->group, t->size * sizeof(*t->group));
		assert_non_null(t->group);
	}
	t->group[t->count] = (struct group){0};
	return &t->group[t->count++];
}

static void
table_add(struct table *t, json_t *index, char *line)
{
	char *field[15], key[8192];

	assert_int_equal(cut(line, field, 15), 15);
	snprintf(key, sizeof(key), "%s|%s|%s|%s|%s|%s", field[6], field[7], field[8], field[10],
		field[11], field[14]);
	const json_t *known = json_object_get(index, key);
	if (!known) {
		struct group *g = group_new(t);
		struct attr_set *a =
			attrs_of(field[6], field[7], field[8], field[10], field[11], field[14]);
		g->attrs = malloc(attr_set_size(a));
		assert_non_null(g->attrs);
		memcpy(g->attrs, a, attr_set_size(a));
		json_object_set_new(index, key, json_integer(t->count - 1));
		known = json_object_get(index, key);
	}
	group_add(&t->group[json_integer_value(known)], field[5]);
	t->routes++;
}

static struct table
table_load(const char *file)
{
	struct table t = {0};
	json_t *index = json_object();
	char line[8192];
	FILE *in = fopen(file, "r");

	assert_non_null(in);
	while (fgets(line, sizeof(line), in))
		table_add(&t, index, line);
	fclose(in);
	json_decref(index);
	assert_true(t.routes > 0);
	return t;
}

static void
table_free(struct table *t)
{
	for (unsigned i = 0; i < t->count; i++) {
		free(t->group[i].attrs);
		free(t->group[i].prefixes);
	}
	free(t->group);
}

/* ---- the tools of ../shared ---- */

static const char *
shared_folder(void)
{
	const char *folder = getenv("KEEL_SHARED");

	return folder ? folder : KEEL_SOURCE_ROOT "/../shared";
}

/* Output of a command as JSON. */
static json_t *json_of_command(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static json_t *
json_of_command(const char *fmt, ...)
{
	char command[4096];
	va_list ap;
	json_error_t error;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	FILE *out = popen(command, "r");
	assert_non_null(out);
	json_t *answer = json_loadf(out, 0, &error);
	assert_int_equal(pclose(out), 0);
	return answer;
}

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void
count_up(json_t *family, const char *key)
{
	json_object_set_new(
		family, key, json_integer(json_integer_value(json_object_get(family, key)) + 1));
}

#define SEQ_MAX 1100

struct counts {
	unsigned routes, accepted, node[SEQ_MAX];
};

static json_t *
counts_json(const struct counts *c)
{
	json_t *nodes = json_object();
	char seq[16];

	for (unsigned i = 0; i < SEQ_MAX; i++) {
		snprintf(seq, sizeof(seq), "%u", i);
		if (c->node[i])
			json_object_set_new(nodes, i ? seq : "none", json_integer(c->node[i]));
	}
	return json_pack("{s:i, s:i, s:i, s:o}", "routes", c->routes, "accepted", c->accepted,
		"rejected", c->routes - c->accepted, "nodes", nodes);
}

static const struct policy_context context_v4 = {
	.family = FAMILY_IPV4_UNICAST, .source = SOURCE_EXTERNAL};

/* Runs the whole table through a policy; returns ns per route. */
static double
run_table(
	struct arena *arena, const struct table *t, const struct policy *p, struct counts counts[2])
{
	struct policy_eval *e;
	struct policy_verdict v;

	assert_int_equal(policy_eval_create(arena, &e), 0);
	uint64_t begin = now_ns();
	for (unsigned g = 0; g < t->count; g++) {
		assert_int_equal(policy_eval_begin(e, p, t->group[g].attrs, &context_v4), 0);
		for (unsigned i = 0; i < t->group[g].count; i++) {
			const struct prefix *prefix = &t->group[g].prefixes[i];
			struct counts *c = &counts[prefix->afi == AFI_IPV6];
			policy_eval_prefix(e, prefix, &v);
			c->routes++;
			c->accepted += v.permit;
			c->node[v.seq]++;
		}
	}
	double ns = (double)(now_ns() - begin) / t->routes;
	assert_int_equal(policy_eval_match_errors(e), 0);
	policy_eval_destroy(e);
	return ns;
}

static struct policy_set *
compiled(const json_t *document)
{
	struct faults f = {0};
	struct policy_set *s = policy_set_compile(document, &f);

	if (!s)
		print_faults(&f);
	assert_non_null(s);
	faults_fini(&f);
	return s;
}

static json_t *
load_shared(const char *name)
{
	char path[4096];
	json_error_t error;

	snprintf(path, sizeof(path), "%s/data/policies/%s", shared_folder(), name);
	json_t *document = json_load_file(path, 0, &error);
	assert_non_null(document);
	return document;
}

static void
compare_policy(struct arena *arena, const struct table *t, const char *name, const json_t *expected)
{
	struct counts counts[2] = {0}, again[2];
	char file[64];

	snprintf(file, sizeof(file), "%s.json", name);
	json_t *document = load_shared(file);
	struct policy_set *s = compiled(document);
	double ns = run_table(arena, t, policy_set_find(s, name), counts), best = ns;
	for (unsigned i = 0; i < 4; i++) {
		double more = run_table(arena, t, policy_set_find(s, name), again);
		best = more < best ? more : best;
	}
	json_t *got = json_pack("{s:o, s:o}", "ipv4-unicast", counts_json(&counts[0]),
		"ipv6-unicast", counts_json(&counts[1]));
	if (!json_equal(got, expected)) {
		char *text = json_dumps(got, 0);
		print_message("%s: %s\n", name, text);
		free(text);
	}
	assert_true(json_equal(got, expected));
	print_message("%s: %u routes, %u attribute sets, %.1f ns a route (first run %.1f)\n", name,
		t->routes, t->count, best, ns);
	json_decref(got);
	policy_set_free(s);
	json_decref(document);
}

/* changes.json: effect of each patch on a table. */
static json_t *
count_change(struct arena *arena, const struct table *t, const struct policy *before,
	const struct policy *after)
{
	struct policy_eval *a, *b;
	struct policy_verdict v, w;
	json_t *families[2] = {json_object(), json_object()};

	assert_int_equal(policy_eval_create(arena, &a), 0);
	assert_int_equal(policy_eval_create(arena, &b), 0);
	for (unsigned i = 0; i < 8; i++)
		json_object_set_new(families[i / 4],
			(const char *[]){"added", "removed", "changed", "same"}[i % 4],
			json_integer(0));
	for (unsigned g = 0; g < t->count; g++) {
		assert_int_equal(policy_eval_begin(a, before, t->group[g].attrs, &context_v4), 0);
		assert_int_equal(policy_eval_begin(b, after, t->group[g].attrs, &context_v4), 0);
		for (unsigned i = 0; i < t->group[g].count; i++) {
			const struct prefix *prefix = &t->group[g].prefixes[i];
			assert_int_equal(policy_eval_prefix(a, prefix, &v), 0);
			assert_int_equal(policy_eval_prefix(b, prefix, &w), 0);
			bool changed = attr_set_size(v.attrs) != attr_set_size(w.attrs) ||
				       memcmp(v.attrs, w.attrs, attr_set_size(v.attrs));
			count_up(families[prefix->afi == AFI_IPV6],
				v.permit != w.permit  ? (w.permit ? "added" : "removed")
				: v.permit && changed ? "changed"
						      : "same");
		}
	}
	policy_eval_destroy(a);
	policy_eval_destroy(b);
	return json_pack("{s:o, s:o}", "ipv4-unicast", families[0], "ipv6-unicast", families[1]);
}

static void
compare_change(
	struct arena *arena, const struct table *t, const json_t *change, const json_t *expected)
{
	const char *name = json_string_value(json_object_get(change, "policy"));
	struct faults f = {0};
	json_t *document = load_shared(json_string_value(json_object_get(change, "file")));
	json_t *patched = config_patch(document, json_object_get(change, "patch"), &f);

	print_faults(&f);
	assert_non_null(patched);
	struct policy_set *before = compiled(document), *after = compiled(patched);
	json_t *got =
		count_change(arena, t, policy_set_find(before, name), policy_set_find(after, name));
	if (!json_equal(got, expected)) {
		char *text = json_dumps(got, 0), *wanted = json_dumps(expected, 0);
		fail_msg("%s: got %s, wanted %s",
			json_string_value(json_object_get(change, "name")), text, wanted);
	}
	/*
	 * Changes without effect are detected; every other change of these documents affects
	 * routes, except the renumbered node.
	 */
	bool renumbered =
		strstr(json_string_value(json_object_get(change, "name")), "renumbered") != NULL;
	if (renumbered)
		assert_true(policy_set_same(before, after, name));
	else
		assert_false(policy_set_same(before, after, name));
	json_decref(got);
	policy_set_free(before);
	policy_set_free(after);
	json_decref(patched);
	json_decref(document);
}

/* `NAME {...} remark` a line. */
static json_t *
expected_changes(const char *table)
{
	char command[4096], line[4096];
	json_t *all = json_array();

	snprintf(command, sizeof(command),
		"/usr/bin/python3 '%s/data/policies/eval_policy.py' --changes "
		"'%s/data/policies/changes.json' '%s'",
		shared_folder(), shared_folder(), table);
	FILE *out = popen(command, "r");
	assert_non_null(out);
	while (fgets(line, sizeof(line), out)) {
		json_error_t error;
		char *brace = strchr(line, '{');
		assert_non_null(brace);
		json_array_append_new(all, json_loads(brace, JSON_DISABLE_EOF_CHECK, &error));
	}
	assert_int_equal(pclose(out), 0);
	return all;
}

static void
test_shared_policies(void **state)
{
	static const char *const names[] = {"attributes-only", "mixed", "prefix-heavy"};
	char folder[] = "/tmp/keel-policy-XXXXXX", file[128], command[4096];
	const char *table_file = getenv("KEEL_POLICY_TABLE");
	struct arena *arena;
	size_t i;
	json_t *change;

	(void)state;
	snprintf(command, sizeof(command), "%s/data/policies/eval_policy.py", shared_folder());
	if (access(command, R_OK))
		skip();
	assert_int_equal(arena_create("test", &arena), 0);
	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/table.txt", folder);
	if (!table_file) {
		snprintf(command, sizeof(command),
			"/usr/bin/python3 '%s/data/gen_table.py' --v4 %u --v6 %u --text '%s' "
			">/dev/null",
			shared_folder(), test_size(5000, 20000), test_size(1250, 5000), file);
		assert_int_equal(system(command), 0);
	}
	const char *used = table_file ? table_file : file;
	struct table t = table_load(used);
	for (i = 0; i < 3; i++) {
		json_t *expected =
			json_of_command("/usr/bin/python3 '%s/data/policies/eval_policy.py' "
					"'%s/data/policies/%s.json' %s '%s'",
				shared_folder(), shared_folder(), names[i], names[i], used);
		compare_policy(arena, &t, names[i], expected);
		json_decref(expected);
	}
	json_t *changes = load_shared("changes.json"), *expected = expected_changes(used);
	assert_int_equal(json_array_size(changes), json_array_size(expected));
	json_array_foreach(changes, i, change)
		compare_change(arena, &t, change, json_array_get(expected, i));
	json_decref(changes);
	json_decref(expected);
	table_free(&t);
	unlink(file);
	rmdir(folder);
	assert_int_equal(arena_bytes(arena), 0);
	arena_destroy(arena);
}

/* ---- documents ---- */

static struct policy_set *
compile_text(const char *text, struct faults *f)
{
	json_t *document = document_of(text);
	struct policy_set *s = policy_set_compile(document, f);

	json_decref(document);
	return s;
}

static struct policy_set *
compile_good(const char *text)
{
	struct faults f = {0};
	struct policy_set *s = compile_text(text, &f);

	if (!s)
		print_faults(&f);
	assert_non_null(s);
	return s;
}

/* Exactly one fault. */
static void
assert_only_fault(const char *text, const char *path, const char *part)
{
	struct faults f = {0};

	assert_null(compile_text(text, &f));
	assert_fault(&f, path, part);
	if (f.count != 1)
		print_faults(&f);
	assert_int_equal(f.count, 1);
	faults_fini(&f);
}

static void
test_built_in(void **state)
{
	struct policy_set *s = compile_good("{}");

	(void)state;
	assert_ptr_equal(policy_set_find(s, "accept-all"), policy_accept_all());
	assert_ptr_equal(policy_set_find(s, "deny-all"), policy_deny_all());
	assert_null(policy_set_find(s, "other"));
	assert_string_equal(policy_set_names(s)[0], "accept-all");
	assert_null(policy_set_names(s)[2]);
	policy_set_free(s);
}

static void
test_list_faults(void **state)
{
	(void)state;
	assert_only_fault("{'prefix_lists': [{'name': 'a', 'entries': [{'action': 'permit', "
			  "'prefix': '10.0.0.1/8'}]}]}",
		"/prefix_lists/0/entries/0/prefix",
		"\"10.0.0.1/8\" has bits set beyond its length (host bits); the network is "
		"10.0.0.0/8");
	assert_only_fault("{'prefix_lists': [{'name': 'a', 'entries': [{'action': 'permit', "
			  "'prefix': '10.0.0.0/33'}]}]}",
		"/prefix_lists/0/entries/0/prefix", "\"10.0.0.0/33\" is not a prefix");
	assert_only_fault("{'prefix_lists': [{'name': 'a', 'entries': [{'action': 'permit', "
			  "'prefix': '10.0.0.0/8', 'ge': 7}]}]}",
		"/prefix_lists/0/entries/0/ge", "7 is not an integer from 8 to 32");
	assert_only_fault("{'prefix_lists': [{'name': 'a', 'entries': [{'action': 'permit', "
			  "'prefix': '10.0.0.0/8', 'ge': 12, 'le': 11}]}]}",
		"/prefix_lists/0/entries/0/le", "ge 12 is greater than le 11");
	assert_only_fault("{'as_path_lists': [{'name': 'a', 'entries': [{'action': 'permit', "
			  "'regex': 'a', 'seq': 10}, {'action': 'permit', 'regex': 'b'}, "
			  "{'action': 'permit', 'regex': 'c', 'seq': 10}]}]}",
		"/as_path_lists/0/entries/2/seq",
		"10 is not greater than the seq 10 of an entry before");
	assert_only_fault("{'prefix_lists': [{'name': 'a', 'entries': [{'action': 'permit', "
			  "'prefix': '10.0.0.0/8', 'seq': 20}, {'action': 'permit', 'prefix': "
			  "'11.0.0.0/8', 'seq': 10}]}]}",
		"/prefix_lists/0/entries/1/seq",
		"10 is not greater than the seq 20 of an entry before");
	assert_only_fault("{'community_lists': [{'name': 'a', 'entries': [{'action': 'permit', "
			  "'community': '1:1', 'seq': 0}]}]}",
		"/community_lists/0/entries/0/seq", "0 is not an integer from 1 to 4294967295");
	assert_only_fault("{'prefix_lists': [{'name': 'a', 'entries': [{'action': 'allow', "
			  "'prefix': '10.0.0.0/8'}]}]}",
		"/prefix_lists/0/entries/0/action", "\"allow\" is not one of permit, deny");
	assert_only_fault(
		"{'prefix_lists': [{'name': 'a', 'entries': [{'prefix': '10.0.0.0/8'}]}]}",
		"/prefix_lists/0/entries/0/action", "is missing");
	assert_only_fault(
		"{'prefix_lists': [{'name': 'a', 'entries': []}, {'name': 'a', 'entries': []}]}",
		"/prefix_lists/1/name", "\"a\" is already used at /prefix_lists/0");
	assert_only_fault("{'as_path_lists': [{'name': 'a', 'entries': [{'action': 'permit', "
			  "'regex': '(1'}]}]}",
		"/as_path_lists/0/entries/0/regex",
		"\"(1\" is not a regular expression: missing closing parenthesis");
	assert_only_fault("{'community_lists': [{'name': 'a', 'entries': [{'action': 'permit', "
			  "'community': '65536:1'}]}]}",
		"/community_lists/0/entries/0/community", "\"65536:1\" is not a community");
	assert_only_fault("{'large_community_lists': [{'name': 'a', 'entries': [{'action': "
			  "'permit', 'large_community': '1:2:3'}, {'action': 'permit', "
			  "'large_community': '1:2'}]}]}",
		"/large_community_lists/0/entries/1/large_community",
		"\"1:2\" is not a large community");
	assert_only_fault("{'large_community_lists': [{'name': 'a', 'entries': [{'action': "
			  "'permit', 'large_community': '1:2:3', 'community': '1:2'}]}]}",
		"/large_community_lists/0/entries/0/community", "unknown key");
	assert_only_fault("{'ext_community_lists': [{'name': 'a', 'entries': [{'action': 'deny', "
			  "'ext_community': 'xx:1:1'}]}]}",
		"/ext_community_lists/0/entries/0/ext_community",
		"\"xx:1:1\" is not an extended community");
	assert_only_fault(
		"{'ext_community_lists': [{'name': 'a', 'entries': [{'action': 'deny'}]}]}",
		"/ext_community_lists/0/entries/0/ext_community", "is missing");
	assert_only_fault(
		"{'community_lists': {}}", "/community_lists", "an object is not an array");
	assert_only_fault("{'prefix_lists': null}", "/prefix_lists", "null is not allowed");
	assert_only_fault("{'prefix_lists': [{'name': 'all', 'entries': []}]}",
		"/prefix_lists/0/name", "is a word of commands");
}

#define POLICY(nodes)                                                                              \
	"{'prefix_lists': [{'name': 'p', 'entries': []}], 'route_policies': [{'name': 'r', "       \
	"'nodes': [" nodes "]}]}"

static void
test_policy_faults(void **state)
{
	(void)state;
	assert_only_fault("{'route_policies': [{'name': 'accept-all', 'nodes': []}]}",
		"/route_policies/0/name", "can't be redefined");
	assert_only_fault(
		"{'route_policies': [{'name': 'x', 'nodes': []}, {'name': 'x', 'nodes': []}]}",
		"/route_policies/1/name", "is already used at /route_policies/0");
	assert_only_fault(POLICY("{'seq': 1, 'action': 'permit', 'match': {'prefix_list': 'q'}}"),
		"/route_policies/0/nodes/0/match/prefix_list", "there is no prefix list \"q\"");
	assert_only_fault(
		POLICY("{'seq': 1, 'action': 'permit', 'match': {'prefix_list': ['p', 'q']}}"),
		"/route_policies/0/nodes/0/match/prefix_list/1", "there is no prefix list \"q\"");
	assert_only_fault(POLICY("{'seq': 1, 'action': 'permit', 'match': {'as_path_list': 'p'}}"),
		"/route_policies/0/nodes/0/match/as_path_list", "there is no AS-path list \"p\"");
	assert_only_fault(POLICY("{'seq': 1, 'action': 'permit', 'match': {'prefix_list': []}}"),
		"/route_policies/0/nodes/0/match/prefix_list", "is empty; give at least one value");
	assert_only_fault(
		POLICY("{'seq': 1, 'action': 'permit', 'match': {'large_community_list': 'p'}}"),
		"/route_policies/0/nodes/0/match/large_community_list",
		"there is no large community list \"p\"");
	assert_only_fault(
		POLICY("{'seq': 1, 'action': 'permit', 'match': {'ext_community_list': ['p']}}"),
		"/route_policies/0/nodes/0/match/ext_community_list/0",
		"there is no extended community list \"p\"");
	assert_only_fault(POLICY("{'seq': 1, 'action': 'permit', 'match': {'colour': 'p'}}"),
		"/route_policies/0/nodes/0/match/colour", "unknown key");
	assert_only_fault(POLICY("{'seq': 1, 'action': 'permit'}, {'seq': 1, 'action': 'deny'}"),
		"/route_policies/0/nodes/1/seq", "1 is the `seq` of another node");
	assert_only_fault(POLICY("{'seq': 0, 'action': 'permit'}"), "/route_policies/0/nodes/0/seq",
		"0 is not an integer from 1");
	assert_only_fault(
		POLICY("{'action': 'permit'}"), "/route_policies/0/nodes/0/seq", "is missing");
	assert_only_fault(POLICY("{'seq': 1, 'action': 'deny', 'set': {'med': 'x'}}"),
		"/route_policies/0/nodes/0/set/med", "\"x\" is not an integer");
	assert_only_fault(POLICY("{'seq': 1, 'action': 'permit', 'goto': 1}"),
		"/route_policies/0/nodes/0/goto", "1 is not the `seq` of a later node");
	assert_only_fault(
		POLICY("{'seq': 1, 'action': 'deny', 'goto': 2}, {'seq': 2, 'action': 'permit'}"),
		"/route_policies/0/nodes/0/goto", "only valid in a permit node");
	assert_only_fault(POLICY("{'seq': 1, 'action': 'permit', 'set': {'local_pref': -1}}"),
		"/route_policies/0/nodes/0/set/local_pref",
		"-1 is not an integer from 0 to 4294967295");
	assert_only_fault(
		POLICY("{'seq': 1, 'action': 'permit', 'set': {'next_hop': '192.0.2.300'}}"),
		"/route_policies/0/nodes/0/set/next_hop",
		"\"192.0.2.300\" is not an IP address, \"peer\", \"self\" or \"discard\"");
	assert_only_fault(POLICY("{'seq': 1, 'action': 'permit', 'set': {'communities': {'add': "
				 "['1:2', 'x']}}}"),
		"/route_policies/0/nodes/0/set/communities/add/1", "\"x\" is not a community");
	assert_only_fault(
		POLICY("{'seq': 1, 'action': 'permit', 'set': {'as_path_prepend': {'asn': 1}}}"),
		"/route_policies/0/nodes/0/set/as_path_prepend/count", "is missing");
	assert_only_fault(
		POLICY("{'seq': 1, 'action': 'permit', 'set': {'ext_communities': {'add': "
		       "['rt:1:1', 'rt:70000:70000']}}}"),
		"/route_policies/0/nodes/0/set/ext_communities/add/1",
		"\"rt:70000:70000\" is not an extended community");
	assert_only_fault(
		POLICY("{'seq': 1, 'action': 'permit', 'set': {'next_hop': '2001:db8::'}}, "
		       "{'seq': 2, 'action': 'permit', 'set': {'next_hop': 'ff02::1'}}"),
		"/route_policies/0/nodes/1/set/next_hop", "is not the address of a host");
	assert_only_fault(
		"{'ports': [{'name': 'east', 'device': 'net_null0'}], 'route_policies': [{'name': "
		"'r', "
		"'nodes': [{'seq': 1, 'action': 'permit', 'set': {'next_hop': 'fe80::1%east'}}]}]}",
		"/route_policies/0/nodes/0/set/next_hop", "can't set a link-local next hop");
	assert_only_fault(
		POLICY("{'seq': 1, 'action': 'permit', 'match': {'peer': 'fe80::1%north'}}"),
		"/route_policies/0/nodes/0/match/peer", "names the port \"north\"");
	assert_only_fault(
		"{'route_policies': [{'name': 'r'}]}", "/route_policies/0/nodes", "is missing");
	assert_only_fault(POLICY("{'seq': 1, 'action': 'permit', 'match': {'not': {'not': {}}}}"),
		"/route_policies/0/nodes/0/match/not/not", "only valid outside of `not`");
	assert_only_fault(POLICY("{'seq': 1, 'action': 'permit', 'match': {'all': [{'all': []}]}}"),
		"/route_policies/0/nodes/0/match/all/0/all", "only valid in `match` itself");
	assert_only_fault(
		POLICY("{'seq': 1, 'action': 'permit', 'match': {'all': [{'any_as': 'p'}]}}"),
		"/route_policies/0/nodes/0/match/all/0/any_as", "there is no AS set \"p\"");
	assert_only_fault(POLICY("{'seq': 1, 'action': 'permit', 'set': {'communities': {'add': "
				 "['1:*']}}}"),
		"/route_policies/0/nodes/0/set/communities/add/0", "only valid in `remove`");
	assert_only_fault(POLICY("{'seq': 1, 'action': 'permit', 'set': {'communities': "
				 "{'remove': ['1:peer']}}}"),
		"/route_policies/0/nodes/0/set/communities/remove/0", "only valid in lists");
	assert_only_fault("{'as_sets': [{'name': 's', 'asns': [1, '5-4']}]}", "/as_sets/0/asns/1",
		"\"5-4\" is not an AS number, or a range");
}

/* The keys of AS numbers, counts, `not`, `all`, patterns and relative numbers, run once. */
static void
test_new_keys(void **state)
{
	struct arena *arena;
	struct policy_eval *e;
	struct policy_verdict v;
	struct prefix prefix;
	struct policy_context context = {.family = FAMILY_IPV4_UNICAST,
		.source = SOURCE_EXTERNAL,
		.peer_asn = 64513,
		.peer_group = policy_group_key("transit")};
	char path[] = "64513 7 9", origin[] = "IGP", next_hop[] = "192.0.2.9", med[] = "50",
	     communities[] = "64512:1 64512:150 1:64513", large[] = "1:2:3 64512:5:6";
	struct policy_set *s = compile_good(
		"{'as_sets': [{'name': 'tier1', 'asns': [3, '5-8']}],"
		" 'community_lists': [{'name': 'own', 'entries': [{'action': 'permit', "
		"'community': '64512:*'}]},"
		"   {'name': 'peer', 'entries': [{'action': 'permit', 'community': '1:peer'}]},"
		"   {'name': 'far', 'entries': [{'action': 'permit', 'community': '64512:200-300'}]"
		"}],"
		" 'route_policies': [{'name': 'r', 'nodes': [{'seq': 5, 'action': 'permit',"
		"  'match': {'peer_as': {'ge': 64512, 'le': 64513}, 'peer_group': ['x', 'transit'],"
		"    'origin_as': 9, 'first_as': 64513, 'any_as': 'tier1', 'community_count': 3,"
		"    'large_community_count': {'ge': 2}, 'community_list': 'own',"
		"    'not': {'community_list': 'far', 'any_as': [10, 11]},"
		"    'all': [{'community_list': 'peer'}, {'any_as': 9}]},"
		"  'set': {'local_pref': {'add': 20}, 'med': {'subtract': 60},"
		"    'communities': {'remove': ['64512:100-199', '1:*'], 'add': ['64512:9']},"
		"    'large_communities': {'remove': ['64512:*:*']}, 'next_hop': 'peer',"
		"    'as_path_prepend': {'asn': 'first', 'count': 2}}}]}]}");

	(void)state;
	assert_int_equal(arena_create("test", &arena), 0);
	assert_int_equal(policy_eval_create(arena, &e), 0);
	assert_int_equal(addr_parse("192.0.2.2", &context.peer), 0);
	assert_int_equal(prefix_parse("10.1.0.0/16", &prefix), 0);
	struct attr_set *a = attrs_of(path, origin, next_hop, med, communities, large);
	const struct policy *p = policy_set_find(s, "r");
	assert_true(policy_uses_peer(p));
	assert_int_equal(policy_eval_begin(e, p, a, &context), 0);
	assert_int_equal(policy_eval_prefix(e, &prefix, &v), 0);
	assert_true(v.permit);
	assert_int_equal(v.attrs->local_pref, 120);
	assert_int_equal(v.attrs->med, 0);
	assert_int_equal(v.attrs->as_path_hops, 5);
	assert_int_equal(v.attrs->community_count, 2);
	assert_memory_equal(attr_communities(v.attrs), "\xfc\0\0\1\xfc\0\0\x9", 8);
	assert_int_equal(v.attrs->large_community_count, 1);
	assert_true(addr_equal(&v.attrs->next_hop, &context.peer));
	for (unsigned i = 0; i < 3; i++) {
		struct policy_context other = context;

		other.peer_asn = i == 0 ? 64511 : i == 1 ? 64512 : 64513;
		other.peer_group = i == 2 ? policy_group_key("other") : context.peer_group;
		assert_int_equal(policy_eval_begin(e, p, a, &other), 0);
		assert_int_equal(policy_eval_prefix(e, &prefix, &v), 0);
		assert_false(v.permit);
	}
	policy_eval_destroy(e);
	policy_set_free(s);
	assert_int_equal(arena_bytes(arena), 0);
	arena_destroy(arena);
}

/* Peers have different verdicts, so members of an update group must not share the verdict. */
static void
test_peer_asn(void **state)
{
	static const struct {
		const char *match;
		uint32_t first, last;
		bool permit, own_set;
	} cases[] = {{"'first_as': 'peer.asn'", 64513, 7, true, false},
		{"'first_as': 'peer.asn'", 7, 64513, false, false},
		{"'first_as': 'peer.asn'", 0, 0, false, false},
		{"'first_as': ['peer.asn', 7]", 7, 9, true, false},
		{"'origin_as': 'peer.asn'", 7, 64513, true, false},
		{"'origin_as': 'peer.asn'", 64513, 7, false, false},
		{"'not': {'origin_as': 'peer.asn'}", 7, 64513, false, false},
		/* the set of this name */
		{"'first_as': 'peer.asn'", 9, 64513, true, true}};
	struct policy_context context = {
		.family = FAMILY_IPV4_UNICAST, .source = SOURCE_EXTERNAL, .peer_asn = 64513};
	char path[32], origin[] = "IGP", next_hop[] = "192.0.2.9", med[] = "0", none[] = "";
	char document[400];
	struct policy_verdict v;
	struct policy_eval *e;
	struct prefix prefix;
	struct arena *arena;

	(void)state;
	assert_int_equal(arena_create("test", &arena), 0);
	assert_int_equal(policy_eval_create(arena, &e), 0);
	assert_int_equal(prefix_parse("10.1.0.0/16", &prefix), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(document, sizeof(document),
			"{%s'route_policies': [{'name': 'r', 'nodes': ["
			"{'seq': 1, 'action': 'permit', 'match': {%s}}]}]}",
			cases[i].own_set ? "'as_sets': [{'name': 'peer.asn', 'asns': [9]}], " : "",
			cases[i].match);
		path[0] = '\0';
		if (cases[i].first != 0)
			snprintf(path, sizeof(path), "%u %u", cases[i].first, cases[i].last);
		struct policy_set *s = compile_good(document);
		const struct policy *p = policy_set_find(s, "r");
		struct attr_set *a = attrs_of(path, origin, next_hop, med, none, none);

		assert_int_equal(policy_uses_peer(p), !cases[i].own_set);
		/* a route without a first AS, and without a peer */
		context.peer_asn = cases[i].first != 0 ? 64513 : 0;
		assert_int_equal(policy_eval_begin(e, p, a, &context), 0);
		assert_int_equal(policy_eval_prefix(e, &prefix, &v), 0);
		assert_int_equal(v.permit, cases[i].permit);
		policy_set_free(s);
	}
	policy_eval_destroy(e);
	arena_destroy(arena);
}

/* A single pass finds every fault of a document. */
static void
test_all_faults(void **state)
{
	struct faults f = {0};

	(void)state;
	assert_null(compile_text("{'prefix_lists': [{'name': '9', 'entries': [{'action': 1, "
				 "'prefix': 7, 'x': 0}, 'y']}],"
				 " 'route_policies': [{'nodes': [{'seq': 'a', 'action': 'permit', "
				 "'match': {'origin': ['igp', 'z']}}]}]}",
		&f));
	assert_fault(&f, "/prefix_lists/0/name", "\"9\" is not a name");
	assert_fault(&f, "/prefix_lists/0/entries/0/action", "1 is not one of");
	assert_fault(&f, "/prefix_lists/0/entries/0/prefix", "7 is not a prefix");
	assert_fault(&f, "/prefix_lists/0/entries/0/x", "unknown key");
	assert_fault(&f, "/prefix_lists/0/entries/1", "\"y\" is not an object");
	assert_fault(&f, "/route_policies/0/name", "is missing");
	assert_fault(&f, "/route_policies/0/nodes/0/seq", "\"a\" is not an integer");
	assert_fault(&f, "/route_policies/0/nodes/0/match/origin/1", "\"z\" is not one of");
	assert_int_equal(f.count, 8);
	faults_fini(&f);
}

static void
test_many_outcomes(void **state)
{
	json_t *nodes = json_array();

	(void)state;
	for (int i = 1; i <= 70; i++)
		json_array_append_new(
			nodes, json_pack("{s:i, s:s, s:{s:s}, s:{s:i}}", "seq", i, "action",
				       "permit", "match", "prefix_list", "p", "set", "med", i));
	json_t *document = json_pack("{s:[{s:s, s:[]}], s:[{s:s, s:O}]}", "prefix_lists", "name",
		"p", "entries", "route_policies", "name", "r", "nodes", nodes);
	struct faults f = {0};
	struct policy_set *s = policy_set_compile(document, &f);
	assert_non_null(s);
	policy_set_free(s);
	for (int i = 1; i < 70; i++)
		json_object_set_new(
			json_array_get(nodes, (size_t)i - 1), "goto", json_integer(i + 1));
	s = policy_set_compile(document, &f);
	assert_non_null(s);
	policy_set_free(s);
	faults_fini(&f);
	json_decref(document);
	json_decref(nodes);
}

static const char base[] =
	"{'prefix_lists': [{'name': 'p', 'entries': [{'action': 'permit', 'prefix': "
	"'10.0.0.0/8'}]}, {'name': 'q', 'entries': []}],"
	" 'as_path_lists': [{'name': 'a', 'entries': [{'action': 'permit', 'regex': '_1_'}]}],"
	" 'route_policies': [{'name': 'r', 'nodes': [{'seq': 10, 'action': 'permit', 'match': "
	"{'prefix_list': 'p'}, 'goto': 20},"
	"   {'seq': 20, 'action': 'permit', 'match': {'as_path_list': ['a']}, 'set': {'med': 1}}]},"
	"  {'name': 'other', 'nodes': []}]}";

/* As compiled(), with lists of an earlier set; `count` lists are compiled. */
static struct policy_set *
compiled_like(const json_t *document, const struct policy_set *like, unsigned count)
{
	struct faults f = {0};
	struct policy_set *s = policy_set_compile_text(document, NULL, like, &f);

	assert_non_null(s);
	assert_int_equal(policy_set_compiled(s), count);
	faults_fini(&f);
	return s;
}

static void
check_same(const char *patch, bool same)
{
	struct faults f = {0};
	json_t *document = document_of(base), *operations = document_of(patch);
	json_t *patched = config_patch(document, operations, &f);

	assert_non_null(patched);
	struct policy_set *a = compiled(document), *b = compiled(patched);
	if (policy_set_same(a, b, "r") != same)
		fail_msg("%s: same is %d", patch, !same);
	assert_true(policy_set_same(a, b, "other"));
	assert_true(policy_set_same(a, b, "accept-all"));
	policy_set_free(b);
	b = compiled_like(patched, a, strstr(patch, "_lists/") != NULL);
	if (policy_set_same(a, b, "r") != same)
		fail_msg("%s with equal lists: same is %d", patch, !same);
	policy_set_free(a);
	/* the lists stay after the end of the earlier set */
	a = compiled_like(patched, b, 0);
	assert_true(policy_set_same(a, b, "r") || policy_set_find(b, "r") == NULL);
	policy_set_free(a);
	policy_set_free(b);
	json_decref(document);
	json_decref(operations);
	json_decref(patched);
}

static void
test_same(void **state)
{
	(void)state;
	check_same("[]", true);
	check_same("[{'op': 'add', 'path': '/route_policies/0/description', 'value': 'x'}]", true);
	check_same("[{'op': 'add', 'path': '/prefix_lists/0/entries/0/description', 'value': 'x'}]",
		true);
	check_same("[{'op': 'add', 'path': '/prefix_lists/0/entries/0/ge', 'value': 8}, {'op': "
		   "'add', 'path': '/prefix_lists/0/entries/0/le', 'value': 8}]",
		true);
	check_same("[{'op': 'replace', 'path': '/route_policies/0/nodes/0/match/prefix_list', "
		   "'value': ['p']}]",
		true);
	check_same("[{'op': 'replace', 'path': '/route_policies/0/nodes/1/seq', 'value': 30}, "
		   "{'op': 'replace', 'path': '/route_policies/0/nodes/0/goto', 'value': 30}]",
		true);
	check_same("[{'op': 'replace', 'path': '/prefix_lists/1/entries', 'value': [{'action': "
		   "'deny', 'prefix': '::/0'}]}]",
		true);
	check_same("[{'op': 'replace', 'path': '/prefix_lists/0/entries/0/prefix', 'value': "
		   "'11.0.0.0/8'}]",
		false);
	check_same("[{'op': 'add', 'path': '/prefix_lists/0/entries/0/ge', 'value': 8}]", false);
	check_same(
		"[{'op': 'replace', 'path': '/prefix_lists/0/entries/0/action', 'value': 'deny'}]",
		false);
	check_same(
		"[{'op': 'replace', 'path': '/as_path_lists/0/entries/0/regex', 'value': '_2_'}]",
		false);
	check_same("[{'op': 'replace', 'path': '/route_policies/0/nodes/0/match/prefix_list', "
		   "'value': 'q'}]",
		false);
	check_same("[{'op': 'replace', 'path': '/route_policies/0/nodes/1/set/med', 'value': 2}]",
		false);
	check_same("[{'op': 'replace', 'path': '/route_policies/0/nodes/1/match', 'value': {}}]",
		false);
	check_same("[{'op': 'remove', 'path': '/route_policies/0/nodes/0/goto'}]", false);
	check_same("[{'op': 'replace', 'path': '/route_policies/0/name', 'value': 's'}]", false);
}

static json_t *
random_entry(uint64_t *seed, bool numbered)
{
	uint32_t n = random_below(seed, 200);
	json_t *e = random_below(seed, 3) > 0
			    ? json_pack("{s:s, s:o}", "action", n % 2 ? "permit" : "deny", "prefix",
				      json_sprintf("10.%u.0.0/16", n))
			    : json_pack("{s:s, s:o, s:i}", "action", "permit", "prefix",
				      json_sprintf("2001:db8:%x::/48", n), "le", 48 + (int)n % 10);

	if (numbered)
		json_object_set_new(e, "seq", json_integer(1 + random_below(seed, 1000)));
	return e;
}

/* A random insertion, removal, replacement or move of an entry of the first prefix list. */
static json_t *
random_edit(uint64_t *seed, size_t count, bool numbered)
{
	static const char *const ops[] = {"add", "replace", "remove", "move"};
	unsigned op = random_below(seed, 4);
	json_t *path = json_sprintf(
		"/prefix_lists/0/entries/%u", (unsigned)random_below(seed, (uint32_t)count));

	if (op == 3)
		return json_pack("{s:s, s:o, s:s}", "op", ops[op], "from", path, "path",
			"/prefix_lists/0/entries/3");
	return json_pack("{s:s, s:o, s:o*}", "op", ops[op], "path", path, "value",
		op < 2 ? random_entry(seed, numbered) : NULL);
}

/* After random edits of a long list, entries of the earlier set and a new start give the same, also the same faults. */
static void
test_changed_list(void **state)
{
	struct faults f = {0}, g = {0};
	uint64_t seed = 1;
	json_t *document = document_of(base), *entries = json_array();
	struct policy_set *before;
	unsigned refused = 0;

	(void)state;
	for (unsigned i = 0; i < 40; i++)
		json_array_append_new(entries, random_entry(&seed, false));
	json_object_set_new(
		json_array_get(json_object_get(document, "prefix_lists"), 0), "entries", entries);
	before = compiled(document);
	for (unsigned round = 0; round < 500; round++) {
		json_t *edits = json_array(), *next;
		struct policy_set *fresh, *like;

		entries = config_pointer_get(document, "/prefix_lists/0/entries");
		for (unsigned i = random_below(&seed, 4); i < 4; i++)
			json_array_append_new(
				edits, random_edit(&seed, json_array_size(entries) - 5,
					       random_below(&seed, 20) == 0));
		next = config_patch(document, edits, &f);
		assert_non_null(next);
		fresh = policy_set_compile_text(next, NULL, NULL, &f);
		like = policy_set_compile_text(next, NULL, before, &g);
		assert_int_equal(f.count, g.count);
		for (unsigned i = 0; i < f.count; i++)
			assert_string_equal(f.fault[i].path, g.fault[i].path);
		if (fresh != NULL)
			assert_true(policy_set_same(fresh, like, "r"));
		policy_set_free(fresh);
		refused += fresh == NULL;
		if (fresh == NULL ||
			json_array_size(config_pointer_get(next, "/prefix_lists/0/entries")) < 20) {
			policy_set_free(like);
			json_decref(next);
		} else {
			policy_set_free(before);
			json_decref(document);
			before = like;
			document = next;
		}
		faults_fini(&f);
		faults_fini(&g);
		f = g = (struct faults){0};
		json_decref(edits);
	}
	if (refused < 10 || refused > 400)
		fail_msg("%u documents refused", refused);
	policy_set_free(before);
	json_decref(document);
}

/* Equal policies stay the same object across compilations: consumers see no change. */
static void
test_keep(void **state)
{
	static const char text[] = "{'prefix_lists': [{'name': 'p', 'entries': [{'action': "
				   "'permit', 'prefix': '%s'}]}],"
				   " 'route_policies': [{'name': 'r', 'nodes': [{'seq': 1, "
				   "'action': 'permit', 'match': "
				   "{'prefix_list': 'p'}}]}, {'name': 's', 'nodes': [{'seq': %d, "
				   "'action': 'permit'}]}]}";
	char old_text[400], new_text[400];

	(void)state;
	snprintf(old_text, sizeof(old_text), text, "10.0.0.0/8", 1);
	snprintf(new_text, sizeof(new_text), text, "11.0.0.0/8", 1);
	struct policy_set *old = compile_good(old_text), *next = compile_good(new_text);
	const struct policy *r = policy_set_find(next, "r"), *s = policy_set_find(old, "s");
	policy_set_keep(next, old);
	assert_ptr_equal(policy_set_find(next, "r"), r);
	assert_ptr_equal(policy_set_find(next, "s"), s);
	assert_ptr_not_equal(policy_set_find(old, "s"), s);
	assert_true(policy_set_same(old, next, "s"));
	assert_false(policy_set_same(old, next, "r"));
	policy_set_free(old);
	assert_string_equal(policy_set_names(next)[3], "s");
	assert_string_equal(policy_name(policy_set_find(next, "s")), "s");
	policy_set_free(next);
}

static void
test_communities(void **state)
{
	static const char *const bad[] = {"", "1", "1:", ":1", "1:2:3", "65536:0", "0:65536",
		"-1:1", " 1:1", "1:1 ", "No-Export", "0x1:1", "99999999999999999999:1"};
	uint8_t large[12];
	uint32_t v;

	(void)state;
	assert_int_equal(policy_community_parse("64512:7", &v), 0);
	assert_int_equal(v, 64512u << 16 | 7);
	assert_int_equal(policy_community_parse("65535:65535", &v), 0);
	assert_int_equal(v, 0xffffffff);
	assert_int_equal(policy_community_parse("no-export", &v), 0);
	assert_int_equal(v, 0xffffff01);
	assert_int_equal(policy_community_parse("blackhole", &v), 0);
	assert_int_equal(v, 65535u << 16 | 666);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(policy_community_parse(bad[i], &v), -EINVAL);
	assert_int_equal(policy_large_community_parse("1:2:4294967295", large), 0);
	assert_memory_equal(large, "\0\0\0\1\0\0\0\2\xff\xff\xff\xff", 12);
	assert_int_equal(policy_large_community_parse("1:2:4294967296", large), -EINVAL);
	assert_int_equal(policy_large_community_parse("1:2", large), -EINVAL);
}

static void
test_ext_communities(void **state)
{
	static const struct {
		const char *text;
		uint8_t bytes[9];
	} good[] = {
		{"rt:64512:1", "\0\2\xfc\0\0\0\0\1"},
		{"soo:65535:4294967295", "\0\3\xff\xff\xff\xff\xff\xff"},
		{"rt:65536:65535", "\2\2\0\1\0\0\xff\xff"},
		{"rt:192.0.2.1:7", "\1\2\xc0\0\2\1\0\7"},
		{"0x430bAa0000000064", "\x43\x0b\xaa\0\0\0\0\x64"},
	};
	static const char *const bad[] = {"", "rt:", "rt:1", "rt:1:", "rt:1:4294967296",
		"rt:4294967296:1", "rt:65536:65536", "rt:1.2.3.4:65536", "rt:1.2.3:1", "rt:1.2.3.4",
		"rt:1:1x", "soo1:1", "ro:1:1", "0x12", "0x00000000000000001", "0x000000000000000g",
		"0000000000000000", "rt:1234567890.1234567890:1"};
	uint8_t bytes[8];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(policy_ext_community_parse(good[i].text, bytes), 0);
		assert_memory_equal(bytes, good[i].bytes, 8);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!policy_ext_community_parse(bad[i], bytes))
			fail_msg("%s was taken", bad[i]);
}

/* All three kinds of communities in one node: every kind must match, by any entry of its list. */
static void
test_three_kinds(void **state)
{
	struct arena *arena;
	struct policy_eval *e;
	struct policy_verdict v;
	struct prefix prefix;
	struct policy_context context = {.family = FAMILY_IPV6_UNICAST};
	struct policy_set *s = compile_good(
		"{'community_lists': [{'name': 'c', 'entries': [{'action': 'permit', 'community': "
		"'1:1'}]}],"
		" 'large_community_lists': [{'name': 'l', 'entries': [{'action': 'deny', "
		"'large_community': '1:2:4'}, {'action': 'permit', 'large_community': '1:2:3'}]}],"
		" 'ext_community_lists': [{'name': 'e', 'entries': [{'action': 'permit', "
		"'ext_community': 'rt:64512:9'}]}],"
		" 'route_policies': [{'name': 'r', 'nodes': [{'seq': 1, 'action': 'permit', "
		"'match': "
		"{'community_list': 'c', 'large_community_list': 'l', 'ext_community_list': 'e'},"
		"  'set': {'ext_communities': {'remove': ['rt:64512:9'], 'add': ['soo:1:2']}, "
		"'large_communities': {'add': ['7:7:7']}, 'next_hop': '2001:db8::1'}}]},"
		" {'name': 'd', 'nodes': [{'seq': 1, 'action': 'permit', 'set': {'next_hop': "
		"'discard'}}]}]}");
	char text[ADDR_TEXT_MAX];
	struct ip_addr addr;
	alignas(struct attr_set) uint8_t room[sizeof(struct attr_set) + 64] = {0};
	struct attr_set *a = (struct attr_set *)room;

	(void)state;
	assert_int_equal(arena_create("test", &arena), 0);
	assert_int_equal(policy_eval_create(arena, &e), 0);
	assert_int_equal(prefix_parse("2001:db8::/32", &prefix), 0);
	a->community_count = a->ext_community_count = a->large_community_count = 1;
	memcpy(a->var,
		"\0\1\0\1"
		"\0\2\xfc\0\0\0\0\x9"
		"\0\0\0\1\0\0\0\2\0\0\0\3",
		24);
	assert_int_equal(policy_eval_begin(e, policy_set_find(s, "r"), a, &context), 0);
	assert_int_equal(policy_eval_prefix(e, &prefix, &v), 0);
	assert_true(v.permit);
	assert_int_equal(v.attrs->ext_community_count, 1);
	assert_memory_equal(attr_ext_communities(v.attrs), "\0\3\0\1\0\0\0\2", 8);
	assert_int_equal(v.attrs->large_community_count, 2);
	assert_int_equal(v.attrs->next_hop.afi, AFI_IPV6);
	assert_false(addr_is_discard(&v.attrs->next_hop));
	/* a peer's 100:: is an ordinary address; only the text of a policy means `discard` */
	assert_int_equal(policy_eval_begin(e, policy_set_find(s, "d"), a, &context), 0);
	assert_int_equal(policy_eval_prefix(e, &prefix, &v), 0);
	assert_true(addr_is_discard(&v.attrs->next_hop));
	assert_string_equal(addr_format(&v.attrs->next_hop, text), "discard");
	assert_int_equal(addr_parse("discard", &addr), -EINVAL);
	assert_int_equal(addr_parse("100::", &addr), 0);
	assert_false(addr_is_discard(&addr));
	/* remove each kind in turn */
	for (unsigned byte = 0; byte < 3; byte++) {
		static const unsigned last[] = {3, 11, 23};
		a->var[last[byte]] ^= 0x80;
		assert_int_equal(policy_eval_begin(e, policy_set_find(s, "r"), a, &context), 0);
		assert_int_equal(policy_eval_prefix(e, &prefix, &v), 0);
		assert_false(v.permit);
		a->var[last[byte]] ^= 0x80;
	}
	policy_eval_destroy(e);
	policy_set_free(s);
	arena_destroy(arena);
}

/* A node with every key, run once. */
static void
test_every_key(void **state)
{
	struct arena *arena;
	struct policy_eval *e;
	struct policy_verdict v;
	struct prefix prefix;
	struct policy_context context = {
		.family = FAMILY_IPV4_UNICAST, .source = SOURCE_EXTERNAL, .tag = 7};
	char path[] = "64513 1", origin[] = "EGP", next_hop[] = "192.0.2.9", med[] = "50",
	     communities[] = "1:1 2:2", large[] = "1:2:3";
	struct policy_set *s = compile_good(
		"{'prefix_lists': [{'name': 'p', 'entries': [{'action': 'permit', 'prefix': "
		"'10.0.0.0/8', 'le': 24}]},"
		"                  {'name': 'n', 'entries': [{'action': 'permit', 'prefix': "
		"'192.0.2.0/24', 'le': 32}]}],"
		" 'as_path_lists': [{'name': 'a', 'entries': [{'action': 'permit', 'regex': "
		"'^64513_'}]}],"
		" 'community_lists': [{'name': 'c', 'entries': [{'action': 'permit', 'community': "
		"'2:2'}]}],"
		" 'route_policies': [{'name': 'r', 'nodes': [{'seq': 5, 'action': 'permit', "
		"'description': 'all of them',"
		"  'match': {'prefix_list': 'p', 'next_hop_prefix_list': 'n', 'as_path_list': 'a', "
		"'community_list': 'c', 'peer': ['192.0.2.1', '192.0.2.2'],"
		"            'origin': 'egp', 'med': {'ge': 10, 'le': 50}, 'local_pref': 100, "
		"'as_path_length': [1, 2], 'family': 'ipv4-unicast',"
		"            'source': ['internal', 'external'], 'tag': 7},"
		"  'set': {'local_pref': 120, 'med': 0, 'origin': 'igp', 'next_hop': '192.0.2.77', "
		"'communities': {'add': ['64512:7', 'no-export'], 'remove': ['1:1']},"
		"          'large_communities': {'replace': ['9:9:9']}, 'as_path_prepend': {'asn': "
		"64512, 'count': 2}, 'tag': 8}}]}]}");

	(void)state;
	assert_int_equal(arena_create("test", &arena), 0);
	assert_int_equal(policy_eval_create(arena, &e), 0);
	assert_int_equal(addr_parse("192.0.2.2", &context.peer), 0);
	assert_int_equal(prefix_parse("10.1.0.0/16", &prefix), 0);
	struct attr_set *a = attrs_of(path, origin, next_hop, med, communities, large);
	assert_int_equal(policy_eval_begin(e, policy_set_find(s, "r"), a, &context), 0);
	assert_int_equal(policy_eval_prefix(e, &prefix, &v), 0);
	assert_true(v.permit);
	assert_int_equal(v.seq, 5);
	assert_int_equal(v.tag, 8);
	assert_int_equal(v.attrs->local_pref, 120);
	assert_true(v.attrs->has & ATTR_HAS_LOCAL_PREF);
	assert_int_equal(v.attrs->med, 0);
	assert_true(v.attrs->has & ATTR_HAS_MED);
	assert_int_equal(v.attrs->origin, ORIGIN_IGP);
	assert_int_equal(addr_v4(&v.attrs->next_hop), 0xc000024d);
	assert_int_equal(v.attrs->as_path_hops, 4);
	assert_int_equal(v.attrs->first_asn, 64512);
	assert_int_equal(v.attrs->community_count, 3);
	assert_memory_equal(attr_communities(v.attrs), "\0\2\0\2\xfc\0\0\7\xff\xff\xff\1", 12);
	assert_int_equal(v.attrs->large_community_count, 1);
	assert_memory_equal(attr_large_communities(v.attrs), "\0\0\0\x9\0\0\0\x9\0\0\0\x9", 12);
	/* A single failing condition fails the node. */
	a->origin = ORIGIN_IGP;
	assert_int_equal(policy_eval_begin(e, policy_set_find(s, "r"), a, &context), 0);
	assert_int_equal(policy_eval_prefix(e, &prefix, &v), 0);
	assert_false(v.permit);
	assert_int_equal(v.seq, 0);
	policy_eval_destroy(e);
	policy_set_free(s);
	assert_int_equal(arena_bytes(arena), 0);
	arena_destroy(arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_built_in),
		cmocka_unit_test(test_list_faults),
		cmocka_unit_test(test_policy_faults),
		cmocka_unit_test(test_new_keys),
		cmocka_unit_test(test_peer_asn),
		cmocka_unit_test(test_all_faults),
		cmocka_unit_test(test_many_outcomes),
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_changed_list),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_communities),
		cmocka_unit_test(test_ext_communities),
		cmocka_unit_test(test_three_kinds),
		cmocka_unit_test(test_every_key),
		cmocka_unit_test(test_shared_policies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
