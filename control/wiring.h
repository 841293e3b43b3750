/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Builds the layers, starts the threads and carries messages between threads. Main calls each
 * function once, in this order. Each callback runs on the thread named in the header of the layer.
 */
#pragma once

#include "control/keeld.h"

struct config;
struct netlink;
struct netns;

/*
 * Creates the layers in k->layers, without the threads: arenas, QSBRs, shards, forwarding tables,
 * feed, netlink, speaker. Requires k->apply. 0, -errno (logged).
 */
int wiring_create(struct keeld *k) RUNS_ON(role_main);
/* Starts the threads in order of dependence: fib, session, rib, host. 0, -errno (logged). */
int wiring_start(struct keeld *k) RUNS_ON(role_main);
/* Ends the threads: fib, session (sends Cease to the peers, or lets them keep routes), rib, host. */
void wiring_stop(struct keeld *k) RUNS_ON(role_main);
/*
 * struct apply_config: the mirror of an instance's namespace. Between wiring_start() and
 * wiring_stop(); `ctx` is the struct keeld.
 */
int wiring_watch(void *ctx, struct vrf_id vrf, const struct netns *netns) RUNS_ON(role_main);
/* apply_config.peer: packets of the peer have a class of their own. */
void wiring_peer(void *ctx, struct vrf_id vrf, const struct ip_addr *addr, bool present)
	RUNS_ON(role_main);
void wiring_unwatch(void *ctx, struct vrf_id vrf) RUNS_ON(role_main);
/* struct apply_config: which UDP packets the ports hand to the workers. */
void wiring_tunnels(void *ctx, const struct config *c) RUNS_ON(role_main);
/*
 * apply_config.ports: before `next` is the running configuration.
 */
struct faults;
int wiring_ports(void *ctx, const struct config *next, bool restores, struct faults *f)
	RUNS_ON(role_main);
/* Gives the ports of a VRF the configured addresses, and sets their links up. */
void wiring_set_addresses(struct keeld *k, struct vrf_id vrf, struct netlink *mirror)
	RUNS_ON(role_main);
/* The same for one port, without the log of faults. `up`: the link is set up. */
struct config_port;
void wiring_port_addresses(const struct config_port *p, struct netlink *mirror, bool up)
	RUNS_ON(role_main);
/* Opens ports again whose interface was deleted and made again. After wiring_start(). */
void wiring_ports_watch(struct keeld *k) RUNS_ON(role_main);
/* After the end of keelfwd; and when the next keelfwd has opened the ports, before the tables are published. */
void wiring_ports_lost(struct keeld *k) RUNS_ON(role_main);
void wiring_ports_again(struct keeld *k) RUNS_ON(role_main);
/* After wiring_stop(), or when wiring_create() failed. */
void wiring_destroy(struct keeld *k) RUNS_ON(role_main);
