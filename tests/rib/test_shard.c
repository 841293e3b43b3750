/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Next hops, our own routes, VRFs, journal entries. Records: test_shard_import.c; walks:
 * test_shard_walks.c.
 */
#include "rib/shard/shard.h"

#include "tests/rib/shard_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static void
answer_up(struct rig *r, const struct nexthop_message *m)
{
	/* asked in the middle of a record: a real answer comes later, from another thread */
	uint32_t *pending = r->ctx;

	*pending = rig_hop_number(&m->addr);
}

static void
test_next_hop_waits(void **state)
{
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	union rig_attrs a;
	struct dest_view v;
	uint32_t asked = 0;
	struct rig r;

	rig_simple(&r, policy_accept_all());
	r.asked = answer_up;
	r.ctx = &asked;
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(asked, 0x0a000001);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->count, 1);
	assert_int_equal(v.paths->eligible, 0); /* no answer yet */
	rig_tell(&r, 0, 0x0a000001, true, false, 0);
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	/* single hop: must be connected, which holds for link-local addresses */
	assert_int_equal(v.paths->eligible, rig_mode == RIG_V6_LINK_LOCAL);
	rig_tell(&r, 0, 0x0a000001, true, true, 0);
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->eligible, 1);
	assert_true(v.paths->path[0].label_flags & PATH_NEXT_HOP_UP);
	rig_tell(&r, 0, 0x0a000001, false, false, 0);
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->eligible, 0);
	assert_true(r.woken >= 3);
	rig_fini(&r);
}

/* Reads one entry for each of `count` prefixes and checks the `aside` flag. */
static void
expect_entries(struct rig *r, struct journal_cursor *c, int count, bool aside)
{
	struct journal_entry e[16];
	int n;

	rig_settle(r);
	n = journal_read(shard_journal(r->shard), c, e, 16);
	assert_int_equal(n, count);
	for (int i = 0; i < n; i++)
		assert_int_equal(e[i].aside, aside);
	journal_advance(shard_journal(r->shard), c, e[n - 1].sequence);
}

/*
 * Consumers of best paths skip `aside` entries: an entry that changes the best path, or its
 * attributes, must not be `aside`.
 */
static void
test_aside(void **state)
{
	static const uint32_t path[] = {65001, 3356, 1299, 174};
	struct rib_nlri n[] = {rig_nlri(0x01010100, 24), rig_nlri(0x01010200, 24)};
	struct journal_cursor *c;
	union rig_attrs a[5]; /* by hops */
	struct rig r;

	rig_init(&r, false);
	assert_int_equal(journal_subscribe(shard_journal(r.shard), &c), 0);
	for (uint16_t p = 1; p <= 3; p++) {
		rig_peer(&r, p, RIG_OWN_ASN, false, false);
		rig_up(&r, p, RIG_OWN_ASN, 10u + p, false);
	}
	for (unsigned hops = 1; hops <= 4; hops++)
		rig_attrs_make(&a[hops], path, hops, 0x0a000001);
	rig_update(&r, 1, &a[2].a, n, 2); /* the first path */
	expect_entries(&r, c, 2, false);
	rig_update(&r, 2, &a[3].a, n, 2);
	expect_entries(&r, c, 2, true);
	rig_update(&r, 2, &a[4].a, n, 2);
	expect_entries(&r, c, 2, true);
	rig_update(&r, 3, &a[4].a, n, 2);
	expect_entries(&r, c, 2, true);
	rig_update(&r, 3, NULL, n, 2);
	expect_entries(&r, c, 2, true);
	rig_update(&r, 1, &a[3].a, n, 2); /* new attributes of the best path */
	expect_entries(&r, c, 2, false);
	rig_update(&r, 3, &a[1].a, n, 2); /* a better path */
	expect_entries(&r, c, 2, false);
	rig_update(&r, 1, &a[2].a, n, 2);
	expect_entries(&r, c, 2, true);
	rig_update(&r, 3, NULL, n, 2); /* the best path is withdrawn */
	expect_entries(&r, c, 2, false);
	rig_update(&r, 1, NULL, n, 2);
	expect_entries(&r, c, 2, false);
	/* the same attribute set from another peer: the router id decides */
	rig_update(&r, 1, &a[4].a, n, 2);
	expect_entries(&r, c, 2, false);
	rig_update(&r, 2, NULL, n, 2);
	expect_entries(&r, c, 2, true);
	rig_update(&r, 2, &a[4].a, n, 2);
	expect_entries(&r, c, 2, true);
	/* the same set of the same peer, now with another router id */
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_up(&r, 1, RIG_OWN_ASN, 5, false);
	rig_update(&r, 1, &a[4].a, n, 2);
	expect_entries(&r, c, 2, false);
	rig_update(&r, 2, NULL, n, 2);
	expect_entries(&r, c, 2, true);
	rig_update(&r, 1, NULL, n, 2); /* the last path */
	expect_entries(&r, c, 2, false);
	journal_unsubscribe(shard_journal(r.shard), c);
	rig_fini(&r);
}

static void
test_originate(void **state)
{
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	struct decision_input in;
	union rig_attrs own, a;
	struct dest_view v;
	struct rig r;

	rig_simple(&r, policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_attrs_make(&own, NULL, 0, 0);
	own.a.next_hop = (struct ip_addr){0};
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	rig_tell(&r, 0, 0x0a000001, true, true, 0);
	assert_int_equal(shard_originate(r.shard, VRF_DEFAULT, rig_family(), &n.prefix, &own.a), 0);
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->count, 2);
	assert_int_equal(v.paths->eligible, 2);
	assert_int_equal(v.paths->path[0].peer.v, PEER_SELF.v);
	shard_decision_input(r.shard, &v.paths->path[0], &in);
	assert_true(in.local && in.eligible && !in.external);
	shard_decision_input(r.shard, &v.paths->path[1], &in);
	assert_true(!in.local && in.eligible && in.external && in.router_id == 7);
	assert_true(addr_equal(&in.peer_addr, &(struct ip_addr[]){rig_peer_addr(1)}[0]));
	assert_int_equal(shard_originate(r.shard, VRF_DEFAULT, rig_family(), &n.prefix, NULL), 0);
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->count, 1);
	assert_int_equal(
		shard_originate(r.shard, VRF_DEFAULT, FAMILY_VPNV4_UNICAST, &n.prefix, NULL),
		-ENOENT);
	rig_fini(&r);
}

/* `networks` and redistributed routes: each with its own attributes, equal sets are shared. */
static void
test_originate_many(void **state)
{
	enum { N = 3000 };
	struct rib_nlri n;
	union rig_attrs a;
	struct dest_view v;
	struct rig r;

	rig_init(&r, true);
	for (unsigned i = 0; i < N; i++) {
		n = rig_nlri(0x01000000 + (i << 8), 24);
		rig_attrs_make(&a, NULL, 0, 0x0a000001);
		a.a.med = i / 10;
		a.a.has = ATTR_HAS_MED;
		assert_int_equal(shard_originate_from(r.shard, VRF_DEFAULT, rig_family(), &n.prefix,
					 i % 2 ? SOURCE_STATIC : SOURCE_KERNEL, 0, &a.a),
			0);
	}
	rig_settle(&r);
	assert_int_equal(attr_table_count(shard_attrs(r.shard)), N / 10);
	assert_int_equal(rig_received(&r, 0), N);
	for (unsigned i = 0; i < N; i++) {
		n = rig_nlri(0x01000000 + (i << 8), 24);
		assert_true(rig_view(&r, &n.prefix, &v));
		assert_int_equal(v.paths->eligible, 1);
		assert_int_equal(
			rib_path_source(&v.paths->path[0]), i % 2 ? SOURCE_STATIC : SOURCE_KERNEL);
		assert_int_equal(
			attr_of(shard_attrs(r.shard), v.paths->path[0].accepted)->med, i / 10);
	}
	/* repeating an origination writes nothing; another source does */
	uint64_t head = journal_head(shard_journal(r.shard));

	assert_int_equal(shard_originate_from(r.shard, VRF_DEFAULT, rig_family(), &n.prefix,
				 SOURCE_STATIC, 0, &a.a),
		0);
	assert_int_equal(journal_head(shard_journal(r.shard)), head);
	assert_int_equal(shard_originate_from(r.shard, VRF_DEFAULT, rig_family(), &n.prefix,
				 SOURCE_CONNECTED, 0, &a.a),
		0);
	assert_int_equal(journal_head(shard_journal(r.shard)), head + 1);
	for (unsigned i = 0; i < N; i++) {
		n = rig_nlri(0x01000000 + (i << 8), 24);
		assert_int_equal(shard_originate_from(r.shard, VRF_DEFAULT, rig_family(), &n.prefix,
					 SOURCE_STATIC, 0, NULL),
			0);
	}
	rig_settle(&r);
	assert_int_equal(attr_table_count(shard_attrs(r.shard)), 0);
	assert_int_equal(dest_count(shard_table(r.shard, r.table)), 0);
	rig_fini(&r);
}

/* The same attribute sets in two VRFs, with next hops in different states. */
static void
test_vrfs(void **state)
{
	struct shard_peer p = {
		.id = {2}, .vrf = {3}, .addr = addr_from_v4(9), .external = true, .asn = 65001};
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	struct table_id red, all;
	union rig_attrs a;
	struct dest_view v;
	struct rig r;

	rig_simple(&r, policy_accept_all());
	assert_int_equal(shard_table_add(r.shard, (struct vrf_id){3}, rig_family(), &red), 0);
	assert_int_equal(shard_table_add(r.shard, (struct vrf_id){3}, rig_family(), &all), -EEXIST);
	assert_int_equal(shard_peer_add(r.shard, &p), 0);
	assert_int_equal(shard_peer_add(r.shard, &p), -EEXIST);
	shard_peer_import(r.shard, p.id, rig_family(), policy_accept_all());
	rig_up(&r, 2, 65001, 8, true);
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_update(&r, 2, &a.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(attr_table_count(shard_attrs(r.shard)), 1);
	rig_tell(&r, 3, 0x0a000001, true, true, 0);
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->eligible, 0);
	r.table = red;
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->eligible, 1);
	assert_int_equal(v.paths->path[0].peer.v, 2);
	rig_tell(&r, 0, 0x0a000001, true, true, 0);
	rig_tell(&r, 3, 0x0a000001, false, false, 0);
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->eligible, 0);
	rig_event(&r, RIB_SESSION_DOWN, 2);
	rig_settle(&r);
	assert_false(rig_view(&r, &n.prefix, &v));
	r.table = (struct table_id){0};
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->eligible, 1);
	rig_fini(&r);
}

static unsigned ask_count, unwatch_count;

static void
count_ask(struct rig *r, const struct nexthop_message *m)
{
	if (m->unwatch)
		unwatch_count++;
	else
		ask_count++;
}

/* An unused next hop is unwatched after a while, and watched again on the next use. */
static void
test_next_hop_unwatched(void **state)
{
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	union rig_attrs a;
	struct dest_view v;
	struct rig r;

	ask_count = unwatch_count = 0;
	rig_simple(&r, policy_accept_all());
	r.asked = count_ask;
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	rig_tell(&r, 0, 0x0a000001, true, true, 0);
	rig_settle(&r);
	for (unsigned i = 0; i < 4; i++) {
		r.now_ns += 6000000000u;
		rig_settle(&r);
	}
	assert_int_equal(unwatch_count, 0); /* in use */
	rig_update(&r, 1, NULL, &n, 1);
	rig_settle(&r);
	/* withdrawn and announced again: the state is still known */
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->eligible, 1);
	assert_int_equal(ask_count, 1);
	rig_update(&r, 1, NULL, &n, 1);
	rig_settle(&r);
	for (unsigned i = 0; i < 4; i++) {
		r.now_ns += 6000000000u;
		rig_settle(&r);
	}
	assert_int_equal(unwatch_count, 1);
	rig_tell(&r, 0, 0x0a000001, true, true, 0); /* the answer was already on its way */
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(ask_count, 2);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->eligible, 0); /* ineligible until answered */
	rig_tell(&r, 0, 0x0a000001, true, true, 0);
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->eligible, 1);
	rig_fini(&r);
}

/*
 * A question without memory is sent later; a next hop that cannot be unwatched stays watched, with
 * its state.
 */
static void
test_questions_without_memory(void **state)
{
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	union rig_attrs a;
	struct dest_view v;
	struct rig r;

	ask_count = unwatch_count = 0;
	rig_simple(&r, policy_accept_all());
	r.asked = count_ask;
	r.no_messages = true;
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	rig_settle(&r);
	assert_int_equal(ask_count, 0);
	r.no_messages = false;
	rig_settle(&r);
	assert_int_equal(ask_count, 1);
	rig_settle(&r);
	assert_int_equal(ask_count, 1);
	rig_tell(&r, 0, 0x0a000001, true, true, 0);
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->eligible, 1);

	rig_update(&r, 1, NULL, &n, 1);
	r.no_messages = true;
	for (unsigned i = 0; i < 4; i++) {
		r.now_ns += 6000000000u;
		rig_settle(&r);
	}
	assert_int_equal(unwatch_count, 0);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->eligible, 1); /* still watched: needs no question */
	rig_tell(&r, 0, 0x0a000001, false, false, 0);
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->eligible, 0);
	rig_update(&r, 1, NULL, &n, 1);
	r.no_messages = false;
	for (unsigned i = 0; i < 4; i++) {
		r.now_ns += 6000000000u;
		rig_settle(&r);
	}
	assert_int_equal(ask_count, 1);
	assert_int_equal(unwatch_count, 1);
	rig_fini(&r);
}

/*
 * Thousands of next hops come and go: used next hops keep their state, unused next hops are freed.
 */
static void
test_many_next_hops(void **state)
{
	enum { ROUNDS = 40, N = 500 };
	struct rib_nlri stays = rig_nlri(0x02000000, 24);
	size_t settled = 0;
	union rig_attrs a;
	struct dest_view v;
	struct rig r;

	rig_init(&r, true);
	rig_peer(&r, 1, RIG_OWN_ASN, false, false);
	rig_up(&r, 1, RIG_OWN_ASN, 7, false);
	r.asked = count_ask;
	ask_count = unwatch_count = 0;
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, &stays, 1);
	rig_settle(&r);
	rig_tell(&r, 0, 0x0a000001, true, false, 5);
	rig_settle(&r);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < N; i++) {
			struct rib_nlri n = rig_nlri(0x01000000 + (i << 8), 24);

			rig_attrs_make(&a, path_65001, 2, 0x0b000000 + round * N + i);
			rig_update(&r, 1, &a.a, &n, 1);
		}
		rig_settle(&r);
		for (unsigned i = 0; i < N; i += 2)
			rig_tell(&r, 0, 0x0b000000 + round * N + i, true, false, 1);
		rig_settle(&r);
		for (unsigned i = 0; i < N; i++) {
			struct rib_nlri n = rig_nlri(0x01000000 + (i << 8), 24);

			assert_true(rig_view(&r, &n.prefix, &v));
			assert_int_equal(v.paths->eligible, i % 2 == 0);
		}
		if (round == ROUNDS / 2)
			settled = arena_bytes(r.arena);
	}
	assert_int_equal(ask_count, 1 + ROUNDS * N);
	assert_true(unwatch_count > (ROUNDS - 4) * N && unwatch_count < ROUNDS * N);
	assert_true(arena_bytes(r.arena) < settled + (1u << 20));
	assert_true(rig_view(&r, &stays.prefix, &v));
	assert_int_equal(v.paths->eligible, 1);
	rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_next_hop_waits),
		cmocka_unit_test(test_aside),
		cmocka_unit_test(test_originate),
		cmocka_unit_test(test_originate_many),
		cmocka_unit_test(test_vrfs),
		cmocka_unit_test(test_next_hop_unwatched),
		cmocka_unit_test(test_questions_without_memory),
		cmocka_unit_test(test_many_next_hops),
	};

	int failed = 0;

	role_enter_rib();
	role_enter_session();
	for (rig_mode = 0; rig_mode < RIG_MODES; rig_mode++)
		failed += cmocka_run_group_tests_name(rig_mode_name(), tests, NULL, NULL);
	return failed;
}
