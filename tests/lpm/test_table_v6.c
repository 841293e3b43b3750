/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/inspect.h"
#include "lpm/table_v6.h"

#include "lpm/base/qsbr.h"
#include "tests/lpm/lpm6_check.h"
#include "tests/lpm/one_thread.h"
#include "tests/lpm/table_rig.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static struct table_v6 *table;

static int
setup(void **state)
{
	(void)state;
	if (rig_begin(AFI_IPV6) != 0)
		return -1;
	return table_v6_create(arena, 8192, true, &table);
}

static int
teardown(void **state)
{
	(void)state;
	table_v6_destroy(table);
	return rig_end();
}

static uint64_t
paint(const char *text)
{
	struct prefix p = pfx(text);

	return table_v6_paint(table, shadow, &p);
}

static void
release(const char *text)
{
	struct prefix p = pfx(text);

	table_v6_release(table, shadow, &p);
}

static unsigned
need(const char *text)
{
	struct prefix p = pfx(text);

	return table_v6_need(shadow, &p);
}

/* The list, 0 for none; both lookups agree. */
static uint32_t
answer(const char *text)
{
	struct ip_addr a = addr(text);
	struct path_list_id list;
	uint32_t bulk;
	uint8_t len;
	bool hit = table_v6_read(table_v6_words(table), a.b, &list, &len);

	table_v6_lookup_bulk(table_v6_words(table), &a.b, &bulk, 1, 999999);
	assert_int_equal(bulk, hit ? list.v : 999999);
	return hit ? list.v : 0;
}

static void
test_nested(void **state)
{
	(void)state;
	set("::/0", 9, false);
	set("2001::/16", 1, false);
	set("2001:db8::/32", 2, false);
	set("2001:db8:1::/48", 3, false);
	set("2001:db8:1:2::/64", 4, false);
	set("2001:db8:1:2::3/128", 5, false);
	/* groups 64 to 120; neighbours have the rest */
	assert_int_equal(need("2001:db8:1:2::3/128"), 8);
	assert_int_equal(need("2001:db8:1:2::/64"), 0);
	assert_int_equal(need("2001:db8:1:2::4/127"), 0);
	assert_int_equal(need("3000::/24"), 0);
	assert_int_equal(need("3000::1/128"), 13);
	/* no group exists yet: the slot of the first level and all 13 levels below */
	assert_int_equal(paint("2001:db8::/32"), 1 + 13 * 256);
	assert_int_equal(table_v6_groups_used(table), 13);
	/* from the covering prefix, painted at the same time */
	assert_int_equal(answer("2001:db7::"), 1);
	assert_int_equal(answer("2001::1"), 0);
	assert_int_equal(paint("2001::/16"), 255);
	assert_int_equal(answer("2000:ffff:ffff::"), 0);
	assert_int_equal(answer("2001::1"), 1);
	assert_int_equal(answer("2001:db8::1"), 2);
	assert_int_equal(answer("2001:db8:0:ffff::"), 2);
	assert_int_equal(answer("2001:db8:1::"), 3);
	assert_int_equal(answer("2001:db8:1:1:ffff:ffff:ffff:ffff"), 3);
	assert_int_equal(answer("2001:db8:1:2::"), 4);
	assert_int_equal(answer("2001:db8:1:2::3"), 5);
	assert_int_equal(answer("2001:db8:1:2::4"), 4);
	assert_int_equal(answer("2001:db8:1:3::"), 3);
	assert_int_equal(answer("2001:db8:2::"), 2);
	assert_int_equal(answer("2001:db9::"), 1);
	assert_int_equal(answer("2002::"), 0);
	/* painting again writes nothing */
	assert_int_equal(paint("2001::/16"), 0);
	assert_int_equal(paint("2001:db8:1:2::3/128"), 0);
	/* only inherited entries below change */
	set("2001:db8:1:2::/64", 7, false);
	assert_int_equal(paint("2001:db8:1:2::/64"), 255 * 8);
	assert_int_equal(answer("2001:db8:1:2::4"), 7);
	assert_int_equal(answer("2001:db8:1:2::3"), 5);
}

/* All lengths of an entry are distinguished, on every level. */
static void
test_lengths(void **state)
{
	struct ip_addr a = addr("2001:db8:1234:5678:9abc:def0:1357:9bdf");

	(void)state;
	for (unsigned len = 1; len <= 128; len++) {
		struct prefix p = prefix_from_addr(&a, (uint8_t)len);
		struct path_list_id list;
		uint8_t found;

		assert_int_equal(shadow_set(shadow, &p, (struct path_list_id){len}, false), 0);
		assert_int_equal(table_v6_need(shadow, &p), len > 24 && len % 8 == 1);
		assert_int_not_equal(table_v6_paint(table, shadow, &p), 0);
		assert_true(table_v6_read(table_v6_words(table), a.b, &list, &found));
		assert_int_equal(list.v, len);
		assert_int_equal(found, len);
	}
	for (unsigned len = 128; len >= 1; len--) {
		struct prefix p = prefix_from_addr(&a, (uint8_t)len);
		struct path_list_id list;
		uint8_t found;

		assert_int_equal(table_v6_groups_used(table), len <= 24 ? 0 : (len - 17) / 8);
		assert_int_equal(shadow_remove(shadow, &p), 0);
		(void)table_v6_paint(table, shadow, &p);
		assert_int_equal(table_v6_read(table_v6_words(table), a.b, &list, &found), len > 1);
		assert_int_equal(found, len - 1);
	}
	assert_int_equal(table_v6_rebuild(table, shadow), 0);
}

/*
 * Groups not needed any more are freed, by release or by painting; waiting entries use no groups.
 */
static void
test_groups(void **state)
{
	(void)state;
	set("2001:db8::/32", 2, false);
	set("2001:db8:1::/48", 5, false);
	set("2001:db8:2::/48", 6, true);
	set("2001:db8:ff00::/40", 7, true);
	paint("2001:db8::/32");
	assert_int_equal(table_v6_groups_used(table), 3);
	assert_int_equal(answer("2001:db8:2::1"), 2);
	assert_int_equal(answer("2001:db8:ff00::1"), 2);
	assert_int_equal(need("2001:db8:2::/48"), 0); /* next to an existing prefix */
	/* 40, 48, 56: waiting entries have no groups */
	assert_int_equal(need("2001:db8:ff00:1::/64"), 3);
	release("2001:db8:1::/48");
	assert_int_equal(table_v6_groups_used(table), 3);
	unset("2001:db8:1::/48");
	release("2001:db8:1::/48");
	assert_int_equal(table_v6_groups_used(table), 1);
	paint("2001:db8:1::/48");
	assert_int_equal(answer("2001:db8:1::1"), 2);
	set("2001:db8:2::/48", 6, false);
	paint("2001:db8:2::/48");
	assert_int_equal(answer("2001:db8:2::1"), 6);
	assert_int_equal(table_v6_groups_used(table), 3);
	/* without release, painting frees the groups with all groups below */
	unset("2001:db8:2::/48");
	paint("2001:db8:2::/48");
	assert_int_equal(table_v6_groups_used(table), 1);
	unset("2001:db8::/32");
	paint("2001:db8::/32");
	assert_int_equal(table_v6_groups_used(table), 0);
	assert_int_equal(answer("2001:db8::1"), 0);
	/* a waiting entry does not answer for addresses of longer prefixes inside, either */
	set("2001:db8:ff00:1::/64", 8, false);
	paint("2001:db8:ff00:1::/64");
	assert_int_equal(answer("2001:db8:ff00:2::"), 0);
	assert_int_equal(answer("2001:db8:ff00:1::"), 8);
	assert_int_equal(table_v6_short(table), 0);
}

/* Without reserved groups: the failure is counted and the rest is painted. */
static void
test_short(void **state)
{
	(void)state;
	set("2001::/16", 1, false);
	for (unsigned i = 0; i < 690; i++) {
		struct prefix p = pfx("2001:db8::1/128");

		p.b[2] = (uint8_t)(i >> 8);
		p.b[3] = (uint8_t)i;
		assert_int_equal(shadow_set(shadow, &p, (struct path_list_id){2}, false), 0);
	}
	/* three of the second level, twelve more for each prefix: not enough for eight */
	paint("2001::/16");
	assert_int_equal(table_v6_groups_used(table), 8192);
	assert_int_equal(table_v6_short(table), 8);
	assert_int_equal(answer("2001:8::1"), 2);
	assert_int_equal(answer("2001:8::2"), 1);
	assert_int_equal(answer("2001:2a9::1"), 2); /* the 682nd prefix */
	assert_int_equal(answer("2001:2aa::1"), 1);
	for (unsigned i = 0; i < 690; i++) {
		struct prefix p = pfx("2001:db8::1/128");

		p.b[2] = (uint8_t)(i >> 8);
		p.b[3] = (uint8_t)i;
		assert_int_equal(shadow_remove(shadow, &p), 0);
	}
	paint("2001::/16");
	assert_int_equal(table_v6_groups_used(table), 0);
}

struct routes {
	struct prefix *prefix;
	const struct prefix *sorted; /* sorted copy of the prefixes */
	uint32_t *list; /* 0: not set */
	size_t count;
};

static uint32_t
table_answer(const uint8_t *b)
{
	struct path_list_id list;
	uint8_t len;

	if (!table_v6_read(table_v6_words(table), b, &list, &len))
		return 0;
	return list.v | (uint32_t)len << 24;
}

static void
route_change(struct routes *r, size_t i, uint32_t list, struct lpm6_oracle *o)
{
	const struct prefix *p = &r->prefix[i];

	if (list != 0)
		assert_int_equal(shadow_set(shadow, p, (struct path_list_id){list}, false), 0);
	else if (r->list[i] != 0)
		assert_int_equal(shadow_remove(shadow, p), 0);
	r->list[i] = list;
	lpm6_oracle_set(o, p->b, p->len, list);
}

/* A prefix around 2001:db8:: and the boundaries of the levels: every length, deeply nested. */
static struct prefix
small_prefix(uint64_t *seed)
{
	struct ip_addr a = addr("2001:db8::");

	for (unsigned i = 2; i < 16; i++) {
		if (rnd_below(seed, 3) == 0)
			a.b[i] = (uint8_t)(rnd_below(seed, 2) ? rnd(seed) & 0x81 : rnd(seed));
	}
	return prefix_from_addr(&a, (uint8_t)(1 + rnd_below(seed, 128)));
}

/*
 * Random changes, each painted alone, compared with the oracle; also checks the number of groups.
 */
static void
test_random(void **state)
{
	enum { COUNT = 600 };
	static struct prefix prefix[COUNT];
	static uint32_t list[COUNT];
	struct routes r = {.prefix = prefix, .list = list};
	struct lpm6_oracle o;
	uint64_t seed = 7;

	(void)state;
	memset(list, 0, sizeof(list));
	lpm6_oracle_init(&o);
	for (unsigned i = 0; i < COUNT; i++)
		prefix[i] = small_prefix(&seed);
	r.count = v6_unique(prefix, COUNT);
	for (unsigned step = 0; step < 20000 / SCALE; step++) {
		size_t i = rnd_below(&seed, (uint32_t)r.count);
		uint32_t groups = table_v6_groups_used(table), change;
		unsigned needed = table_v6_need(shadow, &prefix[i]);
		bool had = list[i] != 0;

		route_change(&r, i, rnd_below(&seed, 3) ? 1 + rnd_below(&seed, 65535) : 0, &o);
		change = list[i] != 0 && !had ? needed : list[i] == 0 && had ? -needed : 0;
		/* sometimes a rebuild over any content */
		if (step % 500 == 250)
			table_v6_rebuild(table, shadow);
		else
			table_v6_paint(table, shadow, &prefix[i]);
		assert_int_equal(table_v6_groups_used(table), groups + change);
		check_edges(&o, &prefix[i], table_answer);
		check_edges(&o, &prefix[rnd_below(&seed, (uint32_t)r.count)], table_answer);
	}
	assert_int_equal(table_v6_short(table), 0);
	/* painting in steps gives the result of a rebuild, except for group numbers */
	uint32_t groups = table_v6_groups_used(table);

	table_v6_rebuild(table, shadow);
	assert_int_equal(table_v6_groups_used(table), groups);
	shadow_clear(shadow);
	table_v6_rebuild(table, shadow);
	assert_int_equal(table_v6_groups_used(table), 0);
	assert_int_equal(table_v6_rebuild(table, shadow), 0);
	for (unsigned i = 0; i < 1u << 24; i++)
		assert_true(table_v6_words(table)[i] == 0);
	lpm6_oracle_fini(&o);
}

/* Checks the edges of every prefix, and compares the bulk lookup with single lookups. */
static void
check_all(const struct routes *r, const struct lpm6_oracle *o, uint64_t *seed)
{
	/* sorted neighbours share cache lines: takes a third of the time */
	for (size_t i = 0; i < r->count; i++)
		check_edges(o, &r->sorted[i], table_answer);
	for (size_t i = 0; i < r->count; i += 100) {
		uint8_t ip[200][16];
		uint32_t out[200];
		unsigned n = 1 + rnd_below(seed, 200);

		for (unsigned k = 0; k < n; k++) {
			size_t which = rnd_below(seed, (uint32_t)r->count);
			struct ip_addr a = v6_within(&r->prefix[which], seed);

			memcpy(ip[k], a.b, 16);
		}
		table_v6_lookup_bulk(table_v6_words(table), (const uint8_t(*)[16])ip, out, n, 777);
		for (unsigned k = 0; k < n; k++) {
			uint32_t expected = lpm6_oracle_lookup(o, ip[k]) & 0xffffff;

			assert_int_equal(out[k], expected != 0 ? expected : 777);
		}
	}
}

/* A batch as in fib.c: changes the shadow, releases all possible groups, then paints everything. */
static void
batch(struct routes *r, size_t first, size_t count, unsigned keep, struct lpm6_oracle *o,
	uint64_t *seed)
{
	for (size_t i = first; i < first + count; i++)
		route_change(r, i, rnd_below(seed, 100) < keep ? 1 + rnd_below(seed, 65535) : 0, o);
	for (size_t i = first; i < first + count; i++)
		table_v6_release(table, shadow, &r->prefix[i]);
	for (size_t i = first; i < first + count; i++)
		table_v6_paint(table, shadow, &r->prefix[i]);
}

/* Number of groups needed by the shadow, counted by a walk in order. */
static uint32_t
groups_expected(void)
{
	struct prefix last = {.afi = AFI_IPV6};
	struct shadow_cursor c;
	struct shadow_entry e;
	uint32_t count = 0;

	shadow_seek(shadow, NULL, &c);
	while (shadow_next(&c, &e)) {
		for (unsigned start = 24; start < e.prefix.len; start += 8) {
			struct ip_addr a = v6_addr(e.prefix.b);
			struct prefix around = prefix_from_addr(&a, (uint8_t)start);

			count += last.len <= start || !prefix_covers(&around, &last);
		}
		last = e.prefix;
	}
	return count;
}

/*
 * The real table and 50,000 random prefixes of /49 to /128 inside, inserted, changed and removed
 * in random order (a tenth of both with sanitizers). Checks the edges of every prefix after each phase.
 */
static void
test_full_table(void **state)
{
	static const unsigned keep[] = {100, 60, 90, 20, 0};
	size_t real, more = 50000 / SCALE;
	struct routes r = {.prefix = v6_table(400000 / SCALE, &real)};
	uint64_t seed = 20261120;
	struct lpm6_oracle o;
	struct prefix *sorted;

	(void)state;
	lpm6_oracle_init(&o);
	r.prefix = realloc(r.prefix, (real + more) * sizeof(*r.prefix));
	assert_non_null(r.prefix);
	for (size_t i = 0; i < more; i++)
		r.prefix[real + i] = v6_long(r.prefix, real, &seed);
	r.count = v6_unique(r.prefix, real + more);
	assert_true(r.count >= real + more * 99 / 100);
	r.list = calloc(r.count, sizeof(*r.list));
	sorted = malloc(r.count * sizeof(*sorted));
	assert_true(r.list != NULL && sorted != NULL);
	memcpy(sorted, r.prefix, r.count * sizeof(*sorted));
	r.sorted = sorted;
	table_v6_destroy(table);
	/* generated prefixes share fewer groups than those of the Internet */
	assert_int_equal(table_v6_create(arena, 1600000 / SCALE, true, &table), 0);
	for (unsigned phase = 0; phase < sizeof(keep) / sizeof(keep[0]); phase++) {
		/* each phase starts with the routes left by the phase before */
		size_t size = phase % 2 ? 997 : 4096;

		for (size_t at = 0; at < r.count; at += size) {
			for (size_t i = at; i < at + size && i < r.count; i++) {
				size_t k = i + rnd_below(&seed, (uint32_t)(r.count - i));
				struct prefix p = r.prefix[i];
				uint32_t list = r.list[i];

				r.prefix[i] = r.prefix[k];
				r.list[i] = r.list[k];
				r.prefix[k] = p;
				r.list[k] = list;
			}
			batch(&r, at, size < r.count - at ? size : r.count - at, keep[phase], &o,
				&seed);
		}
		check_all(&r, &o, &seed);
		assert_int_equal(table_v6_groups_used(table), groups_expected());
		assert_int_equal(table_v6_short(table), 0);
		print_message("%u of 100 set: %lu prefixes, %u groups\n", keep[phase],
			(unsigned long)shadow_count(shadow), table_v6_groups_used(table));
		if (phase == 2) {
			table_v6_rebuild(table, shadow);
			check_all(&r, &o, &seed);
			assert_int_equal(table_v6_groups_used(table), groups_expected());
		}
	}
	assert_int_equal(table_v6_groups_used(table), 0);
	lpm6_oracle_fini(&o);
	free(r.prefix);
	free(r.list);
	free(sorted);
}

/* Two copies as in fib.c: readers use one copy and its number, the writer paints the second. */
#define FLIPS (600 / SCALE)
#define SPOTS 256

struct copy {
	struct table_v6 *table;
	uint32_t number;
};

static struct {
	struct qsbr *workers;
	_Atomic(const struct copy *) current;
	_Atomic bool stop;
	_Atomic unsigned looking; /* readers with at least one lookup */
	struct prefix spot[SPOTS];
} race;

/*
 * In generation n every prefix answers n; the covering prefix of a withdrawn prefix answers n,
 * too. All answers of a burst are therefore n.
 */
static void *
reader_main(void *arg)
{
	uint64_t seed = (uintptr_t)arg, bursts = 0;
	unsigned id;

	role_enter_worker();
	if (qsbr_register(race.workers, &id) != 0)
		return NULL;
	qsbr_online(race.workers, id);
	while (!atomic_load_explicit(&race.stop, memory_order_relaxed)) {
		/* acquire: pairs with the release in test_readers */
		const struct copy *copy = atomic_load_explicit(&race.current, memory_order_acquire);
		uint8_t ip[TABLE_V6_BURST][16];
		uint32_t out[TABLE_V6_BURST];

		for (unsigned i = 0; i < TABLE_V6_BURST; i++) {
			struct ip_addr a = v6_within(&race.spot[rnd_below(&seed, SPOTS)], &seed);

			memcpy(ip[i], a.b, 16);
		}
		table_v6_lookup_bulk(table_v6_words(copy->table), (const uint8_t(*)[16])ip, out,
			TABLE_V6_BURST, 0);
		for (unsigned i = 0; i < TABLE_V6_BURST; i++) {
			if (out[i] != copy->number) {
				fprintf(stderr, "%u in generation %u\n", out[i], copy->number);
				return NULL;
			}
		}
		if (bursts++ == 0)
			atomic_fetch_add(&race.looking, 1);
		qsbr_quiescent(race.workers, id);
	}
	qsbr_offline(race.workers, id);
	qsbr_unregister(race.workers, id);
	return (void *)(uintptr_t)bursts;
}

static void
race_change(uint32_t number, uint64_t *seed)
{
	for (unsigned i = 0; i < SPOTS; i++) {
		const struct prefix *p = &race.spot[i];

		/* covering prefixes are never withdrawn */
		if (i % 8 != 0 && rnd_below(seed, 3) == 0)
			(void)shadow_remove(shadow, p);
		else
			assert_int_equal(
				shadow_set(shadow, p, (struct path_list_id){number}, false), 0);
	}
}

static void
test_readers(void **state)
{
	struct copy copy[2] = {{.number = 0}, {.number = 0}};
	pthread_t reader[2];
	uint64_t seed = 5;

	(void)state;
	role_enter_fib();
	assert_int_equal(qsbr_create(arena, 4, &race.workers), 0);
	copy[0].table = table;
	assert_int_equal(table_v6_create(arena, 8192, true, &copy[1].table), 0);
	for (unsigned i = 0; i < SPOTS; i++) {
		struct ip_addr a = addr("2001:db8::");

		/* 32 covering prefixes of /24 to /48, with seven longer prefixes each */
		a.b[2] = (uint8_t)(i / 8);
		race.spot[i] = i % 8 == 0
				       ? prefix_from_addr(&a, (uint8_t)(24 + rnd_below(&seed, 25)))
				       : v6_long(&race.spot[i / 8 * 8], 1, &seed);
	}
	race_change(0 + 1, &seed);
	copy[0].number = 1;
	table_v6_rebuild(copy[0].table, shadow);
	atomic_store(&race.stop, false);
	atomic_store(&race.looking, 0);
	atomic_store(&race.current, &copy[0]);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			pthread_create(&reader[i], NULL, reader_main, (void *)(uintptr_t)(i + 1)),
			0);
	/* on a busy machine the readers start late */
	for (uint32_t number = 2; number < 2 + FLIPS || atomic_load(&race.looking) < 2; number++) {
		struct copy *idle = &copy[number % 2 == 0];
		uint64_t token;

		race_change(number, &seed);
		for (unsigned i = 0; i < SPOTS; i++)
			table_v6_release(idle->table, shadow, &race.spot[i]);
		for (unsigned i = 0; i < SPOTS; i++)
			table_v6_paint(idle->table, shadow, &race.spot[i]);
		idle->number = number;
		/* release: pairs with the acquire in reader_main */
		atomic_store_explicit(&race.current, idle, memory_order_release);
		token = qsbr_start(race.workers);
		while (!qsbr_done(race.workers, token))
			sched_yield();
	}
	atomic_store_explicit(&race.stop, true, memory_order_relaxed);
	for (unsigned i = 0; i < 2; i++) {
		void *bursts;

		assert_int_equal(pthread_join(reader[i], &bursts), 0);
		assert_non_null(bursts);
	}
	assert_int_equal(table_v6_short(copy[0].table) + table_v6_short(copy[1].table), 0);
	table_v6_destroy(copy[1].table);
	qsbr_destroy(race.workers);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		one_thread_test_in(test_nested, setup, teardown),
		one_thread_test_in(test_lengths, setup, teardown),
		one_thread_test_in(test_groups, setup, teardown),
		one_thread_test_in(test_short, setup, teardown),
		one_thread_test_in(test_random, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readers, setup, teardown),
		one_thread_test_in(test_full_table, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
