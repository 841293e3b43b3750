/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A shard against a model without queues and walks. Compiled twice: with few peers and path
 * identifiers, and with many peers (KEEL_MANY_PEERS), whose path sets have a front and a tail.
 */
#include "rib/shard/shard.h"

#include "rib/policy/policy_build.h"
#include "tests/lpm/one_thread.h"
#include "tests/lpm/size.h"
#include "tests/rib/decision_reference.h"
#include "tests/rib/shard_rig.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static uint64_t rng_state;

static uint64_t
rng(void)
{
	uint64_t z = (rng_state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static unsigned
below(unsigned n)
{
	return (unsigned)(rng() % n);
}

#ifdef KEEL_MANY_PEERS
#define SEEDS_ALL test_size(20, 60)
#define PEERS 40 /* 1..40 */
#define PREFIXES 64
#define HOT_COUNT 16
#define PATH_IDS 1
#define HOPS 12
#define SETS 48
#define MAX_PATHS 12
#else
#define SEEDS_ALL test_size(40, 100)
#define PEERS 6 /* 1..6 */
#define PREFIXES 512 /* several slices of a walk, so that events occur within a walk */
#define HOT_COUNT 16 /* used most of the time, so that paths of several peers meet */
#define PATH_IDS 2
#define HOPS 5
#define SETS 16
#define MAX_PATHS 5
#endif
#ifdef KEEL_SANITIZED /* a sanitizer sees wrong memory in a few; the gcc row has all */
#define SEEDS (SEEDS_ALL / 4)
#else
#define SEEDS SEEDS_ALL /* of 2,000 steps each, in four modes */
#endif
#define PATHS_MOST ((PEERS + 1) * PATH_IDS)

struct model_path {
	bool there, stale;
	union rig_attrs attrs;
};

struct model {
	struct rig rig;
	struct {
		bool exists, up, refreshing, retained, awaiting, negotiated;
		uint32_t router_id;
		unsigned policy;
		uint64_t rejected;
		struct model_path path[PREFIXES][PATH_IDS];
	} peer[PEERS + 1]; /* 0: our own routes */
	struct {
		bool asked, up, connected;
		uint32_t metric;
	} hop[HOPS];
	unsigned max_paths, unwatched;
	struct rib_nlri nlri[PREFIXES];
	union rig_attrs set[SETS];
	bool set_loops[SETS];
	const struct policy *policy[4];
	struct policy *built;
	struct journal_cursor *cursor;
	uint64_t replica[PREFIXES]; /* digests of the paths that readers of the journal use */
};

static unsigned
any_prefix(void)
{
	return below(3) ? below(HOT_COUNT) * (PREFIXES / HOT_COUNT) + 5 % (PREFIXES / HOT_COUNT)
			: below(PREFIXES);
}

/* Two thirds of the peers are external; some share an AS. */
static bool
is_external(unsigned peer)
{
	return peer >= 1 && peer <= (PEERS * 2 + 2) / 3;
}

static uint32_t
peer_asn(unsigned peer)
{
	return is_external(peer) ? 65001 + (peer - 1) % 20 : RIG_OWN_ASN;
}

static bool
is_multihop(unsigned peer)
{
	return peer == 4;
}

static void
model_asked(struct rig *r, const struct nexthop_message *m)
{
	struct model *o = r->ctx;
	unsigned i = rig_hop_number(&m->addr) - 0x0a000000;

	assert_true(i < HOPS);
	assert_int_equal(o->hop[i].asked, m->unwatch);
	o->hop[i].asked = !m->unwatch;
	o->hop[i].up = o->hop[i].connected = false;
	o->hop[i].metric = 0;
	o->unwatched += m->unwatch;
}

/* Denies even third octets; sets local-pref 300 on the others without MED. */
static struct policy *
model_policy(void)
{
	struct policy_prefix_list *l;
	struct policy_builder *b;
	struct policy *p;

	assert_int_equal(policy_prefix_list_create(&l), 0);
	for (unsigned i = 0; i < PREFIXES; i += 2) {
		struct rib_nlri n = rig_nlri(0x01000000 + (i << 8), 24);

		assert_int_equal(
			policy_prefix_list_add(l, true, &n.prefix, n.prefix.len, n.prefix.len), 0);
	}
	assert_int_equal(policy_prefix_list_seal(l), 0);
	assert_int_equal(policy_builder_create("model", &b), 0);
	assert_int_equal(policy_builder_node(b, 10, false), 0);
	assert_int_equal(policy_builder_match_prefix_list(b, l), 0);
	assert_int_equal(policy_builder_node(b, 20, true), 0);
	assert_int_equal(policy_builder_match_number(b, NUMBER_MED, 0, 0), 0);
	policy_builder_set_number(b, NUMBER_LOCAL_PREF, 300);
	assert_int_equal(policy_builder_node(b, 30, true), 0);
	assert_int_equal(policy_builder_finish(b, &p), 0);
	policy_prefix_list_unref(l);
	return p;
}

/* The same policy in C. */
static bool
model_import(unsigned policy, unsigned peer, unsigned prefix, union rig_attrs *a)
{
	switch (policy) {
	case 0:
		return !is_external(peer);
	case 1:
		return true;
	case 2:
		return false;
	default:
		if (prefix % 2 == 0)
			return false;
		if (!(a->a.has & ATTR_HAS_MED) || a->a.med == 0) {
			a->a.has |= ATTR_HAS_LOCAL_PREF;
			a->a.local_pref = 300;
		}
		return true;
	}
}

static void
model_add_peer(struct model *o, unsigned p)
{
	rig_peer(&o->rig, (uint16_t)p, peer_asn(p), is_external(p), is_multihop(p));
	o->peer[p].exists = true;
	o->peer[p].refreshing = o->peer[p].retained = o->peer[p].awaiting = false;
	o->peer[p].policy = below(4);
	o->peer[p].rejected = 0;
	shard_peer_import(o->rig.shard, (struct peer_id){(uint16_t)p}, rig_family(),
		o->policy[o->peer[p].policy]);
}

static void
model_init(struct model *o)
{
	memset(o, 0, sizeof(*o));
	rig_init(&o->rig, true);
	o->rig.asked = model_asked;
	o->rig.ctx = o;
	o->built = model_policy();
	o->policy[1] = policy_accept_all();
	o->policy[2] = policy_deny_all();
	o->policy[3] = o->built;
	assert_int_equal(journal_subscribe(shard_journal(o->rig.shard), &o->cursor), 0);
	for (unsigned i = 0; i < PREFIXES; i++)
		o->nlri[i] = rig_nlri(0x01000000 + (i << 8), 24);
	for (unsigned i = 0; i < SETS; i++) {
		uint32_t path[4] = {65001 + below(PEERS / 2), 65100 + below(2), 65200, RIG_OWN_ASN};

		o->set_loops[i] = i == 0;
		rig_attrs_make(&o->set[i], path, i == 0 ? 4 : below(4), 0x0a000000 + below(HOPS));
		if (below(2)) {
			o->set[i].a.has |= ATTR_HAS_MED;
			o->set[i].a.med = below(3);
		}
		if (below(3) == 0) {
			o->set[i].a.has |= ATTR_HAS_LOCAL_PREF;
			o->set[i].a.local_pref = 99 + below(3);
		}
	}
	for (unsigned p = 1; p <= PEERS; p++)
		model_add_peer(o, p);
}

static void
model_fini(struct model *o)
{
	journal_unsubscribe(shard_journal(o->rig.shard), o->cursor);
	rig_fini(&o->rig);
	policy_destroy(o->built);
}

static void
model_announce(struct model *o, unsigned p)
{
	unsigned set = below(SETS), count = 1 + (below(4) ? below(6) : below(60));
	struct rib_nlri n[60];

	for (unsigned i = 0; i < count; i++) {
		unsigned prefix = any_prefix();
		uint32_t path_id = is_external(p) ? 0 : below(PATH_IDS);
		struct model_path *m = &o->peer[p].path[prefix][path_id];

		n[i] = o->nlri[prefix];
		n[i].path_id = path_id;
		m->attrs = o->set[set];
		m->there =
			!o->set_loops[set] && model_import(o->peer[p].policy, p, prefix, &m->attrs);
		m->stale = false;
		o->peer[p].rejected += !m->there;
	}
	rig_update(&o->rig, (uint16_t)p, &o->set[set].a, n, count);
}

static void
model_withdraw(struct model *o, unsigned p)
{
	unsigned count = 1 + below(4);
	struct rib_nlri n[4];

	for (unsigned i = 0; i < count; i++) {
		unsigned prefix = any_prefix();
		uint32_t path_id = is_external(p) ? 0 : below(PATH_IDS);

		n[i] = o->nlri[prefix];
		n[i].path_id = path_id;
		o->peer[p].path[prefix][path_id].there = false;
	}
	rig_update(&o->rig, (uint16_t)p, NULL, n, count);
}

static void
model_drop(struct model *o, unsigned p, bool only_stale)
{
	for (unsigned i = 0; i < PREFIXES; i++)
		for (unsigned k = 0; k < PATH_IDS; k++)
			if (!only_stale || o->peer[p].path[i][k].stale)
				o->peer[p].path[i][k].there = false;
	o->peer[p].refreshing = o->peer[p].retained = false;
	o->peer[p].awaiting &= only_stale; /* only End-of-RIB ends the wait (RFC 7313 4) */
}

static void
model_stale(struct model *o, unsigned p)
{
	for (unsigned i = 0; i < PREFIXES; i++)
		for (unsigned k = 0; k < PATH_IDS; k++)
			o->peer[p].path[i][k].stale = true;
}

/* RFC 4724 4.2 */
static void
model_retain(struct model *o, unsigned p)
{
	rig_down_retained(&o->rig, (uint16_t)p);
	if (!o->peer[p].up)
		return;
	if (o->peer[p].retained)
		model_drop(o, p, true);
	model_stale(o, p);
	o->peer[p].refreshing = o->peer[p].awaiting = o->peer[p].up = false;
	o->peer[p].retained = true;
}

static void
model_up(struct model *o, unsigned p)
{
	o->peer[p].up = true;
	o->rig.end_of_rib = (uint8_t)(below(2) << rig_family());
	o->rig.without_family = below(8) == 0;
	o->peer[p].negotiated = !o->rig.without_family;
	if (o->peer[p].negotiated) {
		o->peer[p].awaiting = o->rig.end_of_rib != 0;
		o->peer[p].rejected = 0;
	} else if (o->peer[p].retained) {
		model_drop(o, p, false);
	}
	if (below(2))
		o->peer[p].router_id = 1 + below(8);
	rig_up(&o->rig, (uint16_t)p, peer_asn(p), o->peer[p].router_id, is_external(p));
}

static void
model_session(struct model *o, unsigned p)
{
	bool was_up = o->peer[p].up;

	if (below(3) == 0) {
		model_retain(o, p);
		was_up = false;
		if (below(2))
			return;
	} else if (was_up) {
		model_drop(o, p, false);
		o->peer[p].up = false;
		if (below(3))
			rig_event(&o->rig, RIB_SESSION_DOWN, (uint16_t)p);
		else
			was_up = false; /* the next session comes up without a SESSION_DOWN */
	} else if (below(3) == 0) {
		/* the restart took too long */
		model_drop(o, p, false);
		rig_event(&o->rig, RIB_SESSION_DOWN, (uint16_t)p);
	}
	if (!was_up || below(2))
		model_up(o, p);
}

static void
model_refresh(struct model *o, unsigned p)
{
	unsigned what = below(4);

	if (what == 0) {
		rig_event(&o->rig, RIB_BEGIN_REFRESH, (uint16_t)p);
		if (o->peer[p].awaiting || o->peer[p].retained)
			return;
		o->peer[p].refreshing = true;
		model_stale(o, p);
		return;
	}
	if (what == 3) {
		rig_event(&o->rig, RIB_END_OF_RIB, (uint16_t)p);
		if (o->peer[p].retained)
			model_drop(o, p, true);
		o->peer[p].awaiting = false;
		return;
	}
	rig_event(&o->rig, what == 1 ? RIB_END_REFRESH : RIB_STALE_TIMEOUT, (uint16_t)p);
	if (o->peer[p].refreshing || (what == 2 && o->peer[p].retained))
		model_drop(o, p, true);
}

/* Commands act at once, so earlier records are applied first; walks may still be running. */
static void
model_command(struct model *o, unsigned p)
{
	unsigned prefix = any_prefix(), set = 1 + below(SETS - 1), hop = below(HOPS);
	struct peer_id id = {(uint16_t)p};

	rig_drain(&o->rig);
	switch (below(5)) {
	case 4:
		o->max_paths = below(3) ? below(3) : below(MAX_PATHS);
		shard_settings(o->rig.shard, &(struct shard_settings){.max_paths = o->max_paths});
		break;
	case 0:
		o->peer[p].policy = below(4);
		shard_peer_import(o->rig.shard, id, rig_family(), o->policy[o->peer[p].policy]);
		break;
	case 1:
		o->peer[0].path[prefix][0].there = below(2);
		o->peer[0].path[prefix][0].attrs = o->set[set];
		assert_int_equal(shard_originate(o->rig.shard, VRF_DEFAULT, rig_family(),
					 &o->nlri[prefix].prefix,
					 o->peer[0].path[prefix][0].there ? &o->set[set].a : NULL),
			0);
		break;
	case 2:
		if (!o->hop[hop].asked)
			break;
		o->hop[hop].up = below(4) != 0;
		o->hop[hop].connected = o->hop[hop].up && below(4) != 0;
		o->hop[hop].metric = o->hop[hop].up ? below(3) : 0;
		rig_tell(&o->rig, 0, 0x0a000000 + hop, o->hop[hop].up, o->hop[hop].connected,
			o->hop[hop].metric);
		break;
	default:
		if (o->peer[p].up || !shard_peer_idle(o->rig.shard, id))
			break;
		assert_int_equal(shard_peer_remove(o->rig.shard, id), 0);
		o->peer[p].router_id = 0;
		model_add_peer(o, p);
		break;
	}
}

static void
model_step(struct model *o)
{
	unsigned p = 1 + below(PEERS), what = below(40);

	if (what >= 36) {
		model_command(o, p);
	} else if (what >= 33) {
		model_session(o, p);
	} else if (!o->peer[p].up || !o->peer[p].negotiated) {
		if (what != 32 || (o->peer[p].up && !o->peer[p].negotiated))
			return;
		rig_event(&o->rig, RIB_STALE_TIMEOUT, (uint16_t)p);
		if (o->peer[p].retained)
			model_drop(o, p, true);
	} else if (what >= 30) {
		model_refresh(o, p);
	} else if (what >= 20) {
		model_withdraw(o, p);
	} else {
		model_announce(o, p);
	}
	if (below(3) == 0)
		rig_put(&o->rig);
	if (below(20) == 0)
		o->rig.now_ns += 6000000000u; /* unused next hops expire */
	for (unsigned i = below(3); i > 0; i--)
		(void)rig_turn(&o->rig);
}

static void
model_input(const struct model *o, unsigned p, const struct model_path *m, uint32_t path_id,
	struct decision_input *in)
{
	unsigned hop = rig_hop_number(attr_next_hop(&m->attrs.a)) - 0x0a000000;

	*in = (struct decision_input){
		.attrs = &m->attrs.a,
		.external = is_external(p),
		.local = p == 0,
		.router_id = p == 0 ? RIG_ROUTER_ID : o->peer[p].router_id,
		.path_id = path_id,
	};
	if (p != 0) {
		in->peer_addr = rig_peer_addr((uint16_t)p);
		in->igp_metric = o->hop[hop].metric;
	}
	in->eligible = p == 0 ||
		       (o->hop[hop].up && (o->hop[hop].connected || rig_mode == RIG_V6_LINK_LOCAL ||
						  !is_external(p) || is_multihop(p)));
}

static void
check_stored(const struct model *o, const struct rib_path *path, unsigned peer, unsigned prefix,
	const struct decision_input *want)
{
	const struct attr_set *a = attr_of(shard_attrs(o->rig.shard), path->accepted),
			      *b = want->attrs;
	struct decision_input seen;

	assert_int_equal(path->peer.v, peer);
	assert_int_equal(path->path_id, want->path_id);
	assert_int_equal((path->label_flags & PATH_NEXT_HOP_UP) != 0, want->eligible);
	assert_int_equal(path->received.v, 0);
	assert_non_null(a);
	assert_int_equal(attr_set_size(a), attr_set_size(b));
	assert_memory_equal(a, b, attr_set_size(a));
	shard_decision_input(o->rig.shard, path, &seen);
	assert_int_equal(seen.igp_metric, want->igp_metric);
	assert_int_equal(seen.router_id, want->router_id);
	assert_int_equal(seen.external, want->external);
	assert_int_equal(seen.eligible, want->eligible);
	assert_int_equal(shard_path_stale(o->rig.shard, rig_family(), path),
		peer != 0 && (o->peer[peer].refreshing || o->peer[peer].retained) &&
			o->peer[peer].path[prefix][path->path_id].stale);
}

/*
 * The order and the reasons of rib.routes: the ordered paths, then the rest ranked by the reader.
 * want[]: the peer and the reason of each path by rank.
 */
static void
check_reader_ranks(const struct model *o, const struct dest_view *v, const unsigned *from,
	const unsigned *order, const enum decision_reason *reason)
{
	struct decision_input in[PATHS_MOST];
	enum decision_reason mine[PATHS_MOST];
	unsigned mine_order[PATHS_MOST], n = v->paths->count, at = v->ordered;

	for (unsigned i = 0; i < n; i++)
		shard_decision_input(o->rig.shard, &v->paths->path[i], &in[i]);
	decision_order(in, n, mine_order, mine);
	for (unsigned i = 0; i < n; i++) {
		unsigned k = mine_order[i];

		if (k < v->ordered)
			continue;
		assert_int_equal(v->paths->path[k].peer.v, from[order[at++]]);
	}
	assert_int_equal(at, n);
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < n; k++)
			if (v->paths->path[k].peer.v == from[i] &&
				v->paths->path[k].path_id == in[k].path_id && PATH_IDS == 1)
				assert_int_equal(mine[k], reason[i]);
}

static void
model_check_dest(const struct model *o, unsigned prefix)
{
	struct decision_input in[PATHS_MOST];
	enum decision_reason reason[PATHS_MOST];
	unsigned from[PATHS_MOST], order[PATHS_MOST], n = 0, eligible = 0;
	struct dest_view v = {0};

	for (unsigned p = 0; p <= PEERS; p++) {
		for (uint32_t k = 0; k < PATH_IDS; k++) {
			if (!o->peer[p].path[prefix][k].there)
				continue;
			from[n] = p;
			model_input(o, p, &o->peer[p].path[prefix][k], k, &in[n]);
			eligible += in[n++].eligible;
		}
	}
	assert_int_equal(rig_view_all(&o->rig, &o->nlri[prefix].prefix, &v), n > 0);
	if (n == 0)
		return;
	assert_int_equal(v.paths->count, n);
	assert_int_equal(v.paths->eligible, eligible);
	decision_order(in, n, order, reason);
	ref_order(in, n, order);
	assert_int_equal(v.paths->multipath, ref_multipath(in, n, order, o->max_paths));
	/* the paths that forward, and a backup */
	assert_true(v.ordered <= n);
	assert_true(v.ordered == n || v.ordered > v.paths->multipath);
	assert_true(v.ordered == n || v.ordered >= 4);
	for (unsigned i = 0; i < n; i++) {
		unsigned k = i;

		if (i >= v.ordered) /* in any order */
			for (k = v.ordered; k < n; k++)
				if (v.paths->path[k].peer.v == from[order[i]])
					break;
		assert_true(k < n);
		check_stored(o, &v.paths->path[k], from[order[i]], prefix, &in[order[i]]);
		assert_int_equal(
			(v.paths->path[k].label_flags & PATH_NEXT_HOP_UP) != 0, k < eligible);
	}
	check_reader_ranks(o, &v, from, order, reason);
}

/* shard_ailing() has a bit exactly for peers with refusals for causes other than policy. */
static void
assert_ailing(
	const struct shard *shard, struct peer_id peer, const uint64_t refused[REFUSED_CAUSES])
{
	uint64_t bits = shard_ailing(shard, rig_family(), peer.v / 64), count = 0;

	for (enum refused_cause c = 0; c < REFUSED_CAUSES; c++)
		count += refused_alarms(c) ? refused[c] : 0;
	assert_int_equal(bits >> peer.v % 64 & 1, count > 0);
}

/* At any time the counts equal the contents of the table. */
static void
model_check_counts(const struct model *o)
{
	struct dest_table *t = shard_table(o->rig.shard, o->rig.table);
	uint64_t stored[PEERS + 1] = {0}, waiting[PEERS + 1] = {0}, paths = 0, dests = 0;

	for (unsigned i = 0; i < PREFIXES; i++) {
		struct dest_view v;

		if (!rig_view_all(&o->rig, &o->nlri[i].prefix, &v))
			continue;
		dests++;
		for (unsigned k = 0; k < v.paths->count; k++) {
			const struct rib_path *path = &v.paths->path[k];

			stored[path->peer.v]++;
			waiting[path->peer.v] +=
				!(path->label_flags & (PATH_NEXT_HOP_UP | PATH_REJECTED));
		}
		paths += v.paths->count;
	}
	for (unsigned p = 0; p <= PEERS; p++) {
		uint64_t refused[REFUSED_CAUSES];
		struct adj_rib_in_counts c;

		assert_int_equal(rig_received(&o->rig, (uint16_t)p), stored[p]);
		shard_peer_counts(o->rig.shard, (struct peer_id){(uint16_t)p}, rig_family(), &c);
		assert_true(c.counted <= c.received);
		shard_peer_refused(
			o->rig.shard, (struct peer_id){(uint16_t)p}, rig_family(), refused);
		assert_int_equal(refused[REFUSED_NEXT_HOP], waiting[p]);
		assert_ailing(o->rig.shard, (struct peer_id){(uint16_t)p}, refused);
	}
	assert_int_equal(dest_count(t), dests);
	assert_int_equal(dest_path_count(t), paths);
}

/* Of the paths that dest_peek() shows: of many paths the first by rank. */
static uint64_t
paths_digest(const struct dest_view *v)
{
	uint64_t digest = v->paths->multipath + 1u;

	for (unsigned i = 0; i < v->paths->count; i++) {
		const struct rib_path *p = &v->paths->path[i];

		digest = hash_mix(digest + p->peer.v) + p->accepted.v;
		digest = hash_mix(digest + p->label_flags) + p->path_id;
	}
	return digest;
}

/* A consumer of the journal knows the current paths of every destination. */
static void
model_check_journal(struct model *o)
{
	struct journal *j = shard_journal(o->rig.shard);
	struct journal_entry e[64];
	int n;

	while ((n = journal_read(j, o->cursor, e, 64)) > 0) {
		for (int i = 0; i < n; i++) {
			struct dest_view v;

			if (!dest_peek(shard_table(o->rig.shard, e[i].table), e[i].dest, &v))
				continue;
			o->replica[(rig_prefix_number(&v.prefix) - 0x01000000) >> 8] =
				v.paths != NULL ? paths_digest(&v) : 0;
		}
		journal_advance(j, o->cursor, e[n - 1].sequence);
	}
	assert_int_equal(n, 0);
	for (unsigned i = 0; i < PREFIXES; i++) {
		struct dest_view v = {0};

		assert_int_equal(o->replica[i],
			rig_view(&o->rig, &o->nlri[i].prefix, &v) ? paths_digest(&v) : 0);
	}
}

static void
model_check(struct model *o)
{
	rig_settle(&o->rig);
	for (unsigned i = 0; i < PREFIXES; i++)
		model_check_dest(o, i);
	for (unsigned p = 1; p <= PEERS; p++) {
		struct adj_rib_in_counts c;

		shard_peer_counts(o->rig.shard, (struct peer_id){(uint16_t)p}, rig_family(), &c);
		assert_int_equal(c.counted, c.received); /* no sweep is left */
		assert_int_equal(rig_rejected(&o->rig, (uint16_t)p), o->peer[p].rejected);
	}
	model_check_journal(o);
	assert_int_equal(shard_failures(o->rig.shard), 0);
}

static uint64_t property_seed;

static void
test_property(void **state)
{
	static struct model o;
	unsigned unwatched = 0;
	unsigned seeds = getenv("KEEL_SEEDS") != NULL
				 ? (unsigned)strtoul(getenv("KEEL_SEEDS"), NULL, 10)
				 : SEEDS;

	for (property_seed = 1; property_seed <= seeds; property_seed++) {
		rng_state = property_seed;
		model_init(&o);
		for (unsigned step = 0; step < 2000; step++) {
			model_step(&o);
			if (below(30) == 0)
				model_check_counts(&o);
			if (PATH_IDS == 1 && below(5) == 0) {
				rig_settle(&o.rig);
				model_check_dest(&o, any_prefix());
			}
			if (below(150) == 0)
				model_check(&o);
		}
		model_check(&o);
		unwatched += o.unwatched;
		model_fini(&o);
	}
	property_seed = 0;
	assert_true(unwatched > 0);
}

static int
print_seed(void **state)
{
	if (property_seed != 0)
		fprintf(stderr, "test_shard_property: %s, seed %llu\n", rig_mode_name(),
			(unsigned long long)property_seed);
	return 0;
}

/* ---- readers beside the shard (for TSan) ---- */

struct reader {
	struct rig *rig;
	_Atomic bool stop;
	uint64_t seen;
};

static void *
reader_main(void *arg)
{
	struct reader *me = arg;
	struct shard *s = me->rig->shard;
	struct path_set *room = calloc(1, sizeof(*room) + 2 * PATHS_MOST * sizeof(room->path[0]));
	unsigned id;

	assert(qsbr_register(me->rig->readers, &id) == 0);
	while (!atomic_load(&me->stop)) {
		struct dest_table *t = shard_table(s, me->rig->table);

		qsbr_online(me->rig->readers, id);
		for (uint32_t i = 0; i < dest_limit(t); i++) {
			struct adj_rib_in_counts c;
			struct decision_input in;
			struct dest_view v;

			if (!dest_peek_all(t, (struct dest_id){i}, &v, room, 2 * PATHS_MOST) ||
				v.paths == NULL)
				continue;
			assert(v.behind == 0);
			for (unsigned k = 0; k < v.paths->count; k++) {
				for (unsigned j = 0; j < k && PATH_IDS == 1; j++)
					assert(v.paths->path[j].peer.v != v.paths->path[k].peer.v);
				shard_decision_input(s, &v.paths->path[k], &in);
				me->seen += in.attrs != NULL && in.attrs->as_path_hops <= 4;
				me->seen += shard_path_stale(s, rig_family(), &v.paths->path[k]);
				shard_peer_counts(s, v.paths->path[k].peer, rig_family(), &c);
			}
		}
		me->seen += shard_received_ns(s, journal_head(shard_journal(s))) != 0;
		qsbr_quiescent(me->rig->readers, id);
		qsbr_offline(me->rig->readers, id);
	}
	qsbr_unregister(me->rig->readers, id);
	free(room);
	return NULL;
}

static void
test_readers(void **state)
{
	static struct model o;
	struct reader reader = {.rig = &o.rig};
	pthread_t thread;

	rng_state = 4711;
	model_init(&o);
	assert_int_equal(pthread_create(&thread, NULL, reader_main, &reader), 0);
	for (unsigned step = 0; step < thread_turns(20000, 3000); step++)
		model_step(&o);
	rig_settle(&o.rig);
	atomic_store(&reader.stop, true);
	pthread_join(thread, NULL);
	model_check(&o);
	model_fini(&o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		one_thread_test_in(test_property, NULL, print_seed),
		cmocka_unit_test(test_readers),
	};

	int failed = 0;

	role_enter_rib();
	role_enter_session();
	for (rig_mode = 0; rig_mode < RIG_MODES; rig_mode++)
		failed += cmocka_run_group_tests_name(rig_mode_name(), tests, NULL, NULL);
	return failed;
}
