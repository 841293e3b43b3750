/* SPDX-License-Identifier: BSD-3-Clause */
/* rpc.discover: the OpenRPC document (spec.open-rpc.org, 1.3), made of the table that dispatches. */
#include "control/rpc/rpc_call.h"

#include <string.h>

rpc_function rpc_discover;

static const char *const plain_types[] = {
	"string", "integer", "number", "boolean", "object", "array"};

static json_t *
schema_families(void)
{
	json_t *words = json_array();

	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		json_array_append_new(words, json_string(family_text((enum family)f)));
	return json_pack("{s:s, s:o}", "type", "string", "enum", words);
}

/* import|export */
static json_t *
schema_words(const char *type, size_t len)
{
	json_t *words = json_array();

	for (const char *end = type + len; type < end;) {
		size_t n = strcspn(type, "| ");

		json_array_append_new(words, json_stringn(type, n));
		type += n + 1;
	}
	return json_pack("{s:s, s:o}", "type", "string", "enum", words);
}

static json_t *
schema_of(const struct rpc_word *w)
{
	json_int_t min, max;

	for (unsigned i = 0; i < sizeof(plain_types) / sizeof(plain_types[0]); i++) {
		if (w->type_len == strlen(plain_types[i]) &&
			memcmp(w->type, plain_types[i], w->type_len) == 0)
			return json_pack("{s:s}", "type", plain_types[i]);
	}
	if (w->type_len == 0 || (w->type_len == 3 && memcmp(w->type, "any", 3) == 0))
		return json_object();
	if (w->type_len == 6 && memcmp(w->type, "family", 6) == 0)
		return schema_families();
	if ((w->type_len == 7 && memcmp(w->type, "address", 7) == 0) ||
		(w->type_len == 6 && memcmp(w->type, "prefix", 6) == 0))
		return json_pack("{s:s}", "type", "string");
	if (rpc_word_range(w, &min, &max))
		return json_pack(
			"{s:s, s:I, s:I}", "type", "integer", "minimum", min, "maximum", max);
	return schema_words(w->type, w->type_len);
}

static json_t *
params_json(const char *list)
{
	json_t *params = json_array();
	struct rpc_word w;

	while (rpc_word_next(&list, &w))
		json_array_append_new(
			params, json_pack("{s:s, s:b, s:o}", "name", w.name, "required",
					w.mark == '!', "schema", schema_of(&w)));
	return params;
}

static json_t *
object_schema(const char *list)
{
	json_t *properties = json_object(), *required = json_array(), *o;
	struct rpc_word w;

	while (rpc_word_next(&list, &w)) {
		json_object_set_new(properties, w.name, schema_of(&w));
		if (w.mark != '?')
			json_array_append_new(required, json_string(w.name));
	}
	o = json_pack("{s:s, s:o}", "type", "object", "properties", properties);
	if (json_array_size(required) > 0)
		json_object_set(o, "required", required);
	json_decref(required);
	return o;
}

static json_t *
result_json(const char *list)
{
	json_t *schema;

	if (list == NULL)
		list = "";
	if (strncmp(list, "[]", 2) == 0)
		schema = json_pack("{s:s, s:o}", "type", "array", "items", object_schema(list + 2));
	else
		schema = object_schema(list);
	return json_pack("{s:s, s:o}", "name", "result", "schema", schema);
}

json_t *
rpc_discover(struct keeld *k, json_t *params, struct rpc_call *call)
{
	json_t *methods = json_array();

	(void)k;
	(void)params;
	(void)call;
	for (const struct rpc_method *m = rpc_method_next(NULL); m != NULL; m = rpc_method_next(m))
		json_array_append_new(methods,
			json_pack("{s:s, s:s, s:s, s:o, s:o, s:b}", "name", m->name, "summary",
				m->summary != NULL ? m->summary : "", "paramStructure", "by-name",
				"params", params_json(m->params), "result", result_json(m->result),
				"x-reads-only", m->reads == RPC_READS));
	return json_pack("{s:s, s:{s:s, s:s}, s:o}", "openrpc", "1.3.2", "info", "title", "keeld",
		"version", KEEL_VERSION, "methods", methods);
}
