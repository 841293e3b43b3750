/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/process/port_set.h"
#include "dataplane/process/host_path.h"
#include "dataplane/port/port_inner.h"
#include "dataplane/forward/worker_struct.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A closed port, to be opened again after a failure. */
struct former {
	char name[PORT_NAME_MAX];
	char *device;
	unsigned queue_workers[PORT_QUEUES_MAX];
	struct port_config config;
	struct netns netns; /* of config */
	bool left; /* port_left() */
};

struct change {
	struct former *former; /* PORTS_MAX */
	unsigned former_count;
	uint16_t opened[PORTS_MAX];
	unsigned opened_count;
};

/* 0, -ENOMEM. */
static int
note_former(struct change *x, uint16_t port)
{
	struct former *f = &x->former[x->former_count];

	if (!port_config_get(port, &f->config, f->queue_workers))
		return 0;
	f->device = strdup(f->config.device);
	if (f->device == NULL)
		return -ENOMEM;
	(void)strncpy(f->name, f->config.name, sizeof(f->name) - 1);
	f->config.name = f->name;
	f->config.device = f->device;
	if (f->config.netns != NULL) {
		f->netns = *f->config.netns;
		f->config.netns = &f->netns;
	}
	f->left = port_left(port);
	x->former_count++;
	return 0;
}

/* Closes ports after the workers have left the ports; ports on VLANs, which come last, before their parents. */
static void
close_ports(const uint16_t *ports, unsigned count) RUNS_ON(role_host)
{
	host_path_flush();
	for (unsigned i = count; i > 0; i--) {
		port_hide(ports[i - 1]);
		port_close(ports[i - 1]);
	}
}

/* True if the port is on a VLAN of a port that closes. */
static bool
loses_parent(uint16_t port, const uint16_t *closing, unsigned count)
{
	uint16_t parent;

	if (port_vlan_get(port, &parent).outer == 0)
		return false;
	for (unsigned i = 0; i < count; i++)
		if (closing[i] == parent)
			return true;
	return false;
}

static int
close_unwanted(struct change *x, const struct port_config *want, unsigned count,
	struct dataplane_error *err) RUNS_ON(role_host)
{
	uint16_t closing[PORTS_MAX];
	unsigned n = 0;
	int rc = 0;

	/* parents first: what closes is opened again in this order */
	for (unsigned k = 0; k < 2 * port_count(); k++) {
		uint16_t parent, port = (uint16_t)(k % port_count());
		bool vlan = port_vlan_get(port, &parent).outer != 0;
		bool wanted = !port_exists(port) || vlan != (k >= port_count());

		for (unsigned i = 0; i < count && !wanted && !loses_parent(port, closing, n); i++)
			wanted = port_is_open_as(port, &want[i]);
		if (wanted)
			continue;
		if (note_former(x, port) != 0) {
			for (; x->former_count > 0; x->former_count--)
				free(x->former[x->former_count - 1].device);
			return dataplane_fail(err, -ENOMEM, "no memory for the change of ports");
		}
		closing[n++] = port;
	}
	for (unsigned i = 0; i < n; i++)
		port_unserve(closing[i]);
	if (n > 0)
		rc = workers_take_ports(err);
	if (rc == 0)
		close_ports(closing, n);
	return rc;
}

/* True if the change may continue without the device of the port, which did not open. */
static bool
may_lack_device(const struct port_config *c)
{
	return c->leaves || c->optional || (c->vrf.v != VRF_DEFAULT.v && c->netns == NULL) ||
	       (c->restored && !port_device_is_there(c));
}

/* Opens a port, or takes a number for a port without a device. 0, or -errno with `err`. */
static int
open_one(const struct port_config *c, uint16_t *port, struct dataplane_error *err)
{
	int rc = c->leaves ? dataplane_fail(err, -ENODEV, "the device was removed")
			   : port_lacks_namespace(c, err);

	if (rc == 0)
		rc = port_open(c, port, err);
	if (rc == 0 || !may_lack_device(c))
		return rc;
	return port_wait(c, c->leaves || c->returns, port, err);
}

static int
open_wanted(struct change *x, const struct port_config *want, unsigned count, unsigned *failed,
	struct dataplane_error *err)
{
	int rc = 0;

	for (unsigned k = 0; k < 2 * count; k++) { /* parents first */
		struct port_vlan vlan;
		char parent[PORT_NAME_MAX];

		*failed = k % count;
		/* a port that was not closed stays, also if its device is pulled meanwhile */
		if (port_vlan_parse(want[*failed].device, parent, &vlan) != (k >= count) ||
			port_named(want[*failed].name) != PORTS_MAX)
			continue;
		rc = open_one(&want[*failed], &x->opened[x->opened_count], err);
		if (rc != 0)
			return rc;
		port_show(x->opened[x->opened_count++]);
	}
	*failed = count;
	return x->opened_count > 0 ? workers_take_ports(err) : 0;
}

/* Opens the former ports. After a failure a port stays without a device. */
static void
open_former(struct change *x)
{
	for (unsigned i = 0; i < x->former_count; i++) {
		const struct port_config *c = &x->former[i].config;
		struct dataplane_error err = {"the device was removed"};
		uint16_t port;
		int rc = x->former[i].left ? -ENODEV : port_open(c, &port, &err);

		if (rc != 0 && (rc = port_skip(c, x->former[i].left, err.text)) >= 0)
			port = (uint16_t)rc;
		if (rc >= 0)
			port_show(port);
	}
	(void)workers_take_ports(NULL);
}

static void
change_undo(struct change *x) RUNS_ON(role_host)
{
	for (unsigned i = 0; i < x->opened_count; i++)
		port_unserve(x->opened[i]);
	(void)workers_take_ports(NULL);
	close_ports(x->opened, x->opened_count);
	open_former(x);
}

int
port_set_change(const struct port_config *want, unsigned count, unsigned *failed,
	struct dataplane_error *err)
{
	struct change x = {.former = calloc(PORTS_MAX, sizeof(*x.former))};
	int rc;

	*failed = count;
	if (x.former == NULL)
		return dataplane_fail(err, -ENOMEM, "no memory for the change of ports");
	rc = close_unwanted(&x, want, count, err);
	if (rc == 0)
		rc = open_wanted(&x, want, count, failed, err);
	if (rc != 0)
		change_undo(&x);
	for (unsigned i = 0; i < x.former_count; i++)
		free(x.former[i].device);
	free(x.former);
	return rc;
}
