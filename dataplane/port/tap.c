/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/port/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if_arp.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Sets address and MTU and reads the index, in the network namespace of the caller. */
static int
configure(struct ifreq *r, const uint8_t mac[6], uint16_t mtu, unsigned *ifindex)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCGIFINDEX, r) != 0) {
		rc = -errno;
		goto out;
	}
	*ifindex = (unsigned)r->ifr_ifindex;
	memset(&r->ifr_hwaddr, 0, sizeof(r->ifr_hwaddr));
	r->ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(r->ifr_hwaddr.sa_data, mac, 6);
	if (ioctl(fd, SIOCSIFHWADDR, r) != 0) {
		rc = -errno;
		goto out;
	}
	r->ifr_mtu = mtu;
	if (ioctl(fd, SIOCSIFMTU, r) != 0)
		rc = -errno;
out:
	close(fd);
	return rc;
}

int
tap_open(const char *name, const uint8_t mac[6], uint16_t mtu, unsigned *ifindex)
{
	struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd, rc;

	if (strlen(name) >= sizeof(r.ifr_name) || strchr(name, '%') != NULL)
		return -EINVAL;
	memcpy(r.ifr_name, name, strlen(name) + 1);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = ioctl(fd, TUNSETIFF, &r) == 0 ? 0 : -errno;
	if (rc == -EINVAL && if_nametoindex(name) != 0)
		rc = -EEXIST;
	if (rc == 0)
		rc = configure(&r, mac, mtu, ifindex);
	if (rc == 0)
		rc = tap_carrier_set(fd, false);
	if (rc != 0) {
		close(fd);
		return rc;
	}
	return fd;
}

int
tap_carrier_set(int fd, bool up)
{
	int carrier = up;

	return ioctl(fd, TUNSETCARRIER, &carrier) == 0 ? 0 : -errno;
}
