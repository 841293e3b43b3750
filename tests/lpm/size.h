/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The size of a property test: quick in each run of scripts/test, full with KEEL_TEST_FULL in the environment
 * (scripts/test --full). A sanitized build takes a smaller full size, because it is five to ten times slower.
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>

static inline unsigned
test_size(unsigned quick, unsigned full)
{
	return getenv("KEEL_TEST_FULL") != NULL ? full : quick;
}

/*
 * Turns of a test with several threads. ThreadSanitizer needs no overlap in time: it reports two
 * accesses without an order between them the first time it sees both, and each costs ten times as
 * much.
 */
#ifdef __SANITIZE_THREAD__
#define thread_turns(many, few) (few)
#else
#define thread_turns(many, few) (many)
#endif

/* The number in the environment variable `name`. */
static inline uint64_t
test_setting(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}
