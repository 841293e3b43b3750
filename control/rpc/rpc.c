/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/rpc/rpc.h"
#include "control/rpc/rpc_call.h"

#include "control/config/config.h"
#include "lpm/base/note_work.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The requests of one line: a single request, or a batch with one line of answers. */
struct batch {
	struct rpc_client *c;
	json_t *requests; /* of an array; NULL: single */
	size_t next; /* next request */
	char *text; /* answers of an array so far; text takes much less memory than JSON values */
	size_t len, size;
	unsigned pending;
};

struct rpc_call {
	struct batch *batch;
	json_t *id; /* NULL: a notification */
	json_t *error;
	json_t *audit; /* the line of the audit trail; NULL: the call changes nothing */
	bool deferred, holds;
	bool dispatched; /* the method runs: an answer is sent when it has returned */
	bool answered;
	json_t *result; /* with `answered` */
};

/* ---- errors ---- */

const struct rpc_error_text rpc_errors[] = {
	{RPC_PARSE_ERROR, "Parse error", "The line is not JSON."},
	{RPC_INVALID_REQUEST, "Invalid Request",
		"The value is not a JSON-RPC 2.0 request, or the request exceeds a limit: 64 MiB, "
		"64 "
		"levels; on the read-only socket and over HTTP without a token 256 KiB and 256 "
		"members in one object. The connection is closed after a request that exceeds a "
		"limit."},
	{RPC_METHOD_NOT_FOUND, "Method not found",
		"keeld has no method of this name. `rpc.discover` lists all methods."},
	{RPC_INVALID_PARAMS, "Invalid params",
		"A parameter is unknown, missing, of the wrong type or has a wrong value. "
		"`error.data.errors` names every fault; each `path` is a JSON Pointer into "
		"`params`."},
	{RPC_INTERNAL_ERROR, "Internal error",
		"keeld ran out of memory, or stops. The request had no effect."},
	{RPC_NOT_FOUND, "Not found",
		"What the request names does not exist: a peer, a group, a VRF, a policy, a job, a "
		"commit; or the scope selects no peer."},
	{RPC_CONFIGURATION, "Configuration is faulty",
		"The document has faults and was not applied. Each `path` is a JSON Pointer into "
		"the document. `error.data.elements` has for each of `errors` the elements of "
		"arrays in its path, as `config.diff`."},
	{RPC_CONFLICT, "Conflict",
		"Another commit has changed an object of the candidate since the candidate was "
		"edited. `error.data.conflicts` has each object with both values: `base` from "
		"before, `running` from the other commit, `candidate`. `config.resolve` ends "
		"all conflicts, `config.discard` drops all edits."},
	{RPC_NEEDS_FORCE, "The commit ends sessions",
		"The commit would end the sessions that `error.data.errors` names, and came with "
		"`force` false. Nothing was changed. Repeat it with `force` true."},
	{RPC_NOT_KEPT, "Routes are not kept",
		"The view `adj-in-pre` needs `keep_all_routes` for this peer and family."},
	{RPC_READ_ONLY, "This socket is read-only",
		"The method changes something and came by the read-only socket, or over HTTP "
		"without "
		"a valid token."},
	{RPC_NO_DATAPLANE, "There is no data plane",
		"keeld was started with `--no-dataplane`, or was built without a data plane."},
	{RPC_TRY_AGAIN, "Try again",
		"The request is correct, but too many requests of its kind are waiting. Repeat it "
		"later."},
	{0},
};

static const char *
code_text(int code)
{
	const struct rpc_error_text *e = rpc_errors;

	while (e->message != NULL && e->code != code)
		e++;
	return e->message != NULL ? e->message : "Error";
}

/* {code, message, data: {path, reason, errors}}; without faults no data. */
static json_t *
error_json(int code, const struct fault *fault, unsigned count)
{
	json_t *e = json_pack("{s:i, s:s}", "code", code, "message", code_text(code)), *data,
	       *errors;

	if (count == 0)
		return e;
	errors = json_array();
	for (unsigned i = 0; i < count; i++)
		json_array_append_new(errors,
			json_pack("{s:s, s:s}", "path", fault[i].path, "reason", fault[i].reason));
	data = json_pack("{s:s, s:s, s:o}", "path", fault[0].path, "reason", fault[0].reason,
		"errors", errors);
	json_object_set_new(e, "data", data);
	return e;
}

json_t *
rpc_fail(struct rpc_call *call, int code, const char *path, const char *fmt, ...)
{
	char reason[512];
	char where[256];
	struct fault fault = {where, reason};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	snprintf(where, sizeof(where), "%s", path);
	if (code == RPC_INVALID_PARAMS &&
		json_integer_value(json_object_get(call->error, "code")) == code) {
		json_array_append_new(
			json_object_get(json_object_get(call->error, "data"), "errors"),
			json_pack("{s:s, s:s}", "path", where, "reason", reason));
		return NULL;
	}
	json_decref(call->error);
	call->error = error_json(code, &fault, 1);
	return NULL;
}

json_t *
rpc_fail_data(struct rpc_call *call, const char *key, json_t *value)
{
	json_object_set_new(json_object_get(call->error, "data"), key, value);
	return NULL;
}

json_t *
rpc_fail_faults(struct rpc_call *call, int code, const struct faults *f)
{
	json_decref(call->error);
	call->error = error_json(code, f->fault, f->count);
	return NULL;
}

json_t *
rpc_fail_document(struct rpc_call *call, int code, const struct faults *f, json_t *document)
{
	json_t *elements = json_array();

	for (unsigned i = 0; i < f->count; i++)
		json_array_append_new(elements, config_elements(document, f->fault[i].path));
	rpc_fail_faults(call, code, f);
	return rpc_fail_data(call, "elements", elements);
}

/* ---- calls ---- */

static void
client_send(struct rpc_client *c, const json_t *value)
{
	char *text = c->closed ? NULL : json_dumps(value, JSON_COMPACT);

	if (text != NULL)
		c->ops->send(c, text, strlen(text));
	else
		c->ops->cut(c);
	free(text);
}

static void
batch_end(struct batch *b)
{
	struct rpc_client *c = b->c;

	if (b->pending > 0)
		return;
	if (b->len > 0) {
		b->text[b->len] = ']'; /* text_append() left room */
		c->ops->send(c, b->text, b->len + 1);
	}
	json_decref(b->requests);
	free(b->text);
	free(b);
	c->pending--;
}

/* False: too long, or out of memory. */
static bool
text_append(struct batch *b, const char *text, size_t len)
{
	size_t need = b->len + len + 2;

	if (need > b->c->bounds->answer)
		return false;
	if (need > b->size) {
		size_t size = need < 2 * b->size ? 2 * b->size : need;
		char *p = realloc(b->text, size);

		if (p == NULL)
			return false;
		b->text = p;
		b->size = size;
	}
	b->text[b->len] = b->len == 0 ? '[' : ',';
	memcpy(b->text + b->len + 1, text, len);
	b->len += len + 1;
	return true;
}

static void
batch_answer(struct batch *b, json_t *answer)
{
	char *text = NULL;

	if (b->requests == NULL) {
		client_send(b->c, answer);
	} else if (!b->c->closed) {
		text = json_dumps(answer, JSON_COMPACT);
		if (text == NULL || !text_append(b, text, strlen(text)))
			b->c->ops->cut(b->c);
	}
	free(text);
	json_decref(answer);
}

static json_t *
answer_json(json_t *id, json_t *result, json_t *error)
{
	json_t *a = json_pack("{s:s}", "jsonrpc", "2.0");

	if (error != NULL)
		json_object_set_new(a, "error", error);
	else
		json_object_set_new(a, "result", result);
	if (id != NULL)
		json_object_set(a, "id", id);
	else
		json_object_set_new(a, "id", json_null());
	return a;
}

/* Gives the line to the audit trail, so that it is listed before the client can see the answer. */
static void
call_audit(struct rpc_call *call, const json_t *result) RUNS_ON(role_main)
{
	if (call->audit != NULL)
		rpc_audit_end(&call->batch->c->rpc->env, call->audit, result, call->error);
	call->audit = NULL;
}

static void
call_count(const struct rpc_call *call, bool answered)
{
	struct rpc_env *env = &call->batch->c->rpc->env;

	env->calls_answered += answered && !call->batch->c->uncounted;
	env->calls_refused += !answered && !call->batch->c->uncounted;
}

static void
call_free(struct rpc_call *call)
{
	struct batch *b = call->batch;

	b->c->held -= call->holds;
	b->pending--;
	json_decref(call->error);
	json_decref(call->id);
	free(call);
}

/* Ends a call: answers unless it is a notification. */
static void
call_end(struct rpc_call *call, json_t *result) RUNS_ON(role_main)
{
	struct batch *b = call->batch;

	if (result == NULL && call->error == NULL)
		call->error = error_json(RPC_INTERNAL_ERROR,
			&(struct fault){(char[]){""}, (char[]){"out of memory"}}, 1);
	call_audit(call, result);
	call_count(call, result != NULL);
	if (call->id != NULL)
		batch_answer(b, answer_json(call->id, result,
					result == NULL ? json_incref(call->error) : NULL));
	else
		json_decref(result);
	call_free(call);
}

/* As answer_json() with a result, but as text. The caller frees the text; NULL: out of memory. */
static char *
answer_text(const json_t *id, const char *result)
{
	char *id_text = json_dumps(id, JSON_COMPACT | JSON_ENCODE_ANY), *text = NULL;

	if (id_text == NULL || asprintf(&text, "{\"jsonrpc\":\"2.0\",\"result\":%s,\"id\":%s}",
				       result, id_text) < 0)
		text = NULL;
	free(id_text);
	return text;
}

json_t *
rpc_defer(struct rpc_call *call)
{
	call->deferred = true;
	return NULL;
}

json_t *
rpc_hold(struct rpc_call *call)
{
	call->holds = true;
	call->batch->c->held++;
	return rpc_defer(call);
}

/*
 * A batch that waited for a held call continues in a new turn: the answer may be sent within another client's request (apply_commit_finish()), and the
 * next request of the batch must not run there. Without a next request the batch ends at once: at the end of keeld there is no new turn. A batch at the
 * end of a turn is continued by the timer of the connection.
 */
static void
reply_end(struct batch *b, bool held) RUNS_ON(role_main)
{
	struct rpc_client *c = b->c;

	if (!held || c->running != b)
		batch_end(b);
	else if (b->next == json_array_size(b->requests) || !c->ops->later(c))
		rpc_batch_run(b);
	c->ops->settle(c);
}

void
rpc_reply(struct rpc_call *call, json_t *result)
{
	struct batch *b = call->batch;
	bool held = call->holds;

	if (call->dispatched) {
		call->answered = true;
		call->result = result;
		return;
	}
	call_end(call, result);
	reply_end(b, held);
}

void
rpc_reply_text(struct rpc_call *call, const char *result)
{
	struct batch *b = call->batch;
	char *text = call->id != NULL && !b->c->closed ? answer_text(call->id, result) : NULL;
	bool held = call->holds;

	call_audit(call, NULL);
	call_count(call, true);
	if (text == NULL && call->id != NULL && !b->c->closed)
		b->c->ops->cut(b->c);
	else if (text != NULL && b->requests == NULL)
		b->c->ops->send(b->c, text, strlen(text));
	else if (text != NULL && !text_append(b, text, strlen(text)))
		b->c->ops->cut(b->c);
	free(text);
	call_free(call);
	reply_end(b, held);
}

const struct rpc_method *
rpc_method_next(const struct rpc_method *m)
{
	static const struct rpc_method *const tables[] = {rpc_config_methods, rpc_bgp_methods,
		rpc_preview_methods, rpc_rib_methods, rpc_fate_methods, rpc_history_methods,
		rpc_trace_methods, rpc_mrt_methods, rpc_vrf_methods, rpc_fib_methods,
		rpc_rpki_methods, rpc_control_methods, rpc_own_methods};
	const unsigned count = sizeof(tables) / sizeof(tables[0]);
	unsigned t = 0;

	if (m != NULL && (++m)->name != NULL)
		return m;
	/* `m` is the end of a table: find the table. */
	for (; m != NULL && t < count; t++) {
		const struct rpc_method *end = tables[t];

		while (end->name != NULL)
			end++;
		if (end == m) {
			t++;
			break;
		}
	}
	for (; t < count; t++) {
		if (tables[t]->name != NULL)
			return tables[t];
	}
	return NULL;
}

static const struct rpc_method *
method_find(const char *name)
{
	const struct rpc_method *m = NULL;

	while ((m = rpc_method_next(m)) != NULL && strcmp(m->name, name) != 0)
		;
	return m;
}

static bool
changes(const struct rpc_method *m, const json_t *params)
{
	return m->reads == RPC_CHANGES || (m->reads == RPC_READS_UNLESS_FORCE &&
						  json_is_true(json_object_get(params, "force")));
}

static json_t *
dispatch(struct rpc_env *env, json_t *request, struct rpc_call *call) RUNS_ON(role_main)
{
	json_t *params = json_object_get(request, "params");
	const char *name = json_string_value(json_object_get(request, "method"));
	const struct rpc_method *m = method_find(name);
	json_t *none = NULL, *result = NULL;

	if (m == NULL) {
		call->error = error_json(RPC_METHOD_NOT_FOUND, NULL, 0);
		return NULL;
	}
	if (call->batch->c->read_only && (changes(m, params) || m->reads == RPC_READS_FOR_CHANGERS))
		return rpc_fail(call, RPC_READ_ONLY, "", "read-only");
	if (params != NULL && !json_is_object(params))
		return rpc_fail(
			call, RPC_INVALID_PARAMS, "", "must be an object: parameters go by name");
	if (params == NULL)
		params = none = json_object();
	note_work(m->name);
	if (changes(m, params))
		call->audit = rpc_audit_begin(&call->batch->c->user, m->name, params);
	if (rpc_params_check(m, params, call))
		result = m->fn(env, params, call);
	note_work("answers to RPC");
	json_decref(none);
	return result;
}

const struct apply_user *
rpc_user(const struct rpc_call *call, struct apply_user *buf)
{
	struct rpc_user *user = call->batch != NULL ? &call->batch->c->user : NULL;

	if (user == NULL || user->key[0] == '\0')
		return NULL;
	rpc_user_name(user);
	*buf = (struct apply_user){user->key, user->name};
	return buf;
}

struct rpc_client *
rpc_call_client(const struct rpc_call *call)
{
	return call->batch->c;
}

/* Checks a request object (JSON-RPC 2.0 section 4). NULL: valid; else the fault. */
static const char *
request_fault(const json_t *r)
{
	const json_t *version = json_object_get(r, "jsonrpc"), *id = json_object_get(r, "id");
	const json_t *params = json_object_get(r, "params");

	if (!json_is_object(r))
		return "a request must be an object";
	if (!json_is_string(version) || strcmp(json_string_value(version), "2.0") != 0)
		return "\"jsonrpc\" must be \"2.0\"";
	if (!json_is_string(json_object_get(r, "method")))
		return "\"method\" must be a string";
	if (id != NULL && !json_is_string(id) && !json_is_number(id) && !json_is_null(id))
		return "\"id\" must be a string, a number or null";
	if (params != NULL && !json_is_object(params) && !json_is_array(params))
		return "\"params\" must be an object or an array";
	return NULL;
}

static void
handle_one(struct batch *b, json_t *request) RUNS_ON(role_main)
{
	const char *fault = request_fault(request);
	json_t *id = json_object_get(request, "id");
	struct rpc_call *call;
	json_t *result;

	if (fault != NULL) {
		struct fault f = {(char[]){""}, (char *)(uintptr_t)fault};
		bool id_good = json_is_string(id) || json_is_number(id);

		batch_answer(b, answer_json(id_good ? id : NULL, NULL,
					error_json(RPC_INVALID_REQUEST, &f, 1)));
		return;
	}
	call = calloc(1, sizeof(*call));
	if (call == NULL)
		return;
	call->batch = b;
	call->id = json_incref(id);
	b->pending++;
	call->dispatched = true;
	result = dispatch(&b->c->rpc->env, request, call);
	call->dispatched = false;
	if (result != NULL || !call->deferred || call->answered)
		call_end(call, call->answered ? call->result : result);
}

static void
send_error(struct rpc_client *c, int code, const char *reason)
{
	struct fault f = {(char[]){""}, (char *)(uintptr_t)reason};
	json_t *a = answer_json(NULL, NULL, error_json(code, &f, reason != NULL ? 1 : 0));

	client_send(c, a);
	json_decref(a);
}

/*
 * Checks the nesting and the members of objects before the parser allocates values. Returns why the text must not be parsed; NULL: parse the
 * text. The parser refuses invalid JSON.
 */
static const char *
text_fault(const char *text, size_t len, unsigned levels, unsigned members)
{
	unsigned depth = 0, count[RPC_DEPTH_MAX + 2] = {0}; /* colons, by level */
	bool string = false;

	for (size_t i = 0; i < len; i++) {
		if (string) {
			if (text[i] == '\\')
				i++;
			else if (text[i] == '"')
				string = false;
		} else if (text[i] == '"') {
			string = true;
		} else if (text[i] == '{' || text[i] == '[') {
			if (++depth > levels)
				return "nested deeper than 64 levels";
			count[depth] = 0;
		} else if ((text[i] == '}' || text[i] == ']') && depth > 0) {
			depth--;
		} else if (text[i] == ':' && ++count[depth] > members && members > 0) {
			return "more than 256 members in one object";
		}
	}
	return NULL;
}

void
rpc_line_refused(struct rpc_client *c, const char *reason)
{
	send_error(c, RPC_INVALID_REQUEST, reason);
}

void
rpc_batch_run(struct batch *b)
{
	struct rpc_client *c = b->c;
	size_t count = json_array_size(b->requests);

	c->running = b;
	while (b->next < count && !c->closed) {
		handle_one(b, json_array_get(b->requests, b->next++));
		if (c->held > 0)
			return; /* reply_end() continues */
		if (b->next < count && c->ops->turn_over(c))
			return;
	}
	c->running = NULL;
	b->pending--;
	batch_end(b);
}

static void
handle_value(struct rpc_client *c, json_t *value) RUNS_ON(role_main)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return;
	b->c = c;
	c->pending++;
	b->pending = 1; /* the loop below holds the batch */
	if (json_is_array(value)) {
		b->requests = json_incref(value);
		rpc_batch_run(b);
		return;
	}
	handle_one(b, value);
	b->pending--;
	batch_end(b);
}

bool
rpc_line(struct rpc_client *c, const char *line, size_t len)
{
	json_error_t error;
	json_t *value;
	const char *fault;

	while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' ' || line[len - 1] == '\t'))
		len--;
	while (len > 0 && (*line == ' ' || *line == '\t')) {
		line++;
		len--;
	}
	if (len == 0)
		return true;
	/* the request object is level 1, also within a batch */
	fault = text_fault(line, len, RPC_DEPTH_MAX + (*line == '['), c->bounds->members);
	if (fault != NULL) {
		rpc_line_refused(c, fault);
		return false;
	}
	value = json_loadb(line, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
	if (value == NULL) {
		send_error(c, RPC_PARSE_ERROR, NULL);
		return true;
	}
	if (json_is_array(value) && json_array_size(value) == 0)
		send_error(c, RPC_INVALID_REQUEST, "an empty batch");
	else
		handle_value(c, value);
	json_decref(value);
	return true;
}
