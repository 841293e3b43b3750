/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config/policy_compile.h"
#include "control/config/policy_compile_impl.h"
#include "control/config/policy_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct policy_set {
	struct lists lists[LIST_KINDS];
	unsigned compiled; /* lists, without lists of an earlier set */
	unsigned count, size;
	unsigned
		documented; /* the first policies are of the document, the rest of policy_set_guard() */
	const char **names; /* built-in policies, then policies of the document; NULL-terminated */
	struct policy **policies; /* not the built-in policies */
	char **key; /* of a policy of policy_set_guard(); otherwise NULL */
	json_t *index; /* of policies[], by name or key */
	/* nodes of policies[i] with the contents of lists in place of names, for comparisons */
	json_t **meaning;
	json_t **lines; /* of policies[] of files: FILE:LINE:COLUMN by node; else NULL */
	json_t *texts; /* {name: {line, text}} of the policies of files */
};

#define BUILT_IN 2

/* ---- nodes ---- */

struct node_draft {
	struct check c; /* first: the walker passes a pointer to `c` */
	struct compile *k;
	struct policy_builder *b; /* NULL: only checked */
	bool permit;
	uint32_t seq, goto_seq;
	const char *call;
	json_t *meaning; /* of the node */
	bool negated; /* inside of `not` */
	const char *where; /* prefix of keys in the meaning: of a match inside a match */
};

/* The walker knows struct check only. */
static struct node_draft *
draft_of(struct check *c)
{
	return (struct node_draft *)c;
}

static void
built(struct node_draft *d, const struct at *at, int err)
{
	if (err)
		policy_out_of_memory(&d->c, at);
}

/* An array in a key: any of its elements. */
static void
take_any(struct check *c, const struct at *at, const json_t *value,
	void (*take)(struct check *c, const struct at *at, const json_t *value, void *out),
	void *out)
{
	if (!json_is_array(value))
		take(c, at, value, out);
	else if (json_array_size(value) == 0)
		config_fault(c, at, "is empty; give at least one value");
	else
		config_take_each(c, at, value, take, out);
}

/* The index of the list with the name `value`; -1 with a fault. Adds the contents of the list to the meaning of the node under `key`. */
static int
find_list(struct check *c, const struct at *at, const json_t *value, enum list_kind kind,
	const char *key)
{
	struct node_draft *d = draft_of(c);
	char quoted[CONFIG_QUOTE_MAX];

	if (!json_is_string(value)) {
		config_fault_type(c, at, value, "a string");
		return -1;
	}
	const json_t *index = json_object_get(d->k->lists[kind].index, json_string_value(value));
	/* names of sets of policy files are not for documents */
	if (json_string_value(value)[0] == '#' && !d->k->of_text)
		index = NULL;
	if (!index) {
		config_fault(c, at, "there is no %s %s", policy_list_word[kind],
			config_quote(value, quoted));
		return -1;
	}
	int i = (int)json_integer_value(index);
	char place[80];
	snprintf(place, sizeof(place), "%s%s", d->where, key);
	json_t *lists = json_object_get(d->meaning, place);
	if (!lists) {
		lists = json_array();
		json_object_set_new(d->meaning, place, lists);
	}
	json_array_append(lists, json_array_get(d->k->lists[kind].meaning, (size_t)i));
	return i;
}

static void
match_prefix_list(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct node_draft *d = draft_of(c);
	int i = find_list(c, at, value, LIST_PREFIX, "prefix_list");

	(void)out;
	if (i >= 0 && d->b && d->k->lists[LIST_PREFIX].list[i].any)
		built(d, at,
			policy_builder_match_prefix_list(
				d->b, d->k->lists[LIST_PREFIX].list[i].prefix));
}

static void
match_next_hop_list(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct node_draft *d = draft_of(c);
	int i = find_list(c, at, value, LIST_PREFIX, "next_hop_prefix_list");

	(void)out;
	if (i >= 0 && d->b && d->k->lists[LIST_PREFIX].list[i].any)
		built(d, at,
			policy_builder_match_next_hop_list(
				d->b, d->k->lists[LIST_PREFIX].list[i].prefix));
}

static void
match_as_path_list(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct node_draft *d = draft_of(c);
	int i = find_list(c, at, value, LIST_AS_PATH, "as_path_list");

	(void)out;
	if (i >= 0 && d->b && d->k->lists[LIST_AS_PATH].list[i].any)
		built(d, at,
			policy_builder_match_as_path_list(
				d->b, d->k->lists[LIST_AS_PATH].list[i].as_path));
}

static void
match_communities(struct check *c, const struct at *at, const json_t *value, enum list_kind kind,
	const char *key)
{
	struct node_draft *d = draft_of(c);
	int i = find_list(c, at, value, kind, key);

	if (i >= 0 && d->b && d->k->lists[kind].list[i].any)
		built(d, at,
			policy_builder_match_community_list(
				d->b, d->k->lists[kind].list[i].community));
}

static void
match_community_list(struct check *c, const struct at *at, const json_t *value, void *out)
{
	(void)out;
	match_communities(c, at, value, LIST_COMMUNITY, "community_list");
}

static void
match_large_community_list(struct check *c, const struct at *at, const json_t *value, void *out)
{
	(void)out;
	match_communities(c, at, value, LIST_LARGE_COMMUNITY, "large_community_list");
}

static void
match_ext_community_list(struct check *c, const struct at *at, const json_t *value, void *out)
{
	(void)out;
	match_communities(c, at, value, LIST_EXT_COMMUNITY, "ext_community_list");
}

static void
match_peer(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct node_draft *d = draft_of(c);
	struct ip_addr addr;

	(void)out;
	if (config_value_host(c, at, value, &addr) && d->b)
		built(d, at, policy_builder_match_peer(d->b, &addr));
}

static const char *const origin_words[] = {"igp", "egp", "incomplete", NULL};
static const char *const source_words[] = {
	"connected", "static", "external", "kernel", "internal", "network", NULL};
static_assert(COUNT(source_words) == SOURCE_COUNT + 1, "one word for each source");

static void
match_origin(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct node_draft *d = draft_of(c);
	int origin = config_value_word(c, at, value, origin_words);

	(void)out;
	if (origin >= 0 && d->b)
		built(d, at, policy_builder_match_origin(d->b, (enum origin)origin));
}

static void
match_source(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct node_draft *d = draft_of(c);
	int source = config_value_word(c, at, value, source_words);

	(void)out;
	if (source >= 0 && d->b)
		built(d, at, policy_builder_match_source(d->b, (enum route_source)source));
}

static void
match_validation(struct check *c, const struct at *at, const json_t *value, void *out)
{
	static const char *const words[] = {"valid", "invalid", "not-found", NULL};
	struct node_draft *d = draft_of(c);
	int word = config_value_word(c, at, value, words);

	(void)out;
	if (word >= 0 && d->b)
		built(d, at, policy_builder_match_validation(d->b, (enum validation)word));
}

static void
match_family(struct check *c, const struct at *at, const json_t *value, void *out)
{
	static const char *const words[] = {
		"ipv4-unicast", "ipv6-unicast", "vpnv4-unicast", "vpnv6-unicast", NULL};
	struct node_draft *d = draft_of(c);
	int word = config_value_word(c, at, value, words);

	(void)out;
	if (word >= 0 && d->b)
		built(d, at, policy_builder_match_family(d->b, family_from_text(words[word])));
}

struct number_range {
	uint32_t ge, le;
};

/* A range of numbers. */
static const struct config_key range_keys[] = {
	/* Smallest number that matches. Default: 0. */
	{"ge", config_take_u32, offsetof(struct number_range, ge), 0, UINT32_MAX, EFFECT(POLICY)},
	/* Largest number that matches. Default: 4294967295. */
	{"le", config_take_u32, offsetof(struct number_range, le), 0, UINT32_MAX, EFFECT(POLICY)},
};

static void
match_number(struct check *c, const struct at *at, const json_t *value, void *out)
{
	const enum policy_number *which = out;
	struct node_draft *d = draft_of(c);
	struct number_range range = {0, UINT32_MAX};

	if (json_is_object(value)) {
		CONFIG_TAKE(c, at, value, range_keys, &range);
		if (range.ge > range.le)
			config_fault(c, at, "ge %u is greater than le %u", range.ge, range.le);
	} else {
		if (!config_value_u32(c, at, value, 0, UINT32_MAX, &range.ge))
			return;
		range.le = range.ge;
	}
	if (d->b)
		built(d, at, policy_builder_match_number(d->b, *which, range.ge, range.le));
}

/* Adds a value to the meaning of the node. */
static void
mean_value(struct check *c, const char *section, const char *name, const json_t *value)
{
	struct node_draft *d = draft_of(c);
	char key[96];
	json_t *copy = json_is_array(value) ? json_incref((json_t *)(uintptr_t)value)
					    : json_pack("[O]", value);

	snprintf(key, sizeof(key), "%s%s.%s", d->where, section, name);
	json_object_set_new(d->meaning, key, copy);
}

/* ---- AS numbers ---- */

static void
match_asns(struct check *c, const struct at *at, const json_t *value, enum policy_as which)
{
	static const char *const names[] = {"peer_as", "origin_as", "first_as", "any_as"};
	struct node_draft *d = draft_of(c);
	struct number_range range = {0, UINT32_MAX};
	struct policy_as_set *set = NULL;
	bool shared = json_is_string(value);

	if ((which == AS_ORIGIN || which == AS_FIRST) && shared &&
		strcmp(json_string_value(value), "peer.asn") == 0 &&
		json_object_get(d->k->lists[LIST_AS_SET].index, "peer.asn") == NULL) {
		if (d->b)
			built(d, at, policy_builder_match_peer_asn(d->b, which));
		return;
	}
	if (shared) {
		int i = find_list(c, at, value, LIST_AS_SET, names[which]);
		set = i >= 0 ? d->k->lists[LIST_AS_SET].list[i].as_set : NULL;
	} else if (json_is_object(value)) {
		CONFIG_TAKE(c, at, value, range_keys, &range);
		if (range.ge > range.le)
			config_fault(c, at, "ge %u is greater than le %u", range.ge, range.le);
	} else {
		if (!json_is_integer(value)) {
			config_fault_type(
				c, at, value, "an AS number, a range or the name of an AS set");
			return;
		}
		if (!config_value_u32(c, at, value, 0, UINT32_MAX, &range.ge))
			return;
		range.le = range.ge;
	}
	if (!d->b || (shared && set == NULL))
		return;
	if (!shared) {
		built(d, at, policy_as_set_create(&set));
		if (set != NULL)
			built(d, at, policy_as_set_add(set, range.ge, range.le));
	}
	if (set != NULL)
		built(d, at, policy_builder_match_as_set(d->b, which, set));
	if (!shared)
		policy_as_set_unref(set);
}

#define MATCH_ASNS(function, which)                                                                \
	static void function(struct check *c, const struct at *at, const json_t *value, void *out) \
	{                                                                                          \
		(void)out;                                                                         \
		match_asns(c, at, value, which);                                                   \
	}
MATCH_ASNS(match_peer_as, AS_OF_PEER)
MATCH_ASNS(match_origin_as, AS_ORIGIN)
MATCH_ASNS(match_first_as, AS_FIRST)
MATCH_ASNS(match_any_as, AS_ANY)

static void
match_peer_group(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct node_draft *d = draft_of(c);

	(void)out;
	if (!json_is_string(value))
		config_fault_type(c, at, value, "a string");
	else if (d->b)
		built(d, at,
			policy_builder_match_peer_group(
				d->b, policy_group_key(json_string_value(value))));
}

#define TAKE_ANY(function, take)                                                                   \
	static void function(CONFIG_TAKE_ARGS)                                                     \
	{                                                                                          \
		(void)key;                                                                         \
		take_any(c, at, value, take, out);                                                 \
	}
#define TAKE_ANY_VALUE(function, take, argument)                                                   \
	static void function(CONFIG_TAKE_ARGS)                                                     \
	{                                                                                          \
		enum policy_number which = argument;                                               \
		(void)out;                                                                         \
		mean_value(c, "match", key->name, value);                                          \
		take_any(c, at, value, take, &which);                                              \
	}

TAKE_ANY(take_match_prefix_list, match_prefix_list)
TAKE_ANY(take_match_next_hop_list, match_next_hop_list)
TAKE_ANY(take_match_as_path_list, match_as_path_list)
TAKE_ANY(take_match_community_list, match_community_list)
TAKE_ANY(take_match_large_community_list, match_large_community_list)
TAKE_ANY(take_match_ext_community_list, match_ext_community_list)
TAKE_ANY_VALUE(take_match_peer, match_peer, NUMBER_TAG)
TAKE_ANY_VALUE(take_match_origin, match_origin, NUMBER_TAG)
TAKE_ANY_VALUE(take_match_source, match_source, NUMBER_TAG)
TAKE_ANY_VALUE(take_match_family, match_family, NUMBER_TAG)
TAKE_ANY_VALUE(take_match_validation, match_validation, NUMBER_TAG)
TAKE_ANY_VALUE(take_match_med, match_number, NUMBER_MED)
TAKE_ANY_VALUE(take_match_local_pref, match_number, NUMBER_LOCAL_PREF)
TAKE_ANY_VALUE(take_match_as_path_length, match_number, NUMBER_AS_PATH_LENGTH)
TAKE_ANY_VALUE(take_match_tag, match_number, NUMBER_TAG)
TAKE_ANY_VALUE(take_match_peer_as, match_peer_as, NUMBER_TAG)
TAKE_ANY_VALUE(take_match_peer_group, match_peer_group, NUMBER_TAG)
TAKE_ANY_VALUE(take_match_origin_as, match_origin_as, NUMBER_TAG)
TAKE_ANY_VALUE(take_match_first_as, match_first_as, NUMBER_TAG)
TAKE_ANY_VALUE(take_match_any_as, match_any_as, NUMBER_TAG)
TAKE_ANY_VALUE(take_match_community_count, match_number, NUMBER_COMMUNITIES)
TAKE_ANY_VALUE(take_match_large_community_count, match_number, NUMBER_LARGE_COMMUNITIES)
TAKE_ANY_VALUE(take_match_ext_community_count, match_number, NUMBER_EXT_COMMUNITIES)

static void take_match_not(CONFIG_TAKE_ARGS);
static void take_match_all(CONFIG_TAKE_ARGS);

/*
 * Conditions of a node. All keys must hold; of an array in a key, one element must hold. An
 * empty object matches every route. All nodes look at the route as received, before any `set`. Default: no condition.
 */
static const struct config_key match_keys[] = {
	/* Name of a prefix list that matches the destination. */
	{"prefix_list", take_match_prefix_list, EFFECT(POLICY)},
	/* Name of an AS-path list that matches the AS path. */
	{"as_path_list", take_match_as_path_list, EFFECT(POLICY)},
	/* Name of a community list that matches a community of the route. */
	{"community_list", take_match_community_list, EFFECT(POLICY)},
	/* Name of a large community list that matches a large community of the route. */
	{"large_community_list", take_match_large_community_list, EFFECT(POLICY)},
	/* Name of an extended community list that matches an extended community of the route. */
	{"ext_community_list", take_match_ext_community_list, EFFECT(POLICY)},
	/* Name of a prefix list that matches the next hop as a host prefix (/32 or /128). */
	{"next_hop_prefix_list", take_match_next_hop_list, EFFECT(POLICY)},
	/*
	 * Address of the peer: in an import policy the sender, in an export policy the receiver.
	 */
	{"peer", take_match_peer, EFFECT(POLICY)},
	/* ORIGIN of the route. */
	{"origin", take_match_origin, EFFECT(POLICY)},
	/*
	 * MULTI_EXIT_DISC: a number, or a range as `{"ge": 10, "le": 20}`. A route without MED
	 * counts as 0.
	 */
	{"med", take_match_med, EFFECT(POLICY)},
	/* LOCAL_PREF: a number or a range. A route without LOCAL_PREF counts as 100. */
	{"local_pref", take_match_local_pref, EFFECT(POLICY)},
	/*
	 * Length of the AS path: a number or a range. A set counts as 1, a confederation
	 * segment as 0.
	 */
	{"as_path_length", take_match_as_path_length, EFFECT(POLICY)},
	/* Family of the route. */
	{"family", take_match_family, EFFECT(POLICY)},
	/*
	 * Where the route comes from: `connected`, `static` and `kernel` routes that are
	 * redistributed, `network` for `bgp.networks`, `external` and `internal` for routes of
	 * peers.
	 */
	{"source", take_match_source, EFFECT(POLICY)},
	/*
	 * Tag of the route: a number or a range. In a policy of `redistribute`, a static route has the `tag` of the static route. All other
	 * routes have the tag 0.
	 */
	{"tag", take_match_tag, EFFECT(POLICY)},
	/*
	 * Origin validation (RFC 6811) by the VRPs of `rpki`: `valid`, `invalid` or `not-found`. Only in import policies of peers. Without VRPs, and
	 * in VPN families, all routes are `not-found`. A peer and family with such a policy keeps the routes that its import policy refuses, as
	 * `keep_all_routes` does, so that a changed VRP is applied without a message to the peer (RFC 9324).
	 */
	{"validation", take_match_validation, EFFECT(POLICY)},
	/*
	 * AS number of the peer: a number, a range as `{"ge": 64512, "le": 65534}`, or the name
	 * of an AS set.
	 */
	{"peer_as", take_match_peer_as, EFFECT(POLICY)},
	/* Name of the group of the peer. */
	{"peer_group", take_match_peer_group, EFFECT(POLICY)},
	/*
	 * Last AS number of the AS path: a number, a range, the name of an AS set, or `peer.asn`, the AS number of the peer. A path
	 * without AS numbers, or with a set at its end, counts as 0.
	 */
	{"origin_as", take_match_origin_as, EFFECT(POLICY)},
	/* First AS number of the AS path: a number, a range, the name of an AS set, or `peer.asn`, the AS number of the peer. */
	{"first_as", take_match_first_as, EFFECT(POLICY)},
	/*
	 * Any AS number of the AS path, also of its sets: a number, a range or the name of an AS
	 * set.
	 */
	{"any_as", take_match_any_as, EFFECT(POLICY)},
	/* Number of communities: a number or a range. */
	{"community_count", take_match_community_count, EFFECT(POLICY)},
	/* Number of large communities: a number or a range. */
	{"large_community_count", take_match_large_community_count, EFFECT(POLICY)},
	/* Number of extended communities: a number or a range. */
	{"ext_community_count", take_match_ext_community_count, EFFECT(POLICY)},
	/* The same keys once more. None of these conditions may hold. */
	{"not", take_match_not, EFFECT(POLICY)},
	/*
	 * An array of further `match` objects, all of which must hold, as for two communities
	 * that a route must have.
	 */
	{"all", take_match_all, EFFECT(POLICY)},
};

/* A match inside a match: its conditions get a place of their own in the meaning. */
static void
take_inner_match(struct check *c, const struct at *at, const json_t *value, const char *key)
{
	struct node_draft *d = draft_of(c);
	const char *where = d->where;
	char place[80];

	if (strlen(where) > 32 || strlen(key) > 24) {
		config_fault(c, at, "`all` and `not` stand too deep in each other");
		return;
	}
	snprintf(place, sizeof(place), "%s%s.", where, key);
	d->where = place;
	CONFIG_TAKE(c, at, value, match_keys, NULL);
	d->where = where;
}

static void
take_match_not(CONFIG_TAKE_ARGS)
{
	struct node_draft *d = draft_of(c);

	(void)out;
	if (d->negated) {
		config_fault(c, at, "only valid outside of `not`");
		return;
	}
	d->negated = true;
	if (d->b)
		policy_builder_negate(d->b, true);
	take_inner_match(c, at, value, key->name);
	if (d->b)
		policy_builder_negate(d->b, false);
	d->negated = false;
}

static void
take_all_of(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct node_draft *d = draft_of(c);
	char key[24];

	(void)out;
	if (d->b)
		policy_builder_group(d->b);
	snprintf(key, sizeof(key), "all%zu", at->index);
	take_inner_match(c, at, value, key);
}

static void
take_match_all(CONFIG_TAKE_ARGS)
{
	struct node_draft *d = draft_of(c);

	(void)key;
	if (d->negated || d->where[0] != '\0') {
		config_fault(c, at, "only valid in `match` itself");
		return;
	}
	config_take_each(c, at, value, take_all_of, out);
	/* following keys of the node: a group beside the groups of `all` */
	if (d->b)
		policy_builder_group(d->b);
}

static void
take_match(CONFIG_TAKE_ARGS)
{
	(void)key;
	(void)out;
	CONFIG_TAKE(c, at, value, match_keys, NULL);
}

/* ---- set ---- */

static void
set_number(struct check *c, const struct at *at, const json_t *value, enum policy_number which)
{
	struct node_draft *d = draft_of(c);
	uint32_t n;

	if (config_value_u32(c, at, value, 0, UINT32_MAX, &n) && d->b)
		policy_builder_set_number(d->b, which, n);
}

struct change_draft {
	uint32_t add, subtract;
};

/* A change relative to the number that the route has. */
static const struct config_key change_keys[] = {
	/* Added; the result is at most 4294967295. */
	{"add", config_take_u32, offsetof(struct change_draft, add), 0, UINT32_MAX, EFFECT(POLICY)},
	/* Subtracted; the result is at least 0. */
	{"subtract", config_take_u32, offsetof(struct change_draft, subtract), 0, UINT32_MAX,
		EFFECT(POLICY)},
};

/* A number, or a change. */
static void
set_or_change(struct check *c, const struct at *at, const json_t *value, enum policy_number which)
{
	struct node_draft *d = draft_of(c);
	struct change_draft change = {0};

	if (!json_is_object(value)) {
		set_number(c, at, value, which);
	} else if (CONFIG_TAKE(c, at, value, change_keys, &change) && d->b) {
		policy_builder_set_relative(
			d->b, which, (int64_t)change.add - (int64_t)change.subtract);
	}
}

static void
take_set_local_pref(CONFIG_TAKE_ARGS)
{
	(void)out;
	mean_value(c, "set", key->name, value);
	set_or_change(c, at, value, NUMBER_LOCAL_PREF);
}

static void
take_set_med(CONFIG_TAKE_ARGS)
{
	(void)out;
	mean_value(c, "set", key->name, value);
	set_or_change(c, at, value, NUMBER_MED);
}

static void
take_set_tag(CONFIG_TAKE_ARGS)
{
	(void)out;
	mean_value(c, "set", key->name, value);
	set_number(c, at, value, NUMBER_TAG);
}

static void
take_set_origin(CONFIG_TAKE_ARGS)
{
	struct node_draft *d = draft_of(c);
	int origin = config_value_word(c, at, value, origin_words);

	(void)out;
	mean_value(c, "set", key->name, value);
	if (origin >= 0 && d->b)
		policy_builder_set_origin(d->b, (enum origin)origin);
}

static void
take_set_next_hop(CONFIG_TAKE_ARGS)
{
	struct node_draft *d = draft_of(c);
	struct ip_addr addr = addr_discard();
	const char *text = json_string_value(value);
	char quoted[CONFIG_QUOTE_MAX];

	(void)out;
	mean_value(c, "set", key->name, value);
	if (text != NULL && strcmp(text, "discard") == 0) {
		if (d->b)
			policy_builder_set_next_hop(d->b, &addr);
		return;
	}
	if (text != NULL && (strcmp(text, "peer") == 0 || strcmp(text, "self") == 0)) {
		if (d->b)
			policy_builder_set_next_hop_kind(
				d->b, *text == 'p' ? NEXT_HOP_PEER : NEXT_HOP_SELF);
		return;
	}
	if (text != NULL && strchr(text, '%') == NULL && addr_parse(text, &addr) != 0) {
		config_fault(c, at, "%s is not an IP address, \"peer\", \"self\" or \"discard\"",
			config_quote(value, quoted));
		return;
	}
	if (!config_value_host(c, at, value, &addr))
		return;
	/* Peers on all links get the next hop. */
	if (addr.zone)
		config_fault(c, at, "a policy can't set a link-local next hop");
	else if (d->b)
		policy_builder_set_next_hop(d->b, &addr);
}

struct prepend_draft {
	uint32_t asn, count;
	bool first;
};

static void
take_prepend_asn(CONFIG_TAKE_ARGS)
{
	struct prepend_draft *d = out;
	const char *text = json_string_value(value);

	if (text != NULL && strcmp(text, "first") == 0)
		d->first = true;
	else
		config_take_asn(c, at, value, key, &d->asn);
}

/* An AS number that is put before the AS path. */
static const struct config_key prepend_keys[] = {
	/*
	 * The AS number, or `first`: the first AS number of the path. A path without AS numbers
	 * stays as it is.
	 */
	{"asn", take_prepend_asn, 0, 0, 0, true, EFFECT(POLICY)},
	/* How often the number is put before the path. */
	{"count", config_take_u32, offsetof(struct prepend_draft, count), 1, 64, true,
		EFFECT(POLICY)},
};

static void
take_set_prepend(CONFIG_TAKE_ARGS)
{
	struct node_draft *d = draft_of(c);
	struct prepend_draft prepend = {0};

	(void)out;
	mean_value(c, "set", key->name, value);
	if (!CONFIG_TAKE(c, at, value, prepend_keys, &prepend) || !d->b || !prepend.count)
		return;
	if (prepend.first)
		policy_builder_set_prepend_first(d->b, prepend.count);
	else if (prepend.asn)
		policy_builder_set_prepend(d->b, prepend.asn, prepend.count);
}

/* The elements of `add`, `remove` or `replace`, in network order. */
struct values_draft {
	enum policy_communities kind;
	uint8_t *bytes;
	unsigned count;
	struct community_pattern *patterns; /* NULL: not allowed */
	unsigned pattern_count;
};

static const unsigned community_size[COMMUNITIES_KINDS] = {
	[COMMUNITIES_STANDARD] = 4,
	[COMMUNITIES_LARGE] = 12,
	[COMMUNITIES_EXTENDED] = 8,
};

static void
take_community_value(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct values_draft *v = out;
	uint8_t bytes[POLICY_COMMUNITY_MAX];
	struct community_pattern pattern;
	bool is_pattern;

	if (!policy_value_community(c, at, value, v->kind, bytes, &pattern, &is_pattern))
		return;
	if (is_pattern && v->patterns == NULL)
		config_fault(c, at, "wildcards and ranges are only valid in `remove`");
	else if (is_pattern && policy_pattern_has_peer(&pattern))
		config_fault(c, at, "`peer` is only valid in lists");
	else if (is_pattern)
		v->patterns[v->pattern_count++] = pattern;
	else
		memcpy(v->bytes + (size_t)community_size[v->kind] * v->count++, bytes,
			community_size[v->kind]);
}

static void
take_edit(struct check *c, const struct at *at, const json_t *value, enum policy_communities kind,
	enum policy_edit edit)
{
	struct node_draft *d = draft_of(c);
	struct values_draft v = {
		kind, malloc(POLICY_COMMUNITY_MAX * json_array_size(value) + 1), 0, NULL, 0};

	if (edit == EDIT_REMOVE)
		v.patterns = calloc(json_array_size(value) + 1, sizeof(*v.patterns));
	if (!v.bytes || (edit == EDIT_REMOVE && v.patterns == NULL)) {
		policy_out_of_memory(c, at);
	} else if (config_take_each(c, at, value, take_community_value, &v) && d->b) {
		built(d, at, policy_builder_set_communities(d->b, kind, edit, v.bytes, v.count));
		if (v.pattern_count > 0)
			built(d, at,
				policy_builder_remove_patterns(
					d->b, kind, v.patterns, v.pattern_count));
	}
	free(v.bytes);
	free(v.patterns);
}

static void
take_add(CONFIG_TAKE_ARGS)
{
	(void)key;
	take_edit(c, at, value, *(enum policy_communities *)out, EDIT_ADD);
}

static void
take_remove(CONFIG_TAKE_ARGS)
{
	(void)key;
	take_edit(c, at, value, *(enum policy_communities *)out, EDIT_REMOVE);
}

static void
take_replace(CONFIG_TAKE_ARGS)
{
	(void)key;
	take_edit(c, at, value, *(enum policy_communities *)out, EDIT_REPLACE);
}

/*
 * Changes to the communities of a route. `replace` is done first, then `remove`, then `add`. Default: none.
 */
static const struct config_key edit_keys[] = {
	/* Adds communities that the route does not have. */
	{"add", take_add, EFFECT(POLICY)},
	/*
	 * Removes communities. A part may be `*` (any number) or a range, as `64512:*`,
	 * `64512:100-199` or `64512:*:*`.
	 */
	{"remove", take_remove, EFFECT(POLICY)},
	/*
	 * Replaces all communities of the kind; an empty array removes all.
	 */
	{"replace", take_replace, EFFECT(POLICY)},
};

static void
take_set_communities(CONFIG_TAKE_ARGS)
{
	enum policy_communities kind = COMMUNITIES_STANDARD;

	(void)out;
	mean_value(c, "set", key->name, value);
	CONFIG_TAKE(c, at, value, edit_keys, &kind);
}

static void
take_set_large_communities(CONFIG_TAKE_ARGS)
{
	enum policy_communities kind = COMMUNITIES_LARGE;

	(void)out;
	mean_value(c, "set", key->name, value);
	CONFIG_TAKE(c, at, value, edit_keys, &kind);
}

static void
take_set_ext_communities(CONFIG_TAKE_ARGS)
{
	enum policy_communities kind = COMMUNITIES_EXTENDED;

	(void)out;
	mean_value(c, "set", key->name, value);
	CONFIG_TAKE(c, at, value, edit_keys, &kind);
}

/*
 * Changes to a route that the node permits. In a deny node, `set` is checked and has no effect. Default: unchanged.
 */
static const struct config_key set_keys[] = {
	/*
	 * LOCAL_PREF: a number, or a change as `{"add": 10}` or `{"subtract": 10}`. A route
	 * without LOCAL_PREF counts as 100.
	 */
	{"local_pref", take_set_local_pref, EFFECT(POLICY)},
	/*
	 * MULTI_EXIT_DISC: a number, or a change as in `local_pref`. A route without MED counts
	 * as 0.
	 */
	{"med", take_set_med, EFFECT(POLICY)},
	/* ORIGIN. */
	{"origin", take_set_origin, EFFECT(POLICY)},
	/*
	 * Next hop: an address, `peer` (the address of the peer, only in import policies of
	 * peers), `self` (an address of this router, only in export policies), or `discard`. With `discard` the route is valid and advertised,
	 * and workers drop its packets under the reason `blackhole`; peers get the address of
	 * this router as next hop. A link-local address is not allowed.
	 */
	{"next_hop", take_set_next_hop, EFFECT(POLICY)},
	/* Communities (RFC 1997). */
	{"communities", take_set_communities},
	/* Large communities (RFC 8092). */
	{"large_communities", take_set_large_communities},
	/* Extended communities (RFC 4360). */
	{"ext_communities", take_set_ext_communities},
	/* AS number that is put before the AS path. */
	{"as_path_prepend", take_set_prepend},
	/* Tag of the route, as `policy.test` shows. Tags are not advertised and not kept for a second policy. */
	{"tag", take_set_tag, EFFECT(POLICY)},
};

static void
take_set(CONFIG_TAKE_ARGS)
{
	(void)key;
	(void)out;
	CONFIG_TAKE(c, at, value, set_keys, NULL);
}

/* ---- policies ---- */

/* A node of a route policy. */
static const struct config_key node_keys[] = {
	/*
	 * Place of the node in the walk. Nodes are walked by rising `seq`, not in the order of the document. Two nodes of a policy can't have
	 * the same `seq`.
	 */
	{"seq", config_take_u32, offsetof(struct node_draft, seq), 1, UINT32_MAX, true,
		EFFECT(POLICY)},
	/* `permit` accepts the route with the changes of `set`. `deny` rejects the route. */
	{"action", policy_take_action, offsetof(struct node_draft, permit), 0, 0, true,
		EFFECT(POLICY)},
	/* Conditions. Default: every route matches. */
	{"match", take_match},
	/* Changes to the route. Default: none. */
	{"set", take_set},
	/*
	 * `seq` of a later node of the same policy, where the walk continues after a permit.
	 * Without a further match the route stays permitted. Only valid in permit nodes.
	 * Default: the walk ends at this node.
	 */
	{"goto", config_take_u32, offsetof(struct node_draft, goto_seq), 1, UINT32_MAX,
		EFFECT(POLICY)},
	/*
	 * Name of a policy, also of `policy_files`, that is applied if the node matches. A route
	 * that the policy rejects is rejected. Otherwise the changes of the policy are made, then
	 * the changes of `set`. A policy must not call itself, directly or through other policies.
	 * Only valid in permit nodes. Default: none.
	 */
	{"call", config_take_name, offsetof(struct node_draft, call), EFFECT(POLICY)},
};

/* The place of a node in the walk. */
struct place {
	json_int_t seq; /* 0: none that is legal */
	size_t index; /* in the document */
};

static int
place_compare(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static struct place *
places_of(const json_t *nodes)
{
	struct place *places = calloc(json_array_size(nodes) + 1, sizeof(*places));
	size_t i;
	json_t *node;

	json_array_foreach(nodes, i, node)
	{
		json_int_t seq = json_integer_value(json_object_get(node, "seq"));
		if (places)
			places[i] = (struct place){seq >= 1 && seq <= UINT32_MAX ? seq : 0, i};
	}
	if (places)
		qsort(places, json_array_size(nodes), sizeof(*places), place_compare);
	return places;
}

/* A goto leads forward only, so every walk ends. The meaning of a goto is the ordinal of the target. */
static void
check_goto(struct check *c, const struct at *at, struct node_draft *d, const struct place *places,
	size_t count)
{
	struct at goto_at = AT_KEY(at, "goto");

	if (!d->goto_seq)
		return;
	if (!d->permit) {
		config_fault(c, &goto_at, "only valid in a permit node");
		return;
	}
	for (size_t i = 0; i < count; i++)
		if (places[i].seq == d->goto_seq && d->goto_seq > d->seq) {
			json_object_set_new(d->meaning, "goto", json_integer((json_int_t)i));
			if (d->b)
				policy_builder_goto(d->b, d->goto_seq);
			return;
		}
	config_fault(c, &goto_at, "%u is not the `seq` of a later node", d->goto_seq);
}

/*
 * A `set` in a deny node is checked and changes nothing, because operators turn `permit` into `deny` for a while.
 */
static void
forget_set(json_t *meaning)
{
	const char *key;
	json_t *value;
	void *next;

	json_object_foreach_safe(meaning, next, key, value)
	{
		(void)value;
		if (!strncmp(key, "set.", 4))
			json_object_del(meaning, key);
	}
}

/* A node of a policy file: `jump` beside the keys of documents. */
static void
take_text_node(struct node_draft *d, const struct at *at, const json_t *node)
{
	const json_t *match = json_object_get(node, "match"), *set = json_object_get(node, "set");

	const json_t *report = json_object_get(node, "report");

	d->seq = (uint32_t)json_integer_value(json_object_get(node, "seq"));
	if (report != NULL && d->b)
		policy_builder_report(d->b, (uint32_t)json_integer_value(report));
	d->goto_seq = (uint32_t)json_integer_value(json_object_get(node, "goto"));
	d->permit = strcmp(json_string_value(json_object_get(node, "action")), "permit") == 0;
	if (match != NULL)
		CONFIG_TAKE(&d->c, at, match, match_keys, NULL);
	if (set != NULL)
		CONFIG_TAKE(&d->c, at, set, set_keys, NULL);
	if (!json_is_true(json_object_get(node, "jump")))
		return;
	json_object_set_new(d->meaning, "jump", json_true());
	if (d->b)
		policy_builder_jump(d->b);
}

static json_t *
compile_node(struct compile *k, const struct at *at, const json_t *value, struct policy_builder *b,
	const struct place *places, size_t place, size_t count)
{
	struct node_draft d = {.c = k->c, .k = k, .b = b, .where = "", .meaning = json_object()};
	const char *action = json_string_value(json_object_get(value, "action"));
	struct at seq_at = AT_KEY(at, "seq");
	bool permit = action && !strcmp(action, "permit");

	if (place > 0 && places[place].seq && places[place].seq == places[place - 1].seq) {
		config_fault(&d.c, &seq_at, "%lld is the `seq` of another node of this policy",
			(long long)places[place].seq);
		d.b = NULL;
	} else if (!places[place].seq) {
		d.b = NULL;
	}
	if (d.b && policy_builder_node(d.b, (uint32_t)places[place].seq, permit)) {
		policy_out_of_memory(&d.c, at);
		d.b = NULL;
	}
	json_object_set_new(d.meaning, "permit", json_boolean(permit));
	if (k->of_text)
		take_text_node(&d, at, value);
	else
		CONFIG_TAKE(&d.c, at, value, node_keys, &d);
	check_goto(&d.c, at, &d, places, count);
	if (d.call != NULL && !d.permit) {
		struct at call_at = AT_KEY(at, "call");
		config_fault(&d.c, &call_at, "only valid in a permit node");
	}
	if (!permit)
		forget_set(d.meaning);
	return d.meaning;
}

static json_t *
compile_nodes(struct compile *k, const struct at *at, const json_t *nodes, struct policy_builder *b)
{
	json_t *meaning = json_array();
	size_t count = json_array_size(nodes);
	struct place *places = places_of(nodes);

	if (!places)
		policy_out_of_memory(&k->c, at);
	for (size_t i = 0; places && i < count; i++) {
		struct at here = AT_INDEX(at, places[i].index);
		json_array_append_new(
			meaning, compile_node(k, &here, json_array_get(nodes, places[i].index), b,
					 places, i, count));
	}
	free(places);
	return meaning;
}

static void
take_policy_own_name(CONFIG_TAKE_ARGS)
{
	char quoted[CONFIG_QUOTE_MAX];

	config_take_name(c, at, value, key, out);
	const char *name = json_string_value(value);
	if (name && (!strcmp(name, "accept-all") || !strcmp(name, "deny-all")))
		config_fault(c, at, "%s is built in and can't be redefined",
			config_quote(value, quoted));
}

static void
take_policy_nodes(CONFIG_TAKE_ARGS)
{
	(void)key;
	(void)out;
	if (!json_is_array(value))
		config_fault_type(c, at, value, "an array");
}

struct policy_draft {
	const char *name;
};

/* A route policy. */
static const struct config_key policy_keys[] = {
	/*
	 * Name by which families and `redistribute` refer to the policy. `accept-all` and
	 * `deny-all` are reserved.
	 */
	{"name", take_policy_own_name, offsetof(struct policy_draft, name), 0, 0, true,
		EFFECT(POLICY)},
	/* Nodes of the policy. */
	{"nodes", take_policy_nodes, 0, 0, 0, true},
};

static json_t *
lines_of(const json_t *nodes)
{
	json_t *lines = json_array(), *node;
	size_t i;

	json_array_foreach(nodes, i, node)
	{
		json_t *line = json_object_get(node, "line");

		json_array_append_new(lines, line != NULL ? json_incref(line) : json_null());
	}
	return lines;
}

static void
compile_policy(struct compile *k, const struct at *at, const json_t *value, struct policy_set *s)
{
	struct policy_draft d = {0};
	struct policy_builder *b = NULL;
	struct policy *policy;
	struct at nodes_at = AT_KEY(at, "nodes");
	unsigned faults = k->c.f->count + k->c.f->lost;

	if (k->of_text)
		d.name = json_string_value(json_object_get(value, "name"));
	else if (!CONFIG_TAKE(&k->c, at, value, policy_keys, &d))
		return;
	/* the nodes of a policy with calls are in the sections of the policy files */
	bool expanded = d.name && !k->of_text && k->text && policy_text_expands(k->text, d.name);
	if (d.name && !expanded && policy_builder_create(d.name, &b))
		policy_out_of_memory(&k->c, at);
	json_t *meaning = compile_nodes(k, &nodes_at, json_object_get(value, "nodes"), b);
	int err = k->c.f->count + k->c.f->lost == faults && b ? policy_builder_finish(b, &policy)
							      : -ECANCELED;
	if (!err &&
		json_object_set_new(s->index, policy_name(policy), json_integer(s->count)) != 0) {
		policy_destroy(policy);
		policy_out_of_memory(&k->c, at);
		json_decref(meaning);
		return;
	}
	if (!err) {
		s->names[BUILT_IN + s->count] = policy_name(policy);
		s->policies[s->count] = policy;
		if (k->of_text)
			s->lines[s->count] = lines_of(json_object_get(value, "nodes"));
		if (json_object_get(value, "text") != NULL)
			json_object_set_new(s->texts, policy_name(policy),
				json_pack("{s:O*, s:O}", "line", json_object_get(value, "line"),
					"text", json_object_get(value, "text")));
		s->meaning[s->count++] = meaning;
		s->documented = s->count;
		return;
	}
	if (err != -ECANCELED)
		policy_out_of_memory(&k->c, at);
	policy_builder_destroy(b);
	json_decref(meaning);
}

static struct policy_set *
set_create(size_t policies)
{
	struct policy_set *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->names = calloc(policies + BUILT_IN + 1, sizeof(*s->names));
	s->size = (unsigned)policies + 1;
	s->policies = calloc(s->size, sizeof(struct policy *));
	s->key = calloc(s->size, sizeof(char *));
	s->meaning = calloc(s->size, sizeof(json_t *));
	s->lines = calloc(s->size, sizeof(json_t *));
	s->index = json_object();
	s->texts = json_object();
	if (s->names && s->policies && s->key && s->lines && s->meaning && s->index && s->texts) {
		s->names[0] = policy_name(policy_accept_all());
		s->names[1] = policy_name(policy_deny_all());
		return s;
	}
	policy_set_free(s);
	return NULL;
}

struct policy_set *
policy_set_compile(const json_t *document, struct faults *f)
{
	unsigned before = f->count + f->lost;
	struct policy_text *text = policy_text_compile(document, NULL, NULL, f);
	struct policy_set *s = policy_set_compile_text(document, text, NULL, f);

	policy_text_free(text);
	if (f->count + f->lost == before)
		return s;
	policy_set_free(s);
	return NULL;
}

struct policy_set *
policy_set_compile_text(const json_t *document, const struct policy_text *text,
	const struct policy_set *like, struct faults *f)
{
	struct compile k = {.c = {.f = f, .document = document},
		.text = text,
		.like = like != NULL ? like->lists : NULL};
	const struct at root = AT_ROOT, at = AT_KEY(&root, "route_policies");
	const json_t *policies = json_object_get(document, "route_policies");
	unsigned before = f->count + f->lost;
	size_t i;
	json_t *value;
	const json_t *written =
		text != NULL ? json_object_get(policy_text_document(text), "route_policies") : NULL;
	struct policy_set *s = set_create(json_array_size(policies) + json_array_size(written));

	if (!s) {
		faults_add(f, "", "out of memory");
		return NULL;
	}
	k.lists = s->lists;
	for (unsigned kind = 0; kind < LIST_KINDS; kind++)
		policy_compile_lists(&k, kind);
	s->compiled = k.compiled;
	if (policies && !json_is_array(policies))
		config_fault_type(&k.c, &at, policies, "an array");
	json_array_foreach(policies, i, value)
	{
		struct at here = AT_INDEX(&at, i);
		compile_policy(&k, &here, value, s);
	}
	config_check_unique(&k.c, &at, policies, "name");
	k.of_text = true;
	/* nodes of the document that have faults may be nodes of files, too */
	if (f->count + f->lost > before)
		written = NULL;
	json_array_foreach(written, i, value) compile_policy(&k, &at, value, s);
	if (f->count + f->lost == before)
		return s;
	policy_set_free(s);
	return NULL;
}

void
policy_set_free(struct policy_set *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->count; i++) {
		policy_destroy(s->policies[i]);
		json_decref(s->meaning[i]);
		free(s->key[i]);
		json_decref(s->lines[i]);
	}
	policy_release_lists(s->lists);
	json_decref(s->index);
	json_decref(s->texts);
	free(s->names);
	free(s->policies);
	free(s->key);
	free(s->meaning);
	free(s->lines);
	free(s);
}

unsigned
policy_set_compiled(const struct policy_set *s)
{
	return s->compiled;
}

static int
index_of(const struct policy_set *s, const char *name)
{
	const json_t *i = json_object_get(s->index, name);

	return i ? (int)json_integer_value(i) : -1;
}

const struct policy *
policy_set_find(const struct policy_set *s, const char *name)
{
	int i = index_of(s, name);

	if (!strcmp(name, "accept-all"))
		return policy_accept_all();
	if (!strcmp(name, "deny-all"))
		return policy_deny_all();
	return i >= 0 ? s->policies[i] : NULL;
}

bool
policy_set_same(const struct policy_set *a, const struct policy_set *b, const char *name)
{
	int i = index_of(a, name), j = index_of(b, name);

	if (!strcmp(name, "accept-all") || !strcmp(name, "deny-all"))
		return true;
	return i >= 0 && j >= 0 && json_equal(a->meaning[i], b->meaning[j]);
}

void
policy_set_keep(struct policy_set *next, struct policy_set *old)
{
	for (unsigned i = 0; i < next->count; i++) {
		int j = index_of(
			old, next->key[i] != NULL ? next->key[i] : policy_name(next->policies[i]));
		if (j < 0 || !json_equal(next->meaning[i], old->meaning[j]))
			continue;
		struct policy *p = next->policies[i];
		next->policies[i] = old->policies[j];
		old->policies[j] = p;
		if (i >= next->documented)
			continue;
		next->names[BUILT_IN + i] = policy_name(next->policies[i]);
		old->names[BUILT_IN + j] = policy_name(p);
	}
}

/* ---- additions by keys of a peer ---- */

#define KEY_MAX 256
#define COMMUNITY_SHUTDOWN 0xffff0000u /* RFC 8326 */
#define COMMUNITY_BLACKHOLE 0xffff029au /* RFC 7999 */

/* No name has a space. */
static void
guard_key(const char *name, const struct policy_guard *g, char *key)
{
	snprintf(key, KEY_MAX, "%s %d %s %u %u %u", name, (int)g->shutdown,
		g->blackhole_list != NULL ? g->blackhole_list : "", g->blackhole_min_length,
		g->blackhole_add, g->afi);
}

static void
community_octets(uint32_t c, uint8_t out[4])
{
	for (unsigned i = 0; i < 4; i++)
		out[i] = (uint8_t)(c >> (24 - 8 * i));
}

static int
match_community(struct policy_builder *b, uint32_t community)
{
	struct policy_community_list *l;
	uint8_t octets[4];
	int err = policy_community_list_create_kind(COMMUNITIES_STANDARD, &l);

	if (err)
		return err;
	community_octets(community, octets);
	err = policy_community_list_add_value(l, true, octets);
	if (!err)
		err = policy_community_list_seal(l);
	if (!err)
		err = policy_builder_match_community_list(b, l);
	policy_community_list_unref(l);
	return err;
}

/* RFC 7999 3.3: accepted inside of what the peer may announce, else refused. */
static int
add_blackhole(struct policy_builder *b, const json_t *document, const struct policy_guard *g,
	json_t *meaning)
{
	const struct ip_addr discard = addr_discard();
	struct policy_prefix_list *l;
	uint8_t add[4];
	int err = policy_covering_list(
		document, g->blackhole_list, g->afi, g->blackhole_min_length, &l, meaning);

	if (err)
		return err;
	err = policy_builder_node(b, POLICY_NODE_BLACKHOLE, true);
	if (!err)
		err = policy_builder_match_prefix_list(b, l);
	policy_prefix_list_unref(l);
	if (!err)
		err = match_community(b, COMMUNITY_BLACKHOLE);
	if (err)
		return err;
	community_octets(g->blackhole_add, add);
	policy_builder_set_next_hop(b, &discard);
	err = policy_builder_set_communities(b, COMMUNITIES_STANDARD, EDIT_ADD, add, 1);
	if (!err)
		err = policy_builder_node(b, POLICY_NODE_BLACKHOLE, false);
	return err ? err : match_community(b, COMMUNITY_BLACKHOLE);
}

static int
guard_build(struct policy_builder *b, const struct policy *p, const json_t *document,
	const struct policy_guard *g, json_t *meaning)
{
	bool lowers = g->shutdown != SHUTDOWN_IGNORED;
	int err = g->blackhole_list != NULL ? add_blackhole(b, document, g, meaning) : 0;

	if (!err)
		err = policy_builder_copy(b, p, lowers ? POLICY_NODE_LAST : 0);
	if (err || !lowers)
		return err;
	err = policy_builder_last(b);
	if (!err && g->shutdown == SHUTDOWN_BY_COMMUNITY)
		err = match_community(b, COMMUNITY_SHUTDOWN);
	if (!err)
		policy_builder_set_number(b, NUMBER_LOCAL_PREF, 0);
	return err;
}

static bool
set_grow(struct policy_set *s)
{
	unsigned size = 2 * s->size;
	struct policy **policies = realloc(s->policies, size * sizeof(struct policy *));
	char **key;
	json_t **meaning;

	if (policies == NULL)
		return false;
	s->policies = policies;
	key = realloc(s->key, size * sizeof(char *));
	if (key == NULL)
		return false;
	s->key = key;
	meaning = realloc(s->meaning, size * sizeof(json_t *));
	if (meaning == NULL)
		return false;
	s->meaning = meaning;
	json_t **lines = realloc(s->lines, size * sizeof(json_t *));
	if (lines == NULL)
		return false;
	s->lines = lines;
	memset(s->lines + s->size, 0, (size - s->size) * sizeof(json_t *));
	memset(s->key + s->size, 0, (size - s->size) * sizeof(char *));
	s->size = size;
	return true;
}

const char *
policy_set_guard(struct policy_set *s, const json_t *document, const char *name,
	const struct policy_guard *g)
{
	const struct policy *p = policy_set_find(s, name);
	int of = index_of(s, name), i, err;
	struct policy_builder *b;
	char key[KEY_MAX];
	json_t *meaning;

	guard_key(name, g, key);
	i = index_of(s, key);
	if (i >= 0)
		return s->key[i];
	if (p == NULL || (s->count == s->size && !set_grow(s)) ||
		policy_builder_create(policy_name(p), &b))
		return NULL;
	meaning = json_array();
	json_array_append_new(meaning, json_string(strchr(key, ' ')));
	json_array_append(meaning, of >= 0 ? s->meaning[of] : json_null());
	err = guard_build(b, p, document, g, meaning);
	if (!err)
		err = policy_builder_finish(b, &s->policies[s->count]);
	if (err) {
		policy_builder_destroy(b);
		json_decref(meaning);
		return NULL;
	}
	s->meaning[s->count] = meaning;
	s->key[s->count] = strdup(key);
	if (s->key[s->count] == NULL ||
		json_object_set_new(s->index, key, json_integer(s->count)) != 0) {
		policy_destroy(s->policies[s->count]);
		free(s->key[s->count]);
		s->key[s->count] = NULL;
		json_decref(meaning);
		return NULL;
	}
	return s->key[s->count++];
}

const char *
policy_set_line(const struct policy_set *s, const char *name, uint32_t node)
{
	int i = index_of(s, name);

	return i >= 0 ? json_string_value(json_array_get(s->lines[i], node)) : NULL;
}

const char *
policy_set_text(const struct policy_set *s, const char *name, const char **line)
{
	const json_t *text = json_object_get(s->texts, name);

	*line = json_string_value(json_object_get(text, "line"));
	return json_string_value(json_object_get(text, "text"));
}

const char *const *
policy_set_names(const struct policy_set *s)
{
	return s->names;
}
