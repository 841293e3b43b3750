/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keep_all_routes: evaluates kept routes by the current policy. The circulating scan asks for each
 * path; most paths stay unchanged, which must be found out fast.
 *
 * Results that depend on attributes alone are evaluated once per set and stored in a verdict,
 * indexed by set id; no regular expression runs twice for a set under one policy. A verdict is
 * valid for one context (a replay of a (peer, family) under one policy) and one serial of the set.
 * Consecutive paths with one set (most paths: ids rise in order of arrival) share the policy
 * result. Consecutive destinations with equal paths are evaluated once, if the policies decide
 * equally for the prefixes.
 */
#include "rib/shard/shard_impl.h"

#include <errno.h>

#define VERDICTS (VERDICT_SEGMENTS << VERDICT_SEGMENT_BITS)
#define PREFETCH_PATHS 16u
#define PREFETCH_VERDICTS 10u
#define PREFETCH_SETS 5u
#define CLOCK_EVERY 16u /* verdicts, of some 0.5 us */

enum verdict_kind {
	VERDICT_REFUSED,
	VERDICT_OUTCOME, /* one outcome for all prefixes */
	VERDICT_BY_PREFIX, /* the digest decides */
	VERDICT_BY_EVAL, /* the policy is too long for a digest */
};

/* Result for a path. */
struct wanted {
	enum decision_reason refused; /* DECISION_EQUAL: accepted */
	struct attr_id accepted; /* .v == 0: refused */
	uint64_t outcome;
};

/* A path and its context, for evaluation. */
struct subject {
	struct shard *s;
	struct shard_table *t;
	const struct shard_peer_slot *slot;
	const struct shard_rib_in *rib;
	const struct rib_path *path;
};

/* ---- verdicts ---- */

/* Keeps verdicts of one set in different contexts apart. */
static uint32_t
verdict_index(const struct shard_rib_in *r, struct attr_id set)
{
	return (set.v ^ r->context * 0x9e3779b1u) % VERDICTS;
}

static struct shard_verdict *
verdict_at(struct shard *s, const struct shard_rib_in *r, struct attr_id set)
{
	uint32_t i = verdict_index(r, set);
	struct shard_verdict **segment = &s->replay.segment[i >> VERDICT_SEGMENT_BITS];

	if (*segment == NULL)
		*segment =
			arena_calloc_touched(s->arena, sizeof(**segment) << VERDICT_SEGMENT_BITS);
	if (*segment == NULL)
		return &s->replay.spare;
	return &(*segment)[i % (1u << VERDICT_SEGMENT_BITS)];
}

void
replay_forget(struct shard *s)
{
	for (unsigned i = 0; i < VERDICT_SEGMENTS; i++) {
		arena_free(s->arena, s->replay.segment[i]);
		s->replay.segment[i] = NULL;
	}
}

/*
 * Prefetches the received set, which is read in full without a verdict, and the accepted set, for
 * comparison.
 */
static void
sets_prefetch(const struct shard *s, const struct shard_table *t, struct dest_id id)
{
	const struct shard_verdict *segment;
	const struct rib_path *p;
	const struct shard_rib_in *r;
	struct dest_view view;
	uint32_t i;

	if (dest_like_last(t->dests, id) || !dest_peek(t->dests, id, &view) || view.paths == NULL)
		return;
	p = &view.paths->path[0];
	r = &shard_slot(s, p->peer)->rib[t->family];
	i = verdict_index(r, p->received);
	segment = s->replay.segment[i >> VERDICT_SEGMENT_BITS];
	if (segment != NULL && segment[i % (1u << VERDICT_SEGMENT_BITS)].set == p->received.v &&
		segment[i % (1u << VERDICT_SEGMENT_BITS)].context == r->context)
		return;
	attr_packed_prefetch(attr_get(s->attrs, p->received));
	attr_packed_prefetch(attr_get(s->attrs, p->accepted));
}

static void
verdict_prefetch(const struct shard *s, const struct shard_table *t, struct dest_id id)
	RUNS_ON(role_rib)
{
	const struct shard_verdict *segment;
	const struct shard_peer_slot *slot;
	const struct rib_path *p;
	struct dest_view view;
	uint32_t i;

	if (dest_like_last(t->dests, id) || !dest_peek(t->dests, id, &view) || view.paths == NULL)
		return;
	p = &view.paths->path[0];
	slot = shard_slot(s, p->peer);
	i = verdict_index(&slot->rib[t->family], p->received);
	segment = s->replay.segment[i >> VERDICT_SEGMENT_BITS];
	if (segment != NULL)
		__builtin_prefetch(&segment[i % (1u << VERDICT_SEGMENT_BITS)]);
	attr_prefetch(s->attrs, p->received);
	attr_prefetch(s->attrs, p->accepted);
	next_hop_prefetch(s, p->accepted);
}

void
replay_prefetch(const struct shard *s, const struct shard_table *t, struct dest_id id)
{
	dest_prefetch_paths(t->dests, (struct dest_id){id.v + PREFETCH_PATHS});
	verdict_prefetch(s, t, (struct dest_id){id.v + PREFETCH_VERDICTS});
	sets_prefetch(s, t, (struct dest_id){id.v + PREFETCH_SETS});
}

/* ---- runs ---- */

static void
run_end(struct shard *s) RUNS_ON(role_rib)
{
	verdicts_end(s);
	s->replay.run_rib = NULL;
	s->replay.run_begun = false;
}

void
replay_slice_end(struct shard *s)
{
	run_end(s);
	s->replay.results_identity = 0;
}

static void
run_enter(const struct subject *j) RUNS_ON(role_rib)
{
	struct shard_replay *y = &j->s->replay;

	if (y->run_rib == j->rib && y->run_set == j->path->received.v)
		return;
	run_end(j->s);
	y->run_rib = j->rib;
	y->run_set = j->path->received.v;
}

/* Sets up s->eval for the set. 0, -ENOMEM. */
static int
run_begin(const struct subject *j) RUNS_ON(role_rib)
{
	struct policy_context context;
	const struct attr_set *attrs;
	int err;

	if (j->s->replay.run_begun)
		return 0;
	import_context(j->s, j->slot, j->t->family, &context);
	attrs = attr_read(j->s->attrs, j->path->received, j->s->unpacked);
	err = policy_eval_begin(j->s->eval, j->rib->import, attrs, &context);
	j->s->replay.run_begun = err == 0;
	return err;
}

/* ---- evaluation ---- */

/* Evaluating a set takes time, even if no destination changes. */
static void
deadline_check(const struct subject *j)
{
	struct shard_replay *y = &j->s->replay;
	const struct policy *import = j->rib->import;

	if (++y->fills % CLOCK_EVERY != 0 && (import == NULL || !policy_may_take_long(import)))
		return;
	if (walk_clock() >= y->deadline_ns)
		j->s->effort = EFFORT_SPENT;
}

/* 0, -ENOMEM. */
static int
verdict_fill(const struct subject *j, struct shard_verdict *v) RUNS_ON(role_rib)
{
	struct attr_id set = j->path->received;
	const struct attr_packed *attrs = attr_get(j->s->attrs, set);
	struct policy_decision d;
	enum decision_reason reason;
	enum import_result import_result;
	struct policy_digest digest;
	int err;

	deadline_check(j);
	v->set = 0;
	import_result = import_evaluate(j->s, j->slot, j->t->family, attrs, &reason);
	*v = (struct shard_verdict){
		.serial = attr_serial(j->s->attrs, set),
		.context = j->rib->context,
		.kind = import_result == REFUSE_ALL ? VERDICT_REFUSED : VERDICT_OUTCOME,
		.reason = (uint8_t)reason,
	};
	if (import_result == ASK_POLICY && !policy_has_digest(j->rib->import)) {
		v->kind = VERDICT_BY_EVAL;
	} else if (import_result == ASK_POLICY) {
		err = run_begin(j);
		if (err != 0)
			return err;
		digest = policy_eval_digest(j->s->eval);
		v->could = digest.could;
		v->kind = VERDICT_BY_PREFIX;
	}
	/* a verdict has room for a number only; the digest gives a key again */
	if (v->kind == VERDICT_BY_PREFIX &&
		policy_digest_decide(j->rib->import, (struct policy_digest){v->could}, NULL, &d) &&
		d.outcome < POLICY_OUTCOMES_MAX) {
		v->kind = d.permit ? VERDICT_OUTCOME : VERDICT_REFUSED;
		v->outcome = (uint8_t)d.outcome;
	}
	v->set = set.v;
	return 0;
}

static bool
verdict_good(const struct subject *j, const struct shard_verdict *v)
{
	return v->set == j->path->received.v && v->context == j->rib->context &&
	       v->serial == attr_serial(j->s->attrs, j->path->received);
}

/*
 * True if the accepted set is the result of the outcome. Compares packed sets, for outcomes that
 * only append communities; false for all other outcomes.
 */
static bool
accepted_is_outcome(const struct subject *j, uint64_t outcome)
{
	const struct attr_packed *received = attr_get(j->s->attrs, j->path->received),
				 *accepted = attr_get(j->s->attrs, j->path->accepted);
	const uint8_t *values;
	unsigned count;

	return received != NULL && accepted != NULL &&
	       policy_outcome_only_appends(j->rib->import, outcome, &values, &count) &&
	       attr_packed_is_appended(received, accepted, values, count);
}

/*
 * Interns the result of outcome w->outcome; `made` is the result (NULL: evaluate now). 0, -ENOMEM.
 */
static int
outcome_intern(const struct subject *j, struct shard_verdict *v, const struct attr_set *made,
	struct wanted *w) RUNS_ON(role_rib)
{
	struct shard *s = j->s;
	bool same = made == NULL && accepted_is_outcome(j, w->outcome);
	struct shard_accepted *acc;
	int err = 0;

	if (made == NULL && !same) {
		s->replay.run_begun = false;
		err = policy_eval_outcome(s->eval, j->rib->import,
			attr_read(s->attrs, j->path->received, s->unpacked),
			&atomic_load_explicit(&j->slot->key, memory_order_relaxed)->addr,
			w->outcome, &made);
	}
	if (err == -E2BIG) {
		w->refused = DECISION_REJECTED_BY_POLICY;
		return 0;
	}
	/* most results equal the accepted set: one comparison */
	if (same || (err == 0 && attr_equals(s->attrs, j->path->accepted, made))) {
		w->accepted = j->path->accepted;
	} else {
		acc = accepted_place(s, w->outcome);
		if (err == 0)
			err = accepted_get(s, j->t->vrf, j->path->peer, NULL, made, acc);
		if (err != 0)
			return err;
		acc->received = j->path->received;
		accepted_keep(s, acc, w->outcome);
		w->accepted = acc->id;
	}
	if (w->outcome < POLICY_OUTCOMES_MAX &&
		(v->kind != VERDICT_OUTCOME || v->outcome == w->outcome)) {
		v->outcome = (uint8_t)w->outcome;
		v->accepted = w->accepted.v;
		v->accepted_serial = attr_serial(s->attrs, w->accepted);
	}
	return 0;
}

/* The id of the result of w->outcome; the set may have no users. 0, -ENOMEM. */
static int
outcome_id(const struct subject *j, struct shard_verdict *v, const struct attr_set *made,
	struct wanted *w) RUNS_ON(role_rib)
{
	const struct shard_accepted *acc = accepted_find(j->s, w->outcome);
	struct attr_id memo = {v->accepted};

	if (w->outcome == 0)
		w->accepted = j->path->received;
	else if (acc != NULL)
		w->accepted = acc->id;
	else if (memo.v != 0 && v->outcome == w->outcome &&
		 attr_serial(j->s->attrs, memo) == v->accepted_serial)
		w->accepted = memo;
	else
		return outcome_intern(j, v, made, w);
	return 0;
}

/* 0, -ENOMEM. */
static int
evaluate_prefix(const struct subject *j, const struct prefix *prefix, struct policy_verdict *out)
	RUNS_ON(role_rib)
{
	int err = run_begin(j);

	return err != 0 ? err : policy_eval_prefix(j->s->eval, prefix, out);
}

/* `out`: the part that depends on the prefix. 0, -ENOMEM. */
static int
evaluate(const struct subject *j, const struct prefix *prefix, struct wanted *w,
	struct shard_result *out) RUNS_ON(role_rib)
{
	struct shard_verdict *v = verdict_at(j->s, j->rib, j->path->received);
	struct policy_verdict eval = {.attrs = NULL};
	struct policy_decision d = {.permit = false};
	int err = 0;

	*w = (struct wanted){.accepted = {0}};
	run_enter(j);
	if (!verdict_good(j, v))
		err = verdict_fill(j, v);
	if (err != 0)
		return err;
	switch ((enum verdict_kind)v->kind) {
	case VERDICT_REFUSED:
		break;
	case VERDICT_OUTCOME:
		d = (struct policy_decision){.permit = true, .outcome = v->outcome};
		break;
	case VERDICT_BY_PREFIX:
		(void)policy_digest_decide(
			j->rib->import, (struct policy_digest){v->could}, prefix, &d);
		break;
	case VERDICT_BY_EVAL:
		err = evaluate_prefix(j, prefix, &eval);
		if (err != 0)
			return err;
		d = (struct policy_decision){.permit = eval.permit, .outcome = eval.outcome};
		break;
	}
	*out = (struct shard_result){
		.policy = v->kind >= VERDICT_BY_PREFIX ? j->rib->import : NULL,
		.could = v->kind == VERDICT_BY_PREFIX ? v->could : 0,
		.decision = d,
	};
	w->outcome = d.outcome;
	w->refused = d.permit ? DECISION_EQUAL : (enum decision_reason)v->reason;
	err = d.permit ? outcome_id(j, v, eval.attrs, w) : 0;
	out->wanted = w->accepted;
	return err;
}

static bool
as_wanted(const struct rib_path *p, const struct wanted *w)
{
	return shard_path_refused(p) == w->refused && !rib_path_held(p) &&
	       (w->refused != DECISION_EQUAL || p->accepted.v == w->accepted.v);
}

static struct subject
subject_of(struct shard *s, struct shard_table *t, const struct rib_path *p)
{
	const struct shard_peer_slot *slot = shard_slot(s, p->peer);

	return (struct subject){s, t, slot, &slot->rib[t->family], p};
}

/*
 * For a destination with the paths of the last evaluated one: true if the policies decide equally
 * for both prefixes.
 */
static bool
decided_alike(const struct shard_replay *y, const struct prefix *prefix)
{
	struct policy_decision d;

	for (unsigned i = 0; i < y->results_count; i++) {
		const struct shard_result *j = &y->result[i];

		if (j->policy == NULL)
			continue;
		(void)policy_digest_decide(j->policy, (struct policy_digest){j->could}, prefix, &d);
		if (d.permit != j->decision.permit || d.outcome != j->decision.outcome)
			return false;
	}
	return true;
}

int
replay_evaluate(struct shard *s, struct shard_table *t, const struct dest_view *view)
{
	struct shard_replay *y = &s->replay;
	bool all = view->paths->count <= PATHS_PACKED_MAX;

	if (shard_load(&s->revalidating) > 0) {
		y->covered = s->changed == NULL || vrps_cover(s->changed, &view->prefix);
		all = false; /* `covered` is not part of the identity */
		reuse_end(s);
		y->results_identity = 0;
	}
	if (y->results_identity != 0 && y->results_identity == view->identity &&
		decided_alike(y, &view->prefix))
		return y->results_differ;
	y->results_identity = 0;
	y->results_differ = false;
	y->results_count = view->paths->count;
	for (unsigned i = 0; i < view->paths->count; i++) {
		const struct rib_path *p = &view->paths->path[i];
		struct subject j = subject_of(s, t, p);
		struct shard_result out = {.policy = NULL};
		struct wanted w;
		int err;

		if (path_doomed(s, t, p)) {
			all = false; /* doomed by a stamp, which is not part of the identity */
		} else if (p->received.v != 0 && j.rib->dropping) {
			y->results_differ = true;
		} else if (p->received.v != 0 && replay_evaluates(s, j.rib)) {
			err = evaluate(&j, &view->prefix, &w, &out);
			if (err != 0)
				return err;
			y->results_differ |= !as_wanted(p, &w);
			all &= out.policy == NULL || out.could != 0;
		}
		if (view->paths->count <= PATHS_PACKED_MAX)
			y->result[i] = out;
		else if (y->results_differ)
			break; /* a set of this size is never shared, so the rest is not needed */
	}
	y->results_identity = all ? view->identity : 0;
	return y->results_differ;
}

bool
replay_unchanged(const struct shard *s, const struct shard_table *t, struct dest_id id)
{
	const struct shard_replay *y = &s->replay;
	struct prefix prefix;

	return y->results_identity != 0 && !y->results_differ &&
	       dest_identical(t->dests, id, y->results_identity, &prefix) &&
	       decided_alike(y, &prefix);
}

/* Holds references for a path that changes, until the run ends: *out. 0, -ENOMEM. */
static int
wanted_hold(const struct subject *j, const struct wanted *w, const struct shard_accepted **out)
	RUNS_ON(role_rib)
{
	struct shard *s = j->s;
	struct shard_accepted *acc = accepted_find(s, w->outcome);
	int err;

	*out = acc;
	if (acc != NULL)
		return 0;
	acc = accepted_place(s, w->outcome);
	err = accepted_hold(s, j->t->vrf, j->path->peer, w->accepted, acc);
	if (err != 0)
		return err;
	acc->received = j->path->received;
	accepted_keep(s, acc, w->outcome);
	*out = acc;
	return 0;
}

int
replay_path(struct shard *s, struct shard_table *t, const struct prefix *prefix, struct rib_path *p,
	bool *gone)
{
	struct subject j = subject_of(s, t, p);
	const uint32_t label = p->label_flags & ~0xfffu;
	const struct shard_accepted *acc;
	struct shard_result out;
	struct wanted w;
	int err;

	*gone = j.rib->dropping && (p->label_flags & PATH_REJECTED);
	if (j.rib->dropping) {
		p->received.v = 0;
		return 1;
	}
	if (!replay_evaluates(s, j.rib))
		return 0;
	err = evaluate(&j, prefix, &w, &out);
	if (err != 0 || as_wanted(p, &w))
		return err;
	p->time_s = (uint32_t)(s->now_ns / 1000000000u);
	if (w.refused != DECISION_EQUAL) {
		p->accepted.v = 0;
		p->label_flags = label | refused_flags(w.refused);
		return 1;
	}
	err = wanted_hold(&j, &w, &acc);
	if (err != 0)
		return err;
	p->accepted = acc->id;
	p->label_flags = label | acc->flags | j.rib->generation_flags;
	return 1;
}
