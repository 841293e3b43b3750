/* SPDX-License-Identifier: BSD-3-Clause */
/* Pools of packet buffers, and the MTU that the buffers and the device of a port allow. */
#include "dataplane/port.h"
#include "dataplane/dataplane_impl.h"
#include "dataplane/worker.h"

#include <errno.h>
#include <net/if.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>
#include <stdio.h>
#include <string.h>

#define EAL_MB_OTHER 16 /* memory of EAL and drivers besides packet buffers */
/* Buffers of ports with a larger MTU, for whole frames with a VLAN tag: no driver has to chain them. */
#define LARGE_DATA_ROOM (RTE_PKTMBUF_HEADROOM + PORT_MTU_MAX + 64)
#define MBUF_CACHE 512
#define OWN_MBUFS 1023
static_assert(MBUF_DATA_ROOM - RTE_PKTMBUF_HEADROOM >= WORKER_INJECT_MAX + 14, "fits a buffer");

unsigned
port_pool_size(uint16_t room)
{
	size_t object = sizeof(struct rte_mbuf) + room + 4 * RTE_CACHE_LINE_SIZE;
	size_t bytes = (size_t)(dp->eal_mb - EAL_MB_OTHER) << 20, n;

	if (dp->large) /* the own pool has large buffers, too */
		bytes -= (size_t)OWN_MBUFS * (LARGE_DATA_ROOM - MBUF_DATA_ROOM);
	if (dp->large && dp->plain)
		bytes /= 2;
	n = bytes / object;
	return n > MBUFS_MAX ? MBUFS_MAX : (unsigned)n;
}

unsigned
port_memory_for(const struct port *p, const struct rte_mempool *pool, unsigned buffers)
{
	unsigned more = buffers - rte_mempool_avail_count(pool);
	size_t mb = ((size_t)more * (p->large ? LARGE_DATA_ROOM : MBUF_DATA_ROOM) >> 20) + 1;

	return 4 * (dp->eal_mb + (unsigned)mb * (dp->large && dp->plain ? 2 : 1));
}

/*
 * AF_XDP's driver maps only the first memory chunk of a pool, so the pool must have a single chunk.
 * A pool has a single chunk if its objects need not be IOVA-contiguous; software ports do not need
 * contiguous objects.
 */
static struct rte_mempool *
soft_pool_create(const char *name, uint16_t room)
{
	struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size = room};
	struct rte_mempool *pool =
		rte_mempool_create_empty(name, port_pool_size(room), sizeof(struct rte_mbuf) + room,
			MBUF_CACHE, sizeof(private), SOCKET_ID_ANY, RTE_MEMPOOL_F_NO_IOVA_CONTIG);

	if (pool == NULL)
		return NULL;
	if (rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL) != 0)
		goto fail;
	rte_pktmbuf_pool_init(pool, &private);
	if (rte_mempool_populate_default(pool) < 0)
		goto fail;
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
fail:
	rte_mempool_free(pool);
	return NULL;
}

/* The NUMA socket of a device; a device without a socket has socket 0. */
static unsigned
socket_of(const struct port *p)
{
	int socket = rte_eth_dev_socket_id(p->ethdev);

	return socket > 0 && socket < RTE_MAX_NUMA_NODES ? (unsigned)socket : 0;
}

/* A pool on the socket of the device, or where memory is left. */
static struct rte_mempool *
hard_pool(unsigned socket, bool large)
{
	struct rte_mempool **pool = large ? &dp->hard_large[socket] : &dp->hard_pool[socket];
	uint16_t room = large ? LARGE_DATA_ROOM : MBUF_DATA_ROOM;
	unsigned sockets = rte_socket_count(),
		 size = port_pool_size(room) / (sockets > 0 ? sockets : 1);
	char name[RTE_MEMPOOL_NAMESIZE];

	if (*pool != NULL)
		return *pool;
	(void)snprintf(name, sizeof(name), "keel_%s%u", large ? "large" : "hard", socket);
	*pool = rte_pktmbuf_pool_create(name, size, MBUF_CACHE, 0, room, (int)socket);
	if (*pool == NULL)
		*pool = rte_pktmbuf_pool_create(name, size, MBUF_CACHE, 0, room, SOCKET_ID_ANY);
	return *pool;
}

struct rte_mempool *
port_pool_for(const struct port *p, bool soft)
{
	if (!soft)
		return hard_pool(socket_of(p), p->large);
	if (p->large) {
		if (dp->soft_large == NULL)
			dp->soft_large = soft_pool_create("keel_soft_large", LARGE_DATA_ROOM);
		return dp->soft_large;
	}
	if (dp->soft_pool == NULL)
		dp->soft_pool = soft_pool_create("keel_soft", MBUF_DATA_ROOM);
	return dp->soft_pool;
}

/* Devices that access memory by DMA cannot send buffers of the soft pools. */
struct rte_mempool *
port_copy_pool(void)
{
	for (unsigned i = 0; i < RTE_MAX_NUMA_NODES; i++)
		if (dp->hard_large[i] != NULL)
			return dp->hard_large[i];
	for (unsigned i = 0; i < RTE_MAX_NUMA_NODES; i++)
		if (dp->hard_pool[i] != NULL)
			return dp->hard_pool[i];
	return dp->soft_large != NULL ? dp->soft_large : dp->soft_pool;
}

struct rte_mempool *
port_own_pool(void)
{
	if (dp->own_pool == NULL)
		dp->own_pool = rte_pktmbuf_pool_create("keel_own", OWN_MBUFS, 0, 0,
			dp->large ? LARGE_DATA_ROOM : MBUF_DATA_ROOM, SOCKET_ID_ANY);
	return dp->own_pool;
}

/* ---- the MTU ---- */

/* The same for the buffers of the port. */
uint16_t
port_packet_room(const struct port *p)
{
	return p->large ? PORT_MTU_MAX : p->xdp ? ROOM_XDP : ROOM_PLAIN;
}

uint16_t
port_frame_most(uint16_t port)
{
	const struct port *p = port_find(port);

	return p != NULL && p->xdp ? (uint16_t)(ETHER_LEN + port_packet_room(p)) : 0;
}

/*
 * Without a configured MTU, uses the interface's MTU, limited by the device and the size of packet
 * buffers.
 */
int
port_mtu_choose(struct port *p, const char *device, struct dataplane_error *err)
{
	struct dataplane_error reason;
	uint16_t own = 0, wanted, room;
	uint8_t mac[6];
	int rc;

	rc = p->ifindex != 0 ? port_kernel_link(p->ifindex, mac, &own)
			     : rte_eth_dev_get_mtu(p->ethdev, &own);
	if (rc != 0 && !p->mtu_given)
		return dataplane_fail(
			err, rc, "port %s: the MTU cannot be read: %s", p->name, strerror(-rc));
	wanted = p->mtu_given ? atomic_load_explicit(&p->mtu, memory_order_relaxed) : own;
	p->large = dp->large && !p->xdp && wanted > ROOM_PLAIN;
	room = port_packet_room(p);
	rc = p->mtu_given ? port_mtu_check(device, wanted, &reason) : 0;
	if (rc != 0)
		return dataplane_fail(err, rc, "port %s: %s", p->name, reason.text);
	if (p->mtu_given && wanted > room)
		return dataplane_fail(err, -ENOMEM,
			"port %s: MTU %u is above %u, the limit of the packet buffers; keeld makes "
			"larger buffers at its start: restart keeld",
			p->name, wanted, room);
	if (p->mtu_max > room)
		p->mtu_max = room;
	if (!p->mtu_given) {
		p->mtu_own = own;
		p->mtu = own < p->mtu_max ? own : p->mtu_max;
	}
	return 0;
}
