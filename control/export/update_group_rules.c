/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The route that a group advertises for a destination: rules of the RFCs (RFC 4271 9.2, RFC 4456 6, RFC 1997, RFC 8212), export policy, and the numbers
 * and hashes by which offers are compared.
 */
#include "control/export/update_group_impl.h"

#include "control/export/rt_filter.h"

#include <errno.h>
#include <string.h>

/* Well-known communities (RFC 1997). */
#define COMMUNITY_NO_EXPORT 0xffffff01u
#define COMMUNITY_NO_ADVERTISE 0xffffff02u
#define COMMUNITY_NO_EXPORT_SUBCONFED 0xffffff03u

/* Room beyond the result of policy: two AS numbers in segments of their own, one cluster, and one community. */
#define GROWTH (2 * 6 + 4 + 4)

/* ---- rules as values ---- */

struct update_rules
rules_normal(const struct update_rules *r)
{
	struct update_rules n = *r;
	bool external = r->kind == UPDATE_EXTERNAL;

	if (external) {
		n.next_hop_self = false;
		n.cluster_id = 0;
		n.next_hop_unchanged |= n.route_server_client; /* RFC 7947 2.2.1 */
	} else {
		n.route_server_client = false;
		n.remove_private_as = n.as_override = n.next_hop_unchanged = false;
	}
	if (!n.next_hop_unchanged)
		n.link = 0;
	if (!external || rules_labels(r))
		n.role = ROLE_NONE; /* RFC 9234 5: unicast routes */
	if (!n.remove_private_as && !n.as_override &&
		(r->policy == NULL || !policy_uses_peer(r->policy)))
		n.peer_as = 0;
	if (!rules_labels(r))
		n.filter = NULL;
	if (r->policy == NULL || !policy_uses_peer(r->policy)) {
		memset(&n.peer, 0, sizeof(n.peer));
		n.peer_group = 0;
	}
	if ((external && r->policy == NULL) || rules_labels(r))
		n.default_originate =
			false; /* RFC 8212; and a default route of VPN families needs a label */
	return n;
}

bool
rules_equal(const struct update_rules *a, const struct update_rules *b)
{
	return a->table.v == b->table.v && a->family == b->family && a->kind == b->kind &&
	       a->own_as == b->own_as && a->local_as == b->local_as && a->peer_as == b->peer_as &&
	       a->role == b->role && a->next_hop_len == b->next_hop_len &&
	       a->cluster_id == b->cluster_id && a->encode.as4 == b->encode.as4 &&
	       a->encode.add_path == b->encode.add_path &&
	       a->encode.extended_message == b->encode.extended_message &&
	       a->encode.send_communities == b->encode.send_communities &&
	       a->encode.extended_next_hop == b->encode.extended_next_hop &&
	       a->policy == b->policy && a->filter == b->filter && addr_equal(&a->peer, &b->peer) &&
	       a->peer_group == b->peer_group && a->site_of_origin.v == b->site_of_origin.v &&
	       a->next_hop_self == b->next_hop_self &&
	       a->next_hop_unchanged == b->next_hop_unchanged &&
	       a->remove_private_as == b->remove_private_as && a->as_override == b->as_override &&
	       a->default_originate == b->default_originate &&
	       a->route_server_client == b->route_server_client && a->link == b->link &&
	       a->graceful_shutdown == b->graceful_shutdown && a->long_lived == b->long_lived;
}

bool
rules_silent(const struct update_rules *r)
{
	if (r->policy == NULL)
		return r->kind == UPDATE_EXTERNAL; /* RFC 8212 */
	return r->policy == policy_deny_all() && !r->default_originate;
}

bool
rules_labels(const struct update_rules *r)
{
	return family_safi(r->family) == SAFI_VPN;
}

/*
 * RFC 2545 3, RFC 8950 3: an IPv6 next hop is 16 octets, or 32 with our link-local address for a peer on the same link. In VPN families each address follows
 * a route distinguisher, and IPv6 prefixes may have an IPv4 next hop in IPv6 form (RFC 4364 4.3.2, RFC 4659 3.2.1).
 */
uint8_t
rules_next_hop_len(const struct update_rules *r, const struct ip_addr *next_hop,
	const struct ip_addr *link_local)
{
	bool v4 = family_afi(r->family) == AFI_IPV4, labels = rules_labels(r);
	uint8_t rd = labels ? 8 : 0;

	if (next_hop->afi == AFI_IPV4 && (v4 || labels))
		return (uint8_t)((v4 ? 4 : 16) + rd);
	if (v4 && !r->encode.extended_next_hop)
		return 0;
	if (link_local->afi == AFI_IPV6)
		return (uint8_t)(2 * (16 + rd));
	return next_hop->afi == AFI_IPV6 ? (uint8_t)(16 + rd) : 0;
}

/* ---- routes that must not be advertised ---- */

/*
 * The peer of a path, cached for a run of paths. NULL: the peer is gone. Of the shard with the path, which took the record of the session before the
 * path; other shards may not have taken the record yet.
 */
static const struct shard_peer *
source_peer(struct update_groups *s, unsigned shard, struct peer_id peer)
{
	if (!s->source_valid || s->source_peer.v != peer.v || s->source_shard != shard) {
		s->source_known = shard_peer_peek(s->shards.at[shard], peer, &s->source);
		s->source_peer = peer;
		s->source_shard = shard;
		s->source_valid = true;
	}
	return s->source_known ? &s->source : NULL;
}

unsigned
attrs_forbid(const struct attr_set *a)
{
	const uint8_t *p = attr_communities(a);
	unsigned forbidden = a->has & ATTR_HAS_OTC ? FORBID_OTC : 0;

	for (unsigned i = 0; i < a->community_count; i++, p += 4) {
		uint32_t c =
			(uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];

		if (c == COMMUNITY_NO_ADVERTISE)
			forbidden |= FORBID_INTERNAL | FORBID_EXTERNAL;
		if (c == COMMUNITY_NO_EXPORT || c == COMMUNITY_NO_EXPORT_SUBCONFED)
			forbidden |= FORBID_EXTERNAL;
		if (c == COMMUNITY_LLGR_STALE)
			forbidden |= FORBID_STALE;
	}
	return forbidden;
}

static unsigned
forbid_bits(const struct update_group *g)
{
	/* RFC 9494 4.3: a peer without the capability, or without the community, would prefer the path */
	unsigned stale = g->rules.long_lived && g->rules.encode.send_communities ? 0 : FORBID_STALE;

	if (g->rules.kind != UPDATE_EXTERNAL)
		return FORBID_INTERNAL | stale;
	return FORBID_EXTERNAL | stale |
	       (role_forbids_otc((enum session_role)g->rules.role) ? FORBID_OTC : 0);
}

/* RFC 4364 7 */
static bool
site_forbids(const struct update_group *g, const struct attr_set *a)
{
	const uint8_t *p = attr_ext_communities(a);

	if (g->rules.site_of_origin.v == 0)
		return false;
	for (unsigned i = 0; i < a->ext_community_count; i++, p += 8)
		if (ext_community_get(p).v == g->rules.site_of_origin.v)
			return true;
	return false;
}

/* The reasons, as bits of enum forbidden, against advertising a route with these attributes to this group. */
static unsigned
group_forbids(const struct update_group *g, const struct attr_set *a)
{
	return (attrs_forbid(a) & forbid_bits(g)) | (site_forbids(g, a) ? FORBID_SITE : 0);
}

/* As group_forbids(), of a path of a window that has attributes. */
static unsigned
group_forbids_window(const struct update_group *g, const struct window_path *p)
{
	return (p->forbidden & forbid_bits(g)) | (site_forbids(g, p->attrs) ? FORBID_SITE : 0);
}

/* RFC 4271 9.2, RFC 4456 6: internal peers get the path of an internal peer only if the source or the receiver is our client. */
static bool
source_forbids(const struct update_group *g, enum route_source kind, struct peer_id from,
	const struct shard_peer *p)
{
	if (!is_internal(kind, from) || g->rules.kind == UPDATE_EXTERNAL)
		return false;
	return g->rules.kind != UPDATE_CLIENT && (p == NULL || !p->rr_client);
}

/* ---- labels ---- */

/* A label belongs to the next hop that came with the label. With another next hop the route needs a label of that router. */
enum label_use {
	LABEL_KEPT,
	LABEL_SWAPPED, /* RFC 4364 10 b: our next hop, and a label of ours */
	LABEL_FOREIGN, /* the label of a third router is not known, or packets are discarded here */
};

/* The labels of our own routes are ours. */
static enum label_use
label_use(const struct update_group *g, const struct policy_verdict *v,
	const struct attr_set *attrs, enum route_source kind, struct peer_id from)
{
	if (!g->labels || from.v == PEER_SELF.v)
		return LABEL_KEPT;
	if (!next_hop_is_own(g, v->sets, v->attrs, kind, from))
		return addr_equal(&v->attrs->next_hop, &attrs->next_hop) ? LABEL_KEPT
									 : LABEL_FOREIGN;
	return g->set->c.swaps != NULL && !addr_is_discard(&attrs->next_hop) &&
			       !addr_is_discard(&v->attrs->next_hop)
		       ? LABEL_SWAPPED
		       : LABEL_FOREIGN;
}

/* Gives the offer a label of ours for the label of the path. Without a label the offer permits no route. */
static void
offer_swap(struct update_group *g, struct dest_id id, const struct attr_set *attrs, struct offer *o)
{
	struct update_groups *s = g->set;
	struct swap_owner owner = {0}; /* of routes of peers that are unknown by now */

	o->path.swapped = true;
	if (g->out == NULL || s->explains) { /* allocates no label; 0: no route has the label */
		o->label = swaps_find(s->c.swaps, &attrs->next_hop, o->label);
		o->permit = g->out == NULL || o->label != 0; /* a preview may wait for the label */
		return;
	}
	/* rules_evaluate_window(): the routes have different labels, so each is evaluated alone */
	if (o->source != NULL)
		owner = (struct swap_owner){.dynamic = o->source->dynamic,
			.group = o->source->group_key,
			.addr = o->source->addr};
	o->path.swap = id.v != DEST_DEFAULT.v
			       ? swaps_label(s->c.swaps, &owner, &attrs->next_hop, o->label)
			       : 0;
	o->permit = o->path.swap != 0;
	if (o->permit)
		g->labels_asked = swaps_asked(s->c.swaps);
	o->label = o->path.swap;
	g->stats.no_labels += !o->permit && id.v != DEST_DEFAULT.v;
}

/* ---- edits ---- */

/* A hash of the rules that change attributes. The other rules permit or refuse routes. */
static uint64_t
rules_hash(struct update_group *g)
{
	const struct update_rules *r = &g->rules;
	uint64_t *h = &g->edit.rules_hash[g->by_before];

	if (*h == 0)
		*h = hash_words((uint64_t)r->own_as << 32 | r->local_as,
			     (uint64_t)r->peer_as << 32 | r->cluster_id,
			     (uint64_t)r->next_hop_len << 40 | (uint64_t)r->link << 24 |
				     (uint64_t)r->role << 16 | (uint64_t)r->kind << 8 |
				     (r->next_hop_self ? 1u : 0u) |
				     (r->next_hop_unchanged ? 2u : 0u) |
				     (r->remove_private_as ? 4u : 0u) | (r->as_override ? 8u : 0u) |
				     (r->route_server_client ? 16u : 0u) |
				     (r->graceful_shutdown ? 32u : 0u)) |
		     1;
	return *h;
}

#define SWEEP_ROUTES 16u /* routes read for a search, at most, by each route without a number */
#define SWEEP_PAUSE 256u

/*
 * Frees the numbers that no route has, of the group or of the batch. Reads all routes: after a search without a result, the next search waits for
 * a number of calls that grows with the routes.
 */
static void
edits_sweep(struct update_group *g)
{
	struct update_groups *s = g->set;
	bool used[ADJ_EDIT_MAX + 1] = {false};

	if (g->out != NULL)
		adj_rib_out_edits(g->out, used);
	for (unsigned i = 0; i < s->change_count; i++)
		used[s->change[i].old.edit] = true;
	for (unsigned i = 1; i <= g->edit.count; i++)
		if (!used[i])
			g->edit.of[i] = (struct edit){0};
	memset(g->edit.number, 0, sizeof(g->edit.number));
	s->told.group = NULL; /* its edit may have another number from now on */
}

static bool
edits_grow(struct update_group *g)
{
	unsigned size = g->edit.size > 0 ? 2 * g->edit.size : 4;
	struct edit *edits = arena_realloc(g->set->c.arena, g->edit.of, size * sizeof(*edits));

	if (edits == NULL)
		return false;
	g->edit.of = edits;
	g->edit.size = size;
	return true;
}

/* The number of an edit. EDIT_UNNAMED: no number is free. */
static uint8_t
edit_number(struct update_group *g, uint64_t hash, bool plain)
{
	unsigned n;

	for (n = 1; n <= g->edit.count; n++)
		if (g->edit.of[n].hash == hash)
			return (uint8_t)n;
	if (n == EDIT_UNNAMED) {
		if (g->edit.pause > 0) {
			g->edit.pause--;
			return EDIT_UNNAMED;
		}
		edits_sweep(g);
		for (n = 1; n < EDIT_UNNAMED && g->edit.of[n].hash != 0;)
			n++;
		if (n == EDIT_UNNAMED) {
			g->edit.pause = SWEEP_PAUSE;
			if (g->out != NULL)
				g->edit.pause +=
					(uint32_t)(adj_rib_out_count(g->out) / SWEEP_ROUTES);
			return EDIT_UNNAMED;
		}
	} else if (n >= g->edit.size && !edits_grow(g)) {
		return EDIT_UNNAMED;
	}
	g->edit.of[n] = (struct edit){.hash = hash, .plain = plain};
	g->edit.count = g->edit.count > n ? g->edit.count : n;
	return (uint8_t)n;
}

static uint8_t
edit_find(struct update_group *g, const struct policy_verdict *v)
{
	bool numbered = v->outcome < EDIT_OUTCOMES;
	uint8_t n = numbered ? g->edit.number[g->by_before][v->outcome] : 0;

	if (n != 0)
		return n;
	if (v->outcome == POLICY_OUTCOME_ALONE)
		return EDIT_UNNAMED;
	n = edit_number(g,
		hash_words(rules_hash(g),
			v->outcome != 0 ? policy_outcome_hash(g->rules.policy, v->outcome) : 0, 0),
		g->rules.kind == UPDATE_EXTERNAL && !g->rules.next_hop_unchanged &&
			!(v->sets & (POLICY_SETS_MED | POLICY_SETS_NEXT_HOP)));
	if (numbered && n != EDIT_UNNAMED)
		g->edit.number[g->by_before][v->outcome] = n;
	return n;
}

/* ---- the attributes of an offer ---- */

static void rules_swap(struct update_group *g);

static const struct attr_set *
content_make(struct update_group *g, const struct offer *o, int *err)
{
	struct update_groups *set = g->set;
	struct attr_set *s;

	*err = scratch_reserve(set, attr_set_size(o->after) + GROWTH);
	if (*err < 0)
		return NULL;
	if (exported_edit(g, o->sets, o->after, &s, &o->path, o->source) < 0 ||
		attr_set_size(s) > MADE_SIZE_MAX)
		return NULL;
	return s;
}

const struct attr_set *
offer_content(struct update_group *g, const struct offer *o, uint64_t *hash, int *err)
{
	bool swaps = o->by_before != g->by_before;
	const struct attr_set *s;

	if (swaps)
		rules_swap(g);
	s = content_make(g, o, err);
	if (swaps)
		rules_swap(g);
	*hash = s != NULL ? hash_bytes(s, attr_set_size(s)) : 0;
	return s;
}

/* What external peers receive of a set, if neither rules nor policy add something. MED stays for routes of this router. */
static uint64_t
exported_likeness(struct update_groups *set, const struct offer *o)
{
	struct attr_set *s;

	if (scratch_reserve(set, attr_set_size(o->attrs) + GROWTH) < 0)
		return 0;
	s = set->scratch[0];
	memcpy(s, o->attrs, attr_set_size(o->attrs));
	internal_attrs_strip(s, 0, (enum route_source)o->path.kind);
	memset(&s->next_hop, 0, sizeof(s->next_hop));
	memset(&s->next_hop_link_local, 0, sizeof(s->next_hop_link_local));
	return hash_bytes(s, attr_set_size(s)) | 1;
}

/* A key for caches. 0: the edit has no name. */
static uint64_t
content_key(const struct update_group *g, const struct adj_path *p, uint8_t edit)
{
	if (edit == EDIT_UNNAMED)
		return 0;
	return hash_words((uint64_t)p->accepted.v << 32 | p->serial, g->edit.of[edit].hash,
		       (uint64_t)(p->swapped ? 0 : p->originator) << 8 | p->kind) |
	       1;
}

#define CONTENT_BITS 40
#define CONTENT_MASK ((UINT64_C(1) << CONTENT_BITS) - 1)

static uint64_t *
content_slot(const struct update_groups *s, uint64_t key)
{
	return &s->content[(key >> 1) % CONTENT_CACHE];
}

static uint64_t
content_as(uint64_t key, uint64_t hash)
{
	return (key & ~CONTENT_MASK) | (hash & CONTENT_MASK);
}

/* content_key() of an advertised route. */
static uint64_t
content_key_of(const struct update_group *g, struct adj_route r)
{
	return r.record.v != 0 ? content_key(g, adj_record_path(g->set->records, r.record), r.edit)
			       : 0;
}

bool
route_content_kept(const struct update_group *g, struct adj_route r)
{
	uint64_t key = content_key_of(g, r), kept = *content_slot(g->set, key);

	return key != 0 && content_as(key, kept) == kept;
}

bool
route_has_content(const struct update_group *g, struct adj_route r, uint64_t hash)
{
	uint64_t key = content_key_of(g, r);

	return key != 0 && *content_slot(g->set, key) == content_as(key, hash);
}

/* The place of these attributes in the batch. */
static uint16_t
made_find(struct update_groups *s, const struct attr_set *a, uint64_t hash)
{
	unsigned h = (unsigned)hash & s->hash_mask;
	size_t size = attr_set_size(a);
	uint8_t *at = s->room + s->batch_octets;

	for (; s->made_hash[h] != MADE_NONE; h = (h + 1) & s->hash_mask)
		if (s->made[s->made_hash[h]].hash == hash)
			return s->made_hash[h];
	if (s->made_count == sizeof(s->made) / sizeof(s->made[0]) ||
		s->batch_octets + size > ROOM_SIZE)
		return MADE_NONE;
	memcpy(at, a, size);
	s->batch_octets += (uint32_t)((size + 15) & ~(size_t)15);
	s->made_hash[h] = (uint16_t)s->made_count;
	s->made[s->made_count] =
		(struct made){.hash = hash, .attrs = (const struct attr_set *)(const void *)at};
	return (uint16_t)s->made_count++;
}

static bool
path_equal(const struct adj_path *a, const struct adj_path *b)
{
	return a->accepted.v == b->accepted.v && a->serial == b->serial &&
	       a->originator == b->originator && a->source.v == b->source.v && a->kind == b->kind &&
	       a->swapped == b->swapped;
}

bool
offer_make(struct update_group *g, struct offer *o, int *err)
{
	struct update_groups *s = g->set;
	const struct attr_set *a;
	struct made_key *k;
	uint64_t key, hash;

	*err = 0;
	if (o->made != MADE_NONE)
		return true;
	key = content_key(g, &o->path, o->edit);
	k = &s->made_key[(key >> 1) % MADE_KEYS];
	if (key != 0 && k->key == key && k->batch == s->batch_number) {
		o->made = k->made;
		return true;
	}
	a = offer_content(g, o, &hash, err);
	if (a == NULL) {
		o->permit = false;
		return false;
	}
	o->made = made_find(s, a, hash);
	if (o->made == MADE_NONE) {
		*err = -ENOMEM; /* cannot happen: a batch ends when the attributes are many */
		return false;
	}
	if (key != 0) {
		*k = (struct made_key){key, s->batch_number, o->made};
		*content_slot(s, key) = content_as(key, hash);
	}
	return true;
}

static bool
same_path(const struct adj_path *a, const struct adj_path *b)
{
	return a->accepted.v == b->accepted.v && a->serial == b->serial &&
	       a->source.v == b->source.v && a->kind == b->kind && a->swapped == b->swapped;
}

bool
offer_is(const struct update_group *g, const struct offer *o, struct adj_route r)
{
	return o->permit && r.record.v != 0 && r.edit == o->edit && o->edit != EDIT_UNNAMED &&
	       r.label == o->label &&
	       same_path(adj_record_path(g->set->records, r.record), &o->path);
}

int
offer_record(struct update_group *g, const struct offer *o, struct adj_record_id *out)
{
	struct update_groups *s = g->set;
	int err;

	if (s->last.record.v != 0 && path_equal(&s->last.path, &o->path)) {
		*out = s->last.record;
		adj_record_ref(s->records, *out);
	} else {
		err = adj_record_get(s->records, &o->path, out);
		if (err < 0)
			return err;
		adj_record_ref(s->records, *out);
		adj_record_put(s->records, s->last.record);
		s->last.path = o->path;
		s->last.record = *out;
	}
	/* while the accepted set exists */
	if (g->rules.kind == UPDATE_EXTERNAL && o->path.accepted.v != 0 &&
		adj_record_likeness(s->records, *out) == 0)
		adj_record_like(s->records, *out, exported_likeness(s, o));
	return 0;
}

bool
routes_alike(const struct update_group *g, struct adj_route a, struct adj_route b)
{
	const struct adj_records *records = g->set->records;
	uint64_t like;

	if (a.edit != b.edit || a.edit == EDIT_UNNAMED || a.record.v == 0 || b.record.v == 0 ||
		a.label != b.label)
		return false;
	if (a.record.v == b.record.v)
		return true;
	like = adj_record_likeness(records, a.record);
	return g->edit.of[a.edit].plain && like != 0 &&
	       like == adj_record_likeness(records, b.record);
}

int
offer_compare(struct update_group *g, struct dest_id id, struct offer *o)
{
	struct adj_route r = adj_rib_out_get(g->out, id), n = {.edit = o->edit, .label = o->label};
	bool rivals;
	int err;

	o->same = o->differs = false;
	o->made = MADE_NONE;
	if (!o->permit)
		return 0;
	if (offer_is(g, o, r) &&
		adj_record_path(g->set->records, r.record)->originator == o->path.originator) {
		o->same = true;
		return 0;
	}
	rivals = r.record.v != 0 && route_source(g, r).v == o->path.source.v;
	err = offer_record(g, o, &n.record);
	if (err < 0)
		return err;
	o->same = rivals && routes_alike(g, r, n);
	adj_record_put(g->set->records, n.record); /* `last` has a reference */
	if (o->same || !offer_make(g, o, &err))
		return o->same ? 0 : err;
	o->same = rivals && r.label == o->label &&
		  route_has_content(g, r, g->set->made[o->made].hash);
	o->differs = r.record.v == 0 || (rivals && !o->same);
	return 0;
}

/* ---- caches of one call ---- */

void
rules_run_end(struct update_groups *s)
{
	adj_record_put(s->records, s->last.record);
	s->last.record.v = 0;
	s->source_valid = false;
	s->told.group = NULL;
	s->from = NULL;
	s->accepted_id.v = 0;
}

void
rules_forget(struct update_group *g)
{
	memset(g->edit.number, 0, sizeof(g->edit.number));
	memset(g->edit.rules_hash, 0, sizeof(g->edit.rules_hash));
	g->edit.pause = 0;
	rules_run_end(g->set);
}

/* ---- evaluation ---- */

/* The attributes for policy: `attrs`, or a copy where rules edit the AS path. NULL: no memory. */
static const struct attr_set *
policy_input(struct update_group *g, const struct attr_set *attrs)
{
	struct update_groups *s = g->set;
	size_t size = attr_set_size(attrs);

	if (!g->rules.remove_private_as && !g->rules.as_override)
		return attrs;
	if (size > s->edited_size) {
		struct attr_set *p = arena_realloc(s->c.arena, s->edited, size);

		if (p == NULL)
			return NULL;
		s->edited = p;
		s->edited_size = size;
	}
	memcpy(s->edited, attrs, size);
	as_path_edit(&g->rules, s->edited);
	return s->edited;
}

/*
 * Runs policy. Work that depends on the attributes alone is done once for a run of paths with the same set. 0, -ENOMEM.
 */
static int
policy_run(struct update_group *g, struct path_run *run, const struct prefix *prefix,
	struct policy_verdict *v)
{
	struct update_groups *s = g->set;
	int err = 0;

	*v = (struct policy_verdict){.permit = true, .attrs = run->attrs};
	if (!policy_runs(&g->rules))
		return 0;
	if (!run->begun || run->before != g->by_before) {
		struct policy_context context = {.peer = g->rules.peer,
			.peer_asn = g->rules.peer_as,
			.peer_group = g->rules.peer_group,
			.family = g->rules.family,
			.source = run->kind};
		const struct attr_set *attrs = policy_input(g, run->attrs);

		err = attrs != NULL ? policy_eval_begin(s->eval, g->rules.policy, attrs, &context)
				    : -ENOMEM;
		run->begun = err == 0;
	}
	return err < 0 ? err : policy_eval_prefix(s->eval, prefix, v);
}

/* Finds the source of a path. */
static enum route_source
path_kind(struct update_groups *s, unsigned shard, const struct rib_path *path,
	const struct shard_peer **source)
{
	*source = NULL;
	if (path->peer.v == PEER_SELF.v)
		return (enum route_source)rib_path_source(path);
	*source = source_peer(s, shard, path->peer);
	return *source != NULL && !(*source)->external ? SOURCE_INTERNAL : SOURCE_EXTERNAL;
}

/* The accepted set of a path, `id` in all shards, unpacked for the groups that evaluate the path one after another. NULL: not in use. */
static const struct attr_set *
accepted_attrs(struct update_groups *s, const struct attr_table *table, const struct rib_path *best,
	struct attr_id id)
{
	if (s->accepted_id.v == id.v)
		return s->accepted;
	s->accepted_id.v = 0;
	if (attr_read(table, best->accepted, s->accepted) == NULL)
		return NULL;
	s->accepted_id = id;
	return s->accepted;
}

/* Sets attributes and source of a path, or the reason against advertising the path to this group. */
static void
path_run_judge(const struct update_group *g, struct path_run *run, const struct attr_set *attrs,
	unsigned forbidden, const struct shard_peer *source)
{
	if (source_forbids(g, run->kind, run->peer, source))
		run->why = EXPORT_INTERNAL;
	else if (attrs == NULL)
		run->why = EXPORT_NO_ROUTE;
	else if (forbidden != 0)
		run->why = forbidden == FORBID_SITE  ? EXPORT_SITE
			   : forbidden == FORBID_OTC ? EXPORT_ROLE
						     : EXPORT_COMMUNITY;
	else
		run->attrs = attrs;
}

/* As path_run_get(), of a path of a window. */
static struct path_run *
path_run_window(
	struct update_group *g, const struct window_path *p, const struct shard_peer **source)
{
	struct path_run *run = &g->set->told;

	*source = p->known ? &p->source : NULL;
	if (run->group == g && run->from == p)
		return run;
	*run = (struct path_run){.group = g,
		.from = p,
		.accepted = p->accepted,
		.peer = p->peer,
		.serial = p->serial,
		.kind = (enum route_source)p->kind};
	path_run_judge(
		g, run, p->attrs, p->attrs != NULL ? group_forbids_window(g, p) : 0, *source);
	return run;
}

/* The attributes of a best path, cached for a run of paths of one peer, or of one kind of our own, with one set. run->accepted is an id of all shards. */
static struct path_run *
path_run_get(struct update_group *g, unsigned shard, const struct rib_path *best,
	const struct shard_peer **source)
{
	const struct shards *shards = &g->set->shards;
	struct attr_id accepted = {shards_id(shards, shard, best->accepted.v)};
	struct path_run *run = &g->set->told;
	const struct attr_set *attrs;
	enum route_source kind;

	if (g->set->from != NULL)
		return path_run_window(g, g->set->from, source);
	kind = path_kind(g->set, shard, best, source);
	if (run->group == g && run->from == NULL && run->accepted.v == accepted.v &&
		run->peer.v == best->peer.v && run->kind == kind)
		return run;
	*run = (struct path_run){
		.group = g, .accepted = accepted, .peer = best->peer, .kind = kind};
	attrs = accepted_attrs(g->set, shard_attrs(shards->at[shard]), best, accepted);
	path_run_judge(g, run, attrs, attrs != NULL ? group_forbids(g, attrs) : 0, *source);
	if (run->attrs != NULL)
		run->serial = attr_serial(shard_attrs(shards->at[shard]), best->accepted);
	return run;
}

/* The reason against all paths of this destination. */
static inline __attribute__((always_inline)) enum update_refusal
dest_refused(const struct update_group *g, const struct dest_view *view)
{
	if (view->fib != DEST_INSTALLED)
		return EXPORT_NOT_INSTALLED;
	if (g->rules.kind == UPDATE_EXTERNAL && g->rules.policy == NULL)
		return EXPORT_NO_POLICY;
	if (g->rules.default_originate && view->prefix.len == 0)
		return EXPORT_OWN_DEFAULT;
	/* an explanation names the node of the policy */
	return policy_runs(&g->rules) && !policy_may_permit(g->rules.policy, &view->prefix) &&
			       !g->set->explains
		       ? EXPORT_POLICY
		       : EXPORT_PERMITTED;
}

/* The label advertised for a path, as adj_route.label. False: a path of a VPN family without a label. */
static bool
label_of(const struct update_group *g, const struct rib_path *p, uint32_t *label)
{
	*label = g->labels ? p->label_flags >> 12 : 0;
	return *label != RIB_LABEL_NONE;
}

/* The offer of a path with the attributes of `run`. */
static int
evaluate_run(struct update_group *g, const struct dest_view *view, const struct rib_path *best,
	struct path_run *run, const struct shard_peer *source, struct offer *o)
{
	struct policy_verdict v;
	enum label_use use;
	int err;

	err = policy_run(g, run, &view->prefix, &v);
	if (err < 0) {
		g->set->told.group = NULL; /* its members may be of other rules */
		return err;
	}
	run->why = !v.permit					? EXPORT_POLICY
		   : !rt_filter_wants(g->rules.filter, v.attrs) ? EXPORT_MEMBERSHIP /* RFC 4684 3 */
								: EXPORT_PERMITTED;
	run->node = v.seq;
	run->decided = !policy_runs(&g->rules) || !policy_asks_prefix(g->rules.policy);
	run->before = g->by_before;
	run->offer = *o;
	run->swaps = false;
	if (run->why != EXPORT_PERMITTED)
		return 0;
	use = label_use(g, &v, run->attrs, run->kind, best->peer);
	if (use == LABEL_FOREIGN) {
		run->why = EXPORT_NEXT_HOP;
		return 0;
	}
	o->permit = true;
	o->by_before = g->by_before;
	o->edit = g->set->explains ? EDIT_UNNAMED : edit_find(g, &v);
	o->sets = v.sets;
	o->attrs = run->attrs;
	o->after = v.attrs;
	o->path = (struct adj_path){.accepted = run->accepted,
		.serial = run->serial,
		.source = best->peer,
		.kind = (uint8_t)run->kind};
	if (run->kind == SOURCE_INTERNAL && g->rules.kind != UPDATE_EXTERNAL)
		o->path.originator = source != NULL ? source->router_id : 0;
	run->offer = *o;
	run->swaps = use == LABEL_SWAPPED;
	return 0;
}

/* The offer of one path of a usable destination; and why the path is refused. */
static int
evaluate_path(struct update_group *g, struct dest_id id, const struct dest_view *view,
	const struct rib_path *best, struct offer *o)
{
	const struct shard_peer *source;
	struct path_run *run = path_run_get(g, shards_index(&g->set->shards, id), best, &source);
	uint32_t label;
	int err;

	g->set->why = run->why;
	if (run->attrs == NULL || !label_of(g, best, &label))
		return 0;
	if (run->decided && run->before == g->by_before)
		*o = run->offer;
	else if ((err = evaluate_run(g, view, best, run, source, o)) < 0)
		return err;
	g->set->why = run->why;
	g->set->node = run->node;
	g->stats.foreign_labels += run->why == EXPORT_NEXT_HOP && !g->set->explains;
	o->source = source;
	o->label = label;
	if (run->swaps)
		offer_swap(g, id, run->attrs, o);
	return 0;
}

static int
evaluate(struct update_group *g, struct dest_id id, const struct dest_view *view, struct offer *o)
{
	*o = (struct offer){.made = MADE_NONE};
	g->set->why = EXPORT_NO_ROUTE;
	if (view->paths == NULL || view->paths->eligible == 0)
		return 0;
	g->set->why = dest_refused(g, view);
	return g->set->why == EXPORT_PERMITTED
		       ? evaluate_path(g, id, view, &view->paths->path[0], o)
		       : 0;
}

/* True if the export policy refused in the last evaluation. At the end of a plan our own default route replaces a route that stays until then. */
static bool
policy_refused(const struct update_group *g)
{
	enum update_refusal why = g->set->why;

	return why == EXPORT_POLICY || why == EXPORT_MEMBERSHIP ||
	       (why == EXPORT_OWN_DEFAULT && g->planned);
}

int
rules_evaluate_path(struct update_group *g, const struct dest_view *view,
	const struct rib_path *best, const struct attr_set *attrs, struct offer *o)
{
	struct path_run run = {.peer = best->peer};
	const struct shard_peer *source;
	int err = 0;

	*o = (struct offer){.made = MADE_NONE};
	/* of a preview, which knows no shard: attributes and paths do not name the source's identifier */
	run.kind = path_kind(g->set, 0, best, &source);
	path_run_judge(g, &run, attrs, group_forbids(g, attrs), source);
	if (dest_refused(g, view) != EXPORT_PERMITTED || run.attrs == NULL ||
		!label_of(g, best, &o->label))
		return 0;
	err = evaluate_run(g, view, best, &run, source, o);
	g->set->told.group = NULL; /* its run of the policy has ended */
	o->source = source;
	o->edit = EDIT_UNNAMED;
	if (run.swaps)
		offer_swap(g, DEST_DEFAULT, attrs, o);
	return err;
}

int
rules_explain(struct update_group *g, struct dest_id id, const struct dest_view *view,
	enum update_refusal *why, uint32_t *node)
{
	struct offer o;
	int err;

	rules_run_end(g->set);
	g->set->explains = true;
	g->set->node = 0;
	err = evaluate(g, id, view, &o);
	g->set->explains = false;
	rules_run_end(g->set);
	*why = g->set->why;
	*node = g->set->node;
	return err;
}

int
rules_look(struct update_group *g, struct dest_id id, const struct dest_view *view, struct offer *o)
{
	int err;

	g->set->told.group = NULL;
	g->set->explains = true;
	err = rules_evaluate(g, id, view, o);
	g->set->explains = false;
	g->set->told.group = NULL;
	return err;
}

bool
rules_suit_windows(const struct update_group *g)
{
	const struct update_plan *plan = &g->set->plan[g->rules.family];

	return !g->planned && plan->peer_count == 0 &&
	       (g->rules.kind != UPDATE_EXTERNAL || g->rules.policy != NULL) &&
	       !(policy_runs(&g->rules) && policy_asks_prefix(g->rules.policy));
}

/* False: the prefixes or the group need a look at each destination. */
static bool
window_suits(const struct update_group *g, const struct window_path *p)
{
	return rules_suit_windows(g) && member_find(g, p->peer) == NULL;
}

bool
rules_evaluate_window(
	struct update_group *g, const struct window_path *p, struct offer *o, int *err)
{
	struct dest_view view = {.prefix = {.afi = (uint8_t)family_afi(g->rules.family)}};
	struct rib_path best = {.peer = p->peer};

	*err = 0;
	if (!window_suits(g, p))
		return false;
	*o = (struct offer){.made = MADE_NONE};
	g->set->from = p;
	*err = evaluate_path(g, DEST_DEFAULT, &view, &best, o);
	g->set->from = NULL;
	return *err == 0 && o->permit && o->edit != EDIT_UNNAMED;
}

uint64_t
rules_key(struct update_group *g)
{
	const struct update_rules *r = &g->rules;
	const struct bgp_encode_options *e = &r->encode;

	/* other families have MP_REACH_NLRI in front of the attributes */
	if (r->kind != UPDATE_EXTERNAL || r->family != FAMILY_IPV4_UNICAST ||
		r->next_hop_unchanged || r->remove_private_as || r->as_override ||
		r->route_server_client || r->graceful_shutdown || e->extended_next_hop)
		return 0;
	return hash_words(rules_hash(g), g->rules.next_hop_len,
		       (e->as4 ? 1u : 0u) | (e->send_communities ? 2u : 0u)) |
	       1;
}

/* Runs policy for the attributes of the path alone. False: as rules_append_window(). */
static bool
policy_decide(
	struct update_group *g, const struct window_path *p, struct policy_decision *d, int *err)
{
	struct update_groups *s = g->set;
	const struct policy *policy = g->rules.policy;
	struct policy_context context = {.peer = g->rules.peer,
		.peer_asn = g->rules.peer_as,
		.peer_group = g->rules.peer_group,
		.family = g->rules.family,
		.source = (enum route_source)p->kind};

	*d = (struct policy_decision){.permit = true};
	if (!policy_runs(&g->rules))
		return true;
	if (!policy_has_digest(policy))
		return false;
	s->told.group = NULL;
	*err = policy_eval_begin(s->eval, policy, p->attrs, &context);
	return *err == 0 && policy_digest_decide(policy, policy_eval_digest(s->eval), NULL, d);
}

bool
rules_append_window(
	struct update_group *g, const struct window_path *p, struct window_verdict *v, int *err)
{
	struct policy_decision d;
	struct policy_verdict named;

	*err = 0;
	*v = (struct window_verdict){0};
	if (!window_suits(g, p))
		return false;
	if (p->attrs == NULL || group_forbids_window(g, p) != 0)
		return true;
	if (!policy_decide(g, p, &d, err))
		return false;
	v->permit = d.permit;
	if (!d.permit)
		return true;
	if (d.outcome != 0 &&
		!policy_outcome_appends(g->rules.policy, d.outcome, &v->values, &v->count))
		return false;
	if (!g->rules.encode.send_communities)
		v->count = 0;
	named = (struct policy_verdict){.outcome = d.outcome};
	v->edit = edit_find(g, &named);
	return v->edit != EDIT_UNNAMED;
}

struct offer
offer_window(const struct window_path *p)
{
	return (struct offer){.permit = true,
		.made = MADE_NONE,
		.path = {.accepted = p->accepted,
			.serial = p->serial,
			.source = p->peer,
			.kind = p->kind},
		.attrs = p->attrs,
		.after = p->attrs,
		.source = p->known ? &p->source : NULL};
}

int
offer_route(
	struct update_group *g, struct offer *o, const struct window_path *p, struct adj_route *out)
{
	o->path.accepted = p->accepted;
	o->path.serial = p->serial;
	out->edit = o->edit;
	return offer_record(g, o, &out->record);
}

void
offer_sent(struct update_group *g, const struct offer *o, uint64_t hash)
{
	uint64_t key = content_key(g, &o->path, o->edit);

	if (key != 0)
		*content_slot(g->set, key) = content_as(key, hash);
}

/* ---- within a plan (struct update_plan) ---- */

static bool
bit_of(const uint64_t *word, struct peer_id id)
{
	return word[id.v / 64] >> id.v % 64 & 1;
}

/* The rules that were in force when a path was accepted. */
enum judged {
	JUDGED_NOW, /* `rules` */
	JUDGED_BEFORE, /* `before` */
	JUDGED_BETWEEN, /* rules of a commit in between, already replaced */
};

/* True if the path has the mark of the plan: the new import rules have accepted it. */
static bool
is_evaluated(const struct update_plan *plan, const struct rib_path *p)
{
	unsigned generation = rib_path_generation(p);

	return (plan->generations >> generation & 1) && p->time_s >= plan->began_s[generation];
}

/* For a group with new rules: the export rules for a destination, chosen by the commit whose import rules accepted the best path. */
static enum judged
judged_by(const struct update_group *g, const struct dest_view *view)
{
	const struct update_plan *plan = &g->set->plan[g->rules.family];
	const struct rib_path *best;
	unsigned generation;

	if (view->paths == NULL || view->paths->eligible == 0)
		return JUDGED_NOW;
	best = &view->paths->path[0];
	if (!bit_of(plan->peers, best->peer))
		return JUDGED_NOW;
	generation = rib_path_generation(best);
	if (!is_evaluated(plan, best))
		return g->mixed ? JUDGED_BETWEEN : JUDGED_BEFORE;
	return g->after >> generation & 1 ? JUDGED_NOW : JUDGED_BETWEEN;
}

/* Exchanges old and new rules for one evaluation. */
static void
rules_swap(struct update_group *g)
{
	struct update_rules r = g->rules;

	g->rules = g->before;
	g->before = r;
	g->by_before = !g->by_before;
}

/*
 * True if the advertised path still exists, or if the plan will evaluate the paths of the peer again (the refusal may then be temporary). After the
 * peer has withdrawn the path, or the session has ended, the route must not stay advertised.
 */
static bool
source_stays(const struct update_group *g, struct dest_id id, struct peer_id source)
{
	const struct update_plan *plan = &g->set->plan[g->rules.family];

	if (source.v != PEER_SELF.v && bit_of(plan->peers, source) && !bit_of(plan->lost, source))
		return true;
	return shards_offers(&g->table, id, source);
}

/*
 * True if the plan may still give the destination another path, of which export policy is not known: from a supplier that has not the best path, or a
 * path that the new import rules have not evaluated.
 */
static bool
may_be_supplied(const struct update_group *g, struct dest_id id, const struct dest_view *view)
{
	const struct update_plan *plan = &g->set->plan[g->rules.family];
	struct peer_id best = view->paths->path[0].peer;
	struct dest_view all; /* `view` may be of a window, with the best path alone */

	if (plan->supplier_count > (bit_of(plan->suppliers, best) ? 1u : 0u))
		return true;
	if (plan->peer_count == 0 || !shards_peek(&g->table, id, &all) || all.paths == NULL)
		return false;
	for (unsigned i = 0; i < all.paths->eligible && i < all.paths->count; i++)
		if (bit_of(plan->peers, all.paths->path[i].peer) &&
			!is_evaluated(plan, &all.paths->path[i]))
			return true;
	return false;
}

/* Keeps the advertised route, if the destination has a usable path. */
static void
advertised_keep(
	struct update_group *g, struct dest_id id, const struct dest_view *view, struct offer *o)
{
	struct adj_route r;

	if (view->paths == NULL || view->paths->eligible == 0 || view->fib != DEST_INSTALLED)
		return;
	r = adj_rib_out_get(g->out, id);
	if (r.record.v == 0 || !source_stays(g, id, route_source(g, r)))
		return;
	o->kept = true;
	g->stays = true;
}

/*
 * While the routes of several peers are evaluated again, a best path between the old and the final best path is temporary. When export policy refuses a
 * temporary path, the advertised route stays. Routes forbidden by an RFC are withdrawn at once.
 */
int
rules_evaluate(
	struct update_group *g, struct dest_id id, const struct dest_view *view, struct offer *o)
{
	enum judged by = g->planned ? judged_by(g, view) : JUDGED_NOW;
	int err;

	if (by == JUDGED_BETWEEN) {
		*o = (struct offer){.made = MADE_NONE};
		advertised_keep(g, id, view, o);
		return 0;
	}
	if (by == JUDGED_BEFORE)
		rules_swap(g);
	err = evaluate(g, id, view, o);
	if (by == JUDGED_BEFORE)
		rules_swap(g);
	if (err == 0 && !o->permit && policy_refused(g) &&
		(may_be_supplied(g, id, view) || (g->planned && view->prefix.len == 0)))
		advertised_keep(g, id, view, o);
	return err;
}

/* Our own default route changes in the walk at the end of the plan. */
int
rules_default(struct update_group *g, struct offer *o)
{
	static const struct attr_set none = {.origin = ORIGIN_IGP};
	bool before = g->planned;

	*o = (struct offer){.made = MADE_NONE};
	if (before)
		rules_swap(g);
	if (g->rules.default_originate) {
		o->permit = true;
		o->by_before = g->by_before;
		o->edit = edit_number(g, hash_words(rules_hash(g), 0, 1), false);
		o->attrs = o->after = &none;
		o->path.kind = SOURCE_NETWORK;
	}
	if (before)
		rules_swap(g);
	return 0;
}

/*
 * True if the offer is the advertised route. For a route without a number of its edit: if the path is the same. Then the rules in force make the
 * attributes, so within a plan such a route is not found.
 */
static bool
offer_again(const struct update_group *g, const struct offer *o, struct adj_route r)
{
	if (r.edit != EDIT_UNNAMED)
		return offer_is(g, o, r);
	return o->permit && !g->planned && r.record.v != 0 && r.label == o->label &&
	       same_path(adj_record_path(g->set->records, r.record), &o->path);
}

/* The offer of the path that `r` names, by the rules in force, or by the rules from before the plan. */
static bool
path_again(struct update_group *g, struct dest_id id, const struct dest_view *view,
	const struct rib_path *path, struct adj_route r, struct offer *o)
{
	bool found;

	*o = (struct offer){.made = MADE_NONE};
	if (evaluate_path(g, id, view, path, o) == 0 && offer_again(g, o, r))
		return true;
	if (!g->planned)
		return false;
	*o = (struct offer){.made = MADE_NONE};
	rules_swap(g);
	found = evaluate_path(g, id, view, path, o) == 0 && offer_is(g, o, r);
	rules_swap(g);
	return found;
}

bool
route_again(struct update_group *g, struct dest_id id, struct adj_route r, struct offer *o)
{
	struct shards *shards = &g->set->shards;
	struct dest_view view;
	unsigned shard = shards_index(shards, id);

	if (id.v == DEST_DEFAULT.v)
		return rules_default(g, o) == 0 && offer_again(g, o, r);
	if (!shards_peek(&g->table, id, &view) || view.paths == NULL)
		return false;
	for (unsigned i = 0; i < view.paths->eligible; i++) {
		const struct rib_path *path = &view.paths->path[i];
		const struct adj_path *p = adj_record_path(g->set->records, r.record);

		if (path->peer.v == p->source.v &&
			shards_id(shards, shard, path->accepted.v) == p->accepted.v &&
			path_again(g, id, &view, path, r, o))
			return true;
	}
	return false;
}

void
rules_plan(struct update_group *g, const struct update_group *from)
{
	const struct update_plan *plan = &g->set->plan[g->rules.family];

	if (!g->planned) {
		g->before = from->rules;
		g->mixed = false;
	} else if (g->newest != plan->newest) {
		g->mixed =
			true; /* a second commit within the plan: `before` stays as before the first */
	}
	g->planned = true;
	g->newest = plan->newest;
	g->after = (uint8_t)(1u << plan->newest);
}

void
rules_take(struct update_group *g, const struct update_rules *to)
{
	bool plan = g->set->plan[g->rules.family].peer_count > 0;
	bool moved = g->rules.next_hop_len != to->next_hop_len;

	if (plan) {
		rules_plan(g, g);
		rules_forget(g);
	}
	g->rules = *to;
	g->before.next_hop_len = to->next_hop_len; /* a plan is about other rules */
	for (struct update_member *m = g->members; moved && m != NULL; m = m->next) {
		/* the messages in the stream have next hops of the old length */
		if (m->state == MEMBER_STREAM && m->at->next != NULL)
			behind_begin(m);
		member_next_hop(m);
	}
	policy_walk_owe(g);
}

void
rules_lost(struct update_groups *s, enum family family, struct peer_id id)
{
	if (s->plan[family].peer_count > 0)
		s->plan[family].lost[id.v / 64] |= 1ull << id.v % 64;
}

void
update_groups_plan_begin(struct update_groups *s, unsigned generation, uint32_t now_s,
	const struct update_plan_part *parts, unsigned count)
{
	bool begun[FAMILY_COUNT] = {false};

	for (unsigned i = 0; i < count; i++) {
		struct update_plan *p = &s->plan[parts[i].family];
		uint64_t *word = &p->peers[parts[i].peer.v / 64],
			 bit = 1ull << parts[i].peer.v % 64;

		begun[parts[i].family] = true;
		p->peer_count += !(*word & bit);
		*word |= bit;
		word = &p->suppliers[parts[i].peer.v / 64];
		p->supplier_count += parts[i].supplies && !(*word & bit);
		*word |= parts[i].supplies ? bit : 0;
		p->lost[parts[i].peer.v / 64] &= ~bit;
		p->newest = (uint8_t)generation;
		p->began_s[generation] = now_s;
		if (generation != 0) /* else paths get no marks */
			p->generations |= (uint8_t)(1u << generation);
	}
	for (struct update_group *g = s->groups; g != NULL; g = g->next)
		if (g->planned && begun[g->rules.family])
			g->after |= (uint8_t)(1u << generation);
}

void
update_groups_plan_supplied(struct update_groups *s, enum family family)
{
	struct update_plan *p = &s->plan[family];

	p->supplier_count = 0;
	memset(p->suppliers, 0, sizeof(p->suppliers));
	for (struct update_group *g = s->groups; g != NULL; g = g->next)
		if (g->rules.family == family && g->stays)
			policy_walk_owe(g);
}

void
update_groups_plan_end(struct update_groups *s, enum family family)
{
	s->plan[family] = (struct update_plan){0};
	for (struct update_group *g = s->groups; g != NULL; g = g->next) {
		if (g->rules.family != family || !(g->planned || g->stays || group_limited(g)))
			continue;
		g->planned = g->stays = false;
		policy_walk_owe(g);
	}
}
