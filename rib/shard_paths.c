/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One destination's next path set. Reserve, then apply: the new set is filled and ranked before
 * anything is written, so out of memory leaves the destination as it was. What nobody could notice
 * is not published.
 *
 * Order within an apply: publish, journal, and only then let go of what the old set referred to; an
 * attribute set's grace period must not begin while a reader can still find its id.
 */
#include "rib/shard_impl.h"

#include <errno.h>

/* What is to become of one peer's path; `accepted` NULL takes it away. */
struct edit {
	struct peer_id peer;
	uint32_t path_id;
	uint32_t label;
	const struct shard_accepted *accepted;
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

static uint16_t
stamp(const struct rib_path *p)
{
	return atomic_load_explicit(&p->epoch, memory_order_relaxed);
}

bool
path_doomed(const struct shard *s, const struct shard_table *t, const struct rib_path *p)
{
	const struct shard_rib_in *r = &shard_slot(s, p->peer)->rib[t->family];

	return r->sweeping && shard_epoch_before(stamp(p), r->sweep_below);
}

void
scratch_free(struct shard *s)
{
	arena_free(s->arena, s->keep);
	arena_free(s->arena, s->drop);
	arena_free(s->arena, s->in);
	arena_free(s->arena, s->order);
	s->keep = s->drop = NULL;
	s->in = NULL;
	s->order = NULL;
	s->scratch_size = 0;
}

static int
scratch_reserve(struct shard *s, uint32_t n)
{
	uint32_t size = SCRATCH_MIN;

	if (n <= s->scratch_size)
		return 0;
	while (size < n)
		size *= 2;
	scratch_free(s);
	s->keep = arena_alloc(s->arena, size * sizeof(*s->keep));
	s->drop = arena_alloc(s->arena, size * sizeof(*s->drop));
	s->in = arena_alloc(s->arena, size * sizeof(*s->in));
	s->order = arena_alloc(s->arena, size * sizeof(*s->order));
	if (s->keep == NULL || s->drop == NULL || s->in == NULL || s->order == NULL) {
		scratch_free(s);
		return -ENOMEM;
	}
	s->scratch_size = size;
	return 0;
}

/* A path as the record brings it. */
static void
path_make(const struct shard *s, const struct shard_table *t, const struct edit *e,
	struct rib_path *out)
{
	const struct shard_rib_in *r = &shard_slot(s, e->peer)->rib[t->family];

	*out = (struct rib_path){
		.peer = e->peer,
		.accepted = e->accepted->id,
		.path_id = e->path_id,
		.label_flags = e->label << 12 | e->accepted->flags,
		.time_s = (uint32_t)(s->now_ns / 1000000000u),
	};
	atomic_init(&out->epoch, shard_epoch(r));
}

static void
count_path(struct shard *s, struct shard_table *t, const struct rib_path *p, int by)
{
	struct shard_rib_in *r = &shard_slot(s, p->peer)->rib[t->family];

	shard_count(&r->counts.received, by);
	shard_count(&r->counts.accepted, by);
}

static void
path_took(struct shard *s, struct shard_table *t, const struct rib_path *p) RUNS_ON(role_rib)
{
	struct shard_next_hop *n = next_hop_of(s, t->vrf, p);

	attr_ref(s->attrs, p->accepted, 1);
	if (n != NULL)
		n->users++;
	count_path(s, t, p, 1);
}

static void
path_dropped(struct shard *s, struct shard_table *t, const struct rib_path *p) RUNS_ON(role_rib)
{
	struct shard_next_hop *n = next_hop_of(s, t->vrf, p);

	if (n != NULL)
		n->users--;
	count_path(s, t, p, -1);
	attr_unref(s->attrs, p->accepted);
}

static void
publish(struct shard *s, struct shard_table *t, struct dest_id id, struct path_set *set)
	RUNS_ON(role_rib)
{
	dest_publish(t->dests, id, set, journal_next_sequence(s->journal));
	journal_append(s->journal, t->id, id);
}

static void
input_of(const struct shard *s, const struct shard_table *t, const struct rib_path *p,
	struct decision_input *out) RUNS_ON(role_rib)
{
	const struct shard_peer_slot *slot = shard_slot(s, p->peer);
	const struct shard_next_hop *n = next_hop_of(s, t->vrf, p);

	*out = (struct decision_input){
		.attrs = attr_get(s->attrs, p->accepted),
		.eligible = (p->label_flags & PATH_NEXT_HOP_UP) != 0,
		.external = atomic_load_explicit(&slot->external, memory_order_relaxed),
		.local = p->peer.v == PEER_SELF.v,
		.igp_metric =
			n != NULL ? atomic_load_explicit(&n->metric, memory_order_relaxed) : 0,
		.router_id = atomic_load_explicit(&slot->router_id, memory_order_relaxed),
		.peer_addr = atomic_load_explicit(&slot->key, memory_order_relaxed)->addr,
		.path_id = p->path_id,
	};
}

/* Ranks keep[0 .. n-1] into s->order and s->multipath. True when the order is not as it is. */
static bool
rank(struct shard *s, const struct shard_table *t, unsigned n) RUNS_ON(role_rib)
{
	bool moved = false;

	if (n == 1) {
		/* nearly every destination of a network with one upstream; no set is read */
		s->order[0] = 0;
		s->multipath = (s->keep[0].label_flags & PATH_NEXT_HOP_UP) != 0;
		return false;
	}
	for (unsigned i = 0; i < n; i++)
		input_of(s, t, &s->keep[i], &s->in[i]);
	decision_order(s->in, n, s->order, NULL);
	s->multipath = decision_multipath(s->in, n, s->order, s->config.max_paths);
	for (unsigned i = 0; i < n; i++)
		moved |= s->order[i] != i;
	return moved;
}

static void
set_fill(const struct shard *s, struct path_set *set, unsigned n)
{
	set->count = (uint16_t)n;
	set->eligible = 0;
	set->unused = 0;
	for (unsigned i = 0; i < n; i++) {
		set->path[i] = s->keep[s->order[i]];
		if (set->path[i].label_flags & PATH_NEXT_HOP_UP)
			set->eligible++;
	}
	set->multipath = (uint16_t)s->multipath;
}

/* With the next hop's present state; true when that changed. */
static bool
refresh_flags(const struct shard *s, const struct shard_table *t, struct rib_path *p)
	RUNS_ON(role_rib)
{
	bool up = next_hop_eligible(s, shard_slot(s, p->peer), p->peer, next_hop_of(s, t->vrf, p));
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

/* `old` (may be NULL) without what is doomed, edited by `e` (may be NULL), in its new order. 0,
 * -ENOMEM. */
static int
rebuild(struct shard *s, struct shard_table *t, struct dest_id id, const struct path_set *old,
	const struct edit *e) RUNS_ON(role_rib)
{
	unsigned old_count = old != NULL ? old->count : 0, keep = 0, drop = 0, doomed = 0;
	bool add = e != NULL && e->accepted != NULL, differs = add;
	struct path_set *set = NULL;
	int err = scratch_reserve(s, old_count + 1);

	s->effort += old_count;
	if (err != 0)
		return err;
	/* doomed ones first in `drop`, the edited one at its end */
	for (unsigned i = 0; i < old_count; i++) {
		const struct rib_path *p = &old->path[i];

		if (e != NULL && is_of(p, e->peer, e->path_id))
			continue;
		if (path_doomed(s, t, p)) {
			s->drop[doomed++] = *p;
			continue;
		}
		s->keep[keep] = *p;
		differs |= refresh_flags(s, t, &s->keep[keep++]);
	}
	drop = doomed;
	if (e != NULL) {
		const struct rib_path *p = path_find(old, e->peer, e->path_id);

		if (p != NULL)
			s->drop[drop++] = *p;
	}
	if (add)
		path_make(s, t, e, &s->keep[keep++]);
	if (keep > UINT16_MAX)
		return -ENOMEM;
	if (keep > 0 && !rank(s, t, keep) && !differs && drop == 0 &&
		s->multipath == old->multipath)
		return 0;
	if (keep > 0) {
		set = path_set_alloc(t->dests, keep);
		if (set == NULL)
			return -ENOMEM;
		set_fill(s, set, keep);
	}
	if (add)
		path_took(s, t, &s->keep[keep - 1]);
	publish(s, t, id, set);
	for (unsigned i = 0; i < doomed; i++)
		count_swept(s, t, &s->drop[i]);
	for (unsigned i = 0; i < drop; i++)
		path_dropped(s, t, &s->drop[i]);
	return 0;
}

int
dest_redecide(struct shard *s, struct shard_table *t, struct dest_id id, const struct path_set *old)
{
	return rebuild(s, t, id, old, NULL);
}

/* The first path of a destination: nothing to rank, nothing to let go. */
static int
announce_first(struct shard *s, struct shard_table *t, struct dest_id id, const struct edit *e)
	RUNS_ON(role_rib)
{
	struct path_set *set = path_set_alloc(t->dests, 1);

	if (set == NULL)
		return -ENOMEM;
	set->count = 1;
	set->eligible = set->multipath = (e->accepted->flags & PATH_NEXT_HOP_UP) != 0;
	set->unused = 0;
	path_make(s, t, e, &set->path[0]);
	path_took(s, t, &set->path[0]);
	publish(s, t, id, set);
	return 0;
}

/*
 * The same again: only the stamp is written, in place. (By the one who owns it: to readers the set
 * is const, and the stamp atomic.)
 */
static bool
announce_same(const struct rib_path *p, const struct edit *e, const struct shard_rib_in *r)
{
	uint32_t flags = e->label << 12 | e->accepted->flags;
	uint16_t epoch = shard_epoch(r);

	if (r->rerank || p->accepted.v != e->accepted->id.v || p->label_flags != flags)
		return false;
	if (stamp(p) != epoch)
		atomic_store_explicit(
			(_Atomic uint16_t *)(uintptr_t)&p->epoch, epoch, memory_order_relaxed);
	return true;
}

int
path_announce(struct shard *s, struct shard_table *t, struct peer_id peer, const struct rib_nlri *n,
	const struct shard_accepted *acc)
{
	bool labelled = family_safi(t->family) == SAFI_VPN;
	struct edit e = {
		.peer = peer,
		.path_id = n->path_id,
		.label = labelled ? n->label & SHARD_LABEL_NONE : SHARD_LABEL_NONE,
		.accepted = acc,
	};
	const struct rib_path *same;
	struct dest_view view;
	struct dest_id id;
	int err = dest_get(t->dests, &n->prefix, &id);

	if (err != 0)
		return err;
	if (!dest_peek(t->dests, id, &view) || view.paths == NULL)
		return announce_first(s, t, id, &e);
	same = path_find(view.paths, peer, e.path_id);
	if (same != NULL && announce_same(same, &e, &shard_slot(s, peer)->rib[t->family]))
		return 0;
	return rebuild(s, t, id, view.paths, &e);
}

int
path_withdraw(struct shard *s, struct shard_table *t, struct peer_id peer, const struct prefix *p,
	uint32_t path_id)
{
	struct edit e = {.peer = peer, .path_id = path_id};
	struct dest_view view;
	struct dest_id id = dest_find(t->dests, p);

	if (id.v == DEST_NONE || !dest_peek(t->dests, id, &view) ||
		path_find(view.paths, peer, path_id) == NULL)
		return 0;
	return rebuild(s, t, id, view.paths, &e);
}
