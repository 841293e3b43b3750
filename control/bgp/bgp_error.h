/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a peer did wrong, as a value ordered by strength (RFC 7606 2). Decoders return it, the stronger
 * wins, only the session sends.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum bgp_severity {
	BGP_OK,
	ATTRIBUTE_DISCARD, /* RFC 7606 2 */
	TREAT_AS_WITHDRAW,
	/* (AFI/SAFI disable is not done: RFC 7606 2 allows session reset instead) */
	SESSION_RESET,
};

/* RFC 4271 4.5 and its registries. */
enum bgp_error_code {
	ERR_HEADER = 1,
	ERR_OPEN = 2,
	ERR_UPDATE = 3,
	ERR_HOLD_TIMER = 4,
	ERR_FSM = 5,
	ERR_CEASE = 6,
	ERR_ROUTE_REFRESH = 7, /* RFC 7313 5 */
	ERR_SEND_HOLD_TIMER = 8, /* RFC 9687 */
};
enum { HEADER_NOT_SYNCHRONIZED = 1, HEADER_BAD_LENGTH = 2, HEADER_BAD_TYPE = 3 };
enum {
	OPEN_UNSUPPORTED_VERSION = 1,
	OPEN_BAD_PEER_AS = 2,
	OPEN_BAD_IDENTIFIER = 3,
	OPEN_UNSUPPORTED_PARAMETER = 4,
	OPEN_UNACCEPTABLE_HOLD_TIME = 6,
	OPEN_UNSUPPORTED_CAPABILITY = 7,
	OPEN_ROLE_MISMATCH = 11
};
enum {
	UPDATE_MALFORMED_LIST = 1,
	UPDATE_UNRECOGNIZED_WELL_KNOWN = 2,
	UPDATE_MISSING_WELL_KNOWN = 3,
	UPDATE_ATTR_FLAGS = 4,
	UPDATE_ATTR_LENGTH = 5,
	UPDATE_INVALID_ORIGIN = 6,
	UPDATE_INVALID_NEXT_HOP = 8,
	UPDATE_OPTIONAL_ATTRIBUTE = 9,
	UPDATE_INVALID_NETWORK = 10,
	UPDATE_MALFORMED_AS_PATH = 11
};
enum {
	FSM_UNEXPECTED_IN_OPEN_SENT = 1,
	FSM_UNEXPECTED_IN_OPEN_CONFIRM = 2,
	FSM_UNEXPECTED_IN_ESTABLISHED = 3
}; /* RFC 6608 */
enum {
	CEASE_MAX_PREFIXES = 1,
	CEASE_ADMIN_SHUTDOWN = 2,
	CEASE_PEER_DECONFIGURED = 3,
	CEASE_ADMIN_RESET = 4,
	CEASE_REJECTED = 5,
	CEASE_CONFIG_CHANGE = 6,
	CEASE_COLLISION = 7,
	CEASE_OUT_OF_RESOURCES = 8,
	CEASE_HARD_RESET = 9
}; /* RFC 4486, 8538 */
enum { REFRESH_INVALID_LENGTH = 1 };

/* What is wrong with MP_REACH_NLRI or MP_UNREACH_NLRI (RFC 4760 3 and 4). */
enum nlri_fault {
	NLRI_SOUND,
	NLRI_ATTRIBUTE_CUT, /* the attribute ends before its NLRI begin */
	NLRI_NEXT_HOP_LENGTH, /* no length of a next hop of the family */
	NLRI_CUT, /* the last prefix is longer than the attribute */
	NLRI_NO_LABEL, /* the length leaves no room for a label (RFC 8277 2) */
	NLRI_NO_BOTTOM, /* no label of the stack has the S bit (RFC 8277 2.3) */
	NLRI_NO_DISTINGUISHER, /* the length leaves no room for the distinguisher (RFC 4364 4.3.4) */
	NLRI_TOO_LONG, /* the prefix is longer than an address of the family */
	NLRI_TOO_MANY_LABELS, /* more labels than we announced to take (RFC 8277 2.1) */
	NLRI_FAULTS,
};

struct bgp_error {
	uint8_t severity; /* enum bgp_severity */
	uint8_t code, subcode; /* of the NOTIFICATION for a session reset */
	uint8_t attribute; /* attribute type with the error; 0: none */
	uint8_t refused; /* enum refused_cause for a well-formed attribute with a refused value; 0: the attribute is malformed */
	uint8_t nlri_fault; /* enum nlri_fault, for MP_REACH_NLRI and MP_UNREACH_NLRI */
	uint16_t data_len; /* length of `data`, the data of the NOTIFICATION */
	const uint8_t *data; /* lent: points into the message */
};

static inline struct bgp_error
bgp_error_stronger(struct bgp_error a, struct bgp_error b)
{
	return b.severity > a.severity ? b : a;
}

/* The error in words: "origin: value 9, expected 0, 1 or 2". `data` must still be valid. Writes at most `size` bytes with the NUL. */
void bgp_error_text(const struct bgp_error *e, char *buf, size_t size);
