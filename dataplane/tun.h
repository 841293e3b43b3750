/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The way out for the host's own packets: a TUN (`keel0`) that carries the kernel's default route. What the kernel emits there is
 * looked up in the FIB by a worker and leaves without TTL decrement. It holds the loopback addresses. Without it multihop BGP, loopback peers and
 * answers to distant pings never leave.
 *
 * Made by main at start; its descriptor is the host thread's.
 */
#pragma once

#include "lpm/base.h"

struct tun;

/*
 * Non-blocking; goes with the process. `mtu`: the least of the ports' (nobody tells the kernel of one that is smaller); at most
 * WORKER_INJECT_MAX is set. 0, -errno (-EBUSY: somebody else holds it).
 */
int tun_create(const char *name, struct vrf_id vrf, uint16_t mtu, struct tun **out);
void tun_destroy(struct tun *t);
int tun_fd(const struct tun *t);
unsigned tun_ifindex(const struct tun *t);
/* Hands up to a bounded number of packets to the workers; true: there may be more. */
bool tun_drain(struct tun *t) RUNS_ON(role_host);
