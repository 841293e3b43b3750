/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The effects of a commit on the peers. plan_of() finds the effects without a change, and suffices
 * for a preview; struct works carries the changes out, in steps: each step is a turn of main. The shards have the new import policies
 * before main reads the state of the sessions. keel-rpc(7), config.commit; keel-policy(7) rules 5
 * to 8.
 */
#include "control/apply/apply_impl.h"

#include "control/base/log.h"
#include "control/config/policy_compile.h"

#include <stdlib.h>
#include <string.h>

enum effect {
	EFFECT_UNTOUCHED, /* no entry in the answer */
	EFFECT_NONE,
	EFFECT_REFRESH,
	EFFECT_FILL, /* a route refresh to fill keep_all_routes */
	EFFECT_REPLAY,
	EFFECT_READVERTISE,
	EFFECT_RESET,
	EFFECT_NOT_APPLIED,
};

static const char *const effect_text[] = {
	[EFFECT_NONE] = "none",
	[EFFECT_REFRESH] = "route-refresh-sent",
	[EFFECT_FILL] = "route-refresh-sent",
	[EFFECT_REPLAY] = "replayed",
	[EFFECT_READVERTISE] = "readvertised",
	[EFFECT_RESET] = "session-reset",
	[EFFECT_NOT_APPLIED] = "not-applied",
};

struct part {
	enum effect effect;
	const char *reason;
};

struct plan {
	bool update_resets; /* session_update() resets the session */
	bool keep_resets; /* keel-policy(7) rule 5 */
	struct part import[FAMILY_COUNT], export[FAMILY_COUNT];
};

static void
effect_add(json_t *effects, const struct config_peer *p, enum family f, const char *direction,
	const struct part *part, uint32_t job)
{
	json_t *e;

	if (part->effect == EFFECT_UNTOUCHED)
		return;
	e = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s*}", "address", p->addr_text, "vrf",
		p->vrf_name, "family", family_text(f), "direction", direction, "effect",
		effect_text[part->effect], "reason", part->reason);
	if (e != NULL && job != 0)
		json_object_set_new(e, "job", json_integer(job));
	json_array_append_new(effects, e);
}

static enum family
first_family(const struct config_peer *p)
{
	unsigned f = 0;

	while (f + 1 < FAMILY_COUNT && !p->families[f].enabled)
		f++;
	return p->families[f].enabled ? (enum family)f : FAMILY_IPV4_UNICAST;
}

void
apply_effect_removed(json_t *effects, const struct config_peer *p)
{
	effect_add(effects, p, first_family(p), "import",
		&(struct part){EFFECT_RESET, "peer-removed"}, 0);
}

/* ---- differences ---- */

static bool
policy_same(const struct config *a, const struct config *b, const char *pa, const char *pb)
{
	if (pa == NULL || pb == NULL)
		return pa == pb;
	return strcmp(pa, pb) == 0 && policy_set_same(a->policies, b->policies, pa);
}

bool
apply_group_same(const struct config *next, const struct config_peer *was,
	const struct config_peer *is, const char *policy)
{
	const struct policy *p = policy != NULL ? policy_set_find(next->policies, policy) : NULL;

	return p == NULL || !policy_uses_group(p) ||
	       policy_group_key(was->group) == policy_group_key(is->group);
}

static bool
export_policy_same(const struct change *c, unsigned f)
{
	return policy_same(c->old, c->next, c->was->families[f].export_policy,
		c->is->families[f].export_policy);
}

uint32_t
apply_cluster_id(const struct config *c)
{
	return c->cluster_id != 0 ? c->cluster_id : c->router_id;
}

/*
 * RFC 4456 8: the cluster id is prepended to reflected routes, and detects loops in received
 * routes.
 */
static bool
cluster_same(const struct change *c)
{
	return c->is->external || apply_cluster_id(c->old) == apply_cluster_id(c->next);
}

/*
 * Rules that apply before a received route is kept: a replay of kept routes cannot apply a changed
 * rule.
 */
bool
apply_received_rules_same(const struct change *c)
{
	return (!c->is->external || c->was->enforce_first_as == c->is->enforce_first_as) &&
	       c->was->max_as_path_length == c->is->max_as_path_length &&
	       c->was->allow_as_sets == c->is->allow_as_sets;
}

bool
apply_imports_same(const struct change *c, unsigned f)
{
	const struct config_family *a = &c->was->families[f], *b = &c->is->families[f];

	return policy_same(c->old, c->next, a->import_policy, b->import_policy) &&
	       apply_group_same(c->next, c->was, c->is, b->import_policy) &&
	       a->allow_as_in == b->allow_as_in && cluster_same(c) && apply_received_rules_same(c);
}

/* The policy, and the other keys with an effect on the advertised routes of a family. */
bool
apply_exports_same(const struct change *c, unsigned f)
{
	const struct config_family *x = &c->was->families[f], *y = &c->is->families[f];

	return export_policy_same(c, f) && x->next_hop_self == y->next_hop_self &&
	       x->next_hop_unchanged == y->next_hop_unchanged &&
	       x->send_communities == y->send_communities &&
	       x->remove_private_as == y->remove_private_as && x->as_override == y->as_override &&
	       x->default_originate == y->default_originate &&
	       x->route_server_client == y->route_server_client &&
	       x->graceful_shutdown == y->graceful_shutdown &&
	       c->was->route_reflector_client == c->is->route_reflector_client &&
	       apply_group_same(c->next, c->was, c->is, y->export_policy) && cluster_same(c);
}

static bool
keep_begins(const struct change *c, unsigned f)
{
	return c->is->families[f].keep_all_routes && !c->was->families[f].keep_all_routes;
}

/* ---- the plan ---- */

static bool
update_resets(const struct change *c)
{
	unsigned families = 0;

	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		families |= (c->view.families[f].group.id != 0) << f;
	return config_peer_resets(c->was, c->is, families);
}

static bool
plan_update_resets(const struct change *c)
{
	return c->view.state == FSM_ESTABLISHED && update_resets(c);
}

/*
 * True if a replay of kept routes applies the change; also for retained routes of a lost session
 * (RFC 4724). An unanswered fill is sent again instead.
 */
static bool
can_replay(const struct apply *apply, const struct change *c, unsigned f, const char *idle)
	RUNS_ON(role_main)
{
	if (!c->was->families[f].keep_all_routes)
		return false;
	/* keep_all_routes ends: one last replay, for a peer without route refresh */
	if (!c->is->families[f].keep_all_routes)
		return idle == NULL && !c->view.route_refresh.negotiated;
	if (idle != NULL)
		return c->view.families[f].retained;
	return !c->view.route_refresh.negotiated ||
	       apply_is_filled(apply, c->id, (enum family)f, &c->view);
}

static struct part
plan_import(const struct apply *apply, const struct change *c, unsigned f) RUNS_ON(role_main)
{
	const char *idle = apply_not_in_use(&c->view, (enum family)f);
	bool fills = keep_begins(c, f) ||
		     (c->is->families[f].keep_all_routes && !apply_received_rules_same(c));
	bool replay = !(fills && c->view.route_refresh.negotiated) && can_replay(apply, c, f, idle);
	/* a delayed import of an earlier commit, impossible after the kept routes are dropped */
	bool last = replay && !c->is->families[f].keep_all_routes &&
		    apply_import_waits(apply, c->id, (enum family)f);

	if (apply_imports_same(c, f) && !keep_begins(c, f) && !last)
		return (struct part){0};
	if (replay)
		return (struct part){EFFECT_REPLAY, NULL};
	if (idle != NULL)
		return (struct part){EFFECT_NONE, idle};
	if (!c->view.route_refresh.negotiated)
		return (struct part){EFFECT_NOT_APPLIED, "no-route-refresh"};
	return (struct part){fills ? EFFECT_FILL : EFFECT_REFRESH, NULL};
}

static struct part
plan_export(const struct change *c, unsigned f)
{
	const char *idle = apply_not_in_use(&c->view, (enum family)f);

	if (apply_exports_same(c, f))
		return (struct part){0};
	return (struct part){idle != NULL ? EFFECT_NONE : EFFECT_READVERTISE, idle};
}

/* A reset affects all families. The answer lists the reset under the direction import. */
static void
plan_reset(const struct change *c, struct plan *p, const char *reason)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		p->import[f] = p->export[f] = (struct part){0};
		if (c->was->families[f].enabled || c->is->families[f].enabled)
			p->import[f] = (struct part){EFFECT_RESET, reason};
	}
}

static struct plan
plan_of(const struct apply *apply, const struct change *c) RUNS_ON(role_main)
{
	struct plan p = {.update_resets = plan_update_resets(c)};

	if (p.update_resets) {
		plan_reset(c, &p, "configuration-change");
		return p;
	}
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (!c->was->families[f].enabled && !c->is->families[f].enabled)
			continue;
		p.import[f] = plan_import(apply, c, f);
		p.export[f] = plan_export(c, f);
		p.keep_resets |= keep_begins(c, f) && p.import[f].effect == EFFECT_NOT_APPLIED;
	}
	if (p.keep_resets)
		plan_reset(c, &p, "keep-all-routes");
	return p;
}

/* ---- the changes: one message to each thread for each step ---- */

/* The change of a peer, with the results of the steps. */
struct work {
	struct change c;
	/* `given` has the present export policies during a delay, and otherwise equals `want`. */
	struct session_policies want, given;
	struct plan plan;
	bool shard_key; /* struct shard_peer differs */
	bool reset; /* the session was reset */
	bool keep_begins[FAMILY_COUNT], keep_ends[FAMILY_COUNT];
	bool import_changes[FAMILY_COUNT], planned[FAMILY_COUNT];
	const struct policy *import[FAMILY_COUNT];
};

enum works_step {
	WORKS_FIND, /* the work for each peer, WORKS_SLICE peers a turn */
	WORKS_SESSION, /* the plan and the new exports */
	WORKS_PLAN, /* the shards get the plan */
	WORKS_SHARDS, /* the shards get the new imports, WORKS_SLICE peers a turn */
	WORKS_EFFECTS,
	WORKS_DONE
};

/* Peers in one turn of main: a peer takes some 2 us, and 0.2 us in each shard. */
#define WORKS_SLICE 1024u

struct works {
	struct apply *apply;
	enum works_step step;
	const struct change *given;
	unsigned given_count;
	json_t *effects;
	unsigned at; /* of the slices */
	struct work *work;
	unsigned count;
	unsigned generation;
	struct update_plan_part *parts;
	unsigned part_count;
};

static void
session_read_views(void *arg) RUNS_ON(role_session)
{
	struct works *w = arg;

	for (unsigned i = 0; i < w->count; i++) {
		struct change *c = &w->work[i].c;

		if (!session_peek(w->apply->layers->speaker, c->id, &c->view))
			c->view.state = FSM_IDLE;
	}
}

/* Policies first: the present policies of the session may be freed with the old configuration. */
static void
session_update_peers(void *arg) RUNS_ON(role_session)
{
	struct works *w = arg;
	struct speaker *s = w->apply->layers->speaker;

	if (w->part_count > 0)
		speaker_plan_begin(s, w->generation, w->parts, w->part_count);
	for (unsigned i = 0; i < w->count; i++) {
		struct work *x = &w->work[i];

		session_export_policies(s, x->c.id, &x->given);
		x->reset = session_update(s, x->c.id, x->c.is, &x->given);
		if (x->reset)
			session_export_policies(s, x->c.id, &x->want);
	}
	speaker_plan_settle(s);
}

static void
rib_peer_begin(struct shard_call *call, const struct work *x) RUNS_ON(role_rib)
{
	struct shard_peer p = apply_shard_peer(x->c.id, x->c.is);
	int err = x->shard_key ? shard_peer_change(call->shard, &p) : 0;

	if (err != 0)
		call->result = err;
	for (unsigned i = 0; i < FAMILY_COUNT; i++) {
		enum family f = (enum family)i;

		if (x->import_changes[i])
			shard_peer_import(call->shard, x->c.id, f, x->import[i]);
		if (x->keep_begins[i])
			shard_peer_keep(call->shard, x->c.id, f, true);
	}
}

/* All parts of the plan come before the first new import: a shard must know who else is in the plan. */
static void
rib_plan_begin(void *arg) RUNS_ON(role_rib)
{
	struct shard_call *call = arg;
	const struct works *w = call->arg;

	for (unsigned i = 0; i < w->part_count; i++)
		shard_plan_begin(call->shard, w->parts[i].peer, w->parts[i].family, w->generation,
			w->parts[i].supplies);
}

/* The slice of the turn. */
static void
rib_peers_begin(void *arg) RUNS_ON(role_rib)
{
	struct shard_call *call = arg;
	const struct works *w = call->arg;

	for (unsigned i = w->at; i < w->count && i < w->at + WORKS_SLICE; i++)
		rib_peer_begin(call, &w->work[i]);
}

/* Ends keep_all_routes, after the last replay of the kept routes. */
static void
rib_peers_end(void *arg) RUNS_ON(role_rib)
{
	struct shard_call *call = arg;
	const struct works *w = call->arg;

	for (unsigned i = 0; i < w->count; i++)
		for (unsigned f = 0; f < FAMILY_COUNT; f++)
			if (w->work[i].keep_ends[f])
				shard_peer_keep(
					call->shard, w->work[i].c.id, (enum family)f, false);
}

/* Puts the present export policies into `p` for families with a delayed export. */
static void
exports_delay(struct apply *apply, const struct change *c, struct session_policies *p)
	RUNS_ON(role_main)
{
	uint32_t job;

	if (c->next->policy_change_delay_s == 0)
		return;
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (!c->is->families[f].enabled ||
			apply_not_in_use(&c->view, (enum family)f) != NULL)
			continue;
		if (!export_policy_same(c, f))
			apply_pending_export(apply, c->id, (enum family)f);
		if (apply_export_waits(apply, c->id, (enum family)f, &job))
			p->export_policy[f] = apply->applied[c->id.v].session.export_policy[f];
	}
}

static uint32_t
import_job(struct apply *apply, const struct change *c, enum family f, const struct part *part)
	RUNS_ON(role_main)
{
	switch (part->effect) {
	case EFFECT_REPLAY:
		if (!c->is->families[f].keep_all_routes)
			return apply_replay(apply, c->id, f);
		return apply_pending_import(apply, c->id, f, &c->view);
	case EFFECT_REFRESH:
		return apply_pending_import(apply, c->id, f, &c->view);
	case EFFECT_FILL:
		return apply_fill(apply, c->id, f, &c->view);
	case EFFECT_NOT_APPLIED:
		apply_note_not_applied(apply, c->id, f, part->reason, &c->view);
		return 0;
	default:
		return 0;
	}
}

/*
 * True if the peer's part of the document and all policies of the peer are equal. Most commits
 * touch few of a thousand peers; an untouched peer costs no message.
 */
static bool
is_untouched(const struct apply *apply, const struct change *c, const struct session_policies *want)
{
	const struct applied *a = &apply->applied[c->id.v];

	if (c->was->dynamic || c->is->dynamic || !cluster_same(c) ||
		!apply_received_rules_same(c) ||
		c->old->graceful_shutdown != c->next->graceful_shutdown ||
		!json_equal(json_array_get(c->old->merged, (size_t)(c->was - c->old->peers)),
			json_array_get(c->next->merged, (size_t)(c->is - c->next->peers))))
		return false;
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (c->is->families[f].enabled &&
			(a->session.export_policy[f] != want->export_policy[f] ||
				a->import[f] !=
					apply_policy_of(c->next, c->is, (enum family)f, true)))
			return false;
	}
	return true;
}

static bool
shard_key_same(const struct change *c)
{
	bool same = c->was->route_reflector_client == c->is->route_reflector_client &&
		    (c->was->multihop != 0) == (c->is->multihop != 0) &&
		    c->was->local_as == c->is->local_as &&
		    policy_group_key(c->was->group) == policy_group_key(c->is->group);

	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		same = same && c->was->families[f].allow_as_in == c->is->families[f].allow_as_in;
	return same;
}

/* Finds the changes for the shards. */
static void
find_shard_changes(struct apply *apply, struct work *x)
{
	struct applied *a = &apply->applied[x->c.id.v];

	x->shard_key = !shard_key_same(&x->c);
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		const struct config_family *is = &x->c.is->families[f];
		bool keep = is->enabled && is->keep_all_routes;
		bool stored = is->enabled && apply_keeps(x->c.next, x->c.is, (enum family)f);

		x->import[f] = is->enabled
				       ? apply_policy_of(x->c.next, x->c.is, (enum family)f, true)
				       : policy_deny_all();
		x->import_changes[f] =
			x->import[f] != a->import[f] ||
			!apply_group_same(x->c.next, x->c.was, x->c.is, is->import_policy);
		x->keep_begins[f] = stored && !a->stored[f];
		x->keep_ends[f] = !stored && a->stored[f];
		a->import[f] = x->import[f];
		a->keep[f] = keep;
		a->stored[f] = stored;
	}
}

/* ---- the plan: peers with routes to evaluate again ---- */

/*
 * True if the peer has sent routes of the family, accepted or refused. Counting reads a cache line
 * of each shard, so a peer without a session so far is skipped.
 */
static bool
has_routes(const struct apply *apply, const struct work *x, enum family f)
{
	struct adj_rib_in_counts counts = {0};

	if (x->c.view.established_count == 0)
		return false;
	shards_peer_counts(&apply->layers->shards, x->c.id, f, &counts);
	return counts.received > 0 || counts.rejected_total > 0;
}

static bool
is_part(const struct works *w, const struct work *x, enum family f)
{
	return x->c.was->families[f].enabled && x->c.is->families[f].enabled &&
	       !apply_imports_same(&x->c, f) && !update_resets(&x->c) && has_routes(w->apply, x, f);
}

/*
 * True if the routes of the peer under the new rules may contain a route that is not in use: the old rules refused routes, or the peer has not sent
 * its whole table. Loops are refused by all rules; allow_as_in counts with the rules.
 */
static bool
supplies(const struct apply *apply, const struct work *x, enum family f)
{
	const struct shards *shards = &apply->layers->shards;
	struct adj_rib_in_counts counts = {0};
	uint64_t refused[REFUSED_CAUSES], never = 0;

	shards_peer_counts(shards, x->c.id, f, &counts);
	if (x->c.view.families[f].graceful_restart && !x->c.view.families[f].end_of_rib_received)
		return true;
	if (x->c.was->families[f].keep_all_routes && counts.received > counts.accepted)
		return true;
	if (shards_peer_refused(shards, x->c.id, f, refused)) {
		never = refused[REFUSED_ORIGINATOR_LOOP] + refused[REFUSED_CLUSTER_LOOP];
		if (x->c.was->families[f].allow_as_in == x->c.is->families[f].allow_as_in)
			never += refused[REFUSED_AS_LOOP];
	}
	return !x->c.was->families[f].keep_all_routes && counts.rejected_total > never;
}

static bool
exports_change(const struct works *w, enum family f)
{
	for (unsigned i = 0; i < w->count; i++)
		if (!apply_exports_same(&w->work[i].c, f))
			return true;
	return false;
}

/*
 * A plan keeps a destination from changing twice, and from losing the path in between. Needed if
 * the routes of several peers are evaluated again, or the routes of one peer while exports change,
 * a delay is set or an earlier plan runs. In the last three cases paths are marked by a generation.
 */
static void
plan_family(struct works *w, enum family f) RUNS_ON(role_main)
{
	bool exports = exports_change(w, f), delay, runs = apply_plan_runs(w->apply, f);
	unsigned first = w->part_count;

	if (w->count == 0 || w->apply->running->commit_hold_s == 0)
		return;
	delay = w->apply->running->policy_change_delay_s > 0;
	for (unsigned i = 0; i < w->count; i++) {
		w->work[i].planned[f] = is_part(w, &w->work[i], f);
		if (w->work[i].planned[f])
			w->parts[w->part_count++] = (struct update_plan_part){
				w->work[i].c.id, f, supplies(w->apply, &w->work[i], f)};
	}
	if (w->part_count - first > (exports || delay || runs ? 0u : 1u)) {
		if (w->generation == 0 && (exports || delay || runs))
			w->generation = apply_plan_generation_next(w->apply);
		for (unsigned i = first; i < w->part_count; i++)
			apply_plan_part(w->apply, w->parts[i].peer, f, w->parts[i].supplies);
		return;
	}
	w->part_count = first;
	for (unsigned i = 0; i < w->count; i++)
		w->work[i].planned[f] = false;
}

/* ---- steps ---- */

/* Adds the work for a peer. False: the commit does not touch the peer, and no work is added. */
static bool
work_add(struct works *w, const struct change *given)
{
	struct work *x = &w->work[w->count];

	*x = (struct work){.c = *given, .want = apply_policies_of(given->next, given->is)};
	if (is_untouched(w->apply, &x->c, &x->want))
		return false;
	x->given = x->want;
	find_shard_changes(w->apply, x);
	w->count++;
	return true;
}

static void
works_reset_sessions(struct works *w) RUNS_ON(role_main)
{
	for (unsigned i = 0; i < w->count; i++) {
		struct work *x = &w->work[i];
		struct session_order o = {.kind = SESSION_ORDER_RESET_CONFIG, .id = x->c.id};

		if (x->reset && !x->plan.update_resets) /* established since the plan */
			plan_reset(&x->c, &x->plan, "configuration-change");
		if (!x->plan.keep_resets || x->reset)
			continue;
		x->reset = session_order(w->apply->layers, &o);
		if (x->reset)
			apply_export_policies(w->apply, x->c.id, &x->want);
	}
}

/* Effects and their jobs, in the order of the peers. */
static void
works_add_effects(struct works *w, json_t *effects) RUNS_ON(role_main)
{
	struct export_item *items = calloc(w->count * FAMILY_COUNT + 1, sizeof(*items));
	unsigned n = 0, at = 0;
	uint32_t job;

	for (unsigned i = 0; items != NULL && i < w->count; i++)
		for (unsigned f = 0; f < FAMILY_COUNT; f++)
			if (w->work[i].plan.export[f].effect == EFFECT_READVERTISE &&
				!apply_export_waits(
					w->apply, w->work[i].c.id, (enum family)f, &job))
				items[n++] = (struct export_item){
					.id = w->work[i].c.id, .family = (enum family)f};
	apply_export_jobs(w->apply, items, n);
	for (unsigned i = 0; i < w->count; i++) {
		struct work *x = &w->work[i];

		for (unsigned k = 0; k < FAMILY_COUNT; k++) {
			enum family f = (enum family)k;

			effect_add(effects, x->c.is, f, "import", &x->plan.import[f],
				import_job(w->apply, &x->c, f, &x->plan.import[f]));
			job = 0;
			if (at < n && items[at].id.v == x->c.id.v && items[at].family == f)
				job = items[at++].job;
			else if (x->plan.export[f].effect == EFFECT_READVERTISE)
				(void)apply_export_waits(w->apply, x->c.id, f, &job);
			effect_add(effects, x->c.is, f, "export", &x->plan.export[f], job);
		}
	}
	free(items);
}

static bool
any_keep_ends(const struct works *w)
{
	for (unsigned i = 0; i < w->count; i++)
		for (unsigned f = 0; f < FAMILY_COUNT; f++)
			if (w->work[i].keep_ends[f])
				return true;
	return false;
}

/* The effects and their jobs, by the state of the sessions after the shards have the new imports. */
static void
works_effects(struct works *w) RUNS_ON(role_main)
{
	struct shard_call call = {.arg = w};

	layers_call_session(w->apply->layers, session_read_views, w);
	for (unsigned i = 0; i < w->count; i++) {
		struct work *x = &w->work[i];
		bool resets = x->plan.update_resets;

		x->plan = resets ? (struct plan){.update_resets = true} : plan_of(w->apply, &x->c);
		if (resets)
			plan_reset(&x->c, &x->plan, "configuration-change");
		w->apply->applied[x->c.id.v].session = x->reset ? x->want : x->given;
	}
	works_reset_sessions(w);
	for (unsigned i = 0; i < w->count; i++)
		apply_pending_done(w->apply, w->work[i].c.id, &w->work[i].want, w->work[i].reset);
	works_add_effects(w, w->effects);
	if (any_keep_ends(w))
		layers_call_shards(w->apply->layers, rib_peers_end, &call);
}

static void
works_session(struct works *w) RUNS_ON(role_main)
{
	layers_call_session(w->apply->layers, session_read_views, w);
	for (unsigned f = 0; f < FAMILY_COUNT && w->parts != NULL; f++)
		plan_family(w, (enum family)f);
	for (unsigned i = 0; i < w->count; i++) {
		struct work *x = &w->work[i];

		x->plan.update_resets = plan_update_resets(&x->c);
		if (!x->plan.update_resets && !update_resets(&x->c))
			exports_delay(w->apply, &x->c, &x->given);
	}
	layers_call_session(w->apply->layers, session_update_peers, w);
}

/* True if the slice was the last one of the step. */
static bool
works_shards(struct works *w) RUNS_ON(role_main)
{
	struct shard_call call = {.arg = w};

	layers_call_shards(w->apply->layers, rib_peers_begin, &call);
	if (call.result != 0)
		log_event(LOG_ERROR, "peer-not-changed error=\"%s\"", strerror(-call.result));
	w->at += WORKS_SLICE;
	return w->at >= w->count;
}

static bool
works_find(struct works *w) RUNS_ON(role_main)
{
	unsigned end = w->at + WORKS_SLICE;

	for (; w->at < w->given_count && w->at < end; w->at++)
		(void)work_add(w, &w->given[w->at]);
	return w->at >= w->given_count;
}

/*
 * The session thread has the plan and the new exports before a shard runs a new import policy. The
 * shards have all imports before main reads the state of the sessions: the new policy applies to
 * all routes of a later session, and main sends a refresh to each earlier session.
 */
bool
apply_works_step(struct works *w)
{
	struct shard_call call = {.arg = w};
	bool last = true;

	switch (w->step) {
	case WORKS_FIND:
		last = works_find(w);
		break;
	case WORKS_SESSION:
		works_session(w);
		break;
	case WORKS_PLAN:
		if (w->part_count > 0)
			layers_call_shards(w->apply->layers, rib_plan_begin, &call);
		break;
	case WORKS_SHARDS:
		last = works_shards(w);
		break;
	case WORKS_EFFECTS:
		works_effects(w);
		break;
	case WORKS_DONE:
		break;
	}
	if (last) {
		w->at = 0;
		w->step = w->step == WORKS_DONE || w->count == 0 ? WORKS_DONE : w->step + 1;
	}
	return w->step != WORKS_DONE;
}

/* Without memory for a plan: peer by peer. */
static void
works_single(struct apply *apply, const struct change *given, unsigned count, json_t *effects)
	RUNS_ON(role_main)
{
	for (unsigned i = 0; i < count; i++) {
		struct work one;
		struct works w = {.apply = apply,
			.given = &given[i],
			.given_count = 1,
			.effects = effects,
			.work = &one};

		while (apply_works_step(&w))
			;
	}
}

struct works *
apply_works_begin(struct apply *apply, const struct change *given, unsigned count, json_t *effects)
{
	struct works *w = calloc(1, sizeof(*w));

	if (w != NULL)
		*w = (struct works){.apply = apply,
			.given = given,
			.given_count = count,
			.effects = effects,
			.work = malloc((count + 1) * sizeof(*w->work)),
			.parts = malloc((count + 1) * FAMILY_COUNT * sizeof(*w->parts))};
	if (w != NULL && w->work != NULL && w->parts != NULL)
		return w;
	apply_works_end(w);
	works_single(apply, given, count, effects);
	return NULL;
}

void
apply_works_end(struct works *w)
{
	if (w == NULL)
		return;
	free(w->work);
	free(w->parts);
	free(w);
}

/* ---- previews ---- */

json_t *
apply_effects(const struct apply *apply, const struct config *next)
{
	json_t *effects = json_array();

	if (effects != NULL)
		apply_instances_effects(apply->running, next, effects);
	for (struct peer_id id = {0};
		effects != NULL && (id = peers_next(apply->peers, id)).v != 0;) {
		struct change c = {.old = apply->running,
			.next = next,
			.was = peers_config(apply->peers, id),
			.id = id};
		struct config_peer dynamic;
		struct plan plan;

		c.is = apply_peer_of(next, c.was, &dynamic);
		if (c.is == NULL) {
			apply_effect_removed(effects, c.was);
			continue;
		}
		apply_peek(apply, id, &c.view);
		plan = plan_of(apply, &c);
		for (unsigned i = 0; i < FAMILY_COUNT; i++) {
			effect_add(effects, c.is, (enum family)i, "import", &plan.import[i], 0);
			effect_add(effects, c.is, (enum family)i, "export", &plan.export[i], 0);
		}
	}
	return effects;
}

/* Why a commit of `next` would end the session of a peer; NULL: the session stays, or is not up. */
static const char *
end_reason(const struct apply *apply, const struct config *next, struct peer_id id)
	RUNS_ON(role_main)
{
	struct change c = {.old = apply->running,
		.next = next,
		.was = peers_config(apply->peers, id),
		.id = id};
	struct config_peer dynamic;
	struct plan plan;

	apply_peek(apply, id, &c.view);
	if (c.view.state != FSM_ESTABLISHED)
		return NULL;
	c.is = apply_peer_of(next, c.was, &dynamic);
	if (c.is == NULL)
		return "peer-removed";
	plan = plan_of(apply, &c);
	return plan.update_resets ? "configuration-change"
	       : plan.keep_resets ? "keep-all-routes"
				  : NULL;
}

json_t *
apply_sessions_ended(
	const struct apply *apply, json_t *document, const json_t *policy_files, struct faults *f)
{
	struct config *next = apply_parse(apply, document, policy_files, f);
	json_t *ends;

	if (next == NULL)
		return NULL;
	ends = json_array();
	for (struct peer_id id = {0}; (id = peers_next(apply->peers, id)).v != 0;) {
		const struct config_peer *p = peers_config(apply->peers, id);
		const char *reason = end_reason(apply, next, id);

		if (reason != NULL)
			json_array_append_new(
				ends, json_pack("{s:s, s:s, s:s}", "address", p->addr_text, "vrf",
					      p->vrf_name, "reason", reason));
	}
	config_free(next);
	return ends;
}

const struct policy *
apply_policy_of(const struct config *next, const struct config_peer *p, enum family f, bool import)
{
	const char *name = import ? p->families[f].import_policy : p->families[f].export_policy;

	return name != NULL ? policy_set_find(next->policies, name) : NULL;
}
