/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/range_table.h"

#include "lpm/compact.h"
#include "lpm/group_tree.h"
#include "lpm/base/qsbr.h"
#include "tests/lpm/lpm6_test.h"
#include "tests/lpm/one_thread.h"
#include "tests/lpm/table_rig.h"
#include "tests/oracle/lpm6_oracle.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#define LOOKUPS (2 * RANGE_BURST + 7)

static struct range_table *table;
static struct group_tree *tree;

static int
setup_v4(void **state)
{
	(void)state;
	return rig_begin(AFI_IPV4);
}

static int
setup_v6(void **state)
{
	(void)state;
	return rig_begin(AFI_IPV6);
}

static void
drop(void)
{
	range_table_destroy(table);
	group_tree_destroy(tree);
	table = NULL;
	tree = NULL;
}

static int
teardown(void **state)
{
	(void)state;
	drop();
	return rig_end();
}

static void
make(enum afi afi)
{
	drop();
	assert_int_equal(range_table_create(arena, afi, shadow, &table), 0);
	assert_int_equal((uintptr_t)table % CACHE_LINE, 0);
	if (afi == AFI_IPV6)
		return;
	assert_int_equal(group_tree_create(arena, shadow, &tree), 0);
	assert_int_equal(tree->bytes, group_tree_need(shadow));
}

/* Checks all lookups of an address in all structures: list and prefix length, 0 and 0: no route. */
static void
check(const char *text, uint32_t list, uint8_t len)
{
	struct ip_addr a = addr(text);
	struct path_list_id found;
	uint32_t ip = addr_v4(&a), bulk;
	uint8_t found_len;

	assert_int_equal(range_table_read(table, a.b, &found, &found_len), list != 0);
	assert_int_equal(found.v, list);
	assert_int_equal(found_len, len);
	if (a.afi == AFI_IPV6)
		range_v6_lookup(table, (const uint8_t(*)[16])a.b, &bulk, 1);
	else
		range_v4_lookup(table, &ip, &bulk, 1);
	assert_int_equal(bulk, list);
	if (tree == NULL)
		return;
	assert_int_equal(group_tree_read(tree, a.b, &found, &found_len), list != 0);
	assert_int_equal(found.v, list);
	assert_int_equal(found_len, len);
	group_tree_lookup(tree, &ip, &bulk, 1);
	assert_int_equal(bulk, list);
}

static void
test_nested_v4(void **state)
{
	(void)state;
	make(AFI_IPV4);
	check("0.0.0.0", 0, 0);
	check("255.255.255.255", 0, 0);
	set("10.0.0.0/8", 1, false);
	set("10.1.0.0/16", 2, false);
	set("10.1.0.0/24", 3, false);
	set("10.1.0.255/32", 4, false);
	set("255.255.255.255/32", 5, false);
	set("0.0.0.0/32", 6, false);
	make(AFI_IPV4);
	check("0.0.0.0", 6, 32);
	check("0.0.0.1", 0, 0);
	check("9.255.255.255", 0, 0);
	check("10.0.0.0", 1, 8);
	check("10.0.255.255", 1, 8);
	check("10.1.0.0", 3, 24);
	check("10.1.0.254", 3, 24);
	check("10.1.0.255", 4, 32);
	check("10.1.1.0", 2, 16);
	check("10.1.255.255", 2, 16);
	check("10.2.0.0", 1, 8);
	check("10.255.255.255", 1, 8);
	check("11.0.0.0", 0, 0);
	check("255.255.255.254", 0, 0);
	check("255.255.255.255", 5, 32);
	set("0.0.0.0/0", 7, false);
	make(AFI_IPV4);
	check("0.0.0.1", 7, 0);
	check("11.0.0.0", 7, 0);
	check("10.1.0.255", 4, 32);
}

static void
test_nested_v6(void **state)
{
	(void)state;
	make(AFI_IPV6);
	check("::", 0, 0);
	set("2001:db8::/32", 1, false);
	set("2001:db8:0:1::/64", 2, false);
	set("2001:db8:0:1::1/128", 3, false);
	set("2001:db8:0:1::/127", 4, false);
	set("2001:db8:0:2::/127", 5, false);
	set("2001:db8:0:1:ffff:ffff:ffff:ffff/128", 6, false);
	set("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", 7, false);
	set("fd00::/8", 8, false);
	make(AFI_IPV6);
	check("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", 0, 0);
	check("2001:db8::", 1, 32);
	check("2001:db8:0:0:ffff:ffff:ffff:ffff", 1, 32);
	check("2001:db8:0:1::", 4, 127);
	check("2001:db8:0:1::1", 3, 128);
	check("2001:db8:0:1::2", 2, 64);
	check("2001:db8:0:1:ffff:ffff:ffff:fffe", 2, 64);
	check("2001:db8:0:1:ffff:ffff:ffff:ffff", 6, 128);
	check("2001:db8:0:2::1", 5, 127);
	check("2001:db8:0:2::2", 1, 32);
	check("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 1, 32);
	check("2001:db9::", 0, 0);
	check("fd12::", 8, 8);
	check("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", 0, 0);
	check("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 7, 128);
	set("::/0", 9, false);
	make(AFI_IPV6);
	check("::", 9, 0);
	check("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", 9, 0);
	check("2001:db8:0:1::1", 3, 128);
}

/* A hundred routes as instances have: some edges, lengths from 16 to 32, no neighbours. */
static void
hundred(unsigned lists)
{
	static const uint8_t len[] = {24, 24, 24, 24, 24, 30, 32, 22, 20, 16};

	shadow_clear(shadow);
	for (unsigned i = 0; i < 100; i++) {
		struct prefix p = prefix_from_v4((10u << 24) + (2 * i << 16), len[i % 10]);

		assert_int_equal(
			shadow_set(shadow, &p, (struct path_list_id){1 + i % lists}, false), 0);
	}
}

static void
test_memory(void **state)
{
	struct prefix p;

	(void)state;
	hundred(8);
	make(AFI_IPV4);
	assert_int_equal(table->range_count, 201);
	assert_true(range_table_bytes(table) <= 1344);
	hundred(100);
	make(AFI_IPV4);
	assert_true(range_table_bytes(table) <= 1600);
	/* neighbours with equal answers are one range */
	shadow_clear(shadow);
	for (unsigned i = 0; i < 256; i++) {
		p = prefix_from_v4((10u << 24) + (i << 8), 24);
		assert_int_equal(shadow_set(shadow, &p, (struct path_list_id){1}, false), 0);
	}
	make(AFI_IPV4);
	assert_int_equal(table->range_count, 3);
	/* the bound */
	for (unsigned i = 256; i < RANGE_ROUTES_MAX; i++) {
		p = prefix_from_v4((10u << 24) + 4 * i, 32);
		assert_int_equal(shadow_set(shadow, &p, (struct path_list_id){1 + i}, false), 0);
	}
	make(AFI_IPV4);
	assert_int_equal(table->levels, RANGE_LEVELS);
	check("10.0.62.124", 1 + 3999, 32);
	check("10.0.249.252", 1 + 15999, 32);
	check("10.0.249.253", 1, 24);
	set("192.0.2.0/24", 1, false);
	drop();
	assert_int_equal(range_table_create(arena, AFI_IPV4, shadow, &table), -E2BIG);
	assert_null(table);
}

/* Around 256 different answers the index changes from 8 to 16 bits. */
static void
test_index(void **state)
{
	(void)state;
	for (unsigned routes = 250; routes < 262; routes++) {
		shadow_clear(shadow);
		for (unsigned i = 0; i < routes; i++) {
			struct prefix p = prefix_from_v4((10u << 24) + (i << 9), 24);

			assert_int_equal(
				shadow_set(shadow, &p, (struct path_list_id){1 + i}, false), 0);
		}
		make(AFI_IPV4);
		for (unsigned i = 0; i < routes; i++) {
			uint32_t ip[2] = {(10u << 24) + (i << 9), (10u << 24) + (i << 9) + 256};
			uint32_t list[2];

			range_v4_lookup(table, ip, list, 2);
			assert_int_equal(list[0], 1 + i);
			assert_int_equal(list[1], PATH_LIST_NONE);
		}
	}
}

static void
test_memory_v6(void **state)
{
	struct prefix p = {.afi = AFI_IPV6, .b = {0x20, 0x01, 0x0d, 0xb8}};

	(void)state;
	/* every /64 has a longer prefix: the longest runs and the most keys */
	for (unsigned i = 0; i < RANGE_ROUTES_MAX; i++) {
		p.b[4] = (uint8_t)(i >> 8);
		p.b[5] = (uint8_t)i;
		p.b[15] = 7;
		p.len = 128;
		assert_int_equal(shadow_set(shadow, &p, (struct path_list_id){1 + i}, false), 0);
	}
	make(AFI_IPV6);
	assert_int_equal(table->levels, RANGE_LEVELS);
	check("2001:db8:3e7f::7", 1 + 15999, 128);
	check("2001:db8:3e7f::8", 0, 0);
	shadow_clear(shadow);
	/* all of them in one /64 */
	memset(p.b + 4, 0, 12);
	for (unsigned i = 0; i < RANGE_ROUTES_MAX; i++) {
		p.b[14] = (uint8_t)(i >> 7);
		p.b[15] = (uint8_t)(i << 1);
		assert_int_equal(shadow_set(shadow, &p, (struct path_list_id){1 + i}, false), 0);
	}
	make(AFI_IPV6);
	check("2001:db8::fe", 1 + 127, 128);
	check("2001:db8::ff", 0, 0);
	check("2001:db8::7cfe", 1 + 15999, 128);
}

/* Kinds of a compact table by number of routes, with the old table as the argument of the next. */
static void
test_kinds(void **state)
{
	static const struct {
		unsigned routes;
		uint8_t kind;
	} step[] = {{0, COMPACT_RANGES}, {2048, COMPACT_RANGES}, {2049, COMPACT_TREE},
		{1500, COMPACT_TREE}, {1024, COMPACT_TREE}, {1023, COMPACT_RANGES},
		{2048, COMPACT_RANGES}, {16000, COMPACT_TREE}, {10, COMPACT_RANGES}};
	struct compact *c = NULL, *next;
	struct path_list_id list;
	uint8_t len;

	(void)state;
	for (unsigned i = 0; i < sizeof(step) / sizeof(step[0]); i++) {
		shadow_clear(shadow);
		for (unsigned k = 0; k < step[i].routes; k++) {
			struct prefix p = prefix_from_v4((10u << 24) + (k << 8), 24);

			assert_int_equal(
				shadow_set(shadow, &p, (struct path_list_id){1 + k}, false), 0);
		}
		assert_int_equal(compact_create(arena, AFI_IPV4, shadow, c, &next), 0);
		compact_destroy(c);
		c = next;
		assert_int_equal(c->kind, step[i].kind);
		assert_true(compact_bytes(c) > 0);
		assert_int_equal(
			compact_read(c, addr("10.0.1.7").b, &list, &len), step[i].routes > 0);
		assert_int_equal(list.v, step[i].routes > 0 ? 2 : 0);
	}
	/* scattered long prefixes, a group each: no tree */
	for (unsigned k = 0; k < 6000; k++) {
		struct prefix p = prefix_from_v4((11u << 24) + (k << 8) + 1, 32);

		assert_int_equal(shadow_set(shadow, &p, (struct path_list_id){1 + k}, false), 0);
	}
	assert_int_equal(compact_create(arena, AFI_IPV4, shadow, c, &next), 0);
	compact_destroy(c);
	assert_int_equal(next->kind, COMPACT_RANGES);
	compact_destroy(next);
	for (unsigned k = 6000; k < 20000; k++) {
		struct prefix p = prefix_from_v4((11u << 24) + (k << 8) + 1, 32);

		assert_int_equal(shadow_set(shadow, &p, (struct path_list_id){1 + k}, false), 0);
	}
	assert_int_equal(compact_create(arena, AFI_IPV4, shadow, NULL, &next), -E2BIG);
	compact_destroy(NULL);
}

/* A random prefix, crowded so that prefixes nest and neighbours meet. */
static struct prefix
crowded(enum afi afi, uint64_t *seed)
{
	struct ip_addr a = {.afi = (uint8_t)afi};
	unsigned max = prefix_max_len(afi), crowd = rnd_below(seed, 4);

	for (unsigned i = 0; i < max / 8; i++)
		a.b[i] = (uint8_t)rnd(seed) & (i < crowd ? 1 : i % 4 == 0 ? 0x83 : 0xff);
	if (rnd_below(seed, 8) == 0)
		memset(a.b, 0xff, max / 8);
	return prefix_from_addr(
		&a, (uint8_t)(rnd_below(seed, 16) ? rnd_below(seed, max + 1) : max));
}

static uint32_t
oracle_of(const struct lpm6_oracle *o, const struct ip_addr *a)
{
	return lpm6_oracle_lookup(o, a->b);
}

/* An address to ask for: an edge of a prefix, a neighbour of an edge, or inside. */
static struct ip_addr
asked(const struct prefix *p, uint64_t *seed)
{
	uint8_t first[16], last[16];
	struct ip_addr a = {.afi = p->afi};
	unsigned max = prefix_max_len(p->afi) / 8, which = rnd_below(seed, 5);

	v6_first_last(p, first, last);
	memcpy(a.b, which < 2 ? first : last, max);
	if (which == 4)
		a = v6_within(p, seed);
	for (unsigned i = max; (which == 1 || which == 3) && i-- > 0;) {
		a.b[i] = (uint8_t)(a.b[i] + (which == 1 ? -1 : 1));
		if (a.b[i] != (which == 1 ? 0xff : 0))
			break;
	}
	a.afi = p->afi;
	memset(a.b + max, 0, 16 - max);
	return a;
}

/* Routes of one property test, with the oracle. */
struct sample {
	struct prefix p[3000];
	unsigned count;
	struct lpm6_oracle oracle;
	struct range_table *ranges;
	struct group_tree *groups;
	struct compact *compact;
};

static void
sample_make(struct sample *s, enum afi afi, unsigned count, unsigned lists, uint64_t *seed)
{
	s->count = count;
	lpm6_oracle_init(&s->oracle);
	shadow_clear(shadow);
	for (unsigned i = 0; i < count; i++) {
		uint32_t list = 1 + rnd_below(seed, lists);

		s->p[i] = crowded(afi, seed);
		lpm6_oracle_set(&s->oracle, s->p[i].b, s->p[i].len, list);
		assert_int_equal(
			shadow_set(shadow, &s->p[i], (struct path_list_id){list}, false), 0);
	}
	assert_int_equal(range_table_create(arena, afi, shadow, &s->ranges), 0);
	s->groups = NULL;
	if (afi == AFI_IPV4)
		assert_int_equal(group_tree_create(arena, shadow, &s->groups), 0);
	assert_int_equal(compact_create(arena, afi, shadow, NULL, &s->compact), 0);
}

static void
sample_drop(struct sample *s)
{
	range_table_destroy(s->ranges);
	group_tree_destroy(s->groups);
	compact_destroy(s->compact);
	lpm6_oracle_fini(&s->oracle);
}

static void
check_read(const struct sample *s, const struct ip_addr *a)
{
	uint32_t expected = oracle_of(&s->oracle, a);
	struct path_list_id list;
	char text[ADDR_TEXT_MAX];
	uint8_t len;

	(void)range_table_read(s->ranges, a->b, &list, &len);
	if ((list.v | (uint32_t)len << 24) != expected)
		fail_msg("%s: list %u of /%u, expected %u of /%u", addr_format(a, text), list.v,
			len, expected & RANGE_VALUE, expected >> 24);
	if (s->groups == NULL)
		return;
	(void)group_tree_read(s->groups, a->b, &list, &len);
	if ((list.v | (uint32_t)len << 24) != expected)
		fail_msg("%s: tree: list %u of /%u, expected %u of /%u", addr_format(a, text),
			list.v, len, expected & RANGE_VALUE, expected >> 24);
}

/* Burst lookups of any length, alone and with several tables, against the oracle. */
static void
check_bursts(const struct sample *s, unsigned samples, enum afi afi, uint64_t *seed)
{
	const struct range_table *each[LOOKUPS];
	const struct compact *compact[LOOKUPS];
	uint32_t expected[3][LOOKUPS], ip[LOOKUPS], list[5][LOOKUPS];
	uint8_t ip6[LOOKUPS][16];
	unsigned n = 1 + rnd_below(seed, LOOKUPS);

	for (unsigned i = 0; i < n; i++) {
		const struct sample *other = &s[rnd_below(seed, samples)];
		const struct sample *of = rnd_below(seed, 2) ? s : other;
		struct ip_addr a = {.afi = (uint8_t)afi};

		if (of->count > 0)
			a = asked(&of->p[rnd_below(seed, of->count)], seed);
		ip[i] = addr_v4(&a);
		memcpy(ip6[i], a.b, 16);
		each[i] = other->ranges;
		expected[0][i] = oracle_of(&s->oracle, &a) & RANGE_VALUE;
		expected[1][i] = oracle_of(&other->oracle, &a) & RANGE_VALUE;
		check_read(other, &a);
		compact[i] = rnd_below(seed, 16) ? other->compact : NULL;
		expected[2][i] = compact[i] != NULL ? expected[1][i] : PATH_LIST_NONE;
	}
	if (afi == AFI_IPV4) {
		range_v4_lookup(s->ranges, ip, list[0], n);
		range_v4_lookup_each(each, ip, list[1], n);
		group_tree_lookup(s->groups, ip, list[2], n);
		compact_v4_lookup(s->compact, ip, list[3], n);
		compact_v4_lookup_each(compact, ip, list[4], n);
	} else {
		const uint8_t(*p)[16] = (const uint8_t(*)[16])ip6;

		range_v6_lookup(s->ranges, p, list[0], n);
		range_v6_lookup_each(each, p, list[1], n);
		compact_v6_lookup(s->compact, p, list[3], n);
		compact_v6_lookup_each(compact, p, list[4], n);
		memcpy(list[2], list[0], sizeof(list[2]));
	}
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(list[0][i], expected[0][i]);
		assert_int_equal(list[1][i], expected[1][i]);
		assert_int_equal(list[2][i], expected[0][i]);
		assert_int_equal(list[3][i], expected[0][i]);
		assert_int_equal(list[4][i], expected[2][i]);
	}
}

/* Random sets of routes of all numbers of levels, with few and many different answers. */
static void
random_sets(enum afi afi, unsigned rounds)
{
	static const struct {
		unsigned routes, lists;
	} size[] = {{0, 1}, {7, 3}, {100, 8}, {300, 3000}, {3000, 2}, {2000, 3000}};
	enum { SIZES = sizeof(size) / sizeof(size[0]) };
	static struct sample s[SIZES];
	struct rng seed = rng_seeded(11);

	for (unsigned round = 0; round < rounds / SCALE; round++) {
		for (unsigned i = 0; i < SIZES; i++)
			sample_make(&s[i], afi, size[i].routes, size[i].lists, &seed.state);
		for (unsigned i = 0; i < 100; i++) {
			struct sample first = s[0];

			s[0] = s[i % SIZES];
			s[i % SIZES] = first;
			check_bursts(s, SIZES, afi, &seed.state);
		}
		for (unsigned i = 0; i < SIZES; i++)
			sample_drop(&s[i]);
	}
}

static void
test_random_v4(void **state)
{
	(void)state;
	random_sets(AFI_IPV4, 60);
}

static void
test_random_v6(void **state)
{
	(void)state;
	random_sets(AFI_IPV6, 20);
}

/* The writer replaces a table while readers look up: each burst sees one whole table. */
static struct {
	_Atomic(const struct range_table *) current;
	struct qsbr *workers;
	_Atomic bool stop;
	_Atomic unsigned looking;
} race;

static void *
race_main(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	uintptr_t bursts = 0;
	unsigned id;

	if (qsbr_register(race.workers, &id) != 0)
		return NULL;
	qsbr_online(race.workers, id);
	while (!atomic_load_explicit(&race.stop, memory_order_relaxed)) {
		/* acquire: pairs with the release in race_publish */
		const struct range_table *t =
			atomic_load_explicit(&race.current, memory_order_acquire);
		uint32_t ip[24], list[24];

		for (unsigned i = 0; i < 24; i++)
			ip[i] = (10u << 24) + (rnd_below(&seed, 100) << 17);
		range_v4_lookup(t, ip, list, 24);
		for (unsigned i = 0; i < 24; i++) {
			if (list[i] == PATH_LIST_NONE || list[i] != list[0])
				return NULL;
		}
		if (bursts++ == 0)
			atomic_fetch_add(&race.looking, 1);
		qsbr_quiescent(race.workers, id);
	}
	qsbr_offline(race.workers, id);
	qsbr_unregister(race.workers, id);
	return (void *)bursts;
}

static void
table_free(void *ctx, void *p)
{
	(void)ctx;
	range_table_destroy(p);
}

/* Publishes the hundred routes, all with the same list. */
static void
race_publish(uint32_t list, struct retire_list *retired)
{
	struct range_table *made;
	const struct range_table *old = atomic_load_explicit(&race.current, memory_order_relaxed);

	for (unsigned i = 0; i < 100; i++) {
		struct prefix p = prefix_from_v4((10u << 24) + (2 * i << 16), 24);

		assert_int_equal(shadow_set(shadow, &p, (struct path_list_id){list}, false), 0);
	}
	assert_int_equal(range_table_create(arena, AFI_IPV4, shadow, &made), 0);
	/* release: pairs with the acquire in race_main */
	atomic_store_explicit(&race.current, made, memory_order_release);
	if (old != NULL)
		retire_push(retired, table_free, NULL, (void *)(uintptr_t)old);
	(void)retire_reclaim(retired, 8);
}

static void
test_replaced(void **state)
{
	struct retire_list *retired;
	pthread_t reader[2];

	(void)state;
	assert_int_equal(qsbr_create(arena, 4, &race.workers), 0);
	assert_int_equal(retire_list_create(arena, race.workers, 16, &retired), 0);
	race_publish(1, retired);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			pthread_create(&reader[i], NULL, race_main, (void *)(uintptr_t)(i + 1)), 0);
	/* on a busy machine the readers start late */
	for (uint32_t n = 1; n < 2000 / SCALE || atomic_load(&race.looking) < 2; n++)
		race_publish(1 + n % 60000, retired);
	atomic_store_explicit(&race.stop, true, memory_order_relaxed);
	for (unsigned i = 0; i < 2; i++) {
		void *bursts;

		assert_int_equal(pthread_join(reader[i], &bursts), 0);
		assert_non_null(bursts);
	}
	table_free(NULL, (void *)(uintptr_t)atomic_load(&race.current));
	retire_list_destroy(retired);
	qsbr_destroy(race.workers);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		one_thread_test_in(test_nested_v4, setup_v4, teardown),
		one_thread_test_in(test_nested_v6, setup_v6, teardown),
		one_thread_test_in(test_memory, setup_v4, teardown),
		one_thread_test_in(test_index, setup_v4, teardown),
		one_thread_test_in(test_memory_v6, setup_v6, teardown),
		one_thread_test_in(test_kinds, setup_v4, teardown),
		one_thread_test_in(test_random_v4, setup_v4, teardown),
		one_thread_test_in(test_random_v6, setup_v6, teardown),
		cmocka_unit_test_setup_teardown(test_replaced, setup_v4, teardown),
	};

#ifdef KEEL_LEVEL
	if (!__builtin_cpu_supports(KEEL_LEVEL)) {
		printf("this CPU has no %s\n", KEEL_LEVEL);
		return 77;
	}
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
