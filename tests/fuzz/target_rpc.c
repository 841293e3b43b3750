/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines of JSON-RPC for the dispatcher, with methods of this file and a counting client. The first
 * octet selects the socket and the point where a batch is interrupted. Invariants: one answer per
 * request, valid JSON-RPC 2.0 answers, nothing left over.
 */
#include "tests/fuzz/targets.h"

#include "control/config/config.h"
#include "control/rpc/rpc_call.h"

#define DEFERRED_MAX 64

static const struct config_host host = {.no_dataplane = true};

static struct rpc_call *deferred[DEFERRED_MAX];
static unsigned deferred_count;

/* ---- methods with every kind of parameter ---- */

static json_t *
fuzz_params(struct rpc_env *env, json_t *params, struct rpc_call *call)
{
	const char *group = NULL, *text = "";
	const struct config_peer *peer = NULL;
	json_int_t number = 5;
	enum family family;
	struct vrf_id vrf;
	bool yes = false;

	if (!rpc_family(params, &family, call) || !rpc_vrf(env, params, &vrf, call) ||
		!rpc_peer(env, params, vrf, &peer, call) || !rpc_group(env, params, &group, call) ||
		!rpc_string(params, "text", &text, call) ||
		!rpc_integer(params, "number", 1, 10, &number, call) ||
		!rpc_boolean(params, "yes", &yes, call))
		return NULL;
	HARNESS_CHECK(family < FAMILY_COUNT && number >= 1 && number <= 10);
	return json_pack("{s:s, s:s, s:I, s:b}", "family", family_text(family), "text", text,
		"number", number, "yes", yes);
}

static json_t *
fuzz_echo(struct rpc_env *env, json_t *params, struct rpc_call *call)
{
	(void)env;
	(void)call;
	return json_deep_copy(params);
}

static json_t *
fuzz_defer(struct rpc_env *env, json_t *params, struct rpc_call *call)
{
	(void)env;
	(void)params;
	if (deferred_count == DEFERRED_MAX)
		return rpc_fail(call, RPC_TRY_AGAIN, "", "too many wait");
	deferred[deferred_count++] = call;
	return rpc_defer(call);
}

static json_t *
fuzz_config(struct rpc_env *env, json_t *params, struct rpc_call *call)
{
	struct faults f = {0};
	struct config *c = config_parse(&host, json_object_get(params, "document"), &f);

	(void)env;
	if (!c)
		rpc_fail_faults(call, RPC_CONFIGURATION, &f);
	faults_fini(&f);
	config_free(c);
	return c ? json_object() : NULL;
}

rpc_function rpc_discover;

/* rpc_events.c, which sends the events, is not linked. */
const struct rpc_topic rpc_topics[] = {{0}};

static const struct rpc_field all_fields[] = {{"family", "family"}, {"vrf?", "string"},
	{"peer?", "string"}, {"group?", "string"}, {"text?", "string"}, {"number?", "integer"},
	{"yes?", "boolean"}, {0}};
static const struct rpc_field all_result[] = {
	{"family", "family"}, {"text", "string"}, {"number", "integer"}, {"yes", "boolean"}, {0}};
static const struct rpc_field document_fields[] = {{"document", "object"}, {0}};
static const struct rpc_field echo_fields[] = {
	{"a?", "any"}, {"b?", "any"}, {"c?", "one|two"}, {0}};
static const struct rpc_field force_fields[] = {{"force?", "boolean"}, {0}};

const struct rpc_method rpc_config_methods[] = {
	{"fuzz.params", fuzz_params, all_fields, all_result, "all kinds", NULL, RPC_READS, 0},
	{"fuzz.config", fuzz_config, document_fields, NULL, "a document's faults", NULL, RPC_READS,
		0},
	{0},
};
const struct rpc_method rpc_bgp_methods[] = {
	{"fuzz.echo", fuzz_echo, echo_fields, NULL, NULL, NULL, RPC_CHANGES, 0},
	{0},
};
const struct rpc_method rpc_preview_methods[] = {{0}};
const struct rpc_method rpc_rib_methods[] = {
	{"fuzz.defer", fuzz_defer, NULL, NULL, "later", NULL, RPC_READS, 0},
	{0},
};
const struct rpc_method rpc_control_methods[] = {{0}};
const struct rpc_method rpc_vrf_methods[] = {{0}};
const struct rpc_method rpc_fate_methods[] = {{0}};
const struct rpc_method rpc_history_methods[] = {{0}};
const struct rpc_method rpc_trace_methods[] = {{0}};
const struct rpc_method rpc_mrt_methods[] = {{0}};
const struct rpc_method rpc_rpki_methods[] = {{0}};
const struct rpc_method rpc_fib_methods[] = {{0}};
const struct rpc_method rpc_own_methods[] = {
	{"fuzz.maybe", fuzz_echo, force_fields, NULL, "not of all clients", NULL,
		RPC_READS_UNLESS_FORCE, 0},
	{"rpc.discover", rpc_discover, NULL, NULL, "of these", NULL, RPC_READS, 0},
	{0},
};

/* ---- the client ---- */

static struct {
	unsigned lines, cuts, turns;
	uint8_t options;
} seen;

static void
answer_is_right(const json_t *a)
{
	const json_t *error = json_object_get(a, "error"), *result = json_object_get(a, "result");
	const char *version = json_string_value(json_object_get(a, "jsonrpc"));

	HARNESS_CHECK(version && strcmp(version, "2.0") == 0);
	HARNESS_CHECK((error != NULL) != (result != NULL));
	HARNESS_CHECK(json_object_get(a, "id") && json_object_size(a) == 3);
	if (!error)
		return;
	HARNESS_CHECK(json_is_integer(json_object_get(error, "code")));
	HARNESS_CHECK(json_is_string(json_object_get(error, "message")));
}

static void
client_send(struct rpc_client *c, const char *text, size_t len)
{
	json_error_t error;
	json_t *answer = json_loadb(text, len, 0, &error), *a;
	size_t i;

	(void)c;
	HARNESS_CHECK(answer && !memchr(text, '\n', len));
	if (json_is_array(answer)) {
		HARNESS_CHECK(json_array_size(answer) > 0);
		json_array_foreach(answer, i, a) answer_is_right(a);
	} else {
		answer_is_right(answer);
	}
	json_decref(answer);
	seen.lines++;
}

static void
client_cut(struct rpc_client *c)
{
	c->closed = true;
	seen.cuts++;
}

static bool
client_turn_over(struct rpc_client *c)
{
	(void)c;
	return seen.options >> (1 + seen.turns++ % 7) & 1;
}

/* settle() continues the batch. */
static bool
client_later(struct rpc_client *c)
{
	return !c->closed;
}

static void
client_settle(struct rpc_client *c)
{
	(void)c;
}

static const struct rpc_client_ops client_ops = {
	client_send, client_cut, client_turn_over, client_later, client_settle, NULL};

/* Its peers come from the configuration; nothing is started. */
static struct apply *
running(void)
{
	static const char text[] =
		"{\"router\": {\"asn\": 64512, \"router_id\": \"192.0.2.1\"}, \"bgp\": {"
		"\"groups\": [{\"name\": \"transit\"}], \"peers\": ["
		"{\"address\": \"192.0.2.2\", \"asn\": 64513, \"group\": \"transit\"}, "
		"{\"address\": \"2001:db8::2\", \"asn\": 64514}]}}";
	static struct layers layers;
	static struct apply *apply;
	struct apply_config c = {.layers = &layers};
	struct faults f = {0};
	json_t *document;

	if (apply)
		return apply;
	document = json_loads(text, 0, NULL);
	c.running = config_parse(&host, document, &f);
	HARNESS_CHECK(c.running);
	json_decref(document);
	HARNESS_CHECK(apply_create(&c, &apply) == 0);
	return apply;
}

/* Answers all deferred calls and continues batches until nothing is left. */
static void
settle(struct rpc_client *c)
{
	while (c->running || deferred_count > 0) {
		if (c->running)
			rpc_batch_run(c->running);
		while (deferred_count > 0)
			rpc_reply(deferred[--deferred_count],
				seen.options & 0x80 ? NULL : json_true());
	}
	HARNESS_CHECK(c->pending == 0);
}

void
target_rpc(const uint8_t *data, size_t len)
{
	/* sometimes small enough for a batch of answers to disconnect the client */
	struct rpc_bounds bounds = {.request = 8192, .answer = 16u << 20, .connections = 1};
	struct rpc r = {.env = {.apply = running(), .peers = apply_peers(running())}};
	struct rpc_client c = {.ops = &client_ops, .rpc = &r, .bounds = &bounds};
	const uint8_t *p = data + 1, *end = data + len;
	bool go_on = true;

	if (len == 0)
		return;
	memset(&seen, 0, sizeof(seen));
	seen.options = data[0];
	c.read_only = data[0] & 1;
	if ((data[0] & 6) == 6)
		bounds.answer = 400;
	while (p < end && go_on) {
		const uint8_t *newline = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((newline ? newline : end) - p);
		unsigned lines = seen.lines;

		go_on = rpc_line(&c, (const char *)p, n);
		settle(&c);
		HARNESS_CHECK(seen.cuts == 0 || bounds.answer == 400);
		if (c.closed)
			break;
		/* one line of answers, or none for notifications */
		HARNESS_CHECK(seen.lines <= lines + 1 && (go_on || seen.lines == lines + 1));
		p += n + 1;
	}
}
