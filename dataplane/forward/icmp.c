/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/forward/icmp.h"

#include <rte_ip.h>
#include <string.h>

#define ICMP_HEADER 8
#define QUOTE_V4_MAX (576 - 20 - ICMP_HEADER) /* RFC 1812 4.3.2.3 */
#define QUOTE_V6_MAX (1280 - 40 - ICMP_HEADER) /* RFC 4443 2.4 (c) */
#define PRECEDENCE 0xc0 /* RFC 1812 4.3.2.5: internetwork control */
#define OUR_TTL 64
#define EXTENSIONS_MAX 8
/* 192.0.0.8: source of a router without an IPv4 address on the port, RFC 7600 4.8 */
#define V4_DUMMY 0xc0000008

/* ---- source addresses ---- */

static bool
source_read(const struct icmp_source *s, void *out)
{
	/* acquire: each pairs with its store in source_write (icmp_source.c) */
	uint32_t version = atomic_load_explicit(&s->version, memory_order_acquire);
	uint32_t set = atomic_load_explicit(&s->set, memory_order_acquire);
	uint64_t half[2] = {atomic_load_explicit(&s->half[0], memory_order_acquire),
		atomic_load_explicit(&s->half[1], memory_order_acquire)};

	memcpy(out, half, sizeof(half));
	return set && (version & 1) == 0 &&
	       version == atomic_load_explicit(&s->version, memory_order_relaxed);
}

/* ---- is an error allowed? ---- */

/*
 * RFC 1812 4.3.2.7: for ICMP packets, only if the type is a known query (RFC 792, 950, 1256,
 * 8335); an unknown type may be an error.
 */
static bool
is_query_v4(uint8_t type)
{
	return type == 0 || (type >= 8 && type <= 10) || (type >= 13 && type <= 18) || type == 42 ||
	       type == 43;
}

static bool
allowed_v4(const uint8_t *packet, unsigned len)
{
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)packet;
	unsigned header_len = (ip->version_ihl & RTE_IPV4_HDR_IHL_MASK) * 4u;

	if (ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK))
		return false;
	if (ip->next_proto_id != IPPROTO_ICMP)
		return true;
	return len > header_len && is_query_v4(packet[header_len]);
}

/*
 * Length of the extension header `type` at `at`. Returns 0 for other headers, and for headers that
 * end the chain.
 */
static unsigned
extension_len(uint8_t type, const uint8_t *at)
{
	switch (type) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
		return (at[1] + 1u) * 8;
	case IPPROTO_FRAGMENT:
		return 8;
	case IPPROTO_AH:
		return (at[1] + 2u) * 4;
	default:
		return 0;
	}
}

/*
 * RFC 4443 2.4 (e): no error about an ICMP error or a Redirect; both may follow more headers than
 * are checked here. By 2.4 (c) both have at most 1,280 octets, so no fragments: a later fragment
 * belongs to an informational message.
 */
static bool
allowed_v6(const uint8_t *packet, unsigned len)
{
	uint8_t type = packet[6];
	unsigned at = 40;

	for (unsigned i = 0; i < EXTENSIONS_MAX; i++) {
		unsigned step;

		if (type == IPPROTO_ICMPV6)
			return at < len && packet[at] >= 128 && packet[at] != 137;
		if (at + 8 > len)
			return extension_len(type, packet) == 0;
		step = extension_len(type, packet + at);
		if (step == 0)
			return true;
		if (type == IPPROTO_FRAGMENT && (packet[at + 2] != 0 || (packet[at + 3] & 0xf8)))
			return true;
		type = packet[at];
		at += step;
	}
	return false;
}

/* RFC 1812 4.3.3.4: fragmentation was needed and not allowed. */
static bool
may_not_fragment(const uint8_t *packet)
{
	return packet[6] & 0x40;
}

bool
icmp_allowed(const struct fault *f)
{
	const uint8_t *packet = rte_pktmbuf_mtod_offset(f->pkt, const uint8_t *, ETHER_LEN);
	unsigned len = rte_pktmbuf_data_len(f->pkt) - ETHER_LEN;

	if (f->afi == AFI_IPV6)
		return allowed_v6(packet, len);
	return allowed_v4(packet, len) && (f->reason != DROP_too_big || may_not_fragment(packet));
}

/* ---- the message ---- */

struct message {
	uint8_t type, code;
	uint32_t last; /* second word, in host order */
};

/* RFC 792; RFC 1812 4.3.3.1; RFC 1191 4 */
static struct message
message_v4(const struct fault *f)
{
	switch (f->reason) {
	case DROP_ttl_expired:
		return (struct message){11, 0, 0};
	case DROP_too_big:
		return (struct message){3, 4, f->mtu};
	case DROP_no_route:
		return (struct message){3, 0, 0};
	default:
		return (struct message){3, 1, 0};
	}
}

/* RFC 4443 3.1 to 3.3 */
static struct message
message_v6(const struct fault *f)
{
	switch (f->reason) {
	case DROP_ttl_expired:
		return (struct message){3, 0, 0};
	case DROP_too_big:
		return (struct message){2, 0, f->mtu};
	case DROP_no_route:
		return (struct message){1, 0, 0};
	default:
		return (struct message){1, 3, 0};
	}
}

static void
write_message(uint8_t *to, struct message message)
{
	uint32_t last = rte_cpu_to_be_32(message.last);

	to[0] = message.type;
	to[1] = message.code;
	memset(to + 2, 0, 2);
	memcpy(to + 4, &last, sizeof(last));
}

/*
 * Makes room for `header` bytes between the Ethernet header and at most `quote` bytes of the
 * packet. Returns the address of the room, or NULL.
 */
static uint8_t *
make_room(struct rte_mbuf *m, unsigned header, unsigned quote)
{
	unsigned len = rte_pktmbuf_data_len(m) - ETHER_LEN;
	uint8_t *start;

	if (m->nb_segs != 1 || rte_pktmbuf_headroom(m) < header)
		return NULL;
	if (len > quote)
		(void)rte_pktmbuf_trim(m, (uint16_t)(len - quote));
	start = (uint8_t *)rte_pktmbuf_prepend(m, (uint16_t)header);
	memset(start, 0, ETHER_LEN);
	return start + ETHER_LEN;
}

static bool
make_v4(const struct fault *f, const struct icmp_source *source)
{
	const struct rte_ipv4_hdr *about =
		rte_pktmbuf_mtod_offset(f->pkt, const struct rte_ipv4_hdr *, ETHER_LEN);
	uint32_t to = about->src_addr;
	struct rte_ipv4_hdr ip = {
		.version_ihl = RTE_IPV4_VHL_DEF,
		.type_of_service = PRECEDENCE,
		.fragment_offset =
			RTE_BE16(RTE_IPV4_HDR_DF_FLAG), /* RFC 6864 4.1: allows the id 0 */
		.time_to_live = OUR_TTL,
		.next_proto_id = IPPROTO_ICMP,
		.dst_addr = to,
	};
	uint8_t from[16], *at;
	unsigned len;
	uint16_t sum;

	if (source != NULL && source_read(source, from))
		memcpy(&ip.src_addr, from, sizeof(ip.src_addr));
	else
		ip.src_addr = RTE_BE32(V4_DUMMY);
	at = make_room(f->pkt, sizeof(ip) + ICMP_HEADER, QUOTE_V4_MAX);
	if (at == NULL)
		return false;
	len = rte_pktmbuf_data_len(f->pkt) - ETHER_LEN;
	ip.total_length = rte_cpu_to_be_16((uint16_t)len);
	ip.hdr_checksum = rte_ipv4_cksum(&ip);
	memcpy(at, &ip, sizeof(ip));
	write_message(at + sizeof(ip), message_v4(f));
	sum = (uint16_t)~rte_raw_cksum(at + sizeof(ip), len - sizeof(ip));
	memcpy(at + sizeof(ip) + 2, &sum, sizeof(sum));
	return true;
}

static bool
make_v6(const struct fault *f, const struct icmp_source *source)
{
	const struct rte_ipv6_hdr *about =
		rte_pktmbuf_mtod_offset(f->pkt, const struct rte_ipv6_hdr *, ETHER_LEN);
	struct rte_ipv6_hdr ip = {
		.vtc_flow = RTE_BE32(0x60000000 | PRECEDENCE << 20),
		.proto = IPPROTO_ICMPV6,
		.hop_limits = OUR_TTL,
	};
	unsigned len;
	uint16_t sum;
	uint8_t *at;

	if (source == NULL)
		memcpy(&ip.src_addr, &about->src_addr, sizeof(ip.src_addr));
	else if (!source_read(source, &ip.src_addr))
		return false;
	memcpy(&ip.dst_addr, &about->src_addr, sizeof(ip.dst_addr));
	at = make_room(f->pkt, sizeof(ip) + ICMP_HEADER, QUOTE_V6_MAX);
	if (at == NULL)
		return false;
	len = rte_pktmbuf_data_len(f->pkt) - ETHER_LEN;
	ip.payload_len = rte_cpu_to_be_16((uint16_t)(len - sizeof(ip)));
	memcpy(at, &ip, sizeof(ip));
	write_message(at + sizeof(ip), message_v6(f));
	sum = rte_ipv6_udptcp_cksum(&ip, at + sizeof(ip));
	memcpy(at + sizeof(ip) + 2, &sum, sizeof(sum));
	return true;
}

bool
icmp_make(
	struct burst *out, const struct fault *f, const struct icmp_sources *sources, uint16_t port)
{
	const struct icmp_source *source = &sources->port[port][f->afi == AFI_IPV6];
	const uint8_t *to;

	if (!(f->afi == AFI_IPV4 ? make_v4(f, source) : make_v6(f, source)))
		return false;
	to = rte_pktmbuf_mtod_offset(f->pkt, const uint8_t *, ETHER_LEN);
	if (f->afi == AFI_IPV4) {
		out->v4.destination.v4[out->v4.count] =
			rte_be_to_cpu_32(((const struct rte_ipv4_hdr *)to)->dst_addr);
		out->v4.pkt[out->v4.count++] = f->pkt;
	} else {
		memcpy(out->v6.destination.v6[out->v6.count], to + 24,
			sizeof(out->v6.destination.v6[0]));
		out->v6.pkt[out->v6.count++] = f->pkt;
	}
	return true;
}

bool
icmp_make_local(const struct fault *f)
{
	return f->afi == AFI_IPV4 ? make_v4(f, NULL) : make_v6(f, NULL);
}
