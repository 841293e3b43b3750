/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Policies as text: random programs against an interpreter, faults with their places, and calls
 * between policies of files and of the document.
 */
#include "control/config/policy_compile.h"
#include "control/config/policy_text.h"
#include "tests/control/config_test.h"

#include "lpm/base/arena.h"

#include <time.h>
#include <unistd.h>

static char folder[] = "/tmp/keel-policy-XXXXXX";

static void
file_write(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static struct policy_set *
compile_into(const char *document, struct faults *f)
{
	json_t *d = document_of(document);
	struct policy_text *t = policy_text_compile(d, folder, NULL, f);
	struct policy_set *s = t != NULL ? policy_set_compile_text(d, t, NULL, f) : NULL;

	policy_text_free(t);
	json_decref(d);
	return s;
}

static struct policy_set *
compile_file(const char *text, struct faults *f)
{
	file_write("p", text);
	return compile_into("{'policy_files': ['p']}", f);
}

static struct policy_set *
compile_good(const char *text)
{
	struct faults f = {0};
	struct policy_set *s = compile_file(text, &f);

	if (s == NULL) {
		print_message("%s\n", text);
		print_faults(&f);
	}
	assert_non_null(s);
	return s;
}

/* ---- random programs ---- */

static union {
	struct attr_set set;
	uint8_t bytes[4096];
} route;
static struct prefix prefix;
static const struct policy_context context = {
	.family = FAMILY_IPV4_UNICAST, .source = SOURCE_EXTERNAL, .peer_asn = 3};

static void
random_route(uint64_t *seed)
{
	struct attr_set *a = &route.set;
	unsigned hops = (unsigned)(random_next(seed) % 5);
	struct ip_addr addr = addr_from_v4((uint32_t)(10 + random_next(seed) % 2) << 24);
	uint8_t *w = a->var;

	memset(&route, 0, sizeof(route));
	prefix = prefix_from_addr(&addr, (uint8_t)(8 + random_next(seed) % 17));
	if (hops > 0) {
		*w++ = 2;
		*w++ = (uint8_t)hops;
	}
	for (unsigned i = 0; i < hops; i++, w += 4)
		w[3] = (uint8_t)(1 + random_next(seed) % 9);
	a->as_path_len = (uint16_t)(w - a->var);
	a->community_count = (uint16_t)(random_next(seed) % 3);
	for (unsigned i = 0; i < a->community_count; i++, w += 4) {
		w[1] = (uint8_t)(1 + random_next(seed) % 2);
		w[3] = (uint8_t)(10 * i + random_next(seed) % 10);
	}
	if (random_next(seed) % 2) {
		a->has |= ATTR_HAS_LOCAL_PREF;
		a->local_pref = (uint32_t)(95 + random_next(seed) % 10);
	}
	attr_set_derive(a);
}

#define LEAVES 11u
static const char *const leaves[LEAVES] = {"path.len < 3", "communities ~ (1, *)",
	"net ~ [10.0.0.0/8+]", "origin_as = 9", "local_pref >= 100", "peer.asn = 3", "net.len > 16",
	"first_as ~ small", "first_as = peer.asn", "origin_as != peer.asn", "is_far(2)"};

static bool
leaf_holds(unsigned leaf)
{
	const struct attr_set *a = &route.set;
	bool any = false;

	switch (leaf) {
	case 0:
		return a->as_path_hops < 3;
	case 1:
		for (unsigned i = 0; i < a->community_count; i++)
			any |= attr_communities(a)[4 * i + 1] == 1;
		return any;
	case 2:
		return prefix.b[0] == 10;
	case 3:
		return a->origin_asn == 9;
	case 4:
		return (a->has & ATTR_HAS_LOCAL_PREF ? a->local_pref : 100) >= 100;
	case 5:
		return true;
	case 6:
		return prefix.len > 16;
	case 7:
		return a->first_asn >= 1 && a->first_asn <= 4;
	case 8:
		return a->first_asn == context.peer_asn;
	case 9:
		return a->origin_asn != context.peer_asn;
	default:
		return a->as_path_hops > 2 || prefix.len < 10;
	}
}

enum op { OP_LEAF, OP_NOT, OP_AND, OP_OR };
enum action { ACT_IF, ACT_BLOCK, ACT_ACCEPT, ACT_REJECT, ACT_SET, ACT_ADD, ACT_TAG, ACT_DELETE };

struct expression {
	enum op op;
	unsigned leaf;
	struct expression *a, *b;
};
struct statement {
	enum action action;
	uint32_t n;
	struct expression *condition;
	unsigned count;
	struct statement *inner[3]; /* of a block; of an `if`: then, else (or NULL) */
};

static struct {
	struct expression expressions[400];
	struct statement statements[200];
	unsigned expression_count, statement_count;
	char text[16384];
	size_t len;
} made;

static __attribute__((format(printf, 1, 2))) void
put(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	made.len +=
		(size_t)vsnprintf(made.text + made.len, sizeof(made.text) - made.len, format, args);
	va_end(args);
	assert_true(made.len < sizeof(made.text));
}

static struct expression *
random_expression(uint64_t *seed, unsigned depth)
{
	struct expression *e = &made.expressions[made.expression_count++];

	e->op = depth == 0 ? OP_LEAF : (enum op)(random_next(seed) % 4);
	if (e->op == OP_LEAF) {
		e->leaf = (unsigned)(random_next(seed) % LEAVES);
		put("%s", leaves[e->leaf]);
		return e;
	}
	put(e->op == OP_NOT ? "not (" : "(");
	e->a = random_expression(seed, depth - 1);
	if (e->op != OP_NOT) {
		put(e->op == OP_AND ? " and " : " || ");
		e->b = random_expression(seed, depth - 1);
	}
	put(")");
	return e;
}

static bool
expression_holds(const struct expression *e)
{
	switch (e->op) {
	case OP_LEAF:
		return leaf_holds(e->leaf);
	case OP_NOT:
		return !expression_holds(e->a);
	case OP_AND:
		return expression_holds(e->a) && expression_holds(e->b);
	case OP_OR:
		return expression_holds(e->a) || expression_holds(e->b);
	}
	return false;
}

static struct statement *
random_statement(uint64_t *seed, unsigned depth)
{
	struct statement *s = &made.statements[made.statement_count++];

	*s = (struct statement){.n = (uint32_t)(random_next(seed) % 9)};
	s->action = (enum action)(random_next(seed) % (depth ? 8 : 6) + (depth ? 0 : 2));
	switch (s->action) {
	case ACT_IF:
		put("if ");
		s->condition = random_expression(seed, (unsigned)(random_next(seed) % 3));
		put(" then ");
		s->inner[0] = random_statement(seed, depth - 1);
		if (s->inner[0]->action != ACT_IF && random_next(seed) % 2) {
			put("else ");
			s->inner[1] = random_statement(seed, depth - 1);
		}
		break;
	case ACT_BLOCK:
		put("{\n");
		for (s->count = 0; s->count < 1 + random_next(seed) % 3 && s->count < 3; s->count++)
			s->inner[s->count] = random_statement(seed, depth - 1);
		put("}\n");
		break;
	case ACT_ACCEPT:
		put("accept;\n");
		break;
	case ACT_REJECT:
		put("reject;\n");
		break;
	case ACT_SET:
		put(s->n < 3	   ? "local_pref = %u;\n"
			: s->n < 6 ? "local_pref -= %u;\n"
				   : "local_pref += %u;\n",
			s->n);
		break;
	case ACT_ADD:
		put("add (1, %u);\n", s->n);
		break;
	case ACT_TAG:
		put("mark(%u);\n", s->n);
		break;
	case ACT_DELETE:
		put("delete (1, 0..4);\n");
		break;
	}
	return s;
}

static struct {
	uint32_t local_pref, communities[80];
	unsigned count;
	bool has;
} result;

static void
result_add(uint32_t community)
{
	for (unsigned i = 0; i < result.count; i++)
		if (result.communities[i] == community)
			return;
	result.communities[result.count++] = community;
}

/* 1: accepted, -1: rejected, 0: go on. */
static int
interpret(const struct statement *s)
{
	unsigned kept = 0;
	int end = 0;

	switch (s->action) {
	case ACT_IF:
		if (expression_holds(s->condition))
			return interpret(s->inner[0]);
		return s->inner[1] != NULL ? interpret(s->inner[1]) : 0;
	case ACT_BLOCK:
		for (unsigned i = 0; i < s->count && end == 0; i++)
			end = interpret(s->inner[i]);
		return end;
	case ACT_ACCEPT:
		return 1;
	case ACT_REJECT:
		return -1;
	case ACT_SET:
		result.local_pref =
			s->n < 3   ? s->n
			: s->n < 6 ? (result.local_pref < s->n ? 0 : result.local_pref - s->n)
				   : result.local_pref + s->n;
		result.has = true;
		return 0;
	case ACT_ADD:
		result_add(1 << 16 | s->n);
		return 0;
	case ACT_TAG:
		result_add(2 << 16 | s->n);
		if (route.set.as_path_hops > 2)
			return 0;
		result_add(2 << 16 | 100);
		return 0;
	case ACT_DELETE:
		for (unsigned i = 0; i < result.count; i++)
			if (result.communities[i] >> 16 != 1 ||
				(result.communities[i] & 0xffff) > 4)
				result.communities[kept++] = result.communities[i];
		result.count = kept;
		return 0;
	}
	return 0;
}

static void
check_route(struct policy_eval *e, const struct policy *p, const struct statement *program)
{
	struct policy_verdict v;
	int end;

	result.has = route.set.has & ATTR_HAS_LOCAL_PREF;
	result.local_pref = result.has ? route.set.local_pref : 100;
	result.count = 0;
	for (unsigned i = 0; i < route.set.community_count; i++) {
		const uint8_t *c = attr_communities(&route.set) + (size_t)4 * i;

		result.communities[result.count++] = (uint32_t)c[1] << 16 | c[3];
	}
	end = interpret(program);
	assert_int_equal(policy_eval_begin(e, p, &route.set, &context), 0);
	assert_int_equal(policy_eval_prefix(e, &prefix, &v), 0);
	if (v.permit != (end == 1))
		print_message("%s", made.text);
	assert_int_equal(v.permit, end == 1);
	if (!v.permit)
		return;
	if (result.has)
		assert_int_equal(v.attrs->local_pref, result.local_pref);
	if (v.attrs->community_count != result.count)
		print_message("%s", made.text);
	assert_int_equal(v.attrs->community_count, result.count);
	for (unsigned i = 0; i < result.count; i++) {
		const uint8_t *c = attr_communities(v.attrs) + (size_t)4 * i;

		assert_int_equal((uint32_t)c[1] << 16 | c[3], result.communities[i]);
	}
}

static void
test_random(void **state)
{
	struct arena *arena;
	struct policy_eval *e;

	(void)state;
	assert_int_equal(arena_create("test", &arena), 0);
	assert_int_equal(policy_eval_create(arena, &e), 0);
	for (uint64_t run = 1; run <= 400; run++) {
		uint64_t seed = run;
		struct statement *program;
		struct policy_set *s;

		made.expression_count = made.statement_count = 0;
		made.len = 0;
		put("define small = [1, 2..4];\n"
		    "function is_far(n) { if path.len > n then return true; return net.len < 10; "
		    "}\n"
		    "function mark(n) { add (2, n); if path.len > 2 then return; add (2, 100); }\n"
		    "policy p {\n");
		program = random_statement(&seed, 4);
		put("accept;\n}\n");
		s = compile_good(made.text);
		for (unsigned i = 0; i < 30; i++) {
			struct statement all = {.action = ACT_BLOCK, .count = 2};
			struct statement end = {.action = ACT_ACCEPT};

			all.inner[0] = program;
			all.inner[1] = &end;
			random_route(&seed);
			check_route(e, policy_set_find(s, "p"), &all);
		}
		policy_set_free(s);
	}
	policy_eval_destroy(e);
	arena_destroy(arena);
}

/* ---- faults ---- */

static void
assert_only_fault(const char *text, const char *place, const char *part)
{
	struct faults f = {0};
	char path[128];

	assert_null(compile_file(text, &f));
	snprintf(path, sizeof(path), "%s/p:%s", folder, place);
	assert_fault(&f, path, part);
	if (f.count != 1)
		print_faults(&f);
	assert_int_equal(f.count, 1);
	faults_fini(&f);
}

#define IN_POLICY(text) "policy p { " text " }\n"

static void
test_faults(void **state)
{
	(void)state;
	assert_only_fault("polcy p { accept; }", "1:1",
		"expected define, function, policy or include, not \"polcy\"");
	assert_only_fault("policy p {\n\taccept\n}", "3:1", "expected ';', not '}'");
	assert_only_fault(
		IN_POLICY("if net ~ bogons then reject;"), "1:21", "there is no set \"bogons\"");
	assert_only_fault(IN_POLICY("if med ~ 5 then reject;"), "1:19", "no such comparison");
	assert_only_fault(IN_POLICY("if first_as < peer.asn then reject;"), "1:24",
		"\"first_as\" and peer.asn are equal or not");
	assert_only_fault(IN_POLICY("if path.len = peer.asn then reject;"), "1:26",
		"there is no constant \"peer.asn\"");
	assert_only_fault(IN_POLICY("if colour = 5 then reject;"), "1:15",
		"there is no condition or function \"colour\"");
	assert_only_fault(
		IN_POLICY("add (1, *);"), "1:16", "only valid in conditions and in delete");
	assert_only_fault(IN_POLICY("add (1, peer.asn);"), "1:16", "only valid in conditions");
	assert_only_fault(IN_POLICY("add (70000, 1);"), "1:16", "is no community");
	assert_only_fault(IN_POLICY("if communities ~ (1, 2, 3) then reject;"), "1:29",
		"a set of large communities; expected communities");
	assert_only_fault(IN_POLICY("if path ~ \"\" then reject;"), "1:22",
		"the regular expression is empty");
	assert_only_fault(IN_POLICY("if net ~ 10.0.0.0/8 then reject;"), "1:21",
		"write [PREFIX] for this prefix alone, PREFIX+ for all prefixes inside");
	assert_only_fault(IN_POLICY("if net = 10.0.0.0/8+ then reject;"), "1:31",
		"'=' takes one prefix; write '~' for lengths");
	assert_only_fault(IN_POLICY("if net != 10.0.0.0/8{9,24} then reject;"), "1:32",
		"'=' takes one prefix; write '~' for lengths");
	assert_only_fault(IN_POLICY("if path ~ \"(1\" then reject;"), "1:22",
		"\"(1\" is not a regular expression: missing closing parenthesis");
	assert_only_fault(IN_POLICY("return;"), "1:12", "only valid in a function");
	assert_only_fault(IN_POLICY("call q;"), "1:17", "there is no route policy \"q\"");
	assert_only_fault(IN_POLICY("call p;"), "1:17", "a policy must not call itself: p -> p");
	assert_only_fault(IN_POLICY("prepend(0);"), "1:20", "0 is not an AS number");
	assert_only_fault(IN_POLICY("prepend(first, 65);"), "1:27", "65 times is not from 1 to 64");
	assert_only_fault(
		"function f(a) { local_pref = b; }", "1:30", "there is no constant \"b\"");
	assert_only_fault("function f(a) { local_pref = a; }\npolicy p { f(); accept; }", "2:12",
		"\"f\" takes 1 arguments, not 0");
	assert_only_fault("define x = 1;\ndefine x = 2;", "2:8", "\"x\" is already defined");
	assert_only_fault(
		"define x = [10.0.0.0/8, 5];", "1:25", "a set of prefixes has no AS numbers");
	assert_only_fault("define x = [10.0.0.0/8{4,9}];", "1:13", "lengths from 4 to 9");
	assert_only_fault("define x = [10.0.0.1/8];", "1:13", "is not a prefix without bits");
	assert_only_fault("define x = [];", "1:8", "the set is empty");
	assert_only_fault("define x = 99999999999;", "1:12", "greater than 4294967295");
	assert_only_fault("policy p { /* accept; }\n", "2:1", "the comment of line 1 has no end");
	assert_only_fault("policy p { $ }", "1:12", "unexpected character '$'");
	assert_only_fault("include \"absent\";", "1:17", "No such file");
	assert_only_fault("policy accept-all { }", "1:8", "is not a name for a policy");
}

/* No definition and no parameter has the name of a word of the language. */
static void
test_keywords(void **state)
{
	static const char *const words[] = {"include", "define", "function", "policy", "accept",
		"reject", "return", "if", "then", "else", "call", "add", "delete", "prepend", "or",
		"and", "not", "true", "false", "first", "peer", "self", "discard", "igp", "egp",
		"incomplete", "rt", "soo", "net", "net.len", "path", "med", "peer.asn",
		"validation", "communities", "no-export", "blackhole"};
	static const struct {
		const char *format, *place;
	} forms[] = {{"define %s = 1;", "1:8"}, {"define %s = [1..2];", "1:8"},
		{"function %s() { accept; }", "1:10"}, {"policy %s { accept; }", "1:8"},
		{"function f(a, %s) { accept; }", "1:15"}};
	char text[100], reason[100];

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		for (size_t k = 0; k < sizeof(forms) / sizeof(forms[0]); k++) {
			if (strcmp(words[i], "include") == 0)
				continue; /* a statement of the lexer */
			snprintf(text, sizeof(text), forms[k].format, words[i]);
			snprintf(reason, sizeof(reason), "\"%s\" is a word of the language",
				words[i]);
			assert_only_fault(text, forms[k].place, reason);
		}
	assert_only_fault("define a = 1;\nfunction f(a) { accept; }", "2:12", "already defined");
	assert_only_fault("function f(a, a) { accept; }", "1:15", "already a parameter");
	policy_set_free(compile_good("define peers = [1];\nfunction valid() { accept; }\n"
				     "policy internal { valid(); }"));
}

/* Faults of meaning do not hide each other. */
static void
test_all_faults(void **state)
{
	struct faults f = {0};

	(void)state;
	assert_null(compile_file("policy p {\n  if net ~ a then reject;\n  med = b;\n  call c;\n}\n"
				 "policy q { tag += 1; }",
		&f));
	assert_int_equal(f.count, 4);
	faults_fini(&f);
}

/* ---- with the document ---- */

static struct policy_verdict
verdict(const struct policy_set *s, const char *name, const char *text)
{
	static struct attr_set empty;
	struct policy_verdict v;
	struct policy_eval *e;
	struct arena *arena;
	struct prefix p;

	assert_int_equal(prefix_parse(text, &p), 0);
	assert_int_equal(arena_create("test", &arena), 0);
	assert_int_equal(policy_eval_create(arena, &e), 0);
	assert_int_equal(policy_eval_begin(e, policy_set_find(s, name), &empty, &context), 0);
	assert_int_equal(policy_eval_prefix(e, &p, &v), 0);
	v.tag = v.permit && v.attrs->has & ATTR_HAS_LOCAL_PREF ? v.attrs->local_pref : 0;
	v.sets = v.permit ? v.attrs->community_count : 0;
	v.attrs = NULL;
	policy_eval_destroy(e);
	arena_destroy(arena);
	return v;
}

/* Lists and policies of the document are used by name; include; lines of the deciding nodes. */
static void
test_document(void **state)
{
	struct faults f = {0};
	struct policy_verdict v;
	struct policy_set *s;
	char line[128];

	(void)state;
	file_write("common", "# shared\ndefine lab = [192.168.0.0/16{16,24}];\n");
	file_write("p", "include \"common\";\n"
			"policy inner { if net ~ lab then { local_pref = 7; accept; } reject; }\n"
			"policy outer {\n"
			"  if net ~ ten then accept;\n"
			"  call json;\n"
			"  call inner;\n"
			"  local_pref += 1;\n"
			"  accept;\n"
			"}\n");
	s = compile_into(
		"{'policy_files': ['p'],"
		" 'prefix_lists': [{'name': 'ten', 'entries': [{'action': 'permit', "
		"'prefix': '10.0.0.0/8', 'le': 32}]},"
		"  {'name': 'low', 'entries': [{'action': 'permit', 'prefix': "
		"'192.168.0.0/17', 'le': 32}]}],"
		" 'route_policies': [{'name': 'json', 'nodes': ["
		"  {'seq': 10, 'action': 'permit', 'match': {'prefix_list': 'low'}, 'set': "
		"{'local_pref': 5}, 'goto': 30},"
		"  {'seq': 20, 'action': 'deny'}, {'seq': 30, 'action': 'deny', 'match': "
		"{'not': {'prefix_list': 'low'}}}]}]}",
		&f);
	if (s == NULL)
		print_faults(&f);
	assert_non_null(s);
	v = verdict(s, "outer", "10.1.0.0/16");
	assert_true(v.permit);
	snprintf(line, sizeof(line), "%s/p:4:3", folder);
	assert_string_equal(policy_set_line(s, "outer", v.node), line);
	v = verdict(s, "outer", "192.168.1.0/24");
	assert_true(v.permit);
	assert_int_equal(v.tag, 8);
	snprintf(line, sizeof(line), "%s/p:8:3", folder);
	assert_string_equal(policy_set_line(s, "outer", v.node), line);
	v = verdict(s, "outer", "192.168.200.0/24");
	assert_false(v.permit);
	snprintf(line, sizeof(line), "%s/p:5:3", folder);
	assert_string_equal(policy_set_line(s, "outer", v.node), line);
	assert_false(verdict(s, "outer", "192.168.1.0/25").permit);
	assert_null(policy_set_line(s, "json", 0));
	policy_set_free(s);
}

#define LIST(name, prefix)                                                                         \
	"{'name': '" name "', 'entries': [{'action': 'permit', 'prefix': '" prefix "', 'le': "     \
	"32}]}"
#define LISTS                                                                                      \
	"'policy_files': ['p'], 'prefix_lists': [" LIST("ten", "10.0.0.0/8") ", " LIST(            \
		"low", "10.0.0.0/9") ", " LIST("lower", "10.0.0.0/10") "],"

static void
assert_verdict(
	const struct policy_set *s, const char *prefix_text, int permit, unsigned seq, unsigned lp)
{
	struct policy_verdict v = verdict(s, "json", prefix_text);

	assert_int_equal(v.permit, permit);
	assert_int_equal(v.seq, seq);
	assert_int_equal(v.tag, lp);
}

/* A policy of the document calls policies of a file and of the document. */
static void
test_calls(void **state)
{
	struct faults f = {0};
	struct policy_verdict v;
	struct policy_set *s;
	char line[128];

	(void)state;
	file_write("p", "policy text {\n"
			"  local_pref = 50; add (1, 1);\n"
			"  if net ~ lower then reject;\n"
			"  if net ~ low then accept;\n"
			"  local_pref += 5;\n"
			"  if net.len < 30 then accept;\n"
			"}\n"
			"policy around { call json; add (1, 3); accept; }\n");
	s = compile_into(
		"{" LISTS "'route_policies': [{'name': 'json', 'nodes': ["
		" {'seq': 30, 'action': 'permit', 'call': 'other', 'set': {'communities': "
		"{'add': ['1:2']}}},"
		" {'seq': 10, 'action': 'permit', 'match': {'prefix_list': 'ten'}, 'call': "
		"'text', 'set': {'local_pref': {'add': 1}}, 'goto': 30},"
		" {'seq': 20, 'action': 'deny', 'match': {'family': 'ipv6-unicast'}}]},"
		" {'name': 'other', 'nodes': ["
		" {'seq': 1, 'action': 'deny', 'match': {'prefix_list': 'low'}},"
		" {'seq': 2, 'action': 'permit', 'match': {'prefix_list': 'ten'}, 'goto': 4},"
		" {'seq': 3, 'action': 'permit', 'call': 'accept-all', 'set': {'local_pref': "
		"9}},"
		" {'seq': 4, 'action': 'permit', 'match': {'prefix_list': 'ten'}, 'set': "
		"{'local_pref': {'add': 100}}}]}]}",
		&f);
	if (s == NULL)
		print_faults(&f);
	assert_non_null(s);
	assert_verdict(s, "10.0.0.0/16", 0, 10, 0); /* by line 3 */
	v = verdict(s, "json", "10.0.0.0/16");
	snprintf(line, sizeof(line), "%s/p:3:3", folder);
	assert_string_equal(policy_set_line(s, "json", v.node), line);
	assert_verdict(s, "10.64.0.0/16", 0, 30, 0); /* by node 1 of `other` */
	assert_null(policy_set_line(s, "json", verdict(s, "json", "10.64.0.0/16").node));
	assert_verdict(s, "10.128.0.0/16", 1, 30, 156);
	assert_int_equal(verdict(s, "json", "10.128.0.0/16").sets, 2);
	assert_verdict(s, "10.128.0.0/32", 0, 10, 0); /* the end of `text` */
	v = verdict(s, "json", "10.128.0.0/32");
	snprintf(line, sizeof(line), "%s/p:7:1", folder);
	assert_string_equal(policy_set_line(s, "json", v.node), line);
	assert_verdict(s, "11.0.0.0/16", 1, 30, 9);
	/* a file calls the document, which calls the file */
	assert_true(verdict(s, "around", "10.128.0.0/16").permit);
	assert_int_equal(verdict(s, "around", "10.128.0.0/16").tag, 156);
	assert_int_equal(verdict(s, "around", "10.128.0.0/16").sets, 3);
	assert_false(verdict(s, "around", "10.64.0.0/16").permit);
	assert_false(verdict(s, "around", "10.0.0.0/16").permit);
	assert_true(verdict(s, "around", "11.0.0.0/16").permit);
	policy_set_free(s);
}

/* A permit of before a call stays where no later node matches, and a route without a node is denied. */
static void
test_call_ends(void **state)
{
	struct faults f = {0};
	struct policy_set *s;

	(void)state;
	file_write("p", "policy text { if net ~ lower then reject; local_pref = 7; accept; }\n");
	s = compile_into(
		"{" LISTS "'route_policies': [{'name': 'json', 'nodes': ["
		" {'seq': 10, 'action': 'permit', 'match': {'prefix_list': 'ten'}, 'set': "
		"{'local_pref': 3}, 'goto': 20},"
		" {'seq': 20, 'action': 'permit', 'match': {'prefix_list': 'low'}, 'call': "
		"'text'}]}]}",
		&f);
	assert_non_null(s);
	assert_verdict(s, "10.128.0.0/16", 1, 10, 3);
	assert_verdict(s, "10.64.0.0/16", 1, 20, 7);
	assert_verdict(s, "10.0.0.0/16", 0, 20, 0);
	assert_verdict(s, "11.0.0.0/16", 0, 0, 0);
	policy_set_free(s);
}

static void
assert_call_fault(const char *text, const char *policies, const char *path, const char *reason)
{
	struct faults f = {0};
	char document[1000];

	file_write("p", text);
	snprintf(document, sizeof(document), "{'policy_files': ['p'], 'route_policies': [%s]}",
		policies);
	assert_null(compile_into(document, &f));
	assert_fault(&f, path, reason);
	faults_fini(&f);
}

static void
test_call_faults(void **state)
{
	char place[128];

	(void)state;
	assert_call_fault("",
		"{'name': 'a', 'nodes': [{'seq': 1, 'action': 'permit', 'call': 'b'}]}",
		"/route_policies/0/nodes/0/call", "there is no route policy \"b\"");
	assert_call_fault("",
		"{'name': 'a', 'nodes': [{'seq': 1, 'action': 'permit', 'call': 'a'}]}",
		"/route_policies/0/nodes/0/call", "must not call itself: a -> a");
	assert_call_fault("",
		"{'name': 'a', 'nodes': [{'seq': 2, 'action': 'permit', 'call': 'b'}, {'seq': 1, "
		"'action': 'deny'}]}, {'name': 'b', 'nodes': [{'seq': 1, 'action': 'permit', "
		"'call': "
		"'a'}]}",
		"/route_policies/0/nodes/0/call", "must not call itself: a -> b -> a");
	assert_call_fault("", "{'name': 'a', 'nodes': [{'seq': 1, 'action': 'deny', 'call': 'b'}]}",
		"/route_policies/0/nodes/0/call", "only valid in a permit node");
	assert_call_fault("", "{'name': 'a', 'nodes': [{'seq': 1, 'action': 'permit', 'call': 5}]}",
		"/route_policies/0/nodes/0/call", "is not a string");
	snprintf(place, sizeof(place), "%s/p:1:17", folder);
	assert_call_fault("policy p { call p; }", "", place, "must not call itself: p -> p");
	assert_call_fault("policy p { call j; }",
		"{'name': 'j', 'nodes': [{'seq': 1, 'action': 'permit', 'call': 'p'}]}", place,
		"must not call itself: p -> j -> p");
	assert_call_fault("policy p { call j; }\npolicy late { accept; }",
		"{'name': 'j', 'nodes': [{'seq': 1, 'action': 'permit', 'call': 'late'}]}", place,
		"there is no route policy \"late\" before this line");
}

/* The place and the text of a policy, for `show policy`. */
static void
test_texts(void **state)
{
	const char *text, *line;
	struct policy_set *s;
	char place[128];

	(void)state;
	s = compile_good(
		"define x = 1; /* y\n */ policy a{ accept;}\n\n  policy b {\n\treject; # }\n} "
		"policy c { }");
	assert_string_equal(policy_set_text(s, "a", &line), "policy a{ accept;}");
	snprintf(place, sizeof(place), "%s/p:2:5", folder);
	assert_string_equal(line, place);
	assert_string_equal(policy_set_text(s, "b", &line), "policy b {\n\treject; # }\n}");
	text = policy_set_text(s, "c", &line);
	assert_string_equal(text, "policy c { }");
	snprintf(place, sizeof(place), "%s/p:6:3", folder);
	assert_string_equal(line, place);
	assert_null(policy_set_text(s, "accept-all", &line));
	policy_set_free(s);
}

/* A comment changes nothing; a set does. */
static void
test_same(void **state)
{
	static const char *const texts[] = {"policy p { if net ~ [10.0.0.0/8] then accept; }",
		"# comment\n\npolicy p {\n if net ~ [10.0.0.0/8] then accept; }",
		"policy p { if net ~ [10.0.0.0/9] then accept; }"};
	struct policy_set *s[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		s[i] = compile_good(texts[i]);
	assert_true(policy_set_same(s[0], s[1], "p"));
	assert_false(policy_set_same(s[0], s[2], "p"));
	for (unsigned i = 0; i < 3; i++)
		policy_set_free(s[i]);
}

/* 500,000 prefixes within 2 s; here without a limit of time, which a busy machine would miss. */
static void
test_many_prefixes(void **state)
{
	char *text = malloc(32u << 20), *w = text;
	struct policy_set *s;
	clock_t begin;

	(void)state;
	w += sprintf(w, "define many = [\n");
	for (unsigned i = 0; i < 500000; i++)
		w += sprintf(w, "%u.%u.%u.0/24,\n", 1 + i / 65536, i / 256 % 256, i % 256);
	sprintf(w, "];\npolicy p { if net ~ many then accept; }\n");
	begin = clock();
	s = compile_good(text);
	print_message(
		"500,000 prefixes: %.2f s of CPU\n", (double)(clock() - begin) / CLOCKS_PER_SEC);
	assert_true(verdict(s, "p", "2.0.77.0/24").permit);
	assert_false(verdict(s, "p", "99.0.77.0/24").permit);
	policy_set_free(s);
	free(text);
}

static int
folder_make(void **state)
{
	(void)state;
	return mkdtemp(folder) != NULL ? 0 : -1;
}

static int
folder_remove(void **state)
{
	char path[128];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, i ? "common" : "p");
		unlink(path);
	}
	return rmdir(folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_keywords),
		cmocka_unit_test(test_all_faults),
		cmocka_unit_test(test_document),
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_call_ends),
		cmocka_unit_test(test_call_faults),
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_many_prefixes),
	};

	return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
