/* SPDX-License-Identifier: BSD-3-Clause */
/* The section `vrfs`, and the key `vrf` of the sections checked later. */
#include "control/config/config_impl.h"
#include "control/config/vrf_names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TARGETS_MAX 256 /* of an instance; a few are usual */

static const char *
text_or_empty(const json_t *value)
{
	return json_is_string(value) ? json_string_value(value) : "";
}

static void
take_rd(CONFIG_TAKE_ARGS)
{
	char buf[CONFIG_QUOTE_MAX];
	struct vpn_rd rd;

	(void)key;
	if (!json_is_string(value))
		config_fault_type(c, at, value, "a string");
	else if (vpn_rd_parse(json_string_value(value), &rd) != 0)
		config_fault(c, at,
			"%s is not a route distinguisher, as 64512:1, 4200000000:1 or 192.0.2.1:1",
			config_quote(value, buf));
	else if (rd.v == 0)
		config_fault(c, at, "%s can't be the route distinguisher of an instance",
			config_quote(value, buf));
	else
		*(struct vpn_rd *)out = rd;
}

static void
take_target(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config_targets *t = out;
	char buf[CONFIG_QUOTE_MAX];
	struct ext_community target;

	if (!json_is_string(value)) {
		config_fault_type(c, at, value, "a string");
		return;
	}
	if (route_target_parse(json_string_value(value), &target) != 0) {
		config_fault(c, at,
			"%s is not a route target, as 64512:1, 4200000000:1 or 192.0.2.1:1",
			config_quote(value, buf));
		return;
	}
	for (unsigned i = 0; i < t->count; i++) {
		if (t->at[i].v != target.v)
			continue;
		config_fault(c, at, "%s is listed twice", config_quote(value, buf));
		return;
	}
	t->at[t->count++] = target;
}

static void
take_targets(CONFIG_TAKE_ARGS)
{
	struct config_targets *t = out;

	(void)key;
	free(t->at);
	t->count = 0;
	t->at = calloc(json_array_size(value) + 1, sizeof(*t->at));
	if (t->at == NULL)
		config_fault(c, at, "out of memory");
	else if (json_array_size(value) > TARGETS_MAX)
		config_fault(c, at, "has %zu targets; at most %u are supported",
			json_array_size(value), TARGETS_MAX);
	else
		config_take_each(c, at, value, take_target, t);
}

static void
take_max_routes_action(CONFIG_TAKE_ARGS)
{
	static const char *const words[] = {
		[MAX_ROUTES_DISCARD] = "discard", [MAX_ROUTES_WARNING] = "warning", NULL};
	int word = config_value_word(c, at, value, words);

	(void)key;
	if (word >= 0)
		*(uint8_t *)out = (uint8_t)word;
}

/*
 * Bound on imported and learned routes of an instance, of both families together.
 */
static const struct config_key max_routes_keys[] = {
	/* Largest number of routes. Unit: routes. */
	{"limit", config_take_u32, offsetof(struct config_vrf, max_routes), 1, UINT32_MAX, true,
		EFFECT(COMMIT)},
	/*
	 * Action beyond `limit`. `discard` refuses further imported routes in the instance, until
	 * there is room again; routes of the instance's own sessions count, and `max_prefixes`
	 * bounds them. `warning` accepts further routes. Both raise an alarm. Default: discard.
	 */
	{"action", take_max_routes_action, offsetof(struct config_vrf, max_routes_action),
		EFFECT(COMMIT)},
};

static void
take_max_routes(CONFIG_TAKE_ARGS)
{
	(void)key;
	CONFIG_TAKE(c, at, value, max_routes_keys, out);
}

static void
take_label_mode(CONFIG_TAKE_ARGS)
{
	static const char *const words[] = {"per-vrf", NULL};

	(void)key;
	(void)out;
	(void)config_value_word(c, at, value, words);
}

#define VRF(member) offsetof(struct config_vrf, member)

/*
 * A VPN instance has a table for each unicast family. Routes come from peers, networks and static
 * routes of the instance, and from VPN routes with an import target. An entry with the name
 * `default` may have a description only.
 */
static const struct config_key vrf_keys[] = {
	/* Name of the instance, at most 10 characters. */
	{"name", config_take_name, VRF(name), 0, 0, true, EFFECT(COMMIT)},
	/*
	 * Route distinguisher of the VPN routes that the instance exports: an AS number or an IPv4
	 * address, a colon, and a number, as `64512:1` or `192.0.2.1:1`. Two instances can't have
	 * equal distinguishers. Default: no distinguisher; the instance exports no route.
	 */
	{"rd", take_rd, VRF(rd), EFFECT(COMMIT)},
	/*
	 * Route targets, as `64512:1`: the instance imports VPN routes with at least one target of
	 * the list. Default: no target; the instance imports no route.
	 */
	{"import_targets", take_targets, VRF(import_targets), EFFECT(COMMIT)},
	/*
	 * Route targets of exported VPN routes. Only valid with `rd`. Default: no target; the
	 * instance exports no route.
	 */
	{"export_targets", take_targets, VRF(export_targets), EFFECT(COMMIT)},
	/*
	 * Route policy for VPN routes with an import target; see keel-policy(7). Default: all
	 * routes are imported.
	 */
	{"import_policy", config_take_policy_name, VRF(import_policy), EFFECT(COMMIT)},
	/*
	 * Route policy for exported routes of the instance; see keel-policy(7). Default: all routes
	 * are exported.
	 */
	{"export_policy", config_take_policy_name, VRF(export_policy), EFFECT(COMMIT)},
	/* Limit of routes in the instance, and the action at the limit. Default: no limit. */
	{"max_routes", take_max_routes},
	/* How MPLS labels are assigned: one label for the instance (`per-vrf`). Default: per-vrf. */
	{"label_mode", take_label_mode, EFFECT(COMMIT)},
};

/* `default` has no keys besides name and description. */
static void
check_default(struct check *c, const struct at *at, const json_t *value)
{
	const char *name;
	json_t *member;

	json_object_foreach((json_t *)(uintptr_t)value, name, member)
	{
		struct at here = AT_KEY(at, name);

		if (strcmp(name, "name") != 0 && strcmp(name, "description") != 0)
			config_fault(c, &here, "only valid for an instance other than \"default\"");
	}
}

/* The id of an instance, for the key `vrf` of other sections. False with a fault. */
static bool
take_id(struct check *c, const struct at *at, struct config_vrf *vrf)
{
	struct vrf_names *names = c->config->vrf_names;
	int err = 0;

	/* Without ids of a running router the place in the document is the id. */
	if (names != NULL)
		err = vrf_names_take(names, vrf->name, &vrf->id);
	else if (c->config->vrf_count + 1 < VRF_IDS_MAX)
		vrf->id.v = (uint16_t)(c->config->vrf_count + 1);
	else
		err = -ENOSPC;
	if (err == 0 && json_object_set_new(c->vrf_ids, vrf->name, json_integer(vrf->id.v)) != 0) {
		if (names != NULL)
			vrf_names_drop(names, vrf->id);
		err = -ENOMEM;
	}
	if (err == -ENOSPC)
		config_fault(c, at,
			"is one instance too many; %u are supported, those being removed included",
			VRF_IDS_MAX - 1);
	else if (err != 0)
		config_fault(c, at, "out of memory");
	return err == 0;
}

static void
vrf_fini(struct config_vrf *vrf)
{
	free(vrf->import_targets.at);
	free(vrf->export_targets.at);
}

static void
take_vrf(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config *config = out;
	struct config_vrf *vrf = &config->vrfs[config->vrf_count];
	struct at name_at = AT_KEY(at, "name"), export_at = AT_KEY(at, "export_targets");

	*vrf = (struct config_vrf){0};
	if (json_is_object(value) &&
		strcmp(text_or_empty(json_object_get(value, "name")), "default") == 0) {
		check_default(c, at, value);
		return;
	}
	if (!CONFIG_TAKE(c, at, value, vrf_keys, vrf) || vrf->name == NULL)
		goto drop;
	if (strlen(vrf->name) > VRF_NAME_MAX) {
		config_fault(c, &name_at,
			"\"%s\" is %zu characters long; the name of a VRF has at most %u",
			vrf->name, strlen(vrf->name), VRF_NAME_MAX);
		goto drop;
	}
	if (json_object_get(value, "export_targets") != NULL &&
		json_object_get(value, "rd") == NULL)
		config_fault(c, &export_at, "only valid with `rd`");
	/* config_check_unique() reports the second of two equal names */
	if (json_object_get(c->vrf_ids, vrf->name) != NULL || !take_id(c, at, vrf))
		goto drop;
	config->vrf_count++;
	return;
drop:
	vrf_fini(vrf);
}

/* A distinguisher can be written in several ways: compares values. */
static void
check_unique_rds(struct check *c, const struct at *at, const json_t *value)
{
	json_t *seen = json_object(), *element;
	char text[VPN_TEXT_MAX];
	size_t i;

	json_array_foreach(value, i, element)
	{
		const json_t *rd = json_object_get(element, "rd");
		struct vpn_rd parsed;

		if (json_is_string(rd) && vpn_rd_parse(json_string_value(rd), &parsed) == 0)
			config_note_unique(c, at, i, "rd", rd, vpn_rd_format(parsed, text), seen);
	}
	json_decref(seen);
}

void
config_take_vrfs(CONFIG_TAKE_ARGS)
{
	struct config *config = out;

	(void)key;
	config->vrfs = calloc(json_array_size(value) + 1, sizeof(*config->vrfs));
	c->vrf_ids = json_object();
	if (config->vrfs == NULL || c->vrf_ids == NULL) {
		config_fault(c, at, "out of memory");
	} else if (config_take_each(c, at, value, take_vrf, config)) {
		config_check_unique(c, at, value, "name");
		check_unique_rds(c, at, value);
	}
}

void
config_vrfs_free(struct config *config)
{
	for (unsigned i = 0; i < config->vrf_count; i++) {
		if (config->vrf_names != NULL)
			vrf_names_drop(config->vrf_names, config->vrfs[i].id);
		vrf_fini(&config->vrfs[i]);
	}
	free(config->vrfs);
}

static bool
vrf_is_declared(const struct check *c, const char *name)
{
	size_t i;
	json_t *vrf;

	json_array_foreach(json_object_get(c->document, "vrfs"), i, vrf)
	{
		if (strcmp(text_or_empty(json_object_get(vrf, "name")), name) == 0)
			return true;
	}
	return false;
}

/* Sections that name an instance with a fault in `vrfs` get no further fault. */
void
config_take_vrf(CONFIG_TAKE_ARGS)
{
	char buf[CONFIG_QUOTE_MAX];
	const json_t *id;

	(void)key;
	if (!json_is_string(value)) {
		config_fault_type(c, at, value, "a string");
		return;
	}
	id = json_object_get(c->vrf_ids, json_string_value(value));
	if (id != NULL)
		*(struct vrf_id *)out = (struct vrf_id){(uint16_t)json_integer_value(id)};
	else if (strcmp(json_string_value(value), "default") == 0 ||
		 vrf_is_declared(c, json_string_value(value)))
		*(struct vrf_id *)out = VRF_DEFAULT;
	else
		config_fault(c, at, "there is no VRF %s", config_quote(value, buf));
}

const struct config_vrf *
config_vrf_find(const struct config *c, struct vrf_id id)
{
	for (unsigned i = 0; i < c->vrf_count; i++)
		if (c->vrfs[i].id.v == id.v)
			return &c->vrfs[i];
	return NULL;
}

const struct config_vrf *
config_vrf_named(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->vrf_count; i++)
		if (strcmp(c->vrfs[i].name, name) == 0)
			return &c->vrfs[i];
	return NULL;
}
