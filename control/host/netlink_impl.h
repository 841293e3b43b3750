/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by netlink.c (the mirror), netlink_route.c (its routes), netlink_request.c (what is asked of the kernel) and port_guard.c (what
 * keeps the kernel from forwarding what it is passed).
 */
#pragma once

#include "control/host/netlink.h"
#include "control/base/threads.h"
#include "lpm/base.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdatomic.h>

#define ATTRIBUTES_MAX 32 /* the largest that we look at is RTA_NH_ID */
#define MESSAGE_MAX 32768 /* what the kernel packs a dump into */
#define NEIGHBOR_BUCKETS 1024 /* a power of two */

#ifndef NTF_EXT_MANAGED
#define NTF_EXT_MANAGED (1 << 0)
#endif
#define NUD_USABLE (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP)

struct mnl_socket;
struct nlattr;
struct nlmsghdr;
struct port_guard;
struct route_mirror;

enum dump { DUMP_NONE, DUMP_LINKS, DUMP_ADDRESSES, DUMP_NEIGHBORS, DUMP_ROUTES };

enum link_kind {
	LINK_PORT, /* one of config.ports: stays when the kernel's goes */
	LINK_OTHER, /* without a data plane every one counts */
	LINK_HOST, /* lo and keel0: their addresses are ours, and no packet of ours leaves there */
};

/* An interface that counts. */
struct link {
	struct link *next;
	unsigned ifindex;
	uint16_t port, zone;
	struct vrf_id vrf;
	enum link_kind kind;
	bool told, up;
	uint8_t mac[6];
	uint32_t mtu; /* 0: no message yet */
	bool admin_up; /* else the kernel has dropped its IPv4 routes, without a word */
	uint32_t epoch; /* of the dump that saw it last */
};

struct address {
	struct address *next;
	unsigned ifindex;
	struct ip_addr local;
	struct prefix subnet;
	bool tentative; /* RFC 4862 5.4: ours, and the kernel does not use it yet */
	uint32_t epoch;
};

/* How the kernel was asked for a neighbour. */
enum asked {
	ASKED_NOT, /* not by us */
	ASKED_GLEAN, /* once, for a packet: whoever sends to all addresses of a subnet makes one for each */
	ASKED_FOLLOW, /* it answered, so that it is kept resolved until it does not */
	ASKED_NEXT_HOP, /* routes lead there: kept resolved, and asked for as long as it does not answer */
};

struct neighbor {
	struct neighbor *next;
	unsigned ifindex;
	struct ip_addr addr;
	uint8_t mac[6];
	uint16_t nud_state; /* NUD_NONE: the kernel has no such entry */
	enum asked asked;
	bool usable; /* what the kernel says */
	bool told; /* what the callback was told last */
	uint8_t told_mac[6];
	uint32_t epoch;
};

/* Writer: the host thread from netlink_start on; main before, and after the host thread has ended. */
struct netlink {
	struct netlink_config config;
	struct thread *thread;
	struct watch link_watch, watch;
	struct mnl_socket *
		link_events; /* apart, so that no queue of other messages is before the loss of a link */
	struct mnl_socket *events;
	struct mnl_socket *main_requests, *host_requests; /* one a thread */
	struct port_guard *guard;
	struct timer retry; /* of next hops that the kernel would not take */
	uint32_t seq, dump_seq;
	enum dump dump;
	bool dump_again; /* something was lost since it began */
	bool adopt; /* until the first dump ends: managed neighbours are a killed one's of us, and go as ours do */
	bool routes_again; /* the kernel dropped some without a word */
	uint32_t epoch;
	struct link *links;
	struct address *addresses;
	struct neighbor *neighbors[NEIGHBOR_BUCKETS];
	unsigned neighbor_count;
	struct route_mirror *routes; /* NULL: nobody asked for them */
	_Atomic uint64_t overruns;
	char link_buffer[MESSAGE_MAX], buffer[MESSAGE_MAX];
};

/* ---- netlink.c ---- */

struct link *netlink_link_find(const struct netlink *n, unsigned ifindex);
struct link *netlink_link_add(
	struct netlink *n, unsigned ifindex, const char *name, enum link_kind kind);
/* Of a message behind a header of `size` bytes. */
void netlink_attributes(
	const struct nlmsghdr *h, size_t size, const struct nlattr *table[ATTRIBUTES_MAX]);
/* False: not there, or of another length than the family's. */
bool netlink_attr_addr(const struct nlattr *a, uint8_t family, struct ip_addr *out);
struct neighbor *netlink_neighbor_get(
	struct netlink *n, unsigned ifindex, const struct ip_addr *addr);
/* One that the kernel has no entry for. */
void netlink_neighbor_forget(struct netlink *n, struct neighbor *e);
/* A link-local address without a zone gets that of `l`. */
void netlink_zone_set(const struct link *l, struct ip_addr *a);

/* ---- netlink_request.c ---- */

/* Sends and waits for the acknowledgement, which the kernel gives at once. 0, -errno. */
int netlink_request(struct mnl_socket *s, struct nlmsghdr *h);
/* On the host thread's socket. 0, -errno. */
int netlink_neighbor_ask(struct netlink *n, struct neighbor *e);
void netlink_neighbor_follow(struct netlink *n, struct neighbor *e);
/* The next hops of a link that the kernel has no answer for: asked again, because something has changed. */
void netlink_neighbors_ask(struct netlink *n, const struct link *l);
/* On stop: the kernel would go on asking for them. */
void netlink_neighbors_let_go(struct netlink *n);

/* ---- netlink_route.c ---- */

int route_mirror_create(struct netlink *n, struct route_mirror **out);
void route_mirror_destroy(struct netlink *n, struct route_mirror *m);
/* RTM_NEWROUTE, RTM_DELROUTE. */
void route_mirror_message(struct netlink *n, const struct nlmsghdr *h);
/* Removes what the dump that ends did not see. */
void route_mirror_sweep(struct netlink *n);

/* ---- port_guard.c ---- */

/*
 * Main. Per port: the rule `iif PORT blackhole` behind the local table, for both families, the port's sysctls, and of an AF_XDP port VLAN
 * offload (vlan_offload.h). A failure is a fault to tell, not an error, but for an offload that stays on: -errno, logged. `s` must outlive it. What a killed process changed in this namespace is put back to what was before that
 * one (its file in `state_dir`, which may be NULL). 0, -errno; *out is there even so, unless it is -ENOMEM.
 */
int port_guard_create(struct arena *a, struct mnl_socket *s, const struct netlink_port *ports,
	unsigned count, const char *state_dir, struct port_guard **out);
/* The TUN: its sysctls (which go with it) and its rules. */
void port_guard_tun(struct port_guard *g, const char *iface);
/* Puts everything back. */
void port_guard_destroy(struct port_guard *g);
/* A rule was there already: its maker was killed, and what it asked of the kernel stands, too. */
bool port_guard_killed(const struct port_guard *g);
unsigned port_guard_faults(const struct port_guard *g, struct netlink_fault *out, unsigned max);
