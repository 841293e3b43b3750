/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's side of ports: the kernel interface or TAP of a port, local addresses, and the state of the
 * host path (host_path.h).
 */
#include "dataplane/port/port.h"
#include "dataplane/port/dataplane_struct.h"
#include "dataplane/port/tap.h"
#include "dataplane/port/xdp.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the kernel interface ---- */

/* Sets what `r` holds for `request`, by index: the interface may have been renamed. 0 or -errno. */
static int
kernel_set(unsigned ifindex, unsigned long request, struct ifreq *r)
{
	int rc = 0, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (if_indextoname(ifindex, r->ifr_name) == NULL || ioctl(fd, request, r) != 0)
		rc = -errno;
	close(fd);
	return rc;
}

int
port_kernel_mtu_set(unsigned ifindex, uint16_t mtu)
{
	return kernel_set(ifindex, SIOCSIFMTU, &(struct ifreq){.ifr_mtu = mtu});
}

int
port_kernel_mac_set(unsigned ifindex, const uint8_t mac[6])
{
	struct ifreq r = {.ifr_hwaddr.sa_family = ARPHRD_ETHER};

	memcpy(r.ifr_hwaddr.sa_data, mac, 6);
	return kernel_set(ifindex, SIOCSIFHWADDR, &r);
}

/*
 * Associates the port with a kernel interface: that of the device (net_af_packet), or for lab ports
 * the interface of the port's name. The port uses its addresses, neighbours and link state, and the
 * kernel receives packets for local addresses there.
 */
static int
use_kernel_interface(struct port *p, struct dataplane_error *err)
{
	uint8_t mac[6];
	uint16_t mtu;
	int rc;

	if (p->ifindex == 0)
		p->ifindex = if_nametoindex(p->name);
	if (p->ifindex == 0)
		return 0;
	if (port_kernel_link(p->ifindex, mac, &mtu) != 0) {
		p->ifindex = 0;
		return 0;
	}
	port_mac_store(p, mac);
	if (p->mtu_given && mtu != p->mtu) {
		rc = port_kernel_mtu_set(p->ifindex, p->mtu);
		return rc == 0 ? 0
			       : dataplane_fail(err, rc,
					 "port %s: the kernel interface refused MTU %u: %s",
					 p->name, p->mtu, strerror(-rc));
	}
	if (!p->mtu_given) {
		p->mtu_own = mtu;
		p->mtu = mtu < p->mtu_max ? mtu : p->mtu_max;
	}
	return 0;
}

/* ---- the host path ---- */

/*
 * ND needs multicast: all multicast is requested, or else all frames. A driver without both modes
 * and without a list of groups has no filter: devices in memory, ENA, gve, mana.
 */
static int
receive_multicast(struct port *p, struct dataplane_error *err)
{
	int rc = rte_eth_allmulticast_enable(p->ethdev);

	if (rc == -ENOTSUP)
		rc = rte_eth_promiscuous_enable(p->ethdev);
	if (rc == -ENOTSUP && rte_eth_dev_set_mc_addr_list(p->ethdev, NULL, 0) == -ENOTSUP)
		return 0;
	if (rc != 0)
		return dataplane_fail(err, rc,
			"port %s: the driver receives no multicast, which neighbour discovery "
			"needs: %s",
			p->name, strerror(-rc));
	return 0;
}

static int
host_path_open(struct port *p, struct dataplane_error *err)
{
	uint64_t word = atomic_load_explicit(&p->mac, memory_order_relaxed);
	uint8_t mac[6];
	int rc = p->vlan.outer == 0 ? receive_multicast(p, err) : 0;

	if (rc != 0)
		return rc;
	memcpy(mac, &word, sizeof(mac));
	rc = tap_open(p->name, mac, p->mtu, &p->ifindex);
	if (rc < 0)
		return dataplane_fail(err, rc,
			"port %s: no TAP for packets of this router: %s (needs /dev/net/tun and "
			"CAP_NET_ADMIN)",
			p->name, strerror(-rc));
	p->host.fd = rc;
	p->way = HOST_WAY_TAP;
	return 0;
}

int
port_interface_choose(struct port *p, const char *device, struct dataplane_error *err)
{
	struct dataplane_error reason;
	enum port_kernel kernel = port_kernel_of(device);
	int rc;

	if (p->xdp)
		return 0;
	if (!p->host_path || kernel != PORT_KERNEL_TAP) {
		rc = use_kernel_interface(p, err);
		if (rc != 0 || p->ifindex != 0 || !p->host_path) {
			p->way = kernel == PORT_KERNEL_OWN && p->ifindex != 0 ? HOST_WAY_COPY
									      : HOST_WAY_NONE;
			return rc;
		}
	}
	rc = port_host_check(p->name, device, &reason);
	if (rc != 0)
		return dataplane_fail(err, rc, "port %s: %s", p->name, reason.text);
	return host_path_open(p, err);
}

struct port_host *
port_host(uint16_t port)
{
	struct port *p = port_find(port);

	return p != NULL ? &p->host : NULL;
}

enum host_way
port_host_way(uint16_t port)
{
	const struct port *p = port_find(port);

	return p != NULL ? p->way : HOST_WAY_NONE;
}

const struct host_limits *
port_host_limits(void)
{
	return &dp->host_limits;
}

struct host_peers *
port_host_peers(void)
{
	return dp != NULL ? &dp->host_peers : NULL;
}

struct own_addresses *
port_own_addresses(void)
{
	return dp != NULL ? &dp->own_addresses : NULL;
}

bool
port_xdp_host_counters(uint16_t port, struct host_counters out[HOST_CLASSES])
{
	const struct port *p = port_find(port);

	return p != NULL && xdp_host_counters(dp->xdp, p->vrf, p->ifindex, out);
}

void
port_xdp_peer_set(struct vrf_id vrf, const struct ip_addr *addr, bool present)
{
	xdp_peer_set(dp->xdp, vrf, addr, present);
}

/* ---- changes in the kernel ---- */

/* The socket whose memberships are the anycast addresses of the port. */
static int
anycast_open(struct port *p)
{
	int rc;

	if (p->anycast >= 0)
		return 0;
	rc = netns_enter(port_netns(p));
	if (rc != 0)
		return rc;
	p->anycast = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (p->anycast < 0)
		rc = -errno;
	netns_leave(port_netns(p));
	return rc;
}

int
port_local_address_set(struct vrf_id vrf, const struct ip_addr *addr, bool present)
{
	int rc;

	if (dp == NULL)
		return 0;
	rc = xdp_local_set(dp->xdp, vrf, addr, present);
	/* a link-local address may belong to a further machine on a second link */
	if (!addr_is_link_local(addr) &&
		!own_addresses_set(&dp->own_addresses, vrf, addr, present) && rc == 0)
		rc = -ENOSPC;
	return rc;
}

int
port_anycast_set(uint16_t port, const struct ip_addr *addr, bool present)
{
	struct port *p = port_find(port);
	struct ipv6_mreq m;
	int rc, one;

	if (p == NULL || addr->afi != AFI_IPV6)
		return present ? -ENODEV : 0;
	rc = anycast_open(p);
	if (rc != 0)
		return rc;
	m.ipv6mr_interface = p->ifindex;
	memcpy(&m.ipv6mr_multiaddr, addr->b, sizeof(m.ipv6mr_multiaddr));
	/* only a new member gets the route that the kernel loses with a link that is set down */
	(void)setsockopt(p->anycast, IPPROTO_IPV6, IPV6_LEAVE_ANYCAST, &m, sizeof(m));
	if (present && setsockopt(p->anycast, IPPROTO_IPV6, IPV6_JOIN_ANYCAST, &m, sizeof(m)) != 0)
		rc = -errno;
	/* an address of the interface itself, too; or gone already, and keeld is about to say so */
	if (rc == -EINVAL || rc == -EADDRNOTAVAIL || rc == -ENODEV)
		return 0;
	one = xdp_anycast_set(dp->xdp, p->vrf, p->ifindex, addr, present && rc == 0);
	return rc != 0 ? rc : one;
}

int
port_tunnels_set(const uint32_t *own, unsigned count)
{
	return dp != NULL ? xdp_tunnels_set(dp->xdp, own, count) : 0;
}

void
port_icmp_source_set(uint16_t port, enum afi afi, const struct ip_addr *addr)
{
	if (dp != NULL)
		icmp_source_set(&dp->icmp_sources, port, afi, addr);
}

const struct icmp_sources *
port_icmp_sources(void)
{
	return &dp->icmp_sources;
}

static int
driver_link(uint16_t ethdev, uint8_t mac[6], uint16_t *mtu)
{
	struct rte_ether_addr a;
	int rc = rte_eth_macaddr_get(ethdev, &a);

	if (rc == 0)
		rc = rte_eth_dev_get_mtu(ethdev, mtu);
	if (rc == 0)
		memcpy(mac, a.addr_bytes, 6);
	return rc;
}

/*
 * The operator changed the TAP of a port: the device gets the new address, and larger packets if
 * the driver can change its MTU now; otherwise *mtu becomes the present MTU.
 */
static void
device_follow(struct port *p, const uint8_t old[6], const uint8_t mac[6], uint16_t *mtu)
{
	uint16_t now = atomic_load_explicit(&p->mtu, memory_order_relaxed);
	struct port *on = port_with_device(p);
	struct rte_ether_addr a;
	uint8_t device[6];

	if (p->vlan.outer != 0) {
		now = port_vlan_mtu_most(p);
		*mtu = *mtu < now ? *mtu : now;
		port_mac(p->parent, device);
		if (memcmp(device, mac, 6) != 0) /* an address that the device does not know */
			(void)rte_eth_promiscuous_enable(on->ethdev);
		return;
	}
	if (*mtu > now && (*mtu > port_packet_room(p) || rte_eth_dev_set_mtu(p->ethdev, *mtu) != 0))
		*mtu = now;
	if (memcmp(old, mac, 6) == 0)
		return;
	memcpy(a.addr_bytes, mac, 6);
	/* A device that keeps its filter still receives the frames of all addresses then. */
	if (rte_eth_dev_default_mac_addr_set(p->ethdev, &a) != 0)
		(void)rte_eth_promiscuous_enable(p->ethdev);
}

int
port_refresh(uint16_t port, bool *changed)
{
	uint8_t mac[6], old[6];
	uint16_t mtu = 0;
	struct port *p = port_find(port);
	int rc;

	*changed = false;
	if (p == NULL)
		return -ENOENT;
	rc = netns_enter(port_netns(p));
	if (rc != 0)
		return rc;
	rc = p->ifindex != 0 ? port_kernel_link(p->ifindex, mac, &mtu)
			     : driver_link(p->ethdev, mac, &mtu);
	netns_leave(port_netns(p));
	if (rc != 0)
		return rc;
	atomic_store_explicit(&p->mtu_own, p->ifindex != 0 ? mtu : 0, memory_order_relaxed);
	if (mtu > p->mtu_max)
		mtu = p->mtu_max;
	port_mac(port, old);
	if (p->host.fd >= 0)
		device_follow(p, old, mac, &mtu);
	*changed = memcmp(mac, old, 6) != 0 || mtu != port_mtu(port);
	port_mac_store(p, mac);
	atomic_store_explicit(&p->mtu, mtu, memory_order_relaxed);
	if (p->vlan.outer == 0)
		port_vlans_follow(p, old);
	return 0;
}
