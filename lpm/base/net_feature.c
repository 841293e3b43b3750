/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/base/net_feature.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define FEATURES_MAX 1024

bool
net_feature_parse(const char *path, struct net_feature *p)
{
	return sscanf(path, NET_FEATURE_PREFIX "%63[^/]/%15[^/]/%31[^/]", p->netns, p->iface,
		       p->feature) == 3;
}

int
net_feature_path(const struct net_feature *p, char path[NET_FEATURE_PATH])
{
	int n = snprintf(path, NET_FEATURE_PATH, NET_FEATURE_PREFIX "%s/%s/%s", p->netns, p->iface,
		p->feature);

	return n < NET_FEATURE_PATH ? 0 : -ENAMETOOLONG;
}

/* ---- namespaces ---- */

int
net_feature_namespace(const char *name)
{
	char path[sizeof(NET_FEATURE_NAMESPACES) + 256];
	int fd;

	(void)snprintf(path, sizeof(path), NET_FEATURE_NAMESPACES "/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 ? fd : -errno;
}

/*
 * Runs fn(arg) with the calling thread in the namespace (".": the present namespace). Returns the
 * result of `fn`, or -errno.
 */
int
net_feature_run(const char *name, int (*fn)(void *arg), void *arg)
{
	int rc, own, there;

	if (strcmp(name, ".") == 0)
		return fn(arg);
	there = net_feature_namespace(name);
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
feature_read(int fd, const struct net_feature *p, struct feature *f)
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
feature_write(int fd, const struct net_feature *p, const struct feature *f, bool on)
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

/* A socket of the namespace of the path, or -errno. */
static int
feature_open(const char *path, struct net_feature *p)
{
	return net_feature_parse(path, p) ? net_feature_run(p->netns, socket_make, NULL) : -EINVAL;
}

int
net_feature_get(const char *path, char *value, size_t size)
{
	struct net_feature p = {""};
	struct feature f;
	int fd = feature_open(path, &p), rc;

	if (fd < 0)
		return fd;
	rc = feature_read(fd, &p, &f);
	close(fd);
	if (rc == 0)
		(void)snprintf(value, size, "%s", f.on ? "on" : "off");
	return rc;
}

static int
feature_set(const char *path, const char *value)
{
	struct net_feature p = {""};
	bool on = strcmp(value, "on") == 0;
	struct feature f;
	int fd = feature_open(path, &p), rc;

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
net_setting_is_feature(const char *path)
{
	return strncmp(path, NET_FEATURE_PREFIX, strlen(NET_FEATURE_PREFIX)) == 0;
}

int
net_setting_write(const char *path, const char *value)
{
	int fd, rc = 0;

	if (net_setting_is_feature(path))
		return feature_set(path, value);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		rc = -errno;
	close(fd);
	return rc;
}
