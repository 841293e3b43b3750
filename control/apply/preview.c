/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/preview.h"

#include "control/apply/apply_impl.h"
#include "control/config/config.h"
#include "control/config/policy_compile.h"
#include "control/session/preview_export.h"
#include "control/base/threads.h"
#include "rib/preview.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX 16
#define SECTION 64 /* destinations in one reader's section */
#define TURN_NS 3000000u /* of main's loop, before main serves other RPCs, timers and signals */
#define SLICE_EXPORT_NS 500000u /* of the session thread */

/* A line of the answer. */
struct line {
	struct peer_id peer;
	enum family family;
	bool import, exact;
	bool quiet; /* the configuration of the peer stays: no line without a change of routes */
	struct preview_counts counts;
};

/* The part of a preview for one table and direction. */
struct part {
	enum family family;
	bool is_import;
	struct table_id table;
	struct preview *import;
	struct export_preview *export;
	uint32_t next, end;
	bool done;
};

struct job {
	struct job *next;
	struct apply *apply;
	preview_done *finish;
	void *ctx;
	struct preview_request r;
	uint32_t revision; /* of the running document */
	struct part part[2 * FAMILY_COUNT];
	unsigned part_count, at;
	struct line *line;
	unsigned line_count, line_size;
	struct preview_counts fib;
};

struct previews {
	struct apply *apply;
	struct job *jobs; /* the first one runs */
	struct timer again;
};

/* RFC 4456 7 */
static uint32_t
cluster_of(const struct config *c)
{
	return c->cluster_id != 0 ? c->cluster_id : c->router_id;
}

/* ---- the session thread ---- */

struct export_call {
	struct job *job;
	struct part *part;
	struct preview *import; /* the import preview of the table; NULL: imports stay */
	struct peer_id peer;
	const struct config_peer *next;
	const struct policy *policy;
	int err;
};

static void
on_session_create(void *arg) RUNS_ON(role_session)
{
	struct export_call *c = arg;

	c->err = speaker_export_preview(
		c->job->apply->layers->speaker, c->part->family, &c->part->export);
}

static void
on_session_peer(void *arg) RUNS_ON(role_session)
{
	struct export_call *c = arg;

	c->err = export_preview_peer(
		c->part->export, c->peer, c->next, cluster_of(c->job->r.then), c->policy);
}

/* Several peers in one call: the session thread may be busy. */
struct export_calls {
	struct export_call *at;
	unsigned count;
};

static void
on_session_peers(void *arg) RUNS_ON(role_session)
{
	struct export_calls *c = arg;

	for (unsigned i = 0; i < c->count; i++)
		on_session_peer(&c->at[i]);
}

static void
on_session_run(void *arg) RUNS_ON(role_session)
{
	struct export_call *c = arg;

	export_preview_imports(c->part->export, c->import);
	c->part->next = export_preview_run(
		c->part->export, c->part->next, c->part->end, now_ns() + SLICE_EXPORT_NS, &c->err);
	if (c->err != 0 || c->part->next < c->part->end)
		return;
	c->err = export_preview_default(c->part->export);
	c->part->done = c->err == 0;
}

static void
on_session_destroy(void *arg) RUNS_ON(role_session)
{
	export_preview_destroy(arg);
}

/* ---- life ---- */

static void
job_free(struct job *j) RUNS_ON(role_main)
{
	for (unsigned i = 0; i < j->part_count; i++) {
		preview_destroy(j->part[i].import);
		if (j->part[i].export != NULL)
			layers_call_session(
				j->apply->layers, on_session_destroy, j->part[i].export);
	}
	free(j->line);
	free(j);
}

static void
request_free(struct preview_request *r)
{
	config_free(r->then);
	json_decref(r->effects);
}

static struct part *
part_find(struct job *j, enum family family, bool import)
{
	for (unsigned i = 0; i < j->part_count; i++) {
		if (j->part[i].family == family && j->part[i].is_import == import)
			return &j->part[i];
	}
	return NULL;
}

/* Finds or creates the part of the table and direction. NULL: out of memory, or no such table. */
static struct part *
part_get(struct job *j, enum family family, struct vrf_id vrf, bool import) RUNS_ON(role_main)
{
	struct preview_config c = {
		.arena = j->apply->layers->arena_control,
		.shards = &j->apply->layers->shards,
		.family = family,
		.fib = j->apply->layers->fib != NULL,
		.max_paths = j->r.then->max_paths,
		.cluster_id = cluster_of(j->r.then),
		.vrps = family_safi(family) == SAFI_UNICAST ? apply_vrps(j->apply) : NULL,
		.own_asn = j->r.then->asn,
		.all = j->r.then->max_paths != j->apply->running->max_paths,
	};
	struct export_call e = {.job = j};
	struct part *p = part_find(j, family, import);

	if (p != NULL)
		return p;
	p = &j->part[j->part_count];
	*p = (struct part){.family = family, .is_import = import};
	if (shard_table_find(j->apply->layers->shards.at[0], vrf, family, &p->table) != 0)
		return NULL;
	c.table = p->table;
	e.part = p;
	if (import)
		e.err = preview_create(&c, &p->import);
	else
		layers_call_session(j->apply->layers, on_session_create, &e);
	if (e.err != 0)
		return NULL;
	j->part_count++;
	return p;
}

static int
line_add(struct job *j, const struct line *l)
{
	if (j->line_count == j->line_size) {
		unsigned size = j->line_size > 0 ? 2 * j->line_size : 16;
		struct line *line = realloc(j->line, size * sizeof(*line));

		if (line == NULL)
			return -ENOMEM;
		j->line = line;
		j->line_size = size;
	}
	j->line[j->line_count++] = *l;
	return 0;
}

/* ---- selection of peers ---- */

static const struct policy *
policy_then(const struct job *j, const struct config_peer *then, enum family f, bool import)
{
	const char *name =
		import ? then->families[f].import_policy : then->families[f].export_policy;

	return name != NULL ? policy_set_find(j->r.then->policies, name) : NULL;
}

/* True if all received routes are stored as received, refused routes included. */
static bool
kept_in_full(const struct job *j, const struct config_peer *now, struct peer_id id, enum family f)
{
	struct adj_rib_in_counts c;

	if (!now->families[f].keep_all_routes)
		return false;
	shards_peer_counts(&j->apply->layers->shards, id, f, &c);
	return c.kept >= c.received;
}

/* `then` NULL: the commit removes the peer or the family. */
static int
peer_add(struct job *j, const struct config_peer *now, const struct config_peer *then,
	enum family f, bool import) RUNS_ON(role_main)
{
	struct peer_id id = peers_id(j->apply->peers, now);
	struct line line = {.peer = id,
		.family = f,
		.import = import,
		.exact = !import || then == NULL || kept_in_full(j, now, id, f)};
	const struct policy *policy =
		then != NULL ? policy_then(j, then, f, import) : policy_deny_all();
	struct config_peer gone;
	struct export_call e = {.job = j, .peer = id, .next = then, .policy = policy};
	struct part *part = part_get(j, f, now->vrf, import);

	if (part == NULL)
		return -ENOMEM;
	if (then == NULL) {
		gone = *now;
		gone.families[f].default_originate = false;
		e.next = &gone;
	}
	e.part = part;
	if (import) {
		e.err = preview_peer(part->import, id, policy,
			(then != NULL ? then : now)->families[f].allow_as_in);
		preview_peer_group(part->import, id,
			policy_group_key(then != NULL ? then->group : now->group));
	} else {
		layers_call_session(j->apply->layers, on_session_peer, &e);
	}
	return e.err == 0 || e.err == -ENOENT ? line_add(j, &line) : e.err;
}

static const struct config_peer *
peer_then(const struct job *j, const struct config_peer *now)
{
	const struct config_peer *p = config_peer_find(j->r.then, now->vrf, &now->addr);
	const struct config_range *range;

	if (p != NULL || !now->dynamic)
		return p;
	range = config_range_find(j->r.then, now->vrf, &now->addr);
	return range != NULL ? &range->peer : NULL;
}

static bool
policy_same(const struct job *j, const char *now, const char *then)
{
	if (now == NULL || then == NULL)
		return now == then;
	return strcmp(now, then) == 0 &&
	       policy_set_same(j->apply->running->policies, j->r.then->policies, now);
}

static bool
export_same(const struct job *j, const struct config_family *a, const struct config_family *b)
{
	return policy_same(j, a->export_policy, b->export_policy) &&
	       a->next_hop_self == b->next_hop_self &&
	       a->next_hop_unchanged == b->next_hop_unchanged &&
	       a->remove_private_as == b->remove_private_as && a->as_override == b->as_override &&
	       a->default_originate == b->default_originate;
}

/* Adds the directions that the candidate changes in a family of a peer. */
static int
family_compare(struct job *j, const struct config_peer *now, const struct config_peer *then,
	enum family f) RUNS_ON(role_main)
{
	const struct config_family *a = &now->families[f], *b;
	bool cluster;
	int err = 0;

	if (!a->enabled)
		return 0;
	if (then == NULL || !then->families[f].enabled || (then->shutdown && !now->shutdown)) {
		err = peer_add(j, now, NULL, f, true);
		return err == 0 ? peer_add(j, now, NULL, f, false) : err;
	}
	b = &then->families[f];
	cluster = !then->external && cluster_of(j->r.then) != cluster_of(j->apply->running);
	if (!policy_same(j, a->import_policy, b->import_policy) ||
		!apply_group_same(j->r.then, now, then, b->import_policy) ||
		a->allow_as_in != b->allow_as_in || cluster)
		err = peer_add(j, now, then, f, true);
	if (err == 0 && (cluster || !export_same(j, a, b) ||
				!apply_group_same(j->r.then, now, then, b->export_policy)))
		err = peer_add(j, now, then, f, false);
	return err;
}

/* A changed max_paths affects the next hops of all destinations, for paths of any peer. */
static int
tables_compare(struct job *j) RUNS_ON(role_main)
{
	if (j->apply->layers->fib == NULL || j->r.then->max_paths == j->apply->running->max_paths)
		return 0;
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct table_id t;

		if (shard_table_find(
			    j->apply->layers->shards.at[0], VRF_DEFAULT, (enum family)f, &t) == 0 &&
			part_get(j, (enum family)f, VRF_DEFAULT, true) == NULL)
			return -ENOMEM;
	}
	return 0;
}

static bool
line_exists(const struct job *j, struct peer_id peer, enum family f, bool import)
{
	for (unsigned i = 0; i < j->line_count; i++) {
		const struct line *l = &j->line[i];

		if (l->peer.v == peer.v && l->family == f && l->import == import)
			return true;
	}
	return false;
}

static bool
imports_change(const struct job *j, enum family f)
{
	for (unsigned i = 0; i < j->line_count; i++) {
		if (j->line[i].family == f && j->line[i].import)
			return true;
	}
	return false;
}

/* Adds all peers with an unchanged export configuration. 0, -ENOMEM. */
static int
followers_add(struct job *j, enum family f, struct export_calls *calls) RUNS_ON(role_main)
{
	int err = 0;

	for (struct peer_id id = {0}; err == 0 && (id = peers_next(j->apply->peers, id)).v != 0;) {
		const struct config_peer *now = peers_config(j->apply->peers, id),
					 *then = peer_then(j, now);
		struct line line = {.peer = id, .family = f, .exact = true, .quiet = true};
		struct export_call e = {.job = j, .peer = id, .next = then};

		if (!now->families[f].enabled || line_exists(j, id, f, false))
			continue;
		e.part = part_get(j, f, now->vrf, false);
		e.policy = policy_then(j, then, f, false);
		calls->at[calls->count++] = e;
		err = e.part != NULL ? line_add(j, &line) : -ENOMEM;
	}
	return err;
}

/*
 * Changed imports of a family may change the advertised routes of each peer of the family. 0,
 * -ENOMEM.
 */
static int
exports_follow(struct job *j, enum family f) RUNS_ON(role_main)
{
	struct export_calls calls = {.at = calloc(PEER_MAX, sizeof(*calls.at))};
	int err = calls.at != NULL ? followers_add(j, f, &calls) : -ENOMEM;

	if (err == 0)
		layers_call_session(j->apply->layers, on_session_peers, &calls);
	for (unsigned i = 0; i < calls.count && err == 0; i++)
		err = calls.at[i].err;
	free(calls.at);
	return err;
}

static int
select_candidate(struct job *j) RUNS_ON(role_main)
{
	int err = tables_compare(j);

	for (struct peer_id id = {0}; err == 0 && (id = peers_next(j->apply->peers, id)).v != 0;) {
		const struct config_peer *now = peers_config(j->apply->peers, id),
					 *then = peer_then(j, now);

		for (unsigned f = 0; f < FAMILY_COUNT && err == 0; f++)
			err = family_compare(j, now, then, (enum family)f);
	}
	for (unsigned f = 0; f < FAMILY_COUNT && err == 0; f++) {
		if (imports_change(j, (enum family)f))
			err = exports_follow(j, (enum family)f);
	}
	return err;
}

/* 0, -ENOMEM, -ENOENT. */
static int
select_scope(struct job *j) RUNS_ON(role_main)
{
	const struct apply_selector *s = &j->r.selector;
	struct peer_id ids[PEER_MAX];
	unsigned n = apply_select(j->apply, s, ids, PEER_MAX);
	int err = n > 0 ? 0 : -ENOENT;

	for (unsigned i = 0; i < n && err == 0; i++) {
		const struct config_peer *now = peers_config(j->apply->peers, ids[i]);

		err = peer_add(j, now, now, s->family, j->r.import);
	}
	return err;
}

/* ---- the walk ---- */

struct question {
	struct shard *shard;
	const struct preview_question *q;
	struct preview_answer a;
};

static void
on_shard_next_hop(void *arg) RUNS_ON(role_rib)
{
	struct question *q = arg;

	if (!q->a.known)
		q->a = preview_next_hop(q->shard, q->q);
}

/*
 * Resolves a next hop on the shards. Outside of read sections, because a shard may be waiting for
 * readers. 0, -ENOMEM.
 */
static int
next_hop_resolve(struct job *j, struct preview *p) RUNS_ON(role_main)
{
	struct question q = {.q = preview_question(p)};

	layers_on_shards(j->apply->layers, on_shard_next_hop, &q, &q.shard);
	return preview_answer(p, &q.a);
}

/* Evaluates the destinations of one read section. */
static int
import_run(struct job *j, struct part *p) RUNS_ON(role_main)
{
	uint32_t end = p->end - p->next > SECTION ? p->next + SECTION : p->end;
	int err = 0;

	layers_rib_read_begin(j->apply->layers);
	for (; p->next < end; p->next++) {
		err = preview_dest(p->import, (struct dest_id){p->next});
		if (err != 0)
			break;
	}
	layers_rib_read_end(j->apply->layers);
	p->done = p->next >= p->end;
	return err == -EAGAIN ? next_hop_resolve(j, p->import) : err;
}

/*
 * Runs a slice on the session thread and waits for the end, because the slice uses the import
 * preview.
 */
static int
export_run(struct job *j, struct part *p) RUNS_ON(role_main)
{
	const struct part *import = part_find(j, p->family, true);
	struct export_call e = {
		.job = j, .part = p, .import = import != NULL ? import->import : NULL};

	layers_call_session(j->apply->layers, on_session_run, &e);
	return e.err == -EAGAIN ? next_hop_resolve(j, e.import) : e.err;
}

static int
part_run(struct job *j, struct part *p) RUNS_ON(role_main)
{
	if (p->end == 0) {
		struct shards_table t;

		layers_rib_read_begin(j->apply->layers);
		shards_table(&j->apply->layers->shards, p->table, &t);
		p->end = shards_limit(&t);
		layers_rib_read_end(j->apply->layers);
	}
	return p->is_import ? import_run(j, p) : export_run(j, p);
}

static void
counts_add(struct preview_counts *to, const struct preview_counts *c)
{
	to->added += c->added;
	to->removed += c->removed;
	to->changed += c->changed;
}

static void
part_end(struct job *j, struct part *p)
{
	for (unsigned i = 0; i < j->line_count; i++) {
		struct line *l = &j->line[i];

		if (l->family != p->family || l->import != p->is_import)
			continue;
		if (p->is_import)
			preview_peer_counts(p->import, l->peer, &l->counts);
		else
			export_preview_counts(p->export, l->peer, &l->counts);
	}
	if (p->is_import) {
		struct preview_counts fib;

		preview_fib_counts(p->import, &fib);
		counts_add(&j->fib, &fib);
	}
}

/* ---- the answer ---- */

static json_t *
line_json(const struct job *j, const struct line *l) RUNS_ON(role_main)
{
	const struct config_peer *c = peers_config(j->apply->peers, l->peer);
	json_t *o;

	if (c == NULL)
		return NULL; /* the dynamic peer was removed */
	if (l->quiet && l->counts.added + l->counts.removed + l->counts.changed == 0)
		return NULL;
	o = json_pack("{s:s, s:s, s:s, s:s, s:b, s:I, s:I}", "address", c->addr_text, "vrf",
		c->vrf_name, "family", family_text(l->family), "direction",
		l->import ? "import" : "export", "exact", l->exact, "removed",
		(json_int_t)l->counts.removed, "changed", (json_int_t)l->counts.changed);
	if (l->exact || !l->import)
		json_object_set_new(o, "added", json_integer((json_int_t)l->counts.added));
	return o;
}

/*
 * Exports are evaluated on the results of imports: an inexact import makes all exports of the
 * family inexact.
 */
static void
mark_inexact_exports(struct job *j)
{
	bool inexact[FAMILY_COUNT] = {false};

	for (unsigned i = 0; i < j->line_count; i++) {
		const struct line *l = &j->line[i];

		if (l->import && !l->exact)
			inexact[l->family] = true;
	}
	for (unsigned i = 0; i < j->line_count; i++) {
		if (!j->line[i].import && inexact[j->line[i].family])
			j->line[i].exact = false;
	}
}

static json_t *
answer_json(struct job *j) RUNS_ON(role_main)
{
	json_t *peers = json_array(), *o = json_pack("{s:o}", "peers", peers);

	mark_inexact_exports(j);
	for (unsigned i = 0; i < j->line_count; i++) {
		json_t *line = line_json(j, &j->line[i]);

		if (line != NULL)
			json_array_append_new(peers, line);
	}
	if (j->apply->layers->fib != NULL)
		json_object_set_new(o, "fib",
			json_pack("{s:I, s:I, s:I}", "added", (json_int_t)j->fib.added, "removed",
				(json_int_t)j->fib.removed, "changed", (json_int_t)j->fib.changed));
	if (j->r.effects != NULL)
		json_object_set(o, "effects", j->r.effects);
	return o;
}

static void
job_end(struct job *j, int err, json_t *answer) RUNS_ON(role_main)
{
	struct previews *previews = j->apply->previews;
	preview_done *finish = j->finish;
	struct preview_request r = j->r;
	void *ctx = j->ctx;

	previews->jobs = j->next;
	job_free(j);
	request_free(&r);
	finish(ctx, err, answer);
}

/* True: the job has ended. */
static bool
job_run(struct job *j, uint64_t deadline_ns) RUNS_ON(role_main)
{
	if (j->apply->revision != j->revision) {
		job_end(j, -EAGAIN, NULL);
		return true;
	}
	for (; j->at < j->part_count; j->at++) {
		struct part *p = &j->part[j->at];
		int err = 0;

		do {
			if (p->next > 0 && now_ns() >= deadline_ns)
				return false;
			err = part_run(j, p);
		} while (err == 0 && !p->done);
		if (err != 0) {
			job_end(j, -ENOMEM, NULL);
			return true;
		}
		part_end(j, p);
	}
	job_end(j, 0, answer_json(j));
	return true;
}

static void
jobs_end_all(struct previews *p, int err) RUNS_ON(role_main)
{
	while (p->jobs != NULL)
		job_end(p->jobs, err, NULL);
}

static void
jobs_run(struct timer *t) RUNS_ON(role_main)
{
	struct previews *p =
		(struct previews *)(void *)((char *)t - offsetof(struct previews, again));
	uint64_t deadline_ns = now_ns() + TURN_NS;

	/*
	 * No job: the callback of a job may begin a preview, which arms the timer and may end in
	 * the same turn.
	 */
	if (p->jobs == NULL)
		return;
	apply_changes_finish(p->apply);
	while (p->jobs != NULL && job_run(p->jobs, deadline_ns) && now_ns() < deadline_ns)
		;
	if (p->jobs != NULL && timer_arm(p->apply->layers->main_thread, t, 0) != 0)
		jobs_end_all(p, -ENOMEM);
}

static unsigned
count_jobs(const struct previews *p)
{
	unsigned n = 0;

	for (const struct job *j = p->jobs; j != NULL; j = j->next)
		n++;
	return n;
}

int
preview_begin(struct apply *apply, const struct preview_request *r, preview_done *done, void *ctx)
{
	struct previews *p = apply->previews;
	struct job *j, **at = &p->jobs;
	int err;

	if (count_jobs(p) >= WAITING_MAX)
		return -EBUSY;
	j = calloc(1, sizeof(*j));
	if (j == NULL)
		return -ENOMEM;
	*j = (struct job){
		.apply = apply, .finish = done, .ctx = ctx, .r = *r, .revision = apply->revision};
	err = r->candidate ? select_candidate(j) : select_scope(j);
	if (err == 0 && p->jobs == NULL)
		err = timer_arm(apply->layers->main_thread, &p->again, 0);
	if (err != 0) {
		job_free(j);
		return err;
	}
	while (*at != NULL)
		at = &(*at)->next;
	*at = j;
	return 0;
}

void
preview_end_all(struct apply *apply)
{
	if (apply->previews->jobs != NULL)
		timer_cancel(apply->layers->main_thread, &apply->previews->again);
	jobs_end_all(apply->previews, -ECANCELED);
}

int
apply_previews_create(struct apply *apply)
{
	struct previews *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	p->apply = apply;
	p->again.fire = jobs_run;
	apply->previews = p;
	return 0;
}

void
apply_previews_destroy(struct apply *apply)
{
	free(apply->previews);
}
