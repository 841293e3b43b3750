/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * import frr: a configuration of FRR. A line of bgpd and zebra is carried if a key of keel.json has the
 * same meaning.
 */
#include "control/cli/keelctl_import.h"

#include <stdlib.h>

/* ---- lists ---- */

/* `words`: NAME [seq N] {permit | deny} PREFIX [ge N] [le N] */
static bool
prefix_list(struct import *im, bool ipv6, char **w, unsigned n)
{
	const char *name = w[0], *seq = NULL;
	char prefix[64];
	bool any;
	json_t *entry;

	if (n > 2 && is(w[1], "description"))
		return import_verdict(im, "changed: left out; a list has no description");
	if (n > 3 && is(w[1], "seq"))
		seq = w[2], w += 2, n -= 2;
	any = n == 3 && is(w[2], "any");
	if (n < 3 || (!is(w[1], "permit") && !is(w[1], "deny")) ||
		(!any && !import_prefix(w[2], prefix)))
		return import_list_partial(im, "prefix_lists", name), false;
	if (any)
		snprintf(prefix, sizeof(prefix), "%s", ipv6 ? "::/0" : "0.0.0.0/0");
	entry = json_pack("{s:s, s:s}", "action", w[1], "prefix", prefix);
	if (any)
		json_object_set_new(entry, "le", json_integer(ipv6 ? 128 : 32));
	for (unsigned i = 3; i < n; i += 2) {
		if (i + 1 == n || (!is(w[i], "ge") && !is(w[i], "le")) ||
			!import_set_number(im, entry, w[i], w[i + 1]) || *im->verdict == 'n') {
			json_decref(entry);
			return import_list_partial(im, "prefix_lists", name), false;
		}
	}
	return import_list_entry(im, "prefix_lists", name, seq, entry);
}

/* Takes `.*` (*dots), `[0-9]+` or `[0-9]*`. */
static bool
take_wildcard(const char **regex, bool *dots)
{
	static const char *const words[] = {".*", "[0-9]+", "[0-9]*"};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strncmp(*regex, words[i], strlen(words[i])) == 0) {
			*regex += strlen(words[i]);
			*dots = i == 0;
			return true;
		}
	}
	return false;
}

/*
 * A regular expression of an expanded list as a community with wildcards: `_64512:[0-9]+_`, `^64512:.*`.
 * bgpd matches the text of all communities of a route. *alone: the expression has this meaning only for
 * `delete`, which sees each community alone.
 */
static bool
expanded_community(const char *regex, bool large, char out[64], bool *alone)
{
	unsigned parts = 0, most = large ? 3 : 2;
	bool wild = false, dots = false, open = false, delimited;
	size_t len = 0;

	*alone = *regex == '^';
	if (*regex != '^' && *regex != '_')
		return false;
	regex++;
	do {
		size_t n = strspn(regex, "0123456789");
		const char *digits = regex;

		*alone = *alone || dots;
		regex += n;
		wild = n == 0 && parts > 0 && take_wildcard(&regex, &dots);
		/* keeld reads a number of the size of its part, without zeros before it */
		if ((n == 0 && !wild) || n > 10 || (n > 1 && *digits == '0') ||
			strtoull(n > 0 ? digits : "0", NULL, 10) > (large ? 4294967295ull : 65535))
			return false;
		len += (size_t)snprintf(out + len, 64 - len, "%s%.*s", parts > 0 ? ":" : "",
			wild ? 1 : (int)n, wild ? "*" : digits);
		parts++;
		open = parts < most && regex[0] == ':' && regex[1] == '\0';
	} while (parts < most && *regex == ':' && *++regex != '\0');
	for (unsigned i = parts; i < most; i++)
		len += (size_t)snprintf(out + len, 64 - len, ":*");
	delimited = *regex == '_' || *regex == '$';
	*alone = *alone || *regex == '$';
	regex += delimited;
	/* digits at the end can be the beginning of a longer number */
	return *regex == '\0' &&
	       (parts == most ? wild || delimited : open || (wild && (dots || !delimited)));
}

/* `words`: NAME [seq N] {permit | deny} VALUE. `expanded`: the value is a regular expression. */
static bool
value_list(struct import *im, const char *section, const char *key, bool expanded, char **w,
	unsigned n)
{
	const char *name = w[0], *seq = NULL;
	bool large = is(key, "large_community"), path = is(key, "regex"), first = false;
	char text[256] = "", buf[64];
	const char *back;

	if (n > 3 && is(w[1], "seq"))
		seq = w[2], w += 2, n -= 2;
	if (n < 3 || (!is(w[1], "permit") && !is(w[1], "deny")))
		return import_list_partial(im, section, name), false;
	for (unsigned i = 2; path && i < n; i++) {
		if (strlen(text) + strlen(w[i]) + 2 >= sizeof(text)) {
			import_list_partial(im, section, name);
			return import_verdict(im, "not carried: the expression is too long");
		}
		strcat(strcat(text, i > 2 ? " " : ""), w[i]);
	}
	back = path ? strchr(text, '\\') : NULL;
	if (back != NULL && back[1] >= '1' && back[1] <= '9') {
		import_list_partial(im, section, name);
		return import_verdict(im, "not carried: a reference to a group");
	}
	if (!path && n > 3) {
		import_list_partial(im, section, name);
		return import_verdict(im,
			"not carried: an entry takes one value; all of several values "
			"are several conditions");
	}
	if (expanded) {
		if (!expanded_community(w[2], large, text, &first)) {
			import_list_partial(im, section, name);
			json_object_set_new(import_element(im->document, section, "name",
						    import_name(im, name, buf)),
				"_unusable", json_true());
			return import_verdict(im,
				"not carried: the regular expression is not of the form "
				"_64512:[0-9]+_ or ^64512:.*");
		}
		if (first)
			import_list_partial(im, section, name);
	} else if (!path && (is(w[2], "internet") || !import_community(im, w[2], large, text))) {
		import_list_partial(im, section, name);
		return is(w[2], "internet")
			       ? import_verdict(im, "not carried: \"internet\" is every route")
			       : false;
	}
	return import_list_entry(
		im, section, name, seq, json_pack("{s:s, s:s}", "action", w[1], key, text));
}

/* ---- route-maps ---- */

static bool
route_map(struct import *im, char **w, unsigned n)
{
	json_int_t seq;

	if (n < 3 || (!is(w[1], "permit") && !is(w[1], "deny")) || !import_number(w[2], &seq) ||
		seq == 0 || seq > IMPORT_NODE_MAX)
		return false;
	return import_node(im, w[0], seq, w[1]);
}

/* {ip | ipv6} address prefix-list: of one family, also where the name has lists of both. */
static bool
match_prefixes(struct import *im, json_t *match, bool ipv6, const char *name)
{
	const char *family = ipv6 ? "ipv6-unicast" : "ipv4-unicast";
	char buf[64];

	/* a second line of one family replaces the first in bgpd */
	if (json_object_get(match, "prefix_list") != NULL &&
		!is(json_string_value(json_object_get(im->node, IMPORT_FAMILY)), family))
		return import_verdict(im, "not carried: a node matches prefixes of one family");
	json_object_set_new(im->node, IMPORT_FAMILY, json_string(family));
	return json_object_set_new(match, "prefix_list", json_string(import_name(im, name, buf))) ==
	       0;
}

static bool
is_origin(const char *word)
{
	return is(word, "igp") || is(word, "egp") || is(word, "incomplete");
}

static bool
match_line(struct import *im, char **w, unsigned n)
{
	static const struct {
		const char *words[3], *key;
	} lists[] = {{{"ip", "next-hop", "prefix-list"}, "next_hop_prefix_list"},
		{{"as-path"}, "as_path_list"}, {{"community"}, "community_list"},
		{{"large-community"}, "large_community_list"}};
	json_t *match = member_made(im->node, "match", json_object());
	char buf[64];

	if (n == 4 && (is(w[0], "ip") || is(w[0], "ipv6")) && is(w[1], "address") &&
		is(w[2], "prefix-list"))
		return match_prefixes(im, match, is(w[0], "ipv6"), w[3]);

	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		unsigned len = 0;

		while (len < 3 && lists[i].words[len] != NULL && len < n &&
			is(lists[i].words[len], w[len]))
			len++;
		if (len == 0 || (len < 3 && lists[i].words[len] != NULL) || len + 1 != n)
			continue;
		return json_object_set_new(
			       match, lists[i].key, json_string(import_name(im, w[len], buf))) == 0;
	}
	if (n == 2 && is(w[0], "metric"))
		return import_set_number(im, match, "med", w[1]);
	if (n == 2 && is(w[0], "local-preference") && (is(w[1], "0") || is(w[1], "100")))
		return import_verdict(im,
			"not carried: a route without a preference has 0 in bgpd, "
			"and 100 in keeld");
	if (n == 2 && is(w[0], "local-preference"))
		return import_set_number(im, match, "local_pref", w[1]);
	if (n == 2 && is(w[0], "tag"))
		return import_set_number(im, match, "tag", w[1]);
	if (n == 2 && is(w[0], "origin") && is_origin(w[1]))
		return json_object_set_new(match, "origin", json_string(w[1])) == 0;
	if (n == 2 && is(w[0], "rpki") &&
		(is(w[1], "valid") || is(w[1], "invalid") || is(w[1], "notfound")))
		return json_object_set_new(match, "validation",
			       json_string(is(w[1], "notfound") ? "not-found" : w[1])) == 0;
	if (n == 2 && is(w[0], "peer") && import_is_host(w[1]) && strchr(w[1], '%') == NULL)
		return json_object_set_new(match, "peer", json_string(w[1])) == 0;
	return false;
}

/* set metric [+ | -]N */
static bool
set_metric(struct import *im, json_t *set, const char *text)
{
	json_t *change;

	if (*text != '+' && *text != '-')
		return import_set_number(im, set, "med", text);
	change = json_object();
	import_set_number(im, change, *text == '+' ? "add" : "subtract", text + 1);
	if (json_object_size(change) == 0)
		return json_decref(change), false;
	return json_object_set_new(set, "med", change) == 0;
}

/* set {community | large-community} */
static bool
set_communities(struct import *im, json_t *set, const char *key, char **w, unsigned n)
{
	if (!is(w[n - 1], "additive"))
		json_object_del(json_object_get(im->node, "_delete"), key);
	return import_set_communities(im, set, key, w, n);
}

/* set {comm-list | large-comm-list} NAME delete; keeld removes communities before it adds */
static bool
delete_communities(struct import *im, json_t *set, const char *key, const char *name)
{
	json_t *lists = member_made(im->node, "_delete", json_object());
	char buf[64];

	if (json_object_get(lists, key) != NULL ||
		json_object_get(json_object_get(set, key), "add") != NULL)
		return false;
	return json_object_set_new(lists, key, json_string(import_name(im, name, buf))) == 0;
}

/* set as-path prepend {ASN... | last-as N} */
static bool
prepend(struct import *im, json_t *set, char **w, unsigned n)
{
	json_int_t asn, count;

	if (n == 2 && is(w[0], "last-as") && import_number(w[1], &count) && count > 0 &&
		count <= IMPORT_PREPEND_MAX)
		return json_object_set_new(set, "as_path_prepend",
			       json_pack("{s:s, s:I}", "asn", "first", "count", count)) == 0;
	for (unsigned i = 0; i < n; i++) {
		if (!import_asn(w[i], &asn) || n > IMPORT_PREPEND_MAX)
			return false;
		if (!is(w[i], w[0]))
			return import_verdict(im, "not carried: only one AS number is prepended");
	}
	return json_object_set_new(set, "as_path_prepend",
		       json_pack("{s:I, s:i}", "asn", asn, "count", (int)n)) == 0;
}

static bool
set_line_of(struct import *im, char **w, unsigned n)
{
	json_t *set = member_made(im->node, "set", json_object());

	if (n == 2 && is(w[0], "local-preference") && (*w[1] == '+' || *w[1] == '-'))
		return import_verdict(im, "not carried: bgpd counts from 0 where a route has no "
					  "preference, and keeld from 100");
	if (n == 2 && is(w[0], "local-preference"))
		return import_set_number(im, set, "local_pref", w[1]);
	if (n == 2 && is(w[0], "metric"))
		return set_metric(im, set, w[1]);
	if (n == 2 && is(w[0], "tag"))
		return import_set_number(im, set, "tag", w[1]);
	if (n == 2 && is(w[0], "origin") && is_origin(w[1]))
		return json_object_set_new(set, "origin", json_string(w[1])) == 0;
	if (n >= 2 && is(w[0], "community"))
		return set_communities(im, set, "communities", w + 1, n - 1);
	if (n >= 2 && is(w[0], "large-community"))
		return set_communities(im, set, "large_communities", w + 1, n - 1);
	if (n == 3 && is(w[2], "delete") && is(w[0], "comm-list"))
		return delete_communities(im, set, "communities", w[1]);
	if (n == 3 && is(w[2], "delete") && is(w[0], "large-comm-list"))
		return delete_communities(im, set, "large_communities", w[1]);
	if (n == 3 && is(w[0], "ip") && is(w[1], "next-hop") && text_is_address(w[2]))
		return import_next_hop(im, set, w[2]);
	if (n == 4 && is(w[0], "ipv6") && is(w[1], "next-hop") && is(w[2], "global"))
		return import_next_hop(im, set, w[3]);
	return n >= 3 && is(w[0], "as-path") && is(w[1], "prepend") &&
	       prepend(im, set, w + 2, n - 2);
}

/*
 * on-match {next | goto N}, continue [N]: the walk goes on at a later node. call NAME. After a deny bgpd
 * does neither.
 */
static bool
jump_line(struct import *im, char **w, unsigned n)
{
	bool deny = is(json_string_value(json_object_get(im->node, "action")), "deny");
	json_int_t to = number_of(im->node, "seq") + 1;
	char buf[64];

	if (n == 2 && is(w[0], "call")) {
		json_object_set_new(im->node, IMPORT_DENY_WIDER, json_true());
		if (deny)
			return import_verdict(im, "changed: left out; a deny calls nothing");
		return json_object_set_new(
			       im->node, "call", json_string(import_name(im, w[1], buf))) == 0;
	}
	if (!(n == 2 && is(w[0], "on-match") && is(w[1], "next")) &&
		!(n == 3 && is(w[0], "on-match") && is(w[1], "goto") && import_number(w[2], &to)) &&
		!(n == 1 && is(w[0], "continue")) &&
		!(n == 2 && is(w[0], "continue") && import_number(w[1], &to)))
		return false;
	json_object_set_new(im->node, IMPORT_DENY_WIDER, json_true());
	if (deny)
		return import_verdict(im, "changed: left out; a deny ends the walk");
	return json_object_set_new(im->node, "_goto", json_integer(to)) == 0;
}

/* ---- router bgp ---- */

/* A neighbor or a peer group; NULL: unknown. */
static json_t *
neighbor(const struct import *im, const char *name)
{
	return text_is_address(name)
		       ? import_peer(im, name)
		       : import_named(json_object_get(im->bgp, "groups"), "name", name);
}

static bool
remote_as(struct import *im, const char *name, const char *asn)
{
	json_t *o = text_is_address(name)
			    ? import_peer_made(im, name)
			    : import_named(json_object_get(im->bgp, "groups"), "name", name);
	json_int_t n;

	if (o == NULL)
		return import_verdict(im, "not carried: there is no peer group \"%.64s\"", name);

	/* bgpd honours GRACEFUL_SHUTDOWN of external peers */
	json_object_set_new(o, "graceful_shutdown", json_pack("{s:b}", "honour", true));
	if (is(asn, "internal"))
		return json_object_set(o, "asn",
			       json_object_get(json_object_get(im->document, "router"), "asn")) ==
		       0;
	if (is(asn, "external"))
		return import_verdict(im, "not carried: write the AS number of the peer");
	if (!import_asn(asn, &n))
		return import_verdict(im, "not carried: \"%.32s\" is not an AS number", asn);
	return json_object_set_new(o, "asn", json_integer(n)) == 0;
}

/* {prefix-list | filter-list | distribute-list} NAME {in | out} */
static bool
filter_line(struct import *im, json_t *family, char **w, unsigned n)
{
	const char *key = is(w[0], "prefix-list")   ? "prefix_list"
			  : is(w[0], "filter-list") ? "as_path_list"
						    : NULL;
	bool in = is(w[n - 1], "in");
	char buf[64];

	import_filter(family, in, key != NULL ? key : w[0],
		key != NULL && n == 3 ? import_name(im, w[1], buf) : NULL);
	return (key != NULL && n == 3) ||
	       import_verdict(im, "not carried: no route passes in this direction");
}

/* N [THRESHOLD] [warning-only | restart MINUTES] */
static bool
maximum_prefix(struct import *im, json_t *family, char **w, unsigned n)
{
	json_t *limit = json_object(); /* a later line replaces the limit */
	const char *action = "shutdown";
	json_int_t minutes;
	unsigned at = 1;

	if (!import_set_number(im, limit, "limit", w[0]) || *im->verdict == 'n')
		return json_decref(limit), false;
	json_object_set_new(family, "max_prefixes", limit);
	if (n > at && import_number(w[at], &minutes) && minutes > 0 && minutes <= 100)
		json_object_set_new(limit, "threshold_percent", json_integer(minutes)), at++;
	if (n == at + 1 && is(w[at], "warning-only"))
		action = "warning", at++;
	else if (n == at + 2 && is(w[at], "restart") && import_number(w[at + 1], &minutes) &&
		 minutes > 0)
		import_restart(im, limit, minutes), at += 2;
	json_object_set_new(limit, "action", json_string(action));
	return at == n;
}

/* Lines of a family. `w`: after the name. */
static bool
family_line(struct import *im, json_t *o, bool no, char **w, unsigned n)
{
	json_t *f =
		member_made(member_made(o, "families", json_object()), im->family, json_object());
	char buf[64];

	if (n == 1 && is(w[0], "activate"))
		return no ? json_object_set_new(f, "enabled", json_false()) == 0
			  : json_object_set_new(f, "enabled", json_true()) == 0;
	if (is(w[0], "send-community")) { /* the default of both */
		bool all = n > 1 && (is(w[1], "both") || is(w[1], "all"));

		if (!all && n > 1)
			return false;
		if (no && !all)
			import_verdict(im, "changed: communities of no kind are sent");
		return json_object_set_new(f, "send_communities", json_boolean(!no)) == 0;
	}
	if (no)
		return false;
	if (n >= 2 && (is(w[n - 1], "in") || is(w[n - 1], "out")) && !is(w[0], "route-map"))
		return filter_line(im, f, w, n);
	if (n == 3 && is(w[0], "route-map") && (is(w[2], "in") || is(w[2], "out")))
		return json_object_set_new(f, is(w[2], "in") ? "import_policy" : "export_policy",
			       json_string(import_name(im, w[1], buf))) == 0;
	if (n == 1 && is(w[0], "next-hop-self"))
		return json_object_set_new(f, "next_hop_self", json_true()) == 0;
	if (n == 2 && is(w[0], "soft-reconfiguration") && is(w[1], "inbound"))
		return json_object_set_new(f, "keep_all_routes", json_true()) == 0;
	if (n == 1 && is(w[0], "route-reflector-client"))
		return json_object_set_new(f, "_route_reflector_client", json_true()) == 0;
	if (n == 1 && is(w[0], "route-server-client"))
		return import_verdict(im, "changed: a received MED is advertised") &&
		       json_object_set_new(f, "_route_server_client", json_true()) == 0;
	if (n == 1 && is(w[0], "as-override"))
		return json_object_set_new(f, "as_override", json_true()) == 0;
	if ((n == 1 || (n == 2 && is(w[1], "all"))) && is(w[0], "remove-private-AS")) {
		if (n == 1)
			import_verdict(
				im, "changed: private AS numbers are removed from all paths");
		return json_object_set_new(f, "remove_private_as", json_true()) == 0;
	}
	if (n == 1 && is(w[0], "default-originate"))
		return json_object_set_new(f, "default_originate", json_true()) == 0;
	if (n == 1 && is(w[0], "allowas-in"))
		return json_object_set_new(f, "allow_as_in", json_integer(3)) == 0;
	if (n == 2 && is(w[0], "allowas-in"))
		return import_set_number(im, f, "allow_as_in", w[1]);
	if (n == 2 && is(w[0], "attribute-unchanged") && is(w[1], "next-hop"))
		return json_object_set_new(f, "next_hop_unchanged", json_true()) == 0;
	if (n >= 2 && is(w[0], "maximum-prefix"))
		return maximum_prefix(im, f, w + 1, n - 1);
	/* the selected routes are unknown, so no route is advertised */
	if (is(w[0], "unsuppress-map") || is(w[0], "advertise-map"))
		import_filter(f, false, w[0], NULL);
	return false;
}

/* The interface of a link-local neighbor. Later lines name the neighbor without the interface. */
static bool
set_interface(json_t *o, const char *address, const char *interface)
{
	char text[128];

	snprintf(text, sizeof(text), "%s%%%s", address, interface);
	return import_is_host(text) && json_object_set_new(o, "_zoned", json_string(text)) == 0;
}

static bool
neighbor_line(struct import *im, bool no, char **w, unsigned n)
{
	const char *name = w[0], *what = n > 1 ? w[1] : "";
	json_t *o, *timers;
	char own[64], buf[64];
	json_int_t asn;

	if (!text_is_address(name))
		name = import_name(im, name, own);
	if (n == 3 && is(what, "remote-as") && !no)
		return remote_as(im, name, w[2]);
	if (n == 2 && is(what, "peer-group") && !no && !text_is_address(name))
		return import_element(im->bgp, "groups", "name", name) != NULL;
	if (n == 3 && is(what, "peer-group") && !no && text_is_address(name))
		return json_object_set_new(import_peer_made(im, name), "group",
			       json_string(import_name(im, w[2], buf))) == 0;
	if (n > 2 && is(what, "interface") && !text_is_address(name))
		return import_verdict(im, "not carried: write the address of the neighbour");
	o = neighbor(im, name);
	if (o == NULL)
		return import_verdict(im, "not carried: there is no neighbor \"%.64s\"", name);
	if (n >= 3 && is(what, "description") && !no)
		return json_object_set_new(o, "description", json_string(w[2])) == 0;
	if (n == 3 && is(what, "password") && !no)
		return import_password(im, o, w[2]);
	if (n == 3 && is(what, "update-source") && text_is_address(w[2]) && !no)
		return json_object_set_new(o, "source", json_string(w[2])) == 0;
	if (n == 3 && is(what, "update-source") && !no)
		return import_verdict(
			im, "not carried: write the address of interface %.32s", w[2]);
	if (n == 3 && is(what, "interface") && !no)
		return set_interface(o, name, w[2]);
	if (n <= 3 && is(what, "ebgp-multihop") && !no)
		return import_set_number(im, o, "multihop", n == 3 ? w[2] : "255");
	if (n >= 2 && is(what, "shutdown") && !(n > 2 && is(w[2], "rtt"))) {
		if (n > 2)
			import_verdict(im, "changed: without the message");
		return json_object_set_new(o, "shutdown", json_boolean(!no)) == 0;
	}
	if (n == 2 && is(what, "passive") && !no)
		return json_object_set_new(o, "passive", json_true()) == 0;
	if (n == 2 && is(what, "enforce-first-as") && !no)
		return json_object_set_new(o, "enforce_first_as", json_true()) == 0;
	if (n == 4 && is(what, "ttl-security") && is(w[3], "1") && !no)
		return json_object_set_new(o, "gtsm", json_true()) == 0;
	if (n == 3 && is(what, "advertisement-interval") && !no)
		return import_set_number(
			im, member_made(o, "timers", json_object()), "min_advertisement_s", w[2]);
	if (n == 3 && is(what, "local-as") && !no)
		return import_asn(w[2], &asn) &&
		       import_verdict(im, "changed: received paths do not get this AS number") &&
		       json_object_set_new(o, "local_as", json_integer(asn)) == 0;
	if (n == 4 && is(what, "timers") && !no) {
		timers = member_made(o, "timers", json_object());
		if (is(w[2], "connect"))
			return import_set_number(im, timers, "connect_retry_s", w[3]);
		return import_timers(im, timers, w[2], w[3]);
	}
	return n > 1 && family_line(im, o, no, w + 1, n - 1);
}

static bool
redistribute(struct import *im, char **w, unsigned n)
{
	bool map = n == 3 && is(w[1], "route-map");

	if ((n != 1 && !map) ||
		(!is(w[0], "connected") && !is(w[0], "static") && !is(w[0], "kernel")))
		return false;
	return import_redistribute(im, w[0], map ? w[2] : NULL);
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
	char prefix[64];
	json_int_t id;

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
		return import_set_id(im, router, "router_id", w[2]);
	if (n == 3 && is(w[0], "bgp") && is(w[1], "cluster-id") && !no &&
		import_number(w[2], &id) && id > 0)
		return json_object_set_new(im->bgp, "cluster_id", json_integer(id)) == 0;
	if (n == 3 && is(w[0], "bgp") && is(w[1], "cluster-id") && !no)
		return import_set_id(im, im->bgp, "cluster_id", w[2]);
	if (n == 3 && is(w[0], "bgp") && is(w[1], "default") && is(w[2], "ipv4-unicast"))
		return im->no_default_family = no, true;
	if (n == 2 && is(w[0], "bgp") && is(w[1], "ebgp-requires-policy"))
		return im->no_policy_needed = no, true;
	if (n == 4 && is(w[0], "timers") && is(w[1], "bgp") && !no) {
		json_t *timers = member_made(im->bgp, "_timers", json_object());

		return import_timers(im, timers, w[2], w[3]);
	}
	if (n == 2 && is(w[0], "bgp") &&
		(is(w[1], "hard-administrative-reset") || is(w[1], "log-neighbor-changes") ||
			is(w[1], "deterministic-med")))
		return true;
	if (n == 3 && is(w[0], "bgp") && is(w[1], "bestpath") && is(w[2], "compare-routerid"))
		return !no;
	if (n == 6 && is(w[0], "bgp") && is(w[1], "listen") && is(w[2], "range") &&
		is(w[4], "peer-group") && !no && import_prefix(w[3], prefix)) {
		char buf[64];

		return import_prefix_once(im, "listen_ranges",
			       json_pack("{s:s, s:s}", "prefix", prefix, "group",
				       import_name(im, w[5], buf))) ||
		       import_verdict(im, "not carried: the range occurs before");
	}
	if (n == 3 && is(w[0], "bgp") && is(w[1], "network") && is(w[2], "import-check"))
		return im->no_import_check = no, true;
	if (n == 2 && is(w[0], "network") && !no && import_prefix(w[1], prefix)) {
		import_verdict(im, "changed: announced without MED 0%s",
			im->no_import_check ? "" : ", and without a route in the table");
		import_prefix_once(im, "networks", json_pack("{s:s}", "prefix", prefix));
		return true;
	}
	if (n == 2 && is(w[0], "maximum-paths") && !no)
		return import_max_paths(im, w[1]);
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
	if (n > 3 && is(w[0], "rpki") && is(w[1], "cache") && !text_is_address(w[2]))
		return import_verdict(im, "not carried: write the address of the cache");
	if (n < 4 || !is(w[0], "rpki") || !is(w[1], "cache") ||
		(n > 4 && !(n == 6 && is(w[4], "preference"))))
		return n == 1 && is(w[0], "exit");
	cache = json_pack("{s:s}", "address", w[2]);
	import_set_number(im, cache, "port", w[3]);
	if (n == 6)
		import_set_number(im, cache, "preference", w[5]);
	return import_cache(im, cache);
}

/* ---- lines ---- */

static bool
static_route(struct import *im, char **w, unsigned n)
{
	json_t *o;
	char prefix[64], why[64];

	if ((n != 2 && !(n == 4 && is(w[2], "tag"))) || !import_prefix(w[0], prefix))
		return false;
	o = json_pack("{s:s}", "prefix", prefix);
	if (is(w[1], "blackhole") || is(w[1], "Null0"))
		json_object_set_new(o, "blackhole", json_true());
	else if (text_is_address(w[1]))
		json_object_set_new(o, "next_hop", json_string(w[1]));
	else
		return json_decref(o), false;
	if (n == 4)
		import_set_number(im, o, "tag", w[3]);
	return import_static_route(im, o, why) || import_verdict(im, "%s", why);
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
		json_t *router = json_object_get(im->document, "router");
		json_int_t asn;

		if (!import_asn(w[2], &asn) ||
			(json_object_get(router, "asn") != NULL && number_of(router, "asn") != asn))
			return import_verdict(im, "not carried: a further router");
		im->in_bgp = true;
		import_verdict(im, "changed: routes with BLACKHOLE do not get NO_EXPORT");
		return json_object_set_new(router, "asn", json_integer(asn)) == 0;
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
		"frr", "hostname", "log", "service", "exit", "end", "password", "enable", "line"};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (is(w[0], words[i]))
			return true;
	}
	return false;
}

/* Lists of communities and AS paths; `w`: after bgp or ip. */
static bool
bgp_list(struct import *im, char **w, unsigned n)
{
	bool large = is(w[0], "large-community-list"), expanded = is(w[1], "expanded");
	unsigned kind = expanded || is(w[1], "standard");
	json_int_t number;

	if (is(w[0], "as-path") && is(w[1], "access-list"))
		return n > 3 && value_list(im, "as_path_lists", "regex", false, w + 2, n - 2);
	if (!large && !is(w[0], "community-list"))
		return false;
	/* lists with a number: from 100 on they are expanded */
	if (kind == 0 && import_number(w[1], &number))
		expanded = number >= 100;
	else if (kind == 0)
		return import_list_partial(
			       im, large ? "large_community_lists" : "community_lists", w[1]),
		       false;
	return n > kind + 2 && value_list(im, large ? "large_community_lists" : "community_lists",
				       large ? "large_community" : "community", expanded,
				       w + 1 + kind, n - 1 - kind);
}

static bool
top_line(struct import *im, char **w, unsigned n)
{
	if (n == 4 && is(w[0], "bgp") && is(w[1], "route-map") && is(w[2], "delay-timer"))
		return true;
	if (n == 3 && is(w[0], "frr") && is(w[1], "defaults") && is(w[2], "datacenter")) {
		im->no_policy_needed = im->no_import_check = true;
		return import_timers(im, member_made(im->bgp, "_timers", json_object()), "3", "9");
	}
	if (n > 3 && (is(w[0], "ip") || is(w[0], "ipv6")) && is(w[1], "prefix-list"))
		return prefix_list(im, is(w[0], "ipv6"), w + 2, n - 2);
	if (n > 3 && (is(w[0], "ip") || is(w[0], "ipv6")) && is(w[1], "route"))
		return static_route(im, w + 2, n - 2);
	if (n > 3 && (is(w[0], "bgp") || is(w[0], "ip")) &&
		(is(w[1], "as-path") || strstr(w[1], "community-list") != NULL))
		return bgp_list(im, w + 1, n - 1);
	return begin_block(im, w, n) || (is_idle(w) && n < 4);
}

/*
 * A condition of the node is lost. A deny stays, and denies more. A permit would permit too much:
 * import_finish() removes the node.
 */
static bool
wider_node(struct import *im)
{
	json_object_set_new(im->node, IMPORT_DENY_WIDER, json_true());
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
	if (n > 1 && is(w[0], "set")) {
		bool done = set_line_of(im, w + 1, n - 1) && *im->verdict != 'n';

		if (!done)
			json_object_set_new(im->node, "_lost", json_true());
		return done || *im->verdict == 'n';
	}
	if (jump_line(im, w, n))
		return true;
	if (n > 1 && is(w[0], "description"))
		return json_object_set_new(im->node, "description", json_string(w[1])) == 0;
	if (n > 1 && is(w[0], "match") && match_line(im, w + 1, n - 1) && *im->verdict != 'n')
		return true;
	return wider_node(im);
}

static bool
is_node_line(char **w)
{
	static const char *const words[] = {"match", "set", "call", "on-match", "continue"};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (is(w[0], words[i]))
			return true;
	}
	return false;
}

static void
import_words(struct import *im, bool indented, char **w, unsigned n)
{
	bool no = is(w[0], "no") && n > 1, done;

	w += no;
	n -= no;
	/* vtysh reads lines of a route map without spaces before them, too */
	indented = indented || (im->node != NULL && is_node_line(w));
	done = indented ? block_line(im, no, w, n) : !no && top_line(im, w, n);
	if (!done && *im->verdict != 'n')
		import_verdict(im, "not carried: keel.json has no key of this meaning");
}

/* `timers bgp`, where neither the peer nor the group has times of its own. */
static void
default_timers(const struct import *im, json_t *peer, const json_t *group)
{
	const json_t *own = json_object_get(peer, "timers"),
		     *theirs = json_object_get(group, "timers");
	json_t *timers = json_object_get(im->bgp, "_timers");

	if (timers != NULL && import_value_of(own, theirs, "hold_s") == NULL)
		json_object_update(member_made(peer, "timers", json_object()), timers);
}

/* The defaults of bgpd for a peer: IPv4 unicast, and all routes where policies are not needed. */
static void
peer_defaults(struct import *im, json_t *peer)
{
	const json_t *group = import_group_of(im, peer);
	json_t *families = member_made(peer, "families", json_object()), *f,
	       *at = json_object_get(peer, "address"); /* NULL: the group of a range */
	const char *name;

	/* bgpd checks the first AS number only with `enforce-first-as` */
	if (import_value_of(peer, group, "enforce_first_as") == NULL &&
		import_value_of(peer, group, "asn") != NULL)
		json_object_set_new(peer, "enforce_first_as", json_false());
	default_timers(im, peer, group);
	if (!im->no_default_family)
		member_made(families, "ipv4-unicast", json_object());
	json_object_foreach(json_object_get(group, "families"), name, f)
		member_made(families, name, json_object());
	json_object_foreach(families, name, f)
	{
		const json_t *theirs = json_object_get(json_object_get(group, "families"), name);

		/* bgpd activates a family only by a line */
		if (json_object_get(f, "enabled") == NULL &&
			json_object_get(theirs, "enabled") == NULL &&
			(im->no_default_family || !is(name, "ipv4-unicast")))
			json_object_set_new(f, "enabled", json_false());
		if (im->no_policy_needed)
			import_accept_all(f, theirs);
		if (json_is_true(import_value_of(f, theirs, "keep_all_routes")) &&
			is(json_string_value(json_object_get(
				   import_value_of(f, theirs, "max_prefixes"), "action")),
				"shutdown"))
			import_end_report(im,
				json_string_value(
					json_object_get(peer, at != NULL ? "address" : "name")),
				"changed: max_prefixes counts refused routes too, because keeld "
				"keeps them");
	}
}

void
import_frr(struct import *im, FILE *in)
{
	json_t *peer, *range;
	size_t at;

	im->first_gateway = true;
	import_each_line(im, in, import_words);
	import_key_of_families(im, "route_reflector_client");
	import_key_of_families(im, "route_server_client");
	json_array_foreach(json_object_get(im->bgp, "peers"), at, peer)
	{
		if (json_object_get(peer, "_zoned") != NULL)
			json_object_set(peer, "address", json_object_get(peer, "_zoned"));
		peer_defaults(im, peer);
	}
	/* of the peers of a range, which have keys of the group alone */
	json_array_foreach(json_object_get(im->bgp, "listen_ranges"), at, range)
	{
		peer = import_named(json_object_get(im->bgp, "groups"), "name",
			json_string_value(json_object_get(range, "group")));
		if (peer != NULL)
			peer_defaults(im, peer);
	}
	import_third_parties(im);
}
