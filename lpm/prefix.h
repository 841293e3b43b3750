/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses, prefixes and families: values, any thread. Bytes are in network order; an IPv4 address
 * is the first four. All bytes beyond the address (or beyond the prefix length) are zero, so values
 * compare with memcmp. Text follows RFC 5952.
 */
#pragma once

#include "lpm/base.h"

enum afi { AFI_NONE = 0, AFI_IPV4 = 1, AFI_IPV6 = 2 };
enum safi { SAFI_UNICAST = 1, SAFI_VPN = 128 };

enum family {
	FAMILY_IPV4_UNICAST,
	FAMILY_IPV6_UNICAST,
	FAMILY_VPNV4_UNICAST,
	FAMILY_VPNV6_UNICAST,
	FAMILY_COUNT, /* also: none, unknown */
};

struct ip_addr {
	uint8_t b[16];
	uint8_t afi; /* enum afi; AFI_NONE: absent */
};

struct prefix {
	uint8_t b[16];
	uint8_t afi;
	uint8_t len; /* bits */
};

#define ADDR_TEXT_MAX 46
#define PREFIX_TEXT_MAX 50

/* "ipv4-unicast" and the like; FAMILY_COUNT when unknown. */
enum family family_from_text(const char *text);
const char *family_text(enum family f);
/* FAMILY_COUNT when we do not know the pair. */
enum family family_from_afi_safi(uint16_t afi, uint8_t safi);
enum afi family_afi(enum family f);
enum safi family_safi(enum family f);

/* 0, -EINVAL. */
int addr_parse(const char *text, struct ip_addr *out);
/* Writes at most ADDR_TEXT_MAX bytes with the NUL and returns `buf`. */
char *addr_format(const struct ip_addr *a, char *buf);
bool addr_equal(const struct ip_addr *a, const struct ip_addr *b);
int addr_compare(const struct ip_addr *a, const struct ip_addr *b);
struct ip_addr addr_from_v4(uint32_t host_order);
uint32_t addr_v4(const struct ip_addr *a); /* host order */

/* "ADDRESS/LEN". 0; -EINVAL: no prefix; -EDOM: a prefix with bits set beyond its length (host bits). */
int prefix_parse(const char *text, struct prefix *out);
char *prefix_format(const struct prefix *p, char *buf);
bool prefix_equal(const struct prefix *a, const struct prefix *b);
/* By address, then length: a covering prefix comes before what it covers. */
int prefix_compare(const struct prefix *a, const struct prefix *b);
bool prefix_covers(const struct prefix *outer, const struct prefix *inner);
bool prefix_contains(const struct prefix *p, const struct ip_addr *a);
/* Host bits cleared. */
struct prefix prefix_from_addr(const struct ip_addr *a, uint8_t len);
struct prefix prefix_from_v4(uint32_t host_order, uint8_t len);
uint32_t prefix_v4(const struct prefix *p); /* host order */
unsigned prefix_max_len(enum afi afi);      /* 32 or 128 */

static inline uint64_t
hash_mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93u;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93u;
	x ^= x >> 32;
	return x;
}

/* All bits used; the route distinguisher is left out, so a VPN route and the VRF's hash alike. */
static inline uint64_t
prefix_hash(const struct prefix *p)
{
	uint64_t w[2];
	__builtin_memcpy(w, p->b, sizeof(w));
	return hash_mix(w[0] ^ hash_mix(w[1] + p->len));
}
