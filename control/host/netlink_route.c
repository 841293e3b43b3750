/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The mirror of the kernel's main table, both families: routes of operators and of an IGP on the
 * host. The mirror reports one route to a prefix: the route with the lowest metric among blackhole
 * routes and routes through an interface of the mirror.
 */
#include "control/host/netlink_impl.h"
#include "lpm/base/arena.h"
#include "rib/feed/fib_feed.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <string.h>
#include <sys/socket.h>

#define BUCKETS_MIN 256 /* a power of two */

struct kernel_hop {
	struct ip_addr addr; /* AFI_NONE: directly on the interface */
	unsigned ifindex;
};

struct kernel_route {
	struct kernel_route *next; /* in order of metrics */
	uint32_t metric, epoch;
	bool blackhole;
	uint16_t hop_count;
	struct kernel_hop hop[];
};

struct kernel_prefix {
	struct kernel_prefix *next;
	struct prefix prefix;
	struct kernel_route *routes;
	/* the last report; NULL: no report yet, &gone: that there is no route */
	const struct kernel_route *reported;
};

struct route_mirror {
	struct kernel_prefix **buckets;
	unsigned bucket_count, prefix_count;
};

/* A message. */
struct parsed {
	struct prefix prefix;
	uint32_t metric;
	bool followed; /* false: the mirror ignores the route, but it may replace a mirrored route */
	bool blackhole;
	unsigned hop_count;
	struct kernel_hop hop[ROUTE_HOPS_MAX];
};

static const struct kernel_route gone;

/* ---- prefixes ---- */

static struct kernel_prefix **
prefix_slot(const struct route_mirror *m, const struct prefix *p)
{
	struct kernel_prefix **at = &m->buckets[prefix_hash(p) & (m->bucket_count - 1)];

	while (*at != NULL && !prefix_equal(&(*at)->prefix, p))
		at = &(*at)->next;
	return at;
}

/* A failure costs time only. */
static void
buckets_grow(struct netlink *n, struct route_mirror *m)
{
	unsigned count = 2 * m->bucket_count;
	struct kernel_prefix **buckets =
		arena_calloc(n->config.arena, count * sizeof(struct kernel_prefix *));
	struct route_mirror old = *m;

	if (buckets == NULL)
		return;
	m->buckets = buckets;
	m->bucket_count = count;
	for (unsigned i = 0; i < old.bucket_count; i++) {
		for (struct kernel_prefix *k = old.buckets[i], *next; k != NULL; k = next) {
			struct kernel_prefix **at = prefix_slot(m, &k->prefix);

			next = k->next;
			k->next = NULL;
			*at = k;
		}
	}
	arena_free(n->config.arena, old.buckets);
}

static struct kernel_prefix *
prefix_get(struct netlink *n, const struct prefix *p)
{
	struct route_mirror *m = n->routes;
	struct kernel_prefix *k = *prefix_slot(m, p);

	if (k != NULL)
		return k;
	if (m->prefix_count >= 2 * m->bucket_count)
		buckets_grow(n, m);
	k = arena_calloc(n->config.arena, sizeof(*k));
	if (k == NULL)
		return NULL;
	k->prefix = *p;
	*prefix_slot(m, p) = k;
	m->prefix_count++;
	return k;
}

static void
prefix_free(struct netlink *n, struct kernel_prefix **slot)
{
	struct kernel_prefix *k = *slot;

	*slot = k->next;
	n->routes->prefix_count--;
	arena_free(n->config.arena, k);
}

/* ---- reports ---- */

/* The hops through interfaces of the mirror, without lo and keel0. */
static unsigned
hops_of(const struct netlink *n, const struct kernel_route *r,
	struct netlink_hop out[ROUTE_HOPS_MAX])
{
	unsigned count = 0;

	for (unsigned i = 0; i < r->hop_count; i++) {
		const struct link *l = netlink_link_find(n, r->hop[i].ifindex);

		if (l == NULL || l->kind == LINK_HOST || l->kind == LINK_BESIDE)
			continue;
		out[count].addr = r->hop[i].addr;
		out[count++].port = l->port;
	}
	return count;
}

static bool
is_on_link(const struct kernel_hop *h)
{
	return h->addr.afi == AFI_NONE;
}

/* The destination of a host route becomes a neighbour, or loses this place. */
static void
on_link_changed(struct netlink *n, const struct prefix *p, const struct kernel_hop *h)
{
	if (is_on_link(h) && p->len == prefix_max_len(p->afi))
		netlink_link_report(n, h->ifindex);
}

static void
prefix_report(struct netlink *n, struct kernel_prefix *k)
{
	const struct kernel_route *r = k->routes;
	struct netlink_hop hops[ROUTE_HOPS_MAX];
	unsigned count = 0;

	for (; r != NULL; r = r->next) {
		count = hops_of(n, r, hops);
		if (count > 0 || r->blackhole)
			break;
	}
	if (r == k->reported)
		return;
	k->reported = r;
	n->config.route(n->config.ctx, n->config.vrf, &k->prefix, hops, count,
		r != NULL ? r->metric : 0, r != NULL);
	for (unsigned i = 0; r != NULL && i < r->hop_count; i++)
		on_link_changed(n, &k->prefix, &r->hop[i]);
}

bool
route_mirror_on_link(const struct netlink *n, unsigned ifindex, const struct ip_addr *addr)
{
	struct prefix p = prefix_from_addr(addr, (uint8_t)prefix_max_len(addr->afi));
	const struct kernel_prefix *k = *prefix_slot(n->routes, &p);

	for (const struct kernel_route *r = k != NULL ? k->routes : NULL; r != NULL; r = r->next)
		for (unsigned i = 0; i < r->hop_count; i++)
			if (r->hop[i].ifindex == ifindex && is_on_link(&r->hop[i]))
				return true;
	return false;
}

/* ---- routes ---- */

static void
route_remove(struct netlink *n, struct kernel_prefix *k, struct kernel_route **slot)
{
	struct kernel_route *r = *slot;

	if (k->reported == r)
		k->reported = &gone;
	*slot = r->next;
	for (unsigned i = 0; i < r->hop_count; i++)
		on_link_changed(n, &k->prefix, &r->hop[i]);
	arena_free(n->config.arena, r);
}

static bool
hop_equal(const struct kernel_hop *a, const struct kernel_hop *b)
{
	return a->ifindex == b->ifindex && addr_equal(&a->addr, &b->addr);
}

static bool
has_hop(const struct parsed *p, const struct kernel_hop *h)
{
	for (unsigned i = 0; i < p->hop_count; i++)
		if (hop_equal(&p->hop[i], h))
			return true;
	return false;
}

/* True if the metric and kind are equal, and `p` has all hops of `r`. */
static bool
hops_within(const struct kernel_route *r, const struct parsed *p)
{
	for (unsigned i = 0; i < r->hop_count; i++)
		if (!has_hop(p, &r->hop[i]))
			return false;
	return r->metric == p->metric && r->blackhole == p->blackhole;
}

static bool
route_same(const struct kernel_route *r, const struct parsed *p)
{
	return hops_within(r, p) && r->hop_count == p->hop_count;
}

static void
route_add(struct netlink *n, struct kernel_prefix *k, const struct parsed *p)
{
	struct kernel_route **at = &k->routes, *r;

	r = arena_alloc(n->config.arena, sizeof(*r) + p->hop_count * sizeof(r->hop[0]));
	if (r == NULL) {
		n->dump_again = true;
		return;
	}
	*r = (struct kernel_route){
		.metric = p->metric,
		.epoch = n->epoch,
		.blackhole = p->blackhole,
		.hop_count = (uint16_t)p->hop_count,
	};
	memcpy(r->hop, p->hop, p->hop_count * sizeof(r->hop[0]));
	while (*at != NULL && (*at)->metric <= p->metric)
		at = &(*at)->next;
	r->next = *at;
	*at = r;
}

/*
 * The kernel may hold several routes of a prefix and metric (`ip route append`). NLM_F_REPLACE
 * replaces the first of the routes. A message about a new hop of an IPv6 route has all hops, and
 * replaces the route with fewer hops.
 */
static void
route_new(struct netlink *n, const struct parsed *p, bool replace)
{
	struct kernel_prefix *k = prefix_get(n, &p->prefix);

	if (k == NULL) {
		n->dump_again = true;
		return;
	}
	for (struct kernel_route *r = k->routes; r != NULL; r = r->next) {
		if (route_same(r, p)) {
			r->epoch = n->epoch;
			return;
		}
	}
	for (struct kernel_route **at = &k->routes; *at != NULL; at = &(*at)->next) {
		if ((*at)->metric != p->metric)
			continue;
		if (replace || (p->prefix.afi == AFI_IPV6 && (*at)->hop_count > 0 &&
				       hops_within(*at, p))) {
			route_remove(n, k, at);
			break;
		}
	}
	route_add(n, k, p);
	prefix_report(n, k);
}

/* A route outside of the mirror has replaced the first route with the metric (NLM_F_REPLACE). */
static void
route_replaced(struct netlink *n, const struct parsed *p)
{
	struct kernel_prefix **slot = prefix_slot(n->routes, &p->prefix), *k = *slot;
	struct kernel_route **at;

	if (k == NULL)
		return;
	for (at = &k->routes; *at != NULL && (*at)->metric != p->metric;)
		at = &(*at)->next;
	if (*at == NULL)
		return;
	route_remove(n, k, at);
	prefix_report(n, k);
	if (k->routes == NULL)
		prefix_free(n, slot);
}

/* IPv6: removes single hops of a route. True: the route still has hops. */
static bool
hops_remove(
	struct netlink *n, struct kernel_prefix *k, struct kernel_route *r, const struct parsed *p)
{
	struct parsed rest = {.prefix = p->prefix, .metric = r->metric};

	for (unsigned i = 0; i < r->hop_count; i++)
		if (!has_hop(p, &r->hop[i]))
			rest.hop[rest.hop_count++] = r->hop[i];
	if (rest.hop_count == 0)
		return false;
	if (rest.hop_count < r->hop_count) {
		r->hop_count = (uint16_t)rest.hop_count;
		memcpy(r->hop, rest.hop, rest.hop_count * sizeof(r->hop[0]));
		if (k->reported == r)
			k->reported = &gone;
		for (unsigned i = 0; i < p->hop_count; i++)
			on_link_changed(n, &k->prefix, &p->hop[i]);
	}
	return true;
}

static void
route_del(struct netlink *n, const struct parsed *p)
{
	struct kernel_prefix **slot = prefix_slot(n->routes, &p->prefix), *k = *slot;
	struct kernel_route **at, **found = NULL;

	if (k == NULL)
		return;
	for (at = &k->routes; *at != NULL; at = &(*at)->next) {
		if ((*at)->metric != p->metric)
			continue;
		if (found == NULL || route_same(*at, p))
			found = at;
	}
	if (found == NULL)
		return;
	if (p->prefix.afi != AFI_IPV6 || route_same(*found, p) || !hops_remove(n, k, *found, p))
		route_remove(n, k, found);
	prefix_report(n, k);
	if (k->routes == NULL)
		prefix_free(n, slot);
}

static bool
leaves_by(const struct kernel_prefix *k, unsigned ifindex)
{
	for (const struct kernel_route *r = k->routes; r != NULL; r = r->next)
		for (unsigned i = 0; i < r->hop_count; i++)
			if (r->hop[i].ifindex == ifindex)
				return true;
	return false;
}

void
route_mirror_repeat(struct netlink *n, unsigned ifindex)
{
	const struct route_mirror *m = n->routes;

	for (unsigned i = 0; m != NULL && i < m->bucket_count; i++) {
		for (struct kernel_prefix *k = m->buckets[i]; k != NULL; k = k->next) {
			if (!leaves_by(k, ifindex))
				continue;
			if (k->reported != NULL)
				k->reported = &gone;
			prefix_report(n, k);
		}
	}
}

void
route_mirror_clear(struct netlink *n)
{
	n->epoch++;
	route_mirror_sweep(n);
}

void
route_mirror_sweep(struct netlink *n)
{
	struct route_mirror *m = n->routes;

	for (unsigned i = 0; i < m->bucket_count; i++) {
		struct kernel_prefix **slot = &m->buckets[i];

		while (*slot != NULL) {
			struct kernel_prefix *k = *slot;
			struct kernel_route **at = &k->routes;

			while (*at != NULL) {
				if ((*at)->epoch != n->epoch)
					route_remove(n, k, at);
				else
					at = &(*at)->next;
			}
			prefix_report(n, k);
			if (k->routes == NULL)
				prefix_free(n, slot);
			else
				slot = &k->next;
		}
	}
}

/* ---- messages ---- */

/* False: an unusable hop (of a tunnel, or dead). */
static bool
parse_hop(const struct netlink *n, uint8_t family, unsigned ifindex, unsigned flags,
	const struct nlattr *const t[ATTRIBUTES_MAX], struct kernel_hop *out)
{
	const struct link *l = netlink_link_find(n, ifindex);
	const struct rtvia *via;

	memset(out, 0, sizeof(*out));
	out->ifindex = ifindex;
	if ((flags & RTNH_F_DEAD) || t[RTA_ENCAP_TYPE] != NULL)
		return false;
	if (t[RTA_GATEWAY] != NULL && !netlink_attr_addr(t[RTA_GATEWAY], family, &out->addr))
		return false;
	if (t[RTA_VIA] != NULL) {
		via = mnl_attr_get_payload(t[RTA_VIA]);
		if (mnl_attr_get_payload_len(t[RTA_VIA]) != sizeof(via->rtvia_family) + 16 ||
			via->rtvia_family != AF_INET6)
			return false;
		out->addr.afi = AFI_IPV6;
		memcpy(out->addr.b, via->rtvia_addr, 16);
	}
	if (l != NULL)
		netlink_zone_set(l, &out->addr);
	return true;
}

static int
collect_attribute(const struct nlattr *a, void *data)
{
	const struct nlattr **table = data;

	if (mnl_attr_get_type(a) < ATTRIBUTES_MAX)
		table[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

static void
parse_multipath(const struct netlink *n, uint8_t family, const struct nlattr *a, struct parsed *out)
{
	const char *at = mnl_attr_get_payload(a), *end = at + mnl_attr_get_payload_len(a);

	while ((size_t)(end - at) >= sizeof(struct rtnexthop) && out->hop_count < ROUTE_HOPS_MAX) {
		const struct rtnexthop *nh = (const struct rtnexthop *)at;
		const struct nlattr *t[ATTRIBUTES_MAX] = {0};

		if (nh->rtnh_len < sizeof(*nh) || nh->rtnh_len > end - at)
			return;
		(void)mnl_attr_parse_payload(
			at + sizeof(*nh), nh->rtnh_len - sizeof(*nh), collect_attribute, t);
		if (parse_hop(n, family, (unsigned)nh->rtnh_ifindex, nh->rtnh_flags, t,
			    &out->hop[out->hop_count]))
			out->hop_count++;
		if (RTNH_ALIGN(nh->rtnh_len) > end - at)
			return;
		at += RTNH_ALIGN(nh->rtnh_len);
	}
}

static uint32_t
u32_or(const struct nlattr *a, uint32_t otherwise)
{
	return a != NULL && mnl_attr_validate(a, MNL_TYPE_U32) == 0 ? mnl_attr_get_u32(a)
								    : otherwise;
}

/* True for a route of the main table that depends on the destination only. */
static bool
in_main(const struct rtmsg *m, const struct nlattr *const t[ATTRIBUTES_MAX])
{
	return (m->rtm_family == AF_INET || m->rtm_family == AF_INET6) && m->rtm_tos == 0 &&
	       m->rtm_src_len == 0 && !(m->rtm_flags & RTM_F_CLONED) &&
	       u32_or(t[RTA_TABLE], m->rtm_table) == RT_TABLE_MAIN;
}

/* True if the mirror has routes of the type and protocol. */
static bool
is_mirrored(const struct rtmsg *m)
{
	/* address messages report connected subnets */
	if (m->rtm_protocol == RTPROT_KERNEL || m->rtm_protocol == RTPROT_REDIRECT)
		return false;
	return m->rtm_type == RTN_UNICAST || m->rtm_type == RTN_BLACKHOLE ||
	       m->rtm_type == RTN_UNREACHABLE || m->rtm_type == RTN_PROHIBIT;
}

/* True for the default route of the TUN, a route of keeld. */
static bool
is_tun_route(const struct netlink *n, const struct parsed *p)
{
	for (unsigned i = 0; i < p->hop_count; i++) {
		const struct link *l = netlink_link_find(n, p->hop[i].ifindex);

		if (l != NULL && l->kind == LINK_HOST)
			return true;
	}
	return false;
}

static bool
parse(const struct netlink *n, const struct nlmsghdr *h, struct parsed *out)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *t[ATTRIBUTES_MAX];
	struct ip_addr dst = {.afi = m->rtm_family == AF_INET ? AFI_IPV4 : AFI_IPV6};

	netlink_attributes(h, sizeof(*m), t);
	if (!in_main(m, t) ||
		(t[RTA_DST] != NULL && !netlink_attr_addr(t[RTA_DST], m->rtm_family, &dst)))
		return false;
	memset(out, 0, sizeof(*out));
	out->prefix = prefix_from_addr(&dst, m->rtm_dst_len);
	out->metric = u32_or(t[RTA_PRIORITY], 0);
	if (!is_mirrored(m))
		return true;
	out->followed = true;
	out->blackhole = m->rtm_type != RTN_UNICAST;
	if (out->blackhole)
		return true;
	if (t[RTA_MULTIPATH] != NULL)
		parse_multipath(n, m->rtm_family, t[RTA_MULTIPATH], out);
	else if (parse_hop(n, m->rtm_family, u32_or(t[RTA_OIF], 0), m->rtm_flags, t, &out->hop[0]))
		out->hop_count = 1;
	out->followed = !is_tun_route(n, out);
	return true;
}

void
route_mirror_message(struct netlink *n, const struct nlmsghdr *h)
{
	struct parsed p;

	if (n->routes == NULL || !parse(n, h, &p))
		return;
	if (h->nlmsg_type == RTM_NEWROUTE && p.followed)
		route_new(n, &p, h->nlmsg_flags & NLM_F_REPLACE);
	else if (p.followed)
		route_del(n, &p);
	else if (h->nlmsg_type == RTM_NEWROUTE && (h->nlmsg_flags & NLM_F_REPLACE))
		route_replaced(n, &p);
}

/* ---- life ---- */

int
route_mirror_create(struct netlink *n, struct route_mirror **out)
{
	struct route_mirror *m = arena_calloc(n->config.arena, sizeof(*m));

	if (m == NULL)
		return -ENOMEM;
	m->buckets = arena_calloc(n->config.arena, BUCKETS_MIN * sizeof(struct kernel_prefix *));
	if (m->buckets == NULL) {
		arena_free(n->config.arena, m);
		return -ENOMEM;
	}
	m->bucket_count = BUCKETS_MIN;
	*out = m;
	return 0;
}

void
route_mirror_destroy(struct netlink *n, struct route_mirror *m)
{
	for (unsigned i = 0; i < m->bucket_count; i++) {
		while (m->buckets[i] != NULL) {
			struct kernel_prefix *k = m->buckets[i];

			while (k->routes != NULL)
				route_remove(n, k, &k->routes);
			prefix_free(n, &m->buckets[i]);
		}
	}
	arena_free(n->config.arena, m->buckets);
	arena_free(n->config.arena, m);
}
