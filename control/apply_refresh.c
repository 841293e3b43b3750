/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Refreshes: by command, and by a policy change after its delay (contract section 5). Jobs end here: with the session's event, when the shard has
 * judged what came before an EoRR, or when its replay of kept routes is through.
 */
#include "control/apply_impl.h"

#include "control/log.h"
#include "control/rpc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

static struct {
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
} refresh;

/* ---- orders ---- */

static void
rib_peer_replay(void *arg)
{
	struct order *o = arg;

	role_enter_rib();
	o->number = shard_peer_replay(o->shard, o->id, o->family);
}

static void
session_order_refresh_import(void *arg)
{
	struct order *o = arg;

	role_enter_session();
	o->result = session_refresh_import(o->k->speaker, o->id, o->family, o->job, &o->reason);
}

static void
session_order_refresh_fill(void *arg)
{
	struct order *o = arg;

	role_enter_session();
	o->result = session_refresh_fill(o->k->speaker, o->id, o->family, o->job, &o->reason);
}

static void
session_order_refresh_export(void *arg)
{
	struct order *o = arg;

	role_enter_session();
	o->result = session_refresh_export(o->k->speaker, o->id, o->family, o->job, &o->reason);
}

static void
session_order_export_job(void *arg)
{
	struct order *o = arg;

	role_enter_session();
	o->result = session_export_job(o->k->speaker, o->id, o->family, o->job);
}

/* ---- what is told ---- */

static void
event_refresh(struct keeld *k, struct peer_id id, enum family f, const char *event, uint32_t job,
	const char *failed)
{
	const struct config_peer *p = keeld_peer_config(k, id);
	const char *kind = jobs_kind(k->jobs, job);

	if (p == NULL || kind == NULL)
		return;
	rpc_event(k->rpc, "refresh",
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s*}", "event", event, "address",
			p->addr_text, "vrf", p->vrf_name, "family", family_text(f), "direction",
			strcmp(kind, "refresh-export") == 0 ? "export" : "import", "job",
			(json_int_t)job, "reason", failed));
}

static void
part_ended(struct keeld *k, struct peer_id id, enum family f, uint32_t job, const char *failed)
{
	event_refresh(k, id, f, "end", job, failed);
	if (failed != NULL)
		jobs_fail_part(k->jobs, job, failed);
	else
		jobs_advance(k->jobs, job, 1);
}

/* `job` has ended for this peer and family, and so have those that follow it there. `failed`: why, or NULL. */
static void
refresh_ended(
	struct keeld *k, struct peer_id peer, enum family family, uint32_t job, const char *failed)
{
	for (struct follower **at = &refresh.followers, *w; (w = *at) != NULL;) {
		if (w->follows != job || w->peer.v != peer.v || w->family != family) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		part_ended(k, peer, family, w->job, failed);
		free(w);
	}
	if (failed == NULL && refresh.filling[peer.v][family].job == job)
		refresh.filling[peer.v][family].job = 0;
	part_ended(k, peer, family, job, failed);
}

/* ---- what the shard has to reach ---- */

static bool
reached(const struct keeld *k, const struct reaching *r)
{
	struct adj_rib_in_counts counts = {0};

	shards_peer_counts(&k->shards, r->peer, r->family, &counts);
	return counts.replays_done >= r->replays &&
	       counts.eorr_received + counts.eorr_ignored >= r->eorrs;
}

/* Those that are reached, and those of `gone`, whose id may be another peer's soon. */
static void
reaching_end(struct keeld *k, struct peer_id gone)
{
	for (struct reaching **at = &refresh.reaching, *r; (r = *at) != NULL;) {
		bool lost = r->peer.v == gone.v;

		if (!lost && !reached(k, r)) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		refresh_ended(k, r->peer, r->family, r->job, lost ? "peer-removed" : NULL);
		free(r);
	}
}

static void
reaching_poll(struct timer *t)
{
	struct keeld *k = apply.k;

	reaching_end(k, (struct peer_id){0});
	if (refresh.reaching != NULL)
		timer_arm(k->main_thread, t, SHARD_POLL_NS);
}

/* Without memory the job ends now. */
static void
reach(struct keeld *k, const struct reaching *wanted)
{
	struct reaching *r = malloc(sizeof(*r));

	if (r == NULL) {
		refresh_ended(k, wanted->peer, wanted->family, wanted->job, NULL);
		return;
	}
	*r = *wanted;
	r->next = refresh.reaching;
	refresh.reaching = r;
	timer_arm(k->main_thread, &refresh.reaching_timer, SHARD_POLL_NS);
}

/* What is kept of the peer, judged anew (contract section 5.3, 5.4). */
static void
replay(struct keeld *k, struct peer_id id, enum family f, uint32_t job)
{
	struct order o = {.k = k, .id = id, .family = f};

	event_refresh(k, id, f, "begin", job, NULL);
	keeld_on_shards(k, rib_peer_replay, &o, &o.shard);
	reach(k, &(struct reaching){.peer = id, .family = f, .job = job, .replays = o.number});
}

static void
import_done(struct keeld *k, const struct session_event *e)
{
	struct session_view view;

	if (!e->framed) {
		refresh_ended(k, e->peer, e->family, e->job, NULL);
		return;
	}
	apply_peek(k, e->peer, &view);
	reach(k, &(struct reaching){.peer = e->peer,
			 .family = e->family,
			 .job = e->job,
			 .eorrs = view.families[e->family].eorr_received});
}

static void
event_session(struct keeld *k, const struct session_event *e)
{
	const struct config_peer *p = keeld_peer_config(k, e->peer);
	struct session_view view;

	if (p == NULL)
		return;
	apply_peek(k, e->peer, &view);
	rpc_event(k->rpc, "session",
		json_pack("{s:s, s:s, s:s, s:s*}", "event", e->kind == SESSION_UP ? "up" : "down",
			"address", p->addr_text, "vrf", p->vrf_name, "reason",
			e->kind == SESSION_DOWN && view.last_error[0] != '\0' ? view.last_error
									      : NULL));
}

void
keeld_session_event(struct keeld *k, const struct session_event *e)
{
	switch (e->kind) {
	case SESSION_UP:
		apply_dynamic_event(k, e);
		event_session(k, e);
		break;
	case SESSION_DOWN:
		event_session(k, e);
		break;
	case SESSION_REFRESH_SENT:
		break;
	case SESSION_REFRESH_DONE:
		if (e->job != 0)
			import_done(k, e);
		break;
	case SESSION_EXPORT_DONE:
		if (e->job != 0)
			refresh_ended(k, e->peer, e->family, e->job, NULL);
		break;
	case SESSION_REFRESH_FAILED:
		if (e->job != 0)
			refresh_ended(k, e->peer, e->family, e->job, "session-lost-or-stale-timer");
		break;
	case SESSION_DYNAMIC:
	case SESSION_DYNAMIC_GONE:
		apply_dynamic_event(k, e);
		break;
	}
}

/* ---- by command ---- */

static bool
selects(const struct keeld_selector *s, const struct config_peer *p)
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
keeld_select(
	const struct keeld *k, const struct keeld_selector *s, struct peer_id *out, unsigned max)
{
	unsigned n = 0;

	for (struct peer_id id = {0}; (id = keeld_peer_next(k, id)).v != 0;) {
		if (!selects(s, keeld_peer_config(k, id)))
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

/* A command applies at once what a policy change has waiting (contract section 5.7): one request for both. */
static void
pending_taken(struct peer_id id, enum family family, uint32_t job)
{
	struct pending_refresh *p = &refresh.import[id.v][family];
	struct follower *w = p->waits ? malloc(sizeof(*w)) : NULL;

	if (w == NULL)
		return; /* nothing waits, or it goes on waiting */
	*w = (struct follower){refresh.followers, id, family, p->job, job};
	refresh.followers = w;
	p->waits = false;
}

/* Differences that the session owes: the job ends with them. False: there is nothing to wait for. */
static bool
export_job_runs(struct keeld *k, struct peer_id id, enum family f, uint32_t job)
{
	struct order o = {.k = k, .id = id, .family = f, .job = job};

	thread_call(k->session_thread, session_order_export_job, &o);
	if (o.result)
		event_refresh(k, id, f, "begin", job, NULL);
	return o.result;
}

uint32_t
apply_export_job(struct keeld *k, struct peer_id id, enum family f, uint32_t job)
{
	uint32_t own = job != 0 ? job : jobs_begin(k->jobs, "refresh-export", 1);

	if (own != 0 && export_job_runs(k, id, f, own))
		return own;
	if (job != 0)
		jobs_advance(k->jobs, job, 1);
	else
		jobs_forget(k->jobs, own);
	return job;
}

/* The session takes the running configuration's export policy of that family. */
static void
export_take(struct keeld *k, const struct config_peer *p, struct peer_id id, enum family f)
{
	struct session_policies policies = apply.applied[id.v].session;
	struct pending_refresh *pending = &refresh.export[id.v][f];

	if (!pending->waits)
		return;
	pending->waits = false;
	policies.export_policy[f] = apply_policies_of(k->running, p).export_policy[f];
	apply_export_policies(k, id, &policies);
	apply_export_job(k, id, f, pending->job);
}

static void import_ask(struct keeld *k, struct peer_id id, enum family f);

static json_t *
refresh_answer(const struct config_peer *p, const struct order *o)
{
	return json_pack("{s:s, s:s, s:s, s:s*}", "address", p->addr_text, "vrf", p->vrf_name,
		"action", refresh_action_text((enum refresh_action)o->result), "reason", o->reason);
}

/* One peer's answer of bgp.refresh. True: `job` has a part that runs. */
static bool
refresh_one(struct keeld *k, struct peer_id id, enum family family, bool import, uint32_t job,
	json_t *peers)
{
	const struct config_peer *p = keeld_peer_config(k, id);
	struct order o = {.k = k, .id = id, .family = family, .job = job};
	bool runs;

	if (!import)
		export_take(k, p, id, family); /* contract section 5.7: a command applies at once */
	thread_call(k->session_thread,
		import ? session_order_refresh_import : session_order_refresh_export, &o);
	runs = action_runs((enum refresh_action)o.result);
	if (runs && import)
		pending_taken(id, family, job);
	if (o.result == REFRESH_REPLAYED)
		replay(k, id, family, job);
	else if (runs)
		event_refresh(k, id, family, "begin", job, NULL);
	/* Contract section 5.4: the command does nothing; what a commit has waiting is applied all the same. */
	if (import && o.result == REFRESH_NO_OP)
		import_ask(k, id, family);
	json_array_append_new(peers, refresh_answer(p, &o));
	return runs;
}

int
keeld_refresh(
	struct keeld *k, const struct keeld_selector *s, bool import, json_t **peers, uint32_t *job)
{
	struct peer_id *ids = calloc(PEER_MAX, sizeof(*ids));
	unsigned n, running = 0;

	if (ids == NULL)
		return -ENOMEM;
	n = keeld_select(k, s, ids, PEER_MAX);
	if (n == 0) {
		free(ids);
		return -ENOENT;
	}
	*peers = json_array();
	*job = jobs_begin(k->jobs, import ? "refresh-import" : "refresh-export", n);
	for (unsigned i = 0; i < n; i++) {
		if (refresh_one(k, ids[i], s->family, import, *job, *peers))
			running++;
		else
			jobs_advance(k->jobs, *job, 1);
	}
	free(ids);
	if (running == 0) { /* contract section 3: no job when nothing runs */
		jobs_forget(k->jobs, *job);
		*job = 0;
	}
	return 0;
}

bool
apply_is_filled(struct peer_id id, enum family f, const struct session_view *v)
{
	const struct filling *w = &refresh.filling[id.v][f];

	return w->job == 0 || w->established != v->established_count;
}

/* True: asked for, and `o->job` runs. */
static bool
fill(struct keeld *k, struct order *o)
{
	thread_call(k->session_thread, session_order_refresh_fill, o);
	if (!action_runs((enum refresh_action)o->result))
		return false;
	refresh.filling[o->id.v][o->family] = (struct filling){o->job, o->view.established_count};
	event_refresh(k, o->id, o->family, "begin", o->job, NULL);
	return true;
}

uint32_t
apply_fill(struct keeld *k, struct peer_id id, enum family f, const struct session_view *v)
{
	struct order o = {.k = k,
		.id = id,
		.family = f,
		.view = *v,
		.job = jobs_begin(k->jobs, "refresh-import", 1)};

	if (!fill(k, &o)) {
		jobs_forget(k->jobs, o.job);
		return 0;
	}
	pending_taken(id, f, o.job);
	return o.job;
}

uint32_t
apply_replay(struct keeld *k, struct peer_id id, enum family f)
{
	uint32_t job = jobs_begin(k->jobs, "refresh-import", 1);

	replay(k, id, f, job);
	pending_taken(id, f, job);
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
apply_note_not_applied(
	struct peer_id id, enum family f, const char *reason, const struct session_view *v)
{
	refresh.not_applied[id.v][f] = (struct not_applied){reason, v->established_count};
}

const char *
keeld_not_applied(
	const struct keeld *k, struct peer_id id, enum family f, const struct session_view *v)
{
	const struct not_applied *n = &refresh.not_applied[id.v][f];

	(void)k;
	return n->reason != NULL && n->established == v->established_count ? n->reason : NULL;
}

static uint32_t
pending_begin(struct keeld *k, struct pending_refresh *p, const char *kind)
{
	if (!p->waits)
		*p = (struct pending_refresh){.waits = true, .job = jobs_begin(k->jobs, kind, 1)};
	refresh.changed = true;
	return p->job;
}

uint32_t
apply_pending_import(
	struct keeld *k, struct peer_id id, enum family f, const struct session_view *v)
{
	struct pending_refresh *p = &refresh.import[id.v][f];
	uint32_t job = pending_begin(k, p, "refresh-import");

	p->established = v->established_count;
	return job;
}

uint32_t
apply_pending_export(struct keeld *k, struct peer_id id, enum family f)
{
	return pending_begin(k, &refresh.export[id.v][f], "refresh-export");
}

bool
apply_export_waits(struct peer_id id, enum family f, uint32_t *job)
{
	*job = refresh.export[id.v][f].job;
	return refresh.export[id.v][f].waits;
}

bool
apply_import_waits(struct peer_id id, enum family f)
{
	return refresh.import[id.v][f].waits;
}

/* The routes of a session that came up since then were judged by the new policy as they came. */
static void
import_ask(struct keeld *k, struct peer_id id, enum family f)
{
	struct pending_refresh *p = &refresh.import[id.v][f];
	struct order o = {.k = k, .id = id, .family = f, .job = p->job};

	if (!p->waits)
		return;
	p->waits = false;
	apply_peek(k, id, &o.view);
	if (o.view.established_count != p->established) {
		jobs_advance(k->jobs, p->job, 1);
		return;
	}
	if (apply.applied[id.v].keep[f] && !apply_is_filled(id, f, &o.view) && fill(k, &o))
		return;
	if (apply.applied[id.v].keep[f]) {
		replay(k, id, f, p->job);
		return;
	}
	thread_call(k->session_thread, session_order_refresh_import, &o);
	if (action_runs((enum refresh_action)o.result)) {
		event_refresh(k, id, f, "begin", p->job, NULL);
		return;
	}
	if (o.result == REFRESH_UNSUPPORTED)
		apply_note_not_applied(id, f, o.reason, &o.view);
	jobs_fail_part(k->jobs, p->job, refresh_action_text((enum refresh_action)o.result));
}

static void
held_free(void)
{
	while (refresh.held_count > 0)
		config_free(refresh.held[--refresh.held_count]);
}

static void
pending_run(struct timer *t)
{
	struct keeld *k = apply.k;

	(void)t;
	refresh.first_ns = 0;
	for (struct peer_id id = {0}; (id = keeld_peer_next(k, id)).v != 0;) {
		for (unsigned f = 0; f < FAMILY_COUNT; f++) {
			import_ask(k, id, (enum family)f);
			export_take(k, keeld_peer_config(k, id), id, (enum family)f);
		}
	}
	held_free();
}

void
apply_config_hold(struct config *old)
{
	if (refresh.first_ns != 0 && refresh.held_count == refresh.held_size) {
		unsigned size = refresh.held_size != 0 ? 2 * refresh.held_size : 4;
		struct config **grown = realloc(refresh.held, size * sizeof(struct config *));

		if (grown == NULL) {
			pending_run(&refresh.timer);
		} else {
			refresh.held = grown;
			refresh.held_size = size;
		}
	}
	if (refresh.first_ns != 0)
		refresh.held[refresh.held_count++] = old;
	else
		config_free(old);
}

/* A later change restarts the delay, up to the maximum since the first one. */
void
apply_pending_schedule(struct keeld *k)
{
	uint64_t now = now_ns(), delay = (uint64_t)k->running->policy_change_delay_s * 1000000000u;
	uint64_t max = (uint64_t)k->running->policy_change_max_delay_s * 1000000000u;

	if (!refresh.changed && (delay != 0 || refresh.first_ns == 0))
		return;
	refresh.changed = false;
	if (delay == 0) { /* from now on: what waits is due, too */
		pending_run(&refresh.timer);
		return;
	}
	if (refresh.first_ns == 0)
		refresh.first_ns = now;
	if (now + delay > refresh.first_ns + max)
		delay = refresh.first_ns + max > now ? refresh.first_ns + max - now : 0;
	timer_arm(k->main_thread, &refresh.timer, delay);
}

void
apply_pending_done(
	struct keeld *k, struct peer_id id, const struct session_policies *want, bool reset)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct pending_refresh *export = &refresh.export[id.v][f],
				       *import = &refresh.import[id.v][f];

		if (export->waits &&
			apply.applied[id.v].session.export_policy[f] == want->export_policy[f]) {
			export->waits = false;
			apply_export_job(k, id, (enum family)f, export->job);
		}
		if (import->waits && reset) {
			import->waits = false;
			jobs_advance(k->jobs, import->job, 1);
		}
	}
}

static void
pending_drop_one(struct keeld *k, struct pending_refresh *p)
{
	if (p->waits)
		jobs_fail_part(k->jobs, p->job, "peer-removed");
	p->waits = false;
}

void
apply_pending_drop(struct keeld *k, struct peer_id id)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		pending_drop_one(k, &refresh.import[id.v][f]);
		pending_drop_one(k, &refresh.export[id.v][f]);
		refresh.not_applied[id.v][f] = (struct not_applied){0};
		refresh.filling[id.v][f] = (struct filling){0};
	}
	reaching_end(k, id);
}

/* ---- life ---- */

void
apply_refresh_init(void)
{
	refresh.timer.fire = pending_run;
	refresh.reaching_timer.fire = reaching_poll;
}

void
apply_refresh_fini(void)
{
	held_free();
	free(refresh.held);
	while (refresh.reaching != NULL) {
		struct reaching *r = refresh.reaching;

		refresh.reaching = r->next;
		free(r);
	}
	while (refresh.followers != NULL) {
		struct follower *w = refresh.followers;

		refresh.followers = w->next;
		free(w);
	}
}
