/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by wiring.c and wiring_host.c: messages between threads.
 */
#pragma once

#include "control/keeld.h"
#include "control/session.h"
#include "control/wiring.h"
#include "rib/fib_feed.h"

/* One message between threads; freed by its receiver. Losing one for want of memory is logged by the sender. */
struct message {
	struct keeld *k;
	void (*fn)(void *arg);
	struct vrf_id vrf;
	uint16_t port;
	bool present, has_mac, wanted;
	struct prefix subnet;
	struct ip_addr addr;
	uint8_t mac[6];
	unsigned shard; /* whom the next hop is for */
	struct nexthop_message next_hop;
	struct session_event event;
	/* of a route; freed with the message */
	struct fib_feed_hop *hops;
	unsigned hop_count;
	uint32_t metric;
	uint64_t ports; /* of a kernel route */
};

/* Runs fn(copy of m) on `t`; fn frees it. After wiring_stop() has begun nothing runs. `m->hops` are taken over. */
void wiring_send(struct thread *t, void (*fn)(void *arg), const struct message *m);
void message_free(struct message *m);

/* ---- wiring_host.c ---- */

int wiring_create_netlink(struct keeld *k);
/* The way out for our own packets; without it (logged) the rest works. 0. */
int wiring_create_tun(struct keeld *k);
void wiring_destroy_tun(struct keeld *k);
/* Zones of ports, as long as the fib thread is not there. */
void wiring_name_zones(struct keeld *k);
/* The feed's callback: a next hop is (no longer) to be kept resolved. On the fib thread. */
void wiring_resolve(void *ctx, uint16_t port, const struct ip_addr *addr, bool wanted);
/* Losses of links that the host thread has seen; before anything else that the fib thread does. */
void wiring_links_apply(struct keeld *k) RUNS_ON(role_fib);
/* The host thread's start function; ctx is the keeld. */
int wiring_host_start(void *ctx, struct thread *self);
