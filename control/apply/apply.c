/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/apply_impl.h"

#include "control/host/host_routes.h"
#include "control/base/log.h"
#include "control/config/policy_compile.h"
#include "control/rpc/rpc.h"
#include "rib/fib_feed.h"
#include "rib/policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLUSH_POLL_NS 100000000 /* how often a removed peer is asked whether its routes are gone */

struct apply apply;

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
	const struct config_peer *configured = config_peer_find(k->running, vrf, addr);

	if (configured != NULL)
		return configured;
	for (struct peer_id id = {0}; (id = dynamic_next(k, id.v)).v != 0;) {
		const struct config_peer *c = keeld_peer_config(k, id);

		if (c->vrf.v == vrf.v && addr_equal(&c->addr, addr))
			return c;
	}
	return NULL;
}

/* ---- orders, each on the thread that its name says ---- */

struct shard_peer
apply_shard_peer(struct peer_id id, const struct config_peer *c)
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
	struct shard_peer p = apply_shard_peer(o->id, o->config);

	role_enter_rib();
	if (o->result == 0)
		o->result = shard_peer_add(o->shard, &p);
}

static void
rib_settings(void *arg)
{
	struct order *o = arg;

	role_enter_rib();
	shard_settings(o->shard, &o->settings);
}

static void
rib_peer_remove(void *arg)
{
	struct order *o = arg;

	role_enter_rib();
	if (!shard_peer_idle(o->shard, o->id))
		o->result = -EBUSY;
	else
		(void)shard_peer_remove(o->shard, o->id); /* -ENOENT: it went before */
}

static void
rib_peer_import(void *arg)
{
	struct order *o = arg;

	role_enter_rib();
	shard_peer_import(o->shard, o->id, o->family, o->import);
}

static void
rib_peer_keep(void *arg)
{
	struct order *o = arg;

	role_enter_rib();
	shard_peer_keep(o->shard, o->id, o->family, o->keep);
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

/* ---- peers ---- */

struct session_policies
apply_policies_of(const struct config *c, const struct config_peer *p)
{
	struct session_policies s = {0};

	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (p->families[f].export_policy != NULL)
			s.export_policy[f] =
				policy_set_find(c->policies, p->families[f].export_policy);
		s.has_import[f] = p->families[f].import_policy != NULL;
	}
	return s;
}

/* Of a peer that starts: what the shards judge its routes by. */
static void
peer_imports(
	struct keeld *k, const struct config *c, const struct config_peer *p, struct peer_id id)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct order o = {.k = k,
			.id = id,
			.family = (enum family)f,
			.import = policy_deny_all(),
			.keep = p->families[f].enabled && p->families[f].keep_all_routes};

		if (p->families[f].enabled)
			o.import = keeld_policy_of(c, p, (enum family)f, true);
		keeld_on_shards(k, rib_peer_import, &o, &o.shard);
		if (o.keep)
			keeld_on_shards(k, rib_peer_keep, &o, &o.shard);
		apply.applied[id.v].import[f] = o.import;
		apply.applied[id.v].keep[f] = o.keep;
	}
}

void
apply_peek(struct keeld *k, struct peer_id id, struct session_view *out)
{
	struct order o = {.k = k, .id = id};

	thread_call(k->session_thread, session_order_peek, &o);
	*out = o.view;
}

void
apply_export_policies(struct keeld *k, struct peer_id id, const struct session_policies *want)
{
	struct order o = {.k = k, .id = id, .policies = *want};

	thread_call(k->session_thread, session_order_export_policies, &o);
	apply.applied[id.v].session = *want;
}

/* The shard may have thousands of this peer's UPDATEs before it, and its policies are about to be freed. */
static void
end_imports(struct keeld *k, struct peer_id id)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct order o = {
			.k = k, .id = id, .family = (enum family)f, .import = policy_deny_all()};

		keeld_on_shards(k, rib_peer_import, &o, &o.shard);
	}
}

struct peer_id
apply_peer_id_new(struct keeld *k)
{
	for (uint16_t i = 1; i < PEER_MAX; i++) {
		if (!k->peers[i].used && !k->peers[i].removing) {
			k->peers[i] = (struct keeld_peer){.id = {i}, .used = true};
			return k->peers[i].id;
		}
	}
	return (struct peer_id){0};
}

int
apply_peer_start(
	struct keeld *k, const struct config *c, const struct config_peer *p, struct peer_id id)
{
	struct order o = {.k = k, .id = id, .config = p, .policies = apply_policies_of(c, p)};

	keeld_on_shards(k, rib_peer_add, &o, &o.shard);
	if (o.result == 0) {
		apply.applied[id.v] = (struct applied){0};
		peer_imports(k, c, p, id);
		apply.applied[id.v].session = o.policies;
		thread_call(k->session_thread, session_order_add, &o);
	}
	if (o.result != 0)
		log_event(LOG_ERROR, "peer-not-started peer=%s vrf=%s error=\"%s\"", p->addr_text,
			p->vrf_name, strerror(-o.result));
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
		if (o.result) {
			o.result = 0;
			keeld_on_shards(k, rib_peer_remove, &o, &o.shard);
		} else {
			o.result = -EBUSY;
		}
		if (o.result == -EBUSY)
			more = true;
		else
			k->peers[i].removing = false;
	}
	if (more)
		timer_arm(k->main_thread, t, FLUSH_POLL_NS);
}

void
apply_peer_stop(struct keeld *k, struct peer_id id)
{
	struct order o = {.k = k, .id = id};

	apply_pending_drop(k, id);
	thread_call(k->session_thread, session_order_remove, &o);
	end_imports(k, id);
	k->peers[id.v].used = false;
	k->peers[id.v].config = NULL;
	k->peers[id.v].removing = true;
	timer_arm(k->main_thread, &apply.flush_timer, 0);
}

/* ---- commit ---- */

static bool same_but_words(const json_t *a, const json_t *b);

/* All of `a` but words is in `b`, and the same. */
static bool
within(const json_t *a, const json_t *b)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)a, key, value)
	{
		if (strcmp(key, "description") != 0 &&
			!same_but_words(value, json_object_get(b, key)))
			return false;
	}
	return true;
}

/* As deep as the document, 64 levels. A `description` says nothing to keeld. */
static bool
same_but_words(const json_t *a, const json_t *b)
{
	bool same = a != NULL && b != NULL;

	if (json_is_object(a) && json_is_object(b))
		return within(a, b) && within(b, a);
	if (!json_is_array(a) || !json_is_array(b))
		return same && json_equal(a, b);
	same = json_array_size(a) == json_array_size(b);
	for (size_t i = 0; same && i < json_array_size(a); i++)
		same = same_but_words(json_array_get(a, i), json_array_get(b, i));
	return same;
}

/* What this version reads only at start. */
void
apply_check_restart_keys(const struct config *old, const struct config *next, struct faults *f)
{
	static const char *const keys[] = {"router", "dataplane", "management", "vrfs", "ports"};
	static const char why[] =
		"cannot be changed while keeld runs; change the file and restart it";

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		json_t *a = json_object_get(old->document, keys[i]),
		       *b = json_object_get(next->document, keys[i]);
		char path[32];

		if (a == b || same_but_words(a, b))
			continue;
		snprintf(path, sizeof(path), "/%s", keys[i]);
		faults_add(f, path, why);
	}
	if (old->next_hop_tracking != next->next_hop_tracking)
		faults_add(f, "/bgp/next_hop_tracking", why);
}

void
keeld_check_restart_keys(const struct keeld *k, const struct config *next, struct faults *f)
{
	apply_check_restart_keys(k->running, next, f);
}

/* The next configuration's peers: who they are now (NULL: nobody), and their ids. */
struct joined {
	const struct config_peer **was;
	struct peer_id *ids;
	struct change *changes; /* room for one of each peer */
};

static void
joined_release(struct keeld *k, struct joined *j, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (j->was[i] == NULL)
			k->peers[j->ids[i].v].used = false;
	}
	free(j->ids);
	free(j->changes);
}

/* Those that stay keep their ids. False with a fault: out of memory, or of ids. */
static bool
join(struct keeld *k, const struct config *next, struct joined *j, struct faults *f)
{
	j->ids = calloc(next->peer_count + 1, sizeof(*j->ids));
	j->was = calloc(next->peer_count + 1, sizeof(*j->was));
	j->changes = calloc(next->peer_count + apply_dynamic_count(k) + 1, sizeof(*j->changes));
	for (unsigned i = 0;
		j->ids != NULL && j->was != NULL && j->changes != NULL && i < next->peer_count;
		i++) {
		j->was[i] = keeld_peer_find(k, next->peers[i].vrf, &next->peers[i].addr);
		j->ids[i] = j->was[i] != NULL ? keeld_peer_id(k, j->was[i]) : apply_peer_id_new(k);
		if (j->ids[i].v != 0)
			continue;
		faults_add(f, "/bgp/peers", "more than %u peers", PEER_MAX - 1);
		joined_release(k, j, i);
		free(j->was);
		return false;
	}
	if (j->ids != NULL && j->was != NULL && j->changes != NULL)
		return true;
	faults_add(f, "", "out of memory");
	free(j->changes);
	free(j->ids);
	free(j->was);
	return false;
}

static void
peers_remove(
	struct keeld *k, const struct config *old, const struct peer_id *old_ids, json_t *effects)
{
	for (unsigned i = 0; i < old->peer_count; i++) {
		if (config_peer_find(k->running, old->peers[i].vrf, &old->peers[i].addr) != NULL)
			continue;
		apply_peer_stop(k, old_ids[i]);
		apply_effect_removed(effects, &old->peers[i]);
	}
}

/*
 * All peers that stay are one plan. `was`: as in struct joined; `changes`: room for all peers. A peer that was dynamic is configured from here on.
 */
static void
peers_change(struct keeld *k, const struct config *old, const struct config_peer *const *was,
	struct change *changes, json_t *effects)
{
	unsigned n = 0;

	for (unsigned i = 0; i < k->running->peer_count; i++) {
		const struct config_peer *is = &k->running->peers[i];
		struct peer_id id = k->peer_of_config[i];

		if (was[i] == NULL)
			apply_peer_start(k, k->running, is, id);
		else
			changes[n++] = (struct change){
				.old = old, .next = k->running, .was = was[i], .is = is, .id = id};
	}
	n += apply_dynamic_changes(k, old, &changes[n], effects);
	apply_peers_change(k, changes, n, effects);
	for (unsigned i = 0; i < n; i++)
		if (changes[i].was->dynamic)
			free((void *)(uintptr_t)changes[i].was);
}

static void
apply_settings(struct keeld *k, const struct config *old, const struct config *next)
{
	struct order o = {
		.k = k, .settings = {next->cluster_id, next->max_paths, next->tombstones_max}};

	if (old == NULL || old->cluster_id != next->cluster_id ||
		old->max_paths != next->max_paths || old->tombstones_max != next->tombstones_max)
		keeld_on_shards(k, rib_settings, &o, &o.shard);
	o.via_default = next->resolve_via_default;
	if (old == NULL || old->resolve_via_default != next->resolve_via_default)
		thread_call(k->fib_thread, fib_via_default, &o);
}

/* All that runs by the old configuration, by the new one, which is `running` already. */
static void
switch_over(struct keeld *k, const struct config *old, const struct peer_id *old_ids,
	const struct config_peer *const *was, struct change *changes, json_t *effects)
{
	for (unsigned i = 0; i < k->running->peer_count; i++)
		k->peers[k->peer_of_config[i].v].config = &k->running->peers[i];
	policy_set_keep(k->running->policies, old->policies);
	apply_settings(k, old, k->running);
	apply_ranges(k, k->running);
	peers_remove(k, old, old_ids, effects);
	peers_change(k, old, was, changes, effects);
	keeld_host_routes_apply(k, old, k->running);
	apply_pending_schedule(k);
}

bool
apply_save(struct keeld *k)
{
	int err = config_save(k->config_file, k->running->document);

	if (err != 0)
		log_event(LOG_ERROR, "commit-not-persisted file=%s error=\"%s\"", k->config_file,
			strerror(-err));
	return err == 0;
}

static void
tell_commit(struct keeld *k, const char *comment, uint32_t confirm_s, const json_t *effects)
{
	char text[256];
	json_t *e = json_pack("{s:s, s:I, s:I, s:s}", "event", "commit", "commit",
		(json_int_t)k->next_commit_id, "revision", (json_int_t)k->revision, "comment",
		comment);

	if (e != NULL && confirm_s != 0)
		json_object_set_new(e, "confirm_s", json_integer(confirm_s));
	rpc_event(k->rpc, "commit", e);
	log_event(LOG_INFO, "commit id=%u revision=%u effects=%zu confirm_s=%u comment=%s",
		k->next_commit_id, k->revision, json_array_size(effects), confirm_s,
		log_escape(comment, strlen(comment), text, sizeof(text)));
}

/* ---- a commit, in steps: each one is a turn of main, so that other requests do not wait for all of them ---- */

enum commit_step {
	COMMIT_PARSE,
	COMMIT_PREPARE,
	COMMIT_SWITCH,
	COMMIT_SAVE,
	COMMIT_NOTE,
	COMMIT_DONE
};

struct commit {
	struct keeld *k;
	enum commit_step step;
	json_t *document;
	char *comment;
	uint32_t confirm_s;
	struct config *next; /* until it runs */
	struct keeld_commit_result result;
	void (*done)(void *ctx, struct keeld_commit_result *r); /* NULL: the caller waits */
	void *ctx;
};

/* The one that is under way, and its timer. Everything that changes or asks for what a commit leaves behind ends it first. */
static struct commit *under_way;
static struct timer commit_timer;

static void
commit_fini(struct commit *c)
{
	config_free(c->next);
	json_decref(c->document);
	free(c->comment);
}

/* All that can be refused, but for the number of peers. */
static int
commit_parse(struct commit *c)
{
	struct faults *f = &c->result.faults;

	c->next = config_parse(c->document, f);
	if (c->next == NULL)
		return -EINVAL;
	apply_check_restart_keys(c->k->running, c->next, f);
	return f->count > 0 ? -EINVAL : 0;
}

/* The new configuration runs. Nothing of it is refused from here on. */
static int
commit_switch(struct commit *c)
{
	struct keeld *k = c->k;
	struct config *old = k->running;
	struct peer_id *old_ids = k->peer_of_config;
	struct joined joined;

	if (!join(k, c->next, &joined, &c->result.faults))
		return -EINVAL;
	c->result.effects = json_array();
	k->running = c->next;
	c->next = NULL;
	k->peer_of_config = joined.ids;
	k->revision++;
	switch_over(k, old, old_ids, joined.was, joined.changes, c->result.effects);
	apply_config_hold(old);
	free(old_ids);
	free(joined.was);
	free(joined.changes);
	return 0;
}

static void
commit_step_run(struct commit *c)
{
	struct keeld *k = c->k;
	int err = 0;

	switch (c->step) {
	case COMMIT_PARSE:
		err = commit_parse(c);
		break;
	case COMMIT_PREPARE:
		if (apply_history_prepare(k, c->document, c->confirm_s, &c->result.faults) != 0)
			err = -EIO;
		break;
	case COMMIT_SWITCH:
		err = commit_switch(c);
		break;
	case COMMIT_SAVE:
		c->result.persisted = apply_save(k);
		break;
	case COMMIT_NOTE:
		apply_history_commit(k, c->comment, c->confirm_s, c->result.persisted);
		tell_commit(k, c->comment, c->confirm_s, c->result.effects);
		break;
	case COMMIT_DONE:
		break;
	}
	c->result.err = err;
	c->step = err != 0 ? COMMIT_DONE : c->step + 1;
}

static void
commit_end(struct commit *c)
{
	under_way = NULL;
	timer_cancel(c->k->main_thread, &commit_timer);
	c->done(c->ctx, &c->result);
	json_decref(c->result.effects);
	faults_fini(&c->result.faults);
	commit_fini(c);
	free(c);
}

static void
commit_fire(struct timer *t)
{
	struct commit *c = under_way;

	if (c == NULL)
		return;
	if (c->step == COMMIT_DONE) {
		commit_end(c);
		return;
	}
	commit_step_run(c);
	if (timer_arm(c->k->main_thread, t, 0) != 0)
		keeld_commit_finish(c->k);
}

void
keeld_commit_finish(struct keeld *k)
{
	struct commit *c = under_way;

	(void)k;
	if (c == NULL)
		return;
	while (c->step != COMMIT_DONE)
		commit_step_run(c);
	commit_end(c);
}

int
keeld_commit_start(struct keeld *k, json_t *document, const char *comment, uint32_t confirm_s,
	void (*done)(void *ctx, struct keeld_commit_result *r), void *ctx)
{
	struct commit *c = calloc(1, sizeof(*c));

	keeld_commit_finish(k);
	if (c == NULL)
		return -ENOMEM;
	*c = (struct commit){.k = k,
		.document = json_incref(document),
		.comment = strdup(comment != NULL ? comment : ""),
		.confirm_s = confirm_s,
		.done = done,
		.ctx = ctx};
	commit_timer.fire = commit_fire;
	if (c->comment == NULL || timer_arm(k->main_thread, &commit_timer, 0) != 0) {
		commit_fini(c);
		free(c);
		return -ENOMEM;
	}
	under_way = c;
	return 0;
}

int
apply_commit(struct keeld *k, json_t *document, const char *comment, uint32_t confirm_s,
	json_t **effects, bool *persisted, struct faults *f)
{
	struct commit c = {.k = k, .confirm_s = confirm_s, .result = {.faults = *f}};

	keeld_commit_finish(k);
	c.document = json_incref(document);
	c.comment = strdup(comment != NULL ? comment : "");
	if (c.comment == NULL) {
		json_decref(document);
		return -ENOMEM;
	}
	while (c.step != COMMIT_DONE)
		commit_step_run(&c);
	*f = c.result.faults;
	*effects = c.result.effects;
	*persisted = c.result.persisted;
	commit_fini(&c);
	return c.result.err;
}

int
keeld_commit(struct keeld *k, json_t *document, const char *comment, json_t **effects,
	bool *persisted, struct faults *f)
{
	return apply_commit(k, document, comment, 0, effects, persisted, f);
}

int
keeld_apply_first(struct keeld *k)
{
	struct order o = {.k = k};

	apply.k = k;
	apply.flush_timer.fire = flush_poll;
	apply_plan_init();
	apply_refresh_init();
	if (apply_history_start(k) != 0)
		return -ENOMEM;
	k->peer_of_config = calloc(k->running->peer_count + 1, sizeof(*k->peer_of_config));
	if (k->peer_of_config == NULL)
		return -ENOMEM;
	thread_call(k->session_thread, session_listen, &o);
	if (o.result != 0) {
		log_event(LOG_ERROR, "listen-failed port=179 error=\"%s\"", strerror(-o.result));
		return o.result;
	}
	apply_settings(k, NULL, k->running);
	apply_ranges(k, k->running);
	keeld_host_routes_apply(k, NULL, k->running);
	for (unsigned i = 0; i < k->running->peer_count; i++) {
		int err;

		k->peer_of_config[i] = apply_peer_id_new(k);
		if (k->peer_of_config[i].v != 0)
			k->peers[k->peer_of_config[i].v].config = &k->running->peers[i];
		err = k->peer_of_config[i].v != 0
			      ? apply_peer_start(
					k, k->running, &k->running->peers[i], k->peer_of_config[i])
			      : -ENOSPC;
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
		log_event(LOG_ERROR, "reload-refused reason=%s",
			log_escape(message, strlen(message), reason, sizeof(reason)));
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

	keeld_commit_finish(k);
	if (k->candidate_edited) {
		log_event(LOG_ERROR, "reload-refused reason=candidate-holds-edits");
		return;
	}
	if (apply_confirm_waits()) {
		log_event(LOG_ERROR, "reload-refused reason=commit-awaits-confirmation");
		return;
	}
	document = config_load(k->config_file, &message, &f);
	if (document != NULL && json_equal(document, k->running->document)) {
		log_event(LOG_INFO, "reload-unchanged file=%s", k->config_file);
		json_decref(document);
		return;
	}
	if (document != NULL &&
		keeld_commit(k, document, "SIGHUP", &effects, &persisted, &f) == 0) {
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
	apply_dynamic_fini(k);
	free(k->peer_of_config);
	apply_refresh_fini();
	apply_history_fini();
}
