/* SPDX-License-Identifier: BSD-3-Clause */
/* What device arguments and kernel interfaces say before a port opens. Needs no EAL. */
#include "dataplane/port/dataplane_struct.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define EAL_MB_MIN 64
#define EAL_MB_MAX 2048

/* ---- device arguments ---- */

bool
device_argument(const char *device, const char *key, char *out, size_t size)
{
	size_t key_len = strlen(key), len;
	const char *p = device;

	while ((p = strchr(p, ',')) != NULL) {
		p++;
		if (strncmp(p, key, key_len) != 0 || p[key_len] != '=')
			continue;
		p += key_len + 1;
		len = strcspn(p, ",");
		if (len >= size)
			return false;
		memcpy(out, p, len);
		out[len] = '\0';
		return true;
	}
	return false;
}

bool
device_is(const char *device, const char *driver)
{
	return strncmp(device, driver, strlen(driver)) == 0;
}

bool
device_is_af_xdp(const char *device)
{
	return device_is(device, "net_af_xdp");
}

bool
port_vlan_parse(const char *device, char parent[PORT_NAME_MAX], struct port_vlan *out)
{
	unsigned outer = 0, inner = 0;
	char id[16];

	if (!device_is(device, "vlan,") ||
		!device_argument(device, "parent", parent, PORT_NAME_MAX) ||
		!device_argument(device, "id", id, sizeof(id)) ||
		sscanf(id, "%u.%u", &outer, &inner) < 1 || outer == 0 || outer > VLAN_MAX ||
		inner > VLAN_MAX)
		return false;
	*out = (struct port_vlan){(uint16_t)outer, (uint16_t)inner};
	return true;
}

bool
port_vlan_is_on(const char *device, const char *parent)
{
	struct port_vlan vlan;
	char on[PORT_NAME_MAX];

	return port_vlan_parse(device, on, &vlan) && strcmp(on, parent) == 0;
}

unsigned
dataplane_eal_mb(unsigned memory_mb)
{
	unsigned mb = memory_mb / 4;

	return mb < EAL_MB_MIN ? EAL_MB_MIN : mb > EAL_MB_MAX ? EAL_MB_MAX : mb;
}

void
port_interface(const struct port_config *c, char out[PORT_NAME_MAX])
{
	if (port_kernel_of(c->device) != PORT_KERNEL_OWN ||
		!device_argument(c->device, "iface", out, PORT_NAME_MAX))
		(void)snprintf(out, PORT_NAME_MAX, "%s", c->name);
}

int
port_kernel_link(unsigned ifindex, uint8_t mac[6], uint16_t *mtu)
{
	struct ifreq r = {.ifr_flags = 0};
	int rc = 0, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (if_indextoname(ifindex, r.ifr_name) == NULL || ioctl(fd, SIOCGIFHWADDR, &r) != 0) {
		rc = -errno;
		goto out;
	}
	memcpy(mac, r.ifr_hwaddr.sa_data, 6);
	if (ioctl(fd, SIOCGIFMTU, &r) != 0)
		rc = -errno;
	else
		*mtu = (uint16_t)(r.ifr_mtu < UINT16_MAX ? r.ifr_mtu : UINT16_MAX);
out:
	close(fd);
	return rc;
}

enum port_kernel
port_kernel_of(const char *device)
{
	char iface[IFNAMSIZ];

	if (device_is(device, "net_af_xdp") || device_is(device, "net_af_packet"))
		return PORT_KERNEL_OWN;
	if (device_is(device, "net_pcap") && device_argument(device, "iface", iface, sizeof(iface)))
		return PORT_KERNEL_OWN;
	return device_is(device, "net_null") ? PORT_KERNEL_ANY : PORT_KERNEL_TAP;
}

static bool
is_tap(const char *name)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq r = {.ifr_data = (void *)&info};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool yes;

	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	yes = fd >= 0 && ioctl(fd, SIOCETHTOOL, &r) == 0 && strcmp(info.driver, "tun") == 0;
	if (fd >= 0)
		close(fd);
	return yes;
}

int
port_host_check(const char *name, const char *device, struct dataplane_error *err)
{
	enum port_kernel kernel = port_kernel_of(device);
	bool there = if_nametoindex(name) != 0;
	char iface[IFNAMSIZ];
	struct stat st;

	if (kernel == PORT_KERNEL_OWN || (kernel == PORT_KERNEL_ANY && there))
		return 0;
	if (device_argument(device, "iface", iface, sizeof(iface)) && strcmp(iface, name) == 0)
		return dataplane_fail(err, -EEXIST,
			"the interface %s belongs to the device, and a port of this device needs a "
			"kernel interface of its own: give the port another name",
			name);
	if (there && !is_tap(name))
		return dataplane_fail(err, -EEXIST,
			"an interface %s exists, and keeld has to create the port's interface: "
			"rename the interface or the port",
			name);
	/* not access(): to keel.service, without rights to devices, the call denies existing devices */
	if (stat("/dev/net/tun", &st) != 0)
		return dataplane_fail(err, -errno,
			"no /dev/net/tun, which the port's interface needs: load the module tun");
	return 0;
}

int
port_mtu_check(const char *device, uint16_t mtu, struct dataplane_error *err)
{
	if (!device_is_af_xdp(device) || mtu <= ROOM_XDP)
		return 0;
	return dataplane_fail(err, -EINVAL,
		"MTU %u is above %u, the limit of net_af_xdp, whose frames have one buffer each; "
		"devices that are bound to DPDK (keel-nic) have a limit of %u",
		mtu, ROOM_XDP, PORT_MTU_MAX);
}

bool
port_is_large(const struct port_config *c)
{
	char iface[IFNAMSIZ];
	uint16_t mtu = c->mtu;
	uint8_t mac[6];

	if (mtu == 0 && port_kernel_of(c->device) == PORT_KERNEL_OWN &&
		device_argument(c->device, "iface", iface, sizeof(iface)))
		(void)port_kernel_link(if_nametoindex(iface), mac, &mtu);
	return !device_is_af_xdp(c->device) && mtu > ROOM_PLAIN;
}
