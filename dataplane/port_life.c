/* SPDX-License-Identifier: BSD-3-Clause */
/* Ports without a device, devices that leave and come back, and the queues of AF_XDP that a closed port still has. */
#include "dataplane/port_pull.h"
#include "dataplane/port_struct.h"
#include "dataplane/xdp_buffers.h"

#include <errno.h>
#include <net/if.h>
#include <rte_ethdev.h>
#include <stdlib.h>

/* ---- queues of AF_XDP ---- */

/* The number of the first AF_XDP queue of the port. */
static unsigned
first_queue(const char *device)
{
	char text[16];

	return device_argument(device, "start_queue", text, sizeof(text))
		       ? (unsigned)strtoul(text, NULL, 10)
		       : 0;
}

int
port_queues_check(const struct port *p, const char *device, struct dataplane_error *err)
{
	unsigned first = first_queue(device);

	for (unsigned q = first; q < first + p->own_queues; q++)
		if (xdp_queue_in_use(p->ifindex, q))
			return dataplane_fail(err, -EBUSY,
				"port %s: receive queue %u of %s is in use by another program",
				p->name, q, p->iface);
	return 0;
}

void
port_queues_await(const struct port *p, unsigned queues)
{
	unsigned first = first_queue(p->device);

	if (netns_enter(port_netns(p)) != 0)
		return;
	for (unsigned q = 0; q < queues; q++)
		xdp_queue_await(p->ifindex, first + q);
	netns_leave(port_netns(p));
}

/* ---- devices ---- */

bool
port_device_is_there(const struct port_config *c)
{
	char iface[IFNAMSIZ];

	if (device_is_pci(c->device))
		return device_is_ready(c->device);
	return c->netns != NULL || port_kernel_of(c->device) != PORT_KERNEL_OWN ||
	       !device_argument(c->device, "iface", iface, sizeof(iface)) ||
	       if_nametoindex(iface) != 0;
}

int
port_skip(const struct port_config *c, bool left)
{
	unsigned n = port_number_free();
	struct port *p;

	if (n == PORTS_MAX)
		return -ENOSPC;
	p = port_at(n);
	port_init(p, c);
	p->skipped = true;
	p->watch.state = left || !port_device_is_there(c) ? PORT_MISSING : PORT_FAILED;
	p->ethdev = RTE_MAX_ETHPORTS;
	p->tx_queues = dataplane_worker_count();
	port_number_take(n);
	return (int)n;
}

int
port_wait(const struct port_config *c, bool left, uint16_t *port, struct dataplane_error *err)
{
	int rc = port_skip(c, left);

	if (rc < 0)
		return dataplane_fail(err, rc, "port %s: too many ports", c->name);
	*port = (uint16_t)rc;
	return 0;
}

int
port_begin(const struct port_config *c, uint16_t *port, struct dataplane_error *err)
{
	int rc = port_add(c, port, err);

	if (rc == 0 || port_device_is_there(c))
		return rc;
	rc = port_wait(c, false, port, err);
	if (rc != 0)
		return rc;
	port_show(*port);
	return 1;
}

bool
port_left(uint16_t port)
{
	const struct port *p = port_find(port);

	return p != NULL && !p->skipped && p->vrf.v == VRF_DEFAULT.v && device_is_pci(p->device) &&
	       port_watch_pulled(&p->watch);
}

static bool
is_new_interface(const char *name, unsigned was)
{
	unsigned now = if_nametoindex(name);

	return now != 0 && now != was;
}

/* True if an interface that the port has lost was made again. */
static bool
interface_returned(const struct port *p)
{
	char iface[IFNAMSIZ];
	bool named = device_argument(p->device, "iface", iface, sizeof(iface));

	if (port_kernel_of(p->device) == PORT_KERNEL_OWN)
		return named && is_new_interface(iface, p->ifindex);
	if (named && p->tap_ifindex != 0 && is_new_interface(iface, p->tap_ifindex))
		return true;
	return p->way == HOST_WAY_TAP && is_new_interface(p->name, p->ifindex);
}

bool
port_returned(uint16_t port)
{
	const struct port *p = port_find(port);

	if (p == NULL || p->vrf.v != VRF_DEFAULT.v || port_state(port) != PORT_MISSING)
		return false;
	if (p->skipped)
		return port_device_is_there(&(struct port_config){.device = p->device});
	return interface_returned(p);
}

bool
port_runs(uint16_t port)
{
	const struct port *p = port_find(port);

	return p != NULL && !p->skipped;
}
