/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Make before break (shard_plan_begin): a commit changes the import policies of several peers. Some
 * routes are kept and replayed, others are requested and arrive in any order. At no moment does a
 * destination lose its last usable path when both configurations give the destination a path.
 */
#include "rib/shard/shard.h"

#include "rib/policy/policy_build.h"
#include "tests/lpm/size.h"
#include "tests/rib/shard_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#ifdef KEEL_MANY_PEERS /* path sets with a front and a tail */
#define PEERS 14u
#define ROUNDS_ALL test_size(500, 1500)
#else
#define PEERS 4u
#define ROUNDS_ALL test_size(1500, 5000)
#endif
#define PREFIXES 96u
#ifdef __SANITIZE_ADDRESS__
#define ROUNDS (ROUNDS_ALL / 5)
#else
#define ROUNDS ROUNDS_ALL
#endif

/* Permits the prefixes of [first, end) with this preference. */
struct rule {
	unsigned first, end;
	uint32_t local_pref;
	struct policy *policy;
};

struct world {
	struct rig r;
	struct rule rule[PEERS + 1], next[PEERS + 1];
	bool kept[PEERS + 1], planned[PEERS + 1], finished[PEERS + 1], framed[PEERS + 1];
	bool announced[PEERS + 1][PREFIXES]; /* announced by the peer and not withdrawn */
	unsigned answered[PEERS + 1];
	/*
	 * Announced or withdrawn by a peer during the plan. The old configuration does not evaluate
	 * such a path, and a refused path is not restored.
	 */
	bool touched[PREFIXES];
	uint64_t seed;
};

static unsigned
draw(struct world *w, unsigned n)
{
	w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(w->seed >> 33) % n;
}

static struct rule
rule_make(struct world *w)
{
	struct rule u = {.local_pref = 100 + draw(w, 4)};
	struct policy_prefix_list *l;
	struct policy_builder *b;

	switch (draw(w, 4)) {
	case 0: /* no route */
		break;
	case 1:
		u.end = PREFIXES;
		break;
	default:
		u.first = draw(w, PREFIXES);
		u.end = u.first + draw(w, PREFIXES - u.first + 1);
	}
	l = rig_prefix_list(u.first, 1, u.end);
	assert_non_null(l);
	assert_int_equal(policy_builder_create("rule", &b), 0);
	policy_builder_node(b, 10, true);
	policy_builder_match_prefix_list(b, l);
	policy_builder_set_number(b, NUMBER_LOCAL_PREF, u.local_pref);
	assert_int_equal(policy_builder_finish(b, &u.policy), 0);
	policy_prefix_list_unref(l);
	return u;
}

static bool
permits(const struct rule *u, unsigned i)
{
	return i >= u->first && i < u->end;
}

static void
say(struct world *w, uint16_t peer, unsigned i, bool announce)
{
	const uint32_t path[] = {65000u + peer, 3356};
	struct rib_nlri n = rig_nlri_numbered(i);
	union rig_attrs a;

	rig_attrs_make(&a, path, 2, 0x0a000000 + peer);
	rig_update(&w->r, peer, announce ? &a.a : NULL, &n, 1);
	w->announced[peer][i] = announce;
}

static bool
given(const struct world *w, const struct rule *rule, unsigned i)
{
	for (unsigned p = 1; p <= PEERS; p++)
		if (w->announced[p][i] && permits(&rule[p], i))
			return true;
	return false;
}

static bool
usable(const struct world *w, unsigned i, struct dest_view *v)
{
	struct rib_nlri n = rig_nlri_numbered(i);

	return rig_view(&w->r, &n.prefix, v) && v->paths->eligible > 0;
}

/* A prefix with a path under both configurations has a usable path at every moment. */
static void
check_now(const struct world *w)
{
	struct dest_view v;

	for (unsigned i = 0; i < PREFIXES; i++)
		if (!w->touched[i] && given(w, w->rule, i) && given(w, w->next, i))
			assert_true(usable(w, i, &v));
}

/* The final state equals a fresh start with the new configuration. */
static void
check_end(const struct world *w)
{
	struct dest_view v;

	assert_int_equal(shard_held(w->r.shard), 0);
	for (unsigned i = 0; i < PREFIXES; i++) {
		struct rib_nlri n = rig_nlri_numbered(i);
		unsigned candidates = 0;
		uint32_t best = 0;

		for (unsigned p = 1; p <= PEERS; p++) {
			if (!w->announced[p][i] || !permits(&w->next[p], i))
				continue;
			candidates++;
			if (w->next[p].local_pref > best)
				best = w->next[p].local_pref;
		}
		assert_int_equal(usable(w, i, &v), candidates > 0);
		if (candidates == 0)
			continue;
		assert_true(rig_view_all(&w->r, &n.prefix, &v));
		assert_int_equal(v.paths->eligible, candidates);
		assert_int_equal(
			attr_of(shard_attrs(w->r.shard), v.paths->path[0].accepted)->local_pref,
			best);
		assert_false(rib_path_held(&v.paths->path[0]));
	}
}

static void
begin(struct world *w, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	w->seed = seed;
	rig_init(&w->r, false);
	for (uint16_t p = 1; p <= PEERS; p++) {
		rig_peer(&w->r, p, 65000u + p, true, false);
		w->rule[p] = rule_make(w);
		w->kept[p] = draw(w, 2);
		w->framed[p] = draw(w, 2);
		shard_peer_keep(w->r.shard, (struct peer_id){p}, rig_family(), w->kept[p]);
		shard_peer_import(w->r.shard, (struct peer_id){p}, rig_family(), w->rule[p].policy);
		rig_up(&w->r, p, 65000u + p, p, true);
		for (unsigned i = 0; i < PREFIXES; i++)
			if (draw(w, 3) > 0)
				say(w, p, i, true);
	}
	rig_settle(&w->r);
}

/* A commit as seen by the shard: all policies, then all replays, within one turn. */
static void
plan(struct world *w)
{
	for (uint16_t p = 1; p <= PEERS; p++) {
		w->planned[p] = draw(w, 4) > 0;
		w->next[p] = w->planned[p] ? rule_make(w) : w->rule[p];
		w->finished[p] = !w->planned[p];
		if (!w->planned[p])
			continue;
		shard_plan_begin(
			w->r.shard, (struct peer_id){p}, rig_family(), 1 + draw(w, 7), true);
		shard_peer_import(w->r.shard, (struct peer_id){p}, rig_family(), w->next[p].policy);
	}
	for (uint16_t p = 1; p <= PEERS; p++)
		if (w->planned[p] && w->kept[p])
			(void)shard_peer_replay(w->r.shard, (struct peer_id){p}, rig_family());
}

static void
turns(struct world *w, unsigned n)
{
	rig_put(&w->r);
	while (n-- > 0) {
		(void)rig_turn(&w->r);
		check_now(w);
	}
}

static void
finish(struct world *w, uint16_t p)
{
	shard_plan_done(w->r.shard, (struct peer_id){p}, rig_family());
	w->finished[p] = true;
}

/* Afterwards no path is held. */
static void
finish_both(struct world *w)
{
	finish(w, 1);
	finish(w, 2);
	rig_settle(&w->r);
	assert_int_equal(shard_held(w->r.shard), 0);
}

/* Part of the answer to a route refresh. */
static void
answer(struct world *w, uint16_t p)
{
	if (w->answered[p] == 0 && w->framed[p])
		rig_event(&w->r, RIB_BEGIN_REFRESH, p);
	for (unsigned n = 1 + draw(w, 40); n > 0 && w->answered[p] < PREFIXES; n--) {
		if (w->announced[p][w->answered[p]])
			say(w, p, w->answered[p], true);
		w->answered[p]++;
	}
	turns(w, draw(w, 3));
	if (w->answered[p] < PREFIXES)
		return;
	if (w->framed[p])
		rig_event(&w->r, RIB_END_REFRESH, p);
	rig_drain(&w->r);
	finish(w, p);
}

static void
replay_ends(struct world *w, uint16_t p)
{
	struct adj_rib_in_counts c;

	turns(w, 1 + draw(w, 3));
	shard_peer_counts(w->r.shard, (struct peer_id){p}, rig_family(), &c);
	if (c.replays_done > 0)
		finish(w, p);
}

/* A change unrelated to the commit. */
static void
live(struct world *w)
{
	uint16_t p = (uint16_t)(1 + draw(w, PEERS));
	unsigned i = draw(w, PREFIXES);

	/* a requested route must not be in flight twice */
	if (w->planned[p] && !w->kept[p] && !w->finished[p])
		return;
	w->touched[i] = true;
	say(w, p, i, !w->announced[p][i]);
	rig_drain(&w->r);
}

static void
end(struct world *w)
{
	rig_settle(&w->r);
	check_end(w);
	for (unsigned p = 1; p <= PEERS; p++) {
		policy_destroy(w->rule[p].policy);
		if (w->next[p].policy != w->rule[p].policy)
			policy_destroy(w->next[p].policy);
	}
	rig_fini(&w->r);
}

static void
round_run(uint64_t seed, bool with_live)
{
	struct world w;
	bool left;

	begin(&w, seed);
	plan(&w);
	turns(&w, draw(&w, 4));
	do {
		uint16_t p = (uint16_t)(1 + draw(&w, PEERS));

		if (!w.finished[p] && w.kept[p])
			replay_ends(&w, p);
		else if (!w.finished[p])
			answer(&w, p);
		if (with_live && draw(&w, 3) == 0)
			live(&w);
		check_now(&w);
		left = false;
		for (unsigned i = 1; i <= PEERS; i++)
			left |= !w.finished[i];
	} while (left);
	end(&w);
}

static void
test_random_commits(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++)
		round_run(i, false);
}

/*
 * Peers announce and withdraw other prefixes meanwhile; the final state equals a fresh start for
 * these prefixes, too.
 */
static void
test_beside_live_changes(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++)
		round_run(1000000 + i, true);
}

static struct rule
rule_all(bool permit, uint32_t local_pref)
{
	struct world w = {0};
	struct rule u;

	do {
		if (w.seed > 0 && u.policy != NULL)
			policy_destroy(u.policy);
		u = rule_make(&w);
	} while (u.local_pref != local_pref || (u.end - u.first != (permit ? PREFIXES : 0)));
	return u;
}

/*
 * Kept routes of transit A are refused and kept routes of transit B accepted in one scan: each
 * destination changes once.
 */
static void
test_move_changes_each_destination_once(void **state)
{
	struct rule yes = rule_all(true, 100), no = rule_all(false, 100);
	struct world w = {0};
	uint64_t before;

	(void)state;
	rig_init(&w.r, false);
	for (uint16_t p = 1; p <= 2; p++) {
		rig_peer(&w.r, p, 65000u + p, true, false);
		shard_peer_keep(w.r.shard, (struct peer_id){p}, rig_family(), true);
		shard_peer_import(w.r.shard, (struct peer_id){p}, rig_family(),
			p == 1 ? yes.policy : no.policy);
		rig_up(&w.r, p, 65000u + p, p, true);
		for (unsigned i = 0; i < PREFIXES; i++)
			say(&w, p, i, true);
	}
	rig_settle(&w.r);
	before = journal_head(shard_journal(w.r.shard));
	for (uint16_t p = 1; p <= 2; p++) {
		shard_plan_begin(w.r.shard, (struct peer_id){p}, rig_family(), 3, true);
		shard_peer_import(w.r.shard, (struct peer_id){p}, rig_family(),
			p == 1 ? no.policy : yes.policy);
	}
	for (uint16_t p = 1; p <= 2; p++)
		(void)shard_peer_replay(w.r.shard, (struct peer_id){p}, rig_family());
	rig_settle(&w.r);
	assert_int_equal(journal_head(shard_journal(w.r.shard)) - before, PREFIXES);
	for (unsigned i = 0; i < PREFIXES; i++) {
		struct dest_view v;

		assert_true(usable(&w, i, &v));
		assert_int_equal(v.paths->path[0].peer.v, 2);
		assert_int_equal(rib_path_generation(&v.paths->path[0]), 3);
	}
	finish_both(&w);
	policy_destroy(yes.policy);
	policy_destroy(no.policy);
	rig_fini(&w.r);
}

/*
 * A refused path is not held when no other peer may bring a replacement. Withdrawals and lost
 * sessions are not held either.
 */
static void
test_nothing_is_held_without_reason(void **state)
{
	struct rule yes = rule_all(true, 100), no = rule_all(false, 100);
	struct world w = {0};
	struct dest_view v;

	(void)state;
	rig_init(&w.r, false);
	for (uint16_t p = 1; p <= 2; p++) {
		rig_peer(&w.r, p, 65000u + p, true, false);
		shard_peer_import(w.r.shard, (struct peer_id){p}, rig_family(), yes.policy);
		rig_up(&w.r, p, 65000u + p, p, true);
	}
	for (unsigned i = 0; i < 4; i++)
		say(&w, 1, i, true);
	rig_settle(&w.r);
	shard_plan_begin(w.r.shard, (struct peer_id){1}, rig_family(), 1, true);
	shard_peer_import(w.r.shard, (struct peer_id){1}, rig_family(), no.policy);
	say(&w, 1, 0, true);
	rig_settle(&w.r);
	assert_false(usable(&w, 0, &v));
	/* another peer may bring a replacement: the path is held */
	shard_plan_begin(w.r.shard, (struct peer_id){2}, rig_family(), 1, true);
	say(&w, 1, 1, true);
	say(&w, 1, 2, true);
	say(&w, 1, 3, true);
	rig_settle(&w.r);
	assert_int_equal(shard_held(w.r.shard), 3);
	say(&w, 1, 1, false);
	rig_settle(&w.r);
	assert_false(usable(&w, 1, &v));
	say(&w, 2, 2, true);
	rig_settle(&w.r);
	assert_true(usable(&w, 2, &v));
	assert_int_equal(v.paths->path[0].peer.v, 2);
	assert_int_equal(v.paths->count, 1);
	assert_int_equal(shard_held(w.r.shard), 1);
	rig_event(&w.r, RIB_SESSION_DOWN, 1);
	rig_settle(&w.r);
	assert_false(usable(&w, 3, &v));
	assert_int_equal(shard_held(w.r.shard), 0);
	policy_destroy(yes.policy);
	policy_destroy(no.policy);
	rig_fini(&w.r);
}

/* Prefixes of one UPDATE share their paths; each held path is counted. `kept`: a replay refuses the paths, else an UPDATE. */
static void
held_paths_are_counted(bool kept)
{
	struct rule yes = rule_all(true, 100), no = rule_all(false, 100);
	struct world w = {0};
	struct rib_nlri n[PREFIXES];
	union rig_attrs a;

	rig_init(&w.r, false);
	for (unsigned i = 0; i < PREFIXES; i++)
		n[i] = rig_nlri_numbered(i);
	for (uint16_t p = 1; p <= 2; p++) {
		rig_peer(&w.r, p, 65000u + p, true, false);
		shard_peer_keep(w.r.shard, (struct peer_id){p}, rig_family(), kept);
		shard_peer_import(w.r.shard, (struct peer_id){p}, rig_family(), yes.policy);
		rig_up(&w.r, p, 65000u + p, p, true);
	}
	rig_attrs_make(&a, path_65001, 2, 0x0a000001u);
	rig_update(&w.r, 1, &a.a, n, PREFIXES);
	rig_settle(&w.r);
	for (uint16_t p = 1; p <= 2; p++) {
		shard_plan_begin(w.r.shard, (struct peer_id){p}, rig_family(), 1, true);
		shard_peer_import(w.r.shard, (struct peer_id){p}, rig_family(), no.policy);
	}
	if (kept)
		(void)shard_peer_replay(w.r.shard, (struct peer_id){1}, rig_family());
	else
		rig_update(&w.r, 1, &a.a, n, PREFIXES);
	rig_settle(&w.r);
	assert_int_equal(shard_held(w.r.shard), PREFIXES);
	finish_both(&w);
	policy_destroy(yes.policy);
	policy_destroy(no.policy);
	rig_fini(&w.r);
}

static void
test_held_paths_are_counted(void **state)
{
	(void)state;
	held_paths_are_counted(false);
	held_paths_are_counted(true);
}

/* keep_all_routes ends for a peer with held paths. The walk that drops kept attributes and the walk that drops held paths run in one scan. */
static void
test_held_paths_end_with_kept_attributes(void **state)
{
	struct rule yes = rule_all(true, 100), no = rule_all(false, 100);
	struct world w = {0};
	struct dest_view v;

	(void)state;
	rig_init(&w.r, false);
	for (uint16_t p = 1; p <= 2; p++) {
		rig_peer(&w.r, p, 65000u + p, true, false);
		shard_peer_keep(w.r.shard, (struct peer_id){p}, rig_family(), true);
		shard_peer_import(w.r.shard, (struct peer_id){p}, rig_family(), yes.policy);
		rig_up(&w.r, p, 65000u + p, p, true);
	}
	for (unsigned i = 0; i < PREFIXES; i++)
		say(&w, 1, i, true);
	rig_settle(&w.r);
	for (uint16_t p = 1; p <= 2; p++) {
		shard_plan_begin(w.r.shard, (struct peer_id){p}, rig_family(), 1, true);
		shard_peer_import(w.r.shard, (struct peer_id){p}, rig_family(), no.policy);
	}
	(void)shard_peer_replay(w.r.shard, (struct peer_id){1}, rig_family());
	rig_settle(&w.r);
	assert_int_equal(shard_held(w.r.shard), PREFIXES);
	shard_peer_keep(w.r.shard, (struct peer_id){1}, rig_family(), false);
	finish(&w, 1);
	finish(&w, 2);
	rig_settle(&w.r);
	assert_int_equal(shard_held(w.r.shard), 0);
	for (unsigned i = 0; i < PREFIXES; i++)
		assert_false(usable(&w, i, &v));
	policy_destroy(yes.policy);
	policy_destroy(no.policy);
	rig_fini(&w.r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_held_paths_are_counted),
		cmocka_unit_test(test_held_paths_end_with_kept_attributes),
		cmocka_unit_test(test_move_changes_each_destination_once),
		cmocka_unit_test(test_nothing_is_held_without_reason),
		cmocka_unit_test(test_random_commits),
		cmocka_unit_test(test_beside_live_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
