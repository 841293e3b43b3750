/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/http/http_gate.h"

#include "control/base/log.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define NS_PER_S 1000000000ull
#define REQUEST_NS (10 * NS_PER_S) /* headers and body together */
#define KEPT_NS (30 * NS_PER_S) /* from an answer to the end of the next request's headers */
#define ANSWER_NS (10 * NS_PER_S) /* plus the answer's octets at ANSWER_RATE */
#define ANSWER_RATE 1000000u /* octets a second */
#define ACCEPT_RETRY_NS 100000000u
#define LOG_NS (10 * NS_PER_S) /* minimum between two log lines */

struct gate_connection {
	struct http_gate *gate;
	struct gate_connection *next;
	struct timer deadline;
	struct prefix source; /* connections are counted by source */
	uint64_t since_ns; /* begin of the phase */
	int fd;
	uint8_t phase; /* enum http_phase */
	bool closing; /* shut down; the daemon has not closed it yet */
};

struct http_gate {
	struct watch watch;
	struct timer again; /* accepts again after descriptors or memory were short */
	struct thread *thread;
	struct MHD_Daemon *mhd;
	struct timer *run;
	struct gate_connection *connections;
	uint64_t logged_ns;
	unsigned closed; /* early, since the last log line */
};

static void
log_closed(struct http_gate *g, const struct prefix *source, const char *reason)
{
	char text[PREFIX_TEXT_MAX];
	uint64_t now = now_ns();

	g->closed++;
	if (g->logged_ns != 0 && now - g->logged_ns < LOG_NS)
		return;
	log_event(LOG_WARNING, "http-connections-closed count=%u source=%s reason=\"%s\"",
		g->closed, prefix_format(source, text), reason);
	g->logged_ns = now;
	g->closed = 0;
}

/* The daemon sees the end of the stream and closes. The reset frees the kernel's send buffer, also if the client does not read. */
static void
connection_end(struct gate_connection *c, const char *reason)
{
	struct linger reset = {.l_onoff = 1};

	log_closed(c->gate, &c->source, reason);
	c->closing = true;
	timer_cancel(c->gate->thread, &c->deadline);
	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	shutdown(c->fd, SHUT_RDWR);
	timer_arm(c->gate->thread, c->gate->run, 0);
}

static void
deadline_fire(struct timer *t)
{
	struct gate_connection *c =
		(struct gate_connection *)(void *)((char *)t -
						   offsetof(struct gate_connection, deadline));

	connection_end(c, c->phase == HTTP_ANSWER ? "the answer was not read in time"
						  : "no whole request in time");
}

static uint64_t
phase_ns(enum http_phase phase, size_t octets)
{
	switch (phase) {
	case HTTP_FIRST:
	case HTTP_BODY:
		return REQUEST_NS;
	case HTTP_KEPT:
		return KEPT_NS;
	case HTTP_ANSWER:
		return ANSWER_NS + octets * NS_PER_S / ANSWER_RATE;
	case HTTP_WORK:
		break;
	}
	return 0;
}

static void
connection_phase(struct gate_connection *c, enum http_phase phase, size_t octets)
{
	uint64_t ns = phase_ns(phase, octets);

	c->phase = phase;
	c->since_ns = now_ns();
	timer_cancel(c->gate->thread, &c->deadline);
	if (ns != 0 && timer_arm(c->gate->thread, &c->deadline, ns) != 0)
		connection_end(c, "out of memory");
}

static struct gate_connection *
connection_find(const struct http_gate *g, int fd)
{
	struct gate_connection *c = g->connections;

	while (c != NULL && c->fd != fd)
		c = c->next;
	return c;
}

void
http_gate_phase(struct http_gate *g, int fd, enum http_phase phase, size_t octets)
{
	struct gate_connection *c = connection_find(g, fd);

	if (c == NULL || c->closing)
		return;
	/* The deadline of the first request runs from the accept; the headers do not extend the deadline. */
	if (phase == HTTP_BODY && c->phase == HTTP_FIRST)
		return;
	connection_phase(c, phase, octets);
}

void
http_gate_closed(struct http_gate *g, int fd)
{
	for (struct gate_connection **at = &g->connections; *at != NULL; at = &(*at)->next) {
		struct gate_connection *c = *at;

		if (c->fd != fd)
			continue;
		*at = c->next;
		timer_cancel(g->thread, &c->deadline);
		free(c);
		return;
	}
}

/* ---- admission ---- */

static struct prefix
source_of(const struct sockaddr_storage *sa)
{
	struct ip_addr a = {.afi = AFI_IPV6};

	if (sa->ss_family == AF_INET6) {
		memcpy(a.b, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
		return prefix_from_addr(&a, 64);
	}
	a.afi = AFI_IPV4;
	memcpy(a.b, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
	return prefix_from_addr(&a, a.b[0] == 127 ? 8 : 32);
}

static unsigned
source_count(const struct http_gate *g, const struct prefix *source)
{
	unsigned count = 0;

	for (const struct gate_connection *c = g->connections; c != NULL; c = c->next)
		count += !c->closing && prefix_equal(&c->source, source);
	return count;
}

/* The connection of `source` (NULL: of the source with most connections) with the longest wait for the client. NULL: no connection waits for a client. */
static struct gate_connection *
longest_waiting(const struct http_gate *g, const struct prefix *source)
{
	struct gate_connection *found = NULL;
	unsigned most = 0;

	for (struct gate_connection *c = g->connections; c != NULL; c = c->next) {
		unsigned count;

		if (c->closing || c->phase == HTTP_WORK ||
			(source != NULL && !prefix_equal(&c->source, source)))
			continue;
		count = source_count(g, &c->source);
		if (found == NULL || count > most ||
			(count == most && c->since_ns < found->since_ns)) {
			found = c;
			most = count;
		}
	}
	return found;
}

/* True when `source` may have a further connection. Ends a connection if a bound is reached. */
static bool
make_room(struct http_gate *g, const struct prefix *source)
{
	struct gate_connection *victim;
	unsigned count = 0;

	for (const struct gate_connection *c = g->connections; c != NULL; c = c->next)
		count += !c->closing;
	if (source_count(g, source) >= HTTP_ADDRESS_CONNECTIONS_MAX)
		victim = longest_waiting(g, source);
	else if (count >= HTTP_CONNECTIONS_MAX)
		victim = longest_waiting(g, NULL);
	else
		return true;
	if (victim != NULL)
		connection_end(victim, "too many connections");
	else
		log_closed(g, source, "too many connections");
	return victim != NULL;
}

static void
admit(struct http_gate *g, int fd, const struct sockaddr_storage *sa, socklen_t len)
	RUNS_ON(role_main)
{
	struct prefix source = source_of(sa);
	struct gate_connection *c = make_room(g, &source) ? calloc(1, sizeof(*c)) : NULL;

	if (c == NULL) {
		close(fd);
		return;
	}
	*c = (struct gate_connection){.gate = g,
		.next = g->connections,
		.source = source,
		.fd = fd,
		.deadline.fire = deadline_fire};
	g->connections = c;
	connection_phase(c, HTTP_FIRST, 0);
	if (MHD_add_connection(g->mhd, fd, (const struct sockaddr *)sa, len) == MHD_YES)
		timer_arm(g->thread, g->run, 0);
	else if (connection_find(g, fd) == c) /* the daemon has closed `fd` */
		http_gate_closed(g, fd);
}

static void
gate_ready(struct watch *w, uint32_t events) RUNS_ON(role_main)
{
	struct http_gate *g = (struct http_gate *)(void *)w; /* its first member */
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int fd = accept4(w->fd, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0) {
		admit(g, fd, &sa, len);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		log_event(LOG_ERROR, "http-accept-failed error=\"%s\"", strerrordesc_np(errno));
		if (timer_arm(g->thread, &g->again, ACCEPT_RETRY_NS) == 0)
			watch_set(g->thread, w, 0);
	}
}

static void
again_fire(struct timer *t)
{
	struct http_gate *g =
		(struct http_gate *)(void *)((char *)t - offsetof(struct http_gate, again));

	watch_set(g->thread, &g->watch, EPOLLIN);
}

/* ---- life ---- */

int
http_gate_create(struct thread *t, int fd, struct http_gate **out)
{
	struct http_gate *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return -ENOMEM;
	g->thread = t;
	g->watch = (struct watch){fd, gate_ready};
	g->again.fire = again_fire;
	*out = g;
	return 0;
}

int
http_gate_start(struct http_gate *g, struct MHD_Daemon *mhd, struct timer *run)
{
	g->mhd = mhd;
	g->run = run;
	return watch_set(g->thread, &g->watch, EPOLLIN);
}

void
http_gate_stop(struct http_gate *g)
{
	watch_set(g->thread, &g->watch, 0);
	timer_cancel(g->thread, &g->again);
}

void
http_gate_destroy(struct http_gate *g)
{
	if (g == NULL)
		return;
	close(g->watch.fd);
	free(g);
}
