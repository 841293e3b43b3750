/* SPDX-License-Identifier: BSD-3-Clause */
/* Situations of the feed, case by case. Random streams: test_fib_feed_property.c. */
#include "rib/feed/fib_feed.h"
#include "rib/feed/fib_feed_impl.h"

#include "tests/rib/feed_rig.h"

#define V4(a, b, c, d)                                                                             \
	((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))
#define OURS V4(192, 0, 2, 254) /* 192.0.2.0/24 on port 0 */
#define HOP V4(192, 0, 2, 1)
#define HOP2 V4(198, 51, 100, 1) /* 198.51.100.0/24 on port 1 */
#define ROUTE V4(10, 1, 0, 0)
#define FAR V4(10, 1, 2, 3)

static struct feed_rig r;

static int
begin(void **state)
{
	(void)state;
	feed_rig_init(&r, true, 0, FEED_BATCH);
	feed_rig_peer(&r, 1);
	feed_rig_peer(&r, 2);
	rig_up(&r.rig, 1, RIG_OWN_ASN, 1, false);
	rig_up(&r.rig, 2, RIG_OWN_ASN, 2, false);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	feed_rig_fini(&r);
	return 0;
}

/* Two subnets; peer 1 announces 10.1.0.0/16 with next hop HOP. */
static void
one_route(void)
{
	assert_int_equal(feed_rig_connected(&r, OURS, 24, 0, true), 0);
	assert_int_equal(feed_rig_connected(&r, V4(198, 51, 100, 254), 24, 1, true), 0);
	feed_rig_announce(&r, 1, ROUTE, 16, HOP, 100);
	feed_rig_settle(&r);
}

static void
assert_forwards(uint32_t addr, uint8_t len, uint32_t hop, uint16_t port)
{
	struct answer a = feed_rig_lookup(&r, addr);

	assert_true(a.hit);
	assert_int_equal(a.prefix.len, len);
	assert_int_equal(a.kind, PATH_LIST_FORWARD);
	assert_int_equal(addr_v4(&a.next_hop), hop);
	assert_int_equal(a.port, port);
}

static void
assert_kind(uint32_t addr, uint8_t len, enum path_list_kind kind, uint16_t port)
{
	struct answer a = feed_rig_lookup(&r, addr);

	assert_true(a.hit);
	assert_int_equal(a.prefix.len, len);
	assert_int_equal(a.kind, kind);
	assert_int_equal(a.port, port);
}

static void
assert_none(uint32_t addr)
{
	assert_false(feed_rig_lookup(&r, addr).hit);
}

static void
test_route_comes_and_goes(void **state)
{
	const struct hist *latency = fib_feed_update_hist(r.feed);
	struct hist_summary sum;
	uint64_t writes;

	(void)state;
	one_route();
	assert_forwards(FAR, 16, HOP, 0);
	assert_int_equal(feed_rig_audit(&r), 0);
	hist_summarize(&latency, 1, &sum);
	assert_true(sum.count > 0);
	/* new attributes, unchanged next hop: the RIB changes, no table is written */
	writes = feed_rig_writes(&r);
	feed_rig_announce(&r, 1, ROUTE, 16, HOP, 200);
	feed_rig_settle(&r);
	assert_int_equal(feed_rig_writes(&r), writes);
	feed_rig_announce(&r, 1, ROUTE, 16, HOP2, 200);
	feed_rig_settle(&r);
	assert_forwards(FAR, 16, HOP2, 1);
	assert_true(feed_rig_writes(&r) > writes);
	feed_rig_withdraw(&r, 1, ROUTE, 16);
	feed_rig_settle(&r);
	assert_none(FAR);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/* The shard has decided many routes; the tables reach the journal only when readers see the last one. */
static void
test_reached(void **state)
{
	struct journal *j = shard_journal(r.rig.shard);
	uint64_t reserved, turns = 0;
	bool last = false;

	(void)state;
	one_route();
	assert_true(fib_feed_reached(r.feed, journal_reserved(j)));
	for (uint32_t i = 0; i < 20 * FEED_BATCH; i++)
		feed_rig_announce(&r, 1, V4(20, 0, 0, 0) + (i << 8), 24, HOP, 100);
	feed_rig_shards_drain(&r);
	reserved = journal_reserved(j);
	for (; !last && turns < 100000; turns++) {
		assert_false(
			fib_feed_reached(r.feed, reserved) &&
			!feed_rig_lookup(&r, V4(20, 0, 0, 1) + ((20 * FEED_BATCH - 1) << 8)).hit);
		qsbr_quiescent(r.workers, r.worker);
		r.now_ns += FEED_INTERVAL_NS;
		feed_rig_turn(&r, 1);
		last = fib_feed_reached(r.feed, reserved);
	}
	assert_true(last && turns > 2);
	assert_true(feed_rig_lookup(&r, V4(20, 0, 0, 1) + ((20 * FEED_BATCH - 1) << 8)).hit);
}

static uint64_t
count_of(const struct hist *h)
{
	struct hist_summary s;

	hist_summarize(&h, 1, &s);
	return s.count;
}

/*
 * A visible route counts as used only after the worker has reported quiescence. A change without an
 * effect on the tables counts as used without a report.
 */
static void
test_used_when_the_worker_has_passed(void **state)
{
	uint64_t visible, used;

	(void)state;
	one_route();
	used = count_of(fib_feed_use_hist(r.feed));
	visible = count_of(fib_feed_update_hist(r.feed));
	assert_true(used > 0);
	/* two messages, far apart, in one batch: each has its own time */
	feed_rig_announce(&r, 1, V4(10, 2, 0, 0), 16, HOP, 100);
	r.rig.now_ns += 10000000;
	feed_rig_announce(&r, 1, V4(10, 3, 0, 0), 16, HOP, 100);
	rig_settle(&r.rig);
	r.now_ns += FEED_INTERVAL_NS;
	feed_rig_turn(&r, UINT64_MAX);
	assert_int_equal(count_of(fib_feed_update_hist(r.feed)), visible + 2);
	for (unsigned i = 0; i < 10; i++) {
		r.now_ns += FEED_INTERVAL_NS;
		feed_rig_turn(&r, UINT64_MAX);
		assert_int_equal(count_of(fib_feed_use_hist(r.feed)), used);
		assert_true(fib_feed_wait_ns(r.feed) != 0); /* the feed asks for another turn */
	}
	feed_rig_settle(&r);
	assert_int_equal(count_of(fib_feed_update_hist(r.feed)), visible + 2);
	assert_int_equal(count_of(fib_feed_use_hist(r.feed)), used + 2);
	r.rig.now_ns += 10000000;
	feed_rig_announce(&r, 1, V4(10, 3, 0, 0), 16, HOP, 200);
	feed_rig_settle(&r);
	assert_int_equal(count_of(fib_feed_update_hist(r.feed)), visible + 3);
	assert_int_equal(count_of(fib_feed_use_hist(r.feed)), used + 2);
}

static void
test_better_path_and_ours(void **state)
{
	(void)state;
	one_route();
	feed_rig_announce(&r, 1, V4(10, 0, 0, 0), 8, HOP2, 100);
	feed_rig_announce(&r, 2, ROUTE, 16, HOP2, 300);
	feed_rig_settle(&r);
	assert_forwards(FAR, 16, HOP2, 1);
	/* our own route is best: the RIB gives packets no route, a covering route decides */
	feed_rig_originate(&r, ROUTE, 16, 400);
	feed_rig_settle(&r);
	assert_forwards(FAR, 8, HOP2, 1);
	assert_int_equal(feed_rig_audit(&r), 0);
	rig_event(&r.rig, RIB_SESSION_DOWN, 2);
	feed_rig_settle(&r);
	assert_forwards(FAR, 8, HOP2, 1);
	feed_rig_originate(&r, ROUTE, 16, 0);
	feed_rig_settle(&r);
	assert_forwards(FAR, 16, HOP, 0);
	assert_int_equal(feed_rig_audit(&r), 0);
}

static void
test_resolve_is_asked_once(void **state)
{
	(void)state;
	one_route();
	assert_int_equal(r.resolves, 1);
	assert_int_equal(addr_v4(&r.resolved_addr), HOP);
	assert_int_equal(r.resolved_port, 0);
	for (uint32_t i = 0; i < 50; i++)
		feed_rig_announce(&r, 1, V4(10, 2, i, 0), 24, HOP, 100);
	feed_rig_settle(&r);
	assert_int_equal(feed_rig_neighbor(&r, HOP, 0, 7), 0);
	feed_rig_settle(&r);
	assert_int_equal(r.resolves, 1);
	/* routes still use the next hop */
	assert_int_equal(feed_rig_neighbor(&r, HOP, 0, 0), 0);
	assert_int_equal(r.resolves, 2);
	assert_int_equal(feed_rig_neighbor(&r, HOP, 0, 0), 0);
	assert_int_equal(r.resolves, 3);
	feed_rig_announce(&r, 1, V4(10, 3, 0, 0), 24, HOP2, 100);
	feed_rig_settle(&r);
	assert_int_equal(r.resolves, 4);
	assert_int_equal(addr_v4(&r.resolved_addr), HOP2);
	assert_int_equal(r.resolved_port, 1);
	/* the loss of a neighbour without routes is ignored */
	feed_rig_neighbor(&r, V4(192, 0, 2, 77), 0, 9);
	feed_rig_neighbor(&r, V4(192, 0, 2, 77), 0, 0);
	assert_int_equal(r.resolves, 4);
}

/* Without this limit the kernel would probe every next hop ever seen. */
static void
test_unused_next_hop_is_not_resolved_again(void **state)
{
	unsigned before;

	(void)state;
	one_route();
	feed_rig_neighbor(&r, HOP, 0, 7);
	feed_rig_settle(&r);
	feed_rig_withdraw(&r, 1, ROUTE, 16);
	feed_rig_settle(&r);
	before = path_lists_in_use(fib_path_lists(r.fib));
	assert_int_equal(r.resolves, 1);
	feed_rig_unwatch(&r, "192.0.2.1");
	assert_int_equal(r.releases, 1);
	feed_rig_neighbor(&r, HOP, 0, 0);
	feed_rig_settle(&r);
	assert_int_equal(r.resolves, 1);
	path_lists_reclaim(fib_path_lists(r.fib));
	assert_int_equal(path_lists_in_use(fib_path_lists(r.fib)), before - 1);
	/* a new route starts the resolution again */
	feed_rig_watch(&r, "192.0.2.1");
	feed_rig_announce(&r, 1, ROUTE, 16, HOP, 100);
	feed_rig_settle(&r);
	assert_int_equal(r.resolves, 2);
	assert_forwards(FAR, 16, HOP, 0);
}

/* One store for any number of routes: no generation, no table write. */
static void
test_next_hop_loss_is_one_store(void **state)
{
	uint64_t generation, writes;

	(void)state;
	one_route();
	/* another port has the neighbour's /32, so that only the state of the next hop changes */
	feed_rig_neighbor(&r, HOP, 0, 7);
	feed_rig_settle(&r);
	generation = feed_rig_generation(&r);
	writes = feed_rig_writes(&r);
	assert_int_equal(feed_rig_lookup(&r, FAR).state, NEXT_HOP_UP);
	assert_int_equal(feed_rig_lookup(&r, FAR).mac, 7);
	fib_feed_port_down(r.feed, 1, 0);
	assert_int_equal(feed_rig_lookup(&r, FAR).state, NEXT_HOP_UP);
	fib_feed_port_down(r.feed, 0, 0);
	assert_int_equal(feed_rig_lookup(&r, FAR).state, NEXT_HOP_DOWN);
	assert_int_equal(fib_batch_count(r.fib), 0);
	/* while the link is down, a neighbour update takes effect at link-up */
	assert_int_equal(feed_rig_neighbor(&r, HOP, 0, 6), 0);
	assert_int_equal(feed_rig_lookup(&r, FAR).state, NEXT_HOP_DOWN);
	fib_feed_port_up(r.feed, 0);
	fib_feed_port_up(r.feed, 1);
	assert_int_equal(feed_rig_lookup(&r, FAR).state, NEXT_HOP_UP);
	assert_int_equal(feed_rig_lookup(&r, FAR).mac, 6);
	assert_int_equal(fib_batch_count(r.fib), 0);
	/* a new MAC takes effect at once */
	assert_int_equal(feed_rig_neighbor(&r, HOP, 0, 8), 0);
	assert_int_equal(feed_rig_lookup(&r, FAR).state, NEXT_HOP_UP);
	assert_int_equal(feed_rig_lookup(&r, FAR).mac, 8);
	assert_int_equal(feed_rig_neighbor(&r, HOP, 0, 9), 0);
	assert_int_equal(feed_rig_lookup(&r, FAR).mac, 9);
	assert_int_equal(fib_batch_count(r.fib), 0);
	feed_rig_settle(&r);
	assert_int_equal(feed_rig_generation(&r), generation);
	assert_int_equal(feed_rig_writes(&r), writes);
	/*
	 * the loss takes effect at once for all routes; only the neighbour's host route is removed
	 * by a batch
	 */
	assert_int_equal(feed_rig_neighbor(&r, HOP, 0, 0), 0);
	assert_int_equal(feed_rig_lookup(&r, FAR).state, NEXT_HOP_UNRESOLVED);
	assert_int_equal(fib_batch_count(r.fib), 1);
	assert_int_equal(feed_rig_generation(&r), generation);
	feed_rig_settle(&r);
	assert_int_equal(feed_rig_generation(&r), generation + 1);
	assert_forwards(FAR, 16, HOP, 0);
}

static void
test_connected_and_local(void **state)
{
	(void)state;
	one_route();
	assert_kind(V4(192, 0, 2, 9), 24, PATH_LIST_GLEAN, 0);
	assert_kind(OURS, 32, PATH_LIST_PUNT, PORT_NONE);
	/* add a second address of the same subnet, remove the first */
	assert_int_equal(feed_rig_connected(&r, V4(192, 0, 2, 253), 24, 0, true), 0);
	assert_int_equal(feed_rig_connected(&r, OURS, 24, 0, false), 0);
	feed_rig_settle(&r);
	assert_kind(V4(192, 0, 2, 253), 32, PATH_LIST_PUNT, PORT_NONE);
	assert_kind(OURS, 24, PATH_LIST_GLEAN, 0);
	assert_forwards(FAR, 16, HOP, 0);
	assert_int_equal(feed_rig_audit(&r), 0);
	assert_int_equal(feed_rig_connected(&r, V4(192, 0, 2, 253), 24, 0, false), 0);
	feed_rig_settle(&r);
	assert_none(V4(192, 0, 2, 9));
	assert_none(V4(192, 0, 2, 253));
	assert_none(FAR);
	assert_int_equal(feed_rig_audit(&r), 0);
	/* removing twice is harmless, also for a subnet that was never added */
	assert_int_equal(feed_rig_connected(&r, OURS, 24, 0, false), 0);
	assert_int_equal(feed_rig_connected(&r, OURS, 24, 0, true), 0);
	feed_rig_settle(&r);
	assert_forwards(FAR, 16, HOP, 0);
}

/* `ip address add 192.0.2.254/32`: address and subnet are equal. */
static void
test_host_address(void **state)
{
	(void)state;
	assert_int_equal(feed_rig_connected(&r, OURS, 32, 0, true), 0);
	feed_rig_settle(&r);
	assert_kind(OURS, 32, PATH_LIST_PUNT, PORT_NONE);
	assert_int_equal(feed_rig_connected(&r, OURS, 32, 1, true), 0);
	feed_rig_settle(&r);
	assert_kind(OURS, 32, PATH_LIST_PUNT, PORT_NONE);
	assert_int_equal(feed_rig_connected(&r, OURS, 32, 0, false), 0);
	feed_rig_settle(&r);
	assert_kind(OURS, 32, PATH_LIST_PUNT, PORT_NONE);
	assert_int_equal(feed_rig_connected(&r, OURS, 32, 1, false), 0);
	feed_rig_settle(&r);
	assert_none(OURS);
}

/* A neighbour that answers ARP for our address must not receive our packets. */
static void
test_our_address_is_ours(void **state)
{
	(void)state;
	one_route();
	assert_int_equal(feed_rig_neighbor(&r, OURS, 1, 66), 0);
	feed_rig_settle(&r);
	assert_kind(OURS, 32, PATH_LIST_PUNT, PORT_NONE);
	assert_int_equal(feed_rig_audit(&r), 0);
	assert_int_equal(feed_rig_neighbor(&r, OURS, 1, 0), 0);
	feed_rig_settle(&r);
	assert_kind(OURS, 32, PATH_LIST_PUNT, PORT_NONE);
	/* reverse order: the neighbour was there first */
	assert_int_equal(feed_rig_neighbor(&r, V4(192, 0, 2, 5), 1, 66), 0);
	assert_int_equal(feed_rig_connected(&r, V4(192, 0, 2, 5), 24, 0, true), 0);
	feed_rig_settle(&r);
	assert_kind(V4(192, 0, 2, 5), 32, PATH_LIST_PUNT, PORT_NONE);
	assert_int_equal(feed_rig_connected(&r, V4(192, 0, 2, 5), 24, 0, false), 0);
	feed_rig_settle(&r);
	assert_forwards(V4(192, 0, 2, 5), 32, V4(192, 0, 2, 5), 1);
	assert_kind(V4(192, 0, 2, 6), 24, PATH_LIST_GLEAN, 0);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/* The remaining port has the neighbour, whichever port learned or lost the neighbour first. */
static void
test_neighbor_on_two_ports(void **state)
{
	uint32_t host = V4(192, 0, 2, 9);

	(void)state;
	one_route();
	feed_rig_neighbor(&r, host, 0, 1);
	feed_rig_neighbor(&r, host, 1, 2);
	feed_rig_settle(&r);
	assert_forwards(host, 32, host, 1);
	feed_rig_neighbor(&r, host, 1, 0);
	feed_rig_settle(&r);
	assert_forwards(host, 32, host, 0);
	assert_int_equal(feed_rig_lookup(&r, host).mac, 1);
	feed_rig_neighbor(&r, host, 1, 2);
	feed_rig_neighbor(&r, host, 0, 0);
	feed_rig_settle(&r);
	assert_forwards(host, 32, host, 1);
	feed_rig_neighbor(&r, host, 1, 0);
	feed_rig_settle(&r);
	assert_kind(host, 24, PATH_LIST_GLEAN, 0);
	assert_int_equal(feed_rig_audit(&r), 0);
}

static void
test_subnet_on_two_ports(void **state)
{
	(void)state;
	one_route();
	feed_rig_connected(&r, V4(192, 0, 2, 253), 24, 1, true);
	feed_rig_settle(&r);
	assert_kind(V4(192, 0, 2, 9), 24, PATH_LIST_GLEAN, 0);
	assert_forwards(FAR, 16, HOP, 0);
	feed_rig_connected(&r, OURS, 24, 0, false);
	feed_rig_settle(&r);
	assert_kind(V4(192, 0, 2, 9), 24, PATH_LIST_GLEAN, 1);
	assert_forwards(FAR, 16, HOP, 1);
	feed_rig_connected(&r, V4(192, 0, 2, 253), 24, 1, false);
	feed_rig_settle(&r);
	assert_none(V4(192, 0, 2, 9));
	assert_int_equal(feed_rig_audit(&r), 0);
}

/*
 * Host routes (preference 0) win over a peer's routes for our subnets and neighbours; the peer's
 * routes return when ours are removed.
 */
static void
test_host_routes_are_preferred(void **state)
{
	(void)state;
	one_route();
	feed_rig_announce(&r, 1, V4(192, 0, 2, 0), 24, HOP2, 100);
	feed_rig_announce(&r, 1, V4(192, 0, 2, 9), 32, HOP2, 100);
	feed_rig_announce(&r, 1, OURS, 32, HOP2, 100);
	feed_rig_neighbor(&r, V4(192, 0, 2, 9), 0, 5);
	feed_rig_settle(&r);
	assert_kind(V4(192, 0, 2, 1), 24, PATH_LIST_GLEAN, 0);
	assert_forwards(V4(192, 0, 2, 9), 32, V4(192, 0, 2, 9), 0);
	assert_kind(OURS, 32, PATH_LIST_PUNT, PORT_NONE);
	assert_int_equal(feed_rig_audit(&r), 0);
	feed_rig_neighbor(&r, V4(192, 0, 2, 9), 0, 0);
	feed_rig_settle(&r);
	assert_forwards(V4(192, 0, 2, 9), 32, HOP2, 1);
	feed_rig_connected(&r, OURS, 24, 0, false);
	feed_rig_settle(&r);
	assert_forwards(V4(192, 0, 2, 1), 24, HOP2, 1);
	assert_forwards(OURS, 32, HOP2, 1);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/* `networks` names a connected subnet: when the interface loses the subnet, no route remains. */
static void
test_our_network_is_a_subnet(void **state)
{
	(void)state;
	one_route();
	feed_rig_originate(&r, V4(192, 0, 2, 0), 24, 100);
	feed_rig_settle(&r);
	assert_kind(V4(192, 0, 2, 9), 24, PATH_LIST_GLEAN, 0);
	feed_rig_connected(&r, OURS, 24, 0, false);
	feed_rig_settle(&r);
	assert_none(V4(192, 0, 2, 9));
	assert_none(OURS);
	assert_int_equal(feed_rig_audit(&r), 0);
}

static void
test_port_moves(void **state)
{
	(void)state;
	one_route();
	assert_forwards(FAR, 16, HOP, 0);
	/* a longer subnet on port 1 contains the next hop; the RIB sees no change */
	assert_int_equal(feed_rig_connected(&r, V4(192, 0, 2, 2), 30, 1, true), 0);
	feed_rig_settle(&r);
	assert_forwards(FAR, 16, HOP, 1);
	assert_int_equal(r.resolves, 2);
	assert_int_equal(r.resolved_port, 1);
	assert_int_equal(feed_rig_audit(&r), 0);
	/* the kernel loses the neighbour on the old port: no route uses that port */
	feed_rig_neighbor(&r, HOP, 0, 0);
	feed_rig_settle(&r);
	assert_int_equal(r.resolves, 2);
	assert_int_equal(feed_rig_connected(&r, V4(192, 0, 2, 2), 30, 1, false), 0);
	feed_rig_settle(&r);
	assert_forwards(FAR, 16, HOP, 0);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/*
 * A next hop that becomes our own address is unreachable, and returns afterwards. The shard
 * receives each change once.
 */
static void
test_next_hop_becomes_local(void **state)
{
	(void)state;
	one_route();
	assert_int_equal(feed_rig_connected(&r, HOP, 24, 0, true), 0);
	feed_rig_settle(&r);
	assert_none(FAR);
	assert_int_equal(feed_rig_audit(&r), 0);
	assert_int_equal(feed_rig_connected(&r, HOP, 24, 0, false), 0);
	feed_rig_settle(&r);
	assert_forwards(FAR, 16, HOP, 0);
	/*
	 * the next hop is the only address of its subnet: both are removed at once, without a
	 * message about a state in between
	 */
	assert_int_equal(feed_rig_connected(&r, HOP2, 24, 1, true), 0);
	assert_int_equal(feed_rig_connected(&r, V4(198, 51, 100, 254), 24, 1, false), 0);
	feed_rig_announce(&r, 1, V4(10, 2, 0, 0), 16, HOP2, 100);
	feed_rig_settle(&r);
	assert_none(V4(10, 2, 0, 1));
	assert_int_equal(feed_rig_connected(&r, HOP2, 24, 1, false), 0);
	assert_int_equal(r.tells.head, r.tells.tail);
}

/*
 * The subnet of the best path is removed while a change of the route waits in the journal and the
 * shard has not evaluated yet. The second path takes over at once, with no gap.
 */
static void
test_backup_takes_over(void **state)
{
	(void)state;
	one_route();
	feed_rig_announce(&r, 2, ROUTE, 16, HOP2, 50);
	feed_rig_settle(&r);
	assert_forwards(FAR, 16, HOP, 0);
	feed_rig_announce(&r, 1, ROUTE, 16, HOP, 101);
	rig_settle(&r.rig);
	feed_rig_connected(&r, OURS, 24, 0, false);
	feed_rig_drain(&r);
	assert_forwards(FAR, 16, HOP2, 1);
	feed_rig_settle(&r);
	assert_forwards(FAR, 16, HOP2, 1);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/*
 * As before, but the replacement is another prefix with an unread announcement: the order of the
 * RIB is kept.
 */
static void
test_loss_keeps_its_place(void **state)
{
	(void)state;
	one_route();
	feed_rig_announce(&r, 1, ROUTE, 16, HOP, 101);
	rig_settle(&r.rig);
	feed_rig_connected(&r, OURS, 24, 0, false);
	feed_rig_drain(&r);
	assert_true(feed_rig_lookup(&r, FAR).hit);
	/* an audit in between skips the changes that the shard has not evaluated */
	assert_int_equal(fib_feed_audit_begin(r.feed, NULL), 0);
	feed_rig_drain(&r);
	assert_true(fib_feed_audit(r.feed)->running);
	assert_int_equal(fib_feed_audit(r.feed)->mismatch_count, 0);
	feed_rig_announce(&r, 2, V4(10, 0, 0, 0), 8, HOP2, 50);
	feed_rig_settle(&r);
	assert_forwards(FAR, 8, HOP2, 1);
	feed_rig_drain(&r);
	assert_false(fib_feed_audit(r.feed)->running);
	assert_int_equal(fib_feed_audit(r.feed)->mismatch_count, 0);
}

/*
 * Without forwarding tables the feed resolves all next hops again instead of reading many entries, and
 * frees the tombstones before the head of the journal.
 */
static void
test_follower_frees_tombstones(void **state)
{
	const struct journal *j;

	(void)state;
	feed_rig_fini(&r);
	feed_rig_init(&r, true, 0, 0);
	assert_int_equal(fib_feed_create(&(struct fib_feed_config){.arena = r.arena,
						 .nexthops = r.hops,
						 .shards = r.shards.at,
						 .shard_count = r.shards.count,
						 .resolve = feed_rig_resolve,
						 .resolve_ctx = &r},
				 &r.feed),
		0);
	while (!fib_settled(r.fib)) { /* for feed_rig_drain() */
		qsbr_quiescent(r.workers, r.worker);
		(void)fib_commit(r.fib, r.now_ns);
	}
	j = shard_journal(r.rig.shard);
	feed_rig_peer(&r, 1);
	rig_up(&r.rig, 1, RIG_OWN_ASN, 1, false);
	assert_int_equal(feed_rig_connected(&r, OURS, 24, 0, true), 0);
	/* a next hop behind a BGP route */
	feed_rig_announce(&r, 1, ROUTE, 16, HOP, 100);
	feed_rig_announce(&r, 1, V4(10, 9, 0, 0), 16, FAR, 100);
	feed_rig_settle(&r);
	assert_true(nexthop_follows(r.hops) > 0);
	for (unsigned i = 0; i < 2000; i++) {
		feed_rig_announce(&r, 1, V4(11, i >> 8, i & 255, 0), 24, HOP, 100);
		feed_rig_withdraw(&r, 1, V4(11, i >> 8, i & 255, 0), 24);
	}
	feed_rig_shards_drain(&r);
	assert_true(journal_safe_sequence(j) <= journal_head(j));
	feed_rig_drain(&r);
	assert_int_equal(journal_safe_sequence(j), journal_head(j) + 1);
	feed_rig_settle(&r);
}

/*
 * Without tracking the shard gets no message: the feed itself removes routes with an unreachable
 * next hop.
 */
static void
test_without_tracking(void **state)
{
	(void)state;
	feed_rig_fini(&r);
	feed_rig_init(&r, false, 0, FEED_BATCH);
	feed_rig_peer(&r, 1);
	rig_up(&r.rig, 1, RIG_OWN_ASN, 1, false);
	feed_rig_announce(&r, 1, V4(10, 2, 0, 0), 16, HOP2, 100);
	one_route();
	assert_forwards(FAR, 16, HOP, 0);
	assert_forwards(V4(10, 2, 0, 1), 16, HOP2, 1);
	feed_rig_connected(&r, OURS, 24, 0, false);
	feed_rig_settle(&r);
	assert_none(FAR);
	assert_forwards(V4(10, 2, 0, 1), 16, HOP2, 1);
	assert_int_equal(feed_rig_audit(&r), 0);
	feed_rig_connected(&r, OURS, 24, 0, true);
	feed_rig_settle(&r);
	assert_forwards(FAR, 16, HOP, 0);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/* The RIB is filled before the feed starts. */
static void
test_late_feed(void **state)
{
	struct prefix subnet = prefix_from_v4(V4(192, 0, 2, 0), 24);

	(void)state;
	feed_rig_fini(&r);
	feed_rig_init(&r, false, 64, 0);
	feed_rig_peer(&r, 1);
	rig_up(&r.rig, 1, RIG_OWN_ASN, 1, false);
	for (uint32_t i = 0; i < 200; i++)
		feed_rig_announce(&r, 1, V4(10, 2, i, 0), 24, HOP, 100);
	rig_settle(&r.rig);
	assert_int_equal(nexthop_connected_add(r.hops, VRF_DEFAULT, &subnet, 0), 0);
	feed_rig_feed(&r, FEED_BATCH);
	feed_rig_settle(&r);
	assert_forwards(V4(10, 2, 0, 9), 24, HOP, 0);
	assert_forwards(V4(10, 2, 199, 9), 24, HOP, 0);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/* Runs the fib thread `ns` after the last commit; true if a new generation became visible. */
static bool
flips_at(uint64_t committed_ns, uint64_t ns)
{
	uint64_t generation = feed_rig_generation(&r);

	r.now_ns = committed_ns + ns;
	rig_settle(&r.rig);
	while (feed_rig_turn(&r, UINT64_MAX))
		;
	return feed_rig_generation(&r) != generation;
}

/*
 * A small batch waits longer than a medium batch; the first change after an idle time is committed
 * at once.
 */
static void
test_small_batches(void **state)
{
	uint64_t committed;

	(void)state;
	feed_rig_fini(&r);
	feed_rig_init(&r, true, 0, 0);
	feed_rig_feed_some(&r, 100, 10);
	feed_rig_peer(&r, 1);
	rig_up(&r.rig, 1, RIG_OWN_ASN, 1, false);
	one_route();
	feed_rig_announce(&r, 1, V4(10, 2, 0, 0), 24, HOP, 100);
	assert_true(flips_at(r.now_ns, FEED_LATEST_NS));
	committed = r.now_ns;
	qsbr_quiescent(r.workers, r.worker);
	feed_rig_turn(&r, UINT64_MAX); /* applies the batch to the other copy */
	for (uint32_t i = 1; i < 10; i++)
		feed_rig_announce(&r, 1, V4(10, 2, i, 0), 24, HOP, 100);
	assert_false(flips_at(committed, FEED_LATEST_NS - 1));
	assert_true(fib_feed_wait_ns(r.feed) > 0);
	assert_none(V4(10, 2, 9, 1));
	assert_true(flips_at(committed, FEED_LATEST_NS));
	assert_forwards(V4(10, 2, 9, 1), 24, HOP, 0);
	committed = r.now_ns;
	qsbr_quiescent(r.workers, r.worker);
	feed_rig_turn(&r, UINT64_MAX);
	for (uint32_t i = 0; i < 10; i++)
		feed_rig_announce(&r, 1, V4(10, 3, i, 0), 24, HOP, 100);
	assert_false(flips_at(committed, FEED_INTERVAL_NS - 1));
	assert_true(flips_at(committed, FEED_INTERVAL_NS));
	assert_forwards(V4(10, 3, 9, 1), 24, HOP, 0);
}

/* A batch is committed after the interval or when full, and never exceeds its maximum. */
static void
test_batches(void **state)
{
	uint64_t generation;

	(void)state;
	feed_rig_fini(&r);
	feed_rig_init(&r, true, 0, 10);
	feed_rig_peer(&r, 1);
	rig_up(&r.rig, 1, RIG_OWN_ASN, 1, false);
	one_route();
	generation = feed_rig_generation(&r);
	r.now_ns += FEED_INTERVAL_NS;
	feed_rig_announce(&r, 1, V4(10, 2, 0, 0), 24, HOP, 100);
	rig_settle(&r.rig);
	while (feed_rig_turn(&r, UINT64_MAX))
		;
	assert_int_equal(feed_rig_generation(&r), generation + 1);
	/* a partial batch waits for the interval */
	qsbr_quiescent(r.workers, r.worker);
	feed_rig_turn(&r, UINT64_MAX); /* applies the batch to the other copy */
	feed_rig_announce(&r, 1, V4(10, 2, 1, 0), 24, HOP, 100);
	rig_settle(&r.rig);
	r.now_ns += FEED_INTERVAL_NS - 1;
	while (feed_rig_turn(&r, UINT64_MAX))
		;
	assert_int_equal(feed_rig_generation(&r), generation + 1);
	assert_true(fib_feed_wait_ns(r.feed) > 0);
	assert_none(V4(10, 2, 1, 1));
	r.now_ns++;
	while (feed_rig_turn(&r, UINT64_MAX))
		;
	assert_int_equal(feed_rig_generation(&r), generation + 2);
	assert_forwards(V4(10, 2, 1, 1), 24, HOP, 0);
	/*
	 * a full batch is committed as soon as the reader has left the other copy; until then the
	 * journal waits
	 */
	for (uint32_t i = 0; i < 25; i++)
		feed_rig_announce(&r, 1, V4(10, 3, i, 0), 24, HOP, 100);
	rig_settle(&r.rig);
	for (unsigned i = 0; i < 100; i++)
		feed_rig_turn(&r, UINT64_MAX);
	assert_int_equal(fib_batch_count(r.fib), 10);
	assert_int_equal(feed_rig_generation(&r), generation + 2);
	assert_true(fib_feed_wait_ns(r.feed) > 0);
	qsbr_quiescent(r.workers, r.worker);
	feed_rig_turn(&r, UINT64_MAX);
	assert_int_equal(feed_rig_generation(&r), generation + 3);
	feed_rig_drain(&r);
	assert_int_equal(feed_rig_generation(&r), generation + 5);
	/* a walk of the whole table (after a change of ports) respects the maximum, too */
	for (uint32_t i = 0; i < 25; i++)
		feed_rig_announce(&r, 1, V4(10, 4, i, 0), 24, V4(192, 0, 2, 2), 100);
	feed_rig_settle(&r);
	feed_rig_connected(&r, V4(192, 0, 2, 3), 30, 1, true);
	for (unsigned i = 0; i < 100; i++)
		feed_rig_turn(&r, UINT64_MAX);
	assert_true(fib_batch_count(r.fib) <= 10);
	feed_rig_settle(&r);
	assert_forwards(V4(10, 4, 3, 1), 24, V4(192, 0, 2, 2), 1);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/*
 * Path lists and next hops have 65,535 ids; routes without an id are installed when ids become
 * free.
 */
static void
test_out_of_ids(void **state)
{
	enum { HOPS = 65600, GONE = 200 };

	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* a single thread with 65,000 next hops takes seconds */
#endif
	assert_int_equal(feed_rig_connected(&r, V4(172, 16, 0, 1), 12, 0, true), 0);
	for (uint32_t i = 0; i < HOPS; i++)
		feed_rig_announce(
			&r, 1, V4(10, 0, 0, 0) + (i << 8), 24, V4(172, 16, 1, 0) + i, 100);
	do {
		rig_settle(&r.rig);
		while (feed_rig_pump_ask(&r))
			;
		while (feed_rig_pump_tell(&r))
			;
		feed_rig_turn(&r, UINT64_MAX);
		qsbr_quiescent(r.workers, r.worker);
		r.now_ns += FEED_INTERVAL_NS;
	} while (r.asks.head != r.asks.tail || r.tells.head != r.tells.tail);
	for (unsigned i = 0; i < 100; i++) {
		rig_settle(&r.rig);
		feed_rig_turn(&r, UINT64_MAX);
		qsbr_quiescent(r.workers, r.worker);
		r.now_ns += FEED_INTERVAL_NS;
	}
	assert_true(fib_feed_failed(r.feed) > 0);
	assert_none(V4(10, 0, 0, 0) + ((HOPS - 1) << 8));
	assert_true(fib_feed_wait_ns(r.feed) > 0); /* a retry is scheduled */
	/* withdraw 200 routes: their next hops, never resolved by the kernel, become unused */
	for (uint32_t i = 0; i < GONE; i++)
		feed_rig_withdraw(&r, 1, V4(10, 0, 0, 0) + (i << 8), 24);
	rig_settle(&r.rig);
	r.now_ns += 10000000000u;
	feed_rig_settle(&r);
	r.now_ns += 10000000000u;
	feed_rig_settle(&r);
	for (uint32_t i = GONE; i < HOPS; i++)
		assert_forwards(V4(10, 0, 0, 0) + (i << 8), 24, V4(172, 16, 1, 0) + i, 0);
	assert_int_equal(fib_feed_wait_ns(r.feed), 0);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/* Runs all threads for `count` rounds, while retries never end. */
static void
turns(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		bool more = true;

		rig_settle(&r.rig);
		while (more) {
			more = feed_rig_pump_ask(&r);
			more |= feed_rig_pump_tell(&r);
		}
		feed_rig_turn(&r, UINT64_MAX);
		qsbr_quiescent(r.workers, r.worker);
		r.now_ns += FEED_INTERVAL_NS;
	}
}

static uint64_t
audit_by_turns(void)
{
	assert_int_equal(fib_feed_audit_begin(r.feed, NULL), 0);
	for (unsigned i = 0; fib_feed_audit(r.feed)->running; i++) {
		turns(1);
		assert_true(i < 10000);
	}
	return fib_feed_audit(r.feed)->mismatch_count;
}

/* Takes all free ids of next hops; returns their number. */
static unsigned
hops_take(struct next_hop_id *id)
{
	unsigned count = 0;

	for (;; count++) {
		struct ip_addr a = addr_from_v4(V4(240, 0, 0, 0) + count);

		if (next_hop_get(fib_path_lists(r.fib), VRF_DEFAULT, &a, 9, &id[count]) != 0)
			return count;
	}
}

/* A path whose next hop gets no id: another path forwards, or the previous one stays. */
static void
test_no_id_for_the_better_path(void **state)
{
	static struct next_hop_id taken[NEXT_HOP_MAX];
	unsigned count;

	(void)state;
	one_route();
	feed_rig_announce(&r, 1, V4(10, 2, 0, 0), 16, HOP, 100);
	feed_rig_announce(&r, 1, V4(10, 3, 0, 0), 16, HOP, 100);
	/* the next hop is up in the shard, but no route uses the next hop */
	feed_rig_originate(&r, V4(10, 5, 0, 0), 16, 400);
	feed_rig_announce(&r, 2, V4(10, 5, 0, 0), 16, V4(192, 0, 2, 98), 100);
	feed_rig_settle(&r);
	count = hops_take(taken);
	assert_true(count > 0);
	feed_rig_announce(&r, 2, ROUTE, 16, V4(192, 0, 2, 99), 300);
	feed_rig_announce(&r, 1, V4(10, 2, 0, 0), 16, V4(192, 0, 2, 98), 100);
	feed_rig_announce(&r, 1, V4(10, 4, 0, 0), 16, V4(192, 0, 2, 98), 100);
	feed_rig_withdraw(&r, 1, V4(10, 3, 0, 0), 16);
	turns(10);
	assert_true(fib_feed_failed(r.feed) > 0);
	assert_forwards(FAR, 16, HOP, 0);
	assert_forwards(V4(10, 2, 0, 1), 16, HOP, 0);
	assert_none(V4(10, 3, 0, 1));
	assert_none(V4(10, 4, 0, 1));
	assert_int_equal(audit_by_turns(), 0);
	assert_true(fib_feed_audit(r.feed)->not_installed > 0);
	turns(1000); /* retries */
	assert_forwards(FAR, 16, HOP, 0);
	assert_forwards(V4(10, 2, 0, 1), 16, HOP, 0);
	while (count > 0)
		next_hop_unref(fib_path_lists(r.fib), taken[--count]);
	turns(1000);
	feed_rig_settle(&r);
	assert_forwards(FAR, 16, V4(192, 0, 2, 99), 0);
	assert_forwards(V4(10, 2, 0, 1), 16, V4(192, 0, 2, 98), 0);
	assert_forwards(V4(10, 4, 0, 1), 16, V4(192, 0, 2, 98), 0);
	assert_int_equal(feed_rig_audit(&r), 0);
	assert_int_equal(fib_feed_audit(r.feed)->not_installed, 0);
}

/*
 * The host reports a neighbour once: a neighbour without an id is installed as soon as an id is
 * free, unless the neighbour was lost before.
 */
static void
test_no_id_for_a_neighbor(void **state)
{
	static struct next_hop_id taken[NEXT_HOP_MAX];
	struct path_lists *lists = fib_path_lists(r.fib);
	struct adjacency adj = {.ether_len = 14, .port = 9};
	unsigned count;

	(void)state;
	one_route();
	count = hops_take(taken);
	for (unsigned i = 0; i < count; i++) {
		memcpy(adj.ether, &i, sizeof(i));
		assert_int_equal(next_hop_up(lists, taken[i], &adj), 0);
	}
	/* uses the last adjacency, then needs another */
	assert_int_equal(feed_rig_neighbor(&r, HOP, 0, 7), 0);
	assert_int_not_equal(feed_rig_neighbor(&r, HOP, 0, 8), 0);
	assert_int_not_equal(feed_rig_neighbor(&r, V4(192, 0, 2, 50), 0, 5), 0);
	assert_int_not_equal(feed_rig_neighbor(&r, V4(192, 0, 2, 50), 0, 6), 0);
	assert_int_not_equal(feed_rig_neighbor(&r, V4(192, 0, 2, 51), 0, 5), 0);
	assert_int_equal(feed_rig_neighbor(&r, V4(192, 0, 2, 51), 0, 0), 0);
	assert_int_not_equal(feed_rig_neighbor(&r, V4(192, 0, 2, 52), 0, 5), 0);
	assert_int_equal(feed_rig_lookup(&r, FAR).state, NEXT_HOP_UNRESOLVED);
	turns(1000); /* retries: an adjacency is free again, ids are not */
	assert_int_equal(feed_rig_lookup(&r, FAR).mac, 8);
	assert_kind(V4(192, 0, 2, 50), 24, PATH_LIST_GLEAN, 0);
	while (count > 1)
		next_hop_unref(lists, taken[--count]);
	turns(1000);
	feed_rig_settle(&r);
	assert_forwards(V4(192, 0, 2, 50), 32, V4(192, 0, 2, 50), 0);
	assert_int_equal(feed_rig_lookup(&r, V4(192, 0, 2, 50)).mac, 6);
	assert_kind(V4(192, 0, 2, 51), 24, PATH_LIST_GLEAN, 0);
	assert_forwards(V4(192, 0, 2, 52), 32, V4(192, 0, 2, 52), 0);
	assert_int_equal(feed_rig_audit(&r), 0);
	/* destroying the feed frees the waiting neighbours */
	count = 1 + hops_take(taken + 1);
	assert_int_not_equal(feed_rig_neighbor(&r, V4(192, 0, 2, 53), 0, 5), 0);
	while (count > 0)
		next_hop_unref(lists, taken[--count]);
}

/* Path lists ran short without a failure: backups return as soon as path lists are free. */
static void
test_backups_come_back(void **state)
{
	enum { LISTS = PATH_LIST_MAX / 8 * 7, HOPS = 300 };
	static struct path_list_id taken[LISTS];
	struct path_lists *lists = fib_path_lists(r.fib);
	struct path path[HOPS];
	struct answer a;

	(void)state;
	one_route();
	for (uint32_t i = 0; i < HOPS; i++) {
		struct ip_addr addr = addr_from_v4(V4(240, 0, 0, 0) + i);

		path[i].label = LABEL_NONE;
		assert_int_equal(next_hop_get(lists, VRF_DEFAULT, &addr, 9, &path[i].next_hop), 0);
	}
	for (unsigned i = 0; i < LISTS; i++) {
		const struct path two[2] = {path[i / HOPS], path[i % HOPS]};

		assert_int_equal(
			path_list_get(lists, PATH_LIST_FORWARD, PORT_NONE, two, 2, &taken[i]), 0);
	}
	feed_rig_announce(&r, 2, V4(10, 2, 0, 0), 16, HOP2, 100);
	feed_rig_settle(&r);
	feed_rig_announce(&r, 2, ROUTE, 16, HOP2, 50);
	feed_rig_settle(&r);
	assert_forwards(FAR, 16, HOP, 0);
	assert_int_equal(feed_rig_lookup(&r, FAR).backups, 0);
	assert_int_equal(fib_feed_failed(r.feed), 0);
	for (unsigned i = 0; i < LISTS; i++)
		path_list_unref(lists, taken[i]);
	for (unsigned i = 0; i < HOPS; i++)
		next_hop_unref(lists, path[i].next_hop);
	feed_rig_turn(&r, UINT64_MAX);
	feed_rig_settle(&r);
	a = feed_rig_lookup(&r, FAR);
	assert_int_equal(a.backups, 1);
	assert_int_equal(addr_v4(&a.backup), HOP2);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/* A wake-up for another reason does not restart the delay of the retry. */
static void
test_retry_waits_what_is_left(void **state)
{
	uint64_t wait;

	(void)state;
	one_route();
	fib_feed_fail(r.feed);
	assert_false(feed_rig_turn(&r, UINT64_MAX));
	wait = fib_feed_wait_ns(r.feed);
	assert_true(wait > 0);
	assert_true(wait <= 1000000000);
	r.now_ns += 700000000;
	assert_false(feed_rig_turn(&r, UINT64_MAX));
	assert_true(fib_feed_wait_ns(r.feed) > 0);
	assert_true(fib_feed_wait_ns(r.feed) <= 300000000);
	feed_rig_settle(&r);
	assert_int_equal(fib_feed_wait_ns(r.feed), 0);
}

/* The first next hop that may need the journal resolves all again, in a further turn. */
static void
work_all(void)
{
	unsigned turns = 0;

	while (feed_rig_turn(&r, UINT64_MAX))
		assert_true(++turns < 10);
}

/* Without a data plane the feed only tracks next hops. */
static void
test_without_data_plane(void **state)
{
	struct fib_feed_config c = {
		.arena = r.arena, .nexthops = r.hops, .shards = &r.rig.shard, .shard_count = 1};
	struct nexthop_message ask = {.addr = addr_from_v4(HOP)};
	struct prefix igp = prefix_from_v4(V4(10, 255, 0, 0), 16);
	struct fib_feed_hop hop = {addr_from_v4(HOP), PORT_NONE};

	(void)state;
	fib_feed_destroy(r.feed);
	assert_int_equal(fib_feed_create(&c, &r.feed), 0);
	assert_int_equal(fib_feed_watch(r.feed, &ask), 0);
	assert_false(r.tells.m[0].up);
	assert_int_equal(feed_rig_connected(&r, OURS, 24, PORT_NONE, true), 0);
	work_all();
	assert_int_equal(r.tells.tail, 2);
	assert_true(r.tells.m[1].up);
	/* kernel routes also resolve next hops; the kernel's interfaces are no ports */
	ask.addr = text_addr("10.255.0.1");
	assert_int_equal(fib_feed_watch(r.feed, &ask), 0);
	assert_int_equal(
		fib_feed_route(r.feed, VRF_DEFAULT, &igp, SOURCE_KERNEL, &hop, 1, 30, true), 0);
	work_all();
	assert_int_equal(r.tells.tail, 4);
	assert_true(r.tells.m[3].up && !r.tells.m[3].connected);
	assert_int_equal(r.tells.m[3].metric, 30);
	assert_int_equal(
		fib_feed_route(r.feed, VRF_DEFAULT, &igp, SOURCE_KERNEL, NULL, 0, 30, false), 0);
	work_all();
	assert_int_equal(r.tells.tail, 5);
	assert_false(r.tells.m[4].up);
	assert_int_equal(
		fib_feed_route(r.feed, VRF_DEFAULT, &igp, SOURCE_KERNEL, &hop, 1, 30, true), 0);
	assert_int_equal(feed_rig_neighbor(&r, HOP, 0, 5), 0);
	fib_feed_port_down(r.feed, 0, 0);
	work_all();
	assert_int_equal(fib_feed_wait_ns(r.feed), 0);
	assert_int_equal(fib_feed_audit_begin(r.feed, NULL), -ENODEV);
	assert_false(fib_feed_audit(r.feed)->running);
}

/* ---- order of withdrawals: FAR has a route in the RIB at every moment ---- */

static void
small_steps(uint32_t journal)
{
	feed_rig_fini(&r);
	feed_rig_init(&r, true, journal, 1);
	feed_rig_peer(&r, 1);
	rig_up(&r.rig, 1, RIG_OWN_ASN, 1, false);
	one_route();
	feed_rig_withdraw(&r, 1, ROUTE, 16);
	feed_rig_settle(&r);
}

/* The smallest possible turn: one journal entry, or 64 destinations of a walk. */
static void
step(void)
{
	qsbr_quiescent(r.workers, r.worker);
	r.now_ns += FEED_INTERVAL_NS;
	feed_rig_turn(&r, 1);
}

static void
steps_keep(uint32_t addr, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		step();
		assert_true(feed_rig_lookup(&r, addr).hit);
	}
}

/*
 * Lapped: the first walk finds a withdrawn route, and the replacement is created behind the walk's
 * position.
 */
static void
test_lapped_withdraws_last(void **state)
{
	(void)state;
	small_steps(16);
	feed_rig_announce(&r, 1, V4(10, 1, 2, 0), 24, HOP, 100);
	feed_rig_settle(&r);
	for (uint32_t i = 0; i < 20; i++)
		feed_rig_announce(&r, 1, V4(20, 0, i, 0), 24, HOP, 100);
	feed_rig_announce(&r, 1, ROUTE, 16, HOP, 100);
	feed_rig_withdraw(&r, 1, V4(10, 1, 2, 0), 24);
	rig_settle(&r.rig);
	steps_keep(FAR, 5);
	assert_forwards(FAR, 24, HOP, 0);
	for (uint32_t i = 0; i < 5; i++)
		feed_rig_announce(&r, 1, V4(20, 1, i, 0), 24, HOP, 100);
	feed_rig_announce(&r, 1, V4(10, 0, 0, 0), 8, HOP, 100);
	feed_rig_withdraw(&r, 1, ROUTE, 16);
	rig_settle(&r.rig);
	steps_keep(FAR, 200);
	assert_forwards(FAR, 8, HOP, 0);
	feed_rig_settle(&r);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/*
 * The route that replaced a withdrawn route lost its next hop, and the feed lags: the withdrawn
 * route must stay for now.
 */
static void
test_loss_holds_withdrawals(void **state)
{
	(void)state;
	small_steps(0);
	for (uint32_t i = 0; i < 1000; i++)
		feed_rig_announce(&r, 1, V4(20, i >> 8, i, 0), 24, HOP2, 100);
	feed_rig_announce(&r, 1, ROUTE, 16, HOP2, 100);
	feed_rig_settle(&r);
	assert_forwards(FAR, 16, HOP2, 1);
	feed_rig_announce(&r, 1, V4(10, 1, 2, 0), 24, HOP, 100);
	feed_rig_withdraw(&r, 1, ROUTE, 16);
	feed_rig_announce(&r, 1, V4(10, 0, 0, 0), 8, HOP2, 100);
	rig_settle(&r.rig);
	feed_rig_connected(&r, OURS, 24, 0, false);
	steps_keep(FAR, 200);
	assert_forwards(FAR, 8, HOP2, 1);
	feed_rig_settle(&r);
	assert_forwards(FAR, 8, HOP2, 1);
	assert_int_equal(feed_rig_audit(&r), 0);
}

static void
say(const struct prefix *p, bool present)
{
	struct ip_addr hop = addr_from_v4(HOP);

	r.rig.now_ns += 10000000;
	if (present)
		feed_rig_announce_to(&r, 1, p, &hop, 100);
	else
		feed_rig_withdraw_prefix(&r, 1, p);
	feed_rig_shards_settle(&r);
}

/*
 * A delayed withdrawal moves the journal position back before entries that are already visible:
 * each message is still timed once.
 */
static void
test_counted_once_behind_a_withdrawal(void **state)
{
	enum { BETWEEN = 600 };
	struct prefix waits_for = prefix_from_v4(V4(10, 2, 0, 0), 16);
	struct prefix waits = prefix_from_v4(V4(10, 3, 0, 0), 16);

	(void)state;
	for (unsigned shards = 1; shards <= FEED_SHARDS; shards += FEED_SHARDS - 1) {
		uint64_t visible, used, at = 0;

		feed_rig_fini(&r);
		feed_rig_init_shards(&r, shards, false, FEED_JOURNAL, FEED_BATCH);
		feed_rig_peer(&r, 1);
		for (unsigned i = 0; i < shards; i++)
			rig_up(&r.rigs[i], 1, RIG_OWN_ASN, 1, false);
		assert_int_equal(feed_rig_connected(&r, OURS, 24, 0, true), 0);
		say(&waits_for, true);
		say(&waits, true);
		feed_rig_settle(&r);
		visible = count_of(fib_feed_update_hist(r.feed));
		used = count_of(fib_feed_use_hist(r.feed));
		say(&waits_for, false);
		say(&waits, false);
		for (uint32_t i = 0; i < BETWEEN; i++) {
			struct prefix p = prefix_from_v4(V4(20, i >> 8, i, 0), 24);

			say(&p, true);
		}
		say(&waits_for, true);
		say(&waits_for, false);
		for (unsigned i = 0; i < 20; i++) {
			step();
			assert_true(r.feed->source.visible >= at);
			at = r.feed->source.visible;
		}
		feed_rig_settle(&r);
		assert_none(V4(10, 3, 0, 1));
		assert_int_equal(count_of(fib_feed_update_hist(r.feed)), visible + BETWEEN + 4);
		assert_int_equal(count_of(fib_feed_use_hist(r.feed)), used + BETWEEN + 4);
	}
}

/*
 * A host route replaced a withdrawn RIB route, and is removed before the feed reads the
 * announcement of the next replacement.
 */
static void
test_host_route_leaves_in_turn(void **state)
{
	(void)state;
	for (unsigned variant = 0; variant < 3; variant++) {
		small_steps(0);
		feed_rig_announce(&r, 1, FAR, 32, HOP, 100);
		feed_rig_neighbor(&r, FAR, 2, 7);
		feed_rig_settle(&r);
		if (variant < 2)
			feed_rig_announce(&r, 1, ROUTE, 16, HOP, 100);
		if (variant == 0)
			feed_rig_withdraw(&r, 1, FAR, 32);
		feed_rig_announce(&r, 1, V4(10, 0, 0, 0), 8, HOP, 100);
		if (variant > 0)
			feed_rig_withdraw(&r, 1, FAR, 32);
		if (variant < 2)
			feed_rig_withdraw(&r, 1, ROUTE, 16);
		rig_settle(&r.rig);
		/*
		 * variant 0: the end of the /32 was read, the skipped end of the /16 was not; 1:
		 * the end of the /32 was not read; 2: no entry was read
		 */
		steps_keep(FAR, 2 - variant);
		feed_rig_neighbor(&r, FAR, 2, 0);
		steps_keep(FAR, 100);
		assert_forwards(FAR, 8, HOP, 0);
		feed_rig_settle(&r);
		assert_int_equal(feed_rig_audit(&r), 0);
	}
}

/* ---- the audit can fail ---- */

static const struct fib_mismatch *
only_mismatch(uint32_t addr)
{
	const struct fib_audit *a;
	struct ip_addr want = addr_from_v4(addr);

	assert_true(feed_rig_audit(&r) > 0);
	a = fib_feed_audit(r.feed);
	assert_false(a->running);
	for (unsigned i = 0; i < a->mismatch_count && i < FIB_AUDIT_MISMATCHES_MAX; i++) {
		if (addr_equal(&a->mismatch[i].addr, &want))
			return &a->mismatch[i];
	}
	fail_msg("not named");
	return NULL;
}

static void
behind_its_back(const struct prefix *p, struct path_list_id list)
{
	int err = list.v == PATH_LIST_NONE ? fib_withdraw(r.fib, VRF_DEFAULT, p)
					   : fib_set(r.fib, VRF_DEFAULT, p, list);

	assert_int_equal(err, 0);
	qsbr_quiescent(r.workers, r.worker);
	assert_int_equal(fib_commit(r.fib, r.now_ns), 0);
	qsbr_quiescent(r.workers, r.worker);
	assert_int_equal(fib_commit(r.fib, r.now_ns), 0);
	assert_true(fib_settled(r.fib));
}

/*
 * A withdrawal failed for lack of memory, then the id of the destination was freed: only the fib
 * still has the prefix.
 */
static void
test_lost_withdrawal(void **state)
{
	struct prefix route = prefix_from_v4(ROUTE, 16);
	struct path_list_id there;

	(void)state;
	one_route();
	assert_int_equal(feed_rig_connected_text(&r, "2001:db8:1::1", 64, 0, true), 0);
	feed_rig_announce(&r, 1, V4(10, 0, 0, 0), 8, HOP, 100);
	feed_rig_settle(&r);
	assert_true(fib_shadow_get(r.fib, VRF_DEFAULT, &route, &there));
	for (uint32_t i = 0; i < 200; i++) {
		struct prefix gone = prefix_from_v4(V4(20, 0, i, 0), 24);

		assert_int_equal(fib_set(r.fib, VRF_DEFAULT, &gone, there), 0);
	}
	feed_rig_settle(&r);
	assert_forwards(V4(20, 0, 99, 1), 24, HOP, 0);
	r.feed->lost.state = LOST_DUE;
	fib_feed_fail(r.feed);
	feed_rig_settle(&r);
	for (uint32_t i = 0; i < 200; i++)
		assert_none(V4(20, 0, i, 1));
	assert_forwards(FAR, 16, HOP, 0);
	assert_int_equal(feed_rig_audit(&r), 0);
}

static void
test_audit_names_what_is_wrong(void **state)
{
	struct prefix route = prefix_from_v4(ROUTE, 16),
		      alien = prefix_from_v4(V4(172, 16, 0, 0), 12),
		      ours = prefix_from_v4(OURS, 32);
	struct path_list_id right, other;
	const struct fib_mismatch *m;

	(void)state;
	one_route();
	feed_rig_announce(&r, 1, V4(10, 0, 0, 0), 8, HOP2, 100);
	feed_rig_settle(&r);
	assert_int_equal(feed_rig_audit(&r), 0);
	assert_true(fib_shadow_get(r.fib, VRF_DEFAULT, &route, &right));
	path_list_ref(fib_path_lists(r.fib), right);
	assert_int_equal(path_list_get(fib_path_lists(r.fib), PATH_LIST_BLACKHOLE, PORT_NONE, NULL,
				 0, &other),
		0);

	/* missing: the covering prefix answers */
	behind_its_back(&route, (struct path_list_id){PATH_LIST_NONE});
	m = only_mismatch(ROUTE);
	assert_true(prefix_equal(&m->expected, &route));
	assert_int_equal(m->found.len, 8);
	assert_int_equal(m->vrf.v, VRF_DEFAULT.v);
	behind_its_back(&route, right);
	assert_int_equal(feed_rig_audit(&r), 0);

	/* wrong next hop */
	behind_its_back(&route, other);
	m = only_mismatch(ROUTE | 0xffff);
	assert_true(prefix_equal(&m->expected, &route));
	assert_true(prefix_equal(&m->found, &route));
	behind_its_back(&route, right);
	assert_int_equal(feed_rig_audit(&r), 0);

	/* a prefix unknown to the RIB, far from all its prefixes */
	behind_its_back(&alien, other);
	m = only_mismatch(V4(172, 16, 0, 0));
	assert_int_equal(m->expected.afi, AFI_NONE);
	assert_true(prefix_equal(&m->found, &alien));
	assert_int_equal(fib_feed_audit(r.feed)->mismatch_count, 2); /* first and last address */
	behind_its_back(&alien, (struct path_list_id){PATH_LIST_NONE});
	assert_int_equal(feed_rig_audit(&r), 0);

	/* a host route, far from all prefixes of the RIB */
	behind_its_back(&ours, (struct path_list_id){PATH_LIST_NONE});
	m = only_mismatch(OURS);
	assert_true(prefix_equal(&m->expected, &ours));
	assert_int_equal(m->found.len, 24);
	path_list_unref(fib_path_lists(r.fib), other);
	path_list_unref(fib_path_lists(r.fib), right);
}

/* More mismatches than a report holds, and more than one round of rechecks. */
static void
test_audit_counts_many(void **state)
{
	(void)state;
	one_route();
	for (uint32_t i = 0; i < 3000; i++)
		feed_rig_announce(&r, 1, V4(20, 0, 0, 0) + (i << 9), 24, HOP, 100);
	feed_rig_settle(&r);
	for (uint32_t i = 0; i < 3000; i++) {
		struct prefix p = prefix_from_v4(V4(20, 0, 0, 0) + (i << 9), 24);

		assert_int_equal(fib_withdraw(r.fib, VRF_DEFAULT, &p), 0);
	}
	feed_rig_drain(&r);
	assert_int_equal(feed_rig_audit(&r), 6000);
}

/*
 * A flood of /25s: prefixes without a group are counted apart, and a new neighbour still gets its
 * route.
 */
static void
test_no_groups_left(void **state)
{
	enum { FLOOD = 1200 }; /* 64 of 1,024 groups are reserved */

	(void)state;
	one_route();
	for (uint32_t i = 0; i < FLOOD; i++)
		feed_rig_announce(&r, 1, V4(20, 0, 0, 0) + (i << 8), 25, HOP, 100);
	feed_rig_settle(&r);
	assert_int_equal(feed_rig_audit(&r), 0);
	assert_true(fib_feed_audit(r.feed)->not_installed > FLOOD - 1024);
	feed_rig_neighbor(&r, V4(198, 51, 100, 7), 1, 7);
	feed_rig_settle(&r);
	assert_forwards(V4(198, 51, 100, 7), 32, V4(198, 51, 100, 7), 1);
	assert_int_equal(feed_rig_audit(&r), 0);
	for (uint32_t i = 0; i < FLOOD; i++)
		feed_rig_withdraw(&r, 1, V4(20, 0, 0, 0) + (i << 8), 25);
	feed_rig_settle(&r);
	assert_int_equal(feed_rig_audit(&r), 0);
	assert_int_equal(fib_feed_audit(r.feed)->not_installed, 0);
}

static void
assert_leads(const char *addr, uint8_t len, const char *hop, uint16_t port, uint8_t mac)
{
	struct answer a = feed_rig_lookup_text(&r, addr);
	struct ip_addr want = text_addr(hop);

	assert_true(a.hit);
	assert_int_equal(a.prefix.len, len);
	assert_int_equal(a.kind, PATH_LIST_FORWARD);
	assert_true(addr_equal(&a.next_hop, &want));
	assert_int_equal(a.port, port);
	assert_int_equal(a.mac, mac);
}

static void
assert_kind_text(const char *addr, uint8_t len, enum path_list_kind kind, uint16_t port)
{
	struct answer a = feed_rig_lookup_text(&r, addr);

	assert_true(a.hit);
	assert_int_equal(a.prefix.len, len);
	assert_int_equal(a.kind, kind);
	assert_int_equal(a.port, port);
}

/* Two ports with both families and the same link-local address; zones 'feed-a' and 'feed-b'. */
static void
both_families(void)
{
	zone_intern("feed-a");
	zone_intern("feed-b");
	one_route();
	assert_int_equal(feed_rig_connected_text(&r, "2001:db8:1::1", 64, 0, true), 0);
	assert_int_equal(feed_rig_connected_text(&r, "2001:db8:2::1", 64, 1, true), 0);
	assert_int_equal(feed_rig_connected_text(&r, "fe80::1%feed-a", 64, 0, true), 0);
	assert_int_equal(feed_rig_connected_text(&r, "fe80::1%feed-b", 64, 1, true), 0);
	feed_rig_settle(&r);
}

/* RFC 4291 2.6.1: two ports with one subnet, and an own address with the same value. */
static void
test_anycast(void **state)
{
	struct ip_addr any;

	(void)state;
	both_families();
	assert_int_equal(addr_parse("2001:db8:1::", &any), 0);
	assert_int_equal(fib_feed_anycast(r.feed, VRF_DEFAULT, &any, true), 0);
	assert_int_equal(fib_feed_anycast(r.feed, VRF_DEFAULT, &any, true), 0);
	assert_int_equal(fib_feed_anycast(r.feed, VRF_DEFAULT, &any, false), 0);
	feed_rig_settle(&r);
	assert_kind_text("2001:db8:1::", 128, PATH_LIST_PUNT, PORT_ANYCAST);
	assert_int_equal(feed_rig_connected_text(&r, "2001:db8:1::", 64, 1, true), 0);
	feed_rig_settle(&r);
	assert_kind_text("2001:db8:1::", 128, PATH_LIST_PUNT, PORT_NONE);
	assert_int_equal(feed_rig_connected_text(&r, "2001:db8:1::", 64, 1, false), 0);
	feed_rig_settle(&r);
	assert_kind_text("2001:db8:1::", 128, PATH_LIST_PUNT, PORT_ANYCAST);
	assert_int_equal(feed_rig_audit(&r), 0);
	assert_int_equal(fib_feed_anycast(r.feed, VRF_DEFAULT, &any, false), 0);
	feed_rig_settle(&r);
	assert_kind_text("2001:db8:1::", 64, PATH_LIST_GLEAN, 0);
	assert_int_equal(feed_rig_audit(&r), 0);
}

static void
test_ipv6(void **state)
{
	uint64_t generation;

	(void)state;
	both_families();
	feed_rig_announce_text(&r, 1, "2001:db8:8000::/33", "2001:db8:1::2", 100);
	feed_rig_announce_text(&r, 2, "2001:db8:8000::/33", "2001:db8:2::2", 200);
	feed_rig_announce_text(&r, 1, "::/0", "2001:db8:1::2", 100);
	feed_rig_neighbor_text(&r, "2001:db8:1::2", 0, 3);
	feed_rig_neighbor_text(&r, "2001:db8:2::2", 1, 4);
	feed_rig_settle(&r);
	assert_leads("2001:db8:8000::9", 33, "2001:db8:2::2", 1, 4);
	assert_leads("3fff::1", 0, "2001:db8:1::2", 0, 3);
	assert_leads("2001:db8:1::2", 128, "2001:db8:1::2", 0, 3);
	assert_kind_text("2001:db8:1::9", 64, PATH_LIST_GLEAN, 0);
	assert_kind_text("2001:db8:1::1", 128, PATH_LIST_PUNT, PORT_NONE);
	assert_kind_text("fe80::1", 128, PATH_LIST_PUNT, PORT_NONE);
	assert_int_equal(feed_rig_audit(&r), 0);
	/* one generation for changes of both families */
	generation = feed_rig_generation(&r);
	feed_rig_announce_text(&r, 1, "10.9.0.0/16", "192.0.2.1", 100);
	feed_rig_announce_text(&r, 1, "2001:db8:9::/48", "2001:db8:1::2", 100);
	feed_rig_settle(&r);
	assert_int_equal(feed_rig_generation(&r), generation + 1);
	feed_rig_withdraw_text(&r, 2, "2001:db8:8000::/33");
	feed_rig_settle(&r);
	assert_leads("2001:db8:8000::9", 33, "2001:db8:1::2", 0, 3);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/* RFC 8950, and RFC 2545 3: the zone of a link-local next hop selects the port. */
static void
test_ipv4_by_ipv6_next_hops(void **state)
{
	(void)state;
	both_families();
	feed_rig_announce_text(&r, 1, "10.9.0.0/16", "2001:db8:1::2", 100);
	feed_rig_announce_text(&r, 1, "10.10.0.0/16", "fe80::2%feed-b", 100);
	feed_rig_announce_text(&r, 1, "2001:db8:9::/48", "fe80::2%feed-a", 100);
	feed_rig_neighbor_text(&r, "2001:db8:1::2", 0, 3);
	feed_rig_neighbor_text(&r, "fe80::2%feed-a", 0, 5);
	feed_rig_neighbor_text(&r, "fe80::2%feed-b", 1, 6);
	feed_rig_settle(&r);
	assert_leads("10.9.0.1", 16, "2001:db8:1::2", 0, 3);
	assert_leads("10.10.0.1", 16, "fe80::2%feed-b", 1, 6);
	assert_leads("2001:db8:9::1", 48, "fe80::2%feed-a", 0, 5);
	/* no router forwards to a link-local address */
	assert_false(feed_rig_lookup_text(&r, "fe80::2").hit);
	assert_int_equal(feed_rig_audit(&r), 0);
	/* without an address of ours in the zone, the next hop is unreachable */
	assert_int_equal(feed_rig_connected_text(&r, "fe80::1%feed-b", 64, 1, false), 0);
	feed_rig_settle(&r);
	assert_false(feed_rig_lookup_text(&r, "10.10.0.1").hit);
	assert_leads("2001:db8:9::1", 48, "fe80::2%feed-a", 0, 5);
	assert_kind_text("fe80::1", 128, PATH_LIST_PUNT, PORT_NONE);
	assert_int_equal(fib_feed_zone(r.feed, VRF_DEFAULT, zone_find("feed-b"), 1), 0);
	feed_rig_settle(&r);
	assert_leads("10.10.0.1", 16, "fe80::2%feed-b", 1, 6);
	assert_int_equal(feed_rig_neighbor_text(&r, "fe80::2%feed-b", 1, 0), 0);
	assert_int_equal(feed_rig_lookup_text(&r, "10.10.0.1").state, NEXT_HOP_UNRESOLVED);
	assert_leads("2001:db8:9::1", 48, "fe80::2%feed-a", 0, 5);
	assert_int_equal(feed_rig_audit(&r), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_reached, begin, end),
		cmocka_unit_test_setup_teardown(test_route_comes_and_goes, begin, end),
		cmocka_unit_test_setup_teardown(test_used_when_the_worker_has_passed, begin, end),
		cmocka_unit_test_setup_teardown(test_better_path_and_ours, begin, end),
		cmocka_unit_test_setup_teardown(test_resolve_is_asked_once, begin, end),
		cmocka_unit_test_setup_teardown(
			test_unused_next_hop_is_not_resolved_again, begin, end),
		cmocka_unit_test_setup_teardown(test_next_hop_loss_is_one_store, begin, end),
		cmocka_unit_test_setup_teardown(test_connected_and_local, begin, end),
		cmocka_unit_test_setup_teardown(test_host_address, begin, end),
		cmocka_unit_test_setup_teardown(test_our_address_is_ours, begin, end),
		cmocka_unit_test_setup_teardown(test_neighbor_on_two_ports, begin, end),
		cmocka_unit_test_setup_teardown(test_subnet_on_two_ports, begin, end),
		cmocka_unit_test_setup_teardown(test_host_routes_are_preferred, begin, end),
		cmocka_unit_test_setup_teardown(test_our_network_is_a_subnet, begin, end),
		cmocka_unit_test_setup_teardown(test_port_moves, begin, end),
		cmocka_unit_test_setup_teardown(test_next_hop_becomes_local, begin, end),
		cmocka_unit_test_setup_teardown(test_backup_takes_over, begin, end),
		cmocka_unit_test_setup_teardown(test_loss_keeps_its_place, begin, end),
		cmocka_unit_test_setup_teardown(test_follower_frees_tombstones, begin, end),
		cmocka_unit_test_setup_teardown(test_without_tracking, begin, end),
		cmocka_unit_test_setup_teardown(test_late_feed, begin, end),
		cmocka_unit_test_setup_teardown(test_batches, begin, end),
		cmocka_unit_test_setup_teardown(test_small_batches, begin, end),
		cmocka_unit_test_setup_teardown(test_out_of_ids, begin, end),
		cmocka_unit_test_setup_teardown(test_no_id_for_the_better_path, begin, end),
		cmocka_unit_test_setup_teardown(test_no_id_for_a_neighbor, begin, end),
		cmocka_unit_test_setup_teardown(test_backups_come_back, begin, end),
		cmocka_unit_test_setup_teardown(test_retry_waits_what_is_left, begin, end),
		cmocka_unit_test_setup_teardown(test_without_data_plane, begin, end),
		cmocka_unit_test_setup_teardown(test_lapped_withdraws_last, begin, end),
		cmocka_unit_test_setup_teardown(test_loss_holds_withdrawals, begin, end),
		cmocka_unit_test_setup_teardown(test_counted_once_behind_a_withdrawal, begin, end),
		cmocka_unit_test_setup_teardown(test_host_route_leaves_in_turn, begin, end),
		cmocka_unit_test_setup_teardown(test_lost_withdrawal, begin, end),
		cmocka_unit_test_setup_teardown(test_audit_names_what_is_wrong, begin, end),
		cmocka_unit_test_setup_teardown(test_audit_counts_many, begin, end),
		cmocka_unit_test_setup_teardown(test_no_groups_left, begin, end),
		cmocka_unit_test_setup_teardown(test_ipv6, begin, end),
		cmocka_unit_test_setup_teardown(test_anycast, begin, end),
		cmocka_unit_test_setup_teardown(test_ipv4_by_ipv6_next_hops, begin, end),
	};

	return cmocka_run_group_tests_name("fib_feed", tests, NULL, NULL);
}
