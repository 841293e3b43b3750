/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/session/mrt.h"

#include "control/bgp/bgp_attr.h"

enum { TABLE_DUMP_V2 = 13, PEER_IPV6 = 1, PEER_AS4 = 2, HEADER = 12 };

/* `p` of wr_reserve(), NULL included. */
static void
fill_u16(uint8_t *p, size_t v)
{
	if (p == NULL)
		return;
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* RFC 6396 2 */
static void
begin(struct mrt_record *r, uint8_t *buf, size_t size, uint32_t time_s, unsigned subtype)
{
	*r = (struct mrt_record){.w = wr_init(buf, size)};
	wr_u32(&r->w, time_s);
	wr_u16(&r->w, TABLE_DUMP_V2);
	wr_u16(&r->w, (uint16_t)subtype);
	wr_u32(&r->w, 0); /* the length: mrt_end() */
}

size_t
mrt_end(struct mrt_record *r)
{
	size_t len = wr_len(&r->w) - HEADER;

	if (r->w.bad)
		return 0;
	fill_u16(r->count_at, r->count);
	fill_u16(r->w.start + HEADER - 4, len >> 16);
	fill_u16(r->w.start + HEADER - 2, len & 0xffff);
	return wr_len(&r->w);
}

/* RFC 6396 4.3.1 */
void
mrt_begin_index(
	struct mrt_record *r, uint8_t *buf, size_t size, uint32_t time_s, uint32_t router_id)
{
	begin(r, buf, size, time_s, MRT_PEER_INDEX_TABLE);
	wr_u32(&r->w, router_id);
	wr_u16(&r->w, 0); /* no view name */
	r->count_at = wr_reserve(&r->w, 2);
}

void
mrt_peer(struct mrt_record *r, uint32_t identifier, const struct ip_addr *a, uint32_t asn)
{
	bool v6 = a->afi == AFI_IPV6;

	wr_u8(&r->w, PEER_AS4 | (v6 ? PEER_IPV6 : 0));
	wr_u32(&r->w, identifier);
	wr_bytes(&r->w, a->b, v6 ? 16 : 4);
	wr_u32(&r->w, asn);
	r->count++;
}

/* RFC 6396 4.3.2, RFC 8050 4 */
void
mrt_begin_prefix(struct mrt_record *r, uint8_t *buf, size_t size, uint32_t time_s,
	uint32_t sequence, const struct prefix *p, bool add_path)
{
	unsigned subtype = p->afi == AFI_IPV6 ? MRT_RIB_IPV6 : MRT_RIB_IPV4;

	begin(r, buf, size, time_s, subtype + (add_path ? MRT_ADD_PATH : 0));
	wr_u32(&r->w, sequence);
	wr_u8(&r->w, p->len);
	wr_bytes(&r->w, p->b, (p->len + 7u) / 8);
	r->count_at = wr_reserve(&r->w, 2);
}

/* RFC 6396 4.3.4 */
bool
mrt_route(struct mrt_record *r, const struct mrt_route *route, enum family f, bool add_path)
{
	uint8_t *at = r->w.p, *len_at;
	size_t before, len;

	wr_u16(&r->w, route->peer);
	wr_u32(&r->w, route->time_s);
	if (add_path)
		wr_u32(&r->w, route->path_id);
	len_at = wr_reserve(&r->w, 2);
	before = wr_len(&r->w);
	if (!r->w.bad)
		(void)bgp_attrs_encode_table(route->attrs, f, &r->w);
	len = wr_len(&r->w) - before;
	if (len > UINT16_MAX) {
		r->w.p = at;
		return r->w.bad;
	}
	fill_u16(len_at, len);
	r->count++;
	return true;
}
