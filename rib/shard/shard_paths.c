/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Builds and publishes the next path set of a destination. rib/shard/shard_paths_impl.h lists the parts.
 *
 * Reserve, then apply: the new set is filled and ranked before anything is published, so without
 * memory the destination stays unchanged. A set equal for all readers is not published. A change
 * without effect on readers of the journal (rejected paths, received attributes of accepted paths)
 * is published without a journal entry.
 *
 * Order of an apply: publish, journal entry, then drop the references of the old set. The grace
 * period of an attribute set must not begin while a reader can still find its id.
 */
#include "rib/shard/shard_paths_impl.h"

#include <errno.h>

const struct rib_path *
path_locate(const struct shard_table *t, struct dest_id id, const struct dest_view *view,
	struct peer_id peer, uint32_t path_id, struct rib_path *room, unsigned *at)
{
	const struct rib_path *p = path_find(view->paths, peer, path_id);

	*at = DEST_NO_PATH;
	if (p != NULL)
		*at = (unsigned)(p - view->paths->path);
	else if (view->behind > 0 && path_id == 0)
		*at = dest_tail_find(t->dests, id, peer, room);
	return p != NULL ? p : *at != DEST_NO_PATH ? room : NULL;
}

struct vrf_id
imported_vrf(const struct shard *s, const struct rib_path *p)
{
	const struct shard_peer_slot *slot = shard_slot(s, p->peer);

	return atomic_load_explicit(&slot->key, memory_order_relaxed)->vrf;
}

bool
path_doomed(const struct shard *s, const struct shard_table *t, const struct rib_path *p)
{
	const struct shard_rib_in *r;

	if (t->sweeps == NULL)
		return false;
	r = rib_of(s, t, p);
	return r->sweeping && shard_epoch_before(stamp(p), r->sweep_below);
}

int
dest_expand(struct shard *s, struct shard_table *t, struct dest_id id, struct dest_view *view)
{
	unsigned n = view->paths->count + view->behind;

	if (n > s->all_size) {
		unsigned size = n + n / 4;
		struct path_set *all =
			arena_realloc(s->arena, s->all, sizeof(*all) + size * sizeof(all->path[0]));

		if (all == NULL)
			return -ENOMEM;
		s->all = all;
		s->all_size = size;
	}
	(void)dest_peek_all(t->dests, id, view, s->all, s->all_size);
	return 0;
}

/* True if the best path is the same and its peer has not changed its identity (rerank). */
static bool
same_best(const struct shard *s, const struct shard_table *t, const struct path_set *old,
	const struct path_set *now)
{
	const struct rib_path *a = &old->path[0], *b = &now->path[0];

	return old->eligible > 0 && now->eligible > 0 && is_of(a, b->peer, b->path_id) &&
	       a->accepted.v == b->accepted.v && !flags_differ(a, b) && !rib_of(s, t, b)->rerank;
}

/* Fills the set with keep[0 .. n-1] in s->order, then refused[0 .. refused-1]. */
static void
set_fill(const struct shard *s, struct path_set *set, unsigned n, unsigned refused)
{
	set->count = (uint16_t)(n + refused);
	set->eligible = 0;
	set->unused = 0;
	for (unsigned i = 0; i < n; i++) {
		set->path[i] = s->keep[s->order[i]];
		if (set->path[i].label_flags & PATH_NEXT_HOP_UP)
			set->eligible++;
	}
	for (unsigned i = 0; i < refused; i++)
		set->path[n + i] = s->refused[i];
	set->multipath = (uint16_t)(n > 0 ? s->multipath : 0);
}

/* True if a path before or after is not imported. */
static bool
any_own(const struct shard *s, const struct making *m)
{
	for (unsigned i = 0; i < m->keep; i++)
		if (!is_imported(&s->keep[i]))
			return true;
	for (unsigned i = 0; i < m->change.drop; i++)
		if (!is_imported(&s->drop[i]))
			return true;
	return false;
}

/*
 * Builds the set from the existing paths without doomed paths, with edit `e` (may be NULL) or
 * replays, or with changes of imported paths, and ranks. `view` has all paths. 0, -ENOMEM.
 */
static int
rebuild_all(struct shard *s, struct shard_table *t, struct dest_id id, const struct dest_view *view,
	const struct edit *e, struct import_edits *imports) RUNS_ON(role_rib)
{
	static const struct path_set nothing;
	const struct path_set *old = view->paths != NULL ? view->paths : &nothing;
	struct making m = {.old = old->count, .alone = imports != NULL};
	struct path_set *set = NULL;
	int err;

	reuse_end(s); /* the scratch holds paths of the last result */
	err = path_scratch_reserve(s, old->count + (imports != NULL ? imports->count : 1u));
	s->effort += old->count;
	if (err != 0)
		return err;
	err = imports != NULL ? make_imports(s, t, &m, view, imports)
			      : make_paths(s, t, &m, view, e);
	if (err != 0 || m.keep + m.refused > UINT16_MAX ||
		leak_room(s, t, m.change.take + m.change.drop + 1) != 0)
		return make_undo(s, t, &m);
	if (imports != NULL && !m.change.differs && m.change.take + m.change.drop == 0)
		return 0; /* a fill imports all paths again */
	if (m.keep > 0)
		m.change.differs |= rank_paths(s, t, &view->prefix, m.keep, view->ordered) ||
				    s->multipath != old->multipath;
	/* a front is filled up */
	m.change.differs |= view->ordered < old->count && view->ordered < PATHS_PACKED_MAX;
	if (!m.change.differs && m.change.take + m.change.drop == 0)
		return 0;
	if (m.keep + m.refused > 0) {
		set = path_set_alloc(t->dests, m.keep + m.refused);
		if (set == NULL)
			return make_undo(s, t, &m);
		set_fill(s, set, m.keep, m.refused);
		m.change.aside = same_best(s, t, old, set);
	}
	m.change.own = any_own(s, &m);
	publish_made(s, t, id, set, old->path, old->count, e, &m);
	return 0;
}

/* rebuild_all(), also with paths behind the view. 0, -ENOMEM. */
static int
rebuild_with(struct shard *s, struct shard_table *t, struct dest_id id,
	const struct dest_view *view, const struct edit *e, struct import_edits *imports)
	RUNS_ON(role_rib)
{
	struct dest_view all;
	int err;

	if (view->behind > 0) {
		if (!dest_peek(t->dests, id, &all))
			return 0;
		err = dest_expand(s, t, id, &all);
		if (err != 0)
			return err;
		view = &all;
	}
	return rebuild_all(s, t, id, view, e, imports);
}

static int
rebuild(struct shard *s, struct shard_table *t, struct dest_id id, const struct dest_view *view,
	const struct edit *e) RUNS_ON(role_rib)
{
	return rebuild_with(s, t, id, view, e, NULL);
}

/*
 * rebuild() of a destination with one path at most, without a ranking: replaces `old` by `now`, where NULL is
 * no path. 0, -ENOMEM.
 */
static int
replace_only(struct shard *s, struct shard_table *t, struct dest_id id, const struct edit *e,
	const struct rib_path *old, const struct rib_path *now) RUNS_ON(role_rib)
{
	struct making m = {.old = old != NULL};
	struct path_set *set = NULL;
	int err;

	reuse_end(s); /* the scratch holds paths of the last result */
	err = path_scratch_reserve(s, 1);
	if (err == 0)
		err = leak_room(s, t, 2);
	if (err == 0 && now != NULL) {
		set = path_set_alloc(t->dests, 1);
		err = set != NULL ? 0 : -ENOMEM;
	}
	if (err != 0)
		return err;
	make_change(s, t, &m, old, now);
	if (set != NULL) {
		set->path[0] = *now;
		set->eligible = set->multipath = (now->label_flags & PATH_NEXT_HOP_UP) != 0;
	}
	m.change.own = !is_imported(old != NULL ? old : now);
	publish_made(s, t, id, set, old, old != NULL, e, &m);
	return 0;
}

/*
 * rebuild() of a destination with one path when only replays run: most destinations of most
 * networks. 0, -ENOMEM.
 */
static int
replay_only(struct shard *s, struct shard_table *t, struct dest_id id, const struct dest_view *view)
	RUNS_ON(role_rib)
{
	const struct rib_path *old = &view->paths->path[0];
	struct rib_path now = *old;
	bool gone = false;
	int changed = replay_path(s, t, &view->prefix, &now, &gone);

	if (changed <= 0)
		return changed;
	s->effort++;
	if (!is_refused(&now))
		(void)path_refresh_flags(s, t, &view->prefix, &now);
	return replace_only(s, t, id, NULL, old, gone ? NULL : &now);
}

int
dest_redecide(
	struct shard *s, struct shard_table *t, struct dest_id id, const struct dest_view *view)
{
	bool own = next_hops_own_any(s, t, view);
	int err;

	if (!own && reuse_run(s, t, id, NULL))
		return 0;
	err = one_redecide(s, t, id, view);
	if (err == -ENOTSUP)
		err = view->paths->count == 1 && replays_alone(t) && !table_holds(t)
			      ? replay_only(s, t, id, view)
			      : rebuild(s, t, id, view, NULL);
	if (own)
		reuse_end(s); /* the result depends on the prefix */
	return err;
}

/* The first path of a destination. 0, -ENOMEM. */
static int
announce_first(struct shard *s, struct shard_table *t, struct dest_id id, const struct edit *e)
	RUNS_ON(role_rib)
{
	struct rib_path now;

	path_make(s, t, e, &now);
	return replace_only(s, t, id, e, NULL, &now);
}

/* True if the announcement equals the path: only the stamp changes. */
static bool
announce_same(const struct rib_path *p, const struct edit *e, const struct shard_rib_in *r)
{
	uint32_t flags = e->label << 12 | e->accepted->flags;
	uint32_t generation = PATH_GENERATIONS << PATH_GENERATION_SHIFT;

	if (flags & PATH_REJECTED || e->peer.v == PEER_SELF.v)
		generation = 0;
	return !r->rerank && p->accepted.v == e->accepted->id.v &&
	       p->received.v == e->accepted->received.v && (p->label_flags & ~generation) == flags;
}

/*
 * Changes the stamp and the mark of `same`, path `at`: in place if no destination shares the set
 * and the mark stays. 0, -ENOMEM.
 */
static int
restamp(struct shard *s, struct shard_table *t, struct dest_id id, struct dest_view *view,
	const struct rib_path *same, unsigned at, const struct edit *e) RUNS_ON(role_rib)
{
	struct shard_rib_in *r = &shard_slot(s, e->peer)->rib[t->family];
	uint16_t epoch = shard_epoch(r), was = stamp(same);
	struct making m = {.restamped = true, .stamp = was};
	struct path_set *set;
	int err;

	if (is_marked(same, r) && dest_stamp(t->dests, id, at, epoch)) {
		path_count_restamp(r, was, 1);
		return 0;
	}
	err = view->behind > 0 ? dest_expand(s, t, id, view) : 0;
	if (err != 0)
		return err;
	m.keep = view->paths->count;
	set = path_set_alloc(t->dests, view->paths->count);
	if (set == NULL)
		return -ENOMEM;
	set->eligible = view->paths->eligible;
	set->multipath = view->paths->multipath;
	for (unsigned i = 0; i < set->count; i++) {
		set->path[i] = view->paths->path[i];
		if (!is_of(&set->path[i], e->peer, e->path_id))
			continue;
		atomic_store_explicit(&set->path[i].epoch, epoch, memory_order_relaxed);
		path_mark(&set->path[i], r);
	}
	path_count_restamp(r, was, 1);
	publish_made(s, t, id, set, view->paths->path, view->paths->count, e, &m);
	return 0;
}

/* Applies an edit of `was`, path `at`. 0, -ENOMEM. */
static int
edit_apply(struct shard *s, struct shard_table *t, struct dest_id id, const struct dest_view *view,
	const struct edit *e, unsigned at, const struct rib_path *was) RUNS_ON(role_rib)
{
	int err = one_edit(s, t, id, view, e, at, was);

	if (err == -ENOTSUP && view->behind == 0 && view->paths->count > PATHS_PACKED_MAX &&
		e->path_id == 0)
		err = one_of_array(s, t, id, view, e, was);
	return err == -ENOTSUP ? rebuild(s, t, id, view, e) : err;
}

/* `acc` for a path of one prefix, whose next hop may have a state for this prefix: then in *room. */
static const struct shard_accepted *
accepted_for(const struct shard *s, const struct shard_table *t, struct peer_id peer,
	const struct prefix *p, const struct shard_accepted *acc, struct shard_accepted *room)
{
	const struct nexthop_own *own =
		acc->flags & PATH_REJECTED ? NULL : next_hop_own(t, p, acc->next_hop);

	if (__builtin_expect(own == NULL, 1))
		return acc;
	*room = *acc;
	room->flags = (acc->flags & ~(uint32_t)PATH_NEXT_HOP_UP) | PATH_OWN;
	if (next_hop_eligible(s, shard_slot(s, peer), peer, acc->next_hop, own))
		room->flags |= PATH_NEXT_HOP_UP;
	return room;
}

int
path_announce(struct shard *s, struct shard_table *t, struct peer_id peer, const struct rib_nlri *n,
	const struct shard_accepted *acc)
{
	struct shard_accepted room;
	struct edit e = {
		.peer = peer,
		.path_id = n->path_id,
		.label = n->label & SHARD_LABEL_NONE,
		.accepted = accepted_for(s, t, peer, &n->prefix, acc, &room),
	};
	struct shard_rib_in *r = &shard_slot(s, peer)->rib[t->family];
	const struct rib_path *same;
	struct rib_path behind;
	struct dest_view view;
	unsigned at;
	struct dest_id id = s->hint;
	int err = 0;

	if (!dest_is(t->dests, id, n->rd, &n->prefix))
		err = dest_get_hashed(t->dests, n->rd, &n->prefix,
			n->hash != 0 ? n->hash : dest_key_hash(t->dests, n->rd, &n->prefix), &id);
	if (err != 0)
		return err;
	r->in_order = id.v == r->next.v;
	r->next.v = id.v + 1;
	if (reuse_run(s, t, id, &e))
		return 0;
	if (!dest_peek(t->dests, id, &view) || view.paths == NULL)
		return announce_first(s, t, id, &e);
	same = path_locate(t, id, &view, peer, e.path_id, &behind, &at);
	if (same != NULL && announce_same(same, &e, r))
		return stamp(same) == shard_epoch(r) && is_marked(same, r)
			       ? 0
			       : restamp(s, t, id, &view, same, at, &e);
	/* a new best path may be a withdrawal for a peer that got the old path */
	if (!import_may_withdraw(s))
		return -EAGAIN;
	return edit_apply(s, t, id, &view, &e, at, same);
}

bool
path_counted(const struct shard *s, const struct shard_table *t, struct peer_id peer,
	const struct rib_nlri *n)
{
	struct dest_id id = dest_find_rd(t->dests, n->rd, &n->prefix);
	const struct rib_path *path;
	struct rib_path behind;
	struct dest_view view;
	unsigned at;

	if (id.v == DEST_NONE || !dest_peek(t->dests, id, &view))
		return false;
	path = path_locate(t, id, &view, peer, n->path_id, &behind, &at);
	return path != NULL && !path_doomed(s, t, path);
}

int
path_withdraw(struct shard *s, struct shard_table *t, struct peer_id peer, const struct rib_nlri *n,
	bool refused, bool *there)
{
	struct edit e = {
		.peer = peer, .path_id = n->path_id, .label = SHARD_LABEL_NONE, .refused = refused};
	const struct rib_path *was;
	struct rib_path behind;
	struct dest_view view;
	struct dest_id id = dest_find_rd(t->dests, n->rd, &n->prefix);
	unsigned at;

	if (there != NULL)
		*there = id.v != DEST_NONE;
	if (id.v == DEST_NONE || reuse_run(s, t, id, &e))
		return 0;
	was = dest_peek(t->dests, id, &view)
		      ? path_locate(t, id, &view, peer, n->path_id, &behind, &at)
		      : NULL;
	if (there != NULL)
		*there = was != NULL;
	if (was == NULL)
		return 0;
	if (!import_may_withdraw(s))
		return -EAGAIN;
	return edit_apply(s, t, id, &view, &e, at, was);
}

/* ---- leaked paths ---- */

/* An edit of an imported path. 0, -ENOMEM. */
static int
import_edit(struct shard *s, struct shard_table *t, struct dest_id id, const struct dest_view *view,
	const struct edit *e, const struct rib_path *was) RUNS_ON(role_rib)
{
	int err = one_of_array(s, t, id, view, e, was);

	return err == -ENOTSUP ? rebuild(s, t, id, view, e) : err;
}

int
path_import(struct shard *s, struct shard_table *t, struct peer_id peer, const struct prefix *p,
	uint32_t origin, uint32_t label, const struct shard_accepted *acc)
{
	struct edit e = {.peer = peer, .path_id = origin, .label = label, .accepted = acc};
	struct dest_id id = dest_find(t->dests, p);
	const struct rib_path *was = NULL;
	struct dest_view view;
	int err;

	if (id.v == DEST_NONE && acc == NULL)
		return 0;
	if (id.v == DEST_NONE) {
		err = dest_get(t->dests, p, &id);
		if (err != 0)
			return err;
	}
	if (!dest_peek(t->dests, id, &view))
		view.paths = NULL;
	was = path_find(view.paths, peer, origin);
	if (acc == NULL)
		return was != NULL ? import_edit(s, t, id, &view, &e, was) : 0;
	if (was != NULL && was->accepted.v == acc->id.v &&
		was->label_flags == (label << 12 | acc->flags))
		return 0;
	return view.paths == NULL ? announce_first(s, t, id, &e)
				  : import_edit(s, t, id, &view, &e, was);
}

unsigned
path_count_of(const struct shard_table *t, const struct prefix *p)
{
	struct dest_id id = dest_find(t->dests, p);
	struct dest_view view;

	if (id.v == DEST_NONE || !dest_peek_best(t->dests, id, &view) || view.paths == NULL)
		return 0;
	return view.paths->count + view.behind;
}

void
path_imported(const struct shard *s, const struct shard_table *t, struct peer_id peer,
	uint32_t origin, uint32_t label, const struct shard_accepted *acc, struct rib_path *out)
{
	struct edit e = {.peer = peer, .path_id = origin, .label = label, .accepted = acc};

	path_make(s, t, &e, out);
}

int
path_import_many(
	struct shard *s, struct shard_table *t, const struct prefix *p, struct import_edits *x)
{
	struct dest_id id = dest_find(t->dests, p);
	struct dest_view view;
	bool any = false;
	int err;

	for (unsigned i = 0; i < x->count; i++) {
		struct rib_path *path = &x->edit[i].path;

		if (!x->edit[i].there)
			continue;
		any = true;
		/* since the change began to wait */
		atomic_store_explicit(&path->epoch, shard_epoch(&t->imports), memory_order_relaxed);
		path_mark(path, &t->imports);
		(void)path_refresh_flags(s, t, p, path);
	}
	if (id.v == DEST_NONE && !any) {
		x->removed += x->count;
		return 0;
	}
	err = id.v == DEST_NONE ? dest_get(t->dests, p, &id) : 0;
	if (err != 0)
		return err;
	return dest_peek(t->dests, id, &view) ? rebuild_with(s, t, id, &view, NULL, x) : 0;
}

bool
path_read(const struct shard_table *t, struct dest_id id, struct peer_id peer, uint32_t path_id,
	struct rib_path *out)
{
	const struct rib_path *p;
	struct rib_path behind;
	struct dest_view view;
	unsigned at;

	if (!dest_peek(t->dests, id, &view) || view.paths == NULL)
		return false;
	p = path_locate(t, id, &view, peer, path_id, &behind, &at);
	if (p != NULL)
		*out = *p;
	return p != NULL;
}

int
path_best_own(struct shard *s, struct shard_table *t, struct dest_id id, struct rib_path *out)
{
	struct dest_view view;
	unsigned n = 0;
	int err;

	if (!dest_peek(t->dests, id, &view) || view.paths == NULL)
		return -ENOENT;
	reuse_end(s); /* the scratch holds paths of the last result */
	err = path_scratch_reserve(s, view.paths->count);
	if (err != 0)
		return err;
	for (unsigned i = 0; i < view.paths->eligible; i++) {
		const struct rib_path *p = &view.paths->path[i];

		if (is_imported(p))
			continue;
		/* a set with paths behind the front has no imported paths */
		if (view.behind > 0 || view.paths->count == 1) {
			*out = *p;
			return 0;
		}
		s->keep[n++] = *p;
	}
	if (n == 0)
		return -ENOENT;
	/*
	 * Imported paths must not affect the order, as they may do by MED: routes would leak in a
	 * circle.
	 */
	(void)rank_paths(s, t, &view.prefix, n, n);
	*out = s->keep[s->order[0]];
	return 0;
}
