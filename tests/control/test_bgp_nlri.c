/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NLRI: round trip of every length of both families, with and without path identifiers, host bits, cuts and lengths too long.
 */
#include "tests/fuzz/harness.h"

#include <stdarg.h>

/* clang-format off */
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

static uint64_t
splitmix64(uint64_t *s)
{
	uint64_t z = (*s += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static struct prefix
random_prefix(enum family f, unsigned len, uint64_t *s)
{
	struct ip_addr a = {.afi = (uint8_t)family_afi(f)};

	for (unsigned i = 0; i < (a.afi == AFI_IPV4 ? 4 : 16); i++)
		a.b[i] = (uint8_t)splitmix64(s);
	return prefix_from_addr(&a, (uint8_t)len);
}

static void
round_trip(enum family f, bool add_path)
{
	unsigned max = prefix_max_len(family_afi(f));
	struct prefix p[129];
	uint32_t ids[129];
	uint8_t buf[4096];
	struct wr w = wr_init(buf, sizeof(buf));
	uint64_t s = 1 + f;
	struct rd r;
	struct nlri n;
	size_t len = 0;

	for (unsigned i = 0; i <= max; i++) {
		p[i] = random_prefix(f, i, &s);
		ids[i] = (uint32_t)splitmix64(&s);
		nlri_write(&w, &p[i], add_path, ids[i]);
		len += nlri_wire_len(&p[i], add_path);
		assert_int_equal(wr_len(&w), len);
	}
	assert_true(nlri_check(rd_init(buf, len), f, add_path));
	r = rd_init(buf, len);
	for (unsigned i = 0; i <= max; i++) {
		assert_true(nlri_read(&r, f, add_path, &n));
		assert_memory_equal(&n.prefix, &p[i], sizeof(p[i]));
		assert_int_equal(n.path_id, add_path ? ids[i] : 0);
		/* A cut inside the last one is an error, one behind it is not. */
		harness_nlri(buf, (size_t)(r.p - buf), f, add_path);
		assert_true(nlri_check(rd_init(buf, (size_t)(r.p - buf)), f, add_path));
		if (nlri_wire_len(&p[i], add_path) > 1)
			assert_false(
				nlri_check(rd_init(buf, (size_t)(r.p - buf) - 1), f, add_path));
	}
	assert_false(nlri_read(&r, f, add_path, &n));
	assert_false(r.bad);
	/* One octet less of room is noticed. */
	w = wr_init(buf, nlri_wire_len(&p[max], add_path) - 1);
	nlri_write(&w, &p[max], add_path, 0);
	assert_true(w.bad);
}

static void
test_round_trip(void **state)
{
	round_trip(FAMILY_IPV4_UNICAST, false);
	round_trip(FAMILY_IPV4_UNICAST, true);
	round_trip(FAMILY_IPV6_UNICAST, false);
	round_trip(FAMILY_IPV6_UNICAST, true);
}

static void
test_host_bits(void **state)
{
	static const uint8_t v4[] = {9, 0xff, 0xff}, v6[] = {33, 0x20, 1, 0x0d, 0xb8, 0xff};
	struct rd r = rd_init(v4, sizeof(v4));
	char text[PREFIX_TEXT_MAX];
	struct nlri n;

	assert_true(nlri_read(&r, FAMILY_IPV4_UNICAST, false, &n));
	assert_string_equal(prefix_format(&n.prefix, text), "255.128.0.0/9");
	r = rd_init(v6, sizeof(v6));
	assert_true(nlri_read(&r, FAMILY_IPV6_UNICAST, false, &n));
	assert_string_equal(prefix_format(&n.prefix, text), "2001:db8:8000::/33");
}

static void
test_malformed(void **state)
{
	static const uint8_t too_long_4[] = {33, 1, 2, 3, 4, 5},
			     too_long_6[] = {129, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
				     16, 17};
	static const uint8_t cut[] = {24, 203, 0}, second_cut[] = {8, 10, 16, 172};
	struct rd r = rd_init(second_cut, sizeof(second_cut));
	struct nlri n;

	assert_false(
		nlri_check(rd_init(too_long_4, sizeof(too_long_4)), FAMILY_IPV4_UNICAST, false));
	assert_false(
		nlri_check(rd_init(too_long_6, sizeof(too_long_6)), FAMILY_IPV6_UNICAST, false));
	assert_false(nlri_check(rd_init(cut, sizeof(cut)), FAMILY_IPV4_UNICAST, false));
	assert_true(nlri_read(&r, FAMILY_IPV4_UNICAST, false, &n));
	assert_false(nlri_read(&r, FAMILY_IPV4_UNICAST, false, &n));
	assert_true(r.bad);
	assert_false(nlri_read(&r, FAMILY_IPV4_UNICAST, false, &n)); /* sticky */
	/* Not read here: VPN prefixes have labels and a route distinguisher. */
	assert_false(nlri_check(rd_init(cut, 0), FAMILY_VPNV4_UNICAST, false));
	assert_true(nlri_check(rd_init(cut, 0), FAMILY_IPV4_UNICAST, false));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_host_bits),
		cmocka_unit_test(test_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
