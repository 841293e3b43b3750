/* SPDX-License-Identifier: BSD-3-Clause */
/* For benchmarks: the end with a reason, clocks, pinning, and one sample a line for scripts/bench. */
#pragma once

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline void __attribute__((format(printf, 1, 2), noreturn)) die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(1);
}

static inline uint64_t
clock_ns(clockid_t id)
{
	struct timespec ts;

	(void)clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline void
pin(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set) != 0)
		fprintf(stderr, "%s: cannot pin to CPU %u\n", program_invocation_short_name, cpu);
}

/* Parses --quick and --runs N. True: argv[*i] was an option of both. */
static inline bool
bench_option(int argc, char **argv, int *i, unsigned *runs, uint64_t *window_ns)
{
	if (strcmp(argv[*i], "--quick") == 0) {
		*runs = 3;
		*window_ns = 50000000;
	} else if (strcmp(argv[*i], "--runs") == 0 && *i + 1 < argc) {
		*runs = (unsigned)strtoul(argv[++*i], NULL, 10);
	} else {
		return false;
	}
	return true;
}
