/* SPDX-License-Identifier: BSD-3-Clause */
/* Settings of the interfaces of ports, written by keelfwd for a keeld without the right. */
#pragma once

#include <stdbool.h>

/* At the start of keelfwd. */
void host_setting_begin(void);
/*
 * Writes a sysctl "/proc/sys/net/ipv4/conf/IFACE/NAME" (or ipv6), or a feature (lpm/base/net_feature.h) of the
 * present namespace. Only the settings of ports, and interfaces accepted by is_own(); and accept_redirects of
 * `all`, to 0 or the value at host_setting_begin().
 * Returns 0, -EPERM, or -errno.
 */
int host_setting(const char *path, const char *value, bool (*is_own)(void *ctx, unsigned ifindex),
	void *ctx);
