/* SPDX-License-Identifier: BSD-3-Clause */
/* The ring of refused prefixes: entries found, their lifetime, and no torn entry for a reader. */
#include "rib/shard/refused.h"

#include "lpm/base/arena.h"
#include "tests/rib/rib_test.h"

#include <pthread.h>
#include <string.h>

#define V4 FAMILY_IPV4_UNICAST
#define V6 FAMILY_IPV6_UNICAST
#define FEW 100000u
#define RD_NONE ((struct vpn_rd){0})

static struct arena *arena;
static struct refused_ring *ring;

static int
begin(void **state)
{
	role_enter_main();
	assert_int_equal(arena_create("refused", &arena), 0);
	assert_int_equal(refused_ring_create(arena, &ring), 0);
	return 0;
}

static int
end(void **state)
{
	refused_ring_destroy(ring);
	arena_destroy(arena); /* asserts that all memory was freed */
	return 0;
}

static struct prefix
prefix_at(uint32_t i)
{
	return prefix_from_v4(i << 8, 24);
}

/* Peer and cause follow from the number. */
static struct refused_route
route_at(uint32_t i)
{
	return (struct refused_route){.peer = {(uint16_t)(1 + i % 4095)},
		.cause = (enum refused_cause)(1 + i % (REFUSED_CAUSES - 1)),
		.time_s = i};
}

static void
put(uint32_t i)
{
	struct refused_route r = route_at(i);
	struct prefix p = prefix_at(i);

	refused_ring_put(ring, V4, RD_NONE, &p, &r);
}

static void
assert_found(uint32_t i, bool there)
{
	struct refused_route found[4], want = route_at(i);
	struct prefix p = prefix_at(i);
	unsigned n = refused_ring_find(ring, V4, RD_NONE, &p, found, 4);

	assert_int_equal(n, there);
	if (!there)
		return;
	assert_int_equal(found[0].peer.v, want.peer.v);
	assert_int_equal(found[0].cause, want.cause);
	assert_int_equal(found[0].time_s, want.time_s);
}

static void
test_causes_have_names(void **state)
{
	for (enum refused_cause a = REFUSED_AS_LOOP; a < REFUSED_CAUSES; a++) {
		assert_true(strlen(refused_text(a)) > 0);
		for (enum refused_cause b = REFUSED_AS_LOOP; b < a; b++)
			assert_string_not_equal(refused_text(a), refused_text(b));
	}
	assert_string_equal(refused_text(refused_malformed(2)), "malformed-as-path");
	assert_string_equal(refused_text(refused_malformed(32)), "malformed-large-communities");
	for (unsigned type = 0; type < 256; type++)
		assert_memory_equal(
			refused_text(refused_malformed((uint8_t)type)), "malformed-", 10);
	assert_string_equal(refused_text(refused_malformed(200)), "malformed-attribute");
}

/* 100,000 entries are all found; then the oldest entries are overwritten, and no newer entry. */
static void
test_remembers(void **state)
{
	struct refused_route found[1];
	struct prefix p = prefix_at(5);

	assert_found(0, false);
	for (uint32_t i = 0; i < FEW; i++)
		put(i);
	for (uint32_t i = 0; i < FEW; i++)
		assert_found(i, true);
	assert_int_equal(refused_ring_find(ring, V6, RD_NONE, &p, found, 1), 0);
	p.len = 23;
	assert_int_equal(refused_ring_find(ring, V4, RD_NONE, &p, found, 1), 0);
	for (uint32_t i = FEW; i < 3 * REFUSED_RING; i++)
		put(i);
	for (uint32_t i = 0; i < 3 * REFUSED_RING; i++)
		assert_found(i, i >= 2 * REFUSED_RING);
}

/* A prefix refused often from several peers: each peer once, with its last cause, newest first. */
static void
test_each_peer_once(void **state)
{
	struct prefix p = prefix_at(1);
	struct refused_route found[8];

	for (uint32_t i = 0; i < 5000; i++) {
		struct refused_route r = {.peer = {(uint16_t)(1 + i % 3)},
			.cause = i < 4000 ? REFUSED_POLICY : REFUSED_AS_LOOP,
			.time_s = i};

		refused_ring_put(ring, V4, RD_NONE, &p, &r);
	}
	assert_int_equal(refused_ring_find(ring, V4, RD_NONE, &p, found, 8), 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(found[i].time_s, 4999 - i);
		assert_int_equal(found[i].peer.v, 1 + (4999 - i) % 3);
		assert_int_equal(found[i].cause, REFUSED_AS_LOOP);
	}
	assert_int_equal(refused_ring_find(ring, V4, RD_NONE, &p, found, 2), 2);
}

/* One prefix in two VPNs is two routes. */
static void
test_each_distinguisher(void **state)
{
	struct prefix p = prefix_at(1);
	struct refused_route found[4];

	for (uint64_t rd = 1; rd <= 2; rd++) {
		struct refused_route r = route_at((uint32_t)rd);

		refused_ring_put(ring, FAMILY_VPNV4_UNICAST, (struct vpn_rd){rd}, &p, &r);
	}
	for (uint64_t rd = 0; rd <= 3; rd++) {
		unsigned n = refused_ring_find(
			ring, FAMILY_VPNV4_UNICAST, (struct vpn_rd){rd}, &p, found, 4);

		assert_int_equal(n, rd == 1 || rd == 2);
		if (n == 1)
			assert_int_equal(found[0].peer.v, route_at((uint32_t)rd).peer.v);
	}
}

static _Atomic uint32_t written;

static void *
writer(void *arg)
{
	for (uint32_t i = 0; i < 8 * REFUSED_RING; i++) {
		put(i);
		atomic_store_explicit(&written, i + 1, memory_order_release);
	}
	return NULL;
}

/* A reader beside the writer finds whole entries: peer, cause and time belong to the prefix. */
static void
test_beside_the_writer(void **state)
{
	struct refused_route found[4];
	pthread_t thread;
	uint32_t done;
	unsigned hits = 0;

	atomic_store(&written, 0);
	assert_int_equal(pthread_create(&thread, NULL, writer, NULL), 0);
	do {
		done = atomic_load_explicit(&written, memory_order_acquire);
		for (uint32_t i = done > 64 ? done - 64 : 0; i < done; i++) {
			struct prefix p = prefix_at(i);
			struct refused_route want = route_at(i);

			if (refused_ring_find(ring, V4, RD_NONE, &p, found, 4) == 0)
				continue;
			assert_int_equal(found[0].peer.v, want.peer.v);
			assert_int_equal(found[0].cause, want.cause);
			assert_int_equal(found[0].time_s, want.time_s);
			hits++;
		}
	} while (done < 8 * REFUSED_RING);
	pthread_join(thread, NULL);
	assert_true(hits >= 64);
}

/* The newest entry of each peer counts; a withdrawal ends the refusal. */
static void
test_node_and_withdrawal(void **state)
{
	struct refused_route r = {.peer = {1}, .cause = REFUSED_POLICY, .time_s = 1, .node = 10},
			     found[4];
	struct prefix p = prefix_at(1);

	refused_ring_put(ring, V4, RD_NONE, &p, &r);
	r = (struct refused_route){
		.peer = {2}, .cause = REFUSED_POLICY, .time_s = 2, .node = UINT32_MAX};
	refused_ring_put(ring, V4, RD_NONE, &p, &r);
	assert_int_equal(refused_ring_find(ring, V4, RD_NONE, &p, found, 4), 2);
	assert_int_equal(found[0].node, UINT32_MAX);
	assert_int_equal(found[1].node, 10);
	r.cause = REFUSED_NOT;
	refused_ring_put(ring, V4, RD_NONE, &p, &r);
	assert_int_equal(refused_ring_find(ring, V4, RD_NONE, &p, found, 4), 1);
	assert_int_equal(found[0].peer.v, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_causes_have_names),
		cmocka_unit_test_setup_teardown(test_remembers, begin, end),
		cmocka_unit_test_setup_teardown(test_each_peer_once, begin, end),
		cmocka_unit_test_setup_teardown(test_each_distinguisher, begin, end),
		cmocka_unit_test_setup_teardown(test_beside_the_writer, begin, end),
		cmocka_unit_test_setup_teardown(test_node_and_withdrawal, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
