/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building of policies, for control/policy_compile. A single thread (main) builds and destroys:
 * policies share lists, with plain reference counts. Any thread may run a finished policy
 * (rib/policy/policy.h).
 */
#pragma once

#include "rib/policy/policy.h"

struct policy_builder;
struct policy_prefix_list;
struct policy_as_path_list;
struct policy_community_list;
struct policy_as_set;

/* Kinds of communities: RFC 1997 (4 bytes), RFC 8092 (12), RFC 4360 (8). */
enum policy_communities {
	COMMUNITIES_STANDARD,
	COMMUNITIES_LARGE,
	COMMUNITIES_EXTENDED,
	COMMUNITIES_KINDS
};

/* ---- lists: create, add in order, seal; the first matching entry decides ---- */

/* Returns 0 or -ENOMEM. The creator holds a reference. */
int policy_prefix_list_create(struct policy_prefix_list **out);
/* Requires p->len <= ge <= le <= the family's maximum. Returns 0, -ENOMEM or -EINVAL. */
int policy_prefix_list_add(
	struct policy_prefix_list *l, bool permit, const struct prefix *p, uint8_t ge, uint8_t le);
/* Call after the last entry, before use. Returns 0 or -ENOMEM. */
int policy_prefix_list_seal(struct policy_prefix_list *l);
struct policy_prefix_list *policy_prefix_list_ref(struct policy_prefix_list *l);
void policy_prefix_list_unref(struct policy_prefix_list *l);
/* Any thread. */
bool policy_prefix_list_match(const struct policy_prefix_list *l, const struct prefix *p);

int policy_as_path_list_create(struct policy_as_path_list **out);
/*
 * `regex` is a POSIX extended expression; `_` matches start, end, space, comma, brace, parenthesis
 * or bracket. Returns 0; -ENOMEM; -EINVAL with text in `error` if the expression is invalid.
 */
int policy_as_path_list_add(struct policy_as_path_list *l, bool permit, const char *regex,
	char *error, size_t error_size);
/* Call after the last entry, before use. Returns 0 or -ENOMEM. */
int policy_as_path_list_seal(struct policy_as_path_list *l);
/* Sets the name for messages to the operator; copied. Returns 0 or -ENOMEM. */
int policy_as_path_list_name(struct policy_as_path_list *l, const char *name);
struct policy_as_path_list *policy_as_path_list_ref(struct policy_as_path_list *l);
void policy_as_path_list_unref(struct policy_as_path_list *l);

/* A list contains one kind. Returns 0 or -ENOMEM. */
int policy_community_list_create_kind(
	enum policy_communities kind, struct policy_community_list **out);
/* For any kind: `value` in network order, in the size of the kind. Returns 0 or -ENOMEM. */
int policy_community_list_add_value(
	struct policy_community_list *l, bool permit, const uint8_t *value);
/*
 * Parts of a community: of a standard one 2, of a large one 3, of an extended one its subtype,
 * AS number and number. An unused part is {0, 0}. With `peer`, the part is the AS number of the
 * peer instead of a range.
 */
#define COMMUNITY_PARTS 3u
struct community_part {
	uint32_t low, high;
	uint32_t peer; /* bool; without padding, because patterns are hashed */
};
struct community_pattern {
	struct community_part part[COMMUNITY_PARTS];
};
/* Returns 0 or -ENOMEM. */
int policy_community_list_add_pattern(
	struct policy_community_list *l, bool permit, const struct community_pattern *pattern);
/* Returns 0 or -ENOMEM. */
int policy_community_list_seal(struct policy_community_list *l);
struct policy_community_list *policy_community_list_ref(struct policy_community_list *l);
void policy_community_list_unref(struct policy_community_list *l);

/* Sets of AS numbers: create, add ranges, seal. Return 0 or -ENOMEM. */
int policy_as_set_create(struct policy_as_set **out);
int policy_as_set_add(struct policy_as_set *s, uint32_t low, uint32_t high);
int policy_as_set_seal(struct policy_as_set *s);
struct policy_as_set *policy_as_set_ref(struct policy_as_set *s);
void policy_as_set_unref(struct policy_as_set *s);
/* Any thread. */
bool policy_as_set_has(const struct policy_as_set *s, uint32_t asn);

/* ---- a policy ---- */

/* Returns 0 or -ENOMEM. The name is copied. */
int policy_builder_create(const char *name, struct policy_builder **out);
void policy_builder_destroy(struct policy_builder *b);

/*
 * Starts a new node, to which the calls below apply. `seq` is not 0 and greater than in the node
 * before. Returns 0, -ENOMEM or -EINVAL.
 */
int policy_builder_node(struct policy_builder *b, uint32_t seq, bool permit);
/* The walk continues at node `seq`, which must be a later node (checked by finish). */
void policy_builder_goto(struct policy_builder *b, uint32_t seq);

/* `seq` of verdicts of this node, instead of its own. */
void policy_builder_report(struct policy_builder *b, uint32_t seq);
/* This node decides nothing: it applies its changes and continues at its goto. */
void policy_builder_jump(struct policy_builder *b);

/*
 * Conditions: all kinds must hold, any condition of each kind. The policy takes references on
 * lists. All return 0 or -ENOMEM.
 *
 * policy_builder_group() starts a further group of conditions, all of whose kinds must hold, too.
 * Until policy_builder_negate(false), no condition that is added may hold.
 */
void policy_builder_group(struct policy_builder *b);
void policy_builder_negate(struct policy_builder *b, bool negate);
int policy_builder_match_prefix_list(struct policy_builder *b, struct policy_prefix_list *l);
/* matches the next hop as a host prefix */
int policy_builder_match_next_hop_list(struct policy_builder *b, struct policy_prefix_list *l);
int policy_builder_match_as_path_list(struct policy_builder *b, struct policy_as_path_list *l);
/* Lists of different kinds are conditions of different kinds. */
int policy_builder_match_community_list(struct policy_builder *b, struct policy_community_list *l);
int policy_builder_match_peer(struct policy_builder *b, const struct ip_addr *peer);
int policy_builder_match_origin(struct policy_builder *b, enum origin origin);
int policy_builder_match_family(struct policy_builder *b, enum family family);
int policy_builder_match_validation(struct policy_builder *b, enum validation state);
int policy_builder_match_source(struct policy_builder *b, enum route_source source);
/* An absent MED counts as 0, an absent local-pref as 100 (as in the decision). */
enum policy_number {
	NUMBER_MED,
	NUMBER_LOCAL_PREF,
	NUMBER_AS_PATH_LENGTH,
	NUMBER_TAG,
	NUMBER_COMMUNITIES,
	NUMBER_LARGE_COMMUNITIES,
	NUMBER_EXT_COMMUNITIES,
	NUMBERS
};
int policy_builder_match_number(
	struct policy_builder *b, enum policy_number which, uint32_t low, uint32_t high);

/* Which numbers a set of AS numbers is compared with. */
enum policy_as { AS_OF_PEER, AS_ORIGIN, AS_FIRST, AS_ANY };
int policy_builder_match_as_set(
	struct policy_builder *b, enum policy_as which, struct policy_as_set *s);
/* AS_ORIGIN or AS_FIRST is the AS number of the peer. */
int policy_builder_match_peer_asn(struct policy_builder *b, enum policy_as which);
/* policy_group_key() of the name. */
int policy_builder_match_peer_group(struct policy_builder *b, uint64_t group_key);

/* Changes. NUMBER_AS_PATH_LENGTH and later numbers except the tag cannot be set. */
void policy_builder_set_number(struct policy_builder *b, enum policy_number which, uint32_t value);
/* Adds `change` (at most 2^32 in size) to NUMBER_MED or NUMBER_LOCAL_PREF, after a set. */
void policy_builder_set_relative(
	struct policy_builder *b, enum policy_number which, int64_t change);
void policy_builder_set_origin(struct policy_builder *b, enum origin origin);
void policy_builder_set_next_hop(struct policy_builder *b, const struct ip_addr *next_hop);
/*
 * NEXT_HOP_PEER: the address of the peer, in import policies. NEXT_HOP_SELF: an address of this
 * router, in export policies.
 */
void policy_builder_set_next_hop_kind(struct policy_builder *b, enum policy_next_hop kind);
/* `count` times the first AS number of the path; nothing for a path without one. */
void policy_builder_set_prepend_first(struct policy_builder *b, unsigned count);
void policy_builder_set_prepend(struct policy_builder *b, uint32_t asn, unsigned count);
/*
 * Values in network order, 4 (12, 8) bytes each. Applied in the order replace (possibly by
 * nothing), remove, add. Remaining values keep the order of receipt; new values are appended.
 * Returns 0 or -ENOMEM.
 */
enum policy_edit { EDIT_REPLACE, EDIT_REMOVE, EDIT_ADD, EDIT_COUNT };
int policy_builder_set_communities(struct policy_builder *b, enum policy_communities kind,
	enum policy_edit edit, const uint8_t *values, unsigned count);

/* Communities to remove, beside the values of EDIT_REMOVE. Returns 0 or -ENOMEM. */
int policy_builder_remove_patterns(struct policy_builder *b, enum policy_communities kind,
	const struct community_pattern *patterns, unsigned count);

/*
 * Appends the nodes of `p`, which share lists with the copy. With `then`, each walk that permits
 * continues at node `then`. Returns 0 or -ENOMEM.
 */
int policy_builder_copy(struct policy_builder *b, const struct policy *p, uint32_t then);
/*
 * Appends the last node: permits, and leaves the verdict's seq to the node before. The node is the
 * target of `then` = POLICY_NODE_LAST. Returns 0 or -ENOMEM.
 */
int policy_builder_last(struct policy_builder *b);

/*
 * Creates the policy. On success (0) the builder is freed; otherwise the builder stays: -ENOMEM;
 * -ENOENT: a goto without a later target node.
 */
int policy_builder_finish(struct policy_builder *b, struct policy **out);
