/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/zones.h"

#include "lpm/prefix.h"

#include <net/if.h>
#include <string.h>
#include <sys/stat.h>

/* For the whole process, as interface indices are. */
static struct {
	struct zone_port port[ZONES_PORTS_MAX];
	unsigned count;
	ino_t netns; /* in which the indices of the interfaces are valid */
} zones;

/* The network namespace of the calling thread. */
static ino_t
netns_here(void)
{
	struct stat st;

	return stat("/proc/thread-self/ns/net", &st) == 0 ? st.st_ino : 0;
}

/* The number of entries that are valid in the namespace of the calling thread. */
static unsigned
count_here(void)
{
	return zones.count > 0 && netns_here() == zones.netns ? zones.count : 0;
}

void
zones_set_ports(const struct zone_port *ports, unsigned count)
{
	zones.netns = netns_here();
	zones.count = count < ZONES_PORTS_MAX ? count : ZONES_PORTS_MAX;
	if (zones.count > 0)
		memcpy(zones.port, ports, zones.count * sizeof(*ports));
}

unsigned
zone_ifindex(uint16_t zone)
{
	for (unsigned i = 0, count = count_here(); i < count; i++)
		if (zones.port[i].zone == zone)
			return zones.port[i].ifindex;
	return zone != 0 ? if_nametoindex(zone_name(zone)) : 0;
}

uint16_t
zone_of_ifindex(unsigned ifindex)
{
	char name[IF_NAMESIZE];

	for (unsigned i = 0, count = count_here(); i < count; i++)
		if (zones.port[i].ifindex == ifindex)
			return zones.port[i].zone;
	return if_indextoname(ifindex, name) != NULL ? zone_find(name) : 0;
}
