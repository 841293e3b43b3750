/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables of VPN instances in the fib. */
#include "lpm/compact.h"
#include "lpm/inspect.h"
#include "tests/lpm/fib_rig.h"
#include "tests/lpm/lpm6_test.h"
#include "tests/lpm/one_thread.h"
#include "tests/oracle/lpm6_oracle.h"

#include <pthread.h>

#ifdef KEEL_SANITIZED
#define SCALE 10
#else
#define SCALE 1
#endif

#define RED ((struct vrf_id){7})
#define BLUE ((struct vrf_id){FIB_VRF_MAX - 1})

/* A fib with the default table and `count` instances of both families. */
static void
begin(unsigned count)
{
	role_enter_fib();
	fib_begin((struct fib_config){
		.memory_bytes = (size_t)1 << 30, .tbl8_groups = 64, .groups_v6 = 64});
	assert_int_equal(fib_vrf_add(fib, VRF_DEFAULT, AFI_IPV4), 0);
	for (uint16_t v = 1; v <= count; v++) {
		assert_int_equal(fib_instance_add(fib, (struct vrf_id){v}, AFI_IPV4), 0);
		assert_int_equal(fib_instance_add(fib, (struct vrf_id){v}, AFI_IPV6), 0);
	}
}

static void
set_in(struct vrf_id vrf, const char *text, struct path_list_id id)
{
	struct prefix p = pfx(text);

	role_enter_fib();
	assert_int_equal(fib_set(fib, vrf, &p, id), 0);
}

static void
withdraw_in(struct vrf_id vrf, const char *text)
{
	struct prefix p = pfx(text);

	role_enter_fib();
	assert_int_equal(fib_withdraw(fib, vrf, &p), 0);
}

/* A worker and main find the prefix `expected` with list `id`, or no route (NULL). */
static void
check_in(struct vrf_id vrf, const char *text, const char *expected, struct path_list_id id)
{
	const struct fib_generation *g;
	struct ip_addr a = addr(text);
	struct fib_result result;
	char prefix[PREFIX_TEXT_MAX];
	uint32_t ip = addr_v4(&a), out, slot, rest;

	qsbr_online(workers, me);
	g = fib_read_begin(fib_reader(fib));
	assert_int_equal(fib_lookup(fib, vrf, &a, &result), 0);
	if (a.afi == AFI_IPV4) {
		fib_read_v4_bulk(fib_reader(fib), g, vrf, &ip, &out, 1);
	} else {
		const uint8_t(*b)[16] = (const uint8_t(*)[16])a.b;

		fib_read_v6_bulk(fib_reader(fib), g, vrf, b, &out, 1);
		for (unsigned step = 0; step < TABLE_V6_STEPS; step++)
			fib_read_v6_step(fib_reader(fib), g, vrf, b, &slot, &rest, 1, step);
		assert_false(fib_read_v6_lists(fib_reader(fib), g, vrf, &slot, &ip, 1));
		assert_int_equal(ip, out);
	}
	qsbr_offline(workers, me);
	assert_int_equal(result.hit, expected != NULL);
	assert_int_equal(out, expected != NULL ? id.v : PATH_LIST_NONE);
	if (expected == NULL)
		return;
	assert_string_equal(prefix_format(&result.prefix, prefix), expected);
	assert_int_equal(result.path_list.v, id.v);
}

static void
test_basics(void **state)
{
	struct fib_stats stats;
	struct ip_addr a = addr("10.0.0.1");
	struct fib_result result;
	size_t empty;

	(void)state;
	begin(0);
	lists_make(4);
	assert_int_equal(fib_lookup(fib, RED, &a, &result), -ENOENT);
	assert_int_equal(fib_instance_add(fib, RED, AFI_IPV4), 0);
	assert_int_equal(fib_instance_add(fib, RED, AFI_IPV6), 0);
	assert_int_equal(fib_instance_add(fib, RED, AFI_IPV6), 0);
	assert_int_equal(fib_instance_add(fib, BLUE, AFI_IPV4), 0);
	assert_int_equal(fib_instance_add(fib, (struct vrf_id){FIB_VRF_MAX}, AFI_IPV4), -ENOSPC);
	assert_int_equal(fib_instance_add(fib, RED, AFI_NONE), -EAFNOSUPPORT);
	settle();
	empty = arena_bytes(arena);
	check_in(RED, "10.0.0.1", NULL, list[0]);
	check_in(RED, "2001:db8::1", NULL, list[0]);
	set("10.0.0.0/8", list[0]);
	set_in(RED, "10.0.0.0/16", list[1]);
	set_in(BLUE, "10.0.0.0/24", list[2]);
	set_in(RED, "2001:db8::/32", list[3]);
	set_in(RED, "2001:db8::1/128", list[1]);
	check_in(RED, "10.0.0.1", NULL, list[0]);
	assert_int_equal(fib_batch_count(fib), 5);
	assert_int_equal(commit(), 0);
	/* equal addresses, different answers */
	check("10.0.0.1", "10.0.0.0/8", list[0]);
	check_in(RED, "10.0.0.1", "10.0.0.0/16", list[1]);
	check_in(RED, "10.1.0.1", NULL, list[0]);
	check_in(BLUE, "10.0.0.1", "10.0.0.0/24", list[2]);
	check_in(BLUE, "10.0.1.1", NULL, list[0]);
	check_in(RED, "2001:db8::2", "2001:db8::/32", list[3]);
	check_in(RED, "2001:db8::1", "2001:db8::1/128", list[1]);
	settle();
	check_in(RED, "10.0.0.1", "10.0.0.0/16", list[1]);
	check_in(BLUE, "10.0.0.1", "10.0.0.0/24", list[2]);
	/* a change elsewhere, and two generations, leave an instance as it is */
	set_in(BLUE, "0.0.0.0/0", list[3]);
	assert_int_equal(commit(), 0);
	check_in(RED, "2001:db8::1", "2001:db8::1/128", list[1]);
	check_in(BLUE, "192.0.2.1", "0.0.0.0/0", list[3]);
	set_in(BLUE, "0.0.0.0/0", list[1]);
	assert_int_equal(commit(), 0);
	check_in(RED, "10.0.0.1", "10.0.0.0/16", list[1]);
	check_in(BLUE, "192.0.2.1", "0.0.0.0/0", list[1]);
	assert_int_equal(fib_table_stats_get(fib, RED, AFI_IPV4, &stats), 0);
	assert_int_equal(stats.writes, 1);
	assert_int_equal(stats.installed, 1);
	assert_true(stats.memory_bytes > 0 && stats.memory_bytes < 8192);
	/* without routes an instance has no table */
	withdraw_in(RED, "10.0.0.0/16");
	withdraw_in(RED, "2001:db8::/32");
	withdraw_in(RED, "2001:db8::1/128");
	withdraw_in(BLUE, "10.0.0.0/24");
	withdraw_in(BLUE, "0.0.0.0/0");
	withdraw("10.0.0.0/8");
	assert_int_equal(commit(), 0);
	check_in(RED, "10.0.0.1", NULL, list[0]);
	check_in(BLUE, "10.0.0.1", NULL, list[0]);
	settle();
	assert_int_equal(arena_bytes(arena), empty);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(path_list_refs(fib_path_lists(fib), list[i]), 1);
	lists_drop(4);
	fib_unmake();
}

/*
 * Without memory for painted tables an instance grows to its bound, by way of a tree, and shrinks
 * again.
 */
static void
test_full(void **state)
{
	(void)state;
	role_enter_fib();
	fib_begin((struct fib_config){
		.memory_bytes = (size_t)100 << 20, .tbl8_groups = 64, .groups_v6 = 64});
	assert_int_equal(fib_instance_add(fib, RED, AFI_IPV4), 0);
	lists_make(2);
	for (unsigned i = 0; i < FIB_INSTANCE_ROUTES; i++) {
		struct prefix p = prefix_from_v4((10u << 24) + (i << 8), 24);

		assert_int_equal(fib_set(fib, RED, &p, list[i % 2]), 0);
		if (i == 2000 || i == 2100 || i == 15000)
			assert_int_equal(commit(), 0);
	}
	assert_int_equal(
		fib_set(fib, RED, &(struct prefix){.b = {1}, .afi = AFI_IPV4, .len = 8}, list[0]),
		-ENOSPC);
	assert_int_equal(fib_batch_count(fib), FIB_INSTANCE_ROUTES - 15001);
	set_in(RED, "10.0.7.0/24", list[0]);
	assert_int_equal(commit(), 0);
	check_in(RED, "10.0.7.1", "10.0.7.0/24", list[0]);
	check_in(RED, "10.62.127.1", "10.62.127.0/24", list[1]);
	check_in(RED, "10.62.128.1", NULL, list[1]);
	for (unsigned i = 1; i < FIB_INSTANCE_ROUTES; i++) {
		struct prefix p = prefix_from_v4((10u << 24) + (i << 8), 24);

		assert_int_equal(fib_withdraw(fib, RED, &p), 0);
		if (i == 14000 || i == 15500)
			assert_int_equal(commit(), 0);
	}
	settle();
	check_in(RED, "10.0.0.1", "10.0.0.0/24", list[0]);
	check_in(RED, "10.0.7.1", NULL, list[0]);
	assert_int_equal(path_list_refs(fib_path_lists(fib), list[1]), 1);
	withdraw_in(RED, "10.0.0.0/24");
	settle();
	lists_drop(2);
	fib_unmake();
}

static struct prefix
large_route(unsigned i)
{
	return prefix_from_v4((10u << 24) + (i << 8), i % 1000 == 7 ? 28 : 24);
}

/*
 * An instance with more routes gets painted tables, also while routes of the open and the last batch
 * are missing in a generation; readers find all routes at each step.
 */
static void
test_promotion(void **state)
{
	struct fib_stats stats;

	(void)state;
	role_enter_fib();
	begin(7);
	lists_make(2);
	set_in(RED, "0.0.0.0/0", list[1]);
	set_in((struct vrf_id){3}, "10.0.0.0/8", list[1]);
	for (unsigned i = 0; i < FIB_INSTANCE_ROUTES + 5000; i++) {
		struct prefix p = large_route(i);

		assert_int_equal(fib_set(fib, RED, &p, list[i % 2]), 0);
		if (i == 15000 || i == 15500 || i == FIB_INSTANCE_ROUTES + 1000)
			assert_int_equal(commit(), 0);
		if (i == FIB_INSTANCE_ROUTES + 500)
			check_in(RED, "10.61.0.1", "0.0.0.0/0", list[1]);
	}
	/* both copies have the routes from before */
	check_in(RED, "10.62.127.1", "10.62.127.0/24", list[1]);
	check_in(RED, "10.0.1.1", "10.0.1.0/24", list[1]);
	assert_int_equal(commit(), 0);
	check_in(RED, "10.0.1.1", "10.0.1.0/24", list[1]);
	check_in(RED, "10.81.0.1", "10.81.0.0/24", list[0]);
	check_in(RED, "10.0.7.1", "10.0.7.0/28", list[1]);
	check_in(RED, "10.0.7.17", "0.0.0.0/0", list[1]);
	check_in((struct vrf_id){3}, "10.81.0.1", "10.0.0.0/8", list[1]);
	settle();
	check_in(RED, "10.81.0.1", "10.81.0.0/24", list[0]);
	check_in(RED, "10.0.0.1", "10.0.0.0/24", list[0]);
	assert_int_equal(fib_table_stats_get(fib, RED, AFI_IPV4, &stats), 0);
	assert_int_equal(stats.installed, FIB_INSTANCE_ROUTES + 5001);
	assert_int_equal(stats.groups_used, 21);
	/* changes are painted now */
	set_in(RED, "10.0.0.0/24", list[1]);
	assert_int_equal(commit(), 0);
	check_in(RED, "10.0.0.1", "10.0.0.0/24", list[1]);
	for (unsigned i = 0; i < FIB_INSTANCE_ROUTES + 5000; i++) {
		struct prefix p = large_route(i);

		assert_int_equal(fib_withdraw(fib, RED, &p), 0);
	}
	settle();
	check_in(RED, "10.0.0.1", "0.0.0.0/0", list[1]);
	withdraw_in(RED, "0.0.0.0/0");
	withdraw_in((struct vrf_id){3}, "10.0.0.0/8");
	settle();
	check_in(RED, "10.0.0.1", NULL, list[1]);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(path_list_refs(fib_path_lists(fib), list[i]), 1);
	lists_drop(2);
	fib_unmake();
}

/* Routes that need more groups than painted tables have: the instance keeps its compact table. */
static void
test_too_large(void **state)
{
	struct prefix p;

	(void)state;
	role_enter_fib();
	begin(7); /* with 64 groups */
	lists_make(1);
	for (unsigned i = 0; i < FIB_INSTANCE_ROUTES; i++) {
		p = prefix_from_v4((10u << 24) + (i << 8), 25);
		assert_int_equal(fib_set(fib, RED, &p, list[0]), 0);
	}
	p = prefix_from_v4(11u << 24, 8);
	for (unsigned i = 0; i < 1000; i++) /* without another attempt each time */
		assert_int_equal(fib_set(fib, RED, &p, list[0]), -ENOSPC);
	assert_int_equal(commit(), 0);
	check_in(RED, "10.62.127.1", "10.62.127.0/25", list[0]);
	settle();
	for (unsigned i = 1; i < FIB_INSTANCE_ROUTES; i++) {
		p = prefix_from_v4((10u << 24) + (i << 8), 25);
		assert_int_equal(fib_withdraw(fib, RED, &p), 0);
	}
	withdraw_in(RED, "10.0.0.0/25");
	settle();
	lists_drop(1);
	fib_unmake();
}

/* Each note of an instance is read once. */
static void
test_notes(void **state)
{
	struct prefix p = pfx("10.0.0.0/24");
	struct fib_note note;

	(void)state;
	role_enter_fib();
	begin(8);
	assert_false(fib_note_peek(fib, &note));
	fib_note_add(fib, RED, &p, false);
	fib_note_add(fib, RED, &p, true);
	fib_note_add(fib, VRF_DEFAULT, &p, true);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(fib_note_peek(fib, &note));
		assert_int_equal(note.vrf.v, i == 0 ? VRF_DEFAULT.v : RED.v);
		assert_true(note.installed);
		fib_note_remove(fib);
	}
	assert_false(fib_note_peek(fib, &note));
	assert_false(fib_notes_lost(fib));
	fib_unmake();
}

/* Memory of an instance with 100 routes of each family, in all. */
static void
test_memory(void **state)
{
	enum { COUNT = 100 };
	size_t before;

	(void)state;
	role_enter_fib();
	begin(1);
	lists_make(20);
	settle();
	before = arena_bytes(arena);
	for (uint16_t v = 2; v < 2 + COUNT; v++) {
		assert_int_equal(fib_instance_add(fib, (struct vrf_id){v}, AFI_IPV4), 0);
		assert_int_equal(fib_instance_add(fib, (struct vrf_id){v}, AFI_IPV6), 0);
		for (unsigned i = 0; i < 100; i++) {
			struct ip_addr a = {
				.b = {0x20, 1, 0xd, 0xb8, 0, (uint8_t)(2 * i)}, .afi = AFI_IPV6};
			struct prefix p = prefix_from_v4((10u << 24) + (2 * i << 16), 24);

			assert_int_equal(fib_set(fib, (struct vrf_id){v}, &p, list[i % 20]), 0);
			p = prefix_from_addr(&a, 64);
			assert_int_equal(fib_set(fib, (struct vrf_id){v}, &p, list[i % 20]), 0);
		}
	}
	settle();
	print_message("%zu bytes an instance\n", (arena_bytes(arena) - before) / COUNT);
	assert_true((arena_bytes(arena) - before) / COUNT <= 32768);
	fib_unmake();
}

#define VRFS 5
#define SPOTS 300

static struct prefix
random_prefix(uint64_t *seed)
{
	struct ip_addr a = {.afi = rnd_below(seed, 2) ? AFI_IPV6 : AFI_IPV4};

	for (unsigned i = 0; i < prefix_max_len(a.afi) / 8; i++)
		a.b[i] = (uint8_t)rnd(seed) & (i < 2 ? 1 : 0x81);
	return prefix_from_addr(&a, (uint8_t)rnd_below(seed, prefix_max_len(a.afi) + 1));
}

/*
 * Random changes of several instances against an oracle for each. The oracle gets the changes of
 * the open batch with the commit.
 */
static void
test_random(void **state)
{
	static struct prefix spot[SPOTS];
	static struct lpm6_oracle oracle[VRFS][2];
	static uint32_t open[VRFS][SPOTS], shown[VRFS][SPOTS];
	struct rng seed = rng_seeded(21);

	(void)state;
	role_enter_fib();
	begin(VRFS);
	lists_make(50);
	for (unsigned i = 0; i < SPOTS; i++)
		spot[i] = random_prefix(&seed.state);
	for (unsigned v = 0; v < VRFS; v++) {
		lpm6_oracle_init(&oracle[v][0]);
		lpm6_oracle_init(&oracle[v][1]);
	}
	memset(open, 0, sizeof(open));
	memset(shown, 0, sizeof(shown));
	for (unsigned step = 0; step < 40000 / SCALE; step++) {
		unsigned v = rng_below(&seed, VRFS), i = rng_below(&seed, SPOTS);
		struct vrf_id vrf = {(uint16_t)(v + 1)};
		struct fib_result result;
		struct ip_addr a;
		uint32_t expected;

		/* equal prefixes share the first entry */
		for (unsigned k = 0; k < i; k++)
			i = prefix_equal(&spot[k], &spot[i]) ? k : i;
		if (rng_below(&seed, 3)) {
			open[v][i] = list[rng_below(&seed, 50)].v;
			assert_int_equal(
				fib_set(fib, vrf, &spot[i], (struct path_list_id){open[v][i]}), 0);
		} else {
			assert_int_equal(
				fib_withdraw(fib, vrf, &spot[i]), open[v][i] != 0 ? 0 : -ENOENT);
			open[v][i] = 0;
		}
		if (rng_below(&seed, 8) == 0) {
			assert_int_equal(commit(), 0);
			for (unsigned w = 0; w < VRFS; w++) {
				for (unsigned k = 0; k < SPOTS; k++) {
					if (open[w][k] == shown[w][k])
						continue;
					shown[w][k] = open[w][k];
					lpm6_oracle_set(&oracle[w][spot[k].afi == AFI_IPV6],
						spot[k].b, spot[k].len, open[w][k]);
				}
			}
		}
		a = v6_within(&spot[rng_below(&seed, SPOTS)], &seed.state);
		a.afi = rng_below(&seed, 2) ? AFI_IPV6 : AFI_IPV4;
		if (a.afi == AFI_IPV4)
			memset(a.b + 4, 0, 12);
		expected = lpm6_oracle_lookup(&oracle[v][a.afi == AFI_IPV6], a.b);
		qsbr_online(workers, me);
		assert_int_equal(fib_lookup(fib, vrf, &a, &result), 0);
		qsbr_offline(workers, me);
		assert_int_equal(result.hit ? result.path_list.v : 0, expected & 0xffffff);
		if (result.hit)
			assert_int_equal(result.prefix.len, expected >> 24);
	}
	for (unsigned v = 0; v < VRFS; v++) {
		for (unsigned i = 0; i < SPOTS; i++)
			(void)fib_withdraw(fib, (struct vrf_id){(uint16_t)(v + 1)}, &spot[i]);
		lpm6_oracle_fini(&oracle[v][0]);
		lpm6_oracle_fini(&oracle[v][1]);
	}
	settle();
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(path_list_refs(fib_path_lists(fib), list[i]), 1);
	lists_drop(50);
	fib_unmake();
}

/* In each generation all routes of all instances have one list. */
static struct {
	_Atomic bool stop;
	_Atomic unsigned looking;
} race;

static void *
reader_main(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	uintptr_t bursts = 0;
	unsigned id;

	role_enter_worker();
	if (qsbr_register(workers, &id) != 0)
		return NULL;
	qsbr_online(workers, id);
	while (!atomic_load_explicit(&race.stop, memory_order_relaxed)) {
		const struct fib_generation *g = fib_read_begin(fib_reader(fib));
		uint32_t v4[24], out4[24], out[24];
		uint8_t ip[24][16];

		for (uint16_t v = 1; v <= 8; v++) {
			for (unsigned i = 0; i < 24; i++) {
				v4[i] = (10u << 24) + rnd_below(&seed, 1u << 20);
				memset(ip[i], (int)rnd_below(&seed, 256), 16);
				ip[i][0] = 0x20;
			}
			fib_read_v4_bulk(fib_reader(fib), g, (struct vrf_id){v}, v4, out4, 24);
			fib_read_v6_bulk(fib_reader(fib), g, (struct vrf_id){v},
				(const uint8_t(*)[16])ip, out, 24);
			for (unsigned i = 0; i < 24; i++) {
				if (out[i] != out4[0] || out4[i] != out4[0] ||
					out[i] == PATH_LIST_NONE)
					return NULL;
			}
		}
		if (bursts++ == 0)
			atomic_fetch_add(&race.looking, 1);
		qsbr_quiescent(workers, id);
	}
	qsbr_offline(workers, id);
	qsbr_unregister(workers, id);
	return (void *)bursts;
}

static void
race_change(struct path_list_id id, uint64_t *seed)
{
	for (uint16_t v = 1; v <= 8; v++) {
		struct vrf_id vrf = {v};

		for (unsigned i = 0; i < 20; i++) {
			struct prefix p = prefix_from_v4((10u << 24) + (i << 12), 24);

			if (rnd_below(seed, 3) == 0)
				(void)fib_withdraw(fib, vrf, &p);
			else
				assert_int_equal(fib_set(fib, vrf, &p, id), 0);
		}
		set_in(vrf, "10.0.0.0/8", id);
		set_in(vrf, "2000::/8", id);
	}
}

/* Routes of earlier calls of race_change() get the new list, too. */
static void
race_all(struct path_list_id id)
{
	for (uint16_t v = 1; v <= 8; v++) {
		for (unsigned i = 0; i < 20; i++) {
			struct prefix p = prefix_from_v4((10u << 24) + (i << 12), 24);
			struct path_list_id old;

			if (fib_shadow_get(fib, (struct vrf_id){v}, &p, &old))
				assert_int_equal(fib_set(fib, (struct vrf_id){v}, &p, id), 0);
		}
	}
}

static void
test_beside_readers(void **state)
{
	pthread_t reader[2];
	uint64_t seed = 5;

	(void)state;
	role_enter_fib();
	begin(8);
	lists_make(LISTS);
	race_change(list[0], &seed);
	assert_int_equal(commit(), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			pthread_create(&reader[i], NULL, reader_main, (void *)(uintptr_t)(i + 1)),
			0);
	/* on a busy machine the readers start late */
	for (unsigned n = 1; n < 1000 / SCALE || atomic_load(&race.looking) < 2; n++) {
		race_change(list[n % LISTS], &seed);
		race_all(list[n % LISTS]);
		assert_int_equal(commit(), 0);
	}
	atomic_store_explicit(&race.stop, true, memory_order_relaxed);
	for (unsigned i = 0; i < 2; i++) {
		void *bursts;

		assert_int_equal(pthread_join(reader[i], &bursts), 0);
		assert_non_null(bursts);
	}
	lists_drop(LISTS);
	fib_unmake();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		one_thread_test(test_basics),
		one_thread_test(test_full),
		one_thread_test(test_promotion),
		one_thread_test(test_too_large),
		one_thread_test(test_notes),
		one_thread_test(test_memory),
		one_thread_test(test_random),
		cmocka_unit_test(test_beside_readers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
