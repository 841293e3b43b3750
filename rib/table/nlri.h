/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Prefixes in the records between session and shard (struct rib_record), in the wire form of RFC 4271 4.3: a length and the significant
 * octets of the address. An IPv4 /24 takes 4 octets. Three forms add octets: path identifiers (RFC 7911 3), labels, and route
 * distinguishers (RFC 4364 4.2). Works on its arguments only.
 *
 * The order is [path identifier] length [label] [distinguisher] prefix. Unlike the length on the wire of BGP (RFC 8277 2), the length
 * counts the bits of the prefix alone.
 */
#pragma once

#include "lpm/base/prefix.h"
#include "rib/table/vpn.h"

enum rib_nlri_form {
	RIB_NLRI_PATH_ID = 1u << 0, /* four octets before the length */
	RIB_NLRI_LABEL = 1u << 1, /* three octets after the length: one label as a number */
	RIB_NLRI_RD = 1u << 2, /* eight octets before the prefix; in records of VPN families */
};

/* A reader loads addresses as whole words, so these octets after the last prefix must be readable. */
#define RIB_NLRI_SLACK 16u

#define RIB_LABEL_NONE                                                                             \
	0xfffffu /* unicast routes have no label; 0 is a valid label (rib/table/dest.h) */

struct rib_nlri {
	struct prefix prefix;
	uint8_t pad[2];
	uint32_t path_id; /* 0: none */
	uint32_t label; /* 20 bits */
	struct vpn_rd rd; /* 0 without RIB_NLRI_RD */
	uint64_t hash; /* prefix_hash(), with RIB_NLRI_RD vpn_prefix_hash(); 0: not computed */
};

struct rib_nlri_reader {
	const uint8_t *p, *end;
	uint8_t afi;
	uint8_t form; /* bits of enum rib_nlri_form */
};

static inline uint64_t
rib_nlri_number(const uint8_t *p, unsigned octets)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < octets; i++)
		v = v << 8 | p[i];
	return v;
}

static inline uint8_t *
rib_nlri_number_write(uint8_t *p, uint64_t v, unsigned octets)
{
	for (unsigned i = octets; i-- > 0;)
		*p++ = (uint8_t)(v >> 8 * i);
	return p;
}

/* Keeps the first `len` bits, at most 64, of a word in memory order. */
static inline uint64_t
rib_nlri_mask(uint64_t octets, unsigned len)
{
	return len == 0 ? 0 : octets & __builtin_bswap64(UINT64_MAX << (64 - len));
}

/* `octets`: at least 16 are readable. Bits beyond the length are irrelevant (RFC 4271 4.3). */
static inline void
rib_nlri_prefix(const uint8_t *octets, uint8_t afi, uint8_t len, struct prefix *out)
{
	uint64_t w[2];

	if (afi == AFI_IPV4) {
		uint32_t v;

		__builtin_memcpy(&v, octets, sizeof(v));
		prefix_put_octets_v4(
			out, v & __builtin_bswap32((uint32_t)(0xffffffff00000000u >> len)), len);
		return;
	}
	__builtin_memcpy(w, octets, sizeof(w));
	w[0] = rib_nlri_mask(w[0], len < 64 ? len : 64);
	w[1] = rib_nlri_mask(w[1], len > 64 ? len - 64u : 0);
	__builtin_memcpy(out->b, w, sizeof(w));
	out->afi = afi;
	out->len = len;
}

/* Reads the next prefix. False at the end, and for octets that are no prefix: then r->p is before r->end. */
static inline bool
rib_nlri_next(struct rib_nlri_reader *r, struct rib_nlri *out)
{
	unsigned id = r->form & RIB_NLRI_PATH_ID ? 4 : 0, label = r->form & RIB_NLRI_LABEL ? 3 : 0;
	unsigned rd = r->form & RIB_NLRI_RD ? 8 : 0;
	const uint8_t *p = r->p + id;
	uint8_t len;

	if (r->end - r->p <= (ptrdiff_t)id)
		return false;
	len = *p++;
	if (len > (r->afi == AFI_IPV4 ? 32 : 128) ||
		r->end - p < (ptrdiff_t)(label + rd + (len + 7u) / 8))
		return false;
	out->path_id = 0;
	out->label = RIB_LABEL_NONE;
	out->rd.v = 0;
	if (r->form != 0) {
		if (id > 0)
			out->path_id = (uint32_t)rib_nlri_number(r->p, id);
		if (label > 0)
			out->label = (uint32_t)rib_nlri_number(p, label);
		if (rd > 0)
			out->rd.v = rib_nlri_number(p + label, rd);
		p += label + rd;
	}
	rib_nlri_prefix(p, r->afi, len, &out->prefix);
	out->hash = 0;
	r->p = p + (len + 7u) / 8;
	return true;
}

static inline unsigned
rib_nlri_len(const struct rib_nlri *n, unsigned form)
{
	return (form & RIB_NLRI_PATH_ID ? 4u : 0u) + 1u + (form & RIB_NLRI_LABEL ? 3u : 0u) +
	       (form & RIB_NLRI_RD ? 8u : 0u) + (n->prefix.len + 7u) / 8;
}

/* Writes a prefix; returns the end. */
static inline uint8_t *
rib_nlri_write(uint8_t *p, const struct rib_nlri *n, unsigned form)
{
	unsigned octets = (n->prefix.len + 7u) / 8;

	if (form & RIB_NLRI_PATH_ID)
		p = rib_nlri_number_write(p, n->path_id, 4);
	*p++ = n->prefix.len;
	if (form & RIB_NLRI_LABEL)
		p = rib_nlri_number_write(p, n->label, 3);
	if (form & RIB_NLRI_RD)
		p = rib_nlri_number_write(p, n->rd.v, 8);
	for (unsigned i = 0; i < octets; i++)
		*p++ = n->prefix.b[i];
	return p;
}
