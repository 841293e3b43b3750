/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config/policy_text.h"

#include "control/config/policy_compile_impl.h"
#include "control/config/policy_lex.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64u /* of statements, conditions and calls */
#define NODES_MAX 50000u /* of a policy */
#define ALTERNATIVES_MAX 256u /* of a condition: its tree is walked by recursion */
#define CALLS_MAX 100000u /* compiled for a policy */
#define ARGUMENTS_MAX 8u
#define PREPEND_MAX 64u
#define PAIR(a, b) ((uint32_t)(a) + 256u * (uint32_t)(b))

/* ---- definitions of a file ---- */

enum set_kind { SET_NONE, SET_PREFIXES, SET_ASNS, SET_STANDARD, SET_LARGE, SET_EXTENDED };
static const char *const set_words[] = {"nothing", "prefixes", "AS numbers", "communities",
	"large communities", "extended communities"};

enum symbol_kind { SYMBOL_NUMBER, SYMBOL_SET, SYMBOL_FUNCTION, SYMBOL_POLICY };

struct symbol {
	enum symbol_kind kind;
	uint32_t number;
	enum set_kind set;
	char list[16]; /* name of the list of a set */
	json_t *texts; /* of a set of communities: its elements, for `delete` and `add` */
	unsigned body; /* of a function: token of its opening brace */
	unsigned parameter_count;
	const char *parameters[ARGUMENTS_MAX];
};

/* ---- conditions ---- */

enum cond_kind { COND_CONSTANT, COND_LEAF, COND_AND, COND_OR, COND_CALL };

struct cond {
	enum cond_kind kind;
	bool value; /* of a constant; of a leaf or call: true unless negated */
	const char *key; /* of a leaf: key of `match` */
	json_t *values; /* of a leaf: array */
	const struct symbol *function;
	uint32_t arguments[ARGUMENTS_MAX];
	struct cond *a, *b, *next;
	unsigned depth;
};

/* ---- nodes ---- */

enum node_kind { NODE_PERMIT, NODE_DENY, NODE_JUMP };
#define NO_LABEL UINT32_MAX
#define NO_TOKEN UINT32_MAX

struct made_node {
	enum node_kind kind;
	json_t *match, *set; /* NULL: empty */
	unsigned label; /* where the walk continues; NO_LABEL: it ends here */
	unsigned token; /* NO_TOKEN: a node of the document */
	uint32_t report; /* `seq` of verdicts; 0: the place in the policy */
};

/* A call of a function, during its compilation. */
struct frame {
	const struct symbol *function; /* NULL: a policy */
	uint32_t arguments[ARGUMENTS_MAX];
	unsigned end; /* label behind a call as statement */
	unsigned yes, no; /* labels of a call as condition; NO_LABEL: a statement */
};

struct policy_text {
	struct policy_tokens tokens;
	const json_t *source;
	struct faults *f;
	unsigned at, depth;
	bool failed; /* after a fault of syntax the rest of the files is not read */
	struct symbol **symbols;
	unsigned symbol_count, symbol_size;
	json_t *names; /* index in symbols */
	json_t *document;
	struct policy_text_prefixes *prefixes;
	unsigned prefix_count, prefix_size, list_count;
	/* of the policy */
	struct made_node *nodes;
	unsigned node_count, node_size;
	unsigned *labels;
	unsigned label_count, label_size, calls;
	json_t *pending; /* changes without a node yet */
	struct cond *conds;
	struct cond lost; /* stands for a condition without memory; never compiled */
	struct frame *frame;
	unsigned accept; /* where `accept` of a called policy leads; NO_LABEL: the end */
	/* policies that call each other, from the policy that is compiled */
	const char *chain[DEPTH_MAX];
	unsigned chain_count;
	/* of a policy of the document: pointer of its `call`, and the `seq` of that node */
	size_t own; /* its place in `route_policies` */
	char pointer[80];
	uint32_t report;
	json_t *expanded; /* names of the policies of the document with `call` */
	unsigned before; /* faults from other checks */
};

/* ---- tokens ---- */

static const struct token *
here(const struct policy_text *t)
{
	return &t->tokens.at[t->at];
}

static char *
place_of(const struct policy_text *t, const struct token *token)
{
	char *place;

	if (asprintf(&place, "%s:%u:%u", t->tokens.files[token->file].path, token->line,
		    token->column) < 0)
		return NULL;
	return place;
}

static void
add_of_file(struct faults *f, const char *place, const char *reason)
{
	unsigned count = f->count;

	faults_add(f, place, "%s", reason);
	if (f->count > count)
		f->fault[count].of_file = true;
}

/* `token` NULL: the place is the `call` of the document that is compiled. */
static __attribute__((format(printf, 3, 4))) void
fault_at(struct policy_text *t, const struct token *token, const char *format, ...)
{
	char *place = token != NULL ? place_of(t, token) : strdup(t->pointer), *reason = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&reason, format, args) < 0)
		reason = NULL;
	va_end(args);
	/* a function is compiled for each call: one fault for each place */
	for (unsigned i = 0; place != NULL && i < t->f->count; i++)
		if (t->f->fault[i].path != NULL && strcmp(t->f->fault[i].path, place) == 0) {
			free(place);
			free(reason);
			return;
		}
	if (token == NULL && place != NULL)
		faults_add(t->f, place, "%s", reason != NULL ? reason : "out of memory");
	else
		add_of_file(t->f, place != NULL ? place : "",
			reason != NULL ? reason : "out of memory");
	free(place);
	free(reason);
}

static const char *
token_text(const struct token *token, char *buf, size_t size)
{
	char text[PREFIX_TEXT_MAX];

	switch (token->kind) {
	case TOKEN_END:
		return "the end of the file";
	case TOKEN_NAME:
		snprintf(buf, size, "\"%.64s\"", token->text);
		break;
	case TOKEN_STRING:
		snprintf(buf, size, "the string \"%.64s\"", token->text);
		break;
	case TOKEN_NUMBER:
		snprintf(buf, size, "%u", token->number);
		break;
	case TOKEN_ADDRESS:
	case TOKEN_PREFIX:
		snprintf(buf, size, "%s", prefix_format(&token->prefix, text));
		break;
	case TOKEN_SIGN:
		snprintf(buf, size, "'%c%.1s'", (int)(token->number & 0xff),
			token->number > 255 ? (const char[]){(char)(token->number >> 8), 0} : "");
		break;
	}
	return buf;
}

/* A fault of syntax: the token and the expectation. */
static void
expected(struct policy_text *t, const char *what)
{
	char buf[100];

	if (!t->failed)
		fault_at(t, here(t), "expected %s, not %s", what,
			token_text(here(t), buf, sizeof(buf)));
	t->failed = true;
}

static bool
is_sign(const struct policy_text *t, uint32_t sign)
{
	return here(t)->kind == TOKEN_SIGN && here(t)->number == sign;
}

static bool
take_sign(struct policy_text *t, uint32_t sign)
{
	if (t->failed || !is_sign(t, sign))
		return false;
	t->at++;
	return true;
}

static void
need_sign(struct policy_text *t, uint32_t sign)
{
	char what[] = {'\'', (char)sign, '\'', 0};

	if (!take_sign(t, sign))
		expected(t, what);
}

static bool
is_word(const struct policy_text *t, const char *word)
{
	return here(t)->kind == TOKEN_NAME && strcmp(here(t)->text, word) == 0;
}

static bool
take_word(struct policy_text *t, const char *word)
{
	if (t->failed || !is_word(t, word))
		return false;
	t->at++;
	return true;
}

/* NULL: a fault. */
static const char *
need_name(struct policy_text *t, const char *what)
{
	if (t->failed || here(t)->kind != TOKEN_NAME) {
		expected(t, what);
		return NULL;
	}
	return t->tokens.at[t->at++].text;
}

static bool
enter(struct policy_text *t)
{
	if (++t->depth <= DEPTH_MAX)
		return !t->failed;
	if (!t->failed)
		fault_at(t, here(t), "more than %u levels", DEPTH_MAX);
	t->failed = true;
	return false;
}

static void
leave(struct policy_text *t)
{
	t->depth--;
}

static void *
grow(struct policy_text *t, void *v, unsigned count, unsigned *size, size_t element)
{
	unsigned more = *size ? 2 * *size : 16;
	void *grown;

	if (count < *size)
		return v;
	grown = realloc(v, more * element);
	if (grown != NULL) {
		*size = more;
		return grown;
	}
	if (!t->failed)
		faults_add(t->f, "", "out of memory");
	t->failed = true;
	return NULL;
}

/* ---- symbols ---- */

static struct symbol *
symbol_find(const struct policy_text *t, const char *name)
{
	const json_t *index = json_object_get(t->names, name);

	return index != NULL ? t->symbols[json_integer_value(index)] : NULL;
}

static bool is_operand(const char *name);

/* The words of the grammar; operands and names of communities are words as well. */
static bool
is_keyword(const char *name)
{
	static const char *const words[] = {"include", "define", "function", "policy", "accept",
		"reject", "return", "if", "then", "else", "call", "add", "delete", "prepend", "or",
		"and", "not", "true", "false", "first", "peer", "self", "discard", "igp", "egp",
		"incomplete", "rt", "soo"};
	uint32_t community;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i], name) == 0)
			return true;
	return is_operand(name) || policy_community_parse(name, &community) == 0;
}

/* A name that a definition or a parameter gets. */
static void
check_new_name(struct policy_text *t, const struct token *token)
{
	if (is_keyword(token->text))
		fault_at(t, token, "\"%s\" is a word of the language; choose a different name",
			token->text);
	else if (symbol_find(t, token->text) != NULL)
		fault_at(t, token, "\"%s\" is already defined", token->text);
}

static struct symbol *
symbol_add(struct policy_text *t, const struct token *token, enum symbol_kind kind)
{
	struct symbol **grown;
	struct symbol *s;

	check_new_name(t, token);
	grown = grow(t, t->symbols, t->symbol_count, &t->symbol_size, sizeof(struct symbol *));
	s = calloc(1, sizeof(*s));
	if (grown == NULL || s == NULL) {
		t->failed = true;
		free(s);
		return NULL;
	}
	t->symbols = grown;
	s->kind = kind;
	json_object_set_new(t->names, token->text, json_integer(t->symbol_count));
	grown[t->symbol_count++] = s;
	return s;
}

static const uint32_t *
parameter_find(const struct policy_text *t, const char *name)
{
	const struct frame *f = t->frame;

	for (unsigned i = 0; f != NULL && f->function != NULL && i < f->function->parameter_count;
		i++)
		if (strcmp(f->function->parameters[i], name) == 0)
			return &f->arguments[i];
	return NULL;
}

/* A number, a constant or a parameter. */
static uint32_t
need_number(struct policy_text *t, const char *what)
{
	const struct token *token = here(t);
	const uint32_t *parameter;
	const struct symbol *s;

	if (!t->failed && token->kind == TOKEN_NUMBER)
		return t->tokens.at[t->at++].number;
	if (t->failed || token->kind != TOKEN_NAME) {
		expected(t, what);
		return 0;
	}
	t->at++;
	parameter = parameter_find(t, token->text);
	if (parameter != NULL)
		return *parameter;
	s = symbol_find(t, token->text);
	if (s == NULL)
		fault_at(t, token, "there is no constant \"%s\"", token->text);
	else if (s->kind != SYMBOL_NUMBER)
		fault_at(t, token, "\"%s\" is not a number", token->text);
	return s != NULL ? s->number : 0;
}

/* ---- sets ---- */

static json_t *
section(struct policy_text *t, const char *name)
{
	json_t *list = json_object_get(t->document, name);

	if (list == NULL) {
		list = json_array();
		json_object_set_new(t->document, name, list);
	}
	return list;
}

struct set_draft {
	enum set_kind kind;
	char name[16];
	struct policy_prefix_list *prefixes;
	uint64_t hash;
	json_t *asns, *communities;
};

static bool
set_is(struct policy_text *t, struct set_draft *d, const struct token *token, enum set_kind kind)
{
	if (d->kind == SET_NONE)
		d->kind = kind;
	if (d->kind != kind)
		fault_at(t, token, "a set of %s has no %s", set_words[d->kind], set_words[kind]);
	return d->kind == kind && !t->failed;
}

/* PREFIX, PREFIX+ (with all inside), PREFIX{low,high} (lengths). */
static void
set_prefix(struct policy_text *t, struct set_draft *d)
{
	const struct token *token = here(t);
	unsigned max = prefix_max_len(token->prefix.afi);
	uint32_t ge = token->prefix.len, le = ge;

	t->at++;
	if (take_sign(t, '+')) {
		le = max;
	} else if (take_sign(t, '{')) {
		ge = need_number(t, "a prefix length");
		need_sign(t, ',');
		le = need_number(t, "a prefix length");
		need_sign(t, '}');
	}
	if (!set_is(t, d, token, SET_PREFIXES))
		return;
	if (ge < token->prefix.len || le > max || ge > le) {
		fault_at(t, token, "lengths from %u to %u do not rise from %u to at most %u", ge,
			le, token->prefix.len, max);
		return;
	}
	if (d->prefixes == NULL && policy_prefix_list_create(&d->prefixes) != 0)
		t->failed = true;
	else if (policy_prefix_list_add(
			 d->prefixes, true, &token->prefix, (uint8_t)ge, (uint8_t)le) != 0)
		t->failed = true;
	d->hash = hash_words(
		d->hash, hash_bytes(&token->prefix, sizeof(token->prefix)), ge << 8 | le);
}

/* A part of a community, in the form of documents. */
static void
community_part(struct policy_text *t, char *out, size_t size)
{
	uint32_t low, high;

	if (take_sign(t, '*')) {
		snprintf(out, size, "*");
	} else if (take_word(t, "peer.asn")) {
		snprintf(out, size, "peer");
	} else {
		low = high = need_number(t, "a number, a range, '*' or peer.asn");
		if (take_sign(t, PAIR('.', '.')))
			high = need_number(t, "the end of the range");
		if (low == high)
			snprintf(out, size, "%u", low);
		else
			snprintf(out, size, "%u-%u", low, high);
	}
}

/* (A, B), (A, B, C) or (rt, A, B). Returns the kind; SET_NONE after a fault. */
static enum set_kind
need_community(struct policy_text *t, char out[80])
{
	const struct token *token = here(t);
	enum set_kind kind = SET_STANDARD;
	struct community_pattern pattern;
	char first[24], second[24], third[24];
	uint8_t bytes[POLICY_COMMUNITY_MAX];
	uint32_t standard;
	bool good;

	need_sign(t, '(');
	if (is_word(t, "rt") || is_word(t, "soo")) {
		snprintf(first, sizeof(first), "%s", need_name(t, "rt or soo"));
		kind = SET_EXTENDED;
	} else {
		community_part(t, first, sizeof(first));
	}
	need_sign(t, ',');
	community_part(t, second, sizeof(second));
	if (!is_sign(t, ')')) {
		need_sign(t, ',');
		community_part(t, third, sizeof(third));
		kind = kind == SET_EXTENDED ? kind : SET_LARGE;
		snprintf(out, 80, "%s:%s:%s", first, second, third);
	} else {
		snprintf(out, 80, "%s:%s", first, second);
	}
	need_sign(t, ')');
	if (t->failed)
		return SET_NONE;
	if (kind == SET_STANDARD)
		good = policy_community_parse(out, &standard) == 0 ||
		       policy_pattern_parse(out, COMMUNITIES_STANDARD, &pattern);
	else if (kind == SET_LARGE)
		good = policy_large_community_parse(out, bytes) == 0 ||
		       policy_pattern_parse(out, COMMUNITIES_LARGE, &pattern);
	else
		good = policy_ext_community_parse(out, bytes) == 0 ||
		       policy_pattern_parse(out, COMMUNITIES_EXTENDED, &pattern);
	if (good)
		return kind;
	fault_at(
		t, token, "%s is no community: a part is too large, or a range does not rise", out);
	return SET_NONE;
}

static void
set_element(struct policy_text *t, struct set_draft *d)
{
	const struct token *token = here(t);
	const struct symbol *s = token->kind == TOKEN_NAME ? symbol_find(t, token->text) : NULL;
	uint32_t standard;
	char text[80];

	if (token->kind == TOKEN_PREFIX || token->kind == TOKEN_ADDRESS) {
		set_prefix(t, d);
	} else if (is_sign(t, '(')) {
		enum set_kind kind = need_community(t, text);

		if (kind != SET_NONE && set_is(t, d, token, kind))
			json_array_append_new(d->communities, json_string(text));
	} else if (token->kind == TOKEN_NAME && parameter_find(t, token->text) == NULL &&
		   s == NULL && policy_community_parse(token->text, &standard) == 0) {
		t->at++;
		if (set_is(t, d, token, SET_STANDARD))
			json_array_append_new(d->communities, json_string(token->text));
	} else if (s != NULL && s->kind == SYMBOL_SET && s->texts != NULL) {
		t->at++;
		if (set_is(t, d, token, s->set))
			json_array_extend(s->set == SET_ASNS ? d->asns : d->communities, s->texts);
	} else {
		uint32_t low = need_number(t, "an element of a set"), high = low;

		if (take_sign(t, PAIR('.', '.')))
			high = need_number(t, "the end of the range");
		if (!t->failed && low > high)
			fault_at(t, token, "the range from %u to %u does not rise", low, high);
		else if (set_is(t, d, token, SET_ASNS))
			json_array_append_new(d->asns,
				low == high ? json_integer(low) : json_sprintf("%u-%u", low, high));
	}
}

/* Adds the set as a list of the document. */
static void
set_store(struct policy_text *t, struct set_draft *d)
{
	static const char *const sections[] = {NULL, NULL, "as_sets", "community_lists",
		"large_community_lists", "ext_community_lists"};
	static const char *const entry_keys[] = {
		NULL, NULL, NULL, "community", "large_community", "ext_community"};
	json_t *entries, *element;
	size_t i;

	snprintf(d->name, sizeof(d->name), "#%u", ++t->list_count);
	if (d->kind == SET_PREFIXES) {
		struct policy_text_prefixes *grown =
			grow(t, t->prefixes, t->prefix_count, &t->prefix_size, sizeof(*grown));

		if (grown != NULL)
			t->prefixes = grown;
		if (d->prefixes == NULL) /* all elements have faults */
			return;
		if (grown == NULL || policy_prefix_list_seal(d->prefixes) != 0) {
			t->failed = true;
			return;
		}
		grown[t->prefix_count] =
			(struct policy_text_prefixes){.list = d->prefixes, .hash = d->hash};
		snprintf(grown[t->prefix_count].name, sizeof(grown->name), "%s", d->name);
		t->prefix_count++;
		d->prefixes = NULL;
	} else if (d->kind == SET_ASNS) {
		json_array_append_new(section(t, sections[d->kind]),
			json_pack("{s:s, s:O}", "name", d->name, "asns", d->asns));
	} else if (d->kind != SET_NONE) {
		entries = json_array();
		json_array_foreach(d->communities, i, element) json_array_append_new(entries,
			json_pack("{s:s, s:O}", "action", "permit", entry_keys[d->kind], element));
		json_array_append_new(section(t, sections[d->kind]),
			json_pack("{s:s, s:o}", "name", d->name, "entries", entries));
	}
}

/* `[ ELEMENT, ... ]`, or an element. */
static void
set_read(struct policy_text *t, struct set_draft *d)
{
	*d = (struct set_draft){.asns = json_array(), .communities = json_array()};
	if (!take_sign(t, '[')) {
		set_element(t, d);
		return;
	}
	while (!t->failed && !is_sign(t, ']')) {
		set_element(t, d);
		if (!take_sign(t, ',') && !is_sign(t, ']'))
			expected(t, "',' or ']'");
	}
	need_sign(t, ']');
}

static void
set_drop(struct set_draft *d)
{
	policy_prefix_list_unref(d->prefixes);
	json_decref(d->asns);
	json_decref(d->communities);
}

/* The entry of a section of the document with this name, or NULL. */
static const json_t *
document_entry(const struct policy_text *t, const char *section, const char *name)
{
	const json_t *list = json_object_get(t->source, section), *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		const char *other = json_string_value(json_object_get(entry, "name"));

		if (other != NULL && strcmp(other, name) == 0)
			return entry;
	}
	return NULL;
}

/* The name of a list of the document itself, in the section of a kind of set. */
static bool
document_has_list(const struct policy_text *t, enum set_kind kind, const char *name)
{
	static const char *const sections[] = {NULL, "prefix_lists", "as_sets", "community_lists",
		"large_community_lists", "ext_community_lists"};

	return document_entry(t, sections[kind], name) != NULL;
}

/* Reads a set of the kind after `~`. Returns the name of the list, a new string, or NULL. */
static json_t *
need_set(struct policy_text *t, enum set_kind kind)
{
	const struct token *token = here(t);
	const struct symbol *s = token->kind == TOKEN_NAME ? symbol_find(t, token->text) : NULL;
	struct set_draft d;
	json_t *name = NULL;

	if (s != NULL && s->kind == SYMBOL_SET) {
		t->at++;
		if (s->set != kind)
			fault_at(t, token, "\"%s\" is a set of %s; expected %s", token->text,
				set_words[s->set], set_words[kind]);
		return s->set == kind ? json_string(s->list) : NULL;
	}
	if (token->kind == TOKEN_NAME && s == NULL && document_has_list(t, kind, token->text)) {
		t->at++;
		return json_string(token->text);
	}
	if (token->kind == TOKEN_NAME && s == NULL && kind <= SET_ASNS &&
		parameter_find(t, token->text) == NULL) {
		t->at++;
		fault_at(t, token, "there is no set \"%s\"", token->text);
		return NULL;
	}
	set_read(t, &d);
	if (!t->failed && d.kind == SET_NONE) {
		fault_at(t, token, "the set is empty");
	} else if (!t->failed && d.kind != kind) {
		fault_at(t, token, "this is a set of %s; expected %s", set_words[d.kind],
			set_words[kind]);
	} else if (!t->failed) {
		set_store(t, &d);
		name = json_string(d.name);
	}
	set_drop(&d);
	return name;
}

/* ---- conditions: making ---- */

static struct cond *
cond_add(struct policy_text *t, enum cond_kind kind)
{
	struct cond *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		t->failed = true;
		t->lost = (struct cond){0};
		return &t->lost;
	}
	c->kind = kind;
	c->value = true;
	c->next = t->conds;
	t->conds = c;
	return c;
}

static void
conds_drop(struct policy_text *t)
{
	for (struct cond *c = t->conds, *next; c != NULL; c = next) {
		next = c->next;
		json_decref(c->values);
		free(c);
	}
	t->conds = NULL;
}

static struct cond *
cond_constant(struct policy_text *t, bool value)
{
	struct cond *c = cond_add(t, COND_CONSTANT);

	c->value = value;
	return c;
}

/* Takes `value`; NULL, after a fault: any condition. */
static struct cond *
cond_leaf(struct policy_text *t, const char *key, json_t *value)
{
	struct cond *c;

	if (value == NULL)
		return cond_constant(t, false);
	c = cond_add(t, COND_LEAF);
	c->key = key;
	c->values = json_array();
	json_array_append_new(c->values, value);
	return c;
}

static struct cond *
cond_not(struct cond *c)
{
	c->value = !c->value;
	if (c->kind == COND_AND || c->kind == COND_OR) {
		c->kind = c->kind == COND_AND ? COND_OR : COND_AND;
		c->a = cond_not(c->a);
		c->b = cond_not(c->b);
	}
	return c;
}

/* Two leaves of a key become a leaf: any of the values. */
static struct cond *
cond_join(struct policy_text *t, enum cond_kind kind, struct cond *a, struct cond *b)
{
	struct cond *c;
	bool same = a->kind == COND_LEAF && b->kind == COND_LEAF && a->value == b->value &&
		    strcmp(a->key, b->key) == 0;

	if (same && a->value == (kind == COND_OR)) {
		json_array_extend(a->values, b->values);
		return a;
	}
	c = cond_add(t, kind);
	c->a = a;
	c->b = b;
	c->depth = 1 + (a->depth > b->depth ? a->depth : b->depth);
	if (c->depth > ALTERNATIVES_MAX && !t->failed) {
		fault_at(t, here(t), "the condition has more than %u parts", ALTERNATIVES_MAX);
		t->failed = true;
	}
	return c;
}

/* A comparison with a number. */
static struct cond *
cond_number(struct policy_text *t, const char *key, uint32_t sign, uint32_t n, bool negate)
{
	uint32_t low = 0, high = UINT32_MAX;
	struct cond *c;

	if (sign == '<') {
		if (n == 0)
			return cond_constant(t, negate);
		high = n - 1;
	} else if (sign == '>') {
		if (n == UINT32_MAX)
			return cond_constant(t, negate);
		low = n + 1;
	} else if (sign == PAIR('<', '=')) {
		high = n;
	} else if (sign == PAIR('>', '=')) {
		low = n;
	} else {
		low = high = n;
	}
	c = cond_leaf(t, key,
		low == high
			? json_integer(low)
			: json_pack("{s:I, s:I}", "ge", (json_int_t)low, "le", (json_int_t)high));
	return negate ? cond_not(c) : c;
}

/* ---- conditions: reading ---- */

static struct cond *read_condition(struct policy_text *t);

static uint32_t
need_comparison(struct policy_text *t)
{
	static const uint32_t signs[] = {'=', PAIR('=', '='), PAIR('!', '='), '<', '>',
		PAIR('<', '='), PAIR('>', '='), '~', PAIR('!', '~')};

	for (unsigned i = 0; i < sizeof(signs) / sizeof(signs[0]); i++)
		if (take_sign(t, signs[i]))
			return signs[i] == PAIR('=', '=') ? '=' : signs[i];
	expected(t, "a comparison");
	return '=';
}

enum operand {
	OPERAND_NUMBER, /* any comparison */
	OPERAND_ASN, /* a number, or ~ a set */
	OPERAND_WORD, /* = a word */
	OPERAND_TEXT, /* = a string */
	OPERAND_ADDRESS, /* = an address */
	OPERAND_SET, /* ~ a set */
	OPERAND_PREFIX, /* = a prefix, or ~ a set */
	OPERAND_LENGTH, /* of the prefix */
	OPERAND_PATH, /* ~ a set of AS numbers, or a regular expression */
};

static const struct {
	const char *name, *key;
	enum operand operand;
	enum set_kind set;
	const char *words; /* with blanks around each */
} operands[] = {
	{"net", "prefix_list", OPERAND_PREFIX, SET_PREFIXES, NULL},
	{"net.len", "prefix_list", OPERAND_LENGTH, SET_PREFIXES, NULL},
	{"next_hop", "next_hop_prefix_list", OPERAND_PREFIX, SET_PREFIXES, NULL},
	{"peer.asn", "peer_as", OPERAND_ASN, SET_ASNS, NULL},
	{"peer.address", "peer", OPERAND_ADDRESS, SET_NONE, NULL},
	{"peer.group", "peer_group", OPERAND_TEXT, SET_NONE, NULL},
	{"origin_as", "origin_as", OPERAND_ASN, SET_ASNS, NULL},
	{"first_as", "first_as", OPERAND_ASN, SET_ASNS, NULL},
	{"path", "any_as", OPERAND_PATH, SET_ASNS, NULL},
	{"path.len", "as_path_length", OPERAND_NUMBER, SET_NONE, NULL},
	{"communities", "community_list", OPERAND_SET, SET_STANDARD, NULL},
	{"large_communities", "large_community_list", OPERAND_SET, SET_LARGE, NULL},
	{"ext_communities", "ext_community_list", OPERAND_SET, SET_EXTENDED, NULL},
	{"communities.count", "community_count", OPERAND_NUMBER, SET_NONE, NULL},
	{"large_communities.count", "large_community_count", OPERAND_NUMBER, SET_NONE, NULL},
	{"ext_communities.count", "ext_community_count", OPERAND_NUMBER, SET_NONE, NULL},
	{"med", "med", OPERAND_NUMBER, SET_NONE, NULL},
	{"local_pref", "local_pref", OPERAND_NUMBER, SET_NONE, NULL},
	{"tag", "tag", OPERAND_NUMBER, SET_NONE, NULL},
	{"origin", "origin", OPERAND_WORD, SET_NONE, " igp egp incomplete "},
	{"source", "source", OPERAND_WORD, SET_NONE,
		" connected static external kernel internal network "},
	{"family", "family", OPERAND_WORD, SET_NONE,
		" ipv4-unicast ipv6-unicast vpnv4-unicast vpnv6-unicast "},
	{"validation", "validation", OPERAND_WORD, SET_NONE, " valid invalid not-found "},
};

static bool
is_operand(const char *name)
{
	for (size_t i = 0; i < sizeof(operands) / sizeof(operands[0]); i++)
		if (strcmp(operands[i].name, name) == 0)
			return true;
	return false;
}

/* A comparison of the prefix length: a list of all prefixes with these lengths. */
static struct cond *
length_condition(struct policy_text *t, uint32_t sign, uint32_t n, bool negate)
{
	uint32_t low = sign == '>' ? n + 1 : sign == '<' || sign == PAIR('<', '=') ? 0 : n;
	uint32_t high = sign == '<' ? n - 1 : sign == '>' || sign == PAIR('>', '=') ? 128 : n;
	struct set_draft d = {.kind = SET_PREFIXES, .hash = hash_words(1, low, high)};
	struct cond *c;

	if ((sign == '<' && n == 0) || low > high || low > 128 || n > 128)
		return cond_constant(
			t, ((sign == '<' || sign == PAIR('<', '=')) && n > 128) != negate);
	if (policy_prefix_list_create(&d.prefixes) != 0) {
		t->failed = true;
		return cond_constant(t, false);
	}
	for (enum afi afi = AFI_IPV4; afi <= AFI_IPV6; afi++) {
		struct prefix all = {.afi = (uint8_t)afi};
		unsigned max = prefix_max_len(afi);

		if (low <= max && policy_prefix_list_add(d.prefixes, true, &all, (uint8_t)low,
					  (uint8_t)(high < max ? high : max)) != 0)
			t->failed = true;
	}
	set_store(t, &d);
	c = cond_leaf(t, "prefix_list", json_string(d.name));
	set_drop(&d);
	return negate ? cond_not(c) : c;
}

/* A list of one regular expression. */
static json_t *
path_list(struct policy_text *t)
{
	const struct token *token = here(t);
	struct policy_as_path_list *l;
	char error[160], name[16];
	int err;

	t->at++;
	if (policy_as_path_list_create(&l) != 0)
		return NULL;
	err = policy_as_path_list_add(l, true, token->text, error, sizeof(error));
	policy_as_path_list_unref(l);
	if (err != 0) {
		fault_at(t, token, "\"%s\" is not a regular expression: %s", token->text,
			err == -EINVAL ? error : strerror(-err));
		return NULL;
	}
	snprintf(name, sizeof(name), "#%u", ++t->list_count);
	json_array_append_new(section(t, "as_path_lists"),
		json_pack("{s:s, s:[{s:s, s:s}]}", "name", name, "entries", "action", "permit",
			"regex", token->text));
	return json_string(name);
}

static struct cond *
read_comparison(struct policy_text *t, unsigned operand, const struct token *token)
{
	const char *key = operands[operand].key;
	enum operand kind = operands[operand].operand;
	enum set_kind set = operands[operand].set;
	const struct token *sign_at = here(t);
	uint32_t sign = need_comparison(t);
	bool negate = sign == PAIR('!', '=') || sign == PAIR('!', '~');
	bool in = sign == '~' || sign == PAIR('!', '~');
	struct cond *c = NULL;
	char padded[64];

	if (t->failed)
		return cond_constant(t, false);
	if (in && kind == OPERAND_PATH && here(t)->kind == TOKEN_STRING) {
		c = cond_leaf(t, "as_path_list", path_list(t));
	} else if (in && set != SET_NONE && kind != OPERAND_LENGTH) {
		c = cond_leaf(t, key, need_set(t, set));
	} else if (in || (sign != '=' && sign != PAIR('!', '=') && kind != OPERAND_NUMBER &&
				 kind != OPERAND_ASN && kind != OPERAND_LENGTH)) {
		fault_at(t, sign_at, "\"%s\" has no such comparison", token->text);
		t->failed = true;
	} else if ((strcmp(key, "first_as") == 0 || strcmp(key, "origin_as") == 0) &&
		   is_word(t, "peer.asn")) {
		if (sign != '=' && sign != PAIR('!', '='))
			fault_at(t, sign_at, "\"%s\" and peer.asn are equal or not", token->text);
		t->at++;
		c = cond_leaf(t, key, json_string("peer.asn"));
	} else if (kind == OPERAND_NUMBER || kind == OPERAND_ASN) {
		return cond_number(t, key, sign, need_number(t, "a number"), negate);
	} else if (kind == OPERAND_LENGTH) {
		return length_condition(t, sign, need_number(t, "a prefix length"), negate);
	} else if (kind == OPERAND_TEXT && here(t)->kind == TOKEN_STRING) {
		c = cond_leaf(t, key, json_string(t->tokens.at[t->at++].text));
	} else if (kind == OPERAND_ADDRESS && here(t)->kind == TOKEN_ADDRESS) {
		char text[ADDR_TEXT_MAX];
		const struct prefix *p = &t->tokens.at[t->at++].prefix;
		struct ip_addr addr = {.afi = p->afi};

		memcpy(addr.b, p->b, sizeof(p->b));
		c = cond_leaf(t, key, json_string(addr_format(&addr, text)));
	} else if (kind == OPERAND_PREFIX &&
		   (here(t)->kind == TOKEN_PREFIX || here(t)->kind == TOKEN_ADDRESS)) {
		c = cond_leaf(t, key, need_set(t, set));
	} else if (kind == OPERAND_WORD && here(t)->kind == TOKEN_NAME) {
		snprintf(padded, sizeof(padded), " %.60s ", here(t)->text);
		if (strstr(operands[operand].words, padded) == NULL)
			fault_at(t, here(t), "\"%s\" is none of:%s", here(t)->text,
				operands[operand].words);
		else
			c = cond_leaf(t, key, json_string(here(t)->text));
		t->at++;
	} else {
		expected(t, kind == OPERAND_TEXT      ? "a string"
			    : kind == OPERAND_ADDRESS ? "an IP address"
			    : kind == OPERAND_PREFIX  ? "a prefix"
			    : kind == OPERAND_WORD    ? "a word"
						      : "a comparison with '~'");
	}
	if (c == NULL)
		c = cond_constant(t, false);
	return negate ? cond_not(c) : c;
}

/* The arguments of a call, behind the name. */
static void
read_arguments(struct policy_text *t, const struct token *token, const struct symbol *s,
	uint32_t arguments[ARGUMENTS_MAX])
{
	unsigned n = 0;

	need_sign(t, '(');
	while (!t->failed && !is_sign(t, ')')) {
		uint32_t v = need_number(t, "an argument");

		if (n < ARGUMENTS_MAX)
			arguments[n] = v;
		n++;
		if (!take_sign(t, ',') && !is_sign(t, ')'))
			expected(t, "',' or ')'");
	}
	need_sign(t, ')');
	if (!t->failed && n != s->parameter_count)
		fault_at(t, token, "\"%s\" takes %u arguments, not %u", token->text,
			s->parameter_count, n);
}

static struct cond *
read_primary(struct policy_text *t)
{
	const struct token *token = here(t);
	const struct symbol *s;
	struct cond *c = NULL;

	if (!enter(t)) {
		leave(t);
		return cond_constant(t, false);
	}
	if (take_sign(t, '!') || take_word(t, "not")) {
		c = cond_not(read_primary(t));
	} else if (take_sign(t, '(')) {
		c = read_condition(t);
		need_sign(t, ')');
	} else if (take_word(t, "true") || take_word(t, "false")) {
		c = cond_constant(t, token->text[0] == 't');
	} else if (token->kind == TOKEN_NAME) {
		for (unsigned i = 0; c == NULL && i < sizeof(operands) / sizeof(operands[0]); i++)
			if (strcmp(operands[i].name, token->text) == 0) {
				t->at++;
				c = read_comparison(t, i, token);
			}
		s = c == NULL ? symbol_find(t, token->text) : NULL;
		if (s != NULL && s->kind == SYMBOL_FUNCTION) {
			t->at++;
			c = cond_add(t, COND_CALL);
			c->function = s;
			read_arguments(t, token, s, c->arguments);
		} else if (c == NULL && !t->failed) {
			fault_at(t, token, "there is no condition or function \"%s\"", token->text);
			t->failed = true;
		}
	} else {
		expected(t, "a condition");
	}
	leave(t);
	return c != NULL ? c : cond_constant(t, false);
}

static struct cond *
read_and(struct policy_text *t)
{
	struct cond *c = read_primary(t);

	while (take_sign(t, PAIR('&', '&')) || take_word(t, "and"))
		c = cond_join(t, COND_AND, c, read_primary(t));
	return c;
}

static struct cond *
read_condition(struct policy_text *t)
{
	struct cond *c = read_and(t);

	while (take_sign(t, PAIR('|', '|')) || take_word(t, "or"))
		c = cond_join(t, COND_OR, c, read_and(t));
	return c;
}

/* ---- nodes ---- */

static unsigned
label_new(struct policy_text *t)
{
	unsigned *grown = grow(t, t->labels, t->label_count, &t->label_size, sizeof(*grown));

	if (grown == NULL)
		return 0;
	t->labels = grown;
	grown[t->label_count] = NO_LABEL;
	return t->label_count++;
}

static void
label_here(struct policy_text *t, unsigned label)
{
	if (!t->failed)
		t->labels[label] = t->node_count;
}

/* Takes `match` and `set`. `token` NULL: a node of the document. */
static void
emit(struct policy_text *t, enum node_kind kind, json_t *match, json_t *set, unsigned label,
	const struct token *token)
{
	struct made_node *grown = NULL;

	if (!t->failed && t->node_count == NODES_MAX) {
		fault_at(t, token, "the policy has more than %u nodes", NODES_MAX);
		t->failed = true;
	}
	if (!t->failed)
		grown = grow(t, t->nodes, t->node_count, &t->node_size, sizeof(*grown));
	if (grown == NULL) {
		json_decref(match);
		json_decref(set);
		return;
	}
	t->nodes = grown;
	grown[t->node_count++] = (struct made_node){kind, match, set, label,
		token != NULL ? (unsigned)(token - t->tokens.at) : NO_TOKEN, t->report};
}

static void
jump(struct policy_text *t, unsigned label, const struct token *token)
{
	emit(t, NODE_JUMP, NULL, NULL, label, token);
}

/* Gives the pending changes to a node of their own. */
static void
flush(struct policy_text *t, const struct token *token)
{
	unsigned label;

	if (json_object_size(t->pending) == 0)
		return;
	label = label_new(t);
	emit(t, NODE_JUMP, NULL, t->pending, label, token);
	t->pending = json_object();
	label_here(t, label);
}

static json_t *
leaf_match(const struct cond *c, bool value)
{
	json_t *match = json_pack("{s:O}", c->key, c->values);

	return c->value == value ? match : json_pack("{s:o}", "not", match);
}

/* Adds the parts of a condition to `all`. False: the condition has alternatives. */
static bool
simple_into(const struct cond *c, json_t *all)
{
	if (c->kind == COND_LEAF)
		return json_array_append_new(all, leaf_match(c, true)) == 0;
	if (c->kind == COND_AND)
		return simple_into(c->a, all) && simple_into(c->b, all);
	return c->kind == COND_CONSTANT && c->value;
}

/* A `match`, or NULL. */
static json_t *
simple_match(const struct cond *c)
{
	json_t *all = json_array(), *match = NULL;

	if (simple_into(c, all))
		match = json_array_size(all) == 1 ? json_incref(json_array_get(all, 0))
						  : json_pack("{s:O}", "all", all);
	json_decref(all);
	return match;
}

static void call_function(struct policy_text *t, const struct symbol *s, const uint32_t *arguments,
	unsigned yes, unsigned no, const struct token *token);

/* Nodes that lead to `yes` or `no`; the caller puts the label `next`, one of the two, behind them. */
static void
emit_condition(struct policy_text *t, const struct cond *c, unsigned yes, unsigned no,
	unsigned next, const struct token *token)
{
	json_t *match;
	unsigned between;

	if (t->failed)
		return;
	match = simple_match(c);
	if (c->kind == COND_CONSTANT) {
		json_decref(match);
		if ((c->value ? yes : no) != next)
			jump(t, c->value ? yes : no, token);
	} else if (c->kind == COND_LEAF && next == yes) {
		json_decref(match);
		emit(t, NODE_JUMP, leaf_match(c, false), NULL, no, token);
	} else if (match != NULL) {
		emit(t, NODE_JUMP, match, NULL, yes, token);
		if (next != no)
			jump(t, no, token);
	} else if (c->kind == COND_AND || c->kind == COND_OR) {
		between = label_new(t);
		if (c->kind == COND_AND)
			emit_condition(t, c->a, between, no, between, token);
		else
			emit_condition(t, c->a, yes, between, between, token);
		label_here(t, between);
		emit_condition(t, c->b, yes, no, next, token);
	} else {
		call_function(t, c->function, c->arguments, c->value ? yes : no,
			c->value ? no : yes, token);
	}
}

/* ---- changes ---- */

/* Sets or changes a number of `set`. */
static void
change_number(json_t *set, const char *key, uint32_t sign, uint32_t n)
{
	json_t *old = json_object_get(set, key);
	json_int_t v = n;

	if (sign != '=') {
		v = sign == PAIR('+', '=') ? v : -v;
		if (json_is_integer(old)) {
			v += json_integer_value(old);
			v = v < 0 ? 0 : v > UINT32_MAX ? UINT32_MAX : v;
		} else {
			json_object_set_new(set, key,
				json_pack("{s:I}", v < 0 ? "subtract" : "add", v < 0 ? -v : v));
			return;
		}
	}
	json_object_set_new(set, key, json_integer(v));
}

static const char *const community_sections[] = {
	NULL, NULL, NULL, "communities", "large_communities", "ext_communities"};

/* add X; delete X; with X a community, a list in brackets or the name of a set. */
static void
read_edit(struct policy_text *t, bool add, json_t *set)
{
	const struct token *token = here(t);
	const char *key = add ? "add" : "remove";
	struct set_draft d;
	json_t *edit, *values, *value;
	size_t i;

	for (unsigned k = SET_STANDARD; !add && k <= SET_EXTENDED; k++)
		if (take_word(t, community_sections[k])) {
			json_object_set_new(
				set, community_sections[k], json_pack("{s:[]}", "replace"));
			return;
		}
	set_read(t, &d);
	if (!t->failed && d.kind < SET_STANDARD) {
		fault_at(t, token, "expected communities");
	} else if (!t->failed) {
		edit = json_object_get(set, community_sections[d.kind]);
		if (edit == NULL) {
			edit = json_object();
			json_object_set_new(set, community_sections[d.kind], edit);
		}
		values = json_object_get(edit, key);
		if (values == NULL) {
			values = json_array();
			json_object_set_new(edit, key, values);
		}
		json_array_foreach(d.communities, i, value)
		{
			const char *text = json_string_value(value);

			if (strstr(text, "peer") != NULL && strcmp(text, "no-peer") != 0)
				fault_at(t, token, "peer.asn is only valid in conditions");
			else if (add &&
				 (strchr(text, '*') != NULL ||
					 (strchr(text, '-') != NULL && strchr(text, ':') != NULL)))
				fault_at(t, token,
					"wildcards and ranges are only valid in conditions and in "
					"delete");
			else
				json_array_append(values, value);
		}
	}
	set_drop(&d);
}

/* True if `delete` must not share a node with pending changes: a node removes before adding. */
static bool
edit_waits(const struct policy_text *t, bool add)
{
	for (unsigned k = SET_STANDARD; !add && k <= SET_EXTENDED; k++)
		if (json_object_get(json_object_get(t->pending, community_sections[k]), "add") !=
			NULL)
			return true;
	return false;
}

/* prepend(ASN, TIMES); prepend(first, TIMES); TIMES is 1 when absent. */
static void
read_prepend(struct policy_text *t, json_t *set)
{
	const struct token *token, *times;
	bool first;
	uint32_t asn = 0, count = 1;

	need_sign(t, '(');
	first = take_word(t, "first");
	token = here(t);
	if (!first)
		asn = need_number(t, "an AS number or first");
	if (!t->failed && !first && (asn == 0 || asn == 23456))
		fault_at(t, token, "%u is not an AS number", asn);
	times = here(t);
	if (take_sign(t, ',')) {
		times = here(t);
		count = need_number(t, "how often");
	}
	need_sign(t, ')');
	if (!t->failed && (count < 1 || count > PREPEND_MAX))
		fault_at(t, times, "%u times is not from 1 to %u", count, PREPEND_MAX);
	json_object_set_new(set, "as_path_prepend",
		json_pack("{s:o, s:I}", "asn", first ? json_string("first") : json_integer(asn),
			"count", (json_int_t)count));
}

static void
read_next_hop(struct policy_text *t, json_t *set)
{
	static const char *const words[] = {"peer", "self", "discard"};
	char text[ADDR_TEXT_MAX];

	need_sign(t, '=');
	for (unsigned i = 0; i < 3; i++)
		if (take_word(t, words[i])) {
			json_object_set_new(set, "next_hop", json_string(words[i]));
			return;
		}
	if (t->failed || here(t)->kind != TOKEN_ADDRESS) {
		expected(t, "an IP address, peer, self or discard");
		return;
	}
	struct ip_addr addr = {.afi = here(t)->prefix.afi};
	memcpy(addr.b, here(t)->prefix.b, sizeof(here(t)->prefix.b));
	if (!config_addr_is_host(&addr) || addr_is_link_local(&addr))
		fault_at(t, here(t), "is not the address of a host");
	json_object_set_new(set, "next_hop", json_string(addr_format(&addr, text)));
	t->at++;
}

/* A statement for a change of the route, without `;`. False: a statement of a different kind. */
static bool
read_change(struct policy_text *t, json_t *set)
{
	static const char *const numbers[] = {"local_pref", "med", "tag"};
	const struct token *token = here(t);
	uint32_t sign;

	if (t->failed || token->kind != TOKEN_NAME)
		return false;
	for (unsigned i = 0; i < 3; i++) {
		if (!take_word(t, numbers[i]))
			continue;
		sign = is_sign(t, PAIR('+', '=')) || is_sign(t, PAIR('-', '=')) ? here(t)->number
										: '=';
		if (sign == '=')
			need_sign(t, '=');
		else
			t->at++;
		if (sign != '=' && i == 2)
			fault_at(t, token, "a tag has no relative changes");
		change_number(set, numbers[i], sign, need_number(t, "a number"));
		return true;
	}
	if (take_word(t, "origin")) {
		need_sign(t, '=');
		if (is_word(t, "igp") || is_word(t, "egp") || is_word(t, "incomplete"))
			json_object_set_new(set, "origin", json_string(t->tokens.at[t->at++].text));
		else
			expected(t, "igp, egp or incomplete");
		return true;
	}
	if (take_word(t, "next_hop"))
		read_next_hop(t, set);
	else if (take_word(t, "add"))
		read_edit(t, true, set);
	else if (take_word(t, "delete"))
		read_edit(t, false, set);
	else if (take_word(t, "prepend"))
		read_prepend(t, set);
	else
		return false;
	return true;
}

/* True if the next change needs a node after the pending changes. */
static bool
change_waits(const struct policy_text *t)
{
	if (is_word(t, "delete"))
		return edit_waits(t, false);
	if (is_word(t, "prepend"))
		return json_object_get(t->pending, "as_path_prepend") != NULL;
	return (is_word(t, "local_pref") || is_word(t, "med")) &&
	       json_is_object(json_object_get(t->pending, here(t)->text));
}

/* ---- statements ---- */

static void read_statement(struct policy_text *t);

/*
 * A body of changes and at most an accept or reject: enough for a single node. False: the
 * body has more, and the position is unchanged.
 */
static bool
simple_body(struct policy_text *t, json_t **set, enum node_kind *kind)
{
	unsigned at = t->at;
	json_t *pending = t->pending;
	bool braces = take_sign(t, '{'), good = true;

	*kind = NODE_JUMP;
	t->pending = json_object();
	do {
		if (braces && is_sign(t, '}'))
			break;
		good = !change_waits(t) && (t->at + 1 < t->tokens.count);
		if (!good)
			break;
		if (take_word(t, "accept"))
			*kind = NODE_PERMIT;
		else if (take_word(t, "reject"))
			*kind = NODE_DENY;
		else
			good = read_change(t, t->pending);
		if (good)
			need_sign(t, ';');
	} while (good && !t->failed && braces && *kind == NODE_JUMP);
	good = good && (!braces || take_sign(t, '}'));
	*set = t->pending;
	t->pending = pending;
	if (!good && !t->failed) {
		json_decref(*set);
		*set = NULL;
		t->at = at;
	}
	return good || t->failed;
}

static void
read_if(struct policy_text *t, const struct token *token)
{
	struct cond *c = read_condition(t);
	json_t *match, *set = NULL;
	enum node_kind kind;
	unsigned yes, no, end;

	if (!take_word(t, "then"))
		expected(t, "then");
	if (t->failed)
		return;
	flush(t, token);
	end = label_new(t);
	match = simple_match(c);
	if (match != NULL && simple_body(t, &set, &kind)) {
		if (kind == NODE_PERMIT && t->accept != NO_LABEL)
			emit(t, NODE_JUMP, match, set, t->accept, token);
		else
			emit(t, kind, match, set, kind == NODE_JUMP ? end : NO_LABEL, token);
		if (take_word(t, "else"))
			read_statement(t);
	} else {
		json_decref(match);
		yes = label_new(t);
		no = label_new(t);
		emit_condition(t, c, yes, no, yes, token);
		label_here(t, yes);
		read_statement(t);
		flush(t, token);
		if (take_word(t, "else")) {
			jump(t, end, token);
			label_here(t, no);
			read_statement(t);
		} else {
			label_here(t, no);
		}
	}
	flush(t, token);
	label_here(t, end);
}

static void
read_return(struct policy_text *t, const struct token *token)
{
	const struct frame *f = t->frame;

	flush(t, token);
	if (f == NULL || f->function == NULL) {
		fault_at(t, token, "return is only valid in a function");
		if (!is_sign(t, ';'))
			(void)read_condition(t);
	} else if (is_sign(t, ';')) {
		jump(t, f->yes != NO_LABEL ? f->no : f->end, token);
	} else {
		const struct cond *c = read_condition(t);

		if (f->yes != NO_LABEL)
			emit_condition(t, c, f->yes, f->no, f->no, token);
		jump(t, f->yes != NO_LABEL ? f->no : f->end, token);
	}
	need_sign(t, ';');
}

/* ---- calls of policies ---- */

static void call_policy(
	struct policy_text *t, const char *name, const struct token *at, const struct token *token);

static int
seq_compare(const void *a, const void *b)
{
	json_int_t x = json_integer_value(json_object_get(*(json_t *const *)a, "seq")),
		   y = json_integer_value(json_object_get(*(json_t *const *)b, "seq"));

	return x < y ? -1 : x > y;
}

static bool
node_permits(const json_t *node)
{
	const char *action = json_string_value(json_object_get(node, "action"));

	return action != NULL && strcmp(action, "permit") == 0;
}

/* The name of the policy that a node calls, or NULL. */
static const char *
node_calls(const json_t *node)
{
	return node_permits(node) ? json_string_value(json_object_get(node, "call")) : NULL;
}

/*
 * How the nodes of a policy of the document are compiled. In a policy that is called, a walk that a
 * node with `goto` has permitted stays permitted, so nodes behind such a node exist twice: the
 * second copy ends with a permit. A policy for itself keeps its permits: the walk remembers them.
 */
enum json_walk { WALK_CALLED, WALK_PERMITTED, WALK_OWN };

struct json_nodes {
	const json_t *list;
	json_t **node; /* by rising `seq` */
	unsigned *label;
	unsigned count, end;
	const struct token *at, *token; /* of the call: for faults, for nodes; NULL: none */
};

/* A call: where the policy accepts, the changes of this node follow, and this node permits. */
static void
emit_json_node(struct policy_text *t, const struct json_nodes *n, const json_t *node,
	unsigned label, enum json_walk walk)
{
	enum node_kind kind = walk == WALK_OWN ? NODE_PERMIT : NODE_JUMP;
	json_t *match = json_incref(json_object_get(node, "match")),
	       *set = json_object_get(node, "set");
	const char *callee = node_calls(node);
	unsigned body, next;

	if (!node_permits(node)) {
		emit(t, NODE_DENY, match, NULL, NO_LABEL, n->token);
		return;
	}
	if (callee == NULL) {
		emit(t, kind, match, json_incref(set), label, n->token);
		return;
	}
	body = label_new(t);
	next = label_new(t);
	if (json_object_size(match) > 0) {
		emit(t, NODE_JUMP, match, NULL, body, n->token);
		jump(t, next, n->token);
	} else {
		json_decref(match);
	}
	label_here(t, body);
	call_policy(t, callee, n->at, n->token);
	emit(t, kind, NULL, json_incref(set), label, n->token);
	label_here(t, next);
}

/* Verdicts of the following nodes report this node of the document, and faults its `call`. */
static void
own_node(struct policy_text *t, const struct json_nodes *n, const json_t *node)
{
	json_int_t seq = json_integer_value(json_object_get(node, "seq"));
	size_t i = 0;

	t->report = seq >= 1 && seq <= UINT32_MAX ? (uint32_t)seq : 0;
	while (i + 1 < n->count && json_array_get(n->list, i) != node)
		i++;
	snprintf(t->pointer, sizeof(t->pointer), "/route_policies/%zu/nodes/%zu/call", t->own, i);
}

static void
emit_json_nodes(struct policy_text *t, const struct json_nodes *n, enum json_walk walk)
{
	for (unsigned i = 0; i < n->count && !t->failed; i++) {
		const json_t *target = json_object_get(n->node[i], "goto");
		unsigned label = walk == WALK_OWN ? NO_LABEL : n->end;

		if (walk != WALK_CALLED)
			label_here(t, n->label[i]);
		for (unsigned k = 0; target != NULL && k < n->count; k++)
			if (json_equal(json_object_get(n->node[k], "seq"), target))
				label = n->label[k];
		if (walk == WALK_OWN)
			own_node(t, n, n->node[i]);
		emit_json_node(t, n, n->node[i], label, walk);
	}
	if (walk == WALK_CALLED) {
		emit(t, NODE_DENY, NULL, NULL, NO_LABEL, n->token);
	} else if (walk == WALK_PERMITTED) {
		jump(t, n->end, n->token);
	} else {
		t->report = 0;
		jump(t, NO_LABEL, NULL);
	}
}

static void
emit_document_policy(struct policy_text *t, const json_t *policy, enum json_walk walk,
	const struct token *at, const struct token *token)
{
	struct json_nodes n = {.list = json_object_get(policy, "nodes"), .at = at, .token = token};
	bool goes = false;

	n.end = label_new(t);
	n.count = (unsigned)json_array_size(n.list);
	n.node = calloc(n.count + 1, sizeof(json_t *));
	n.label = calloc(n.count + 1, sizeof(*n.label));
	if (n.node == NULL || n.label == NULL)
		t->failed = true;
	for (unsigned k = 0; !t->failed && k < n.count; k++) {
		n.node[k] = json_array_get(n.list, k);
		n.label[k] = label_new(t);
		goes |= json_object_get(n.node[k], "goto") != NULL;
	}
	if (!t->failed) {
		qsort(n.node, n.count, sizeof(json_t *), seq_compare);
		emit_json_nodes(t, &n, walk);
		if (goes && walk == WALK_CALLED)
			emit_json_nodes(t, &n, WALK_PERMITTED);
	}
	label_here(t, n.end);
	free(n.node);
	free(n.label);
}

/* False with a fault: the policy is being compiled already. */
static bool
chain_enter(struct policy_text *t, const char *name, const struct token *at)
{
	char text[400];
	size_t len = 0;
	unsigned i = 0;

	while (i < t->chain_count && strcmp(t->chain[i], name) != 0)
		i++;
	if (i == t->chain_count && i < DEPTH_MAX) {
		t->chain[t->chain_count++] = name;
		return true;
	}
	if (i == t->chain_count) {
		fault_at(t, at, "more than %u policies call each other", DEPTH_MAX);
		return false;
	}
	for (; i < t->chain_count && len < sizeof(text); i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s -> ", t->chain[i]);
	fault_at(t, at, "a policy must not call itself: %s%s", text, name);
	return false;
}

/*
 * Compiles a policy, of a file or of the document, in place of a call: denied there is denied here.
 * Faults are at `at`, nodes of the document belong to `token`.
 */
static void
call_policy(
	struct policy_text *t, const char *name, const struct token *at, const struct token *token)
{
	const struct symbol *s = symbol_find(t, name);
	const json_t *policy = document_entry(t, "route_policies", name);

	if (t->failed || strcmp(name, "accept-all") == 0)
		return;
	if (strcmp(name, "deny-all") == 0) {
		emit(t, NODE_DENY, NULL, NULL, NO_LABEL, token);
		return;
	}
	if (!chain_enter(t, name, at))
		return;
	if (s != NULL && s->kind == SYMBOL_POLICY) {
		struct symbol callee = *s;

		call_function(t, &callee, NULL, NO_LABEL, NO_LABEL, token);
	} else if (policy != NULL) {
		emit_document_policy(t, policy, WALK_CALLED, at, token);
	} else if (at != NULL) {
		fault_at(t, at, "there is no route policy \"%s\" before this line", name);
	} else {
		fault_at(t, at, "there is no route policy \"%s\"", name);
	}
	t->chain_count--;
}

/* call NAME; */
static void
read_call(struct policy_text *t, const struct token *token)
{
	const struct token *at = here(t);
	const char *name = need_name(t, "the name of a policy");

	need_sign(t, ';');
	if (t->failed)
		return;
	flush(t, token);
	call_policy(t, name, at, token);
}

static void
read_statement(struct policy_text *t)
{
	const struct token *token = here(t);
	const struct symbol *s;

	if (!enter(t)) {
		leave(t);
		return;
	}
	if (take_sign(t, '{')) {
		while (!t->failed && !is_sign(t, '}'))
			read_statement(t);
		need_sign(t, '}');
	} else if (take_word(t, "if")) {
		read_if(t, token);
	} else if (take_word(t, "accept") || take_word(t, "reject")) {
		bool permit = token->text[0] == 'a';

		need_sign(t, ';');
		if (permit && t->accept != NO_LABEL) {
			flush(t, token);
			jump(t, t->accept, token);
		} else {
			emit(t, permit ? NODE_PERMIT : NODE_DENY, NULL, permit ? t->pending : NULL,
				NO_LABEL, token);
			if (!permit)
				json_decref(t->pending);
			t->pending = json_object();
		}
	} else if (take_word(t, "return")) {
		read_return(t, token);
	} else if (take_word(t, "call")) {
		read_call(t, token);
	} else {
		if (change_waits(t))
			flush(t, token);
		s = token->kind == TOKEN_NAME ? symbol_find(t, token->text) : NULL;
		if (read_change(t, t->pending)) {
			need_sign(t, ';');
		} else if (s != NULL && s->kind == SYMBOL_FUNCTION) {
			uint32_t arguments[ARGUMENTS_MAX] = {0};

			t->at++;
			read_arguments(t, token, s, arguments);
			need_sign(t, ';');
			if (!t->failed)
				call_function(t, s, arguments, NO_LABEL, NO_LABEL, token);
		} else {
			expected(t, "a statement");
		}
	}
	leave(t);
}

/*
 * Compiles the body of a function in place. A call as condition has the labels `yes` and `no`.
 * `accept` in a policy that is called leads behind the call.
 */
static void
call_function(struct policy_text *t, const struct symbol *s, const uint32_t *arguments,
	unsigned yes, unsigned no, const struct token *token)
{
	struct frame frame = {.function = s, .end = label_new(t), .yes = yes, .no = no};
	struct frame *outer = t->frame;
	unsigned at = t->at, accept = t->accept;

	if (!enter(t)) {
		leave(t);
		return;
	}
	if (++t->calls > CALLS_MAX) {
		fault_at(t, token, "more than %u calls of functions", CALLS_MAX);
		t->failed = true;
		leave(t);
		return;
	}
	if (arguments != NULL)
		memcpy(frame.arguments, arguments, sizeof(frame.arguments));
	t->frame = &frame;
	t->at = s->body;
	if (s->kind == SYMBOL_POLICY)
		t->accept = frame.end;
	read_statement(t);
	t->accept = accept;
	if (s->kind == SYMBOL_POLICY)
		emit(t, NODE_DENY, NULL, NULL, NO_LABEL,
			token != NULL ? token : &t->tokens.at[t->at - 1]);
	if (!t->failed)
		t->at = at;
	t->frame = outer;
	flush(t, token);
	if (yes != NO_LABEL)
		jump(t, no, token);
	label_here(t, frame.end);
	leave(t);
}

/* ---- definitions ---- */

static void
nodes_drop(struct policy_text *t)
{
	for (unsigned i = 0; i < t->node_count; i++) {
		json_decref(t->nodes[i].match);
		json_decref(t->nodes[i].set);
	}
	t->node_count = t->label_count = t->calls = 0;
	conds_drop(t);
	json_decref(t->pending);
	t->pending = json_object();
}

/* The nodes, in the form of a document. */
static json_t *
nodes_json(struct policy_text *t)
{
	json_t *nodes = json_array();

	for (unsigned i = 0; i < t->node_count; i++) {
		const struct made_node *n = &t->nodes[i];
		char *place = n->token != NO_TOKEN ? place_of(t, &t->tokens.at[n->token]) : NULL;
		json_t *node = json_pack("{s:I, s:s, s:s?}", "seq", (json_int_t)i + 1, "action",
			n->kind == NODE_DENY ? "deny" : "permit", "line", place);

		if (n->report != 0)
			json_object_set_new(node, "report", json_integer(n->report));

		if (n->match != NULL)
			json_object_set(node, "match", n->match);
		if (n->set != NULL && json_object_size(n->set) > 0)
			json_object_set(node, "set", n->set);
		if (n->kind == NODE_JUMP)
			json_object_set_new(node, "jump", json_true());
		if (n->label != NO_LABEL)
			json_object_set_new(
				node, "goto", json_integer((json_int_t)t->labels[n->label] + 1));
		json_array_append_new(nodes, node);
		free(place);
	}
	return nodes;
}

/* The text from one token to another, a sign, of the same file; a new string or NULL. */
static json_t *
text_between(const struct policy_text *t, const struct token *first, const struct token *last)
{
	const char *text = t->tokens.files[first->file].text;

	return last->file == first->file
		       ? json_stringn(text + first->offset, last->offset + 1 - first->offset)
		       : NULL;
}

/* policy NAME { ... }: at the end, a route is rejected. */
static void
read_policy(struct policy_text *t)
{
	const struct token *word = &t->tokens.at[t->at - 1];
	const struct token *token = here(t);
	const char *name = need_name(t, "a name");
	struct symbol *s;
	struct frame frame = {.end = NO_LABEL, .yes = NO_LABEL, .no = NO_LABEL};

	if (name == NULL)
		return;
	if (strcmp(name, "accept-all") == 0 || strcmp(name, "deny-all") == 0 || strlen(name) > 63)
		fault_at(t, token, "\"%s\" is not a name for a policy", name);
	s = symbol_add(t, token, SYMBOL_POLICY);
	if (s == NULL || t->failed)
		return;
	s->body = t->at;
	if (!is_sign(t, '{')) {
		expected(t, "'{'");
		return;
	}
	/* while its own body is read, the policy cannot be called */
	s->kind = SYMBOL_NUMBER;
	t->frame = &frame;
	t->chain[0] = name;
	t->chain_count = 1;
	read_statement(t);
	t->chain_count = 0;
	s->kind = SYMBOL_POLICY;
	t->frame = NULL;
	emit(t, NODE_DENY, NULL, NULL, NO_LABEL, &t->tokens.at[t->at - 1]);
	if (!t->failed && t->f->count + t->f->lost == t->before) {
		char *place = place_of(t, word);

		json_array_append_new(section(t, "route_policies"),
			json_pack("{s:s, s:o, s:s*, s:o*}", "name", name, "nodes", nodes_json(t),
				"line", place, "text",
				text_between(t, word, &t->tokens.at[t->at - 1])));
		free(place);
	}
	nodes_drop(t);
}

/* The body is compiled once for its faults, with parameters of 0. */
static void
read_function(struct policy_text *t)
{
	const struct token *token = here(t);
	struct symbol *s, checked;

	if (need_name(t, "a name") == NULL)
		return;
	s = symbol_add(t, token, SYMBOL_NUMBER);
	if (s == NULL)
		return;
	need_sign(t, '(');
	while (!t->failed && !is_sign(t, ')')) {
		const struct token *parameter = here(t);
		const char *name = need_name(t, "the name of a parameter");

		if (name != NULL)
			check_new_name(t, parameter);
		for (unsigned i = 0; name != NULL && i < s->parameter_count; i++)
			if (strcmp(s->parameters[i], name) == 0)
				fault_at(t, parameter, "\"%s\" is already a parameter", name);
		if (name != NULL && s->parameter_count < ARGUMENTS_MAX)
			s->parameters[s->parameter_count++] = name;
		else if (name != NULL)
			expected(t, "at most 8 parameters");
		if (!take_sign(t, ',') && !is_sign(t, ')'))
			expected(t, "',' or ')'");
	}
	need_sign(t, ')');
	s->body = t->at;
	if (!t->failed && !is_sign(t, '{'))
		expected(t, "'{'");
	if (t->failed)
		return;
	checked = *s;
	checked.kind = SYMBOL_FUNCTION;
	struct frame frame = {.function = &checked};
	frame.end = label_new(t);
	frame.yes = label_new(t);
	frame.no = label_new(t);
	t->frame = &frame;
	read_statement(t);
	t->frame = NULL;
	nodes_drop(t);
	s->kind = SYMBOL_FUNCTION;
}

/* define NAME = NUMBER; or a set. */
static void
read_define(struct policy_text *t)
{
	const struct token *token = here(t);
	struct set_draft d;
	struct symbol *s;

	if (need_name(t, "a name") == NULL)
		return;
	need_sign(t, '=');
	if (!t->failed && !is_sign(t, '[')) {
		uint32_t number = need_number(t, "a number or '['");

		s = symbol_add(t, token, SYMBOL_NUMBER);
		if (s != NULL)
			s->number = number;
		need_sign(t, ';');
		return;
	}
	set_read(t, &d);
	need_sign(t, ';');
	s = t->failed ? NULL : symbol_add(t, token, SYMBOL_SET);
	if (s != NULL && d.kind == SET_NONE) {
		fault_at(t, token, "the set is empty");
	} else if (s != NULL) {
		s->set = d.kind;
		s->texts = json_incref(d.kind == SET_ASNS ? d.asns : d.communities);
		if (d.kind == SET_PREFIXES) {
			json_decref(s->texts);
			s->texts = NULL;
		}
		set_store(t, &d);
		snprintf(s->list, sizeof(s->list), "%s", d.name);
	}
	set_drop(&d);
}

static void
read_definitions(struct policy_text *t)
{
	while (!t->failed && here(t)->kind != TOKEN_END) {
		if (take_word(t, "define"))
			read_define(t);
		else if (take_word(t, "function"))
			read_function(t);
		else if (take_word(t, "policy"))
			read_policy(t);
		else
			expected(t, "define, function, policy or include");
	}
}

/* Compiles the policies of the document that call policies. */
static void
expand_documents(struct policy_text *t)
{
	const json_t *policies = json_object_get(t->source, "route_policies"), *p, *node;
	size_t k;

	json_array_foreach(policies, t->own, p)
	{
		const char *name = json_string_value(json_object_get(p, "name"));
		const json_t *nodes = json_object_get(p, "nodes");
		bool calls = false;

		json_array_foreach(nodes, k, node) calls |= node_calls(node) != NULL;
		if (!calls || name == NULL || t->failed || policy_text_defines(t, name))
			continue;
		t->chain[0] = name;
		t->chain_count = 1;
		emit_document_policy(t, p, WALK_OWN, NULL, NULL);
		t->chain_count = 0;
		json_object_set_new(t->expanded, name, json_true());
		if (!t->failed && t->f->count + t->f->lost == t->before)
			json_array_append_new(section(t, "route_policies"),
				json_pack("{s:s, s:o}", "name", name, "nodes", nodes_json(t)));
		nodes_drop(t);
	}
}

/* Policies of files and of the document must have different names. */
static void
check_names(struct policy_text *t)
{
	const json_t *policies = json_object_get(t->source, "route_policies"), *p;
	char path[128];
	size_t i;

	json_array_foreach(policies, i, p)
	{
		const char *name = json_string_value(json_object_get(p, "name"));

		if (name == NULL || !policy_text_defines(t, name))
			continue;
		snprintf(path, sizeof(path), "/route_policies/%zu/name", i);
		faults_add(
			t->f, path, "\"%s\" is the name of a policy of a policy file, too", name);
	}
}

static void
read_files(struct policy_text *t, const json_t *paths, const char *folder)
{
	char path[48], file[4096];
	const json_t *value;
	size_t i;
	int err = 0;

	if (paths != NULL && !json_is_array(paths)) {
		faults_add(t->f, "/policy_files", "is not an array");
		return;
	}
	json_array_foreach(paths, i, value)
	{
		const char *name = json_string_value(value);

		snprintf(path, sizeof(path), "/policy_files/%zu", i);
		if (name == NULL || *name == '\0') {
			faults_add(t->f, path, "is not the path of a file");
			continue;
		}
		if (name[0] == '/' || folder == NULL)
			snprintf(file, sizeof(file), "%s", name);
		else
			snprintf(file, sizeof(file), "%s%s%s", folder,
				folder[strlen(folder) - 1] == '/' ? "" : "/", name);
		err = policy_lex_file(&t->tokens, file);
		if (err != 0 && t->tokens.fault_path == NULL)
			faults_add(t->f, path, "%s: %s", file, strerror(-err));
		else if (err != 0)
			add_of_file(t->f, t->tokens.fault_path, t->tokens.fault_reason);
		if (err != 0)
			return;
	}
}

struct policy_text *
policy_text_compile(const json_t *document, const char *folder, struct faults *f)
{
	struct policy_text *t = calloc(1, sizeof(*t));
	unsigned before = f->count + f->lost;

	if (t == NULL) {
		faults_add(f, "", "out of memory");
		return NULL;
	}
	t->source = document;
	t->before = before;
	t->accept = NO_LABEL;
	t->f = f;
	t->names = json_object();
	t->expanded = json_object();
	t->document = json_object();
	t->pending = json_object();
	read_files(t, json_object_get(document, "policy_files"), folder);
	if (f->count + f->lost == before) {
		if (t->tokens.count > 0)
			read_definitions(t);
		expand_documents(t);
	}
	check_names(t);
	if (t->failed && f->count + f->lost == before)
		faults_add(f, "", "out of memory");
	if (f->count + f->lost == before)
		return t;
	policy_text_free(t);
	return NULL;
}

void
policy_text_free(struct policy_text *t)
{
	if (t == NULL)
		return;
	nodes_drop(t);
	for (unsigned i = 0; i < t->symbol_count; i++) {
		json_decref(t->symbols[i]->texts);
		free(t->symbols[i]);
	}
	for (unsigned i = 0; i < t->prefix_count; i++)
		policy_prefix_list_unref(t->prefixes[i].list);
	policy_tokens_fini(&t->tokens);
	json_decref(t->names);
	json_decref(t->expanded);
	json_decref(t->document);
	json_decref(t->pending);
	free(t->symbols);
	free(t->prefixes);
	free(t->nodes);
	free(t->labels);
	free(t);
}

bool
policy_text_defines(const struct policy_text *t, const char *name)
{
	const struct symbol *s = symbol_find(t, name);

	return s != NULL && s->kind == SYMBOL_POLICY;
}

bool
policy_text_expands(const struct policy_text *t, const char *name)
{
	return json_object_get(t->expanded, name) != NULL;
}

const json_t *
policy_text_document(const struct policy_text *t)
{
	return t->document;
}

const struct policy_text_prefixes *
policy_text_prefixes(const struct policy_text *t, unsigned *count)
{
	*count = t->prefix_count;
	return t->prefixes;
}

json_t *
policy_text_files(const struct policy_text *t)
{
	json_t *files = json_object();

	for (unsigned i = 0; i < t->tokens.file_count; i++) {
		const struct policy_file *file = &t->tokens.files[i];

		if (file->path != NULL)
			json_object_set_new(files, file->path,
				json_sprintf("%016llx", (unsigned long long)policy_text_hash(
								file->text, file->size)));
	}
	return files;
}

bool
config_policy_files_changed(const struct config *c)
{
	json_t *hash;
	const char *path;
	char text[24];

	json_object_foreach(c->policy_files, path, hash)
	{
		char *contents = NULL;
		size_t size = 0;

		if (policy_file_read(path, &contents, &size) != 0)
			return true;
		snprintf(text, sizeof(text), "%016llx",
			(unsigned long long)policy_text_hash(contents, size));
		free(contents);
		if (strcmp(text, json_string_value(hash)) != 0)
			return true;
	}
	return false;
}
