/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/rpc/http.h"

#include "control/rpc/http_gate.h"
#include "control/rpc/http_mhd.h"
#include "control/base/log.h"
#include "control/rpc/rpc_call.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#define BODY_MAX (16u << 20)
#define ANSWER_MAX (64u << 20)
/* libmicrohttpd still holds connections that the gate has ended. */
#define MHD_CONNECTIONS_MAX (2 * HTTP_CONNECTIONS_MAX)
#define TOKEN_MAX 4096
#define URL_PAGE "/"
#define TYPE_PAGE "text/html; charset=utf-8"
#define TURN_NS 20000000u /* of one batch; then main serves other descriptors, timers and signals */

/* Made by embed_page.py: the Content-Security-Policy, and after its NUL the page. */
static const char page_text[] = {
#include "http_page.inc"
};

struct http {
	struct rpc *rpc;
	struct http_gate *gate;
	struct http_mhd lib;
	struct MHD_Daemon *mhd;
	struct watch watch; /* epoll descriptor of libmicrohttpd */
	struct timer timer; /* timeouts of libmicrohttpd */
	struct request *requests;
	char origin[2][ADDR_TEXT_MAX +
		       24]; /* accepted values of Origin; [1]: localhost, for a loopback address */
	bool wildcard; /* listens on all addresses */
	char *token_file; /* NULL: none */
};

struct request {
	struct rpc_client client;
	struct http *http; /* NULL: the connection is gone, and an answer is due */
	struct request *next;
	struct MHD_Connection *connection;
	int fd; /* of the connection */
	struct timer again; /* continues a batch */
	uint64_t turn_ns;
	unsigned status; /* set before the body has arrived; 0: not set */
	char *body, *answer;
	size_t len, size, answer_len;
	bool asked, suspended;
};

/* ---- requests ---- */

static struct request *
request_of(struct rpc_client *c)
{
	return (struct request *)(void *)c; /* its first member */
}

static void
request_free(struct request *r)
{
	free(r->body);
	free(r->answer);
	free(r);
}

static void
request_cut(struct rpc_client *c)
{
	struct request *r = request_of(c);

	r->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
}

static void
request_send(struct rpc_client *c, const char *text, size_t len)
{
	struct request *r = request_of(c);

	if (r->answer != NULL || len > ANSWER_MAX || (r->answer = malloc(len + 1)) == NULL) {
		request_cut(c);
		return;
	}
	memcpy(r->answer, text, len);
	r->answer[len] = '\n';
	r->answer_len = len + 1;
}

static bool
request_later(struct rpc_client *c)
{
	return !c->closed && timer_arm(c->rpc->thread, &request_of(c)->again, 0) == 0;
}

static bool
request_turn_over(struct rpc_client *c)
{
	return now_ns() - request_of(c)->turn_ns >= TURN_NS && request_later(c);
}

/* Resumes the connection after the last answer. Frees the request if the connection is gone. */
static void
request_settle(struct rpc_client *c)
{
	struct request *r = request_of(c);

	if (c->pending > 0)
		return;
	if (r->http == NULL) {
		request_free(r);
	} else if (r->suspended) {
		r->suspended = false;
		r->http->lib.resume_connection(r->connection);
		/* The resume takes effect in MHD_run(). */
		timer_arm(c->rpc->thread, &r->http->timer, 0);
	}
}

static void
request_again(struct timer *t) RUNS_ON(role_main)
{
	struct request *r = (struct request *)(void *)((char *)t - offsetof(struct request, again));

	r->turn_ns = now_ns();
	rpc_batch_run(r->client.running);
	request_settle(&r->client);
}

static const struct rpc_client_ops request_ops = {
	request_send, request_cut, request_turn_over, request_later, request_settle, NULL};

static const struct rpc_bounds bounds = {
	.request = BODY_MAX, .answer = ANSWER_MAX, .connections = HTTP_CONNECTIONS_MAX};
static const struct rpc_bounds bounds_read_only = {.request = RPC_READ_ONLY_REQUEST_MAX,
	.members = RPC_READ_ONLY_MEMBERS_MAX,
	.answer = ANSWER_MAX,
	.connections = HTTP_CONNECTIONS_MAX};

static int
connection_fd(const struct http *h, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		h->lib.get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	return info != NULL ? info->connect_fd : -1;
}

static struct request *
request_create(struct http *h, struct MHD_Connection *connection)
{
	struct request *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->client = (struct rpc_client){
		.ops = &request_ops, .rpc = h->rpc, .bounds = &bounds_read_only, .read_only = true};
	r->http = h;
	r->connection = connection;
	r->fd = connection_fd(h, connection);
	r->again.fire = request_again;
	r->next = h->requests;
	h->requests = r;
	return r;
}

static void
request_forget(struct request *r) RUNS_ON(role_main)
{
	for (struct request **at = &r->http->requests; *at != NULL; at = &(*at)->next) {
		if (*at == r) {
			*at = r->next;
			break;
		}
	}
	r->http = NULL;
	r->client.closed = true;
	if (r->client.running != NULL) {
		timer_cancel(r->client.rpc->thread, &r->again);
		rpc_batch_run(r->client.running); /* ends the batch */
	}
	if (r->client.pending == 0)
		request_free(r);
}

static void
completed(void *ctx, struct MHD_Connection *connection, void **request,
	enum MHD_RequestTerminationCode code) RUNS_ON(role_main)
{
	(void)ctx;
	(void)connection;
	(void)code;
	if (*request != NULL) {
		struct request *r = *request;

		http_gate_phase(r->http->gate, r->fd, HTTP_KEPT, 0);
		request_forget(r);
	}
	*request = NULL;
}

static void
connection_changed(void *ctx, struct MHD_Connection *connection, void **socket_context,
	enum MHD_ConnectionNotificationCode code) RUNS_ON(role_main)
{
	struct http *h = ctx;

	(void)socket_context;
	if (code == MHD_CONNECTION_NOTIFY_CLOSED)
		http_gate_closed(h->gate, connection_fd(h, connection));
}

/* ---- authorization ---- */

static const char *
header(const struct request *r, const char *name)
{
	return r->http->lib.lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

/*
 * True if `origin` is the local address of the connection. A listener on all addresses has an origin for each; a name is never accepted, because a
 * foreign page can make its own name resolve to this host.
 */
/* `origin`: as http://ADDRESS, with or without a port, of the address that the client connected to. */
static bool
address_is_here(const struct request *r, const char *origin, bool with_port)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char host[INET6_ADDRSTRLEN] = "", text[sizeof(r->http->origin[0])] = "";

	if (getsockname(r->fd, (struct sockaddr *)&sa, &len) != 0)
		return false;
	if (sa.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)&sa;

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(text, sizeof(text), "http://%s:%u", host, ntohs(in->sin_port));
	} else if (sa.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)&sa;

		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(text, sizeof(text), "http://[%s]:%u", host, ntohs(in6->sin6_port));
	}
	if (!with_port && text[0] != '\0')
		*strrchr(text, ':') = '\0';
	return text[0] != '\0' && strcasecmp(origin, text) == 0;
}

static bool
origin_good(const struct request *r)
{
	const char *origin = header(r, "Origin");

	if (origin == NULL)
		return true;
	for (unsigned i = 0; i < 2; i++) {
		if (r->http->origin[i][0] != '\0' && strcasecmp(origin, r->http->origin[i]) == 0)
			return true;
	}
	return r->http->wildcard && address_is_here(r, origin, true);
}

/* True if `host`, without a port, is an address of ours, localhost, or the name of this machine. */
static bool
host_is_here(const struct request *r, const char *host, int len)
{
	char origin[ADDR_TEXT_MAX + 24], name[256] = "";

	snprintf(origin, sizeof(origin), "http://%.*s", len, host);
	for (unsigned i = 0; i < 2; i++) {
		const char *own = r->http->origin[i];
		size_t n = strlen(origin);

		if (strncasecmp(own, origin, n) == 0 && own[n] == ':')
			return true;
	}
	(void)gethostname(name, sizeof(name) - 1);
	return strcasecmp(origin, "http://localhost") == 0 ||
	       (name[0] != '\0' && strcasecmp(origin + strlen("http://"), name) == 0) ||
	       (r->http->wildcard && address_is_here(r, origin, false));
}

/*
 * A page of a stranger, whose name leads to a loopback address (DNS rebinding), is a local client of
 * the right origin: only the header Host shows the stranger's name.
 */
static bool
host_good(const struct request *r)
{
	const char *host = header(r, "Host"), *end;

	if (host == NULL)
		return true; /* HTTP/1.0: no browser */
	end = host[0] == '[' ? strchr(host, ']') : NULL;
	end = end != NULL ? end + 1 : host + strcspn(host, ":");
	return host_is_here(r, host, (int)(end - host));
}

/*
 * Reads the token without surrounding blanks and newlines. Returns the length; 0: no token. A FIFO
 * would stop main.
 */
static size_t
token_read(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	ssize_t n = -1;

	if (fd >= 0 && fstat(fd, &st) == 0) {
		errno = EINVAL;
		n = S_ISREG(st.st_mode) ? read(fd, out, size - 1) : -1;
	}
	if (n < 0)
		log_event(LOG_ERROR, "http-token-unreadable file=%s error=\"%s\"", path,
			strerror(errno));
	if (fd >= 0)
		close(fd);
	if (n == (ssize_t)size - 1) {
		log_event(LOG_ERROR, "http-token-file-too-long file=%s max=%zu", path, size - 2);
		while (n > 0 && out[n - 1] != '\n') /* the beginning of a token is no token */
			n--;
	}
	while (n > 0 && strchr(" \t\r\n", out[n - 1]) != NULL)
		n--;
	return n > 0 ? (size_t)n : 0;
}

#define TOKEN_NAME_MAX 63
/* A line "NAME: TOKEN"; the length of NAME, else 0. */
static size_t
token_name(const char *line, size_t len)
{
	size_t n = 0;

	while (n < len && n <= TOKEN_NAME_MAX &&
		(isalnum((unsigned char)line[n]) || (n > 0 && strchr("_.-", line[n]) != NULL)))
		n++;
	return n > 0 && n <= TOKEN_NAME_MAX && n + 1 < len && line[n] == ':' && line[n + 1] == ' '
		       ? n
		       : 0;
}

/* Compares in constant time. */
static bool
token_equal(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned char differs = a_len != b_len;

	for (size_t i = 0; i < b_len && a_len > 0; i++)
		differs |= (unsigned char)a[i % a_len] ^ (unsigned char)b[i];
	return differs == 0 && a_len > 0;
}

/* Notes the address of the client. */
static void
client_from(struct request *r)
{
	const union MHD_ConnectionInfo *info =
		r->http->lib.get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *sa = info != NULL ? info->client_addr : NULL;
	char text[INET6_ADDRSTRLEN] = "";

	if (sa != NULL && sa->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr,
			text, sizeof(text));
	else if (sa != NULL && sa->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, text,
			sizeof(text));
	snprintf(r->client.user.from, sizeof(r->client.user.from), "http %s", text);
}

/* True if the client runs on this host: the kernel's loopback accepts no packets from other hosts. */
static bool
client_is_local(const struct request *r)
{
	const union MHD_ConnectionInfo *info =
		r->http->lib.get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *sa = info != NULL ? info->client_addr : NULL;

	if (sa == NULL)
		return false;
	if (sa->sa_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(
			&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr);
	return sa->sa_family == AF_INET &&
	       ntohl(((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr) >> 24 == 127;
}

/*
 * Finds the given token in the text of the file: the whole text is the token of the user `http`, and a
 * line "NAME: TOKEN" is the token of NAME. Looks at all lines, so that the time does not depend on the
 * place. False: no such token.
 */
static bool
token_find(const char *text, size_t len, const char *given, struct rpc_user *user)
	RUNS_ON(role_main)
{
	bool found = token_equal(text, len, given, strlen(given));

	if (found)
		rpc_user_of_token(user, "http", 4);
	for (size_t at = 0, end; at < len; at = end + 1) {
		const char *newline = memchr(text + at, '\n', len - at);
		size_t name, stop;

		end = newline != NULL ? (size_t)(newline - text) : len;
		name = token_name(text + at, end - at);
		for (stop = end; stop > at && strchr(" \t\r", text[stop - 1]) != NULL;)
			stop--;
		if (name > 0 && stop > at + name + 2 &&
			token_equal(
				text + at + name + 2, stop - at - name - 2, given, strlen(given))) {
			rpc_user_of_token(user, text + at, name);
			found = true;
		}
	}
	return found;
}

/*
 * MHD_HTTP_OK: `client` holds the rights and the user of the client. Without a token, a client on the loopback that names this router may read, and a
 * remote client is refused.
 */
static unsigned
authorize(struct request *r) RUNS_ON(role_main)
{
	const char *given = header(r, "Authorization");
	char token[TOKEN_MAX];
	size_t len;

	if (given == NULL && !client_is_local(r))
		return MHD_HTTP_UNAUTHORIZED;
	if (given == NULL)
		return host_good(r) ? MHD_HTTP_OK : MHD_HTTP_FORBIDDEN;
	if (strncasecmp(given, "Bearer ", 7) != 0 || r->http->token_file == NULL)
		return MHD_HTTP_UNAUTHORIZED;
	given += 7 + strspn(given + 7, " ");
	len = token_read(r->http->token_file, token, sizeof(token));
	if (!token_find(token, len, given, &r->client.user))
		return MHD_HTTP_UNAUTHORIZED;
	client_from(r);
	r->client.read_only = false;
	r->client.bounds = &bounds;
	return MHD_HTTP_OK;
}

static bool
is_health(const char *url)
{
	return strcmp(url, "/healthz") == 0 || strcmp(url, "/readyz") == 0;
}

/* RFC 9110 9.3.2: HEAD has the headers of GET; libmicrohttpd leaves out the content. */
static bool
is_read(const char *method)
{
	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

static unsigned
admit(struct request *r, const char *url, const char *method) RUNS_ON(role_main)
{
	bool rpc = strcmp(url, "/rpc") == 0, health = is_health(url),
	     metrics = strcmp(url, "/metrics") == 0, page = strcmp(url, URL_PAGE) == 0;

	if (!origin_good(r))
		return MHD_HTTP_FORBIDDEN;
	if (!rpc && !metrics && !health && !page)
		return MHD_HTTP_NOT_FOUND;
	if (rpc ? strcmp(method, "POST") != 0 : !is_read(method))
		return MHD_HTTP_METHOD_NOT_ALLOWED;
	/* The page holds nothing of this router: its calls of /rpc bring the token that a person types. */
	if (page)
		return MHD_HTTP_OK;
	/* A probe of another host needs no token: the answer is one bit. */
	return health && header(r, "Authorization") == NULL ? MHD_HTTP_OK : authorize(r);
}

/* ---- answers ---- */

static enum MHD_Result
respond(struct request *r, unsigned status, const char *type, char *text, size_t len,
	enum MHD_ResponseMemoryMode mode) RUNS_ON(role_main)
{
	struct MHD_Response *response = r->http->lib.create_response_from_buffer(len, text, mode);
	enum MHD_Result result;

	if (response == NULL) {
		if (mode == MHD_RESPMEM_MUST_FREE)
			free(text);
		return MHD_NO;
	}
	http_gate_phase(r->http->gate, r->fd, HTTP_ANSWER, len);
	if (type != NULL)
		r->http->lib.add_response_header(response, "Content-Type", type);
	r->http->lib.add_response_header(response, "Cache-Control", "no-store");
	r->http->lib.add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (type != NULL && strcmp(type, TYPE_PAGE) == 0) {
		r->http->lib.add_response_header(response, "Content-Security-Policy", page_text);
		r->http->lib.add_response_header(response, "Referrer-Policy", "no-referrer");
	}
	if (status == MHD_HTTP_UNAUTHORIZED)
		r->http->lib.add_response_header(response, "WWW-Authenticate", "Bearer");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		r->http->lib.add_response_header(response, "Allow", "GET, HEAD, POST");
	result = r->http->lib.queue_response(r->connection, status, response);
	r->http->lib.destroy_response(response);
	return result;
}

/* Sends r->answer. */
static enum MHD_Result
respond_answer(struct request *r, const char *type) RUNS_ON(role_main)
{
	char *text = r->answer;

	r->answer = NULL; /* libmicrohttpd frees it */
	return respond(r, MHD_HTTP_OK, type, text, r->answer_len, MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result
refuse(struct request *r, unsigned status) RUNS_ON(role_main)
{
	return respond(r, status, NULL, (char *)(uintptr_t) "", 0, MHD_RESPMEM_PERSISTENT);
}

static void
metrics_done(void *ctx, char *text, size_t len)
{
	struct request *r = ctx;

	r->answer = text;
	r->answer_len = len;
	r->client.pending--;
	request_settle(&r->client);
}

/* Suspends the connection while main makes the answer in several turns; MHD calls again after the resume. */
static enum MHD_Result
answer_metrics(struct request *r) RUNS_ON(role_main)
{
	static const char *const types[] = {
		[HTTP_METRICS_OPEN] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
		[HTTP_METRICS_TEXT] = "text/plain; version=0.0.4; charset=utf-8"};
	enum http_metrics_format format = http_metrics_format(header(r, "Accept"));

	if (!r->asked) {
		r->asked = true;
		http_gate_phase(r->http->gate, r->fd, HTTP_WORK, 0);
		if (http_metrics(&r->http->rpc->env, format, metrics_done, r) == 0) {
			r->client.pending++;
			r->suspended = true;
			r->http->lib.suspend_connection(r->connection);
			return MHD_YES;
		}
	}
	if (r->answer == NULL)
		return refuse(r, MHD_HTTP_INTERNAL_SERVER_ERROR);
	return respond_answer(r, types[format]);
}

static enum MHD_Result
answer_health(struct request *r, bool ready) RUNS_ON(role_main)
{
	const char *reason = rpc_unhealthy(&r->http->rpc->env, ready),
		   *text = reason != NULL ? reason : "ok\n";

	return respond(r, reason == NULL ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE,
		"text/plain; charset=utf-8", (char *)(uintptr_t)text, strlen(text),
		MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result
answer_page(struct request *r) RUNS_ON(role_main)
{
	const char *page = page_text + strlen(page_text) + 1;

	return respond(r, MHD_HTTP_OK, TYPE_PAGE, (char *)(uintptr_t)page, strlen(page),
		MHD_RESPMEM_PERSISTENT);
}

/* Call when the body or the answer is complete. Notifications have no answer. */
static enum MHD_Result
answer_rpc(struct request *r) RUNS_ON(role_main)
{
	if (!r->asked) {
		r->asked = true;
		r->turn_ns = now_ns();
		http_gate_phase(r->http->gate, r->fd, HTTP_WORK, 0);
		rpc_line(&r->client, r->body != NULL ? r->body : "", r->len);
		if (r->client.pending > 0) {
			r->suspended = true;
			r->http->lib.suspend_connection(r->connection);
			return MHD_YES;
		}
	}
	if (r->status != 0)
		return refuse(r, r->status);
	if (r->answer == NULL)
		return refuse(r, r->len > 0 ? MHD_HTTP_NO_CONTENT : MHD_HTTP_BAD_REQUEST);
	return respond_answer(r, "application/json");
}

static void
body_take(struct request *r, const char *data, size_t len)
{
	size_t need = r->len + len, size = need < 2 * r->size ? 2 * r->size : need;
	char *p;

	if (r->status != 0)
		return; /* already refused: the body is read and dropped */
	if (need > r->client.bounds->request) {
		r->status = MHD_HTTP_CONTENT_TOO_LARGE;
		return;
	}
	if (need > r->size) {
		p = realloc(r->body, size);
		if (p == NULL) {
			r->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
			return;
		}
		r->body = p;
		r->size = size;
	}
	memcpy(r->body + r->len, data, len);
	r->len = need;
}

/* MHD calls this with the headers, with each part of the body, at the end of the body, and after a resume. */
static enum MHD_Result
handle(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
	const char *version, const char *data, size_t *len, void **request) RUNS_ON(role_main)
{
	struct request *r = *request;
	unsigned status;

	(void)version;
	if (r == NULL) {
		*request = r = request_create(ctx, connection);
		if (r == NULL)
			return MHD_NO;
		http_gate_phase(r->http->gate, r->fd, HTTP_BODY, 0);
		status = admit(r, url, method);
		r->status = status == MHD_HTTP_OK ? 0 : status;
		return MHD_YES;
	}
	if (*len > 0) {
		body_take(r, data, *len);
		*len = 0;
		return MHD_YES;
	}
	if (r->status != 0 && !r->asked)
		return refuse(r, r->status);
	if (strcmp(url, URL_PAGE) == 0)
		return answer_page(r);
	if (is_health(url))
		return answer_health(r, strcmp(url, "/readyz") == 0);
	return strcmp(url, "/metrics") == 0 ? answer_metrics(r) : answer_rpc(r);
}

/* ---- the loop ---- */

static void
run(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;

	h->lib.run(h->mhd);
	if (h->lib.get_timeout(h->mhd, &ms) == MHD_YES)
		timer_arm(h->rpc->thread, &h->timer, ms * 1000000u);
	else
		timer_cancel(h->rpc->thread, &h->timer);
}

static void
ready(struct watch *w, uint32_t events)
{
	(void)events;
	run((struct http *)(void *)((char *)w - offsetof(struct http, watch)));
}

static void
fire(struct timer *t)
{
	run((struct http *)(void *)((char *)t - offsetof(struct http, timer)));
}

/* ---- life ---- */

static void
origins_set(struct http *h, const struct http_config *c)
{
	static const uint8_t v6[16] = {[15] = 1};
	bool loopback =
		c->addr.afi == AFI_IPV4 ? c->addr.b[0] == 127 : memcmp(c->addr.b, v6, 16) == 0;
	static const uint8_t any[16];
	char text[ADDR_TEXT_MAX];

	h->wildcard = memcmp(c->addr.b, any, c->addr.afi == AFI_IPV4 ? 4 : 16) == 0;
	snprintf(h->origin[0], sizeof(h->origin[0]),
		c->addr.afi == AFI_IPV4 ? "http://%s:%u" : "http://[%s]:%u",
		addr_format(&c->addr, text), c->port);
	if (loopback)
		snprintf(h->origin[1], sizeof(h->origin[1]), "http://localhost:%u", c->port);
}

static void
http_free(struct http *h) RUNS_ON(role_main)
{
	http_gate_destroy(h->gate);
	free(h->token_file);
	free(h);
}

/* Everything except the listener of the gate. */
static int
daemon_start(struct http *h)
{
	const union MHD_DaemonInfo *info;

	h->mhd = h->lib.start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL,
		handle, h, MHD_OPTION_CONNECTION_LIMIT, MHD_CONNECTIONS_MAX,
		MHD_OPTION_NOTIFY_COMPLETED, completed, h, MHD_OPTION_NOTIFY_CONNECTION,
		connection_changed, h, MHD_OPTION_END);
	if (h->mhd == NULL)
		return -ENOMEM;
	info = h->lib.get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	if (info == NULL)
		return -ENOMEM;
	h->timer.fire = fire;
	h->watch = (struct watch){info->epoll_fd, ready};
	return watch_set(h->rpc->thread, &h->watch, EPOLLIN);
}

int
http_create(struct rpc *r, const struct http_config *c, struct http **out)
{
	struct http *h = calloc(1, sizeof(*h));
	int err;

	if (h == NULL)
		return -ENOMEM;
	err = http_mhd_load(&h->lib);
	if (err != 0) {
		free(h);
		return err;
	}
	h->rpc = r;
	h->token_file = c->token_file != NULL ? strdup(c->token_file) : NULL;
	origins_set(h, c);
	err = c->token_file == NULL || h->token_file != NULL
		      ? http_gate_create(r->thread, &c->addr, c->port, &h->gate)
		      : -ENOMEM;
	if (err == 0)
		err = daemon_start(h);
	if (err == 0)
		err = http_gate_start(h->gate, &h->lib, h->mhd, &h->timer);
	if (err != 0) {
		if (h->mhd != NULL)
			h->lib.stop_daemon(h->mhd);
		http_free(h);
		return err;
	}
	*out = h;
	return 0;
}

void
http_destroy(struct http *h)
{
	if (h == NULL)
		return;
	http_gate_stop(h->gate);
	watch_set(h->rpc->thread, &h->watch, 0);
	for (struct request *r = h->requests; r != NULL; r = r->next) {
		if (r->suspended) {
			r->suspended = false;
			h->lib.resume_connection(r->connection);
		}
	}
	h->lib.stop_daemon(h->mhd);
	timer_cancel(h->rpc->thread, &h->timer);
	http_free(h);
}
