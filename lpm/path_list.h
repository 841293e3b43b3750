/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a table entry leads to: path list -> next hop -> adjacency, all by id, all in segments that never move.
 *
 * Writer: the fib thread. Readers: workers (fib_read.h), main for fib.lookup, both online in the workers' QSBR.
 * Adjacencies and path lists are immutable once their id is given out. A next hop is one word
 * {state, adjacency id}: loss of it or a new MAC is one release store, outside all batches, whatever the
 * number of prefixes behind it. An id returns to use only when nobody refers to it and a grace period
 * has passed since (and, for path lists, both copies of every table let go of it: fib.c holds a
 * reference for each copy).
 */
#pragma once

#include "lpm/base.h"
#include "lpm/prefix.h"

#include <stdatomic.h>

struct arena;
struct qsbr;

DEFINE_ID(path_list_id, uint32_t); /* 24 bits: fits rte_lpm's next hop field */
DEFINE_ID(next_hop_id, uint32_t);
DEFINE_ID(adjacency_id, uint32_t);

#define PATH_LIST_NONE 0u /* id 0: no route */
#define PATH_LIST_MAX (1u << 16)
#define NEXT_HOP_MAX (1u << 16)
#define ADJACENCY_MAX (1u << 16)
#define PATHS_MAX 15 /* of one list; bounds ECMP */
#define PORT_NONE UINT16_MAX
#define LABEL_NONE UINT32_MAX

/*
 * One cache line, all a worker needs to send: Ethernet rewrite, port, MTU. The EtherType (ether[12] and [13]) is the worker's, by the
 * packet: what stands here is ignored, for one neighbour carries both families (IPv4 behind an IPv6 next hop: RFC 8950).
 */
struct adjacency {
	alignas(CACHE_LINE) uint8_t ether[14]; /* destination, source, type as on the wire */
	uint8_t ether_len; /* of ether[]: next_hop_up() takes no other */
	uint8_t unused;
	uint16_t port; /* our port index */
	uint16_t mtu; /* of the L3 packet */
};
static_assert(sizeof(struct adjacency) == CACHE_LINE, "a worker reads one line");

enum next_hop_state { NEXT_HOP_UNRESOLVED, NEXT_HOP_UP, NEXT_HOP_DOWN };

enum path_list_kind {
	PATH_LIST_FORWARD, /* by one of its paths */
	PATH_LIST_GLEAN, /* on the subnet of `port`: the destination itself is to be resolved */
	PATH_LIST_PUNT, /* ours: to the kernel */
	PATH_LIST_BLACKHOLE, /* drop, no ICMP */
};

struct path {
	struct next_hop_id next_hop;
	uint32_t label; /* LABEL_NONE: none (RFC 3032 labels come with VPNv4) */
};

struct path_list {
	alignas(CACHE_LINE) uint8_t kind; /* enum path_list_kind */
	uint8_t path_count;
	uint16_t port; /* of PATH_LIST_GLEAN, else PORT_NONE */
	uint8_t backup_count; /* behind the first path_count; see path_list_get_backed() */
	uint8_t unused[3];
	struct path path[PATHS_MAX];
};
static_assert(sizeof(struct path_list) == 2 * CACHE_LINE, "two lines, the first has seven paths");

struct path_lists;

/* `vrf`, `addr`: the key that the control plane knows it by. */
struct next_hop_view {
	struct vrf_id vrf;
	struct ip_addr addr;
	uint16_t port;
	enum next_hop_state state;
	struct adjacency adjacency; /* valid when state is NEXT_HOP_UP */
};

/* 0, -ENOMEM. The QSBR is the workers'. */
int path_lists_create(struct arena *a, struct qsbr *workers, struct path_lists **out);
void path_lists_destroy(struct path_lists *p);

/* Next hops, keyed by (vrf, addr, port). Find or create (then UNRESOLVED), and take a reference. 0, -ENOSPC. */
int next_hop_get(struct path_lists *p, struct vrf_id vrf, const struct ip_addr *addr, uint16_t port,
	struct next_hop_id *out) RUNS_ON(role_fib);
void next_hop_unref(struct path_lists *p, struct next_hop_id id) RUNS_ON(role_fib);
/* Resolved: makes (or shares) the adjacency and stores {UP, adjacency} at once. 0, -ENOSPC (then it is unresolved). */
int next_hop_up(struct path_lists *p, struct next_hop_id id, const struct adjacency *adj)
	RUNS_ON(role_fib);
/* Neighbour or link lost: one store. `state` is UNRESOLVED or DOWN. */
void next_hop_down(struct path_lists *p, struct next_hop_id id, enum next_hop_state state)
	RUNS_ON(role_fib);

/* Find an equal list or create it (paths in this order), and take a reference. 0, -ENOSPC, -EINVAL. Holds its next hops. */
int path_list_get(struct path_lists *p, enum path_list_kind kind, uint16_t port,
	const struct path *path, unsigned count, struct path_list_id *out) RUNS_ON(role_fib);
/*
 * PATH_LIST_FORWARD by the first `count - backups` paths (at least one) as long as any of them is up; by the first backup that is up when
 * none is. So a lost link moves all prefixes behind it with one store a next hop.
 */
int path_list_get_backed(struct path_lists *p, const struct path *path, unsigned count,
	unsigned backups, struct path_list_id *out) RUNS_ON(role_fib);
void path_list_ref(struct path_lists *p, struct path_list_id id) RUNS_ON(role_fib);
void path_list_unref(struct path_lists *p, struct path_list_id id) RUNS_ON(role_fib);
/* How many references there are. */
unsigned path_list_refs(const struct path_lists *p, struct path_list_id id) RUNS_ON(role_fib);
/* Gives ids back whose grace period is over; once a loop. */
void path_lists_reclaim(struct path_lists *p) RUNS_ON(role_fib);
unsigned path_lists_in_use(const struct path_lists *p);
/* Any thread: the longest chain that a new list, next hop or adjacency met (lpm/hash.h). */
uint32_t path_lists_longest_probe(const struct path_lists *p);

/* Readers. Flat arrays indexed by id, reserved at once and never moved (memory appears as it is touched). */
const struct path_list *path_lists_array(const struct path_lists *p);
const _Atomic uint64_t *next_hops_array(
	const struct path_lists *p); /* state in the high, adjacency id in the low half */
const struct adjacency *adjacencies_array(const struct path_lists *p);
/* False when the id is not in use. */
bool next_hop_peek(const struct path_lists *p, struct next_hop_id id, struct next_hop_view *out);
