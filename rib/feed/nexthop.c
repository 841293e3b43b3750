/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/feed/nexthop.h"

#include "lpm/base/arena.h"
#include "lpm/fib.h"
#include "lpm/shadow.h"
#include "rib/feed/nexthop_impl.h"
#include "rib/shard/walk.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define BUCKETS_MIN 64
#define CHANGE_NS UINT64_C(1000000000) /* a change of state for each such time; nexthop.h */
#define CHANGES_MAX 256 /* queued changes; beyond, all next hops are processed */
#define ORDERS (2 * FIB_VRF_MAX)
#define FILTER_BITS 65536u
#define VISITED_MAX 256 /* next hops on the path of a resolution; longer paths do not resolve */

/*
 * Connected subnets and own addresses are arrays, because a router has tens of them. Peers choose the
 * watched next hops, so watched next hops have a hash index and an order by address: otherwise a peer
 * with many next hops could make each question or change a search through all of them.
 */
struct connected {
	struct vrf_id vrf;
	uint16_t port;
	struct prefix subnet;
	unsigned users; /* number of addresses in the subnet */
};

struct local_addr {
	struct vrf_id vrf;
	struct ip_addr addr;
	unsigned users;
};

/* Interfaces of two network namespaces may have one name, and then one zone. */
struct zone {
	struct vrf_id vrf;
	uint16_t zone, port;
	unsigned users;
};

struct change {
	struct vrf_id vrf;
	struct prefix prefix;
};

/* How far a walk along `order` is. */
struct place {
	bool begun; /* `at` was looked at */
	struct prefix at;
};

struct nexthop_table {
	struct arena *arena;
	bool (*report)(void *ctx, const struct nexthop_message *m);
	void *ctx;
	bool owes; /* an entry with `owed` may exist */
	struct nexthop_feed feed;
	struct nexthop **bucket;
	unsigned bucket_count, count;
	struct hash_probes probes;
	struct connected *connected;
	struct local_addr *locals;
	struct zone *zones;
	unsigned connected_count, connected_size, local_count, local_size, zone_count, zone_size;
	/* the watched addresses (zones left out) of a VRF and family, as an ordered set */
	struct shadow *order[ORDERS];
	/*
	 * filter for `order`: a prefix that covers no next hop costs one load, also with a full
	 * table of prefixes
	 */
	uint64_t *filter[ORDERS];
	uint64_t port_down[UINT16_MAX / 64 + 1];
	bool via_default;
	struct change changes[CHANGES_MAX]; /* a ring; the first is being looked at */
	unsigned change_head, change_tail;
	struct place change_at, all_at;
	/* index in `order` of a pass over all next hops, without queued changes; ORDERS: no pass */
	unsigned all_next;
	bool all_again; /* and once more from the first */
	uint64_t now_ns; /* of the last nexthop_work() */
	struct nexthop *held;
	_Atomic unsigned held_count;
	_Atomic unsigned follows; /* see nexthop_follows() */
};

/* Result of resolve(). */
struct resolution {
	bool up, connected, blackhole, follows;
	unsigned depth, direct_count, on_count, left_out;
	uint32_t metric;
	/* prefixes of BGP routes, of next hops without `without` alone; `full`: there are more */
	struct prefix own[NEXTHOP_OWN_MAX];
	unsigned own_count;
	bool full;
	struct nexthop_direct direct[PATHS_MAX];
	struct nexthop *on[PATHS_MAX];
};

/* Makes room for one more item in an array. */
static int
grow(struct arena *a, void **array, size_t item, unsigned count, unsigned *size)
{
	unsigned next = *size ? 2 * *size : 16;
	void *p;

	if (count < *size)
		return 0;
	p = arena_realloc(a, *array, (size_t)next * item);
	if (p == NULL)
		return -ENOMEM;
	*array = p;
	*size = next;
	return 0;
}

int
nexthop_table_create(struct arena *a, bool (*report)(void *ctx, const struct nexthop_message *m),
	void *ctx, struct nexthop_table **out)
{
	struct nexthop_table *t = arena_calloc(a, sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	t->arena = a;
	t->report = report;
	t->ctx = ctx;
	t->all_next = ORDERS;
	t->bucket_count = BUCKETS_MIN;
	t->bucket = arena_calloc(a, BUCKETS_MIN * sizeof(struct nexthop *));
	if (t->bucket == NULL) {
		arena_free(a, t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

static void
entry_free(struct nexthop_table *t, struct nexthop *n)
{
	if (n->direct != &n->one)
		arena_free(t->arena, n->direct);
	arena_free(t->arena, n->on);
	arena_free(t->arena, n);
}

void
nexthop_table_destroy(struct nexthop_table *t)
{
	for (unsigned i = 0; i < t->bucket_count; i++) {
		while (t->bucket[i] != NULL) {
			struct nexthop *n = t->bucket[i];

			t->bucket[i] = n->next;
			entry_free(t, n);
		}
	}
	for (unsigned i = 0; i < ORDERS; i++) {
		if (t->order[i] != NULL)
			shadow_destroy(t->order[i]);
		arena_free(t->arena, t->filter[i]);
	}
	arena_free(t->arena, t->bucket);
	arena_free(t->arena, t->connected);
	arena_free(t->arena, t->locals);
	arena_free(t->arena, t->zones);
	arena_free(t->arena, t);
}

void
nexthop_bind(struct nexthop_table *t, const struct nexthop_feed *feed)
{
	t->feed = *feed;
}

void
nexthop_each(struct nexthop_table *t, void (*visit)(void *ctx, struct nexthop *n), void *ctx)
{
	for (unsigned i = 0; i < t->bucket_count; i++) {
		for (struct nexthop *n = t->bucket[i], *next; n != NULL; n = next) {
			next = n->next;
			visit(ctx, n);
		}
	}
}

void
nexthop_unbind(struct nexthop_table *t)
{
	for (unsigned i = 0; i < t->bucket_count && t->feed.changed != NULL; i++) {
		for (struct nexthop *n = t->bucket[i]; n != NULL; n = n->next) {
			n->up = false;
			t->feed.changed(t->feed.ctx, n);
		}
	}
	t->feed = (struct nexthop_feed){0};
}

/* ---- the index ---- */

static struct prefix
host_prefix(const struct ip_addr *addr)
{
	return prefix_from_addr(addr, (uint8_t)prefix_max_len(addr->afi));
}

/* Without the zone: addresses that differ in the zone alone share a bucket. */
static struct nexthop **
bucket_of(const struct nexthop_table *t, struct vrf_id vrf, const struct prefix *host)
{
	uint64_t w[2];

	memcpy(w, host->b, sizeof(w));
	return &t->bucket[hash_words(w[0], w[1], (uint64_t)host->afi << 16 | vrf.v) &
			  (t->bucket_count - 1)];
}

struct nexthop *
nexthop_find(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
{
	struct prefix host = host_prefix(addr);
	struct nexthop *n = *bucket_of(t, vrf, &host);

	while (n != NULL && (n->without.afi != AFI_NONE || n->last.vrf.v != vrf.v ||
				    !addr_equal(&n->last.addr, addr)))
		n = n->next;
	return n;
}

bool
nexthop_watched(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
{
	const struct nexthop *n = nexthop_find(t, vrf, addr);

	return n != NULL && n->watchers > 0;
}

const struct hash_probes *
nexthop_probes(const struct nexthop_table *t)
{
	return &t->probes;
}

/* Without memory the chains get longer. */
static void
buckets_grow(struct nexthop_table *t)
{
	unsigned old = t->bucket_count;
	struct nexthop **from = t->bucket, **to;

	if (t->count < old)
		return;
	to = arena_calloc(t->arena, 2 * (size_t)old * sizeof(struct nexthop *));
	if (to == NULL)
		return;
	t->bucket = to;
	t->bucket_count = 2 * old;
	for (unsigned i = 0; i < old; i++) {
		while (from[i] != NULL) {
			struct nexthop *n = from[i];
			struct prefix host = host_prefix(&n->last.addr);
			struct nexthop **at = bucket_of(t, n->last.vrf, &host);

			from[i] = n->next;
			n->next = *at;
			*at = n;
		}
	}
	arena_free(t->arena, from);
}

/* NULL: no memory, or no next hop of that family. */
static struct shadow **
order_of(struct nexthop_table *t, struct vrf_id vrf, uint8_t afi)
{
	if (vrf.v >= FIB_VRF_MAX || (afi != AFI_IPV4 && afi != AFI_IPV6))
		return NULL;
	return &t->order[2 * vrf.v + (afi == AFI_IPV6)];
}

/* Hash of the first 16 bits of an IPv4 address or 32 bits of an IPv6 address. */
static unsigned
filter_bit(const struct prefix *p)
{
	uint32_t front = (uint32_t)p->b[0] << 24 | (uint32_t)p->b[1] << 16 |
			 (uint32_t)p->b[2] << 8 | p->b[3];

	return p->afi == AFI_IPV4 ? front >> 16 : front * 0x9e3779b1u >> 16;
}

/* False: no address under `p` was ever added. */
static bool
filter_passes(const uint64_t *filter, const struct prefix *p)
{
	unsigned bit = filter_bit(p);

	return p->len < (p->afi == AFI_IPV4 ? 16 : 32) || (filter[bit / 64] >> bit % 64 & 1) != 0;
}

static int
order_make(struct nexthop_table *t, unsigned i, enum afi afi)
{
	if (t->filter[i] == NULL)
		t->filter[i] = arena_calloc(t->arena, FILTER_BITS / 8);
	if (t->filter[i] == NULL)
		return -ENOMEM;
	return t->order[i] != NULL ? 0 : shadow_create(t->arena, afi, &t->order[i]);
}

static int
order_add(struct nexthop_table *t, struct vrf_id vrf, const struct prefix *host)
{
	struct shadow **order = order_of(t, vrf, host->afi);
	unsigned bit = filter_bit(host);
	int err;

	if (order == NULL)
		return -EINVAL;
	err = order_make(t, (unsigned)(order - t->order), (enum afi)host->afi);
	if (err != 0)
		return err;
	t->filter[order - t->order][bit / 64] |= 1ull << bit % 64;
	return shadow_set(*order, host, (struct path_list_id){1}, false);
}

/* ---- directly reachable addresses ---- */

static bool
is_local(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
{
	for (unsigned i = 0; i < t->local_count; i++) {
		if (t->locals[i].vrf.v == vrf.v && addr_equal(&t->locals[i].addr, addr))
			return true;
	}
	return false;
}

bool
nexthop_port_up(const struct nexthop_table *t, uint16_t port)
{
	return (t->port_down[port / 64] >> port % 64 & 1) == 0;
}

static const struct connected *
connected_longest(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
{
	const struct connected *best = NULL;

	for (unsigned i = 0; i < t->connected_count; i++) {
		const struct connected *c = &t->connected[i];

		if (c->vrf.v == vrf.v && prefix_contains(&c->subnet, addr) &&
			nexthop_port_up(t, c->port) &&
			(best == NULL || c->subnet.len > best->subnet.len))
			best = c;
	}
	return best;
}

/*
 * True for the network or broadcast address of an IPv4 subnet: no neighbour has the address, and
 * packets go to all neighbours (RFC 1122 3.2.1.3). Subnets of 31 or 32 bits have neither (RFC
 * 3021).
 */
static bool
is_end_of(const struct prefix *subnet, const struct ip_addr *addr)
{
	uint32_t host = subnet->len < 32 ? UINT32_MAX >> subnet->len : 0, bits;

	if (addr->afi != AFI_IPV4 || subnet->len > 30)
		return false;
	bits = addr_v4(addr) & host;
	return bits == 0 || bits == host;
}

static struct zone *
zone_find_in(const struct nexthop_table *t, struct vrf_id vrf, uint16_t zone)
{
	for (unsigned i = 0; i < t->zone_count; i++)
		if (t->zones[i].vrf.v == vrf.v && t->zones[i].zone == zone)
			return &t->zones[i];
	return NULL;
}

static bool
zone_port(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr,
	uint16_t *port)
{
	const struct zone *z = zone_find_in(t, vrf, addr->zone);

	if (z == NULL)
		return false;
	*port = z->port;
	return nexthop_port_up(t, *port);
}

int
nexthop_port(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr,
	uint16_t *port)
{
	const struct connected *c;

	if (is_local(t, vrf, addr))
		return -ENOENT;
	if (addr_is_link_local(addr))
		return zone_port(t, vrf, addr, port) ? 0 : -ENOENT;
	c = connected_longest(t, vrf, addr);
	if (c == NULL || is_end_of(&c->subnet, addr))
		return -ENOENT;
	*port = c->port;
	return 0;
}

/* ---- resolution ---- */

static void
direct_add(struct resolution *r, const struct ip_addr *addr, uint16_t port)
{
	for (unsigned i = 0; i < r->direct_count; i++) {
		if (r->direct[i].port == port && addr_equal(&r->direct[i].addr, addr))
			return;
	}
	if (r->direct_count == PATHS_MAX) {
		r->left_out++;
		return;
	}
	r->direct[r->direct_count++] = (struct nexthop_direct){*addr, port};
}

/* True if `n` depends on `self`, directly or indirectly, or on too many next hops to check. */
static bool
depends_on(struct nexthop *n, const struct nexthop *self)
{
	struct nexthop *seen[VISITED_MAX];
	unsigned count = 1;

	seen[0] = n;
	for (unsigned i = 0; i < count; i++) {
		if (seen[i] == self)
			return true;
		for (unsigned j = 0; j < seen[i]->on_count; j++) {
			unsigned k = 0;

			while (k < count && seen[k] != seen[i]->on[j])
				k++;
			if (k < count)
				continue;
			if (count == VISITED_MAX)
				return true;
			seen[count++] = seen[i]->on[j];
		}
	}
	return false;
}

static void
own_add(struct resolution *r, const struct prefix *p)
{
	for (unsigned i = 0; i < r->own_count; i++)
		if (prefix_equal(&r->own[i], p))
			return;
	if (r->own_count == NEXTHOP_OWN_MAX)
		r->full = true;
	else
		r->own[r->own_count++] = *p;
}

/* Adds a next hop of the route that needs resolution. */
static void
follow_via(const struct nexthop_table *t, struct vrf_id vrf, const struct nexthop_route *route,
	const struct ip_addr *addr, const struct nexthop *self, struct resolution *r)
	RUNS_ON(role_fib)
{
	struct nexthop *n = nexthop_find(t, vrf, addr);
	uint16_t port;

	if (n != NULL)
		n = nexthop_for(n, &self->without);
	r->blackhole |= addr_is_discard(addr);
	if (n == NULL) { /* not tracked */
		if (nexthop_port(t, vrf, addr, &port) == 0)
			direct_add(r, addr, port);
		return;
	}
	if (!n->up || n->depth >= NEXTHOP_DEPTH_MAX || depends_on(n, self))
		return;
	r->blackhole |= n->blackhole;
	if (route->bgp && (r->on_count == 0 || n->metric < r->metric))
		r->metric = n->metric;
	if (n->depth >= r->depth)
		r->depth = n->depth + 1u;
	r->on[r->on_count++] = n;
	r->left_out += n->left_out;
	for (unsigned i = 0; i < n->own_count; i++)
		own_add(r, &n->own[i]->without);
	for (unsigned i = 0; i < n->direct_count; i++)
		direct_add(r, &n->direct[i].addr, n->direct[i].port);
}

/*
 * False: the route does not resolve, or loops. A route with both blackholes and reachable next hops
 * uses the reachable ones.
 */
static bool
resolve_by_route(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr,
	const struct nexthop_route *route, const struct nexthop *self, struct resolution *r)
	RUNS_ON(role_fib)
{
	r->metric = route->metric;
	r->depth = 1;
	r->direct_count = r->on_count = r->own_count = 0;
	r->left_out = route->left_out;
	r->full = false;
	r->blackhole = route->blackhole;
	if (route->bgp)
		own_add(r, &route->prefix);
	for (unsigned i = 0; i < route->count; i++) {
		const struct ip_addr *via = &route->via[i].addr;
		uint16_t port = route->via[i].port;

		if (via->afi != AFI_NONE && port == PORT_NONE)
			follow_via(t, vrf, route, via, self, r);
		else if (nexthop_port_up(t, port))
			direct_add(r, via->afi != AFI_NONE ? via : addr, port);
	}
	r->blackhole = r->blackhole && r->direct_count == 0;
	return !r->full && (r->direct_count > 0 || r->blackhole);
}

static void
resolve_way(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr,
	const struct nexthop *self, struct resolution *r) RUNS_ON(role_fib)
{
	const struct connected *c = NULL;
	struct nexthop_route route;
	unsigned max = prefix_max_len(addr->afi), skip = 0;
	uint16_t port;

	*r = (struct resolution){0};
	if (addr_is_discard(addr)) {
		r->up = r->blackhole = true;
		return;
	}
	if (is_local(t, vrf, addr))
		return;
	if (addr_is_link_local(addr)) {
		r->up = r->connected = zone_port(t, vrf, addr, &port);
		if (r->up)
			direct_add(r, addr, port);
		return;
	}
	c = connected_longest(t, vrf, addr);
	if (c != NULL && is_end_of(&c->subnet, addr))
		return;
	r->connected = c != NULL;
	r->follows = c == NULL;
	while (t->feed.route != NULL &&
		t->feed.route(t->feed.ctx, vrf, addr, max, skip, c == NULL, &route)) {
		if (c != NULL && route.prefix.len <= c->subnet.len)
			break;
		if (route.dead || (route.prefix.len == 0 && !t->via_default))
			return;
		r->up = (!route.bgp || !prefix_equal(&route.prefix, &self->without)) &&
			resolve_by_route(t, vrf, addr, &route, self, r);
		if (r->up)
			return;
		skip = route.prefix.len == max ? skip + 1 : 1;
		max = route.prefix.len;
	}
	if (c == NULL)
		return;
	*r = (struct resolution){.up = true, .connected = true};
	direct_add(r, addr, c->port);
}

/*
 * Packets are dropped at a blackhole, so a single-hop external peer may use the blackhole like a
 * neighbour on its subnet.
 */
static void
resolve(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr,
	const struct nexthop *self, struct resolution *r) RUNS_ON(role_fib)
{
	resolve_way(t, vrf, addr, self, r);
	r->blackhole = r->blackhole && r->up;
	r->connected = r->connected || r->blackhole;
}

static uint16_t
left_out(const struct resolution *r)
{
	return (uint16_t)(r->left_out < UINT16_MAX ? r->left_out : UINT16_MAX);
}

static bool
directs_equal(const struct nexthop *n, const struct resolution *r)
{
	return n->direct_count == r->direct_count && n->left_out == left_out(r) &&
	       (r->direct_count == 0 ||
		       memcmp(n->direct, r->direct, r->direct_count * sizeof(r->direct[0])) == 0);
}

static bool
ons_equal(const struct nexthop *n, const struct resolution *r)
{
	return n->on_count == r->on_count &&
	       (r->on_count == 0 ||
		       memcmp(n->on, r->on, r->on_count * sizeof(struct nexthop *)) == 0);
}

static uint64_t
digest(const struct nexthop *n)
{
	uint64_t h = n->direct_count + ((uint64_t)n->left_out << 40) +
		     (n->blackhole ? UINT64_C(1) << 32 : 0);

	for (unsigned i = 0; i < n->direct_count; i++) {
		const struct nexthop_direct *d = &n->direct[i];

		h = hash_word(h ^ addr_hash(&d->addr, (uint64_t)d->addr.zone << 16 | d->port));
	}
	return h | 1;
}

static int
directs_store(struct nexthop_table *t, struct nexthop *n, const struct resolution *r)
{
	struct nexthop_direct *d = &n->one;

	if (r->direct_count > 1) {
		d = arena_alloc(t->arena, r->direct_count * sizeof(*d));
		if (d == NULL)
			return -ENOMEM;
	}
	memcpy(d, r->direct, r->direct_count * sizeof(*d));
	if (n->direct != &n->one)
		arena_free(t->arena, n->direct);
	n->direct = d;
	n->direct_count = (uint8_t)r->direct_count;
	n->left_out = left_out(r);
	n->digest = digest(n);
	return 0;
}

static int
ons_store(struct nexthop_table *t, struct nexthop *n, const struct resolution *r) RUNS_ON(role_fib)
{
	struct nexthop **old = n->on, **on = NULL;
	unsigned old_count = n->on_count;

	if (r->on_count > 0) {
		on = arena_alloc(t->arena, r->on_count * sizeof(struct nexthop *));
		if (on == NULL)
			return -ENOMEM;
		memcpy(on, r->on, r->on_count * sizeof(struct nexthop *));
	}
	for (unsigned i = 0; i < r->on_count; i++)
		on[i]->refs++;
	n->on = on;
	n->on_count = (uint8_t)r->on_count;
	for (unsigned i = 0; i < old_count; i++)
		nexthop_unref(t, old[i]);
	arena_free(t->arena, old);
	return 0;
}

/*
 * Shards ignore reports on next hops that they do not watch, so with several shards each report
 * goes to all.
 */
static void
report_or_owe(struct nexthop_table *t, struct nexthop *n)
{
	n->owed = n->watchers > 0 && !t->report(t->ctx, &n->last);
	t->owes |= n->owed;
}

bool
nexthop_report_owed(struct nexthop_table *t)
{
	if (!t->owes)
		return false;
	t->owes = false;
	for (unsigned i = 0; i < t->bucket_count; i++) {
		for (struct nexthop *n = t->bucket[i]; n != NULL; n = n->next) {
			if (n->owed && !t->owes)
				report_or_owe(t, n);
			t->owes |= n->owed;
		}
	}
	return t->owes;
}

static bool
messages_equal(const struct nexthop_message *a, const struct nexthop_message *b)
{
	if (a->up != b->up || a->connected != b->connected || a->metric != b->metric ||
		a->own_count != b->own_count)
		return false;
	for (unsigned i = 0; i < a->own_count; i++)
		if (!prefix_equal(&a->own[i].prefix, &b->own[i].prefix) ||
			a->own[i].up != b->own[i].up ||
			a->own[i].connected != b->own[i].connected ||
			a->own[i].metric != b->own[i].metric)
			return false;
	return true;
}

static void
report(struct nexthop_table *t, struct nexthop *n, bool always) RUNS_ON(role_fib)
{
	struct nexthop_message now = {.vrf = n->last.vrf,
		.addr = n->last.addr,
		.up = n->up,
		.connected = n->up && n->connected,
		.metric = n->up ? n->metric : 0,
		.own_count = n->own_count};

	for (unsigned i = 0; i < n->own_count; i++) {
		const struct nexthop *v = n->own[i];

		now.own[i] = (struct nexthop_own){.prefix = v->without,
			.up = v->up,
			.connected = v->up && v->connected,
			.metric = v->up ? v->metric : 0};
	}
	if (!always && messages_equal(&now, &n->last))
		return;
	n->last = now;
	report_or_owe(t, n);
}

static void
update_all(struct nexthop_table *t)
{
	if (t->all_next == ORDERS)
		t->all_next = 0;
	else
		t->all_again = true;
}

/* ---- next hops that change too often ---- */

/* True if a change to `r` is one too many: then the hold of the next hop begins. */
static bool
hold_begins(struct nexthop_table *t, struct nexthop *n, const struct resolution *r)
{
	uint64_t now = t->now_ns;

	if (n->refs == 0 || (n->up == r->up && (!r->up || (n->connected == r->connected &&
								  n->metric == r->metric))))
		return false;
	/* a change of the metric alone, as while tables are loaded, counts an eighth */
	n->busy_ns = (n->busy_ns > now ? n->busy_ns : now) +
		     (n->up == r->up && n->connected == r->connected ? CHANGE_NS / 8 : CHANGE_NS);
	if (n->busy_ns <= now + NEXTHOP_CHANGES * CHANGE_NS)
		return false;
	if (n->hold_ns == 0 || now - n->released_ns > n->hold_ns)
		n->hold_ns = NEXTHOP_HOLD_NS;
	else if (n->hold_ns < NEXTHOP_HOLD_MAX_NS)
		n->hold_ns *= 2;
	n->held_until_ns = now + n->hold_ns;
	n->held_next = t->held;
	t->held = n;
	atomic_fetch_add_explicit(&t->held_count, 1, memory_order_relaxed);
	return true;
}

static void
hold_end(struct nexthop_table *t, struct nexthop *n)
{
	struct nexthop **at = &t->held;

	if (n->held_until_ns == 0)
		return;
	while (*at != n)
		at = &(*at)->held_next;
	*at = n->held_next;
	atomic_fetch_sub_explicit(&t->held_count, 1, memory_order_relaxed);
	n->held_until_ns = 0;
	n->released_ns = t->now_ns;
	n->busy_ns = 0;
}

uint64_t
nexthop_release_ns(const struct nexthop_table *t)
{
	uint64_t first = UINT64_MAX;

	for (const struct nexthop *n = t->held; n != NULL; n = n->held_next)
		first = n->held_until_ns < first ? n->held_until_ns : first;
	return first;
}

unsigned
nexthop_follows(const struct nexthop_table *t)
{
	return atomic_load(&t->follows);
}

unsigned
nexthop_held_count(const struct nexthop_table *t)
{
	return atomic_load_explicit(&t->held_count, memory_order_relaxed);
}

unsigned
nexthop_held(const struct nexthop_table *t, struct nexthop_held *out, unsigned max)
{
	unsigned count = 0;

	for (const struct nexthop *n = t->held; n != NULL && count < max; n = n->held_next)
		out[count++] =
			(struct nexthop_held){n->last.vrf, n->last.addr, n->without, n->hold_ns};
	return count;
}

/* ---- variants ---- */

/* A new entry without a reference, in the index. NULL: out of memory. */
static struct nexthop *
entry_make(struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr,
	const struct prefix *without)
{
	struct nexthop *n = arena_calloc(t->arena, sizeof(*n)), **at;
	struct prefix host = host_prefix(addr);
	uint32_t steps = 0;

	if (n == NULL)
		return NULL;
	n->last = (struct nexthop_message){.vrf = vrf, .addr = *addr};
	n->without = *without;
	n->direct = &n->one;
	at = bucket_of(t, vrf, &host);
	for (const struct nexthop *other = *at; other != NULL; other = other->next)
		steps++;
	hash_probes_add(&t->probes, steps);
	n->next = *at;
	*at = n;
	t->count += without->afi == AFI_NONE;
	return n;
}

/* The variant of `n`, with a reference. NULL: out of memory. */
static struct nexthop *
variant_get(struct nexthop_table *t, struct nexthop *n, const struct prefix *without)
{
	struct prefix host = host_prefix(&n->last.addr);
	struct nexthop *v = *bucket_of(t, n->last.vrf, &host);

	while (v != NULL &&
		(v->last.vrf.v != n->last.vrf.v || !addr_equal(&v->last.addr, &n->last.addr) ||
			!prefix_equal(&v->without, without)))
		v = v->next;
	if (v == NULL)
		v = entry_make(t, n->last.vrf, &n->last.addr, without);
	if (v == NULL)
		return NULL;
	v->refs++;
	v->of = n;
	return v;
}

/* The variants for the resolution `r`. 0; -ENOMEM: nothing changed. */
static int
variants_store(struct nexthop_table *t, struct nexthop *n, const struct resolution *r)
	RUNS_ON(role_fib)
{
	struct nexthop *old[NEXTHOP_OWN_MAX], *now[NEXTHOP_OWN_MAX];
	unsigned count, old_count = n->own_count;

	memcpy(old, n->own, sizeof(old));
	for (count = 0; count < r->own_count; count++) {
		now[count] = variant_get(t, n, &r->own[count]);
		if (now[count] == NULL)
			break;
	}
	if (count < r->own_count) {
		for (unsigned i = 0; i < count; i++)
			nexthop_unref(t, now[i]);
		return -ENOMEM;
	}
	memcpy(n->own, now, count * sizeof(now[0]));
	n->own_count = (uint8_t)count;
	for (unsigned i = 0; i < old_count; i++) {
		if (nexthop_for(n, &old[i]->without) != old[i]) {
			old[i]->of = NULL;
			if (old[i]->refs > 1)
				update_all(t); /* next hops that depend on the variant */
		}
		nexthop_unref(t, old[i]);
	}
	return 0;
}

static bool
variants_equal(const struct nexthop *n, const struct resolution *r)
{
	if (n->own_count != r->own_count)
		return false;
	for (unsigned i = 0; i < r->own_count; i++)
		if (!prefix_equal(&n->own[i]->without, &r->own[i]))
			return false;
	return true;
}

static void
follows_set(struct nexthop_table *t, struct nexthop *n, bool follows)
{
	/* sequentially consistent: the shard that sees 0 here appended before the feed subscribes */
	if (follows && !n->follows)
		atomic_fetch_add(&t->follows, 1);
	else if (!follows && n->follows)
		atomic_fetch_sub(&t->follows, 1);
	n->follows = follows;
}

/* Resolves again, without a report. Dependent next hops are queued. */
static void
update_one(struct nexthop_table *t, struct nexthop *n) RUNS_ON(role_fib)
{
	struct resolution r;
	bool same, variants_same, far_same;

	resolve(t, n->last.vrf, &n->last.addr, n, &r);
	if (n->without.afi != AFI_NONE)
		r.own_count = 0; /* a path is judged without one prefix */
	follows_set(t, n, r.follows);
	if (n->held_until_ns != 0 || hold_begins(t, n, &r))
		r = (struct resolution){0};
	same = n->up == r.up && n->blackhole == r.blackhole && directs_equal(n, &r);
	variants_same = variants_equal(n, &r);
	far_same = same && n->depth == r.depth && n->metric == r.metric && variants_same;
	n->blackhole = r.blackhole; /* part of the digest */
	if ((!ons_equal(n, &r) && ons_store(t, n, &r) != 0) ||
		(!same && directs_store(t, n, &r) != 0) ||
		(!variants_same && variants_store(t, n, &r) != 0)) {
		/* as unresolvable; the next change tries again */
		r = (struct resolution){0};
		n->blackhole = false;
		(void)ons_store(t, n, &r);
		(void)directs_store(t, n, &r);
		(void)variants_store(t, n, &r);
		same = far_same = false;
	}
	n->up = r.up;
	n->connected = r.connected;
	n->depth = (uint8_t)r.depth;
	n->metric = r.metric;
	if (!far_same && nexthop_needed(n))
		update_all(t);
	/* without a variant, the paths that used the variant use `n` */
	if ((!same || !variants_same) && t->feed.changed != NULL)
		t->feed.changed(t->feed.ctx, n);
}

/* Resolves the next hop and its variants again, and reports a change. */
static void
update(struct nexthop_table *t, struct nexthop *n) RUNS_ON(role_fib)
{
	update_one(t, n);
	for (unsigned i = 0; i < n->own_count; i++)
		update_one(t, n->own[i]);
	report(t, n, false);
}

static void
holds_release(struct nexthop_table *t) RUNS_ON(role_fib)
{
	struct nexthop *n = t->held;

	while (n != NULL && n->held_until_ns > t->now_ns)
		n = n->held_next;
	if (n == NULL)
		return;
	hold_end(t, n);
	update(t, n->of != NULL ? n->of : n);
}

/* ---- life of a next hop ---- */

/* The address leaves the order with its last zone. */
static void
forget(struct nexthop_table *t, struct nexthop *n)
{
	struct prefix host = host_prefix(&n->last.addr);
	struct nexthop **at = bucket_of(t, n->last.vrf, &host);
	const struct nexthop *other = *at;

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	t->count -= n->without.afi == AFI_NONE;
	for (other = *bucket_of(t, n->last.vrf, &host); other != NULL; other = other->next) {
		if (other->last.vrf.v == n->last.vrf.v &&
			memcmp(other->last.addr.b, n->last.addr.b, sizeof(n->last.addr.b)) == 0 &&
			other->last.addr.afi == n->last.addr.afi)
			break;
	}
	if (other == NULL)
		(void)shadow_remove(*order_of(t, n->last.vrf, host.afi), &host);
	entry_free(t, n);
}

struct nexthop *
nexthop_ref(struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
{
	struct nexthop *n = nexthop_find(t, vrf, addr);
	struct prefix host = host_prefix(addr), none = {0};

	if (n != NULL) {
		n->refs++;
		return n;
	}
	if (order_add(t, vrf, &host) != 0)
		return NULL;
	buckets_grow(t);
	n = entry_make(t, vrf, addr, &none);
	if (n == NULL)
		return NULL; /* without an entry the address costs a visit */
	update(t, n); /* without a reference: no next hop depends on the new one yet */
	n->refs = 1;
	return n;
}

void
nexthop_unref(struct nexthop_table *t, struct nexthop *n)
{
	struct resolution none = {0};

	if (--n->refs > 0)
		return;
	hold_end(t, n);
	follows_set(t, n, false);
	n->up = n->blackhole = false;
	(void)directs_store(t, n, &none); /* shrinking cannot fail */
	if (t->feed.changed != NULL)
		t->feed.changed(t->feed.ctx, n);
	(void)variants_store(t, n, &none);
	(void)ons_store(t, n, &none);
	forget(t, n);
}

int
nexthop_watch(struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
{
	struct nexthop_message m = {.vrf = vrf, .addr = *addr};
	struct nexthop *n = nexthop_ref(t, vrf, addr);

	if (n == NULL) {
		(void)t->report(
			t->ctx, &m); /* unresolvable, as each next hop is until the first answer */
		return -ENOMEM;
	}
	n->watchers++;
	report(t, n, true);
	return 0;
}

void
nexthop_unwatch(struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
{
	struct nexthop *n = nexthop_find(t, vrf, addr);

	if (n == NULL || n->watchers == 0)
		return;
	n->watchers--;
	nexthop_unref(t, n);
}

/* ---- changes ---- */

void
nexthop_changed(struct nexthop_table *t, struct vrf_id vrf, const struct prefix *p)
{
	struct shadow **order = order_of(t, vrf, p->afi);
	struct shadow_cursor c;
	struct shadow_entry e;
	struct change *last;

	if (order == NULL || *order == NULL || !filter_passes(t->filter[order - t->order], p) ||
		shadow_count(*order) == 0)
		return;
	shadow_seek(*order, p, &c);
	if (!shadow_next(&c, &e) || !prefix_covers(p, &e.prefix))
		return;
	last = &t->changes[(t->change_tail - 1) % CHANGES_MAX];
	if (t->change_tail - t->change_head > 1 && last->vrf.v == vrf.v &&
		prefix_equal(&last->prefix, p))
		return; /* queued already, and not started */
	if (t->change_tail - t->change_head == CHANGES_MAX) {
		t->change_head = t->change_tail;
		t->change_at.begun = false;
		update_all(t);
		return;
	}
	t->changes[t->change_tail++ % CHANGES_MAX] = (struct change){vrf, *p};
}

void
nexthop_changed_all(struct nexthop_table *t)
{
	update_all(t);
}

/* The first address at or after the current place that is covered by `p`. */
static bool
next_address(struct place *at, const struct shadow *order, const struct prefix *p)
{
	struct shadow_cursor c;
	struct shadow_entry e;

	shadow_seek(order, at->begun ? &at->at : p, &c);
	if (!shadow_next(&c, &e) ||
		(at->begun && prefix_equal(&e.prefix, &at->at) && !shadow_next(&c, &e)) ||
		!prefix_covers(p, &e.prefix))
		return false;
	*at = (struct place){true, e.prefix};
	return true;
}

/* The address in all zones; update() reaches the variants. */
static void
address_update(struct nexthop_table *t, struct vrf_id vrf, const struct prefix *host)
	RUNS_ON(role_fib)
{
	for (struct nexthop *n = *bucket_of(t, vrf, host), *next; n != NULL; n = next) {
		next = n->next;
		if (n->without.afi == AFI_NONE && n->last.vrf.v == vrf.v &&
			n->last.addr.afi == host->afi &&
			memcmp(n->last.addr.b, host->b, sizeof(host->b)) == 0) {
			update(t, n);
			next = n->next; /* update() may have freed the next entry */
		}
	}
}

/* The current work item: vrf and prefix. False: no work. */
static bool
present(const struct nexthop_table *t, struct vrf_id *vrf, struct prefix *p)
{
	if (t->change_head != t->change_tail) {
		const struct change *c = &t->changes[t->change_head % CHANGES_MAX];

		*vrf = c->vrf;
		*p = c->prefix;
		return true;
	}
	*vrf = (struct vrf_id){(uint16_t)(t->all_next / 2)};
	*p = (struct prefix){.afi = t->all_next % 2 ? AFI_IPV6 : AFI_IPV4};
	return t->all_next < ORDERS;
}

/* The current work item is complete. */
static void
piece_done(struct nexthop_table *t)
{
	if (t->change_head != t->change_tail) {
		t->change_at.begun = false;
		t->change_head++;
		return;
	}
	t->all_at.begun = false;
	if (++t->all_next == ORDERS && t->all_again) {
		t->all_again = false;
		t->all_next = 0;
	}
}

bool
nexthop_work(struct nexthop_table *t, uint64_t now_ns, uint64_t deadline_ns)
{
	struct vrf_id vrf;
	struct prefix p;

	t->now_ns = now_ns;
	while (t->held != NULL && nexthop_release_ns(t) <= now_ns)
		holds_release(t);
	for (unsigned n = 1; present(t, &vrf, &p); n++) {
		struct shadow *order = *order_of(t, vrf, p.afi);
		struct place *at = t->change_head != t->change_tail ? &t->change_at : &t->all_at;

		if (deadline_ns != 0 && n % 16 == 0 && walk_clock() >= deadline_ns)
			return true;
		if (order == NULL || !next_address(at, order, &p))
			piece_done(t);
		else
			address_update(t, vrf, &at->at);
	}
	return false;
}

bool
nexthop_settled(const struct nexthop_table *t)
{
	return t->change_head == t->change_tail && t->all_next == ORDERS;
}

/* Link-local addresses of all VRFs. */
static void
zones_changed(struct nexthop_table *t) RUNS_ON(role_fib)
{
	struct prefix link_local = {.b = {0xfe, 0x80}, .afi = AFI_IPV6, .len = 10};

	for (uint16_t v = 0; v < FIB_VRF_MAX; v++)
		nexthop_changed(t, (struct vrf_id){v}, &link_local);
}

int
nexthop_zone(struct nexthop_table *t, struct vrf_id vrf, uint16_t zone, uint16_t port, bool present)
{
	struct zone *z = zone_find_in(t, vrf, zone);

	if (zone == 0 || (!present && z == NULL))
		return 0;
	if (z == NULL) {
		if (grow(t->arena, (void **)&t->zones, sizeof(*t->zones), t->zone_count,
			    &t->zone_size) != 0)
			return -ENOMEM;
		z = &t->zones[t->zone_count++];
		*z = (struct zone){.vrf = vrf, .zone = zone};
	}
	z->port = present ? port : z->port;
	z->users += present ? 1 : -1u;
	if (z->users == 0)
		*z = t->zones[--t->zone_count];
	zones_changed(t);
	return 0;
}

void
nexthop_link(struct nexthop_table *t, uint16_t port, bool up)
{
	uint64_t bit = 1ull << port % 64;

	if (nexthop_port_up(t, port) == up)
		return;
	t->port_down[port / 64] ^= bit;
	for (unsigned i = 0; i < t->connected_count; i++) {
		if (t->connected[i].port == port)
			nexthop_changed(t, t->connected[i].vrf, &t->connected[i].subnet);
	}
	zones_changed(t);
}

void
nexthop_via_default(struct nexthop_table *t, bool yes)
{
	if (t->via_default != yes)
		update_all(t);
	t->via_default = yes;
}

static struct connected *
connected_find(
	struct nexthop_table *t, struct vrf_id vrf, const struct prefix *subnet, uint16_t port)
{
	for (unsigned i = 0; i < t->connected_count; i++) {
		struct connected *c = &t->connected[i];

		if (c->vrf.v == vrf.v && c->port == port && prefix_equal(&c->subnet, subnet))
			return c;
	}
	return NULL;
}

int
nexthop_connected_add(
	struct nexthop_table *t, struct vrf_id vrf, const struct prefix *subnet, uint16_t port)
{
	struct connected *c = connected_find(t, vrf, subnet, port);

	if (c != NULL) {
		c->users++;
		return -EEXIST;
	}
	if (grow(t->arena, (void **)&t->connected, sizeof(*t->connected), t->connected_count,
		    &t->connected_size) != 0)
		return -ENOMEM;
	t->connected[t->connected_count++] = (struct connected){vrf, port, *subnet, 1};
	nexthop_changed(t, vrf, subnet);
	return 0;
}

int
nexthop_connected_remove(
	struct nexthop_table *t, struct vrf_id vrf, const struct prefix *subnet, uint16_t port)
{
	struct connected *c = connected_find(t, vrf, subnet, port);

	if (c == NULL)
		return -ENOENT;
	if (--c->users > 0)
		return -EEXIST;
	/*
	 * The order stays: of two ports with one subnet the older is used, as in the kernel,
	 * independent of later changes.
	 */
	memmove(c, c + 1, (size_t)(&t->connected[t->connected_count] - (c + 1)) * sizeof(*c));
	t->connected_count--;
	nexthop_changed(t, vrf, subnet);
	return 0;
}

int
nexthop_local(struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr, bool present)
{
	struct prefix host = host_prefix(addr);

	for (unsigned i = 0; i < t->local_count; i++) {
		struct local_addr *l = &t->locals[i];

		if (l->vrf.v != vrf.v || !addr_equal(&l->addr, addr))
			continue;
		if (present)
			l->users++;
		else if (--l->users == 0)
			*l = t->locals[--t->local_count];
		nexthop_changed(t, vrf, &host);
		return 0;
	}
	if (!present)
		return -ENOENT;
	if (grow(t->arena, (void **)&t->locals, sizeof(*t->locals), t->local_count,
		    &t->local_size) != 0)
		return -ENOMEM;
	t->locals[t->local_count++] = (struct local_addr){vrf, *addr, 1};
	nexthop_changed(t, vrf, &host);
	return 0;
}

unsigned
nexthop_count(const struct nexthop_table *t)
{
	return t->count;
}
