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

/* The first octet: 1 IPv6, 2 path identifiers, 4 labels, 8 labels and route distinguishers, 16 several labels, 32 withdrawn. */
static inline void
target_nlri(const uint8_t *data, size_t len)
{
	struct nlri_form form;

	if (len == 0)
		return;
	form = (struct nlri_form){
		.afi = data[0] & 1 ? AFI_IPV6 : AFI_IPV4,
		.safi = data[0] & 8   ? SAFI_VPN
			: data[0] & 4 ? SAFI_LABELED_UNICAST
				      : SAFI_UNICAST,
		.add_path = data[0] & 2,
		.multiple_labels = data[0] & 16,
		.withdrawn = data[0] & 32,
	};
	harness_nlri(data + 1, len - 1, form);
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
