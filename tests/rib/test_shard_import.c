/* SPDX-License-Identifier: BSD-3-Clause */
/* Records of a session and their effect on routes; stale paths. */
#include "rib/shard/shard.h"

#include "tests/rib/shard_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static void
test_unchanged_writes_nothing(void **state)
{
	struct rib_nlri n[2] = {rig_nlri(0x01010100, 24), rig_nlri(0x01010200, 24)};
	struct dest_view before, after;
	union rig_attrs a;
	struct rig r;
	uint64_t head;

	rig_simple(&r, policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, n, 2);
	rig_settle(&r);
	rig_tell(&r, 0, 0x0a000001, true, true, 0);
	rig_settle(&r);
	head = journal_head(shard_journal(r.shard));
	assert_true(rig_view(&r, &n[0].prefix, &before));
	assert_false(shard_path_stale(r.shard, rig_family(), &before.paths->path[0]));
	rig_event(&r, RIB_BEGIN_REFRESH, 1);
	rig_settle(&r);
	assert_true(shard_path_stale(r.shard, rig_family(), &before.paths->path[0]));
	r.woken = 0;
	rig_update(&r, 1, &a.a, n, 1);
	rig_settle(&r);
	assert_true(rig_view(&r, &n[0].prefix, &after));
	assert_int_equal(before.identity, after.identity);
	assert_int_equal(journal_head(shard_journal(r.shard)), head);
	assert_int_equal(r.woken, 0);
	assert_false(shard_path_stale(r.shard, rig_family(), &after.paths->path[0]));
	rig_event(&r, RIB_END_REFRESH, 1);
	rig_settle(&r);
	assert_true(rig_view(&r, &n[0].prefix, &after));
	assert_false(rig_view(&r, &n[1].prefix, &after)); /* not announced again: swept */
	assert_int_equal(journal_head(shard_journal(r.shard)), head + 1);
	assert_int_equal(rig_received(&r, 1), 1);
	assert_int_equal(r.woken, 1);
	struct adj_rib_in_counts c;

	shard_peer_counts(r.shard, (struct peer_id){1}, rig_family(), &c);
	assert_int_equal(c.stale_swept, 1);
	rig_event(&r, RIB_END_REFRESH, 1); /* EoRR without BoRR */
	rig_settle(&r);
	shard_peer_counts(r.shard, (struct peer_id){1}, rig_family(), &c);
	assert_int_equal(c.eorr_ignored, 1);
	assert_int_equal(rig_received(&r, 1), 1);
	rig_fini(&r);
}

/* One turn: the consumers are woken for the live changes, before the bulk behind them, and once more at the end. */
static void
test_live_wakes(void **state)
{
	struct rib_nlri n[64];
	union rig_attrs a;
	struct rig r;

	rig_simple(&r, policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	for (unsigned i = 0; i < 64; i++)
		n[i] = rig_nlri(0x01000000 + (i << 8), 24);
	for (unsigned live = 0; live < 3; live++) {
		r.woken = 0;
		for (unsigned i = 0; i < 64; i++) {
			a.a.med = live;
			a.a.has |= ATTR_HAS_MED;
			r.bulk = live < 2 && i >= live * 8;
			rig_update(&r, 1, &a.a, &n[i], 1);
		}
		rig_put(&r);
		(void)shard_work(r.shard, r.now_ns, rig_clock() + 60000000000u);
		assert_true(rig_drained(&r));
		assert_int_equal(r.woken, live == 1 ? 2 : 1);
	}
	rig_fini(&r);
}

/*
 * So many BoRR that a 16-bit stamp would wrap and old paths look new: the routes of the lost
 * session then stayed forever.
 */
static void
test_begins_without_end(void **state)
{
	struct rib_nlri n[2] = {rig_nlri(0x01010100, 24), rig_nlri(0x01010200, 24)};
	union rig_attrs a;
	struct dest_view v;
	struct rig r;

	rig_simple(&r, policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	for (unsigned round = 0; round < 2; round++) {
		rig_update(&r, 1, &a.a, n, 2);
		for (unsigned i = 0; i < 40000; i++)
			rig_event(&r, RIB_BEGIN_REFRESH, 1);
		if (round == 0) {
			rig_event(&r, RIB_END_REFRESH, 1);
			rig_settle(&r);
			assert_false(rig_view(&r, &n[0].prefix, &v));
			continue;
		}
		rig_event(&r, RIB_SESSION_DOWN, 1);
		rig_settle(&r);
		assert_false(rig_view(&r, &n[0].prefix, &v));
		assert_false(rig_view(&r, &n[1].prefix, &v));
		assert_int_equal(rig_received(&r, 1), 0);
	}
	rig_fini(&r);
}

static void
test_stale_timeout(void **state)
{
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	union rig_attrs a;
	struct dest_view v;
	struct rig r;

	rig_simple(&r, policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_event(&r, RIB_STALE_TIMEOUT, 1); /* no refresh is open: no effect */
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	rig_event(&r, RIB_BEGIN_REFRESH, 1);
	rig_event(&r, RIB_STALE_TIMEOUT, 1);
	rig_settle(&r);
	assert_false(rig_view(&r, &n.prefix, &v));
	rig_fini(&r);
}

static struct adj_rib_in_counts
counts_of(const struct rig *r, uint16_t peer)
{
	struct adj_rib_in_counts c;

	shard_peer_counts(r->shard, (struct peer_id){peer}, rig_family(), &c);
	return c;
}

/*
 * RFC 4724 4.2: routes survive a restart of the peer; routes not announced again are removed at
 * End-of-RIB.
 */
static void
test_restart(void **state)
{
	struct rib_nlri n[2] = {rig_nlri(0x01010100, 24), rig_nlri(0x01010200, 24)};
	union rig_attrs a;
	struct dest_view v;
	struct rig r;
	uint64_t head;

	rig_simple(&r, policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, n, 2);
	rig_settle(&r);
	rig_tell(&r, 0, 0x0a000001, true, true, 0);
	rig_settle(&r);
	head = journal_head(shard_journal(r.shard));
	rig_down_retained(&r, 1);
	rig_settle(&r);
	assert_int_equal(journal_head(shard_journal(r.shard)), head);
	assert_true(rig_view(&r, &n[0].prefix, &v));
	assert_int_equal(v.paths->eligible, 1); /* still used for forwarding */
	assert_true(shard_path_stale(r.shard, rig_family(), &v.paths->path[0]));
	assert_int_equal(shard_peer_remove(r.shard, (struct peer_id){1}), -EBUSY);
	rig_tell(&r, 0, 0x0a000001, false, false, 0); /* next hops are still tracked */
	rig_settle(&r);
	assert_true(rig_view(&r, &n[0].prefix, &v));
	assert_int_equal(v.paths->eligible, 0);
	rig_tell(&r, 0, 0x0a000001, true, true, 0);
	rig_settle(&r);
	head = journal_head(shard_journal(r.shard));
	rig_up(&r, 1, 65001, 7, true);
	rig_event(&r, RIB_BEGIN_REFRESH, 1); /* a refresh before End-of-RIB */
	rig_update(&r, 1, &a.a, n, 1);
	rig_event(&r, RIB_END_REFRESH, 1);
	rig_settle(&r);
	assert_int_equal(counts_of(&r, 1).borr_ignored, 1);
	assert_int_equal(counts_of(&r, 1).eorr_ignored, 1);
	assert_int_equal(rig_received(&r, 1), 2);
	assert_int_equal(journal_head(shard_journal(r.shard)), head);
	rig_event(&r, RIB_END_OF_RIB, 1);
	rig_settle(&r);
	assert_true(rig_view(&r, &n[0].prefix, &v));
	assert_false(shard_path_stale(r.shard, rig_family(), &v.paths->path[0]));
	assert_false(rig_view(&r, &n[1].prefix, &v));
	assert_int_equal(counts_of(&r, 1).stale_swept, 1);
	rig_event(&r, RIB_BEGIN_REFRESH, 1);
	rig_settle(&r);
	assert_int_equal(counts_of(&r, 1).borr_received, 1);
	rig_fini(&r);
}

/* Consecutive restarts, a restart that takes too long, an abandoned restart. */
static void
test_restarts_end(void **state)
{
	struct rib_nlri n[2] = {rig_nlri(0x01010100, 24), rig_nlri(0x01010200, 24)};
	union rig_attrs a;
	struct rig r;

	rig_simple(&r, policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, n, 2);
	rig_down_retained(&r, 1);
	rig_down_retained(&r, 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 2);
	rig_up(&r, 1, 65001, 7, true);
	rig_update(&r, 1, &a.a, n, 1);
	rig_down_retained(&r, 1); /* lost again before End-of-RIB: stale paths are removed */
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 1);
	rig_event(&r, RIB_STALE_TIMEOUT, 1); /* the session stays down */
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 0);
	assert_true(shard_peer_idle(r.shard, (struct peer_id){1}));
	rig_up(&r, 1, 65001, 7, true);
	rig_update(&r, 1, &a.a, n, 2);
	rig_down_retained(&r, 1);
	rig_up(&r, 1, 65001, 7, true);
	rig_update(&r, 1, &a.a, n, 1);
	rig_event(&r, RIB_STALE_TIMEOUT, 1); /* End-of-RIB never comes */
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 1);
	rig_down_retained(&r, 1);
	rig_event(&r, RIB_SESSION_DOWN, 1); /* retention ends */
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 0);
	rig_up(&r, 1, 65001, 7, true);
	rig_update(&r, 1, &a.a, n, 2);
	rig_down_retained(&r, 1);
	r.without_family = true;
	rig_up(&r, 1, 65001, 7, true); /* the new session lacks the family */
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 0);
	assert_int_equal(attr_table_count(shard_attrs(r.shard)), 0);
	assert_int_equal(shard_failures(r.shard), 0);
	rig_fini(&r);
}

/* Expects the peer of the best path, and whether this path and the other are marked LLGR_STALE. */
static void
expect_ranked(
	const struct rig *r, const struct rib_nlri *n, uint16_t best, bool stale, bool other_stale)
{
	alignas(struct attr_set) uint8_t fixed[sizeof(struct attr_set)];
	struct attr_set *a = (struct attr_set *)(void *)fixed;
	struct dest_view v;

	assert_true(rig_view(r, &n->prefix, &v));
	assert_int_equal(v.paths->path[0].peer.v, best);
	for (unsigned i = 0; i < v.paths->count; i++) {
		attr_unpack_fixed(attr_get(shard_attrs(r->shard), v.paths->path[i].accepted), a);
		assert_int_equal((a->has & ATTR_LLGR_STALE) != 0, i == 0 ? stale : other_stale);
		/* the policy's value stays */
		assert_int_equal(a->local_pref, v.paths->path[i].peer.v == 1 ? 200 : 0);
	}
}

/*
 * RFC 9494 4.2, 4.3: paths of the long-lived phase rank last whatever import policy sets, stay over
 * losses before End-of-RIB, and NO_LLGR removes a path. A path that is received with LLGR_STALE
 * ranks last, too.
 */
static void
test_long_lived(void **state)
{
	struct rib_nlri n[3] = {
		rig_nlri(0x01010100, 24), rig_nlri(0x01010200, 24), rig_nlri(0x01010300, 24)};
	const uint32_t longer[] = {65002, 3356, 65009};
	struct policy_builder *b;
	struct policy *prefer;
	union rig_attrs a, other, never;
	struct dest_view v;
	struct rig r;

	assert_int_equal(policy_builder_create("prefer", &b), 0);
	assert_int_equal(policy_builder_node(b, 10, true), 0);
	policy_builder_set_number(b, NUMBER_LOCAL_PREF, 200);
	assert_int_equal(policy_builder_finish(b, &prefer), 0);
	rig_simple(&r, prefer);
	rig_peer(&r, 2, 65002, true, false);
	shard_peer_import(r.shard, (struct peer_id){2}, rig_family(), policy_accept_all());
	rig_up(&r, 2, 65002, 8, true);
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_attrs_make(&other, longer, 3, 0x0a000002);
	never = a;
	memcpy(never.a.var + never.a.as_path_len, (const uint8_t[]){0xff, 0xff, 0, 7}, 4);
	never.a.community_count = 1;
	rig_update(&r, 1, &a.a, n, 2);
	rig_update(&r, 1, &never.a, &n[2], 1);
	rig_update(&r, 2, &other.a, n, 2);
	rig_tell(&r, 0, 0x0a000001, true, true, 0);
	rig_settle(&r);
	rig_tell(&r, 0, 0x0a000001, true, true, 0);
	rig_tell(&r, 0, 0x0a000002, true, true, 0);
	rig_settle(&r);
	expect_ranked(&r, &n[0], 1, false, false);
	rig_down_retained(&r, 1);
	rig_settle(&r);
	expect_ranked(&r, &n[0], 1, false, false); /* the restart time */
	rig_event(&r, RIB_LONG_LIVED, 1);
	rig_settle(&r);
	expect_ranked(&r, &n[0], 2, false, true);
	expect_ranked(&r, &n[1], 2, false, true);
	assert_false(rig_view(&r, &n[2].prefix, &v));
	/* back, and lost before End-of-RIB: the path that was announced again is stale at once */
	rig_up(&r, 1, 65001, 7, true);
	rig_update(&r, 1, &a.a, n, 1);
	rig_settle(&r);
	expect_ranked(&r, &n[0], 1, false, false);
	expect_ranked(&r, &n[1], 2, false, true);
	rig_down_staying(&r, 1, true);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 2);
	expect_ranked(&r, &n[0], 2, false, true);
	expect_ranked(&r, &n[1], 2, false, true);
	rig_up(&r, 1, 65001, 7, true);
	rig_update(&r, 1, &a.a, n, 1);
	rig_event(&r, RIB_END_OF_RIB, 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 1);
	expect_ranked(&r, &n[0], 1, false, false);
	/* a loss after End-of-RIB begins with the restart time */
	rig_down_retained(&r, 1);
	rig_settle(&r);
	expect_ranked(&r, &n[0], 1, false, false);
	rig_up(&r, 1, 65001, 7, true);
	memcpy(a.a.var + a.a.as_path_len, (const uint8_t[]){0xff, 0xff, 0, 6}, 4);
	a.a.community_count = 1;
	attr_set_derive(&a.a);
	rig_update(&r, 1, &a.a, n, 1);
	rig_settle(&r);
	expect_ranked(&r, &n[0], 2, false, true);
	rig_fini(&r);
	policy_destroy(prefer);
}

/* The peer has announced that it will send End-of-RIB. */
static void
test_refresh_before_end_of_rib(void **state)
{
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	union rig_attrs a;
	struct rig r;

	rig_init(&r, true);
	rig_peer(&r, 1, 65001, true, false);
	shard_peer_import(r.shard, (struct peer_id){1}, rig_family(), policy_accept_all());
	r.end_of_rib = (uint8_t)(1u << rig_family());
	rig_up(&r, 1, 65001, 7, true);
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_event(&r, RIB_BEGIN_REFRESH, 1);
	rig_event(&r, RIB_END_REFRESH, 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 1);
	assert_int_equal(counts_of(&r, 1).borr_ignored, 1);
	rig_event(&r, RIB_END_OF_RIB, 1);
	rig_event(&r, RIB_BEGIN_REFRESH, 1);
	rig_event(&r, RIB_END_REFRESH, 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 0);
	rig_fini(&r);
}

/*
 * RFC 8212; a looped path replaces, thus removes, the earlier path; a rejected route leaves no
 * path.
 */
static void
test_refused(void **state)
{
	static const uint32_t loop[] = {65001, RIG_OWN_ASN, 3356};
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	union rig_attrs good, bad;
	struct dest_view v;
	struct rig r;

	rig_simple(&r, NULL);
	rig_attrs_make(&good, path_65001, 2, 0x0a000001);
	rig_attrs_make(&bad, loop, 3, 0x0a000001);
	rig_update(&r, 1, &good.a, &n, 1);
	rig_settle(&r);
	assert_false(rig_view(&r, &n.prefix, &v));
	assert_int_equal(rig_rejected(&r, 1), 1);
	assert_int_equal(dest_count(shard_table(r.shard, r.table)), 0);
	shard_peer_import(r.shard, (struct peer_id){1}, rig_family(), policy_accept_all());
	rig_update(&r, 1, &good.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 1);
	rig_update(&r, 1, &bad.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 0);
	assert_int_equal(rig_rejected(&r, 1), 2);
	rig_update(&r, 1, &good.a, &n, 1);
	rig_settle(&r);
	shard_peer_import(r.shard, (struct peer_id){1}, rig_family(), policy_deny_all());
	assert_int_equal(rig_received(&r, 1), 1); /* the path stays until announced again */
	rig_update(&r, 1, &good.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 0);
	assert_int_equal(rig_rejected(&r, 1), 3);
	assert_int_equal(attr_table_count(shard_attrs(r.shard)), 0);
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_up(&r, 1, 65001, 7, true);
	rig_settle(&r);
	assert_int_equal(rig_rejected(&r, 1), 0); /* counted since the session came up */
	rig_fini(&r);
}

static unsigned
prefixes_present(struct rig *r, const struct rib_nlri *n, unsigned count)
{
	struct dest_view v;
	unsigned present = 0;

	for (unsigned i = 0; i < count; i++)
		present += rig_view(r, &n[i].prefix, &v);
	return present;
}

/* All prefixes of a record take the result of the first: the limit counts each prefix. */
static void
test_limit_in_record(void **state)
{
	const unsigned limit = 5;
	struct rib_nlri n[12];
	union rig_attrs a, other;
	struct rig r;

	for (unsigned i = 0; i < 12; i++)
		n[i] = rig_nlri_numbered(i);
	rig_simple(&r, policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_attrs_make(&other, path_65001, 1, 0x0a000001);
	r.limit = limit;
	rig_update(&r, 1, &a.a, n, 8);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), limit);
	assert_int_equal(rig_rejected(&r, 1), 3);
	assert_int_equal(prefixes_present(&r, n, limit), limit);
	/* new attributes: no count moves, and a prefix beyond the limit still finds no room */
	rig_update(&r, 1, &other.a, n, 8);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), limit);
	assert_int_equal(prefixes_present(&r, n, limit), limit);
	/* a record with two withdrawals leaves room for two prefixes */
	rig_update(&r, 1, NULL, n, 2);
	rig_update(&r, 1, &a.a, n + 8, 4);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), limit);
	assert_int_equal(prefixes_present(&r, n + 2, 3), 3);
	assert_int_equal(prefixes_present(&r, n + 8, 4), 2);
	rig_fini(&r);
}

/* RFC 4456 8 */
static void
test_reflection_loops(void **state)
{
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	union rig_attrs a;
	struct rig r;

	rig_init(&r, false);
	rig_peer(&r, 1, RIG_OWN_ASN, false, false);
	rig_up(&r, 1, RIG_OWN_ASN, 7, false);
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	/* internal peer without a policy: all routes accepted */
	assert_int_equal(rig_received(&r, 1), 1);
	a.a.has |= ATTR_HAS_ORIGINATOR_ID;
	a.a.originator_id = RIG_ROUTER_ID;
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 0);
	a.a.originator_id = 1;
	a.a.cluster_count = 1;
	memcpy(a.a.var + a.a.as_path_len, (uint8_t[]){0xc0, 0, 2, 1}, 4);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 0);
	a.a.var[a.a.as_path_len] = 1;
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 1);
	rig_fini(&r);
}

static void
test_cluster_id(void **state)
{
	struct shard_settings other = {.cluster_id = 0x01020304};
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	union rig_attrs a;
	struct rig r;

	rig_init(&r, false);
	rig_peer(&r, 1, RIG_OWN_ASN, false, false);
	rig_up(&r, 1, RIG_OWN_ASN, 7, false);
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	a.a.cluster_count = 2;
	memcpy(a.a.var + a.a.as_path_len, (uint8_t[]){9, 9, 9, 9, 1, 2, 3, 4}, 8);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 1);
	shard_settings(r.shard, &other);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 0);
	memcpy(a.a.var + a.a.as_path_len + 4, (uint8_t[]){0xc0, 0, 2, 1}, 4);
	rig_update(&r, 1, &a.a, &n, 1); /* the router id is no longer our cluster id */
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 1);
	shard_settings(r.shard, &(struct shard_settings){0});
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 0);
	rig_fini(&r);
}

static void
test_allow_as_in(void **state)
{
	static const uint32_t twice[] = {65001, RIG_OWN_ASN, 3356, RIG_OWN_ASN};
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	struct shard_peer p;
	union rig_attrs a;
	struct rig r;

	rig_simple(&r, policy_accept_all());
	assert_true(shard_peer_peek(r.shard, (struct peer_id){1}, &p));
	rig_attrs_make(&a, twice, 4, 0x0a000001);
	for (uint8_t allowed = 0; allowed < 4; allowed++) {
		rig_allow_as_in(&r, 1, allowed);
		rig_update(&r, 1, &a.a, &n, 1);
		rig_settle(&r);
		assert_int_equal(rig_received(&r, 1), allowed >= 2);
	}
	/* the own AS number on the session is counted by itself, and not on other sessions */
	rig_attrs_make(&a, (uint32_t[]){65001, 64999, RIG_OWN_ASN}, 3, 0x0a000001);
	for (unsigned i = 0; i < 6; i++) {
		p.allow_as_in[rig_family()] = (uint8_t)(1 - i / 3);
		p.local_as = i % 3 == 0 ? RIG_OWN_ASN : 64999 + i % 3 - 1;
		assert_int_equal(shard_peer_change(r.shard, &p), 0);
		rig_update(&r, 1, &a.a, &n, 1);
		rig_settle(&r);
		assert_int_equal(rig_received(&r, 1), i < 3);
	}
	rig_attrs_make(&a, (uint32_t[]){65001, 64999, 3356}, 3, 0x0a000001);
	for (unsigned i = 0; i < 2; i++) {
		p.local_as = 64999 + i;
		assert_int_equal(shard_peer_change(r.shard, &p), 0);
		rig_update(&r, 1, &a.a, &n, 1);
		rig_settle(&r);
		assert_int_equal(rig_received(&r, 1), i);
	}
	p.vrf.v = 1;
	assert_int_equal(shard_peer_change(r.shard, &p), -EINVAL);
	p.id.v = 2;
	assert_int_equal(shard_peer_change(r.shard, &p), -ENOENT);
	rig_fini(&r);
}

/* Expects `count` samples after that entry; `first` is the first entry with a message (0: none). */
static void
assert_received(const struct rig *r, uint64_t after, uint64_t to, uint64_t first, unsigned count)
{
	uint64_t at = 0, received;
	unsigned n = 0;

	for (; shard_received_next(r->shard, after, to, &at, &received); n++) {
		bool message = first != 0 && first + n <= 50000;

		assert_int_equal(
			received, message ? 1000000000u + (first + n - 1) * 1000000ull : 0);
	}
	assert_int_equal(n, count);
}

static void
test_received_ns(void **state)
{
	struct rib_nlri n;
	union rig_attrs a;
	struct rig r;

	rig_simple(&r, policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	assert_int_equal(shard_received_ns(r.shard, 1), 0);
	for (unsigned i = 0; i < 50000; i++) {
		n = rig_nlri_numbered(i);
		rig_update_in(&r, rig_family(), 1, &a.a, &n, 1, 1000000000u + i * 1000000ull);
	}
	rig_settle(&r);
	assert_int_equal(journal_head(shard_journal(r.shard)), 50000);
	for (uint64_t s = 49990; s <= 50000; s++)
		assert_int_equal(shard_received_ns(r.shard, s), 1000000000u + (s - 1) * 1000000ull);
	assert_int_equal(shard_received_ns(r.shard, 40000), 1000000000u + 39999 * 1000000ull);
	assert_int_equal(shard_received_ns(r.shard, 1), 0); /* overwritten */
	/* entries of a walk belong to no message */
	rig_tell(&r, 0, 0x0a000001, true, true, 0);
	rig_settle(&r);
	assert_int_equal(journal_head(shard_journal(r.shard)), 100000);
	assert_int_equal(shard_received_ns(r.shard, 100000), 0);
	assert_received(&r, 49000, 49500, 49001, 500);
	assert_received(&r, 49999, 50000, 50000, 1);
	assert_received(&r, 50000, 50000, 0, 0);
	assert_received(&r, 50000, 100000, 0, 1); /* walk entries */
	assert_received(&r, 49998, 100000, 49999, 3);
	assert_int_equal(shard_received_ns(r.shard, 50000), 1000000000u + 49999 * 1000000ull);
	rig_fini(&r);
}

static void
test_bad_records(void **state)
{
	struct rib_record head = {.kind = RIB_UPDATE,
		.family = (uint8_t)rig_family(),
		.peer = {1},
		.nlri_count = 200,
		.nlri_len = 800};
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	union rig_attrs a;
	uint8_t *octets;
	struct rig r;

	rig_simple(&r, policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	/* the record claims more than its length: parsing of the batch ends */
	(void)rig_record(&r, &head, 16);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(shard_failures(r.shard), 1);
	assert_int_equal(rig_received(&r, 1), 0);
	rig_update(&r, 77, &a.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(shard_failures(r.shard), 2);
	/* octets that are no prefix, after a prefix: the rest of the record fails */
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 1);
	head.nlri_count = 3;
	head.nlri_len = rib_nlri_len(&n, 0) + 1;
	octets = rig_record(&r, &head, head.nlri_len);
	*rib_nlri_write(octets, &n, 0) = (uint8_t)(prefix_max_len(n.prefix.afi) + 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 0); /* withdrawn by the first prefix */
	assert_int_equal(shard_failures(r.shard), 4);
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_update(&r, 1, &a.a, &n, 1); /* without a session */
	rig_settle(&r);
	assert_int_equal(shard_failures(r.shard), 5);
	assert_int_equal(rig_received(&r, 1), 0);
	assert_true(rig_drained(&r));
	rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unchanged_writes_nothing),
		cmocka_unit_test(test_begins_without_end),
		cmocka_unit_test(test_stale_timeout),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_restarts_end),
		cmocka_unit_test(test_long_lived),
		cmocka_unit_test(test_refresh_before_end_of_rib),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_limit_in_record),
		cmocka_unit_test(test_reflection_loops),
		cmocka_unit_test(test_cluster_id),
		cmocka_unit_test(test_allow_as_in),
		cmocka_unit_test(test_received_ns),
		cmocka_unit_test(test_bad_records),
		cmocka_unit_test(test_live_wakes),
	};

	int failed = 0;

	role_enter_rib();
	role_enter_session();
	for (rig_mode = 0; rig_mode < RIG_MODES; rig_mode++)
		failed += cmocka_run_group_tests_name(rig_mode_name(), tests, NULL, NULL);
	return failed;
}
