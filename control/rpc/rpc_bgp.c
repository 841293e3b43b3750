/* SPDX-License-Identifier: BSD-3-Clause */
/* The methods bgp.* and jobs.*, keel-rpc(7). */
#include "control/rpc/rpc_impl.h"

#include "control/config/config.h"
#include "control/session/session.h"
#include "control/base/threads.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct peek {
	struct rpc_env *env;
	struct peer_id id;
	bool found;
	struct session_view view;
};

static void
peek_session(void *arg) RUNS_ON(role_session)
{
	struct peek *p = arg;

	p->found = session_peek(p->env->layers->speaker, p->id, &p->view);
}

static void
capability_add(json_t *o, const char *name, const struct session_capability *c)
{
	json_object_set_new(o, name,
		json_pack("{s:b, s:b, s:b}", "local", c->local, "remote", c->remote, "negotiated",
			c->negotiated));
}

/* IANA, Capability Codes. NULL: no name. */
static const char *
capability_name(uint8_t code)
{
	static const char *const names[] = {[1] = "multiprotocol",
		[2] = "route-refresh",
		[3] = "outbound-route-filtering",
		[5] = "extended-next-hop",
		[6] = "extended-message",
		[7] = "bgpsec",
		[8] = "multiple-labels",
		[9] = "role",
		[64] = "graceful-restart",
		[65] = "four-octet-as",
		[67] = "dynamic",
		[68] = "multisession",
		[69] = "add-path",
		[70] = "enhanced-route-refresh",
		[71] = "long-lived-graceful-restart",
		[72] = "routing-policy-distribution",
		[73] = "fqdn",
		[75] = "software-version",
		[76] = "paths-limit",
		[128] = "route-refresh-before-rfc-2918"};

	return code < sizeof(names) / sizeof(names[0]) ? names[code] : NULL;
}

static json_t *
offered_json(const struct session_view *v)
{
	json_t *a = json_array();

	for (unsigned at = 0; at < v->offered_len; at += 2u + v->offered[at + 1])
		json_array_append_new(
			a, json_pack("{s:i, s:s*, s:o}", "code", (int)v->offered[at], "name",
				   capability_name(v->offered[at]), "value",
				   rpc_octets(v->offered + at + 2, v->offered[at + 1])));
	return a;
}

static json_t *
capabilities_json(const struct session_view *v)
{
	json_t *o = json_object();

	capability_add(o, "route_refresh", &v->route_refresh);
	capability_add(o, "enhanced_route_refresh", &v->enhanced_route_refresh);
	capability_add(o, "four_octet_as", &v->four_octet_as);
	capability_add(o, "extended_message", &v->extended_message);
	capability_add(o, "graceful_restart", &v->graceful_restart);
	capability_add(o, "extended_next_hop", &v->extended_next_hop);
	capability_add(o, "restart_notification", &v->restart_notification);
	return o;
}

static json_t *
refresh_json(const struct session_view *v, enum family f, const struct adj_rib_in_counts *in)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "requests_sent",
		(json_int_t)v->families[f].requests_sent, "requests_received",
		(json_int_t)v->families[f].requests_received, "served",
		(json_int_t)v->families[f].served, "coalesced",
		(json_int_t)v->families[f].coalesced, "borr_sent",
		(json_int_t)v->families[f].borr_sent, "eorr_sent",
		(json_int_t)v->families[f].eorr_sent, "borr_received",
		(json_int_t)v->families[f].borr_received, "eorr_received",
		(json_int_t)v->families[f].eorr_received, "stale_swept",
		(json_int_t)in->stale_swept, "borr_ignored", (json_int_t)in->borr_ignored);
}

/* The update group of a peer and its counters. */
static json_t *
update_group_json(const struct update_group_stats *g)
{
	return json_pack("{s:I, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "id",
		(json_int_t)g->id, "members", (int)g->members, "behind", (int)g->behind, "walks",
		(json_int_t)g->walks, "policy_walks", (json_int_t)g->policy_walks, "messages",
		(json_int_t)g->messages, "octets", (json_int_t)g->octets, "own_messages",
		(json_int_t)g->own_messages, "fell_behind", (json_int_t)g->fell_behind, "evicted",
		(json_int_t)g->evicted, "splits", (json_int_t)g->splits, "foreign_labels",
		(json_int_t)g->foreign_labels, "no_labels", (json_int_t)g->no_labels);
}

/* RFC 8212: the directions without a policy, in which no route passes. */
static json_t *
no_policy_json(const struct session_view *v, enum family f)
{
	json_t *directions = json_array();

	if (v->families[f].no_import_policy)
		json_array_append_new(directions, json_string("import"));
	if (v->families[f].no_export_policy)
		json_array_append_new(directions, json_string("export"));
	return directions;
}

static json_t *
max_prefixes_json(const struct session_view *v, enum family f)
{
	static const char *const actions[] = {[MAX_PREFIXES_WARNING] = "warning",
		[MAX_PREFIXES_SHUTDOWN] = "shutdown",
		[MAX_PREFIXES_DISCARD] = "discard"};
	json_t *o =
		json_pack("{s:I, s:s, s:i, s:b}", "limit", (json_int_t)v->families[f].max_prefixes,
			"action", actions[v->families[f].max_prefixes_action], "threshold_percent",
			(int)v->families[f].max_prefixes_threshold, "exceeded",
			v->families[f].max_prefixes_exceeded);

	if (v->families[f].max_prefixes_restart_s != 0)
		json_object_set_new(
			o, "restart_s", json_integer(v->families[f].max_prefixes_restart_s));
	return o;
}

static json_t *
max_prefixes_out_json(const struct config_family *k, const struct session_view *v, enum family f)
{
	return json_pack("{s:I, s:s, s:i, s:b, s:I}", "limit", (json_int_t)k->max_prefixes_out,
		"action",
		k->max_prefixes_out_action == MAX_PREFIXES_SHUTDOWN ? "shutdown" : "warning",
		"threshold_percent", (int)k->max_prefixes_out_threshold, "exceeded",
		v->families[f].max_prefixes_out_exceeded, "exceeded_total",
		(json_int_t)v->families[f].max_prefixes_out_passed);
}

/* Causes with count 0 have no key. */
static json_t *
refused_json(const struct rpc_env *env, struct peer_id id, enum family f)
{
	uint64_t refused[REFUSED_CAUSES];
	json_t *o = json_object();

	shards_peer_refused(&env->layers->shards, id, f, refused);
	for (enum refused_cause c = 0; c < REFUSED_CAUSES; c++)
		if (refused[c] != 0)
			json_object_set_new(
				o, refused_text(c), json_integer((json_int_t)refused[c]));
	return o;
}

static json_t *
family_json(const struct rpc_env *env, const struct config_peer *p, struct peer_id id,
	enum family f, const struct session_view *v) RUNS_ON(role_main)
{
	const char *not_applied = apply_not_applied(env->apply, id, f, v);
	struct adj_rib_in_counts in = {0};
	json_t *o;

	shards_peer_counts(&env->layers->shards, id, f, &in);
	o = json_pack("{s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:o, s:o}",
		"received", (json_int_t)in.received, "accepted", (json_int_t)in.accepted,
		"rejected_total", (json_int_t)in.rejected_total, "advertised",
		(json_int_t)v->families[f].advertised, "negotiated", v->families[f].negotiated,
		"end_of_rib_received", v->families[f].end_of_rib_received, "end_of_rib_sent",
		v->families[f].end_of_rib_sent, "keep_all_routes", p->families[f].keep_all_routes,
		"slow", v->families[f].slow, "graceful_restart", v->families[f].graceful_restart,
		"forwarding_kept", v->families[f].forwarding_kept, "retained",
		v->families[f].retained, "extended_next_hop", v->families[f].extended_next_hop,
		"no_policy", no_policy_json(v, f), "refresh", refresh_json(v, f, &in));
	if (p->families[f].keep_all_routes)
		json_object_set_new(o, "kept", json_integer((json_int_t)in.kept));
	if (not_applied != NULL)
		json_object_set_new(o, "not_applied", json_string(not_applied));
	if (v->families[f].group.id != 0)
		json_object_set_new(o, "update_group", update_group_json(&v->families[f].group));
	json_object_set_new(o, "slow_total", json_integer((json_int_t)v->families[f].slow_count));
	json_object_set_new(o, "refused", refused_json(env, id, f));
	if (v->families[f].max_prefixes != 0)
		json_object_set_new(o, "max_prefixes", max_prefixes_json(v, f));
	if (p->families[f].max_prefixes_out != 0)
		json_object_set_new(
			o, "max_prefixes_out", max_prefixes_out_json(&p->families[f], v, f));
	if (p->families[f].blackhole.prefix_list != NULL)
		json_object_set_new(
			o, "blackholed_total", json_integer((json_int_t)in.blackholed_total));
	return o;
}

static json_t *
families_json(const struct rpc_env *env, const struct config_peer *p, struct peer_id id,
	const struct session_view *v) RUNS_ON(role_main)
{
	json_t *families = json_object();

	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (p->families[f].enabled)
			json_object_set_new(families, family_text((enum family)f),
				family_json(env, p, id, (enum family)f, v));
	}
	return families;
}

/* Properties of some peers have no key for other peers. The password is never shown. */
static void
peculiarities_add(json_t *o, const struct rpc_env *env, const struct config_peer *p,
	const struct session_view *v) RUNS_ON(role_main)
{
	const struct {
		const char *key;
		bool is;
	} words[] = {{"route_reflector_client", p->route_reflector_client}, {"held", v->held},
		{"idle_hold", v->idle_hold}, {"dynamic", p->dynamic}, {"passive", p->passive},
		{"shutdown", p->shutdown}, {"link_sensitive", v->link_sensitive}, {"gtsm", p->gtsm},
		{"md5", p->password != NULL}};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (words[i].is)
			json_object_set_new(o, words[i].key, json_true());
	}
	if (v->local_addr.afi != AFI_NONE)
		json_object_set_new(o, "local_address", rpc_addr(&v->local_addr));
	if (p->local_as != apply_running(env->apply)->asn)
		json_object_set_new(o, "local_as", json_integer(p->local_as));
	if (p->role != ROLE_NONE)
		json_object_set_new(o, "role", json_string(role_text((enum session_role)p->role)));
	if (v->remote_role != ROLE_NONE && v->remote_role < ROLE_COUNT)
		json_object_set_new(
			o, "peer_role", json_string(role_text((enum session_role)v->remote_role)));
	if (p->multihop != 0)
		json_object_set_new(o, "multihop", json_integer(p->multihop));
	if (v->graceful_restart.remote)
		json_object_set_new(o, "restart_time_s", json_integer(v->restart_time_s));
	if (p->description != NULL)
		json_object_set_new(o, "description", json_string(p->description));
}

/* {"sent cease/administrative-reset": count} */
static json_t *
falls_json(const struct session_view *v)
{
	json_t *o = json_object();
	char cause[96];

	for (unsigned i = 0; i < SESSION_FALLS && v->falls[i].text != NULL; i++) {
		snprintf(cause, sizeof(cause), "%s %s", v->falls[i].way, v->falls[i].text);
		json_object_set_new(o, cause, json_integer(v->falls[i].count));
	}
	return o;
}

json_t *
rpc_peer_json(struct rpc_env *env, struct peer_id id, const struct config_peer *p,
	const struct session_view *v)
{
	bool any_as = p->asn == 0; /* a peer from a range: its OPEN gives the AS number */
	double uptime = 0;
	json_t *o;

	if (v->state == FSM_ESTABLISHED && v->established_ns != 0)
		uptime = (double)(now_ns() - v->established_ns) / 1e9;
	o = json_pack("{s:s, s:s, s:I, s:s?, s:s, s:s, s:f, s:i, s:s, s:o, s:o, s:i, s:I, s:I, "
		      "s:I, s:I, s:I, s:I}",
		"address", p->addr_text, "vrf", p->vrf_name, "asn",
		(json_int_t)(any_as ? v->remote_asn : p->asn), "group", p->group, "type",
		(any_as ? v->external : p->external) ? "external" : "internal", "state",
		fsm_state_text(v->state), "uptime_s", uptime, "established_count",
		(int)v->established_count, "last_error", v->last_error, "capabilities",
		capabilities_json(v), "families", families_json(env, p, id, v), "hold_time_s",
		(int)v->hold_time_s, "messages_received", (json_int_t)v->messages_received,
		"messages_sent", (json_int_t)v->messages_sent, "updates_received",
		(json_int_t)v->updates_received, "updates_sent", (json_int_t)v->updates_sent,
		"hold_rearmed", (json_int_t)v->hold_rearmed, "keepalive_late_ns",
		(json_int_t)v->keepalive_late_ns);
	json_object_set_new(o, "falls", falls_json(v));
	json_object_set_new(o, "output_octets", json_integer((json_int_t)v->output_octets));
	json_object_set_new(o, "input_octets", json_integer((json_int_t)v->input_octets));
	json_object_set_new(o, "memory_bytes",
		json_integer((json_int_t)shards_peer_memory(&env->layers->shards, id)));
	if (v->labels > 0 || v->labels_refused > 0)
		json_object_set_new(o, "swapped_labels",
			json_pack("{s:I, s:I}", "labels", (json_int_t)v->labels, "refused",
				(json_int_t)v->labels_refused));
	if (v->offered_len > 0)
		json_object_set_new(o, "offered", offered_json(v));
	rpc_port_add(o, env, p->vrf, &p->addr, p->addr_text);
	peculiarities_add(o, env, p, v);
	return o;
}

/* ---- bgp.faults ---- */

struct faults_call {
	struct rpc_env *env;
	struct peer_id id;
	struct session_fault *fault; /* SESSION_FAULTS */
	unsigned count;
};

static void
faults_get(void *arg) RUNS_ON(role_session)
{
	struct faults_call *c = arg;

	c->count = session_faults(c->env->layers->speaker, c->id, c->fault);
}

static json_t *
fault_json(const struct session_fault *f)
{
	const char *family = f->family != FAMILY_COUNT ? family_text((enum family)f->family) : NULL;

	return json_pack("{s:f, s:s?, s:s, s:s, s:I, s:i, s:o}", "time", f->time_s, "family",
		family, "severity", session_fault_severity(f), "text", f->text, "prefixes",
		(json_int_t)f->prefixes, "length", (int)f->len, "octets",
		rpc_octets(f->octets, f->kept));
}

static json_t *
bgp_faults(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct faults_call c = {.env = env};
	struct vrf_id vrf = VRF_DEFAULT;
	const struct config_peer *p;
	json_t *faults;

	if (!rpc_vrf(env, params, &vrf, call) || !rpc_peer(env, params, vrf, &p, call))
		return NULL;
	c.fault = calloc(SESSION_FAULTS, sizeof(*c.fault));
	if (c.fault == NULL)
		return NULL;
	c.id = peers_id(env->peers, p);
	layers_call_session(env->layers, faults_get, &c);
	faults = json_array();
	for (unsigned i = 0; i < c.count; i++)
		json_array_append_new(faults, fault_json(&c.fault[i]));
	free(c.fault);
	return json_pack("{s:o}", "faults", faults);
}

enum { SCOPE_SLOW_PEER = SCOPE_ASN + 1 }; /* of bgp.reset, beside apply_select()'s */

static bool
scope_read(json_t *params, bool reset, unsigned *scope, struct rpc_call *call) RUNS_ON(role_main)
{
	static const char *const words[] = {[SCOPE_ALL] = "all",
		[SCOPE_PEER] = "peer",
		[SCOPE_GROUP] = "group",
		[SCOPE_INTERNAL] = "internal",
		[SCOPE_EXTERNAL] = "external",
		[SCOPE_ASN] = "asn",
		[SCOPE_SLOW_PEER] = "slow-peer"};
	const char *word = NULL;

	if (!rpc_string(params, "scope", &word, call))
		return false;
	for (*scope = 0; *scope <= (reset ? (unsigned)SCOPE_SLOW_PEER : (unsigned)SCOPE_EXTERNAL);
		++*scope) {
		if (strcmp(words[*scope], word) == 0)
			return true;
	}
	rpc_fail(call, RPC_INVALID_PARAMS, "/scope",
		"\"%.64s\" is not one of all, peer, group, internal, external%s", word,
		reset ? ", asn, slow-peer" : "");
	return false;
}

/* Checks a parameter for one scope: required with this scope, refused with any other scope. */
static bool
goes_with(bool given, bool wanted, bool allowed, const char *path, const char *scope,
	struct rpc_call *call)
{
	if (given && !allowed)
		rpc_fail(call, RPC_INVALID_PARAMS, path, "only valid with scope %s", scope);
	else if (!given && wanted)
		rpc_fail(call, RPC_INVALID_PARAMS, path, "is missing");
	else
		return true;
	return false;
}

static bool
selector_scope(struct rpc_env *env, json_t *params, bool reset, struct apply_selector *s,
	bool *slow, struct rpc_call *call) RUNS_ON(role_main)
{
	const struct config_peer *peer;
	json_int_t asn = 0;
	unsigned scope;
	bool good;

	if (!scope_read(params, reset, &scope, call) ||
		!rpc_peer(env, params, s->vrf, &peer, call) ||
		!rpc_group(env, params, &s->group, call) ||
		!rpc_integer(params, "asn", 1, UINT32_MAX, &asn, call))
		return false;
	*slow = scope == SCOPE_SLOW_PEER;
	good = goes_with(peer != NULL, scope == SCOPE_PEER, scope == SCOPE_PEER || *slow, "/peer",
		"peer", call);
	good &= goes_with(s->group != NULL, scope == SCOPE_GROUP, scope == SCOPE_GROUP, "/group",
		"group", call);
	good &= goes_with(asn != 0, scope == SCOPE_ASN, scope == SCOPE_ASN, "/asn", "asn", call);
	if (!good)
		return false;
	s->scope = *slow ? peer != NULL ? SCOPE_PEER : SCOPE_ALL : (enum apply_scope)scope;
	s->asn = (uint32_t)asn;
	if (peer != NULL)
		s->peer = peer->addr;
	return true;
}

bool
rpc_refresh_selector(struct rpc_env *env, json_t *params, struct apply_selector *s, bool *import,
	struct rpc_call *call)
{
	const char *direction = NULL;
	bool slow;

	*s = (struct apply_selector){.vrf = VRF_DEFAULT};
	if (!rpc_family(params, &s->family, call) || !rpc_vrf(env, params, &s->vrf, call) ||
		!rpc_string(params, "direction", &direction, call) ||
		!selector_scope(env, params, false, s, &slow, call))
		return false;
	*import = strcmp(direction, "import") == 0;
	if (*import || strcmp(direction, "export") == 0)
		return true;
	rpc_fail(call, RPC_INVALID_PARAMS, "/direction", "\"%.64s\" is neither import nor export",
		direction);
	return false;
}

static json_t *
bgp_refresh(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct apply_selector s;
	json_t *peers = NULL, *o;
	uint32_t job = 0;
	bool import;
	int err;

	if (!rpc_refresh_selector(env, params, &s, &import, call))
		return NULL;
	err = apply_refresh(env->apply, &s, import, &peers, &job);
	if (err == -ENOENT)
		return rpc_fail(call, RPC_NOT_FOUND, "/scope", "no peer of this scope has %s",
			family_text(s.family));
	if (err != 0)
		return NULL;
	o = json_pack("{s:o}", "peers", peers);
	json_object_set_new(o, "job", job != 0 ? json_integer(job) : json_null());
	return o;
}

/* ---- bgp.reset ---- */

#define RESET_TEXT_MAX 128 /* RFC 9003 2: octets of UTF-8 */

struct reset {
	struct rpc_env *env;
	struct peer_id id;
	const char *text;
	bool done;
};

static void
reset_session(void *arg) RUNS_ON(role_session)
{
	struct reset *r = arg;

	r->done = session_reset(r->env->layers->speaker, r->id, r->text);
}

/* The families affected by a reset: negotiated families of an established session, and families with retained routes. */
static json_t *
families_dropped(const struct session_view *v)
{
	json_t *families = json_array();

	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (v->families[f].retained ||
			(v->state == FSM_ESTABLISHED && v->families[f].negotiated))
			json_array_append_new(families, json_string(family_text((enum family)f)));
	}
	return families;
}

/* True if session_reset() has an effect without an established session: a held session, idle hold, retained routes. */
static bool
waits(const struct session_view *v)
{
	bool any = v->held || v->idle_hold;

	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		any |= v->families[f].retained;
	return any;
}

static json_t *
reset_one(struct rpc_env *env, struct peer_id id, bool force, const char *text) RUNS_ON(role_main)
{
	const struct config_peer *p = peers_config(env->peers, id);
	struct peek peek = {.env = env, .id = id};
	struct reset r = {.env = env, .id = id, .text = text};
	bool can;

	layers_call_session(env->layers, peek_session, &peek);
	can = peek.found && (peek.view.state == FSM_ESTABLISHED || waits(&peek.view));
	/* A peer in idle hold connects at once, but does not count as a reset session. */
	if ((can || peek.view.idle_hold) && force)
		layers_call_session(env->layers, reset_session, &r);
	return json_pack("{s:s, s:s, s:s, s:o}", "address", p->addr_text, "vrf", p->vrf_name,
		"action",
		can && r.done	? "reset"
		: can && !force ? "would-reset"
				: "not-established",
		"families_dropped", families_dropped(&peek.view));
}

/* Keeps the slow peers of `ids`, in order. Their number. */
static unsigned
slow_only(const struct rpc_env *env, enum family f, struct peer_id *ids, unsigned count)
{
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++)
		if (speaker_is_slow(env->layers->speaker, ids[i], f))
			ids[n++] = ids[i];
	return n;
}

static json_t *
bgp_reset(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct apply_selector s = {.vrf = VRF_DEFAULT};
	struct peer_id ids[PEER_MAX];
	const char *text = NULL;
	bool force = false, slow;
	json_t *peers;
	unsigned n;

	if (!rpc_family(params, &s.family, call) || !rpc_vrf(env, params, &s.vrf, call) ||
		!rpc_boolean(params, "force", &force, call) ||
		!rpc_string(params, "text", &text, call) ||
		!selector_scope(env, params, true, &s, &slow, call))
		return NULL;
	if (text != NULL && strlen(text) > RESET_TEXT_MAX)
		return rpc_fail(call, RPC_INVALID_PARAMS, "/text",
			"has %zu octets; at most %d are allowed", strlen(text), RESET_TEXT_MAX);
	n = apply_select(env->apply, &s, ids, PEER_MAX);
	if (n == 0)
		return rpc_fail(call, RPC_NOT_FOUND, "/scope", "no peer of this scope has %s",
			family_text(s.family));
	if (slow) /* keel-policy(7) rule 9: only presently slow peers */
		n = slow_only(env, s.family, ids, n);
	if (n == 0)
		return rpc_fail(call, RPC_NOT_FOUND, "/scope",
			"no peer of this scope with %s is slow now", family_text(s.family));
	peers = json_array();
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(peers, reset_one(env, ids[i], force, text));
	return json_pack("{s:o}", "peers", peers);
}

static json_t *
jobs_list_method(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	(void)params;
	(void)call;
	rpc_fib_progress(env);
	return json_pack("{s:o}", "jobs", jobs_list(env->jobs));
}

static json_t *
jobs_get_method(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	json_int_t id = 0;
	json_t *job;

	if (!rpc_integer(params, "id", 0, UINT32_MAX, &id, call))
		return NULL;
	rpc_fib_progress(env);
	job = jobs_get(env->jobs, (uint32_t)id);
	return job != NULL ? job
			   : rpc_fail(call, RPC_NOT_FOUND, "/id", "there is no job %lld",
				     (long long)id);
}

/* ---- the methods ---- */

static const struct rpc_field capability_fields[] = {
	{"local", "boolean", "This router offers the capability."},
	{"remote", "boolean", "The peer offers the capability."},
	{"negotiated", "boolean", "Both do: the session uses it."},
	{0},
};

static const struct rpc_field capabilities_fields[] = {
	{"route_refresh", "object", "Route refresh (RFC 2918).", capability_fields},
	{"enhanced_route_refresh", "object", "Enhanced route refresh (RFC 7313).",
		capability_fields},
	{"four_octet_as", "object", "Four-octet AS numbers (RFC 6793).", capability_fields},
	{"extended_message", "object", "Extended messages (RFC 8654).", capability_fields},
	{"graceful_restart", "object", "Graceful restart (RFC 4724).", capability_fields},
	{"extended_next_hop", "object", "Extended next hop encoding (RFC 8950).",
		capability_fields},
	{"restart_notification", "object",
		"Graceful restart after NOTIFICATION messages (RFC 8538).", capability_fields},
	{0},
};

static const struct rpc_field offered_fields[] = {
	{"code", "integer", "Capability code."},
	{"name?", "string", "Name of a registered code."},
	{"value", "string", "Hexadecimal digits of the value."},
	{0},
};

static const struct rpc_field refresh_fields[] = {
	{"requests_sent", "integer", "ROUTE-REFRESH requests sent to the peer."},
	{"requests_received", "integer", "ROUTE-REFRESH requests from the peer."},
	{"served", "integer", "Walks through the table that were sent for these requests."},
	{"coalesced", "integer",
		"Requests answered by a walk that also answers an earlier request."},
	{"borr_sent", "integer", "BoRR messages sent (RFC 7313)."},
	{"eorr_sent", "integer", "EoRR messages sent."},
	{"borr_received", "integer", "BoRR messages received."},
	{"eorr_received", "integer", "EoRR messages received."},
	{"stale_swept", "integer",
		"Routes deleted because the peer did not announce them again within a refresh."},
	{"borr_ignored", "integer", "BoRR messages that began no refresh."},
	{0},
};

static const struct rpc_field update_group_fields[] = {
	{"id", "integer", "Number of the update group; never used again."},
	{"members", "integer", "Peers in the group."},
	{"behind", "integer", "Peers that are behind the others and are served separately."},
	{"walks", "integer", "Walks for initial tables and refreshes."},
	{"policy_walks", "integer", "Walks for changed export policies."},
	{"messages", "integer", "UPDATE messages packed once for all members."},
	{"octets", "integer", "Octets of these messages."},
	{"own_messages", "integer", "UPDATE messages packed for one member that was behind."},
	{"fell_behind", "integer", "Times a member fell behind."},
	{"evicted", "integer", "Members moved to a group of their own."},
	{"splits", "integer", "Times the group was split."},
	{"foreign_labels", "integer",
		"VPN families: times a route was not advertised because its label would get "
		"the next hop of a third router."},
	{"no_labels", "integer",
		"VPN families: times a route was not advertised with our next hop because no "
		"label of this router was free or installed."},
	{0},
};

static const struct rpc_field max_prefixes_fields[] = {
	{"limit", "integer", "The limit."},
	{"action", "warning|shutdown|discard", "What happens beyond the limit."},
	{"threshold_percent", "integer", "The part of the limit that raises an alarm."},
	{"exceeded", "boolean", "The limit was exceeded in this session."},
	{"restart_s?", "integer", "Seconds until a session that was shut down starts again."},
	{0},
};

static const struct rpc_field max_prefixes_out_fields[] = {
	{"limit", "integer", "The limit."},
	{"action", "warning|shutdown", "What happens beyond the limit."},
	{"threshold_percent", "integer", "The part of the limit that raises an alarm."},
	{"exceeded", "boolean", "The limit is exceeded, or was when the session ended."},
	{"exceeded_total", "integer", "Times the limit was exceeded, over all sessions."},
	{0},
};

static const struct rpc_field refused_fields[] = {
	{"*", "integer",
		"Prefixes refused for this cause: `malformed-`ATTRIBUTE, `as-loop`, "
		"`originator-loop`, "
		"`cluster-loop`, `first-as`, `as-path-length`, `as-set`, `next-hop`, `no-policy`, "
		"`policy`, `blackhole`, "
		"`prefix-limit`, `unusable-prefix`, `unusable-label`, `route-leak`, "
		"`not-installed`."},
	{0},
};

static const struct rpc_field family_fields[] = {
	{"received", "integer",
		"Routes stored: the accepted ones and, with `keep_all_routes`, the rejected ones."},
	{"accepted", "integer", "Routes that the import policy accepts."},
	{"rejected_total", "integer", "Prefixes refused since the session came up."},
	{"advertised", "integer", "Routes advertised to the peer."},
	{"negotiated", "boolean", "The session carries the family."},
	{"end_of_rib_received", "boolean", "The peer has sent its whole table once."},
	{"end_of_rib_sent", "boolean", "The whole table was sent to the peer once."},
	{"keep_all_routes", "boolean", "Routes are kept as received."},
	{"slow", "boolean", "The peer takes the routes of the family slowly (`slow_peer`)."},
	{"slow_total", "integer", "Times the peer became slow."},
	{"graceful_restart", "boolean", "The peer keeps the family across its restart."},
	{"forwarding_kept", "boolean", "The peer kept its forwarding state (F bit)."},
	{"retained", "boolean", "Routes of an earlier session are kept until the peer returns."},
	{"extended_next_hop", "boolean", "IPv6 next hops are negotiated for the family."},
	{"no_policy", "string[]",
		"Directions (`import`, `export`) in which nothing passes because an external "
		"session "
		"has no policy (RFC 8212)."},
	{"refresh", "object", "Counters of refreshes.", refresh_fields},
	{"kept?", "integer", "Routes kept as received; only with `keep_all_routes`."},
	{"not_applied?", "string",
		"A committed policy change that reaches the peer only when the session is "
		"established "
		"again: the reason."},
	{"update_group?", "object", "The peers that share UPDATE messages with this peer.",
		update_group_fields},
	{"refused", "object", "Refused prefixes by cause; a cause that never occurred is absent.",
		refused_fields},
	{"max_prefixes?", "object", "The limit of prefixes, where one is set.",
		max_prefixes_fields},
	{"max_prefixes_out?", "object", "The limit of advertised prefixes, where one is set.",
		max_prefixes_out_fields},
	{"blackholed_total?", "integer",
		"Announcements accepted by `blackhole` since the session came up (RFC 7999)."},
	{0},
};

static const struct rpc_field families_fields[] = {
	{"*", "object", "One address family of the session.", family_fields},
	{0},
};

static const struct rpc_field falls_fields[] = {
	{"*", "integer",
		"Sessions that ended for this cause: `sent` or `received` and the NOTIFICATION, as "
		"`received cease/administrative-reset`; `lost connection-closed`, `lost "
		"connection-lost`, `lost link-down`, `lost new-connection`, `lost other`. Twelve "
		"causes; further "
		"ones count as `lost other`."},
	{0},
};

static const struct rpc_field swapped_labels_fields[] = {
	{"labels", "integer", "Labels in use, and labels that rest before another use."},
	{"refused", "integer",
		"Times a route got no label, because the peer has as many as are free."},
	{0},
};

static const struct rpc_field peer_fields[] = {
	{"address", "string", "Address of the peer; link-local as `fe80::2%east`."},
	{"vrf", "string", "VRF of the peer."},
	{"asn", "integer", "AS number of the peer."},
	{"group", "string|null", "The group that the peer inherits from."},
	{"type", "internal|external", "Whether the peer is in the AS of this router."},
	{"state", "idle|connect|active|open-sent|open-confirm|established",
		"State of the session (RFC 4271 8.2.2)."},
	{"uptime_s", "number", "Seconds since the session is established; 0 when it is not."},
	{"established_count", "integer", "Times the session was established."},
	{"last_error", "string",
		"Why the last session ended or the last attempt failed; \"\" when there was no "
		"error."},
	{"capabilities", "object", "Capabilities of both sides.", capabilities_fields},
	{"offered?", "object[]",
		"Every capability in the OPEN of the peer, in this order; of an established "
		"session.",
		offered_fields},
	{"families", "object", "The configured address families, by name.", families_fields},
	{"hold_time_s", "integer", "Negotiated hold time; 0 when there is none."},
	{"messages_received", "integer", "Messages from the peer."},
	{"messages_sent", "integer", "Messages to the peer."},
	{"updates_received", "integer", "UPDATE messages from the peer."},
	{"updates_sent", "integer", "UPDATE messages to the peer."},
	{"hold_rearmed", "integer",
		"Times the hold timer was extended because received octets were still unread."},
	{"keepalive_late_ns", "integer", "Longest delay of a KEEPALIVE to this peer."},
	{"falls", "object", "Ends of established sessions by cause.", falls_fields},
	{"output_octets", "integer", "Octets for the peer that the kernel has not accepted."},
	{"input_octets", "integer", "Octets of the peer that are read and not handled."},
	{"memory_bytes", "integer", "Memory that the routes of the peer take."},
	{"swapped_labels?", "object",
		"MPLS labels of this router for VPN routes of the peer; of dynamic peers those of "
		"all dynamic peers of the group.",
		swapped_labels_fields},
	{"route_reflector_client?", "boolean", "True for a route reflector client."},
	{"held?", "boolean",
		"True after the limit of prefixes ended the session; a reset or another limit "
		"starts "
		"the session again."},
	{"idle_hold?", "boolean", "True while the session waits before the next attempt."},
	{"dynamic?", "boolean", "True for a peer of a listen range."},
	{"passive?", "boolean", "True when this router does not open the connection."},
	{"shutdown?", "boolean", "True when the configuration shuts the session down."},
	{"link_sensitive?", "boolean", "True for an established session that ends with its link."},
	{"gtsm?", "boolean", "True with GTSM (RFC 5082)."},
	{"md5?", "boolean", "True when TCP MD5 signs the connection."},
	{"local_address?", "address", "Address of this router on the connection."},
	{"port?", "object",
		"The port with a subnet of the document that holds the peer: `name`, `state`, "
		"`reason`, `speed_mbps`, `duplex`, `autoneg` and `fec` as in `dataplane.stats`."},
	{"local_as?", "integer", "AS number shown to the peer, where it is not `router.asn`."},
	{"role?", "provider|rs-server|rs-client|customer|peer",
		"Role of this router towards the peer (RFC 9234)."},
	{"peer_role?", "provider|rs-server|rs-client|customer|peer",
		"Role that the peer announced."},
	{"multihop?", "integer", "TTL of the session, where `multihop` is set."},
	{"restart_time_s?", "integer", "Restart time that the peer announced (RFC 4724)."},
	{"description?", "string", "Description from the configuration."},
	{0},
};

/* rpc_peers.c answers. */
static const struct rpc_field peers_params[] = {
	{"vrf?", "string", "VRF; `default` when absent."},
	{"group?", "string", "Only peers of this group."},
	{"peer?", "address", "Only this peer."},
	{"limit?", "integer=1..10000", "At most so many peers; all when absent."},
	{"cursor?", "string", "The `next` of an earlier answer."},
	{0},
};
static const struct rpc_field peers_result[] = {
	{"peers", "object[]",
		"The peers: those of the configuration in its order, then dynamic ones.",
		peer_fields},
	{"keepalive_late_ns", "object", "How late KEEPALIVE messages to all peers were sent.",
		rpc_histogram_fields},
	{"turn_ns", "object", "Turns of the session thread.", rpc_histogram_fields},
	{"next?", "string", "Cursor of the next page; absent on the last page."},
	{0},
};

static const struct rpc_field fault_fields[] = {
	{"time", "number", "Unix seconds."},
	{"family", "family|null", "Address family; null when the message names none."},
	{"severity", "string",
		"What was done: `discard` (the attribute), `withdraw` (the routes), `disable` (the "
		"family), `reset` (the session)."},
	{"text", "string", "What was wrong with the message."},
	{"prefixes", "integer", "Prefixes in the message."},
	{"length", "integer", "Octets of the message."},
	{"octets", "string", "The message in hexadecimal; the first octets of a long message."},
	{0},
};
static const struct rpc_field faults_params[] = {
	{"peer", "address", "The peer."},
	{"vrf?", "string", "VRF of the peer; `default` when absent."},
	{0},
};
static const struct rpc_field faults_result[] = {
	{"faults", "object[]", "The last 16, the oldest first.", fault_fields},
	{0},
};

static const struct rpc_field refresh_params[] = {
	{"family", "family", "Address family."},
	{"vrf?", "string", "VRF of the peers; `default` when absent."},
	{"scope", "all|peer|group|internal|external",
		"Which sessions with this family. `peer` and `group` need the parameter of that "
		"name."},
	{"peer?", "address", "With scope `peer`: the peer."},
	{"group?", "string", "With scope `group`: the group."},
	{"direction", "import|export", "Import: from the peers. Export: to the peers."},
	{0},
};
static const struct rpc_field refreshed_fields[] = {
	{"address", "string", "Address of the peer."},
	{"vrf", "string", "VRF of the peer."},
	{"action", "route-refresh-sent|replayed|readvertised|no-op|unsupported|not-established",
		"What was done."},
	{"reason?", "string", "Why, where the action needs one."},
	{0},
};
static const struct rpc_field refresh_result[] = {
	{"job", "integer|null", "The job that does the work; null when nothing runs."},
	{"peers", "object[]", "One action for each session of the scope.", refreshed_fields},
	{0},
};

static const struct rpc_field reset_params[] = {
	{"family", "family", "Only sessions with this address family."},
	{"vrf?", "string", "VRF of the peers; `default` when absent."},
	{"scope", "all|peer|group|internal|external|asn|slow-peer",
		"Which sessions. `peer`, `group` and `asn` need the parameter of that name; "
		"`slow-peer` takes only peers that are slow now."},
	{"peer?", "address", "With scope `peer`, or to narrow `slow-peer`: the peer."},
	{"group?", "string", "With scope `group`: the group."},
	{"asn?", "integer=1..4294967295", "With scope `asn`: the AS number of the peers."},
	{"force?", "boolean", "True: reset. Otherwise the answer says what would be done."},
	{"text?", "string", "Shutdown communication for the peers (RFC 9003), at most 128 octets."},
	{0},
};
static const struct rpc_field reset_fields[] = {
	{"address", "string", "Address of the peer."},
	{"vrf", "string", "VRF of the peer."},
	{"action", "reset|would-reset|not-established", "What was done, or would be."},
	{"families_dropped", "string[]", "All address families that end with the session."},
	{0},
};
static const struct rpc_field reset_result[] = {
	{"peers", "object[]", "One action for each session of the scope.", reset_fields},
	{0},
};

static const struct rpc_field jobs_result[] = {
	{"jobs", "object[]", "Running jobs, and those that ended last.", rpc_job_fields},
	{0},
};
static const struct rpc_field job_params[] = {
	{"id", "integer=0..4294967295", "Number of the job."},
	{0},
};

const struct rpc_method rpc_bgp_methods[] = {
	{"bgp.peers", rpc_bgp_peers, peers_params, peers_result,
		"Sessions: state, capabilities, counters of each address family", NULL, RPC_READS,
		RPC_ERROR(RPC_NOT_FOUND)},
	{"bgp.faults", bgp_faults, faults_params, faults_result,
		"The last faulty messages of a peer: reason, prefixes, octets", NULL, RPC_READS,
		RPC_ERROR(RPC_NOT_FOUND)},
	{"bgp.refresh", bgp_refresh, refresh_params, refresh_result,
		"Soft reset: applies policies again without ending a session",
		"Import: a peer with route refresh and without `keep_all_routes` gets a "
		"ROUTE-REFRESH for "
		"exactly this family; a peer without it is `unsupported`. With `keep_all_routes`, "
		"a "
		"peer without route refresh is `replayed` from the kept routes, with route refresh "
		"the "
		"action is `no-op`: kept routes are always evaluated by the current policy. "
		"Export: the "
		"whole table is advertised again, between BoRR and EoRR where both sides have "
		"them. A "
		"request while a walk runs costs at most one more walk. No session ends, and no "
		"uptime "
		"changes.",
		RPC_CHANGES, RPC_ERROR(RPC_NOT_FOUND)},
	{"bgp.reset", bgp_reset, reset_params, reset_result,
		"Ends sessions by Cease / Administrative Reset",
		"A session carries all its address families: all of them end with it. The session "
		"starts "
		"again at once. Without `force` nothing is done, and the method is allowed on the "
		"read-only socket.",
		RPC_READS_UNLESS_FORCE, RPC_ERROR(RPC_NOT_FOUND)},
	{"jobs.list", jobs_list_method, NULL, jobs_result,
		"Work that outlasts the answer that began it: refreshes and audits", NULL,
		RPC_READS, 0},
	{"jobs.get", jobs_get_method, job_params, rpc_job_fields, "One job", NULL, RPC_READS,
		RPC_ERROR(RPC_NOT_FOUND)},
	{0},
};
