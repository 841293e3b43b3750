/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UPDATE: path attributes by one descriptor table (RFC 4271 5, flags and the RFC 7606 7 action are columns), decode
 * to struct attr_set, encode back. Works on its arguments only.
 */
#pragma once

#include "control/bgp/bgp_error.h"
#include "control/bgp/bgp_nlri.h"
#include "control/bgp/wire.h"
#include "rib/table/attr.h"
#include "rib/table/role.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the session negotiated or configured. */
struct bgp_update_options {
	bool as4; /* four-octet AS numbers negotiated */
	bool external; /* eBGP */
	bool confederation; /* the peer is in our confederation: AS_CONFED segments are allowed */
	bool enforce_first_as; /* eBGP: the leftmost AS must be the AS of the peer (RFC 4271 6.3, optional in the RFC) */
	/* limit of AS numbers in AS_PATH, including AS_SETs; 0: no limit */
	uint32_t max_as_path_length;
	bool refuse_as_sets; /* AS_SET and AS_CONFED_SET in a path: RFC 9774 3 */
	uint32_t peer_as; /* 0: any */
	/* AS number that this router prepends: such a path with our next hop, or a leaked one, is REFUSED_AS_LOOP; 0: no check */
	uint32_t own_as;
	uint8_t role; /* enum session_role, of this router */
	/* our BGP identifier and address, host order: refused as NEXT_HOP; 0: no check */
	uint32_t local_id;
	uint8_t families; /* negotiated families: bits by enum family, NLRI_BIT_ for families without a table; the sets below have the same bits */
	bool rt_constraint; /* memberships (RFC 4684) are negotiated */
	uint8_t add_path; /* families with path identifiers from the peer (RFC 7911) */
	uint8_t multiple_labels; /* a prefix may have several labels (RFC 8277 2.1) */
	uint8_t labels_max; /* labels of a prefix in our Multiple Labels capability; 0 or 255: no limit */
	bool extended_message;
	uint8_t extended_next_hop; /* IPv6 next hops negotiated (RFC 8950) */
	/* zone of link-local next hops: the shared link with the peer (RFC 2545 3); 0: none */
	uint16_t zone;
	struct ip_addr local_v6; /* our IPv6 address, refused as a next hop; AFI_NONE: no check */
};

/* A decoded UPDATE. NLRI stay in the message, so their number has no limit; nlri_read() reads NLRI. */
struct bgp_update {
	/* the most severe error. TREAT_AS_WITHDRAW: the caller withdraws all of announced[] */
	struct bgp_error error;
	bool has_attrs; /* `attrs` is filled: the message announces prefixes */
	bool end_of_rib; /* RFC 4724 2 */
	/* FAMILY_COUNT: a family without a table, see end_of_rib_afi */
	enum family end_of_rib_family;
	uint8_t end_of_rib_afi, end_of_rib_safi;
	/* the fields of RFC 4271 and MP_(UN)REACH_NLRI: at most two each */
	struct bgp_nlri_field {
		/* FAMILY_COUNT: a family without a table; `form` describes the octets */
		enum family family;
		struct nlri_form form;
		struct rd nlri;
		bool mp; /* the next hop came in MP_REACH_NLRI */
	} announced[2], withdrawn[2];
	unsigned announced_count, withdrawn_count;
	/* checked fields of memberships, for rt_nlri_read(); empty: none */
	struct rd rt_announced, rt_withdrawn;
	bool rt_end_of_rib;
	/*
	 * The next hop of announced[0] is attrs->next_hop. If the message has NLRI and MP_REACH_NLRI, the next hop of MP_REACH_NLRI is here.
	 */
	struct ip_addr mp_next_hop, mp_next_hop_link_local;
};

/*
 * Decodes the whole message `msg`. `attrs` has room for ATTR_SET_MAX bytes. AS_PATH and AS4_PATH are merged (RFC 6793 4.2.3). On
 * SESSION_RESET the error has code, subcode and data of the NOTIFICATION.
 */
void bgp_update_decode(const uint8_t *msg, size_t len, const struct bgp_update_options *o,
	struct attr_set *attrs, struct bgp_update *out);

/* Name of the attribute type for logs, for example "as-path"; "unknown" without a decoder. Static text. */
const char *bgp_attr_name(uint8_t type);
/* True if the type has a decoder, and therefore a name. */
bool bgp_attr_known(uint8_t type);

struct bgp_encode_options {
	bool as4, add_path, extended_message;
	bool send_communities; /* false: no communities, but for the extended communities of VPN routes */
	bool extended_next_hop; /* IPv4 NLRI of this family may have an IPv6 next hop (RFC 8950) */
	bool multiple_labels; /* a prefix may have several labels (RFC 8277 2.1) */
};

/*
 * Packs UPDATEs of one family: begin, add prefixes until update_packer_add() returns false (full), finish, which returns the length of the
 * message. IPv4 unicast with an IPv4 next hop uses the NLRI field of RFC 4271, everything else MP_REACH_NLRI and MP_UNREACH_NLRI. In VPN
 * families each address of the next hop follows a route distinguisher of zero (RFC 4364 4.3.2, RFC 4659 3.2.1, RFC 8950 3).
 */
struct update_packer {
	struct wr w;
	uint8_t *buf;
	size_t mark; /* offset of the length field to fill in */
	enum family family;
	struct nlri_form form;
	bool withdraw, mp, add_path;
	unsigned count;
	size_t tail_len; /* length of the attributes kept at the end of the buffer until MP_REACH_NLRI is complete (RFC 7606 5.1) */
	size_t next_hop_at; /* offset of the next hop in `buf`, so that a caller can overwrite the next hop with another of equal length; announcements only */
	uint8_t next_hop_len; /* 4, 16 or 32; of VPN families 12, 24 or 48, with the distinguishers */
};
/*
 * Writes the next hop field of MP_REACH_NLRI, and for IPv4 unicast the value of NEXT_HOP: `next_hop`, and `link_local` unless its AFI is AFI_NONE. Returns the
 * length.
 */
#define BGP_NEXT_HOP_MAX 48u
size_t bgp_next_hop_encode(enum family f, const struct ip_addr *next_hop,
	const struct ip_addr *link_local, uint8_t out[BGP_NEXT_HOP_MAX]);
/* `attrs` NULL: withdrawals. False: the attributes alone do not fit into `size`, or the family cannot have the next hop. */
bool update_packer_begin(struct update_packer *u, enum family f, const struct attr_set *attrs,
	const struct bgp_encode_options *o, uint8_t *buf, size_t size);
/* COMMUNITIES among the attributes of a message, or its place: offset, octets of header and values. */
struct update_communities {
	uint16_t at, header, values;
};
/* Of a message that has begun, of IPv4 unicast with an IPv4 next hop. */
void update_packer_communities(const struct update_packer *u, struct update_communities *out);
/*
 * As update_packer_begin(), from the octets of a message of IPv4 unicast that has begun before: appends communities, except those already present. False: the
 * attributes do not fit into `size`; the message may use BGP_MSG_MAX octets.
 */
bool update_packer_append(struct update_packer *u, const uint8_t *begun, size_t len,
	const struct update_communities *at, const uint8_t *values, unsigned count, uint8_t *buf,
	size_t size);
/* Families without labels. */
bool update_packer_add(struct update_packer *u, const struct prefix *p, uint32_t path_id);
/* All families. False also for a prefix that the family cannot carry: nlri_form_len(u->form, n) is 0. */
bool update_packer_add_form(struct update_packer *u, const struct nlri *n);
size_t update_packer_finish(struct update_packer *u);
/*
 * Writes the attributes as a table dump has them (RFC 6396 4.3.4): four-octet AS numbers, and a next hop in MP_REACH_NLRI without AFI, SAFI and NLRI. False:
 * no room.
 */
bool bgp_attrs_encode_table(const struct attr_set *a, enum family f, struct wr *w);
size_t bgp_end_of_rib_encode(enum family f, uint8_t *buf, size_t size);
