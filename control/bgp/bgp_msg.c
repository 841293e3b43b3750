/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/bgp/bgp_msg.h"

#include "control/bgp/bgp_nlri.h"

static struct bgp_error
reset(uint8_t code, uint8_t subcode)
{
	return (struct bgp_error){.severity = SESSION_RESET, .code = code, .subcode = subcode};
}

static struct bgp_error
reset_with(uint8_t code, uint8_t subcode, const uint8_t *data, size_t len)
{
	struct bgp_error e = reset(code, subcode);

	e.data = data;
	e.data_len = (uint16_t)len;
	return e;
}

/*
 * RFC 4271 6.1. ROUTE-REFRESH has 0: RFC 7313 5 gives a wrong length another code, see bgp_refresh_decode(). NOTIFICATION has 0 too: no
 * NOTIFICATION answers a NOTIFICATION (RFC 4271 6.4), and the caller knows the type.
 */
static const uint8_t min_len[] = {
	[BGP_OPEN] = 29,
	[BGP_UPDATE] = 23,
	[BGP_NOTIFICATION] = 0,
	[BGP_KEEPALIVE] = BGP_HEADER_LEN,
	[BGP_ROUTE_REFRESH] = 0,
};

static bool
marker_is_ones(const uint8_t *p)
{
	uint64_t a, b;

	memcpy(&a, p, 8);
	memcpy(&b, p + 8, 8);
	return (a & b) == UINT64_MAX;
}

struct bgp_error
bgp_header_decode(const uint8_t *p, size_t max_len, uint8_t *type, uint16_t *len)
{
	uint16_t n = (uint16_t)(p[16] << 8 | p[17]);
	uint8_t t = p[18];

	*type = t;
	*len = n;
	if (!marker_is_ones(p))
		return reset(ERR_HEADER, HEADER_NOT_SYNCHRONIZED);
	/* RFC 8654 4: OPEN and KEEPALIVE never grow. */
	if ((t == BGP_OPEN || t == BGP_KEEPALIVE) && max_len > BGP_MSG_MAX)
		max_len = BGP_MSG_MAX;
	if (n < BGP_HEADER_LEN || n > max_len)
		return reset_with(ERR_HEADER, HEADER_BAD_LENGTH, p + 16, 2);
	if (t < BGP_OPEN || t > BGP_ROUTE_REFRESH)
		return reset_with(ERR_HEADER, HEADER_BAD_TYPE, p + 18, 1);
	if (n < min_len[t] || (t == BGP_KEEPALIVE && n != BGP_HEADER_LEN))
		return reset_with(ERR_HEADER, HEADER_BAD_LENGTH, p + 16, 2);
	return (struct bgp_error){0};
}

static uint8_t
family_bit(uint16_t afi, uint8_t safi)
{
	enum family f = family_from_afi_safi(afi, safi);

	return f == FAMILY_COUNT ? 0 : (uint8_t)(1u << f);
}

/* RFC 4760 8 */
static bool
capability_multiprotocol(struct rd v, struct bgp_open *out)
{
	uint16_t afi = rd_u16(&v);
	uint8_t safi;

	rd_u8(&v);
	safi = rd_u8(&v);
	out->families |= family_bit(afi, safi);
	out->rt_constraint |= afi == AFI_IPV4 && safi == SAFI_RT_CONSTRAINT;
	out->multiprotocol = true;
	return !v.bad && rd_left(&v) == 0;
}

/* RFC 8950 4: unknown pairs, and pairs with an IPv4 next hop, are ignored. */
static bool
capability_extended_next_hop(struct rd v, struct bgp_open *out)
{
	while (!v.bad && rd_left(&v) > 0) {
		uint16_t afi = rd_u16(&v), safi = rd_u16(&v), next_hop_afi = rd_u16(&v);

		if (afi == AFI_IPV4 && safi <= UINT8_MAX && next_hop_afi == AFI_IPV6)
			out->extended_next_hop |= family_bit(afi, (uint8_t)safi);
	}
	return !v.bad;
}

/*
 * RFC 8277 2.1: the first triple of a family counts, and a count below 2 has no meaning. A malformed capability is ignored: the session
 * then has one label a prefix.
 */
static void
capability_multiple_labels(struct rd v, struct bgp_open *out)
{
	unsigned seen = 0;

	if (rd_left(&v) % 4 != 0)
		return;
	while (rd_left(&v) > 0) {
		uint16_t afi = rd_u16(&v);
		enum family f = family_from_afi_safi(afi, rd_u8(&v));
		uint8_t count = rd_u8(&v);

		if (f == FAMILY_COUNT || seen >> f & 1)
			continue;
		seen |= 1u << f;
		out->labels_max[f] = count < 2 || family_safi(f) == SAFI_UNICAST ? 0 : count;
	}
}

/* RFC 4724 3: the last of several capabilities counts; RFC 8538 2 */
static bool
capability_graceful_restart(struct rd v, struct bgp_open *out)
{
	uint16_t x = rd_u16(&v);

	out->graceful_restart = true;
	out->restart_families = out->forwarding_families = 0;
	out->restart_state = x & 0x8000;
	out->restart_notification = x & 0x4000;
	out->restart_time_s = x & 0x0fff;
	while (!v.bad && rd_left(&v) > 0) {
		uint16_t afi = rd_u16(&v);
		uint8_t bit = family_bit(afi, rd_u8(&v));
		uint8_t flags = rd_u8(&v);

		out->restart_families |= bit;
		if (flags & 0x80)
			out->forwarding_families |= bit;
	}
	return !v.bad;
}

/* RFC 9494 3.1: the last of several capabilities counts. A malformed capability is ignored. */
static void
capability_long_lived(struct rd v, struct bgp_open *out)
{
	if (rd_left(&v) % 7 != 0)
		return;
	out->long_lived = true;
	out->long_lived_families = out->long_lived_forwarding = 0;
	while (rd_left(&v) > 0) {
		uint16_t afi = rd_u16(&v);
		enum family f = family_from_afi_safi(afi, rd_u8(&v));
		uint8_t flags = rd_u8(&v);
		uint32_t time = (uint32_t)rd_u8(&v) << 16;

		time |= rd_u16(&v);
		if (f == FAMILY_COUNT)
			continue;
		out->long_lived_families |= (uint8_t)(1u << f);
		if (flags & 0x80)
			out->long_lived_forwarding |= (uint8_t)(1u << f);
		out->long_lived_s[f] = time;
	}
}

/* RFC 7911 4: unknown modes are ignored. */
static bool
capability_add_path(struct rd v, struct bgp_open *out)
{
	if (rd_left(&v) == 0)
		return false;
	while (!v.bad && rd_left(&v) > 0) {
		uint16_t afi = rd_u16(&v);
		uint8_t bit = family_bit(afi, rd_u8(&v));
		uint8_t mode = rd_u8(&v);

		if (mode == 1 || mode == 3)
			out->add_path_receive |= bit;
		if (mode == 2 || mode == 3)
			out->add_path_send |= bit;
	}
	return !v.bad;
}

/* RFC 9234 4.1. A capability of another length means nothing. */
static void
capability_role(struct rd v, struct bgp_open *out)
{
	uint16_t role;

	if (rd_left(&v) != 1)
		return;
	role = (uint16_t)(rd_u8(&v) + ROLE_PROVIDER);
	out->roles_differ |= out->role != ROLE_NONE && out->role != role;
	out->role = role;
}

/* False: the capability has a wrong length. */
static bool
capability(uint8_t code, struct rd v, struct bgp_open *out)
{
	size_t len = rd_left(&v);

	switch (code) {
	case CAP_MULTIPROTOCOL:
		return capability_multiprotocol(v, out);
	case CAP_ROUTE_REFRESH:
		out->route_refresh = true;
		return len == 0;
	case CAP_EXTENDED_NEXT_HOP:
		return capability_extended_next_hop(v, out);
	case CAP_EXTENDED_MESSAGE:
		out->extended_message = true;
		return len == 0;
	case CAP_MULTIPLE_LABELS:
		capability_multiple_labels(v, out);
		return true;
	case CAP_ROLE:
		capability_role(v, out);
		return true;
	case CAP_GRACEFUL_RESTART:
		return capability_graceful_restart(v, out);
	case CAP_LONG_LIVED:
		capability_long_lived(v, out);
		return true;
	case CAP_FOUR_OCTET_AS:
		out->four_octet_as = true;
		out->asn = rd_u32(&v);
		return len == 4;
	case CAP_ADD_PATH:
		return capability_add_path(v, out);
	case CAP_ENHANCED_ROUTE_REFRESH:
		out->enhanced_route_refresh = true;
		return len == 0;
	case 128: /* route refresh before RFC 2918; senders of 128 send 2 as well */
		return len == 0;
	default:
		return true;
	}
}

/* RFC 5492 4: the value of one Capabilities parameter. */
static bool
capabilities(struct rd v, struct bgp_open *out)
{
	while (rd_left(&v) > 0) {
		uint8_t code = rd_u8(&v);
		uint8_t len = rd_u8(&v);
		struct rd value = rd_sub(&v, len);

		if (v.bad)
			return false;
		/* further capabilities take effect, but are not shown */
		if (out->raw_count < OPEN_RAW_CAPABILITIES_MAX) {
			out->raw[out->raw_count].code = code;
			out->raw[out->raw_count].len = len;
			out->raw[out->raw_count].value = value.p;
			out->raw_count++;
		}
		if (!capability(code, value, out))
			return false;
	}
	return true;
}

/* RFC 4271 4.2 and, by `extended`, RFC 9072 2. */
static struct bgp_error
parameters(struct rd v, bool extended, struct bgp_open *out)
{
	while (rd_left(&v) > 0) {
		const uint8_t *start = v.p;
		uint8_t type = rd_u8(&v);
		uint16_t len = extended ? rd_u16(&v) : rd_u8(&v);
		struct rd value = rd_sub(&v, len);

		if (v.bad)
			return reset(ERR_OPEN, 0);
		if (type != 2)
			return reset_with(
				ERR_OPEN, OPEN_UNSUPPORTED_PARAMETER, start, (size_t)(v.p - start));
		if (!capabilities(value, out))
			return reset(ERR_OPEN, 0);
	}
	return (struct bgp_error){0};
}

struct bgp_error
bgp_open_decode(const uint8_t *msg, size_t len, struct bgp_open *out)
{
	static const uint8_t supported_version[2] = {0, BGP_VERSION};
	struct bgp_error e;
	struct rd r;
	size_t param_len;
	bool extended;

	memset(out, 0, sizeof(*out));
	if (len < min_len[BGP_OPEN])
		return reset(ERR_HEADER, HEADER_BAD_LENGTH);
	r = rd_init(msg + BGP_HEADER_LEN, len - BGP_HEADER_LEN);
	out->version = rd_u8(&r);
	out->asn = out->asn_field = rd_u16(&r);
	out->hold_time_s = rd_u16(&r);
	out->identifier = rd_u32(&r);
	param_len = rd_u8(&r);
	if (out->version != BGP_VERSION)
		return reset_with(ERR_OPEN, OPEN_UNSUPPORTED_VERSION, supported_version, 2);
	if (out->asn_field == 0) /* RFC 7607 2 */
		return reset(ERR_OPEN, OPEN_BAD_PEER_AS);
	if (out->hold_time_s == 1 || out->hold_time_s == 2)
		return reset(ERR_OPEN, OPEN_UNACCEPTABLE_HOLD_TIME);
	if (out->identifier == 0) /* RFC 6286 2.2 */
		return reset(ERR_OPEN, OPEN_BAD_IDENTIFIER);
	/* RFC 9072 2: the first parameter type is 255, the old length is not 0, and the extended length follows */
	extended = param_len != 0 && rd_left(&r) > 0 && r.p[0] == 255;
	if (extended) {
		rd_u8(&r);
		param_len = rd_u16(&r);
	}
	if (r.bad || param_len != rd_left(&r))
		return reset(ERR_OPEN, 0);
	e = parameters(r, extended, out);
	if (e.severity == BGP_OK && out->asn == 0) /* RFC 7607 2 */
		return reset(ERR_OPEN, OPEN_BAD_PEER_AS);
	return e;
}

struct bgp_error
bgp_open_check(
	const struct bgp_open *o, uint32_t expected_asn, uint32_t own_asn, uint32_t own_identifier)
{
	if (expected_asn != 0 && o->asn != expected_asn)
		return reset(ERR_OPEN, OPEN_BAD_PEER_AS);
	/* RFC 6286 2.2: identifiers are unique within the AS, so an equal identifier is an error of internal peers only */
	if (o->asn == own_asn && o->identifier == own_identifier)
		return reset(ERR_OPEN, OPEN_BAD_IDENTIFIER);
	return (struct bgp_error){0};
}

struct bgp_error
bgp_role_check(const struct bgp_open *o, enum session_role ours, bool strict)
{
	if (ours == ROLE_NONE || (o->role == ROLE_NONE && !strict))
		return (struct bgp_error){0};
	if (o->roles_differ || !role_pair_valid(ours, (enum session_role)o->role))
		return reset(ERR_OPEN, OPEN_ROLE_MISMATCH);
	return (struct bgp_error){0};
}

static void
begin(struct wr *w, enum bgp_type type)
{
	uint8_t *marker = wr_reserve(w, 16);

	if (marker)
		memset(marker, 0xff, 16);
	wr_u16(w, 0); /* finish() fills in the length */
	wr_u8(w, type);
}

static size_t
finish(struct wr *w)
{
	size_t len = wr_len(w);

	if (w->bad || len > UINT16_MAX)
		return 0;
	w->start[16] = (uint8_t)(len >> 8);
	w->start[17] = (uint8_t)len;
	return len;
}

/* RFC 8950 4 */
static void
encode_extended_next_hop(uint8_t families, struct wr *w)
{
	unsigned count = 0;

	for (enum family f = 0; f < FAMILY_COUNT; f++)
		count += families >> f & 1 && family_afi(f) == AFI_IPV4;
	if (count == 0)
		return;
	wr_u16(w, (uint16_t)(CAP_EXTENDED_NEXT_HOP << 8 | 6 * count));
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		if (!(families >> f & 1) || family_afi(f) != AFI_IPV4)
			continue;
		wr_u16(w, AFI_IPV4);
		wr_u16(w, family_safi(f));
		wr_u16(w, AFI_IPV6);
	}
}

/* RFC 8277 2.1 */
static void
encode_multiple_labels(const uint8_t labels_max[FAMILY_COUNT], struct wr *w)
{
	unsigned count = 0;

	for (enum family f = 0; f < FAMILY_COUNT; f++)
		count += labels_max[f] >= 2;
	if (count == 0)
		return;
	wr_u16(w, (uint16_t)(CAP_MULTIPLE_LABELS << 8 | 4 * count));
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		if (labels_max[f] < 2)
			continue;
		wr_u16(w, family_afi(f));
		wr_u8(w, (uint8_t)family_safi(f));
		wr_u8(w, labels_max[f]);
	}
}

/* RFC 4724 3: without families: helper and End-of-RIB only, and the restart time has no meaning. */
static void
encode_graceful_restart(const struct bgp_open_options *o, struct wr *w)
{
	uint16_t len = 2;

	for (enum family f = 0; f < FAMILY_COUNT; f++)
		len = (uint16_t)(len + (o->restart_families >> f & 1) * 4);
	wr_u16(w, (uint16_t)(CAP_GRACEFUL_RESTART << 8 | len));
	wr_u16(w, (uint16_t)(o->restart_state << 15 | o->restart_notification << 14 |
			     (o->restart_time_s & 0x0fff)));
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		if (!(o->restart_families >> f & 1))
			continue;
		wr_u16(w, family_afi(f));
		wr_u8(w, (uint8_t)family_safi(f));
		wr_u8(w, o->forwarding_families >> f & 1 ? 0x80 : 0);
	}
}

static void
encode_families(uint8_t families, struct wr *w)
{
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		if (!(families & 1u << f))
			continue;
		wr_u16(w, CAP_MULTIPROTOCOL << 8 | 4);
		wr_u16(w, family_afi(f));
		wr_u16(w, family_safi(f));
	}
}

static void
encode_capabilities(const struct bgp_open_options *o, struct wr *w)
{
	encode_families(o->families, w);
	if (o->rt_constraint) {
		wr_u16(w, CAP_MULTIPROTOCOL << 8 | 4);
		wr_u16(w, AFI_IPV4);
		wr_u16(w, SAFI_RT_CONSTRAINT);
	}
	if (o->route_refresh)
		wr_u16(w, CAP_ROUTE_REFRESH << 8);
	encode_extended_next_hop(o->extended_next_hop, w);
	if (o->extended_message)
		wr_u16(w, CAP_EXTENDED_MESSAGE << 8);
	encode_multiple_labels(o->labels_max, w);
	if (o->role != ROLE_NONE) {
		wr_u16(w, CAP_ROLE << 8 | 1);
		wr_u8(w, (uint8_t)(o->role - ROLE_PROVIDER));
	}
	if (o->graceful_restart)
		encode_graceful_restart(o, w);
	if (o->graceful_restart && o->long_lived)
		wr_u16(w, CAP_LONG_LIVED << 8);
	if (o->four_octet_as) {
		wr_u16(w, CAP_FOUR_OCTET_AS << 8 | 4);
		wr_u32(w, o->asn);
	}
	if (o->enhanced_route_refresh)
		wr_u16(w, CAP_ENHANCED_ROUTE_REFRESH << 8);
}

size_t
bgp_open_encode(const struct bgp_open_options *o, uint8_t *buf, size_t size)
{
	uint8_t caps
		[128]; /* encode_capabilities() writes at most 118 octets: five families, four of them each with extended next hop, labels and restart flags, and seven other capabilities */
	struct wr c = wr_init(caps, sizeof(caps));
	struct wr w = wr_init(buf, size);
	uint8_t len;

	encode_capabilities(o, &c);
	len = (uint8_t)wr_len(&c);
	begin(&w, BGP_OPEN);
	wr_u8(&w, BGP_VERSION);
	wr_u16(&w, o->asn > UINT16_MAX ? AS_TRANS : (uint16_t)o->asn); /* RFC 6793 4.2.1 */
	wr_u16(&w, o->hold_time_s);
	wr_u32(&w, o->identifier);
	wr_u8(&w, len > 0 ? (uint8_t)(len + 2) : 0);
	if (len > 0) {
		wr_u8(&w, 2);
		wr_u8(&w, len);
		wr_bytes(&w, caps, len);
	}
	return finish(&w);
}

size_t
bgp_families_encode(uint8_t families, uint8_t *buf, size_t size)
{
	struct wr w = wr_init(buf, size);

	encode_families(families, &w);
	return w.bad ? 0 : wr_len(&w);
}

size_t
bgp_keepalive_encode(uint8_t *buf, size_t size)
{
	struct wr w = wr_init(buf, size);

	begin(&w, BGP_KEEPALIVE);
	return finish(&w);
}

size_t
bgp_notification_encode(uint8_t code, uint8_t subcode, const uint8_t *data, size_t data_len,
	uint8_t *buf, size_t size)
{
	struct wr w = wr_init(buf, size);

	begin(&w, BGP_NOTIFICATION);
	wr_u8(&w, code);
	wr_u8(&w, subcode);
	/* Too much data is cut to fit: a part of the explanation is better than none. RFC 8654 4 allows messages above BGP_MSG_MAX; not every peer accepts them. */
	if (size > BGP_MSG_MAX)
		size = BGP_MSG_MAX;
	if (!w.bad && data_len > size - wr_len(&w))
		data_len = size - wr_len(&w);
	wr_bytes(&w, data, data_len);
	return finish(&w);
}

#define SHUTDOWN_TEXT_MAX 128

size_t
bgp_cease_encode(uint8_t subcode, const char *text, uint8_t *buf, size_t size)
{
	uint8_t data[1 + SHUTDOWN_TEXT_MAX];
	size_t len = text ? strlen(text) : 0;

	/* RFC 9003 2: only these two subcodes carry a text. */
	if (len == 0 || (subcode != CEASE_ADMIN_SHUTDOWN && subcode != CEASE_ADMIN_RESET))
		return bgp_notification_encode(ERR_CEASE, subcode, NULL, 0, buf, size);
	if (len > SHUTDOWN_TEXT_MAX) {
		/* UTF-8: cut before a character, not inside a character */
		len = SHUTDOWN_TEXT_MAX;
		while (len > 0 && ((uint8_t)text[len] & 0xc0) == 0x80)
			len--;
	}
	data[0] = (uint8_t)len;
	memcpy(data + 1, text, len);
	return bgp_notification_encode(ERR_CEASE, subcode, data, len + 1, buf, size);
}

struct bgp_error
bgp_notification_decode(const uint8_t *msg, size_t len, struct bgp_notification *out)
{
	memset(out, 0, sizeof(*out));
	if (len < BGP_HEADER_LEN + 2)
		return reset(ERR_HEADER, HEADER_BAD_LENGTH);
	out->code = msg[BGP_HEADER_LEN];
	out->subcode = msg[BGP_HEADER_LEN + 1];
	out->data = msg + BGP_HEADER_LEN + 2;
	out->data_len = (uint16_t)(len - BGP_HEADER_LEN - 2);
	return (struct bgp_error){0};
}

/* The IANA registries "BGP Error (Notification) Codes" and subcodes. A row for each pair; subcode 0: the code alone. */
static const struct {
	uint8_t code, subcode;
	const char *text;
} notification_texts[] = {
	{ERR_HEADER, 0, "message-header-error"},
	{ERR_HEADER, HEADER_NOT_SYNCHRONIZED, "message-header-error/connection-not-synchronized"},
	{ERR_HEADER, HEADER_BAD_LENGTH, "message-header-error/bad-message-length"},
	{ERR_HEADER, HEADER_BAD_TYPE, "message-header-error/bad-message-type"},
	{ERR_OPEN, 0, "open-message-error"},
	{ERR_OPEN, OPEN_UNSUPPORTED_VERSION, "open-message-error/unsupported-version-number"},
	{ERR_OPEN, OPEN_BAD_PEER_AS, "open-message-error/bad-peer-as"},
	{ERR_OPEN, OPEN_BAD_IDENTIFIER, "open-message-error/bad-bgp-identifier"},
	{ERR_OPEN, OPEN_UNSUPPORTED_PARAMETER, "open-message-error/unsupported-optional-parameter"},
	{ERR_OPEN, OPEN_UNACCEPTABLE_HOLD_TIME, "open-message-error/unacceptable-hold-time"},
	{ERR_OPEN, OPEN_UNSUPPORTED_CAPABILITY, "open-message-error/unsupported-capability"},
	{ERR_OPEN, OPEN_ROLE_MISMATCH, "open-message-error/role-mismatch"},
	{ERR_UPDATE, 0, "update-message-error"},
	{ERR_UPDATE, UPDATE_MALFORMED_LIST, "update-message-error/malformed-attribute-list"},
	{ERR_UPDATE, UPDATE_UNRECOGNIZED_WELL_KNOWN,
		"update-message-error/unrecognized-well-known-attribute"},
	{ERR_UPDATE, UPDATE_MISSING_WELL_KNOWN,
		"update-message-error/missing-well-known-attribute"},
	{ERR_UPDATE, UPDATE_ATTR_FLAGS, "update-message-error/attribute-flags-error"},
	{ERR_UPDATE, UPDATE_ATTR_LENGTH, "update-message-error/attribute-length-error"},
	{ERR_UPDATE, UPDATE_INVALID_ORIGIN, "update-message-error/invalid-origin-attribute"},
	{ERR_UPDATE, UPDATE_INVALID_NEXT_HOP, "update-message-error/invalid-next-hop-attribute"},
	{ERR_UPDATE, UPDATE_OPTIONAL_ATTRIBUTE, "update-message-error/optional-attribute-error"},
	{ERR_UPDATE, UPDATE_INVALID_NETWORK, "update-message-error/invalid-network-field"},
	{ERR_UPDATE, UPDATE_MALFORMED_AS_PATH, "update-message-error/malformed-as-path"},
	{ERR_HOLD_TIMER, 0, "hold-timer-expired"},
	{ERR_FSM, 0, "finite-state-machine-error"},
	{ERR_FSM, FSM_UNEXPECTED_IN_OPEN_SENT,
		"finite-state-machine-error/unexpected-message-in-open-sent"},
	{ERR_FSM, FSM_UNEXPECTED_IN_OPEN_CONFIRM,
		"finite-state-machine-error/unexpected-message-in-open-confirm"},
	{ERR_FSM, FSM_UNEXPECTED_IN_ESTABLISHED,
		"finite-state-machine-error/unexpected-message-in-established"},
	{ERR_CEASE, 0, "cease"},
	{ERR_CEASE, CEASE_MAX_PREFIXES, "cease/maximum-number-of-prefixes-reached"},
	{ERR_CEASE, CEASE_ADMIN_SHUTDOWN, "cease/administrative-shutdown"},
	{ERR_CEASE, CEASE_PEER_DECONFIGURED, "cease/peer-de-configured"},
	{ERR_CEASE, CEASE_ADMIN_RESET, "cease/administrative-reset"},
	{ERR_CEASE, CEASE_REJECTED, "cease/connection-rejected"},
	{ERR_CEASE, CEASE_CONFIG_CHANGE, "cease/other-configuration-change"},
	{ERR_CEASE, CEASE_COLLISION, "cease/connection-collision-resolution"},
	{ERR_CEASE, CEASE_OUT_OF_RESOURCES, "cease/out-of-resources"},
	{ERR_CEASE, CEASE_HARD_RESET, "cease/hard-reset"},
	{ERR_CEASE, 10, "cease/bfd-down"}, /* RFC 9384 */
	{ERR_ROUTE_REFRESH, 0, "route-refresh-message-error"},
	{ERR_ROUTE_REFRESH, REFRESH_INVALID_LENGTH,
		"route-refresh-message-error/invalid-message-length"},
	{ERR_SEND_HOLD_TIMER, 0, "send-hold-timer-expired"},
};

const char *
bgp_notification_text(uint8_t code, uint8_t subcode)
{
	const char *text = "unknown";

	for (size_t i = 0; i < sizeof(notification_texts) / sizeof(notification_texts[0]); i++) {
		if (notification_texts[i].code != code)
			continue;
		if (notification_texts[i].subcode == subcode)
			return notification_texts[i].text;
		if (notification_texts[i].subcode == 0)
			text = notification_texts[i].text;
	}
	return text;
}

#define REFRESH_LEN (BGP_HEADER_LEN + 4)

struct bgp_error
bgp_refresh_decode(const uint8_t *msg, size_t len, bool enhanced, struct bgp_refresh *out)
{
	struct rd r;

	memset(out, 0, sizeof(*out));
	if (len < BGP_HEADER_LEN)
		return reset(ERR_HEADER, HEADER_BAD_LENGTH);
	r = rd_init(msg + BGP_HEADER_LEN, len - BGP_HEADER_LEN);
	out->afi = rd_u16(&r);
	out->subtype = rd_u8(&r);
	out->safi = rd_u8(&r);
	/* RFC 7313 5: BoRR or EoRR with a length other than 4; the data is the whole message */
	if (enhanced && (out->subtype == REFRESH_BEGIN || out->subtype == REFRESH_END) &&
		len != REFRESH_LEN)
		return reset_with(ERR_ROUTE_REFRESH, REFRESH_INVALID_LENGTH, msg, len);
	/* A longer request has ORF entries of RFC 5291, which were not negotiated: the request is for all routes. */
	if (r.bad)
		return reset_with(ERR_HEADER, HEADER_BAD_LENGTH, msg + 16, 2);
	/* RFC 2918 3: the octet is reserved and ignored unless RFC 7313 was negotiated */
	if (!enhanced)
		out->subtype = REFRESH_REQUEST;
	out->ignore = out->subtype > REFRESH_END;
	return (struct bgp_error){0};
}

size_t
bgp_refresh_encode(enum family f, enum refresh_subtype subtype, uint8_t *buf, size_t size)
{
	struct wr w = wr_init(buf, size);

	begin(&w, BGP_ROUTE_REFRESH);
	wr_u16(&w, family_afi(f));
	wr_u8(&w, subtype);
	wr_u8(&w, family_safi(f));
	return finish(&w);
}
