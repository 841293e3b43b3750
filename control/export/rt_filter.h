/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A filter on VPN routes by route targets (RFC 4684): the targets that a peer wants. A filter is
 * immutable and shared: equal memberships have one filter, so that peers can share an update group.
 *
 * Owner: the session thread.
 */
#pragma once

#include "lpm/base/base.h"
#include "rib/table/attr.h"

struct arena;

/* A membership: the first `bits` bits of the route target; 0: all targets. */
struct rt_want {
	uint64_t target;
	uint32_t origin; /* AS number of the importing router; no part of the filter */
	uint8_t bits;
};

struct rt_filter {
	struct rt_filter *next; /* in the list of the owner */
	unsigned refs; /* of sessions and previews; update groups lend filters */
	bool marked; /* used by an update group at the last sweep */
	unsigned count;
	struct rt_want want[]; /* sorted by length and target, each once, `origin` 0 */
};

/* Order of the filter; with equal filters of two memberships by origin. */
int rt_want_compare(const struct rt_want *a, const struct rt_want *b);
/*
 * The filter for memberships, sorted by rt_want_compare(); found in *list, or made. Returns a
 * reference; NULL: no memory.
 */
struct rt_filter *rt_filter_get(
	struct arena *a, struct rt_filter **list, const struct rt_want *want, unsigned count);
/* True if the route with these attributes has a wanted target. `f` NULL: no filter. */
bool rt_filter_wants(const struct rt_filter *f, const struct attr_set *attrs);
