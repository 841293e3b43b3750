/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building of policies, for control/policy_compile. One thread builds and destroys (main): lists are shared by the
 * policies that refer to them and counted plainly. Any thread runs what is finished (rib/policy.h).
 */
#pragma once

#include "rib/policy.h"

struct policy_builder;
struct policy_prefix_list;
struct policy_as_path_list;
struct policy_community_list;

/* Kinds of communities: RFC 1997 (4 bytes), RFC 8092 (12), RFC 4360 (8). */
enum policy_communities {
	COMMUNITIES_STANDARD,
	COMMUNITIES_LARGE,
	COMMUNITIES_EXTENDED,
	COMMUNITIES_KINDS
};

/* ---- lists: create, add in order, seal; the first matching entry decides ---- */

/* 0, -ENOMEM. The creator holds one reference. */
int policy_prefix_list_create(struct policy_prefix_list **out);
/* p->len <= ge <= le <= longest. 0, -ENOMEM, -EINVAL. */
int policy_prefix_list_add(
	struct policy_prefix_list *l, bool permit, const struct prefix *p, uint8_t ge, uint8_t le);
/* After the last entry, before use. 0, -ENOMEM. */
int policy_prefix_list_seal(struct policy_prefix_list *l);
void policy_prefix_list_unref(struct policy_prefix_list *l);
/* Any thread. */
bool policy_prefix_list_match(const struct policy_prefix_list *l, const struct prefix *p);

int policy_as_path_list_create(struct policy_as_path_list **out);
/*
 * `regex`: POSIX extended as operators know it; `_` is start, end, space, comma, brace, parenthesis or bracket. 0, -ENOMEM; -EINVAL with words
 * in `error` where it is no regular expression.
 */
int policy_as_path_list_add(struct policy_as_path_list *l, bool permit, const char *regex,
	char *error, size_t error_size);
/* After the last entry, before use. 0, -ENOMEM. */
int policy_as_path_list_seal(struct policy_as_path_list *l);
/* For messages to the operator; copied. 0, -ENOMEM. */
int policy_as_path_list_name(struct policy_as_path_list *l, const char *name);
/* The number of entries for PCRE2: all that are not about whole AS numbers. */
unsigned policy_as_path_list_expressions(const struct policy_as_path_list *l);
void policy_as_path_list_unref(struct policy_as_path_list *l);

/* Of one kind each; _create() makes one of standard communities. */
int policy_community_list_create(struct policy_community_list **out);
int policy_community_list_create_kind(
	enum policy_communities kind, struct policy_community_list **out);
/* Any kind: `value` in network order, as long as the kind has it. 0, -ENOMEM. */
int policy_community_list_add_value(
	struct policy_community_list *l, bool permit, const uint8_t *value);
/* Host order, of a standard list. */
int policy_community_list_add(struct policy_community_list *l, bool permit, uint32_t community);
/* 0, -ENOMEM. */
int policy_community_list_seal(struct policy_community_list *l);
void policy_community_list_unref(struct policy_community_list *l);

/* ---- a policy ---- */

/* 0, -ENOMEM. The name is copied. */
int policy_builder_create(const char *name, struct policy_builder **out);
void policy_builder_destroy(struct policy_builder *b);

/* A new node, which the calls below speak of; `seq` rises from node to node and is not 0. 0, -ENOMEM, -EINVAL. */
int policy_builder_node(struct policy_builder *b, uint32_t seq, bool permit);
/* The walk goes on at node `seq`, which is a later one (checked by finish). */
void policy_builder_goto(struct policy_builder *b, uint32_t seq);

/* Conditions: different kinds must all hold, of one kind any. Lists are referenced. All: 0, -ENOMEM. */
int policy_builder_match_prefix_list(struct policy_builder *b, struct policy_prefix_list *l);
int policy_builder_match_next_hop_list(
	struct policy_builder *b, struct policy_prefix_list *l); /* the next hop as a host prefix */
int policy_builder_match_as_path_list(struct policy_builder *b, struct policy_as_path_list *l);
/* Lists of different kinds are different kinds of conditions. */
int policy_builder_match_community_list(struct policy_builder *b, struct policy_community_list *l);
int policy_builder_match_peer(struct policy_builder *b, const struct ip_addr *peer);
int policy_builder_match_origin(struct policy_builder *b, enum origin origin);
int policy_builder_match_family(struct policy_builder *b, enum family family);
int policy_builder_match_source(struct policy_builder *b, enum route_source source);
/* An absent MED counts as 0, an absent local-pref as 100 (as in the decision). */
enum policy_number { NUMBER_MED, NUMBER_LOCAL_PREF, NUMBER_AS_PATH_LENGTH, NUMBER_TAG };
int policy_builder_match_number(
	struct policy_builder *b, enum policy_number which, uint32_t low, uint32_t high);

/* Changes; NUMBER_AS_PATH_LENGTH can't be set. */
void policy_builder_set_number(struct policy_builder *b, enum policy_number which, uint32_t value);
void policy_builder_set_origin(struct policy_builder *b, enum origin origin);
void policy_builder_set_next_hop(struct policy_builder *b, const struct ip_addr *next_hop);
void policy_builder_set_prepend(struct policy_builder *b, uint32_t asn, unsigned count);
/*
 * Values in network order, 4 (12, 8) bytes each. Done in this order: replace (by nothing, too), remove, add. What stays keeps the order
 * in which it was received, what is added and not there yet comes behind. 0, -ENOMEM.
 */
enum policy_edit { EDIT_REPLACE, EDIT_REMOVE, EDIT_ADD, EDIT_COUNT };
int policy_builder_set_communities(struct policy_builder *b, enum policy_communities kind,
	enum policy_edit edit, const uint8_t *values, unsigned count);

/*
 * The policy. 0, and the builder is gone; else it stays: -ENOMEM; -ENOENT: a goto to a node that is not there or not later.
 */
int policy_builder_finish(struct policy_builder *b, struct policy **out);
