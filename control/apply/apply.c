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
#include "rib/feed/fib_feed.h"
#include "rib/policy/policy.h"

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
		.dynamic = c->dynamic,
		.asn = c->asn,
		.local_as = c->local_as,
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

/* ---- keys that are read at start ---- */

static const char *const start_objects[] = {"router", "dataplane", "management"};
#define START_OBJECTS (sizeof(start_objects) / sizeof(start_objects[0]))
#define TRACKING "next_hop_tracking" /* of `bgp` */

static json_t *
tracking_of(const json_t *document)
{
	return json_object_get(json_object_get(document, "bgp"), TRACKING);
}

/* Sets `key` to `value`, lent; NULL: no such key. */
static void
put(json_t *o, const char *key, json_t *value)
{
	if (value != NULL)
		(void)json_object_set(o, key, value);
	else
		(void)json_object_del(o, key);
}

/* `document` with the values of the start for the keys that are read at start. A new reference. */
static json_t *
as_started(const struct apply *apply, json_t *document) RUNS_ON(role_main)
{
	json_t *pending = apply_restart_required(apply, NULL, document), *out, *bgp;
	bool same = json_array_size(pending) == 0;

	json_decref(pending);
	if (same)
		return json_incref(document);
	out = json_copy(document);
	for (unsigned i = 0; i < START_OBJECTS; i++)
		put(out, start_objects[i], json_object_get(apply->started, start_objects[i]));
	if (json_equal(tracking_of(document), tracking_of(apply->started)))
		return out;
	bgp = json_object_get(document, "bgp");
	bgp = bgp != NULL ? json_copy(bgp) : json_object();
	put(bgp, TRACKING, tracking_of(apply->started));
	json_object_set_new(out, "bgp", bgp);
	return out;
}

struct config *
apply_parse(
	const struct apply *apply, json_t *document, const json_t *policy_files, struct faults *f)
{
	struct config *c =
		config_parse_with(apply->host, document, policy_files, apply->running, f);
	json_t *effective =
		c != NULL && apply->started != NULL ? as_started(apply, document) : NULL;
	unsigned faults = f->count;

	if (effective == NULL || effective == document) {
		json_decref(effective);
		return c;
	}
	config_free(c);
	c = config_parse_with(apply->host, effective, policy_files, apply->running, f);
	json_decref(effective);
	if (c == NULL && f->count > faults)
		faults_add(f, "",
			"valid after a restart alone: until then keeld has the values of its start "
			"for router, dataplane, management and bgp.next_hop_tracking");
	if (c == NULL)
		return NULL;
	/* texts of the values of the start belong to apply->started */
	json_decref(c->document);
	c->document = json_incref(document);
	return c;
}

static void
require(json_t *list, const char *object, const char *key, const json_t *started, const json_t *was,
	const json_t *is)
{
	json_t *path;

	if ((started == is || same_without_descriptions(started, is)) ||
		(was != NULL && (was == is || same_without_descriptions(was, is))))
		return;
	path = json_sprintf("/%s/%s", object, key);
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (json_equal(json_array_get(list, i), path)) {
			json_decref(path);
			return;
		}
	}
	json_array_append_new(list, path);
}

json_t *
apply_restart_required(const struct apply *apply, const json_t *was, const json_t *document)
{
	json_t *list = json_array(), *value;
	const char *key;

	for (unsigned i = 0; i < START_OBJECTS; i++) {
		const char *object = start_objects[i];
		json_t *started = json_object_get(apply->started, object),
		       *is = json_object_get(document, object),
		       *before = json_object_get(was, object);

		if (started == is)
			continue;
		json_object_foreach(is, key, value) if (strcmp(key, "description") != 0)
			require(list, object, key, json_object_get(started, key),
				json_object_get(before, key), value);
		json_object_foreach(started, key, value)
		{
			if (json_object_get(is, key) == NULL && strcmp(key, "description") != 0 &&
				(was == NULL || json_object_get(before, key) != NULL))
				require(list, object, key, value, NULL, NULL);
		}
	}
	require(list, "bgp", TRACKING, tracking_of(apply->started), tracking_of(was),
		tracking_of(document));
	return list;
}

json_t *
apply_restart_pending(const struct apply *apply)
{
	return apply->running != NULL
		       ? apply_restart_required(apply, NULL, apply->running->document)
		       : json_array();
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

/* FILE and policy files on their way to the disk. */
struct save {
	struct disk_job job;
	struct apply *apply;
	json_t *document, *files; /* the running ones at the time of the call */
	json_t *was_files;
	bool restores;
	struct apply_saved result;
	void (*done)(void *ctx, const struct apply_saved *r);
	void *ctx;
};

/* On the thread of the disk. */
static int
save_work(struct disk_job *j)
{
	struct save *s = (struct save *)(void *)((char *)j - offsetof(struct save, job));
	int err;

	if (s->restores)
		policy_files_return(s->files, s->was_files);
	err = config_save(j->file, s->document, s->apply->printer);
	if (s->was_files != NULL)
		s->result.files = policy_files_compare(s->was_files, s->files, &s->result.left);
	return err;
}

static void
save_done(struct disk_job *j, int err)
{
	struct save *s = (struct save *)(void *)((char *)j - offsetof(struct save, job));
	json_t *old = s->apply->in_file;

	s->apply->saves--;
	s->result.err = err;
	if (err == 0) {
		json_decref(s->apply->printed);
		s->apply->printed = json_incref(s->document);
		s->apply->in_file = json_incref(s->document);
		json_decref(old);
	} else {
		log_event(LOG_ERROR, "commit-not-persisted file=%s error=\"%s\"", j->file,
			strerror(-err));
	}
	s->done(s->ctx, &s->result);
	json_decref(s->result.files);
	json_decref(s->result.left);
	json_decref(s->document);
	json_decref(s->files);
	json_decref(s->was_files);
	free(s);
}

void
apply_save_files(struct apply *apply, json_t *was_files, bool restores,
	void (*done)(void *ctx, const struct apply_saved *r), void *ctx)
{
	struct save *s = malloc(sizeof(*s));

	if (s == NULL) {
		log_event(LOG_ERROR, "commit-not-persisted file=%s error=\"%s\"",
			apply->config_file, strerror(ENOMEM));
		done(ctx, &(struct apply_saved){.err = -ENOMEM});
		return;
	}
	*s = (struct save){
		.job = {.file = apply->config_file, .work = save_work, .done = save_done},
		.apply = apply,
		.document = json_incref(apply->running->document),
		.files = json_incref(apply->running->policy_files),
		.was_files = json_incref(was_files),
		.restores = restores,
		.done = done,
		.ctx = ctx};
	apply->saves++;
	disk_run(apply->disk, &s->job);
}

struct disk *
apply_aside(const struct apply *apply)
{
	return apply->aside;
}

struct saving {
	void (*done)(void *ctx, int err);
	void *ctx;
};

static void
saved(void *ctx, const struct apply_saved *r)
{
	struct saving *s = ctx;

	s->done(s->ctx, r->err);
	free(s);
}

void
apply_save(struct apply *apply, void (*done)(void *ctx, int err), void *ctx)
{
	struct saving *s = malloc(sizeof(*s));

	if (s == NULL) {
		done(ctx, -ENOMEM);
		return;
	}
	*s = (struct saving){done, ctx};
	apply_save_files(apply, NULL, false, saved, s);
}

/*
 * The time that main waits for the disk: when a request must not overtake an earlier one (a disk at work writes a commit in less); for the files of the start, which clients expect when keeld answers; at the end.
 */
#define DISK_PATIENCE_NS 20000000u
#define DISK_START_NS 2000000000u
#define DISK_END_NS 5000000000u

/* ---- a commit in steps: each step is a turn of main, so requests wait for a step only ---- */

enum commit_step {
	COMMIT_PARSE,
	COMMIT_PREPARE,
	COMMIT_SWITCH,
	COMMIT_CHANGE, /* the changes of present peers; several turns */
	COMMIT_RELEASE, /* free or hold the old configuration */
	COMMIT_NOTE,
	COMMIT_SAVE, /* the commit is not under way any more, and waits for its files */
	COMMIT_DONE /* refused */
};

struct commit {
	struct apply *apply;
	enum commit_step step;
	json_t *document;
	char *comment;
	char *user_key, *user_name; /* the author; NULL: keeld */
	uint32_t confirm_s;
	uint32_t candidate_revision; /* of the author's candidate; 0: another document */
	bool restores; /* a document and policy files of the history */
	bool waits; /* in COMMIT_PREPARE, for the disk */
	json_t *policy_files; /* as in the order */
	json_t *was_files; /* the policy files before the commit; from COMMIT_SWITCH */
	struct config *next; /* until COMMIT_SWITCH */
	struct config *old; /* from COMMIT_SWITCH to COMMIT_RELEASE */
	struct change *changes; /* of COMMIT_CHANGE */
	unsigned change_count;
	struct works *works;
	struct apply_commit_result result;
	void (*done)(void *ctx, struct apply_commit_result *r); /* NULL: refused while it waits */
	void *ctx;
};

static void
commit_fini(struct commit *c)
{
	config_free(c->next);
	json_decref(c->document);
	json_decref(c->policy_files);
	json_decref(c->was_files);
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
		.policy_files = json_incref(o->policy_files),
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
commit_parse(struct commit *c) RUNS_ON(role_main)
{
	struct faults *f = &c->result.faults;

	c->next = apply_parse(c->apply, c->document, c->policy_files, f);
	if (c->next == NULL)
		return -EINVAL;
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

	/* a port may be in a new instance */
	if (!apply_instances_prepare(apply, c->next, &c->result.faults) ||
		!apply_ports(apply, c->next, c->restores, &c->result.faults)) {
		apply_instances_switch(apply);
		return -EINVAL;
	}
	if (!assign_ids(apply, c->next, &joined, &c->result.faults)) {
		ports_back(apply, old);
		apply_instances_switch(apply);
		return -EINVAL;
	}
	c->result.effects = json_array();
	c->result.restart_required =
		apply_restart_required(apply, old->document, c->next->document);
	c->was_files = json_incref(old->policy_files);
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

static const char *
author_of(const struct commit *c)
{
	return c->user_name != NULL ? c->user_name : APPLY_NOBODY;
}

static void
log_commit(const struct commit *c) RUNS_ON(role_main)
{
	const char *user = author_of(c);
	char comment[256], name[256];

	log_event(LOG_INFO, "commit id=%u revision=%u effects=%zu confirm_s=%u user=%s comment=%s",
		c->result.commit, c->result.revision, json_array_size(c->result.effects),
		c->confirm_s, log_escape(user, strlen(user), name, sizeof(name)),
		log_escape(c->comment, strlen(c->comment), comment, sizeof(comment)));
	for (size_t i = 0; i < json_array_size(c->result.restart_required); i++)
		log_event(LOG_WARNING, "restart-required path=%s",
			json_string_value(json_array_get(c->result.restart_required, i)));
}

/* When the files are written: a subscriber may read them. */
static void
report_commit(const struct commit *c) RUNS_ON(role_main)
{
	json_t *e = json_pack("{s:s, s:I, s:I, s:s, s:s}", "event", "commit", "commit",
		(json_int_t)c->result.commit, "revision", (json_int_t)c->result.revision, "comment",
		c->comment, "user", author_of(c));

	if (e != NULL && c->confirm_s != 0)
		json_object_set_new(e, "confirm_s", json_integer(c->confirm_s));
	apply_report(c->apply, "commit", e);
}

void
apply_commit_result_fini(struct apply_commit_result *r)
{
	json_decref(r->document);
	json_decref(r->effects);
	json_decref(r->restart_required);
	json_decref(r->policy_files);
	faults_fini(&r->faults);
}

static void
commit_free(struct commit *c)
{
	apply_commit_result_fini(&c->result);
	commit_fini(c);
	free(c);
}

static void
commit_end(struct commit *c)
{
	c->done(c->ctx, &c->result);
	commit_free(c);
}

/* FILE and the history have the commit, or cannot have it. */
static void
commit_settled(void *ctx) RUNS_ON(role_main)
{
	struct commit *c = ctx;
	struct apply *apply = c->apply;

	apply->saving--;
	report_commit(c);
	commit_end(c);
	if (apply->saving == 0)
		apply_history_saved(apply);
}

static void
commit_saved(void *ctx, const struct apply_saved *r) RUNS_ON(role_main)
{
	struct commit *c = ctx;

	c->result.persisted = r->err == 0;
	c->result.policy_files = json_incref(r->files);
	if (r->files != NULL)
		apply_note_left(c->apply, r->files);
	/*
	 * Not persisted: FILE may still hold an unconfirmed commit, so a restart has to roll back,
	 * too.
	 */
	apply_history_settle(c->apply, c->result.commit, r->left,
		r->err != 0	    ? HISTORY_NOT_WRITTEN
		: c->confirm_s != 0 ? HISTORY_WAITS
				    : HISTORY_CONFIRMED,
		commit_settled, c);
}

static void
commit_noted(void *ctx, int err)
{
	(void)ctx;
	(void)err; /* logged; the commit is in force without an entry in the history */
}

/* The history has the commit that is to be confirmed: the next steps may follow. */
static void
commit_prepared(void *ctx, int err) RUNS_ON(role_main)
{
	struct commit *c = ctx;

	if (c->done == NULL) {
		commit_free(c);
		return;
	}
	c->waits = false;
	if (err != 0) {
		/* Without the entry on disk a restart could not roll back. */
		faults_add(&c->result.faults, "",
			"the commit cannot be stored until the confirmation: %s", strerror(-err));
		c->result.err = -EIO;
		c->step = COMMIT_DONE;
	}
	if (timer_arm_sooner(c->apply->layers->main_thread, &c->apply->commit_timer, 0) != 0)
		(void)apply_commit_finish(c->apply);
}

/* Answers for a commit that waits for the disk. Its memory is needed until commit_prepared(). */
static void
commit_refuse(struct commit *c, const char *why) RUNS_ON(role_main)
{
	timer_cancel(c->apply->layers->main_thread, &c->apply->commit_timer);
	c->apply->under_way = NULL;
	c->result.err = -EIO;
	faults_add(&c->result.faults, "", "%s", why);
	c->done(c->ctx, &c->result);
	c->done = NULL;
}

/* One step. Not to be called while the commit waits for the disk. */
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
		c->step = COMMIT_SWITCH;
		c->waits = c->confirm_s != 0;
		apply_history_prepare(
			apply, c->next, c->confirm_s, c->waits ? commit_prepared : commit_noted, c);
		return;
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
	case COMMIT_NOTE:
		c->result.commit = apply_history_commit(
			apply, c->comment, commit_user(c, &user), c->confirm_s);
		c->result.revision = apply->revision;
		c->result.document = json_incref(apply->running->document);
		apply->commits++;
		log_commit(c);
		break;
	case COMMIT_SAVE:
		timer_cancel(apply->layers->main_thread, &apply->commit_timer);
		apply->under_way = NULL;
		apply->saving++;
		apply_save_files(apply, c->was_files, c->restores, commit_saved, c);
		return; /* the commit may have ended */
	case COMMIT_DONE:
		timer_cancel(apply->layers->main_thread, &apply->commit_timer);
		apply->under_way = NULL;
		commit_end(c);
		return;
	}
	c->result.err = err;
	if (err != 0)
		c->result.document = json_incref(c->document);
	c->step = err != 0 ? COMMIT_DONE : c->step + 1;
}

static void
commit_fire(struct timer *t) RUNS_ON(role_main)
{
	struct apply *apply =
		(struct apply *)(void *)((char *)t - offsetof(struct apply, commit_timer));

	if (apply->under_way == NULL || apply->under_way->waits)
		return;
	commit_step_run(apply->under_way);
	if (apply->under_way != NULL && !apply->under_way->waits &&
		timer_arm_sooner(apply->layers->main_thread, t, 0) != 0)
		(void)apply_commit_finish(apply);
}

void
apply_changes_finish(struct apply *apply)
{
	while (apply->under_way != NULL && apply->under_way->step == COMMIT_CHANGE)
		commit_step_run(apply->under_way);
}

/* Requests for a disk that hangs cost main nothing. */
static uint64_t
disk_patience_ns(const struct apply *apply)
{
	return disk_is_slow(apply->disk) ? 0 : DISK_PATIENCE_NS;
}

bool
apply_commit_finish(struct apply *apply)
{
	struct commit *c = apply->under_way;

	while (c != NULL && apply->under_way == c) {
		if (!c->waits)
			commit_step_run(c);
		else if (!disk_await(apply->disk, disk_patience_ns(apply)) &&
			 apply->under_way == c && c->waits) /* else `c` is freed */
			return false;
	}
	return true;
}

/* Commits that may wait for their files: each keeps its document in memory. */
#define COMMITS_SAVING_MAX 8

static void
busy_text(const struct apply *apply, char text[static APPLY_ALARM_MAX])
{
	char why[DISK_ALARM_MAX] = "the disk is slow";

	(void)disk_alarm(apply->disk, why);
	snprintf(text, APPLY_ALARM_MAX, "an earlier change is being written (%.240s); try again",
		why);
}

bool
apply_may_change(struct apply *apply, char text[static APPLY_ALARM_MAX])
{
	bool free = apply_commit_finish(apply);

	if (free && (apply->saving >= COMMITS_SAVING_MAX || apply_history_busy(apply)))
		(void)disk_await(apply->disk, disk_patience_ns(apply));
	if (free && apply->under_way == NULL && apply->saving < COMMITS_SAVING_MAX &&
		!apply_history_busy(apply))
		return true;
	busy_text(apply, text);
	return false;
}

bool
apply_may_read_files(struct apply *apply, char text[static APPLY_ALARM_MAX])
{
	if (!apply_may_change(apply, text))
		return false;
	if (apply->saves > 0)
		(void)disk_await(apply->disk, disk_patience_ns(apply));
	if (apply->saves == 0 && apply->under_way == NULL)
		return true;
	busy_text(apply, text);
	return false;
}

void
apply_commit_make_way(struct apply *apply, const char *why)
{
	if (!apply_commit_finish(apply))
		commit_refuse(apply->under_way, why);
}

int
apply_commit_start(struct apply *apply, json_t *document, const struct apply_commit_order *o,
	void (*done)(void *ctx, struct apply_commit_result *r), void *ctx)
{
	char busy[APPLY_ALARM_MAX];

	if (!apply_may_change(apply, busy))
		return -EBUSY;
	return apply_commit_begin(apply, document, o, done, ctx);
}

int
apply_commit_begin(struct apply *apply, json_t *document, const struct apply_commit_order *o,
	void (*done)(void *ctx, struct apply_commit_result *r), void *ctx)
{
	struct commit *c = calloc(1, sizeof(*c));

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

void
apply_files_end(struct apply *apply, uint64_t patience_ns)
{
	apply->ends = true;
	(void)apply_commit_finish(apply);
	(void)disk_await(apply->disk, patience_ns);
	apply_commit_make_way(apply, "keeld ends, and the disk does not answer");
	(void)disk_end(apply->disk, patience_ns);
	apply_loads_take(apply);
	(void)disk_end(apply->aside, patience_ns);
}

bool
apply_disk_alarm(const struct apply *apply, char text[static APPLY_ALARM_MAX])
{
	static_assert(DISK_ALARM_MAX <= APPLY_ALARM_MAX, "room for the text");
	return disk_alarm(apply->disk, text);
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
		.commit_timer.fire = commit_fire,
		.load_timer.fire = apply_loads_fire};
	apply->peers = peers_create(c->running);
	apply->printer = config_printer_create();
	if (apply->peers == NULL || apply->printer == NULL || disk_create(&apply->disk) != 0 ||
		disk_create(&apply->aside) != 0 || apply_plan_create(apply) != 0 ||
		apply_instances_create(apply) != 0 || apply_refreshes_create(apply) != 0 ||
		apply_previews_create(apply) != 0 || apply_candidates_create(apply) != 0) {
		apply_destroy(apply, false);
		return -ENOMEM;
	}
	apply_run(apply, c->running);
	apply->started = json_incref(apply->running->document);
	apply_in_file(apply, apply->running->document);
	*out = apply;
	return 0;
}

void
apply_swap_range(struct apply *apply, struct swaps_config *out)
{
	bool sound = swap_range_take(apply->state_dir, now_ns(), out);

	apply->labels_rest_ns = sound ? 0 : out->all_ns;
}

struct label_shares {
	const struct layers *layers;
	struct swap_share wanting, most;
	unsigned owners;
};

static void
label_shares_read(void *arg) RUNS_ON(role_session)
{
	struct label_shares *x = arg;

	x->owners = speaker_labels_wanting(x->layers->speaker, &x->wanting, &x->most);
}

/* Whose routes have no label, and whose have the most. */
static void
label_shares_format(const struct apply *apply, const struct swaps_figures *f,
	char text[static APPLY_ALARM_MAX]) RUNS_ON(role_main)
{
	struct label_shares x = {.layers = apply->layers};
	char wants[ADDR_TEXT_MAX], most[ADDR_TEXT_MAX];

	layers_call_session(apply->layers, label_shares_read, &x);
	if (x.owners == 0) { /* since the figures were read */
		snprintf(text, APPLY_ALARM_MAX, "no MPLS label was free");
		return;
	}
	snprintf(text, APPLY_ALARM_MAX,
		"VPN routes of %s%s with our next hop wait for MPLS labels: it has %u, the most, "
		"%u, are of %s%s, and %u are in use or rest; at most as many as are free",
		x.wanting.owner.dynamic ? "the listen range of " : "peer ",
		addr_format(&x.wanting.owner.addr, wants), x.wanting.labels, x.most.labels,
		x.most.owner.dynamic ? "the listen range of " : "peer ",
		addr_format(&x.most.owner.addr, most), f->in_use);
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
		label_shares_format(apply, &f, text);
	else if (f.failed > 0)
		snprintf(text, APPLY_ALARM_MAX,
			"memory was short for %u MPLS labels of VPN routes with our next hop",
			f.failed);
	return f.full || f.failed > 0;
}

int
apply_start(struct apply *apply)
{
	int err = disk_start(apply->disk, "keel-disk", apply->layers->main_thread);

	if (err == 0)
		err = disk_start(apply->aside, "keel-aside", apply->layers->main_thread);

	if (err != 0)
		return err;
	if (trail_open(apply->state_dir, apply->disk, &apply->trail) != 0 ||
		apply_history_start(apply) != 0)
		return -ENOMEM;
	(void)disk_await(apply->disk, DISK_START_NS);
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

void
apply_destroy(struct apply *apply, bool keep)
{
	if (apply == NULL)
		return;
	timer_cancel(apply->layers->main_thread, &apply->flush_timer);
	timer_cancel(apply->layers->main_thread, &apply->commit_timer);
	timer_cancel(apply->layers->main_thread, &apply->load_timer);
	if ((apply->disk != NULL && !disk_end(apply->disk, DISK_END_NS)) ||
		(apply->aside != NULL && !disk_end(apply->aside, DISK_END_NS)))
		return; /* the thread still uses the memory */
	apply_previews_destroy(apply);
	peers_destroy(apply->peers);
	apply_refreshes_destroy(apply);
	apply_plan_destroy(apply);
	apply_history_destroy(apply);
	apply_instances_destroy(apply, keep);
	config_free(apply->running);
	apply_candidates_destroy(apply);
	trail_close(apply->trail);
	disk_destroy(apply->disk);
	disk_destroy(apply->aside);
	json_decref(apply->in_file);
	json_decref(apply->started);
	config_printer_destroy(apply->printer);
	json_decref(apply->printed);
	free(apply);
}
