/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The interfaces of the host and their addresses, as netlink reports them: the own next hops of a
 * connection, and the loss of the link of a session (`link_sensitive`). A session belongs to the
 * interface that has the local address of the session.
 *
 * The end of a session by its link retains no routes: the packets of the peer's routes would leave
 * over the lost link. BIRD and FRR flush the routes, too.
 */
#include "control/session/session_impl.h"

#include "control/base/log.h"

#include <errno.h>
#include <string.h>

/* Gathers the messages of a change: a replaced address is removed and added. */
#define GATHER_NS 20000000u
/* The kernel reports a new carrier up to a second late, when connections use the link already. */
#define UP_LATE_NS (2 * NS_PER_S)
/* The host has its addresses and routes later than a started keeld. */
#define SET_UP_NS (5 * NS_PER_S)
/* The loss of keel0 is known before the end of keelfwd, and main may be busy. */
#define END_LATE_NS (3 * NS_PER_S)
/* keeld waits for the next keelfwd for less. */
#define RETURN_NS (150 * NS_PER_S)

struct own_address {
	struct own_address *next;
	struct ip_addr addr;
	struct prefix subnet;
};

struct interface {
	struct interface *next;
	struct vrf_id vrf;
	unsigned ifindex;
	uint16_t zone;
	bool up;
	bool changed; /* since the last links_fire() */
	bool returns;
	/* in the order of their arrival: the kernel lists IPv4 addresses by primacy */
	struct own_address *addresses;
};

static struct interface **
interface_slot(struct speaker *s, struct vrf_id vrf, unsigned ifindex)
{
	struct interface **at = &s->links.interfaces;

	while (*at != NULL && ((*at)->vrf.v != vrf.v || (*at)->ifindex != ifindex))
		at = &(*at)->next;
	return at;
}

static void
links_wait(struct speaker *s, uint64_t ns)
{
	if (timer_arm_sooner(s->thread, &s->links.timer, ns) < 0)
		log_event(LOG_ERROR, "interface-lost error=\"%s\"", strerrordesc_np(ENOMEM));
}

static void
links_changed(struct speaker *s, struct interface *i)
{
	i->changed = true;
	links_wait(s, GATHER_NS);
}

/* ---- the local end of a connection ---- */

/* True if the interface has the address. *shares: the peer is in a subnet of the address. */
static bool
interface_has(const struct interface *i, const struct ip_addr *addr, const struct ip_addr *peer,
	bool *shares)
{
	bool has = false;

	*shares = false;
	for (const struct own_address *a = i->addresses; a != NULL; a = a->next) {
		if (!addr_equal(&a->addr, addr))
			continue;
		has = true;
		*shares |= prefix_contains(&a->subnet, peer) &&
			   (!addr_is_link_local(peer) || peer->zone == i->zone);
	}
	return has;
}

/*
 * The first IPv4 address, but the lowest IPv6 address: the kernel lists IPv6 addresses by age, and a
 * restart should select the same address.
 */
static void
address_select(struct ip_addr *to, const struct ip_addr *a)
{
	if (to->afi == AFI_NONE || (a->afi == AFI_IPV6 && addr_compare(a, to) < 0))
		*to = *a;
}

/* The own address is the next hop of its kind, whatever further addresses the interface has. */
static void
addresses_take(const struct interface *i, struct local_end *out)
{
	bool has_v4 = out->v4.afi != AFI_NONE, has_v6 = out->v6.afi != AFI_NONE,
	     has_link_local = out->link_local.afi != AFI_NONE;

	for (const struct own_address *a = i->addresses; a != NULL; a = a->next) {
		if (a->addr.afi == AFI_IPV4 && !has_v4)
			address_select(&out->v4, &a->addr);
		else if (a->addr.afi == AFI_IPV6 && !addr_is_link_local(&a->addr) && !has_v6)
			address_select(&out->v6, &a->addr);
		else if (addr_is_link_local(&a->addr) && !has_link_local && out->on_link)
			address_select(&out->link_local, &a->addr);
	}
}

static void
local_find(const struct connection *c, struct local_end *out)
{
	const struct config_peer *k = &c->peer->config;
	const struct interface *found = NULL;
	const struct ip_addr *own = &c->local_addr;

	memset(out, 0, sizeof(*out));
	if (own->afi == AFI_IPV4)
		out->v4 = *own;
	else if (addr_is_link_local(own))
		out->link_local = *own;
	else
		out->v6 = *own;
	for (const struct interface *i = c->peer->speaker->links.interfaces; i != NULL;
		i = i->next) {
		bool shares;

		if (i->vrf.v != k->vrf.v || !interface_has(i, own, &k->addr, &shares) ||
			(found != NULL && (out->on_link || !shares)))
			continue;
		found = i;
		out->on_link = shares;
	}
	if (found == NULL)
		return;
	out->ifindex = found->ifindex;
	out->up = found->up;
	out->returns = found->returns;
	out->zone = out->on_link ? found->zone : 0;
	addresses_take(found, out);
}

/* ---- sessions ---- */

static bool
is_open(const struct connection *c)
{
	return c->state >= FSM_OPEN_SENT && c->watch.fd >= 0;
}

bool
links_sensitive(const struct connection *c)
{
	const struct config_peer *k = &c->peer->config;

	if (c->local.ifindex == 0)
		return false;
	if (k->link_sensitive != LINK_SENSITIVE_DEFAULT)
		return k->link_sensitive == LINK_SENSITIVE_YES;
	return k->external && k->multihop == 0 && c->local.on_link;
}

/* Ends the connections of the interface; `addr` not NULL: with this local address alone. */
static void
connections_end(struct speaker *s, const struct interface *i, const struct ip_addr *addr)
	RUNS_ON(role_session)
{
	for (unsigned id = 0; id < PEER_MAX; id++) {
		struct peer *p = s->by_id[id];

		for (unsigned n = 0; p != NULL && p->config.vrf.v == i->vrf.v && n < CONN_COUNT;
			n++) {
			struct connection *c = &p->conn[n];

			if (is_open(c) && c->local.ifindex == i->ifindex &&
				(addr == NULL || addr_equal(&c->local_addr, addr)) &&
				links_sensitive(c))
				peer_link_down(c, true);
		}
	}
}

/* Ends a connection over a link that is down. */
static void
connection_check(struct connection *c) RUNS_ON(role_session)
{
	uint64_t open_ns;

	if (!is_open(c) || c->local.up || !links_sensitive(c))
		return;
	open_ns = now_ns() - c->opened_ns;
	if (open_ns < UP_LATE_NS)
		links_wait(c->peer->speaker, UP_LATE_NS - open_ns);
	else
		peer_link_down(c, false);
}

void
links_config(struct peer *p)
{
	for (unsigned n = 0; n < CONN_COUNT; n++)
		connection_check(&p->conn[n]);
}

void
links_opened(struct connection *c)
{
	local_find(c, &c->local);
	c->opened_ns = now_ns();
	if (!c->local.up && c->local.ifindex != 0)
		links_wait(c->peer->speaker, UP_LATE_NS);
}

/* Whether the peer is on the link of an interface with this state. */
static bool
is_on_link(const struct peer *p, bool up)
{
	const struct interface *i = p->speaker->links.interfaces;

	for (; i != NULL; i = i->next) {
		if (i->up != up || i->vrf.v != p->config.vrf.v ||
			(addr_is_link_local(&p->config.addr) && p->config.addr.zone != i->zone))
			continue;
		for (const struct own_address *a = i->addresses; a != NULL; a = a->next)
			if (prefix_contains(&a->subnet, &p->config.addr))
				return true;
	}
	return false;
}

bool
links_on(const struct peer *p)
{
	return is_on_link(p, true);
}

bool
links_away(const struct peer *p, bool was_on)
{
	const struct config_peer *k = &p->config;
	struct host_socket_options o;

	if (k->link_sensitive == LINK_SENSITIVE_NO ||
		(k->link_sensitive == LINK_SENSITIVE_DEFAULT && (!k->external || k->multihop != 0)))
		return false;
	o = peer_socket(p);
	return !is_on_link(p, true) &&
	       (is_on_link(p, false) || (now_ns() - p->speaker->created_ns >= SET_UP_NS &&
						(was_on || host_socket_no_route(&o, &k->addr))));
}

static void
local_again(struct connection *c) RUNS_ON(role_session)
{
	struct local_end now;

	local_find(c, &now);
	if (memcmp(&now, &c->local, sizeof(now)) == 0)
		return;
	c->local = now;
	if (c->peer->up == c)
		export_next_hops(c->peer);
}

/* The interface of the connection has changed, or was not known. */
static bool
end_changed(struct speaker *s, const struct connection *c)
{
	const struct interface *i = *interface_slot(s, c->peer->config.vrf, c->local.ifindex);

	return i == NULL || i->changed;
}

static void
links_fire(struct timer *t) RUNS_ON(role_session)
{
	struct speaker *s = container_of(t, struct speaker, links.timer);
	uint64_t now = now_ns();
	bool held = now < s->links.held_ns;

	if (held)
		links_wait(s, s->links.held_ns - now);
	for (unsigned id = 0; id < PEER_MAX; id++) {
		struct peer *p = s->by_id[id];

		for (unsigned n = 0; p != NULL && n < CONN_COUNT; n++)
			if (is_open(&p->conn[n]) && !(held && p->conn[n].local.returns) &&
				end_changed(s, &p->conn[n]))
				local_again(&p->conn[n]);
		if (p != NULL)
			links_config(p);
		if (p != NULL && p->link_lost && is_on_link(p, true))
			peer_link_back(p);
	}
	for (struct interface *i = s->links.interfaces; i != NULL; i = i->next)
		i->changed &= held;
}

/* ---- reports of the host ---- */

static void
address_remove(struct speaker *s, struct interface *i, struct own_address **slot)
	RUNS_ON(role_session)
{
	struct own_address *a = *slot;
	struct ip_addr addr = a->addr;
	bool stays = false;

	*slot = a->next;
	arena_free(s->config.arena, a);
	links_changed(s, i);
	/* the address may be set with two lengths, or on two interfaces */
	for (const struct interface *o = s->links.interfaces; o != NULL && !stays; o = o->next)
		stays = o->vrf.v == i->vrf.v && interface_has(o, &addr, &addr, &(bool){false});
	if (!stays)
		connections_end(s, i, &addr);
}

static void
interface_remove(struct speaker *s, struct interface **slot) RUNS_ON(role_session)
{
	struct interface *i = *slot;

	while (i->addresses != NULL)
		address_remove(s, i, &i->addresses);
	*slot = i->next;
	arena_free(s->config.arena, i);
}

static void
links_hold(struct speaker *s, uint64_t ns)
{
	s->links.held_ns = now_ns() + ns;
	links_wait(s, ns);
}

void
speaker_forwarder(struct speaker *s, bool lost)
{
	links_hold(s, lost ? RETURN_NS : UP_LATE_NS);
}

void
speaker_interface(struct speaker *s, const struct speaker_interface *r)
{
	struct interface **slot = interface_slot(s, r->vrf, r->ifindex), *i = *slot;
	bool was_up = i != NULL && i->up;

	if (i == NULL && r->present) {
		i = arena_calloc(s->config.arena, sizeof(*i));
		if (i == NULL) {
			log_event(
				LOG_ERROR, "interface-lost error=\"%s\"", strerrordesc_np(ENOMEM));
			return;
		}
		*i = (struct interface){.vrf = r->vrf, .ifindex = r->ifindex};
		*slot = i;
	}
	if (i == NULL)
		return;
	i->zone = r->zone;
	i->up = r->present && r->up;
	i->returns = r->returns;
	if (i->returns && was_up && !i->up && s->links.held_ns < now_ns() + END_LATE_NS)
		links_hold(s, END_LATE_NS);
	links_changed(s, i);
	if (was_up && !i->up)
		connections_end(s, i, NULL);
	if (!r->present)
		interface_remove(s, slot);
}

void
speaker_address(struct speaker *s, const struct speaker_address *r)
{
	struct interface *i = *interface_slot(s, r->vrf, r->ifindex);
	struct own_address **at, *a;

	if (i == NULL)
		return;
	at = &i->addresses;
	while (*at != NULL &&
		(!addr_equal(&(*at)->addr, &r->local) || !prefix_equal(&(*at)->subnet, &r->subnet)))
		at = &(*at)->next;
	if (!r->present && *at != NULL)
		address_remove(s, i, at);
	if (!r->present || *at != NULL)
		return;
	a = arena_alloc(s->config.arena, sizeof(*a));
	if (a == NULL) {
		log_event(LOG_ERROR, "interface-lost error=\"%s\"", strerrordesc_np(ENOMEM));
		return;
	}
	*a = (struct own_address){NULL, r->local, r->subnet};
	*at = a;
	links_changed(s, i);
}

/* ---- life ---- */

void
links_init(struct speaker *s)
{
	s->links.timer.fire = links_fire;
}

void
links_fini(struct speaker *s)
{
	while (s->links.interfaces != NULL) {
		struct interface *i = s->links.interfaces;

		s->links.interfaces = i->next;
		while (i->addresses != NULL) {
			struct own_address *a = i->addresses;

			i->addresses = a->next;
			arena_free(s->config.arena, a);
		}
		arena_free(s->config.arena, i);
	}
}
