/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A note of the current piece of work of each thread, in words, for the watchdog (control/base/watchdog.h). One relaxed store a piece of work.
 */
#pragma once

#include <stdatomic.h>

extern _Thread_local _Atomic(const char *) doing_here;

/* `work` is a literal, or lives as long as the process: "import", "config.commit". */
static inline void
doing(const char *work)
{
	/* relaxed: the watchdog needs no order with the work itself */
	atomic_store_explicit(&doing_here, work, memory_order_relaxed);
}
