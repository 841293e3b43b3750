/* SPDX-License-Identifier: BSD-3-Clause */
/* Slow reference of the decision: RFC 4271 9.1.2.2 step by step, each step removes candidates. */
#pragma once

#include "rib/table/decision.h"

#include <stdlib.h>

static inline uint32_t
ref_step_value(const struct decision_input *in, unsigned step)
{
	const struct attr_set *a = in->attrs;

	switch (step) {
	case 0:
		return in->eligible ? 0 : 1;
	case 1:
		/* RFC 9494 4.3, behind routes of this router and before LOCAL_PREF */
		return (in->local ? 0 : 2) + (a->has & ATTR_LLGR_STALE ? 1 : 0);
	case 2:
		return UINT32_MAX - (a->has & ATTR_HAS_LOCAL_PREF ? a->local_pref : 100);
	case 3:
		return a->as_path_hops;
	case 4:
		return a->origin;
	case 6:
		return in->external ? 0 : 1;
	case 7:
		return in->igp_metric;
	case 8:
		return a->has & ATTR_HAS_ORIGINATOR_ID ? a->originator_id : in->router_id;
	case 9:
		return a->cluster_count;
	case 11:
		return in->path_id;
	default:
		abort();
	}
}

static inline bool
ref_neighbours(const struct attr_set *a, const struct attr_set *b)
{
	if (a->as_path_len == 0 || b->as_path_len == 0)
		return a->as_path_len == b->as_path_len;
	return a->first_asn != 0 && a->first_asn == b->first_asn;
}

/* RFC 4271 9.1.2.2 c: for each m, for each n, if neighborAS(m) == neighborAS(n) and MED(n) < MED(m)
 * remove m. */
static inline void
ref_step_med(const struct decision_input *in, unsigned n, const bool *present, bool *out)
{
	for (unsigned i = 0; i < n; i++) {
		out[i] = present[i];
		for (unsigned j = 0; j < n; j++) {
			uint32_t mi = in[i].attrs->has & ATTR_HAS_MED ? in[i].attrs->med : 0;
			uint32_t mj = in[j].attrs->has & ATTR_HAS_MED ? in[j].attrs->med : 0;

			if (present[i] && present[j] && ref_neighbours(in[i].attrs, in[j].attrs) &&
				mj < mi)
				out[i] = false;
		}
	}
}

/* Removes candidates by the first `steps` steps. */
static inline void
ref_steps(const struct decision_input *in, unsigned n, bool *present, unsigned steps)
{
	bool next[4096];

	for (unsigned step = 0; step < steps; step++) {
		unsigned winner = UINT32_MAX;

		if (step == 5) {
			ref_step_med(in, n, present, next);
			for (unsigned i = 0; i < n; i++)
				present[i] = next[i];
			continue;
		}
		for (unsigned i = 0; i < n; i++) {
			if (!present[i])
				continue;
			if (winner == UINT32_MAX)
				winner = i;
			else if (step == 10
					 ? addr_compare(&in[i].peer_addr, &in[winner].peer_addr) < 0
					 : ref_step_value(&in[i], step) <
						   ref_step_value(&in[winner], step))
				winner = i;
		}
		for (unsigned i = 0; winner != UINT32_MAX && i < n; i++) {
			bool equal = step == 10 ? addr_compare(&in[i].peer_addr,
							  &in[winner].peer_addr) == 0
						: ref_step_value(&in[i], step) ==
							  ref_step_value(&in[winner], step);

			present[i] = present[i] && equal;
		}
	}
}

/* Index of the best candidate, or UINT_MAX without candidates. */
static inline unsigned
ref_best(const struct decision_input *in, unsigned n, const bool *candidates)
{
	bool present[4096];

	for (unsigned i = 0; i < n; i++)
		present[i] = candidates[i];
	ref_steps(in, n, present, 12);
	for (unsigned i = 0; i < n; i++)
		if (present[i])
			return i;
	return UINT32_MAX;
}

/*
 * Multipath reference: the candidates left after the IGP metric, in the order of `order`, without a
 * second path by an earlier next hop. Moves the chosen candidates to the front; returns their
 * number.
 */
static inline unsigned
ref_multipath(const struct decision_input *in, unsigned n, unsigned *order, unsigned max_paths)
{
	unsigned moved[4096], count = 0, all = 0;
	bool left[4096], chosen[4096] = {false};

	if (n == 0 || !in[order[0]].eligible)
		return 0;
	for (unsigned i = 0; i < n; i++)
		left[i] = true;
	ref_steps(in, n, left, 8);
	for (unsigned i = 0; i < n; i++) {
		bool again = false;

		for (unsigned k = 0; k < count; k++)
			again |= addr_equal(attr_next_hop(in[moved[k]].attrs),
				attr_next_hop(in[order[i]].attrs));
		if (i > 0 && (!left[order[i]] || again || count >= max_paths || in[order[0]].local))
			continue;
		chosen[order[i]] = true;
		moved[count++] = order[i];
	}
	all = count;
	for (unsigned i = 0; i < n; i++)
		if (!chosen[order[i]])
			moved[all++] = order[i];
	for (unsigned i = 0; i < n; i++)
		order[i] = moved[i];
	return count;
}

/* Ranks all candidates: the best candidate is removed repeatedly. */
static inline void
ref_order(const struct decision_input *in, unsigned n, unsigned *order)
{
	bool present[4096];

	for (unsigned i = 0; i < n; i++)
		present[i] = true;
	for (unsigned i = 0; i < n; i++) {
		order[i] = ref_best(in, n, present);
		present[order[i]] = false;
	}
}
