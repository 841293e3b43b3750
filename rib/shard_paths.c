/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Builds and publishes the next path set of a destination.
 *
 * Reserve, then apply: the new set is filled and ranked before anything is published, so without
 * memory the destination stays unchanged. A set equal for all readers is not published. A change
 * without effect on readers of the journal (rejected paths, received attributes of accepted paths)
 * is published without a journal entry.
 *
 * Order of an apply: publish, journal entry, then drop the references of the old set. The grace
 * period of an attribute set must not begin while a reader can still find its id.
 */
#include "rib/shard_impl.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* Change to one peer's path; `accepted` NULL removes the path. */
struct edit {
	struct peer_id peer;
	uint32_t path_id;
	uint32_t label;
	const struct shard_accepted *accepted;
	bool refused; /* with `accepted` NULL: import policy refuses the announcement */
};

#define SCRATCH_MIN 64u

static bool
is_of(const struct rib_path *p, struct peer_id peer, uint32_t path_id)
{
	return p->peer.v == peer.v && p->path_id == path_id;
}

static const struct rib_path *
path_find(const struct path_set *set, struct peer_id peer, uint32_t path_id)
{
	for (unsigned i = 0; set != NULL && i < set->count; i++)
		if (is_of(&set->path[i], peer, path_id))
			return &set->path[i];
	return NULL;
}

/*
 * The path of a peer, also behind the view (then in *room). *at: its index for dest_stamp() and
 * struct dest_edit. NULL: none.
 */
static const struct rib_path *
path_locate(const struct shard_table *t, struct dest_id id, const struct dest_view *view,
	struct peer_id peer, uint32_t path_id, struct rib_path *room, unsigned *at)
	RUNS_ON(role_rib)
{
	const struct rib_path *p = path_find(view->paths, peer, path_id);

	*at = DEST_NO_PATH;
	if (p != NULL)
		*at = (unsigned)(p - view->paths->path);
	else if (view->behind > 0 && path_id == 0)
		*at = dest_tail_find(t->dests, id, peer, room);
	return p != NULL ? p : *at != DEST_NO_PATH ? room : NULL;
}

static uint16_t
stamp(const struct rib_path *p)
{
	return atomic_load_explicit(&p->epoch, memory_order_relaxed);
}

static bool
is_imported(const struct rib_path *p)
{
	return (p->label_flags & PATH_IMPORTED) != 0;
}

/* Epochs, counts and plan of a path. Imported paths have those of the table. */
static const struct shard_rib_in *
rib_of(const struct shard *s, const struct shard_table *t, const struct rib_path *p)
{
	return is_imported(p) ? &t->imports : &shard_slot(s, p->peer)->rib[t->family];
}

static struct shard_rib_in *
rib_counts(struct shard *s, struct shard_table *t, const struct rib_path *p)
{
	return is_imported(p) ? &t->imports : &shard_slot(s, p->peer)->rib[t->family];
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

static int
scratch_reserve(struct shard *s, uint32_t n)
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

/* The path of an announcement. */
static void
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

static void
count_path(struct shard *s, struct shard_table *t, const struct rib_path *p, int by)
{
	struct shard_rib_in *r = rib_counts(s, t, p);

	shard_count(&r->counts.received, by);
	if (stamp(p) == shard_epoch(r))
		r->counts.fresh += (uint64_t)(int64_t)by;
	/*
	 * release: pairs with the acquire in adj_rib_in_counts_get. A reader of the count also sees
	 * the progress of the siblings that this record waited for.
	 */
	if (!path_doomed(s, t, p))
		atomic_store_explicit(&r->counts.counted,
			shard_load(&r->counts.counted) + (uint64_t)(int64_t)by,
			memory_order_release);
	if (!(p->label_flags & PATH_REJECTED))
		shard_count(&r->counts.accepted, by);
	if (p->received.v != 0)
		shard_count(&r->counts.kept, by);
	if (rib_path_held(p)) {
		t->held += (uint64_t)(int64_t)by;
		shard_count(&s->held, by);
	}
}

/* Counts a path whose stamp changes from `was` to the current epoch. */
static void
count_restamp(struct shard_rib_in *r, uint16_t was)
{
	if (was == shard_epoch(r))
		return;
	r->counts.fresh++;
	if (r->sweeping && shard_epoch_before(was, r->sweep_below))
		shard_count(&r->counts.counted, 1);
}

static void
path_took(struct shard *s, struct shard_table *t, const struct rib_path *p) RUNS_ON(role_rib)
{
	struct shard_next_hop *n = next_hop_of(s, path_vrf(s, t, p), p);

	if (p->accepted.v != 0)
		attr_ref(s->attrs, p->accepted, 1);
	if (p->received.v != 0)
		attr_ref(s->attrs, p->received, 1);
	if (n != NULL)
		n->users++;
	if (is_imported(p))
		leak_path_counts(s, t, p, 1);
	count_path(s, t, p, 1);
}

static void
path_dropped(struct shard *s, struct shard_table *t, const struct rib_path *p) RUNS_ON(role_rib)
{
	struct shard_next_hop *n = next_hop_of(s, path_vrf(s, t, p), p);

	if (n != NULL)
		n->users--;
	if (is_imported(p))
		leak_path_counts(s, t, p, -1);
	count_path(s, t, p, -1);
	if (p->accepted.v != 0)
		attr_unref(s->attrs, p->accepted);
	if (p->received.v != 0)
		attr_unref(s->attrs, p->received);
}

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
publish(struct shard *s, struct shard_table *t, struct dest_id id, struct path_set *set, bool aside)
	RUNS_ON(role_rib)
{
	uint64_t sequence = journal_reserve(s->journal, s->config.index);

	dest_publish(t->dests, id, set, sequence);
	entry_commit(s, t, id, sequence, aside);
}

/* True if the path carries the mark of the plan, or the peer is in no plan. */
static bool
is_marked(const struct rib_path *p, const struct shard_rib_in *r)
{
	return r->generation_flags == 0 || (p->label_flags & PATH_REJECTED) ||
	       (p->label_flags & PATH_GENERATIONS << PATH_GENERATION_SHIFT) == r->generation_flags;
}

static void
path_mark(struct rib_path *p, const struct shard_rib_in *r)
{
	if (!is_marked(p, r))
		p->label_flags = (p->label_flags & ~(PATH_GENERATIONS << PATH_GENERATION_SHIFT)) |
				 r->generation_flags;
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

/* Marks of a plan do not affect forwarding or advertising, so marks do not count. */
static bool
flags_differ(const struct rib_path *a, const struct rib_path *b)
{
	uint32_t marks = a->peer.v != PEER_SELF.v ? PATH_MARKS : 0;

	return ((a->label_flags ^ b->label_flags) & ~marks) != 0;
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

/* All but the attributes. */
static void
peer_input(const struct shard *s, const struct shard_table *t, const struct rib_path *p,
	struct decision_input *out) RUNS_ON(role_rib)
{
	const struct shard_peer_slot *slot = shard_slot(s, p->peer);
	const struct shard_next_hop *n = next_hop_of(s, path_vrf(s, t, p), p);

	out->attrs = NULL;
	out->eligible = (p->label_flags & PATH_NEXT_HOP_UP) != 0;
	out->refused = DECISION_EQUAL;
	out->external = atomic_load_explicit(&slot->external, memory_order_relaxed);
	out->local = p->peer.v == PEER_SELF.v;
	out->igp_metric = n != NULL ? atomic_load_explicit(&n->metric, memory_order_relaxed) : 0;
	out->router_id = atomic_load_explicit(&slot->router_id, memory_order_relaxed);
	out->peer_addr = atomic_load_explicit(&slot->key, memory_order_relaxed)->addr;
	out->path_id = p->path_id;
}

static const struct attr_set *
attrs_of(const struct shard *s, const struct rib_path *p, struct decision_input *in)
{
	return attr_unpack_fixed(
		attr_get(s->attrs, p->accepted), (struct attr_set *)(void *)in->fixed);
}

static void
input_of(const struct shard *s, const struct shard_table *t, const struct rib_path *p,
	struct decision_input *out) RUNS_ON(role_rib)
{
	peer_input(s, t, p, out);
	out->attrs = attrs_of(s, p, out);
}

/* False: the two peers announce paths of different neighbour ASes. */
static bool
may_be_neighbours(const struct shard *s, uint16_t a, uint16_t b)
{
	return s->near_as[a] == s->near_as[b] || s->near_as[a] == NEAR_AS_ANY ||
	       s->near_as[b] == NEAR_AS_ANY;
}

static uint32_t
key_of(const struct shard *s, const struct shard_table *t, const struct rib_path *p)
	RUNS_ON(role_rib)
{
	return decision_key(attr_key_of(s, path_vrf(s, t, p), p),
		(p->label_flags & PATH_NEXT_HOP_UP) != 0, p->peer.v == PEER_SELF.v);
}

/*
 * Inputs of two accepted paths for a comparison without MED. False if the keys decide; most paths
 * with equal keys need no look at attribute sets.
 */
static bool
inputs_of(const struct shard *s, const struct shard_table *t, const struct rib_path *p, uint32_t a,
	const struct rib_path *q, uint32_t b, struct decision_input in[2]) RUNS_ON(role_rib)
{
	bool whole = ((a | b) & DECISION_KEY_RARE) != 0;

	if (((a ^ b) & DECISION_KEY_RANK) != 0)
		return false;
	peer_input(s, t, p, &in[0]);
	peer_input(s, t, q, &in[1]);
	in[0].attrs = whole ? attrs_of(s, p, &in[0]) : &decision_any_attrs;
	in[1].attrs = whole ? attrs_of(s, q, &in[1]) : &decision_any_attrs;
	return true;
}

/* RANK_BY_KEY_MAX: an insertion sort, and pairs of neighbours */
#define RANK_BY_KEY_MAX 16u

/* True if MED may decide between two of the paths. */
static bool
med_may_decide(const struct shard *s, const struct rib_path *p, unsigned n)
{
	uint32_t flags = 0;

	for (unsigned i = 0; i < n; i++)
		flags |= p[i].label_flags;
	for (unsigned i = 1; (flags & PATH_MED) != 0 && i < n; i++)
		for (unsigned j = 0; j < i; j++)
			if (may_be_neighbours(s, p[i].peer.v, p[j].peer.v))
				return true;
	return false;
}

/*
 * rank() of few paths without MED and multipath: the keys decide most comparisons, and no attribute
 * set is read. False: not possible.
 */
static bool
rank_by_key(struct shard *s, const struct shard_table *t, unsigned n) RUNS_ON(role_rib)
{
	uint32_t key[RANK_BY_KEY_MAX];
	struct decision_input in[2];

	if (n > RANK_BY_KEY_MAX || s->config.max_paths > 1 || med_may_decide(s, s->keep, n))
		return false;
	for (unsigned i = 0; i < n; i++) {
		unsigned at = i;

		key[i] = key_of(s, t, &s->keep[i]);
		for (; at > 0; at--) {
			unsigned other = s->order[at - 1];
			bool before = key[i] < key[other];

			if (inputs_of(s, t, &s->keep[i], key[i], &s->keep[other], key[other], in))
				before = decision_before(&in[0], &in[1]);
			if (!before)
				break;
			s->order[at] = other;
		}
		s->order[at] = i;
	}
	s->multipath = (s->keep[s->order[0]].label_flags & PATH_NEXT_HOP_UP) != 0;
	return true;
}

/*
 * Ranks keep[0 .. n-1] into s->order and s->multipath. True if the order of the first `ordered`
 * paths changes: the order that readers see.
 */
static bool
rank(struct shard *s, const struct shard_table *t, unsigned n, unsigned ordered) RUNS_ON(role_rib)
{
	bool moved = false;

	if (n == 1) {
		/* most destinations of a network with one upstream; reads no attribute set */
		s->order[0] = 0;
		s->multipath = (s->keep[0].label_flags & PATH_NEXT_HOP_UP) != 0;
		return false;
	}
	if (!rank_by_key(s, t, n)) {
		for (unsigned i = 0; i < n; i++)
			input_of(s, t, &s->keep[i], &s->in[i]);
		decision_order(s->in, n, s->order, NULL);
		s->multipath = decision_multipath(s->in, n, s->order, s->config.max_paths);
	}
	for (unsigned i = 0; i < n && i < ordered; i++)
		moved |= s->order[i] != i;
	return moved;
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

/* True if the next hop has changed, for the present job of the scan. */
static bool
is_dirty(const struct shard *s, const struct shard_table *t, const struct rib_path *p)
	RUNS_ON(role_rib)
{
	const struct shard_next_hop *n = next_hop_of(s, path_vrf(s, t, p), p);

	return t->redecide && n != NULL && n->dirty == s->next_hops.dirty;
}

/* Applies the current state of the next hop; true if the flags change. */
static bool
refresh_flags(const struct shard *s, const struct shard_table *t, struct rib_path *p)
	RUNS_ON(role_rib)
{
	bool up = next_hop_eligible(
		s, shard_slot(s, p->peer), p->peer, next_hop_of(s, path_vrf(s, t, p), p));
	uint32_t flags =
		(p->label_flags & ~(uint32_t)PATH_NEXT_HOP_UP) | (up ? PATH_NEXT_HOP_UP : 0);
	bool changed = flags != p->label_flags;

	p->label_flags = flags;
	return changed;
}

static void
count_swept(struct shard *s, struct shard_table *t, const struct rib_path *p)
{
	struct shard_rib_in *r = &shard_slot(s, p->peer)->rib[t->family];

	if (!shard_epoch_before(stamp(p), r->flush_below))
		shard_count(&r->counts.stale_swept, 1);
}

static bool
is_refused(const struct rib_path *p)
{
	return (p->label_flags & PATH_REJECTED) != 0;
}

/*
 * A set under construction: s->keep and s->refused are the new paths, s->take and s->drop the added
 * and removed paths.
 */
struct making {
	unsigned keep, refused, take, drop;
	unsigned doomed; /* the first of `drop` */
	unsigned old; /* paths before; of the scan */
	bool differs; /* the change affects readers of the journal */
	bool aside; /* but no reader of best paths alone */
	bool restamped; /* the only change: a path had this stamp */
	uint16_t stamp;
};

static void
make_keep(struct shard *s, struct making *m, const struct rib_path *p)
{
	if (is_refused(p))
		s->refused[m->refused++] = *p;
	else
		s->keep[m->keep++] = *p;
}

/* Replaces path `old` by `now`; NULL: no path. */
static void
make_change(struct shard *s, struct shard_table *t, struct making *m, const struct rib_path *old,
	const struct rib_path *now) RUNS_ON(role_rib)
{
	bool was = old != NULL && !is_refused(old), is = now != NULL && !is_refused(now);

	if (was && is)
		m->differs |= old->accepted.v != now->accepted.v || flags_differ(old, now) ||
			      rib_of(s, t, now)->rerank;
	else
		m->differs |= was || is;
	if (old != NULL)
		s->drop[m->drop++] = *old;
	if (now != NULL) {
		/* before the next evaluation, which drops the references that this path needs */
		path_took(s, t, now);
		s->take[m->take++] = *now;
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
 * Marks a path of the long-lived phase: LLGR_STALE, and local-pref 0. *gone: NO_LLGR removes the path.
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
	a->has |= ATTR_HAS_LOCAL_PREF;
	a->local_pref = 0;
	err = accepted_get(s, t->vrf, p->peer, NULL, a, out);
	if (err != 0)
		return err;
	p->accepted = out->id;
	p->label_flags = (p->label_flags & kept) | out->flags;
	return 1;
}

/*
 * An existing path with the current state of its next hop, after a replay if `replayed`. 0,
 * -ENOMEM.
 */
static int
make_old(struct shard *s, struct shard_table *t, struct making *m, const struct prefix *replayed,
	const struct rib_path *p) RUNS_ON(role_rib)
{
	struct shard_accepted aged = {0};
	struct rib_path now = *p;
	bool gone = false;
	int changed = 0, ages;

	if (replayed != NULL && p->received.v != 0)
		changed = replay_path(s, t, replayed, &now, &gone);
	ages = changed >= 0 ? path_age(s, t, &now, &gone, &aged) : 0;
	if (changed < 0 || ages < 0)
		return changed < 0 ? changed : ages;
	if (!is_refused(&now) && refresh_flags(s, t, &now))
		m->differs = true;
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
	const struct prefix *replayed, const struct rib_path *p, const struct edit *e)
	RUNS_ON(role_rib)
{
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
	if (!is_refused(&now) && refresh_flags(s, t, &now))
		m->differs = true;
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

/* 0, -ENOMEM. */
static int
make(struct shard *s, struct shard_table *t, struct making *m, const struct dest_view *view,
	const struct edit *e) RUNS_ON(role_rib)
{
	const struct prefix *replayed = e == NULL && t->keeps != NULL ? &view->prefix : NULL;
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
	m->doomed = m->drop;
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
			err = make_old(s, t, m, replayed, p);
		}
	}
	if (e != NULL && e->accepted != NULL && edited == NULL) {
		path_make(s, t, e, &now);
		make_change(s, t, m, NULL, &now);
	}
	if (err == 0 && candidate != NULL)
		err = make_candidate(s, t, m, replayed, candidate, e);
	return err;
}

static int
make_undo(struct shard *s, struct shard_table *t, const struct making *m) RUNS_ON(role_rib)
{
	for (unsigned i = 0; i < m->take; i++)
		path_dropped(s, t, &s->take[i]);
	return -ENOMEM;
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

/* Releases and counts the removed paths; `e`: the edit, or NULL for the scan. */
static void
old_dropped(struct shard *s, struct shard_table *t, struct dest_id id, const struct edit *e,
	unsigned take, unsigned doomed, unsigned drop, bool own) RUNS_ON(role_rib)
{
	if (t->leak != LEAK_NOTHING)
		leak_changed(s, t, id, s->take, take, s->drop, drop, own);
	for (unsigned i = 0; i < doomed; i++)
		count_swept(s, t, &s->drop[i]);
	for (unsigned i = 0; e == NULL && i < take; i++)
		count_refused(s, t, &s->drop[doomed], drop - doomed, &s->take[i]);
	for (unsigned i = 0; i < drop; i++)
		path_dropped(s, t, &s->drop[i]);
}

/* ---- history ---- */

static bool
is_usable(const struct rib_path *p)
{
	return (p->label_flags & (PATH_NEXT_HOP_UP | PATH_REJECTED)) == PATH_NEXT_HOP_UP;
}

/* The step in which `rival` loses against the best path. */
static enum decision_reason
losing_step(const struct shard *s, const struct shard_table *t, const struct rib_path *best,
	const struct rib_path *rival) RUNS_ON(role_rib)
{
	enum decision_reason reason[2];
	struct decision_input in[2];
	unsigned order[2];

	if (is_refused(rival))
		return flags_refused(rival->label_flags);
	input_of(s, t, best, &in[0]);
	input_of(s, t, rival, &in[1]);
	decision_order(in, 2, order, reason);
	/* a path that wins directly was beaten by a path of its neighbour AS */
	return order[0] == 0 ? reason[1] : DECISION_MED;
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
		b.reason = losing_step(s, t, after, rival);
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
	unsigned take, unsigned doomed, unsigned drop, const struct shard_best *best)
	RUNS_ON(role_rib)
{
	struct shard_edit edit;

	if (!history_wants(s, take, drop, best) || (s->bulk && !history_budget(s)))
		return;
	if (e != NULL)
		edit = (struct shard_edit){.peer = e->peer, .path_id = e->path_id};
	history_changed(s, t, id, e != NULL ? &edit : NULL, take, doomed, drop, best);
}

/* ---- reuse of the last result ---- */

void
reuse_end(struct shard *s)
{
	struct shard_reuse *a = &s->reuse;

	if (a->table == NULL)
		return;
	for (unsigned i = 0; a->runs > 0 && i < a->waits; i++)
		refused_waiting(
			s, a->wait[i].peer, a->table->family, (int64_t)a->runs * a->wait[i].by);
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
	const struct edit *e, const struct making *m, const struct shard_best *best)
	RUNS_ON(role_rib)
{
	struct shard_reuse *a = &s->reuse;

	reuse_end(s);
	*a = (struct shard_reuse){.table = t,
		.before = before,
		.after = dest_ref_take(t->dests, id),
		.edit = e != NULL,
		.paths = m->old,
		.differs = m->differs,
		.aside = m->aside,
		.take = m->take,
		.doomed = m->doomed,
		.drop = m->drop,
		.restamped = m->restamped,
		.stamp = m->stamp,
		.best = *best};
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
reuse_before(struct shard *s, struct shard_table *t, struct dest_id id, const struct edit *e)
	RUNS_ON(role_rib)
{
	return e != NULL && s->alone ? (struct dest_ref){0} : dest_ref_take(t->dests, id);
}

/*
 * Publishes `set` (NULL: no paths) as the new set of `id`; `old` is a copy of the previous paths,
 * or the published paths (NULL: no paths). Destinations with equal paths may reuse the result.
 */
static void
made_publish(struct shard *s, struct shard_table *t, struct dest_id id, struct path_set *set,
	const struct rib_path *old, unsigned old_count, const struct edit *e,
	const struct making *m) RUNS_ON(role_rib)
{
	struct dest_ref before = reuse_before(s, t, id, e);
	struct shard_wait wait[2 * PATHS_PACKED_MAX];
	unsigned waits = count_waiting(s, t, old, old_count, -1, wait, PATHS_PACKED_MAX);
	struct peer_id missing = not_installed_of(t, id);
	struct shard_best best = best_move_set(s, t, old, old_count, set);

	if (set != NULL && waits <= PATHS_PACKED_MAX)
		waits += count_waiting(
			s, t, set->path, set->count, 1, wait + waits, PATHS_PACKED_MAX);
	else if (set != NULL)
		(void)count_waiting(s, t, set->path, set->count, 1, NULL, 0);
	if (m->differs)
		publish(s, t, id, set, m->aside);
	else
		dest_publish_quiet(t->dests, id, set);
	not_installed_moves(s, t, id, missing);
	if (__builtin_expect(s->changes != NULL, 0))
		changes_put(s, t, id, m->take, m->drop);
	history_note(s, t, id, e, m->take, m->doomed, m->drop, &best);
	if (before.word == 0) /* the set has one owner */
		return;
	reuse_begin(s, t, id, before, e, m, &best);
	/* shared sets have at most PATHS_PACKED_MAX paths */
	if (waits > 2 * PATHS_PACKED_MAX)
		reuse_end(s);
	if (s->reuse.table == NULL)
		return;
	s->reuse.waits = waits;
	memcpy(s->reuse.wait, wait, waits * sizeof(wait[0]));
}

/* True if the destination had the paths of the last destination, and has got the result. */
static bool
reuse_run(struct shard *s, struct shard_table *t, struct dest_id id, const struct edit *e)
	RUNS_ON(role_rib)
{
	const struct shard_reuse *a = &s->reuse;
	struct peer_id missing;
	uint64_t sequence = 0;

	if (a->table != t || a->edit != (e != NULL) || !dest_ref_is(t->dests, id, &a->before))
		return false;
	if (!(e != NULL ? reuse_same_edit(a, e) : reuse_same_scan(a, &s->replay)))
		return false;
	if (leak_room(s, t, a->take + a->drop + 1) != 0)
		return false;
	for (unsigned i = 0; i < a->take; i++)
		path_took(s, t, &s->take[i]);
	s->reuse.runs++;
	if (a->restamped)
		count_restamp(&shard_slot(s, a->peer)->rib[t->family], a->stamp);
	if (a->differs)
		sequence = journal_reserve(s->journal, s->config.index);
	missing = not_installed_of(t, id);
	dest_publish_ref(t->dests, id, &a->after, sequence);
	not_installed_moves(s, t, id, missing);
	if (a->differs)
		entry_commit(s, t, id, sequence, a->aside);
	if (__builtin_expect(s->changes != NULL, 0))
		changes_put(s, t, id, a->take, a->drop);
	history_note(s, t, id, e, a->take, a->doomed, a->drop, &a->best);
	/* sets with imported paths are never shared */
	old_dropped(s, t, id, e, a->take, a->doomed, a->drop, a->differs);
	return true;
}

/* True if a path before or after is not imported. */
static bool
any_own(const struct shard *s, const struct making *m)
{
	for (unsigned i = 0; i < m->keep; i++)
		if (!is_imported(&s->keep[i]))
			return true;
	for (unsigned i = 0; i < m->drop; i++)
		if (!is_imported(&s->drop[i]))
			return true;
	return false;
}

/*
 * Builds the set from the existing paths without doomed paths, with edit `e` (may be NULL) or
 * replays, and ranks. `view` has all paths. 0, -ENOMEM.
 */
static int
rebuild_all(struct shard *s, struct shard_table *t, struct dest_id id, const struct dest_view *view,
	const struct edit *e) RUNS_ON(role_rib)
{
	const struct path_set *old = view->paths;
	struct making m = {.old = old->count};
	struct path_set *set = NULL;
	int err;

	reuse_end(s); /* the scratch holds paths of the last result */
	err = scratch_reserve(s, old->count + 1u);
	s->effort += old->count;
	if (err != 0)
		return err;
	err = make(s, t, &m, view, e);
	if (err != 0 || m.keep + m.refused > UINT16_MAX ||
		leak_room(s, t, m.take + m.drop + 1) != 0)
		return make_undo(s, t, &m);
	if (m.keep > 0)
		m.differs |= rank(s, t, m.keep, view->ordered) || s->multipath != old->multipath;
	/* a front is filled up */
	m.differs |= view->ordered < old->count && view->ordered < PATHS_PACKED_MAX;
	if (!m.differs && m.take + m.drop == 0)
		return 0;
	if (m.keep + m.refused > 0) {
		set = path_set_alloc(t->dests, m.keep + m.refused);
		if (set == NULL)
			return make_undo(s, t, &m);
		set_fill(s, set, m.keep, m.refused);
		m.aside = same_best(s, t, old, set);
	}
	made_publish(s, t, id, set, old->path, old->count, e, &m);
	old_dropped(s, t, id, e, m.take, m.doomed, m.drop, any_own(s, &m));
	return 0;
}

/* rebuild_all(), also with paths behind the view. 0, -ENOMEM. */
static int
rebuild(struct shard *s, struct shard_table *t, struct dest_id id, const struct dest_view *view,
	const struct edit *e) RUNS_ON(role_rib)
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
	return rebuild_all(s, t, id, view, e);
}

/* ---- one path ---- */

/* Fewer first paths, with more behind, are filled up again by rebuild(). */
#define FRONT_LOW 4u

/* A change of one path beside ranked paths. */
struct one {
	const struct edit *e; /* NULL: by the scan */
	bool there; /* the path stays, or is new: `now` */
	bool doomed; /* `was` is removed by a sweep */
	const struct rib_path *was; /* NULL: a new path */
	struct rib_path now;
	unsigned at; /* index of `was`; DEST_NO_PATH */
	unsigned place; /* of `now`: as dest_edit.insert */
	bool is; /* `now` is accepted */
	bool front_med; /* a path of the front has a MED */
	uint32_t key; /* decision_key() of `now`, if accepted */
};

static bool
front_has_med(const struct path_set *front)
{
	uint32_t flags = 0;

	for (unsigned i = 0; i < front->count; i++)
		flags |= front->path[i].label_flags;
	return (flags & PATH_MED) != 0;
}

static bool
any_med(const struct dest_tail *tail, const struct one *o)
{
	return o->front_med || tail->med || (o->is && (o->now.label_flags & PATH_MED)) ||
	       (o->was != NULL && (o->was->label_flags & PATH_MED));
}

void
near_as_set(struct shard *s, struct peer_id peer, uint32_t as)
{
	if (s->near_as[peer.v] == as)
		return;
	s->near_as[peer.v] = as;
	s->near_changes++;
}

static uint64_t
near_mask(struct shard *s, uint16_t peer)
{
	uint64_t mask = 0;

	if (s->near_mask_of[peer] == s->near_changes)
		return s->near_mask[peer];
	for (unsigned i = 0; i < PEER_MAX; i++)
		if (i != peer && s->near_as[i] != 0 && may_be_neighbours(s, peer, (uint16_t)i))
			mask |= 1ull << i % 64;
	s->near_mask[peer] = mask;
	s->near_mask_of[peer] = s->near_changes;
	return mask;
}

/* A bit for peer % 64 of each path of the destination. */
static uint64_t
peers_mask(const struct path_set *front, const struct dest_tail *tail)
{
	uint64_t mask = tail->peer_mask;

	for (unsigned i = 0; i < front->count; i++)
		mask |= 1ull << front->path[i].peer.v % 64;
	return mask;
}

static bool
med_differs(const struct shard *s, const struct attr_set *a, const struct rib_path *p)
{
	struct attr_set b;

	return !is_refused(p) &&
	       decision_med_differs(a, attr_unpack_fixed(attr_get(s->attrs, p->accepted), &b));
}

/*
 * True if MED decides between `p` and a path of the destination except path `skip`: then the group
 * of `p` must be ranked.
 */
static bool
med_decides(struct shard *s, const struct shard_table *t, struct dest_id id,
	const struct path_set *front, const struct dest_tail *tail, const struct rib_path *p,
	unsigned skip) RUNS_ON(role_rib)
{
	struct rib_path other;
	struct attr_set a;

	if ((near_mask(s, p->peer.v) & peers_mask(front, tail)) == 0)
		return false;
	(void)attr_unpack_fixed(attr_get(s->attrs, p->accepted), &a);
	for (unsigned i = 0; i < front->count; i++)
		if (i != skip && may_be_neighbours(s, p->peer.v, front->path[i].peer.v) &&
			med_differs(s, &a, &front->path[i]))
			return true;
	for (unsigned i = 0; i < tail->entries; i++)
		if (i + PATHS_PACKED_MAX != skip &&
			may_be_neighbours(s, p->peer.v, tail->peers[i].peer) &&
			dest_tail_path(t->dests, id, i, &other) && med_differs(s, &a, &other))
			return true;
	return false;
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
	key = key_of(s, t, p);
	return inputs_of(s, t, &o->now, o->key, p, key, in) ? decision_before(&in[0], &in[1])
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
			uint32_t key = key_of(s, t, &front->path[i]);

			*front_key = *front_key > key ? *front_key : key;
		}
	}
	return (o->key & DECISION_KEY_RANK) > (*front_key & DECISION_KEY_RANK);
}

/*
 * With max_paths above 1: true if the change may alter the paths that forward together. `n`: length
 * of the front.
 */
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
	       inputs_of(s, t, &o->now, o->key, best, key_of(s, t, best), in) &&
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

	m->differs = (was || is) && !(same && o->place == o->at);
	m->aside = front->eligible > 0 && (o->at != 0 ? o->place != 0 : same && o->place == 0);
}

/* The first path after the change; NULL: not usable. */
static const struct rib_path *
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

static void
one_publish(struct shard *s, struct shard_table *t, struct dest_id id, const struct path_set *front,
	const struct one *o, const struct dest_change *change, struct making *m) RUNS_ON(role_rib)
{
	struct shard_best best = one_move(s, t, front, o);
	struct dest_ref before;
	struct shard_wait wait[2];
	struct peer_id missing;
	uint64_t sequence = 0;
	unsigned waits = 0;

	reuse_end(s); /* the scratch holds paths of the last result */
	before = reuse_before(s, t, id, o->e);
	missing = not_installed_of(t, id);
	if (o->was != NULL) {
		waits = count_waiting(s, t, o->was, 1, -1, wait, 1);
		s->drop[m->drop++] = *o->was;
	}
	if (o->there) {
		waits += count_waiting(s, t, &o->now, 1, 1, wait + waits, 1);
		path_took(s, t, &o->now);
		s->take[m->take++] = o->now;
	}
	if (m->differs)
		sequence = journal_reserve(s->journal, s->config.index);
	dest_edit_end(t->dests, id, change, sequence);
	if (m->differs)
		entry_commit(s, t, id, sequence, m->aside);
	not_installed_moves(s, t, id, missing);
	if (__builtin_expect(s->changes != NULL, 0))
		changes_put(s, t, id, m->take, m->drop);
	history_note(s, t, id, o->e, m->take, m->doomed, m->drop, &best);
	if (before.word != 0) /* the set could be shared */
		reuse_begin(s, t, id, before, o->e, m, &best);
	if (s->reuse.table != NULL) {
		s->reuse.waits = waits;
		memcpy(s->reuse.wait, wait, waits * sizeof(wait[0]));
	}
	/* sets with imported paths are published by rebuild() */
	old_dropped(s, t, id, o->e, m->take, m->doomed, m->drop, m->differs);
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
	struct making m = {.old = front->count, .doomed = o->doomed};
	struct dest_edit edit = {.remove = o->at};
	struct dest_change change;
	int err;

	o->is = o->there && !is_refused(&o->now);
	o->front_med = front_has_med(front);
	if (any_med(&tail, o) &&
		((o->is && med_decides(s, t, id, front, &tail, &o->now, o->at)) ||
			(o->was != NULL && !is_refused(o->was) &&
				med_decides(s, t, id, front, &tail, o->was, o->at))))
		return -ENOTSUP;
	if (o->is)
		o->key = key_of(s, t, &o->now);
	if (s->config.max_paths > 1 && multipath_changes(s, t, front, o))
		return -ENOTSUP;
	if (!place_find(s, t, front, &tail, o))
		return -ENOTSUP;
	one_effects(front, o, &m);
	s->effort++;
	if (o->e == NULL && o->there && !m.differs && o->now.label_flags == o->was->label_flags)
		return 0;
	edit.insert = o->place;
	edit.multipath = s->config.max_paths > 1 ? front->multipath : one_best(front, o) != NULL;
	edit.path = o->now;
	err = scratch_reserve(s, 1);
	if (err == 0)
		err = leak_room(s, t, 2);
	if (err == 0)
		err = dest_edit_begin(t->dests, id, &edit, &change);
	if (err != 0)
		return err;
	one_publish(s, t, id, front, o, &change, &m);
	return 0;
}

/* An edit by change_one(). Jobs of the scan may change other paths of the destination, too. */
static int
edit_one(struct shard *s, struct shard_table *t, struct dest_id id, const struct dest_view *view,
	const struct edit *e, unsigned at, const struct rib_path *was) RUNS_ON(role_rib)
{
	struct one o = {.e = e, .was = was, .at = at, .there = e->accepted != NULL};

	if (t->sweeps != NULL || t->rank_all || t->releasing || t->ageing || table_holds(t) ||
		shard_slot(s, e->peer)->rib[t->family].rerank || e->path_id != 0)
		return -ENOTSUP;
	if (o.there)
		path_make(s, t, e, &o.now);
	return change_one(s, t, id, view, &o);
}

/*
 * The scan by change_one(), if a sweep or a next hop changes one path only. `view` has all paths.
 * 0, -ENOMEM; -ENOTSUP: rebuild().
 */
static int
redecide_one(struct shard *s, struct shard_table *t, struct dest_id id,
	const struct dest_view *view) RUNS_ON(role_rib)
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
		if (!doomed &&
			(is_refused(p) || (!refresh_flags(s, t, &now) && !is_dirty(s, t, p))))
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

/* rebuild() of a destination with one path: replaces `old` by `now` (NULL: no path). 0, -ENOMEM. */
static int
replace_only(struct shard *s, struct shard_table *t, struct dest_id id, const struct rib_path *old,
	const struct rib_path *now) RUNS_ON(role_rib)
{
	struct making m = {.old = 1};
	struct path_set *set = NULL;
	int err;

	reuse_end(s); /* the scratch holds paths of the last result */
	err = scratch_reserve(s, 1);
	if (err == 0)
		err = leak_room(s, t, 2);
	if (err == 0 && now != NULL) {
		set = path_set_alloc(t->dests, 1);
		err = set != NULL ? 0 : -ENOMEM;
	}
	if (err != 0)
		return err;
	make_change(s, t, &m, old, now);
	if (m.keep > 0)
		(void)rank(s, t, m.keep, m.keep);
	if (set != NULL)
		set_fill(s, set, m.keep, m.refused);
	made_publish(s, t, id, set, old, 1, NULL, &m);
	old_dropped(s, t, id, NULL, m.take, 0, m.drop, !is_imported(old));
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
		(void)refresh_flags(s, t, &now);
	return replace_only(s, t, id, old, gone ? NULL : &now);
}

int
dest_redecide(
	struct shard *s, struct shard_table *t, struct dest_id id, const struct dest_view *view)
{
	int err;

	if (reuse_run(s, t, id, NULL))
		return 0;
	err = redecide_one(s, t, id, view);
	if (err != -ENOTSUP)
		return err;
	return view->paths->count == 1 && replays_alone(t) && !table_holds(t)
		       ? replay_only(s, t, id, view)
		       : rebuild(s, t, id, view, NULL);
}

/* The first path of a destination: no ranking, no paths to remove. */
static int
announce_first(struct shard *s, struct shard_table *t, struct dest_id id, const struct edit *e)
	RUNS_ON(role_rib)
{
	struct making m = {0};
	struct path_set *set;
	int err;

	reuse_end(s); /* the scratch holds paths of the last result */
	err = scratch_reserve(s, 1);
	if (err == 0)
		err = leak_room(s, t, 1);
	set = err == 0 ? path_set_alloc(t->dests, 1) : NULL;
	if (set == NULL)
		return -ENOMEM;
	set->eligible = set->multipath = (e->accepted->flags & PATH_NEXT_HOP_UP) != 0;
	path_make(s, t, e, &set->path[0]);
	make_change(s, t, &m, NULL, &set->path[0]);
	made_publish(s, t, id, set, NULL, 0, e, &m);
	if (t->leak != LEAK_NOTHING)
		leak_changed(s, t, id, s->take, m.take, NULL, 0, !is_imported(&s->take[0]));
	return 0;
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
		count_restamp(r, was);
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
	count_restamp(r, was);
	made_publish(s, t, id, set, view->paths->path, view->paths->count, e, &m);
	return 0;
}

/* Applies an edit of `was`, path `at`. 0, -ENOMEM. */
static int
edit_apply(struct shard *s, struct shard_table *t, struct dest_id id, const struct dest_view *view,
	const struct edit *e, unsigned at, const struct rib_path *was) RUNS_ON(role_rib)
{
	int err = edit_one(s, t, id, view, e, at, was);

	return err == -ENOTSUP ? rebuild(s, t, id, view, e) : err;
}

int
path_announce(struct shard *s, struct shard_table *t, struct peer_id peer, const struct rib_nlri *n,
	const struct shard_accepted *acc)
{
	struct edit e = {
		.peer = peer,
		.path_id = n->path_id,
		.label = n->label & SHARD_LABEL_NONE,
		.accepted = acc,
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

/* From this number of paths on, one imported path is inserted instead of ranking all. */
#define IMPORT_INSERTS 16u

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

/*
 * Adds, changes or removes one imported path among many. An instance may import a prefix of hundreds
 * of distinguishers. 0, -ENOMEM; -ENOTSUP: rebuild().
 */
static int
import_one(struct shard *s, struct shard_table *t, struct dest_id id, const struct dest_view *view,
	const struct edit *e, const struct rib_path *was) RUNS_ON(role_rib)
{
	const struct path_set *old = view->paths;
	struct one o = {.e = e, .was = was, .at = DEST_NO_PATH, .there = e->accepted != NULL};
	struct dest_tail none = {0};
	struct making m = {.old = old->count};
	struct path_set *set;
	int err;

	if (old->count < IMPORT_INSERTS || old->count == UINT16_MAX || view->behind > 0 ||
		s->config.max_paths > 1 || t->sweeps != NULL || t->rank_all || t->releasing ||
		t->ageing || t->keeps != NULL || table_holds(t))
		return -ENOTSUP;
	if (was != NULL)
		o.at = (unsigned)(was - old->path);
	o.is = o.there;
	if (o.there)
		path_make(s, t, e, &o.now);
	o.front_med = front_has_med(old);
	if (any_med(&none, &o) &&
		((o.is && med_decides(s, t, id, old, &none, &o.now, o.at)) ||
			(was != NULL && med_decides(s, t, id, old, &none, was, o.at))))
		return -ENOTSUP;
	if (o.is)
		o.key = key_of(s, t, &o.now);
	(void)place_find(s, t, old, &none, &o);
	reuse_end(s); /* the scratch holds paths of the last result */
	err = scratch_reserve(s, 1);
	if (err == 0)
		err = leak_room(s, t, 2);
	set = err == 0 ? path_set_alloc(t->dests, old->count + o.there - (was != NULL)) : NULL;
	if (set == NULL)
		return -ENOMEM;
	one_copy(old, &o, set);
	one_effects(old, &o, &m);
	m.differs = true; /* readers see all paths of this set */
	s->effort++;
	if (was != NULL)
		s->drop[m.drop++] = *was;
	if (o.there) {
		path_took(s, t, &o.now);
		s->take[m.take++] = o.now;
	}
	made_publish(s, t, id, set, old->path, old->count, e, &m);
	old_dropped(s, t, id, e, m.take, 0, m.drop, false);
	return 0;
}

/* An edit of an imported path. 0, -ENOMEM. */
static int
import_edit(struct shard *s, struct shard_table *t, struct dest_id id, const struct dest_view *view,
	const struct edit *e, const struct rib_path *was) RUNS_ON(role_rib)
{
	int err = import_one(s, t, id, view, e, was);

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
	err = scratch_reserve(s, view.paths->count);
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
	(void)rank(s, t, n, n);
	*out = s->keep[s->order[0]];
	return 0;
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
