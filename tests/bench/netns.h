/* SPDX-License-Identifier: BSD-3-Clause */
/* For probe and bare: moves the calling thread into a namespace of `ip netns`. */
#pragma once

#include "tests/bench/tool.h"

#include <fcntl.h>
#include <sched.h>

static inline void
enter_netns(const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "/var/run/netns/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
		die(path, errno);
	close(fd);
}

/* NETNS:IFACE: into the namespace; the interface's name. */
static inline const char *
enter_netns_of(const char *spec)
{
	const char *iface = strchr(spec, ':');
	char netns[128];

	if (iface == NULL)
		die(spec, EINVAL);
	snprintf(netns, sizeof(netns), "%.*s", (int)(iface - spec), spec);
	enter_netns(netns);
	return iface + 1;
}
