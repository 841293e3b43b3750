/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dispatch, batches, both sockets and events, on a thread like main, with methods of this test in
 * the tables: methods that answer late, too late, or never, and a discover document that must list
 * all methods. Real methods are tested in tests/interop/test_rpc.py.
 */
#include "control/rpc/rpc.h"
#include "control/rpc/rpc_call.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 300000

/* ---- methods ---- */

static struct rpc_call *deferred[64];
static unsigned deferred_count;
static _Atomic unsigned calls;
static json_t *alarms; /* result of rpc_alarms(); owned by the thread */

static json_t *
echo(struct rpc_env *env, json_t *params, struct rpc_call *call)
{
	(void)env;
	(void)call;
	atomic_fetch_add(&calls, 1);
	return json_deep_copy(params);
}

static json_t *
late(struct rpc_env *env, json_t *params, struct rpc_call *call)
{
	(void)env;
	(void)params;
	deferred[deferred_count++] = call;
	atomic_fetch_add(&calls, 1);
	return rpc_defer(call);
}

static json_t *
faulty(struct rpc_env *env, json_t *params, struct rpc_call *call)
{
	(void)env;
	(void)params;
	return rpc_fail(call, RPC_NOT_FOUND, "/a", "there is no %d", 7);
}

static json_t *
twice(struct rpc_env *env, json_t *params, struct rpc_call *call)
{
	(void)env;
	(void)params;
	rpc_fail(call, RPC_INVALID_PARAMS, "/a", "is wrong");
	return rpc_fail(call, RPC_INVALID_PARAMS, "/b", "is wrong, too");
}

/* No answer: out of memory. */
static json_t *
silent(struct rpc_env *env, json_t *params, struct rpc_call *call)
{
	(void)env;
	(void)params;
	(void)call;
	return NULL;
}

static const struct rpc_field echo_params[] = {
	{"a", "integer"}, {"b?", "string"}, {"c?", "import|export"}, {"f?", "family"}, {0}};
static const struct rpc_field echo_result[] = {{"a", "integer"}, {"b?", "string"}, {0}};
static const struct rpc_field typed_params[] = {{"range", "integer=1..10"}, {"address?", "address"},
	{"prefix?", "prefix"}, {"boolean?", "boolean"}, {"object?", "object"}, {"array?", "any[]"},
	{"number?", "number"}, {"any?", "any"}, {0}};
static const struct rpc_field late_result[] = {{"done", "boolean"}, {0}};
static const struct rpc_field force_params[] = {{"force?", "boolean"}, {0}};
static const struct rpc_field item_fields[] = {{"x", "any"}, {0}};
static const struct rpc_field array_result[] = {{"", "object[]", NULL, item_fields}, {0}};

const struct rpc_method rpc_config_methods[] = {
	{"echo", echo, echo_params, echo_result, "Says it back", NULL, RPC_READS, 0},
	{"typed", echo, typed_params, NULL, "Every type", NULL, RPC_READS, 0},
	{"twice", twice, NULL, NULL, "Fails twice", NULL, RPC_READS, 0}, {0}};
const struct rpc_method rpc_bgp_methods[] = {{0}};
const struct rpc_method rpc_preview_methods[] = {
	{"late", late, NULL, late_result, "Answers later", NULL, RPC_READS, 0}, {0}};
const struct rpc_method rpc_rib_methods[] = {
	{"change", echo, force_params, NULL, "Changes something", NULL, RPC_CHANGES, 0},
	{"force", echo, force_params, NULL, "Changes something by force", NULL,
		RPC_READS_UNLESS_FORCE, 0},
	{0}};
const struct rpc_method rpc_control_methods[] = {{0}};
const struct rpc_method rpc_vrf_methods[] = {{0}};
const struct rpc_method rpc_fate_methods[] = {{0}};
const struct rpc_method rpc_history_methods[] = {{0}};
const struct rpc_method rpc_trace_methods[] = {{0}};
const struct rpc_method rpc_mrt_methods[] = {{0}};
const struct rpc_method rpc_rpki_methods[] = {{0}};
const struct rpc_method rpc_fib_methods[] = {
	{"faulty", faulty, NULL, array_result, "Fails", NULL, RPC_READS, RPC_ERROR(RPC_NOT_FOUND)},
	{"silent", silent, NULL, NULL, "Fails without a word", NULL, RPC_READS, 0}, {0}};

void
rpc_preview_end(struct rpc_env *env)
{
	(void)env;
}

void
rpc_peers_end(struct rpc_env *env)
{
	(void)env;
}

void
rpc_traces_end(struct rpc_env *env)
{
	(void)env;
}

void
rpc_traces_leave(struct rpc_env *env, const struct rpc_client *c)
{
	(void)env;
	(void)c;
}

void
rpc_mrt_end(struct rpc_env *env)
{
	(void)env;
}

void
rpc_audits_end(struct rpc_env *env)
{
	(void)env;
}

void
rpc_http_start(struct rpc *r)
{
	(void)r;
}

void
rpc_http_end(struct rpc *r)
{
	(void)r;
}

json_t *
rpc_alarms(struct rpc_env *env)
{
	(void)env;
	return json_deep_copy(alarms);
}

/* ---- a daemon with a single thread ---- */

static struct {
	struct thread *thread;
	struct rpc *rpc;
	char path[64], read_only[72];
} d;

static int
start(void *ctx, struct thread *self)
{
	static const struct layers none;
	struct rpc_config c = {.socket = d.path, .layers = &none};
	int err;

	(void)ctx;
	role_enter_main();
	alarms = json_array();
	err = rpc_create(&c, &d.rpc);
	return err == 0 ? rpc_start(d.rpc, self) : err;
}

static void
stop(void *ctx)
{
	(void)ctx;
	rpc_destroy(d.rpc);
	json_decref(alarms);
}

static int
set_up(void **state)
{
	struct thread_config c = {.name = "rpc", .start = start, .stop = stop};

	(void)state;
	snprintf(d.path, sizeof(d.path), "/tmp/keel-test-rpc-%d", (int)getpid());
	snprintf(d.read_only, sizeof(d.read_only), "%s.ro", d.path);
	deferred_count = 0;
	atomic_store(&calls, 0);
	return thread_create(&c, &d.thread);
}

static int
tear_down(void **state)
{
	(void)state;
	thread_end(d.thread);
	thread_free(d.thread);
	assert_int_equal(access(d.path, F_OK), -1);
	assert_int_equal(access(d.read_only, F_OK), -1);
	return 0;
}

/* Runs a function on the daemon's thread and waits for its end. */
struct errand {
	void (*fn)(void *arg);
	void *arg;
	_Atomic bool done;
};

static void
errand_run(void *arg)
{
	struct errand *e = arg;

	role_enter_main();
	e->fn(e->arg);
	atomic_store(&e->done, true);
}

static void
there(void (*fn)(void *arg), void *arg)
{
	struct errand e = {.fn = fn, .arg = arg};

	assert_int_equal(thread_post(d.thread, errand_run, &e), 0);
	for (unsigned ms = 0; !atomic_load(&e.done); ms++) {
		assert_true(ms < PATIENCE_MS);
		poll(NULL, 0, 1);
	}
}

/* ---- a client ---- */

struct client {
	int fd;
	char *in;
	size_t len, size;
};

static struct client
client_open(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct client c = {.fd = socket(AF_UNIX, SOCK_STREAM, 0)};

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	assert_int_equal(connect(c.fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return c;
}

static void
client_close(struct client *c)
{
	close(c->fd);
	free(c->in);
	*c = (struct client){.fd = -1};
}

static void
say(struct client *c, const char *text)
{
	assert_int_equal(send(c->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	assert_int_equal(send(c->fd, "\n", 1, MSG_NOSIGNAL), 1);
}

/* The next line; NULL: the connection ended. */
static json_t *
hear(struct client *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	char *end;
	ssize_t n;
	json_t *v;

	while (c->len == 0 || (end = memchr(c->in, '\n', c->len)) == NULL) {
		if (c->size - c->len < 4096)
			c->in = realloc(c->in, c->size += 65536);
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		n = recv(c->fd, c->in + c->len, c->size - c->len, 0);
		if (n <= 0)
			return NULL;
		c->len += (size_t)n;
	}
	v = json_loadb(c->in, (size_t)(end - c->in), JSON_DECODE_ANY, NULL);
	assert_non_null(v);
	c->len -= (size_t)(end + 1 - c->in);
	memmove(c->in, end + 1, c->len);
	return v;
}

static void
heard(struct client *c, const char *expected)
{
	json_t *v = hear(c), *e = json_loads(expected, JSON_DECODE_ANY, NULL);
	char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

	assert_non_null(e);
	if (!json_equal(v, e))
		fail_msg("heard %s instead of %s", text, expected);
	free(text);
	json_decref(v);
	json_decref(e);
}

static int
code_of(const json_t *answer)
{
	return (int)json_integer_value(json_object_get(json_object_get(answer, "error"), "code"));
}

static void
heard_error(struct client *c, int code)
{
	json_t *v = hear(c);

	assert_int_equal(code_of(v), code);
	json_decref(v);
}

/*
 * Expects -32602 with these faults, one line "PATH REASON" each; the first fault is also the
 * message of the answer.
 */
static void
heard_faults(struct client *c, const char *faults)
{
	json_t *v = hear(c), *e;
	const json_t *data = json_object_get(json_object_get(v, "error"), "data");
	char text[2048] = "", first[512];
	size_t i, at = 0;

	assert_int_equal(code_of(v), RPC_INVALID_PARAMS);
	snprintf(first, sizeof(first), "%s %s\n", json_string_value(json_object_get(data, "path")),
		json_string_value(json_object_get(data, "reason")));
	json_array_foreach(json_object_get(data, "errors"), i, e)
	{
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s %s\n",
			json_string_value(json_object_get(e, "path")),
			json_string_value(json_object_get(e, "reason")));
		assert_true(at < sizeof(text));
	}
	assert_string_equal(text, faults);
	assert_memory_equal(text, first, strlen(first));
	json_decref(v);
}

#define CALL(method, params)                                                                       \
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"" method "\",\"params\":" params "}"

/* ---- tests ---- */

static void
test_dispatch(void **state)
{
	struct client c = client_open(d.path);

	(void)state;
	say(&c, CALL("echo", "{\"a\":5}"));
	heard(&c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":5}}");
	say(&c, CALL("echo", "{}"));
	heard_error(&c, RPC_INVALID_PARAMS);
	say(&c, CALL("echo", "{\"a\":5,\"import|export\":1}"));
	heard_error(&c, RPC_INVALID_PARAMS);
	say(&c, CALL("echo", "{\"x\":1,\"y/\":2,\"b\":\"\"}")); /* all faults, not only the first */
	heard(&c,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32602,\"message\":\"Invalid "
		"params\",\"data\":{\"path\":\"/x\",\"reason\":\"echo has no parameter \\\"x\\\"\","
		"\"errors\":[{\"path\":\"/x\",\"reason\":\"echo has no parameter \\\"x\\\"\"},"
		"{\"path\":\"/y~1\",\"reason\":\"echo has no parameter \\\"y/\\\"\"},"
		"{\"path\":\"/a\",\"reason\":\"is missing\"}]}}}");
	say(&c, CALL("echo", "{\"a\":\"5\",\"b\":5,\"c\":\"sideways\",\"f\":\"ipv9\",\"g\":1}"));
	heard_faults(&c,
		"/g echo has no parameter \"g\"\n/a is not an integer\n/b is not a string\n"
		"/c \"sideways\" is not one of import, export\n/f \"ipv9\" is not an address "
		"family; expected ipv4-unicast, "
		"ipv6-unicast, vpnv4-unicast or vpnv6-unicast\n");
	say(&c, CALL("typed",
			"{\"rang\":11,\"address\":\"192.0.2.300\",\"prefix\":\"192.0.2.1/24\","
			"\"boolean\":1,\"object\":[],\"array\":{},\"number\":\"1\"}"));
	heard_faults(&c,
		"/rang typed has no parameter \"rang\"; did you mean \"range\"?\n/range is "
		"missing\n"
		"/address \"192.0.2.300\" is not an IP address\n"
		"/prefix \"192.0.2.1/24\" has bits set beyond its length (host bits)\n"
		"/boolean is not true or false\n/object is not an object\n/array is not an array\n"
		"/number is not a number\n");
	say(&c, CALL("typed", "{\"range\":11}"));
	heard_faults(&c, "/range is not an integer from 1 to 10\n");
	say(&c, CALL("typed", "{\"range\":0}"));
	heard_faults(&c, "/range is not an integer from 1 to 10\n");
	say(&c, CALL("typed", "{\"range\":1.5,\"prefix\":\"x\"}"));
	heard_faults(&c, "/range is not an integer from 1 to 10\n/prefix \"x\" is not a prefix; "
			 "expected ADDRESS/LENGTH\n");
	say(&c, CALL("typed", "{\"range\":10,\"address\":\"fe80::1%nowhere\",\"any\":null}"));
	heard(&c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"range\":10,\"address\":\"fe80::1%"
		  "nowhere\","
		  "\"any\":null}}");
	say(&c, CALL("twice", "{}")); /* faults found by the method itself */
	heard_faults(&c, "/a is wrong\n/b is wrong, too\n");
	say(&c, CALL("faulty", "{}"));
	heard(&c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32004,\"message\":\"Not "
		  "found\",\"data\":{\"path\":\"/a\","
		  "\"reason\":\"there is no 7\",\"errors\":[{\"path\":\"/a\",\"reason\":\"there is "
		  "no 7\"}]}}}");
	say(&c, CALL("silent", "{}"));
	heard_error(&c, RPC_INTERNAL_ERROR);
	say(&c, CALL("", "{}"));
	heard_error(&c, RPC_METHOD_NOT_FOUND);
	client_close(&c);
}

static void
test_read_only(void **state)
{
	struct client c = client_open(d.read_only);

	(void)state;
	say(&c, CALL("echo", "{\"a\":1}"));
	json_decref(hear(&c));
	say(&c, CALL("change", "{}"));
	heard_error(&c, RPC_READ_ONLY);
	say(&c, CALL("change", "{\"x\":1}")); /* read-only wins over other errors */
	heard_error(&c, RPC_READ_ONLY);
	say(&c, CALL("force", "{\"force\":true}"));
	heard_error(&c, RPC_READ_ONLY);
	say(&c, "[{\"jsonrpc\":\"2.0\",\"method\":\"change\"}," CALL("echo", "{\"a\":1}") "]");
	json_decref(hear(&c));
	assert_int_equal(atomic_load(&calls), 2);
	say(&c, CALL("force", "{\"force\":false}"));
	heard(&c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"force\":false}}");
	client_close(&c);
}

/*
 * Every method of every table, with an empty table in between; parameters and results as
 * documented.
 */
static void
test_discover(void **state)
{
	static const char *const names[] = {"echo", "typed", "twice", "late", "change", "force",
		"faulty", "silent", "events.subscribe", "events.unsubscribe", "rpc.discover"};
	struct client c = client_open(d.path);
	json_t *answer, *methods, *expected;

	(void)state;
	say(&c, CALL("rpc.discover", "{}"));
	answer = hear(&c);
	methods = json_object_get(json_object_get(answer, "result"), "methods");
	assert_int_equal(json_array_size(methods), sizeof(names) / sizeof(names[0]));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_string_equal(
			json_string_value(json_object_get(json_array_get(methods, i), "name")),
			names[i]);
	expected =
		json_loads("[{\"name\":\"a\",\"required\":true,\"schema\":{\"type\":\"integer\"}},"
			   "{\"name\":\"b\",\"required\":false,\"schema\":{\"type\":\"string\"}},"
			   "{\"name\":\"c\",\"required\":false,\"schema\":{\"type\":\"string\","
			   "\"enum\":[\"import\",\"export\"]}},"
			   "{\"name\":\"f\",\"required\":false,\"schema\":{\"type\":\"string\","
			   "\"enum\":[\"ipv4-unicast\",\"ipv6-unicast\","
			   "\"vpnv4-unicast\",\"vpnv6-unicast\"]}}]",
			0, NULL);
	assert_true(json_equal(json_object_get(json_array_get(methods, 0), "params"), expected));
	json_decref(expected);
	expected =
		json_loads("{\"name\":\"range\",\"required\":true,\"schema\":{\"type\":\"integer\","
			   "\"minimum\":1,\"maximum\":10}}",
			0, NULL);
	assert_true(
		json_equal(json_array_get(json_object_get(json_array_get(methods, 1), "params"), 0),
			expected));
	json_decref(expected);
	expected = json_loads("{\"name\":\"result\",\"schema\":{\"type\":\"object\",\"properties\":"
			      "{\"a\":{\"type\":\"integer\"},"
			      "\"b\":{\"type\":\"string\"}},\"required\":[\"a\"]}}",
		0, NULL);
	assert_true(json_equal(json_object_get(json_array_get(methods, 0), "result"), expected));
	json_decref(expected);
	assert_string_equal(
		json_string_value(json_object_get(
			json_object_get(
				json_object_get(json_array_get(methods, 6), "result"), "schema"),
			"type")),
		"array");
	expected = json_loads("[{\"code\":-32602,\"message\":\"Invalid params\"},"
			      "{\"code\":-32603,\"message\":\"Internal error\"},"
			      "{\"code\":-32004,\"message\":\"Not found\"}]",
		0, NULL);
	assert_true(json_equal(json_object_get(json_array_get(methods, 6), "errors"), expected));
	json_decref(expected);
	json_decref(answer);
	client_close(&c);
}

static void
reply(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < deferred_count; i++)
		rpc_reply(deferred[i], json_pack("{s:b}", "done", 1));
	deferred_count = 0;
}

static void
wait_calls(unsigned n)
{
	for (unsigned ms = 0; atomic_load(&calls) < n; ms++) {
		assert_true(ms < PATIENCE_MS);
		poll(NULL, 0, 1);
	}
}

/*
 * A late answer does not delay other requests of the connection; a batch waits for its own answers.
 */
static void
test_late(void **state)
{
	struct client c = client_open(d.path), gone = client_open(d.path);
	json_t *answer;

	(void)state;
	say(&c, CALL("late", "{}"));
	say(&c, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"echo\",\"params\":{\"a\":2}}");
	heard(&c, "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"a\":2}}");
	there(reply, NULL);
	heard(&c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"done\":true}}");
	say(&c, "[" CALL("late", "{}") "," CALL("echo",
			"{\"a\":3}") ",{\"jsonrpc\":\"2.0\",\"method\":\"late\"}," CALL("late",
			"{}") "]");
	say(&gone, CALL("late", "{}"));
	wait_calls(7);
	shutdown(gone.fd, SHUT_RDWR); /* the client leaves before the answer */
	client_close(&gone);
	there(reply, NULL);
	answer = hear(&c);
	assert_int_equal(json_array_size(answer), 3);
	json_decref(answer);
	client_close(&c);
}

struct post {
	const char *topic;
	unsigned count;
	size_t size;
};

static void
post(void *arg)
{
	const struct post *p = arg;
	char text[4096];

	memset(text, 'x', sizeof(text));
	for (unsigned i = 0; i < p->count; i++)
		rpc_event(d.rpc, p->topic,
			json_pack("{s:i, s:s#}", "n", (int)i, "text", text, (int)p->size));
}

static json_t *
event(struct client *c, const char *topic)
{
	json_t *v = hear(c), *params;

	assert_non_null(v);
	assert_string_equal(json_string_value(json_object_get(v, "method")), "event");
	assert_null(json_object_get(v, "id"));
	params = json_incref(json_object_get(v, "params"));
	assert_string_equal(json_string_value(json_object_get(params, "topic")), topic);
	assert_true(json_real_value(json_object_get(params, "time")) > 1e9);
	json_decref(v);
	return params;
}

static void
test_events(void **state)
{
	struct client a = client_open(d.path), b = client_open(d.read_only);
	struct post p = {"commit", 1, 3}, other = {"session", 1, 3};

	(void)state;
	there(post, &p); /* an event without subscribers */
	say(&a, CALL("events.subscribe", "{\"topics\":[\"commit\"]}"));
	heard(&a, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"topics\":[\"commit\"]}}");
	say(&b, CALL("events.subscribe", "{\"topics\":[\"session\",\"commit\"]}"));
	heard(&b,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"topics\":[\"commit\",\"session\"]}}");
	say(&b, CALL("events.subscribe", "{\"topics\":[\"rain\"]}"));
	heard_error(&b, RPC_INVALID_PARAMS);
	say(&b, CALL("events.subscribe", "{\"topics\":\"commit\"}"));
	heard_error(&b, RPC_INVALID_PARAMS);
	there(post, &other);
	there(post, &p);
	json_decref(event(&a, "commit"));
	json_decref(event(&b, "session"));
	json_decref(event(&b, "commit"));
	say(&b, CALL("events.unsubscribe", "{\"topics\":[\"commit\"]}"));
	heard(&b, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"topics\":[\"session\"]}}");
	there(post, &p);
	there(post, &other);
	json_decref(event(&b, "session"));
	json_decref(event(&a, "commit"));
	say(&b, CALL("events.unsubscribe", "{}"));
	heard(&b, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"topics\":[]}}");
	client_close(&a);
	there(post, &p);
	say(&b, CALL("echo", "{\"a\":1}"));
	heard(&b, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":1}}");
	client_close(&b);
}

/*
 * 16 MiB for a client that does not read: the client receives the number of lost events in order,
 * then further events.
 */
static void
test_lost(void **state)
{
	struct client c = client_open(d.path);
	struct post p = {"refresh", 4096, 4096}, last = {"refresh", 1, 1};
	json_int_t got = 0, lost = 0;
	json_t *v;

	(void)state;
	say(&c, CALL("events.subscribe", "{\"topics\":[\"refresh\"]}"));
	json_decref(hear(&c));
	there(post, &p);
	while (lost == 0) {
		v = hear(&c);
		lost = json_integer_value(json_object_get(json_object_get(v, "params"), "lost"));
		if (lost == 0)
			assert_int_equal(json_integer_value(json_object_get(
						 json_object_get(v, "params"), "n")),
				got++);
		json_decref(v);
	}
	assert_int_equal(got + lost, p.count);
	assert_true(got > 32 && got < 1024);
	there(post, &last);
	json_decref(event(&c, "refresh"));
	client_close(&c);
}

static void
raise_alarm(void *arg)
{
	json_array_append_new(alarms, json_pack("{s:f, s:s, s:s}", "time", 1.5e9, "kind",
					      (const char *)arg, "text", "bad"));
}

static void
clear_alarms(void *arg)
{
	(void)arg;
	json_array_clear(alarms);
}

/* An existing alarm causes no event, and each new alarm causes exactly one. */
static void
test_alarms(void **state)
{
	struct client c = client_open(d.path);
	json_t *v;

	(void)state;
	there(raise_alarm, (void *)(uintptr_t) "old");
	say(&c, CALL("events.subscribe", "{\"topics\":[\"alarm\",\"fib\"]}"));
	json_decref(hear(&c));
	there(raise_alarm, (void *)(uintptr_t) "new");
	v = event(&c, "alarm");
	assert_string_equal(json_string_value(json_object_get(v, "kind")), "new");
	json_decref(v);
	there(raise_alarm, (void *)(uintptr_t) "newer");
	v = event(&c, "alarm");
	assert_string_equal(json_string_value(json_object_get(v, "kind")), "newer");
	json_decref(v);
	there(clear_alarms, NULL);
	client_close(&c);
}

/* A stop with open requests, subscribers, and a client in the middle of a line. */
static void
test_stop(void **state)
{
	struct client c[3];

	for (unsigned i = 0; i < 3; i++) {
		c[i] = client_open(i == 1 ? d.read_only : d.path);
		say(&c[i], CALL("events.subscribe", "{\"topics\":[\"commit\",\"alarm\"]}"));
		json_decref(hear(&c[i]));
	}
	assert_int_equal(send(c[2].fd, "{\"jsonrpc\"", 10, 0), 10);
	tear_down(state);
	for (unsigned i = 0; i < 3; i++) {
		assert_null(hear(&c[i]));
		client_close(&c[i]);
	}
	assert_int_equal(set_up(state), 0);
}

int
main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_dispatch),
		TEST(test_read_only),
		TEST(test_discover),
		TEST(test_late),
		TEST(test_events),
		TEST(test_lost),
		TEST(test_alarms),
		TEST(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
