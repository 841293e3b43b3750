/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keep_all_routes and replay against an oracle with a plain array of received routes, each
 * evaluated separately. Every second seed settles after each step; then the journal must have
 * entries for exactly the destinations with a visible change. Compiled twice: with few peers and
 * path identifiers, and with many peers (KEEL_MANY_PEERS), whose path sets have a front and a tail.
 */
#include "rib/shard/shard.h"

#include "rib/policy/policy_build.h"
#include "tests/lpm/one_thread.h"
#include "tests/lpm/size.h"
#include "tests/rib/rib_test.h"
#include "tests/rib/shard_rig.h"

#include <errno.h>
#include <pthread.h>

#if defined(__SANITIZE_THREAD__)
#define SEEDS 8
#elif defined(KEEL_SANITIZED)
#define SEEDS test_size(8, 16)
#else
#define SEEDS test_size(20, 60)
#endif
#define STEPS 250
#ifdef KEEL_MANY_PEERS
#define PEERS 18
#define PREFIXES 60
#define PATH_IDS 1
#else
#define PEERS 4
#define PREFIXES 400 /* several slices of a walk */
#define PATH_IDS 2
#endif
#define PATHS_MAX (PEERS * PATH_IDS)
#define SETS 14
#define HOPS 3
#define POLICIES 9

static uint64_t rng_state;

static unsigned
below(unsigned n)
{
	return random_below(&rng_state, n);
}

struct route {
	bool there, stale, kept;
	unsigned set;
	enum decision_reason refused;
	union rig_attrs accepted;
};

struct model_peer {
	bool up, keep, refreshing, retained;
	uint8_t allow_as_in;
	unsigned policy;
	uint64_t asked; /* number of the last replay */
	bool replaying;
	uint64_t refused; /* counts.rejected_total, while `exact` */
	struct route route[PREFIXES][PATH_IDS];
};

/* State of a destination as visible to a consumer of the journal. */
struct seen {
	unsigned count, eligible, multipath;
	struct {
		uint16_t peer;
		uint32_t path_id, flags;
		union rig_attrs attrs;
	} path[PATHS_MAX];
};

struct model {
	struct rig rig;
	bool strict, tracking, hop_asked[HOPS], hop_up[HOPS];
	struct policy_eval *eval;
	struct model_peer peer[PEERS + 1];
	struct rib_nlri nlri[PREFIXES];
	union rig_attrs set[SETS];
	unsigned set_loops[SETS];
	const struct policy *policy[POLICIES];
	struct journal_cursor *cursor;
	struct seen seen[PREFIXES];
	unsigned told[PREFIXES]; /* entries since `seen` */
};

/* ---- policies ---- */

static void
match_path(struct policy_builder *b, const char *regex)
{
	struct policy_as_path_list *l;
	char error[128];

	assert_int_equal(policy_as_path_list_create(&l), 0);
	assert_int_equal(policy_as_path_list_add(l, true, regex, error, sizeof(error)), 0);
	assert_int_equal(policy_as_path_list_seal(l), 0);
	assert_int_equal(policy_builder_match_as_path_list(b, l), 0);
	policy_as_path_list_unref(l);
}

static void
match_prefixes(struct policy_builder *b, unsigned step, unsigned first)
{
	struct policy_prefix_list *l = rig_prefix_list(first, step, PREFIXES);

	assert_non_null(l);
	assert_int_equal(policy_builder_match_prefix_list(b, l), 0);
	policy_prefix_list_unref(l);
}

static const struct policy *
finish(struct policy_builder *b)
{
	struct policy *p;

	assert_int_equal(policy_builder_finish(b, &p), 0);
	return p;
}

/* A policy on attributes alone. */
static const struct policy *
policy_attributes(void)
{
	struct policy_builder *b;

	assert_int_equal(policy_builder_create("attributes", &b), 0);
	policy_builder_node(b, 10, false);
	policy_builder_match_number(b, NUMBER_MED, 1, 1);
	policy_builder_node(b, 20, true);
	match_path(b, "_65100_");
	policy_builder_set_number(b, NUMBER_LOCAL_PREF, 300);
	policy_builder_node(b, 30, true);
	return finish(b);
}

/* A policy on prefixes and attributes, with a goto. */
static const struct policy *
policy_mixed(void)
{
	struct policy_builder *b;

	assert_int_equal(policy_builder_create("mixed", &b), 0);
	policy_builder_node(b, 10, false);
	match_prefixes(b, 3, 0);
	policy_builder_match_source(b, SOURCE_EXTERNAL);
	policy_builder_node(b, 20, true);
	match_path(b, "_65101_");
	policy_builder_set_number(b, NUMBER_LOCAL_PREF, 250);
	policy_builder_goto(b, 40);
	policy_builder_node(b, 30, true);
	match_prefixes(b, 2, 1);
	policy_builder_set_prepend(b, 64999, 2);
	policy_builder_node(b, 40, true);
	policy_builder_match_number(b, NUMBER_MED, 0, 1);
	policy_builder_set_origin(b, ORIGIN_INCOMPLETE);
	return finish(b);
}

/* More nodes than a digest has bits. */
static const struct policy *
policy_long(void)
{
	struct ip_addr nobody = rig_hop(0x0a0a0a0a);
	struct policy_builder *b;

	assert_int_equal(policy_builder_create("long", &b), 0);
	for (unsigned i = 1; i <= 70; i++) {
		policy_builder_node(b, i, true);
		policy_builder_match_peer(b, &nobody);
	}
	policy_builder_node(b, 100, false);
	match_prefixes(b, 4, 2);
	policy_builder_node(b, 110, true);
	match_path(b, "_65200_");
	policy_builder_set_number(b, NUMBER_LOCAL_PREF, 90);
	policy_builder_node(b, 120, true);
	return finish(b);
}

/* Sets that differ in MED and preference become equal. */
static const struct policy *
policy_levels(void)
{
	struct policy_builder *b;

	assert_int_equal(policy_builder_create("levels", &b), 0);
	policy_builder_node(b, 10, true);
	policy_builder_set_number(b, NUMBER_LOCAL_PREF, 100);
	policy_builder_set_number(b, NUMBER_MED, 7);
	return finish(b);
}

/* `count` optional steps: more results than there are numbers, with 60 also more than there are keys. */
static const struct policy *
policy_steps(const char *name, unsigned count)
{
	struct policy_builder *b;

	assert_int_equal(policy_builder_create(name, &b), 0);
	for (unsigned i = 1; i <= count; i++) {
		uint8_t community[4] = {0, 1, 0, (uint8_t)i};

		policy_builder_node(b, i, true);
		match_prefixes(b, 2 + i % 7, i % 2);
		assert_int_equal(policy_builder_set_communities(
					 b, COMMUNITIES_STANDARD, EDIT_ADD, community, 1),
			0);
		policy_builder_goto(b, i + 1);
	}
	policy_builder_node(b, count + 1, true);
	policy_builder_match_number(b, NUMBER_MED, 0, 1);
	policy_builder_set_number(b, NUMBER_LOCAL_PREF, 80);
	return finish(b);
}

/* ---- the oracle ---- */

static bool
is_external(unsigned peer)
{
	return peer <= PEERS / 2;
}

static void
judge(struct model *o, unsigned p, unsigned prefix, struct route *r)
{
	const struct policy *policy = o->policy[o->peer[p].policy];
	const struct attr_set *a = &o->set[r->set].a;
	struct policy_context context = {
		.peer = rig_peer_addr((uint16_t)p),
		.family = rig_family(),
		.source = is_external(p) ? SOURCE_EXTERNAL : SOURCE_INTERNAL,
	};
	struct policy_verdict v;

	r->refused = DECISION_EQUAL;
	r->accepted = o->set[r->set];
	if (o->set_loops[r->set] > o->peer[p].allow_as_in) {
		r->refused = DECISION_AS_LOOP;
	} else if (policy == NULL) {
		r->refused = is_external(p) ? DECISION_NO_POLICY : DECISION_EQUAL;
	} else {
		assert_int_equal(policy_eval_begin(o->eval, policy, a, &context), 0);
		assert_int_equal(policy_eval_prefix(o->eval, &o->nlri[prefix].prefix, &v), 0);
		if (!v.permit) {
			r->refused = DECISION_REJECTED_BY_POLICY;
			return;
		}
		memset(&r->accepted, 0, sizeof(r->accepted));
		memcpy(&r->accepted, v.attrs, attr_set_size(v.attrs));
	}
}

static void
each_route(
	struct model *o, unsigned p, void (*fn)(struct model *, unsigned, unsigned, struct route *))
{
	for (unsigned i = 0; i < PREFIXES; i++)
		for (unsigned k = 0; k < PATH_IDS; k++)
			if (o->peer[p].route[i][k].there)
				fn(o, p, i, &o->peer[p].route[i][k]);
}

static void
rejudge(struct model *o, unsigned p, unsigned prefix, struct route *r)
{
	enum decision_reason was = r->refused;

	if (!r->kept)
		return;
	judge(o, p, prefix, r);
	o->peer[p].refused += was == DECISION_EQUAL && r->refused != DECISION_EQUAL;
}

static void
forget(struct model *o, unsigned p, unsigned prefix, struct route *r)
{
	(void)o, (void)p, (void)prefix;
	r->there = false;
}

static void
forget_stale(struct model *o, unsigned p, unsigned prefix, struct route *r)
{
	(void)o, (void)p, (void)prefix;
	if (r->stale)
		r->there = false;
}

static void
age(struct model *o, unsigned p, unsigned prefix, struct route *r)
{
	(void)o, (void)p, (void)prefix;
	r->stale = true;
}

static void
let_go(struct model *o, unsigned p, unsigned prefix, struct route *r)
{
	(void)o, (void)p, (void)prefix;
	if (r->kept && r->refused != DECISION_EQUAL)
		r->there = false;
	r->kept = false;
}

static struct adj_rib_in_counts
counts(struct model *o, unsigned p)
{
	struct adj_rib_in_counts c;

	shard_peer_counts(o->rig.shard, (struct peer_id){(uint16_t)p}, rig_family(), &c);
	return c;
}

/*
 * A finished replay has used the current policy; the oracle must do the same before the policy
 * changes.
 */
static void
catch_up(struct model *o, unsigned p)
{
	rig_drain(&o->rig);
	if (!o->peer[p].replaying || counts(o, p).replays_done < o->peer[p].asked)
		return;
	o->peer[p].replaying = false;
	each_route(o, p, rejudge);
}

/* ---- steps ---- */

static void
announce(struct model *o, unsigned p)
{
	unsigned set = below(SETS), count = 1 + below(below(5) ? 6 : 40), begin = below(PREFIXES);
	struct rib_nlri n[40];

	for (unsigned i = 0; i < count; i++) {
		unsigned prefix = (begin + i) % PREFIXES, id = is_external(p) ? 0 : below(PATH_IDS);
		struct route *r = &o->peer[p].route[prefix][id];

		n[i] = o->nlri[prefix];
		n[i].path_id = id;
		*r = (struct route){.there = true, .set = set, .kept = o->peer[p].keep};
		judge(o, p, prefix, r);
		if (r->refused != DECISION_EQUAL) {
			o->peer[p].refused++;
			r->there = r->kept;
		}
	}
	rig_update(&o->rig, (uint16_t)p, &o->set[set].a, n, count);
}

static void
withdraw(struct model *o, unsigned p)
{
	unsigned count = 1 + below(8), begin = below(PREFIXES);
	struct rib_nlri n[8];

	for (unsigned i = 0; i < count; i++) {
		unsigned prefix = (begin + i) % PREFIXES, id = is_external(p) ? 0 : below(PATH_IDS);

		n[i] = o->nlri[prefix];
		n[i].path_id = id;
		o->peer[p].route[prefix][id].there = false;
	}
	rig_update(&o->rig, (uint16_t)p, NULL, n, count);
}

static void
replay(struct model *o, unsigned p)
{
	uint64_t number;

	catch_up(o, p);
	number = shard_peer_replay(o->rig.shard, (struct peer_id){(uint16_t)p}, rig_family());
	assert_int_equal(number, o->peer[p].asked + 1);
	o->peer[p].asked = number;
	o->peer[p].replaying = true;
}

static void
set_policy(struct model *o, unsigned p)
{
	catch_up(o, p);
	o->peer[p].policy = below(POLICIES);
	shard_peer_import(o->rig.shard, (struct peer_id){(uint16_t)p}, rig_family(),
		o->policy[o->peer[p].policy]);
	if (o->peer[p].keep && o->peer[p].retained && !o->peer[p].up)
		replay(o, p); /* the shard replays without a request, but without a number */
}

static void
set_loops(struct model *o, unsigned p)
{
	catch_up(o, p);
	o->peer[p].allow_as_in = (uint8_t)below(3);
	rig_allow_as_in(&o->rig, (uint16_t)p, o->peer[p].allow_as_in);
	replay(o, p); /* the shard replays without a request, but without a number */
}

static void
set_keep(struct model *o, unsigned p)
{
	/* settle: the progress of a running replay or drop is unknown */
	rig_settle(&o->rig);
	catch_up(o, p);
	o->peer[p].keep = !o->peer[p].keep;
	shard_peer_keep(o->rig.shard, (struct peer_id){(uint16_t)p}, rig_family(), o->peer[p].keep);
	if (o->peer[p].keep)
		return;
	each_route(o, p, let_go);
}

static void
session_lost(struct model *o, unsigned p)
{
	struct model_peer *m = &o->peer[p];

	if (below(2)) {
		rig_down_retained(&o->rig, (uint16_t)p);
		if (m->up && m->retained)
			each_route(o, p, forget_stale);
		if (m->up) {
			each_route(o, p, age);
			m->refreshing = false;
			m->retained = true;
		}
	} else {
		rig_event(&o->rig, RIB_SESSION_DOWN, (uint16_t)p);
		each_route(o, p, forget);
		m->refreshing = m->retained = false;
	}
	m->up = false;
}

static void
session_up(struct model *o, unsigned p)
{
	rig_up(&o->rig, (uint16_t)p, is_external(p) ? 65000 + p : RIG_OWN_ASN, p, is_external(p));
	each_route(o, p, age);
	o->peer[p].refused = 0;
	o->peer[p].up = true;
}

static void
sweep(struct model *o, unsigned p, enum rib_record_kind kind)
{
	struct model_peer *m = &o->peer[p];
	bool sweeps = kind == RIB_END_REFRESH  ? m->refreshing
		      : kind == RIB_END_OF_RIB ? m->retained
					       : m->retained || m->refreshing;

	rig_event(&o->rig, kind, (uint16_t)p);
	if (sweeps)
		each_route(o, p, forget_stale);
	if (kind != RIB_END_OF_RIB)
		m->refreshing = false;
	if (kind != RIB_END_REFRESH)
		m->retained = false;
}

static void
begin_refresh(struct model *o, unsigned p)
{
	rig_event(&o->rig, RIB_BEGIN_REFRESH, (uint16_t)p);
	if (o->peer[p].retained)
		return;
	o->peer[p].refreshing = true;
	each_route(o, p, age);
}

static void
asked(struct rig *r, const struct nexthop_message *m)
{
	struct model *o = r->ctx;
	unsigned h = rig_hop_number(&m->addr) - 0x0a000000;

	assert_in_range(h, 0, HOPS - 1);
	o->hop_asked[h] = !m->unwatch;
	o->hop_up[h] = false;
}

static void
hop_moves(struct model *o)
{
	unsigned h = below(HOPS);

	rig_drain(&o->rig);
	if (!o->hop_asked[h])
		return;
	o->hop_up[h] = !o->hop_up[h];
	rig_tell(&o->rig, 0, 0x0a000000 + h, o->hop_up[h], true, 0);
}

static void
step(struct model *o)
{
	unsigned p = 1 + below(PEERS), what = below(100);

	catch_up(o, p);
	if (what < 4)
		hop_moves(o);
	else if (what < 12)
		set_policy(o, p);
	else if (what < 22) {
		if (below(3))
			set_policy(o, p);
		replay(o, p);
	} else if (what < 26)
		set_keep(o, p);
	else if (what < 29)
		set_loops(o, p);
	else if (what < 31)
		sweep(o, p, RIB_STALE_TIMEOUT);
	else if (!o->peer[p].up)
		session_up(o, p);
	else if (what < 35)
		session_lost(o, p);
	else if (what < 40)
		begin_refresh(o, p);
	else if (what < 46)
		sweep(o, p, below(3) ? RIB_END_REFRESH : RIB_END_OF_RIB);
	else if (what < 56)
		withdraw(o, p);
	else
		announce(o, p);
	for (unsigned n = below(4); n > 0; n--)
		(void)rig_turn(&o->rig);
}

/* ---- comparison ---- */

static void
attrs_equal(const struct attr_set *a, const union rig_attrs *b)
{
	assert_non_null(a);
	assert_int_equal(attr_set_size(a), attr_set_size(&b->a));
	assert_memory_equal(a, &b->a, attr_set_size(a));
}

static void
check_path(struct model *o, const struct rib_path *p, unsigned prefix)
{
	const struct route *r;

	assert_in_range(p->peer.v, 1, PEERS);
	assert_in_range(p->path_id, 0, PATH_IDS - 1);
	r = &o->peer[p->peer.v].route[prefix][p->path_id];
	assert_true(r->there);
	assert_int_equal(shard_path_refused(p), r->refused);
	assert_int_equal(shard_path_stale(o->rig.shard, rig_family(), p), r->stale);
	assert_int_equal(p->received.v != 0, r->kept);
	if (r->kept) /* rib adj-in-pre */
		attrs_equal(attr_unpacked(shard_path_received(o->rig.shard, p)), &o->set[r->set]);
	if (r->refused == DECISION_EQUAL) /* rib adj-in */
		attrs_equal(attr_of(shard_attrs(o->rig.shard), p->accepted), &r->accepted);
	else
		assert_int_equal(p->accepted.v, 0);
}

/* Best path first, rejected paths last: rib loc. */
static void
check_order(struct model *o, const struct dest_view *v)
{
	const struct path_set *set = v->paths;
	struct decision_input in[PATHS_MAX];
	enum decision_reason reason[PATHS_MAX];
	unsigned order[PATHS_MAX], eligible = 0, live = 0;

	/* reversed, so that the order of the set gives no hint */
	for (unsigned i = 0; i < set->count; i++) {
		const struct rib_path *p = &set->path[set->count - 1 - i];

		shard_decision_input(o->rig.shard, p, &in[i]);
		eligible += in[i].eligible;
		live += shard_path_refused(p) == DECISION_EQUAL;
		if (o->tracking && shard_path_refused(p) == DECISION_EQUAL)
			assert_int_equal(in[i].eligible,
				o->hop_up[rig_hop_number(attr_next_hop(in[i].attrs)) - 0x0a000000]);
	}
	decision_order(in, set->count, order, reason);
	for (unsigned i = 0; i < set->count; i++) {
		const struct rib_path *p = &set->path[set->count - 1 - order[i]];

		assert_int_equal(shard_path_refused(&set->path[i]) == DECISION_EQUAL, i < live);
		if (i >= live) {
			assert_int_equal(reason[order[i]], shard_path_refused(p));
			continue;
		}
		if (i >= v->ordered) /* in any order */
			continue;
		assert_int_equal(set->path[i].peer.v, p->peer.v);
		assert_int_equal(set->path[i].path_id, p->path_id);
	}
	assert_int_equal(set->eligible, eligible);
	assert_int_equal(set->multipath, eligible > 0);
}

static void
see(struct model *o, const struct path_set *set, struct seen *out)
{
	memset(out, 0, sizeof(*out));
	if (set == NULL)
		return;
	out->eligible = set->eligible;
	out->multipath = set->multipath;
	for (unsigned i = 0; i < set->count; i++) {
		const struct rib_path *p = &set->path[i];
		const struct attr_set *a = attr_of(shard_attrs(o->rig.shard), p->accepted);

		if (shard_path_refused(p) != DECISION_EQUAL)
			continue;
		out->path[out->count].peer = p->peer.v;
		out->path[out->count].path_id = p->path_id;
		out->path[out->count].flags = p->label_flags;
		memcpy(&out->path[out->count++].attrs, a, attr_set_size(a));
	}
}

static unsigned
prefix_of(const struct prefix *p)
{
	unsigned i = (rig_prefix_number(p) - 0x01000000) >> 8;

	assert_in_range(i, 0, PREFIXES - 1);
	return i;
}

static void
read_journal(struct model *o)
{
	struct journal *j = shard_journal(o->rig.shard);
	struct journal_entry e[64];
	struct dest_view v;
	int n;

	while ((n = journal_read(j, o->cursor, e, 64)) > 0) {
		for (int i = 0; i < n; i++) {
			assert_true(
				dest_peek(shard_table(o->rig.shard, o->rig.table), e[i].dest, &v));
			o->told[prefix_of(&v.prefix)]++;
		}
		journal_advance(j, o->cursor, e[n - 1].sequence);
	}
	assert_int_equal(n, 0);
}

/*
 * Each visible change has a journal entry; without other events, each entry has a visible change.
 */
static void
check_told(struct model *o, unsigned prefix, const struct path_set *set)
{
	struct seen now;

	see(o, set, &now);
	if (memcmp(&now, &o->seen[prefix], sizeof(now)) != 0)
		assert_true(o->told[prefix] > 0);
	else if (o->strict && PEERS <= PATHS_PACKED_MAX) /* a new set of many paths has an entry */
		assert_int_equal(o->told[prefix], 0);
	o->seen[prefix] = now;
	o->told[prefix] = 0;
}

static void
check_counts(struct model *o)
{
	uint64_t received[PEERS + 1] = {0}, accepted[PEERS + 1] = {0}, kept[PEERS + 1] = {0};
	struct dest_table *t = shard_table(o->rig.shard, o->rig.table);
	unsigned dests = 0, paths = 0;

	for (unsigned i = 0; i < PREFIXES; i++) {
		bool any = false;

		for (unsigned p = 1; p <= PEERS; p++)
			for (unsigned k = 0; k < PATH_IDS; k++) {
				const struct route *r = &o->peer[p].route[i][k];

				any |= r->there;
				paths += r->there;
				received[p] += r->there;
				accepted[p] += r->there && r->refused == DECISION_EQUAL;
				kept[p] += r->there && r->kept;
			}
		dests += any;
	}
	for (unsigned p = 1; p <= PEERS; p++) {
		struct adj_rib_in_counts c = counts(o, p);

		assert_int_equal(c.received, received[p]);
		assert_int_equal(c.counted, received[p]);
		assert_int_equal(c.accepted, accepted[p]);
		assert_int_equal(c.kept, kept[p]);
		assert_int_equal(c.replays_done, o->peer[p].asked);
		if (o->strict)
			assert_int_equal(c.rejected_total, o->peer[p].refused);
	}
	assert_int_equal(dest_count(t), dests);
	assert_int_equal(dest_path_count(t), paths);
	assert_int_equal(shard_failures(o->rig.shard), 0);
}

static void
check(struct model *o)
{
	struct dest_view v;

	rig_settle(&o->rig);
	read_journal(o);
	for (unsigned p = 1; p <= PEERS; p++)
		catch_up(o, p);
	for (unsigned i = 0; i < PREFIXES; i++) {
		bool found = rig_view_all(&o->rig, &o->nlri[i].prefix, &v);
		unsigned there = 0;

		for (unsigned p = 1; p <= PEERS; p++)
			for (unsigned k = 0; k < PATH_IDS; k++)
				there += o->peer[p].route[i][k].there;
		assert_int_equal(found ? v.paths->count : 0, there);
		for (unsigned k = 0; k < there; k++)
			check_path(o, &v.paths->path[k], i);
		if (found)
			check_order(o, &v);
		found = rig_view(&o->rig, &o->nlri[i].prefix, &v);
		check_told(o, i, found ? v.paths : NULL);
	}
	check_counts(o);
}

/* ---- the test ---- */

static void
model_init(struct model *o, uint64_t seed)
{
	memset(o, 0, sizeof(*o));
	rng_state = seed;
	o->strict = seed % 2 == 0;
	o->tracking = seed % 4 < 2;
	rig_init(&o->rig, o->tracking);
	o->rig.asked = asked;
	o->rig.ctx = o;
	assert_int_equal(policy_eval_create(o->rig.arena, &o->eval), 0);
	assert_int_equal(journal_subscribe(shard_journal(o->rig.shard), &o->cursor), 0);
	o->policy[1] = policy_accept_all();
	o->policy[2] = policy_deny_all();
	o->policy[3] = policy_attributes();
	o->policy[4] = policy_mixed();
	o->policy[5] = policy_long();
	o->policy[6] = policy_levels();
	o->policy[7] = policy_steps("keys", 10);
	o->policy[8] = policy_steps("no-keys", 60);
	for (unsigned i = 0; i < PREFIXES; i++)
		o->nlri[i] = rig_nlri_numbered(i);
	for (unsigned i = 0; i < SETS; i++) {
		uint32_t path[5] = {
			65001 + below(2), 65100 + below(2), 65200, RIG_OWN_ASN, RIG_OWN_ASN};
		unsigned hops = i < 2 ? 4 + i : below(4);

		o->set_loops[i] = hops > 3 ? hops - 3 : 0;
		rig_attrs_make(&o->set[i], path, hops, 0x0a000000 + below(HOPS));
		o->set[i].a.has |= below(3) ? ATTR_HAS_MED : 0;
		o->set[i].a.med = o->set[i].a.has & ATTR_HAS_MED ? below(3) : 0;
	}
	for (unsigned p = 1; p <= PEERS; p++) {
		rig_peer(&o->rig, (uint16_t)p, is_external(p) ? 65000 + p : RIG_OWN_ASN,
			is_external(p), false);
		set_policy(o, p);
		set_keep(o, p);
		session_up(o, p);
	}
}

/* Removes all routes; no memory or tombstone remains. */
static void
model_fini(struct model *o)
{
	struct dest_table *t = shard_table(o->rig.shard, o->rig.table);

	for (unsigned p = 1; p <= PEERS; p++) {
		rig_event(&o->rig, RIB_SESSION_DOWN, (uint16_t)p);
		each_route(o, p, forget);
		o->peer[p].up = false;
	}
	check(o);
	for (unsigned i = 0; i < 1000; i++)
		(void)rig_turn(&o->rig);
	assert_int_equal(dest_tombstones(t), 0);
	assert_int_equal(attr_table_count(shard_attrs(o->rig.shard)), 0);
	for (unsigned p = 1; p <= PEERS; p++) {
		rig_settle(&o->rig);
		assert_int_equal(shard_peer_remove(o->rig.shard, (struct peer_id){(uint16_t)p}), 0);
	}
	journal_unsubscribe(shard_journal(o->rig.shard), o->cursor);
	policy_eval_destroy(o->eval);
	rig_fini(&o->rig);
	for (unsigned i = 3; i < POLICIES; i++)
		policy_destroy((struct policy *)(uintptr_t)o->policy[i]);
}

static void
run_seeds(enum rig_mode mode)
{
	static struct model o;

	rig_mode = mode;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		print_message("%s, seed %llu\n", rig_mode_name(), (unsigned long long)seed);
		model_init(&o, seed);
		for (unsigned i = 0; i < STEPS; i++) {
			step(&o);
			if (o.strict || below(12) == 0)
				check(&o);
		}
		model_fini(&o);
	}
}

static void
kept_routes_are_what_the_oracle_says_v4(void **state)
{
	(void)state;
	run_seeds(RIG_V4);
}

static void
kept_routes_are_what_the_oracle_says_v6(void **state)
{
	(void)state;
	run_seeds(RIG_V6);
}

/* ---- readers beside the shard (for TSan) ---- */

struct reader {
	struct rig *rig;
	_Atomic bool stop;
	_Atomic unsigned rounds; /* rounds through the whole table */
	uint64_t looked, wrong;
};

static void
look(struct reader *me, const struct rib_path *p)
{
	struct shard *s = me->rig->shard;
	const struct attr_packed *received = shard_path_received(s, p);
	bool refused = shard_path_refused(p) != DECISION_EQUAL;
	struct adj_rib_in_counts c;
	struct decision_input in;
	struct shard_peer known;

	shard_decision_input(s, p, &in);
	me->looked++;
	me->wrong += in.attrs == NULL || in.refused != shard_path_refused(p);
	me->wrong += refused != (p->accepted.v == 0) || (refused && received == NULL);
	me->wrong += (received != NULL) != (p->received.v != 0);
	if (received != NULL && shard_peer_peek(s, p->peer, &known))
		me->looked += shard_loops(s, p->peer, known.allow_as_in[rig_family()],
				      shard_cluster_id(s), received) == DECISION_EQUAL;
	shard_peer_counts(s, p->peer, rig_family(), &c);
	me->wrong += c.replays_done > UINT32_MAX;
}

static void *
reader_main(void *arg)
{
	struct reader *me = arg;
	struct path_set *room = calloc(1, sizeof(*room) + 2 * PEERS * sizeof(room->path[0]));
	unsigned id;

	assert(qsbr_register(me->rig->readers, &id) == 0);
	while (!atomic_load(&me->stop)) {
		struct dest_table *t = shard_table(me->rig->shard, me->rig->table);
		struct dest_view v;

		qsbr_online(me->rig->readers, id);
		for (uint32_t i = 0; i < dest_limit(t); i++) {
			if (!dest_peek_all(t, (struct dest_id){i}, &v, room, 2 * PEERS) ||
				v.paths == NULL)
				continue;
			for (unsigned k = 0; k < v.paths->count; k++)
				look(me, &v.paths->path[k]);
		}
		qsbr_quiescent(me->rig->readers, id);
		qsbr_offline(me->rig->readers, id);
		atomic_fetch_add(&me->rounds, 1);
	}
	qsbr_unregister(me->rig->readers, id);
	free(room);
	return NULL;
}

static void
readers_see_whole_paths(void **state)
{
	static struct model o;
	struct reader reader = {.rig = &o.rig};
	pthread_t thread;

	(void)state;
	rig_mode = RIG_V4;
	model_init(&o, 4711);
	assert_int_equal(pthread_create(&thread, NULL, reader_main, &reader), 0);
	for (unsigned i = 0; i < 4000; i++) {
		unsigned rounds = atomic_load(&reader.rounds);

		step(&o);
		/*
		 * on a busy machine the reader is late: let the reader make rounds in each thousand
		 * steps
		 */
		while (i % 1000 == 999 && atomic_load(&reader.rounds) - rounds < 2)
			sched_yield();
	}
	check(&o);
	atomic_store(&reader.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(reader.wrong, 0);
	assert_true(reader.looked > 0);
	model_fini(&o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		one_thread_test(kept_routes_are_what_the_oracle_says_v4),
		one_thread_test(kept_routes_are_what_the_oracle_says_v6),
		cmocka_unit_test(readers_see_whole_paths),
	};

	role_enter_rib();
	role_enter_session();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
