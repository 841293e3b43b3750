/* SPDX-License-Identifier: BSD-3-Clause */
/* bgp.refresh.preview and policy.test: evaluate policies without publishing routes. */
#include "control/rpc/rpc_impl.h"

#include "control/config/config.h"
#include "control/config/policy_compile.h"
#include "control/apply/preview.h"
#include "rib/policy/policy.h"

#include <errno.h>
#include <string.h>

void
rpc_preview_end(struct rpc_env *env)
{
	preview_end_all(env->apply);
}

/* ---- bgp.refresh.preview ---- */

/* Checks the keys: either `candidate` alone, or the required parameters of bgp.refresh. */
static bool
preview_keys(json_t *params, bool candidate, struct rpc_call *call)
{
	static const char *const wanted[] = {"family", "scope", "direction"};
	const char *key;
	json_t *value;
	char path[64];

	for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]) && !candidate; i++) {
		if (json_object_get(params, wanted[i]) == NULL) {
			snprintf(path, sizeof(path), "/%s", wanted[i]);
			rpc_fail(call, RPC_INVALID_PARAMS, path, "is missing");
			return false;
		}
	}
	json_object_foreach(params, key, value)
	{
		bool of_commit = strcmp(key, "policy_files") == 0;

		if (strcmp(key, "candidate") != 0 && candidate != of_commit) {
			snprintf(path, sizeof(path), "/%s", key);
			rpc_fail(call, RPC_INVALID_PARAMS, path, "%s",
				candidate ? "not valid with candidate"
					  : "only valid with candidate");
			return false;
		}
	}
	return true;
}

/* NULL after rpc_fail(). */
static struct config *
config_of(struct rpc_env *env, json_t *document, const json_t *policy_files, struct rpc_call *call)
	RUNS_ON(role_main)
{
	struct faults f = {0};
	struct config *c = apply_parse(env->apply, document, policy_files, &f);

	if (c == NULL)
		rpc_fail_document(call, RPC_CONFIGURATION, &f, document);
	faults_fini(&f);
	return c;
}

static void
preview_end(void *ctx, int err, json_t *answer) RUNS_ON(role_main)
{
	struct rpc_call *call = ctx;

	if (err == -EAGAIN)
		rpc_fail(call, RPC_TRY_AGAIN, "",
			"a commit changed the configuration meanwhile; try again");
	rpc_reply(call, answer);
}

static json_t *
preview_start(struct rpc_env *env, const struct preview_request *r, struct rpc_call *call)
	RUNS_ON(role_main)
{
	int err = preview_begin(env->apply, r, preview_end, call);

	if (err == 0)
		return rpc_defer(call);
	config_free(r->then);
	json_decref(r->effects);
	if (err == -ENOENT)
		return rpc_fail(call, RPC_NOT_FOUND, "/scope", "no peer of this scope has %s",
			family_text(r->selector.family));
	if (err == -EBUSY)
		return rpc_fail(call, RPC_TRY_AGAIN, "", "too many previews are queued; try again");
	return NULL;
}

static json_t *
refresh_preview(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct preview_request r = {0};
	struct apply_user buf;
	const struct apply_user *user = rpc_user(call, &buf);
	const struct config *running = apply_running(env->apply);
	int take;

	if (!rpc_boolean(params, "candidate", &r.candidate, call) ||
		!rpc_take_files(params, &take, call) || !preview_keys(params, r.candidate, call))
		return NULL;
	if (!r.candidate && !rpc_refresh_selector(env, params, &r.selector, &r.import, call))
		return NULL;
	r.then = r.candidate ? config_of(env, apply_candidate(env->apply, user),
				       apply_policy_files(env->apply, user, take), call)
			     : config_of(env, running->document, running->policy_files, call);
	if (r.then == NULL)
		return NULL;
	if (r.candidate)
		r.effects = apply_effects(env->apply, r.then);
	return preview_start(env, &r, call);
}

/* ---- policy.test ---- */

struct test {
	const struct policy *policy;
	struct prefix prefix;
	struct policy_context context;
	struct attr_set *attrs;
	struct policy_verdict v;
	const char *line; /* of a policy of a file */
};

static const char *const sources[SOURCE_COUNT] = {
	"connected", "static", "external", "kernel", "internal", "network"};

static bool
source_read(json_t *route, struct test *t, struct rpc_call *call)
{
	const char *word = "external";

	if (json_object_get(route, "source") != NULL)
		word = json_string_value(json_object_get(route, "source"));
	for (unsigned i = 0; i < SOURCE_COUNT; i++) {
		if (word != NULL && strcmp(word, sources[i]) == 0) {
			t->context.source = (enum route_source)i;
			return true;
		}
	}
	rpc_fail(call, RPC_INVALID_PARAMS, "/route/source",
		"is not one of connected, static, external, kernel, internal, network");
	return false;
}

static bool
route_keys(json_t *route, struct rpc_call *call)
{
	static const char *const known[] = {"prefix", "family", "peer", "source", "tag", "as_path",
		"origin", "next_hop", "next_hop_link_local", "local_pref", "med", "communities",
		"large_communities", "ext_communities"};
	const char *key;
	json_t *value;
	char path[96];

	json_object_foreach(route, key, value)
	{
		unsigned i = 0;

		while (i < sizeof(known) / sizeof(known[0]) && strcmp(known[i], key) != 0)
			i++;
		if (i == sizeof(known) / sizeof(known[0])) {
			snprintf(path, sizeof(path), "/route/%.64s", key);
			rpc_fail(call, RPC_INVALID_PARAMS, path, "is not a member of a route");
			return false;
		}
	}
	return true;
}

/* Reads the inputs of a policy other than attributes: prefix, peer, tag. */
static bool
context_read(json_t *route, struct test *t, struct rpc_call *call) RUNS_ON(role_main)
{
	json_t *prefix = json_object_get(route, "prefix"), *peer = json_object_get(route, "peer"),
	       *tag = json_object_get(route, "tag");
	int err;

	err = json_is_string(prefix) ? prefix_parse(json_string_value(prefix), &t->prefix)
				     : -EINVAL;
	if (err != 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, "/route/prefix",
			prefix == NULL ? "is missing"
			: err == -EDOM ? "has bits set beyond its length (host bits)"
				       : "is not a prefix");
		return false;
	}
	t->context.family = t->prefix.afi == AFI_IPV4 ? FAMILY_IPV4_UNICAST : FAMILY_IPV6_UNICAST;
	if (json_object_get(route, "family") != NULL) {
		if (!rpc_family(route, &t->context.family, call))
			return false;
		if ((uint8_t)family_afi(t->context.family) != t->prefix.afi) {
			rpc_fail(call, RPC_INVALID_PARAMS, "/route/prefix",
				"is not a prefix of that address family");
			return false;
		}
	}
	if (peer != NULL && !json_is_null(peer) &&
		(!json_is_string(peer) ||
			addr_parse(json_string_value(peer), &t->context.peer) != 0)) {
		rpc_fail(call, RPC_INVALID_PARAMS, "/route/peer", "is not an IP address");
		return false;
	}
	if (tag != NULL && (!json_is_integer(tag) || json_integer_value(tag) < 0 ||
				   json_integer_value(tag) > UINT32_MAX)) {
		rpc_fail(call, RPC_INVALID_PARAMS, "/route/tag",
			"is not an integer from 0 to 4294967295");
		return false;
	}
	t->context.tag = (uint32_t)json_integer_value(tag);
	return source_read(route, t, call);
}

static json_t *
test_json(const struct test *t)
{
	json_t *route = json_pack("{s:o, s:s}", "prefix", rpc_prefix(&t->prefix), "source",
		sources[t->context.source]);

	json_object_set_new(route, "peer",
		t->context.peer.afi != AFI_NONE ? rpc_addr(&t->context.peer) : json_null());
	rpc_attrs(route, t->v.permit ? t->v.attrs : t->attrs);
	if (t->v.permit ? t->v.tag != 0 : t->context.tag != 0)
		json_object_set_new(
			route, "tag", json_integer(t->v.permit ? t->v.tag : t->context.tag));
	return json_pack("{s:s, s:o, s:s*, s:o}", "result", t->v.permit ? "permit" : "deny", "node",
		t->v.seq != 0 ? json_integer(t->v.seq) : json_null(), "line", t->line, "route",
		route);
}

/* NULL: out of memory. */
static json_t *
test_run(struct rpc_env *env, struct test *t) RUNS_ON(role_main)
{
	const struct config_peer *configured;
	struct policy_eval *eval;
	json_t *answer = NULL;
	int err = policy_eval_create(env->layers->arena_control, &eval);

	if (err != 0)
		return NULL;
	t->context.vrps = apply_vrps(env->apply);
	t->context.own_asn = apply_running(env->apply)->asn;
	configured = config_peer_find(apply_running(env->apply), VRF_DEFAULT, &t->context.peer);
	if (configured != NULL) {
		t->context.peer_asn = configured->asn;
		t->context.peer_group = policy_group_key(configured->group);
	}
	err = policy_eval_begin(eval, t->policy, t->attrs, &t->context);
	if (err == 0 || err == -E2BIG)
		err = policy_eval_prefix(eval, &t->prefix, &t->v);
	if (err == 0 && t->v.seq != 0)
		t->line = policy_set_line(
			apply_running(env->apply)->policies, policy_name(t->policy), t->v.node);
	if (err == 0)
		answer = test_json(t);
	policy_eval_destroy(eval);
	return answer;
}

static json_t *
policy_test(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	json_t *route = json_object_get(params, "route");
	struct test t = {.attrs = env->attr_buf};
	const char *name = NULL;

	if (!rpc_string(params, "policy", &name, call))
		return NULL;
	t.policy = policy_set_find(apply_running(env->apply)->policies, name);
	if (t.policy == NULL)
		return rpc_fail(
			call, RPC_NOT_FOUND, "/policy", "there is no policy \"%.64s\"", name);
	if (!json_is_object(route))
		return rpc_fail(call, RPC_INVALID_PARAMS, "/route", "is not an object");
	if (!route_keys(route, call) || !context_read(route, &t, call) ||
		!rpc_attrs_read(route, t.attrs, call))
		return NULL;
	return test_run(env, &t);
}

static json_t *
policy_list(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	const struct policy_set *set = apply_running(env->apply)->policies;
	const char *const *names = policy_set_names(set);
	const char *one = NULL, *line, *text;
	json_t *policies;

	if (!rpc_string(params, "policy", &one, call))
		return NULL;
	if (one != NULL && policy_set_find(set, one) == NULL)
		return rpc_fail(
			call, RPC_NOT_FOUND, "/policy", "there is no policy \"%.64s\"", one);
	policies = json_array();
	for (; *names != NULL; names++) {
		if (one != NULL && strcmp(*names, one) != 0)
			continue;
		text = policy_set_text(set, *names, &line);
		json_array_append_new(policies,
			json_pack("{s:s, s:s*, s:s*}", "name", *names, "line", line, "text", text));
	}
	return json_pack("{s:o}", "policies", policies);
}

/* ---- the methods ---- */

static const struct rpc_field preview_params[] = {
	{"candidate?", "boolean",
		"True: preview a commit of the candidate; no other parameter than `policy_files` "
		"is "
		"allowed then."},
	{"policy_files?", "boolean", "With `candidate`: as in `config.commit`."},
	{"family?", "family", "Address family."},
	{"vrf?", "string", "VRF of the peers; `default` when absent."},
	{"scope?", "all|peer|group|internal|external", "Which sessions, as in `bgp.refresh`."},
	{"peer?", "address", "With scope `peer`: the peer."},
	{"group?", "string", "With scope `group`: the group."},
	{"direction?", "import|export", "Direction of the refresh."},
	{0},
};
static const struct rpc_field line_fields[] = {
	{"address", "string", "Address of the peer."},
	{"vrf", "string", "VRF of the peer."},
	{"family", "family", "Address family."},
	{"direction", "import|export", "Import: routes from the peer. Export: routes to the peer."},
	{"exact", "boolean",
		"False: routes that the old policy rejected are not kept, so those that the new "
		"policy "
		"accepts are unknown."},
	{"removed", "integer", "Routes that would be rejected, or withdrawn."},
	{"changed", "integer", "Routes whose attributes would change."},
	{"added?", "integer", "Routes that would be accepted, or advertised; absent when unknown."},
	{0},
};
static const struct rpc_field fib_fields[] = {
	{"added", "integer", "Prefixes that would be installed."},
	{"removed", "integer", "Prefixes that would be removed."},
	{"changed", "integer", "Prefixes that would have other next hops."},
	{0},
};
static const struct rpc_field preview_result[] = {
	{"peers", "object[]", "One entry for each peer, address family and direction.",
		line_fields},
	{"fib?", "object",
		"The forwarding tables, with routes of this host (`static_routes`, connected and "
		"kernel routes by `preference`); absent without a data plane.",
		fib_fields},
	{"effects?", "object[]", "With `candidate`: as `config.commit` would answer.",
		rpc_effect_fields},
	{0},
};

static const struct rpc_field tested_fields[] = {
	{"prefix", "prefix", "The prefix."},
	{"family?", "family", "Address family; the unicast family of the prefix when absent."},
	{"peer?", "string|null", "Address of the peer that announces the route, or null."},
	{"source?", "connected|static|external|kernel|internal|network",
		"Where the route comes from; `external` when absent."},
	{"tag?", "integer", "Tag."},
	{"as_path?", "string", "AS_PATH."},
	{"origin?", "igp|egp|incomplete", "ORIGIN."},
	{"next_hop?", "string", "NEXT_HOP."},
	{"next_hop_link_local?", "address", "Link-local next hop."},
	{"local_pref?", "integer", "LOCAL_PREF."},
	{"med?", "integer", "MULTI_EXIT_DISC."},
	{"communities?", "string[]", "Communities."},
	{"large_communities?", "string[]", "Large communities."},
	{"ext_communities?", "string[]", "Extended communities."},
	{0},
};
static const struct rpc_field test_params[] = {
	{"policy", "string", "Name of a route policy of the running configuration."},
	{"route", "object", "The route.", tested_fields},
	{0},
};
static const struct rpc_field test_result[] = {
	{"result", "permit|deny", "What the policy decides."},
	{"node", "integer|null", "`seq` of the node that decides; null when no node matches."},
	{"line?", "string",
		"FILE:LINE:COLUMN of the statement that decides, for a policy of a policy file."},
	{"route", "object", "The route after the policy; unchanged when the policy denies.",
		tested_fields},
	{0},
};

static const struct rpc_field list_params[] = {
	{"policy?", "string", "Only this policy."},
	{0},
};
static const struct rpc_field listed_fields[] = {
	{"name", "string", "Name of the policy."},
	{"line?", "string", "FILE:LINE:COLUMN of a policy of a policy file."},
	{"text?", "string", "The text of a policy of a policy file, as it was compiled."},
	{0},
};
static const struct rpc_field list_result[] = {
	{"policies", "object[]", "The policies.", listed_fields},
	{0},
};

const struct rpc_method rpc_preview_methods[] = {
	{"bgp.refresh.preview", refresh_preview, preview_params, preview_result,
		"What a refresh, or a commit of the candidate, would change; changes nothing",
		"Without `candidate`, `family`, `scope` and `direction` are required. The preview "
		"is the "
		"state after the whole commit: exports are evaluated on the results of its "
		"imports, and on the routes that it originates (`networks`, `redistribute`, static "
		"routes).",
		RPC_READS,
		RPC_ERROR(RPC_NOT_FOUND) | RPC_ERROR(RPC_CONFIGURATION) | RPC_ERROR(RPC_TRY_AGAIN)},
	{"policy.test", policy_test, test_params, test_result,
		"Applies a route policy of the running configuration to one route", NULL, RPC_READS,
		RPC_ERROR(RPC_NOT_FOUND)},
	{"policy.list", policy_list, list_params, list_result,
		"The route policies of the running configuration",
		"`config.get` answers the nodes of those that are not in policy files.", RPC_READS,
		RPC_ERROR(RPC_NOT_FOUND)},
	{0},
};
