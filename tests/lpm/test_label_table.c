/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/label_table.h"

#include "lpm/base/arena.h"
#include "lpm/inspect.h"
#include "lpm/base/qsbr.h"
#include "tests/lpm/one_thread.h"
#include "tests/lpm/rng.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#ifdef KEEL_SANITIZED
#define SCALE 10
#else
#define SCALE 1
#endif

#define LISTS 64

static struct arena *arena;
static struct qsbr *workers;
static struct path_lists *lists;
static struct path_list_id list[LISTS];
static struct label_table *table;

static int
setup(void **state)
{
	(void)state;
	role_enter_fib();
	if (arena_create("test", &arena) != 0 || qsbr_create(arena, 4, &workers) != 0 ||
		path_lists_create(arena, workers, &lists) != 0)
		return -1;
	for (unsigned i = 0; i < LISTS; i++) {
		struct ip_addr addr = addr_from_v4(0xc0000200 + i);
		struct path path = {.label = LABEL_NONE};

		assert_int_equal(next_hop_get(lists, VRF_DEFAULT, &addr, 0, &path.next_hop), 0);
		assert_int_equal(
			path_list_get(lists, PATH_LIST_FORWARD, PORT_NONE, &path, 1, &list[i]), 0);
		next_hop_unref(lists, path.next_hop);
	}
	return label_table_create(arena, lists, &table);
}

static int
teardown(void **state)
{
	(void)state;
	role_enter_fib();
	label_table_destroy(table);
	for (unsigned i = 0; i < LISTS; i++) {
		assert_int_equal(path_list_refs(lists, list[i]), 1);
		path_list_unref(lists, list[i]);
	}
	assert_int_equal(path_lists_in_use(lists), 0);
	path_lists_destroy(lists);
	qsbr_destroy(workers);
	assert_int_equal(arena_bytes(arena), 0);
	arena_destroy(arena);
	return 0;
}

static uint64_t
word(uint32_t label)
{
	uint64_t out;

	label_lookup(label_reader(table), &BOUNDS_ALL, &label, &out, 1);
	return out;
}

static int
set(uint32_t label, struct label_entry e)
{
	role_enter_fib();
	return label_table_set(table, label, &e);
}

static int
clear(uint32_t label)
{
	role_enter_fib();
	return label_table_clear(table, label);
}

/* RFC 3031 3.11: one action for each incoming label. */
static void
test_actions(void **state)
{
	struct label_entry e;

	(void)state;
	role_enter_fib();
	assert_int_equal(
		set(16, (struct label_entry){.op = LABEL_POP_INSTANCE, .vrf = {65535}}), 0);
	assert_int_equal(label_word_op(word(16)), LABEL_POP_INSTANCE);
	assert_int_equal(label_word_target(word(16)), 65535);
	assert_int_equal(set(17, (struct label_entry){.op = LABEL_POP_INSTANCE}), 0);
	assert_int_equal(label_word_op(word(17)), LABEL_POP_INSTANCE);
	assert_int_equal(label_word_target(word(17)), 0);
	assert_int_equal(
		set(LABEL_COUNT - 1,
			(struct label_entry){.op = LABEL_SWAP, .list = list[3], .out = 1048575}),
		0);
	assert_int_equal(label_word_op(word(LABEL_COUNT - 1)), LABEL_SWAP);
	assert_int_equal(label_word_target(word(LABEL_COUNT - 1)), list[3].v);
	assert_int_equal(label_word_out(word(LABEL_COUNT - 1)), 1048575);
	assert_int_equal(path_list_refs(lists, list[3]), 2);
	assert_int_equal(
		set(511, (struct label_entry){.op = LABEL_SWAP_STACK, .list = list[4], .out = 7}),
		0);
	assert_int_equal(
		set(512, (struct label_entry){.op = LABEL_POP_FORWARD, .list = list[4], .out = 9}),
		0);
	assert_int_equal(path_list_refs(lists, list[4]), 3);
	assert_true(label_table_get(table, 511, &e));
	assert_int_equal(e.op, LABEL_SWAP_STACK);
	assert_int_equal(e.list.v, list[4].v);
	assert_int_equal(e.out, 7);
	assert_int_equal(label_table_count(table), 5);
	/* replaced: the old list is released */
	assert_int_equal(set(512, (struct label_entry){.op = LABEL_POP_INSTANCE, .vrf = {5}}), 0);
	assert_int_equal(
		set(511, (struct label_entry){.op = LABEL_SWAP_STACK, .list = list[4], .out = 8}),
		0);
	assert_int_equal(path_list_refs(lists, list[4]), 2);
	assert_true(label_table_get(table, 512, &e));
	assert_int_equal(e.op, LABEL_POP_INSTANCE);
	assert_int_equal(e.vrf.v, 5);
	assert_int_equal(label_table_count(table), 5);
	assert_int_equal(label_table_next(table, 0), 16);
	assert_int_equal(label_table_next(table, 17), 511);
	assert_int_equal(label_table_next(table, 511), 512);
	assert_int_equal(label_table_next(table, 512), LABEL_COUNT - 1);
	assert_int_equal(label_table_next(table, LABEL_COUNT - 1), LABEL_COUNT);
	assert_int_equal(clear(511), 0);
	assert_int_equal(clear(511), -ENOENT);
	assert_int_equal(path_list_refs(lists, list[4]), 1);
	assert_int_equal(word(511), 0);
	assert_int_equal(label_table_count(table), 4);
}

/* RFC 3032 2.1: labels 0 to 15 are reserved. */
static void
test_refused(void **state)
{
	struct label_entry e = {.op = LABEL_POP_FORWARD, .list = list[0]};

	(void)state;
	for (uint32_t label = 0; label < LABEL_FIRST; label++)
		assert_int_equal(set(label, e), -EINVAL);
	assert_int_equal(set(LABEL_COUNT, e), -EINVAL);
	assert_int_equal(set(100, (struct label_entry){.op = LABEL_UNKNOWN}), -EINVAL);
	assert_int_equal(set(100, (struct label_entry){.op = LABEL_SWAP}), -EINVAL);
	assert_int_equal(set(100,
				 (struct label_entry){
					 .op = LABEL_SWAP, .list = list[0], .out = LABEL_COUNT}),
		-EINVAL);
	assert_int_equal(
		set(100, (struct label_entry){.op = LABEL_SWAP, .list = {PATH_LIST_MAX}}), -EINVAL);
	assert_int_equal(clear(100), -ENOENT);
	assert_int_equal(clear(LABEL_COUNT), -ENOENT);
	assert_false(label_table_get(table, LABEL_COUNT, &e));
	assert_int_equal(label_table_count(table), 0);
	assert_int_equal(label_table_next(table, 0), LABEL_COUNT);
}

/* Few labels take few pages, and labels that return use the pages again. */
static void
test_memory(void **state)
{
	size_t before = arena_bytes(arena);

	(void)state;
	assert_true(label_table_bytes(table) <= 24 * 1024);
	for (unsigned round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < 1000; i++)
			assert_int_equal(set(16 + i, (struct label_entry){.op = LABEL_POP_INSTANCE,
							     .vrf = {(uint16_t)i}}),
				0);
		assert_int_equal(arena_bytes(arena) - before, 2 * sizeof(struct label_page));
		for (uint32_t i = 0; i < 1000; i++)
			assert_int_equal(clear(16 + i), 0);
	}
	assert_true(label_table_bytes(table) <= 32 * 1024);
}

/* Random changes against an array of the entries. */
static void
test_random(void **state)
{
	struct rng seed = rng_seeded(3);
	struct label_entry *model = calloc(LABEL_COUNT, sizeof(*model));
	uint32_t count = 0;

	(void)state;
	role_enter_fib();
	assert_non_null(model);
	for (unsigned step = 0; step < 200000 / SCALE; step++) {
		uint32_t label = rng_below(&seed, 8) ? 16 + rng_below(&seed, 2000)
						     : 16 + rng_below(&seed, LABEL_COUNT - 16);
		struct label_entry *m = &model[label];
		uint32_t ask[70];
		uint64_t found[70];

		if (rng_below(&seed, 3) == 0) {
			assert_int_equal(clear(label), m->op != LABEL_UNKNOWN ? 0 : -ENOENT);
			count -= m->op != LABEL_UNKNOWN;
			*m = (struct label_entry){.op = LABEL_UNKNOWN};
		} else {
			count += m->op == LABEL_UNKNOWN;
			*m = (struct label_entry){.op = (enum label_op)(1 + rng_below(&seed, 4))};
			if (m->op == LABEL_POP_INSTANCE)
				m->vrf.v = (uint16_t)rng_below(&seed, 65536);
			else
				m->list = list[rng_below(&seed, LISTS)];
			if (m->op >= LABEL_SWAP)
				m->out = rng_below(&seed, LABEL_COUNT);
			assert_int_equal(set(label, *m), 0);
		}
		ask[0] = label;
		for (unsigned i = 1; i < 70; i++)
			ask[i] = rng_below(&seed, 4) ? 16 + rng_below(&seed, 2000)
						     : rng_below(&seed, LABEL_COUNT);
		label_lookup(label_reader(table), &BOUNDS_ALL, ask, found, 70);
		for (unsigned i = 0; i < 70; i++) {
			m = &model[ask[i]];
			assert_int_equal(label_word_op(found[i]), m->op);
			assert_int_equal(label_word_target(found[i]),
				m->op == LABEL_POP_INSTANCE ? m->vrf.v : m->list.v);
			assert_int_equal(label_word_out(found[i]), m->out);
		}
		assert_int_equal(label_table_count(table), count);
	}
	for (uint32_t label = label_table_next(table, 0); label < LABEL_COUNT;
		label = label_table_next(table, label)) {
		assert_int_not_equal(model[label].op, LABEL_UNKNOWN);
		count--;
	}
	assert_int_equal(count, 0);
	free(model);
}

/*
 * The writer changes labels, and takes path lists out of use, while readers look up. A reader sees
 * only words that were set, whose list names an adjacency chosen for this label.
 */
static struct {
	_Atomic bool stop;
	_Atomic unsigned looking;
} race;

static void *
race_main(void *arg)
{
	struct rng seed = {(uintptr_t)arg};
	uintptr_t bursts = 0;
	unsigned id;

	if (qsbr_register(workers, &id) != 0)
		return NULL;
	qsbr_online(workers, id);
	while (!atomic_load_explicit(&race.stop, memory_order_relaxed)) {
		uint32_t ask[32];
		uint64_t found[32];

		for (unsigned i = 0; i < 32; i++)
			ask[i] = 16 + rng_below(&seed, 4096);
		label_lookup(label_reader(table), &BOUNDS_ALL, ask, found, 32);
		for (unsigned i = 0; i < 32; i++) {
			const struct path_list *l;

			if (found[i] == 0)
				continue;
			l = &path_lists_array(lists)[label_word_target(found[i])];
			if (label_word_op(found[i]) != LABEL_SWAP ||
				label_word_out(found[i]) != ask[i] ||
				l->path[0].label != ask[i] % 64)
				return NULL;
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
test_beside_readers(void **state)
{
	struct rng seed = rng_seeded(9);
	struct ip_addr addr = addr_from_v4(0xc0000201);
	struct next_hop_id hop;
	pthread_t reader[2];

	(void)state;
	role_enter_fib();
	assert_int_equal(next_hop_get(lists, VRF_DEFAULT, &addr, 0, &hop), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			pthread_create(&reader[i], NULL, race_main, (void *)(uintptr_t)(i + 1)), 0);
	/* on a busy machine the readers start late */
	for (unsigned n = 0; n < 100000 / SCALE || atomic_load(&race.looking) < 2; n++) {
		uint32_t label = 16 + rng_below(&seed, 4096);
		struct path path = {.next_hop = hop, .label = label % 64};
		struct label_entry e = {.op = LABEL_SWAP, .out = label};

		if (rng_below(&seed, 2)) {
			(void)clear(label);
		} else {
			/* the label has the only reference: cleared labels free the list */
			assert_int_equal(path_list_get(lists, PATH_LIST_FORWARD, PORT_NONE, &path,
						 1, &e.list),
				0);
			assert_int_equal(set(label, e), 0);
			path_list_unref(lists, e.list);
		}
		path_lists_reclaim(lists);
	}
	atomic_store_explicit(&race.stop, true, memory_order_relaxed);
	for (unsigned i = 0; i < 2; i++) {
		void *bursts;

		assert_int_equal(pthread_join(reader[i], &bursts), 0);
		assert_non_null(bursts);
	}
	next_hop_unref(lists, hop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		one_thread_test_in(test_actions, setup, teardown),
		one_thread_test_in(test_refused, setup, teardown),
		one_thread_test_in(test_memory, setup, teardown),
		one_thread_test_in(test_random, setup, teardown),
		cmocka_unit_test_setup_teardown(test_beside_readers, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
