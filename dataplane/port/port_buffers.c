/* SPDX-License-Identifier: BSD-3-Clause */
/* Pools of packet buffers, and the MTU that the buffers and the device of a port allow. */
#include "dataplane/port/port.h"
#include "dataplane/port/dataplane_struct.h"
#include "dataplane/port/port_pull.h"

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

static bool
is_large(unsigned pool)
{
	return (pool & 1) != 0;
}

static uint16_t
room_of(unsigned pool)
{
	return is_large(pool) ? LARGE_DATA_ROOM : MBUF_DATA_ROOM;
}

/* Octets of a buffer with its header in DPDK. */
static size_t
buffer_bytes(unsigned pool)
{
	return sizeof(struct rte_mbuf) + room_of(pool) + 4 * RTE_CACHE_LINE_SIZE;
}

static unsigned
pool_of(bool soft, int socket, bool large)
{
	unsigned node = socket > 0 && socket < RTE_MAX_NUMA_NODES ? (unsigned)socket : 0;

	return (soft ? POOL_SOFT : POOL_HARD + 2 * node) + large;
}

void
port_pools_plan(const struct dataplane_config *c)
{
	for (unsigned i = 0; i < c->port_count; i++) {
		const struct port_config *p = &c->port[i];
		bool xdp = device_is_af_xdp(p->device);
		bool inside = netns_enter(p->netns) == 0;
		unsigned queues = p->queues > 0 ? p->queues : c->worker_count;
		char iface[IFNAMSIZ];

		if (xdp && device_argument(p->device, "iface", iface, sizeof(iface)))
			queues = interface_queues(iface);
		if (device_is(p->device, "vlan,"))
			queues = 0; /* its parent has them */
		dp->planned[pool_of(!device_is_pci(p->device), device_socket(p->device),
			port_is_large(p))] += queues * (xdp ? QUEUE_MBUFS_XDP : QUEUE_MBUFS);
		dp->large |= port_is_large(p);
		if (inside)
			netns_leave(p->netns);
	}
}

/*
 * The memory is divided by need. A pool without a port at the start takes the rest of the memory,
 * or half of the rest while a planned pool waits for a port.
 */
unsigned
port_pool_size(unsigned pool)
{
	size_t bytes = (size_t)(dp->eal_mb - EAL_MB_OTHER) << 20, all = 0, left, n;
	bool waits = false;

	if (dp->large) /* the own pool has large buffers, too */
		bytes -= (size_t)OWN_MBUFS * (LARGE_DATA_ROOM - MBUF_DATA_ROOM);
	left = bytes;
	for (unsigned i = 0; i < POOLS; i++) {
		size_t made = dp->pool[i] != NULL ? dp->pool[i]->size * buffer_bytes(i) : 0;

		all += dp->planned[i] * buffer_bytes(i);
		left -= made < left ? made : left;
		waits |= dp->planned[i] > 0 && dp->pool[i] == NULL;
	}
	if (dp->planned[pool] > 0)
		n = (size_t)((double)bytes * (double)(dp->planned[pool] * buffer_bytes(pool)) /
			     (double)all);
	else
		n = waits ? left / 2 : left;
	n = (n < left ? n : left) / buffer_bytes(pool);
	return n > MBUFS_MAX ? MBUFS_MAX : (unsigned)n;
}

unsigned
port_memory_for(const struct rte_mempool *pool, unsigned buffers)
{
	size_t mb = dp->eal_mb - EAL_MB_OTHER;
	unsigned have = rte_mempool_avail_count(pool);

	return 4 * (EAL_MB_OTHER + 1 + (unsigned)(mb * (pool->size + buffers - have) / pool->size));
}

/*
 * AF_XDP's driver maps only the first memory chunk of a pool, so the pool must have a single chunk.
 * A pool has a single chunk if its objects need not be IOVA-contiguous; software ports do not need
 * contiguous objects.
 */
static struct rte_mempool *
soft_pool_create(const char *name, unsigned size, uint16_t room)
{
	struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size = room};
	struct rte_mempool *pool =
		rte_mempool_create_empty(name, size, sizeof(struct rte_mbuf) + room, MBUF_CACHE,
			sizeof(private), SOCKET_ID_ANY, RTE_MEMPOOL_F_NO_IOVA_CONTIG);

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

static struct rte_mempool *
pool_create(unsigned pool)
{
	unsigned size = port_pool_size(pool);
	char name[RTE_MEMPOOL_NAMESIZE];
	struct rte_mempool *p;

	if (size == 0)
		return NULL;
	if (pool < POOL_HARD)
		return soft_pool_create(
			is_large(pool) ? "keel_soft_large" : "keel_soft", size, room_of(pool));
	(void)snprintf(name, sizeof(name), "keel_%s%u", is_large(pool) ? "large" : "hard",
		(pool - POOL_HARD) / 2);
	p = rte_pktmbuf_pool_create(
		name, size, MBUF_CACHE, 0, room_of(pool), (int)(pool - POOL_HARD) / 2);
	/* where memory is left */
	return p != NULL ? p
			 : rte_pktmbuf_pool_create(
				   name, size, MBUF_CACHE, 0, room_of(pool), SOCKET_ID_ANY);
}

struct rte_mempool *
port_pool_for(const struct port *p, bool soft)
{
	unsigned want = pool_of(soft, rte_eth_dev_socket_id(p->ethdev), p->large);
	/* pools of this kind with buffers at least as large */
	unsigned first = soft ? 0 : POOL_HARD, end = soft ? POOL_HARD : POOLS;

	if (dp->pool[want] == NULL)
		dp->pool[want] = pool_create(want);
	for (unsigned i = first; dp->pool[want] == NULL && !p->xdp && i < end; i++)
		if (dp->pool[i] != NULL && (is_large(i) || !p->large))
			return dp->pool[i];
	return dp->pool[want];
}

/* Devices that access memory by DMA cannot send buffers of the soft pools. */
struct rte_mempool *
port_copy_pool(void)
{
	struct rte_mempool *found = dp->pool[POOL_SOFT_LARGE];
	bool large = false;

	if (found == NULL)
		found = dp->pool[POOL_SOFT];
	for (unsigned i = POOL_HARD; i < POOLS; i++)
		if (dp->pool[i] != NULL && (is_large(i) || !large)) {
			found = dp->pool[i];
			large = is_large(i);
		}
	return found;
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
	struct port *p = port_find(port);

	if (p != NULL)
		p = port_with_device(p);
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
