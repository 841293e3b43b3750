/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Makes the paths of the next set of a destination: the present paths without doomed paths, with an edit,
 * or with the results of the scan (replays, next hops, the long-lived phase, held paths). The paths stay
 * in the scratch of the shard until shard_publish.c publishes the set.
 */
#include "rib/shard/shard_paths_impl.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define SCRATCH_MIN 64u

static void
scratch_drop(struct shard *s)
{
	arena_free(s->arena, s->keep);
	arena_free(s->arena, s->refused);
	arena_free(s->arena, s->take);
	arena_free(s->arena, s->drop);
	arena_free(s->arena, s->in);
	arena_free(s->arena, s->order);
	s->keep = s->refused = s->take = s->drop = NULL;
	s->in = NULL;
	s->order = NULL;
	s->scratch_size = 0;
}

void
scratch_free(struct shard *s)
{
	scratch_drop(s);
	arena_free(s->arena, s->all);
	arena_free(s->arena, s->aged);
	s->all = NULL;
	s->aged = NULL;
	s->all_size = 0;
}

int
path_scratch_reserve(struct shard *s, uint32_t n)
{
	uint32_t size = SCRATCH_MIN;

	if (n <= s->scratch_size)
		return 0;
	while (size < n)
		size *= 2;
	scratch_drop(s);
	s->keep = arena_alloc(s->arena, size * sizeof(*s->keep));
	s->refused = arena_alloc(s->arena, size * sizeof(*s->refused));
	s->take = arena_alloc(s->arena, size * sizeof(*s->take));
	s->drop = arena_alloc(s->arena, size * sizeof(*s->drop));
	s->in = arena_alloc(s->arena, size * sizeof(*s->in));
	s->order = arena_alloc(s->arena, size * sizeof(*s->order));
	if (s->keep == NULL || s->refused == NULL || s->take == NULL || s->drop == NULL ||
		s->in == NULL || s->order == NULL) {
		scratch_drop(s);
		return -ENOMEM;
	}
	s->scratch_size = size;
	return 0;
}

/* ---- a path: references, counts and flags ---- */

void
path_make(const struct shard *s, const struct shard_table *t, const struct edit *e,
	struct rib_path *out)
{
	const struct shard_rib_in *r = e->accepted->flags & PATH_IMPORTED
					       ? &t->imports
					       : &shard_slot(s, e->peer)->rib[t->family];

	*out = (struct rib_path){
		.peer = e->peer,
		.accepted = e->accepted->id,
		.received = e->accepted->received,
		.path_id = e->path_id,
		.label_flags = e->label << 12 | e->accepted->flags |
			       (e->accepted->flags & PATH_REJECTED ? 0 : r->generation_flags),
		.time_s = (uint32_t)(s->now_ns / 1000000000u),
	};
	atomic_init(&out->epoch, shard_epoch(r));
}

static struct shard_rib_in *
rib_counts(struct shard *s, struct shard_table *t, const struct rib_path *p)
{
	return is_imported(p) ? &t->imports : &shard_slot(s, p->peer)->rib[t->family];
}

static void
count_by(_Atomic uint64_t *count, bool was, bool is, uint32_t times)
{
	if (was != is)
		shard_count(count, is ? times : -(int64_t)times);
}

/*
 * `now` replaces `was` in `times` destinations. NULL: no path. Readers on all threads count a replaced path
 * once at each moment.
 */
static void
count_change(struct shard *s, struct shard_table *t, const struct rib_path *was,
	const struct rib_path *now, uint32_t times)
{
	const struct rib_path *p[2] = {was, now};
	struct shard_rib_in *r = rib_counts(s, t, now != NULL ? now : was);
	bool accepted[2], kept[2], held[2];

	for (unsigned i = 0; i < 2; i++) {
		accepted[i] = p[i] != NULL && !(p[i]->label_flags & PATH_REJECTED);
		kept[i] = p[i] != NULL && p[i]->received.v != 0;
		held[i] = p[i] != NULL && rib_path_held(p[i]);
	}
	count_by(&r->counts.received, was != NULL, now != NULL, times);
	count_by(&r->counts.accepted, accepted[0], accepted[1], times);
	count_by(&r->counts.kept, kept[0], kept[1], times);
	count_by(&s->held, held[0], held[1], times);
	if (was != NULL && stamp(was) == shard_epoch(r))
		r->counts.fresh -= times;
	if (now != NULL && stamp(now) == shard_epoch(r))
		r->counts.fresh += times;
	if (held[0] != held[1])
		t->held += held[1] ? times : -(uint64_t)times;
}

/* The replacement of path `k` of s->drop: path *at of s->take, and *at moves on. NULL: path `k` is removed. */
static const struct rib_path *
replacement(const struct shard *s, unsigned k, unsigned take, unsigned *at)
{
	const struct rib_path *was = &s->drop[k], *now = &s->take[*at];

	if (*at == take || !is_of(now, was->peer, was->path_id) ||
		is_imported(now) != is_imported(was))
		return NULL;
	(*at)++;
	return now;
}

void
path_counts_change(
	struct shard *s, struct shard_table *t, unsigned take, unsigned drop, uint32_t times)
{
	unsigned i = 0;

	for (unsigned k = 0; k < drop; k++)
		count_change(s, t, &s->drop[k], replacement(s, k, take, &i), times);
	for (; i < take; i++)
		count_change(s, t, NULL, &s->take[i], times);
}

static void
limit_count(struct shard_rib_in *r, int64_t by)
{
	/*
	 * release: pairs with the acquire in adj_rib_in_counts_get. A reader of the count also sees
	 * the progress of the siblings that this record waited for.
	 */
	if (by != 0)
		atomic_store_explicit(&r->counts.counted,
			shard_load(&r->counts.counted) + (uint64_t)by, memory_order_release);
}

void
limit_count_change(
	struct shard *s, struct shard_table *t, unsigned take, unsigned drop, uint32_t times)
{
	unsigned i = 0;

	for (unsigned k = 0; k < drop; k++) {
		const struct rib_path *now = replacement(s, k, take, &i);
		int by = -!path_doomed(s, t, &s->drop[k]);

		by += now != NULL && !path_doomed(s, t, now);
		limit_count(rib_counts(s, t, &s->drop[k]), by * (int64_t)times);
	}
	for (; i < take; i++)
		if (!path_doomed(s, t, &s->take[i]))
			limit_count(rib_counts(s, t, &s->take[i]), times);
}

void
path_count_restamp(struct shard_rib_in *r, uint16_t was, uint32_t times)
{
	if (was == shard_epoch(r))
		return;
	r->counts.fresh += times;
	if (r->sweeping && shard_epoch_before(was, r->sweep_below))
		shard_count(&r->counts.counted, times);
}

void
path_ref(struct shard *s, struct shard_table *t, const struct rib_path *p, uint32_t times)
{
	struct shard_next_hop *n = next_hop_of(s, path_vrf(s, t, p), p);

	if (p->accepted.v != 0)
		attr_ref(s->attrs, p->accepted, times);
	if (p->received.v != 0)
		attr_ref(s->attrs, p->received, times);
	if (n != NULL)
		n->users += times;
	if (!is_imported(p))
		return;
	assert(times == 1); /* sets with imported paths are never shared */
	leak_path_counts(s, t, p, 1);
}

void
path_unref(struct shard *s, struct shard_table *t, const struct rib_path *p, uint32_t times)
{
	struct shard_next_hop *n = next_hop_of(s, path_vrf(s, t, p), p);

	if (n != NULL)
		n->users -= times;
	if (is_imported(p)) {
		assert(times == 1);
		leak_path_counts(s, t, p, -1);
	}
	if (p->accepted.v != 0)
		attr_unref(s->attrs, p->accepted, times);
	if (p->received.v != 0)
		attr_unref(s->attrs, p->received, times);
}

void
path_took(struct shard *s, struct shard_table *t, const struct rib_path *p)
{
	path_ref(s, t, p, 1);
	count_change(s, t, NULL, p, 1);
}

void
path_dropped(struct shard *s, struct shard_table *t, const struct rib_path *p)
{
	count_change(s, t, p, NULL, 1);
	path_unref(s, t, p, 1);
}

/*
 * A replay has evaluated the path without a change. The mark alone is no reason to publish the set.
 */
static void
path_confirmed(const struct shard *s, struct rib_path *p, const struct shard_rib_in *r)
{
	if (replay_evaluates(s, r))
		path_mark(p, r);
}

bool
path_refresh_flags(const struct shard *s, const struct shard_table *t, const struct prefix *prefix,
	struct rib_path *p)
{
	const struct shard_next_hop *n = next_hop_of(s, path_vrf(s, t, p), p);
	const struct nexthop_own *own = next_hop_own(t, prefix, n);
	bool up = next_hop_eligible(s, shard_slot(s, p->peer), p->peer, n, own);
	uint32_t flags = (p->label_flags & ~(uint32_t)(PATH_NEXT_HOP_UP | PATH_OWN)) |
			 (up ? PATH_NEXT_HOP_UP : 0) | (own != NULL ? PATH_OWN : 0);
	bool changed = flags != p->label_flags;

	p->label_flags = flags;
	return changed;
}

/* ---- a set under construction ---- */

static void
make_keep(struct shard *s, struct making *m, const struct rib_path *p)
{
	if (is_refused(p))
		s->refused[m->refused++] = *p;
	else
		s->keep[m->keep++] = *p;
}

void
make_change(struct shard *s, struct shard_table *t, struct making *m, const struct rib_path *old,
	const struct rib_path *now)
{
	bool was = old != NULL && !is_refused(old), is = now != NULL && !is_refused(now);

	if (was && is)
		m->change.differs |= old->accepted.v != now->accepted.v || flags_differ(old, now) ||
				     rib_of(s, t, now)->rerank;
	else
		m->change.differs |= was || is;
	if (old != NULL)
		s->drop[m->change.drop++] = *old;
	if (now != NULL) {
		/* before the next evaluation, which drops the references that this path needs */
		path_took(s, t, now);
		s->take[m->change.take++] = *now;
		make_keep(s, m, now);
	}
}

/* ---- the long-lived phase (RFC 9494 4.2) ---- */

bool
path_ages(const struct shard *s, const struct shard_table *t, const struct rib_path *p)
{
	const struct shard_rib_in *r;

	if (is_refused(p) || is_imported(p) || p->peer.v == PEER_SELF.v)
		return false;
	r = rib_of(s, t, p);
	return r->long_lived && r->counts.retained && stamp(p) != shard_epoch(r);
}

/*
 * Marks a path of the long-lived phase with LLGR_STALE, which ranks the path last. *gone: NO_LLGR removes the path.
 * With 1 and without *gone the caller gives `out` to accepted_put() after the change. 0: no change; 1;
 * -ENOMEM.
 */
static int
path_age(struct shard *s, const struct shard_table *t, struct rib_path *p, bool *gone,
	struct shard_accepted *out) RUNS_ON(role_rib)
{
	const uint32_t kept = ~0xfffu | PATH_GENERATIONS << PATH_GENERATION_SHIFT | PATH_HELD;
	struct attr_set *a;
	uint8_t *at;
	int err;

	if (*gone || !path_ages(s, t, p))
		return 0;
	if (s->aged == NULL)
		s->aged = arena_alloc(s->arena, ATTR_SET_MAX + 4);
	if (s->aged == NULL)
		return -ENOMEM;
	a = attr_read(s->attrs, p->accepted, s->aged);
	*gone = attr_has_community(a, COMMUNITY_NO_LLGR);
	if (*gone || attr_has_community(a, COMMUNITY_LLGR_STALE))
		return *gone;
	at = a->var + (attr_ext_communities(a) - a->var);
	memmove(at + 4, at, attr_set_var_len(a) - (size_t)(at - a->var));
	memcpy(at, (const uint8_t[]){0xff, 0xff, 0, 6}, 4);
	a->community_count++;
	attr_derive_communities(a);
	err = accepted_get(s, t->vrf, p->peer, NULL, a, out);
	if (err != 0)
		return err;
	p->accepted = out->id;
	p->label_flags = (p->label_flags & kept) | out->flags;
	return 1;
}

/*
 * An existing path with the current state of its next hop, after a replay if `replays`. 0,
 * -ENOMEM.
 */
static int
make_old(struct shard *s, struct shard_table *t, struct making *m, const struct prefix *prefix,
	bool replays, const struct rib_path *p) RUNS_ON(role_rib)
{
	const struct prefix *replayed = replays ? prefix : NULL;
	struct shard_accepted aged = {0};
	struct rib_path now = *p;
	bool gone = false;
	int changed = 0, ages;

	if (replayed != NULL && p->received.v != 0)
		changed = replay_path(s, t, replayed, &now, &gone);
	ages = changed >= 0 ? path_age(s, t, &now, &gone, &aged) : 0;
	if (changed < 0 || ages < 0)
		return changed < 0 ? changed : ages;
	if (!is_refused(&now) && path_refresh_flags(s, t, prefix, &now))
		m->change.differs = true;
	if (replayed != NULL && p->received.v != 0)
		path_confirmed(s, &now, rib_of(s, t, p));
	if (changed > 0 || ages > 0)
		make_change(s, t, m, p, gone ? NULL : &now);
	else
		make_keep(s, m, &now);
	if (ages > 0 && !gone)
		accepted_put(s, &aged);
	return 0;
}

/* ---- held paths (plan of struct shard_table; keel-policy(7) rule 13) ---- */

/*
 * The one path of a destination that may be held: the held path, or else the best. NULL: no path is
 * in use.
 */
static const struct rib_path *
hold_candidate(const struct shard *s, const struct shard_table *t, const struct path_set *old)
{
	const struct rib_path *best = &old->path[0];

	for (unsigned i = 0; i < old->count; i++)
		if (rib_path_held(&old->path[i]))
			return path_doomed(s, t, &old->path[i]) ? NULL : &old->path[i];
	return old->eligible > 0 && best->peer.v != PEER_SELF.v && !path_doomed(s, t, best) ? best
											    : NULL;
}

/* True if the new set so far has a path that forwards. */
static bool
keep_usable(const struct shard *s, const struct making *m)
{
	for (unsigned i = 0; i < m->keep; i++)
		if (s->keep[i].label_flags & PATH_NEXT_HOP_UP)
			return true;
	return false;
}

/* A path that stays in use although policy refuses the route; `received`: the kept announcement. */
static struct rib_path
path_hold(const struct rib_path *p, uint16_t epoch, struct attr_id received)
{
	struct rib_path now = *p;

	now.label_flags |= PATH_HELD;
	now.received = received;
	atomic_store_explicit(&now.epoch, epoch, memory_order_relaxed);
	return now;
}

/* Turns a held path into a refused path. False: the path is removed. */
static bool
path_refuse_held(struct rib_path *p)
{
	p->accepted.v = 0;
	p->label_flags = (p->label_flags & ~0xfffu) | refused_flags(DECISION_REJECTED_BY_POLICY);
	return p->received.v != 0;
}

/* After make_keep(): moves the last path to the front, its old place. */
static void
keep_first(struct shard *s, const struct making *m, unsigned kept)
{
	struct rib_path last;

	if (m->keep == kept || kept == 0)
		return;
	last = s->keep[kept];
	for (unsigned i = kept; i > 0; i--)
		s->keep[i] = s->keep[i - 1];
	s->keep[0] = last;
}

/*
 * The candidate, after all other paths: applies the edit or the replay, but holds the path if
 * policy refuses the route, no other path is usable and another member of the plan is unfinished.
 * 0, -ENOMEM.
 */
static int
make_candidate(struct shard *s, struct shard_table *t, struct making *m,
	const struct prefix *prefix, bool replays, const struct rib_path *p, const struct edit *e)
	RUNS_ON(role_rib)
{
	const struct prefix *replayed = replays ? prefix : NULL;
	const struct shard_rib_in *r = rib_of(s, t, p);
	bool holds = rib_in_holds(t, r) && !keep_usable(s, m), is_there = true;
	unsigned kept = m->keep;
	struct shard_accepted aged = {0};
	struct rib_path now = *p;
	int changed = 0, ages;
	bool gone = false;

	if (e != NULL && is_of(p, e->peer, e->path_id)) {
		bool refused = e->accepted != NULL
				       ? (e->accepted->flags & PATH_REJECTED) != 0 &&
						 reason_is_policy(flags_refused(e->accepted->flags))
				       : e->refused;

		if (e->accepted != NULL)
			path_make(s, t, e, &now);
		if (refused && holds)
			now = path_hold(p, shard_epoch(r),
				e->accepted != NULL ? e->accepted->received : (struct attr_id){0});
		else
			is_there = e->accepted != NULL;
		make_change(s, t, m, p, is_there ? &now : NULL);
		keep_first(s, m, kept);
		return 0;
	}
	if (replayed != NULL && p->received.v != 0)
		changed = replay_path(s, t, replayed, &now, &gone);
	if (changed < 0)
		return changed;
	if (changed > 0 && !gone && is_refused(&now) && holds &&
		reason_is_policy(shard_path_refused(&now)))
		now = path_hold(p, shard_epoch(r), p->received);
	else if (rib_path_held(&now) &&
		 !holds) /* also if the walk has just dropped the kept attributes */
		is_there = path_refuse_held(&now);
	ages = path_age(s, t, &now, &gone, &aged);
	if (ages < 0)
		return ages;
	if (!is_refused(&now) && path_refresh_flags(s, t, prefix, &now))
		m->change.differs = true;
	if (gone || !is_there)
		make_change(s, t, m, p, NULL);
	else if (now.label_flags != p->label_flags || now.accepted.v != p->accepted.v ||
		 now.received.v != p->received.v)
		make_change(s, t, m, p, &now);
	else {
		if (replayed != NULL && p->received.v != 0)
			path_confirmed(s, &now, r);
		make_keep(s, m, &now);
	}
	if (ages > 0 && !gone)
		accepted_put(s, &aged);
	keep_first(s, m, kept);
	return 0;
}

int
make_paths(struct shard *s, struct shard_table *t, struct making *m, const struct dest_view *view,
	const struct edit *e)
{
	bool replays = e == NULL && t->keeps != NULL;
	const struct path_set *old = view->paths;
	const struct rib_path *edited = NULL,
			      *candidate = table_holds(t) ? hold_candidate(s, t, old) : NULL;
	struct rib_path now;
	int err = 0;

	/* doomed paths first in `drop`; an edited path keeps its place */
	for (unsigned i = 0; i < old->count; i++)
		if (path_doomed(s, t, &old->path[i]) &&
			!(e != NULL && is_of(&old->path[i], e->peer, e->path_id)))
			make_change(s, t, m, &old->path[i], NULL);
	m->change.doomed = m->change.drop;
	for (unsigned i = 0; err == 0 && i < old->count; i++) {
		const struct rib_path *p = &old->path[i];

		if (e != NULL && is_of(p, e->peer, e->path_id))
			edited = p;
		if (p == candidate)
			continue;
		if (p == edited) {
			if (e->accepted != NULL)
				path_make(s, t, e, &now);
			make_change(s, t, m, p, e->accepted != NULL ? &now : NULL);
		} else if (!path_doomed(s, t, p)) {
			err = make_old(s, t, m, &view->prefix, replays, p);
		}
	}
	if (e != NULL && e->accepted != NULL && edited == NULL) {
		path_make(s, t, e, &now);
		make_change(s, t, m, NULL, &now);
	}
	if (err == 0 && candidate != NULL)
		err = make_candidate(s, t, m, &view->prefix, replays, candidate, e);
	return err;
}

/* Dynamic peers of a group are one owner (rib/table/swap.h): anybody may bring more of them. */
static void
import_owners_find(struct shard *s)
{
	uint64_t group[PEER_MAX];
	uint16_t first[PEER_MAX];
	unsigned count = 0;

	if (s->import_owners)
		return;
	for (uint16_t i = 0; i < PEER_MAX; i++) {
		const struct shard_peer_slot *slot = shard_slot(s, (struct peer_id){i});
		const struct shard_peer *key;
		unsigned k = 0;

		s->import_owner[i] = i;
		if (slot == NULL)
			continue;
		key = atomic_load_explicit(&slot->key, memory_order_relaxed);
		if (!key->dynamic)
			continue;
		while (k < count && group[k] != key->group_key)
			k++;
		if (k == count) {
			group[k] = key->group_key;
			first[count++] = i;
		}
		s->import_owner[i] = first[k];
	}
	s->import_owners = true;
}

/* Counts the imported paths of the new set so far, by owner; returns their number. */
static unsigned
imports_count(struct shard *s, const struct making *m)
{
	unsigned all = 0;

	import_owners_find(s);
	memset(s->import_share, 0, sizeof(s->import_share));
	for (unsigned i = 0; i < m->keep; i++) {
		if (!is_imported(&s->keep[i]))
			continue;
		all++;
		s->import_share[s->import_owner[s->keep[i].peer.v]]++;
	}
	return all;
}

/* An owner may have as many imported paths of a prefix as are left. Counts the path. */
static bool
import_fits(struct shard *s, struct peer_id peer, unsigned *left)
{
	uint16_t *share = &s->import_share[s->import_owner[peer.v]];

	if (*left == 0 || (*share >= *left && *share >= CROWD_PATHS_LEAST))
		return false;
	--*left;
	++*share;
	return true;
}

int
make_imports(struct shard *s, struct shard_table *t, struct making *m, const struct dest_view *view,
	struct import_edits *x)
{
	const struct path_set *old = view->paths;
	unsigned count = old != NULL ? old->count : 0, all, left;
	const struct rib_path *candidate =
		old != NULL && table_holds(t) ? hold_candidate(s, t, old) : NULL;
	int err = 0;

	if (candidate != NULL && is_imported(candidate))
		candidate = NULL; /* no plan has imported paths */
	for (unsigned i = 0; i < x->count; i++)
		x->edit[i].done = false;
	for (unsigned i = 0; i < count; i++)
		if (path_doomed(s, t, &old->path[i]))
			make_change(s, t, m, &old->path[i], NULL);
	m->change.doomed = m->change.drop;
	for (unsigned i = 0; err == 0 && i < count; i++) {
		const struct rib_path *p = &old->path[i];
		struct import_edit *e =
			is_imported(p) ? import_edit_find(x, p->peer, p->path_id) : NULL;

		if (p == candidate || path_doomed(s, t, p))
			continue;
		if (e != NULL)
			e->done = true;
		if (e == NULL || (e->there && e->path.accepted.v == p->accepted.v &&
					 !flags_differ(&e->path, p))) {
			err = make_old(s, t, m, &view->prefix, false, p);
			continue;
		}
		make_change(s, t, m, p, e->there ? &e->path : NULL);
	}
	all = imports_count(s, m);
	left = CROWD_PATHS_MAX - (all < CROWD_PATHS_MAX ? all : CROWD_PATHS_MAX);
	for (unsigned i = 0; err == 0 && i < x->count; i++) {
		const struct import_edit *e = &x->edit[i];

		x->removed += !e->there;
		if (!e->there || e->done)
			continue;
		if (import_fits(s, e->path.peer, &left)) {
			make_change(s, t, m, NULL, &e->path);
			continue;
		}
		x->refused++;
		x->refused_peer = e->path.peer;
	}
	if (err == 0 && candidate != NULL)
		err = make_candidate(s, t, m, &view->prefix, false, candidate, NULL);
	return err;
}

int
make_undo(struct shard *s, struct shard_table *t, const struct making *m)
{
	for (unsigned i = 0; i < m->change.take; i++)
		path_dropped(s, t, &s->take[i]);
	return -ENOMEM;
}
