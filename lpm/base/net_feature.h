/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Features of kernel interfaces (ethtool), as settings named by a path without blanks:
 * "ethtool/NETNS/INTERFACE/FEATURE". NETNS "." is the namespace of the caller.
 *
 * Any thread. All functions are plain system calls, without state.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define NET_FEATURE_PREFIX "ethtool/"
#define NET_FEATURE_PATH 96
#define NET_FEATURE_NAMESPACES "/run/netns"

struct net_feature {
	char netns[64], iface[16], feature[32];
};

bool net_feature_parse(const char *path, struct net_feature *p);
/* 0, -ENAMETOOLONG. */
int net_feature_path(const struct net_feature *p, char path[NET_FEATURE_PATH]);
/* "on" or "off". 0, -ENOENT (no such feature, interface or namespace), -errno. */
int net_feature_get(const char *path, char *value, size_t size);
/* True if the path of a setting names a feature; else it is a file, as below /proc/sys. */
bool net_setting_is_feature(const char *path);
/*
 * Sets a feature ("on" or "off"), or writes a file. 0, -EOPNOTSUPP (the driver does not let the feature
 * be changed), -errno.
 */
int net_setting_write(const char *path, const char *value);
/* A descriptor of a namespace by its name, or -errno. */
int net_feature_namespace(const char *name);
/*
 * Runs fn(arg) with the calling thread in the namespace. Returns the result of `fn`, or -errno.
 */
int net_feature_run(const char *name, int (*fn)(void *arg), void *arg);
