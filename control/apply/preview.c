/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/preview.h"

#include "control/apply/apply_impl.h"
#include "control/config/config.h"
#include "control/config/policy_compile.h"
#include "control/host/host_routes.h"
#include "control/session/preview_export.h"
#include "control/base/threads.h"
#include "rib/shard/preview.h"

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
	struct vrf_id vrf;
	enum family family;
	bool import, exact;
	bool quiet; /* the configuration of the peer stays: no line without a change of routes */
	struct preview_counts counts;
};

/* The part of a preview for one table and direction. */
struct part {
	struct vrf_id vrf;
	enum family family;
	bool is_import;
	/* of a part that has only prefixes of the host to look at */
	bool own_only;
	uint32_t limit; /* of the destinations; behind, up to `end`, the prefixes of the host */
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
	struct part *part; /* room for both directions of all tables */
	unsigned part_count, at;
	struct host_preview *own; /* prefixes of the host; `attrs` are copies */
	unsigned own_count, own_size;
	struct line *line;
	unsigned line_count, line_size;
	struct preview_counts fib;
};

struct previews {
	struct apply *apply;
	struct job *jobs; /* the first one runs */
	struct timer again;
};

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
		c->part->export, c->peer, c->next, apply_cluster_id(c->job->r.then), c->policy);
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

	uint64_t deadline_ns = now_ns() + SLICE_EXPORT_NS;
	struct part *p = c->part;

	export_preview_imports(p->export, c->import);
	if (p->next < p->limit)
		p->next = export_preview_run(p->export, p->next, p->limit, deadline_ns, &c->err);
	while (c->err == 0 && p->next >= p->limit && p->next < p->end && now_ns() < deadline_ns) {
		c->err = export_preview_own(p->export, p->next - p->limit, p->own_only);
		p->next += c->err == 0;
	}
	if (c->err != 0 || p->next < p->end)
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
	for (unsigned i = 0; i < j->own_count; i++)
		free((void *)(uintptr_t)j->own[i].attrs);
	free(j->own);
	free(j->part);
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
part_find(struct job *j, struct vrf_id vrf, enum family family, bool import)
{
	for (unsigned i = 0; i < j->part_count; i++) {
		if (j->part[i].vrf.v == vrf.v && j->part[i].family == family &&
			j->part[i].is_import == import)
			return &j->part[i];
	}
	return NULL;
}

static bool
table_exists(const struct job *j, struct vrf_id vrf, enum family f)
{
	struct table_id t;

	return shard_table_find(j->apply->layers->shards.at[0], vrf, f, &t) == 0;
}

/* True if forwarding may change for every destination. */
static bool
tables_change(const struct job *j)
{
	const struct config *now = j->apply->running, *then = j->r.then;

	return j->apply->layers->fib != NULL &&
	       (then->max_paths != now->max_paths ||
		       memcmp(then->preference, now->preference, sizeof(now->preference)) != 0);
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
		.cluster_id = apply_cluster_id(j->r.then),
		.vrps = family_safi(family) == SAFI_UNICAST ? apply_vrps(j->apply) : NULL,
		.own_asn = j->r.then->asn,
		.all = tables_change(j),
	};
	struct export_call e = {.job = j};
	struct part *p = part_find(j, vrf, family, import);

	if (p != NULL)
		return p;
	memcpy(c.preference[0], j->apply->running->preference, sizeof(c.preference[0]));
	memcpy(c.preference[1], j->r.then->preference, sizeof(c.preference[1]));
	p = &j->part[j->part_count];
	*p = (struct part){.vrf = vrf, .family = family, .is_import = import};
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
		.vrf = now->vrf,
		.family = f,
		.import = import,
		.exact = !import || then == NULL ||
			 (kept_in_full(j, now, id, f) && apply_received_rules_same(&(struct change){
								 .was = now, .is = then}))};
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

/* Adds the directions that the candidate changes in a family of a peer. */
static int
family_compare(struct job *j, const struct config_peer *now, const struct config_peer *then,
	enum family f) RUNS_ON(role_main)
{
	const struct change c = {
		.old = j->apply->running, .next = j->r.then, .was = now, .is = then};
	int err = 0;

	if (!now->families[f].enabled)
		return 0;
	if (then == NULL || !then->families[f].enabled || (then->shutdown && !now->shutdown)) {
		err = peer_add(j, now, NULL, f, true);
		return err == 0 ? peer_add(j, now, NULL, f, false) : err;
	}
	if (!apply_imports_same(&c, f))
		err = peer_add(j, now, then, f, true);
	if (err == 0 && !apply_exports_same(&c, f))
		err = peer_add(j, now, then, f, false);
	return err;
}

/* The import parts of all tables, where forwarding may change for every destination. 0, -ENOMEM. */
static int
tables_compare(struct job *j) RUNS_ON(role_main)
{
	const struct config *now = j->apply->running;

	for (unsigned i = 0; tables_change(j) && i <= now->vrf_count; i++) {
		struct vrf_id vrf = i < now->vrf_count ? now->vrfs[i].id : VRF_DEFAULT;

		for (unsigned f = 0; f < FAMILY_COUNT; f++)
			if (table_exists(j, vrf, (enum family)f) &&
				part_get(j, (enum family)f, vrf, true) == NULL)
				return -ENOMEM;
	}
	return 0;
}

static enum family
family_of_own(const struct host_preview *o)
{
	return o->prefix.afi == AFI_IPV4 ? FAMILY_IPV4_UNICAST : FAMILY_IPV6_UNICAST;
}

/* Keeps a prefix of the host. 0, -ENOMEM. */
static int
own_visit(void *ctx, const struct host_preview *p) RUNS_ON(role_main)
{
	struct job *j = ctx;
	bool forwarded = j->apply->layers->fib != NULL &&
			 (p->now.source != SOURCE_COUNT || p->then.source != SOURCE_COUNT);
	struct attr_set *attrs = NULL;

	/* an instance of the candidate has no table, and no peer with a session */
	if ((!p->differs && !forwarded) || !table_exists(j, p->vrf, family_of_own(p)))
		return 0;
	if (j->own_count == j->own_size) {
		unsigned size = j->own_size > 0 ? 2 * j->own_size : 16;
		struct host_preview *own = realloc(j->own, size * sizeof(*own));

		if (own == NULL)
			return -ENOMEM;
		j->own = own;
		j->own_size = size;
	}
	if (p->attrs != NULL) {
		attrs = malloc(attr_set_size(p->attrs));
		if (attrs == NULL)
			return -ENOMEM;
		memcpy(attrs, p->attrs, attr_set_size(p->attrs));
	}
	j->own[j->own_count] = *p;
	j->own[j->own_count++].attrs = attrs;
	return 0;
}

/* The prefixes of the host belong to the import part of the table. 0, -ENOMEM. */
static int
owns_add(struct job *j) RUNS_ON(role_main)
{
	for (unsigned i = 0; i < j->own_count; i++) {
		const struct host_preview *o = &j->own[i];

		if ((o->differs || o->now.source != o->then.source ||
			    o->now.hops != o->then.hops) &&
			part_get(j, family_of_own(o), o->vrf, true) == NULL)
			return -ENOMEM;
	}
	for (unsigned i = 0; i < j->own_count; i++) {
		const struct host_preview *o = &j->own[i];
		struct part *part = part_find(j, o->vrf, family_of_own(o), true);
		struct preview_own own = {.prefix = o->prefix,
			.changes = o->differs,
			.source = o->source,
			.after = o->after,
			.attrs = o->attrs,
			.now = {o->now.source, o->now.hops},
			.then = {o->then.source, o->then.hops}};

		if (part != NULL && preview_own(part->import, &own) != 0)
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

/* True if best paths of the table may change: by an import, or a route of this router. */
static bool
imports_change(const struct job *j, struct vrf_id vrf, enum family f)
{
	for (unsigned i = 0; i < j->line_count; i++) {
		const struct line *l = &j->line[i];

		if (l->vrf.v == vrf.v && l->family == f && l->import)
			return true;
	}
	for (unsigned i = 0; i < j->own_count; i++) {
		const struct host_preview *o = &j->own[i];

		if (o->differs && o->vrf.v == vrf.v && family_of_own(o) == f)
			return true;
	}
	return false;
}

/* Adds all peers of the table with an unchanged export configuration. 0, -ENOMEM. */
static int
followers_add(struct job *j, struct vrf_id vrf, enum family f, struct export_calls *calls)
	RUNS_ON(role_main)
{
	int err = 0;

	for (struct peer_id id = {0}; err == 0 && (id = peers_next(j->apply->peers, id)).v != 0;) {
		const struct config_peer *now = peers_config(j->apply->peers, id),
					 *then = peer_then(j, now);
		struct line line = {
			.peer = id, .vrf = vrf, .family = f, .exact = true, .quiet = true};
		struct export_call e = {.job = j, .peer = id, .next = then};

		if (now->vrf.v != vrf.v || !now->families[f].enabled ||
			line_exists(j, id, f, false))
			continue;
		e.part = part_get(j, f, now->vrf, false);
		e.policy = policy_then(j, then, f, false);
		calls->at[calls->count++] = e;
		err = e.part != NULL ? line_add(j, &line) : -ENOMEM;
	}
	return err;
}

/*
 * Changed best paths of a table may change the advertised routes of each peer of the table. 0,
 * -ENOMEM.
 */
static int
exports_follow(struct job *j, struct vrf_id vrf, enum family f) RUNS_ON(role_main)
{
	struct export_calls calls = {.at = calloc(PEER_MAX, sizeof(*calls.at))};
	int err = calls.at != NULL ? followers_add(j, vrf, f, &calls) : -ENOMEM;

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
	const struct config *now_runs = j->apply->running;
	int err = tables_compare(j);

	for (struct peer_id id = {0}; err == 0 && (id = peers_next(j->apply->peers, id)).v != 0;) {
		const struct config_peer *now = peers_config(j->apply->peers, id),
					 *then = peer_then(j, now);

		for (unsigned f = 0; f < FAMILY_COUNT && err == 0; f++)
			err = family_compare(j, now, then, (enum family)f);
	}
	if (err == 0)
		err = host_routes_preview(j->apply->host_routes, j->r.then, own_visit, j);
	if (err == 0)
		err = owns_add(j);
	for (unsigned i = 0; i <= now_runs->vrf_count; i++) {
		struct vrf_id vrf = i < now_runs->vrf_count ? now_runs->vrfs[i].id : VRF_DEFAULT;

		for (unsigned f = 0; f < FAMILY_COUNT && err == 0; f++)
			if (imports_change(j, vrf, (enum family)f))
				err = exports_follow(j, vrf, (enum family)f);
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
	struct shards_table t;
	int err = 0;

	layers_rib_read_begin(j->apply->layers);
	shards_table(&j->apply->layers->shards, p->table, &t);
	for (; p->next < end; p->next++) {
		if (p->next < p->limit)
			err = preview_dest(p->import, (struct dest_id){p->next});
		else if (p->own_only)
			err = preview_dest(p->import,
				shards_find(&t,
					&preview_own_at(p->import, p->next - p->limit)->prefix));
		if (err != 0)
			break;
	}
	layers_rib_read_end(j->apply->layers);
	p->done = p->next >= p->end;
	if (p->done)
		preview_own_end(p->import);
	return err == -EAGAIN ? next_hop_resolve(j, p->import) : err;
}

/*
 * Runs a slice on the session thread and waits for the end, because the slice uses the import
 * preview.
 */
static int
export_run(struct job *j, struct part *p) RUNS_ON(role_main)
{
	const struct part *import = part_find(j, p->vrf, p->family, true);
	struct export_call e = {
		.job = j, .part = p, .import = import != NULL ? import->import : NULL};

	layers_call_session(j->apply->layers, on_session_run, &e);
	return e.err == -EAGAIN ? next_hop_resolve(j, e.import) : e.err;
}

/* True if no peer of the part gets other export rules. */
static bool
exports_quiet(const struct job *j, const struct part *p)
{
	for (unsigned i = 0; i < j->line_count; i++) {
		const struct line *l = &j->line[i];

		if (l->vrf.v == p->vrf.v && l->family == p->family && !l->import && !l->quiet)
			return false;
	}
	return true;
}

static int
part_run(struct job *j, struct part *p) RUNS_ON(role_main)
{
	const struct part *import = part_find(j, p->vrf, p->family, true);

	if (p->end == 0) {
		struct shards_table t;

		layers_rib_read_begin(j->apply->layers);
		shards_table(&j->apply->layers->shards, p->table, &t);
		p->limit = shards_limit(&t);
		layers_rib_read_end(j->apply->layers);
		p->own_only = import != NULL && preview_own_only(import->import) &&
			      (p->is_import || exports_quiet(j, p));
		p->end = p->limit + (import != NULL ? preview_own_count(import->import) : 0);
		p->next = p->own_only ? p->limit : 0;
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

		if (l->vrf.v != p->vrf.v || l->family != p->family || l->import != p->is_import)
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
 * table inexact.
 */
static void
mark_inexact_exports(struct job *j)
{
	for (unsigned i = 0; i < j->line_count; i++) {
		const struct line *l = &j->line[i];

		for (unsigned k = 0; l->import && !l->exact && k < j->line_count; k++) {
			struct line *e = &j->line[k];

			if (!e->import && e->vrf.v == l->vrf.v && e->family == l->family)
				e->exact = false;
		}
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
	j->part = calloc(2 * FAMILY_COUNT * (apply->running->vrf_count + 1), sizeof(*j->part));
	err = j->part == NULL ? -ENOMEM : r->candidate ? select_candidate(j) : select_scope(j);
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
	if (apply->previews == NULL)
		return;
	timer_cancel(apply->layers->main_thread, &apply->previews->again);
	free(apply->previews);
}
