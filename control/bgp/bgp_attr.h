/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UPDATE: path attributes by one descriptor table (RFC 4271 5, flags and the RFC 7606 7 action are columns), decode
 * to struct attr_set, encode back. Works on its arguments only.
 */
#pragma once

#include "control/bgp/bgp_error.h"
#include "control/bgp/bgp_nlri.h"
#include "control/bgp/wire.h"
#include "rib/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of the session; the vectors' `options` as arguments. */
struct bgp_update_options {
	bool as4; /* four-octet AS numbers negotiated */
	bool external; /* eBGP */
	bool confederation; /* the peer is in our confederation: AS_CONFED segments are right there */
	bool enforce_first_as; /* eBGP: the leftmost AS must be the peer's (RFC 4271 6.3, optional there) */
	uint32_t max_as_path_length; /* AS numbers in AS_PATH, those of sets too; 0: any number */
	uint32_t peer_as; /* 0: any */
	uint32_t
		local_id; /* our BGP identifier and address, host order: a NEXT_HOP that is ours is wrong; 0: not checked */
	uint8_t families; /* bits by enum family, and NLRI_BIT_ of others: negotiated; so the sets below */
	uint8_t add_path; /* we receive path identifiers */
	uint8_t multiple_labels; /* more than one label may stand before a prefix (RFC 8277 2.1) */
	bool extended_message;
	uint8_t extended_next_hop; /* an IPv6 next hop is right there (RFC 8950), negotiated */
	uint16_t
		zone; /* of link-local next hops: the link that we share with the peer (RFC 2545 3); 0: none */
	struct ip_addr
		local_v6; /* ours: wrong as a next hop, as local_id is; AFI_NONE: not checked */
};

/* One UPDATE decoded. NLRI stay on the wire and are read with nlri_read(): no limit on their number. */
struct bgp_update {
	struct bgp_error
		error; /* the strongest met. TREAT_AS_WITHDRAW: everything in announced[] is to be withdrawn */
	bool has_attrs; /* `attrs` is filled: there is something announced */
	bool end_of_rib; /* RFC 4724 2 */
	enum family
		end_of_rib_family; /* FAMILY_COUNT: of one without a table, see end_of_rib_afi */
	uint8_t end_of_rib_afi, end_of_rib_safi;
	/* RFC 4271's own fields and MP_(UN)REACH_NLRI: at most two each. */
	struct bgp_nlri_field {
		enum family family; /* FAMILY_COUNT: one that has no table; `form` says it */
		struct nlri_form form;
		struct rd nlri;
		bool mp; /* its next hop came in MP_REACH_NLRI */
	} announced[2], withdrawn[2];
	unsigned announced_count, withdrawn_count;
	/*
	 * Next hop of announced[0] is in attrs->next_hop; a message with both NEXT_HOP + NLRI and MP_REACH_NLRI has the second one's here.
	 */
	struct ip_addr mp_next_hop, mp_next_hop_link_local;
};

/*
 * `msg`: whole message. `attrs`: room for ATTR_SET_MAX bytes. AS_PATH and AS4_PATH are merged (RFC 6793 4.2.3). On SESSION_RESET the
 * error's code, subcode and data are those of the NOTIFICATION.
 */
void bgp_update_decode(const uint8_t *msg, size_t len, const struct bgp_update_options *o,
	struct attr_set *attrs, struct bgp_update *out);

/* "as-path" and the like, for logs: what bgp_error.attribute is about. Static text; "unknown". */
const char *bgp_attr_name(uint8_t type);
/* The type has a decoder here, and so a name. */
bool bgp_attr_known(uint8_t type);

struct bgp_encode_options {
	bool as4, add_path, extended_message;
	bool send_communities;
	bool extended_next_hop; /* of this family: IPv4 NLRI may have an IPv6 next hop (RFC 8950) */
};
/*
 * Path attributes in rising order of type, without MP_REACH_NLRI; NEXT_HOP only when `with_next_hop`. To a 2-octet-AS peer
 * AS_TRANS and AS4_PATH/AS4_AGGREGATOR (RFC 6793 4.2.2). False: no room.
 */
bool bgp_attrs_encode(const struct attr_set *a, const struct bgp_encode_options *o,
	bool with_next_hop, struct wr *w);

/*
 * Packs UPDATEs of one family: begin, add prefixes until it says false (full), finish; returns the message's length.
 * IPv4 unicast with an IPv4 next hop uses RFC 4271's NLRI field, everything else MP_REACH_NLRI / MP_UNREACH_NLRI.
 */
struct update_packer {
	struct wr w;
	uint8_t *buf;
	size_t mark; /* of the length field to fill in */
	enum family family;
	bool withdraw, mp, add_path;
	unsigned count;
	size_t tail_len; /* attributes that wait at the buffer's end until MP_REACH_NLRI is complete (RFC 7606 5.1) */
	size_t next_hop_at; /* where in `buf` the next hop is, for who puts in another one of the same length; announcements only */
	uint8_t next_hop_len; /* 4, 16 or 32 */
};
/* attrs NULL: withdrawals. False: the attributes alone do not fit `size`, or the family can't have that next hop. */
bool update_packer_begin(struct update_packer *u, enum family f, const struct attr_set *attrs,
	const struct bgp_encode_options *o, uint8_t *buf, size_t size);
bool update_packer_add(struct update_packer *u, const struct prefix *p, uint32_t path_id);
size_t update_packer_finish(struct update_packer *u);
size_t bgp_end_of_rib_encode(enum family f, uint8_t *buf, size_t size);
