/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/bgp/bgp_nlri.h"

static_assert(NLRI_BIT_IPV4_LABELED >= 1u << FAMILY_COUNT, "a bit for each family");

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

/* RFC 8277 2.2 to 2.4: consumes the labels at the start of `v`; `*bits` is the length field of the prefix. */
static enum nlri_fault
labels_read(struct rd *v, unsigned *bits, struct nlri_form form, struct nlri *out)
{
	const uint8_t *p;
	unsigned count = 0;

	out->labels = v->p;
	do {
		p = rd_bytes(v, LABEL_OCTETS);
		if (!p || *bits < 8 * LABEL_OCTETS)
			return count == 0 ? NLRI_NO_LABEL : NLRI_NO_BOTTOM;
		*bits -= 8 * LABEL_OCTETS;
		count++;
	} while (form.multiple_labels && !form.withdrawn && !(p[2] & 1));
	if (form.withdrawn)
		return NLRI_SOUND;
	out->label_count = (uint8_t)count;
	out->label = label_get(out->labels);
	return NLRI_SOUND;
}

/* Consumes the parts under the length field of a prefix: labels, route distinguisher, address. */
static enum nlri_fault
labelled_read(struct rd *v, unsigned bits, struct nlri_form form, struct nlri *out)
{
	enum nlri_fault fault = labels_read(v, &bits, form, out);
	size_t octets;

	if (fault != NLRI_SOUND)
		return fault;
	if (form.safi == SAFI_VPN) {
		if (bits < 64)
			return NLRI_NO_DISTINGUISHER;
		out->rd.v = rd_u64(v);
		bits -= 64;
	}
	if (bits > prefix_max_len((enum afi)form.afi))
		return NLRI_TOO_LONG;
	out->prefix.afi = form.afi;
	out->prefix.len = (uint8_t)bits;
	octets = (bits + 7) / 8;
	memcpy(out->prefix.b, v->p, octets);
	/* RFC 4271 4.3: bits beyond the length are irrelevant. */
	if (bits % 8)
		out->prefix.b[octets - 1] &= (uint8_t)(0xff << (8 - bits % 8));
	return NLRI_SOUND;
}

/* Consumes a prefix of a family with labels. `r` is not empty. */
static enum nlri_fault
form_read(struct rd *r, struct nlri_form form, struct nlri *out)
{
	enum nlri_fault fault;
	struct rd v;
	unsigned bits;

	memset(out, 0, sizeof(*out));
	out->path_id = form.add_path ? rd_u32(r) : 0;
	bits = rd_u8(r);
	v = rd_sub(r, (bits + 7) / 8);
	if (r->bad)
		return NLRI_CUT;
	fault = labelled_read(&v, bits, form, out);
	if (fault != NLRI_SOUND)
		*r = (struct rd){r->end, r->end, true};
	return fault;
}

bool
nlri_read_form(struct rd *r, struct nlri_form form, struct nlri *out)
{
	if (form.safi == SAFI_UNICAST)
		return nlri_read(r, family_from_afi_safi(form.afi, form.safi), form.add_path, out);
	if (r->p == r->end)
		return false;
	if (nlri_bit(form.afi, form.safi) == 0) {
		*r = (struct rd){r->end, r->end, true};
		return false;
	}
	return form_read(r, form, out) == NLRI_SOUND;
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

enum nlri_fault
nlri_fault_find(struct rd r, struct nlri_form form)
{
	enum nlri_fault fault = NLRI_SOUND;
	struct nlri n;

	if (form.safi == SAFI_UNICAST) {
		const uint8_t *start = r.p;

		while (nlri_read_form(&r, form, &n))
			start = r.p;
		if (!r.bad)
			return NLRI_SOUND;
		r = rd_init(start, (size_t)(r.end - start));
		rd_bytes(&r, form.add_path ? 4 : 0);
		return rd_u8(&r) > prefix_max_len((enum afi)form.afi) ? NLRI_TOO_LONG : NLRI_CUT;
	}
	while (fault == NLRI_SOUND && r.p != r.end)
		fault = form_read(&r, form, &n);
	return fault;
}

unsigned
nlri_labels_most(struct rd r, struct nlri_form form)
{
	unsigned most = 0;
	struct nlri n;

	while (nlri_read_form(&r, form, &n))
		most = n.label_count > most ? n.label_count : most;
	return most;
}

size_t
nlri_form_len(struct nlri_form form, const struct nlri *n)
{
	size_t labels = form.withdrawn ? 1 : n->label_count, bits = n->prefix.len;

	if (n->prefix.afi != form.afi || nlri_bit(form.afi, form.safi) == 0)
		return 0;
	if (form.safi != SAFI_UNICAST) {
		/* RFC 8277 2: several labels only if both sides announced the capability */
		if (labels == 0 || (labels > 1 && !form.multiple_labels))
			return 0;
		bits += 8 * LABEL_OCTETS * labels + (form.safi == SAFI_VPN ? 64 : 0);
	}
	return bits > UINT8_MAX ? 0 : (form.add_path ? 5u : 1u) + (bits + 7) / 8;
}

static void
labels_write(uint8_t *p, struct nlri_form form, const struct nlri *n)
{
	if (form.withdrawn) { /* RFC 8277 2.4 */
		memcpy(p, (const uint8_t[]){0x80, 0, 0}, LABEL_OCTETS);
		return;
	}
	memcpy(p, n->labels, (size_t)LABEL_OCTETS * n->label_count);
	for (unsigned i = 0; i < n->label_count; i++, p += LABEL_OCTETS)
		p[2] = (uint8_t)((p[2] & ~1u) | (i + 1u == n->label_count));
}

bool
nlri_write_form(struct wr *w, struct nlri_form form, const struct nlri *n)
{
	size_t len = nlri_form_len(form, n), octets = (n->prefix.len + 7u) / 8;
	size_t labels = form.safi == SAFI_UNICAST ? 0 : form.withdrawn ? 1 : n->label_count;
	size_t rd_len = form.safi == SAFI_VPN ? 8 : 0;
	uint8_t *p;

	if (len == 0 || w->bad || (size_t)(w->end - w->p) < len)
		return false;
	if (form.add_path)
		wr_u32(w, n->path_id);
	wr_u8(w, (uint8_t)(8 * LABEL_OCTETS * labels + 8 * rd_len + n->prefix.len));
	p = wr_reserve(w, LABEL_OCTETS * labels);
	if (labels > 0)
		labels_write(p, form, n);
	if (rd_len > 0)
		wr_u64(w, n->rd.v);
	wr_bytes(w, n->prefix.b, octets);
	return true;
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

bool
rt_nlri_read(struct rd *r, struct rt_nlri *out)
{
	unsigned bits, octets;
	const uint8_t *p;

	*out = (struct rt_nlri){0};
	if (r->p == r->end)
		return false;
	bits = rd_u8(r);
	octets = (bits + 7) / 8;
	p = rd_bytes(r, octets);
	/* RFC 4684 4: no prefix is shorter than the AS number, but for the default */
	if (p == NULL || bits > 96 || (bits > 0 && bits < 32)) {
		*r = (struct rd){r->end, r->end, true};
		return false;
	}
	for (unsigned i = 0; i < octets && i < 4; i++)
		out->origin = out->origin << 8 | p[i];
	for (unsigned i = 4; i < octets; i++)
		out->target |= (uint64_t)p[i] << (56 - 8 * (i - 4));
	out->bits = (uint8_t)(bits > 32 ? bits - 32 : 0);
	out->target &= out->bits == 0 ? 0 : UINT64_MAX << (64 - out->bits);
	return true;
}

void
rt_nlri_write(struct wr *w, const struct rt_nlri *n)
{
	bool all = n->origin == 0 && n->bits == 0;

	wr_u8(w, (uint8_t)(all ? 0 : 32 + n->bits));
	if (all)
		return;
	wr_u32(w, n->origin);
	for (unsigned i = 0; i < (n->bits + 7u) / 8; i++)
		wr_u8(w, (uint8_t)(n->target >> (56 - 8 * i)));
}
