/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/host/host_routes.h"

#include "control/base/layers.h"
#include "control/base/log.h"
#include "control/host/netlink.h"
#include "control/config/policy_compile.h"
#include "control/base/threads.h"
#include "lpm/path_list.h"
#include "rib/feed/fib_feed.h"
#include "rib/shard/preview.h"
#include "rib/shard/shard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 64 /* a power of two */
#define GATHER_NS 20000000 /* gathers the events of a change on the host */
#define RETRY_NS 1000000000
#define ORDER_MAX 256 /* originations in a call of a shard thread */
#define RECURSION_MAX 8 /* of next hops, as in rib/nexthop */

/* A prefix of the host: the sources of the prefix, and the attributes of the prefix in BGP. */
struct own {
	struct own *next; /* in its bucket */
	struct own *next_dirty;
	struct vrf_id vrf;
	struct prefix prefix;
	bool dirty, network, kernel;
	bool network_then; /* during host_routes_preview() */
	bool static_up; /* a static route resolves: of the fib thread */
	uint64_t kernel_ports; /* host_routes_kernel_route() */
	enum route_source source; /* of `originated` */
	unsigned after; /* of `originated`: flags of PATH_AFTER */
	struct attr_set *originated; /* NULL: not in BGP */
};

/* A subnet on a port. `users`: the addresses in the subnet. */
struct subnet {
	struct subnet *next;
	struct vrf_id vrf;
	struct prefix prefix;
	uint16_t port;
	unsigned users;
};

/* The zone of a port, or of an interface without a data plane. */
struct zone {
	struct zone *next;
	struct vrf_id vrf;
	uint16_t zone, port;
};

struct host_routes {
	const struct layers *layers;
	const struct config *config; /* NULL: not applied yet */
	struct own **buckets, *dirty;
	unsigned bucket_count, count;
	uint32_t kernel_lens[2][129]; /* the number of kernel routes, by family and length */
	struct subnet *subnets;
	bool port_down[PORT_NONE];
	struct zone *zones;
	struct policy_eval *eval;
	struct timer timer;
};

/* ---- prefixes ---- */

static struct own **
own_slot(struct host_routes *h, struct vrf_id vrf, const struct prefix *p)
{
	struct own **at = &h->buckets[(prefix_hash(p) + vrf.v) & (h->bucket_count - 1)];

	while (*at != NULL && ((*at)->vrf.v != vrf.v || !prefix_equal(&(*at)->prefix, p)))
		at = &(*at)->next;
	return at;
}

static int
own_grow(struct host_routes *h)
{
	unsigned old_count = h->bucket_count, count = old_count ? 2 * old_count : BUCKETS_MIN;
	struct own **old = h->buckets, **buckets = calloc(count, sizeof(struct own *));

	if (buckets == NULL)
		return old != NULL ? 0 : -ENOMEM; /* not an error: chains get longer */
	h->buckets = buckets;
	h->bucket_count = count;
	for (unsigned i = 0; i < old_count; i++) {
		for (struct own *o = old[i], *next; o != NULL; o = next) {
			struct own **at = own_slot(h, o->vrf, &o->prefix);

			next = o->next;
			o->next = NULL;
			*at = o;
		}
	}
	free(old);
	return 0;
}

static struct own *
own_find(struct host_routes *h, struct vrf_id vrf, const struct prefix *p)
{
	return h->bucket_count > 0 ? *own_slot(h, vrf, p) : NULL;
}

/* Finds or adds a prefix. NULL: out of memory (logged). */
static struct own *
own_get(struct host_routes *h, struct vrf_id vrf, const struct prefix *p)
{
	struct own *o = own_find(h, vrf, p);

	if (o != NULL)
		return o;
	if (h->count < h->bucket_count || own_grow(h) == 0)
		o = calloc(1, sizeof(*o));
	if (o == NULL) {
		log_event(LOG_ERROR, "own-route-lost error=\"%s\"", strerrordesc_np(ENOMEM));
		return NULL;
	}
	o->vrf = vrf;
	o->prefix = *p;
	*own_slot(h, vrf, p) = o;
	h->count++;
	return o;
}

static void
mark_own(struct host_routes *h, struct own *o)
{
	if (o == NULL || o->dirty)
		return;
	o->dirty = true;
	o->next_dirty = h->dirty;
	h->dirty = o;
}

static void
mark_prefix(struct host_routes *h, struct vrf_id vrf, const struct prefix *p)
{
	mark_own(h, own_get(h, vrf, p));
}

static void
mark_networks(struct host_routes *h, const struct config *c)
{
	for (unsigned i = 0; i < c->network_count; i++) {
		struct own *o = own_get(h, c->networks[i].vrf, &c->networks[i].prefix);

		if (o == NULL)
			continue;
		o->network = true;
		mark_own(h, o);
	}
}

static void
mark_all(struct host_routes *h)
{
	for (unsigned i = 0; i < h->bucket_count; i++)
		for (struct own *o = h->buckets[i]; o != NULL; o = o->next) {
			o->network = false;
			mark_own(h, o);
		}
}

/* ---- the present sources of a prefix ---- */

static bool
subnet_up(struct host_routes *h, const struct subnet *s)
{
	return s->port == PORT_NONE || !h->port_down[s->port];
}

static bool
is_connected(struct host_routes *h, struct vrf_id vrf, const struct prefix *p)
{
	for (const struct subnet *s = h->subnets; s != NULL; s = s->next)
		if (s->vrf.v == vrf.v && prefix_equal(&s->prefix, p) && subnet_up(h, s))
			return true;
	return false;
}

/*
 * False if all ports of the route are down. The kernel keeps a route over a link without carrier.
 */
static bool
kernel_up(struct host_routes *h, const struct own *o)
{
	for (unsigned port = 0; port < 64; port++)
		if ((o->kernel_ports >> port & 1) != 0 && !h->port_down[port])
			return o->kernel;
	return o->kernel && o->kernel_ports == 0;
}

/* The length of the longest connected subnet or kernel route to `addr`; -1: none. */
static int
host_match(struct host_routes *h, struct vrf_id vrf, const struct ip_addr *addr)
{
	int best = -1;

	for (const struct subnet *s = h->subnets; s != NULL; s = s->next)
		if (s->vrf.v == vrf.v && s->prefix.len > best && subnet_up(h, s) &&
			prefix_contains(&s->prefix, addr))
			best = s->prefix.len;
	for (int len = (int)prefix_max_len(addr->afi); len > best; len--) {
		struct prefix p;
		const struct own *o;

		if (h->kernel_lens[addr->afi - AFI_IPV4][len] == 0)
			continue;
		p = prefix_from_addr(addr, (uint8_t)len);
		o = own_find(h, vrf, &p);
		if (o != NULL && kernel_up(h, o))
			return len;
	}
	return best;
}

/* False if there is no interface with the zone, or the interface is down. */
static bool
zone_up(const struct host_routes *h, struct vrf_id vrf, uint16_t zone)
{
	for (const struct zone *z = h->zones; z != NULL; z = z->next)
		if (z->vrf.v == vrf.v && z->zone == zone)
			return z->port == PORT_NONE || !h->port_down[z->port];
	return false;
}

static bool
static_same(const struct config_static *a, const struct config_static *b)
{
	return a->vrf.v == b->vrf.v && prefix_equal(&a->prefix, &b->prefix);
}

static unsigned
static_hops(const struct config *c, const struct config_static *s,
	struct fib_feed_hop out[ROUTE_HOPS_MAX])
{
	unsigned count = 0;

	for (unsigned i = 0; i < c->static_count && count < ROUTE_HOPS_MAX; i++)
		if (static_same(&c->statics[i], s) && c->statics[i].next_hop.afi != AFI_NONE)
			out[count++] = (struct fib_feed_hop){c->statics[i].next_hop, PORT_NONE};
	return count;
}

static bool
static_in(const struct config *c, const struct config_static *s)
{
	for (unsigned i = 0; c != NULL && i < c->static_count; i++)
		if (static_same(&c->statics[i], s))
			return true;
	return false;
}

static bool
static_unchanged(const struct config *old, const struct config *next, const struct config_static *s)
{
	struct fib_feed_hop a[ROUTE_HOPS_MAX], b[ROUTE_HOPS_MAX];
	unsigned n;

	if (old == NULL || !static_in(old, s))
		return false;
	n = static_hops(old, s, a);
	if (static_hops(next, s, b) != n)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (!addr_equal(&a[i].addr, &b[i].addr))
			return false;
	return true;
}

/*
 * For a preview: a static route that a document adds or changes would resolve by routes of the host, or
 * by static routes of the document.
 */
static bool
static_up(struct host_routes *h, const struct config *c, const struct config_static *s,
	unsigned depth)
{
	const struct config_static *via = NULL;
	int host;

	if (s->next_hop.afi == AFI_NONE)
		return true;
	if (addr_is_link_local(&s->next_hop))
		return zone_up(h, s->vrf, s->next_hop.zone);
	host = host_match(h, s->vrf, &s->next_hop);
	for (unsigned i = 0; i < c->static_count; i++) {
		const struct config_static *other = &c->statics[i];

		if (other->vrf.v == s->vrf.v &&
			other->prefix.len > (via != NULL ? via->prefix.len : host) &&
			!prefix_equal(&other->prefix, &s->prefix) &&
			prefix_contains(&other->prefix, &s->next_hop))
			via = other;
	}
	if (via == NULL)
		return host > 0 || (host == 0 && c->resolve_via_default);
	if (via->prefix.len == 0 && !c->resolve_via_default)
		return false;
	return depth < RECURSION_MAX && static_up(h, c, via, depth + 1);
}

struct resolves {
	const struct layers *layers;
	const struct config_static *s;
	bool answer;
};

static void
resolves_ask(void *arg) RUNS_ON(role_fib)
{
	struct resolves *r = arg;

	r->answer = fib_feed_resolves(r->layers->feed, r->s->vrf, &r->s->next_hop);
}

/*
 * True if the static route of `c` resolves. The fib thread has resolved the routes in use; a route that
 * `c` adds or changes is for a preview.
 */
static bool
static_resolves(struct host_routes *h, const struct config *c, const struct own *o,
	const struct config_static *s) RUNS_ON(role_main)
{
	struct resolves r = {.layers = h->layers, .s = s};

	if (c == h->config || static_unchanged(h->config, c, s))
		return o->static_up;
	if (static_up(h, c, s, 0))
		return true;
	layers_call_fib(h->layers, resolves_ask, &r); /* by BGP routes */
	return r.answer;
}

static const struct config_static *
static_of(struct host_routes *h, const struct config *c, const struct own *o) RUNS_ON(role_main)
{
	for (unsigned i = 0; i < c->static_count; i++) {
		const struct config_static *s = &c->statics[i];

		if (s->vrf.v == o->vrf.v && prefix_equal(&s->prefix, &o->prefix) &&
			static_resolves(h, c, o, s))
			return s;
	}
	return NULL;
}

static bool
source_has(struct host_routes *h, const struct config *c, enum route_source source,
	const struct own *o, uint32_t *tag) RUNS_ON(role_main)
{
	const struct config_static *s;

	switch (source) {
	case SOURCE_CONNECTED:
		return is_connected(h, o->vrf, &o->prefix);
	case SOURCE_KERNEL:
		return kernel_up(h, o);
	case SOURCE_STATIC:
		s = static_of(h, c, o);
		*tag = s != NULL ? s->tag : 0;
		return s != NULL;
	case SOURCE_EXTERNAL:
	case SOURCE_INTERNAL:
	case SOURCE_NETWORK:
	case SOURCE_COUNT:
	default:
		return false;
	}
}

/* ---- origination into BGP ---- */

/* Evaluates the policy. NULL: refused. Lent until the next evaluation. */
static const struct attr_set *
evaluate_policy(struct host_routes *h, const struct config *c, const struct config_redistribute *r,
	const struct own *o, uint32_t tag)
{
	/* RFC 4271 5.1.1: learned by some other means */
	static const struct attr_set attrs = {.origin = ORIGIN_INCOMPLETE};
	struct policy_context context = {
		.family = o->prefix.afi == AFI_IPV4 ? FAMILY_IPV4_UNICAST : FAMILY_IPV6_UNICAST,
		.source = r->source,
		.tag = tag,
	};
	struct policy_verdict v;
	const struct policy *p;

	if (r->policy == NULL)
		return &attrs;
	p = policy_set_find(c->policies, r->policy);
	if (p == NULL || policy_eval_begin(h->eval, p, &attrs, &context) != 0 ||
		policy_eval_prefix(h->eval, &o->prefix, &v) != 0 || !v.permit)
		return NULL;
	return v.attrs;
}

/*
 * The attributes for the prefix in BGP. NULL: the prefix should not be in BGP. Lent until the next
 * evaluation.
 */
static const struct attr_set *
wanted_attrs(struct host_routes *h, const struct config *c, const struct own *o, bool is_network,
	enum route_source *source) RUNS_ON(role_main)
{
	static const struct attr_set network = {.origin = ORIGIN_IGP};
	static const enum route_source sources[] = {SOURCE_CONNECTED, SOURCE_STATIC, SOURCE_KERNEL};
	enum route_source best = SOURCE_NETWORK;
	uint32_t best_tag = 0;

	*source = SOURCE_NETWORK;
	if (is_network)
		return &network;
	/* the source in use, also if it is not redistributed */
	for (unsigned i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		uint32_t tag = 0;

		if ((best != SOURCE_NETWORK && c->preference[best] <= c->preference[sources[i]]) ||
			!source_has(h, c, sources[i], o, &tag))
			continue;
		best = sources[i];
		best_tag = tag;
	}
	*source = best;
	for (unsigned i = 0; i < c->redistribute_count; i++) {
		const struct config_redistribute *r = &c->redistribute[i];

		if (r->vrf.v == o->vrf.v && r->source == best)
			return evaluate_policy(h, c, r, o, best_tag);
	}
	return NULL;
}

/* A batch for the shard threads. */
struct origination {
	struct own *own;
	enum route_source source;
	unsigned after;
	struct attr_set *attrs; /* NULL: withdraw */
	int result;
};
struct originate_order {
	const struct layers *layers;
	struct shard *shard; /* of the thread */
	bool withdraw, announce; /* carry out withdrawals, announcements, or both */
	unsigned count;
	struct origination one[ORDER_MAX];
};

static void
rib_originate(void *arg) RUNS_ON(role_rib)
{
	struct originate_order *b = arg;

	for (unsigned i = 0; i < b->count; i++) {
		struct origination *o = &b->one[i];
		enum family family =
			o->own->prefix.afi == AFI_IPV4 ? FAMILY_IPV4_UNICAST : FAMILY_IPV6_UNICAST;

		if (shards_for(&b->layers->shards, shards_by(o->own->vrf, family),
			    &o->own->prefix) == b->shard &&
			(o->attrs != NULL ? b->announce : b->withdraw))
			o->result = shard_originate_from(b->shard, o->own->vrf, family,
				&o->own->prefix, o->source, o->after, o->attrs);
	}
}

static bool
same_attrs(const struct attr_set *a, const struct attr_set *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return attr_set_size(a) == attr_set_size(b) && memcmp(a, b, attr_set_size(a)) == 0;
}

/* Frees the prefix if no source has the prefix and the prefix is not in BGP. */
static void
own_free_unused(struct host_routes *h, struct own *o)
{
	struct own **slot;

	if (o->dirty || o->network || o->kernel || o->static_up || o->originated != NULL)
		return;
	slot = own_slot(h, o->vrf, &o->prefix);
	*slot = o->next;
	h->count--;
	free(o);
}

static int
batch_run(struct host_routes *h, struct originate_order *b) RUNS_ON(role_main)
{
	char text[PREFIX_TEXT_MAX];
	int rc = 0;

	/*
	 * With several shards all announcements come first: a covering or covered prefix of another
	 * shard is present before a withdrawal (docs/decisions/0006).
	 */
	b->announce = true;
	b->withdraw = b->layers->shards.count == 1;
	if (b->count > 0)
		layers_on_shards(b->layers, rib_originate, b, &b->shard);
	b->announce = false;
	b->withdraw = true;
	if (b->count > 0 && b->layers->shards.count > 1)
		layers_on_shards(b->layers, rib_originate, b, &b->shard);
	for (unsigned i = 0; i < b->count; i++) {
		struct origination *o = &b->one[i];

		if (o->result != 0) {
			log_event(LOG_ERROR, "network-not-announced prefix=%s error=\"%s\"",
				prefix_format(&o->own->prefix, text), strerror(-o->result));
			free(o->attrs);
			mark_own(h, o->own);
			rc = o->result;
			continue;
		}
		free(o->own->originated);
		o->own->originated = o->attrs;
		o->own->source = o->source;
		o->own->after = o->after;
		own_free_unused(h, o->own);
	}
	b->count = 0;
	return rc;
}

/* The routes of peers that win against a route of the source: as fib_feed_rib_wins(). */
static unsigned
after_peers(const struct config *c, enum route_source source)
{
	const uint8_t *p = c->preference;
	unsigned after = 0;

	if (source == SOURCE_NETWORK)
		return 0;
	if (p[SOURCE_EXTERNAL] < p[source] ||
		(p[SOURCE_EXTERNAL] == p[source] && SOURCE_EXTERNAL < source))
		after |= PATH_AFTER_EXTERNAL;
	if (p[SOURCE_INTERNAL] < p[source] ||
		(p[SOURCE_INTERNAL] == p[source] && SOURCE_INTERNAL < source))
		after |= PATH_AFTER_INTERNAL;
	return after;
}

/* -ENOMEM: the prefix is marked again. */
static int
batch_add(struct host_routes *h, struct originate_order *b, struct own *o, enum route_source source,
	const struct attr_set *attrs) RUNS_ON(role_main)
{
	unsigned after = after_peers(h->config, source);
	struct attr_set *copy = NULL;
	int rc = 0;

	if (same_attrs(o->originated, attrs) &&
		(attrs == NULL || (o->source == source && o->after == after))) {
		own_free_unused(h, o);
		return 0;
	}
	if (attrs != NULL) {
		copy = malloc(attr_set_size(attrs));
		if (copy == NULL) {
			mark_own(h, o);
			return -ENOMEM;
		}
		memcpy(copy, attrs, attr_set_size(attrs));
	}
	if (b->count == ORDER_MAX)
		rc = batch_run(h, b);
	b->one[b->count++] = (struct origination){o, source, after, copy, 0};
	return rc;
}

static void evaluate_fire(struct timer *t) RUNS_ON(role_main);

static void
evaluate_later(struct host_routes *h, uint64_t delay_ns)
{
	if (h->config == NULL || h->timer.deadline_ns != 0)
		return;
	(void)timer_arm(h->layers->main_thread, &h->timer, delay_ns);
}

/* Evaluates all marked prefixes. */
static int
evaluate_marked(struct host_routes *h) RUNS_ON(role_main)
{
	struct originate_order *b = malloc(sizeof(*b));
	struct own *o = h->dirty, *next;
	int rc = 0, one;

	if (b == NULL) {
		evaluate_later(h, RETRY_NS);
		return -ENOMEM;
	}
	b->layers = h->layers;
	b->count = 0;
	h->dirty = NULL;
	for (; o != NULL; o = next) {
		const struct attr_set *attrs;
		enum route_source source;

		next = o->next_dirty;
		o->dirty = false;
		attrs = wanted_attrs(h, h->config, o, o->network, &source);
		one = batch_add(h, b, o, source, attrs);
		rc = rc != 0 ? rc : one;
	}
	one = batch_run(h, b);
	free(b);
	if (h->dirty != NULL)
		evaluate_later(h, RETRY_NS);
	return rc != 0 ? rc : one;
}

static void
evaluate_fire(struct timer *t)
{
	struct host_routes *h =
		(struct host_routes *)(void *)((char *)t - offsetof(struct host_routes, timer));

	(void)evaluate_marked(h);
}

/* ---- static routes and preferences: the fib thread ---- */

struct fib_order {
	const struct layers *layers;
	const struct config *old, *next;
	bool *static_up; /* of the static routes of `next` */
	int result;
};

/*
 * True for the first static route to a prefix, which also gets the next hops of further static
 * routes to the prefix.
 */
static bool
static_first(const struct config *c, unsigned i)
{
	for (unsigned n = 0; n < i; n++)
		if (static_same(&c->statics[n], &c->statics[i]))
			return false;
	return true;
}

static void
static_set(struct fib_order *o, const struct config_static *s, bool present) RUNS_ON(role_fib)
{
	struct fib_feed_hop hops[ROUTE_HOPS_MAX];
	unsigned count = present ? static_hops(o->next, s, hops) : 0;
	char text[PREFIX_TEXT_MAX];
	int rc = fib_feed_route(
		o->layers->feed, s->vrf, &s->prefix, SOURCE_STATIC, hops, count, 0, present);

	if (rc == 0 || rc == -ENOENT)
		return;
	log_event(LOG_ERROR, "static-route-not-installed prefix=%s error=\"%s\"",
		prefix_format(&s->prefix, text), strerror(-rc));
	o->result = rc;
}

static bool
lsps_unchanged(const struct config *old, const struct config *next)
{
	if (old == NULL)
		return next->lsp_count == 0;
	if (old->lsp_count != next->lsp_count)
		return false;
	for (unsigned i = 0; i < next->lsp_count; i++) {
		const struct config_lsp *a = &old->lsps[i], *b = &next->lsps[i];

		if (a->in_label != b->in_label || !prefix_equal(&a->destination, &b->destination) ||
			!addr_equal(&a->next_hop, &b->next_hop) || a->vrf.v != b->vrf.v ||
			a->label_count != b->label_count ||
			memcmp(a->labels, b->labels, sizeof(a->labels)) != 0)
			return false;
	}
	return true;
}

static void
fib_lsps(struct fib_order *o) RUNS_ON(role_fib)
{
	const struct config *next = o->next;
	struct fib_feed_lsp *lsps = calloc(next->lsp_count + 1, sizeof(*lsps));
	int rc = lsps != NULL ? 0 : -ENOMEM;

	for (unsigned i = 0; rc == 0 && i < next->lsp_count; i++) {
		const struct config_lsp *l = &next->lsps[i];

		lsps[i] = (struct fib_feed_lsp){
			.in_label = l->in_label != 0 ? l->in_label : LABEL_NONE,
			.destination = l->destination,
			.next_hop = l->next_hop,
			.vrf = l->vrf,
			.label_count = (uint8_t)l->label_count};
		memcpy(lsps[i].label, l->labels, sizeof(lsps[i].label));
	}
	if (rc == 0)
		rc = fib_feed_lsps(o->layers->feed, lsps, next->lsp_count);
	free(lsps);
	if (rc == 0)
		return;
	log_event(LOG_ERROR, "static-lsps-not-installed error=\"%s\"", strerror(-rc));
	o->result = rc;
}

static bool
tunnels_unchanged(const struct config *old, const struct config *next)
{
	if ((old != NULL ? old->tunnel_count : 0) != next->tunnel_count)
		return false;
	for (unsigned i = 0; i < next->tunnel_count; i++) {
		const struct config_tunnel *a = &old->tunnels[i], *b = &next->tunnels[i];

		if (!addr_equal(&a->destination, &b->destination) ||
			!addr_equal(&a->source, &b->source))
			return false;
	}
	return true;
}

static void
fib_tunnels_set(struct fib_order *o) RUNS_ON(role_fib)
{
	const struct config *next = o->next;
	struct fib_feed_tunnel *tunnels = calloc(next->tunnel_count + 1, sizeof(*tunnels));
	int rc = tunnels != NULL ? 0 : -ENOMEM;

	for (unsigned i = 0; rc == 0 && i < next->tunnel_count; i++)
		tunnels[i] = (struct fib_feed_tunnel){
			next->tunnels[i].destination, next->tunnels[i].source};
	if (rc == 0)
		rc = fib_feed_tunnels(o->layers->feed, tunnels, next->tunnel_count);
	free(tunnels);
	if (rc == 0)
		return;
	log_event(LOG_ERROR, "udp-tunnels-not-installed error=\"%s\"", strerror(-rc));
	o->result = rc;
}

/* Adds new routes before the removal of old routes: new specifics may replace an aggregate. */
static void
fib_statics(void *arg) RUNS_ON(role_fib)
{
	struct fib_order *o = arg;

	fib_feed_preference(o->layers->feed, o->next->preference);
	fib_feed_resolve_via_default(o->layers->feed, o->next->resolve_via_default);
	for (unsigned i = 0; i < o->next->static_count; i++)
		if (static_first(o->next, i) &&
			!static_unchanged(o->old, o->next, &o->next->statics[i]))
			static_set(o, &o->next->statics[i], true);
	for (unsigned i = 0; o->old != NULL && i < o->old->static_count; i++)
		if (static_first(o->old, i) && !static_in(o->next, &o->old->statics[i]))
			static_set(o, &o->old->statics[i], false);
	for (unsigned i = 0; i < o->next->static_count; i++)
		o->static_up[i] = fib_feed_static_up(
			o->layers->feed, o->next->statics[i].vrf, &o->next->statics[i].prefix);
	if (!lsps_unchanged(o->old, o->next))
		fib_lsps(o);
	if (!tunnels_unchanged(o->old, o->next))
		fib_tunnels_set(o);
}

/* ---- loopback addresses: keel0 ---- */

static bool
loopback_in(const struct config *c, const struct config_address *a)
{
	for (unsigned i = 0; c != NULL && i < c->loopback_count; i++)
		if (c->loopbacks[i].len == a->len && addr_equal(&c->loopbacks[i].addr, &a->addr))
			return true;
	return false;
}

void
host_routes_loopbacks(const struct layers *l, const struct config *old, const struct config *next)
{
	char text[ADDR_TEXT_MAX];

	if (l->tun_ifindex == 0)
		return;
	for (unsigned i = 0; i < next->loopback_count; i++) {
		const struct config_address *a = &next->loopbacks[i];
		int rc = loopback_in(old, a) ? 0
					     : netlink_address_add(l->netlink, l->tun_ifindex,
						       &a->addr, a->len);

		if (rc != 0)
			log_event(LOG_ERROR, "address-not-set port=keel0 address=%s error=\"%s\"",
				addr_format(&a->addr, text), strerror(-rc));
	}
	for (unsigned i = 0; old != NULL && i < old->loopback_count; i++) {
		const struct config_address *a = &old->loopbacks[i];

		if (!loopback_in(next, a))
			(void)netlink_address_remove(l->netlink, l->tun_ifindex, &a->addr, a->len);
	}
}

/* ---- interface ---- */

static void
static_note(struct host_routes *h, struct vrf_id vrf, const struct prefix *p, bool up)
{
	struct own *o = up ? own_get(h, vrf, p) : own_find(h, vrf, p);

	if (o == NULL || o->static_up == up)
		return;
	o->static_up = up;
	mark_own(h, o);
}

/* After a commit: the static routes of the document, as the fib thread has resolved them. */
static void
statics_note(
	struct host_routes *h, const struct config *old, const struct config *next, const bool *up)
{
	for (unsigned i = 0; old != NULL && i < old->static_count; i++)
		static_note(h, old->statics[i].vrf, &old->statics[i].prefix, false);
	for (unsigned i = 0; i < next->static_count; i++)
		static_note(h, next->statics[i].vrf, &next->statics[i].prefix, up[i]);
}

int
host_routes_create(const struct layers *l, struct host_routes **out)
{
	struct host_routes *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return -ENOMEM;
	h->layers = l;
	h->timer.fire = evaluate_fire;
	*out = h;
	return 0;
}

int
host_routes_apply(struct host_routes *h, const struct config *old, const struct config *next)
{
	const struct layers *l = h->layers;
	struct fib_order o = {.layers = l, .old = old, .next = next};
	int rc;

	if (h->eval == NULL && (rc = policy_eval_create(l->arena_control, &h->eval)) != 0)
		return rc;
	o.static_up = calloc(next->static_count + 1, sizeof(bool));
	if (o.static_up == NULL)
		return -ENOMEM;
	host_routes_loopbacks(l, old, next);
	layers_call_fib(l, fib_statics, &o);
	h->config = next;
	/*
	 * Policies, networks and preferences may have changed. An unchanged prefix costs an
	 * evaluation only.
	 */
	mark_all(h);
	for (const struct subnet *subnet = h->subnets; subnet != NULL; subnet = subnet->next)
		mark_prefix(h, subnet->vrf, &subnet->prefix);
	statics_note(h, old, next, o.static_up);
	free(o.static_up);
	mark_networks(h, next);
	rc = evaluate_marked(h);
	return rc != 0 ? rc : o.result;
}

/* ---- a preview ---- */

static struct host_entry
entry_of(struct host_routes *h, const struct config *c, const struct own *o) RUNS_ON(role_main)
{
	static const enum route_source sources[] = {SOURCE_CONNECTED, SOURCE_STATIC, SOURCE_KERNEL};
	struct host_entry e = {.source = SOURCE_COUNT};
	uint32_t tag;

	for (unsigned i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
		if (source_has(h, c, sources[i], o, &tag) &&
			(e.source == SOURCE_COUNT ||
				c->preference[sources[i]] < c->preference[e.source]))
			e.source = sources[i];
	e.hops = e.source == SOURCE_STATIC ? 0 : 1u + e.source;
	for (unsigned i = 0; e.source == SOURCE_STATIC && i < c->static_count; i++) {
		const struct config_static *s = &c->statics[i];

		if (s->vrf.v == o->vrf.v && prefix_equal(&s->prefix, &o->prefix) &&
			static_resolves(h, c, o, s))
			e.hops += preview_hop(&s->next_hop);
	}
	return e;
}

static int
preview_one(struct host_routes *h, const struct config *next, const struct own *o,
	int (*visit)(void *ctx, const struct host_preview *p), void *ctx) RUNS_ON(role_main)
{
	struct host_preview p = {.vrf = o->vrf, .prefix = o->prefix};

	p.now = entry_of(h, h->config, o);
	p.then = entry_of(h, next, o);
	p.attrs = wanted_attrs(h, next, o, o->network_then, &p.source);
	p.after = after_peers(next, p.source);
	p.differs = !same_attrs(o->originated, p.attrs) ||
		    (p.attrs != NULL && (o->source != p.source || o->after != p.after));
	return visit(ctx, &p);
}

int
host_routes_preview(struct host_routes *h, const struct config *next,
	int (*visit)(void *ctx, const struct host_preview *p), void *ctx)
{
	bool all = true;
	int err;

	if (h->config == NULL)
		return 0;
	for (const struct subnet *s = h->subnets; s != NULL; s = s->next)
		all &= own_get(h, s->vrf, &s->prefix) != NULL;
	for (unsigned i = 0; i < h->config->static_count; i++)
		all &= own_get(h, h->config->statics[i].vrf, &h->config->statics[i].prefix) != NULL;
	for (unsigned i = 0; i < next->static_count; i++)
		all &= own_get(h, next->statics[i].vrf, &next->statics[i].prefix) != NULL;
	for (unsigned i = 0; i < next->network_count; i++) {
		struct own *o = own_get(h, next->networks[i].vrf, &next->networks[i].prefix);

		all &= o != NULL;
		if (o != NULL)
			o->network_then = true;
	}
	err = all ? 0 : -ENOMEM;
	for (unsigned i = 0; i < h->bucket_count; i++)
		for (struct own *o = h->buckets[i], *behind; o != NULL; o = behind) {
			behind = o->next;
			if (err == 0)
				err = preview_one(h, next, o, visit, ctx);
			o->network_then = false;
			own_free_unused(h, o);
		}
	return err;
}

void
host_routes_destroy(struct host_routes *h)
{
	if (h == NULL)
		return;
	timer_cancel(h->layers->main_thread, &h->timer);
	for (unsigned i = 0; i < h->bucket_count; i++) {
		for (struct own *o = h->buckets[i], *next; o != NULL; o = next) {
			next = o->next;
			free(o->originated);
			free(o);
		}
	}
	for (struct subnet *s = h->subnets, *next; s != NULL; s = next) {
		next = s->next;
		free(s);
	}
	for (struct zone *z = h->zones, *next; z != NULL; z = next) {
		next = z->next;
		free(z);
	}
	free(h->buckets);
	if (h->eval != NULL)
		policy_eval_destroy(h->eval);
	free(h);
}

void
host_routes_static(struct host_routes *h, struct vrf_id vrf, const struct prefix *p, bool up)
{
	struct config_static s = {.vrf = vrf, .prefix = *p};

	if (up && !static_in(h->config, &s))
		return; /* of an old document */
	static_note(h, vrf, p, up);
	evaluate_later(h, GATHER_NS);
}

void
host_routes_connected(struct host_routes *h, struct vrf_id vrf, const struct prefix *subnet,
	uint16_t port, bool present)
{
	struct subnet **at = &h->subnets, *s;

	while (*at != NULL && ((*at)->vrf.v != vrf.v || (*at)->port != port ||
				      !prefix_equal(&(*at)->prefix, subnet)))
		at = &(*at)->next;
	s = *at;
	if (s == NULL && present) {
		s = calloc(1, sizeof(*s));
		if (s == NULL) {
			log_event(
				LOG_ERROR, "own-route-lost error=\"%s\"", strerrordesc_np(ENOMEM));
			return;
		}
		*s = (struct subnet){NULL, vrf, *subnet, port, 0};
		*at = s;
	}
	if (s == NULL)
		return;
	s->users += present ? 1 : -1u;
	if (s->users == 0) {
		*at = s->next;
		free(s);
	}
	mark_prefix(h, vrf, subnet);
	evaluate_later(h, GATHER_NS);
}

void
host_routes_port(struct host_routes *h, struct vrf_id vrf, uint16_t port, uint16_t zone)
{
	struct zone **at = &h->zones, *z;

	while (*at != NULL && ((*at)->vrf.v != vrf.v || (*at)->port != port))
		at = &(*at)->next;
	z = *at;
	if (z != NULL && zone == 0) {
		*at = z->next;
		free(z);
	}
	if (z == NULL && zone != 0) {
		z = *at = calloc(1, sizeof(*z));
		if (z == NULL) {
			log_event(
				LOG_ERROR, "own-route-lost error=\"%s\"", strerrordesc_np(ENOMEM));
			return;
		}
		*z = (struct zone){.vrf = vrf, .port = port};
	}
	if (zone != 0)
		z->zone = zone;
	evaluate_later(h, GATHER_NS);
}

void
host_routes_link(struct host_routes *h, uint16_t port, bool up)
{
	if (port == PORT_NONE || h->port_down[port] == !up)
		return;
	h->port_down[port] = !up;
	for (const struct subnet *s = h->subnets; s != NULL; s = s->next)
		if (s->port == port)
			mark_prefix(h, s->vrf, &s->prefix);
	for (unsigned i = 0; port < 64 && i < h->bucket_count; i++)
		for (struct own *o = h->buckets[i]; o != NULL; o = o->next)
			if ((o->kernel_ports >> port & 1) != 0)
				mark_own(h, o);
	evaluate_later(h, GATHER_NS);
}

void
host_routes_kernel_route(struct host_routes *h, struct vrf_id vrf, const struct prefix *p,
	uint64_t ports, bool present)
{
	struct own *o = present ? own_get(h, vrf, p) : own_find(h, vrf, p);

	if (o == NULL || (o->kernel == present && o->kernel_ports == ports))
		return;
	if (o->kernel != present)
		h->kernel_lens[p->afi - AFI_IPV4][p->len] += present ? 1 : -1u;
	o->kernel = present;
	o->kernel_ports = present ? ports : 0;
	mark_own(h, o);
	evaluate_later(h, GATHER_NS);
}
