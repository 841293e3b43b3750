/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/slab_impl.h"

#include "lpm/base/arena.h"
#include "tests/rib/rib_test.h"

#define BLOCKS 5000
#define OPERATIONS 300000
#define SIZE_MOST (SLAB_BLOCK_MAX + 100)

struct block {
	uint8_t *p; /* NULL: free */
	size_t size;
	uint8_t mark; /* the value of all octets */
};

static void
block_check(const struct block *b)
{
	for (size_t i = 0; i < b->size; i++)
		assert_int_equal(b->p[i], b->mark);
}

/* Every octet of every block stays as written, whatever else is allocated and freed. */
static void
blocks_keep_their_octets(void **state)
{
	static struct block block[BLOCKS];
	uint64_t random = 5;
	struct rib_test base;
	struct slab slab;
	size_t start, most = 0, wanted = 0;

	rib_test_begin(&base);
	start = arena_bytes(base.arena);
	slab_init(&slab, base.arena);
	for (unsigned n = 0; n < OPERATIONS; n++) {
		struct block *b = &block[random_below(&random, BLOCKS)];

		if (b->p != NULL) {
			block_check(b);
			slab_free(&slab, b->p, b->size);
			wanted -= b->size;
			b->p = NULL;
			continue;
		}
		b->size = random_below(&random, random_below(&random, 10) == 0 ? SIZE_MOST : 200);
		b->mark = (uint8_t)random_next(&random);
		b->p = slab_alloc(&slab, b->size);
		assert_non_null(b->p);
		assert_int_equal((uintptr_t)b->p % 8, 0);
		memset(b->p, b->mark, b->size);
		wanted += b->size;
		if (arena_bytes(base.arena) - start > most)
			most = arena_bytes(base.arena) - start;
	}
	print_message("%zu octets wanted, %zu taken at most\n", wanted, most);
	for (unsigned i = 0; i < BLOCKS; i++) {
		if (block[i].p == NULL)
			continue;
		block_check(&block[i]);
		slab_free(&slab, block[i].p, block[i].size);
		block[i].p = NULL;
	}
	assert_int_equal(arena_bytes(base.arena), start);
	rib_test_end(&base);
}

/* Many blocks of one size take that size, rounded to 8, and little more. */
static void
little_is_lost(void **state)
{
	static void *p[20000];
	struct rib_test base;
	struct slab slab;

	rib_test_begin(&base);
	slab_init(&slab, base.arena);
	for (size_t size = 16; size <= SLAB_BLOCK_MAX; size += 31) {
		size_t start = arena_bytes(base.arena), taken;

		for (unsigned i = 0; i < 20000; i++) {
			p[i] = slab_alloc(&slab, size);
			assert_non_null(p[i]);
		}
		taken = arena_bytes(base.arena) - start;
		assert_true(taken < 20000 * ((size + 7) / 8 * 8) * 104 / 100 + 32768);
		for (unsigned i = 0; i < 20000; i++)
			slab_free(&slab, p[(uint64_t)i * 7919 % 20000], size);
		assert_int_equal(arena_bytes(base.arena), start);
	}
	rib_test_end(&base);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_keep_their_octets),
		cmocka_unit_test(little_is_lost),
	};

	role_enter_rib();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
