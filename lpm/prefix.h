/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses, prefixes and families: values, any thread. Bytes are in network order; an IPv4 address
 * is the first four. All bytes beyond the address (or beyond the prefix length) are zero, so values
 * compare with memcmp. Text follows RFC 5952.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/hash.h"

enum afi { AFI_NONE = 0, AFI_IPV4 = 1, AFI_IPV6 = 2 };
enum safi { SAFI_UNICAST = 1, SAFI_VPN = 128 };

enum family {
	FAMILY_IPV4_UNICAST,
	FAMILY_IPV6_UNICAST,
	FAMILY_VPNV4_UNICAST,
	FAMILY_VPNV6_UNICAST,
	FAMILY_COUNT, /* also: none, unknown */
};

/* A link-local address (fe80::/10) means something on one interface only: `zone` names it (RFC 4007 6). 0: none, and for all others. */
struct ip_addr {
	uint8_t b[16];
	uint8_t afi; /* enum afi; AFI_NONE: absent */
	uint8_t unused;
	uint16_t zone;
};
static_assert(sizeof(struct ip_addr) == 20, "no padding: values compare with memcmp");

struct prefix {
	uint8_t b[16];
	uint8_t afi;
	uint8_t len; /* bits */
};

#define ADDR_TEXT_MAX 62 /* the longest address, "%", an interface's name, NUL */
#define PREFIX_TEXT_MAX 50

/* "ipv4-unicast" and the like; FAMILY_COUNT when unknown. */
enum family family_from_text(const char *text);
const char *family_text(enum family f);
/* FAMILY_COUNT when we do not know the pair. */
enum family family_from_afi_safi(uint16_t afi, uint8_t safi);
enum afi family_afi(enum family f);
enum safi family_safi(enum family f);

/*
 * Zones: small numbers for interface names, the same as long as the process lives. zone_intern() gives a new name the next number
 * (main and the host thread; 0: no room, or a name of no or over 15 bytes), the others look only (any thread; 0 and "" when unknown).
 */
#define ZONE_MAX 1024
uint16_t zone_intern(const char *name);
uint16_t zone_find(const char *name);
const char *zone_name(uint16_t zone);

bool addr_is_link_local(const struct ip_addr *a); /* fe80::/10 */
bool addr_is_unspecified(const struct ip_addr *a); /* 0.0.0.0, ::, or absent */
/*
 * The next hop "discard": packets are dropped. Written as 100:: (RFC 6666) with a zone that no interface has, so no message of a peer can name it, and
 * never sent. addr_format() gives "discard"; addr_parse() does not read it.
 */
struct ip_addr addr_discard(void);
bool addr_is_discard(const struct ip_addr *a);

/* "192.0.2.1", "2001:db8::1", "fe80::2%east" (a zone known by then; link-local addresses only). 0, -EINVAL. */
int addr_parse(const char *text, struct ip_addr *out);
/* Writes at most ADDR_TEXT_MAX bytes with the NUL and returns `buf`; a zone as "%NAME". */
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
unsigned prefix_max_len(enum afi afi); /* 32 or 128 */

/* Spreads bits without a secret: not for a table whose keys a stranger chooses (lpm/hash.h). */
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

/* prefix_hash() of an IPv4 prefix, from its octets as they lie in memory. */
static inline uint64_t
prefix_hash_octets_v4(uint32_t octets, uint8_t len)
{
	return hash_word((uint64_t)len << 32 | octets);
}

/* Keyed. All bits used; the route distinguisher is left out, so a VPN route and the VRF's hash alike. */
static inline uint64_t
prefix_hash(const struct prefix *p)
{
	uint32_t octets;
	uint64_t w[2];

	if (p->afi == AFI_IPV4) {
		__builtin_memcpy(&octets, p->b, sizeof(octets));
		return prefix_hash_octets_v4(octets, p->len);
	}
	__builtin_memcpy(w, p->b, sizeof(w));
	return hash_words(w[0], w[1], p->len);
}

/* Keyed, of an address and `more` (VRF, zone, port). */
static inline uint64_t
addr_hash(const struct ip_addr *a, uint64_t more)
{
	uint64_t w[2];

	__builtin_memcpy(w, a->b, sizeof(w));
	return hash_words(w[0], w[1], more << 8 | a->afi);
}

/*
 * An IPv4 prefix of its octets as they lie in memory. Written whole: who reads 8 or 16 bytes of it next would wait for a write of 4 to reach the
 * cache, behind all writes before it.
 */
static inline void
prefix_put_octets_v4(struct prefix *out, uint32_t octets, uint8_t len)
{
	uint32_t w __attribute__((vector_size(16))) = {octets};

	__builtin_memcpy(out->b, &w, sizeof(out->b));
	out->afi = AFI_IPV4;
	out->len = len;
}
