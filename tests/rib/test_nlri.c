/* SPDX-License-Identifier: BSD-3-Clause */
/* Prefixes in records: each length, form and truncation. */
#include "rib/table/nlri.h"
#include "tests/rib/rib_test.h"

#define ALL_FORMS (RIB_NLRI_PATH_ID | RIB_NLRI_LABEL | RIB_NLRI_RD)
#define ROOM 64u

static struct rib_nlri
nlri_of(enum afi afi, unsigned len, unsigned form)
{
	struct ip_addr a = {.afi = (uint8_t)afi};

	for (unsigned i = 0; i < prefix_max_len(afi) / 8; i++)
		a.b[i] = (uint8_t)(0xa5 + 31 * i);
	return (struct rib_nlri){
		.prefix = prefix_from_addr(&a, (uint8_t)len),
		.path_id = form & RIB_NLRI_PATH_ID ? 0x01020304 + len : 0,
		.label = form & RIB_NLRI_LABEL ? 0x81234 - len : RIB_LABEL_NONE,
		.rd = {form & RIB_NLRI_RD ? 0x0001c00002010000u + len : 0},
	};
}

static struct rib_nlri_reader
reader(const uint8_t *octets, size_t len, enum afi afi, unsigned form)
{
	return (struct rib_nlri_reader){
		.p = octets, .end = octets + len, .afi = (uint8_t)afi, .form = (uint8_t)form};
}

static void
assert_equal(const struct rib_nlri *a, const struct rib_nlri *b)
{
	assert_true(prefix_equal(&a->prefix, &b->prefix));
	assert_int_equal(a->path_id, b->path_id);
	assert_int_equal(a->label, b->label);
	assert_int_equal(a->rd.v, b->rd.v);
}

static void
check(enum afi afi, unsigned len, unsigned form)
{
	/* octets after the end are readable, and not read as part of the prefix */
	uint8_t octets[ROOM];
	struct rib_nlri n = nlri_of(afi, len, form), twice[2], out;
	struct rib_nlri_reader r;
	uint8_t *end;

	memset(octets, 0xff, sizeof(octets));
	end = rib_nlri_write(octets, &n, form);
	assert_int_equal(end - octets, rib_nlri_len(&n, form));
	end = rib_nlri_write(end, &n, form);
	r = reader(octets, (size_t)(end - octets), afi, form);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(rib_nlri_next(&r, &twice[i]));
		assert_equal(&twice[i], &n);
	}
	assert_ptr_equal(r.p, end);
	assert_false(rib_nlri_next(&r, &out));
	assert_ptr_equal(r.p, end);
	/* any truncation of the second prefix */
	for (size_t cut = rib_nlri_len(&n, form) + 1; cut < (size_t)(end - octets); cut++) {
		r = reader(octets, cut, afi, form);
		assert_true(rib_nlri_next(&r, &out));
		assert_false(rib_nlri_next(&r, &out));
		assert_true(r.p < r.end);
	}
}

static void
each_length_in_each_form(void **state)
{
	for (unsigned form = 0; form <= ALL_FORMS; form++) {
		for (unsigned len = 0; len <= 32; len++)
			check(AFI_IPV4, len, form);
		for (unsigned len = 0; len <= 128; len++)
			check(AFI_IPV6, len, form);
	}
}

/* RFC 4271 4.3: bits beyond the length are irrelevant. */
static void
bits_beyond_the_length(void **state)
{
	static const enum afi afis[] = {AFI_IPV4, AFI_IPV6};

	for (unsigned i = 0; i < 2; i++) {
		for (unsigned len = 0; len <= prefix_max_len(afis[i]); len++) {
			uint8_t octets[ROOM];
			struct ip_addr ones = {.afi = (uint8_t)afis[i]};
			struct prefix want;
			struct rib_nlri out;
			struct rib_nlri_reader r;

			memset(octets, 0xff, sizeof(octets));
			memset(ones.b, 0xff, prefix_max_len(afis[i]) / 8);
			want = prefix_from_addr(&ones, (uint8_t)len);
			octets[0] = (uint8_t)len;
			r = reader(octets, 1 + (len + 7) / 8, afis[i], 0);
			assert_true(rib_nlri_next(&r, &out));
			assert_true(prefix_equal(&out.prefix, &want));
		}
	}
}

static void
a_length_above_the_family(void **state)
{
	uint8_t octets[ROOM] = {33};
	struct rib_nlri_reader r = reader(octets, 40, AFI_IPV4, 0);
	struct rib_nlri out;

	assert_false(rib_nlri_next(&r, &out));
	assert_ptr_equal(r.p, octets);
	octets[0] = 129;
	r = reader(octets, 40, AFI_IPV6, 0);
	assert_false(rib_nlri_next(&r, &out));
	assert_ptr_equal(r.p, octets);
}

/* [path identifier] length [label] [distinguisher] prefix */
static void
the_order_of_the_parts(void **state)
{
	static const uint8_t want[] = {
		0, 0, 0, 9, 16, 0x01, 0x02, 0x03, 0x00, 0x01, 192, 0, 2, 1, 0x12, 0x34, 10, 7};
	struct rib_nlri n = {.path_id = 9, .label = 0x10203, .rd = {0x0001c00002011234u}};
	uint8_t octets[ROOM];

	n.prefix = prefix_from_v4(0x0a070000, 16);
	assert_int_equal(rib_nlri_write(octets, &n, ALL_FORMS) - octets, sizeof(want));
	assert_memory_equal(octets, want, sizeof(want));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_length_in_each_form),
		cmocka_unit_test(bits_beyond_the_length),
		cmocka_unit_test(a_length_above_the_family),
		cmocka_unit_test(the_order_of_the_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
