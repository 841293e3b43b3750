/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by netlink.c (the mirror), netlink_route.c (routes of the mirror), netlink_request.c
 * (requests to the kernel) and port_guard.c (rules and sysctls against forwarding by the kernel).
 */
#pragma once

#include "control/host/netlink.h"
#include "control/base/threads.h"
#include "lpm/base/base.h"

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
struct own_entry;
struct port_guard;
struct route_mirror;

enum dump { DUMP_NONE, DUMP_LINKS, DUMP_ADDRESSES, DUMP_NEIGHBORS, DUMP_ROUTES };

enum link_kind {
	LINK_PORT, /* of config.ports; stays when the kernel removes the interface */
	LINK_OTHER, /* any interface, without a data plane */
	LINK_HOST, /* lo and keel0: the addresses are local; workers send nothing there */
	LINK_BESIDE, /* any other interface, beside ports: for sessions alone */
};

struct neighbor_list {
	struct neighbor *first, *last;
	unsigned count;
};

/* An interface in the mirror. */
struct link {
	struct link *next;
	unsigned ifindex;
	uint16_t port, zone;
	struct vrf_id vrf;
	enum link_kind kind;
	bool reported, up;
	/* config.interface has this state; present false: not reported */
	struct netlink_interface told;
	uint8_t mac[6];
	uint32_t mtu; /* 0: no message yet */
	/* False: the kernel has dropped IPv4 routes through the link, without messages. */
	bool admin_up;
	uint32_t epoch; /* of the last dump with the link */
	/*
	 * IPv4, IPv6, the oldest first: ASKED_GLEAN, ASKED_FOLLOW, and of ASKED_NEXT_HOP those asked
	 * for without an answer yet.
	 */
	struct neighbor_list gleans[2], followed[2], hops[2];
	/* Next hops that wait for their turn; [1]: had a turn, and no answer since. */
	struct neighbor_list waiting[2][2];
	bool turn[2]; /* the list of the next turn */
};

struct address {
	struct address *next;
	unsigned ifindex;
	struct ip_addr local;
	struct prefix subnet;
	bool tentative; /* RFC 4862 5.4: the kernel does not use the address yet */
	bool host_scope,
		beside; /* beside: of the host's scope or of a LINK_BESIDE, for sessions alone */
	bool told; /* config.interface_address has the address */
	uint32_t epoch;
};

/* Requests to the kernel for a neighbour. */
enum asked {
	ASKED_NOT, /* no request by keeld */
	ASKED_GLEAN, /* once, for a waiting packet: a scan causes one request for each address */
	ASKED_FOLLOW, /* kept resolved while the neighbour answers */
	ASKED_NEXT_HOP, /* a next hop: requested until an answer, in turns, then kept resolved */
};

struct neighbor {
	struct neighbor *next;
	unsigned ifindex;
	struct ip_addr addr;
	uint8_t mac[6];
	uint16_t nud_state; /* NUD_NONE: the kernel has no such entry */
	enum asked asked; /* by netlink_asked_set() */
	struct neighbor_list *in; /* NULL: in no list */
	unsigned *in_room; /* the count of the list's kind in the room */
	bool waits, tried; /* of ASKED_NEXT_HOP: in `waiting`, in which list */
	struct neighbor *list_next, *list_before;
	uint64_t asked_ns;
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
	struct timer turns; /* of next hops that wait */
	struct netlink_room *room, own_room;
	struct netlink *room_next; /* in room->mirrors */
	bool in_room;
	uint32_t seq, dump_seq;
	enum dump dump;
	bool dump_again; /* messages were lost during the dump */
	bool loaded; /* the first dump of links and addresses is complete */
	bool adopt; /* during the first dump: adopt managed neighbours of a killed keeld */
	bool routes_again; /* the kernel dropped routes without messages: dump again */
	bool own_again; /* addresses or links have changed: own_routes_sync() */
	unsigned tun_ifindex; /* 0: no keel0 */
	struct own_entry *own;
	uint32_t epoch;
	struct link *links;
	struct address *addresses;
	struct address *duplicates; /* of ports: the kernel does not use these addresses */
	struct neighbor *neighbors[NEIGHBOR_BUCKETS];
	unsigned neighbor_count;
	struct route_mirror *routes; /* NULL: config.route is NULL */
	_Atomic uint64_t overruns;
	char link_buffer[MESSAGE_MAX], buffer[MESSAGE_MAX];
};

/* ---- netlink.c ---- */

/* Compares the neighbours of a link with what was reported, after a change of subnets or routes. */
void netlink_link_report(struct netlink *n, unsigned ifindex);
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
/* As netlink_request(); in a process with the right if config.change is set. */
int netlink_change(struct netlink *n, struct mnl_socket *s, struct nlmsghdr *h);
/* Changes `asked`, and the list of the neighbour. */
void netlink_asked_set(struct netlink *n, struct neighbor *e, enum asked how);
/* Takes the neighbour out of its list; before its memory is freed. */
void netlink_neighbor_unlist(struct neighbor *e);
/* True for a next hop that waits for room, and that the kernel does not have. */
bool netlink_neighbor_unasked(const struct neighbor *e);
/* From netlink_start() to netlink_stop(), or the end of the host thread. */
void netlink_room_join(struct netlink *n);
void netlink_room_leave(struct netlink *n);
/* Requests a neighbour by the socket of the host thread; a next hop may wait. 0, -errno. */
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
/*
 * True if a host route leads to the address by the interface, without a gateway. A shorter route would
 * let any host of the link take addresses of longer routes.
 */
bool route_mirror_on_link(const struct netlink *n, unsigned ifindex, const struct ip_addr *addr);
/* Reports the routes with a hop out of the interface again: the interface is a port now, or no longer. */
void route_mirror_repeat(struct netlink *n, unsigned ifindex);

/* ---- own_routes.c ---- */

/*
 * Packets of this router leave by keel0 or a port, whatever default route the host has: a rule `from
 * ADDRESS lookup OWN_TABLE` for each address of a port, of lo and of keel0, and a table with the
 * subnets of the ports and a default route to keel0. All other packets of the host are as before.
 */

/* Reads rules and routes of this router from the kernel, after each dump of addresses. */
void own_routes_read(struct netlink *n);
/* Compares rules and routes with the mirror after changes, once a turn. */
void own_routes_sync(struct netlink *n);
/*
 * The kernel has removed the routes of an interface, which was set down or removed, or lost its last
 * IPv4 address (AFI_IPV4).
 */
void own_routes_lost(struct netlink *n, unsigned ifindex, enum afi afi);
/* Main, after the end of the host thread. */
void own_routes_end(struct netlink *n, bool remove);

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
