/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes of `ports` at run time, on main. A port is closed in this order: the host thread reports the
 * loss of its link, neighbours, addresses and routes; the fib thread applies the loss; the workers leave
 * the port between two bursts; the device closes. So the number of the port is free for another port.
 *
 * A port enters or leaves a VPN instance by two requests to keelfwd: the first request closes ports, the
 * second request opens ports. In between keeld moves interfaces to other network namespaces.
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
#include "control/session/session.h"
#include "dataplane/process/forwarder.h"
#include "dataplane/port/port.h"
#include "dataplane/process/port_set.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Of all requests of a commit: less than WatchdogSec= of keel.service. */
#define CHANGE_NS 45000000000u
#define RETURNS_POLL_NS 500000000u
#define RETURNS_PAUSE_NS 5000000000u /* after a device that did not open */

struct ports_change {
	struct keeld *k;
	const struct config *config; /* of the ports that are open after the change */
	bool stays[PORTS_MAX]; /* by number: open before and after the change */
	bool touched[VRF_IDS_MAX]; /* instances with a port that enters or leaves */
	bool moves; /* there is such an instance */
	uint64_t until_ns; /* keelfwd is awaited */
	int result;
};

static void
touch(struct ports_change *c, struct vrf_id vrf)
{
	c->touched[vrf.v] = true;
	c->moves |= vrf.v != VRF_DEFAULT.v;
}

/* ---- calls to other threads ---- */

static void
on_host_close(void *arg) RUNS_ON(role_host)
{
	struct ports_change *c = arg;

	for (uint16_t p = 0; p < port_count(); p++) {
		struct netlink *n = wiring_host_mirror(c->k, port_vrf(p));

		if (n != NULL && port_exists(p) && !c->stays[p])
			netlink_port_remove(n, p);
	}
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
	const struct vrf_id *vrf = ctx;

	(void)forwarder_local_address(*vrf, addr, true);
}

static void
on_host_open(void *arg) RUNS_ON(role_host)
{
	struct ports_change *c = arg;

	for (uint16_t p = 0; p < port_count() && c->result == 0; p++) {
		struct netlink_port of = {
			p, port_ifindex(p), port_vrf(p), port_name(p), port_is_xdp(p)};
		struct netlink *n = wiring_host_mirror(c->k, of.vrf);

		if (n != NULL && port_exists(p) && !c->stays[p] && of.ifindex != 0)
			c->result = netlink_port_add(n, &of);
	}
	for (struct vrf_id v = {0}; v.v < VRF_IDS_MAX; v.v++) {
		struct netlink *n = c->touched[v.v] ? wiring_host_mirror(c->k, v) : NULL;

		if (n == NULL)
			continue;
		wiring_tun_follow(c->k, v);
		/* the program of a new port knows no addresses */
		netlink_addresses_repeat(n, set_local, &v);
		wiring_icmp_sources(c->k, v);
	}
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
	RUNS_ON(role_main)
{
	const struct config_port *is = config_port_named(next, was->name);
	uint16_t port = port_named(was->name);
	struct netlink *mirror = port != PORTS_MAX ? wiring_mirror(k, port_vrf(port)) : NULL;
	unsigned ifindex = port_ifindex(port);

	for (unsigned i = 0; i < was->address_count && ifindex != 0 && mirror != NULL; i++)
		if (!has_address(is, &was->addresses[i]))
			(void)netlink_address_remove(
				mirror, ifindex, &was->addresses[i].addr, was->addresses[i].len);
}

/*
 * Adds the addresses of ports that opened or have other addresses. An operator may have set the link of a port
 * down, or have removed an address: of ports that stay as they are nothing is repeated.
 */
static void
addresses_add(struct ports_change *c, const struct config *old) RUNS_ON(role_main)
{
	for (unsigned i = 0; i < c->config->port_count; i++) {
		const struct config_port *p = &c->config->ports[i],
					 *was = config_port_named(old, p->name);
		struct netlink *mirror = wiring_mirror(c->k, p->vrf);
		uint16_t port = port_named(p->name);
		bool stays = port != PORTS_MAX && c->stays[port], same = stays && was != NULL;

		for (unsigned n = 0; n < p->address_count && same; n++)
			same = has_address(was, &p->addresses[n]);
		if (mirror != NULL && !same)
			wiring_port_addresses(p, mirror, !stays);
	}
}

/* ---- the change ---- */

static void
interface_of(const struct config_port *p, char iface[PORT_NAME_MAX])
{
	const struct port_config c = {.name = p->name, .device = p->device};

	port_interface(&c, iface);
}

/* True if the port stays in its VRF, with its interface. */
static bool
is_in(const struct config *c, const struct config_port *was)
{
	const struct config_port *is = config_port_named(c, was->name);
	char before[PORT_NAME_MAX], after[PORT_NAME_MAX];

	if (is == NULL || is->vrf.v != was->vrf.v)
		return false;
	interface_of(was, before);
	interface_of(is, after);
	return strcmp(before, after) == 0;
}

/* Before a port closes: its interface and its addresses are the kernel's again. */
static void
leave(struct ports_change *c, const struct config *old) RUNS_ON(role_main)
{
	struct keeld *k = c->k;

	for (unsigned i = 0; i < old->port_count; i++) {
		const struct config_port *was = &old->ports[i];
		uint16_t port = port_named(was->name);
		struct netlink *mirror =
			port != PORTS_MAX ? wiring_mirror(k, port_vrf(port)) : NULL;
		char iface[PORT_NAME_MAX];

		if (port == PORTS_MAX || c->stays[port])
			continue;
		touch(c, was->vrf);
		addresses_remove(k, was, c->config);
		if (is_in(c->config, was) || mirror == NULL)
			continue;
		interface_of(was, iface);
		netlink_port_unguard(mirror, iface);
	}
	layers_call_host(&k->layers, on_host_close, c);
	layers_call_fib(&k->layers, on_fib_close, c);
	for (uint16_t p = 0; p < port_count(); p++) {
		if (!port_exists(p) || c->stays[p])
			continue;
		host_routes_port(k->host_routes, port_vrf(p), p, 0);
		if (port_vrf(p).v == VRF_DEFAULT.v)
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
			p, port_ifindex(p), port_vrf(p), port_name(p), port_is_xdp(p)};
		struct netlink *mirror = wiring_mirror(k, of.vrf);

		if (!port_exists(p) || c->stays[p])
			continue;
		touch(c, of.vrf);
		host_routes_port(k->host_routes, of.vrf, p, zone_intern(of.name));
		if (of.ifindex == 0)
			continue;
		if (of.vrf.v == VRF_DEFAULT.v)
			zones_port_set(zone_intern(of.name), of.ifindex);
		if (mirror != NULL) /* or wiring_watch() does the same later */
			e = netlink_port_guard(mirror, &of);
	}
	for (struct vrf_id v = {0}; v.v < VRF_IDS_MAX; v.v++)
		if (c->touched[v.v] && wiring_mirror(k, v) != NULL && port_tun(v) != 0)
			(void)wiring_tun_up(v, wiring_mirror(k, v));
	layers_call_fib(&k->layers, on_fib_open, c);
	layers_call_host(&k->layers, on_host_open, c);
	for (struct peer_id id = {0}; (id = peers_next(apply_peers(k->apply), id)).v != 0;) {
		const struct config_peer *p = peers_config(apply_peers(k->apply), id);

		wiring_peer(k, p->vrf, &p->addr, true);
	}
	return e != 0 ? e : c->result;
}

/*
 * Moves interfaces of closed ports out of the namespaces of instances, and interfaces of ports to open into
 * namespaces. 0; -errno with `err` and *failed.
 */
static int
move_interfaces(struct ports_change *c, const struct config *from, const struct config *to,
	struct port_config *want, unsigned *failed, struct dataplane_error *err) RUNS_ON(role_main)
{
	struct keeld *k = c->k;
	char iface[PORT_NAME_MAX];
	int e = 0;

	for (unsigned i = 0; i < from->port_count; i++) {
		const struct config_port *was = &from->ports[i];

		if (was->vrf.v == VRF_DEFAULT.v || is_in(to, was))
			continue;
		interface_of(was, iface);
		e = apply_netns_leave(k->apply, was->vrf, iface);
		if (e != 0)
			log_event(LOG_ERROR,
				"port-failed port=%s error=\"%s\" text=\"the "
				"interface stays in the namespace of the VPN instance\"",
				was->name, strerrordesc_np(-e));
	}
	for (*failed = 0, e = 0; *failed < to->port_count && e == 0; ++*failed) {
		struct port_config *p = &want[*failed];

		if (p->vrf.v == VRF_DEFAULT.v || port_named(p->name) != PORTS_MAX)
			continue; /* it stays */
		e = forwarding_namespace(k, to, p);
		if (e != 0) {
			snprintf(err->text, sizeof(err->text),
				"the interface cannot be moved into the namespace of the VPN "
				"instance: %s",
				strerrordesc_np(-e));
			break;
		}
	}
	return e;
}

/* keelfwd closes and opens ports until the ports of `to` are open. 0; -errno with `err` and *failed. */
static int
open_ports(struct ports_change *c, const struct config *from, const struct config *to,
	struct port_config *want, unsigned *failed, struct dataplane_error *err) RUNS_ON(role_main)
{
	struct port_config kept[PORTS_MAX];
	unsigned count = 0;
	int e = 0;

	for (unsigned i = 0; i < to->port_count; i++) {
		uint16_t port = port_named(want[i].name);

		want[i].netns = apply_netns(c->k->apply, want[i].vrf);
		c->moves |=
			want[i].vrf.v != VRF_DEFAULT.v && !(port != PORTS_MAX && c->stays[port]);
		if (port != PORTS_MAX && c->stays[port])
			kept[count++] = want[i];
	}
	*failed = to->port_count;
	if (c->moves)
		e = forwarding_change(c->k, to, kept, count, c->until_ns, failed, err);
	if (e == 0 && c->moves)
		e = move_interfaces(c, from, to, want, failed, err);
	return e == 0 ? forwarding_change(c->k, to, want, to->port_count, c->until_ns, failed, err)
		      : e;
}

/* After open_ports() has failed: the former ports. */
static void
open_former(struct ports_change *c, const struct config *next) RUNS_ON(role_main)
{
	struct port_config former[PORTS_MAX];
	struct dataplane_error err = {""};
	unsigned failed;

	if (!c->moves) /* keelfwd has opened them */
		return;
	forwarding_ports(c->config, former);
	for (unsigned i = 0; i < c->config->port_count; i++)
		former[i].optional = former[i].restored = true;
	if (open_ports(c, next, c->config, former, &failed, &err) != 0)
		log_event(LOG_ERROR, "port-failed port=%s error=\"%s\" text=\"%s\"",
			failed < c->config->port_count ? former[failed].name : "?",
			"the former ports do not open", err.text);
}

/* True if a closed port can open again. */
static bool
opens_again(const struct keeld *k, uint16_t port) RUNS_ON(role_main)
{
	return port_returned(port, apply_netns(k->apply, port_vrf(port)));
}

static unsigned
compare(struct ports_change *c, const struct config *old, struct port_config *want, unsigned count,
	bool restores) RUNS_ON(role_main)
{
	unsigned changes = 0;

	memset(c->stays, 0, sizeof(c->stays));
	for (unsigned i = 0; i < count; i++) {
		const struct config_port *was = config_port_named(old, want[i].name);
		uint16_t port = port_named(want[i].name);

		want[i].leaves = port_left(port);
		want[i].returns = opens_again(c->k, port);
		want[i].optional = c->config == old || want[i].returns;
		want[i].restored =
			restores || (was != NULL && strcmp(was->device, want[i].device) == 0);
		if (port_set_has(&want[i]))
			c->stays[port] = true;
		else
			changes++;
	}
	/* a port on a VLAN closes and opens with its parent */
	for (unsigned i = 0; i < count; i++) {
		uint16_t port = port_named(want[i].name);

		for (uint16_t on = 0; port != PORTS_MAX && on < port_count(); on++)
			if (port_exists(on) && !c->stays[on] &&
				port_vlan_is_on(want[i].device, port_name(on)))
				c->stays[port] = false;
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
add_fault(struct faults *f, const struct config *c, unsigned failed, const char *text)
{
	char path[32] = "/ports";

	if (failed < c->port_count)
		snprintf(path, sizeof(path), "/ports/%u/%s", failed,
			c->ports[failed].parent != NULL ? "parent" : "device");
	faults_add(f, path, "%s", text);
}

int
wiring_ports(void *ctx, const struct config *next, bool restores, struct faults *f)
{
	struct keeld *k = ctx;
	const struct config *old = apply_running(k->apply);
	struct port_config want[PORTS_MAX];
	struct ports_change c = {.k = k, .config = next, .until_ns = now_ns() + CHANGE_NS};
	struct dataplane_error err = {""};
	unsigned failed = next->port_count;
	bool changes;
	int e = 0, entered;

	if (k->layers.fib == NULL)
		return 0;
	if (forwarding_lost(k)) {
		if (same_ports(old, next))
			return 0;
		faults_add(f, "/ports", "keelfwd has ended; try again when it is back");
		return -EAGAIN;
	}
	forwarding_ports(next, want);
	changes = compare(&c, old, want, next->port_count, restores) > 0;
	if (!changes && same_ports(old, next))
		return 0;
	if (changes && !forwarder_answers()) {
		faults_add(f, "/ports", "keelfwd does not answer; try again when it does");
		return -ETIMEDOUT;
	}
	if (changes) {
		leave(&c, old);
		e = open_ports(&c, old, next, want, &failed, &err);
		if (e != 0) {
			add_fault(f, next, failed, err.text);
			c.config = old;
			open_former(&c, next);
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
	addresses_add(&c, old);
	return e;
}

/* ---- the end of keelfwd ---- */

static void
on_session_forwarder(void *arg) RUNS_ON(role_session)
{
	struct keeld *k = arg;

	/* main waits for this call */
	speaker_forwarder(k->layers.speaker, forwarder_state(k->forwarder)->lost);
}

static struct port_face
face_of(uint16_t port)
{
	struct port_face face = {.ifindex = port_ifindex(port), .mtu = port_mtu(port)};

	port_mac(port, face.mac);
	return face;
}

/* The number of port i in a new keelfwd, which opens the ports with devices first. */
static unsigned
number_of(const struct config *c, unsigned i)
{
	unsigned n = 0;

	for (unsigned k = 0; k < c->port_count; k++)
		n += (c->ports[k].parent != NULL) < (c->ports[i].parent != NULL) ||
		     (k < i && (c->ports[k].parent != NULL) == (c->ports[i].parent != NULL));
	return n;
}

/*
 * The interface of an AF_XDP port outlives keelfwd, and the port keeps sessions, neighbours and routes if the
 * next keelfwd gives the port the same number. TAPs do not outlive keelfwd.
 */
void
wiring_ports_lost(struct keeld *k)
{
	const struct config *running = apply_running(k->apply);
	struct ports_change c = {.k = k, .config = running};

	layers_call_session(&k->layers, on_session_forwarder, k);
	memset(k->wiring->held, 0, sizeof(k->wiring->held));
	for (unsigned i = 0; i < running->port_count; i++) {
		const struct config_port *p = &running->ports[i];
		uint16_t n = (uint16_t)number_of(running, i);

		c.stays[n] = port_named(p->name) == n && port_runs(n) &&
			     port_kernel_of(p->device) == PORT_KERNEL_OWN;
		if (c.stays[n])
			k->wiring->held[n] = face_of(n);
	}
	leave(&c, running);
}

/* keelfwd gets again what commits and events tell; ports that do not stay have opened. */
static void
tell_all(struct ports_change *c) RUNS_ON(role_main)
{
	struct keeld *k = c->k;
	struct session_view view;
	int e;

	for (uint16_t p = 0; p < port_count(); p++)
		if (port_exists(p))
			touch(c, port_vrf(p));
	touch(c, VRF_DEFAULT);
	e = enter(c);
	if (e != 0)
		log_event(LOG_ERROR, "port-failed port=? error=\"%s\" text=\"%s\"",
			strerrordesc_np(-e), "the kernel's settings of a port");
	wiring_tunnels(k, c->config);
	for (struct peer_id id = {0}; (id = peers_next(apply_peers(k->apply), id)).v != 0;) {
		const struct config_peer *p = peers_config(apply_peers(k->apply), id);

		apply_peek(k->apply, id, &view);
		forwarder_session(p->vrf, &p->addr, view.state == FSM_ESTABLISHED, view.on_link);
	}
}

/* The next keelfwd has the ports, and gets the settings of the former keelfwd. */
void
wiring_ports_again(struct keeld *k)
{
	const struct config *running = apply_running(k->apply);
	struct ports_change c = {.k = k, .config = running};
	const struct port_face *held = k->wiring->held;

	/* a held port that has changed, or did not open, is lost now */
	for (uint16_t p = 0; p < PORTS_MAX; p++) {
		struct port_face face = face_of(p);

		c.stays[p] = held[p].ifindex == 0 ||
			     (port_runs(p) && memcmp(&face, &held[p], sizeof(face)) == 0);
	}
	leave(&c, running);
	for (uint16_t p = 0; p < port_count(); p++)
		c.stays[p] &= held[p].ifindex != 0;
	tell_all(&c);
	k->layers.tun_ifindex = port_tun(VRF_DEFAULT);
	host_routes_loopbacks(&k->layers, NULL, running);
	layers_call_session(&k->layers, on_session_forwarder, k);
	addresses_add(&c, running);
}

static void
on_host_repeat(void *arg) RUNS_ON(role_host)
{
	struct keeld *k = arg;

	for (struct vrf_id v = {0}; v.v < VRF_IDS_MAX; v.v++) {
		struct netlink *n = wiring_host_mirror(k, v);

		if (n != NULL)
			netlink_ports_repeat(n);
	}
}

/* Requests were not sent, while keelfwd stood still, or because it had closed a connection. */
static void
tell_again(struct keeld *k) RUNS_ON(role_main)
{
	struct ports_change c = {.k = k, .config = apply_running(k->apply)};

	for (uint16_t p = 0; p < PORTS_MAX; p++)
		c.stays[p] = true;
	log_event(LOG_INFO, "forwarder-told-again");
	forwarder_repeat(k->forwarder, false);
	tell_all(&c);
	layers_call_host(&k->layers, on_host_repeat, k);
	for (struct vrf_id v = {0}; v.v < VRF_IDS_MAX; v.v++)
		if (wiring_mirror(k, v) != NULL)
			netlink_port_unguard(wiring_mirror(k, v), "");
	forwarder_repeat(k->forwarder, true);
}

/* Ports whose device leaves are closed. Ports whose device or interface is there again are opened again, with their configuration. */
static void
returns_poll(struct timer *t) RUNS_ON(role_main)
{
	struct wiring *w = (struct wiring *)(void *)((char *)t - offsetof(struct wiring, returns));
	struct keeld *k = w->host.k;
	bool any = false, failed = false;

	if (!forwarding_lost(k) && forwarder_missed(k->forwarder))
		tell_again(k);
	for (uint16_t p = 0; p < port_count(); p++)
		any |= port_left(p) || opens_again(k, p);
	if (any) {
		struct faults f = {0};

		(void)wiring_ports(k, apply_running(k->apply), true, &f);
		faults_fini(&f);
		for (uint16_t p = 0; p < port_count(); p++)
			failed |= opens_again(k, p);
	}
	timer_arm(k->layers.main_thread, t, failed ? RETURNS_PAUSE_NS : RETURNS_POLL_NS);
}

void
wiring_ports_watch(struct keeld *k)
{
	k->wiring->returns.fire = returns_poll;
	timer_arm(k->layers.main_thread, &k->wiring->returns, RETURNS_POLL_NS);
}
