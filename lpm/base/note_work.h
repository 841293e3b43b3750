/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records the current work of each thread, for reports of the watchdog (control/base/watchdog.h).
 * A thread stores the name of its work with one relaxed store; the watchdog reads the names of all
 * threads.
 */
#pragma once

#include <stdatomic.h>

extern _Thread_local _Atomic(const char *) noted_work;

/* `work` must stay valid until the process ends, like the literals "import" and "config.commit". */
static inline void
note_work(const char *work)
{
	/* relaxed: the watchdog reads the literal only, not data that the work has written */
	atomic_store_explicit(&noted_work, work, memory_order_relaxed);
}
