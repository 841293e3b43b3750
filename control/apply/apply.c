/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/apply_impl.h"

#include "control/apply/candidate.h"
#include "control/apply/swap_range.h"
#include "control/host/host_routes.h"
#include "control/bmp/bmp.h"
#include "control/mrt/mrt.h"
#include "control/rpki/rpki.h"
#include "control/base/log.h"
#include "control/config/policy_compile.h"
#include "rib/fib_feed.h"
#include "rib/policy.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Interval of the checks whether the shards have flushed the routes of a removed peer. */
#define FLUSH_POLL_NS 100000000

/* ---- views ---- */

const struct config *
apply_running(const struct apply *apply)
{
	return apply->running;
}

uint32_t
apply_revision(const struct apply *apply)
{
	return apply->revision;
}

uint64_t
apply_commits(const struct apply *apply)
{
	return apply->commits;
}

uint32_t
apply_last_commit(const struct apply *apply)
{
	return apply->last_commit_id;
}

struct rpki *
apply_rpki(const struct apply *apply)
{
	return apply->rpki;
}

struct mrt *
apply_mrt(const struct apply *apply)
{
	return apply->mrt;
}

struct bmp *
apply_bmp(const struct apply *apply)
{
	return apply->bmp;
}

struct vrps *
apply_vrps(const struct apply *apply)
{
	return apply->rpki != NULL ? rpki_vrps(apply->rpki) : NULL;
}

const struct peers *
apply_peers(const struct apply *apply)
{
	return apply->peers;
}

void
apply_report(struct apply *apply, const char *topic, json_t *members)
{
	apply->report(apply->report_ctx, topic, members);
}

void
apply_run(struct apply *apply, struct config *next)
{
	apply->running = next;
	apply->peers->running = next;
}

/* ---- peers ---- */

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
		.group_key = policy_group_key(c->group),
	};

	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		p.allow_as_in[f] = c->families[f].allow_as_in;
	return p;
}

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

const struct policy *
apply_import_policy(const struct apply *apply, struct peer_id id, enum family f)
{
	return apply->applied[id.v].import[f];
}

bool
apply_keeps(const struct config *c, const struct config_peer *p, enum family f)
{
	const struct policy *import = apply_policy_of(c, p, f, true);

	return p->families[f].keep_all_routes || (import != NULL && policy_validates(import));
}

/* Gives the shards the import policies and keep flags of a new peer. */
static void
start_imports(struct apply *apply, const struct config *c, const struct config_peer *p,
	struct peer_id id) RUNS_ON(role_main)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct shard_order import = {.kind = SHARD_PEER_IMPORT,
			.id = id,
			.family = (enum family)f,
			.import = policy_deny_all()};
		struct shard_order keep = {.kind = SHARD_PEER_KEEP,
			.id = id,
			.family = (enum family)f,
			.keep = p->families[f].enabled && apply_keeps(c, p, (enum family)f)};

		if (p->families[f].enabled)
			import.import = apply_policy_of(c, p, (enum family)f, true);
		(void)shard_order(apply->layers, &import);
		if (keep.keep)
			(void)shard_order(apply->layers, &keep);
		apply->applied[id.v].import[f] = import.import;
		apply->applied[id.v].stored[f] = keep.keep;
		apply->applied[id.v].keep[f] =
			p->families[f].enabled && p->families[f].keep_all_routes;
	}
}

void
apply_peek(const struct apply *apply, struct peer_id id, struct session_view *out)
{
	*out = (struct session_view){0};
	(void)session_order(apply->layers,
		&(struct session_order){.kind = SESSION_ORDER_PEEK, .id = id, .view = out});
}

void
apply_export_policies(struct apply *apply, struct peer_id id, const struct session_policies *want)
{
	(void)session_order(
		apply->layers, &(struct session_order){
				       .kind = SESSION_ORDER_POLICIES, .id = id, .policies = want});
	apply->applied[id.v].session = *want;
}

/*
 * Replaces the import policies, which are freed next, by deny-all: the shards may still have
 * thousands of queued UPDATEs of the peer.
 */
static void
end_imports(struct apply *apply, struct peer_id id) RUNS_ON(role_main)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct shard_order o = {.kind = SHARD_PEER_IMPORT,
			.id = id,
			.family = (enum family)f,
			.import = policy_deny_all()};

		(void)shard_order(apply->layers, &o);
	}
}

/*
 * The data plane knows the addresses of peers without zones. An address stays while another peer has
 * the same octets.
 */
static void
tell_peer(const struct apply *apply, struct peer_id id, const struct ip_addr *addr, bool present)
{
	const struct peer_slot *slot = &apply->peers->slot[id.v];
	struct ip_addr bare = *addr;

	if (apply->peer == NULL)
		return;
	bare.zone = 0;
	for (unsigned i = 1; i < PEER_MAX && !present && bare.afi == AFI_IPV6; i++) {
		const struct peer_slot *other = &apply->peers->slot[i];

		if (i != id.v && other->config != NULL && other->vrf.v == slot->vrf.v &&
			other->config->addr.afi == bare.afi &&
			memcmp(other->config->addr.b, bare.b, sizeof(bare.b)) == 0)
			return;
	}
	apply->peer(apply->watch_ctx, slot->vrf, &bare, present);
}

int
apply_peer_start(
	struct apply *apply, const struct config *c, const struct config_peer *p, struct peer_id id)
{
	struct shard_peer peer = apply_shard_peer(id, p);
	struct session_policies policies = apply_policies_of(c, p);
	int err;

	apply->peers->slot[id.v].vrf = p->vrf;
	err = shard_order(apply->layers,
		&(struct shard_order){.kind = SHARD_PEER_ADD, .id = id, .peer = &peer});

	tell_peer(apply, id, &p->addr, true);
	if (err == 0) {
		apply->applied[id.v] = (struct applied){0};
		start_imports(apply, c, p, id);
		apply->applied[id.v].session = policies;
		err = session_order(
			apply->layers, &(struct session_order){.kind = SESSION_ORDER_ADD,
					       .id = id,
					       .add = {.config = p, .policies = &policies}});
	}
	if (err != 0)
		log_event(LOG_ERROR, "peer-not-started peer=%s vrf=%s error=\"%s\"", p->addr_text,
			p->vrf_name, strerror(-err));
	return err;
}

static void
flush_poll(struct timer *t) RUNS_ON(role_main)
{
	struct apply *apply =
		(struct apply *)(void *)((char *)t - offsetof(struct apply, flush_timer));
	bool more = false;

	for (uint16_t i = 1; i < PEER_MAX; i++) {
		struct session_order gone = {.kind = SESSION_ORDER_GONE, .id = {i}};
		struct shard_order removal = {.kind = SHARD_PEER_REMOVE, .id = {i}};

		if (!apply->peers->slot[i].removing)
			continue;
		/*
		 * The session first: the session may not have sent the end of the peer to the
		 * shards yet.
		 */
		if (!session_order(apply->layers, &gone) ||
			shard_order(apply->layers, &removal) == -EBUSY)
			more = true;
		else
			peers_id_free(apply->peers, (struct peer_id){i}, now_ns());
	}
	if (more)
		timer_arm(apply->layers->main_thread, t, FLUSH_POLL_NS);
}

void
apply_peer_stop(struct apply *apply, struct peer_id id)
{
	const struct peer_slot *slot = &apply->peers->slot[id.v];

	apply_pending_drop(apply, id);
	tell_peer(apply, id, &slot->config->addr, false);
	(void)session_order(
		apply->layers, &(struct session_order){.kind = SESSION_ORDER_REMOVE, .id = id});
	end_imports(apply, id);
	apply->peers->slot[id.v].addr = slot->config->addr;
	apply->peers->slot[id.v].used = false;
	apply->peers->slot[id.v].config = NULL;
	apply->peers->slot[id.v].removing = true;
	timer_arm(apply->layers->main_thread, &apply->flush_timer, 0);
}

/* ---- commit ---- */

static bool same_without_descriptions(const json_t *a, const json_t *b);

/* True if `b` has an equal value for each key of `a` except descriptions. */
static bool
object_within(const json_t *a, const json_t *b)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)a, key, value)
	{
		if (strcmp(key, "description") != 0 &&
			!same_without_descriptions(value, json_object_get(b, key)))
			return false;
	}
	return true;
}

/*
 * Compares without descriptions, which keeld does not use. Recursion is as deep as the document, at
 * most 64 levels.
 */
static bool
same_without_descriptions(const json_t *a, const json_t *b)
{
	bool same = a != NULL && b != NULL;

	if (json_is_object(a) && json_is_object(b))
		return object_within(a, b) && object_within(b, a);
	if (!json_is_array(a) || !json_is_array(b))
		return same && json_equal(a, b);
	same = json_array_size(a) == json_array_size(b);
	for (size_t i = 0; same && i < json_array_size(a); i++)
		same = same_without_descriptions(json_array_get(a, i), json_array_get(b, i));
	return same;
}

/* True if the documents have the same ports of VPN instances. */
static bool
same_instance_ports(const struct config *old, const struct config *next)
{
	const json_t *a = json_object_get(old->document, "ports"),
		     *b = json_object_get(next->document, "ports");
	unsigned n = 0, i = 0;

	for (; i < old->port_count; i++) {
		if (old->ports[i].vrf.v == VRF_DEFAULT.v)
			continue;
		while (n < next->port_count && next->ports[n].vrf.v == VRF_DEFAULT.v)
			n++;
		if (n == next->port_count ||
			!same_without_descriptions(json_array_get(a, i), json_array_get(b, n++)))
			return false;
	}
	while (n < next->port_count && next->ports[n].vrf.v == VRF_DEFAULT.v)
		n++;
	return n == next->port_count;
}

static unsigned
default_ports(const struct config *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->port_count; i++)
		n += c->ports[i].vrf.v == VRF_DEFAULT.v;
	return n;
}

/* What of `ports` cannot change at run time. */
static void
check_ports(const struct apply *apply, const struct config *next, const char *why, struct faults *f)
{
	const struct config *old = apply->running;

	if (apply->ports == NULL) {
		faults_add(f, "/ports", "%s", why);
		return;
	}
	if (!same_instance_ports(old, next))
		faults_add(f, "/ports",
			"a port with `vrf` is read at start only; change the file and restart "
			"keeld");
	if ((default_ports(old) == 0) != (default_ports(next) == 0))
		faults_add(f, "/ports",
			"the first port of the VRF `default` cannot be added, and the last one not "
			"removed, at run time; change the file and restart keeld");
}

void
apply_restart_keys(const struct apply *apply, const struct config *next, struct faults *f)
{
	static const char *const keys[] = {"router", "dataplane", "management", "ports"};
	static const char why[] = "is read at start only; change the file and restart keeld";
	const struct config *old = apply->running;

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		json_t *a = json_object_get(old->document, keys[i]),
		       *b = json_object_get(next->document, keys[i]);
		char path[32];

		if (a == b || same_without_descriptions(a, b))
			continue;
		if (strcmp(keys[i], "ports") == 0) {
			check_ports(apply, next, why, f);
			continue;
		}
		snprintf(path, sizeof(path), "/%s", keys[i]);
		faults_add(f, path, why);
	}
	if (old->next_hop_tracking != next->next_hop_tracking)
		faults_add(f, "/bgp/next_hop_tracking", why);
}

void
apply_check_restart_keys(const struct apply *apply, const struct config *next, struct faults *f)
{
	apply_restart_keys(apply, next, f);
}

/*
 * For each peer of the next configuration: the present configuration of the peer (NULL: a new peer)
 * and the id.
 */
struct joined {
	const struct config_peer **was;
	struct peer_id *ids;
	struct change *changes; /* room for all peers, dynamic peers included */
};

static void
joined_release(struct apply *apply, struct joined *j, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (j->was[i] == NULL)
			apply->peers->slot[j->ids[i].v].used = false;
	}
	free(j->ids);
	free(j->changes);
}

/*
 * Present peers keep the id; new peers get a free id. False with a fault: out of memory, or no id
 * is free.
 */
static bool
assign_ids(struct apply *apply, const struct config *next, struct joined *j, struct faults *f)
	RUNS_ON(role_main)
{
	j->ids = calloc(next->peer_count + 1, sizeof(*j->ids));
	j->was = calloc(next->peer_count + 1, sizeof(*j->was));
	j->changes = calloc(next->peer_count + apply_dynamic_count(apply) + 1, sizeof(*j->changes));
	for (unsigned i = 0;
		j->ids != NULL && j->was != NULL && j->changes != NULL && i < next->peer_count;
		i++) {
		j->was[i] = peers_find(apply->peers, next->peers[i].vrf, &next->peers[i].addr);
		j->ids[i] = j->was[i] != NULL ? peers_id(apply->peers, j->was[i])
					      : peers_id_new(apply->peers);
		if (j->ids[i].v != 0)
			continue;
		faults_add(f, "/bgp/peers", "more than %u peers", PEER_MAX - 1);
		joined_release(apply, j, i);
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
peers_remove(struct apply *apply, const struct config *old, const struct peer_id *old_ids,
	json_t *effects) RUNS_ON(role_main)
{
	for (unsigned i = 0; i < old->peer_count; i++) {
		if (config_peer_find(apply->running, old->peers[i].vrf, &old->peers[i].addr) !=
			NULL)
			continue;
		apply_peer_stop(apply, old_ids[i]);
		apply_effect_removed(effects, &old->peers[i]);
	}
}

/*
 * Starts new peers and lists the changes of the present peers. A dynamic peer with an entry in the
 * running document becomes a configured peer.
 */
static unsigned
peers_change(struct apply *apply, const struct config *old, const struct config_peer *const *was,
	struct change *changes, json_t *effects) RUNS_ON(role_main)
{
	unsigned n = 0;

	for (unsigned i = 0; i < apply->running->peer_count; i++) {
		const struct config_peer *is = &apply->running->peers[i];
		struct peer_id id = apply->peers->of_config[i];

		if (was[i] == NULL)
			apply_peer_start(apply, apply->running, is, id);
		else
			changes[n++] = (struct change){.old = old,
				.next = apply->running,
				.was = was[i],
				.is = is,
				.id = id};
	}
	return n + apply_dynamic_changes(apply, old, &changes[n], effects);
}

static void
apply_settings(struct apply *apply, const struct config *old, const struct config *next)
	RUNS_ON(role_main)
{
	struct shard_settings settings = {next->cluster_id, next->max_paths, next->tombstones_max};

	if (old == NULL || old->cluster_id != next->cluster_id ||
		old->max_paths != next->max_paths || old->tombstones_max != next->tombstones_max)
		(void)shard_order(apply->layers,
			&(struct shard_order){.kind = SHARD_SETTINGS, .settings = &settings});
	if (old == NULL || old->resolve_via_default != next->resolve_via_default)
		fib_order_via_default(apply->layers, next->resolve_via_default);
}

/*
 * After apply->running is the new configuration: applies settings and ranges, removes peers, and adds
 * new peers. Writes the changes of the remaining peers to `changes`, for COMMIT_CHANGE, and returns
 * their number.
 */
static unsigned
switch_over(struct apply *apply, const struct config *old, const struct peer_id *old_ids,
	const struct config_peer *const *was, struct change *changes, json_t *effects)
	RUNS_ON(role_main)
{
	for (unsigned i = 0; i < apply->running->peer_count; i++)
		apply->peers->slot[apply->peers->of_config[i].v].config = &apply->running->peers[i];
	policy_set_keep(apply->running->policies, old->policies);
	apply_instances_effects(old, apply->running, effects);
	apply_instances_switch(apply);
	apply_settings(apply, old, apply->running);
	apply_ranges(apply, apply->running);
	peers_remove(apply, old, old_ids, effects);
	return peers_change(apply, old, was, changes, effects);
}

/* FILE has the running document. */
static void
file_is_running(struct apply *apply)
{
	json_t *old = apply->in_file;

	apply->in_file = json_incref(apply->running->document);
	json_decref(old);
}

int
apply_save(struct apply *apply)
{
	int err = config_save(apply->config_file, apply->running->document);

	if (err == 0)
		file_is_running(apply);
	else
		log_event(LOG_ERROR, "commit-not-persisted file=%s error=\"%s\"",
			apply->config_file, strerror(-err));
	return err;
}

/* ---- a commit in steps: each step is a turn of main, so requests wait for a step only ---- */

enum commit_step {
	COMMIT_PARSE,
	COMMIT_PREPARE,
	COMMIT_SWITCH,
	COMMIT_CHANGE, /* the changes of present peers; several turns */
	COMMIT_RELEASE, /* free or hold the old configuration */
	COMMIT_SAVE,
	COMMIT_NOTE,
	COMMIT_DONE
};

struct commit {
	struct apply *apply;
	enum commit_step step;
	json_t *document;
	char *comment;
	char *user_key, *user_name; /* the author; NULL: keeld */
	uint32_t confirm_s;
	uint32_t candidate_revision; /* of the author's candidate; 0: another document */
	bool restores; /* a document of the history */
	struct config *next; /* until COMMIT_SWITCH */
	struct config *old; /* from COMMIT_SWITCH to COMMIT_RELEASE */
	struct change *changes; /* of COMMIT_CHANGE */
	unsigned change_count;
	struct works *works;
	struct apply_commit_result result;
	void (*done)(void *ctx, struct apply_commit_result *r); /* not used by apply_commit() */
	void *ctx;
};

static void
commit_fini(struct commit *c)
{
	config_free(c->next);
	json_decref(c->document);
	free(c->comment);
	free(c->user_key);
	free(c->user_name);
}

/* Takes a reference to the document. False: out of memory; commit_fini() is still due. */
static bool
commit_init(
	struct commit *c, struct apply *apply, json_t *document, const struct apply_commit_order *o)
{
	*c = (struct commit){.apply = apply,
		.document = json_incref(document),
		.comment = strdup(o->comment != NULL ? o->comment : ""),
		.user_key = o->user != NULL ? strdup(o->user->key) : NULL,
		.user_name = o->user != NULL ? strdup(o->user->name) : NULL,
		.confirm_s = o->confirm_s,
		.candidate_revision = o->candidate_revision,
		.restores = o->restores};
	return c->comment != NULL &&
	       (o->user == NULL || (c->user_key != NULL && c->user_name != NULL));
}

/* The author; NULL: keeld. `buf` holds the result. */
static const struct apply_user *
commit_user(const struct commit *c, struct apply_user *buf)
{
	*buf = (struct apply_user){c->user_key, c->user_name};
	return c->user_key != NULL ? buf : NULL;
}

/* Finds all faults except too many peers, a fault of assign_ids(). */
static int
commit_parse(struct commit *c)
{
	struct faults *f = &c->result.faults;

	c->next = config_parse(c->apply->host, c->document, f);
	if (c->next == NULL)
		return -EINVAL;
	apply_restart_keys(c->apply, c->next, f);
	return f->count > 0 ? -EINVAL : 0;
}

bool
apply_ports(struct apply *apply, const struct config *next, bool restores, struct faults *f)
{
	return apply->ports == NULL || apply->ports(apply->watch_ctx, next, restores, f) == 0;
}

/* After apply_ports() for a configuration that is refused later. */
static void
ports_back(struct apply *apply, const struct config *running) RUNS_ON(role_main)
{
	struct faults ignored = {0};

	(void)apply_ports(apply, running, true, &ignored);
	faults_fini(&ignored);
}

/*
 * Makes the new configuration the running configuration. Nothing can be refused after the tables of
 * new instances and assign_ids().
 */
static int
commit_switch(struct commit *c) RUNS_ON(role_main)
{
	struct apply *apply = c->apply;
	struct config *old = apply->running;
	struct peer_id *old_ids = apply->peers->of_config;
	struct joined joined;
	struct apply_user user;

	if (!apply_ports(apply, c->next, c->restores, &c->result.faults))
		return -EINVAL;
	if (!apply_instances_prepare(apply, c->next, &c->result.faults) ||
		!assign_ids(apply, c->next, &joined, &c->result.faults)) {
		apply_instances_switch(apply);
		ports_back(apply, old);
		return -EINVAL;
	}
	c->result.effects = json_array();
	apply_run(apply, c->next);
	c->next = NULL;
	apply_candidates_follow(apply, commit_user(c, &user), c->candidate_revision, old->document);
	apply->peers->of_config = joined.ids;
	apply->revision++;
	c->old = old;
	c->changes = joined.changes;
	c->change_count =
		switch_over(apply, old, old_ids, joined.was, joined.changes, c->result.effects);
	free(old_ids);
	free(joined.was);
	c->works = apply_works_begin(apply, c->changes, c->change_count, c->result.effects);
	return 0;
}

/* Host routes, tunnels, caches, collectors and files of the running configuration. */
static void
host_apply(struct apply *apply, const struct config *old) RUNS_ON(role_main)
{
	const struct config *c = apply->running;

	if (apply->tunnels != NULL &&
		(c->tunnel_count > 0 || (old != NULL && old->tunnel_count > 0)))
		apply->tunnels(apply->watch_ctx, c);
	host_routes_apply(apply->host_routes, old, c);
	if (apply->rpki != NULL)
		rpki_configure(apply->rpki, c);
	if (apply->bmp != NULL)
		bmp_configure(apply->bmp, c);
	if (apply->mrt != NULL)
		mrt_configure(apply->mrt, c);
}

/* True if the step needs another turn. */
static bool
commit_change(struct commit *c) RUNS_ON(role_main)
{
	if (c->works != NULL && apply_works_step(c->works))
		return true;
	apply_works_end(c->works);
	c->works = NULL;
	for (unsigned i = 0; i < c->change_count; i++)
		if (c->changes[i].was->dynamic)
			free((void *)(uintptr_t)c->changes[i].was);
	free(c->changes);
	c->changes = NULL;
	host_apply(c->apply, c->old);
	apply_pending_schedule(c->apply);
	return false;
}

static void
report_commit(struct apply *apply, const struct commit *c) RUNS_ON(role_main)
{
	const char *user = c->user_name != NULL ? c->user_name : APPLY_NOBODY;
	char comment[256], name[256];
	json_t *e = json_pack("{s:s, s:I, s:I, s:s, s:s}", "event", "commit", "commit",
		(json_int_t)apply->last_commit_id, "revision", (json_int_t)apply->revision,
		"comment", c->comment, "user", user);

	apply->commits++;
	if (e != NULL && c->confirm_s != 0)
		json_object_set_new(e, "confirm_s", json_integer(c->confirm_s));
	apply_report(apply, "commit", e);
	log_event(LOG_INFO, "commit id=%u revision=%u effects=%zu confirm_s=%u user=%s comment=%s",
		apply->last_commit_id, apply->revision, json_array_size(c->result.effects),
		c->confirm_s, log_escape(user, strlen(user), name, sizeof(name)),
		log_escape(c->comment, strlen(c->comment), comment, sizeof(comment)));
}

static void
commit_step_run(struct commit *c) RUNS_ON(role_main)
{
	struct apply *apply = c->apply;
	struct apply_user user;
	int err = 0;

	switch (c->step) {
	case COMMIT_PARSE:
		err = commit_parse(c);
		break;
	case COMMIT_PREPARE:
		if (apply_history_prepare(apply, c->document, c->confirm_s, &c->result.faults) != 0)
			err = -EIO;
		break;
	case COMMIT_SWITCH:
		err = commit_switch(c);
		break;
	case COMMIT_CHANGE:
		if (commit_change(c))
			return;
		break;
	case COMMIT_RELEASE:
		apply_config_hold(c->apply, c->old);
		c->old = NULL;
		break;
	case COMMIT_SAVE:
		c->result.persisted = apply_save(apply) == 0;
		break;
	case COMMIT_NOTE:
		apply_history_commit(apply, c->comment, commit_user(c, &user), c->confirm_s,
			c->result.persisted);
		report_commit(apply, c);
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
	c->apply->under_way = NULL;
	timer_cancel(c->apply->layers->main_thread, &c->apply->commit_timer);
	c->done(c->ctx, &c->result);
	json_decref(c->result.effects);
	faults_fini(&c->result.faults);
	commit_fini(c);
	free(c);
}

static void
commit_fire(struct timer *t) RUNS_ON(role_main)
{
	struct apply *apply =
		(struct apply *)(void *)((char *)t - offsetof(struct apply, commit_timer));
	struct commit *c = apply->under_way;

	if (c == NULL)
		return;
	if (c->step == COMMIT_DONE) {
		commit_end(c);
		return;
	}
	commit_step_run(c);
	if (timer_arm(c->apply->layers->main_thread, t, 0) != 0)
		apply_commit_finish(c->apply);
}

void
apply_changes_finish(struct apply *apply)
{
	while (apply->under_way != NULL && apply->under_way->step == COMMIT_CHANGE)
		commit_step_run(apply->under_way);
}

void
apply_commit_finish(struct apply *apply)
{
	struct commit *c = apply->under_way;

	if (c == NULL)
		return;
	while (c->step != COMMIT_DONE)
		commit_step_run(c);
	commit_end(c);
}

int
apply_commit_start(struct apply *apply, json_t *document, const struct apply_commit_order *o,
	void (*done)(void *ctx, struct apply_commit_result *r), void *ctx)
{
	struct commit *c = calloc(1, sizeof(*c));

	apply_commit_finish(apply);
	if (c == NULL)
		return -ENOMEM;
	if (!commit_init(c, apply, document, o) ||
		timer_arm(apply->layers->main_thread, &apply->commit_timer, 0) != 0) {
		commit_fini(c);
		free(c);
		return -ENOMEM;
	}
	c->done = done;
	c->ctx = ctx;
	apply->under_way = c;
	return 0;
}

int
apply_commit(struct apply *apply, json_t *document, const struct apply_commit_order *o,
	json_t **effects, bool *persisted, struct faults *f)
{
	struct commit c;

	apply_commit_finish(apply);
	if (!commit_init(&c, apply, document, o)) {
		commit_fini(&c);
		return -ENOMEM;
	}
	c.result.faults = *f;
	while (c.step != COMMIT_DONE)
		commit_step_run(&c);
	*f = c.result.faults;
	*effects = c.result.effects;
	*persisted = c.result.persisted;
	commit_fini(&c);
	return c.result.err;
}

int
apply_create(const struct apply_config *c, struct apply **out)
{
	struct apply *apply = calloc(1, sizeof(*apply));

	if (apply == NULL)
		return -ENOMEM;
	*apply = (struct apply){.host = c->host,
		.layers = c->layers,
		.jobs = c->jobs,
		.host_routes = c->host_routes,
		.config_file = c->config_file,
		.state_dir = c->state_dir,
		.report = c->report,
		.report_ctx = c->report_ctx,
		.watch = c->watch,
		.unwatch = c->unwatch,
		.peer = c->peer,
		.tunnels = c->tunnels,
		.ports = c->ports,
		.rpki = c->rpki,
		.bmp = c->bmp,
		.mrt = c->mrt,
		.watch_ctx = c->watch_ctx,
		.revision = 1,
		.flush_timer.fire = flush_poll,
		.commit_timer.fire = commit_fire};
	apply->peers = peers_create(c->running);
	if (apply->peers == NULL || apply_plan_create(apply) != 0 ||
		apply_instances_create(apply) != 0 || apply_refreshes_create(apply) != 0 ||
		apply_previews_create(apply) != 0 || apply_candidates_create(apply) != 0) {
		apply_destroy(apply);
		return -ENOMEM;
	}
	apply_run(apply, c->running);
	file_is_running(apply);
	*out = apply;
	return 0;
}

void
apply_swap_range(struct apply *apply, struct swaps_config *out)
{
	bool sound = swap_range_take(apply->state_dir, now_ns(), out);

	apply->labels_rest_ns = sound ? 0 : out->all_ns;
}

bool
apply_swaps_alarm(const struct apply *apply, char text[static APPLY_ALARM_MAX])
{
	struct swaps_figures f;

	speaker_label_figures(apply->layers->speaker, &f);
	if (f.full && now_ns() < apply->labels_rest_ns)
		snprintf(text, APPLY_ALARM_MAX,
			"swap-labels.json in %.160s is broken or cannot be written: VPN routes "
			"with our next hop wait %llu s for labels",
			apply->state_dir, (unsigned long long)(SWAP_START_REST_NS / 1000000000));
	else if (f.full)
		snprintf(text, APPLY_ALARM_MAX,
			"no MPLS label is free for VPN routes with our next hop; %u are in use or "
			"rest",
			f.in_use);
	else if (f.failed > 0)
		snprintf(text, APPLY_ALARM_MAX,
			"memory was short for %u MPLS labels of VPN routes with our next hop",
			f.failed);
	return f.full || f.failed > 0;
}

int
apply_start(struct apply *apply)
{
	int err;

	if (trail_open(apply->state_dir, &apply->trail) != 0 || apply_history_start(apply) != 0)
		return -ENOMEM;
	apply->peers->of_config =
		calloc(apply->running->peer_count + 1, sizeof(*apply->peers->of_config));
	if (apply->peers->of_config == NULL)
		return -ENOMEM;
	err = session_order(apply->layers, &(struct session_order){.kind = SESSION_ORDER_LISTEN});
	if (err != 0) {
		log_event(LOG_ERROR, "listen-failed port=179 error=\"%s\"", strerror(-err));
		return err;
	}
	err = apply_instances_start(apply);
	if (err != 0)
		return err;
	apply_settings(apply, NULL, apply->running);
	apply_ranges(apply, apply->running);
	host_apply(apply, NULL);
	for (unsigned i = 0; i < apply->running->peer_count; i++) {
		apply->peers->of_config[i] = peers_id_new(apply->peers);
		if (apply->peers->of_config[i].v != 0)
			apply->peers->slot[apply->peers->of_config[i].v].config =
				&apply->running->peers[i];
		err = apply->peers->of_config[i].v != 0
			      ? apply_peer_start(apply, apply->running, &apply->running->peers[i],
					apply->peers->of_config[i])
			      : -ENOSPC;
		if (err != 0)
			return err;
	}
	return 0;
}

/* Logs every fault, without the rate limit of log_event(): SIGHUP has no other answer. */
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

enum apply_reload
apply_reload_begin(struct apply *apply, const json_t *document, int *err)
{
	*err = 0;
	if (json_equal(document, apply->running->document) &&
		!config_policy_files_changed(apply->running)) {
		file_is_running(apply);
		return RELOAD_UNCHANGED;
	}
	if (!json_equal(document, apply->in_file) || json_equal(document, apply->running->document))
		return RELOAD_COMMIT;
	*err = apply_save(apply);
	return RELOAD_WRITTEN;
}

void
apply_reload_committed(struct apply *apply)
{
	file_is_running(apply);
}

/* 0, or an error of apply_commit(). */
static int
reload_commit(struct apply *apply, json_t *document, struct faults *f) RUNS_ON(role_main)
{
	const struct apply_commit_order order = {.comment = "SIGHUP"};
	json_t *effects = NULL;
	bool persisted;
	int err = apply_commit(apply, document, &order, &effects, &persisted, f);

	if (err == 0)
		apply_reload_committed(apply);
	json_decref(effects);
	return err;
}

struct trail *
apply_trail(const struct apply *apply)
{
	return apply->trail;
}

void
apply_audit(struct apply *apply, const char *from, const char *method, const char *fault)
{
	json_t *line =
		json_pack("{s:s, s:s, s:s}", "user", APPLY_NOBODY, "from", from, "method", method);

	if (fault != NULL)
		json_object_set_new(
			line, "error", json_pack("{s:i, s:s}", "code", -32005, "reason", fault));
	else
		json_object_set_new(line, "result",
			json_pack("{s:I, s:I}", "commit", (json_int_t)apply->last_commit_id,
				"revision", (json_int_t)apply->revision));
	trail_add(apply->trail, line);
}

/* 0, or the error of the commit or of the file. */
static int
reload_document(struct apply *apply, json_t *document, struct faults *f) RUNS_ON(role_main)
{
	int err;

	switch (apply_reload_begin(apply, document, &err)) {
	case RELOAD_UNCHANGED:
		log_event(LOG_INFO, "reload-unchanged file=%s", apply->config_file);
		break;
	case RELOAD_WRITTEN:
		if (err == 0)
			log_event(LOG_WARNING, "reload-written file=%s", apply->config_file);
		else
			log_event(LOG_ERROR, "reload-refused reason=commit-not-persisted");
		break;
	case RELOAD_COMMIT:
		err = reload_commit(apply, document, f);
		if (err != 0)
			log_reload_refused(NULL, f);
		break;
	}
	return err;
}

void
apply_reload(struct apply *apply)
{
	struct faults f = {0};
	char *message = NULL;
	char users[CANDIDATES_TEXT_MAX], text[2 * CANDIDATES_TEXT_MAX];
	json_t *document;
	int err = 0;

	apply_commit_finish(apply);
	if (apply_candidates_text(apply, users)) {
		log_event(LOG_ERROR, "reload-refused reason=candidate-holds-edits users=%s",
			log_escape(users, strlen(users), text, sizeof(text)));
		apply_audit(apply, "signal", "SIGHUP", "a candidate holds edits");
		return;
	}
	if (apply_confirm_waits(apply)) {
		log_event(LOG_ERROR, "reload-refused reason=commit-awaits-confirmation");
		apply_audit(apply, "signal", "SIGHUP", "a commit waits for its confirmation");
		return;
	}
	document = config_load(apply->config_file, &message, &f);
	if (document != NULL)
		err = reload_document(apply, document, &f);
	else
		log_reload_refused(message, &f);
	apply_audit(apply, "signal", "SIGHUP",
		message != NULL ? message
		: f.count > 0	? f.fault[0].reason
		: err != 0	? strerror(-err)
				: NULL);
	free(message);
	faults_fini(&f);
	json_decref(document);
}

void
apply_destroy(struct apply *apply)
{
	if (apply == NULL)
		return;
	apply_previews_destroy(apply);
	peers_destroy(apply->peers);
	apply_refreshes_destroy(apply);
	apply_plan_destroy(apply);
	apply_history_destroy(apply);
	apply_instances_destroy(apply);
	config_free(apply->running);
	apply_candidates_destroy(apply);
	trail_close(apply->trail);
	json_decref(apply->in_file);
	free(apply);
}
