/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/bgp/bgp_nlri.h"

uint8_t
nlri_bit(uint16_t afi, uint8_t safi)
{
	enum family f = family_from_afi_safi(afi, safi);

	if (f != FAMILY_COUNT)
		return (uint8_t)(1u << f);
	if (safi != SAFI_LABELED_UNICAST || (afi != AFI_IPV4 && afi != AFI_IPV6))
		return 0;
	return afi == AFI_IPV4 ? NLRI_BIT_IPV4_LABELED : NLRI_BIT_IPV6_LABELED;
}

/* Longest prefix of a family without labels; 0 for all other families. */
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

/* Consumes a prefix: returns the address octets, and the length in bits. NULL and bad: syntactically incorrect. */
static inline const uint8_t *
step(struct rd *r, unsigned max, bool add_path, uint32_t *path_id, uint8_t *len)
{
	*path_id = add_path ? rd_u32(r) : 0;
	*len = rd_u8(r);
	/* RFC 7606 5.3: also a length above the maximum of the family */
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
	/* RFC 4271 4.3: bits beyond the length are irrelevant. */
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

unsigned
nlri_count(struct rd r)
{
	unsigned count = 0;

	for (; r.p < r.end; count++)
		r.p += 1 + (*r.p + 7u) / 8;
	return count;
}

/* RFC 8277 2.2 to 2.4: consumes the labels at the start of `v`; `*bits` is the length field of the prefix. False: truncated. */
static bool
labels_read(struct rd *v, unsigned *bits, struct nlri_form form, struct nlri *out)
{
	const uint8_t *p;
	unsigned count = 0;

	out->labels = v->p;
	do {
		p = rd_bytes(v, 3);
		if (!p || *bits < 24)
			return false;
		*bits -= 24;
		count++;
	} while (form.multiple_labels && !form.withdrawn && !(p[2] & 1));
	if (form.withdrawn)
		return true;
	out->label_count = (uint8_t)count;
	p = out->labels;
	out->label = (uint32_t)p[0] << 12 | (uint32_t)p[1] << 4 | p[2] >> 4;
	return true;
}

/* Consumes the parts under the length field of a prefix: labels, route distinguisher, address. */
static bool
labelled_read(struct rd *v, unsigned bits, struct nlri_form form, struct nlri *out)
{
	size_t octets;

	if (!labels_read(v, &bits, form, out))
		return false;
	if (form.safi == SAFI_VPN) {
		if (bits < 64)
			return false;
		out->rd = rd_u64(v);
		bits -= 64;
	}
	if (bits > prefix_max_len((enum afi)form.afi))
		return false;
	out->prefix.afi = form.afi;
	out->prefix.len = (uint8_t)bits;
	octets = (bits + 7) / 8;
	memcpy(out->prefix.b, v->p, octets);
	/* RFC 4271 4.3: bits beyond the length are irrelevant. */
	if (bits % 8)
		out->prefix.b[octets - 1] &= (uint8_t)(0xff << (8 - bits % 8));
	return true;
}

bool
nlri_read_form(struct rd *r, struct nlri_form form, struct nlri *out)
{
	struct rd v;
	unsigned bits;

	if (form.safi == SAFI_UNICAST)
		return nlri_read(r, family_from_afi_safi(form.afi, form.safi), form.add_path, out);
	if (r->p == r->end)
		return false;
	memset(out, 0, sizeof(*out));
	out->path_id = form.add_path ? rd_u32(r) : 0;
	bits = rd_u8(r);
	v = rd_sub(r, (bits + 7) / 8);
	if (nlri_bit(form.afi, form.safi) != 0 && !r->bad && labelled_read(&v, bits, form, out))
		return true;
	*r = (struct rd){r->end, r->end, true};
	return false;
}

bool
nlri_check_form(struct rd r, struct nlri_form form)
{
	struct nlri n;

	if (form.safi == SAFI_UNICAST)
		return nlri_check(r, family_from_afi_safi(form.afi, form.safi), form.add_path);
	while (nlri_read_form(&r, form, &n))
		;
	return !r.bad && nlri_bit(form.afi, form.safi) != 0;
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
