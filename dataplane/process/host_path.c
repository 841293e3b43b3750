/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/process/host_path.h"
#include "dataplane/port/host_peers.h"
#include "dataplane/port/port_inner.h"
#include "dataplane/process/tun.h"
#include "dataplane/forward/worker_struct.h"
#include "dataplane/port/xdp.h"
#include "lpm/base/ring.h"

#include <errno.h>
#include <rte_mbuf.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define TURN_MAX 64 /* packets of a class and worker in a turn */
#define FLUSH_TURNS 64 /* more than a full ring of a class takes */
#define DRAIN_MAX 64 /* frames of a TAP in a call */
#define SEGMENTS_MAX 8
#define FRAME_MIN 60 /* IEEE 802.3 3.2.8, without the checksum; not all devices pad */

int
host_path_fd(uint16_t port)
{
	const struct port_host *h = port_host(port);

	return h != NULL ? h->fd : -1;
}

/* ---- to the kernel ---- */

/* False: the kernel refused the frame, as while the interface is down. */
static bool
tap_write(int fd, const struct rte_mbuf *m)
{
	struct iovec v[SEGMENTS_MAX];
	int n = 0;

	for (; m != NULL && n < SEGMENTS_MAX; m = m->next)
		v[n++] = (struct iovec){rte_pktmbuf_mtod(m, void *), rte_pktmbuf_data_len(m)};
	return m == NULL && writev(fd, v, n) >= 0;
}

static void
hand_over(const struct rte_mbuf *m, enum host_class class) RUNS_ON(role_host)
{
	struct port_host *h;

	if (m->port & PUNT_TUN) {
		tun_write((struct vrf_id){m->port & ~PUNT_TUN},
			rte_pktmbuf_mtod_offset(m, const uint8_t *, ETHER_LEN),
			rte_pktmbuf_data_len(m) - ETHER_LEN);
		return;
	}
	h = port_host(m->port);
	if (h == NULL)
		return;
	count_add(tap_write(h->fd, m) ? &h->passed[class] : &h->lost[class], 1);
}

/* Returns a buffer to the worker. False: the ring is full, and the buffer waits in `owed`. */
static bool
give_back(struct punt *p, struct rte_mbuf *m) RUNS_ON(role_host)
{
	p->owed = ring_push(p->back, m) ? NULL : m;
	return p->owed == NULL;
}

static unsigned
turn_class(struct punt *p, enum host_class class) RUNS_ON(role_host)
{
	struct rte_mbuf *m;
	unsigned n = 0;

	if (p->owed != NULL && !give_back(p, p->owed))
		return 0;
	while (n < TURN_MAX && (m = ring_pop(p->up[class])) != NULL) {
		hand_over(m, class);
		n++;
		if (!give_back(p, m))
			break;
	}
	return n;
}

bool
host_path_turn(void)
{
	unsigned n = 0;

	for (unsigned class = 0; class < HOST_CLASSES; class ++) {
		struct worker *w;

		for (unsigned i = 0; (w = worker_at(i)) != NULL; i++) {
			if (w->punt.back != NULL)
				n += turn_class(&w->punt, (enum host_class) class);
		}
	}
	return n > 0;
}

void
host_path_flush(void)
{
	for (unsigned i = 0; i < FLUSH_TURNS && host_path_turn(); i++)
		;
}

/* ---- from the kernel ---- */

/*
 * Closes the descriptor of a TAP that was deleted: polls would report an error at once, again and
 * again.
 */
static void
tap_lost(struct port_host *h)
{
	(void)close(h->fd);
	h->fd = -1;
}

/* Reads a frame into the buffer h->frame. False: there is none. */
static bool
tap_read(struct port_host *h, uint16_t port) RUNS_ON(role_host)
{
	struct rte_mbuf *m = h->frame;
	ssize_t n;

	rte_pktmbuf_reset(m);
	n = read(h->fd, rte_pktmbuf_mtod(m, void *), rte_pktmbuf_tailroom(m));
	if (n < 0 && errno == EBADFD)
		tap_lost(h);
	if (n < ETHER_LEN)
		return false;
	if (n < FRAME_MIN)
		memset(rte_pktmbuf_mtod_offset(m, uint8_t *, n), 0, (size_t)(FRAME_MIN - n));
	rte_pktmbuf_append(m, (uint16_t)(n > FRAME_MIN ? n : FRAME_MIN));
	m->port = port;
	h->frame_read = true;
	return true;
}

bool
host_path_drain(uint16_t port)
{
	struct port_host *h = port_host(port);
	struct worker *w = worker_at(0);

	if (h == NULL || w == NULL || w->frames == NULL)
		return false;
	for (unsigned i = 0; i < DRAIN_MAX; i++) {
		if (h->frame == NULL)
			h->frame = rte_pktmbuf_alloc(port_own_pool());
		if (h->frame == NULL)
			return false;
		if (!h->frame_read && !tap_read(h, port))
			return true;
		if (!ring_push(w->frames, h->frame))
			return false;
		h->frame = NULL;
		h->frame_read = false;
		count_add(&w->stats.injected, 1);
	}
	return true;
}

/* ---- counters and peers ---- */

static uint64_t
value(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

bool
host_path_counters(uint16_t port, struct host_counters out[HOST_CLASSES])
{
	const struct port_host *h = port_host(port);
	const struct worker *w;

	memset(out, 0, HOST_CLASSES * sizeof(out[0]));
	if (port_is_xdp(port))
		return port_xdp_host_counters(port, out);
	if (h == NULL || port_host_way(port) != HOST_WAY_TAP)
		return false;
	for (unsigned c = 0; c < HOST_CLASSES; c++) {
		out[c] = (struct host_counters){
			.passed = value(&h->passed[c]), .lost = value(&h->lost[c])};
		for (unsigned i = 0; (w = worker_at(i)) != NULL; i++) {
			out[c].policed += value(&w->punt.policed[port][c]);
			out[c].lost += value(&w->punt.full[port][c]);
		}
	}
	return true;
}

void
host_path_peer_set(struct vrf_id vrf, const struct ip_addr *addr, bool present)
{
	if (port_host_peers() == NULL)
		return;
	(void)host_peers_set(port_host_peers(), vrf, addr, present);
	port_xdp_peer_set(vrf, addr, present);
}
