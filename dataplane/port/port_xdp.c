/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AF_XDP ports: the receive queues, a device with a socket for each queue, and the buffers of the
 * sockets. The XDP program is in xdp.c.
 */
#include "dataplane/port/dataplane_struct.h"
#include "dataplane/port/xdp.h"
#include "dataplane/port/xdp_buffers.h"

#include <dirent.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <rte_mempool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#endif

/* ---- queues of the interface ---- */

/* The driver counts the queues of a device in arrays of 16 (RTE_ETHDEV_QUEUE_STAT_CNTRS). */
#define DEVICE_QUEUES_MAX 16u

static struct ethtool_channels
interface_channels(const char *iface)
{
	struct ethtool_channels c = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq r = {.ifr_data = (void *)&c};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", iface);
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &r) != 0)
		c = (struct ethtool_channels){0};
	if (fd >= 0)
		close(fd);
	return c;
}

unsigned
interface_queues(const char *iface)
{
	struct ethtool_channels c = interface_channels(iface);
	unsigned n = c.combined_count + c.rx_count;

	return n > 0 ? n : 1;
}

unsigned
port_xdp_device_queues(const struct port *p, unsigned first)
{
	unsigned left = p->own_queues - first;

	return left < p->device_queues ? left : p->device_queues;
}

/*
 * A packet in a receive queue without socket would be lost, so a port needs all queues, unless the
 * device names its queues.
 */
static int
choose_xdp_queues(struct port *p, const char *device, unsigned queues, struct dataplane_error *err)
{
	char value[256];
	struct ethtool_channels channels = interface_channels(p->iface);
	unsigned buffers;

	/*
	 * A device attaches a program once, and some NICs reset at that. The driver gives a
	 * single queue to interfaces without pairs of queues, such as veth.
	 */
	p->device_queues =
		channels.combined_count > 0 && channels.rx_count == 0 ? DEVICE_QUEUES_MAX : 1;
	p->own_queues = 1;
	if (device_argument(device, "xdp_prog", value, sizeof(value)) ||
		device_argument(device, "start_queue", value, sizeof(value)) ||
		device_argument(device, "queue_count", value, sizeof(value)))
		return 0;
	p->own_queues = interface_queues(p->iface);
	buffers = dp->pool[POOL_SOFT] != NULL ? rte_mempool_avail_count(dp->pool[POOL_SOFT])
					      : port_pool_size(POOL_SOFT);
	if (p->own_queues > PORT_QUEUES_MAX || (queues > 0 && queues < p->own_queues))
		return dataplane_fail(err, -EINVAL,
			"port %s: %s has %u receive queues, and the port would use %u: set the "
			"number with `ethtool -L %s`",
			p->name, p->iface, p->own_queues, queues > 0 ? queues : PORT_QUEUES_MAX,
			p->iface);
	if (p->own_queues > 1 && p->own_queues * QUEUE_MBUFS_XDP > buffers)
		return dataplane_fail(err, -ENOMEM,
			"port %s: %s has %u receive queues, and there are packet buffers for %u: "
			"set the number with `ethtool -L %s`%s",
			p->name, p->iface, p->own_queues, buffers / QUEUE_MBUFS_XDP, p->iface,
			port_pool_size(POOL_SOFT) < MBUFS_MAX ? ", or raise /dataplane/memory_mb"
							      : "");
	return 0;
}

int
port_xdp_reserve(struct port *p, const char *device, unsigned queues, struct dataplane_error *err)
{
	char count[16];
	int rc;

	if (!device_argument(device, "iface", p->iface, sizeof(p->iface)))
		return dataplane_fail(
			err, -EINVAL, "port %s: net_af_xdp needs iface=NAME", p->name);
	if (device_argument(device, "queue_count", count, sizeof(count)) && strcmp(count, "1") != 0)
		return dataplane_fail(err, -ENOTSUP,
			"port %s: queue_count other than 1 is not supported in this version (see "
			"ethtool -L)",
			p->name);
	p->ifindex = if_nametoindex(p->iface);
	if (p->ifindex == 0)
		return dataplane_fail(
			err, -ENODEV, "port %s: interface %s does not exist", p->name, p->iface);
	rc = choose_xdp_queues(p, device, queues, err);
	if (rc != 0)
		return rc;
	if (!dp->object_written) {
		rc = xdp_load_check();
		if (rc != 0)
			return dataplane_fail(err, rc,
				"port %s: the kernel refuses the XDP program: %s (libbpf's "
				"messages give the reason)",
				p->name, strerror(-rc));
		rc = xdp_write_object(dp->object_path);
		if (rc != 0)
			return dataplane_fail(err, rc, "port %s: %s: %s", p->name, dp->object_path,
				strerror(-rc));
		dp->object_written = true;
	}
	rc = xdp_reserve(dp->xdp, p->ifindex, err);
	p->reserved = rc == 0;
	return rc == 0 ? port_queues_check(p, device, err) : rc;
}

/* ---- sockets ---- */

static bool
has_socket(const struct port *p, int fd)
{
	bool has = p->xdp_socket == fd;

	for (unsigned i = 0; i < p->more_count; i++)
		has |= p->more[i].socket == fd;
	return has;
}

bool
is_xdp_socket(int fd)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_XDP;
}

/*
 * Returns the AF_XDP socket of the newest port, or -1. The driver opens the sockets and gives no
 * access to them, so the function searches the descriptors of the process for the only AF_XDP
 * socket without an earlier port.
 */
static int
find_xdp_socket(const struct port *opening)
{
	DIR *d = opendir("/proc/self/fd");
	int found = -1;
	struct dirent *e;

	while (d != NULL && found < 0 && (e = readdir(d)) != NULL) {
		char *end;
		long fd = strtol(e->d_name, &end, 10);
		bool known;

		if (*end != '\0' || end == e->d_name || !is_xdp_socket((int)fd))
			continue;
		known = opening != NULL && has_socket(opening, (int)fd);
		for (unsigned i = 0; i < PORTS_MAX; i++)
			known |= dp->open[i] && has_socket(&dp->port[i], (int)fd);
		if (!known)
			found = (int)fd;
	}
	if (d != NULL)
		closedir(d);
	return found;
}

/*
 * Without busy polling the driver silently uses poll() with up to a second; the worker would
 * forward nothing meanwhile, and delay every grace period.
 */
int
port_xdp_socket_take(struct port *p, uint16_t queue, struct dataplane_error *err)
{
	int on = 0, fd = find_xdp_socket(p);
	socklen_t len = sizeof(on);

	if (fd < 0)
		return dataplane_fail(
			err, -EIO, "port %s: the driver has no AF_XDP socket", p->name);
	if (queue == 0) {
		p->xdp_socket = fd;
	} else {
		p->more[p->more_count].ethdev = p->ethdev;
		p->more[p->more_count].queue = queue;
		p->more[p->more_count++].socket = fd;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &on, &len) != 0 || on != 1)
		return dataplane_fail(err, -EOPNOTSUPP,
			"port %s: no busy polling on %s (SO_PREFER_BUSY_POLL), so the driver would "
			"sleep: needs Linux 5.11, CAP_NET_ADMIN and busy_budget above 0",
			p->name, p->iface);
	return 0;
}

/*
 * Opens a device for further queues of an AF_XDP port. Its driver attaches a copy of the program; the
 * program of the last device stays, and gets the sockets of all queues.
 */
static int
open_queues(struct port *p, unsigned first, struct dataplane_error *err)
{
	struct port one = *p; /* for the functions of a port with one device */
	unsigned queues = port_xdp_device_queues(p, first);
	char full[1024];
	bool soft;
	int rc = xdp_detach(dp->xdp, p->ifindex, err);

	(void)snprintf(full, sizeof(full),
		"net_af_xdp_%u_%u,iface=%s,start_queue=%u,queue_count=%u,xdp_prog=%s", p->ifindex,
		first, p->iface, first, queues, dp->object_path);
	if (rc == 0)
		rc = device_probe(&one, full, full, &soft, err);
	if (rc != 0)
		return rc;
	one.xdp_socket = -1;
	one.more_count = 0;
	rc = port_start(&one, full, true, queues, err);
	if (rc != 0) {
		port_devices_stop(&one, false);
		return rc;
	}
	p->more[p->more_count].ethdev = one.ethdev;
	p->more[p->more_count].queue = 0;
	p->more[p->more_count++].socket = one.xdp_socket;
	for (unsigned i = 0; i < one.more_count; i++)
		p->more[p->more_count++] = one.more[i];
	return 0;
}

int
port_xdp_queues_open(struct port *p, struct dataplane_error *err)
{
	int rc = 0;

	for (unsigned q = 1 + p->more_count; rc == 0 && q < p->own_queues; q = 1 + p->more_count)
		rc = open_queues(p, q, err);
	if (p->more_count > 0)
		p->rx_queues = p->tx_queues = 1 + p->more_count;
	return rc;
}

/* The program exists once the last queue is open. */
int
port_xdp_sockets_attach(struct port *p, struct dataplane_error *err)
{
	int fd[PORT_QUEUES_MAX], rc;

	rc = xdp_attach_check(dp->xdp, p->vrf, p->mpls, p->ifindex, &dp->host_limits, err);
	if (rc != 0 || p->more_count == 0)
		return rc;
	fd[0] = p->xdp_socket;
	for (unsigned i = 0; i < p->more_count; i++)
		fd[1 + i] = p->more[i].socket;
	rc = xdp_sockets_set(dp->xdp, p->ifindex, fd, 1 + p->more_count);
	return rc == 0 ? 0
		       : dataplane_fail(err, rc,
				 "port %s: the XDP program has no room for %u queues: %s", p->name,
				 1 + p->more_count, strerror(-rc));
}

void
port_xdp_sockets_close(void)
{
	int fd;

	while ((fd = find_xdp_socket(NULL)) >= 0) {
		if (dp->pool[POOL_SOFT] != NULL)
			xdp_fill_ring_free(fd, dp->pool[POOL_SOFT]);
		(void)close(fd);
	}
}

/* Before the driver forgets them. The program goes first, so that no packet takes a buffer. */
void
port_xdp_buffers_free(struct port *p)
{
	if (!p->own_program || p->skipped || netns_enter(port_netns(p)) != 0)
		return;
	(void)xdp_detach(dp->xdp, p->ifindex, NULL);
	xdp_buffers_free(p->ethdev, 0, p->xdp_socket, dp->pool[POOL_SOFT]);
	for (unsigned i = 0; i < p->more_count; i++)
		xdp_buffers_free(p->more[i].ethdev, p->more[i].queue, p->more[i].socket,
			dp->pool[POOL_SOFT]);
	netns_leave(port_netns(p));
}
