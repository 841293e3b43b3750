/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rib.fate, keel-rpc(7): what became of the announcements of one prefix. Every stage answers from
 * its own thread: shards (paths, refusals), main (import policies), fib, session (export).
 */
#include "control/rpc/rpc_rib_impl.h"

#include "control/config/config.h"
#include "control/config/policy_compile.h"
#include "control/session/session.h"
#include "control/base/threads.h"
#include "dataplane/port/port.h"
#include "lpm/base/arena.h"
#include "lpm/fib.h"
#include "rib/feed/fib_feed.h"
#include "rib/policy/policy.h"
#include "rib/shard/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT_ASK 64u /* peers in one call of the session thread: below 1 ms */

/* An announcement in the table: the input of the import policy is evaluated after the read section. */
struct fate_path {
	json_t *route; /* lent */
	struct peer_id peer;
	bool external, refused;
	enum refused_cause cause; /* with `refused` */
	struct ip_addr addr;
	uint32_t asn;
	uint64_t group_key;
	/* the input of the import policy; NULL: not kept, or no memory */
	struct attr_set *received;
	struct fate_path *next;
};

struct fate {
	struct query q;
	struct fate_path *paths;
	bool refused_only; /* leave out the other paths */
	bool short_of_memory;
};

static struct fate *
fate_of(struct query *q)
{
	return (struct fate *)(void *)((char *)q - offsetof(struct fate, q));
}

/* ---- import ---- */

/* True if the policy changes no attribute, so that accepted attributes are as received. */
static bool
changes_nothing(const struct policy *p)
{
	return p == NULL || policy_sets_nothing(p);
}

/* As received: kept by keep_all_routes, or known because the policy changes nothing. NULL: unknown. */
static const struct attr_packed *
received_of(struct query *q, const struct rib_path *p) RUNS_ON(role_main)
{
	const struct attr_packed *a = shard_path_received(q->shard, p);

	if (a == NULL && !(p->label_flags & PATH_REJECTED) &&
		changes_nothing(apply_import_policy(q->env->apply, p->peer, q->family)))
		a = attr_get(shard_attrs(q->shard), p->accepted);
	return a;
}

static void
path_note(struct query *q, const struct rib_path *p, json_t *route) RUNS_ON(role_main)
{
	const struct attr_packed *a = NULL;
	struct ip_addr next_hop;
	struct shard_peer peer;
	struct fate_path *f;
	const char *hop;

	hop = json_string_value(json_object_get(route, "next_hop"));
	if (hop != NULL && addr_parse(hop, &next_hop) == 0)
		json_object_set_new(route, "port", rpc_port_of(q->env, q->vrf, &next_hop, hop));
	json_object_set_new(
		route, "time", json_real(wall_s() - ((double)now_ns() / 1e9 - p->time_s)));
	/* a leaked route has passed the import policy in the VPN table */
	if (p->peer.v == PEER_SELF.v || (p->label_flags & PATH_IMPORTED) ||
		(fate_of(q)->refused_only && !(p->label_flags & PATH_REJECTED)) ||
		!shard_peer_peek(q->shard, p->peer, &peer))
		return;
	f = calloc(1, sizeof(*f));
	if (f == NULL) {
		fate_of(q)->short_of_memory = true;
		return;
	}
	*f = (struct fate_path){.route = route,
		.peer = p->peer,
		.external = peer.external,
		.addr = peer.addr,
		.asn = peer.asn,
		.group_key = peer.group_key,
		.refused = (p->label_flags & PATH_REJECTED) != 0,
		.cause = p->label_flags & PATH_REJECTED ? shard_path_refusal(p) : REFUSED_NOT,
		.next = fate_of(q)->paths};
	fate_of(q)->paths = f;
	a = received_of(q, p);
	if (a != NULL) {
		const struct attr_set *s = attr_unpack(a, q->env->attr_buf);

		f->received = malloc(attr_set_size(s));
		if (f->received != NULL)
			memcpy(f->received, s, attr_set_size(s));
	}
}

/* The names of the attributes that differ. */
static json_t *
changed_json(const struct attr_set *before, const struct attr_set *after)
{
	json_t *a = json_object(), *b = json_object(), *out = json_array(), *value;
	const char *key;

	rpc_attrs(a, before);
	rpc_attrs(b, after);
	json_object_foreach(a, key, value) if (!json_equal(value, json_object_get(b, key)))
		json_array_append_new(out, json_string(key));
	json_object_foreach(b, key, value) if (json_object_get(a, key) == NULL)
		json_array_append_new(out, json_string(key));
	json_decref(a);
	json_decref(b);
	return out;
}

/* 0, -ENOMEM. */
static int
path_judge(const struct fate *f, const struct fate_path *p, struct policy_eval *eval)
	RUNS_ON(role_main)
{
	const struct policy *policy = apply_import_policy(f->q.env->apply, p->peer, f->q.family);
	json_t *import = json_pack("{s:s?}", "policy", policy != NULL ? policy_name(policy) : NULL);
	struct policy_context context = {.peer = p->addr,
		.peer_asn = p->asn,
		.peer_group = p->group_key,
		.family = f->q.family,
		.source = p->external ? SOURCE_EXTERNAL : SOURCE_INTERNAL,
		.vrps = f->q.vpn ? NULL : apply_vrps(f->q.env->apply),
		.own_asn = apply_running(f->q.env->apply)->asn};
	const char *reason = json_string_value(json_object_get(p->route, "reason"));
	struct policy_verdict v;
	int err;

	json_object_set_new(p->route, "import", import);
	/* a loop is refused before the policy runs */
	if (policy == NULL || p->received == NULL ||
		(p->refused && (reason == NULL || strcmp(reason, "rejected-by-policy") != 0)))
		return 0;
	err = policy_eval_begin(eval, policy, p->received, &context);
	if (err == 0)
		err = policy_eval_prefix(eval, &f->q.prefix, &v);
	if (err != 0)
		return err;
	if (v.seq == POLICY_NODE_BLACKHOLE)
		json_object_set_new(import, "rule", json_string("blackhole"));
	json_object_set_new(import, "node",
		v.seq != 0 && v.seq != POLICY_NODE_BLACKHOLE ? json_integer(v.seq) : json_null());
	if (v.seq != 0 && policy_set_line(apply_running(f->q.env->apply)->policies,
				  policy_name(policy), v.node) != NULL)
		json_object_set_new(import, "line",
			json_string(policy_set_line(apply_running(f->q.env->apply)->policies,
				policy_name(policy), v.node)));
	if (v.permit)
		json_object_set_new(import, "changed", changed_json(p->received, v.attrs));
	return 0;
}

static int
paths_judge(struct fate *f) RUNS_ON(role_main)
{
	struct policy_eval *eval;
	int err = policy_eval_create(f->q.env->layers->arena_control, &eval);

	if (err != 0)
		return err;
	for (const struct fate_path *p = f->paths; p != NULL && err == 0; p = p->next)
		err = path_judge(f, p, eval);
	policy_eval_destroy(eval);
	return err;
}

struct fate_session {
	struct speaker *speaker;
	struct peer_id id;
	uint64_t established_ns; /* 0: no session */
};

static void
session_read(void *arg) RUNS_ON(role_session)
{
	struct fate_session *s = arg;
	struct session_view v;

	s->established_ns = session_peek(s->speaker, s->id, &v) ? v.established_ns : 0;
}

bool
query_refusal(struct query *q, const struct refused_route *r, json_t *o)
{
	const struct policy *policy = apply_import_policy(q->env->apply, r->peer, q->family);
	struct fate_session s = {.speaker = q->env->layers->speaker, .id = r->peer};

	layers_call_session(q->env->layers, session_read, &s);
	if (s.established_ns == 0 || r->time_s < s.established_ns / 1000000000u)
		return false;
	json_object_set_new(o, "time", json_real(wall_s() - ((double)now_ns() / 1e9 - r->time_s)));
	if (r->cause != REFUSED_POLICY)
		return true;
	if (policy != NULL)
		json_object_set_new(o, "policy", json_string(policy_name(policy)));
	json_object_set_new(o, "node", r->node != 0 ? json_integer(r->node) : json_null());
	return true;
}

static void
fate_fini(struct fate *f)
{
	struct fate_path *p = f->paths, *next;

	for (; p != NULL; p = next) {
		next = p->next;
		free(p->received);
		free(p);
	}
}

/* A kept announcement as an entry of query_refused(). */
static json_t *
kept_json(const struct fate_path *p) RUNS_ON(role_main)
{
	const json_t *import = json_object_get(p->route, "import");
	static const char *const keys[] = {"policy", "node", "line"};
	json_t *o = json_pack("{s:O, s:o, s:s, s:O, s:O}", "prefix",
		json_object_get(p->route, "prefix"), "peer", rpc_addr(&p->addr), "cause",
		refused_text(p->cause), "age_s", json_object_get(p->route, "age_s"), "time",
		json_object_get(p->route, "time"));

	for (unsigned i = 0; i < 3 && p->cause == REFUSED_POLICY; i++)
		if (json_object_get(import, keys[i]) != NULL)
			json_object_set(o, keys[i], json_object_get(import, keys[i]));
	json_object_del(p->route, "import");
	json_object_set(o, "route", p->route);
	return o;
}

json_t *
query_refused_all(struct query *q)
{
	json_t *out = query_refused(q);
	struct fate f = {.refused_only = true,
		.q = {.env = q->env,
			.view = VIEW_FATE,
			.family = q->family,
			.vrf = q->vrf,
			.peer = q->peer,
			.peer_id = q->peer_id,
			.vpn = q->vpn,
			.has_rd = q->has_rd,
			.rd = q->rd,
			.has_prefix = true,
			.prefix = q->prefix,
			.limit = PEER_MAX,
			.path = path_note}};

	f.q.routes = json_array();
	(void)query_paths(&f.q);
	/* without memory an entry lacks the node */
	(void)paths_judge(&f);
	for (const struct fate_path *p = f.paths; p != NULL; p = p->next)
		json_array_insert_new(out, 0, kept_json(p));
	fate_fini(&f);
	json_decref(f.q.routes);
	return out;
}

/* ---- forwarding ---- */

struct fate_fib {
	const struct layers *layers;
	const struct query *q;
	uint32_t sequence;
	bool installed;
	uint64_t since, ports; /* a bit each: the entry's */
};

/* The ports by which packets of an entry leave. */
static uint64_t
ports_of(const struct path_lists *lists, struct path_list_id id)
{
	const struct path_list *l = &path_lists_array(lists)[id.v];
	struct next_hop_view v;
	uint64_t ports = 0;

	for (unsigned i = 0; i < l->path_count; i++)
		if (next_hop_peek(lists, path_list_paths(lists, id)[i].next_hop, &v) && v.port < 64)
			ports |= UINT64_C(1) << v.port;
	return ports;
}

static void
fib_read(void *arg) RUNS_ON(role_fib)
{
	struct fate_fib *f = arg;
	struct path_list_id list;

	f->installed = fib_shadow_get(f->layers->fib, f->q->vrf, &f->q->prefix, &list) &&
		       !fib_is_waiting(f->layers->fib, f->q->vrf, &f->q->prefix);
	if (f->installed)
		f->ports = ports_of(fib_path_lists(f->layers->fib), list);
	f->since = fib_feed_generation_of(f->layers->feed, f->sequence);
}

/* Null without forwarding tables of the family. `id`: the destination, or .v == DEST_NONE. */
static json_t *
fib_json(struct query *q, struct dest_id id) RUNS_ON(role_main)
{
	struct fate_fib f = {.layers = q->env->layers, .q = q};
	struct dest_view v;
	bool there;
	json_t *o, *ports;

	if (q->env->layers->fib == NULL || q->vpn)
		return json_null();
	query_section_begin(q);
	there = id.v != DEST_NONE && shards_peek(&q->table, id, &v);
	f.sequence = there ? v.sequence : 0;
	layers_rib_read_end(q->env->layers);
	layers_call_fib(q->env->layers, fib_read, &f);
	o = json_pack("{s:b, s:I}", "installed", f.installed, "generation",
		(json_int_t)fib_generation(q->env->layers->fib));
	ports = json_array();
	for (uint16_t p = 0; p < port_count(); p++)
		if (f.ports >> p & 1)
			json_array_append_new(ports, rpc_port(p));
	json_object_set_new(o, "ports", ports);
	if (there)
		json_object_set_new(
			o, "since", f.since != 0 ? json_integer((json_int_t)f.since) : json_null());
	return o;
}

/* ---- export ---- */

struct fate_export {
	struct speaker *speaker;
	enum family family;
	struct dest_id dest;
	bool zero; /* 0/0 or ::/0 of a unicast family */
	unsigned count;
	struct fate_member {
		struct peer_id id;
		bool there;
		struct update_fate fate;
		char policy[64];
	} at[EXPORT_ASK];
};

static void
export_read(void *arg) RUNS_ON(role_session)
{
	struct fate_export *e = arg;

	for (unsigned i = 0; i < e->count; i++) {
		struct fate_member *m = &e->at[i];

		m->there = session_fate(e->speaker, m->id, e->family, e->dest, e->zero, &m->fate);
		if (m->there && m->fate.policy != NULL)
			snprintf(m->policy, sizeof(m->policy), "%s", m->fate.policy);
	}
}

static json_t *
member_json(const struct rpc_env *env, const struct fate_member *m) RUNS_ON(role_main)
{
	const struct config_peer *peer = peers_config(env->peers, m->id);
	bool permitted = m->fate.refusal == EXPORT_PERMITTED;
	bool sends = permitted || m->fate.refusal == EXPORT_OWN_DEFAULT;
	json_t *o = json_pack("{s:s, s:b, s:I}", "peer", peer->addr_text, "advertised",
		m->fate.advertised, "update_group", (json_int_t)m->fate.group);

	if (!permitted)
		json_object_set_new(o, "reason", json_string(update_refusal_text(m->fate.refusal)));
	if (sends != m->fate.advertised)
		json_object_set_new(o, "pending", json_true());
	if (m->fate.policy != NULL)
		json_object_set_new(o, "policy", json_string(m->policy));
	if (m->fate.policy != NULL && (permitted || m->fate.refusal == EXPORT_POLICY))
		json_object_set_new(
			o, "node", m->fate.node != 0 ? json_integer(m->fate.node) : json_null());
	return o;
}

static void
export_flush(const struct query *q, struct fate_export *e, json_t *out) RUNS_ON(role_main)
{
	layers_call_session(q->env->layers, export_read, e);
	for (unsigned i = 0; i < e->count; i++)
		if (e->at[i].there)
			json_array_append_new(out, member_json(q->env, &e->at[i]));
	e->count = 0;
}

/* The peers with an established session of the family. */
static json_t *
export_json(const struct query *q, struct dest_id id) RUNS_ON(role_main)
{
	struct fate_export e = {.speaker = q->env->layers->speaker,
		.family = q->family,
		.dest = id,
		.zero = q->prefix.len == 0 && !q->vpn};
	json_t *out = json_array();
	struct peer_id peer = {0};

	while ((peer = peers_next(q->env->peers, peer)).v != 0) {
		const struct config_peer *c = peers_config(q->env->peers, peer);

		if (c->vrf.v != q->vrf.v || !c->families[q->family].enabled)
			continue;
		e.at[e.count++].id = peer;
		if (e.count == EXPORT_ASK)
			export_flush(q, &e, out);
	}
	export_flush(q, &e, out);
	return out;
}

/* ---- the method ---- */

static json_t *
rib_fate(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct fate f = {.q = {.env = env,
				 .view = VIEW_FATE,
				 .vrf = VRF_DEFAULT,
				 .limit = PEER_MAX,
				 .path = path_note}};
	struct dest_id id = {DEST_NONE};
	struct query *q = &f.q;
	bool found;
	json_t *o;

	if (!rpc_family(params, &q->family, call) || !rpc_vrf(env, params, &q->vrf, call) ||
		!query_rd(q, params, true, call) || !query_subject(q, params, &found, call))
		return NULL;
	q->routes = json_array();
	if (query_table(q))
		id = query_paths(q);
	o = json_pack("{s:o, s:o, s:o, s:o, s:o}", "prefix",
		found ? rpc_prefix(&q->prefix) : json_null(), "paths", q->routes, "refused",
		query_refused(q), "fib", fib_json(q, id), "exports", export_json(q, id));
	if (f.short_of_memory || paths_judge(&f) != 0) {
		json_decref(o);
		o = rpc_fail(call, RPC_TRY_AGAIN, "", "out of memory; try again");
	}
	fate_fini(&f);
	return o;
}

static const struct rpc_field fate_params[] = {
	{"family", "family", "Address family."},
	{"vrf?", "string", "VRF; `default` when absent."},
	{"rd?", "string", "Route distinguisher; required for a VPN family."},
	{"prefix", "string",
		"The prefix; or an address: the longest prefix that holds it and that anybody "
		"announces, usable or not."},
	{0},
};
static const struct rpc_field import_fields[] = {
	{"policy", "string|null", "The import policy in force; null without a policy."},
	{"node?", "integer|null",
		"`seq` of the node that accepted or refused the route; null when no node matches. "
		"Absent where the attributes as received are not known: the policy changes "
		"attributes, and the peer has no `keep_all_routes`."},
	{"rule?", "blackhole", "Decided by `blackhole` of the peer, before the policy (RFC 7999)."},
	{"line?", "string",
		"FILE:LINE:COLUMN of the statement that decided, for a policy of a policy file."},
	{"changed?", "string[]", "The attributes that the policy changed."},
	{0},
};
static const struct rpc_field path_fields[] = {
	{"*", "any", "The members of a route of `rib.routes`, `reason` included."},
	{"time", "number", "Unix seconds at which the path last changed."},
	{"port?", "object", "The port with the subnet of the next hop, as in `bgp.peers`."},
	{"import?", "object",
		"What import policy did; absent for routes of this router and leaked routes.",
		import_fields},
	{0},
};
static const struct rpc_field fate_fib_fields[] = {
	{"installed", "boolean", "The forwarding tables have an entry for exactly this prefix."},
	{"generation", "integer", "The generation that the workers use."},
	{"ports", "object[]",
		"The ports by which packets leave, with the link as `port` of `bgp.peers`."},
	{"since?", "integer|null",
		"The tables have the last change of the destination since this generation, or "
		"since an earlier one; null: no generation has the change yet. Absent without a "
		"destination."},
	{0},
};
static const struct rpc_field export_fields[] = {
	{"peer", "string", "Address of the peer."},
	{"advertised", "boolean", "The Adj-RIB-Out of the peer has the route."},
	{"update_group", "integer", "The update group of the peer."},
	{"reason?",
		"no-route|not-installed|no-policy|own-default|source|internal|community|role|"
		"policy|"
		"membership|"
		"next-hop",
		"Why the route of the table is not to be advertised. `no-route`: no path may be "
		"chosen. "
		"`source`: the peer announced the best path. `internal`: from an internal peer, to "
		"an internal peer (RFC 4456 6). `community`: a well-known community forbids it "
		"(RFC 1997). `role`: OTC forbids it (RFC 9234). `own-default`: `default_originate` "
		"advertises a default route of its own. `membership`: the peer asked for no route "
		"target of the route "
		"(RFC 4684). `next-hop`: there is "
		"no "
		"next hop or label for this session, or no message has room for the attributes."},
	{"pending?", "boolean", "True: the advertisement or the withdrawal has not been sent yet."},
	{"policy?", "string", "The export policy; absent without one."},
	{"node?", "integer|null",
		"`seq` of the node that decided; null when no node matched, or with `accept-all`."},
	{0},
};
static const struct rpc_field fate_result[] = {
	{"prefix", "string|null",
		"The prefix of the answer; null where nobody announces a prefix that holds the "
		"address."},
	{"paths", "object[]", "The announcements in the table, the best first.", path_fields},
	{"refused", "object[]",
		"The last announcements that were refused in the present sessions, as far as they "
		"are "
		"remembered, newest first.",
		rpc_refused_fields},
	{"fib", "object|null",
		"The forwarding tables; null without a data plane, and in VPN families.",
		fate_fib_fields},
	{"exports", "object[]", "Each peer of the VRF with an established session of the family.",
		export_fields},
	{0},
};

const struct rpc_method rpc_fate_methods[] = {
	{"rib.fate", rib_fate, fate_params, fate_result,
		"What became of the announcements of a prefix", NULL, RPC_READS,
		RPC_ERROR(RPC_NOT_FOUND) | RPC_ERROR(RPC_TRY_AGAIN)},
	{0},
};
