/* SPDX-License-Identifier: BSD-3-Clause */
/* Ports without a device, devices that leave and come back, and the queues of AF_XDP that a closed port still has. */
#include "dataplane/port/port_pull.h"
#include "dataplane/port/port_struct.h"
#include "dataplane/port/xdp_buffers.h"
#include "lpm/base/monotonic.h"

#include <errno.h>
#include <net/if.h>
#include <rte_ethdev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int
port_skip(const struct port_config *c, bool left, const char *reason)
{
	unsigned n = port_number_free();
	char place[PORT_NAME_MAX + 16], parent[PORT_NAME_MAX];
	size_t len = (size_t)snprintf(place, sizeof(place), "port %s: ", c->name);
	struct port *p;

	if (n == PORTS_MAX)
		return -ENOSPC;
	p = port_at(n);
	port_init(p, c);
	p->skipped = true;
	if (port_vlan_parse(c->device, parent, &p->vlan))
		p->parent = port_named(parent);
	(void)snprintf(p->fault, sizeof(p->fault), "%s",
		strncmp(reason, place, len) == 0 ? reason + len : reason);
	text_end(p->fault);
	p->watch.why = left || !port_device_is_there(c) ? WHY_ABSENT : WHY_NOT_OPENED;
	p->retry_ns = monotonic_ns() + PORT_RETRY_NS;
	p->ethdev = RTE_MAX_ETHPORTS;
	p->tx_queues = dataplane_worker_count();
	port_number_take(n);
	return (int)n;
}

int
port_wait(const struct port_config *c, bool left, uint16_t *port, struct dataplane_error *err)
{
	int rc = port_skip(c, left, err->text);

	if (rc < 0)
		return dataplane_fail(err, rc, "port %s: too many ports", c->name);
	*port = (uint16_t)rc;
	return 0;
}

int
port_lacks_namespace(const struct port_config *c, struct dataplane_error *err)
{
	return c->vrf.v == VRF_DEFAULT.v || c->netns != NULL
		       ? 0
		       : dataplane_fail(err, -ENODEV, "no network namespace for the VPN instance");
}
