/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end of a translation of `keelctl import`: names without a list or a policy, lost conditions, jumps,
 * filters of neighbours, redistribution. Reads and removes the temporary keys of the dialects. Where a part
 * of the file is lost, the document permits less, never more. One thread; no daemon.
 */
#include "control/cli/keelctl_import.h"

#include <stdlib.h>

/* of a policy, in calls: less than half of what keeld takes, as nodes with jumps count twice */
#define CALLED_NODES_MAX 20000
#define CALL_CHAIN_MAX 16

static int
by_seq(const void *a, const void *b)
{
	long long left = number_of(*(json_t *const *)a, "seq"),
		  right = number_of(*(json_t *const *)b, "seq");

	return left < right ? -1 : left > right;
}

/* Sorts an array by `seq`. */
static void
sort(json_t *array)
{
	size_t n = json_array_size(array), i;
	json_t **all = calloc(n + 1, sizeof(*all));

	for (i = 0; all != NULL && i < n; i++)
		all[i] = json_incref(json_array_get(array, i));
	if (all != NULL) {
		qsort(all, n, sizeof(*all), by_seq);
		json_array_clear(array);
		for (i = 0; i < n; i++)
			json_array_append_new(array, all[i]);
	}
	free(all);
}

static const char *const list_sections[] = {"prefix_lists", "as_path_lists", "community_lists",
	"large_community_lists", "ext_community_lists"};

/* Keys of `match` and the section of their lists. */
static const struct {
	const char *key, *section;
} list_keys[] = {{"prefix_list", "prefix_lists"}, {"next_hop_prefix_list", "prefix_lists"},
	{"as_path_list", "as_path_lists"}, {"community_list", "community_lists"},
	{"large_community_list", "large_community_lists"},
	{"ext_community_list", "ext_community_lists"}};

/* Changes of a node, and the conditions on the changed attribute. */
static const struct {
	const char *set, *match[2];
} seen_by[] = {{"local_pref", {"local_pref", NULL}}, {"med", {"med", NULL}}, {"tag", {"tag", NULL}},
	{"origin", {"origin", NULL}}, {"next_hop", {"next_hop_prefix_list", NULL}},
	{"communities", {"community_list", NULL}},
	{"large_communities", {"large_community_list", NULL}},
	{"ext_communities", {"ext_community_list", NULL}},
	{"as_path_prepend", {"as_path_list", "as_path_length"}}};

static const char *
name_of(const json_t *o)
{
	return json_string_value(json_object_get(o, "name"));
}

static json_t *
list_of(const struct import *im, const char *section, const char *name)
{
	return import_named(json_object_get(im->document, section), "name", name);
}

/* True if the meaning of the list is known. Makes a missing list. */
static bool
list_is_known(struct import *im, const char *section, const char *name)
{
	json_t *list = list_of(im, section, name);

	if (list == NULL) {
		list = import_element(im->document, section, "name", name);
		json_object_set_new(list, "entries", json_array());
		if (im->missing_matches_all) {
			json_object_set_new(list, IMPORT_PARTIAL, json_true());
			import_end_report(im, name, "not carried: there is no list of this name");
		} else {
			import_end_report(im, name,
				"changed: there is no list of this name; it matches no route");
		}
	}
	return json_object_get(list, IMPORT_PARTIAL) == NULL;
}

/* True if all prefixes of the list are of the family. A router has a list of each family under one name. */
static bool
has_only(const json_t *list, const char *family)
{
	json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(list, "entries"), i, entry)
	{
		const char *prefix = json_string_value(json_object_get(entry, "prefix"));

		if (prefix != NULL && (strchr(prefix, ':') != NULL) != is(family, "ipv6-unicast"))
			return false;
	}
	return true;
}

/* True if all lists of this key are known. */
static bool
lists_are_known(struct import *im, const json_t *match, unsigned k)
{
	json_t *names = json_object_get(match, list_keys[k].key), *name;
	bool known = true;
	size_t i;

	if (json_is_string(names))
		return list_is_known(im, list_keys[k].section, json_string_value(names));
	json_array_foreach(names, i, name) known =
		list_is_known(im, list_keys[k].section, json_string_value(name)) && known;
	return known;
}

/*
 * The node has a condition that is not known: `why`. A permit is left out, and a deny denies without
 * that condition. A permit with a jump or a call keeps routes from later nodes, so it becomes a deny.
 */
static void
condition_lost(
	struct import *im, const json_t *policy, json_t *node, const char *key, const char *why)
{
	json_t *match = json_object_get(node, "match");
	bool deny = is(json_string_value(json_object_get(node, "action")), "deny");

	json_object_del(match, key);
	if (!deny)
		json_object_set_new(node, IMPORT_WIDER, json_true());
	import_end_report(im, name_of(policy), "not carried: node %lld: %s; %s",
		number_of(node, "seq"), why,
		deny ? "the node denies without the condition" : "the node permits nothing");
}

/* The node and its lists. */
static void
finish_lists(struct import *im, const json_t *policy, json_t *node)
{
	json_t *match = json_object_get(node, "match");
	const char *family = json_string_value(json_object_get(node, IMPORT_FAMILY)), *name;

	for (unsigned k = 0; k < sizeof(list_keys) / sizeof(list_keys[0]); k++) {
		if (!lists_are_known(im, match, k))
			condition_lost(im, policy, node, list_keys[k].key,
				"an entry of the list is not carried");
		if (!lists_are_known(im, json_object_get(match, "not"), k))
			condition_lost(
				im, policy, node, "not", "an entry of the list is not carried");
	}
	name = json_string_value(json_object_get(match, "prefix_list"));
	if (family != NULL && name != NULL && !has_only(list_of(im, "prefix_lists", name), family))
		json_object_set_new(match, "family", json_string(family));
}

/* A condition of the node that sees a change of a node before; NULL: none. */
static const char *
sees_change(const json_t *node, const json_t *changed, bool lost)
{
	const json_t *match = json_object_get(node, "match");

	for (unsigned i = 0; i < sizeof(seen_by) / sizeof(seen_by[0]); i++) {
		for (unsigned k = 0; k < 2 && seen_by[i].match[k] != NULL; k++) {
			if ((lost || json_object_get(changed, seen_by[i].set) != NULL) &&
				json_object_get(match, seen_by[i].match[k]) != NULL)
				return seen_by[i].match[k];
		}
	}
	return NULL;
}

/* The permitted values of a list for `delete`, or NULL. */
static json_t *
values_to_remove(const json_t *list)
{
	static const char *const keys[] = {"community", "large_community"};
	json_t *values = json_array(), *entry;
	bool good = json_object_get(list, "_unusable") == NULL;
	size_t i;

	json_array_foreach(json_object_get(list, "entries"), i, entry)
	{
		good = good && is(json_string_value(json_object_get(entry, "action")), "permit");
		for (unsigned k = 0; k < 2; k++) {
			if (json_object_get(entry, keys[k]) != NULL)
				json_array_append(values, json_object_get(entry, keys[k]));
		}
	}
	if (good)
		return values;
	json_decref(values);
	return NULL;
}

/* `_delete`: {key of `set`: name of a list}. */
static void
finish_delete(struct import *im, const json_t *policy, json_t *node)
{
	const char *key;
	json_t *name, *lists = json_object_get(node, "_delete"), *values, *list;

	json_object_foreach(lists, key, name)
	{
		list = list_of(im,
			is(key, "communities") ? "community_lists" : "large_community_lists",
			json_string_value(name));
		values = values_to_remove(list);
		if (values != NULL && list != NULL) {
			json_object_set_new(member_made(member_made(node, "set", json_object()),
						    key, json_object()),
				"remove", values);
			continue;
		}
		json_decref(values);
		json_object_set_new(node, "_lost", json_true());
		import_end_report(im, name_of(policy),
			"not carried: node %lld: communities of list \"%.40s\" are not removed",
			number_of(node, "seq"), json_string_value(name));
	}
}

/* True if a condition of the policy may see a change before the call. */
static bool
callee_sees(const struct import *im, const char *name, const json_t *changed, bool lost)
{
	json_t *nodes = json_object_get(list_of(im, "route_policies", name), "nodes"), *node;
	size_t i;

	json_array_foreach(nodes, i, node)
	{
		if (sees_change(node, changed, lost) != NULL ||
			json_object_get(node, "call") != NULL)
			return lost || json_object_size(changed) > 0;
	}
	return false;
}

/* True if a walk of the policy `name` comes to the policy `target`. `seen`: policies of the walk so far. */
static bool
comes_to(const struct import *im, const char *name, const char *target, json_t *seen)
{
	json_t *node;
	size_t i;

	if (is(name, target))
		return true;
	if (json_object_get(seen, name) != NULL)
		return false;
	json_object_set_new(seen, name, json_true());
	json_array_foreach(json_object_get(list_of(im, "route_policies", name), "nodes"), i, node)
	{
		const char *callee = json_string_value(json_object_get(node, "call"));

		if (callee != NULL && comes_to(im, callee, target, seen))
			return true;
	}
	return false;
}

static bool
calls_itself(const struct import *im, const json_t *policy, const char *callee)
{
	json_t *seen = json_object();
	bool does = comes_to(im, callee, name_of(policy), seen);

	json_decref(seen);
	return does;
}

/* A call: the changes of the callee come before the changes of the node. */
static void
finish_call(struct import *im, const json_t *policy, json_t *node, const json_t *changed, bool lost)
{
	const char *name = json_string_value(json_object_get(node, "call"));

	if (name == NULL)
		return;
	if (list_of(im, "route_policies", name) == NULL) {
		import_end_report(
			im, name, "changed: there is no policy of this name; it is not called");
		json_object_del(node, "call");
	} else if (calls_itself(im, policy, name)) {
		condition_lost(im, policy, node, "", "the policy calls itself");
		json_object_del(node, "call");
		json_object_set_new(node, "action", json_string("deny"));
		json_object_del(node, "_goto");
		json_object_del(node, "set");
		json_object_del(node, IMPORT_WIDER);
	} else if (callee_sees(im, name, changed, lost)) {
		condition_lost(im, policy, node, "",
			"the policy that it calls sees a change of a node before");
	} else if (json_object_size(json_object_get(node, "set")) > 0 ||
		   json_object_get(node, "_lost") != NULL) {
		condition_lost(im, policy, node, "",
			"its changes would follow those of the policy that it calls");
	}
}

/*
 * The jump of node `at` to the first node from `_goto` on. `last`: the last number of the file, whose node
 * may be left out; a route that came for it is denied. False: the file has no such node; the walk ends.
 */
static bool
finish_goto(const json_t *nodes, size_t at, json_int_t last)
{
	json_t *node = json_array_get(nodes, at), *to = json_object_get(node, "_goto"), *seq;

	for (size_t k = at + 1; to != NULL && k < json_array_size(nodes); k++) {
		seq = json_object_get(json_array_get(nodes, k), "seq");
		if (json_integer_value(seq) >= json_integer_value(to))
			return json_object_set(node, "goto", seq) == 0;
	}
	return to != NULL && json_integer_value(to) <= last &&
	       json_object_set_new(node, "goto", json_integer(last + 10)) == 0;
}

/* bgpd refuses a route that no node behind a jump matches; keeld keeps the permit of the jump. */
static void
finish_jumps(json_t *nodes, json_int_t last)
{
	json_t *node;
	bool any = false;
	size_t i;

	json_array_foreach(nodes, i, node) any = finish_goto(nodes, i, last) || any;
	if (any)
		json_array_append_new(
			nodes, json_pack("{s:I, s:s}", "seq", last + 10, "action", "deny"));
}

static void
finish_policy(struct import *im, json_t *policy)
{
	json_t *nodes = json_object_get(policy, "nodes"), *node, *changed = json_object();
	json_int_t last;
	bool lost = false;
	const char *key;
	size_t i;

	sort(nodes);
	last = number_of(json_array_get(nodes, json_array_size(nodes) - 1), "seq");
	json_array_foreach(nodes, i, node)
	{
		bool jumps = json_object_get(node, "_goto") != NULL,
		     calls = json_object_get(node, "call") != NULL;

		finish_lists(im, policy, node);
		finish_delete(im, policy, node);
		finish_call(im, policy, node, changed, lost);
		while ((key = sees_change(node, changed, lost)) != NULL)
			condition_lost(im, policy, node, key,
				"the condition sees a change of a node before; conditions see the "
				"route as received");
		if (jumps) {
			json_object_update(changed, json_object_get(node, "set"));
			lost = lost || json_object_get(node, "_lost") != NULL ||
			       json_object_get(node, "call") != NULL;
		}
		/* without this node a route could reach a later permit that the file keeps from it */
		if ((jumps || calls) && json_object_get(node, IMPORT_WIDER) != NULL) {
			json_object_del(node, IMPORT_WIDER);
			json_object_del(node, "_goto");
			json_object_del(node, "set");
			json_object_del(node, "call");
			json_object_set_new(node, "action", json_string("deny"));
		}
	}
	for (i = json_array_size(nodes); i-- > 0;) {
		if (json_object_get(json_array_get(nodes, i), IMPORT_WIDER) != NULL)
			json_array_remove(nodes, i);
	}
	finish_jumps(nodes, last);
	json_decref(changed);
}

/* Takes the nodes. Returns the name of a new policy, or of the policy with equal nodes. */
static json_t *
filter_policy(struct import *im, json_t *nodes)
{
	json_t *policies = member_made(im->document, "route_policies", json_array()), *policy;
	char name[32];
	size_t i;

	json_array_foreach(policies, i, policy)
	{
		if (json_object_get(policy, "_filter") != NULL &&
			json_equal(json_object_get(policy, "nodes"), nodes)) {
			json_decref(nodes);
			return json_object_get(policy, "name");
		}
	}
	do
		snprintf(name, sizeof(name), "filter-%u", ++im->filters);
	while (import_named(policies, "name", name) != NULL);
	policy = json_pack("{s:s, s:o, s:b}", "name", name, "nodes", nodes, "_filter", true);
	json_array_append_new(policies, policy);
	return json_object_get(policy, "name");
}

/* Puts deny-all in the place of a missing policy. */
static void
check_policy(struct import *im, json_t *o, const char *key)
{
	const char *name = json_string_value(json_object_get(o, key));

	if (name == NULL || is(name, "accept-all") || is(name, "deny-all") ||
		list_of(im, "route_policies", name) != NULL)
		return;
	import_end_report(im, name,
		im->missing_matches_all
			? "not carried: there is no policy of this name; no route passes"
			: "changed: there is no policy of this name; no route passes");
	json_object_set_new(o, key, json_string("deny-all"));
}

/* Joins the filters and the policy of a direction, which all must permit a route. */
static void
join_filters(struct import *im, json_t *family, const json_t *inherited, bool in)
{
	const char *policy_key = in ? "import_policy" : "export_policy",
		   *filters_key = in ? "_filters_in" : "_filters_out", *key, *policy;
	json_t *own = json_object_get(family, filters_key), *filters = json_object(),
	       *nodes = json_array(), *name, *node;
	json_int_t seq = 10;

	json_object_update(filters, json_object_get(inherited, filters_key));
	json_object_update(filters, own);
	policy = json_string_value(json_object_get(family, policy_key));
	if (json_object_size(filters) == 0 || (own == NULL && policy == NULL))
		goto out;
	if (policy == NULL)
		policy = json_string_value(json_object_get(inherited, policy_key));
	json_object_foreach(filters, key, name)
	{
		node = json_pack("{s:I, s:s}", "seq", seq, "action", "deny");
		if (json_is_string(name))
			json_object_set_new(
				node, "match", json_pack("{s:{s:O}}", "not", key, name));
		json_array_append_new(nodes, node);
		seq += 10;
	}
	node = json_pack(
		"{s:I, s:s}", "seq", seq, "action", is(policy, "deny-all") ? "deny" : "permit");
	if (policy != NULL && !is(policy, "accept-all") && !is(policy, "deny-all"))
		json_object_set_new(node, "call", json_string(policy));
	json_array_append_new(nodes, node);
	json_object_set(family, policy_key, filter_policy(im, json_incref(nodes)));
out:
	json_decref(filters);
	json_decref(nodes);
}

static void
check_policies(struct import *im, json_t *array)
{
	const char *name;
	json_t *o, *f;
	size_t i;

	json_array_foreach(array, i, o)
	{
		check_policy(im, o, "policy");
		json_object_foreach(json_object_get(o, "families"), name, f)
		{
			check_policy(im, f, "import_policy");
			check_policy(im, f, "export_policy");
		}
	}
}

/* The families of a neighbour or a group. `group`: of the neighbour. */
static void
finish_families(struct import *im, json_t *o, const json_t *group)
{
	const char *name;
	json_t *f;

	json_object_foreach(json_object_get(o, "families"), name, f)
	{
		const json_t *inherited = json_object_get(json_object_get(group, "families"), name);

		join_filters(im, f, inherited, true);
		join_filters(im, f, inherited, false);
	}
}

/* Without an AS number keeld accepts neighbours of all numbers, and other daemons none. */
static void
drop_ranges(struct import *im, json_t *ranges, json_t *groups)
{
	for (size_t i = json_array_size(ranges); i-- > 0;) {
		json_t *range = json_array_get(ranges, i);
		const char *name = json_string_value(json_object_get(range, "group"));

		if (json_object_get(import_named(groups, "name", name), "asn") != NULL)
			continue;
		import_end_report(im, json_string_value(json_object_get(range, "prefix")),
			"not carried: group \"%.40s\" has no AS number; the range is left out",
			name);
		json_array_remove(ranges, i);
	}
}

/* keeld needs the group and the AS number of each neighbour. */
static void
drop_incomplete(struct import *im, json_t *peers, json_t *groups)
{
	for (size_t i = json_array_size(peers); i-- > 0;) {
		json_t *peer = json_array_get(peers, i), *name = json_object_get(peer, "group"),
		       *group = import_named(groups, "name", json_string_value(name));

		if (name != NULL && group == NULL) {
			import_end_report(im, json_string_value(json_object_get(peer, "address")),
				"not carried: there is no group \"%.40s\"; the neighbour is left "
				"out",
				json_string_value(name));
			json_array_remove(peers, i);
			continue;
		}
		if (json_object_get(peer, "asn") != NULL || json_object_get(group, "asn") != NULL)
			continue;
		import_end_report(im, json_string_value(json_object_get(peer, "address")),
			"not carried: the neighbour has no AS number, and is left out");
		json_array_remove(peers, i);
	}
}

/* Removes keys of the translation from the objects of an array, and from the objects in them. */
static void
strip_own_keys(json_t *value)
{
	const char *key;
	json_t *v;
	void *next;
	size_t i;

	json_array_foreach(value, i, v) strip_own_keys(v);
	json_object_foreach_safe(value, next, key, v)
	{
		if (*key == '_')
			json_object_del(value, key);
		else
			strip_own_keys(v);
	}
}

/* True if a neighbour or a group has the family. */
static bool
family_in_use(const struct import *im, const char *family)
{
	static const char *const homes[] = {"groups", "peers"};
	json_t *o;
	size_t i;

	for (unsigned h = 0; h < 2; h++) {
		json_array_foreach(json_object_get(im->bgp, homes[h]), i, o)
		{
			if (json_object_get(json_object_get(o, "families"), family) != NULL)
				return true;
		}
	}
	return false;
}

/* A source is redistributed in the families of the file alone, each with its own policy. */
static void
finish_redistribute(struct import *im)
{
	static const char *const names[] = {"ipv4-unicast", "ipv6-unicast"};
	json_t *o, *nodes, *first, *second;
	const char *source;
	char name[64];
	size_t i;

	json_array_foreach(json_object_get(im->bgp, "redistribute"), i, o)
	{
		json_t *families = json_object_get(o, "_families");

		if (families == NULL)
			continue;
		first = json_object_get(families, names[0]);
		second = json_object_get(families, names[1]);
		if ((first == NULL && !family_in_use(im, names[0])) ||
			(second == NULL && !family_in_use(im, names[1])) ||
			json_equal(first, second)) {
			json_object_update(o, first != NULL ? first : second);
			continue;
		}
		nodes = json_array();
		for (unsigned k = 0; k < 2; k++) {
			json_t *f = json_object_get(families, names[k]);
			const char *policy;

			if (f == NULL)
				continue;
			check_policy(im, f, "policy");
			policy = json_string_value(json_object_get(f, "policy"));
			if (is(policy, "deny-all"))
				continue;
			json_array_append_new(nodes,
				json_pack("{s:i, s:s, s:{s:s}, s:s*}", "seq", 10 * (int)(k + 1),
					"action", "permit", "match", "family", names[k], "call",
					is(policy, "accept-all") ? NULL : policy));
		}
		if (json_array_size(nodes) == 0) {
			json_object_set_new(o, "policy", json_string("deny-all"));
			json_decref(nodes);
			continue;
		}
		source = json_string_value(json_object_get(o, "source"));
		snprintf(name, sizeof(name), "redistribute-%s", source);
		for (unsigned k = 2; list_of(im, "route_policies", name) != NULL; k++)
			snprintf(name, sizeof(name), "redistribute-%s-%u", source, k);
		json_array_append_new(member_made(im->document, "route_policies", json_array()),
			json_pack("{s:s, s:o}", "name", name, "nodes", nodes));
		json_object_set_new(o, "policy", json_string(name));
	}
}

static void
finish_neighbours(struct import *im)
{
	json_t *peers = json_object_get(im->bgp, "peers"),
	       *groups = json_object_get(im->bgp, "groups"), *o;
	size_t i;

	drop_incomplete(im, peers, groups);
	drop_ranges(im, json_object_get(im->bgp, "listen_ranges"), groups);
	import_check_neighbours(im);
	check_policies(im, groups);
	check_policies(im, peers);
	finish_redistribute(im);
	check_policies(im, json_object_get(im->bgp, "redistribute"));
	/* a neighbour joins filters of its group, so groups come last */
	json_array_foreach(peers, i, o) finish_families(im, o,
		import_named(groups, "name", json_string_value(json_object_get(o, "group"))));
	json_array_foreach(groups, i, o) finish_families(im, o, NULL);
}

/*
 * keeld does not keep the tag of a static route. A policy for routes to a neighbour sees no tag, so its
 * conditions on tags are lost.
 */
static void
finish_tags(struct import *im, const char *name)
{
	json_t *policy = list_of(im, "route_policies", name), *node;
	size_t i;

	if (policy == NULL || json_object_get(policy, "_tags") != NULL)
		return;
	json_object_set_new(policy, "_tags", json_true());
	json_array_foreach(json_object_get(policy, "nodes"), i, node)
	{
		const char *callee = json_string_value(json_object_get(node, "call"));

		if (json_object_get(json_object_get(node, "match"), "tag") != NULL) {
			/* without the node, its jump to the next node changes nothing */
			if (callee == NULL &&
				number_of(node, "_goto") == number_of(node, "seq") + 1)
				json_object_del(node, "_goto");
			condition_lost(im, policy, node, "tag",
				"routes have no tag in a policy for a neighbour");
		}
		if (callee != NULL)
			finish_tags(im, callee);
	}
}

static void
finish_exports(struct import *im, json_t *array)
{
	const char *name;
	json_t *o, *f;
	size_t i;

	json_array_foreach(array, i, o)
	{
		json_object_foreach(json_object_get(o, "families"), name, f)
			finish_tags(im, json_string_value(json_object_get(f, "export_policy")));
	}
}

/* The node denies, because the policies that it calls are too many or too large. */
static void
drop_call(struct import *im, const char *policy, json_t *node)
{
	static const char *const keys[] = {"call", "goto", "set"};

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		json_object_del(node, keys[i]);
	json_object_set_new(node, "action", json_string("deny"));
	import_end_report(im, policy,
		"not carried: node %lld: calls of too many policies or nodes; the node denies",
		number_of(node, "seq"));
}

/*
 * keeld puts the nodes of a called policy in the place of each call, twice where a node has a jump. Returns
 * the number of nodes, and the policies in the longest chain of calls. `known`: {policy: [both]}.
 */
static json_int_t
limit_calls(struct import *im, const char *name, json_t *known, json_int_t *chain)
{
	json_t *policy = list_of(im, "route_policies", name), *node,
	       *both = json_object_get(known, name);
	json_int_t nodes = 2, its_chain;
	bool jumps = false;
	size_t i;

	*chain = json_integer_value(json_array_get(both, 1));
	if (both != NULL)
		return json_integer_value(json_array_get(both, 0));
	json_array_foreach(json_object_get(policy, "nodes"), i, node)
	{
		const char *callee = json_string_value(json_object_get(node, "call"));
		json_int_t more = callee != NULL ? limit_calls(im, callee, known, &its_chain) : 0;

		if (callee != NULL &&
			(nodes + more > CALLED_NODES_MAX || its_chain >= CALL_CHAIN_MAX)) {
			drop_call(im, name, node);
			callee = NULL;
		}
		nodes += 2 + (callee != NULL ? more : 0);
		jumps = jumps || json_object_get(node, "goto") != NULL;
		if (callee != NULL && its_chain > *chain)
			*chain = its_chain;
	}
	++*chain;
	nodes *= jumps ? 2 : 1;
	json_object_set_new(known, name, json_pack("[I, I]", nodes, *chain));
	return nodes;
}

static void
limit_all_calls(struct import *im)
{
	json_t *known = json_object(), *policy;
	json_int_t chain;
	size_t i;

	json_array_foreach(json_object_get(im->document, "route_policies"), i, policy)
		limit_calls(im, name_of(policy), known, &chain);
	json_decref(known);
}

void
import_finish(struct import *im)
{
	json_t *o, *entry;
	size_t i, k, count;

	finish_neighbours(im);
	finish_exports(im, json_object_get(im->bgp, "groups"));
	finish_exports(im, json_object_get(im->bgp, "peers"));
	for (unsigned s = 0; s < sizeof(list_sections) / sizeof(list_sections[0]); s++) {
		json_array_foreach(json_object_get(im->document, list_sections[s]), i, o)
		{
			sort(json_object_get(o, "entries"));
			json_array_foreach(json_object_get(o, "entries"), k, entry)
				json_object_del(entry, "seq");
		}
	}
	count = json_array_size(json_object_get(im->document, "route_policies"));
	for (i = 0; i < count; i++)
		finish_policy(
			im, json_array_get(json_object_get(im->document, "route_policies"), i));
	import_gateways(im);
	limit_all_calls(im);
	strip_own_keys(im->document);
	import_check_texts(im, im->document);
}

/* `seen`: policies of the walk so far. */
static bool
any_node(const struct import *im, const char *name, bool (*test)(const json_t *node), json_t *seen)
{
	json_t *node;
	size_t i;

	if (name == NULL || json_object_get(seen, name) != NULL)
		return false;
	json_object_set_new(seen, name, json_true());
	json_array_foreach(json_object_get(list_of(im, "route_policies", name), "nodes"), i, node)
	{
		if (test(node) ||
			any_node(im, json_string_value(json_object_get(node, "call")), test, seen))
			return true;
	}
	return false;
}

bool
import_any_node(const struct import *im, const char *policy, bool (*test)(const json_t *node))
{
	json_t *seen = json_object();
	bool any = any_node(im, policy, test, seen);

	json_decref(seen);
	return any;
}

static bool
validates(const json_t *node)
{
	return json_object_get(json_object_get(node, "match"), "validation") != NULL;
}

void
import_check_validation(struct import *im)
{
	static const char *const homes[] = {"groups", "peers"};
	const char *name, *family;
	json_t *o, *f;
	size_t i;

	json_array_foreach(json_object_get(im->bgp, "redistribute"), i, o)
	{
		name = json_string_value(json_object_get(o, "policy"));
		if (!import_any_node(im, name, validates))
			continue;
		import_end_report(im, name,
			"not carried: validation in a policy for redistribution; no route is "
			"redistributed");
		json_object_set_new(o, "policy", json_string("deny-all"));
	}
	for (unsigned h = 0; h < 2; h++) {
		json_array_foreach(json_object_get(im->bgp, homes[h]), i, o)
		{
			json_object_foreach(json_object_get(o, "families"), family, f)
			{
				name = json_string_value(json_object_get(f, "export_policy"));
				if (!import_any_node(im, name, validates))
					continue;
				import_end_report(im, name,
					"not carried: validation in an export policy; no route is "
					"advertised");
				json_object_set_new(f, "export_policy", json_string("deny-all"));
			}
		}
	}
}
