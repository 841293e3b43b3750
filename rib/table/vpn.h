/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Values of VPN routes, with their text: route distinguishers (RFC 4364 4.2), route targets and
 * sites of origin (RFC 4360 4 and 5, RFC 5668), MPLS labels (RFC 3032 2.1). Each value is a number
 * whose highest octet is the first octet on the wire, so numbers compare like the octets. Plain
 * values for any thread.
 *
 * The text of a distinguisher or a target is ADMINISTRATOR:NUMBER. The administrator is an AS
 * number (`64512:1`, `4200000000:1`) or an IPv4 address (`192.0.2.1:1`). Two kinds
 * of values are written as `0x` and 16 hexadecimal digits: unknown types, and four-octet AS numbers
 * up to 65535, because the plain text means the two-octet type. Parsing the text of a value gives
 * the same value.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"

/* Type of a route distinguisher, and of an extended community with an administrator. */
enum vpn_type { VPN_TYPE_AS2 = 0, VPN_TYPE_IPV4 = 1, VPN_TYPE_AS4 = 2 };

struct vpn_rd {
	uint64_t v; /* the type in the two highest octets */
};

#define VPN_TEXT_MAX 32 /* longest text, with the NUL */

/*
 * A part of the text of a community, target or distinguisher: decimal digits of a number up to
 * `max`, then `stop`. Moves *text behind `stop`. False for any other text.
 */
bool text_part_parse(const char **text, uint64_t max, char stop, uint64_t *out);
/* Returns 0 or -EINVAL. */
int vpn_rd_parse(const char *text, struct vpn_rd *out);
/* Writes at most VPN_TEXT_MAX bytes, including the NUL, and returns `buf`. */
char *vpn_rd_format(struct vpn_rd rd, char *buf);

/* enum vpn_type; Keel carries all other types unchanged. */
static inline unsigned
vpn_rd_type(struct vpn_rd rd)
{
	return (unsigned)(rd.v >> 48);
}

/* Order of the octets on the wire. */
static inline int
vpn_rd_compare(struct vpn_rd a, struct vpn_rd b)
{
	return (a.v > b.v) - (a.v < b.v);
}

/*
 * Keyed hash of a prefix in a VPN table. prefix_hash() ignores the distinguisher: instances that
 * use the same addresses would share one probe sequence.
 */
static inline uint64_t
vpn_prefix_hash(struct vpn_rd rd, const struct prefix *p)
{
	return hash_words(prefix_hash(p), rd.v, 0);
}

/* An extended community: type, subtype, six octets of value. */
struct ext_community {
	uint64_t v;
};

enum ext_subtype { EXT_ROUTE_TARGET = 2, EXT_SITE_OF_ORIGIN = 3 };

/* "rt:64512:1", "soo:192.0.2.1:1", or 0x and 16 hexadecimal digits. Returns 0 or -EINVAL. */
int ext_community_parse(const char *text, struct ext_community *out);
/* "64512:1", as in the configuration of VPN instances. Returns 0 or -EINVAL. */
int route_target_parse(const char *text, struct ext_community *out);
/* Writes at most VPN_TEXT_MAX bytes, including the NUL, and returns `buf`. */
char *ext_community_format(struct ext_community c, char *buf);

/* True for a transitive community of an administrator with this subtype. */
static inline bool
ext_community_is(struct ext_community c, enum ext_subtype subtype)
{
	return c.v >> 56 <= VPN_TYPE_AS4 && (c.v >> 48 & 0xff) == (unsigned)subtype;
}

static inline struct ext_community
ext_community_get(const uint8_t octets[8])
{
	uint64_t be;

	__builtin_memcpy(&be, octets, sizeof(be));
	return (struct ext_community){__builtin_bswap64(be)};
}

static inline void
ext_community_put(struct ext_community c, uint8_t octets[8])
{
	uint64_t be = __builtin_bswap64(c.v);

	__builtin_memcpy(octets, &be, sizeof(be));
}

#define MPLS_LABEL_MAX 0xfffffu

/* RFC 3032 2.1; labels up to 15 are reserved (RFC 7274 2). */
enum mpls_label {
	MPLS_IPV4_EXPLICIT_NULL = 0,
	MPLS_ROUTER_ALERT = 1,
	MPLS_IPV6_EXPLICIT_NULL = 2,
	MPLS_IMPLICIT_NULL = 3,
	MPLS_FIRST_UNRESERVED = 16,
};
