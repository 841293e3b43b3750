/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/base/prefix.h"

#include "tests/lpm/rng.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define ROUNDS 100000

static void
families_by_name_and_number(void **state)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		assert_int_equal(family_from_text(family_text(f)), f);
		assert_int_equal(family_from_afi_safi(family_afi(f), family_safi(f)), f);
	}
	assert_string_equal(family_text(FAMILY_VPNV6_UNICAST), "vpnv6-unicast");
	assert_int_equal(family_from_afi_safi(1, 1), FAMILY_IPV4_UNICAST);
	assert_int_equal(family_from_afi_safi(2, 128), FAMILY_VPNV6_UNICAST);
	assert_int_equal(family_from_afi_safi(1, 2), FAMILY_COUNT);
	assert_int_equal(family_from_afi_safi(0, 1), FAMILY_COUNT);
	assert_int_equal(family_from_text("ipv4"), FAMILY_COUNT);
	assert_int_equal(family_from_text(""), FAMILY_COUNT);
}

static void
text_is_strict(void **state)
{
	static const char *const bad[] = {
		"",
		"/",
		"10.0.0.0",
		"10.0.0.0/",
		"/8",
		"10.0.0.0/33",
		"10.0.0.0/024",
		"10.0.0.0/00",
		"10.0.0.0/+8",
		"10.0.0.0/-1",
		"10.0.0.0/8 ",
		" 10.0.0.0/8",
		"10.0.0.0 /8",
		"10.0.0.0/ 8",
		"10.0.0.0/8/8",
		"10.0.0/8",
		"10/8",
		"010.0.0.0/8",
		"10.0.0.00/8",
		"256.0.0.0/8",
		"10.0.0.0.0/8",
		"0x0a.0.0.0/8",
		"10.0.0.0/0x8",
		"10.0.0.0/8x",
		"10.0.0.0/4294967304",
		"::/129",
		"::/1000",
		":/0",
		":::/0",
		"1:2:3:4:5:6:7/64",
		"1::2::3/64",
		"12345::/16",
		"fe80::1%east/128",
		"::1.2.3/128",
		"g::/16",
		"[::]/0",
		"default",
		"1111:2222:3333:4444:5555:6666:123.123.123.1234567/128",
	};
	static const char *const host_bits[] = {
		"10.0.0.1/24",
		"0.0.0.1/0",
		"255.255.255.255/31",
		"128.0.0.0/0",
		"::1/127",
		"2001:db8::/16",
		"8000::/0",
		"::ffff:1.2.3.4/127x",
	};
	struct prefix untouched, p;

	memset(&untouched, 0x5a, sizeof(untouched));
	p = untouched;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (prefix_parse(bad[i], &p) != -EINVAL)
			fail_msg("\"%s\" was not refused", bad[i]);
	for (unsigned i = 0; i + 1 < sizeof(host_bits) / sizeof(host_bits[0]); i++)
		if (prefix_parse(host_bits[i], &p) != -EDOM)
			fail_msg("\"%s\" has host bits", host_bits[i]);
	assert_int_equal(prefix_parse("::ffff:1.2.3.4/127x", &p), -EINVAL);
	assert_memory_equal(&p, &untouched, sizeof(p));
}

static void
addresses_are_strict(void **state)
{
	static const char *const bad[] = {"", "1.2.3", "1.2.3.4/32", "1.2.3.4 ", "01.2.3.4",
		"1.2.3.400", "192.0.2.300", ":", "1:", "::1::", "fe80::2%east", "localhost"};
	struct ip_addr a;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (addr_parse(bad[i], &a) != -EINVAL)
			fail_msg("\"%s\" was not refused", bad[i]);
}

/* RFC 5952 4 and 5 */
static void
text_is_canonical(void **state)
{
	static const char *const cases[][2] = {
		{"2001:0DB8::0001", "2001:db8::1"},
		{"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},
		{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
		{"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
		{"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
		{"0:0:0:0:0:0:0:0", "::"},
		{"1:0:0:0:0:0:0:0", "1::"},
		{"0:0:0:0:0:0:0:1", "::1"},
		{"0:0:0:0:0:0:1:0", "::1:0"},
		{"0:1:0:0:0:0:0:0", "0:1::"},
		{"1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"},
		{"::ffff:c000:0201", "::ffff:192.0.2.1"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
			"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"255.255.255.255", "255.255.255.255"},
		{"0.0.0.0", "0.0.0.0"},
	};
	char buf[ADDR_TEXT_MAX];
	struct ip_addr a;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(addr_parse(cases[i][0], &a), 0);
		assert_string_equal(addr_format(&a, buf), cases[i][1]);
	}
	a = (struct ip_addr){0};
	assert_string_equal(addr_format(&a, buf), "");
}

/* Groups are often zero, so every form of "::" occurs. */
static struct ip_addr
random_addr(struct rng *rng)
{
	struct ip_addr a = {0};
	unsigned n = rng_below(rng, 2) ? 4 : 16;

	a.afi = n == 4 ? AFI_IPV4 : AFI_IPV6;
	for (unsigned i = 0; i < n; i += 2) {
		uint64_t r = rng_next(rng);

		if (r & 1)
			continue;
		a.b[i] = r & 2 ? (uint8_t)(r >> 8) : 0;
		a.b[i + 1] = (uint8_t)(r >> 16);
	}
	return a;
}

static void
agrees_with_inet(void **state)
{
	struct rng rng = rng_seeded(2);
	char ours[ADDR_TEXT_MAX], theirs[INET6_ADDRSTRLEN];
	static const uint8_t zero[12];

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct ip_addr a = random_addr(&rng), back;
		int af = a.afi == AFI_IPV4 ? AF_INET : AF_INET6;
		uint8_t bytes[16] = {0};

		addr_format(&a, ours);
		assert_int_equal(addr_parse(ours, &back), 0);
		assert_true(addr_equal(&a, &back));
		assert_int_equal(inet_pton(af, ours, bytes), 1);
		assert_memory_equal(bytes, a.b, 16);
		assert_non_null(inet_ntop(af, a.b, theirs, sizeof(theirs)));
		/* inet_ntop() treats all of ::/96 as IPv4 addresses */
		if (af == AF_INET || memcmp(a.b, zero, 12) != 0)
			assert_string_equal(ours, theirs);
		assert_int_equal(addr_parse(theirs, &back), 0);
		assert_true(addr_equal(&a, &back));
	}
}

/* The reference: bit by bit. */
static unsigned
bit(const uint8_t *b, unsigned i)
{
	return b[i / 8] >> (7 - i % 8) & 1;
}

static void
prefix_round_trip(void **state)
{
	struct rng rng = rng_seeded(3);
	char buf[PREFIX_TEXT_MAX];

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct ip_addr a = random_addr(&rng);
		unsigned max = prefix_max_len(a.afi), len = rng_below(&rng, max + 1);
		struct prefix p = prefix_from_addr(&a, (uint8_t)len), back;

		assert_int_equal(p.len, len);
		for (unsigned k = 0; k < 128; k++)
			assert_int_equal(bit(p.b, k), k < len ? bit(a.b, k) : 0);
		assert_int_equal(prefix_parse(prefix_format(&p, buf), &back), 0);
		assert_true(prefix_equal(&p, &back));
		assert_int_equal(prefix_hash(&p), prefix_hash(&back));
		assert_true(prefix_contains(&p, &a));
	}
}

/* Prefixes close to each other, so some cover others. */
static struct prefix
random_near(struct rng *rng)
{
	struct ip_addr a = {.afi = rng_below(rng, 8) ? AFI_IPV4 : AFI_IPV6, .b = {10}};

	a.b[1] = rng_below(rng, 2) ? 0 : 0x80;
	a.b[2] = (uint8_t)rng_below(rng, 4);
	return prefix_from_addr(&a, (uint8_t)(rng_below(rng, 25)));
}

static bool
slow_covers(const struct prefix *o, const struct prefix *i)
{
	if (o->afi != i->afi || o->len > i->len)
		return false;
	for (unsigned k = 0; k < o->len; k++)
		if (bit(o->b, k) != bit(i->b, k))
			return false;
	return true;
}

static void
order_and_covering(void **state)
{
	struct rng rng = rng_seeded(4);

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct prefix a = random_near(&rng), b = random_near(&rng), c = random_near(&rng);
		struct ip_addr addr = {.afi = b.afi};
		int ab = prefix_compare(&a, &b);

		memcpy(addr.b, b.b, sizeof(addr.b));
		assert_int_equal(prefix_covers(&a, &b), slow_covers(&a, &b));
		if (prefix_covers(&a, &b))
			assert_true(prefix_contains(&a, &addr));
		assert_int_equal(ab == 0, prefix_equal(&a, &b));
		assert_int_equal(ab<0, prefix_compare(&b, &a)> 0);
		if (ab < 0 && prefix_compare(&b, &c) < 0)
			assert_true(prefix_compare(&a, &c) < 0);
		if (prefix_covers(&a, &b))
			assert_true(ab <= 0);
	}
}

static void
v4_values(void **state)
{
	struct ip_addr a = addr_from_v4(0xc0000201), b = addr_from_v4(0xc0000202);
	struct prefix p = prefix_from_v4(0xc0000201, 24);
	char buf[PREFIX_TEXT_MAX];

	assert_string_equal(addr_format(&a, buf), "192.0.2.1");
	assert_int_equal(addr_v4(&a), 0xc0000201);
	assert_true(addr_compare(&a, &b) < 0);
	assert_true(addr_compare(&b, &a) > 0);
	assert_int_equal(addr_compare(&a, &a), 0);
	assert_false(addr_equal(&a, &b));
	assert_string_equal(prefix_format(&p, buf), "192.0.2.0/24");
	assert_int_equal(prefix_v4(&p), 0xc0000200);
	p = prefix_from_v4(0xffffffff, 200);
	assert_string_equal(prefix_format(&p, buf), "255.255.255.255/32");
	p = prefix_from_v4(0xffffffff, 0);
	assert_string_equal(prefix_format(&p, buf), "0.0.0.0/0");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(families_by_name_and_number),
		cmocka_unit_test(text_is_strict),
		cmocka_unit_test(addresses_are_strict),
		cmocka_unit_test(text_is_canonical),
		cmocka_unit_test(agrees_with_inet),
		cmocka_unit_test(prefix_round_trip),
		cmocka_unit_test(order_and_covering),
		cmocka_unit_test(v4_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
