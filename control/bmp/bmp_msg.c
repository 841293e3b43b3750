/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/bmp/bmp_msg.h"

#define VERSION 3
#define NS_PER_US 1000u
#define NS_PER_SECOND 1000000000u

/* RFC 7854 4.1, 4.2 */
size_t
bmp_begin(struct wr *w, enum bmp_type type, const struct bmp_peer *peer, uint64_t time_ns)
{
	size_t at = wr_len(w);

	wr_u8(w, VERSION);
	wr_u32(w, 0); /* bmp_end() */
	wr_u8(w, (uint8_t)type);
	if (peer == NULL)
		return at;
	wr_u8(w, peer->type);
	wr_u8(w, peer->flags);
	wr_u64(w, peer->distinguisher);
	bmp_address(w, &peer->addr);
	wr_u32(w, peer->asn);
	wr_u32(w, peer->identifier);
	wr_u32(w, (uint32_t)(time_ns / NS_PER_SECOND));
	wr_u32(w, (uint32_t)(time_ns % NS_PER_SECOND / NS_PER_US));
	return at;
}

void
bmp_end(struct wr *w, size_t at)
{
	struct wr len = wr_init(w->start + at + 1, 4);

	if (!w->bad)
		wr_u32(&len, (uint32_t)(wr_len(w) - at));
}

/* RFC 7854 4.4 */
void
bmp_tlv(struct wr *w, uint16_t type, const void *value, size_t len)
{
	wr_u16(w, type);
	wr_u16(w, (uint16_t)len);
	wr_bytes(w, value, len);
}

void
bmp_address(struct wr *w, const struct ip_addr *a)
{
	static const uint8_t zero[16];
	size_t len = a->afi == AFI_IPV6 ? 16 : a->afi == AFI_IPV4 ? 4 : 0;

	wr_bytes(w, zero, 16 - len);
	wr_bytes(w, a->b, len);
}

/* RFC 7854 4.8 */
void
bmp_counter(struct wr *w, enum bmp_statistic s, uint32_t v)
{
	wr_u16(w, (uint16_t)s);
	wr_u16(w, 4);
	wr_u32(w, v);
}

void
bmp_gauge(struct wr *w, enum bmp_statistic s, uint64_t v)
{
	wr_u16(w, (uint16_t)s);
	wr_u16(w, 8);
	wr_u64(w, v);
}

void
bmp_gauge_family(struct wr *w, enum bmp_statistic s, enum family f, uint64_t v)
{
	wr_u16(w, (uint16_t)s);
	wr_u16(w, 11);
	wr_u16(w, (uint16_t)family_afi(f));
	wr_u8(w, (uint8_t)family_safi(f));
	wr_u64(w, v);
}
