/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loader of keel_xdp.bpf.c: what is addressed to us (by local address, not by TCP port), ARP, neighbour discovery, multicast and
 * what is neither IPv4 nor IPv6 goes to the kernel, the rest to the worker's AF_XDP socket.
 *
 * Writer: main loads, checks and detaches; the host thread writes the entries of the local-address map.
 */
#pragma once

#include "dataplane/port.h"
#include "lpm/base.h"
#include "lpm/prefix.h"

#include <stdio.h>

/* Sets the stream for libbpf's messages (any thread). */
void xdp_messages(FILE *f);
/* Writes the embedded object to `path` for the driver's xdp_prog=. 0, -errno. */
int xdp_write_object(const char *path);
/*
 * Before the driver attaches: removes a program of ours left by a crash; a foreign one, or a running keeld's, is -EBUSY and named.
 * Until xdp_forget or xdp_detach_all the interface is ours.
 */
int xdp_prepare(unsigned ifindex, struct dataplane_error *err);
/* After start: our program is attached, and its maps are found by its map ids. */
int xdp_attach_check(uint16_t port, unsigned ifindex, struct dataplane_error *err);
/*
 * Host thread: `addr` is (no longer) one of ours, in the map of every port of this port's VRF: it may be reached through any of them.
 * `port` PORT_NONE (an address of the TUN): the default VRF. Link-local: 0, nothing to do, as such destinations always go to the kernel. 0, -errno.
 */
int xdp_local_set(uint16_t port, const struct ip_addr *addr, bool present) RUNS_ON(role_host);
/* Main: the port did not come up: detaches ours from the interface and lets it go. Idempotent. */
void xdp_forget(unsigned ifindex);
/* Main: detach; idempotent. */
void xdp_detach_all(void);
