/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by netlink.c (the mirror), netlink_route.c (routes of the mirror), netlink_request.c
 * (requests to the kernel) and port_guard.c (rules and sysctls against forwarding by the kernel).
 */
#pragma once

#include "control/host/netlink.h"
#include "control/base/threads.h"
#include "lpm/base.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdatomic.h>

#define ATTRIBUTES_MAX 32 /* above RTA_NH_ID, the largest attribute in use */
#define MESSAGE_MAX 32768 /* the size of a buffer of a dump */
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
	LINK_PORT, /* of config.ports; stays when the kernel removes the interface */
	LINK_OTHER, /* any interface, without a data plane */
	LINK_HOST, /* lo and keel0: the addresses are local; workers send nothing there */
};

/* An interface in the mirror. */
struct link {
	struct link *next;
	unsigned ifindex;
	uint16_t port, zone;
	struct vrf_id vrf;
	enum link_kind kind;
	bool reported, up;
	uint8_t mac[6];
	uint32_t mtu; /* 0: no message yet */
	/* False: the kernel has dropped IPv4 routes through the link, without messages. */
	bool admin_up;
	uint32_t epoch; /* of the last dump with the link */
};

struct address {
	struct address *next;
	unsigned ifindex;
	struct ip_addr local;
	struct prefix subnet;
	bool tentative; /* RFC 4862 5.4: the kernel does not use the address yet */
	uint32_t epoch;
};

/* Requests to the kernel for a neighbour. */
enum asked {
	ASKED_NOT, /* no request by keeld */
	ASKED_GLEAN, /* once, for a waiting packet: a scan causes one request for each address */
	ASKED_FOLLOW, /* kept resolved while the neighbour answers */
	ASKED_NEXT_HOP, /* a next hop: requested until the first answer, then kept resolved */
};

struct neighbor {
	struct neighbor *next;
	unsigned ifindex;
	struct ip_addr addr;
	uint8_t mac[6];
	uint16_t nud_state; /* NUD_NONE: the kernel has no such entry */
	enum asked asked;
	bool usable; /* by nud_state */
	bool reported; /* the last call of the callback reported a MAC address */
	uint8_t reported_mac[6];
	uint32_t epoch;
};

/*
 * Writer: the host thread after netlink_start(); main before, and after the end of the host thread.
 */
struct netlink {
	struct netlink_config config;
	struct thread *thread;
	struct watch link_watch, watch;
	/* A separate socket, so that the loss of a link overtakes other messages. */
	struct mnl_socket *link_events;
	struct mnl_socket *events;
	struct mnl_socket *main_requests, *host_requests; /* a socket for each thread */
	struct port_guard *guard;
	struct timer retry; /* of next hops refused by the kernel */
	uint32_t seq, dump_seq;
	enum dump dump;
	bool dump_again; /* messages were lost during the dump */
	bool adopt; /* during the first dump: adopt managed neighbours of a killed keeld */
	bool routes_again; /* the kernel dropped routes without messages: dump again */
	uint32_t epoch;
	struct link *links;
	struct address *addresses;
	struct neighbor *neighbors[NEIGHBOR_BUCKETS];
	unsigned neighbor_count;
	struct route_mirror *routes; /* NULL: config.route is NULL */
	_Atomic uint64_t overruns;
	char link_buffer[MESSAGE_MAX], buffer[MESSAGE_MAX];
};

/* ---- netlink.c ---- */

struct link *netlink_link_find(const struct netlink *n, unsigned ifindex);
struct link *netlink_link_add(
	struct netlink *n, unsigned ifindex, const char *name, enum link_kind kind);
/* Parses the attributes behind a header of `size` bytes. */
void netlink_attributes(
	const struct nlmsghdr *h, size_t size, const struct nlattr *table[ATTRIBUTES_MAX]);
/* False: the attribute is absent or has a wrong length for the family. */
bool netlink_attr_addr(const struct nlattr *a, uint8_t family, struct ip_addr *out);
struct neighbor *netlink_neighbor_get(
	struct netlink *n, unsigned ifindex, const struct ip_addr *addr);
/* Removes a neighbour without an entry in the kernel. */
void netlink_neighbor_forget(struct netlink *n, struct neighbor *e);
/* Sets the zone of a link-local address to the zone of `l`. */
void netlink_zone_set(const struct link *l, struct ip_addr *a);

/* ---- netlink_request.c ---- */

/* Sends a request and waits for the immediate acknowledgement of the kernel. 0, -errno. */
int netlink_request(struct mnl_socket *s, struct nlmsghdr *h);
/* Requests a neighbour by the socket of the host thread. 0, -errno. */
int netlink_neighbor_request(struct netlink *n, struct neighbor *e);
void netlink_neighbor_follow(struct netlink *n, struct neighbor *e);
/* Forgets all neighbours of a link; the kernel no longer keeps them resolved. */
void netlink_neighbors_forget(struct netlink *n, const struct link *l);
/* Requests the unresolved next hops of a link again, after a change of the link. */
void netlink_neighbors_request(struct netlink *n, const struct link *l);
/* On stop: ends the requests of the kernel for managed neighbours. */
void netlink_neighbors_unmanage(struct netlink *n);

/* ---- netlink_route.c ---- */

int route_mirror_create(struct netlink *n, struct route_mirror **out);
void route_mirror_destroy(struct netlink *n, struct route_mirror *m);
/* RTM_NEWROUTE, RTM_DELROUTE. */
void route_mirror_message(struct netlink *n, const struct nlmsghdr *h);
/* Removes all routes. */
void route_mirror_clear(struct netlink *n);
/* After a dump: removes routes without an entry in the dump. */
void route_mirror_sweep(struct netlink *n);
/* Reports the routes with a hop out of the interface again: the interface is a port now, or no longer. */
void route_mirror_repeat(struct netlink *n, unsigned ifindex);

/* ---- port_guard.c ---- */

/*
 * Main. Sets for each port the rule `iif PORT blackhole` behind the local table in both families,
 * the sysctls, and for an AF_XDP port VLAN offload (vlan_offload.h). First restores the settings
 * changed by a killed process, from the file in `state_dir` (may be NULL). A failure is a fault of
 * port_guard_faults(); only an offload that stays on is an error (-errno, logged). `s` and `c` must outlive
 * the guard. 0, -errno; *out is set unless the result is -ENOMEM.
 */
int port_guard_create(struct arena *a, struct mnl_socket *s, const struct netlink_config *c,
	struct port_guard **out);
/* Sets sysctls and rules of keel0; the sysctls disappear with the interface. */
void port_guard_tun(struct port_guard *g, const char *iface);
/* As port_guard_create() for one more port. 0, -errno. */
int port_guard_add(struct port_guard *g, const struct netlink_port *p);
/* Restores the settings of an interface, and removes its rules. */
void port_guard_remove(struct port_guard *g, const char *iface);
/* Restores all settings, unless `restore` is false. */
void port_guard_destroy(struct port_guard *g, bool restore);
/* Leaves all settings and their note to the next process, as a kill does. */
void port_guard_keep(struct port_guard *g);
/*
 * True if a rule was present at the start: a killed keeld left rules and managed neighbours behind.
 */
bool port_guard_killed(const struct port_guard *g);
unsigned port_guard_faults(const struct port_guard *g, struct netlink_fault *out, unsigned max);
