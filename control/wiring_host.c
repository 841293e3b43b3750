/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host thread's part of the wiring: forwards changes of links, addresses, routes and neighbours
 * of the kernel to the fib thread, to main and to the XDP maps.
 */
#include "control/wiring_impl.h"

#include "control/apply/apply.h"
#include "control/config/config.h"
#include "control/host/host_routes.h"
#include "control/base/log.h"
#include "lpm/base/netns.h"
#include "control/host/netlink.h"
#include "control/base/threads.h"
#include "lpm/path_list.h"
#include "lpm/tunnel_set.h"
#include "rib/feed/fib_feed.h"
#include "dataplane/process/forwarder.h"
#include "dataplane/port/port.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define GLEAN_POLL_NS 10000000 /* packets wait for the neighbour, a bounded number of them */
#define GLEANS_PER_POLL 64
#define TUN_NAME "keel0"
#define FAULTS_SHOWN 16

/* A call of main to the host thread about an instance. */
struct vrf_call {
	struct keeld *k;
	struct vrf_id vrf;
	struct netlink *mirror;
	int result;
};

struct netlink *
wiring_host_mirror(const struct keeld *k, struct vrf_id vrf)
{
	return vrf.v == VRF_DEFAULT.v ? k->layers.netlink : k->layers.vrf_netlink[vrf.v];
}

struct netlink *
wiring_mirror(const struct keeld *k, struct vrf_id vrf)
{
	return vrf.v == VRF_DEFAULT.v ? k->layers.netlink : k->wiring->vrf_mirror[vrf.v];
}

/* The mirror with the interface of a port; NULL: none. */
static struct netlink *
mirror_of_port(const struct keeld *k, uint16_t port) RUNS_ON(role_host)
{
	if (k->layers.fib != NULL)
		return wiring_host_mirror(k, port_vrf(port));
	(void)port;
	return wiring_host_mirror(k, VRF_DEFAULT);
}

/* The name of a port for the log; "none" if the interface is not a port. */
static const char *
port_text(const struct keeld *k, uint16_t port)
{
	if (k->layers.fib != NULL && port != PORT_NONE)
		return port_name(port);
	return "none";
}

/* ---- links ---- */

static bool
link_word_up(uint64_t word)
{
	return word & 1;
}

void
wiring_links_apply(struct keeld *k)
{
	/* acquire: pairs with the release in host_link */
	if (!atomic_load_explicit(&k->wiring->links.changed, memory_order_relaxed) ||
		!atomic_exchange_explicit(&k->wiring->links.changed, false, memory_order_acquire))
		return;
	for (uint16_t port = 0; port < LINKS_MAX; port++) {
		uint64_t word =
			atomic_load_explicit(&k->wiring->links.seen[port], memory_order_relaxed);

		if (word == k->wiring->links.applied[port])
			continue;
		k->wiring->links.applied[port] = word;
		if (link_word_up(word))
			fib_feed_port_up(k->layers.feed, port);
		else
			fib_feed_port_down(k->layers.feed, port, word);
	}
}

void
receive_main_link(struct keeld *k, const struct message_link *m)
{
	if (k->layers.fib == NULL)
		host_routes_port(k->host_routes, m->vrf, m->port, m->zone);
	host_routes_link(k->host_routes, m->port, m->up);
}

void
receive_fib_link(struct keeld *k, const struct message_link *m)
{
	if (m->up)
		fib_feed_port_up(k->layers.feed, m->port);
	else
		fib_feed_port_down(k->layers.feed, m->port, 0);
}

static void
host_link(void *ctx, uint16_t port, bool up, uint64_t event_ns)
{
	struct keeld *k = ctx;

	if (k->layers.fib == NULL) /* host_interface() */
		return;
	if (port < LINKS_MAX) {
		atomic_store_explicit(&k->wiring->links.seen[port],
			up ? event_ns | 1 : event_ns & ~UINT64_C(1), memory_order_relaxed);
		/* release: pairs with the acquire in wiring_links_apply */
		atomic_store_explicit(&k->wiring->links.changed, true, memory_order_release);
		thread_wake(k->layers.fib_thread);
	}
	/* an interface without a port has no name here */
	if (port != PORT_NONE)
		log_event(
			LOG_INFO, "link port=%s state=%s", port_text(k, port), up ? "up" : "down");
	wiring_send(&(struct message){
		.k = k, .kind = MESSAGE_MAIN_LINK, .link = {.port = port, .up = up}});
}

/* Without a data plane the links of all interfaces count, as those of ports do with one. */
static void
host_interface(void *ctx, struct vrf_id vrf, const struct netlink_interface *i)
{
	struct keeld *k = ctx;
	struct message m = {.k = k, .kind = MESSAGE_SESSION_INTERFACE};

	/* first: the end of a session says why its routes go */
	m.interface = (struct speaker_interface){.vrf = vrf,
		.ifindex = i->ifindex,
		.zone = i->zone,
		.present = i->present,
		.up = i->up,
		.returns = k->layers.fib != NULL && i->zone == zone_intern(TUN_NAME)};
	wiring_send(&m);
	if (k->layers.fib != NULL || i->port == PORT_NONE)
		return;
	log_event(LOG_INFO, "link interface=%s state=%s", zone_name(i->zone),
		!i->present ? "gone"
		: i->up	    ? "up"
			    : "down");
	m = (struct message){.k = k,
		.kind = MESSAGE_FIB_LINK,
		.link = {.vrf = vrf,
			.port = i->port,
			.zone = i->present ? i->zone : 0,
			.up = i->up}};
	wiring_send(&m);
	m.kind = MESSAGE_MAIN_LINK;
	wiring_send(&m);
}

/* Sources of the ICMP errors of a family, also when an address is no longer tentative. */
static void
icmp_sources_set(struct keeld *k, struct vrf_id vrf, enum afi afi) RUNS_ON(role_host)
{
	const struct netlink *mirror = wiring_host_mirror(k, vrf);

	for (uint16_t p = 0; p < port_count(); p++) {
		struct ip_addr source = {.afi = AFI_NONE};

		if (port_vrf(p).v != vrf.v)
			continue;
		if (mirror != NULL)
			(void)netlink_source(mirror, vrf, p, afi, &source);
		forwarder_icmp_source(p, afi, &source);
	}
}

void
wiring_icmp_sources(struct keeld *k, struct vrf_id vrf)
{
	icmp_sources_set(k, vrf, AFI_IPV4);
	icmp_sources_set(k, vrf, AFI_IPV6);
}

static void
host_interface_address(void *ctx, struct vrf_id vrf, unsigned ifindex, const struct prefix *subnet,
	const struct ip_addr *local, bool present) RUNS_ON(role_host)
{
	wiring_send(&(struct message){.k = ctx,
		.kind = MESSAGE_SESSION_ADDRESS,
		.own = {.vrf = vrf,
			.ifindex = ifindex,
			.subnet = *subnet,
			.local = *local,
			.present = present}});
	if (((struct keeld *)ctx)->layers.fib != NULL)
		icmp_sources_set(ctx, vrf, (enum afi)local->afi);
}

static uint16_t
host_number_take(void *ctx) RUNS_ON(role_host)
{
	struct keeld *k = ctx;
	uint64_t *numbers = k->wiring->numbers;

	for (unsigned i = 0; i < PORT_NONE; i++)
		if ((numbers[i / 64] >> i % 64 & 1) == 0) {
			numbers[i / 64] |= UINT64_C(1) << i % 64;
			return (uint16_t)i;
		}
	return PORT_NONE;
}

static void
host_number_give(void *ctx, uint16_t number) RUNS_ON(role_host)
{
	struct keeld *k = ctx;

	k->wiring->numbers[number / 64] &= ~(UINT64_C(1) << number % 64);
}

static bool
host_changed(void *ctx, uint16_t port) RUNS_ON(role_host)
{
	struct keeld *k = ctx;
	uint8_t mac[6];
	bool changed = false;
	int err;

	err = k->layers.fib != NULL ? forwarder_refresh(port, &changed) : 0;
	if (err != 0)
		log_event(LOG_ERROR, "port-not-refreshed port=%s error=\"%s\"", port_name(port),
			strerrordesc_np(-err));
	if (err != 0 || !changed)
		return false;
	port_mac(port, mac);
	log_event(LOG_INFO, "port-changed port=%s mac=%02x:%02x:%02x:%02x:%02x:%02x mtu=%u",
		port_name(port), mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], port_mtu(port));
	return true;
}

/* ---- addresses ---- */

void
receive_fib_address(struct keeld *k, const struct message_address *m)
{
	int err;

	wiring_links_apply(k);
	err = m->port == PORT_ANYCAST
		      ? fib_feed_anycast(k->layers.feed, m->vrf, &m->local, m->present)
		      : fib_feed_connected(
				k->layers.feed, m->vrf, &m->subnet, &m->local, m->port, m->present);
	if (err != 0)
		log_event(LOG_ERROR, "connected-route-not-installed error=\"%s\"",
			strerrordesc_np(ENOMEM));
}

void
receive_main_address(struct keeld *k, const struct message_address *m)
{
	host_routes_connected(k->host_routes, m->vrf, &m->subnet, m->port, m->present);
}

/*
 * An address of any port, of lo or keel0 is local on all ports of the VRF while at least one
 * interface has the address.
 */
static void
local_address(struct keeld *k, struct vrf_id vrf, const struct ip_addr *local) RUNS_ON(role_host)
{
	const struct netlink *mirror = wiring_host_mirror(k, vrf);
	int err = forwarder_local_address(
		vrf, local, mirror != NULL && netlink_is_local(mirror, vrf, local));
	char text[ADDR_TEXT_MAX];

	if (err != 0)
		log_event(LOG_ERROR, "xdp-local-address-not-set address=%s error=\"%s\"",
			addr_format(local, text), strerrordesc_np(-err));
	icmp_sources_set(k, vrf, (enum afi)local->afi);
}

static void
host_address(void *ctx, struct vrf_id vrf, uint16_t port, const struct prefix *subnet,
	const struct ip_addr *local, bool present) RUNS_ON(role_host)
{
	struct keeld *k = ctx;
	struct message m = {.k = k,
		.kind = MESSAGE_FIB_ADDRESS,
		.address = {.vrf = vrf,
			.port = port,
			.subnet = *subnet,
			.local = *local,
			.present = present}};
	char text[ADDR_TEXT_MAX];

	log_event(LOG_INFO, "address %s=%s/%u port=%s", present ? "added" : "removed",
		addr_format(local, text), subnet->len, port_text(k, port));
	if (k->layers.fib != NULL)
		local_address(k, vrf, local);
	wiring_send(&m);
	/* RFC 4291 2.5.6: link-local prefixes are not routed. */
	if (addr_is_link_local(local))
		return;
	m.kind = MESSAGE_MAIN_ADDRESS;
	wiring_send(&m);
}

static void
host_anycast(void *ctx, struct vrf_id vrf, uint16_t port, const struct ip_addr *addr, bool present,
	bool again) RUNS_ON(role_host)
{
	struct keeld *k = ctx;
	int err = forwarder_anycast(port, addr, present);
	char text[ADDR_TEXT_MAX];

	if (err != 0)
		log_event(LOG_ERROR, "anycast-address-not-set address=%s port=%s error=\"%s\"",
			addr_format(addr, text), port_text(k, port), strerrordesc_np(-err));
	if (again) /* the fib thread counts each report */
		return;
	wiring_send(&(struct message){.k = k,
		.kind = MESSAGE_FIB_ADDRESS,
		.address = {.vrf = vrf, .port = PORT_ANYCAST, .local = *addr, .present = present}});
}

/* ---- routes of the kernel ---- */

void
receive_fib_route(struct keeld *k, const struct message_kernel_route *m)
{
	char text[PREFIX_TEXT_MAX];
	int err;

	wiring_links_apply(k);
	err = fib_feed_route(k->layers.feed, m->vrf, &m->prefix, SOURCE_KERNEL, m->hops,
		m->hop_count, m->metric, m->present);
	if (err != 0 && err != -ENOENT)
		log_event(LOG_ERROR, "kernel-route-not-installed prefix=%s error=\"%s\"",
			prefix_format(&m->prefix, text), strerror(-err));
}

void
receive_main_route(struct keeld *k, const struct message_kernel_route *m)
{
	host_routes_kernel_route(k->host_routes, m->vrf, &m->prefix, m->ports, m->present);
}

/*
 * The ports of the hops, a bit each; 0 if a hop is not on a port, because its link state is
 * unknown.
 */
static uint64_t
ports_of(const struct netlink_hop *hops, unsigned count)
{
	uint64_t ports = 0;

	for (unsigned i = 0; i < count; i++) {
		if (hops[i].port >= LINKS_MAX)
			return 0;
		ports |= UINT64_C(1) << hops[i].port;
	}
	return ports;
}

static void
host_route(void *ctx, struct vrf_id vrf, const struct prefix *p, const struct netlink_hop *hops,
	unsigned count, uint32_t metric, bool present)
{
	struct keeld *k = ctx;
	struct message m = {.k = k,
		.kind = MESSAGE_MAIN_ROUTE,
		.route = {.vrf = vrf,
			.prefix = *p,
			.present = present,
			.ports = ports_of(hops, count),
			.metric = metric}};

	wiring_send(&m);
	m.kind = MESSAGE_FIB_ROUTE;
	if (count > 0) {
		m.route.hops = wiring_calloc(k, count, sizeof(*m.route.hops));
		if (m.route.hops == NULL)
			return;
	}
	for (unsigned i = 0; i < count; i++)
		m.route.hops[i] = (struct fib_feed_hop){hops[i].addr, hops[i].port};
	m.route.hop_count = count;
	wiring_send(&m);
}

/* ---- neighbours ---- */

void
receive_fib_neighbor(struct keeld *k, const struct message_neighbor *m)
{
	int err = 0;

	wiring_links_apply(k);
	struct adjacency adj = {.ether_len = 14, .port = m->port};

	/* The neighbour was reported before the link went down: its loss follows. */
	bool resolved = m->resolved &&
			(m->port >= LINKS_MAX || link_word_up(k->wiring->links.applied[m->port]));

	if (resolved) {
		memcpy(adj.ether, m->mac, 6);
		port_mac(m->port, adj.ether + 6);
		adj.mtu = port_mtu(m->port);
	}
	err = fib_feed_neighbor(k->layers.feed, m->vrf, &m->addr, m->port, resolved ? &adj : NULL);
	if (err != 0)
		log_event(LOG_ERROR, "neighbor-not-installed error=\"%s\"", strerrordesc_np(-err));
}

static void
host_neighbor(void *ctx, struct vrf_id vrf, uint16_t port, const struct ip_addr *addr,
	const uint8_t mac[6])
{
	struct keeld *k = ctx;
	struct message m = {.k = k,
		.kind = MESSAGE_FIB_NEIGHBOR,
		.neighbor = {.vrf = vrf, .port = port, .addr = *addr, .resolved = mac != NULL}};

	if (k->layers.fib == NULL)
		return;
	if (mac != NULL)
		memcpy(m.neighbor.mac, mac, 6);
	wiring_send(&m);
}

void
receive_host_resolve(struct keeld *k, const struct message_resolve *m)
{
	struct netlink *mirror = mirror_of_port(k, m->port);
	char text[ADDR_TEXT_MAX];
	int err = 0;

	if (mirror == NULL) /* the instance ends, or waits for its namespace */
		err = m->wanted ? -ENODEV : 0;
	else if (m->wanted)
		err = netlink_resolve(mirror, m->port, &m->addr);
	else
		netlink_release(mirror, m->port, &m->addr);
	if (err != 0)
		log_event(LOG_WARNING, "neighbor-not-resolved address=%s error=\"%s\"",
			addr_format(&m->addr, text), strerrordesc_np(-err));
}

void
wiring_resolve(void *ctx, uint16_t port, const struct ip_addr *addr, bool wanted)
{
	struct keeld *k = ctx;

	wiring_send(&(struct message){.k = k,
		.kind = MESSAGE_HOST_RESOLVE,
		.resolve = {.port = port, .addr = *addr, .wanted = wanted}});
}

static void
gleans_poll(struct timer *t) RUNS_ON(role_host)
{
	struct host_context *c =
		(struct host_context *)(void *)((char *)t - offsetof(struct host_context, gleans));
	struct glean g[GLEANS_PER_POLL];
	unsigned n;

	n = forwarder_gleans(g, GLEANS_PER_POLL);
	for (unsigned i = 0; i < n; i++) {
		struct netlink *mirror = mirror_of_port(c->k, g[i].port);

		if (mirror != NULL)
			(void)netlink_glean(mirror, g[i].port, &g[i].addr);
	}
	timer_arm(c->self, t, GLEAN_POLL_NS);
}

/* ---- ports ---- */

/* Reads the states of the ports; logs changes, and reports them to main. */
static void
states_log(struct host_context *c) RUNS_ON(role_host)
{
	for (uint16_t p = 0; p < port_count(); p++) {
		struct message m = {.k = c->k, .kind = MESSAGE_MAIN_PORT};
		struct port_link l;

		port_link_get(p, &l);
		if (!port_exists(p))
			c->port_state[p] = PORT_DOWN, c->port_cause[p] = 0;
		if (!port_exists(p) || (l.state == c->port_state[p] && l.cause == c->port_cause[p]))
			continue;
		m.port.state = (uint8_t)l.state;
		m.port.was = c->port_state[p];
		snprintf(m.port.name, sizeof(m.port.name), "%s", port_name(p));
		snprintf(m.port.reason, sizeof(m.port.reason), "%s",
			l.reason != NULL ? l.reason : "");
		log_event(l.state == PORT_MISSING || l.state == PORT_FAILED ? LOG_ERROR : LOG_INFO,
			"port-state port=%s state=%s was=%s reason=\"%s\"", m.port.name,
			port_state_text(l.state), port_state_text(c->port_state[p]), m.port.reason);
		c->port_state[p] = m.port.state;
		c->port_cause[p] = l.cause;
		wiring_send(&m);
	}
}

static void
states_poll(struct timer *t) RUNS_ON(role_host)
{
	struct host_context *c =
		(struct host_context *)(void *)((char *)t - offsetof(struct host_context, states));

	states_log(c);
	timer_arm(c->self, t, PORT_STATES_NS);
}

/* ---- life ---- */

int
wiring_host_start(void *ctx, struct thread *self)
{
	struct keeld *k = ctx;
	struct host_context *c = &k->wiring->host;

	role_enter_host();
	c->k = k;
	c->self = self;
	if (c->k->layers.fib != NULL) {
		c->gleans.fire = gleans_poll;
		c->states.fire = states_poll;
		if (timer_arm(self, &c->gleans, GLEAN_POLL_NS) != 0 ||
			timer_arm(self, &c->states, 0) != 0)
			return -ENOMEM;
	}
	return netlink_start(c->k->layers.netlink, self);
}

/* The ports of a VRF with an interface of the kernel. Returns their number. */
static unsigned
ports_of_vrf(const struct keeld *k, struct vrf_id vrf, struct netlink_port out[PORTS_MAX])
{
	unsigned n = 0;

	for (uint16_t p = 0; k->layers.fib != NULL && p < port_count(); p++)
		if (port_ifindex(p) != 0 && port_vrf(p).v == vrf.v)
			out[n++] = (struct netlink_port){
				p, port_ifindex(p), vrf, port_name(p), port_is_xdp(p)};
	return n;
}

static void
set_address(struct netlink *mirror, const struct config_port *p, unsigned ifindex,
	const struct config_address *a)
{
	char text[ADDR_TEXT_MAX];
	int err = netlink_address_add(mirror, ifindex, &a->addr, a->len);

	if (err != 0)
		log_event(LOG_ERROR, "address-not-set port=%s address=%s error=\"%s\"", p->name,
			addr_format(&a->addr, text), strerror(-err));
}

void
wiring_port_addresses(const struct config_port *p, struct netlink *mirror, bool up)
{
	unsigned ifindex = port_ifindex(port_named(p->name));

	if (ifindex == 0)
		return;
	for (unsigned n = 0; n < p->address_count; n++)
		set_address(mirror, p, ifindex, &p->addresses[n]);
	if (up)
		(void)netlink_link_up(mirror, ifindex);
}

void
wiring_set_addresses(struct keeld *k, struct vrf_id vrf, struct netlink *mirror)
{
	const struct config *c = apply_running(k->apply);
	struct netlink_fault faults[FAULTS_SHOWN];

	for (unsigned i = 0; i < c->port_count; i++)
		if (c->ports[i].vrf.v == vrf.v)
			wiring_port_addresses(&c->ports[i], mirror, true);
	for (unsigned n = netlink_faults(mirror, faults, FAULTS_SHOWN), i = 0;
		i < n && i < FAULTS_SHOWN; i++)
		log_event(LOG_WARNING, "host-not-set setting=\"%s\" error=\"%s\"", faults[i].what,
			strerror(-faults[i].error));
}

void
wiring_tun_follow(struct keeld *k, struct vrf_id vrf)
{
	(void)netlink_tun_set(wiring_host_mirror(k, vrf), TUN_NAME, port_tun(vrf));
}

/* keelfwd has keel0; this process sets up the interface. Returns its index, or 0 (logged). */
unsigned
wiring_tun_up(struct vrf_id vrf, struct netlink *mirror)
{
	unsigned ifindex = port_tun(vrf);
	int err = ifindex != 0 ? netlink_tun_up(mirror, TUN_NAME, ifindex) : -ENODEV;

	if (err == 0)
		return ifindex;
	log_event(LOG_WARNING,
		"host-not-set setting=\"" TUN_NAME
		", the interface for packets of this host\" error=\"%s\"",
		strerror(-err));
	return 0;
}

/* Before netlink_start(). Returns the index of keel0, or 0 (logged). */
static unsigned
tun_begin(struct vrf_id vrf, struct netlink *mirror) RUNS_ON(role_main)
{
	return netlink_tun_set(mirror, TUN_NAME, port_tun(vrf)) == 0 ? wiring_tun_up(vrf, mirror)
								     : 0;
}

/* The reports of a mirror. */
static struct netlink_config
host_reports(struct keeld *k)
{
	return (struct netlink_config){
		.arena = k->layers.arena_control,
		.state_dir = k->state_dir,
		.room = k->layers.neighbor_room,
		.address = host_address,
		.anycast = k->layers.fib != NULL ? host_anycast : NULL,
		.neighbor = host_neighbor,
		.link = host_link,
		.interface = host_interface,
		.interface_address = host_interface_address,
		/* the numbers of ports, with a data plane */
		.number_take = k->layers.fib == NULL ? host_number_take : NULL,
		.number_give = host_number_give,
		.route = host_route,
		.ctx = k,
	};
}

/* ---- instances ---- */

static void
on_host_vrf_start(void *arg) RUNS_ON(role_host)
{
	struct vrf_call *c = arg;

	c->k->layers.vrf_netlink[c->vrf.v] = c->mirror;
	c->result = netlink_start(c->mirror, c->k->layers.host_thread);
}

static void
on_host_vrf_stop(void *arg) RUNS_ON(role_host)
{
	struct vrf_call *c = arg;

	netlink_stop(c->mirror);
	c->k->layers.vrf_netlink[c->vrf.v] = NULL;
}

int
wiring_watch(void *ctx, struct vrf_id vrf, const struct netns *netns)
{
	struct keeld *k = ctx;
	struct netlink_config c = host_reports(k);
	struct vrf_call call = {.k = k, .vrf = vrf};
	struct netlink_port ports[PORTS_MAX];
	int err;

	c.vrf = vrf;
	c.netns = netns;
	c.port_count = ports_of_vrf(k, vrf, ports);
	c.forwards = k->layers.fib != NULL;
	c.ports = ports;
	c.changed = host_changed;
	err = netlink_create(&c, &call.mirror);
	if (err != 0)
		return err;
	if (c.port_count > 0) {
		(void)tun_begin(vrf, call.mirror);
		wiring_set_addresses(k, vrf, call.mirror);
	}
	k->wiring->vrf_mirror[vrf.v] = call.mirror;
	layers_call_host(&k->layers, on_host_vrf_start, &call);
	if (call.result != 0)
		wiring_unwatch(ctx, vrf);
	return call.result;
}

void
wiring_unwatch(void *ctx, struct vrf_id vrf)
{
	struct keeld *k = ctx;
	struct vrf_call call = {.k = k, .vrf = vrf, .mirror = k->wiring->vrf_mirror[vrf.v]};

	if (call.mirror == NULL)
		return;
	layers_call_host(&k->layers, on_host_vrf_stop, &call);
	k->wiring->vrf_mirror[vrf.v] = NULL;
	netlink_destroy(call.mirror, false);
}

void
wiring_peer(void *ctx, struct vrf_id vrf, const struct ip_addr *addr, bool present)
{
	struct keeld *k = ctx;

	if (k->forwarder != NULL)
		forwarder_peer(vrf, addr, present);
}

/* ---- UDP tunnels ---- */

struct tunnels_call {
	uint32_t own[TUNNELS_MAX];
	unsigned count;
	int result;
};

static void
on_host_tunnels(void *arg) RUNS_ON(role_host)
{
	struct tunnels_call *c = arg;

	c->result = forwarder_tunnels(c->own, c->count);
}

void
wiring_tunnels(void *ctx, const struct config *c)
{
	struct keeld *k = ctx;
	struct tunnels_call call = {.count = 0};

	if (k->layers.fib == NULL)
		return;
	for (; call.count < c->tunnel_count; call.count++)
		memcpy(&call.own[call.count], c->tunnels[call.count].source.b, sizeof(call.own[0]));
	layers_call_host(&k->layers, on_host_tunnels, &call);
	if (call.result != 0)
		log_event(LOG_ERROR, "udp-tunnels-not-installed error=\"%s\"",
			strerrordesc_np(-call.result));
}

static int
setting_by_forwarder(void *ctx, const char *path, const char *value)
{
	(void)ctx;
	return forwarder_setting(path, value);
}

static int
change_by_forwarder(void *ctx, bool on_host, const void *message, size_t bytes)
{
	(void)ctx;
	return forwarder_netlink(on_host, message, bytes);
}

int
wiring_create_netlink(struct keeld *k)
{
	struct netlink_port ports[PORTS_MAX];
	struct netlink_config c;

	netlink_room_init(&k->wiring->neighbor_room);
	k->layers.neighbor_room = &k->wiring->neighbor_room;
	c = host_reports(k);
	c.port_count = ports_of_vrf(k, VRF_DEFAULT, ports);
	c.forwards = k->layers.fib != NULL;
	c.ports = ports;
	c.changed = host_changed;
	if (!k->no_dataplane) {
		c.change = change_by_forwarder;
		c.setting = setting_by_forwarder;
	}
	return netlink_create(&c, &k->layers.netlink);
}

int
wiring_create_tun(struct keeld *k)
{
	if (k->layers.fib != NULL)
		k->layers.tun_ifindex = tun_begin(VRF_DEFAULT, k->layers.netlink);
	return 0;
}

void
wiring_destroy_host(struct keeld *k)
{
	struct wiring *w = k->wiring;

	if (w == NULL)
		return;
	if (k->layers.main_thread != NULL)
		timer_cancel(k->layers.main_thread, &w->returns);
	k->layers.tun_ifindex = 0;
	for (unsigned i = 0; i < VRF_IDS_MAX; i++)
		if (w->vrf_mirror[i] != NULL)
			netlink_destroy(w->vrf_mirror[i], k->stays);
	if (k->layers.netlink != NULL)
		netlink_destroy(k->layers.netlink, k->stays);
}

void
wiring_zone(struct keeld *k, uint16_t port)
{
	int err = fib_feed_zone(k->layers.feed, port_vrf(port), zone_intern(port_name(port)), port);

	if (err != 0)
		log_event(LOG_ERROR, "connected-route-not-installed error=\"%s\"",
			strerrordesc_np(-err));
}

void
wiring_name_zones(struct keeld *k)
{
	role_enter_fib(); /* the fib thread does not exist yet */
	for (uint16_t p = 0; k->layers.fib != NULL && p < port_count(); p++) {
		if (!port_exists(p))
			continue;
		wiring_zone(k, p);
		host_routes_port(k->host_routes, port_vrf(p), p, zone_intern(port_name(p)));
	}
}
