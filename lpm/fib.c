/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Left-right copies, painted from the shadow. A batch is a set of changed prefixes, each with its
 * list before the change. To update the idle copy, the changes of the last and the open batch are
 * painted from the current shadow. Changes are not replayed in order, so a prefix changed ten
 * times is painted once.
 *
 *   commit n      paint open -> copy B, publish B     behind = batch n, missing in copy A
 *   grace period  no reader uses copy A any more
 *   commit n+1    paint behind and open -> copy A, publish A; lists replaced by batch n are unused
 *
 * References: the shadow holds one reference for each route. When a route changes, the reference
 * on the old list passes to the batch, and is released when both copies have been painted without
 * the list. One reference therefore covers both copies.
 */
#include "lpm/fib.h"

#include "lpm/base/arena.h"
#include "lpm/compact.h"
#include "lpm/fib_impl.h"
#include "lpm/fib_read.h"
#include "lpm/inspect.h"
#include "lpm/label_table.h"
#include "lpm/base/monotonic.h"
#include "lpm/base/qsbr.h"
#include "lpm/base/region.h"
#include "lpm/shadow.h"
#include "lpm/table_impl.h"
#include "lpm/table_v4.h"
#include "lpm/table_v6.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/*
 * Above this number of changed prefixes, rebuild the idle copy: on a full table both ways take 12
 * ms there (docs/decisions/0001).
 */
#define REBUILD_FROM 131072

#define GROUPS_DEFAULT_MAX 65536u
#define GROUPS_V6_DEFAULT_MAX 131072u /* a real table of 280,000 prefixes needs 58,305 */
#define GROUP_BYTES 1024u
#define GROUPS_KEPT 16 /* one in 16 groups is kept for host routes */
#define GROUPS_TIGHT 4 /* a table is tight while less than one in 4 groups is free */
#define COST_V6 8 /* an IPv6 prefix takes 0.9 us (fib_v6.c), an IPv4 prefix 0.1 us */
#define COST_PART_INSTANCE 2 /* building an instance takes 0.05 us a route (bench_range) */
#define NOTHING ((struct path_list_id){PATH_LIST_NONE})

struct fib {
	_Atomic(const struct fib_generation *) current; /* read by workers */
	struct fib_reader reader;
	alignas(CACHE_LINE) struct fib_generation generation[2]; /* one for each copy */
	struct arena *arena;
	struct arena *shared; /* of this struct and all that readers use */
	struct qsbr *workers;
	struct path_lists *path_lists;
	struct label_table *labels;
	struct tunnel_sets *tunnels;
	size_t memory_left;
	bool huge;
	uint32_t tbl8_groups, groups_v6;
	/*
	 * release: a table is complete before another thread finds the table; pairs with the
	 * acquire in table_get
	 */
	_Atomic(struct fib_table *) table[FIB_VRF_MAX][2];
	_Atomic unsigned vrf_end; /* VRFs from here on have no tables */
	/* tables with changes for a copy, or with routes to retry */
	struct fib_table *dirty;
	struct fib_table *painted; /* all tables with painted copies */
	struct shadow *nothing[2]; /* for shadows that instances never fill */
	unsigned instance_notes; /* notes of all instances */
	bool instance_notes_lost;
	unsigned idle; /* the copy that new readers do not use */
	bool grace_open; /* readers may still use the idle copy */
	bool flip_wanted; /* a table was added */
	uint64_t grace_token;
	/* late: some reader is over FIB_LATE_NS; delayed: a commit was delayed by a late reader */
	bool late, delayed;
	uint64_t published_ns;
	_Atomic uint64_t commits, grace_late, commits_delayed;
	_Atomic uint64_t number; /* number of the current generation */
	struct hist commit_hist, grace_hist;
};

/* Adds to a counter with a single writer. */
static void
counter_add(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(
		c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static void
counter_set(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(c, n, memory_order_relaxed);
}

static uint64_t
counter_get(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

static struct fib_table *
table_get(const struct fib *f, struct vrf_id vrf, unsigned afi)
{
	if (vrf.v >= FIB_VRF_MAX || (afi != AFI_IPV4 && afi != AFI_IPV6))
		return NULL;
	/* acquire: pairs with the release store in table_add */
	return atomic_load_explicit(&f->table[vrf.v][afi - AFI_IPV4], memory_order_acquire);
}

/* Iterates over the existing tables: for (at = 0; (t = table_next(f, &at)) != NULL;) */
static struct fib_table *
table_next(const struct fib *f, unsigned *at)
{
	/* relaxed: a reader may miss a table added at the same time */
	while (*at < 2 * atomic_load_explicit(&f->vrf_end, memory_order_relaxed)) {
		struct fib_table *t =
			table_get(f, (struct vrf_id){(uint16_t)(*at / 2)}, AFI_IPV4 + *at % 2);

		++*at;
		if (t != NULL)
			return t;
	}
	return NULL;
}

static void
table_touch(struct fib *f, struct fib_table *t)
{
	if (t->dirty)
		return;
	t->dirty = true;
	t->dirty_next = f->dirty;
	f->dirty = t;
}

int
fib_create(const struct fib_config *config, struct fib **out)
{
	struct arena *shared = config->shared != NULL ? config->shared : config->arena;
	struct fib *f = arena_alloc_aligned(shared, alignof(struct fib), sizeof(*f));
	int err;

	if (f == NULL)
		return -ENOMEM;
	*f = (struct fib){
		.arena = config->arena,
		.shared = shared,
		.workers = config->workers,
		.memory_left = config->memory_bytes,
		.huge = config->huge,
		.tbl8_groups = config->tbl8_groups,
		.groups_v6 = config->groups_v6,
		.idle = 1,
		.number = 1,
	};
	err = path_lists_create(shared, config->workers, &f->path_lists);
	if (err == 0)
		err = tunnel_sets_create(shared, config->workers, &f->tunnels);
	if (err == 0)
		err = label_table_create(shared, f->path_lists, &f->labels);
	if (err != 0) {
		tunnel_sets_destroy(f->tunnels);
		path_lists_destroy(f->path_lists);
		arena_free(shared, f);
		return err;
	}
	f->generation[0].number = 1;
	f->reader.path_lists = path_lists_array(f->path_lists);
	f->reader.path_lists_far = path_lists_far_array(f->path_lists);
	f->reader.next_hops = next_hops_array(f->path_lists);
	f->reader.adjacencies = adjacencies_array(f->path_lists);
	f->reader.labels = label_reader(f->labels);
	f->reader.tunnels = tunnel_reader(f->tunnels);
	/* release: pairs with the acquire in fib_read_begin */
	atomic_store_explicit(&f->current, &f->generation[0], memory_order_release);
	f->reader.current = &f->current;
	f->reader.bounds = BOUNDS_ALL;
	*out = f;
	return 0;
}

static void
table_destroy(struct fib *f, struct fib_table *t)
{
	if (t == NULL)
		return;
	if (t->compact[0] != t->compact[1])
		compact_destroy(t->compact[0]);
	compact_destroy(t->compact[1]);
	if (t->instance)
		t->waiting = t->host_waiting = t->added_groups = NULL; /* shared */
	for (unsigned i = 0; i < 2 && !t->instance; i++) {
		if (t->afi == AFI_IPV6)
			table_v6_destroy(t->copy_v6[i]);
		else
			table_v4_destroy(t->copy[i]);
	}
	shadow_destroy(t->routes);
	shadow_destroy(t->open);
	shadow_destroy(t->behind);
	shadow_destroy(t->waiting);
	shadow_destroy(t->host_waiting);
	shadow_destroy(t->added_groups);
	shadow_destroy(t->notes);
	arena_free(f->arena, t);
}

void
fib_destroy(struct fib *f)
{
	struct fib_table *t;
	unsigned at = 0;

	if (f == NULL)
		return;
	while ((t = table_next(f, &at)) != NULL)
		table_destroy(f, t);
	shadow_destroy(f->nothing[0]);
	shadow_destroy(f->nothing[1]);
	role_enter_fib(); /* the caller is the last user */
	label_table_destroy(f->labels);
	tunnel_sets_destroy(f->tunnels);
	path_lists_destroy(f->path_lists);
	arena_free(f->shared, f);
}

static size_t
copy_bytes(enum afi afi, uint32_t groups)
{
	return afi == AFI_IPV6 ? table_v6_bytes(groups) : table_v4_bytes(groups);
}

/*
 * Chooses the number of groups per copy that fits into the remaining memory. Returns -ENOSPC if
 * the first level does not fit.
 */
static int
groups_choose(size_t memory_left, uint32_t wanted, enum afi afi, uint32_t *groups)
{
	/* a copy consists of whole huge pages: round down */
	size_t each = memory_left / 2 / HUGE_PAGE * HUGE_PAGE, base = copy_bytes(afi, 0), room;
	uint32_t max = afi == AFI_IPV6 ? TABLE_V6_GROUPS_MAX : TABLE_V4_GROUPS_MAX;
	uint32_t usual = afi == AFI_IPV6 ? GROUPS_V6_DEFAULT_MAX : GROUPS_DEFAULT_MAX;

	if (each < base)
		return -ENOSPC;
	room = (each - base) / GROUP_BYTES;
	*groups = wanted;
	if (*groups == 0)
		*groups = room < usual ? (uint32_t)room : usual;
	return *groups <= max && copy_bytes(afi, *groups) <= each ? 0 : -ENOSPC;
}

int
fib_memory_check(size_t memory_bytes, uint32_t tbl8_groups)
{
	uint32_t groups;
	int err = groups_choose(memory_bytes, tbl8_groups, AFI_IPV4, &groups);

	if (err != 0)
		return err;
	return groups_choose(memory_bytes - 2 * copy_bytes(AFI_IPV4, groups), 0, AFI_IPV6, &groups);
}

static int
copy_create(struct fib *f, struct fib_table *t, unsigned i)
{
	if (t->afi == AFI_IPV6)
		return table_v6_create(f->shared, t->groups_max, f->huge, &t->copy_v6[i]);
	return table_v4_create(f->shared, t->groups_max, f->huge, &t->copy[i]);
}

static int
table_create(
	struct fib *f, struct vrf_id vrf, enum afi afi, uint32_t groups, struct fib_table **out)
{
	struct fib_table *t = arena_alloc_aligned(f->arena, alignof(struct fib_table), sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	*t = (struct fib_table){
		.vrf = vrf, .afi = afi, .groups_max = groups, .groups_kept = groups / GROUPS_KEPT};
	t->retry_from_v6.afi = t->added_from.afi = AFI_IPV6;
	t->mapped_bytes = 2 * copy_bytes(afi, groups);
	if (shadow_create(f->arena, afi, &t->routes) != 0 ||
		shadow_create(f->arena, afi, &t->open) != 0 ||
		shadow_create(f->arena, afi, &t->behind) != 0 ||
		shadow_create(f->arena, afi, &t->waiting) != 0 ||
		shadow_create(f->arena, afi, &t->host_waiting) != 0 ||
		shadow_create(f->arena, afi, &t->added_groups) != 0 ||
		shadow_create(f->arena, afi, &t->notes) != 0 || copy_create(f, t, 0) != 0 ||
		copy_create(f, t, 1) != 0) {
		table_destroy(f, t);
		return -ENOMEM;
	}
	counter_set(&t->counters.memory_bytes, t->mapped_bytes);
	*out = t;
	return 0;
}

/* The empty shadow of all instances of a family, for shadows that instances never fill. */
static struct shadow *
nothing_of(struct fib *f, enum afi afi)
{
	struct shadow **s = &f->nothing[afi - AFI_IPV4];

	if (*s == NULL && shadow_create(f->arena, afi, s) != 0)
		*s = NULL;
	return *s;
}

static int
instance_create(struct fib *f, struct vrf_id vrf, enum afi afi, struct fib_table **out)
{
	struct shadow *nothing = nothing_of(f, afi);
	struct fib_table *t;

	if (nothing == NULL)
		return -ENOMEM;
	t = arena_alloc_aligned(f->arena, alignof(struct fib_table), sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	*t = (struct fib_table){.vrf = vrf,
		.afi = afi,
		.instance = true,
		.waiting = nothing,
		.host_waiting = nothing,
		.added_groups = nothing};
	if (shadow_create(f->arena, afi, &t->routes) != 0 ||
		shadow_create(f->arena, afi, &t->open) != 0 ||
		shadow_create(f->arena, afi, &t->behind) != 0) {
		table_destroy(f, t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

/* Checks whether a table can be added. Returns 0, or 1 if the table exists. */
static int
table_check(const struct fib *f, struct vrf_id vrf, enum afi afi)
{
	if (afi != AFI_IPV4 && afi != AFI_IPV6)
		return -EAFNOSUPPORT;
	if (vrf.v >= FIB_VRF_MAX)
		return -ENOSPC;
	return table_get(f, vrf, afi) != NULL;
}

static void
table_add(struct fib *f, struct fib_table *t)
{
	if (t->vrf.v >= atomic_load_explicit(&f->vrf_end, memory_order_relaxed))
		atomic_store_explicit(&f->vrf_end, t->vrf.v + 1u, memory_order_relaxed);
	/* release: pairs with the acquire in table_get */
	atomic_store_explicit(&f->table[t->vrf.v][t->afi - AFI_IPV4], t, memory_order_release);
}

static_assert(FIB_INSTANCE_ROUTES <= COMPACT_ROUTES_MAX, "-E2BIG does not occur");

int
fib_instance_add(struct fib *f, struct vrf_id vrf, enum afi afi)
{
	struct fib_table *t;
	int err = table_check(f, vrf, afi);

	if (err != 0)
		return err < 0 ? err : 0;
	err = instance_create(f, vrf, afi, &t);
	if (err == 0)
		table_add(f, t);
	return err;
}

int
fib_vrf_add(struct fib *f, struct vrf_id vrf, enum afi afi)
{
	struct fib_table *t;
	uint32_t groups;
	int err = table_check(f, vrf, afi);

	if (err != 0)
		return err < 0 ? err : 0;
	err = groups_choose(
		f->memory_left, afi == AFI_IPV6 ? f->groups_v6 : f->tbl8_groups, afi, &groups);
	if (err == 0)
		err = table_create(f, vrf, afi, groups, &t);
	if (err != 0)
		return err;
	f->memory_left -= t->mapped_bytes;
	t->painted_next = f->painted;
	f->painted = t;
	table_touch(f, t);
	table_add(f, t);
	f->flip_wanted = true;
	return 0;
}

struct path_lists *
fib_path_lists(struct fib *f)
{
	return f->path_lists;
}

struct label_table *
fib_labels(struct fib *f)
{
	return f->labels;
}

struct tunnel_sets *
fib_tunnels(struct fib *f)
{
	return f->tunnels;
}

static struct prefix
slot_prefix(const struct prefix *p)
{
	struct prefix slot = *p;

	slot.b[3] = 0;
	slot.len = 24;
	return slot;
}

static_assert(FIB_PREFETCH == SHADOW_SEEKS, "");

void
fib_prefetch(const struct fib *f, struct vrf_id vrf, const struct prefix *p, unsigned n)
{
	const struct fib_table *t = table_get(f, vrf, p->afi);

	if (t != NULL)
		shadow_prefetch(t->routes, p, n);
}

/* First prefix longer than /24 inside this /24. */
static bool
slot_first(const struct fib_table *t, const struct prefix *slot, struct shadow_entry *out)
{
	struct prefix from = *slot;
	struct shadow_cursor c;

	from.len = 25;
	shadow_seek(t->routes, &from, &c);
	return shadow_next(&c, out) && prefix_covers(slot, &out->prefix);
}

int
fib_batch_add(struct fib_table *t, const struct prefix *p, struct path_list_id before, bool *added)
{
	return shadow_add(t->open, p, before, added);
}

/* Groups available to routes other than host routes. */
static uint32_t
groups_usual(const struct fib_table *t)
{
	return t->groups_max - t->groups_kept;
}

/*
 * Reserves a group for a new prefix. The prefix shares the state (installed or waiting) of longer
 * prefixes in its /24. The first prefix in a /24 gets a group if one is free and no other /24
 * waits; otherwise the /24 waits. Returns 0 or -ENOMEM.
 */
static int
group_claim(struct fib_table *t, const struct prefix *p, bool own, bool *waiting)
{
	struct prefix slot = slot_prefix(p);
	struct shadow_entry other;

	*waiting = false;
	if (p->len <= 24)
		return 0;
	if (slot_first(t, &slot, &other)) {
		*waiting = other.waiting;
	} else if (own ? t->groups_wanted < t->groups_max
		       : t->groups_wanted < groups_usual(t) && shadow_count(t->waiting) == 0) {
		t->groups_wanted++;
	} else {
		*waiting = true;
		if (shadow_set(t->waiting, &slot, NOTHING, false) != 0)
			return -ENOMEM;
	}
	if (*waiting)
		t->waiting_routes++;
	return 0;
}

/*
 * Releases the claim of a prefix after its removal from the shadow, and the claim of its /24 if
 * the prefix was the last one there.
 */
static void
group_disclaim(struct fib_table *t, const struct prefix *p, bool waiting)
{
	struct prefix slot = slot_prefix(p);
	struct shadow_entry other;

	if (p->len <= 24)
		return;
	if (waiting)
		t->waiting_routes--;
	if (slot_first(t, &slot, &other))
		return;
	if (waiting)
		(void)shadow_remove(t->waiting, &slot);
	else
		t->groups_wanted--;
}

static bool
route_get(const struct fib_table *t, const struct prefix *p, struct shadow_entry *out)
{
	return t->afi == AFI_IPV6 ? fib_v6_get(t, p, out) : shadow_get(t->routes, p, out);
}

/* Inserts a route that is not in the shadow yet. */
static int
route_insert(struct fib_table *t, const struct prefix *p, struct path_list_id list, bool own)
{
	bool waiting;
	int err;

	if (t->instance)
		return shadow_set(t->routes, p, list, false);
	if (t->afi == AFI_IPV6)
		return fib_v6_insert(t, p, list, own);
	err = group_claim(t, p, own, &waiting);
	if (err != 0)
		return err;
	err = shadow_set(t->routes, p, list, waiting);
	if (err != 0)
		group_disclaim(t, p, waiting);
	return err;
}

/* Replaces the list of an existing route. Cannot fail. */
static void
route_replace(struct fib_table *t, const struct prefix *p, struct path_list_id list, bool waiting)
{
	if (t->afi == AFI_IPV6)
		fib_v6_replace(t, p, list, waiting);
	else
		(void)shadow_set(t->routes, p, list, waiting);
}

static void
route_remove(struct fib_table *t, const struct prefix *p, bool waiting)
{
	if (t->afi == AFI_IPV6 && !t->instance) {
		fib_v6_remove(t, p, waiting);
		return;
	}
	(void)shadow_remove(t->routes, p);
	if (!t->instance)
		group_disclaim(t, p, waiting);
}

/* Inserts all routes of an instance into the empty painted table `to`. */
static int
routes_copy(struct fib_table *to, const struct shadow *routes)
{
	struct shadow_cursor c;
	struct shadow_entry e;
	int err = 0;

	shadow_seek(routes, NULL, &c);
	while (err == 0 && shadow_next(&c, &e))
		err = route_insert(to, &e.prefix, e.list, false);
	return err;
}

/*
 * Gives an instance a painted table. Readers use the compact tables until the next two commits,
 * which paint all routes. The table keeps its address, because any thread may read the counters.
 * Returns 0, -ENOSPC or -ENOMEM; after an error nothing has changed.
 */
static int
table_promote(struct fib *f, struct fib_table *t)
{
	struct fib_table *made;
	uint32_t groups;
	int err = t->too_large ? -ENOSPC
			       : groups_choose(f->memory_left,
					 t->afi == AFI_IPV6 ? f->groups_v6 : f->tbl8_groups, t->afi,
					 &groups);

	if (err == 0)
		err = table_create(f, t->vrf, t->afi, groups, &made);
	if (err != 0)
		return err;
	err = routes_copy(made, t->routes);
	if (err == 0 && made->waiting_routes > 0) {
		t->too_large = true; /* else each further route would try again, for milliseconds */
		err = -ENOSPC;
	}
	if (err != 0) {
		table_destroy(f, made);
		return err;
	}
	f->memory_left -= made->mapped_bytes;
	shadow_destroy(t->routes);
	t->routes = made->routes;
	t->waiting = made->waiting;
	t->host_waiting = made->host_waiting;
	t->added_groups = made->added_groups;
	if (t->notes != NULL) {
		f->instance_notes -= (unsigned)shadow_count(t->notes);
		shadow_destroy(made->notes);
	} else {
		t->notes = made->notes;
	}
	memcpy(t->copy, made->copy, sizeof(t->copy));
	t->groups_max = made->groups_max;
	t->groups_kept = made->groups_kept;
	t->groups_wanted = made->groups_wanted;
	t->waiting_routes = made->waiting_routes;
	t->retry_from_v6 = made->retry_from_v6;
	t->added_from = made->added_from;
	t->mapped_bytes = made->mapped_bytes;
	t->instance = false;
	t->unpainted[0] = t->unpainted[1] = true;
	t->painted_next = f->painted;
	f->painted = t;
	shadow_destroy(made->open);
	shadow_destroy(made->behind);
	arena_free(f->arena, made);
	return 0;
}

static int
set(struct fib *f, struct vrf_id vrf, const struct prefix *p, struct path_list_id list, bool own)
	RUNS_ON(role_fib)
{
	struct fib_table *t = table_get(f, vrf, p->afi);
	struct shadow_entry old = {0};
	bool present, added;
	int err;

	if (t == NULL)
		return -ENOENT;
	assert(list.v != PATH_LIST_NONE && list.v < PATH_LIST_MAX);
	present = route_get(t, p, &old);
	if (present && old.list.v == list.v)
		return 0;
	if (t->instance && !present && shadow_count(t->routes) >= FIB_INSTANCE_ROUTES) {
		err = table_promote(f, t);
		if (err != 0)
			return err;
	}
	table_touch(f, t);
	err = fib_batch_add(t, p, old.list, &added);
	if (err != 0)
		return err;
	if (present)
		route_replace(t, p, list, old.waiting);
	else
		err = route_insert(t, p, list, own);
	if (err != 0) {
		if (added)
			(void)shadow_remove(t->open, p);
		return err;
	}
	path_list_ref(f->path_lists, list);
	/*
	 * the list was set in this batch, so neither copy has the list. Otherwise the batch now
	 * has the reference
	 */
	if (present && !added)
		path_list_unref(f->path_lists, old.list);
	return 0;
}

/* For a route that is no longer a host route or no longer waits. */
static void
host_waiting_remove(struct fib_table *t, const struct prefix *p)
{
	if (shadow_count(t->host_waiting) > 0)
		(void)shadow_remove(t->host_waiting, p);
}

int
fib_set(struct fib *f, struct vrf_id vrf, const struct prefix *p, struct path_list_id list)
{
	int err = set(f, vrf, p, list, false);

	if (err == 0)
		host_waiting_remove(table_get(f, vrf, p->afi), p);
	return err;
}

int
fib_withdraw(struct fib *f, struct vrf_id vrf, const struct prefix *p)
{
	struct fib_table *t = table_get(f, vrf, p->afi);
	struct shadow_entry old;
	bool added;

	if (t == NULL || !route_get(t, p, &old))
		return -ENOENT;
	table_touch(f, t);
	if (fib_batch_add(t, p, old.list, &added) != 0)
		return -ENOMEM;
	route_remove(t, p, old.waiting);
	host_waiting_remove(t, p);
	if (shadow_count(t->routes) < FIB_INSTANCE_ROUTES / 2)
		t->too_large = false;
	if (!added)
		path_list_unref(f->path_lists, old.list);
	return 0;
}

unsigned
fib_batch_count(const struct fib *f)
{
	uint64_t count = 0;

	for (const struct fib_table *t = f->dirty; t != NULL; t = t->dirty_next)
		count += shadow_count(t->open);
	return (unsigned)count;
}

unsigned
fib_batch_cost(const struct fib *f)
{
	uint64_t cost = 0;

	for (const struct fib_table *t = f->dirty; t != NULL; t = t->dirty_next) {
		if (t->lacks)
			continue;
		if (t->instance && shadow_count(t->open) > 0)
			cost += shadow_count(t->routes) / COST_PART_INSTANCE;
		cost += shadow_count(t->open) * (t->afi == AFI_IPV6 && !t->instance ? COST_V6 : 1);
	}
	return (unsigned)cost;
}

/* Marks the longer prefixes of a /24 as installed. Replaces entries only, so nothing can fail. */
static void
slot_install(struct fib_table *t, const struct prefix *slot)
{
	struct prefix from = *slot;
	struct shadow_entry e;
	struct shadow_cursor c;

	from.len = 25;
	shadow_seek(t->routes, &from, &c);
	while (shadow_next(&c, &e) && prefix_covers(slot, &e.prefix)) {
		(void)shadow_set(t->routes, &e.prefix, e.list, false);
		t->waiting_routes--;
		fib_note_installed(t, &e.prefix);
	}
}

/*
 * Gives a group to a waiting /24 and adds its first longer prefix to the batch, so both copies
 * paint the /24. No copy shows this prefix, so the batch entry has no old list. (The /24 prefix
 * itself may be a route shown by the copies; a batch entry without its old list would lose a
 * reference.) Returns 0 or -ENOMEM.
 */
static int
slot_grant(struct fib_table *t, const struct prefix *slot)
{
	struct shadow_entry first;
	bool added;

	if (!slot_first(t, slot, &first) || fib_batch_add(t, &first.prefix, NOTHING, &added) != 0)
		return -ENOMEM;
	slot_install(t, slot);
	(void)shadow_remove(t->waiting, slot);
	t->groups_wanted++;
	return 0;
}

/* Gives a waiting route its groups, from the kept ones if necessary. */
static int
install(struct fib_table *t, const struct prefix *p)
{
	struct prefix slot;

	if (t->afi == AFI_IPV6)
		return fib_v6_install(t, p);
	slot = slot_prefix(p);
	return t->groups_wanted < t->groups_max ? slot_grant(t, &slot) : -ENOSPC;
}

int
fib_set_host(struct fib *f, struct vrf_id vrf, const struct prefix *p, struct path_list_id list)
{
	int err = set(f, vrf, p, list, true);
	struct fib_table *t = table_get(f, vrf, p->afi);
	struct shadow_entry e;

	/*
	 * The route or its /24 was waiting before. If memory is short, the route still waits; the
	 * next retry or call tries again.
	 */
	if (err == 0 && t->waiting_routes > 0 && route_get(t, p, &e) && e.waiting) {
		table_touch(f, t);
		if (install(t, p) != 0)
			(void)shadow_set(t->host_waiting, p, NOTHING, false);
	}
	return err;
}

/* Installs waiting host routes, from the kept groups if necessary. */
static void
host_grant(struct fib_table *t)
{
	struct shadow_entry own, e;
	struct shadow_cursor c;

	shadow_seek(t->host_waiting, NULL, &c);
	while (shadow_next(&c, &own)) {
		if (route_get(t, &own.prefix, &e) && e.waiting && install(t, &own.prefix) != 0)
			continue;
		(void)shadow_remove(t->host_waiting, &own.prefix);
		shadow_seek(t->host_waiting, &own.prefix, &c);
	}
}

/*
 * Installs waiting /24s in turn while groups are free. Each /24 joins the batch, so both copies
 * paint the /24.
 */
static void
groups_grant(struct fib_table *t)
{
	while (t->groups_wanted < groups_usual(t) && shadow_count(t->waiting) > 0) {
		struct prefix from = prefix_from_v4(t->retry_from, 24);
		struct shadow_entry slot;
		struct shadow_cursor c;

		shadow_seek(t->waiting, &from, &c);
		if (!shadow_next(&c, &slot)) {
			shadow_seek(t->waiting, NULL, &c);
			(void)shadow_next(&c, &slot);
		}
		if (slot_grant(t, &slot.prefix) != 0)
			return;
		t->retry_from = prefix_v4(&slot.prefix) + 256;
	}
}

/*
 * Frees all groups that the copy does not need any more, before new ones are allocated, so every
 * reserved group is available.
 */
static void
batch_release(const struct fib_table *t, struct table_v4 *copy, const struct shadow *batch)
{
	struct shadow_cursor c;
	struct shadow_entry e;

	shadow_seek(batch, NULL, &c);
	while (shadow_next(&c, &e)) {
		if (e.prefix.len > 24)
			table_v4_release(copy, t->routes, prefix_v4(&e.prefix));
	}
}

/*
 * Starts painting one run of prefixes while the run before is being finished, so memory accesses
 * overlap.
 */
struct paints {
	struct shadow_cursor cursor[SHADOW_SEEKS];
	uint64_t key[SHADOW_SEEKS];
	unsigned count;
};

static void
paints_begin(struct paints *p, const struct fib_table *t, const struct table_v4 *copy,
	const uint64_t *word, unsigned count)
{
	p->count = count < SHADOW_SEEKS ? count : SHADOW_SEEKS;
	table_v4_paint_begin(copy, t->routes, p->count, word, p->key, p->cursor);
}

/* Prefixes come in order, so a prefix inside the last painted one is skipped. */
static uint64_t
paints_end(struct paints *p, const struct fib_table *t, struct table_v4 *copy, uint64_t *done)
{
	uint64_t writes = 0;

	for (unsigned i = 0; i < p->count; i++) {
		uint32_t addr = shadow_v4_addr(p->key[i]);
		uint8_t len = shadow_v4_len(p->key[i]);

		/* 0/0 is not painted: the generation keeps its path list as `miss` */
		if (len == 0 || addr < *done)
			continue;
		writes += table_v4_paint_end(copy, t->routes, p->key[i], &p->cursor[i]);
		*done = addr + (1ull << (32 - len));
	}
	return writes;
}

static uint64_t
batch_paint(const struct fib_table *t, struct table_v4 *copy, const struct shadow *batch)
{
	struct paints paints[2];
	struct shadow_cursor c;
	const uint64_t *word;
	uint64_t writes = 0, done = 0; /* addresses below `done` are painted */
	unsigned count, turn = 0;

	paints[turn].count = 0;
	shadow_seek(batch, NULL, &c);
	while ((count = shadow_v4_run(&c, &word)) > 0) {
		for (unsigned at = 0; at < count; at += SHADOW_SEEKS) {
			paints_begin(&paints[turn ^ 1], t, copy, &word[at], count - at);
			writes += paints_end(&paints[turn], t, copy, &done);
			turn ^= 1;
		}
	}
	return writes + paints_end(&paints[turn], t, copy, &done);
}

static bool
rebuild_pays(const struct fib_table *t)
{
	if (t->afi == AFI_IPV6)
		return fib_v6_rebuild_pays(t);
	return shadow_count(t->open) + shadow_count(t->behind) > REBUILD_FROM;
}

static uint64_t
table_rebuild(struct fib_table *t, unsigned copy)
{
	counter_add(&t->counters.rebuilds, 1);
	if (t->afi == AFI_IPV6)
		return table_v6_rebuild(t->copy_v6[copy], t->routes);
	return table_v4_rebuild(t->copy[copy], t->routes);
}

/*
 * Brings an instance up to date in the idle generation: the newest table, or with an open batch a
 * new table. The idle generation has no reader. Returns 0, or -ENOMEM: the open batch is missing.
 */
static int
instance_build(struct fib *f, struct fib_table *t)
{
	struct compact *used = t->compact[f->idle ^ 1], *made = used;
	uint64_t changes = shadow_count(t->open);
	int err = 0;

	if (changes > 0 && shadow_count(t->routes) == 0)
		made = NULL;
	else if (changes > 0)
		err = compact_create(f->shared, t->afi, t->routes, used, &made);
	if (t->compact[f->idle] != used)
		compact_destroy(t->compact[f->idle]);
	t->compact[f->idle] = made;
	if (changes > 0 && err == 0)
		counter_add(&t->counters.writes, changes);
	return err;
}

static void
table_paint(struct fib_table *t, unsigned copy)
{
	uint64_t writes;

	if (t->unpainted[copy] || rebuild_pays(t)) {
		writes = table_rebuild(t, copy);
		t->unpainted[copy] = false;
	} else if (t->afi == AFI_IPV6) {
		writes = fib_v6_paint(t, t->copy_v6[copy]);
	} else {
		batch_release(t, t->copy[copy], t->behind);
		batch_release(t, t->copy[copy], t->open);
		writes = batch_paint(t, t->copy[copy], t->open);
		/* these writes were counted when the other copy was painted */
		(void)batch_paint(t, t->copy[copy], t->behind);
	}
	if (shadow_count(t->open) > 0)
		counter_add(&t->counters.writes, writes);
}

/* Frees the compact table of the idle generation, whose readers have left, after table_promote(). */
static void
compact_drop(struct fib_table *t, unsigned idle)
{
	if (t->compact[idle] != t->compact[idle ^ 1])
		compact_destroy(t->compact[idle]);
	t->compact[idle] = NULL;
}

static uint32_t
miss_of(const struct fib_table *t)
{
	struct prefix all = {.afi = (uint8_t)t->afi};
	struct shadow_entry e;

	return shadow_get(t->routes, &all, &e) ? e.list.v : PATH_LIST_NONE;
}

/*
 * Enters a table into the generation of the idle copy. This generation has had no reader since the
 * last grace period, so writing is safe.
 */
static void
table_enter(struct fib *f, const struct fib_table *t)
{
	struct fib_generation *g = &f->generation[f->idle];

	if (t->instance && t->afi == AFI_IPV6) {
		g->v6[t->vrf.v].compact = t->compact[f->idle];
	} else if (t->instance) {
		g->v4[t->vrf.v].compact = t->compact[f->idle];
	} else if (t->afi == AFI_IPV6) {
		g->v6[t->vrf.v].compact = NULL;
		g->v6[t->vrf.v].words = table_v6_words(t->copy_v6[f->idle]);
		g->v6[t->vrf.v].miss = miss_of(t);
	} else {
		g->v4[t->vrf.v].compact = NULL;
		g->v4[t->vrf.v].lpm = table_v4_lpm(t->copy[f->idle]);
		g->v4[t->vrf.v].answers = table_v4_answers(t->copy[f->idle]);
		g->v4[t->vrf.v].miss = miss_of(t);
	}
}

/* Publishes the generation of the idle copy. */
static void
publish(struct fib *f)
{
	struct fib_generation *g = &f->generation[f->idle];

	g->number = counter_get(&f->number) + 1;
	/* release: pairs with the acquire in fib_read_begin */
	atomic_store_explicit(&f->current, g, memory_order_release);
	f->grace_token = qsbr_start(f->workers);
	f->grace_open = true;
	f->late = f->delayed = false;
	f->flip_wanted = false;
	f->idle ^= 1;
	counter_set(&f->number, g->number);
	counter_add(&f->commits, 1);
}

/*
 * Both copies have been painted without the lists replaced by `behind`: release the references. The
 * open batch is the next `behind`, unless its changes are still missing (`built` is false).
 */
static void
batch_drop(struct fib *f, struct fib_table *t, bool built) RUNS_ON(role_fib)
{
	struct shadow *batch = t->behind;
	struct shadow_cursor c;
	struct shadow_entry e;

	shadow_seek(batch, NULL, &c);
	while (shadow_next(&c, &e)) {
		if (e.list.v != PATH_LIST_NONE)
			path_list_unref(f->path_lists, e.list);
	}
	shadow_clear(batch);
	if (!built)
		return;
	t->behind = t->open;
	t->open = batch;
}

static size_t
painted_bytes(const struct fib_table *t)
{
	return t->mapped_bytes + shadow_bytes(t->routes) + shadow_bytes(t->open) +
	       shadow_bytes(t->behind) + shadow_bytes(t->waiting) + shadow_bytes(t->host_waiting) +
	       shadow_bytes(t->added_groups) + shadow_bytes(t->notes);
}

static size_t
instance_bytes(const struct fib_table *t)
{
	size_t bytes = shadow_bytes(t->routes) + shadow_bytes(t->open) + shadow_bytes(t->behind);

	if (t->notes != NULL)
		bytes += shadow_bytes(t->notes);
	for (unsigned i = 0; i < 2; i++) {
		if (t->compact[i] != NULL && (i == 0 || t->compact[i] != t->compact[0]))
			bytes += compact_bytes(t->compact[i]);
	}
	return bytes;
}

static void
table_count(struct fib_table *t)
{
	struct table_counters *n = &t->counters;

	counter_set(&n->installed,
		shadow_count(t->routes) - (t->afi == AFI_IPV4 ? t->waiting_routes : 0));
	counter_set(&n->not_installed, t->waiting_routes);
	counter_set(&n->groups_used, t->groups_wanted);
	counter_set(&n->memory_bytes, t->instance ? instance_bytes(t) : painted_bytes(t));
}

static bool
grant_pays(const struct fib_table *t)
{
	if (t->afi == AFI_IPV6)
		return fib_v6_grant_pays(t);
	return (shadow_count(t->waiting) > 0 && t->groups_wanted < groups_usual(t)) ||
	       (shadow_count(t->host_waiting) > 0 && t->groups_wanted < t->groups_max);
}

static bool
table_has_work(const struct fib_table *t)
{
	return shadow_count(t->open) > 0 || shadow_count(t->behind) > 0 || t->unpainted[0] ||
	       t->unpainted[1] || grant_pays(t);
}

static bool
has_work(const struct fib *f)
{
	for (const struct fib_table *t = f->dirty; t != NULL; t = t->dirty_next) {
		if (table_has_work(t))
			return true;
	}
	return f->flip_wanted;
}

/* Keeps only tables with work in the list. */
static void
dirty_clean(struct fib *f)
{
	for (struct fib_table **at = &f->dirty, *t; (t = *at) != NULL;) {
		if (table_has_work(t)) {
			at = &t->dirty_next;
			continue;
		}
		t->dirty = false;
		*at = t->dirty_next;
	}
}

static int
commit_status(const struct fib *f)
{
	for (const struct fib_table *t = f->painted; t != NULL; t = t->painted_next) {
		if (t->waiting_routes > 0)
			return -ENOSPC;
	}
	return 0;
}

/* True if no reader uses the idle copy. Never waits. */
static bool
grace_over(struct fib *f, uint64_t now_ns)
{
	if (!f->grace_open)
		return true;
	if (!qsbr_done(f->workers, f->grace_token)) {
		if (!f->late && now_ns >= f->published_ns + FIB_LATE_NS) {
			f->late = true;
			counter_add(&f->grace_late, 1);
		}
		return false;
	}
	f->grace_open = false;
	hist_add(&f->grace_hist, now_ns > f->published_ns ? now_ns - f->published_ns : 0);
	return true;
}

bool
fib_in_use(struct fib *f, uint64_t now_ns)
{
	return grace_over(f, now_ns);
}

/* A commit is needed but readers still use the idle copy. */
static int
commit_delayed(struct fib *f)
{
	if (f->late && !f->delayed && (f->flip_wanted || fib_batch_count(f) > 0)) {
		f->delayed = true;
		counter_add(&f->commits_delayed, 1);
	}
	return -EAGAIN;
}

static void
table_grant(struct fib_table *t)
{
	if (grant_pays(t))
		host_grant(t);
	if (t->afi == AFI_IPV6)
		fib_v6_grant(t);
	else
		groups_grant(t);
}

int
fib_commit(struct fib *f, uint64_t now_ns)
{
	bool flip = f->flip_wanted;
	uint64_t begin_ns, took_ns;
	int err = 0;

	if (!has_work(f))
		return commit_status(f);
	if (!grace_over(f, now_ns))
		return commit_delayed(f);
	begin_ns = monotonic_ns();
	for (struct fib_table *t = f->dirty; t != NULL; t = t->dirty_next) {
		t->built = true;
		if (t->instance) {
			t->built = instance_build(f, t) == 0;
			t->lacks = !t->built;
			if (t->lacks)
				err = -ENOMEM;
		} else {
			table_grant(t);
			table_paint(t, f->idle);
			compact_drop(t, f->idle);
		}
		flip |= t->built && shadow_count(t->open) > 0;
		table_enter(f, t);
	}
	if (flip)
		publish(f);
	for (struct fib_table *t = f->dirty; t != NULL; t = t->dirty_next) {
		batch_drop(f, t, t->built);
		table_count(t);
	}
	dirty_clean(f);
	took_ns = monotonic_ns() - begin_ns;
	if (flip) {
		f->published_ns = now_ns + took_ns;
		hist_add(&f->commit_hist, took_ns);
	}
	return err != 0 ? err : commit_status(f);
}

bool
fib_settled(const struct fib *f)
{
	return !has_work(f);
}

bool
fib_shadow_get(
	const struct fib *f, struct vrf_id vrf, const struct prefix *p, struct path_list_id *out)
{
	const struct fib_table *t = table_get(f, vrf, p->afi);
	struct shadow_entry e;

	if (t == NULL || !route_get(t, p, &e))
		return false;
	*out = e.list;
	return true;
}

bool
fib_is_waiting(const struct fib *f, struct vrf_id vrf, const struct prefix *p)
{
	const struct fib_table *t = table_get(f, vrf, p->afi);
	struct shadow_entry e;

	return t != NULL && route_get(t, p, &e) && e.waiting;
}

bool
fib_installed(const struct fib *f, struct vrf_id vrf, const struct prefix *p)
{
	const struct fib_table *t = table_get(f, vrf, p->afi);
	struct shadow_entry e;

	return t != NULL && route_get(t, p, &e) && !e.waiting;
}

bool
fib_any_waiting(const struct fib *f, struct vrf_id vrf, unsigned afi)
{
	const struct fib_table *t = table_get(f, vrf, afi);

	return t != NULL && t->waiting_routes > 0;
}

bool
fib_is_full(const struct fib *f, struct vrf_id vrf, unsigned afi)
{
	const struct fib_table *t = table_get(f, vrf, afi);

	return t != NULL && t->instance && shadow_count(t->routes) >= FIB_INSTANCE_ROUTES;
}

bool
fib_is_tight(const struct fib *f, struct vrf_id vrf, unsigned afi)
{
	const struct fib_table *t = table_get(f, vrf, afi);

	return t != NULL &&
	       (t->waiting_routes > 0 ||
		       t->groups_wanted + t->groups_max / GROUPS_TIGHT > groups_usual(t));
}

/* ---- notes about routes that were installed or not ---- */

#define NOTE_INSTALLED 0u
#define NOTE_NOT_INSTALLED 1u

static void
note_add(struct fib_table *t, const struct prefix *p, uint32_t state)
{
	if (shadow_set(t->notes, p, (struct path_list_id){state}, false) != 0)
		t->notes_lost = true;
}

void
fib_note_installed(struct fib_table *t, const struct prefix *p)
{
	note_add(t, p, NOTE_INSTALLED);
}

void
fib_note_add(struct fib *f, struct vrf_id vrf, const struct prefix *p, bool installed)
{
	struct fib_table *t = table_get(f, vrf, p->afi);
	uint64_t before;

	if (t == NULL)
		return;
	if (t->notes == NULL && shadow_create(f->arena, t->afi, &t->notes) != 0) {
		f->instance_notes_lost = true;
		return;
	}
	before = shadow_count(t->notes);
	note_add(t, p, installed ? NOTE_INSTALLED : NOTE_NOT_INSTALLED);
	if (t->instance) {
		f->instance_notes += (unsigned)(shadow_count(t->notes) - before);
		f->instance_notes_lost |= t->notes_lost;
	}
}

static bool
note_of(const struct fib_table *t, struct shadow_entry *out)
{
	struct shadow_cursor c;

	if (t->notes == NULL || shadow_count(t->notes) == 0)
		return false;
	shadow_seek(t->notes, NULL, &c);
	return shadow_next(&c, out);
}

/* Finds the first note of all tables. Returns its table, or NULL without notes. */
static struct fib_table *
note_first(const struct fib *f, struct shadow_entry *out)
{
	struct fib_table *t;
	unsigned at = 0;

	for (t = f->painted; t != NULL; t = t->painted_next) {
		if (note_of(t, out))
			return t;
	}
	while (f->instance_notes > 0 && (t = table_next(f, &at)) != NULL) {
		if (note_of(t, out))
			return t;
	}
	return NULL;
}

bool
fib_note_peek(const struct fib *f, struct fib_note *out)
{
	struct shadow_entry e;
	const struct fib_table *t = note_first(f, &e);

	if (t != NULL)
		*out = (struct fib_note){t->vrf, e.prefix, e.list.v == NOTE_INSTALLED};
	return t != NULL;
}

void
fib_note_remove(struct fib *f)
{
	struct shadow_entry e;
	struct fib_table *t = note_first(f, &e);

	if (t == NULL)
		return;
	(void)shadow_remove(t->notes, &e.prefix);
	if (t->instance)
		f->instance_notes--;
}

bool
fib_notes_lost(struct fib *f)
{
	bool lost = f->instance_notes_lost;

	for (struct fib_table *t = f->painted; t != NULL; t = t->painted_next) {
		lost |= t->notes_lost;
		t->notes_lost = false;
	}
	f->instance_notes_lost = false;
	return lost;
}

bool
fib_shadow_lookup(const struct fib *f, struct vrf_id vrf, const struct ip_addr *addr,
	struct prefix *prefix, struct path_list_id *out)
{
	const struct fib_table *t = table_get(f, vrf, addr->afi);
	struct shadow_entry e;

	if (t == NULL)
		return false;
	if (!(t->afi == AFI_IPV6 ? fib_v6_cover(t, addr, &e)
				 : shadow_cover(t->routes, addr, 32, &e)))
		return false;
	*prefix = e.prefix;
	*out = e.list;
	return true;
}

static bool
shadow_v4_after(const struct fib_table *t, const struct prefix *after, struct shadow_entry *out)
{
	struct shadow_cursor c;

	shadow_seek(t->routes, after, &c);
	return shadow_next(&c, out) &&
	       (after == NULL || !prefix_equal(&out->prefix, after) || shadow_next(&c, out));
}

bool
fib_shadow_next(
	const struct fib *f, struct vrf_id vrf, const struct prefix *after, struct prefix *out)
{
	const struct fib_table *t = table_get(f, vrf, AFI_IPV4);
	bool v6 = after != NULL && after->afi == AFI_IPV6;
	struct shadow_entry e;

	if (v6 || t == NULL || !shadow_v4_after(t, after, &e)) {
		t = table_get(f, vrf, AFI_IPV6);
		if (t == NULL || !fib_v6_next(t, v6 ? after : NULL, &e))
			return false;
	}
	*out = e.prefix;
	return true;
}

/* Looks up in a generation. Returns false if the default route (miss) answers. */
static bool
generation_read(const struct fib_generation *g, struct vrf_id vrf, const struct ip_addr *addr,
	struct path_list_id *list, uint8_t *len)
{
	const uint16_t *answers = g->v4[vrf.v].answers;
	const uint32_t *words = g->v6[vrf.v].words;

	const struct compact *c =
		addr->afi == AFI_IPV6 ? g->v6[vrf.v].compact : g->v4[vrf.v].compact;

	if (c != NULL)
		return compact_read(c, addr->b, list, len);
	if (addr->afi == AFI_IPV6)
		return words != NULL && table_v6_read(words, addr->b, list, len);
	return answers != NULL &&
	       table_v4_read(g->v4[vrf.v].lpm, answers, addr_v4(addr), list, len);
}

int
fib_lookup(
	const struct fib *f, struct vrf_id vrf, const struct ip_addr *addr, struct fib_result *out)
{
	const struct fib_generation *g = fib_read_begin(&f->reader);
	struct path_list_id list;
	uint8_t len = 0;

	if (table_get(f, vrf, addr->afi) == NULL)
		return -ENOENT;
	*out = (struct fib_result){.generation = g->number};
	/* a table added later has an empty view in this generation, without default route */
	if (!generation_read(g, vrf, addr, &list, &len)) {
		list.v = addr->afi == AFI_IPV6 ? g->v6[vrf.v].miss : g->v4[vrf.v].miss;
		len = 0;
	}
	if (list.v == PATH_LIST_NONE)
		return 0;
	out->hit = true;
	out->prefix = prefix_from_addr(addr, len);
	out->path_list = list;
	return 0;
}

static void
counters_sum(const struct table_counters *n, struct fib_stats *out)
{
	out->writes += counter_get(&n->writes);
	out->rebuilds += counter_get(&n->rebuilds);
	out->installed += counter_get(&n->installed);
	out->not_installed += counter_get(&n->not_installed);
	out->groups_used += (uint32_t)counter_get(&n->groups_used);
	out->memory_bytes += counter_get(&n->memory_bytes);
}

uint64_t
fib_generation(const struct fib *f)
{
	return counter_get(&f->number);
}

void
fib_stats_get(const struct fib *f, struct fib_stats *out)
{
	struct fib_table *t;
	unsigned at = 0;

	*out = (struct fib_stats){
		.generation = counter_get(&f->number),
		.commits = counter_get(&f->commits),
		.grace_late = counter_get(&f->grace_late),
		.commits_delayed = counter_get(&f->commits_delayed),
	};
	while ((t = table_next(f, &at)) != NULL)
		counters_sum(&t->counters, out);
}

int
fib_table_stats_get(const struct fib *f, struct vrf_id vrf, enum afi afi, struct fib_stats *out)
{
	const struct fib_table *t = table_get(f, vrf, afi);

	if (t == NULL)
		return -ENOENT;
	*out = (struct fib_stats){
		.generation = counter_get(&f->number),
		.commits = counter_get(&f->commits),
	};
	counters_sum(&t->counters, out);
	return 0;
}

const struct hist *
fib_commit_hist(const struct fib *f)
{
	return &f->commit_hist;
}

const struct hist *
fib_grace_hist(const struct fib *f)
{
	return &f->grace_hist;
}

const struct fib_reader *
fib_reader(const struct fib *f)
{
	return &f->reader;
}

bool
fib_reader_bound(
	const struct fib_reader *shared, const struct bounds *bounds, struct fib_reader *out)
{
	/* an index from the tables stays in the place of the region (lpm/base/bounds.h) */
	static_assert(REGION_PLACE_BYTES - REGION_BYTES_MAX >
			      sizeof(uint32_t) * (((uint64_t)UINT32_MAX + 1) + (1u << 24)),
		"a word of an IPv6 table or of tbl8, in the last line of a region");
	struct fib_reader r = *shared;

	/* of this copy: the writer may change `shared` meanwhile */
	__asm__("" : "+m"(r));
	r.bounds = *bounds;
	if (!bounds_have(bounds, (const void *)(uintptr_t)r.current, sizeof(*r.current)) ||
		!bounds_have(bounds, r.labels, sizeof(*r.labels)) ||
		!bounds_have(bounds, r.tunnels, sizeof(*r.tunnels)) ||
		!bounds_have(bounds, r.path_lists, PATH_LIST_MAX * sizeof(*r.path_lists)) ||
		!bounds_have(bounds, r.path_lists_far, PATH_LIST_MAX * sizeof(*r.path_lists_far)) ||
		!bounds_have(bounds, (const void *)(uintptr_t)r.next_hops,
			NEXT_HOP_MAX * sizeof(*r.next_hops)) ||
		!bounds_have(bounds, r.adjacencies, ADJACENCY_MAX * sizeof(*r.adjacencies)))
		return false;
	*out = r;
	return true;
}
