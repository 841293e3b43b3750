/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/process/tun.h"
#include "dataplane/forward/worker.h"
#include "lpm/fib.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define MTU_MIN 1280
#define DRAIN_MAX 64 /* packets per call, so other work of the host thread continues */

struct tun {
	int fd; /* -1: the interface was deleted */
	int control; /* a socket in the network namespace of the interface */
	unsigned ifindex;
	struct vrf_id vrf;
	uint8_t packet[WORKER_INJECT_MAX + 1]; /* an extra byte reveals packets that are too long */
};

/* Of the host thread. */
static struct tun *shown[FIB_VRF_MAX];

/* The packet size of the interface; with less than 1280 the kernel would end IPv6 (RFC 8200 5). */
static int
mtu_of(uint16_t mtu)
{
	return mtu > WORKER_INJECT_MAX ? WORKER_INJECT_MAX : mtu < MTU_MIN ? MTU_MIN : mtu;
}

/* Sets the MTU and reads the index, in the network namespace of the caller. */
static int
configure(struct tun *t, struct ifreq *r, uint16_t mtu)
{
	t->control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (t->control < 0 || ioctl(t->control, SIOCGIFINDEX, r) != 0)
		return -errno;
	t->ifindex = (unsigned)r->ifr_ifindex;
	r->ifr_mtu = mtu_of(mtu);
	return ioctl(t->control, SIOCSIFMTU, r) == 0 ? 0 : -errno;
}

int
tun_create(const char *name, struct vrf_id vrf, uint16_t mtu, struct tun **out)
{
	struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	struct tun *t;
	int rc;

	if (strlen(name) >= sizeof(r.ifr_name) || strchr(name, '%') != NULL)
		return -EINVAL;
	memcpy(r.ifr_name, name, strlen(name) + 1);
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	t->vrf = vrf;
	t->control = -1;
	t->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (t->fd < 0) {
		rc = -errno;
		free(t);
		return rc;
	}
	rc = ioctl(t->fd, TUNSETIFF, &r) == 0 ? configure(t, &r, mtu) : -errno;
	if (rc != 0) {
		tun_destroy(t);
		return rc;
	}
	*out = t;
	return 0;
}

void
tun_mtu_set(const struct tun *t, uint16_t mtu)
{
	struct ifreq r = {.ifr_ifindex = (int)t->ifindex};

	if (ioctl(t->control, SIOCGIFNAME, &r) != 0)
		return;
	r.ifr_mtu = mtu_of(mtu);
	(void)ioctl(t->control, SIOCSIFMTU, &r);
}

void
tun_show(struct tun *t)
{
	shown[t->vrf.v] = t;
}

void
tun_hide(const struct tun *t)
{
	if (shown[t->vrf.v] == t)
		shown[t->vrf.v] = NULL;
}

void
tun_write(struct vrf_id vrf, const uint8_t *packet, unsigned len)
{
	const struct tun *t = vrf.v < FIB_VRF_MAX ? shown[vrf.v] : NULL;

	if (t != NULL && t->fd >= 0 && write(t->fd, packet, len) < 0)
		return; /* the interface is down */
}

static void
fd_close(struct tun *t)
{
	if (t->fd >= 0)
		(void)close(t->fd);
	t->fd = -1;
}

void
tun_destroy(struct tun *t)
{
	if (t == NULL)
		return;
	fd_close(t);
	if (t->control >= 0)
		(void)close(t->control);
	free(t);
}

int
tun_fd(const struct tun *t)
{
	return t->fd;
}

unsigned
tun_ifindex(const struct tun *t)
{
	return t->ifindex;
}

bool
tun_drain(struct tun *t)
{
	for (unsigned i = 0; i < DRAIN_MAX; i++) {
		ssize_t n = read(t->fd, t->packet, sizeof(t->packet));

		if (n < 0 && errno == EINTR)
			continue;
		/* polls of a deleted interface would report an error at once, again and again */
		if (n < 0 && errno == EBADFD)
			fd_close(t);
		if (n <= 0)
			return false;
		/*
		 * Dropped packets are counted by worker_inject(). A TUN yields only IP packets;
		 * only an overlong packet can be refused.
		 */
		(void)worker_inject(t->vrf, t->packet, (unsigned)n);
	}
	return true;
}
