/* SPDX-License-Identifier: BSD-3-Clause */
/* Flows among equal paths: in routers in a row, and when a next hop is lost. */
#include "dataplane/forward/rewrite.h"
#include "lab.h"
#include "lpm/fib_read.h"

#define HOPS 4u
#define FLOWS 8000u

static struct lab_fib lab;

static uint32_t
flow(unsigned i)
{
	uint8_t ip[24] = {0x45, [9] = 17};

	lab_set32(ip + 12, IP(198, 51, 100, 1));
	lab_set32(ip + 16, IP(203, 0, 113, 0) + i % 256);
	lab_set32(ip + 20, i * 65536u + 53);
	return rewrite_flow_hash_v4(ip, sizeof(ip));
}

/* Each of `count` counters has its part of the sum, within a fifth. */
static void
assert_even(const unsigned *counter, unsigned count)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < count; i++)
		sum += counter[i];
	for (unsigned i = 0; i < count; i++)
		assert_in_range(counter[i], sum / count * 4 / 5, sum / count * 6 / 5);
}

/* The flows that the first router gave to one path divide again at the second one, whose key differs. */
static void
test_row(void **state)
{
	struct path path[HOPS + 2]; /* the salts follow */
	const struct fib_list list = {.path = path, .path_count = HOPS, .all = HOPS};
	const uint32_t salts[HOPS] = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344};
	unsigned first[HOPS] = {0}, second[HOPS] = {0};

	(void)state;
	static_assert(sizeof(path) == HOPS * sizeof(path[0]) + sizeof(salts), "");
	memcpy(path + HOPS, salts, sizeof(salts));
	for (unsigned i = 0; i < FLOWS; i++) {
		unsigned at = fib_read_choice(&list, rewrite_keyed(flow(i), 0x1234567));

		first[at]++;
		if (at == 0)
			second[fib_read_choice(&list, rewrite_keyed(flow(i), 0x89abcdef))]++;
	}
	assert_even(first, HOPS);
	assert_even(second, HOPS);
}

/* The flows of a lost next hop go to all others, and no other flow moves. */
static void
test_lost(void **state)
{
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 1};
	struct next_hop_id hops[HOPS];
	unsigned before[FLOWS], moved[HOPS] = {0};
	struct fib_hop hop;

	(void)state;
	for (unsigned i = 0; i < HOPS; i++)
		hops[i] = lab_next_hop(&lab, IP(192, 0, 2, 1) + i, 0, mac, 1500);
	lab_route_text(&lab, "10.0.0.0/8", PATH_LIST_FORWARD, PORT_NONE, hops, HOPS);
	lab_commit(&lab);

	const struct fib_reader *r = fib_reader(lab.fib);
	uint32_t to = IP(10, 1, 1, 1), id;

	fib_read_v4_lists(r, fib_read_begin(r), LAB_VRF, &to, &id, 1);
	const struct fib_list list = fib_read_head(r, id);

	for (unsigned i = 0; i < FLOWS; i++) {
		assert_true(fib_read_path(r, &list, rewrite_keyed(flow(i), 7), &hop));
		before[i] = hop.path.next_hop.v;
	}
	role_enter_fib();
	next_hop_down(lab.lists, hops[1], NEXT_HOP_DOWN);
	for (unsigned i = 0; i < FLOWS; i++) {
		assert_true(fib_read_path(r, &list, rewrite_keyed(flow(i), 7), &hop));
		if (before[i] != hops[1].v) {
			assert_int_equal(hop.path.next_hop.v, before[i]);
			continue;
		}
		for (unsigned k = 0; k < HOPS; k++)
			moved[k] += hop.path.next_hop.v == hops[k].v;
	}
	assert_int_equal(moved[1], 0);
	moved[1] = moved[3];
	assert_even(moved, HOPS - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_row),
		cmocka_unit_test(test_lost),
	};
	char directory[] = "/tmp/keel-test-rewrite-XXXXXX";
	int failed;

	if (mkdtemp(directory) == NULL)
		return 1;
	lab_eal_up(directory, 64);
	lab_port("null", "net_null0,no-rx=1");
	lab_fib_up(&lab);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	lab_fib_down(&lab);
	dataplane_fini();
	rmdir(directory);
	return failed;
}
