/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Routes of the host: connected subnets, own addresses, resolved neighbours, static and kernel
 * routes. For each prefix one route is selected, by preference; fib_feed.c compares the selected
 * route with the best path of the RIB.
 */
#include "lpm/base/arena.h"
#include "rib/feed/fib_feed_impl.h"

#include <errno.h>
#include <string.h>

#define OWN_SLICE 4 /* buckets between two looks at the clock */

static unsigned
own_bucket(const struct prefix *p)
{
	return (unsigned)(prefix_hash(p) % OWN_BUCKETS);
}

static unsigned
family_index(uint8_t afi)
{
	return afi == AFI_IPV6;
}

/* ---- connected routes ---- */

static unsigned
local_rank(const struct local_route *l)
{
	if (l->kind == PATH_LIST_PUNT)
		return l->port == PORT_ANYCAST ? 2 : 3;
	return l->kind == PATH_LIST_FORWARD;
}

/*
 * An own address is valid in any state of the link (RFC 1122 3.3.4.2, the weak model, as in the
 * kernel); with the link down nothing is reachable over the port.
 */
static bool
local_active(const struct fib_feed *f, const struct local_route *l)
{
	return l->kind == PATH_LIST_PUNT || nexthop_port_up(f->config.nexthops, l->port);
}

/*
 * The selected claim, or NULL: an own address before a neighbour before a subnet; of neighbours the
 * newest (the host moved), of subnets the oldest (as in nexthop_port() and in the kernel).
 */
static const struct local_route *
local_find(const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p)
{
	const struct local_route *best = NULL;

	/* newest first */
	for (const struct local_route *l = f->locals[own_bucket(p)]; l != NULL; l = l->next) {
		if (l->vrf.v != vrf.v || !prefix_equal(&l->prefix, p) || !local_active(f, l))
			continue;
		if (best == NULL || local_rank(l) > local_rank(best) ||
			(l->kind == PATH_LIST_GLEAN && best->kind == PATH_LIST_GLEAN))
			best = l;
	}
	return best;
}

static struct local_route **
local_claim(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p, enum path_list_kind kind,
	uint16_t port)
{
	struct local_route **at = &f->locals[own_bucket(p)];

	while (*at != NULL && ((*at)->vrf.v != vrf.v || (*at)->kind != kind ||
				      (*at)->port != port || !prefix_equal(&(*at)->prefix, p)))
		at = &(*at)->next;
	return at;
}

int
fib_local_add(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	enum path_list_kind kind, uint16_t port, struct path_list_id list)
{
	struct local_route *l = *local_claim(f, vrf, p, kind, port);
	struct local_route **bucket = &f->locals[own_bucket(p)];

	if (l != NULL) {
		l->users++;
		path_list_unref(f->path_lists, list); /* equal to l->list */
		return 0;
	}
	l = arena_alloc(f->config.arena, sizeof(*l));
	if (l == NULL)
		return -ENOMEM;
	*l = (struct local_route){*bucket, vrf, *p, kind, port, list, 1};
	*bucket = l;
	f->own_lens[family_index(p->afi)][p->len]++;
	fib_feed_refresh(f, vrf, p);
	return 0;
}

void
fib_local_remove(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	enum path_list_kind kind, uint16_t port)
{
	struct local_route **at = local_claim(f, vrf, p, kind, port), *l = *at;

	if (l == NULL || --l->users > 0)
		return;
	*at = l->next;
	f->own_lens[family_index(p->afi)][p->len]--;
	path_list_unref(f->path_lists, l->list);
	arena_free(f->config.arena, l);
	fib_feed_refresh(f, vrf, p);
}

/* Without a data plane all kernel interfaces count as ports. */
static bool
leads_to_port(const struct fib_feed *f, uint16_t port)
{
	return f->config.fib == NULL || port != PORT_NONE;
}

static int
nexthops_connect(struct fib_feed *f, struct vrf_id vrf, const struct prefix *subnet,
	const struct ip_addr *local, uint16_t port, bool up) RUNS_ON(role_fib)
{
	struct nexthop_table *t = f->config.nexthops;
	bool link_local = addr_is_link_local(local);
	int err = link_local ? nexthop_zone(t, vrf, local->zone, port, up) : 0, first;

	first = nexthop_local(t, vrf, local, up);
	first = first != 0 ? first : err;
	if (link_local || !leads_to_port(f, port))
		return up ? first : 0;
	err = up ? nexthop_connected_add(t, vrf, subnet, port)
		 : nexthop_connected_remove(t, vrf, subnet, port);
	return !up || err == -EEXIST ? first * up : err != 0 ? err : first;
}

static int
subnet_add(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p, enum path_list_kind kind,
	uint16_t port) RUNS_ON(role_fib)
{
	struct path_list_id list;
	int err = path_list_get(f->path_lists, kind, port, NULL, 0, &list);

	if (err != 0)
		return err;
	err = fib_local_add(f, vrf, p, kind, port, list);
	if (err != 0)
		path_list_unref(f->path_lists, list);
	return err;
}

int
fib_feed_connected(struct fib_feed *f, struct vrf_id vrf, const struct prefix *subnet,
	const struct ip_addr *local, uint16_t port, bool up)
{
	struct prefix host = prefix_from_addr(local, (uint8_t)prefix_max_len(local->afi));
	bool glean = port != PORT_NONE && !addr_is_link_local(local);
	int err = nexthops_connect(f, vrf, subnet, local, port, up), more;

	if (f->config.fib == NULL)
		return err;
	if (up) {
		more = glean ? subnet_add(f, vrf, subnet, PATH_LIST_GLEAN, port) : 0;
		err = err != 0 ? err : more;
		more = subnet_add(f, vrf, &host, PATH_LIST_PUNT, PORT_NONE);
		err = err != 0 ? err : more;
	} else {
		fib_local_remove(f, vrf, &host, PATH_LIST_PUNT, PORT_NONE);
		if (glean)
			fib_local_remove(f, vrf, subnet, PATH_LIST_GLEAN, port);
	}
	return err;
}

int
fib_feed_anycast(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, bool up)
{
	struct prefix host = prefix_from_addr(addr, (uint8_t)prefix_max_len(addr->afi));
	int err = nexthop_local(f->config.nexthops, vrf, addr, up), more = 0;

	if (up)
		more = subnet_add(f, vrf, &host, PATH_LIST_PUNT, PORT_ANYCAST);
	else
		fib_local_remove(f, vrf, &host, PATH_LIST_PUNT, PORT_ANYCAST);
	return !up ? 0 : err != 0 ? err : more;
}

int
fib_feed_zone(struct fib_feed *f, struct vrf_id vrf, uint16_t zone, uint16_t port)
{
	return nexthop_zone(f->config.nexthops, vrf, zone, port, true);
}

void
fib_feed_zone_remove(struct fib_feed *f, struct vrf_id vrf, uint16_t zone, uint16_t port)
{
	(void)nexthop_zone(
		f->config.nexthops, vrf, zone, port, false); /* -ENOMEM of additions alone */
}

/* ---- static and kernel routes ---- */

static struct host_route **
route_place(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p, enum route_source source)
{
	struct host_route **at = &f->routes[own_bucket(p)];

	while (*at != NULL && ((*at)->vrf.v != vrf.v || (*at)->source != source ||
				      !prefix_equal(&(*at)->prefix, p)))
		at = &(*at)->next;
	return at;
}

static bool
preferred(const struct fib_feed *f, enum route_source a, enum route_source b)
{
	return f->preference[a] < f->preference[b] ||
	       (f->preference[a] == f->preference[b] && a < b);
}

/* The preferred route of the host for exactly `p`; `after`: of the routes less preferred than that source. */
static const struct host_route *
route_find(const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	const enum route_source *after)
{
	const struct host_route *best = NULL;

	for (const struct host_route *r = f->routes[own_bucket(p)]; r != NULL; r = r->next) {
		if (r->vrf.v != vrf.v || !r->active || !prefix_equal(&r->prefix, p) ||
			(after != NULL && !preferred(f, *after, r->source)))
			continue;
		if (best == NULL || preferred(f, r->source, best->source))
			best = r;
	}
	return best;
}

bool
fib_own_find(
	const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p, struct own_answer *out)
{
	const struct local_route *l;
	const struct host_route *r;

	if (f->own_lens[family_index(p->afi)][p->len] == 0)
		return false;
	l = local_find(f, vrf, p);
	if (l != NULL) {
		*out = (struct own_answer){
			f->preference[SOURCE_CONNECTED], SOURCE_CONNECTED, l->list};
		if (l->kind == PATH_LIST_PUNT) {
			out->preference = -1;
			return true;
		}
	}
	r = route_find(f, vrf, p, NULL);
	if (r != NULL && (l == NULL || f->preference[r->source] < out->preference))
		*out = (struct own_answer){f->preference[r->source], r->source, r->list};
	return l != NULL || r != NULL;
}

static void
answer_add(struct feed_answer *a, struct next_hop_id next_hop)
{
	for (unsigned i = 0; i < a->count; i++) {
		if (a->path[i].next_hop.v == next_hop.v)
			return;
	}
	if (a->count < PATHS_MAX)
		a->path[a->count++] = (struct path){.next_hop = next_hop, .label = LABEL_NONE};
	else
		a->left_out++;
}

/* Adds the resolved paths of a hop. False: out of memory or of ids. */
static bool
host_hop_paths(struct fib_feed *f, const struct host_route *r, struct host_hop *h,
	struct feed_answer *a) RUNS_ON(role_fib)
{
	if (h->by != NULL) {
		if (!h->by->up)
			return true;
		if (!fib_hold(f, h->by))
			return false;
		for (unsigned i = 0; i < h->by->hold->count; i++)
			answer_add(a, h->by->hold->hop[i]->next_hop);
		a->left_out += h->by->left_out;
		return true;
	}
	if (h->hop == NULL)
		h->hop = fib_hop_use(f, r->vrf, &h->key.addr, h->key.port);
	if (h->hop == NULL)
		return false;
	if (nexthop_port_up(f->config.nexthops, h->key.port))
		answer_add(a, h->hop->next_hop);
	return true;
}

/* True for a hop without an address: all destinations are directly on the port, as in a subnet. */
static bool
on_link(const struct host_hop *h)
{
	return h->key.addr.afi == AFI_NONE;
}

static bool
route_resolves(const struct fib_feed *f, const struct host_route *r)
{
	for (unsigned i = 0; i < r->count; i++) {
		const struct host_hop *h = &r->hop[i];

		if (h->by != NULL ? h->by->up : nexthop_port_up(f->config.nexthops, h->key.port))
			return true;
	}
	return r->count == 0;
}

/* A next hop of the route resolves to a blackhole. */
static bool
route_drops(const struct host_route *r)
{
	for (unsigned i = 0; i < r->count; i++) {
		if (r->hop[i].by != NULL && r->hop[i].by->up && r->hop[i].by->blackhole)
			return true;
	}
	return r->count == 0;
}

/* The list for the current resolution; PATH_LIST_NONE: unresolved. 0, -ENOMEM, -ENOSPC. */
static int
route_list(struct fib_feed *f, struct host_route *r, struct path_list_id *out) RUNS_ON(role_fib)
{
	struct feed_answer a;

	a.count = a.left_out = 0;
	out->v = PATH_LIST_NONE;
	for (unsigned i = 0; i < r->count; i++) {
		if (!on_link(&r->hop[i]) && !host_hop_paths(f, r, &r->hop[i], &a))
			return -ENOSPC;
	}
	if (a.count > 0)
		return path_list_get_backed(f->path_lists, a.path, a.count, 0, a.left_out, out);
	for (unsigned i = 0; i < r->count; i++) {
		if (on_link(&r->hop[i]) && r->hop[i].key.port != PORT_NONE &&
			nexthop_port_up(f->config.nexthops, r->hop[i].key.port))
			return path_list_get(
				f->path_lists, PATH_LIST_GLEAN, r->hop[i].key.port, NULL, 0, out);
	}
	return route_drops(r)
		       ? path_list_get(f->path_lists, PATH_LIST_BLACKHOLE, PORT_NONE, NULL, 0, out)
		       : 0;
}

/* Resolves the route again, and refreshes the prefix if the resolution changed. */
static void
route_update(struct fib_feed *f, struct host_route *r) RUNS_ON(role_fib)
{
	struct path_list_id list = {PATH_LIST_NONE};
	bool active = route_resolves(f, r);

	if (f->config.fib != NULL) {
		if (route_list(f, r, &list) != 0) {
			fib_feed_fail(f);
			list.v = PATH_LIST_NONE;
		}
		active = list.v != PATH_LIST_NONE;
	}
	if (active != r->active || list.v != r->list.v)
		nexthop_changed(f->config.nexthops, r->vrf, &r->prefix);
	if (active != r->active && r->source == SOURCE_STATIC && f->config.static_changed != NULL)
		f->config.static_changed(f->config.static_ctx, r->vrf, &r->prefix, active);
	if (list.v == r->list.v) {
		r->active = active;
		if (list.v != PATH_LIST_NONE)
			path_list_unref(f->path_lists, list);
		return;
	}
	path_list_unref(f->path_lists, r->list);
	r->list = list;
	r->active = active;
	fib_feed_refresh(f, r->vrf, &r->prefix);
}

static void
route_free(struct fib_feed *f, struct host_route *r) RUNS_ON(role_fib)
{
	for (unsigned i = 0; i < r->count; i++) {
		if (r->hop[i].by != NULL)
			nexthop_unref(f->config.nexthops, r->hop[i].by);
		if (r->hop[i].hop != NULL)
			fib_hop_release(f, r->hop[i].hop);
	}
	if (f->path_lists != NULL)
		path_list_unref(f->path_lists, r->list);
	arena_free(f->config.arena, r);
}

/* NULL: out of memory. */
static struct host_route *
route_make(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p, enum route_source source,
	const struct fib_feed_hop *hops, unsigned count, uint32_t metric) RUNS_ON(role_fib)
{
	struct host_route *r =
		arena_calloc(f->config.arena, sizeof(*r) + count * sizeof(r->hop[0]));

	if (r == NULL)
		return NULL;
	r->vrf = vrf;
	r->prefix = *p;
	r->source = source;
	r->metric = source == SOURCE_KERNEL ? metric : 0;
	for (r->count = 0; r->count < count; r->count++) {
		struct host_hop *h = &r->hop[r->count];

		h->key = hops[r->count];
		if (h->key.addr.afi == AFI_NONE || h->key.port != PORT_NONE)
			continue;
		h->by = nexthop_ref(f->config.nexthops, vrf, &h->key.addr);
		if (h->by == NULL) {
			route_free(f, r);
			return NULL;
		}
	}
	return r;
}

static void
route_unlink(struct fib_feed *f, struct host_route **at) RUNS_ON(role_fib)
{
	struct host_route *r = *at;

	*at = r->next;
	f->own_lens[family_index(r->prefix.afi)][r->prefix.len]--;
	f->route_lens[family_index(r->prefix.afi)][r->prefix.len]--;
}

static void
route_link(struct fib_feed *f, struct host_route *r)
{
	struct host_route **bucket = &f->routes[own_bucket(&r->prefix)];

	r->next = *bucket;
	*bucket = r;
	f->own_lens[family_index(r->prefix.afi)][r->prefix.len]++;
	f->route_lens[family_index(r->prefix.afi)][r->prefix.len]++;
}

int
fib_feed_route(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	enum route_source source, const struct fib_feed_hop *hops, unsigned count, uint32_t metric,
	bool present)
{
	struct host_route **at = route_place(f, vrf, p, source), *old = *at, *r = NULL;

	if (count > ROUTE_HOPS_MAX || (source != SOURCE_STATIC && source != SOURCE_KERNEL))
		return -EINVAL;
	if (!present && old == NULL)
		return -ENOENT;
	if (present) {
		r = route_make(f, vrf, p, source, hops, count, metric);
		if (r == NULL)
			return -ENOMEM;
	}
	if (old != NULL)
		route_unlink(f, at);
	if (r != NULL) {
		route_link(f, r);
		/* keep the old state until the new resolution, so that nothing is withdrawn */
		if (old != NULL && old->active) {
			r->active = true;
			r->list = old->list;
			path_list_ref(f->path_lists, r->list);
		}
		route_update(f, r);
	}
	nexthop_changed(f->config.nexthops, vrf, p);
	if (old != NULL) {
		if (r == NULL)
			fib_feed_refresh(f, vrf, p);
		route_free(f, old);
	}
	return 0;
}

bool
fib_feed_resolves(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr)
{
	struct nexthop *n = nexthop_ref(f->config.nexthops, vrf, addr);
	bool up = n != NULL && n->up;

	if (n != NULL)
		nexthop_unref(f->config.nexthops, n);
	return up;
}

bool
fib_feed_static_up(const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p)
{
	const struct host_route *r = f->routes[own_bucket(p)];

	while (r != NULL &&
		(r->vrf.v != vrf.v || r->source != SOURCE_STATIC || !prefix_equal(&r->prefix, p)))
		r = r->next;
	return r != NULL && r->active;
}

/* ---- walks over host routes ---- */

void
fib_own_rewalk(struct fib_feed *f, enum own_walk which)
{
	if (f->own_walk.state == OWN_WALK_NONE) {
		f->own_walk.state = which;
		f->own_walk.bucket = 0;
	} else if (f->own_walk.next < which) {
		f->own_walk.next = which;
	}
}

static void
own_bucket_update(struct fib_feed *f, unsigned bucket) RUNS_ON(role_fib)
{
	for (struct host_route *r = f->routes[bucket]; r != NULL; r = r->next)
		route_update(f, r);
	if (f->own_walk.state != OWN_WALK_ALL)
		return;
	for (const struct local_route *l = f->locals[bucket]; l != NULL; l = l->next)
		fib_feed_refresh(f, l->vrf, &l->prefix);
	for (const struct host_route *r = f->routes[bucket]; r != NULL; r = r->next)
		fib_feed_refresh(f, r->vrf, &r->prefix);
}

bool
fib_own_work(struct fib_feed *f, uint64_t deadline_ns)
{
	for (unsigned n = 1; f->own_walk.state != OWN_WALK_NONE; n++) {
		own_bucket_update(f, f->own_walk.bucket++);
		if (f->own_walk.bucket == OWN_BUCKETS) {
			f->own_walk.state = f->own_walk.next;
			f->own_walk.next = OWN_WALK_NONE;
			f->own_walk.bucket = 0;
		}
		if (n % OWN_SLICE == 0 && walk_clock() >= deadline_ns)
			return f->own_walk.state != OWN_WALK_NONE;
	}
	return false;
}

void
fib_feed_preference(struct fib_feed *f, const uint8_t preference[SOURCE_COUNT])
{
	if (memcmp(f->preference, preference, sizeof(f->preference)) == 0)
		return;
	memcpy(f->preference, preference, sizeof(f->preference));
	fib_own_rewalk(f, OWN_WALK_ALL);
	fib_feed_rewalk(f);
	for (uint16_t v = 0; v < FIB_VRF_MAX; v++) {
		nexthop_changed(
			f->config.nexthops, (struct vrf_id){v}, &(struct prefix){.afi = AFI_IPV4});
		nexthop_changed(
			f->config.nexthops, (struct vrf_id){v}, &(struct prefix){.afi = AFI_IPV6});
	}
}

/* ---- for next-hop tracking ---- */

/*
 * The BGP route of exactly `p`, and its source; false without a route. Own routes of the RIB are routes of
 * the host.
 */
static bool
rib_route_at(const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	enum route_source *source, struct nexthop_route *out)
{
	const struct feed_source *s = &f->source;
	const struct shard *shard = feed_shard(s, vrf, p);
	const struct dest_table *t;
	struct shard_peer peer;
	struct dest_view view;
	struct dest_id id;

	if (!fib_feed_table(s, vrf, p, &t))
		return false;
	id = dest_find(t, p);
	if (id.v == DEST_NONE || !dest_peek(t, id, &view) || view.paths == NULL)
		return false;
	*out = (struct nexthop_route){.prefix = *p, .bgp = true};
	for (unsigned i = 0; i < view.paths->eligible && out->count < PATHS_MAX; i++) {
		const struct rib_path *path = &view.paths->path[i];
		const struct attr_packed *attrs = attr_get(shard_attrs(shard), path->accepted);

		if (out->count > 0 && i >= view.paths->multipath)
			break;
		if (path->peer.v == PEER_SELF.v || attrs == NULL)
			continue;
		if (out->count == 0)
			*source = shard_peer_peek(shard, path->peer, &peer) && peer.external
					  ? SOURCE_EXTERNAL
					  : SOURCE_INTERNAL;
		out->via[out->count].addr = attr_packed_next_hop(attrs);
		out->via[out->count++].port = PORT_NONE;
	}
	return out->count > 0;
}

/* The length of the longest BGP route of at most `max_len` bits; -1: none. */
static int
rib_longest(const struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, int max_len)
{
	struct shard *shards[2];
	unsigned count = shards_covering(
		&f->source.shards, shards_by(vrf, fib_feed_family(addr->afi)), addr, shards);
	int best = -1;

	for (unsigned i = 0; i < count; i++) {
		struct nexthop_route route;
		enum route_source source;
		struct dest_view view;
		struct table_id table;

		if (shard_table_find(shards[i], vrf, fib_feed_family(addr->afi), &table) != 0 ||
			dest_longest(shard_table(shards[i], table), addr, &view).v == DEST_NONE)
			continue;
		for (int len = view.prefix.len < max_len ? view.prefix.len : max_len; len > best;
			len--) {
			struct prefix p = prefix_from_addr(addr, (uint8_t)len);

			if (rib_route_at(f, vrf, &p, &source, &route))
				best = len;
		}
	}
	return best;
}

/* The length of the longest static or kernel route of at most `max_len` bits; -1: none. */
static int
host_longest(const struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, int max_len)
{
	for (int len = max_len; len >= 0; len--) {
		struct prefix p = prefix_from_addr(addr, (uint8_t)len);

		if (f->route_lens[family_index(addr->afi)][len] != 0 &&
			route_find(f, vrf, &p, NULL) != NULL)
			return len;
	}
	return -1;
}

static void
host_route_copy(const struct host_route *r, struct nexthop_route *out)
{
	*out = (struct nexthop_route){.prefix = r->prefix,
		.metric = r->metric,
		.count = r->count < PATHS_MAX ? r->count : PATHS_MAX};
	out->left_out = r->count - out->count;
	out->blackhole = r->count == 0 && r->source == SOURCE_STATIC;
	out->dead = r->count == 0 && !out->blackhole;
	for (unsigned i = 0; i < out->count; i++) {
		out->via[i].addr = r->hop[i].key.addr;
		out->via[i].port = r->hop[i].key.port;
	}
}

/* The route to exactly `p` with `skip` preferred routes before. */
static bool
route_at(const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p, unsigned skip,
	bool bgp, struct nexthop_route *out)
{
	const struct host_route *r = route_find(f, vrf, p, NULL);
	enum route_source source;

	bgp = bgp && rib_route_at(f, vrf, p, &source, out);
	for (unsigned n = 0; r != NULL || bgp; n++) {
		bool first = bgp && (r == NULL || preferred(f, source, r->source));

		if (n == skip && !first)
			host_route_copy(r, out);
		if (n == skip)
			return true;
		if (first)
			bgp = false;
		else
			r = route_find(f, vrf, p, &r->source);
	}
	return false;
}

bool
fib_route_longest(void *ctx, struct vrf_id vrf, const struct ip_addr *addr, unsigned max_len,
	unsigned skip, bool bgp, struct nexthop_route *out)
{
	const struct fib_feed *f = ctx;
	int host, rib, max = (int)max_len;
	struct prefix p;

	bgp = bgp && f->source.journal != NULL;
	if (skip > 0) {
		p = prefix_from_addr(addr, (uint8_t)max);
		if (route_at(f, vrf, &p, skip, bgp, out))
			return true;
		max--;
	}
	host = host_longest(f, vrf, addr, max);
	rib = bgp ? rib_longest(f, vrf, addr, max) : -1;
	if (host < 0 && rib < 0)
		return false;
	p = prefix_from_addr(addr, (uint8_t)(host > rib ? host : rib));
	return route_at(f, vrf, &p, 0, bgp, out);
}

void
fib_own_fini(struct fib_feed *f)
{
	for (unsigned i = 0; i < OWN_BUCKETS; i++) {
		while (f->locals[i] != NULL) {
			struct local_route *l = f->locals[i];

			f->locals[i] = l->next;
			path_list_unref(f->path_lists, l->list);
			arena_free(f->config.arena, l);
		}
		while (f->routes[i] != NULL) {
			struct host_route *r = f->routes[i];

			f->routes[i] = r->next;
			route_free(f, r);
		}
	}
}
