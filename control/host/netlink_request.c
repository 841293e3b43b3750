/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/host/netlink_impl.h"
#include "lpm/arena.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <sys/socket.h>

#define RETRY_NS 1000000000u
#define TUN_METRIC UINT32_MAX /* behind all routes of operators and routing daemons */

int
netlink_request(struct mnl_socket *s, struct nlmsghdr *h)
{
	static _Atomic uint32_t seq;
	char buffer[MESSAGE_MAX];

	h->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	h->nlmsg_seq = ++seq;
	if (mnl_socket_sendto(s, h, h->nlmsg_len) < 0)
		return -errno;
	/* The kernel answers within sendto. Earlier messages belong to an interrupted request. */
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

/* Changes the kernel's tables after the start of the threads: by keelfwd if keeld has no right to. */
static int
change(struct netlink *n, struct mnl_socket *s, struct nlmsghdr *h)
{
	if (n->config.change == NULL)
		return netlink_request(s, h);
	return n->config.change(n->config.ctx, s == n->host_requests, h, h->nlmsg_len);
}

static uint8_t
family_of(const struct ip_addr *addr)
{
	return addr->afi == AFI_IPV4 ? AF_INET : AF_INET6;
}

static void
put_address(struct nlmsghdr *h, uint16_t type, const struct ip_addr *addr)
{
	mnl_attr_put(h, type, addr->afi == AFI_IPV4 ? 4 : 16, addr->b);
}

/* ---- neighbours ---- */

static int
resolve_request(struct netlink *n, const struct neighbor *e, bool managed)
{
	char buffer[256] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct ndmsg *m;

	h->nlmsg_type = RTM_NEWNEIGH;
	h->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
	m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	m->ndm_family = family_of(&e->addr);
	m->ndm_ifindex = (int)e->ifindex;
	m->ndm_state = NUD_NONE;
	m->ndm_flags = managed ? 0 : NTF_USE;
	put_address(h, NDA_DST, &e->addr);
	if (managed)
		mnl_attr_put_u32(h, NDA_FLAGS_EXT, NTF_EXT_MANAGED);
	return change(n, n->host_requests, h);
}

static int
forget_request(struct netlink *n, const struct neighbor *e)
{
	char buffer[256] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct ndmsg *m;

	h->nlmsg_type = RTM_DELNEIGH;
	m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	m->ndm_family = family_of(&e->addr);
	m->ndm_ifindex = (int)e->ifindex;
	put_address(h, NDA_DST, &e->addr);
	return change(n, n->host_requests, h);
}

static bool
is_permanent(const struct neighbor *e)
{
	return e->nud_state & (NUD_PERMANENT | NUD_NOARP);
}

/* Ends the management by the kernel: a usable neighbour ages, an unusable neighbour is deleted. */
static void
unmanage(struct netlink *n, const struct neighbor *e)
{
	if (e->asked >= ASKED_FOLLOW && !is_permanent(e))
		(void)(e->usable ? resolve_request(n, e, false) : forget_request(n, e));
}

void
netlink_neighbors_forget(struct netlink *n, const struct link *l)
{
	for (unsigned i = 0; i < NEIGHBOR_BUCKETS; i++) {
		for (struct neighbor *e = n->neighbors[i], *next; e != NULL; e = next) {
			next = e->next;
			if (e->ifindex != l->ifindex)
				continue;
			unmanage(n, e);
			netlink_neighbor_forget(n, e);
		}
	}
}

void
netlink_neighbors_unmanage(struct netlink *n)
{
	for (unsigned i = 0; i < NEIGHBOR_BUCKETS; i++)
		for (const struct neighbor *e = n->neighbors[i]; e != NULL; e = e->next)
			unmanage(n, e);
}

static void
retry_fire(struct timer *t)
{
	struct netlink *n = (struct netlink *)((char *)t - offsetof(struct netlink, retry));

	for (unsigned i = 0; i < NEIGHBOR_BUCKETS; i++)
		for (struct neighbor *e = n->neighbors[i]; e != NULL; e = e->next)
			if (e->asked == ASKED_NEXT_HOP && e->nud_state == NUD_NONE)
				(void)netlink_neighbor_request(n, e);
}

int
netlink_neighbor_request(struct netlink *n, struct neighbor *e)
{
	const struct link *l = netlink_link_find(n, e->ifindex);
	int rc;

	/* A permanent entry needs no probing, and a request would make the entry dynamic. */
	if (is_permanent(e))
		return 0;
	if (l == NULL || (l->reported && !l->up))
		return -ENETDOWN; /* link_set() requests next hops */
	rc = resolve_request(n, e, e->asked >= ASKED_FOLLOW);
	/*
	 * A kernel before 5.16 rejects NTF_EXT_MANAGED, or ignores the flag and refuses an entry
	 * without a state.
	 */
	if (rc != 0 && e->asked >= ASKED_FOLLOW)
		rc = resolve_request(n, e, false);
	if (rc != 0 && e->asked == ASKED_NEXT_HOP && n->thread != NULL &&
		n->retry.deadline_ns == 0) {
		n->retry.fire = retry_fire;
		(void)timer_arm(n->thread, &n->retry, RETRY_NS);
	}
	return rc;
}

void
netlink_neighbors_request(struct netlink *n, const struct link *l)
{
	for (unsigned i = 0; i < NEIGHBOR_BUCKETS; i++)
		for (struct neighbor *e = n->neighbors[i]; e != NULL; e = e->next)
			if (e->ifindex == l->ifindex && e->asked == ASKED_NEXT_HOP && !e->usable)
				(void)netlink_neighbor_request(n, e);
}

/*
 * Keeps a neighbour of a waiting packet resolved after the first answer, because the kernel does
 * not see forwarded packets. Deletes a neighbour without an answer, so the table of the kernel has
 * no entries of absent hosts.
 */
void
netlink_neighbor_follow(struct netlink *n, struct neighbor *e)
{
	if (e->asked == ASKED_GLEAN && e->usable) {
		e->asked = ASKED_FOLLOW;
		(void)resolve_request(n, e, true);
	} else if ((e->asked == ASKED_GLEAN || e->asked == ASKED_FOLLOW) &&
		   (e->nud_state & NUD_FAILED)) {
		e->asked = ASKED_NOT;
		(void)forget_request(n, e);
	}
}

static const struct link *
link_of_port(const struct netlink *n, uint16_t port)
{
	const struct link *l = n->links;

	while (l != NULL && (l->port != port || l->kind != LINK_PORT))
		l = l->next;
	return l;
}

/* 0, -errno. 0 also for a next hop on a link that is down: link_set() repeats the request. */
static int
request_neighbor(struct netlink *n, uint16_t port, const struct ip_addr *addr, enum asked how)
{
	const struct link *l = link_of_port(n, port);
	struct ip_addr zoned = *addr;
	struct neighbor *e;
	int rc;

	if (l == NULL)
		return -ENODEV;
	netlink_zone_set(l, &zoned);
	e = netlink_neighbor_get(n, l->ifindex, &zoned);
	if (e == NULL)
		return -ENOMEM;
	if (e->asked < how)
		e->asked = how;
	rc = netlink_neighbor_request(n, e);
	if (rc == 0 || e->asked == ASKED_NEXT_HOP)
		return rc == -ENETDOWN ? 0 : rc;
	/* No answer will come: the table of the kernel is full, or the interface is gone. */
	if (e->nud_state == NUD_NONE)
		netlink_neighbor_forget(n, e);
	return rc;
}

int
netlink_resolve(struct netlink *n, uint16_t port, const struct ip_addr *addr)
{
	return request_neighbor(n, port, addr, ASKED_NEXT_HOP);
}

int
netlink_glean(struct netlink *n, uint16_t port, const struct ip_addr *addr)
{
	return request_neighbor(n, port, addr, ASKED_GLEAN);
}

void
netlink_release(struct netlink *n, uint16_t port, const struct ip_addr *addr)
{
	const struct link *l = link_of_port(n, port);
	struct ip_addr zoned = *addr;
	struct neighbor *e;

	if (l == NULL)
		return;
	netlink_zone_set(l, &zoned);
	e = netlink_neighbor_get(n, l->ifindex, &zoned);
	if (e == NULL)
		return;
	if (e->asked == ASKED_NEXT_HOP) {
		unmanage(n, e);
		e->asked = ASKED_NOT;
	}
	if (e->asked == ASKED_NOT && e->nud_state == NUD_NONE)
		netlink_neighbor_forget(n, e);
}

/* ---- addresses, links, routes: main ---- */

static int
address_request(
	struct netlink *n, uint16_t type, unsigned ifindex, const struct ip_addr *addr, uint8_t len)
{
	char buffer[256] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct ifaddrmsg *m;

	h->nlmsg_type = type;
	h->nlmsg_flags = type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_EXCL : 0;
	m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	m->ifa_family = family_of(addr);
	m->ifa_prefixlen = len;
	m->ifa_index = ifindex;
	put_address(h, IFA_LOCAL, addr);
	put_address(h, IFA_ADDRESS, addr);
	return change(n, n->main_requests, h);
}

int
netlink_address_add(struct netlink *n, unsigned ifindex, const struct ip_addr *addr, uint8_t len)
{
	int rc = address_request(n, RTM_NEWADDR, ifindex, addr, len);

	return rc == -EEXIST ? 0 : rc;
}

int
netlink_address_remove(struct netlink *n, unsigned ifindex, const struct ip_addr *addr, uint8_t len)
{
	int rc = address_request(n, RTM_DELADDR, ifindex, addr, len);

	return rc == -EADDRNOTAVAIL ? 0 : rc;
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
	return change(n, n->main_requests, h);
}

static int
default_route(struct netlink *n, uint8_t family, unsigned ifindex)
{
	char buffer[256] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct rtmsg *m;
	int rc;

	h->nlmsg_type = RTM_NEWROUTE;
	h->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
	m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	m->rtm_family = family;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = RTPROT_STATIC;
	m->rtm_scope = family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	m->rtm_type = RTN_UNICAST;
	mnl_attr_put_u32(h, RTA_OIF, ifindex);
	mnl_attr_put_u32(h, RTA_PRIORITY, TUN_METRIC);
	rc = netlink_request(n->main_requests, h);
	return rc == -EEXIST ? 0 : rc;
}

int
netlink_tun_add(struct netlink *n, const char *name, unsigned ifindex, struct vrf_id vrf)
{
	struct link *l = netlink_link_add(n, ifindex, name, LINK_HOST);
	int rc, rc6;

	if (l == NULL)
		return -ENOMEM;
	l->vrf = vrf;
	port_guard_tun(n->guard, name);
	rc = netlink_link_up(n, ifindex);
	if (rc != 0)
		return rc;
	rc = default_route(n, AF_INET, ifindex);
	rc6 = default_route(n, AF_INET6, ifindex);
	/* A kernel without IPv6 (ipv6.disable=1) has nothing to send. */
	return rc != 0 ? rc : rc6 == -EAFNOSUPPORT || rc6 == -EOPNOTSUPP ? 0 : rc6;
}
