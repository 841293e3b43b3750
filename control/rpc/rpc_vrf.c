/* SPDX-License-Identifier: BSD-3-Clause */
/* The method vrf.list. */
#include "control/rpc/rpc_impl.h"

#include "control/config/config.h"
#include "rib/shard/shards.h"

#include <string.h>

static json_t *
targets_json(const struct config_targets *t)
{
	json_t *list = json_array();
	char text[VPN_TEXT_MAX];

	for (unsigned i = 0; i < t->count; i++) {
		ext_community_format(t->at[i], text);
		/* without the word of the kind, as in the configuration */
		json_array_append_new(
			list, json_string(strncmp(text, "rt:", 3) == 0 ? text + 3 : text));
	}
	return list;
}

/* The number of prefixes in a table of the instance, of all shards. */
static json_int_t
prefixes_of(const struct rpc_env *env, struct vrf_id vrf, enum family family)
{
	json_int_t sum = 0;
	struct table_id table;

	for (unsigned i = 0; i < env->layers->shards.count; i++) {
		const struct shard *s = env->layers->shards.at[i];

		if (shard_table_find(s, vrf, family, &table) == 0)
			sum += dest_count(shard_table(s, table));
	}
	return sum;
}

uint64_t
rpc_vrf_routes(const struct rpc_env *env, struct vrf_id vrf, struct shard_instance_counts *out)
{
	uint64_t routes;

	*out = (struct shard_instance_counts){0};
	layers_rib_read_begin(env->layers);
	routes = (uint64_t)(prefixes_of(env, vrf, FAMILY_IPV4_UNICAST) +
			    prefixes_of(env, vrf, FAMILY_IPV6_UNICAST));
	for (unsigned i = 0; i < env->layers->shards.count; i++) {
		struct shard_instance_counts one;

		shard_instance_counts(env->layers->shards.at[i], vrf, &one);
		out->imported += one.imported;
		out->exported += one.exported;
		out->refused += one.refused;
		out->crowded += one.crowded;
		if (one.crowded > 0)
			out->crowded_by = one.crowded_by;
	}
	layers_rib_read_end(env->layers);
	return routes;
}

static json_t *
vrf_json(struct rpc_env *env, const char *name, struct vrf_id id, const struct config_vrf *vrf)
	RUNS_ON(role_main)
{
	uint32_t label = apply_instance_label(env->apply, id);
	struct shard_instance_counts n;
	char rd[VPN_TEXT_MAX];
	unsigned peers = 0;
	json_t *o;

	for (struct peer_id p = {0}; (p = peers_next(env->peers, p)).v != 0;)
		peers += peers_config(env->peers, p)->vrf.v == id.v;
	layers_rib_read_begin(env->layers);
	o = json_pack("{s:s, s:I, s:{s:I, s:I}}", "name", name, "peers", (json_int_t)peers,
		"prefixes", "ipv4-unicast", prefixes_of(env, id, FAMILY_IPV4_UNICAST),
		"ipv6-unicast", prefixes_of(env, id, FAMILY_IPV6_UNICAST));
	layers_rib_read_end(env->layers);
	if (vrf == NULL || o == NULL)
		return o;
	(void)rpc_vrf_routes(env, id, &n);
	json_object_set_new(o, "imported", json_integer((json_int_t)n.imported));
	json_object_set_new(o, "exported", json_integer((json_int_t)n.exported));
	json_object_set_new(o, "refused", json_integer((json_int_t)n.refused));
	if (n.crowded > 0)
		json_object_set_new(o, "crowded", json_integer((json_int_t)n.crowded));
	if (vrf->rd.v != 0)
		json_object_set_new(o, "rd", json_string(vpn_rd_format(vrf->rd, rd)));
	if (label != 0)
		json_object_set_new(o, "label", json_integer(label));
	json_object_set_new(o, "import_targets", targets_json(&vrf->import_targets));
	json_object_set_new(o, "export_targets", targets_json(&vrf->export_targets));
	return o;
}

static json_t *
vrf_list(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	const struct config *c = apply_running(env->apply);
	const char *only = NULL;
	json_t *list;
	struct vrf_id id;

	if (!rpc_string(params, "vrf", &only, call) ||
		(only != NULL && !rpc_vrf(env, params, &id, call)))
		return NULL;
	list = json_array();
	if (only == NULL || strcmp(only, "default") == 0)
		json_array_append_new(list, vrf_json(env, "default", VRF_DEFAULT, NULL));
	for (unsigned i = 0; i < c->vrf_count; i++)
		if (only == NULL || strcmp(only, c->vrfs[i].name) == 0)
			json_array_append_new(
				list, vrf_json(env, c->vrfs[i].name, c->vrfs[i].id, &c->vrfs[i]));
	return json_pack("{s:o}", "vrfs", list);
}

static const struct rpc_field list_params[] = {
	{"vrf?", "string", "The instance; all when absent."},
	{0},
};

static const struct rpc_field prefixes_fields[] = {
	{"ipv4-unicast", "integer", "IPv4 prefixes."},
	{"ipv6-unicast", "integer", "IPv6 prefixes."},
	{0},
};

static const struct rpc_field vrf_fields[] = {
	{"name", "string", "Name of the instance."},
	{"peers", "integer", "Number of peers, dynamic peers included."},
	{"prefixes", "object", "Prefixes in the tables of the instance.", prefixes_fields},
	{"imported?", "integer",
		"Routes that the instance imports from VPN routes and other instances."},
	{"exported?", "integer", "Routes that the instance exports."},
	{"refused?", "integer",
		"Imports refused because of `max_routes`, since the last attempt to import them."},
	{"crowded?", "integer",
		"Paths that are not imported because their prefixes have too many paths: 32,768 "
		"in all, and of one peer as many as are left."},
	{"rd?", "string", "Route distinguisher."},
	{"label?", "integer",
		"MPLS label of the instance. Absent: no label could be assigned; the alarm "
		"`labels` says why."},
	{"import_targets?", "string[]", "Route targets of imported routes."},
	{"export_targets?", "string[]", "Route targets of exported routes."},
	{0},
};

static const struct rpc_field list_result[] = {
	{"vrfs", "object[]", "`default`, then the VPN instances in the order of the document.",
		vrf_fields},
	{0},
};

const struct rpc_method rpc_vrf_methods[] = {
	{"vrf.list", vrf_list, list_params, list_result, "VPN instances.", NULL, RPC_READS,
		RPC_ERROR(RPC_NOT_FOUND)},
	{0},
};
