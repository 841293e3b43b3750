/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For tests that need addresses of their own: a network namespace with two interfaces that loop back, `east` and `west`; or ports of their own,
 * which nobody else takes: one with its loopback alone. Threads and sockets made afterwards are in it.
 */
#pragma once

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* False: not allowed here. */
static inline bool
own_net_enter(void)
{
	if (unshare(CLONE_NEWNET) != 0) {
		printf("skipped: no network namespace of its own\n");
		return false;
	}
	return system("set -e; ip link set lo up; for i in east west; do "
		      "ip link add $i type veth peer name $i-far; "
		      "ip link set $i addrgenmode none; ip link set $i up; ip link set $i-far up; "
		      "ip address add fe80::1/64 dev $i nodad; "
		      "ip address add fe80::2/64 dev $i nodad; done; "
		      "ip address add 192.0.2.1/24 dev east; ip address add 192.0.2.2/24 dev east; "
		      "ip address add 2001:db8:1::1/64 dev east nodad; "
		      "ip address add 2001:db8:1::2/64 dev east nodad; "
		      "ip address add 2001:db8:9::9/128 dev lo nodad") == 0;
}

/* Where that is not allowed, ports are shared with the whole host. */
static inline bool
own_net_ports(void)
{
	return unshare(CLONE_NEWNET) != 0 || system("ip link set lo up") == 0;
}
