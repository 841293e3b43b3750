/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names for the VALUES of the grammar: peers, groups, policies, commits and methods of the daemon.
 */
#include "control/cli/keelctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
texts_add(struct texts *t, const char *text, const char *begin)
{
	if (text == NULL || strncmp(text, begin, strlen(begin)) != 0 || t->count == NAMES_MAX)
		return;
	for (unsigned i = 0; i < t->count; i++) {
		if (strcmp(t->text[i], text) == 0)
			return;
	}
	t->text[t->count] = strdup(text_safe(text));
	t->count += t->text[t->count] != NULL;
}

void
texts_free(struct texts *t)
{
	for (unsigned i = 0; i < t->count; i++)
		free(t->text[i]);
}

static void
texts_of(struct texts *t, const json_t *objects, const char *key, const char *begin)
{
	const json_t *o;
	size_t i;

	json_array_foreach(objects, i, o)
		texts_add(t, json_string_value(json_object_get(o, key)), begin);
}

/* The running document; in configuration views the candidate, with the new peers. */
static json_t *
fetch_document(struct ctl *ctl)
{
	const char *source = ctl->view == VIEW_USER ? "running" : "candidate";
	json_t *result = ctl_try(ctl, "config.get", json_pack("{s:s}", "source", source));
	json_t *d = json_incref(json_object_get(result, "document"));

	json_decref(result);
	return d;
}

static void
method_names(struct ctl *ctl, struct texts *t, const char *begin)
{
	json_t *result = ctl_try(ctl, "rpc.discover", NULL);

	texts_of(t, json_object_get(result, "methods"), "name", begin);
	json_decref(result);
}

/* Policies of policy files. */
static void
policy_names(struct ctl *ctl, struct texts *t, const char *begin)
{
	json_t *result = ctl_try(ctl, "policy.list", NULL), *policy;
	size_t i;

	json_array_foreach(json_object_get(result, "policies"), i, policy)
	{
		if (json_object_get(policy, "text") != NULL)
			texts_add(t, json_string_value(json_object_get(policy, "name")), begin);
	}
	json_decref(result);
}

/* Adds the values of an integer key in the objects, without duplicates. */
static void
numbers_of(struct texts *t, const json_t *objects, const char *key, const char *begin)
{
	const json_t *o;
	char text[24];
	size_t i;

	json_array_foreach(objects, i, o)
	{
		snprintf(text, sizeof(text), "%lld", number_of(o, key));
		if (json_is_integer(json_object_get(o, key)))
			texts_add(t, text, begin);
	}
}

static void
commit_names(struct ctl *ctl, struct texts *t, const char *begin)
{
	json_t *result = ctl_try(ctl, "config.history", NULL);

	numbers_of(t, json_object_get(result, "commits"), "id", begin);
	json_decref(result);
}

/* After `bgp` in a configuration view the AS number of the router, otherwise the AS numbers of the peers. */
static void
asn_names(struct ctl *ctl, struct texts *t, const json_t *d, const char *after, const char *begin)
{
	json_t *router = json_pack("[O*]", json_object_get(d, "router"));

	if (ctl->view & (VIEW_SYSTEM | VIEW_POLICY) && strcmp(after, "bgp") == 0)
		numbers_of(t, router, "asn", begin);
	else
		numbers_of(t, json_object_get(json_object_get(d, "bgp"), "peers"), "asn", begin);
	json_decref(router);
}

/* The addresses of ports, without their lengths. */
static void
own_addresses(struct texts *t, const json_t *d, const char *begin)
{
	const json_t *port, *address;
	char text[64];
	size_t i, k;

	json_array_foreach(json_object_get(d, "ports"), i, port)
	{
		json_array_foreach(json_object_get(port, "addresses"), k, address)
		{
			snprintf(text, sizeof(text), "%s", json_string_value(address));
			text[strcspn(text, "/")] = '\0';
			texts_add(t, text, begin);
		}
	}
}

/* The section for a name after this keyword; NULL: no section of lists. */
static const char *
section_of(const char *after)
{
	const struct policy_list_words *w = policy_list_words;

	if (strcmp(after, "prefix-list") == 0)
		return "prefix_lists";
	if (strcmp(after, "basic") == 0)
		return "community_lists";
	while (w->word != NULL && strcmp(w->word, after) != 0)
		w++;
	return w->section;
}

void
value_names(struct ctl *ctl, struct texts *t, const struct command_choice *c, const char *begin)
{
	const char *after = c->after != NULL ? c->after : "";
	json_t *d, *bgp;

	if (strcmp(c->text, "METHOD") == 0) {
		method_names(ctl, t, begin);
		return;
	}
	if (strcmp(c->text, "ID") == 0) {
		commit_names(ctl, t, begin);
		return;
	}
	d = fetch_document(ctl);
	bgp = json_object_get(d, "bgp");
	if (strcmp(c->text, "ADDRESS") == 0 && strcmp(c->name, "peer") == 0)
		texts_of(t, json_object_get(bgp, "peers"), "address", begin);
	else if (strcmp(c->text, "ADDRESS") == 0 && strcmp(c->name, "value") == 0)
		own_addresses(t, d, begin);
	else if (strcmp(c->text, "PREFIX") == 0) {
		texts_of(t, json_object_get(bgp, "networks"), "prefix", begin);
		texts_of(t, json_object_get(d, "static_routes"), "prefix", begin);
	} else if (strcmp(c->text, "GROUP") == 0 ||
		   (strcmp(c->text, "NAME") == 0 && strcmp(after, "group") == 0))
		texts_of(t, json_object_get(bgp, "groups"), "name", begin);
	else if (strcmp(c->text, "NAME") == 0 &&
		 (strcmp(after, "vpn-instance") == 0 || strcmp(after, "vrf") == 0))
		texts_of(t, json_object_get(d, "vrfs"), "name", begin);
	else if (strcmp(c->text, "NAME") == 0 && section_of(after) != NULL)
		texts_of(t, json_object_get(d, section_of(after)), "name", begin);
	else if (strcmp(c->text, "NAME") == 0) {
		texts_of(t, json_object_get(d, "route_policies"), "name", begin);
		policy_names(ctl, t, begin);
	} else if (strcmp(c->text, "AS-NUMBER") == 0)
		asn_names(ctl, t, d, after, begin);
	if (strcmp(c->text, "NAME") == 0 && (strcmp(after, "route-policy") == 0)) {
		texts_add(t, "accept-all", begin);
		texts_add(t, "deny-all", begin);
	}
	json_decref(d);
}
