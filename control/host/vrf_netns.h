/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Network namespaces of VPN instances, as `ip netns` shows them: /run/netns/keel-NAME. The alias of
 * the interface lo holds the owner, so that the next start after a kill adopts the namespace with
 * its interfaces and addresses. A namespace without the owner is foreign and stays untouched.
 *
 * Main only.
 */
#pragma once

#include "control/base/netns.h"
#include "lpm/base.h"

/*
 * Creates or adopts the namespace `name`, with lo up. 0, and *out is for vrf_netns_remove();
 * -EEXIST: a foreign namespace has the name; a different -errno: not created.
 */
int vrf_netns_open(const char *name, const char *owner, struct netns *out) RUNS_ON(role_main);
/*
 * Moves all interfaces but lo to the namespace of keeld, removes the name, and closes the
 * descriptors. The namespace ends with its last socket. Returns the number of interfaces that stay,
 * because the namespace of keeld has their names.
 */
unsigned vrf_netns_remove(const char *name, struct netns *n) RUNS_ON(role_main);
