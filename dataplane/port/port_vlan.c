/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports on VLANs of other ports: the parent has the device, and its workers give frames with the tags of a VLAN to
 * the port on the VLAN (worker_vlan.c). The kernel sees such a port as a TAP, as any other port without an
 * interface of its own: also in the namespace of an instance, and on a kernel without VLANs.
 */
#include "dataplane/port/dataplane_struct.h"
#include "dataplane/port/port_pull.h"
#include "dataplane/port/xdp.h"

#include <errno.h>
#include <rte_ethdev.h>
#include <string.h>

static int
check_parent(const struct port *p, const char *parent, uint16_t on, struct dataplane_error *err)
{
	if (on == PORTS_MAX)
		return dataplane_fail(
			err, -ENODEV, "port %s: there is no port %s, its parent", p->name, parent);
	if (!port_runs(on))
		return dataplane_fail(
			err, -ENODEV, "port %s: its parent %s has no device", p->name, parent);
	if (dp->port[on].vlan.outer != 0)
		return dataplane_fail(err, -EINVAL, "port %s: its parent %s is on a VLAN itself",
			p->name, parent);
	for (uint16_t other = 0; other < port_count(); other++) {
		const struct port *o = port_find(other);

		if (o != NULL && !o->skipped && o->parent == on && o->vlan.outer == p->vlan.outer &&
			o->vlan.inner == p->vlan.inner)
			return dataplane_fail(err, -EEXIST,
				"port %s: %s has this VLAN of %s already", p->name, o->name,
				parent);
	}
	return 0;
}

/*
 * Frames with a tag have 1,500 octets behind the tag, and devices take them (IEEE 802.3 3.2.7). A buffer of AF_XDP has no
 * room for tags behind the longest packet.
 */
uint16_t
port_vlan_mtu_most(struct port *p)
{
	struct port *on = port_with_device(p);
	uint16_t mtu = atomic_load_explicit(&on->mtu, memory_order_relaxed);
	unsigned room = port_packet_room(on) - VLAN_TAG * (p->vlan.inner != 0 ? 2u : 1u);

	return on->xdp && mtu > room ? (uint16_t)room : mtu;
}

static int
choose_mtu(struct port *p, struct port *on, struct dataplane_error *err)
{
	uint16_t most = port_vlan_mtu_most(p);

	if (p->mtu_given && p->mtu > most)
		return dataplane_fail(err, -EINVAL,
			"port %s: MTU %u is above %u, the most of its parent %s", p->name, p->mtu,
			most, on->name);
	p->mtu_max = on->mtu_max; /* and port_vlan_mtu_most(), which follows the parent */
	p->large = on->large;
	if (!p->mtu_given)
		p->mtu = most;
	return 0;
}

int
port_vlan_open(struct port *p, const char *device, struct dataplane_error *err)
{
	char parent[PORT_NAME_MAX];
	struct port_vlan vlan;
	struct port *on;
	int rc;

	if (!port_vlan_parse(device, parent, &vlan))
		return dataplane_fail(err, -EINVAL, "port %s: %s is no VLAN", p->name, device);
	p->vlan = vlan;
	p->parent = port_named(parent);
	rc = check_parent(p, parent, p->parent, err);
	if (rc != 0)
		return rc;
	on = &dp->port[p->parent];
	rc = choose_mtu(p, on, err);
	if (rc != 0)
		return rc;
	p->ethdev = RTE_MAX_ETHPORTS;
	p->tx_queues = on->tx_queues;
	/* relaxed: a single value without dependent data */
	atomic_store_explicit(&p->mac, atomic_load_explicit(&on->mac, memory_order_relaxed),
		memory_order_relaxed);
	rc = port_interface_choose(p, device, err);
	if (rc == 0)
		port_watch_start(&p->watch, on->ethdev, false, p->ifindex, false);
	return rc;
}

/*
 * The driver of the kernel (AF_XDP) and net_virtio filter frames by VLANs that they were told, and groups. Other
 * drivers of DPDK filter VLANs on request.
 */
static bool
filters_vlans(const struct port *on)
{
	struct rte_eth_dev_info info;

	return on->xdp || (rte_eth_dev_info_get(on->ethdev, &info) == 0 &&
				  strncmp(info.driver_name, "net_virtio", 10) == 0);
}

void
port_vlan_tell(struct port *p, bool present)
{
	struct port *on = port_with_device(p);
	bool last = true, same = false;

	if (p->vlan.outer == 0 || p->skipped)
		return;
	for (uint16_t other = 0; other < port_count(); other++) {
		const struct port *o = port_find(other);

		if (o == NULL || o == p || o->skipped || o->vlan.outer == 0 ||
			o->parent != p->parent)
			continue;
		last = false;
		same |= o->vlan.outer == p->vlan.outer; /* with another inner tag */
	}
	if (present && filters_vlans(on) && rte_eth_promiscuous_get(on->ethdev) == 0)
		on->vlan_promiscuous = rte_eth_promiscuous_enable(on->ethdev) == 0;
	if (!present && last && on->vlan_promiscuous) {
		(void)rte_eth_promiscuous_disable(on->ethdev);
		on->vlan_promiscuous = false;
	}
	if (on->xdp && !same)
		xdp_vlan_set(dp->xdp, on->vrf, on->ifindex, p->vlan.outer, present);
}

/* Sets the MTU and the MAC address of the TAP. The message about the link brings them to the port. */
static void
tap_set(struct port *p, uint16_t mtu, const uint8_t mac[6])
{
	if (netns_enter(port_netns(p)) != 0)
		return;
	if (mtu != 0)
		(void)port_kernel_mtu_set(p->ifindex, mtu);
	if (mac != NULL)
		(void)port_kernel_mac_set(p->ifindex, mac);
	netns_leave(port_netns(p));
}

void
port_vlans_follow(const struct port *on, const uint8_t old[6])
{
	uint8_t mac[6], own[6];

	port_mac((uint16_t)(on - dp->port), mac);
	for (uint16_t other = 0; other < port_count(); other++) {
		struct port *p = port_find(other);
		uint16_t mtu, most;

		if (p == NULL || p->skipped || p->vlan.outer == 0 || &dp->port[p->parent] != on)
			continue;
		mtu = atomic_load_explicit(&p->mtu, memory_order_relaxed);
		most = port_vlan_mtu_most(p);
		port_mac(other, own);
		tap_set(p, mtu > most || (mtu < most && !p->mtu_given) ? most : 0,
			memcmp(own, old, 6) == 0 && memcmp(own, mac, 6) != 0 ? mac : NULL);
	}
}
