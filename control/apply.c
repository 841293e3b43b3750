/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply.h"

#include "control/log.h"
#include "control/policy_compile.h"
#include "control/threads.h"
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
	const struct config_network *network;
	int result;
	const char *reason;
	bool present;
};

/* ---- refreshes that wait for policy_change_delay_s ---- */

struct pending_refresh {
	bool waits;
	uint32_t job;
	uint64_t first_ns; /* of the first change that it stands for */
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

static struct {
	struct pending_refresh import[PEER_MAX][FAMILY_COUNT];
	bool changed; /* some of them began to wait in this commit */
	struct follower *followers;
	struct reaching *reaching;
	struct timer reaching_timer;
	struct timer timer;
	uint64_t first_ns;
	struct timer flush_timer;
	struct keeld *k;
} apply;

struct peer_id
keeld_peer_id(const struct keeld *k, const struct config_peer *c)
{
	return k->peer_of_config[c - k->running->peers];
}

const struct config_peer *
keeld_peer_config(const struct keeld *k, struct peer_id id)
{
	for (unsigned i = 0; i < k->running->peer_count; i++) {
		if (k->peer_of_config[i].v == id.v)
			return &k->running->peers[i];
	}
	return NULL;
}

/* ---- orders, each on the thread that its name says ---- */

static void
rib_peer_add(void *arg)
{
	struct order *o = arg;
	struct shard_peer p = {
		.id = o->id,
		.vrf = o->config->vrf,
		.addr = o->config->addr,
		.external = o->config->external,
		.multihop = o->config->multihop != 0,
		.asn = o->config->asn,
	};

	role_enter_rib();
	o->result = shard_peer_add(o->k->shard, &p);
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
rib_originate(void *arg)
{
	struct order *o = arg;
	struct attr_set attrs = {.origin = ORIGIN_IGP};

	role_enter_rib();
	o->result = shard_originate(o->k->shard, o->network->vrf,
		o->network->prefix.afi == AFI_IPV6 ? FAMILY_IPV6_UNICAST : FAMILY_IPV4_UNICAST, &o->network->prefix,
		o->present ? &attrs : NULL);
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

/* Policies first: those that the session runs until here end with the old configuration. */
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

static void
set_imports(struct keeld *k, const struct config *c, const struct config_peer *p, struct peer_id id)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct order o = {.k = k, .id = id, .family = (enum family)f, .import = policy_deny_all()};

		if (p->families[f].enabled)
			o.import = import_of(c, p, (enum family)f);
		thread_call(k->rib_thread, rib_peer_import, &o);
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
		set_imports(k, c, p, id);
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

/* The id may become another peer's. */
static void
pending_drop(struct keeld *k, struct peer_id id)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct pending_refresh *p = &apply.import[id.v][f];

		if (p->waits)
			jobs_fail_part(k->jobs, p->job, "peer-removed");
		p->waits = false;
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
	k->peers[id.v].removing = true;
	timer_arm(k->main_thread, &apply.flush_timer, 0);
}

static void
network_set(struct keeld *k, const struct config_network *n, bool present)
{
	struct order o = {.k = k, .network = n, .present = present};
	char text[PREFIX_TEXT_MAX];

	thread_call(k->rib_thread, rib_originate, &o);
	if (o.result != 0)
		log_event(LOG_ERROR, "network-not-announced prefix=%s error=\"%s\"", prefix_format(&n->prefix, text), strerror(-o.result));
}

static bool
has_network(const struct config *c, const struct config_network *n)
{
	for (unsigned i = 0; i < c->network_count; i++) {
		if (c->networks[i].vrf.v == n->vrf.v && prefix_equal(&c->networks[i].prefix, &n->prefix))
			return true;
	}
	return false;
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

/* One peer's answer of bgp.refresh. */
static json_t *
refresh_one(struct keeld *k, struct peer_id id, enum family family, bool import, uint32_t job, bool *runs)
{
	const struct config_peer *p = keeld_peer_config(k, id);
	struct order o = {.k = k, .id = id, .family = family, .job = job};
	json_t *j;

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

struct peek_order {
	struct keeld *k;
	struct peer_id id;
	struct session_view view;
};

static void
session_order_peek(void *arg)
{
	struct peek_order *o = arg;

	role_enter_session();
	if (!session_peek(o->k->speaker, o->id, &o->view))
		o->view.state = FSM_IDLE;
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
	struct peek_order o = {.k = k, .id = e->peer};
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
pending_run(struct timer *t)
{
	struct keeld *k = apply.k;

	(void)t;
	apply.first_ns = 0;
	for (unsigned i = 0; i < k->running->peer_count; i++) {
		struct peer_id id = k->peer_of_config[i];

		for (unsigned f = 0; f < FAMILY_COUNT; f++) {
			struct pending_refresh *p = &apply.import[id.v][f];
			struct order o = {.k = k, .id = id, .family = (enum family)f, .job = p->job};

			if (!p->waits)
				continue;
			p->waits = false;
			thread_call(k->session_thread, session_order_refresh_import, &o);
			if (!action_runs((enum refresh_action)o.result))
				jobs_fail_part(k->jobs, p->job, refresh_action_text((enum refresh_action)o.result));
		}
	}
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

/* The import policy of an established session changed: ask for everything again, or say that nobody can. */
static void
effect_import(struct keeld *k, const struct config_peer *p, enum family f, struct peer_id id, json_t *effects)
{
	struct peek_order o = {.k = k, .id = id};
	struct pending_refresh *pending = &apply.import[id.v][f];

	thread_call(k->session_thread, session_order_peek, &o);
	if (o.view.state != FSM_ESTABLISHED) {
		effect_add(effects, p, f, "import", "none", "not-established", 0);
	} else if (!o.view.families[f].negotiated) {
		effect_add(effects, p, f, "import", "none", "not-negotiated", 0);
	} else if (!o.view.route_refresh.negotiated) {
		effect_add(effects, p, f, "import", "not-applied", "no-route-refresh", 0);
	} else {
		if (!pending->waits)
			*pending = (struct pending_refresh){.waits = true, .job = jobs_begin(k->jobs, "refresh-import", 1)};
		apply.changed = true;
		effect_add(effects, p, f, "import", "route-refresh-sent", NULL, pending->job);
	}
}

static bool
policy_same(const struct config *a, const struct config *b, const char *pa, const char *pb)
{
	if (pa == NULL || pb == NULL)
		return pa == pb;
	return strcmp(pa, pb) == 0 && policy_set_same(a->policies, b->policies, pa);
}

/* A peer that is in both configurations. */
static void
peer_change(struct keeld *k, const struct config *old, const struct config_peer *was, const struct config *next,
	const struct config_peer *is, struct peer_id id, json_t *effects)
{
	struct order o = {.k = k, .id = id, .config = is, .policies = policies_of(next, is)};

	set_imports(k, next, is, id);
	thread_call(k->session_thread, session_order_update, &o);
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		const struct config_family *a = &was->families[f], *b = &is->families[f];

		if (!a->enabled && !b->enabled)
			continue;
		if (o.result) {
			effect_add(effects, is, (enum family)f, "import", "session-reset", "configuration-change", 0);
			continue;
		}
		if (!policy_same(old, next, a->import_policy, b->import_policy))
			effect_import(k, is, (enum family)f, id, effects);
		if (!policy_same(old, next, a->export_policy, b->export_policy))
			effect_add(effects, is, (enum family)f, "export", "readvertised", NULL, 0);
	}
}

/* ---- commit ---- */

/* What this version reads only at start. */
static void
check_restart_keys(const json_t *old, const json_t *next, struct faults *f)
{
	static const char *const keys[] = {"router", "dataplane", "management", "vrfs", "ports"};

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		json_t *a = json_object_get(old, keys[i]), *b = json_object_get(next, keys[i]);
		char path[32];

		if (a == b || (a != NULL && b != NULL && json_equal(a, b)))
			continue;
		snprintf(path, sizeof(path), "/%s", keys[i]);
		faults_add(f, path, "cannot be changed while keeld runs; change the file and restart it");
	}
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

static void
apply_peers(struct keeld *k, struct config *old, const struct peer_id *old_ids, struct config *next, json_t *effects)
{
	for (unsigned i = 0; i < old->peer_count; i++) {
		if (config_peer_find(next, old->peers[i].vrf, &old->peers[i].addr) == NULL) {
			peer_stop(k, old_ids[i]);
			effect_add(effects, &old->peers[i], FAMILY_IPV4_UNICAST, "import", "session-reset", "peer-removed", 0);
		}
	}
	for (unsigned i = 0; i < next->peer_count; i++) {
		const struct config_peer *is = &next->peers[i];
		const struct config_peer *was = config_peer_find(old, is->vrf, &is->addr);

		if (was != NULL)
			peer_change(k, old, was, next, is, k->peer_of_config[i], effects);
		else
			peer_start(k, next, is, k->peer_of_config[i]);
	}
}

static void
apply_networks(struct keeld *k, const struct config *old, const struct config *next)
{
	for (unsigned i = 0; i < old->network_count; i++) {
		if (!has_network(next, &old->networks[i]))
			network_set(k, &old->networks[i], false);
	}
	for (unsigned i = 0; i < next->network_count; i++) {
		if (!has_network(old, &next->networks[i]))
			network_set(k, &next->networks[i], true);
	}
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
	check_restart_keys(old->document, document, f);
	ids = f->count == 0 ? ids_for(k, next, f) : NULL;
	if (ids == NULL) {
		config_free(next);
		return -EINVAL;
	}
	*effects = json_array();
	k->running = next;
	k->peer_of_config = ids;
	k->revision++;
	apply_peers(k, old, old_ids, next, *effects);
	apply_networks(k, old, next);
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
	config_free(old);
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
	for (unsigned i = 0; i < k->running->network_count; i++)
		network_set(k, &k->running->networks[i], true);
	for (unsigned i = 0; i < k->running->peer_count; i++) {
		int err;

		k->peer_of_config[i] = peer_id_new(k);
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
