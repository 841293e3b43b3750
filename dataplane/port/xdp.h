/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loader of the XDP program keel_xdp.bpf.c. The program passes packets for local addresses
 * (selected by address, not by TCP port), ARP, neighbour discovery, multicast, and everything
 * other than IPv4 and IPv6 to the kernel; the rest goes to the worker's AF_XDP socket.
 *
 * An interface index belongs to the network namespace of the calling thread, constant for all
 * calls about an interface; xdp_destroy() is called in the namespace of the last reserved interfaces.
 *
 * Packets for the kernel are limited by class.
 *
 * Main loads, checks and detaches, and writes limits and peers; the host thread writes the maps of
 * local addresses.
 */
#pragma once

#include "dataplane/port/host_class.h"
#include "dataplane/port/port.h"
#include "dataplane/port/port.h"
#include "lpm/base/base.h"
#include "lpm/base/prefix.h"

#include <stdio.h>

struct xdp;

/* Sets the stream for libbpf's messages, which may come from any thread. */
void xdp_messages(FILE *f);
/* Writes the embedded object to `path`, for the driver's xdp_prog=. Returns 0 or -errno. */
int xdp_write_object(const char *path);
/*
 * Loads the program for a moment. The driver takes packet buffers before loading the program, and forgets the buffers if
 * the kernel refuses. Returns 0 or -errno; libbpf's messages give the reason.
 */
int xdp_load_check(void);
/* The reserved interfaces. xdp_destroy() detaches from all interfaces and releases the interfaces. */
int xdp_create(struct xdp **out);
void xdp_destroy(struct xdp *x);
/* Sets the folder of the notes that name the attached programs, so that a keeld without CAP_SYS_ADMIN detaches the programs left by a crash. */
void xdp_notes(struct xdp *x, const char *folder);
/*
 * Reserves the interface until xdp_release() or xdp_destroy(). Call before the driver attaches.
 * Detaches a program left by a crashed keeld. Returns 0, or -errno with `err`; -EBUSY: the program
 * belongs to another owner or to a running keeld, which `err` names.
 */
int xdp_reserve(struct xdp *x, unsigned ifindex, struct dataplane_error *err);
/* Detaches the program of keeld, so that the driver of the next queue can attach. */
int xdp_detach(struct xdp *x, unsigned ifindex, struct dataplane_error *err);
/* Gives queue i of the interface to socket fd[i], after xdp_attach_check(). Returns 0 or -errno. */
int xdp_sockets_set(struct xdp *x, unsigned ifindex, const int *fd, unsigned count);
/*
 * Checks after start that the XDP program of keeld is attached, opens its maps and sets the limits.
 * UDP tunnels are passed to the worker on a port of `default` with `mpls` alone. Returns 0, or -errno with `err`.
 */
int xdp_attach_check(struct xdp *x, struct vrf_id vrf, bool mpls, unsigned ifindex,
	const struct host_limits *limits, struct dataplane_error *err);
/*
 * Adds or removes the address of a BGP peer on all interfaces of the VRF. Failures only change the
 * class of packets.
 */
void xdp_peer_set(struct xdp *x, struct vrf_id vrf, const struct ip_addr *addr, bool present)
	RUNS_ON(role_main);
/* Counters of the classes of an interface. False: no program of keeld. Main. */
bool xdp_host_counters(const struct xdp *x, struct vrf_id vrf, unsigned ifindex,
	struct host_counters out[HOST_CLASSES]);
/*
 * Adds or removes a local address in the maps of all interfaces of the VRF, because packets for the
 * address may arrive on any of them. Link-local addresses need no entry: the program always passes
 * such destinations to the kernel. Returns 0 or -errno.
 */
int xdp_local_set(struct xdp *x, struct vrf_id vrf, const struct ip_addr *addr, bool present)
	RUNS_ON(role_host);
/*
 * The same for an anycast address in the map of one interface: packets for the address from link-local addresses go to
 * the kernel, and others to the worker.
 */
int xdp_anycast_set(struct xdp *x, struct vrf_id vrf, unsigned ifindex, const struct ip_addr *addr,
	bool present) RUNS_ON(role_host);
/* Frames with this outer tag go to the worker, whatever is behind the tag; or no longer. Main. */
void xdp_vlan_set(struct xdp *x, struct vrf_id vrf, unsigned ifindex, uint16_t vlan, bool present);
/*
 * Sets the IPv4 addresses, in network order, at which packets of UDP tunnels go to the workers, in
 * the VRF `default`. Returns 0, or -errno for the last failure.
 */
int xdp_tunnels_set(struct xdp *x, const uint32_t *own, unsigned count) RUNS_ON(role_host);
/*
 * Detaches the program and releases the interface of a port that failed to start. Idempotent.
 * Main.
 */
void xdp_release(struct xdp *x, unsigned ifindex);
