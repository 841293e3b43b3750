/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * show policy: the nodes of policies, and where policies are used. show refresh: counters of soft
 * resets.
 */
#include "control/cli/keelctl.h"

#include <stdio.h>
#include <string.h>

/* ---- show policy ---- */

/* "a, b"; for an object "add a, b; remove c" */
static void
print_value(json_t *v, const char *between)
{
	const char *key;
	json_t *item;
	size_t i;
	bool first = true;

	if (json_is_array(v)) {
		json_array_foreach(v, i, item)
		{
			fputs(i > 0 ? between : "", stdout);
			print_scalar(item);
		}
		return;
	}
	if (!json_is_object(v)) {
		print_scalar(v);
		return;
	}
	json_object_foreach(v, key, item)
	{
		printf("%s%s ", first ? "" : "; ", text_safe(key));
		if (json_is_array(item))
			print_value(item, ", ");
		else
			print_scalar(item);
		first = false;
	}
}

/* One line per key; the title precedes the first. */
static void
print_clauses(const char *title, json_t *clauses, const char *between)
{
	const char *key;
	json_t *v;

	json_object_foreach(clauses, key, v)
	{
		printf("           %-5s %s ", title, text_safe(key));
		print_value(v, between);
		putchar('\n');
		title = "";
	}
}

static void
print_node(struct ctl *ctl, const json_t *node)
{
	const char *action = text_of(node, "action");
	json_t *match = json_object_get(node, "match");

	printf("  %5s  ", text_of(node, "seq"));
	print_colour(ctl, strcmp(action, "permit") == 0 ? GREEN : RED, action);
	if (json_object_get(node, "call") != NULL)
		printf(", as policy %s accepts", text_of(node, "call"));
	if (json_object_get(node, "goto") != NULL)
		printf(", then node %s", text_of(node, "goto"));
	if (json_object_size(match) == 0)
		printf("  everything");
	if (json_object_get(node, "description") != NULL)
		printf("  (%s)", text_of(node, "description"));
	putchar('\n');
	print_clauses("if", match, " or ");
	print_clauses("set", json_object_get(node, "set"), ", ");
}

static bool
names_policy(const json_t *o, const char *key, const char *name)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text != NULL && strcmp(text, name) == 0;
}

/* Prints the peers and groups that use the policy. */
static void
print_users(const json_t *objects, const char *what, const char *name_key, const char *policy)
{
	static const char *const keys[][2] = {
		{"import_policy", "import"}, {"export_policy", "export"}};
	const json_t *o;
	size_t i;

	json_array_foreach(objects, i, o)
	{
		const char *family;
		json_t *f;

		json_object_foreach(json_object_get(o, "families"), family, f)
		{
			for (unsigned k = 0; k < 2; k++) {
				if (names_policy(f, keys[k][0], policy))
					printf("  used by %s %s, %s %s\n", what,
						text_of(o, name_key), text_safe(family),
						keys[k][1]);
			}
		}
	}
}

static void
print_policy(struct ctl *ctl, const json_t *document, const json_t *policy)
{
	const json_t *bgp = json_object_get(document, "bgp"), *node;
	const char *name = json_string_value(json_object_get(policy, "name"));
	size_t i;

	print_colour(ctl, BOLD, text_safe(name));
	putchar('\n');
	if (json_object_get(policy, "description") != NULL)
		printf("  %s\n", text_of(policy, "description"));
	json_array_foreach(json_object_get(policy, "nodes"), i, node) print_node(ctl, node);
	print_users(json_object_get(bgp, "groups"), "group", "name", name);
	print_users(json_object_get(bgp, "peers"), "peer", "address", name);
}

/* A line of a policy file: each tab is four blanks. */
static void
print_source_line(const char *line, size_t len)
{
	char text[1024];
	size_t n = 0;

	for (size_t i = 0; i < len && n + 5 < sizeof(text); i++)
		if (line[i] == '\t')
			n += (size_t)snprintf(text + n, sizeof(text) - n, "    ");
		else
			text[n++] = line[i];
	text[n] = '\0';
	printf("  %s\n", text_safe(text));
}

/* A policy of a file: its place, and its text. */
static void
print_text_policy(struct ctl *ctl, const json_t *document, const json_t *policy)
{
	const json_t *bgp = json_object_get(document, "bgp");
	const char *name = json_string_value(json_object_get(policy, "name")),
		   *at = json_string_value(json_object_get(policy, "text"));

	print_colour(ctl, BOLD, text_safe(name));
	printf("  %s\n", text_of(policy, "line"));
	while (at != NULL && *at != '\0') {
		size_t len = strcspn(at, "\n");

		print_source_line(at, len);
		at += at[len] == '\n' ? len + 1 : len;
	}
	print_users(json_object_get(bgp, "groups"), "group", "name", name);
	print_users(json_object_get(bgp, "peers"), "peer", "address", name);
}

/* The policies of files; with a name at most that policy. */
static json_t *
text_policies(const json_t *result, const char *name)
{
	json_t *found = json_array(), *policy;
	size_t i;

	json_array_foreach(json_object_get(result, "policies"), i, policy)
	{
		if (json_object_get(policy, "text") != NULL &&
			(name == NULL || names_policy(policy, "name", name)))
			json_array_append(found, policy);
	}
	return found;
}

/* --json: the result of config.get for the part shown, and `text_policies` of policy.list. */
static void
policies_json(const json_t *result, json_t *policies, json_t *one, json_t *texts)
{
	json_t *part = one != NULL	  ? json_incref(one)
		       : policies != NULL ? json_incref(policies)
					  : json_array();
	json_t *out = json_pack(
		"{s:o, s:O}", "document", part, "revision", json_object_get(result, "revision"));

	if (json_array_size(texts) > 0)
		json_object_set(out, "text_policies", texts);
	ctl_print_json(out, false);
	json_decref(out);
}

void
show_policy(struct ctl *ctl, const struct command *c)
{
	json_t *result = ctl_call(ctl, "config.get", json_pack("{s:s}", "source", "running")),
	       *listed = result != NULL ? ctl_call(ctl, "policy.list", NULL) : NULL, *document,
	       *policies, *policy, *one = NULL, *texts;
	const char *name = arg(c, "name");
	size_t i;

	if (listed == NULL) {
		json_decref(result);
		return;
	}
	document = json_object_get(result, "document");
	policies = json_object_get(document, "route_policies");
	texts = text_policies(listed, name);
	json_array_foreach(policies, i, policy)
	{
		if (name != NULL && names_policy(policy, "name", name))
			one = policy;
	}
	if (name != NULL && one == NULL && json_array_size(texts) == 0)
		ctl_fail(ctl, EXIT_REFUSED, "there is no policy \"%.64s\"%s", text_safe(name),
			NOT_THERE(ctl));
	else if (ctl->json)
		policies_json(result, name != NULL ? NULL : policies, one, texts);
	else if (one != NULL)
		print_policy(ctl, document, one);
	else if (name == NULL && json_array_size(policies) + json_array_size(texts) == 0)
		puts("no route policies except accept-all and deny-all");
	else if (name == NULL)
		json_array_foreach(policies, i, policy) print_policy(ctl, document, policy);
	if (!ctl->json)
		json_array_foreach(texts, i, policy) print_text_policy(ctl, document, policy);
	json_decref(texts);
	json_decref(listed);
	json_decref(result);
}

/* ---- show refresh ---- */

static void
refresh_rows(struct table *t, const json_t *peer)
{
	const char *family;
	json_t *f;

	json_object_foreach(json_object_get(peer, "families"), family, f)
	{
		const json_t *r = json_object_get(f, "refresh");

		table_cell(t, PLAIN, "%s", text_of(peer, "address"));
		table_cell(t, PLAIN, "%s", text_safe(family));
		table_cell(t, PLAIN, "%s", yes_no(f, "keep_all_routes"));
		table_texts(t, r,
			"requests_sent borr_received eorr_received stale_swept requests_received "
			"served coalesced borr_sent eorr_sent");
	}
}

/*
 * The columns up to "Swept" count our requests; the columns from "Rcvd" count requests of the peer.
 */
static void
refresh_print(struct ctl *ctl, const json_t *peers)
{
	struct table t = table_begin(
		"Peer|Family|Keep|>Sent|>BoRR|>EoRR|>Swept|>Rcvd|>Served|>Joined|>BoRR|>EoRR");
	const json_t *peer;
	size_t i;

	json_array_foreach(peers, i, peer) refresh_rows(&t, peer);
	table_end_or(&t, ctl, "no peers");
}

void
show_refresh(struct ctl *ctl, const struct command *c)
{
	json_t *peers = ctl_call(ctl, "bgp.peers", NULL), *jobs = NULL, *both;

	(void)c;
	if (peers != NULL)
		jobs = ctl_call(ctl, "jobs.list", NULL);
	if (jobs != NULL && ctl->json) {
		both = json_pack("{s:O, s:O}", "peers", json_object_get(peers, "peers"), "jobs",
			json_object_get(jobs, "jobs"));
		ctl_print_json(both, false);
		json_decref(both);
	} else if (jobs != NULL) {
		refresh_print(ctl, json_object_get(peers, "peers"));
		show_jobs(ctl, jobs);
	}
	json_decref(jobs);
	json_decref(peers);
}
