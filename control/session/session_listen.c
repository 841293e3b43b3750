/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Incoming connections: from configured peers, and from ranges (held until main has added a
 * session); all others are refused. Listeners hold the TCP-MD5 passwords (RFC 2385), because the
 * kernel checks signatures before a connection exists.
 */
#include "control/session/session_impl.h"

#include "control/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BACKLOG 128

/* ---- passwords ---- */

/*
 * The kernel compares addresses only: peers that differ only in port or zone share the first
 * password found.
 */
static const char *
password_of(const struct speaker *s, struct vrf_id vrf, const struct prefix *from)
{
	if (from->len == prefix_max_len(from->afi)) {
		struct ip_addr addr = {.afi = from->afi};

		memcpy(addr.b, from->b, sizeof(addr.b));
		for (const struct peer *p = address_first(s, vrf, &addr); p != NULL;
			p = p->next_of_address) {
			if (!p->removed && p->config.vrf.v == vrf.v && p->config.password != NULL &&
				prefix_contains(from, &p->config.addr))
				return p->config.password;
		}
	}
	for (unsigned i = 0; i < s->range_count; i++) {
		const struct speaker_range *r = &s->ranges[i].r;

		if (r->vrf.v == vrf.v && prefix_equal(&r->prefix, from))
			return r->password;
	}
	return NULL;
}

static void
listener_password(const struct listener *l, const struct prefix *from, const char *password)
{
	char text[PREFIX_TEXT_MAX];
	int err = host_socket_password(l->watch.fd, from, password);

	/* Connections from the prefix fail: an accepted socket has the password, too. */
	if (err < 0)
		log_event(LOG_ERROR, "password-not-set source=%s error=\"%s\"",
			prefix_format(from, text),
			err == -ENOMEM ? "net.core.optmem_max is too small"
				       : strerrordesc_np(-err));
}

/* Sets the password of a prefix on all listeners of the VRF. */
static void
password_apply(struct speaker *s, struct vrf_id vrf, const struct prefix *from)
{
	const char *password = password_of(s, vrf, from);

	for (const struct listener *l = s->listeners; l != NULL; l = l->next)
		if (l->vrf.v == vrf.v && l->afi == from->afi)
			listener_password(l, from, password);
}

void
listen_password(struct speaker *s, struct vrf_id vrf, const struct ip_addr *addr)
{
	struct prefix from = prefix_from_addr(addr, (uint8_t)prefix_max_len(addr->afi));

	password_apply(s, vrf, &from);
}

/* Sets all passwords of a new listener. */
static void
listener_passwords(struct speaker *s, const struct listener *l) RUNS_ON(role_session)
{
	for (unsigned i = 0; i < PEER_MAX; i++) {
		const struct peer *p = s->by_id[i];

		if (p != NULL && p->config.password != NULL && !p->removed &&
			p->config.vrf.v == l->vrf.v)
			listen_password(s, l->vrf, &p->config.addr);
	}
	for (unsigned i = 0; i < s->range_count; i++) {
		if (s->ranges[i].r.password != NULL && s->ranges[i].r.vrf.v == l->vrf.v)
			password_apply(s, l->vrf, &s->ranges[i].r.prefix);
	}
}

/* ---- segments ---- */

/* The kernel agrees on the size of segments before the peer is known. No peer has less than the listener has now. */
static uint16_t
smallest_mss(const struct speaker *s, const struct listener *l)
{
	uint16_t least = UINT16_MAX;

	for (unsigned i = 0; i < s->range_count; i++) {
		const struct speaker_range *r = &s->ranges[i].r;

		if (r->vrf.v == l->vrf.v && r->prefix.afi == l->afi && r->tcp_mss != 0 &&
			r->tcp_mss < least)
			least = r->tcp_mss;
	}
	for (unsigned i = 0; i < PEER_MAX && least > l->tcp_mss; i++) {
		const struct peer *p = s->by_id[i];

		if (p != NULL && !p->removed && p->config.vrf.v == l->vrf.v &&
			p->config.addr.afi == l->afi && p->config.tcp_mss != 0 &&
			p->config.tcp_mss < least)
			least = p->config.tcp_mss;
	}
	return least != UINT16_MAX ? least : 0;
}

void
listen_tcp_mss(struct speaker *s, struct vrf_id vrf, enum afi afi, uint16_t mss)
{
	for (struct listener *l = s->listeners; l != NULL; l = l->next) {
		uint16_t least;
		int err;

		if (l->vrf.v != vrf.v || l->afi != afi)
			continue;
		least = mss != 0 && (l->tcp_mss == 0 || mss < l->tcp_mss) ? mss
									  : smallest_mss(s, l);
		err = least != l->tcp_mss ? host_socket_mss(l->watch.fd, least) : 0;
		if (err < 0)
			log_event(LOG_ERROR, "tcp-mss-not-set value=%u error=\"%s\"", least,
				strerrordesc_np(-err));
		else
			l->tcp_mss = least;
	}
}

/* ---- ranges ---- */

/* Frees the entry and returns its descriptor. */
static int
held_free(struct held *h)
{
	struct speaker *s = h->speaker;
	struct held **at = &s->held;
	int fd = h->fd;

	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	s->held_count--;
	timer_cancel(s->thread, &h->timer);
	arena_free(s->config.arena, h);
	return fd;
}

static void
held_expire(struct timer *t)
{
	refuse(held_free(container_of(t, struct held, timer)), ERR_CEASE, CEASE_REJECTED);
}

static struct held *
held_find(const struct speaker *s, struct vrf_id vrf, const struct ip_addr *addr)
{
	struct held *h = s->held;

	while (h != NULL && (h->vrf.v != vrf.v || !addr_equal(&h->addr, addr)))
		h = h->next;
	return h;
}

static bool
range_has(const struct speaker *s, struct vrf_id vrf, const struct ip_addr *addr)
{
	for (unsigned i = 0; i < s->range_count; i++) {
		if (s->ranges[i].r.vrf.v == vrf.v && prefix_contains(&s->ranges[i].r.prefix, addr))
			return true;
	}
	return false;
}

static int
held_add(struct speaker *s, struct vrf_id vrf, const struct ip_addr *addr, int fd)
{
	struct held *h;

	if (s->held_count >= HELD_MAX)
		return -ENOSPC;
	if (event_reserve(s, 1) != 0)
		return -ENOMEM;
	h = arena_calloc(s->config.arena, sizeof(*h));
	if (h == NULL) {
		event_release(s, 1);
		return -ENOMEM;
	}
	*h = (struct held){.speaker = s,
		.next = s->held,
		.timer = {.fire = held_expire},
		.vrf = vrf,
		.addr = *addr,
		.fd = fd};
	s->held = h;
	s->held_count++;
	if (timer_arm(s->thread, &h->timer, HELD_NS) == 0)
		return 0;
	held_free(h);
	event_release(s, 1);
	return -ENOMEM;
}

/* A connection from an address without a session. */
static void
unconfigured_peer(struct listener *l, const struct ip_addr *addr, int fd)
{
	struct speaker *s = l->speaker;
	struct session_event e = {.kind = SESSION_DYNAMIC, .vrf = l->vrf, .addr = *addr};
	char text[ADDR_TEXT_MAX];
	struct held *h;
	int err;

	if (!range_has(s, l->vrf, addr)) {
		close(fd);
		return;
	}
	/* A new connection replaces the held one; main has already received the event. */
	h = held_find(s, l->vrf, addr);
	if (h != NULL) {
		close(h->fd);
		h->fd = fd;
		return;
	}
	err = held_add(s, l->vrf, addr, fd);
	if (err == 0) {
		s->config.event(s->config.ctx, &e);
		return;
	}
	log_event(LOG_WARNING, "dynamic-peer-refused peer=%s reason=%s", addr_format(addr, text),
		err == -ENOSPC ? "too-many-waiting" : "out-of-memory");
	refuse(fd, ERR_CEASE, CEASE_REJECTED); /* RFC 4486 4 */
}

void
held_take(struct peer *p)
{
	struct held *h = held_find(p->speaker, p->config.vrf, &p->config.addr);

	if (h != NULL)
		peer_accept(p, held_free(h));
	if (p->config.dynamic && !p->came && !p->gone)
		peer_gone(p);
}

void
speaker_refuse(struct speaker *s, struct vrf_id vrf, const struct ip_addr *addr)
{
	struct held *h = held_find(s, vrf, addr);

	if (h != NULL)
		refuse(held_free(h), ERR_CEASE, CEASE_REJECTED);
}

void
held_close(struct speaker *s)
{
	while (s->held != NULL)
		close(held_free(s->held));
}

static void
ranges_copy(struct range *to, const struct speaker_range *ranges, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		to[i].r = ranges[i];
		if (ranges[i].password == NULL)
			continue;
		snprintf(to[i].password, sizeof(to[i].password), "%s", ranges[i].password);
		to[i].r.password = to[i].password;
	}
}

int
speaker_ranges(struct speaker *s, const struct speaker_range *ranges, unsigned count)
{
	struct range *old = s->ranges;
	unsigned old_count = s->range_count;
	struct held *h, *next;

	s->ranges = arena_calloc(s->config.arena, (count > 0 ? count : 1) * sizeof(*s->ranges));
	if (s->ranges == NULL) {
		s->ranges = old;
		return -ENOMEM;
	}
	ranges_copy(s->ranges, ranges, count);
	s->range_count = count;
	for (unsigned i = 0; i < old_count; i++) {
		if (old[i].r.password != NULL)
			password_apply(s, old[i].r.vrf, &old[i].r.prefix);
	}
	for (unsigned i = 0; i < count; i++) {
		if (ranges[i].password != NULL)
			password_apply(s, ranges[i].vrf, &ranges[i].prefix);
	}
	arena_free(s->config.arena, old);
	for (const struct listener *l = s->listeners; l != NULL; l = l->next)
		listen_tcp_mss(s, l->vrf, (enum afi)l->afi, 0);
	for (h = s->held; h != NULL; h = next) {
		next = h->next;
		if (!range_has(s, h->vrf, &h->addr))
			refuse(held_free(h), ERR_CEASE, CEASE_REJECTED);
	}
	return 0;
}

/* ---- listening ---- */

static void
listener_close(struct listener **at) RUNS_ON(role_session)
{
	struct listener *l = *at;

	*at = l->next;
	timer_cancel(l->speaker->thread, &l->again);
	watch_set(l->speaker->thread, &l->watch, 0);
	close(l->watch.fd);
	arena_free(l->speaker->config.arena, l);
}

void
listeners_close(struct speaker *s)
{
	while (s->listeners != NULL)
		listener_close(&s->listeners);
}

void
speaker_unlisten(struct speaker *s, struct vrf_id vrf)
{
	for (struct listener **at = &s->listeners; *at != NULL;) {
		if ((*at)->vrf.v == vrf.v)
			listener_close(at);
		else
			at = &(*at)->next;
	}
}

const struct netns *
listener_netns(const struct speaker *s, struct vrf_id vrf)
{
	for (const struct listener *l = s->listeners; vrf.v != VRF_DEFAULT.v && l != NULL;
		l = l->next)
		if (l->vrf.v == vrf.v)
			return l->netns;
	return NULL;
}

static void
listener_again(struct timer *t)
{
	struct listener *l = container_of(t, struct listener, again);

	watch_set(l->speaker->thread, &l->watch, EPOLLIN);
}

static struct peer *
peer_from(const struct listener *l, const struct ip_addr *addr)
{
	struct peer *p = address_first(l->speaker, l->vrf, addr);

	while (p != NULL && (p->removed || p->gone || p->config.vrf.v != l->vrf.v ||
				    !addr_equal(&p->config.addr, addr)))
		p = p->next_of_address;
	return p;
}

static void
listener_ready(struct watch *w, uint32_t events) RUNS_ON(role_session)
{
	struct listener *l = container_of(w, struct listener, watch);
	struct ip_addr addr;
	uint16_t port;
	struct peer *p;
	int fd;

	(void)events;
	while ((fd = host_socket_accept(w->fd, l->netns, &addr, &port)) >= 0) {
		p = peer_from(l, &addr);
		if (p != NULL)
			peer_accept(p, fd);
		else
			unconfigured_peer(l, &addr, fd);
	}
	if (fd == -EAGAIN)
		return;
	/*
	 * The connection stays in the queue of the kernel, and the listener stays readable: pause,
	 * or a shortage of descriptors would cause a busy loop.
	 */
	log_event(LOG_ERROR, "accept-failed error=\"%s\"", strerrordesc_np(-fd));
	if (timer_arm(l->speaker->thread, &l->again, ACCEPT_RETRY_NS) == 0)
		watch_set(l->speaker->thread, w, 0);
}

static int
listen_one(struct speaker *s, struct vrf_id vrf, const struct netns *netns, enum afi afi)
	RUNS_ON(role_session)
{
	struct host_socket_options o = {.vrf = vrf, .netns = netns};
	struct listener *l = arena_calloc(s->config.arena, sizeof(*l));
	int err;

	if (l == NULL)
		return -ENOMEM;
	*l = (struct listener){.speaker = s,
		.vrf = vrf,
		.netns = netns,
		.afi = afi,
		.next = s->listeners,
		.watch = {.fd = host_socket_listen(&o, afi, s->config.tcp_port, BACKLOG),
			.ready = listener_ready},
		.again = {.fire = listener_again}};
	err = l->watch.fd < 0 ? l->watch.fd : watch_set(s->thread, &l->watch, EPOLLIN);
	if (err < 0) {
		if (l->watch.fd >= 0)
			close(l->watch.fd);
		arena_free(s->config.arena, l);
		return err;
	}
	s->listeners = l;
	listener_passwords(s, l);
	listen_tcp_mss(s, vrf, afi, 0);
	return 0;
}

int
speaker_listen(struct speaker *s, struct vrf_id vrf, const struct netns *netns)
{
	int err = listen_one(s, vrf, netns, AFI_IPV4);
	int err6 = err == 0 ? listen_one(s, vrf, netns, AFI_IPV6) : 0;

	/* A host without IPv6 is not an error. */
	if (err == 0 && err6 < 0 && err6 != -EAFNOSUPPORT)
		speaker_unlisten(s, vrf);
	return err6 == -EAFNOSUPPORT ? 0 : err < 0 ? err : err6;
}
