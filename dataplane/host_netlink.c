/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/host_netlink.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX 1024

int
host_netlink_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd >= 0 ? fd : -errno;
}

static bool
is_internet(unsigned family)
{
	return family == AF_INET || family == AF_INET6;
}

/*
 * True if all attributes have one of two types. Others may name another object than the interface, for
 * example IFA_TARGET_NETNSID a network namespace. As in the kernel, a malformed attribute is the end.
 */
static bool
attributes_are(const char *at, size_t bytes, unsigned one, unsigned other)
{
	struct nlattr a;

	while (bytes >= sizeof(a)) {
		size_t step;

		memcpy(&a, at, sizeof(a));
		if (a.nla_len < sizeof(a) || a.nla_len > bytes)
			break;
		if ((a.nla_type & NLA_TYPE_MASK) != one && (a.nla_type & NLA_TYPE_MASK) != other)
			return false;
		step = NLA_ALIGN(a.nla_len);
		if (step >= bytes)
			break;
		at += step;
		bytes -= step;
	}
	return true;
}

/* A shorter prefix is no subnet of an interface: its connected route would attract the traffic of the host. */
static bool
is_subnet(const struct ifaddrmsg *m)
{
	return m->ifa_prefixlen >= (m->ifa_family == AF_INET ? 8 : 16);
}

/* A blackhole, with attributes as the only selectors. */
static bool
is_plain_rule(const struct fib_rule_hdr *r)
{
	struct fib_rule_hdr plain = {.family = r->family, .action = FR_ACT_BLACKHOLE};

	return is_internet(r->family) && memcmp(r, &plain, sizeof(plain)) == 0;
}

/* The interface of FRA_IIFNAME; 0: none. The last attribute of this type counts, as in the kernel. */
static unsigned
rule_interface(const char *at, size_t bytes)
{
	char name[IFNAMSIZ] = "";
	struct nlattr a;

	while (bytes >= sizeof(a)) {
		size_t step, len;

		memcpy(&a, at, sizeof(a));
		if (a.nla_len < sizeof(a) || a.nla_len > bytes)
			break;
		len = a.nla_len - sizeof(a);
		if ((a.nla_type & NLA_TYPE_MASK) == FRA_IIFNAME) {
			if (len >= sizeof(name))
				return 0;
			memset(name, 0, sizeof(name));
			memcpy(name, at + sizeof(a), len);
		}
		step = NLA_ALIGN(a.nla_len);
		if (step >= bytes)
			break;
		at += step;
		bytes -= step;
	}
	return if_nametoindex(name);
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
			       bytes - sizeof(h) - sizeof(b.neighbor), NDA_DST, NDA_FLAGS_EXT);
	case RTM_NEWADDR:
	case RTM_DELADDR:
		if (bytes < sizeof(h) + sizeof(b.address))
			return false;
		memcpy(&b.address, body, sizeof(b.address));
		return is_internet(b.address.ifa_family) && b.address.ifa_index > 0 &&
		       is_subnet(&b.address) && is_own(ctx, b.address.ifa_index) &&
		       attributes_are(body + sizeof(b.address),
			       bytes - sizeof(h) - sizeof(b.address), IFA_LOCAL, IFA_ADDRESS);
	case RTM_NEWRULE:
	case RTM_DELRULE:
		if (bytes < sizeof(h) + sizeof(b.rule))
			return false;
		memcpy(&b.rule, body, sizeof(b.rule));
		return is_plain_rule(&b.rule) &&
		       attributes_are(body + sizeof(b.rule), bytes - sizeof(h) - sizeof(b.rule),
			       FRA_PRIORITY, FRA_IIFNAME) &&
		       is_own(ctx, rule_interface(body + sizeof(b.rule),
					   bytes - sizeof(h) - sizeof(b.rule)));
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
