/* SPDX-License-Identifier: BSD-3-Clause */
/* Statements of BIRD's filters: if, case, changes of attributes, variables, calls. */
#include "control/cli/keelctl_import_bird_filter_impl.h"

/* ---- statements ---- */

/* Takes one statement without a look at its meaning. An `else` belongs to the last `if` before it. */
static void
skip_statement(struct bird *b)
{
	for (unsigned ifs = 0;; ifs--) {
		while (bird_is(b, "if") || bird_is(b, "for")) {
			const char *end = bird_is(b, "if") ? "then" : "do";

			ifs += bird_is(b, "if");
			while (!bird_is(b, end) && bird_peek(b, 0)->kind != BIRD_END) {
				if (bird_is(b, "(") || bird_is(b, "[") || bird_is(b, "{"))
					bird_skip_brackets(b);
				else
					b->at++;
			}
			bird_take(b, end);
		}
		if (bird_is(b, "{")) {
			bird_skip_brackets(b);
		} else {
			bool in_case = bird_is(b, "case");

			while (bird_peek(b, 0)->kind != BIRD_END && !bird_is(b, ";") &&
				!(in_case && bird_is(b, "{"))) {
				if (bird_is(b, "(") || bird_is(b, "[") || bird_is(b, "{"))
					bird_skip_brackets(b);
				else
					b->at++;
			}
			if (bird_is(b, "{"))
				bird_skip_brackets(b);
			else
				bird_take(b, ";");
		}
		if (ifs == 0 || !bird_take(b, "else"))
			return;
	}
}

/* The statement from `at` on is not carried: the filter rejects here. */
static void
not_carried(struct program *p, unsigned at)
{
	struct bird *b = p->b;
	unsigned first = b->token[at].line, last;

	b->at = at;
	skip_statement(b);
	if (b->at == at)
		b->at = at < b->end ? at + 1 : at;
	last = b->token[b->at > at ? b->at - 1 : at].line;
	bird_note(b, first, "not carried: %s; the policy rejects here",
		p->why != NULL ? p->why : "policies have no such statement");
	for (unsigned l = first + 1; l <= last; l++)
		bird_note(b, l, "not carried: part of line %u", b->line[first].number);
	p->why = NULL;
	filter_leave(p, "deny", NO_LABEL);
}

static void
statements(struct program *p)
{
	while (!bird_is(p->b, "}") && bird_peek(p->b, 0)->kind != BIRD_END)
		filter_statement(p);
	bird_take(p->b, "}");
}

/* A condition whose attributes the filter has not changed before; NULL: not carried. */
static struct condition *
usable(struct program *p)
{
	struct condition *c = filter_expression(p);

	if (c != NULL && filter_is_changed(p, c))
		return filter_bad(p,
			"the condition sees an attribute that the filter has changed before; "
			"conditions see the route as received");
	return c;
}

/* The branch is one node without a condition: the condition of the `if` goes into that node. */
static bool
collapse(struct program *p, json_t *match, size_t start)
{
	json_t *node = json_array_get(p->nodes, start + 2);

	if (match == NULL || json_array_size(p->nodes) != start + 3 ||
		json_object_get(node, "match") != NULL)
		return false;
	json_object_set(node, "match", match);
	json_array_remove(p->nodes, start + 1);
	json_array_remove(p->nodes, start);
	for (int i = 0; i < p->label_count; i++) {
		if (p->label[i].place >= (int)start + 2)
			p->label[i].place -= 2;
	}
	return true;
}

/*
 * The end of a block or branch. A variable of the outer scope that the block has set has no value
 * any more: the value depends on the way.
 */
static void
scope_end(struct program *p, struct scope *outer)
{
	for (struct scope *s = p->scope; s != outer && s != NULL; s = s->next) {
		for (struct scope *o = outer; o != NULL; o = o->next) {
			if (is(o->name, s->name))
				o->value = (struct bird_range){0};
		}
	}
	p->scope = outer;
}

static void
if_statement(struct program *p, unsigned at)
{
	struct condition *c = usable(p);
	int yes, no, end;
	bool was = p->reachable, goes_on, one;
	size_t start;
	json_t *match;
	struct scope *scope; /* a variable that a branch sets has no value behind the branch */

	if (c == NULL || !bird_take(p->b, "then")) {
		not_carried(p, at);
		return;
	}
	scope = p->scope;
	yes = filter_label(p);
	no = filter_label(p);
	end = filter_label(p);
	filter_flush(p);
	match = was ? filter_simple(p, c) : NULL;
	start = json_array_size(p->nodes);
	if (match != NULL) {
		filter_append(p, "permit", match, NULL, yes);
		filter_leave(p, "permit", no);
	} else {
		filter_branch(p, c, yes, no, yes);
		p->reachable = false;
	}
	filter_place(p, yes);
	filter_statement(p);
	scope_end(p, scope);
	filter_flush(p);
	one = collapse(p, match, start);
	goes_on = p->reachable;
	if (bird_take(p->b, "else")) {
		if (goes_on && one) {
			json_object_set_new(
				json_array_get(p->nodes, start), "label", json_integer(end));
			filter_jump(p, end);
		} else if (goes_on) {
			filter_leave(p, "permit", end);
		}
		p->reachable = false;
		filter_place(p, no);
		filter_statement(p);
		scope_end(p, scope);
		filter_flush(p);
	} else {
		filter_place(p, no);
	}
	filter_place(p, end);
}

/* True at the values of a branch of `case`, before `:`. */
static bool
is_branch(const struct bird *b)
{
	const struct bird_token *t = bird_peek(b, 0), *next = bird_peek(b, 1);

	return t->kind == BIRD_NUMBER || is(t->text, "(") ||
	       (t->kind == BIRD_SYMBOL &&
		       (is(next->text, ":") || is(next->text, ",") || is(next->text, "..")));
}

/* True if the branch from here on is the last of its `case`. */
static bool
is_last_branch(struct bird *b)
{
	unsigned at = b->at;
	bool last;

	bird_take(b, ":");
	while (!is_branch(b) && !bird_is(b, "else") && !bird_is(b, "}") &&
		bird_peek(b, 0)->kind != BIRD_END)
		skip_statement(b);
	last = bird_is(b, "}");
	b->at = at;
	return last;
}

static void
case_statement(struct program *p, unsigned at)
{
	struct bird *b = p->b;
	struct operand l = filter_operand(p);
	int end = filter_label(p), yes, no;
	struct scope *scope = p->scope;

	if (l.kind == O_BAD || !bird_take(b, "{")) {
		not_carried(p, at);
		return;
	}
	while (!bird_take(b, "}") && bird_peek(b, 0)->kind != BIRD_END) {
		bool is_else = bird_take(b, "else");
		struct condition *c = is_else ? filter_condition(p, C_TRUE) : NULL, *one;

		while (c == NULL || (!is_else && bird_take(b, ","))) {
			struct operand r = filter_operand(p),
				       set_of = {.kind = O_SET, .element = r.kind, .value = NULL};

			if (r.kind == O_NUMBER && bird_is(b, "..")) {
				json_int_t high = 0;

				bird_take(b, "..");
				filter_take_number(p, &high);
				set_of.value = bird_keep(b,
					json_pack("[{s:I, s:I}]", "low", r.number, "high", high));
				r = set_of;
			}
			p->in_case = true;
			one = filter_compared(p, &l, r.kind == O_SET ? "~" : "=", &r);
			p->in_case = false;
			c = one == NULL ? NULL : c != NULL ? filter_combined(p, C_OR, c, one) : one;
			if (c == NULL)
				break;
		}
		if (is_else && !is_last_branch(b))
			c = filter_bad(p, "a branch behind else");
		if (c == NULL || !bird_take(b, ":") || filter_is_changed(p, c)) {
			not_carried(p, at);
			filter_place(p, end);
			return;
		}
		yes = filter_label(p);
		no = filter_label(p);
		filter_branch(p, c, yes, no, yes);
		p->reachable = false;
		filter_place(p, yes);
		while (!is_branch(b) && !bird_is(b, "else") && !bird_is(b, "}") &&
			bird_peek(b, 0)->kind != BIRD_END)
			filter_statement(p);
		scope_end(p, scope);
		filter_leave(p, "permit", end);
		filter_place(p, no);
	}
	filter_place(p, end);
}

/* The object of changes of a kind of communities. */
static json_t *
changes(struct program *p, const char *key)
{
	return member_made(p->pending,
		is(key, "community")	     ? "communities"
		: is(key, "large_community") ? "large_communities"
					     : "ext_communities",
		json_object());
}

static unsigned
attribute_bit(const char *key)
{
	return is(key, "community") ? A_COMMUNITIES : is(key, "large_community") ? A_LARGE : A_EXT;
}

/* add, delete, empty of communities. Returns false if not carried. */
static bool
change_communities(struct program *p, const char *key, const char *verb, const struct operand *o)
{
	json_t *c, *array, *e;
	size_t i;

	if (o != NULL && (o->text == NULL || !is(o->text, key)))
		return filter_bad(p, "a community of another kind") != NULL;
	if (o != NULL && is(verb, "add") &&
		(json_array_size(o->value) != 1 ||
			strpbrk(json_string_value(json_array_get(o->value, 0)), "*-") != NULL))
		return filter_bad(p, "one community is added at a time") != NULL;
	if (is(verb, "delete") && json_object_get(changes(p, key), "add") != NULL)
		filter_flush(p);
	c = changes(p, key);
	if (is(verb, "empty")) {
		json_object_clear(c);
		p->changed |= attribute_bit(key);
		return json_object_set_new(c, "replace", json_array()) == 0;
	}
	array = member_made(c, is(verb, "add") ? "add" : "remove", json_array());
	json_array_foreach(o->value, i, e)
	{
		json_array_append(array, e);
		json_object_set_new(p->touched, json_string_value(e), json_true());
	}
	return true;
}

/* Puts an AS number, or the first one of the path, before the path once more. False: not carried. */
static bool
prepend_once(struct program *p, const struct operand *o)
{
	json_t *asn, *before = json_object_get(p->pending, "as_path_prepend");
	json_int_t count = before != NULL ? (json_int_t)number_of(before, "count") : 0;

	if (o->kind == O_PATH_FIRST && (p->changed & A_FIRST_AS) != 0)
		return filter_bad(p, "the first AS number may be one that the filter put there") !=
		       NULL;
	if (o->kind != O_PATH_FIRST &&
		(o->kind != O_NUMBER || o->number == 0 || o->number == IMPORT_AS_TRANS))
		return filter_bad(p, "not a fixed AS number") != NULL;
	asn = o->kind == O_NUMBER ? json_integer(o->number) : json_string("first");
	p->changed |= A_PATH | (o->kind == O_NUMBER ? A_FIRST_AS : 0);

	if (before != NULL && (count >= 64 || !json_equal(json_object_get(before, "asn"), asn))) {
		filter_flush(p);
		count = 0;
	}
	return json_object_set_new(p->pending, "as_path_prepend",
		       json_pack("{s:o, s:I}", "asn", asn, "count", count + 1)) == 0;
}

/* NAME.VERB(VALUE); NAME.empty; */
static bool
method(struct program *p, const char *name)
{
	const char *verb = bird_peek(p->b, 0)->text;
	struct operand l = filter_attribute_of(p, name), o;

	p->b->at++;
	if (bird_take(p->b, ";"))
		return l.kind == O_COMMUNITIES && is(verb, "empty") &&
		       change_communities(p, l.text, verb, NULL);
	if (!bird_take(p->b, "("))
		return false;
	if (is(name, "bgp_path") && is(verb, "prepend")) {
		o = filter_operand(p);
		return bird_take(p->b, ")") && bird_take(p->b, ";") && prepend_once(p, &o);
	}
	o = filter_operand(p);
	if (l.kind != O_COMMUNITIES || o.kind == O_BAD || !bird_take(p->b, ")") ||
		!bird_take(p->b, ";"))
		return false;
	if (o.kind == O_SET && o.element == O_COMMUNITY)
		o.kind = O_COMMUNITY;
	return o.kind == O_COMMUNITY && (is(verb, "add") || is(verb, "delete")) &&
	       change_communities(p, l.text, verb, &o);
}

/* NAME = VALUE; */
static bool
assignment(struct program *p, const char *name)
{
	static const struct {
		const char *word, *key;
		unsigned bit;
	} numbers[] = {{"bgp_local_pref", "local_pref", A_LOCAL_PREF}, {"bgp_med", "med", A_MED}};
	struct operand o;

	/* bgp_community = add(bgp_community, VALUE) */
	if ((bird_is(p->b, "add") || bird_is(p->b, "delete") || bird_is(p->b, "prepend")) &&
		is(bird_peek(p->b, 1)->text, "(") && is(bird_peek(p->b, 2)->text, name) &&
		is(bird_peek(p->b, 3)->text, ",")) {
		struct operand l = filter_attribute_of(p, name);
		const char *verb = bird_peek(p->b, 0)->text;

		p->b->at += 4;
		o = filter_operand(p);
		if (o.kind == O_BAD || !bird_take(p->b, ")") || !bird_take(p->b, ";"))
			return false;
		if (l.kind == O_PATH && is(verb, "prepend"))
			return prepend_once(p, &o);
		if (o.kind == O_SET && o.element == O_COMMUNITY)
			o.kind = O_COMMUNITY;
		return l.kind == O_COMMUNITIES && o.kind == O_COMMUNITY &&
		       change_communities(p, l.text, verb, &o);
	}
	if (bird_is(p->b, "-")) { /* -empty- */
		struct operand l = filter_attribute_of(p, name);

		p->b->at++;
		return bird_take(p->b, "empty") && bird_take(p->b, "-") && bird_take(p->b, ";") &&
		       l.kind == O_COMMUNITIES && change_communities(p, l.text, "empty", NULL);
	}
	o = filter_operand(p);
	if (!bird_take(p->b, ";"))
		return false;
	for (unsigned i = 0; i < 2; i++) {
		if (is(name, numbers[i].word) && o.kind == O_NUMBER) {
			p->changed |= numbers[i].bit;
			return json_object_set_new(
				       p->pending, numbers[i].key, json_integer(o.number)) == 0;
		}
	}
	if (is(name, "bgp_origin") && o.kind == O_WORD && strncmp(o.text, "ORIGIN_", 7) == 0) {
		p->changed |= A_ORIGIN;
		return json_object_set_new(p->pending, "origin",
			       json_string(is(o.text, "ORIGIN_IGP")   ? "igp"
					   : is(o.text, "ORIGIN_EGP") ? "egp"
								      : "incomplete")) == 0;
	}
	if (is(name, "bgp_next_hop") && o.kind == O_ADDRESS && import_is_host(o.text)) {
		p->changed |= A_NEXT_HOP;
		return json_object_set_new(p->pending, "next_hop", json_string(o.text)) == 0;
	}
	return false;
}

/* A declaration, in front of a name: `int`, `prefix set`. */
static bool
is_type(const char *word)
{
	static const char *const types[] = {"int", "bool", "ip", "prefix", "pair", "quad", "ec",
		"lc", "rd", "string", "bgpmask", "bgppath", "clist", "eclist", "lclist"};

	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (is(word, types[i]))
			return true;
	}
	return false;
}

/* TYPE NAME [= VALUE]; binds the name to the value. */
static bool
declaration(struct program *p)
{
	struct scope *s = &filter_cell(p)->u.scope;
	unsigned at;

	bird_take(p->b, "set");
	s->name = bird_peek(p->b, 0)->text;
	s->next = p->scope;
	p->b->at++;
	if (bird_take(p->b, ";")) {
		p->scope = s;
		return true;
	}
	if (!bird_take(p->b, "="))
		return false;
	at = p->b->at;
	while (!bird_is(p->b, ";") && bird_peek(p->b, 0)->kind != BIRD_END)
		p->b->at++;
	s->value = (struct bird_range){at, p->b->at};
	if (filter_calls(p, s->value))
		return filter_bad(p, VALUE_CALLS) != NULL;
	s->scope = p->scope;
	s->next = p->scope;
	p->scope = s;
	return bird_take(p->b, ";");
}

/* Variables of a function or filter, declared before the body. */
void
filter_declarations(struct program *p, struct bird_range header)
{
	unsigned at = p->b->at, end = p->b->end;

	p->b->at = header.at;
	p->b->end = header.end;
	while (p->b->at < header.end) {
		if (is_type(bird_peek(p->b, 0)->text)) {
			p->b->at++;
			declaration(p);
		} else {
			p->b->at++;
		}
	}
	p->b->at = at;
	p->b->end = end;
}

/* NAME = VALUE; of a variable: the value is read where the name stands. */
static bool
variable(struct program *p, const char *name)
{
	struct scope *s, *old = p->scope;
	unsigned at = p->b->at;

	while (old != NULL && !is(old->name, name))
		old = old->next;
	while (!bird_is(p->b, ";") && bird_peek(p->b, 0)->kind != BIRD_END)
		p->b->at++;
	if (filter_calls(p, (struct bird_range){at, p->b->at}))
		return filter_bad(p, VALUE_CALLS) != NULL;
	/* a value that depends on the old value */
	for (unsigned i = at; i < p->b->at; i++) {
		if (is(p->b->token[i].text, name))
			return false;
	}
	s = &filter_cell(p)->u.scope;
	*s = (struct scope){
		.name = name, .value = {at, p->b->at}, .scope = p->scope, .next = p->scope};
	p->scope = s;
	return bird_take(p->b, ";");
}

static bool
is_variable(const struct program *p, const char *name)
{
	const struct scope *s = p->scope;

	while (s != NULL && !is(s->name, name))
		s = s->next;
	return s != NULL;
}

static bool
return_statement(struct program *p)
{
	struct condition *c;

	if (p->return_true == NO_LABEL)
		return false;
	if (bird_take(p->b, ";")) {
		filter_leave(p, "permit", p->return_true);
		return p->return_true == p->return_false;
	}
	c = usable(p);
	if (c == NULL || !bird_take(p->b, ";"))
		return false;
	filter_branch(p, c, p->return_true, p->return_false, NO_LABEL);
	p->reachable = false;
	return true;
}

/* Takes a message up to `;`. False: a function in it may reject the route. */
static bool
message(struct program *p)
{
	unsigned at = p->b->at;

	while (!bird_is(p->b, ";") && !bird_is(p->b, "}") && bird_peek(p->b, 0)->kind != BIRD_END)
		p->b->at++;
	if (filter_calls(p, (struct bird_range){at, p->b->at}))
		return filter_bad(p, VALUE_CALLS) != NULL;
	return bird_take(p->b, ";");
}

static bool
verdict_statement(struct program *p, const struct bird_token *t)
{
	if (!bird_is(p->b, ";"))
		bird_note(p->b, t->line, "changed: no message");
	if (!message(p))
		return false;
	filter_leave(p, is(t->text, "accept") ? "permit" : "deny", NO_LABEL);
	return true;
}

/* A call whose value is not used. */
static bool
call_statement(struct program *p, const char *name)
{
	struct bird_definition *d = bird_find(p->b, name);
	struct condition *c;
	int end;

	if (d == NULL || d->kind != BIRD_FUNCTION || !bird_take(p->b, "("))
		return false;
	c = filter_condition(p, C_CALL);
	c->function = d;
	if (!filter_bound(p, d, &c->scope) || !bird_take(p->b, ";"))
		return false;
	end = filter_label(p);
	filter_call(p, c, end, end);
	filter_place(p, end);
	return true;
}

static bool
simple_statement(struct program *p, const struct bird_token *t)
{
	if (is(t->text, "accept") || is(t->text, "reject"))
		return verdict_statement(p, t);
	if (is(t->text, "return"))
		return return_statement(p);
	if (is(t->text, "print") || is(t->text, "printn")) {
		bird_note(p->b, t->line, "changed: nothing is printed");
		return message(p);
	}
	if (is_type(t->text))
		return declaration(p);
	if (bird_take(p->b, "."))
		return method(p, t->text);
	if (bird_take(p->b, "="))
		return is_variable(p, t->text) ? variable(p, t->text) : assignment(p, t->text);
	return call_statement(p, t->text);
}

void
filter_statement(struct program *p)
{
	struct bird *b = p->b;
	const struct bird_token *t = bird_peek(b, 0);
	unsigned at = b->at;
	struct scope *scope = p->scope;

	if (t->kind == BIRD_END)
		return;
	if (++p->steps > STEPS_MAX || p->depth >= DEPTH_MAX) {
		filter_bad(p, "the filter is too large");
		not_carried(p, at);
		return;
	}
	if (bird_take(b, ";"))
		return;
	p->depth++;
	b->at++;
	if (is(t->text, "{") && t->kind == BIRD_PUNCT) {
		statements(p);
		scope_end(p, scope);
	} else if (is(t->text, "if")) {
		if_statement(p, at);
	} else if (is(t->text, "case")) {
		case_statement(p, at);
	} else if (!simple_statement(p, t)) {
		not_carried(p, at);
	}
	p->depth--;
}
