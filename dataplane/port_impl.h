/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the rooms of dataplane/ share of a port.
 */
#pragma once

#include "dataplane/port.h"

#include <stdarg.h>

/* The driver's AF_XDP socket, or -1. It stays the driver's. */
int port_xdp_socket(uint16_t port);
unsigned port_rx_queues(uint16_t port);
unsigned port_tx_queues(uint16_t port);
/* Main lcore is 0, worker i is lcore i + 1. */
unsigned dataplane_worker_count(void);
unsigned dataplane_worker_cpu(unsigned worker);
/* Fills in err (may be NULL) and returns rc. */
int dataplane_fail(struct dataplane_error *err, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
