/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * import frr: a configuration of FRR. A line of bgpd and zebra is carried if a key of keel.json has the
 * same meaning.
 */
#include "control/cli/keelctl_import.h"

/* ---- lists ---- */

/* `words`: NAME [seq N] {permit | deny} PREFIX [ge N] [le N] */
static bool
prefix_list(struct import *im, char **w, unsigned n)
{
	const char *name = w[0], *seq = NULL;
	json_t *entry;

	if (n > 3 && is(w[1], "seq"))
		seq = w[2], w += 2, n -= 2;
	if (n < 3 || (!is(w[1], "permit") && !is(w[1], "deny")))
		return false;
	if (is(w[2], "any"))
		return import_verdict(im, "not carried: write 0.0.0.0/0 le 32, or ::/0 le 128");
	entry = json_pack("{s:s, s:s}", "action", w[1], "prefix", w[2]);
	for (unsigned i = 3; i + 1 < n; i += 2) {
		if (!is(w[i], "ge") && !is(w[i], "le"))
			return json_decref(entry), false;
		import_set_number(im, entry, w[i], w[i + 1]);
	}
	return import_list_entry(im, "prefix_lists", name, seq, entry);
}

/* `words`: NAME [seq N] {permit | deny} VALUE */
static bool
value_list(struct import *im, const char *section, const char *key, char **w, unsigned n)
{
	const char *name = w[0], *seq = NULL;

	if (n > 3 && is(w[1], "seq"))
		seq = w[2], w += 2, n -= 2;
	if (n < 3 || (!is(w[1], "permit") && !is(w[1], "deny")))
		return false;
	if (n > 3)
		return import_verdict(im,
			"not carried: an entry takes one value; all of several values "
			"are several conditions");
	return import_list_entry(
		im, section, name, seq, json_pack("{s:s, s:s}", "action", w[1], key, w[2]));
}

/* ---- route-maps ---- */

static bool
route_map(struct import *im, char **w, unsigned n)
{
	json_int_t seq;
	json_t *policy;
	char buf[64];

	if (n < 3 || (!is(w[1], "permit") && !is(w[1], "deny")) || !import_number(w[2], &seq))
		return false;
	policy = import_element(im->document, "route_policies", "name", import_name(im, w[0], buf));
	im->node = json_pack("{s:I, s:s}", "seq", seq, "action", w[1]);
	return json_array_append_new(import_made(policy, "nodes", json_array()), im->node) == 0;
}

static bool
match_line(struct import *im, char **w, unsigned n)
{
	static const struct {
		const char *words[3], *key;
	} lists[] = {{{"ip", "address", "prefix-list"}, "prefix_list"},
		{{"ipv6", "address", "prefix-list"}, "prefix_list"},
		{{"ip", "next-hop", "prefix-list"}, "next_hop_prefix_list"},
		{{"as-path"}, "as_path_list"}, {{"community"}, "community_list"},
		{{"large-community"}, "large_community_list"}};
	json_t *match = import_made(im->node, "match", json_object());
	char buf[64];

	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		unsigned len = 0;

		while (len < 3 && lists[i].words[len] != NULL && len < n &&
			is(lists[i].words[len], w[len]))
			len++;
		if (len == 0 || (len < 3 && lists[i].words[len] != NULL) || len + 1 != n)
			continue;
		if (json_object_get(match, lists[i].key) != NULL)
			return import_verdict(im, "not carried: a node matches one list of a kind");
		return json_object_set_new(
			       match, lists[i].key, json_string(import_name(im, w[len], buf))) == 0;
	}
	if (n == 2 && is(w[0], "metric"))
		return import_set_number(im, match, "med", w[1]);
	if (n == 2 && is(w[0], "local-preference"))
		return import_set_number(im, match, "local_pref", w[1]);
	if (n == 2 && is(w[0], "tag"))
		return import_set_number(im, match, "tag", w[1]);
	if (n == 2 && is(w[0], "origin"))
		return json_object_set_new(match, "origin", json_string(w[1])) == 0;
	if (n == 2 && is(w[0], "rpki") &&
		(is(w[1], "valid") || is(w[1], "invalid") || is(w[1], "notfound")))
		return json_object_set_new(match, "validation",
			       json_string(is(w[1], "notfound") ? "not-found" : w[1])) == 0;
	if (n == 2 && is(w[0], "peer") && text_is_address(w[1]))
		return json_object_set_new(match, "peer", json_string(w[1])) == 0;
	return false;
}

/* set {community | large-community}: values, and `additive` at the end. */
static bool
set_communities(json_t *set, const char *key, char **w, unsigned n)
{
	bool add = n > 1 && is(w[n - 1], "additive");
	json_t *list = json_array();

	for (unsigned i = 0; i < n - add; i++) {
		if (!is(w[i], "none"))
			json_array_append_new(list, json_string(w[i]));
	}
	return json_object_set_new(
		       import_made(set, key, json_object()), add ? "add" : "replace", list) == 0;
}

static bool
set_line_of(struct import *im, char **w, unsigned n)
{
	json_t *set = import_made(im->node, "set", json_object());
	json_int_t asn;

	if (n == 2 && is(w[0], "local-preference"))
		return import_set_number(im, set, "local_pref", w[1]);
	if (n == 2 && is(w[0], "metric"))
		return import_set_number(im, set, "med", w[1]);
	if (n == 2 && is(w[0], "tag"))
		return import_set_number(im, set, "tag", w[1]);
	if (n == 2 && is(w[0], "origin"))
		return json_object_set_new(set, "origin", json_string(w[1])) == 0;
	if (n >= 2 && is(w[0], "community"))
		return set_communities(set, "communities", w + 1, n - 1);
	if (n >= 2 && is(w[0], "large-community"))
		return set_communities(set, "large_communities", w + 1, n - 1);
	if (n == 3 && is(w[0], "ip") && is(w[1], "next-hop") && text_is_address(w[2]))
		return json_object_set_new(set, "next_hop", json_string(w[2])) == 0;
	if (n == 4 && is(w[0], "ipv6") && is(w[1], "next-hop") && is(w[2], "global"))
		return json_object_set_new(set, "next_hop", json_string(w[3])) == 0;
	if (n >= 3 && is(w[0], "as-path") && is(w[1], "prepend") && import_number(w[2], &asn)) {
		for (unsigned i = 3; i < n; i++) {
			if (!is(w[i], w[2]))
				return import_verdict(
					im, "not carried: only one AS number is prepended");
		}
		return json_object_set_new(set, "as_path_prepend",
			       json_pack("{s:I, s:i}", "asn", asn, "count", (int)n - 2)) == 0;
	}
	return false;
}

/* ---- router bgp ---- */

/* A neighbor or a peer group; NULL: unknown. */
static json_t *
neighbor(const struct import *im, const char *name)
{
	return text_is_address(name)
		       ? import_named(json_object_get(im->bgp, "peers"), "address", name)
		       : import_named(json_object_get(im->bgp, "groups"), "name", name);
}

static bool
remote_as(struct import *im, const char *name, const char *asn)
{
	json_t *o = text_is_address(name) ? import_element(im->bgp, "peers", "address", name)
					  : import_element(im->bgp, "groups", "name", name);

	/* bgpd checks the first AS number only with `enforce-first-as` */
	json_object_set_new(o, "enforce_first_as", json_false());
	if (is(asn, "internal"))
		return json_object_set(o, "asn",
			       json_object_get(json_object_get(im->document, "router"), "asn")) ==
		       0;
	if (is(asn, "external"))
		return import_verdict(im, "not carried: write the AS number of the peer");
	return import_set_number(im, o, "asn", asn);
}

/* Lines of a family. `w`: after the name. */
static bool
family_line(struct import *im, json_t *o, bool no, char **w, unsigned n)
{
	json_t *f =
		import_made(import_made(o, "families", json_object()), im->family, json_object());
	char buf[64];

	if (n == 1 && is(w[0], "activate"))
		return no ? json_object_set_new(f, "enabled", json_false()) == 0
			  : json_object_set_new(f, "enabled", json_true()) == 0;
	if (no)
		return false;
	if (n == 3 && is(w[0], "route-map") && (is(w[2], "in") || is(w[2], "out")))
		return json_object_set_new(f, is(w[2], "in") ? "import_policy" : "export_policy",
			       json_string(import_name(im, w[1], buf))) == 0;
	if (n == 1 && is(w[0], "next-hop-self"))
		return json_object_set_new(f, "next_hop_self", json_true()) == 0;
	if (n == 2 && is(w[0], "soft-reconfiguration") && is(w[1], "inbound"))
		return json_object_set_new(f, "keep_all_routes", json_true()) == 0;
	if (n == 1 && is(w[0], "route-reflector-client"))
		return json_object_set_new(o, "route_reflector_client", json_true()) == 0;
	if (n == 1 && is(w[0], "route-server-client"))
		return json_object_set_new(o, "route_server_client", json_true()) == 0;
	if (n == 1 && is(w[0], "as-override"))
		return json_object_set_new(f, "as_override", json_true()) == 0;
	if (n == 1 && is(w[0], "remove-private-AS"))
		return json_object_set_new(f, "remove_private_as", json_true()) == 0;
	if (n == 1 && is(w[0], "default-originate"))
		return json_object_set_new(f, "default_originate", json_true()) == 0;
	if (n == 1 && is(w[0], "allowas-in"))
		return json_object_set_new(f, "allow_as_in", json_integer(3)) == 0;
	if (n == 2 && is(w[0], "allowas-in"))
		return import_set_number(im, f, "allow_as_in", w[1]);
	if (n == 2 && is(w[0], "attribute-unchanged") && is(w[1], "next-hop"))
		return json_object_set_new(f, "next_hop_unchanged", json_true()) == 0;
	if (is(w[0], "send-community")) /* the default of both */
		return n == 1 || is(w[1], "both") || is(w[1], "all");
	if (n >= 2 && is(w[0], "maximum-prefix")) {
		json_t *limit = import_made(f, "max_prefixes", json_object());

		import_set_number(im, limit, "limit", w[1]);
		json_object_set_new(limit, "action",
			json_string(
				n > 2 && is(w[n - 1], "warning-only") ? "warning" : "shutdown"));
		return n == 2 || (n == 3 && is(w[2], "warning-only"));
	}
	return false;
}

static bool
neighbor_line(struct import *im, bool no, char **w, unsigned n)
{
	const char *name = w[0], *what = n > 1 ? w[1] : "";
	json_t *o, *timers;

	if (n == 3 && is(what, "remote-as") && !no)
		return remote_as(im, name, w[2]);
	if (n == 2 && is(what, "peer-group") && !no)
		return import_element(im->bgp, "groups", "name", name) != NULL;
	if (n == 3 && is(what, "peer-group") && !no)
		return json_object_set_new(import_element(im->bgp, "peers", "address", name),
			       "group", json_string(w[2])) == 0;
	o = neighbor(im, name);
	if (o == NULL)
		return import_verdict(im, "not carried: there is no neighbor \"%.64s\"", name);
	if (n >= 3 && is(what, "description") && !no)
		return json_object_set_new(o, "description", json_string(w[2])) == 0;
	if (n == 3 && is(what, "password") && !no)
		return json_object_set_new(o, "password", json_string(w[2])) == 0;
	if (n == 3 && is(what, "update-source") && text_is_address(w[2]) && !no)
		return json_object_set_new(o, "source", json_string(w[2])) == 0;
	if (n == 3 && is(what, "update-source") && !no)
		return import_verdict(
			im, "not carried: write the address of interface %.32s", w[2]);
	if (n <= 3 && is(what, "ebgp-multihop") && !no)
		return import_set_number(im, o, "multihop", n == 3 ? w[2] : "255");
	if (n == 2 && is(what, "shutdown"))
		return json_object_set_new(o, "shutdown", json_boolean(!no)) == 0;
	if (n == 2 && is(what, "passive") && !no)
		return json_object_set_new(o, "passive", json_true()) == 0;
	if (n == 2 && is(what, "enforce-first-as") && !no)
		return json_object_set_new(o, "enforce_first_as", json_true()) == 0;
	if (n == 4 && is(what, "ttl-security") && is(w[3], "1") && !no)
		return json_object_set_new(o, "gtsm", json_true()) == 0;
	if (n == 3 && is(what, "advertisement-interval") && !no)
		return import_set_number(
			im, import_made(o, "timers", json_object()), "min_advertisement_s", w[2]);
	if (n == 3 && is(what, "local-as") && !no)
		return import_set_number(im, o, "local_as", w[2]);
	if (n == 4 && is(what, "timers") && !no) {
		timers = import_made(o, "timers", json_object());
		if (is(w[2], "connect"))
			return import_set_number(im, timers, "connect_retry_s", w[3]);
		return import_set_number(im, timers, "keepalive_s", w[2]) &&
		       import_set_number(im, timers, "hold_s", w[3]);
	}
	return n > 1 && family_line(im, o, no, w + 1, n - 1);
}

static bool
redistribute(struct import *im, char **w, unsigned n)
{
	char buf[64];
	bool map = n == 3 && is(w[1], "route-map");

	if ((n != 1 && !map) ||
		(!is(w[0], "connected") && !is(w[0], "static") && !is(w[0], "kernel")))
		return false;
	return json_array_append_new(import_made(im->bgp, "redistribute", json_array()),
		       json_pack("{s:s, s:s*}", "source", w[0], "policy",
			       map ? import_name(im, w[2], buf) : NULL)) == 0;
}

/* `w`: after address-family */
static bool
address_family(struct import *im, char **w, unsigned n)
{
	bool unicast = n == 1 || (n == 2 && is(w[1], "unicast"));

	im->family = !unicast		? NULL
		     : is(w[0], "ipv4") ? "ipv4-unicast"
		     : is(w[0], "ipv6") ? "ipv6-unicast"
					: NULL;
	return im->family != NULL;
}

static bool
bgp_line(struct import *im, bool no, char **w, unsigned n)
{
	json_t *router = json_object_get(im->document, "router");

	if (n >= 2 && is(w[0], "address-family"))
		return address_family(im, w + 1, n - 1);
	if (n == 1 && is(w[0], "exit-address-family"))
		return im->family = "ipv4-unicast", true;
	if (im->family == NULL)
		return import_verdict(
			im, "not carried: the lines of this address family are left out");
	if (n >= 2 && is(w[0], "neighbor"))
		return neighbor_line(im, no, w + 1, n - 1);
	if (n == 3 && is(w[0], "bgp") && is(w[1], "router-id") && !no)
		return json_object_set_new(router, "router_id", json_string(w[2])) == 0;
	if (n == 3 && is(w[0], "bgp") && is(w[1], "cluster-id") && !no)
		return json_object_set_new(im->bgp, "cluster_id", json_string(w[2])) == 0;
	if (n == 3 && is(w[0], "bgp") && is(w[1], "default") && is(w[2], "ipv4-unicast"))
		return im->no_default_family = no, true;
	if (n == 2 && is(w[0], "bgp") && is(w[1], "ebgp-requires-policy"))
		return im->no_policy_needed = no, true;
	if (n == 4 && is(w[0], "timers") && is(w[1], "bgp") && !no) {
		json_t *timers = import_made(im->bgp, "_timers", json_object());

		return import_set_number(im, timers, "keepalive_s", w[2]) &&
		       import_set_number(im, timers, "hold_s", w[3]);
	}
	if (n == 2 && is(w[0], "bgp") && is(w[1], "hard-administrative-reset"))
		return true;
	if (n == 2 && is(w[0], "bgp") && is(w[1], "log-neighbor-changes"))
		return true;
	if (n == 3 && is(w[0], "bgp") && is(w[1], "network") && is(w[2], "import-check"))
		return im->no_import_check = no, true;
	if (n == 2 && is(w[0], "network") && !no) {
		import_verdict(im, "changed: announced without MED 0%s",
			im->no_import_check ? "" : ", and without a route in the table");
		return json_array_append_new(import_made(im->bgp, "networks", json_array()),
			       json_pack("{s:s}", "prefix", w[1])) == 0;
	}
	if (n == 2 && is(w[0], "maximum-paths") && !no)
		return import_set_number(im, im->bgp, "max_paths", w[1]);
	return n > 1 && is(w[0], "redistribute") && !no && redistribute(im, w + 1, n - 1);
}

/* rpki cache ADDRESS PORT [preference N] */
static bool
rpki_line(struct import *im, char **w, unsigned n)
{
	json_t *cache;

	if (n == 3 && is(w[0], "rpki") &&
		(is(w[1], "polling_period") || is(w[1], "retry_interval") ||
			is(w[1], "expire_interval")))
		return import_verdict(im, "changed: the times of the cache are in use");
	if (n < 4 || !is(w[0], "rpki") || !is(w[1], "cache") || !text_is_address(w[2]) ||
		(n > 4 && !(n == 6 && is(w[4], "preference"))))
		return n == 1 && is(w[0], "exit");
	cache = json_pack("{s:s}", "address", w[2]);
	import_set_number(im, cache, "port", w[3]);
	if (n == 6)
		import_set_number(im, cache, "preference", w[5]);
	return json_array_append_new(import_made(import_made(im->document, "rpki", json_object()),
					     "caches", json_array()),
		       cache) == 0;
}

/* ---- lines ---- */

static bool
static_route(struct import *im, char **w, unsigned n)
{
	json_t *o;

	if (n != 2 && !(n == 4 && is(w[2], "tag")))
		return false;
	o = json_pack("{s:s}", "prefix", w[0]);
	if (is(w[1], "blackhole") || is(w[1], "Null0"))
		json_object_set_new(o, "blackhole", json_true());
	else if (text_is_address(w[1]))
		json_object_set_new(o, "next_hop", json_string(w[1]));
	else
		return json_decref(o), false;
	if (n == 4)
		import_set_number(im, o, "tag", w[3]);
	return json_array_append_new(import_made(im->document, "static_routes", json_array()), o) ==
	       0;
}

/* True if the line begins a block at the top of the file. */
static bool
begin_block(struct import *im, char **w, unsigned n)
{
	im->in_bgp = false;
	im->node = NULL;
	im->family = "ipv4-unicast";
	im->in_rpki = n == 1 && is(w[0], "rpki");
	if (im->in_rpki)
		return true;
	if (n == 3 && is(w[0], "router") && is(w[1], "bgp")) {
		im->in_bgp = true;
		return import_set_number(im, json_object_get(im->document, "router"), "asn", w[2]);
	}
	if (n >= 2 && is(w[0], "route-map"))
		return route_map(im, w + 1, n - 1);
	return false;
}

/* Lines without a meaning for routes. */
static bool
is_idle(char **w)
{
	static const char *const words[] = {
		"frr", "hostname", "log", "service", "exit", "end", "password", "enable"};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (is(w[0], words[i]))
			return true;
	}
	return false;
}

static bool
top_line(struct import *im, char **w, unsigned n)
{
	if (n == 4 && is(w[0], "bgp") && is(w[1], "route-map") && is(w[2], "delay-timer"))
		return true;
	if (n > 3 && (is(w[0], "ip") || is(w[0], "ipv6")) && is(w[1], "prefix-list"))
		return prefix_list(im, w + 2, n - 2);
	if (n > 3 && (is(w[0], "ip") || is(w[0], "ipv6")) && is(w[1], "route"))
		return static_route(im, w + 2, n - 2);
	if (n > 4 && is(w[0], "bgp") && is(w[1], "as-path") && is(w[2], "access-list"))
		return value_list(im, "as_path_lists", "regex", w + 3, n - 3);
	if (n > 4 && is(w[0], "bgp") && is(w[1], "community-list") && is(w[2], "standard"))
		return value_list(im, "community_lists", "community", w + 3, n - 3);
	if (n > 4 && is(w[0], "bgp") && is(w[1], "large-community-list") && is(w[2], "standard"))
		return value_list(im, "large_community_lists", "large_community", w + 3, n - 3);
	return begin_block(im, w, n) || (is_idle(w) && n < 4);
}

/*
 * The node of a route-map without one of its conditions, or without the nodes after it. A deny stays: it denies more.
 * A permit would permit what bgpd denies: import_sort() removes it.
 */
static bool
wider_node(struct import *im)
{
	if (!is(json_string_value(json_object_get(im->node, "action")), "permit"))
		return false;
	json_object_set_new(im->node, IMPORT_WIDER, json_true());
	return import_verdict(im, "not carried: node %lld would permit too much, and is left out",
		number_of(im->node, "seq"));
}

/* A line within a block, which FRR indents. */
static bool
block_line(struct import *im, bool no, char **w, unsigned n)
{
	if (im->in_bgp)
		return bgp_line(im, no, w, n);
	if (im->in_rpki)
		return !no && rpki_line(im, w, n);
	if (im->node == NULL || no)
		return false;
	if (n > 1 && is(w[0], "set"))
		return set_line_of(im, w + 1, n - 1);
	if (n > 1 && is(w[0], "description"))
		return json_object_set_new(im->node, "description", json_string(w[1])) == 0;
	if (n > 1 && is(w[0], "match") && match_line(im, w + 1, n - 1) && *im->verdict != 'n')
		return true;
	return wider_node(im);
}

static void
import_words(struct import *im, bool indented, char **w, unsigned n)
{
	bool no = is(w[0], "no") && n > 1, done;

	w += no;
	n -= no;
	done = indented ? block_line(im, no, w, n) : !no && top_line(im, w, n);
	if (!done && *im->verdict == '\0')
		import_verdict(im, "not carried: keel.json has no key of this meaning");
}

/* The defaults of bgpd for a peer: IPv4 unicast, and all routes where policies are not needed. */
static void
peer_defaults(const struct import *im, json_t *peer)
{
	json_t *group = import_named(json_object_get(im->bgp, "groups"), "name",
		       json_string_value(json_object_get(peer, "group"))),
	       *families = import_made(peer, "families", json_object()), *f;
	const char *name;

	if (json_object_get(im->bgp, "_timers") != NULL &&
		json_object_get(peer, "timers") == NULL && json_object_get(group, "timers") == NULL)
		json_object_set_new(
			peer, "timers", json_deep_copy(json_object_get(im->bgp, "_timers")));
	if (!im->no_default_family)
		import_made(families, "ipv4-unicast", json_object());
	json_object_foreach(json_object_get(group, "families"), name, f)
		import_made(families, name, json_object());
	json_object_foreach(families, name, f)
	{
		const json_t *theirs = json_object_get(json_object_get(group, "families"), name);
		static const char *const keys[] = {"import_policy", "export_policy"};

		/* bgpd activates a family only by a line */
		if (json_object_get(f, "enabled") == NULL &&
			json_object_get(theirs, "enabled") == NULL &&
			(im->no_default_family || !is(name, "ipv4-unicast")))
			json_object_set_new(f, "enabled", json_false());
		for (unsigned k = 0; k < 2 && im->no_policy_needed; k++) {
			if (json_object_get(f, keys[k]) == NULL &&
				json_object_get(theirs, keys[k]) == NULL)
				json_object_set_new(f, keys[k], json_string("accept-all"));
		}
	}
}

void
import_frr(struct import *im, FILE *in)
{
	json_t *peer;
	size_t at;

	import_each_line(im, in, import_words);
	json_array_foreach(json_object_get(im->bgp, "peers"), at, peer) peer_defaults(im, peer);
	json_object_del(im->bgp, "_timers");
}
