/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rib.history, keel-rpc(7): the last changes of one prefix. The shard has records of changes
 * (rib/shard/history.h) and of refused announcements (rib/shard/refused.h). Announcements without a record have
 * their times in the present paths, and in the records of the changes that ended the paths.
 */
#include "control/rpc/rpc_rib_impl.h"

#include "control/base/threads.h"
#include "control/config/config.h"
#include "rib/shard/history.h"
#include "rib/shard/shard.h"

#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT_CHANGES 100
#define LIMIT_MAX_CHANGES 512
#define REFUSALS_MAX 256u

/* A change, by a record or without one. */
struct change {
	struct history_change c;
	bool derived; /* from the time of a path: whole seconds */
};

struct changes {
	struct query q;
	const struct shard *shard;
	struct change *at;
	unsigned count, size;
	bool short_of_memory;
	double epoch_s; /* Unix time of the zero of the monotonic clock */
};

static struct change *
change_add(struct changes *l, const struct history_change *c, bool derived)
{
	if (l->count == l->size) {
		unsigned size = 2 * l->size + 64;
		struct change *at = realloc(l->at, size * sizeof(*at));

		if (at == NULL) {
			l->short_of_memory = true;
			return NULL;
		}
		l->at = at;
		l->size = size;
	}
	l->at[l->count] = (struct change){*c, derived};
	return &l->at[l->count++];
}

static bool
same_path(const struct history_change *a, const struct history_change *b)
{
	return a->peer.v == b->peer.v && a->path_id == b->path_id;
}

/* True for a record whose path has the time of the record. */
static bool
sets_time(enum history_event e)
{
	return e == HISTORY_ANNOUNCED || e == HISTORY_REPLACED || e == HISTORY_REFUSED ||
	       e == HISTORY_REEVALUATED;
}

/*
 * Adds the announcement of a path, which ended at `until_ms`, unless there is a record. Within a
 * second the announcement follows the changes of the path before.
 */
static void
announcement_add(struct changes *l, const struct history_change *path, uint64_t until_ms)
{
	struct history_change c = *path;

	for (unsigned i = 0; i < l->count; i++) {
		const struct history_change *o = &l->at[i].c;

		if (!same_path(o, &c) || o->time_ms / 1000 != path->time_ms / 1000 ||
			o->time_ms > until_ms)
			continue;
		if (sets_time(o->event))
			return;
		if (o->time_ms < until_ms && o->time_ms >= c.time_ms)
			c.time_ms = o->time_ms + 1;
	}
	(void)change_add(l, &c, true);
}

/* ---- sources ---- */

static void
refusals_read(struct changes *l) RUNS_ON(role_main)
{
	struct refused_route *list = calloc(REFUSALS_MAX, sizeof(*list));
	unsigned n = 0, recorded = l->count;

	if (list != NULL)
		n = shard_refused_all(
			l->shard, l->q.family, l->q.rd, &l->q.prefix, list, REFUSALS_MAX);
	else
		l->short_of_memory = true;
	for (unsigned i = 0; i < n; i++) {
		struct history_change c = {.time_ms = list[i].time_s * 1000ull + list[i].time_ms,
			.event = list[i].cause == REFUSED_NOT ? HISTORY_WITHDRAWN : HISTORY_REFUSED,
			.peer = list[i].peer,
			.cause = list[i].cause,
			.policy = list[i].policy,
			.node = list[i].node,
			.before = {HISTORY_NO_PEER},
			.after = {HISTORY_NO_PEER}};
		struct shard_peer p;
		bool there = false;

		/* a peer of another instance with an equal prefix */
		if (shard_peer_peek(l->shard, c.peer, &p) && p.vrf.v != l->q.vrf.v)
			continue;
		for (unsigned k = 0; k < recorded && !there; k++)
			there = l->at[k].c.event == HISTORY_REFUSED &&
				l->at[k].c.peer.v == c.peer.v && l->at[k].c.time_ms == c.time_ms;
		if (!there)
			(void)change_add(l, &c, false);
	}
	free(list);
}

/* Announcements behind the records. */
static void
ended_paths_read(struct changes *l, unsigned recorded)
{
	for (unsigned i = 0; i < recorded; i++) {
		const struct history_change c = l->at[i].c;
		struct history_change path = {.time_ms = c.since_s * 1000ull,
			.event = HISTORY_ANNOUNCED,
			.peer = c.peer,
			.path_id = c.path_id,
			.set = c.old_set,
			.serial = c.old_serial};

		if (c.since_s != 0)
			announcement_add(l, &path, c.time_ms);
	}
}

static void
present_path(struct changes *l, const struct rib_path *p)
{
	struct history_change path = {.time_ms = p->time_s * 1000ull,
		.event = HISTORY_ANNOUNCED,
		.peer = p->peer,
		.path_id = p->path_id,
		.set = p->accepted.v != 0 ? p->accepted : p->received};

	path.serial = attr_serial(shard_attrs(l->shard), path.set);
	if (p->label_flags & PATH_REJECTED) {
		path.event = HISTORY_REFUSED;
		path.cause = shard_path_refusal(p);
	}
	announcement_add(l, &path, UINT64_MAX);
}

static void
present_paths_read(struct changes *l) RUNS_ON(role_main)
{
	struct path_set *all = NULL;
	struct dest_view v;
	struct dest_id id;

	query_section_begin(&l->q);
	id = shards_find_rd(&l->q.table, l->q.rd, &l->q.prefix);
	if (id.v == DEST_NONE || !shards_peek(&l->q.table, id, &v))
		v.paths = NULL;
	while (v.paths != NULL && v.behind > 0) {
		unsigned size = 2 * (v.paths->count + v.behind);

		free(all);
		all = calloc(1, sizeof(*all) + size * sizeof(all->path[0]));
		l->short_of_memory |= all == NULL;
		if (all == NULL || !shards_peek_all(&l->q.table, id, &v, all, size))
			v.paths = NULL;
	}
	for (unsigned i = 0; v.paths != NULL && i < v.paths->count; i++)
		present_path(l, &v.paths->path[i]);
	layers_rib_read_end(l->q.env->layers);
	free(all);
}

/* Newest first. Records of equal times keep the order of their sequence. */
static int
compare(const void *a, const void *b)
{
	const struct history_change *x = &((const struct change *)a)->c,
				    *y = &((const struct change *)b)->c;

	if (x->time_ms != y->time_ms)
		return x->time_ms < y->time_ms ? 1 : -1;
	if (x->sequence != 0 && y->sequence != 0)
		return (int32_t)(uint32_t)(y->sequence - x->sequence) > 0 ? 1 : -1;
	/* an announcement that a record of the same time has ended is older */
	return (x->sequence < y->sequence) - (x->sequence > y->sequence);
}

/* ---- the answer ---- */

static double
unix_time(const struct changes *l, uint64_t ms)
{
	return l->epoch_s + (double)ms / 1e3;
}

/* Null: this router. NULL: a peer that is not known any more. */
static json_t *
peer_of(const struct changes *l, struct peer_id id, uint64_t time_ms) RUNS_ON(role_main)
{
	struct ip_addr addr;

	if (id.v == PEER_SELF.v)
		return json_null();
	if (!peers_address(l->q.env->peers, id, time_ms * 1000000u, &addr))
		return json_string("removed");
	return rpc_addr(&addr);
}

static json_t *
best_json(const struct changes *l, const struct history_change *c) RUNS_ON(role_main)
{
	json_t *o = json_object();

	if (c->after.v != HISTORY_NO_PEER)
		json_object_set_new(o, "peer", peer_of(l, c->after, c->time_ms));
	if (c->before.v != HISTORY_NO_PEER)
		json_object_set_new(o, "was", peer_of(l, c->before, c->time_ms));
	if (c->reason != DECISION_EQUAL)
		json_object_set_new(o, "reason", json_string(decision_reason_text(c->reason)));
	return o;
}

/* The attributes, as long as a path has them. */
static json_t *
route_json(const struct changes *l, struct attr_id id, uint32_t serial) RUNS_ON(role_main)
{
	const struct attr_table *t = shard_attrs(l->shard);
	const struct attr_packed *a;
	json_t *o = NULL;

	if (id.v == 0 || serial == 0)
		return NULL;
	layers_rib_read_begin(l->q.env->layers);
	a = attr_get(t, id);
	/* the set of the id is the same set, before and behind the look at its place */
	if (a != NULL && attr_serial(t, id) == serial) {
		o = json_object();
		rpc_attrs(o, attr_unpack(a, l->q.env->attr_buf));
	}
	layers_rib_read_end(l->q.env->layers);
	return o;
}

static json_t *
change_json(const struct changes *l, const struct change *ch) RUNS_ON(role_main)
{
	const struct history_change *c = &ch->c;
	const char *policy = shard_history_policy(l->shard, c->policy);
	json_t *o = json_pack("{s:f, s:s, s:o}", "time", unix_time(l, c->time_ms), "event",
		       history_event_text(c->event), "peer", peer_of(l, c->peer, c->time_ms)),
	       *route = route_json(l, c->set, c->serial);

	if (route == NULL && c->set.v == 0)
		route = route_json(l, c->old_set, c->old_serial);
	/* in an instance the number names the source of an imported path */
	if (c->path_id != 0 && l->q.vrf.v == VRF_DEFAULT.v)
		json_object_set_new(o, "path_id", json_integer(c->path_id));
	if (c->event == HISTORY_REFUSED)
		json_object_set_new(o, "cause", json_string(refused_text(c->cause)));
	if (policy != NULL)
		json_object_set_new(o, "policy", json_string(policy));
	if (c->event == HISTORY_REFUSED && c->node != 0)
		json_object_set_new(o, "node", json_integer(c->node));
	if (c->moved)
		json_object_set_new(o, "best", best_json(l, c));
	if (ch->derived)
		json_object_set_new(o, "recorded", json_false());
	if (route != NULL)
		json_object_set_new(o, "route", route);
	return o;
}

static json_t *
since_json(const struct changes *l, uint64_t ms)
{
	return ms != 0 ? json_real(unix_time(l, ms)) : json_null();
}

static void
changes_read(struct changes *l, uint64_t since_ms[2]) RUNS_ON(role_main)
{
	struct history_change *found = calloc(HISTORY_FOUND, sizeof(*found));
	unsigned n = 0;

	l->short_of_memory |= found == NULL;
	if (found != NULL)
		n = shard_history_find(
			l->shard, l->q.vrf, l->q.family, l->q.rd, &l->q.prefix, found, since_ms);
	for (unsigned i = 0; i < n; i++)
		(void)change_add(l, &found[i], false);
	free(found);
	refusals_read(l);
	ended_paths_read(l, n);
	present_paths_read(l);
	if (l->count > 0)
		qsort(l->at, l->count, sizeof(*l->at), compare);
}

/* As query_subject(). A prefix that nobody announces any more has records, too. */
static bool
history_subject(struct query *q, json_t *params, bool *found, struct rpc_call *call)
	RUNS_ON(role_main)
{
	const struct shards *shards = &q->env->layers->shards;
	const char *text = json_string_value(json_object_get(params, "prefix"));
	struct ip_addr addr;
	int len = -1;

	if (!query_subject(q, params, found, call))
		return false;
	if (text == NULL || addr_parse(text, &addr) != 0)
		return true;
	for (unsigned i = 0; i < shards->count; i++) {
		int longest = shard_history_longest(shards->at[i], q->vrf, q->family, q->rd, &addr);

		len = longest > len ? longest : len;
	}
	if (len >= 0 && (!*found || len > q->prefix.len)) {
		q->prefix = prefix_from_addr(&addr, (uint8_t)len);
		*found = true;
	}
	return true;
}

static json_t *
rib_history(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct changes l = {.q = {.env = env, .vrf = VRF_DEFAULT},
		.epoch_s = wall_s() - (double)now_ns() / 1e9};
	json_int_t limit = LIMIT_DEFAULT_CHANGES;
	json_t *list = NULL, *o = NULL;
	uint64_t since_ms[2] = {0};
	bool found;

	if (!rpc_family(params, &l.q.family, call) || !rpc_vrf(env, params, &l.q.vrf, call) ||
		!query_rd(&l.q, params, true, call) ||
		!history_subject(&l.q, params, &found, call) ||
		!rpc_integer(params, "limit", 1, LIMIT_MAX_CHANGES, &limit, call))
		return NULL;
	l.shard = shards_for(&env->layers->shards, shards_by(l.q.vrf, l.q.family), &l.q.prefix);
	changes_read(&l, since_ms);
	if (l.short_of_memory) {
		o = rpc_fail(call, RPC_TRY_AGAIN, "", "out of memory; try again");
	} else {
		list = json_array();
		for (unsigned i = 0; i < l.count && i < limit; i++)
			json_array_append_new(list, change_json(&l, &l.at[i]));
		o = json_pack("{s:o, s:o, s:{s:o, s:o}}", "prefix",
			found ? rpc_prefix(&l.q.prefix) : json_null(), "changes", list,
			"recorded_since", "live", since_json(&l, since_ms[0]), "bulk",
			since_json(&l, since_ms[1]));
	}
	free(l.at);
	return o;
}

static const struct rpc_field history_params[] = {
	{"family", "family", "Address family."},
	{"vrf?", "string", "VRF; `default` when absent."},
	{"rd?", "string", "Route distinguisher; required for a VPN family."},
	{"prefix", "string",
		"The prefix; or an address: the longest prefix that holds it and that anybody "
		"announces, or announced as far as there is a record."},
	{"limit?", "integer=1..512", "The most changes in the answer; 100 when absent."},
	{0},
};
static const struct rpc_field best_fields[] = {
	{"peer?", "string|null",
		"The peer of the new best path; null for this router. Absent: no path is left."},
	{"was?", "string|null", "The peer of the best path before; absent: there was none."},
	{"reason?", "string",
		"The step of the decision in which the best path before loses, as `reason` of "
		"`rib.routes`. Absent where this path is gone."},
	{0},
};
static const struct rpc_field route_fields[] = {
	{"*", "any", "The attributes, as in `rib.routes`."},
	{0},
};
static const struct rpc_field change_fields[] = {
	{"time", "number", "Unix seconds."},
	{"event",
		"announced|replaced|withdrawn|refused|session-lost|stale|reevaluated|next-hop-up|"
		"next-hop-down|ranked",
		"What happened to the path of the peer. `replaced`: announced with other "
		"attributes. `session-lost`: removed with the session. `stale`: removed because a "
		"refresh or a restarted peer did not announce it again, or by RFC 9494. "
		"`reevaluated`: a kept announcement has another result by the import policy of "
		"that time. `ranked`: no path changed, but the best path moved: by a metric, a "
		"router id or settings."},
	{"peer", "string|null",
		"Address of the peer; null for this router. `removed`: a peer removed long ago."},
	{"path_id?", "integer", "The path identifier (RFC 7911)."},
	{"cause?", "string", "Of `refused`: the cause, as in `bgp.peers`."},
	{"policy?", "string",
		"Of `refused` by policy and of `reevaluated`: the import policy at that time."},
	{"node?", "integer", "Of `refused` by policy: `seq` of the node, where a node matched."},
	{"best?", "object", "The change moved the best path.", best_fields},
	{"recorded?", "boolean",
		"False: there is no record; `time` is the time of the path, in whole seconds, and "
		"`best` is not known."},
	{"route?", "object",
		"The attributes of the path, or of the path that went; absent where no path has "
		"these attributes any more.",
		route_fields},
	{0},
};
static const struct rpc_field since_fields[] = {
	{"live", "number|null", "Changes by single messages."},
	{"bulk", "number|null", "Changes by whole tables, and by walks over tables."},
	{0},
};
static const struct rpc_field history_result[] = {
	{"prefix", "string|null", "The prefix of the answer; null where none holds the address."},
	{"changes", "object[]", "The last changes, newest first.", change_fields},
	{"recorded_since", "object",
		"Unix seconds from which on records of all prefixes are complete; null: since the "
		"start.",
		since_fields},
	{0},
};

const struct rpc_method rpc_history_methods[] = {
	{"rib.history", rib_history, history_params, history_result, "The last changes of a prefix",
		"Each RIB thread keeps records of the last 8,192 changes by single messages, of "
		"the "
		"last 8,192 changes by whole tables and walks (a lost session, a refresh, a "
		"changed "
		"policy; at most 4,096 in ten seconds), and of the last 131,072 refused "
		"announcements. An announcement of a whole table that does not replace the best "
		"path "
		"has no record: its time is that of the path.",
		RPC_READS, RPC_ERROR(RPC_NOT_FOUND) | RPC_ERROR(RPC_TRY_AGAIN)},
	{0},
};
