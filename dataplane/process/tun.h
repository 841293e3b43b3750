/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The TUN interface (`keel0`) for packets sent by this host: multihop BGP, sessions between
 * loopback addresses, answers to distant pings. The kernel's default route points to the
 * interface, which also holds the loopback addresses. A worker looks up each packet in the FIB and
 * sends the packet without decrementing the TTL.
 *
 * Created by main at start; the host thread reads the descriptor.
 */
#pragma once

#include "lpm/base/base.h"

struct tun;

/*
 * Creates the interface, non-blocking; the interface disappears with the process. `mtu` is the
 * smallest MTU of all ports, so that most packets need no error of a worker (punt_to_tun());
 * from 1280 to WORKER_INJECT_MAX. Returns 0 or -errno (-EBUSY: another process has the interface).
 */
int tun_create(const char *name, struct vrf_id vrf, uint16_t mtu, struct tun **out);
/* As tun_create() sets the MTU; also from another network namespace. Best effort. */
void tun_mtu_set(const struct tun *t, uint16_t mtu);
/* The thread that calls tun_write(), or before it: between both tun_write() uses the interface. */
void tun_show(struct tun *t);
void tun_hide(const struct tun *t);
void tun_destroy(struct tun *t);
/* -1: the interface was deleted. */
int tun_fd(const struct tun *t);
unsigned tun_ifindex(const struct tun *t);
/*
 * Passes a limited number of packets to the workers. Returns true if more packets may be waiting.
 * Closes the descriptor of a deleted interface.
 */
bool tun_drain(struct tun *t) RUNS_ON(role_host);
/* Gives an IP packet to the kernel by the interface of the VRF, if there is one. */
void tun_write(struct vrf_id vrf, const uint8_t *packet, unsigned len) RUNS_ON(role_host);
