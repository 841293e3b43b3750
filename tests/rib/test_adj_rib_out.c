/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/adj_rib_out.h"

#include "tests/rib/rib_test.h"

#define DESTS 40000u
#define SETS 50u

struct fixture {
	struct rib_test t;
	struct attr_table *sets;
	struct adj_rib_out *out;
	struct attr_id id[SETS + 1]; /* [0]: no set */
};

static struct attr_set
set_of(uint32_t med)
{
	struct attr_set a;

	memset(&a, 0, sizeof(a));
	a.has = ATTR_HAS_MED;
	a.med = med;
	return a;
}

static void
begin(struct fixture *f)
{
	rib_test_begin(&f->t);
	assert_int_equal(attr_table_create(f->t.arena, f->t.readers, &f->sets), 0);
	assert_int_equal(adj_rib_out_create(f->t.arena, f->sets, &f->out), 0);
	f->id[0].v = 0;
	for (unsigned i = 1; i <= SETS; i++) {
		struct attr_set a = set_of(i);

		assert_int_equal(attr_intern(f->sets, &a, 1, &f->id[i]), 0);
	}
}

static void
end(struct fixture *f)
{
	for (unsigned i = 1; i <= SETS; i++)
		attr_unref(f->sets, f->id[i]);
	attr_table_destroy(f->sets);
	rib_test_end(&f->t);
}

static bool
set_from(struct fixture *f, uint32_t dest, unsigned i, uint16_t source)
{
	struct adj_route r = {f->id[i], {i != 0 ? source : 0}};
	struct adj_pair_id old;
	int changed;

	if (i != 0)
		attr_ref(f->sets, f->id[i], 1);
	changed = adj_rib_out_set(f->out, (struct dest_id){dest}, r, &old);
	assert_in_range(changed, 0, 1);
	if (changed)
		adj_pair_put(f->out, old);
	return changed;
}

static bool
set(struct fixture *f, uint32_t dest, unsigned i)
{
	return set_from(f, dest, i, 0);
}

static void
test_empty(void **state)
{
	struct fixture f;

	begin(&f);
	assert_int_equal(adj_rib_out_count(f.out), 0);
	assert_int_equal(adj_rib_out_get(f.out, (struct dest_id){0}).set.v, 0);
	assert_int_equal(adj_rib_out_get(f.out, (struct dest_id){UINT32_MAX - 1}).set.v, 0);
	assert_false(set(&f, 77, 0));
	assert_int_equal(adj_rib_out_count(f.out), 0);
	adj_rib_out_destroy(f.out);
	end(&f);
}

#define SOURCES 40u

/* Random routes and withdrawals against an array; counts by source; all references are returned. */
static void
test_random(void **state)
{
	static struct {
		unsigned set;
		uint16_t source;
	} model[DESTS];
	struct fixture f;
	uint64_t seed = 1, count = 0, from[SOURCES] = {0};

	begin(&f);
	memset(model, 0, sizeof(model));
	for (unsigned n = 0; n < 300000; n++) {
		uint32_t d = random_below(&seed, DESTS);
		unsigned i = random_below(&seed, SETS + 1);
		uint16_t source = (uint16_t)(i != 0 ? random_below(&seed, SOURCES) : 0);

		assert_int_equal(set_from(&f, d == 7 ? DEST_NONE : d, i, source),
			model[d].set != i || model[d].source != source);
		count += (i != 0);
		count -= (model[d].set != 0);
		from[source] += (i != 0);
		from[model[d].source] -= (model[d].set != 0);
		model[d].set = i;
		model[d].source = source;
		assert_int_equal(adj_rib_out_count(f.out), count);
		assert_int_equal(
			adj_rib_out_count_from(f.out, (struct peer_id){source}), from[source]);
	}
	assert_true(adj_rib_out_pairs(f.out) > SETS * SOURCES * 9 / 10);
	for (uint32_t d = 0; d < DESTS; d++) {
		struct adj_route r =
			adj_rib_out_get(f.out, (struct dest_id){d == 7 ? DEST_NONE : d});

		assert_int_equal(r.set.v, f.id[model[d].set].v);
		assert_int_equal(r.source.v, model[d].source);
	}
	/* dismantled in pieces, then destroyed at once */
	assert_true(adj_rib_out_dismantle(f.out));
	adj_rib_out_destroy(f.out);
	assert_int_equal(attr_table_count(f.sets), SETS); /* only our references are left */
	end(&f);
}

/* A held pair stays unchanged, whatever happens to its entry. */
static void
test_hold(void **state)
{
	struct adj_pair_id held;
	struct fixture f;

	begin(&f);
	assert_true(set_from(&f, 3, 5, 9));
	held = adj_rib_out_hold(f.out, (struct dest_id){3});
	assert_true(set_from(&f, 3, 0, 0));
	assert_int_equal(adj_pair_get(f.out, held).set.v, f.id[5].v);
	assert_int_equal(adj_pair_get(f.out, held).source.v, 9);
	adj_pair_put(f.out, held);
	assert_int_equal(adj_rib_out_pairs(f.out), 0);
	assert_int_equal(adj_rib_out_hold(f.out, (struct dest_id){3}).v, 0);
	adj_rib_out_destroy(f.out);
	end(&f);
}

static void
test_copy(void **state)
{
	struct adj_rib_out *copy;
	struct fixture f;
	uint64_t seed = 4;
	uint32_t at = 0;
	int more;

	begin(&f);
	assert_int_equal(adj_rib_out_create(f.t.arena, f.sets, &copy), 0);
	for (unsigned n = 0; n < DESTS; n++)
		set_from(&f, random_below(&seed, DESTS), random_below(&seed, SETS + 1),
			(uint16_t)random_below(&seed, SOURCES));
	set_from(&f, DEST_NONE, 2, 3);
	while ((more = adj_rib_out_copy(copy, f.out, &at)) == 1)
		;
	assert_int_equal(more, 0);
	assert_int_equal(adj_rib_out_count(copy), adj_rib_out_count(f.out));
	assert_int_equal(adj_rib_out_pairs(copy), adj_rib_out_pairs(f.out));
	for (uint32_t d = DEST_NONE; d != DESTS; d++) {
		struct adj_route a = adj_rib_out_get(f.out, (struct dest_id){d});
		struct adj_route b = adj_rib_out_get(copy, (struct dest_id){d});

		assert_int_equal(a.set.v, b.set.v);
		assert_int_equal(a.source.v, b.source.v);
	}
	adj_rib_out_destroy(f.out);
	adj_rib_out_destroy(copy);
	end(&f);
}

/* A set goes with its last entry. */
static void
test_references(void **state)
{
	struct fixture f;
	struct attr_set a = set_of(1000);
	struct adj_route r = {.source = {1}};
	struct adj_pair_id old;

	begin(&f);
	assert_int_equal(attr_intern(f.sets, &a, 1, &r.set), 0);
	assert_int_equal(adj_rib_out_set(f.out, (struct dest_id){5}, r, &old), 1);
	assert_int_equal(old.v, 0);
	assert_int_equal(attr_table_count(f.sets), SETS + 1);
	attr_ref(f.sets, r.set, 1);
	assert_int_equal(adj_rib_out_set(f.out, (struct dest_id){5}, r, &old), 0);
	assert_true(set(&f, 5, 3));
	assert_int_equal(attr_table_count(f.sets), SETS);
	adj_rib_out_destroy(f.out);
	end(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_references),
		cmocka_unit_test(test_hold),
		cmocka_unit_test(test_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
