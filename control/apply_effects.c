/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a commit does to each peer: thought out without touching anything (a preview ends there), then done. The shards have what routes are judged by
 * before the session is looked at. Contract section 3, `effects`, and section 5, 5 to 8.
 */
#include "control/apply_impl.h"

#include "control/log.h"
#include "control/policy_compile.h"

#include <string.h>

enum effect {
	EFFECT_UNTOUCHED, /* nothing to tell */
	EFFECT_NONE,
	EFFECT_REFRESH,
	EFFECT_FILL, /* the same word: what keep_all_routes is to keep is asked for once */
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
	bool update_resets; /* session_update() does it */
	bool keep_resets; /* contract section 5.5 */
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

/* ---- what changed ---- */

static bool
policy_same(const struct config *a, const struct config *b, const char *pa, const char *pb)
{
	if (pa == NULL || pb == NULL)
		return pa == pb;
	return strcmp(pa, pb) == 0 && policy_set_same(a->policies, b->policies, pa);
}

static bool
export_policy_same(const struct change *c, unsigned f)
{
	return policy_same(c->old, c->next, c->was->families[f].export_policy,
		c->is->families[f].export_policy);
}

/* RFC 4456 8: it stands in front of what is reflected, and is what a loop is known by. */
static bool
cluster_same(const struct change *c)
{
	return c->is->external || c->old->cluster_id == c->next->cluster_id;
}

/* What is judged before a route is kept: a replay can't show another result. */
static bool
received_rules_same(const struct change *c)
{
	return (!c->is->external || c->was->enforce_first_as == c->is->enforce_first_as) &&
	       c->was->max_as_path_length == c->is->max_as_path_length;
}

static bool
import_rules_same(const struct change *c, unsigned f)
{
	const struct config_family *a = &c->was->families[f], *b = &c->is->families[f];

	return policy_same(c->old, c->next, a->import_policy, b->import_policy) &&
	       a->allow_as_in == b->allow_as_in && cluster_same(c) && received_rules_same(c);
}

/* What of a family's keys, beside the policy, decides what is sent. */
static bool
export_rules_same(const struct change *c, unsigned f)
{
	const struct config_family *x = &c->was->families[f], *y = &c->is->families[f];

	return x->next_hop_self == y->next_hop_self &&
	       x->next_hop_unchanged == y->next_hop_unchanged &&
	       x->send_communities == y->send_communities &&
	       x->remove_private_as == y->remove_private_as && x->as_override == y->as_override &&
	       x->default_originate == y->default_originate &&
	       c->was->route_reflector_client == c->is->route_reflector_client && cluster_same(c);
}

static bool
keep_begins(const struct change *c, unsigned f)
{
	return c->is->families[f].keep_all_routes && !c->was->families[f].keep_all_routes;
}

/* ---- the plan ---- */

static bool
plan_update_resets(const struct change *c)
{
	bool resets = session_update_resets(c->was, c->is);

	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		resets |=
			c->view.families[f].group.id != 0 &&
			c->was->families[f].send_communities != c->is->families[f].send_communities;
	return resets && c->view.state == FSM_ESTABLISHED;
}

/* All is kept that it takes; of a session that is gone, too (RFC 4724). Where a fill was not answered, asking again is better. */
static bool
replays(const struct change *c, unsigned f, const char *idle)
{
	if (!c->was->families[f].keep_all_routes)
		return false;
	if (!c->is->families[f].keep_all_routes) /* the last time, where the peer can't be asked */
		return idle == NULL && !c->view.route_refresh.negotiated;
	if (idle != NULL)
		return c->view.families[f].retained;
	return !c->view.route_refresh.negotiated ||
	       apply_is_filled(c->id, (enum family)f, &c->view);
}

static struct part
plan_import(const struct change *c, unsigned f)
{
	const char *idle = apply_not_in_use(&c->view, (enum family)f);
	bool fills = keep_begins(c, f) || (c->is->families[f].keep_all_routes && !received_rules_same(c));
	bool replay = !(fills && c->view.route_refresh.negotiated) && replays(c, f, idle);
	/* an earlier change's, which could not be had later */
	bool last = replay && !c->is->families[f].keep_all_routes &&
		    apply_import_waits(c->id, (enum family)f);

	if (import_rules_same(c, f) && !keep_begins(c, f) && !last)
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

	if (export_policy_same(c, f) && export_rules_same(c, f))
		return (struct part){0};
	return (struct part){idle != NULL ? EFFECT_NONE : EFFECT_READVERTISE, idle};
}

/* All families go with a session; the direction in which the word stands is import. */
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
plan_of(const struct change *c)
{
	struct plan p = {.update_resets = plan_update_resets(c)};

	if (p.update_resets) {
		plan_reset(c, &p, "configuration-change");
		return p;
	}
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (!c->was->families[f].enabled && !c->is->families[f].enabled)
			continue;
		p.import[f] = plan_import(c, f);
		p.export[f] = plan_export(c, f);
		p.keep_resets |= keep_begins(c, f) && p.import[f].effect == EFFECT_NOT_APPLIED;
	}
	if (p.keep_resets)
		plan_reset(c, &p, "keep-all-routes");
	return p;
}

/* ---- doing it ---- */

static void
rib_peer_change(void *arg)
{
	struct order *o = arg;
	struct shard_peer p = apply_shard_peer(o->id, o->config);

	role_enter_rib();
	if (o->result == 0)
		o->result = shard_peer_change(o->shard, &p);
}

/* Policies first: those that the session runs until here may end with the old configuration. */
static void
session_order_update(void *arg)
{
	struct order *o = arg;

	role_enter_session();
	session_export_policies(o->k->speaker, o->id, &o->policies);
	o->result = session_update(o->k->speaker, o->id, o->config, &o->policies);
}

static void
session_order_reset_config(void *arg)
{
	struct order *o = arg;

	role_enter_session();
	o->result = session_reset_config(o->k->speaker, o->id);
}

/* What the shard knows of it beside policies. */
static void
peer_shard_change(struct keeld *k, const struct change *c)
{
	struct order o = {.k = k, .id = c->id, .config = c->is};
	bool same = c->was->route_reflector_client == c->is->route_reflector_client &&
		    (c->was->multihop != 0) == (c->is->multihop != 0);

	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		same = same && c->was->families[f].allow_as_in == c->is->families[f].allow_as_in;
	if (same)
		return;
	keeld_on_shards(k, rib_peer_change, &o, &o.shard);
	if (o.result != 0)
		log_event(LOG_ERROR, "peer-not-changed peer=%s vrf=%s error=\"%s\"",
			c->is->addr_text, c->is->vrf_name, strerror(-o.result));
}

/* With a delay the session goes on with the export policies that it has. */
static void
exports_delay(struct keeld *k, const struct change *c, struct session_policies *p)
{
	uint32_t job;

	if (c->next->policy_change_delay_s == 0)
		return;
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (!c->is->families[f].enabled ||
			apply_not_in_use(&c->view, (enum family)f) != NULL)
			continue;
		if (!export_policy_same(c, f))
			apply_pending_export(k, c->id, (enum family)f);
		if (apply_export_waits(c->id, (enum family)f, &job))
			p->export_policy[f] = apply.applied[c->id.v].session.export_policy[f];
	}
}

static uint32_t
import_job(struct keeld *k, const struct change *c, enum family f, const struct part *part)
{
	switch (part->effect) {
	case EFFECT_REPLAY:
		if (!c->is->families[f].keep_all_routes)
			return apply_replay(k, c->id, f);
		return apply_pending_import(k, c->id, f, &c->view);
	case EFFECT_REFRESH:
		return apply_pending_import(k, c->id, f, &c->view);
	case EFFECT_FILL:
		return apply_fill(k, c->id, f, &c->view);
	case EFFECT_NOT_APPLIED:
		apply_note_not_applied(c->id, f, part->reason, &c->view);
		return 0;
	default:
		return 0;
	}
}

static uint32_t
export_job(struct keeld *k, const struct change *c, enum family f, const struct part *part)
{
	uint32_t job;

	if (part->effect != EFFECT_READVERTISE)
		return 0;
	return apply_export_waits(c->id, f, &job) ? job : apply_export_job(k, c->id, f, 0);
}

static void
effects_tell(
	struct keeld *k, const struct change *c, const struct plan *p, bool jobs, json_t *effects)
{
	for (unsigned i = 0; i < FAMILY_COUNT; i++) {
		enum family f = (enum family)i;

		effect_add(effects, c->is, f, "import", &p->import[f],
			jobs ? import_job(k, c, f, &p->import[f]) : 0);
		effect_add(effects, c->is, f, "export", &p->export[f],
			jobs ? export_job(k, c, f, &p->export[f]) : 0);
	}
}

/* Its part of the document, and all policies that it runs. Of a thousand peers most are so in most commits: nobody is asked about them. */
static bool
untouched(const struct change *c, const struct session_policies *want)
{
	const struct applied *a = &apply.applied[c->id.v];

	if (c->was->dynamic || c->is->dynamic || !cluster_same(c) || !received_rules_same(c) ||
		!json_equal(json_array_get(c->old->merged, (size_t)(c->was - c->old->peers)),
			json_array_get(c->next->merged, (size_t)(c->is - c->next->peers))))
		return false;
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (c->is->families[f].enabled &&
			(a->session.export_policy[f] != want->export_policy[f] ||
				a->import[f] !=
					keeld_policy_of(c->next, c->is, (enum family)f, true)))
			return false;
	}
	return true;
}

void
apply_peer_change(struct keeld *k, const struct change *given, json_t *effects)
{
	struct session_policies want = apply_policies_of(given->next, given->is);
	struct order o = {.k = k, .id = given->id, .config = given->is, .policies = want};
	struct change c = *given;
	struct plan plan;

	if (untouched(&c, &want))
		return;
	peer_shard_change(k, &c);
	apply_imports(k, c.next, c.is, c.id, false);
	apply_keeps(k, c.is, c.id, false);
	/* Not earlier: who comes up from here on tells its routes to the new policy; who has come up before is seen, and asked. */
	apply_peek(k, c.id, &c.view);
	plan = plan_of(&c);
	if (!plan.update_resets && !session_update_resets(c.was, c.is))
		exports_delay(k, &c, &o.policies);
	thread_call(k->session_thread, session_order_update, &o);
	apply.applied[c.id.v].session = o.policies;
	if (o.result && !plan.update_resets) /* it has come up since */
		plan_reset(&c, &plan, "configuration-change");
	if (plan.keep_resets && !o.result)
		thread_call(k->session_thread, session_order_reset_config, &o);
	if (o.result)
		apply_export_policies(k, c.id, &want);
	apply_pending_done(k, c.id, &want, o.result);
	effects_tell(k, &c, &plan, true, effects);
	apply_keeps(k, c.is, c.id, true); /* what is kept was judged once more */
}

/* ---- previews ---- */

json_t *
keeld_effects(struct keeld *k, json_t *document, struct faults *f)
{
	struct config *next = config_parse(document, f);
	unsigned faults = f->count;
	json_t *effects;

	if (next == NULL)
		return NULL;
	apply_check_restart_keys(k->running, next, f);
	effects = f->count == faults ? json_array() : NULL;
	for (struct peer_id id = {0}; effects != NULL && (id = keeld_peer_next(k, id)).v != 0;) {
		struct change c = {
			.old = k->running, .next = next, .was = keeld_peer_config(k, id), .id = id};
		struct config_peer dynamic;
		struct plan plan;

		c.is = apply_peer_of(next, c.was, &dynamic);
		if (c.is == NULL) {
			apply_effect_removed(effects, c.was);
			continue;
		}
		apply_peek(k, id, &c.view);
		plan = plan_of(&c);
		effects_tell(k, &c, &plan, false, effects);
	}
	config_free(next);
	return effects;
}

const struct policy *
keeld_policy_of(const struct config *next, const struct config_peer *p, enum family f, bool import)
{
	const char *name = import ? p->families[f].import_policy : p->families[f].export_policy;

	return name != NULL ? policy_set_find(next->policies, name) : NULL;
}
