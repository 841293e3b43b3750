/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads the protocol vectors of ../shared/data/vectors (format: README.md there) for the decoder
 * tests.
 */
#pragma once

#include "tests/fuzz/harness.h"

#include <jansson.h>

static inline const char *
family_name(uint16_t afi, uint16_t safi)
{
	static char other[24];
	enum family f = safi > UINT8_MAX ? FAMILY_COUNT : family_from_afi_safi(afi, (uint8_t)safi);

	if (f != FAMILY_COUNT)
		return family_text(f);
	if (safi == 2 && (afi == 1 || afi == 2))
		return afi == 1 ? "ipv4-multicast" : "ipv6-multicast";
	if (safi == 4 && (afi == 1 || afi == 2))
		return afi == 1 ? "ipv4-labeled-unicast" : "ipv6-labeled-unicast";
	snprintf(other, sizeof(other), "%u/%u", afi, safi);
	return other;
}

static inline uint8_t *
from_hex(const char *text, size_t *len)
{
	uint8_t *p;

	*len = strlen(text) / 2;
	p = malloc(*len ? *len : 1); /* the exact size: AddressSanitizer detects a read beyond */
	HARNESS_CHECK(p);
	for (size_t i = 0; i < *len; i++) {
		char octet[3] = {text[2 * i], text[2 * i + 1], 0};

		p[i] = (uint8_t)strtoul(octet, NULL, 16);
	}
	return p;
}

static inline bool
listed(const json_t *array, const char *text)
{
	size_t i;
	json_t *v;

	json_array_foreach(array, i, v)
	{
		if (strcmp(json_string_value(v), text) == 0)
			return true;
	}
	return false;
}

/* Bits of the named families, as in the decoder's sets. */
static inline uint8_t
family_bits(const json_t *names)
{
	static const uint8_t afis[] = {AFI_IPV4, AFI_IPV6};
	static const uint8_t safis[] = {SAFI_UNICAST, SAFI_LABELED_UNICAST, SAFI_VPN};
	uint8_t bits = 0;

	for (size_t i = 0; i < sizeof(afis) * sizeof(safis); i++) {
		uint8_t afi = afis[i / sizeof(safis)], safi = safis[i % sizeof(safis)];

		if (listed(names, family_name(afi, safi)))
			bits |= nlri_bit(afi, safi);
	}
	return bits;
}

static inline struct bgp_update_options
update_options(const json_t *options)
{
	const char *session = json_string_value(json_object_get(options, "session"));
	struct bgp_update_options o = {
		.as4 = !json_is_false(json_object_get(options, "as4")),
		.external = !session || strcmp(session, "ebgp") == 0,
		.confederation = json_is_true(json_object_get(options, "confed")),
		.enforce_first_as = json_is_true(json_object_get(options, "enforce_first_as")),
		.peer_as = (uint32_t)json_integer_value(json_object_get(options, "peer_as")),
		.families = family_bits(json_object_get(options, "families")),
		.add_path = family_bits(json_object_get(options, "addpath")),
		.extended_message = json_is_true(json_object_get(options, "extended_message")),
		.multiple_labels =
			json_is_true(json_object_get(options, "multiple_labels")) ? 0xff : 0,
		.zone = HARNESS_ZONE,
		.extended_next_hop = family_bits(json_object_get(options, "extended_next_hop")),
	};

	return o;
}

static inline const char *
vectors_path(const char *kind)
{
	static char path[4096];
	const char *shared = getenv("KEEL_SHARED");

	snprintf(path, sizeof(path), "%s/data/vectors/%s.jsonl",
		shared ? shared : KEEL_SOURCE_ROOT "/../shared", kind);
	return path;
}

static inline void
each_vector(const char *kind, void (*use)(const json_t *vector))
{
	FILE *f = fopen(vectors_path(kind), "r");
	size_t size = 0;
	char *line = NULL;

	HARNESS_CHECK(f);
	while (getline(&line, &size, f) > 0) {
		json_error_t error;
		json_t *vector = json_loads(line, 0, &error);

		HARNESS_CHECK(vector);
		use(vector);
		json_decref(vector);
	}
	free(line);
	fclose(f);
}

/* False, with a message: ../shared is missing. */
static inline bool
vectors_found(void)
{
	FILE *f = fopen(vectors_path("update"), "r");

	if (f)
		fclose(f);
	else
		printf("skipped: no %s\n", vectors_path("update"));
	return f != NULL;
}
