/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory that is freed while something reaches it stops the process, whichever function frees it. */
#include "lpm/base/in_use.h"

#include "lpm/base/arena.h"
#include "lpm/base/ring.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define BLOCK 40000u /* several pages */

static struct arena *arena;

/* True if the function stops the process that calls it. */
static bool
stops(void (*fn)(char *block), char *block)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		close(STDERR_FILENO);
		fn(block);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) ? WTERMSIG(status) == SIGABRT : WEXITSTATUS(status) == 0);
	return WIFSIGNALED(status);
}

static void
by_arena_free(char *block)
{
	arena_free(arena, block);
}

static void
by_arena_release(char *block)
{
	arena_release(arena, block);
}

static void
by_arena_realloc(char *block)
{
	block = arena_realloc(arena, block, (size_t)2 * BLOCK);
	arena_free(arena, block);
}

static void
by_free(char *block)
{
	free(block);
}

static void
by_realloc(char *block)
{
	free(realloc(block, (size_t)2 * BLOCK));
}

/* In use is the octet `at` of the block; and not what is beside the block, or was in use. */
static void
check(void (*fn)(char *block), char *block, size_t at)
{
	const char *beside = block - 1;

	assert_non_null(block);
	in_use_begin(beside, IN_USE_NODE, NULL);
	in_use_begin(block + at, IN_USE_TIMER, arena);
	in_use_begin(block + at, IN_USE_WATCH, arena);
	in_use_end(block + at, IN_USE_WATCH, arena);
	in_use_end(block + at, IN_USE_WATCH, arena); /* no effect */
	in_use_end(block + at, IN_USE_TIMER, NULL); /* another owner's */
	assert_true(stops(fn, block));
	in_use_end(block + at, IN_USE_TIMER, arena);
	in_use_begin(block, IN_USE_MESSAGE, arena);
	in_use_begin(block + at, IN_USE_MESSAGE, arena);
	in_use_end_all(arena);
	assert_false(stops(fn, block));
	in_use_end(beside, IN_USE_NODE, NULL);
}

static void
test_every_way_to_free(void **state)
{
	char *small = arena_alloc(arena, 16), *large = arena_alloc(arena, BLOCK);

	check(by_arena_free, small, 15);
	check(by_arena_free, large, 0);
	check(by_arena_free, large, BLOCK / 2);
	check(by_arena_release, large, BLOCK - 1);
	check(by_arena_realloc, large, BLOCK - 1);
	arena_free(arena, small);
	arena_free(arena, large);
	small = malloc(16);
	large = malloc(BLOCK);
	check(by_free, small, 0);
	check(by_free, large, BLOCK - 1);
	check(by_realloc, large, BLOCK - 1);
	free(small);
	free(large);
}

static void
test_entries_of_rings(void **state)
{
	char *block = arena_alloc(arena, BLOCK);
	struct ring *r;

	assert_int_equal(ring_create(arena, "test", 1, &r), 0);
	assert_true(ring_push(r, block));
	assert_false(ring_push(r, block + 1)); /* full */
	assert_true(stops(by_arena_free, block));
	assert_ptr_equal(ring_pop(r), block);
	assert_false(stops(by_arena_free, block));
	assert_true(ring_push(r, block));
	ring_destroy(r);
	arena_free(arena, block);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_way_to_free),
		cmocka_unit_test(test_entries_of_rings),
	};
	int failed;

#ifndef KEEL_IN_USE
	return 77; /* a release build, or ThreadSanitizer */
#endif
	if (arena_create("test", &arena) != 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	arena_destroy(arena);
	return failed;
}
