/* SPDX-License-Identifier: BSD-3-Clause */
/* The ring of a tap: order, wrap, losses, and two threads at once. */
#include "rib/shard/trace.h"

#include "lpm/base/arena.h"
#include "tests/rib/rib_test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static struct arena *arena;
static struct trace_tap *tap;

static int
setup(void **state)
{
	(void)state;
	assert_int_equal(arena_create("trace", &arena), 0);
	assert_int_equal(trace_tap_create(arena, &tap), 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	trace_tap_destroy(tap);
	arena_destroy(arena);
	return 0;
}

/* Event `n`, followed by octets that name the event. */
static void
put(uint64_t n)
{
	uint8_t octets[4096];
	struct trace_event e = {
		.kind = TRACE_SENT, .traces = 1, .number = n, .octets = (uint32_t)(n * 37 % 4097)};

	memset(octets, (int)(n & 255), sizeof(octets));
	trace_put(tap, &e, octets);
}

/* False: the ring is empty. */
static bool
take(uint64_t *n)
{
	const uint8_t *octets;
	struct trace_event e;

	if (!trace_peek(tap, &e, &octets))
		return false;
	assert_int_equal(e.kind, TRACE_SENT);
	assert_int_equal(e.octets, e.number * 37 % 4097);
	assert_true(e.time_ns > 0);
	for (uint32_t i = 0; i < e.octets; i++)
		assert_int_equal(octets[i], e.number & 255);
	*n = e.number;
	trace_drop(tap);
	return true;
}

static void
test_order_and_wrap(void **state)
{
	uint64_t n = 0, next = 0, got;

	(void)state;
	/* four times round, with a few events in the ring */
	while (n < 4 * TRACE_RING_OCTETS / 2048) {
		put(n++);
		if (n % 7 != 0)
			continue;
		while (take(&got))
			assert_int_equal(got, next++);
	}
	while (take(&got))
		assert_int_equal(got, next++);
	assert_int_equal(next, n);
	assert_int_equal(trace_lost(tap), 0);
}

static void
test_full(void **state)
{
	uint64_t n = 0, next = 0, got = 0;

	(void)state;
	while (trace_lost(tap) < 5)
		put(n++);
	assert_true(n > TRACE_RING_OCTETS / 4352 && n < TRACE_RING_OCTETS / 128);
	/* all but the lost events, the oldest first; then the ring works again */
	for (unsigned kept = 0; take(&got); kept++)
		assert_true(kept == 0 || got > next), next = got;
	put(n);
	assert_true(take(&got));
	assert_int_equal(got, n);
	assert_int_equal(trace_lost(tap), 5);
}

static void
test_filters(void **state)
{
	struct trace_filter peer = {.of = TRACE_OF_PEER, .peer = {7}},
			    prefix = {.of = TRACE_OF_PREFIX, .vrf = {2}},
			    policy = {.of = TRACE_OF_POLICY, .policy = "in"};
	struct prefix other;

	(void)state;
	assert_int_equal(prefix_parse("20.0.0.0/24", &prefix.prefix), 0);
	assert_int_equal(prefix_parse("20.0.0.0/25", &other), 0);
	trace_tap_set(tap, 0, &peer);
	trace_tap_set(tap, 3, &prefix);
	trace_tap_set(tap, 5, &policy);
	assert_int_equal(trace_of_peer(tap, (struct peer_id){7}), 1 << 0);
	assert_int_equal(trace_of_peer(tap, (struct peer_id){8}), 0);
	assert_int_equal(
		trace_of_prefix(tap, (struct vrf_id){2}, FAMILY_IPV4_UNICAST, &prefix.prefix),
		1 << 3);
	assert_int_equal(trace_of_prefix(tap, VRF_DEFAULT, FAMILY_IPV4_UNICAST, &prefix.prefix), 0);
	assert_int_equal(trace_of_prefix(tap, (struct vrf_id){2}, FAMILY_IPV4_UNICAST, &other), 0);
	assert_int_equal(trace_of_policy(tap, "in"), 1 << 5);
	assert_int_equal(trace_of_policy(tap, "int"), 0);
	assert_int_equal(trace_of_policy(tap, NULL), 0);
	trace_tap_set(tap, 0, NULL);
	assert_int_equal(trace_of_peer(tap, (struct peer_id){7}), 0);
}

#define EVENTS 20000u

static _Atomic bool done;

static void *
writer(void *arg)
{
	(void)arg;
	for (uint64_t n = 0; n < EVENTS; n++)
		put(n);
	atomic_store(&done, true);
	return NULL;
}

/* Each event arrives once, in order and whole, or is counted as lost. */
static void
test_two_threads(void **state)
{
	uint64_t got, last = 0, count = 0;
	pthread_t thread;
	bool ended;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, writer, NULL), 0);
	do {
		ended = atomic_load(&done);
		while (take(&got)) {
			assert_true(count == 0 || got > last);
			last = got;
			count++;
		}
	} while (!ended);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(count + trace_lost(tap), EVENTS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order_and_wrap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_filters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
