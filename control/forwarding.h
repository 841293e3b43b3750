/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keelfwd, the process with ports and workers, as main starts, adopts and leaves it.
 *
 * The tables are in shared memory. After an adoption keeld builds new tables beside the
 * tables in use, and publishes the new tables when the routes of the peers are complete, or at a
 * time limit. Main only.
 */
#pragma once

#include "control/keeld.h"

struct config;
struct dataplane_error;
struct port_config;

/* The ports of `c`, room for PORTS_MAX; the texts belong to `c`. */
void forwarding_ports(const struct config *c, struct port_config *ports);
/*
 * Finds the network namespace of a port of `c`, and moves the interface there. 0: p->netns, or none (logged);
 * -errno: the interface cannot move (logged).
 */
int forwarding_namespace(struct keeld *k, const struct config *c, struct port_config *p)
	RUNS_ON(role_main);
/*
 * keelfwd opens and closes ports, until `ports`, some or all of `next`, are open. 0, or -errno with `err`;
 * -ETIMEDOUT: not until `until_ns`, but later. *failed: dataplane/process/port_set.h.
 */
int forwarding_change(struct keeld *k, const struct config *next, const struct port_config *ports,
	unsigned count, uint64_t until_ns, unsigned *failed, struct dataplane_error *err)
	RUNS_ON(role_main);
/* Opens the ports, or adopts the ports of keelfwd. Before wiring_create(). 0, -errno (logged). */
int forwarding_open(struct keeld *k) RUNS_ON(role_main);
/* True after the end of keelfwd, until the next keelfwd has the ports. */
bool forwarding_lost(const struct keeld *k) RUNS_ON(role_main);
/* Publishes the tables to the workers, after an adoption later. After wiring_start(). 0, -errno (logged). */
int forwarding_start(struct keeld *k) RUNS_ON(role_main);
/* Sets k->stays. Sessions end by Cease if nothing continues. Before wiring_stop(). */
void forwarding_leave(struct keeld *k) RUNS_ON(role_main);
/* After wiring_stop(). Workers of keelfwd continue. */
void forwarding_stop(struct keeld *k) RUNS_ON(role_main);
/* Closes the connection to keelfwd, which ends without k->stays. After wiring_destroy(). */
void forwarding_close(struct keeld *k) RUNS_ON(role_main);
