/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses, prefixes and address families, as plain values for any thread. Bytes are in network
 * order; an IPv4 address uses the first four. All bytes beyond the address, and all bits beyond
 * the prefix length, are zero, so memcmp() compares values. Text follows RFC 5952.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/hash.h"

enum afi { AFI_NONE = 0, AFI_IPV4 = 1, AFI_IPV6 = 2 };
enum safi { SAFI_UNICAST = 1, SAFI_VPN = 128 };

enum family {
	FAMILY_IPV4_UNICAST,
	FAMILY_IPV6_UNICAST,
	FAMILY_VPNV4_UNICAST,
	FAMILY_VPNV6_UNICAST,
	FAMILY_COUNT, /* also returned for "unknown" */
};

/*
 * An address. A link-local address (fe80::/10) is valid on a single interface, named by `zone`
 * (RFC 4007 6). For all other addresses, and if the interface is unknown, zone is 0.
 */
struct ip_addr {
	uint8_t b[16];
	uint8_t afi; /* enum afi; AFI_NONE: no address */
	uint8_t unused;
	uint16_t zone;
};
static_assert(sizeof(struct ip_addr) == 20, "no padding: values compare with memcmp");

struct prefix {
	uint8_t b[16];
	uint8_t afi;
	uint8_t len; /* in bits */
};

#define ADDR_TEXT_MAX 62 /* longest address, "%", interface name, NUL */
#define PREFIX_TEXT_MAX 50

/* Converts text such as "ipv4-unicast". Returns FAMILY_COUNT for unknown text. */
enum family family_from_text(const char *text);
const char *family_text(enum family f);
/* Returns FAMILY_COUNT for an unknown pair. */
enum family family_from_afi_safi(uint16_t afi, uint8_t safi);
enum afi family_afi(enum family f);
enum safi family_safi(enum family f);

/*
 * Zones: small numbers for interface names, constant until the process ends. zone_intern() finds
 * or adds a name; for main and the host thread; 0 if the table is full or the name does not have 1
 * to 15 bytes. zone_find() and zone_name() only look up, on any thread, and return 0 and "" for
 * unknown zones.
 */
#define ZONE_MAX 1024
uint16_t zone_intern(const char *name);
uint16_t zone_find(const char *name);
const char *zone_name(uint16_t zone);

bool addr_is_link_local(const struct ip_addr *a); /* fe80::/10 */
bool addr_is_unspecified(const struct ip_addr *a); /* 0.0.0.0, ::, or AFI_NONE */
/*
 * The next hop "discard": packets are dropped. Represented as 100:: (RFC 6666) with a zone that no
 * interface can have, so no message of a peer can contain the address; never sent to peers.
 * addr_format() writes "discard"; addr_parse() does not accept the word.
 */
struct ip_addr addr_discard(void);
bool addr_is_discard(const struct ip_addr *a);

/*
 * Parses "192.0.2.1", "2001:db8::1" or "fe80::2%east" (link-local addresses only, with a known
 * zone). Returns 0 or -EINVAL.
 */
int addr_parse(const char *text, struct ip_addr *out);
/*
 * Writes at most ADDR_TEXT_MAX bytes, including the NUL, and returns `buf`. A zone is written as
 * "%NAME".
 */
char *addr_format(const struct ip_addr *a, char *buf);
bool addr_equal(const struct ip_addr *a, const struct ip_addr *b);
int addr_compare(const struct ip_addr *a, const struct ip_addr *b);
struct ip_addr addr_from_v4(uint32_t host_order);
uint32_t addr_v4(const struct ip_addr *a); /* host order */

/*
 * Parses "ADDRESS/LEN". Returns 0; -EINVAL: not a prefix; -EDOM: bits are set beyond the length
 * (host bits).
 */
int prefix_parse(const char *text, struct prefix *out);
char *prefix_format(const struct prefix *p, char *buf);
bool prefix_equal(const struct prefix *a, const struct prefix *b);
/* Compares by address, then length: a covering prefix sorts before the prefixes inside. */
int prefix_compare(const struct prefix *a, const struct prefix *b);
bool prefix_covers(const struct prefix *outer, const struct prefix *inner);
bool prefix_contains(const struct prefix *p, const struct ip_addr *a);
/* Clears the host bits. */
struct prefix prefix_from_addr(const struct ip_addr *a, uint8_t len);
struct prefix prefix_from_v4(uint32_t host_order, uint8_t len);
uint32_t prefix_v4(const struct prefix *p); /* host order */
unsigned prefix_max_len(enum afi afi); /* 32 or 128 */

/* Mixes bits without a secret key. Not for tables whose keys come from outside (lpm/base/hash.h). */
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

/* prefix_hash() of an IPv4 prefix, from its octets in memory order. */
static inline uint64_t
prefix_hash_octets_v4(uint32_t octets, uint8_t len)
{
	return hash_word((uint64_t)len << 32 | octets);
}

/*
 * Keyed hash of a prefix, with all bits usable. Ignores the route distinguisher, so a VPN route
 * and its copy in a VRF have equal hashes.
 */
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

/* Keyed hash of an address and `more` (VRF, zone, port). */
static inline uint64_t
addr_hash(const struct ip_addr *a, uint64_t more)
{
	uint64_t w[2];

	__builtin_memcpy(w, a->b, sizeof(w));
	return hash_words(w[0], w[1], more << 8 | a->afi);
}

/* Writes both octets in one store, as copies load both at once. */
static inline void
prefix_put_len(struct prefix *p, uint8_t afi, uint8_t len)
{
	const uint8_t both[2] = {afi, len};

	__builtin_memcpy((uint8_t *)p + offsetof(struct prefix, afi), both, sizeof(both));
}

/*
 * Writes an IPv4 prefix from its octets in memory order. Stores all 16 address bytes at once:
 * after a 4-byte store, an 8- or 16-byte load would stall until the store, and all stores before,
 * reach the cache.
 */
static inline void
prefix_put_octets_v4(struct prefix *out, uint32_t octets, uint8_t len)
{
	uint32_t w __attribute__((vector_size(16))) = {octets};

	__builtin_memcpy(out->b, &w, sizeof(out->b));
	prefix_put_len(out, AFI_IPV4, len);
}
