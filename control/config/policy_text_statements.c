/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config/policy_text_impl.h"

#include <string.h>

#define CALLS_MAX 100000u /* compiled for a policy */

/*
 * A body of changes and at most an accept or reject: enough for a single node. False: the
 * body has more, and the position is unchanged.
 */
static bool
simple_body(struct policy_text *t, json_t **set, enum node_kind *kind)
{
	unsigned at = t->at;
	json_t *pending = t->pending;
	bool braces = text_take_sign(t, '{'), good = true;

	*kind = NODE_JUMP;
	t->pending = json_object();
	do {
		if (braces && text_is_sign(t, '}'))
			break;
		good = !text_change_waits(t) && (t->at + 1 < t->tokens.count);
		if (!good)
			break;
		if (text_take_word(t, "accept"))
			*kind = NODE_PERMIT;
		else if (text_take_word(t, "reject"))
			*kind = NODE_DENY;
		else
			good = text_read_change(t, t->pending);
		if (good)
			text_need_sign(t, ';');
	} while (good && !t->failed && braces && *kind == NODE_JUMP);
	good = good && (!braces || text_take_sign(t, '}'));
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
	struct cond *c = text_read_condition(t);
	json_t *match, *set = NULL;
	enum node_kind kind;
	unsigned yes, no, end;

	if (!text_take_word(t, "then"))
		text_expected(t, "then");
	if (t->failed)
		return;
	text_flush(t, token);
	end = text_label_new(t);
	match = text_simple_match(c);
	if (match != NULL && simple_body(t, &set, &kind)) {
		if (kind == NODE_PERMIT && t->accept != NO_LABEL)
			text_emit(t, NODE_JUMP, match, set, t->accept, token);
		else
			text_emit(t, kind, match, set, kind == NODE_JUMP ? end : NO_LABEL, token);
		if (text_take_word(t, "else"))
			text_read_statement(t);
	} else {
		json_decref(match);
		yes = text_label_new(t);
		no = text_label_new(t);
		text_emit_condition(t, c, yes, no, yes, token);
		text_label_here(t, yes);
		text_read_statement(t);
		text_flush(t, token);
		if (text_take_word(t, "else")) {
			text_jump(t, end, token);
			text_label_here(t, no);
			text_read_statement(t);
		} else {
			text_label_here(t, no);
		}
	}
	text_flush(t, token);
	text_label_here(t, end);
}

static void
read_return(struct policy_text *t, const struct token *token)
{
	const struct frame *f = t->frame;

	text_flush(t, token);
	if (f == NULL || f->function == NULL) {
		text_fault(t, token, "return is only valid in a function");
		if (!text_is_sign(t, ';'))
			(void)text_read_condition(t);
	} else if (text_is_sign(t, ';')) {
		text_jump(t, f->yes != NO_LABEL ? f->no : f->end, token);
	} else {
		const struct cond *c = text_read_condition(t);

		if (f->yes != NO_LABEL)
			text_emit_condition(t, c, f->yes, f->no, f->no, token);
		text_jump(t, f->yes != NO_LABEL ? f->no : f->end, token);
	}
	text_need_sign(t, ';');
}

/* call NAME; */
static void
read_call(struct policy_text *t, const struct token *token)
{
	const struct token *at = text_here(t);
	const char *name = text_need_name(t, "the name of a policy");

	text_need_sign(t, ';');
	if (t->failed)
		return;
	text_flush(t, token);
	text_call_policy(t, name, at, token);
}

void
text_read_statement(struct policy_text *t)
{
	const struct token *token = text_here(t);
	const struct symbol *s;

	if (!text_enter(t)) {
		text_leave(t);
		return;
	}
	if (text_take_sign(t, '{')) {
		while (!t->failed && !text_is_sign(t, '}'))
			text_read_statement(t);
		text_need_sign(t, '}');
	} else if (text_take_word(t, "if")) {
		read_if(t, token);
	} else if (text_take_word(t, "accept") || text_take_word(t, "reject")) {
		bool permit = token->text[0] == 'a';

		text_need_sign(t, ';');
		if (permit && t->accept != NO_LABEL) {
			text_flush(t, token);
			text_jump(t, t->accept, token);
		} else {
			text_emit(t, permit ? NODE_PERMIT : NODE_DENY, NULL,
				permit ? t->pending : NULL, NO_LABEL, token);
			if (!permit)
				json_decref(t->pending);
			t->pending = json_object();
		}
	} else if (text_take_word(t, "return")) {
		read_return(t, token);
	} else if (text_take_word(t, "call")) {
		read_call(t, token);
	} else {
		if (text_change_waits(t))
			text_flush(t, token);
		s = token->kind == TOKEN_NAME ? text_symbol_find(t, token->text) : NULL;
		if (text_read_change(t, t->pending)) {
			text_need_sign(t, ';');
		} else if (s != NULL && s->kind == SYMBOL_FUNCTION) {
			uint32_t arguments[ARGUMENTS_MAX] = {0};

			t->at++;
			text_read_arguments(t, token, s, arguments);
			text_need_sign(t, ';');
			if (!t->failed)
				text_call_function(t, s, arguments, NO_LABEL, NO_LABEL, token);
		} else {
			text_expected(t, "a statement");
		}
	}
	text_leave(t);
}

void
text_call_function(struct policy_text *t, const struct symbol *s, const uint32_t *arguments,
	unsigned yes, unsigned no, const struct token *token)
{
	struct frame frame = {.function = s, .end = text_label_new(t), .yes = yes, .no = no};
	struct frame *outer = t->frame;
	unsigned at = t->at, accept = t->accept;

	if (!text_enter(t)) {
		text_leave(t);
		return;
	}
	if (++t->calls > CALLS_MAX) {
		text_fault(t, token, "more than %u calls of functions", CALLS_MAX);
		t->failed = true;
		text_leave(t);
		return;
	}
	if (arguments != NULL)
		memcpy(frame.arguments, arguments, sizeof(frame.arguments));
	t->frame = &frame;
	t->at = s->body;
	if (s->kind == SYMBOL_POLICY)
		t->accept = frame.end;
	text_read_statement(t);
	t->accept = accept;
	if (s->kind == SYMBOL_POLICY)
		text_emit(t, NODE_DENY, NULL, NULL, NO_LABEL,
			token != NULL ? token : &t->tokens.at[t->at - 1]);
	if (!t->failed)
		t->at = at;
	t->frame = outer;
	text_flush(t, token);
	if (yes != NO_LABEL)
		text_jump(t, no, token);
	text_label_here(t, frame.end);
	text_leave(t);
}
