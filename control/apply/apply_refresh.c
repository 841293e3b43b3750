/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Refreshes: by command, and by a policy change after its delay (keel-policy(7), soft reset). Jobs end here: with the session's event, when the shard has
 * judged what came before an EoRR, or when its replay of kept routes is through.
 */
#include "control/apply/apply_impl.h"

#include "control/base/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_RETRY_NS 1000000000u
#define SHARD_POLL_NS                                                                              \
	2000000 /* how often the shard is asked whether it has reached an EoRR that the session has read, or ended a replay */

/* A refresh that waits for policy_change_delay_s. */
struct pending_refresh {
	bool waits;
	uint32_t job;
	uint32_t established; /* of the session then: a later one begins with all that is new */
};

/* A job that ends when the shard has come so far. */
struct reaching {
	struct reaching *next;
	struct peer_id peer;
	enum family family;
	uint32_t job;
	uint64_t eorrs; /* of this peer and family that the shard must have seen; or */
	uint64_t replays; /* the number of the replay that must be done */
};

/* The job of a policy change that another refresh did not leave waiting: it ends with that one's for its peer and family. */
struct follower {
	struct follower *next;
	struct peer_id peer;
	enum family family;
	uint32_t job, follows;
};

struct not_applied {
	const char *reason; /* NULL: all is applied */
	uint32_t established;
};

/* What keep_all_routes keeps is being asked for. */
struct filling {
	uint32_t job; /* 0: all is there */
	uint32_t established;
};

struct apply_refreshes {
	struct apply *apply;
	struct filling filling[PEER_MAX][FAMILY_COUNT];
	struct pending_refresh import[PEER_MAX][FAMILY_COUNT], export[PEER_MAX][FAMILY_COUNT];
	struct not_applied not_applied[PEER_MAX][FAMILY_COUNT];
	bool changed; /* some of them began to wait in this commit */
	/* Old configurations whose export policies are run until the delay is over. */
	struct config **held;
	unsigned held_count, held_size;
	struct follower *followers;
	struct reaching *reaching;
	struct timer reaching_timer;
	struct timer timer;
	uint64_t first_ns; /* the oldest change that waits; 0: none does */
};

/* ---- orders ---- */

/* A refresh that is begun: a kept family is replayed, or filled first; another one is asked for. */
struct import_item {
	struct peer_id id;
	enum family family;
	uint32_t job, established;
	enum import_way { IMPORT_DONE, IMPORT_FILL, IMPORT_REPLAY, IMPORT_ASK } way;
	uint64_t replay; /* its number */
	enum refresh_action action;
	const char *reason;
};

struct import_items {
	const struct layers *layers;
	struct import_item *item;
	unsigned count;
};

/* All in one message, so that a destination is judged for all peers at once. */
static void
rib_replays(void *arg)
{
	struct shard_call *call = arg;
	struct import_items *x = call->arg;

	role_enter_rib();
	for (unsigned i = 0; i < x->count; i++) {
		uint64_t number;

		if (x->item[i].way != IMPORT_REPLAY)
			continue;
		number = shard_peer_replay(call->shard, x->item[i].id, x->item[i].family);
		if (call->index == 0) /* all shards count alike */
			x->item[i].replay = number;
	}
}

static void
session_establisheds(void *arg)
{
	struct import_items *x = arg;
	struct session_view view;

	role_enter_session();
	for (unsigned i = 0; i < x->count; i++) {
		view.established_count = 0;
		(void)session_peek(x->layers->speaker, x->item[i].id, &view);
		x->item[i].established = view.established_count;
	}
}

static void
session_imports(void *arg)
{
	struct import_items *x = arg;
	struct speaker *s = x->layers->speaker;

	role_enter_session();
	for (unsigned i = 0; i < x->count; i++) {
		struct import_item *m = &x->item[i];

		if (m->way == IMPORT_ASK)
			m->action = session_refresh_import(s, m->id, m->family, m->job, &m->reason);
		else if (m->way == IMPORT_FILL)
			m->action = session_refresh_fill(s, m->id, m->family, m->job, &m->reason);
	}
}

struct export_items {
	const struct layers *layers;
	struct export_item *item;
	unsigned count;
};

static void
session_export_jobs(void *arg)
{
	struct export_items *x = arg;

	role_enter_session();
	for (unsigned i = 0; i < x->count; i++)
		x->item[i].runs = session_export_job(
			x->layers->speaker, x->item[i].id, x->item[i].family, x->item[i].job);
}

/* ---- what is told ---- */

static void
event_refresh(struct apply *apply, struct peer_id id, enum family f, const char *event,
	uint32_t job, const char *failed)
{
	const struct config_peer *p = peers_config(apply->peers, id);
	const char *kind = jobs_kind(apply->jobs, job);

	if (p == NULL || kind == NULL)
		return;
	apply_report(apply, "refresh",
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s*}", "event", event, "address",
			p->addr_text, "vrf", p->vrf_name, "family", family_text(f), "direction",
			strcmp(kind, "refresh-export") == 0 ? "export" : "import", "job",
			(json_int_t)job, "reason", failed));
}

static void
part_ended(struct apply *apply, struct peer_id id, enum family f, uint32_t job, const char *failed)
{
	event_refresh(apply, id, f, "end", job, failed);
	apply_plan_job_ended(apply, id, f, job);
	if (failed != NULL)
		jobs_fail_part(apply->jobs, job, failed);
	else
		jobs_advance(apply->jobs, job, 1);
}

/* `job` has ended for this peer and family, and so have those that follow it there. `failed`: why, or NULL. */
static void
refresh_ended(struct apply *apply, struct peer_id peer, enum family family, uint32_t job,
	const char *failed)
{
	for (struct follower **at = &apply->refreshes->followers, *w; (w = *at) != NULL;) {
		if (w->follows != job || w->peer.v != peer.v || w->family != family) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		part_ended(apply, peer, family, w->job, failed);
		free(w);
	}
	if (failed == NULL && apply->refreshes->filling[peer.v][family].job == job)
		apply->refreshes->filling[peer.v][family].job = 0;
	part_ended(apply, peer, family, job, failed);
}

/* ---- what the shard has to reach ---- */

static bool
reached(const struct apply *apply, const struct reaching *r)
{
	struct adj_rib_in_counts counts = {0};

	shards_peer_counts(&apply->layers->shards, r->peer, r->family, &counts);
	return counts.replays_done >= r->replays &&
	       counts.eorr_received + counts.eorr_ignored >= r->eorrs;
}

/* Those that are reached, and those of `gone`, whose id may be another peer's soon. */
static void
reaching_end(struct apply *apply, struct peer_id gone)
{
	for (struct reaching **at = &apply->refreshes->reaching, *r; (r = *at) != NULL;) {
		bool lost = r->peer.v == gone.v;

		if (!lost && !reached(apply, r)) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		refresh_ended(apply, r->peer, r->family, r->job, lost ? "peer-removed" : NULL);
		free(r);
	}
}

static void
reaching_poll(struct timer *t)
{
	struct apply_refreshes *refreshes =
		(struct apply_refreshes *)(void *)((char *)t - offsetof(struct apply_refreshes,
								       reaching_timer));
	struct apply *apply = refreshes->apply;

	reaching_end(apply, (struct peer_id){0});
	if (apply->refreshes->reaching != NULL)
		timer_arm(apply->layers->main_thread, t, SHARD_POLL_NS);
}

/* Without memory the job ends now. */
static void
reach(struct apply *apply, const struct reaching *wanted)
{
	struct reaching *r = malloc(sizeof(*r));

	if (r == NULL) {
		refresh_ended(apply, wanted->peer, wanted->family, wanted->job, NULL);
		return;
	}
	*r = *wanted;
	r->next = apply->refreshes->reaching;
	apply->refreshes->reaching = r;
	timer_arm(apply->layers->main_thread, &apply->refreshes->reaching_timer, SHARD_POLL_NS);
}

/* What is kept of these peers, judged anew (keel-policy(7) rules 3 and 4). */
static void
replays(struct apply *apply, struct import_items *x)
{
	struct shard_call call = {.arg = x};

	layers_call_shards(apply->layers, rib_replays, &call);
	for (unsigned i = 0; i < x->count; i++) {
		const struct import_item *m = &x->item[i];

		if (m->way != IMPORT_REPLAY)
			continue;
		event_refresh(apply, m->id, m->family, "begin", m->job, NULL);
		reach(apply, &(struct reaching){.peer = m->id,
				     .family = m->family,
				     .job = m->job,
				     .replays = m->replay});
	}
}

static void
replay(struct apply *apply, struct peer_id id, enum family f, uint32_t job)
{
	struct import_item one = {.id = id, .family = f, .job = job, .way = IMPORT_REPLAY};

	replays(apply, &(struct import_items){.layers = apply->layers, .item = &one, .count = 1});
}

static void
import_done(struct apply *apply, const struct session_event *e)
{
	struct session_view view;

	if (!e->framed) {
		refresh_ended(apply, e->peer, e->family, e->job, NULL);
		return;
	}
	apply_peek(apply, e->peer, &view);
	reach(apply, &(struct reaching){.peer = e->peer,
			     .family = e->family,
			     .job = e->job,
			     .eorrs = view.families[e->family].eorr_received});
}

static void
event_session(struct apply *apply, const struct session_event *e)
{
	const struct config_peer *p = peers_config(apply->peers, e->peer);
	struct session_view view;

	if (p == NULL)
		return;
	apply_peek(apply, e->peer, &view);
	apply_report(apply, "session",
		json_pack("{s:s, s:s, s:s, s:s*}", "event", e->kind == SESSION_UP ? "up" : "down",
			"address", p->addr_text, "vrf", p->vrf_name, "reason",
			e->kind == SESSION_DOWN && view.last_error[0] != '\0' ? view.last_error
									      : NULL));
}

void
apply_session_event(struct apply *apply, const struct session_event *e)
{
	switch (e->kind) {
	case SESSION_UP:
		apply_dynamic_event(apply, e);
		event_session(apply, e);
		break;
	case SESSION_DOWN:
		event_session(apply, e);
		break;
	case SESSION_REFRESH_SENT:
		break;
	case SESSION_REFRESH_DONE:
		if (e->job != 0)
			import_done(apply, e);
		break;
	case SESSION_EXPORT_DONE:
		if (e->job != 0)
			refresh_ended(apply, e->peer, e->family, e->job, NULL);
		break;
	case SESSION_REFRESH_FAILED:
		if (e->job != 0)
			refresh_ended(apply, e->peer, e->family, e->job,
				e->reason != NULL ? e->reason : "session-lost");
		break;
	case SESSION_DYNAMIC:
	case SESSION_DYNAMIC_GONE:
		apply_dynamic_event(apply, e);
		break;
	}
}

/* ---- by command ---- */

static bool
selects(const struct apply_selector *s, const struct config_peer *p)
{
	if (p->vrf.v != s->vrf.v || !p->families[s->family].enabled)
		return false;
	switch (s->scope) {
	case SCOPE_ALL:
		return true;
	case SCOPE_PEER:
		return addr_equal(&p->addr, &s->peer);
	case SCOPE_GROUP:
		return p->group != NULL && strcmp(p->group, s->group) == 0;
	case SCOPE_INTERNAL:
		return !p->external;
	case SCOPE_EXTERNAL:
		return p->external;
	case SCOPE_ASN:
		return p->asn == s->asn;
	}
	return false;
}

unsigned
apply_select(const struct apply *apply, const struct apply_selector *s, struct peer_id *out,
	unsigned max)
{
	unsigned n = 0;

	for (struct peer_id id = {0}; (id = peers_next(apply->peers, id)).v != 0;) {
		if (!selects(s, peers_config(apply->peers, id)))
			continue;
		if (n < max)
			out[n] = id;
		n++;
	}
	return n;
}

static bool
action_runs(enum refresh_action a)
{
	return a == REFRESH_SENT || a == REFRESH_REPLAYED || a == REFRESH_READVERTISED;
}

/* A command applies at once what a policy change has waiting (keel-policy(7) rules 7 and 14): one request, or one walk, for both. */
static void
pending_taken(struct apply *apply, struct pending_refresh *p, struct peer_id id, enum family family,
	uint32_t job)
{
	struct follower *w = p->waits ? malloc(sizeof(*w)) : NULL;

	if (w == NULL)
		return; /* nothing waits, or it goes on waiting */
	*w = (struct follower){apply->refreshes->followers, id, family, p->job, job};
	apply->refreshes->followers = w;
	p->waits = false;
}

void
apply_export_jobs(struct apply *apply, struct export_item *items, unsigned count)
{
	struct export_items x = {.layers = apply->layers, .item = items, .count = count};

	if (count == 0)
		return;
	for (unsigned i = 0; i < count; i++)
		if (items[i].job == 0)
			items[i].job = jobs_begin(apply->jobs, "refresh-export", 1);
	thread_call(apply->layers->session_thread, session_export_jobs, &x);
	for (unsigned i = 0; i < count; i++) {
		if (items[i].runs) {
			event_refresh(
				apply, items[i].id, items[i].family, "begin", items[i].job, NULL);
			continue;
		}
		jobs_advance(apply->jobs, items[i].job, 1);
	}
}

/* The running configuration's export policies, for a session that goes on with others until the delay is over. */
static struct session_policies
export_policies_due(struct apply *apply, struct peer_id id, enum family f)
{
	struct session_policies policies = apply->applied[id.v].session;

	policies.export_policy[f] =
		apply_policies_of(apply->running, peers_config(apply->peers, id)).export_policy[f];
	return policies;
}

static void imports_ask(struct apply *apply, struct import_items *x);
static bool import_due(
	struct apply *apply, struct peer_id id, enum family f, struct import_item *out);

static json_t *
refresh_answer(const struct config_peer *p, const struct session_order *o)
{
	return json_pack("{s:s, s:s, s:s, s:s*}", "address", p->addr_text, "vrf", p->vrf_name,
		"action", refresh_action_text((enum refresh_action)o->result), "reason",
		o->refresh.reason);
}

/* One peer's answer of bgp.refresh. True: `job` has a part that runs. */
static bool
refresh_one(struct apply *apply, struct peer_id id, enum family family, bool import, uint32_t job,
	json_t *peers)
{
	const struct config_peer *p = peers_config(apply->peers, id);
	struct pending_refresh *waiting = &apply->refreshes->export[id.v][family];
	struct session_order o = {
		.kind = import ? SESSION_ORDER_REFRESH_IMPORT : SESSION_ORDER_REFRESH_EXPORT,
		.id = id,
		.family = family,
		.refresh = {.job = job}};
	struct session_policies *applied = &apply->applied[id.v].session;
	struct import_item due;
	bool runs;

	if (!import && waiting->waits) {
		*applied = export_policies_due(apply, id, family);
		o.refresh.policies = applied;
	}
	(void)session_order(apply->layers, &o);
	runs = action_runs((enum refresh_action)o.result);
	if (runs)
		pending_taken(apply, import ? &apply->refreshes->import[id.v][family] : waiting, id,
			family, job);
	if (o.refresh.policies != NULL &&
		waiting->waits) { /* nothing was walked: the session takes it when it comes up */
		waiting->waits = false;
		jobs_advance(apply->jobs, waiting->job, 1);
	}
	if (runs && import)
		apply_plan_asked(apply, id, family, job);
	if (o.result == REFRESH_REPLAYED)
		replay(apply, id, family, job);
	else if (runs)
		event_refresh(apply, id, family, "begin", job, NULL);
	/* keel-policy(7) rule 4: the command does nothing; what a commit has waiting is applied all the same. */
	if (import && o.result == REFRESH_NO_OP && import_due(apply, id, family, &due))
		imports_ask(apply,
			&(struct import_items){.layers = apply->layers, .item = &due, .count = 1});
	json_array_append_new(peers, refresh_answer(p, &o));
	return runs;
}

int
apply_refresh(struct apply *apply, const struct apply_selector *s, bool import, json_t **peers,
	uint32_t *job)
{
	struct peer_id *ids = calloc(PEER_MAX, sizeof(*ids));
	unsigned n, running = 0;

	if (ids == NULL)
		return -ENOMEM;
	n = apply_select(apply, s, ids, PEER_MAX);
	if (n == 0) {
		free(ids);
		return -ENOENT;
	}
	*peers = json_array();
	*job = jobs_begin(apply->jobs, import ? "refresh-import" : "refresh-export", n);
	for (unsigned i = 0; i < n; i++) {
		if (refresh_one(apply, ids[i], s->family, import, *job, *peers))
			running++;
		else
			jobs_advance(apply->jobs, *job, 1);
	}
	free(ids);
	if (running == 0) { /* no job when nothing runs */
		jobs_forget(apply->jobs, *job);
		*job = 0;
	}
	return 0;
}

bool
apply_is_filled(
	const struct apply *apply, struct peer_id id, enum family f, const struct session_view *v)
{
	const struct filling *w = &apply->refreshes->filling[id.v][f];

	return w->job == 0 || w->established != v->established_count;
}

uint32_t
apply_fill(struct apply *apply, struct peer_id id, enum family f, const struct session_view *v)
{
	uint32_t job = jobs_begin(apply->jobs, "refresh-import", 1);
	struct session_order o = {
		.kind = SESSION_ORDER_REFRESH_FILL, .id = id, .family = f, .refresh = {.job = job}};

	if (!action_runs((enum refresh_action)session_order(apply->layers, &o))) {
		jobs_forget(apply->jobs, job);
		return 0;
	}
	apply->refreshes->filling[id.v][f] = (struct filling){job, v->established_count};
	event_refresh(apply, id, f, "begin", job, NULL);
	pending_taken(apply, &apply->refreshes->import[id.v][f], id, f, job);
	apply_plan_asked(apply, id, f, job);
	return job;
}

uint32_t
apply_replay(struct apply *apply, struct peer_id id, enum family f)
{
	uint32_t job = jobs_begin(apply->jobs, "refresh-import", 1);

	replay(apply, id, f, job);
	pending_taken(apply, &apply->refreshes->import[id.v][f], id, f, job);
	apply_plan_asked(apply, id, f, job);
	return job;
}

/* ---- policy changes refresh by themselves ---- */

const char *
apply_not_in_use(const struct session_view *v, enum family f)
{
	if (v->state != FSM_ESTABLISHED)
		return "not-established";
	return v->families[f].negotiated ? NULL : "not-negotiated";
}

void
apply_note_not_applied(struct apply *apply, struct peer_id id, enum family f, const char *reason,
	const struct session_view *v)
{
	apply->refreshes->not_applied[id.v][f] = (struct not_applied){reason, v->established_count};
}

const char *
apply_not_applied(
	const struct apply *apply, struct peer_id id, enum family f, const struct session_view *v)
{
	const struct not_applied *n = &apply->refreshes->not_applied[id.v][f];

	return n->reason != NULL && n->established == v->established_count ? n->reason : NULL;
}

static uint32_t
pending_begin(struct apply *apply, struct pending_refresh *p, const char *kind)
{
	if (!p->waits)
		*p = (struct pending_refresh){
			.waits = true, .job = jobs_begin(apply->jobs, kind, 1)};
	apply->refreshes->changed = true;
	return p->job;
}

uint32_t
apply_pending_import(
	struct apply *apply, struct peer_id id, enum family f, const struct session_view *v)
{
	struct pending_refresh *p = &apply->refreshes->import[id.v][f];
	uint32_t job = pending_begin(apply, p, "refresh-import");

	p->established = v->established_count;
	return job;
}

uint32_t
apply_pending_export(struct apply *apply, struct peer_id id, enum family f)
{
	return pending_begin(apply, &apply->refreshes->export[id.v][f], "refresh-export");
}

bool
apply_export_waits(const struct apply *apply, struct peer_id id, enum family f, uint32_t *job)
{
	*job = apply->refreshes->export[id.v][f].job;
	return apply->refreshes->export[id.v][f].waits;
}

bool
apply_import_waits(const struct apply *apply, struct peer_id id, enum family f)
{
	return apply->refreshes->import[id.v][f].waits;
}

/* An import that waits, which does so no more. False: none does. */
static bool
import_due(struct apply *apply, struct peer_id id, enum family f, struct import_item *out)
{
	struct pending_refresh *p = &apply->refreshes->import[id.v][f];

	if (!p->waits)
		return false;
	p->waits = false;
	*out = (struct import_item){.id = id, .family = f, .job = p->job};
	return true;
}

static void
import_way(struct apply *apply, struct import_item *m)
{
	const struct pending_refresh *p = &apply->refreshes->import[m->id.v][m->family];
	struct session_view v = {.established_count = m->established};

	if (m->established != p->established)
		m->way =
			IMPORT_DONE; /* what came since then was judged by the new policy as it came */
	else if (!apply->applied[m->id.v].keep[m->family])
		m->way = IMPORT_ASK;
	else
		m->way = apply_is_filled(apply, m->id, m->family, &v) ? IMPORT_REPLAY : IMPORT_FILL;
}

/* What came of asking. */
static void
import_asked(struct apply *apply, const struct import_item *m)
{
	struct session_view v = {.established_count = m->established};

	if (action_runs(m->action)) {
		if (m->way == IMPORT_FILL)
			apply->refreshes->filling[m->id.v][m->family] =
				(struct filling){m->job, m->established};
		event_refresh(apply, m->id, m->family, "begin", m->job, NULL);
		return;
	}
	if (m->action == REFRESH_UNSUPPORTED)
		apply_note_not_applied(apply, m->id, m->family, m->reason, &v);
	apply_plan_end(apply, m->id, m->family);
	jobs_fail_part(apply->jobs, m->job, refresh_action_text(m->action));
}

/* All of these at once: one look at the sessions, one message to them, one to the shards. */
static void
imports_ask(struct apply *apply, struct import_items *x)
{
	if (x->count == 0)
		return;
	thread_call(apply->layers->session_thread, session_establisheds, x);
	for (unsigned i = 0; i < x->count; i++) {
		import_way(apply, &x->item[i]);
		apply_plan_asked(apply, x->item[i].id, x->item[i].family, x->item[i].job);
	}
	thread_call(apply->layers->session_thread, session_imports, x);
	for (unsigned i = 0; i < x->count; i++) {
		struct import_item *m = &x->item[i];

		if (m->way == IMPORT_FILL && !action_runs(m->action))
			m->way = IMPORT_REPLAY; /* of what there is */
	}
	replays(apply, x);
	for (unsigned i = 0; i < x->count; i++) {
		const struct import_item *m = &x->item[i];

		if (m->way == IMPORT_DONE) {
			apply_plan_end(apply, m->id, m->family);
			jobs_advance(apply->jobs, m->job, 1);
		} else if (m->way != IMPORT_REPLAY) {
			import_asked(apply, m);
		}
	}
}

static void
held_free(struct apply *apply)
{
	while (apply->refreshes->held_count > 0)
		config_free(apply->refreshes->held[--apply->refreshes->held_count]);
}

void
apply_config_release(struct apply *apply)
{
	if (apply->refreshes->first_ns == 0 && apply_plans_over(apply))
		held_free(apply);
}

/* Exports that wait, to their sessions in one message. */
struct due_policies {
	const struct layers *layers;
	struct {
		struct peer_id id;
		struct session_policies policies;
	} * peer;
	unsigned count;
};

static void
session_due_policies(void *arg)
{
	struct due_policies *d = arg;

	role_enter_session();
	for (unsigned i = 0; i < d->count; i++)
		session_export_policies(d->layers->speaker, d->peer[i].id, &d->peer[i].policies);
	speaker_plan_settle(d->layers->speaker);
}

/* False: out of memory, and they go on to wait. */
static bool
exports_take(struct apply *apply)
{
	struct due_policies d = {
		.layers = apply->layers, .peer = calloc(PEER_MAX, sizeof(*d.peer))};
	struct export_item *items = calloc((size_t)PEER_MAX * FAMILY_COUNT, sizeof(*items));
	bool memory = d.peer != NULL && items != NULL;
	unsigned n = 0;

	for (struct peer_id id = {0}; memory && (id = peers_next(apply->peers, id)).v != 0;) {
		bool any = false;

		for (unsigned f = 0; f < FAMILY_COUNT; f++) {
			struct pending_refresh *p = &apply->refreshes->export[id.v][f];

			if (!p->waits)
				continue;
			p->waits = false;
			any = true;
			apply->applied[id.v].session =
				export_policies_due(apply, id, (enum family)f);
			items[n++] = (struct export_item){
				.id = id, .family = (enum family)f, .job = p->job};
		}
		if (!any)
			continue;
		d.peer[d.count].id = id;
		d.peer[d.count++].policies = apply->applied[id.v].session;
	}
	if (d.count > 0)
		thread_call(apply->layers->session_thread, session_due_policies, &d);
	apply_export_jobs(apply, items, n);
	free(d.peer);
	free(items);
	return memory;
}

static void
pending_run(struct timer *t)
{
	struct apply_refreshes *refreshes =
		(struct apply_refreshes *)(void *)((char *)t -
						   offsetof(struct apply_refreshes, timer));
	struct apply *apply = refreshes->apply;
	struct import_items x = {.layers = apply->layers,
		.item = calloc((size_t)PEER_MAX * FAMILY_COUNT, sizeof(*x.item))};

	(void)t;
	/* Tried again. Old configurations are not freed before: sessions run their export policies. */
	if (x.item == NULL || !exports_take(apply)) {
		free(x.item);
		timer_arm(apply->layers->main_thread, &apply->refreshes->timer, MEMORY_RETRY_NS);
		return;
	}
	apply->refreshes->first_ns = 0;
	for (struct peer_id id = {0}; (id = peers_next(apply->peers, id)).v != 0;)
		for (unsigned f = 0; f < FAMILY_COUNT; f++)
			x.count += import_due(apply, id, (enum family)f, &x.item[x.count]);
	imports_ask(apply, &x);
	free(x.item);
	apply_plan_go(apply);
	apply_config_release(apply);
}

void
apply_config_hold(struct apply *apply, struct config *old)
{
	bool holds = apply->refreshes->first_ns != 0 || !apply_plans_over(apply);

	if (holds && apply->refreshes->held_count == apply->refreshes->held_size) {
		unsigned size =
			apply->refreshes->held_size != 0 ? 2 * apply->refreshes->held_size : 4;
		struct config **grown =
			realloc(apply->refreshes->held, size * sizeof(struct config *));

		if (grown == NULL) {
			log_event(LOG_ERROR, "configuration-not-freed error=\"%s\"",
				strerrordesc_np(ENOMEM));
			return; /* its policies may still be run */
		}
		apply->refreshes->held = grown;
		apply->refreshes->held_size = size;
	}
	if (holds)
		apply->refreshes->held[apply->refreshes->held_count++] = old;
	else
		config_free(old);
}

/* A later change restarts the delay, up to the maximum since the first one. */
void
apply_pending_schedule(struct apply *apply)
{
	uint64_t now = now_ns(),
		 delay = (uint64_t)apply->running->policy_change_delay_s * 1000000000u;
	uint64_t max = (uint64_t)apply->running->policy_change_max_delay_s * 1000000000u;

	if (!apply->refreshes->changed && (delay != 0 || apply->refreshes->first_ns == 0)) {
		if (apply->refreshes->first_ns == 0) /* nothing is to be asked for */
			apply_plan_go(apply);
		return;
	}
	apply->refreshes->changed = false;
	if (delay == 0) { /* from now on: what waits is due, too */
		pending_run(&apply->refreshes->timer);
		return;
	}
	if (apply->refreshes->first_ns == 0)
		apply->refreshes->first_ns = now;
	if (now + delay > apply->refreshes->first_ns + max)
		delay = apply->refreshes->first_ns + max > now
				? apply->refreshes->first_ns + max - now
				: 0;
	timer_arm(apply->layers->main_thread, &apply->refreshes->timer, delay);
}

void
apply_pending_done(
	struct apply *apply, struct peer_id id, const struct session_policies *want, bool reset)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct pending_refresh *export = &apply->refreshes->export[id.v][f],
				       *import = &apply->refreshes->import[id.v][f];

		if (export->waits &&
			apply->applied[id.v].session.export_policy[f] == want->export_policy[f]) {
			struct export_item item = {
				.id = id, .family = (enum family)f, .job = export->job};

			export->waits = false;
			apply_export_jobs(apply, &item, 1);
		}
		if (import->waits && reset) {
			import->waits = false;
			jobs_advance(apply->jobs, import->job, 1);
		}
	}
}

static void
pending_drop_one(struct apply *apply, struct pending_refresh *p)
{
	if (p->waits)
		jobs_fail_part(apply->jobs, p->job, "peer-removed");
	p->waits = false;
}

void
apply_pending_drop(struct apply *apply, struct peer_id id)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		pending_drop_one(apply, &apply->refreshes->import[id.v][f]);
		pending_drop_one(apply, &apply->refreshes->export[id.v][f]);
		apply_plan_end(apply, id, (enum family)f);
		apply->refreshes->not_applied[id.v][f] = (struct not_applied){0};
		apply->refreshes->filling[id.v][f] = (struct filling){0};
	}
	reaching_end(apply, id);
}

/* ---- life ---- */

int
apply_refreshes_create(struct apply *apply)
{
	struct apply_refreshes *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return -ENOMEM;
	r->apply = apply;
	r->timer.fire = pending_run;
	r->reaching_timer.fire = reaching_poll;
	apply->refreshes = r;
	return 0;
}

void
apply_refreshes_destroy(struct apply *apply)
{
	if (apply->refreshes == NULL)
		return;
	held_free(apply);
	free(apply->refreshes->held);
	while (apply->refreshes->reaching != NULL) {
		struct reaching *r = apply->refreshes->reaching;

		apply->refreshes->reaching = r->next;
		free(r);
	}
	while (apply->refreshes->followers != NULL) {
		struct follower *w = apply->refreshes->followers;

		apply->refreshes->followers = w->next;
		free(w);
	}
	free(apply->refreshes);
}
