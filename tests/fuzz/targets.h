/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The decoders that are fuzzed, by name: fuzz.c runs one, test_replay.c all of them over the kept corpus. An input is a message with its
 * header; those of `update` and `nlri` begin with one octet of options.
 */
#pragma once

#include "tests/fuzz/harness.h"

static inline void
target_update(const uint8_t *data, size_t len)
{
	if (len > 0)
		harness_update(data + 1, len - 1, data[0]);
}

static inline void
target_nlri(const uint8_t *data, size_t len)
{
	if (len > 0)
		harness_nlri(data + 1, len - 1,
			data[0] & 1 ? FAMILY_IPV6_UNICAST : FAMILY_IPV4_UNICAST, data[0] & 2);
}

static const struct target {
	const char *name;
	void (*run)(const uint8_t *data, size_t len);
} targets[] = {
	{"header", harness_header},
	{"open", harness_open},
	{"notification", harness_notification},
	{"refresh", harness_refresh},
	{"update", target_update},
	{"nlri", target_nlri},
};

#define TARGET_COUNT (sizeof(targets) / sizeof(targets[0]))
