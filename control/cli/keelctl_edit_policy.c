/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines for lists and route policies, in the words of VRP, applied to a document: entries of lists by
 * their `seq`, and the conditions and changes of the node whose view is open.
 */
#include "control/cli/keelctl.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct policy_list_words policy_list_words[] = {
	{"ip-prefix", "prefix_lists", "prefix"},
	{"ipv6-prefix", "prefix_lists", "prefix"},
	{"as-path-filter", "as_path_lists", "regex"},
	{"community-filter", "community_lists", "community"},
	{"large-community-filter", "large_community_lists", "large_community"},
	{"extcommunity-filter", "ext_community_lists", "ext_community"},
	{NULL, NULL, NULL},
};

const struct policy_words policy_conditions[] = {
	{"ip-prefix", "prefix_list", WORDS_NAMES},
	{"ipv6 address prefix-list", "prefix_list", WORDS_NAMES},
	{"as-path-filter", "as_path_list", WORDS_NAMES},
	{"community-filter", "community_list", WORDS_NAMES},
	{"large-community-filter", "large_community_list", WORDS_NAMES},
	{"extcommunity-filter", "ext_community_list", WORDS_NAMES},
	{"ip next-hop ip-prefix", "next_hop_prefix_list", WORDS_NAMES},
	{"ipv6 next-hop prefix-list", "next_hop_prefix_list", WORDS_NAMES},
	{"cost", "med", WORDS_NUMBER},
	{"local-preference", "local_pref", WORDS_NUMBER},
	{"tag", "tag", WORDS_NUMBER},
	{"protocol", "source", WORDS_KEYWORD},
	{"origin", "origin", WORDS_KEYWORD},
	{"rpki origin-as-validation", "validation", WORDS_KEYWORD},
	{NULL, NULL, WORDS_NAMES},
};

const struct policy_words policy_changes[] = {
	{"local-preference", "local_pref", WORDS_CHANGE},
	{"cost", "med", WORDS_CHANGE},
	{"tag", "tag", WORDS_NUMBER},
	{"origin", "origin", WORDS_KEYWORD},
	{"community", "communities", WORDS_COMMUNITIES},
	{"large-community", "large_communities", WORDS_COMMUNITIES},
	{"extcommunity", "ext_communities", WORDS_COMMUNITIES},
	{"as-path", "as_path_prepend", WORDS_PATH},
	{"ip-address next-hop", "next_hop", WORDS_NEXT_HOP},
	{"ipv6 next-hop", "next_hop", WORDS_NEXT_HOP},
	{NULL, NULL, WORDS_NUMBER},
};

/* Keywords that differ from the values of keel.json. */
const char *const policy_values[][2] = {
	{"direct", "connected"}, {"peer-address", "peer"}, {"blackhole", "discard"}, {NULL, NULL}};

/* ---- documents ---- */

/* The array of a key, made where it is missing. NULL after a message: the value is no array. */
static json_t *
made_array(struct edit *e, json_t *o, const char *key)
{
	json_t *array = member_made(o, key, json_array());

	if (json_is_array(array))
		return array;
	edit_refuse(e, "`%s` of the candidate is no array; use: undo set PATH", key);
	return NULL;
}

static json_t *
number_value(const struct edit *e, const char *name)
{
	return json_integer((json_int_t)arg_number(e->c, name));
}

/* Searched from the end: lines of one list or policy follow each other. */
static json_t *
named(json_t *array, const char *name, size_t *at)
{
	for (*at = json_array_size(array); *at > 0;) {
		json_t *o = json_array_get(array, --*at);

		if (strcmp(string_of(o, "name"), name) == 0)
			return o;
	}
	return NULL;
}

/* The place behind the elements with at most this `seq`. *same: the last of them has this `seq`. */
static size_t
place_of(json_t *array, json_int_t seq, bool *same)
{
	size_t at = json_array_size(array);

	*same = false;
	while (at > 0 && number_of(json_array_get(array, at - 1), "seq") > seq)
		at--;
	*same = at > 0 && number_of(json_array_get(array, at - 1), "seq") == seq;
	return at;
}

/* ---- lists ---- */

static const struct policy_list_words *
words_of(const struct command *c)
{
	const struct policy_list_words *w = policy_list_words;

	while (keyword(c, w->word) == NULL)
		w++;
	return w;
}

const char *
list_section(const struct command *c)
{
	return words_of(c)->section;
}

/*
 * Entries without `seq` get the numbers 10, 20, 30 in their order. False after a message if some entries
 * have a `seq`: other numbers would change.
 */
static bool
number_entries(struct edit *e, json_t *entries)
{
	size_t numbered = 0, i;
	json_t *entry;

	json_array_foreach(entries, i, entry) numbered += json_object_get(entry, "seq") != NULL;
	if (numbered == json_array_size(entries))
		return true;
	if (numbered > 0) {
		edit_refuse(e, "some entries of \"%.64s\" have no index; set their `seq` first",
			arg(e->c, "name"));
		return false;
	}
	json_array_foreach(entries, i, entry)
		json_object_set_new(entry, "seq", json_integer(10 * ((json_int_t)i + 1)));
	return true;
}

static bool
is_ipv6(const char *prefix)
{
	return strchr(prefix, ':') != NULL;
}

/* A community of a line, which may name the kind of an extended community. */
static json_t *
community_value(const struct command *c, const char *text)
{
	const char *kind = keyword(c, "rt|soo");

	return json_sprintf("%s%s%s", kind != NULL ? kind : "", kind != NULL ? ":" : "", text);
}

static json_t *
new_entry(const struct edit *e, const struct policy_list_words *w)
{
	const struct command *c = e->c;
	json_t *entry = json_pack("{s:s}", "action", keyword(c, "permit|deny"));

	json_object_set_new(entry, w->key,
		arg(c, "community") != NULL
			? community_value(c, arg(c, "community"))
			: json_string(arg(c, arg(c, "prefix") != NULL ? "prefix" : "as_path")));
	if (arg(c, "ge") != NULL)
		json_object_set_new(entry, "ge", number_value(e, "ge"));
	if (arg(c, "le") != NULL)
		json_object_set_new(entry, "le", number_value(e, "le"));
	return entry;
}

/* Adds an entry without an index at the end, with a `seq` if the entry before has a `seq`. */
static int
add_last(struct edit *e, json_t *entries, json_t *entry)
{
	size_t n = json_array_size(entries);
	json_int_t seq = n > 0 ? number_of(json_array_get(entries, n - 1), "seq") : 0;

	if (seq > UINT32_MAX - 10) {
		json_decref(entry);
		edit_refuse(e, "no index after %lld is free; use: index NUMBER", (long long)seq);
		return -1;
	}
	if (seq > 0)
		json_object_set_new(entry, "seq", json_integer((seq / 10 + 1) * 10));
	return json_array_append_new(entries, entry);
}

/* True if the entry belongs to the lists of the word: prefixes of IPv4 or IPv6, or any other value. */
static bool
is_of_word(const json_t *entry, const struct policy_list_words *w)
{
	return strcmp(w->key, "prefix") != 0 ||
	       is_ipv6(string_of(entry, "prefix")) == (strcmp(w->word, "ipv6-prefix") == 0);
}

/* Adds an entry, or replaces the entry with its index. */
static int
add_indexed(struct edit *e, json_t *entries, json_t *entry)
{
	json_int_t seq = (json_int_t)arg_number(e->c, "index");
	bool same;
	size_t at;

	json_object_set_new(entry, "seq", json_integer(seq));
	if (!number_entries(e, entries)) {
		json_decref(entry);
		return -1;
	}
	at = place_of(entries, seq, &same);
	if (!same)
		return json_array_insert_new(entries, at, entry);
	if (is_of_word(json_array_get(entries, at - 1), words_of(e->c)))
		return json_array_set_new(entries, at - 1, entry);
	json_decref(entry);
	edit_refuse(e,
		"index %s of list \"%.64s\" is a prefix of the other family; the list has both",
		arg(e->c, "index"), arg(e->c, "name"));
	return -1;
}

int
add_entry(struct edit *e)
{
	const struct policy_list_words *w = words_of(e->c);
	json_t *lists = made_array(e, e->document, w->section), *list, *entries,
	       *entry = new_entry(e, w);
	size_t at;

	if (!is_of_word(entry, w)) {
		ctl_fail(e->ctl, EXIT_USAGE, "\"%.64s\" is not an %s prefix", arg(e->c, "prefix"),
			is_ipv6(arg(e->c, "prefix")) ? "IPv4" : "IPv6");
		lists = NULL;
	}
	list = lists != NULL ? named(lists, arg(e->c, "name"), &at) : NULL;
	if (lists != NULL && list == NULL) {
		list = json_pack("{s:s}", "name", arg(e->c, "name"));
		json_array_append_new(lists, list);
	}
	entries = list != NULL ? made_array(e, list, "entries") : NULL;
	if (entries == NULL) {
		json_decref(entry);
		return -1;
	}
	return arg(e->c, "index") == NULL ? add_last(e, entries, entry)
					  : add_indexed(e, entries, entry);
}

/* Removes the entries of the word: a list may have prefixes of both families. False: there are none. */
static bool
remove_entries(json_t *entries, const struct policy_list_words *w)
{
	size_t before = json_array_size(entries);

	for (size_t i = json_array_size(entries); i-- > 0;) {
		if (is_of_word(json_array_get(entries, i), w))
			json_array_remove(entries, i);
	}
	return before == 0 || json_array_size(entries) < before;
}

int
remove_entry(struct edit *e)
{
	const struct policy_list_words *w = words_of(e->c);
	json_t *lists = json_object_get(e->document, w->section), *list, *entries;
	size_t at, place;
	bool same;

	list = named(lists, arg(e->c, "name"), &at);
	if (list == NULL)
		return edit_refuse(e, "there is no %s \"%.64s\"%s", w->word, arg(e->c, "name"),
			NOT_THERE(e->ctl));
	entries = json_object_get(list, "entries");
	if (arg(e->c, "index") == NULL) {
		if (!remove_entries(entries, w))
			return edit_refuse(e, "%s \"%.64s\" has no prefix of this address family%s",
				w->word, arg(e->c, "name"), NOT_THERE(e->ctl));
	} else {
		if (!number_entries(e, entries))
			return -1;
		place = place_of(entries, (json_int_t)arg_number(e->c, "index"), &same);
		if (!same || !is_of_word(json_array_get(entries, place - 1), w))
			return edit_refuse(e, "%s \"%.64s\" has no index %s%s", w->word,
				arg(e->c, "name"), arg(e->c, "index"), NOT_THERE(e->ctl));
		json_array_remove(entries, place - 1);
	}
	return json_array_size(entries) > 0 ? 0 : json_array_remove(lists, at);
}

/* ---- nodes ---- */

/* Nodes of a document may have any order. */
static json_t *
node_of(json_t *nodes, json_int_t seq, size_t *at)
{
	json_t *node;
	size_t i;

	json_array_foreach(nodes, i, node)
	{
		*at = i;
		if (number_of(node, "seq") == seq)
			return node;
	}
	return NULL;
}

/* Creates the node, or changes its action. */
int
put_node(struct edit *e)
{
	json_t *policies = made_array(e, e->document, "route_policies"), *policy, *nodes, *node;
	json_int_t seq = (json_int_t)arg_number(e->c, "node");
	bool same;
	size_t at;

	policy = policies != NULL ? named(policies, arg(e->c, "name"), &at) : NULL;
	if (policies != NULL && policy == NULL) {
		policy = json_pack("{s:s}", "name", arg(e->c, "name"));
		json_array_append_new(policies, policy);
	}
	nodes = policy != NULL ? made_array(e, policy, "nodes") : NULL;
	if (nodes == NULL)
		return -1;
	node = node_of(nodes, seq, &at);
	if (node != NULL)
		return json_object_set_new(
			node, "action", json_string(keyword(e->c, "permit|deny")));
	return json_array_insert_new(nodes, place_of(nodes, seq, &same),
		json_pack("{s:I, s:s}", "seq", seq, "action", keyword(e->c, "permit|deny")));
}

/* NULL after a message. */
static json_t *
find_policy(struct edit *e, const char *name, size_t *at)
{
	json_t *policy = named(json_object_get(e->document, "route_policies"), name, at);

	if (policy == NULL)
		edit_refuse(e, "there is no route policy \"%.64s\"%s", name, NOT_THERE(e->ctl));
	return policy;
}

/* NULL after a message. */
static json_t *
find_node(struct edit *e, const json_t *policy, json_int_t seq, size_t *at)
{
	json_t *node = node_of(json_object_get(policy, "nodes"), seq, at);

	if (node == NULL)
		edit_refuse(e, "route policy \"%.64s\" has no node %lld%s",
			string_of(policy, "name"), (long long)seq, NOT_THERE(e->ctl));
	return node;
}

int
remove_policy(struct edit *e)
{
	json_t *policy, *nodes;
	size_t at, place;

	policy = find_policy(e, arg(e->c, "name"), &at);
	if (policy == NULL)
		return -1;
	nodes = json_object_get(policy, "nodes");
	if (arg(e->c, "node") != NULL) {
		if (find_node(e, policy, (json_int_t)arg_number(e->c, "node"), &place) == NULL)
			return -1;
		json_array_remove(nodes, place);
		if (json_array_size(nodes) > 0)
			return 0;
	}
	return json_array_remove(json_object_get(e->document, "route_policies"), at);
}

/* The node whose view is open, and its policy (unless NULL). NULL after a message. */
static json_t *
node_of_view(struct edit *e, json_t **policy)
{
	size_t at;
	json_t *p = find_policy(e, e->ctl->policy, &at);

	if (policy != NULL)
		*policy = p;
	return p != NULL ? find_node(e, p, (json_int_t)e->ctl->node, &at) : NULL;
}

/* ---- conditions and changes ---- */

/* The entry whose words begin `phrase`; *rest: the keywords after these words. */
static const struct policy_words *
phrase_find(const struct policy_words *table, const char *phrase, const char **rest)
{
	for (; table->words != NULL; table++) {
		size_t len = strlen(table->words);

		if (strncmp(phrase, table->words, len) == 0 &&
			(phrase[len] == '\0' || phrase[len] == ' ')) {
			*rest = phrase + len + (phrase[len] == ' ');
			return table;
		}
	}
	return NULL;
}

static json_t *
keyword_value(const char *word)
{
	for (unsigned i = 0; policy_values[i][0] != NULL; i++) {
		if (strcmp(policy_values[i][0], word) == 0)
			return json_string(policy_values[i][1]);
	}
	return json_string(word);
}

static json_t *
names_value(struct edit *e)
{
	json_t *names = json_array();

	for (unsigned i = 0; arg_at(e->c, i) != NULL; i++) {
		json_array_append_new(names, json_string(arg_at(e->c, i)));
		if (strcmp(arg_at(e->c, i), "whole-match") != 0)
			continue;
		json_decref(names);
		ctl_fail(e->ctl, EXIT_USAGE, "whole-match is not supported; any community matches");
		return NULL;
	}
	return names;
}

/* A single name stands without an array. Takes `names`. */
static json_t *
names_short(json_t *names)
{
	json_t *first = json_array_size(names) == 1 ? json_incref(json_array_get(names, 0)) : NULL;

	if (first == NULL)
		return names;
	json_decref(names);
	return first;
}

/* NULL: AS numbers differ. */
static json_t *
path_value(struct edit *e)
{
	const char *first = arg_at(e->c, 0), *other;
	unsigned i = 1;

	while ((other = arg_at(e->c, i)) != NULL && strcmp(other, first) == 0)
		i++;
	if (other == NULL)
		return json_pack(
			"{s:I, s:i}", "asn", (json_int_t)command_asn(e->c), "count", (int)i);
	ctl_fail(e->ctl, EXIT_USAGE, "only one AS number can be prepended, not %s and %s", first,
		other);
	return NULL;
}

/* The communities of a line. */
static json_t *
communities_value(const struct command *c)
{
	json_t *texts = json_array();

	for (unsigned i = 0; arg_at(c, i) != NULL; i++)
		json_array_append_new(texts, community_value(c, arg_at(c, i)));
	return texts;
}

/* The key for the communities of a line: `replace`, `add` or `remove`. */
static const char *
communities_key(const char *rest)
{
	return strstr(rest, "additive") != NULL ? "add"
	       : strstr(rest, "delete") != NULL ? "remove"
						: "replace";
}

/* The value of a line in keel.json, for communities and names an array. NULL after a message. */
static json_t *
value_of(struct edit *e, const struct policy_words *w, const char *rest)
{
	switch (w->kind) {
	case WORDS_NAMES:
		return names_value(e);
	case WORDS_NUMBER:
		return number_value(e, "value");
	case WORDS_CHANGE:
		if (*rest == '\0')
			return number_value(e, "value");
		return json_pack(
			"{s:o}", *rest == '+' ? "add" : "subtract", number_value(e, "value"));
	case WORDS_COMMUNITIES:
		return communities_value(e->c);
	case WORDS_PATH:
		return path_value(e);
	case WORDS_NEXT_HOP:
		return *rest == '\0' ? json_string(arg(e->c, "address")) : keyword_value(rest);
	default:
		return keyword_value(rest);
	}
}

static int
not_object(struct edit *e, const char *key)
{
	return edit_refuse(e, "`%s` of the node is no object; use: undo set PATH", key);
}

/* Takes `value`. Names in `note` a condition that the line replaces. */
static int
set_member(struct edit *e, json_t *object, const struct policy_words *w, const char *rest,
	json_t *value, bool condition)
{
	json_t *was = json_object_get(object, w->key), *change;
	char *text;

	if (w->kind == WORDS_COMMUNITIES) {
		const char *key = communities_key(rest);

		change = member_made(object, w->key, json_object());
		if (!json_is_object(change)) {
			json_decref(value);
			return not_object(e, w->key);
		}
		if (strcmp(key, "remove") != 0) {
			json_object_del(change, "add");
			json_object_del(change, "replace");
		}
		return json_object_set_new(change, key, value);
	}
	if (w->kind == WORDS_NAMES)
		value = names_short(value);
	if (condition && was != NULL && !json_equal(was, value)) {
		text = json_dumps(was, JSON_COMPACT | JSON_ENCODE_ANY);
		snprintf(e->note, sizeof(e->note), "this condition replaces %.200s",
			text != NULL ? text : "");
		free(text);
	}
	return json_object_set_new(object, w->key, value);
}

/* Removes the names of the line from `was`. False: a name is not there. */
static bool
remove_names(json_t *object, const char *key, json_t *was, const json_t *value)
{
	json_t *left = json_is_array(was) ? json_copy(was) : json_pack("[O]", was), *name;
	bool good = true;
	size_t i, k;

	json_array_foreach(value, i, name)
	{
		for (k = 0; k < json_array_size(left); k++) {
			if (json_equal(json_array_get(left, k), name))
				break;
		}
		good = good && k < json_array_size(left);
		if (good)
			json_array_remove(left, k);
	}
	if (good && json_array_size(left) > 0)
		json_object_set_new(object, key, names_short(json_incref(left)));
	else if (good)
		json_object_del(object, key);
	json_decref(left);
	return good;
}

/* `value`: of the line, or NULL without a value. False: the object has no such member. */
static bool
remove_member(json_t *object, const struct policy_words *w, const char *rest, const json_t *value)
{
	json_t *was = json_object_get(object, w->key);
	const char *key = communities_key(rest);

	if (was == NULL)
		return false;
	if (value != NULL && w->kind == WORDS_NAMES)
		return remove_names(object, w->key, was, value);
	if (value != NULL && w->kind == WORDS_COMMUNITIES) {
		if (!json_equal(json_object_get(was, key), value))
			return false;
		json_object_del(was, key);
		if (json_object_size(was) == 0)
			json_object_del(object, w->key);
		return true;
	}
	if (value != NULL && !json_equal(was, value))
		return false;
	return json_object_del(object, w->key) == 0;
}

/* Edits a member of `match` or `set` of the node, and removes an empty object. */
int
edit_member(struct edit *e)
{
	bool condition = keyword(e->c, "if-match") != NULL, good;
	const char *rest = "", *phrase = strchr(e->c->phrase, ' ') + 1,
		   *home = condition ? "match" : "set";
	const struct policy_words *w =
		phrase_find(condition ? policy_conditions : policy_changes, phrase, &rest);
	json_t *node = node_of_view(e, NULL), *object = json_object_get(node, home), *value = NULL;

	if (node == NULL)
		return -1;
	if (w == NULL || (object != NULL && !json_is_object(object)))
		return not_object(e, home);
	if (!e->c->undo || arg_at(e->c, 0) != NULL || *rest != '\0') {
		value = value_of(e, w, rest);
		if (value == NULL)
			return -1;
	}
	if (!e->c->undo)
		return set_member(
			e, member_made(node, home, json_object()), w, rest, value, condition);
	good = remove_member(object, w, rest, value);
	json_decref(value);
	if (!good)
		return edit_refuse(e, "the node has no such line%s", NOT_THERE(e->ctl));
	if (json_object_size(object) == 0)
		json_object_del(node, home);
	return 0;
}

/* The number of the next node behind `node`; 0: none. */
static json_int_t
next_node(const json_t *policy, const json_t *node)
{
	json_int_t next = 0;
	json_t *other;
	size_t i;

	json_array_foreach(json_object_get(policy, "nodes"), i, other)
	{
		json_int_t seq = number_of(other, "seq");

		if (seq > number_of(node, "seq") && (next == 0 || seq < next))
			next = seq;
	}
	return next;
}

#define TEXT_OCTETS (4 * 4096u) /* of the longest description */

/* The words of a line, with one blank between. NULL after a message. */
static json_t *
words_value(struct edit *e)
{
	char text[TEXT_OCTETS + 1];

	if (args_text(e->c, text, sizeof(text)))
		return json_string(text);
	ctl_fail(e->ctl, EXIT_USAGE, "the text is too long");
	return NULL;
}

/* goto, call, description */
int
edit_node(struct edit *e)
{
	const char *key = keyword(e->c, "goto|call|description");
	json_t *policy, *node = node_of_view(e, &policy), *was = json_object_get(node, key),
			*value = NULL;

	if (node == NULL)
		return -1;
	if (keyword(e->c, "next-node") != NULL && next_node(policy, node) > 0)
		value = json_integer(next_node(policy, node));
	else if (arg(e->c, "node") != NULL)
		value = number_value(e, "node");
	else if (arg_at(e->c, 0) != NULL && (value = words_value(e)) == NULL)
		return -1;
	if (e->c->undo && (was == NULL || (value != NULL && !json_equal(was, value)))) {
		json_decref(value);
		return edit_refuse(e, "the node has no such line%s", NOT_THERE(e->ctl));
	}
	if (e->c->undo) {
		json_decref(value);
		return json_object_del(node, key);
	}
	if (value == NULL)
		return edit_refuse(e, "there is no later node yet; use: goto node NUMBER");
	return json_object_set_new(node, key, value);
}
