/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text of route distinguishers and extended communities: examples of each type, refused text, and
 * a round trip of random values; the hash of prefixes in VPN tables.
 */
#include "rib/table/vpn.h"

#include "tests/lpm/rng.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* clang-format off */
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

/* Both directions. */
static const struct {
	const char *text;
	uint64_t v;
} distinguishers[] = {
	{"65000:1", 0x0000fde800000001},
	{"0:0", 0},
	{"65535:4294967295", 0x0000ffffffffffff},
	{"192.0.2.1:1", 0x0001c00002010001},
	{"255.255.255.255:65535", 0x0001ffffffffffff},
	{"0.0.0.0:0", 0x0001000000000000},
	{"65536:7", 0x0002000100000007},
	{"4200000000:1", 0x0002fa56ea000001},
	/* type 2 with an AS number of two octets: the plain text means type 0 */
	{"0x0002000000010001", 0x0002000000010001},
	{"0x0003000000000001", 0x0003000000000001},
	{"0xffffffffffffffff", UINT64_MAX},
};

static const char *const not_administered[] = {"", ":", "1", "1:", ":1", "1:2:3", "1:4294967296",
	"4294967296:1", "65536:65536", "1.2.3.4:65536", "1.2.3:1", "1.2.3.4", "1.2.3.256:1", "1:1x",
	"1:1 ", " 1:1", "+1:1", "1:-1", "0x12", "0x00000000000000001", "0x000000000000000g",
	"0000000000000000", "0X0000000000000001", "1234567890.1234567890:1",
	"18446744073709551617:1", "1:18446744073709551617", "::1:1", "rt:1:1"};

static void
test_distinguisher_text(void **state)
{
	char text[VPN_TEXT_MAX];
	struct vpn_rd rd;

	(void)state;
	for (size_t i = 0; i < sizeof(distinguishers) / sizeof(distinguishers[0]); i++) {
		assert_int_equal(vpn_rd_parse(distinguishers[i].text, &rd), 0);
		assert_int_equal(rd.v, distinguishers[i].v);
		assert_int_equal(vpn_rd_type(rd), distinguishers[i].v >> 48);
		assert_string_equal(vpn_rd_format(rd, text), distinguishers[i].text);
	}
	/* The hexadecimal form is accepted for every value. */
	assert_int_equal(vpn_rd_parse("0x0000FDE800000001", &rd), 0);
	assert_string_equal(vpn_rd_format(rd, text), "65000:1");
	for (size_t i = 0; i < sizeof(not_administered) / sizeof(not_administered[0]); i++) {
		rd.v = 77;
		if (vpn_rd_parse(not_administered[i], &rd) == 0)
			fail_msg("\"%s\" was accepted", not_administered[i]);
		assert_int_equal(rd.v, 77);
	}
}

static void
test_community_text(void **state)
{
	static const struct {
		const char *text;
		uint8_t octets[9];
	} all[] = {
		{"rt:64512:1", "\0\2\xfc\0\0\0\0\1"},
		{"soo:65535:4294967295", "\0\3\xff\xff\xff\xff\xff\xff"},
		{"rt:65536:65535", "\2\2\0\1\0\0\xff\xff"},
		{"rt:192.0.2.1:7", "\1\2\xc0\0\2\1\0\7"},
		{"soo:192.0.2.1:7", "\1\3\xc0\0\2\1\0\7"},
		{"soo:4200000000:1", "\2\3\xfa\x56\xea\0\0\1"},
		/* not transitive; an unknown subtype; a type without administrator */
		{"0x4002fc0000000001", "\x40\2\xfc\0\0\0\0\1"},
		{"0x0004fc0000000001", "\0\4\xfc\0\0\0\0\1"},
		{"0x0302fc0000000001", "\3\2\xfc\0\0\0\0\1"},
		{"0x020200000001000a", "\2\2\0\0\0\1\0\x0a"},
	};
	struct ext_community c;
	char text[VPN_TEXT_MAX];
	uint8_t octets[8];

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		bool rt = all[i].octets[0] <= 2 && all[i].octets[1] == 2;

		assert_int_equal(ext_community_parse(all[i].text, &c), 0);
		ext_community_put(c, octets);
		assert_memory_equal(octets, all[i].octets, 8);
		assert_int_equal(ext_community_get(octets).v, c.v);
		assert_string_equal(ext_community_format(c, text), all[i].text);
		assert_int_equal(ext_community_is(c, EXT_ROUTE_TARGET), rt);
	}
	for (size_t i = 0; i < sizeof(not_administered) / sizeof(not_administered[0]); i++) {
		char whole[64];

		c.v = 77;
		if (route_target_parse(not_administered[i], &c) == 0)
			fail_msg("\"%s\" was accepted", not_administered[i]);
		snprintf(whole, sizeof(whole), "soo:%s", not_administered[i]);
		if (ext_community_parse(whole, &c) == 0)
			fail_msg("\"%s\" was accepted", whole);
		assert_int_equal(c.v, 77);
	}
	assert_int_equal(route_target_parse("64512:1", &c), 0);
	assert_string_equal(ext_community_format(c, text), "rt:64512:1");
	assert_int_not_equal(route_target_parse("0x0002fc0000000001", &c), 0);
	assert_int_not_equal(ext_community_parse("64512:1", &c), 0);
}

/* The text of every value is the text of that value only. */
static void
test_text_round_trip(void **state)
{
	uint64_t s = 1;

	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t v = splitmix64(&s);
		struct vpn_rd rd, rd_again;
		struct ext_community c, c_again;
		char text[VPN_TEXT_MAX];

		/* half of the values have a known type, and half of those small numbers */
		rd.v = i % 2 ? v : (v >> 16) | (v & 3) << 48;
		c.v = i % 2 ? v : (v >> 16) | (v & 3) << 56 | (v >> 2 & 7) << 48;
		if (i % 4 == 0) {
			rd.v &= 0xffff00ff00ff00ff;
			c.v &= 0xffff0000ffff00ff;
		}
		assert_int_equal(vpn_rd_parse(vpn_rd_format(rd, text), &rd_again), 0);
		assert_true(strlen(text) < VPN_TEXT_MAX);
		assert_int_equal(rd_again.v, rd.v);
		assert_int_equal(ext_community_parse(ext_community_format(c, text), &c_again), 0);
		assert_int_equal(c_again.v, c.v);
	}
}

/* Numbers compare like the octets on the wire. */
static void
test_compare(void **state)
{
	uint64_t s = 2;

	(void)state;
	for (unsigned i = 0; i < 10000; i++) {
		struct vpn_rd a = {splitmix64(&s)}, b = {i % 8 ? splitmix64(&s) : a.v};
		uint8_t x[8], y[8];
		int order;

		ext_community_put((struct ext_community){a.v}, x);
		ext_community_put((struct ext_community){b.v}, y);
		order = memcmp(x, y, 8);
		assert_int_equal(vpn_rd_compare(a, b), (order > 0) - (order < 0));
	}
}

/* 500 instances with the same 100 prefixes: no bucket of 65,536 gets many of the 50,000 keys. */
static void
test_hash(void **state)
{
	enum { BUCKETS = 65536 };
	static uint8_t bucket[BUCKETS];
	unsigned most = 0;

	(void)state;
	for (unsigned i = 0; i < 500; i++) {
		struct vpn_rd rd = {UINT64_C(0x0000fc0000000000) + i};

		for (unsigned j = 0; j < 100; j++) {
			struct prefix p = prefix_from_v4(0x0a000000 + (j << 8), 24);
			unsigned at = (unsigned)(vpn_prefix_hash(rd, &p) % BUCKETS);

			if (++bucket[at] > most)
				most = bucket[at];
		}
	}
	/* The mean is 0.76: a bucket of 12 has a probability below 10^-6. */
	assert_in_range(most, 1, 12);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_distinguisher_text),
		cmocka_unit_test(test_community_text),
		cmocka_unit_test(test_text_round_trip),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
