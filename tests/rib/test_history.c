/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records of changes: the rings, and a shard against an oracle. The oracle compares the table before and
 * after each step. The step names the event.
 */
#include "rib/shard/history.h"

#include "lpm/base/arena.h"
#include "tests/lpm/one_thread.h"
#include "tests/lpm/size.h"
#include "tests/rib/rib_test.h"
#include "tests/rib/shard_rig.h"

#include <pthread.h>

#define V4 FAMILY_IPV4_UNICAST

/* ---- the rings ---- */

static struct arena *arena;
static struct history *history;

static int
begin(void **state)
{
	role_enter_main();
	assert_int_equal(arena_create("history", &arena), 0);
	assert_int_equal(history_create(arena, &history), 0);
	return 0;
}

static int
end(void **state)
{
	history_destroy(history);
	arena_destroy(arena); /* asserts that all memory was freed */
	return 0;
}

/* All members follow from the number. */
static struct history_change
change_at(uint32_t i)
{
	return (struct history_change){.time_ms = 1000ull * i + i % 1000,
		.event = (enum history_event)(i % HISTORY_EVENTS),
		.peer = {(uint16_t)(i % PEER_MAX)},
		.path_id = i * 7,
		.cause = (enum refused_cause)(i % REFUSED_CAUSES),
		.node = ~i,
		.policy = (uint16_t)(i % HISTORY_POLICIES),
		.before = {(uint16_t)(i * 3 % (PEER_MAX + 1))},
		.after = {(uint16_t)(i * 5 % (PEER_MAX + 1))},
		.moved = i % 2 != 0,
		.reason = (enum decision_reason)(i % (DECISION_PREFERENCE + 1)),
		.set = {i + 1},
		.old_set = {i + 2},
		.serial = i + 3,
		.old_serial = i + 4,
		.since_s = i / 2};
}

static void
put(uint32_t i, bool bulk)
{
	struct prefix p = prefix_from_v4(i << 8, 24);
	struct history_change c = change_at(i);

	history_put(history, VRF_DEFAULT, V4, (struct vpn_rd){0}, &p, bulk, &c);
}

static void
assert_change(const struct history_change *got, uint32_t i)
{
	struct history_change want = change_at(i);

	want.sequence = got->sequence;
	assert_memory_equal(got, &want, sizeof(want));
}

static struct history_change found[HISTORY_FOUND];
static uint64_t since[2];

static unsigned
find(uint32_t i)
{
	struct prefix p = prefix_from_v4(i << 8, 24);

	return history_find(history, VRF_DEFAULT, V4, (struct vpn_rd){0}, &p, found, since);
}

/* The ring keeps the newest records with all members. `since` is the time of the oldest record. */
static void
test_remembers(void **state)
{
	assert_int_equal(find(1), 0);
	for (uint32_t i = 0; i < 100; i++)
		put(i, i % 3 == 0);
	for (uint32_t i = 0; i < 100; i++) {
		assert_int_equal(find(i), 1);
		assert_change(&found[0], i);
		assert_int_equal(since[0], 0);
	}
	for (uint32_t i = 100; i < 3 * HISTORY_RING; i++)
		put(i, false);
	for (uint32_t i = 2 * HISTORY_RING - 500; i < 2 * HISTORY_RING + 500; i++)
		assert_int_equal(find(i), i >= 2 * HISTORY_RING);
	assert_int_equal(since[0], 2 * HISTORY_RING * 1000ull);
	assert_int_equal(since[1], 0);
	assert_int_equal(find(3), 1); /* bulk has a ring of its own */
}

/* Sorts records of both rings by sequence. The key is instance, family, distinguisher and prefix. */
static void
test_order_and_key(void **state)
{
	struct prefix p = prefix_from_v4(0x01000000, 24), other = prefix_from_v4(0x01000000, 25);
	const struct vpn_rd rd = {0}, one = {1};

	for (uint32_t i = 0; i < 300; i++) {
		struct history_change c = change_at(i);

		history_put(history, VRF_DEFAULT, V4, rd, &p, i % 3 == 0, &c);
	}
	assert_int_equal(history_find(history, VRF_DEFAULT, V4, rd, &p, found, since), 300);
	for (uint32_t i = 0; i < 300; i++)
		assert_change(&found[i], 299 - i);
	assert_int_equal(history_find(history, VRF_DEFAULT, V4, rd, &other, found, since), 0);
	assert_int_equal(history_find(history, VRF_DEFAULT, V4, one, &p, found, since), 0);
	assert_int_equal(history_find(history, (struct vrf_id){1}, V4, rd, &p, found, since), 0);
	assert_int_equal(
		history_find(history, VRF_DEFAULT, FAMILY_IPV6_UNICAST, rd, &p, found, since), 0);
}

static void
test_policy_names(void **state)
{
	char name[16];

	assert_null(history_policy_name(history, 0));
	for (unsigned i = 1; i < HISTORY_POLICIES; i++) {
		snprintf(name, sizeof(name), "p%u", i);
		assert_int_equal(history_policy(history, name), i);
	}
	assert_int_equal(history_policy(history, "one-more"), 0);
	assert_int_equal(history_policy(history, "p7"), 7);
	assert_string_equal(history_policy_name(history, 7), "p7");
}

static void
test_events_have_names(void **state)
{
	for (enum history_event a = 0; a < HISTORY_EVENTS; a++)
		for (enum history_event b = 0; b < a; b++)
			assert_string_not_equal(history_event_text(a), history_event_text(b));
}

static _Atomic bool stop;

static void *
writer(void *arg)
{
	for (uint32_t i = 0; i < 4 * HISTORY_RING || !atomic_load(&stop); i++)
		put(i % 256, false);
	return NULL;
}

/* A reader beside the writer finds whole records. */
static void
test_beside_the_writer(void **state)
{
	unsigned n, hits = 0;
	pthread_t thread;

	atomic_store(&stop, false);
	assert_int_equal(pthread_create(&thread, NULL, writer, NULL), 0);
	for (uint32_t i = 0; hits < 10000; i++) {
		n = find(i % 256);
		for (unsigned k = 0; k < n; k++)
			assert_change(&found[k], i % 256);
		hits += n;
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
}

/* ---- the shard ---- */

#define PEERS 6 /* 1..4 external, 5 and 6 internal; 4 and 6 keep all routes */
#define PREFIXES 24
#define SETS 10
#define EVENTS_KEPT 64
#define POLICIES 4

struct expected {
	enum history_event event;
	uint16_t peer, before, after;
	bool moved;
	enum decision_reason reason;
	enum refused_cause cause;
	uint32_t node;
	const char *policy; /* NULL: none */
};

struct model {
	struct rig rig;
	uint64_t random;
	const struct policy *policy[POLICIES];
	unsigned peer_policy[PEERS + 1];
	bool up[PEERS + 1], hop_up[PEERS + 1];
	struct rib_nlri nlri[PREFIXES];
	union rig_attrs set[SETS];
	/* newest first */
	struct expected expected[PREFIXES][EVENTS_KEPT];
	unsigned count[PREFIXES];
};

struct snapshot {
	unsigned count, eligible;
	struct rib_path path[PEERS + 1];
};

static void
snapshot(const struct model *o, unsigned prefix, struct snapshot *out)
{
	struct dest_view v;

	*out = (struct snapshot){.count = 0};
	if (!rig_view_all(&o->rig, &o->nlri[prefix].prefix, &v))
		return;
	out->count = v.paths->count;
	out->eligible = v.paths->eligible;
	memcpy(out->path, v.paths->path, out->count * sizeof(out->path[0]));
}

static const struct rib_path *
path_of(const struct snapshot *s, unsigned peer)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->path[i].peer.v == peer)
			return &s->path[i];
	return NULL;
}

static bool
is_rejected(const struct rib_path *p)
{
	return (p->label_flags & PATH_REJECTED) != 0;
}

static uint16_t
best_of(const struct snapshot *s)
{
	return s->eligible > 0 ? s->path[0].peer.v : HISTORY_NO_PEER;
}

/* The step in which the old best path loses. */
static enum decision_reason
reason_of(const struct model *o, const struct snapshot *is, unsigned was)
{
	const struct rib_path *p = path_of(is, was);
	enum decision_reason reason[PEERS + 1];
	struct decision_input in[PEERS + 1];
	unsigned order[PEERS + 1];

	if (p == NULL || is->eligible == 0)
		return DECISION_EQUAL;
	for (unsigned i = 0; i < is->count; i++)
		shard_decision_input(o->rig.shard, &is->path[i], &in[i]);
	decision_order(in, is->count, order, reason);
	return reason[p - is->path];
}

static void
expect(struct model *o, unsigned prefix, struct expected e, const struct snapshot *was,
	const struct snapshot *is)
{
	struct expected *list = o->expected[prefix];

	e.before = best_of(was);
	e.after = best_of(is);
	e.moved = e.before != e.after;
	e.reason = e.moved && e.before != HISTORY_NO_PEER ? reason_of(o, is, e.before)
							  : DECISION_EQUAL;
	memmove(&list[1], &list[0], (EVENTS_KEPT - 1) * sizeof(list[0]));
	list[0] = e;
	o->count[prefix] += o->count[prefix] < EVENTS_KEPT;
}

enum step { ANNOUNCE, WITHDRAW, SESSION, REFRESH, REPLAY, NEXT_HOP };

static const char *
policy_name_of(const struct model *o, unsigned peer)
{
	const struct policy *p = o->policy[o->peer_policy[peer]];

	return p != NULL ? policy_name(p) : NULL;
}

/* The record of a prefix after a step of `peer`. */
static void
expect_of(struct model *o, enum step step, bool bulk, unsigned peer, unsigned prefix,
	const struct snapshot *was, const struct snapshot *is)
{
	const struct rib_path *old = path_of(was, peer), *now = path_of(is, peer);
	struct expected e = {.peer = (uint16_t)peer};
	bool edit = step == ANNOUNCE || step == WITHDRAW;

	if (old == NULL && now == NULL)
		return;
	if (now == NULL) {
		e.event = step == SESSION    ? HISTORY_SESSION_LOST
			  : step == REFRESH  ? HISTORY_STALE
			  : step == ANNOUNCE ? HISTORY_REFUSED
					     : HISTORY_WITHDRAWN;
	} else if (old == NULL) {
		e.event = is_rejected(now) ? HISTORY_REFUSED : HISTORY_ANNOUNCED;
		if (bulk && (best_of(was) == best_of(is) || best_of(was) == HISTORY_NO_PEER))
			return;
	} else if (old->accepted.v == now->accepted.v && old->received.v == now->received.v &&
		   old->label_flags == now->label_flags) {
		return;
	} else if (is_rejected(now)) {
		if (is_rejected(old) && !edit)
			return;
		e.event = HISTORY_REFUSED;
	} else if (edit) {
		e.event = is_rejected(old) ? HISTORY_ANNOUNCED : HISTORY_REPLACED;
	} else if (old->accepted.v != now->accepted.v) {
		e.event = HISTORY_REEVALUATED;
	} else if (step == NEXT_HOP) {
		e.event = now->label_flags & PATH_NEXT_HOP_UP ? HISTORY_NEXT_HOP_UP
							      : HISTORY_NEXT_HOP_DOWN;
	} else {
		return;
	}
	if (e.event == HISTORY_REFUSED) {
		e.cause = o->peer_policy[peer] == 0 ? REFUSED_NO_POLICY : REFUSED_POLICY;
		e.node = edit && o->peer_policy[peer] == 3 ? 10 : 0;
	}
	if (e.cause == REFUSED_POLICY || e.event == HISTORY_REEVALUATED)
		e.policy = policy_name_of(o, peer);
	expect(o, prefix, e, was, is);
}

static void
check(struct model *o, unsigned prefix)
{
	unsigned n = shard_history_find(o->rig.shard, VRF_DEFAULT, V4, (struct vpn_rd){0},
		&o->nlri[prefix].prefix, found, since);

	assert_true(n >= o->count[prefix]);
	if (o->count[prefix] < EVENTS_KEPT)
		assert_int_equal(n, o->count[prefix]);
	for (unsigned i = 0; i < o->count[prefix]; i++) {
		const struct expected *e = &o->expected[prefix][i];
		const char *policy = shard_history_policy(o->rig.shard, found[i].policy);

		assert_string_equal(
			history_event_text(found[i].event), history_event_text(e->event));
		assert_int_equal(found[i].peer.v, e->peer);
		assert_int_equal(found[i].before.v, e->before);
		assert_int_equal(found[i].after.v, e->after);
		assert_int_equal(found[i].moved, e->moved);
		assert_int_equal(found[i].reason, e->reason);
		assert_int_equal(found[i].cause, e->cause);
		assert_int_equal(found[i].node, e->node);
		assert_string_equal(
			policy != NULL ? policy : "", e->policy != NULL ? e->policy : "");
	}
}

static unsigned
below(struct model *o, unsigned n)
{
	return random_below(&o->random, n);
}

static uint32_t
hop_of(unsigned peer)
{
	return 0x0a000000 + peer;
}

static bool
is_external(unsigned peer)
{
	return peer <= 4;
}

/* Denies prefixes with an even number; raises local-pref on the others. */
static struct policy *
make_policy(void)
{
	struct policy_prefix_list *l = rig_prefix_list(0, 2, PREFIXES);
	struct policy_builder *b;
	struct policy *p;

	assert_non_null(l);
	assert_int_equal(policy_builder_create("half", &b), 0);
	assert_int_equal(policy_builder_node(b, 10, false), 0);
	assert_int_equal(policy_builder_match_prefix_list(b, l), 0);
	assert_int_equal(policy_builder_node(b, 20, true), 0);
	policy_builder_set_number(b, NUMBER_LOCAL_PREF, 200);
	assert_int_equal(policy_builder_finish(b, &p), 0);
	policy_prefix_list_unref(l);
	return p;
}

static void
peer_import(struct model *o, unsigned peer, unsigned policy)
{
	o->peer_policy[peer] = policy;
	shard_peer_import(o->rig.shard, (struct peer_id){(uint16_t)peer}, V4, o->policy[policy]);
}

static void
peer_up(struct model *o, unsigned peer)
{
	o->up[peer] = true;
	rig_up(&o->rig, (uint16_t)peer, is_external(peer) ? 65000 + peer : RIG_OWN_ASN, peer,
		is_external(peer));
}

static void
hop_tell(struct model *o, unsigned peer)
{
	rig_tell(&o->rig, 0, hop_of(peer), o->hop_up[peer], o->hop_up[peer], 0);
}

/* The first path of a next hop asks for the state. */
static void
asked(struct rig *r, const struct nexthop_message *m)
{
}

static void
model_init(struct model *o, uint64_t seed)
{
	memset(o, 0, sizeof(*o));
	rig_mode = RIG_V4;
	rig_init(&o->rig, true);
	role_enter_main();
	o->random = seed;
	o->rig.asked = asked;
	o->policy[1] = policy_accept_all();
	o->policy[2] = policy_deny_all();
	o->policy[3] = make_policy();
	for (unsigned i = 0; i < PREFIXES; i++)
		o->nlri[i] = rig_nlri_numbered(i);
	for (unsigned p = 1; p <= PEERS; p++) {
		rig_peer(&o->rig, (uint16_t)p, is_external(p) ? 65000 + p : RIG_OWN_ASN,
			is_external(p), false);
		shard_peer_keep(
			o->rig.shard, (struct peer_id){(uint16_t)p}, V4, p % 2 == 0 && p >= 4);
		peer_import(o, p, 1 + below(o, POLICIES - 1));
		peer_up(o, p);
		o->hop_up[p] = true;
	}
	rig_settle(&o->rig);
}

/* Attributes with the next hop of the peer. */
static void
attrs_make(struct model *o, unsigned peer, union rig_attrs *a)
{
	uint32_t path[3] = {65000 + peer, 65100, 65101};

	rig_attrs_make(a, path, 1 + below(o, 3), hop_of(peer));
	a->a.origin = (uint8_t)below(o, 3);
	if (below(o, 2) != 0) {
		a->a.has |= ATTR_HAS_LOCAL_PREF;
		a->a.local_pref = 100 + below(o, 2);
	}
}

/* Runs and returns a random step of a peer. */
static enum step
model_step(struct model *o, unsigned peer)
{
	enum step step = below(o, 20) < 14 ? ANNOUNCE : (enum step)(1 + below(o, 5));
	unsigned count = 1 + below(o, below(o, 3) == 0 ? PREFIXES : 4);
	struct rib_nlri n[PREFIXES];
	union rig_attrs a;

	for (unsigned i = 0; i < count; i++)
		n[i] = o->nlri[(below(o, 4) + i) % PREFIXES];
	if (!o->up[peer]) {
		peer_up(o, peer);
		rig_settle(&o->rig);
	}
	switch (step) {
	case ANNOUNCE:
		attrs_make(o, peer, &a);
		rig_update(&o->rig, (uint16_t)peer, &a.a, n, count);
		break;
	case WITHDRAW:
		rig_update(&o->rig, (uint16_t)peer, NULL, n, count);
		break;
	case SESSION:
		rig_event(&o->rig, RIB_SESSION_DOWN, (uint16_t)peer);
		o->up[peer] = false;
		break;
	case REFRESH:
		rig_event(&o->rig, RIB_BEGIN_REFRESH, (uint16_t)peer);
		rig_event(&o->rig, RIB_END_REFRESH, (uint16_t)peer);
		break;
	case REPLAY:
		peer_import(o, peer, 1 + below(o, POLICIES - 1));
		(void)shard_peer_replay(o->rig.shard, (struct peer_id){(uint16_t)peer}, V4);
		break;
	case NEXT_HOP:
		o->hop_up[peer] = !o->hop_up[peer];
		break;
	}
	return step;
}

static void
snapshots(const struct model *o, struct snapshot out[PREFIXES])
{
	for (unsigned i = 0; i < PREFIXES; i++)
		snapshot(o, i, &out[i]);
}

static void
test_property(void **state)
{
	static struct snapshot was[PREFIXES], is[PREFIXES];
	static struct model o;
	unsigned seeds = test_size(20, 200);
	uint64_t records = 0;

	for (uint64_t seed = 1; seed <= seeds; seed++) {
		model_init(&o, seed);
		for (unsigned k = 0; k < 600; k++) {
			unsigned peer = 1 + below(&o, PEERS);
			bool bulk = below(&o, 3) == 0;
			enum step step;

			snapshots(&o, was);
			o.rig.bulk = bulk;
			step = model_step(&o, peer);
			rig_settle(&o.rig);
			o.rig.bulk = false;
			snapshots(&o, is);
			for (unsigned i = 0; i < PREFIXES; i++)
				expect_of(&o, step, bulk, peer, i, &was[i], &is[i]);
			/* the answer about the next hop of the peer */
			hop_tell(&o, peer);
			rig_settle(&o.rig);
			snapshots(&o, was);
			for (unsigned i = 0; i < PREFIXES; i++)
				expect_of(&o, NEXT_HOP, true, peer, i, &is[i], &was[i]);
			for (unsigned i = 0; i < PREFIXES; i++)
				check(&o, i);
		}
		for (unsigned i = 0; i < PREFIXES; i++)
			records += o.count[i];
		rig_fini(&o.rig);
		policy_destroy((struct policy *)(uintptr_t)o.policy[3]);
	}
	assert_true(records > seeds * PREFIXES * 20);
}

/* A walk removes several paths of a destination: a record for each path, the last record with the best path. */
static void
test_many_paths_of_one_walk(void **state)
{
	struct rib_nlri n = rig_nlri_numbered(1);
	union rig_attrs a;
	struct rig r;

	rig_mode = RIG_V4;
	rig_init(&r, false);
	role_enter_main();
	for (uint16_t p = 1; p <= 40; p++) {
		rig_peer(&r, p, 65000u + p, true, false);
		shard_peer_import(r.shard, (struct peer_id){p}, V4, policy_accept_all());
		rig_up(&r, p, 65000u + p, p, true);
		rig_attrs_make(&a, path_65001, 2, hop_of(p));
		rig_update(&r, p, &a.a, &n, 1);
	}
	rig_settle(&r);
	assert_int_equal(
		shard_history_find(r.shard, VRF_DEFAULT, V4, n.rd, &n.prefix, found, since), 40);
	for (uint16_t p = 1; p <= 40; p++)
		rig_event(&r, RIB_SESSION_DOWN, p);
	rig_settle(&r);
	/* at most 16 of a change */
	assert_int_equal(
		shard_history_find(r.shard, VRF_DEFAULT, V4, n.rd, &n.prefix, found, since),
		40 + 16);
	for (unsigned i = 0; i < 16; i++) {
		assert_int_equal(found[i].event, HISTORY_SESSION_LOST);
		assert_int_equal(found[i].moved, i == 0);
	}
	assert_int_equal(found[0].before.v, 1);
	assert_int_equal(found[0].after.v, HISTORY_NO_PEER);
	rig_fini(&r);
}

/* A walk over many destinations writes a bounded number of records; later walks write records again. */
static void
test_budget_of_walks(void **state)
{
	const unsigned many = HISTORY_BULK + 3000;
	unsigned recorded = 0, first = 0;
	union rig_attrs a;
	struct rig r;

	rig_mode = RIG_V4;
	rig_init(&r, false);
	role_enter_main();
	rig_peer(&r, 1, 65001, true, false);
	shard_peer_import(r.shard, (struct peer_id){1}, V4, policy_accept_all());
	for (unsigned round = 0; round < 2; round++) {
		rig_up(&r, 1, 65001, 7, true);
		rig_attrs_make(&a, path_65001, 2, 0x0a000001);
		r.bulk = true;
		for (unsigned i = 0; i < (round == 0 ? many : 10); i++) {
			struct rib_nlri n = rig_nlri_numbered(i);

			rig_update(&r, 1, &a.a, &n, 1);
		}
		r.bulk = false;
		rig_settle(&r);
		rig_event(&r, RIB_SESSION_DOWN, 1);
		rig_settle(&r);
		for (unsigned i = 0; round == 0 && i < many; i++) {
			struct rib_nlri n = rig_nlri_numbered(i);

			recorded += shard_history_find(
				r.shard, VRF_DEFAULT, V4, n.rd, &n.prefix, found, since);
		}
		if (round == 0) {
			assert_int_equal(recorded, HISTORY_BULK);
			assert_int_equal(since[0], 0);
			assert_true(since[1] > 0 && since[1] <= r.now_ns / 1000000u);
			first = (unsigned)since[1];
			r.now_ns += (HISTORY_BULK_S + 1) * UINT64_C(1000000000);
		}
	}
	for (unsigned i = 0; i < 10; i++) {
		struct rib_nlri n = rig_nlri_numbered(i);

		assert_true(shard_history_find(
				    r.shard, VRF_DEFAULT, V4, n.rd, &n.prefix, found, since) > 0);
		assert_true(found[0].time_ms > first);
		assert_int_equal(since[1], first);
	}
	rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_remembers, begin, end),
		cmocka_unit_test_setup_teardown(test_order_and_key, begin, end),
		cmocka_unit_test_setup_teardown(test_policy_names, begin, end),
		cmocka_unit_test(test_events_have_names),
		cmocka_unit_test_setup_teardown(test_beside_the_writer, begin, end),
		one_thread_test(test_property),
		one_thread_test(test_many_paths_of_one_walk),
		one_thread_test(test_budget_of_walks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
