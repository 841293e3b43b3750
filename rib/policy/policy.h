/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compiled route policies. control/policy_compile builds them (rib/policy/policy_build.h); this header
 * runs them.
 *
 * A policy is immutable after policy_builder_finish(), and any thread may run it. Its owner frees
 * the policy when no thread uses it any more. Conditions on attributes (regular expressions,
 * communities) are evaluated once per attribute set, by policy_eval_begin(); policy_eval_prefix()
 * evaluates only conditions on the prefix. Caches of verdicts use the key (policy generation,
 * attribute set serial).
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"
#include "rib/table/attr.h"
#include "rib/table/vrp.h"

#include <string.h>

struct arena;
struct policy;
struct policy_eval;

/* Source of a route, as in `match.source`. */
enum route_source {
	SOURCE_CONNECTED,
	SOURCE_STATIC,
	SOURCE_EXTERNAL,
	SOURCE_KERNEL,
	SOURCE_INTERNAL,
	SOURCE_NETWORK,
	SOURCE_COUNT
};

/*
 * Values for matches besides attributes and prefix; constant for a peer and family, except for
 * `vrps`, which results of a begin do not depend on.
 */
struct policy_context {
	struct ip_addr peer;
	enum family family;
	enum route_source source;
	uint32_t tag;
	/* for `match.validation`; NULL: every route is not-found. Lent until the next begin. */
	const struct vrps *vrps;
	uint32_t peer_asn; /* 0: no peer */
	uint64_t peer_group; /* policy_group_key() of the name; 0: no group */
	uint32_t own_asn; /* origin AS of a route with an empty path (RFC 6811 2) */
};

/* A name as a number that fits into a context. Not 0, but for NULL. */
static inline uint64_t
policy_group_key(const char *name)
{
	return name != NULL ? hash_bytes(name, strlen(name)) | 1 : 0;
}

struct policy_verdict {
	bool permit;
	uint32_t seq; /* of the deciding node; 0: no node matched (deny) */
	/* its place among the nodes of the policy; UINT32_MAX: it follows from keys of a peer */
	uint32_t node;
	/*
	 * The attributes after `set`, or the eval's input if no node has set anything. Valid until
	 * the next policy_eval_begin(); for outcomes from POLICY_OUTCOMES_MAX on, until the next
	 * policy_eval_prefix().
	 */
	const struct attr_set *attrs;
	uint32_t tag; /* of the context, or as set */
	/* enum policy_set_attr: attributes set by the policy, even without change */
	unsigned sets;
	/*
	 * Key for the caller's cache: equal outcomes of one policy, attribute set, context tag and
	 * peer address have equal attrs, in any eval, at any time. 0: unchanged. A policy with at most
	 * POLICY_OUTCOMES_MAX different results has outcomes below this number.
	 * POLICY_OUTCOME_ALONE must not be cached.
	 */
	uint64_t outcome;
};

/* Nodes that follow from keys of a peer, before and after the nodes of the policy. */
#define POLICY_NODE_BLACKHOLE (UINT32_MAX - 1) /* RFC 7999 */
#define POLICY_NODE_LAST UINT32_MAX /* not in verdicts */

#define POLICY_OUTCOMES_MAX 64
#define POLICY_OUTCOME_ALONE UINT64_MAX
enum policy_set_attr {
	POLICY_SETS_MED = 1,
	POLICY_SETS_NEXT_HOP = 2,
	POLICY_SETS_OTHER = 4 /* any attribute but MED, NEXT_HOP and LOCAL_PREF */
};

/*
 * Position of an outcome in a cache of POLICY_OUTCOMES_MAX entries. Outcomes below this number
 * have positions of their own.
 */
static inline unsigned
policy_outcome_place(uint64_t outcome)
{
	return (unsigned)(outcome < POLICY_OUTCOMES_MAX ? outcome
							: hash_mix(outcome) % POLICY_OUTCOMES_MAX);
}

/* The predefined policies accept-all and deny-all; static, never freed. */
const struct policy *policy_accept_all(void);
const struct policy *policy_deny_all(void);
void policy_destroy(struct policy *p);
const char *policy_name(const struct policy *p);
/* True if no node changes an attribute or the tag. Any thread. */
bool policy_sets_nothing(const struct policy *p);
/*
 * True if a node matches on the peer (address, AS number or group), so peers may get different verdicts for one route. Any
 * thread.
 */
bool policy_uses_peer(const struct policy *p);
/* True if a node matches on the group of the peer. Any thread. */
bool policy_uses_group(const struct policy *p);
/*
 * True if a node matches on the AS path by a regular expression or on a list of communities, which
 * may take milliseconds. Any thread.
 */
bool policy_may_take_long(const struct policy *p);
/*
 * False: the policy denies `prefix` for all attributes, because no permitting node matches it;
 * found by a search in few lists. Any thread.
 */
bool policy_may_permit(const struct policy *p, const struct prefix *prefix);
/*
 * True if a node matches on origin validation (RFC 6811): a change of the VRPs changes verdicts.
 * Such a policy has no digest. Any thread.
 */
bool policy_validates(const struct policy *p);
enum policy_next_hop { NEXT_HOP_ADDRESS, NEXT_HOP_PEER, NEXT_HOP_SELF };
/*
 * True if the policy sets the next hop to the peer's address (valid in imports) or to an address of
 * this router (valid in exports). Any thread.
 */

bool policy_sets_next_hop(const struct policy *p, enum policy_next_hop kind);
/* False: all prefixes of a set get the same verdict. Any thread. */
bool policy_asks_prefix(const struct policy *p);
/* False: policy_may_permit() is true for all prefixes. Any thread. */
bool policy_asks_few(const struct policy *p);

/*
 * Result of policy_eval_begin() for a set (under one policy and context), small enough to be kept
 * for each set: decides a prefix without reading the set again.
 */
struct policy_digest {
	uint64_t could; /* bit by node: its conditions other than the prefix hold */
};
struct policy_decision {
	bool permit;
	uint32_t seq; /* as in struct policy_verdict */
	uint64_t outcome;
};
/* False: the policy has too many nodes, or outcomes without a key. Any thread. */
bool policy_has_digest(const struct policy *p);
/*
 * policy_eval_prefix() without the attributes. Any thread. Results that policy_eval_outcome()
 * cannot build (-E2BIG) are denied. With `prefix` NULL, returns false if the decision depends on
 * the prefix.
 */
bool policy_digest_decide(const struct policy *p, struct policy_digest d,
	const struct prefix *prefix, struct policy_decision *out);

/* Scratch memory for one thread, to be reused. Returns 0 or -ENOMEM. */
int policy_eval_create(struct arena *a, struct policy_eval **out);
void policy_eval_destroy(struct policy_eval *e);
/* Number of errors of PCRE2 in this eval. The eval's thread. */
uint64_t policy_eval_match_errors(const struct policy_eval *e);
/* policy_match_errors() does not count the errors of this eval: the policy is not configured. */
void policy_eval_errors_alone(struct policy_eval *e);
/*
 * Evaluates all attribute conditions of `p` for `attrs`; both must stay valid until the next
 * begin. Returns 0 or -ENOMEM. If PCRE2 fails on a regular expression (match limit),
 * policy_eval_prefix() denies every prefix, whatever the action of the node, and
 * policy_match_errors() counts the error.
 */
int policy_eval_begin(struct policy_eval *e, const struct policy *p, const struct attr_set *attrs,
	const struct policy_context *context);
/* Decides one prefix. Returns 0 or -ENOMEM. */
int policy_eval_prefix(
	struct policy_eval *e, const struct prefix *prefix, struct policy_verdict *out);
/* Digest of the last begin. Requires policy_has_digest(). */
struct policy_digest policy_eval_digest(const struct policy_eval *e);
/*
 * Applies an outcome of `p` (not POLICY_OUTCOME_ALONE) to `attrs` without evaluating conditions.
 * Counts as a begin: *out is valid until the next begin. Returns 0, -ENOMEM, or -E2BIG (the result
 * would not be a legal set).
 */
int policy_eval_outcome(struct policy_eval *e, const struct policy *p, const struct attr_set *attrs,
	const struct ip_addr *peer, uint64_t outcome, const struct attr_set **out);
/*
 * True if an outcome appends standard communities, and changes nothing else that external peers
 * receive (the local preference stays in the AS): *count values of 4 bytes at *values, lent by the
 * policy. A set does not get a value twice. Any thread.
 */
bool policy_outcome_appends(
	const struct policy *p, uint64_t outcome, const uint8_t **values, unsigned *count);
/* As policy_outcome_appends(), for outcomes without any other change. */
bool policy_outcome_only_appends(
	const struct policy *p, uint64_t outcome, const uint8_t **values, unsigned *count);
/*
 * Hash of the changes that make an outcome (not POLICY_OUTCOME_ALONE): equal changes have equal
 * hashes, in any policy. 0 for the outcome 0. Any thread.
 */
uint64_t policy_outcome_hash(const struct policy *p, uint64_t outcome);
/*
 * Number of errors of all evals since the process started, and the place of the last error (`last`
 * may be NULL). Any thread except workers.
 */
struct policy_match_error {
	char policy[64], list[64];
	struct ip_addr peer; /* AFI_NONE: a local route */
};
uint64_t policy_match_errors(struct policy_match_error *last);
