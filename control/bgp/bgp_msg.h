/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Message header, OPEN with capabilities, NOTIFICATION, ROUTE-REFRESH: decode and encode.
 * RFC 4271 4 and 6, 5492, 2918, 7313, 6286, 6793, 8654, 8950, 9072, 4724, 8538, 9003, 8277 2.1. Works on its arguments only.
 */
#pragma once

#include "control/bgp/bgp_error.h"
#include "control/bgp/wire.h"
#include "lpm/base/prefix.h"
#include "rib/table/role.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BGP_HEADER_LEN 19
#define BGP_MSG_MAX 4096 /* RFC 4271 4 */
#define BGP_EXTENDED_MSG_MAX 65535 /* RFC 8654 */
#define BGP_VERSION 4
#define AS_TRANS 23456 /* RFC 6793 */

enum bgp_type {
	BGP_OPEN = 1,
	BGP_UPDATE = 2,
	BGP_NOTIFICATION = 3,
	BGP_KEEPALIVE = 4,
	BGP_ROUTE_REFRESH = 5
};

/*
 * RFC 4271 6.1. `p` holds at least BGP_HEADER_LEN octets. `max_len`: the negotiated maximum (OPEN and KEEPALIVE stay at 4096). Returns type and
 * length of the whole message.
 */
struct bgp_error bgp_header_decode(const uint8_t *p, size_t max_len, uint8_t *type, uint16_t *len);

enum bgp_capability_code {
	CAP_MULTIPROTOCOL = 1,
	CAP_ROUTE_REFRESH = 2,
	CAP_EXTENDED_NEXT_HOP = 5,
	CAP_EXTENDED_MESSAGE = 6,
	CAP_MULTIPLE_LABELS = 8, /* RFC 8277 2.1 */
	CAP_ROLE = 9,
	CAP_GRACEFUL_RESTART = 64,
	CAP_FOUR_OCTET_AS = 65,
	CAP_ADD_PATH = 69,
	CAP_ENHANCED_ROUTE_REFRESH = 70,
	CAP_LONG_LIVED = 71 /* RFC 9494 3.1 */
};

#define OPEN_RAW_CAPABILITIES_MAX 64

struct bgp_open {
	uint8_t version;
	uint32_t asn; /* from capability 65 where present, else My Autonomous System */
	uint16_t asn_field; /* My Autonomous System as sent */
	uint16_t hold_time_s;
	uint32_t identifier; /* host order */
	bool route_refresh, enhanced_route_refresh, extended_message, four_octet_as;
	bool graceful_restart, restart_state,
		restart_notification; /* RFC 4724 3 R bit, RFC 8538 N bit */
	uint16_t restart_time_s;
	uint8_t restart_families, forwarding_families; /* bits by enum family */
	bool long_lived; /* RFC 9494 3.1; valid with graceful_restart */
	uint8_t long_lived_families, long_lived_forwarding; /* bits by enum family */
	uint32_t long_lived_s[FAMILY_COUNT];
	bool multiprotocol; /* any capability 1 */
	uint8_t families; /* known families, bits by enum family; without `multiprotocol` the caller assumes ipv4-unicast */
	uint8_t add_path_send,
		add_path_receive; /* bits by enum family; the directions of the peer */
	uint8_t extended_next_hop; /* bits by enum family: IPv4 families with IPv6 next hops (RFC 8950) */
	uint8_t labels_max
		[FAMILY_COUNT]; /* labels of a prefix that the peer accepts (RFC 8277 2.1); 0: one, by a missing capability */
	uint16_t role; /* enum session_role, or above; ROLE_NONE: no capability */
	bool roles_differ; /* several Role capabilities with different values (RFC 9234 4.2) */
	bool rt_constraint; /* capability 1 with AFI 1, SAFI 132 (RFC 4684 7) */
	/* every capability in order, for display: value points into the message */
	unsigned raw_count;
	struct {
		uint8_t code, len;
		const uint8_t *value;
	} raw[OPEN_RAW_CAPABILITIES_MAX];
};

/* Decodes a whole OPEN after bgp_header_decode() accepted the header. RFC 4271 6.2. */
struct bgp_error bgp_open_decode(const uint8_t *msg, size_t len, struct bgp_open *out);
/* Checks of RFC 4271 6.2 against our configuration: peer AS, identifier (RFC 6286), hold time. */
struct bgp_error bgp_open_check(
	const struct bgp_open *o, uint32_t expected_asn, uint32_t own_asn, uint32_t own_identifier);

/*
 * RFC 9234 4.2: the roles of an external session. `ours` is ROLE_NONE: no check. `strict`: the peer
 * must announce a role.
 */
struct bgp_error bgp_role_check(const struct bgp_open *o, enum session_role ours, bool strict);

/* Contents of our OPEN. */
struct bgp_open_options {
	uint32_t asn, identifier;
	uint16_t hold_time_s;
	uint8_t families; /* bits by enum family */
	bool rt_constraint; /* AFI 1, SAFI 132 (RFC 4684 7) */
	bool route_refresh, enhanced_route_refresh, extended_message, four_octet_as;
	bool graceful_restart; /* capability 64; without families: helper and End-of-RIB only */
	bool restart_state;
	uint16_t restart_time_s;
	uint8_t restart_families, forwarding_families; /* bits by enum family */
	bool restart_notification; /* RFC 8538 N bit */
	bool long_lived; /* capability 71 without families: helper only (RFC 9494) */
	uint8_t role; /* enum session_role; ROLE_NONE: not announced */
	uint8_t extended_next_hop; /* bits by enum family, of IPv4 families */
	uint8_t labels_max
		[FAMILY_COUNT]; /* RFC 8277 2.1; below 2: not announced. For families with labels */
};
/* Encode whole messages with header. Return the length; 0: `size` is too small. */
size_t bgp_open_encode(const struct bgp_open_options *o, uint8_t *buf, size_t size);
/* A Multiprotocol capability for each family (RFC 4760 8). */
size_t bgp_families_encode(uint8_t families, uint8_t *buf, size_t size);
size_t bgp_keepalive_encode(uint8_t *buf, size_t size);
size_t bgp_notification_encode(uint8_t code, uint8_t subcode, const uint8_t *data, size_t data_len,
	uint8_t *buf, size_t size);
/* Cease with a shutdown communication (RFC 9003): at most 128 octets of `text` are sent. */
size_t bgp_cease_encode(uint8_t subcode, const char *text, uint8_t *buf, size_t size);

struct bgp_notification {
	uint8_t code, subcode;
	const uint8_t *data;
	uint16_t data_len;
};
struct bgp_error bgp_notification_decode(
	const uint8_t *msg, size_t len, struct bgp_notification *out);
/* Name for last_error, for example "cease/administrative-reset". Static text. */
const char *bgp_notification_text(uint8_t code, uint8_t subcode);

enum refresh_subtype { REFRESH_REQUEST = 0, REFRESH_BEGIN = 1, REFRESH_END = 2 }; /* RFC 7313 3.2 */
struct bgp_refresh {
	uint16_t afi;
	uint8_t subtype, safi;
	bool ignore; /* unknown subtype: the message has no effect. Without enhanced refresh every subtype is a request */
};
/* RFC 2918, RFC 7313 5. `enhanced`: negotiated. */
struct bgp_error bgp_refresh_decode(
	const uint8_t *msg, size_t len, bool enhanced, struct bgp_refresh *out);
size_t bgp_refresh_encode(enum family f, enum refresh_subtype subtype, uint8_t *buf, size_t size);
