/* SPDX-License-Identifier: BSD-3-Clause */
/* rpc.discover: the OpenRPC document (spec.open-rpc.org, 1.3), made from the tables of methods, errors and events. Main only. */
#include "control/rpc/rpc_call.h"

#include <stdio.h>
#include <string.h>

rpc_function rpc_discover;

static json_t *object_schema(const struct rpc_field *members);

/* ["import", "export"] of import|export */
static json_t *
words_json(const struct rpc_type *t)
{
	json_t *words = json_array();

	if (t->kind == RPC_FAMILY) {
		for (unsigned f = 0; f < FAMILY_COUNT; f++)
			json_array_append_new(words, json_string(family_text((enum family)f)));
		return words;
	}
	for (const char *p = t->words, *end = t->words + t->len; p < end;) {
		size_t n = strcspn(p, "|[");

		if (p + n > end)
			n = (size_t)(end - p);
		json_array_append_new(words, json_stringn(p, n));
		p += n + 1;
	}
	return words;
}

static json_t *
plain_schema(const struct rpc_type *t, const struct rpc_field *members)
{
	static const char *const names[] = {[RPC_STRING] = "string",
		[RPC_INTEGER] = "integer",
		[RPC_NUMBER] = "number",
		[RPC_BOOLEAN] = "boolean",
		[RPC_FAMILY] = "string",
		[RPC_ADDRESS] = "string",
		[RPC_PREFIX] = "string",
		[RPC_WORDS] = "string"};
	json_t *schema;

	if (t->kind == RPC_ANY)
		return json_object();
	if (t->kind == RPC_OBJECT)
		return members != NULL ? object_schema(members)
				       : json_pack("{s:s}", "type", "object");
	schema = json_pack("{s:s}", "type", names[t->kind]);
	if (t->kind == RPC_FAMILY || t->kind == RPC_WORDS)
		json_object_set_new(schema, "enum", words_json(t));
	if (t->range) {
		json_object_set_new(schema, "minimum", json_integer(t->min));
		json_object_set_new(schema, "maximum", json_integer(t->max));
	}
	return schema;
}

static void
allow_null(json_t *schema)
{
	json_t *type = json_object_get(schema, "type"), *words = json_object_get(schema, "enum");

	if (type != NULL)
		json_object_set_new(schema, "type", json_pack("[O, s]", type, "null"));
	if (words != NULL)
		json_array_append_new(words, json_null());
}

static json_t *
field_schema(const struct rpc_field *f, bool described)
{
	struct rpc_type t = rpc_type_of(f);
	json_t *schema = plain_schema(&t, f->members);

	if (t.array)
		schema = json_pack("{s:s, s:o}", "type", "array", "items", schema);
	if (t.null)
		allow_null(schema);
	if (described && f->text != NULL)
		json_object_set_new(schema, "description", json_string(f->text));
	if (f->metric != NULL)
		json_object_set_new(schema, "x-metric", json_string(f->metric));
	return schema;
}

static json_t *
object_schema(const struct rpc_field *members)
{
	json_t *properties = json_object(), *required = json_array(), *o;
	char name[RPC_NAME_MAX];

	o = json_pack("{s:s, s:o}", "type", "object", "properties", properties);
	for (const struct rpc_field *f = members; f != NULL && f->name != NULL; f++) {
		rpc_field_name(f, name);
		if (strcmp(name, "*") == 0) {
			json_object_set_new(o, "additionalProperties", field_schema(f, true));
			continue;
		}
		json_object_set_new(properties, name, field_schema(f, true));
		if (!rpc_field_optional(f))
			json_array_append_new(required, json_string(name));
	}
	if (json_array_size(required) > 0)
		json_object_set(o, "required", required);
	json_decref(required);
	return o;
}

static json_t *
params_json(const struct rpc_field *f)
{
	json_t *params = json_array();
	char name[RPC_NAME_MAX];

	for (; f != NULL && f->name != NULL; f++)
		json_array_append_new(
			params, json_pack("{s:s, s:s*, s:b, s:o}", "name", rpc_field_name(f, name),
					"description", f->text, "required", !rpc_field_optional(f),
					"schema", field_schema(f, false)));
	return params;
}

static json_t *
result_json(const struct rpc_field *f)
{
	bool value = f != NULL && f->name != NULL && f->name[0] == '\0';

	return json_pack("{s:s, s:o}", "name", "result", "schema",
		value ? field_schema(f, true) : object_schema(f));
}

static json_t *
error_json(const struct rpc_error_text *e)
{
	return json_pack("{s:i, s:s, s:s}", "code", e->code, "message", e->message, "x-description",
		e->text);
}

/* The errors of one method, including the protocol errors for invalid parameters. */
static json_t *
method_errors(const struct rpc_method *m)
{
	json_t *errors = json_array();

	for (const struct rpc_error_text *e = rpc_errors; e->message != NULL; e++) {
		bool own =
			e->code <= -32000 && e->code > -32016 && (m->errors & RPC_ERROR(e->code));

		if (own || e->code == RPC_INVALID_PARAMS || e->code == RPC_INTERNAL_ERROR ||
			(e->code == RPC_READ_ONLY && m->reads != RPC_READS))
			json_array_append_new(errors,
				json_pack("{s:i, s:s}", "code", e->code, "message", e->message));
	}
	return errors;
}

static json_t *
method_json(const struct rpc_method *m)
{
	return json_pack("{s:s, s:s, s:s*, s:s, s:o, s:o, s:o, s:b}", "name", m->name, "summary",
		m->summary != NULL ? m->summary : "", "description", m->text, "paramStructure",
		"by-name", "params", params_json(m->params), "result", result_json(m->result),
		"errors", method_errors(m), "x-reads-only", m->reads == RPC_READS);
}

/* OpenRPC has no notifications from the server: an extension, with the members of `params`. */
static json_t *
event_json(const struct rpc_topic *t)
{
	static const struct rpc_field common[] = {
		{"topic", "string", "The topic."},
		{"time", "number", "Unix seconds."},
		{0},
	};
	json_t *schema = object_schema(t->members), *add = object_schema(common);

	json_object_update(
		json_object_get(schema, "properties"), json_object_get(add, "properties"));
	if (json_object_get(schema, "required") != NULL)
		json_array_extend(
			json_object_get(schema, "required"), json_object_get(add, "required"));
	else
		json_object_set(schema, "required", json_object_get(add, "required"));
	json_decref(add);
	return json_pack(
		"{s:s, s:s, s:o}", "topic", t->topic, "description", t->text, "schema", schema);
}

json_t *
rpc_discover(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	json_t *methods = json_array(), *events = json_array(), *errors = json_object();
	char code[16];

	(void)env;
	(void)params;
	(void)call;
	for (const struct rpc_method *m = rpc_method_next(NULL); m != NULL; m = rpc_method_next(m))
		json_array_append_new(methods, method_json(m));
	for (const struct rpc_topic *t = rpc_topics; t->topic != NULL; t++)
		json_array_append_new(events, event_json(t));
	for (const struct rpc_error_text *e = rpc_errors; e->message != NULL; e++) {
		snprintf(code, sizeof(code), "E%d", -e->code);
		json_object_set_new(errors, code, error_json(e));
	}
	return json_pack("{s:s, s:{s:s, s:s}, s:o, s:{s:o}, s:o}", "openrpc", "1.3.2", "info",
		"title", "keeld", "version", KEEL_VERSION, "methods", methods, "components",
		"errors", errors, "x-events", events);
}
