/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compiled route policies: a builder for control/policy_compile, a runner for everybody else.
 *
 * A policy is immutable after policy_builder_finish() and may be run by any thread. Its owner frees it when no thread
 * runs it any more. Nodes that look only at attributes are decided once for an attribute set:
 * policy_eval_begin() does all that hangs on attributes (regular expressions, communities), policy_eval_prefix()
 * only what hangs on the prefix. Whoever keeps verdicts keys them by (policy generation, attribute set serial).
 */
#pragma once

#include "lpm/base.h"
#include "lpm/prefix.h"
#include "rib/attr.h"

struct arena;
struct policy;
struct policy_eval;

/* Where a route comes from, as `match.source` says it. */
enum route_source {
	SOURCE_CONNECTED,
	SOURCE_STATIC,
	SOURCE_EXTERNAL,
	SOURCE_KERNEL,
	SOURCE_INTERNAL,
	SOURCE_NETWORK,
	SOURCE_COUNT
};

/* What a match may look at beside attributes and prefix; constant for one peer and family. */
struct policy_context {
	struct ip_addr peer;
	enum family family;
	enum route_source source;
	uint32_t tag;
};

struct policy_verdict {
	bool permit;
	uint32_t seq; /* of the deciding node; 0: no node matched (a deny) */
	/*
	 * After `set`; the eval's input when nothing was set. Lives until policy_eval_begin(); with an outcome from POLICY_OUTCOMES_MAX on, until the next
	 * policy_eval_prefix().
	 */
	const struct attr_set *attrs;
	uint32_t tag; /* the context's, or what was set */
	unsigned
		sets; /* enum policy_set_attr: attributes that were set, also to the value they had */
	/*
	 * Equal outcomes of a policy, attribute set and context tag have equal attrs, in any eval, at any time: a key for the caller's cache. 0: nothing
	 * was set. A policy with at most POLICY_OUTCOMES_MAX different results has outcomes below that. POLICY_OUTCOME_ALONE is no key: not to be cached.
	 */
	uint64_t outcome;
};

#define POLICY_OUTCOMES_MAX 64
#define POLICY_OUTCOME_ALONE UINT64_MAX
enum policy_set_attr { POLICY_SETS_MED = 1, POLICY_SETS_NEXT_HOP = 2 };

/* The place of an outcome in a cache of POLICY_OUTCOMES_MAX. Outcomes below that have a place each. */
static inline unsigned
policy_outcome_place(uint64_t outcome)
{
	return (unsigned)(outcome < POLICY_OUTCOMES_MAX ? outcome
							: hash_mix(outcome) % POLICY_OUTCOMES_MAX);
}

/* accept-all and deny-all exist from the start; static, never freed. */
const struct policy *policy_accept_all(void);
const struct policy *policy_deny_all(void);
void policy_destroy(struct policy *p);
const char *policy_name(const struct policy *p);
/* Does a node match on the peer, so that two peers may get different verdicts for the same route? Any thread. */
bool policy_uses_peer(const struct policy *p);
/* Does a node match on the AS path by a regular expression, or on a list of communities, which may take milliseconds? Any thread. */
bool policy_may_take_long(const struct policy *p);
/*
 * False: it denies `prefix` whatever the attributes are, as no node that permits has it in its prefix lists; where that is found out by looking
 * at a few lists. Any thread.
 */
bool policy_may_permit(const struct policy *p, const struct prefix *prefix);
/* False: policy_may_permit() is true of all. Any thread. */
bool policy_asks_few(const struct policy *p);

/*
 * All that policy_eval_begin() finds out about a set (under one policy and context), small enough to be kept for each set: with it a prefix
 * is decided without looking at the set again.
 */
struct policy_digest {
	uint64_t could; /* bit by node: its other conditions hold */
};
struct policy_decision {
	bool permit;
	uint32_t seq; /* as in struct policy_verdict */
	uint64_t outcome;
};
/* False: the policy has too many nodes, or outcomes without a key. Any thread. */
bool policy_has_digest(const struct policy *p);
/*
 * policy_eval_prefix() without its set. Any thread. What policy_eval_outcome() can't make (-E2BIG) is refused. `prefix` NULL: false when it
 * hangs on the prefix.
 */
bool policy_digest_decide(const struct policy *p, struct policy_digest d,
	const struct prefix *prefix, struct policy_decision *out);

/* A scratch object for one thread, used again and again. 0, -ENOMEM. */
int policy_eval_create(struct arena *a, struct policy_eval **out);
void policy_eval_destroy(struct policy_eval *e);
/*
 * Evaluates all attribute conditions of `p` for `attrs` (both lent until the next begin). 0; -ENOMEM. When PCRE2 gives up on a regular expression
 * (match limit), policy_eval_prefix() denies every prefix, whatever the action of the node, and policy_eval_match_errors() counts the error.
 */
int policy_eval_begin(struct policy_eval *e, const struct policy *p, const struct attr_set *attrs,
	const struct policy_context *context);
/* 0, -ENOMEM. True decision for one prefix. */
int policy_eval_prefix(
	struct policy_eval *e, const struct prefix *prefix, struct policy_verdict *out);
/* Of the last begin; policy_has_digest() must be true. */
struct policy_digest policy_eval_digest(const struct policy_eval *e);
/*
 * What an outcome of `p` (not POLICY_OUTCOME_ALONE) makes of `attrs`; no condition is looked at. Counts as a begin: *out lives until the next one. 0, -ENOMEM, -E2BIG
 * (the result would be no legal set).
 */
int policy_eval_outcome(struct policy_eval *e, const struct policy *p, const struct attr_set *attrs,
	uint64_t outcome, const struct attr_set **out);
uint64_t policy_eval_match_errors(const struct policy_eval *e);
/* The errors of all evals since the start of the process, and the place of the last error (`last` may be NULL). Any thread but a worker. */
struct policy_match_error {
	char policy[64], list[64];
	struct ip_addr peer; /* AFI_NONE: a local route */
};
uint64_t policy_match_errors(struct policy_match_error *last);
