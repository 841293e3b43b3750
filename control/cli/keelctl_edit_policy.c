/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines for lists and route policies, in the words of VRP, applied to a document: entries of lists by
 * their `seq`, and the conditions and changes of the node whose view is open.
 */
#include "control/cli/keelctl.h"

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

static const char *
string_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text != NULL ? text : "";
}

static json_t *
made(json_t *o, const char *key, json_t *fresh)
{
	json_t *m = json_object_get(o, key);

	if (m == NULL) {
		json_object_set(o, key, fresh);
		m = fresh;
	}
	json_decref(fresh);
	return m;
}

static json_t *
number_value(const char *text)
{
	return json_integer((json_int_t)strtoull(text, NULL, 10));
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
	const char *word = c->phrase + strlen("ip ");

	while (strncmp(word, w->word, strlen(w->word)) != 0)
		w++;
	return w;
}

bool
is_policy_line(const struct command *c)
{
	return c->kind >= COMMAND_LIST_ENTRY && c->kind <= COMMAND_NODE;
}

const char *
policy_section(const struct command *c)
{
	return c->kind == COMMAND_LIST_ENTRY || c->kind == COMMAND_LIST_REMOVE
		       ? words_of(c)->section
		       : "route_policies";
}

/* If an entry has no `seq`, all entries get the numbers 10, 20, 30 in their order. */
static void
number_entries(json_t *entries)
{
	bool all = true;
	json_t *entry;
	size_t i;

	json_array_foreach(entries, i, entry) all &= json_object_get(entry, "seq") != NULL;
	json_array_foreach(entries, i, entry)
	{
		if (!all)
			json_object_set_new(entry, "seq", json_integer(10 * ((json_int_t)i + 1)));
	}
}

static bool
is_ipv6(const char *prefix)
{
	return strchr(prefix, ':') != NULL;
}

static json_t *
new_entry(const struct command *c, const struct policy_list_words *w)
{
	json_t *entry = json_pack("{s:s}", "action", c->action);
	const char *value = c->prefix != NULL  ? c->prefix
			    : c->regex != NULL ? c->regex
					       : c->community;

	json_object_set_new(entry, w->key, json_string(value));
	if (c->ge != NULL)
		json_object_set_new(entry, "ge", number_value(c->ge));
	if (c->le != NULL)
		json_object_set_new(entry, "le", number_value(c->le));
	return entry;
}

/* Adds an entry without an index at the end, with a `seq` if the entry before has a `seq`. */
static int
add_last(json_t *entries, json_t *entry)
{
	size_t n = json_array_size(entries);
	json_int_t seq = n > 0 ? number_of(json_array_get(entries, n - 1), "seq") : 0;

	if (seq > 0)
		json_object_set_new(entry, "seq", json_integer((seq / 10 + 1) * 10));
	return json_array_append_new(entries, entry);
}

static int
add_entry(struct ctl *ctl, const struct command *c, json_t *document)
{
	const struct policy_list_words *w = words_of(c);
	json_t *lists = made(document, w->section, json_array()), *list, *entries, *entry;
	json_int_t seq = c->index != NULL ? (json_int_t)strtoull(c->index, NULL, 10) : 0;
	bool same;
	size_t at;

	if (c->prefix != NULL && is_ipv6(c->prefix) != (strcmp(w->word, "ipv6-prefix") == 0)) {
		ctl_fail(ctl, EXIT_USAGE, "\"%.64s\" is not an %s prefix", text_safe(c->prefix),
			is_ipv6(c->prefix) ? "IPv4" : "IPv6");
		return -1;
	}
	list = named(lists, c->name, &at);
	if (list == NULL) {
		list = json_pack("{s:s}", "name", c->name);
		json_array_append_new(lists, list);
	}
	entries = made(list, "entries", json_array());
	if (c->index == NULL)
		return add_last(entries, new_entry(c, w));
	number_entries(entries);
	at = place_of(entries, seq, &same);
	entry = new_entry(c, w);
	json_object_set_new(entry, "seq", json_integer(seq));
	if (same && c->prefix != NULL &&
		is_ipv6(string_of(json_array_get(entries, at - 1), "prefix")) !=
			is_ipv6(c->prefix)) {
		json_decref(entry);
		ctl_fail(ctl, EXIT_REFUSED,
			"index %s of list \"%.64s\" is an %s prefix; the list has prefixes of both "
			"families",
			c->index, c->name, is_ipv6(c->prefix) ? "IPv4" : "IPv6");
		return -1;
	}
	return same ? json_array_set_new(entries, at - 1, entry)
		    : json_array_insert_new(entries, at, entry);
}

static int
remove_entry(struct ctl *ctl, const struct command *c, json_t *document)
{
	const struct policy_list_words *w = words_of(c);
	json_t *lists = json_object_get(document, w->section), *list, *entries;
	size_t at, place;
	bool same;

	list = named(lists, c->name, &at);
	if (list == NULL) {
		ctl_fail(ctl, EXIT_REFUSED, "there is no %s \"%.64s\" (-32004)", w->word, c->name);
		return -1;
	}
	if (c->index == NULL)
		return json_array_remove(lists, at);
	entries = json_object_get(list, "entries");
	number_entries(entries);
	place = place_of(entries, (json_int_t)strtoull(c->index, NULL, 10), &same);
	if (!same) {
		ctl_fail(ctl, EXIT_REFUSED, "%s \"%.64s\" has no index %s (-32004)", w->word,
			c->name, c->index);
		return -1;
	}
	json_array_remove(entries, place - 1);
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
static int
open_node(const struct command *c, json_t *document)
{
	json_t *policies = made(document, "route_policies", json_array()), *policy, *nodes;
	json_int_t seq = (json_int_t)strtoull(c->value, NULL, 10);
	json_t *node;
	bool same;
	size_t at;

	policy = named(policies, c->name, &at);
	if (policy == NULL) {
		policy = json_pack("{s:s}", "name", c->name);
		json_array_append_new(policies, policy);
	}
	nodes = made(policy, "nodes", json_array());
	node = node_of(nodes, seq, &at);
	if (node != NULL)
		return json_object_set_new(node, "action", json_string(c->action));
	return json_array_insert_new(nodes, place_of(nodes, seq, &same),
		json_pack("{s:I, s:s}", "seq", seq, "action", c->action));
}

/* NULL after a message. */
static json_t *
find_policy(struct ctl *ctl, json_t *document, const char *name, size_t *at)
{
	json_t *policy = named(json_object_get(document, "route_policies"), name, at);

	if (policy == NULL)
		ctl_fail(ctl, EXIT_REFUSED, "there is no route policy \"%.64s\" (-32004)", name);
	return policy;
}

/* NULL after a message. */
static json_t *
find_node(struct ctl *ctl, const json_t *policy, json_int_t seq, size_t *at)
{
	json_t *node = node_of(json_object_get(policy, "nodes"), seq, at);

	if (node == NULL)
		ctl_fail(ctl, EXIT_REFUSED, "route policy \"%.64s\" has no node %lld (-32004)",
			string_of(policy, "name"), (long long)seq);
	return node;
}

static int
remove_policy(struct ctl *ctl, const struct command *c, json_t *document)
{
	json_t *policy, *nodes;
	size_t at, place;

	policy = find_policy(ctl, document, c->name, &at);
	if (policy == NULL)
		return -1;
	nodes = json_object_get(policy, "nodes");
	if (c->value != NULL) {
		if (find_node(ctl, policy, (json_int_t)strtoull(c->value, NULL, 10), &place) ==
			NULL)
			return -1;
		json_array_remove(nodes, place);
		if (json_array_size(nodes) > 0)
			return 0;
	}
	return json_array_remove(json_object_get(document, "route_policies"), at);
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
texts_value(const struct command *c)
{
	json_t *texts = json_array();

	for (unsigned i = 0; i < c->list_count; i++)
		json_array_append_new(texts, json_string(c->list[i]));
	return texts;
}

/* A single name stands without an array. */
static json_t *
names_value(const struct command *c)
{
	return c->list_count == 1 ? json_string(c->list[0]) : texts_value(c);
}

/* NULL: AS numbers differ. */
static json_t *
path_value(struct ctl *ctl, const struct command *c)
{
	for (unsigned i = 1; i < c->list_count; i++) {
		if (strcmp(c->list[i], c->list[0]) == 0)
			continue;
		ctl_fail(ctl, EXIT_USAGE, "only one AS number can be prepended, not %s and %s",
			c->list[0], c->list[i]);
		return NULL;
	}
	return json_pack("{s:I, s:i}", "asn", (json_int_t)c->asn, "count", (int)c->list_count);
}

/* The change of a line: `add`, `remove` or `replace`, beside the present change `was` (NULL: none). */
static json_t *
communities_value(const struct command *c, const char *mode, json_t *was)
{
	json_t *change = was != NULL ? json_deep_copy(was) : json_object();
	bool add = strcmp(mode, "additive") == 0, remove = strcmp(mode, "delete") == 0;

	if (!remove) {
		json_object_del(change, "add");
		json_object_del(change, "replace");
	}
	json_object_set_new(change, add ? "add" : remove ? "remove" : "replace", texts_value(c));
	return change;
}

/* The value of a line in keel.json. NULL after a message. */
static json_t *
value_of(struct ctl *ctl, const struct command *c, const struct policy_words *w, const char *rest,
	json_t *was)
{
	switch (w->kind) {
	case WORDS_NAMES:
		return names_value(c);
	case WORDS_NUMBER:
		return number_value(c->value);
	case WORDS_CHANGE:
		if (*rest == '\0')
			return number_value(c->value);
		return json_pack(
			"{s:o}", *rest == '+' ? "add" : "subtract", number_value(c->value));
	case WORDS_COMMUNITIES:
		return communities_value(c, rest, was);
	case WORDS_PATH:
		return path_value(ctl, c);
	case WORDS_NEXT_HOP:
		return *rest == '\0' ? json_string(c->address) : keyword_value(rest);
	default:
		return keyword_value(rest);
	}
}

/* Edits a member of `match` or `set` of the node, and removes an empty object. */
static int
edit_member(struct ctl *ctl, const struct command *c, json_t *node, const char *home,
	const struct policy_words *table, const char *phrase)
{
	const char *rest = "";
	const struct policy_words *w = phrase_find(table, phrase, &rest);
	json_t *object = json_object_get(node, home), *was, *value;
	bool named_value = c->list_count > 0 || (w != NULL && *rest != '\0');

	if (w == NULL) {
		ctl_fail(ctl, EXIT_USAGE, "there is no such line");
		return -1;
	}
	was = json_object_get(object, w->key);
	value = !c->undo || named_value ? value_of(ctl, c, w, rest, c->undo ? NULL : was) : NULL;
	if (value == NULL && (!c->undo || named_value))
		return -1;
	if (!c->undo)
		return json_object_set_new(made(node, home, json_object()), w->key, value);
	if (was == NULL || (value != NULL && !json_equal(was, value))) {
		json_decref(value);
		ctl_fail(ctl, EXIT_REFUSED, "the node has no such line (-32004)");
		return -1;
	}
	json_decref(value);
	json_object_del(object, w->key);
	if (json_object_size(object) == 0)
		json_object_del(node, home);
	return 0;
}

/* goto, call, description */
static int
edit_node(struct ctl *ctl, const struct command *c, json_t *policy, json_t *node)
{
	size_t len = strcspn(c->phrase, " ");
	char key[16] = "";
	json_int_t to = 0;
	json_t *other;
	size_t i;

	memcpy(key, c->phrase, len < sizeof(key) ? len : sizeof(key) - 1);
	if (c->undo && json_object_get(node, key) == NULL) {
		ctl_fail(ctl, EXIT_REFUSED, "the node has no such line (-32004)");
		return -1;
	}
	if (c->undo)
		return json_object_del(node, key);
	if (c->list_count > 0 && strcmp(key, "goto") != 0)
		return json_object_set_new(node, key, json_string(c->list[0]));
	if (c->value != NULL)
		return json_object_set_new(node, key, number_value(c->value));
	json_array_foreach(json_object_get(policy, "nodes"), i, other)
	{
		json_int_t seq = number_of(other, "seq");

		if (seq > number_of(node, "seq") && (to == 0 || seq < to))
			to = seq;
	}
	if (to == 0) {
		ctl_fail(ctl, EXIT_REFUSED, "there is no later node yet; use: goto node NUMBER");
		return -1;
	}
	return json_object_set_new(node, key, json_integer(to));
}

/* The index of an entry and the number of a node are at least 1 (`seq`). */
static bool
numbers_good(struct ctl *ctl, const struct command *c)
{
	bool of_node = c->kind == COMMAND_POLICY_VIEW || c->kind == COMMAND_POLICY_REMOVE;
	const char *text = of_node ? c->value : c->index;

	if (text == NULL || strtoull(text, NULL, 10) > 0)
		return true;
	ctl_fail(ctl, EXIT_USAGE, "the %s is at least 1", of_node ? "number of a node" : "index");
	return false;
}

int
edit_policy_line(struct ctl *ctl, const struct command *c, json_t *document)
{
	json_t *policy, *node;
	size_t at;

	if (!numbers_good(ctl, c))
		return -1;
	switch (c->kind) {
	case COMMAND_LIST_ENTRY:
		return add_entry(ctl, c, document);
	case COMMAND_LIST_REMOVE:
		return remove_entry(ctl, c, document);
	case COMMAND_POLICY_VIEW:
		return open_node(c, document);
	case COMMAND_POLICY_REMOVE:
		return remove_policy(ctl, c, document);
	default:
		break;
	}
	policy = find_policy(ctl, document, ctl->policy, &at);
	node = policy != NULL ? find_node(ctl, policy, (json_int_t)ctl->node, &at) : NULL;
	if (node == NULL)
		return -1;
	if (c->kind == COMMAND_NODE)
		return edit_node(ctl, c, policy, node);
	return c->kind == COMMAND_IF_MATCH ? edit_member(ctl, c, node, "match", policy_conditions,
						     c->phrase + strlen("if-match "))
					   : edit_member(ctl, c, node, "set", policy_changes,
						     c->phrase + strlen("apply "));
}
