/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/host/vlan_offload.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define NETNS_DIR "/run/netns"
#define FEATURES_MAX 1024
#define ANSWER_MAX 32768

static const char *const rx_features[] = {"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"};
static const char *const tx_features[] = {"tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"};
#define FEATURES (sizeof(rx_features) / sizeof(rx_features[0]))

struct place {
	char netns[64], iface[IFNAMSIZ], feature[ETH_GSTRING_LEN];
};

static bool
place_parse(const char *path, struct place *p)
{
	return sscanf(path, VLAN_OFFLOAD_PREFIX "%63[^/]/%15[^/]/%31[^/]", p->netns, p->iface,
		       p->feature) == 3;
}

static int
place_format(const struct place *p, char path[VLAN_OFFLOAD_PATH])
{
	int n = snprintf(path, VLAN_OFFLOAD_PATH, VLAN_OFFLOAD_PREFIX "%s/%s/%s", p->netns,
		p->iface, p->feature);

	return n < VLAN_OFFLOAD_PATH ? 0 : -ENAMETOOLONG;
}

/* ---- namespaces ---- */

static int
netns_open(const char *name)
{
	char path[sizeof(NETNS_DIR) + 256];
	int fd;

	(void)snprintf(path, sizeof(path), NETNS_DIR "/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 ? fd : -errno;
}

/*
 * Runs fn(arg) with the calling thread in the namespace (".": the present namespace). Returns the
 * result of `fn`, or -errno.
 */
static int
netns_run(const char *name, int (*fn)(void *arg), void *arg)
{
	int rc, own, there;

	if (strcmp(name, ".") == 0)
		return fn(arg);
	there = netns_open(name);
	if (there < 0)
		return there;
	own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	rc = own >= 0 && setns(there, CLONE_NEWNET) == 0 ? 0 : -errno;
	if (rc == 0) {
		rc = fn(arg);
		if (setns(own, CLONE_NEWNET) != 0)
			abort(); /* the thread would continue in the wrong namespace */
	}
	if (own >= 0)
		close(own);
	close(there);
	return rc;
}

/* The ioctls of a socket act on the namespace at the socket's creation. */
static int
socket_make(void *arg)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)arg;
	return fd >= 0 ? fd : -errno;
}

/* ---- features ---- */

static int
ethtool(int fd, const char *iface, void *command)
{
	struct ifreq r = {.ifr_data = command};

	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", iface);
	if (ioctl(fd, SIOCETHTOOL, &r) >= 0)
		return 0;
	return errno == ENODEV ? -ENOENT : -errno;
}

static int
feature_count(int fd, const char *iface, unsigned *count)
{
	union {
		struct ethtool_sset_info info;
		uint32_t word[sizeof(struct ethtool_sset_info) / 4 + 1];
	} q;
	int rc;

	memset(&q, 0, sizeof(q));
	q.info.cmd = ETHTOOL_GSSET_INFO;
	q.info.sset_mask = 1ull << ETH_SS_FEATURES;
	rc = ethtool(fd, iface, &q);
	*count = q.info.data[0] < FEATURES_MAX ? q.info.data[0] : FEATURES_MAX;
	return rc;
}

/* The bit of the feature; -ENOENT, -errno. */
static int
feature_index(int fd, const char *iface, const char *feature, unsigned count)
{
	struct ethtool_gstrings *q = calloc(1, sizeof(*q) + (size_t)count * ETH_GSTRING_LEN);
	int rc = -ENOMEM;

	if (q == NULL)
		return rc;
	q->cmd = ETHTOOL_GSTRINGS;
	q->string_set = ETH_SS_FEATURES;
	q->len = count;
	rc = ethtool(fd, iface, q);
	for (unsigned i = 0; rc == 0 && i <= count; i++) {
		if (i == count)
			rc = -ENOENT;
		else if (strncmp((const char *)&q->data[i * ETH_GSTRING_LEN], feature,
				 ETH_GSTRING_LEN) == 0) {
			free(q);
			return (int)i;
		}
	}
	free(q);
	return rc;
}

struct feature {
	unsigned count, index;
	bool on, changeable;
};

static int
feature_read(int fd, const struct place *p, struct feature *f)
{
	union {
		struct ethtool_gfeatures q;
		uint8_t room[sizeof(struct ethtool_gfeatures) +
			     FEATURES_MAX / 32 * sizeof(struct ethtool_get_features_block)];
	} get;
	const struct ethtool_get_features_block *b;
	int rc = feature_count(fd, p->iface, &f->count), i;
	uint32_t bit;

	if (rc != 0)
		return rc;
	i = feature_index(fd, p->iface, p->feature, f->count);
	if (i < 0)
		return i;
	memset(&get, 0, sizeof(get));
	get.q.cmd = ETHTOOL_GFEATURES;
	get.q.size = FEATURES_MAX / 32;
	rc = ethtool(fd, p->iface, &get);
	if (rc != 0)
		return rc;
	f->index = (unsigned)i;
	b = &get.q.features[f->index / 32];
	bit = 1u << f->index % 32;
	f->on = b->active & bit;
	f->changeable = (b->available & bit) && !(b->never_changed & bit);
	return 0;
}

static int
feature_write(int fd, const struct place *p, const struct feature *f, bool on)
{
	union {
		struct ethtool_sfeatures q;
		uint8_t room[sizeof(struct ethtool_sfeatures) +
			     FEATURES_MAX / 32 * sizeof(struct ethtool_set_features_block)];
	} set;
	struct ethtool_set_features_block *b = &set.q.features[f->index / 32];

	memset(&set, 0, sizeof(set));
	set.q.cmd = ETHTOOL_SFEATURES;
	set.q.size = (f->count + 31) / 32;
	b->valid = 1u << f->index % 32;
	b->requested = on ? b->valid : 0;
	return ethtool(fd, p->iface, &set);
}

int
vlan_offload_get(const char *path, char *value, size_t size)
{
	struct place p = {""};
	struct feature f;
	int fd, rc;

	if (!place_parse(path, &p))
		return -EINVAL;
	fd = netns_run(p.netns, socket_make, NULL);
	if (fd < 0)
		return fd;
	rc = feature_read(fd, &p, &f);
	close(fd);
	if (rc == 0)
		(void)snprintf(value, size, "%s", f.on ? "on" : "off");
	return rc;
}

int
vlan_offload_set(const char *path, const char *value)
{
	struct place p = {""};
	bool on = strcmp(value, "on") == 0;
	struct feature f;
	int fd, rc;

	if (!place_parse(path, &p))
		return -EINVAL;
	fd = netns_run(p.netns, socket_make, NULL);
	if (fd < 0)
		return fd;
	rc = feature_read(fd, &p, &f);
	if (rc == 0 && f.on != on) {
		rc = f.changeable ? feature_write(fd, &p, &f, on) : -EOPNOTSUPP;
		/* the kernel answers 0 also where the driver kept the old setting */
		if (rc == 0)
			rc = feature_read(fd, &p, &f);
		if (rc == 0 && f.on != on)
			rc = -EOPNOTSUPP;
	}
	close(fd);
	return rc;
}

bool
vlan_offload_rx(const char *iface, unsigned index, char path[VLAN_OFFLOAD_PATH])
{
	struct place p = {.netns = "."};

	if (index >= FEATURES)
		return false;
	(void)snprintf(p.iface, sizeof(p.iface), "%s", iface);
	(void)snprintf(p.feature, sizeof(p.feature), "%s", rx_features[index]);
	return place_format(&p, path) == 0;
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
	int fd = netns_open(name);
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
	DIR *d = opendir(NETNS_DIR);
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
	struct mnl_socket *s, unsigned ifindex, unsigned index, char path[VLAN_OFFLOAD_PATH])
{
	struct link_answer l = {.veth = false};
	struct place p = {.netns = "."};
	int rc = index < FEATURES ? request_link(s, ifindex, &l) : -ENOENT;

	if (rc == 0 && (!l.veth || l.peer == 0))
		rc = -ENOENT;
	if (rc == 0 && l.elsewhere)
		rc = netns_find(s, l.netns, p.netns, sizeof(p.netns));
	if (rc == 0)
		rc = netns_run(p.netns, name_of, &(struct named){l.peer, p.iface});
	if (rc != 0)
		return rc;
	(void)snprintf(p.feature, sizeof(p.feature), "%s", tx_features[index]);
	return place_format(&p, path);
}
