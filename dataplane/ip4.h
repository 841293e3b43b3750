/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IPv4 forwarding of a burst's lane: the checks of RFC 1812 5.2.2 and 5.3.7 in the order of drops.def, the route, TTL (RFC 1812 5.3.1)
 * with an incremental checksum (RFC 1624).
 *
 * Data-path safe: no memory, log, lock or system call.
 */
#pragma once

#include "dataplane/burst.h"
#include "lpm/base.h"
#include "lpm/fib_read.h"

/* Header checks of at least one packet. Fills ttl_word[], first[] and destination[]; trims link padding. */
void ip4_classify(struct burst *b) RUNS_ON(role_worker);
/* Looks up, chooses the path, checks TTL and MTU, rewrites both headers, puts into `out`. Fills waiting[]. */
void ip4_finish(struct burst *b, const struct fib_reader *fib,
	const struct fib_generation *generation, struct vrf_id vrf, struct outbox *out)
	RUNS_ON(role_worker);
