/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/adj_rib_out.h"

#include "lpm/base/hash.h"
#include "rib/table/swap.h"
#include "tests/rib/rib_test.h"

#define DESTS 40000u
#define SETS 50u
#define TABLE ((struct table_id){3})
#define LABELS 5u

/* Of the fixture: the table has labels. */
static bool labels;

struct fixture {
	struct rib_test t;
	struct adj_records *records;
	struct adj_rib_out *out;
};

static void
begin(struct fixture *f)
{
	rib_test_begin(&f->t);
	assert_int_equal(adj_records_create(f->t.arena, &f->records), 0);
	assert_int_equal(adj_rib_out_create(f->t.arena, f->records, TABLE, labels, &f->out), 0);
}

/* All references are returned. */
static void
end(struct fixture *f)
{
	assert_int_equal(adj_records_count(f->records), 0);
	adj_records_destroy(f->records);
	rib_test_end(&f->t);
}

static struct adj_path
path_of(unsigned set, uint16_t source)
{
	return (struct adj_path){.accepted = {set}, .serial = 7, .source = {source}};
}

/* Set 0: no route. True if the route changed. */
static bool
set_label(struct fixture *f, struct adj_rib_out *out, uint32_t dest, unsigned set, uint16_t source,
	uint32_t label)
{
	struct adj_path p = path_of(set, source);
	struct adj_route r = {.label = label}, old;
	bool changed;

	if (set != 0) {
		r.edit = (uint8_t)(1 + set % ADJ_EDIT_MAX);
		assert_int_equal(adj_record_get(f->records, &p, &r.record), 0);
	}
	assert_int_equal(adj_rib_out_set(out, (struct dest_id){dest}, r, &old), 0);
	changed = old.record.v != r.record.v || old.edit != r.edit || old.label != r.label;
	adj_record_put(f->records, old.record);
	return changed;
}

static bool
set_in(struct fixture *f, struct adj_rib_out *out, uint32_t dest, unsigned set, uint16_t source)
{
	return set_label(f, out, dest, set, source, 0);
}

static bool
set_from(struct fixture *f, uint32_t dest, unsigned set, uint16_t source)
{
	return set_in(f, f->out, dest, set, source);
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
	assert_int_equal(adj_rib_out_get(f.out, (struct dest_id){0}).record.v, 0);
	assert_int_equal(adj_rib_out_get(f.out, (struct dest_id){UINT32_MAX - 1}).record.v, 0);
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
	assert_true(adj_records_count(f.records) > SETS * SOURCES * 9 / 10);
	for (uint32_t d = 0; d < DESTS; d++) {
		struct adj_route r =
			adj_rib_out_get(f.out, (struct dest_id){d == 7 ? DEST_NONE : d});

		assert_int_equal(r.record.v != 0, model[d].set != 0);
		if (r.record.v == 0)
			continue;
		assert_int_equal(adj_record_path(f.records, r.record)->accepted.v, model[d].set);
		assert_int_equal(adj_record_path(f.records, r.record)->source.v, model[d].source);
		assert_int_equal(r.edit, 1 + model[d].set % ADJ_EDIT_MAX);
	}
	/* dismantled in pieces, then destroyed at once */
	assert_true(adj_rib_out_dismantle(f.out));
	adj_rib_out_destroy(f.out);
	end(&f);
}

/* A held record stays unchanged, whatever happens to its entry. */
static void
test_hold(void **state)
{
	struct adj_route held;
	struct fixture f;

	begin(&f);
	assert_true(set_from(&f, 3, 5, 9));
	held = adj_rib_out_hold(f.out, (struct dest_id){3});
	assert_true(set_from(&f, 3, 0, 0));
	assert_int_equal(adj_record_path(f.records, held.record)->accepted.v, 5);
	assert_int_equal(adj_record_path(f.records, held.record)->source.v, 9);
	adj_record_put(f.records, held.record);
	assert_int_equal(adj_records_count(f.records), 0);
	assert_int_equal(adj_rib_out_hold(f.out, (struct dest_id){3}).record.v, 0);
	adj_rib_out_destroy(f.out);
	end(&f);
}

/* Paths that differ in one field have records of their own; a reused id of a set has another serial. */
static void
test_records(void **state)
{
	struct adj_path p[] = {{.accepted = {3}, .serial = 1, .source = {2}},
		{.accepted = {4}, .serial = 1, .source = {2}},
		{.accepted = {3}, .serial = 2, .source = {2}},
		{.accepted = {3}, .serial = 1, .source = {5}},
		{.accepted = {3}, .serial = 1, .source = {2}, .originator = 9},
		{.accepted = {3}, .serial = 1, .source = {2}, .kind = 1}};
	enum { COUNT = sizeof(p) / sizeof(p[0]) };
	struct adj_record_id id[COUNT], again;
	struct fixture f;

	begin(&f);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(adj_record_get(f.records, &p[i], &id[i]), 0);
		assert_int_equal(adj_record_likeness(f.records, id[i]), 0);
		adj_record_like(f.records, id[i], 100 + i);
	}
	assert_int_equal(adj_records_count(f.records), COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(adj_record_get(f.records, &p[i], &again), 0);
		assert_int_equal(again.v, id[i].v);
		assert_int_equal(adj_record_likeness(f.records, again), 100 + i);
		adj_record_put(f.records, again);
		adj_record_put(f.records, again);
		assert_int_equal(adj_records_count(f.records), COUNT - 1 - i);
	}
	adj_rib_out_destroy(f.out);
	end(&f);
}

#define GROUPS 7u
#define FEW 700u /* destinations, so that groups meet; more than a block of slots */

struct group_model {
	unsigned set;
	uint32_t label;
	uint16_t source;
};

static struct dest_id
few_dest(unsigned d)
{
	return (struct dest_id){d == 7 ? DEST_NONE : d * 3};
}

/* One route for many destinations: only those without a route get the route. */
static void
add_many(struct fixture *f, struct adj_rib_out *out, struct group_model *model,
	const struct group_model *now, uint64_t *seed)
{
	struct adj_path p = path_of(now->set, now->source);
	unsigned from = random_below(seed, FEW), n = 1 + random_below(seed, FEW - from), count = 0;
	struct adj_route r = {.edit = (uint8_t)(1 + now->set % ADJ_EDIT_MAX)};
	struct dest_id dest[FEW];
	uint32_t label[FEW];
	bool added[FEW];

	for (unsigned i = 0; i < n; i++) {
		dest[i] = few_dest(from + i);
		label[i] = labels ? now->label + i % LABELS : 0;
	}
	assert_int_equal(adj_record_get(f->records, &p, &r.record), 0);
	assert_int_equal(adj_rib_out_add(out, dest, n, r, label, added, &count), 0);
	adj_record_put(f->records, r.record);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(added[i], model[from + i].set == 0);
		count -= added[i];
		if (added[i]) {
			model[from + i] = *now;
			model[from + i].label = label[i];
		}
	}
	assert_int_equal(count, 0);
}

/*
 * Groups that mostly follow one path of each destination, at different times, with few or many edits. Groups come, are copied, and go.
 */
static void
groups_random(unsigned steps)
{
	static struct group_model model[GROUPS][FEW], now[FEW];
	struct adj_rib_out *out[GROUPS];
	struct fixture f;
	uint64_t seed = 9;

	begin(&f);
	memset(model, 0, sizeof(model));
	memset(now, 0, sizeof(now));
	out[0] = f.out;
	for (unsigned g = 1; g < GROUPS; g++)
		assert_int_equal(
			adj_rib_out_create(f.t.arena, f.records, TABLE, labels, &out[g]), 0);
	for (unsigned n = 0; n < steps; n++) {
		unsigned g = random_below(&seed, GROUPS), d = random_below(&seed, FEW);
		uint32_t dest = d == 7 ? DEST_NONE : d * 3;

		if (random_below(&seed, 10) == 0) {
			now[d].set = random_below(&seed, n % 100000 < 50000 ? 3 : 400);
			now[d].source = (uint16_t)(now[d].set != 0 ? random_below(&seed, 3) : 0);
		}
		if (labels && now[d].set != 0 && random_below(&seed, 3) == 0)
			now[d].label = random_below(&seed, LABELS);
		if (now[d].set == 0)
			now[d].label = 0;
		set_label(&f, out[g], dest, now[d].set, now[d].source, now[d].label);
		model[g][d] = now[d];
		if (now[d].set != 0 && random_below(&seed, 50) == 0)
			add_many(&f, out[g], model[g], &now[d], &seed);
		if (random_below(&seed, 5000) == 0) {
			unsigned from = random_below(&seed, GROUPS);
			uint32_t at = 0;

			if (from == g)
				continue;
			adj_rib_out_destroy(out[g]);
			assert_int_equal(
				adj_rib_out_create(f.t.arena, f.records, TABLE, labels, &out[g]),
				0);
			while (adj_rib_out_copy(out[g], out[from], &at) == 1)
				;
			memcpy(model[g], model[from], sizeof(model[g]));
		}
		if (random_below(&seed, 1000) > 0)
			continue;
		for (g = 0; g < GROUPS; g++) {
			uint64_t count = 0, from = 0;

			for (d = 0; d < FEW; d++) {
				struct adj_route r = adj_rib_out_get(
					out[g], (struct dest_id){d == 7 ? DEST_NONE : d * 3});
				unsigned set = model[g][d].set;

				count += set != 0;
				from += set != 0 && model[g][d].source == 2;
				assert_int_equal(r.record.v != 0, set != 0);
				assert_int_equal(r.label, model[g][d].label);
				if (set == 0)
					continue;
				assert_int_equal(r.edit, 1 + set % ADJ_EDIT_MAX);
				assert_int_equal(
					adj_record_path(f.records, r.record)->accepted.v, set);
				assert_int_equal(adj_record_path(f.records, r.record)->source.v,
					model[g][d].source);
			}
			assert_int_equal(adj_rib_out_count(out[g]), count);
			assert_int_equal(adj_rib_out_count_from(out[g], (struct peer_id){2}), from);
		}
	}
	for (unsigned g = 0; g < GROUPS; g++)
		adj_rib_out_destroy(out[g]);
	end(&f);
}

static void
test_groups(void **state)
{
	groups_random(400000);
}

/* Routes of one record with other labels. */
static void
test_labels(void **state)
{
	struct fixture f;

	labels = true;
	groups_random(200000);
	begin(&f);
	assert_true(set_label(&f, f.out, 3, 5, 9, 16));
	assert_false(set_label(&f, f.out, 3, 5, 9, 16));
	assert_true(set_label(&f, f.out, 3, 5, 9, 17));
	assert_int_equal(adj_rib_out_get(f.out, (struct dest_id){3}).label, 17);
	assert_int_equal(adj_records_count(f.records), 1);
	assert_true(set_label(&f, f.out, 3, 0, 0, 0));
	assert_int_equal(adj_rib_out_get(f.out, (struct dest_id){3}).label, 0);
	adj_rib_out_destroy(f.out);
	end(&f);
	labels = false;
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
	assert_int_equal(adj_rib_out_create(f.t.arena, f.records, TABLE, labels, &copy), 0);
	for (unsigned n = 0; n < DESTS; n++)
		set_from(&f, random_below(&seed, DESTS), random_below(&seed, SETS + 1),
			(uint16_t)random_below(&seed, SOURCES));
	set_from(&f, DEST_NONE, 2, 3);
	while ((more = adj_rib_out_copy(copy, f.out, &at)) == 1)
		;
	assert_int_equal(more, 0);
	assert_int_equal(adj_rib_out_count(copy), adj_rib_out_count(f.out));
	for (uint32_t d = DEST_NONE; d != DESTS; d++) {
		struct adj_route a = adj_rib_out_get(f.out, (struct dest_id){d});
		struct adj_route b = adj_rib_out_get(copy, (struct dest_id){d});

		assert_int_equal(a.record.v, b.record.v);
		assert_int_equal(a.edit, b.edit);
	}
	adj_rib_out_destroy(f.out);
	adj_rib_out_destroy(copy);
	end(&f);
}

/* A path of its own for each destination: the memory of paths that are gone is freed. */
static void
test_memory_comes_back(void **state)
{
	size_t empty, full;
	struct fixture f;

	begin(&f);
	set(&f, 1, 1);
	set(&f, 1, 0);
	empty = arena_bytes(f.t.arena);
	for (unsigned round = 0; round < 2; round++) {
		for (uint32_t d = 0; d < DESTS; d++)
			assert_true(set(&f, d, 1 + d));
		full = arena_bytes(f.t.arena) - empty;
		assert_int_equal(adj_records_count(f.records), DESTS);
		/* one path stays, and is found */
		for (uint32_t d = 0; d < DESTS; d++)
			if (d != DESTS / 2)
				assert_true(set(&f, d, 0));
		assert_int_equal(adj_records_count(f.records), 1);
		assert_true(arena_bytes(f.t.arena) - empty < full / 10);
		assert_false(set(&f, DESTS / 2, 1 + DESTS / 2));
		assert_true(set(&f, DESTS / 2, 0));
		assert_true(arena_bytes(f.t.arena) - empty < full / 20);
	}
	adj_rib_out_destroy(f.out);
	end(&f);
}

#define SWAPPED 60000u

/* Each route of a set may have a label of its own: a record is found in few steps all the same. */
static void
test_many_labels(void **state)
{
	struct swaps_config c = {.first = 100,
		.last = 99 + 3 * SWAPPED,
		.fresh = {100, 3 * SWAPPED},
		.all = {100, 3 * SWAPPED}};
	const struct swap_owner owner = {.addr = addr_from_v4(1)};
	const struct ip_addr hop = addr_from_v4(2);
	static struct adj_record_id id[SWAPPED];
	struct adj_record_id again;
	struct swaps *swaps;
	struct fixture f;

	(void)state;
	begin(&f);
	c.arena = f.t.arena;
	assert_int_equal(swaps_create(&c, &swaps), 0);
	adj_records_swaps(f.records, swaps);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < SWAPPED; i++) {
			struct adj_path p = path_of(1, 1);

			p.swapped = true;
			p.swap = swaps_label(swaps, &owner, &hop, 16 + i);
			assert_int_equal(adj_record_get(f.records, &p, &id[i]), 0);
			assert_int_equal(adj_record_get(f.records, &p, &again), 0);
			assert_int_equal(again.v, id[i].v);
			adj_record_put(f.records, again);
		}
		assert_int_equal(adj_records_count(f.records), SWAPPED);
		for (unsigned i = 0; i < SWAPPED; i++)
			adj_record_put(f.records, id[i]);
		assert_int_equal(adj_records_count(f.records), 0);
	}
	assert_true(hash_probes_longest(adj_records_probes(f.records)) < 32);
	swaps_destroy(swaps);
	adj_rib_out_destroy(f.out);
	end(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_hold),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_memory_comes_back),
		cmocka_unit_test(test_many_labels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
