/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/forward/fragment.h"

#include <rte_ip.h>
#include <string.h>

#define HEADER 20
#define HEADER_MAX 60
#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_COPIED 0x80
#define MORE 0x2000 /* flag "more fragments" */
#define OFFSET 0x1fff
#define PACKET_MAX 65535u

/* The packet to fragment. */
struct whole {
	const struct rte_mbuf *m;
	unsigned head; /* offset of the IP header in the frame */
	unsigned header_len, payload;
	bool udp; /* struct split */
	uint16_t fragment; /* flags and offset of the packet, which may be a fragment */
};

static uint16_t
get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void
put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/*
 * The header of later fragments: options with the flag "copied" (RFC 791 3.1), padded to a word.
 * Returns its length. An option with an impossible length ends the options.
 */
static unsigned
later_header(const uint8_t *header, unsigned header_len, uint8_t to[HEADER_MAX])
{
	unsigned used = HEADER;

	memcpy(to, header, HEADER);
	for (unsigned at = HEADER; at < header_len && header[at] != OPTION_END;) {
		unsigned len = header[at] == OPTION_NOP ? 1
			       : at + 1 < header_len	? header[at + 1]
							: 0;

		if (len == 0 || at + len > header_len || (len < 2 && header[at] != OPTION_NOP))
			break;
		if (header[at] & OPTION_COPIED) {
			memcpy(to + used, header + at, len);
			used += len;
		}
		at += len;
	}
	while (used % 4 != 0)
		to[used++] = OPTION_END;
	to[0] = (uint8_t)(0x40 | used / 4);
	return used;
}

/* Copies `len` bytes of the packet's payload from `at`, which may lie in several buffers. */
static void
copy_payload(const struct whole *w, unsigned at, unsigned len, uint8_t *to)
{
	const void *p = rte_pktmbuf_read(w->m, w->head + w->header_len + at, len, to);

	if (p != NULL && p != to)
		memcpy(to, p, len);
}

/* The lengths and the checksum of a UDP tunnel (udp_tunnel.h) in front of a fragment. */
static void
tunnel_lengths(uint8_t *outer, unsigned len)
{
	uint16_t sum;

	put16(outer + 2, len);
	put16(outer + HEADER + 4, len - HEADER);
	put16(outer + 10, 0);
	sum = (uint16_t)~rte_raw_cksum(outer, HEADER);
	memcpy(outer + 10, &sum, sizeof(sum));
}

/* Writes a fragment: payload at[0..len) of the packet behind this header. */
static void
write_fragment(const struct whole *w, const uint8_t *header, unsigned header_len, unsigned at,
	unsigned len, struct rte_mbuf *out)
{
	uint8_t *frame = rte_pktmbuf_mtod(out, uint8_t *), *ip = frame + w->head;
	bool last = at + len == w->payload;
	uint16_t sum;

	out->data_len = (uint16_t)(w->head + header_len + len);
	out->pkt_len = out->data_len;
	memcpy(frame, rte_pktmbuf_mtod(w->m, const uint8_t *), w->head);
	memcpy(ip, header, header_len);
	put16(ip + 2, header_len + len);
	put16(ip + 6,
		(w->fragment & ~OFFSET) | ((w->fragment & OFFSET) + at / 8) | (last ? 0 : MORE));
	put16(ip + 10, 0);
	sum = (uint16_t)~rte_raw_cksum(ip, header_len);
	memcpy(ip + 10, &sum, sizeof(sum));
	copy_payload(w, at, len, ip + header_len);
	if (w->udp)
		tunnel_lengths(frame + ETHER_LEN, out->data_len - ETHER_LEN);
}

bool
fragment_fits(const struct split *x)
{
	const uint8_t *ip = rte_pktmbuf_mtod_offset(x->pkt, const uint8_t *, x->head);

	return (get16(ip + 6) & OFFSET) * 8u + get16(ip + 2) <= PACKET_MAX;
}

unsigned
fragment_v4(const struct split *x, struct rte_mempool *pool, struct rte_mbuf *out[FRAGMENTS_MAX])
{
	const uint8_t *ip = rte_pktmbuf_mtod_offset(x->pkt, const uint8_t *, x->head);
	struct whole w = {.m = x->pkt,
		.head = x->head,
		.header_len = (ip[0] & 15) * 4u,
		.udp = x->udp,
		.fragment = get16(ip + 6)};
	uint8_t later[HEADER_MAX];
	unsigned later_len = later_header(ip, w.header_len, later), first, room, count;

	w.payload = get16(ip + 2) - w.header_len;
	first = (x->mtu - w.header_len) & ~7u;
	room = (x->mtu - later_len) & ~7u;
	count = 1 + (w.payload - first + room - 1) / room;
	if (w.payload <= first || count > FRAGMENTS_MAX || pool == NULL ||
		rte_pktmbuf_data_room_size(pool) < RTE_PKTMBUF_HEADROOM + x->head + x->mtu ||
		rte_pktmbuf_alloc_bulk(pool, out, count) != 0)
		return 0;
	write_fragment(&w, ip, w.header_len, 0, first, out[0]);
	for (unsigned i = 1, at = first; i < count; i++, at += room)
		write_fragment(&w, later, later_len, at,
			w.payload - at < room ? w.payload - at : room, out[i]);
	return count;
}
