/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/nexthop.h"

#include "lpm/arena.h"
#include "lpm/fib.h"
#include "lpm/shadow.h"
#include "rib/nexthop_impl.h"
#include "rib/walk.h"

#include <errno.h>
#include <string.h>

#define BUCKETS_MIN 64
#define CHANGES_MAX 256 /* queued changes; beyond, all next hops are processed */
#define ORDERS (2 * FIB_VRF_MAX)
#define FILTER_BITS 65536u
#define VISITED_MAX 64 /* next hops on the path of a resolution; longer paths do not resolve */

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

struct zone {
	uint16_t port;
	uint16_t users;
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
	unsigned connected_count, connected_size, local_count, local_size;
	/* the watched addresses (zones left out) of a VRF and family, as an ordered set */
	struct shadow *order[ORDERS];
	/*
	 * filter for `order`: a prefix that covers no next hop costs one load, also with a full
	 * table of prefixes
	 */
	uint64_t *filter[ORDERS];
	uint64_t port_down[UINT16_MAX / 64 + 1];
	struct zone zone[ZONE_MAX + 1];
	bool via_default;
	struct change changes[CHANGES_MAX]; /* a ring; the first is being looked at */
	unsigned change_head, change_tail;
	struct place change_at, all_at;
	/* index in `order` of a pass over all next hops, without queued changes; ORDERS: no pass */
	unsigned all_next;
	bool all_again; /* and once more from the first */
};

/* Result of resolve(). */
struct resolution {
	bool up, connected, blackhole;
	unsigned depth, direct_count, on_count;
	uint32_t metric;
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

	while (n != NULL && (n->last.vrf.v != vrf.v || !addr_equal(&n->last.addr, addr)))
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

static bool
zone_port(const struct nexthop_table *t, const struct ip_addr *addr, uint16_t *port)
{
	if (addr->zone > ZONE_MAX || t->zone[addr->zone].users == 0)
		return false;
	*port = t->zone[addr->zone].port;
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
		return zone_port(t, addr, port) ? 0 : -ENOENT;
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
	if (r->direct_count == PATHS_MAX)
		return;
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

/* Adds a next hop of the route that needs resolution. */
static void
follow_via(const struct nexthop_table *t, struct vrf_id vrf, const struct nexthop_route *route,
	const struct ip_addr *addr, const struct nexthop *self, struct resolution *r)
	RUNS_ON(role_fib)
{
	struct nexthop *n = nexthop_find(t, vrf, addr);
	uint16_t port;

	r->blackhole |= addr_is_discard(addr) || (n != NULL && n->up && n->blackhole);
	if (n == NULL) { /* not tracked */
		if (nexthop_port(t, vrf, addr, &port) == 0)
			direct_add(r, addr, port);
		return;
	}
	if (!n->up || n->depth >= NEXTHOP_DEPTH_MAX || depends_on(n, self))
		return;
	if (route->bgp && (r->on_count == 0 || n->metric < r->metric))
		r->metric = n->metric;
	if (n->depth >= r->depth)
		r->depth = n->depth + 1u;
	r->on[r->on_count++] = n;
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
	r->direct_count = r->on_count = 0;
	r->blackhole = route->blackhole;
	for (unsigned i = 0; i < route->count; i++) {
		const struct ip_addr *via = &route->via[i].addr;
		uint16_t port = route->via[i].port;

		if (via->afi != AFI_NONE && port == PORT_NONE)
			follow_via(t, vrf, route, via, self, r);
		else if (nexthop_port_up(t, port))
			direct_add(r, via->afi != AFI_NONE ? via : addr, port);
	}
	r->blackhole = r->blackhole && r->direct_count == 0;
	return r->direct_count > 0 || r->blackhole;
}

static void
resolve_way(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr,
	const struct nexthop *self, struct resolution *r) RUNS_ON(role_fib)
{
	const struct connected *c = NULL;
	struct nexthop_route route;
	unsigned max = prefix_max_len(addr->afi);
	uint16_t port;

	*r = (struct resolution){0};
	if (addr_is_discard(addr)) {
		r->up = r->blackhole = true;
		return;
	}
	if (is_local(t, vrf, addr))
		return;
	if (addr_is_link_local(addr)) {
		r->up = r->connected = zone_port(t, addr, &port);
		if (r->up)
			direct_add(r, addr, port);
		return;
	}
	c = connected_longest(t, vrf, addr);
	if (c != NULL && is_end_of(&c->subnet, addr))
		return;
	r->connected = c != NULL;
	while (t->feed.route != NULL &&
		t->feed.route(t->feed.ctx, vrf, addr, max, c == NULL, &route)) {
		if (c != NULL && route.prefix.len <= c->subnet.len)
			break;
		if (route.dead || (route.prefix.len == 0 && !t->via_default))
			return;
		r->up = resolve_by_route(t, vrf, addr, &route, self, r);
		if (r->up || route.prefix.len == 0)
			return;
		max = route.prefix.len - 1u;
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

static bool
directs_equal(const struct nexthop *n, const struct resolution *r)
{
	return n->direct_count == r->direct_count &&
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
	uint64_t h = n->direct_count + (n->blackhole ? UINT64_C(1) << 32 : 0);

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

static void
report(struct nexthop_table *t, struct nexthop *n, bool always) RUNS_ON(role_fib)
{
	uint32_t metric = n->up ? n->metric : 0;
	bool connected = n->up && n->connected;

	if (!always && n->last.up == n->up && n->last.connected == connected &&
		n->last.metric == metric)
		return;
	n->last.up = n->up;
	n->last.connected = connected;
	n->last.metric = metric;
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

/* Resolves again. Dependent next hops are queued. */
static void
update(struct nexthop_table *t, struct nexthop *n) RUNS_ON(role_fib)
{
	struct resolution r;
	bool same, far_same;

	resolve(t, n->last.vrf, &n->last.addr, n, &r);
	same = n->up == r.up && n->blackhole == r.blackhole && directs_equal(n, &r);
	far_same = same && n->depth == r.depth && n->metric == r.metric;
	n->blackhole = r.blackhole; /* part of the digest */
	if ((!ons_equal(n, &r) && ons_store(t, n, &r) != 0) ||
		(!same && directs_store(t, n, &r) != 0)) {
		/* as unresolvable; the next change tries again */
		r = (struct resolution){0};
		n->blackhole = false;
		(void)ons_store(t, n, &r);
		(void)directs_store(t, n, &r);
		same = far_same = false;
	}
	n->up = r.up;
	n->connected = r.connected;
	n->depth = (uint8_t)r.depth;
	n->metric = r.metric;
	if (!far_same && n->refs > n->watchers + n->untracked)
		update_all(t);
	if (!same && t->feed.changed != NULL)
		t->feed.changed(t->feed.ctx, n);
	report(t, n, false);
}

/* ---- life of a next hop ---- */

struct nexthop *
nexthop_ref(struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
{
	struct nexthop *n = nexthop_find(t, vrf, addr), **at;
	struct prefix host = host_prefix(addr);
	uint32_t steps = 0;

	if (n != NULL) {
		n->refs++;
		return n;
	}
	n = arena_calloc(t->arena, sizeof(*n));
	if (n == NULL)
		return NULL;
	if (order_add(t, vrf, &host) != 0) {
		arena_free(t->arena, n);
		return NULL;
	}
	buckets_grow(t);
	n->last = (struct nexthop_message){.vrf = vrf, .addr = *addr};
	n->direct = &n->one;
	at = bucket_of(t, vrf, &host);
	for (const struct nexthop *other = *at; other != NULL; other = other->next)
		steps++;
	hash_probes_add(&t->probes, steps);
	n->next = *at;
	*at = n;
	t->count++;
	update(t, n); /* without a reference: no next hop depends on the new one yet */
	n->refs = 1;
	return n;
}

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
	t->count--;
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

void
nexthop_unref(struct nexthop_table *t, struct nexthop *n)
{
	struct resolution none = {0};

	if (--n->refs > 0)
		return;
	n->up = n->blackhole = false;
	(void)directs_store(t, n, &none); /* shrinking cannot fail */
	if (t->feed.changed != NULL)
		t->feed.changed(t->feed.ctx, n);
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

/* The address in all zones. */
static void
address_update(struct nexthop_table *t, struct vrf_id vrf, const struct prefix *host)
	RUNS_ON(role_fib)
{
	for (struct nexthop *n = *bucket_of(t, vrf, host), *next; n != NULL; n = next) {
		next = n->next;
		if (n->last.vrf.v == vrf.v && n->last.addr.afi == host->afi &&
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
nexthop_work(struct nexthop_table *t, uint64_t deadline_ns)
{
	struct vrf_id vrf;
	struct prefix p;

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

void
nexthop_zone(struct nexthop_table *t, uint16_t zone, uint16_t port, bool present)
{
	struct zone *z = &t->zone[zone <= ZONE_MAX ? zone : 0];

	if (zone == 0 || zone > ZONE_MAX || (!present && z->users == 0))
		return;
	z->port = present ? port : z->port;
	z->users = (uint16_t)(present ? z->users + 1 : z->users - 1);
	zones_changed(t);
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
