/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The compiled form of policies, written by policy_builder.c and run by policy.c, and functions of
 * lists that both need. The conditions of a node are sorted by kind. Prefix lists and origin
 * validation come first, because only these are evaluated for each prefix.
 */
#pragma once

#include "rib/policy/policy_build.h"

const char *policy_as_path_list_named(const struct policy_as_path_list *l);

/*
 * The AS path of an attribute set: the first list reads it, further lists share the result. For a
 * single thread.
 */
struct policy_path;
int policy_path_create(struct arena *a, struct policy_path **out);
void policy_path_destroy(struct policy_path *p);
/* `attrs` are lent until the next begin. */
void policy_path_begin(struct policy_path *p, const struct attr_set *attrs);
/*
 * 1: the first matching entry permits; 0: the first matching entry denies, or no entry matches;
 * -ENOMEM; -EIO: PCRE2 failed on an expression.
 */
int policy_path_match(struct policy_path *p, const struct policy_as_path_list *l);

/* Size of one community of each kind, in bytes. */
static const unsigned policy_community_size[COMMUNITIES_KINDS] = {4, 12, 8};
enum policy_communities policy_community_list_kind(const struct policy_community_list *l);

bool policy_community_list_uses_peer(const struct policy_community_list *l);
/* True for a sealed list with a single entry, a permitted standard community. */
bool policy_community_list_is_one(const struct policy_community_list *l, uint32_t *community);
bool policy_community_list_match(
	const struct policy_community_list *l, const struct attr_set *a, uint32_t peer_asn);
bool policy_pattern_match(const struct community_pattern *p, enum policy_communities kind,
	const uint8_t *value, uint32_t peer_asn);
/* Values of one kind, and their number. */
unsigned policy_communities_of(
	const struct attr_set *a, enum policy_communities kind, const uint8_t **values);
/* True if the set has an AS number of the path, also of its sets. */
bool policy_as_set_has_any(const struct policy_as_set *s, const struct attr_set *a);

/*
 * Makes room for one more element of size `element` in `v`. Returns the array, moved or not, or
 * NULL (out of memory, nothing changed).
 */
void *policy_vector_reserve(void *v, unsigned count, unsigned *size, size_t element);

/*
 * Sort order: prefix lists are evaluated for each prefix, the rest once, the most expensive last.
 */
enum condition_kind {
	MATCH_PREFIX_LIST,
	MATCH_VALIDATION,
	MATCH_FAMILY,
	MATCH_SOURCE,
	MATCH_PEER,
	MATCH_PEER_AS,
	MATCH_PEER_GROUP,
	MATCH_ORIGIN,
	MATCH_MED,
	MATCH_LOCAL_PREF,
	MATCH_AS_PATH_LENGTH,
	MATCH_TAG,
	MATCH_COMMUNITY_COUNT, /* + enum policy_communities */
	MATCH_LARGE_COMMUNITY_COUNT,
	MATCH_EXT_COMMUNITY_COUNT,
	MATCH_ORIGIN_AS,
	MATCH_FIRST_AS,
	MATCH_ANY_AS,
	MATCH_NEXT_HOP_LIST,
	MATCH_COMMUNITY_LIST, /* + enum policy_communities */
	MATCH_LARGE_COMMUNITY_LIST,
	MATCH_EXT_COMMUNITY_LIST,
	MATCH_AS_PATH_LIST,
};

/*
 * Of conditions of one kind and group one must hold; every group must hold. A negated condition is
 * a group of its own.
 */
struct condition {
	enum condition_kind kind;
	uint16_t group;
	bool negate;
	bool peer_asn; /* `list` is unused: the AS number of the peer instead of a set */
	union {
		struct {
			unsigned list; /* index in the policy's array of this kind */
			/* the list permits only this standard community, by a single entry */
			bool one;
			uint32_t community;
		};
		uint32_t word; /* enum family, route_source, origin, validation */
		struct {
			uint32_t low, high;
		} range;
		struct ip_addr peer;
		uint64_t group_key; /* of peers */
	};
};

struct patterns {
	struct community_pattern *v;
	unsigned count;
};

struct values {
	uint8_t *v; /* network order */
	unsigned count;
	bool given;
};

enum set_bit {
	SET_LOCAL_PREF = 1,
	SET_MED = 2,
	SET_TAG = 4,
	SET_ORIGIN = 8,
	SET_NEXT_HOP = 16,
	SET_COMMUNITIES = 32
};

struct set {
	unsigned what; /* enum set_bit */
	uint32_t local_pref, med, tag;
	enum origin origin;
	/* relative: to the number of the route; the change applies also to a number that is set */
	bool local_pref_relative, med_relative;
	int64_t local_pref_change, med_change;
	enum policy_next_hop next_hop_kind;
	struct ip_addr next_hop;
	bool prepend_first; /* the first AS of the path instead of prepend_asn */
	uint32_t prepend_asn;
	unsigned prepend_count;
	struct values communities[COMMUNITIES_KINDS][EDIT_COUNT];
	struct patterns removed[COMMUNITIES_KINDS]; /* beside the values of EDIT_REMOVE */
};

struct node {
	uint32_t seq, goto_seq;
	uint32_t report; /* `seq` of verdicts; seq when not set otherwise */
	uint32_t place; /* policy_verdict.node */
	unsigned goto_index; /* 0: the walk ends here */
	bool permit;
	bool jump; /* a goto that decides nothing: verdicts come from other nodes */
	unsigned groups; /* number of groups of conditions besides group 0 */
	unsigned set; /* index in policy.sets; 0: no change */
	unsigned bit; /* for a node with `set` and goto: its bit in the key of an outcome */
	unsigned prefix_lists; /* number of leading conditions on prefix lists */
	unsigned by_prefix; /* number of leading conditions that depend on the prefix */
	unsigned count, size;
	struct condition *conditions;
};

/*
 * Key of an outcome, for policies with more outcomes than numbers: POLICY_KEY, the bits of the
 * visited nodes with goto and set, and the set of the last node.
 */
#define POLICY_KEY (UINT64_C(1) << 63)
#define POLICY_KEY_BITS 48u
#define POLICY_KEY_SETS 0x7fffu /* all bits would be POLICY_OUTCOME_ALONE */

/* An outcome: `set` applied to outcome `before`. For a policy without goto, step n is (0, n). */
struct policy_step {
	unsigned before, set;
};

struct policy {
	const char *name;
	unsigned node_count, node_size;
	struct node *nodes;
	unsigned set_count, set_size;
	struct set *sets; /* [0] is empty */
	unsigned prefix_list_count, prefix_list_size;
	struct policy_prefix_list **prefix_lists;
	unsigned as_path_list_count, as_path_list_size;
	struct policy_as_path_list **as_path_lists;
	unsigned community_list_count, community_list_size;
	struct policy_community_list **community_lists;
	unsigned last; /* index of the node POLICY_NODE_LAST; 0: none */
	unsigned as_set_count, as_set_size;
	struct policy_as_set **as_sets;
	bool has_goto;
	bool validates; /* a node has MATCH_VALIDATION */
	bool many; /* more than POLICY_OUTCOMES_MAX results; steps[] is empty */
	bool keyed; /* each result has a key */
	bool few_prefixes; /* every permitting node matches the prefix, and such nodes are few */
	unsigned step_count; /* number of outcomes; steps[0] changes nothing */
	struct policy_step steps[POLICY_OUTCOMES_MAX];
};
