/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/http/http.h"

#include "control/base/threads.h"
#include "control/http/front.h"
#include "control/http/http_gate.h"
#include "control/http/http_metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* libmicrohttpd still holds connections that the gate has ended. */
#define MHD_CONNECTIONS_MAX (2 * HTTP_CONNECTIONS_MAX)
#define READ_STEP (64u << 10)
#define URL_PAGE "/"
#define TYPE_PAGE "text/html; charset=utf-8"

/* Made by embed_page.py: the Content-Security-Policy, and after its NUL the page. */
static const char page_text[] = {
#include "http_page.inc"
};

/* One end of a connection. */
struct place {
	char host[INET6_ADDRSTRLEN]; /* "": unknown */
	char origin[INET6_ADDRSTRLEN +
		    24]; /* http://HOST:PORT, as a browser sends the header Origin */
	bool loopback, any;
};

struct http {
	struct thread *thread;
	int front; /* to keeld */
	struct http_gate *gate;
	struct MHD_Daemon *mhd;
	struct watch watch; /* epoll descriptor of libmicrohttpd */
	struct timer timer; /* timeouts of libmicrohttpd */
	struct request *requests;
	struct place here; /* of the listener */
	char localhost[sizeof(((struct place *)0)->origin)]; /* for a loopback address, else "" */
};

/*
 * A request with a token opens a stream to keeld after the headers, and keeld checks the token during
 * the body. A request without a token opens the stream after the body. libmicrohttpd suspends the
 * connection until the answer is complete.
 */
struct request {
	struct watch keeld; /* the stream; descriptor -1: none */
	struct http *http;
	struct request *next;
	struct MHD_Connection *connection;
	int fd; /* of the connection */
	unsigned status; /* refused; 0: not */
	char *body, *answer;
	size_t len, size, answer_len, answer_size;
	const char *out; /* the line for keeld: octets not sent yet */
	size_t out_len;
	struct http_metrics *metrics; /* GET /metrics */
	bool token, verdict, asked, suspended;
};

/* `peer`: of the other end. */
static struct place
place_of(int fd, bool peer)
{
	struct sockaddr_storage sa;
	const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)&sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)&sa;
	socklen_t len = sizeof(sa);
	struct place p = {.origin = "http://:"};

	if ((peer ? getpeername : getsockname)(fd, (struct sockaddr *)&sa, &len) != 0)
		return p;
	if (sa.ss_family == AF_INET) {
		inet_ntop(AF_INET, &in->sin_addr, p.host, sizeof(p.host));
		p.loopback = ntohl(in->sin_addr.s_addr) >> 24 == 127;
		p.any = in->sin_addr.s_addr == INADDR_ANY;
	} else {
		inet_ntop(AF_INET6, &in6->sin6_addr, p.host, sizeof(p.host));
		p.loopback = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
		p.any = IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
	}
	/* the port has the same place in both */
	snprintf(p.origin, sizeof(p.origin),
		sa.ss_family == AF_INET ? "http://%s:%u" : "http://[%s]:%u", p.host,
		ntohs(in->sin_port));
	return p;
}

/* ---- the stream to keeld ---- */

static void
keeld_close(struct request *r)
{
	if (r->keeld.fd < 0)
		return;
	watch_set(r->http->thread, &r->keeld, 0);
	close(r->keeld.fd);
	r->keeld.fd = -1;
}

/* libmicrohttpd calls again, after the timer's MHD_run(). */
static void
request_resume(struct request *r)
{
	if (!r->suspended)
		return;
	r->suspended = false;
	MHD_resume_connection(r->connection);
	timer_arm(r->http->thread, &r->http->timer, 0);
}

static enum MHD_Result
request_suspend(struct request *r)
{
	r->suspended = true;
	MHD_suspend_connection(r->connection);
	return MHD_YES;
}

/* The answer is complete, or `status` refuses the request. */
static void
request_settle(struct request *r, unsigned status)
{
	r->status = status;
	keeld_close(r);
	request_resume(r);
}

static void
keeld_await(struct request *r)
{
	if (watch_set(r->http->thread, &r->keeld, EPOLLIN | (r->out_len > 0 ? EPOLLOUT : 0)) != 0)
		request_settle(r, MHD_HTTP_INTERNAL_SERVER_ERROR);
}

/* Sends a line. The calls for metrics follow each other. */
static void
keeld_ask(struct request *r, const char *line, size_t len)
{
	r->out = line;
	r->out_len = len;
	r->answer_len = 0;
	keeld_await(r);
}

static void
keeld_write(struct request *r)
{
	ssize_t n = send(r->keeld.fd, r->out, r->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n > 0) {
		r->out += n;
		r->out_len -= (size_t)n;
	}
	if (r->out_len == 0 && r->metrics == NULL)
		shutdown(r->keeld.fd, SHUT_WR); /* an empty line follows the answer */
	keeld_await(r);
}

/* The page is complete, or the next call for it is made. */
static void
metrics_take(struct request *r)
{
	bool good = http_metrics_take(r->metrics, r->answer, r->answer_len) == 0;
	const char *line = good ? http_metrics_request(r->metrics) : NULL;

	if (line != NULL) {
		keeld_ask(r, line, strlen(line));
		return;
	}
	free(r->answer);
	r->answer = good ? http_metrics_text(r->metrics, &r->answer_len) : NULL;
	request_settle(r, r->answer != NULL ? 0 : MHD_HTTP_INTERNAL_SERVER_ERROR);
}

/* Makes room for the next octets of the answer. */
static bool
answer_room(struct request *r)
{
	size_t size = r->answer_size != 0 ? 2 * r->answer_size : READ_STEP;
	char *p;

	if (r->answer_size - r->answer_len >= READ_STEP / 2)
		return true;
	if (r->answer_len > FRONT_ANSWER_MAX || (p = realloc(r->answer, size)) == NULL)
		return false;
	r->answer = p;
	r->answer_size = size;
	return true;
}

static void
keeld_read(struct request *r)
{
	ssize_t n = -1;
	char verdict, *end;

	if (!r->verdict) {
		n = recv(r->keeld.fd, &verdict, 1, MSG_DONTWAIT);
		r->verdict = n == 1 && verdict == FRONT_GOOD;
		if (n == 1 && !r->verdict)
			request_settle(r, MHD_HTTP_UNAUTHORIZED);
		else if (n == 1 && !r->asked)
			request_resume(r); /* a long body waits */
	} else if (answer_room(r)) {
		n = recv(r->keeld.fd, r->answer + r->answer_len, r->answer_size - r->answer_len,
			MSG_DONTWAIT);
		end = n > 0 ? memchr(r->answer + r->answer_len, '\n', (size_t)n) : NULL;
		if (n > 0)
			r->answer_len += (size_t)n;
		if (end != NULL) {
			r->answer_len = (size_t)(end - r->answer);
			if (r->metrics != NULL)
				metrics_take(r);
			else
				request_settle(r, 0);
		}
	} else {
		errno = ENOMEM;
	}
	/* The answer is too long, or keeld stops. */
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		request_settle(r, MHD_HTTP_INTERNAL_SERVER_ERROR);
}

static void
keeld_ready(struct watch *w, uint32_t events)
{
	struct request *r = (struct request *)(void *)w; /* its first member */

	if (events & EPOLLOUT)
		keeld_write(r);
	if (r->keeld.fd >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		keeld_read(r);
}

/* `token` NULL: none. The status of an answer, or 0. */
static unsigned
keeld_open(struct request *r, const char *token, bool own)
{
	struct front_message m = {.kind = FRONT_OPEN, .has_token = token != NULL, .own = own};
	int pair[2], e;

	snprintf(m.from, sizeof(m.from), "%s", place_of(r->fd, true).host);
	snprintf(m.token, sizeof(m.token), "%s", token != NULL ? token : "");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		return MHD_HTTP_INTERNAL_SERVER_ERROR;
	e = front_send(r->http->front, &m, pair[1]);
	close(pair[1]);
	r->keeld = (struct watch){pair[0], keeld_ready};
	if (e == 0 && watch_set(r->http->thread, &r->keeld, EPOLLIN) == 0)
		return 0;
	close(pair[0]);
	r->keeld.fd = -1;
	return MHD_HTTP_SERVICE_UNAVAILABLE;
}

/* ---- requests ---- */

static int
connection_fd(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	return info != NULL ? info->connect_fd : -1;
}

static struct request *
request_create(struct http *h, struct MHD_Connection *connection)
{
	struct request *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->keeld.fd = -1;
	r->http = h;
	r->connection = connection;
	r->fd = connection_fd(connection);
	r->next = h->requests;
	h->requests = r;
	return r;
}

static void
request_free(struct request *r) RUNS_ON(role_main)
{
	for (struct request **at = &r->http->requests; *at != NULL; at = &(*at)->next) {
		if (*at == r) {
			*at = r->next;
			break;
		}
	}
	keeld_close(r);
	http_metrics_destroy(r->metrics);
	free(r->body);
	free(r->answer);
	free(r);
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
		request_free(r);
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
		http_gate_closed(h->gate, connection_fd(connection));
}

/* ---- authorization ---- */

static const char *
header(const struct request *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

/* `origin`: with or without a port. */
static bool
address_is_here(const struct request *r, const char *origin, bool with_port)
{
	struct place here = place_of(r->fd, false);

	if (!with_port)
		*strrchr(here.origin, ':') = '\0';
	return here.host[0] != '\0' && strcasecmp(origin, here.origin) == 0;
}

/*
 * A listener on all addresses has an origin for each address; a name is never accepted, because a
 * foreign page can make its own name resolve to this host.
 */
static bool
origin_good(const struct request *r)
{
	const char *origin = header(r, "Origin");

	if (origin == NULL)
		return true;
	return strcasecmp(origin, r->http->here.origin) == 0 ||
	       (r->http->localhost[0] != '\0' && strcasecmp(origin, r->http->localhost) == 0) ||
	       (r->http->here.any && address_is_here(r, origin, true));
}

/* True if `host`, without a port, is an address of ours, localhost, or the name of this machine. */
static bool
host_is_here(const struct request *r, const char *host, int len)
{
	char origin[sizeof(r->http->here.origin)], name[256] = "";
	size_t n;

	snprintf(origin, sizeof(origin), "http://%.*s", len, host);
	n = strlen(origin);
	(void)gethostname(name, sizeof(name) - 1);
	return (strncasecmp(r->http->here.origin, origin, n) == 0 &&
		       r->http->here.origin[n] == ':') ||
	       strcasecmp(origin, "http://localhost") == 0 ||
	       (name[0] != '\0' && strcasecmp(origin + strlen("http://"), name) == 0) ||
	       (r->http->here.any && address_is_here(r, origin, false));
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

static bool
is_health(const char *url)
{
	return strcmp(url, "/healthz") == 0 || strcmp(url, "/readyz") == 0;
}

/*
 * Without a token, a client on the loopback that names this router may read, and a remote client is refused. A token goes to keeld.
 */
static unsigned
authorize(struct request *r, const char *url) RUNS_ON(role_main)
{
	const char *given = header(r, "Authorization");

	/* the kernel's loopback accepts no packets from other hosts */
	if (given == NULL && !place_of(r->fd, true).loopback)
		return MHD_HTTP_UNAUTHORIZED;
	if (given == NULL)
		return host_good(r) ? 0 : MHD_HTTP_FORBIDDEN;
	if (strncasecmp(given, "Bearer ", 7) != 0)
		return MHD_HTTP_UNAUTHORIZED;
	given += 7 + strspn(given + 7, " ");
	if (strlen(given) > FRONT_TOKEN_MAX)
		return MHD_HTTP_UNAUTHORIZED;
	r->token = true;
	return keeld_open(r, given, strcmp(url, "/rpc") != 0);
}

/* RFC 9110 9.3.2: HEAD has the headers of GET; libmicrohttpd leaves out the content. */
static bool
is_read(const char *method)
{
	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

/* The status that refuses the request, or 0. */
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
		return 0;
	/* A probe of another host needs no token: the answer is one bit. */
	return health && header(r, "Authorization") == NULL ? 0 : authorize(r, url);
}

/* ---- answers ---- */

static enum MHD_Result
respond(struct request *r, unsigned status, const char *type, char *text, size_t len,
	enum MHD_ResponseMemoryMode mode) RUNS_ON(role_main)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(len, text, mode);
	enum MHD_Result result;

	if (response == NULL) {
		if (mode == MHD_RESPMEM_MUST_FREE)
			free(text);
		return MHD_NO;
	}
	http_gate_phase(r->http->gate, r->fd, HTTP_ANSWER, len);
	if (type != NULL)
		MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (type != NULL && strcmp(type, TYPE_PAGE) == 0) {
		MHD_add_response_header(response, "Content-Security-Policy", page_text);
		MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
	}
	if (status == MHD_HTTP_UNAUTHORIZED)
		MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, "Allow", "GET, HEAD, POST");
	result = MHD_queue_response(r->connection, status, response);
	MHD_destroy_response(response);
	return result;
}

/* Sends r->answer. */
static enum MHD_Result
respond_answer(struct request *r, unsigned status, const char *type) RUNS_ON(role_main)
{
	char *text = r->answer;

	r->answer = NULL; /* libmicrohttpd frees it */
	return respond(r, status, type, text, r->answer_len, MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result
refuse(struct request *r, unsigned status) RUNS_ON(role_main)
{
	return respond(r, status, NULL, (char *)(uintptr_t) "", 0, MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result
answer_metrics(struct request *r) RUNS_ON(role_main)
{
	static const char *const types[] = {
		[HTTP_METRICS_OPEN] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
		[HTTP_METRICS_TEXT] = "text/plain; version=0.0.4; charset=utf-8"};

	return respond_answer(r, MHD_HTTP_OK, types[http_metrics_format(header(r, "Accept"))]);
}

static enum MHD_Result
answer_health(struct request *r) RUNS_ON(role_main)
{
	json_t *answer = json_loadb(r->answer, r->answer_len, 0, NULL);
	json_t *reason = json_object_get(json_object_get(answer, "result"), "reason");
	bool good = json_is_null(reason);
	int n = json_is_string(reason)
			? snprintf(r->answer, r->answer_size, "%s\n", json_string_value(reason))
			: snprintf(r->answer, r->answer_size,
				  good ? "ok\n" : "keeld does not answer\n");

	r->answer_len = (size_t)n;
	json_decref(answer);
	return respond_answer(
		r, good ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain; charset=utf-8");
}

static enum MHD_Result
answer_page(struct request *r) RUNS_ON(role_main)
{
	const char *page = page_text + strlen(page_text) + 1;

	return respond(r, MHD_HTTP_OK, TYPE_PAGE, (char *)(uintptr_t)page, strlen(page),
		MHD_RESPMEM_PERSISTENT);
}

/* Notifications have no answer. */
static enum MHD_Result
answer_rpc(struct request *r) RUNS_ON(role_main)
{
	if (r->answer_len == 0)
		return refuse(r, MHD_HTTP_NO_CONTENT);
	r->answer[r->answer_len++] = '\n';
	return respond_answer(r, MHD_HTTP_OK, "application/json");
}

/* The body is complete: asks keeld, and suspends the connection until the answer has come. */
static enum MHD_Result
ask(struct request *r, const char *url) RUNS_ON(role_main)
{
	const char *line =
		strcmp(url, "/readyz") == 0
			? "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"system.health\","
			  "\"params\":{\"ready\":true}}\n"
			: "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"system.health\"}\n";
	bool rpc = strcmp(url, "/rpc") == 0;

	r->asked = true;
	http_gate_phase(r->http->gate, r->fd, HTTP_WORK, 0);
	if (rpc && r->body == NULL)
		return refuse(r, MHD_HTTP_BAD_REQUEST);
	if (rpc) {
		r->body[r->len++] = '\n';
		line = r->body;
	} else if (strcmp(url, "/metrics") == 0) {
		r->metrics = http_metrics_create(http_metrics_format(header(r, "Accept")));
		if (r->metrics == NULL)
			return refuse(r, MHD_HTTP_INTERNAL_SERVER_ERROR);
		line = http_metrics_request(r->metrics);
	}
	if (r->keeld.fd < 0)
		r->status = keeld_open(r, NULL, !rpc);
	if (r->status != 0)
		return refuse(r, r->status);
	keeld_ask(r, line, rpc ? r->len : strlen(line));
	return r->status != 0 ? refuse(r, r->status) : request_suspend(r);
}

/* Keeps room for the newline behind the body. False: out of memory. */
static bool
body_room(struct request *r, size_t len)
{
	size_t need = r->len + len + 1, size = need < 2 * r->size ? 2 * r->size : need;
	char *p;

	if (need <= r->size)
		return true;
	p = realloc(r->body, size);
	if (p == NULL)
		return false;
	r->body = p;
	r->size = size;
	return true;
}

/* A body becomes one line: a line feed is a blank of JSON, as a carriage return is, and neither is allowed within a text. */
static void
body_take(struct request *r, const char *data, size_t len)
{
	char *at;

	if (r->status != 0)
		return; /* already refused: the body is read and dropped */
	if (r->len + len > (r->token ? FRONT_TOKEN_REQUEST_MAX : FRONT_REQUEST_MAX)) {
		r->status = MHD_HTTP_CONTENT_TOO_LARGE;
		return;
	}
	if (!body_room(r, len)) {
		r->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
		return;
	}
	at = memcpy(r->body + r->len, data, len);
	while ((at = memchr(at, '\n', (size_t)(r->body + r->len + len - at))) != NULL)
		*at = '\r';
	r->len += len;
}

/* MHD calls this with the headers, with each part of the body, at the end of the body, and after a resume. */
static enum MHD_Result
handle(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
	const char *version, const char *data, size_t *len, void **request) RUNS_ON(role_main)
{
	struct request *r = *request;

	(void)version;
	if (r == NULL) {
		*request = r = request_create(ctx, connection);
		if (r == NULL)
			return MHD_NO;
		http_gate_phase(r->http->gate, r->fd, HTTP_BODY, 0);
		r->status = admit(r, url, method);
		return MHD_YES;
	}
	if (*len > 0) {
		/* a stranger with any token does not fill the memory */
		if (r->status == 0 && r->token && !r->verdict && r->len + *len > FRONT_REQUEST_MAX)
			return request_suspend(r);
		body_take(r, data, *len);
		*len = 0;
		return MHD_YES;
	}
	if (r->status != 0)
		return refuse(r, r->status);
	if (strcmp(url, URL_PAGE) == 0)
		return answer_page(r);
	if (!r->asked)
		return ask(r, url);
	if (is_health(url))
		return answer_health(r);
	return r->metrics != NULL ? answer_metrics(r) : answer_rpc(r);
}

/* ---- the loop ---- */

static void
run(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;

	MHD_run(h->mhd);
	if (MHD_get_timeout(h->mhd, &ms) == MHD_YES)
		timer_arm(h->thread, &h->timer, ms * 1000000u);
	else
		timer_cancel(h->thread, &h->timer);
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

/* Everything except the listener of the gate. */
static int
daemon_start(struct http *h)
{
	const union MHD_DaemonInfo *info;

	h->mhd = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL,
		handle, h, MHD_OPTION_CONNECTION_LIMIT, MHD_CONNECTIONS_MAX,
		MHD_OPTION_NOTIFY_COMPLETED, completed, h, MHD_OPTION_NOTIFY_CONNECTION,
		connection_changed, h, MHD_OPTION_END);
	if (h->mhd == NULL)
		return -ENOMEM;
	info = MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	if (info == NULL)
		return -ENOMEM;
	h->timer.fire = fire;
	h->watch = (struct watch){info->epoll_fd, ready};
	return watch_set(h->thread, &h->watch, EPOLLIN);
}

int
http_create(struct thread *t, int front, int listener, struct http **out)
{
	struct http *h = calloc(1, sizeof(*h));
	int e = h != NULL ? http_gate_create(t, listener, &h->gate) : -ENOMEM;

	if (e != 0) {
		close(listener);
		free(h);
		return e;
	}
	h->thread = t;
	h->front = front;
	h->here = place_of(listener, false);
	if (h->here.loopback)
		snprintf(h->localhost, sizeof(h->localhost), "http://localhost%s",
			strrchr(h->here.origin, ':'));
	e = daemon_start(h);
	if (e == 0)
		e = http_gate_start(h->gate, h->mhd, &h->timer);
	if (e == 0)
		*out = h;
	else
		http_destroy(h);
	return e;
}

void
http_destroy(struct http *h)
{
	if (h == NULL)
		return;
	http_gate_stop(h->gate);
	for (struct request *r = h->requests; r != NULL; r = r->next) {
		keeld_close(r);
		if (r->suspended)
			MHD_resume_connection(r->connection);
		r->suspended = false;
	}
	if (h->mhd != NULL) {
		watch_set(h->thread, &h->watch, 0);
		MHD_stop_daemon(h->mhd);
	}
	timer_cancel(h->thread, &h->timer);
	http_gate_destroy(h->gate);
	free(h);
}
