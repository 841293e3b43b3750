/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The scan of an instance and the fill, after a change of configuration (rib/shard/shard_leak.c). Both run in
 * slices, while the list is empty.
 */
#include "rib/shard/shard_leak_impl.h"

#include <errno.h>

#define SCAN_IDS 256u /* destinations of a slice */
#define RETRY_NS 1000000000u /* between two attempts to import refused routes */
#define CROWD_PAUSE_MAX_NS (64 * (uint64_t)RETRY_NS)

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
	unsigned count = leak_match(s, l, set, l->now);

	for (unsigned i = 0; i < count; i++)
		if (l->now[i].v == x->vrf.v)
			return true;
	return false;
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
		err = leak_import_apply(s, v->l, v->x, &src);
		if (err != 0 || src.path.peer.v == p->peer.v)
			return err;
	}
	src.path.peer = p->peer;
	return leak_import_drop(s, v->l, v->x, &src);
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
		own |= !is_imported(&v->l->path[i]);
	if (own && v->t->leak == LEAK_OWN)
		leak_item_push(v->s, v->l, v->t, id)->kind = ITEM_OWN;
	for (int i = 0; i < count; i++)
		if (is_imported(&v->l->path[i]))
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
	l->crowds.scan_before = l->crowds.serial; /* changes of the scan itself */
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
	leak_rd_release(s, l, x);
	if (x->rd.v != x->next_rd.v && !(x->rd.v == 0 && leak_rd_taken(s, l, x->next_rd)))
		scan_again(l, x);
	else if (x->leaving)
		leak_instance_end(s, l, x);
}

static void
scan_slice(struct shard *s, struct shard_leak *l, uint64_t deadline_ns) RUNS_ON(role_rib)
{
	struct visit v = {.s = s, .l = l};

	if (l->scanning == NULL) {
		(void)leak_crowds_run(s, l, l->crowds.scan_before, deadline_ns);
		if (leak_crowds_before(l, l->crowds.scan_before))
			return;
		l->scanning = scan_next(l);
		if (l->scanning == NULL)
			return;
		l->scanning->scan_due = l->scanning->export_due = false;
		l->scans_due--;
		leak_rd_take(s, l, l->scanning);
		l->scan_family = 0;
		scan_table_begin(s, l);
	}
	if (l->scan_family == FAMILY_COUNT) {
		(void)leak_crowds_run(s, l, l->crowds.scan_before, deadline_ns);
		if (!leak_crowds_before(l, l->crowds.scan_before))
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

/* ---- the fill ---- */

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
		unsigned n = p->label_flags & PATH_REJECTED
				     ? 0
				     : leak_match(v->s, l, p->accepted, l->now);
		struct source src;
		int err = n > 0 ? source_find(v, view, p, &src) : -ENOENT;

		leak_places_note(v->s, l, v->t, id, p);
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
				err = leak_import_apply(v->s, l, x, &src);
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
		leak_crowded_clear(l, x);
	}
	l->fills_due = 0;
	l->fill_all = l->drop_due || l->places_are != PLACES_KNOWN || leak_places_crowded(s, l);
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
		x->filled_before = l->crowds.serial;
		if (!failed)
			leak_refused_set(l, x, x->recount);
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

static bool
refused_may_fit(const struct shard *s, const struct instance *x)
{
	return shard_load(&x->refused) > 0 &&
	       (x->recount_due || x->max_routes == 0 || leak_routes_of(s, x) < x->max_routes);
}

static bool
crowded_may_fit(const struct shard *s, const struct instance *x)
{
	return shard_load(&x->crowded) > 0 && x->crowd_moved &&
	       s->now_ns - x->crowd_tried_ns >= x->crowd_pause_ns;
}

/* Attempts in short succession become rarer: each imports all routes of the instance again. */
static void
crowd_pause(const struct shard *s, struct instance *x)
{
	bool soon = s->now_ns - x->crowd_tried_ns < 4 * x->crowd_pause_ns;

	x->crowd_pause_ns = soon ? 2 * x->crowd_pause_ns : RETRY_NS;
	if (x->crowd_pause_ns > CROWD_PAUSE_MAX_NS)
		x->crowd_pause_ns = CROWD_PAUSE_MAX_NS;
	x->crowd_tried_ns = s->now_ns;
}

/* Instances with refused routes are filled again, if there is room for one more or to count again. */
static void
refused_retry(struct shard *s, struct shard_leak *l)
{
	if ((l->refusing == 0 && l->crowds.refusing == 0) || s->now_ns - l->retry_ns < RETRY_NS)
		return;
	l->retry_ns = s->now_ns;
	for (unsigned i = 0; i < SHARD_INSTANCES_MAX; i++) {
		struct instance *x = atomic_load_explicit(&l->instance[i], memory_order_relaxed);

		if (x == NULL || x->fill_due)
			continue;
		if (crowded_may_fit(s, x))
			crowd_pause(s, x);
		else if (!refused_may_fit(s, x))
			continue;
		x->fill_due = true;
		l->fills_due++;
	}
}

/* ---- slices ---- */

static bool
scans_pending(const struct shard_leak *l)
{
	return l->scanning != NULL || l->scans_due > 0 || l->filling || l->fills_due > 0 ||
	       l->drop_due;
}

bool
leak_scans_pending(const struct shard *s)
{
	const struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);

	return l != NULL && scans_pending(l);
}

bool
leak_scan(struct shard *s, uint64_t deadline_ns)
{
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);

	if (l == NULL)
		return false;
	if (l->count > 0 && (!scans_pending(l) || leak_run(s, deadline_ns)))
		return true;
	refused_retry(s, l);
	if (!scans_pending(l))
		return false;
	shard_sample_add(s, 0);
	do {
		s->alone = true;
		s->bulk = BULK_TABLE;
		if (l->scanning != NULL || l->scans_due > 0)
			scan_slice(s, l, deadline_ns);
		else
			fill_slice(s, l, deadline_ns);
		s->alone = false;
		s->bulk = 0;
		reuse_end(s);
	} while (!leak_run(s, deadline_ns) && scans_pending(l) && walk_clock() < deadline_ns &&
		 !arena_is_short());
	return l->count > 0 || scans_pending(l);
}
