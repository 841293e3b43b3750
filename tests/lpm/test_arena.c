/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/base/arena.h"
#include "lpm/base/inspect.h"

#include "lpm/base/ring.h"
#include "tests/lpm/arena_rig.h"
#include "tests/lpm/rng.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void
counts_what_is_held(void **state)
{
	struct arena *a = *state;
	void *p[1000];
	size_t asked = 0;

	assert_string_equal(arena_name(a), "test");
	assert_int_equal(arena_bytes(a), 0);
	for (unsigned i = 0; i < 1000; i++) {
		p[i] = arena_alloc(a, i);
		assert_non_null(p[i]);
		assert_int_equal((uintptr_t)p[i] % 16, 0);
		memset(p[i], 0xa5, i);
		asked += i;
	}
	assert_true(arena_bytes(a) >= asked);
	assert_true(arena_bytes(a) <= asked * 5 / 4 + 1000 * 32);
	for (unsigned i = 0; i < 1000; i += 2)
		arena_free(a, p[i]);
	assert_true(arena_bytes(a) <= asked * 3 / 4);
	for (unsigned i = 1; i < 1000; i += 2)
		arena_free(a, p[i]);
	arena_free(a, NULL);
}

static void
calloc_clears_used_memory(void **state)
{
	static const uint8_t zero[200];
	struct arena *a = *state;

	for (unsigned i = 0; i < 100; i++) {
		uint8_t *p = i % 2 == 0 ? arena_calloc(a, sizeof(zero))
					: arena_calloc_touched(a, sizeof(zero));

		assert_memory_equal(p, zero, sizeof(zero));
		memset(p, 0xff, sizeof(zero));
		arena_free(a, p);
	}
}

/* Also in memory that was used before; large blocks begin at a page. */
static void
touched_memory_is_clear(void **state)
{
	struct arena *a = *state;

	for (size_t size = 100; size < 1u << 20; size = size * 3 + 24) {
		for (unsigned round = 0; round < 2; round++) {
			uint8_t *p = arena_calloc_touched(a, size);

			assert_non_null(p);
			for (size_t i = 0; i < size; i++)
				assert_int_equal(p[i], 0);
			if (size >= 4 * ARENA_PAGE)
				assert_int_equal((uintptr_t)p % ARENA_PAGE, 0);
			memset(p, 0xa5, size);
			arena_free(a, p);
		}
	}
}

static void
populated_memory_keeps_its_content(void **state)
{
	const size_t size = 10 * ARENA_PAGE + 77;
	struct arena *a = *state;
	uint8_t *p = arena_alloc(a, size);

	assert_non_null(p);
	memset(p, 0x5a, size / 2);
	arena_populate(p, size);
	for (size_t i = 0; i < size / 2; i++)
		assert_int_equal(p[i], 0x5a);
	memset(p, 0, size);
	arena_free(a, p);
}

static void
aligned_as_asked(void **state)
{
	struct arena *a = *state;

	for (size_t align = 1; align <= 65536; align *= 2) {
		uint8_t *p = arena_alloc_aligned(a, align, 100);
		uint8_t *none = arena_alloc_aligned(a, align, 0);

		assert_non_null(p);
		assert_non_null(none);
		assert_int_equal((uintptr_t)p % align, 0);
		memset(p, 1, align > 100 ? align : 100);
		assert_true(arena_bytes(a) >= (align > 100 ? align : 100));
		arena_free(a, p);
		arena_free(a, none);
	}
}

static void
realloc_keeps_content_and_count(void **state)
{
	struct arena *a = *state;
	uint8_t *p = NULL;

	for (size_t n = 1; n < 300000; n = n * 3 / 2 + 1) {
		p = arena_realloc(a, p, n);
		assert_non_null(p);
		p[n - 1] = (uint8_t)n;
		assert_true(arena_bytes(a) >= n);
		assert_true(arena_bytes(a) <= n * 3 / 2 + 64);
		assert_int_equal(p[0], 1);
	}
	p = arena_realloc(a, p, 0);
	assert_non_null(p);
	assert_true(arena_bytes(a) < 64);
	arena_free(a, p);
}

static void
too_large_is_null(void **state)
{
#ifdef KEEL_SANITIZED
	skip(); /* a sanitizer's malloc aborts instead */
#else
	struct arena *a = *state;
	void *p = arena_alloc(a, 100);

	assert_null(arena_alloc(a, SIZE_MAX - 7));
	assert_null(arena_alloc(a, SIZE_MAX / 4));
	assert_null(arena_calloc(a, SIZE_MAX / 4));
	assert_null(arena_alloc_aligned(a, 4096, SIZE_MAX / 2 + 1));
	assert_null(arena_realloc(a, p, SIZE_MAX / 4));
	assert_true(arena_bytes(a) < 200);
	arena_free(a, p);
#endif
}

#ifdef KEEL_JEMALLOC
/* True if the mapping with `p` has this flag in /proc/self/smaps. */
static bool
mapping_has(const void *p, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long from, to;
	bool in = false, has = false;
	char line[512];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			in = (uintptr_t)p >= from && (uintptr_t)p < to;
		else if (in && strncmp(line, "VmFlags:", 8) == 0)
			has = strstr(line, flag) != NULL;
	}
	fclose(f);
	return has;
}
#endif

static void
large_memory_may_be_huge_pages(void **state)
{
#ifndef KEEL_JEMALLOC
	skip(); /* with malloc, arena_use_huge() does nothing */
#else
	struct arena *plain = *state, *large;
	char *p, *q;

	if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) != 0)
		skip(); /* the kernel has no transparent huge pages */
	assert_int_equal(arena_create("large", &large), 0);
	arena_use_huge(large);
	arena_use_huge(large); /* repeating changes nothing */
	p = arena_alloc(large, 8 << 20);
	q = arena_alloc(plain, 8 << 20);
	assert_non_null(p);
	assert_non_null(q);
	memset(p, 1, 8 << 20);
	assert_true(mapping_has(p, " hg"));
	assert_false(mapping_has(q, " hg"));
	arena_free(plain, q);
	p = arena_realloc(large, p, 32 << 20);
	assert_non_null(p);
	assert_int_equal(p[(8 << 20) - 1], 1);
	for (unsigned i = 0; i < 10000; i++)
		arena_free(large, arena_alloc(large, 16 + i));
	arena_free(large, p);
	arena_trim(large);
	arena_destroy(large);
#endif
}

#define PASSED 50000

struct passing {
	struct arena *arena;
	struct ring *ring;
	pthread_t thread;
};

/*
 * Allocates blocks that the second thread frees: one thread's count rises, the count of the second
 * falls below zero.
 */
static void *
allocate_and_pass(void *arg)
{
	struct passing *c = arg;
	struct rng rng = {7};

	for (unsigned i = 0; i < PASSED; i++) {
		void *own = arena_alloc(c->arena, rng_below(&rng, 300));
		uint32_t *p = arena_alloc(c->arena, 4 + rng_below(&rng, 200));

		*p = i;
		arena_free(c->arena, own);
		while (!ring_push(c->ring, p))
			sched_yield();
	}
	return NULL;
}

static void
freed_by_other_threads(void **state)
{
	struct passing c[2];

	for (unsigned k = 0; k < 2; k++) {
		c[k].arena = *state;
		assert_int_equal(ring_create(*state, "pass", 255, &c[k].ring), 0);
		assert_int_equal(pthread_create(&c[k].thread, NULL, allocate_and_pass, &c[k]), 0);
	}
	for (unsigned i = 0; i < 2 * PASSED; i++) {
		uint32_t *p;

		while ((p = ring_pop(c[i % 2].ring)) == NULL)
			sched_yield();
		assert_int_equal(*p, i / 2);
		arena_free(*state, p);
	}
	for (unsigned k = 0; k < 2; k++) {
		pthread_join(c[k].thread, NULL);
		ring_destroy(c[k].ring);
	}
}

static void *
leave_one(void *arg)
{
	return arena_alloc(arg, 1000);
}

static void
count_outlives_its_thread(void **state)
{
	struct arena *a = *state;
	pthread_t t;
	void *p;

	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(pthread_create(&t, NULL, leave_one, a), 0);
		pthread_join(t, &p);
		assert_true(arena_bytes(a) >= 1000);
		arena_free(a, p);
		assert_int_equal(arena_bytes(a), 0);
	}
}

/* A thread that outlives an arena must not use the old cache for a new arena in the same slot. */
static void
slots_are_reused(void **state)
{
	for (unsigned i = 0; i < 300; i++) {
		struct arena *a;
		void *p;

		assert_int_equal(arena_create("short", &a), 0);
		assert_int_equal(arena_bytes(a), 0);
		p = arena_alloc(a, 100 + i);
		assert_true(arena_bytes(a) >= 100 + i);
		arena_free(a, p);
		arena_destroy(a);
	}
}

static void
many_arenas_end_in_enomem(void **state)
{
	struct arena *a[1000];
	unsigned n = 0;
	int err;

	while ((err = arena_create("many", &a[n])) == 0)
		assert_true(++n < 1000);
	assert_int_equal(err, -ENOMEM);
	assert_true(n >= 32);
	while (n > 0)
		arena_destroy(a[--n]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(counts_what_is_held, setup, teardown),
		cmocka_unit_test_setup_teardown(calloc_clears_used_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(touched_memory_is_clear, setup, teardown),
		cmocka_unit_test_setup_teardown(
			populated_memory_keeps_its_content, setup, teardown),
		cmocka_unit_test_setup_teardown(aligned_as_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(realloc_keeps_content_and_count, setup, teardown),
		cmocka_unit_test_setup_teardown(too_large_is_null, setup, teardown),
		cmocka_unit_test_setup_teardown(large_memory_may_be_huge_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(freed_by_other_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(count_outlives_its_thread, setup, teardown),
		cmocka_unit_test(slots_are_reused),
		cmocka_unit_test(many_arenas_end_in_enomem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
