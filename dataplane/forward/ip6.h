/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IPv6 forwarding of a lane: the checks of RFC 8200 3, RFC 4291 2.5 and RFC 4007 9 in the order of
 * drops.def, the lookup, the hop limit. Extension headers are forwarded without inspection (RFC
 * 8200 4). Runs on workers.
 *
 * Data-path safe: no allocation, log, lock or system call.
 */
#pragma once

#include "dataplane/forward/burst.h"
#include "lpm/base/base.h"
#include "lpm/fib_read.h"

/*
 * Checks the headers of a lane that is not empty; drops invalid packets. Fills first[] and
 * destination[]; removes link padding.
 */
void ip6_classify(struct burst *b) RUNS_ON(role_worker);
/*
 * One step (0 to TABLE_V6_STEPS - 1) of the lookup; all steps use one generation. Each step
 * prefetches for the next step, so callers do other work in between.
 */
void ip6_look_up(struct burst *b, const struct fib_reader *fib,
	const struct fib_generation *generation, struct vrf_id vrf, unsigned step)
	RUNS_ON(role_worker);
/*
 * After the lookup: chooses paths, checks hop limit and MTU, rewrites the headers and adds the
 * packets to `out`. Fills waiting[] and fault[].
 */
void ip6_finish(struct burst *b, const struct fib_reader *fib,
	const struct fib_generation *generation, struct vrf_id vrf, struct outbox *out)
	RUNS_ON(role_worker);
/* ip6_finish() for a burst with `each`, with the lookup. */
void ip6_finish_each(struct burst *b, const struct fib_reader *fib,
	const struct fib_generation *generation, struct outbox *out) RUNS_ON(role_worker);
