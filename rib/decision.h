/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RFC 4271 9.1.2.2 as one pure comparison that also says which step decided. Works on its arguments only.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/prefix.h"
#include "rib/attr.h"
#include "rib/dest.h"

/* Words of `reason` (keel-policy(7), route selection): decision_reason_text(). */
enum decision_reason {
	DECISION_EQUAL,
	DECISION_LOCAL_PREF,
	DECISION_AS_PATH_LENGTH,
	DECISION_ORIGIN,
	DECISION_MED,
	DECISION_EXTERNAL,
	DECISION_IGP_METRIC,
	DECISION_ROUTER_ID,
	DECISION_CLUSTER_LENGTH,
	DECISION_PEER_ADDRESS,
	DECISION_PATH_ID, /* add-path: the lower identifier of one peer */
	DECISION_NEXT_HOP_UNREACHABLE,
	DECISION_AS_LOOP,
	DECISION_ORIGINATOR_LOOP,
	DECISION_CLUSTER_LOOP,
	DECISION_REJECTED_BY_POLICY,
	DECISION_NO_POLICY,
	DECISION_PREFERENCE, /* another source of routes is preferred (connected, static, ...) */
};

/* One path with what its peer adds; all that the comparison reads. */
struct decision_input {
	const struct attr_set *attrs;
	bool eligible; /* next hop resolvable, not rejected */
	enum decision_reason
		refused; /* why it was rejected, and ranks behind all others; DECISION_EQUAL: it was not */
	bool external; /* learned over eBGP */
	bool local; /* our own */
	uint32_t igp_metric; /* to the next hop */
	uint32_t router_id; /* peer's BGP identifier; ORIGINATOR_ID stands in for it (RFC 4456 9) */
	struct ip_addr peer_addr;
	uint32_t path_id;
};

/*
 * < 0: `a` is preferred, > 0: `b` is. *reason: the step that decided. A total order over paths that compare
 * MED only within one neighbour AS is not transitive by pairs: decision_order() below is what callers rank with.
 */
int decision_compare(const struct decision_input *a, const struct decision_input *b,
	enum decision_reason *reason);

/*
 * Ranks `n` paths: order[0] is the index of the best. Deterministic MED: paths are grouped by neighbour AS, the best of each
 * group is chosen first, then the best among these (so the outcome does not depend on the order of arrival).
 * reason[i] (may be NULL) is why in[i] is not best; DECISION_EQUAL for the best itself.
 */
void decision_order(
	const struct decision_input *in, unsigned n, unsigned *order, enum decision_reason *reason);

/*
 * How many paths forward together (ECMP), at most `max_paths`; 0 when the best is not eligible. `order` is decision_order()'s; those that go
 * with the best are moved up behind it, the others keep their order. They are what RFC 4271 9.1.2.2 a to e leaves over beside the best
 * (local-pref, AS-path length, origin, MED within a neighbour AS, external or internal, IGP metric), each with a next hop of its
 * own. AS paths need be equal in length only, as BIRD's `merge paths` and FRR's `multipath-relax` have it: two upstreams are what this is
 * for. Our own routes never go with another.
 */
unsigned decision_multipath(
	const struct decision_input *in, unsigned n, unsigned *order, unsigned max_paths);

const char *decision_reason_text(enum decision_reason r);
