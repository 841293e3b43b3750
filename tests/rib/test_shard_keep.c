/* SPDX-License-Identifier: BSD-3-Clause */
/* keep_all_routes and replay, case by case; test_shard_keep_property.c has the random streams. */
#include "rib/policy/inspect.h"
#include "rib/table/inspect.h"
#include "rib/shard/shard.h"

#include "rib/policy/policy_build.h"
#include "tests/rib/shard_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define MANY 4096u /* several slices of a walk */

static const struct peer_id one = {1}, two = {2};
static const uint32_t path_long[] = {65002, 1, 2, 3, 3356};

static void
keep(struct rig *r, struct peer_id id, const struct policy *p)
{
	shard_peer_keep(r->shard, id, rig_family(), true);
	shard_peer_import(r->shard, id, rig_family(), p);
}

/* Peers 1 (kept) and 2, external, up. */
static void
begin(struct rig *r, const struct policy *p)
{
	rig_init(r, false);
	for (uint16_t i = 1; i <= 2; i++) {
		rig_peer(r, i, 65000u + i, true, false);
		rig_up(r, i, 65000u + i, i, true);
	}
	keep(r, one, p);
	shard_peer_import(r->shard, two, rig_family(), policy_accept_all());
	rig_settle(r);
}

static struct adj_rib_in_counts
counts(const struct rig *r, struct peer_id id)
{
	struct adj_rib_in_counts c;

	shard_peer_counts(r->shard, id, rig_family(), &c);
	return c;
}

static void
check_counts(
	const struct rig *r, struct peer_id id, unsigned received, unsigned accepted, unsigned kept)
{
	struct adj_rib_in_counts c = counts(r, id);

	assert_int_equal(c.received, received);
	assert_int_equal(c.accepted, accepted);
	assert_int_equal(c.kept, kept);
}

static uint64_t
head(const struct rig *r)
{
	return journal_head(shard_journal(r->shard));
}

/* Announces prefixes 0 .. count-1 from a peer. */
static void
announce(struct rig *r, uint16_t peer, const struct attr_set *a, unsigned count)
{
	struct rib_nlri n[64];

	for (unsigned i = 0; i < count; i += 64) {
		for (unsigned k = 0; k < 64; k++)
			n[k] = rig_nlri_numbered(i + k);
		rig_update(r, peer, a, n, count - i < 64 ? count - i : 64);
	}
}

/* As begin(), with MANY routes of peer 1. */
static void
begin_full(struct rig *r, const struct policy *p, union rig_attrs *a)
{
	begin(r, p);
	rig_attrs_make(a, path_65001, 2, 0x0a000001);
	announce(r, 1, &a->a, MANY);
	rig_settle(r);
}

static void
replay(struct rig *r, const struct policy *p)
{
	uint64_t number;

	shard_peer_import(r->shard, one, rig_family(), p);
	number = shard_peer_replay(r->shard, one, rig_family());
	rig_settle(r);
	assert_int_equal(counts(r, one).replays_done, number);
}

/* Denies the first `n` numbered /24s; sets a preference on the others. */
static struct policy *
first_denied(unsigned n, uint32_t local_pref)
{
	struct policy_prefix_list *l = rig_prefix_list(0, 1, n);
	struct policy_builder *b;
	struct policy *p;

	assert_non_null(l);
	assert_int_equal(policy_builder_create("first-denied", &b), 0);
	policy_builder_node(b, 10, false);
	policy_builder_match_prefix_list(b, l);
	policy_builder_node(b, 20, true);
	policy_builder_set_number(b, NUMBER_LOCAL_PREF, local_pref);
	assert_int_equal(policy_builder_finish(b, &p), 0);
	policy_prefix_list_unref(l);
	return p;
}

/* ---- cases ---- */

static void
check_refused(struct rig *r, uint16_t peer, const struct attr_set *a, enum decision_reason why)
{
	struct rib_nlri n = rig_nlri_numbered(peer);
	struct decision_input in;
	enum decision_reason reason;
	struct dest_view v;
	unsigned order;
	uint64_t told = head(r);
	const struct attr_set *received;
	struct ip_addr addr = {.afi = n.prefix.afi};

	memcpy(addr.b, n.prefix.b, sizeof(addr.b));
	rig_update(r, peer, a, &n, 1);
	rig_settle(r);
	assert_int_equal(head(r), told);
	assert_true(rig_view(r, &n.prefix, &v));
	assert_int_equal(v.paths->count, 1);
	assert_int_equal(v.paths->eligible + v.paths->multipath, 0);
	assert_int_equal(v.paths->path[0].accepted.v, 0);
	assert_int_equal(shard_path_refused(&v.paths->path[0]), why);
	received = attr_unpacked(shard_path_received(r->shard, &v.paths->path[0]));
	assert_non_null(received);
	assert_memory_equal(received, a, attr_set_size(a));
	shard_decision_input(r->shard, &v.paths->path[0], &in);
	decision_order(&in, 1, &order, &reason);
	assert_int_equal(reason, why);
	/* not used for forwarding */
	assert_int_equal(dest_longest(shard_table(r->shard, r->table), &addr, &v).v, DEST_NONE);
	/* the withdrawal writes no journal entry either */
	rig_update(r, peer, NULL, &n, 1);
	rig_settle(r);
	assert_false(rig_view(r, &n.prefix, &v));
	assert_int_equal(head(r), told);
	assert_int_equal(dest_tombstones(shard_table(r->shard, r->table)), 0);
	assert_int_equal(attr_table_count(shard_attrs(r->shard)), 0);
}

static const struct attr_packed *
packed(const struct attr_set *a)
{
	static alignas(8) uint8_t room[512];

	assert_true(attr_pack_bound(a) <= sizeof(room));
	(void)attr_pack(a, (struct attr_packed *)(void *)room);
	return (const struct attr_packed *)(const void *)room;
}

/* Each kept and rejected path has a reason. */
static void
test_reasons(void **state)
{
	const uint32_t loop[] = {65001, RIG_OWN_ASN};
	union rig_attrs a;
	struct rig r;

	begin(&r, NULL);
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	check_refused(&r, 1, &a.a, DECISION_NO_POLICY); /* RFC 8212 */
	shard_peer_import(r.shard, one, rig_family(), policy_deny_all());
	check_refused(&r, 1, &a.a, DECISION_REJECTED_BY_POLICY);
	rig_attrs_make(&a, loop, 2, 0x0a000001);
	check_refused(&r, 1, &a.a, DECISION_AS_LOOP);
	assert_int_equal(shard_loops(r.shard, one, 0, 0, packed(&a.a)), DECISION_AS_LOOP);
	assert_int_equal(counts(&r, one).rejected_total, 3);
	/* RFC 4456 8 */
	rig_peer(&r, 3, RIG_OWN_ASN, false, false);
	rig_up(&r, 3, RIG_OWN_ASN, 3, false);
	keep(&r, (struct peer_id){3}, NULL);
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	a.a.has |= ATTR_HAS_ORIGINATOR_ID;
	a.a.originator_id = RIG_ROUTER_ID;
	check_refused(&r, 3, &a.a, DECISION_ORIGINATOR_LOOP);
	a.a.originator_id = 9;
	rig_put_u32(a.a.var + a.a.as_path_len, RIG_ROUTER_ID);
	a.a.cluster_count = 1;
	check_refused(&r, 3, &a.a, DECISION_CLUSTER_LOOP);
	rig_fini(&r);
}

/* A rejected path ranks behind an accepted path, whatever its attributes are. */
static void
test_never_a_candidate(void **state)
{
	struct rib_nlri n = rig_nlri_numbered(0);
	union rig_attrs good, poor;
	struct dest_view v;
	uint64_t told;
	struct rig r;

	begin(&r, policy_deny_all());
	rig_attrs_make(&good, path_65001, 1, 0x0a000001);
	rig_attrs_make(&poor, path_long, 5, 0x0a000002);
	rig_update(&r, 1, &good.a, &n, 1);
	rig_update(&r, 2, &poor.a, &n, 1);
	rig_settle(&r);
	told = head(&r);
	assert_int_equal(told, 1);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->count, 2);
	assert_int_equal(v.paths->eligible, 1);
	assert_int_equal(v.paths->multipath, 1);
	assert_int_equal(v.paths->path[0].peer.v, 2);
	good.a.has |= ATTR_HAS_MED; /* announced again: stored, no journal entry */
	rig_update(&r, 1, &good.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(head(&r), told);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_true(
		attr_unpacked(shard_path_received(r.shard, &v.paths->path[1]))->has & ATTR_HAS_MED);
	/* the accepted path is withdrawn: a journal entry, and the rejected path remains */
	rig_update(&r, 2, NULL, &n, 1);
	rig_settle(&r);
	assert_int_equal(head(&r), told + 1);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->eligible, 0);
	assert_int_equal((uint32_t)(told + 1), v.sequence);
	/*
	 * removing the rejected path must keep the sequence of that entry, or a late consumer would
	 * wait for a later entry
	 */
	rig_update(&r, 1, NULL, &n, 1);
	rig_settle(&r);
	assert_int_equal(head(&r), told + 1);
	check_counts(&r, one, 0, 0, 0);
	check_counts(&r, two, 0, 0, 0);
	rig_fini(&r);
}

/*
 * keel-policy(7) rule 3: a replay evaluates all announced routes; routes that the policy now
 * rejects are removed.
 */
static void
test_replay_is_the_policy_of_now(void **state)
{
	struct policy *half = first_denied(MANY / 2, 150), *other = first_denied(MANY / 2, 151);
	struct rib_nlri low = rig_nlri_numbered(0), high = rig_nlri_numbered(MANY - 1);
	union rig_attrs a;
	struct dest_view v;
	struct rig r;

	begin_full(&r, policy_accept_all(), &a);
	assert_int_equal(head(&r), MANY);
	check_counts(&r, one, MANY, MANY, MANY);
	replay(&r, half);
	assert_int_equal(head(&r), 2 * MANY);
	check_counts(&r, one, MANY, MANY / 2, MANY);
	assert_int_equal(counts(&r, one).rejected_total, MANY / 2);
	assert_true(rig_view(&r, &low.prefix, &v));
	assert_int_equal(shard_path_refused(&v.paths->path[0]), DECISION_REJECTED_BY_POLICY);
	assert_true(rig_view(&r, &high.prefix, &v));
	assert_int_equal(attr_of(shard_attrs(r.shard), v.paths->path[0].accepted)->local_pref, 150);
	assert_false(attr_unpacked(shard_path_received(r.shard, &v.paths->path[0]))->has &
		     ATTR_HAS_LOCAL_PREF);
	/* an unchanged result writes no journal entry, and rejected routes are not counted twice */
	replay(&r, half);
	assert_int_equal(head(&r), 2 * MANY);
	assert_int_equal(counts(&r, one).rejected_total, MANY / 2);
	/* only the changed half gets journal entries */
	replay(&r, other);
	assert_int_equal(head(&r), 2 * MANY + MANY / 2);
	replay(&r, policy_accept_all());
	assert_int_equal(head(&r), 3 * MANY + MANY / 2);
	check_counts(&r, one, MANY, MANY, MANY);
	replay(&r, NULL); /* RFC 8212 */
	check_counts(&r, one, MANY, 0, MANY);
	assert_int_equal(dest_tombstones(shard_table(r.shard, r.table)), 0);
	assert_int_equal(attr_table_count(shard_attrs(r.shard)), 1);
	assert_int_equal(shard_failures(r.shard), 0);
	rig_fini(&r);
	policy_destroy(half);
	policy_destroy(other);
}

static unsigned
turns_until(struct rig *r, uint64_t number)
{
	unsigned n = 0;

	for (; counts(r, one).replays_done < number; n++)
		(void)rig_turn(r);
	return n;
}

/*
 * keel-policy(7) rule 11: requests during a walk join into at most one further walk; no request is
 * lost.
 */
static void
test_requests_join(void **state)
{
	struct policy *half = first_denied(MANY / 2, 150);
	uint64_t first, last = 0;
	unsigned lap, twice;
	union rig_attrs a;
	struct rig r;

	begin_full(&r, policy_accept_all(), &a);
	first = shard_peer_replay(r.shard, one, rig_family());
	lap = turns_until(&r, first);
	assert_in_range(lap, MANY / 64, MANY / 64 + 4); /* one slice in each turn */
	shard_peer_import(r.shard, one, rig_family(), half);
	first = shard_peer_replay(r.shard, one, rig_family());
	for (twice = 0; twice < lap / 2; twice++) {
		(void)rig_turn(&r);
		last = shard_peer_replay(r.shard, one, rig_family());
	}
	assert_int_equal(last, first + lap / 2);
	assert_true(counts(&r, one).replays_done < first);
	twice += turns_until(&r, last);
	assert_in_range(twice, lap, 2 * lap);
	check_counts(&r, one, MANY, MANY / 2, MANY);
	/* a replay without kept routes is done at once */
	assert_int_equal(shard_peer_replay(r.shard, two, rig_family()), 1);
	assert_int_equal(counts(&r, two).replays_done, 1);
	assert_int_equal(shard_peer_replay(r.shard, (struct peer_id){9}, rig_family()), 0);
	rig_fini(&r);
	policy_destroy(half);
}

/* Runs turns of a replay until the front of the table is done and unused sets are freed. */
static void
pass_front(struct rig *r)
{
	for (unsigned i = 0; i < 8; i++)
		(void)rig_turn(r);
}

/*
 * Ids of sets are reused during a replay: the result of the old set must not be applied to the new
 * set.
 */
static void
test_ids_used_again(void **state)
{
	struct policy *half = first_denied(0, 150);
	struct rib_nlri front = rig_nlri_numbered(0), back = rig_nlri_numbered(MANY - 1);
	union rig_attrs common, first, second;
	const uint32_t loop[] = {65001, RIG_OWN_ASN};
	struct attr_id id, result;
	struct dest_view v;
	struct rig r;

	begin(&r, policy_accept_all());
	rig_attrs_make(&common, path_65001, 2, 0x0a000001);
	rig_attrs_make(&first, loop, 2, 0x0a000001);
	rig_attrs_make(&second, path_65001, 1, 0x0a000001);
	announce(&r, 1, &common.a, MANY);
	rig_update(&r, 1, &first.a, &front, 1);
	rig_settle(&r);
	assert_true(rig_view(&r, &front.prefix, &v));
	id = v.paths->path[0].received;
	/* evaluated and refused, then freed; the id is reused by a set that must be accepted */
	(void)shard_peer_replay(r.shard, one, rig_family());
	pass_front(&r);
	rig_update(&r, 1, NULL, &front, 1);
	rig_put(&r);
	pass_front(&r);
	rig_update(&r, 1, &second.a, &back, 1);
	rig_put(&r);
	(void)rig_turn(&r);
	assert_int_equal(counts(&r, one).replays_done, 0);
	assert_true(rig_view(&r, &back.prefix, &v));
	assert_int_equal(v.paths->path[0].received.v, id.v);
	rig_settle(&r);
	check_counts(&r, one, MANY - 1, MANY - 1, MANY - 1);
	/*
	 * the same for the result of the policy on an unchanged set: `second` at the front and at
	 * the back
	 */
	rig_update(&r, 1, &second.a, &front, 1);
	rig_settle(&r);
	shard_peer_import(r.shard, one, rig_family(), half);
	(void)shard_peer_replay(r.shard, one, rig_family());
	pass_front(&r);
	assert_true(rig_view(&r, &front.prefix, &v));
	result = v.paths->path[0].accepted;
	rig_update(&r, 1, NULL, &front, 1);
	rig_put(&r);
	pass_front(&r);
	rig_attrs_make(&first, path_long, 3, 0x0a000002);
	rig_update(&r, 2, &first.a, &front, 1);
	rig_put(&r);
	(void)rig_turn(&r);
	assert_true(rig_view(&r, &front.prefix, &v));
	assert_int_equal(v.paths->path[0].accepted.v, result.v);
	assert_int_equal(counts(&r, one).replays_done, 1);
	rig_settle(&r);
	assert_true(rig_view(&r, &back.prefix, &v));
	assert_int_equal(attr_of(shard_attrs(r.shard), v.paths->path[0].accepted)->local_pref, 150);
	rig_fini(&r);
	policy_destroy(half);
}

/* Several commits during a walk: only the last policy counts, also for live updates in between. */
static void
test_last_policy_alone(void **state)
{
	struct policy *p[3] = {
		first_denied(100, 150), first_denied(MANY, 1), first_denied(10, 160)};
	struct rib_nlri fresh = rig_nlri_numbered(MANY + 5);
	union rig_attrs a, b;
	struct dest_view v;
	uint64_t number = 0;
	struct rig r;

	begin_full(&r, policy_accept_all(), &a);
	rig_attrs_make(&b, path_65001, 1, 0x0a000001);
	for (unsigned i = 0; i < 3; i++) {
		shard_peer_import(r.shard, one, rig_family(), p[i]);
		if (i !=
			/*
			 * the second commit changes the policy of a running walk without a new
			 * request
			 */
			1)
			number = shard_peer_replay(r.shard, one, rig_family());
		for (unsigned k = 0; k < 20; k++)
			(void)rig_turn(&r);
	}
	/* live input is applied first */
	rig_update(&r, 1, &b.a, &fresh, 1);
	rig_put(&r);
	(void)rig_turn(&r);
	assert_true(rig_view(&r, &fresh.prefix, &v));
	assert_true(counts(&r, one).replays_done < number);
	rig_settle(&r);
	assert_int_equal(counts(&r, one).replays_done, number);
	check_counts(&r, one, MANY + 1, MANY - 9, MANY + 1);
	for (unsigned i = 0; i < MANY; i++) {
		struct rib_nlri n = rig_nlri_numbered(i);

		assert_true(rig_view(&r, &n.prefix, &v));
		assert_int_equal(v.paths->eligible, i >= 10);
		if (i >= 10)
			assert_int_equal(attr_of(shard_attrs(r.shard), v.paths->path[0].accepted)
						 ->local_pref,
				160);
	}
	rig_fini(&r);
	for (unsigned i = 0; i < 3; i++)
		policy_destroy(p[i]);
}

/*
 * On: routes are kept from their next announcement. Off: kept routes are dropped without journal
 * entries.
 */
static void
test_on_and_off(void **state)
{
	struct policy *half = first_denied(MANY / 2, 150);
	union rig_attrs a;
	struct dest_view v;
	struct rib_nlri low = rig_nlri_numbered(0), high = rig_nlri_numbered(MANY - 1);
	uint64_t told;
	struct rig r;

	begin(&r, half);
	shard_peer_keep(r.shard, one, rig_family(), false);
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	announce(&r, 1, &a.a, MANY);
	rig_settle(&r);
	check_counts(&r, one, MANY / 2, MANY / 2, 0);
	told = head(&r);
	shard_peer_keep(r.shard, one, rig_family(), true);
	rig_event(&r, RIB_BEGIN_REFRESH, 1); /* filled by ROUTE-REFRESH (keel-policy(7) rule 5) */
	announce(&r, 1, &a.a, MANY);
	rig_event(&r, RIB_END_REFRESH, 1);
	rig_settle(&r);
	check_counts(&r, one, MANY, MANY / 2, MANY);
	assert_int_equal(head(&r), told);
	assert_int_equal(counts(&r, one).stale_swept, 0);
	shard_peer_keep(r.shard, one, rig_family(), false);
	assert_int_equal(
		shard_peer_replay(r.shard, one, rig_family()), 1); /* no kept route to replay */
	assert_int_equal(counts(&r, one).replays_done, 1);
	rig_settle(&r);
	check_counts(&r, one, MANY / 2, MANY / 2, 0);
	assert_int_equal(head(&r), told);
	assert_false(rig_view(&r, &low.prefix, &v));
	assert_true(rig_view(&r, &high.prefix, &v));
	assert_null(shard_path_received(r.shard, &v.paths->path[0]));
	assert_int_equal(attr_table_count(shard_attrs(r.shard)), 1);
	assert_int_equal(dest_count(shard_table(r.shard, r.table)), MANY / 2);
	rig_fini(&r);
	policy_destroy(half);
}

/*
 * The policy changes and keep_all_routes ends together: kept routes are evaluated once more before
 * they are dropped.
 */
static void
test_off_in_a_replay(void **state)
{
	struct policy *half = first_denied(MANY / 2, 150);
	struct rib_nlri low = rig_nlri_numbered(0), high = rig_nlri_numbered(MANY - 1);
	union rig_attrs a;
	struct dest_view v;
	uint64_t number;
	struct rig r;

	begin_full(&r, half, &a);
	check_counts(&r, one, MANY, MANY / 2, MANY);
	shard_peer_import(r.shard, one, rig_family(), policy_accept_all());
	number = shard_peer_replay(r.shard, one, rig_family());
	shard_peer_keep(r.shard, one, rig_family(), false);
	rig_settle(&r);
	assert_int_equal(counts(&r, one).replays_done, number);
	check_counts(&r, one, MANY, MANY, 0);
	assert_true(rig_view(&r, &low.prefix, &v));
	assert_int_equal(v.paths->eligible, 1);
	assert_true(rig_view(&r, &high.prefix, &v));
	assert_null(shard_path_received(r.shard, &v.paths->path[0]));
	assert_false(attr_of(shard_attrs(r.shard), v.paths->path[0].accepted)->has &
		     ATTR_HAS_LOCAL_PREF);
	assert_int_equal(attr_table_count(shard_attrs(r.shard)), 1);
	rig_fini(&r);
	policy_destroy(half);
}

/* RFC 4724 4.2: retained routes are kept, replayed while the session is down, and swept. */
static void
test_retained(void **state)
{
	struct policy *half = first_denied(MANY / 2, 150);
	union rig_attrs a;
	struct rig r;

	begin_full(&r, policy_accept_all(), &a);
	rig_down_retained(&r, 1);
	rig_settle(&r);
	replay(&r, half);
	check_counts(&r, one, MANY, MANY / 2, MANY);
	/* a policy change during retention takes effect without a request */
	shard_peer_import(r.shard, one, rig_family(), policy_deny_all());
	rig_settle(&r);
	check_counts(&r, one, MANY, 0, MANY);
	shard_peer_import(r.shard, one, rig_family(), half);
	rig_settle(&r);
	check_counts(&r, one, MANY, MANY / 2, MANY);
	rig_up(&r, 1, 65001, 1, true);
	announce(&r, 1, &a.a, MANY / 4); /* all rejected by the policy */
	rig_event(&r, RIB_END_OF_RIB, 1);
	rig_settle(&r);
	check_counts(&r, one, MANY / 4, 0, MANY / 4);
	assert_int_equal(counts(&r, one).stale_swept, MANY - MANY / 4);
	assert_int_equal(counts(&r, one).rejected_total, MANY / 4);
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_settle(&r);
	check_counts(&r, one, 0, 0, 0);
	assert_int_equal(dest_count(shard_table(r.shard, r.table)), 0);
	rig_fini(&r);
	policy_destroy(half);
}

/* A change of allow_as_in makes the shard check kept routes for loops again. */
static void
test_loops_are_judged_again(void **state)
{
	const uint32_t loop[] = {65001, RIG_OWN_ASN};
	struct rib_nlri n = rig_nlri_numbered(0);
	struct shard_peer p;
	union rig_attrs a;
	struct rig r;

	begin(&r, policy_accept_all());
	rig_attrs_make(&a, loop, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	check_counts(&r, one, 1, 0, 1);
	rig_allow_as_in(&r, 1, 1);
	rig_settle(&r);
	check_counts(&r, one, 1, 1, 1);
	assert_int_equal(shard_loops(r.shard, one, 1, 0, packed(&a.a)), DECISION_EQUAL);
	rig_allow_as_in(&r, 1, 0);
	rig_settle(&r);
	check_counts(&r, one, 1, 0, 1);
	/* the same with our number towards the peer */
	rig_attrs_make(&a, (uint32_t[]){65001, 64999}, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	check_counts(&r, one, 1, 1, 1);
	assert_true(shard_peer_peek(r.shard, one, &p));
	p.local_as = 64999;
	assert_int_equal(shard_peer_change(r.shard, &p), 0);
	rig_settle(&r);
	check_counts(&r, one, 1, 0, 1);
	rig_fini(&r);
}

static void
test_removed_in_a_replay(void **state)
{
	struct rib_nlri last = rig_nlri_numbered(MANY - 1);
	union rig_attrs a;
	struct rig r;

	begin_full(&r, policy_accept_all(), &a);
	shard_peer_import(r.shard, one, rig_family(), policy_deny_all());
	(void)shard_peer_replay(r.shard, one, rig_family());
	(void)rig_turn(&r);
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_put(&r);
	while (!shard_peer_idle(r.shard, one)) {
		assert_int_equal(shard_peer_remove(r.shard, one), -EBUSY);
		(void)rig_turn(&r);
	}
	assert_int_equal(shard_peer_remove(r.shard, one), 0);
	rig_settle(&r);
	/* the same without any route for the flush to find */
	rig_peer(&r, 1, 65001, true, false);
	rig_up(&r, 1, 65001, 1, true);
	keep(&r, one, policy_accept_all());
	announce(&r, 1, &a.a, MANY);
	rig_settle(&r);
	announce(&r, 1, NULL, MANY - 1);
	rig_settle(&r);
	(void)shard_peer_replay(r.shard, one, rig_family());
	rig_update(&r, 1, NULL, &last, 1);
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_drain(&r);
	check_counts(&r, one, 0, 0, 0);
	assert_int_equal(counts(&r, one).replays_done, 0);
	assert_int_equal(shard_peer_remove(r.shard, one), -EBUSY);
	rig_settle(&r);
	assert_int_equal(shard_peer_remove(r.shard, one), 0);
	/* the slot is reused, without old counts */
	rig_peer(&r, 1, 65001, true, false);
	check_counts(&r, one, 0, 0, 0);
	assert_int_equal(shard_peer_replay(r.shard, one, rig_family()), 1);
	rig_fini(&r);
}

/*
 * Refused prefixes come and go beside a consumer that never reads: no tombstone waits for the
 * consumer.
 */
static void
test_flaps_make_no_tombstones(void **state)
{
	struct journal_cursor *stuck;
	struct rib_nlri seen = rig_nlri_numbered(0);
	union rig_attrs a;
	struct rig r;

	begin(&r, policy_deny_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	assert_int_equal(journal_subscribe(shard_journal(r.shard), &stuck), 0);
	journal_set_patience(stuck, JOURNAL_EVICT);
	rig_update(&r, 2, &a.a, &seen, 1); /* an unread entry */
	for (unsigned i = 0; i < 100000; i += 50) {
		struct rib_nlri n[50];

		for (unsigned k = 0; k < 50; k++)
			n[k] = rig_nlri_numbered(1 + (i + k) % 65000);
		rig_update(&r, 1, &a.a, n, 50);
		rig_update(&r, 1, NULL, n, 50);
	}
	rig_settle(&r);
	assert_int_equal(dest_tombstones(shard_table(r.shard, r.table)), 0);
	assert_int_equal(r.evicted, 0);
	for (unsigned i = 0; i < 10; i++)
		rig_settle(&r);
	assert_int_equal(dest_count(shard_table(r.shard, r.table)), 1);
	assert_true(dest_limit(shard_table(r.shard, r.table)) < 70000);
	journal_unsubscribe(shard_journal(r.shard), stuck);
	rig_fini(&r);
}

/* As first_denied(), with a community list, which makes each evaluation slow. */
static struct policy *
with_list(uint32_t local_pref)
{
	struct policy_community_list *l;
	struct policy_builder *b;
	struct policy *p;

	assert_int_equal(policy_community_list_create(&l), 0);
	assert_int_equal(policy_community_list_add(l, true, 65001u << 16 | 1), 0);
	assert_int_equal(policy_community_list_seal(l), 0);
	assert_int_equal(policy_builder_create("with-list", &b), 0);
	policy_builder_node(b, 10, false);
	assert_int_equal(policy_builder_match_community_list(b, l), 0);
	policy_builder_node(b, 20, true);
	policy_builder_set_number(b, NUMBER_LOCAL_PREF, local_pref);
	assert_int_equal(policy_builder_finish(b, &p), 0);
	policy_community_list_unref(l);
	return p;
}

#define OWN 64u

/* Counts turns with an expired deadline; each turn still makes progress. */
static unsigned
turns_of_replay(struct rig *r, const struct policy *p)
{
	unsigned turns = 0;
	uint64_t number;

	shard_peer_import(r->shard, one, rig_family(), p);
	number = shard_peer_replay(r->shard, one, rig_family());
	for (; counts(r, one).replays_done < number && turns < 1000; turns++)
		(void)rig_turn(r);
	return turns;
}

/*
 * Evaluation takes time even for an unchanged route, and turns end in time; withdrawn routes are
 * not evaluated.
 */
static void
test_judging_ends_in_time(void **state)
{
	struct policy *listed = with_list(150), *listed_too = with_list(150),
		      *other = with_list(160), *plain = first_denied(0, 150);
	unsigned turns = 0;
	union rig_attrs a;
	struct rig r;

	begin(&r, listed);
	for (unsigned i = 0; i < OWN; i++) {
		uint32_t path[] = {65001, 1000 + i};
		struct rib_nlri n = rig_nlri_numbered(i);

		rig_attrs_make(&a, path, 2, 0x0a000001);
		rig_update(&r, 1, &a.a, &n, 1);
	}
	rig_settle(&r);
	assert_true(turns_of_replay(&r, listed_too) >= OWN);
	assert_true(turns_of_replay(&r, plain) >= OWN / 16);
	shard_peer_import(r.shard, one, rig_family(), other);
	(void)shard_peer_replay(r.shard, one, rig_family());
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_put(&r);
	for (; counts(&r, one).received > 0 && turns < 1000; turns++)
		(void)rig_turn(&r);
	assert_true(turns < OWN / 4);
	rig_settle(&r);
	rig_fini(&r);
	policy_destroy(listed);
	policy_destroy(listed_too);
	policy_destroy(other);
	policy_destroy(plain);
}

/*
 * Memory of kept routes: at most 8 bytes unchanged or changed, 40 rejected beside another path, 72
 * rejected alone.
 */
static void
test_bytes(void **state)
{
	struct dest_table *t;
	union rig_attrs a;
	size_t plain, bare, changed;
	struct policy *preferring;
	struct rig r;

	begin(&r, policy_accept_all());
	t = shard_table(r.shard, r.table);
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	shard_peer_keep(r.shard, one, rig_family(), false);
	announce(&r, 1, &a.a, MANY);
	rig_settle(&r);
	for (unsigned i = 0; i < 100; i++)
		(void)rig_turn(&r);
	plain = dest_table_bytes(t) + attr_table_bytes(shard_attrs(r.shard));
	shard_peer_keep(r.shard, one, rig_family(), true);
	announce(&r, 1, &a.a, MANY);
	rig_settle(&r);
	check_counts(&r, one, MANY, MANY, MANY);
	bare = dest_table_bytes(t) + attr_table_bytes(shard_attrs(r.shard));
	print_message("kept as it came: %.1f B more\n", ((double)bare - (double)plain) / MANY);
	assert_true(bare - plain <= 8 * MANY);
	preferring = first_denied(0, 200);
	replay(&r, preferring);
	changed = dest_table_bytes(t) + attr_table_bytes(shard_attrs(r.shard));
	print_message("changed by policy: %.1f B more\n", ((double)changed - (double)plain) / MANY);
	assert_true(changed - plain <= 8 * MANY);
	replay(&r, policy_accept_all());
	for (unsigned i = 0; i < 100; i++)
		(void)rig_turn(&r);
	assert_true(dest_table_bytes(t) + attr_table_bytes(shard_attrs(r.shard)) <= bare);
	policy_destroy(preferring);
	/* rejected beside another path */
	keep(&r, two, policy_deny_all());
	plain = bare;
	announce(&r, 2, &a.a, MANY);
	rig_settle(&r);
	check_counts(&r, two, MANY, 0, MANY);
	bare = dest_table_bytes(t) + attr_table_bytes(shard_attrs(r.shard));
	print_message("rejected beside another: %.1f B\n", ((double)bare - (double)plain) / MANY);
	assert_true(bare - plain <= 40 * MANY);
	rig_fini(&r);
	/* rejected alone: with destination and share of the index, which is at most 3/4 full */
	begin(&r, policy_deny_all());
	t = shard_table(r.shard, r.table);
	plain = dest_table_bytes(t);
	announce(&r, 1, &a.a, MANY);
	rig_settle(&r);
	check_counts(&r, one, MANY, 0, MANY);
	for (unsigned i = 0; i < 100; i++)
		(void)rig_turn(&r); /* old, smaller indexes are freed */
	bare = dest_table_bytes(t);
	print_message("rejected alone: %.1f B\n", ((double)bare - (double)plain) / MANY);
	assert_true(bare - plain <= 72 * MANY);
	rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_never_a_candidate),
		cmocka_unit_test(test_replay_is_the_policy_of_now),
		cmocka_unit_test(test_requests_join),
		cmocka_unit_test(test_ids_used_again),
		cmocka_unit_test(test_last_policy_alone),
		cmocka_unit_test(test_on_and_off),
		cmocka_unit_test(test_off_in_a_replay),
		cmocka_unit_test(test_retained),
		cmocka_unit_test(test_loops_are_judged_again),
		cmocka_unit_test(test_removed_in_a_replay),
		cmocka_unit_test(test_flaps_make_no_tombstones),
		cmocka_unit_test(test_judging_ends_in_time),
		cmocka_unit_test(test_bytes),
	};
	int failed = 0;

	role_enter_rib();
	role_enter_session();
	for (unsigned m = 0; m < 2; m++) {
		rig_mode = (enum rig_mode)m;
		failed += cmocka_run_group_tests_name(rig_mode_name(), tests, NULL, NULL);
	}
	return failed;
}
