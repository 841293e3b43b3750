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

static bool own_net; /* this is one */

/* False: not allowed here. */
static inline bool
own_net_enter(void)
{
	own_net = unshare(CLONE_NEWNET) == 0;
	if (!own_net) {
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
	own_net = unshare(CLONE_NEWNET) == 0;
	return !own_net || system("ip link set lo up") == 0;
}

/* The kernel takes little at once of what is sent by connections made afterwards, as on a slow way; else up to 4 MiB. True: so it is. */
static inline bool
own_net_takes_little(void)
{
	return own_net && system("echo 4096 8192 16384 > /proc/sys/net/ipv4/tcp_wmem") == 0;
}
