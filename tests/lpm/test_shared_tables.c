/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/shared_tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static _Atomic uint64_t words[NEXT_HOP_MAX];
static struct adjacency adjacencies[ADJACENCY_MAX];
static uint32_t lost[NEXT_HOP_MAX];

static uint64_t
word(enum next_hop_state state, uint32_t adjacency)
{
	return (uint64_t)state << 32 | adjacency;
}

/* The writer has ended: a lost link changes its own next hops, and its return restores them. */
static void
links_without_writer(void **state)
{
	const uint64_t first = word(NEXT_HOP_UP, 7), second = word(NEXT_HOP_UP, 8),
		       unresolved = word(NEXT_HOP_UNRESOLVED, 0), down = word(NEXT_HOP_DOWN, 0);

	(void)state;
	adjacencies[7].port = 4;
	adjacencies[8].port = 5;
	words[1] = words[NEXT_HOP_MAX - 1] = first;
	words[2] = second;
	words[3] = unresolved;
	words[4] = word(NEXT_HOP_UP, ADJACENCY_MAX); /* no adjacency */
	assert_int_equal(next_hops_lose(words, adjacencies, 4, lost), 2);
	assert_int_equal(words[1], down);
	assert_int_equal(words[NEXT_HOP_MAX - 1], down);
	assert_int_equal(words[2], second);
	assert_int_equal(words[3], unresolved);
	assert_int_equal(next_hops_lose(words, adjacencies, 4, lost), 0);
	assert_int_equal(next_hops_restore(words, adjacencies, 5, lost), 0);
	assert_int_equal(next_hops_restore(words, adjacencies, 4, lost), 2);
	assert_int_equal(words[1], first);
	assert_int_equal(words[NEXT_HOP_MAX - 1], first);
	assert_int_equal(words[3], unresolved);
	assert_int_equal(next_hops_restore(words, adjacencies, 4, lost), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(links_without_writer)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
