/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/rpc.h"
#include "control/rpc_impl.h"

#include "control/config.h"
#include "control/log.h"
#include "control/threads.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define READ_STEP (64u << 10)
#define CONNECTIONS_MAX 256
#define OUTPUT_MAX (256u << 20) /* one line's answers, beyond which the client is cut off */
#define OUTPUT_HIGH (1u << 20)  /* as long as so much waits to be read, no further request is taken up */
#define BUFFER_KEPT (1u << 20)  /* a larger buffer is given back when it is empty */
#define ACCEPT_RETRY_NS 100000000u
#define TURN_NS 20000000u       /* of one connection; then the others, timers and signals have theirs */

struct connection {
	struct watch watch;
	struct rpc *rpc;
	struct connection *next;
	char *in, *out;
	size_t in_len, in_size, scanned, out_len, out_size, out_sent;
	unsigned pending; /* deferred calls */
	bool closed;      /* the descriptor is gone; freed with the last pending call */
	bool finish;      /* close when everything is written */
	bool yielded;     /* its turn was over: `again` goes on with it */
	struct timer again;
	uint64_t turn_ns; /* when its turn began */
	struct batch *running; /* not yet gone through to its end */
};

/* One line's requests: a single one, or a batch whose answers leave together. */
struct batch {
	struct connection *c;
	json_t *requests; /* of an array; NULL: single */
	size_t next;      /* of those */
	char *text;       /* answers of an array so far: as text, many times smaller than the values are */
	size_t len, size;
	unsigned pending;
};

struct rpc_call {
	struct batch *batch;
	json_t *id; /* NULL: a notification */
	json_t *error;
	bool deferred;
};

struct rpc {
	struct keeld *k;
	struct thread *thread;
	struct watch listener;
	struct timer again; /* accepts once more when there may be descriptors */
	struct connection *connections;
	unsigned connection_count;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

/* ---- errors ---- */

static const char *
code_text(int code)
{
	switch (code) {
	case RPC_PARSE_ERROR:
		return "Parse error";
	case RPC_INVALID_REQUEST:
		return "Invalid Request";
	case RPC_METHOD_NOT_FOUND:
		return "Method not found";
	case RPC_INVALID_PARAMS:
		return "Invalid params";
	case RPC_INTERNAL_ERROR:
		return "Internal error";
	case RPC_NOT_FOUND:
		return "Not found";
	case RPC_CONFIGURATION:
		return "Configuration is faulty";
	case RPC_NOT_KEPT:
		return "Routes are not kept";
	case RPC_READ_ONLY:
		return "This socket is read-only";
	case RPC_NO_DATAPLANE:
		return "There is no data plane";
	}
	return "Error";
}

/* {code, message, data: {path, reason, errors}}; without faults no data. */
static json_t *
error_json(int code, const struct fault *fault, unsigned count)
{
	json_t *e = json_pack("{s:i, s:s}", "code", code, "message", code_text(code)), *data, *errors;

	if (count == 0)
		return e;
	errors = json_array();
	for (unsigned i = 0; i < count; i++)
		json_array_append_new(errors, json_pack("{s:s, s:s}", "path", fault[i].path, "reason", fault[i].reason));
	data = json_pack("{s:s, s:s, s:o}", "path", fault[0].path, "reason", fault[0].reason, "errors", errors);
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
	json_decref(call->error);
	call->error = error_json(code, &fault, 1);
	return NULL;
}

json_t *
rpc_fail_faults(struct rpc_call *call, int code, const struct faults *f)
{
	json_decref(call->error);
	call->error = error_json(code, f->fault, f->count);
	return NULL;
}

/* ---- output ---- */

static void connection_close(struct connection *c);

static void
connection_free_if_idle(struct connection *c)
{
	if (!c->closed || c->pending > 0)
		return;
	free(c->in);
	free(c->out);
	free(c);
}

static size_t
output_waiting(const struct connection *c)
{
	return c->out_len - c->out_sent;
}

/* Another request is taken up: a client that does not read gets no more than OUTPUT_HIGH and an answer ahead of it. */
static bool
connection_takes(const struct connection *c)
{
	return !c->closed && !c->finish && !c->yielded && c->running == NULL && output_waiting(c) < OUTPUT_HIGH;
}

/* True when somebody else is to be served before the next request of this one. */
static bool
turn_over(struct connection *c)
{
	if (c->closed || now_ns() - c->turn_ns < TURN_NS || timer_arm(c->rpc->thread, &c->again, 0) != 0)
		return false;
	c->yielded = true;
	return true;
}

/* What to wait for now; the end of a connection that has answered everything. Called last, when nobody works on `c`. */
static void
connection_settle(struct connection *c)
{
	size_t waiting = output_waiting(c);

	if (!c->closed && c->finish && waiting == 0 && c->pending == 0)
		connection_close(c);
	if (!c->closed)
		watch_set(c->rpc->thread, &c->watch, (waiting > 0 ? EPOLLOUT : 0) | (connection_takes(c) ? EPOLLIN : 0));
	connection_free_if_idle(c);
}

static void
connection_flush(struct connection *c)
{
	while (c->out_sent < c->out_len) {
		ssize_t n = send(c->watch.fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			connection_close(c);
			return;
		}
		c->out_sent += (size_t)n;
	}
	c->out_len = c->out_sent = 0;
	if (c->out_size > BUFFER_KEPT) {
		free(c->out);
		c->out = NULL;
		c->out_size = 0;
	}
}

/* Room for `len` octets more. */
static bool
output_room(struct connection *c, size_t len)
{
	size_t size;
	char *out;

	if (c->out_sent > 0) {
		memmove(c->out, c->out + c->out_sent, c->out_len - c->out_sent);
		c->out_len -= c->out_sent;
		c->out_sent = 0;
	}
	size = c->out_len + len;
	if (size > OUTPUT_MAX)
		return false;
	if (size <= c->out_size)
		return true;
	out = realloc(c->out, size + READ_STEP);
	if (out == NULL)
		return false;
	c->out = out;
	c->out_size = size + READ_STEP;
	return true;
}

/* Without its newline, which is added. */
static void
connection_send_text(struct connection *c, const char *text, size_t len)
{
	if (c->closed)
		return;
	if (!output_room(c, len + 1)) {
		connection_close(c);
		return;
	}
	memcpy(c->out + c->out_len, text, len);
	c->out[c->out_len + len] = '\n';
	c->out_len += len + 1;
	connection_flush(c);
}

static void
connection_send(struct connection *c, const json_t *value)
{
	char *text = c->closed ? NULL : json_dumps(value, JSON_COMPACT);

	if (text != NULL)
		connection_send_text(c, text, strlen(text));
	else
		connection_close(c);
	free(text);
}

/* ---- calls ---- */

static void
batch_end(struct batch *b)
{
	struct connection *c = b->c;

	if (b->pending > 0)
		return;
	if (b->len > 0) {
		b->text[b->len] = ']'; /* text_append() left room for it */
		connection_send_text(c, b->text, b->len + 1);
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

	if (need > OUTPUT_MAX)
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
		connection_send(b->c, answer);
	} else if (!b->c->closed) {
		text = json_dumps(answer, JSON_COMPACT);
		if (text == NULL || !text_append(b, text, strlen(text)))
			connection_close(b->c);
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

/* Ends a call: answers unless it is a notification. */
static void
call_end(struct rpc_call *call, json_t *result)
{
	struct batch *b = call->batch;

	if (result == NULL && call->error == NULL)
		call->error = error_json(RPC_INTERNAL_ERROR, &(struct fault){(char[]){""}, (char[]){"out of memory"}}, 1);
	if (call->id != NULL)
		batch_answer(b, answer_json(call->id, result, result == NULL ? json_incref(call->error) : NULL));
	else
		json_decref(result);
	json_decref(call->error);
	json_decref(call->id);
	free(call);
	b->pending--;
}

json_t *
rpc_defer(struct rpc_call *call)
{
	call->deferred = true;
	return NULL;
}

void
rpc_reply(struct rpc_call *call, json_t *result)
{
	struct batch *b = call->batch;
	struct connection *c = b->c;

	call_end(call, result);
	batch_end(b);
	connection_settle(c);
}

static const struct rpc_method *
method_find(const char *name)
{
	const struct rpc_method *const tables[] = {rpc_config_methods, rpc_bgp_methods, rpc_rib_methods, rpc_fib_methods};

	for (unsigned t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		for (const struct rpc_method *m = tables[t]; m->name != NULL; m++) {
			if (strcmp(m->name, name) == 0)
				return m;
		}
	}
	return NULL;
}

/* Methods of the contract that this version lacks: said so, instead of an unknown name. */
static const char *const later_methods[] = {"config.confirm", "config.rollback", "config.history", "bgp.refresh.preview", "policy.test", "events.subscribe", "rpc.discover"};

static json_t *
method_unknown(const char *name)
{
	for (unsigned i = 0; i < sizeof(later_methods) / sizeof(later_methods[0]); i++) {
		if (strcmp(later_methods[i], name) == 0)
			return json_pack("{s:i, s:s}", "code", RPC_METHOD_NOT_FOUND, "message", "not supported in this version");
	}
	return error_json(RPC_METHOD_NOT_FOUND, NULL, 0);
}

/* Is `name` one of the blank-separated words of `list` (a trailing "!" left out)? */
static bool
word_in(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = list; *p != '\0';) {
		size_t n = strcspn(p, " ");
		size_t word = n > 0 && p[n - 1] == '!' ? n - 1 : n;

		if (word == len && memcmp(p, name, len) == 0)
			return true;
		p += n + (p[n] == ' ');
	}
	return false;
}

/* RFC 6901 3; what does not fit is cut off. */
static void
pointer_of_key(const char *key, char *out, size_t size)
{
	char *end = out + size - 3; /* an escape and the end */

	*out++ = '/';
	for (; *key != '\0' && out < end; key++) {
		if (*key == '~' || *key == '/') {
			*out++ = '~';
			*out++ = *key == '~' ? '0' : '1';
		} else {
			*out++ = *key;
		}
	}
	*out = '\0';
}

static bool
params_known(const struct rpc_method *m, json_t *params, struct rpc_call *call)
{
	const char *key;
	json_t *value;
	char path[128], name[64];

	json_object_foreach(params, key, value) {
		if (!word_in(m->params, key)) {
			pointer_of_key(key, path, sizeof(path));
			rpc_fail(call, RPC_INVALID_PARAMS, path, "%s has no parameter \"%.64s\"", m->name, key);
			return false;
		}
	}
	for (const char *p = m->params; *p != '\0';) {
		size_t n = strcspn(p, " ");

		if (n > 1 && p[n - 1] == '!') {
			snprintf(name, sizeof(name), "%.*s", (int)n - 1, p);
			if (json_object_get(params, name) == NULL) {
				snprintf(path, sizeof(path), "/%s", name);
				rpc_fail(call, RPC_INVALID_PARAMS, path, "is missing");
				return false;
			}
		}
		p += n + (p[n] == ' ');
	}
	return true;
}

static json_t *
dispatch(struct keeld *k, json_t *request, struct rpc_call *call)
{
	json_t *params = json_object_get(request, "params");
	const char *name = json_string_value(json_object_get(request, "method"));
	const struct rpc_method *m = method_find(name);
	json_t *none = NULL, *result = NULL;

	if (m == NULL) {
		call->error = method_unknown(name);
		return NULL;
	}
	if (params != NULL && !json_is_object(params))
		return rpc_fail(call, RPC_INVALID_PARAMS, "", "parameters go by name: an object is wanted");
	if (params == NULL)
		params = none = json_object();
	if (params_known(m, params, call))
		result = m->fn(k, params, call);
	json_decref(none);
	return result;
}

/* What makes a request one (JSON-RPC 2.0 section 4); NULL when it is. */
static const char *
request_fault(const json_t *r)
{
	const json_t *version = json_object_get(r, "jsonrpc"), *id = json_object_get(r, "id");
	const json_t *params = json_object_get(r, "params");

	if (!json_is_object(r))
		return "a request is an object";
	if (!json_is_string(version) || strcmp(json_string_value(version), "2.0") != 0)
		return "\"jsonrpc\" is not \"2.0\"";
	if (!json_is_string(json_object_get(r, "method")))
		return "\"method\" is not a string";
	if (id != NULL && !json_is_string(id) && !json_is_number(id) && !json_is_null(id))
		return "\"id\" is not a string, a number or null";
	if (params != NULL && !json_is_object(params) && !json_is_array(params))
		return "\"params\" is not an object or an array";
	return NULL;
}

static void
handle_one(struct batch *b, json_t *request)
{
	const char *fault = request_fault(request);
	json_t *id = json_object_get(request, "id");
	struct rpc_call *call;
	json_t *result;

	if (fault != NULL) {
		struct fault f = {(char[]){""}, (char *)(uintptr_t)fault};
		bool id_good = json_is_string(id) || json_is_number(id);

		batch_answer(b, answer_json(id_good ? id : NULL, NULL, error_json(RPC_INVALID_REQUEST, &f, 1)));
		return;
	}
	call = calloc(1, sizeof(*call));
	if (call == NULL)
		return;
	call->batch = b;
	call->id = json_incref(id);
	b->pending++;
	result = dispatch(b->c->rpc->k, request, call);
	if (result != NULL || !call->deferred)
		call_end(call, result);
}

static void
send_error(struct connection *c, int code, const char *reason)
{
	struct fault f = {(char[]){""}, (char *)(uintptr_t)reason};
	json_t *a = answer_json(NULL, NULL, error_json(code, &f, reason != NULL ? 1 : 0));

	connection_send(c, a);
	json_decref(a);
}

/* Objects and arrays within each other, without building them: what is too deep must not be parsed at all. */
static unsigned
text_depth(const char *text, size_t len)
{
	unsigned depth = 0, deepest = 0;
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
			if (++depth > deepest)
				deepest = depth;
		} else if ((text[i] == '}' || text[i] == ']') && depth > 0) {
			depth--;
		}
	}
	return deepest;
}

static void
refuse(struct connection *c, const char *reason)
{
	c->finish = true;
	send_error(c, RPC_INVALID_REQUEST, reason);
}

/* A part of it at least. Its requests are done in their order, and the connection's next line waits. */
static void
batch_run(struct batch *b)
{
	struct connection *c = b->c;
	size_t count = json_array_size(b->requests);

	c->running = b;
	while (b->next < count && !c->closed) {
		handle_one(b, json_array_get(b->requests, b->next++));
		if (b->next < count && turn_over(c))
			return;
	}
	c->running = NULL;
	b->pending--;
	batch_end(b);
}

static void
handle_value(struct connection *c, json_t *value)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return;
	b->c = c;
	c->pending++;
	b->pending = 1; /* ours, while we go through it */
	if (json_is_array(value)) {
		b->requests = json_incref(value);
		batch_run(b);
		return;
	}
	handle_one(b, value);
	b->pending--;
	batch_end(b);
}

static void
handle_line(struct connection *c, const char *line, size_t len)
{
	json_error_t error;
	json_t *value;
	unsigned limit;

	while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' ' || line[len - 1] == '\t'))
		len--;
	while (len > 0 && (*line == ' ' || *line == '\t')) {
		line++;
		len--;
	}
	if (len == 0)
		return;
	limit = RPC_DEPTH_MAX + (*line == '['); /* the request object is level 1, also within a batch */
	if (text_depth(line, len) > limit) {
		refuse(c, "deeper than 64 levels");
		return;
	}
	value = json_loadb(line, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
	if (value == NULL) {
		send_error(c, RPC_PARSE_ERROR, NULL);
		return;
	}
	if (json_is_array(value) && json_array_size(value) == 0)
		send_error(c, RPC_INVALID_REQUEST, "an empty batch");
	else
		handle_value(c, value);
	json_decref(value);
}

/* ---- connections ---- */

static void
connection_close(struct connection *c)
{
	struct rpc *r = c->rpc;

	if (c->closed)
		return;
	watch_set(r->thread, &c->watch, 0);
	close(c->watch.fd);
	c->closed = true;
	/* Of a running batch it comes once more, and ends it. */
	if (c->running == NULL)
		timer_cancel(r->thread, &c->again);
	for (struct connection **at = &r->connections; *at != NULL; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			r->connection_count--;
			break;
		}
	}
}

/* Every whole line, as long as the client reads the answers; what is left moves to the front. */
static void
connection_lines(struct connection *c)
{
	size_t begin = 0;
	char *end;

	while (connection_takes(c) && c->scanned < c->in_len &&
		(end = memchr(c->in + c->scanned, '\n', c->in_len - c->scanned)) != NULL) {
		size_t at = (size_t)(end - c->in);

		if (at - begin > RPC_REQUEST_MAX) {
			refuse(c, "longer than 64 MiB");
			return;
		}
		handle_line(c, c->in + begin, at - begin);
		begin = c->scanned = at + 1;
		if (c->running == NULL && begin < c->in_len)
			turn_over(c);
	}
	if (begin > 0) {
		memmove(c->in, c->in + begin, c->in_len - begin);
		c->in_len -= begin;
		c->scanned = 0;
	}
	if (!connection_takes(c))
		return;
	c->scanned = c->in_len; /* no newline there */
	if (c->in_len > RPC_REQUEST_MAX)
		refuse(c, "longer than 64 MiB");
	if (c->in_len == 0 && c->in_size > BUFFER_KEPT) {
		free(c->in);
		c->in = NULL;
		c->in_size = 0;
	}
}

static bool
connection_room(struct connection *c)
{
	size_t size = c->in_size ? 2 * c->in_size : READ_STEP;
	char *in;

	if (c->in_size - c->in_len >= READ_STEP / 2)
		return true;
	in = realloc(c->in, size);
	if (in == NULL)
		return false;
	c->in = in;
	c->in_size = size;
	return true;
}

static void
connection_read(struct connection *c)
{
	ssize_t n = connection_room(c) ? recv(c->watch.fd, c->in + c->in_len, c->in_size - c->in_len, 0) : 0;

	if (n > 0) {
		c->in_len += (size_t)n;
		connection_lines(c);
	} else if (n == 0) {
		/* The last line may lack its newline; answers still leave. */
		if (c->in_len > 0)
			handle_line(c, c->in, c->in_len);
		c->in_len = c->scanned = 0;
		c->finish = true;
	} else if (errno != EAGAIN && errno != EINTR) {
		connection_close(c);
	}
}

static void
connection_ready(struct watch *w, uint32_t events)
{
	struct connection *c = (struct connection *)(void *)w; /* its first member */

	c->pending++; /* not freed under our feet */
	c->turn_ns = now_ns();
	if (events & EPOLLOUT) {
		connection_flush(c);
		connection_lines(c); /* those that waited for the client to read */
	}
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && connection_takes(c))
		connection_read(c);
	c->pending--;
	connection_settle(c);
}

static void
connection_again(struct timer *t)
{
	struct connection *c = (struct connection *)(void *)((char *)t - offsetof(struct connection, again));

	c->pending++;
	c->turn_ns = now_ns();
	c->yielded = false;
	if (c->running != NULL)
		batch_run(c->running);
	connection_lines(c);
	c->pending--;
	connection_settle(c);
}

static void
listener_ready(struct watch *w, uint32_t events)
{
	struct rpc *r = (struct rpc *)(void *)((char *)w - offsetof(struct rpc, listener));
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct connection *c;

	if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		/* The client stays in the kernel's queue and the listener ready: without descriptors we would spin. */
		log_event(LOG_ERROR, "rpc-accept-failed error=\"%s\"", strerror(errno));
		if (timer_arm(r->thread, &r->again, ACCEPT_RETRY_NS) == 0)
			watch_set(r->thread, w, 0);
	}
	if (fd < 0)
		return;
	c = r->connection_count < CONNECTIONS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (c == NULL) {
		log_event(LOG_WARNING, "rpc-connection-refused connections=%u", r->connection_count);
		close(fd);
		return;
	}
	c->watch = (struct watch){fd, connection_ready};
	c->rpc = r;
	c->again.fire = connection_again;
	if (watch_set(r->thread, &c->watch, EPOLLIN) != 0) {
		close(fd);
		free(c);
		return;
	}
	c->next = r->connections;
	r->connections = c;
	r->connection_count++;
}

static void
listener_again(struct timer *t)
{
	struct rpc *r = (struct rpc *)(void *)((char *)t - offsetof(struct rpc, again));

	watch_set(r->thread, &r->listener, EPOLLIN);
}

/* Does somebody answer there? A file left by a crash answers ECONNREFUSED. */
static bool
socket_lives(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool lives = fd >= 0 && connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0;

	if (fd >= 0)
		close(fd);
	return lives;
}

int
rpc_create(struct keeld *k, const char *path, struct rpc **out)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct stat st;
	struct rpc *r;
	int err;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path) + 1);
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return -EEXIST;
		if (socket_lives(&sa))
			return -EADDRINUSE;
		unlink(path);
	}
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return -ENOMEM;
	r->k = k;
	memcpy(r->path, path, strlen(path) + 1);
	r->listener = (struct watch){socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), listener_ready};
	mode_t mask = umask(0117); /* 0660 from the first moment */
	if (r->listener.fd < 0 || bind(r->listener.fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 || listen(r->listener.fd, SOMAXCONN) != 0) {
		err = -errno;
		umask(mask);
		if (r->listener.fd >= 0)
			close(r->listener.fd);
		free(r);
		return err;
	}
	umask(mask);
	*out = r;
	return 0;
}

int
rpc_start(struct rpc *r, struct thread *main_thread)
{
	r->thread = main_thread;
	r->again.fire = listener_again;
	return watch_set(main_thread, &r->listener, EPOLLIN);
}

void
rpc_destroy(struct rpc *r)
{
	while (r->connections != NULL) {
		struct connection *c = r->connections;

		connection_close(c);
		if (c->running != NULL) {
			timer_cancel(r->thread, &c->again);
			batch_run(c->running); /* closed: no request is taken up any more */
		}
		connection_free_if_idle(c);
	}
	if (r->thread != NULL) {
		timer_cancel(r->thread, &r->again);
		watch_set(r->thread, &r->listener, 0);
	}
	close(r->listener.fd);
	unlink(r->path);
	free(r);
}

/* ---- parameters and values ---- */

bool
rpc_string(json_t *params, const char *name, const char **out, struct rpc_call *call)
{
	json_t *v = json_object_get(params, name);
	char path[64];

	if (v == NULL)
		return true;
	if (json_is_string(v)) {
		*out = json_string_value(v);
		return true;
	}
	snprintf(path, sizeof(path), "/%s", name);
	rpc_fail(call, RPC_INVALID_PARAMS, path, "is not a string");
	return false;
}

bool
rpc_integer(json_t *params, const char *name, json_int_t min, json_int_t max, json_int_t *out, struct rpc_call *call)
{
	json_t *v = json_object_get(params, name);
	char path[64];

	if (v == NULL)
		return true;
	if (json_is_integer(v) && json_integer_value(v) >= min && json_integer_value(v) <= max) {
		*out = json_integer_value(v);
		return true;
	}
	snprintf(path, sizeof(path), "/%s", name);
	rpc_fail(call, RPC_INVALID_PARAMS, path, "is not an integer from %lld to %lld", (long long)min, (long long)max);
	return false;
}

bool
rpc_boolean(json_t *params, const char *name, bool *out, struct rpc_call *call)
{
	json_t *v = json_object_get(params, name);
	char path[64];

	if (v == NULL)
		return true;
	if (json_is_boolean(v)) {
		*out = json_is_true(v);
		return true;
	}
	snprintf(path, sizeof(path), "/%s", name);
	rpc_fail(call, RPC_INVALID_PARAMS, path, "is not true or false");
	return false;
}

bool
rpc_family(json_t *params, enum family *out, struct rpc_call *call)
{
	const char *text = NULL;

	if (!rpc_string(params, "family", &text, call))
		return false;
	*out = text != NULL ? family_from_text(text) : FAMILY_COUNT;
	if (*out != FAMILY_COUNT)
		return true;
	rpc_fail(call, RPC_INVALID_PARAMS, "/family", "\"%.64s\" is not a family", text != NULL ? text : "");
	return false;
}

const char *
rpc_vrf_name(struct vrf_id vrf)
{
	return vrf.v == VRF_DEFAULT.v ? "default" : "?";
}

bool
rpc_vrf(struct keeld *k, json_t *params, struct vrf_id *out, struct rpc_call *call)
{
	const char *text = "default";

	(void)k;
	if (!rpc_string(params, "vrf", &text, call))
		return false;
	*out = VRF_DEFAULT;
	if (strcmp(text, "default") == 0)
		return true;
	rpc_fail(call, RPC_NOT_FOUND, "/vrf", "there is no VRF \"%.64s\"", text);
	return false;
}

/* A link-local address on an interface that nobody has named yet: nobody's, but an address. */
static bool
has_unknown_zone(const char *text)
{
	char bare[ADDR_TEXT_MAX];
	size_t len = strcspn(text, "%");
	struct ip_addr addr;

	if (text[len] == '\0' || text[len + 1] == '\0' || len >= sizeof(bare))
		return false;
	memcpy(bare, text, len);
	bare[len] = '\0';
	return addr_parse(bare, &addr) == 0 && addr_is_link_local(&addr);
}

bool
rpc_peer(struct keeld *k, json_t *params, struct vrf_id vrf, const struct config_peer **out, struct rpc_call *call)
{
	const char *text = NULL;
	struct ip_addr addr;

	*out = NULL;
	if (!rpc_string(params, "peer", &text, call))
		return false;
	if (text == NULL)
		return true;
	if (addr_parse(text, &addr) == 0) {
		*out = config_peer_find(k->running, vrf, &addr);
	} else if (!has_unknown_zone(text)) {
		rpc_fail(call, RPC_INVALID_PARAMS, "/peer", "\"%.64s\" is not an IP address", text);
		return false;
	}
	if (*out != NULL)
		return true;
	rpc_fail(call, RPC_NOT_FOUND, "/peer", "there is no peer %.64s", text);
	return false;
}

bool
rpc_group(struct keeld *k, json_t *params, const char **out, struct rpc_call *call)
{
	const char *text = NULL;
	json_t *group;
	size_t i;

	if (!rpc_string(params, "group", &text, call))
		return false;
	*out = text;
	if (text == NULL)
		return true;
	json_array_foreach(json_object_get(json_object_get(k->running->document, "bgp"), "groups"), i, group) {
		if (strcmp(json_string_value(json_object_get(group, "name")), text) == 0)
			return true;
	}
	rpc_fail(call, RPC_NOT_FOUND, "/group", "there is no group \"%.64s\"", text);
	return false;
}

json_t *
rpc_addr(const struct ip_addr *a)
{
	char text[ADDR_TEXT_MAX];

	return json_string(addr_format(a, text));
}

json_t *
rpc_prefix(const struct prefix *p)
{
	char text[PREFIX_TEXT_MAX];

	return json_string(prefix_format(p, text));
}

json_t *
rpc_hist(const struct hist_summary *h)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "count", (json_int_t)h->count, "min", (json_int_t)h->min, "p50",
		(json_int_t)h->p50, "p90", (json_int_t)h->p90, "p99", (json_int_t)h->p99, "p999", (json_int_t)h->p999, "max",
		(json_int_t)h->max);
}

double
rpc_wall_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}
