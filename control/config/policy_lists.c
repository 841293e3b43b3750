/* SPDX-License-Identifier: BSD-3-Clause */
/* Communities as text, and the lists that policies refer to: prefixes, AS paths, three kinds of communities. */
#include "control/config/policy_compile_impl.h"

#include "control/config/policy_text.h"
#include "rib/table/vpn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- communities ---- */

/* https://www.iana.org/assignments/bgp-well-known-communities */
static const struct {
	const char *name;
	uint32_t value;
} well_known[] = {
	{"graceful-shutdown", 0xffff0000}, /* RFC 8326 */
	{"accept-own", 0xffff0001}, /* RFC 7611 */
	{"llgr-stale", 0xffff0006}, /* RFC 9494 */
	{"no-llgr", 0xffff0007}, /* RFC 9494 */
	{"blackhole", 0xffff029a}, /* RFC 7999 */
	{"no-export", 0xffffff01}, /* RFC 1997 */
	{"no-advertise", 0xffffff02}, /* RFC 1997 */
	{"no-export-subconfed", 0xffffff03}, /* RFC 1997 */
	{"no-peer", 0xffffff04}, /* RFC 3765 */
};

int
policy_community_parse(const char *text, uint32_t *out)
{
	uint64_t high, low;

	for (size_t i = 0; i < COUNT(well_known); i++)
		if (!strcmp(text, well_known[i].name)) {
			*out = well_known[i].value;
			return 0;
		}
	if (!text_part_parse(&text, 65535, ':', &high) ||
		!text_part_parse(&text, 65535, '\0', &low))
		return -EINVAL;
	*out = (uint32_t)(high << 16 | low);
	return 0;
}

const char *
policy_community_text(uint32_t community, char *buf)
{
	for (size_t i = 0; i < COUNT(well_known); i++)
		if (well_known[i].value == community)
			return well_known[i].name;
	snprintf(buf, POLICY_COMMUNITY_TEXT_MAX, "%u:%u", community >> 16, community & 0xffff);
	return buf;
}

int
policy_large_community_parse(const char *text, uint8_t out[12])
{
	uint64_t part;

	for (unsigned i = 0; i < 3; i++) {
		if (!text_part_parse(&text, UINT32_MAX, i < 2 ? ':' : '\0', &part))
			return -EINVAL;
		for (unsigned j = 0; j < 4; j++)
			out[4 * i + j] = (uint8_t)(part >> (24 - 8 * j));
	}
	return 0;
}

int
policy_ext_community_parse(const char *text, uint8_t out[8])
{
	struct ext_community c;
	int err = ext_community_parse(text, &c);

	if (err == 0)
		ext_community_put(c, out);
	return err;
}

bool
policy_range_parse(const char *text, uint32_t *low, uint32_t *high)
{
	const char *dash = strchr(text, '-');
	uint64_t first, last;

	if (!text_part_parse(&text, UINT32_MAX, dash != NULL ? '-' : '\0', &first))
		return false;
	last = first;
	if (dash != NULL && !text_part_parse(&text, UINT32_MAX, '\0', &last))
		return false;
	*low = (uint32_t)first;
	*high = (uint32_t)last;
	return *low <= *high;
}

/* `*`, `peer`, a number or a range, all at most `max`. */
static bool
part_parse(const char *text, uint32_t max, struct community_part *out)
{
	*out = (struct community_part){0, UINT32_MAX, false};
	if (strcmp(text, "*") == 0)
		return true;
	if (strcmp(text, "peer") == 0) {
		*out = (struct community_part){0, 0, true};
		return true;
	}
	return policy_range_parse(text, &out->low, &out->high) && out->high <= max;
}

static bool
subtype_parse(const char *text, struct community_part *out)
{
	uint32_t subtype = strcmp(text, "rt") == 0 ? 2 : 3;

	*out = (struct community_part){subtype, subtype, false};
	return strcmp(text, "rt") == 0 || strcmp(text, "soo") == 0;
}

bool
policy_pattern_parse(const char *text, enum policy_communities kind, struct community_pattern *out)
{
	unsigned parts = kind == COMMUNITIES_STANDARD ? 2 : COMMUNITY_PARTS;
	char copy[80], *part = copy, *colon;
	bool exact = true;

	*out = (struct community_pattern){0};
	if (strlen(text) >= sizeof(copy))
		return false;
	memcpy(copy, text, strlen(text) + 1);
	for (unsigned i = 0; i < parts; i++, part = colon + 1) {
		colon = strchr(part, ':');
		if ((colon == NULL) != (i + 1 == parts))
			return false;
		if (colon != NULL)
			*colon = '\0';
		if (kind == COMMUNITIES_EXTENDED && i == 0
				? !subtype_parse(part, &out->part[0])
				: !part_parse(part,
					  kind == COMMUNITIES_STANDARD ? 65535 : UINT32_MAX,
					  &out->part[i]))
			return false;
		exact &= !out->part[i].peer && out->part[i].low == out->part[i].high;
		if (colon == NULL)
			break;
	}
	return !exact;
}

bool
policy_pattern_has_peer(const struct community_pattern *p)
{
	return p->part[0].peer || p->part[1].peer || p->part[2].peer;
}

bool
policy_value_community(struct check *c, const struct at *at, const json_t *value,
	enum policy_communities kind, uint8_t out[static POLICY_COMMUNITY_MAX],
	struct community_pattern *pattern, bool *is_pattern)
{
	static const char *const what[COMMUNITIES_KINDS] = {
		[COMMUNITIES_STANDARD] = "a community, as 64512:7 or no-export",
		[COMMUNITIES_LARGE] = "a large community, as 64512:1:2",
		[COMMUNITIES_EXTENDED] =
			"an extended community, as rt:64512:1, soo:64512:1 or 0x0002fc0000000001",
	};
	const char *text = json_string_value(value);
	uint32_t standard = 0;
	int err = -EINVAL;

	memset(out, 0, POLICY_COMMUNITY_MAX);
	if (text && kind == COMMUNITIES_LARGE)
		err = policy_large_community_parse(text, out);
	else if (text && kind == COMMUNITIES_EXTENDED)
		err = policy_ext_community_parse(text, out);
	else if (text)
		err = policy_community_parse(text, &standard);
	for (unsigned i = 0; kind == COMMUNITIES_STANDARD && i < 4; i++)
		out[i] = (uint8_t)(standard >> (24 - 8 * i));
	*is_pattern = err && text && policy_pattern_parse(text, kind, pattern);
	if (err && !*is_pattern)
		config_fault_type(c, at, value, what[kind]);
	return !err || *is_pattern;
}

/* ---- lists ---- */

static const char *const list_section[] = {"prefix_lists", "as_path_lists", "community_lists",
	"large_community_lists", "ext_community_lists", "as_sets"};
const char *const policy_list_word[] = {"prefix list", "AS-path list", "community list",
	"large community list", "extended community list", "AS set"};
static_assert(COUNT(list_section) == LIST_KINDS && COUNT(policy_list_word) == LIST_KINDS,
	"one for each kind");

/* The `void *out` of the walker for a list. */
struct list_draft {
	union list list; /* .any NULL: after a failure the rest is only checked */
	enum policy_communities communities; /* of a list of these */
	uint32_t seq; /* of the entries so far, the last */
	char *meaning; /* octets of each entry, one after the other */
	size_t len, size;
	bool no_memory;
	/* of a prefix list of the same name in the earlier set: the entries not passed, and their meaning */
	const json_t *old;
	size_t old_at;
	const uint8_t *old_meaning;
};

struct entry_draft {
	bool permit;
	uint32_t seq; /* 0: none */
	bool has_prefix;
	struct prefix prefix;
	const char *regex;
	const char *community;
};

static const char *const action_words[] = {"permit", "deny", NULL};

void
policy_take_action(CONFIG_TAKE_ARGS)
{
	(void)key;
	*(bool *)out = config_value_word(c, at, value, action_words) == 0;
}

static void
take_entry_prefix(CONFIG_TAKE_ARGS)
{
	struct entry_draft *e = out;

	(void)key;
	e->has_prefix = config_value_prefix(c, at, value, &e->prefix);
}

/*
 * An entry of a prefix list. Without `ge` and `le` the entry matches the prefix alone.
 */
static const struct config_key prefix_entry_keys[] = {
	/*
	 * `permit`: a route that the entry matches is matched by the list. `deny`: the route is
	 * not matched by the list.
	 */
	{"action", policy_take_action, offsetof(struct entry_draft, permit), 0, 0, true,
		EFFECT(POLICY)},
	/* Prefix that covers the matched prefixes. A list may hold prefixes of both families. */
	{"prefix", take_entry_prefix, 0, 0, 0, true, EFFECT(POLICY)},
	/* Shortest prefix length that matches. Unit: bits. Default: the length of `prefix`. */
	{"ge", config_take_elsewhere, EFFECT(POLICY)},
	/*
	 * Longest prefix length that matches; at least `ge`. Unit: bits. Default: the length of
	 * `prefix`; with `ge`, the longest length of the family (32 or 128).
	 */
	{"le", config_take_elsewhere, EFFECT(POLICY)},
	/*
	 * Number of the entry in lines of the shell, greater than the numbers before. Default:
	 * none.
	 */
	{"seq", config_take_u32, offsetof(struct entry_draft, seq), 1, UINT32_MAX, EFFECT(NONE)},
};

/* An entry of an AS-path list. */
static const struct config_key as_path_entry_keys[] = {
	/*
	 * `permit`: a route that the entry matches is matched by the list. `deny`: the route is
	 * not matched by the list.
	 */
	{"action", policy_take_action, offsetof(struct entry_draft, permit), 0, 0, true,
		EFFECT(POLICY)},
	/*
	 * Regular expression (POSIX extended) for the AS path as text: plain numbers with a
	 * space between them, sets as `{1,2}`, confederations as `(1 2)`. An underscore matches
	 * the beginning, the end and every delimiter of the path.
	 */
	{"regex", config_take_text, offsetof(struct entry_draft, regex), 1, 0, true,
		EFFECT(POLICY)},
	/*
	 * Number of the entry in lines of the shell, greater than the numbers before. Default:
	 * none.
	 */
	{"seq", config_take_u32, offsetof(struct entry_draft, seq), 1, UINT32_MAX, EFFECT(NONE)},
};

/* An entry of a list of communities. */
static const struct config_key community_entry_keys[] = {
	/*
	 * `permit`: a route that the entry matches is matched by the list. `deny`: the route is
	 * not matched by the list.
	 */
	{"action", policy_take_action, offsetof(struct entry_draft, permit), 0, 0, true,
		EFFECT(POLICY)},
	/*
	 * A community (RFC 1997): `64512:7`, or a well-known name: `no-export`, `no-advertise`,
	 * `no-export-subconfed`, `no-peer`, `blackhole`, `graceful-shutdown`, `accept-own`,
	 * `llgr-stale`, `no-llgr`. A part may be `*` (any number), a range as `100-199`, or
	 * `peer`, the AS number of the peer.
	 */
	{"community", config_take_text, offsetof(struct entry_draft, community), 1, 0, true,
		EFFECT(POLICY)},
	/*
	 * Number of the entry in lines of the shell, greater than the numbers before. Default:
	 * none.
	 */
	{"seq", config_take_u32, offsetof(struct entry_draft, seq), 1, UINT32_MAX, EFFECT(NONE)},
};

/* An entry of a list of large communities. */
static const struct config_key large_community_entry_keys[] = {
	/*
	 * `permit`: a route that the entry matches is matched by the list. `deny`: the route is
	 * not matched by the list.
	 */
	{"action", policy_take_action, offsetof(struct entry_draft, permit), 0, 0, true,
		EFFECT(POLICY)},
	/*
	 * A large community (RFC 8092), as `64512:1:2`. A part may be `*`, a range or `peer`, as
	 * in a community list.
	 */
	{"large_community", config_take_text, offsetof(struct entry_draft, community), 1, 0, true,
		EFFECT(POLICY)},
	/*
	 * Number of the entry in lines of the shell, greater than the numbers before. Default:
	 * none.
	 */
	{"seq", config_take_u32, offsetof(struct entry_draft, seq), 1, UINT32_MAX, EFFECT(NONE)},
};

/* An entry of a list of extended communities. */
static const struct config_key ext_community_entry_keys[] = {
	/*
	 * `permit`: a route that the entry matches is matched by the list. `deny`: the route is
	 * not matched by the list.
	 */
	{"action", policy_take_action, offsetof(struct entry_draft, permit), 0, 0, true,
		EFFECT(POLICY)},
	/*
	 * An extended community: a route target (`rt:64512:1`, `rt:192.0.2.1:1`), a site of
	 * origin (`soo:64512:1`), or any other as 16 hexadecimal digits after `0x`. A part of
	 * a route target or site of origin may be `*`, a range or `peer`, as in a community list.
	 */
	{"ext_community", config_take_text, offsetof(struct entry_draft, community), 1, 0, true,
		EFFECT(POLICY)},
	/*
	 * Number of the entry in lines of the shell, greater than the numbers before. Default:
	 * none.
	 */
	{"seq", config_take_u32, offsetof(struct entry_draft, seq), 1, UINT32_MAX, EFFECT(NONE)},
};

/* The three tables differ in the name of the second key only. */
static const struct config_key *const community_entry[COMMUNITIES_KINDS] = {
	[COMMUNITIES_STANDARD] = community_entry_keys,
	[COMMUNITIES_LARGE] = large_community_entry_keys,
	[COMMUNITIES_EXTENDED] = ext_community_entry_keys,
};

void
policy_out_of_memory(struct check *c, const struct at *at)
{
	config_fault(c, at, "out of memory");
}

/* The octets of an entry, whose length its first octets tell, or a NUL at the end. */
static void
add_meaning(struct list_draft *d, const void *octets, size_t len)
{
	if (d->len + len > d->size) {
		size_t size = 2 * (d->len + len);
		char *grown = realloc(d->meaning, size);

		d->no_memory |= grown == NULL;
		if (grown == NULL)
			return;
		d->meaning = grown;
		d->size = size;
	}
	memcpy(d->meaning + d->len, octets, len);
	d->len += len;
}

static void
add_meaning_text(struct list_draft *d, bool permit, const char *text)
{
	add_meaning(d, permit ? "permit " : "deny ", permit ? 7 : 5);
	add_meaning(d, text, strlen(text) + 1);
}

static void
entry_seq(struct check *c, const struct at *at, struct list_draft *d, uint32_t seq)
{
	struct at seq_at = AT_KEY(at, "seq");

	if (seq == 0)
		return;
	if (seq <= d->seq)
		config_fault(c, &seq_at, "%u is not greater than the seq %u of an entry before",
			seq, d->seq);
	d->seq = seq;
}

/* Without `ge` and `le`: the exact length. `ge` alone: up to the longest length of the family. `le` alone: from the length of the prefix. */
static bool
entry_range(struct check *c, const struct at *at, const json_t *value, const struct prefix *p,
	uint32_t *ge, uint32_t *le)
{
	const json_t *ge_value = json_object_get(value, "ge"),
		     *le_value = json_object_get(value, "le");
	struct at ge_at = AT_KEY(at, "ge"), le_at = AT_KEY(at, "le");
	unsigned longest = prefix_max_len(p->afi);

	*ge = p->len;
	*le = ge_value ? longest : p->len;
	if (ge_value && !config_value_u32(c, &ge_at, ge_value, p->len, longest, ge))
		return false;
	if (le_value && !config_value_u32(c, &le_at, le_value, p->len, longest, le))
		return false;
	if (*ge <= *le)
		return true;
	config_fault(c, &le_at, "ge %u is greater than le %u", *ge, *le);
	return false;
}

static size_t
prefix_octets(uint8_t afi)
{
	return afi == AFI_IPV4 ? 4 : 16;
}

/* Entries after an insertion or a few removals are found; the rest of the list is read again otherwise. */
#define PASSED_MAX 8u

/* The meaning of an entry that the earlier list shares, by address; NULL: none. */
static const uint8_t *
known_entry(struct list_draft *d, const json_t *entry)
{
	const uint8_t *known = d->old_meaning;

	for (size_t i = d->old_at; i < d->old_at + PASSED_MAX && i < json_array_size(d->old); i++) {
		size_t len = 5 + prefix_octets(known[1]);

		if (json_array_get(d->old, i) == entry) {
			d->old_at = i + 1;
			d->old_meaning = known + len;
			return known;
		}
		known += len;
	}
	return NULL;
}

static void
take_prefix_entry(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct list_draft *d = out;
	struct entry_draft e = {0};
	const uint8_t *known = known_entry(d, value);
	uint32_t ge, le;

	if (known != NULL) {
		e.permit = known[0];
		e.prefix.afi = known[1];
		e.prefix.len = known[2];
		ge = known[3];
		le = known[4];
		memcpy(e.prefix.b, known + 5, prefix_octets(e.prefix.afi));
		e.seq = (uint32_t)json_integer_value(json_object_get(value, "seq"));
	} else if (!CONFIG_TAKE(c, at, value, prefix_entry_keys, &e)) {
		return;
	}
	entry_seq(c, at, d, e.seq);
	if (known == NULL && (!e.has_prefix || !entry_range(c, at, value, &e.prefix, &ge, &le)))
		return;
	if (d->list.any && policy_prefix_list_add(
				   d->list.prefix, e.permit, &e.prefix, (uint8_t)ge, (uint8_t)le))
		policy_out_of_memory(c, at);
	add_meaning(d,
		(const uint8_t[]){e.permit, e.prefix.afi, e.prefix.len, (uint8_t)ge, (uint8_t)le},
		5);
	add_meaning(d, e.prefix.b, prefix_octets(e.prefix.afi));
}

static void
take_as_path_entry(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct list_draft *d = out;
	struct entry_draft e = {0};
	struct at regex_at = AT_KEY(at, "regex");
	char error[160], quoted[CONFIG_QUOTE_MAX];

	if (!CONFIG_TAKE(c, at, value, as_path_entry_keys, &e))
		return;
	entry_seq(c, at, d, e.seq);
	if (!e.regex)
		return;
	int err = d->list.any ? policy_as_path_list_add(
					d->list.as_path, e.permit, e.regex, error, sizeof(error))
			      : 0;
	if (err == -EINVAL)
		config_fault(c, &regex_at, "%s is not a regular expression: %s",
			config_quote(json_object_get(value, "regex"), quoted), error);
	else if (err)
		policy_out_of_memory(c, at);
	add_meaning_text(d, e.permit, e.regex);
}

static uint32_t
load_u32(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void
take_community_entry(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct list_draft *d = out;
	struct entry_draft e = {0};
	const struct config_key *keys = community_entry[d->communities];
	struct at community_at = AT_KEY(at, keys[1].name);
	uint8_t bytes[POLICY_COMMUNITY_MAX];
	struct community_pattern pattern;
	char octets[32];
	bool is_pattern;

	if (!config_take_keys(c, at, value, keys, COUNT(community_entry_keys), &e))
		return;
	entry_seq(c, at, d, e.seq);
	if (!e.community)
		return;
	const json_t *text = json_object_get(value, keys[1].name);
	if (!policy_value_community(
		    c, &community_at, text, d->communities, bytes, &pattern, &is_pattern))
		return;
	if (is_pattern) {
		if (d->list.any &&
			policy_community_list_add_pattern(d->list.community, e.permit, &pattern))
			policy_out_of_memory(c, at);
		add_meaning_text(d, e.permit, e.community);
		return;
	}
	if (d->list.any && policy_community_list_add_value(d->list.community, e.permit, bytes))
		policy_out_of_memory(c, at);
	snprintf(octets, sizeof(octets), "%08x%08x%08x", load_u32(bytes), load_u32(bytes + 4),
		load_u32(bytes + 8));
	add_meaning_text(d, e.permit, octets);
}

bool
policy_asn_range_take(
	struct check *c, const struct at *at, const json_t *value, uint32_t *low, uint32_t *high)
{
	const char *text = json_string_value(value);

	if (json_is_string(value) && policy_range_parse(text, low, high))
		return true;
	if (!json_is_integer(value)) {
		config_fault_type(c, at, value, "an AS number, or a range as 64512-64520");
		return false;
	}
	if (!config_value_u32(c, at, value, 0, UINT32_MAX, low))
		return false;
	*high = *low;
	return true;
}

static void
take_asn_entry(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct list_draft *d = out;
	uint32_t low, high;

	if (!policy_asn_range_take(c, at, value, &low, &high))
		return;
	if (d->list.any && policy_as_set_add(d->list.as_set, low, high))
		policy_out_of_memory(c, at);
	add_meaning(d, (const uint32_t[]){low, high}, 2 * sizeof(low));
}

static void
take_asns(CONFIG_TAKE_ARGS)
{
	(void)key;
	config_take_each(c, at, value, take_asn_entry, out);
}

static void
take_prefix_entries(CONFIG_TAKE_ARGS)
{
	(void)key;
	config_take_each(c, at, value, take_prefix_entry, out);
}

static void
take_as_path_entries(CONFIG_TAKE_ARGS)
{
	(void)key;
	config_take_each(c, at, value, take_as_path_entry, out);
}

static void
take_community_entries(CONFIG_TAKE_ARGS)
{
	(void)key;
	config_take_each(c, at, value, take_community_entry, out);
}

/* Checks the name; compile_list() reads the name from the document. */
static void
take_list_name(CONFIG_TAKE_ARGS)
{
	const char *ignored, *name = json_string_value(value);

	(void)out;
	/* the lists of policy files have names that documents cannot use */
	if (name != NULL && *name == '#' && ((const struct compile *)c)->of_text)
		return;
	config_take_name(c, at, value, key, &ignored);
}

/* A list of prefixes. */
static const struct config_key prefix_list_keys[] = {
	/* Name by which policies refer to the list. */
	{"name", take_list_name, 0, 0, 0, true, EFFECT(POLICY)},
	/*
	 * Entries of the list. The first entry that matches decides; without a matching entry
	 * the list does not match.
	 */
	{"entries", take_prefix_entries, 0, 0, 0, true},
};

/* A list of regular expressions for AS paths. */
static const struct config_key as_path_list_keys[] = {
	/* Name by which policies refer to the list. */
	{"name", take_list_name, 0, 0, 0, true, EFFECT(POLICY)},
	/*
	 * Entries of the list. The first entry that matches decides; without a matching entry
	 * the list does not match.
	 */
	{"entries", take_as_path_entries, 0, 0, 0, true},
};

/* A list of communities, large communities or extended communities. */
static const struct config_key community_list_keys[] = {
	/* Name by which policies refer to the list. */
	{"name", take_list_name, 0, 0, 0, true, EFFECT(POLICY)},
	/*
	 * Entries of the list. A route matches an entry when the route has that community. The
	 * first entry that matches decides; without a matching entry the list does not match.
	 */
	{"entries", take_community_entries, 0, 0, 0, true},
};

/* A set of AS numbers. */
static const struct config_key as_set_keys[] = {
	/* Name by which policies refer to the set. */
	{"name", take_list_name, 0, 0, 0, true, EFFECT(POLICY)},
	/* AS numbers, and ranges as `"64512-64520"`. */
	{"asns", take_asns, 0, 0, 0, true, EFFECT(POLICY)},
};

static const struct config_key *const list_keys[LIST_KINDS] = {
	[LIST_PREFIX] = prefix_list_keys,
	[LIST_AS_PATH] = as_path_list_keys,
	[LIST_COMMUNITY] = community_list_keys,
	[LIST_LARGE_COMMUNITY] = community_list_keys,
	[LIST_EXT_COMMUNITY] = community_list_keys,
	[LIST_AS_SET] = as_set_keys,
};

static enum policy_communities
communities_of(enum list_kind kind)
{
	return kind == LIST_LARGE_COMMUNITY ? COMMUNITIES_LARGE
	       : kind == LIST_EXT_COMMUNITY ? COMMUNITIES_EXTENDED
					    : COMMUNITIES_STANDARD;
}

static int
list_create(enum list_kind kind, union list *out)
{
	if (kind == LIST_PREFIX)
		return policy_prefix_list_create(&out->prefix);
	if (kind == LIST_AS_PATH)
		return policy_as_path_list_create(&out->as_path);
	if (kind == LIST_AS_SET)
		return policy_as_set_create(&out->as_set);
	return policy_community_list_create_kind(communities_of(kind), &out->community);
}

static int
list_seal(enum list_kind kind, union list list)
{
	if (kind == LIST_PREFIX)
		return policy_prefix_list_seal(list.prefix);
	if (kind == LIST_AS_SET)
		return policy_as_set_seal(list.as_set);
	return kind == LIST_AS_PATH ? policy_as_path_list_seal(list.as_path)
				    : policy_community_list_seal(list.community);
}

static void
list_unref(enum list_kind kind, union list list)
{
	if (kind == LIST_PREFIX)
		policy_prefix_list_unref(list.prefix);
	else if (kind == LIST_AS_PATH)
		policy_as_path_list_unref(list.as_path);
	else if (kind == LIST_AS_SET)
		policy_as_set_unref(list.as_set);
	else
		policy_community_list_unref(list.community);
}

static union list
list_ref(enum list_kind kind, union list list)
{
	if (kind == LIST_PREFIX)
		policy_prefix_list_ref(list.prefix);
	else if (kind == LIST_AS_PATH)
		policy_as_path_list_ref(list.as_path);
	else if (kind == LIST_AS_SET)
		policy_as_set_ref(list.as_set);
	else
		policy_community_list_ref(list.community);
	return list;
}

/* Adds a list at its place. `meaning` is taken over. */
static void
add_list(struct compile *k, enum list_kind kind, const struct at *at, const json_t *source,
	const char *name, union list list, json_t *meaning)
{
	struct lists *lists = &k->lists[kind];
	size_t place = json_array_size(lists->meaning);

	if (json_array_append_new(lists->meaning, meaning) != 0) {
		list_unref(kind, list);
		policy_out_of_memory(&k->c, at);
		return;
	}
	lists->list[place] = list;
	if (json_array_append_new(lists->source,
		    source != NULL ? json_incref((json_t *)(uintptr_t)source) : json_null()) != 0 ||
		(name != NULL && json_object_set_new(
					 lists->index, name, json_integer((json_int_t)place)) != 0))
		policy_out_of_memory(&k->c, at);
}

/*
 * Adds an equal list of the earlier set; false: no equal list. Quick, as documents share equal values. A
 * prefix list with changed entries is noted in the draft.
 */
static bool
take_like(struct compile *k, enum list_kind kind, const struct at *at, const json_t *value,
	const char *name, struct list_draft *d)
{
	const struct lists *like = k->like != NULL ? &k->like[kind] : NULL;
	const json_t *index =
		name != NULL && like != NULL ? json_object_get(like->index, name) : NULL;
	size_t i = (size_t)json_integer_value(index);

	if (index == NULL)
		return false;
	if (!json_equal(value, json_array_get(like->source, i))) {
		d->old = kind == LIST_PREFIX
				 ? json_object_get(json_array_get(like->source, i), "entries")
				 : NULL;
		d->old_meaning =
			(const uint8_t *)json_string_value(json_array_get(like->meaning, i));
		return false;
	}
	add_list(k, kind, at, value, name, list_ref(kind, like->list[i]),
		json_incref(json_array_get(like->meaning, i)));
	return true;
}

static void
compile_list(struct compile *k, enum list_kind kind, const struct at *at, const json_t *value)
{
	struct list_draft d = {.communities = communities_of(kind)};
	const char *name = json_string_value(json_object_get(value, "name"));

	if (take_like(k, kind, at, value, name, &d))
		return;
	k->compiled++;
	if (list_create(kind, &d.list))
		policy_out_of_memory(&k->c, at);
	config_take_keys(&k->c, at, value, list_keys[kind], COUNT(prefix_list_keys), &d);
	if (d.list.any && list_seal(kind, d.list))
		policy_out_of_memory(&k->c, at);
	if (d.list.any && kind == LIST_AS_PATH && name &&
		policy_as_path_list_name(d.list.as_path, name))
		policy_out_of_memory(&k->c, at);
	if (d.no_memory)
		policy_out_of_memory(&k->c, at);
	add_list(k, kind, at, value, name, d.list,
		json_stringn_nocheck(d.meaning != NULL ? d.meaning : "", d.len));
	free(d.meaning);
}

/* Prefix lists of policy files are made already. */
static void
text_prefix_lists(struct compile *k, const struct at *at)
{
	unsigned count = 0;
	const struct policy_text_prefixes *p = policy_text_prefixes(k->text, &count);

	for (unsigned i = 0; i < count; i++)
		add_list(k, LIST_PREFIX, at, NULL, p[i].name,
			(union list){.prefix = policy_prefix_list_ref(p[i].list)},
			json_sprintf("%016llx", (unsigned long long)p[i].hash));
}

static void
text_lists(struct compile *k, enum list_kind kind, const struct at *at)
{
	const json_t *section = json_object_get(policy_text_document(k->text), list_section[kind]);
	json_t *value;
	size_t i;

	if (kind == LIST_PREFIX)
		text_prefix_lists(k, at);
	k->of_text = true;
	json_array_foreach(section, i, value) compile_list(k, kind, at, value);
	k->of_text = false;
}

void
policy_compile_lists(struct compile *k, enum list_kind kind)
{
	unsigned prefixes = 0;
	size_t more = 0;
	const struct at root = AT_ROOT, at = AT_KEY(&root, list_section[kind]);
	const json_t *section = json_object_get(k->c.document, list_section[kind]);
	size_t i;
	json_t *value;

	k->lists[kind].index = json_object();
	k->lists[kind].meaning = json_array();
	k->lists[kind].source = json_array();
	if (k->text != NULL) {
		(void)policy_text_prefixes(k->text, &prefixes);
		more = kind == LIST_PREFIX
			       ? prefixes
			       : json_array_size(json_object_get(
					 policy_text_document(k->text), list_section[kind]));
	}
	k->lists[kind].list = calloc(json_array_size(section) + more + 1, sizeof(union list));
	if (!k->lists[kind].list) {
		policy_out_of_memory(&k->c, &at);
		return;
	}
	if (section && !json_is_array(section))
		config_fault_type(&k->c, &at, section, "an array");
	json_array_foreach(section, i, value)
	{
		struct at here = AT_INDEX(&at, i);
		compile_list(k, kind, &here, value);
	}
	config_check_unique(&k->c, &at, section, "name");
	if (k->text != NULL)
		text_lists(k, kind, &at);
}

void
policy_release_lists(struct lists lists[static LIST_KINDS])
{
	for (unsigned kind = 0; kind < LIST_KINDS; kind++) {
		for (size_t i = 0; lists[kind].list && i < json_array_size(lists[kind].meaning);
			i++)
			list_unref(kind, lists[kind].list[i]);
		free(lists[kind].list);
		json_decref(lists[kind].source);
		json_decref(lists[kind].index);
		json_decref(lists[kind].meaning);
	}
}

/* The entries of a list by its name; NULL: there is none. */
static const json_t *
entries_of(const json_t *document, const char *name)
{
	size_t i;
	json_t *list;

	json_array_foreach(json_object_get(document, "prefix_lists"), i, list)
	{
		const char *other = json_string_value(json_object_get(list, "name"));

		if (other != NULL && strcmp(name, other) == 0)
			return json_object_get(list, "entries");
	}
	return NULL;
}

int
policy_covering_list(const json_t *document, const char *name, uint8_t afi, uint8_t min_length,
	struct policy_prefix_list **out, json_t *meaning)
{
	struct policy_prefix_list *l;
	struct prefix p;
	size_t i;
	json_t *entry;
	int err = policy_prefix_list_create(&l);

	if (err)
		return err;
	json_array_foreach(entries_of(document, name), i, entry)
	{
		const char *text = json_string_value(json_object_get(entry, "prefix"));
		const char *action = json_string_value(json_object_get(entry, "action"));
		bool permit = action != NULL && strcmp(action, "permit") == 0;

		if (text == NULL || prefix_parse(text, &p) != 0 || p.afi != afi)
			continue;
		json_array_append_new(meaning, json_sprintf("%s %s", action_words[!permit], text));
		if (!err)
			err = policy_prefix_list_add(l, permit, &p,
				p.len > min_length ? p.len : min_length,
				(uint8_t)prefix_max_len(afi));
	}
	if (!err)
		err = policy_prefix_list_seal(l);
	if (err)
		policy_prefix_list_unref(l);
	else
		*out = l;
	return err;
}
