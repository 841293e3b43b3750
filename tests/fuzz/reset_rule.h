/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages that may, and messages that must, reset a session: written from RFC 7606 and RFC 4271 6
 * without code of the decoders, so each implementation checks the other.
 */
#pragma once

#include "control/bgp/bgp_attr.h"

struct rule_verdict {
	bool must, may; /* reset the session */
};

static inline unsigned
rule_u16(const uint8_t *p)
{
	return (unsigned)(p[0] << 8 | p[1]);
}

struct rule_field {
	unsigned afi, safi;
	bool add_path, several, withdrawn;
};

/* RFC 4271 4.3, RFC 4760 5, RFC 7911 3, RFC 8277 2, RFC 4364 4.3.4 */
static inline bool
rule_field_is_wrong(const uint8_t *p, size_t len, struct rule_field f)
{
	for (size_t i = 0; i < len;) {
		size_t at = i + (f.add_path ? 4 : 0);
		int bits;

		if (at >= len)
			return true;
		bits = p[at++];
		i = at + (size_t)(bits + 7) / 8;
		if (i > len)
			return true;
		if (f.safi != 1) {
			bool last = false;

			for (; !last; at += 3) {
				bits -= 24;
				if (bits < 0)
					return true;
				last = !f.several || f.withdrawn || p[at + 2] & 1;
			}
		}
		if (f.safi == 128)
			bits -= 64;
		if (bits < 0 || bits > (f.afi == 1 ? 32 : 128))
			return true;
	}
	return false;
}

static inline uint8_t
rule_bit_of(unsigned afi, unsigned safi)
{
	if (afi != 1 && afi != 2)
		return 0;
	return safi == 1     ? (uint8_t)(1u << FAMILY_IPV4_UNICAST << (afi - 1))
	       : safi == 128 ? (uint8_t)(1u << FAMILY_VPNV4_UNICAST << (afi - 1))
	       : safi == 4   ? (uint8_t)(NLRI_BIT_IPV4_LABELED << (afi - 1))
			     : 0;
}

/* RFC 4760 3, RFC 2545 3, RFC 4364 4.3.2, RFC 4659 3.2.1, RFC 8950 3 */
static inline bool
rule_next_hop_is_wrong(unsigned len, unsigned afi, unsigned safi, bool extended)
{
	unsigned rd = safi == 128 ? 8 : 0;

	if (afi == 1 && len == rd + 4)
		return false;
	return (afi == 1 && !extended) || (len != rd + 16 && len != 2 * (rd + 16));
}

/* RFC 7606 5.3, 7.11, 7.12. `*reachable`: routes are announced. */
static inline bool
rule_mp_is_wrong(uint8_t flags, uint8_t type, const uint8_t *p, size_t len,
	const struct bgp_update_options *o, bool *reachable)
{
	size_t head = type == 14 ? 5 : 3;
	struct rule_field f;
	uint8_t bit;

	if ((flags & 0xc0) != 0x80 || len < head)
		return true;
	if (type == 14)
		head += p[3];
	if (len < head)
		return true;
	bit = rule_bit_of(rule_u16(p), p[2]);
	if (!(o->families & bit)) {
		*reachable |= type == 14;
		return false;
	}
	if (type == 14 &&
		rule_next_hop_is_wrong(p[3], rule_u16(p), p[2], o->extended_next_hop & bit))
		return true;
	*reachable |= type == 14 && len > head;
	f = (struct rule_field){
		rule_u16(p), p[2], o->add_path & bit, o->multiple_labels & bit, type == 15};
	return rule_field_is_wrong(p + head, len - head, f);
}

static inline bool
rule_is_known(uint8_t type)
{
	return (type >= 1 && type <= 10) || (type >= 14 && type <= 18) || type == 25 ||
	       type == 32 || type == 35;
}

/*
 * Checks path attributes. `*others`: there are attributes besides MP_UNREACH_NLRI, or octets that
 * are not an attribute.
 */
static inline bool
rule_attributes_must_reset(const uint8_t *p, size_t len, const struct bgp_update_options *o,
	bool *reachable, bool *others)
{
	bool seen[256] = {false};

	for (size_t i = 0; i < len;) {
		size_t head = p[i] & 0x10 ? 4 : 3, n;
		uint8_t type;

		if (len - i < head) {
			*others = true; /* RFC 7606 4: treat as withdraw */
			return false;
		}
		type = p[i + 1];
		n = head == 4 ? rule_u16(p + i + 2) : p[i + 2];
		*others |= type != 15;
		if (n > len - i - head) {
			*others = true;
			return type == 14 || type == 15; /* RFC 7606 3.j */
		}
		if (seen[type]) {
			if (type == 14 || type == 15) /* RFC 7606 3.g */
				return true;
		} else if (type == 14 || type == 15) {
			if (rule_mp_is_wrong(p[i], type, p + i + head, n, o, reachable))
				return true;
		} else if (!rule_is_known(type) && !(p[i] & 0x80)) { /* RFC 4271 6.3 */
			return true;
		}
		seen[type] = true;
		i += head + n;
	}
	return false;
}

/* Checks an UPDATE with a valid header. */
static inline struct rule_verdict
rule_update(const uint8_t *msg, size_t len, const struct bgp_update_options *o)
{
	struct rule_field v4 = {.afi = 1, .safi = 1, .add_path = o->add_path & 1};
	size_t withdrawn = rule_u16(msg + 19), attrs, nlri;
	bool reachable, others = false;
	struct rule_verdict v = {false, false};

	if (23 + withdrawn > len)
		return (struct rule_verdict){true, true};
	attrs = rule_u16(msg + 21 + withdrawn);
	nlri = 23 + withdrawn + attrs;
	if (nlri > len)
		return (struct rule_verdict){true, true};
	reachable = nlri < len;
	v.must = rule_attributes_must_reset(msg + 23 + withdrawn, attrs, o, &reachable, &others) ||
		 rule_field_is_wrong(msg + 21, withdrawn, v4) ||
		 rule_field_is_wrong(msg + nlri, len - nlri, v4);
	/* RFC 7606 5.2: if no route is announced, any error except attribute discard. */
	v.may = v.must || (!reachable && others);
	return v;
}

/*
 * RFC 4271 6.1, RFC 8654 4, RFC 7313 5; the decoder checks the length of a NOTIFICATION (RFC 4271
 * 6.4)
 */
static inline bool
rule_header_is_wrong(const uint8_t *p, size_t max)
{
	static const unsigned least[] = {0, 29, 23, 19, 19, 19};
	unsigned len = rule_u16(p + 16), type = p[18];

	for (unsigned i = 0; i < 16; i++) {
		if (p[i] != 0xff)
			return true;
	}
	if (type < 1 || type > 5 || len < least[type] || len > max)
		return true;
	return (type == 4 && len != 19) || (type == 1 && len > 4096);
}
