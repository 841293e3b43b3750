/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The socket, buffers and timers of a connection. The output buffer holds whole messages in order,
 * so that a keepalive never lands inside an UPDATE; part of the buffer is reserved for other
 * messages than export.
 */
#include "control/session/session_impl.h"

#include "control/session/host_socket.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void
connection_fail(struct connection *c, int error) RUNS_ON(role_session)
{
	c->ended = true;
	c->error = error;
	peer_ready(c->peer);
	connection_interest(c);
	/* speaker_work() raises EV_TCP_FAIL after all received octets are handled */
	thread_wake(c->peer->speaker->thread);
}

/* ---- epoll interest ---- */

static size_t
rx_free(const struct connection *c)
{
	return RX_SIZE - (c->rx_tail - c->rx_head);
}

void
connection_interest(struct connection *c)
{
	uint32_t want = 0;

	if (c->watch.fd < 0)
		return;
	if (c->connecting) {
		want = EPOLLOUT;
	} else if (!c->ended) {
		if (rx_free(c) >= RX_SIZE / 4 && c->polled.next == NULL)
			want |= EPOLLIN;
		if (c->tx_head < c->tx_tail)
			want |= EPOLLOUT;
	}
	/* Without interest the socket leaves epoll, which would report a hang-up repeatedly. */
	if (want == c->interest)
		return;
	if (watch_set(c->peer->speaker->thread, &c->watch, want) == 0)
		c->interest = want;
}

/* ---- buffers ---- */

/*
 * A connection has a buffer only while octets wait in it. Most connections are idle, and the few buffers in use stay in the cache of the CPU. NULL: no
 * memory.
 */
static uint8_t *
buffer_take(struct speaker *s, struct buffer_pool *p, size_t size)
{
	return p->count > 0 ? p->spare[--p->count] : arena_alloc(s->config.arena, size);
}

static void
buffer_give(struct speaker *s, struct buffer_pool *p, uint8_t *buffer)
{
	if (buffer == NULL)
		return;
	if (p->count < BUFFER_SPARES_MAX)
		p->spare[p->count++] = buffer;
	else
		arena_release(s->config.arena, buffer);
}

int
buffers_init(struct speaker *s)
{
	s->rx_pool.spare[0] = arena_alloc(s->config.arena, RX_SIZE);
	s->tx_pool.spare[0] = arena_alloc(s->config.arena, TX_SIZE);
	s->rx_pool.count = s->rx_pool.spare[0] != NULL;
	s->tx_pool.count = s->tx_pool.spare[0] != NULL;
	return s->rx_pool.count + s->tx_pool.count == 2 ? 0 : -ENOMEM;
}

void
buffers_fini(struct speaker *s)
{
	while (s->rx_pool.count > 0)
		arena_free(s->config.arena, s->rx_pool.spare[--s->rx_pool.count]);
	while (s->tx_pool.count > 0)
		arena_free(s->config.arena, s->tx_pool.spare[--s->tx_pool.count]);
}

void
connection_handled(struct connection *c)
{
	if (c->rx_head != c->rx_tail)
		return;
	buffer_give(c->peer->speaker, &c->peer->speaker->rx_pool, c->rx);
	c->rx = NULL;
	c->rx_head = c->rx_tail = 0;
}

void
connection_drained(struct connection *c)
{
	if (c->tx_head != c->tx_tail)
		return;
	buffer_give(c->peer->speaker, &c->peer->speaker->tx_pool, c->tx);
	c->tx = NULL;
	c->tx_head = c->tx_tail = 0;
	c->tx_families = 0;
}

/* ---- input ---- */

/* Returns the number of octets. */
static size_t
connection_read(struct connection *c) RUNS_ON(role_session)
{
	struct speaker *s = c->peer->speaker;
	ssize_t n;

	if (c->rx_head == c->rx_tail) {
		c->rx_head = c->rx_tail = 0;
	} else if (c->rx_head > 0 && RX_SIZE - c->rx_tail < RX_SIZE / 4) {
		memmove(c->rx, c->rx + c->rx_head, c->rx_tail - c->rx_head);
		c->rx_tail -= c->rx_head;
		c->rx_head = 0;
	}
	if (c->rx_tail == RX_SIZE || c->ended)
		return 0;
	if (c->rx == NULL)
		c->rx = buffer_take(s, &s->rx_pool, RX_SIZE);
	if (c->rx == NULL)
		return 0; /* epoll reports the input again */
	n = recv(c->watch.fd, c->rx + c->rx_tail, RX_SIZE - c->rx_tail, 0);
	if (n > 0) {
		c->rx_tail += (size_t)n;
		peer_ready(c->peer);
	} else if (n == 0) {
		connection_fail(c, 0);
	} else if (errno != EAGAIN && errno != EINTR) {
		connection_fail(c, errno);
	}
	connection_handled(c);
	return n > 0 ? (size_t)n : 0;
}

/* ---- streams ---- */

static void
stream_end(struct connection *c) RUNS_ON(role_session)
{
	c->stream_reads = c->stream_misses = 0;
	if (ring_remove(&c->polled))
		connection_interest(c);
}

/* Notes a read that epoll has reported. */
static void
stream_read(struct connection *c, size_t octets) RUNS_ON(role_session)
{
	struct speaker *s = c->peer->speaker;
	uint64_t now = now_ns(), gap = now - c->read_ns;

	c->read_ns = now;
	if (gap > STREAM_GAP_NS || octets == 0 || octets >= STREAM_OCTETS ||
		c->state != FSM_ESTABLISHED || c->peer->loading_table) {
		c->stream_reads = 0;
		return;
	}
	if (c->stream_reads++ == 0) {
		c->stream_ns = now - gap;
		c->stream_octets = 0;
	}
	c->stream_octets += octets;
	if (c->stream_reads < STREAM_READS || c->polled.next != NULL)
		return;
	c->stream_reads = 0;
	/* a fast stream gives large reads without polls, too */
	if (c->stream_octets * STREAM_POLL_NS >= (now - c->stream_ns) * (STREAM_OCTETS / 2))
		return;
	if (s->poll.deadline_ns != 0 || timer_arm(s->thread, &s->poll, STREAM_POLL_NS) == 0)
		ring_insert(&s->polled, &c->polled);
}

static void
streams_poll(struct timer *t) RUNS_ON(role_session)
{
	struct speaker *s = container_of(t, struct speaker, poll);
	struct ring *next;

	for (struct ring *at = s->polled.next; at != &s->polled; at = next) {
		struct connection *c = container_of(at, struct connection, polled);
		size_t octets = connection_read(c);

		next = at->next;
		c->stream_misses = octets > 0 ? 0 : c->stream_misses + 1;
		if (c->stream_misses == STREAM_MISSES || octets >= STREAM_OCTETS || c->ended)
			stream_end(c);
	}
	if (!ring_empty(&s->polled) && timer_arm(s->thread, t, STREAM_POLL_NS) < 0)
		while (!ring_empty(&s->polled)) /* no memory: epoll reports the input */
			stream_end(container_of(s->polled.next, struct connection, polled));
}

unsigned
speaker_streams(const struct speaker *s)
{
	unsigned count = 0;

	for (const struct ring *at = s->polled.next; at != &s->polled; at = at->next)
		count++;
	return count;
}

void
streams_init(struct speaker *s)
{
	ring_init(&s->polled);
	s->poll.fire = streams_poll;
}

/* The receive buffer holds a whole message, or a header with a wrong length. */
static bool
connection_message_ready(const struct connection *c)
{
	size_t have = c->rx_tail - c->rx_head, len;
	const uint8_t *p = c->rx + c->rx_head;

	if (have < BGP_HEADER_LEN)
		return false;
	len = (size_t)p[16] << 8 | p[17];
	return have >= len; /* the decoder refuses a length below the minimum */
}

bool
connection_silent(const struct connection *c)
{
	int queued = 0;

	if (ioctl(c->watch.fd, SIOCINQ, &queued) < 0)
		queued = 0;
	return queued == 0 && !c->waiting && !connection_message_ready(c);
}

/* ---- output ---- */

size_t
connection_room(const struct connection *c)
{
	size_t used = c->tx_tail - c->tx_head;

	return TX_SIZE - used;
}

uint8_t *
connection_tail(struct connection *c, size_t need, size_t *room)
{
	if (c->tx_head == c->tx_tail)
		c->tx_head = c->tx_tail = 0;
	if (connection_room(c) < need)
		return NULL;
	if (c->tx == NULL)
		c->tx = buffer_take(c->peer->speaker, &c->peer->speaker->tx_pool, TX_SIZE);
	if (c->tx == NULL)
		return NULL;
	if (TX_SIZE - c->tx_tail < need) {
		memmove(c->tx, c->tx + c->tx_head, c->tx_tail - c->tx_head);
		c->tx_tail -= c->tx_head;
		c->tx_head = 0;
	}
	*room = TX_SIZE - c->tx_tail;
	return c->tx + c->tx_tail;
}

static uint64_t
send_hold_ns(const struct connection *c)
{
	uint64_t s = c->peer->config.timers.send_hold_s, least = 2ull * c->n.hold_time_s;

	if (s == 0)
		s = least > 480 ? least : 480; /* RFC 9687 3.1 */
	return s * NS_PER_S;
}

void
connection_wrote(struct connection *c, size_t len, unsigned messages)
{
	if (len == 0)
		return;
	if (c->tx_head == c->tx_tail)
		c->sent_ns = now_ns();
	if (__builtin_expect(c->peer->speaker->tap != NULL, 0))
		trace_sent(c, c->tx + c->tx_tail, len);
	c->tx_tail += len;
	c->peer->messages_sent += messages;
}

void
connection_flush(struct connection *c)
{
	bool progress = false;

	while (c->tx_head < c->tx_tail && !c->ended) {
		ssize_t n = send(
			c->watch.fd, c->tx + c->tx_head, c->tx_tail - c->tx_head, MSG_NOSIGNAL);

		if (n > 0) {
			c->tx_head += (size_t)n;
			progress = true;
		} else if (n < 0 && errno == EAGAIN) {
			break;
		} else if (n < 0 && errno != EINTR) {
			/*
			 * The connection has not ended yet: a NOTIFICATION of the peer may be
			 * unread. recv() reports the end.
			 */
			c->tx_head = c->tx_tail;
			connection_read(c);
			break;
		}
	}
	connection_drained(c);
	if (progress)
		c->sent_ns = now_ns();
	if (c->tx_head == c->tx_tail && c->peer->up == c && c->peer->export_more)
		peer_export_due(c->peer);
	if (c->tx_head == c->tx_tail)
		timer_cancel(c->peer->speaker->thread, &c->send_hold);
	else if (c->send_hold.deadline_ns == 0 &&
		 !(c->state == FSM_ESTABLISHED && c->n.hold_time_s == 0))
		timer_arm(c->peer->speaker->thread, &c->send_hold, send_hold_ns(c));
	if (c->tx_head < c->tx_tail && c->peer->up == c)
		slow_watch(c->peer);
	connection_interest(c);
}

void
connection_keepalive(struct connection *c)
{
	size_t room;
	uint8_t *tail = connection_tail(c, BGP_HEADER_LEN, &room);

	/* No more keepalives for a peer that does not read the queued octets. */
	if (c->ended || tail == NULL)
		return;
	connection_wrote(c, bgp_keepalive_encode(tail, room), 1);
	connection_flush(c);
}

void
connection_notify(struct connection *c, const struct note *note)
{
	uint8_t *tail;
	size_t room, len;

	if (c->watch.fd < 0 || c->connecting || c->ended)
		return;
	tail = connection_tail(c, BGP_HEADER_LEN + 2, &room);
	if (tail == NULL)
		return;
	if (room > BGP_MSG_MAX)
		room = BGP_MSG_MAX;
	if (note->code == ERR_CEASE && note->text != NULL)
		len = bgp_cease_encode(note->subcode, note->text, tail, room);
	else
		len = bgp_notification_encode(
			note->code, note->subcode, note->data, note->data_len, tail, room);
	monitor_notification(c, true, tail, len);
	connection_wrote(c, len, 1);
	c->noted = len > 0;
	connection_flush(c);
}

/* ---- closing ---- */

static void
lingerer_free(struct lingerer *l)
{
	struct speaker *s = l->speaker;

	for (struct lingerer **at = &s->lingerers; *at != NULL; at = &(*at)->next) {
		if (*at == l) {
			*at = l->next;
			s->lingerer_count--;
			break;
		}
	}
	timer_cancel(s->thread, &l->timer);
	watch_set(s->thread, &l->watch, 0);
	close(l->watch.fd);
	arena_free(s->config.arena, l->tx);
	arena_free(s->config.arena, l);
}

static void
lingerer_expire(struct timer *t)
{
	lingerer_free(container_of(t, struct lingerer, timer));
}

/* True: all octets are sent, and our side of the connection is shut down. */
static bool
lingerer_send(struct lingerer *l)
{
	while (l->tx_head < l->tx_tail) {
		ssize_t n = send(
			l->watch.fd, l->tx + l->tx_head, l->tx_tail - l->tx_head, MSG_NOSIGNAL);

		if (n <= 0)
			return n < 0 && errno != EAGAIN && errno != EINTR;
		l->tx_head += (size_t)n;
	}
	shutdown(l->watch.fd, SHUT_WR);
	return true;
}

static void
lingerer_ready(struct watch *w, uint32_t events)
{
	struct lingerer *l = container_of(w, struct lingerer, watch);
	uint8_t waste[16384];
	ssize_t n;

	if ((events & EPOLLOUT) && lingerer_send(l))
		watch_set(l->speaker->thread, w, EPOLLIN);
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	n = recv(w->fd, waste, sizeof(waste), 0);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		lingerer_free(l);
}

/* Transfers the socket to a lingerer. True: the lingerer closes the descriptor. */
static bool
connection_linger(struct connection *c)
{
	struct speaker *s = c->peer->speaker;
	struct lingerer *l;

	if (!c->noted || c->ended || s->lingerer_count >= LINGERERS_MAX)
		return false;
	l = arena_calloc(s->config.arena, sizeof(*l));
	if (l == NULL)
		return false;
	l->speaker = s;
	l->watch = (struct watch){.fd = c->watch.fd, .ready = lingerer_ready};
	l->timer.fire = lingerer_expire;
	l->tx = c->tx;
	l->tx_head = c->tx_head;
	l->tx_tail = c->tx_tail;
	c->tx = NULL;
	l->next = s->lingerers;
	s->lingerers = l;
	s->lingerer_count++;
	if (timer_arm(s->thread, &l->timer, LINGER_NS) < 0 ||
		watch_set(s->thread, &l->watch, lingerer_send(l) ? EPOLLIN : EPOLLIN | EPOLLOUT) <
			0)
		lingerer_free(l);
	return true;
}

void
lingerers_close(struct speaker *s)
{
	while (s->lingerers != NULL)
		lingerer_free(s->lingerers);
}

void
connection_close(struct connection *c)
{
	struct speaker *s = c->peer->speaker;

	connection_stop_timers(c);
	ring_remove(&c->polled);
	if (c->watch.fd >= 0) {
		watch_set(s->thread, &c->watch, 0);
		if (!connection_linger(c))
			close(c->watch.fd);
	}
	c->watch.fd = -1;
	c->interest = 0;
	c->connecting = c->ended = c->waiting = c->noted = false;
	event_release(s, c->events);
	c->events = 0;
	message_forget(s, &c->open_sent);
	message_forget(s, &c->open_received);
	arena_free(s->config.arena, c->rx);
	arena_free(s->config.arena, c->tx);
	c->rx = c->tx = NULL;
	c->rx_head = c->rx_tail = c->tx_head = c->tx_tail = 0;
}

void
refuse(int fd, uint8_t code, uint8_t subcode)
{
	uint8_t msg[BGP_HEADER_LEN + 2];
	size_t len = bgp_notification_encode(code, subcode, NULL, 0, msg, sizeof(msg));
	ssize_t n = send(fd, msg, len, MSG_NOSIGNAL);

	(void)n; /* a new socket has room for 21 octets, or has failed */
	close(fd);
}

/* ---- opening ---- */

static void
connection_ready(struct watch *w, uint32_t events) RUNS_ON(role_session)
{
	struct connection *c = container_of(w, struct connection, watch);
	struct peer *p = c->peer;
	socklen_t len = sizeof(int);
	int fd = w->fd, error = 0;

	if (!c->connecting) {
		if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			stream_read(c, connection_read(c));
		if (events & EPOLLOUT)
			connection_flush(c);
		connection_interest(c);
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error == 0) {
		watch_set(p->speaker->thread, w, 0);
		c->interest = 0;
		w->fd = -1;
		error = -connection_adopt(c, fd);
	}
	if (error == 0 && !connection_confirms(connection_other(c))) {
		connection_event(c, EV_TCP_OPEN, NULL);
	} else {
		if (error != 0)
			peer_connect_error(p, error);
		connection_event(c, EV_TCP_FAIL, NULL);
	}
}

/* Options for both connections of a peer. */
struct host_socket_options
peer_socket(const struct peer *p)
{
	return host_socket_options_of(&p->config, listener_netns(p->speaker, p->config.vrf));
}

int
connection_connect(struct connection *c)
{
	const struct config_peer *k = &c->peer->config;
	struct host_socket_options o = peer_socket(c->peer);
	int fd;

	fd = host_socket_connect(&o, &k->addr, k->tcp_port);
	if (fd < 0)
		return fd;
	c->watch = (struct watch){.fd = fd, .ready = connection_ready};
	c->connecting = true;
	connection_interest(c);
	if (c->interest != 0)
		return 0;
	connection_close(c);
	return -ENOMEM;
}

int
connection_adopt(struct connection *c, int fd)
{
	c->rx = c->tx = NULL;
	c->watch = (struct watch){.fd = fd, .ready = connection_ready};
	c->connecting = c->ended = c->waiting = c->noted = c->hard_reset = false;
	c->error = 0;
	c->stream_reads = c->stream_misses = 0;
	c->deferred_ns = 0;
	c->rx_head = c->rx_tail = c->tx_head = c->tx_tail = 0;
	c->tx_families = 0;
	host_socket_local(
		fd, listener_netns(c->peer->speaker, c->peer->config.vrf), &c->local_addr);
	links_opened(c);
	memset(&c->n, 0, sizeof(c->n));
	memset(&c->open, 0, sizeof(c->open));
	c->events = event_reserve(c->peer->speaker, CONNECTION_EVENTS) == 0 ? CONNECTION_EVENTS : 0;
	if (c->events > 0) {
		connection_interest(c);
		if (c->interest != 0)
			return 0;
	}
	connection_close(c);
	return -ENOMEM;
}

/* ---- timers ---- */

static void
hold_fire(struct timer *t) RUNS_ON(role_session)
{
	struct connection *c = container_of(t, struct connection, hold);
	struct thread *thread = c->peer->speaker->thread;
	uint64_t elapsed = now_ns() - c->last_message_ns;

	/*
	 * The timer is not armed for each message: wait for the rest of the hold time since the
	 * last message.
	 */
	if (elapsed < c->hold_ns) {
		timer_arm(thread, t, c->hold_ns - elapsed);
		return;
	}
	if (!connection_silent(c)) {
		/* Octets of the peer wait to be read: the session is alive. */
		c->peer->hold_rearmed++;
		timer_arm(thread, t, c->hold_ns / 3);
		return;
	}
	connection_event(c, EV_HOLD_TIMER, NULL);
}

void
connection_hold(struct connection *c, uint64_t hold_ns)
{
	struct thread *thread = c->peer->speaker->thread;

	c->hold_ns = hold_ns;
	c->last_message_ns = now_ns();
	if (hold_ns == 0)
		timer_cancel(thread, &c->hold);
	else if (c->hold.deadline_ns == 0 || c->hold_armed_ns != hold_ns)
		timer_arm(thread, &c->hold, hold_ns);
	c->hold_armed_ns = hold_ns;
}

void
connection_heard(struct connection *c, uint64_t now)
{
	/* one event per turn is enough: a turn may read hundreds of messages */
	if (c->state != FSM_ESTABLISHED || c->last_message_ns < now)
		connection_event(c, EV_UPDATE, NULL);
}

void
connection_keepalive_start(struct connection *c)
{
	const struct config_timers *t = &c->peer->config.timers;
	struct speaker *s = c->peer->speaker;
	uint64_t ns = c->n.hold_time_s * NS_PER_S / 3;

	if (t->keepalive_s != 0 && t->keepalive_s * NS_PER_S < ns)
		ns = t->keepalive_s * NS_PER_S;
	if (ns == 0)
		timer_cancel(s->thread, &c->keepalive);
	else
		timer_arm(s->thread, &c->keepalive, speaker_jitter(s, ns, 25, 0));
	c->keepalive_due_ns = c->keepalive.deadline_ns;
}

static void
keepalive_fire(struct timer *t) RUNS_ON(role_session)
{
	struct connection *c = container_of(t, struct connection, keepalive);
	uint64_t late = now_ns() - c->keepalive_due_ns;

	hist_add(&c->peer->speaker->keepalive_late, late);
	if (late > c->peer->keepalive_late_ns)
		c->peer->keepalive_late_ns = late;
	connection_event(c, EV_KEEPALIVE_TIMER, NULL);
}

static void
send_hold_fire(struct timer *t) RUNS_ON(role_session)
{
	struct connection *c = container_of(t, struct connection, send_hold);
	uint64_t hold = send_hold_ns(c), elapsed = now_ns() - c->sent_ns;

	if (elapsed < hold)
		timer_arm(c->peer->speaker->thread, t, hold - elapsed);
	else
		connection_event(c, EV_SEND_HOLD_TIMER, NULL);
}

void
connection_stop_timers(struct connection *c)
{
	struct thread *t = c->peer->speaker->thread;

	timer_cancel(t, &c->hold);
	timer_cancel(t, &c->keepalive);
	timer_cancel(t, &c->send_hold);
}

void
connection_timers_init(struct connection *c)
{
	c->hold.fire = hold_fire;
	c->keepalive.fire = keepalive_fire;
	c->send_hold.fire = send_hold_fire;
}
