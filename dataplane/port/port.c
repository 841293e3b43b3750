/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of ports: numbers, opening and closing, and the values of a port for readers. */
#include "dataplane/port/port.h"
#include "dataplane/port/dataplane_struct.h"
#include "dataplane/port/xdp_buffers.h"

#include <errno.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- open and close ---- */

void
port_init(struct port *p, const struct port_config *c)
{
	/* other threads do not read the port: see port_show() */
	*p = (struct port){.vrf = c->vrf,
		.netns = c->netns != NULL ? *c->netns : (struct netns){-1, -1, -1},
		.mpls = c->mpls,
		.mtu = c->mtu,
		.mtu_given = c->mtu != 0,
		.mtu_wanted = c->mtu,
		.queues_wanted = c->queues,
		.host_path = c->host_path,
		.xdp_socket = -1,
		.host = {.fd = -1},
		.anycast = -1,
		.watch = {.kernel = -1, .tap = -1, .ethdev = RTE_MAX_ETHPORTS}};
	for (; p->queue_worker_count < c->queue_worker_count &&
		p->queue_worker_count < PORT_QUEUES_MAX;
		p->queue_worker_count++)
		p->queue_worker[p->queue_worker_count] =
			(uint16_t)c->queue_workers[p->queue_worker_count];
	(void)snprintf(p->name, sizeof(p->name), "%s", c->name);
	(void)snprintf(p->device, sizeof(p->device), "%s", c->device);
}

unsigned
port_number_free(void)
{
	unsigned n = dp->port_count;

	for (unsigned i = 0; n == PORTS_MAX && i < PORTS_MAX; i++)
		if (!dp->open[i])
			n = i;
	return n;
}

void
port_number_take(unsigned n)
{
	dp->open[n] = dp->served[n] = true;
	/* release: pairs with the load in port_count() */
	if (n >= dp->port_count)
		atomic_store_explicit(&dp->port_count, n + 1, memory_order_release);
}

static int
port_try(unsigned n, const struct port_config *c, struct dataplane_error *err)
{
	struct port *p = &dp->port[n];
	int rc;

	port_init(p, c);
	rc = netns_enter(port_netns(p));
	if (rc != 0)
		return dataplane_fail(err, rc,
			"port %s: the network namespace of the VPN instance cannot be entered: %s",
			p->name, strerror(-rc));
	dp->open[n] = true; /* its sockets are known */
	rc = device_open(p, c->device, c->queues, err);
	dp->open[n] = false;
	netns_leave(port_netns(p));
	if (rc != 0 && p->xdp)
		port_xdp_sockets_close();
	return rc;
}

/*
 * The kernel releases the queue of a closed AF_XDP socket later, from a work queue, and reports no
 * event: a port may be busy after its end for some milliseconds.
 */
#define RELEASE_POLLS 40
#define RELEASE_POLL_NS 5000000

int
port_open(const struct port_config *c, uint16_t *port, struct dataplane_error *err)
{
	unsigned n = port_number_free();
	bool pool = dp->pool[POOL_SOFT] != NULL;
	struct dataplane_error again;
	int first, rc;

	if (n == PORTS_MAX)
		return dataplane_fail(
			err, -ENOSPC, "port %s: too many ports: at most %u", c->name, PORTS_MAX);
	first = rc = port_try(n, c, err);
	for (unsigned i = 0; rc == -EBUSY && dp->port[n].xdp && i < RELEASE_POLLS; i++) {
		const struct timespec pause = {.tv_nsec = RELEASE_POLL_NS};

		(void)nanosleep(&pause, NULL);
		/* err keeps the first reason: a failed driver loses buffers, and the next try lacks buffers */
		rc = port_try(n, c, &again);
	}
	if (rc != 0) {
		/* A new pool has all buffers again, also the forgotten ones of the driver. No other port uses the pool. */
		if (!pool && dp->port[n].xdp) {
			rte_mempool_free(dp->pool[POOL_SOFT]);
			dp->pool[POOL_SOFT] = NULL;
		}
		return first;
	}
	port_number_take(n);
	port_vlan_tell(&dp->port[n], true);
	*port = (uint16_t)n;
	return 0;
}

void
port_show(uint16_t port)
{
	/* release: pairs with the load in port_find */
	atomic_store_explicit(&dp->shown[port], true, memory_order_release);
}

void
port_hide(uint16_t port)
{
	atomic_store_explicit(&dp->shown[port], false, memory_order_release);
}

int
port_add(const struct port_config *c, uint16_t *port, struct dataplane_error *err)
{
	int rc = port_open(c, port, err);

	if (rc == 0)
		port_show(*port);
	return rc;
}

void
port_unserve(uint16_t port)
{
	dp->served[port] = false;
}

bool
port_is_served(uint16_t port)
{
	return dp->served[port] && !dp->port[port].skipped;
}

void
port_close(uint16_t port)
{
	struct port *p = &dp->port[port];
	bool copies = p->xdp && !p->skipped && xdp_is_copying(p->xdp_socket);
	unsigned queues = 1 + p->more_count;

	port_vlan_tell(p, false);
	if (p->xdp)
		port_xdp_buffers_free(p);
	port_end(p);
	if (copies)
		port_queues_await(p, queues);
	if (p->host.frame != NULL)
		rte_pktmbuf_free(p->host.frame);
	p->host.frame = NULL;
	p->netns.fd = -1;
	dp->open[port] = false;
}

/* ---- reads ---- */

void
port_tun_set(struct vrf_id vrf, unsigned ifindex)
{
	atomic_store_explicit(&dp->tun[vrf.v], ifindex, memory_order_relaxed);
}

bool
port_chains(uint16_t port)
{
	const struct port *p = port_find(port);

	return p != NULL && p->chains;
}

/* relaxed: a single value without dependent data */
void
port_mac_store(struct port *p, const uint8_t mac[6])
{
	uint64_t word = 0;

	memcpy(&word, mac, 6);
	atomic_store_explicit(&p->mac, word, memory_order_relaxed);
}

struct port *
port_with_device(struct port *p)
{
	return p->vlan.outer != 0 ? &dp->port[p->parent] : p;
}

const _Atomic uint64_t *
port_mac_place(uint16_t port)
{
	return &dp->port[port].mac;
}

uint16_t
port_ethdev(uint16_t port)
{
	return dp->port[port].ethdev;
}

int
port_xdp_socket(uint16_t port, unsigned queue)
{
	const struct port *p = port_find(port);

	if (p == NULL || (queue > 0 && queue > p->more_count))
		return -1;
	return queue == 0 ? p->xdp_socket : p->more[queue - 1].socket;
}

/* ---- queues and workers ---- */

static struct port_queue
queue_of(const struct port *p, unsigned queue)
{
	if (queue > 0 && queue <= p->more_count)
		return (struct port_queue){
			.ethdev = p->more[queue - 1].ethdev, .queue = p->more[queue - 1].queue};
	return (struct port_queue){.ethdev = p->ethdev, .queue = (uint16_t)queue};
}

struct port_queue
port_rx_queue(uint16_t port, unsigned queue)
{
	return queue_of(&dp->port[port], queue);
}

struct port_queue
port_tx_queue(uint16_t port, unsigned worker, struct tx_lock **lock)
{
	struct port *p = port_with_device(&dp->port[port]);
	unsigned queue = worker % p->tx_queues;

	*lock = p->tx_queues < dp->worker_count ? &p->tx_lock[queue % TX_LOCKS] : NULL;
	return queue_of(p, queue);
}
