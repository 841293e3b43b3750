/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/bgp/bgp_attr.h"

#include "control/bgp/bgp_attr_impl.h"
#include "control/bgp/bgp_msg.h"

static void
write_header(struct wr *w, uint8_t flags, uint8_t type, size_t len)
{
	if (len > UINT8_MAX) {
		wr_u8(w, flags | FLAG_EXTENDED_LENGTH);
		wr_u8(w, type);
		wr_u16(w, (uint16_t)len);
		return;
	}
	wr_u8(w, flags);
	wr_u8(w, type);
	wr_u8(w, (uint8_t)len);
}

static void
write_attr(struct wr *w, uint8_t type, const void *v, size_t len)
{
	write_header(w, bgp_attr_flags(type), type, len);
	wr_bytes(w, v, len);
}

static void
write_attr_u32(struct wr *w, uint8_t type, uint32_t v)
{
	write_header(w, bgp_attr_flags(type), type, 4);
	wr_u32(w, v);
}

static void
write_list(struct wr *w, uint8_t type, const void *v, size_t len)
{
	if (len > 0)
		write_attr(w, type, v, len);
}

/* RFC 6793 4.2.2: AS numbers above two octets become AS_TRANS. */
static void
write_as_path_2(struct wr *w, const struct attr_set *a)
{
	struct rd v = rd_init(attr_as_path(a), a->as_path_len);
	uint8_t *head = w->p;
	size_t start;

	write_header(w, WELL_KNOWN | FLAG_EXTENDED_LENGTH, ATTR_AS_PATH, UINT16_MAX);
	start = wr_len(w);
	while (rd_left(&v) > 0) {
		unsigned count;

		wr_u8(w, rd_u8(&v));
		count = rd_u8(&v);
		wr_u8(w, (uint8_t)count);
		for (; count > 0; count--) {
			uint32_t asn = rd_u32(&v);

			wr_u16(w, asn > UINT16_MAX ? AS_TRANS : (uint16_t)asn);
		}
	}
	if (!w->bad) {
		head[2] = (uint8_t)((wr_len(w) - start) >> 8);
		head[3] = (uint8_t)(wr_len(w) - start);
	}
}

/* Length of AS4_PATH: all but confederation segments, if any AS number needs four octets; else 0. */
static size_t
as4_path_len(const struct attr_set *a)
{
	struct rd v = rd_init(attr_as_path(a), a->as_path_len);
	bool wide = false;
	size_t len = 0;

	while (rd_left(&v) > 0) {
		uint8_t type = rd_u8(&v);
		unsigned count = rd_u8(&v);

		if (!(1u << type & CONFED_SEGMENTS))
			len += 2 + 4 * (size_t)count;
		for (; count > 0; count--)
			wide |= rd_u32(&v) > UINT16_MAX && !(1u << type & CONFED_SEGMENTS);
	}
	return wide ? len : 0;
}

static void
write_as4_path(struct wr *w, const struct attr_set *a)
{
	struct rd v = rd_init(attr_as_path(a), a->as_path_len);
	size_t len = as4_path_len(a);

	if (len == 0)
		return;
	write_header(w, OPTIONAL_TRANSITIVE, ATTR_AS4_PATH, len);
	while (rd_left(&v) > 0) {
		uint8_t type = rd_u8(&v);
		unsigned count = rd_u8(&v);

		if (1u << type & CONFED_SEGMENTS)
			rd_bytes(&v, 4 * (size_t)count);
		else
			write_segment(w, &v, true, type, count);
	}
}

static void
write_aggregator(struct wr *w, const struct attr_set *a, bool as4)
{
	write_header(w, OPTIONAL_TRANSITIVE, ATTR_AGGREGATOR, as4 ? 8 : 6);
	if (as4)
		wr_u32(w, a->aggregator_asn);
	else
		wr_u16(w, a->aggregator_asn > UINT16_MAX ? AS_TRANS : (uint16_t)a->aggregator_asn);
	wr_u32(w, a->aggregator_addr);
}

/* Writes the unknown attributes of types below `type`. */
static void
write_unknown_below(struct wr *w, struct rd *unknown, unsigned type)
{
	while (rd_left(unknown) >= 4 && unknown->p[1] < type) {
		uint8_t flags = rd_u8(unknown);
		uint8_t t = rd_u8(unknown);
		struct rd v = rd_sub(unknown, rd_u16(unknown));

		write_header(w, flags & (uint8_t)~FLAG_EXTENDED_LENGTH, t, rd_left(&v));
		wr_bytes(w, v.p, rd_left(&v));
	}
}

/* Writes the attributes of types 1 to 7. */
static void
write_basics(const struct attr_set *a, bool as4, bool with_next_hop, struct wr *w)
{
	write_attr(w, ATTR_ORIGIN, &a->origin, 1);
	if (as4)
		write_attr(w, ATTR_AS_PATH, attr_as_path(a), a->as_path_len);
	else
		write_as_path_2(w, a);
	if (with_next_hop)
		write_attr(w, ATTR_NEXT_HOP, a->next_hop.b, 4);
	if (a->has & ATTR_HAS_MED)
		write_attr_u32(w, ATTR_MED, a->med);
	if (a->has & ATTR_HAS_LOCAL_PREF)
		write_attr_u32(w, ATTR_LOCAL_PREF, a->local_pref);
	if (a->has & ATTR_HAS_ATOMIC_AGGREGATE)
		write_attr(w, ATTR_ATOMIC_AGGREGATE, NULL, 0);
	if (a->has & ATTR_HAS_AGGREGATOR)
		write_aggregator(w, a, as4);
}

/*
 * Writes the path attributes in ascending order of type, without MP_REACH_NLRI; NEXT_HOP only for IPv4 unicast with an IPv4 next hop. A peer with two-octet
 * AS numbers gets AS_TRANS and AS4_PATH/AS4_AGGREGATOR (RFC 6793 4.2.2). VPN routes always have their extended communities: a route without targets
 * has no use (RFC 4364 4.3.1). False: no room.
 */
static bool
bgp_attrs_encode(const struct attr_set *a, const struct bgp_encode_options *o, enum family f,
	bool with_next_hop, struct wr *w)
{
	struct rd unknown = rd_init(attr_unknown(a), a->unknown_len);
	bool communities = o->send_communities;

	write_basics(a, o->as4, with_next_hop, w);
	if (communities)
		write_list(w, ATTR_COMMUNITIES, attr_communities(a), 4u * a->community_count);
	if (a->has & ATTR_HAS_ORIGINATOR_ID)
		write_attr_u32(w, ATTR_ORIGINATOR_ID, a->originator_id);
	write_list(w, ATTR_CLUSTER_LIST, attr_cluster_list(a), 4u * a->cluster_count);
	write_unknown_below(w, &unknown, ATTR_EXT_COMMUNITIES);
	if (communities || family_safi(f) == SAFI_VPN)
		write_list(w, ATTR_EXT_COMMUNITIES, attr_ext_communities(a),
			8u * a->ext_community_count);
	if (!o->as4) {
		write_as4_path(w, a);
		if (a->has & ATTR_HAS_AGGREGATOR && a->aggregator_asn > UINT16_MAX) {
			write_header(w, OPTIONAL_TRANSITIVE, ATTR_AS4_AGGREGATOR, 8);
			wr_u32(w, a->aggregator_asn);
			wr_u32(w, a->aggregator_addr);
		}
	}
	write_unknown_below(w, &unknown, ATTR_LARGE_COMMUNITIES);
	if (communities)
		write_list(w, ATTR_LARGE_COMMUNITIES, attr_large_communities(a),
			(size_t)LARGE_LEN * a->large_community_count);
	write_unknown_below(w, &unknown, ATTR_OTC);
	if (a->has & ATTR_HAS_OTC)
		write_attr_u32(w, ATTR_OTC, a->otc);
	write_unknown_below(w, &unknown, UINT8_MAX + 1);
	return !w->bad;
}

static void
write_message_header(struct wr *w)
{
	uint8_t *marker = wr_reserve(w, 16);

	if (marker)
		memset(marker, 0xff, 16);
	wr_u16(w, 0); /* length: update_packer_finish() */
	wr_u8(w, BGP_UPDATE);
}

static void
patch_u16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* An address of the next hop field, in VPN families behind a route distinguisher of zero. */
static void
write_next_hop_address(struct wr *w, enum family f, const struct ip_addr *a)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (family_safi(f) == SAFI_VPN)
		wr_u64(w, 0);
	/* RFC 4659 3.2.1.2: IPv6 prefixes over IPv4 have the IPv4 address in IPv6 form */
	if (a->afi == AFI_IPV4 && family_afi(f) == AFI_IPV6)
		wr_bytes(w, mapped, sizeof(mapped));
	wr_bytes(w, a->b, a->afi == AFI_IPV4 ? 4 : 16);
}

size_t
bgp_next_hop_encode(enum family f, const struct ip_addr *next_hop, const struct ip_addr *link_local,
	uint8_t out[BGP_NEXT_HOP_MAX])
{
	struct wr w = wr_init(out, BGP_NEXT_HOP_MAX);

	write_next_hop_address(&w, f, next_hop);
	if (link_local->afi == AFI_IPV6)
		write_next_hop_address(&w, f, link_local);
	return wr_len(&w);
}

/* Can MP_REACH_NLRI of the family carry the next hop? */
static bool
mp_next_hop_fits(enum family f, const struct attr_set *a, bool extended)
{
	bool vpn = family_safi(f) == SAFI_VPN;

	if (a->next_hop.afi == AFI_IPV4)
		return vpn && a->next_hop_link_local.afi == AFI_NONE;
	/* RFC 8950 4 */
	return a->next_hop.afi == AFI_IPV6 && (family_afi(f) == AFI_IPV6 || extended);
}

/* Writes the next hop field of MP_REACH_NLRI. False: the family cannot have this next hop. */
static bool
write_mp_next_hop(struct update_packer *u, const struct attr_set *a, bool extended)
{
	uint8_t octets[BGP_NEXT_HOP_MAX];
	struct wr *w = &u->w;

	if (!mp_next_hop_fits(u->family, a, extended))
		return false;
	u->next_hop_len = (uint8_t)bgp_next_hop_encode(
		u->family, &a->next_hop, &a->next_hop_link_local, octets);
	wr_u16(w, family_afi(u->family));
	wr_u8(w, (uint8_t)family_safi(u->family));
	wr_u8(w, u->next_hop_len);
	u->next_hop_at = wr_len(w);
	wr_bytes(w, octets, u->next_hop_len);
	wr_u8(w, 0);
	return !w->bad;
}

/*
 * RFC 7606 5.1: MP_REACH_NLRI comes first, but the length is known last. The other attributes are kept at the end of the buffer, beyond
 * the reach of the prefixes; update_packer_finish() moves the attributes behind MP_REACH_NLRI.
 */
static bool
begin_mp_reach(
	struct update_packer *u, const struct attr_set *attrs, const struct bgp_encode_options *o)
{
	struct wr scratch = u->w;

	if (!bgp_attrs_encode(attrs, o, u->family, false, &scratch))
		return false;
	u->tail_len = (size_t)(scratch.p - u->w.p);
	u->w.end -= u->tail_len;
	memmove(u->w.end, u->w.p, u->tail_len);
	wr_u8(&u->w, FLAG_OPTIONAL | FLAG_EXTENDED_LENGTH);
	wr_u8(&u->w, ATTR_MP_REACH);
	u->mark = wr_len(&u->w);
	wr_u16(&u->w, 0);
	return write_mp_next_hop(u, attrs, o->extended_next_hop);
}

/* Offset of the value of NEXT_HOP, behind ORIGIN and AS_PATH, which are always present (write_basics()). */
static size_t
next_hop_find(const uint8_t *list)
{
	const uint8_t *p = list + 4;

	p += p[0] & FLAG_EXTENDED_LENGTH ? 4 + ((size_t)p[2] << 8 | p[3]) : 3 + (size_t)p[2];
	return (size_t)(p + 3 - list);
}

bool
update_packer_begin(struct update_packer *u, enum family f, const struct attr_set *attrs,
	const struct bgp_encode_options *o, uint8_t *buf, size_t size)
{
	memset(u, 0, sizeof(*u));
	u->buf = buf;
	u->family = f;
	u->withdraw = !attrs;
	u->add_path = o->add_path;
	u->form = (struct nlri_form){.afi = (uint8_t)family_afi(f),
		.safi = (uint8_t)family_safi(f),
		.add_path = o->add_path,
		.multiple_labels = o->multiple_labels,
		.withdrawn = u->withdraw};
	u->mp = f != FAMILY_IPV4_UNICAST || (attrs && attrs->next_hop.afi != AFI_IPV4);
	u->w = wr_init(buf, size < BGP_EXTENDED_MSG_MAX ? size : BGP_EXTENDED_MSG_MAX);
	if (f >= FAMILY_COUNT)
		return false;
	write_message_header(&u->w);
	u->mark = wr_len(&u->w);
	wr_u16(&u->w, 0); /* length of withdrawn routes */
	if (u->withdraw && !u->mp) {
		/* room for the length of the attributes, behind the prefixes */
		if (u->w.bad || (size_t)(u->w.end - u->w.p) < 2)
			return false;
		u->w.end -= 2;
		return true;
	}
	wr_u16(&u->w, 0); /* length of attributes */
	if (u->withdraw) {
		wr_u8(&u->w, FLAG_OPTIONAL | FLAG_EXTENDED_LENGTH);
		wr_u8(&u->w, ATTR_MP_UNREACH);
		u->mark = wr_len(&u->w);
		wr_u16(&u->w, 0);
		wr_u16(&u->w, family_afi(f));
		wr_u8(&u->w, (uint8_t)family_safi(f));
	} else if (u->mp) {
		if (u->w.bad || !begin_mp_reach(u, attrs, o))
			return false;
	} else {
		u->mark = wr_len(&u->w);
		if (!bgp_attrs_encode(attrs, o, f, true, &u->w))
			return false;
		patch_u16(buf + u->mark - 2, wr_len(&u->w) - u->mark);
		u->next_hop_at = next_hop_find(buf + u->mark) + u->mark;
		u->next_hop_len = 4;
	}
	return !u->w.bad;
}

#define LIST_AT (BGP_HEADER_LEN + 4u) /* of the attributes: behind two lengths */

void
update_packer_communities(const struct update_packer *u, struct update_communities *out)
{
	const uint8_t *p = u->buf + LIST_AT, *end = u->w.p;

	while (p < end && p[1] < ATTR_COMMUNITIES)
		p += p[0] & FLAG_EXTENDED_LENGTH ? 4 + ((size_t)p[2] << 8 | p[3])
						 : 3 + (size_t)p[2];
	*out = (struct update_communities){.at = (uint16_t)(p - u->buf)};
	if (p == end || p[1] != ATTR_COMMUNITIES)
		return;
	out->header = p[0] & FLAG_EXTENDED_LENGTH ? 4 : 3;
	out->values = out->header == 4 ? (uint16_t)(p[2] << 8 | p[3]) : p[2];
}

/* Appends a community unless present. Returns the new length of the values. */
static size_t
community_append(uint8_t *values, size_t len, const uint8_t *value)
{
	for (size_t i = 0; i < len; i += 4)
		if (memcmp(values + i, value, 4) == 0)
			return len;
	memcpy(values + len, value, 4);
	return len + 4;
}

bool
update_packer_append(struct update_packer *u, const uint8_t *begun, size_t len,
	const struct update_communities *at, const uint8_t *values, unsigned count, uint8_t *buf,
	size_t size)
{
	size_t behind = (size_t)at->at + at->header + at->values,
	       all = at->values + 4u * (size_t)count;
	size_t header = all == 0 ? 0 : all > UINT8_MAX ? 4 : 3, have = at->values;
	struct wr w = wr_init(buf, size);

	*u = (struct update_packer){.buf = buf,
		.family = FAMILY_IPV4_UNICAST,
		.form = {.afi = AFI_IPV4, .safi = SAFI_UNICAST}};
	wr_bytes(&w, begun, at->at);
	if (w.bad || (size_t)(w.end - w.p) < header + all + (len - behind))
		return false;
	memcpy(w.p + header, begun + at->at + at->header, have);
	for (unsigned i = 0; i < count; i++)
		have = community_append(w.p + header, have, values + 4 * i);
	if (header == 4 && have <= UINT8_MAX) /* the values beyond were present */
		memmove(w.p + 3, w.p + 4, have);
	if (have > 0)
		write_header(&w, bgp_attr_flags(ATTR_COMMUNITIES), ATTR_COMMUNITIES, have);
	w.p += have;
	wr_bytes(&w, begun + behind, len - behind);
	patch_u16(buf + LIST_AT - 2, wr_len(&w) - LIST_AT);
	u->w = wr_init(buf, BGP_MSG_MAX);
	u->w.p = w.p;
	return true;
}

bool
update_packer_add(struct update_packer *u, const struct prefix *p, uint32_t path_id)
{
	if (u->form.safi != SAFI_UNICAST ||
		(size_t)(u->w.end - u->w.p) < nlri_wire_len(p, u->add_path))
		return false;
	nlri_write(&u->w, p, u->add_path, path_id);
	u->count++;
	return true;
}

bool
update_packer_add_form(struct update_packer *u, const struct nlri *n)
{
	if (!nlri_write_form(&u->w, u->form, n))
		return false;
	u->count++;
	return true;
}

size_t
update_packer_finish(struct update_packer *u)
{
	size_t len;

	if (u->count == 0 || u->w.bad)
		return 0;
	if (u->mp) {
		patch_u16(u->buf + u->mark, wr_len(&u->w) - u->mark - 2);
		memmove(u->w.p, u->w.end, u->tail_len);
		u->w.p += u->tail_len;
		u->w.end += u->tail_len;
		patch_u16(u->buf + BGP_HEADER_LEN + 2, wr_len(&u->w) - BGP_HEADER_LEN - 4);
	} else if (u->withdraw) {
		patch_u16(u->buf + u->mark, wr_len(&u->w) - u->mark - 2);
		u->w.end += 2;
		wr_u16(&u->w, 0);
	}
	len = wr_len(&u->w);
	patch_u16(u->buf + 16, len);
	return len;
}

size_t
bgp_end_of_rib_encode(enum family f, uint8_t *buf, size_t size)
{
	struct wr w = wr_init(buf, size);

	write_message_header(&w);
	wr_u16(&w, 0);
	if (f == FAMILY_IPV4_UNICAST) {
		wr_u16(&w, 0);
	} else {
		wr_u16(&w, 6);
		write_header(&w, OPTIONAL, ATTR_MP_UNREACH, 3);
		wr_u16(&w, family_afi(f));
		wr_u8(&w, (uint8_t)family_safi(f));
	}
	if (w.bad)
		return 0;
	patch_u16(buf + 16, wr_len(&w));
	return wr_len(&w);
}

/* RFC 6396 4.3.4: of MP_REACH_NLRI only the length of the next hop and the next hop. */
bool
bgp_attrs_encode_table(const struct attr_set *a, enum family f, struct wr *w)
{
	static const struct bgp_encode_options o = {.as4 = true, .send_communities = true};
	bool with_next_hop = f == FAMILY_IPV4_UNICAST && a->next_hop.afi == AFI_IPV4;
	uint8_t next_hop[BGP_NEXT_HOP_MAX];
	size_t len;

	if (!bgp_attrs_encode(a, &o, f, with_next_hop, w))
		return false;
	if (!with_next_hop && a->next_hop.afi != AFI_NONE) {
		len = bgp_next_hop_encode(f, &a->next_hop, &a->next_hop_link_local, next_hop);
		write_header(w, OPTIONAL, ATTR_MP_REACH, len + 1);
		wr_u8(w, (uint8_t)len);
		wr_bytes(w, next_hop, len);
	}
	return !w->bad;
}
