/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages of next-hop tracking, compared with a search of the whole table for each question. */
#include "rib/feed/nexthop.h"

#include "tests/rib/rib_test.h"

#include <errno.h>

#define TOLD_MAX 64

static struct rib_test t;
static struct nexthop_table *table;
static struct nexthop_message told[TOLD_MAX];
static unsigned told_count;
static uint64_t now;

static bool no_messages;

static bool
tell(void *ctx, const struct nexthop_message *m)
{
	assert_ptr_equal(ctx, &t);
	if (no_messages)
		return false;
	if (told_count < TOLD_MAX)
		told[told_count] = *m;
	told_count++;
	return true;
}

static int
begin(void **state)
{
	(void)state;
	role_enter_fib();
	rib_test_begin(&t);
	told_count = 0;
	assert_int_equal(nexthop_table_create(t.arena, tell, &t, &table), 0);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	nexthop_table_destroy(table);
	rib_test_end(&t);
	return 0;
}

static struct prefix
subnet(const char *text)
{
	struct prefix p;

	assert_int_equal(prefix_parse(text, &p), 0);
	return p;
}

static struct ip_addr
addr(const char *text)
{
	struct ip_addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static int
watch(const char *text)
{
	struct ip_addr a = addr(text);

	return nexthop_watch(table, VRF_DEFAULT, &a);
}

/* Completes the work that a change left. */
static int
worked(int rc)
{
	assert_false(nexthop_work(table, now += 1000000000, 0));
	assert_true(nexthop_settled(table));
	return rc;
}

static int
connect(const char *text, uint16_t port)
{
	struct prefix p = subnet(text);

	return worked(nexthop_connected_add(table, VRF_DEFAULT, &p, port));
}

static int
disconnect(const char *text, uint16_t port)
{
	struct prefix p = subnet(text);

	return worked(nexthop_connected_remove(table, VRF_DEFAULT, &p, port));
}

static int
local(const char *text, bool present)
{
	struct ip_addr a = addr(text);

	return worked(nexthop_local(table, VRF_DEFAULT, &a, present));
}

/* -1: none */
static int
port_of(const char *text)
{
	struct ip_addr a = addr(text);
	uint16_t port;

	return nexthop_port(table, VRF_DEFAULT, &a, &port) == 0 ? port : -1;
}

/* Exactly this message was sent since the last check. */
static void
assert_told(const char *text, bool up)
{
	struct ip_addr a = addr(text);

	assert_int_equal(told_count, 1);
	assert_true(addr_equal(&told[0].addr, &a));
	assert_int_equal(told[0].vrf.v, VRF_DEFAULT.v);
	assert_int_equal(told[0].up, up);
	assert_int_equal(told[0].connected, up);
	assert_int_equal(told[0].metric, 0);
	told_count = 0;
}

static void
test_every_question_is_answered(void **state)
{
	struct ip_addr a = addr("192.0.2.1"), b = addr("192.0.2.2");

	(void)state;
	assert_int_equal(watch("192.0.2.1"), 0);
	assert_told("192.0.2.1", false);
	assert_int_equal(watch("192.0.2.1"), 0);
	assert_told("192.0.2.1", false);
	assert_int_equal(nexthop_count(table), 1);
	assert_true(nexthop_watched(table, VRF_DEFAULT, &a));
	assert_false(nexthop_watched(table, VRF_DEFAULT, &b));
	assert_false(nexthop_watched(table, (struct vrf_id){1}, &a));
	assert_int_equal(connect("192.0.2.0/24", 3), 0);
	assert_told("192.0.2.1", true);
	assert_int_equal(watch("192.0.2.1"), 0);
	assert_told("192.0.2.1", true);
}

static void
test_changes_alone_are_told(void **state)
{
	(void)state;
	watch("192.0.2.1");
	watch("198.51.100.1");
	watch("2001:db8::1");
	told_count = 0;
	assert_int_equal(connect("192.0.2.0/24", 0), 0);
	assert_told("192.0.2.1", true);
	/* a longer subnet changes the port, which needs no message to the shards */
	assert_int_equal(connect("192.0.2.0/30", 1), 0);
	assert_int_equal(told_count, 0);
	assert_int_equal(port_of("192.0.2.1"), 1);
	assert_int_equal(port_of("192.0.2.4"), 0);
	assert_int_equal(connect("2001:db8::/64", 1), 0);
	assert_told("2001:db8::1", true);
	assert_int_equal(disconnect("192.0.2.0/24", 0), 0);
	assert_int_equal(told_count, 0);
	assert_int_equal(disconnect("192.0.2.0/30", 1), 0);
	assert_told("192.0.2.1", false);
	assert_int_equal(disconnect("192.0.2.0/30", 1), -ENOENT);
	assert_int_equal(told_count, 0);
}

static void
test_two_addresses_in_one_subnet(void **state)
{
	(void)state;
	watch("192.0.2.9");
	told_count = 0;
	assert_int_equal(connect("192.0.2.0/24", 0), 0);
	assert_told("192.0.2.9", true);
	assert_int_equal(connect("192.0.2.0/24", 0), -EEXIST);
	assert_int_equal(disconnect("192.0.2.0/24", 0), -EEXIST);
	assert_int_equal(port_of("192.0.2.9"), 0);
	assert_int_equal(told_count, 0);
	assert_int_equal(disconnect("192.0.2.0/24", 0), 0);
	assert_told("192.0.2.9", false);
}

/* A next hop must not move to another port when an unrelated subnet is removed. */
static void
test_one_subnet_on_two_ports(void **state)
{
	(void)state;
	connect("10.0.0.0/8", 7);
	connect("192.0.2.0/24", 4);
	connect("192.0.2.0/24", 2);
	connect("192.0.2.0/24", 5);
	assert_int_equal(port_of("192.0.2.1"), 4);
	disconnect("10.0.0.0/8", 7);
	assert_int_equal(port_of("192.0.2.1"), 4);
	disconnect("192.0.2.0/24", 4);
	assert_int_equal(port_of("192.0.2.1"), 2);
	disconnect("192.0.2.0/24", 2);
	assert_int_equal(port_of("192.0.2.1"), 5);
}

/* RFC 4271 5.1.3 */
static void
test_our_own_address_leads_nowhere(void **state)
{
	(void)state;
	watch("192.0.2.1");
	connect("192.0.2.0/24", 0);
	told_count = 0;
	assert_int_equal(local("192.0.2.1", true), 0);
	assert_told("192.0.2.1", false);
	assert_int_equal(port_of("192.0.2.1"), -1);
	assert_int_equal(port_of("192.0.2.2"), 0);
	/* also on a second port */
	assert_int_equal(local("192.0.2.1", true), 0);
	assert_int_equal(local("192.0.2.1", false), 0);
	assert_int_equal(told_count, 0);
	assert_int_equal(port_of("192.0.2.1"), -1);
	assert_int_equal(local("192.0.2.1", false), 0);
	assert_told("192.0.2.1", true);
	assert_int_equal(local("192.0.2.1", false), -ENOENT);
}

/*
 * The network and broadcast addresses of a connected subnet belong to no neighbour: packets would
 * reach all hosts.
 */
static void
test_ends_of_a_subnet_lead_nowhere(void **state)
{
	(void)state;
	watch("192.0.2.255");
	watch("192.0.2.0");
	watch("198.51.100.1");
	told_count = 0;
	connect("192.0.2.0/24", 0);
	assert_int_equal(told_count, 0);
	assert_int_equal(port_of("192.0.2.255"), -1);
	assert_int_equal(port_of("192.0.2.0"), -1);
	assert_int_equal(port_of("192.0.2.254"), 0);
	/* inside a longer subnet the same address is a neighbour, and vice versa */
	connect("192.0.2.254/31", 1);
	assert_told("192.0.2.255", true);
	assert_int_equal(port_of("192.0.2.255"), 1);
	connect("192.0.2.64/30", 2);
	assert_int_equal(port_of("192.0.2.64"), -1);
	assert_int_equal(port_of("192.0.2.65"), 2);
	assert_int_equal(port_of("192.0.2.67"), -1);
	told_count = 0;
	connect("198.51.100.1/32", 3);
	assert_told("198.51.100.1", true);
}

static void
test_vrfs_are_apart(void **state)
{
	struct vrf_id red = {1};
	struct ip_addr a = addr("192.0.2.1");
	struct prefix p = subnet("192.0.2.0/24");
	uint16_t port;

	(void)state;
	watch("192.0.2.1");
	told_count = 0;
	assert_int_equal(nexthop_watch(table, red, &a), 0);
	assert_int_equal(told_count, 1);
	told_count = 0;
	assert_int_equal(worked(nexthop_connected_add(table, red, &p, 6)), 0);
	assert_int_equal(told_count, 1);
	assert_int_equal(told[0].vrf.v, 1);
	assert_int_equal(port_of("192.0.2.1"), -1);
	assert_int_equal(nexthop_port(table, red, &a, &port), 0);
	assert_int_equal(port, 6);
	assert_int_equal(nexthop_local(table, VRF_DEFAULT, &a, true), 0);
	assert_int_equal(nexthop_port(table, red, &a, &port), 0);
	assert_int_equal(nexthop_connected_remove(table, VRF_DEFAULT, &p, 6), -ENOENT);
	assert_int_equal(nexthop_count(table), 2);
}

/*
 * A peer may send a new next hop in every message. A linear search each time would take some 20 s
 * here.
 */
static void
test_many_next_hops(void **state)
{
	enum { MANY = 200000 };

	(void)state;
	connect("10.0.0.0/8", 0);
	for (uint32_t i = 0; i < MANY; i++) {
		struct ip_addr a = addr_from_v4((i & 1 ? 0x0a000000u : 0x14000000u) + i);

		told_count = 0;
		assert_int_equal(nexthop_watch(table, VRF_DEFAULT, &a), 0);
		assert_int_equal(told_count, 1);
		assert_int_equal(told[0].up, i & 1);
	}
	assert_int_equal(nexthop_count(table), MANY);
	told_count = 0;
	disconnect("10.0.0.0/8", 0);
	assert_int_equal(told_count, MANY / 2);
	for (uint32_t i = 0; i < MANY; i += 997) {
		struct ip_addr a = addr_from_v4((i & 1 ? 0x0a000000u : 0x14000000u) + i);

		assert_true(nexthop_watched(table, VRF_DEFAULT, &a));
		a.b[3] ^= 1; /* an address of the other block */
		assert_false(nexthop_watched(table, VRF_DEFAULT, &a));
	}
}

#define SUBNETS 8
#define PORTS 3
#define ADDRS 24

static uint32_t
some_addr(unsigned i)
{
	return 0xc0000200u + i;
}

/*
 * True for the first or last address of random subnet `s`, if the subnet is shorter than 31 bits.
 */
static bool
is_an_end(unsigned s, uint32_t a)
{
	uint32_t size = 256u >> s, first = some_addr(s * 3) / size * size;

	return size > 2 && (a == first || a == first + size - 1);
}

/*
 * Random subnets and local addresses: after every step each watched address has the right state,
 * and no message is repeated.
 */
static void
test_property(void **state)
{
	unsigned users[SUBNETS][PORTS], ours[ADDRS];
	bool believed[ADDRS];
	uint64_t seed = 0x6e657874686f7073u, rng;

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		rng = seed + round;
		memset(users, 0, sizeof(users));
		memset(ours, 0, sizeof(ours));
		memset(believed, 0, sizeof(believed));
		begin(NULL);
		for (unsigned i = 0; i < ADDRS; i++) {
			struct ip_addr a = addr_from_v4(some_addr(i));

			nexthop_watch(table, VRF_DEFAULT, &a);
		}
		for (unsigned step = 0; step < 100; step++) {
			unsigned n = random_below(&rng, SUBNETS), port = random_below(&rng, PORTS),
				 a = random_below(&rng, ADDRS);
			struct prefix p = prefix_from_v4(some_addr(n * 3), (uint8_t)(24 + n));
			struct ip_addr own = addr_from_v4(some_addr(a));
			bool add = random_below(&rng, 2);
			int rc;

			told_count = 0;
			if (random_below(&rng, 3) == 0) {
				rc = nexthop_local(table, VRF_DEFAULT, &own, add);
				assert_int_equal(rc, add || ours[a] > 0 ? 0 : -ENOENT);
				ours[a] = add ? ours[a] + 1 : ours[a] > 0 ? ours[a] - 1 : 0;
			} else if (add) {
				rc = nexthop_connected_add(table, VRF_DEFAULT, &p, (uint16_t)port);
				assert_int_equal(rc, users[n][port]++ == 0 ? 0 : -EEXIST);
			} else {
				rc = nexthop_connected_remove(
					table, VRF_DEFAULT, &p, (uint16_t)port);
				assert_int_equal(rc, users[n][port] == 0  ? -ENOENT
						     : users[n][port] > 1 ? -EEXIST
									  : 0);
				users[n][port] -= users[n][port] > 0;
			}
			worked(0);
			for (unsigned i = 0; i < told_count; i++) {
				unsigned which = addr_v4(&told[i].addr) - some_addr(0);

				if (believed[which] == told[i].up)
					fail_msg("seed %llu step %u: told twice",
						(unsigned long long)(seed + round), step);
				believed[which] = told[i].up;
			}
			for (unsigned i = 0; i < ADDRS; i++) {
				struct ip_addr x = addr_from_v4(some_addr(i));
				uint16_t got = 0;
				int longest = -1;
				bool there = false;

				for (unsigned s = 0; s < SUBNETS; s++) {
					struct prefix q =
						prefix_from_v4(some_addr(s * 3), (uint8_t)(24 + s));

					if (prefix_contains(&q, &x) &&
						(users[s][0] || users[s][1] || users[s][2]))
						longest = (int)s;
				}
				there = longest >= 0 && ours[i] == 0 &&
					!is_an_end((unsigned)longest, some_addr(i));
				if (believed[i] != there ||
					(nexthop_port(table, VRF_DEFAULT, &x, &got) == 0) !=
						there ||
					(there && users[longest][got] == 0))
					fail_msg("seed %llu step %u address %u",
						(unsigned long long)(seed + round), step, i);
			}
		}
		end(NULL);
	}
}

/* An answer or a change without memory is sent later, with the last state of the next hop. */
static void
test_answers_without_memory(void **state)
{
	struct ip_addr left = addr("192.0.2.3");

	(void)state;
	assert_int_equal(connect("192.0.2.0/24", 3), 0);
	no_messages = true;
	assert_int_equal(watch("192.0.2.2"), 0);
	assert_int_equal(watch("198.51.100.2"), 0);
	assert_int_equal(watch("192.0.2.3"), 0);
	assert_int_equal(disconnect("192.0.2.0/24", 3), 0);
	assert_int_equal(connect("198.51.100.0/24", 3), 0);
	nexthop_unwatch(table, VRF_DEFAULT, &left);
	assert_true(nexthop_report_owed(table));
	assert_int_equal(told_count, 0);
	no_messages = false;
	assert_false(nexthop_report_owed(table));
	assert_int_equal(told_count, 2);
	for (unsigned i = 0; i < 2; i++) {
		struct ip_addr up = addr("198.51.100.2");

		assert_int_equal(told[i].up, addr_equal(&told[i].addr, &up));
		assert_int_equal(told[i].connected, told[i].up);
	}
	assert_false(nexthop_report_owed(table));
	assert_int_equal(told_count, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers_without_memory, begin, end),
		cmocka_unit_test_setup_teardown(test_every_question_is_answered, begin, end),
		cmocka_unit_test_setup_teardown(test_changes_alone_are_told, begin, end),
		cmocka_unit_test_setup_teardown(test_two_addresses_in_one_subnet, begin, end),
		cmocka_unit_test_setup_teardown(test_one_subnet_on_two_ports, begin, end),
		cmocka_unit_test_setup_teardown(test_our_own_address_leads_nowhere, begin, end),
		cmocka_unit_test_setup_teardown(test_ends_of_a_subnet_lead_nowhere, begin, end),
		cmocka_unit_test_setup_teardown(test_vrfs_are_apart, begin, end),
		cmocka_unit_test_setup_teardown(test_many_next_hops, begin, end),
		cmocka_unit_test(test_property),
	};

	return cmocka_run_group_tests_name("nexthop", tests, NULL, NULL);
}
