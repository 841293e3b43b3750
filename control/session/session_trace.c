/* SPDX-License-Identifier: BSD-3-Clause */
/* Events of traces (rib/shard/trace.h): messages of sessions. */
#include "control/session/session_impl.h"

#include "control/bgp/bgp_nlri.h"
#include "rib/shard/trace.h"

#include <netinet/in.h>
#include <sys/socket.h>

/* RFC 4271 4.3, RFC 4760 3 and 4 */
enum { FLAG_EXTENDED_LENGTH = 0x10, TYPE_MP_REACH = 14, TYPE_MP_UNREACH = 15 };

void
speaker_trace(struct speaker *s, struct trace_tap *tap)
{
	s->tap = tap;
	if (s->groups != NULL)
		update_groups_trace(s->groups, tap);
}

/* Bits of the filters with a prefix of the field. Stops at an octet that is no prefix. */
static unsigned
field_matches(const struct peer *p, struct rd field, struct nlri_form form)
{
	bool vpn = form.safi == SAFI_VPN;
	enum family family = form.afi == AFI_IPV6
				     ? (vpn ? FAMILY_VPNV6_UNICAST : FAMILY_IPV6_UNICAST)
				     : (vpn ? FAMILY_VPNV4_UNICAST : FAMILY_IPV4_UNICAST);
	unsigned bits = 0;
	struct nlri n;

	while (nlri_read_form(&field, form, &n))
		bits |= trace_of_prefix(p->speaker->tap, p->config.vrf, family, &n.prefix);
	return bits;
}

/* MP_REACH_NLRI or MP_UNREACH_NLRI (RFC 4760 3, 4). */
static unsigned
mp_matches(const struct peer *p, struct rd value, bool reach)
{
	struct nlri_form form = {.withdrawn = !reach};
	uint16_t afi = rd_u16(&value);

	form.afi = (uint8_t)afi;
	form.safi = rd_u8(&value);
	if (value.bad || (afi != AFI_IPV4 && afi != AFI_IPV6) ||
		(form.safi != SAFI_UNICAST && form.safi != SAFI_VPN))
		return 0;
	if (reach) {
		(void)rd_bytes(&value, rd_u8(&value)); /* next hop */
		(void)rd_u8(&value);
	}
	return field_matches(p, value, form);
}

/* Bits of the filters with a prefix of an UPDATE (RFC 4271 4.3), also of an UPDATE with faults. */
static unsigned
update_matches(const struct peer *p, const uint8_t *msg, size_t len)
{
	static const struct nlri_form v4 = {.afi = AFI_IPV4, .safi = SAFI_UNICAST};
	struct rd r = rd_init(msg + BGP_HEADER_LEN, len - BGP_HEADER_LEN), attrs;
	unsigned bits = field_matches(p, rd_sub(&r, rd_u16(&r)), v4);

	attrs = rd_sub(&r, rd_u16(&r));
	bits |= field_matches(p, r, v4);
	while (!attrs.bad && rd_left(&attrs) > 0) {
		uint8_t flags = rd_u8(&attrs), type = rd_u8(&attrs);
		struct rd value = rd_sub(
			&attrs, flags & FLAG_EXTENDED_LENGTH ? rd_u16(&attrs) : rd_u8(&attrs));

		if (type == TYPE_MP_REACH || type == TYPE_MP_UNREACH)
			bits |= mp_matches(p, value, type == TYPE_MP_REACH);
	}
	return bits;
}

uint16_t
socket_port(int fd, bool remote)
{
	struct sockaddr_storage at;
	socklen_t len = sizeof(at);
	struct sockaddr *a = (struct sockaddr *)&at;

	if (fd < 0 || (remote ? getpeername(fd, a, &len) : getsockname(fd, a, &len)) != 0)
		return 0;
	if (at.ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)(const void *)&at)->sin6_port);
	return ntohs(((const struct sockaddr_in *)(const void *)&at)->sin_port);
}

static void
message_trace(const struct connection *c, enum trace_kind kind, const uint8_t *msg, size_t len)
{
	const struct peer *p = c->peer;
	struct trace_tap *tap = p->speaker->tap;
	struct trace_event e = {.kind = (uint8_t)kind,
		.peer = p->id,
		.vrf = p->config.vrf,
		.octets = (uint32_t)len,
		.local = c->local_addr,
		.remote = p->config.addr};

	e.traces = (uint8_t)trace_of_peer(tap, p->id);
	if (msg[18] == BGP_UPDATE)
		e.traces |= (uint8_t)update_matches(p, msg, len);
	if (e.traces == 0)
		return;
	e.local_port = socket_port(c->watch.fd, false);
	e.remote_port = socket_port(c->watch.fd, true);
	trace_put(tap, &e, msg);
}

void
trace_received(const struct connection *c, const uint8_t *msg, size_t len)
{
	message_trace(c, TRACE_RECEIVED, msg, len);
}

void
trace_sent(const struct connection *c, const uint8_t *octets, size_t len)
{
	while (len >= BGP_HEADER_LEN) {
		size_t n = (size_t)octets[16] << 8 | octets[17];

		if (n < BGP_HEADER_LEN || n > len)
			return;
		message_trace(c, TRACE_SENT, octets, n);
		octets += n;
		len -= n;
	}
}
