/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes of `ports` at run time, on main. A port is closed in this order: the host thread reports the
 * loss of its link, neighbours, addresses and routes; the fib thread applies the loss; the workers leave
 * the port between two bursts; the device closes. So the number of the port is free for another port.
 */
#include "control/wiring_impl.h"

#include "control/apply/apply.h"
#include "control/apply/peers.h"
#include "control/base/log.h"
#include "control/base/zones.h"
#include "control/config/config.h"
#include "control/forwarding.h"
#include "control/host/host_routes.h"
#include "control/host/netlink.h"
#include "dataplane/forwarder.h"
#include "dataplane/port.h"
#include "dataplane/port_set.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define RETURNS_POLL_NS 500000000u
#define RETURNS_PAUSE_NS 5000000000u /* after a device that did not open */

struct ports_change {
	struct keeld *k;
	const struct config *config; /* of the ports that are open after the change */
	bool stays[PORTS_MAX]; /* by number: open before and after the change */
	int result;
};

/* ---- calls to other threads ---- */

static void
on_host_close(void *arg) RUNS_ON(role_host)
{
	struct ports_change *c = arg;

	for (uint16_t p = 0; p < port_count(); p++)
		if (port_exists(p) && !c->stays[p])
			netlink_port_remove(c->k->layers.netlink, p);
}

static void
on_fib_close(void *arg) RUNS_ON(role_fib)
{
	struct ports_change *c = arg;

	wiring_links_apply(c->k);
	for (uint16_t p = 0; p < port_count(); p++)
		if (port_exists(p) && !c->stays[p])
			fib_feed_zone_remove(
				c->k->layers.feed, port_vrf(p), zone_intern(port_name(p)), p);
}

static void
set_local(void *ctx, const struct ip_addr *addr) RUNS_ON(role_host)
{
	(void)ctx;
	(void)forwarder_local_address(VRF_DEFAULT, addr, true);
}

static void
on_host_open(void *arg) RUNS_ON(role_host)
{
	struct ports_change *c = arg;
	struct netlink *n = c->k->layers.netlink;
	bool xdp = false;

	for (uint16_t p = 0; p < port_count() && c->result == 0; p++) {
		struct netlink_port of = {
			p, port_ifindex(p), VRF_DEFAULT, port_name(p), port_is_xdp(p)};

		if (!port_exists(p) || c->stays[p] || of.ifindex == 0)
			continue;
		c->result = netlink_port_add(n, &of);
		xdp |= of.xdp;
	}
	if (xdp) /* the program of a new port knows no addresses */
		netlink_addresses_repeat(n, set_local, NULL);
}

static void
on_fib_open(void *arg) RUNS_ON(role_fib)
{
	struct ports_change *c = arg;

	for (uint16_t p = 0; p < port_count(); p++)
		if (port_exists(p) && !c->stays[p])
			wiring_zone(c->k, p);
}

/* ---- addresses ---- */

static const struct config_port *
config_port_named(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->port_count; i++)
		if (strcmp(c->ports[i].name, name) == 0)
			return &c->ports[i];
	return NULL;
}

static bool
has_address(const struct config_port *p, const struct config_address *a)
{
	for (unsigned i = 0; p != NULL && i < p->address_count; i++)
		if (p->addresses[i].len == a->len && addr_equal(&p->addresses[i].addr, &a->addr))
			return true;
	return false;
}

/* Removes the addresses of a port that `next` does not have for the port. */
static void
addresses_remove(struct keeld *k, const struct config_port *was, const struct config *next)
{
	const struct config_port *is = config_port_named(next, was->name);
	unsigned ifindex = port_ifindex(port_named(was->name));

	for (unsigned i = 0; i < was->address_count && ifindex != 0; i++)
		if (!has_address(is, &was->addresses[i]))
			(void)netlink_address_remove(k->layers.netlink, ifindex,
				&was->addresses[i].addr, was->addresses[i].len);
}

/* ---- the change ---- */

/* Before a port closes: its interface and its addresses are the kernel's again. */
static void
leave(struct ports_change *c, const struct config *old) RUNS_ON(role_main)
{
	struct keeld *k = c->k;

	for (unsigned i = 0; i < old->port_count; i++) {
		const struct config_port *was = &old->ports[i];
		uint16_t port = port_named(was->name);
		struct port_config pc = {.name = was->name, .device = was->device};
		char iface[PORT_NAME_MAX];

		if (port == PORTS_MAX || c->stays[port])
			continue;
		addresses_remove(k, was, c->config);
		if (config_port_named(c->config, was->name) != NULL)
			continue;
		port_interface(&pc, iface);
		netlink_port_unguard(k->layers.netlink, iface);
	}
	layers_call_host(&k->layers, on_host_close, c);
	layers_call_fib(&k->layers, on_fib_close, c);
	for (uint16_t p = 0; p < port_count(); p++) {
		if (!port_exists(p) || c->stays[p])
			continue;
		host_routes_port(k->host_routes, port_vrf(p), p, 0);
		zones_port_set(zone_intern(port_name(p)), 0);
	}
}

/* After ports were opened. 0; -errno: a port must not forward (logged). */
static int
enter(struct ports_change *c) RUNS_ON(role_main)
{
	struct keeld *k = c->k;
	int e = 0;

	c->result = 0;
	for (uint16_t p = 0; p < port_count() && e == 0; p++) {
		struct netlink_port of = {
			p, port_ifindex(p), VRF_DEFAULT, port_name(p), port_is_xdp(p)};

		if (!port_exists(p) || c->stays[p])
			continue;
		host_routes_port(k->host_routes, of.vrf, p, zone_intern(of.name));
		if (of.ifindex == 0)
			continue;
		zones_port_set(zone_intern(of.name), of.ifindex);
		e = netlink_port_guard(k->layers.netlink, &of);
	}
	layers_call_fib(&k->layers, on_fib_open, c);
	layers_call_host(&k->layers, on_host_open, c);
	for (struct peer_id id = {0}; (id = peers_next(apply_peers(k->apply), id)).v != 0;) {
		const struct config_peer *p = peers_config(apply_peers(k->apply), id);

		wiring_peer(k, p->vrf, &p->addr, true);
	}
	return e != 0 ? e : c->result;
}

static unsigned
compare(struct ports_change *c, struct port_config *want, unsigned count, bool same, bool restores)
{
	unsigned changes = 0;

	memset(c->stays, 0, sizeof(c->stays));
	for (unsigned i = 0; i < count; i++) {
		uint16_t port = port_named(want[i].name);

		want[i].leaves = port_left(port);
		want[i].returns = port_returned(port);
		want[i].optional = same || want[i].returns;
		want[i].restored = restores;
		if (port_set_has(&want[i]))
			c->stays[port] = true;
		else
			changes++;
	}
	for (uint16_t p = 0; p < port_count(); p++)
		changes += port_exists(p) && !c->stays[p];
	return changes;
}

/* True if no key of a port changes, addresses included. */
static bool
same_ports(const struct config *old, const struct config *next)
{
	const json_t *a = json_object_get(old->document, "ports"),
		     *b = json_object_get(next->document, "ports");

	return a == b || (a != NULL && b != NULL && json_equal(a, b));
}

static void
add_fault(struct faults *f, unsigned failed, unsigned count, const char *text)
{
	char path[32] = "/ports";

	if (failed < count)
		snprintf(path, sizeof(path), "/ports/%u/device", failed);
	faults_add(f, path, "%s", text);
}

int
wiring_ports(void *ctx, const struct config *next, bool restores, struct faults *f)
{
	struct keeld *k = ctx;
	const struct config *old = apply_running(k->apply);
	struct port_config want[PORTS_MAX];
	struct ports_change c = {.k = k, .config = next};
	struct dataplane_error err = {""};
	unsigned failed = next->port_count;
	bool changes;
	int e = 0, entered;

	if (k->layers.fib == NULL)
		return 0;
	forwarding_ports(next, want);
	changes = compare(&c, want, next->port_count, next == old, restores) > 0;
	if (!changes && same_ports(old, next))
		return 0;
	if (changes) {
		leave(&c, old);
		e = forwarding_change(k, next, want, &failed, &err);
		if (e != 0) {
			add_fault(f, failed, next->port_count, err.text);
			c.config = old;
		}
		entered = enter(&c);
		if (e != 0)
			log_event(LOG_ERROR, "ports-refused text=\"%s\"", err.text);
		else
			log_event(LOG_INFO, "ports-changed ports=%u", next->port_count);
		if (entered != 0)
			log_event(LOG_ERROR, "port-failed port=? error=\"%s\" text=\"%s\"",
				strerrordesc_np(-entered), "the kernel's settings of a port");
		for (unsigned i = 0; i < next->port_count && e == 0; i++)
			if (want[i].returns && !port_runs(port_named(want[i].name)))
				log_event(LOG_ERROR, "port-failed port=%s error=\"%s\" text=\"%s\"",
					want[i].name, "the device does not open", err.text);
	}
	for (unsigned i = 0; i < old->port_count; i++)
		addresses_remove(k, &old->ports[i], c.config);
	wiring_ports_addresses(c.config, VRF_DEFAULT, k->layers.netlink);
	return e;
}

/* Ports whose device leaves are closed. Ports whose device or interface is there again are opened again, with their configuration. */
static void
returns_poll(struct timer *t) RUNS_ON(role_main)
{
	struct wiring *w = (struct wiring *)(void *)((char *)t - offsetof(struct wiring, returns));
	struct keeld *k = w->host.k;
	bool any = false, failed = false;

	for (uint16_t p = 0; p < port_count(); p++)
		any |= port_left(p) || port_returned(p);
	if (any) {
		struct faults f = {0};

		(void)wiring_ports(k, apply_running(k->apply), true, &f);
		faults_fini(&f);
		for (uint16_t p = 0; p < port_count(); p++)
			failed |= port_returned(p);
	}
	timer_arm(k->layers.main_thread, t, failed ? RETURNS_PAUSE_NS : RETURNS_POLL_NS);
}

void
wiring_ports_watch(struct keeld *k)
{
	k->wiring->returns.fire = returns_poll;
	timer_arm(k->layers.main_thread, &k->wiring->returns, RETURNS_POLL_NS);
}
