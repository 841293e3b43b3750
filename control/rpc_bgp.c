/* SPDX-License-Identifier: BSD-3-Clause */
/* bgp.* and jobs.*: contract section 3. */
#include "control/rpc_impl.h"

#include "control/config.h"
#include "control/session.h"
#include "control/threads.h"

#include <errno.h>
#include <string.h>

struct peek {
	struct keeld *k;
	struct peer_id id;
	bool found;
	struct session_view view;
};

static void
peek_session(void *arg)
{
	struct peek *p = arg;

	role_enter_session();
	p->found = session_peek(p->k->speaker, p->id, &p->view);
}

static void
capability_add(json_t *o, const char *name, const struct session_capability *c)
{
	json_object_set_new(o, name, json_pack("{s:b, s:b, s:b}", "local", c->local, "remote", c->remote, "negotiated", c->negotiated));
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
	return o;
}

static json_t *
family_json(const struct keeld *k, const struct config_peer *p, struct peer_id id, enum family f, const struct session_view *v)
{
	struct adj_rib_in_counts in = {0};
	json_t *no_policy = json_array(), *refresh;

	shard_peer_counts(k->shard, id, f, &in);
	if (v->families[f].no_import_policy)
		json_array_append_new(no_policy, json_string("import"));
	if (v->families[f].no_export_policy)
		json_array_append_new(no_policy, json_string("export"));
	refresh = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "requests_sent", (json_int_t)v->families[f].requests_sent,
		"requests_received", (json_int_t)v->families[f].requests_received, "served", (json_int_t)v->families[f].served, "coalesced",
		(json_int_t)v->families[f].coalesced, "borr_sent", (json_int_t)v->families[f].borr_sent, "eorr_sent",
		(json_int_t)v->families[f].eorr_sent, "borr_received", (json_int_t)v->families[f].borr_received, "eorr_received",
		(json_int_t)v->families[f].eorr_received, "stale_swept", (json_int_t)in.stale_swept);
	return json_pack("{s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:b, s:b, s:o, s:o}", "received", (json_int_t)in.received, "accepted",
		(json_int_t)in.accepted, "rejected_total", (json_int_t)in.rejected_total, "advertised", (json_int_t)v->families[f].advertised,
		"negotiated", v->families[f].negotiated, "end_of_rib_received", v->families[f].end_of_rib_received, "end_of_rib_sent",
		v->families[f].end_of_rib_sent, "keep_all_routes", p->families[f].keep_all_routes, "slow", 0, "no_policy", no_policy, "refresh",
		refresh);
}

static json_t *
peer_json(struct keeld *k, const struct config_peer *p)
{
	struct peek peek = {.k = k, .id = keeld_peer_id(k, p)};
	const struct session_view *v = &peek.view;
	json_t *families = json_object(), *o;
	double uptime = 0;

	thread_call(k->session_thread, peek_session, &peek);
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (p->families[f].enabled)
			json_object_set_new(families, family_text((enum family)f), family_json(k, p, peek.id, (enum family)f, v));
	}
	if (v->state == FSM_ESTABLISHED && v->established_ns != 0)
		uptime = (double)(now_ns() - v->established_ns) / 1e9;
	o = json_pack("{s:s, s:s, s:I, s:s?, s:s, s:s, s:f, s:i, s:s, s:o, s:o, s:i, s:I, s:I, s:I, s:I, s:I}", "address", p->addr_text,
		"vrf", p->vrf_name, "asn", (json_int_t)p->asn, "group", p->group, "type", p->external ? "external" : "internal", "state",
		fsm_state_text(v->state), "uptime_s", uptime, "established_count", (int)v->established_count, "last_error", v->last_error,
		"capabilities", capabilities_json(v), "families", families, "hold_time_s", (int)v->hold_time_s, "messages_received",
		(json_int_t)v->messages_received, "messages_sent", (json_int_t)v->messages_sent, "updates_received",
		(json_int_t)v->updates_received, "updates_sent", (json_int_t)v->updates_sent, "hold_rearmed", (json_int_t)v->hold_rearmed);
	if (v->local_addr.afi != AFI_NONE)
		json_object_set_new(o, "local_address", rpc_addr(&v->local_addr));
	if (p->description != NULL)
		json_object_set_new(o, "description", json_string(p->description));
	return o;
}

static json_t *
bgp_peers(struct keeld *k, json_t *params, struct rpc_call *call)
{
	struct vrf_id vrf = VRF_DEFAULT;
	const char *group = NULL;
	json_t *peers;

	if (!rpc_vrf(k, params, &vrf, call) || !rpc_group(k, params, &group, call))
		return NULL;
	peers = json_array();
	for (unsigned i = 0; i < k->running->peer_count; i++) {
		const struct config_peer *p = &k->running->peers[i];

		if (p->vrf.v == vrf.v && (group == NULL || (p->group != NULL && strcmp(p->group, group) == 0)))
			json_array_append_new(peers, peer_json(k, p));
	}
	return json_pack("{s:o}", "peers", peers);
}

static bool
selector_scope(struct keeld *k, json_t *params, struct keeld_selector *s, struct rpc_call *call)
{
	static const struct {
		const char *word;
		enum keeld_scope scope;
	} scopes[] = {{"all", SCOPE_ALL}, {"peer", SCOPE_PEER}, {"group", SCOPE_GROUP}, {"internal", SCOPE_INTERNAL}, {"external", SCOPE_EXTERNAL}};
	const struct config_peer *peer;
	const char *word = NULL;
	unsigned i;

	if (!rpc_string(params, "scope", &word, call))
		return false;
	for (i = 0; i < sizeof(scopes) / sizeof(scopes[0]) && strcmp(scopes[i].word, word) != 0; i++)
		;
	if (i == sizeof(scopes) / sizeof(scopes[0])) {
		rpc_fail(call, RPC_INVALID_PARAMS, "/scope", "\"%.64s\" is not one of all, peer, group, internal, external", word);
		return false;
	}
	s->scope = scopes[i].scope;
	if (!rpc_peer(k, params, s->vrf, &peer, call) || !rpc_group(k, params, &s->group, call))
		return false;
	if ((s->scope == SCOPE_PEER) != (peer != NULL)) {
		rpc_fail(call, RPC_INVALID_PARAMS, "/peer", s->scope == SCOPE_PEER ? "is missing" : "goes with scope peer only");
		return false;
	}
	if ((s->scope == SCOPE_GROUP) != (s->group != NULL)) {
		rpc_fail(call, RPC_INVALID_PARAMS, "/group", s->scope == SCOPE_GROUP ? "is missing" : "goes with scope group only");
		return false;
	}
	if (peer != NULL)
		s->peer = peer->addr;
	return true;
}

static json_t *
bgp_refresh(struct keeld *k, json_t *params, struct rpc_call *call)
{
	struct keeld_selector s = {.vrf = VRF_DEFAULT};
	const char *direction = NULL;
	json_t *peers = NULL, *o;
	uint32_t job = 0;
	int err;

	if (!rpc_family(params, &s.family, call) || !rpc_vrf(k, params, &s.vrf, call) ||
		!rpc_string(params, "direction", &direction, call) || !selector_scope(k, params, &s, call))
		return NULL;
	if (strcmp(direction, "import") != 0 && strcmp(direction, "export") != 0)
		return rpc_fail(call, RPC_INVALID_PARAMS, "/direction", "\"%.64s\" is neither import nor export", direction);
	err = keeld_refresh(k, &s, strcmp(direction, "import") == 0, &peers, &job);
	if (err == -ENOENT)
		return rpc_fail(call, RPC_NOT_FOUND, "/scope", "no peer with %s matches", family_text(s.family));
	if (err != 0)
		return NULL;
	o = json_pack("{s:o}", "peers", peers);
	json_object_set_new(o, "job", job != 0 ? json_integer(job) : json_null());
	return o;
}

static json_t *
jobs_list_method(struct keeld *k, json_t *params, struct rpc_call *call)
{
	(void)params;
	(void)call;
	return json_pack("{s:o}", "jobs", jobs_list(k->jobs));
}

static json_t *
jobs_get_method(struct keeld *k, json_t *params, struct rpc_call *call)
{
	json_int_t id = 0;
	json_t *job;

	if (!rpc_integer(params, "id", 0, UINT32_MAX, &id, call))
		return NULL;
	job = jobs_get(k->jobs, (uint32_t)id);
	return job != NULL ? job : rpc_fail(call, RPC_NOT_FOUND, "/id", "there is no job %lld", (long long)id);
}

const struct rpc_method rpc_bgp_methods[] = {
	{"bgp.peers", bgp_peers, "vrf group"},
	{"bgp.refresh", bgp_refresh, "family! vrf scope! peer group direction!"},
	{"jobs.list", jobs_list_method, ""},
	{"jobs.get", jobs_get_method, "id!"},
	{NULL, NULL, NULL},
};
