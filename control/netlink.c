/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/netlink.h"
#include "control/netlink_impl.h"
#include "control/threads.h"
#include "lpm/arena.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#ifndef NTF_EXT_MANAGED
#define NTF_EXT_MANAGED (1 << 0)
#endif

#define NUD_USABLE (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP)
#define RECEIVE_BUFFER (8 << 20)
#define MESSAGES_PER_TURN 64
#define MESSAGE_MAX 32768 /* what the kernel packs a dump into */
#define NEIGHBOR_BUCKETS 1024 /* a power of two */

enum dump { DUMP_NONE, DUMP_LINKS, DUMP_ADDRESSES, DUMP_NEIGHBORS };

/* An interface that counts. */
struct link {
	struct link *next;
	unsigned ifindex;
	uint16_t port;
	struct vrf_id vrf;
	bool configured; /* one of config.ports: stays when the kernel's goes */
	bool told, up;
	uint32_t epoch; /* of the dump that saw it last */
};

struct address {
	struct address *next;
	unsigned ifindex;
	struct ip_addr local;
	struct prefix subnet;
	uint32_t epoch;
};

/* How the kernel was asked for a neighbour. */
enum asked {
	ASKED_NOT, /* not by us */
	ASKED_GLEAN, /* once, for a packet: whoever sends to all addresses of a subnet makes one for each */
	ASKED_FOLLOW, /* it answered, so that it is kept resolved until it does not */
	ASKED_NEXT_HOP, /* routes lead there: kept resolved, and asked for as long as it does not answer */
};

struct neighbor {
	struct neighbor *next;
	unsigned ifindex;
	struct ip_addr addr;
	uint8_t mac[6];
	uint16_t nud_state;
	enum asked asked;
	bool usable; /* what the kernel says */
	bool told; /* what the callback was told last */
	uint8_t told_mac[6];
	uint32_t epoch;
};

/* Writer: the host thread from netlink_start on; main before, and after the host thread has ended. */
struct netlink {
	struct netlink_config config;
	struct thread *thread;
	struct watch watch;
	struct mnl_socket *events;
	struct mnl_socket *main_requests, *host_requests; /* one a thread */
	struct port_guard *guard;
	uint32_t seq, dump_seq;
	enum dump dump;
	bool dump_again; /* something was lost since it began */
	uint32_t epoch;
	struct link *links;
	struct address *addresses;
	struct neighbor *neighbors[NEIGHBOR_BUCKETS];
	unsigned neighbor_count;
	_Atomic uint64_t overruns;
	char buffer[MESSAGE_MAX];
};

/* ---- the mirror ---- */

static struct link *
link_find(const struct netlink *n, unsigned ifindex)
{
	for (struct link *l = n->links; l != NULL; l = l->next)
		if (l->ifindex == ifindex)
			return l;
	return NULL;
}

static struct link *
link_add(struct netlink *n, unsigned ifindex, uint16_t port, struct vrf_id vrf)
{
	struct link *l = arena_calloc(n->config.arena, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->ifindex = ifindex;
	l->port = port;
	l->vrf = vrf;
	l->next = n->links;
	n->links = l;
	return l;
}

/* The kernel keeps what it learned in a subnet that has left the interface. */
static bool
on_link_subnet(const struct netlink *n, unsigned ifindex, const struct ip_addr *addr)
{
	for (const struct address *a = n->addresses; a != NULL; a = a->next)
		if (a->ifindex == ifindex && prefix_contains(&a->subnet, addr))
			return true;
	return false;
}

/* Tells what holds now, if something else was told: usable on a link that is up and has its subnet, or lost. */
static void
neighbor_tell(struct netlink *n, const struct link *l, struct neighbor *e)
{
	bool good = e->usable && l->up && on_link_subnet(n, l->ifindex, &e->addr);

	if (good && !(e->told && memcmp(e->told_mac, e->mac, sizeof(e->mac)) == 0)) {
		e->told = true;
		memcpy(e->told_mac, e->mac, sizeof(e->mac));
		n->config.neighbor(n->config.ctx, l->vrf, l->port, &e->addr, e->mac);
	} else if (!good && e->told) {
		e->told = false;
		n->config.neighbor(n->config.ctx, l->vrf, l->port, &e->addr, NULL);
	}
}

static void
link_neighbors_tell(struct netlink *n, const struct link *l)
{
	for (unsigned i = 0; i < NEIGHBOR_BUCKETS; i++)
		for (struct neighbor *e = n->neighbors[i]; e != NULL; e = e->next)
			if (e->ifindex == l->ifindex)
				neighbor_tell(n, l, e);
}

/* `a` is in the list, or not in it any more. */
static void
address_tell(struct netlink *n, const struct address *a, bool present)
{
	const struct link *l = link_find(n, a->ifindex);

	if (l == NULL)
		return;
	n->config.address(n->config.ctx, l->vrf, l->port, &a->subnet, &a->local, present);
	link_neighbors_tell(n, l);
}

static void
link_set(struct netlink *n, struct link *l, bool up)
{
	if (l->told && l->up == up)
		return;
	l->told = true;
	l->up = up;
	n->config.link(n->config.ctx, l->port, up, now_ns());
	/* After it: on loss the one word about the link has already stopped what the many would. */
	link_neighbors_tell(n, l);
}

static struct neighbor **
neighbor_slot(struct netlink *n, unsigned ifindex, const struct ip_addr *addr)
{
	uint64_t w[2];
	struct neighbor **p;

	memcpy(w, addr->b, sizeof(w));
	p = &n->neighbors[hash_mix(w[0] ^ hash_mix(w[1] + ifindex)) & (NEIGHBOR_BUCKETS - 1)];
	while (*p != NULL && ((*p)->ifindex != ifindex || !addr_equal(&(*p)->addr, addr)))
		p = &(*p)->next;
	return p;
}

/* Found or made. NULL: out of memory. */
static struct neighbor *
neighbor_get(struct netlink *n, unsigned ifindex, const struct ip_addr *addr)
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
neighbor_remove(struct netlink *n, struct neighbor **slot)
{
	struct neighbor *e = *slot;
	const struct link *l = link_find(n, e->ifindex);

	e->usable = false;
	if (l != NULL)
		neighbor_tell(n, l, e);
	*slot = e->next;
	n->neighbor_count--;
	arena_free(n->config.arena, e);
}

static void
address_remove(struct netlink *n, struct address **slot)
{
	struct address *a = *slot;

	*slot = a->next;
	address_tell(n, a, false);
	arena_free(n->config.arena, a);
}

/* Removes what the dump that ends did not see (or, with `ifindex`, all of that interface). */
static void
neighbors_sweep(struct netlink *n, unsigned ifindex)
{
	for (unsigned i = 0; i < NEIGHBOR_BUCKETS; i++) {
		struct neighbor **p = &n->neighbors[i];

		while (*p != NULL) {
			if (ifindex != 0 ? (*p)->ifindex == ifindex : (*p)->epoch != n->epoch)
				neighbor_remove(n, p);
			else
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
link_gone(struct netlink *n, struct link **slot)
{
	struct link *l = *slot;

	link_set(n, l, false);
	neighbors_sweep(n, l->ifindex);
	addresses_sweep(n, l->ifindex);
	if (l->configured)
		return;
	*slot = l->next;
	arena_free(n->config.arena, l);
}

static void
links_sweep(struct netlink *n)
{
	struct link **p = &n->links;

	while (*p != NULL) {
		struct link *l = *p;

		if (l->epoch != n->epoch)
			link_gone(n, p);
		if (*p == l)
			p = &l->next;
	}
}

/* ---- neighbours that we ask for ---- */

static void
put_address(struct nlmsghdr *h, uint16_t type, const struct ip_addr *addr)
{
	mnl_attr_put(h, type, addr->afi == AFI_IPV4 ? 4 : 16, addr->b);
}

static int
resolve_request(struct netlink *n, unsigned ifindex, const struct ip_addr *addr, bool managed)
{
	char buffer[256] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct ndmsg *m;

	h->nlmsg_type = RTM_NEWNEIGH;
	h->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
	m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	m->ndm_family = addr->afi == AFI_IPV4 ? AF_INET : AF_INET6;
	m->ndm_ifindex = (int)ifindex;
	m->ndm_state = NUD_NONE;
	m->ndm_flags = managed ? 0 : NTF_USE;
	put_address(h, NDA_DST, addr);
	if (managed)
		mnl_attr_put_u32(h, NDA_FLAGS_EXT, NTF_EXT_MANAGED);
	return netlink_request(n->host_requests, h);
}

static int
forget_request(struct netlink *n, unsigned ifindex, const struct ip_addr *addr)
{
	char buffer[256] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct ndmsg *m;

	h->nlmsg_type = RTM_DELNEIGH;
	m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	m->ndm_family = addr->afi == AFI_IPV4 ? AF_INET : AF_INET6;
	m->ndm_ifindex = (int)ifindex;
	put_address(h, NDA_DST, addr);
	return netlink_request(n->host_requests, h);
}

/*
 * A neighbour that packets asked for: kept resolved from its first answer on, because the kernel does not see what we forward to it;
 * deleted when it does not answer, so that the kernel's table holds nobody who is not there.
 */
static void
gleaned_follow(struct netlink *n, struct neighbor *e)
{
	if (e->asked == ASKED_GLEAN && e->usable) {
		e->asked = ASKED_FOLLOW;
		(void)resolve_request(n, e->ifindex, &e->addr, true);
	} else if ((e->asked == ASKED_GLEAN || e->asked == ASKED_FOLLOW) &&
		   (e->nud_state & NUD_FAILED)) {
		e->asked = ASKED_NOT;
		(void)forget_request(n, e->ifindex, &e->addr);
	}
}

/* ---- messages of the kernel ---- */

static int
attribute(const struct nlattr *a, void *data)
{
	const struct nlattr **table = data;

	/* The largest of the types that we look at. */
	if (mnl_attr_get_type(a) < ATTRIBUTES_MAX)
		table[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

static bool
address_of(const struct nlattr *a, uint8_t family, struct ip_addr *out)
{
	size_t len = family == AF_INET ? 4 : 16;

	*out = (struct ip_addr){.afi = family == AF_INET ? AFI_IPV4 : AFI_IPV6};
	if (a == NULL || mnl_attr_get_payload_len(a) != len)
		return false;
	memcpy(out->b, mnl_attr_get_payload(a), len);
	return true;
}

static void
on_link(struct netlink *n, const struct nlmsghdr *h)
{
	const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);
	struct link *l = link_find(n, (unsigned)m->ifi_index);

	/* A bridge's word about its port is not the link's own. */
	if (m->ifi_family != AF_UNSPEC)
		return;
	if (h->nlmsg_type == RTM_DELLINK) {
		struct link **p = &n->links;

		while (*p != NULL && *p != l)
			p = &(*p)->next;
		if (l != NULL)
			link_gone(n, p);
		return;
	}
	if (l == NULL && n->config.port_count == 0)
		l = link_add(n, (unsigned)m->ifi_index, PORT_NONE, VRF_DEFAULT);
	if (l == NULL)
		return;
	l->epoch = n->epoch;
	link_set(n, l, (m->ifi_flags & IFF_UP) && (m->ifi_flags & IFF_RUNNING));
}

static void
on_address(struct netlink *n, const struct nlmsghdr *h)
{
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *t[ATTRIBUTES_MAX] = {0};
	struct address **p = &n->addresses, *a;
	struct ip_addr local, far;
	struct prefix subnet;

	if ((m->ifa_family != AF_INET && m->ifa_family != AF_INET6) ||
		m->ifa_scope == RT_SCOPE_HOST || link_find(n, m->ifa_index) == NULL)
		return;
	mnl_attr_parse(h, sizeof(*m), attribute, t);
	/* On a point-to-point link IFA_ADDRESS is the far end's, and the subnet is there. */
	if (!address_of(t[IFA_ADDRESS], m->ifa_family, &far))
		return;
	if (!address_of(t[IFA_LOCAL], m->ifa_family, &local))
		local = far;
	subnet = prefix_from_addr(&far, m->ifa_prefixlen);
	while (*p != NULL && ((*p)->ifindex != m->ifa_index || !addr_equal(&(*p)->local, &local) ||
				     !prefix_equal(&(*p)->subnet, &subnet)))
		p = &(*p)->next;
	if (h->nlmsg_type == RTM_DELADDR) {
		if (*p != NULL)
			address_remove(n, p);
		return;
	}
	if (*p != NULL) {
		(*p)->epoch = n->epoch;
		return;
	}
	a = arena_calloc(n->config.arena, sizeof(*a));
	if (a == NULL) {
		n->dump_again = true;
		return;
	}
	*a = (struct address){
		.ifindex = m->ifa_index, .local = local, .subnet = subnet, .epoch = n->epoch};
	*p = a;
	address_tell(n, a, true);
}

/* RFC 1812 3.3.2: a link-layer broadcast or multicast address is nobody's; else a datagram would be flooded. */
static bool
neighbor_mac(const struct nlattr *a, uint8_t mac[6])
{
	static const uint8_t zero[6];

	if (a == NULL || mnl_attr_get_payload_len(a) != 6)
		return false;
	memcpy(mac, mnl_attr_get_payload(a), 6);
	return !(mac[0] & 1) && memcmp(mac, zero, 6) != 0;
}

static void
on_neighbor(struct netlink *n, const struct nlmsghdr *h)
{
	const struct ndmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *t[ATTRIBUTES_MAX] = {0};
	const struct link *l = link_find(n, (unsigned)m->ndm_ifindex);
	struct neighbor *e;
	struct ip_addr addr;

	if ((m->ndm_family != AF_INET && m->ndm_family != AF_INET6) || (m->ndm_flags & NTF_PROXY) ||
		l == NULL)
		return;
	mnl_attr_parse(h, sizeof(*m), attribute, t);
	if (!address_of(t[NDA_DST], m->ndm_family, &addr))
		return;
	if (h->nlmsg_type == RTM_DELNEIGH) {
		struct neighbor **p = neighbor_slot(n, l->ifindex, &addr);

		if (*p != NULL)
			neighbor_remove(n, p);
		return;
	}
	e = neighbor_get(n, l->ifindex, &addr);
	if (e == NULL) {
		n->dump_again = true;
		return;
	}
	e->epoch = n->epoch;
	e->nud_state = m->ndm_state;
	/* FAILED and INCOMPLETE are not usable; STALE is: the kernel does not see what we forward. */
	e->usable = neighbor_mac(t[NDA_LLADDR], e->mac) && (m->ndm_state & NUD_USABLE);
	neighbor_tell(n, l, e);
	gleaned_follow(n, e);
}

/* ---- dumps ---- */

static int
dump_request(struct netlink *n, enum dump what)
{
	static const uint16_t types[] = {
		[DUMP_LINKS] = RTM_GETLINK,
		[DUMP_ADDRESSES] = RTM_GETADDR,
		[DUMP_NEIGHBORS] = RTM_GETNEIGH,
	};
	static const size_t sizes[] = {
		[DUMP_LINKS] = sizeof(struct ifinfomsg),
		[DUMP_ADDRESSES] = sizeof(struct ifaddrmsg),
		[DUMP_NEIGHBORS] = sizeof(struct ndmsg),
	};
	char buffer[128] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);

	h->nlmsg_type = types[what];
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = n->dump_seq = ++n->seq;
	mnl_nlmsg_put_extra_header(h, sizes[what]);
	if (mnl_socket_sendto(n->events, h, h->nlmsg_len) < 0)
		return -errno;
	n->dump = what;
	return 0;
}

/* All three, with a new epoch: what none of them shows is gone. Links first: their loss stops most at once. */
static int
dump_begin(struct netlink *n)
{
	n->dump_again = false;
	n->epoch++;
	return dump_request(n, DUMP_LINKS);
}

/* Called when nothing is under way; a request that the kernel refuses now is asked again at the next message. */
static void
dump_next(struct netlink *n)
{
	int rc;

	switch (n->dump) {
	case DUMP_LINKS:
		links_sweep(n);
		rc = dump_request(n, DUMP_ADDRESSES);
		break;
	case DUMP_ADDRESSES:
		addresses_sweep(n, 0);
		rc = dump_request(n, DUMP_NEIGHBORS);
		break;
	case DUMP_NEIGHBORS:
		neighbors_sweep(n, 0);
		n->dump = DUMP_NONE;
		return;
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
	/* Incomplete: nothing may be swept by it. */
	n->dump = DUMP_NONE;
	n->dump_again = true;
}

static void
on_message(struct netlink *n, const struct nlmsghdr *h)
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
		on_link(n, h);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		on_address(n, h);
		break;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		on_neighbor(n, h);
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
	default:
		return 0;
	}
}

static void
on_datagram(struct netlink *n, int len)
{
	const struct nlmsghdr *h = (const struct nlmsghdr *)n->buffer;

	for (; mnl_nlmsg_ok(h, len); h = mnl_nlmsg_next(h, &len))
		if (mnl_nlmsg_get_payload_len(h) >= header_size(h->nlmsg_type))
			on_message(n, h);
}

static void
overrun(struct netlink *n)
{
	n->dump_again = true;
	atomic_store_explicit(&n->overruns,
		atomic_load_explicit(&n->overruns, memory_order_relaxed) + 1, memory_order_relaxed);
}

static void
on_ready(struct watch *w, uint32_t events)
{
	struct netlink *n = (struct netlink *)((char *)w - offsetof(struct netlink, watch));

	(void)events;
	/* Level-triggered: what is left comes at the next turn. */
	for (unsigned i = 0; i < MESSAGES_PER_TURN; i++) {
		ssize_t len = mnl_socket_recvfrom(n->events, n->buffer, sizeof(n->buffer));

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0 && errno == ENOBUFS) {
			overrun(n); /* the kernel dropped some: see everything again, and compare */
			continue;
		}
		if (len <= 0)
			break;
		on_datagram(n, (int)len);
	}
	if (n->dump_again && n->dump == DUMP_NONE && dump_begin(n) != 0)
		n->dump_again = true;
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
open_events(struct netlink *n)
{
	int size = RECEIVE_BUFFER, fd, rc;

	rc = open_socket(&n->events, SOCK_NONBLOCK,
		group_bit(RTNLGRP_LINK) | group_bit(RTNLGRP_NEIGH) |
			group_bit(RTNLGRP_IPV4_IFADDR) | group_bit(RTNLGRP_IPV6_IFADDR));
	if (rc != 0)
		return rc;
	fd = mnl_socket_get_fd(n->events);
	/* Beyond the limit with CAP_NET_ADMIN, else what the limit allows: an overrun costs a dump, no more. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	n->watch = (struct watch){.fd = fd, .ready = on_ready};
	return 0;
}

static int
copy_ports(struct netlink *n)
{
	for (unsigned i = 0; i < n->config.port_count; i++) {
		const struct netlink_port *p = &n->config.ports[i];
		struct link *l = link_add(n, p->ifindex, p->port, p->vrf);

		if (l == NULL)
			return -ENOMEM;
		l->configured = true;
	}
	return 0;
}

int
netlink_create(const struct netlink_config *c, struct netlink **out)
{
	struct netlink *n = arena_calloc(c->arena, sizeof(*n));
	int rc;

	if (n == NULL)
		return -ENOMEM;
	n->config = *c;
	rc = copy_ports(n);
	if (rc == 0)
		rc = open_events(n);
	if (rc == 0)
		rc = open_socket(&n->main_requests, 0, 0);
	if (rc == 0)
		rc = open_socket(&n->host_requests, 0, 0);
	if (rc == 0)
		rc = port_guard_create(
			c->arena, n->main_requests, c->ports, c->port_count, &n->guard);
	n->config.ports = NULL; /* the caller's; copied into links and guard */
	if (rc != 0) {
		netlink_destroy(n);
		return rc;
	}
	*out = n;
	return 0;
}

/* The kernel would go on asking for them. */
static void
neighbors_let_go(struct netlink *n)
{
	for (unsigned i = 0; i < NEIGHBOR_BUCKETS; i++)
		for (const struct neighbor *e = n->neighbors[i]; e != NULL; e = e->next)
			if (e->asked >= ASKED_FOLLOW &&
				!(e->nud_state & (NUD_PERMANENT | NUD_NOARP)))
				(void)(e->usable ? resolve_request(n, e->ifindex, &e->addr, false)
						 : forget_request(n, e->ifindex, &e->addr));
}

static void
mirror_free(struct netlink *n)
{
	for (struct link *l = n->links, *next; l != NULL; l = next) {
		next = l->next;
		arena_free(n->config.arena, l);
	}
	for (struct address *a = n->addresses, *next; a != NULL; a = next) {
		next = a->next;
		arena_free(n->config.arena, a);
	}
	for (unsigned i = 0; i < NEIGHBOR_BUCKETS; i++) {
		for (struct neighbor *e = n->neighbors[i], *next; e != NULL; e = next) {
			next = e->next;
			arena_free(n->config.arena, e);
		}
	}
}

void
netlink_destroy(struct netlink *n)
{
	if (n->guard != NULL)
		port_guard_destroy(n->guard);
	if (n->host_requests != NULL)
		neighbors_let_go(n);
	mirror_free(n);
	if (n->events != NULL)
		mnl_socket_close(n->events);
	if (n->main_requests != NULL)
		mnl_socket_close(n->main_requests);
	if (n->host_requests != NULL)
		mnl_socket_close(n->host_requests);
	arena_free(n->config.arena, n);
}

int
netlink_start(struct netlink *n, struct thread *self)
{
	int rc = watch_set(self, &n->watch, EPOLLIN);

	if (rc != 0)
		return rc;
	n->thread = self;
	return dump_begin(n);
}

/* ---- requests ---- */

int
netlink_request(struct mnl_socket *s, struct nlmsghdr *h)
{
	static _Atomic uint32_t seq;
	char buffer[MESSAGE_MAX];

	h->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	h->nlmsg_seq = ++seq;
	if (mnl_socket_sendto(s, h, h->nlmsg_len) < 0)
		return -errno;
	/* The kernel answers within sendto; what is older belongs to a request that was interrupted. */
	for (;;) {
		ssize_t len = mnl_socket_recvfrom(s, buffer, sizeof(buffer));

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return -errno;
		const struct nlmsghdr *answer = (const struct nlmsghdr *)buffer;
		if (!mnl_nlmsg_ok(answer, (int)len) || answer->nlmsg_seq != h->nlmsg_seq ||
			answer->nlmsg_type != NLMSG_ERROR)
			continue;
		return ((const struct nlmsgerr *)mnl_nlmsg_get_payload(answer))->error;
	}
}

int
netlink_address_add(struct netlink *n, unsigned ifindex, const struct ip_addr *addr, uint8_t len)
{
	char buffer[256] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct ifaddrmsg *m;
	int rc;

	h->nlmsg_type = RTM_NEWADDR;
	h->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
	m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	m->ifa_family = addr->afi == AFI_IPV4 ? AF_INET : AF_INET6;
	m->ifa_prefixlen = len;
	m->ifa_index = ifindex;
	put_address(h, IFA_LOCAL, addr);
	put_address(h, IFA_ADDRESS, addr);
	rc = netlink_request(n->main_requests, h);
	return rc == -EEXIST ? 0 : rc;
}

int
netlink_link_up(struct netlink *n, unsigned ifindex)
{
	char buffer[256] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *m;

	h->nlmsg_type = RTM_NEWLINK;
	m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	m->ifi_index = (int)ifindex;
	m->ifi_flags = IFF_UP;
	m->ifi_change = IFF_UP;
	return netlink_request(n->main_requests, h);
}

static const struct link *
link_of_port(const struct netlink *n, uint16_t port)
{
	const struct link *l = n->links;

	while (l != NULL && (l->port != port || !l->configured))
		l = l->next;
	return l;
}

static int
ask(struct netlink *n, uint16_t port, const struct ip_addr *addr, enum asked how)
{
	const struct link *l = link_of_port(n, port);
	struct neighbor *e;
	int rc;

	if (l == NULL)
		return -ENODEV;
	e = neighbor_get(n, l->ifindex, addr);
	if (e == NULL)
		return -ENOMEM;
	/* What an administrator set needs no probing, and the request would make it an ordinary entry. */
	if (e->nud_state & (NUD_PERMANENT | NUD_NOARP))
		return 0;
	if (e->asked < how)
		e->asked = how;
	rc = resolve_request(n, l->ifindex, addr, e->asked >= ASKED_FOLLOW);
	/* A kernel before 5.16 does not know it, or ignores it and refuses an entry without a state. */
	if (rc != 0 && e->asked >= ASKED_FOLLOW)
		rc = resolve_request(n, l->ifindex, addr, false);
	/* Nothing will come of it: the kernel's table is full, the interface is gone. */
	if (rc != 0 && e->nud_state == NUD_NONE)
		neighbor_remove(n, neighbor_slot(n, l->ifindex, addr));
	return rc;
}

int
netlink_resolve(struct netlink *n, uint16_t port, const struct ip_addr *addr)
{
	return ask(n, port, addr, ASKED_NEXT_HOP);
}

int
netlink_glean(struct netlink *n, uint16_t port, const struct ip_addr *addr)
{
	return ask(n, port, addr, ASKED_GLEAN);
}

bool
netlink_is_local(const struct netlink *n, struct vrf_id vrf, const struct ip_addr *addr)
{
	for (const struct address *a = n->addresses; a != NULL; a = a->next) {
		const struct link *l = link_find(n, a->ifindex);

		if (l != NULL && l->vrf.v == vrf.v && addr_equal(&a->local, addr))
			return true;
	}
	return false;
}

unsigned
netlink_neighbors(struct netlink *n, struct netlink_neighbor *out, unsigned max)
{
	unsigned count = 0;

	for (unsigned i = 0; i < NEIGHBOR_BUCKETS; i++) {
		for (const struct neighbor *e = n->neighbors[i]; e != NULL; e = e->next) {
			const struct link *l = link_find(n, e->ifindex);

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
	return port_guard_faults(n->guard, out, max);
}

uint64_t
netlink_overruns(const struct netlink *n)
{
	return atomic_load_explicit(&n->overruns, memory_order_relaxed);
}
