/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of BMP (RFC 7854 4), with the peer types and flags of RFC 8671 and RFC 9069. Pure functions over a
 * writer: a message without room leaves the writer `bad`. bmp_end() fills in the length.
 */
#pragma once

#include "control/bgp/wire.h"
#include "lpm/base/prefix.h"
#include "rib/table/vpn.h"

enum bmp_type {
	BMP_ROUTE_MONITORING,
	BMP_STATISTICS,
	BMP_PEER_DOWN,
	BMP_PEER_UP,
	BMP_INITIATION,
	BMP_TERMINATION,
};
/* RFC 7854 4.2, RFC 9069 4.1 */
enum bmp_peer_type {
	BMP_PEER_GLOBAL = 0,
	BMP_PEER_RD = 1, /* of an instance with a route distinguisher */
	BMP_PEER_LOCAL = 2, /* of an instance without one */
	BMP_PEER_LOC = 3,
};
/* RFC 7854 4.2, RFC 8671 4 */
enum bmp_peer_flag {
	BMP_FLAG_IPV6 = 0x80,
	BMP_FLAG_POST = 0x40,
	BMP_FLAG_AS2 = 0x20,
	BMP_FLAG_OUT = 0x10,
};
/* RFC 7854 4.9 */
enum bmp_down {
	BMP_DOWN_SENT = 1,
	BMP_DOWN_LOCAL,
	BMP_DOWN_RECEIVED,
	BMP_DOWN_LOST,
	BMP_DOWN_CONFIG
};
enum bmp_statistic {
	BMP_STAT_REJECTED = 0,
	BMP_STAT_ADJ_IN = 7,
	BMP_STAT_LOC = 8,
	BMP_STAT_ADJ_IN_FAMILY = 9,
	BMP_STAT_LOC_FAMILY = 10,
	BMP_STAT_ADJ_OUT = 15, /* RFC 8671 6.2: after policy */
	BMP_STAT_ADJ_OUT_FAMILY = 17,
};

#define BMP_COMMON_LEN 6u
#define BMP_HEADER_LEN (BMP_COMMON_LEN + 42u) /* with the per-peer header */

struct bmp_peer {
	uint8_t type, flags;
	uint64_t distinguisher; /* of the instance; 0: the default instance */
	struct ip_addr addr; /* AFI_NONE: zero */
	uint32_t asn, identifier;
};

/* `peer` NULL: a message without a per-peer header. Returns the offset of the message for bmp_end(). */
size_t bmp_begin(struct wr *w, enum bmp_type type, const struct bmp_peer *peer, uint64_t time_ns);
void bmp_end(struct wr *w, size_t at);
void bmp_tlv(struct wr *w, uint16_t type, const void *value, size_t len);
/* An address in 16 octets, IPv4 in the last four. */
void bmp_address(struct wr *w, const struct ip_addr *a);
/* Statistics: counters of four octets, gauges of eight. */
void bmp_counter(struct wr *w, enum bmp_statistic s, uint32_t v);
void bmp_gauge(struct wr *w, enum bmp_statistic s, uint64_t v);
void bmp_gauge_family(struct wr *w, enum bmp_statistic s, enum family f, uint64_t v);
