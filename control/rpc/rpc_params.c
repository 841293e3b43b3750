/* SPDX-License-Identifier: BSD-3-Clause */
/* Parameters of methods, and values in answers. */
#include "control/rpc/rpc_impl.h"

#include "control/config/config.h"

#include <stdio.h>
#include <string.h>

bool
rpc_string(json_t *params, const char *name, const char **out, struct rpc_call *call)
{
	json_t *v = json_object_get(params, name);
	char path[64];

	if (v == NULL)
		return true;
	if (json_is_string(v)) {
		*out = json_string_value(v);
		return true;
	}
	snprintf(path, sizeof(path), "/%s", name);
	rpc_fail(call, RPC_INVALID_PARAMS, path, "is not a string");
	return false;
}

bool
rpc_integer(json_t *params, const char *name, json_int_t min, json_int_t max, json_int_t *out,
	struct rpc_call *call)
{
	json_t *v = json_object_get(params, name);
	char path[64];

	if (v == NULL)
		return true;
	if (json_is_integer(v) && json_integer_value(v) >= min && json_integer_value(v) <= max) {
		*out = json_integer_value(v);
		return true;
	}
	snprintf(path, sizeof(path), "/%s", name);
	rpc_fail(call, RPC_INVALID_PARAMS, path, "is not an integer from %lld to %lld",
		(long long)min, (long long)max);
	return false;
}

bool
rpc_boolean(json_t *params, const char *name, bool *out, struct rpc_call *call)
{
	json_t *v = json_object_get(params, name);
	char path[64];

	if (v == NULL)
		return true;
	if (json_is_boolean(v)) {
		*out = json_is_true(v);
		return true;
	}
	snprintf(path, sizeof(path), "/%s", name);
	rpc_fail(call, RPC_INVALID_PARAMS, path, "is not true or false");
	return false;
}

bool
rpc_family(json_t *params, enum family *out, struct rpc_call *call)
{
	const char *text = NULL;

	if (!rpc_string(params, "family", &text, call))
		return false;
	*out = text != NULL ? family_from_text(text) : FAMILY_COUNT;
	if (*out != FAMILY_COUNT)
		return true;
	if (text != NULL && strcmp(text, "rt-constraint") == 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, "/family",
			"memberships of rt-constraint follow the configuration; name a VPN family");
		return false;
	}
	rpc_fail(call, RPC_INVALID_PARAMS, "/family", "\"%.64s\" is not an address family",
		text != NULL ? text : "");
	return false;
}

bool
rpc_vrf(struct rpc_env *env, json_t *params, struct vrf_id *out, struct rpc_call *call)
{
	const char *text = "default";
	const struct config_vrf *vrf;

	if (!rpc_string(params, "vrf", &text, call))
		return false;
	*out = VRF_DEFAULT;
	if (strcmp(text, "default") == 0)
		return true;
	vrf = config_vrf_named(apply_running(env->apply), text);
	if (vrf != NULL) {
		*out = vrf->id;
		return true;
	}
	rpc_fail(call, RPC_NOT_FOUND, "/vrf", "there is no VRF \"%.64s\"", text);
	return false;
}

/* True for a valid link-local address on an unknown interface. */
static bool
has_unknown_zone(const char *text)
{
	char bare[ADDR_TEXT_MAX];
	size_t len = strcspn(text, "%");
	struct ip_addr addr;

	if (text[len] == '\0' || text[len + 1] == '\0' || len >= sizeof(bare))
		return false;
	memcpy(bare, text, len);
	bare[len] = '\0';
	return addr_parse(bare, &addr) == 0 && addr_is_link_local(&addr);
}

bool
rpc_peer(struct rpc_env *env, json_t *params, struct vrf_id vrf, const struct config_peer **out,
	struct rpc_call *call)
{
	const char *text = NULL;
	struct ip_addr addr;

	*out = NULL;
	if (!rpc_string(params, "peer", &text, call))
		return false;
	if (text == NULL)
		return true;
	if (addr_parse(text, &addr) == 0) {
		*out = peers_find(env->peers, vrf, &addr);
	} else if (!has_unknown_zone(text)) {
		rpc_fail(call, RPC_INVALID_PARAMS, "/peer", "\"%.64s\" is not an IP address", text);
		return false;
	}
	if (*out != NULL)
		return true;
	rpc_fail(call, RPC_NOT_FOUND, "/peer", "there is no peer %.64s", text);
	return false;
}

bool
rpc_group(struct rpc_env *env, json_t *params, const char **out, struct rpc_call *call)
{
	const char *text = NULL;
	json_t *group;
	size_t i;

	if (!rpc_string(params, "group", &text, call))
		return false;
	*out = text;
	if (text == NULL)
		return true;
	json_array_foreach(
		json_object_get(
			json_object_get(apply_running(env->apply)->document, "bgp"), "groups"),
		i, group)
	{
		if (strcmp(json_string_value(json_object_get(group, "name")), text) == 0)
			return true;
	}
	rpc_fail(call, RPC_NOT_FOUND, "/group", "there is no group \"%.64s\"", text);
	return false;
}

json_t *
rpc_addr(const struct ip_addr *a)
{
	char text[ADDR_TEXT_MAX];

	return json_string_nocheck(addr_format(a, text));
}

json_t *
rpc_prefix(const struct prefix *p)
{
	char text[PREFIX_TEXT_MAX];

	return json_string_nocheck(prefix_format(p, text));
}

json_t *
rpc_hist(const struct hist_summary *h)
{
	return rpc_encode(rpc_histogram_fields, (const void *[]){h}, NULL);
}
