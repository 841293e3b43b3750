/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/adj_rib_out.h"

#include "tests/rib/rib_test.h"

#define DESTS 40000u
#define SETS 50u

struct fixture {
	struct rib_test t;
	struct attr_table *sets;
	struct adj_rib_out *out;
	struct attr_id id[SETS + 1]; /* [0]: none */
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
set(struct fixture *f, uint32_t dest, unsigned i)
{
	bool changed;

	if (i != 0)
		attr_ref(f->sets, f->id[i], 1);
	assert_int_equal(adj_rib_out_set(f->out, (struct dest_id){dest}, f->id[i], &changed), 0);
	return changed;
}

static void
test_empty(void **state)
{
	struct fixture f;

	begin(&f);
	assert_int_equal(adj_rib_out_count(f.out), 0);
	assert_int_equal(adj_rib_out_get(f.out, (struct dest_id){0}).v, 0);
	assert_int_equal(adj_rib_out_get(f.out, (struct dest_id){UINT32_MAX - 1}).v, 0);
	assert_false(set(&f, 77, 0));
	assert_int_equal(adj_rib_out_count(f.out), 0);
	adj_rib_out_destroy(f.out);
	end(&f);
}

/* Random sets and withdrawals beside an array; and each reference is given back. */
static void
test_random(void **state)
{
	static unsigned model[DESTS];
	struct fixture f;
	uint64_t seed = 1, count = 0;

	begin(&f);
	memset(model, 0, sizeof(model));
	for (unsigned n = 0; n < 300000; n++) {
		uint32_t d = random_below(&seed, DESTS);
		unsigned i = random_below(&seed, SETS + 1);

		assert_int_equal(set(&f, d, i), model[d] != i);
		count += (i != 0);
		count -= (model[d] != 0);
		model[d] = i;
		assert_int_equal(adj_rib_out_count(f.out), count);
	}
	for (uint32_t d = 0; d < DESTS; d++)
		assert_int_equal(adj_rib_out_get(f.out, (struct dest_id){d}).v, f.id[model[d]].v);
	assert_true(adj_rib_out_dismantle(f.out)); /* in pieces, and the rest at once */
	adj_rib_out_destroy(f.out);
	assert_int_equal(attr_table_count(f.sets), SETS); /* ours */
	end(&f);
}

/* The last entry of a set takes it along. */
static void
test_references(void **state)
{
	struct fixture f;
	struct attr_set a = set_of(1000);
	struct attr_id id;
	bool changed;

	begin(&f);
	assert_int_equal(attr_intern(f.sets, &a, 1, &id), 0);
	assert_int_equal(adj_rib_out_set(f.out, (struct dest_id){5}, id, &changed), 0);
	assert_int_equal(attr_table_count(f.sets), SETS + 1);
	attr_ref(f.sets, id, 1);
	assert_int_equal(adj_rib_out_set(f.out, (struct dest_id){5}, id, &changed), 0);
	assert_false(changed);
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
