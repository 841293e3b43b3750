/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A mirror of the kernel by libmnl: links, addresses and neighbours of the ports, addresses of lo
 * and keel0 (local on every port), routes of the main table; for sessions, links and addresses of
 * all interfaces. Callbacks report changes. netlink also
 * keeps the kernel from forwarding packets of the ports (a rule `iif PORT ... blackhole` behind the
 * local table) and sets the sysctls of the ports; netlink_destroy() restores both.
 *
 * Writer: the host thread. After an overrun (ENOBUFS) the mirror dumps and compares everything
 * again.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/path_list.h"
#include "lpm/base/prefix.h"

struct arena;
struct netlink;
struct netns;
struct thread;

struct netlink_port {
	uint16_t port;
	unsigned ifindex;
	struct vrf_id vrf;
	const char *name;
	bool xdp; /* AF_XDP: the kernel has the driver of the interface */
};

/* An interface of the kernel. */
struct netlink_interface {
	unsigned ifindex;
	uint16_t port; /* the port, or the number of number_take(); PORT_NONE: neither */
	uint16_t zone;
	bool present, up; /* up: set up, and with carrier */
};

struct netlink_hop {
	struct ip_addr addr; /* AFI_NONE: directly on the port; link-local: with the zone */
	uint16_t port;
};

/*
 * Room in the tables of the kernel, one for each family, which all namespaces share (RFC 6583 7.1).
 * Requests for packets to addresses of connected subnets are limited: at most 64 unanswered ones of a
 * port and a family, and a quarter of the table in all. A request without an answer for 200 ms makes
 * room for the next one. Of the neighbours that have answered keeld keeps half a table resolved, the
 * newest ones; the kernel drops others when it needs room.
 *
 * The peers of BGP choose next hops, so unanswered ones are limited, too: 128 of a port and a family,
 * and a quarter of the table in all. Others wait for their turn: one without an answer for a second
 * makes room. Every second turn is for a next hop that was never asked for, or that has answered
 * before. Next hops that answer have no limit. From Linux 5.16 on, the kernel does not count next
 * hops in the table (NTF_EXT_LEARNED). When an older kernel refuses a next hop because its table is
 * full, an unanswered request for a packet ends.
 *
 * Writer: the host thread; the counters are for any thread.
 */
struct netlink_room {
	unsigned size[2]; /* IPv4, IPv6: gc_thresh3 */
	unsigned gleans[2], followed[2], hops[2];
	uint64_t full_ns[2]; /* when the kernel refused a next hop */
	struct netlink *mirrors; /* all that run, for the one with the most */
	_Atomic uint64_t held; /* requests held back */
	_Atomic uint64_t ended; /* requests ended by the next one */
	_Atomic uint64_t released; /* neighbours that are not kept any more */
	_Atomic uint64_t refused; /* requests refused by the kernel: its table is full */
	_Atomic uint64_t short_ns; /* monotonic: the last `held` or `refused` */
	_Atomic uint16_t short_port;
};
/* Reads the sizes. */
void netlink_room_init(struct netlink_room *room);

struct netlink_config {
	struct arena *arena;
	struct vrf_id vrf; /* the instance of the namespace */
	const struct netns *netns; /* NULL: the namespace of keeld; lent until netlink_destroy() */
	/*
	 * Ports exist in the namespace, or may be added. False: the mirror has every interface, with
	 * the number of number_take().
	 */
	bool forwards;
	const struct netlink_port *ports; /* copied, all of one namespace; may be empty */
	unsigned port_count;
	/*
	 * The folder for the previous values of the sysctls; the next start restores the values
	 * after a kill. May be NULL.
	 */
	const char *state_dir;
	struct netlink_room *room; /* lent; NULL: one of its own */
	/*
	 * On the host thread. `local`: an address of this host and the subnet. `mac` NULL: the
	 * neighbour is lost (FAILED, deleted, or without a subnet).
	 */
	void (*address)(void *ctx, struct vrf_id vrf, uint16_t port, const struct prefix *subnet,
		const struct ip_addr *local, bool present);
	void (*neighbor)(void *ctx, struct vrf_id vrf, uint16_t port, const struct ip_addr *addr,
		const uint8_t mac[6]);
	/*
	 * RFC 4291 2.6.1: a port has an IPv6 subnet of at most 126 bits (RFC 6164), and thus the
	 * subnet-router anycast address. `again`: present before, and the port was set down and is
	 * set up. May be NULL.
	 */
	void (*anycast)(void *ctx, struct vrf_id vrf, uint16_t port, const struct ip_addr *addr,
		bool present, bool again);
	/* Of ports. event_ns: monotonic time of the message */
	void (*link)(void *ctx, uint16_t port, bool up, uint64_t event_ns);
	/*
	 * Every interface of the namespace, a port or not, and the addresses of the interface that
	 * the kernel can use (RFC 4862 5.4: no tentative or duplicate address). The mirror reports
	 * an interface before the addresses. May be NULL.
	 */
	void (*interface)(void *ctx, struct vrf_id vrf, const struct netlink_interface *i);
	void (*interface_address)(void *ctx, struct vrf_id vrf, unsigned ifindex,
		const struct prefix *subnet, const struct ip_addr *local, bool present);
	/*
	 * Without a data plane, on the host thread: a number that stands for an interface in the
	 * place of a port; PORT_NONE: no number is free, and the state of the link stays unknown.
	 * May be NULL.
	 */
	uint16_t (*number_take)(void *ctx);
	void (*number_give)(void *ctx, uint16_t number);
	/*
	 * The MAC address or MTU of a port changed. True: report the neighbours of the port again.
	 * May be NULL.
	 */
	bool (*changed)(void *ctx, uint16_t port);
	/*
	 * A route of the main table (of an IGP or an operator), except routes of protocol kernel
	 * and routes through keel0. A hop out of an interface without a port has PORT_NONE, and is
	 * omitted with a data plane. count 0 with `present`: blackhole. May be NULL.
	 */
	void (*route)(void *ctx, struct vrf_id vrf, const struct prefix *p,
		const struct netlink_hop *hops, unsigned count, uint32_t metric, bool present);
	/*
	 * Executes a request that changes addresses, neighbours or the state of an interface, in a
	 * process with the right. `on_host` is false on main. Returns 0, or -errno of the kernel.
	 * NULL: this process has the right.
	 */
	int (*change)(void *ctx, bool on_host, const void *message, size_t bytes);
	/*
	 * Main: writes a setting of a port's interface, in a process with the right. Returns 0, or
	 * -errno. NULL: this process has the right.
	 */
	int (*setting)(void *ctx, const char *path, const char *value);
	void *ctx;
};

/* Opens sockets, and sets rules and sysctls, in config.netns. 0, -errno. */
int netlink_create(const struct netlink_config *c, struct netlink **out);
/*
 * Restores rules and sysctls. `keep`: the ports forward after the end of this process, so the rules, the
 * sysctls and the managed neighbours are left to the next process, as a kill does.
 */
void netlink_destroy(struct netlink *n, bool keep);
/*
 * On the host thread: watches the sockets and requests the first dump (links, addresses,
 * neighbours, routes in this order). Waits for the links and addresses, so that they are reported
 * before a session begins.
 */
int netlink_start(struct netlink *n, struct thread *self) RUNS_ON(role_host);
/*
 * The mirror of an instance ends: reports the loss of all interfaces, addresses and routes. Only
 * netlink_destroy() may follow.
 */
void netlink_stop(struct netlink *n) RUNS_ON(role_host);
/*
 * A port that was opened at run time: addresses, neighbours and routes of its interface follow. With
 * config.forwards. 0, -ENOMEM.
 */
int netlink_port_add(struct netlink *n, const struct netlink_port *p) RUNS_ON(role_host);
/* A port that is to be closed: reports the loss of its link, neighbours, addresses and routes. */
void netlink_port_remove(struct netlink *n, uint16_t port) RUNS_ON(role_host);
/*
 * Main: sets the rule and the settings of the port's interface. -errno: the port must not forward.
 * netlink_port_unguard() restores the settings of the interface, and removes rules that remained
 * of others.
 */
int netlink_port_guard(struct netlink *n, const struct netlink_port *p);
void netlink_port_unguard(struct netlink *n, const char *iface);
/* Calls `local` for each address of this host. */
void netlink_addresses_repeat(struct netlink *n,
	void (*local)(void *ctx, const struct ip_addr *addr), void *ctx) RUNS_ON(role_host);
/* Requests were lost: reports each port as changed, and its neighbours; repeats requests for own rules and routes. */
void netlink_ports_repeat(struct netlink *n) RUNS_ON(role_host);
/*
 * Main, before the ports forward: adds an address to the interface of a port, unless present. 0,
 * -errno.
 */
int netlink_address_add(
	struct netlink *n, unsigned ifindex, const struct ip_addr *addr, uint8_t len);
int netlink_address_remove(
	struct netlink *n, unsigned ifindex, const struct ip_addr *addr, uint8_t len);
int netlink_link_up(struct netlink *n, unsigned ifindex);
/*
 * keel0, the interface for packets of this host: the addresses of keel0 are local in `address`
 * (PORT_NONE), and default routes of both families lead there, with metric 4294967295. ifindex 0: keel0 is
 * gone. On the host thread, or before netlink_start(). 0, -ENOMEM.
 */
int netlink_tun_set(struct netlink *n, const char *name, unsigned ifindex);
/* Main: the sysctls and the rule of keel0; sets the link up. 0, -errno. */
int netlink_tun_up(struct netlink *n, const char *name, unsigned ifindex);
/*
 * Asks the kernel to resolve a neighbour and to keep the neighbour resolved (NTF_EXT_MANAGED with
 * NTF_EXT_LEARNED, else NTF_USE), at once or in its turn. 0, -errno.
 */
int netlink_resolve(struct netlink *n, uint16_t port, const struct ip_addr *addr)
	RUNS_ON(role_host);
/* The neighbour is not needed any more and ages in the kernel. */
void netlink_release(struct netlink *n, uint16_t port, const struct ip_addr *addr)
	RUNS_ON(role_host);
/*
 * -EBUSY: too many addresses are not answered (struct netlink_room).
 *
 * Resolves a neighbour for a waiting packet: asks once, and keeps the neighbour resolved while the
 * neighbour answers. Otherwise a sender that scans a subnet would make the kernel ask for every
 * address without end.
 */
int netlink_glean(struct netlink *n, uint16_t port, const struct ip_addr *addr) RUNS_ON(role_host);
/*
 * The source address of ICMP errors about packets received on `port`: the first address of the port
 * (IPv6: global), else an address of lo or keel0, else a link-local address. False: none.
 */
bool netlink_source(const struct netlink *n, struct vrf_id vrf, uint16_t port, enum afi afi,
	struct ip_addr *out) RUNS_ON(role_host);
/*
 * True if `addr` is an address of any interface of the VRF. Also for use in the callback `address`:
 * an address may be set with two lengths.
 */
bool netlink_is_local(const struct netlink *n, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_host);

struct netlink_neighbor {
	struct vrf_id vrf;
	uint16_t port;
	struct ip_addr addr;
	uint8_t mac[6];
	uint16_t nud_state; /* NUD_* of linux/neighbour.h */
};
/* Writes up to `max` neighbours; returns the number of neighbours in the mirror. */
unsigned netlink_neighbors(struct netlink *n, struct netlink_neighbor *out, unsigned max)
	RUNS_ON(role_host);

/* An address of a port that another machine on the link has, too (RFC 4862 5.4.5). */
struct netlink_duplicate {
	uint16_t port;
	struct ip_addr addr;
};
/* Writes up to `max` duplicate addresses; returns their number. */
unsigned netlink_duplicates(const struct netlink *n, struct netlink_duplicate *out, unsigned max)
	RUNS_ON(role_host);

/*
 * A failure to set a rule or sysctl, such as with a read-only /proc/sys. The router works; the log
 * and this list inform the operator.
 */
struct netlink_fault {
	char what[96];
	int error; /* -errno */
};
/* Main: writes up to `max` failures; returns the number of failures. */
unsigned netlink_faults(const struct netlink *n, struct netlink_fault *out, unsigned max);
/* Any thread: the number of overruns of the receive buffer since the start. */
uint64_t netlink_overruns(const struct netlink *n);
