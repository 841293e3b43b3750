/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/port/xdp_buffers.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_xdp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef SOL_XDP
#define SOL_XDP 283
#endif

#define BURST 64
#define POLLS_MAX 1024 /* of a ring of at most 16,384 entries */
#define RING_MOST 16384u
#define RING_LEAST 64u

/* A ring of addresses, mapped a second time. */
struct ring_map {
	char *memory;
	size_t bytes;
	unsigned size;
	uint32_t *producer, *consumer;
	const uint64_t *address;
};

/* The kernel refuses a mapping longer than the ring: the longest mapping shows the size of the ring. */
static bool
ring_map(int socket, off_t page, const struct xdp_ring_offset *at, struct ring_map *r)
{
	for (r->size = RING_MOST; r->size >= RING_LEAST; r->size /= 2) {
		void *p;

		r->bytes = at->desc + r->size * sizeof(uint64_t);
		p = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, socket, page);
		if (p == MAP_FAILED)
			continue;
		r->memory = p;
		r->producer = (uint32_t *)(void *)(r->memory + at->producer);
		r->consumer = (uint32_t *)(void *)(r->memory + at->consumer);
		r->address = (const uint64_t *)(const void *)(r->memory + at->desc);
		return true;
	}
	return false;
}

/* As in the driver: addresses count from the page of the pool's memory. NULL: not a buffer. */
static struct rte_mbuf *
buffer_at(const struct rte_mempool *pool, uint64_t address)
{
	const struct rte_mempool_memhdr *memory = STAILQ_FIRST(&pool->mem_list);
	uintptr_t first = (uintptr_t)memory->addr, at;

	at = (first & ~((uintptr_t)getpagesize() - 1)) + (uintptr_t)address + pool->header_size;
	if (at < first + pool->header_size || at >= first + memory->len)
		return NULL;
	return (struct rte_mbuf *)at; // NOLINT(performance-no-int-to-ptr): as in the driver
}

void
xdp_fill_ring_free(int socket, struct rte_mempool *pool)
{
	struct xdp_mmap_offsets offsets;
	socklen_t len = sizeof(offsets);
	struct ring_map r;
	uint32_t end;

	if (getsockopt(socket, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &len) != 0 ||
		len != sizeof(offsets) ||
		!ring_map(socket, (off_t)XDP_UMEM_PGOFF_FILL_RING, &offsets.fr, &r))
		return;
	end = __atomic_load_n(r.producer, __ATOMIC_ACQUIRE);
	for (uint32_t i = __atomic_load_n(r.consumer, __ATOMIC_ACQUIRE); i != end; i++) {
		struct rte_mbuf *m = buffer_at(pool, r.address[i % r.size]);

		if (m != NULL && rte_mempool_from_obj(m) == pool)
			rte_pktmbuf_free(m);
	}
	(void)munmap(r.memory, r.bytes);
}

void
xdp_buffers_free(uint16_t ethdev, uint16_t queue, int socket, struct rte_mempool *pool)
{
	struct rte_mbuf *m[BURST];
	uint16_t n = BURST;

	for (unsigned i = 0; i < POLLS_MAX && n > 0; i++) {
		n = rte_eth_rx_burst(ethdev, queue, m, BURST);
		rte_pktmbuf_free_bulk(m, n);
	}
	/* the driver takes sent buffers from the completion ring, 2,048 at a time */
	for (unsigned i = 0; i < 2; i++)
		(void)rte_eth_tx_burst(ethdev, queue, m, 0);
	xdp_fill_ring_free(socket, pool);
}

/* ---- the release of a queue ---- */

#define PROBE_RING 64
#define PROBE_CHUNKS 2u
#define AWAIT_POLLS 200u
#define AWAIT_POLL_NS 1000000
#define RELEASE_NS 5000000

bool
xdp_is_copying(int socket)
{
	struct xdp_options o = {0};
	socklen_t len = sizeof(o);

	return socket >= 0 && getsockopt(socket, SOL_XDP, XDP_OPTIONS, &o, &len) == 0 &&
	       (o.flags & XDP_OPTIONS_ZEROCOPY) == 0;
}

/* The device of the interface is on a bus: a NIC, whose driver may have zero copy. */
static bool
is_nic(unsigned ifindex)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq r = {.ifr_data = (void *)&info};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool yes;

	yes = fd >= 0 && if_indextoname(ifindex, r.ifr_name) != NULL &&
	      ioctl(fd, SIOCETHTOOL, &r) == 0 && info.bus_info[0] != '\0';
	if (fd >= 0)
		(void)close(fd);
	return yes;
}

/*
 * Asks a NIC for copy mode, without a call of the driver: for zero copy the driver would restart
 * the queue, or reset the NIC. The kernel needs some time to release the queue again. Asks
 * further devices for zero copy: the kernel checks the use of the queue, then refuses, and the
 * queue stays free.
 */
bool
xdp_queue_in_use(unsigned ifindex, unsigned queue)
{
	const struct timespec release = {.tv_nsec = RELEASE_NS};
	size_t page = (size_t)getpagesize(), bytes = PROBE_CHUNKS * page;
	struct sockaddr_xdp at = {.sxdp_family = AF_XDP,
		.sxdp_flags = is_nic(ifindex) ? XDP_COPY : XDP_ZEROCOPY,
		.sxdp_ifindex = ifindex,
		.sxdp_queue_id = queue};
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), size = PROBE_RING;
	void *memory =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct xdp_umem_reg umem = {
		.addr = (uint64_t)(uintptr_t)memory, .len = bytes, .chunk_size = (uint32_t)page};
	bool used = false, bound = false;

	if (fd >= 0 && memory != MAP_FAILED &&
		setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)) == 0 &&
		setsockopt(fd, SOL_XDP, XDP_UMEM_FILL_RING, &size, sizeof(size)) == 0 &&
		setsockopt(fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &size, sizeof(size)) == 0 &&
		setsockopt(fd, SOL_XDP, XDP_RX_RING, &size, sizeof(size)) == 0) {
		bound = bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0;
		used = !bound && errno == EBUSY;
	}
	if (fd >= 0)
		(void)close(fd);
	if (memory != MAP_FAILED)
		(void)munmap(memory, bytes);
	if (bound)
		(void)nanosleep(&release, NULL);
	return used;
}

void
xdp_queue_await(unsigned ifindex, unsigned queue)
{
	const struct timespec pause = {.tv_nsec = AWAIT_POLL_NS};

	for (unsigned i = 0; i < AWAIT_POLLS && xdp_queue_in_use(ifindex, queue); i++)
		(void)nanosleep(&pause, NULL);
}
