/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/bgp_nlri.h"

/* Longest prefix of a family that is read here; 0: none is. */
static unsigned
max_len(enum family f)
{
	switch (f) {
	case FAMILY_IPV4_UNICAST:
		return 32;
	case FAMILY_IPV6_UNICAST:
		return 128;
	default:
		return 0;
	}
}

/* Steps over one: its address octets, and length in bits. NULL and bad when it is syntactically incorrect. */
static inline const uint8_t *
step(struct rd *r, unsigned max, bool add_path, uint32_t *path_id, uint8_t *len)
{
	*path_id = add_path ? rd_u32(r) : 0;
	*len = rd_u8(r);
	/* RFC 7606 5.3: also a length beyond the family's */
	if (*len > max)
		r->bad = true;
	return rd_bytes(r, (*len + 7u) / 8);
}

bool
nlri_read(struct rd *r, enum family f, bool add_path, struct nlri *out)
{
	const uint8_t *p;
	uint8_t len;
	unsigned octets;

	if (r->p == r->end)
		return false;
	memset(out, 0, sizeof(*out));
	p = step(r, max_len(f), add_path, &out->path_id, &len);
	if (!p)
		return false;
	out->prefix.afi = (uint8_t)family_afi(f);
	out->prefix.len = len;
	octets = (len + 7u) / 8;
	memcpy(out->prefix.b, p, octets);
	/* RFC 4271 4.3: what is beyond the length is irrelevant. */
	if (len % 8)
		out->prefix.b[octets - 1] &= (uint8_t)(0xff << (8 - len % 8));
	return true;
}

bool
nlri_check(struct rd r, enum family f, bool add_path)
{
	unsigned max = max_len(f);
	uint32_t path_id;
	uint8_t len;

	if (max == 0)
		return false;
	while (r.p != r.end)
		step(&r, max, add_path, &path_id, &len);
	return !r.bad;
}

size_t
nlri_wire_len(const struct prefix *p, bool add_path)
{
	return (add_path ? 5u : 1u) + (p->len + 7u) / 8;
}

void
nlri_write(struct wr *w, const struct prefix *p, bool add_path, uint32_t path_id)
{
	if (add_path)
		wr_u32(w, path_id);
	wr_u8(w, p->len);
	wr_bytes(w, p->b, (p->len + 7u) / 8);
}
