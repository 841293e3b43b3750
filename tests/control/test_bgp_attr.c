/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UPDATE: AS_PATH and AS4_PATH, stored attributes, round trips of random sets, the packer octet by
 * octet. Errors are tested with the vectors (test_vectors.c).
 */
#include "control/session/mrt.h"
#include "tests/fuzz/harness.h"
#include "tests/fuzz/mutate.h"

#include <stdarg.h>
#include <time.h>

/* clang-format off */
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

static struct attr_set *
room(unsigned which)
{
	static struct attr_set *r[3];

	if (!r[which])
		r[which] = malloc(ATTR_SET_MAX);
	assert_non_null(r[which]);
	return r[which];
}

/* An UPDATE with these attributes and 203.0.113.0/24; ORIGIN and NEXT_HOP are put in front. */
static size_t
message(uint8_t *buf, const uint8_t *attrs, size_t len)
{
	static const uint8_t front[] = {0x40, 1, 1, 0, 0x40, 3, 4, 192, 0, 2, 9},
			     nlri[] = {24, 203, 0, 113};
	size_t total = 23 + sizeof(front) + len + sizeof(nlri);

	memset(buf, 0xff, 16);
	buf[16] = (uint8_t)(total >> 8);
	buf[17] = (uint8_t)total;
	buf[18] = BGP_UPDATE;
	buf[19] = buf[20] = 0;
	buf[21] = (uint8_t)((sizeof(front) + len) >> 8);
	buf[22] = (uint8_t)(sizeof(front) + len);
	memcpy(buf + 23, front, sizeof(front));
	memcpy(buf + 23 + sizeof(front), attrs, len);
	memcpy(buf + 23 + sizeof(front) + len, nlri, sizeof(nlri));
	return total;
}

static const struct attr_set *
decode_with(const uint8_t *attrs, size_t len, bool as4, enum bgp_severity severity)
{
	uint8_t buf[BGP_MSG_MAX];
	struct bgp_update_options o = {
		.as4 = as4, .external = true, .confederation = true, .families = 1};
	struct bgp_update u;

	bgp_update_decode(buf, message(buf, attrs, len), &o, room(0), &u);
	assert_int_equal(u.error.severity, severity);
	assert_true(u.has_attrs);
	return room(0);
}

/* Merges an AS_PATH of 2-octet numbers with an AS4_PATH and compares the result. */
static void
check_merge(const char *what, const uint8_t *attrs, size_t len, enum bgp_severity severity,
	const char *path)
{
	char text[256];

	attr_as_path_format(decode_with(attrs, len, false, severity), text, sizeof(text));
	if (strcmp(text, path) != 0)
		fail_msg("%s: \"%s\", expected \"%s\"", what, text, path);
}

#define LOCAL_PREF 0x40, 5, 4, 0, 0, 0, 100
#define TRANS 0x5b, 0xa0
#define WIDE(n) 0xfa, 0x56, 0xea, n /* 4200000000 + n */
#define CHECK_MERGE(what, severity, path, ...)                                                     \
	do {                                                                                       \
		static const uint8_t attrs[] = {LOCAL_PREF, __VA_ARGS__};                          \
		check_merge(what, attrs, sizeof(attrs), severity, path);                           \
	} while (0)

/* RFC 6793 4.2.3 */
static void
test_as4_path_merge(void **state)
{
	CHECK_MERGE("no AS4_PATH", BGP_OK, "65001 7", 0x40, 2, 6, 2, 2, 0xfd, 0xe9, 0, 7);
	CHECK_MERGE("the same length", BGP_OK, "65001 4200000001", 0x40, 2, 6, 2, 2, 0xfd, 0xe9,
		TRANS, 0xc0, 17, 10, 2, 2, 0, 0, 0xfd, 0xe9, WIDE(1));
	CHECK_MERGE("one in front", BGP_OK, "65001 4200000001 9", 0x40, 2, 8, 2, 3, 0xfd, 0xe9,
		TRANS, 0, 9, 0xc0, 17, 10, 2, 2, WIDE(1), 0, 0, 0, 9);
	CHECK_MERGE("AS4_PATH longer: ignored", BGP_OK, "23456", 0x40, 2, 4, 2, 1, TRANS, 0xc0, 17,
		10, 2, 2, WIDE(1), WIDE(2));
	/* A set counts as one hop on both sides: 2 + 1 hops, AS4_PATH has 1 + 1. */
	CHECK_MERGE("a set", BGP_OK, "65001 4200000001 {4200000002,5}", 0x40, 2, 12, 2, 2, 0xfd,
		0xe9, TRANS, 1, 2, TRANS, 0, 5, 0xc0, 17, 16, 2, 1, WIDE(1), 1, 2, WIDE(2), 0, 0, 0,
		5);
	/* Two leading segments, the second in part. */
	CHECK_MERGE("split", BGP_OK, "1 2 3 4200000004", 0x40, 2, 12, 2, 2, 0, 1, 0, 2, 2, 2, 0, 3,
		TRANS, 0xc0, 17, 6, 2, 1, WIDE(4));
	/* Confederation segments do not count, and stay when leading. */
	CHECK_MERGE("confederation in front", BGP_OK, "(64600) 4200000001", 0x40, 2, 8, 3, 1, 0xfc,
		0x58, 2, 1, TRANS, 0xc0, 17, 6, 2, 1, WIDE(1));
	CHECK_MERGE("confederation next to the last in front", BGP_OK, "1 (64600) 4200000001", 0x40,
		2, 12, 2, 1, 0, 1, 3, 1, 0xfc, 0x58, 2, 1, TRANS, 0xc0, 17, 6, 2, 1, WIDE(1));
	/* RFC 6793 6: confederation segments are removed from AS4_PATH. */
	CHECK_MERGE("confederation in AS4_PATH", ATTRIBUTE_DISCARD, "1 4200000001", 0x40, 2, 6, 2,
		2, 0, 1, TRANS, 0xc0, 17, 12, 3, 1, 0, 0, 0xfc, 0x58, 2, 1, WIDE(1));
	CHECK_MERGE("malformed AS4_PATH", ATTRIBUTE_DISCARD, "1 23456", 0x40, 2, 6, 2, 2, 0, 1,
		TRANS, 0xc0, 17, 7, 2, 1, WIDE(1), 0);
}

static void
check_aggregator(uint32_t asn, uint32_t addr, const char *path, const uint8_t *attrs, size_t len)
{
	const struct attr_set *a = decode_with(attrs, len, false, BGP_OK);
	char text[256];

	assert_true(a->has & ATTR_HAS_AGGREGATOR);
	assert_int_equal(a->aggregator_asn, asn);
	assert_int_equal(a->aggregator_addr, addr);
	attr_as_path_format(a, text, sizeof(text));
	assert_string_equal(text, path);
}

/*
 * RFC 6793 4.2.3: AS4_AGGREGATOR is used only if AGGREGATOR contains AS_TRANS; otherwise AS4_PATH
 * is ignored, too.
 */
static void
test_as4_aggregator(void **state)
{
	static const uint8_t trans[] = {LOCAL_PREF, 0x40, 2, 4, 2, 1, TRANS, 0xc0, 7, 6, TRANS, 10,
		0, 0, 1, 0xc0, 17, 6, 2, 1, WIDE(1), 0xc0, 18, 8, WIDE(3), 10, 0, 0, 2};
	static const uint8_t own[] = {LOCAL_PREF, 0x40, 2, 4, 2, 1, TRANS, 0xc0, 7, 6, 0, 9, 10, 0,
		0, 1, 0xc0, 17, 6, 2, 1, WIDE(1), 0xc0, 18, 8, WIDE(3), 10, 0, 0, 2};

	/* An aggregate of a 2-octet AS has no AS4_AGGREGATOR, and its AS4_PATH counts. */
	static const uint8_t plain[] = {LOCAL_PREF, 0x40, 2, 4, 2, 1, TRANS, 0xc0, 7, 6, 0, 9, 10,
		0, 0, 1, 0xc0, 17, 6, 2, 1, WIDE(1)};

	check_aggregator(9, 0x0a000001, "4200000001", plain, sizeof(plain));
	check_aggregator(4200000003, 0x0a000002, "4200000001", trans, sizeof(trans));
	check_aggregator(9, 0x0a000001, "23456", own, sizeof(own));
}

/* 0 1 2 ... `different` - 1 0 1 2 ...: each of the different ones stays once, in its first place. */
static void
check_large_repeated(unsigned count, unsigned different)
{
	uint8_t attrs[7 + 9 + 4 + 12 * 300] = {LOCAL_PREF, 0x40, 2, 6, 2, 1, 0, 0, 0, 1, 0xd0, 32,
		(uint8_t)(12 * count >> 8), (uint8_t)(12 * count)};
	const struct attr_set *a;

	for (unsigned i = 0; i < count; i++)
		attrs[20 + 12 * i + 11] = (uint8_t)(i % different);
	a = decode_with(attrs, 20 + 12 * count, true, BGP_OK);
	assert_int_equal(a->large_community_count, count < different ? count : different);
	for (unsigned i = 0; i < a->large_community_count; i++)
		assert_int_equal(attr_large_communities(a)[12 * i + 11], i);
}

static void
test_large_repeated(void **state)
{
	check_large_repeated(300, 100);
	for (unsigned count = 1; count <= 20; count++)
		for (unsigned different = 1; different <= count; different++)
			check_large_repeated(count, different);
}

static void
test_unknown_sorted(void **state)
{
	static const uint8_t attrs[] = {0xc0, 200, 2, 1, 2, 0xe0, 50, 0, 0x80, 60, 1, 7, 0xd0, 40,
		0, 1, 9, LOCAL_PREF, 0x40, 2, 0, 0xc0, 35, 4, 0, 0, 0, 5};
	static const uint8_t want[] = {0xf0, 40, 0, 1, 9, 0xf0, 50, 0, 0, 0xf0, 200, 0, 2, 1, 2};
	const struct attr_set *a = decode_with(attrs, sizeof(attrs), true, BGP_OK);

	assert_int_equal(a->unknown_len, sizeof(want));
	assert_memory_equal(attr_unknown(a), want, sizeof(want));
	assert_true(a->has & ATTR_HAS_OTC);
	assert_int_equal(a->otc, 5);
}

static void
put(uint8_t **p, size_t len, uint64_t *s)
{
	for (size_t i = 0; i < len; i++)
		*(*p)++ = (uint8_t)splitmix64(s);
}

static void
random_path(struct attr_set *a, uint8_t **p, uint64_t *s)
{
	uint8_t *start = *p;

	for (unsigned n = (unsigned)(splitmix64(s) % 4); n > 0; n--) {
		unsigned count = 1 + (unsigned)(splitmix64(s) % 12);

		*(*p)++ = (uint8_t)(1 + splitmix64(s) % 2);
		*(*p)++ = (uint8_t)count;
		for (; count > 0; count--) {
			uint32_t asn = 1 + (uint32_t)(splitmix64(s) %
						      (splitmix64(s) % 2 ? 65535 : 4294967295));

			*(*p)++ = (uint8_t)(asn >> 24);
			*(*p)++ = (uint8_t)(asn >> 16);
			*(*p)++ = (uint8_t)(asn >> 8);
			*(*p)++ = (uint8_t)asn;
		}
	}
	a->as_path_len = (uint16_t)(*p - start);
}

static void
random_unknown(struct attr_set *a, uint8_t **p, uint64_t *s)
{
	static const uint8_t types[] = {11, 25, 33, 64, 129, 255};
	uint8_t *start = *p;

	for (unsigned i = 0; i < sizeof(types); i++) {
		unsigned len = types[i] == 25 ? 40 : (unsigned)(splitmix64(s) % 300);

		if (splitmix64(s) % 4)
			continue;
		*(*p)++ = 0xf0;
		*(*p)++ = types[i];
		*(*p)++ = (uint8_t)(len >> 8);
		*(*p)++ = (uint8_t)len;
		put(p, len, s);
	}
	a->unknown_len = (uint16_t)(*p - start);
}

#define ZONE 5

static void
link_local(struct ip_addr *a)
{
	assert_int_equal(addr_parse("fe80::9", a), 0);
	a->zone = ZONE;
}

static void
random_set(struct attr_set *a, enum family f, bool v6_next_hop, uint64_t *s)
{
	uint8_t *p = a->var;

	memset(a, 0, sizeof(*a));
	a->has = ATTR_HAS_LOCAL_PREF | (splitmix64(s) & (ATTR_HAS_OTC * 2 - 1));
	a->local_pref = (uint32_t)splitmix64(s);
	a->origin = (uint8_t)(splitmix64(s) % 3);
	if (a->has & ATTR_HAS_MED)
		a->med = (uint32_t)splitmix64(s);
	if (a->has & ATTR_HAS_AGGREGATOR) {
		a->aggregator_asn = splitmix64(s) % 2 ? 65001 : 4200000001;
		a->aggregator_addr = (uint32_t)splitmix64(s);
	}
	if (a->has & ATTR_HAS_ORIGINATOR_ID)
		a->originator_id = (uint32_t)splitmix64(s);
	if (a->has & ATTR_HAS_OTC)
		a->otc = (uint32_t)splitmix64(s);
	random_path(a, &p, s);
	a->community_count = (uint16_t)(splitmix64(s) % 80);
	put(&p, 4u * a->community_count, s);
	a->ext_community_count = (uint16_t)(splitmix64(s) % 5);
	put(&p, 8u * a->ext_community_count, s);
	a->large_community_count = (uint16_t)(splitmix64(s) % 30);
	put(&p, 12u * a->large_community_count, s);
	a->cluster_count = (uint16_t)(splitmix64(s) % 3);
	put(&p, 4u * a->cluster_count, s);
	random_unknown(a, &p, s);
	attr_set_derive(a);
	if (f == FAMILY_IPV4_UNICAST && !v6_next_hop) {
		a->next_hop = addr_from_v4(0xc0000201 + (uint32_t)(splitmix64(s) % 200));
	} else {
		assert_int_equal(addr_parse("2001:db8::9", &a->next_hop), 0);
		if (splitmix64(s) % 2)
			link_local(&a->next_hop_link_local);
		/*
		 * RFC 2545 3 requires a global address; a router without a global address sends ::
		 * or its link-local address.
		 */
		if (a->next_hop_link_local.afi != AFI_NONE && splitmix64(s) % 4 == 0)
			memset(a->next_hop.b, 0, 16);
		else if (splitmix64(s) % 4 == 0)
			link_local(&a->next_hop);
	}
}

/* Packs prefixes of a family until the message is full; decoding must return the input. */
static void
check_packed(const struct attr_set *a, enum family f, const struct bgp_encode_options *eo,
	size_t size, uint64_t *s)
{
	static uint8_t buf[BGP_EXTENDED_MSG_MAX];
	static struct prefix sent[20000];
	struct bgp_update_options o = {.as4 = eo->as4,
		.families = 3,
		.add_path = eo->add_path ? 3 : 0,
		.extended_message = eo->extended_message,
		.extended_next_hop = 1,
		.zone = ZONE};
	struct update_packer u;
	struct bgp_update got;
	struct attr_set *b = room(1);
	struct bgp_nlri_field *field;
	unsigned count = 0, limit = splitmix64(s) % 3 ? 1 + (unsigned)(splitmix64(s) % 20) : 20000;
	uint8_t type;
	uint16_t n;
	size_t len;
	struct nlri nlri;

	if (!update_packer_begin(&u, f, a, eo, buf, size)) {
		/* Only because the attributes alone do not fit. */
		assert_true(attr_set_size(a) > size / 2);
		return;
	}
	while (count < limit) {
		struct ip_addr addr = {.afi = (uint8_t)family_afi(f)};

		for (unsigned i = 0; i < (addr.afi == AFI_IPV4 ? 4 : 16); i++)
			addr.b[i] = (uint8_t)splitmix64(s);
		sent[count] = prefix_from_addr(
			&addr, (uint8_t)(splitmix64(s) % (prefix_max_len(addr.afi) + 1)));
		if (!update_packer_add(&u, &sent[count], count))
			break;
		count++;
	}
	len = update_packer_finish(&u);
	if (count == 0) {
		assert_int_equal(len, 0);
		return;
	}
	assert_in_range(len, 24, size);
	if (count < limit) /* full: another prefix cannot have fitted */
		assert_true(len + 21 > size);
	assert_int_equal(bgp_header_decode(buf, size, &type, &n).severity, BGP_OK);
	assert_int_equal(type, BGP_UPDATE);
	assert_int_equal(n, len);
	bgp_update_decode(buf, len, &o, b, &got);
	assert_int_equal(got.error.severity, BGP_OK);
	assert_false(got.end_of_rib);
	assert_int_equal(got.announced_count, a ? 1 : 0);
	assert_int_equal(got.withdrawn_count, a ? 0 : 1);
	assert_int_equal(got.has_attrs, a != NULL);
	if (a) {
		assert_int_equal(attr_set_size(a), attr_set_size(b));
		assert_memory_equal(a, b, attr_set_size(a));
		/* RFC 7606 5.1 */
		if (a->next_hop.afi == AFI_IPV6)
			assert_int_equal(buf[24], 14);
		assert_int_equal(u.next_hop_len, a->next_hop.afi == AFI_IPV4		  ? 4
						 : a->next_hop_link_local.afi != AFI_NONE ? 32
											  : 16);
		assert_memory_equal(
			buf + u.next_hop_at, a->next_hop.b, u.next_hop_len < 16 ? 4 : 16);
	}
	field = a ? &got.announced[0] : &got.withdrawn[0];
	assert_int_equal(field->family, f);
	for (unsigned i = 0; i < count; i++) {
		assert_true(nlri_read(&field->nlri, f, eo->add_path, &nlri));
		assert_memory_equal(&nlri.prefix, &sent[i], sizeof(sent[i]));
		assert_int_equal(nlri.path_id, eo->add_path ? i : 0);
	}
	assert_int_equal(rd_left(&field->nlri), 0);
}

/* Also with a 2-octet peer: AS_TRANS and AS4_PATH restore the input (RFC 6793). */
static void
test_packer_round_trips(void **state)
{
	for (uint64_t seed = 1; seed <= 3000; seed++) {
		uint64_t s = seed;
		enum family f = splitmix64(&s) % 3 ? FAMILY_IPV4_UNICAST : FAMILY_IPV6_UNICAST;
		struct bgp_encode_options eo = {.as4 = splitmix64(&s) % 4,
			.add_path = splitmix64(&s) % 4 == 0,
			.extended_message = splitmix64(&s) % 8 == 0,
			.send_communities = true,
			.extended_next_hop = splitmix64(&s) % 2};
		size_t size = eo.extended_message ? BGP_EXTENDED_MSG_MAX : BGP_MSG_MAX;

		random_set(room(0), f, eo.extended_next_hop, &s);
		check_packed(room(0), f, &eo, size, &s);
		check_packed(NULL, f, &eo, size, &s);
	}
}

/* `set` with further communities, as policy appends them. */
static void
communities_append(struct attr_set *set, const uint8_t *values, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint8_t *end = set->var + set->as_path_len + 4u * set->community_count;
		uint8_t *p = set->var + set->as_path_len;

		while (p < end && memcmp(p, values + 4 * i, 4) != 0)
			p += 4;
		if (p < end)
			continue;
		memmove(end + 4, end, set->var + attr_set_var_len(set) - end);
		memcpy(end, values + 4 * i, 4);
		set->community_count++;
	}
}

static void
communities_cut(struct attr_set *set, uint16_t most)
{
	uint8_t *p = set->var + set->as_path_len;
	uint8_t *end = p + 4u * set->community_count;

	if (set->community_count <= most)
		return;
	memmove(p + 4u * most, end, set->var + attr_set_var_len(set) - end);
	set->community_count = most;
}

/* Communities appended to the octets of a message: the octets of the set with these communities. */
static void
test_packer_appends(void **state)
{
	unsigned longer = 0, refused = 0;

	for (uint64_t seed = 1; seed <= 3000; seed++) {
		uint64_t s = seed;
		struct bgp_encode_options eo = {
			.as4 = splitmix64(&s) % 2, .send_communities = true};
		struct prefix p = prefix_from_v4(0x0a000000, 8);
		uint8_t base[BGP_MSG_MAX], want[BGP_MSG_MAX], got[BGP_MSG_MAX], values[24];
		unsigned count = (unsigned)(splitmix64(&s) % 7);
		struct update_communities at;
		struct update_packer u;
		size_t len, base_len;

		random_set(room(0), FAMILY_IPV4_UNICAST, false, &s);
		if (splitmix64(&s) % 2)
			communities_cut(room(0), (uint16_t)(splitmix64(&s) % 2));
		assert_true(update_packer_begin(
			&u, FAMILY_IPV4_UNICAST, room(0), &eo, base, sizeof(base)));
		update_packer_communities(&u, &at);
		base_len = (size_t)(u.w.p - base);
		for (unsigned i = 0; i < 4 * count; i++)
			values[i] = (uint8_t)splitmix64(&s);
		for (unsigned i = 0; i < count && room(0)->community_count > 0; i += 2)
			memcpy(values + 4 * i,
				attr_communities(room(0)) +
					4 * (splitmix64(&s) % room(0)->community_count),
				4);
		longer += 4u * room(0)->community_count <= UINT8_MAX;
		communities_append(room(0), values, count);
		longer -= 4u * room(0)->community_count <= UINT8_MAX;
		assert_true(update_packer_begin(
			&u, FAMILY_IPV4_UNICAST, room(0), &eo, want, sizeof(want)));
		assert_true(update_packer_add(&u, &p, 0));
		len = update_packer_finish(&u);
		assert_true(update_packer_append(
			&u, base, base_len, &at, values, count, got, sizeof(got)));
		assert_true(update_packer_add(&u, &p, 0));
		assert_int_equal(update_packer_finish(&u), len);
		assert_memory_equal(got, want, len);
		refused += !update_packer_append(
			&u, base, base_len, &at, values, count, got, base_len - 1);
	}
	assert_true(longer > 20);
	assert_int_equal(refused, 3000);
}

static void
test_no_communities(void **state)
{
	struct bgp_encode_options eo = {.as4 = true};
	struct bgp_update_options o = {.as4 = true, .families = 1};
	struct prefix p = prefix_from_v4(0x0a000000, 8);
	uint8_t buf[BGP_MSG_MAX];
	struct update_packer u;
	struct bgp_update got;
	uint64_t s = 7;

	random_set(room(0), FAMILY_IPV4_UNICAST, false, &s);
	assert_true(room(0)->community_count > 0);
	assert_true(update_packer_begin(&u, FAMILY_IPV4_UNICAST, room(0), &eo, buf, sizeof(buf)));
	assert_true(update_packer_add(&u, &p, 0));
	bgp_update_decode(buf, update_packer_finish(&u), &o, room(1), &got);
	assert_true(got.has_attrs);
	assert_int_equal(room(1)->community_count, 0);
	assert_int_equal(room(1)->ext_community_count, 0);
	assert_int_equal(room(1)->large_community_count, 0);
	assert_int_equal(room(1)->cluster_count, room(0)->cluster_count);
}

/* Attributes that a family cannot carry are refused, not sent malformed. */
static void
test_packer_refuses(void **state)
{
	struct bgp_encode_options eo = {.as4 = true};
	uint8_t buf[BGP_MSG_MAX];
	struct update_packer u;
	uint64_t s = 1;

	random_set(room(0), FAMILY_IPV4_UNICAST, true, &s);
	assert_false(update_packer_begin(&u, FAMILY_IPV4_UNICAST, room(0), &eo, buf, sizeof(buf)));
	random_set(room(0), FAMILY_IPV4_UNICAST, false, &s);
	assert_false(update_packer_begin(&u, FAMILY_IPV6_UNICAST, room(0), &eo, buf, sizeof(buf)));
	assert_false(update_packer_begin(&u, FAMILY_COUNT, room(0), &eo, buf, sizeof(buf)));
	for (size_t size = 0; size < 60;
		size++) /* at least 23, ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF */
		if (update_packer_begin(&u, FAMILY_IPV4_UNICAST, room(0), &eo, buf, size))
			assert_true(size >= 23 + 4 + 3 + 7 + 7);
	for (size_t size = 0; size < 23; size++)
		assert_false(update_packer_begin(&u, FAMILY_IPV4_UNICAST, NULL, &eo, buf, size));
}

/* Random prefixes of a VPN family, with one or more labels. */
static void
random_vpn(struct nlri *n, uint8_t stack[], enum family f, unsigned labels_max, uint64_t *s)
{
	struct ip_addr addr = {.afi = (uint8_t)family_afi(f)};
	unsigned max = prefix_max_len(family_afi(f));

	memset(n, 0, sizeof(*n));
	for (unsigned i = 0; i < max / 8; i++)
		addr.b[i] = (uint8_t)splitmix64(s);
	n->prefix = prefix_from_addr(&addr, (uint8_t)(splitmix64(s) % (max + 1)));
	n->path_id = (uint32_t)splitmix64(s);
	n->rd.v = splitmix64(s);
	n->label_count = (uint8_t)(1 + splitmix64(s) % labels_max);
	for (unsigned i = 0; i < n->label_count; i++)
		label_put(stack + 3 * i, (uint32_t)splitmix64(s) & MPLS_LABEL_MAX,
			i + 1 == n->label_count);
	n->labels = stack;
	n->label = label_get(stack);
}

/* Packs random prefixes of a VPN family until the message is full; decoding must return the input. */
static void
check_packed_vpn(const struct attr_set *a, enum family f, const struct bgp_encode_options *eo,
	unsigned next_hop_len, uint64_t *s)
{
	enum { MOST = 600, LABELS = 2 };
	static uint8_t buf[BGP_MSG_MAX], stack[MOST][3 * LABELS];
	static struct nlri sent[MOST];
	uint8_t bits = (uint8_t)(1u << f);
	struct bgp_update_options o = {.as4 = true,
		.families = bits,
		.add_path = eo->add_path ? bits : 0,
		.multiple_labels = eo->multiple_labels ? bits : 0,
		.labels_max = LABELS,
		.extended_next_hop = bits,
		.zone = ZONE};
	unsigned count = 0, limit = 1 + (unsigned)(splitmix64(s) % (MOST - 1));
	struct bgp_nlri_field *field;
	struct update_packer u;
	struct bgp_update got;
	struct nlri n;
	size_t len;

	if (!update_packer_begin(&u, f, a, eo, buf, sizeof(buf))) {
		assert_true(attr_set_size(a) > sizeof(buf) / 2);
		return;
	}
	assert_false(update_packer_add(&u, &(struct prefix){.afi = (uint8_t)family_afi(f)}, 0));
	while (count < limit) {
		random_vpn(&sent[count], stack[count], f, eo->multiple_labels ? LABELS : 1, s);
		if (!update_packer_add_form(&u, &sent[count]))
			break;
		count++;
	}
	len = update_packer_finish(&u);
	if (count == 0) {
		assert_int_equal(len, 0);
		return;
	}
	assert_in_range(len, 24, sizeof(buf));
	if (count < limit)
		assert_true(len + 36 > sizeof(buf));
	bgp_update_decode(buf, len, &o, room(1), &got);
	assert_int_equal(got.error.severity, BGP_OK);
	assert_int_equal(got.announced_count, a ? 1 : 0);
	assert_int_equal(got.withdrawn_count, a ? 0 : 1);
	field = a ? &got.announced[0] : &got.withdrawn[0];
	assert_int_equal(field->family, f);
	for (unsigned i = 0; i < count; i++) {
		assert_true(nlri_read_form(&field->nlri, field->form, &n));
		assert_memory_equal(&n.prefix, &sent[i].prefix, sizeof(n.prefix));
		assert_true(vpn_rd_compare(n.rd, sent[i].rd) == 0);
		assert_int_equal(n.path_id, eo->add_path ? sent[i].path_id : 0);
		assert_int_equal(n.label_count, a ? sent[i].label_count : 0);
		if (a)
			assert_memory_equal(n.labels, stack[i], 3u * n.label_count);
		else
			assert_memory_equal(n.labels, "\x80\0\0", 3);
	}
	assert_int_equal(rd_left(&field->nlri), 0);
	if (a == NULL)
		return;
	assert_int_equal(u.next_hop_len, next_hop_len);
	for (unsigned i = 0; i < 8; i++) /* RFC 4364 4.3.2: a distinguisher of zero */
		assert_int_equal(buf[u.next_hop_at + i], 0);
	assert_int_equal(buf[u.next_hop_at - 1], next_hop_len);
	/* RFC 4659 3.2.1.2: VPNv6 with an IPv4 next hop has the address in IPv6 form, and is decoded to the IPv4 next hop */
	assert_int_equal(attr_set_size(a), attr_set_size(room(1)));
	assert_memory_equal(a, room(1), attr_set_size(a));
}

/* Next hops of 12, 24 and 48 octets, one and several labels, path identifiers, withdrawals. */
static void
test_packer_vpn(void **state)
{
	for (uint64_t seed = 1; seed <= 1500; seed++) {
		uint64_t s = seed;
		enum family f = splitmix64(&s) % 2 ? FAMILY_VPNV4_UNICAST : FAMILY_VPNV6_UNICAST;
		bool v6 = splitmix64(&s) % 2;
		struct bgp_encode_options eo = {.as4 = true,
			.add_path = splitmix64(&s) % 4 == 0,
			.multiple_labels = splitmix64(&s) % 2,
			.send_communities = true,
			.extended_next_hop = v6};

		random_set(room(0), FAMILY_IPV4_UNICAST, v6, &s);
		check_packed_vpn(room(0), f, &eo,
			!v6 ? (f == FAMILY_VPNV4_UNICAST ? 12 : 24)
			: room(0)->next_hop_link_local.afi != AFI_NONE ? 48
								       : 24,
			&s);
		check_packed_vpn(NULL, f, &eo, 0, &s);
		/* RFC 8950 4: an IPv6 next hop for VPNv4 needs the capability */
		eo.extended_next_hop = false;
		if (v6 && f == FAMILY_VPNV4_UNICAST) {
			uint8_t buf[BGP_MSG_MAX];
			struct update_packer u;

			assert_false(update_packer_begin(&u, f, room(0), &eo, buf, sizeof(buf)));
		}
	}
}

/* MP_REACH_NLRI of a VPN family with a next hop of `len` octets and one prefix, then ORIGIN, AS_PATH. */
static size_t
vpn_message(uint8_t *buf, enum family f, const uint8_t *next_hop, uint8_t len, const char *prefix,
	size_t prefix_len)
{
	static const uint8_t rest[] = {
		0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9, 0x40, 5, 4, 0, 0, 0, 100};
	size_t value = 5 + len + prefix_len, attrs = 4 + value + sizeof(rest);
	struct wr w = wr_init(buf, BGP_MSG_MAX);

	memset(wr_reserve(&w, 16), 0xff, 16);
	wr_u16(&w, (uint16_t)(23 + attrs));
	wr_u8(&w, BGP_UPDATE);
	wr_u16(&w, 0);
	wr_u16(&w, (uint16_t)attrs);
	wr_u16(&w, 0x900e);
	wr_u16(&w, (uint16_t)value);
	wr_u16(&w, family_afi(f));
	wr_u8(&w, (uint8_t)family_safi(f));
	wr_u8(&w, len);
	wr_bytes(&w, next_hop, len);
	wr_u8(&w, 0);
	wr_bytes(&w, prefix, prefix_len);
	wr_bytes(&w, rest, sizeof(rest));
	assert_false(w.bad);
	return wr_len(&w);
}

#define VPN_DEFAULT_ROUTE "\x58\x00\x3e\x91\x00\x00\xfc\x00\x00\x00\x00\x01"

/*
 * RFC 4364 4.3.2, RFC 4659 3.2.1, RFC 8950 3, RFC 7606 7.11: every length of the next hop. An octet of
 * the distinguisher that is not zero is ignored.
 */
static void
test_vpn_next_hops(void **state)
{
	uint8_t field[64] = {0, 0, 0, 0, 0, 0, 0, 1, 0x20, 1, 0x0d,
		0xb8, [23] = 9, [32] = 0xfe, [33] = 0x80, [47] = 9};
	struct bgp_update_options o = {.as4 = true, .families = 0x0f};
	char text[ADDR_TEXT_MAX];
	uint8_t buf[BGP_MSG_MAX];
	struct bgp_update u;

	for (unsigned i = 0; i < 2 * 64; i++) {
		uint8_t len = (uint8_t)(i / 2);
		bool extended = i % 2;

		o.extended_next_hop = extended ? 0x0f : 0;
		for (enum family f = FAMILY_VPNV4_UNICAST; f <= FAMILY_VPNV6_UNICAST; f++) {
			bool v4 = f == FAMILY_VPNV4_UNICAST;
			bool good = v4 && len == 12;

			good |= (!v4 || extended) && (len == 24 || len == 48);
			bgp_update_decode(buf,
				vpn_message(buf, f, field, len, VPN_DEFAULT_ROUTE,
					sizeof(VPN_DEFAULT_ROUTE) - 1),
				&o, room(0), &u);
			assert_int_equal(u.error.severity, good ? BGP_OK : SESSION_RESET);
			if (!good) {
				assert_int_equal(u.error.nlri_fault, NLRI_NEXT_HOP_LENGTH);
				continue;
			}
			assert_string_equal(addr_format(&room(0)->next_hop, text),
				len == 12 ? "32.1.13.184" : "2001:db8::9");
			assert_int_equal(
				room(0)->next_hop_link_local.afi, len == 48 ? AFI_IPV6 : AFI_NONE);
		}
	}
	/* 0.0.0.0: no host (RFC 4271 6.3) */
	memset(field, 0, sizeof(field));
	bgp_update_decode(buf,
		vpn_message(buf, FAMILY_VPNV4_UNICAST, field, 12, VPN_DEFAULT_ROUTE,
			sizeof(VPN_DEFAULT_ROUTE) - 1),
		&o, room(0), &u);
	assert_int_equal(u.error.severity, TREAT_AS_WITHDRAW);
	assert_int_equal(u.announced_count, 1);
	bgp_error_text(&u.error, text, sizeof(text));
	assert_string_equal(text, "mp-reach-nlri: next hop 0.0.0.0 is ours, or the address of no");
}

/*
 * RFC 4659 3.2.1.2: the next hop of a VPN-IPv6 route over an IPv4 core is an IPv4-mapped address. It
 * is the IPv4 next hop, with the checks of an IPv4 next hop.
 */
static void
test_vpn_mapped_next_hop(void **state)
{
	uint8_t field[48] = {[18] = 0xff, 0xff, 192, 0, 2, 7};
	struct bgp_update_options o = {.as4 = true, .families = 0x0f};
	uint8_t buf[BGP_MSG_MAX];
	char text[ADDR_TEXT_MAX];
	struct bgp_update u;

	for (unsigned len = 24; len <= 48; len += 24) {
		bgp_update_decode(buf,
			vpn_message(buf, FAMILY_VPNV6_UNICAST, field, (uint8_t)len,
				VPN_DEFAULT_ROUTE, sizeof(VPN_DEFAULT_ROUTE) - 1),
			&o, room(0), &u);
		assert_int_equal(u.error.severity, BGP_OK);
		assert_string_equal(addr_format(&room(0)->next_hop, text), "192.0.2.7");
		assert_int_equal(room(0)->next_hop_link_local.afi, AFI_NONE);
	}
	field[20] = 127;
	bgp_update_decode(buf,
		vpn_message(buf, FAMILY_VPNV6_UNICAST, field, 24, VPN_DEFAULT_ROUTE,
			sizeof(VPN_DEFAULT_ROUTE) - 1),
		&o, room(0), &u);
	assert_int_equal(u.error.severity, TREAT_AS_WITHDRAW);
	/* an IPv6 route keeps the address as received */
	bgp_update_decode(buf,
		vpn_message(buf, FAMILY_IPV6_UNICAST, field + 8, 16, "\x10\x20\x01", 3), &o,
		room(0), &u);
	assert_int_equal(u.error.severity, BGP_OK);
	assert_string_equal(addr_format(&room(0)->next_hop, text), "::ffff:127.0.2.7");
}

#define FAULT(severity, fault, text, family, len, prefix)                                          \
	{                                                                                          \
		severity, fault, text, family, len, prefix, sizeof(prefix) - 1                     \
	}

/* RFC 7606 5.3, RFC 8277 2.1: the action and the words for each fault. */
static void
test_vpn_faults(void **state)
{
	static const struct {
		uint8_t severity, fault;
		const char *text;
		enum family family;
		uint8_t next_hop_len;
		const char *prefix;
		size_t prefix_len;
	} cases[] = {
		FAULT(BGP_OK, NLRI_SOUND, NULL, FAMILY_VPNV4_UNICAST, 12, VPN_DEFAULT_ROUTE),
		FAULT(SESSION_RESET, NLRI_NEXT_HOP_LENGTH,
			"mp-reach-nlri: length 4 of the next hop, expected 12, or with IPv6 next "
			"hops negotiated 24 or 48",
			FAMILY_VPNV4_UNICAST, 4, VPN_DEFAULT_ROUTE),
		FAULT(SESSION_RESET, NLRI_NEXT_HOP_LENGTH,
			"mp-reach-nlri: length 16 of the next hop, expected 24 or 48",
			FAMILY_VPNV6_UNICAST, 16, VPN_DEFAULT_ROUTE),
		FAULT(SESSION_RESET, NLRI_CUT,
			"mp-reach-nlri: the last prefix is longer than the attribute",
			FAMILY_VPNV4_UNICAST, 12, VPN_DEFAULT_ROUTE "\x58\x00"),
		FAULT(SESSION_RESET, NLRI_NO_LABEL,
			"mp-reach-nlri: the length of a prefix leaves no room for a label",
			FAMILY_VPNV4_UNICAST, 12, "\x10\x0a\x01"),
		FAULT(SESSION_RESET, NLRI_NO_BOTTOM,
			"mp-reach-nlri: the label stack of a prefix has no bottom",
			FAMILY_VPNV6_UNICAST, 24,
			"\x58\x00\x3e\x90\x00\x00\xfc\x00\x00\x00\x00\x02"),
		FAULT(SESSION_RESET, NLRI_NO_DISTINGUISHER,
			"mp-reach-nlri: the length of a prefix leaves no room for a route "
			"distinguisher",
			FAMILY_VPNV6_UNICAST, 24, "\x28\x00\x3e\x91\x0a\x01"),
		FAULT(SESSION_RESET, NLRI_TOO_LONG,
			"mp-reach-nlri: a prefix is longer than an address of the family",
			FAMILY_VPNV4_UNICAST, 12,
			"\x79\x00\x3e\x91\x00\x00\xfc\x00\x00\x00\x00\x02\x0a\x01\x02\x03\x00"),
		/* two labels where we announced two, three where we announced two */
		FAULT(BGP_OK, NLRI_SOUND, NULL, FAMILY_VPNV6_UNICAST, 24,
			"\x70\x00\x3e\x90\x00\x3e\xa1\x00\x00\xfc\x00\x00\x00\x00\x01"),
		FAULT(TREAT_AS_WITHDRAW, NLRI_TOO_MANY_LABELS,
			"mp-reach-nlri: a prefix has more labels than our capability allows",
			FAMILY_VPNV6_UNICAST, 24,
			VPN_DEFAULT_ROUTE
			"\x88\x00\x3e\x90\x00\x3e\xa0\x00\x3e\xb1\x00\x00\xfc\x00\x00\x00\x00\x01"),
	};
	static const uint8_t field[48] = {[8] = 0x20, 1, 0x0d, 0xb8, [23] = 9};
	struct bgp_update_options o = {.as4 = true,
		.families = 0x0f,
		.multiple_labels = 1u << FAMILY_VPNV6_UNICAST,
		.labels_max = 2};
	uint8_t buf[BGP_MSG_MAX];
	struct bgp_update u;
	char text[160];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = vpn_message(buf, cases[i].family, field, cases[i].next_hop_len,
			cases[i].prefix, cases[i].prefix_len);

		bgp_update_decode(buf, len, &o, room(0), &u);
		assert_int_equal(u.error.severity, cases[i].severity);
		assert_int_equal(u.error.nlri_fault, cases[i].fault);
		assert_int_equal(u.announced_count, cases[i].severity != SESSION_RESET);
		if (cases[i].text == NULL)
			continue;
		assert_int_equal(u.error.subcode, UPDATE_OPTIONAL_ATTRIBUTE);
		bgp_error_text(&u.error, text, sizeof(text));
		assert_string_equal(text, cases[i].text);
	}
}

static void
test_end_of_rib(void **state)
{
	struct bgp_update_options o = {.as4 = true, .families = 0x0f};
	uint8_t buf[64];
	struct bgp_update u;

	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		size_t len = bgp_end_of_rib_encode(f, buf, sizeof(buf));

		assert_int_equal(len, f == FAMILY_IPV4_UNICAST ? 23 : 29);
		assert_int_equal(bgp_end_of_rib_encode(f, buf, len - 1), 0);
		len = bgp_end_of_rib_encode(f, buf, len);
		bgp_update_decode(buf, len, &o, room(0), &u);
		assert_int_equal(u.error.severity, BGP_OK);
		assert_true(u.end_of_rib);
		assert_int_equal(u.end_of_rib_family, f);
		assert_int_equal(u.announced_count + u.withdrawn_count, 0);
	}
}

/* Our own address as NEXT_HOP: the route is not to be used (RFC 4271 5.1.3). */
static void
test_own_next_hop(void **state)
{
	static const uint8_t attrs[] = {0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9};
	struct bgp_update_options o = {
		.as4 = true, .external = true, .families = 1, .local_id = 0xc0000209};
	uint8_t buf[BGP_MSG_MAX];
	size_t len = message(buf, attrs, sizeof(attrs));
	struct bgp_update u;

	bgp_update_decode(buf, len, &o, room(0), &u);
	assert_int_equal(u.error.severity, TREAT_AS_WITHDRAW);
	assert_int_equal(u.error.subcode, UPDATE_INVALID_NEXT_HOP);
	assert_int_equal(u.announced_count, 1);
	o.local_id = 0xc0000208;
	bgp_update_decode(buf, len, &o, room(0), &u);
	assert_int_equal(u.error.severity, BGP_OK);
}

/* MP_REACH_NLRI of `family` with this next hop, plus ORIGIN and AS_PATH. */
static size_t
mp_message(uint8_t *buf, enum family f, const uint8_t *next_hop, uint8_t len)
{
	static const uint8_t front[] = {0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9};
	size_t attrs = sizeof(front) + 3 + 5 + len + 2, total = 23 + attrs;
	struct wr w = wr_init(buf, BGP_MSG_MAX);

	memset(wr_reserve(&w, 16), 0xff, 16);
	wr_u16(&w, (uint16_t)total);
	wr_u8(&w, BGP_UPDATE);
	wr_u16(&w, 0);
	wr_u16(&w, (uint16_t)attrs);
	wr_bytes(&w, front, sizeof(front));
	wr_u16(&w, 0x800e);
	wr_u8(&w, (uint8_t)(5 + len + 2));
	wr_u16(&w, family_afi(f));
	wr_u8(&w, (uint8_t)family_safi(f));
	wr_u8(&w, len);
	wr_bytes(&w, next_hop, len);
	wr_u8(&w, 0);
	wr_u16(&w, 0x0820); /* 32/8, 2000::/8 */
	assert_false(w.bad);
	assert_int_equal(wr_len(&w), total);
	return total;
}

static void
check_next_hop(
	const char *global, const char *link_local, enum bgp_severity severity, const char *counts)
{
	struct bgp_update_options o = {
		.as4 = true, .external = true, .families = 3, .extended_next_hop = 1};
	uint8_t buf[BGP_MSG_MAX];
	char text[ADDR_TEXT_MAX];
	struct ip_addr a = {0}, b = {0};
	uint8_t both[32];
	struct bgp_update u;

	o.zone = zone_intern("east");
	assert_int_equal(addr_parse("2001:db8::1", &o.local_v6), 0);
	assert_int_equal(addr_parse(global, &a), 0);
	memcpy(both, a.b, 16);
	if (link_local != NULL)
		assert_int_equal(addr_parse(link_local, &b), 0);
	memcpy(both + 16, b.b, 16);
	for (enum family f = FAMILY_IPV4_UNICAST; f <= FAMILY_IPV6_UNICAST; f++) {
		size_t len = mp_message(buf, f, both, link_local != NULL ? 32 : 16);

		o.extended_next_hop = 1;
		bgp_update_decode(buf, len, &o, room(0), &u);
		assert_int_equal(u.error.severity, severity);
		assert_int_equal(u.announced_count, 1);
		assert_int_equal(u.has_attrs, severity == BGP_OK);
		if (severity == BGP_OK)
			assert_string_equal(addr_format(attr_next_hop(room(0)), text), counts);
		else
			assert_int_equal(u.error.subcode, UPDATE_INVALID_NEXT_HOP);
		o.extended_next_hop = 0;
		bgp_update_decode(buf, len, &o, room(0), &u);
		assert_int_equal(
			u.error.severity, f == FAMILY_IPV4_UNICAST ? SESSION_RESET : severity);
	}
}

/* RFC 2545 3, 8950 3: the next hop used, and its zone. */
static void
test_v6_next_hops(void **state)
{
	static const uint8_t v4[] = {192, 0, 2, 9}, none[33] = {0};
	struct bgp_update_options o = {
		.as4 = true, .external = true, .families = 3, .extended_next_hop = 1};
	uint8_t buf[BGP_MSG_MAX];
	struct bgp_update u;

	check_next_hop("2001:db8::9", NULL, BGP_OK, "2001:db8::9");
	check_next_hop("2001:db8::9", "fe80::9", BGP_OK, "2001:db8::9");
	check_next_hop("::", "fe80::9", BGP_OK, "fe80::9%east");
	check_next_hop("fe80::8", "fe80::9", BGP_OK, "fe80::9%east");
	check_next_hop("fe80::8", NULL, BGP_OK, "fe80::8%east");
	check_next_hop("fe80::8", "::", BGP_OK, "fe80::8%east");
	check_next_hop("2001:db8::9", "::", BGP_OK, "2001:db8::9");
	check_next_hop("2001:db8::9", "2001:db8::9", BGP_OK, "2001:db8::9");
	check_next_hop("::", NULL, TREAT_AS_WITHDRAW, NULL);
	check_next_hop("::", "::", TREAT_AS_WITHDRAW, NULL);
	check_next_hop("2001:db8::1", NULL, TREAT_AS_WITHDRAW, NULL);
	check_next_hop("2001:db8::1", "fe80::9", TREAT_AS_WITHDRAW, NULL);
	/* IPv4 in MP_REACH_NLRI with an IPv4 next hop; other lengths are errors (RFC 7606 7.11). */
	bgp_update_decode(buf, mp_message(buf, FAMILY_IPV4_UNICAST, v4, 4), &o, room(0), &u);
	assert_int_equal(u.error.severity, BGP_OK);
	assert_int_equal(addr_v4(&room(0)->next_hop), 0xc0000209);
	bgp_update_decode(buf, mp_message(buf, FAMILY_IPV4_UNICAST, none, 4), &o, room(0), &u);
	assert_int_equal(u.error.severity, TREAT_AS_WITHDRAW);
	for (uint8_t len = 0; len <= 33; len++) {
		for (enum family f = FAMILY_IPV4_UNICAST; f <= FAMILY_IPV6_UNICAST; f++) {
			if (len == 16 || len == 32 || (len == 4 && f == FAMILY_IPV4_UNICAST))
				continue;
			bgp_update_decode(buf, mp_message(buf, f, none, len), &o, room(0), &u);
			assert_int_equal(u.error.severity, SESSION_RESET);
			assert_int_equal(u.error.subcode, UPDATE_OPTIONAL_ATTRIBUTE);
		}
	}
}

/*
 * The largest possible set: 2-octet AS numbers of an extended message, widened, exceed 65,535
 * octets, and the path is refused.
 */
static void
test_too_long_path(void **state)
{
	static uint8_t buf[BGP_EXTENDED_MSG_MAX];
	struct bgp_update_options o = {.external = true, .families = 1, .extended_message = true};
	struct bgp_update u;
	uint8_t attrs[] = {0x50, 2, 0, 0};
	size_t len = message(buf, attrs, sizeof(attrs)), path = 0;
	uint8_t *p = buf + len - 4;

	while (path + 512 < 64000) {
		p[path++] = 2;
		p[path++] = 255;
		memset(p + path, 1, 510);
		path += 510;
	}
	p[-2] = (uint8_t)(path >> 8);
	p[-1] = (uint8_t)path;
	memcpy(p + path, (uint8_t[]){24, 203, 0, 113}, 4);
	buf[21] = (uint8_t)((path + 15) >> 8);
	buf[22] = (uint8_t)(path + 15);
	bgp_update_decode(buf, len + path, &o, room(0), &u);
	assert_int_equal(u.error.severity, TREAT_AS_WITHDRAW);
	assert_int_equal(u.announced_count, 1);
	assert_false(u.has_attrs);
	harness_update(buf, len + path, 1 | 2);
}

static void
test_truncations(void **state)
{
	struct bgp_encode_options eo = {.as4 = true, .send_communities = true};
	uint8_t buf[BGP_MSG_MAX];
	struct update_packer u;

	for (uint64_t seed = 1; seed <= 8; seed++) {
		uint64_t s = seed;
		enum family f = seed % 2 ? FAMILY_IPV4_UNICAST : FAMILY_IPV6_UNICAST;
		struct prefix p = {.afi = (uint8_t)family_afi(f), .len = 24, .b = {203, 0, 113}};

		random_set(room(0), f, false, &s);
		assert_true(update_packer_begin(&u, f, room(0), &eo, buf, sizeof(buf)));
		assert_true(update_packer_add(&u, &p, 0) && update_packer_add(&u, &p, 0));
		harness_truncations(buf, update_packer_finish(&u), (uint8_t)(seed & 1 ? 0 : 2));
	}
}

/* A figure, not a check: a full table is 190,000 sets and 1.2 million prefixes. */
static void
test_speed(void **state)
{
	enum { SETS = 190000, PREFIXES_OF_A_SET = 6 };
	struct bgp_encode_options eo = {.as4 = true, .send_communities = true};
	struct bgp_update_options o = {.as4 = true, .families = 1};
	struct timespec t0, t1;
	uint8_t buf[BGP_MSG_MAX];
	struct update_packer u;
	struct bgp_update got;
	struct nlri n;
	size_t len;
	unsigned sum = 0;
	uint64_t s = 3;

	random_set(room(0), FAMILY_IPV4_UNICAST, false, &s);
	assert_true(update_packer_begin(&u, FAMILY_IPV4_UNICAST, room(0), &eo, buf, sizeof(buf)));
	for (unsigned i = 0; i < PREFIXES_OF_A_SET; i++) {
		struct prefix p = prefix_from_v4(0x0a000000 + (i << 8), 24);

		assert_true(update_packer_add(&u, &p, 0));
	}
	len = update_packer_finish(&u);
	clock_gettime(CLOCK_MONOTONIC, &t0);
	for (unsigned i = 0; i < SETS; i++) {
		bgp_update_decode(buf, len, &o, room(1), &got);
		while (nlri_read(&got.announced[0].nlri, FAMILY_IPV4_UNICAST, false, &n))
			sum += n.prefix.len;
	}
	clock_gettime(CLOCK_MONOTONIC, &t1);
	assert_int_equal(sum, SETS * PREFIXES_OF_A_SET * 24);
	print_message("decode of %u sets of %zu octets and %u prefixes: %.3f s\n", SETS, len,
		SETS * PREFIXES_OF_A_SET,
		(double)(t1.tv_sec - t0.tv_sec) + 1e-9 * (double)(t1.tv_nsec - t0.tv_nsec));
}

/* RFC 6396 4.3.4: the length of the attributes of a route has two octets. A longer route leaves the record as it was. */
static void
test_table_dump_of_long_attributes(void **state)
{
	static uint8_t buf[1 << 17];
	struct attr_set *a = room(0);
	struct mrt_route route = {.peer = 1, .attrs = a};
	struct prefix p = {.afi = AFI_IPV4, .len = 24};
	struct mrt_record r;
	size_t before, len;

	(void)state;
	memset(a, 0, ATTR_SET_MAX);
	a->next_hop.afi = AFI_IPV4;
	a->as_path_len = 60 * (2 + 4 * 255);
	for (unsigned i = 0; i < 60; i++) {
		a->var[i * (2 + 4 * 255)] = 2;
		a->var[i * (2 + 4 * 255) + 1] = 255;
	}
	mrt_begin_prefix(&r, buf, sizeof(buf), 0, 0, &p, false);
	before = wr_len(&r.w);
	a->community_count = 2000;
	assert_false(mrt_route(&r, &route, FAMILY_IPV4_UNICAST, false));
	assert_int_equal(wr_len(&r.w), before);
	a->community_count = 0;
	assert_true(mrt_route(&r, &route, FAMILY_IPV4_UNICAST, false));
	assert_int_equal(r.count, 1);
	len = wr_len(&r.w) - before;
	assert_true(len > a->as_path_len);
	assert_int_equal(buf[before + 6] << 8 | buf[before + 7], len - 8);
	assert_int_equal(mrt_end(&r), before + len);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as4_path_merge),
		cmocka_unit_test(test_as4_aggregator),
		cmocka_unit_test(test_large_repeated),
		cmocka_unit_test(test_unknown_sorted),
		cmocka_unit_test(test_packer_round_trips),
		cmocka_unit_test(test_packer_appends),
		cmocka_unit_test(test_no_communities),
		cmocka_unit_test(test_packer_refuses),
		cmocka_unit_test(test_packer_vpn),
		cmocka_unit_test(test_vpn_next_hops),
		cmocka_unit_test(test_vpn_mapped_next_hop),
		cmocka_unit_test(test_vpn_faults),
		cmocka_unit_test(test_end_of_rib),
		cmocka_unit_test(test_own_next_hop),
		cmocka_unit_test(test_v6_next_hops),
		cmocka_unit_test(test_too_long_path),
		cmocka_unit_test(test_table_dump_of_long_attributes),
		cmocka_unit_test(test_truncations),
		cmocka_unit_test(test_speed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
