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
#include "lpm/netns.h"
#include "control/host/netlink.h"
#include "control/base/threads.h"
#include "lpm/path_list.h"
#include "lpm/tunnel_set.h"
#include "rib/fib_feed.h"
#ifdef KEEL_DATAPLANE
#include "dataplane/forwarder.h"
#include "dataplane/host_path.h"
#include "dataplane/port.h"
#include "dataplane/tun.h"
#include "dataplane/worker.h"
#endif

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define GLEAN_POLL_NS                                                                              \
	10000000 /* the packet that asks for a neighbour is dropped; later packets need it soon */
#define GLEANS_PER_POLL 64
#define TUN_NAME "keel0"
#define FAULTS_SHOWN 16

/* A call of main to the host thread about an instance. */
struct vrf_call {
	struct keeld *k;
	struct vrf_id vrf;
	struct vrf_host *host;
	int result;
};

/* The mirror of a VRF; NULL: none. */
static struct netlink *
mirror_of(const struct keeld *k, struct vrf_id vrf)
{
	return vrf.v == VRF_DEFAULT.v ? k->layers.netlink : k->layers.vrf_netlink[vrf.v];
}

/* The mirror with the interface of a port; NULL: none. */
static struct netlink *
mirror_of_port(const struct keeld *k, uint16_t port)
{
#ifdef KEEL_DATAPLANE
	if (k->layers.fib != NULL)
		return mirror_of(k, port_vrf(port));
#endif
	(void)port;
	return mirror_of(k, VRF_DEFAULT);
}

/* The name of a port for the log; "none" if the interface is not a port. */
static const char *
port_text(const struct keeld *k, uint16_t port)
{
#ifdef KEEL_DATAPLANE
	if (k->layers.fib != NULL && port != PORT_NONE)
		return port_name(port);
#else
	(void)k;
	(void)port;
#endif
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
	host_routes_link(k->host_routes, m->port, m->up);
}

static void
host_link(void *ctx, uint16_t port, bool up, uint64_t event_ns)
{
	struct keeld *k = ctx;

	if (port < LINKS_MAX && k->layers.fib != NULL) {
		atomic_store_explicit(&k->wiring->links.seen[port],
			up ? event_ns | 1 : event_ns & ~UINT64_C(1), memory_order_relaxed);
		/* release: pairs with the acquire in wiring_links_apply */
		atomic_store_explicit(&k->wiring->links.changed, true, memory_order_release);
		thread_wake(k->layers.fib_thread);
	}
	/* an interface without a port has no name here */
	if (k->layers.fib != NULL && port != PORT_NONE)
		log_event(
			LOG_INFO, "link port=%s state=%s", port_text(k, port), up ? "up" : "down");
	wiring_send(&(struct message){
		.k = k, .kind = MESSAGE_MAIN_LINK, .link = {.port = port, .up = up}});
}

#ifdef KEEL_DATAPLANE
static bool
host_changed(void *ctx, uint16_t port) RUNS_ON(role_host)
{
	struct keeld *k = ctx;
	uint8_t mac[6];
	bool changed = false;
	int err;

	err = k->layers.fib != NULL ? port_refresh(port, &changed) : 0;
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
#endif

/* ---- addresses ---- */

void
receive_fib_address(struct keeld *k, const struct message_address *m)
{
	wiring_links_apply(k);
	if (fib_feed_connected(
		    k->layers.feed, m->vrf, &m->subnet, &m->local, m->port, m->present) != 0)
		log_event(LOG_ERROR, "connected-route-not-installed error=\"%s\"",
			strerrordesc_np(ENOMEM));
}

void
receive_main_address(struct keeld *k, const struct message_address *m)
{
	host_routes_connected(k->host_routes, m->vrf, &m->subnet, m->port, m->present);
}

#ifdef KEEL_DATAPLANE
/*
 * An address of any port, of lo or keel0 is local on all ports of the VRF while at least one
 * interface has the address.
 */
static void
local_address(struct keeld *k, struct vrf_id vrf, const struct ip_addr *local) RUNS_ON(role_host)
{
	const struct netlink *mirror = mirror_of(k, vrf);
	int err = port_local_address_set(
		vrf, local, mirror != NULL && netlink_is_local(mirror, vrf, local));
	char text[ADDR_TEXT_MAX];

	if (err != 0)
		log_event(LOG_ERROR, "xdp-local-address-not-set address=%s error=\"%s\"",
			addr_format(local, text), strerrordesc_np(-err));
	for (uint16_t p = 0; p < port_count(); p++) {
		struct ip_addr source = {.afi = AFI_NONE};

		if (port_vrf(p).v != vrf.v)
			continue;
		if (mirror != NULL)
			(void)netlink_source(mirror, vrf, p, local->afi, &source);
		port_icmp_source_set(p, local->afi, &source);
	}
}
#endif

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
#ifdef KEEL_DATAPLANE
	if (k->layers.fib != NULL)
		local_address(k, vrf, local);
#endif
	wiring_send(&m);
	/* RFC 4291 2.5.6: link-local prefixes are not routed. */
	if (addr_is_link_local(local))
		return;
	m.kind = MESSAGE_MAIN_ADDRESS;
	wiring_send(&m);
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
#ifdef KEEL_DATAPLANE
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
#endif
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

#ifdef KEEL_DATAPLANE
static void
gleans_poll(struct timer *t) RUNS_ON(role_host)
{
	struct host_context *c =
		(struct host_context *)(void *)((char *)t - offsetof(struct host_context, gleans));
	struct glean g[GLEANS_PER_POLL];
	unsigned n;

	n = worker_gleans(g, GLEANS_PER_POLL);
	for (unsigned i = 0; i < n; i++) {
		struct netlink *mirror = mirror_of_port(c->k, g[i].port);

		if (mirror != NULL)
			(void)netlink_glean(mirror, g[i].port, &g[i].addr);
	}
	timer_arm(c->self, t, GLEAN_POLL_NS);
}

static void
tun_ready(struct watch *w, uint32_t events) RUNS_ON(role_host)
{
	struct tun_watch *t =
		(struct tun_watch *)(void *)((char *)w - offsetof(struct tun_watch, watch));

	(void)events;
	/* level-triggered: the remaining packets follow in the next turn */
	(void)tun_drain(t->tun);
	if (tun_fd(t->tun) >= 0)
		return;
	w->fd = -1; /* closed, and the number may be used again */
	log_event(LOG_ERROR, "tun-lost interface=" TUN_NAME
			     " text=\"the interface was deleted: packets of this host without a "
			     "port of their own no longer leave; restart keeld\"");
}

static int
tun_start(struct tun_watch *t, struct thread *self) RUNS_ON(role_host)
{
	if (t->tun == NULL)
		return 0;
	t->watch = (struct watch){.fd = tun_fd(t->tun), .ready = tun_ready};
	return watch_set(self, &t->watch, EPOLLIN);
}

/* ---- the TAPs of the ports ---- */

static struct host_context *
host_context_of(struct timer *t, size_t offset)
{
	return (struct host_context *)(void *)((char *)t - offset);
}

static void
tap_ready(struct watch *w, uint32_t events) RUNS_ON(role_host)
{
	struct tap_context *t =
		(struct tap_context *)(void *)((char *)w - offsetof(struct tap_context, watch));
	struct host_context *c =
		(struct host_context *)(void *)((char *)(t - t->port) -
						offsetof(struct host_context, tap));

	(void)events;
	if (host_path_drain(t->port))
		return;
	t->waits = watch_set(c->self, w, 0) == 0;
}

static void
punts_poll(struct timer *t) RUNS_ON(role_host)
{
	struct host_context *c = host_context_of(t, offsetof(struct host_context, punts));
	bool any = host_path_turn();

	for (uint16_t p = 0; p < LINKS_MAX; p++) {
		if (c->tap[p].waits && watch_set(c->self, &c->tap[p].watch, EPOLLIN) == 0)
			c->tap[p].waits = false;
	}
	timer_arm(c->self, t, any ? HOST_PATH_BUSY_NS : HOST_PATH_POLL_NS);
}

/* Reads the states of the ports, and logs changes. */
static void
states_log(struct host_context *c) RUNS_ON(role_host)
{
	port_states_read();
	for (uint16_t p = 0; p < port_count(); p++) {
		enum port_state s = port_state(p);

		if (!port_exists(p) || s == c->port_state[p])
			continue;
		log_event(s == PORT_MISSING || s == PORT_FAILED ? LOG_ERROR : LOG_INFO,
			"port-state port=%s state=%s was=%s", port_name(p), port_state_text(s),
			port_state_text(c->port_state[p]));
		c->port_state[p] = (uint8_t)s;
	}
}

static void
links_poll(struct timer *t) RUNS_ON(role_host)
{
	struct host_context *c = host_context_of(t, offsetof(struct host_context, links));

	states_log(c);
	timer_arm(c->self, t, PORT_STATES_NS);
}

/* A driver reported an event. */
static void
port_event(struct watch *w, uint32_t events) RUNS_ON(role_host)
{
	struct host_context *c =
		(struct host_context *)(void *)((char *)w -
						offsetof(struct host_context, port_events));

	(void)events;
	states_log(c);
}

/* 0, -errno. */
static int
states_start(struct host_context *c) RUNS_ON(role_host)
{
	int err = 0;

	c->links.fire = links_poll;
	states_log(c);
	c->port_events = (struct watch){.fd = port_events_fd(), .ready = port_event};
	if (c->port_events.fd >= 0) /* with keelfwd the drivers report to keelfwd */
		err = watch_set(c->self, &c->port_events, EPOLLIN);
	return err != 0 ? err : timer_arm(c->self, &c->links, PORT_STATES_NS);
}

/* 0, -errno. */
static int
tap_start(struct host_context *c, uint16_t p) RUNS_ON(role_host)
{
	int err;

	if (host_path_fd(p) < 0)
		return 0;
	c->tap[p] = (struct tap_context){
		.watch = {.fd = host_path_fd(p), .ready = tap_ready}, .port = p};
	err = watch_set(c->self, &c->tap[p].watch, EPOLLIN);
	if (err != 0 || c->punts.fire != NULL)
		return err;
	c->punts.fire = punts_poll;
	return timer_arm(c->self, &c->punts, HOST_PATH_POLL_NS);
}

/* 0, -errno. */
static int
taps_start(struct host_context *c) RUNS_ON(role_host)
{
	int err = 0;

	for (uint16_t p = 0; err == 0 && p < port_count(); p++)
		err = tap_start(c, p);
	return err;
}

void
wiring_port_show(struct keeld *k, uint16_t port, bool shown)
{
	struct host_context *c = &k->wiring->host;
	int err;

	if (shown) {
		port_show(port);
		err = tap_start(c, port);
		if (err != 0)
			log_event(LOG_ERROR, "port-failed port=%s error=\"%s\" text=\"%s\"",
				port_name(port), strerrordesc_np(-err),
				"packets of the kernel are not read");
		return;
	}
	if (host_path_fd(port) >= 0)
		(void)watch_set(c->self, &c->tap[port].watch, 0);
	c->tap[port].waits = false;
	c->port_state[port] = PORT_DOWN;
	host_path_flush(); /* the workers queue nothing of the port any more */
	port_hide(port);
}
#endif

/* ---- life ---- */

int
wiring_host_start(void *ctx, struct thread *self)
{
	struct keeld *k = ctx;
	struct host_context *c = &k->wiring->host;

	role_enter_host();
	c->k = k;
	c->self = self;
#ifdef KEEL_DATAPLANE
	if (c->k->layers.fib != NULL) {
		c->gleans.fire = gleans_poll;
		timer_arm(self, &c->gleans, GLEAN_POLL_NS);
	}
	int err = tun_start(&k->wiring->tun, self);

	if (err == 0 && c->k->layers.fib != NULL)
		err = taps_start(c);
	if (err == 0 && c->k->layers.fib != NULL)
		err = states_start(c);

	if (err != 0)
		return err;
#endif
	return netlink_start(c->k->layers.netlink, self);
}

#ifdef KEEL_DATAPLANE
static uint16_t
least_mtu(struct vrf_id vrf)
{
	uint16_t mtu = UINT16_MAX;

	for (uint16_t p = 0; p < port_count(); p++)
		if (port_vrf(p).v == vrf.v && port_runs(p) && port_mtu(p) < mtu)
			mtu = port_mtu(p);
	return mtu;
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
wiring_ports_addresses(const struct config *c, struct vrf_id vrf, struct netlink *mirror)
{
	for (uint16_t i = 0; i < c->port_count; i++) {
		const struct config_port *p = &c->ports[i];
		unsigned ifindex = port_ifindex(port_named(p->name));

		if (ifindex == 0 || p->vrf.v != vrf.v)
			continue;
		for (unsigned n = 0; n < p->address_count; n++)
			set_address(mirror, p, ifindex, &p->addresses[n]);
		(void)netlink_link_up(mirror, ifindex);
	}
}

void
wiring_set_addresses(struct keeld *k, struct vrf_id vrf, struct netlink *mirror)
{
	struct netlink_fault faults[FAULTS_SHOWN];

	wiring_ports_addresses(apply_running(k->apply), vrf, mirror);
	for (unsigned n = netlink_faults(mirror, faults, FAULTS_SHOWN), i = 0;
		i < n && i < FAULTS_SHOWN; i++)
		log_event(LOG_WARNING, "host-not-set setting=\"%s\" error=\"%s\"", faults[i].what,
			strerror(-faults[i].error));
}

void
wiring_tun_mtu(struct keeld *k)
{
	/* with a forwarder keelfwd does the same */
	if (k->wiring->tun.tun != NULL)
		tun_mtu_set(k->wiring->tun.tun, least_mtu(VRF_DEFAULT));
}

/*
 * Creates the TUN of a VRF, in the namespace of the VRF. A failure is logged: the router works, but
 * packets of this host reach connected subnets only.
 */
static void
tun_make(struct tun_watch *t, struct vrf_id vrf, struct netlink *mirror, const struct netns *netns)
{
	int err = netns_enter(netns);

	if (err == 0) {
		err = tun_create(TUN_NAME, vrf, least_mtu(vrf), &t->tun);
		if (err == 0)
			err = netlink_tun_add(mirror, TUN_NAME, tun_ifindex(t->tun), vrf);
		netns_leave(netns);
	}
	if (err == 0)
		return;
	log_event(LOG_WARNING,
		"host-not-set setting=\"" TUN_NAME
		", the interface for packets of this host\" error=\"%s\"",
		strerror(-err));
	tun_destroy(t->tun);
	t->tun = NULL;
}

#endif

static void
tun_unmake(struct tun_watch *t)
{
#ifdef KEEL_DATAPLANE
	tun_destroy(t->tun);
#endif
	t->tun = NULL;
}

/* ---- instances ---- */

static void
on_host_vrf_start(void *arg) RUNS_ON(role_host)
{
	struct vrf_call *c = arg;

	c->k->layers.vrf_netlink[c->vrf.v] = c->host->netlink;
	c->result = netlink_start(c->host->netlink, c->k->layers.host_thread);
#ifdef KEEL_DATAPLANE
	if (c->result == 0)
		c->result = tun_start(&c->host->tun, c->k->layers.host_thread);
#endif
}

static void
on_host_vrf_stop(void *arg) RUNS_ON(role_host)
{
	struct vrf_call *c = arg;

	if (c->host->tun.tun != NULL)
		(void)watch_set(c->k->layers.host_thread, &c->host->tun.watch, 0);
	netlink_stop(c->host->netlink);
	c->k->layers.vrf_netlink[c->vrf.v] = NULL;
}

static void
vrf_host_free(struct vrf_host *h)
{
	tun_unmake(&h->tun);
	netlink_destroy(h->netlink);
	free(h);
}

int
wiring_watch(void *ctx, struct vrf_id vrf, const struct netns *netns)
{
	struct keeld *k = ctx;
	struct netlink_config c = {
		.arena = k->layers.arena_control,
		.vrf = vrf,
		.netns = netns,
		.state_dir = k->state_dir,
		.keep = k->forwarder != NULL,
		.address = host_address,
		.neighbor = host_neighbor,
		.link = host_link,
		.route = host_route,
		.ctx = k,
	};
	struct vrf_call call = {.k = k, .vrf = vrf, .host = calloc(1, sizeof(*call.host))};
	int err;

	if (call.host == NULL)
		return -ENOMEM;
#ifdef KEEL_DATAPLANE
	struct netlink_port ports[PORTS_MAX];

	c.port_count = ports_of_vrf(k, vrf, ports);
	c.ports = ports;
	c.changed = host_changed;
#endif
	err = netlink_create(&c, &call.host->netlink);
	if (err != 0) {
		free(call.host);
		return err;
	}
#ifdef KEEL_DATAPLANE
	if (c.port_count > 0) {
		tun_make(&call.host->tun, vrf, call.host->netlink, netns);
		wiring_set_addresses(k, vrf, call.host->netlink);
	}
#endif
	k->wiring->vrf_host[vrf.v] = call.host;
	layers_call_host(&k->layers, on_host_vrf_start, &call);
	if (call.result != 0)
		wiring_unwatch(ctx, vrf);
	return call.result;
}

void
wiring_unwatch(void *ctx, struct vrf_id vrf)
{
	struct keeld *k = ctx;
	struct vrf_call call = {.k = k, .vrf = vrf, .host = k->wiring->vrf_host[vrf.v]};

	if (call.host == NULL)
		return;
	layers_call_host(&k->layers, on_host_vrf_stop, &call);
	k->wiring->vrf_host[vrf.v] = NULL;
	vrf_host_free(call.host);
}

void
wiring_peer(void *ctx, struct vrf_id vrf, const struct ip_addr *addr, bool present)
{
	(void)ctx;
#ifdef KEEL_DATAPLANE
	host_path_peer_set(vrf, addr, present);
#else
	(void)vrf;
	(void)addr;
	(void)present;
#endif
}

/* ---- UDP tunnels ---- */

#ifdef KEEL_DATAPLANE
struct tunnels_call {
	uint32_t own[TUNNELS_MAX];
	unsigned count;
	int result;
};

static void
on_host_tunnels(void *arg) RUNS_ON(role_host)
{
	struct tunnels_call *c = arg;

	c->result = port_tunnels_set(c->own, c->count);
}
#endif

void
wiring_tunnels(void *ctx, const struct config *c)
{
#ifdef KEEL_DATAPLANE
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
#else
	(void)ctx;
	(void)c;
#endif
}

#ifdef KEEL_DATAPLANE
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
#endif

int
wiring_create_netlink(struct keeld *k)
{
	struct netlink_config c = {
		.arena = k->layers.arena_control,
		.state_dir = k->state_dir,
		.keep = k->forwarder != NULL,
		.address = host_address,
		.neighbor = host_neighbor,
		.link = host_link,
		.route = host_route,
		.ctx = k,
	};
#ifdef KEEL_DATAPLANE
	struct netlink_port ports[PORTS_MAX];

	c.port_count = ports_of_vrf(k, VRF_DEFAULT, ports);
	c.ports = ports;
	c.changed = host_changed;
	if (k->forwarder != NULL) {
		c.change = change_by_forwarder;
		c.setting = setting_by_forwarder;
	}
#endif
	return netlink_create(&c, &k->layers.netlink);
}

#ifdef KEEL_DATAPLANE
/* keelfwd has keel0; this process sets up the interface. */
static void
tun_of_forwarder(struct keeld *k)
{
	unsigned ifindex = forwarder_state(k->forwarder)->tun_ifindex;
	int err = ifindex != 0 ? netlink_tun_add(k->layers.netlink, TUN_NAME, ifindex, VRF_DEFAULT)
			       : -ENODEV;

	if (err == 0)
		k->layers.tun_ifindex = ifindex;
	else
		log_event(LOG_WARNING,
			"host-not-set setting=\"" TUN_NAME
			", the interface for packets of this host\" error=\"%s\"",
			strerror(-err));
}
#endif

int
wiring_create_tun(struct keeld *k)
{
#ifdef KEEL_DATAPLANE
	if (k->layers.fib == NULL)
		return 0;
	if (k->forwarder != NULL) {
		tun_of_forwarder(k);
		return 0;
	}
	tun_make(&k->wiring->tun, VRF_DEFAULT, k->layers.netlink, NULL);
	if (k->wiring->tun.tun != NULL)
		k->layers.tun_ifindex = tun_ifindex(k->wiring->tun.tun);
#else
	(void)k;
#endif
	return 0;
}

void
wiring_destroy_host(struct keeld *k)
{
	struct wiring *w = k->wiring;

	if (w == NULL)
		return;
	tun_unmake(&w->tun);
	k->layers.tun_ifindex = 0;
	for (unsigned i = 0; i < VRF_IDS_MAX; i++)
		if (w->vrf_host[i] != NULL)
			vrf_host_free(w->vrf_host[i]);
	if (k->layers.netlink != NULL)
		netlink_destroy(k->layers.netlink);
}

void
wiring_name_zones(struct keeld *k)
{
	role_enter_fib(); /* the fib thread does not exist yet */
#ifdef KEEL_DATAPLANE
	for (uint16_t p = 0; k->layers.fib != NULL && p < port_count(); p++) {
		if (!port_exists(p))
			continue;
		fib_feed_zone(k->layers.feed, zone_intern(port_name(p)), p);
		host_routes_port(k->host_routes, p, zone_intern(port_name(p)));
	}
#else
	(void)k;
#endif
}
