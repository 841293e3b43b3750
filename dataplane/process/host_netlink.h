/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of keeld to the kernel, which keelfwd executes because keeld has no CAP_NET_ADMIN:
 * neighbours, addresses and the state "up" of the interfaces that keelfwd owns, rules and routes of
 * the table of the own traffic (lpm/base/own_table.h). All other requests are refused.
 *
 * Owner: the thread of keelfwd.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* A socket for host_netlink(), or -errno. */
int host_netlink_open(void);
/* True if keeld has made the network namespace of the calling thread: the alias of lo names keeld. */
bool host_netlink_of_keeld(void);
/*
 * True if `message` is one request for an interface of `is_own`: a neighbour or an address of IPv4
 * or IPv6, setting the interface up, a blackhole rule for packets from the interface, a route of
 * OWN_TABLE; or a rule for OWN_TABLE with an address that no other interface but lo has.
 */
bool host_netlink_permits(
	const void *message, size_t bytes, bool (*is_own)(void *ctx, unsigned ifindex), void *ctx);
/* Sends a permitted message and waits for the immediate answer. 0, or -errno of the kernel. */
int host_netlink(int fd, void *message, size_t bytes);
