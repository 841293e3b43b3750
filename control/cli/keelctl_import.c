/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * import {bird | frr | vrp} FILE: the configuration of another router as keel.json on standard output.
 * For each line of the file, standard error says `done`, `changed: how` or `not carried: why`. A line
 * is only carried if the key of keel.json has the same meaning. One thread; no daemon.
 */
#include "control/cli/keelctl_import.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>

bool
import_verdict(struct import *im, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(im->verdict, sizeof(im->verdict), fmt, ap);
	va_end(ap);
	return true;
}

void
import_report_at(
	struct import *im, const char *place, unsigned line, const char *text, const char *verdict)
{
	bool secret = strstr(text, "password") != NULL || strstr(text, "cipher") != NULL;

	im->not_carried += verdict != NULL && strncmp(verdict, "not", 3) == 0;
	if (place != NULL)
		fprintf(im->report, "%s: ", text_safe(place));
	else
		fprintf(im->report, "%u: ", line);
	fprintf(im->report, "%s: ", secret ? "password" : text_safe(text));
	fprintf(im->report, "%s\n",
		verdict != NULL && *verdict != '\0' ? text_safe(verdict) : "done");
}

void
import_report(struct import *im, unsigned line, const char *text, const char *verdict)
{
	import_report_at(im, NULL, line, text, verdict);
}

json_t *
import_named(json_t *array, const char *key, const char *name)
{
	json_t *o;
	size_t i;

	json_array_foreach(array, i, o)
	{
		if (is(json_string_value(json_object_get(o, key)), name))
			return o;
	}
	return NULL;
}

const json_t *
import_group_of(const struct import *im, const json_t *o)
{
	return import_named(json_object_get(im->bgp, "groups"), "name",
		json_string_value(json_object_get(o, "group")));
}

json_t *
import_value_of(const json_t *o, const json_t *group, const char *key)
{
	json_t *v = json_object_get(o, key);

	return v != NULL ? v : json_object_get(group, key);
}

json_t *
import_element(json_t *home, const char *section, const char *key, const char *name)
{
	json_t *array = member_made(home, section, json_array()),
	       *o = import_named(array, key, name);

	if (o == NULL) {
		o = json_pack("{s:s}", key, name);
		json_array_append_new(array, o);
	}
	return o;
}

bool
import_number(const char *text, json_int_t *out)
{
	char *end;

	if (text == NULL || *text < '0' || *text > '9')
		return false;
	*out = (json_int_t)strtoull(text, &end, 10);
	return *end == '\0' && *out >= 0 && *out <= 4294967295ll;
}

bool
import_asn(const char *text, json_int_t *out)
{
	char high[8];
	const char *dot = text != NULL ? strchr(text, '.') : NULL;
	json_int_t upper, lower;

	if (dot == NULL)
		return import_number(text, out);
	if (dot - text > 5)
		return false;
	snprintf(high, sizeof(high), "%.*s", (int)(dot - text), text);
	if (!import_number(high, &upper) || !import_number(dot + 1, &lower) || upper > 65535 ||
		lower > 65535)
		return false;
	*out = upper << 16 | lower;
	return true;
}

bool
import_prefix(const char *text, char buf[64])
{
	const char *slash = strchr(text, '/');
	char address[INET6_ADDRSTRLEN];
	unsigned char a[16];
	int family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
	json_int_t length, most = family == AF_INET ? 32 : 128;

	if (slash == NULL || slash - text >= (long)sizeof(address) ||
		!import_number(slash + 1, &length) || length > most)
		return false;
	snprintf(address, sizeof(address), "%.*s", (int)(slash - text), text);
	if (inet_pton(family, address, a) != 1)
		return false;
	for (json_int_t i = length; i < most; i++)
		a[i / 8] = (unsigned char)(a[i / 8] & ~(0x80 >> i % 8));
	inet_ntop(family, a, address, sizeof(address));
	return snprintf(buf, 64, "%s/%d", address, (int)length) > 0;
}

bool
import_set_number(struct import *im, json_t *o, const char *key, const char *text)
{
	json_int_t n;

	if (!import_number(text, &n))
		return import_verdict(
			im, "not carried: \"%.32s\" is not a number", text ? text : "");
	return json_object_set_new(o, key, json_integer(n)) == 0;
}

bool
import_next_hop(struct import *im, json_t *set, const char *address)
{
	const char *old = json_string_value(json_object_get(set, "next_hop"));

	if (old != NULL && (strchr(old, ':') != NULL) != (strchr(address, ':') != NULL))
		return import_verdict(im, "not carried: a node sets the next hop of one family");
	return json_object_set_new(set, "next_hop", json_string(address)) == 0;
}

bool
import_max_paths(struct import *im, const char *text)
{
	json_int_t n;

	if (!import_number(text, &n) || n == 0)
		return import_verdict(im, "not carried: \"%.32s\" is no count of paths", text);
	if (n > IMPORT_PATHS_MAX) {
		n = IMPORT_PATHS_MAX;
		import_verdict(im, "changed: max_paths is 15, the largest value");
	}
	return json_object_set_new(im->bgp, "max_paths", json_integer(n)) == 0;
}

bool
import_timers(struct import *im, json_t *timers, const char *keepalive, const char *hold)
{
	json_int_t k, h;

	if (!import_number(keepalive, &k) || !import_number(hold, &h) || h > 65535)
		return import_verdict(
			im, "not carried: %.32s %.32s are no timers of keeld", keepalive, hold);
	json_object_del(timers, "keepalive_s");
	json_object_set_new(timers, "hold_s", json_integer(h));
	/* both daemons send a keepalive after a third of the hold time at the latest */
	if (k > h / 3 || h == 0)
		return true;
	if (k == 0)
		return import_verdict(
			im, "changed: the keepalive time is a third of the hold time");
	return json_object_set_new(timers, "keepalive_s", json_integer(k)) == 0;
}

bool
import_password(struct import *im, json_t *o, const char *text)
{
	if (strlen(text) > IMPORT_PASSWORD_MAX)
		return import_verdict(im, IMPORT_PASSWORD_LONG);
	return json_object_set_new(o, "password", json_string(text)) == 0;
}

void
import_unique(struct import *im, const char *original, char buf[64])
{
	const char *other;
	unsigned n = 1;
	char base[52];

	snprintf(base, sizeof(base), "%.51s", buf);
	while ((other = json_string_value(json_object_get(im->names, buf))) != NULL &&
		!is(other, original))
		snprintf(buf, 64, "%s-%u", base, ++n);
	json_object_set_new(im->names, buf, json_string(original));
}

const char *
import_name(struct import *im, const char *name, char buf[64])
{
	static const char *const words[] = {"all", "external", "internal", "group", "import",
		"export", "slow-peer", "accept-all", "deny-all"};
	bool good = isalpha((unsigned char)*name) && !text_is_address(name);
	size_t n;

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		good = good && !is(name, words[i]);
	snprintf(buf, 64, "%s%s", good ? "" : "n-", name);
	for (n = 0; buf[n] != '\0'; n++) {
		if (!isalnum((unsigned char)buf[n]) && strchr("_.-", buf[n]) == NULL)
			buf[n] = '_';
	}
	import_unique(im, name, buf);
	if (!is(buf, name))
		import_verdict(im, "changed: the name is \"%s\"", buf);
	return buf;
}

/* bgpd and VRP have a list of each family under one name, with entries of equal numbers. */
static bool
same_family(const json_t *a, const json_t *b)
{
	const char *x = json_string_value(json_object_get(a, "prefix")),
		   *y = json_string_value(json_object_get(b, "prefix"));

	return x == NULL || y == NULL || (strchr(x, ':') == NULL) == (strchr(y, ':') == NULL);
}

bool
import_list_entry(
	struct import *im, const char *section, const char *name, const char *seq, json_t *entry)
{
	char buf[64];
	json_t *list = import_element(im->document, section, "name", import_name(im, name, buf)),
	       *entries = member_made(list, "entries", json_array()), *old;
	json_int_t n = 0, last = number_of(list, "_last");
	size_t i;

	if (seq == NULL) {
		n = last / 5 * 5 + 5; /* as bgpd counts */
	} else if (!import_number(seq, &n)) {
		json_decref(entry);
		import_list_partial(im, section, name);
		return import_verdict(im, "not carried: \"%.32s\" is not a number", seq);
	}
	if (n > last)
		json_object_set_new(list, "_last", json_integer(n));
	json_object_set_new(entry, "seq", json_integer(n));
	json_array_foreach(n > last ? NULL : entries, i, old)
	{
		if (number_of(old, "seq") != n || !same_family(old, entry))
			continue;
		import_verdict(im, "changed: replaces the entry %lld before", (long long)n);
		return json_array_set_new(entries, i, entry) == 0;
	}
	return json_array_append_new(entries, entry) == 0;
}

bool
import_redistribute(struct import *im, const char *source, const char *policy)
{
	json_t *o =
		import_named(member_made(im->bgp, "redistribute", json_array()), "source", source);
	char buf[64];

	if (o == NULL) {
		o = json_pack("{s:s}", "source", source);
		json_array_append_new(json_object_get(im->bgp, "redistribute"), o);
	}
	return json_object_set_new(member_made(o, "_families", json_object()), im->family,
		       json_pack("{s:s*}", "policy",
			       policy != NULL ? import_name(im, policy, buf) : NULL)) == 0;
}

void
import_list_partial(struct import *im, const char *section, const char *name)
{
	char verdict[sizeof(im->verdict)], buf[64];
	json_t *list;

	memcpy(verdict, im->verdict, sizeof(verdict));
	list = import_element(im->document, section, "name", import_name(im, name, buf));
	memcpy(im->verdict, verdict, sizeof(verdict));
	member_made(list, "entries", json_array());
	json_object_set_new(list, IMPORT_PARTIAL, json_true());
}

/* A community as keeld writes it; false: not a community. */
static bool
community_text(const char *word, bool large, char buf[64])
{
	static const char *const names[][2] = {{"no-export", "no-export"},
		{"no-advertise", "no-advertise"}, {"no-export-subconfed", "no-export-subconfed"},
		{"local-AS", "no-export-subconfed"}, {"no-peer", "no-peer"},
		{"graceful-shutdown", "graceful-shutdown"}, {"blackhole", "blackhole"},
		{"accept-own", "accept-own"}, {"llgr-stale", "llgr-stale"}, {"no-llgr", "no-llgr"},
		{"internet", "0:0"}};
	json_int_t n;
	unsigned parts = 0;
	char copy[64], *save = NULL;

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]) && !large; i++) {
		if (is(word, names[i][0]))
			return snprintf(buf, 64, "%s", names[i][1]) > 0;
	}
	if (!large && import_number(word, &n))
		return snprintf(buf, 64, "%d:%d", (int)(n >> 16), (int)(n & 65535)) > 0;
	if (strlen(word) >= sizeof(copy) || strstr(word, "::") != NULL || *word == ':' ||
		word[strlen(word) - 1] == ':')
		return false;
	snprintf(copy, sizeof(copy), "%s", word);
	for (char *p = strtok_r(copy, ":", &save); p != NULL; p = strtok_r(NULL, ":", &save)) {
		if (!import_number(p, &n) || (!large && n > 65535))
			return false;
		parts++;
	}
	snprintf(buf, 64, "%s", word);
	return parts == (large ? 3 : 2);
}

bool
import_community(struct import *im, const char *word, bool large, char buf[64])
{
	return community_text(word, large, buf) ||
	       !import_verdict(im, "not carried: \"%.40s\" is not a community", word);
}

bool
import_node(struct import *im, const char *policy, json_int_t seq, const char *action)
{
	json_t *nodes, *node;
	size_t i;
	char buf[64];

	nodes = member_made(import_element(im->document, "route_policies", "name",
				    import_name(im, policy, buf)),
		"nodes", json_array());
	json_array_foreach(nodes, i, node)
	{
		if (number_of(node, "seq") == seq)
			break;
	}
	if (i == json_array_size(nodes))
		json_array_append_new(nodes, json_pack("{s:I}", "seq", seq));
	im->node = json_array_get(nodes, i);
	return json_object_set_new(im->node, "action", json_string(action)) == 0;
}

bool
import_set_communities(struct import *im, json_t *set, const char *key, char **words, unsigned n)
{
	bool add = n > 1 && is(words[n - 1], "additive"), large = is(key, "large_communities");
	json_t *list = json_array();
	char text[64];

	for (unsigned i = 0; i < n - add; i++) {
		if (is(words[i], "none"))
			continue;
		if (!import_community(im, words[i], large, text))
			return json_decref(list), false;
		json_array_append_new(list, json_string(text));
	}
	return json_object_set_new(
		       member_made(set, key, json_object()), add ? "add" : "replace", list) == 0;
}

void
import_filter(json_t *family, bool in, const char *key, const char *name)
{
	json_t *filters = member_made(family, in ? "_filters_in" : "_filters_out", json_object());

	json_object_set_new(filters, key, name != NULL ? json_string(name) : json_null());
}

void
import_accept_all(json_t *family, const json_t *inherited)
{
	static const char *const keys[] = {"import_policy", "export_policy"};

	for (unsigned k = 0; k < 2; k++) {
		if (json_object_get(family, keys[k]) == NULL &&
			json_object_get(inherited, keys[k]) == NULL)
			json_object_set_new(family, keys[k], json_string("accept-all"));
	}
}

/* 0: no family with lines of the file that is in use has the temporary key, 1: some, 2: all. */
static unsigned
families_with(const struct import *im, const json_t *o, const json_t *group, const char *key)
{
	static const char *const names[] = {"ipv4-unicast", "ipv6-unicast"};
	unsigned used = 0, with = 0;

	for (unsigned i = 0; i < 2; i++) {
		const json_t *f = json_object_get(json_object_get(o, "families"), names[i]),
			     *theirs =
				     json_object_get(json_object_get(group, "families"), names[i]);

		const json_t *enabled = import_value_of(f, theirs, "enabled");

		if (enabled != NULL
				? json_is_false(enabled)
				: (f == NULL && theirs == NULL) || im->no_default_family || i > 0)
			continue;
		used++;
		with += json_is_true(import_value_of(f, theirs, key));
	}
	return with == 0 ? 0 : with < used ? 1 : 2;
}

void
import_key_of_families(struct import *im, const char *key)
{
	static const char *const homes[] = {"groups", "peers"};
	char temporary[64];
	json_t *o;
	size_t i;

	snprintf(temporary, sizeof(temporary), "_%s", key);
	for (unsigned h = 0; h < 2; h++) {
		json_array_foreach(json_object_get(im->bgp, homes[h]), i, o)
		{
			const json_t *group = import_group_of(im, o),
				     *own = json_object_get(o, "families"),
				     *theirs = json_object_get(group, "families");
			const char *what =
				json_string_value(json_object_get(o, h == 0 ? "name" : "address"));
			unsigned with = families_with(im, o, group, temporary);

			if (with == 2 && !json_is_true(json_object_get(group, key)))
				json_object_set_new(o, key, json_true());
			if (with != 2 && json_is_true(json_object_get(group, key)))
				json_object_set_new(o, key, json_false());
			if (with == 1)
				import_end_report(im, what,
					"not carried: %s of one family; keeld has it for all", key);
			if (with == 2 && !im->no_default_family &&
				import_value_of(own, theirs, "ipv4-unicast") == NULL)
				import_end_report(im, what,
					"changed: %s holds for IPv4 too, which the neighbour has "
					"by default",
					key);
		}
	}
}

/* The last word of a description runs to the end of the line. */
static unsigned
split(char *text, char *words[IMPORT_WORDS])
{
	unsigned n = 0;
	char *save = NULL;

	for (char *w = strtok_r(text, " \t\r\n", &save); w != NULL && n < IMPORT_WORDS;
		w = strtok_r(NULL, " \t\r\n", &save)) {
		words[n++] = w;
		if (is(w, "description") && n + 1 < IMPORT_WORDS && *save != '\0') {
			save[strcspn(save, "\r\n")] = '\0';
			words[n++] = save;
			break;
		}
	}
	return n;
}

void
import_each_line(struct import *im, FILE *in, import_line *line)
{
	char *text = NULL, *words[IMPORT_WORDS + 4] = {NULL};
	size_t size = 0;

	while (getline(&text, &size, in) >= 0) {
		char *copy = strdup(text);
		unsigned n = copy != NULL ? split(copy, words) : 0;

		for (unsigned i = n; i < IMPORT_WORDS + 4; i++)
			words[i] = NULL; /* of the line before */
		im->line++;
		im->verdict[0] = '\0';
		if (n > 0 && *words[0] != '!' && *words[0] != '#') {
			if (n == IMPORT_WORDS)
				import_verdict(im, "not carried: the line has too many words");
			else
				line(im, *text == ' ' || *text == '\t', words, n);
			text[strcspn(text, "\r\n")] = '\0';
			import_report(im, im->line, text, im->verdict);
		}
		free(copy);
	}
	free(text);
}

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

/* ---- the end of a translation ---- */

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

void
import_end_report(struct import *im, const char *what, const char *fmt, ...)
{
	char verdict[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(verdict, sizeof(verdict), fmt, ap);
	va_end(ap);
	import_report(im, ++im->line, what, verdict);
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
	strip_own_keys(im->document);
}

/* True if the policy or a called policy has a condition on `validation`. */
static bool
validates(const struct import *im, const char *name, unsigned depth)
{
	json_t *policy = list_of(im, "route_policies", name), *node;
	size_t i;

	json_array_foreach(json_object_get(policy, "nodes"), i, node)
	{
		const char *callee = json_string_value(json_object_get(node, "call"));

		if (json_object_get(json_object_get(node, "match"), "validation") != NULL)
			return true;
		if (callee != NULL && depth < IMPORT_CALLS_MAX && validates(im, callee, depth + 1))
			return true;
	}
	return false;
}

void
import_check_validation(struct import *im)
{
	static const char *const homes[] = {"groups", "peers"};
	const char *name, *family;
	json_t *o, *f;
	size_t i;

	for (unsigned h = 0; h < 2; h++) {
		json_array_foreach(json_object_get(im->bgp, homes[h]), i, o)
		{
			json_object_foreach(json_object_get(o, "families"), family, f)
			{
				name = json_string_value(json_object_get(f, "export_policy"));
				if (name == NULL || !validates(im, name, 0))
					continue;
				import_end_report(im, name,
					"not carried: validation in an export policy; no route is "
					"advertised");
				json_object_set_new(f, "export_policy", json_string("deny-all"));
			}
		}
	}
}

void
import_command(struct ctl *ctl, const struct command *c)
{
	struct import im = {.path = c->file, .report = stderr, .family = "ipv4-unicast"};
	FILE *in = fopen(c->file, "re");
	const json_t *router;
	struct stat st;

	if (in == NULL) {
		ctl_fail(ctl, EXIT_REFUSED, "%s: %s", text_safe(c->file), strerror(errno));
		return;
	}
	if (fstat(fileno(in), &st) == 0 && S_ISDIR(st.st_mode)) {
		ctl_fail(ctl, EXIT_REFUSED, "%s: %s", text_safe(c->file), strerror(EISDIR));
		fclose(in);
		return;
	}
	im.names = json_object();
	im.document = json_pack("{s:{}, s:{}}", "router", "bgp");
	im.bgp = json_object_get(im.document, "bgp");
	if (is(c->dialect, "bird"))
		import_bird(&im, in);
	else if (is(c->dialect, "vrp"))
		import_vrp(&im, in);
	else
		import_frr(&im, in);
	fclose(in);
	import_finish(&im);
	import_check_validation(&im);
	router = json_object_get(im.document, "router");
	if (json_object_get(router, "router_id") == NULL)
		import_report(&im, im.line + 1, "router_id",
			"not carried: the file has no router id; add router.router_id");
	if (json_object_get(router, "asn") == NULL)
		import_report(&im, im.line + 1, "asn",
			"not carried: the file has no local AS number; add router.asn");
	ctl_print_json(im.document, true);
	if (im.not_carried > 0)
		ctl_fail(ctl, EXIT_REFUSED, "%u line%s not carried", im.not_carried,
			im.not_carried == 1 ? "" : "s");
	json_decref(im.document);
	json_decref(im.names);
}
