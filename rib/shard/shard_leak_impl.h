/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * State of the leak engine, shared by the files below. Owner and writer: the thread of the shard. Other
 * threads read the atomic fields of an instance, and find an instance by instance_of().
 *
 * shard_leak.c: life cycle, places and matches of route targets, the list
 * shard_leak_instances.c: configuration of the instances, and their RDs
 * shard_leak_apply.c: imports and exports
 * shard_leak_crowd.c: imports into destinations of many paths
 * shard_leak_scan.c: scans of instances, and the fill
 */
#pragma once

#include "rib/shard/leak.h"
#include "rib/shard/shard_impl.h"

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
	/* paths without room in their prefixes since the last attempt, and the peer of the last one */
	_Atomic uint64_t crowded;
	_Atomic uint16_t crowded_by;
	bool crowd_moved; /* paths of crowded prefixes have gone since */
	uint64_t crowd_tried_ns,
		crowd_pause_ns; /* the last attempt, and the least time to the next */
	uint64_t filled_before; /* crowds before this serial have changes of the last fill */
	_Atomic uint64_t exported, refused;
};

enum item_kind {
	ITEM_VPN, /* a path of a peer in a VPN table */
	ITEM_OWN, /* the own paths of a destination of an instance */
};

struct item {
	struct prefix prefix;
	uint8_t kind;
	uint8_t bulk; /* enum shard_bulk */
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

struct crowd;
struct crowd_list {
	struct crowd *first, *last;
};
enum crowd_lists {
	CROWDS_ALL, /* by creation */
	CROWDS_DUE, /* with many changes */
	CROWD_LISTS,
};
struct shard_crowds {
	struct crowd **bucket;
	unsigned buckets, count;
	struct crowd_list list[CROWD_LISTS];
	uint64_t next_ns; /* walk_clock(): earliest time for one that is not due */
	uint64_t serial; /* of the next crowd */
	uint64_t scan_before; /* earlier ones precede the next scan; later: its end */
	uint32_t of_peer[PEER_MAX]; /* changes that wait */
	unsigned refusing; /* instances with .crowded above 0 */
};

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

	struct shard_crowds crowds;

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
	/* the last result of an export, for prefixes with the same set */
	struct last_policy {
		const struct instance *x; /* NULL: none */
		uint32_t set, serial, version;
		struct peer_id peer;
		struct attr_id result; /* with a reference; .v == 0: denied */
	} exported;
};

/* A path for import into instances. */
struct source {
	const struct prefix *prefix;
	struct leak_origin origin;
	struct rib_path path;
};

static inline struct instance *
instance_of(const struct shard *s, struct vrf_id vrf)
{
	const struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_acquire);

	if (l == NULL || vrf.v >= SHARD_INSTANCES_MAX)
		return NULL;
	/* acquire: pairs with the release in instance_make */
	return atomic_load_explicit(&l->instance[vrf.v], memory_order_acquire);
}

static inline enum family
unicast_of(uint8_t afi)
{
	return afi == AFI_IPV4 ? FAMILY_IPV4_UNICAST : FAMILY_IPV6_UNICAST;
}

static inline enum family
vpn_of(uint8_t afi)
{
	return afi == AFI_IPV4 ? FAMILY_VPNV4_UNICAST : FAMILY_VPNV6_UNICAST;
}

static inline void
scan_again(struct shard_leak *l, struct instance *x)
{
	l->scans_due += !x->scan_due;
	x->scan_due = true;
	l->crowds.scan_before = l->crowds.serial; /* evaluated before the change */
}

static inline bool
leak_crowds_due(const struct shard_leak *l)
{
	return l->crowds.list[CROWDS_DUE].first != NULL;
}

static inline unsigned
places_index(const struct shard_table *t)
{
	return t->family == FAMILY_VPNV6_UNICAST;
}

/* ---- shard_leak.c ---- */

/* s->leak, created with the first instance. 0, -ENOMEM. */
int leak_make(struct shard *s, struct shard_leak **out);
/* Writes the importing instances of a set to `out` (room for all), and returns the number. */
unsigned leak_match(
	const struct shard *s, struct shard_leak *l, struct attr_id set, struct vrf_id *out);
/*
 * True if there are more places than routes: old places are too many, routes are scattered, or a
 * peer announces ever new targets.
 */
bool leak_places_crowded(struct shard *s, const struct shard_leak *l);
/* Notes the place of a path for each of its targets. */
void leak_places_note(struct shard *s, struct shard_leak *l, const struct shard_table *t,
	struct dest_id id, const struct rib_path *p);
/* Appends an item for a destination; the caller sets the kind. leak_list_room() was called before. */
struct item *leak_item_push(
	struct shard *s, struct shard_leak *l, const struct shard_table *t, struct dest_id id);

/* ---- shard_leak_instances.c ---- */

/* Sets the number of refused routes of the instance. */
void leak_refused_set(struct shard_leak *l, struct instance *x, uint64_t count);
/* True if an instance has routes under this RD. */
bool leak_rd_taken(const struct shard *s, const struct shard_leak *l, struct vpn_rd rd);
/*
 * Before a scan: takes the configured RD. The scan exports each own path under the new RD, and then
 * withdraws the export under the old RD. An RD has one instance at a time. So an instance whose new RD
 * still has routes of another instance withdraws its exports, and waits: two instances may exchange
 * their RDs.
 */
void leak_rd_take(const struct shard *s, const struct shard_leak *l, struct instance *x);
/* After a scan: no export under the old RD is left. The scan of a waiting instance takes the RD. */
void leak_rd_release(const struct shard *s, struct shard_leak *l, struct instance *x);
/* After the last scan: the instance has no import and no export. */
void leak_instance_end(struct shard *s, struct shard_leak *l, struct instance *x);

/* ---- shard_leak_apply.c ---- */

/* Destinations with a path of the instance, in all shards. */
uint64_t leak_routes_of(const struct shard *s, const struct instance *x);
/* True if max_routes has no room for a further destination, and this is one. */
bool leak_limit_reached(const struct shard *s, const struct instance *x,
	const struct shard_table *t, const struct prefix *p);
/* A route is refused, perhaps again. */
void leak_refused_add(struct shard_leak *l, struct instance *x);
/* Removes the imported path of a source. 0, -ENOMEM. */
int leak_import_drop(struct shard *s, struct shard_leak *l, struct instance *x,
	const struct source *src) RUNS_ON(role_rib);
/* Imports a path; removes the imported path if policy now refuses the path. 0, -ENOMEM. */
int leak_import_apply(struct shard *s, struct shard_leak *l, struct instance *x,
	const struct source *src) RUNS_ON(role_rib);
/* ---- shard_leak_crowd.c ---- */

/* True if changes of the destination wait. */
bool leak_crowd_is(const struct shard_leak *l, const struct shard_table *t, const struct prefix *p);
/*
 * Appends a change of an imported path; `paths`: of the destination. Replaces an earlier change of
 * the path. 0, -ENOMEM.
 */
int leak_crowd_put(struct shard *s, struct shard_leak *l, struct shard_table *t,
	const struct prefix *p, const struct rib_path *path, bool there, unsigned paths)
	RUNS_ON(role_rib);
/* True if changes wait in a crowd that is older than crowd `serial`. */
bool leak_crowds_before(const struct shard_leak *l, uint64_t serial);
/*
 * Publishes crowds older than crowd `before`, crowds that are due, and the oldest after a pause. True:
 * crowds that are due are left.
 */
bool leak_crowds_run(struct shard *s, struct shard_leak *l, uint64_t before, uint64_t deadline_ns)
	RUNS_ON(role_rib);
/* The paths without room are imported again, or refused again. */
void leak_crowded_clear(struct shard_leak *l, struct instance *x);
void leak_crowds_free(struct shard *s, struct shard_leak *l);

/* Drops the last result of export policy. */
void leak_exported_forget(struct shard *s, struct shard_leak *l);
/* Exports the best own path of a destination, or ends its export. 0, -ENOMEM. */
int leak_own_apply(struct shard *s, struct shard_leak *l, const struct item *item)
	RUNS_ON(role_rib);
/* Imports a changed path of a VPN table, and ends the imports of the old path. 0, -ENOMEM. */
int leak_vpn_apply(struct shard *s, struct shard_leak *l, const struct item *item)
	RUNS_ON(role_rib);
