/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/host/vlan_offload.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX 32768

static const char *const rx_features[] = {"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"};
static const char *const tx_features[] = {"tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"};
#define FEATURES (sizeof(rx_features) / sizeof(rx_features[0]))

bool
vlan_offload_rx(const char *iface, unsigned index, char path[NET_FEATURE_PATH])
{
	struct net_feature p = {.netns = "."};

	if (index >= FEATURES)
		return false;
	(void)snprintf(p.iface, sizeof(p.iface), "%s", iface);
	(void)snprintf(p.feature, sizeof(p.feature), "%s", rx_features[index]);
	return net_feature_path(&p, path) == 0;
}

/* ---- the far end of a veth ---- */

struct link_answer {
	bool veth, elsewhere;
	int32_t netns; /* id of the far end's namespace, if elsewhere */
	uint32_t peer;
};

static int
on_info(const struct nlattr *a, void *data)
{
	struct link_answer *l = data;

	if (mnl_attr_get_type(a) == IFLA_INFO_KIND)
		l->veth = strcmp(mnl_attr_get_str(a), "veth") == 0;
	return MNL_CB_OK;
}

static int
on_link_attribute(const struct nlattr *a, void *data)
{
	struct link_answer *l = data;

	switch (mnl_attr_get_type(a)) {
	case IFLA_LINK:
		l->peer = mnl_attr_get_u32(a);
		break;
	case IFLA_LINK_NETNSID:
		l->elsewhere = true;
		l->netns = (int32_t)mnl_attr_get_u32(a);
		break;
	case IFLA_LINKINFO:
		return mnl_attr_parse_nested(a, on_info, l);
	}
	return MNL_CB_OK;
}

static int
on_link(const struct nlmsghdr *h, void *data)
{
	return h->nlmsg_type == RTM_NEWLINK
		       ? mnl_attr_parse(h, sizeof(struct ifinfomsg), on_link_attribute, data)
		       : MNL_CB_OK;
}

static int
on_netns_attribute(const struct nlattr *a, void *data)
{
	if (mnl_attr_get_type(a) == NETNSA_NSID)
		*(int32_t *)data = (int32_t)mnl_attr_get_u32(a);
	return MNL_CB_OK;
}

static int
on_netns_id(const struct nlmsghdr *h, void *data)
{
	return h->nlmsg_type == RTM_NEWNSID
		       ? mnl_attr_parse(h, sizeof(struct rtgenmsg), on_netns_attribute, data)
		       : MNL_CB_OK;
}

/* 0, -errno; `fn` has seen the answer. */
static int
send_request(struct mnl_socket *s, struct nlmsghdr *h, mnl_cb_t fn, void *data)
{
	static uint32_t seq = UINT32_MAX / 2; /* differs from the numbers of netlink_request() */
	uint8_t *buffer = malloc(ANSWER_MAX);
	int rc = -ENOMEM;

	if (buffer == NULL)
		return rc;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	h->nlmsg_seq = ++seq;
	rc = mnl_socket_sendto(s, h, h->nlmsg_len) < 0 ? -errno : 1;
	while (rc > 0) {
		ssize_t len = mnl_socket_recvfrom(s, buffer, ANSWER_MAX);

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			rc = -errno;
		else if (((const struct nlmsghdr *)(const void *)buffer)->nlmsg_seq ==
			 h->nlmsg_seq) {
			rc = mnl_cb_run(buffer, (size_t)len, h->nlmsg_seq, mnl_socket_get_portid(s),
				fn, data);
			rc = rc < 0 ? -errno : rc;
		}
	}
	free(buffer);
	return rc;
}

static int
request_link(struct mnl_socket *s, unsigned ifindex, struct link_answer *out)
{
	char buffer[256] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *i;

	h->nlmsg_type = RTM_GETLINK;
	i = mnl_nlmsg_put_extra_header(h, sizeof(*i));
	i->ifi_index = (int)ifindex;
	return send_request(s, h, on_link, out);
}

/* The id of a named namespace, or -1. */
static int32_t
netns_id(struct mnl_socket *s, const char *name)
{
	char buffer[256] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	int fd = net_feature_namespace(name);
	struct rtgenmsg *g;
	int32_t id = -1;

	if (fd < 0)
		return -1;
	h->nlmsg_type = RTM_GETNSID;
	g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	g->rtgen_family = AF_UNSPEC;
	mnl_attr_put_u32(h, NETNSA_FD, (uint32_t)fd);
	(void)send_request(s, h, on_netns_id, &id);
	close(fd);
	return id;
}

/* The name of the namespace with the id. 0, -EXDEV. */
static int
netns_find(struct mnl_socket *s, int32_t id, char *name, size_t size)
{
	DIR *d = opendir(NET_FEATURE_NAMESPACES);
	int rc = -EXDEV;
	struct dirent *e;

	while (d != NULL && rc != 0 && (e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.' || strlen(e->d_name) >= size ||
			strchr(e->d_name, ' ') != NULL || netns_id(s, e->d_name) != id)
			continue;
		memcpy(name, e->d_name, strlen(e->d_name) + 1);
		rc = 0;
	}
	if (d != NULL)
		closedir(d);
	return rc;
}

struct named {
	unsigned ifindex;
	char *iface;
};

static int
name_of(void *arg)
{
	struct named *n = arg;

	return if_indextoname(n->ifindex, n->iface) != NULL ? 0 : -errno;
}

int
vlan_offload_peer(
	struct mnl_socket *s, unsigned ifindex, unsigned index, char path[NET_FEATURE_PATH])
{
	struct link_answer l = {.veth = false};
	struct net_feature p = {.netns = "."};
	int rc = index < FEATURES ? request_link(s, ifindex, &l) : -ENOENT;

	if (rc == 0 && (!l.veth || l.peer == 0))
		rc = -ENOENT;
	if (rc == 0 && l.elsewhere)
		rc = netns_find(s, l.netns, p.netns, sizeof(p.netns));
	if (rc == 0)
		rc = net_feature_run(p.netns, name_of, &(struct named){l.peer, p.iface});
	if (rc != 0)
		return rc;
	(void)snprintf(p.feature, sizeof(p.feature), "%s", tx_features[index]);
	return net_feature_path(&p, path);
}
