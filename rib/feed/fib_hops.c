/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Directly reachable addresses. Each address has one next hop in the tables, with one word of state
 * for any number of prefixes. Next hops of routes hold the addresses of their resolution; the
 * kernel keeps held addresses resolved.
 */
#include "lpm/base/arena.h"
#include "rib/feed/fib_feed_impl.h"

#include <errno.h>
#include <string.h>

static struct prefix
host_of(const struct ip_addr *addr)
{
	return prefix_from_addr(addr, (uint8_t)prefix_max_len(addr->afi));
}

static struct hop **
hop_bucket(struct fib_feed *f, const struct ip_addr *addr, uint16_t port)
{
	return &f->hops[addr_hash(addr, port) % HOP_BUCKETS];
}

static struct hop *
hop_find(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, uint16_t port)
{
	struct hop *h = *hop_bucket(f, addr, port);

	while (h != NULL && (h->vrf.v != vrf.v || h->port != port || !addr_equal(&h->addr, addr)))
		h = h->next;
	return h;
}

static void
port_add(struct fib_feed *f, struct hop *h)
{
	struct hop **bucket = &f->port_hops[h->port % PORT_BUCKETS];

	h->port_at = bucket;
	h->port_next = *bucket;
	if (h->port_next != NULL)
		h->port_next->port_at = &h->port_next;
	*bucket = h;
}

static void
port_remove(struct hop *h)
{
	*h->port_at = h->port_next;
	if (h->port_next != NULL)
		h->port_next->port_at = h->port_at;
}

/* Find or create. NULL: out of memory or of ids. */
static struct hop *
hop_get(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, uint16_t port)
	RUNS_ON(role_fib)
{
	struct hop *h = hop_find(f, vrf, addr, port), **bucket;

	if (h != NULL)
		return h;
	h = arena_calloc(f->config.arena, sizeof(*h));
	if (h == NULL)
		return NULL;
	if (next_hop_get(f->path_lists, vrf, addr, port, &h->next_hop) != 0) {
		arena_free(f->config.arena, h);
		return NULL;
	}
	h->vrf = vrf;
	h->port = port;
	h->addr = *addr;
	bucket = hop_bucket(f, addr, port);
	h->next = *bucket;
	*bucket = h;
	port_add(f, h);
	return h;
}

/* Frees a hop without users and without a neighbour. Lists still in tables keep the next hop. */
static void
hop_drop_unused(struct fib_feed *f, struct hop *h) RUNS_ON(role_fib)
{
	struct hop **at = hop_bucket(f, &h->addr, h->port);

	if (h->users > 0 || h->resolved)
		return;
	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	port_remove(h);
	next_hop_unref(f->path_lists, h->next_hop);
	arena_free(f->config.arena, h);
}

struct hop *
fib_hop_use(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, uint16_t port)
{
	struct hop *h = hop_get(f, vrf, addr, port);

	if (h != NULL && h->users++ == 0)
		f->config.resolve(f->config.resolve_ctx, port, addr, true);
	return h;
}

void
fib_hop_release(struct fib_feed *f, struct hop *h)
{
	if (--h->users > 0)
		return;
	f->config.resolve(f->config.resolve_ctx, h->port, &h->addr, false);
	hop_drop_unused(f, h);
}

static void
hold_release(struct fib_feed *f, struct hold *hold) RUNS_ON(role_fib)
{
	for (unsigned i = 0; hold != NULL && i < hold->count; i++)
		fib_hop_release(f, hold->hop[i]);
	arena_free(f->config.arena, hold);
}

bool
fib_hold(struct fib_feed *f, struct nexthop *n)
{
	struct hold *hold;

	if (n->hold != NULL)
		return true;
	hold = arena_alloc(f->config.arena, sizeof(*hold) + n->direct_count * sizeof(hold->hop[0]));
	if (hold == NULL)
		return false;
	for (hold->count = 0; hold->count < n->direct_count; hold->count++) {
		const struct nexthop_direct *d = &n->direct[hold->count];
		struct hop *h = fib_hop_use(f, n->last.vrf, &d->addr, d->port);

		if (h == NULL) {
			hold_release(f, hold);
			return false;
		}
		hold->hop[hold->count] = h;
	}
	n->hold = hold;
	return true;
}

static void
sweep(void *ctx, struct nexthop *n) RUNS_ON(role_fib)
{
	struct fib_feed *f = ctx;

	if (n->mark == f->mark || nexthop_needed(n))
		return;
	hold_release(f, n->hold);
	n->hold = NULL;
	n->given = 0;
}

void
fib_hops_sweep(struct fib_feed *f)
{
	nexthop_each(f->config.nexthops, sweep, f);
}

/*
 * Takes the new holds before releasing the old ones, so that a continuing hop is not requested
 * again. All routes of the tables are applied again, because there is no index from a next hop to
 * its prefixes.
 */
void
fib_next_hop_changed(void *ctx, struct nexthop *n)
{
	struct fib_feed *f = ctx;
	struct hold *old = n->hold;

	if (nexthop_needed(n))
		fib_own_rewalk(f, OWN_WALK_STATIC);
	if (f->config.fib == NULL)
		return;
	n->hold = NULL;
	if (n->up && (old != NULL || n->given != 0) && !fib_hold(f, n))
		fib_feed_fail(f);
	hold_release(f, old);
	fib_edges_update(f, n);
	if ((n->of != NULL ? n->of : n)->untracked ||
		(n->given != 0 && n->up && n->given != n->digest))
		fib_feed_rewalk(f);
}

/* ---- from the host ---- */

/* Drops a failed neighbour before newer information is applied. */
static void
late_remove(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, uint16_t port)
{
	struct late_neighbor **at = &f->late, *l;

	while ((l = *at) != NULL &&
		(l->vrf.v != vrf.v || l->port != port || !addr_equal(&l->addr, addr)))
		at = &l->next;
	if (l == NULL)
		return;
	*at = l->next;
	arena_free(f->config.arena, l);
}

static void
late_keep(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, uint16_t port,
	const struct adjacency *adj)
{
	struct late_neighbor *l =
		arena_alloc_aligned(f->config.arena, alignof(struct late_neighbor), sizeof(*l));

	if (l == NULL)
		return;
	*l = (struct late_neighbor){
		.next = f->late, .vrf = vrf, .port = port, .addr = *addr, .adj = *adj};
	f->late = l;
	fib_feed_fail(f);
}

static int
hop_store(struct fib_feed *f, const struct hop *h) RUNS_ON(role_fib)
{
	struct adjacency adj = {.ether_len = h->ether_len, .port = h->port, .mtu = h->mtu};

	memcpy(adj.ether, h->ether, sizeof(h->ether));
	return next_hop_up(f->path_lists, h->next_hop, &adj);
}

static int
host_route_add(struct fib_feed *f, const struct hop *h) RUNS_ON(role_fib)
{
	struct prefix host = host_of(&h->addr);
	struct path path = {.next_hop = h->next_hop, .label = LABEL_NONE};
	struct path_list_id list;
	int err;

	if (addr_is_link_local(&h->addr))
		return 0; /* RFC 4291 2.5.6 */
	err = path_list_get(f->path_lists, PATH_LIST_FORWARD, PORT_NONE, &path, 1, &list);
	if (err != 0)
		return err;
	err = fib_local_add(f, h->vrf, &host, PATH_LIST_FORWARD, h->port, list);
	if (err != 0)
		path_list_unref(f->path_lists, list);
	return err;
}

static int
neighbor_up(struct fib_feed *f, struct hop *h, const struct adjacency *adj) RUNS_ON(role_fib)
{
	int err = 0;

	memcpy(h->ether, adj->ether, sizeof(h->ether));
	h->ether_len = adj->ether_len;
	h->mtu = adj->mtu;
	/* otherwise fib_feed_port_up() stores the adjacency */
	if (nexthop_port_up(f->config.nexthops, h->port))
		err = hop_store(f, h);
	if (err == 0 && !h->resolved) {
		err = host_route_add(f, h);
		h->resolved = err == 0;
	}
	fib_edges_update(f, NULL);
	return err;
}

static void
neighbor_lost(struct fib_feed *f, struct hop *h) RUNS_ON(role_fib)
{
	struct prefix host = host_of(&h->addr);

	next_hop_down(f->path_lists, h->next_hop, NEXT_HOP_UNRESOLVED);
	if (h->resolved && !addr_is_link_local(&h->addr))
		fib_local_remove(f, h->vrf, &host, PATH_LIST_FORWARD, h->port);
	h->resolved = false;
	fib_edges_update(f, NULL);
	if (h->users > 0)
		f->config.resolve(f->config.resolve_ctx, h->port, &h->addr, true);
	hop_drop_unused(f, h);
}

static int
neighbor_put(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, uint16_t port,
	const struct adjacency *adj) RUNS_ON(role_fib)
{
	struct hop *h = hop_get(f, vrf, addr, port);
	int err;

	if (h == NULL)
		return -ENOMEM;
	err = neighbor_up(f, h, adj);
	hop_drop_unused(f, h);
	return err;
}

int
fib_feed_neighbor(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, uint16_t port,
	const struct adjacency *adj)
{
	struct hop *h;
	int err = 0;

	if (f->config.fib == NULL)
		return 0;
	late_remove(f, vrf, addr, port);
	if (adj != NULL) {
		err = neighbor_put(f, vrf, addr, port, adj);
		if (err != 0)
			late_keep(f, vrf, addr, port, adj);
	} else if ((h = hop_find(f, vrf, addr, port)) != NULL) {
		neighbor_lost(f, h);
	}
	return err;
}

void
fib_neighbors_retry(struct fib_feed *f)
{
	struct late_neighbor **at = &f->late, *l;

	while ((l = *at) != NULL) {
		if (neighbor_put(f, l->vrf, &l->addr, l->port, &l->adj) != 0) {
			fib_feed_fail(f);
			at = &l->next;
			continue;
		}
		*at = l->next;
		arena_free(f->config.arena, l);
	}
}

/* First the stores that redirect packets, then the reports. */
void
fib_feed_port_down(struct fib_feed *f, uint16_t port, uint64_t event_ns)
{
	if (f->config.fib != NULL) {
		for (struct hop *h = f->port_hops[port % PORT_BUCKETS]; h != NULL;
			h = h->port_next) {
			if (h->port == port)
				next_hop_down(f->path_lists, h->next_hop, NEXT_HOP_DOWN);
		}
		if (event_ns != 0) {
			uint64_t took = walk_clock() - event_ns;

			atomic_store_explicit(&f->link_last_ns, took, memory_order_relaxed);
			hist_add(&f->link_hist, took);
		}
	}
	nexthop_link(f->config.nexthops, port, false);
	fib_edges_update(f, NULL);
	fib_own_rewalk(f, OWN_WALK_ALL);
}

/* The kernel reports neighbours lost while the link was down. */
void
fib_feed_port_up(struct fib_feed *f, uint16_t port)
{
	nexthop_link(f->config.nexthops, port, true);
	fib_own_rewalk(f, OWN_WALK_ALL);
	if (f->config.fib == NULL)
		return;
	for (struct hop *h = f->port_hops[port % PORT_BUCKETS]; h != NULL; h = h->port_next) {
		if (h->port != port)
			continue;
		if (!h->resolved)
			next_hop_down(f->path_lists, h->next_hop, NEXT_HOP_UNRESOLVED);
		else if (hop_store(f, h) != 0)
			fib_feed_fail(f);
		if (h->users > 0)
			f->config.resolve(f->config.resolve_ctx, port, &h->addr, true);
	}
	fib_edges_update(f, NULL);
}

const struct hist *
fib_feed_link_hist(const struct fib_feed *f)
{
	return &f->link_hist;
}

uint64_t
fib_feed_link_last_ns(const struct fib_feed *f)
{
	return atomic_load_explicit(&f->link_last_ns, memory_order_relaxed);
}

/* The feed ends: releases all holds of next hops. */
void
fib_hops_fini(struct fib_feed *f)
{
	while (f->late != NULL)
		late_remove(f, f->late->vrf, &f->late->addr, f->late->port);
	for (unsigned i = 0; i < HOP_BUCKETS; i++) {
		while (f->hops[i] != NULL) {
			f->hops[i]->users = 0;
			f->hops[i]->resolved = false;
			hop_drop_unused(f, f->hops[i]);
		}
	}
}
