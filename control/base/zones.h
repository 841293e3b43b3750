/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Zones of link-local addresses (lpm/base/prefix.h) and interfaces of the kernel. The zone of a port has the name of the port, and the interface of the
 * port may have a different name. Every interface without a port has the zone of its own name. The
 * table of ports is valid in the network namespace of its writer; elsewhere all interfaces have zones by name.
 *
 * Writer: main. Any thread may read the table.
 */
#pragma once

#include <stdint.h>

/* Replaces the table of ports by `count` entries; at most ZONES_PORTS_MAX are used. */
struct zone_port {
	unsigned ifindex;
	uint16_t zone;
};
#define ZONES_PORTS_MAX 128u
void zones_set_ports(const struct zone_port *ports, unsigned count);
/* A port of this zone has the interface now; 0: there is no such port any more. */
void zones_port_set(uint16_t zone, unsigned ifindex);
/* The interface of `zone`. 0: no such interface now. */
unsigned zone_ifindex(uint16_t zone);
/* The zone of an interface. 0: no such interface, or the name of the interface has no zone yet. */
uint16_t zone_of_ifindex(unsigned ifindex);
