/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/shard.h"

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
	/* asked in the middle of a record: the real one comes later, from another thread */
	uint32_t *pending = r->ctx;

	*pending = rig_hop_number(&m->addr);
}

/* Two prefixes of an external peer whose next hop 10.0.0.1 is connected. */
static void
simple_rig(struct rig *r, const struct policy *import)
{
	rig_init(r, true);
	rig_peer(r, 1, 65001, true, false);
	shard_peer_import(r->shard, (struct peer_id){1}, rig_family(), import);
	rig_up(r, 1, 65001, 7, true);
}

static const uint32_t path_65001[] = {65001, 3356};

/* ---- cases ---- */

static void
test_next_hop_waits(void **state)
{
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	union rig_attrs a;
	struct dest_view v;
	uint32_t asked = 0;
	struct rig r;

	simple_rig(&r, policy_accept_all());
	r.asked = answer_up;
	r.ctx = &asked;
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(asked, 0x0a000001);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->count, 1);
	assert_int_equal(v.paths->eligible, 0); /* not yet answered */
	rig_tell(&r, 0, 0x0a000001, true, false, 0);
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	/* single hop: must be connected, which a link-local one is */
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

static void
test_unchanged_writes_nothing(void **state)
{
	struct rib_nlri n[2] = {rig_nlri(0x01010100, 24), rig_nlri(0x01010200, 24)};
	struct dest_view before, after;
	union rig_attrs a;
	struct rig r;
	uint64_t head;

	simple_rig(&r, policy_accept_all());
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
	assert_false(rig_view(&r, &n[1].prefix, &after)); /* not told again: swept */
	assert_int_equal(journal_head(shard_journal(r.shard)), head + 1);
	assert_int_equal(rig_received(&r, 1), 1);
	assert_int_equal(r.woken, 1);
	struct adj_rib_in_counts c;

	shard_peer_counts(r.shard, (struct peer_id){1}, rig_family(), &c);
	assert_int_equal(c.stale_swept, 1);
	rig_event(&r, RIB_END_REFRESH, 1); /* without BoRR */
	rig_settle(&r);
	shard_peer_counts(r.shard, (struct peer_id){1}, rig_family(), &c);
	assert_int_equal(c.eorr_ignored, 1);
	assert_int_equal(rig_received(&r, 1), 1);
	rig_fini(&r);
}

/* So many BoRR that a 16-bit stamp from before them would look young: the lost session's routes stayed for good. */
static void
test_begins_without_end(void **state)
{
	struct rib_nlri n[2] = {rig_nlri(0x01010100, 24), rig_nlri(0x01010200, 24)};
	union rig_attrs a;
	struct dest_view v;
	struct rig r;

	simple_rig(&r, policy_accept_all());
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

	simple_rig(&r, policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_event(&r, RIB_STALE_TIMEOUT, 1); /* no refresh is open: nothing */
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

/* RFC 4724 4.2: a restart of the peer is no loss of its routes; what it does not tell again goes with End-of-RIB. */
static void
test_restart(void **state)
{
	struct rib_nlri n[2] = {rig_nlri(0x01010100, 24), rig_nlri(0x01010200, 24)};
	union rig_attrs a;
	struct dest_view v;
	struct rig r;
	uint64_t head;

	simple_rig(&r, policy_accept_all());
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
	assert_int_equal(v.paths->eligible, 1); /* still forwarded to */
	assert_true(shard_path_stale(r.shard, rig_family(), &v.paths->path[0]));
	assert_int_equal(shard_peer_remove(r.shard, (struct peer_id){1}), -EBUSY);
	rig_tell(&r, 0, 0x0a000001, false, false, 0); /* tracked as before */
	rig_settle(&r);
	assert_true(rig_view(&r, &n[0].prefix, &v));
	assert_int_equal(v.paths->eligible, 0);
	rig_tell(&r, 0, 0x0a000001, true, true, 0);
	rig_settle(&r);
	head = journal_head(shard_journal(r.shard));
	rig_up(&r, 1, 65001, 7, true);
	rig_event(&r, RIB_BEGIN_REFRESH, 1); /* before End-of-RIB */
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

/* Restarts in a row, one that comes too late, one that was given up. */
static void
test_restarts_end(void **state)
{
	struct rib_nlri n[2] = {rig_nlri(0x01010100, 24), rig_nlri(0x01010200, 24)};
	union rig_attrs a;
	struct rig r;

	simple_rig(&r, policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, n, 2);
	rig_down_retained(&r, 1);
	rig_down_retained(&r, 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 2);
	rig_up(&r, 1, 65001, 7, true);
	rig_update(&r, 1, &a.a, n, 1);
	rig_down_retained(&r, 1); /* before End-of-RIB: what was stale goes */
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
	rig_event(&r, RIB_STALE_TIMEOUT, 1); /* End-of-RIB does not come */
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 1);
	rig_down_retained(&r, 1);
	rig_event(&r, RIB_SESSION_DOWN, 1); /* given up */
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 0);
	rig_up(&r, 1, 65001, 7, true);
	rig_update(&r, 1, &a.a, n, 2);
	rig_down_retained(&r, 1);
	r.without_family = true;
	rig_up(&r, 1, 65001, 7, true); /* without this family */
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 0);
	assert_int_equal(attr_table_count(shard_attrs(r.shard)), 0);
	assert_int_equal(shard_failures(r.shard), 0);
	rig_fini(&r);
}

/* The peer said that it sends End-of-RIB. */
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

/* RFC 8212; a loop takes an earlier path away; a rejected route leaves nothing. */
static void
test_refused(void **state)
{
	static const uint32_t loop[] = {65001, RIG_OWN_ASN, 3356};
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	union rig_attrs good, bad;
	struct dest_view v;
	struct rig r;

	simple_rig(&r, NULL);
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
	assert_int_equal(rig_received(&r, 1), 1); /* stays until it comes again */
	rig_update(&r, 1, &good.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 0);
	assert_int_equal(rig_rejected(&r, 1), 3);
	assert_int_equal(attr_table_count(shard_attrs(r.shard)), 0);
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_up(&r, 1, 65001, 7, true);
	rig_settle(&r);
	assert_int_equal(rig_rejected(&r, 1), 0); /* since the session came up */
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
	assert_int_equal(rig_received(&r, 1), 1); /* internal without policy: all */
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
	rig_update(&r, 1, &a.a, &n, 1); /* the router id is no cluster of ours any more */
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

	simple_rig(&r, policy_accept_all());
	assert_true(shard_peer_peek(r.shard, (struct peer_id){1}, &p));
	rig_attrs_make(&a, twice, 4, 0x0a000001);
	for (uint8_t allowed = 0; allowed < 4; allowed++) {
		rig_allow_as_in(&r, 1, allowed);
		rig_update(&r, 1, &a.a, &n, 1);
		rig_settle(&r);
		assert_int_equal(rig_received(&r, 1), allowed >= 2);
	}
	p.vrf.v = 1;
	assert_int_equal(shard_peer_change(r.shard, &p), -EINVAL);
	p.id.v = 2;
	assert_int_equal(shard_peer_change(r.shard, &p), -ENOENT);
	rig_fini(&r);
}

/* Routes that are there follow the peer's new kind. */
static void
test_multihop_changes(void **state)
{
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	struct shard_peer p;
	union rig_attrs a;
	struct dest_view v;
	struct rig r;

	simple_rig(&r, policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	rig_tell(&r, 0, 0x0a000001, true, false, 0);
	assert_true(shard_peer_peek(r.shard, (struct peer_id){1}, &p));
	for (unsigned i = 0; i < 4; i++) {
		p.multihop = i % 2;
		assert_int_equal(shard_peer_change(r.shard, &p), 0);
		rig_settle(&r);
		assert_true(rig_view(&r, &n.prefix, &v));
		assert_int_equal(v.paths->eligible, p.multihop || rig_mode == RIG_V6_LINK_LOCAL);
	}
	rig_fini(&r);
}

/* The new session's routes survive the flush of the old one's, which they do not wait for. */
static void
test_flush_and_new_session(void **state)
{
	enum { N = 5000 };
	union rig_attrs a, other;
	struct rib_nlri n;
	struct dest_view v;
	unsigned left = 0;
	struct rig r;

	simple_rig(&r, policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_attrs_make(&other, path_65001, 1, 0x0a000001);
	for (unsigned i = 0; i < N; i++) {
		n = rig_nlri(0x01000000 + (i << 8), 24);
		rig_update(&r, 1, &a.a, &n, 1);
	}
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), N);
	assert_int_equal(shard_peer_remove(r.shard, (struct peer_id){1}), -EBUSY);
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_up(&r, 1, 65001, 8, true);
	/* one of them equal, one changed, while almost all of the table is still to be flushed */
	n = rig_nlri(0x01000000 + ((N - 1) << 8), 24);
	rig_update(&r, 1, &a.a, &n, 1);
	n = rig_nlri(0x01000000 + ((N - 2) << 8), 24);
	rig_update(&r, 1, &other.a, &n, 1);
	rig_event(&r, RIB_BEGIN_REFRESH,
		1); /* and a refresh in the middle: they are stale, and not of the lost session */
	rig_drain(&r);
	assert_true(rig_received(&r, 1) > N / 2);
	assert_false(shard_peer_idle(r.shard, (struct peer_id){1}));
	rig_settle(&r);
	for (unsigned i = 0; i < N; i++) {
		n = rig_nlri(0x01000000 + (i << 8), 24);
		left += rig_view(&r, &n.prefix, &v);
	}
	assert_int_equal(left, 2);
	assert_int_equal(rig_received(&r, 1), 2);
	rig_event(&r, RIB_END_REFRESH, 1);
	rig_settle(&r);
	assert_int_equal(rig_received(&r, 1), 0);
	struct adj_rib_in_counts c;

	shard_peer_counts(r.shard, (struct peer_id){1}, rig_family(), &c);
	assert_int_equal(c.stale_swept, 2); /* a flush is no sweep */
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_settle(&r);
	assert_true(shard_peer_idle(r.shard, (struct peer_id){1}));
	assert_int_equal(shard_peer_remove(r.shard, (struct peer_id){1}), 0);
	assert_int_equal(attr_table_count(shard_attrs(r.shard)), 0);
	rig_fini(&r);
}

/* A new router id ranks an equal path anew, although nothing of the path changed. */
static void
test_router_id_changes(void **state)
{
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	union rig_attrs a;
	struct dest_view v;
	struct rig r;

	rig_init(&r, false);
	for (uint16_t p = 1; p <= 2; p++) {
		rig_peer(&r, p, RIG_OWN_ASN, false, false);
		rig_up(&r, p, RIG_OWN_ASN, 10u + p, false);
	}
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_update(&r, 2, &a.a, &n, 1);
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->path[0].peer.v, 1);
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_up(&r, 1, RIG_OWN_ASN, 99, false);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->count, 2);
	assert_int_equal(v.paths->path[0].peer.v, 2);
	rig_fini(&r);
}

/* Of `count` prefixes, each with an entry: were these `aside`? */
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

/* Whom only best paths concern passes `aside` entries over: where the best path is another, or is to be told again, it must not be one. */
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
	rig_update(&r, 1, &a[2].a, n, 2); /* the first */
	expect_entries(&r, c, 2, false);
	rig_update(&r, 2, &a[3].a, n, 2);
	expect_entries(&r, c, 2, true);
	rig_update(&r, 2, &a[4].a, n, 2);
	expect_entries(&r, c, 2, true);
	rig_update(&r, 3, &a[4].a, n, 2);
	expect_entries(&r, c, 2, true);
	rig_update(&r, 3, NULL, n, 2);
	expect_entries(&r, c, 2, true);
	rig_update(&r, 1, &a[3].a, n, 2); /* another set of the best */
	expect_entries(&r, c, 2, false);
	rig_update(&r, 3, &a[1].a, n, 2); /* a better one */
	expect_entries(&r, c, 2, false);
	rig_update(&r, 1, &a[2].a, n, 2);
	expect_entries(&r, c, 2, true);
	rig_update(&r, 3, NULL, n, 2); /* the best goes */
	expect_entries(&r, c, 2, false);
	rig_update(&r, 1, NULL, n, 2);
	expect_entries(&r, c, 2, false);
	rig_update(&r, 1, &a[4].a, n, 2); /* the same set, of another peer: by router id */
	expect_entries(&r, c, 2, false);
	rig_update(&r, 2, NULL, n, 2);
	expect_entries(&r, c, 2, true);
	rig_update(&r, 2, &a[4].a, n, 2);
	expect_entries(&r, c, 2, true);
	/* the same set of the same peer, which is another router now */
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_up(&r, 1, RIG_OWN_ASN, 5, false);
	rig_update(&r, 1, &a[4].a, n, 2);
	expect_entries(&r, c, 2, false);
	rig_update(&r, 2, NULL, n, 2);
	expect_entries(&r, c, 2, true);
	rig_update(&r, 1, NULL, n, 2); /* the last */
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

	simple_rig(&r, policy_accept_all());
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

/* `networks` and redistributed routes: each with attributes of its own, equal ones shared. */
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
					 i % 2 ? SOURCE_STATIC : SOURCE_KERNEL, &a.a),
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
			attr_get(shard_attrs(r.shard), v.paths->path[0].accepted)->med, i / 10);
	}
	/* the same again writes nothing; another source does */
	uint64_t head = journal_head(shard_journal(r.shard));

	assert_int_equal(shard_originate_from(r.shard, VRF_DEFAULT, rig_family(), &n.prefix,
				 SOURCE_STATIC, &a.a),
		0);
	assert_int_equal(journal_head(shard_journal(r.shard)), head);
	assert_int_equal(shard_originate_from(r.shard, VRF_DEFAULT, rig_family(), &n.prefix,
				 SOURCE_CONNECTED, &a.a),
		0);
	assert_int_equal(journal_head(shard_journal(r.shard)), head + 1);
	for (unsigned i = 0; i < N; i++) {
		n = rig_nlri(0x01000000 + (i << 8), 24);
		assert_int_equal(shard_originate_from(r.shard, VRF_DEFAULT, rig_family(), &n.prefix,
					 SOURCE_STATIC, NULL),
			0);
	}
	rig_settle(&r);
	assert_int_equal(attr_table_count(shard_attrs(r.shard)), 0);
	assert_int_equal(dest_count(shard_table(r.shard, r.table)), 0);
	rig_fini(&r);
}

/* The same attribute sets in two VRFs, whose next hops fare differently. */
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

	simple_rig(&r, policy_accept_all());
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

/* Nobody uses it for a while: the fib thread hears of it, and again when somebody does. */
static void
test_next_hop_unwatched(void **state)
{
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	union rig_attrs a;
	struct dest_view v;
	struct rig r;

	ask_count = unwatch_count = 0;
	simple_rig(&r, policy_accept_all());
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
	rig_update(&r, 1, &a.a, &n, 1); /* gone and back: its state is still known */
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
	rig_tell(&r, 0, 0x0a000001, true, true, 0); /* was on its way */
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(ask_count, 2);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->eligible, 0); /* until answered */
	rig_tell(&r, 0, 0x0a000001, true, true, 0);
	rig_settle(&r);
	assert_true(rig_view(&r, &n.prefix, &v));
	assert_int_equal(v.paths->eligible, 1);
	rig_fini(&r);
}

/* Next hops come and go by thousands; those in use keep their state, the others give their memory
 * back. */
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

/* Many answers in the middle of a load, turns as short as they get: still everything is found. */
enum { LOAD_HOPS = 200 };

struct answers {
	bool asked[LOAD_HOPS], answered[LOAD_HOPS];
};

static void
note_ask(struct rig *r, const struct nexthop_message *m)
{
	((struct answers *)r->ctx)->asked[rig_hop_number(&m->addr) - 0x0a000000] = true;
}

/* One that waits; false: none does. */
static bool
answer_one(struct rig *r, struct answers *a)
{
	for (unsigned i = 0; i < LOAD_HOPS; i++) {
		if (!a->asked[i] || a->answered[i])
			continue;
		a->answered[i] = true;
		rig_tell(r, 0, 0x0a000000 + i, true, true, 0);
		return true;
	}
	return false;
}

static void
test_answers_during_load(void **state)
{
	enum { N = 20000 };
	struct answers answers = {0};
	unsigned told = 0, early = 0;
	union rig_attrs a;
	struct dest_view v;
	struct rig r;

	simple_rig(&r, policy_accept_all());
	r.asked = note_ask;
	r.ctx = &answers;
	for (unsigned i = 0; i < N; i++) {
		struct rib_nlri n = rig_nlri(0x01000000 + (i << 8), 24);

		rig_attrs_make(&a, path_65001, 2, 0x0a000000 + i % LOAD_HOPS);
		rig_update(&r, 1, &a.a, &n, 1);
		if (i % 40 != 39)
			continue;
		rig_put(&r);
		(void)rig_turn(&r);
		told += answer_one(&r, &answers);
	}
	early = told;
	while (rig_turn(&r) || told < LOAD_HOPS)
		told += answer_one(&r, &answers);
	assert_true(early > LOAD_HOPS / 2);
	for (unsigned i = 0; i < N; i++) {
		struct rib_nlri n = rig_nlri(0x01000000 + (i << 8), 24);

		assert_true(rig_view(&r, &n.prefix, &v));
		assert_int_equal(v.paths->eligible, 1);
	}
	rig_fini(&r);
}

/* ---- consumers ---- */

static struct journal_cursor *
subscribe(struct rig *r, enum journal_patience patience)
{
	struct journal_cursor *c;

	assert_int_equal(journal_subscribe(shard_journal(r->shard), &c), 0);
	journal_set_patience(c, patience);
	return c;
}

/* A route of peer 2 that is another one each time. */
static void
flutter(struct rig *r, unsigned i)
{
	struct rib_nlri n = rig_nlri(0x02000000, 24);
	union rig_attrs a;

	rig_attrs_make(&a, path_65001, 1 + i % 2, 0x0a000001);
	rig_update(r, 2, &a.a, &n, 1);
}

/* Live input is as fast as a consumer that comes on, and that is far behind: the walk goes slowly, and it ends. */
static void
test_walk_beside_live_input(void **state)
{
	enum { N = 3000, BEHIND = 4096 };
	struct journal_cursor *c;
	uint64_t begun;
	union rig_attrs a;
	struct rig r;
	unsigned i;

	simple_rig(&r, policy_accept_all());
	rig_peer(&r, 2, 65001, true, true);
	rig_up(&r, 2, 65001, 2, true);
	shard_peer_import(r.shard, (struct peer_id){2}, rig_family(), policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	for (i = 0; i < N; i++) {
		struct rib_nlri n = rig_nlri(0x01000000 + (i << 8), 24);

		rig_update(&r, 1, &a.a, &n, 1);
	}
	rig_settle(&r);
	c = subscribe(&r, JOURNAL_BEAR);
	journal_set_paced(c);
	for (i = 0; i < BEHIND; i++)
		flutter(&r, i);
	rig_settle(&r);
	assert_int_equal(journal_head(shard_journal(r.shard)), journal_position(c) + BEHIND);
	rig_event(&r, RIB_SESSION_DOWN, 1);
	begun = rig_clock();
	for (; rig_received(&r, 1) > 0 || i < BEHIND + 2; i++) {
		flutter(&r, i);
		rig_put(&r);
		(void)rig_turn(&r);
		journal_advance(shard_journal(r.shard), c, journal_position(c) + 1);
		assert_true(rig_clock() - begun < 10000000000u);
	}
	/* three slices, and the time between them */
	assert_true(rig_clock() - begun >= 40000000u);
	journal_unsubscribe(shard_journal(r.shard), c);
	rig_fini(&r);
}

/* ---- tombstones ---- */

/* All of it; false: evicted. */
static bool
follow(struct rig *r, struct journal_cursor *c)
{
	struct journal_entry e[64];
	int n;

	while ((n = journal_read(shard_journal(r->shard), c, e, 64)) > 0)
		journal_advance(shard_journal(r->shard), c, e[n - 1].sequence);
	assert_true(n == 0 || n == -ESTALE);
	return n == 0;
}

enum { FLAPS = 20000, TOMBSTONES = 1000 };

/* Unique prefixes, each announced and withdrawn; `healthy` follows. The most tombstones there were. */
static uint32_t
flap(struct rig *r, struct journal_cursor *healthy)
{
	uint32_t most = 0, now;
	union rig_attrs a;

	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	for (unsigned i = 0; i < FLAPS; i++) {
		struct rib_nlri n = rig_nlri(0x01000000 + i, 32);

		rig_update(r, 1, &a.a, &n, 1);
		rig_update(r, 1, NULL, &n, 1);
		if (i % 10 != 9)
			continue;
		rig_put(r);
		while (!rig_drained(r)) {
			(void)rig_turn(r);
			assert_true(follow(r, healthy));
			now = dest_tombstones(shard_table(r->shard, r->table));
			most = now > most ? now : most;
		}
	}
	return most;
}

static void
test_tombstones_evict(void **state)
{
	struct shard_settings limit = {.tombstones_max = TOMBSTONES};
	struct journal_cursor *stuck, *healthy;
	struct journal_entry e;
	uint32_t most;
	struct rig r;

	simple_rig(&r, policy_accept_all());
	shard_settings(r.shard, &limit);
	stuck = subscribe(&r, JOURNAL_EVICT);
	healthy = subscribe(&r, JOURNAL_EVICT);
	most = flap(&r, healthy);
	assert_true(most > TOMBSTONES && most < TOMBSTONES + 200);
	assert_int_equal(r.evicted, 1);
	assert_int_equal(shard_evictions(r.shard), 1);
	assert_ptr_equal(r.last_evicted, stuck);
	assert_int_equal(journal_read(shard_journal(r.shard), stuck, &e, 1), -ESTALE);
	rig_settle(&r);
	assert_true(follow(&r, healthy));
	rig_settle(&r);
	assert_int_equal(dest_tombstones(shard_table(r.shard, r.table)), 0);
	assert_true(dest_limit(shard_table(r.shard, r.table)) < 2 * TOMBSTONES + 2000);
	rig_fini(&r);
}

/* A follower that does not read yet; `count` prefixes have come and gone, and are to be put. */
static struct journal_cursor *
come_and_go(struct rig *r, union rig_attrs *a, uint32_t max, enum journal_patience patience,
	unsigned count)
{
	struct shard_settings limit = {.tombstones_max = max};
	struct journal_cursor *c;

	simple_rig(r, policy_accept_all());
	shard_settings(r->shard, &limit);
	c = subscribe(r, patience);
	rig_attrs_make(a, path_65001, 2, 0x0a000001);
	for (unsigned i = 0; i < count; i++) {
		struct rib_nlri n = rig_nlri(0x01000000 + i, 32);

		rig_update(r, 1, &a->a, &n, 1);
		rig_update(r, 1, NULL, &n, 1);
	}
	return c;
}

/* Who must not go is waited for, and nothing is lost meanwhile. */
static void
test_tombstones_wait(void **state)
{
	struct rib_nlri last = rig_nlri(0x02000000, 32);
	struct dest_table *t;
	struct journal_cursor *kept;
	union rig_attrs a;
	struct dest_view v;
	struct rig r;

	kept = come_and_go(&r, &a, TOMBSTONES, JOURNAL_WAIT, 2 * TOMBSTONES);
	t = shard_table(r.shard, r.table);
	rig_update(&r, 1, &a.a, &last, 1);
	rig_put(&r);
	for (unsigned i = 0; i < 10000; i++)
		assert_true(rig_turn(&r)); /* there is more, always */
	assert_true(dest_tombstones(t) > TOMBSTONES / 2);
	assert_true(dest_tombstones(t) < TOMBSTONES / 2 + 200);
	assert_false(rig_view(&r, &last.prefix, &v));
	while (!rig_drained(&r)) {
		assert_true(follow(&r, kept));
		(void)rig_turn(&r);
	}
	assert_true(rig_view(&r, &last.prefix, &v));
	/* a flush waits, too, and live input for it */
	for (unsigned i = 0; i < 2 * TOMBSTONES; i++) {
		struct rib_nlri n = rig_nlri(0x03000000 + i, 32);

		rig_update(&r, 1, &a.a, &n, 1);
	}
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_put(&r);
	for (unsigned i = 0; i < 10000; i++)
		(void)rig_turn(&r);
	assert_true(dest_tombstones(t) > TOMBSTONES / 2);
	assert_true(dest_tombstones(t) < TOMBSTONES / 2 + 2000); /* a slice of the walk */
	assert_true(rig_received(&r, 1) > 0);
	while (rig_received(&r, 1) > 0) {
		assert_true(follow(&r, kept));
		(void)rig_turn(&r);
	}
	assert_int_equal(r.evicted, 0);
	rig_fini(&r);
}

/* Slow, yet coming on: it is waited for; when it stops, it is not. */
static void
test_tombstones_patience(void **state)
{
	struct journal_cursor *slow;
	struct dest_table *t;
	union rig_attrs a;
	uint64_t begun;
	struct rig r;

	slow = come_and_go(&r, &a, 8 * TOMBSTONES, JOURNAL_EVICT, 12 * TOMBSTONES);
	t = shard_table(r.shard, r.table);
	rig_put(&r);
	while (dest_tombstones(t) <= 4 * TOMBSTONES)
		(void)rig_turn(&r);
	begun = r.now_ns;
	while (r.evicted == 0) {
		(void)rig_turn(&r);
		assert_true(dest_tombstones(t) <= 8 * TOMBSTONES + 200);
		if (dest_tombstones(t) > 4 * TOMBSTONES + 400)
			assert_true(r.now_ns - begun > 100000000u); /* it had its time */
	}
	assert_ptr_equal(r.last_evicted, slow);
	rig_settle(&r);
	assert_int_equal(dest_tombstones(t), 0);
	assert_true(rig_drained(&r));
	rig_fini(&r);
}

/* `count` samples, the first of the message behind that entry (0: of none). */
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

	simple_rig(&r, policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	assert_int_equal(shard_received_ns(r.shard, 1), 0);
	for (unsigned i = 0; i < 50000; i++) {
		n = rig_nlri(0x01000000 + (i << 8), 24);
		rig_update_in(&r, rig_family(), 1, &a.a, &n, 1, 1000000000u + i * 1000000ull);
	}
	rig_settle(&r);
	assert_int_equal(journal_head(shard_journal(r.shard)), 50000);
	for (uint64_t s = 49990; s <= 50000; s++)
		assert_int_equal(shard_received_ns(r.shard, s), 1000000000u + (s - 1) * 1000000ull);
	assert_int_equal(shard_received_ns(r.shard, 40000), 1000000000u + 39999 * 1000000ull);
	assert_int_equal(shard_received_ns(r.shard, 1), 0); /* forgotten */
	/* entries of a walk come of no message */
	rig_tell(&r, 0, 0x0a000001, true, true, 0);
	rig_settle(&r);
	assert_int_equal(journal_head(shard_journal(r.shard)), 100000);
	assert_int_equal(shard_received_ns(r.shard, 100000), 0);
	assert_received(&r, 49000, 49500, 49001, 500);
	assert_received(&r, 49999, 50000, 50000, 1);
	assert_received(&r, 50000, 50000, 0, 0);
	assert_received(&r, 50000, 100000, 0, 1); /* none of a message */
	assert_received(&r, 49998, 100000, 49999, 3);
	assert_int_equal(shard_received_ns(r.shard, 50000), 1000000000u + 49999 * 1000000ull);
	rig_fini(&r);
}

static void
test_bad_records(void **state)
{
	struct rib_record head = {.kind = RIB_UPDATE, .peer = {1}, .nlri_count = 200};
	struct rib_nlri n = rig_nlri(0x01010100, 24);
	union rig_attrs a;
	struct rig r;

	simple_rig(&r, policy_accept_all());
	rig_attrs_make(&a, path_65001, 2, 0x0a000001);
	(void)rig_record(&r, &head, 16); /* says more than it holds: the batch ends there */
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(shard_failures(r.shard), 1);
	assert_int_equal(rig_received(&r, 1), 0);
	rig_update(&r, 77, &a.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(shard_failures(r.shard), 2);
	n.prefix.len = (uint8_t)(prefix_max_len(n.prefix.afi) + 1);
	rig_update(&r, 1, &a.a, &n, 1);
	rig_settle(&r);
	assert_int_equal(shard_failures(r.shard), 3);
	n = rig_nlri(0x01010100, 24);
	rig_event(&r, RIB_SESSION_DOWN, 1);
	rig_update(&r, 1, &a.a, &n, 1); /* of no session */
	rig_settle(&r);
	assert_int_equal(shard_failures(r.shard), 4);
	assert_int_equal(rig_received(&r, 1), 0);
	assert_true(rig_drained(&r));
	rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_next_hop_waits),
		cmocka_unit_test(test_unchanged_writes_nothing),
		cmocka_unit_test(test_begins_without_end),
		cmocka_unit_test(test_stale_timeout),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_restarts_end),
		cmocka_unit_test(test_refresh_before_end_of_rib),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_reflection_loops),
		cmocka_unit_test(test_cluster_id),
		cmocka_unit_test(test_allow_as_in),
		cmocka_unit_test(test_multihop_changes),
		cmocka_unit_test(test_flush_and_new_session),
		cmocka_unit_test(test_router_id_changes),
		cmocka_unit_test(test_aside),
		cmocka_unit_test(test_originate),
		cmocka_unit_test(test_originate_many),
		cmocka_unit_test(test_vrfs),
		cmocka_unit_test(test_next_hop_unwatched),
		cmocka_unit_test(test_many_next_hops),
		cmocka_unit_test(test_answers_during_load),
		cmocka_unit_test(test_walk_beside_live_input),
		cmocka_unit_test(test_tombstones_evict),
		cmocka_unit_test(test_tombstones_wait),
		cmocka_unit_test(test_tombstones_patience),
		cmocka_unit_test(test_received_ns),
		cmocka_unit_test(test_bad_records),
	};

	int failed = 0;

	role_enter_rib();
	role_enter_session();
	for (rig_mode = 0; rig_mode < RIG_MODES; rig_mode++)
		failed += cmocka_run_group_tests_name(rig_mode_name(), tests, NULL, NULL);
	return failed;
}
