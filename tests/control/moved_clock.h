/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A clock that the test moves: all threads of the process read CLOCK_MONOTONIC here. For one test
 * program, whose sessions have no hold time.
 */
#pragma once

#include "tests/control/session_rig.h"

#include <sys/syscall.h>

static _Atomic uint64_t moved_s;

int
clock_gettime(clockid_t id, struct timespec *t)
{
	int rc = (int)syscall(SYS_clock_gettime, id, t);

	if (rc == 0 && id == CLOCK_MONOTONIC)
		t->tv_sec += (time_t)atomic_load(&moved_s);
	return rc;
}

/* The session and the first shard have handled all events so far. */
static inline void
clock_settle(struct node *n)
{
	for (unsigned i = 0; i < 4; i++)
		thread_call(n->session, nothing, NULL);
	for (unsigned i = 0; i < 4; i++)
		thread_call(n->rib[0], nothing, NULL);
}

static inline void
clock_move(struct node *n, unsigned seconds)
{
	atomic_fetch_add(&moved_s, seconds);
	thread_wake(n->session);
	clock_settle(n);
}
