/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/base/netns.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>

int
netns_enter(const struct netns *n)
{
	return n == NULL || setns(n->fd, CLONE_NEWNET) == 0 ? 0 : -errno;
}

void
netns_leave(const struct netns *n)
{
	int error = errno;

	/* In a wrong namespace all later sockets of the thread would be wrong. */
	if (n != NULL && setns(n->home, CLONE_NEWNET) != 0)
		abort();
	errno = error;
}
