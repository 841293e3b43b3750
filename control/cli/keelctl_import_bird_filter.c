/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Filters and functions of BIRD as route policies. A policy is a list of nodes with conditions, changes
 * and forward jumps (`goto`), so if, else, case, && and || become jumps, and functions are inlined. The
 * conditions of a policy see the route as it was before the policy: a condition on an attribute that the
 * filter may have changed before is not carried. Where a statement is not carried the policy rejects.
 */
#include "control/cli/keelctl_import_bird_filter_impl.h"

#include <stdint.h>
#include <stdlib.h>

struct cell *
filter_cell(struct program *p)
{
	struct cell *c = calloc(1, sizeof(*c));

	if (c == NULL)
		abort();
	c->next = p->cells;
	p->cells = c;
	return c;
}

struct condition *
filter_condition(struct program *p, int kind)
{
	struct condition *c = &filter_cell(p)->u.condition;

	c->kind = kind;
	return c;
}

struct condition *
filter_combined(struct program *p, int kind, struct condition *a, struct condition *b)
{
	struct condition *c = filter_condition(p, kind);

	c->a = a;
	c->b = b;
	return c;
}

/* A condition of one member of `match`; takes `value`. */
struct condition *
filter_leaf(struct program *p, const char *key, json_t *value, unsigned reads)
{
	struct condition *c = filter_condition(p, C_LEAF);

	c->match = bird_keep(p->b, json_object());
	json_object_set_new(c->match, key, value);
	c->reads = reads;
	return c;
}

/* NULL, with the reason. */
void *
filter_bad(struct program *p, const char *why)
{
	if (p->why == NULL)
		p->why = why;
	return NULL;
}

struct operand
filter_bad_operand(struct program *p, const char *why)
{
	filter_bad(p, why);
	return (struct operand){O_BAD};
}

/* ---- nodes ---- */

int
filter_label(struct program *p)
{
	struct label *l = realloc(p->label, ((size_t)p->label_count + 1) * sizeof(*l));

	if (l == NULL)
		abort();
	p->label = l;
	l[p->label_count] = (struct label){.place = -1, .touched = bird_keep(p->b, json_object())};
	return p->label_count++;
}

void
filter_jump(struct program *p, int l)
{
	p->label[l].used = true;
	p->label[l].changed |= p->changed;
	json_object_update(p->label[l].touched, p->touched);
}

void
filter_append(struct program *p, const char *action, json_t *match, json_t *set, int to)
{
	json_t *node = json_pack("{s:s}", "action", action);

	if (match != NULL && json_object_size(match) > 0)
		json_object_set(node, "match", match);
	if (set != NULL && json_object_size(set) > 0 && is(action, "permit"))
		json_object_set(node, "set", set);
	if (to != NO_LABEL) {
		json_object_set_new(node, "label", json_integer(to));
		filter_jump(p, to);
	}
	json_array_append_new(p->nodes, node);
}

/* Writes the pending changes to a node that continues at the next node. */
void
filter_flush(struct program *p)
{
	if (json_object_size(p->pending) == 0)
		return;
	if (p->reachable) {
		int next = filter_label(p);

		filter_append(p, "permit", NULL, p->pending, next);
		p->label[next].place = (int)json_array_size(p->nodes);
	}
	json_decref(p->pending);
	p->pending = json_object();
}

/* An unconditional end of this path: permit, deny, or a jump. */
void
filter_leave(struct program *p, const char *action, int to)
{
	if (p->reachable)
		filter_append(p, action, NULL, p->pending, to);
	json_decref(p->pending);
	p->pending = json_object();
	p->reachable = false;
}

void
filter_place(struct program *p, int l)
{
	if (!p->label[l].used)
		return;
	filter_flush(p);
	p->label[l].place = (int)json_array_size(p->nodes);
	if (p->reachable)
		filter_jump(p, l);
	p->changed = p->label[l].changed;
	p->touched = bird_keep(p->b, json_copy(p->label[l].touched));
	p->reachable = true;
}

/* ---- conditions ---- */

/* The condition as members of one `match`, or NULL. */
json_t *
filter_simple(struct program *p, const struct condition *c)
{
	json_t *a, *b, *value, *e;
	const char *key;
	size_t i;

	if (c->kind == C_LEAF)
		return c->match;
	if (c->kind != C_AND && c->kind != C_OR)
		return NULL;
	a = filter_simple(p, c->a);
	b = filter_simple(p, c->b);
	if (a == NULL || b == NULL)
		return NULL;
	if (c->kind == C_AND) {
		json_object_foreach(b, key, value)
		{
			if (json_object_get(a, key) != NULL)
				return NULL;
		}
		a = bird_keep(p->b, json_copy(a));
		json_object_update(a, b);
		return a;
	}
	if (json_object_size(a) != 1 || json_object_size(b) != 1)
		return NULL;
	key = json_object_iter_key(json_object_iter(a));
	value = json_object_get(b, key);
	if (value == NULL)
		return NULL;
	a = json_deep_copy(json_object_get(a, key));
	if (!json_is_array(a))
		a = json_pack("[o]", a);
	if (!json_is_array(value))
		value = bird_keep(p->b, json_pack("[O]", value));
	json_array_foreach(value, i, e)
	{
		bool have = false;

		for (size_t k = 0; k < json_array_size(a); k++)
			have = have || json_equal(json_array_get(a, k), e);
		if (!have)
			json_array_append(a, e);
	}
	if (json_array_size(a) == 1) {
		e = json_incref(json_array_get(a, 0));
		json_decref(a);
		a = e;
	}
	b = bird_keep(p->b, json_object());
	json_object_set_new(b, key, a);
	return b;
}

/* Communities of one kind have one count of colons, and an extended one begins with a letter. */
static unsigned
community_kind(const char *text)
{
	unsigned colons = 0;

	for (const char *at = text; *at != 0; at++)
		colons += *at == ':';
	return *text >= 'a' ? 10 : colons;
}

/* Takes a part of a community: a number, a range, or all numbers. Words are 0. */
static const char *
part_of(const char *text, unsigned long long *low, unsigned long long *high)
{
	char *end;

	*low = 0;
	*high = UINT32_MAX;
	if (*text != '*') {
		*low = *high = strtoull(text, &end, 10);
		if (*end == '-')
			*high = strtoull(end + 1, &end, 10);
	}
	text += strcspn(text, ":");
	return *text == ':' ? text + 1 : text;
}

/* True if some community is one of both texts. */
static bool
overlaps(const char *a, const char *b)
{
	unsigned long long low, high, low2, high2;

	if (community_kind(a) != community_kind(b))
		return false;
	while (*a != '\0' && *b != '\0') {
		if (*a >= 'a' && *a != *b) /* rt, soo */
			return false;
		a = part_of(a, &low, &high);
		b = part_of(b, &low2, &high2);
		if (low > high2 || low2 > high)
			return false;
	}
	return true;
}

/* True if the filter may have added or removed a community that the text stands for. */
static bool
is_touched(const struct program *p, const char *text)
{
	const char *other;
	json_t *v;

	if (json_object_get(p->touched, text) != NULL)
		return true;
	json_object_foreach(p->touched, other, v)
	{
		if ((strpbrk(text, "*-") != NULL || strpbrk(other, "*-") != NULL) &&
			overlaps(text, other))
			return true;
	}
	return false;
}

/* The condition sees something that the filter may have changed before. */
bool
filter_is_changed(const struct program *p, const struct condition *c)
{
	json_t *v;
	size_t i;

	json_array_foreach(c->values, i, v)
	{
		if (is_touched(p, json_string_value(v)))
			return true;
	}
	return (c->reads & p->changed) != 0 || (c->a != NULL && filter_is_changed(p, c->a)) ||
	       (c->b != NULL && filter_is_changed(p, c->b));
}

void
filter_call(struct program *p, const struct condition *c, int yes, int no)
{
	struct bird_definition *f = c->function;
	unsigned at = p->b->at, end = p->b->end;
	int old_yes = p->return_true, old_no = p->return_false;
	struct scope *old = p->scope;

	f->used = true;
	p->return_true = yes;
	p->return_false = no;
	p->scope = c->scope;
	filter_declarations(p, f->header);
	p->b->at = f->value.at;
	p->b->end = f->value.end;
	filter_statement(p);
	p->b->at = at;
	p->b->end = end;
	p->return_true = old_yes;
	p->return_false = old_no;
	p->scope = old;
}

/* Jumps to `yes` or `no`; one of them may be `next`, the label that is placed next. */
void
filter_branch(struct program *p, const struct condition *c, int yes, int no, int next)
{
	json_t *match = filter_simple(p, c);
	int middle;

	filter_flush(p);
	/* a function of the condition can have changed what the rest of the condition sees */
	if (p->reachable && filter_is_changed(p, c)) {
		bird_note(p->b, p->b->token[p->b->at > 0 ? p->b->at - 1 : 0].line,
			"not carried: a function of the condition changes what the condition sees; "
			"the policy rejects here");
		filter_leave(p, "deny", NO_LABEL);
		return;
	}
	if (match != NULL) {
		if (p->reachable)
			filter_append(p, "permit", match, NULL, yes);
		if (no != next)
			filter_leave(p, "permit", no);
		else if (p->reachable)
			filter_jump(p, no);
		return;
	}
	switch (c->kind) {
	case C_TRUE:
	case C_FALSE:
		if ((c->kind == C_TRUE ? yes : no) != next)
			filter_leave(p, "permit", c->kind == C_TRUE ? yes : no);
		else if (p->reachable)
			filter_jump(p, next);
		break;
	case C_NOT:
		filter_branch(p, c->a, no, yes, next);
		break;
	case C_AND:
		middle = filter_label(p);
		filter_branch(p, c->a, middle, no, middle);
		p->reachable = false;
		filter_place(p, middle);
		filter_branch(p, c->b, yes, no, next);
		break;
	case C_OR:
		middle = filter_label(p);
		filter_branch(p, c->a, yes, middle, middle);
		p->reachable = false;
		filter_place(p, middle);
		filter_branch(p, c->b, yes, no, next);
		break;
	case C_CALL:
		filter_call(p, c, yes, no);
		/* BIRD rejects where a function that must have a value has none */
		filter_leave(p, "deny", NO_LABEL);
		break;
	case C_DEFINED:
		filter_flush(p);
		if (p->reachable)
			filter_append(p, "deny",
				bird_keep(p->b,
					json_pack("{s:[s, s]}", "source", "static", "connected")),
				NULL, NO_LABEL);
		filter_branch(p, c->a, yes, no, next);
		break;
	case C_LEAF:
		break;
	}
}

/* ---- the whole ---- */

/* Numbers the nodes, and writes the numbers to the jumps. */
static void
finish(struct program *p)
{
	json_t *node, *last = json_array_get(p->nodes, json_array_size(p->nodes) - 1), *policy;
	bool jumps = false;
	size_t i;

	json_array_foreach(p->nodes, i, node)
	{
		const json_t *to = json_object_get(node, "label");

		json_object_set_new(node, "seq", json_integer((json_int_t)(i + 1) * 10));
		if (to != NULL) {
			json_object_set_new(node, "goto",
				json_integer((p->label[json_integer_value(to)].place + 1) * 10));
			json_object_del(node, "label");
			jumps = true;
		}
	}
	/* the end of a policy rejects, but for routes that have come by a jump */
	if (!jumps && json_array_size(p->nodes) > 1 && json_object_size(last) == 2 &&
		is(json_string_value(json_object_get(last, "action")), "deny"))
		json_array_remove(p->nodes, json_array_size(p->nodes) - 1);
	policy = import_element(p->b->im->document, "route_policies", "name", p->name);
	json_object_set_new(policy, "nodes", p->nodes);
}

void
bird_filter(struct bird *b, const char *name, struct bird_range header, struct bird_range body,
	bool where, bool exports)
{
	struct program p = {.b = b,
		.name = name,
		.nodes = json_array(),
		.pending = json_object(),
		.touched = bird_keep(b, json_object()),
		.reachable = true,
		.undefined = exports && b->originates,
		.return_true = NO_LABEL,
		.return_false = NO_LABEL};
	unsigned at = b->at, end = b->end;

	filter_declarations(&p, header);
	b->at = body.at;
	b->end = body.end;
	if (where) {
		struct condition *c = filter_expression(&p);
		int yes = filter_label(&p), no = filter_label(&p);

		if (c == NULL || b->at != b->end) {
			bird_note(b, b->token[body.at].line, "not carried: %s; the policy rejects",
				p.why != NULL ? p.why : "an unknown expression");
			filter_leave(&p, "deny", NO_LABEL);
		} else if (filter_simple(&p, c) != NULL) {
			filter_append(&p, "permit", filter_simple(&p, c), NULL, NO_LABEL);
		} else {
			filter_branch(&p, c, yes, no, yes);
			p.reachable = false;
			filter_place(&p, yes);
			filter_leave(&p, "permit", NO_LABEL);
			filter_place(&p, no);
		}
	} else {
		filter_statement(&p);
	}
	filter_leave(&p, "deny", NO_LABEL);
	b->at = at;
	b->end = end;
	finish(&p);
	json_decref(p.pending);
	free(p.label);
	while (p.cells != NULL) {
		struct cell *c = p.cells;

		p.cells = c->next;
		free(c);
	}
}
