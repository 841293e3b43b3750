/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/forward/idle.h"

#include <sys/prctl.h>
#include <time.h>

void
worker_idle(unsigned ns)
{
	const struct timespec t = {.tv_nsec = (long)ns};

	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

void
worker_idle_init(void)
{
	(void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
}
