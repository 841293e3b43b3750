/* SPDX-License-Identifier: BSD-3-Clause */
/* Routes as Route Monitoring messages (RFC 7854 4.6): live changes, and walks of whole tables. */
#include "control/bmp/bmp_impl.h"

#include "lpm/base/arena.h"
#include "rib/table/journal.h"
#include "rib/table/nlri.h"

#include <stdlib.h>
#include <string.h>

#define CHANGES 64u /* in one read section */
#define SCAN 256u /* ids in one read section */

/* ---- routes ---- */

static bool
announces(const struct route *r)
{
	return r->attrs != NULL || r->set != NULL;
}

static struct nlri
route_nlri(const struct route *r, uint8_t label[LABEL_OCTETS])
{
	struct nlri n = {.prefix = *r->prefix, .rd = r->rd};

	if (family_safi(r->family) == SAFI_VPN && announces(r)) {
		label_put(label, r->label, true);
		n.label_count = 1;
		n.label = r->label;
		n.labels = label;
	}
	return n;
}

/* Own routes may have no next hop, or a next hop that UPDATEs cannot have. */
static void
next_hop_fit(struct attr_set *a, enum family f)
{
	bool discard = addr_is_discard(&a->next_hop);
	enum afi afi = family_afi(f);

	if (a->next_hop.afi == AFI_NONE || discard ||
		(afi == AFI_IPV6 && a->next_hop.afi == AFI_IPV4 && family_safi(f) != SAFI_VPN))
		a->next_hop = (struct ip_addr){.afi = (uint8_t)afi};
	if (a->next_hop.afi != AFI_IPV6)
		a->next_hop_link_local = (struct ip_addr){0};
}

static bool
update_takes(const struct collector *c, const struct route *r)
{
	const struct open_update *u = &c->update;
	const struct bmp *b = c->bmp;

	if (!u->open || u->peer != r->peer || u->flags != r->flags || u->family != r->family)
		return false;
	if (r->set != NULL)
		return b->out_of == c && u->set_len == attr_set_size(r->set) &&
		       memcmp(b->out_set, r->set, u->set_len) == 0;
	return r->attrs != NULL && r->id.v != 0 && u->shard == r->shard && u->attrs.v == r->id.v &&
	       u->time_s == r->time_s && u->serial == attr_serial(shard_attrs(r->shard), r->id);
}

/* RFC 7854 4.6 */
bool
route_put(struct collector *c, const struct route *r)
{
	struct bmp *b = c->bmp;
	struct open_update *u = &c->update;
	const struct monitored *m = b->peer[r->peer];
	struct bgp_encode_options o = {.as4 = m->as4,
		.extended_message = true,
		.send_communities = true,
		.extended_next_hop = true};
	struct bmp_peer head = m->head;
	uint8_t label[LABEL_OCTETS];
	struct nlri n = route_nlri(r, label);
	struct attr_set *a = NULL;
	uint64_t age_s = now_ns() / SECOND - r->time_s;
	struct wr w;
	size_t at;

	if (update_takes(c, r) && update_packer_add_form(&u->packer, &n))
		return true;
	if (!out_begin(c, &w))
		return false;
	head.flags |= r->flags;
	at = bmp_begin(&w, BMP_ROUTE_MONITORING, &head,
		r->attrs != NULL ? wall_ns() - age_s * SECOND : wall_ns());
	if (r->set != NULL)
		a = memcpy(b->attrs, r->set, attr_set_size(r->set));
	else if (r->attrs != NULL)
		a = attr_unpack(r->attrs, b->attrs);
	if (a != NULL)
		next_hop_fit(a, r->family);
	/* the largest message for large attributes only */
	if ((!update_packer_begin(&u->packer, r->family, a, &o, w.p, BGP_MSG_MAX) ||
		    !update_packer_add_form(&u->packer, &n)) &&
		(!update_packer_begin(&u->packer, r->family, a, &o, w.p, BGP_EXTENDED_MSG_MAX) ||
			!update_packer_add_form(&u->packer, &n)))
		return true; /* the family cannot carry the route */
	u->open = true;
	u->at = at;
	u->peer = r->peer;
	u->flags = r->flags;
	u->family = r->family;
	u->shard = r->shard;
	u->attrs = r->attrs != NULL ? r->id : (struct attr_id){0};
	u->serial = r->attrs != NULL ? attr_serial(shard_attrs(r->shard), r->id) : 0;
	u->time_s = r->time_s;
	u->set_len = 0;
	if (r->set != NULL) {
		u->set_len = attr_set_size(r->set);
		memcpy(b->out_set, r->set, u->set_len);
		b->out_of = c;
	}
	c->tail = at + BMP_HEADER_LEN; /* update_close() sets the end */
	return true;
}

/* The state of a path of the peer; `p` NULL: none. `had`: PATH_HAD_ bits. False: no room. */
static bool
path_put(
	struct collector *c, struct route *r, const struct rib_path *p, uint8_t views, unsigned had)
{
	r->time_s = p != NULL ? p->time_s : 0;
	r->label = p != NULL ? p->label_flags >> 12 : 0;
	if (views & BMP_ADJ_IN_PRE) {
		r->flags = 0;
		r->attrs = p != NULL ? shard_path_received(r->shard, p) : NULL;
		r->id = p != NULL ? p->received : (struct attr_id){0};
		if ((r->attrs != NULL || (had & PATH_HAD_RECEIVED)) && !route_put(c, r))
			return false;
	}
	if (views & BMP_ADJ_IN) {
		bool accepted = p != NULL && !(p->label_flags & PATH_REJECTED);

		r->flags = BMP_FLAG_POST;
		r->attrs = accepted ? attr_get(shard_attrs(r->shard), p->accepted) : NULL;
		r->id = accepted ? p->accepted : (struct attr_id){0};
		if ((r->attrs != NULL || (had & PATH_HAD_ACCEPTED)) && !route_put(c, r))
			return false;
	}
	return true;
}

/* ---- best paths that a collector may have ---- */

/*
 * The source of the best path by destination, as the journal or a walk showed it last: without a record a withdrawal names each destination without
 * a best path, and the Adj-RIB-Out before policy of each source. Returns PATH_HAD_NONE for a destination that had none. Without memory: any source.
 */
static uint16_t
best_note(struct bmp *b, struct table_id table, struct dest_id id, const struct dest_view *v)
{
	bool best = v->paths != NULL && v->paths->eligible > 0;
	struct best *k = &b->best[table.v];
	uint16_t was, now = best ? v->paths->path[0].peer.v : PATH_HAD_NONE;

	if (id.v >= k->size) {
		uint32_t size = id.v < 1024 ? 2048 : 2 * id.v;
		uint16_t *p = arena_alloc(b->arena, size * sizeof(*p));

		if (p == NULL)
			return PEER_SELF.v;
		if (k->size > 0)
			memcpy(p, k->source, k->size * sizeof(*p));
		memset(p + k->size, 0xff, (size - k->size) * sizeof(*p));
		arena_free(b->arena, k->source);
		*k = (struct best){p, size};
	}
	was = k->source[id.v];
	k->source[id.v] = now;
	return was;
}

void
best_forget(struct bmp *b)
{
	for (unsigned i = 0; i < SHARD_TABLES_MAX; i++) {
		arena_free(b->arena, b->best[i].source);
		b->best[i] = (struct best){0};
	}
}

/* The best route of a destination. `had`: of best_note(). False: no room. */
static bool
best_put(
	struct collector *c, unsigned loc, struct route *r, const struct dest_view *v, uint16_t had)
{
	bool best = v->paths != NULL && v->paths->eligible > 0;
	const struct rib_path *p = best ? &v->paths->path[0] : NULL;

	if (!best && had == PATH_HAD_NONE)
		return true;
	r->peer = loc;
	r->flags = 0;
	r->time_s = best ? p->time_s : 0;
	r->label = best ? p->label_flags >> 12 : 0;
	r->attrs = best ? attr_get(shard_attrs(r->shard), p->accepted) : NULL;
	r->id = best ? p->accepted : (struct attr_id){0};
	return (best && r->attrs == NULL) || route_put(c, r);
}

/*
 * The best route of a destination as a route that may be advertised to the peer: not to its source. RFC 8671 3: before policy the Adj-RIB-Out
 * matches the Loc-RIB. `had`: of best_note(). False: no room.
 */
static bool
pre_put(struct collector *c, unsigned peer, struct route *r, const struct dest_view *v,
	uint16_t had)
{
	struct route out = *r;

	if (v->paths == NULL || v->paths->eligible == 0 || v->paths->path[0].peer.v == peer) {
		out.peer = peer;
		out.flags = BMP_FLAG_OUT;
		out.attrs = NULL;
		out.id.v = 0;
		out.time_s = 0;
		return had == PATH_HAD_NONE || had == peer || route_put(c, &out);
	}
	out.attrs = attr_get(shard_attrs(r->shard), v->paths->path[0].accepted);
	out.id = v->paths->path[0].accepted;
	out.time_s = v->paths->path[0].time_s;
	out.label = v->paths->path[0].label_flags >> 12;
	out.peer = peer;
	out.flags = BMP_FLAG_OUT;
	return out.attrs == NULL || route_put(c, &out);
}

/* True if the peer exchanges the family of the table. */
static bool
has_table(const struct monitored *m, struct vrf_id vrf, enum family f)
{
	return m->vrf.v == vrf.v && (m->families >> f & 1);
}

static bool
peek_all(struct bmp *b, const struct shards_table *t, struct dest_id id, struct dest_view *v)
{
	if (!shards_peek(t, id, v))
		return false;
	if (v->paths != NULL && v->behind > 0)
		(void)shards_peek_all(t, id, v, b->all, PEER_MAX);
	return true;
}

bool
table_of(const struct bmp *b, struct vrf_id vrf, enum family f, struct shards_table *t)
{
	const struct shards *s = &b->config.layers->shards;
	struct table_id id;

	if (shard_table_find(s->at[0], vrf, f, &id) != 0)
		return false;
	shards_table(s, id, t);
	return true;
}

/* ---- live changes ---- */

static void
change_put(struct bmp *b, const struct path_change *e)
{
	const struct shards *s = &b->config.layers->shards;
	struct shards_table t;
	struct dest_view v;
	struct dest_id id;
	const struct rib_path *p = NULL;
	struct route r = {.peer = e->peer.v, .prefix = &e->prefix, .rd = e->rd};
	struct vrf_id vrf;
	bool any = false;

	for (unsigned k = 0; k < b->count; k++)
		any |= follows(b->collector[k], e->peer.v);
	if (!any)
		return;
	shard_table_key(s->at[0], e->table, &vrf, &r.family);
	if (r.family == FAMILY_COUNT)
		return;
	shards_table(s, e->table, &t);
	id = shards_find_rd(&t, e->rd, &e->prefix);
	r.shard = shards_for(s, shards_by(vrf, r.family), &e->prefix);
	if (id.v != DEST_NONE && peek_all(b, &t, id, &v) && v.paths != NULL) {
		for (unsigned i = 0; i < v.paths->count && p == NULL; i++)
			if (v.paths->path[i].peer.v == e->peer.v &&
				!(v.paths->path[i].label_flags & PATH_IMPORTED))
				p = &v.paths->path[i];
	}
	for (unsigned k = 0; k < b->count; k++) {
		struct collector *c = b->collector[k];

		if (follows(c, e->peer.v) && !path_put(c, &r, p, c->config.views, e->had))
			collector_lost(c, e->peer.v);
	}
}

static void
lost_put(struct bmp *b, const entity_bits peers)
{
	b->lost++;
	for (unsigned id = 0; (id = bit_next(peers, id)) < ENTITIES; id++)
		for (unsigned k = 0; k < b->count; k++)
			if (bit(b->collector[k]->told, id))
				collector_lost(b->collector[k], id);
}

bool
changes_run(struct bmp *b)
{
	const struct layers *l = b->config.layers;
	bool more = false;

	for (unsigned i = 0; i < l->shards.count; i++) {
		struct path_change e;
		entity_bits lost = {0};
		unsigned n = 0;

		while (n < CHANGES && path_ring_get(b->ring[i], &e)) {
			change_put(b, &e);
			n++;
		}
		if (path_ring_lost(b->ring[i], lost))
			lost_put(b, lost);
		more |= n == CHANGES;
	}
	return more;
}

static void
entry_put(struct bmp *b, const struct journal_entry *e)
{
	const struct shards *s = &b->config.layers->shards;
	struct shards_table t;
	struct dest_id id = {shards_id(s, e->shard, e->dest.v)};
	struct route r = {.shard = s->at[e->shard]};
	struct vrf_id vrf;
	struct dest_view v;
	uint16_t had;

	shard_table_key(s->at[0], e->table, &vrf, &r.family);
	if (e->aside || r.family == FAMILY_COUNT)
		return;
	shards_table(s, e->table, &t);
	if (!shards_peek(&t, id, &v))
		return;
	r.prefix = &v.prefix;
	r.rd = v.rd;
	had = best_note(b, e->table, id, &v);
	for (unsigned k = 0; k < b->count; k++) {
		struct collector *c = b->collector[k];

		if (follows(c, loc_of(vrf)) && !best_put(c, loc_of(vrf), &r, &v, had))
			collector_lost(c, loc_of(vrf));
		for (unsigned p = 1; (c->config.views & BMP_ADJ_OUT_PRE) &&
				     (p = bit_next(c->told, p)) < PEER_MAX;
			p++)
			if (has_table(b->peer[p], vrf, r.family) && follows(c, p) &&
				!pre_put(c, p, &r, &v, had))
				collector_lost(c, p);
	}
}

void
peers_lost(struct collector *c)
{
	for (unsigned id = 1; (id = bit_next(c->told, id)) < PEER_MAX; id++)
		collector_lost(c, id);
}

/* The Loc-RIBs of all instances, and the Adj-RIB-Out of peers before policy. */
static void
journal_lost(struct bmp *b)
{
	entity_bits lost = {1u << LOC};

	memset(&lost[PEER_WORDS], 0xff, sizeof(lost) - PEER_WORDS * sizeof(lost[0]));
	lost_put(b, lost);
	for (unsigned k = 0; k < b->count; k++)
		if (b->collector[k]->config.views & BMP_ADJ_OUT_PRE)
			peers_lost(b->collector[k]);
}

bool
journal_run(struct bmp *b)
{
	struct journal *j = b->config.layers->journal;
	struct journal_entry e[CHANGES];
	int n;

	if (b->cursor == NULL)
		return false;
	n = journal_read(j, b->cursor, e, CHANGES);
	if (n < 0) {
		(void)journal_resume(j, b->cursor);
		journal_lost(b);
		return true;
	}
	for (int i = 0; i < n; i++)
		entry_put(b, &e[i]);
	if (n > 0)
		journal_advance(j, b->cursor, e[n - 1].sequence);
	return n == (int)CHANGES;
}

/* ---- walks ---- */

static int
order_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/*
 * The paths by peer, from c->next_peer on: a destination may have more paths than the output has room. False: no
 * room for all.
 */
static bool
dest_walk(struct collector *c, const struct dest_view *v, struct route *r)
{
	uint32_t *order = c->bmp->order;
	unsigned n = 0, loc = loc_of(c->vrf);

	if (c->next_peer == 0 && c->next_pre == 0 && bit(c->walked, loc) &&
		!best_put(c, loc, r, v, PATH_HAD_NONE))
		return false;
	for (; (c->config.views & BMP_ADJ_OUT_PRE) && c->next_pre < PEER_MAX; c->next_pre++) {
		c->next_pre = bit_next(c->walked, c->next_pre > 0 ? c->next_pre : 1);
		if (c->next_pre < PEER_MAX &&
			has_table(c->bmp->peer[c->next_pre], c->vrf, c->family) &&
			!pre_put(c, c->next_pre, r, v, PATH_HAD_NONE))
			return false;
	}
	for (unsigned i = 0; i < v->paths->count && n < PEER_MAX; i++) {
		unsigned peer = v->paths->path[i].peer.v;

		if (peer != PEER_SELF.v && peer >= c->next_peer && bit(c->walked, peer) &&
			!(v->paths->path[i].label_flags & PATH_IMPORTED))
			order[n++] = peer << 16 | i;
	}
	if (n > 1)
		qsort(order, n, sizeof(*order), order_compare);
	for (unsigned i = 0; i < n; i++) {
		r->peer = order[i] >> 16;
		c->next_peer = r->peer;
		if (!path_put(c, r, &v->paths->path[order[i] & 0xffff], c->config.views, 0))
			return false;
	}
	c->next_peer = c->next_pre = 0;
	return true;
}

/* One read section. */
static void
walk_section(struct collector *c)
{
	struct bmp *b = c->bmp;
	const struct shards *s = &b->config.layers->shards;
	struct shards_table t;
	struct table_id table;
	uint32_t end = table_of(b, c->vrf, c->family, &t) ? shards_limit(&t) : 0;

	for (unsigned n = 0; n < SCAN && c->next < end && out_waits(c) < OUT_WALK; n++, c->next++) {
		struct dest_id id = {c->next};
		struct dest_view v;
		struct route r = {.family = c->family, .prefix = &v.prefix};

		if (!peek_all(b, &t, id, &v) || v.paths == NULL)
			continue;
		r.rd = v.rd;
		r.shard = s->at[shards_index(s, id)];
		if (b->cursor != NULL && shard_table_find(s->at[0], c->vrf, c->family, &table) == 0)
			(void)best_note(b, table, id, &v);
		if (!dest_walk(c, &v, &r))
			return; /* continues at c->next_peer */
	}
	if (c->next < end)
		return;
	c->walk = c->config.views & BMP_ADJ_OUT ? WALK_OUT : WALK_ENDS;
	c->next = 0;
	c->next_peer = c->walk == WALK_OUT ? 1 : 0;
}

bool
walk_out_peer(struct collector *c)
{
	while ((c->next_peer = bit_next(c->walked, c->next_peer)) < PEER_MAX) {
		if (has_table(c->bmp->peer[c->next_peer], c->vrf, c->family))
			return true;
		c->next_peer++;
		c->next = 0;
	}
	c->walk = WALK_ENDS;
	c->next = c->next_peer = 0;
	return false;
}

/* RFC 7854 4.6: End-of-RIB of each view. False: no room. */
static bool
end_put(struct collector *c, unsigned id, uint8_t flags)
{
	struct bmp_peer head = c->bmp->peer[id]->head;
	uint8_t end[64];
	size_t len = bgp_end_of_rib_encode(c->family, end, sizeof(end)), at;
	struct wr w;

	if (!out_begin(c, &w))
		return false;
	head.flags |= flags;
	at = bmp_begin(&w, BMP_ROUTE_MONITORING, &head, wall_ns());
	wr_bytes(&w, end, len);
	out_end(c, &w, at);
	return true;
}

/* The next table of a walked entity, from c->vrf and c->family on. False: none. */
static bool
walk_table(struct collector *c)
{
	for (; c->vrf.v < SHARD_VRFS_MAX; c->vrf.v++, c->family = 0)
		for (; bit(c->walked_vrfs, c->vrf.v) && c->family < FAMILY_COUNT; c->family++)
			if (c->walked_families[c->vrf.v] >> c->family & 1)
				return true;
	return false;
}

static void
walk_ends(struct collector *c)
{
	uint8_t views = c->config.views;

	for (; (c->next = bit_next(c->walked, c->next)) < ENTITIES; c->next++) {
		const struct monitored *m = c->bmp->peer[c->next];
		bool loc = is_loc(c->next), room = true;

		if (m->vrf.v != c->vrf.v || !(m->families >> c->family & 1))
			continue;
		if (out_waits(c) >= OUT_WALK)
			return;
		if (loc || (views & BMP_ADJ_IN_PRE))
			room = end_put(c, c->next, 0);
		if (!loc && (views & BMP_ADJ_IN) && room)
			room = end_put(c, c->next, BMP_FLAG_POST);
		if (!loc && (views & BMP_ADJ_OUT_PRE) && room)
			room = end_put(c, c->next, BMP_FLAG_OUT);
		if (!loc && (views & BMP_ADJ_OUT) && room)
			room = end_put(c, c->next, BMP_FLAG_OUT | BMP_FLAG_POST);
		if (!room)
			return;
	}
	c->next = 0;
	c->walk = WALK_ROUTES;
	c->family++;
	if (!walk_table(c)) {
		memset(c->walked, 0, sizeof(c->walked));
		c->walk = WALK_NONE;
	}
}

static void
walk_begin(struct collector *c)
{
	memcpy(c->walked, c->want, sizeof(c->want));
	memset(c->want, 0, sizeof(c->want));
	memset(c->walked_vrfs, 0, sizeof(c->walked_vrfs));
	memset(c->walked_families, 0, sizeof(c->walked_families));
	for (unsigned id = 0; (id = bit_next(c->walked, id)) < ENTITIES; id++) {
		const struct monitored *m = c->bmp->peer[id];

		bit_set(c->walked_vrfs, m->vrf.v);
		c->walked_families[m->vrf.v] |= m->families;
	}
	c->vrf = VRF_DEFAULT;
	c->family = 0;
	c->next = c->next_peer = c->next_pre = 0;
	c->walk = walk_table(c) ? WALK_ROUTES : WALK_NONE;
}

bool
walk_run(struct collector *c)
{
	if (c->walk == WALK_NONE && bit_next(c->want, 0) < ENTITIES)
		walk_begin(c);
	if (c->walk == WALK_NONE || out_waits(c) >= OUT_WALK)
		return false;
	if (c->walk == WALK_OUT)
		return !walk_out_peer(c); /* out_send() asks about the peer */
	if (c->walk == WALK_ROUTES)
		walk_section(c);
	else
		walk_ends(c);
	return true;
}
