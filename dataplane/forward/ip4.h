/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IPv4 forwarding of a lane: the checks of RFC 1812 5.2.2 and 5.3.7 in the order of drops.def, the
 * lookup, the TTL (RFC 1812 5.3.1) with an incremental checksum (RFC 1624). Runs on workers.
 *
 * Data-path safe: no allocation, log, lock or system call.
 */
#pragma once

#include "dataplane/forward/burst.h"
#include "lpm/base/base.h"
#include "lpm/fib_read.h"

/*
 * Checks the headers of a lane that is not empty; drops invalid packets. Fills ttl_word[], first[]
 * and destination[]; removes link padding.
 */
void ip4_classify(struct burst *b) RUNS_ON(role_worker);
/*
 * Looks up the destinations, chooses paths, checks TTL and MTU, rewrites the headers and adds the
 * packets to `out`. Fills waiting[] and fault[].
 */
void ip4_finish(struct burst *b, const struct fib_reader *fib,
	const struct fib_generation *generation, struct vrf_id vrf, struct outbox *out)
	RUNS_ON(role_worker);
/* ip4_finish() for a burst with `each`. */
void ip4_finish_each(struct burst *b, const struct fib_reader *fib,
	const struct fib_generation *generation, struct outbox *out) RUNS_ON(role_worker);
