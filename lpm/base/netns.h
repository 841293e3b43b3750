/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network namespace beside the namespace of keeld. A thread enters the namespace for the calls
 * that open a socket or name an interface, and leaves before other work: setns(2) moves the calling
 * thread alone, and a socket stays in the namespace of its creation.
 *
 * Any thread. Immutable; control/host/vrf_netns.h creates and removes.
 */
#pragma once

struct netns {
	int fd; /* of the namespace */
	int home; /* of the namespace of keeld */
	int lock; /* of the owner (control/host/vrf_netns.c) */
};

/* NULL: the namespace of keeld, nothing to do. 0, -errno: the thread has not moved. */
int netns_enter(const struct netns *n);
/* After a successful netns_enter(). Keeps errno. */
void netns_leave(const struct netns *n);
