/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by netlink.c (the mirror) and port_guard.c (what keeps the kernel from forwarding what it is passed).
 */
#pragma once

#include "control/netlink.h"
#include "lpm/base.h"

#include <linux/rtnetlink.h>

#define ATTRIBUTES_MAX 16 /* IFA_LOCAL, IFA_ADDRESS, NDA_DST, NDA_LLADDR are below */

struct mnl_socket;
struct nlmsghdr;
struct port_guard;

/* Sends and waits for the acknowledgement, which the kernel gives at once. 0, -errno. */
int netlink_request(struct mnl_socket *s, struct nlmsghdr *h);

/*
 * Main. Per port: the rule `iif PORT blackhole` behind the local table, for both families, and the port's sysctls. What fails is a
 * fault to tell, not an error. `s` must outlive it. 0, -ENOMEM.
 */
int port_guard_create(struct arena *a, struct mnl_socket *s, const struct netlink_port *ports,
	unsigned count, struct port_guard **out);
/* Puts everything back. */
void port_guard_destroy(struct port_guard *g);
unsigned port_guard_faults(const struct port_guard *g, struct netlink_fault *out, unsigned max);
