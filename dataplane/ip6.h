/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IPv6 forwarding of a burst's lane: the checks of RFC 8200 3, RFC 4291 2.5 and RFC 4007 9 in the order of drops.def, the route, hop
 * limit. Extension headers are nobody's business on the way (RFC 8200 4): they are forwarded as they are.
 *
 * Data-path safe: no memory, log, lock or system call.
 */
#pragma once

#include "dataplane/burst.h"
#include "lpm/base.h"
#include "lpm/fib_read.h"

/* Header checks. Fills first[] and destination[]; trims link padding. */
void ip6_classify(struct burst *b) RUNS_ON(role_worker);
/*
 * Step 0, 1 .. TABLE_V6_STEPS - 1 of the lookup, all by one generation: each fetches what the next one reads, so best something else is done in
 * between.
 */
void ip6_look_up(struct burst *b, const struct fib_generation *generation, struct vrf_id vrf,
	unsigned step) RUNS_ON(role_worker);
/* When it is looked up: chooses the path, checks hop limit and MTU, rewrites both headers, puts into `out`. Fills waiting[]. */
void ip6_finish(struct burst *b, const struct fib_reader *fib,
	const struct fib_generation *generation, struct vrf_id vrf, struct outbox *out)
	RUNS_ON(role_worker);
