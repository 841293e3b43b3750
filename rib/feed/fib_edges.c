/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Remote edge routers, and label-switched paths by configuration. An edge is one next hop of the
 * tables, for any number of routes and labels: the next hop has the Ethernet header of the neighbour
 * on the way and the labels or the UDP header of the tunnel. When the way changes, one store moves all its packets.
 *
 * With several neighbours on the way an edge uses the first one that is resolved.
 */
#include "lpm/base/arena.h"
#include "lpm/label_table.h"
#include "lpm/tunnel_set.h"
#include "rib/feed/fib_feed_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_IMPLICIT_NULL 3u /* RFC 3032 2.1: no label */
#define EDGES_MIN 1024u

/* ---- edges ---- */

static struct edge **
edge_bucket(struct fib_feed *f, const struct ip_addr *addr)
{
	return &f->edges.bucket[addr_hash(addr, 0) % EDGE_BUCKETS];
}

static bool
labels_equal(const struct edge *e, const uint32_t *label, unsigned count)
{
	return e->label_count == count && memcmp(e->label, label, count * sizeof(*label)) == 0;
}

/* The first resolved neighbour on the way, or NULL. */
static const struct hop *
edge_way(struct fib_feed *f, const struct edge *e) RUNS_ON(role_fib)
{
	if (!e->by->up)
		return NULL;
	if (!fib_hold(f, e->by)) {
		fib_feed_fail(f);
		return NULL;
	}
	for (unsigned i = 0; i < e->by->hold->count; i++) {
		const struct hop *h = e->by->hold->hop[i];

		if (h->resolved && nexthop_port_up(f->config.nexthops, h->port))
			return h;
	}
	return NULL;
}

static void
edge_store(struct fib_feed *f, const struct edge *e) RUNS_ON(role_fib)
{
	const struct hop *way = edge_way(f, e);
	struct adjacency adj = {.label_count = e->label_count};

	if (way == NULL) {
		next_hop_down(f->path_lists, e->next_hop, NEXT_HOP_UNRESOLVED);
		return;
	}
	adj.ether_len = way->ether_len;
	adj.port = way->port;
	adj.mtu = way->mtu;
	if (e->udp_source != 0) {
		adj.udp_source = e->udp_source;
		memcpy(&adj.udp_destination, e->addr.b, sizeof(adj.udp_destination));
		adj.mtu = way->mtu > UDP_TUNNEL_HEADERS ? way->mtu - UDP_TUNNEL_HEADERS : 0;
	}
	memcpy(adj.ether, way->ether, sizeof(adj.ether));
	memcpy(adj.label, e->label, sizeof(e->label));
	if (next_hop_up(f->path_lists, e->next_hop, &adj) != 0)
		fib_feed_fail(f);
}

/* Finds or creates the edge with labels, or a UDP tunnel. NULL: out of memory or of ids. */
static struct edge *
edge_find(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, const uint32_t *label,
	unsigned count, uint32_t udp_source) RUNS_ON(role_fib)
{
	struct edge **bucket = edge_bucket(f, addr), *e;

	for (e = *bucket; e != NULL; e = e->next) {
		if (e->vrf.v == vrf.v && addr_equal(&e->addr, addr) &&
			labels_equal(e, label, count) && e->udp_source == udp_source)
			return e;
	}
	e = arena_calloc(f->config.arena, sizeof(*e));
	if (e == NULL)
		return NULL;
	e->vrf = vrf;
	e->addr = *addr;
	e->label_count = (uint8_t)count;
	memcpy(e->label, label, count * sizeof(*label));
	e->udp_source = udp_source;
	e->by = nexthop_ref(f->config.nexthops, vrf, addr);
	if (e->by == NULL || next_hop_make(f->path_lists, vrf, addr, &e->next_hop) != 0) {
		if (e->by != NULL)
			nexthop_unref(f->config.nexthops, e->by);
		arena_free(f->config.arena, e);
		return NULL;
	}
	e->next = *bucket;
	*bucket = e;
	edge_store(f, e);
	/* a walk marks the edges in use, and the sweep frees the rest */
	if (++f->edges.count == f->edges.most + 1)
		fib_feed_rewalk(f);
	return e;
}

static struct edge *
edge_get(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, const uint32_t *label,
	unsigned count) RUNS_ON(role_fib)
{
	return edge_find(f, vrf, addr, label, count, 0);
}

static void
edge_free(struct fib_feed *f, struct edge *e) RUNS_ON(role_fib)
{
	next_hop_unref(f->path_lists, e->next_hop);
	nexthop_unref(f->config.nexthops, e->by);
	arena_free(f->config.arena, e);
}

/* Frees edges without users; `all` false: only those without a mark of the last walk. */
static void
edges_drop(struct fib_feed *f, bool all) RUNS_ON(role_fib)
{
	for (unsigned i = 0; i < EDGE_BUCKETS; i++) {
		struct edge **at = &f->edges.bucket[i], *e;

		while ((e = *at) != NULL) {
			if (e->users > 0 || (!all && e->mark == f->mark)) {
				at = &e->next;
				continue;
			}
			*at = e->next;
			f->edges.count--;
			edge_free(f, e);
		}
	}
	f->edges.most = f->edges.count > EDGES_MIN / 2 ? 2 * f->edges.count : EDGES_MIN;
}

void
fib_edges_sweep(struct fib_feed *f)
{
	edges_drop(f, false);
}

void
fib_edges_update(struct fib_feed *f, const struct nexthop *by)
{
	for (unsigned i = 0; f->edges.count > 0 && i < EDGE_BUCKETS; i++) {
		for (const struct edge *e = f->edges.bucket[i]; e != NULL; e = e->next) {
			if (by == NULL || e->by == by)
				edge_store(f, e);
		}
	}
}

/* ---- label-switched paths ---- */

/* The path that begins here and leads to `addr`: the longest destination; NULL: none. */
static const struct lsp *
lsp_to(const struct fib_feed *f, const struct ip_addr *addr)
{
	const struct lsp *best = NULL;

	for (unsigned i = 0; i < f->lsps.count; i++) {
		const struct lsp *l = &f->lsps.at[i];

		if (l->key.in_label == LABEL_NONE && prefix_contains(&l->key.destination, addr) &&
			(best == NULL || l->key.destination.len > best->key.destination.len))
			best = l;
	}
	return best;
}

static int
tunnels_compare(const void *a, const void *b)
{
	uint32_t x = ((const struct tunnel *)a)->remote, y = ((const struct tunnel *)b)->remote;

	return (x > y) - (x < y);
}

/* The own address of the UDP tunnel to `addr`, in wire order; 0: no tunnel. */
static uint32_t
tunnel_to(const struct fib_feed *f, const struct ip_addr *addr)
{
	const struct tunnel *found;
	struct tunnel key = {0};

	if (addr->afi != AFI_IPV4 || f->tunnels.count == 0)
		return 0;
	memcpy(&key.remote, addr->b, sizeof(key.remote));
	found = bsearch(&key, f->tunnels.at, f->tunnels.count, sizeof(key), tunnels_compare);
	return found != NULL ? found->own : 0;
}

struct edge *
fib_edge_to(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr)
{
	static const uint32_t none[1]; /* no labels */
	uint32_t udp_source = vrf.v == VRF_DEFAULT.v ? tunnel_to(f, addr) : 0;
	const struct lsp *l = vrf.v == VRF_DEFAULT.v && udp_source == 0 ? lsp_to(f, addr) : NULL;
	struct edge *e = l != NULL ? edge_get(f, VRF_DEFAULT, &l->key.next_hop, l->key.label,
					     l->key.label_count)
				   : edge_find(f, vrf, addr, none, 0, udp_source);

	if (e != NULL)
		e->mark = f->mark;
	return e;
}

/*
 * Writes the action of an incoming label. The last outgoing label replaces the incoming one, and the
 * adjacency of the edge has the others. 0; -ENOMEM, -ENOSPC.
 */
static int
lsp_write(struct fib_feed *f, struct lsp *l) RUNS_ON(role_fib)
{
	struct label_entry entry = {.op = LABEL_POP_INSTANCE, .vrf = l->key.vrf};
	unsigned tunnel = l->key.label_count > 0 ? l->key.label_count - 1u : 0;
	struct path path = {.label = LABEL_NONE};
	struct edge *e;
	int err;

	if (l->key.in_label == LABEL_NONE)
		return 0;
	if (l->key.next_hop.afi == AFI_NONE)
		return label_table_set(fib_labels(f->config.fib), l->key.in_label, &entry);
	e = edge_get(f, VRF_DEFAULT, &l->key.next_hop, l->key.label, tunnel);
	if (e == NULL)
		return -ENOMEM;
	path.next_hop = e->next_hop;
	entry.op = l->key.label_count > 0 ? LABEL_SWAP : LABEL_POP_FORWARD;
	if (l->key.label_count > 0)
		entry.out = l->key.label[tunnel];
	err = path_list_get(f->path_lists, PATH_LIST_FORWARD, PORT_NONE, &path, 1, &entry.list);
	if (err != 0)
		return err;
	err = label_table_set(fib_labels(f->config.fib), l->key.in_label, &entry);
	path_list_unref(f->path_lists, entry.list);
	if (err == 0 && l->edge != e) {
		l->edge = e;
		e->users++;
	}
	return err;
}

static bool
lsps_have(const struct lsp *at, unsigned count, uint32_t in_label)
{
	for (unsigned i = 0; i < count; i++) {
		if (at[i].key.in_label == in_label)
			return true;
	}
	return false;
}

/* Removes the labels of `at` that are not in the present paths, and all its users of edges. */
static void
lsps_drop(struct fib_feed *f, struct lsp *at, unsigned count) RUNS_ON(role_fib)
{
	for (unsigned i = 0; i < count; i++) {
		uint32_t label = at[i].key.in_label;

		if (label != LABEL_NONE && !lsps_have(f->lsps.at, f->lsps.count, label))
			(void)label_table_clear(fib_labels(f->config.fib), label);
		if (at[i].edge != NULL)
			at[i].edge->users--;
	}
	arena_free(f->config.arena, at);
}

void
fib_lsps_retry(struct fib_feed *f)
{
	for (unsigned i = 0; i < f->lsps.count; i++) {
		if (lsp_write(f, &f->lsps.at[i]) != 0)
			fib_feed_fail(f);
	}
}

int
fib_feed_lsps(struct fib_feed *f, const struct fib_feed_lsp *lsps, unsigned count)
{
	struct lsp *was = f->lsps.at, *at = NULL;
	unsigned was_count = f->lsps.count;

	if (f->config.fib == NULL)
		return 0;
	if (count > 0) {
		at = arena_calloc(f->config.arena, count * sizeof(*at));
		if (at == NULL)
			return -ENOMEM;
	}
	for (unsigned i = 0; i < count; i++) {
		struct lsp *l = &at[i];

		l->key = lsps[i];
		if (l->key.label_count == 1 && l->key.label[0] == LABEL_IMPLICIT_NULL)
			l->key.label_count = 0;
	}
	f->lsps.at = at;
	f->lsps.count = count;
	fib_lsps_retry(f); /* each label changes by one store: no packet is lost */
	fib_swaps_rewrite(f);
	lsps_drop(f, was, was_count);
	fib_feed_rewalk(f); /* routes over edges, and the edges in use */
	return 0;
}

int
fib_feed_tunnels(struct fib_feed *f, const struct fib_feed_tunnel *tunnels, unsigned count)
{
	struct tunnel *at;
	int err;

	if (f->config.fib == NULL)
		return 0;
	at = arena_calloc(f->config.arena, (count + 1) * sizeof(*at));
	if (at == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		memcpy(&at[i].remote, tunnels[i].remote.b, sizeof(at[i].remote));
		memcpy(&at[i].own, tunnels[i].own.b, sizeof(at[i].own));
	}
	qsort(at, count, sizeof(*at), tunnels_compare);
	err = tunnel_sets_put(fib_tunnels(f->config.fib), at, count);
	if (err != 0) {
		arena_free(f->config.arena, at);
		return err;
	}
	arena_free(f->config.arena, f->tunnels.at);
	f->tunnels.at = at;
	f->tunnels.count = count;
	fib_feed_rewalk(f);
	return 0;
}

void
fib_edges_fini(struct fib_feed *f)
{
	struct lsp *was = f->lsps.at;
	unsigned count = f->lsps.count;

	if (f->config.fib == NULL)
		return;
	f->lsps.at = NULL;
	f->lsps.count = 0;
	lsps_drop(f, was, count);
	arena_free(f->config.arena, f->tunnels.at);
	edges_drop(f, true);
}
