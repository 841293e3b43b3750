/* SPDX-License-Identifier: BSD-3-Clause */
/* The two Unix sockets, and the connections, also of keel-http: reads lines, writes answers and events, with turns and a memory bound for each client. */
#include "control/rpc/rpc.h"
#include "control/rpc/rpc_call.h"

#include "control/base/log.h"
#include "control/http/front.h"
#include "rib/table/attr.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_STEP (64u << 10)
#define OUTPUT_HIGH (1u << 20) /* octets of unread output at which no further request is read */
#define BUFFER_KEPT (1u << 20) /* an empty buffer above this size is freed */
#define ACCEPT_RETRY_NS 100000000u
/* Of one connection; then main serves other descriptors, timers and signals. */
#define TURN_NS 20000000u
/* One user has at most this part of a socket's connections. An equal number beyond the limit is reserved for root and keeld's own user. */
#define USER_PART 4u
/* At a limit, a connection idle for this time is closed in favour of a new connection. */
#define IDLE_NS 10000000000u

struct connection {
	struct watch watch;
	struct rpc_client client;
	struct rpc_listener *listener;
	struct connection *next;
	char *in, *out;
	size_t in_len, in_size, scanned, out_len, out_size, out_sent;
	bool finish; /* close after the last octet is written */
	bool yielded; /* the turn was over: the timer `again` continues */
	uid_t uid; /* of the client (SO_PEERCRED) */
	uint64_t active_ns; /* when the client last sent or took octets */
	struct timer again;
	uint64_t turn_ns; /* when the turn began */
};

static struct connection *
connection_of(struct rpc_client *c)
{
	return (struct connection *)(void *)((char *)c - offsetof(struct connection, client));
}

/* ---- output ---- */

static void connection_close(struct connection *c) RUNS_ON(role_main);
static void events_send(struct connection *c) RUNS_ON(role_main);

static void
connection_free_if_idle(struct connection *c)
{
	if (!c->client.closed || c->client.pending > 0)
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

/* True if another request may be read. Unread output of a client is at most OUTPUT_HIGH plus one answer. */
static bool
connection_takes(const struct connection *c)
{
	return !c->client.closed && !c->finish && !c->yielded && c->client.running == NULL &&
	       c->client.held == 0 && output_waiting(c) < OUTPUT_HIGH;
}

/* Continues in a new turn. False: closed, or out of memory. */
static bool
yield_turn(struct connection *c)
{
	if (c->client.closed || timer_arm(c->client.rpc->thread, &c->again, 0) != 0)
		return false;
	c->yielded = true;
	return true;
}

/* True if other clients are due before the next request of this connection. */
static bool
turn_over(struct connection *c)
{
	return now_ns() - c->turn_ns >= TURN_NS && yield_turn(c);
}

/* Sets the events to wait for, or closes a finished connection. May free `c`: call last. */
static void
connection_settle(struct connection *c) RUNS_ON(role_main)
{
	size_t waiting;

	events_send(c);
	waiting = output_waiting(c);
	if (!c->client.closed && c->finish && waiting == 0 && c->client.pending == 0) {
		if (c->listener->front) /* the end of all answers, control/http/front.h */
			(void)send(c->watch.fd, "\n", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		connection_close(c);
	}
	if (!c->client.closed)
		watch_set(c->client.rpc->thread, &c->watch,
			(waiting > 0 ? EPOLLOUT : 0) | (connection_takes(c) ? EPOLLIN : 0));
	connection_free_if_idle(c);
}

static void
connection_flush(struct connection *c) RUNS_ON(role_main)
{
	while (c->out_sent < c->out_len) {
		ssize_t n = send(c->watch.fd, c->out + c->out_sent, c->out_len - c->out_sent,
			MSG_NOSIGNAL | MSG_DONTWAIT);

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

/* Makes room for `len` more octets. */
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
	if (size > c->client.bounds->answer)
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

/* Appends the text and a newline. */
static void
connection_send_text(struct connection *c, const char *text, size_t len) RUNS_ON(role_main)
{
	if (c->client.closed)
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
client_cut(struct rpc_client *client) RUNS_ON(role_main)
{
	connection_close(connection_of(client));
}

static void
client_send(struct rpc_client *client, const char *text, size_t len) RUNS_ON(role_main)
{
	connection_send_text(connection_of(client), text, len);
}

static bool
client_turn_over(struct rpc_client *client)
{
	return turn_over(connection_of(client));
}

static bool
client_later(struct rpc_client *client)
{
	return yield_turn(connection_of(client));
}

static void
client_settle(struct rpc_client *client) RUNS_ON(role_main)
{
	struct connection *c = connection_of(client);

	/* Lines that waited for a held call. */
	if (c->in_len > 0 && connection_takes(c))
		yield_turn(c);
	connection_settle(c);
}

/* Sends events only after all answers are read: until then the events wait in the bounded queue. */
static void
events_send(struct connection *c)
{
	size_t len;
	char *text;

	while (!c->client.closed && c->client.subscription != NULL && output_waiting(c) == 0 &&
		(text = subscription_take(&c->client, &len)) != NULL) {
		connection_send_text(c, text, len);
		free(text);
	}
}

static const struct rpc_client_ops connection_ops = {
	client_send, client_cut, client_turn_over, client_later, client_settle, client_settle};
/* An HTTP request has no events. */
static const struct rpc_client_ops front_ops = {
	client_send, client_cut, client_turn_over, client_later, client_settle, NULL};

/* ---- connections ---- */

static void
connection_close(struct connection *c)
{
	struct rpc *r = c->client.rpc;

	if (c->client.closed)
		return;
	subscription_end(&c->client);
	watch_set(r->thread, &c->watch, 0);
	close(c->watch.fd);
	c->client.closed = true;
	/* For a running batch the timer fires once more, and ends the batch. */
	if (c->client.running == NULL)
		timer_cancel(r->thread, &c->again);
	for (struct connection **at = &r->connections; *at != NULL; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			c->listener->connection_count--;
			break;
		}
	}
}

static void
line_handle(struct connection *c, const char *line, size_t len) RUNS_ON(role_main)
{
	if (!rpc_line(&c->client, line, len))
		c->finish = true;
}

static void
line_too_long(struct connection *c) RUNS_ON(role_main)
{
	c->finish = true;
	rpc_line_refused(&c->client, c->client.bounds->too_long);
}

/* Handles complete lines while the client reads the answers; moves the rest to the front. */
static void
connection_lines(struct connection *c) RUNS_ON(role_main)
{
	size_t begin = 0;
	char *end;

	while (connection_takes(c) && c->scanned < c->in_len &&
		(end = memchr(c->in + c->scanned, '\n', c->in_len - c->scanned)) != NULL) {
		size_t at = (size_t)(end - c->in);

		if (at - begin > c->client.bounds->request) {
			line_too_long(c);
			return;
		}
		line_handle(c, c->in + begin, at - begin);
		begin = c->scanned = at + 1;
		if (c->client.running == NULL && begin < c->in_len)
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
	if (c->in_len > c->client.bounds->request)
		line_too_long(c);
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
connection_read(struct connection *c) RUNS_ON(role_main)
{
	ssize_t n = connection_room(c) ? recv(c->watch.fd, c->in + c->in_len,
						 c->in_size - c->in_len, MSG_DONTWAIT)
				       : 0;

	if (n > 0) {
		c->in_len += (size_t)n;
		connection_lines(c);
	} else if (n == 0) {
		/* The last line may lack a newline; due answers are still sent. */
		if (c->in_len > 0)
			line_handle(c, c->in, c->in_len);
		c->in_len = c->scanned = 0;
		c->finish = true;
	} else if (errno != EAGAIN && errno != EINTR) {
		connection_close(c);
	}
}

static void
connection_ready(struct watch *w, uint32_t events) RUNS_ON(role_main)
{
	struct connection *c = (struct connection *)(void *)w; /* its first member */

	c->client.pending++; /* keeps `c` alive in this function */
	c->turn_ns = c->active_ns = now_ns();
	if (events & EPOLLOUT) {
		connection_flush(c);
		connection_lines(c); /* lines held back by unread output */
	}
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && connection_takes(c))
		connection_read(c);
	c->client.pending--;
	connection_settle(c);
}

static void
connection_again(struct timer *t) RUNS_ON(role_main)
{
	struct connection *c =
		(struct connection *)(void *)((char *)t - offsetof(struct connection, again));

	c->client.pending++;
	c->turn_ns = now_ns();
	c->yielded = false;
	if (c->client.running != NULL)
		rpc_batch_run(c->client.running);
	connection_lines(c);
	c->client.pending--;
	connection_settle(c);
}

static const struct rpc_bounds bounds_all = {
	RPC_REQUEST_MAX, 0, 256u << 20, 256, "longer than 64 MiB"};
static const struct rpc_bounds bounds_read_only = {
	RPC_READ_ONLY_REQUEST_MAX, RPC_READ_ONLY_MEMBERS_MAX, 32u << 20, 64, "longer than 256 KiB"};
/* keel-http has 64 connections; requests of ended connections may remain for some turns. */
static const struct rpc_bounds bounds_token = {
	FRONT_TOKEN_REQUEST_MAX, 0, FRONT_ANSWER_MAX, 256, "longer than 16 MiB"};
static const struct rpc_bounds bounds_http = {
	FRONT_REQUEST_MAX, RPC_READ_ONLY_MEMBERS_MAX, FRONT_ANSWER_MAX, 256, "longer than 256 KiB"};

static bool
is_privileged(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

/* Connections of one user; of the privileged users together. */
static unsigned
user_count(const struct rpc_listener *l, uid_t uid)
{
	unsigned count = 0;

	for (const struct connection *c = l->rpc->connections; c != NULL; c = c->next)
		count += c->listener == l &&
			 (c->uid == uid || (is_privileged(uid) && is_privileged(c->uid)));
	return count;
}

/* True if keeld has waited IDLE_NS for a request. A client with a subscription is never idle. */
static bool
is_idle(const struct connection *c)
{
	return now_ns() - c->active_ns >= IDLE_NS && c->client.pending == 0 &&
	       c->client.running == NULL && !c->yielded && c->client.subscription == NULL;
}

/*
 * The longest idle connection: of `uid`, or with `any` of the unprivileged user with most connections. NULL: no idle connection.
 */
static struct connection *
longest_idle(const struct rpc_listener *l, uid_t uid, bool any)
{
	struct connection *found = NULL;
	unsigned most = 0;

	for (struct connection *c = l->rpc->connections; c != NULL; c = c->next) {
		bool of_user = c->uid == uid || (is_privileged(uid) && is_privileged(c->uid));
		unsigned count;

		if (c->listener != l || !is_idle(c) || (any ? is_privileged(c->uid) : !of_user))
			continue;
		count = user_count(l, c->uid);
		if (found == NULL || count > most ||
			(count == most && c->active_ns < found->active_ns)) {
			found = c;
			most = count;
		}
	}
	return found;
}

/* True if `uid` may open a connection; at a limit, after closing an idle connection. */
static bool
make_room(struct rpc_listener *l, const struct rpc_bounds *bounds, uid_t uid) RUNS_ON(role_main)
{
	unsigned user = user_count(l, uid), privileged = user_count(l, 0);
	bool user_full = user >= (is_privileged(uid) ? bounds->connections
						     : bounds->connections / USER_PART);
	bool all_full =
		!is_privileged(uid) && l->connection_count - privileged >= bounds->connections;
	struct connection *victim;

	if (!user_full && !all_full)
		return true;
	victim = longest_idle(l, uid, !user_full);
	log_event(LOG_WARNING,
		"rpc-connection-limit action=%s read_only=%s uid=%u of_user=%u connections=%u",
		victim != NULL ? "close-longest-idle" : "refuse", l->read_only ? "yes" : "no",
		(unsigned)uid, user, l->connection_count);
	if (victim == NULL)
		return false;
	connection_close(victim);
	connection_free_if_idle(victim);
	return true;
}

/* The uid is (uid_t)-1 if the kernel does not know the client. */
static struct ucred
client_cred(int fd)
{
	struct ucred cred = {.uid = (uid_t)-1};
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return (struct ucred){.uid = (uid_t)-1};
	return cred;
}

/* Serves `fd`, which is closed after an error. NULL: out of memory. */
static struct connection *
connection_add(struct rpc_listener *l, int fd, const struct rpc_client *client) RUNS_ON(role_main)
{
	struct connection *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		close(fd);
		return NULL;
	}
	c->active_ns = now_ns();
	c->watch = (struct watch){fd, connection_ready};
	c->client = *client;
	c->client.rpc = l->rpc;
	c->listener = l;
	c->again.fire = connection_again;
	if (watch_set(l->rpc->thread, &c->watch, EPOLLIN) != 0) {
		close(fd);
		free(c);
		return NULL;
	}
	c->next = l->rpc->connections;
	l->rpc->connections = c;
	l->connection_count++;
	return c;
}

static void
connection_create(struct rpc_listener *l, int fd) RUNS_ON(role_main)
{
	struct rpc_client client = {.ops = &connection_ops,
		.bounds = l->read_only ? &bounds_read_only : &bounds_all,
		.read_only = l->read_only};
	struct ucred cred = client_cred(fd);
	struct connection *c;

	if (!make_room(l, client.bounds, cred.uid)) {
		close(fd);
		return;
	}
	rpc_user_of_socket(&client.user, &cred);
	c = connection_add(l, fd, &client);
	if (c != NULL)
		c->uid = cred.uid;
}

void
rpc_front_connection(struct rpc_listener *l, int fd, const struct rpc_user *user, bool own)
{
	struct rpc_client client = {.ops = &front_ops,
		.bounds = user != NULL ? &bounds_token : &bounds_http,
		.read_only = user == NULL,
		.uncounted = own};

	if (user != NULL)
		client.user = *user;
	if (l->connection_count < client.bounds->connections)
		(void)connection_add(l, fd, &client);
	else
		close(fd);
}

static void
listener_ready(struct watch *w, uint32_t events) RUNS_ON(role_main)
{
	struct rpc_listener *l = (struct rpc_listener *)(void *)w; /* its first member */
	struct rpc *r = l->rpc;
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		/* The client stays in the kernel's queue. The listener pauses, because without free descriptors it would be ready forever. */
		log_event(LOG_ERROR, "rpc-accept-failed error=\"%s\"", strerror(errno));
		if (timer_arm(r->thread, &l->again, ACCEPT_RETRY_NS) == 0)
			watch_set(r->thread, w, 0);
	}
	if (fd >= 0)
		connection_create(l, fd);
}

static void
listener_again(struct timer *t)
{
	struct rpc_listener *l =
		(struct rpc_listener *)(void *)((char *)t - offsetof(struct rpc_listener, again));

	watch_set(l->rpc->thread, &l->watch, EPOLLIN);
}

/* True if a process listens at the path. A file left by a crash answers ECONNREFUSED. */
static bool
socket_lives(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool lives = fd >= 0 && connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0;

	if (fd >= 0)
		close(fd);
	return lives;
}

/* Replaces the socket of a dead daemon. */
static int
address_take(const char *path, struct sockaddr_un *sa)
{
	struct stat st;

	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(sa->sun_path))
		return -ENAMETOOLONG;
	memcpy(sa->sun_path, path, strlen(path) + 1);
	if (lstat(path, &st) != 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	if (socket_lives(sa))
		return -EADDRINUSE;
	unlink(path);
	return 0;
}

static int
listener_open(struct rpc_listener *l, struct rpc *r, const char *path, bool read_only)
{
	struct sockaddr_un sa;
	int err = address_take(path, &sa);
	mode_t mask;

	if (err != 0)
		return err;
	l->rpc = r;
	l->read_only = read_only;
	l->again.fire = listener_again;
	l->watch = (struct watch){
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), listener_ready};
	if (l->watch.fd < 0)
		return -errno;
	mask = umask(read_only ? 0111 : 0117); /* 0666 or 0660 at creation */
	if (bind(l->watch.fd, (struct sockaddr *)&sa, sizeof(sa)) != 0)
		err = -errno;
	umask(mask);
	if (err == 0) {
		memcpy(l->path, path, strlen(path) + 1); /* to be removed at the end */
		if (listen(l->watch.fd, SOMAXCONN) != 0)
			err = -errno;
	}
	return err;
}

static void
listener_close(struct rpc_listener *l)
{
	if (l->rpc == NULL)
		return;
	if (l->rpc->thread != NULL) {
		timer_cancel(l->rpc->thread, &l->again);
		watch_set(l->rpc->thread, &l->watch, 0);
	}
	if (l->watch.fd >= 0)
		close(l->watch.fd);
	if (l->path[0] != '\0')
		unlink(l->path);
}

int
rpc_create(const struct rpc_config *c, struct rpc **out)
{
	char read_only[sizeof(((struct sockaddr_un *)0)->sun_path) + 4];
	struct rpc *r = calloc(1, sizeof(*r));
	int err;

	if (r == NULL)
		return -ENOMEM;
	r->env = (struct rpc_env){.host = c->host,
		.layers = c->layers,
		.apply = c->apply,
		.peers = c->apply != NULL ? apply_peers(c->apply) : NULL,
		.jobs = c->jobs,
		.audits = c->audits,
		.guard = c->guard,
		.watchdog = c->watchdog,
		.config_file = c->config_file,
		.started_ns = c->started_ns,
		.marks = calloc(1, sizeof(*r->env.marks)),
		.attr_buf = malloc(ATTR_SET_MAX)};
	snprintf(read_only, sizeof(read_only), "%s.ro", c->socket);
	/* The read-only socket first: when `c->socket` accepts clients, both sockets exist. */
	err = r->env.marks != NULL && r->env.attr_buf != NULL
		      ? listener_open(&r->listener[1], r, read_only, true)
		      : -ENOMEM;
	if (err == 0)
		err = listener_open(&r->listener[0], r, c->socket, false);
	if (err != 0) {
		rpc_destroy(r);
		return err;
	}
	*out = r;
	return 0;
}

int
rpc_start(struct rpc *r, struct thread *main_thread)
{
	int err = 0;

	r->thread = main_thread;
	for (unsigned i = 0; i < RPC_LISTENERS && err == 0; i++)
		err = watch_set(main_thread, &r->listener[i].watch, EPOLLIN);
	if (err == 0)
		err = rpc_events_start(r);
	if (err == 0)
		rpc_http_start(r);
	return err;
}

void
rpc_destroy(struct rpc *r)
{
	while (r->connections != NULL) {
		struct connection *c = r->connections;

		connection_close(c);
		if (c->client.running != NULL) {
			timer_cancel(r->thread, &c->again);
			rpc_batch_run(c->client.running); /* closed: no further request is read */
		}
		connection_free_if_idle(c);
	}
	rpc_preview_end(&r->env);
	rpc_peers_end(&r->env);
	rpc_audits_end(&r->env);
	rpc_traces_end(&r->env);
	rpc_mrt_end(&r->env);
	rpc_http_end(r);
	for (unsigned i = 0; i < RPC_LISTENERS; i++)
		listener_close(&r->listener[i]);
	rpc_events_stop(r);
	json_decref(r->env.alarms_since);
	free(r->env.marks);
	free(r->env.attr_buf);
	free(r);
}
