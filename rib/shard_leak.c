/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Leaks routes between the VPN tables and the instances of a shard by route targets (RFC 4364 4.3).
 * docs/decisions/0023 has the reasons.
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
#include "rib/leak.h"
#include "rib/shard_impl.h"

#include <errno.h>
#include <string.h>

#define LIST_MIN 256u
#define SCAN_IDS 256u /* destinations of a slice */
#define CLOCK_EVERY 32u /* items between two looks at the clock */
#define PLACES_SPARE 1024u
#define RETRY_NS 1000000000u /* between two attempts to import refused routes */

struct instance {
	struct vrf_id vrf;
	/*
	 * rd: under which routes are exported; old_rd: a scan withdraws the exports under this RD, each
	 * after the export under `rd`; next_rd: as configured. 0: none.
	 */
	struct vpn_rd rd, old_rd, next_rd;
	uint32_t label, max_routes;
	unsigned import_count, export_count;
	struct ext_community *targets; /* import, then export */
	const struct policy *import_policy, *export_policy;
	bool exists, leaving;
	bool scan_due, fill_due, filling;
	bool export_due; /* own paths wait for the scan: exports are those before the change */
	uint32_t mark; /* equals shard_leak.mark for members of the current set */
	/*
	 * refused: routes without room, as counted by the last fill and since; recount: of the present
	 * fill; recount_due: refused routes came or went since
	 */
	bool recount_due;
	uint64_t recount;
	_Atomic uint64_t exported, refused;
};

enum item_kind {
	ITEM_VPN, /* a path of a peer in a VPN table */
	ITEM_OWN, /* the own paths of a destination of an instance */
};

struct item {
	struct prefix prefix;
	uint8_t kind;
	bool bulk;
	struct peer_id peer;
	struct dest_id id; /* a guess */
	struct table_id table;
	struct vpn_rd rd;
	uint32_t path_id;
	struct attr_id old; /* with a reference; .v == 0: there was no path */
};

/* The importing instances of a set. */
#define MATCHES 1024u
#define MATCH_VRFS 9u
struct match {
	uint32_t set, serial, version; /* key; set 0: empty */
	uint16_t count; /* above MATCH_VRFS: not stored */
	struct vrf_id vrf[MATCH_VRFS];
};
static_assert(sizeof(struct match) == 32, "two in a cache line");

struct shard_leak {
	_Atomic(struct instance *) instance[SHARD_INSTANCES_MAX]; /* never freed before the shard */
	unsigned instances; /* existing */
	struct leak_index *importers; /* of a route target */
	struct leak_index *exporters; /* of an RD */
	struct leak_origins *origins;
	uint32_t version; /* of `importers` */
	uint32_t mark;
	struct match match[MATCHES];

	struct item *item;
	unsigned head, count, size; /* items head .. head + count - 1 */

	unsigned scans_due, fills_due; /* instances */
	bool drop_due; /* a fill is due for routes without an instance alone */
	unsigned refusing; /* instances with refused routes */
	uint64_t retry_ns;
	unsigned scan_turn;
	struct instance *scanning; /* NULL: no scan */
	unsigned scan_family; /* enum family */
	struct walk scan;
	bool filling;
	unsigned fill_family;
	struct walk fill;
	/* a pass over some blocks alone: bits of the present table; NULL: over all */
	bool fill_all;
	bool visiting; /* the pass is at a destination */
	uint64_t *fill_blocks;
	unsigned fill_words;
	uint32_t fill_block, fill_limit; /* the next block; end of the ids */

	/*
	 * Where the VPN tables have routes of a target, by table: complete (PLACES_KNOWN) after a pass
	 * over all, which began with PLACES_GROW.
	 */
	enum { PLACES_UNKNOWN, PLACES_GROW, PLACES_KNOWN } places_are;
	struct leak_places *places[2]; /* VPNv4, VPNv6 */
	struct {
		uint32_t set, serial, block;
		uint16_t table;
	} placed; /* last */

	/* scratch */
	struct vrf_id *now, *was; /* SHARD_INSTANCES_MAX */
	struct rib_path *path;
	unsigned path_size;
	struct attr_set *set, *edited; /* ATTR_SET_MAX */
	/* the last import and export policy that ran, for prefixes with the same set */
	struct last_policy {
		const struct instance *x; /* NULL: none */
		uint32_t set, serial, version;
		struct peer_id peer;
		struct attr_id result; /* with a reference; .v == 0: denied */
	} exported;
};

/* ---- instances ---- */

static struct instance *
instance_of(const struct shard *s, struct vrf_id vrf)
{
	const struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_acquire);

	if (l == NULL || vrf.v >= SHARD_INSTANCES_MAX)
		return NULL;
	/* acquire: pairs with the release in instance_make */
	return atomic_load_explicit(&l->instance[vrf.v], memory_order_acquire);
}

static enum family
unicast_of(uint8_t afi)
{
	return afi == AFI_IPV4 ? FAMILY_IPV4_UNICAST : FAMILY_IPV6_UNICAST;
}

static enum family
vpn_of(uint8_t afi)
{
	return afi == AFI_IPV4 ? FAMILY_VPNV4_UNICAST : FAMILY_VPNV6_UNICAST;
}

static int
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
	/* release: pairs with the acquire in instance_of */
	atomic_store_explicit(&s->leak, l, memory_order_release);
	if (err != 0)
		leak_fini(s);
	*out = l;
	return err;
}

void
leak_fini(struct shard *s)
{
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);

	if (l == NULL)
		return;
	atomic_store_explicit(&s->leak, NULL, memory_order_relaxed);
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
	arena_free(s->arena, l->fill_blocks);
	arena_free(s->arena, l->now);
	arena_free(s->arena, l->was);
	arena_free(s->arena, l->set);
	arena_free(s->arena, l->edited);
	arena_free(s->arena, l->item);
	arena_free(s->arena, l->path);
	arena_free(s->arena, l);
}

void
leak_table_mark(struct shard *s, struct shard_table *t)
{
	const struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);
	const struct instance *x = instance_of(s, t->vrf);

	t->leak = LEAK_NOTHING;
	if (family_safi(t->family) == SAFI_VPN)
		t->leak = l != NULL && l->instances > 0 ? LEAK_VPN : LEAK_NOTHING;
	else if (x != NULL && x->exists)
		t->leak = LEAK_OWN;
}

static void
tables_mark(struct shard *s, struct vrf_id vrf)
{
	static const enum family all[] = {FAMILY_IPV4_UNICAST, FAMILY_IPV6_UNICAST,
		FAMILY_VPNV4_UNICAST, FAMILY_VPNV6_UNICAST};

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct shard_table *t = shard_table_of(
			s, family_safi(all[i]) == SAFI_VPN ? VRF_DEFAULT : vrf, all[i]);

		if (t != NULL)
			leak_table_mark(s, t);
	}
}

static void
exported_forget(struct shard *s, struct shard_leak *l)
{
	if (l->exported.x != NULL && l->exported.result.v != 0)
		attr_unref(s->attrs, l->exported.result);
	l->exported.x = NULL;
}

/* Routes follow: all caches of matches and policies end here. */
static void
instance_changed(struct shard *s, struct shard_leak *l, struct instance *x)
{
	l->version++;
	exported_forget(s, l);
	l->scans_due += !x->scan_due;
	l->fills_due += !x->fill_due;
	x->scan_due = x->fill_due = x->export_due = true;
	tables_mark(s, x->vrf);
}

static void
scan_again(struct shard_leak *l, struct instance *x)
{
	l->scans_due += !x->scan_due;
	x->scan_due = true;
}

static void
refused_set(struct shard_leak *l, struct instance *x, uint64_t count)
{
	l->refusing += (count > 0) - (shard_load(&x->refused) > 0);
	atomic_store_explicit(&x->refused, count, memory_order_relaxed);
}

static bool
imports(const struct instance *x, uint64_t target)
{
	for (unsigned i = 0; i < x->import_count; i++)
		if (x->targets[i].v == target)
			return true;
	return false;
}

/* Lists the instance for targets[0 .. count-1]. 0; -ENOMEM: nothing changed. */
static int
targets_list(struct shard_leak *l, const struct instance *x, const struct ext_community *targets,
	unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (leak_index_add(l->importers, targets[i].v, x->vrf) == 0)
			continue;
		while (i-- > 0)
			if (!imports(x, targets[i].v))
				leak_index_remove(l->importers, targets[i].v, x->vrf);
		return -ENOMEM;
	}
	return 0;
}

/* Ends the listing for targets that are not among targets[0 .. count-1]. */
static void
targets_unlist(struct shard *s, struct shard_leak *l, const struct instance *x,
	const struct ext_community *targets, unsigned count)
{
	for (unsigned i = 0; i < x->import_count; i++) {
		bool stays = false;

		for (unsigned k = 0; k < count; k++)
			stays |= targets[k].v == x->targets[i].v;
		if (stays)
			continue;
		leak_index_remove(l->importers, x->targets[i].v, x->vrf);
		l->drop_due |= s->vpn_imported_only;
	}
}

static int
instance_make(struct shard *s, struct shard_leak *l, struct vrf_id vrf, struct instance **out)
{
	struct instance *x = atomic_load_explicit(&l->instance[vrf.v], memory_order_relaxed);

	if (x == NULL) {
		x = arena_calloc(s->arena, sizeof(*x));
		if (x == NULL)
			return -ENOMEM;
		x->vrf = vrf;
		/* release: pairs with the acquire in instance_of */
		atomic_store_explicit(&l->instance[vrf.v], x, memory_order_release);
	}
	*out = x;
	return 0;
}

/* True if an instance has routes under this RD. */
static bool
rd_taken(const struct shard *s, const struct shard_leak *l, struct vpn_rd rd)
{
	unsigned count;
	const struct vrf_id *list = leak_index_find(l->exporters, rd.v, &count);

	for (unsigned i = 0; i < count; i++) {
		const struct instance *x = instance_of(s, list[i]);

		if (x->rd.v == rd.v || x->old_rd.v == rd.v)
			return true;
	}
	return false;
}

/* Ends the listing of the instance under an RD out of use. */
static void
rd_unlist(struct shard_leak *l, const struct instance *x, struct vpn_rd rd)
{
	if (rd.v != 0 && rd.v != x->rd.v && rd.v != x->old_rd.v && rd.v != x->next_rd.v)
		leak_index_remove(l->exporters, rd.v, x->vrf);
}

/*
 * Before a scan: takes the configured RD. The scan exports each own path under the new RD, and then
 * withdraws the export under the old RD. An RD has one instance at a time. So an instance whose new RD
 * still has routes of another instance withdraws its exports, and waits: two instances may exchange
 * their RDs.
 */
static void
rd_take(const struct shard *s, const struct shard_leak *l, struct instance *x)
{
	if (x->rd.v == x->next_rd.v || x->old_rd.v != 0)
		return;
	x->old_rd = x->rd;
	x->rd.v = 0;
	if (!rd_taken(s, l, x->next_rd))
		x->rd = x->next_rd;
}

/* After a scan: no export under the old RD is left. The scan of a waiting instance takes the RD. */
static void
rd_release(const struct shard *s, struct shard_leak *l, struct instance *x)
{
	struct vpn_rd old = x->old_rd;
	const struct vrf_id *list;
	unsigned count;

	if (old.v == 0)
		return;
	x->old_rd.v = 0;
	rd_unlist(l, x, old);
	list = leak_index_find(l->exporters, old.v, &count);
	for (unsigned i = 0; i < count; i++)
		scan_again(l, instance_of(s, list[i]));
}

int
shard_instance_set(struct shard *s, const struct shard_instance *i)
{
	struct vpn_rd rd = i->label != RIB_LABEL_NONE ? i->rd : (struct vpn_rd){0}, old;
	unsigned count = i->import_count + i->export_count;
	struct ext_community *targets;
	struct shard_leak *l;
	struct instance *x;
	int err;

	if (i->vrf.v == VRF_DEFAULT.v || i->vrf.v >= SHARD_INSTANCES_MAX)
		return -EINVAL;
	err = leak_make(s, &l);
	if (err == 0)
		err = instance_make(s, l, i->vrf, &x);
	if (err != 0)
		return err;
	/* also when memory is missing below: the caller frees the old policies */
	x->import_policy = i->import_policy;
	x->export_policy = i->export_policy;
	targets = arena_alloc(s->arena, (count + 1) * sizeof(*targets));
	if (targets == NULL)
		return -ENOMEM;
	for (unsigned k = 0; k < count; k++)
		targets[k] = k < i->import_count ? i->import_targets[k]
						 : i->export_targets[k - i->import_count];
	if (rd.v != 0)
		err = leak_index_add(l->exporters, rd.v, i->vrf);
	if (err == 0)
		err = targets_list(l, x, targets, i->import_count);
	if (err != 0) {
		rd_unlist(l, x, rd);
		arena_free(s->arena, targets);
		return err;
	}
	targets_unlist(s, l, x, targets, i->import_count);
	arena_free(s->arena, x->targets);
	x->targets = targets;
	x->import_count = i->import_count;
	x->export_count = i->export_count;
	x->label = i->label;
	x->max_routes = i->max_routes;
	old = x->next_rd;
	x->next_rd = rd;
	rd_unlist(l, x, old);
	l->instances += !x->exists;
	x->leaving = false;
	x->exists = true;
	instance_changed(s, l, x);
	return 0;
}

static bool
asks_group(const struct policy *p)
{
	return p != NULL && policy_uses_group(p);
}

void
leak_group_changed(struct shard *s)
{
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);

	for (uint16_t i = 0; l != NULL && i < SHARD_INSTANCES_MAX; i++) {
		struct instance *x = instance_of(s, (struct vrf_id){i});

		if (x != NULL && x->exists &&
			(asks_group(x->import_policy) || asks_group(x->export_policy)))
			instance_changed(s, l, x);
	}
}

int
shard_instance_remove(struct shard *s, struct vrf_id vrf)
{
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);
	struct instance *x = instance_of(s, vrf);
	struct vpn_rd old;

	if (x == NULL || !x->exists)
		return -ENOENT;
	targets_unlist(s, l, x, NULL, 0);
	x->import_count = x->export_count = 0;
	old = x->next_rd;
	x->next_rd.v = 0;
	rd_unlist(l, x, old);
	x->leaving = true;
	instance_changed(s, l, x);
	return 0;
}

/* After the last scan: the instance has no import and no export. */
static void
instance_end(struct shard *s, struct shard_leak *l, struct instance *x)
{
	x->exists = x->leaving = false;
	x->import_policy = x->export_policy = NULL;
	if (x->fill_due)
		l->fills_due--;
	x->fill_due = x->filling = x->export_due = false;
	refused_set(l, x, 0);
	l->instances--;
	l->drop_due |= s->vpn_imported_only;
	if (l->instances == 0)
		l->places_are = PLACES_UNKNOWN; /* changes of VPN tables are noted no more */
	tables_mark(s, x->vrf);
}

bool
shard_instance_idle(const struct shard *s, struct vrf_id vrf)
{
	const struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);
	const struct instance *x = instance_of(s, vrf);

	if (x == NULL || !x->exists)
		return true;
	return !x->leaving && x->rd.v == x->next_rd.v && x->old_rd.v == 0 && !x->scan_due &&
	       !x->fill_due && !x->filling && l->scanning != x && l->count == 0;
}

void
shard_instance_counts(const struct shard *s, struct vrf_id vrf, struct shard_instance_counts *out)
{
	const struct instance *x = instance_of(s, vrf);
	static const uint8_t afis[] = {AFI_IPV4, AFI_IPV6};

	*out = (struct shard_instance_counts){0};
	if (x == NULL)
		return;
	for (unsigned i = 0; i < 2; i++) {
		struct table_id id;

		if (shard_table_find(s, vrf, unicast_of(afis[i]), &id) == 0)
			out->imported +=
				shard_load(&shard_table_at(s, id.v)->imports.counts.received);
	}
	out->exported = shard_load(&x->exported);
	out->refused = shard_load(&x->refused);
}

bool
shard_path_origin(const struct shard *s, const struct rib_path *p, struct leak_origin *out)
{
	/* acquire: pairs with the release in leak_make */
	const struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_acquire);

	return (p->label_flags & PATH_IMPORTED) && l != NULL &&
	       leak_origin_get(l->origins, p->path_id, out);
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

static unsigned
match(const struct shard *s, struct shard_leak *l, struct attr_id set, struct vrf_id *out)
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

static unsigned
places_index(const struct shard_table *t)
{
	return t->family == FAMILY_VPNV6_UNICAST;
}

/*
 * True if there are more places than routes: old places are too many, routes are scattered, or a
 * peer announces ever new targets.
 */
static bool
places_crowded(struct shard *s, const struct shard_leak *l)
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

/* Notes the place of a path for each of its targets. */
static void
places_note(struct shard *s, struct shard_leak *l, const struct shard_table *t, struct dest_id id,
	const struct rib_path *p)
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
	if (l->places_are == PLACES_UNKNOWN || places_crowded(s, l)) {
		l->places_are = PLACES_UNKNOWN; /* until the next pass over all */
		leak_places_clear(l->places[0]);
		leak_places_clear(l->places[1]);
	}
	l->placed.set = p->accepted.v;
	l->placed.serial = serial;
	l->placed.block = block;
	l->placed.table = t->id.v;
}

/* Marks the members of a set, for is_marked(). */
static void
mark_all(const struct shard *s, struct shard_leak *l, const struct vrf_id *list, unsigned count)
{
	l->mark++;
	for (unsigned i = 0; i < count; i++)
		instance_of(s, list[i])->mark = l->mark;
}

bool
leak_stores(struct shard *s, const struct shard_table *t, const struct shard_peer_slot *slot,
	struct attr_id accepted)
{
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);

	return t->leak != LEAK_VPN || !s->vpn_imported_only || !slot->refreshes ||
	       match(s, l, accepted, l->was) > 0;
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

static struct item *
item_push(struct shard *s, struct shard_leak *l, const struct shard_table *t, struct dest_id id)
{
	struct item *i = &l->item[l->head + l->count++];
	struct dest_view view;

	(void)dest_peek_best(t->dests, id, &view);
	*i = (struct item){.prefix = view.prefix, .rd = view.rd, .id = id, .table = t->id};
	i->bulk = s->bulk;
	return i;
}

static bool
same_path(const struct rib_path *a, const struct rib_path *b)
{
	return a->peer.v == b->peer.v && a->path_id == b->path_id;
}

/* The path of the same peer; NULL: none. */
static const struct rib_path *
counterpart(const struct rib_path *p, const struct rib_path *list, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (same_path(&list[i], p))
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
		return; /* by own_apply() */
	if (was != NULL && now != NULL && old.v == set.v &&
		(was->label_flags ^ now->label_flags) >> 12 == 0)
		return;
	if (match(s, l, old, l->was) == 0 && match(s, l, set, l->now) == 0)
		return;
	i = item_push(s, l, t, id);
	i->kind = ITEM_VPN;
	i->peer = p->peer;
	i->path_id = p->path_id;
	i->old = old;
	if (old.v != 0)
		attr_ref(s->attrs, old, 1);
}

void
leak_changed(struct shard *s, struct shard_table *t, struct dest_id id, const struct rib_path *take,
	unsigned takes, const struct rib_path *drop, unsigned drops, bool own)
{
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);

	if (t->leak == LEAK_OWN && own)
		item_push(s, l, t, id)->kind = ITEM_OWN;
	if (t->leak != LEAK_VPN)
		return;
	for (unsigned i = 0; i < drops; i++)
		vpn_note(s, t, id, &drop[i], counterpart(&drop[i], take, takes));
	for (unsigned i = 0; i < takes; i++) {
		places_note(s, l, t, id, &take[i]);
		if (counterpart(&take[i], drop, drops) == NULL)
			vpn_note(s, t, id, NULL, &take[i]);
	}
}

bool
leak_pending(const struct shard *s)
{
	const struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);

	return l != NULL && l->count > 0;
}

/* ---- imports ---- */

/* A path for import into instances. */
struct source {
	const struct prefix *prefix;
	struct leak_origin origin;
	struct rib_path path;
};

/* Destinations with a path of the instance, in all shards. */
static uint64_t
routes_of(const struct shard *s, const struct instance *x)
{
	static const uint8_t afis[] = {AFI_IPV4, AFI_IPV6};
	uint64_t count = 0;

	for (unsigned k = 0; k < SHARDS_MAX; k++) {
		const struct shard *one = s->config.siblings != NULL ? s->config.siblings[k]
					  : k == 0		     ? s
								     : NULL;
		struct table_id id;

		if (one == NULL)
			break;
		for (unsigned i = 0; i < 2; i++)
			if (shard_table_find(one, x->vrf, unicast_of(afis[i]), &id) == 0)
				count += dest_count(shard_table(one, id));
	}
	return count;
}

static bool
limit_reached(const struct shard *s, const struct instance *x, const struct shard_table *t,
	const struct prefix *p)
{
	struct dest_id id;
	struct dest_view view;

	if (x->max_routes == 0 || routes_of(s, x) < x->max_routes)
		return false;
	id = dest_find(t->dests, p);
	return id.v == DEST_NONE || !dest_peek_best(t->dests, id, &view) || view.paths == NULL;
}

/* A route is refused, perhaps again. */
static void
refused_add(struct shard_leak *l, struct instance *x)
{
	x->recount += x->filling;
	if (x->filling && shard_load(&x->refused) >= x->recount)
		return; /* fill_end() sets the number */
	refused_set(l, x, shard_load(&x->refused) + 1);
}

/* Removes the imported path of a source. 0, -ENOMEM. */
static int
import_drop(struct shard *s, struct shard_leak *l, struct instance *x, const struct source *src)
	RUNS_ON(role_rib)
{
	struct shard_table *t = shard_table_of(s, x->vrf, unicast_of(src->prefix->afi));
	uint32_t number = leak_origin_find(l->origins, &src->origin);

	x->recount_due = true; /* the path may be a refused one */
	if (t == NULL || number == 0)
		return 0;
	return path_import(s, t, src->path.peer, src->prefix, number, RIB_LABEL_NONE, NULL);
}

/*
 * Removes imported paths with the origin of `src` and another peer: a local instance has one
 * exported path a destination, of any peer. 0, -ENOMEM.
 */
static int
import_drop_others(struct shard *s, struct shard_leak *l, struct instance *x,
	const struct source *src) RUNS_ON(role_rib)
{
	struct shard_table *t = shard_table_of(s, x->vrf, unicast_of(src->prefix->afi));
	uint32_t number = leak_origin_find(l->origins, &src->origin);
	struct dest_view view;
	struct dest_id id;
	bool found = true;

	x->recount_due = true; /* as in import_drop() */
	if (t == NULL || number == 0)
		return 0;
	id = dest_find(t->dests, src->prefix);
	while (found && id.v != DEST_NONE && dest_peek(t->dests, id, &view) && view.paths != NULL) {
		found = false;
		for (unsigned i = 0; !found && i < view.paths->count; i++) {
			const struct rib_path *p = &view.paths->path[i];
			int err;

			if (!(p->label_flags & PATH_IMPORTED) || p->path_id != number ||
				p->peer.v == src->path.peer.v)
				continue;
			found = true;
			err = path_import(s, t, p->peer, src->prefix, number, RIB_LABEL_NONE, NULL);
			if (err != 0)
				return err;
			number = leak_origin_find(l->origins, &src->origin);
			if (number == 0)
				return 0;
		}
	}
	return 0;
}

static enum route_source
source_of(const struct shard *s, const struct rib_path *p)
{
	if (p->peer.v == PEER_SELF.v)
		return (enum route_source)rib_path_source(p);
	return atomic_load_explicit(&shard_slot(s, p->peer)->external, memory_order_relaxed)
		       ? SOURCE_EXTERNAL
		       : SOURCE_INTERNAL;
}

/*
 * The import policy of the instance: *acc has a reference with *held. 0; -EPERM: denied; -ENOMEM.
 */
static int
import_evaluate_policy(struct shard *s, const struct instance *x, const struct shard_table *t,
	const struct source *src, struct shard_accepted *acc, bool *held) RUNS_ON(role_rib)
{
	const struct shard_peer *key =
		atomic_load_explicit(&shard_slot(s, src->path.peer)->key, memory_order_relaxed);
	struct policy_context context = {.peer = key->addr,
		.peer_asn = key->asn,
		.peer_group = key->group_key,
		.family = t->family,
		.source = source_of(s, &src->path)};
	struct policy_verdict v = {.permit = true};
	const struct shard_next_hop *n;
	int err;

	*held = true;
	if (x->import_policy == policy_deny_all())
		return -EPERM;
	if (x->import_policy != NULL && x->import_policy != policy_accept_all()) {
		(void)attr_read(s->attrs, src->path.accepted, s->unpacked);
		err = policy_eval_begin(s->eval, x->import_policy, s->unpacked, &context);
		if (err == 0)
			err = policy_eval_prefix(s->eval, src->prefix, &v);
		if (err != 0)
			return err;
		if (!v.permit)
			return -EPERM;
		if (v.attrs != s->unpacked)
			return accepted_get(s, key->vrf, src->path.peer, NULL, v.attrs, acc);
	}
	if (src->origin.vrf.v != VRF_DEFAULT.v)
		return accepted_hold(s, key->vrf, src->path.peer, src->path.accepted, acc);
	/* the source holds the set and the next hop */
	*held = false;
	n = next_hop_of(s, key->vrf, &src->path);
	*acc = (struct shard_accepted){
		.id = src->path.accepted, .flags = src->path.label_flags & PATH_MED};
	if (next_hop_eligible(s, shard_slot(s, src->path.peer), src->path.peer, n))
		acc->flags |= PATH_NEXT_HOP_UP;
	return 0;
}

/* Imports a path; removes the imported path if policy now refuses the path. 0, -ENOMEM. */
static int
import_apply(struct shard *s, struct shard_leak *l, struct instance *x, const struct source *src)
	RUNS_ON(role_rib)
{
	struct shard_table *t = shard_table_of(s, x->vrf, unicast_of(src->prefix->afi));
	struct shard_accepted acc;
	uint32_t number;
	bool held;
	int err;

	if (t == NULL)
		return 0;
	/* the route may be counted as refused; a fill may count the route once more */
	x->recount_due |= !l->visiting;
	err = import_evaluate_policy(s, x, t, src, &acc, &held);
	if (err == -EPERM)
		return import_drop(s, l, x, src);
	if (err != 0)
		return err;
	if (limit_reached(s, x, t, src->prefix)) {
		refused_add(l, x);
	} else {
		err = leak_origin_hold(l->origins, &src->origin, &number);
		if (err == 0) {
			acc.flags |= PATH_IMPORTED;
			if (src->path.peer.v == PEER_SELF.v)
				acc.flags |= rib_path_source(&src->path) << PATH_SOURCE_SHIFT;
			err = path_import(s, t, src->path.peer, src->prefix, number,
				src->path.label_flags >> 12, &acc);
			leak_origin_unref(l->origins, number);
		}
	}
	if (held)
		accepted_put(s, &acc);
	return err;
}

/* ---- exports ---- */

/*
 * Copies `a` to `out`, with `strip` without its route targets, and adds missing targets. False: no
 * room.
 */
static bool
targets_edit(const struct attr_set *a, bool strip, const struct ext_community *add, unsigned adds,
	struct attr_set *out)
{
	const uint8_t *ext = attr_ext_communities(a);
	const uint8_t *rest = attr_large_communities(a);
	size_t rest_len = attr_set_var_len(a) - (size_t)(rest - a->var);
	uint8_t *first, *w;

	if (attr_set_size(a) + (size_t)8 * adds > ATTR_SET_MAX)
		return false;
	memcpy(out, a, sizeof(*a) + (size_t)(ext - a->var));
	w = first = out->var + (ext - a->var);
	for (unsigned i = 0; i < a->ext_community_count; i++, ext += 8) {
		if (strip && ext_community_is(ext_community_get(ext), EXT_ROUTE_TARGET))
			continue;
		memcpy(w, ext, 8);
		w += 8;
	}
	for (unsigned i = 0; i < adds; i++) {
		bool there = false;

		for (const uint8_t *at = first; at < w; at += 8)
			there |= ext_community_get(at).v == add[i].v;
		if (there)
			continue;
		ext_community_put(add[i], w);
		w += 8;
	}
	out->ext_community_count = (uint16_t)((w - first) / 8);
	memcpy(w, rest, rest_len);
	return true;
}

static bool
targets_any(const struct attr_set *a)
{
	const uint8_t *ext = attr_ext_communities(a);

	for (unsigned i = 0; i < a->ext_community_count; i++)
		if (ext_community_is(ext_community_get(ext + (size_t)8 * i), EXT_ROUTE_TARGET))
			return true;
	return false;
}

/*
 * The set under which an own path is exported, with a reference; .v == 0: export policy denies, or
 * neither the instance nor the policy has a target (RFC 4364 4.3.1). 0, -ENOMEM.
 */
static int
export_set(struct shard *s, struct shard_leak *l, const struct instance *x,
	const struct prefix *prefix, const struct rib_path *p, struct attr_id *out)
	RUNS_ON(role_rib)
{
	const struct shard_peer *key =
		atomic_load_explicit(&shard_slot(s, p->peer)->key, memory_order_relaxed);
	struct policy_context context = {.peer = key->addr,
		.peer_asn = key->asn,
		.peer_group = key->group_key,
		.family = vpn_of(prefix->afi),
		.source = source_of(s, p)};
	const struct policy *policy = x->export_policy;
	struct policy_verdict v = {.permit = policy != policy_deny_all(), .attrs = l->set};
	int err = 0;

	out->v = 0;
	(void)attr_read(s->attrs, p->accepted, s->unpacked);
	if (!targets_edit(s->unpacked, true, NULL, 0, l->set))
		return 0;
	if (policy != NULL && policy != policy_accept_all() && v.permit) {
		err = policy_eval_begin(s->eval, policy, l->set, &context);
		if (err == 0)
			err = policy_eval_prefix(s->eval, prefix, &v);
	}
	if (err != 0 || !v.permit)
		return err;
	if (!targets_edit(
		    v.attrs, false, x->targets + x->import_count, x->export_count, l->edited) ||
		!targets_any(l->edited))
		return 0;
	attr_table_owner(s->attrs, p->peer.v);
	err = attr_intern(s->attrs, l->edited, 1, out);
	return err == -E2BIG ? 0 : err;
}

/* export_set() with the last result, because prefixes often share a set. */
static int
export_set_cached(struct shard *s, struct shard_leak *l, const struct instance *x,
	const struct prefix *prefix, const struct rib_path *p, struct attr_id *out)
	RUNS_ON(role_rib)
{
	struct last_policy *last = &l->exported;
	uint32_t serial = attr_serial(s->attrs, p->accepted);
	int err;

	if (last->x == x && last->set == p->accepted.v && last->serial == serial &&
		last->version == l->version && last->peer.v == p->peer.v) {
		*out = last->result;
		if (out->v != 0)
			attr_ref(s->attrs, *out, 1);
		return 0;
	}
	err = export_set(s, l, x, prefix, p, out);
	if (err != 0 || (x->export_policy != NULL && policy_asks_prefix(x->export_policy)))
		return err;
	exported_forget(s, l);
	*last = (struct last_policy){.x = x,
		.set = p->accepted.v,
		.serial = serial,
		.version = l->version,
		.peer = p->peer,
		.result = *out};
	if (out->v != 0)
		attr_ref(s->attrs, *out, 1);
	return 0;
}

/*
 * The path that a local instance exports for a prefix, for the other local instances. 0; -ENOENT: no
 * path; -ENOMEM.
 */
static int
local_source(struct shard *s, const struct instance *x, const struct prefix *prefix,
	struct source *out) RUNS_ON(role_rib)
{
	struct shard_table *t = shard_table_of(s, x->vrf, unicast_of(prefix->afi)),
			   *vpn = shard_table_of(s, VRF_DEFAULT, vpn_of(prefix->afi));
	struct rib_path exported;
	struct dest_id id;
	int err;

	if (t == NULL || vpn == NULL || x->leaving)
		return -ENOENT;
	id = dest_find_rd(vpn->dests, x->rd, prefix);
	if (id.v == DEST_NONE || !path_read(vpn, id, PEER_SELF, 0, &exported))
		return -ENOENT;
	id = dest_find(t->dests, prefix);
	if (id.v == DEST_NONE)
		return -ENOENT;
	*out = (struct source){.prefix = prefix, .origin = {.rd = x->rd, .vrf = x->vrf}};
	err = path_best_own(s, t, id, &out->path);
	out->path.path_id = 0;
	out->path.accepted = exported.accepted;
	return err;
}

/* Announces or withdraws the exported path in the VPN table. 0, -ENOMEM. */
static int
export_publish(struct shard *s, struct instance *x, struct shard_table *vpn,
	const struct prefix *prefix, const struct rib_path *own, struct attr_id set, bool was)
	RUNS_ON(role_rib)
{
	struct rib_nlri n = {.prefix = *prefix, .rd = x->rd, .label = x->label};
	struct shard_accepted acc = {.id = set};
	int err;

	s->hint.v = DEST_NONE;
	if (set.v == 0) {
		err = was ? path_withdraw(s, vpn, PEER_SELF, &n, false, NULL) : 0;
	} else {
		acc.flags = PATH_NEXT_HOP_UP | (own->label_flags & PATH_MED) |
			    (uint32_t)source_of(s, own) << PATH_SOURCE_SHIFT;
		err = path_announce(s, vpn, PEER_SELF, &n, &acc);
	}
	if (err == 0)
		shard_count(&x->exported, (set.v != 0) - was);
	return err;
}

/* The exported path of a prefix under an RD; .accepted.v == 0: none. */
static struct rib_path
exported_path(const struct shard_table *vpn, struct vpn_rd rd, const struct prefix *prefix)
	RUNS_ON(role_rib)
{
	struct dest_id id = dest_find_rd(vpn->dests, rd, prefix);
	struct rib_path p = {.accepted = {0}};

	if (rd.v == 0 || id.v == DEST_NONE || !path_read(vpn, id, PEER_SELF, 0, &p))
		p.accepted.v = 0;
	return p;
}

/* Ends the export of a prefix under x->old_rd. 0, -ENOMEM. */
static int
export_end_old(struct shard *s, struct shard_leak *l, struct instance *x, struct shard_table *vpn,
	const struct prefix *prefix) RUNS_ON(role_rib)
{
	struct rib_nlri n = {.prefix = *prefix, .rd = x->old_rd};
	struct rib_path old = exported_path(vpn, x->old_rd, prefix);
	struct source none = {.prefix = prefix,
		.origin = {.rd = x->old_rd, .vrf = x->vrf},
		.path = {.peer = {PEER_MAX}}};
	unsigned was = match(s, l, old.accepted, l->was);
	int err = 0;

	for (unsigned i = 0; err == 0 && i < was; i++)
		if (l->was[i].v != x->vrf.v)
			err = import_drop_others(s, l, instance_of(s, l->was[i]), &none);
	if (err != 0 || old.accepted.v == 0)
		return err;
	s->hint.v = DEST_NONE;
	err = path_withdraw(s, vpn, PEER_SELF, &n, false, NULL);
	if (err == 0)
		shard_count(&x->exported, -1);
	return err;
}

/* Exports `src` with the set, also to local instances; a set 0 ends the export. 0, -ENOMEM. */
static int
export_apply(struct shard *s, struct shard_leak *l, struct instance *x, struct shard_table *vpn,
	struct source *src, struct attr_id set) RUNS_ON(role_rib)
{
	struct rib_path old = exported_path(vpn, x->rd, src->prefix);
	unsigned now = match(s, l, set, l->now), was = match(s, l, old.accepted, l->was);
	struct source none = *src;
	int err = 0;

	src->path.path_id = 0;
	src->path.accepted = set;
	for (unsigned i = 0; err == 0 && i < now; i++) {
		struct instance *to = instance_of(s, l->now[i]);

		if (to == x)
			continue;
		err = import_apply(s, l, to, src);
		if (err == 0)
			err = import_drop_others(s, l, to, src);
	}
	mark_all(s, l, l->now, now);
	none.path.peer.v = PEER_MAX;
	for (unsigned i = 0; err == 0 && i < was; i++) {
		struct instance *to = instance_of(s, l->was[i]);

		if (to != x && to->mark != l->mark)
			err = import_drop_others(s, l, to, &none);
	}
	if (err != 0)
		return err;
	return export_publish(s, x, vpn, src->prefix, &src->path, set, old.accepted.v != 0);
}

/* Exports the best own path of a destination, or ends its export. 0, -ENOMEM. */
static int
own_apply(struct shard *s, struct shard_leak *l, const struct item *item) RUNS_ON(role_rib)
{
	struct shard_table *t = shard_table_at(s, item->table.v),
			   *vpn = shard_table_of(s, VRF_DEFAULT, vpn_of(item->prefix.afi));
	struct instance *x = instance_of(s, t->vrf);
	struct attr_id set = {0};
	struct source src;
	struct dest_id id = item->id;
	int err = -ENOENT;

	if (x == NULL || !x->exists || vpn == NULL)
		return 0;
	src = (struct source){.prefix = &item->prefix, .origin = {.rd = x->rd, .vrf = x->vrf}};
	if (!dest_is(t->dests, id, item->rd, &item->prefix))
		id = dest_find(t->dests, &item->prefix);
	if (x->rd.v != 0 && !x->leaving && id.v != DEST_NONE)
		err = path_best_own(s, t, id, &src.path);
	if (err == 0)
		err = export_set_cached(s, l, x, &item->prefix, &src.path, &set);
	if (err != 0 && err != -ENOENT)
		return err;
	err = x->rd.v != 0 ? export_apply(s, l, x, vpn, &src, set) : 0;
	if (err == 0 && x->old_rd.v != 0)
		err = export_end_old(s, l, x, vpn, &item->prefix);
	if (set.v != 0)
		attr_unref(s->attrs, set);
	return err;
}

/* Imports a changed path of a VPN table, and ends the imports of the old path. 0, -ENOMEM. */
static int
vpn_apply(struct shard *s, struct shard_leak *l, const struct item *item) RUNS_ON(role_rib)
{
	const struct shard_table *t = shard_table_at(s, item->table.v);
	struct source src = {
		.prefix = &item->prefix, .origin = {.rd = item->rd, .path_id = item->path_id}};
	unsigned now = 0, was = match(s, l, item->old, l->was);
	struct dest_id id = item->id;
	int err = 0;

	if (!dest_is(t->dests, id, item->rd, &item->prefix))
		id = dest_find_rd(t->dests, item->rd, &item->prefix);
	if (id.v != DEST_NONE && path_read(t, id, item->peer, item->path_id, &src.path) &&
		!(src.path.label_flags & PATH_REJECTED))
		now = match(s, l, src.path.accepted, l->now);
	for (unsigned i = 0; err == 0 && i < now; i++)
		err = import_apply(s, l, instance_of(s, l->now[i]), &src);
	mark_all(s, l, l->now, now);
	src.path.peer = item->peer;
	for (unsigned i = 0; err == 0 && i < was; i++)
		if (instance_of(s, l->was[i])->mark != l->mark)
			err = import_drop(s, l, instance_of(s, l->was[i]), &src);
	return err;
}

bool
leak_list_run(struct shard *s, uint64_t deadline_ns)
{
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);

	if (l->count == 0)
		return false;
	s->alone = true; /* imported paths are in sets that are never shared */
	for (unsigned n = 1; l->count > 0; n++) {
		struct item item = l->item[l->head]; /* the list may grow meanwhile */
		int err;

		s->bulk = item.bulk;
		err = item.kind == ITEM_OWN ? own_apply(s, l, &item) : vpn_apply(s, l, &item);
		if (err != 0)
			break;
		if (item.old.v != 0)
			attr_unref(s->attrs, item.old);
		l->head++;
		if (--l->count == 0)
			l->head = 0;
		if (n % CLOCK_EVERY == 0 && walk_clock() >= deadline_ns)
			break;
	}
	s->alone = s->bulk = false;
	reuse_end(s);
	return l->count > 0;
}

/* ---- scans ---- */

struct visit {
	struct shard *s;
	struct shard_leak *l;
	struct instance *x; /* of a scan */
	struct shard_table *t;
	bool failed;
};

/*
 * Copies the paths of a destination to l->path: publishing may reuse the memory of the view. Returns
 * the number; -ENOMEM.
 */
static int
paths_copy(struct visit *v, struct dest_id id, const struct dest_view *view) RUNS_ON(role_rib)
{
	struct shard_leak *l = v->l;
	struct dest_view all;

	if (view->behind > 0) {
		if (!dest_peek(v->t->dests, id, &all) || all.paths == NULL)
			return 0;
		if (dest_expand(v->s, v->t, id, &all) != 0)
			return -ENOMEM;
		view = &all;
	}
	if (view->paths->count > l->path_size) {
		unsigned size = view->paths->count + 64u;
		struct rib_path *grown = arena_realloc(v->s->arena, l->path, size * sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		l->path = grown;
		l->path_size = size;
	}
	for (unsigned i = 0; i < view->paths->count; i++)
		l->path[i] = view->paths->path[i];
	return view->paths->count;
}

static bool
matches(struct shard *s, struct shard_leak *l, struct attr_id set, const struct instance *x)
{
	unsigned count = match(s, l, set, l->now);

	for (unsigned i = 0; i < count; i++)
		if (l->now[i].v == x->vrf.v)
			return true;
	return false;
}

/* Evaluates an imported path again from its source. 0, -ENOMEM. */
static int
import_again(struct visit *v, const struct prefix *prefix, const struct rib_path *p)
	RUNS_ON(role_rib)
{
	struct shard *s = v->s;
	struct source src = {.prefix = prefix};
	const struct shard_table *vpn;
	struct instance *from;
	struct dest_id id;
	bool there;
	int err = 0;

	if (!leak_origin_get(v->l->origins, p->path_id, &src.origin))
		return 0;
	if (src.origin.vrf.v == VRF_DEFAULT.v) {
		vpn = shard_table_of(s, VRF_DEFAULT, vpn_of(prefix->afi));
		id = vpn != NULL ? dest_find_rd(vpn->dests, src.origin.rd, prefix)
				 : (struct dest_id){DEST_NONE};
		there = id.v != DEST_NONE &&
			path_read(vpn, id, p->peer, src.origin.path_id, &src.path) &&
			!(src.path.label_flags & PATH_REJECTED);
	} else {
		from = instance_of(s, src.origin.vrf);
		if (from->export_due) {
			/* the new exports may keep the path; this scan repeats after theirs */
			scan_again(v->l, v->x);
			return 0;
		}
		if (from->exists && from->rd.v == src.origin.rd.v)
			err = local_source(s, from, prefix, &src);
		else
			err = -ENOENT;
		if (err != 0 && err != -ENOENT)
			return err;
		there = err == 0;
	}
	if (there && matches(s, v->l, src.path.accepted, v->x)) {
		err = import_apply(s, v->l, v->x, &src);
		if (err != 0 || src.path.peer.v == p->peer.v)
			return err;
	}
	src.path.peer = p->peer;
	return import_drop(s, v->l, v->x, &src);
}

static bool
scan_dest(void *ctx, struct dest_id id, const struct dest_view *view) RUNS_ON(role_rib)
{
	struct visit *v = ctx;
	bool own = false;
	int count;

	if (view->paths == NULL)
		return true;
	count = paths_copy(v, id, view);
	v->failed |= count < 0 || leak_room(v->s, v->t, 1) != 0;
	if (v->failed)
		return false;
	for (int i = 0; i < count; i++)
		own |= !(v->l->path[i].label_flags & PATH_IMPORTED);
	if (own && v->t->leak == LEAK_OWN)
		item_push(v->s, v->l, v->t, id)->kind = ITEM_OWN;
	for (int i = 0; i < count; i++)
		if (v->l->path[i].label_flags & PATH_IMPORTED)
			v->failed |= import_again(v, &view->prefix, &v->l->path[i]) != 0;
	return !v->failed;
}

/* The first table of the instance from l->scan_family on. */
static void
scan_table_begin(struct shard *s, struct shard_leak *l)
{
	for (; l->scan_family < FAMILY_COUNT; l->scan_family++) {
		const struct shard_table *t =
			shard_table_of(s, l->scanning->vrf, (enum family)l->scan_family);

		if (t == NULL || family_safi(t->family) == SAFI_VPN)
			continue;
		walk_begin(&l->scan, t->dests);
		return;
	}
}

/* The next instance with a changed configuration; NULL: none. */
static struct instance *
scan_next(struct shard_leak *l)
{
	for (unsigned i = 0; l->scans_due > 0 && i < SHARD_INSTANCES_MAX; i++) {
		struct instance *x = atomic_load_explicit(
			&l->instance[l->scan_turn++ % SHARD_INSTANCES_MAX], memory_order_relaxed);

		if (x != NULL && x->scan_due)
			return x;
	}
	return NULL;
}

/* All tables were visited and the list is empty. */
static void
scan_end(struct shard *s, struct shard_leak *l) RUNS_ON(role_rib)
{
	struct instance *x = l->scanning;

	l->scanning = NULL;
	if (x->scan_due)
		return; /* changed again during the scan */
	rd_release(s, l, x);
	if (x->rd.v != x->next_rd.v && !(x->rd.v == 0 && rd_taken(s, l, x->next_rd)))
		scan_again(l, x);
	else if (x->leaving)
		instance_end(s, l, x);
}

static void
scan_slice(struct shard *s, struct shard_leak *l, uint64_t deadline_ns) RUNS_ON(role_rib)
{
	struct visit v = {.s = s, .l = l};

	if (l->scanning == NULL) {
		l->scanning = scan_next(l);
		if (l->scanning == NULL)
			return;
		l->scanning->scan_due = l->scanning->export_due = false;
		l->scans_due--;
		rd_take(s, l, l->scanning);
		l->scan_family = 0;
		scan_table_begin(s, l);
	}
	if (l->scan_family == FAMILY_COUNT) {
		scan_end(s, l);
		return;
	}
	v.x = l->scanning;
	v.t = shard_table_of(s, v.x->vrf, (enum family)l->scan_family);
	if (walk_slice(&l->scan, SCAN_IDS, deadline_ns, walk_clock, scan_dest, &v) && !v.failed)
		return;
	if (v.failed) {
		scan_again(l, v.x); /* from the start, when there may be memory */
		v.x->export_due = true;
	}
	l->scan_family++;
	scan_table_begin(s, l);
}

/*
 * The source of a path of a VPN table. A path of this router has its source in the exporting instance. 0; -ENOENT: no instance; -ENOMEM.
 */
static int
source_find(struct visit *v, const struct dest_view *view, const struct rib_path *p,
	struct source *out) RUNS_ON(role_rib)
{
	const struct vrf_id *from;
	unsigned count;

	*out = (struct source){.prefix = &view->prefix,
		.origin = {.rd = view->rd, .path_id = p->path_id},
		.path = *p};
	if (p->peer.v != PEER_SELF.v)
		return 0;
	from = leak_index_find(v->l->exporters, view->rd.v, &count);
	for (unsigned i = 0; i < count; i++) {
		const struct instance *x = instance_of(v->s, from[i]);

		if (x->exists && x->rd.v == view->rd.v)
			return local_source(v->s, x, &view->prefix, out);
	}
	return -ENOENT;
}

static bool
fill_dest(void *ctx, struct dest_id id, const struct dest_view *view) RUNS_ON(role_rib)
{
	struct visit *v = ctx;
	struct shard_leak *l = v->l;
	int count;

	if (view->paths == NULL)
		return true;
	count = paths_copy(v, id, view);
	v->failed |= count < 0;
	for (int i = 0; i < count && !v->failed; i++) {
		const struct rib_path *p = &l->path[i];
		unsigned n =
			p->label_flags & PATH_REJECTED ? 0 : match(v->s, l, p->accepted, l->now);
		struct source src;
		int err = n > 0 ? source_find(v, view, p, &src) : -ENOENT;

		places_note(v->s, l, v->t, id, p);
		if (n == 0 && p->peer.v != PEER_SELF.v && p->received.v == 0 &&
			!leak_stores(v->s, v->t, shard_slot(v->s, p->peer), p->accepted)) {
			struct rib_nlri nlri = {
				.prefix = view->prefix, .rd = view->rd, .path_id = p->path_id};
			struct peer_id peer = p->peer;

			err = path_withdraw(v->s, v->t, peer, &nlri, false, NULL);
		}

		for (unsigned k = 0; err == 0 && k < n; k++) {
			struct instance *x = instance_of(v->s, l->now[k]);

			if (x->filling && x->vrf.v != src.origin.vrf.v)
				err = import_apply(v->s, l, x, &src);
		}
		v->failed |= err != 0 && err != -ENOENT;
	}
	return !v->failed;
}

/* The next range of ids to visit. False: none is left. */
static bool
fill_range_next(struct shard_leak *l)
{
	uint32_t end = l->fill_limit;

	if (l->fill_all)
		return false; /* the first range was all */
	for (; l->fill_block < 64 * l->fill_words; l->fill_block++) {
		uint32_t first = l->fill_block * LEAK_BLOCK_IDS;

		if (first >= end || !(l->fill_blocks[l->fill_block / 64] >> l->fill_block % 64 & 1))
			continue;
		l->fill.next = first;
		l->fill.end = end - first < LEAK_BLOCK_IDS ? end : first + LEAK_BLOCK_IDS;
		l->fill_block++;
		return true;
	}
	return false;
}

/* Begins the walk over a table: its blocks with routes of the waiting instances, or all ids. */
static void
fill_walk_begin(struct shard *s, struct shard_leak *l, const struct shard_table *t)
{
	unsigned words;

	walk_begin(&l->fill, t->dests);
	l->fill_limit = l->fill.end;
	l->fill_all |= l->places_are != PLACES_KNOWN; /* lost since the pass began */
	if (l->fill_all)
		return;
	words = l->fill_limit / LEAK_BLOCK_IDS / 64 + 1;
	arena_free(s->arena, l->fill_blocks);
	l->fill_blocks = arena_calloc(s->arena, words * sizeof(*l->fill_blocks));
	l->fill_words = words;
	l->fill_block = 0;
	if (l->fill_blocks == NULL) {
		l->fill_all = true;
		return;
	}
	for (unsigned i = 0; i < SHARD_INSTANCES_MAX; i++) {
		const struct instance *x =
			atomic_load_explicit(&l->instance[i], memory_order_relaxed);

		for (unsigned k = 0; x != NULL && x->filling && k < x->import_count; k++)
			leak_places_get(
				l->places[places_index(t)], x->targets[k].v, l->fill_blocks, words);
	}
	l->fill.next = l->fill.end = 0;
	(void)fill_range_next(l);
}

static void
fill_table_begin(struct shard *s, struct shard_leak *l)
{
	for (; l->fill_family < FAMILY_COUNT; l->fill_family++) {
		const struct shard_table *t =
			shard_table_of(s, VRF_DEFAULT, (enum family)l->fill_family);

		if (t == NULL || family_safi(t->family) != SAFI_VPN)
			continue;
		fill_walk_begin(s, l, t);
		return;
	}
}

/* A pass serves all instances that wait at its start. */
static void
fill_begin(struct shard *s, struct shard_leak *l)
{
	for (unsigned i = 0; i < SHARD_INSTANCES_MAX; i++) {
		struct instance *x = atomic_load_explicit(&l->instance[i], memory_order_relaxed);

		if (x == NULL || !x->fill_due)
			continue;
		x->fill_due = false;
		x->filling = true;
		x->recount = 0;
		x->recount_due = false;
	}
	l->fills_due = 0;
	l->fill_all = l->drop_due || l->places_are != PLACES_KNOWN || places_crowded(s, l);
	l->drop_due = false;
	l->filling = true;
	if (l->fill_all) {
		leak_places_clear(l->places[0]);
		leak_places_clear(l->places[1]);
		l->places_are = PLACES_GROW;
		l->placed.set = 0;
	}
	l->fill_family = 0;
	fill_table_begin(s, l);
}

static void
fill_end(struct shard_leak *l, bool failed)
{
	for (unsigned i = 0; i < SHARD_INSTANCES_MAX; i++) {
		struct instance *x = atomic_load_explicit(&l->instance[i], memory_order_relaxed);

		if (x == NULL || !x->filling)
			continue;
		x->filling = false;
		if (!failed)
			refused_set(l, x, x->recount);
		if (failed && !x->fill_due) {
			x->fill_due = true;
			l->fills_due++;
		}
	}
	l->filling = false;
	l->drop_due |= failed && l->fill_all;
	if (l->places_are == PLACES_GROW)
		l->places_are = failed ? PLACES_UNKNOWN : PLACES_KNOWN;
}

static void
fill_slice(struct shard *s, struct shard_leak *l, uint64_t deadline_ns) RUNS_ON(role_rib)
{
	struct visit v = {.s = s, .l = l};

	if (!l->filling)
		fill_begin(s, l);
	if (l->fill_family < FAMILY_COUNT) {
		v.t = shard_table_of(s, VRF_DEFAULT, (enum family)l->fill_family);
		bool more;

		l->visiting = true;
		more = walk_slice(&l->fill, SCAN_IDS, deadline_ns, walk_clock, fill_dest, &v);
		l->visiting = false;
		if (more && !v.failed)
			return;
		if (!v.failed && fill_range_next(l))
			return;
		l->fill_family++;
		fill_table_begin(s, l);
	}
	if (v.failed || l->fill_family == FAMILY_COUNT)
		fill_end(l, v.failed);
}

/* Instances with refused routes are filled again, if there is room for one more or to count again. */
static void
refused_retry(struct shard *s, struct shard_leak *l)
{
	if (l->refusing == 0 || s->now_ns - l->retry_ns < RETRY_NS)
		return;
	l->retry_ns = s->now_ns;
	for (unsigned i = 0; i < SHARD_INSTANCES_MAX; i++) {
		struct instance *x = atomic_load_explicit(&l->instance[i], memory_order_relaxed);

		if (x == NULL || x->fill_due || shard_load(&x->refused) == 0 ||
			(!x->recount_due && x->max_routes != 0 && routes_of(s, x) >= x->max_routes))
			continue;
		x->fill_due = true;
		l->fills_due++;
	}
}

static bool
scans_pending(const struct shard_leak *l)
{
	return l->scanning != NULL || l->scans_due > 0 || l->filling || l->fills_due > 0 ||
	       l->drop_due;
}

bool
leak_scan(struct shard *s, uint64_t deadline_ns)
{
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);

	if (l == NULL || l->count > 0)
		return l != NULL;
	refused_retry(s, l);
	if (!scans_pending(l))
		return false;
	shard_sample_add(s, 0);
	do {
		s->alone = s->bulk = true;
		if (l->scanning != NULL || l->scans_due > 0)
			scan_slice(s, l, deadline_ns);
		else
			fill_slice(s, l, deadline_ns);
		s->alone = s->bulk = false;
		reuse_end(s);
	} while (!leak_run(s, deadline_ns) && scans_pending(l) && walk_clock() < deadline_ns &&
		 !arena_is_short());
	return l->count > 0 || scans_pending(l);
}
