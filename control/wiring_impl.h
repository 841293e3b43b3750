/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared by wiring.c and wiring_host.c: messages between threads. */
#pragma once

#include "control/base/threads.h"
#include "control/config/vrf_names.h"
#include "control/host/netlink.h"
#include "control/session/session.h"
#include "control/wiring.h"
#include "rib/feed/fib_feed.h"
#include "rib/feed/nexthop.h"

#include <stdatomic.h>

/* A message between threads. The kind names the receiver and the part of the union. */
enum message_kind {
	MESSAGE_MAIN_LINK,
	MESSAGE_MAIN_ADDRESS,
	MESSAGE_MAIN_ROUTE,
	MESSAGE_MAIN_STATIC,
	MESSAGE_MAIN_PORT,
	MESSAGE_FIB_LINK,
	MESSAGE_FIB_ADDRESS,
	MESSAGE_FIB_ROUTE,
	MESSAGE_FIB_NEIGHBOR,
	MESSAGE_FIB_WATCH,
	MESSAGE_RIB_NEXT_HOP,
	MESSAGE_HOST_RESOLVE,
	MESSAGE_SESSION_INTERFACE,
	MESSAGE_SESSION_ADDRESS,
};

struct message_link {
	struct vrf_id vrf;
	uint16_t port;
	/* of an interface without a data plane; 0: the interface is gone, or has a data plane */
	uint16_t zone;
	bool up;
};
struct message_address { /* PORT_ANYCAST: `local` is an anycast address */
	struct vrf_id vrf;
	uint16_t port;
	struct prefix subnet;
	struct ip_addr local;
	bool present;
};
/* A route of the kernel; to main also a static route: present while the next hop resolves. */
struct message_kernel_route {
	struct vrf_id vrf;
	struct prefix prefix;
	bool present;
	uint64_t ports; /* to main: the ports of the hops, a bit each; 0: a hop has no port */
	uint32_t metric; /* to the fib thread, with the hops */
	unsigned hop_count;
	struct fib_feed_hop *hops; /* freed with the message */
};
/* The state of a port changed. */
struct message_port {
	char name[16], reason[160];
	uint8_t state, was; /* enum port_state */
};
struct message_neighbor {
	struct vrf_id vrf;
	uint16_t port;
	struct ip_addr addr;
	bool resolved;
	uint8_t mac[6];
};
struct message_next_hop {
	unsigned shard;
	struct nexthop_message next_hop;
};
struct message_resolve {
	uint16_t port;
	struct ip_addr addr;
	bool wanted;
};

/*
 * The receiver frees a message. No message is lost: without memory, the sender uses a message of
 * the reserve, or keeps the state in its own memory and sends later.
 */
struct message {
	struct thread_mail mail;
	struct message *next; /* in a list of the owner */
	bool reserved; /* belongs to the reserve */
	struct keeld *k;
	enum message_kind kind;
	union {
		struct message_link link;
		struct message_address address;
		struct message_kernel_route route;
		struct message_port port;
		struct message_neighbor neighbor;
		struct nexthop_message watch;
		struct message_next_hop next_hop;
		struct message_resolve resolve;
		struct speaker_interface interface;
		struct speaker_address own;
	};
};

/*
 * The reserve: messages for a lack of memory, enough for a full neighbour table. Untouched pages
 * take no memory.
 */
#define MESSAGES_RESERVED 2048
#define LINKS_MAX 64

struct event_message; /* wiring.c */

/* A thread's context for its work function. */
struct fib_context {
	struct keeld *k;
	struct thread *self;
	unsigned reader;
	struct timer due;
};
struct rib_context {
	struct keeld *k;
	unsigned shard;
	struct thread *self;
	struct timer tidy, paced;
	char name[16];
};
struct host_context {
	struct keeld *k;
	struct thread *self;
	struct timer gleans, states;
	uint8_t port_state[LINKS_MAX]; /* enum port_state, as logged */
	uint8_t port_cause[LINKS_MAX]; /* struct port_link */
};

/*
 * A report of the fib thread to a shard about prefixes without room in the forwarding tables. At
 * most one report per shard is open.
 */
struct report_context {
	struct keeld *k;
	unsigned shard;
	struct shard_report *report;
	struct thread_mail mail;
};

/* What routes and neighbours have of a port. */
struct port_face {
	unsigned ifindex; /* 0: the port is not held */
	uint16_t mtu;
	uint8_t mac[6];
};

struct wiring {
	/* Main is ending the threads: receivers of messages may be freed already. */
	_Atomic bool stopping;
	struct {
		struct message message[MESSAGES_RESERVED];
		_Atomic bool taken[MESSAGES_RESERVED];
	} reserve;
	/*
	 * Fib thread: next hops that wait for memory, oldest first. Later next hops are queued
	 * behind.
	 */
	struct {
		struct message *first, **end;
	} watch_owed;
	struct report_context report[SHARDS_MAX];
	struct fib_context fib;
	struct netlink_room neighbor_room; /* layers.neighbor_room */
	struct netlink *vrf_mirror[VRF_IDS_MAX]; /* main: of instances with a namespace */
	struct rib_context rib[SHARDS_MAX];
	struct host_context host;
	/* host thread, without a data plane: numbers of interfaces in use (netlink.h, number_take) */
	uint64_t numbers[PORT_NONE / 64 + 1];
	struct timer returns; /* main: wiring_ports_watch() */
	struct port_face held[LINKS_MAX]; /* main: of ports whose keelfwd has ended */
	/* Session thread: reserved before a change that causes an event. */
	struct event_message *events_reserved;
	/*
	 * Links are not sent as messages: the loss of a link must not wait behind a thousand
	 * neighbours in the mailbox of the fib thread. A word contains the time when the event was
	 * read, with bit 0: up. 0: no event yet.
	 */
	struct {
		_Atomic uint64_t seen[LINKS_MAX]; /* written by the host thread */
		uint64_t applied[LINKS_MAX]; /* written by the fib thread */
		_Atomic bool changed;
	} links;
};

/*
 * Sends a copy of `m` to the thread of its kind; takes over the hops of a route. After the start of
 * wiring_stop() the message is dropped. For reports of the host thread, and for requests of the fib
 * thread to the host thread: without memory, uses a message of the reserve (MESSAGES_RESERVED);
 * waits while the reserve is exhausted.
 */
void wiring_send(const struct message *m);
/* calloc() that waits for memory; NULL only after the start of wiring_stop(). */
void *wiring_calloc(struct keeld *k, size_t count, size_t size);

/* ---- wiring_host.c ---- */

int wiring_create_netlink(struct keeld *k);
/* Sets up keel0, keelfwd's interface for packets of this host; a failure is logged and not fatal. 0. */
int wiring_create_tun(struct keeld *k) RUNS_ON(role_main);
/* The mirror of a VRF; NULL: none. */
struct netlink *wiring_host_mirror(const struct keeld *k, struct vrf_id vrf) RUNS_ON(role_host);
struct netlink *wiring_mirror(const struct keeld *k, struct vrf_id vrf) RUNS_ON(role_main);
/* keel0 of a VRF with a mirror, after a change of ports: new, gone, or as before. */
void wiring_tun_follow(struct keeld *k, struct vrf_id vrf) RUNS_ON(role_host);
/* keelfwd learns the sources of ICMP errors of each port. */
void wiring_icmp_sources(struct keeld *k, struct vrf_id vrf) RUNS_ON(role_host);
unsigned wiring_tun_up(struct vrf_id vrf, struct netlink *mirror) RUNS_ON(role_main);
/* Destroys all mirrors. */
void wiring_destroy_host(struct keeld *k);
/* Reports the zone of a port to the feed. */
void wiring_zone(struct keeld *k, uint16_t port) RUNS_ON(role_fib);
/* Reports the zones of the ports to the feed, before the fib thread exists. */
void wiring_name_zones(struct keeld *k) RUNS_ON(role_main);
/* Callback of the feed, on the fib thread: starts or stops the resolution of a next hop. */
void wiring_resolve(void *ctx, uint16_t port, const struct ip_addr *addr, bool wanted);
/* Applies link losses seen by the host thread; called before all other work of the fib thread. */
void wiring_links_apply(struct keeld *k) RUNS_ON(role_fib);
/* Receivers of messages. */
void receive_main_link(struct keeld *k, const struct message_link *m) RUNS_ON(role_main);
void receive_main_address(struct keeld *k, const struct message_address *m) RUNS_ON(role_main);
void receive_main_route(struct keeld *k, const struct message_kernel_route *m) RUNS_ON(role_main);
void receive_fib_link(struct keeld *k, const struct message_link *m) RUNS_ON(role_fib);
void receive_fib_address(struct keeld *k, const struct message_address *m) RUNS_ON(role_fib);
void receive_fib_route(struct keeld *k, const struct message_kernel_route *m) RUNS_ON(role_fib);
void receive_fib_neighbor(struct keeld *k, const struct message_neighbor *m) RUNS_ON(role_fib);
void receive_host_resolve(struct keeld *k, const struct message_resolve *m) RUNS_ON(role_host);
/* The start function of the host thread; ctx is the struct keeld. */
int wiring_host_start(void *ctx, struct thread *self);
