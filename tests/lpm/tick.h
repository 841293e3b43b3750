/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Polling with a deadline: a test asks repeatedly until a condition holds, and fails at the
 * deadline.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define TICK_NS UINT64_C(1000000)

static inline uint64_t
tick_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t
tick_deadline(unsigned seconds)
{
	return tick_now_ns() + seconds * UINT64_C(1000000000);
}

/*
 * Sleeps until `at_ns`. For a fixed pace the caller computes each time from the start, so late
 * wake-ups do not add up.
 */
static inline void
tick_until(uint64_t at_ns)
{
	struct timespec t = {(time_t)(at_ns / 1000000000u), (long)(at_ns % 1000000000u)};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* Sleeps for a tick between two checks. Returns false after the deadline. */
static inline bool
tick(uint64_t deadline_ns)
{
	uint64_t now = tick_now_ns();

	if (now >= deadline_ns)
		return false;
	tick_until(now + TICK_NS);
	return true;
}
