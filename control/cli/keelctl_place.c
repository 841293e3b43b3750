/* SPDX-License-Identifier: BSD-3-Clause */
/* Names the place of a JSON Pointer in the words of lines, for people: `peer 192.0.2.1: timer hold`. */
#include "control/cli/keelctl.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Words of keys of peers and groups that are no settings; "": the key is named only at the end. */
static const char *const peer_words[][2] = {{"asn", "as-number"},
	{"keepalive_s", "timer keepalive"}, {"families", ""}, {"timers", ""}, {"capabilities", ""},
	{NULL, NULL}};

/* Words of other keys, except the clauses of a node. */
static const char *const key_words[][2] = {{"asn", "as-number"}, {"peers", "peer"},
	{"groups", "group"}, {"networks", "network"}, {"redistribute", "import-route"},
	{"static_routes", "route-static"}, {"vrfs", "vpn-instance"}, {"ports", "port"},
	{"route_policies", "route-policy"}, {"nodes", "node"}, {"match", "if-match"},
	{"set", "apply"}, {"entries", "entry"}, {"ge", "greater-equal"}, {"le", "less-equal"},
	{NULL, NULL}};

/* `peer`: a key of a peer or a group. */
static const char *
word_of(const char *key, const struct policy_words *clauses, bool peer)
{
	const char *const(*words)[2] = peer ? peer_words : key_words;

	for (; clauses != NULL && clauses->words != NULL; clauses++) {
		if (strcmp(clauses->key, key) == 0)
			return clauses->words;
	}
	for (; (*words)[0] != NULL; words++) {
		if (strcmp((*words)[0], key) == 0)
			return (*words)[1];
	}
	for (const struct policy_list_words *l = policy_list_words; l->word != NULL; l++) {
		if (strcmp(l->section, key) == 0)
			return l->word;
	}
	for (const struct setting *s = settings; peer && s->words != NULL; s++) {
		if (strcmp(s->key, key) == 0)
			return s->words;
	}
	return key;
}

/* "peer 192.0.2.1 of vpn-instance red"; without an identity "peer entry 3". `next`: the element in this element, if known. */
static void
element_text(const char *key, const json_t *o, const json_t *next, unsigned long index, char *buf,
	size_t size)
{
	static const char *const keys[] = {"name", "address", "seq", "prefix", "source", "file"};
	const char *word = word_of(key, NULL, false), *vrf = string_of(o, "vrf");
	const json_t *entry = json_array_get(json_object_get(o, "entries"), 0);
	bool named = *vrf != '\0' && strcmp(vrf, "default") != 0;
	const json_t *id = NULL;
	unsigned i = 0;

	if (strcmp(key, "prefix_lists") == 0 &&
		strchr(string_of(entry != NULL ? entry : next, "prefix"), ':') != NULL)
		word = "ipv6-prefix";
	while (i < sizeof(keys) / sizeof(keys[0]) && id == NULL)
		id = json_object_get(o, keys[i++]);
	if (json_is_string(id))
		snprintf(buf, size, "%s %s%s%s", word, json_string_value(id),
			named ? " of vpn-instance " : "", named ? vrf : "");
	else if (json_is_integer(id))
		snprintf(buf, size, "%s %lld", strcmp(key, "entries") == 0 ? "index" : word,
			(long long)json_integer_value(id));
	else
		snprintf(buf, size, "%s%s %lu", word, strcmp(key, "entries") == 0 ? "" : " entry",
			index + 1);
}

const char *
place_text(const json_t *elements, const char *path, char *buf, size_t size)
{
	const bool peer =
		strncmp(path, "/bgp/peers/", 11) == 0 || strncmp(path, "/bgp/groups/", 12) == 0;
	const struct policy_words *clauses = NULL;
	size_t at = 0, element = 0;

	buf[0] = '\0';
	while (*path == '/' && at < size) {
		size_t len = strcspn(path + 1, "/");
		char key[128], part[256], *end = NULL;
		const char *next = path + 1 + len;
		unsigned long index = 0;

		snprintf(key, sizeof(key), "%.*s", (int)len, path + 1);
		path = next;
		if (*next == '/' && isdigit((unsigned char)next[1])) {
			index = strtoul(next + 1, &end, 10);
			path = end;
			element_text(key, json_array_get(elements, element),
				json_array_get(elements, element + 1), index, part, sizeof(part));
			element++;
		} else {
			const char *word = word_of(key, clauses, peer && at > 0);

			snprintf(part, sizeof(part), "%s",
				*path == '\0' && *word == '\0' ? key : word);
		}
		/* the words of an element of `bgp` say enough */
		if (*part == '\0' ||
			(strcmp(key, "bgp") == 0 && *path == '/' && strchr(path + 1, '/') != NULL))
			continue;
		at += (size_t)snprintf(buf + at, size - at, "%s%s",
			at == 0		  ? ""
			: clauses != NULL ? " "
					  : ": ",
			part);
		clauses = strcmp(key, "match") == 0 ? policy_conditions
			  : strcmp(key, "set") == 0 ? policy_changes
						    : NULL;
	}
	return text_safe(buf);
}
