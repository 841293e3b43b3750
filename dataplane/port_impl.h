/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the rooms of dataplane/ share of a port.
 */
#pragma once

#include "dataplane/port.h"

#include <stdarg.h>
#include <stdatomic.h>

struct rte_mempool;

/* The driver's AF_XDP socket, or -1. It stays the driver's. */
int port_xdp_socket(uint16_t port);
/* Where a worker reads the port's MAC address: its six bytes, then zeros. Stays as long as the port. */
const _Atomic uint64_t *port_mac_place(uint16_t port);
/*
 * Main creates it at first use. Buffers of packets that are not received: of the host thread, which may be preempted in the middle of
 * taking one. From a pool that workers take from, too, they would wait for it: an mp/mc ring's consumers go on in turn. NULL: no memory.
 */
struct rte_mempool *port_own_pool(void);
unsigned port_rx_queues(uint16_t port);
unsigned port_tx_queues(uint16_t port);
/* Main lcore is 0, worker i is lcore i + 1. */
unsigned dataplane_worker_count(void);
unsigned dataplane_worker_cpu(unsigned worker);
/* Fills in err (may be NULL) and returns rc. */
int dataplane_fail(struct dataplane_error *err, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
