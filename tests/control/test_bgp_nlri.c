/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NLRI: round trip of every length of both families, with and without path identifiers, host bits, cuts and lengths too long; labels (RFC 8277)
 * and route distinguishers (RFC 4364, 4659).
 */
#include "tests/fuzz/harness.h"
#include "tests/fuzz/mutate.h"

#include <stdarg.h>

/* clang-format off */
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

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
	struct nlri_form form = {.afi = (uint8_t)family_afi(f),
		.safi = (uint8_t)family_safi(f),
		.add_path = add_path};
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
		/* A cut inside the last prefix is an error, a cut after the last prefix is none. */
		harness_nlri(buf, (size_t)(r.p - buf), form);
		assert_true(nlri_check(rd_init(buf, (size_t)(r.p - buf)), f, add_path));
		if (nlri_wire_len(&p[i], add_path) > 1)
			assert_false(
				nlri_check(rd_init(buf, (size_t)(r.p - buf) - 1), f, add_path));
	}
	assert_false(nlri_read(&r, f, add_path, &n));
	assert_false(r.bad);
	/* A buffer too short by one octet is detected. */
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
	/* nlri_read_form() reads VPN prefixes. */
	assert_false(nlri_check(rd_init(cut, 0), FAMILY_VPNV4_UNICAST, false));
	assert_true(nlri_check(rd_init(cut, 0), FAMILY_IPV4_UNICAST, false));
}

static const struct nlri_form vpn4 = {.afi = AFI_IPV4, .safi = SAFI_VPN},
			      vpn6 = {.afi = AFI_IPV6, .safi = SAFI_VPN},
			      labeled4 = {.afi = AFI_IPV4, .safi = SAFI_LABELED_UNICAST},
			      labeled6 = {.afi = AFI_IPV6, .safi = SAFI_LABELED_UNICAST};

/* nlri_write_form() writes the octets of a sender, but for the field in place of withdrawn labels. */
static void
check_write(struct nlri_form form, const struct nlri *n, const uint8_t *octets, size_t len)
{
	size_t labels = form.add_path ? 5 : 1;
	uint8_t buf[48];
	struct wr w = wr_init(buf, sizeof(buf));

	assert_int_equal(nlri_form_len(form, n), len);
	assert_true(nlri_write_form(&w, form, n));
	assert_int_equal(wr_len(&w), len);
	if (form.withdrawn) {
		assert_memory_equal(buf, octets, labels);
		assert_memory_equal(buf + labels, "\x80\0\0", 3);
		assert_memory_equal(buf + labels + 3, octets + labels + 3, len - labels - 3);
	} else {
		assert_memory_equal(buf, octets, len);
	}
	/* A buffer too short by one octet stays as before. */
	w = wr_init(buf, len - 1);
	assert_false(nlri_write_form(&w, form, n));
	assert_true(wr_len(&w) == 0 && !w.bad);
}

/*
 * Prefixes with each number of labels and each length that fit the octet; every truncation is
 * malformed, and so is a length wrong by one.
 */
static void
labelled_round_trip(struct nlri_form form, uint64_t *s)
{
	unsigned fixed = form.safi == SAFI_VPN ? 64 : 0, max = prefix_max_len((enum afi)form.afi);
	unsigned labels_max = form.multiple_labels && !form.withdrawn ? (255 - fixed) / 24 : 1;
	uint8_t stack[3 * 10], buf[48];

	for (unsigned labels = 1; labels <= labels_max; labels++) {
		for (unsigned len = 0; len <= max && fixed + 24 * labels + len <= 255; len++) {
			struct nlri n = {
				.prefix = random_prefix(form.afi == AFI_IPV4 ? FAMILY_IPV4_UNICAST
									     : FAMILY_IPV6_UNICAST,
					len, s),
				.label_count = (uint8_t)labels,
				.labels = stack,
				.path_id = form.add_path ? (uint32_t)splitmix64(s) : 0,
				.rd = {fixed ? splitmix64(s) : 0}};
			struct wr w = wr_init(buf, sizeof(buf));
			struct nlri got;
			struct rd r;

			for (unsigned i = 0; i < 3 * labels; i++)
				stack[i] = (uint8_t)splitmix64(s);
			for (unsigned i = 0; i < labels; i++)
				stack[3 * i + 2] =
					(uint8_t)((stack[3 * i + 2] & 0xfe) | (i == labels - 1));
			harness_nlri_write(&w, form, &n);
			check_write(form, &n, buf, wr_len(&w));
			r = rd_init(buf, wr_len(&w));
			assert_true(nlri_check_form(r, form));
			assert_true(nlri_read_form(&r, form, &got));
			assert_false(nlri_read_form(&r, form, &got) || r.bad);
			r = rd_init(buf, wr_len(&w));
			nlri_read_form(&r, form, &got);
			assert_true(prefix_equal(&got.prefix, &n.prefix));
			assert_true(got.path_id == n.path_id && vpn_rd_compare(got.rd, n.rd) == 0);
			assert_int_equal(got.label_count, form.withdrawn ? 0 : labels);
			if (!form.withdrawn) {
				assert_memory_equal(got.labels, stack, 3 * labels);
				assert_int_equal(
					got.label, stack[0] << 12 | stack[1] << 4 | stack[2] >> 4);
			}
			for (size_t cut = 1; cut < wr_len(&w); cut++)
				assert_false(nlri_check_form(rd_init(buf, cut), form));
		}
	}
}

static void
test_labelled(void **state)
{
	const struct nlri_form *forms[] = {&vpn4, &vpn6, &labeled4, &labeled6};
	uint64_t s = 7;

	for (unsigned i = 0; i < 4 * 8; i++) {
		struct nlri_form form = *forms[i % 4];

		form.add_path = i / 4 & 1;
		form.multiple_labels = i / 4 & 2;
		form.withdrawn = i / 4 & 4;
		labelled_round_trip(form, &s);
	}
}

static bool
reads_as(struct nlri_form form, const uint8_t *p, size_t len, const char *prefix, uint32_t label)
{
	struct rd r = rd_init(p, len);
	char text[PREFIX_TEXT_MAX];
	struct nlri n;

	return nlri_read_form(&r, form, &n) && rd_left(&r) == 0 && n.label == label &&
	       strcmp(prefix_format(&n.prefix, text), prefix) == 0;
}

/* RFC 8277 2.2 to 2.4 */
static void
test_labels(void **state)
{
	static const uint8_t clear[] = {40, 0, 0x3e, 0x80, 10, 1},
			     withdrawn[] = {40, 0x80, 0, 0, 10, 1}, zero[] = {40, 0, 0, 0, 10, 1},
			     any[] = {40, 0x12, 0x34, 0x51, 10, 1};
	struct nlri_form form = labeled4;

	/* a single label: its S bit is ignored */
	assert_true(reads_as(form, clear, sizeof(clear), "10.1.0.0/16", 1000));
	assert_true(reads_as(form, any, sizeof(any), "10.1.0.0/16", 0x12345));
	/* several labels: the next three octets are another label, but only two octets follow */
	form.multiple_labels = true;
	assert_false(nlri_check_form(rd_init(clear, sizeof(clear)), form));
	assert_true(reads_as(form, any, sizeof(any), "10.1.0.0/16", 0x12345));
	/* withdrawn: three octets of any value */
	form.withdrawn = true;
	assert_true(reads_as(form, withdrawn, sizeof(withdrawn), "10.1.0.0/16", 0));
	assert_true(reads_as(form, zero, sizeof(zero), "10.1.0.0/16", 0));
	assert_true(reads_as(form, any, sizeof(any), "10.1.0.0/16", 0));
}

static void
test_labelled_malformed(void **state)
{
	static const uint8_t no_label[] = {23, 0, 0, 1},
			     no_rd[] = {87, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2},
			     too_long[] = {121, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4, 5},
			     default_route[] = {88, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2};
	struct nlri_form unknown = {.afi = AFI_IPV4, .safi = 2};

	assert_false(nlri_check_form(rd_init(no_label, sizeof(no_label)), labeled4));
	assert_false(nlri_check_form(rd_init(no_rd, sizeof(no_rd)), vpn4));
	assert_false(nlri_check_form(rd_init(too_long, sizeof(too_long)), vpn4));
	assert_true(nlri_check_form(rd_init(too_long, sizeof(too_long)), vpn6));
	assert_true(nlri_check_form(rd_init(default_route, sizeof(default_route)), vpn4));
	assert_true(nlri_check_form(rd_init(no_rd, 0), vpn4));
	assert_false(nlri_check_form(rd_init(no_rd, 0), unknown));
}

/* RFC 8277 2.2 to 2.4: the S bit of each label, and what cannot be sent. */
static void
test_write(void **state)
{
	static const uint8_t stack[] = {0, 0x3e, 0x91, 0, 0x7d, 0x00, 0xff, 0xff, 0xf1};
	static const uint8_t one[] = {112, 0, 0x3e, 0x91, 0, 0, 0xfc, 0, 0, 0, 0, 1, 10, 1, 2},
			     three[] = {160, 0, 0x3e, 0x90, 0, 0x7d, 0x00, 0xff, 0xff, 0xf1, 0, 0,
				     0xfc, 0, 0, 0, 0, 1, 10, 1, 2},
			     gone[] = {112, 0x80, 0, 0, 0, 0, 0xfc, 0, 0, 0, 0, 1, 10, 1, 2};
	struct nlri n = {.prefix = prefix_from_v4(0x0a010200, 24),
		.rd = {UINT64_C(0x0000fc0000000001)},
		.labels = stack,
		.label_count = 1};
	struct nlri_form form = vpn4;
	uint8_t buf[64];
	struct wr w = wr_init(buf, sizeof(buf));

	assert_true(nlri_write_form(&w, form, &n));
	assert_int_equal(wr_len(&w), sizeof(one));
	assert_memory_equal(buf, one, sizeof(one));
	/* several labels need the capability of both sides */
	n.label_count = 3;
	assert_int_equal(nlri_form_len(form, &n), 0);
	assert_false(nlri_write_form(&w, form, &n));
	form.multiple_labels = true;
	w = wr_init(buf, sizeof(buf));
	assert_true(nlri_write_form(&w, form, &n));
	assert_memory_equal(buf, three, sizeof(three));
	n.label_count = 0;
	assert_int_equal(nlri_form_len(form, &n), 0);
	form.withdrawn = true;
	w = wr_init(buf, sizeof(buf));
	assert_true(nlri_write_form(&w, form, &n));
	assert_int_equal(wr_len(&w), sizeof(gone));
	assert_memory_equal(buf, gone, sizeof(gone));
	/* another address family, and lengths above 255 bits */
	form = vpn6;
	n.label_count = 1;
	assert_int_equal(nlri_form_len(form, &n), 0);
	n.prefix = (struct prefix){.afi = AFI_IPV6, .len = 128};
	form.multiple_labels = true;
	n.label_count = 2;
	assert_int_equal(nlri_form_len(form, &n), 1 + 6 + 8 + 16);
	n.label_count = 3;
	assert_int_equal(nlri_form_len(form, &n), 0);
	n.prefix.len = 119;
	assert_int_equal(nlri_form_len(form, &n), 1 + 9 + 8 + 15);
}

#define FAULT(fault, form, ...)                                                                    \
	do {                                                                                       \
		static const uint8_t octets[] = {__VA_ARGS__};                                     \
		struct rd field = rd_init(octets, sizeof(octets));                                 \
		assert_int_equal(nlri_fault_find(field, form), fault);                             \
		assert_int_equal(nlri_check_form(field, form), (fault) == NLRI_SOUND);             \
	} while (0)

/* The name of each fault, behind a sound prefix and alone. */
static void
test_faults(void **state)
{
	const struct nlri_form v4 = {.afi = AFI_IPV4, .safi = SAFI_UNICAST},
			       v6_path = {.afi = AFI_IPV6, .safi = SAFI_UNICAST, .add_path = true},
			       stack4 = {.afi = AFI_IPV4,
				       .safi = SAFI_VPN,
				       .multiple_labels = true},
			       path4 = {.afi = AFI_IPV4, .safi = SAFI_VPN, .add_path = true};

	FAULT(NLRI_SOUND, v4, 8, 10, 0);
	FAULT(NLRI_CUT, v4, 8, 10, 16, 10);
	FAULT(NLRI_TOO_LONG, v4, 8, 10, 33, 10, 0, 0, 0, 0);
	FAULT(NLRI_CUT, v6_path, 0, 0, 0);
	FAULT(NLRI_CUT, v6_path, 0, 0, 0, 1);
	FAULT(NLRI_TOO_LONG, v6_path, 0, 0, 0, 1, 129);
	FAULT(NLRI_SOUND, vpn4, 88, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2);
	FAULT(NLRI_CUT, vpn4, 88, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 88);
	FAULT(NLRI_CUT, path4, 0, 0, 0, 1, 88, 0, 0, 1);
	FAULT(NLRI_NO_LABEL, vpn4, 0);
	FAULT(NLRI_NO_LABEL, vpn4, 23, 0, 0, 1);
	FAULT(NLRI_NO_LABEL, labeled6, 16, 0x20, 1);
	FAULT(NLRI_NO_DISTINGUISHER, vpn4, 24, 0, 0, 1);
	FAULT(NLRI_NO_DISTINGUISHER, vpn4, 87, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2);
	FAULT(NLRI_TOO_LONG, vpn4, 121, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4, 5);
	FAULT(NLRI_TOO_LONG, labeled4, 57, 0, 0, 1, 1, 2, 3, 4, 5);
	/* RFC 8277 2.3: no S bit up to the end */
	FAULT(NLRI_NO_BOTTOM, stack4, 96, 0, 0x10, 0, 0, 0, 0, 0, 0, 0x10, 0, 2, 10);
	FAULT(NLRI_NO_DISTINGUISHER, stack4, 88, 0, 0x10, 0, 0, 0x20, 1, 0, 0, 0xfc, 0, 0);
}

static void
test_labels_most(void **state)
{
	static const uint8_t field[] = {88, 0, 0x10, 1, 0, 0, 0, 1, 0, 0, 0, 2, 136, 0, 0x10, 0, 0,
		0x20, 0, 0, 0x30, 1, 0, 0, 0, 1, 0, 0, 0, 2, 112, 0, 0x10, 0, 0, 0x20, 1, 0, 0, 0,
		1, 0, 0, 0, 2};
	struct nlri_form form = vpn4;

	form.multiple_labels = true;
	assert_int_equal(nlri_labels_most(rd_init(field, sizeof(field)), form), 3);
	assert_int_equal(nlri_labels_most(rd_init(field, 12), form), 1);
	assert_int_equal(nlri_labels_most(rd_init(field, 0), form), 0);
}

static void
test_bits(void **state)
{
	for (enum family f = 0; f < FAMILY_COUNT; f++)
		assert_int_equal(nlri_bit(family_afi(f), (uint8_t)family_safi(f)), 1u << f);
	assert_int_equal(nlri_bit(1, 4), NLRI_BIT_IPV4_LABELED);
	assert_int_equal(nlri_bit(2, 4), NLRI_BIT_IPV6_LABELED);
	assert_int_equal(nlri_bit(3, 4), 0);
	assert_int_equal(nlri_bit(257, 4), 0);
	assert_int_equal(nlri_bit(1, 2), 0);
	assert_int_equal(nlri_bit(25, 65), 0);
	assert_true(NLRI_BIT_IPV4_LABELED >= 1u << FAMILY_COUNT);
}

/* RFC 4684 4: memberships, whole, partial and the default; no length between 1 and 31 bits, none above 96. */
static void
test_memberships(void **state)
{
	static const uint8_t field[] = {0, 32, 0, 0, 0xfc, 0, 96, 0, 0, 0xfc, 0, 0, 2, 0xfc, 0, 0,
		0, 0, 7, 49, 0, 0, 0, 1, 0, 2, 0xff};
	static const struct rt_nlri want[] = {{0, 0, 0}, {64512, 0, 0},
		{64512, UINT64_C(0x0002fc0000000007), 64}, {1, UINT64_C(0x0002800000000000), 17}};
	uint8_t copy[64];
	struct wr w = wr_init(copy, sizeof(copy));
	struct rd r = rd_init(field, sizeof(field));
	struct rt_nlri n;

	for (unsigned i = 0; i < 4; i++) {
		assert_true(rt_nlri_read(&r, &n));
		assert_int_equal(n.origin, want[i].origin);
		assert_true(n.target == want[i].target);
		assert_int_equal(n.bits, want[i].bits);
		rt_nlri_write(&w, &n);
	}
	assert_false(rt_nlri_read(&r, &n));
	assert_false(r.bad);
	assert_int_equal(wr_len(&w), sizeof(field));
	assert_memory_equal(
		copy, field, sizeof(field) - 1); /* the last octet has irrelevant bits */
	assert_int_equal(copy[sizeof(field) - 1], 0x80);
	for (size_t len = 1; len < sizeof(field); len++) {
		r = rd_init(field, len);
		while (rt_nlri_read(&r, &n))
			;
		assert_int_equal(r.bad, len != 1 && len != 6 && len != 19);
	}
	for (unsigned bits = 0; bits < 256; bits++) {
		uint8_t octets[33] = {(uint8_t)bits};

		r = rd_init(octets, sizeof(octets));
		assert_int_equal(rt_nlri_read(&r, &n), bits == 0 || (bits >= 32 && bits <= 96));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_host_bits),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_labelled),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_labelled_malformed),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_labels_most),
		cmocka_unit_test(test_bits),
		cmocka_unit_test(test_memberships),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
