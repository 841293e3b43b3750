/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Starts keel-http, listens on `management.http`, gives the listener to keel-http, and takes the streams
 * of requests (control/http/front.h). `management` does not change while keeld runs.
 */
#include "control/rpc/rpc.h"
#include "control/rpc/rpc_call.h"

#include "control/base/log.h"
#include "control/config/config.h"
#include "control/http/front.h"
#include "lpm/base/beside.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define RETRY_NS 5000000000u
#define RETRY_FIRST_NS 200000000u /* the keel-http of a killed keeld ends now */
#define END_MS 2000 /* limit for the end of keel-http */

struct rpc_http {
	struct rpc_listener front; /* .watch: the socket pair; descriptor -1: keel-http has ended */
	struct timer timer; /* retries to listen */
	uint64_t retry_ns;
	int listener; /* -1: not listening yet */
	bool ready; /* keel-http asked for the listener */
	char *token_file; /* NULL: none */
};

/* ---- the listener ---- */

static socklen_t
socket_address(const struct ip_addr *addr, uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in *in = (struct sockaddr_in *)(void *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)out;

	memset(out, 0, sizeof(*out));
	if (addr->afi == AFI_IPV4) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, addr->b, 4);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	in6->sin6_scope_id = addr->zone;
	memcpy(&in6->sin6_addr, addr->b, 16);
	return sizeof(*in6);
}

static int
listener(const struct ip_addr *addr, uint16_t port)
{
	struct sockaddr_storage sa;
	socklen_t len = socket_address(addr, port, &sa);
	int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, err;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (sa.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&sa, len) == 0 && listen(fd, SOMAXCONN) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static void
listener_give(struct rpc_http *h)
{
	struct front_message m = {.kind = FRONT_LISTENER};

	if (h->ready && h->listener >= 0)
		(void)front_send(h->front.watch.fd, &m, h->listener);
}

/* keeld routes also when the address does not exist yet or the port is in use: tries again. */
static void
listen_start(struct timer *t) RUNS_ON(role_main)
{
	struct rpc_http *h =
		(struct rpc_http *)(void *)((char *)t - offsetof(struct rpc_http, timer));
	struct rpc *r = h->front.rpc;
	const struct config *c = apply_running(r->env.apply);
	int fd = listener(&c->http_addr, c->http_port);
	char text[ADDR_TEXT_MAX];

	addr_format(&c->http_addr, text);
	if (fd >= 0) {
		h->listener = fd;
		log_event(LOG_INFO, "http-up address=%s port=%u", text, c->http_port);
		listener_give(h);
		return;
	}
	log_event(LOG_ERROR, "http-failed address=%s port=%u error=\"%s\"", text, c->http_port,
		strerror(-fd));
	timer_arm(r->thread, t, h->retry_ns);
	h->retry_ns = RETRY_NS;
}

/* ---- keel-http ---- */

/* Starts keel-http, which is in the folder of keeld, with `fd` and standard output alone, in a new session. 0, -errno. */
static int
spawn(int fd)
{
	char path[PATH_MAX];
	char *const argv[] = {(char[]){"keel-http"}, (char[]){"--log-level"},
		(char *)(uintptr_t)log_level_name(), NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t how;
	sigset_t none;
	pid_t pid;
	int e = beside("keel-http", path);

	if (e != 0)
		return e;
	sigemptyset(&none);
	/* a process that ends leaves no zombie */
	signal(SIGCHLD, SIG_IGN);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&how);
	posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
	posix_spawnattr_setsigmask(&how, &none);
	/* a descriptor that is FRONT_FD already loses FD_CLOEXEC */
	e = posix_spawn_file_actions_adddup2(&files, fd, FRONT_FD);
	if (e == 0)
		e = posix_spawn_file_actions_addclosefrom_np(&files, FRONT_FD + 1);
	if (e == 0)
		e = posix_spawn(&pid, path, &files, &how, argv, environ);
	posix_spawnattr_destroy(&how);
	posix_spawn_file_actions_destroy(&files);
	return -e;
}

static void
front_end(struct rpc_http *h) RUNS_ON(role_main)
{
	timer_cancel(h->front.rpc->thread, &h->timer);
	watch_set(h->front.rpc->thread, &h->front.watch, 0);
	close(h->front.watch.fd);
	h->front.watch.fd = -1;
	if (h->listener >= 0)
		close(h->listener); /* clients are refused instead of waiting */
	h->listener = -1;
}

/* An IP address, for the audit trail. */
static bool
is_address(const char *text)
{
	return text[strspn(text, "0123456789abcdef:.")] == '\0';
}

static void
stream_open(struct rpc_http *h, const struct front_message *m, int fd) RUNS_ON(role_main)
{
	struct rpc_user user = {.key = ""};
	bool good = is_address(m->from) &&
		    (!m->has_token || rpc_user_of_token(&user, h->token_file, m->token));
	char verdict = good ? FRONT_GOOD : FRONT_WRONG;

	snprintf(user.from, sizeof(user.from), "http %s", m->from);
	if (send(fd, &verdict, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 && good)
		rpc_front_connection(&h->front, fd, m->has_token ? &user : NULL, m->own != 0);
	else
		close(fd);
}

static void
front_ready(struct watch *w, uint32_t events) RUNS_ON(role_main)
{
	struct rpc_http *h = (struct rpc_http *)(void *)w; /* its first member's first member */
	struct front_message m;
	int fd, e = front_receive(w->fd, &m, &fd);

	(void)events;
	if (e == -EAGAIN || e == -EINTR)
		return;
	if (e == 0 && m.kind == FRONT_OPEN) {
		if (fd >= 0)
			stream_open(h, &m, fd);
		else /* keel-http sees the end of its stream */
			log_event(LOG_ERROR, "http-accept-failed error=\"%s\"", strerror(EMFILE));
		return;
	}
	if (fd >= 0)
		close(fd);
	if (e == 0 && m.kind == FRONT_READY) {
		h->ready = true;
		listener_give(h);
		return;
	}
	log_event(LOG_ERROR, "http-ended error=\"%s\"", strerror(e != 0 ? -e : EPROTO));
	front_end(h);
}

/* Starts keel-http before the filter of system calls, which permits no process. 0, -errno. */
static int
front_start(struct rpc_http *h) RUNS_ON(role_main)
{
	int pair[2], e;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return -errno;
	e = spawn(pair[1]);
	close(pair[1]);
	h->front.watch = (struct watch){pair[0], front_ready};
	return e != 0 ? e : watch_set(h->front.rpc->thread, &h->front.watch, EPOLLIN);
}

void
rpc_http_start(struct rpc *r)
{
	const struct config *c = apply_running(r->env.apply);
	const char *token_file = c->http_token_file;
	int e = -ENOMEM;

	if (c->http_addr.afi == AFI_NONE)
		return;
	r->http = calloc(1, sizeof(*r->http));
	if (r->http != NULL) {
		*r->http = (struct rpc_http){.front = {.watch.fd = -1, .rpc = r, .front = true},
			.timer.fire = listen_start,
			.retry_ns = RETRY_FIRST_NS,
			.listener = -1,
			.token_file = token_file != NULL ? strdup(token_file) : NULL};
		if (token_file == NULL || r->http->token_file != NULL)
			e = front_start(r->http);
	}
	if (e == 0)
		listen_start(&r->http->timer);
	else
		log_event(LOG_ERROR, "http-ended error=\"%s\"", strerror(-e));
}

void
rpc_http_end(struct rpc *r)
{
	struct rpc_http *h = r->http;
	struct pollfd p;

	if (h == NULL)
		return;
	if (h->front.watch.fd >= 0) {
		/* until keel-http has closed the listener: the next keeld needs the port */
		p = (struct pollfd){.fd = h->front.watch.fd, .events = 0};
		(void)shutdown(h->front.watch.fd, SHUT_WR);
		(void)poll(&p, 1, END_MS);
		front_end(h);
	}
	free(h->token_file);
	free(h);
	r->http = NULL;
}
