/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Network namespaces of VPN instances, as `ip netns` shows them: /run/netns/keel-NAME. The alias of
 * the interface lo holds the owner, so that the next start after a kill adopts the namespace with
 * its interfaces and addresses. A namespace without the owner is foreign and stays untouched.
 *
 * Main only.
 */
#pragma once

#include "lpm/base/netns.h"
#include "lpm/base/base.h"

/*
 * Creates or adopts the namespace `name`, with lo up. 0, and *out is for vrf_netns_remove();
 * -EEXIST: a foreign namespace has the name; -EBUSY: a running keeld has the namespace; a different
 * -errno: not created.
 */
int vrf_netns_open(const char *name, const char *owner, struct netns *out) RUNS_ON(role_main);
/*
 * Moves the interface `name` of the namespace of keeld into `n`, and sets its addresses again, which
 * the kernel drops. 0, also for an interface that is already in `n`, and none has the name in the
 * namespace of keeld; -ENODEV: neither has an interface of this name; -errno.
 */
int vrf_netns_take(const struct netns *n, const char *name) RUNS_ON(role_main);
/* Moves the interface back, with its addresses. 0; -ENODEV; -EEXIST: the name is in use; -errno. */
int vrf_netns_give(const struct netns *n, const char *name) RUNS_ON(role_main);
/*
 * Calls `each` for the namespaces of the owner whose names begin with `prefix`: what a killed keeld
 * has left, without those of a running keeld. `n` is closed after the call; vrf_netns_remove() is allowed in the call.
 */
void vrf_netns_each(const char *prefix, const char *owner,
	void (*each)(void *ctx, const char *name, struct netns *n), void *ctx) RUNS_ON(role_main);
/* Closes the descriptors; the namespace stays, for the next vrf_netns_open(). */
void vrf_netns_close(struct netns *n);
/*
 * Moves all interfaces but lo to the namespace of keeld, removes the name (with the right to write
 * in /run/netns), and closes the descriptors. The namespace ends with its last socket. Returns the number of interfaces that stay,
 * because the namespace of keeld has their names.
 */
unsigned vrf_netns_remove(const char *name, struct netns *n) RUNS_ON(role_main);
