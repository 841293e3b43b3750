/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NLRI by AFI/SAFI: RFC 4271 4.3, 4760 5, path identifiers RFC 7911 3, labels RFC 8277 2, route distinguishers RFC 4364 4.3.4
 * and 4659 3.2. Works on its arguments only.
 */
#pragma once

#include "control/bgp/bgp_error.h"
#include "control/bgp/wire.h"
#include "lpm/prefix.h"

#include <stdbool.h>
#include <stdint.h>

#define SAFI_LABELED_UNICAST 4 /* RFC 8277 2: read here, no table is made of it */

/*
 * Sets of what a session negotiated are octets with a bit for each enum family, and these for the families that have no
 * number of their own.
 */
#define NLRI_BIT_IPV4_LABELED 0x40
#define NLRI_BIT_IPV6_LABELED 0x80

/* What the octets of a field are. */
struct nlri_form {
	uint8_t afi, safi;
	bool add_path; /* RFC 7911 3 */
	bool multiple_labels; /* RFC 8277 2.3: a stack up to the S bit; without, one label whose S bit is ignored (2.2) */
	bool withdrawn; /* three octets without a meaning where announcements have labels (RFC 8277 2.4) */
};

struct nlri {
	struct prefix prefix; /* host bits cleared */
	uint8_t label_count; /* 0: of a family without labels, or withdrawn */
	uint32_t path_id;
	uint32_t label; /* the first, of 20 bits */
	uint64_t
		rd; /* its octets as a number: type in the two highest (RFC 4364 4.2); VPN families */
	const uint8_t *labels; /* lent: three octets each, points into the message */
};

/* The bit of a pair in sets of families; 0: it is not read here. */
uint8_t nlri_bit(uint16_t afi, uint8_t safi);

/* Reads the next one. False at the end of `r`, or with r->bad set when the field is syntactically incorrect (RFC 7606 5.3). */
bool nlri_read_form(struct rd *r, struct nlri_form form, struct nlri *out);
/* Checks the whole field. */
bool nlri_check_form(struct rd r, struct nlri_form form);

/* The same for the two families that have neither labels nor distinguishers; of others nothing is read, and none is correct. */
bool nlri_read(struct rd *r, enum family f, bool add_path, struct nlri *out);
bool nlri_check(struct rd r, enum family f, bool add_path);
/* Octets that it takes on the wire. */
size_t nlri_wire_len(const struct prefix *p, bool add_path);
void nlri_write(struct wr *w, const struct prefix *p, bool add_path, uint32_t path_id);

/* How many prefixes there are in a field that nlri_check() passed, of a family that has nothing but prefixes; without path ids. */
unsigned nlri_count(struct rd r);
/* Takes the next one of such a field of IPv4 unicast into `out`. There is one. */
static inline void
nlri_take_v4(struct rd *r, struct prefix *out)
{
	unsigned len = *r->p++, octets = (len + 7) / 8;
	uint32_t v = 0;

	for (unsigned i = 0; i < octets; i++)
		v |= (uint32_t)*r->p++ << (24 - 8 * i);
	/* RFC 4271 4.3: what is beyond the length is irrelevant. */
	v &= len == 0 ? 0 : UINT32_MAX << (32 - len);
	prefix_put_octets_v4(out, __builtin_bswap32(v), (uint8_t)len);
}
