/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply.h"

#include "control/host_routes.h"
#include "control/log.h"
#include "control/policy_compile.h"
#include "control/threads.h"
#include "rib/fib_feed.h"
#include "rib/policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLUSH_POLL_NS 100000000 /* how often a removed peer is asked whether its routes are gone */
#define SHARD_POLL_NS 2000000    /* how often the shard is asked whether it has reached an EoRR that the session has read */

/* One thing to do on another thread, and its answer. Lives on main's stack during thread_call(). */
struct order {
	struct keeld *k;
	struct peer_id id;
	const struct config_peer *config;
	struct session_policies policies;
	const struct policy *import;
	enum family family;
	uint32_t job;
	struct shard_settings settings;
	bool via_default;
	struct session_view view;
	int result;
	const char *reason;
};

/* ---- refreshes that wait for policy_change_delay_s ---- */

struct pending_refresh {
	bool waits;
	uint32_t job;
};

/* A job whose EoRR the session has read and handed on: it ends when the shard has judged all that came before. */
struct reaching {
	struct reaching *next;
	struct peer_id peer;
	enum family family;
	uint32_t job;
	uint64_t eorrs; /* of this peer and family that the shard must have seen */
};

/* The job of a policy change that a refresh by command did not leave waiting: it ends with the command's for that peer and family. */
struct follower {
	struct follower *next;
	struct peer_id peer;
	enum family family;
	uint32_t job, follows;
};

/* Which policies a peer's session and the shard run. */
struct applied {
	const struct policy *import[FAMILY_COUNT];
	struct session_policies session;
};

static struct {
	struct pending_refresh import[PEER_MAX][FAMILY_COUNT], export[PEER_MAX][FAMILY_COUNT];
	bool changed; /* some of them began to wait in this commit */
	struct applied applied[PEER_MAX];
	/* Old configurations whose export policies are run until the delay is over. */
	struct config **held;
	unsigned held_count, held_size;
	struct follower *followers;
	struct reaching *reaching;
	struct timer reaching_timer;
	struct timer timer;
	uint64_t first_ns; /* the oldest change that waits; 0: none does */
	struct timer flush_timer;
	struct keeld *k;
} apply;

struct peer_id
keeld_peer_id(const struct keeld *k, const struct config_peer *c)
{
	if (c >= k->running->peers && c < k->running->peers + k->running->peer_count)
		return k->peer_of_config[c - k->running->peers];
	for (uint16_t i = 1; i < PEER_MAX; i++) {
		if (k->peers[i].config == c)
			return k->peers[i].id;
	}
	return (struct peer_id){0};
}

const struct config_peer *
keeld_peer_config(const struct keeld *k, struct peer_id id)
{
	return id.v < PEER_MAX ? k->peers[id.v].config : NULL;
}

/* The first dynamic peer with a higher id. */
static struct peer_id
dynamic_next(const struct keeld *k, uint16_t after)
{
	for (unsigned i = after + 1u; i < PEER_MAX; i++) {
		if (k->peers[i].config != NULL && k->peers[i].config->dynamic)
			return k->peers[i].id;
	}
	return (struct peer_id){0};
}

struct peer_id
keeld_peer_next(const struct keeld *k, struct peer_id after)
{
	const struct config_peer *c = keeld_peer_config(k, after);
	unsigned next = 0;

	if (c != NULL && c->dynamic)
		return dynamic_next(k, after.v);
	if (c != NULL)
		next = (unsigned)(c - k->running->peers) + 1;
	return next < k->running->peer_count ? k->peer_of_config[next] : dynamic_next(k, 0);
}

const struct config_peer *
keeld_peer_find(const struct keeld *k, struct vrf_id vrf, const struct ip_addr *addr)
{
	for (struct peer_id id = {0}; (id = keeld_peer_next(k, id)).v != 0;) {
		const struct config_peer *c = keeld_peer_config(k, id);

		if (c->vrf.v == vrf.v && addr_equal(&c->addr, addr))
			return c;
	}
	return NULL;
}

/* ---- orders, each on the thread that its name says ---- */

static struct shard_peer
shard_peer_of(struct peer_id id, const struct config_peer *c)
{
	struct shard_peer p = {
		.id = id,
		.vrf = c->vrf,
		.addr = c->addr,
		.external = c->external,
		.multihop = c->multihop != 0,
		.rr_client = c->route_reflector_client,
		.asn = c->asn,
	};

	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		p.allow_as_in[f] = c->families[f].allow_as_in;
	return p;
}

static void
rib_peer_add(void *arg)
{
	struct order *o = arg;
	struct shard_peer p = shard_peer_of(o->id, o->config);

	role_enter_rib();
	o->result = shard_peer_add(o->k->shard, &p);
}

static void
rib_peer_change(void *arg)
{
	struct order *o = arg;
	struct shard_peer p = shard_peer_of(o->id, o->config);

	role_enter_rib();
	o->result = shard_peer_change(o->k->shard, &p);
}

static void
rib_settings(void *arg)
{
	struct order *o = arg;

	role_enter_rib();
	shard_settings(o->k->shard, &o->settings);
}

static void
rib_peer_remove(void *arg)
{
	struct order *o = arg;

	role_enter_rib();
	o->result = shard_peer_idle(o->k->shard, o->id) ? shard_peer_remove(o->k->shard, o->id) : -EBUSY;
}

static void
rib_peer_import(void *arg)
{
	struct order *o = arg;

	role_enter_rib();
	shard_peer_import(o->k->shard, o->id, o->family, o->import);
}

static void
session_listen(void *arg)
{
	struct order *o = arg;

	role_enter_session();
	o->result = speaker_listen(o->k->speaker, VRF_DEFAULT);
}

static void
session_order_add(void *arg)
{
	struct order *o = arg;

	role_enter_session();
	o->result = session_add(o->k->speaker, o->id, o->config, &o->policies);
}

static void
session_order_remove(void *arg)
{
	struct order *o = arg;

	role_enter_session();
	session_remove(o->k->speaker, o->id);
}

static void
session_order_gone(void *arg)
{
	struct order *o = arg;

	role_enter_session();
	o->result = session_gone(o->k->speaker, o->id);
}

static void
session_order_export_policies(void *arg)
{
	struct order *o = arg;

	role_enter_session();
	session_export_policies(o->k->speaker, o->id, &o->policies);
}

static void
session_order_peek(void *arg)
{
	struct order *o = arg;

	role_enter_session();
	if (!session_peek(o->k->speaker, o->id, &o->view))
		o->view.state = FSM_IDLE;
}

static void
fib_via_default(void *arg)
{
	struct order *o = arg;

	role_enter_fib();
	fib_feed_resolve_via_default(o->k->feed, o->via_default);
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
session_order_refresh_import(void *arg)
{
	struct order *o = arg;

	role_enter_session();
	o->result = session_refresh_import(o->k->speaker, o->id, o->family, o->job, &o->reason);
}

static void
session_order_refresh_export(void *arg)
{
	struct order *o = arg;

	role_enter_session();
	o->result = session_refresh_export(o->k->speaker, o->id, o->family, o->job, &o->reason);
}

/* ---- peers ---- */

static struct session_policies
policies_of(const struct config *c, const struct config_peer *p)
{
	struct session_policies s = {0};

	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (p->families[f].export_policy != NULL)
			s.export_policy[f] = policy_set_find(c->policies, p->families[f].export_policy);
		s.has_import[f] = p->families[f].import_policy != NULL;
	}
	return s;
}

static const struct policy *
import_of(const struct config *c, const struct config_peer *p, enum family f)
{
	return p->families[f].import_policy != NULL ? policy_set_find(c->policies, p->families[f].import_policy) : NULL;
}

/* What the shard runs already stays as it is. */
static void
set_imports(struct keeld *k, const struct config *c, const struct config_peer *p, struct peer_id id, bool first)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct order o = {.k = k, .id = id, .family = (enum family)f, .import = policy_deny_all()};

		if (p->families[f].enabled)
			o.import = import_of(c, p, (enum family)f);
		if (!first && o.import == apply.applied[id.v].import[f])
			continue;
		thread_call(k->rib_thread, rib_peer_import, &o);
		apply.applied[id.v].import[f] = o.import;
	}
}

/* The shard may have thousands of this peer's UPDATEs before it, and its policies are about to be freed. */
static void
end_imports(struct keeld *k, struct peer_id id)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct order o = {.k = k, .id = id, .family = (enum family)f, .import = policy_deny_all()};

		thread_call(k->rib_thread, rib_peer_import, &o);
	}
}

/* A free id; .v == 0: none. An id whose routes are still flushed is not free. */
static struct peer_id
peer_id_new(struct keeld *k)
{
	for (uint16_t i = 1; i < PEER_MAX; i++) {
		if (!k->peers[i].used && !k->peers[i].removing) {
			k->peers[i] = (struct keeld_peer){.id = {i}, .used = true};
			return k->peers[i].id;
		}
	}
	return (struct peer_id){0};
}

static int
peer_start(struct keeld *k, const struct config *c, const struct config_peer *p, struct peer_id id)
{
	struct order o = {.k = k, .id = id, .config = p, .policies = policies_of(c, p)};

	thread_call(k->rib_thread, rib_peer_add, &o);
	if (o.result == 0) {
		set_imports(k, c, p, id, true);
		apply.applied[id.v].session = o.policies;
		thread_call(k->session_thread, session_order_add, &o);
	}
	if (o.result != 0)
		log_event(LOG_ERROR, "peer-not-started peer=%s vrf=%s error=\"%s\"", p->addr_text, p->vrf_name, strerror(-o.result));
	return o.result;
}

static void
flush_poll(struct timer *t)
{
	struct keeld *k = apply.k;
	bool more = false;

	for (uint16_t i = 1; i < PEER_MAX; i++) {
		struct order o = {.k = k, .id = {i}};

		if (!k->peers[i].removing)
			continue;
		/* The session first: it may still owe the shard the end of this peer. */
		thread_call(k->session_thread, session_order_gone, &o);
		if (o.result)
			thread_call(k->rib_thread, rib_peer_remove, &o);
		else
			o.result = -EBUSY;
		if (o.result == -EBUSY)
			more = true;
		else
			k->peers[i].removing = false;
	}
	if (more)
		timer_arm(k->main_thread, t, FLUSH_POLL_NS);
}

static void
pending_drop_one(struct keeld *k, struct pending_refresh *p)
{
	if (p->waits)
		jobs_fail_part(k->jobs, p->job, "peer-removed");
	p->waits = false;
}

/* The id may become another peer's. */
static void
pending_drop(struct keeld *k, struct peer_id id)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		pending_drop_one(k, &apply.import[id.v][f]);
		pending_drop_one(k, &apply.export[id.v][f]);
	}
}

static void
peer_stop(struct keeld *k, struct peer_id id)
{
	struct order o = {.k = k, .id = id};

	pending_drop(k, id);
	thread_call(k->session_thread, session_order_remove, &o);
	end_imports(k, id);
	k->peers[id.v].used = false;
	k->peers[id.v].config = NULL;
	k->peers[id.v].removing = true;
	timer_arm(k->main_thread, &apply.flush_timer, 0);
}

/* ---- refresh ---- */

static const struct config_peer *
peer_config_at(const struct keeld *k, unsigned i, const struct keeld_selector *s)
{
	const struct config_peer *p = &k->running->peers[i];

	if (p->vrf.v != s->vrf.v || !p->families[s->family].enabled)
		return NULL;
	switch (s->scope) {
	case SCOPE_ALL:
		return p;
	case SCOPE_PEER:
		return addr_equal(&p->addr, &s->peer) ? p : NULL;
	case SCOPE_GROUP:
		return p->group != NULL && strcmp(p->group, s->group) == 0 ? p : NULL;
	case SCOPE_INTERNAL:
		return p->external ? NULL : p;
	case SCOPE_EXTERNAL:
		return p->external ? p : NULL;
	case SCOPE_ASN:
		return p->asn == s->asn ? p : NULL;
	}
	return NULL;
}

unsigned
keeld_select(const struct keeld *k, const struct keeld_selector *s, struct peer_id *out, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < k->running->peer_count; i++) {
		if (peer_config_at(k, i, s) == NULL)
			continue;
		if (n < max)
			out[n] = k->peer_of_config[i];
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
	struct pending_refresh *p = &apply.import[id.v][family];
	struct follower *w = p->waits ? malloc(sizeof(*w)) : NULL;

	if (w == NULL)
		return; /* nothing waits, or it goes on waiting */
	*w = (struct follower){apply.followers, id, family, p->job, job};
	apply.followers = w;
	p->waits = false;
}

/* `job` has ended for this peer and family, and so have those that follow it there. `failed`: why, or NULL. */
static void
import_ended(struct keeld *k, struct peer_id peer, enum family family, uint32_t job, const char *failed)
{
	for (struct follower **at = &apply.followers, *w; (w = *at) != NULL;) {
		if (w->follows != job || w->peer.v != peer.v || w->family != family) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		if (failed != NULL)
			jobs_fail_part(k->jobs, w->job, failed);
		else
			jobs_advance(k->jobs, w->job, 1);
		free(w);
	}
	if (failed != NULL)
		jobs_fail_part(k->jobs, job, failed);
	else
		jobs_advance(k->jobs, job, 1);
}

/* The session takes the running configuration's export policy of that family. */
static void
export_take(struct keeld *k, const struct config_peer *p, struct peer_id id, enum family f)
{
	struct order o = {.k = k, .id = id, .policies = apply.applied[id.v].session};
	struct pending_refresh *pending = &apply.export[id.v][f];

	if (!pending->waits)
		return;
	pending->waits = false;
	o.policies.export_policy[f] = policies_of(k->running, p).export_policy[f];
	apply.applied[id.v].session = o.policies;
	thread_call(k->session_thread, session_order_export_policies, &o);
	jobs_advance(k->jobs, pending->job, 1);
}

/* One peer's answer of bgp.refresh. */
static json_t *
refresh_one(struct keeld *k, struct peer_id id, enum family family, bool import, uint32_t job, bool *runs)
{
	const struct config_peer *p = keeld_peer_config(k, id);
	struct order o = {.k = k, .id = id, .family = family, .job = job};
	json_t *j;

	if (!import)
		export_take(k, p, id, family); /* contract section 5.7: a command applies at once */
	thread_call(k->session_thread, import ? session_order_refresh_import : session_order_refresh_export, &o);
	*runs = action_runs((enum refresh_action)o.result);
	if (*runs && import)
		pending_taken(id, family, job);
	j = json_pack("{s:s, s:s, s:s}", "address", p->addr_text, "vrf", p->vrf_name, "action",
		refresh_action_text((enum refresh_action)o.result));
	if (j != NULL && o.reason != NULL)
		json_object_set_new(j, "reason", json_string(o.reason));
	return j;
}

int
keeld_refresh(struct keeld *k, const struct keeld_selector *s, bool import, json_t **peers, uint32_t *job)
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
		bool runs;

		json_array_append_new(*peers, refresh_one(k, ids[i], s->family, import, *job, &runs));
		if (runs)
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

static void
reaching_poll(struct timer *t)
{
	struct keeld *k = apply.k;

	for (struct reaching **at = &apply.reaching, *r; (r = *at) != NULL;) {
		struct adj_rib_in_counts counts = {0};

		shard_peer_counts(k->shard, r->peer, r->family, &counts);
		if (k->peers[r->peer.v].used && counts.eorr_received + counts.eorr_ignored < r->eorrs) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		import_ended(k, r->peer, r->family, r->job, NULL);
		free(r);
	}
	if (apply.reaching != NULL)
		timer_arm(k->main_thread, t, SHARD_POLL_NS);
}

static void
import_done(struct keeld *k, const struct session_event *e)
{
	struct order o = {.k = k, .id = e->peer};
	struct reaching *r = e->framed ? malloc(sizeof(*r)) : NULL;

	if (r == NULL) {
		import_ended(k, e->peer, e->family, e->job, NULL);
		return;
	}
	thread_call(k->session_thread, session_order_peek, &o);
	*r = (struct reaching){apply.reaching, e->peer, e->family, e->job, o.view.families[e->family].eorr_received};
	apply.reaching = r;
	reaching_poll(&apply.reaching_timer);
}

void
keeld_session_event(struct keeld *k, const struct session_event *e)
{
	if (e->job == 0)
		return;
	if (e->kind == SESSION_REFRESH_DONE)
		import_done(k, e);
	else if (e->kind == SESSION_EXPORT_DONE)
		jobs_advance(k->jobs, e->job, 1);
	else if (e->kind == SESSION_REFRESH_FAILED)
		import_ended(k, e->peer, e->family, e->job, "session-lost-or-stale-timer");
}

/* ---- policy changes refresh by themselves ---- */

static void
import_ask(struct keeld *k, struct peer_id id, enum family f)
{
	struct pending_refresh *p = &apply.import[id.v][f];
	struct order o = {.k = k, .id = id, .family = f, .job = p->job};

	if (!p->waits)
		return;
	p->waits = false;
	thread_call(k->session_thread, session_order_refresh_import, &o);
	if (!action_runs((enum refresh_action)o.result))
		jobs_fail_part(k->jobs, p->job, refresh_action_text((enum refresh_action)o.result));
}

static void
held_free(void)
{
	while (apply.held_count > 0)
		config_free(apply.held[--apply.held_count]);
}

static void
pending_run(struct timer *t)
{
	struct keeld *k = apply.k;

	(void)t;
	apply.first_ns = 0;
	for (unsigned i = 0; i < k->running->peer_count; i++) {
		for (unsigned f = 0; f < FAMILY_COUNT; f++) {
			import_ask(k, k->peer_of_config[i], (enum family)f);
			export_take(k, &k->running->peers[i], k->peer_of_config[i], (enum family)f);
		}
	}
	held_free();
}

/* Its policies may be run until the delay is over. */
static void
config_hold(struct config *old)
{
	if (apply.first_ns != 0 && apply.held_count == apply.held_size) {
		unsigned size = apply.held_size != 0 ? 2 * apply.held_size : 4;
		struct config **grown = realloc(apply.held, size * sizeof(struct config *));

		if (grown == NULL) {
			pending_run(&apply.timer);
		} else {
			apply.held = grown;
			apply.held_size = size;
		}
	}
	if (apply.first_ns != 0)
		apply.held[apply.held_count++] = old;
	else
		config_free(old);
}

/* A later change restarts the delay, up to the maximum since the first one. */
static void
pending_schedule(struct keeld *k)
{
	uint64_t now = now_ns(), delay = (uint64_t)k->running->policy_change_delay_s * 1000000000u;
	uint64_t max = (uint64_t)k->running->policy_change_max_delay_s * 1000000000u;

	if (!apply.changed)
		return;
	apply.changed = false;
	if (delay == 0) {
		pending_run(&apply.timer);
		return;
	}
	if (apply.first_ns == 0)
		apply.first_ns = now;
	if (now + delay > apply.first_ns + max)
		delay = apply.first_ns + max > now ? apply.first_ns + max - now : 0;
	timer_arm(k->main_thread, &apply.timer, delay);
}

static void
effect_add(json_t *effects, const struct config_peer *p, enum family f, const char *direction, const char *effect,
	const char *reason, uint32_t job)
{
	json_t *e = json_pack("{s:s, s:s, s:s, s:s, s:s}", "address", p->addr_text, "vrf", p->vrf_name, "family",
		family_text(f), "direction", direction, "effect", effect);

	if (e != NULL && reason != NULL)
		json_object_set_new(e, "reason", json_string(reason));
	if (e != NULL && job != 0)
		json_object_set_new(e, "job", json_integer(job));
	json_array_append_new(effects, e);
}

/* Why a policy change has nothing to do for that family, or NULL. */
static const char *
not_in_use(const struct session_view *v, enum family f)
{
	if (v->state != FSM_ESTABLISHED)
		return "not-established";
	return v->families[f].negotiated ? NULL : "not-negotiated";
}

static uint32_t
pending_begin(struct keeld *k, struct pending_refresh *p, const char *kind)
{
	if (!p->waits)
		*p = (struct pending_refresh){.waits = true, .job = jobs_begin(k->jobs, kind, 1)};
	apply.changed = true;
	return p->job;
}

/* The import policy of an established session changed: ask for everything again, or say that nobody can. */
static void
effect_import(struct keeld *k, const struct config_peer *p, enum family f, struct peer_id id, const struct session_view *v,
	json_t *effects)
{
	const char *idle = not_in_use(v, f);

	if (idle != NULL)
		effect_add(effects, p, f, "import", "none", idle, 0);
	else if (!v->route_refresh.negotiated)
		effect_add(effects, p, f, "import", "not-applied", "no-route-refresh", 0);
	else
		effect_add(effects, p, f, "import", "route-refresh-sent", NULL,
			pending_begin(k, &apply.import[id.v][f], "refresh-import"));
}

static bool
policy_same(const struct config *a, const struct config *b, const char *pa, const char *pb)
{
	if (pa == NULL || pb == NULL)
		return pa == pb;
	return strcmp(pa, pb) == 0 && policy_set_same(a->policies, b->policies, pa);
}

/* What of a family's keys, beside the policy, decides what is sent. */
static bool
export_rules_same(const struct config_peer *a, const struct config_peer *b, unsigned f)
{
	const struct config_family *x = &a->families[f], *y = &b->families[f];

	return x->next_hop_self == y->next_hop_self && x->next_hop_unchanged == y->next_hop_unchanged &&
	       x->send_communities == y->send_communities && x->remove_private_as == y->remove_private_as &&
	       x->as_override == y->as_override && x->default_originate == y->default_originate &&
	       a->route_reflector_client == b->route_reflector_client;
}

/* One peer in two configurations. */
struct change {
	const struct config *old, *next;
	const struct config_peer *was, *is;
	struct peer_id id;
	struct session_view view; /* before the change */
};

static bool
export_policy_same(const struct change *c, unsigned f)
{
	return policy_same(c->old, c->next, c->was->families[f].export_policy, c->is->families[f].export_policy);
}

/* With a delay the session goes on with the export policies that it has. */
static void
exports_delay(struct keeld *k, const struct change *c, struct session_policies *p)
{
	if (c->next->policy_change_delay_s == 0)
		return;
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (!c->is->families[f].enabled || not_in_use(&c->view, (enum family)f) != NULL)
			continue;
		if (!export_policy_same(c, f))
			pending_begin(k, &apply.export[c->id.v][f], "refresh-export");
		if (apply.export[c->id.v][f].waits)
			p->export_policy[f] = apply.applied[c->id.v].session.export_policy[f];
	}
}

/* Those that wait no more: export policies taken with the whole configuration; a new session begins with all that is new. */
static void
pending_done(struct keeld *k, struct peer_id id, const struct session_policies *want, bool reset)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct pending_refresh *export = &apply.export[id.v][f], *import = &apply.import[id.v][f];

		if (export->waits && apply.applied[id.v].session.export_policy[f] == want->export_policy[f]) {
			export->waits = false;
			jobs_advance(k->jobs, export->job, 1);
		}
		if (import->waits && reset) {
			import->waits = false;
			jobs_advance(k->jobs, import->job, 1);
		}
	}
}

/* What the shard knows of it beside policies. */
static void
peer_shard_change(struct keeld *k, const struct change *c)
{
	struct order o = {.k = k, .id = c->id, .config = c->is};
	bool same = c->was->route_reflector_client == c->is->route_reflector_client && (c->was->multihop != 0) == (c->is->multihop != 0);

	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		same = same && c->was->families[f].allow_as_in == c->is->families[f].allow_as_in;
	if (same)
		return;
	thread_call(k->rib_thread, rib_peer_change, &o);
	if (o.result != 0)
		log_event(LOG_ERROR, "peer-not-changed peer=%s vrf=%s error=\"%s\"", c->is->addr_text, c->is->vrf_name,
			strerror(-o.result));
}

/* RFC 4456 8: it stands in front of what is reflected, and is what a loop is known by. */
static bool
cluster_same(const struct change *c)
{
	return c->is->external || c->old->cluster_id == c->next->cluster_id;
}

static void
effects_of(struct keeld *k, const struct change *c, bool reset, json_t *effects)
{
	for (unsigned i = 0; i < FAMILY_COUNT; i++) {
		const struct config_family *a = &c->was->families[i], *b = &c->is->families[i];
		const struct pending_refresh *waits = &apply.export[c->id.v][i];
		enum family f = (enum family)i;
		const char *idle = not_in_use(&c->view, f);

		if (!a->enabled && !b->enabled)
			continue;
		if (reset) {
			effect_add(effects, c->is, f, "import", "session-reset", "configuration-change", 0);
			continue;
		}
		if (!policy_same(c->old, c->next, a->import_policy, b->import_policy) || a->allow_as_in != b->allow_as_in ||
			!cluster_same(c))
			effect_import(k, c->is, f, c->id, &c->view, effects);
		if (export_policy_same(c, i) && export_rules_same(c->was, c->is, i) && cluster_same(c))
			continue;
		effect_add(effects, c->is, f, "export", idle != NULL ? "none" : "readvertised", idle, waits->waits ? waits->job : 0);
	}
}

/* A peer that is in both configurations. */
static void
peer_change(struct keeld *k, const struct change *given, json_t *effects)
{
	struct order o = {.k = k, .id = given->id, .config = given->is};
	struct session_policies want = policies_of(given->next, given->is);
	struct change c = *given;
	bool reset;

	thread_call(k->session_thread, session_order_peek, &o);
	c.view = o.view;
	peer_shard_change(k, &c);
	set_imports(k, c.next, c.is, c.id, false);
	o.policies = want;
	if (!session_update_resets(c.was, c.is))
		exports_delay(k, &c, &o.policies);
	thread_call(k->session_thread, session_order_update, &o);
	reset = o.result != 0;
	if (reset) {
		o.policies = want;
		thread_call(k->session_thread, session_order_export_policies, &o);
	}
	apply.applied[c.id.v].session = o.policies;
	pending_done(k, c.id, &want, reset);
	effects_of(k, &c, reset, effects);
}

/* ---- commit ---- */

/* What this version reads only at start. */
static void
check_restart_keys(const struct config *old, const struct config *next, struct faults *f)
{
	static const char *const keys[] = {"router", "dataplane", "management", "vrfs", "ports"};
	static const char why[] = "cannot be changed while keeld runs; change the file and restart it";

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		json_t *a = json_object_get(old->document, keys[i]), *b = json_object_get(next->document, keys[i]);
		char path[32];

		if (a == b || (a != NULL && b != NULL && json_equal(a, b)))
			continue;
		snprintf(path, sizeof(path), "/%s", keys[i]);
		faults_add(f, path, why);
	}
	if (old->next_hop_tracking != next->next_hop_tracking)
		faults_add(f, "/bgp/next_hop_tracking", why);
}

/* Ids of the next configuration's peers: those that stay keep theirs. NULL: out of memory, or of ids (then a fault). */
static struct peer_id *
ids_for(struct keeld *k, const struct config *next, struct faults *f)
{
	struct peer_id *ids = calloc(next->peer_count + 1, sizeof(*ids));

	for (unsigned i = 0; ids != NULL && i < next->peer_count; i++) {
		const struct config_peer *was = config_peer_find(k->running, next->peers[i].vrf, &next->peers[i].addr);

		ids[i] = was != NULL ? keeld_peer_id(k, was) : peer_id_new(k);
		if (ids[i].v != 0)
			continue;
		faults_add(f, "/bgp/peers", "more than %u peers", PEER_MAX - 1);
		for (unsigned n = 0; n < i; n++) {
			if (config_peer_find(k->running, next->peers[n].vrf, &next->peers[n].addr) == NULL)
				k->peers[ids[n].v].used = false;
		}
		free(ids);
		return NULL;
	}
	if (ids == NULL)
		faults_add(f, "", "out of memory");
	return ids;
}

static enum family
first_family(const struct config_peer *p)
{
	unsigned f = 0;

	while (f + 1 < FAMILY_COUNT && !p->families[f].enabled)
		f++;
	return p->families[f].enabled ? (enum family)f : FAMILY_IPV4_UNICAST;
}

static void
apply_peers(struct keeld *k, struct config *old, const struct peer_id *old_ids, struct config *next, json_t *effects)
{
	for (unsigned i = 0; i < old->peer_count; i++) {
		if (config_peer_find(next, old->peers[i].vrf, &old->peers[i].addr) == NULL) {
			peer_stop(k, old_ids[i]);
			effect_add(effects, &old->peers[i], first_family(&old->peers[i]), "import", "session-reset", "peer-removed", 0);
		}
	}
	for (unsigned i = 0; i < next->peer_count; i++) {
		const struct config_peer *is = &next->peers[i];
		const struct config_peer *was = config_peer_find(old, is->vrf, &is->addr);

		if (was != NULL)
			peer_change(k, &(struct change){.old = old, .next = next, .was = was, .is = is, .id = k->peer_of_config[i]}, effects);
		else
			peer_start(k, next, is, k->peer_of_config[i]);
	}
}

static void
apply_settings(struct keeld *k, const struct config *old, const struct config *next)
{
	struct order o = {.k = k, .settings = {next->cluster_id, next->max_paths, next->tombstones_max}};

	if (old == NULL || old->cluster_id != next->cluster_id || old->max_paths != next->max_paths ||
		old->tombstones_max != next->tombstones_max)
		thread_call(k->rib_thread, rib_settings, &o);
	o.via_default = next->resolve_via_default;
	if (old == NULL || old->resolve_via_default != next->resolve_via_default)
		thread_call(k->fib_thread, fib_via_default, &o);
}

int
keeld_commit(struct keeld *k, json_t *document, const char *comment, json_t **effects, bool *persisted, struct faults *f)
{
	struct config *next = config_parse(document, f), *old = k->running;
	struct peer_id *ids, *old_ids = k->peer_of_config;
	char text[256];
	int err;

	if (next == NULL)
		return -EINVAL;
	check_restart_keys(old, next, f);
	ids = f->count == 0 ? ids_for(k, next, f) : NULL;
	if (ids == NULL) {
		config_free(next);
		return -EINVAL;
	}
	*effects = json_array();
	k->running = next;
	k->peer_of_config = ids;
	for (unsigned i = 0; i < next->peer_count; i++)
		k->peers[ids[i].v].config = &next->peers[i];
	k->revision++;
	policy_set_keep(next->policies, old->policies);
	apply_settings(k, old, next);
	apply_peers(k, old, old_ids, next, *effects);
	keeld_host_routes_apply(k, old, next);
	pending_schedule(k);
	err = config_save(k->config_file, document);
	*persisted = err == 0;
	if (err != 0)
		log_event(LOG_ERROR, "commit-not-persisted file=%s error=\"%s\"", k->config_file, strerror(-err));
	k->next_commit_id++;
	if (comment == NULL)
		comment = "";
	log_event(LOG_INFO, "commit id=%u revision=%u effects=%zu comment=%s", k->next_commit_id, k->revision, json_array_size(*effects),
		log_escape(comment, strlen(comment), text, sizeof(text)));
	config_hold(old);
	free(old_ids);
	return 0;
}

int
keeld_apply_first(struct keeld *k)
{
	struct order o = {.k = k};

	apply.k = k;
	apply.timer.fire = pending_run;
	apply.flush_timer.fire = flush_poll;
	apply.reaching_timer.fire = reaching_poll;
	k->peer_of_config = calloc(k->running->peer_count + 1, sizeof(*k->peer_of_config));
	if (k->peer_of_config == NULL)
		return -ENOMEM;
	thread_call(k->session_thread, session_listen, &o);
	if (o.result != 0) {
		log_event(LOG_ERROR, "listen-failed port=179 error=\"%s\"", strerror(-o.result));
		return o.result;
	}
	apply_settings(k, NULL, k->running);
	keeld_host_routes_apply(k, NULL, k->running);
	for (unsigned i = 0; i < k->running->peer_count; i++) {
		int err;

		k->peer_of_config[i] = peer_id_new(k);
		k->peers[k->peer_of_config[i].v].config = &k->running->peers[i];
		err = k->peer_of_config[i].v != 0 ? peer_start(k, k->running, &k->running->peers[i], k->peer_of_config[i]) : -ENOSPC;
		if (err != 0)
			return err;
	}
	return 0;
}

/* All of them, whatever their number: nobody else tells the operator who sent SIGHUP. */
static void
log_reload_refused(const char *message, const struct faults *f)
{
	char path[256], reason[512];

	if (message != NULL)
		log_event(LOG_ERROR, "reload-refused reason=%s", log_escape(message, strlen(message), reason, sizeof(reason)));
	for (unsigned i = 0; i < f->count; i++) {
		const struct fault *one = &f->fault[i];

		log_write(&(struct log_site){0}, LOG_ERROR, "reload-refused path=%s reason=%s",
			log_escape(one->path, strlen(one->path), path, sizeof(path)),
			log_escape(one->reason, strlen(one->reason), reason, sizeof(reason)));
	}
}

void
keeld_reload(struct keeld *k)
{
	struct faults f = {0};
	char *message = NULL;
	json_t *document, *effects = NULL;
	bool persisted;

	if (k->candidate_edited) {
		log_event(LOG_ERROR, "reload-refused reason=candidate-holds-edits");
		return;
	}
	document = config_load(k->config_file, &message, &f);
	if (document != NULL && keeld_commit(k, document, "SIGHUP", &effects, &persisted, &f) == 0) {
		json_decref(k->candidate);
		k->candidate = json_deep_copy(document);
		k->candidate_revision++;
	}
	log_reload_refused(message, &f);
	free(message);
	faults_fini(&f);
	json_decref(document);
	json_decref(effects);
}

void
keeld_apply_fini(struct keeld *k)
{
	free(k->peer_of_config);
	held_free();
	free(apply.held);
	while (apply.reaching != NULL) {
		struct reaching *r = apply.reaching;

		apply.reaching = r->next;
		free(r);
	}
	while (apply.followers != NULL) {
		struct follower *w = apply.followers;

		apply.followers = w->next;
		free(w);
	}
}
