/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/process/host_setting.h"
#include "lpm/base/net_feature.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

/* As control/host/port_guard.c sets them for a port. */
static const char *const sysctls[] = {"accept_ra", "accept_redirects", "arp_ignore", "arp_notify",
	"autoconf", "keep_addr_on_down", "ndisc_notify", "rp_filter", "send_redirects"};
static const char *const features[] = {"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"};

#define REDIRECTS_OF_ALL "/proc/sys/net/ipv4/conf/all/accept_redirects"

/* Of REDIRECTS_OF_ALL at the start of keelfwd. */
static char redirects[4] = "0";

void
host_setting_begin(void)
{
	FILE *f = fopen(REDIRECTS_OF_ALL, "re");

	if (f == NULL || fscanf(f, "%3s", redirects) != 1)
		strcpy(redirects, "0");
	if (f != NULL)
		(void)fclose(f);
}

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
	/* keeld changes it for the ports, and restores it at their end */
	if (strcmp(path, REDIRECTS_OF_ALL) == 0)
		return strcmp(value, "0") == 0 || strcmp(value, redirects) == 0
			       ? net_setting_write(path, value)
			       : -EPERM;
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
