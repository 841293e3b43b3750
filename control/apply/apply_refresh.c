/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Refreshes by command, and by a policy change after the delay (keel-policy(7), soft reset). The
 * job of a refresh ends with an event of the session, when the shards have evaluated all routes
 * before an EoRR, or when the shards have replayed the kept routes.
 */
#include "control/apply/apply_impl.h"

#include "control/base/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_RETRY_NS 1000000000u
/* Interval of the checks whether the shards have reached an EoRR or the end of a replay. */
#define SHARD_POLL_NS 2000000

/* A refresh that waits for policy_change_delay_s. */
struct pending_refresh {
	bool waits;
	uint32_t job;
	/* The count of sessions at the change: a later session starts with the new policies. */
	uint32_t established;
};

/* A job of a peer and family that waits for the shards. */
struct shard_wait {
	struct shard_wait *next;
	struct peer_id peer;
	enum family family;
	uint32_t job;
	uint64_t eorrs; /* the shards must have handled this number of EoRRs */
	uint64_t replays; /* the shards must have done replays up to this number */
};

/*
 * The job of a delayed policy change that a refresh under way includes: ends with the job `follows`
 * of the peer and family.
 */
struct follower {
	struct follower *next;
	struct peer_id peer;
	enum family family;
	uint32_t job, follows;
};

struct not_applied {
	const char *reason; /* NULL: the policy is applied */
	uint32_t established;
};

/* A request to the peer for the routes of keep_all_routes. */
struct filling {
	uint32_t job; /* 0: no request is under way */
	uint32_t established;
};

struct apply_refreshes {
	struct apply *apply;
	struct filling filling[PEER_MAX][FAMILY_COUNT];
	struct pending_refresh import[PEER_MAX][FAMILY_COUNT], export[PEER_MAX][FAMILY_COUNT];
	struct not_applied not_applied[PEER_MAX][FAMILY_COUNT];
	bool changed; /* the commit has delayed an import or export */
	/* Old configurations: sessions run the old export policies until the delay is over. */
	struct config **held;
	unsigned held_count, held_size;
	struct follower *followers;
	struct shard_wait *shard_waits;
	struct timer shard_waits_timer;
	struct timer timer;
	uint64_t first_ns; /* time of the oldest delayed change; 0: no change is delayed */
};

/* ---- orders ---- */

/*
 * An import refresh: replays the kept routes of a family, or fills keep_all_routes first, or
 * requests the routes if none are kept.
 */
struct import_item {
	struct peer_id id;
	enum family family;
	uint32_t job, established;
	enum import_way { IMPORT_DONE, IMPORT_FILL, IMPORT_REPLAY, IMPORT_REQUEST } way;
	uint64_t replay; /* shard_peer_replay() */
	enum refresh_action action;
	const char *reason;
};

struct import_items {
	const struct layers *layers;
	struct import_item *item;
	unsigned count;
};

/* One message for all peers, so the shards evaluate a destination once. */
static void
rib_replays(void *arg) RUNS_ON(role_rib)
{
	struct shard_call *call = arg;
	struct import_items *x = call->arg;

	for (unsigned i = 0; i < x->count; i++) {
		uint64_t number;

		if (x->item[i].way != IMPORT_REPLAY)
			continue;
		number = shard_peer_replay(call->shard, x->item[i].id, x->item[i].family);
		if (call->index == 0) /* the number is equal on all shards */
			x->item[i].replay = number;
	}
}

static void
session_read_counts(void *arg) RUNS_ON(role_session)
{
	struct import_items *x = arg;
	struct session_view view;

	for (unsigned i = 0; i < x->count; i++) {
		view.established_count = 0;
		(void)session_peek(x->layers->speaker, x->item[i].id, &view);
		x->item[i].established = view.established_count;
	}
}

static void
session_send_requests(void *arg) RUNS_ON(role_session)
{
	struct import_items *x = arg;
	struct speaker *s = x->layers->speaker;

	for (unsigned i = 0; i < x->count; i++) {
		struct import_item *m = &x->item[i];

		if (m->way == IMPORT_REQUEST)
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
session_export_jobs(void *arg) RUNS_ON(role_session)
{
	struct export_items *x = arg;

	for (unsigned i = 0; i < x->count; i++)
		x->item[i].runs = session_export_job(
			x->layers->speaker, x->item[i].id, x->item[i].family, x->item[i].job);
}

/* ---- events ---- */

static void
event_refresh(struct apply *apply, struct peer_id id, enum family f, const char *event,
	uint32_t job, const char *failed) RUNS_ON(role_main)
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
	RUNS_ON(role_main)
{
	event_refresh(apply, id, f, "end", job, failed);
	apply_plan_job_ended(apply, id, f, job);
	if (failed != NULL)
		jobs_fail_part(apply->jobs, job, failed);
	else
		jobs_advance(apply->jobs, job, 1);
}

/*
 * Ends the part of `job`, and of the followers of `job`, for the peer and family. `failed`: the
 * reason, or NULL.
 */
static void
refresh_ended(struct apply *apply, struct peer_id peer, enum family family, uint32_t job,
	const char *failed) RUNS_ON(role_main)
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

/* ---- jobs on the shards ---- */

static bool
shard_wait_over(const struct apply *apply, const struct shard_wait *r)
{
	struct adj_rib_in_counts counts = {0};

	shards_peer_counts(&apply->layers->shards, r->peer, r->family, &counts);
	return counts.replays_done >= r->replays &&
	       counts.eorr_received + counts.eorr_ignored >= r->eorrs;
}

/*
 * Ends the jobs that the shards have completed, and all jobs of the removed peer `gone`, because a
 * new peer may get the id.
 */
static void
shard_waits_end(struct apply *apply, struct peer_id gone) RUNS_ON(role_main)
{
	for (struct shard_wait **at = &apply->refreshes->shard_waits, *r; (r = *at) != NULL;) {
		bool lost = r->peer.v == gone.v;

		if (!lost && !shard_wait_over(apply, r)) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		refresh_ended(apply, r->peer, r->family, r->job, lost ? "peer-removed" : NULL);
		free(r);
	}
}

static void
shard_waits_poll(struct timer *t) RUNS_ON(role_main)
{
	struct apply_refreshes *refreshes =
		(struct apply_refreshes *)(void *)((char *)t - offsetof(struct apply_refreshes,
								       shard_waits_timer));
	struct apply *apply = refreshes->apply;

	apply_changes_finish(apply);
	shard_waits_end(apply, (struct peer_id){0});
	if (apply->refreshes->shard_waits != NULL)
		timer_arm(apply->layers->main_thread, t, SHARD_POLL_NS);
}

/* Ends the job when the shards are as far as `wanted` says; at once if out of memory. */
static void
shard_wait_add(struct apply *apply, const struct shard_wait *wanted) RUNS_ON(role_main)
{
	struct shard_wait *r = malloc(sizeof(*r));

	if (r == NULL) {
		refresh_ended(apply, wanted->peer, wanted->family, wanted->job, NULL);
		return;
	}
	*r = *wanted;
	r->next = apply->refreshes->shard_waits;
	apply->refreshes->shard_waits = r;
	timer_arm(apply->layers->main_thread, &apply->refreshes->shard_waits_timer, SHARD_POLL_NS);
}

/* Evaluates the kept routes of the peers again (keel-policy(7) rules 3 and 4). */
static void
begin_replays(struct apply *apply, struct import_items *x) RUNS_ON(role_main)
{
	struct shard_call call = {.arg = x};

	layers_call_shards(apply->layers, rib_replays, &call);
	for (unsigned i = 0; i < x->count; i++) {
		const struct import_item *m = &x->item[i];

		if (m->way != IMPORT_REPLAY)
			continue;
		event_refresh(apply, m->id, m->family, "begin", m->job, NULL);
		shard_wait_add(apply, &(struct shard_wait){.peer = m->id,
					      .family = m->family,
					      .job = m->job,
					      .replays = m->replay});
	}
}

static void
begin_replay(struct apply *apply, struct peer_id id, enum family f, uint32_t job) RUNS_ON(role_main)
{
	struct import_item one = {.id = id, .family = f, .job = job, .way = IMPORT_REPLAY};

	begin_replays(
		apply, &(struct import_items){.layers = apply->layers, .item = &one, .count = 1});
}

static void
import_done(struct apply *apply, const struct session_event *e) RUNS_ON(role_main)
{
	struct session_view view;

	if (!e->framed) {
		refresh_ended(apply, e->peer, e->family, e->job, NULL);
		return;
	}
	apply_peek(apply, e->peer, &view);
	shard_wait_add(apply, &(struct shard_wait){.peer = e->peer,
				      .family = e->family,
				      .job = e->job,
				      .eorrs = view.families[e->family].eorr_received});
}

static void
event_session(struct apply *apply, const struct session_event *e) RUNS_ON(role_main)
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

static void
event_slow(struct apply *apply, const struct session_event *e) RUNS_ON(role_main)
{
	const struct config_peer *p = peers_config(apply->peers, e->peer);

	if (p != NULL)
		apply_report(apply, "slow-peer",
			json_pack("{s:s, s:s, s:s, s:s, s:s}", "event",
				e->kind == SESSION_SLOW ? "begin" : "end", "address", p->addr_text,
				"vrf", p->vrf_name, "family", family_text(e->family), "reason",
				e->reason));
}

void
apply_session_event(struct apply *apply, const struct session_event *e)
{
	apply_changes_finish(apply);
	switch (e->kind) {
	case SESSION_UP:
		apply_dynamic_event(apply, e);
		event_session(apply, e);
		break;
	case SESSION_DOWN:
		apply_dynamic_event(apply, e);
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
	case SESSION_SLOW:
	case SESSION_SLOW_END:
		event_slow(apply, e);
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

/*
 * A command includes the delayed policy change `p` (keel-policy(7) rules 7 and 14): one request, or
 * one walk, for both.
 */
static void
pending_include(struct apply *apply, struct pending_refresh *p, struct peer_id id,
	enum family family, uint32_t job)
{
	struct follower *w = p->waits ? malloc(sizeof(*w)) : NULL;

	if (w == NULL)
		return; /* no change is delayed, or out of memory: the change stays delayed */
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
	layers_call_session(apply->layers, session_export_jobs, &x);
	for (unsigned i = 0; i < count; i++) {
		if (items[i].runs) {
			event_refresh(
				apply, items[i].id, items[i].family, "begin", items[i].job, NULL);
			continue;
		}
		jobs_advance(apply->jobs, items[i].job, 1);
	}
}

/*
 * The policies of the session, with the export policy of the running configuration for the family.
 */
static struct session_policies
export_policies_due(struct apply *apply, struct peer_id id, enum family f) RUNS_ON(role_main)
{
	struct session_policies policies = apply->applied[id.v].session;

	policies.export_policy[f] =
		apply_policies_of(apply->running, peers_config(apply->peers, id)).export_policy[f];
	return policies;
}

static void imports_begin(struct apply *apply, struct import_items *x) RUNS_ON(role_main);
static bool import_due(
	struct apply *apply, struct peer_id id, enum family f, struct import_item *out);

static json_t *
refresh_answer(const struct config_peer *p, const struct session_order *o)
{
	return json_pack("{s:s, s:s, s:s, s:s*}", "address", p->addr_text, "vrf", p->vrf_name,
		"action", refresh_action_text((enum refresh_action)o->result), "reason",
		o->refresh.reason);
}

/*
 * Refreshes a peer and adds the entry of the peer to the answer of bgp.refresh. True: a part of
 * `job` is under way.
 */
static bool
refresh_one(struct apply *apply, struct peer_id id, enum family family, bool import, uint32_t job,
	json_t *peers) RUNS_ON(role_main)
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
		pending_include(apply, import ? &apply->refreshes->import[id.v][family] : waiting,
			id, family, job);
	/* no walk has begun: a later session starts with the new policies */
	if (o.refresh.policies != NULL && waiting->waits) {
		waiting->waits = false;
		jobs_advance(apply->jobs, waiting->job, 1);
	}
	if (runs && import)
		apply_plan_asked(apply, id, family, job);
	if (o.result == REFRESH_REPLAYED)
		begin_replay(apply, id, family, job);
	else if (runs)
		event_refresh(apply, id, family, "begin", job, NULL);
	/* keel-policy(7) rule 4: the command has no effect, but a delayed import is applied. */
	if (import && o.result == REFRESH_NO_OP && import_due(apply, id, family, &due))
		imports_begin(apply,
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
	apply_changes_finish(apply);
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
	if (running == 0) {
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
	pending_include(apply, &apply->refreshes->import[id.v][f], id, f, job);
	apply_plan_asked(apply, id, f, job);
	return job;
}

uint32_t
apply_replay(struct apply *apply, struct peer_id id, enum family f)
{
	uint32_t job = jobs_begin(apply->jobs, "refresh-import", 1);

	begin_replay(apply, id, f, job);
	pending_include(apply, &apply->refreshes->import[id.v][f], id, f, job);
	apply_plan_asked(apply, id, f, job);
	return job;
}

/* ---- by policy change ---- */

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
pending_begin(struct apply *apply, struct pending_refresh *p, const char *kind) RUNS_ON(role_main)
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

/* Ends the delay of an import and writes the refresh to *out. False: no import is delayed. */
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
import_way(struct apply *apply, struct import_item *m) RUNS_ON(role_main)
{
	const struct pending_refresh *p = &apply->refreshes->import[m->id.v][m->family];
	struct session_view v = {.established_count = m->established};

	if (m->established != p->established)
		m->way = IMPORT_DONE; /* a later session, under the new policy from the start */
	else if (!apply->applied[m->id.v].keep[m->family])
		m->way = IMPORT_REQUEST;
	else
		m->way = apply_is_filled(apply, m->id, m->family, &v) ? IMPORT_REPLAY : IMPORT_FILL;
}

/* Handles the result of a request. */
static void
import_result(struct apply *apply, const struct import_item *m) RUNS_ON(role_main)
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

/*
 * Begins the refreshes of all peers: the session thread reports the sessions, then sends the
 * requests; the shards get one message.
 */
static void
imports_begin(struct apply *apply, struct import_items *x)
{
	if (x->count == 0)
		return;
	layers_call_session(apply->layers, session_read_counts, x);
	for (unsigned i = 0; i < x->count; i++) {
		import_way(apply, &x->item[i]);
		apply_plan_asked(apply, x->item[i].id, x->item[i].family, x->item[i].job);
	}
	layers_call_session(apply->layers, session_send_requests, x);
	for (unsigned i = 0; i < x->count; i++) {
		struct import_item *m = &x->item[i];

		if (m->way == IMPORT_FILL && !action_runs(m->action))
			m->way = IMPORT_REPLAY; /* of the routes kept so far */
	}
	begin_replays(apply, x);
	for (unsigned i = 0; i < x->count; i++) {
		const struct import_item *m = &x->item[i];

		if (m->way == IMPORT_DONE) {
			apply_plan_end(apply, m->id, m->family);
			jobs_advance(apply->jobs, m->job, 1);
		} else if (m->way != IMPORT_REPLAY) {
			import_result(apply, m);
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

/* The delayed export policies of all sessions, for one message. */
struct due_policies {
	const struct layers *layers;
	struct {
		struct peer_id id;
		struct session_policies policies;
	} * peer;
	unsigned count;
};

static void
session_set_policies(void *arg) RUNS_ON(role_session)
{
	struct due_policies *d = arg;

	for (unsigned i = 0; i < d->count; i++)
		session_export_policies(d->layers->speaker, d->peer[i].id, &d->peer[i].policies);
	speaker_plan_settle(d->layers->speaker);
}

/* Applies all delayed exports. False: out of memory, and the exports stay delayed. */
static bool
exports_begin(struct apply *apply) RUNS_ON(role_main)
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
		layers_call_session(apply->layers, session_set_policies, &d);
	apply_export_jobs(apply, items, n);
	free(d.peer);
	free(items);
	return memory;
}

static void
pending_run(struct apply *apply) RUNS_ON(role_main)
{
	struct import_items x = {.layers = apply->layers,
		.item = calloc((size_t)PEER_MAX * FAMILY_COUNT, sizeof(*x.item))};

	/*
	 * Tries again later. Until then old configurations stay, because sessions run the old
	 * export policies.
	 */
	if (x.item == NULL || !exports_begin(apply)) {
		free(x.item);
		timer_arm(apply->layers->main_thread, &apply->refreshes->timer, MEMORY_RETRY_NS);
		return;
	}
	apply->refreshes->first_ns = 0;
	for (struct peer_id id = {0}; (id = peers_next(apply->peers, id)).v != 0;)
		for (unsigned f = 0; f < FAMILY_COUNT; f++)
			x.count += import_due(apply, id, (enum family)f, &x.item[x.count]);
	imports_begin(apply, &x);
	free(x.item);
	apply_plan_go(apply);
	apply_config_release(apply);
}

static void
pending_fire(struct timer *t) RUNS_ON(role_main)
{
	struct apply_refreshes *refreshes =
		(struct apply_refreshes *)(void *)((char *)t -
						   offsetof(struct apply_refreshes, timer));

	apply_changes_finish(refreshes->apply);
	pending_run(refreshes->apply);
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
			return; /* leaked, because threads may use the policies */
		}
		apply->refreshes->held = grown;
		apply->refreshes->held_size = size;
	}
	if (holds)
		apply->refreshes->held[apply->refreshes->held_count++] = old;
	else
		config_free(old);
}

/* A later change restarts the delay, up to the maximum since the first change. */
void
apply_pending_schedule(struct apply *apply)
{
	uint64_t now = now_ns(),
		 delay = (uint64_t)apply->running->policy_change_delay_s * 1000000000u;
	uint64_t max = (uint64_t)apply->running->policy_change_max_delay_s * 1000000000u;

	if (!apply->refreshes->changed && (delay != 0 || apply->refreshes->first_ns == 0)) {
		if (apply->refreshes->first_ns == 0) /* no refresh is needed */
			apply_plan_go(apply);
		return;
	}
	apply->refreshes->changed = false;
	if (delay == 0) { /* also for changes that an earlier commit has delayed */
		pending_run(apply);
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
pending_drop_one(struct apply *apply, struct pending_refresh *p) RUNS_ON(role_main)
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
	shard_waits_end(apply, id);
}

/* ---- life ---- */

int
apply_refreshes_create(struct apply *apply)
{
	struct apply_refreshes *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return -ENOMEM;
	r->apply = apply;
	r->timer.fire = pending_fire;
	r->shard_waits_timer.fire = shard_waits_poll;
	apply->refreshes = r;
	return 0;
}

void
apply_refreshes_destroy(struct apply *apply)
{
	if (apply->refreshes == NULL)
		return;
	timer_cancel(apply->layers->main_thread, &apply->refreshes->shard_waits_timer);
	timer_cancel(apply->layers->main_thread, &apply->refreshes->timer);
	held_free(apply);
	free(apply->refreshes->held);
	while (apply->refreshes->shard_waits != NULL) {
		struct shard_wait *r = apply->refreshes->shard_waits;

		apply->refreshes->shard_waits = r->next;
		free(r);
	}
	while (apply->refreshes->followers != NULL) {
		struct follower *w = apply->refreshes->followers;

		apply->refreshes->followers = w->next;
		free(w);
	}
	free(apply->refreshes);
}
