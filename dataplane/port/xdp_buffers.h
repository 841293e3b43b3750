/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packet buffers of an AF_XDP socket before its end: the driver of DPDK 22.11 forgets the buffers
 * in the rings, some thousands for each socket.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rte_mempool;

/*
 * Main, when no worker uses the device and its XDP program is detached: returns the buffers to the pool.
 * Buffers in transmission by the kernel stay lost.
 */
void xdp_buffers_free(uint16_t ethdev, uint16_t queue, int socket, struct rte_mempool *pool);
/* The buffers of the fill ring alone: of a socket that was never bound. */
void xdp_fill_ring_free(int socket, struct rte_mempool *pool);

/* True if the socket copies frames: its device has no zero copy. */
bool xdp_is_copying(int socket);
/*
 * True if an AF_XDP socket uses the queue, or if the kernel has not released the queue of a closed
 * socket yet: the kernel does so later, from a work queue, and reports no event. A driver fails
 * on a queue in use, and loses the buffers taken before.
 */
bool xdp_queue_in_use(unsigned ifindex, unsigned queue);
/*
 * Waits, for at most 0.2 s, until the kernel has released a queue whose AF_XDP socket was closed and
 * xdp_is_copying() was true.
 */
void xdp_queue_await(unsigned ifindex, unsigned queue);
