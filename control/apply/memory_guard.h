/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reaction to a lack of memory (RLIMIT_AS, strict overcommit): the guard ends the session of the
 * peer with the most memory by Cease / Out of Resources (RFC 4486 4), and the shards flush the
 * routes of the peer. Meanwhile the other peers use the reserve of the arenas (lpm/base/arena.h); where
 * the reserve is too small, UPDATEs wait in the shards.
 *
 * Main. A failed allocation on any thread wakes main by an eventfd. One guard in a process: arenas
 * report shortage to one place.
 */
#pragma once

#include "lpm/base/base.h"

#include <stdint.h>

struct layers;
struct memory_guard;
struct peers;

/* When the layers exist, before their threads run. `l` and `peers` are lent. 0, -errno. */
int memory_guard_create(const struct layers *l, const struct peers *peers,
	struct memory_guard **out) RUNS_ON(role_main);
/* When the threads have ended. */
void memory_guard_destroy(struct memory_guard *g) RUNS_ON(role_main);
/* The number of sessions ended by the guard. */
uint64_t memory_guard_evictions(const struct memory_guard *g) RUNS_ON(role_main);
