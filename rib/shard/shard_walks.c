/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each table has one scan, which circulates over the dense ids while the table has jobs: flushes of
 * lost peers, sweeps of stale routes, evaluations for changed next hops, replays of kept routes. A
 * job notes the position of the scan and is done when the scan returns to the position. So a
 * hundred peers lost at once, or a thousand next-hop changes during a load, cost little more than
 * one lap, and a job that is widened while running takes at most one more lap.
 *
 * Destinations created after the start of a job need no visit: their paths have fresh stamps and
 * were evaluated with the current next hops.
 */
#include "rib/shard/shard_impl.h"

#include <errno.h>

#define SLICE_IDS 1024u
#define SLICE_PATHS 1024u /* ranked in a slice, for destinations with many paths */

static struct shard_position
position(const struct shard_table *t)
{
	return (struct shard_position){t->lap, t->walk.next};
}

struct visit {
	struct shard *s;
	struct shard_table *t;
	bool failed;
};

static bool
skip_dest(void *ctx, struct dest_id id) RUNS_ON(role_rib)
{
	const struct visit *v = ctx;

	if (!replays_alone(v->t) || shard_load(&v->s->revalidating) > 0 ||
		!replay_unchanged(v->s, v->t, id))
		return false;
	replay_prefetch(v->s, v->t, id);
	return true;
}

static void
scan_begin(struct shard_table *t)
{
	walk_begin(&t->walk, t->dests);
	t->walk.skip = skip_dest;
}

/* The start of a job: the current lap must reach every existing id. */
static struct shard_position
job_begin(struct shard *s, struct shard_table *t)
{
	if (!t->walking) {
		scan_begin(t);
		t->walking = true;
		table_bit_set(s->walking, t->id, true);
	}
	t->walk.end = dest_limit(t->dests);
	return position(t);
}

static bool
job_covered(const struct shard_table *t, struct shard_position from)
{
	return t->lap > from.lap + 1 || (t->lap == from.lap + 1 && t->walk.next >= from.next);
}

void
sweep_start(
	struct shard *s, struct shard_table *t, struct shard_rib_in *r, uint16_t below, bool lost)
{
	adj_rib_in_doomed(&r->counts, below);
	if (shard_load(&r->counts.received) == 0) {
		/* without received routes a running sweep has nothing to find */
		r->sweep_below = below;
		if (lost || !r->sweeping)
			r->flush_below = below;
		adj_rib_in_swept(&r->counts, below);
		return;
	}
	if (!r->sweeping) {
		r->sweeping = true;
		r->sweep_next = t->sweeps;
		t->sweeps = r;
	}
	r->sweep_below = below;
	if (lost)
		r->flush_below = below;
	r->from = job_begin(s, t);
}

void
age_start(struct shard *s, struct shard_table *t, struct shard_rib_in *r)
{
	r->long_lived = r->counts.retained;
	if (!r->long_lived || shard_load(&r->counts.received) == 0)
		return;
	t->ageing = true;
	t->age_from = job_begin(s, t);
}

static void
redecide(struct shard *s, struct vrf_id vrf, bool all) RUNS_ON(role_rib)
{
	for (unsigned i = 0; i < shard_table_count(s); i++) {
		struct shard_table *t = shard_table_at(s, i);

		/* imported paths resolve where their peers are */
		if (t == NULL || t->leaving ||
			(t->vrf.v != vrf.v && t->locals == 0 &&
				(vrf.v != VRF_DEFAULT.v ||
					shard_load(&t->imports.counts.received) == 0)))
			continue;
		t->redecide = true;
		t->rank_all |= all;
		t->redecide_from = job_begin(s, t);
	}
}

void
redecide_start(struct shard *s, struct vrf_id vrf)
{
	redecide(s, vrf, false);
}

void
rank_all_start(struct shard *s, struct vrf_id vrf)
{
	redecide(s, vrf, true);
}

void
release_start(struct shard *s, struct shard_table *t)
{
	if (t->held == 0)
		return;
	t->releasing = true;
	t->release_from = job_begin(s, t);
}

static void
keeps_list(struct shard_table *t, struct shard_rib_in *r)
{
	if (r->keeps_listed)
		return;
	r->keeps_listed = true;
	r->keeps_next = t->keeps;
	t->keeps = r;
}

static void
only_changed_end(struct shard *s, struct shard_rib_in *r)
{
	if (!r->only_changed)
		return;
	r->only_changed = false;
	shard_count(&s->revalidating, -1);
	if (shard_load(&s->revalidating) > 0)
		return;
	vrps_unref(s->changed);
	s->changed = NULL;
}

static void
replays_end(struct shard *s, struct shard_rib_in *r)
{
	only_changed_end(s, r);
	r->replaying = false;
	/* release: pairs with the acquire in adj_rib_in_counts_get; the results are published */
	atomic_store_explicit(&r->counts.replays_done, r->replays, memory_order_release);
}

void
replay_start(struct shard *s, struct shard_table *t, struct shard_rib_in *r)
{
	only_changed_end(s, r);
	if (t == NULL || !(r->keep || r->drops_then) || shard_load(&r->counts.kept) == 0) {
		replays_end(s, r);
		r->drops_then = false;
		return;
	}
	r->replaying = true;
	r->context = ++s->replay.contexts;
	keeps_list(t, r);
	r->replay_from = job_begin(s, t);
}

/* A full replay, if one is running, starts over; it evaluates the changed prefixes, too. */
static void
revalidate(struct shard *s, struct shard_table *t, struct shard_rib_in *r) RUNS_ON(role_rib)
{
	bool full = r->replaying && !r->only_changed;

	replay_start(s, t, r);
	if (full || !r->replaying)
		return;
	r->only_changed = true;
	shard_count(&s->revalidating, 1);
}

void
shard_validation(struct shard *s, struct vrps *vrps, struct vrps *changed)
{
	bool overlaps = shard_load(&s->revalidating) > 0;

	vrps_unref(s->vrps);
	s->vrps = vrps_ref(vrps);
	/* keeps the count above 0 until all replays have begun */
	shard_count(&s->revalidating, 1);
	vrps_unref(s->changed);
	s->changed = overlaps ? NULL : vrps_ref(changed);
	for (unsigned i = 0; i < PEER_MAX; i++) {
		struct shard_peer_slot *slot = shard_slot(s, (struct peer_id){(uint16_t)i});

		for (unsigned f = 0; slot != NULL && f < FAMILY_COUNT; f++) {
			struct shard_rib_in *r = &slot->rib[f];

			if (r->import != NULL && policy_validates(r->import))
				revalidate(s, shard_table_of_peer(s, slot, (enum family)f), r);
		}
	}
	shard_count(&s->revalidating, -1);
	if (shard_load(&s->revalidating) == 0) {
		vrps_unref(s->changed);
		s->changed = NULL;
	}
}

bool
shard_validating(const struct shard *s)
{
	return shard_load(&s->revalidating) > 0;
}

void
drop_kept_start(struct shard *s, struct shard_table *t, struct shard_rib_in *r)
{
	replays_end(s, r);
	r->drops_then = false;
	if (t == NULL || shard_load(&r->counts.kept) == 0)
		return;
	r->dropping = true;
	keeps_list(t, r);
	r->drop_from = job_begin(s, t);
}

static bool
concerned(const struct shard *s, const struct shard_table *t, const struct path_set *set)
	RUNS_ON(role_rib)
{
	if (t->rank_all)
		return true;
	for (unsigned i = 0; i < set->count; i++) {
		const struct rib_path *p = &set->path[i];
		const struct shard_next_hop *n;

		if (t->sweeps != NULL && path_doomed(s, t, p))
			return true;
		if (t->releasing && rib_path_held(p))
			return true;
		if (t->ageing && path_ages(s, t, p))
			return true;
		if (!t->redecide)
			continue;
		n = next_hop_of(s, path_vrf(s, t, p), p);
		if (n != NULL && n->dirty == s->next_hops.dirty)
			return true;
	}
	return false;
}

static bool
visit_dest(void *ctx, struct dest_id id, const struct dest_view *view) RUNS_ON(role_rib)
{
	struct visit *v = ctx;
	struct dest_view all;
	int concerns;

	if (v->t->keeps != NULL)
		replay_prefetch(v->s, v->t, id);
	if (view->paths == NULL)
		return true;
	if (view->behind > 0) {
		if (!dest_peek(v->t->dests, id, &all))
			return true;
		if (dest_expand(v->s, v->t, id, &all) != 0) {
			v->failed = true;
			return true;
		}
		view = &all;
	}
	concerns = v->t->keeps != NULL ? replay_evaluate(v->s, v->t, view) : 0;
	if (concerns == 0)
		concerns = concerned(v->s, v->t, view->paths);
	if (v->t->ageing)
		reuse_end(v->s); /* the result depends on a stamp */
	if (concerns > 0)
		concerns = dest_redecide(v->s, v->t, id, view);
	v->failed |= concerns < 0;
	return v->s->effort < SLICE_PATHS;
}

/* After lack of memory all jobs start over: the next lap visits failed destinations again. */
static void
jobs_restart(struct shard_table *t)
{
	for (struct shard_rib_in *r = t->sweeps; r != NULL; r = r->sweep_next)
		r->from = position(t);
	for (struct shard_rib_in *r = t->keeps; r != NULL; r = r->keeps_next)
		r->replay_from = r->drop_from = position(t);
	t->redecide_from = t->release_from = t->age_from = position(t);
}

static void
sweep_end(struct shard_rib_in *r)
{
	r->sweeping = false;
	r->rerank = r->rerank && r->counts.retained;
	/* keeps flush_below near the epoch, as serial number arithmetic requires */
	r->flush_below = r->sweep_below;
	adj_rib_in_swept(&r->counts, r->sweep_below);
}

static void
keeps_finish(struct shard *s, struct shard_table *t) RUNS_ON(role_rib)
{
	const struct shard_table *other;
	bool left = false;

	for (struct shard_rib_in **at = &t->keeps; *at != NULL;) {
		struct shard_rib_in *r = *at;

		if (r->replaying && job_covered(t, r->replay_from)) {
			replays_end(s, r);
			if (r->drops_then)
				drop_kept_start(s, t, r);
		}
		if (r->dropping && job_covered(t, r->drop_from))
			r->dropping = false;
		if (r->replaying || r->dropping) {
			at = &r->keeps_next;
			continue;
		}
		*at = r->keeps_next;
		r->keeps_listed = false;
	}
	for (unsigned i = 0; (other = shard_table_next(s, s->walking, &i)) != NULL;)
		left |= other->keeps != NULL;
	if (!left)
		replay_forget(s);
}

static void
jobs_finish(struct shard *s, struct shard_table *t) RUNS_ON(role_rib)
{
	const struct shard_table *other;
	bool redecides = false;

	for (struct shard_rib_in **at = &t->sweeps; *at != NULL;) {
		struct shard_rib_in *r = *at;

		if (job_covered(t, r->from)) {
			*at = r->sweep_next;
			sweep_end(r);
		} else {
			at = &r->sweep_next;
		}
	}
	if (t->redecide && job_covered(t, t->redecide_from)) {
		t->redecide = t->rank_all = false;
		for (unsigned i = 0; (other = shard_table_next(s, s->walking, &i)) != NULL;)
			redecides |= other->redecide;
		if (!redecides)
			next_hops_clean(s);
	}
	if (t->keeps != NULL)
		keeps_finish(s, t);
	if (t->releasing && job_covered(t, t->release_from))
		t->releasing = false;
	if (t->ageing && job_covered(t, t->age_from))
		t->ageing = false;
	if (t->sweeps == NULL && !t->redecide && t->keeps == NULL && !t->releasing && !t->ageing) {
		t->walking = false;
		table_bit_set(s->walking, t->id, false);
	}
}

static void
table_slice(struct shard *s, struct shard_table *t, uint64_t deadline_ns) RUNS_ON(role_rib)
{
	struct visit v = {.s = s, .t = t};

	table_bit_set(s->stirred, t->id, true);
	s->effort = 0;
	s->replay.deadline_ns = deadline_ns;
	s->bulk = BULK_TABLE;
	if (!walk_slice(&t->walk, SLICE_IDS, deadline_ns, walk_clock, visit_dest, &v)) {
		t->lap++;
		scan_begin(t);
	}
	s->bulk = 0;
	reuse_end(s);
	replay_slice_end(s);
	if (v.failed)
		jobs_restart(t);
	jobs_finish(s, t);
	/*
	 * a slice that replaces every set fills two chunks of old sets; this frees up to sixteen,
	 * so the list stays short
	 */
	(void)dest_reclaim(t->dests, journal_safe_sequence(s->journal));
}

/*
 * Input gets its journal entries after the entries of walks. So walks run ahead of consumers only
 * as far as consumers read in a millisecond or two. A consumer without progress is not waited for.
 * If input alone keeps an active consumer behind, all shards together still run one walk slice in
 * each such period, so that walks end.
 */
#define PACE_PATIENCE_NS 20000000u

bool
walks_ahead(struct shard *s)
{
	uint64_t position, now;

	/* a flush that frees memory does not wait for consumers, which may need memory */
	if (arena_is_short() || journal_lag(s->journal, &position) < SHARD_PACE_ENTRIES)
		return false;
	now = walk_clock();
	if (position != s->pace.position) {
		s->pace.position = position;
		s->pace.since_ns = now;
	}
	return now - s->pace.since_ns < PACE_PATIENCE_NS &&
	       now - s->pace.walked_ns < PACE_PATIENCE_NS * journal_writers(s->journal);
}

static bool
may_walk(const struct shard_table *t, bool hold)
{
	/* a replay makes no tombstones; dropping kept routes does */
	for (const struct shard_rib_in *r = t->keeps; hold && r != NULL; r = r->keeps_next)
		if (r->dropping)
			return false;
	return t->walking && !(hold && (t->sweeps != NULL || t->releasing || t->ageing));
}

bool
walks_possible(const struct shard *s, bool hold)
{
	const struct shard_table *t;

	for (unsigned i = 0; (t = shard_table_next(s, s->walking, &i)) != NULL;)
		if (may_walk(t, hold))
			return true;
	return false;
}

bool
walks_pending(const struct shard *s)
{
	return walks_possible(s, false);
}

bool
walks_run(struct shard *s, uint64_t deadline_ns, bool hold)
{
	if (!walks_possible(s, hold) || leak_pending(s))
		return walks_pending(s);
	if (walks_ahead(s)) {
		s->pace.waits = true;
		return true;
	}
	shard_sample_add(s, 0);
	do {
		struct shard_table *t;

		do {
			t = shard_table_next(s, s->walking, &s->walk_turn);
			if (t == NULL)
				s->walk_turn = 0;
		} while (t == NULL || !may_walk(t, hold));
		table_slice(s, t, deadline_ns);
		s->pace.walked_ns = walk_clock();
		if ((!hold && leak_run(s, deadline_ns)) || leak_pending(s) ||
			!walks_possible(s, hold))
			return walks_pending(s);
		s->pace.waits = walks_ahead(s);
	} while (!s->pace.waits && walk_clock() < deadline_ns);
	return true;
}
