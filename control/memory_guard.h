/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When the system gives no more memory (RLIMIT_AS, strict overcommit), the peer that takes the most is ended: Cease / Out of Resources
 * (RFC 4486 4), and its routes are flushed. Meanwhile other peers live on the reserve of the arenas (lpm/arena.h), and their UPDATEs wait in
 * the shards where that is not enough.
 *
 * Main; a failed allocation on any thread wakes main by an eventfd.
 */
#pragma once

#include "control/keeld.h"

/* When the layers are there, before their threads run. 0, -errno. */
int memory_guard_start(struct keeld *k);
/* When the threads have ended. */
void memory_guard_stop(struct keeld *k);
/* Sessions that were ended for want of memory since the start. */
uint64_t memory_guard_evictions(void);
/* No reserve is there at the moment: the next failure is not made up for. */
bool memory_guard_low(void);
