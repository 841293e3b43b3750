/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/host_setting.h"
#include "lpm/net_feature.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

/* As control/host/port_guard.c sets them for a port. */
static const char *const sysctls[] = {"accept_ra", "accept_redirects", "arp_ignore", "arp_notify",
	"autoconf", "keep_addr_on_down", "ndisc_notify", "rp_filter", "send_redirects"};
static const char *const features[] = {"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"};

static bool
in_list(const char *const *list, unsigned count, const char *name)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(list[i], name) == 0)
			return true;
	return false;
}

int
host_setting(
	const char *path, const char *value, bool (*is_own)(void *ctx, unsigned ifindex), void *ctx)
{
	struct net_feature f;
	char iface[IFNAMSIZ], name[32];
	int version, end = 0;

	if (strlen(value) == 0 || strlen(value) > 8)
		return -EPERM;
	if (net_feature_parse(path, &f))
		return strcmp(f.netns, ".") == 0 &&
				       in_list(features, sizeof(features) / sizeof(features[0]),
					       f.feature) &&
				       is_own(ctx, if_nametoindex(f.iface))
			       ? net_setting_write(path, value)
			       : -EPERM;
	if (sscanf(path, "/proc/sys/net/ipv%d/conf/%15[^/]/%31[a-z_]%n", &version, iface, name,
		    &end) != 3 ||
		path[end] != '\0' || (version != 4 && version != 6) ||
		!in_list(sysctls, sizeof(sysctls) / sizeof(sysctls[0]), name) ||
		!is_own(ctx, if_nametoindex(iface)))
		return -EPERM;
	return net_setting_write(path, value);
}
