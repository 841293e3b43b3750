/* SPDX-License-Identifier: BSD-3-Clause */
/* The audit trail of calls, and the method audit.list, keel-rpc(7). */
#include "control/rpc/rpc_call.h"

#include "control/apply/trail.h"
#include "control/config/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARAMS_MAX 2048 /* octets of the parameters in a line; the rest is cut off */
#define TEXT_MAX 256 /* octets of a text of the result */

/* The beginning of a dump; stops at PARAMS_MAX. */
struct cut {
	char text[PARAMS_MAX + 1];
	size_t len;
};

static int
cut_take(const char *part, size_t len, void *ctx)
{
	struct cut *c = ctx;
	size_t room = PARAMS_MAX - c->len, n = len < room ? len : room;

	memcpy(c->text + c->len, part, n);
	c->len += n;
	return len <= room ? 0 : -1;
}

/* The parameters without secrets: as they are, or the beginning of their text. */
static void
params_add(json_t *line, const json_t *params)
{
	json_t *shown = json_deep_copy(params);
	struct cut *c = calloc(1, sizeof(*c));

	/* The parameters are not checked yet: a password may be in any place. */
	config_secrets_hide_misplaced(shown);
	if (c != NULL && json_object_size(shown) > 0) {
		if (json_dump_callback(shown, cut_take, c, JSON_COMPACT | JSON_ENSURE_ASCII) == 0)
			json_object_set(line, "params", shown);
		else
			json_object_set_new(line, "params_begin", json_string(c->text));
	}
	free(c);
	json_decref(shown);
}

json_t *
rpc_audit_begin(struct rpc_user *user, const char *method, const json_t *params)
{
	json_t *line;

	if (user->key[0] != '\0')
		rpc_user_name(user);
	line = json_pack("{s:s, s:s, s:s}", "user", user->key[0] != '\0' ? user->name : "unknown",
		"from", user->from, "method", method);
	params_add(line, params);
	return line;
}

/* Numbers, truth values and short texts; the number of elements of arrays. */
static json_t *
result_brief(const json_t *result)
{
	json_t *brief = json_object(), *value;
	const char *key;

	json_object_foreach((json_t *)(uintptr_t)result, key, value)
	{
		if (json_is_array(value))
			json_object_set_new(
				brief, key, json_integer((json_int_t)json_array_size(value)));
		else if (!json_is_object(value) && json_string_length(value) <= TEXT_MAX)
			json_object_set(brief, key, value);
	}
	return brief;
}

static json_t *
error_brief(const json_t *error)
{
	const char *reason =
		json_string_value(json_object_get(json_object_get(error, "data"), "reason"));
	json_t *brief = json_pack("{s:O}", "code", json_object_get(error, "code"));

	if (reason != NULL)
		json_object_set_new(
			brief, "reason", json_stringn(reason, strnlen(reason, TEXT_MAX)));
	return brief;
}

void
rpc_audit_end(struct rpc_env *env, json_t *line, const json_t *result, const json_t *error)
{
	struct trail *t = env->apply != NULL ? apply_trail(env->apply) : NULL;

	if (error != NULL)
		json_object_set_new(line, "error", error_brief(error));
	else
		json_object_set_new(line, "result", result_brief(result));
	if (t != NULL)
		trail_add(t, line);
	else
		json_decref(line);
}

json_t *
rpc_audit_list(struct rpc_env *env, json_t *params, struct rpc_call *call)
{
	json_int_t limit = 100;
	const char *cursor = NULL;
	uint64_t before = 0, next = 0;
	json_t *answer, *list;
	char text[24], *end;

	if (!rpc_integer(params, "limit", 1, RPC_AUDIT_LIMIT_MAX, &limit, call) ||
		!rpc_string(params, "cursor", &cursor, call))
		return NULL;
	if (cursor != NULL) {
		before = strtoull(cursor, &end, 10);
		if (before == 0 || *end != '\0')
			return rpc_fail(call, RPC_INVALID_PARAMS, "/cursor",
				"\"%.64s\" is not a cursor", cursor);
	}
	list = trail_list(apply_trail(env->apply), (unsigned)limit, before, &next);
	answer = json_pack("{s:o}", "calls", list);
	if (next != 0) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)next);
		json_object_set_new(answer, "next", json_string(text));
	}
	return answer;
}
