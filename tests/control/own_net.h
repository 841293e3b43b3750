/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network namespace for a test: with two looped interfaces `east` and `west` for tests with their
 * own addresses, or with only a loopback for tests with their own ports. Threads and sockets
 * created afterwards are inside.
 */
#pragma once

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static bool own_net; /* the process is in its own namespace */

/* False: not permitted here. */
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
		      "ip address add 2001:db8:9::9/128 dev lo nodad; "
		      /* A worker of the kernel adds the routes of IPv6 addresses, later under load. */
		      "for i in $(seq 600); do "
		      "[ $(ip -6 route show table local | grep -c ^local) -lt 8 ] || exit 0; "
		      "sleep 0.1; done; exit 1") == 0;
}

/* Without permission, ports are shared with the whole host. */
static inline bool
own_net_ports(void)
{
	own_net = unshare(CLONE_NEWNET) == 0;
	return !own_net || system("ip link set lo up") == 0;
}

/*
 * Limits the send buffer of later connections, like a slow link; the default is up to 4 MiB. True
 * on success.
 */
static inline bool
own_net_takes_little(void)
{
	return own_net && system("echo 4096 8192 16384 > /proc/sys/net/ipv4/tcp_wmem") == 0;
}

/* Later connections take several megabytes without a reader. True on success. */
static inline bool
own_net_takes_much(void)
{
	return own_net && system("echo 4096 8388608 16777216 > /proc/sys/net/ipv4/tcp_rmem && "
				 "echo 4096 8388608 16777216 > /proc/sys/net/ipv4/tcp_wmem") == 0;
}
