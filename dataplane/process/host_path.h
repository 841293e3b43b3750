/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host thread's part of the host path: writes the packets that the workers have queued
 * (punt.h) to the TAPs of their ports, and gives frames of the kernel to a worker. The kernel keeps
 * ARP, neighbour discovery, TCP and ping.
 *
 * A port has a TAP from port_add() to dataplane_fini(), if port_config.host_path is set and the
 * device has no kernel interface of its own.
 */
#pragma once

#include "dataplane/port/host_class.h"
#include "dataplane/port/port.h"
#include "dataplane/forward/stats.h"

/* Interval of host_path_turn() without traffic: workers cannot wake the host thread. */
#define HOST_PATH_POLL_NS 1000000u
#define HOST_PATH_BUSY_NS 100000u /* after a turn with packets */

/*
 * The descriptor of a TAP, for polling, or -1. host_path_drain() closes the descriptor of a
 * deleted TAP.
 */
int host_path_fd(uint16_t port);
/*
 * Writes queued packets, of the most important class first, at most 64 of each class and worker.
 * Returns true if there were any.
 */
bool host_path_turn(void) RUNS_ON(role_host);
/* Turns until nothing is queued: for a port that the workers have left. */
void host_path_flush(void) RUNS_ON(role_host);
/*
 * Gives frames of the kernel to a worker, a limited number. False: no buffer or no room is left;
 * frames wait in the kernel, and the caller should not poll the descriptor for a while.
 */
bool host_path_drain(uint16_t port) RUNS_ON(role_host);

/* Main. False: the port has no counters, because the kernel receives its packets directly. */
bool host_path_counters(uint16_t port, struct host_counters out[HOST_CLASSES]);
/* Adds or removes the address of a BGP peer, for the class HOST_BGP_PEERS. */
void host_path_peer_set(struct vrf_id vrf, const struct ip_addr *addr, bool present)
	RUNS_ON(role_main);
