/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/host/vrf_netns.h"

#include "control/host/netlink_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/un.h>
#include <unistd.h>

#define FOLDER "/run/netns"
#define PATH_SIZE 64
#define LO_INDEX 1 /* of each namespace */
#define LINKS_MAX 256 /* interfaces to move */
#define LOCK_NAME "keel-instance"
#define CARRIED_MAX 256 /* addresses of an interface */

static void
path_of(const char *name, char path[static PATH_SIZE])
{
	snprintf(path, PATH_SIZE, FOLDER "/%s", name);
}

/* ---- netlink, in the namespace of the calling thread ---- */

static struct mnl_socket *
socket_open(void)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);

	if (s != NULL && mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0) {
		mnl_socket_close(s);
		return NULL;
	}
	return s;
}

static struct ifinfomsg *
link_message(char *buffer, uint16_t type, uint16_t flags, int index)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	h->nlmsg_seq = 1;
	m->ifi_index = index;
	return m;
}

/* Sets lo up, with the owner as alias. */
static int
mark(struct mnl_socket *s, const char *owner)
{
	char buffer[512];
	struct ifinfomsg *m = link_message(buffer, RTM_NEWLINK, NLM_F_ACK, LO_INDEX);

	m->ifi_change = m->ifi_flags = IFF_UP;
	if (!mnl_attr_put_strz_check(
		    (struct nlmsghdr *)(void *)buffer, sizeof(buffer), IFLA_IFALIAS, owner))
		return -ENAMETOOLONG;
	return netlink_request(s, (struct nlmsghdr *)(void *)buffer);
}

struct links {
	int index[LINKS_MAX];
	unsigned count;
	char alias[256]; /* of lo */
};

static int
on_attribute(const struct nlattr *a, void *data)
{
	struct links *l = data;

	if (mnl_attr_get_type(a) == IFLA_IFALIAS)
		snprintf(l->alias, sizeof(l->alias), "%.*s", (int)mnl_attr_get_payload_len(a),
			mnl_attr_get_str(a));
	return MNL_CB_OK;
}

static int
on_link(const struct nlmsghdr *h, void *data)
{
	const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);
	struct links *l = data;

	if (h->nlmsg_type != RTM_NEWLINK)
		return MNL_CB_OK;
	if (m->ifi_index == LO_INDEX)
		return mnl_attr_parse(h, sizeof(*m), on_attribute, l);
	if (l->count < LINKS_MAX)
		l->index[l->count++] = m->ifi_index;
	return MNL_CB_OK;
}

/* Calls `on` for each message of a dump of `type`. 0, -errno. */
static int
dump(struct mnl_socket *s, uint16_t type, mnl_cb_t on, void *data)
{
	size_t size = 1 << 15;
	char *buffer = malloc(size);
	ssize_t n = 1;
	int rc = MNL_CB_OK;

	if (buffer == NULL)
		return -ENOMEM;
	link_message(buffer, type, NLM_F_DUMP, 0)->ifi_family = AF_UNSPEC;
	if (mnl_socket_sendto(s, buffer, ((struct nlmsghdr *)(void *)buffer)->nlmsg_len) < 0)
		rc = MNL_CB_ERROR;
	while (rc == MNL_CB_OK && (n = mnl_socket_recvfrom(s, buffer, size)) > 0)
		rc = mnl_cb_run(buffer, (size_t)n, 1, mnl_socket_get_portid(s), on, data);
	rc = rc == MNL_CB_ERROR || n < 0 ? -errno : 0;
	free(buffer);
	return rc;
}

/* All interfaces of the namespace. 0, -errno. */
static int
links_read(struct mnl_socket *s, struct links *out)
{
	memset(out, 0, sizeof(*out));
	return dump(s, RTM_GETLINK, on_link, out);
}

/* ---- an interface moves with its addresses ---- */

struct carried_address {
	struct ifaddrmsg head;
	uint8_t local[16], far[16], broadcast[4]; /* `far` as in IFA_ADDRESS */
};

struct carried {
	char name[IFNAMSIZ];
	unsigned index; /* in the old namespace */
	unsigned flags;
	unsigned count;
	struct carried_address address[CARRIED_MAX];
};

static int
on_address_attribute(const struct nlattr *a, void *data)
{
	struct carried_address *c = data;
	uint16_t len = mnl_attr_get_payload_len(a);

	if (mnl_attr_get_type(a) == IFA_LOCAL && len <= sizeof(c->local))
		memcpy(c->local, mnl_attr_get_payload(a), len);
	else if (mnl_attr_get_type(a) == IFA_ADDRESS && len <= sizeof(c->far))
		memcpy(c->far, mnl_attr_get_payload(a), len);
	else if (mnl_attr_get_type(a) == IFA_BROADCAST && len == sizeof(c->broadcast))
		memcpy(c->broadcast, mnl_attr_get_payload(a), len);
	return MNL_CB_OK;
}

/* Link-local addresses of IPv6 come back by themselves. */
static int
on_address(const struct nlmsghdr *h, void *data)
{
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
	struct carried *c = data;

	if (h->nlmsg_type != RTM_NEWADDR || m->ifa_index != c->index ||
		(m->ifa_family == AF_INET6 && m->ifa_scope == RT_SCOPE_LINK) ||
		c->count == CARRIED_MAX)
		return MNL_CB_OK;
	c->address[c->count] = (struct carried_address){.head = *m};
	return mnl_attr_parse(h, sizeof(*m), on_address_attribute, &c->address[c->count++]);
}

static void
address_set(struct mnl_socket *s, unsigned index, const struct carried_address *c)
{
	static const uint8_t none[16];
	char buffer[256] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct ifaddrmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	size_t len = c->head.ifa_family == AF_INET ? 4 : 16;

	h->nlmsg_type = RTM_NEWADDR;
	h->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
	m->ifa_family = c->head.ifa_family;
	m->ifa_prefixlen = c->head.ifa_prefixlen;
	m->ifa_scope = c->head.ifa_scope;
	m->ifa_index = index;
	/* IPv6 has IFA_LOCAL on point-to-point links only */
	mnl_attr_put(h, IFA_LOCAL, len, memcmp(c->local, none, len) != 0 ? c->local : c->far);
	mnl_attr_put(h, IFA_ADDRESS, len, c->far);
	if (memcmp(c->broadcast, none, sizeof(c->broadcast)) != 0)
		mnl_attr_put(h, IFA_BROADCAST, sizeof(c->broadcast), c->broadcast);
	(void)netlink_request(s, h);
}

/* In the old namespace. 0, -errno. */
static int
leave(struct mnl_socket *s, struct carried *c, int to)
{
	struct ifreq r = {.ifr_flags = 0};
	char buffer[256];
	int rc;

	memcpy(r.ifr_name, c->name, sizeof(r.ifr_name));
	if (ioctl(mnl_socket_get_fd(s), SIOCGIFFLAGS, &r) == 0)
		c->flags = (unsigned)r.ifr_flags;
	rc = dump(s, RTM_GETADDR, on_address, c);
	if (rc != 0)
		return rc;
	link_message(buffer, RTM_NEWLINK, NLM_F_ACK, (int)c->index);
	mnl_attr_put_u32((struct nlmsghdr *)(void *)buffer, IFLA_NET_NS_FD, (uint32_t)to);
	return netlink_request(s, (struct nlmsghdr *)(void *)buffer);
}

/* In the new namespace, where the interface is down and has no address. */
static void
arrive(struct mnl_socket *s, const struct carried *c)
{
	unsigned index = if_nametoindex(c->name);
	char buffer[256];
	struct ifinfomsg *m;

	for (unsigned i = 0; i < c->count; i++)
		address_set(s, index, &c->address[i]);
	m = link_message(buffer, RTM_NEWLINK, NLM_F_ACK, (int)index);
	m->ifi_flags = c->flags & IFF_UP;
	m->ifi_change = IFF_UP;
	(void)netlink_request(s, (struct nlmsghdr *)(void *)buffer);
}

/* Moves an interface between `from` and `to`, of which one is NULL: the namespace of keeld. */
static int
move(const struct netns *from, const struct netns *to, const char *name)
{
	struct carried *c = calloc(1, sizeof(*c));
	struct mnl_socket *s = NULL;
	int rc = c == NULL ? -ENOMEM : netns_enter(from);

	if (rc == 0) {
		snprintf(c->name, sizeof(c->name), "%s", name);
		c->index = if_nametoindex(name);
		s = c->index != 0 ? socket_open() : NULL;
		rc = s != NULL ? leave(s, c, from != NULL ? from->home : to->fd) : -errno;
		if (s != NULL)
			mnl_socket_close(s);
		netns_leave(from);
	}
	if (rc == 0 && (rc = netns_enter(to)) == 0) {
		s = socket_open();
		if (s != NULL) {
			arrive(s, c);
			mnl_socket_close(s);
		}
		netns_leave(to);
	}
	free(c);
	return rc;
}

static bool
has_link(const struct netns *n, const char *name)
{
	bool found;

	if (netns_enter(n) != 0)
		return false;
	found = if_nametoindex(name) != 0;
	netns_leave(n);
	return found;
}

int
vrf_netns_take(const struct netns *n, const char *name)
{
	int rc = move(NULL, n, name);

	return rc == -ENODEV && has_link(n, name) ? 0 : rc;
}

int
vrf_netns_give(const struct netns *n, const char *name)
{
	return move(n, NULL, name);
}

/* ---- create and adopt ---- */

/*
 * As `ip netns` does: namespaces mounted here also appear in mount namespaces that `ip netns exec`
 * made before.
 */
static void
folder_share(void)
{
	if (mkdir(FOLDER, 0755) != 0 && errno != EEXIST)
		return;
	if (mount("", FOLDER, "none", MS_SHARED | MS_REC, NULL) == 0 || errno != EINVAL)
		return;
	if (mount(FOLDER, FOLDER, "none", MS_BIND | MS_REC, NULL) == 0)
		(void)mount("", FOLDER, "none", MS_SHARED | MS_REC, NULL);
}

/* True for a namespace; a file without a mount is a leftover of an interrupted creation. */
static bool
is_namespace(int fd)
{
	struct statfs s;

	return fstatfs(fd, &s) == 0 && s.f_type == NSFS_MAGIC;
}

/* Marked before the name exists, so that a kill leaves no foreign namespace. 0, -errno. */
static int
create(const char *path, const char *owner, const struct netns *home)
{
	struct mnl_socket *s;
	int rc, file;

	folder_share();
	file = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0);
	if (file < 0)
		return -errno;
	close(file);
	if (unshare(CLONE_NEWNET) != 0) {
		rc = -errno;
		unlink(path);
		return rc;
	}
	s = socket_open();
	rc = s != NULL ? mark(s, owner) : -errno;
	if (s != NULL)
		mnl_socket_close(s);
	if (rc == 0 && mount("/proc/thread-self/ns/net", path, "none", MS_BIND, NULL) != 0)
		rc = -errno;
	netns_leave(home);
	if (rc != 0)
		unlink(path);
	return rc;
}

/* 0: the namespace has the owner; -EEXIST: a different owner, or none. */
static int
check_owner(const struct netns *n, const char *owner)
{
	struct mnl_socket *s;
	struct links *l;
	int rc = netns_enter(n);

	if (rc != 0)
		return rc;
	s = socket_open();
	l = malloc(sizeof(*l));
	rc = s == NULL ? -errno : l == NULL ? -ENOMEM : links_read(s, l);
	if (rc == 0 && strcmp(l->alias, owner) != 0)
		rc = -EEXIST;
	free(l);
	if (s != NULL)
		mnl_socket_close(s);
	netns_leave(n);
	return rc;
}

void
vrf_netns_close(struct netns *n)
{
	if (n->fd >= 0)
		close(n->fd);
	if (n->home >= 0)
		close(n->home);
	if (n->lock >= 0)
		close(n->lock);
	*n = (struct netns){-1, -1, -1};
}

/*
 * Binds an abstract socket, whose name is unique in the namespace and vanishes with the process: a
 * namespace with the socket belongs to a running keeld. 0; -EBUSY: another keeld; -errno.
 */
static int
lock(struct netns *n)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "\0" LOCK_NAME};
	int rc = netns_enter(n);

	if (rc != 0)
		return rc;
	n->lock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (n->lock < 0 || bind(n->lock, (struct sockaddr *)&a,
				   (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
					       sizeof(LOCK_NAME))) != 0)
		rc = errno == EADDRINUSE ? -EBUSY : -errno;
	netns_leave(n);
	return rc;
}

/* 0, and *out is open; -ENOENT: there is no such namespace; -EEXIST: foreign; -errno. */
static int
open_existing(const char *name, const char *owner, struct netns *out)
{
	char path[PATH_SIZE];
	int rc;

	path_of(name, path);
	*out = (struct netns){open(path, O_RDONLY | O_CLOEXEC), -1, -1};
	if (out->fd < 0 || !is_namespace(out->fd)) {
		vrf_netns_close(out);
		return -ENOENT;
	}
	out->home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	rc = out->home >= 0 ? check_owner(out, owner) : -errno;
	if (rc == 0)
		rc = lock(out);
	if (rc != 0)
		vrf_netns_close(out);
	return rc;
}

int
vrf_netns_open(const char *name, const char *owner, struct netns *out)
{
	char path[PATH_SIZE];
	int rc = open_existing(name, owner, out);

	if (rc != -ENOENT)
		return rc;
	path_of(name, path);
	out->home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (out->home < 0)
		return -errno;
	rc = create(path, owner, out);
	if (rc == 0) {
		out->fd = open(path, O_RDONLY | O_CLOEXEC);
		rc = out->fd >= 0 ? lock(out) : -errno;
	}
	if (rc != 0)
		vrf_netns_close(out);
	return rc;
}

void
vrf_netns_each(const char *prefix, const char *owner,
	void (*each)(void *ctx, const char *name, struct netns *n), void *ctx)
{
	DIR *d = opendir(FOLDER);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		struct netns n;

		if (strncmp(e->d_name, prefix, strlen(prefix)) != 0 ||
			strlen(FOLDER "/") + strlen(e->d_name) >= PATH_SIZE ||
			open_existing(e->d_name, owner, &n) != 0)
			continue;
		each(ctx, e->d_name, &n);
		vrf_netns_close(&n);
	}
	if (d != NULL)
		closedir(d);
}

/* ---- remove ---- */

unsigned
vrf_netns_remove(const char *name, struct netns *n)
{
	struct links *l = malloc(sizeof(*l));
	struct mnl_socket *s = NULL;
	char path[PATH_SIZE], iface[IFNAMSIZ];
	unsigned stay = 0;
	int rc = -EIO;

	if (l != NULL && netns_enter(n) == 0) {
		s = socket_open();
		rc = s != NULL ? links_read(s, l) : -errno;
		if (s != NULL)
			mnl_socket_close(s);
		netns_leave(n);
	}
	for (unsigned i = 0; rc == 0 && i < l->count; i++) {
		if (netns_enter(n) != 0)
			break;
		if (if_indextoname((unsigned)l->index[i], iface) == NULL)
			iface[0] = '\0';
		netns_leave(n);
		stay += vrf_netns_give(n, iface) == -EEXIST;
	}
	free(l);
	path_of(name, path);
	/* keel-instance@.service has made the name where keeld has no right to */
	if (access(FOLDER, W_OK) == 0) {
		(void)umount2(path, MNT_DETACH);
		(void)unlink(path);
	}
	vrf_netns_close(n);
	return stay;
}
