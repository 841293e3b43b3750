/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lost links while no keeld exists. keelfwd sets the next hops of a port without link to DOWN, by a
 * store each, so workers use equal paths and backups of the path list. With the link, the next hops
 * are up again with their last MAC addresses.
 *
 * Owner: the thread of keelfwd, between link_repair_begin() and link_repair_end() the only writer of
 * the next hops.
 */
#pragma once

#include "dataplane/port/port.h"
#include "lpm/shared_tables.h"

struct link_repair;

/* After the ports are open. 0; -ENOMEM; -errno: no socket for the events of links. */
int link_repair_create(struct link_repair **out);
void link_repair_destroy(struct link_repair *r);
/* Readable when a link has changed. */
int link_repair_fd(const struct link_repair *r);
/*
 * keeld has ended: the module is the writer of the next hops. Ports without link are repaired at
 * once.
 */
void link_repair_begin(
	struct link_repair *r, _Atomic uint64_t *words, const struct adjacency *adjacencies);
/* The workers use the tables of a new keeld. */
void link_repair_end(struct link_repair *r);
/*
 * Reads the state of all links after an event of link_repair_fd(), and after link_repair_begin() in
 * each turn, because events may be late. Calls `changed` for each change, with the number of next
 * hops.
 */
void link_repair_turn(struct link_repair *r, bool event,
	void (*changed)(uint16_t port, bool up, unsigned next_hops));
