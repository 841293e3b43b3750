/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * import vrp: the lines that `display current-configuration` of VRP prints. A line is carried if a key of
 * keel.json has the same meaning.
 */
#include "control/cli/keelctl_import.h"

#include <arpa/inet.h>
#include <stdlib.h>

static bool
not_known(struct import *im)
{
	return import_verdict(im, "not carried: keel.json has no key of this meaning");
}

/* ADDRESS and LENGTH or MASK as a prefix; false: no prefix. */
static bool
prefix_text(const char *address, const char *length, char buf[64])
{
	unsigned char a[16], m[4];
	char text[INET6_ADDRSTRLEN];
	json_int_t n;
	int family;

	if (address == NULL || length == NULL)
		return false;
	if (inet_pton(AF_INET, length, m) == 1) {
		unsigned mask =
			(unsigned)m[0] << 24 | (unsigned)m[1] << 16 | (unsigned)m[2] << 8 | m[3];

		n = __builtin_popcount(mask);
		if (n > 0 && mask != 0xffffffffu << (32 - n))
			return false;
	} else if (!import_number(length, &n)) {
		return false;
	}
	family = strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
	if (inet_pton(family, address, a) != 1 || n > (family == AF_INET ? 32 : 128))
		return false;
	for (json_int_t i = n; i < (family == AF_INET ? 32 : 128); i++)
		a[i / 8] = (unsigned char)(a[i / 8] & ~(0x80 >> i % 8));
	inet_ntop(family, a, text, sizeof(text));
	snprintf(buf, 64, "%s/%d", text, (int)n);
	return true;
}

/* ---- lists ---- */

/* Takes [index N]; returns N, or NULL. */
static const char *
take_index(char ***w, unsigned *n)
{
	const char *index = NULL;

	if (*n > 2 && is((*w)[0], "index")) {
		index = (*w)[1];
		*w += 2;
		*n -= 2;
	}
	return index;
}

static bool
is_action(const char *word)
{
	return is(word, "permit") || is(word, "deny");
}

/* NAME [index N] {permit | deny} ADDRESS LENGTH [greater-equal N] [less-equal N] */
static bool
prefix_list(struct import *im, char **w, unsigned n)
{
	const char *name = w[0], *index, *action;
	char text[64];
	json_t *entry;

	w++;
	n--;
	index = take_index(&w, &n);
	action = w[0];
	if (n < 3 || !is_action(action) || !prefix_text(w[1], w[2], text))
		return import_list_partial(im, "prefix_lists", name), false;
	entry = json_pack("{s:s, s:s}", "action", action, "prefix", text);
	for (unsigned i = 3; i < n; i += 2) {
		const char *key = is(w[i], "greater-equal") ? "ge"
				  : is(w[i], "less-equal")  ? "le"
							    : NULL;

		if (key == NULL || i + 1 >= n || !import_set_number(im, entry, key, w[i + 1]) ||
			*im->verdict == 'n') {
			json_decref(entry);
			return import_list_partial(im, "prefix_lists", name), false;
		}
	}
	return import_list_entry(im, "prefix_lists", name, index, entry);
}

/* NAME [index N] {permit | deny} VALUE; `kind`: put before the value */
static bool
value_list(struct import *im, const char *section, const char *key, const char *kind, char **w,
	unsigned n)
{
	const char *name = w[0], *index;
	char text[256];

	w++;
	n--;
	index = take_index(&w, &n);
	if (n < 2 || !is_action(w[0]))
		return import_list_partial(im, section, name), false;
	if (n > 2 || is(w[1], "internet")) {
		import_list_partial(im, section, name);
		return import_verdict(im, n > 2 ? "not carried: an entry takes one value"
						: "not carried: \"internet\" is every route");
	}
	if ((is(key, "community") || is(key, "large_community")) &&
		!import_community(im, w[1], is(key, "large_community"), text))
		return import_list_partial(im, section, name), false;
	if (!is(key, "community") && !is(key, "large_community") &&
		snprintf(text, sizeof(text), "%s%s", kind, w[1]) >= (int)sizeof(text)) {
		import_list_partial(im, section, name);
		return import_verdict(im, "not carried: the expression is too long");
	}
	if (is(key, "ext_community") && !import_route_target(w[1], text)) {
		import_list_partial(im, section, name);
		return import_verdict(im, "not carried: \"%.32s\" is no route target", w[1]);
	}
	return import_list_entry(
		im, section, name, index, json_pack("{s:s, s:s}", "action", w[0], key, text));
}

/* Lines that begin with ip; `w`: after it. */
static bool
ip_list(struct import *im, char **w, unsigned n)
{
	json_int_t number;
	bool basic = n > 2 && is(w[1], "basic");

	if (is(w[0], "ip-prefix") || is(w[0], "ipv6-prefix"))
		return n > 3 && prefix_list(im, w + 1, n - 1);
	if (is(w[0], "as-path-filter"))
		return n > 3 && value_list(im, "as_path_lists", "regex", "", w + 1, n - 1);
	if (is(w[0], "community-filter") &&
		(basic || (import_number(w[1], &number) && number < 100)))
		return value_list(
			im, "community_lists", "community", "", w + 1 + basic, n - 1 - basic);
	if (is(w[0], "large-community-filter") && basic)
		return value_list(im, "large_community_lists", "large_community", "", w + 2, n - 2);
	if (is(w[0], "extcommunity-filter") && (basic || import_number(w[1], &number)) && n > 4 &&
		is(w[n - 2], "rt")) {
		w[n - 2] = w[n - 1];
		return value_list(im, "ext_community_lists", "ext_community", "rt:", w + 1 + basic,
			n - 2 - basic);
	}
	return false;
}

/* ADDRESS LENGTH {NEXT-HOP | NULL0} [tag N] [description TEXT] */
static bool
static_route(struct import *im, char **w, unsigned n)
{
	char text[64], why[64];
	json_t *o;

	if (n < 3 || !prefix_text(w[0], w[1], text))
		return false;
	o = json_pack("{s:s}", "prefix", text);
	if (is(w[2], "NULL0") || is(w[2], "NULL") || is(w[2], "Null0"))
		json_object_set_new(o, "blackhole", json_true());
	else if (text_is_address(w[2]))
		json_object_set_new(o, "next_hop", json_string(w[2]));
	else
		return json_decref(o),
		       import_verdict(im, "not carried: write the address of the next hop");
	for (unsigned i = 3; i < n; i += 2) {
		if (i + 1 < n && is(w[i], "tag"))
			import_set_number(im, o, "tag", w[i + 1]);
		else if (i + 1 < n && is(w[i], "description"))
			json_object_set_new(o, "description", json_string(w[i + 1]));
		else
			return json_decref(o),
			       import_verdict(im,
				       "not carried: keel.json has no key for \"%.32s\" of a route",
				       w[i]);
	}
	return import_static_route(im, o, why) || import_verdict(im, "%s", why);
}

/* ---- route policies ---- */

/* The least number of a node is 0 in VRP, and 1 here: what is added to the numbers of the policy. */
static json_int_t
move_nodes(struct import *im, const char *name, bool zero)
{
	char buf[64];
	json_t *policy = import_element(
		       im->document, "route_policies", "name", import_name(im, name, buf)),
	       *node;
	size_t i;

	if (zero && json_object_get(policy, "_moved") == NULL) {
		json_object_set_new(policy, "_moved", json_true());
		json_object_set_new(
			policy, "_last", json_integer((json_int_t)number_of(policy, "_last") + 1));
		json_array_foreach(json_object_get(policy, "nodes"), i, node) json_object_set_new(
			node, "seq", json_integer((json_int_t)number_of(node, "seq") + 1));
	}
	return json_object_get(policy, "_moved") != NULL;
}

static bool
route_policy(struct import *im, char **w, unsigned n)
{
	json_int_t seq;

	if (n != 4 || !is_action(w[1]) || !is(w[2], "node") || !import_number(w[3], &seq) ||
		seq > IMPORT_NODE_MAX)
		return false;
	return import_node(im, w[0], seq + move_nodes(im, w[0], seq == 0), w[1]);
}

/* Names of lists; one of them must match. */
static bool
match_lists(struct import *im, const char *key, char **w, unsigned n)
{
	json_t *match = member_made(im->node, "match", json_object()), *names;
	char buf[64];

	if (n == 0 || json_object_get(match, key) != NULL)
		return false;
	names = json_array();
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(names, json_string(import_name(im, w[i], buf)));
	if (n == 1) {
		json_object_set(match, key, json_array_get(names, 0));
		json_decref(names);
		return true;
	}
	return json_object_set_new(match, key, names) == 0;
}

/* A prefix list, and its family: a name may stand for a list of each family. */
static bool
match_prefixes(struct import *im, json_t *match, bool ipv6, char *name)
{
	if (json_object_get(match, "prefix_list") != NULL)
		return false;
	json_object_set_new(
		im->node, IMPORT_FAMILY, json_string(ipv6 ? "ipv6-unicast" : "ipv4-unicast"));
	return match_lists(im, "prefix_list", &name, 1);
}

static bool
if_match(struct import *im, char **w, unsigned n)
{
	static const struct {
		const char *word, *key;
	} lists[] = {{"ip-prefix", "prefix_list"}, {"as-path-filter", "as_path_list"},
		{"community-filter", "community_list"},
		{"large-community-filter", "large_community_list"},
		{"extcommunity-filter", "ext_community_list"}},
	  sources[] = {{"direct", "connected"}, {"static", "static"}};
	json_t *match = member_made(im->node, "match", json_object());

	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		if (is(w[0], lists[i].word))
			return i == 0 ? n == 2 && match_prefixes(im, match, false, w[1])
				      : !is(w[n - 1], "whole-match") &&
						match_lists(im, lists[i].key, w + 1, n - 1);
	}
	if (n == 4 && is(w[0], "ipv6") && is(w[1], "address") && is(w[2], "prefix-list"))
		return match_prefixes(im, match, true, w[3]);
	if (n == 4 && is(w[0], "ip") && is(w[1], "next-hop") && is(w[2], "ip-prefix"))
		return match_lists(im, "next_hop_prefix_list", w + 3, 1);
	if (n == 2 && (is(w[0], "cost") || is(w[0], "tag")) &&
		json_object_get(match, is(w[0], "cost") ? "med" : "tag") == NULL)
		return import_set_number(im, match, is(w[0], "cost") ? "med" : "tag", w[1]);
	if (n == 3 && is(w[0], "rpki") && is(w[1], "origin-as-validation") &&
		(is(w[2], "valid") || is(w[2], "invalid") || is(w[2], "not-found")))
		return json_object_set_new(match, "validation", json_string(w[2])) == 0;
	for (unsigned i = 0; i < 2 && n == 2 && is(w[0], "protocol"); i++) {
		if (is(w[1], sources[i].word))
			return json_object_set_new(match, "source", json_string(sources[i].key)) ==
			       0;
	}
	return false;
}

static bool
apply(struct import *im, char **w, unsigned n)
{
	json_t *set = member_made(im->node, "set", json_object());
	json_int_t asn;

	if (n == 2 && is(w[0], "local-preference"))
		return import_set_number(im, set, "local_pref", w[1]);
	if (n == 2 && is(w[0], "cost") && w[1][0] >= '0' && w[1][0] <= '9')
		return import_set_number(im, set, "med", w[1]);
	if (n == 2 && is(w[0], "tag"))
		return import_set_number(im, set, "tag", w[1]);
	if (n == 2 && is(w[0], "origin") && (is(w[1], "igp") || is(w[1], "incomplete")))
		return json_object_set_new(set, "origin", json_string(w[1])) == 0;
	if (n >= 2 && is(w[0], "community"))
		return import_set_communities(im, set, "communities", w + 1, n - 1);
	if (n >= 2 && is(w[0], "large-community") &&
		(is(w[n - 1], "additive") || is(w[n - 1], "overwrite")))
		return import_set_communities(
			im, set, "large_communities", w + 1, n - 1 - is(w[n - 1], "overwrite"));
	if (n == 3 && (is(w[0], "ip-address") || is(w[0], "ipv6")) && is(w[1], "next-hop") &&
		text_is_address(w[2]))
		return import_next_hop(im, set, w[2]);
	if (n >= 3 && is(w[0], "as-path") && is(w[n - 1], "additive") &&
		n - 2 <= IMPORT_PREPEND_MAX && import_asn(w[1], &asn)) {
		for (unsigned i = 2; i + 1 < n; i++) {
			if (!is(w[i], w[1]))
				return import_verdict(
					im, "not carried: only one AS number is prepended");
		}
		return json_object_set_new(set, "as_path_prepend",
			       json_pack("{s:I, s:i}", "asn", asn, "count", (int)n - 2)) == 0;
	}
	return false;
}

/* A permit node without one of its conditions would permit too much; import_finish() removes the node. */
static bool
policy_line(struct import *im, char **w, unsigned n)
{
	if (n > 1 && is(w[0], "apply"))
		return apply(im, w + 1, n - 1);
	if (n > 1 && is(w[0], "description"))
		return json_object_set_new(im->node, "description", json_string(w[1])) == 0;
	if (n > 2 && is(w[0], "if-match") && if_match(im, w + 1, n - 1) && *im->verdict != 'n')
		return true;
	json_object_set_new(im->node, IMPORT_DENY_WIDER, json_true());
	if (!is(json_string_value(json_object_get(im->node, "action")), "permit"))
		return false;
	json_object_set_new(im->node, IMPORT_WIDER, json_true());
	if (is(w[0], "goto")) { /* import_finish() makes the node a deny */
		json_object_set_new(im->node, "_goto", json_integer(0));
		return import_verdict(
			im, "not carried: node %lld denies", number_of(im->node, "seq"));
	}
	return import_verdict(im, "not carried: node %lld would permit too much, and is left out",
		number_of(im->node, "seq"));
}

/* ---- bgp ---- */

static json_t *
peer_of(const struct import *im, const char *name)
{
	return text_is_address(name)
		       ? import_peer(im, name)
		       : import_named(json_object_get(im->bgp, "groups"), "name", name);
}

static bool
route_limit(struct import *im, json_t *f, char **w, unsigned n)
{
	json_t *max = json_pack("{s:s}", "action", "discard");
	bool said = false; /* what happens at the limit */
	json_int_t minutes;

	if (!import_set_number(im, max, "limit", w[0]) || *im->verdict == 'n')
		return json_decref(max), false;
	json_object_set_new(f, "max_prefixes", max);
	for (unsigned i = 1; i < n; i++) {
		said = said || w[i][0] > '9';
		json_object_del(max, "restart_s");
		/* with alert-only VRP accepts no further routes */
		if (is(w[i], "alert-only"))
			json_object_set_new(max, "action", json_string("discard"));
		else if (is(w[i], "idle-forever"))
			json_object_set_new(max, "action", json_string("shutdown"));
		else if (is(w[i], "discard"))
			json_object_set_new(max, "action", json_string("discard"));
		else if (is(w[i], "idle-timeout") && i + 1 < n &&
			 import_number(w[i + 1], &minutes) && minutes > 0) {
			json_object_set_new(max, "action", json_string("shutdown"));
			import_restart(im, max, minutes);
			i++;
		} else if (i == 1) {
			import_set_number(im, max, "threshold_percent", w[i]);
		} else {
			return false;
		}
	}
	return said ||
	       import_verdict(im, "not carried: write alert-only, idle-forever or idle-timeout");
}

/* {ip-prefix | as-path-filter | filter-policy} NAME {import | export} */
static bool
filter_line(struct import *im, json_t *family, char **w, unsigned n)
{
	const char *key = is(w[0], "ip-prefix") || is(w[0], "ipv6-prefix") ? "prefix_list"
			  : is(w[0], "as-path-filter")			   ? "as_path_list"
									   : NULL;
	char buf[64];

	import_filter(family, is(w[n - 1], "import"), key != NULL ? key : w[0],
		key != NULL && n == 3 ? import_name(im, w[1], buf) : NULL);
	return (key != NULL && n == 3) ||
	       import_verdict(im, "not carried: no route passes in this direction");
}

/* Lines of a family. `w`: after the name. */
static bool
family_line(struct import *im, json_t *o, char **w, unsigned n)
{
	static const struct {
		const char *word, *key;
	} switches[] = {{"enable", "enabled"}, {"keep-all-routes", "keep_all_routes"},
		{"next-hop-local", "next_hop_self"}, {"substitute-as", "as_override"},
		{"default-route-advertise", "default_originate"},
		{"public-as-only", "remove_private_as"},
		{"next-hop-invariable", "next_hop_unchanged"}};
	json_t *f =
		member_made(member_made(o, "families", json_object()), im->family, json_object());
	char buf[64];

	if (n == 1 && is(w[0], "public-as-only"))
		import_verdict(im, "changed: private AS numbers are removed from all paths");
	for (unsigned i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
		if (n == 1 && is(w[0], switches[i].word))
			return json_object_set_new(f, switches[i].key, json_true()) == 0;
	}
	if (n > 1 && !is(w[0], "route-policy") &&
		(is(w[n - 1], "import") || is(w[n - 1], "export")))
		return filter_line(im, f, w, n);
	if (n == 3 && is(w[0], "route-policy") && (is(w[2], "import") || is(w[2], "export")))
		return json_object_set_new(f,
			       is(w[2], "import") ? "import_policy" : "export_policy",
			       json_string(import_name(im, w[1], buf))) == 0;
	if (n == 1 && is(w[0], "reflect-client"))
		return json_object_set_new(f, "_route_reflector_client", json_true()) == 0;
	if (is(w[0], "allow-as-loop"))
		return n == 1 ? json_object_set_new(f, "allow_as_in", json_integer(1)) == 0
			      : import_set_number(im, f, "allow_as_in", w[1]);
	if (n == 1 && (is(w[0], "advertise-community") || is(w[0], "advertise-ext-community") ||
			      is(w[0], "advertise-large-community"))) {
		import_verdict(im, "changed: communities of all kinds are sent");
		return json_object_set_new(f, "send_communities", json_true()) == 0;
	}
	return n >= 2 && is(w[0], "route-limit") && route_limit(im, f, w + 1, n - 1);
}

static bool
set_asn(struct import *im, json_t *o, const char *text)
{
	json_int_t n;

	if (!import_asn(text, &n))
		return import_verdict(im, "not carried: \"%.32s\" is not an AS number", text);
	return json_object_set_new(o, "asn", json_integer(n)) == 0;
}

static bool
peer_line(struct import *im, char **w, unsigned n)
{
	const char *name = w[0], *what = n > 1 ? w[1] : "";
	json_t *o, *timers;
	char buf[64];

	if (!text_is_address(name))
		name = import_name(im, name, buf);
	if (n == 3 && is(what, "as-number")) {
		o = text_is_address(name) ? import_peer_made(im, name)
					  : import_element(im->bgp, "groups", "name", name);
		return set_asn(im, o, w[2]);
	}
	if (n == 3 && is(what, "group") && text_is_address(name)) {
		char group[64];

		return json_object_set_new(import_peer_made(im, name), "group",
			       json_string(import_name(im, w[2], group))) == 0;
	}
	o = peer_of(im, name);
	if (o == NULL)
		return import_verdict(im, "not carried: there is no peer \"%.64s\"", name);
	if (n >= 3 && is(what, "description"))
		return json_object_set_new(o, "description", json_string(w[2])) == 0;
	if (n == 4 && is(what, "password") && is(w[2], "simple"))
		return import_password(im, o, w[3]);
	if (n >= 4 && is(what, "password"))
		return import_verdict(
			im, "not carried: write the key of the session; this one is encrypted");
	if (n == 4 && is(what, "connect-interface") && text_is_address(w[3]))
		return json_object_set_new(o, "source", json_string(w[3])) == 0;
	if (n == 3 && is(what, "connect-interface"))
		return import_verdict(
			im, "not carried: write the address of interface %.32s", w[2]);
	if (is(what, "ebgp-max-hop") && n <= 3)
		return import_set_number(im, o, "multihop", n == 3 ? w[2] : "255");
	if (n == 2 && is(what, "ignore"))
		return json_object_set_new(o, "shutdown", json_true()) == 0;
	if (n == 2 && is(what, "listen-only"))
		return json_object_set_new(o, "passive", json_true()) == 0;
	if (n == 3 && is(what, "valid-ttl-hops") && is(w[2], "1"))
		return json_object_set_new(o, "gtsm", json_true()) == 0;
	if (n == 3 && is(what, "capability-advertise") && is(w[2], "route-refresh"))
		return true;
	if (n == 6 && is(what, "timer") && is(w[2], "keepalive") && is(w[4], "hold")) {
		timers = member_made(o, "timers", json_object());
		return import_timers(im, timers, w[3], w[5]);
	}
	if (n == 4 && is(what, "timer") && is(w[2], "connect-retry"))
		return import_set_number(
			im, member_made(o, "timers", json_object()), "connect_retry_s", w[3]);
	return n > 1 && family_line(im, o, w + 1, n - 1);
}

static bool
import_route(struct import *im, char **w, unsigned n)
{
	const char *source = is(w[0], "direct")	  ? "connected"
			     : is(w[0], "static") ? "static"
						  : NULL;

	if (source == NULL || (n != 1 && !(n == 3 && is(w[1], "route-policy"))))
		return false;
	return import_redistribute(im, source, n == 3 ? w[2] : NULL);
}

static bool
network(struct import *im, char **w, unsigned n)
{
	char text[64];

	/* without a mask the class of the address counts */
	if (n != 2 || !prefix_text(w[0], w[1], text))
		return false;
	import_verdict(im, "changed: announced without a route in the table");
	import_prefix_once(im, "networks", json_pack("{s:s}", "prefix", text));
	return true;
}

/* filter-policy LIST {import | export [SOURCE]}: of all peers */
static bool
family_filter(struct import *im, char **w, unsigned n)
{
	json_t *filters = member_made(
		member_made(im->bgp, "_filtered", json_object()), im->family, json_object());

	for (unsigned i = 1; i < n; i++) {
		if (is(w[i], "import") || is(w[i], "export"))
			json_object_set_new(filters, w[i], json_true());
	}
	return import_verdict(im, "not carried: no route passes in this direction");
}

static bool
undo_line(struct import *im, char **w, unsigned n)
{
	if (n == 2 && is(w[0], "default") && is(w[1], "ipv4-unicast"))
		return im->no_default_family = true;
	if (n == 1 && is(w[0], "check-first-as"))
		return json_object_set_new(im->bgp, "_first_as", json_false()) == 0;
	if (n == 1 && (is(w[0], "synchronization") || is(w[0], "summary")))
		return true;
	if (n == 3 && is(w[0], "peer") && is(w[2], "enable") && im->family != NULL) {
		json_t *o = peer_of(im, w[1]);

		return o != NULL &&
		       json_object_set_new(member_made(member_made(o, "families", json_object()),
						   im->family, json_object()),
			       "enabled", json_false()) == 0;
	}
	return false;
}

static bool
bgp_line(struct import *im, char **w, unsigned n)
{
	json_t *router = json_object_get(im->document, "router"), *group;
	json_int_t id;
	char buf[64];

	if (n <= 2 && (is(w[0], "ipv4-family") || is(w[0], "ipv6-family"))) {
		im->family = n == 2 && !is(w[1], "unicast") ? NULL
			     : is(w[0], "ipv4-family")	    ? "ipv4-unicast"
							    : "ipv6-unicast";
		return im->family != NULL;
	}
	if (strstr(w[0], "-family") != NULL || is(w[0], "vpn-instance"))
		return im->family = NULL, false;
	if (im->family == NULL)
		return import_verdict(
			im, "not carried: the lines of this address family are left out");
	if (n == 1 && is(w[0], "quit"))
		return im->family = "ipv4-unicast", true;
	if (n >= 3 && is(w[0], "peer"))
		return peer_line(im, w + 1, n - 1);
	if (n == 2 && is(w[0], "router-id"))
		return import_set_id(im, router, "router_id", w[1]);
	if (n == 3 && is(w[0], "reflector") && is(w[1], "cluster-id") && import_number(w[2], &id) &&
		id > 0)
		return json_object_set_new(im->bgp, "cluster_id", json_integer(id)) == 0;
	if (n == 3 && is(w[0], "reflector") && is(w[1], "cluster-id"))
		return import_set_id(im, im->bgp, "cluster_id", w[2]);
	if (n >= 2 && n <= 3 && is(w[0], "group")) {
		group = import_element(im->bgp, "groups", "name", import_name(im, w[1], buf));
		if (n == 2 || is(w[2], "internal")) /* internal is the default of a group */
			json_object_set(group, "asn", json_object_get(router, "asn"));
		return n == 2 || is(w[2], "internal") || is(w[2], "external");
	}
	if (n == 2 && is(w[0], "default-route") && is(w[1], "imported"))
		return json_object_set_new(member_made(im->bgp, "_default", json_object()),
			       im->family, json_true()) == 0;
	if (n > 2 && is(w[0], "filter-policy"))
		return family_filter(im, w, n);
	if (is(w[0], "network"))
		return network(im, w + 1, n - 1);
	if (n > 1 && is(w[0], "import-route"))
		return import_route(im, w + 1, n - 1);
	if (n == 3 && is(w[0], "maximum") && is(w[1], "load-balancing"))
		return import_max_paths(im, w[2]);
	if (n == 2 && (is(w[0], "private-4-byte-as") || is(w[0], "check-first-as")))
		return true;
	return n == 1 && is(w[0], "check-first-as");
}

/* ---- lines ---- */

static bool
top_line(struct import *im, char **w, unsigned n)
{
	static const char *const idle[] = {
		"sysname", "return", "quit", "clock", "header", "user-interface", "info-center"};

	im->in_bgp = false;
	im->node = NULL;
	im->family = "ipv4-unicast";
	if (n == 2 && is(w[0], "bgp")) {
		json_t *router = json_object_get(im->document, "router");
		json_int_t asn;

		if (json_object_get(router, "asn") != NULL &&
			(!import_asn(w[1], &asn) || number_of(router, "asn") != asn))
			return import_verdict(im, "not carried: a further router");
		im->in_bgp = true;
		return set_asn(im, router, w[1]);
	}
	if (n == 3 && is(w[0], "router") && is(w[1], "id"))
		return import_set_id(
			im, json_object_get(im->document, "router"), "router_id", w[2]);
	if (n > 1 && is(w[0], "route-policy"))
		return route_policy(im, w + 1, n - 1);
	if (n > 2 && (is(w[0], "ip") || is(w[0], "ipv6")) && is(w[1], "route-static"))
		return static_route(im, w + 2, n - 2);
	if (n > 3 && is(w[0], "ip"))
		return ip_list(im, w + 1, n - 1);
	for (unsigned i = 0; i < sizeof(idle) / sizeof(idle[0]); i++) {
		if (is(w[0], idle[i]))
			return true;
	}
	return false;
}

static void
vrp_line(struct import *im, bool indented, char **w, unsigned n)
{
	bool undo = is(w[0], "undo") && n > 1, done;

	indented = indented || (im->node != NULL && (is(w[0], "if-match") || is(w[0], "apply")));
	if (!indented)
		done = top_line(im, w, n);
	else if (im->in_bgp)
		done = undo ? im->family != NULL && undo_line(im, w + 1, n - 1)
			    : bgp_line(im, w, n);
	else
		done = im->node != NULL && !undo && policy_line(im, w, n);
	if (!done && *im->verdict != 'n')
		not_known(im);
}

/* What VRP does where no line says otherwise: all routes pass, IPv4 is enabled, no communities are sent. */
static void
peer_defaults(const struct import *im, json_t *peer)
{
	const json_t *group = import_group_of(im, peer),
		     *filtered = json_object_get(im->bgp, "_filtered");
	json_t *families = member_made(peer, "families", json_object()), *f;
	static const char *const ways[] = {"import", "export"};
	const char *name;

	if (json_object_get(im->bgp, "_first_as") != NULL)
		json_object_set_new(peer, "enforce_first_as", json_false());
	if (!im->no_default_family)
		member_made(families, "ipv4-unicast", json_object());
	json_object_foreach(json_object_get(group, "families"), name, f)
		member_made(families, name, json_object());
	json_object_foreach(families, name, f)
	{
		const json_t *theirs = json_object_get(json_object_get(group, "families"), name);

		if (json_object_get(f, "enabled") == NULL &&
			json_object_get(theirs, "enabled") == NULL &&
			(im->no_default_family || !is(name, "ipv4-unicast")))
			json_object_set_new(f, "enabled", json_false());
		import_accept_all(f, theirs);
		for (unsigned k = 0; k < 2; k++) {
			if (json_object_get(json_object_get(filtered, name), ways[k]) != NULL)
				import_filter(f, k == 0, "filter-policy", NULL);
		}
		if (json_object_get(f, "send_communities") == NULL &&
			json_object_get(theirs, "send_communities") == NULL)
			json_object_set_new(f, "send_communities", json_false());
	}
}

static bool
has_default_route(const struct import *im)
{
	const char *prefix;
	json_t *route;
	size_t i;

	json_array_foreach(json_object_get(im->document, "static_routes"), i, route)
	{
		prefix = json_string_value(json_object_get(route, "prefix"));
		if (is(prefix, "0.0.0.0/0") || is(prefix, "::/0"))
			return true;
	}
	return false;
}

/* `import-route` imports a default route only with `default-route imported` of the family. */
static void
default_routes(struct import *im)
{
	json_t *static_routes =
		       import_named(json_object_get(im->bgp, "redistribute"), "source", "static"),
	       *f, *policies = member_made(im->document, "route_policies", json_array());
	const char *family, *old;
	char name[96];

	json_object_foreach(json_object_get(static_routes, "_families"), family, f)
	{
		old = json_string_value(json_object_get(f, "policy"));
		if (json_object_get(json_object_get(im->bgp, "_default"), family) != NULL ||
			!has_default_route(im) ||
			(old != NULL && import_named(policies, "name", old) == NULL))
			continue;
		snprintf(name, sizeof(name), "no-default%s%s", old != NULL ? "-" : "",
			old != NULL ? old : "");
		name[63] = '\0';
		import_unique(im, "the default route is not imported", name);
		if (import_named(policies, "name", name) == NULL) {
			json_array_append_new(policies,
				json_pack("{s:s, s:[{s:i, s:s, s:{s:s}}, {s:i, s:s, s:s*}]}",
					"name", name, "nodes", "seq", 10, "action", "deny", "match",
					"prefix_list", name, "seq", 20, "action", "permit", "call",
					old));
			json_object_set_new(
				import_element(im->document, "prefix_lists", "name", name),
				"entries",
				json_pack("[{s:s, s:s}, {s:s, s:s}]", "action", "permit", "prefix",
					"0.0.0.0/0", "action", "permit", "prefix", "::/0"));
		}
		json_object_set_new(f, "policy", json_string(name));
	}
}

void
import_vrp(struct import *im, FILE *in)
{
	json_t *peer;
	size_t at;

	im->missing_matches_all = true;
	im->own_next_hop = true;
	import_each_line(im, in, vrp_line);
	import_key_of_families(im, "route_reflector_client");
	json_array_foreach(json_object_get(im->bgp, "peers"), at, peer) peer_defaults(im, peer);
	default_routes(im);
}
