/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packet buffers of an AF_XDP socket before its end: the driver of DPDK 22.11 forgets the buffers
 * in the rings, some thousands for each socket.
 */
#pragma once

#include <stdint.h>

struct rte_mempool;

/*
 * Main, when no worker uses the device and its XDP program is detached: returns the buffers to the pool.
 * Buffers in transmission by the kernel stay lost.
 */
void xdp_buffers_free(uint16_t ethdev, int socket, struct rte_mempool *pool);
/* The buffers of the fill ring alone: of a socket that was never bound. */
void xdp_fill_ring_free(int socket, struct rte_mempool *pool);
