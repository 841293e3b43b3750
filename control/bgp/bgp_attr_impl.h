/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by reading (bgp_attr.c) and writing (bgp_attr_encode.c) of path attributes; for these files only.
 */
#pragma once

#include "control/bgp/wire.h"

#define FLAG_OPTIONAL 0x80
#define FLAG_TRANSITIVE 0x40
#define FLAG_PARTIAL 0x20
#define FLAG_EXTENDED_LENGTH 0x10
#define KIND_MASK                                                                                  \
	(FLAG_OPTIONAL | FLAG_TRANSITIVE) /* RFC 7606 3.c: only these two bits can be in error */

#define WELL_KNOWN FLAG_TRANSITIVE
#define OPTIONAL FLAG_OPTIONAL
#define OPTIONAL_TRANSITIVE (FLAG_OPTIONAL | FLAG_TRANSITIVE)

enum attr_type {
	ATTR_ORIGIN = 1,
	ATTR_AS_PATH = 2,
	ATTR_NEXT_HOP = 3,
	ATTR_MED = 4,
	ATTR_LOCAL_PREF = 5,
	ATTR_ATOMIC_AGGREGATE = 6,
	ATTR_AGGREGATOR = 7,
	ATTR_COMMUNITIES = 8,
	ATTR_ORIGINATOR_ID = 9,
	ATTR_CLUSTER_LIST = 10,
	ATTR_MP_REACH = 14,
	ATTR_MP_UNREACH = 15,
	ATTR_EXT_COMMUNITIES = 16,
	ATTR_AS4_PATH = 17,
	ATTR_AS4_AGGREGATOR = 18,
	ATTR_IPV6_EXT_COMMUNITIES = 25,
	ATTR_LARGE_COMMUNITIES = 32,
	ATTR_OTC = 35,
	ATTR_TYPE_COUNT,
};

enum segment_type { AS_SET = 1, AS_SEQUENCE = 2, AS_CONFED_SEQUENCE = 3, AS_CONFED_SET = 4 };
#define CONFED_SEGMENTS (1u << AS_CONFED_SEQUENCE | 1u << AS_CONFED_SET)
#define SET_SEGMENTS (1u << AS_SET | 1u << AS_CONFED_SET)

#define LARGE_LEN 12 /* RFC 8092 3 */

/* The Optional and Transitive bits of a type with a row in the descriptor table. */
uint8_t bgp_attr_flags(uint8_t type);
/* The length of a known type, or with *multiple its divisor; 0: the decoder checks the length. */
unsigned bgp_attr_octets(uint8_t type, bool *multiple);

/* `count` AS numbers of `v`, as four octets each. */
static inline void
write_segment(struct wr *w, struct rd *v, bool as4, uint8_t type, unsigned count)
{
	wr_u8(w, type);
	wr_u8(w, (uint8_t)count);
	if (as4) {
		wr_bytes(w, v->p, (size_t)count * 4);
		rd_bytes(v, (size_t)count * 4);
		return;
	}
	for (; count > 0; count--)
		wr_u32(w, rd_u16(v));
}
