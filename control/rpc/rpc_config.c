/* SPDX-License-Identifier: BSD-3-Clause */
/* The methods system.* and config.*, keel-rpc(7). */
#include "control/rpc/rpc_impl.h"

#include "control/config/config.h"
#include "control/base/disk.h"
#include "control/base/threads.h"
#include "lpm/base/arena.h"
#include "lpm/fib.h"
#include "rib/feed/fib_feed.h"
#include "dataplane/process/forwarder.h"
#include "dataplane/port/port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* null: without a data plane. */
static json_t *
forwarder_json(void)
{
	const struct forwarder_state *s = forwarder_current();

	if (s != NULL)
		return json_pack("{s:i, s:b, s:b, s:b, s:b, s:i, s:i, s:i}", "pid", (int)s->pid,
			"own", s->own, "adopted", s->adopted, "published", s->published, "lost",
			s->lost, "ends", (int)s->ends, "alone_s", (int)s->alone_s, "repairs",
			(int)s->repairs);
	return json_null();
}

static json_t *
system_info(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct fib_stats s = {0};
	struct apply_progress plan;
	const char *dpdk = "";
	json_t *alarms;

	(void)params;
	(void)call;
	if (env->layers->fib != NULL)
		fib_stats_get(env->layers->fib, &s);
	if (env->layers->fib != NULL)
		dpdk = forwarder_current()->dpdk;
	apply_progress_get(env->apply, &plan);
	alarms = rpc_alarms(env);
	return json_pack("{s:s, s:s*, s:f, s:s, s:i, s:b, s:I, s:i, s:o, s:I, s:o, s:o, s:o, "
			 "s:{s:b, s:i, s:I}, "
			 "s:o}",
		"version", KEEL_VERSION, "hostname", apply_running(env->apply)->hostname,
		"uptime_s", (double)(now_ns() - env->started_ns) / 1e9, "dpdk_version", dpdk, "pid",
		(int)getpid(), "dataplane", env->layers->fib != NULL, "generation",
		(json_int_t)s.generation, "revision", (int)apply_revision(env->apply),
		"restart_required", apply_restart_pending(env->apply), "policy_limit_hits",
		(json_int_t)policy_match_errors(NULL), "alarm_counts", rpc_alarm_counts(alarms),
		"alarms", alarms, "hash_probes", rpc_hash_probes(env), "commit_plan", "running",
		plan.running, "unfinished", (int)plan.unfinished, "held", (json_int_t)plan.held,
		"forwarder", forwarder_json());
}

/* An answer on its way. */
struct getting {
	struct disk_job job;
	struct rpc_env *env;
	struct rpc_call *call;
	json_t *document, *part;
	uint32_t revision;
	char *text, *path;
};

/* On a thread of its own: a document may have millions of values, which do not change (config_own()). */
static int
getting_work(struct disk_job *j)
{
	struct getting *g = (struct getting *)(void *)((char *)j - offsetof(struct getting, job));
	json_t *answer;

	g->part = config_secrets_hidden(g->document, g->path);
	if (g->part == NULL)
		return -ENOENT;
	answer = json_pack("{s:O, s:i}", "document", g->part, "revision", (int)g->revision);
	g->text = answer != NULL ? json_dumps(answer, JSON_COMPACT) : NULL;
	json_decref(answer);
	return g->text != NULL ? 0 : -ENOMEM;
}

static void
getting_free(struct getting *g)
{
	json_decref(g->part);
	json_decref(g->document);
	free(g->text);
	free(g->path);
	free(g);
}

static void
getting_done(struct disk_job *j, int err) RUNS_ON(role_main)
{
	struct getting *g = (struct getting *)(void *)((char *)j - offsetof(struct getting, job));

	if (err == -ENOENT)
		rpc_fail(
			g->call, RPC_NOT_FOUND, "/path", "there is nothing at \"%.128s\"", g->path);
	if (err == 0)
		rpc_reply_text(g->call, g->text);
	else
		rpc_reply(g->call, NULL);
	getting_free(g);
}

static void
getting_print(struct getting *g, json_t *document, uint32_t revision) RUNS_ON(role_main)
{
	g->document = json_incref(document);
	g->revision = revision;
	disk_run(apply_aside(g->env->apply), &g->job);
}

/* `path`: the parameter with the value FILE. */
static void
startup_failed(struct rpc_call *call, const char *path, const char *message, const struct faults *f)
	RUNS_ON(role_main)
{
	if (message != NULL)
		rpc_fail(call, RPC_CONFIGURATION, path, "%s", message);
	else
		rpc_fail_faults(call, RPC_CONFIGURATION, f);
}

static void
getting_loaded(void *ctx, json_t *document, const char *message, struct faults *f)
	RUNS_ON(role_main)
{
	struct getting *g = ctx;

	if (document != NULL) {
		getting_print(g, document, apply_revision(g->env->apply));
		return;
	}
	startup_failed(g->call, "/source", message, f);
	rpc_reply(g->call, NULL);
	getting_free(g);
}

static json_t *
config_get(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	const char *source = "running", *path = "";
	struct apply_user buf;
	const struct apply_user *user = rpc_user(call, &buf);
	struct getting *g;

	if (!rpc_string(params, "source", &source, call) ||
		!rpc_string(params, "path", &path, call))
		return NULL;
	if (strcmp(source, "running") != 0 && strcmp(source, "candidate") != 0 &&
		strcmp(source, "startup") != 0)
		return rpc_fail(call, RPC_INVALID_PARAMS, "/source",
			"\"%.64s\" is not one of running, candidate, startup", source);
	g = malloc(sizeof(*g));
	if (g == NULL)
		return NULL;
	*g = (struct getting){.job = {.work = getting_work, .done = getting_done},
		.env = env,
		.call = call,
		.path = strdup(path)};
	if (g->path == NULL || (*source == 's' && !apply_load(env->apply, getting_loaded, g))) {
		free(g->path);
		free(g);
		return NULL;
	}
	rpc_hold(call);
	if (*source == 'r')
		getting_print(g, apply_running(env->apply)->document, apply_revision(env->apply));
	else if (*source == 'c')
		getting_print(g, apply_candidate(env->apply, user),
			apply_candidate_revision(env->apply, user));
	return NULL;
}

/* Pointers into the array of operations become pointers into params. */
static json_t *
patch_refused(struct rpc_call *call, const struct faults *f) RUNS_ON(role_main)
{
	struct faults moved = {0};

	for (unsigned i = 0; i < f->count; i++) {
		char path[512];

		snprintf(path, sizeof(path), "/patch%s", f->fault[i].path);
		faults_add(&moved, path, "%s", f->fault[i].reason);
	}
	if (moved.count > 0)
		rpc_fail_faults(call, RPC_INVALID_PARAMS, &moved);
	faults_fini(&moved);
	return NULL;
}

/* Parameter `if_revision`: false after rpc_fail() unless the candidate has this revision. */
static bool
revision_agrees(struct rpc_env *env, const struct apply_user *user, json_t *params,
	struct rpc_call *call) RUNS_ON(role_main)
{
	uint32_t revision = apply_candidate_revision(env->apply, user);
	json_int_t if_revision = revision;

	if (!rpc_integer(params, "if_revision", 0, UINT32_MAX, &if_revision, call))
		return false;
	if (if_revision != revision)
		rpc_fail(call, RPC_INVALID_PARAMS, "/if_revision",
			"the candidate has revision %u; read it again and repeat the request",
			revision);
	return if_revision == revision;
}

/* Takes `next` over as the candidate; the answer to an edit. */
static json_t *
edit_answer(struct rpc_env *env, const struct apply_user *user, json_t *next, struct rpc_call *call)
	RUNS_ON(role_main)
{
	int changed = apply_candidate_replace(env->apply, user, next);

	if (changed == -ENOSPC)
		return rpc_fail(call, RPC_TRY_AGAIN, "",
			"%d users hold edits; one of them has to commit or discard",
			CANDIDATES_MAX);
	if (changed < 0)
		return rpc_fail(call, RPC_INTERNAL_ERROR, "", "out of memory");
	return json_pack("{s:b, s:i}", "changed", changed > 0, "revision",
		(int)apply_candidate_revision(env->apply, user));
}

static json_t *
config_edit(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	json_t *patch = json_object_get(params, "patch"), *merge = json_object_get(params, "merge"),
	       *next, *candidate;
	struct apply_user buf;
	const struct apply_user *user = rpc_user(call, &buf);
	struct faults f = {0};

	if ((patch == NULL) == (merge == NULL))
		return rpc_fail(call, RPC_INVALID_PARAMS, "",
			"exactly one of \"patch\" and \"merge\" is required");
	if (user == NULL)
		return rpc_fail(call, RPC_READ_ONLY, "",
			"the kernel does not name the user of this connection");
	if (!revision_agrees(env, user, params, call))
		return NULL;
	if (merge != NULL && !json_is_object(merge))
		return rpc_fail(call, RPC_INVALID_PARAMS, "/merge", "is not an object");
	candidate = apply_candidate(env->apply, user);
	next = patch != NULL ? config_patch(candidate, patch, &f) : config_merge(candidate, merge);
	if (next == NULL) {
		patch_refused(call, &f);
		faults_fini(&f);
		return NULL;
	}
	faults_fini(&f);
	if (!json_is_object(next)) {
		json_decref(next);
		return rpc_fail(call, RPC_INVALID_PARAMS, "/patch",
			"the edited document must be an object");
	}
	/* A value "***" means the present secret. */
	config_secrets_keep(next, candidate);
	config_secrets_keep(next, apply_running(env->apply)->document);
	next = config_share(next, apply_running(env->apply)->document);
	return edit_answer(env, user, next, call);
}

static json_t *
config_validate(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct apply_user buf;
	const struct apply_user *user = rpc_user(call, &buf);
	struct faults f = {0};
	struct config *c = apply_parse(env->apply, apply_candidate(env->apply, user),
		apply_policy_files(env->apply, user, -1), &f);
	json_t *errors = json_array(), *restart = NULL;
	bool valid;

	(void)params;
	valid = c != NULL && f.count == 0;
	for (unsigned i = 0; i < f.count; i++)
		json_array_append_new(errors, json_pack("{s:s, s:s}", "path", f.fault[i].path,
						      "reason", f.fault[i].reason));
	if (valid)
		restart = apply_restart_required(
			env->apply, apply_running(env->apply)->document, c->document);
	if (c != NULL)
		config_free(c);
	faults_fini(&f);
	return json_pack(
		"{s:b, s:o, s:o*}", "valid", valid, "errors", errors, "restart_required", restart);
}

/* [{op, path, value}] and the old values, without secrets. */
static json_t *
diff_answer(const json_t *from, const json_t *to) RUNS_ON(role_main)
{
	json_t *old, *elements, *diff = config_diff_old(from, to, &old, &elements);

	config_secrets_hide_diff(diff);
	config_secrets_hide_old(diff, old);
	return json_pack("{s:o, s:o, s:o}", "diff", diff, "old", old, "elements", elements);
}

#define TEXT_SHOWN_MAX (1u << 20)

/*
 * A new reference: a text for an answer, or null for none, a long one, one that is no UTF-8, and one of a file outside of the folder
 * of FILE.
 */
static json_t *
text_shown(const struct rpc_env *env, const char *path, const json_t *text)
{
	size_t len = json_string_length(text);
	json_t *shown = NULL;

	if (text != NULL && len <= TEXT_SHOWN_MAX &&
		policy_file_is_inside(env->host != NULL ? env->host->folder : NULL, path))
		shown = json_stringn(json_string_value(text), len);
	return shown != NULL ? shown : json_null();
}

/* [{path, old, new}] of the policy files that differ. */
static json_t *
texts_diff(const struct rpc_env *env, const json_t *was, const json_t *is) RUNS_ON(role_main)
{
	json_t *left, *list = policy_files_compare(was, is, &left), *e;
	const char *path;
	size_t i;

	json_decref(left);
	left = json_array();
	json_array_foreach(list, i, e)
	{
		path = json_string_value(json_object_get(e, "path"));
		if (json_is_true(json_object_get(e, "changed")))
			json_array_append_new(left,
				json_pack("{s:s, s:o, s:o}", "path", path, "old",
					text_shown(env, path, json_object_get(was, path)), "new",
					text_shown(env, path, json_object_get(is, path))));
	}
	json_decref(list);
	return left;
}

/* [{path, changed: false, on_disk: false}] of the running policy files whose file differs. */
static json_t *
files_left(struct rpc_env *env) RUNS_ON(role_main)
{
	const json_t *running = apply_running(env->apply)->policy_files;
	json_t *left, *list = policy_files_compare(running, running, &left);

	json_decref(left);
	return list;
}

/* For a refused commit: what is missing may be in a file that the commit has not taken. NULL. */
static json_t *
files_left_data(struct rpc_env *env, struct rpc_call *call) RUNS_ON(role_main)
{
	return rpc_fail_data(call, "policy_files", files_left(env));
}

/* files_left() with both texts, and whether a commit of the candidate takes the file. */
static json_t *
files_diff(struct rpc_env *env, const struct apply_user *user) RUNS_ON(role_main)
{
	const json_t *running = apply_running(env->apply)->policy_files;
	bool takes = apply_policy_files(env->apply, user, -1) == NULL;
	json_t *list = files_left(env), *e;
	size_t i;

	json_array_foreach(list, i, e)
	{
		const char *path = json_string_value(json_object_get(e, "path"));
		json_t *disk = policy_file_text(path);

		json_object_set_new(e, "changed", json_boolean(takes));
		json_object_set_new(e, "on_disk", json_boolean(takes));
		json_object_set_new(
			e, "old", text_shown(env, path, json_object_get(running, path)));
		json_object_set_new(e, "new", text_shown(env, path, disk));
		json_decref(disk);
	}
	return list;
}

/* Without secrets; a new reference. NULL: out of memory. */
static json_t *
conflicts_shown(struct rpc_env *env, const struct apply_user *user) RUNS_ON(role_main)
{
	json_t *conflicts = apply_candidate_conflicts(env->apply, user);
	json_t *shown = json_deep_copy(conflicts);

	json_decref(conflicts);
	config_secrets_hide(shown);
	return shown;
}

static json_t *
config_diff_method(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct apply_user buf;
	const struct apply_user *user = rpc_user(call, &buf);
	json_t *answer =
		diff_answer(apply_running(env->apply)->document, apply_candidate(env->apply, user));

	(void)params;
	json_object_set_new(
		answer, "revision", json_integer(apply_candidate_revision(env->apply, user)));
	json_object_set_new(answer, "conflicts", conflicts_shown(env, user));
	json_object_set_new(answer, "policy_files", files_diff(env, user));
	return answer;
}

static json_t *
config_discard(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct apply_user buf;
	const char *name = NULL;

	if (!rpc_string(params, "user", &name, call))
		return NULL;
	if (name == NULL)
		apply_candidate_discard(env->apply, rpc_user(call, &buf));
	else if (!apply_candidate_discard_of(env->apply, name))
		return rpc_fail(call, RPC_NOT_FOUND, "/user", "\"%.64s\" has no edits", name);
	return json_object();
}

static json_t *
config_candidates(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct apply_user buf;
	const struct apply_user *user = rpc_user(call, &buf);
	json_t *answer = json_pack("{s:o}", "candidates", apply_candidates_json(env->apply));

	(void)params;
	if (user != NULL)
		json_object_set_new(answer, "you", json_string(user->name));
	return answer;
}

static json_t *
config_resolve(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	const char *keep = "";
	struct apply_user buf;
	const struct apply_user *user = rpc_user(call, &buf);

	if (!rpc_string(params, "keep", &keep, call))
		return NULL;
	apply_commit_finish(env->apply);
	if (!apply_candidate_resolve(env->apply, user, strcmp(keep, "mine") == 0))
		return rpc_fail(call, RPC_INTERNAL_ERROR, "", "out of memory");
	return json_pack("{s:i}", "revision", (int)apply_candidate_revision(env->apply, user));
}

#define SHOWN (JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII) /* of a value in a reason */
#define CONFIRM_MAX_S 86400
/* As for a description; the last 100 comments are written with each commit. */
#define COMMENT_MAX 4096

/* The answer to commit and rollback, or the reason for a refusal. `confirmed`: number of the confirmed commit; 0: none. */
static json_t *
commit_answer(struct rpc_env *env, const struct apply_commit_result *r, uint32_t confirmed,
	struct rpc_call *call) RUNS_ON(role_main)
{
	json_t *answer;

	if (r->err != 0)
		return r->faults.count > 0
			       ? rpc_fail_document(call, RPC_CONFIGURATION, &r->faults, r->document)
			       : NULL;
	answer = json_pack("{s:I, s:I, s:O, s:O, s:b, s:O*}", "commit", (json_int_t)r->commit,
		"revision", (json_int_t)r->revision, "effects", r->effects, "restart_required",
		r->restart_required, "persisted", r->persisted, "policy_files", r->policy_files);
	if (confirmed != 0)
		json_object_set_new(answer, "confirmed", json_integer(confirmed));
	return answer;
}

/* False after rpc_fail(): an earlier change waits for the disk. `reads`: the change reads files that keeld writes. */
static bool
may_change(struct rpc_env *env, struct rpc_call *call, bool reads) RUNS_ON(role_main)
{
	char text[APPLY_ALARM_MAX];

	if (reads ? apply_may_read_files(env->apply, text) : apply_may_change(env->apply, text))
		return true;
	rpc_fail(call, RPC_TRY_AGAIN, "", "%s", text);
	return false;
}

/* After may_change(), an error of a function that begins a change. */
static json_t *
not_begun(struct rpc_call *call, int err)
{
	return rpc_fail(call, err == -EBUSY ? RPC_TRY_AGAIN : RPC_INTERNAL_ERROR, "", "%s",
		err == -EBUSY ? "an earlier change is being written; try again" : "out of memory");
}

bool
rpc_take_files(json_t *params, int *take, struct rpc_call *call)
{
	bool given = false;

	if (!rpc_boolean(params, "policy_files", &given, call))
		return false;
	*take = json_object_get(params, "policy_files") != NULL ? given : -1;
	return true;
}

/* A running commit, for the answer. */
struct committing {
	struct rpc_env *env;
	struct rpc_call *call;
	uint32_t confirmed;
	bool takes; /* the policy files on disk */
};

static void
commit_done(void *ctx, struct apply_commit_result *r) RUNS_ON(role_main)
{
	struct committing *c = ctx;
	struct rpc_env *env = c->env;
	json_t *answer = commit_answer(env, r, c->confirmed, c->call);

	if (r->err != 0 && !c->takes)
		files_left_data(env, c->call);
	rpc_reply(c->call, answer);
	free(c);
}

/* The answer to a commit of an unchanged candidate. `err`: of FILE. */
static void
unchanged_done(void *ctx, int err) RUNS_ON(role_main)
{
	struct committing *c = ctx;
	struct rpc_env *env = c->env;
	json_t *answer = json_pack("{s:n, s:I, s:[], s:[], s:b, s:o*}", "commit", "revision",
		(json_int_t)apply_revision(env->apply), "effects", "restart_required", "persisted",
		err == 0, "policy_files", files_left(env));

	if (c->confirmed != 0 && apply_commit_waiting(env->apply) != c->confirmed)
		json_object_set_new(answer, "confirmed", json_integer(c->confirmed));
	rpc_reply(c->call, answer);
	free(c);
}

/* False after rpc_fail(): another commit has changed objects of the candidate. */
static bool
conflicts_free(struct rpc_env *env, const struct apply_user *user, struct rpc_call *call)
	RUNS_ON(role_main)
{
	json_t *conflicts = conflicts_shown(env, user), *c;
	struct faults f = {0};
	size_t i;

	json_array_foreach(conflicts, i, c)
	{
		const char *path = json_string_value(json_object_get(c, "path")),
			   *by = json_string_value(json_object_get(c, "user"));
		char *running = json_dumps(json_object_get(c, "running"), SHOWN),
		     *candidate = json_dumps(json_object_get(c, "candidate"), SHOWN);

		faults_add(&f, path != NULL ? path : "",
			"%s: changed by %s in commit %lld: running %.400s, candidate %.400s",
			json_string_value(json_object_get(c, "object")), by != NULL ? by : "?",
			(long long)json_integer_value(json_object_get(c, "commit")), running,
			candidate);
		free(running);
		free(candidate);
	}
	if (f.count > 0) {
		rpc_fail_faults(call, RPC_CONFLICT, &f);
		rpc_fail_data(call, "conflicts", json_incref(conflicts));
	}
	json_decref(conflicts);
	i = f.count;
	faults_fini(&f);
	return i == 0;
}

/* True if the parameter `sessions` has the session. */
static bool
is_agreed(const json_t *agreed, const json_t *session)
{
	const json_t *a;
	size_t i;

	json_array_foreach(agreed, i, a)
	{
		if (json_equal(
			    json_object_get(a, "address"), json_object_get(session, "address")) &&
			json_equal(json_object_get(a, "vrf"), json_object_get(session, "vrf")))
			return true;
	}
	return false;
}

/*
 * Parameters `force` and `sessions`: false after rpc_fail() if `force` is false and the document would
 * end a session that is up and not in `sessions`.
 */
static bool
sessions_stay(struct rpc_env *env, json_t *params, json_t *document, const json_t *policy_files,
	struct rpc_call *call) RUNS_ON(role_main)
{
	struct faults f = {0};
	bool force = true;
	unsigned count, refused = 0;
	json_t *ends;

	if (!rpc_boolean(params, "force", &force, call))
		return false;
	if (force)
		return true;
	ends = apply_sessions_ended(env->apply, document, policy_files, &f);
	if (ends == NULL) {
		rpc_fail_document(call, RPC_CONFIGURATION, &f, document);
		faults_fini(&f);
		return false;
	}
	count = (unsigned)json_array_size(ends);
	for (unsigned i = 0; i < count; i++) {
		const json_t *e = json_array_get(ends, i);
		const char *reason = json_string_value(json_object_get(e, "reason"));

		if (is_agreed(json_object_get(params, "sessions"), e))
			continue;
		refused++;
		faults_add(&f, "", "the session with %s of VRF %s would end: %s",
			json_string_value(json_object_get(e, "address")),
			json_string_value(json_object_get(e, "vrf")),
			reason != NULL ? reason : "session-reset");
	}
	if (refused > 0) {
		rpc_fail_faults(call, RPC_NEEDS_FORCE, &f);
		rpc_fail_data(call, "sessions", json_incref(ends));
	}
	json_decref(ends);
	faults_fini(&f);
	return refused == 0;
}

static json_t *
config_commit(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	const char *comment = NULL;
	json_int_t confirm_s = 0;
	struct apply_user buf;
	const struct apply_user *user = rpc_user(call, &buf);
	struct apply_commit_order order;
	struct committing *c;
	json_t *document, *policy_files;
	uint32_t confirmed;
	bool unchanged;
	int take, err;

	if (!rpc_string(params, "comment", &comment, call) ||
		!rpc_take_files(params, &take, call) ||
		!rpc_integer(params, "confirm_s", 1, CONFIRM_MAX_S, &confirm_s, call))
		return NULL;
	if (comment != NULL && strlen(comment) > COMMENT_MAX)
		return rpc_fail(call, RPC_INVALID_PARAMS, "/comment",
			"has %zu octets; at most %d are allowed", strlen(comment), COMMENT_MAX);
	if (!may_change(env, call, false))
		return NULL;
	policy_files = apply_policy_files(env->apply, user, take);
	if (policy_files == NULL && !may_change(env, call, true))
		return NULL;
	document = apply_candidate(env->apply, user);
	if (!revision_agrees(env, user, params, call) || !conflicts_free(env, user, call))
		return NULL;
	if (!sessions_stay(env, params, document, policy_files, call))
		return policy_files != NULL ? files_left_data(env, call) : NULL;
	confirmed = confirm_s == 0 ? apply_commit_waiting(env->apply) : 0;
	unchanged = !apply_candidate_edited(env->apply, user) &&
		    (policy_files != NULL ||
			    !policy_files_changed(apply_running(env->apply)->policy_files));
	c = malloc(sizeof(*c));
	if (c == NULL)
		return rpc_fail(call, RPC_INTERNAL_ERROR, "", "out of memory");
	*c = (struct committing){env, call, confirmed, policy_files == NULL};
	order = (struct apply_commit_order){.user = user,
		.comment = comment,
		.confirm_s = (uint32_t)confirm_s,
		.candidate_revision = apply_candidate_revision(env->apply, user),
		.policy_files = policy_files};
	rpc_hold(call); /* done() may be called at once */
	err = unchanged ? apply_commit_unchanged(env->apply, (uint32_t)confirm_s, unchanged_done, c)
			: apply_commit_start(env->apply, document, &order, commit_done, c);
	if (err != 0) {
		rpc_reply(call, not_begun(call, err));
		free(c);
	}
	return NULL;
}

/* A reload that is under way, for its answer. */
struct reloading {
	struct rpc_env *env;
	struct rpc_call *call;
	struct apply_user user;
	struct apply_commit_order order;
};

static json_t *
written_answer(const struct reloading *c, int err) RUNS_ON(role_main)
{
	if (err != 0)
		return rpc_fail(c->call, RPC_CONFIGURATION, "",
			"the file lacks a commit, and cannot be written: %s", strerror(-err));
	return json_pack("{s:n, s:I, s:[], s:[], s:b, s:o*}", "commit", "revision",
		(json_int_t)apply_revision(c->env->apply), "effects", "restart_required",
		"persisted", true, "policy_files", files_left(c->env));
}

static void
reload_end(void *ctx, const struct apply_reloaded *r) RUNS_ON(role_main)
{
	struct reloading *c = ctx;
	json_t *answer = NULL;
	bool own;

	switch (r->end) {
	case RELOAD_BUSY:
		rpc_fail(c->call, RPC_TRY_AGAIN, "", "%s", r->text);
		break;
	case RELOAD_EDITED:
		own = c->order.user != NULL && strcmp(r->text, c->order.user->name) == 0;
		rpc_fail(c->call, RPC_CONFIGURATION, "",
			"the candidate %s%s%sholds edits; commit or discard them first",
			own ? "" : "of ", own ? "" : r->text, own ? "" : " ");
		break;
	case RELOAD_UNCONFIRMED:
		rpc_fail(c->call, RPC_CONFIGURATION, "",
			"a commit waits for its confirmation; confirm it or roll it back first");
		break;
	case RELOAD_UNREADABLE:
		startup_failed(c->call, "", r->text, r->faults);
		break;
	case RELOAD_UNCHANGED:
	case RELOAD_WRITTEN:
		answer = written_answer(c, r->err);
		break;
	case RELOAD_COMMITTED:
		answer = commit_answer(c->env, r->result, 0, c->call);
		break;
	case RELOAD_NOT_BEGUN:
		answer = not_begun(c->call, r->err);
		break;
	}
	rpc_reply(c->call, answer);
	free(c);
}

static json_t *
config_reload(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct reloading *c = malloc(sizeof(*c));

	(void)params;
	if (c == NULL)
		return NULL;
	*c = (struct reloading){env, call};
	c->order =
		(struct apply_commit_order){.user = rpc_user(call, &c->user), .comment = "reload"};
	rpc_hold(call);
	apply_reload(env->apply, &c->order, reload_end, c);
	return NULL;
}

static void
confirm_done(void *ctx, int err) RUNS_ON(role_main)
{
	struct rpc_call *call = ctx;

	rpc_reply(call, err == 0 ? json_object()
				 : rpc_fail(call, RPC_CONFIGURATION, "",
					   "the confirmation cannot be stored, so the commit still "
					   "waits: %s",
					   strerror(-err)));
}

static json_t *
config_confirm(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	int err;

	(void)params;
	if (!may_change(env, call, false))
		return NULL;
	rpc_hold(call);
	err = apply_confirm(env->apply, confirm_done, call);
	if (err != 0)
		rpc_reply(call, err == -ENOENT ? rpc_fail(call, RPC_NOT_FOUND, "",
							 "no commit waits for a confirmation")
					       : not_begun(call, err));
	return NULL;
}

/* sessions_stay() for a commit of the history. */
static bool
return_stays(struct rpc_env *env, json_t *params, uint32_t to, struct rpc_call *call)
	RUNS_ON(role_main)
{
	json_t *document = apply_commit_document(env->apply, to),
	       *files = apply_commit_files(env->apply, to);
	bool stays = document == NULL || sessions_stay(env, params, document, files, call);

	json_decref(files);
	json_decref(document);
	return stays;
}

static json_t *
config_rollback(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	json_int_t to = 0;
	struct apply_user buf;
	struct committing *c;
	bool force = true;
	int err;

	if (!rpc_integer(params, "to", 0, UINT32_MAX, &to, call) ||
		!rpc_boolean(params, "force", &force, call) || !may_change(env, call, false))
		return NULL;
	if (!force && !return_stays(env, params, (uint32_t)to, call))
		return NULL;
	c = malloc(sizeof(*c));
	if (c == NULL)
		return not_begun(call, -ENOMEM);
	*c = (struct committing){.env = env, .call = call, .takes = true};
	rpc_hold(call);
	err = apply_rollback(env->apply, (uint32_t)to, rpc_user(call, &buf), commit_done, c);
	if (err != 0) {
		rpc_reply(call, err == -ENOENT
					? rpc_fail(call, RPC_NOT_FOUND, "/to",
						  "there is no commit %lld; config.history lists "
						  "the commits",
						  (long long)to)
					: not_begun(call, err));
		free(c);
	}
	return NULL;
}

/* The commit `id` alone, with the difference to the commit before. */
static json_t *
history_of(struct rpc_env *env, json_int_t id, struct rpc_call *call) RUNS_ON(role_main)
{
	json_t *all = apply_commits_json(env->apply), *commits = json_object_get(all, "commits"),
	       *answer, *is, *was, *commit, *texts, *texts_before;
	const char *path;
	json_t *text;
	json_int_t before = -1;
	size_t i = 0;

	while (i < json_array_size(commits) &&
		json_integer_value(json_object_get(json_array_get(commits, i), "id")) != id)
		before = json_integer_value(json_object_get(json_array_get(commits, i++), "id"));
	if (i == json_array_size(commits)) {
		json_decref(all);
		return rpc_fail(call, RPC_NOT_FOUND, "/id",
			"there is no commit %lld; config.history lists the commits", (long long)id);
	}
	is = apply_commit_document(env->apply, (uint32_t)id);
	was = before >= 0 ? apply_commit_document(env->apply, (uint32_t)before) : NULL;
	answer = is != NULL && was != NULL ? diff_answer(was, is) : json_object();
	commit = json_array_get(commits, i);
	json_object_set_new(answer, "commits", json_pack("[O]", commit));
	texts = apply_commit_files(env->apply, (uint32_t)id);
	json_object_foreach(texts, path, text) json_object_set_new(
		json_object_get(commit, "policy_files"), path, text_shown(env, path, text));
	if (is != NULL && was != NULL) {
		json_object_set_new(answer, "before", json_integer(before));
		texts_before = apply_commit_files(env->apply, (uint32_t)before);
		json_object_set_new(answer, "policy_files", texts_diff(env, texts_before, texts));
		json_decref(texts_before);
	}
	json_decref(texts);
	json_decref(is);
	json_decref(was);
	json_decref(all);
	return answer;
}

/* apply_commits_json() without the texts of files outside of the folder of FILE. */
static json_t *
commits_shown(struct rpc_env *env) RUNS_ON(role_main)
{
	json_t *all = apply_commits_json(env->apply), *commit, *text;
	const char *path;
	void *next;
	size_t i;

	json_array_foreach(json_object_get(all, "commits"), i, commit)
	{
		json_t *files = json_object_get(commit, "policy_files");

		json_object_foreach_safe(files, next, path, text)
			json_object_set_new_nocheck(files, path, text_shown(env, path, text));
	}
	return all;
}

static json_t *
config_history(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	json_int_t id = -1;

	if (!rpc_integer(params, "id", 0, UINT32_MAX, &id, call))
		return NULL;
	apply_commit_finish(env->apply);
	return id >= 0 ? history_of(env, id, call) : commits_shown(env);
}

/* ---- the methods ---- */

static const struct rpc_field probe_fields[] = {
	{"destinations", "integer", "Of the tables of destinations."},
	{"attribute_sets", "integer", "Of received attribute sets."},
	{"exported_sets", "integer", "Of advertised attribute sets."},
	{"next_hops", "integer", "Of next hops."},
	{"path_lists", "integer", "Of the path lists of the forwarding tables."},
	{0},
};
static const struct rpc_field plan_fields[] = {
	{"running", "boolean", "A commit is still being applied to peers."},
	{"unfinished", "integer", "Address families of peers that have not finished."},
	{"held", "integer", "Paths that the new policy rejects and that stay in use until then."},
	{0},
};
static const struct rpc_field forwarder_fields[] = {
	{"pid", "integer", "Process id of keelfwd."},
	{"own", "boolean", "A keeld has started keelfwd; false: a supervisor."},
	{"adopted", "boolean", "keelfwd ran before this keeld, with the same ports."},
	{"published", "boolean",
		"Workers use the tables of this keeld; false: those of the keeld before."},
	{"lost", "boolean", "keelfwd has ended, and nothing forwards until the next one runs."},
	{"ends", "integer", "How often keelfwd has ended since the start of this keeld."},
	{"alone_s", "integer",
		"Seconds for which an adopted keelfwd had forwarded without a keeld."},
	{"repairs", "integer", "Links that were lost or came back then, which keelfwd repaired."},
	{0},
};
static const struct rpc_field count_fields[] = {
	{"*", "integer", "Kind of the alarm; see ALARMS.",
		GAUGE("keel_alarms", "Alarms that are raised now, by kind.")},
	{0},
};
static const struct rpc_field info_result[] = {
	{"version", "string", "Version of keeld."},
	{"hostname?", "string", "`management.hostname`."},
	{"uptime_s", "number", "Seconds since the start.",
		GAUGE("keel_uptime_seconds", "Time since the daemon started.")},
	{"dpdk_version", "string", "Version of DPDK; \"\" without a data plane."},
	{"pid", "integer", "Process id of keeld."},
	{"dataplane", "boolean", "keeld forwards packets."},
	{"generation", "integer", "Generation of the forwarding tables; 0 without a data plane."},
	{"revision", "integer", "Revision of the running configuration.",
		GAUGE("keel_configuration_revision")},
	{"policy_limit_hits", "integer",
		"Routes rejected because a regular expression exceeded its match limit.",
		COUNTER("keel_policy_match_errors")},
	{"restart_required", "string[]",
		"Keys of the running document that are read at start and differ from the start: a "
		"restart of keeld takes the values."},
	{"alarms", "object[]", "What is wrong now.", rpc_alarm_fields},
	{"alarm_counts", "object", "The number of alarms of each kind.", count_fields},
	{"hash_probes", "object", "Longest search in each kind of hash table since the start.",
		probe_fields},
	{"commit_plan", "object", "The commit that is being applied.", plan_fields},
	{"forwarder", "object|null",
		"The process keelfwd with ports and workers; null without a data plane.",
		forwarder_fields},
	{0},
};

static const struct rpc_field get_params[] = {
	{"source?", "running|candidate|startup",
		"Which document; `running` when absent. `startup` is the file on disk."},
	{"path?", "string", "JSON Pointer (RFC 6901) into the document; the whole when absent."},
	{0},
};
static const struct rpc_field get_result[] = {
	{"document", "any", "The document, or its part at `path`."},
	{"revision", "integer", "Revision of the document."},
	{0},
};

static const struct rpc_field edit_params[] = {
	{"patch?", "object[]", "RFC 6902 operations."},
	{"merge?", "object", "RFC 7396 merge patch: null deletes a key."},
	{"if_revision?", "integer=0..4294967295",
		"Edit only while the candidate has this revision."},
	{0},
};
static const struct rpc_field edit_result[] = {
	{"changed", "boolean", "The candidate differs from before."},
	{"revision", "integer", "Revision of the candidate now."},
	{0},
};

static const struct rpc_field reason_fields[] = {
	{"path", "string", "JSON Pointer into the document."},
	{"reason", "string", "What is wrong there."},
	{0},
};
static const struct rpc_field validate_result[] = {
	{"restart_required?", "string[]", "As of `config.commit`."},
	{"valid", "boolean", "The candidate can be committed."},
	{"errors", "object[]", "All faults of the candidate.", reason_fields},
	{0},
};

static const struct rpc_field operation_fields[] = {
	{"op", "add|remove|replace", "The operation."},
	{"path", "string", "JSON Pointer into the running document."},
	{"value?", "any", "The new value."},
	{0},
};
static const struct rpc_field file_fields[] = {
	{"path", "string", "The file."},
	{"changed", "boolean",
		"The text in force has changed; in `config.diff`: a commit takes it."},
	{"on_disk", "boolean",
		"The text in force is on disk. False: the file differs and was not taken, or could "
		"not be written or read."},
	{"old?", "string|null",
		"`config.diff`: the text in force; null above 1 MiB, where it is no UTF-8, and of "
		"a file outside of the folder of FILE."},
	{"new?", "string|null", "`config.diff`: the text on disk."},
	{0},
};
static const struct rpc_field text_fields[] = {
	{"path", "string", "The file."},
	{"old", "string|null",
		"The text before; null for none, above 1 MiB, where it is no UTF-8, and of a file "
		"outside of the folder of FILE."},
	{"new", "string|null", "The text of the commit."},
	{0},
};
static const struct rpc_field conflict_fields[] = {
	{"object", "string", "The names on the way to the object, as `bgp peers 192.0.2.2`."},
	{"path?", "string",
		"JSON Pointer into the candidate, or into the running document where the candidate "
		"lacks the object. Of the first 16 conflicts."},
	{"base", "any", "The object before both changes; null: absent."},
	{"running", "any", "The object as the other commit has left it; null: removed."},
	{"candidate", "any", "The object of the candidate; null: removed."},
	{"user?", "string", "The author of the other commit."},
	{"commit?", "integer", "Id of the other commit."},
	{0},
};
static const struct rpc_field diff_result[] = {
	{"diff", "object[]",
		"RFC 6902 operations that turn the running document into the candidate.",
		operation_fields},
	{"old", "any[]",
		"For each operation the value that it replaces or removes; null for `add`."},
	{"elements", "any[]",
		"For each operation the elements of arrays in its path, in order, each with those "
		"of `name`, `address`, `seq`, `prefix`, `source`, `file` and `vrf` that it has."},
	{"revision", "integer", "Revision of the candidate."},
	{"conflicts", "object[]",
		"The objects of the candidate that another commit has changed since.",
		conflict_fields},
	{"policy_files", "object[]", "The policy files that differ from the text in force.",
		file_fields},
	{0},
};

static const struct rpc_field discard_params[] = {
	{"user?", "string",
		"Whose edits to drop, as `config.candidates` names the user; the "
		"caller's when absent."},
	{0},
};

static const struct rpc_field candidate_fields[] = {
	{"user", "string",
		"The user: the name of a uid, `uid:N` where /etc/passwd lacks it, or "
		"`token:NAME`."},
	{"since", "number", "Unix seconds of the first edit."},
	{"edits", "integer", "Operations of the difference to the running document."},
	{"conflicts", "integer", "Objects that another commit has changed since."},
	{0},
};
static const struct rpc_field candidates_result[] = {
	{"candidates", "object[]", "The users with edits.", candidate_fields},
	{"you?", "string", "The caller."},
	{0},
};
static const struct rpc_field resolve_params[] = {
	{"keep", "mine|theirs",
		"`mine`: the next commit replaces the keys that the caller has edited, or whole "
		"lists; "
		"the other keys of the objects stay as they run. "
		"`theirs`: the candidate takes the objects as they run; the edits of them are "
		"dropped."},
	{0},
};
static const struct rpc_field resolve_result[] = {
	{"revision", "integer", "Revision of the candidate now."},
	{0},
};

static const struct rpc_field force_params[] = {
	{"to", "integer=0..4294967295", "Id of the commit whose document is committed again."},
	{"force?", "boolean",
		"False: refused if a session would end (-32007). Absent or true: sessions that "
		"have to end do."},
	{"sessions?", "object[]",
		"With `force` false: sessions that may end, as in the error -32007."},
	{0},
};

static const struct rpc_field commit_params[] = {
	{"comment?", "string", "For the history; at most 4096 octets."},
	{"confirm_s?", "integer=1..86400",
		"Roll back after so many seconds, or at a restart, unless the commit is "
		"confirmed."},
	{"force?", "boolean",
		"False: refused if a session would end (-32007). Absent or true: sessions that "
		"have to end do."},
	{"sessions?", "object[]",
		"With `force` false: sessions that may end, as in the error -32007."},
	{"if_revision?", "integer=0..4294967295",
		"Commit only while the candidate has this revision."},
	{"policy_files?", "boolean",
		"True: takes the policy files as they are on disk. False: keeps the texts in "
		"force. Absent: takes them only where the candidate has no edits and no commit "
		"waits for its confirmation."},
	{0},
};
static const struct rpc_field commit_result[] = {
	{"commit", "integer|null", "Id of the commit; null when the candidate changes nothing."},
	{"revision", "integer", "Revision of the running document now."},
	{"restart_required", "string[]",
		"Keys of this commit that are read at start: the document has the new values, and "
		"keeld goes on with the old ones until its restart."},
	{"effects", "object[]", "What will be done about each peer and address family.",
		rpc_effect_fields},
	{"persisted", "boolean",
		"The document is in the configuration file. False when the file could not be "
		"written; "
		"the commit is in force nevertheless."},
	{"confirmed?", "integer", "Id of the waiting commit that this commit confirms."},
	{"policy_files", "object[]",
		"The policy files whose text in force has changed, or differs from the file.",
		file_fields},
	{0},
};
static const struct rpc_field reload_result[] = {
	{"commit", "integer|null", "Id of the commit; null when the file changes nothing."},
	{"revision", "integer", "Revision of the running document now."},
	{"restart_required", "string[]",
		"Keys of this commit that are read at start: the document has the new values, and "
		"keeld goes on with the old ones until its restart."},
	{"effects", "object[]", "What will be done about each peer and address family.",
		rpc_effect_fields},
	{"persisted", "boolean", "The document is in the configuration file."},
	{"policy_files", "object[]",
		"The policy files whose text in force has changed, or differs from the file.",
		file_fields},
	{0},
};
static const struct rpc_field history_fields[] = {
	{"id", "integer", "Id of the commit."},
	{"time", "number", "Unix seconds."},
	{"comment", "string", "Comment of the commit."},
	{"policy_files?", "object",
		"Text of each policy file, by path; absent without policy files. Null instead of a "
		"text that the commit of an earlier version lacks, that is no UTF-8, that is of a "
		"file outside of the folder of FILE, or that is "
		"long: with `id` above 1 MiB, else beyond 256 KiB of the newest commits."},
	{"user?", "string",
		"The author, as in `config.candidates`; `keeld` at a start, a SIGHUP, or a "
		"rollback "
		"without a confirmation. Missing in commits of earlier versions."},
	{0},
};
static const struct rpc_field history_params[] = {
	{"id?", "integer=0..4294967295", "Only this commit, with its difference."},
	{0},
};
static const struct rpc_field confirm_fields[] = {
	{"commit", "integer", "Id of the commit that waits."},
	{"back_to", "integer", "Id of the commit to which keeld rolls back."},
	{"remaining_s", "number", "Seconds until then."},
	{0},
};
static const struct rpc_field history_result[] = {
	{"commits", "object[]", "The commits that are kept, the oldest first.", history_fields},
	{"confirm?", "object", "The commit that waits for a confirmation.", confirm_fields},
	{"before?", "integer",
		"With `id`: the commit before, to which the difference is; missing when it is not "
		"kept."},
	{"diff?", "object[]", "With `id`: RFC 6902 operations from the commit before.",
		operation_fields},
	{"old?", "any[]", "As in `config.diff`."},
	{"elements?", "any[]", "As in `config.diff`."},
	{"policy_files?", "object[]", "With `id`: the policy files that differ.", text_fields},
	{0},
};

static const struct rpc_field audit_params[] = {
	{"limit?", "integer=1..1000",
		"Calls of one answer; 100 when absent. An answer with long lines has fewer."},
	{"cursor?", "string", "`next` of the answer before."},
	{0},
};
static const struct rpc_field audit_error_fields[] = {
	{"code", "integer", "Code of the error."},
	{"reason?", "string", "The first reason."},
	{0},
};
static const struct rpc_field audit_brief_fields[] = {
	{"*", "any", "A member of the result; of an array the number of elements."},
	{0},
};
static const struct rpc_field audit_fields[] = {
	{"id", "integer", "Number of the line."},
	{"time", "number", "Unix seconds of the answer."},
	{"user", "string", "The user, as in `config.candidates`; `keeld` for its own commits."},
	{"from", "string",
		"`socket pid N`, `http ADDRESS`, `signal`, or `timer` for a commit without its "
		"confirmation."},
	{"method", "string", "The method, or `SIGHUP`, or `confirm-expired`."},
	{"params?", "any", "The parameters, without passwords."},
	{"params_begin?", "string", "The beginning of their text, where they are long."},
	{"result?", "object", "The result in short.", audit_brief_fields},
	{"error?", "object", "Why the call was refused.", audit_error_fields},
	{0},
};
static const struct rpc_field audit_result[] = {
	{"calls", "object[]", "The calls.", audit_fields},
	{"next?", "string", "Cursor of the next answer; absent at the end."},
	{0},
};

static const struct rpc_field health_params[] = {
	{"ready?", "boolean", "Also whether routes are advertised. Default: false."},
	{0},
};
static const struct rpc_field health_result[] = {
	{"reason", "string|null", "What is wrong; null: nothing."},
	{0},
};

const struct rpc_method rpc_config_methods[] = {
	{"system.info", system_info, NULL, info_result,
		"The daemon: version, uptime, generation of the forwarding tables, revision of the "
		"configuration, alarms",
		NULL, RPC_READS, 0},
	{"system.health", rpc_system_health, health_params, health_result,
		"Whether keeld works, as `GET /healthz` and `GET /readyz` answer", NULL, RPC_READS,
		0},
	{"config.get", config_get, get_params, get_result,
		"A configuration document, or its part at a JSON Pointer",
		"Passwords read \"***\". keel.json(5) describes the document.", RPC_READS,
		RPC_ERROR(RPC_NOT_FOUND) | RPC_ERROR(RPC_CONFIGURATION)},
	{"config.edit", config_edit, edit_params, edit_result, "Edits the caller's candidate",
		"Exactly one of `patch` and `merge` is required. The running configuration changes "
		"by "
		"`config.commit` only. A password given back as \"***\" stays unchanged.",
		RPC_CHANGES, RPC_ERROR(RPC_TRY_AGAIN)},
	{"config.validate", config_validate, NULL, validate_result,
		"Whether the candidate can be committed, and all its faults", NULL, RPC_READS, 0},
	{"config.diff", config_diff_method, NULL, diff_result,
		"The difference between the running document and the candidate", NULL, RPC_READS,
		0},
	{"config.candidates", config_candidates, NULL, candidates_result,
		"The users with edits that are not committed",
		"Each user has a candidate: the uid of the process at the other end of a socket, "
		"the name of a token over HTTP. A client over HTTP without a token has none: the "
		"running document stands for it.",
		RPC_READS, 0},
	{"config.resolve", config_resolve, resolve_params, resolve_result,
		"Ends the conflicts of the candidate with other commits", NULL, RPC_CHANGES, 0},
	{"config.discard", config_discard, discard_params, NULL,
		"Makes the candidate equal to the running document", NULL, RPC_CHANGES,
		RPC_ERROR(RPC_NOT_FOUND)},
	{"config.commit", config_commit, commit_params, commit_result,
		"Makes the candidate the running configuration: all or nothing",
		"The answer comes when the document is in force and on disk (`persisted`); "
		"`effects` are what "
		"will be "
		"done, each with its job. While a slow disk writes, the document is in force, and "
		"other "
		"commits can follow; with `confirm_s` the disk comes first, and other commits are "
		"refused "
		"(-32013). A commit withdraws no destination, from any peer or "
		"forwarding table, that the new configuration still has. A commit without "
		"`confirm_s` "
		"while another waits for its confirmation confirms that one. A commit of another "
		"user in between moves the edits to the new running document, object by object; an "
		"object that both have changed is a conflict (-32006). A commit with edits leaves "
		"policy files that somebody is changing as they are in force, unless "
		"`policy_files` is true; the answer lists them.",
		RPC_CHANGES,
		RPC_ERROR(RPC_CONFIGURATION) | RPC_ERROR(RPC_CONFLICT) |
			RPC_ERROR(RPC_NEEDS_FORCE) | RPC_ERROR(RPC_TRY_AGAIN)},
	{"config.reload", config_reload, NULL, reload_result,
		"Commits the document of the configuration file at once",
		"Refused while any candidate holds edits, and while a commit waits for its "
		"confirmation. Edits and commits that come while the file is read are kept: the "
		"file is read again after a commit, and edits are based on the new document. A "
		"file that lacks a commit, because the disk was full, and that was "
		"not edited since, is written instead. SIGHUP does the same, and logs a refusal.",
		RPC_CHANGES, RPC_ERROR(RPC_CONFIGURATION) | RPC_ERROR(RPC_TRY_AGAIN)},
	{"config.confirm", config_confirm, NULL, NULL,
		"Keeps a commit that was made with confirm_s",
		"Fails while the confirmation cannot be stored, for example on a full disk: a "
		"restart would roll back.",
		RPC_CHANGES,
		RPC_ERROR(RPC_NOT_FOUND) | RPC_ERROR(RPC_CONFIGURATION) | RPC_ERROR(RPC_TRY_AGAIN)},
	{"config.rollback", config_rollback, force_params, commit_result,
		"Commits the document and the policy files of an earlier commit at once",
		"A file on disk that nobody has changed since it was taken is written, too.",
		RPC_CHANGES,
		RPC_ERROR(RPC_NOT_FOUND) | RPC_ERROR(RPC_CONFIGURATION) |
			RPC_ERROR(RPC_NEEDS_FORCE) | RPC_ERROR(RPC_TRY_AGAIN)},
	{"audit.list", rpc_audit_list, audit_params, audit_result,
		"The calls that changed something, or tried to, the newest first",
		"The trail is in the state directory: `audit.log`, and older lines in "
		"`audit.log.1` "
		"to `audit.log.3`, 2 MiB each. Calls on the read-only socket are not listed. "
		"The parameters of a refused call are in the trail, so the trail is for clients "
		"that may change something.",
		RPC_READS_FOR_CHANGERS, 0},
	{"config.history", config_history, history_params, history_result,
		"The commits that are kept, and the commit that waits for a confirmation", NULL,
		RPC_READS, RPC_ERROR(RPC_NOT_FOUND)},
	{0},
};
