/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/zones.h"

#include "lpm/prefix.h"

#include <net/if.h>
#include <string.h>

/* For the whole process, as interface indices are. */
static struct {
	struct zone_port port[ZONES_PORTS_MAX];
	unsigned count;
} zones;

void
zones_set_ports(const struct zone_port *ports, unsigned count)
{
	zones.count = count < ZONES_PORTS_MAX ? count : ZONES_PORTS_MAX;
	if (zones.count > 0)
		memcpy(zones.port, ports, zones.count * sizeof(*ports));
}

unsigned
zone_ifindex(uint16_t zone)
{
	for (unsigned i = 0; i < zones.count; i++)
		if (zones.port[i].zone == zone)
			return zones.port[i].ifindex;
	return zone != 0 ? if_nametoindex(zone_name(zone)) : 0;
}

uint16_t
zone_of_ifindex(unsigned ifindex)
{
	char name[IF_NAMESIZE];

	for (unsigned i = 0; i < zones.count; i++)
		if (zones.port[i].ifindex == ifindex)
			return zones.port[i].zone;
	return if_indextoname(ifindex, name) != NULL ? zone_find(name) : 0;
}
