/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The decision process: RFC 4271 9.1.2.2 as a pure comparison, which also returns the deciding
 * step. Any thread; no state.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"
#include "rib/table/attr.h"
#include "rib/table/dest.h"

/* Words of `reason` (keel-policy(7), route selection): decision_reason_text(). */
enum decision_reason {
	DECISION_EQUAL,
	DECISION_LLGR_STALE, /* RFC 9494 4.3 */
	DECISION_LOCAL_PREF,
	DECISION_AS_PATH_LENGTH,
	DECISION_ORIGIN,
	DECISION_MED,
	DECISION_EXTERNAL,
	DECISION_IGP_METRIC,
	DECISION_ROUTER_ID,
	DECISION_CLUSTER_LENGTH,
	DECISION_PEER_ADDRESS,
	/* of one peer: the lower route distinguisher of imported paths, then add-path's identifier */
	DECISION_PATH_ID,
	DECISION_NEXT_HOP_UNREACHABLE,
	DECISION_AS_LOOP,
	DECISION_ORIGINATOR_LOOP,
	DECISION_CLUSTER_LOOP,
	DECISION_REJECTED_BY_POLICY,
	DECISION_NO_POLICY,
	/* a source of routes with better preference (connected, static, ...) */
	DECISION_PREFERENCE,
};

/* One path with the values of its peer: everything that the comparison reads. */
struct decision_input {
	const struct attr_set *attrs; /* the fixed part only */
	bool eligible; /* next hop resolvable, not rejected */
	/*
	 * reason of a rejection, which ranks behind all accepted paths; DECISION_EQUAL:
	 * not rejected
	 */
	enum decision_reason refused;
	bool external; /* learned over eBGP */
	bool local; /* originated by this router: before all routes of peers, but: */
	/* `preference`: after the routes of peers if the best of these is external, or internal */
	bool after_external, after_internal;
	uint32_t igp_metric; /* to the next hop */
	/* BGP identifier of the peer; ORIGINATOR_ID takes precedence (RFC 4456 9) */
	uint32_t router_id;
	struct ip_addr peer_addr;
	uint64_t rd; /* route distinguisher of an imported path, as a number; else 0 */
	uint32_t path_id; /* as received */
	/* of decision_order(), which also tells decision_multipath() what MED has removed */
	unsigned worst, place, next;
	bool beaten;
	/* room for `attrs` of an interned set: attr_unpack_fixed() */
	alignas(struct attr_set) uint8_t fixed[sizeof(struct attr_set)];
};

/*
 * Ranks `n` paths: order[0] is the index of the best. Deterministic MED: paths are grouped by
 * neighbour AS, and the best of each group competes with the best of the remaining groups, so the
 * result does not depend on the order of arrival. reason[i] (may be NULL): why in[i] is not best;
 * DECISION_EQUAL for the best.
 */
void decision_order(
	struct decision_input *in, unsigned n, unsigned *order, enum decision_reason *reason);

/*
 * Rank of attributes in the steps before MED, as a number, in the bits of DECISION_KEY_RANK: the
 * lower number wins, equal numbers are equal in these steps. Never 0. With DECISION_KEY_RARE equal
 * numbers decide nothing, and the steps after MED need the attributes, too (ORIGINATOR_ID,
 * CLUSTER_LIST).
 */
#define DECISION_KEY_RARE 2u
#define DECISION_KEY_RANK (~3u)
uint32_t decision_attr_key(const struct attr_set *a);
/* The key of an accepted path with attributes of this key: also the steps before. */
static inline uint32_t
decision_key(uint32_t attr_key, bool eligible, bool local)
{
	return attr_key | (eligible ? 0 : 1u << 31) | (local ? 0 : 1u << 30);
}
/*
 * Attributes for comparisons after MED of two paths with equal keys without DECISION_KEY_RARE.
 */
extern const struct attr_set decision_any_attrs;
/* The comparison without MED: true if `a` ranks before `b`. A total order. */
bool decision_before(const struct decision_input *a, const struct decision_input *b);
/* True if MED decides between the two: paths of one neighbour AS with different MEDs. */
bool decision_med_differs(const struct attr_set *a, const struct attr_set *b);
/* True if both can forward together, next hop aside: RFC 4271 9.1.2.2 a to e without MED. */
bool decision_equal_cost(const struct decision_input *a, const struct decision_input *b);

/*
 * Selects the paths that forward together with the best (ECMP), at most `max_paths`, and returns
 * their number; 0 if the best is not eligible. `order` is the result of decision_order(); selected
 * paths move up behind the best, the rest keeps its order. Selected are paths equal to the best in
 * RFC 4271 9.1.2.2 a to e (local-pref, AS-path length, origin, MED within a neighbour AS, external
 * or internal, IGP metric), each with a different next hop. AS paths must be equal in length only,
 * as with BIRD's `merge paths` and FRR's `multipath-relax`: the common case is two upstreams.
 * Routes of this router are never combined.
 */
unsigned decision_multipath(
	const struct decision_input *in, unsigned n, unsigned *order, unsigned max_paths);

const char *decision_reason_text(enum decision_reason r);
