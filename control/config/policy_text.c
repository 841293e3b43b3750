/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config/policy_text_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	const struct token *token = text_here(t);
	const char *name = text_need_name(t, "a name");
	struct symbol *s;
	struct frame frame = {.end = NO_LABEL, .yes = NO_LABEL, .no = NO_LABEL};

	if (name == NULL)
		return;
	if (strcmp(name, "accept-all") == 0 || strcmp(name, "deny-all") == 0 || strlen(name) > 63)
		text_fault(t, token, "\"%s\" is not a name for a policy", name);
	s = text_symbol_add(t, token, SYMBOL_POLICY);
	if (s == NULL || t->failed)
		return;
	s->body = t->at;
	if (!text_is_sign(t, '{')) {
		text_expected(t, "'{'");
		return;
	}
	/* while its own body is read, the policy cannot be called */
	s->kind = SYMBOL_NUMBER;
	t->frame = &frame;
	t->chain[0] = name;
	t->chain_count = 1;
	text_read_statement(t);
	t->chain_count = 0;
	s->kind = SYMBOL_POLICY;
	t->frame = NULL;
	text_emit(t, NODE_DENY, NULL, NULL, NO_LABEL, &t->tokens.at[t->at - 1]);
	if (!t->failed && t->f->count + t->f->lost == t->before) {
		char *place = text_place_of(t, word);

		json_array_append_new(text_section(t, "route_policies"),
			json_pack("{s:s, s:o, s:s*, s:o*}", "name", name, "nodes",
				text_nodes_json(t), "line", place, "text",
				text_between(t, word, &t->tokens.at[t->at - 1])));
		free(place);
	}
	text_nodes_drop(t);
}

/* The body is compiled once for its faults, with parameters of 0. */
static void
read_function(struct policy_text *t)
{
	const struct token *token = text_here(t);
	struct symbol *s, checked;

	if (text_need_name(t, "a name") == NULL)
		return;
	s = text_symbol_add(t, token, SYMBOL_NUMBER);
	if (s == NULL)
		return;
	text_need_sign(t, '(');
	while (!t->failed && !text_is_sign(t, ')')) {
		const struct token *parameter = text_here(t);
		const char *name = text_need_name(t, "the name of a parameter");

		if (name != NULL)
			text_check_new_name(t, parameter);
		for (unsigned i = 0; name != NULL && i < s->parameter_count; i++)
			if (strcmp(s->parameters[i], name) == 0)
				text_fault(t, parameter, "\"%s\" is already a parameter", name);
		if (name != NULL && s->parameter_count < ARGUMENTS_MAX)
			s->parameters[s->parameter_count++] = name;
		else if (name != NULL)
			text_expected(t, "at most 8 parameters");
		if (!text_take_sign(t, ',') && !text_is_sign(t, ')'))
			text_expected(t, "',' or ')'");
	}
	text_need_sign(t, ')');
	s->body = t->at;
	if (!t->failed && !text_is_sign(t, '{'))
		text_expected(t, "'{'");
	if (t->failed)
		return;
	checked = *s;
	checked.kind = SYMBOL_FUNCTION;
	struct frame frame = {.function = &checked};
	frame.end = text_label_new(t);
	frame.yes = text_label_new(t);
	frame.no = text_label_new(t);
	t->frame = &frame;
	text_read_statement(t);
	t->frame = NULL;
	text_nodes_drop(t);
	s->kind = SYMBOL_FUNCTION;
}

/* define NAME = NUMBER; or a set. */
static void
read_define(struct policy_text *t)
{
	const struct token *token = text_here(t);
	struct set_draft d;
	struct symbol *s;

	if (text_need_name(t, "a name") == NULL)
		return;
	text_need_sign(t, '=');
	if (!t->failed && !text_is_sign(t, '[')) {
		uint32_t number = text_need_number(t, "a number or '['");

		s = text_symbol_add(t, token, SYMBOL_NUMBER);
		if (s != NULL)
			s->number = number;
		text_need_sign(t, ';');
		return;
	}
	text_set_read(t, &d);
	text_need_sign(t, ';');
	s = t->failed ? NULL : text_symbol_add(t, token, SYMBOL_SET);
	if (s != NULL && d.kind == SET_NONE) {
		text_fault(t, token, "the set is empty");
	} else if (s != NULL) {
		s->set = d.kind;
		s->texts = json_incref(d.kind == SET_ASNS ? d.asns : d.communities);
		if (d.kind == SET_PREFIXES) {
			json_decref(s->texts);
			s->texts = NULL;
		}
		text_set_store(t, &d);
		snprintf(s->list, sizeof(s->list), "%s", d.name);
	}
	text_set_drop(&d);
}

static void
read_definitions(struct policy_text *t)
{
	while (!t->failed && text_here(t)->kind != TOKEN_END) {
		if (text_take_word(t, "define"))
			read_define(t);
		else if (text_take_word(t, "function"))
			read_function(t);
		else if (text_take_word(t, "policy"))
			read_policy(t);
		else
			text_expected(t, "define, function, policy or include");
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
			text_file_fault(t->f, folder, t->tokens.fault_path, t->tokens.fault_reason);
		if (err != 0)
			return;
	}
}

struct policy_text *
policy_text_compile(
	const json_t *document, const char *folder, const json_t *files, struct faults *f)
{
	struct policy_text *t = calloc(1, sizeof(*t));
	unsigned before = f->count + f->lost;

	if (t == NULL) {
		faults_add(f, "", "out of memory");
		return NULL;
	}
	t->source = document;
	t->folder = folder;
	t->before = before;
	t->accept = NO_LABEL;
	t->f = f;
	t->tokens.given = files;
	t->names = json_object();
	t->expanded = json_object();
	t->document = json_object();
	t->pending = json_object();
	read_files(t, json_object_get(document, "policy_files"), folder);
	if (f->count + f->lost == before) {
		if (t->tokens.count > 0)
			read_definitions(t);
		text_expand_documents(t);
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
	text_nodes_drop(t);
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
	const struct symbol *s = text_symbol_find(t, name);

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

		/* A comment may be in any encoding. */
		if (file->path != NULL &&
			json_object_set_new_nocheck(files, file->path,
				json_stringn_nocheck(file->text, file->size)) != 0) {
			json_decref(files);
			return NULL;
		}
	}
	return files;
}
