/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/host/vrf_netns.h"

#include "control/host/netlink_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define FOLDER "/run/netns"
#define PATH_SIZE 64
#define LO_INDEX 1 /* of each namespace */
#define LINKS_MAX 256 /* interfaces to move */

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

/* All interfaces of the namespace. 0, -errno. */
static int
links_read(struct mnl_socket *s, struct links *out)
{
	size_t size = 1 << 15;
	char *buffer = malloc(size);
	ssize_t n = 1;
	int rc = MNL_CB_OK;

	memset(out, 0, sizeof(*out));
	if (buffer == NULL)
		return -ENOMEM;
	link_message(buffer, RTM_GETLINK, NLM_F_DUMP, 0)->ifi_family = AF_UNSPEC;
	if (mnl_socket_sendto(s, buffer, ((struct nlmsghdr *)(void *)buffer)->nlmsg_len) < 0)
		rc = MNL_CB_ERROR;
	while (rc == MNL_CB_OK && (n = mnl_socket_recvfrom(s, buffer, size)) > 0)
		rc = mnl_cb_run(buffer, (size_t)n, 1, mnl_socket_get_portid(s), on_link, out);
	rc = rc == MNL_CB_ERROR || n < 0 ? -errno : 0;
	free(buffer);
	return rc;
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

static void
close_both(struct netns *n)
{
	if (n->fd >= 0)
		close(n->fd);
	if (n->home >= 0)
		close(n->home);
	*n = (struct netns){-1, -1};
}

int
vrf_netns_open(const char *name, const char *owner, struct netns *out)
{
	char path[PATH_SIZE];
	int rc = 0;

	path_of(name, path);
	*out = (struct netns){-1, open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)};
	if (out->home < 0)
		return -errno;
	out->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (out->fd >= 0 && is_namespace(out->fd)) {
		rc = check_owner(out, owner);
	} else {
		if (out->fd >= 0)
			close(out->fd);
		rc = create(path, owner, out);
		out->fd = rc == 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
		if (rc == 0 && out->fd < 0)
			rc = -errno;
	}
	if (rc != 0)
		close_both(out);
	return rc;
}

/* ---- remove ---- */

static int
move_home(struct mnl_socket *s, int index, int home)
{
	char buffer[256];

	link_message(buffer, RTM_NEWLINK, NLM_F_ACK, index);
	mnl_attr_put_u32((struct nlmsghdr *)(void *)buffer, IFLA_NET_NS_FD, (uint32_t)home);
	return netlink_request(s, (struct nlmsghdr *)(void *)buffer);
}

unsigned
vrf_netns_remove(const char *name, struct netns *n)
{
	struct links *l = malloc(sizeof(*l));
	struct mnl_socket *s = NULL;
	char path[PATH_SIZE];
	unsigned stay = 0;

	if (l != NULL && netns_enter(n) == 0) {
		s = socket_open();
		if (s != NULL && links_read(s, l) == 0)
			for (unsigned i = 0; i < l->count; i++)
				stay += move_home(s, l->index[i], n->home) == -EEXIST;
		if (s != NULL)
			mnl_socket_close(s);
		netns_leave(n);
	}
	free(l);
	path_of(name, path);
	(void)umount2(path, MNT_DETACH);
	(void)unlink(path);
	close_both(n);
	return stay;
}
