/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/process/host_netlink.h"
#include "lpm/base/own_table.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX 1024
#define LINK_MAX 16384 /* a message about lo */

int
host_netlink_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd >= 0 ? fd : -errno;
}

bool
host_netlink_of_keeld(void)
{
	static const char owner[] = "keeld ";
	struct {
		struct nlmsghdr head;
		struct ifinfomsg link;
	} ask = {.head = {.nlmsg_len = sizeof(ask),
			 .nlmsg_type = RTM_GETLINK,
			 .nlmsg_flags = NLM_F_REQUEST},
		.link = {.ifi_index = 1}};
	union {
		struct nlmsghdr head;
		char room[LINK_MAX];
	} got;
	int fd = host_netlink_open();
	ssize_t n = -1;
	bool of_keeld = false;

	if (fd >= 0 && send(fd, &ask, sizeof(ask), 0) == (ssize_t)sizeof(ask))
		n = recv(fd, &got, sizeof(got), 0);
	if (n >= (ssize_t)NLMSG_SPACE(sizeof(ask.link)) && got.head.nlmsg_type == RTM_NEWLINK &&
		got.head.nlmsg_len <= (size_t)n) {
		size_t left = got.head.nlmsg_len - NLMSG_SPACE(sizeof(ask.link));

		for (struct rtattr *a = IFLA_RTA(NLMSG_DATA(&got.head)); RTA_OK(a, left);
			a = RTA_NEXT(a, left))
			if (a->rta_type == IFLA_IFALIAS && RTA_PAYLOAD(a) >= strlen(owner))
				of_keeld |= memcmp(RTA_DATA(a), owner, strlen(owner)) == 0;
	}
	if (fd >= 0)
		(void)close(fd);
	return of_keeld;
}

static bool
is_internet(unsigned family)
{
	return family == AF_INET || family == AF_INET6;
}

/*
 * The next attribute; false: none, or, as in the kernel, a malformed one ends the list. `*value` is
 * `*len` bytes, without alignment.
 */
static bool
attribute_next(const char **at, size_t *bytes, unsigned *type, const char **value, size_t *len)
{
	struct nlattr a;
	size_t step;

	if (*bytes < sizeof(a))
		return false;
	memcpy(&a, *at, sizeof(a));
	if (a.nla_len < sizeof(a) || a.nla_len > *bytes)
		return false;
	*type = a.nla_type & NLA_TYPE_MASK;
	*value = *at + sizeof(a);
	*len = a.nla_len - sizeof(a);
	step = (size_t)NLA_ALIGN(a.nla_len);
	if (step > *bytes)
		step = *bytes;
	*at += step;
	*bytes -= step;
	return true;
}

/*
 * True if all attributes have a type of `types`, a bit each. Others may name another object than the
 * interface, for example IFA_TARGET_NETNSID a network namespace.
 */
static bool
attributes_are(const char *at, size_t bytes, uint64_t types)
{
	const char *value;
	unsigned type;
	size_t len;

	while (attribute_next(&at, &bytes, &type, &value, &len))
		if (type >= 64 || !(types >> type & 1))
			return false;
	return true;
}

/* Copies the attribute, of at most `max` bytes; the last one counts, as in the kernel. Returns its length, 0: none. */
static size_t
attribute(const char *at, size_t bytes, unsigned wanted, void *out, size_t max)
{
	const char *value;
	size_t len, found = 0;
	unsigned type;

	while (attribute_next(&at, &bytes, &type, &value, &len)) {
		if (type != wanted)
			continue;
		found = len <= max ? len : 0;
		memcpy(out, value, found);
	}
	return found;
}

/* A shorter prefix is no subnet of an interface: its connected route would attract the traffic of the host. */
static bool
is_subnet(const struct ifaddrmsg *m)
{
	return m->ifa_prefixlen >= (m->ifa_family == AF_INET ? 8 : 16);
}

#define BIT(type) (UINT64_C(1) << (type))

/* A blackhole of packets from an own interface; may go also when the interface has gone. */
static bool
is_port_rule(uint16_t type, const char *at, size_t bytes,
	bool (*is_own)(void *ctx, unsigned ifindex), void *ctx)
{
	char name[IFNAMSIZ] = "";

	return attributes_are(at, bytes, BIT(FRA_PRIORITY) | BIT(FRA_IIFNAME)) &&
	       attribute(at, bytes, FRA_IIFNAME, name, sizeof(name) - 1) > 0 &&
	       (is_own(ctx, if_nametoindex(name)) ||
		       (type == RTM_DELRULE && if_nametoindex(name) == 0));
}

/* True if an own interface or lo has the address, and no other interface. */
static bool
is_own_address(
	uint8_t family, const void *addr, bool (*is_own)(void *ctx, unsigned ifindex), void *ctx)
{
	bool own = false, foreign = false;
	struct ifaddrs *all, *i;

	if (getifaddrs(&all) != 0)
		return false;
	for (i = all; i != NULL; i = i->ifa_next) {
		const void *there;

		if (i->ifa_addr == NULL || i->ifa_addr->sa_family != family)
			continue;
		there = &((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr;
		if (family == AF_INET6)
			there = &((struct sockaddr_in6 *)(void *)i->ifa_addr)->sin6_addr;
		if (memcmp(there, addr, family == AF_INET ? 4 : 16) != 0)
			continue;
		if ((i->ifa_flags & IFF_LOOPBACK) || is_own(ctx, if_nametoindex(i->ifa_name)))
			own = true;
		else
			foreign = true;
	}
	freeifaddrs(all);
	return own && !foreign;
}

/* Packets from an own address take the table of the own traffic. Such a rule may go at any time. */
static bool
is_own_rule(uint16_t type, uint8_t family, const char *at, size_t bytes,
	bool (*is_own)(void *ctx, unsigned ifindex), void *ctx)
{
	uint8_t from[16], protocol = 0;
	uint32_t priority = 0;

	return attributes_are(at, bytes, BIT(FRA_PRIORITY) | BIT(FRA_SRC) | BIT(FRA_PROTOCOL)) &&
	       attribute(at, bytes, FRA_PRIORITY, &priority, sizeof(priority)) ==
		       sizeof(priority) &&
	       priority == OWN_RULE_PRIORITY &&
	       attribute(at, bytes, FRA_PROTOCOL, &protocol, sizeof(protocol)) ==
		       sizeof(protocol) &&
	       protocol == OWN_PROTOCOL &&
	       attribute(at, bytes, FRA_SRC, from, sizeof(from)) ==
		       (family == AF_INET ? 4u : 16u) &&
	       (type == RTM_DELRULE || is_own_address(family, from, is_own, ctx));
}

static bool
rule_permitted(uint16_t type, const struct fib_rule_hdr *r, const char *at, size_t bytes,
	bool (*is_own)(void *ctx, unsigned ifindex), void *ctx)
{
	struct fib_rule_hdr blackhole = {.family = r->family, .action = FR_ACT_BLACKHOLE},
			    own = {.family = r->family,
				    .src_len = r->family == AF_INET ? 32 : 128,
				    .table = OWN_TABLE,
				    .action = FR_ACT_TO_TBL};

	if (!is_internet(r->family))
		return false;
	if (memcmp(r, &blackhole, sizeof(blackhole)) == 0)
		return is_port_rule(type, at, bytes, is_own, ctx);
	return memcmp(r, &own, sizeof(own)) == 0 &&
	       is_own_rule(type, r->family, at, bytes, is_own, ctx);
}

/* A default route of the main table behind all others. */
static bool
is_last_default(const struct rtmsg *m, const char *at, size_t bytes)
{
	uint32_t metric = 0;

	return m->rtm_table == RT_TABLE_MAIN && m->rtm_dst_len == 0 &&
	       attribute(at, bytes, RTA_PRIORITY, &metric, sizeof(metric)) == sizeof(metric) &&
	       metric == UINT32_MAX;
}

/* A route of the table of the own traffic, or the last default route, out of an own interface. */
static bool
route_permitted(const struct rtmsg *m, const char *at, size_t bytes,
	bool (*is_own)(void *ctx, unsigned ifindex), void *ctx)
{
	uint32_t ifindex;

	return is_internet(m->rtm_family) && m->rtm_src_len == 0 && m->rtm_tos == 0 &&
	       (m->rtm_table == OWN_TABLE || is_last_default(m, at, bytes)) &&
	       m->rtm_type == RTN_UNICAST && m->rtm_flags == 0 &&
	       attributes_are(at, bytes, BIT(RTA_DST) | BIT(RTA_OIF) | BIT(RTA_PRIORITY)) &&
	       attribute(at, bytes, RTA_OIF, &ifindex, sizeof(ifindex)) == sizeof(ifindex) &&
	       is_own(ctx, ifindex);
}

bool
host_netlink_permits(
	const void *message, size_t bytes, bool (*is_own)(void *ctx, unsigned ifindex), void *ctx)
{
	struct nlmsghdr h;
	const char *body = (const char *)message + sizeof(h);
	union {
		struct ndmsg neighbor;
		struct ifaddrmsg address;
		struct ifinfomsg link;
		struct fib_rule_hdr rule;
		struct rtmsg route;
	} b;

	if (bytes < sizeof(h))
		return false;
	memcpy(&h, message, sizeof(h));
	if (h.nlmsg_len != bytes)
		return false;
	switch (h.nlmsg_type) {
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		if (bytes < sizeof(h) + sizeof(b.neighbor))
			return false;
		memcpy(&b.neighbor, body, sizeof(b.neighbor));
		return is_internet(b.neighbor.ndm_family) && b.neighbor.ndm_ifindex > 0 &&
		       is_own(ctx, (unsigned)b.neighbor.ndm_ifindex) &&
		       attributes_are(body + sizeof(b.neighbor),
			       bytes - sizeof(h) - sizeof(b.neighbor),
			       BIT(NDA_DST) | BIT(NDA_FLAGS_EXT));
	case RTM_NEWADDR:
	case RTM_DELADDR:
		if (bytes < sizeof(h) + sizeof(b.address))
			return false;
		memcpy(&b.address, body, sizeof(b.address));
		return is_internet(b.address.ifa_family) && b.address.ifa_index > 0 &&
		       is_subnet(&b.address) && is_own(ctx, b.address.ifa_index) &&
		       attributes_are(body + sizeof(b.address),
			       bytes - sizeof(h) - sizeof(b.address),
			       BIT(IFA_LOCAL) | BIT(IFA_ADDRESS));
	case RTM_NEWRULE:
	case RTM_DELRULE:
		if (bytes < sizeof(h) + sizeof(b.rule))
			return false;
		memcpy(&b.rule, body, sizeof(b.rule));
		return rule_permitted(h.nlmsg_type, &b.rule, body + sizeof(b.rule),
			bytes - sizeof(h) - sizeof(b.rule), is_own, ctx);
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		if (bytes < sizeof(h) + sizeof(b.route))
			return false;
		memcpy(&b.route, body, sizeof(b.route));
		return route_permitted(&b.route, body + sizeof(b.route),
			bytes - sizeof(h) - sizeof(b.route), is_own, ctx);
	case RTM_NEWLINK: /* without attributes: names, namespaces, MAC addresses */
		if (bytes != sizeof(h) + sizeof(b.link))
			return false;
		memcpy(&b.link, body, sizeof(b.link));
		return b.link.ifi_index > 0 && b.link.ifi_flags == (unsigned)IFF_UP &&
		       b.link.ifi_change == (unsigned)IFF_UP &&
		       is_own(ctx, (unsigned)b.link.ifi_index);
	default:
		return false;
	}
}

int
host_netlink(int fd, void *message, size_t bytes)
{
	static uint32_t seq;
	char answer[ANSWER_MAX];
	struct nlmsghdr h;
	struct nlmsgerr e;
	ssize_t n;

	memcpy(&h, message, sizeof(h));
	h.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	h.nlmsg_seq = ++seq;
	memcpy(message, &h, sizeof(h));
	if (send(fd, message, bytes, 0) < 0)
		return -errno;
	/* The kernel answers within send(). Earlier messages belong to an interrupted request. */
	for (;;) {
		n = recv(fd, answer, sizeof(answer), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if ((size_t)n < sizeof(h) + sizeof(e))
			continue;
		memcpy(&h, answer, sizeof(h));
		memcpy(&e, answer + sizeof(h), sizeof(e));
		if (h.nlmsg_seq == seq && h.nlmsg_type == NLMSG_ERROR)
			return e.error;
	}
}
