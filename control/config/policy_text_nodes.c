/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config/policy_text_impl.h"

#include <stdlib.h>

#define NODES_MAX 50000u /* of a policy */

unsigned
text_label_new(struct policy_text *t)
{
	unsigned *grown = text_grow(t, t->labels, t->label_count, &t->label_size, sizeof(*grown));

	if (grown == NULL)
		return 0;
	t->labels = grown;
	grown[t->label_count] = NO_LABEL;
	return t->label_count++;
}

void
text_label_here(struct policy_text *t, unsigned label)
{
	if (!t->failed)
		t->labels[label] = t->node_count;
}

void
text_emit(struct policy_text *t, enum node_kind kind, json_t *match, json_t *set, unsigned label,
	const struct token *token)
{
	struct made_node *grown = NULL;

	if (!t->failed && t->node_count == NODES_MAX) {
		text_fault(t, token, "the policy has more than %u nodes", NODES_MAX);
		t->failed = true;
	}
	if (!t->failed)
		grown = text_grow(t, t->nodes, t->node_count, &t->node_size, sizeof(*grown));
	if (grown == NULL) {
		json_decref(match);
		json_decref(set);
		return;
	}
	t->nodes = grown;
	grown[t->node_count++] = (struct made_node){kind, match, set, label,
		token != NULL ? (unsigned)(token - t->tokens.at) : NO_TOKEN, t->report};
}

void
text_jump(struct policy_text *t, unsigned label, const struct token *token)
{
	text_emit(t, NODE_JUMP, NULL, NULL, label, token);
}

void
text_flush(struct policy_text *t, const struct token *token)
{
	unsigned label;

	if (json_object_size(t->pending) == 0)
		return;
	label = text_label_new(t);
	text_emit(t, NODE_JUMP, NULL, t->pending, label, token);
	t->pending = json_object();
	text_label_here(t, label);
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

json_t *
text_simple_match(const struct cond *c)
{
	json_t *all = json_array(), *match = NULL;

	if (simple_into(c, all))
		match = json_array_size(all) == 1 ? json_incref(json_array_get(all, 0))
						  : json_pack("{s:O}", "all", all);
	json_decref(all);
	return match;
}

void
text_emit_condition(struct policy_text *t, const struct cond *c, unsigned yes, unsigned no,
	unsigned next, const struct token *token)
{
	json_t *match;
	unsigned between;

	if (t->failed)
		return;
	match = text_simple_match(c);
	if (c->kind == COND_CONSTANT) {
		json_decref(match);
		if ((c->value ? yes : no) != next)
			text_jump(t, c->value ? yes : no, token);
	} else if (c->kind == COND_LEAF && next == yes) {
		json_decref(match);
		text_emit(t, NODE_JUMP, leaf_match(c, false), NULL, no, token);
	} else if (match != NULL) {
		text_emit(t, NODE_JUMP, match, NULL, yes, token);
		if (next != no)
			text_jump(t, no, token);
	} else if (c->kind == COND_AND || c->kind == COND_OR) {
		between = text_label_new(t);
		if (c->kind == COND_AND)
			text_emit_condition(t, c->a, between, no, between, token);
		else
			text_emit_condition(t, c->a, yes, between, between, token);
		text_label_here(t, between);
		text_emit_condition(t, c->b, yes, no, next, token);
	} else {
		text_call_function(t, c->function, c->arguments, c->value ? yes : no,
			c->value ? no : yes, token);
	}
}

void
text_nodes_drop(struct policy_text *t)
{
	for (unsigned i = 0; i < t->node_count; i++) {
		json_decref(t->nodes[i].match);
		json_decref(t->nodes[i].set);
	}
	t->node_count = t->label_count = t->calls = 0;
	text_conditions_drop(t);
	json_decref(t->pending);
	t->pending = json_object();
}

json_t *
text_nodes_json(struct policy_text *t)
{
	json_t *nodes = json_array();

	for (unsigned i = 0; i < t->node_count; i++) {
		const struct made_node *n = &t->nodes[i];
		char *place =
			n->token != NO_TOKEN ? text_place_of(t, &t->tokens.at[n->token]) : NULL;
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
