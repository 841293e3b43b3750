/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/zones.h"

#include "lpm/base/prefix.h"

#include <net/if.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

/* For the whole process, as interface indices are. An entry is zone << 32 | ifindex; ifindex 0: free. */
static struct {
	_Atomic uint64_t port[ZONES_PORTS_MAX];
	_Atomic unsigned count;
	ino_t netns; /* in which the indices of the interfaces are valid */
} zones;

/* acquire: pairs with the release in zones_port_set */
static struct zone_port
entry(unsigned i)
{
	uint64_t e = atomic_load_explicit(&zones.port[i], memory_order_acquire);

	return (struct zone_port){(unsigned)e, (uint16_t)(e >> 32)};
}

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
	unsigned count = atomic_load_explicit(&zones.count, memory_order_acquire);

	return count > 0 && netns_here() == zones.netns ? count : 0;
}

void
zones_set_ports(const struct zone_port *ports, unsigned count)
{
	zones.netns = netns_here();
	zones.count = 0;
	for (unsigned i = 0; i < count; i++)
		zones_port_set(ports[i].zone, ports[i].ifindex);
}

void
zones_port_set(uint16_t zone, unsigned ifindex)
{
	unsigned i = 0, count = zones.count, at = count;
	uint64_t e = (uint64_t)zone << 32 | ifindex;

	for (; i < count && at == count; i++)
		if (entry(i).zone == zone || entry(i).ifindex == 0)
			at = i;
	if (at == ZONES_PORTS_MAX || (at == count && ifindex == 0))
		return;
	/* release: pairs with the acquire in entry */
	atomic_store_explicit(&zones.port[at], ifindex != 0 ? e : 0, memory_order_release);
	if (at == count)
		atomic_store_explicit(&zones.count, count + 1, memory_order_release);
}

unsigned
zone_ifindex(uint16_t zone)
{
	for (unsigned i = 0, count = count_here(); zone != 0 && i < count; i++)
		if (entry(i).zone == zone)
			return entry(i).ifindex;
	return zone != 0 ? if_nametoindex(zone_name(zone)) : 0;
}

uint16_t
zone_of_ifindex(unsigned ifindex)
{
	char name[IF_NAMESIZE];

	for (unsigned i = 0, count = count_here(); ifindex != 0 && i < count; i++)
		if (entry(i).ifindex == ifindex)
			return entry(i).zone;
	return if_indextoname(ifindex, name) != NULL ? zone_find(name) : 0;
}
