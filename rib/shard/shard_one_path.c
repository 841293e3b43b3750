/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A change of one path of a destination: finds the place of the path beside the ranked paths. The other
 * paths keep their order, so most changes need no ranking of all paths. Where that is not possible the
 * result is -ENOTSUP, and shard_paths.c builds the set again.
 */
#include "rib/shard/shard_paths_impl.h"

#include <errno.h>

/* ---- one path ---- */

/* Fewer first paths, with more behind, are filled up again by rebuild(). */
#define FRONT_LOW 4u

/* True if the next hop has changed, for the present job of the scan. */
static bool
is_dirty(const struct shard *s, const struct shard_table *t, const struct rib_path *p)
	RUNS_ON(role_rib)
{
	const struct shard_next_hop *n = next_hop_of(s, path_vrf(s, t, p), p);

	return t->redecide && n != NULL && n->dirty == s->next_hops.dirty;
}

static bool
front_has_med(const struct path_set *front)
{
	uint32_t flags = 0;

	for (unsigned i = 0; i < front->count; i++)
		flags |= front->path[i].label_flags;
	return (flags & PATH_MED) != 0;
}

/* True if a path of the front, or of the change, has a flag of PATH_RANK_RARE: no path of a tail has one. */
static bool
any_rare(const struct path_set *front, const struct one *o)
{
	uint32_t flags =
		(o->there ? o->now.label_flags : 0) | (o->was != NULL ? o->was->label_flags : 0);

	for (unsigned i = 0; i < front->count; i++)
		flags |= front->path[i].label_flags;
	return (flags & PATH_RANK_RARE) != 0;
}

static bool
any_med(const struct dest_tail *tail, const struct one *o)
{
	return o->front_med || tail->med || (o->is && (o->now.label_flags & PATH_MED)) ||
	       (o->was != NULL && (o->was->label_flags & PATH_MED));
}

/* True if the new path ranks before `p`. */
static bool
ranks_before(const struct shard *s, const struct shard_table *t, const struct one *o,
	const struct rib_path *p) RUNS_ON(role_rib)
{
	struct decision_input in[2];
	uint32_t key;

	if (is_refused(p))
		return true;
	key = rank_key(s, t, p);
	return rank_inputs(s, t, &o->now, o->key, p, key, in) ? decision_before(&in[0], &in[1])
							      : o->key < key;
}

/*
 * True if the new path loses against all paths of the front by the key alone. Without MED in the
 * front the last path has the highest key.
 */
static bool
loses_by_key(const struct shard *s, const struct shard_table *t, const struct one *o,
	const struct path_set *front, uint32_t *front_key) RUNS_ON(role_rib)
{
	if (*front_key == 0 && is_refused(&front->path[front->count - 1]))
		return false;
	if (*front_key == 0) {
		for (unsigned i = o->front_med ? 0 : front->count - 1u; i < front->count; i++) {
			uint32_t key = rank_key(s, t, &front->path[i]);

			*front_key = *front_key > key ? *front_key : key;
		}
	}
	return (o->key & DECISION_KEY_RANK) > (*front_key & DECISION_KEY_RANK);
}

/* With max_paths above 1: true if the change may alter the paths that forward together. */
static bool
multipath_changes(const struct shard *s, const struct shard_table *t, const struct path_set *front,
	const struct one *o) RUNS_ON(role_rib)
{
	const struct rib_path *best = &front->path[0];
	struct decision_input in[2];

	if (front->multipath == 0 || o->at < front->multipath)
		return true;
	if (!o->is)
		return false;
	if (ranks_before(s, t, o, &front->path[front->multipath - 1]))
		return true;
	return front->multipath < s->config.max_paths &&
	       rank_inputs(s, t, &o->now, o->key, best, rank_key(s, t, best), in) &&
	       decision_equal_cost(&in[0], &in[1]);
}

/* Finds o->place. False: the front must be filled up, or the change is not of one path alone. */
static bool
place_find(const struct shard *s, const struct shard_table *t, const struct path_set *front,
	const struct dest_tail *tail, struct one *o) RUNS_ON(role_rib)
{
	bool in_front = o->at < front->count;
	unsigned count = front->count - in_front, low, high = count;
	unsigned behind = tail->paths - (o->was != NULL && !in_front);
	unsigned enough = front->multipath < FRONT_LOW ? FRONT_LOW : front->multipath + 1u;

	low = s->config.max_paths > 1 ? front->multipath : 0;
	o->place = DEST_NO_PATH;
	if (!o->is)
		low = high;
	else if (!in_front && behind > 0 && loses_by_key(s, t, o, front, tail->front_key))
		low = high;
	/* with MED the front is no sorted sequence: the first path that loses */
	while (o->front_med && low < high &&
		!ranks_before(s, t, o, &front->path[low + (low >= o->at)]))
		low++;
	while (!o->front_med && low < high) {
		unsigned mid = low + (high - low) / 2;

		if (ranks_before(s, t, o, &front->path[mid + (mid >= o->at)]))
			high = mid;
		else
			low = mid + 1;
	}
	if (o->there)
		o->place = low < count || (behind == 0 && count < PATHS_PACKED_MAX) ? low
										    : DEST_BEHIND;
	return behind == 0 || count + (o->place <= count) >= enough;
}

/* The effects of the change on readers of the journal. */
static void
one_effects(const struct path_set *front, const struct one *o, struct making *m)
{
	bool was = o->was != NULL && !is_refused(o->was) && o->at < front->count,
	     is = o->is && o->place <= PATHS_PACKED_MAX;
	bool same = was && is && o->was->accepted.v == o->now.accepted.v &&
		    !flags_differ(o->was, &o->now);

	m->change.differs = (was || is) && !(same && o->place == o->at);
	m->change.aside =
		front->eligible > 0 && (o->at != 0 ? o->place != 0 : same && o->place == 0);
}

/*
 * Changes one path beside the ranked paths without ranking all. `view` as of dest_peek(). 0,
 * -ENOMEM; -ENOTSUP: rebuild().
 */
static int
change_one(struct shard *s, struct shard_table *t, struct dest_id id, const struct dest_view *view,
	struct one *o) RUNS_ON(role_rib)
{
	const struct path_set *front = view->paths;
	struct dest_tail tail = dest_tail_of(t->dests, id);
	struct making m = {.old = front->count, .change.doomed = o->doomed};
	struct dest_edit edit = {.remove = o->at};
	struct dest_change change;
	int err;

	if (any_rare(front, o))
		return -ENOTSUP;
	o->is = o->there && !is_refused(&o->now);
	o->front_med = front_has_med(front);
	if (any_med(&tail, o) &&
		((o->is && rank_med_decides(s, t, id, front, &tail, &o->now, o->at)) ||
			(o->was != NULL && !is_refused(o->was) &&
				rank_med_decides(s, t, id, front, &tail, o->was, o->at))))
		return -ENOTSUP;
	if (o->is)
		o->key = rank_key(s, t, &o->now);
	if (s->config.max_paths > 1 && multipath_changes(s, t, front, o))
		return -ENOTSUP;
	if (!place_find(s, t, front, &tail, o))
		return -ENOTSUP;
	one_effects(front, o, &m);
	s->effort++;
	if (o->e == NULL && o->there && !m.change.differs &&
		o->now.label_flags == o->was->label_flags)
		return 0;
	edit.insert = o->place;
	edit.multipath = s->config.max_paths > 1 ? front->multipath : one_best(front, o) != NULL;
	edit.path = o->now;
	err = path_scratch_reserve(s, 1);
	if (err == 0)
		err = leak_room(s, t, 2);
	if (err == 0)
		err = dest_edit_begin(t->dests, id, &edit, &change);
	if (err != 0)
		return err;
	publish_one(s, t, id, front, o, &change, &m);
	return 0;
}

int
one_edit(struct shard *s, struct shard_table *t, struct dest_id id, const struct dest_view *view,
	const struct edit *e, unsigned at, const struct rib_path *was)
{
	struct one o = {.e = e, .was = was, .at = at, .there = e->accepted != NULL};

	if (t->sweeps != NULL || t->rank_all || t->releasing || t->ageing || table_holds(t) ||
		shard_slot(s, e->peer)->rib[t->family].rerank || e->path_id != 0)
		return -ENOTSUP;
	if (o.there)
		path_make(s, t, e, &o.now);
	return change_one(s, t, id, view, &o);
}

int
one_redecide(
	struct shard *s, struct shard_table *t, struct dest_id id, const struct dest_view *view)
{
	struct one o = {.at = DEST_NO_PATH};
	const struct rib_path *found = NULL;
	struct rib_path behind, now;
	struct dest_view front;

	if (t->rank_all || t->releasing || t->ageing || table_holds(t) || t->keeps != NULL)
		return -ENOTSUP;
	for (unsigned i = 0; i < view->paths->count; i++) {
		const struct rib_path *p = &view->paths->path[i];
		bool doomed = path_doomed(s, t, p);

		now = *p;
		if (!doomed && (is_refused(p) || (!path_refresh_flags(s, t, &view->prefix, &now) &&
							 !is_dirty(s, t, p))))
			continue;
		if (found != NULL)
			return -ENOTSUP;
		found = p;
		o.doomed = doomed;
		o.there = !doomed;
		o.now = now;
	}
	if (found == NULL)
		return 0;
	if (!dest_peek(t->dests, id, &front) || front.paths == NULL)
		return -ENOTSUP;
	o.was = path_locate(t, id, &front, found->peer, found->path_id, &behind, &o.at);
	return o.was != NULL ? change_one(s, t, id, &front, &o) : -ENOTSUP;
}

/* ---- one path of a set that is an array ---- */

/* From this number of paths on, one path is inserted instead of ranking all. */
#define ARRAY_INSERTS 16u

/* Copies `old` to `set` with the change `o`. */
static void
one_copy(const struct path_set *old, const struct one *o, struct path_set *set)
{
	unsigned kept = old->count - (o->was != NULL);
	unsigned place = !o->there ? DEST_NO_PATH : o->place < kept ? o->place : kept;
	int eligible = old->eligible;

	for (unsigned from = 0, to = 0; to < set->count; to++) {
		from += from == o->at;
		set->path[to] = to == place ? o->now : old->path[from++];
	}
	eligible -= o->was != NULL && (o->was->label_flags & PATH_NEXT_HOP_UP);
	eligible += o->there && (o->now.label_flags & PATH_NEXT_HOP_UP);
	set->eligible = (uint16_t)eligible;
	set->multipath = eligible > 0;
	set->unused = 0;
}

int
one_of_array(struct shard *s, struct shard_table *t, struct dest_id id,
	const struct dest_view *view, const struct edit *e, const struct rib_path *was)
{
	const struct path_set *old = view->paths;
	struct one o = {.e = e, .was = was, .at = DEST_NO_PATH, .there = e->accepted != NULL};
	struct dest_tail none = {0};
	struct making m = {.old = old->count};
	struct path_set *set;
	bool own, before = was != NULL && !is_refused(was);
	int err;

	if (old->count < ARRAY_INSERTS || old->count == UINT16_MAX || view->behind > 0 ||
		s->config.max_paths > 1 || t->sweeps != NULL || t->rank_all || t->releasing ||
		t->ageing || t->keeps != NULL || table_holds(t))
		return -ENOTSUP;
	if (was != NULL)
		o.at = (unsigned)(was - old->path);
	if (o.there)
		path_make(s, t, e, &o.now);
	own = !is_imported(o.there ? &o.now : was);
	if (own && shard_slot(s, e->peer)->rib[t->family].rerank)
		return -ENOTSUP;
	o.is = o.there && !is_refused(&o.now);
	o.front_med = front_has_med(old);
	if (any_rare(old, &o))
		return -ENOTSUP;
	if (any_med(&none, &o) &&
		((o.is && rank_med_decides(s, t, id, old, &none, &o.now, o.at)) ||
			(before && rank_med_decides(s, t, id, old, &none, was, o.at))))
		return -ENOTSUP;
	if (o.is)
		o.key = rank_key(s, t, &o.now);
	(void)place_find(s, t, old, &none, &o);
	reuse_end(s); /* the scratch holds paths of the last result */
	err = path_scratch_reserve(s, 1);
	if (err == 0)
		err = leak_room(s, t, 2);
	set = err == 0 ? path_set_alloc(t->dests, old->count + o.there - (was != NULL)) : NULL;
	if (set == NULL)
		return -ENOMEM;
	one_copy(old, &o, set);
	one_effects(old, &o, &m);
	/* readers see all paths of this set */
	m.change.differs =
		(before || o.is) && !(before && o.is && was->accepted.v == o.now.accepted.v &&
					    !flags_differ(was, &o.now) && o.place == o.at);
	s->effort++;
	if (was != NULL)
		s->drop[m.change.drop++] = *was;
	if (o.there) {
		path_took(s, t, &o.now);
		s->take[m.change.take++] = o.now;
	}
	m.change.own = own;
	publish_made(s, t, id, set, old->path, old->count, e, &m);
	return 0;
}
