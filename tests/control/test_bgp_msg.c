/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Header, OPEN, NOTIFICATION, ROUTE-REFRESH: octets as drawn in the RFCs, and encoders against
 * decoders. Most malformed messages are in the vectors (test_vectors.c).
 */
#include "tests/fuzz/harness.h"

#include <stdarg.h>

/* clang-format off */
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

static void
header(uint8_t *p, uint16_t len, uint8_t type)
{
	memset(p, 0xff, 16);
	p[16] = (uint8_t)(len >> 8);
	p[17] = (uint8_t)len;
	p[18] = type;
}

/* RFC 4271 6.1: code, subcode and data. */
static void
check_header(uint16_t len, uint8_t type, size_t max, uint8_t subcode)
{
	uint8_t p[BGP_HEADER_LEN], got_type;
	uint16_t got_len;
	struct bgp_error e;

	header(p, len, type);
	e = bgp_header_decode(p, max, &got_type, &got_len);
	assert_int_equal(e.severity, subcode ? SESSION_RESET : BGP_OK);
	assert_int_equal(e.subcode, subcode);
	assert_int_equal(got_len, len);
	assert_int_equal(got_type, type);
	if (subcode == HEADER_BAD_LENGTH) {
		assert_int_equal(e.data_len, 2);
		assert_int_equal(e.data[0] << 8 | e.data[1], len);
	} else if (subcode == HEADER_BAD_TYPE) {
		assert_int_equal(e.data_len, 1);
		assert_int_equal(e.data[0], type);
	}
}

static void
test_header(void **state)
{
	static const uint16_t least[] = {0, 29, 23, 19, 19, 19};
	uint8_t p[BGP_HEADER_LEN], type;
	uint16_t len;

	for (uint8_t t = BGP_OPEN; t <= BGP_ROUTE_REFRESH; t++) {
		check_header(least[t], t, BGP_MSG_MAX, 0);
		check_header((uint16_t)(least[t] - 1), t, BGP_MSG_MAX, HEADER_BAD_LENGTH);
		check_header(4096, t, BGP_MSG_MAX, t == BGP_KEEPALIVE ? HEADER_BAD_LENGTH : 0);
		check_header(4097, t, BGP_MSG_MAX, HEADER_BAD_LENGTH);
		/* RFC 8654 4 */
		check_header(4097, t, BGP_EXTENDED_MSG_MAX,
			t == BGP_OPEN || t == BGP_KEEPALIVE ? HEADER_BAD_LENGTH : 0);
	}
	check_header(30, 0, BGP_MSG_MAX, HEADER_BAD_TYPE);
	check_header(30, 6, BGP_MSG_MAX, HEADER_BAD_TYPE);
	check_header(30, 255, BGP_MSG_MAX, HEADER_BAD_TYPE);
	for (unsigned i = 0; i < 16; i++) {
		header(p, 19, BGP_KEEPALIVE);
		p[i] = 0xfe;
		assert_int_equal(bgp_header_decode(p, BGP_MSG_MAX, &type, &len).subcode,
			HEADER_NOT_SYNCHRONIZED);
	}
}

static void
test_open_octets(void **state)
{
	/* RFC 4271 4.2; capabilities 1, 2, 64 without families, 65, 70 in a single parameter */
	static const uint8_t want[] = {4, 0x5b, 0xa0, 0, 90, 192, 0, 2, 1, 22, 2, 20, 1, 4, 0, 1, 0,
		1, 2, 0, 64, 2, 0x40, 0, 65, 4, 0xfa, 0x56, 0xea, 1, 70, 0};
	struct bgp_open_options o = {.asn = 4200000001,
		.identifier = 0xc0000201,
		.hold_time_s = 90,
		.families = 1u << FAMILY_IPV4_UNICAST,
		.route_refresh = true,
		.enhanced_route_refresh = true,
		.four_octet_as = true,
		.graceful_restart = true,
		.restart_notification = true};
	uint8_t buf[BGP_MSG_MAX];
	size_t len = bgp_open_encode(&o, buf, sizeof(buf));

	assert_int_equal(len, BGP_HEADER_LEN + sizeof(want));
	assert_int_equal(buf[16] << 8 | buf[17], len);
	assert_int_equal(buf[18], BGP_OPEN);
	assert_memory_equal(buf + BGP_HEADER_LEN, want, sizeof(want));
}

static void
test_open_round_trip(void **state)
{
	for (unsigned bits = 0; bits < 1u << 10; bits++) {
		struct bgp_open_options o = {.asn = bits & 1 ? 65001 : 4200000001,
			.identifier = 0x0a000001 + bits,
			.hold_time_s = bits & 2 ? 0 : 180,
			.route_refresh = bits & 4,
			.enhanced_route_refresh = bits & 8,
			.extended_message = bits & 16,
			.four_octet_as = bits & 32,
			.graceful_restart = bits & 64,
			.restart_notification = (bits & 192) == 192,
			.families = (uint8_t)(bits >> 8 & 3)};

		if (o.graceful_restart) {
			o.restart_state = bits & 1;
			o.restart_time_s = (uint16_t)(bits * 7 & 0x0fff);
			o.restart_families = (uint8_t)(bits >> 3 & 0x0f);
			o.forwarding_families = (uint8_t)(bits >> 5 & o.restart_families);
		}
		/* The capability has no IPv6 families. */
		o.extended_next_hop = (uint8_t)(bits >> 1 & 0x0f);
		uint8_t buf[256], type;
		uint16_t n;
		struct bgp_open got;
		size_t len = bgp_open_encode(&o, buf, sizeof(buf));

		assert_true(len >= 29);
		assert_int_equal(bgp_header_decode(buf, BGP_MSG_MAX, &type, &n).severity, BGP_OK);
		assert_int_equal(n, len);
		assert_int_equal(type, BGP_OPEN);
		assert_int_equal(bgp_open_decode(buf, len, &got).severity, BGP_OK);
		assert_int_equal(got.version, 4);
		assert_int_equal(got.asn, o.asn > 65535 && !o.four_octet_as ? AS_TRANS : o.asn);
		assert_int_equal(got.asn_field, o.asn > 65535 ? AS_TRANS : o.asn);
		assert_int_equal(got.hold_time_s, o.hold_time_s);
		assert_int_equal(got.identifier, o.identifier);
		assert_int_equal(got.route_refresh, o.route_refresh);
		assert_int_equal(got.enhanced_route_refresh, o.enhanced_route_refresh);
		assert_int_equal(got.extended_message, o.extended_message);
		assert_int_equal(got.four_octet_as, o.four_octet_as);
		assert_int_equal(got.graceful_restart, o.graceful_restart);
		assert_int_equal(got.restart_notification, o.restart_notification);
		assert_int_equal(got.restart_state, o.restart_state);
		assert_int_equal(got.restart_time_s, o.restart_time_s);
		assert_int_equal(got.restart_families, o.restart_families);
		assert_int_equal(got.forwarding_families, o.forwarding_families);
		assert_int_equal(got.extended_next_hop,
			o.extended_next_hop &
				(1u << FAMILY_IPV4_UNICAST | 1u << FAMILY_VPNV4_UNICAST));
		assert_int_equal(got.families, o.families);
		assert_int_equal(got.multiprotocol, o.families != 0);
		for (size_t small = 0; small < len; small++)
			assert_int_equal(bgp_open_encode(&o, buf, small), 0);
	}
}

static void
test_open_details(void **state)
{
	/* 69: v4 both, v6 receive, vpnv4 mode 7; 64: R and N, 120 s, v4 preserved, v6 not; 1: v6 */
	static const uint8_t body[] = {4, 0xfd, 0xe9, 0, 90, 10, 0, 0, 1, 34, 2, 32, 69, 12, 0, 1,
		1, 3, 0, 2, 1, 1, 0, 1, 128, 7, 64, 10, 0xc0, 120, 0, 1, 1, 0x80, 0, 2, 1, 0, 1, 4,
		0, 2, 0, 1};
	uint8_t msg[BGP_HEADER_LEN + sizeof(body)];
	struct bgp_open o;
	struct bgp_error e;

	header(msg, sizeof(msg), BGP_OPEN);
	memcpy(msg + BGP_HEADER_LEN, body, sizeof(body));
	e = bgp_open_decode(msg, sizeof(msg), &o);
	assert_int_equal(e.severity, BGP_OK);
	assert_int_equal(o.add_path_send, 1u << FAMILY_IPV4_UNICAST);
	assert_int_equal(o.add_path_receive, 1u << FAMILY_IPV4_UNICAST | 1u << FAMILY_IPV6_UNICAST);
	assert_true(o.restart_state && o.restart_notification);
	assert_int_equal(o.restart_time_s, 120);
	assert_int_equal(o.restart_families, 1u << FAMILY_IPV4_UNICAST | 1u << FAMILY_IPV6_UNICAST);
	assert_int_equal(o.forwarding_families, 1u << FAMILY_IPV4_UNICAST);
	assert_int_equal(o.families, 1u << FAMILY_IPV6_UNICAST);
	assert_int_equal(o.raw_count, 3);

	/* RFC 4271 6.2: our supported version as data */
	msg[19] = 5;
	e = bgp_open_decode(msg, sizeof(msg), &o);
	assert_int_equal(e.subcode, OPEN_UNSUPPORTED_VERSION);
	assert_int_equal(e.data_len, 2);
	assert_memory_equal(e.data, ((uint8_t[]){0, 4}), 2);
}

/*
 * RFC 8950 4: the native next hop, an unknown pair, an IPv4 next hop; RFC 4724 3: the last
 * capability counts.
 */
static void
test_open_next_hops(void **state)
{
	static const uint8_t body[] = {4, 0xfd, 0xe9, 0, 90, 10, 0, 0, 1, 50, 2, 48, 5, 30, 0, 1, 0,
		1, 0, 2, 0, 2, 0, 1, 0, 2, 0, 1, 0, 4, 0, 2, 0, 1, 0, 128, 0, 1, 0, 1, 1, 1, 0, 2,
		64, 6, 0, 9, 0, 1, 1, 0x80, 64, 6, 0, 10, 0, 2, 1, 0};
	uint8_t msg[BGP_HEADER_LEN + sizeof(body)];
	struct bgp_open o;

	header(msg, sizeof(msg), BGP_OPEN);
	memcpy(msg + BGP_HEADER_LEN, body, sizeof(body));
	assert_int_equal(bgp_open_decode(msg, sizeof(msg), &o).severity, BGP_OK);
	assert_int_equal(o.extended_next_hop, 1u << FAMILY_IPV4_UNICAST);
	assert_int_equal(o.restart_time_s, 10);
	assert_int_equal(o.restart_families, 1u << FAMILY_IPV6_UNICAST);
	assert_int_equal(o.forwarding_families, 0);
	/* Not a multiple of six. */
	msg[BGP_HEADER_LEN + 13] = 29;
	assert_int_equal(bgp_open_decode(msg, sizeof(msg), &o).severity, SESSION_RESET);
}

/*
 * RFC 8277 2.1: the first triple of a family counts, a count below 2 has no meaning; unicast and
 * unknown families are ignored. RFC 4684 7: route target membership.
 */
static void
test_open_labels(void **state)
{
	static const uint8_t body[] = {4, 0xfd, 0xe9, 0, 90, 10, 0, 0, 1, 34, 2, 32, 8, 24, 0, 1,
		128, 3, 0, 1, 128, 9, 0, 2, 128, 1, 0, 2, 128, 5, 0, 1, 1, 4, 0, 1, 4, 2, 1, 4, 0,
		1, 0, 132};
	struct bgp_open_options options = {.asn = 65001,
		.identifier = 1,
		.families = 1u << FAMILY_VPNV4_UNICAST | 1u << FAMILY_VPNV6_UNICAST,
		.labels_max = {[FAMILY_VPNV4_UNICAST] = 255, [FAMILY_VPNV6_UNICAST] = 2}};
	uint8_t msg[BGP_HEADER_LEN + sizeof(body)], buf[256];
	struct bgp_open o;

	header(msg, sizeof(msg), BGP_OPEN);
	memcpy(msg + BGP_HEADER_LEN, body, sizeof(body));
	assert_int_equal(bgp_open_decode(msg, sizeof(msg), &o).severity, BGP_OK);
	assert_int_equal(o.labels_max[FAMILY_VPNV4_UNICAST], 3);
	assert_int_equal(o.labels_max[FAMILY_VPNV6_UNICAST], 0);
	assert_int_equal(o.labels_max[FAMILY_IPV4_UNICAST], 0);
	assert_true(o.rt_constraint);
	assert_int_equal(o.families, 0);
	/* not a multiple of four: ignored */
	msg[BGP_HEADER_LEN + 13] = 23;
	msg[BGP_HEADER_LEN + 11] = 25;
	msg[BGP_HEADER_LEN + 9] = 27;
	header(msg, BGP_HEADER_LEN + 10 + 27, BGP_OPEN);
	assert_int_equal(bgp_open_decode(msg, BGP_HEADER_LEN + 10 + 27, &o).severity, BGP_OK);
	assert_int_equal(o.labels_max[FAMILY_VPNV4_UNICAST], 0);
	assert_false(o.rt_constraint);
	assert_int_equal(o.raw_count, 1);

	assert_int_equal(
		bgp_open_decode(buf, bgp_open_encode(&options, buf, sizeof(buf)), &o).severity,
		BGP_OK);
	assert_int_equal(o.labels_max[FAMILY_VPNV4_UNICAST], 255);
	assert_int_equal(o.labels_max[FAMILY_VPNV6_UNICAST], 2);
	assert_int_equal(o.families, options.families);
}

/* Capabilities beyond the size of raw[] still take effect. */
static void
test_open_many(void **state)
{
	uint8_t msg[BGP_MSG_MAX];
	struct bgp_open o;
	struct wr w = wr_init(msg, sizeof(msg));

	wr_reserve(&w, 29);
	wr_u8(&w, 2);
	wr_u8(&w, 202);
	for (int i = 0; i < 100; i++)
		wr_u16(&w, 200 << 8);
	wr_u16(&w, CAP_ROUTE_REFRESH << 8);
	header(msg, (uint16_t)wr_len(&w), BGP_OPEN);
	memcpy(msg + 19, (uint8_t[]){4, 0xfd, 0xe9, 0, 90, 10, 0, 0, 1, 204}, 10);
	assert_int_equal(bgp_open_decode(msg, wr_len(&w), &o).severity, BGP_OK);
	assert_int_equal(o.raw_count, OPEN_RAW_CAPABILITIES_MAX);
	assert_true(o.route_refresh);
}

static void
test_open_check(void **state)
{
	struct bgp_open o = {.asn = 65001, .identifier = 7};

	assert_int_equal(
		/* RFC 6286: same identifier, another AS */
		bgp_open_check(&o, 65001, 64512, 7).severity, BGP_OK);
	assert_int_equal(bgp_open_check(&o, 0, 64512, 9).severity, BGP_OK);
	assert_int_equal(bgp_open_check(&o, 65002, 64512, 9).subcode, OPEN_BAD_PEER_AS);
	assert_int_equal(bgp_open_check(&o, 65001, 65001, 7).subcode, OPEN_BAD_IDENTIFIER);
	assert_int_equal(bgp_open_check(&o, 65001, 65001, 8).severity, BGP_OK);
}

/*
 * An OPEN of AS 65001 with parameters in the extended form; `said` is the octet of RFC 4271's
 * length.
 */
static size_t
extended_open(const uint8_t *parameters, size_t len, uint8_t said, size_t true_len, uint8_t *buf)
{
	static const uint8_t fixed[] = {4, 0xfd, 0xe9, 0, 90, 192, 0, 2, 2};
	size_t whole = BGP_HEADER_LEN + sizeof(fixed) + 4 + len;

	header(buf, (uint16_t)whole, BGP_OPEN);
	memcpy(buf + BGP_HEADER_LEN, fixed, sizeof(fixed));
	buf[28] = said;
	buf[29] = 255;
	buf[30] = (uint8_t)(true_len >> 8);
	buf[31] = (uint8_t)true_len;
	memcpy(buf + 32, parameters, len);
	return whole;
}

/* RFC 9072 2 */
static void
test_extended_parameters(void **state)
{
	static const uint8_t two[] = {2, 0, 2, CAP_ROUTE_REFRESH, 0, 2, 0, 6, CAP_FOUR_OCTET_AS, 4,
		0xfa, 0x56, 0xea, 1},
			     other[] = {2, 0, 2, CAP_ROUTE_REFRESH, 0, 255, 0, 0};
	uint8_t long_one[3 + 120 * 12 + 2], buf[BGP_MSG_MAX];
	struct bgp_error e;
	struct bgp_open o;

	/* any value of the old length except 0 */
	for (unsigned said = 1; said < 256; said++) {
		size_t len = extended_open(two, sizeof(two), (uint8_t)said, sizeof(two), buf);

		assert_int_equal(bgp_open_decode(buf, len, &o).severity, BGP_OK);
		assert_true(o.route_refresh && o.four_octet_as && o.raw_count == 2);
		assert_int_equal(o.asn, 4200000001);
	}
	e = bgp_open_decode(buf, extended_open(two, sizeof(two), 0, sizeof(two), buf), &o);
	assert_true(e.code == ERR_OPEN && e.subcode == 0);
	for (int off = -1; off <= 1; off += 2) {
		e = bgp_open_decode(buf,
			extended_open(two, sizeof(two), 255, sizeof(two) + (size_t)off, buf), &o);
		assert_true(e.severity == SESSION_RESET && e.code == ERR_OPEN && e.subcode == 0);
	}
	/*
	 * 255 marks the extended form only in first place; afterwards 255 is an unknown parameter.
	 */
	e = bgp_open_decode(buf, extended_open(other, sizeof(other), 255, sizeof(other), buf), &o);
	assert_true(e.code == ERR_OPEN && e.subcode == OPEN_UNSUPPORTED_PARAMETER);
	/*
	 * One parameter of 1,442 octets: more capabilities than raw[] holds, and the last still
	 * takes effect.
	 */
	memset(long_one, 0, sizeof(long_one));
	long_one[0] = 2;
	long_one[1] = (sizeof(long_one) - 3) >> 8;
	long_one[2] = (sizeof(long_one) - 3) & 0xff;
	for (unsigned i = 0; i < 120; i++) {
		long_one[3 + 12 * i] = 200;
		long_one[3 + 12 * i + 1] = 10;
	}
	long_one[sizeof(long_one) - 2] = CAP_ENHANCED_ROUTE_REFRESH;
	e = bgp_open_decode(
		buf, extended_open(long_one, sizeof(long_one), 255, sizeof(long_one), buf), &o);
	assert_int_equal(e.severity, BGP_OK);
	assert_int_equal(o.raw_count, OPEN_RAW_CAPABILITIES_MAX);
	assert_true(o.enhanced_route_refresh);
}

static void
test_notification(void **state)
{
	static uint8_t data[BGP_EXTENDED_MSG_MAX];
	uint8_t buf[BGP_EXTENDED_MSG_MAX];
	struct bgp_notification n;
	size_t len = bgp_notification_encode(3, 9, (const uint8_t *)"abc", 3, buf, sizeof(buf));

	assert_int_equal(len, 24);
	assert_int_equal(bgp_notification_decode(buf, len, &n).severity, BGP_OK);
	assert_int_equal(n.code, 3);
	assert_int_equal(n.subcode, 9);
	assert_int_equal(n.data_len, 3);
	assert_memory_equal(n.data, "abc", 3);
	/*
	 * RFC 4271 6.1, 6.4: the decoder reports a short NOTIFICATION, because the session must not
	 * answer
	 */
	assert_int_equal(bgp_notification_decode(buf, 20, &n).severity, SESSION_RESET);
	assert_int_equal(bgp_notification_decode(buf, 19, &n).subcode, HEADER_BAD_LENGTH);
	assert_int_equal(bgp_notification_decode(buf, 21, &n).severity, BGP_OK);
	/*
	 * Data is cut to fit: a whole message as data (RFC 7313 5) may be longer than a
	 * NOTIFICATION.
	 */
	assert_int_equal(
		bgp_notification_encode(7, 1, data, sizeof(data), buf, sizeof(buf)), BGP_MSG_MAX);
	assert_int_equal(bgp_notification_encode(7, 1, data, 100, buf, 40), 40);
	assert_int_equal(bgp_notification_encode(7, 1, data, 0, buf, 20), 0);
	assert_string_equal(bgp_notification_text(6, 4), "cease/administrative-reset");
	assert_string_equal(bgp_notification_text(6, 99), "cease");
	assert_string_equal(bgp_notification_text(4, 0), "hold-timer-expired");
	assert_string_equal(bgp_notification_text(99, 1), "unknown");
}

/* RFC 9003 2 */
static void
test_cease(void **state)
{
	uint8_t buf[BGP_MSG_MAX];
	char text[200];
	size_t len = bgp_cease_encode(CEASE_ADMIN_RESET, "maintenance", buf, sizeof(buf));

	assert_int_equal(len, 21 + 1 + 11);
	assert_int_equal(buf[21], 11);
	assert_memory_equal(buf + 22, "maintenance", 11);
	assert_int_equal(bgp_cease_encode(CEASE_ADMIN_RESET, NULL, buf, sizeof(buf)), 21);
	assert_int_equal(bgp_cease_encode(CEASE_ADMIN_RESET, "", buf, sizeof(buf)), 21);
	assert_int_equal(bgp_cease_encode(CEASE_COLLISION, "text", buf, sizeof(buf)), 21);
	/* 127 letters and a two-octet letter: the last letter does not fit and is not split */
	memset(text, 'x', sizeof(text));
	memcpy(text + 127, "\xc3\xa9yy", 5);
	assert_int_equal(
		bgp_cease_encode(CEASE_ADMIN_SHUTDOWN, text, buf, sizeof(buf)), 21 + 1 + 127);
	memcpy(text + 126, "\xc3\xa9yy", 5);
	assert_int_equal(
		bgp_cease_encode(CEASE_ADMIN_SHUTDOWN, text, buf, sizeof(buf)), 21 + 1 + 128);
}

static void
test_refresh_and_keepalive(void **state)
{
	uint8_t buf[64];
	struct bgp_refresh r;
	size_t len;

	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		for (unsigned s = REFRESH_REQUEST; s <= REFRESH_END; s++) {
			len = bgp_refresh_encode(f, s, buf, sizeof(buf));
			assert_int_equal(len, 23);
			assert_int_equal(bgp_refresh_decode(buf, len, true, &r).severity, BGP_OK);
			assert_int_equal(family_from_afi_safi(r.afi, r.safi), f);
			assert_int_equal(r.subtype, s);
			assert_false(r.ignore);
			/* RFC 2918: the octet is reserved */
			assert_int_equal(bgp_refresh_decode(buf, len, false, &r).severity, BGP_OK);
			assert_int_equal(r.subtype, REFRESH_REQUEST);
		}
	}
	buf[21] = 3;
	bgp_refresh_decode(buf, 23, true, &r);
	assert_true(r.ignore);
	assert_int_equal(bgp_refresh_encode(FAMILY_IPV4_UNICAST, 0, buf, 22), 0);
	assert_int_equal(bgp_keepalive_encode(buf, sizeof(buf)), 19);
	assert_int_equal(buf[17], 19);
	assert_int_equal(buf[18], BGP_KEEPALIVE);
	assert_int_equal(bgp_keepalive_encode(buf, 18), 0);
}

/* Our own messages, truncated at every octet. */
static void
test_truncations(void **state)
{
	struct bgp_open_options o = {.asn = 4200000001,
		.identifier = 1,
		.hold_time_s = 90,
		.families = 0x0f,
		.route_refresh = true,
		.enhanced_route_refresh = true,
		.extended_message = true,
		.four_octet_as = true,
		.graceful_restart = true};
	uint8_t buf[BGP_MSG_MAX];

	harness_truncations(buf, bgp_open_encode(&o, buf, sizeof(buf)), 0);
	harness_truncations(buf, bgp_cease_encode(CEASE_ADMIN_RESET, "text", buf, sizeof(buf)), 0);
	harness_truncations(
		buf, bgp_refresh_encode(FAMILY_IPV4_UNICAST, REFRESH_BEGIN, buf, sizeof(buf)), 0);
	harness_truncations(buf, bgp_keepalive_encode(buf, sizeof(buf)), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_open_octets),
		cmocka_unit_test(test_open_round_trip),
		cmocka_unit_test(test_open_details),
		cmocka_unit_test(test_open_next_hops),
		cmocka_unit_test(test_open_labels),
		cmocka_unit_test(test_open_many),
		cmocka_unit_test(test_open_check),
		cmocka_unit_test(test_extended_parameters),
		cmocka_unit_test(test_notification),
		cmocka_unit_test(test_cease),
		cmocka_unit_test(test_refresh_and_keepalive),
		cmocka_unit_test(test_truncations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
