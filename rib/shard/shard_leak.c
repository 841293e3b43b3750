/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Leaks routes between the VPN tables and the instances of a shard by route targets (RFC 4364 4.3).
 * docs/decisions/0023 has the reasons. rib/shard/shard_leak_impl.h lists the files.
 *
 * Three kinds of work, all in slices:
 *
 * The list. A changed path of a VPN table, or a changed own path of an instance, appends an item
 * when the change is published. leak_run() applies the items in order, before further input. An item
 * names the destination and the path, and holds the replaced attribute set, whose targets name the
 * instances with the old path. The new state is read when the item is applied. So an item can be
 * applied twice, and an item without memory is repeated later.
 *
 * The scan of an instance, after a change of its configuration: evaluates each imported path of the
 * instance again from its source, and exports each own path again.
 *
 * The fill: one pass over the VPN tables imports missing paths, for all instances with a changed
 * configuration. The pass visits the blocks of ids where their targets have routes. A pass over all
 * destinations notes these blocks, and drops paths without an instance (shard_vpn_imported_only()).
 *
 * Exports depend on own paths alone, and imported paths are never exported. So a change passes at
 * most two steps, from an instance to the VPN table and the other instances, and cannot circulate.
 */
#include "rib/shard/shard_leak_impl.h"

#include <errno.h>
#include <string.h>

#define LIST_MIN 256u
#define CLOCK_EVERY 32u /* items between two looks at the clock */
#define PLACES_SPARE 1024u

static void
leak_free(struct shard *s, struct shard_leak *l)
{
	for (unsigned i = 0; i < SHARD_INSTANCES_MAX; i++) {
		struct instance *x = atomic_load_explicit(&l->instance[i], memory_order_relaxed);

		if (x != NULL)
			arena_free(s->arena, x->targets);
		arena_free(s->arena, x);
	}
	leak_index_destroy(l->importers);
	leak_index_destroy(l->exporters);
	leak_origins_destroy(l->origins);
	leak_places_destroy(l->places[0]);
	leak_places_destroy(l->places[1]);
	leak_crowds_free(s, l);
	arena_free(s->arena, l->fill_blocks);
	arena_free(s->arena, l->now);
	arena_free(s->arena, l->was);
	arena_free(s->arena, l->set);
	arena_free(s->arena, l->edited);
	arena_free(s->arena, l->item);
	arena_free(s->arena, l->path);
	arena_free(s->arena, l);
}

int
leak_make(struct shard *s, struct shard_leak **out)
{
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);
	int err = 0;

	*out = l;
	if (l != NULL)
		return 0;
	l = arena_calloc(s->arena, sizeof(*l));
	if (l == NULL)
		return -ENOMEM;
	l->now = arena_alloc(s->arena, SHARD_INSTANCES_MAX * sizeof(*l->now));
	l->was = arena_alloc(s->arena, SHARD_INSTANCES_MAX * sizeof(*l->was));
	l->set = arena_alloc(s->arena, ATTR_SET_MAX);
	l->edited = arena_alloc(s->arena, ATTR_SET_MAX);
	if (l->now == NULL || l->was == NULL || l->set == NULL || l->edited == NULL)
		err = -ENOMEM;
	if (err == 0)
		err = leak_index_create(s->arena, &l->importers);
	if (err == 0)
		err = leak_index_create(s->arena, &l->exporters);
	if (err == 0)
		err = leak_origins_create(s->arena, &l->origins);
	for (unsigned i = 0; err == 0 && i < 2; i++)
		err = leak_places_create(s->arena, &l->places[i]);
	if (err != 0) {
		leak_free(s, l);
		return err;
	}
	/* release: pairs with the acquire in instance_of */
	atomic_store_explicit(&s->leak, l, memory_order_release);
	*out = l;
	return 0;
}

void
leak_fini(struct shard *s)
{
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);

	if (l == NULL)
		return;
	atomic_store_explicit(&s->leak, NULL, memory_order_relaxed);
	leak_free(s, l);
}

/* ---- targets ---- */

/* Writes the importing instances of a set to `out` (room for all), and returns their number. */
static unsigned
match_compute(const struct shard *s, struct shard_leak *l, struct attr_id set, struct vrf_id *out)
{
	unsigned values, count = 0;
	const uint8_t *at = attr_packed_ext_communities(attr_get(s->attrs, set), &values);

	l->mark++;
	for (unsigned i = 0; i < values; i++, at += 8) {
		struct ext_community c = ext_community_get(at);
		const struct vrf_id *list;
		unsigned listed;

		if (!ext_community_is(c, EXT_ROUTE_TARGET))
			continue;
		list = leak_index_find(l->importers, c.v, &listed);
		for (unsigned k = 0; k < listed; k++) {
			struct instance *x = instance_of(s, list[k]);

			if (x->mark == l->mark)
				continue;
			x->mark = l->mark;
			out[count++] = list[k];
		}
	}
	return count;
}

unsigned
leak_match(const struct shard *s, struct shard_leak *l, struct attr_id set, struct vrf_id *out)
{
	struct match *m = &l->match[set.v % MATCHES];
	uint32_t serial = attr_serial(s->attrs, set);

	if (set.v == 0)
		return 0;
	if (m->set != set.v || m->serial != serial || m->version != l->version ||
		m->count > MATCH_VRFS) {
		unsigned count = match_compute(s, l, set, out);

		*m = (struct match){.set = set.v,
			.serial = serial,
			.version = l->version,
			.count = (uint16_t)count};
		if (count <= MATCH_VRFS)
			memcpy(m->vrf, out, count * sizeof(*out));
		return count;
	}
	memcpy(out, m->vrf, m->count * sizeof(*out));
	return m->count;
}

bool
leak_places_crowded(struct shard *s, const struct shard_leak *l)
{
	static const enum family families[] = {FAMILY_VPNV4_UNICAST, FAMILY_VPNV6_UNICAST};
	uint64_t places = 0, words = 0, routes = PLACES_SPARE;

	for (unsigned i = 0; i < 2; i++) {
		const struct shard_table *t = shard_table_of(s, VRF_DEFAULT, families[i]);

		places += leak_places_count(l->places[i]);
		words += leak_places_words(l->places[i]);
		routes += t != NULL ? dest_count(t->dests) : 0;
	}
	return places > routes || words > routes;
}

void
leak_places_note(struct shard *s, struct shard_leak *l, const struct shard_table *t,
	struct dest_id id, const struct rib_path *p)
{
	uint32_t serial, block = id.v / LEAK_BLOCK_IDS;
	const uint8_t *at;
	unsigned values;

	if (l->places_are == PLACES_UNKNOWN || (p->label_flags & PATH_REJECTED))
		return;
	serial = attr_serial(s->attrs, p->accepted);
	if (l->placed.set == p->accepted.v && l->placed.serial == serial &&
		l->placed.block == block && l->placed.table == t->id.v)
		return;
	at = attr_packed_ext_communities(attr_get(s->attrs, p->accepted), &values);
	for (unsigned i = 0; i < values; i++, at += 8) {
		struct ext_community c = ext_community_get(at);

		if (ext_community_is(c, EXT_ROUTE_TARGET) &&
			leak_places_add(l->places[places_index(t)], c.v, block) != 0)
			l->places_are = PLACES_UNKNOWN;
	}
	if (l->places_are == PLACES_UNKNOWN || leak_places_crowded(s, l)) {
		l->places_are = PLACES_UNKNOWN; /* until the next pass over all */
		leak_places_clear(l->places[0]);
		leak_places_clear(l->places[1]);
	}
	l->placed.set = p->accepted.v;
	l->placed.serial = serial;
	l->placed.block = block;
	l->placed.table = t->id.v;
}

bool
leak_stores(struct shard *s, const struct shard_table *t, const struct shard_peer_slot *slot,
	struct attr_id accepted)
{
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);

	return t->leak != LEAK_VPN || !s->vpn_imported_only || !slot->refreshes ||
	       leak_match(s, l, accepted, l->was) > 0;
}

void
shard_vpn_imported_only(struct shard *s, bool on)
{
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);

	if (s->vpn_imported_only == on)
		return;
	s->vpn_imported_only = on;
	if (l != NULL)
		l->drop_due |= on;
}

/* ---- origins ---- */

bool
shard_path_origin(const struct shard *s, const struct rib_path *p, struct leak_origin *out)
{
	/* acquire: pairs with the release in leak_make */
	const struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_acquire);

	return is_imported(p) && l != NULL && leak_origin_get(l->origins, p->path_id, out);
}

void
path_identity(const struct shard *s, const struct rib_path *p, struct decision_input *out)
{
	struct leak_origin origin;

	out->rd = 0;
	out->path_id = p->path_id;
	if (is_imported(p) && shard_path_origin(s, p, &origin)) {
		out->rd = origin.rd.v;
		out->path_id = origin.path_id;
	}
}

void
leak_path_counts(struct shard *s, struct shard_table *t, const struct rib_path *p, int by)
{
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);
	struct leak_origin o;

	if (leak_origin_get(l->origins, p->path_id, &o) && o.vrf.v != VRF_DEFAULT.v)
		t->locals += (unsigned)by;
	if (by > 0)
		leak_origin_ref(l->origins, p->path_id);
	else
		leak_origin_unref(l->origins, p->path_id);
}

/* ---- the list ---- */

int
leak_list_room(struct shard *s, unsigned n)
{
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);
	struct item *grown;
	unsigned size;

	if (l->head + l->count + n <= l->size)
		return 0;
	if (l->head > 0) {
		memmove(l->item, l->item + l->head, l->count * sizeof(*l->item));
		l->head = 0;
	}
	size = l->size > 0 ? l->size : LIST_MIN;
	while (size < l->count + n)
		size *= 2;
	if (size == l->size)
		return 0;
	grown = arena_realloc(s->arena, l->item, size * sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	l->item = grown;
	l->size = size;
	return 0;
}

struct item *
leak_item_push(
	struct shard *s, struct shard_leak *l, const struct shard_table *t, struct dest_id id)
{
	struct item *i = &l->item[l->head + l->count++];
	struct dest_view view;

	(void)dest_peek_best(t->dests, id, &view);
	*i = (struct item){.prefix = view.prefix, .rd = view.rd, .id = id, .table = t->id};
	i->bulk = s->bulk;
	return i;
}

/* The path of the same peer; NULL: none. */
static const struct rib_path *
counterpart(const struct rib_path *p, const struct rib_path *list, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (is_of(&list[i], p->peer, p->path_id))
			return &list[i];
	return NULL;
}

static void
vpn_note(struct shard *s, const struct shard_table *t, struct dest_id id,
	const struct rib_path *was, const struct rib_path *now) RUNS_ON(role_rib)
{
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);
	const struct rib_path *p = was != NULL ? was : now;
	struct attr_id old = was != NULL ? was->accepted : (struct attr_id){0},
		       set = now != NULL ? now->accepted : (struct attr_id){0};
	struct item *i;

	if (p->peer.v == PEER_SELF.v)
		return; /* by leak_own_apply() */
	if (was != NULL && now != NULL && old.v == set.v &&
		(was->label_flags ^ now->label_flags) >> 12 == 0)
		return;
	if (leak_match(s, l, old, l->was) == 0 && leak_match(s, l, set, l->now) == 0)
		return;
	i = leak_item_push(s, l, t, id);
	i->kind = ITEM_VPN;
	i->peer = p->peer;
	i->path_id = p->path_id;
	i->old = old;
	if (old.v != 0)
		attr_ref(s->attrs, old, 1);
}

void
leak_changed(
	struct shard *s, struct shard_table *t, struct dest_id id, const struct shard_change *c)
{
	const struct rib_path *take = s->take, *drop = s->drop;
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);

	if (t->leak == LEAK_OWN && c->own)
		leak_item_push(s, l, t, id)->kind = ITEM_OWN;
	if (t->leak != LEAK_VPN)
		return;
	for (unsigned i = 0; i < c->drop; i++)
		vpn_note(s, t, id, &drop[i], counterpart(&drop[i], take, c->take));
	for (unsigned i = 0; i < c->take; i++) {
		leak_places_note(s, l, t, id, &take[i]);
		if (counterpart(&take[i], drop, c->drop) == NULL)
			vpn_note(s, t, id, NULL, &take[i]);
	}
}

bool
leak_pending(const struct shard *s)
{
	const struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);

	return l != NULL && l->count > 0;
}

bool
leak_list_run(struct shard *s, uint64_t deadline_ns)
{
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);

	if (l->crowds.count > 0 && leak_crowds_run(s, l, 0, deadline_ns) && l->count == 0)
		return true;
	if (l->count == 0)
		return false;
	s->alone = true; /* imported paths are in sets that are never shared */
	for (unsigned n = 1; l->count > 0; n++) {
		struct item item = l->item[l->head]; /* the list may grow meanwhile */
		int err;

		s->bulk = item.bulk;
		err = item.kind == ITEM_OWN ? leak_own_apply(s, l, &item)
					    : leak_vpn_apply(s, l, &item);
		if (err != 0)
			break;
		if (item.old.v != 0)
			attr_unref(s->attrs, item.old, 1);
		l->head++;
		if (--l->count == 0)
			l->head = 0;
		if (leak_crowds_due(l) && leak_crowds_run(s, l, 0, deadline_ns))
			break;
		s->alone = true;
		if (n % CLOCK_EVERY == 0 && walk_clock() >= deadline_ns)
			break;
	}
	s->alone = false;
	s->bulk = 0;
	reuse_end(s);
	return l->count > 0 || leak_crowds_due(l);
}
