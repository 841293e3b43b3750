/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Publishes a changed path set: the journal entry, then the records and the counts of the change, then the
 * end of the references on removed paths. Keeps the result for destinations with equal paths (struct
 * shard_reuse).
 */
#include "rib/shard/shard_paths_impl.h"

#include <string.h>

/* `aside`: as in struct journal_entry. Inlined: once a change. */
static inline __attribute__((always_inline)) void
entry_commit(struct shard *s, const struct shard_table *t, struct dest_id id, uint64_t sequence,
	bool aside) RUNS_ON(role_rib)
{
	unsigned flags = (aside ? JOURNAL_ASIDE : 0) | (s->bulk ? JOURNAL_BULK : 0);

	journal_commit(s->journal, s->config.index, sequence, t->id, id, flags);
	s->entries++;
	if (__builtin_expect(s->tap != NULL, 0))
		trace_decision(s, t, id, sequence);
}

static void
count_swept(struct shard *s, struct shard_table *t, const struct rib_path *p, uint32_t times)
{
	struct shard_rib_in *r = &shard_slot(s, p->peer)->rib[t->family];

	if (!shard_epoch_before(stamp(p), r->flush_below))
		shard_count(&r->counts.stale_swept, times);
}

/* Counts a refusal by a replay: `now` is refused and was accepted in old[0 .. n-1]. */
static void
count_refused(struct shard *s, const struct shard_table *t, const struct rib_path *old, unsigned n,
	const struct rib_path *now) RUNS_ON(role_rib)
{
	for (unsigned i = 0; is_refused(now) && i < n; i++)
		if (is_of(&old[i], now->peer, now->path_id) && !is_refused(&old[i]))
			refused_count(s, now->peer, t->family, refused_of(shard_path_refused(now)),
				NULL, 0);
}

/* Reports the change of one destination to the tables with leaked routes, and each refusal by a walk (`e` NULL). */
static void
change_report(struct shard *s, struct shard_table *t, struct dest_id id, const struct edit *e,
	const struct shard_change *c) RUNS_ON(role_rib)
{
	if (t->leak != LEAK_NOTHING)
		leak_changed(s, t, id, c);
	for (unsigned i = 0; e == NULL && i < c->take; i++)
		count_refused(s, t, &s->drop[c->doomed], c->drop - c->doomed, &s->take[i]);
}

/* Releases and counts the removed paths. */
static void
old_dropped(struct shard *s, struct shard_table *t, struct dest_id id, const struct edit *e,
	const struct shard_change *c) RUNS_ON(role_rib)
{
	change_report(s, t, id, e, c);
	for (unsigned i = 0; i < c->doomed; i++)
		count_swept(s, t, &s->drop[i], 1);
	for (unsigned i = 0; i < c->drop; i++)
		path_dropped(s, t, &s->drop[i]);
}

/* ---- history ---- */

static bool
is_usable(const struct rib_path *p)
{
	return (p->label_flags & (PATH_NEXT_HOP_UP | PATH_REJECTED)) == PATH_NEXT_HOP_UP;
}

/*
 * How the best path moves; `before`, `after`: NULL without a usable path. `rival`: the path of
 * `before` after the change; NULL: it is gone.
 */
static struct shard_best
best_move(const struct shard *s, const struct shard_table *t, const struct rib_path *before,
	const struct rib_path *after, const struct rib_path *rival) RUNS_ON(role_rib)
{
	struct shard_best b = {.before = {PEER_MAX}, .after = {PEER_MAX}};

	if (before != NULL)
		b.before = before->peer;
	if (after != NULL)
		b.after = after->peer;
	b.moved = (before == NULL) != (after == NULL) ||
		  (before != NULL && !is_of(before, after->peer, after->path_id));
	if (b.moved && before != NULL && after != NULL && rival != NULL)
		b.reason = rank_losing_step(s, t, after, rival);
	return b;
}

/* best_move() of a whole set; `set` NULL: no paths. */
static struct shard_best
best_move_set(const struct shard *s, const struct shard_table *t, const struct rib_path *old,
	unsigned old_count, const struct path_set *set) RUNS_ON(role_rib)
{
	const struct rib_path *before = old_count > 0 && is_usable(&old[0]) ? &old[0] : NULL,
			      *after = set != NULL && is_usable(&set->path[0]) ? &set->path[0]
									       : NULL;

	if (before == NULL || after == NULL || is_of(before, after->peer, after->path_id))
		return best_move(s, t, before, after, NULL);
	return best_move(s, t, before, after, path_find(set, before->peer, before->path_id));
}

static inline void
history_note(struct shard *s, const struct shard_table *t, struct dest_id id, const struct edit *e,
	const struct shard_change *c) RUNS_ON(role_rib)
{
	struct shard_edit edit;

	if (!history_wants(s, c) || ((s->bulk & BULK_TABLE) && !history_budget(s)))
		return;
	if (e != NULL)
		edit = (struct shard_edit){.peer = e->peer, .path_id = e->path_id};
	history_changed(s, t, id, e != NULL ? &edit : NULL, c);
}

/* ---- reuse of the last result ---- */

/*
 * Until this call the references of the first destination hold the new sets and next hops, and references of
 * replaced paths hold the old ones. A change of the first destination calls reuse_end() before.
 */
void
reuse_count(struct shard *s)
{
	struct shard_reuse *a = &s->reuse;
	struct shard_table *t = a->table;
	uint32_t runs = a->runs;

	if (runs == 0)
		return;
	a->runs = 0;
	for (unsigned i = 0; i < a->waits; i++)
		refused_waiting(s, a->wait[i].peer, t->family, (int64_t)runs * a->wait[i].by);
	for (unsigned i = 0; i < a->change.take; i++)
		path_ref(s, t, &s->take[i], runs);
	if (a->restamped)
		path_count_restamp(&shard_slot(s, a->peer)->rib[t->family], a->stamp, runs);
	path_counts_change(s, t, a->change.take, a->change.drop, runs);
	limit_count_change(s, t, a->change.take, a->change.drop, runs);
	for (unsigned i = 0; i < a->change.doomed; i++)
		count_swept(s, t, &s->drop[i], runs);
	for (unsigned i = 0; i < a->change.drop; i++)
		path_unref(s, t, &s->drop[i], runs);
}

void
reuse_end(struct shard *s)
{
	struct shard_reuse *a = &s->reuse;

	if (a->table == NULL)
		return;
	reuse_count(s);
	dest_ref_drop(a->table->dests, &a->before);
	dest_ref_drop(a->table->dests, &a->after);
	a->table = NULL;
}

/*
 * The scan gives equal results for equal paths, except replays, whose policies may match on the
 * prefix.
 */
static bool
reuse_same_scan(const struct shard_reuse *a, const struct shard_replay *y)
{
	for (unsigned i = 0; a->table->keeps != NULL && i < a->paths; i++)
		if (a->wanted[i].v != y->result[i].wanted.v)
			return false;
	return true;
}

static bool
reuse_same_edit(const struct shard_reuse *a, const struct edit *e)
{
	if (a->peer.v != e->peer.v || a->path_id != e->path_id ||
		a->announce != (e->accepted != NULL) || a->refused != e->refused)
		return false;
	return !a->announce || (a->label == e->label && a->flags == e->accepted->flags &&
				       a->accepted.v == e->accepted->id.v &&
				       a->received.v == e->accepted->received.v);
}

/*
 * Takes ownership of `before`. The published set of `id` becomes the result for destinations with
 * equal paths.
 */
static void
reuse_begin(struct shard *s, struct shard_table *t, struct dest_id id, struct dest_ref before,
	const struct edit *e, const struct making *m) RUNS_ON(role_rib)
{
	struct shard_reuse *a = &s->reuse;

	reuse_end(s);
	*a = (struct shard_reuse){.table = t,
		.before = before,
		.after = dest_ref_take(t->dests, id),
		.edit = e != NULL,
		.paths = m->old,
		.change = m->change,
		.restamped = m->restamped,
		.stamp = m->stamp};
	a->change.own = m->change.differs; /* a shared set has no imported paths */
	if (e != NULL) {
		a->peer = e->peer;
		a->path_id = e->path_id;
		a->refused = e->refused;
	}
	if (e != NULL && e->accepted != NULL) {
		a->announce = true;
		a->label = e->label;
		a->flags = e->accepted->flags;
		a->accepted = e->accepted->id;
		a->received = e->accepted->received;
	}
	if (a->before.word == 0 || a->after.word == 0)
		reuse_end(s);
	for (unsigned i = 0; a->table != NULL && e == NULL && i < a->paths; i++)
		a->wanted[i] = s->replay.result[i].wanted;
}

/*
 * The peer of the best path of a destination that is not installed; PEER_MAX if the destination is
 * installed or has no route. Without a report of missing room, every destination of the table
 * counts as installed.
 */
static inline struct peer_id
not_installed_of(struct shard_table *t, struct dest_id id) RUNS_ON(role_rib)
{
	struct dest_view view;

	if (!t->fib_short || dest_fib_get(t->dests, id) != DEST_NOT_INSTALLED ||
		!dest_peek_best(t->dests, id, &view) || view.paths == NULL ||
		view.paths->eligible == 0 || is_imported(&view.paths->path[0]))
		return (struct peer_id){PEER_MAX};
	return view.paths->path[0].peer;
}

/*
 * After a change of `id`: moves the count of not installed destinations from peer `from` to the
 * current peer.
 */
static inline void
not_installed_moves(struct shard *s, struct shard_table *t, struct dest_id id, struct peer_id from)
	RUNS_ON(role_rib)
{
	struct peer_id to;

	if (!t->fib_short)
		return;
	to = not_installed_of(t, id);
	if (to.v == from.v)
		return;
	if (from.v != PEER_MAX)
		refused_not_installed(s, from, t->family, -1);
	if (to.v != PEER_MAX)
		refused_not_installed(s, to, t->family, 1);
}

/*
 * Counts accepted paths without a valid next hop: `by` 1 for added, -1 for removed paths. Returns
 * the number of such paths; the first `max` are noted.
 */
static unsigned
count_waiting(struct shard *s, const struct shard_table *t, const struct rib_path *p, unsigned n,
	int8_t by, struct shard_wait *out, unsigned max) RUNS_ON(role_rib)
{
	unsigned count = 0;

	for (unsigned i = 0; i < n; i++) {
		if (is_refused(&p[i]) || (p[i].label_flags & PATH_NEXT_HOP_UP) ||
			is_imported(&p[i]))
			continue;
		refused_waiting(s, p[i].peer, t->family, by);
		if (count < max)
			out[count] = (struct shard_wait){p[i].peer, by};
		count++;
	}
	return count;
}

/* The present paths, for reuse_begin(); none if no destination will use the result. */
static struct dest_ref
reuse_before(struct shard *s, struct shard_table *t, struct dest_id id, const struct edit *e,
	const struct making *m) RUNS_ON(role_rib)
{
	return m->alone || (e != NULL && s->alone) ? (struct dest_ref){0}
						   : dest_ref_take(t->dests, id);
}

/* How the destination gets its paths: a new set, or one of the two that follow. */
struct stored {
	struct path_set *set; /* NULL: no paths */
	const struct dest_ref *ref; /* the set of a destination with equal paths */
	const struct dest_change *one; /* a change of one path: dest_edit_begin() */
};

/* Publishes a change: the only place where a path set and its journal entry appear, and the records of both. */
static inline void
change_publish(struct shard *s, struct shard_table *t, struct dest_id id, const struct edit *e,
	const struct shard_change *c, struct stored paths) RUNS_ON(role_rib)
{
	struct peer_id missing = not_installed_of(t, id);
	uint64_t sequence = c->differs ? journal_reserve(s->journal, s->config.index) : 0;

	if (paths.one != NULL)
		dest_edit_end(t->dests, id, paths.one, sequence);
	else if (paths.ref != NULL)
		dest_publish_ref(t->dests, id, paths.ref, sequence);
	else
		dest_publish(t->dests, id, paths.set, sequence);
	not_installed_moves(s, t, id, missing);
	if (c->differs)
		entry_commit(s, t, id, sequence, c->aside);
	if (__builtin_expect(s->changes != NULL, 0))
		changes_put(s, t, id, c);
	history_note(s, t, id, e, c);
}

/*
 * Publishes the change of one destination, keeps the result for destinations with the paths `before`, if the
 * set can be shared, and drops the removed paths.
 */
static void
change_finish(struct shard *s, struct shard_table *t, struct dest_id id, const struct edit *e,
	const struct making *m, struct stored paths, struct dest_ref before,
	const struct shard_wait *wait, unsigned waits) RUNS_ON(role_rib)
{
	change_publish(s, t, id, e, &m->change, paths);
	limit_count_change(s, t, m->change.take, m->change.drop, 1);
	if (before.word != 0) /* else the set has one owner */
		reuse_begin(s, t, id, before, e, m);
	/* shared sets have at most PATHS_PACKED_MAX paths */
	if (before.word != 0 && waits > 2 * PATHS_PACKED_MAX)
		reuse_end(s);
	if (before.word != 0 && s->reuse.table != NULL) {
		s->reuse.waits = waits;
		memcpy(s->reuse.wait, wait, waits * sizeof(wait[0]));
	}
	old_dropped(s, t, id, e, &m->change);
}

void
publish_made(struct shard *s, struct shard_table *t, struct dest_id id, struct path_set *set,
	const struct rib_path *old, unsigned old_count, const struct edit *e, struct making *m)
{
	struct dest_ref before = reuse_before(s, t, id, e, m);
	struct shard_wait wait[2 * PATHS_PACKED_MAX];
	unsigned waits = count_waiting(s, t, old, old_count, -1, wait, PATHS_PACKED_MAX);

	if (set != NULL && waits <= PATHS_PACKED_MAX)
		waits += count_waiting(
			s, t, set->path, set->count, 1, wait + waits, PATHS_PACKED_MAX);
	else if (set != NULL)
		(void)count_waiting(s, t, set->path, set->count, 1, NULL, 0);
	m->change.best = best_move_set(s, t, old, old_count, set);
	change_finish(s, t, id, e, m, (struct stored){.set = set}, before, wait, waits);
}

bool
reuse_run(struct shard *s, struct shard_table *t, struct dest_id id, const struct edit *e)
{
	struct shard_reuse *a = &s->reuse;

	if (a->table != t || a->edit != (e != NULL) || !dest_ref_is(t->dests, id, &a->before))
		return false;
	if (!(e != NULL ? reuse_same_edit(a, e) : reuse_same_scan(a, &s->replay)))
		return false;
	if (leak_room(s, t, a->change.take + a->change.drop + 1) != 0)
		return false;
	change_publish(s, t, id, e, &a->change, (struct stored){.ref = &a->after});
	change_report(s, t, id, e, &a->change);
	a->runs++;
	return true;
}

/* ---- a change of one path ---- */

const struct rib_path *
one_best(const struct path_set *front, const struct one *o)
{
	const struct rib_path *first = &front->path[o->at == 0];

	if (o->place == 0)
		first = &o->now;
	else if (front->count == (o->at == 0))
		return NULL;
	return is_usable(first) ? first : NULL;
}

static struct shard_best
one_move(const struct shard *s, const struct shard_table *t, const struct path_set *front,
	const struct one *o) RUNS_ON(role_rib)
{
	const struct rib_path *rival = &front->path[0];

	if (o->at == 0)
		rival = o->there ? &o->now : NULL;
	return best_move(s, t, is_usable(&front->path[0]) ? &front->path[0] : NULL,
		one_best(front, o), rival);
}

void
publish_one(struct shard *s, struct shard_table *t, struct dest_id id, const struct path_set *front,
	const struct one *o, const struct dest_change *change, struct making *m)
{
	struct dest_ref before;
	struct shard_wait wait[2];
	unsigned waits = 0;

	m->change.best = one_move(s, t, front, o);
	reuse_end(s); /* the scratch holds paths of the last result */
	before = reuse_before(s, t, id, o->e, m);
	if (o->was != NULL) {
		waits = count_waiting(s, t, o->was, 1, -1, wait, 1);
		s->drop[m->change.drop++] = *o->was;
	}
	if (o->there) {
		waits += count_waiting(s, t, &o->now, 1, 1, wait + waits, 1);
		path_took(s, t, &o->now);
		s->take[m->change.take++] = o->now;
	}
	m->change.own =
		m->change.differs; /* sets with imported paths are published by publish_made() */
	change_finish(s, t, id, o->e, m, (struct stored){.one = change}, before, wait, waits);
}

/* ---- room in the forwarding tables ---- */

static void
fib_state_change(struct shard *s, struct shard_table *t, const struct prefix *p, enum dest_fib now)
	RUNS_ON(role_rib)
{
	struct dest_id id = dest_find(t->dests, p);
	struct peer_id missing;
	struct dest_view view;
	uint64_t sequence = 0;
	bool route;

	if (id.v == DEST_NONE || !dest_peek_best(t->dests, id, &view) || view.fib == now)
		return;
	route = view.paths != NULL && view.paths->eligible > 0;
	if (!route && now == DEST_NOT_INSTALLED)
		return; /* the report is older than the withdrawal */
	if (route && (view.fib == DEST_INSTALLED || now == DEST_INSTALLED))
		sequence = journal_reserve(s->journal, s->config.index);
	missing = not_installed_of(t, id);
	dest_fib_set(t->dests, id, now, sequence);
	not_installed_moves(s, t, id, missing);
	if (sequence != 0)
		entry_commit(s, t, id, sequence, false);
}

void
shard_report(struct shard *s, struct shard_report *r)
{
	shard_sample_add(s, 0); /* entries of a report come from no message */
	for (unsigned i = 0; i < r->count; i++) {
		const struct shard_room *room = &r->at[i];
		enum family family =
			room->prefix.afi == AFI_IPV6 ? FAMILY_IPV6_UNICAST : FAMILY_IPV4_UNICAST;
		struct shard_table *t = shard_table_of(s, room->vrf, family);

		if (t == NULL)
			continue;
		t->fib_short = true;
		if (room->kind == ROOM_TIGHT || room->kind == ROOM_PLENTY)
			dest_tight(t->dests,
				room->kind == ROOM_TIGHT ? room->prefix.len : DEST_TIGHT_NEVER);
		else
			fib_state_change(s, t, &room->prefix,
				room->kind == ROOM_NONE ? DEST_NOT_INSTALLED : DEST_INSTALLED);
	}
	r->count = 0;
	/* release: pairs with the load in report_open */
	atomic_store_explicit(&r->busy, false, memory_order_release);
}
