/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/fib_read.h"
#include "lpm/inspect.h"
#include "lpm/table_v4.h"

#include "tests/lpm/lpm_test.h"
#include "tests/lpm/table_rig.h"

#include <rte_lpm.h>

static struct table_v4 *table;
static const struct fib_reader reader = {.bounds = {.lines = UINT64_MAX}};

static int
setup(void **state)
{
	(void)state;
	if (rig_begin(AFI_IPV4) != 0)
		return -1;
	return table_v4_create(arena, 512, true, &table);
}

static int
teardown(void **state)
{
	(void)state;
	table_v4_destroy(table);
	return rig_end();
}

static uint32_t
v4(const char *text)
{
	struct ip_addr a = addr(text);

	return addr_v4(&a);
}

static uint64_t
paint(const char *text)
{
	struct prefix p = pfx(text);

	return table_v4_paint(table, shadow, prefix_v4(&p), p.len);
}

/* The list found by DPDK's inline lookup; 0 for none. */
static uint32_t
answer(const char *text)
{
	uint32_t list;

	return rte_lpm_lookup(table_v4_lpm(table), v4(text), &list) == 0 ? list : 0;
}

/* Compares the words with the bit-fields of the installed DPDK. */
static void
test_layout(void **state)
{
	struct rte_lpm_tbl_entry e;

	(void)state;
	set("10.0.0.0/8", 0xabcd, false);
	set("10.1.1.128/25", 0x1234, false);
	paint("10.0.0.0/8");
	e = table_v4_lpm(table)->tbl24[10 << 16];
	assert_int_equal(e.next_hop, 0xabcd);
	assert_int_equal(e.valid, 1);
	assert_int_equal(e.valid_group, 0);
	assert_int_equal(e.depth, 8);
	e = table_v4_lpm(table)->tbl24[v4("10.1.1.0") >> 8];
	assert_int_equal(e.valid, 1);
	assert_int_equal(e.valid_group, 1);
	e = table_v4_lpm(table)->tbl8[e.next_hop * 256 + 200];
	assert_int_equal(e.next_hop, 0x1234);
	assert_int_equal(e.valid, 1);
	assert_int_equal(e.valid_group, 1);
	assert_int_equal(e.depth, 25);
	e = table_v4_lpm(table)->tbl24[11 << 16];
	assert_int_equal(e.valid, 0);
}

static void
test_nested(void **state)
{
	(void)state;
	set("0.0.0.0/0", 9, false);
	set("10.0.0.0/8", 1, false);
	set("10.1.0.0/16", 2, false);
	set("10.1.1.0/24", 3, false);
	set("10.1.1.4/30", 4, false);
	set("10.1.1.5/32", 5, false);
	/* a /16, one of its /24 with a group: 256 entries and the slot */
	assert_int_equal(paint("10.1.0.0/16"), 255 + 1 + 256);
	assert_int_equal(answer("10.0.0.1"), 0);
	assert_int_equal(paint("10.0.0.0/8"), 65536 - 256);
	assert_int_equal(answer("9.255.255.255"), 0);
	assert_int_equal(answer("10.0.0.0"), 1);
	assert_int_equal(answer("10.1.0.255"), 2);
	assert_int_equal(answer("10.1.1.3"), 3);
	assert_int_equal(answer("10.1.1.4"), 4);
	assert_int_equal(answer("10.1.1.5"), 5);
	assert_int_equal(answer("10.1.1.6"), 4);
	assert_int_equal(answer("10.1.1.8"), 3);
	assert_int_equal(answer("10.1.2.0"), 2);
	assert_int_equal(answer("10.255.255.255"), 1);
	assert_int_equal(answer("11.0.0.0"), 0);
	assert_int_equal(table_v4_groups_used(table), 1);
	/* painting again writes nothing */
	assert_int_equal(paint("10.0.0.0/8"), 0);
	assert_int_equal(paint("10.1.1.5/32"), 0);
}

/* A /24 frees a group that is not needed any more; waiting entries use no group. */
static void
test_groups(void **state)
{
	(void)state;
	set("10.1.0.0/16", 2, false);
	set("10.1.1.5/32", 5, false);
	set("10.1.2.5/32", 6, true);
	paint("10.1.0.0/16");
	assert_int_equal(table_v4_groups_used(table), 1);
	assert_int_equal(answer("10.1.2.5"), 2);
	table_v4_release(table, shadow, v4("10.1.1.5"));
	assert_int_equal(table_v4_groups_used(table), 1);
	unset("10.1.1.5/32");
	table_v4_release(table, shadow, v4("10.1.1.5"));
	assert_int_equal(table_v4_groups_used(table), 0);
	assert_int_equal(paint("10.1.1.5/32"), 1);
	assert_int_equal(answer("10.1.1.5"), 2);
	set("10.1.2.5/32", 6, false);
	paint("10.1.2.5/32");
	assert_int_equal(answer("10.1.2.5"), 6);
	assert_int_equal(table_v4_groups_used(table), 1);
	/* without release, painting frees the group */
	unset("10.1.2.5/32");
	assert_int_equal(paint("10.1.2.5/32"), 1);
	assert_int_equal(table_v4_groups_used(table), 0);
	assert_int_equal(table_v4_short(table), 0);
}

/*
 * A prefix in or around 10.0.0.0/15: every length, deeply nested. At most 512 /24, so the groups
 * suffice.
 */
static struct v4_route
small_route(uint64_t *seed)
{
	uint8_t len =
		(uint8_t)(rnd_below(seed, 4) ? 14 + rnd_below(seed, 19) : 1 + rnd_below(seed, 14));
	uint32_t addr = 10u << 24 | rnd_below(seed, 1u << 17);

	/* crowd half of them */
	if (rnd_below(seed, 2))
		addr &= 0xfffe07ff;
	return (struct v4_route){.addr = addr & v4_mask(len), .len = len};
}

static uint32_t
naive(const uint32_t *list, const struct v4_route *r, unsigned count, uint32_t addr, uint8_t *len)
{
	uint32_t best = 0;

	*len = 0;
	for (unsigned i = 0; i < count; i++) {
		if (list[i] != 0 && (addr & v4_mask(r[i].len)) == r[i].addr && r[i].len > *len) {
			best = list[i];
			*len = r[i].len;
		}
	}
	return best;
}

/* The 16-bit answer matches tbl24. */
static void
check_answer(uint32_t slot)
{
	struct rte_lpm_tbl_entry e = table_v4_lpm(table)->tbl24[slot];
	uint16_t answer = table_v4_answers(table)[slot];

	if (e.valid_group || (e.valid && e.next_hop >= TABLE_V4_LOOK))
		assert_int_equal(answer, TABLE_V4_LOOK);
	else
		assert_int_equal(answer, e.valid ? e.next_hop : 0);
}

static void
check_addr(const uint32_t *list, const struct v4_route *r, unsigned count, uint32_t addr)
{
	uint8_t len, found_len;
	uint32_t expected = naive(list, r, count, addr, &len), found;
	struct path_list_id id;
	bool hit =
		table_v4_read(table_v4_lpm(table), table_v4_answers(table), addr, &id, &found_len);

	if (hit != (expected != 0) || (hit && (id.v != expected || found_len != len)))
		fail_msg("%08x: %u/%u, expected %u/%u", addr, id.v, found_len, expected, len);
	assert_int_equal(rte_lpm_lookup(table_v4_lpm(table), addr, &found) == 0, hit);
	if (hit)
		assert_int_equal(found, expected);
	/* the worker's own reading of the same table, with a default route */
	assert_int_equal(
		fib_read_v4_lpm(&reader, table_v4_lpm(table), addr, 77777), hit ? expected : 77777);
	check_answer(addr >> 8);
}

/* Random changes, each painted alone, compared with the definition of longest match. */
static void
test_random(void **state)
{
	enum { COUNT = 600 };
	static struct v4_route r[COUNT];
	static uint32_t list[COUNT];
	uint64_t seed = 7;
	unsigned count = 0;

	(void)state;
	for (unsigned i = 0; i < COUNT; i++)
		r[i] = small_route(&seed);
	count = (unsigned)v4_unique(r, COUNT);
	memset(list, 0, sizeof(list));
	for (unsigned step = 0; step < 20000 / SCALE; step++) {
		unsigned i = rnd_below(&seed, count);
		struct prefix p = v4_prefix(r[i]);

		list[i] = rnd_below(&seed, 3) ? 1 + rnd_below(&seed, 65535) : 0;
		if (list[i] != 0)
			assert_int_equal(
				shadow_set(shadow, &p, (struct path_list_id){list[i]}, false), 0);
		else
			(void)shadow_remove(shadow, &p);
		/* sometimes a rebuild over any content */
		if (step % 500 == 250)
			table_v4_rebuild(table, shadow);
		else
			table_v4_paint(table, shadow, r[i].addr, r[i].len);
		for (unsigned k = 0; k < 4; k++) {
			const struct v4_route *q = &r[k < 2 ? i : rnd_below(&seed, count)];
			uint32_t last = q->addr | ~v4_mask(q->len);

			check_addr(list, r, count, q->addr);
			check_addr(list, r, count, last);
			check_addr(list, r, count, q->addr - 1);
			check_addr(list, r, count, last + 1);
		}
	}
	assert_int_equal(table_v4_short(table), 0);
	/* painting in steps gives the result of a rebuild, except for group numbers */
	uint32_t groups = table_v4_groups_used(table);

	table_v4_rebuild(table, shadow);
	assert_int_equal(table_v4_groups_used(table), groups);
	shadow_clear(shadow);
	table_v4_rebuild(table, shadow);
	assert_int_equal(table_v4_groups_used(table), 0);
	assert_int_equal(table_v4_rebuild(table, shadow), 0);
}

/* Without reserved groups: the failure is counted and the rest is painted. */
static void
test_short(void **state)
{
	(void)state;
	set("10.0.0.0/8", 1, false);
	for (unsigned i = 0; i < 513; i++) {
		struct prefix p = prefix_from_v4(v4("10.0.0.1") + i * 256, 32);

		assert_int_equal(shadow_set(shadow, &p, (struct path_list_id){2}, false), 0);
	}
	paint("10.0.0.0/8");
	assert_int_equal(table_v4_short(table), 1);
	assert_int_equal(table_v4_groups_used(table), 512);
	assert_int_equal(answer("10.1.255.1"), 2);
	assert_int_equal(answer("10.2.0.1"), 1);
	assert_int_equal(answer("10.2.1.1"), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_layout, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nested, setup, teardown),
		cmocka_unit_test_setup_teardown(test_groups, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random, setup, teardown),
		cmocka_unit_test_setup_teardown(test_short, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
