/* SPDX-License-Identifier: BSD-3-Clause */
/* Errors of messages in words. Works on its arguments only. */
#include "control/bgp/bgp_error.h"

#include "control/bgp/bgp_attr.h"
#include "control/bgp/bgp_attr_impl.h"
#include "control/bgp/bgp_msg.h"
#include "rib/shard/refused.h"

#include <arpa/inet.h>
#include <stdio.h>

/* The value of the attribute in the data of an error, up to the end of the data. */
static struct rd
value_of(const struct bgp_error *e)
{
	struct rd r = rd_init(e->data, e->data_len);
	uint8_t flags = rd_u8(&r);

	rd_u8(&r);
	rd_bytes(&r, flags & FLAG_EXTENDED_LENGTH ? 2 : 1);
	return r;
}

/* The length field of the attribute at `data`. */
static unsigned
length_said(const struct bgp_error *e)
{
	struct rd r = rd_init(e->data, e->data_len);
	uint8_t flags = rd_u8(&r);

	rd_u8(&r);
	return flags & FLAG_EXTENDED_LENGTH ? rd_u16(&r) : rd_u8(&r);
}

/* UPDATE_MALFORMED_LIST: length fields of the message, or the list of attributes. */
static void
list_text(const struct bgp_error *e, const char *name, char *buf, size_t size)
{
	if (e->attribute == 0 && e->severity == TREAT_AS_WITHDRAW && e->data == NULL)
		snprintf(buf, size, "the attributes are too long");
	else if (e->attribute == 0 && e->data == NULL)
		snprintf(buf, size,
			"the lengths of withdrawn routes and attributes do not fit the message");
	else if (e->attribute == 0)
		snprintf(
			buf, size, "the list of attributes ends within the header of an attribute");
	else if (e->data == NULL)
		snprintf(buf, size,
			"%s is malformed or missing, and no prefix is announced that could be "
			"withdrawn",
			name);
	else if (e->severity == TREAT_AS_WITHDRAW)
		snprintf(buf, size, "%s: its length %u exceeds the list of attributes", name,
			length_said(e));
	else
		snprintf(buf, size, "%s appears more than once", name);
}

static void
length_text(const struct bgp_error *e, const char *name, char *buf, size_t size)
{
	struct rd v = value_of(e);
	bool multiple;
	unsigned octets = bgp_attr_octets(e->attribute, &multiple);

	if (e->attribute == ATTR_AGGREGATOR)
		snprintf(buf, size,
			"%s: length %zu, expected 8 (6 from a peer with 2-octet AS numbers)", name,
			rd_left(&v));
	else if (multiple)
		snprintf(buf, size, "%s: length %zu, expected a multiple of %u, at least %u", name,
			rd_left(&v), octets, octets);
	else
		snprintf(buf, size, "%s: length %zu, expected %u", name, rd_left(&v), octets);
}

static void
flags_text(const struct bgp_error *e, const char *name, char *buf, size_t size)
{
	unsigned flags = e->data_len > 0 ? e->data[0] : 0;

	snprintf(buf, size, "%s: optional and transitive flags 0x%02x, expected 0x%02x", name,
		flags & KIND_MASK, (unsigned)bgp_attr_flags(e->attribute));
}

/*
 * UPDATE_INVALID_NEXT_HOP: `data` is the attribute for NEXT_HOP, the next hop field for MP_REACH_NLRI: one or two addresses, in VPN
 * families (12, 24 or 48 octets) with a route distinguisher before each address.
 */
static void
next_hop_text(const struct bgp_error *e, const char *name, char *buf, size_t size)
{
	struct rd v = e->attribute == ATTR_MP_REACH ? rd_init(e->data, e->data_len) : value_of(e);
	char text[INET6_ADDRSTRLEN] = "?";
	size_t len = rd_left(&v);

	if (len == 12 || len == 24 || len == 48)
		rd_bytes(&v, 8);
	if (len == 4 || len == 12)
		inet_ntop(AF_INET, v.p, text, sizeof(text));
	else if (len == 16 || len == 32 || len == 24 || len == 48)
		inet_ntop(AF_INET6, v.p, text, sizeof(text));
	snprintf(buf, size, "%s: next hop %s is ours, or the address of no host", name, text);
}

/* RFC 4760 3, RFC 4364 4.3.2, RFC 4659 3.2.1, RFC 8950 3: lengths of the next hop in MP_REACH_NLRI. */
static const char *
next_hop_lengths(uint16_t afi, uint8_t safi)
{
	if (afi == AFI_IPV4)
		return safi == SAFI_VPN ? "12, or with IPv6 next hops negotiated 24 or 48"
					: "4, or with IPv6 next hops negotiated 16 or 32";
	return safi == SAFI_VPN ? "24 or 48" : "16 or 32";
}

/* MP_REACH_NLRI or MP_UNREACH_NLRI. */
static void
mp_text(const struct bgp_error *e, const char *name, char *buf, size_t size)
{
	static const char *const faults[NLRI_FAULTS] = {
		[NLRI_SOUND] = "wrong flags, or a length beyond the list of attributes",
		[NLRI_ATTRIBUTE_CUT] = "the attribute ends before its prefixes",
		[NLRI_CUT] = "the last prefix is longer than the attribute",
		[NLRI_NO_LABEL] = "the length of a prefix leaves no room for a label",
		[NLRI_NO_BOTTOM] = "the label stack of a prefix has no bottom",
		[NLRI_NO_DISTINGUISHER] =
			"the length of a prefix leaves no room for a route distinguisher",
		[NLRI_TOO_LONG] = "a prefix is longer than an address of the family",
		[NLRI_TOO_MANY_LABELS] = "a prefix has more labels than our capability allows",
	};
	struct rd v;
	uint16_t afi;
	uint8_t safi;

	if (e->nlri_fault != NLRI_NEXT_HOP_LENGTH) {
		snprintf(buf, size, "%s: %s", name, faults[e->nlri_fault]);
		return;
	}
	v = value_of(e);
	afi = rd_u16(&v);
	safi = rd_u8(&v);
	snprintf(buf, size, "%s: length %u of the next hop, expected %s", name, rd_u8(&v),
		next_hop_lengths(afi, safi));
}

/* UPDATE_OPTIONAL_ATTRIBUTE: malformed, or received from a peer without the right to send the attribute. */
static void
optional_text(const struct bgp_error *e, const char *name, char *buf, size_t size)
{
	switch (e->attribute) {
	case ATTR_LOCAL_PREF:
	case ATTR_ORIGINATOR_ID:
	case ATTR_CLUSTER_LIST:
		snprintf(buf, size, "%s is not for external peers to send", name);
		break;
	case ATTR_AS4_PATH:
	case ATTR_AS4_AGGREGATOR:
		snprintf(buf, size, "%s is malformed, or comes from a peer with 4-octet AS numbers",
			name);
		break;
	case ATTR_AGGREGATOR:
		snprintf(buf, size, "%s: AS number 0 is reserved", name);
		break;
	case ATTR_MP_REACH:
	case ATTR_MP_UNREACH:
		mp_text(e, name, buf, size);
		break;
	case ATTR_OTC:
		snprintf(buf, size,
			e->refused == REFUSED_ROUTE_LEAK
				? "%s: the route leaked: the role of the peer permits no such route"
				: "%s is malformed",
			name);
		break;
	default:
		snprintf(buf, size, "%s is malformed", name);
	}
}

static void
as_path_text(const struct bgp_error *e, const char *name, char *buf, size_t size)
{
	if (e->refused == REFUSED_FIRST_AS)
		snprintf(buf, size, "%s does not begin with the AS number of the peer", name);
	else if (e->refused == REFUSED_AS_PATH_LENGTH)
		snprintf(buf, size, "%s has more AS numbers than max_as_path_length", name);
	else if (e->refused == REFUSED_AS_SET)
		snprintf(buf, size, "%s contains an AS set (RFC 9774; allow_as_sets permits it)",
			name);
	else
		snprintf(buf, size,
			"%s: malformed segment, AS number 0, or a segment that this peer must not "
			"send",
			name);
}

static void
update_text(const struct bgp_error *e, char *buf, size_t size)
{
	const char *known = bgp_attr_name(e->attribute);
	char name[32];

	if (bgp_attr_known(e->attribute))
		snprintf(name, sizeof(name), "%s", known);
	else
		snprintf(name, sizeof(name), "attribute %u", e->attribute);
	switch (e->subcode) {
	case UPDATE_MALFORMED_LIST:
		list_text(e, name, buf, size);
		break;
	case UPDATE_UNRECOGNIZED_WELL_KNOWN:
		snprintf(buf, size, "%s is unknown and not optional", name);
		break;
	case UPDATE_MISSING_WELL_KNOWN:
		snprintf(buf, size, "%s is missing", name);
		break;
	case UPDATE_ATTR_FLAGS:
		flags_text(e, name, buf, size);
		break;
	case UPDATE_ATTR_LENGTH:
		length_text(e, name, buf, size);
		break;
	case UPDATE_INVALID_ORIGIN:
		snprintf(buf, size, "%s: value %u, expected 0, 1 or 2", name,
			e->data_len > 0 ? e->data[e->data_len - 1] : 0u);
		break;
	case UPDATE_INVALID_NEXT_HOP:
		next_hop_text(e, name, buf, size);
		break;
	case UPDATE_OPTIONAL_ATTRIBUTE:
		optional_text(e, name, buf, size);
		break;
	case UPDATE_INVALID_NETWORK:
		snprintf(buf, size,
			"a prefix is malformed: its length is above 32, or exceeds the message");
		break;
	case UPDATE_MALFORMED_AS_PATH:
		as_path_text(e, name, buf, size);
		break;
	default:
		snprintf(buf, size, "%s is malformed", name);
	}
}

void
bgp_error_text(const struct bgp_error *e, char *buf, size_t size)
{
	if (e->code == ERR_UPDATE)
		update_text(e, buf, size);
	else
		snprintf(buf, size, "%s", bgp_notification_text(e->code, e->subcode));
}
