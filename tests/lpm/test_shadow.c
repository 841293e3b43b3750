/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/shadow.h"

#include "tests/lpm/lpm_test.h"
#include "tests/lpm/shadow_model.h"

/* Two varying bits each at /8, /16 and /30. */
static struct ip_addr
universe(unsigned i)
{
	return addr_from_v4(10u << 24 | (i >> 4 & 3) << 22 | (i >> 2 & 3) << 14 | (i & 3));
}

static void
test_against_model(void **state)
{
	static struct model m = {.afi = AFI_IPV4,
		.lengths = 33,
		.universe = universe,
		.steps = 400000,
		.growth = 12,
		.shrinking = 4};

	(void)state;
	model_run(&m);
}

static void
insert_all(struct shadow *s, const struct v4_route *r, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct prefix p = v4_prefix(r[i]);

		assert_int_equal(shadow_set(s, &p, (struct path_list_id){1 + i % 1000}, false), 0);
	}
}

static void
remove_all(struct shadow *s, const struct v4_route *r, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct prefix p = v4_prefix(r[i]);

		assert_int_equal(shadow_remove(s, &p), 0);
	}
}

/* At most 24 bytes per prefix, regardless of the order of insertions and removals. */
static void
test_bytes(void **state)
{
	uint64_t seed = 2;
	size_t count;
	struct v4_route *r = v4_table(1200000 / SCALE, &count);
	struct shadow *s;

	(void)state;
	assert_int_equal(shadow_create(arena, AFI_IPV4, &s), 0);
	insert_all(s, r, count);
	check_bytes(s, 24, "in order");
	shadow_clear(s);
	for (size_t i = 0; i < count / 2; i++) {
		struct v4_route t = r[i];

		r[i] = r[count - 1 - i];
		r[count - 1 - i] = t;
	}
	insert_all(s, r, count);
	check_bytes(s, 24, "in reverse order");
	shadow_clear(s);
	v4_shuffle(r, count, &seed);
	insert_all(s, r, count);
	check_bytes(s, 24, "at random");
	for (size_t left = count; left > 1000; left = left * 9 / 10) {
		size_t keep = left * 9 / 10;

		remove_all(s, r + keep, left - keep);
		assert_int_equal(shadow_count(s), keep);
		assert_true(shadow_bytes(s) <= 24 * keep + 8192);
		count = keep;
	}
	check_bytes(s, 24, "thinned at random");
	remove_all(s, r, count);
	assert_int_equal(shadow_count(s), 0);
	assert_true(shadow_bytes(s) < 8192);
	shadow_destroy(s);
	free(r);
}

/* A seek finds the first entry at or after the key; runs and single steps give equal entries. */
static void
test_seek(void **state)
{
	uint64_t seed = 3;
	size_t count;
	struct v4_route *r = v4_table(100000 / SCALE, &count);
	struct shadow *s;
	struct shadow_cursor c;
	const uint64_t *word;
	size_t at = 0;
	unsigned run;

	(void)state;
	assert_int_equal(shadow_create(arena, AFI_NONE, &s), -EAFNOSUPPORT);
	assert_int_equal(shadow_create(arena, AFI_IPV4, &s), 0);
	v4_shuffle(r, count, &seed);
	insert_all(s, r, count);
	count = v4_unique(r, count);
	for (unsigned i = 0; i < 100000 / SCALE; i++) {
		size_t k = rnd_below(&seed, (uint32_t)count);
		struct v4_route from = r[k];
		struct shadow_entry e;
		struct prefix p;

		/*
		 * a length one greater gives the next entry (33 is after all prefixes of the
		 * address)
		 */
		if (i & 1) {
			from.len++;
			k++;
		}
		p = (struct prefix){.afi = AFI_IPV4, .len = from.len};
		memcpy(p.b,
			(uint8_t[]){from.addr >> 24, from.addr >> 16, from.addr >> 8, from.addr},
			4);
		shadow_seek(s, &p, &c);
		assert_int_equal(shadow_next(&c, &e), k < count);
		if (k < count)
			assert_int_equal(prefix_v4(&e.prefix), r[k].addr);
	}
	shadow_seek(s, NULL, &c);
	while ((run = shadow_v4_run(&c, &word)) > 0) {
		for (unsigned i = 0; i < run; i++, at++) {
			assert_int_equal(shadow_v4_addr(word[i]), r[at].addr);
			assert_int_equal(shadow_v4_len(word[i]), r[at].len);
		}
	}
	assert_int_equal(at, count);
	shadow_destroy(s);
	free(r);
}

/* Seeks started together end where single seeks end, also in an empty shadow. */
static void
test_seeks(void **state)
{
	struct shadow_cursor alone, c[SHADOW_SEEKS];
	uint64_t seed = 4, key[SHADOW_SEEKS];
	struct shadow *s;
	size_t count;
	struct v4_route *r = v4_table(100000 / SCALE, &count);

	(void)state;
	v4_shuffle(r, count, &seed);
	assert_int_equal(shadow_create(arena, AFI_IPV4, &s), 0);
	for (size_t filled = 0; filled < count; filled += filled + 7) {
		for (unsigned round = 0; round < 1000; round++) {
			unsigned n = 1 + rnd_below(&seed, SHADOW_SEEKS);

			for (unsigned i = 0; i < n; i++) {
				struct v4_route *to = &r[rnd_below(&seed, (uint32_t)count)];

				key[i] = shadow_v4_key(to->addr, to->len + rnd_below(&seed, 2));
			}
			shadow_v4_seek_begin(s, n, key, c);
			for (unsigned i = 0; i < n; i++) {
				shadow_v4_seek_end(key[i], &c[i]);
				shadow_v4_seek(
					s, shadow_v4_addr(key[i]), shadow_v4_len(key[i]), &alone);
				assert_ptr_equal(c[i].leaf, alone.leaf);
				assert_int_equal(c[i].at, alone.at);
				assert_int_equal(c[i].wide, alone.wide);
			}
		}
		insert_all(s, r, 2 * filled + 7 < count ? 2 * filled + 7 : count);
	}
	shadow_destroy(s);
	free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_against_model, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_seek, setup, teardown),
		cmocka_unit_test_setup_teardown(test_seeks, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
