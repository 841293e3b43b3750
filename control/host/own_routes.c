/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/log.h"
#include "control/host/netlink_impl.h"
#include "lpm/base/arena.h"
#include "lpm/base/own_table.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <string.h>
#include <sys/socket.h>

#define TUN_METRIC UINT32_MAX /* behind all routes of operators and routing daemons */

/* A rule or a route in the kernel, or one that the kernel refused. */
struct own_entry {
	struct own_entry *next;
	bool rule, wanted;
	bool refused; /* asked for again at each comparison */
	bool told; /* a refusal was logged */
	struct prefix prefix; /* of a rule: the address with its full length */
	unsigned ifindex; /* of a route */
	uint8_t table; /* of a route */
};

static bool
entry_is(const struct own_entry *e, const struct own_entry *like)
{
	return e->rule == like->rule && e->ifindex == like->ifindex && e->table == like->table &&
	       prefix_equal(&e->prefix, &like->prefix);
}

static bool
entry_push(struct netlink *n, const struct own_entry *like)
{
	struct own_entry *e = arena_alloc(n->config.arena, sizeof(*e));

	if (e == NULL)
		return false;
	*e = *like;
	e->next = n->own;
	n->own = e;
	return true;
}

static void
entry_free(struct netlink *n, struct own_entry **at)
{
	struct own_entry *e = *at;

	*at = e->next;
	arena_free(n->config.arena, e);
}

/* ---- requests ---- */

static struct nlmsghdr *
rule_message(char *buffer, const struct own_entry *e, bool add)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct fib_rule_hdr *r;

	h->nlmsg_type = add ? RTM_NEWRULE : RTM_DELRULE;
	h->nlmsg_flags = add ? NLM_F_CREATE | NLM_F_EXCL : 0;
	r = mnl_nlmsg_put_extra_header(h, sizeof(*r));
	r->family = e->prefix.afi == AFI_IPV4 ? AF_INET : AF_INET6;
	r->action = FR_ACT_TO_TBL;
	r->table = OWN_TABLE;
	r->src_len = e->prefix.len;
	mnl_attr_put_u32(h, FRA_PRIORITY, OWN_RULE_PRIORITY);
	mnl_attr_put_u8(h, FRA_PROTOCOL, OWN_PROTOCOL);
	mnl_attr_put(h, FRA_SRC, e->prefix.afi == AFI_IPV4 ? 4 : 16, e->prefix.b);
	return h;
}

static struct nlmsghdr *
route_message(char *buffer, const struct own_entry *e, bool add)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	bool v4 = e->prefix.afi == AFI_IPV4;
	struct rtmsg *m;

	h->nlmsg_type = add ? RTM_NEWROUTE : RTM_DELROUTE;
	h->nlmsg_flags = add ? NLM_F_CREATE | NLM_F_EXCL : 0;
	m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	m->rtm_family = v4 ? AF_INET : AF_INET6;
	m->rtm_dst_len = e->prefix.len;
	m->rtm_table = e->table;
	m->rtm_protocol = OWN_PROTOCOL;
	m->rtm_scope = v4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	m->rtm_type = RTN_UNICAST;
	if (e->prefix.len > 0)
		mnl_attr_put(h, RTA_DST, v4 ? 4 : 16, e->prefix.b);
	mnl_attr_put_u32(h, RTA_OIF, e->ifindex);
	/* two ports may have the same subnet */
	mnl_attr_put_u32(h, RTA_PRIORITY, e->table == OWN_TABLE ? e->ifindex : TUN_METRIC);
	return h;
}

/* 0, -errno; an entry that is there already, or gone already, is no error. */
static int
entry_request(struct netlink *n, struct mnl_socket *s, const struct own_entry *e, bool add)
{
	char buffer[256] = {0};
	struct nlmsghdr *h = e->rule ? rule_message(buffer, e, add) : route_message(buffer, e, add);
	int rc = netlink_request(s, h);

	if (rc == -EPERM)
		rc = netlink_change(n, s, h);
	if (add)
		return rc == -EEXIST ? 0 : rc;
	return rc == -ENOENT || rc == -ESRCH || rc == -ENODEV ? 0 : rc;
}

/* Logs the first refusal of an entry. Without a keelfwd nothing is refused: keelfwd's return repeats the request. */
static void
refusal_tell(struct own_entry *e, bool add, int rc)
{
	char text[PREFIX_TEXT_MAX];

	if (e->told || rc == -ENOTCONN)
		return;
	e->told = true;
	log_event(LOG_WARNING,
		"host-not-set setting=\"%s%s %s, for packets of this host\" error=\"%s\"",
		add ? "" : "removal of the ", e->rule ? "rule from" : "route to",
		prefix_format(&e->prefix, text), strerrordesc_np(-rc));
}

/* ---- rules and routes of the kernel ---- */

static uint32_t
u32_or(const struct nlattr *a, uint32_t otherwise)
{
	return a != NULL && mnl_attr_validate(a, MNL_TYPE_U32) == 0 ? mnl_attr_get_u32(a)
								    : otherwise;
}

static int
on_rule(const struct nlmsghdr *h, void *data)
{
	const struct fib_rule_hdr *r = mnl_nlmsg_get_payload(h);
	struct netlink *n = data;
	const struct nlattr *t[ATTRIBUTES_MAX];
	struct ip_addr from;

	netlink_attributes(h, sizeof(*r), t);
	if (u32_or(t[FRA_TABLE], r->table) == OWN_TABLE &&
		u32_or(t[FRA_PRIORITY], 0) == OWN_RULE_PRIORITY && t[FRA_PROTOCOL] != NULL &&
		mnl_attr_get_u8(t[FRA_PROTOCOL]) == OWN_PROTOCOL &&
		netlink_attr_addr(t[FRA_SRC], r->family, &from))
		(void)entry_push(n, &(struct own_entry){.rule = true,
					    .prefix = prefix_from_addr(&from, r->src_len)});
	return MNL_CB_OK;
}

static int
on_route(const struct nlmsghdr *h, void *data)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	struct netlink *n = data;
	const struct nlattr *t[ATTRIBUTES_MAX];
	struct ip_addr to = {.afi = m->rtm_family == AF_INET ? AFI_IPV4 : AFI_IPV6};

	netlink_attributes(h, sizeof(*m), t);
	if (m->rtm_protocol == OWN_PROTOCOL && m->rtm_type == RTN_UNICAST &&
		(t[RTA_DST] == NULL || netlink_attr_addr(t[RTA_DST], m->rtm_family, &to)))
		(void)entry_push(
			n, &(struct own_entry){.prefix = prefix_from_addr(&to, m->rtm_dst_len),
				   .ifindex = u32_or(t[RTA_OIF], 0),
				   .table = (uint8_t)u32_or(t[RTA_TABLE], m->rtm_table)});
	return MNL_CB_OK;
}

static void
dump(struct netlink *n, uint16_t type, uint8_t family, uint8_t table, mnl_cb_t each)
{
	char buffer[MESSAGE_MAX] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	unsigned seq = h->nlmsg_seq = ++n->seq;
	ssize_t len;

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	if (type == RTM_GETROUTE) {
		struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));

		m->rtm_family = family;
		m->rtm_table = table;
		m->rtm_protocol = OWN_PROTOCOL;
	} else {
		struct fib_rule_hdr *r = mnl_nlmsg_put_extra_header(h, sizeof(*r));

		r->family = family;
	}
	if (mnl_socket_sendto(n->host_requests, h, h->nlmsg_len) < 0)
		return;
	do
		len = mnl_socket_recvfrom(n->host_requests, buffer, sizeof(buffer));
	while (len > 0 && mnl_cb_run(buffer, (size_t)len, seq, 0, each, n) > MNL_CB_STOP);
}

static struct own_entry *
entry_find(struct own_entry *list, const struct own_entry *like)
{
	while (list != NULL && !entry_is(list, like))
		list = list->next;
	return list;
}

/* Entries that were not ours before belong to another process, unless a killed keeld has left them. */
void
own_routes_read(struct netlink *n)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	struct own_entry *before = n->own;
	int on = 1;

	n->own = NULL;
	/* the kernel sends only the routes of a table and a protocol */
	(void)mnl_socket_setsockopt(n->host_requests, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	for (unsigned i = 0; i < sizeof(families); i++) {
		dump(n, RTM_GETRULE, families[i], 0, on_rule);
		dump(n, RTM_GETROUTE, families[i], OWN_TABLE, on_route);
		dump(n, RTM_GETROUTE, families[i], RT_TABLE_MAIN, on_route);
	}
	for (struct own_entry **at = &n->own; *at != NULL && !n->adopt;) {
		if (entry_find(before, *at) != NULL)
			at = &(*at)->next;
		else
			entry_free(n, at);
	}
	while (before != NULL)
		entry_free(n, &before);
	n->own_again = true;
}

/* ---- what there must be ---- */

static void
want(struct netlink *n, const struct own_entry *like)
{
	struct own_entry *e = entry_find(n->own, like);
	int rc;

	if (e == NULL) {
		if (!entry_push(n, like)) {
			n->own_again = true;
			return;
		}
		e = n->own;
		e->refused = true;
	}
	e->wanted = true;
	if (!e->refused)
		return;
	rc = entry_request(n, n->host_requests, e, true);
	e->refused = rc != 0;
	/* a kernel without IPv6 (ipv6.disable=1) has nothing to send */
	if (rc != 0 && rc != -EAFNOSUPPORT && rc != -EOPNOTSUPP && rc != -ENETDOWN)
		refusal_tell(e, true, rc);
}

static void
want_default(struct netlink *n, enum afi afi, uint8_t table)
{
	struct ip_addr any = {.afi = afi};

	want(n, &(struct own_entry){.prefix = prefix_from_addr(&any, 0),
			.ifindex = n->tun_ifindex,
			.table = table});
}

void
own_routes_sync(struct netlink *n)
{
	static const enum afi families[] = {AFI_IPV4, AFI_IPV6};
	const struct link *tun = netlink_link_find(n, n->tun_ifindex);

	if (!n->own_again || !n->loaded || n->guard == NULL)
		return;
	n->own_again = false;
	for (struct own_entry *e = n->own; e != NULL; e = e->next)
		e->wanted = false;
	/* the routes first: a rule whose table has no route is passed over */
	for (const struct address *a = n->addresses; a != NULL; a = a->next) {
		const struct link *l = netlink_link_find(n, a->ifindex);

		/* RFC 4291 2.5.6: link-local addresses are not routed */
		if (l != NULL && l->kind == LINK_PORT && l->admin_up && !a->beside &&
			!addr_is_link_local(&a->local) &&
			a->subnet.len < prefix_max_len(a->local.afi))
			want(n, &(struct own_entry){.prefix = a->subnet,
					.ifindex = a->ifindex,
					.table = OWN_TABLE});
	}
	for (unsigned i = 0; tun != NULL && tun->admin_up && i < 2; i++) {
		want_default(n, families[i], OWN_TABLE);
		want_default(n, families[i], RT_TABLE_MAIN); /* for a host without one */
	}
	for (const struct address *a = n->addresses; a != NULL; a = a->next) {
		const struct link *l = netlink_link_find(n, a->ifindex);

		if (l != NULL && (l->kind == LINK_PORT || l->kind == LINK_HOST) && !a->beside &&
			!addr_is_link_local(&a->local))
			want(n, &(struct own_entry){.rule = true,
					.prefix = prefix_from_addr(
						&a->local, (uint8_t)prefix_max_len(a->local.afi))});
	}
	for (struct own_entry **at = &n->own; *at != NULL;) {
		int rc = (*at)->wanted || (*at)->refused
				 ? 0
				 : entry_request(n, n->host_requests, *at, false);

		if (rc != 0)
			refusal_tell(*at, false, rc);
		if ((*at)->wanted || rc != 0)
			at = &(*at)->next;
		else
			entry_free(n, at);
	}
}

void
own_routes_lost(struct netlink *n, unsigned ifindex, enum afi afi)
{
	for (struct own_entry **at = &n->own; *at != NULL;) {
		if (!(*at)->rule && (*at)->ifindex == ifindex &&
			(afi == AFI_NONE || (*at)->prefix.afi == afi))
			entry_free(n, at);
		else
			at = &(*at)->next;
	}
	n->own_again = true;
}

void
own_routes_end(struct netlink *n, bool remove)
{
	while (n->own != NULL) {
		if (remove && !n->own->refused)
			(void)entry_request(n, n->main_requests, n->own, false);
		entry_free(n, &n->own);
	}
}
