/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration as lines that can be typed again. Each line is applied to an empty document at
 * once; keys that no line of the views expresses follow as `set` lines, from the differences. Thus
 * the lines always lead to the same document, except for passwords.
 */
#include "control/cli/keelctl.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE 500 /* the room of text_safe(); longer lines are `set` lines */

struct lines {
	struct ctl local; /* the view of the lines so far */
	const struct ctl *ctl;
	bool only_view; /* print only the lines of the view of ctl */
	json_t *document; /* that the lines lead to */
};

static bool
printed(const struct lines *l)
{
	if (!l->only_view || l->ctl->view == VIEW_SYSTEM)
		return true;
	if (l->local.view == VIEW_POLICY)
		return l->ctl->view == VIEW_POLICY && l->local.node == l->ctl->node &&
		       strcmp(l->local.policy, l->ctl->policy) == 0;
	return l->local.view == l->ctl->view &&
	       (l->local.view == VIEW_BGP || (strcmp(l->local.family, l->ctl->family) == 0 &&
						     strcmp(l->local.vrf, l->ctl->vrf) == 0));
}

static void line(struct lines *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Prints a line of the present view, if the document accepts the line. */
static void
line(struct lines *l, const char *fmt, ...)
{
	char text[LINE], copy[LINE], error[256];
	struct command c;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (len < 0 || (size_t)len >= sizeof(text))
		return;
	memcpy(copy, text, (size_t)len + 1);
	if (command_parse_line(l->local.view, copy, &c, error, sizeof(error)) != 0 ||
		!edit_locally(&l->local, &c, l->document))
		return;
	if (printed(l))
		printf("%*s%s\n",
			l->only_view || l->local.view == VIEW_SYSTEM ? 0
			: l->local.view & (VIEW_BGP | VIEW_POLICY)   ? 1
								     : 2,
			"", text_safe(text));
}

/* A text as one word, in quotes; false: the words of a line cannot hold the text. */
static bool
quoted(const char *text, char *out, size_t size)
{
	size_t at = 0;

	/* a control character would be printed as `?`; a word `|` begins a filter */
	if (strlen(text) > 300 || strcmp(text, text_safe(text)) != 0 || strcmp(text, "|") == 0)
		return false;
	out[at++] = '"';
	for (; *text != '\0' && at + 4 < size; text++) {
		if (*text == '"' || *text == '\\')
			out[at++] = '\\';
		out[at++] = *text;
	}
	out[at++] = '"';
	out[at] = '\0';
	return true;
}

/* ---- peers and groups ---- */

/* The line of a setting; `o`: the object with the key. */
static void
setting(struct lines *l, const char *name, const json_t *o, const struct setting *s)
{
	const json_t *v = json_object_get(o, s->key);
	const char *action = string_of(v, "action");
	char text[700];

	if (s->kind == SETS_LIMIT && v != NULL)
		line(l, "peer %s %s %lld%s", name, s->words, number_of(v, "limit"),
			strcmp(action, "warning") == 0	 ? " alert-only"
			: strcmp(action, "discard") == 0 ? " discard"
							 : "");
	else if (s->kind == SETS_POLICY && json_is_string(v))
		line(l, "peer %s route-policy %s %s", name, json_string_value(v),
			strchr(s->words, ' ') + 1);
	else if (json_is_true(v))
		line(l, "peer %s %s", name, s->words);
	else if (json_is_false(v) && s->on)
		line(l, "undo peer %s %s", name, s->words);
	else if (json_is_integer(v))
		line(l, "peer %s %s %lld", name, s->words, (long long)json_integer_value(v));
	else if (json_is_string(v) && quoted(json_string_value(v), text, sizeof(text)))
		line(l, "peer %s %s %s", name, s->words, text);
}

static void
object_lines(struct lines *l, const char *name, const json_t *o)
{
	const json_t *timers = json_object_get(o, "timers"),
		     *keepalive = json_object_get(timers, "keepalive_s"),
		     *hold = json_object_get(timers, "hold_s");
	bool both = json_is_integer(keepalive) && json_is_integer(hold);

	if (both)
		line(l, "peer %s timer keepalive %lld hold %lld", name,
			(long long)json_integer_value(keepalive),
			(long long)json_integer_value(hold));
	for (const struct setting *s = settings; s->words != NULL; s++) {
		bool is_hold = strcmp(s->key, "hold_s") == 0;

		if (strcmp(s->key, "password") != 0 &&
			(!is_hold || (!both && strstr(s->words, "keepalive") == NULL)) &&
			(s->home == NULL || *s->home != '\0'))
			setting(l, name, s->home != NULL ? json_object_get(o, s->home) : o, s);
	}
	if (json_object_get(o, "password") != NULL && printed(l))
		printf("# peer %s password: not shown\n", name);
}

static void
family_lines(struct lines *l, const char *name, const json_t *o)
{
	const json_t *f = json_object_get(json_object_get(o, "families"), l->local.family);

	if (f == NULL)
		return;
	line(l,
		json_is_false(json_object_get(f, "enabled")) ? "undo peer %s enable"
							     : "peer %s enable",
		name);
	for (const struct setting *s = settings; s->words != NULL; s++) {
		if (s->home != NULL && *s->home == '\0')
			setting(l, name, f, s);
	}
}

static bool
in_vrf(const json_t *o, const char *vrf)
{
	const char *name = string_of(o, "vrf");

	return strcmp(*name != '\0' ? name : "default", vrf) == 0;
}

static void
peer_begin(struct lines *l, const json_t *peer)
{
	const char *address = string_of(peer, "address"), *group = string_of(peer, "group");
	long long asn = number_of(peer, "asn");

	if (asn > 0)
		line(l, "peer %s as-number %lld", address, asn);
	if (*group != '\0')
		line(l, "peer %s group %s", address, group);
	if (json_object_get(peer, "password") != NULL) {
		json_t *peers = json_object_get(json_object_get(l->document, "bgp"), "peers");

		json_object_set(json_array_get(peers, json_array_size(peers) - 1), "password",
			json_object_get(peer, "password"));
	}
	object_lines(l, address, peer);
}

/* Enters a view, and prints the line that does so. */
static void
enter(struct lines *l, enum command_view view, const char *family, const char *vrf)
{
	static const char *const words[][2] = {{"ipv4-unicast", "ipv4-family unicast"},
		{"ipv6-unicast", "ipv6-family unicast"}, {"vpnv4-unicast", "ipv4-family vpnv4"},
		{"vpnv6-unicast", "ipv6-family vpnv6"}};

	l->local.view = view;
	l->local.family = family;
	snprintf(l->local.vrf, sizeof(l->local.vrf), "%s", vrf);
	if (l->only_view && l->ctl->view != VIEW_SYSTEM)
		return;
	for (unsigned i = 0; view == VIEW_FAMILY && i < 4; i++) {
		if (strcmp(words[i][0], family) == 0)
			printf(" %s\n", words[i][1]);
	}
	if (view == VIEW_VRF)
		printf(" ipv%c-family vpn-instance %s\n", family[3], vrf);
}

static void
leave(const struct lines *l)
{
	if (!l->only_view || l->ctl->view == VIEW_SYSTEM)
		puts(" quit");
}

/* The view of a family of the default VRF, or of a VPN instance (with the peers themselves). */
static void
family_view_lines(struct lines *l, const json_t *bgp, const char *family, const char *vrf)
{
	bool instance = strcmp(vrf, "default") != 0, v6 = strcmp(family, "ipv6-unicast") == 0;
	const json_t *o;
	size_t i;

	enter(l, instance ? VIEW_VRF : VIEW_FAMILY, family, instance ? vrf : "");
	json_array_foreach(json_object_get(bgp, "networks"), i, o)
	{
		if (in_vrf(o, vrf) && (strchr(string_of(o, "prefix"), ':') != NULL) == v6 &&
			strncmp(family, "vpn", 3) != 0)
			line(l, "network %s", string_of(o, "prefix"));
	}
	json_array_foreach(json_object_get(bgp, "groups"), i, o)
	{
		if (!instance)
			family_lines(l, string_of(o, "name"), o);
	}
	json_array_foreach(json_object_get(bgp, "peers"), i, o)
	{
		if (in_vrf(o, vrf))
			family_lines(l, string_of(o, "address"), o);
	}
	leave(l);
}

static void
bgp_lines(struct lines *l, const json_t *document)
{
	static const char *const families[] = {
		"ipv4-unicast", "ipv6-unicast", "vpnv4-unicast", "vpnv6-unicast"};
	const json_t *bgp = json_object_get(document, "bgp"), *o;
	size_t i;

	if (!l->only_view || l->ctl->view == VIEW_SYSTEM)
		printf("bgp %lld\n", number_of(json_object_get(document, "router"), "asn"));
	enter(l, VIEW_BGP, NULL, "");
	json_array_foreach(json_object_get(bgp, "groups"), i, o)
	{
		line(l, "group %s", string_of(o, "name"));
		if (number_of(o, "asn") > 0)
			line(l, "peer %s as-number %lld", string_of(o, "name"),
				number_of(o, "asn"));
		object_lines(l, string_of(o, "name"), o);
	}
	json_array_foreach(json_object_get(bgp, "peers"), i, o)
	{
		bool instance = !in_vrf(o, "default");

		if (instance)
			enter(l, VIEW_VRF,
				strchr(string_of(o, "address"), ':') != NULL ? "ipv6-unicast"
									     : "ipv4-unicast",
				string_of(o, "vrf"));
		peer_begin(l, o);
		if (instance) {
			leave(l);
			enter(l, VIEW_BGP, NULL, "");
		}
	}
	json_array_foreach(json_object_get(bgp, "redistribute"), i, o)
	{
		if (in_vrf(o, "default"))
			line(l, "import-route %s%s%s", string_of(o, "source"),
				*string_of(o, "policy") != '\0' ? " route-policy " : "",
				string_of(o, "policy"));
	}
	for (unsigned f = 0; f < 4; f++)
		family_view_lines(l, bgp, families[f], "default");
	json_array_foreach(json_object_get(document, "vrfs"), i, o)
	{
		family_view_lines(l, bgp, "ipv4-unicast", string_of(o, "name"));
		family_view_lines(l, bgp, "ipv6-unicast", string_of(o, "name"));
	}
	if (!l->only_view || l->ctl->view == VIEW_SYSTEM)
		puts("quit");
	l->local.view = VIEW_SYSTEM;
}

/* ---- the rest of the document ---- */

static void
set_line(const char *path, const json_t *value)
{
	char *text = json_dumps(
		value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII);

	if (text == NULL)
		return;
	printf("set %s ", path);
	/* a single quote would end the quotes around a text: JSON escapes the quote */
	if (json_is_string(value)) {
		putchar('\'');
		for (const char *p = text; *p != '\0'; p++)
			fputs(*p == '\'' ? "\\u0027" : (char[]){*p, '\0'}, stdout);
		puts("'");
	} else {
		puts(text);
	}
	free(text);
}

/* A section: arrays element by element, so that no line is long. */
static void
section_lines(const char *key, const json_t *section)
{
	const json_t *o;
	char path[128];
	size_t i;

	snprintf(path, sizeof(path), "/%s", key);
	if (!json_is_array(section)) {
		set_line(path, section);
		return;
	}
	printf("set %s []\n", path);
	snprintf(path, sizeof(path), "/%s/-", key);
	json_array_foreach(section, i, o) set_line(path, o);
}

/* ---- lists and route policies ---- */

#define LIST_LONG 1000u /* a list with more entries is one `set` line */

/* True if lines express the entries: all have a `seq`, or none has. */
static bool
has_entry_lines(const json_t *entries)
{
	size_t n = json_array_size(entries), numbered = 0, i;
	const json_t *entry;

	json_array_foreach(entries, i, entry) numbered += json_object_get(entry, "seq") != NULL;
	return n > 0 && n <= LIST_LONG && (numbered == 0 || numbered == n);
}

/* Prints a `set` line for an element without lines in the views. */
static void
element_line(struct lines *l, const char *section, json_t *o)
{
	json_t *array = json_object_get(l->document, section);
	char path[64];

	if (array == NULL) {
		array = json_array();
		json_object_set_new(l->document, section, array);
		if (printed(l))
			printf("set /%s []\n", section);
	}
	json_array_append(array, o);
	snprintf(path, sizeof(path), "/%s/-", section);
	if (printed(l))
		set_line(path, o);
}

static void
entry_line(
	struct lines *l, const struct policy_list_words *w, const char *name, const json_t *entry)
{
	const char *value = string_of(entry, w->key), *action = string_of(entry, "action");
	char index[32] = "", range[80] = "", text[700];
	size_t at = 0;

	if (json_object_get(entry, "seq") != NULL)
		snprintf(index, sizeof(index), "index %lld ", number_of(entry, "seq"));
	if (json_object_get(entry, "ge") != NULL)
		at = (size_t)snprintf(
			range, sizeof(range), " greater-equal %lld", number_of(entry, "ge"));
	if (json_object_get(entry, "le") != NULL)
		snprintf(
			range + at, sizeof(range) - at, " less-equal %lld", number_of(entry, "le"));
	if (strcmp(w->key, "prefix") == 0)
		line(l, "ip ip%sprefix %s %s%s %s%s", strchr(value, ':') != NULL ? "v6-" : "-",
			name, index, action, value, range);
	else if (strcmp(w->key, "regex") != 0)
		line(l, "ip %s %s %s%s %s", w->word, name, index, action, value);
	else if (quoted(value, text, sizeof(text)))
		line(l, "ip %s %s %s%s %s", w->word, name, index, action, text);
}

static void
list_lines(struct lines *l, const json_t *document)
{
	const char *before = "";
	json_t *list, *entry;
	size_t i, k;

	for (const struct policy_list_words *w = policy_list_words; w->word != NULL; w++) {
		if (strcmp(w->section, before) == 0)
			continue;
		before = w->section;
		json_array_foreach(json_object_get(document, w->section), i, list)
		{
			json_t *entries = json_object_get(list, "entries");

			if (!has_entry_lines(entries)) {
				element_line(l, w->section, list);
				continue;
			}
			json_array_foreach(entries, k, entry)
				entry_line(l, w, string_of(list, "name"), entry);
		}
	}
}

static const char *
keyword_of(const char *value)
{
	for (unsigned i = 0; policy_values[i][0] != NULL; i++) {
		if (strcmp(policy_values[i][1], value) == 0)
			return policy_values[i][0];
	}
	return value;
}

/* The texts of an array, or one text, each with a space before; false: not texts, or too many. */
static bool
joined(const json_t *v, char *out, size_t size)
{
	size_t n = json_is_array(v) ? json_array_size(v) : 1, at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		const char *text = json_string_value(json_is_array(v) ? json_array_get(v, i) : v);

		if (text == NULL || strlen(text) + at + 2 > size)
			return false;
		at += (size_t)snprintf(out + at, size - at, " %s", text);
	}
	return true;
}

static void
communities_lines(struct lines *l, const char *words, const json_t *change)
{
	static const char *const modes[][2] = {
		{"replace", ""}, {"add", " additive"}, {"remove", " delete"}};
	char texts[1024];

	for (unsigned i = 0; i < 3; i++) {
		const json_t *v = json_object_get(change, modes[i][0]);

		if (v != NULL && i == 0 && json_array_size(v) == 0)
			line(l, "apply %s none", words);
		else if (v != NULL && joined(v, texts, sizeof(texts)))
			line(l, "apply %s%s%s", words, texts, modes[i][1]);
	}
}

static void
prepend_line(struct lines *l, const json_t *v)
{
	long long asn = number_of(v, "asn"), count = number_of(v, "count");
	char text[600];
	size_t at = 0;

	for (long long i = 0; i < count && at + 16 < sizeof(text); i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, " %lld", asn);
	if (asn > 0 && count > 0)
		line(l, "apply as-path%s additive", text);
}

/* A condition or a change: `verb` and the words. */
static void
policy_words_line(struct lines *l, const char *verb, const struct policy_words *w, const json_t *v)
{
	const char *sign = json_object_get(v, "add") != NULL ? "add" : "subtract";
	char texts[1024];

	if (w->kind == WORDS_COMMUNITIES)
		communities_lines(l, w->words, v);
	else if (w->kind == WORDS_PATH)
		prepend_line(l, v);
	else if (w->kind == WORDS_CHANGE && json_object_size(v) == 1)
		line(l, "%s %s %c %lld", verb, w->words, *sign == 'a' ? '+' : '-',
			number_of(v, sign));
	else if (json_is_integer(v))
		line(l, "%s %s %lld", verb, w->words, (long long)json_integer_value(v));
	else if (w->kind == WORDS_NAMES && joined(v, texts, sizeof(texts)))
		line(l, "%s %s%s", verb, w->words, texts);
	else if (json_is_string(v))
		line(l, "%s %s %s", verb, w->words, keyword_of(json_string_value(v)));
}

/* Prints a member by the first of two entries with equal keys. */
static void
member_lines(struct lines *l, const char *verb, const struct policy_words *table, const json_t *o)
{
	const char *key = "";

	for (; table->words != NULL; table++) {
		const json_t *v = json_object_get(o, table->key);

		if (v != NULL && strcmp(table->key, key) != 0)
			policy_words_line(l, verb, table, v);
		key = table->key;
	}
}

static void
node_lines(struct lines *l, const char *policy, const json_t *node)
{
	char text[700];

	line(l, "route-policy %s %s node %lld", policy, string_of(node, "action"),
		number_of(node, "seq"));
	l->local.view = VIEW_POLICY;
	l->local.node = (unsigned)number_of(node, "seq");
	snprintf(l->local.policy, sizeof(l->local.policy), "%s", policy);
	if (quoted(string_of(node, "description"), text, sizeof(text)) &&
		*string_of(node, "description") != '\0')
		line(l, "description %s", text);
	member_lines(l, "if-match", policy_conditions, json_object_get(node, "match"));
	if (*string_of(node, "call") != '\0')
		line(l, "call %s", string_of(node, "call"));
	member_lines(l, "apply", policy_changes, json_object_get(node, "set"));
	if (number_of(node, "goto") > 0)
		line(l, "goto node %lld", number_of(node, "goto"));
	l->local.view = VIEW_SYSTEM;
	if (printed(l))
		puts("quit");
}

static void
policy_lines(struct lines *l, const json_t *document)
{
	json_t *policy, *node;
	size_t i, k;

	json_array_foreach(json_object_get(document, "route_policies"), i, policy)
	{
		json_t *nodes = json_object_get(policy, "nodes");

		if (json_array_size(nodes) == 0)
			element_line(l, "route_policies", policy);
		json_array_foreach(nodes, k, node) node_lines(l, string_of(policy, "name"), node);
	}
}

/* True if the elements of the section have lines in the views. */
static bool
has_lines(const char *section)
{
	const struct policy_list_words *w = policy_list_words;

	while (w->word != NULL && strcmp(w->section, section) != 0)
		w++;
	return w->word != NULL || strcmp(section, "route_policies") == 0 ||
	       strcmp(section, "bgp") == 0 || strcmp(section, "static_routes") == 0;
}

static void
static_lines(struct lines *l, const json_t *document)
{
	const json_t *o;
	char text[700] = "\"\"";
	size_t i;

	json_array_foreach(json_object_get(document, "static_routes"), i, o)
	{
		const char *vrf = in_vrf(o, "default") ? "" : string_of(o, "vrf");
		bool hop = json_is_string(json_object_get(o, "next_hop")),
		     tag = number_of(o, "tag");
		bool said = quoted(string_of(o, "description"), text, sizeof(text)) &&
			    *string_of(o, "description") != '\0';
		char number[32] = "";

		if (tag)
			snprintf(number, sizeof(number), " tag %lld", number_of(o, "tag"));
		line(l, "ip%s route-static %s%s%s%s %s%s%s%s",
			strchr(string_of(o, "prefix"), ':') != NULL ? "v6" : "",
			*vrf != '\0' ? "vpn-instance " : "", vrf, *vrf != '\0' ? " " : "",
			string_of(o, "prefix"), hop ? string_of(o, "next_hop") : "NULL0", number,
			said ? " description " : "", said ? text : "");
	}
}

static const json_t *
node_of_view(const struct lines *l, const json_t *document)
{
	const json_t *policy, *node;
	size_t i, k;

	json_array_foreach(json_object_get(document, "route_policies"), i, policy)
	{
		json_array_foreach(json_object_get(policy, "nodes"), k, node)
		{
			if (strcmp(string_of(policy, "name"), l->ctl->policy) == 0 &&
				number_of(node, "seq") == (long long)l->ctl->node)
				return node;
		}
	}
	return NULL;
}

/* `display this` in a node: comments for conditions and changes without a line. */
static void
rest_of_node(const struct lines *l, const json_t *document)
{
	const json_t *was = node_of_view(l, l->document), *is = node_of_view(l, document);
	json_t *patch, *op;
	char *text;
	size_t i;

	if (was == NULL || is == NULL)
		return;
	patch = edit_differences((json_t *)(uintptr_t)was, (json_t *)(uintptr_t)is);
	json_array_foreach(patch, i, op)
	{
		text = json_dumps(json_object_get(op, "value"),
			JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
		printf("# also %s %s\n", string_of(op, "path") + 1, text != NULL ? text : "");
		free(text);
	}
	json_decref(patch);
}

/* What the lines of the views do not express. */
static void
rest_lines(struct lines *l, json_t *document)
{
	json_t *patch = edit_differences(l->document, document), *op;
	bool all = !l->only_view || l->ctl->view == VIEW_SYSTEM;
	size_t i;

	json_array_foreach(patch, i, op)
	{
		const char *path = string_of(op, "path");

		if (!all)
			continue;
		if (strcmp(string_of(op, "op"), "remove") == 0)
			printf("undo set %s\n", path);
		else
			set_line(path, json_object_get(op, "value"));
	}
	json_decref(patch);
}

void
display_lines(struct ctl *ctl, const struct command *c)
{
	bool candidate = ctl->view != VIEW_USER && keyword(c, "this") != NULL;
	json_t *result = ctl_call(ctl, "config.get",
		json_pack("{s:s}", "source", candidate ? "candidate" : "running"));
	json_t *document = json_object_get(result, "document"), *section;
	struct lines l = {.local = {.view = VIEW_SYSTEM, .quiet = true},
		.ctl = ctl,
		.only_view = candidate,
		.document = json_object()};
	const char *key;

	if (result == NULL)
		return;
	if (ctl->json) {
		ctl_print_json(result, false);
	} else {
		json_object_foreach(document, key, section)
		{
			if (has_lines(key))
				continue;
			json_object_set(l.document, key, section);
			if (strcmp(key, "router") != 0 && printed(&l))
				section_lines(key, section);
		}
		list_lines(&l, document);
		policy_lines(&l, document);
		static_lines(&l, document);
		bgp_lines(&l, document);
		rest_lines(&l, document);
		if (candidate && ctl->view == VIEW_POLICY)
			rest_of_node(&l, document);
	}
	json_decref(l.document);
	json_decref(result);
}
