/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One or more shards, next-hop tracking, the feed and a real fib, driven by hand on one thread.
 * Messages between a shard and the fib thread wait in queues until the test pumps the queues; the
 * test sets the clock of commits. One reader of the fib plays a worker.
 */
#pragma once

#include "tests/rib/shard_rig.h"

#include "lpm/fib.h"
#include "rib/feed/fib_feed.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#define FEED_BATCH 4096u
#define FEED_INTERVAL_NS 2000000u
#define FEED_LATEST_NS 8000000u
#define FEED_JOURNAL (1u << 20)
#define FEED_SHARDS 3
#define QUEUE_MAX (1u << 17)

struct message_queue {
	struct nexthop_message m[QUEUE_MAX];
	unsigned head, tail;
};

struct feed_rig {
	union {
		struct rig rig; /* the first shard's rig, with the shared parts */
		struct rig rigs[FEED_SHARDS];
	};
	struct shards shards;
	struct table_id table_v6;
	struct arena *arena; /* owned by the fib thread */
	struct qsbr *workers;
	struct fib *fib;
	struct nexthop_table *hops;
	struct fib_feed *feed;
	unsigned reader, worker;
	uint64_t now_ns;
	struct message_queue asks, tells;
	unsigned resolves, releases; /* calls since the last check */
	struct ip_addr resolved_addr;
	uint16_t resolved_port;
	uint64_t max_turns;
	struct shard_report *report[FEED_SHARDS]; /* on the way to each shard */
};

static inline void
queue_put(struct message_queue *q, const struct nexthop_message *m)
{
	assert_true(q->tail - q->head < QUEUE_MAX);
	q->m[q->tail++ % QUEUE_MAX] = *m;
}

static inline void
feed_rig_asked(struct rig *rig, const struct nexthop_message *m)
{
	queue_put(&((struct feed_rig *)rig->ctx)->asks, m);
}

static inline bool
feed_rig_told(void *ctx, const struct nexthop_message *m)
{
	queue_put(&((struct feed_rig *)ctx)->tells, m);
	return true;
}

static inline void
feed_rig_resolve(void *ctx, uint16_t port, const struct ip_addr *addr, bool wanted)
{
	struct feed_rig *r = ctx;

	if (!wanted) {
		r->releases++;
		return;
	}
	r->resolves++;
	r->resolved_addr = *addr;
	r->resolved_port = port;
}

static inline int
feed_rig_report(void *ctx, unsigned shard, struct shard_report *report)
{
	struct feed_rig *r = ctx;

	assert_null(r->report[shard]);
	r->report[shard] = report;
	return 0;
}

/* A batch with fewer than `batch_some` changes waits until FEED_LATEST_NS. */
static inline void
feed_rig_feed_some(struct feed_rig *r, uint32_t batch_max, uint32_t batch_some)
{
	struct fib_feed_config c = {
		.arena = r->arena,
		.fib = r->fib,
		.nexthops = r->hops,
		.shards = r->shards.at,
		.shard_count = r->shards.count,
		.batch_max = batch_max,
		.commit_interval_ns = FEED_INTERVAL_NS,
		.batch_some = batch_some,
		.commit_latest_ns = FEED_LATEST_NS,
		.resolve = feed_rig_resolve,
		.resolve_ctx = r,
		.report = feed_rig_report,
		.report_ctx = r,
	};

	assert_int_equal(fib_feed_create(&c, &r->feed), 0);
}

static inline void
feed_rig_feed(struct feed_rig *r, uint32_t batch_max)
{
	feed_rig_feed_some(r, batch_max, 0);
}

/* `groups`: tbl8 groups in each copy of a forwarding table. */
static inline void
feed_rig_init_groups(struct feed_rig *r, unsigned shards, bool tracking, uint32_t journal,
	uint32_t batch_max, uint32_t groups)
{
	struct fib_config f = {
		.memory_bytes = (size_t)768 << 20, .tbl8_groups = groups, .groups_v6 = groups};

	role_enter_fib();
	memset(r, 0, sizeof(*r));
	rigs_init(r->rigs, shards, tracking, journal, &r->shards);
	for (unsigned i = 0; i < shards; i++) {
		r->rigs[i].asked = feed_rig_asked;
		r->rigs[i].ctx = r;
		assert_int_equal(shard_table_add(r->rigs[i].shard, VRF_DEFAULT, FAMILY_IPV6_UNICAST,
					 &r->table_v6),
			0);
	}
	r->now_ns = 1000000000u;
	assert_int_equal(arena_create("fib", &r->arena), 0);
	assert_int_equal(qsbr_create(r->arena, 4, &r->workers), 0);
	f.arena = r->arena;
	f.workers = r->workers;
	assert_int_equal(fib_create(&f, &r->fib), 0);
	assert_int_equal(fib_vrf_add(r->fib, VRF_DEFAULT, AFI_IPV4), 0);
	assert_int_equal(fib_vrf_add(r->fib, VRF_DEFAULT, AFI_IPV6), 0);
	assert_int_equal(nexthop_table_create(r->arena, feed_rig_told, r, &r->hops), 0);
	assert_int_equal(qsbr_register(r->rig.readers, &r->reader), 0);
	assert_int_equal(qsbr_register(r->workers, &r->worker), 0);
	qsbr_online(r->workers, r->worker);
	if (batch_max != 0)
		feed_rig_feed(r, batch_max);
}

static inline void
feed_rig_init_shards(
	struct feed_rig *r, unsigned shards, bool tracking, uint32_t journal, uint32_t batch_max)
{
	feed_rig_init_groups(r, shards, tracking, journal, batch_max, 1024);
}

/* `journal` 0: the default size. */
static inline void
feed_rig_init(struct feed_rig *r, bool tracking, uint32_t journal, uint32_t batch_max)
{
	feed_rig_init_shards(r, 1, tracking, journal != 0 ? journal : FEED_JOURNAL, batch_max);
}

/* Releases all memory of the fib thread. */
static inline void
feed_rig_fini(struct feed_rig *r)
{
	qsbr_offline(r->workers, r->worker);
	qsbr_unregister(r->workers, r->worker);
	if (r->feed != NULL)
		fib_feed_destroy(r->feed);
	nexthop_table_destroy(r->hops);
	fib_destroy(r->fib);
	qsbr_unregister(r->rig.readers, r->reader);
	qsbr_destroy(r->workers);
	assert_int_equal(arena_bytes(r->arena), 0);
	arena_destroy(r->arena);
	rigs_fini(r->rigs, r->shards.count);
}

/* One turn of the fib thread. With `deadline_ns` 1 the turn does the smallest possible step. */
static inline bool
feed_rig_turn(struct feed_rig *r, uint64_t deadline_ns)
{
	bool more;

	qsbr_online(r->rig.readers, r->reader);
	more = fib_feed_work(r->feed, r->now_ns, deadline_ns);
	qsbr_offline(r->rig.readers, r->reader);
	return more;
}

static inline bool
feed_rig_pump_ask(struct feed_rig *r)
{
	struct message_queue *q = &r->asks;

	return q->head != q->tail &&
	       (assert_int_equal(fib_feed_watch(r->feed, &q->m[q->head++ % QUEUE_MAX]), 0), true);
}

static inline bool
feed_rig_pump_tell(struct feed_rig *r)
{
	struct message_queue *q = &r->tells;

	if (q->head == q->tail)
		return false;
	for (unsigned i = 0; i < r->shards.count; i++)
		shard_next_hop(r->shards.at[i], &q->m[q->head % QUEUE_MAX]);
	q->head++;
	return true;
}

/* Passes reports about prefixes without room in the forwarding tables to the shards. */
static inline bool
feed_rig_pump_reports(struct feed_rig *r)
{
	bool any = false;

	for (unsigned i = 0; i < r->shards.count; i++) {
		struct shard_report *report = r->report[i];

		r->report[i] = NULL;
		if (report != NULL) {
			role_enter_rib();
			shard_report(r->shards.at[i], report);
			any = true;
		}
	}
	role_enter_fib();
	return any;
}

/* The rig of the shard responsible for `p`. */
static inline struct rig *
feed_rig_of(struct feed_rig *r, const struct prefix *p)
{
	return &r->rigs[shards_of(&r->shards, SHARDS_BY_NETWORK, p)];
}

/* Applies all queued records; walks may still be running. */
static inline void
feed_rig_shards_drain(struct feed_rig *r)
{
	for (unsigned i = 0; i < r->shards.count; i++)
		rig_drain(&r->rigs[i]);
}

static inline void
feed_rig_shards_settle(struct feed_rig *r)
{
	for (unsigned i = 0; i < r->shards.count; i++)
		rig_settle(&r->rigs[i]);
}

/* Runs the fib thread alone until no work is left; messages to the shard stay queued. */
static inline void
feed_rig_drain(struct feed_rig *r)
{
	for (unsigned i = 0;; i++) {
		bool more;

		qsbr_quiescent(r->workers, r->worker);
		r->now_ns += FEED_INTERVAL_NS;
		more = feed_rig_turn(r, UINT64_MAX);
		if (!more && fib_settled(r->fib) &&
			(fib_feed_wait_ns(r->feed) == 0 || fib_feed_audit(r->feed)->running))
			return;
		assert_true(i < 100000);
	}
}

/* Runs all threads until no work is left. */
static inline void
feed_rig_settle(struct feed_rig *r)
{
	bool more;
	unsigned laps = 0;

	do {
		assert_true(laps++ < 20000); /* the threads keep each other busy */
		feed_rig_shards_settle(r);
		more = feed_rig_pump_ask(r);
		more |= feed_rig_pump_tell(r);
		more |= feed_rig_pump_reports(r);
		feed_rig_drain(r);
		for (unsigned i = 0; i < r->shards.count; i++)
			more |= r->report[i] != NULL;
	} while (more || r->asks.head != r->asks.tail || r->tells.head != r->tells.tail);
}

static inline uint64_t
feed_rig_generation(const struct feed_rig *r)
{
	struct fib_stats s;

	fib_stats_get(r->fib, &s);
	return s.generation;
}

static inline uint64_t
feed_rig_writes(const struct feed_rig *r)
{
	struct fib_stats s;

	fib_stats_get(r->fib, &s);
	return s.writes;
}

/* Forwarding decision of a worker for a packet to `addr`. */
struct answer {
	bool hit;
	struct prefix prefix;
	enum path_list_kind kind;
	uint16_t port; /* of the GLEAN entry or of the next hop */
	struct ip_addr next_hop;
	enum next_hop_state state;
	uint8_t mac; /* last byte of the destination MAC */
	unsigned backups; /* 0 or 1 */
	struct ip_addr backup;
};

static inline struct answer
feed_rig_lookup_addr(const struct feed_rig *r, const struct ip_addr *a)
{
	const struct path_lists *lists = fib_path_lists(r->fib);
	struct answer out = {0};
	struct next_hop_view v;
	struct fib_result found;
	const struct path_list *l;

	assert_int_equal(fib_lookup(r->fib, VRF_DEFAULT, a, &found), 0);
	if (!found.hit)
		return out;
	l = &path_lists_array(lists)[found.path_list.v];
	out = (struct answer){.hit = true,
		.prefix = found.prefix,
		.kind = (enum path_list_kind)l->kind,
		.port = l->port};
	if (l->kind == PATH_LIST_FORWARD) {
		assert_int_equal(l->path_count, 1);
		assert_true(next_hop_peek(lists, l->path[0].next_hop, &v));
		out.port = v.port;
		out.next_hop = v.addr;
		out.state = v.state;
		if (v.state == NEXT_HOP_UP)
			out.mac = v.adjacency.ether[5];
		out.backups = l->backup_count;
		if (l->backup_count > 0) {
			assert_true(next_hop_peek(lists, l->path[1].next_hop, &v));
			out.backup = v.addr;
		}
	}
	return out;
}

static inline struct answer
feed_rig_lookup(const struct feed_rig *r, uint32_t addr)
{
	struct ip_addr a = addr_from_v4(addr);

	return feed_rig_lookup_addr(r, &a);
}

/* An address of either family; zones must be interned before. */
static inline struct ip_addr
text_addr(const char *text)
{
	struct ip_addr a = addr_discard();

	if (strcmp(text, "discard") != 0)
		assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static inline struct prefix
text_prefix(const char *text)
{
	struct prefix p;

	assert_int_equal(prefix_parse(text, &p), 0);
	return p;
}

static inline struct answer
feed_rig_lookup_text(const struct feed_rig *r, const char *addr)
{
	struct ip_addr a = text_addr(addr);

	return feed_rig_lookup_addr(r, &a);
}

static inline int
feed_rig_connected_text(struct feed_rig *r, const char *local, uint8_t len, uint16_t port, bool up)
{
	struct ip_addr a = text_addr(local);
	struct prefix p = prefix_from_addr(&a, len);

	return fib_feed_connected(r->feed, VRF_DEFAULT, &p, &a, port, up);
}

/* `mac` 0: lost. */
static inline int
feed_rig_neighbor_addr(struct feed_rig *r, const struct ip_addr *addr, uint16_t port, uint8_t mac)
{
	struct adjacency adj = {
		.ether = {2, 0, 0, 0, 0, mac}, .ether_len = 14, .port = port, .mtu = 1500};

	return fib_feed_neighbor(r->feed, VRF_DEFAULT, addr, port, mac != 0 ? &adj : NULL);
}

static inline int
feed_rig_neighbor_text(struct feed_rig *r, const char *addr, uint16_t port, uint8_t mac)
{
	struct ip_addr a = text_addr(addr);

	return feed_rig_neighbor_addr(r, &a, port, mac);
}

/* The next hop can be of any family; a link-local next hop is stored as in RFC 2545 3. */
static inline void
feed_rig_announce_to(struct feed_rig *r, uint16_t peer, const struct prefix *p,
	const struct ip_addr *next_hop, uint32_t pref)
{
	struct rib_nlri n = {.prefix = *p, .label = 0xfffff};
	union rig_attrs a;

	rig_attrs_make(&a, NULL, 0, 0);
	a.a.next_hop = *next_hop;
	if (addr_is_link_local(next_hop)) {
		a.a.next_hop = (struct ip_addr){.afi = AFI_IPV6};
		a.a.next_hop_link_local = *next_hop;
	}
	a.a.has |= ATTR_HAS_LOCAL_PREF;
	a.a.local_pref = pref;
	rig_update_in(feed_rig_of(r, p),
		p->afi == AFI_IPV6 ? FAMILY_IPV6_UNICAST : FAMILY_IPV4_UNICAST, peer, &a.a, &n, 1,
		r->rig.now_ns);
}

static inline void
feed_rig_announce_text(
	struct feed_rig *r, uint16_t peer, const char *prefix, const char *next_hop, uint32_t pref)
{
	struct prefix p = text_prefix(prefix);
	struct ip_addr a = text_addr(next_hop);

	feed_rig_announce_to(r, peer, &p, &a, pref);
}

static inline void
feed_rig_withdraw_prefix(struct feed_rig *r, uint16_t peer, const struct prefix *p)
{
	struct rib_nlri n = {.prefix = *p, .label = 0xfffff};

	rig_update_in(feed_rig_of(r, p),
		p->afi == AFI_IPV6 ? FAMILY_IPV6_UNICAST : FAMILY_IPV4_UNICAST, peer, NULL, &n, 1,
		r->rig.now_ns);
}

static inline void
feed_rig_withdraw_text(struct feed_rig *r, uint16_t peer, const char *prefix)
{
	struct prefix p = text_prefix(prefix);

	feed_rig_withdraw_prefix(r, peer, &p);
}

/* Watches a next hop as a shard does. */
static inline void
feed_rig_watch(struct feed_rig *r, const char *addr)
{
	struct nexthop_message m = {.vrf = VRF_DEFAULT, .addr = text_addr(addr)};

	assert_int_equal(fib_feed_watch(r->feed, &m), 0);
}

static inline void
feed_rig_unwatch(struct feed_rig *r, const char *addr)
{
	struct nexthop_message m = {.vrf = VRF_DEFAULT, .addr = text_addr(addr), .unwatch = true};

	assert_int_equal(fib_feed_watch(r->feed, &m), 0);
}

static inline int
feed_rig_connected(struct feed_rig *r, uint32_t local, uint8_t len, uint16_t port, bool up)
{
	struct prefix p = prefix_from_v4(local & (len == 0 ? 0 : UINT32_MAX << (32 - len)), len);
	struct ip_addr a = addr_from_v4(local);

	return fib_feed_connected(r->feed, VRF_DEFAULT, &p, &a, port, up);
}

/* `mac` 0: lost. */
static inline int
feed_rig_neighbor(struct feed_rig *r, uint32_t addr, uint16_t port, uint8_t mac)
{
	struct adjacency adj = {
		.ether = {2, 0, 0, 0, 0, mac}, .ether_len = 14, .port = port, .mtu = 1500};
	struct ip_addr a = addr_from_v4(addr);

	return fib_feed_neighbor(r->feed, VRF_DEFAULT, &a, port, mac != 0 ? &adj : NULL);
}

/* An internal peer: all is accepted, the higher preference wins. */
static inline void
feed_rig_peer(struct feed_rig *r, uint16_t id)
{
	for (unsigned i = 0; i < r->shards.count; i++)
		rig_peer(&r->rigs[i], id, RIG_OWN_ASN, false, false);
}

static inline void
feed_rig_announce(struct feed_rig *r, uint16_t peer, uint32_t addr, uint8_t len, uint32_t next_hop,
	uint32_t pref)
{
	struct rib_nlri n = rig_nlri(addr, len);
	union rig_attrs a;

	rig_attrs_make(&a, NULL, 0, next_hop);
	a.a.has |= ATTR_HAS_LOCAL_PREF;
	a.a.local_pref = pref;
	rig_update(&r->rig, peer, &a.a, &n, 1);
}

static inline void
feed_rig_withdraw(struct feed_rig *r, uint16_t peer, uint32_t addr, uint8_t len)
{
	struct rib_nlri n = rig_nlri(addr, len);

	rig_update(&r->rig, peer, NULL, &n, 1);
}

/* A local route; `pref` 0 withdraws the route. */
static inline void
feed_rig_originate_prefix(struct feed_rig *r, const struct prefix *p, uint32_t pref)
{
	union rig_attrs a;

	rig_attrs_make(&a, NULL, 0, 0);
	a.a.next_hop = (struct ip_addr){0};
	a.a.has |= ATTR_HAS_LOCAL_PREF;
	a.a.local_pref = pref;
	assert_int_equal(shard_originate(feed_rig_of(r, p)->shard, VRF_DEFAULT,
				 p->afi == AFI_IPV6 ? FAMILY_IPV6_UNICAST : FAMILY_IPV4_UNICAST, p,
				 pref != 0 ? &a.a : NULL),
		0);
}

static inline void
feed_rig_originate(struct feed_rig *r, uint32_t addr, uint8_t len, uint32_t pref)
{
	struct prefix p = prefix_from_v4(addr, len);

	feed_rig_originate_prefix(r, &p, pref);
}

/* Runs one audit of a VRF (NULL: of all) to its end; returns the number of mismatches. */
static inline uint64_t
feed_rig_audit_of(struct feed_rig *r, const struct vrf_id *only)
{
	assert_int_equal(fib_feed_audit_begin(r->feed, only), 0);
	assert_int_equal(fib_feed_audit_begin(r->feed, only), -EBUSY);
	for (unsigned i = 0; fib_feed_audit(r->feed)->running; i++) {
		feed_rig_drain(r);
		assert_true(i < 10000);
	}
	return fib_feed_audit(r->feed)->mismatch_count;
}

static inline uint64_t
feed_rig_audit(struct feed_rig *r)
{
	uint64_t mismatches = feed_rig_audit_of(r, NULL);

	assert_true(fib_feed_audit(r->feed)->checked > 0);
	return mismatches;
}
