/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/host/netlink.h"
#include "control/host/netlink_impl.h"

#include "control/base/log.h"
#include "control/base/zones.h"
#include "lpm/base/arena.h"
#include "lpm/base/netns.h"
#include "lpm/base/note_work.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define RECEIVE_BUFFER (8 << 20)
#define MESSAGES_PER_TURN 64
#define LOAD_NS 2000000000u /* tables of links and addresses take milliseconds */
#define LOAD_POLL_MS 100
#define ANYCAST_BITS_MAX 126 /* RFC 6164: both addresses of a /127 belong to routers */

/* ---- the mirror ---- */

struct link *
netlink_link_find(const struct netlink *n, unsigned ifindex)
{
	for (struct link *l = n->links; l != NULL; l = l->next)
		if (l->ifindex == ifindex)
			return l;
	return NULL;
}

struct link *
netlink_link_add(struct netlink *n, unsigned ifindex, const char *name, enum link_kind kind)
{
	struct link *l = arena_calloc(n->config.arena, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->ifindex = ifindex;
	l->port = PORT_NONE;
	l->vrf = n->config.vrf;
	l->zone = zone_intern(name);
	l->kind = kind;
	if (kind == LINK_OTHER && n->config.number_take != NULL)
		l->port = n->config.number_take(n->config.ctx);
	l->next = n->links;
	n->links = l;
	return l;
}

static void
link_free(struct netlink *n, struct link *l)
{
	if (l->kind == LINK_OTHER && l->port != PORT_NONE)
		n->config.number_give(n->config.ctx, l->port);
	arena_free(n->config.arena, l);
}

static void
interface_tell(struct netlink *n, struct link *l, bool present, bool up)
{
	struct netlink_interface now = {l->ifindex, l->port, l->zone, present, present && up};

	if (n->config.interface == NULL || now.ifindex == 0 ||
		(now.present == l->told.present && now.up == l->told.up))
		return;
	l->told = now;
	n->config.interface(n->config.ctx, l->vrf, &now);
}

static void
address_tell(struct netlink *n, struct address *a, bool present)
{
	const struct link *l = netlink_link_find(n, a->ifindex);

	if (n->config.interface_address == NULL || l == NULL || present == a->told)
		return;
	a->told = present;
	n->config.interface_address(
		n->config.ctx, l->vrf, a->ifindex, &a->subnet, &a->local, present);
}

void
netlink_zone_set(const struct link *l, struct ip_addr *a)
{
	if (addr_is_link_local(a))
		a->zone = l->zone;
}

/*
 * True if a subnet of the interface contains the address, or a host route without a gateway. The kernel
 * keeps neighbours of removed subnets.
 */
static bool
on_link_subnet(const struct netlink *n, unsigned ifindex, const struct ip_addr *addr)
{
	for (const struct address *a = n->addresses; a != NULL; a = a->next)
		if (a->ifindex == ifindex && !a->beside && prefix_contains(&a->subnet, addr))
			return true;
	return n->routes != NULL && route_mirror_on_link(n, ifindex, addr);
}

/*
 * Reports a changed neighbour: usable with a link that is up and a subnet for the address, or lost.
 */
static void
neighbor_report(struct netlink *n, const struct link *l, struct neighbor *e)
{
	bool good = e->usable && l->up && on_link_subnet(n, l->ifindex, &e->addr);

	if (good && !(e->reported && memcmp(e->reported_mac, e->mac, sizeof(e->mac)) == 0)) {
		e->reported = true;
		memcpy(e->reported_mac, e->mac, sizeof(e->mac));
		n->config.neighbor(n->config.ctx, l->vrf, l->port, &e->addr, e->mac);
	} else if (!good && e->reported) {
		e->reported = false;
		n->config.neighbor(n->config.ctx, l->vrf, l->port, &e->addr, NULL);
	}
}

static void
link_neighbors_report(struct netlink *n, const struct link *l)
{
	for (unsigned i = 0; i < NEIGHBOR_BUCKETS; i++)
		for (struct neighbor *e = n->neighbors[i]; e != NULL; e = e->next)
			if (e->ifindex == l->ifindex)
				neighbor_report(n, l, e);
}

void
netlink_link_report(struct netlink *n, unsigned ifindex)
{
	const struct link *l = netlink_link_find(n, ifindex);

	if (l != NULL && l->kind != LINK_HOST && l->kind != LINK_BESIDE)
		link_neighbors_report(n, l);
}

/* The subnet-router anycast address of a global subnet. False: none. */
static bool
anycast_of(const struct address *a, struct ip_addr *out)
{
	struct prefix p = prefix_from_addr(&a->local, a->subnet.len);

	if (a->beside || a->local.afi != AFI_IPV6 || p.len == 0 || p.len > ANYCAST_BITS_MAX ||
		addr_is_link_local(&a->local))
		return false;
	*out = (struct ip_addr){.afi = AFI_IPV6};
	memcpy(out->b, p.b, sizeof(out->b));
	return !addr_is_unspecified(out);
}

/* The first address of a subnet brings the anycast address, and the last one takes it along. */
static void
anycast_pass(struct netlink *n, const struct link *l, const struct address *a, bool present)
{
	struct ip_addr any, other;
	struct address now = *a;

	now.beside = false; /* the port is removed */
	if (n->config.anycast == NULL || l->kind != LINK_PORT || !anycast_of(&now, &any))
		return;
	for (const struct address *o = n->addresses; o != NULL; o = o->next)
		if (o != a && o->ifindex == a->ifindex && anycast_of(o, &other) &&
			addr_equal(&any, &other))
			return;
	n->config.anycast(n->config.ctx, l->vrf, l->port, &any, present, false);
}

/* The kernel loses the routes of anycast addresses with a link that is set down. */
static void
anycast_repeat(struct netlink *n, const struct link *l)
{
	struct ip_addr any;

	for (const struct address *a = n->addresses; a != NULL; a = a->next)
		if (n->config.anycast != NULL && l->kind == LINK_PORT && a->ifindex == l->ifindex &&
			anycast_of(a, &any))
			n->config.anycast(n->config.ctx, l->vrf, l->port, &any, true, true);
}

/* Reports an address that was added to the list, or removed. */
static void
address_pass(struct netlink *n, const struct link *l, const struct address *a, bool present)
{
	n->config.address(n->config.ctx, l->vrf, l->port, &a->subnet, &a->local, present);
	anycast_pass(n, l, a, present);
	if (l->kind != LINK_HOST)
		link_neighbors_report(n, l);
}

static void
address_report(struct netlink *n, const struct address *a, bool present)
{
	const struct link *l = netlink_link_find(n, a->ifindex);

	n->own_again = true;
	if (l != NULL && !a->beside)
		address_pass(n, l, a, present);
}

static void
link_set(struct netlink *n, struct link *l, bool up, uint64_t read_ns)
{
	if (l->kind == LINK_HOST || l->kind == LINK_BESIDE || (l->reported && l->up == up))
		return;
	l->reported = true;
	l->up = up;
	n->config.link(n->config.ctx, l->port, up, read_ns);
	/* The link first: the loss of a link stops traffic to all neighbours at once. */
	link_neighbors_report(n, l);
	if (up)
		netlink_neighbors_request(n, l);
}

static struct neighbor **
neighbor_slot(struct netlink *n, unsigned ifindex, const struct ip_addr *addr)
{
	struct neighbor **p;

	p = &n->neighbors[addr_hash(addr, ifindex) & (NEIGHBOR_BUCKETS - 1)];
	while (*p != NULL && ((*p)->ifindex != ifindex || !addr_equal(&(*p)->addr, addr)))
		p = &(*p)->next;
	return p;
}

/* Finds or adds a neighbour. NULL: out of memory. */
struct neighbor *
netlink_neighbor_get(struct netlink *n, unsigned ifindex, const struct ip_addr *addr)
{
	struct neighbor **p = neighbor_slot(n, ifindex, addr), *e = *p;

	if (e != NULL)
		return e;
	e = arena_calloc(n->config.arena, sizeof(*e));
	if (e == NULL)
		return NULL;
	e->ifindex = ifindex;
	e->addr = *addr;
	e->epoch = n->epoch;
	*p = e;
	n->neighbor_count++;
	return e;
}

static void
neighbor_free(struct netlink *n, struct neighbor **slot)
{
	struct neighbor *e = *slot;

	*slot = e->next;
	n->neighbor_count--;
	netlink_neighbor_unlist(e);
	arena_free(n->config.arena, e);
}

void
netlink_neighbor_forget(struct netlink *n, struct neighbor *e)
{
	neighbor_free(n, neighbor_slot(n, e->ifindex, &e->addr));
}

/*
 * The kernel has removed the neighbour. A next hop stays and is requested again. True: removed from
 * the mirror, too.
 */
static bool
neighbor_gone(struct netlink *n, struct neighbor **slot)
{
	struct neighbor *e = *slot;
	const struct link *l = netlink_link_find(n, e->ifindex);

	e->usable = false;
	e->nud_state = NUD_NONE;
	if (l != NULL)
		neighbor_report(n, l, e);
	if (l != NULL && e->asked == ASKED_NEXT_HOP) {
		(void)netlink_neighbor_request(n, e);
		return false;
	}
	neighbor_free(n, slot);
	return true;
}

static bool
has_ipv4(const struct netlink *n, unsigned ifindex)
{
	const struct address *a = n->addresses;

	while (a != NULL && (a->ifindex != ifindex || a->local.afi != AFI_IPV4))
		a = a->next;
	return a != NULL;
}

static void
address_remove(struct netlink *n, struct address **slot)
{
	struct address *a = *slot;

	*slot = a->next;
	address_tell(n, a, false);
	address_report(n, a, false);
	/* The kernel may have dropped IPv4 routes with the address, without messages. */
	n->routes_again = true;
	if (a->local.afi == AFI_IPV4 && !has_ipv4(n, a->ifindex))
		own_routes_lost(n, a->ifindex, AFI_IPV4);
	arena_free(n->config.arena, a);
}

/*
 * After a dump: removes neighbours without an entry in the dump. With `ifindex`: removes all
 * neighbours of the interface.
 */
static void
neighbors_sweep(struct netlink *n, unsigned ifindex)
{
	for (unsigned i = 0; i < NEIGHBOR_BUCKETS; i++) {
		struct neighbor **p = &n->neighbors[i];

		while (*p != NULL) {
			bool gone =
				ifindex != 0 ? (*p)->ifindex == ifindex : (*p)->epoch != n->epoch;

			if (!gone || !neighbor_gone(n, p))
				p = &(*p)->next;
		}
	}
}

static void
addresses_sweep(struct netlink *n, unsigned ifindex)
{
	struct address **p = &n->addresses;

	while (*p != NULL) {
		if (ifindex != 0 ? (*p)->ifindex == ifindex : (*p)->epoch != n->epoch)
			address_remove(n, p);
		else
			p = &(*p)->next;
	}
}

static void
duplicates_sweep(struct netlink *n, unsigned ifindex)
{
	struct address **p = &n->duplicates, *a;

	while ((a = *p) != NULL) {
		if (ifindex != 0 ? a->ifindex != ifindex : a->epoch == n->epoch) {
			p = &a->next;
			continue;
		}
		*p = a->next;
		arena_free(n->config.arena, a);
	}
}

static void
link_gone(struct netlink *n, struct link **slot, uint64_t read_ns)
{
	struct link *l = *slot;

	interface_tell(n, l, l->told.present, false);
	link_set(n, l, false, read_ns);
	l->admin_up = false;
	n->routes_again = true;
	own_routes_lost(n, l->ifindex, AFI_NONE);
	neighbors_sweep(n, l->ifindex);
	addresses_sweep(n, l->ifindex);
	duplicates_sweep(n, l->ifindex);
	interface_tell(n, l, false, false);
	if (l->kind != LINK_OTHER && l->kind != LINK_BESIDE)
		return;
	*slot = l->next;
	link_free(n, l);
}

static void
links_sweep(struct netlink *n)
{
	struct link **p = &n->links;

	while (*p != NULL) {
		struct link *l = *p;

		if (l->epoch != n->epoch)
			link_gone(n, p, now_ns());
		if (*p == l)
			p = &l->next;
	}
}

/* ---- messages of the kernel ---- */

static int
collect_attribute(const struct nlattr *a, void *data)
{
	const struct nlattr **table = data;

	if (mnl_attr_get_type(a) < ATTRIBUTES_MAX)
		table[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

void
netlink_attributes(
	const struct nlmsghdr *h, size_t size, const struct nlattr *table[ATTRIBUTES_MAX])
{
	memset(table, 0, ATTRIBUTES_MAX * sizeof(*table));
	mnl_attr_parse(h, (unsigned)size, collect_attribute, table);
}

bool
netlink_attr_addr(const struct nlattr *a, uint8_t family, struct ip_addr *out)
{
	size_t len = family == AF_INET ? 4 : 16;

	*out = (struct ip_addr){.afi = family == AF_INET ? AFI_IPV4 : AFI_IPV6};
	if (a == NULL || mnl_attr_get_payload_len(a) != len)
		return false;
	memcpy(out->b, mnl_attr_get_payload(a), len);
	return true;
}

static struct link **
link_slot(struct netlink *n, unsigned ifindex)
{
	struct link **p = &n->links;

	while (*p != NULL && (*p)->ifindex != ifindex)
		p = &(*p)->next;
	return p;
}

/* Finds the link; adds a new link, and replaces a renamed link. NULL: no memory. */
static struct link *
link_named(struct netlink *n, unsigned ifindex, const char *name, uint64_t read_ns)
{
	struct link **p = link_slot(n, ifindex), *l = *p;

	if (l != NULL && (l->kind == LINK_OTHER || l->kind == LINK_BESIDE) &&
		l->zone != zone_intern(name)) {
		link_gone(n, p, read_ns);
		n->dump_again = true; /* link-local addresses have a new zone */
		l = NULL;
	}
	if (l == NULL)
		l = netlink_link_add(
			n, ifindex, name, n->config.forwards ? LINK_BESIDE : LINK_OTHER);
	return l;
}

static void
neighbors_repeat(struct netlink *n, const struct link *l)
{
	for (unsigned i = 0; i < NEIGHBOR_BUCKETS; i++)
		for (struct neighbor *e = n->neighbors[i]; e != NULL; e = e->next)
			if (e->ifindex == l->ifindex && e->reported)
				n->config.neighbor(
					n->config.ctx, l->vrf, l->port, &e->addr, e->reported_mac);
}

/*
 * Reports a new MAC address or MTU of a port, and the neighbours again if the callback requests a
 * report.
 */
static void
link_changed(struct netlink *n, struct link *l, const struct nlattr *const t[ATTRIBUTES_MAX])
{
	uint8_t mac[6] = {0};
	uint32_t mtu = 0;

	if (l->kind != LINK_PORT || n->config.changed == NULL)
		return;
	if (t[IFLA_ADDRESS] != NULL && mnl_attr_get_payload_len(t[IFLA_ADDRESS]) == sizeof(mac))
		memcpy(mac, mnl_attr_get_payload(t[IFLA_ADDRESS]), sizeof(mac));
	if (t[IFLA_MTU] != NULL && mnl_attr_validate(t[IFLA_MTU], MNL_TYPE_U32) == 0)
		mtu = mnl_attr_get_u32(t[IFLA_MTU]);
	if (mtu == l->mtu && memcmp(mac, l->mac, sizeof(mac)) == 0)
		return;
	l->mtu = mtu;
	memcpy(l->mac, mac, sizeof(mac));
	if (n->config.changed(n->config.ctx, l->port))
		neighbors_repeat(n, l);
}

static void
on_link(struct netlink *n, const struct nlmsghdr *h, uint64_t read_ns)
{
	const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *t[ATTRIBUTES_MAX];
	struct link *l;
	bool admin_up = m->ifi_flags & IFF_UP;

	/* a message of a bridge about a bridge port, not about the link */
	if (m->ifi_family != AF_UNSPEC)
		return;
	if (h->nlmsg_type == RTM_DELLINK) {
		struct link **p = link_slot(n, (unsigned)m->ifi_index);

		if (*p != NULL)
			link_gone(n, p, read_ns);
		return;
	}
	netlink_attributes(h, sizeof(*m), t);
	if (t[IFLA_IFNAME] == NULL || mnl_attr_validate(t[IFLA_IFNAME], MNL_TYPE_NUL_STRING) < 0)
		return;
	l = link_named(n, (unsigned)m->ifi_index, mnl_attr_get_str(t[IFLA_IFNAME]), read_ns);
	if (l == NULL)
		return;
	l->epoch = n->epoch;
	interface_tell(n, l, true, admin_up && (m->ifi_flags & IFF_RUNNING));
	link_changed(n, l, t);
	link_set(n, l, admin_up && (m->ifi_flags & IFF_RUNNING), read_ns);
	if (l->admin_up && !admin_up) {
		n->routes_again = true;
		own_routes_lost(n, l->ifindex, AFI_NONE);
	}
	if (!l->admin_up && admin_up)
		anycast_repeat(n, l);
	n->own_again |= l->admin_up != admin_up;
	l->admin_up = admin_up;
}

static void links_read(struct netlink *n);

/*
 * Finds the link for an address or neighbour message. The kernel has sent the link message earlier;
 * it may still be queued on the socket for links.
 */
static struct link *
link_of(struct netlink *n, unsigned ifindex)
{
	struct link *l = netlink_link_find(n, ifindex);

	if (l == NULL) {
		links_read(n);
		l = netlink_link_find(n, ifindex);
	}
	return l;
}

/* False: not a usable address. out->ifindex is set if the message concerns a link in the mirror. */
static bool
address_parse(struct netlink *n, const struct nlmsghdr *h, struct address *out)
{
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *t[ATTRIBUTES_MAX];
	struct link *l;
	struct ip_addr local, far;
	uint32_t flags = m->ifa_flags;
	uint8_t len = m->ifa_prefixlen;

	if ((m->ifa_family != AF_INET && m->ifa_family != AF_INET6) ||
		(l = link_of(n, m->ifa_index)) == NULL)
		return false;
	netlink_attributes(h, sizeof(*m), t);
	/*
	 * On a point-to-point link IFA_ADDRESS is the address of the far end, and gives the subnet.
	 */
	if (!netlink_attr_addr(t[IFA_ADDRESS], m->ifa_family, &far))
		return false;
	if (!netlink_attr_addr(t[IFA_LOCAL], m->ifa_family, &local))
		local = far;
	if (t[IFA_FLAGS] != NULL && mnl_attr_validate(t[IFA_FLAGS], MNL_TYPE_U32) == 0)
		flags = mnl_attr_get_u32(t[IFA_FLAGS]);
	netlink_zone_set(l, &local);
	if (l->kind == LINK_HOST) {
		far = local;
		len = (uint8_t)prefix_max_len(local.afi);
	}
	*out = (struct address){
		.ifindex = m->ifa_index,
		.local = local,
		.subnet = prefix_from_addr(&far, len),
		.tentative = flags & IFA_F_TENTATIVE,
		.host_scope = m->ifa_scope == RT_SCOPE_HOST,
		.beside = m->ifa_scope == RT_SCOPE_HOST || l->kind == LINK_BESIDE,
		.epoch = n->epoch,
	};
	/* RFC 4862 5.4.5: a duplicate address is not usable. */
	return !(flags & IFA_F_DADFAILED) || h->nlmsg_type == RTM_DELADDR;
}

static struct address **
address_slot(struct address **list, const struct address *a)
{
	struct address **p = list;

	while (*p != NULL && ((*p)->ifindex != a->ifindex || !addr_equal(&(*p)->local, &a->local) ||
				     !prefix_equal(&(*p)->subnet, &a->subnet)))
		p = &(*p)->next;
	return p;
}

/*
 * Keeps and logs an address of a port or of the TUN that the kernel does not use. `duplicate` false: the
 * address is good again, or removed.
 */
static void
duplicate_note(struct netlink *n, const struct address *a, bool duplicate)
{
	const struct link *l = netlink_link_find(n, a->ifindex);
	struct address **p = address_slot(&n->duplicates, a), *gone = *p;
	char text[ADDR_TEXT_MAX];

	if (gone != NULL && !duplicate) {
		*p = gone->next;
		log_event(LOG_INFO, "duplicate-address-ended interface=%s address=%s",
			l != NULL ? zone_name(l->zone) : "", addr_format(&a->local, text));
		arena_free(n->config.arena, gone);
		return;
	}
	if (gone != NULL)
		gone->epoch = n->epoch;
	if (gone != NULL || !duplicate || l == NULL || l->kind == LINK_BESIDE)
		return;
	*p = arena_alloc(n->config.arena, sizeof(**p));
	if (*p == NULL) {
		n->dump_again = true;
		return;
	}
	**p = *a;
	(*p)->next = NULL;
	log_event(LOG_ERROR,
		"duplicate-address interface=%s address=%s text=\"another machine on the link has "
		"the address: remove it there, or here, and add it again%s\"",
		zone_name(l->zone), addr_format(&a->local, text),
		addr_is_link_local(&a->local) ? "; no IPv6 neighbour is resolved without it" : "");
}

static void
on_address(struct netlink *n, const struct nlmsghdr *h)
{
	struct address seen, **p, *a;
	bool usable;

	seen.ifindex = 0;
	usable = address_parse(n, h, &seen);
	if (seen.ifindex == 0)
		return;
	p = address_slot(&n->addresses, &seen);
	duplicate_note(n, &seen, !usable);
	if (!usable || h->nlmsg_type == RTM_DELADDR) {
		if (*p != NULL)
			address_remove(n, p);
		return;
	}
	a = *p;
	if (a != NULL) {
		bool settled = a->tentative && !seen.tentative;
		const struct link *l = netlink_link_find(n, a->ifindex);

		a->epoch = n->epoch;
		a->tentative = seen.tentative;
		address_tell(n, a, !a->tentative);
		/*
		 * RFC 4861 7.2.2: the kernel could not resolve neighbours without a source address.
		 */
		if (settled && l != NULL)
			netlink_neighbors_request(n, l);
		return;
	}
	a = arena_alloc(n->config.arena, sizeof(*a));
	if (a == NULL) {
		n->dump_again = true;
		return;
	}
	*a = seen;
	a->next = NULL;
	*p = a;
	address_tell(n, a, !a->tentative);
	address_report(n, a, true);
}

/*
 * RFC 1812 3.3.2: refuses link-layer broadcast and multicast addresses, which would flood the
 * datagrams.
 */
static bool
neighbor_mac(const struct nlattr *a, uint8_t mac[6])
{
	static const uint8_t zero[6];

	if (a == NULL || mnl_attr_get_payload_len(a) != 6)
		return false;
	memcpy(mac, mnl_attr_get_payload(a), 6);
	return !(mac[0] & 1) && memcmp(mac, zero, 6) != 0;
}

static bool
is_managed(const struct nlattr *flags_ext)
{
	return flags_ext != NULL && mnl_attr_validate(flags_ext, MNL_TYPE_U32) == 0 &&
	       (mnl_attr_get_u32(flags_ext) & NTF_EXT_MANAGED);
}

static void
on_neighbor(struct netlink *n, const struct nlmsghdr *h)
{
	const struct ndmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *t[ATTRIBUTES_MAX];
	const struct link *l;
	struct neighbor *e;
	struct ip_addr addr;

	if ((m->ndm_family != AF_INET && m->ndm_family != AF_INET6) || (m->ndm_flags & NTF_PROXY) ||
		(l = link_of(n, (unsigned)m->ndm_ifindex)) == NULL || l->kind == LINK_HOST ||
		l->kind == LINK_BESIDE)
		return;
	netlink_attributes(h, sizeof(*m), t);
	if (!netlink_attr_addr(t[NDA_DST], m->ndm_family, &addr))
		return;
	netlink_zone_set(l, &addr);
	if (h->nlmsg_type == RTM_DELNEIGH) {
		struct neighbor **p = neighbor_slot(n, l->ifindex, &addr);

		if (*p != NULL)
			(void)neighbor_gone(n, p);
		return;
	}
	e = netlink_neighbor_get(n, l->ifindex, &addr);
	if (e == NULL) {
		n->dump_again = true;
		return;
	}
	e->epoch = n->epoch;
	e->nud_state = m->ndm_state;
	/*
	 * STALE is usable, because the kernel does not see forwarded packets. FAILED and INCOMPLETE
	 * are not usable.
	 */
	e->usable = neighbor_mac(t[NDA_LLADDR], e->mac) && (m->ndm_state & NUD_USABLE);
	neighbor_report(n, l, e);
	if (n->adopt && e->asked == ASKED_NOT && is_managed(t[NDA_FLAGS_EXT]))
		netlink_asked_set(n, e, ASKED_FOLLOW);
	netlink_neighbor_follow(n, e);
}

/* ---- dumps ---- */

static int
dump_request(struct netlink *n, enum dump what)
{
	static const uint16_t types[] = {
		[DUMP_LINKS] = RTM_GETLINK,
		[DUMP_ADDRESSES] = RTM_GETADDR,
		[DUMP_NEIGHBORS] = RTM_GETNEIGH,
		[DUMP_ROUTES] = RTM_GETROUTE,
	};
	static const size_t sizes[] = {
		[DUMP_LINKS] = sizeof(struct ifinfomsg),
		[DUMP_ADDRESSES] = sizeof(struct ifaddrmsg),
		[DUMP_NEIGHBORS] = sizeof(struct ndmsg),
		[DUMP_ROUTES] = sizeof(struct rtmsg),
	};
	char buffer[128] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);

	h->nlmsg_type = types[what];
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = n->dump_seq = ++n->seq;
	mnl_nlmsg_put_extra_header(h, sizes[what]);
	if (what == DUMP_ROUTES)
		n->routes_again = false;
	if (mnl_socket_sendto(what == DUMP_LINKS ? n->link_events : n->events, h, h->nlmsg_len) < 0)
		return -errno;
	n->dump = what;
	return 0;
}

/*
 * Dumps all tables in a new epoch, to remove entries of older epochs. Links first: the loss of a
 * link stops most traffic.
 */
static int
dump_begin(struct netlink *n)
{
	n->dump_again = false;
	n->epoch++;
	return dump_request(n, DUMP_LINKS);
}

/*
 * Ends a complete dump of a table and requests the next dump. A refused request is repeated after
 * the next message.
 */
static void
dump_next(struct netlink *n)
{
	int rc = 0;

	switch (n->dump) {
	case DUMP_LINKS:
		links_sweep(n);
		rc = dump_request(n, DUMP_ADDRESSES);
		break;
	case DUMP_ADDRESSES:
		addresses_sweep(n, 0);
		duplicates_sweep(n, 0);
		n->loaded = true;
		if (n->guard != NULL)
			own_routes_read(n);
		rc = dump_request(n, DUMP_NEIGHBORS);
		break;
	case DUMP_NEIGHBORS:
		neighbors_sweep(n, 0);
		n->adopt = false;
		n->dump = DUMP_NONE;
		if (n->routes != NULL)
			rc = dump_request(n, DUMP_ROUTES);
		break;
	case DUMP_ROUTES:
		route_mirror_sweep(n);
		n->dump = DUMP_NONE;
		break;
	case DUMP_NONE:
	default:
		return;
	}
	if (rc != 0) {
		n->dump = DUMP_NONE;
		n->dump_again = true;
	}
}

static void
dump_done(struct netlink *n, bool whole)
{
	if (whole && !n->dump_again) {
		dump_next(n);
		return;
	}
	/* an incomplete dump removes nothing */
	n->dump = DUMP_NONE;
	n->dump_again = true;
}

static void
on_message(struct netlink *n, const struct nlmsghdr *h, uint64_t read_ns)
{
	if (h->nlmsg_flags & NLM_F_DUMP_INTR)
		n->dump_again = true;
	switch (h->nlmsg_type) {
	case NLMSG_DONE:
	case NLMSG_ERROR:
		if (n->dump != DUMP_NONE && h->nlmsg_seq == n->dump_seq)
			dump_done(n, h->nlmsg_type == NLMSG_DONE);
		break;
	case RTM_NEWLINK:
	case RTM_DELLINK:
		on_link(n, h, read_ns);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		on_address(n, h);
		break;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		on_neighbor(n, h);
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		route_mirror_message(n, h);
		break;
	case RTM_DELNEXTHOP:
		n->routes_again = true; /* IPv4 routes are dropped, too, without messages */
		break;
	default:
		break;
	}
}

static size_t
header_size(uint16_t type)
{
	switch (type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return sizeof(struct ifinfomsg);
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return sizeof(struct ifaddrmsg);
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		return sizeof(struct ndmsg);
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return sizeof(struct rtmsg);
	default:
		return 0;
	}
}

static void
on_overrun(struct netlink *n)
{
	n->dump_again = true;
	atomic_store_explicit(&n->overruns,
		atomic_load_explicit(&n->overruns, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* Reads a datagram. False: the socket is empty. */
static bool
read_one(struct netlink *n, struct mnl_socket *s, char buffer[MESSAGE_MAX])
{
	ssize_t received = mnl_socket_recvfrom(s, buffer, MESSAGE_MAX);
	const struct nlmsghdr *h = (const struct nlmsghdr *)buffer;
	uint64_t read_ns = now_ns();
	int len = (int)received;

	if (received < 0 && errno == ENOBUFS)
		on_overrun(n); /* the kernel dropped messages */
	else if (received <= 0 && errno != EINTR)
		return false;
	for (; received > 0 && mnl_nlmsg_ok(h, len); h = mnl_nlmsg_next(h, &len))
		if (mnl_nlmsg_get_payload_len(h) >= header_size(h->nlmsg_type))
			on_message(n, h, read_ns);
	return true;
}

static void
links_read(struct netlink *n)
{
	for (unsigned i = 0; i < MESSAGES_PER_TURN; i++)
		if (!read_one(n, n->link_events, n->link_buffer))
			break;
}

/* Reads both sockets. Events are level-triggered: the next turn reads the rest. */
static void
events_read(struct netlink *n)
{
	for (unsigned i = 0; i < MESSAGES_PER_TURN; i++) {
		/* the loss of a link before all other queued messages */
		links_read(n);
		if (!read_one(n, n->events, n->buffer))
			break;
	}
	own_routes_sync(n);
	if (n->dump != DUMP_NONE)
		return;
	if (n->dump_again && dump_begin(n) != 0)
		n->dump_again = true;
	else if (n->dump == DUMP_NONE && n->routes_again && n->routes != NULL) {
		n->epoch++;
		if (dump_request(n, DUMP_ROUTES) != 0)
			n->routes_again = true;
	}
}

static void
on_links_ready(struct watch *w, uint32_t events)
{
	(void)events;
	events_read((struct netlink *)((char *)w - offsetof(struct netlink, link_watch)));
}

static void
on_ready(struct watch *w, uint32_t events)
{
	(void)events;
	note_work("kernel's messages");
	events_read((struct netlink *)((char *)w - offsetof(struct netlink, watch)));
}

/* ---- ports at run time ---- */

/* A dump under way may be past the addresses: it is repeated. */
static void
dump_soon(struct netlink *n)
{
	n->dump_again = true;
	if (n->dump == DUMP_NONE)
		(void)dump_begin(n);
}

/* The interface is a port now, or no longer; sessions have the addresses in both cases. */
static void
addresses_beside(struct netlink *n, const struct link *l, bool beside)
{
	for (struct address *a = n->addresses; a != NULL; a = a->next) {
		if (a->ifindex != l->ifindex || a->host_scope || a->beside == beside)
			continue;
		a->beside = beside; /* before netlink_is_local() is asked */
		n->own_again = true;
		address_pass(n, l, a, !beside);
	}
}

int
netlink_port_add(struct netlink *n, const struct netlink_port *p)
{
	struct link **slot = link_slot(n, p->ifindex), *l = *slot;

	/* the zone of a port has the name of the port */
	if (l != NULL && l->zone != zone_intern(p->name)) {
		link_gone(n, slot, now_ns());
		l = NULL;
	}
	if (l == NULL)
		l = netlink_link_add(n, p->ifindex, p->name, LINK_PORT);
	if (l == NULL)
		return -ENOMEM;
	l->kind = LINK_PORT;
	l->port = p->port;
	l->vrf = p->vrf;
	l->epoch = n->epoch;
	l->reported = false;
	n->own_again = true;
	addresses_beside(n, l, false);
	route_mirror_repeat(n, l->ifindex);
	dump_soon(n);
	return 0;
}

int
netlink_tun_set(struct netlink *n, const char *name, unsigned ifindex)
{
	struct link *was = netlink_link_find(n, n->tun_ifindex), *l = *link_slot(n, ifindex);

	if (was != NULL && n->tun_ifindex != ifindex) {
		addresses_beside(n, was, true);
		was->kind = LINK_BESIDE; /* removed by the next dump */
	}
	n->tun_ifindex = ifindex;
	if (ifindex != 0 && l == NULL &&
		(l = netlink_link_add(n, ifindex, name, LINK_HOST)) == NULL)
		return -ENOMEM;
	if (l != NULL && l->kind != LINK_HOST) {
		l->kind = LINK_HOST;
		l->epoch = n->epoch;
		addresses_beside(n, l, false);
	}
	n->own_again = true;
	if (n->loaded || n->dump != DUMP_NONE)
		dump_soon(n);
	return 0;
}

static struct link **
link_slot_of_port(struct netlink *n, uint16_t port)
{
	struct link **p = &n->links;

	while (*p != NULL && ((*p)->port != port || (*p)->kind != LINK_PORT))
		p = &(*p)->next;
	return p;
}

void
netlink_port_remove(struct netlink *n, uint16_t port)
{
	struct link *l = *link_slot_of_port(n, port);

	if (l == NULL)
		return;
	/* also a link that was never reported: the number may have been another port's */
	l->reported = false;
	link_set(n, l, false, now_ns());
	netlink_neighbors_forget(n, l);
	addresses_beside(n, l, true);
	n->routes_again = true;
	l->kind = LINK_BESIDE;
	l->port = PORT_NONE;
	n->own_again = true;
	own_routes_sync(n);
	route_mirror_repeat(n, l->ifindex);
}

int
netlink_port_guard(struct netlink *n, const struct netlink_port *p)
{
	int rc = n->guard != NULL ? netns_enter(n->config.netns) : 0;

	if (n->guard == NULL || rc != 0)
		return rc;
	rc = port_guard_add(n->guard, p);
	netns_leave(n->config.netns);
	return rc;
}

void
netlink_port_unguard(struct netlink *n, const char *iface)
{
	if (n->guard == NULL || netns_enter(n->config.netns) != 0)
		return;
	port_guard_remove(n->guard, iface);
	netns_leave(n->config.netns);
}

void
netlink_addresses_repeat(
	struct netlink *n, void (*local)(void *ctx, const struct ip_addr *addr), void *ctx)
{
	for (const struct address *a = n->addresses; a != NULL; a = a->next)
		if (!a->beside)
			local(ctx, &a->local);
	for (const struct link *l = n->links; l != NULL; l = l->next)
		anycast_repeat(n, l);
}

void
netlink_ports_repeat(struct netlink *n)
{
	for (const struct link *l = n->links; l != NULL; l = l->next) {
		if (l->kind != LINK_PORT || n->config.changed == NULL)
			continue;
		(void)n->config.changed(n->config.ctx, l->port);
		neighbors_repeat(n, l);
	}
	n->own_again = true;
	own_routes_sync(n);
}

/* ---- life ---- */

static int
open_socket(struct mnl_socket **out, int flags, unsigned groups)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | flags);
	int rc;

	if (s == NULL)
		return -errno;
	if (mnl_socket_bind(s, groups, MNL_SOCKET_AUTOPID) != 0) {
		rc = -errno;
		mnl_socket_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

static unsigned
group_bit(unsigned group)
{
	return 1u << (group - 1);
}

static int
open_events(struct mnl_socket **out, unsigned groups, struct watch *w)
{
	int size = RECEIVE_BUFFER, fd, rc;

	rc = open_socket(out, SOCK_NONBLOCK, groups);
	if (rc != 0)
		return rc;
	fd = mnl_socket_get_fd(*out);
	/*
	 * With CAP_NET_ADMIN beyond the limit of the system, else up to the limit. After an
	 * overrun the mirror needs a complete dump.
	 */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	w->fd = fd;
	return 0;
}

static int
open_all(struct netlink *n)
{
	unsigned groups = group_bit(RTNLGRP_NEIGH) | group_bit(RTNLGRP_IPV4_IFADDR) |
			  group_bit(RTNLGRP_IPV6_IFADDR);
	int rc;

	if (n->config.route != NULL)
		groups |= group_bit(RTNLGRP_IPV4_ROUTE) | group_bit(RTNLGRP_IPV6_ROUTE) |
			  group_bit(RTNLGRP_NEXTHOP);
	n->link_watch.ready = on_links_ready;
	n->watch.ready = on_ready;
	rc = open_events(&n->link_events, group_bit(RTNLGRP_LINK), &n->link_watch);
	if (rc == 0)
		rc = open_events(&n->events, groups, &n->watch);
	if (rc == 0)
		rc = open_socket(&n->main_requests, 0, 0);
	if (rc == 0)
		rc = open_socket(&n->host_requests, 0, 0);
	return rc;
}

static int
copy_ports(struct netlink *n)
{
	struct zone_port zoned[ZONES_PORTS_MAX];
	unsigned lo = if_nametoindex("lo"), count = 0;

	for (unsigned i = 0; i < n->config.port_count; i++) {
		const struct netlink_port *p = &n->config.ports[i];
		struct link *l = netlink_link_add(n, p->ifindex, p->name, LINK_PORT);

		if (l == NULL)
			return -ENOMEM;
		l->port = p->port;
		l->vrf = p->vrf;
		if (count < ZONES_PORTS_MAX)
			zoned[count++] = (struct zone_port){p->ifindex, l->zone};
	}
	if (n->config.vrf.v == VRF_DEFAULT.v)
		zones_set_ports(zoned, count);
	if (n->config.forwards && lo != 0 && netlink_link_add(n, lo, "lo", LINK_HOST) == NULL)
		return -ENOMEM;
	return 0;
}

/* In the namespace. */
static int
open_here(struct netlink *n)
{
	const struct netlink_config *c = &n->config;
	int rc = copy_ports(n);

	if (rc == 0)
		rc = open_all(n);
	if (rc == 0 && c->route != NULL)
		rc = route_mirror_create(n, &n->routes);
	if (rc == 0 && (c->vrf.v == VRF_DEFAULT.v || c->forwards))
		rc = port_guard_create(c->arena, n->main_requests, c, &n->guard);
	return rc;
}

int
netlink_create(const struct netlink_config *c, struct netlink **out)
{
	struct netlink *n = arena_calloc(c->arena, sizeof(*n));
	int rc;

	if (n == NULL)
		return -ENOMEM;
	n->config = *c;
	n->room = c->room != NULL ? c->room : &n->own_room;
	if (c->room == NULL)
		netlink_room_init(n->room);
	rc = netns_enter(c->netns);
	if (rc == 0) {
		rc = open_here(n);
		netns_leave(c->netns);
	}
	n->config.ports = NULL; /* lent; links and guard have copies */
	n->adopt = n->guard != NULL && port_guard_killed(n->guard);
	if (rc != 0) {
		netlink_destroy(n, false);
		return rc;
	}
	*out = n;
	return 0;
}

static void
mirror_free(struct netlink *n)
{
	for (unsigned i = 0; i < NEIGHBOR_BUCKETS; i++) {
		for (struct neighbor *e = n->neighbors[i], *next; e != NULL; e = next) {
			next = e->next;
			netlink_neighbor_unlist(e);
			arena_free(n->config.arena, e);
		}
	}
	for (struct link *l = n->links, *next; l != NULL; l = next) {
		next = l->next;
		arena_free(n->config.arena, l);
	}
	n->links = NULL;
	for (struct address *a = n->addresses, *next; a != NULL; a = next) {
		next = a->next;
		arena_free(n->config.arena, a);
	}
	while (n->duplicates != NULL)
		duplicates_sweep(n, n->duplicates->ifindex);
	if (n->routes != NULL)
		route_mirror_destroy(n, n->routes);
}

void
netlink_destroy(struct netlink *n, bool keep)
{
	struct mnl_socket *sockets[] = {
		n->link_events, n->events, n->main_requests, n->host_requests};

	own_routes_end(n, !keep);
	if (n->guard != NULL && keep) {
		port_guard_keep(n->guard);
	} else if (n->guard != NULL) {
		/* in a different namespace the settings of other interfaces would change */
		bool here = netns_enter(n->config.netns) == 0;

		port_guard_destroy(n->guard, here);
		if (here)
			netns_leave(n->config.netns);
	}
	netlink_room_leave(n);
	if (n->host_requests != NULL && !keep)
		netlink_neighbors_unmanage(n);
	mirror_free(n);
	for (unsigned i = 0; i < sizeof(sockets) / sizeof(sockets[0]); i++)
		if (sockets[i] != NULL)
			mnl_socket_close(sockets[i]);
	arena_free(n->config.arena, n);
}

/* Waits for the links and addresses of the first dump; a mirror that is late continues without. */
static void
load(struct netlink *n)
{
	uint64_t until = now_ns() + LOAD_NS;
	struct pollfd fds[] = {
		{.fd = n->link_watch.fd, .events = POLLIN}, {.fd = n->watch.fd, .events = POLLIN}};

	while (!n->loaded && now_ns() < until) {
		if (poll(fds, sizeof(fds) / sizeof(fds[0]), LOAD_POLL_MS) < 0 && errno != EINTR)
			return;
		events_read(n);
	}
}

int
netlink_start(struct netlink *n, struct thread *self)
{
	int rc = watch_set(self, &n->link_watch, EPOLLIN);

	if (rc == 0)
		rc = watch_set(self, &n->watch, EPOLLIN);
	if (rc != 0)
		return rc;
	n->thread = self;
	netlink_room_join(n);
	rc = dump_begin(n);
	if (rc == 0)
		load(n);
	return rc;
}

void
netlink_stop(struct netlink *n)
{
	struct address *a;
	struct link *l;

	if (n->thread == NULL)
		return;
	(void)watch_set(n->thread, &n->link_watch, 0);
	(void)watch_set(n->thread, &n->watch, 0);
	timer_cancel(n->thread, &n->turns);
	netlink_room_leave(n);
	if (n->routes != NULL)
		route_mirror_clear(n);
	while ((a = n->addresses) != NULL) {
		n->addresses = a->next;
		address_tell(n, a, false);
		address_report(n, a, false);
		arena_free(n->config.arena, a);
	}
	/* the lists go with the links */
	for (unsigned i = 0; i < NEIGHBOR_BUCKETS; i++) {
		for (struct neighbor *e = n->neighbors[i]; e != NULL; e = e->next) {
			if (netlink_neighbor_unasked(e))
				e->asked = ASKED_NOT; /* nothing to end in the kernel */
			netlink_neighbor_unlist(e);
		}
	}
	while ((l = n->links) != NULL) {
		interface_tell(n, l, false, false);
		n->links = l->next;
		link_free(n, l);
	}
	n->thread = NULL;
}

/* ---- queries ---- */

bool
netlink_is_local(const struct netlink *n, struct vrf_id vrf, const struct ip_addr *addr)
{
	for (const struct address *a = n->addresses; a != NULL; a = a->next) {
		const struct link *l = netlink_link_find(n, a->ifindex);

		if (l != NULL && l->vrf.v == vrf.v && !a->beside && addr_equal(&a->local, addr))
			return true;
	}
	return false;
}

/* The rank of an address as the source on a port; 0: not usable. */
static unsigned
source_rank(const struct link *l, const struct address *a, uint16_t port)
{
	bool link_local = addr_is_link_local(&a->local);

	if (l->port == port && l->kind != LINK_HOST)
		return a->tentative ? 1 : link_local ? 2 : 4;
	return l->kind == LINK_HOST && !link_local ? 3 : 0;
}

bool
netlink_source(const struct netlink *n, struct vrf_id vrf, uint16_t port, enum afi afi,
	struct ip_addr *out)
{
	unsigned best = 0;

	for (const struct address *a = n->addresses; a != NULL; a = a->next) {
		const struct link *l = netlink_link_find(n, a->ifindex);
		unsigned rank;

		if (l == NULL || l->vrf.v != vrf.v || a->local.afi != afi || a->beside)
			continue;
		rank = source_rank(l, a, port);
		if (rank > best) {
			best = rank;
			*out = a->local;
		}
	}
	return best > 0;
}

unsigned
netlink_duplicates(const struct netlink *n, struct netlink_duplicate *out, unsigned max)
{
	unsigned count = 0;

	for (const struct address *a = n->duplicates; a != NULL; a = a->next) {
		const struct link *l = netlink_link_find(n, a->ifindex);

		if (l != NULL && l->port != PORT_NONE && count < max)
			out[count++] = (struct netlink_duplicate){l->port, a->local};
	}
	return count;
}

unsigned
netlink_neighbors(struct netlink *n, struct netlink_neighbor *out, unsigned max)
{
	unsigned count = 0;

	for (unsigned i = 0; i < NEIGHBOR_BUCKETS; i++) {
		for (const struct neighbor *e = n->neighbors[i]; e != NULL; e = e->next) {
			const struct link *l = netlink_link_find(n, e->ifindex);

			if (l == NULL || count++ >= max)
				continue;
			out[count - 1] = (struct netlink_neighbor){.vrf = l->vrf,
				.port = l->port,
				.addr = e->addr,
				.nud_state = e->nud_state};
			memcpy(out[count - 1].mac, e->mac, sizeof(e->mac));
		}
	}
	return count;
}

unsigned
netlink_faults(const struct netlink *n, struct netlink_fault *out, unsigned max)
{
	return n->guard != NULL ? port_guard_faults(n->guard, out, max) : 0;
}

uint64_t
netlink_overruns(const struct netlink *n)
{
	return atomic_load_explicit(&n->overruns, memory_order_relaxed);
}
