/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer announces prefixes and attribute sets that collide. Attacker 1 knows the hashes of Keel before keys (copied below), attacker 2
 * knows a key that is not in use. Under the key in use both attacks cost at most three times as much as random input. Cost is the
 * number of entries that searches pass. A third input, made with the key in use, shows that the count detects an attack.
 */
#include "rib/table/attr.h"
#include "rib/table/dest.h"
#include "rib/feed/nexthop.h"
#include "tests/lpm/one_thread.h"
#include "tests/rib/rib_test.h"

#define MOST 60000u
#define FEW 10000u
#define SET_WORDS                                                                                  \
	8u /* words of communities; after the first community, the words are also words of the hash */
#define SET_LEN (sizeof(struct attr_set) + 4 + 8 * SET_WORDS)

static struct prefix prefixes[MOST];
static uint64_t sets[MOST][SET_WORDS];

/* ---- the hashes before keys ---- */

#define OLD_FACTOR 0xd6e8feb86659fd93u

static uint64_t
inverse(uint64_t odd)
{
	uint64_t x = odd;

	for (unsigned i = 0; i < 6; i++)
		x *= 2 - odd * x;
	return x;
}

static uint64_t
old_mix(uint64_t x)
{
	x = (x ^ x >> 32) * OLD_FACTOR;
	x = (x ^ x >> 32) * OLD_FACTOR;
	return x ^ x >> 32;
}

static uint64_t
old_unmix(uint64_t x)
{
	uint64_t back = inverse(OLD_FACTOR);

	x = (x ^ x >> 32) * back;
	x = (x ^ x >> 32) * back;
	return x ^ x >> 32;
}

static uint64_t
old_prefix_hash(const struct prefix *p)
{
	uint64_t w[2];

	memcpy(w, p->b, sizeof(w));
	return old_mix(w[0] ^ old_mix(w[1] + p->len));
}

#define OLD_SET_FACTOR 0x9e3779b97f4a7c15u

static uint64_t
old_step(uint64_t lane, uint64_t w)
{
	lane = (lane ^ w) * OLD_SET_FACTOR;
	return lane ^ lane >> 29;
}

/* For sets of whole words in whole rounds of four lanes. */
static uint32_t
old_set_hash(const struct attr_set *a)
{
	uint64_t h[4] = {SET_LEN, 1, 2, 3}, w[SET_LEN / 8];

	memcpy(w, a, sizeof(w));
	for (unsigned i = 0; i < SET_LEN / 8; i++)
		h[i % 4] = old_step(h[i % 4], w[i]);
	h[0] = h[0] * OLD_SET_FACTOR ^ old_mix(h[1]);
	return (uint32_t)old_mix(h[0] ^ old_mix(h[2]) << 1 ^ old_mix(h[3]) << 2);
}

/* ---- input ---- */

static struct prefix
v6_prefix(uint64_t high, uint64_t low)
{
	struct prefix p = {.afi = AFI_IPV6, .len = 128};

	memcpy(p.b, &high, 8);
	memcpy(p.b + 8, &low, 8);
	return p;
}

static void
prefixes_random(enum afi afi, unsigned count, uint64_t seed)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t high = random_next(&seed), low = random_next(&seed);

		prefixes[i] =
			afi == AFI_IPV4 ? prefix_from_v4((uint32_t)high, 32) : v6_prefix(high, low);
	}
}

/* /128s with the same old hash. */
static void
prefixes_old_v6(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t low = (uint64_t)i << 32 | 1;

		prefixes[i] = v6_prefix(old_unmix(42) ^ old_mix(low + 128), low);
		assert_int_equal(old_prefix_hash(&prefixes[i]), 42);
	}
}

/* Hashes in one 128th of the lines of the largest index; smaller indexes use fewer of these bits. */
#define REGION 0x1fc0u

/* Host prefixes of one region, by the current key or by the old hash. */
static void
prefixes_of_region(enum afi afi, unsigned count, bool old, uint64_t seed)
{
	uint32_t address = 0x01000000;

	for (unsigned i = 0; i < count;) {
		struct prefix p = afi == AFI_IPV4 ? prefix_from_v4(address++, 32)
						  : v6_prefix(random_next(&seed), 1);

		if (((old ? old_prefix_hash(&p) : prefix_hash(&p)) & REGION) == 0)
			prefixes[i++] = p;
	}
}

static struct attr_set *
set_make(const uint64_t words[SET_WORDS])
{
	static union {
		struct attr_set set;
		uint8_t bytes[SET_LEN];
	} u;

	memset(&u, 0, sizeof(u));
	u.set.community_count = 1 + 2 * SET_WORDS;
	memcpy(u.set.var + 4, words, 8 * SET_WORDS);
	return &u.set;
}

static void
sets_random(unsigned count, uint64_t seed)
{
	for (unsigned i = 0; i < count; i++)
		for (unsigned k = 0; k < SET_WORDS; k++)
			sets[i][k] = random_next(&seed);
}

/*
 * The old hash ran four lanes over the words. Each step is a bijection of the lane: after a free word, the next word of the same lane
 * can restore the lane's value of the first set.
 */
static void
sets_old(unsigned count)
{
	const unsigned at = (SET_LEN - 8 * SET_WORDS) /
			    8; /* word 0 of the communities; word 4 is in the same lane */
	uint64_t first = 0, w[SET_LEN / 8];

	static_assert(SET_LEN % 32 == 0 && (SET_LEN - 8 * SET_WORDS) % 8 == 0,
		"old_set_hash() takes whole rounds only");
	for (unsigned i = 0; i < count; i++) {
		uint64_t lane = at % 4 == 0 ? SET_LEN : at % 4;

		memset(sets[i], 0, sizeof(sets[i]));
		sets[i][0] = i;
		memcpy(w, set_make(sets[i]), sizeof(w));
		for (unsigned k = at % 4; k <= at; k += 4)
			lane = old_step(lane, w[k]);
		if (i == 0)
			first = lane;
		sets[i][4] = lane ^ first;
		assert_int_equal(old_set_hash(set_make(sets[i])), old_set_hash(set_make(sets[0])));
	}
}

static uint32_t
set_hash(const struct attr_set *a)
{
	static alignas(8) uint8_t room[SET_LEN + 8];
	struct attr_packed *p = (struct attr_packed *)(void *)room;

	return attr_packed_hash(p, attr_pack(a, p));
}

static void
sets_of_region(unsigned count, uint64_t seed)
{
	for (unsigned i = 0; i < count;) {
		for (unsigned k = 0; k < SET_WORDS; k++)
			sets[i][k] = random_next(&seed);
		/* the index of sets goes by the high bits: a share of 1/128 of it */
		i += set_hash(set_make(sets[i])) >> 25 == 0;
	}
}

/* ---- cost of an input ---- */

struct cost {
	uint64_t places; /* entries visited by searches */
	uint32_t longest;
};

static struct cost
cost_of(unsigned count, const struct hash_probes *p)
{
	return (struct cost){count + atomic_load_explicit(&p->steps, memory_order_relaxed),
		hash_probes_longest(p)};
}

static struct cost
dest_cost(struct rib_test *t, unsigned count)
{
	struct dest_table *table;
	struct dest_id id;
	struct cost c;

	assert_int_equal(
		dest_table_create(t->arena, t->readers, (enum afi)prefixes[0].afi, &table), 0);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(dest_get(table, &prefixes[i], &id), 0);
	c = cost_of(count, dest_table_probes(table));
	dest_table_destroy(table);
	return c;
}

static struct cost
attr_cost(struct rib_test *t, unsigned count)
{
	struct attr_table *table;
	struct attr_id id;
	struct cost c;

	assert_int_equal(attr_table_create(t->arena, t->readers, &table), 0);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(attr_intern(table, set_make(sets[i]), 1, &id), 0);
	assert_int_equal(attr_table_count(table), count);
	c = cost_of(count, attr_table_probes(table));
	attr_table_destroy(table);
	return c;
}

static bool
ignore(void *ctx, const struct nexthop_message *m)
{
	(void)ctx;
	(void)m;
	return true;
}

static struct cost
nexthop_cost(struct rib_test *t, unsigned count)
{
	struct nexthop_table *table;
	struct cost c;

	assert_int_equal(nexthop_table_create(t->arena, ignore, NULL, &table), 0);
	for (unsigned i = 0; i < count; i++) {
		struct ip_addr a = {.afi = prefixes[i].afi};

		memcpy(a.b, prefixes[i].b, sizeof(a.b));
		assert_int_equal(nexthop_watch(table, VRF_DEFAULT, &a), 0);
	}
	c = cost_of(count, nexthop_probes(table));
	nexthop_table_destroy(table);
	return c;
}

static void
expect_cheap(struct cost attack, struct cost random)
{
	printf("places: attack %llu, random %llu; longest: %u, %u\n",
		(unsigned long long)attack.places, (unsigned long long)random.places,
		attack.longest, random.longest);
	assert_true(attack.places <= 3 * random.places);
	assert_true(attack.longest <= HASH_PROBE_BOUND);
	assert_true(random.longest <= HASH_PROBE_BOUND);
}

static void
expect_dear(struct cost attack, struct cost random)
{
	assert_true(attack.places > 100 * random.places);
	assert_true(attack.longest > HASH_PROBE_BOUND);
}

/* ---- tests ---- */

static struct hash_key ours, theirs;

static void
keys_init(void)
{
	uint64_t seed = 7, w[2][sizeof(struct hash_key) / 8];

	for (unsigned i = 0; i < 2; i++)
		for (unsigned k = 0; k < sizeof(w[i]) / 8; k++)
			w[i][k] = random_next(&seed);
	memcpy(&ours, w[0], sizeof(ours));
	memcpy(&theirs, w[1], sizeof(theirs));
}

static void
prefixes_that_collided_cost_what_others_cost(void **state)
{
	struct rib_test t;

	(void)state;
	hash_key_set(&ours);
	rib_test_begin(&t);
	for (unsigned count = FEW; count <= MOST; count += MOST - FEW) {
		struct cost random;

		prefixes_random(AFI_IPV6, count, 1);
		random = dest_cost(&t, count);
		prefixes_old_v6(count);
		expect_cheap(dest_cost(&t, count), random);

		prefixes_random(AFI_IPV4, count, 2);
		random = dest_cost(&t, count);
		prefixes_of_region(AFI_IPV4, count, true, 3);
		expect_cheap(dest_cost(&t, count), random);
	}
	rib_test_end(&t);
}

static void
prefixes_that_collide_under_another_key_cost_what_others_cost(void **state)
{
	struct rib_test t;

	(void)state;
	rib_test_begin(&t);
	for (unsigned f = 0; f < 2; f++) {
		enum afi afi = f ? AFI_IPV6 : AFI_IPV4;
		struct cost random;

		for (unsigned count = FEW; count <= MOST; count += MOST - FEW) {
			hash_key_set(&theirs);
			prefixes_of_region(afi, count, false, 4);
			hash_key_set(&ours);
			struct cost attack = dest_cost(&t, count);
			prefixes_random(afi, count, 5);
			expect_cheap(attack, dest_cost(&t, count));
		}
		/* an attacker with the key in use is detected */
		prefixes_random(afi, FEW, 6);
		random = dest_cost(&t, FEW);
		prefixes_of_region(afi, FEW, false, 7);
		expect_dear(dest_cost(&t, FEW), random);
	}
	rib_test_end(&t);
}

#define RDS 500u

/* Each prefix in RDS distinguishers. `keyed`: by the hash of both, otherwise by the prefix alone. */
static struct cost
vpn_cost(struct rib_test *t, unsigned count, bool keyed)
{
	struct dest_table *table;
	struct dest_id id;
	struct cost c;

	assert_int_equal(
		dest_table_create_vpn(t->arena, t->readers, (enum afi)prefixes[0].afi, &table), 0);
	for (unsigned i = 0; i < count; i++) {
		const struct prefix *p = &prefixes[i / RDS];
		struct vpn_rd rd = {1ull << 48 | i % RDS};

		assert_int_equal(dest_get_hashed(table, rd, p,
					 keyed ? dest_key_hash(table, rd, p) : prefix_hash(p), &id),
			0);
	}
	assert_int_equal(dest_limit(table), count);
	c = cost_of(count, dest_table_probes(table));
	dest_table_destroy(table);
	return c;
}

static void
one_prefix_in_many_vpns_costs_what_others_cost(void **state)
{
	struct rib_test t;
	struct cost random;

	(void)state;
	hash_key_set(&ours);
	rib_test_begin(&t);
	for (unsigned f = 0; f < 2; f++) {
		prefixes_random(f ? AFI_IPV6 : AFI_IPV4, MOST, 12);
		random = dest_cost(&t, MOST);
		expect_cheap(vpn_cost(&t, MOST, true), random);
		random = dest_cost(&t, FEW);
		expect_dear(vpn_cost(&t, FEW, false), random);
	}
	rib_test_end(&t);
}

static void
sets_that_collide_elsewhere_cost_what_others_cost(void **state)
{
	struct rib_test t;
	struct cost random;

	(void)state;
	rib_test_begin(&t);
	for (unsigned count = FEW; count <= MOST; count += MOST - FEW) {
		hash_key_set(&ours);
		sets_random(count, 8);
		random = attr_cost(&t, count);
		sets_old(count);
		expect_cheap(attr_cost(&t, count), random);
		hash_key_set(&theirs);
		sets_of_region(count, 9);
		hash_key_set(&ours);
		expect_cheap(attr_cost(&t, count), random);
	}
	sets_random(FEW, 10);
	random = attr_cost(&t, FEW);
	sets_of_region(FEW, 11);
	expect_dear(attr_cost(&t, FEW), random);
	rib_test_end(&t);
}

static void
next_hops_that_collided_cost_what_others_cost(void **state)
{
	struct rib_test t;
	struct cost random;

	(void)state;
	hash_key_set(&ours);
	rib_test_begin(&t);
	prefixes_random(AFI_IPV6, FEW, 12);
	random = nexthop_cost(&t, FEW);
	/* the old bucket was hash_mix(old hash + VRF) */
	prefixes_old_v6(FEW);
	expect_cheap(nexthop_cost(&t, FEW), random);
	rib_test_end(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		one_thread_test(prefixes_that_collided_cost_what_others_cost),
		one_thread_test(prefixes_that_collide_under_another_key_cost_what_others_cost),
		one_thread_test(one_prefix_in_many_vpns_costs_what_others_cost),
		one_thread_test(sets_that_collide_elsewhere_cost_what_others_cost),
		one_thread_test(next_hops_that_collided_cost_what_others_cost),
	};

	keys_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
