/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config/policy_text_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
		text_emit(t, NODE_DENY, match, NULL, NO_LABEL, n->token);
		return;
	}
	if (callee == NULL) {
		text_emit(t, kind, match, json_incref(set), label, n->token);
		return;
	}
	body = text_label_new(t);
	next = text_label_new(t);
	if (json_object_size(match) > 0) {
		text_emit(t, NODE_JUMP, match, NULL, body, n->token);
		text_jump(t, next, n->token);
	} else {
		json_decref(match);
	}
	text_label_here(t, body);
	text_call_policy(t, callee, n->at, n->token);
	text_emit(t, kind, NULL, json_incref(set), label, n->token);
	text_label_here(t, next);
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
			text_label_here(t, n->label[i]);
		for (unsigned k = 0; target != NULL && k < n->count; k++)
			if (json_equal(json_object_get(n->node[k], "seq"), target))
				label = n->label[k];
		if (walk == WALK_OWN)
			own_node(t, n, n->node[i]);
		emit_json_node(t, n, n->node[i], label, walk);
	}
	if (walk == WALK_CALLED) {
		text_emit(t, NODE_DENY, NULL, NULL, NO_LABEL, n->token);
	} else if (walk == WALK_PERMITTED) {
		text_jump(t, n->end, n->token);
	} else {
		t->report = 0;
		text_jump(t, NO_LABEL, NULL);
	}
}

static void
emit_document_policy(struct policy_text *t, const json_t *policy, enum json_walk walk,
	const struct token *at, const struct token *token)
{
	struct json_nodes n = {.list = json_object_get(policy, "nodes"), .at = at, .token = token};
	bool goes = false;

	n.end = text_label_new(t);
	n.count = (unsigned)json_array_size(n.list);
	n.node = calloc(n.count + 1, sizeof(json_t *));
	n.label = calloc(n.count + 1, sizeof(*n.label));
	if (n.node == NULL || n.label == NULL)
		t->failed = true;
	for (unsigned k = 0; !t->failed && k < n.count; k++) {
		n.node[k] = json_array_get(n.list, k);
		n.label[k] = text_label_new(t);
		goes |= json_object_get(n.node[k], "goto") != NULL;
	}
	if (!t->failed) {
		qsort(n.node, n.count, sizeof(json_t *), seq_compare);
		emit_json_nodes(t, &n, walk);
		if (goes && walk == WALK_CALLED)
			emit_json_nodes(t, &n, WALK_PERMITTED);
	}
	text_label_here(t, n.end);
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
		text_fault(t, at, "more than %u policies call each other", DEPTH_MAX);
		return false;
	}
	for (; i < t->chain_count && len < sizeof(text); i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s -> ", t->chain[i]);
	text_fault(t, at, "a policy must not call itself: %s%s", text, name);
	return false;
}

void
text_call_policy(
	struct policy_text *t, const char *name, const struct token *at, const struct token *token)
{
	const struct symbol *s = text_symbol_find(t, name);
	const json_t *policy = text_document_entry(t, "route_policies", name);

	if (t->failed || strcmp(name, "accept-all") == 0)
		return;
	if (strcmp(name, "deny-all") == 0) {
		text_emit(t, NODE_DENY, NULL, NULL, NO_LABEL, token);
		return;
	}
	if (!chain_enter(t, name, at))
		return;
	if (s != NULL && s->kind == SYMBOL_POLICY) {
		struct symbol callee = *s;

		text_call_function(t, &callee, NULL, NO_LABEL, NO_LABEL, token);
	} else if (policy != NULL) {
		emit_document_policy(t, policy, WALK_CALLED, at, token);
	} else if (at != NULL) {
		text_fault(t, at, "there is no route policy \"%s\" before this line", name);
	} else {
		text_fault(t, at, "there is no route policy \"%s\"", name);
	}
	t->chain_count--;
}

void
text_expand_documents(struct policy_text *t)
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
			json_array_append_new(text_section(t, "route_policies"),
				json_pack("{s:s, s:o}", "name", name, "nodes", text_nodes_json(t)));
		text_nodes_drop(t);
	}
}
