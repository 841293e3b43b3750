/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sleep of a worker without packets (`dataplane.idle: adaptive`). The only system call of a worker's
 * loop; an object of its own, because worker.c makes none (scripts/hot.sh).
 */
#pragma once

#include "lpm/base/base.h"

/*
 * A worker that found no packet for IDLE_AFTER_US sleeps IDLE_FIRST_NS, then twice as long each time, at
 * most IDLE_PARTS times as long as its last poll and a change of threads (IDLE_SWITCH_NS) took. So a
 * worker at rest uses some 3 % of its CPU with any number of ports.
 */
#define IDLE_AFTER_US 1000
#define IDLE_FIRST_NS 50000u
#define IDLE_MOST_NS 4000000u
#define IDLE_SWITCH_NS 50000u /* 40 us were seen on a virtual machine */
#define IDLE_PARTS 32

/* Sleeps. The worker holds no packet, and is no online reader. */
void worker_idle(unsigned ns) RUNS_ON(role_worker);
/* Asks the kernel for exact wakeups; the default is up to 50 us late. At the start of a worker. */
void worker_idle_init(void);
