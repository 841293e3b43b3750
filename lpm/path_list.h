/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The targets of routes: a table entry names a path list, a path list names next hops, a next hop
 * names an adjacency. All are referred to by id; the memory of each id never moves.
 *
 * Writer: the fib thread. Readers: workers (fib_read.h) and main (fib.lookup), both online in the
 * workers' QSBR.
 *
 * Path lists and adjacencies are immutable while their ids are in use. A next hop is one word
 * {state, adjacency id}: a lost neighbour or a new MAC address is one release store, outside of
 * batches, for any number of prefixes. An id is reused only after its last reference is gone and a
 * grace period has passed. For path lists, fib.c keeps a reference until neither copy of any table
 * has the list.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"

#include <stdatomic.h>

struct arena;
struct qsbr;

DEFINE_ID(path_list_id, uint32_t); /* 24 bits: the size of rte_lpm's next-hop field */
DEFINE_ID(next_hop_id, uint32_t);
DEFINE_ID(adjacency_id, uint32_t);

#define PATH_LIST_NONE 0u /* id 0: no route */
#define PATH_LIST_MAX (1u << 16)
#define NEXT_HOP_MAX (1u << 16)
#define ADJACENCY_MAX (1u << 16)
#define PATHS_MAX 64 /* equal paths of a list: the limit for ECMP */
#define LIST_PATHS_MAX (PATHS_MAX + 1) /* with a backup */
#define LIST_NEAR_MAX 15 /* places for paths in struct path_list */
#define PORT_NONE UINT16_MAX
#define PORT_ANYCAST (UINT16_MAX - 1)
#define LABEL_NONE UINT32_MAX
#define PUSH_LABELS_MAX 6 /* transport labels of an adjacency */

/*
 * All data a worker needs to send a packet, in one cache line: Ethernet header, port, MTU, and the
 * tunnel to a remote edge router: labels (RFC 3031), or addresses of MPLS over UDP (RFC 7510). Workers write the EtherType (ether[12]
 * and [13]) by packet and ignore the value here, because one neighbour serves both families (IPv4
 * with an IPv6 next hop: RFC 8950).
 */
struct adjacency {
	alignas(CACHE_LINE) uint8_t ether[14]; /* destination, source and type in wire order */
	uint8_t ether_len; /* length of ether[]; next_hop_up() accepts only the full length */
	uint8_t label_count;
	uint16_t port; /* port index */
	/*
	 * written by next_hop_up(): mtu, or 0 with a tunnel. The loop for the common kind of packets
	 * reads this field, and leaves packets that get more headers to the general path.
	 */
	uint16_t mtu_plain;
	uint16_t mtu; /* maximum size of the packet with all labels, without the UDP tunnel */
	uint32_t label[PUSH_LABELS_MAX]; /* outermost first, in host order */
	/* the outer IPv4 header, in wire order; 0: no UDP tunnel */
	uint32_t udp_source, udp_destination;
};
static_assert(sizeof(struct adjacency) == CACHE_LINE, "a worker reads one line");

enum next_hop_state { NEXT_HOP_UNRESOLVED, NEXT_HOP_UP, NEXT_HOP_DOWN };

enum path_list_kind {
	PATH_LIST_FORWARD, /* send through one of the paths */
	PATH_LIST_GLEAN, /* connected subnet of `port`: resolve the destination address itself */
	PATH_LIST_PUNT, /* local address: to the kernel; with PORT_ANYCAST an anycast address */
	PATH_LIST_BLACKHOLE, /* drop without ICMP */
	PATH_LIST_PUSH, /* like PATH_LIST_FORWARD, with a label on some path; made by path_list_get() */
	PATH_LIST_INSTANCE, /* look up the destination in the tables of the VRF with the number `port` */
};

struct path {
	struct next_hop_id next_hop;
	uint32_t label; /* pushed below the labels of the adjacency; LABEL_NONE: no label */
};

/*
 * The flow of a packet chooses among equal paths by rendezvous hashing (Thaler, Ravishankar 1998; RFC
 * 2991 2): each path has a salt, the hash of the flow and the salt give a score, and the path with the
 * largest score forwards (fib_read_choice()). So the flows of a path that goes or fails spread over all
 * others, no other flow moves, and nothing has to be remembered: the salt is a hash of the next hop's
 * address, the same after a restart and in other routers.
 */
struct path_list {
	alignas(CACHE_LINE) uint8_t kind; /* enum path_list_kind */
	uint8_t path_count;
	uint16_t
		port; /* of PATH_LIST_GLEAN; VRF of PATH_LIST_INSTANCE; PORT_ANYCAST; else PORT_NONE */
	uint8_t backup_count; /* backups after the first path_count paths; see path_list_get_backed() */
	uint8_t unused;
	uint16_t left_out; /* equal paths beyond PATHS_MAX, which forward nothing */
	/*
	 * The paths, or nothing if the list has no room for paths and salts: then they are in
	 * struct path_list_far of the same id. Behind the last path: the salts (path_list_salt_places()).
	 */
	struct path path[LIST_NEAR_MAX];
};
static_assert(sizeof(struct path_list) == 2 * CACHE_LINE,
	"two lines, the first has four equal paths with their salts");

/* Places for the salts of equal paths; a path alone needs no salt. The reader loads four at once. */
static inline unsigned
path_list_salt_places(unsigned path_count)
{
	return path_count > 1 ? (path_count + 3) / 4 * 2 : 0;
}

#define LIST_FAR_MAX (LIST_PATHS_MAX + PATHS_MAX / 2)
struct path_list_far {
	alignas(CACHE_LINE) struct path path[LIST_FAR_MAX];
};

/* True if the paths are in struct path_list. `all`: with the backups. */
static inline bool
path_list_is_near(unsigned path_count, unsigned all)
{
	return all + path_list_salt_places(path_count) <= LIST_NEAR_MAX;
}

/*
 * The score: two multiplications of MurmurHash3's last step (fib_read.h). Different salts give one hash
 * different scores, so the order of the paths means nothing. The key of the router is in the hash
 * (dataplane/forward/rewrite.h).
 */
#define PATH_SCORE_FIRST 0x85ebca6bu
#define PATH_SCORE_SECOND 0xc2b2ae35u

struct path_lists;

/* `vrf` and `addr` are the control plane's key for the next hop. */
struct next_hop_view {
	struct vrf_id vrf;
	struct ip_addr addr;
	uint16_t port;
	enum next_hop_state state;
	struct adjacency adjacency; /* valid if state is NEXT_HOP_UP */
};

/* `workers` is the workers' QSBR. Returns 0 or -ENOMEM. */
int path_lists_create(struct arena *a, struct qsbr *workers, struct path_lists **out);
void path_lists_destroy(struct path_lists *p);

/*
 * Takes a reference on the next hop (vrf, addr, port). A new next hop starts as
 * NEXT_HOP_UNRESOLVED. Returns 0 or -ENOSPC.
 */
int next_hop_get(struct path_lists *p, struct vrf_id vrf, const struct ip_addr *addr, uint16_t port,
	struct next_hop_id *out) RUNS_ON(role_fib);
/*
 * Like next_hop_get() with PORT_NONE, but the next hop is new and belongs to the caller alone: a
 * remote edge router, which may have several tunnels.
 */
int next_hop_make(struct path_lists *p, struct vrf_id vrf, const struct ip_addr *addr,
	struct next_hop_id *out) RUNS_ON(role_fib);
void next_hop_unref(struct path_lists *p, struct next_hop_id id) RUNS_ON(role_fib);
/*
 * Sets the next hop to up with this adjacency, by one store. Equal adjacencies are shared. The
 * adjacency of a remote edge router has the Ethernet header of the neighbour on the way and the
 * transport labels. Returns 0, -ENOSPC (the next hop is now unresolved), or -EINVAL.
 */
int next_hop_up(struct path_lists *p, struct next_hop_id id, const struct adjacency *adj)
	RUNS_ON(role_fib);
/* Sets the next hop to UNRESOLVED or DOWN, by one store: the neighbour or the link is lost. */
void next_hop_down(struct path_lists *p, struct next_hop_id id, enum next_hop_state state)
	RUNS_ON(role_fib);

/*
 * Takes a reference on the path list with these paths in this order; creates the list if
 * necessary. A list holds references on its next hops. A path with a label below LABEL_COUNT makes
 * PATH_LIST_FORWARD a PATH_LIST_PUSH. Returns 0, -ENOSPC or -EINVAL.
 */
int path_list_get(struct path_lists *p, enum path_list_kind kind, uint16_t port,
	const struct path *path, unsigned count, struct path_list_id *out) RUNS_ON(role_fib);
/*
 * Like path_list_get() for PATH_LIST_FORWARD, with the last `backups` paths as backups: used, in
 * order, only while none of the first `count - backups` (at least one) paths is up. A lost link
 * then moves all its prefixes by one store per next hop. `left_out`: further equal paths, for
 * path_lists_left_out().
 */
int path_list_get_backed(struct path_lists *p, const struct path *path, unsigned count,
	unsigned backups, unsigned left_out, struct path_list_id *out) RUNS_ON(role_fib);
void path_list_ref(struct path_lists *p, struct path_list_id id) RUNS_ON(role_fib);
void path_list_unref(struct path_lists *p, struct path_list_id id) RUNS_ON(role_fib);
/* Makes ids available again after their grace period. Call once per loop of the fib thread. */
void path_lists_reclaim(struct path_lists *p) RUNS_ON(role_fib);
unsigned path_lists_in_use(const struct path_lists *p);
/* Number of lists in use that lack equal paths because they have PATHS_MAX. Any thread. */
unsigned path_lists_left_out(const struct path_lists *p);
/*
 * Longest hash chain found when a list, next hop or adjacency was created (lpm/base/hash.h). Any
 * thread.
 */
uint32_t path_lists_longest_probe(const struct path_lists *p);

/*
 * Arrays indexed by id, for readers. Reserved once and never moved; the kernel adds pages on first
 * access.
 */
const struct path_list *path_lists_array(const struct path_lists *p);
const struct path_list_far *path_lists_far_array(const struct path_lists *p);
/* The paths of a list, then its backups. */
const struct path *path_list_paths(const struct path_lists *p, struct path_list_id id);
const _Atomic uint64_t *next_hops_array(
	const struct path_lists *p); /* state in the high half, adjacency id in the low half */
const struct adjacency *adjacencies_array(const struct path_lists *p);
/* Reads a next hop. Returns false if the id is not in use. */
bool next_hop_peek(const struct path_lists *p, struct next_hop_id id, struct next_hop_view *out);
