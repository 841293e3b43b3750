/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ethdev device of a port, from device arguments to the end of the device. The parts of AF_XDP are in
 * port_xdp.c, the kernel interface of the port in port_host.c.
 */
#include "dataplane/port/port.h"
#include "dataplane/port/dataplane_struct.h"
#include "dataplane/port/port_pull.h"
#include "dataplane/port/xdp.h"

#include <errno.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_devargs.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_mempool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define TAP_QUEUES_MAX 4u

/* ---- device arguments ---- */

/* Adds default arguments for AF_XDP: the XDP program and the queues. */
static int
complete_device(
	struct port *p, const char *device, char *out, size_t size, struct dataplane_error *err)
{
	char value[256];
	int n;

	if (!p->xdp) {
		n = snprintf(out, size, "%s", device);
	} else {
		bool queue = device_argument(device, "start_queue", value, sizeof(value));
		bool count = device_argument(device, "queue_count", value, sizeof(value));

		p->own_program = !device_argument(device, "xdp_prog", value, sizeof(value));
		char queues[32];

		(void)snprintf(
			queues, sizeof(queues), ",queue_count=%u", port_xdp_device_queues(p, 0));
		n = snprintf(out, size, "%s%s%s%s%s", device, queue ? "" : ",start_queue=0",
			count ? "" : queues, p->own_program ? ",xdp_prog=" : "",
			p->own_program ? dp->object_path : "");
	}
	if (n < 0 || (size_t)n >= size)
		return dataplane_fail(err, -EINVAL,
			"port %s: the device arguments are too long: at most %zu bytes with "
			"defaults",
			p->name, size - 1);
	return 0;
}

/* ---- start ---- */

/*
 * Removes the socket file of a net_memif server that was killed, as long as no process listens there.
 * The driver refuses a file that exists.
 */
static void
clear_socket(const char *device)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	char text[16];
	int fd;

	if (strncmp(device, "net_memif", strlen("net_memif")) != 0 ||
		!device_argument(device, "role", text, sizeof(text)) ||
		strcmp(text, "server") != 0 ||
		!device_argument(device, "socket-abstract", text, sizeof(text)) ||
		strcmp(text, "no") != 0 ||
		!device_argument(device, "socket", a.sun_path, sizeof(a.sun_path)))
		return;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0 && errno == ECONNREFUSED)
		(void)unlink(a.sun_path);
	if (fd >= 0)
		close(fd);
}

/* The packages of drivers for the vendor of a PCI device; Debian appends the number of the ABI. */
static const char *
driver_packages(const char *device)
{
	static const struct {
		unsigned vendor;
		const char *packages;
	} known[] = {
		{0x8086, "librte-net-e1000, -igc, -ixgbe, -i40e, -ice or -iavf"},
		{0x15b3, "librte-net-mlx5, librte-common-mlx5"},
		{0x15ad, "librte-net-vmxnet3"},
		{0x1af4, "librte-net-virtio"},
		{0x14e4, "librte-net-bnxt"},
		{0x1d0f, "librte-net-ena"},
		{0x1ae0, "librte-net-gve"},
		{0x1414, "librte-net-mana"},
		{0x1425, "librte-net-cxgbe"},
	};
	unsigned vendor = device_vendor(device);

	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].vendor == vendor)
			return known[i].packages;
	return "one of librte-net-*";
}

int
device_probe(struct port *p, const char *device, const char *full, bool *soft,
	struct dataplane_error *err)
{
	struct rte_devargs da = {0};
	int rc;

	if (rte_devargs_parse(&da, full) != 0)
		return dataplane_fail(err, -EINVAL, "port %s: DPDK does not know the device \"%s\"",
			p->name, device);
	*soft = strcmp(rte_bus_name(da.bus), "vdev") == 0;
	clear_socket(full);
	rc = rte_dev_probe(full);
	if (rc == -ENOTSUP && !*soft) {
		free(da.data);
		return dataplane_fail(err, rc,
			"port %s: no driver of DPDK takes the device %s: install the package of "
			"its driver: %s",
			p->name, device, driver_packages(device));
	}
	if (rc == 0)
		rc = rte_eth_dev_get_port_by_name(da.name, &p->ethdev);
	free(da.data);
	if (rc != 0)
		return dataplane_fail(err, rc == -1 ? -ENODEV : rc,
			"port %s: DPDK could not open \"%s\" (its messages give the reason)%s",
			p->name, device,
			device_lacks_ddp(device)
				? ": no DDP package /lib/firmware/intel/ice/ddp/ice.pkg"
				: "");
	return 0;
}

/* The largest MTU that ethdev accepts for the device. */
static uint16_t
ethdev_mtu_max(const struct rte_eth_dev_info *info)
{
	bool pair = info->max_mtu != UINT16_MAX && info->max_rx_pktlen > info->max_mtu;
	uint32_t overhead =
		pair ? info->max_rx_pktlen - info->max_mtu : RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
	uint32_t most = info->max_rx_pktlen > overhead ? info->max_rx_pktlen - overhead : 0;

	return (uint16_t)(most < info->max_mtu ? most : info->max_mtu);
}

static bool
asks_firmware(const struct rte_eth_dev_info *info)
{
	return strncmp(info->driver_name, "mlx5", 4) == 0 ||
	       strcmp(info->driver_name, "net_ice") == 0;
}

static int
configure(struct port *p, const struct rte_eth_dev_info *info, unsigned queues,
	struct dataplane_error *err)
{
	struct rte_eth_conf conf = {0};
	int rc;

	/* the driver writes the descriptors of all queues into an array of eight */
	if (device_is(p->device, "net_tap") && queues > TAP_QUEUES_MAX)
		return dataplane_fail(err, -ENOTSUP,
			"port %s: the driver of net_tap has room for %u queues, and `queues` is %u",
			p->name, TAP_QUEUES_MAX, queues);
	if (queues == 0)
		queues = dp->worker_count < PORT_QUEUES_MAX ? dp->worker_count : PORT_QUEUES_MAX;
	if (device_is(p->device, "net_tap") && queues > TAP_QUEUES_MAX)
		queues = TAP_QUEUES_MAX;
	p->rx_queues = queues < info->max_rx_queues ? queues : info->max_rx_queues;
	p->tx_queues = queues < info->max_tx_queues ? queues : info->max_tx_queues;
	if (p->xdp) /* the driver requires pairs of queues */
		p->rx_queues = p->tx_queues =
			p->rx_queues < p->tx_queues ? p->rx_queues : p->tx_queues;
	if (p->rx_queues == 0 || p->tx_queues == 0)
		return dataplane_fail(err, -ENODEV, "port %s: the device has no queues", p->name);
	if (p->mtu > p->mtu_max || p->mtu < info->min_mtu)
		return dataplane_fail(err, -EINVAL,
			"port %s: MTU %u is outside the device's range of %u to %u", p->name,
			p->mtu, info->min_mtu, p->mtu_max);
	/* Header checksums, if the device can check them; workers evaluate the result. */
	conf.rxmode.offloads = info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
	conf.rxmode.mtu = p->mtu < p->mtu_driver ? p->mtu : p->mtu_driver;
	/* Without RSS the device, or the far end of its wire, chooses the queue. */
	if (p->rx_queues > 1 && info->flow_type_rss_offloads != 0) {
		/* a queue without an entry of the table would stay empty */
		p->rss_entries = info->reta_size;
		if (p->rss_entries != 0 && p->rx_queues > p->rss_entries)
			p->rx_queues = p->rss_entries;
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf =
			info->flow_type_rss_offloads &
			(RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
	}
	/*
	 * Interrupts of the link only where a query asks the firmware: with interrupts a poll returns the
	 * state of the last interrupt, and net_e1000_em gets none where vfio uses MSI-X.
	 */
	conf.intr_conf.lsc = asks_firmware(info) && (*info->dev_flags & RTE_ETH_DEV_INTR_LSC) != 0;
	conf.intr_conf.rmv = (*info->dev_flags & RTE_ETH_DEV_INTR_RMV) != 0;
	rc = rte_eth_dev_configure(
		p->ethdev, (uint16_t)p->rx_queues, (uint16_t)p->tx_queues, &conf);
	if (rc != 0)
		return dataplane_fail(err, rc, "port %s: the driver refused the configuration: %s",
			p->name, strerror(-rc));
	return 0;
}

static int
setup_queues(struct port *p, struct rte_mempool *pool, bool soft, struct dataplane_error *err)
{
	uint16_t rx = RING_SIZE, tx = RING_SIZE;
	int rc, socket = rte_eth_dev_socket_id(p->ethdev);

	rc = rte_eth_dev_adjust_nb_rx_tx_desc(p->ethdev, &rx, &tx);
	/* the driver would only say "Cannot allocate memory" */
	if (rc == 0 && !soft && p->rx_queues * rx > rte_mempool_avail_count(pool))
		return dataplane_fail(err, -ENOMEM,
			"port %s: %u packet buffers of %u octets needed for %u receive queues of "
			"%u, and %u are left in %u MB: raise /dataplane/memory_mb, to about %u, or "
			"lower `queues` or `mtu`",
			p->name, p->rx_queues * rx, rte_pktmbuf_data_room_size(pool), p->rx_queues,
			rx, rte_mempool_avail_count(pool), dp->eal_mb,
			port_memory_for(pool, p->rx_queues * rx));
	for (unsigned q = 0; rc == 0 && q < p->rx_queues; q++) {
		rc = rte_eth_rx_queue_setup(
			p->ethdev, (uint16_t)q, rx, (unsigned)socket, NULL, pool);
		if (rc == 0 && p->xdp) {
			int taken = port_xdp_socket_take(p, (uint16_t)q, err);

			if (taken != 0)
				return taken;
		}
	}
	for (unsigned q = 0; rc == 0 && q < p->tx_queues; q++)
		rc = rte_eth_tx_queue_setup(p->ethdev, (uint16_t)q, tx, (unsigned)socket, NULL);
	if (rc != 0) /* of AF_XDP: -EINVAL without a reason, mostly that a queue is in use */
		return dataplane_fail(err, p->xdp ? -EBUSY : rc,
			"port %s: the driver refused the queues: %s (its messages give the reason)",
			p->name, strerror(-rc));
	return 0;
}

/* Workers would forward frames with a stripped tag out of their VLAN. */
static int
check_vlan_strip(const struct port *p, struct dataplane_error *err)
{
	int strip = RTE_ETH_VLAN_STRIP_OFFLOAD | RTE_ETH_QINQ_STRIP_OFFLOAD;
	int on = rte_eth_dev_get_vlan_offload(p->ethdev);

	if (on > 0 && (on & strip) != 0 &&
		rte_eth_dev_set_vlan_offload(p->ethdev, on & ~strip) == 0)
		on = rte_eth_dev_get_vlan_offload(p->ethdev);
	if (on > 0 && (on & strip) != 0)
		return dataplane_fail(err, -ENOTSUP,
			"port %s: the driver removes VLAN tags from frames, which cannot be "
			"switched off",
			p->name);
	return 0;
}

static int
start(struct port *p, struct dataplane_error *err)
{
	struct rte_ether_addr mac;
	/* Some drivers ignore the MTU of the configuration, some refuse this call. */
	int rc = p->mtu_given && p->mtu <= p->mtu_driver ? rte_eth_dev_set_mtu(p->ethdev, p->mtu)
							 : 0;

	if (rc != 0 && rc != -ENOTSUP)
		return dataplane_fail(err, rc, "port %s: the driver refused MTU %u: %s", p->name,
			p->mtu, strerror(-rc));
	rc = rte_eth_dev_start(p->ethdev);
	if (rc != 0)
		return dataplane_fail(err, rc, "port %s: the driver did not start the device: %s",
			p->name, strerror(-rc));
	rc = rte_eth_macaddr_get(p->ethdev, &mac);
	if (rc != 0)
		return dataplane_fail(err, rc, "port %s: the driver has no MAC address: %s",
			p->name, strerror(-rc));
	if (rte_is_zero_ether_addr(&mac)) /* net_ring has no address */
		rte_eth_random_addr(mac.addr_bytes);
	port_mac_store(p, mac.addr_bytes);
	return 0;
}

int
port_start(
	struct port *p, const char *device, bool soft, unsigned queues, struct dataplane_error *err)
{
	struct rte_eth_dev_info info;
	struct rte_mempool *pool;
	int rc = rte_eth_dev_info_get(p->ethdev, &info);

	if (rc != 0)
		return dataplane_fail(err, rc,
			"port %s: the driver does not report its capabilities: %s", p->name,
			strerror(-rc));
	p->mtu_driver = ethdev_mtu_max(&info);
	/* net_memif transfers frames of any length, and has no MTU; ethdev accepts 1,500. */
	p->mtu_max = device_is(device, "net_memif") ? PORT_MTU_MAX : p->mtu_driver;
	p->chains = device_is(device, "net_memif") || device_is(device, "net_pcap");
	if (port_kernel_of(device) == PORT_KERNEL_OWN && !p->xdp)
		p->ifindex = info.if_index;
	if (device_is(device, "net_tap"))
		p->tap_ifindex = info.if_index;
	rc = port_mtu_choose(p, device, err);
	if (rc != 0)
		return rc;
	pool = port_pool_for(p, soft);
	if (pool == NULL)
		return dataplane_fail(err, -ENOMEM,
			"port %s: no memory for packet buffers is left in %u MB: raise "
			"/dataplane/memory_mb, or restart keelfwd, which divides the memory among "
			"the ports of its start",
			p->name, dp->eal_mb);
	if (p->xdp && rte_mempool_avail_count(pool) < queues * QUEUE_MBUFS_XDP)
		return dataplane_fail(err, -ENOMEM,
			"port %s: %u packet buffers left, %u needed: raise /dataplane/memory_mb",
			p->name, rte_mempool_avail_count(pool), queues * QUEUE_MBUFS_XDP);
	rc = configure(p, &info, queues, err);
	if (rc == 0)
		rc = setup_queues(p, pool, soft, err);
	if (rc == 0)
		rc = start(p, err);
	if (rc == 0)
		rc = check_vlan_strip(p, err);
	return rc;
}

/*
 * Some devices use less of a buffer than there is, and put a large frame into several: net_e1000_em
 * takes 8,192 octets of 9,216. A driver that does not tell may do so, too.
 */
static bool
scatters(const struct port *p)
{
	struct rte_eth_rxq_info q = {0};

	return p->large &&
	       (rte_eth_rx_queue_info_get(p->ethdev, 0, &q) != 0 || q.scattered_rx != 0);
}

/* ---- end ---- */

static void
device_stop(uint16_t ethdev)
{
	struct rte_eth_dev_info info;
	bool known = rte_eth_dev_info_get(ethdev, &info) == 0;

	(void)rte_eth_dev_stop(ethdev);
	(void)rte_eth_dev_close(ethdev);
	/* the bus would refuse a further device of this name */
	if (known && info.device != NULL)
		(void)rte_dev_remove(info.device);
}

/* Seen with 22.11 and libxdp 1.3: the driver does not close the socket, and the queue stays in use. */
static void
socket_close(int fd)
{
	if (fd >= 0 && is_xdp_socket(fd))
		(void)close(fd);
}

void
port_devices_stop(struct port *p, bool sockets)
{
	device_stop(p->ethdev);
	for (unsigned i = p->more_count; i > 0; i--)
		if (p->more[i - 1].queue == 0) /* the first queue of its device */
			device_stop(p->more[i - 1].ethdev);
	if (sockets)
		socket_close(p->xdp_socket);
	p->xdp_socket = -1;
	for (; p->more_count > 0; p->more_count--)
		if (sockets)
			socket_close(p->more[p->more_count - 1].socket);
}

static void
port_stop(struct port *p, bool sockets)
{
	port_watch_stop(&p->watch);
	if (p->host.fd >= 0)
		(void)close(p->host.fd);
	p->host.fd = -1;
	if (p->anycast >= 0)
		(void)close(p->anycast);
	p->anycast = -1;
	if (p->vlan.outer == 0)
		port_devices_stop(p, sockets);
}

void
port_end(struct port *p)
{
	if (p->skipped || netns_enter(port_netns(p)) != 0)
		return;
	port_stop(p, true);
	if (p->reserved)
		xdp_release(dp->xdp, p->ifindex);
	netns_leave(port_netns(p));
}

/* ---- a port in all ---- */

int
device_open(struct port *p, const char *device, unsigned queues, struct dataplane_error *err)
{
	char full[DEVICE_MAX];
	bool soft = false;
	int rc = 0;

	if (device_is(device, "vlan,"))
		return port_vlan_open(p, device, err);
	p->xdp = device_is_af_xdp(device);
	if (p->xdp)
		rc = port_xdp_reserve(p, device, queues, err);
	if (rc == 0)
		rc = complete_device(p, device, full, sizeof(full), err);
	if (rc == 0)
		rc = device_probe(p, device, full, &soft, err);
	if (rc != 0)
		goto fail;
	rc = port_start(p, device, soft, p->xdp ? port_xdp_device_queues(p, 0) : queues, err);
	p->chains |= rc == 0 && !soft && scatters(p);
	if (rc == 0)
		rc = port_xdp_queues_open(p, err);
	if (rc == 0 && p->own_program)
		rc = port_xdp_sockets_attach(p, err);
	if (rc == 0)
		rc = port_interface_choose(p, device, err);
	if (rc == 0) {
		bool tap = device_is(device, "net_tap");

		/* net_tap asks an interface, possibly in a foreign network namespace */
		p->watch.link_unknown = tap;
		p->watch.costs = !soft;
		port_watch_start(&p->watch, p->ethdev, tap, p->ifindex, p->way != HOST_WAY_TAP);
		return 0;
	}
	port_stop(p, false);
fail:
	if (p->reserved)
		xdp_release(dp->xdp, p->ifindex);
	return rc;
}
