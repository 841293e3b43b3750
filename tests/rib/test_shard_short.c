/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory by peer, and a shard that gets no more: an UPDATE that finds no memory waits until the largest taker is flushed, and no change is
 * lost. The limit is RLIMIT_AS of this process, so the test runs without sanitizers.
 */
#include "rib/shard/shard.h"

#include "tests/rib/shard_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define TAKER 1
#define INNOCENT 2
#define LARGE_PATH 500u /* AS numbers in the taker's paths: 2 kB for each set */

static void
begin(struct rig *r)
{
	rig_init(r, false);
	for (uint16_t peer = TAKER; peer <= INNOCENT; peer++) {
		rig_peer(r, peer, 65000u + peer, true, false);
		shard_peer_import(
			r->shard, (struct peer_id){peer}, rig_family(), policy_accept_all());
		rig_up(r, peer, 65000u + peer, 7u + peer, true);
	}
	rig_settle(r);
}

/* Announces a prefix with its own attribute set; `number` makes sets different. */
static void
announce(struct rig *r, uint16_t peer, uint32_t number)
{
	static uint8_t room[sizeof(struct attr_set) + 8 + 4 * LARGE_PATH + 8];
	struct attr_set *a = (struct attr_set *)(void *)room;
	struct rib_nlri n = rig_nlri(0x01000000 + (peer << 26) + (number << 8), 24);
	uint8_t *w = a->var;

	memset(room, 0, sizeof(room));
	a->next_hop = rig_hop(0x0a000001);
	for (unsigned left = LARGE_PATH; left > 0;) {
		unsigned count = left < 250 ? left : 250;

		*w++ = 2;
		*w++ = (uint8_t)count;
		for (unsigned i = 0; i < count; i++, w += 4)
			rig_put_u32(
				w, left == LARGE_PATH && i == 0 ? 65000u + peer : 70000 + number);
		left -= count;
	}
	a->as_path_len = (uint16_t)(w - a->var);
	attr_set_derive(a);
	rig_update(r, peer, a, &n, 1);
}

static size_t
memory(const struct rig *r, uint16_t peer)
{
	return shard_peer_memory(r->shard, (struct peer_id){peer});
}

static uint64_t
received(const struct rig *r, uint16_t peer)
{
	struct adj_rib_in_counts c;

	shard_peer_counts(r->shard, (struct peer_id){peer}, rig_family(), &c);
	return c.received;
}

/* Idle turns, until replaced sets are freed. */
static void
rest(struct rig *r)
{
	rig_settle(r);
	for (unsigned i = 0; i < 5000; i++)
		(void)rig_turn(r);
}

#define ROUTES 2000

static void
test_memory_by_peer(void **state)
{
	size_t before, grown, taker;
	struct rig r;

	(void)state;
	begin(&r);
	before = arena_bytes(r.arena);
	for (uint32_t i = 0; i < ROUTES; i++)
		announce(&r, TAKER, i);
	rig_drain(&r);
	for (uint32_t i = 0; i < 10; i++)
		announce(&r, INNOCENT, i);
	rig_drain(&r);
	grown = arena_bytes(r.arena) - before;
	taker = memory(&r, TAKER);
	print_message("%zu B for %u routes, arena grew by %zu B\n", taker, ROUTES, grown);
	/* batches are in the arena, too */
	assert_true(taker > ROUTES * 2000 && taker < grown);
	assert_true(memory(&r, INNOCENT) > 10 * 2000 && memory(&r, INNOCENT) < 10 * 2500);
	rig_event(&r, RIB_SESSION_DOWN, TAKER);
	rest(&r);
	assert_int_equal(memory(&r, TAKER), 0);
	assert_true(memory(&r, INNOCENT) > 10 * 2000);
	rig_fini(&r);
}

/* The shard drops UPDATEs of an evicted peer until its session is down, and takes UPDATEs of the next session. */
static void
test_evicted(void **state)
{
	struct peer_id taker = {TAKER};
	struct rig r;

	(void)state;
	begin(&r);
	announce(&r, TAKER, 1);
	announce(&r, INNOCENT, 1);
	rig_drain(&r);
	shard_peer_evict(r.shard, taker);
	announce(&r, TAKER, 2);
	announce(&r, INNOCENT, 2);
	rest(&r);
	assert_int_equal(received(&r, TAKER), 0);
	assert_int_equal(received(&r, INNOCENT), 2);
	rig_event(&r, RIB_SESSION_DOWN, TAKER);
	rig_up(&r, TAKER, 65001, 8, true);
	announce(&r, TAKER, 3);
	rest(&r);
	assert_int_equal(received(&r, TAKER), 1);
	/* no session was up */
	shard_peer_evict(r.shard, taker);
	shard_peer_spare(r.shard, taker);
	announce(&r, TAKER, 4);
	rest(&r);
	assert_int_equal(received(&r, TAKER), 1);
	assert_int_equal(shard_failures(r.shard), 0);
	rig_fini(&r);
}

static unsigned shorts;

static void
on_short(void *ctx)
{
	(void)ctx;
	shorts++;
}

static size_t
address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu", &pages), 1);
	(void)fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

#define ROOM ((size_t)24 << 20)
#define MOST 100000u

static void
test_short(void **state)
{
	struct rlimit before, limit;
	uint32_t sent = 0;
	uint64_t waits;
	struct rig r;

	(void)state;
#ifdef KEEL_SANITIZED
	skip();
#endif
	begin(&r);
	announce(&r, INNOCENT, 0);
	rig_drain(&r);
	arena_on_short(on_short, NULL);
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	limit = (struct rlimit){address_space() + ROOM, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	for (; sent < MOST && !arena_is_short(); sent++) {
		announce(&r, TAKER, sent);
		rig_put(&r);
		(void)rig_turn(&r);
	}
	/* queued after the taker's UPDATEs, which wait */
	announce(&r, INNOCENT, 1);
	rig_put(&r);
	for (unsigned i = 0; i < 1000; i++)
		(void)rig_turn(&r);
	waits = received(&r, INNOCENT);
	shard_peer_evict(r.shard, (struct peer_id){TAKER});
	rest(&r);
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	print_message("short after %u routes of the taker, %u times\n", sent, shorts);
	assert_true(sent < MOST && shorts == 1);
	assert_int_equal(waits, 1);
	assert_int_equal(received(&r, TAKER), 0);
	assert_int_equal(received(&r, INNOCENT), 2);
	assert_int_equal(memory(&r, TAKER), 0);
	assert_int_equal(shard_failures(r.shard), 0);
	arena_short_end();
	arena_on_short(NULL, NULL);
	rig_fini(&r);
}

/* ---- VPN instances ---- */

#define INSTANCES 20u /* import each route; one instance more comes later */
#define LEAK_PEER 3
#define LEAK_BLOCKS 4096u /* of 16 KB, more than ROOM */
#define LEAK_TARGET UINT64_C(0x0002fc0000000001)

static void
leak_instance(struct rig *r, unsigned vrf)
{
	const struct ext_community target = {LEAK_TARGET};
	struct shard_instance i = {.vrf = {(uint16_t)vrf},
		.label = RIB_LABEL_NONE,
		.import_targets = &target,
		.import_count = 1};

	assert_int_equal(shard_instance_set(r->shard, &i), 0);
}

static void
leak_announce(struct rig *r, uint32_t number)
{
	struct rib_nlri n = {.prefix = prefix_from_v4(0x01000000 + (number << 8), 24),
		.rd = {1 + number % 3},
		.label = 100};
	const uint32_t path[] = {70000 + number};
	union rig_attrs a;

	rig_attrs_make(&a, path, 1, 0x0a000001);
	ext_community_put((struct ext_community){LEAK_TARGET}, a.a.var + a.a.as_path_len);
	a.a.ext_community_count = 1;
	rig_update_in(r, FAMILY_VPNV4_UNICAST, LEAK_PEER, &a.a, &n, 1, r->now_ns);
}

static uint64_t
leak_imported(const struct rig *r, unsigned vrf)
{
	struct shard_instance_counts c;

	shard_instance_counts(r->shard, (struct vrf_id){(uint16_t)vrf}, &c);
	return c.imported;
}

/* Imports that find no memory are repeated: a change of a route, and the fill of a new instance. */
static void
test_short_leak(void **state)
{
	struct rlimit before, limit;
	static void *block[LEAK_BLOCKS];
	uint64_t missing = 0;
	unsigned held = 0;
	uint32_t sent = 0;
	struct rig r;
	struct table_id table;

	(void)state;
#ifdef KEEL_SANITIZED
	skip();
#endif
	begin(&r);
	assert_int_equal(shard_table_add(r.shard, VRF_DEFAULT, FAMILY_VPNV4_UNICAST, &table), 0);
	for (unsigned i = 1; i <= INSTANCES + 1; i++)
		assert_int_equal(shard_table_add(r.shard, (struct vrf_id){(uint16_t)i},
					 FAMILY_IPV4_UNICAST, &table),
			0);
	for (unsigned i = 1; i <= INSTANCES; i++)
		leak_instance(&r, i);
	rig_peer(&r, LEAK_PEER, RIG_OWN_ASN, false, false);
	rig_up(&r, LEAK_PEER, RIG_OWN_ASN, 9, false);
	rig_settle(&r);
	shorts = 0;
	arena_on_short(on_short, NULL);
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	limit = (struct rlimit){address_space() + ROOM, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	for (; sent < MOST && !arena_is_short(); sent++) {
		leak_announce(&r, sent);
		rig_put(&r);
		(void)rig_turn(&r);
	}
	for (unsigned i = 0; i < 1000; i++)
		(void)rig_turn(&r);
	for (unsigned i = 1; i <= INSTANCES; i++)
		missing += sent - leak_imported(&r, i);
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	arena_short_end();
	rest(&r);
	print_message(
		"short after %u routes, %llu imports missing\n", sent, (unsigned long long)missing);
	assert_true(sent < MOST && shorts == 1 && missing > 0);
	for (unsigned i = 1; i <= INSTANCES; i++)
		assert_int_equal(leak_imported(&r, i), sent);
	limit = (struct rlimit){address_space(), before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	leak_instance(&r, INSTANCES + 1);
	while (held < LEAK_BLOCKS && (block[held] = arena_alloc(r.arena, 16 << 10)) != NULL)
		held++;
	for (unsigned i = 0; i < 1000; i++)
		(void)rig_turn(&r);
	missing = sent - leak_imported(&r, INSTANCES + 1);
	while (held > 0)
		arena_free(r.arena, block[--held]);
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	arena_short_end();
	rest(&r);
	print_message("%llu imports of the new instance missing\n", (unsigned long long)missing);
	assert_true(missing > 0);
	assert_int_equal(leak_imported(&r, INSTANCES + 1), sent);
	assert_int_equal(shard_failures(r.shard), 0);
	arena_on_short(NULL, NULL);
	rig_fini(&r);
}

/* A reserve makes up for the first failures. */
static void
test_reserve(void **state)
{
	enum { BLOCK = 64 << 10, BLOCKS = 4096 };
	static void *held[BLOCKS];
	struct rlimit before, limit;
	unsigned n = 0, made_up;
	struct arena *a;

	(void)state;
#ifdef KEEL_SANITIZED
	skip();
#endif
	shorts = 0;
	assert_int_equal(arena_create("reserve", &a), 0);
	assert_true(arena_reserve(a, 8 << 20));
	assert_int_equal(arena_bytes(a), 0);
	arena_on_short(on_short, NULL);
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	limit = (struct rlimit){address_space() + (4 << 20), before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	while (n < BLOCKS && !arena_is_short() && (held[n] = arena_alloc(a, BLOCK)) != NULL)
		n++;
	made_up = n;
	while (n < BLOCKS && (held[n] = arena_alloc(a, BLOCK)) != NULL)
		n++;
	made_up = n - made_up;
	while (n > 0)
		arena_free(a, held[--n]);
	arena_trim(a);
	arena_short_end();
	/* the arena can reserve the memory again */
	(void)arena_reserve(a, 8 << 20);
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	assert_true(arena_reserve(a, 8 << 20));
	arena_on_short(NULL, NULL);
	print_message("%u blocks of 64 kB after the first failure\n", made_up);
	assert_int_equal(shorts, 1);
	assert_true(made_up >= (8 << 20) / BLOCK);
	arena_destroy(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_by_peer),
		cmocka_unit_test(test_evicted),
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_short_leak),
		cmocka_unit_test(test_reserve),
	};

	role_enter_rib();
	role_enter_session();
	rig_mode = RIG_V4;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
