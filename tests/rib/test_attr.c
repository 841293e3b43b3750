/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/attr.h"
#include "rib/table/inspect.h"
#include "tests/lpm/one_thread.h"
#include "tests/lpm/size.h"
#include "tests/rib/attr_of.h"
#include "tests/rib/rib_test.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <stdatomic.h>

/* ---- AS_PATH ---- */

enum { SET = 1, SEQUENCE, CONFED_SEQUENCE, CONFED_SET };

/* A set in its own buffer, with room to grow. */
struct attr_buffer {
	union {
		struct attr_set set;
		uint8_t bytes[ATTR_SET_MAX];
	};
};

static void
path_add(struct attr_set *a, uint8_t type, unsigned count, const uint32_t *asn)
{
	uint8_t *w = a->var + a->as_path_len;

	*w++ = type;
	*w++ = (uint8_t)count;
	for (unsigned i = 0; i < count; i++) {
		*w++ = (uint8_t)(asn[i] >> 24);
		*w++ = (uint8_t)(asn[i] >> 16);
		*w++ = (uint8_t)(asn[i] >> 8);
		*w++ = (uint8_t)asn[i];
	}
	a->as_path_len = (uint16_t)(a->as_path_len + 2 + 4 * count);
}

#define PATH_ADD(a, type, ...)                                                                     \
	path_add(a, type, sizeof((uint32_t[]){__VA_ARGS__}) / 4, (uint32_t[]){__VA_ARGS__})

static struct attr_set *
buffer_clear(struct attr_buffer *b)
{
	memset(b, 0, sizeof(*b));
	return &b->set;
}

static struct attr_buffer buffer, copy;

static void
expect_path(struct attr_set *a, const char *text, unsigned hops, uint32_t first, uint32_t origin)
{
	char got[256];

	attr_set_derive(a);
	assert_int_equal(attr_as_path_format(a, got, sizeof(got)), strlen(text));
	assert_string_equal(got, text);
	assert_int_equal(a->as_path_hops, hops);
	assert_int_equal(a->first_asn, first);
	assert_int_equal(a->origin_asn, origin);
}

static void
paths_are_counted_and_written(void **state)
{
	struct attr_set *a = buffer_clear(&buffer);

	expect_path(a, "", 0, 0, 0);
	PATH_ADD(a, SEQUENCE, 64513, 4200000000, 23456);
	expect_path(a, "64513 4200000000 23456", 3, 64513, 23456);
	PATH_ADD(a, SET, 1, 2);
	expect_path(a, "64513 4200000000 23456 {1,2}", 4, 64513, 0);

	a = buffer_clear(&buffer);
	PATH_ADD(a, SET, 7, 8, 9);
	PATH_ADD(a, SEQUENCE, 5);
	expect_path(a, "{7,8,9} 5", 2, 0, 5);

	/* RFC 5065 5.3 */
	a = buffer_clear(&buffer);
	PATH_ADD(a, CONFED_SEQUENCE, 65001, 65002);
	PATH_ADD(a, CONFED_SET, 65003, 65004);
	expect_path(a, "(65001 65002) [65003,65004]", 0, 0, 0);
	PATH_ADD(a, SEQUENCE, 0, UINT32_MAX);
	expect_path(a, "(65001 65002) [65003,65004] 0 4294967295", 2, 0, UINT32_MAX);
	a->var[a->as_path_len - 8 + 3] = 9; /* the leftmost AS of the sequence */
	expect_path(a, "(65001 65002) [65003,65004] 9 4294967295", 2, 9, UINT32_MAX);
	assert_true(attr_as_path_contains(a, 65004));
	assert_true(attr_as_path_contains(a, 9));
	assert_true(attr_as_path_contains(a, UINT32_MAX));
	assert_false(attr_as_path_contains(a, 65005));

	/* a truncated segment ends the path, an empty segment does not count */
	a = buffer_clear(&buffer);
	path_add(a, SEQUENCE, 0, NULL);
	PATH_ADD(a, SEQUENCE, 3);
	PATH_ADD(a, SEQUENCE, 4);
	a->as_path_len--;
	expect_path(a, "3", 1, 3, 3);
}

static void
a_short_buffer_is_cut(void **state)
{
	struct attr_set *a = buffer_clear(&buffer);
	const char *text = "(65001 2) 34567 {1,2}";
	char got[32];

	PATH_ADD(a, CONFED_SEQUENCE, 65001, 2);
	PATH_ADD(a, SEQUENCE, 34567);
	PATH_ADD(a, SET, 1, 2);
	for (size_t size = 0; size <= sizeof(got); size++) {
		memset(got, 'x', sizeof(got));
		assert_int_equal(attr_as_path_format(a, got, size), strlen(text));
		if (size == 0) {
			assert_int_equal(got[0], 'x');
			continue;
		}
		size_t kept = size - 1 < strlen(text) ? size - 1 : strlen(text);
		assert_memory_equal(got, text, kept);
		assert_int_equal(got[kept], '\0');
		for (size_t i = kept + 1; i < sizeof(got); i++)
			assert_int_equal(got[i], 'x');
	}
}

/* All AS numbers of a path in order, across segments. */
static unsigned
path_flat(const struct attr_set *a, uint32_t *out)
{
	const uint8_t *p = attr_as_path(a), *end = p + a->as_path_len;
	unsigned n = 0;

	while (p < end) {
		unsigned count = p[1];
		assert_true(count > 0);
		p += 2;
		for (; count > 0; count--, p += 4)
			out[n++] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
				   (uint32_t)p[2] << 8 | p[3];
	}
	assert_ptr_equal(p, end);
	return n;
}

/*
 * Prepends `count` numbers to a sequence of `have`: checks the numbers, and that the number of
 * segments is minimal.
 */
static void
check_prepend(unsigned have, unsigned count)
{
	static uint32_t asn[2048], got[2048];
	struct attr_set *a = buffer_clear(&buffer);
	unsigned segments = 0;

	for (unsigned i = 0; i < have; i++)
		asn[i] = 100 + i;
	if (have > 0)
		path_add(a, SEQUENCE, have, asn);
	memcpy(a->var + a->as_path_len, "communities!", 12);
	a->community_count = 3;
	a->med = 77;
	attr_set_derive(a);
	assert_int_equal(attr_set_prepend(a, 64512, count, &copy.set, sizeof(copy)), 0);
	assert_int_equal(path_flat(&copy.set, got), have + count);
	for (unsigned i = 0; i < have + count; i++)
		assert_int_equal(got[i], i < count ? 64512 : 100 + (i - count));
	for (const uint8_t *p = copy.set.var; p < copy.set.var + copy.set.as_path_len;
		p += 2 + 4 * p[1])
		segments++;
	assert_int_equal(segments, (have + count + 254) / 255);
	assert_memory_equal(attr_communities(&copy.set), "communities!", 12);
	assert_int_equal(copy.set.med, 77);
	assert_int_equal(copy.set.as_path_hops, have + count);
	assert_int_equal(copy.set.first_asn, count > 0 ? 64512 : have > 0 ? 100 : 0);
	/* exactly enough room, then one byte less */
	size_t size = attr_set_size(&copy.set);
	assert_int_equal(attr_set_prepend(a, 64512, count, &copy.set, size), 0);
	assert_int_equal(attr_set_prepend(a, 64512, count, &copy.set, size - 1), -ENOSPC);
}

static void
prepending_splits_at_255(void **state)
{
	static const unsigned have[] = {0, 1, 2, 253, 254, 255};
	static const unsigned count[] = {0, 1, 2, 3, 254, 255, 256, 510, 511, 765, 1000};

	for (unsigned i = 0; i < sizeof(have) / sizeof(have[0]); i++)
		for (unsigned k = 0; k < sizeof(count) / sizeof(count[0]); k++)
			check_prepend(have[i], count[k]);
}

static void
prepending_leaves_sets_alone(void **state)
{
	struct attr_set *a = buffer_clear(&buffer);
	static uint32_t many[255];

	PATH_ADD(a, SET, 1, 2);
	attr_set_derive(a);
	assert_int_equal(attr_set_prepend(a, 5, 2, &copy.set, sizeof(copy)), 0);
	expect_path(&copy.set, "5 5 {1,2}", 3, 5, 0);

	a = buffer_clear(&buffer);
	PATH_ADD(a, CONFED_SEQUENCE, 65001);
	assert_int_equal(attr_set_prepend(a, 5, 1, &copy.set, sizeof(copy)), 0);
	expect_path(&copy.set, "5 (65001)", 1, 5, 5);

	/* paths around the maximum of the length field */
	a = buffer_clear(&buffer);
	for (unsigned i = 0; i < 64; i++)
		path_add(a, SEQUENCE, 255, many);
	assert_int_equal(attr_set_prepend(a, 5, 10, &copy.set, sizeof(copy)), 0);
	assert_int_equal(attr_set_prepend(a, 5, 1000, &copy.set, sizeof(copy)), -ENOSPC);
	assert_int_equal(attr_set_prepend(a, 5, UINT32_MAX, &copy.set, sizeof(copy)), -ENOSPC);
}

/* ---- the packed form ---- */

#define RANDOM_SETS test_size(50000, 200000)

static uint64_t dice = 7;

static bool
once_in(unsigned n)
{
	return random_below(&dice, n) == 0;
}

static uint32_t
random_asn(void)
{
	static const uint32_t edge[] = {0, 0xfeff, 0xff00, 0xff01, 0xffff, 0x10000, 0xfeffff,
		0xff0000, 0xffffff, 0x1000000, 4200000000, UINT32_MAX};

	if (once_in(3))
		return edge[random_below(&dice, sizeof(edge) / sizeof(edge[0]))];
	return (uint32_t)random_next(&dice) >> random_below(&dice, 32);
}

/* Mostly a single sequence; sometimes other segments, or octets that are no path. */
static void
random_path(struct attr_set *a)
{
	static uint32_t asn[255];
	unsigned segments = once_in(4) ? random_below(&dice, 4) : 1;

	for (; segments > 0; segments--) {
		unsigned count =
			once_in(10) ? 1 + random_below(&dice, 255) : random_below(&dice, 8);

		for (unsigned i = 0; i < count; i++)
			asn[i] = once_in(20) ? 4200000000 : random_asn();
		path_add(a, once_in(5) ? (uint8_t)random_below(&dice, 6) : SEQUENCE, count, asn);
	}
	if (once_in(20) && a->as_path_len > 0)
		a->as_path_len--;
}

static struct ip_addr
random_addr(void)
{
	struct ip_addr a = {0};
	unsigned form = random_below(&dice, 8);

	for (unsigned i = 0; i < 16; i++)
		a.b[i] = form < 4 && i >= 4 ? 0 : (uint8_t)random_next(&dice);
	a.afi = form < 4 ? AFI_IPV4 : form < 7 ? AFI_IPV6 : AFI_NONE;
	if (form == 7)
		memset(a.b, 0, sizeof(a.b));
	if (form == 6) {
		a.b[0] = 0xfe;
		a.b[1] = 0x80;
		a.zone = (uint16_t)random_below(&dice, 3);
	}
	return a;
}

static uint16_t
random_count(unsigned most)
{
	if (once_in(2))
		return 0;
	return (uint16_t)random_below(&dice, once_in(20) ? most : 6);
}

/* Any value that a decoder or a policy can make, and some that they cannot (`odd`). */
static struct attr_set *
random_set(struct attr_buffer *b, bool *odd)
{
	struct attr_set *a = &b->set;
	size_t path;

	memset(a, 0, sizeof(*a));
	*odd = once_in(20);
	a->origin = (uint8_t)random_below(&dice, *odd ? 256 : 3);
	a->has = (uint32_t)random_next(&dice) & (*odd ? UINT32_MAX : 0x3f);
	if (*odd || a->has & ATTR_HAS_MED)
		a->med = random_asn();
	if (*odd || a->has & ATTR_HAS_LOCAL_PREF)
		a->local_pref = random_asn();
	if (*odd || a->has & ATTR_HAS_AGGREGATOR) {
		a->aggregator_asn = random_asn();
		a->aggregator_addr = random_asn();
	}
	if (*odd || a->has & ATTR_HAS_ORIGINATOR_ID)
		a->originator_id = random_below(&dice, 4);
	if (*odd || a->has & ATTR_HAS_OTC)
		a->otc = random_asn();
	a->unused = once_in(5);
	a->next_hop = random_addr();
	if (*odd && once_in(2))
		a->next_hop.unused = 1;
	if (once_in(4))
		a->next_hop_link_local = random_addr();
	random_path(a);
	path = a->as_path_len;
	a->community_count = random_count(300);
	a->ext_community_count = random_count(20);
	a->large_community_count = random_count(20);
	a->cluster_count = random_count(20);
	a->unknown_len = random_count(200);
	for (size_t i = path; i < attr_set_var_len(a); i++)
		a->var[i] = (uint8_t)random_below(&dice, 4);
	if (a->community_count > 0 && once_in(4))
		memcpy(a->var + path + 4 * random_below(&dice, a->community_count),
			(const uint8_t[]){0xff, 0xff, 0, 6}, 4);
	attr_set_derive(a);
	assert_int_equal(
		(a->has & ATTR_LLGR_STALE) != 0, attr_has_community(a, COMMUNITY_LLGR_STALE));
	if (*odd && once_in(2))
		a->as_path_hops++;
	else if (*odd && once_in(2))
		a->origin_asn++;
	return a;
}

static alignas(8) uint8_t packed_room[2][ATTR_PACKED_MAX];

static bool
clusters_have(const struct attr_set *a, uint32_t cluster)
{
	const uint8_t *p = attr_cluster_list(a);

	for (unsigned i = 0; i < a->cluster_count; i++, p += 4)
		if (((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]) ==
			cluster)
			return true;
	return false;
}

static void
packed_agrees(const struct attr_set *a, const struct attr_packed *p, size_t size)
{
	static const uint32_t asked[] = {0, 1, 0xff00, 0x10000, 4200000000, UINT32_MAX};
	struct ip_addr next_hop = attr_packed_next_hop(p);
	alignas(struct attr_set) uint8_t fixed[sizeof(struct attr_set)];

	assert_true(size <= attr_pack_bound(a));
	assert_int_equal(attr_packed_size(p), size);
	assert_true(attr_packed_valid(p, size));
	assert_true(attr_packed_valid(p, size + 7));
	assert_false(attr_packed_valid(p, size + 8));
	assert_int_equal(attr_packed_set_size(p), attr_set_size(a));
	memset(&copy, 0xa5, attr_set_size(a));
	assert_ptr_equal(attr_unpack(p, &copy.set), &copy.set);
	assert_memory_equal(&copy.set, a, attr_set_size(a));
	(void)attr_unpack_fixed(p, (struct attr_set *)(void *)fixed);
	assert_int_equal(((struct attr_set *)(void *)fixed)->origin_asn, 0);
	((struct attr_set *)(void *)fixed)->origin_asn = a->origin_asn;
	assert_memory_equal(fixed, a, sizeof(fixed));
	assert_memory_equal(&next_hop, attr_next_hop(a), sizeof(next_hop));
	for (unsigned i = 0; i < sizeof(asked) / sizeof(asked[0]); i++)
		assert_int_equal(
			attr_packed_as_path_count(p, asked[i]), attr_as_path_count(a, asked[i]));
	assert_int_equal(attr_packed_originator_is(p, 2),
		(a->has & ATTR_HAS_ORIGINATOR_ID) && a->originator_id == 2);
	assert_int_equal(attr_packed_cluster_contains(p, 0x02010300), clusters_have(a, 0x02010300));
}

/* attr_pack_like() makes the octets of attr_pack(), for any MED and LOCAL_PREF. */
static void
packed_alike(const struct attr_set *a, const struct attr_packed *p)
{
	static alignas(8) uint8_t room[2][ATTR_PACKED_MAX];
	static struct attr_buffer changed;
	struct attr_packed *q = (struct attr_packed *)(void *)room[0],
			   *like = (struct attr_packed *)(void *)room[1];
	size_t size;

	memcpy(&changed.set, a, attr_set_size(a));
	changed.set.has ^= random_below(&dice, 4) * ATTR_HAS_MED; /* and LOCAL_PREF, the next bit */
	changed.set.med = changed.set.has & ATTR_HAS_MED || once_in(20) ? random_asn() : 0;
	changed.set.local_pref =
		changed.set.has & ATTR_HAS_LOCAL_PREF || once_in(20) ? random_asn() : 0;
	size = attr_pack(&changed.set, q);
	assert_int_equal(attr_pack_like(p, &changed.set, like), size);
	assert_memory_equal(like, q, size);
}

/* The oracle: appends values to the standard communities of a copy. */
static const struct attr_set *
with_appended(const struct attr_set *a, const uint8_t *values, unsigned count)
{
	static struct attr_buffer out;
	uint8_t *end;
	size_t behind;

	memcpy(&out.set, a, attr_set_size(a));
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *at = attr_communities(&out.set);
		bool has = false;

		for (unsigned k = 0; k < out.set.community_count; k++)
			has |= memcmp(at + 4 * k, values + 4 * i, 4) == 0;
		if (has)
			continue;
		end = out.set.var + out.set.as_path_len + 4 * out.set.community_count;
		behind = (size_t)(out.set.var + attr_set_var_len(&out.set) - end);
		memmove(end + 4, end, behind);
		memcpy(end, values + 4 * i, 4);
		out.set.community_count++;
	}
	return &out.set;
}

/*
 * attr_packed_is_appended() agrees with the oracle, for the set with the values and for similar
 * sets. Returns 1 for a recognized set with the values.
 */
static unsigned
packed_is_appended(const struct attr_set *a, const struct attr_packed *p, bool odd)
{
	static alignas(8) uint8_t room[2][ATTR_PACKED_MAX];
	static struct attr_buffer near, want;
	struct attr_packed *q = (struct attr_packed *)(void *)room[0],
			   *r = (struct attr_packed *)(void *)room[1];
	unsigned count = random_below(&dice, 4), found;
	uint8_t values[12];
	size_t size, other;

	for (unsigned i = 0; i < sizeof(values); i++)
		values[i] = (uint8_t)random_below(&dice, once_in(2) ? 2 : 4);
	if (attr_set_size(a) + sizeof(values) > ATTR_SET_MAX)
		return 0;
	memcpy(&want.set, with_appended(a, values, count), attr_set_size(a) + 4 * count);
	size = attr_pack(&want.set, q);
	found = attr_packed_is_appended(p, q, values, count);
	if (!odd && want.set.community_count < 127)
		assert_true(found);
	memcpy(&near.set, &want.set, attr_set_size(&want.set));
	if (attr_set_var_len(&want.set) > 0 && once_in(2))
		near.set.var[random_below(&dice, (uint32_t)attr_set_var_len(&want.set))] ^= 1;
	else if (once_in(2))
		near.set.origin ^= 1;
	else
		near.set.has ^= 1u << random_below(&dice, 6);
	attr_set_derive(&near.set);
	other = attr_pack(&near.set, r);
	if (attr_packed_is_appended(p, r, values, count))
		assert_true(size == other && memcmp(q, r, size) == 0);
	if (count > 0 && attr_packed_is_appended(p, q, values, count - 1))
		assert_memory_equal(
			with_appended(a, values, count - 1), &want.set, attr_set_size(&want.set));
	return found;
}

/* Also: two sets are equal exactly if their packed forms are. The next set differs in one octet. */
static void
packing_keeps_every_set(void **state)
{
	struct attr_packed *p = (struct attr_packed *)(void *)packed_room[0],
			   *q = (struct attr_packed *)(void *)packed_room[1];
	unsigned odd_sets = 0, clusters = 0, appended = 0;

	for (unsigned n = 0; n < RANDOM_SETS; n++) {
		bool odd;
		struct attr_set *a = random_set(&buffer, &odd);
		size_t size = attr_pack(a, p), at, other;

		odd_sets += odd;
		clusters += clusters_have(a, 0x02010300);
		packed_agrees(a, p, size);
		packed_alike(a, p);
		appended += packed_is_appended(a, p, odd);
		if (attr_set_var_len(a) == 0)
			continue;
		at = random_below(&dice, (uint32_t)attr_set_var_len(a));
		a->var[at] ^= 1;
		attr_set_derive(a);
		other = attr_pack(a, q);
		packed_agrees(a, q, other);
		assert_false(size == other && memcmp(p, q, size) == 0);
	}
	assert_true(odd_sets > 1000);
	assert_true(clusters > 10);
	assert_true(appended > RANDOM_SETS / 4);
}

/* The sizes that the figures of docs/architecture.md rest on. */
static void
usual_sets_are_small(void **state)
{
	struct attr_packed *p = (struct attr_packed *)(void *)packed_room[0];
	struct attr_set *a = buffer_clear(&buffer);
	static uint32_t path[255];

	PATH_ADD(a, SEQUENCE, 64496, 3356, 174, 200000);
	attr_set_derive(a);
	a->next_hop = addr_from_v4(0x0a000001);
	assert_int_equal(attr_pack(a, p), 4 + 4 + 3 * 2 + 4);
	a->has = ATTR_HAS_MED;
	a->community_count = 3;
	memset(a->var + a->as_path_len, 1, 12);
	assert_int_equal(attr_pack(a, p), 4 + 4 + 4 + 3 * 2 + 4 + 12);
	a->next_hop.afi = AFI_IPV6;
	a->next_hop.b[15] = 1;
	assert_int_equal(attr_pack(a, p), 4 + 16 + 4 + 3 * 2 + 4 + 12);

	/* paths of 255 numbers that a pair of octets, and only four octets, can hold */
	for (unsigned i = 0; i < 255; i++)
		path[i] = i;
	a = buffer_clear(&buffer);
	path_add(a, SEQUENCE, 255, path);
	attr_set_derive(a);
	assert_int_equal(attr_pack(a, p), 4 + 2 * 255);
	memset(path, 0xee, sizeof(path));
	a = buffer_clear(&buffer);
	path_add(a, SEQUENCE, 255, path);
	attr_set_derive(a);
	assert_int_equal(attr_pack(a, p), 4 + 2 + 2 + 2 + 4 * 255);
}

/* A record with a damaged set is recognised without reading behind its end. */
static void
damaged_sets_are_recognised(void **state)
{
	struct attr_packed *p = (struct attr_packed *)(void *)packed_room[0];

	for (unsigned n = 0; n < test_size(5000, 20000); n++) {
		bool odd;
		size_t size = attr_pack(random_set(&buffer, &odd), p);
		uint8_t *exact = malloc(size);

		assert_non_null(exact);
		memcpy(exact, p, size);
		for (size_t len = size > 40 ? size - 40 : 0; len < size; len++) {
			uint8_t *cut = malloc(len > 0 ? len : 1);

			assert_non_null(cut);
			memcpy(cut, exact, len);
			assert_false(attr_packed_valid((struct attr_packed *)(void *)cut, len));
			free(cut);
		}
		for (unsigned i = 0; i < 8; i++)
			exact[random_below(&dice, (uint32_t)size)] = (uint8_t)random_next(&dice);
		(void)attr_packed_valid((struct attr_packed *)(void *)exact, size);
		free(exact);
	}
}

/* ---- interning ---- */

#define VALUES 3000
#define OPERATIONS test_size(100000, 300000)

/* Deterministic attributes of `value`: fixed part, path and communities vary. */
static const struct attr_set *
value_set(uint32_t value)
{
	struct attr_set *a = buffer_clear(&buffer);

	PATH_ADD(a, SEQUENCE, 64500 + value % 7, value);
	if (value % 3 == 0) {
		memcpy(a->var + a->as_path_len, &value, 4);
		a->community_count = 1;
	}
	a->med = value / 2;
	attr_set_derive(a);
	return a;
}

struct interned {
	uint32_t id, serial, refs;
};

static void
interning_agrees_with_a_list(void **state)
{
	static struct interned oracle[VALUES];
	static uint32_t owner[VALUES * 4]; /* by id: value + 1 */
	static struct {
		uint32_t value, serial;
	} last[VALUES * 4]; /* by id */
	struct rib_test base;
	struct attr_table *t;
	uint64_t random = 42;
	uint32_t in_use = 0, reused = 0, renewed = 0;
	unsigned reader;

	rib_test_begin(&base);
	assert_int_equal(qsbr_register(base.readers, &reader), 0);
	assert_int_equal(attr_table_create(base.arena, base.readers, &t), 0);
	for (unsigned n = 0; n < OPERATIONS; n++) {
		uint32_t value = random_below(&random, VALUES);
		struct interned *o = &oracle[value];

		if (random_below(&random, 2) == 0 && o->refs > 0) {
			attr_unref(t, (struct attr_id){o->id}, 1);
			if (--o->refs == 0) {
				in_use--;
				owner[o->id] = 0;
			}
		} else {
			struct attr_id id;
			uint32_t refs = 1 + random_below(&random, 2);
			assert_int_equal(attr_intern(t, value_set(value), refs, &id), 0);
			if (o->refs == 0) {
				in_use++;
				reused += id.v == o->id;
				assert_int_equal(owner[id.v], 0);
				owner[id.v] = value + 1;
				/* a reused id has another serial, unless the set is identical */
				if (attr_serial(t, id) == last[id.v].serial)
					assert_int_equal(last[id.v].value, value);
				else
					renewed += last[id.v].serial != 0;
				o->id = id.v;
				o->serial = attr_serial(t, id);
				assert_int_not_equal(o->serial, 0);
				last[id.v].value = value;
				last[id.v].serial = o->serial;
			}
			assert_int_equal(id.v, o->id);
			assert_int_equal(attr_serial(t, id), o->serial);
			const struct attr_set *got = attr_of(t, id), *want = value_set(value);
			assert_int_equal(attr_set_size(got), attr_set_size(want));
			assert_memory_equal(got, want, attr_set_size(want));
			o->refs += refs;
		}
		assert_int_equal(attr_table_count(t), in_use);
		if (n % 64 == 0)
			attr_table_reclaim(t);
	}
	assert_true(reused > 20);
	assert_true(renewed > 20);
	for (uint32_t value = 0; value < VALUES; value++)
		for (; oracle[value].refs > 0; oracle[value].refs--)
			attr_unref(t, (struct attr_id){oracle[value].id}, 1);
	assert_int_equal(attr_table_count(t), 0);
	attr_table_destroy(t);
	qsbr_unregister(base.readers, reader);
	rib_test_end(&base);
}

/*
 * Pages of empty segments are given back. A cache that has kept an id and its serial from before
 * must not take a later set for the old one.
 */
static void
serials_survive_pages_given_back(void **state)
{
	enum { SETS = 5 * 4096, ROUNDS = 4 };
	static uint32_t serial[ROUNDS][SETS + 8192]; /* by id */
	static struct attr_id id[SETS];
	struct rib_test base;
	struct attr_table *t;
	size_t full = 0, none = 0;

	rib_test_begin(&base);
	assert_int_equal(attr_table_create(base.arena, base.readers, &t), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		memset(serial[round], 0, sizeof(serial[round]));
		for (uint32_t i = 0; i < SETS; i++) {
			assert_int_equal(attr_intern(t, value_set(round * SETS + i), 1, &id[i]), 0);
			assert_in_range(id[i].v, 1, SETS + 8191);
			serial[round][id[i].v] = attr_serial(t, id[i]);
			assert_int_not_equal(serial[round][id[i].v], 0);
			for (unsigned before = 0; before < round; before++)
				assert_int_not_equal(
					serial[round][id[i].v], serial[before][id[i].v]);
		}
		full = attr_table_bytes(t);
		/* every round leaves other sets, so that other segments become empty */
		for (uint32_t i = 0; i < SETS; i++)
			if (round % 2 == 1 || i / 4096 != 2)
				attr_unref(t, id[i], 1);
		for (unsigned i = 0; i < 100; i++)
			attr_table_reclaim(t);
		none = attr_table_bytes(t);
		for (uint32_t i = 0; i < SETS && round % 2 == 0; i++) {
			assert_int_equal(attr_get(t, id[i]) != NULL, i / 4096 == 2);
			assert_int_equal(attr_serial(t, id[i]) != 0, i / 4096 == 2);
			if (i / 4096 == 2)
				attr_unref(t, id[i], 1);
		}
	}
	assert_true(none < full / 4);
	attr_table_destroy(t);
	rib_test_end(&base);
}

static void
a_reader_keeps_what_it_saw(void **state)
{
	struct rib_test base;
	struct attr_table *t;
	struct attr_id id, other;
	unsigned reader;
	uint32_t serial;
	size_t bytes;

	rib_test_begin(&base);
	assert_int_equal(qsbr_register(base.readers, &reader), 0);
	assert_int_equal(attr_table_create(base.arena, base.readers, &t), 0);
	assert_int_equal(attr_intern(t, value_set(1), 1, &id), 0);
	bytes = attr_table_bytes(t);
	serial = attr_serial(t, id);
	qsbr_online(base.readers, reader);
	attr_unref(t, id, 1);
	for (unsigned i = 0; i < 3; i++)
		attr_table_reclaim(t);
	assert_int_equal(attr_of(t, id)->med, 0);
	assert_int_equal(attr_serial(t, id), serial);
	/* the same value interned meanwhile gets another id */
	assert_int_equal(attr_intern(t, value_set(1), 1, &other), 0);
	assert_int_not_equal(other.v, id.v);
	qsbr_quiescent(base.readers, reader);
	for (unsigned i = 0; i < 3; i++)
		attr_table_reclaim(t);
	assert_null(attr_of(t, id));
	assert_int_equal(attr_serial(t, id), 0);
	assert_int_equal(attr_table_bytes(t), bytes);
	assert_int_equal(attr_intern(t, value_set(5), 1, &other), 0);
	assert_int_equal(other.v, id.v);
	assert_int_not_equal(attr_serial(t, id), serial);
	assert_null(attr_of(t, (struct attr_id){0}));
	assert_null(attr_of(t, (struct attr_id){3}));
	assert_null(attr_of(t, (struct attr_id){UINT32_MAX}));
	qsbr_offline(base.readers, reader);
	qsbr_unregister(base.readers, reader);
	attr_table_destroy(t);
	rib_test_end(&base);
}

/* ---- a reader beside the owner ---- */

struct shared {
	struct rib_test base;
	struct attr_table *table;
	_Atomic uint32_t id; /* id of a set with med == 2 * local_pref */
	_Atomic bool stop;
	uint64_t looks, bad;
};

static void *
read_ids(void *arg)
{
	struct shared *s = arg;
	unsigned reader;

	assert_int_equal(qsbr_register(s->base.readers, &reader), 0);
	qsbr_online(s->base.readers, reader);
	while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
		struct attr_id id = {atomic_load_explicit(&s->id, memory_order_acquire)};
		const struct attr_set *a = attr_of(s->table, id);

		s->looks++;
		if (id.v != 0 && (a == NULL || a->med != 2 * a->local_pref ||
					 attr_serial(s->table, id) == 0))
			s->bad++;
		qsbr_quiescent(s->base.readers, reader);
	}
	qsbr_offline(s->base.readers, reader);
	qsbr_unregister(s->base.readers, reader);
	return NULL;
}

static void
a_reader_beside_the_owner(void **state)
{
	struct shared s = {0};
	struct attr_id old = {0}, id;
	pthread_t thread;

	rib_test_begin(&s.base);
	assert_int_equal(attr_table_create(s.base.arena, s.base.readers, &s.table), 0);
	assert_int_equal(pthread_create(&thread, NULL, read_ids, &s), 0);
	for (uint32_t n = 0; n < 200000; n++) {
		struct attr_set *a = &buffer.set;
		memset(a, 0, sizeof(*a));
		a->local_pref = n;
		a->med = 2 * n;
		assert_int_equal(attr_intern(s.table, a, 1, &id), 0);
		atomic_store_explicit(&s.id, id.v, memory_order_release);
		if (old.v != 0)
			attr_unref(s.table, old, 1);
		old = id;
		attr_table_reclaim(s.table);
	}
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(s.bad, 0);
	attr_unref(s.table, old, 1);
	attr_table_destroy(s.table);
	rib_test_end(&s.base);
}

/* ---- growth and shrinking of the index ---- */

#ifdef __SANITIZE_THREAD__ /* ThreadSanitizer is ten times slower */
#define MANY 15000u
#else
#define MANY 150000u
#endif

static uint64_t
cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/*
 * Every interned set is found while the index grows, shrinks, and grows again during shrinking; no
 * step takes long.
 */
static void
the_index_follows(void **state)
{
	struct rib_test base;
	struct attr_table *t;
	static struct attr_id id[MANY];
	struct attr_id again;
	size_t peak = 0, low;
	uint64_t longest = 0;

	rib_test_begin(&base);
	assert_int_equal(attr_table_create(base.arena, base.readers, &t), 0);
	for (unsigned round = 0; round < 3; round++) {
		/* the third round starts in the middle of shrinking */
		for (uint32_t i = round == 2 ? 1000 : 0; i < MANY; i++) {
			uint64_t begun = cpu_ns(), took;

			assert_int_equal(attr_intern(t, value_set(i), 1, &id[i]), 0);
			took = cpu_ns() - begun;
			longest = took > longest ? took : longest;
			assert_int_equal(attr_intern(t, value_set(i / 2), 1, &again), 0);
			assert_int_equal(again.v, id[i / 2].v);
			attr_unref(t, again, 1);
		}
		assert_int_equal(attr_table_count(t), MANY);
		/* ids that wait for readers take some room */
		assert_true(round == 0 || attr_table_bytes(t) <= peak + peak / 50 + 262144);
		peak = attr_table_bytes(t);
		for (uint32_t i = MANY; i > (round == 1 ? 1000 : 0); i--) {
			attr_unref(t, id[i - 1], 1);
			if (i % 1000 == 0)
				attr_table_reclaim(t);
		}
		if (round == 1)
			continue;
		for (unsigned i = 0; i < 3000; i++)
			attr_table_reclaim(t);
		assert_int_equal(attr_table_count(t), 0);
		low = attr_table_bytes(t);
		/* the table itself, a segment, and the smallest index; no trace of the peak */
		assert_true(low < 200000 + 4096 * 18 + 8192);
	}
	print_message("attribute sets: %.1f MB for %u, %.1f MB for none; longest intern %.0f us\n",
		(double)peak / 1e6, MANY, (double)low / 1e6, (double)longest / 1e3);
	attr_table_destroy(t);
	rib_test_end(&base);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		one_thread_test(paths_are_counted_and_written),
		one_thread_test(a_short_buffer_is_cut),
		one_thread_test(prepending_splits_at_255),
		one_thread_test(prepending_leaves_sets_alone),
		one_thread_test(packing_keeps_every_set),
		one_thread_test(usual_sets_are_small),
		one_thread_test(damaged_sets_are_recognised),
		one_thread_test(interning_agrees_with_a_list),
		one_thread_test(serials_survive_pages_given_back),
		one_thread_test(a_reader_keeps_what_it_saw),
		one_thread_test(the_index_follows),
		cmocka_unit_test(a_reader_beside_the_owner),
	};

	role_enter_rib();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
