/* SPDX-License-Identifier: BSD-3-Clause */
/* Port functions for dataplane/ only. Same owner and lifetime as in port.h. */
#pragma once

#include "dataplane/port.h"

#include <stdarg.h>
#include <stdatomic.h>

struct icmp_sources;
struct rte_mempool;

/* The AF_XDP socket, or -1. The driver owns the socket. */
int port_xdp_socket(uint16_t port);
/*
 * Address of the port's MAC address for workers: six bytes, then zeros. Valid while the port
 * exists.
 */
const _Atomic uint64_t *port_mac_place(uint16_t port);
/* Source addresses of ICMP errors, for workers. Valid until dataplane_fini(). */
const struct icmp_sources *port_icmp_sources(void);
/*
 * Pool for packets of this router. Created at the first call, by main. NULL: no memory. The host
 * thread allocates from this pool and may be preempted in the middle: consumers of an mp/mc ring
 * proceed in turn, so workers allocating from the same pool would wait.
 */
struct rte_mempool *port_own_pool(void);
unsigned port_rx_queues(uint16_t port);
unsigned port_tx_queues(uint16_t port);
/* The main lcore is 0, worker i is lcore i + 1. */
unsigned dataplane_worker_count(void);
unsigned dataplane_worker_cpu(unsigned worker);
/* Writes the text to `err` (may be NULL) and returns rc. */
int dataplane_fail(struct dataplane_error *err, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
