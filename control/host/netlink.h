/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host thread's mirror of the kernel by libmnl: links, addresses and neighbours of our ports, addresses of lo and keel0 (ours on every
 * port), routes of the main table; what it sees goes to the fib thread by the callbacks. Also keeps the kernel from forwarding what it is passed (a rule `iif PORT ... blackhole` behind the local table) and
 * the port's sysctls, all restored on stop.
 *
 * Writer: the host thread. On overrun (ENOBUFS) everything is dumped again and compared.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/path_list.h"
#include "lpm/prefix.h"

struct arena;
struct netlink;
struct thread;

struct netlink_port {
	uint16_t port;
	unsigned ifindex;
	struct vrf_id vrf;
	const char *name;
	bool xdp; /* AF_XDP: the driver of the interface is the kernel's */
};

struct netlink_hop {
	struct ip_addr addr; /* AFI_NONE: directly on the port; a link-local one has its zone */
	uint16_t port;
};

struct netlink_config {
	struct arena *arena;
	const struct netlink_port *
		ports; /* copied; empty without a data plane: then every interface counts, with port = PORT_NONE */
	unsigned port_count;
	/* Where the sysctls' values are noted that were there before, for the next start should this one be killed; may be NULL. */
	const char *state_dir;
	/* On the host thread. `mac` NULL: the neighbour is lost (FAILED, deleted, its subnet left the interface). Local: an address of ours and its subnet. */
	void (*address)(void *ctx, struct vrf_id vrf, uint16_t port, const struct prefix *subnet,
		const struct ip_addr *local, bool present);
	void (*neighbor)(void *ctx, struct vrf_id vrf, uint16_t port, const struct ip_addr *addr,
		const uint8_t mac[6]);
	void (*link)(void *ctx, uint16_t port, bool up,
		uint64_t event_ns); /* monotonic: when the message was read */
	/* A port's MAC address or MTU is not what it was. True: neighbours there are told again. May be NULL. */
	bool (*changed)(void *ctx, uint16_t port);
	/*
	 * A route of the kernel's main table (an IGP beside us, an operator's `ip route`): not protocol kernel, not through keel0. Hops out of an
	 * interface that is no port of ours have PORT_NONE and are left out with a data plane. count 0 with `present`: blackhole. May be NULL.
	 */
	void (*route)(void *ctx, struct vrf_id vrf, const struct prefix *p,
		const struct netlink_hop *hops, unsigned count, uint32_t metric, bool present);
	void *ctx;
};

/* Opens sockets in the calling thread's namespace. 0, -errno. */
int netlink_create(const struct netlink_config *c, struct netlink **out);
/* Puts rule and sysctls back. */
void netlink_destroy(struct netlink *n);
/* On the host thread: watches the sockets and asks for the first dump (links, addresses, neighbours, routes in this order). */
int netlink_start(struct netlink *n, struct thread *self) RUNS_ON(role_host);
/* Main, before the ports forward: sets an address on a port's interface if it is not there. 0, -errno. */
int netlink_address_add(
	struct netlink *n, unsigned ifindex, const struct ip_addr *addr, uint8_t len);
int netlink_address_remove(
	struct netlink *n, unsigned ifindex, const struct ip_addr *addr, uint8_t len);
int netlink_link_up(struct netlink *n, unsigned ifindex);
/*
 * Main, before netlink_start(): the interface of the host's own way out (docs/architecture.md): its sysctls, default routes of both
 * families through it with metric 4294967295, its addresses as local ones in `address` (port PORT_NONE). 0, -errno.
 */
int netlink_tun_add(struct netlink *n, const char *name, unsigned ifindex, struct vrf_id vrf);
/* Asks the kernel to resolve a neighbour and to keep it resolved (NTF_EXT_MANAGED, else NTF_USE). 0, -errno. */
int netlink_resolve(struct netlink *n, uint16_t port, const struct ip_addr *addr)
	RUNS_ON(role_host);
/* Nobody wants it any more: it ages as any other. */
void netlink_release(struct netlink *n, uint16_t port, const struct ip_addr *addr)
	RUNS_ON(role_host);
/*
 * The same for a packet that waits: once, and kept resolved only from its first answer on until it does not answer. A sender that walks
 * through a subnet would leave the kernel asking for all of it for ever.
 */
int netlink_glean(struct netlink *n, uint16_t port, const struct ip_addr *addr) RUNS_ON(role_host);
/*
 * What packets of our own about those received on `port` carry as source: its first address (of IPv6 a global one), else one of lo or
 * keel0, else a link-local one. False: none.
 */
bool netlink_source(const struct netlink *n, struct vrf_id vrf, uint16_t port, enum afi afi,
	struct ip_addr *out) RUNS_ON(role_host);
/* Is it an address of ours, on any interface of the VRF? In the callback `address` too: an address may be set with two lengths. */
bool netlink_is_local(const struct netlink *n, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_host);

struct netlink_neighbor {
	struct vrf_id vrf;
	uint16_t port;
	struct ip_addr addr;
	uint8_t mac[6];
	uint16_t nud_state; /* NUD_* of linux/neighbour.h */
};
/* Up to `max` of the mirror; how many there are. */
unsigned netlink_neighbors(struct netlink *n, struct netlink_neighbor *out, unsigned max)
	RUNS_ON(role_host);

/* What could not be set (a rule, a sysctl under a read-only /proc/sys): the router works, the operator should know. */
struct netlink_fault {
	char what[96];
	int error; /* -errno */
};
/* Up to `max`; how many there are. Main. */
unsigned netlink_faults(const struct netlink *n, struct netlink_fault *out, unsigned max);
/* Any thread: how often the kernel's messages did not fit, and everything was dumped again. */
uint64_t netlink_overruns(const struct netlink *n);
