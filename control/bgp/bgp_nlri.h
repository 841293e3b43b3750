/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NLRI by AFI/SAFI: RFC 4271 4.3, 4760 5, path identifiers RFC 7911 3, labels RFC 8277 2, route distinguishers RFC 4364 4.3.4
 * and 4659 3.2. Works on its arguments only.
 */
#pragma once

#include "control/bgp/bgp_error.h"
#include "control/bgp/wire.h"
#include "lpm/base/prefix.h"
#include "rib/table/vpn.h"

#include <stdbool.h>
#include <stdint.h>

#define SAFI_LABELED_UNICAST 4 /* RFC 8277 2: decoded, but without a table */
#define SAFI_RT_CONSTRAINT 132 /* RFC 4684 7: memberships, see rt_nlri_read() */

/*
 * Sets of families are octets with a bit for each enum family, and these bits for families outside of enum family.
 */
#define NLRI_BIT_IPV4_LABELED 0x40
#define NLRI_BIT_IPV6_LABELED 0x80

/* Encoding of a field of NLRI. */
struct nlri_form {
	uint8_t afi, safi;
	bool add_path; /* RFC 7911 3 */
	bool multiple_labels; /* RFC 8277 2.3: a label stack up to the S bit; else a single label with ignored S bit (2.2) */
	bool withdrawn; /* withdrawals: three octets without meaning instead of labels (RFC 8277 2.4) */
};

struct nlri {
	struct prefix prefix; /* host bits cleared */
	uint8_t label_count; /* 0: a family without labels, or a withdrawal */
	uint32_t path_id;
	uint32_t label; /* the first label, 20 bits */
	struct vpn_rd rd; /* VPN families */
	const uint8_t *labels; /* lent: three octets each, points into the message */
};

#define LABEL_OCTETS 3u

/* Writes a label as in NLRI, with the S bit on the last label of a stack (RFC 8277 2.2, RFC 3032 2.1). */
static inline void
label_put(uint8_t octets[LABEL_OCTETS], uint32_t label, bool bottom)
{
	octets[0] = (uint8_t)(label >> 12);
	octets[1] = (uint8_t)(label >> 4);
	octets[2] = (uint8_t)(label << 4 | bottom);
}

static inline uint32_t
label_get(const uint8_t octets[LABEL_OCTETS])
{
	return (uint32_t)octets[0] << 12 | (uint32_t)octets[1] << 4 | octets[2] >> 4;
}

/*
 * RFC 4684 4: a membership. `bits` of the target, 0 to 64; the default membership has no origin and
 * no target.
 */
struct rt_nlri {
	uint32_t origin;
	uint64_t target; /* bits beyond the length are 0 */
	uint8_t bits;
};
/* False: end of `r`, or, with r->bad set, a syntactically incorrect field. */
bool rt_nlri_read(struct rd *r, struct rt_nlri *out);
void rt_nlri_write(struct wr *w, const struct rt_nlri *n);

/* The bit of (afi, safi) in sets of families; 0: Keel does not decode the pair. */
uint8_t nlri_bit(uint16_t afi, uint8_t safi);

/* Reads the next NLRI. False: end of `r`, or, with r->bad set, a syntactically incorrect field (RFC 7606 5.3). */
bool nlri_read_form(struct rd *r, struct nlri_form form, struct nlri *out);
/* Checks the whole field. */
bool nlri_check_form(struct rd r, struct nlri_form form);
/* The fault of a field that nlri_check_form() refused; NLRI_SOUND for all other fields. */
enum nlri_fault nlri_fault_find(struct rd r, struct nlri_form form);
/* The largest number of labels of a prefix in a field that passed nlri_check_form(). */
unsigned nlri_labels_most(struct rd r, struct nlri_form form);

/*
 * Length on the wire in octets. 0: the family cannot carry the prefix: wrong address family, no label, several labels without
 * `multiple_labels`, or more than 255 bits. Withdrawals ignore the labels.
 */
size_t nlri_form_len(struct nlri_form form, const struct nlri *n);
/*
 * Writes the prefix if nlri_form_len() is not 0. The last label gets the S bit, all others have none. A withdrawal has 0x800000 in place
 * of labels (RFC 8277 2.4). Returns false, without change, if the prefix cannot be written or does not fit.
 */
bool nlri_write_form(struct wr *w, struct nlri_form form, const struct nlri *n);

/* nlri_read_form() for the two families without labels and distinguishers; false for all other families. */
bool nlri_read(struct rd *r, enum family f, bool add_path, struct nlri *out);
bool nlri_check(struct rd r, enum family f, bool add_path);
/* Length on the wire in octets. */
size_t nlri_wire_len(const struct prefix *p, bool add_path);
void nlri_write(struct wr *w, const struct prefix *p, bool add_path, uint32_t path_id);

/* Number of prefixes in a field that passed nlri_check(), of a family without labels, and without path identifiers. */
unsigned nlri_count(struct rd r);
/* Reads the next prefix of such a field of IPv4 unicast into `out`. The field must not be empty. */
static inline void
nlri_take_v4(struct rd *r, struct prefix *out)
{
	unsigned len = *r->p++, octets = (len + 7) / 8;
	uint32_t v = 0;

	for (unsigned i = 0; i < octets; i++)
		v |= (uint32_t)*r->p++ << (24 - 8 * i);
	/* RFC 4271 4.3: bits beyond the length are irrelevant. */
	v &= len == 0 ? 0 : UINT32_MAX << (32 - len);
	prefix_put_octets_v4(out, __builtin_bswap32(v), (uint8_t)len);
}
