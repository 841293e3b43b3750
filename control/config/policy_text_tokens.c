/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config/policy_text_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct token *
text_here(const struct policy_text *t)
{
	return &t->tokens.at[t->at];
}

char *
text_place_of(const struct policy_text *t, const struct token *token)
{
	char *place;

	if (asprintf(&place, "%s:%u:%u", t->tokens.files[token->file].path, token->line,
		    token->column) < 0)
		return NULL;
	return place;
}

/* True if the file of `place` (FILE:LINE:COLUMN) is below `folder`, after links. */
static bool
place_is_inside(const char *folder, const char *place)
{
	const char *end = strrchr(place, ':');
	char *file;
	bool inside;

	while (end != NULL && end > place && *--end != ':')
		;
	file = strndup(place, end != NULL ? (size_t)(end - place) : strlen(place));
	inside = file != NULL && policy_file_is_inside(folder, file);
	free(file);
	return inside;
}

void
text_file_fault(struct faults *f, const char *folder, const char *place, const char *reason)
{
	unsigned count = f->count;

	if (folder != NULL && place[0] != '\0' && !place_is_inside(folder, place))
		reason = "is not a policy; the text is not shown, because the file is outside of "
			 "the folder of FILE";
	faults_add(f, place, "%s", reason);
	if (f->count > count)
		f->fault[count].of_file = true;
}

__attribute__((format(printf, 3, 4))) void
text_fault(struct policy_text *t, const struct token *token, const char *format, ...)
{
	char *place = token != NULL ? text_place_of(t, token) : strdup(t->pointer), *reason = NULL;
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
		text_file_fault(t->f, t->folder, place != NULL ? place : "",
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

void
text_expected(struct policy_text *t, const char *what)
{
	char buf[100];

	if (!t->failed)
		text_fault(t, text_here(t), "expected %s, not %s", what,
			token_text(text_here(t), buf, sizeof(buf)));
	t->failed = true;
}

bool
text_is_sign(const struct policy_text *t, uint32_t sign)
{
	return text_here(t)->kind == TOKEN_SIGN && text_here(t)->number == sign;
}

bool
text_take_sign(struct policy_text *t, uint32_t sign)
{
	if (t->failed || !text_is_sign(t, sign))
		return false;
	t->at++;
	return true;
}

void
text_need_sign(struct policy_text *t, uint32_t sign)
{
	char what[] = {'\'', (char)sign, '\'', 0};

	if (!text_take_sign(t, sign))
		text_expected(t, what);
}

bool
text_is_word(const struct policy_text *t, const char *word)
{
	return text_here(t)->kind == TOKEN_NAME && strcmp(text_here(t)->text, word) == 0;
}

bool
text_take_word(struct policy_text *t, const char *word)
{
	if (t->failed || !text_is_word(t, word))
		return false;
	t->at++;
	return true;
}

const char *
text_need_name(struct policy_text *t, const char *what)
{
	if (t->failed || text_here(t)->kind != TOKEN_NAME) {
		text_expected(t, what);
		return NULL;
	}
	return t->tokens.at[t->at++].text;
}

bool
text_enter(struct policy_text *t)
{
	if (++t->depth <= DEPTH_MAX)
		return !t->failed;
	if (!t->failed)
		text_fault(t, text_here(t), "more than %u levels", DEPTH_MAX);
	t->failed = true;
	return false;
}

void
text_leave(struct policy_text *t)
{
	t->depth--;
}

void *
text_grow(struct policy_text *t, void *v, unsigned count, unsigned *size, size_t element)
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

struct symbol *
text_symbol_find(const struct policy_text *t, const char *name)
{
	const json_t *index = json_object_get(t->names, name);

	return index != NULL ? t->symbols[json_integer_value(index)] : NULL;
}

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
	return text_is_operand(name) || policy_community_parse(name, &community) == 0;
}

void
text_check_new_name(struct policy_text *t, const struct token *token)
{
	if (is_keyword(token->text))
		text_fault(t, token, "\"%s\" is a word of the language; choose a different name",
			token->text);
	else if (text_symbol_find(t, token->text) != NULL)
		text_fault(t, token, "\"%s\" is already defined", token->text);
}

struct symbol *
text_symbol_add(struct policy_text *t, const struct token *token, enum symbol_kind kind)
{
	struct symbol **grown;
	struct symbol *s;

	text_check_new_name(t, token);
	grown = text_grow(t, t->symbols, t->symbol_count, &t->symbol_size, sizeof(struct symbol *));
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

const uint32_t *
text_parameter_find(const struct policy_text *t, const char *name)
{
	const struct frame *f = t->frame;

	for (unsigned i = 0; f != NULL && f->function != NULL && i < f->function->parameter_count;
		i++)
		if (strcmp(f->function->parameters[i], name) == 0)
			return &f->arguments[i];
	return NULL;
}

uint32_t
text_need_number(struct policy_text *t, const char *what)
{
	const struct token *token = text_here(t);
	const uint32_t *parameter;
	const struct symbol *s;

	if (!t->failed && token->kind == TOKEN_NUMBER)
		return t->tokens.at[t->at++].number;
	if (t->failed || token->kind != TOKEN_NAME) {
		text_expected(t, what);
		return 0;
	}
	t->at++;
	parameter = text_parameter_find(t, token->text);
	if (parameter != NULL)
		return *parameter;
	s = text_symbol_find(t, token->text);
	if (s == NULL)
		text_fault(t, token, "there is no constant \"%s\"", token->text);
	else if (s->kind != SYMBOL_NUMBER)
		text_fault(t, token, "\"%s\" is not a number", token->text);
	return s != NULL ? s->number : 0;
}
