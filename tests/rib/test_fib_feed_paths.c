/* SPDX-License-Identifier: BSD-3-Clause */
/* Several paths of one destination, recursive next hops, and the host's own routes. */
#include "rib/feed/fib_feed.h"

#include "tests/lpm/size.h"
#include "tests/rib/feed_rig.h"

#include "rib/policy/policy.h"
#include "rib/shard/walk.h"

#define FAR_OFF "10.5.0.1" /* under 10.5.0.0/16 */

static struct feed_rig r;

static int
begin(void **state)
{
	(void)state;
	feed_rig_init(&r, true, 0, FEED_BATCH);
	for (uint16_t p = 1; p <= 4; p++) {
		feed_rig_peer(&r, p);
		rig_up(&r.rig, p, RIG_OWN_ASN, p, false);
	}
	/* 192.0.2.0/24 on port 0, 198.51.100.0/24 on port 1, 203.0.113.0/24 on port 2; three neighbours */
	assert_int_equal(feed_rig_connected_text(&r, "192.0.2.254", 24, 0, true), 0);
	assert_int_equal(feed_rig_connected_text(&r, "198.51.100.254", 24, 1, true), 0);
	assert_int_equal(feed_rig_connected_text(&r, "203.0.113.254", 24, 2, true), 0);
	feed_rig_neighbor_text(&r, "192.0.2.1", 0, 1);
	feed_rig_neighbor_text(&r, "198.51.100.1", 1, 2);
	feed_rig_neighbor_text(&r, "203.0.113.1", 2, 3);
	feed_rig_settle(&r);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	feed_rig_fini(&r);
	return 0;
}

static const struct path_list *
list_of(const char *addr)
{
	struct ip_addr a = text_addr(addr);
	struct fib_result found;

	assert_int_equal(fib_lookup(r.fib, VRF_DEFAULT, &a, &found), 0);
	return found.hit ? &path_lists_array(fib_path_lists(r.fib))[found.path_list.v] : NULL;
}

/* As a worker for one flow: last MAC byte of the chosen next hop, or 0 for a drop. */
static unsigned
sent_to(const char *addr)
{
	const struct path_list *l = list_of(addr);
	struct next_hop_view v;

	for (unsigned i = 0; l != NULL && i < l->path_count + (unsigned)l->backup_count; i++) {
		assert_true(next_hop_peek(fib_path_lists(r.fib), l->path[i].next_hop, &v));
		if (v.state == NEXT_HOP_UP)
			return v.adjacency.ether[5];
	}
	return 0;
}

static void
assert_paths(const char *addr, unsigned paths, unsigned backups)
{
	const struct path_list *l = list_of(addr);

	assert_non_null(l);
	assert_int_equal(l->kind, PATH_LIST_FORWARD);
	assert_int_equal(l->path_count, paths);
	assert_int_equal(l->backup_count, backups);
}

static void
route(enum route_source source, const char *prefix, const char *via, uint16_t port, uint32_t metric,
	bool present)
{
	struct prefix p = text_prefix(prefix);
	struct fib_feed_hop hop = {.port = port};

	if (via != NULL)
		hop.addr = text_addr(via);
	assert_int_equal(
		fib_feed_route(r.feed, VRF_DEFAULT, &p, source, &hop, 1, metric, present), 0);
	feed_rig_settle(&r);
}

/* The last message to the shard about `addr`. */
static struct nexthop_message
told(const char *addr)
{
	struct ip_addr a = text_addr(addr);
	unsigned at = r.tells.tail;

	while (at-- > 0) {
		if (addr_equal(&r.tells.m[at % QUEUE_MAX].addr, &a))
			return r.tells.m[at % QUEUE_MAX];
	}
	fail_msg("never told");
	return (struct nexthop_message){0};
}

/*
 * One store for each next hop moves the packets, without a generation; then the RIB decides, and
 * the link returns.
 */
static void
test_lost_link(void **state)
{
	const struct hist *h = fib_feed_link_hist(r.feed);
	struct hist_summary sum;
	uint64_t generation;

	(void)state;
	feed_rig_announce_text(&r, 1, "10.5.0.0/16", "192.0.2.1", 200);
	feed_rig_announce_text(&r, 2, "10.5.0.0/16", "192.0.2.9", 150); /* same link: no help */
	feed_rig_announce_text(&r, 3, "10.5.0.0/16", "198.51.100.1", 100);
	feed_rig_settle(&r);
	assert_paths(FAR_OFF, 1, 1);
	assert_int_equal(sent_to(FAR_OFF), 1);
	generation = feed_rig_generation(&r);
	fib_feed_port_down(r.feed, 0, walk_clock());
	assert_int_equal(sent_to(FAR_OFF), 2);
	assert_int_equal(feed_rig_generation(&r), generation);
	hist_summarize(&h, 1, &sum);
	assert_int_equal(sum.count, 1);
	feed_rig_settle(&r);
	assert_false(told("192.0.2.1").up);
	assert_paths(FAR_OFF, 1, 0);
	assert_int_equal(sent_to(FAR_OFF), 2);
	/* subnet and neighbours of the link are gone, our address stays */
	assert_null(list_of("192.0.2.9"));
	assert_null(list_of("192.0.2.1"));
	assert_int_equal(list_of("192.0.2.254")->kind, PATH_LIST_PUNT);
	assert_int_equal(feed_rig_audit(&r), 0);
	fib_feed_port_up(r.feed, 0);
	feed_rig_settle(&r);
	assert_true(told("192.0.2.1").up);
	assert_paths(FAR_OFF, 1, 1);
	assert_int_equal(sent_to(FAR_OFF), 1);
	assert_int_equal(list_of("192.0.2.9")->kind, PATH_LIST_GLEAN);
	assert_int_equal(sent_to("192.0.2.1"), 1);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/* After a flap too short for the shard to notice, the routes must be as before. */
static void
test_short_flap(void **state)
{
	unsigned releases;

	(void)state;
	feed_rig_announce_text(&r, 1, "10.5.0.0/16", "192.0.2.1", 200);
	feed_rig_settle(&r);
	releases = r.releases;
	fib_feed_port_down(r.feed, 0, 0);
	feed_rig_drain(&r);
	fib_feed_port_up(r.feed, 0);
	feed_rig_drain(&r);
	feed_rig_settle(&r);
	assert_int_equal(sent_to(FAR_OFF), 1);
	/* the kernel keeps the neighbour resolved */
	assert_int_equal(r.releases, releases + 1);
	assert_int_equal(addr_v4(&r.resolved_addr), 0xc0000201u);
	assert_int_equal(feed_rig_neighbor_text(&r, "192.0.2.1", 0, 0), 0);
	assert_int_equal(feed_rig_neighbor_text(&r, "192.0.2.1", 0, 9), 0);
	assert_int_equal(sent_to(FAR_OFF), 9);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/* When the link returns, a neighbour that does not answer stays unusable. */
static void
test_link_back_without_neighbor(void **state)
{
	struct next_hop_view v;

	(void)state;
	feed_rig_announce_text(&r, 1, "10.5.0.0/16", "192.0.2.77", 200);
	feed_rig_settle(&r);
	assert_true(next_hop_peek(fib_path_lists(r.fib), list_of(FAR_OFF)->path[0].next_hop, &v));
	assert_int_equal(v.state, NEXT_HOP_UNRESOLVED);
	fib_feed_port_down(r.feed, 0, 0);
	assert_true(next_hop_peek(fib_path_lists(r.fib), list_of(FAR_OFF)->path[0].next_hop, &v));
	assert_int_equal(v.state, NEXT_HOP_DOWN);
	fib_feed_port_up(r.feed, 0);
	feed_rig_settle(&r);
	assert_true(next_hop_peek(fib_path_lists(r.fib), list_of(FAR_OFF)->path[0].next_hop, &v));
	assert_int_equal(v.state, NEXT_HOP_UNRESOLVED);
}

static void
test_ecmp(void **state)
{
	(void)state;
	shard_settings(r.rig.shard, &(struct shard_settings){.max_paths = 2});
	feed_rig_announce_text(&r, 1, "10.5.0.0/16", "198.51.100.1", 100);
	feed_rig_announce_text(&r, 2, "10.5.0.0/16", "192.0.2.1", 100);
	feed_rig_announce_text(&r, 3, "10.5.0.0/16", "203.0.113.1", 50);
	/* reverse order of the same two: a shared path list */
	feed_rig_announce_text(&r, 1, "10.6.0.0/16", "192.0.2.1", 100);
	feed_rig_announce_text(&r, 2, "10.6.0.0/16", "198.51.100.1", 100);
	feed_rig_announce_text(&r, 3, "10.6.0.0/16", "203.0.113.1", 50);
	feed_rig_settle(&r);
	assert_paths(FAR_OFF, 2, 1);
	assert_ptr_equal(list_of(FAR_OFF), list_of("10.6.0.1"));
	assert_int_equal(feed_rig_audit(&r), 0);
	fib_feed_port_down(r.feed, 0, 0);
	assert_int_equal(sent_to(FAR_OFF), 2);
	fib_feed_port_down(r.feed, 1, 0);
	assert_int_equal(sent_to(FAR_OFF), 3);
	feed_rig_settle(&r);
	assert_paths(FAR_OFF, 1, 0);
	assert_int_equal(feed_rig_audit(&r), 0);
	fib_feed_port_up(r.feed, 0);
	fib_feed_port_up(r.feed, 1);
	feed_rig_settle(&r);
	assert_paths(FAR_OFF, 2, 1);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/*
 * An IGP on the same host: the shard uses its metric, the feed its next hops, and a move needs no
 * message from the shard.
 */
static void
test_by_kernel_routes(void **state)
{
	struct prefix loopbacks = text_prefix("10.255.0.0/24");
	struct fib_feed_hop both[2] = {{text_addr("192.0.2.1"), 0}, {text_addr("198.51.100.1"), 1}};
	unsigned tells;

	(void)state;
	feed_rig_announce_text(&r, 1, "10.5.0.0/16", "10.255.0.1", 100);
	feed_rig_settle(&r);
	assert_false(told("10.255.0.1").up);
	assert_null(list_of(FAR_OFF));
	route(SOURCE_KERNEL, "10.255.0.0/24", "192.0.2.1", 0, 7, true);
	assert_true(told("10.255.0.1").up);
	assert_false(told("10.255.0.1").connected);
	assert_int_equal(told("10.255.0.1").metric, 7);
	assert_paths(FAR_OFF, 1, 0);
	assert_int_equal(sent_to(FAR_OFF), 1);
	assert_int_equal(sent_to("10.255.0.9"), 1);
	tells = r.tells.tail;
	route(SOURCE_KERNEL, "10.255.0.0/24", "198.51.100.1", 1, 7, true);
	assert_int_equal(sent_to(FAR_OFF), 2);
	assert_int_equal(r.tells.tail, tells);
	/* a longer kernel route */
	route(SOURCE_KERNEL, "10.255.0.1/32", "203.0.113.1", 2, 9, true);
	assert_int_equal(sent_to(FAR_OFF), 3);
	assert_int_equal(told("10.255.0.1").metric, 9);
	route(SOURCE_KERNEL, "10.255.0.1/32", NULL, 0, 0, false);
	assert_int_equal(sent_to(FAR_OFF), 2);
	assert_int_equal(
		fib_feed_route(r.feed, VRF_DEFAULT, &loopbacks, SOURCE_KERNEL, both, 2, 7, true),
		0);
	feed_rig_settle(&r);
	assert_paths(FAR_OFF, 2, 0);
	fib_feed_port_down(r.feed, 0, 0);
	assert_int_equal(sent_to(FAR_OFF), 2);
	feed_rig_settle(&r);
	assert_paths(FAR_OFF, 1, 0);
	assert_int_equal(feed_rig_audit(&r), 0);
	/* a blackhole resolves no next hop, and hides shorter routes */
	route(SOURCE_KERNEL, "10.0.0.0/8", "198.51.100.1", 1, 7, true);
	assert_int_equal(
		fib_feed_route(r.feed, VRF_DEFAULT, &loopbacks, SOURCE_KERNEL, NULL, 0, 7, true),
		0);
	feed_rig_settle(&r);
	assert_false(told("10.255.0.1").up);
	assert_int_equal(list_of("10.255.0.9")->kind, PATH_LIST_BLACKHOLE);
	route(SOURCE_KERNEL, "10.255.0.0/24", NULL, 0, 0, false);
	assert_true(told("10.255.0.1").up);
	assert_int_equal(feed_rig_audit(&r), 0);
}

static void
test_by_bgp_routes(void **state)
{
	char prefix[32], hop[32];

	(void)state;
	feed_rig_announce_text(&r, 1, "10.5.0.0/16", "10.20.1.1", 100);
	/* 10.20.N.0/24 by 10.20.N+1.1, eight of them; the last is connected */
	for (unsigned i = 1; i <= 8; i++) {
		snprintf(prefix, sizeof(prefix), "10.20.%u.0/24", i);
		snprintf(hop, sizeof(hop), "10.20.%u.1", i + 1);
		feed_rig_announce_text(&r, 2, prefix, i < 8 ? hop : "192.0.2.1", 100);
	}
	feed_rig_settle(&r);
	assert_int_equal(sent_to(FAR_OFF), 1);
	assert_int_equal(feed_rig_audit(&r), 0);
	/* one level more is too deep; then back */
	feed_rig_announce_text(&r, 2, "10.20.8.0/24", "10.20.9.1", 100);
	feed_rig_announce_text(&r, 2, "10.20.9.0/24", "192.0.2.1", 100);
	feed_rig_settle(&r);
	assert_null(list_of(FAR_OFF));
	assert_int_equal(sent_to("10.20.1.1"), 1);
	assert_int_equal(feed_rig_audit(&r), 0);
	feed_rig_announce_text(&r, 2, "10.20.4.0/24", "198.51.100.1", 100);
	feed_rig_settle(&r);
	assert_int_equal(sent_to(FAR_OFF), 2);
	feed_rig_withdraw_text(&r, 2, "10.20.2.0/24");
	feed_rig_settle(&r);
	assert_null(list_of(FAR_OFF));
	assert_int_equal(feed_rig_audit(&r), 0);
}

/* A route cannot resolve its own next hop; a shorter route can, and processing ends. */
static void
test_through_itself(void **state)
{
	(void)state;
	feed_rig_announce_text(&r, 1, "10.255.0.0/24", "10.255.0.1", 100);
	feed_rig_announce_text(&r, 1, "10.254.0.0/24", "10.253.0.1", 100);
	feed_rig_announce_text(&r, 1, "10.253.0.0/24", "10.254.0.1", 100);
	feed_rig_settle(&r);
	assert_null(list_of("10.255.0.9"));
	assert_null(list_of("10.254.0.9"));
	feed_rig_announce_text(&r, 2, "10.0.0.0/8", "192.0.2.1", 100);
	feed_rig_settle(&r);
	assert_int_equal(sent_to("10.255.0.9"), 1);
	assert_int_equal(list_of("10.255.0.9"), list_of("10.9.0.9"));
	assert_int_equal(sent_to("10.254.0.9"), 1);
	assert_int_equal(sent_to("10.253.0.9"), 1);
	assert_int_equal(feed_rig_audit(&r), 0);
	feed_rig_announce_text(&r, 2, "10.0.0.0/8", "198.51.100.1", 100);
	feed_rig_settle(&r);
	assert_int_equal(sent_to("10.255.0.9"), 2);
	assert_int_equal(sent_to("10.254.0.9"), 2);
	assert_int_equal(sent_to("10.253.0.9"), 2);
	feed_rig_withdraw_text(&r, 2, "10.0.0.0/8");
	feed_rig_settle(&r);
	assert_null(list_of("10.255.0.9"));
	assert_null(list_of("10.254.0.9"));
	assert_null(list_of("10.253.0.9"));
	assert_int_equal(feed_rig_audit(&r), 0);
}

static bool
usable(const char *prefix, uint16_t peer)
{
	struct prefix p = text_prefix(prefix);
	struct dest_view v;

	assert_true(rig_view(&r.rig, &p, &v));
	for (unsigned i = 0; i < v.paths->count; i++)
		if (v.paths->path[i].peer.v == peer)
			return (v.paths->path[i].label_flags & PATH_NEXT_HOP_UP) != 0;
	fail_msg("no path of peer %u", peer);
	return false;
}

/*
 * RFC 4271 9.1.2.1: the preferred path of a prefix, whose next hop is inside the prefix, is judged
 * without the other path of the prefix; routes to other prefixes may use that path.
 */
static void
test_own_prefix(void **state)
{
	uint64_t entries;

	(void)state;
	feed_rig_announce_text(&r, 1, "10.5.0.0/16", "192.0.2.1", 100);
	feed_rig_announce_text(&r, 2, "10.5.0.0/16", FAR_OFF, 200);
	feed_rig_announce_text(&r, 3, "10.6.0.0/16", FAR_OFF, 100);
	feed_rig_settle(&r);
	assert_false(usable("10.5.0.0/16", 2));
	assert_true(usable("10.6.0.0/16", 3));
	assert_int_equal(sent_to(FAR_OFF), 1);
	assert_int_equal(sent_to("10.6.0.1"), 1);
	/* a shorter route: the path is used, also while the other path leaves and returns */
	feed_rig_announce_text(&r, 3, "10.0.0.0/8", "198.51.100.1", 100);
	feed_rig_settle(&r);
	assert_true(usable("10.5.0.0/16", 2));
	assert_int_equal(sent_to(FAR_OFF), 2);
	entries = journal_head(shard_journal(r.rig.shard));
	feed_rig_withdraw_text(&r, 1, "10.5.0.0/16");
	feed_rig_announce_text(&r, 1, "10.5.0.0/16", "192.0.2.1", 100);
	feed_rig_settle(&r);
	assert_true(journal_head(shard_journal(r.rig.shard)) - entries <= 6);
	assert_int_equal(sent_to(FAR_OFF), 2);
	assert_paths(FAR_OFF, 1, 1);
	/* less preferred, the path is the backup by the shorter route */
	feed_rig_announce_text(&r, 2, "10.5.0.0/16", FAR_OFF, 50);
	feed_rig_settle(&r);
	assert_true(usable("10.5.0.0/16", 2));
	assert_int_equal(sent_to(FAR_OFF), 1);
	assert_int_equal(sent_to("10.6.0.1"), 1);
	assert_paths(FAR_OFF, 1, 1);
	fib_feed_port_down(r.feed, 0, walk_clock());
	assert_int_equal(sent_to(FAR_OFF), 2);
	feed_rig_settle(&r);
	assert_int_equal(sent_to(FAR_OFF), 2);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/* The same through a further route, a static route, and the default route. */
static void
test_own_prefix_far(void **state)
{
	(void)state;
	/* 10.7.0.1 by 10.7.0.0/16 by 10.5.0.1 by 10.5.0.0/16 */
	feed_rig_announce_text(&r, 1, "10.5.0.0/16", "192.0.2.1", 100);
	feed_rig_announce_text(&r, 3, "10.7.0.0/16", FAR_OFF, 100);
	feed_rig_announce_text(&r, 2, "10.5.0.0/16", "10.7.0.1", 200);
	feed_rig_announce_text(&r, 3, "10.6.0.0/16", "10.7.0.1", 100);
	feed_rig_settle(&r);
	assert_false(usable("10.5.0.0/16", 2));
	assert_true(usable("10.6.0.0/16", 3));
	assert_int_equal(sent_to("10.6.0.1"), 1);
	feed_rig_withdraw_text(&r, 3, "10.7.0.0/16");
	route(SOURCE_STATIC, "10.7.0.0/16", FAR_OFF, PORT_NONE, 0, true);
	assert_false(usable("10.5.0.0/16", 2));
	assert_true(usable("10.6.0.0/16", 3));
	assert_int_equal(sent_to("10.7.0.1"), 1);
	route(SOURCE_STATIC, "10.7.0.0/16", "198.51.100.1", PORT_NONE, 0, true);
	assert_true(usable("10.5.0.0/16", 2));
	assert_int_equal(sent_to(FAR_OFF), 2);
	route(SOURCE_STATIC, "10.7.0.0/16", FAR_OFF, PORT_NONE, 0, true);
	assert_false(usable("10.5.0.0/16", 2));
	/* two defaults */
	fib_feed_resolve_via_default(r.feed, true);
	feed_rig_announce_text(&r, 1, "0.0.0.0/0", "192.0.2.1", 100);
	feed_rig_announce_text(&r, 2, "0.0.0.0/0", "172.16.0.1", 200);
	feed_rig_settle(&r);
	assert_false(usable("0.0.0.0/0", 2));
	assert_int_equal(sent_to("172.16.0.1"), 1);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/*
 * A route of another source to the same prefix resolves the path, whether the path or that route is
 * in use; so does a BGP route for a static route over an address inside its own prefix.
 */
static void
test_own_prefix_of_the_host(void **state)
{
	uint8_t preference[SOURCE_COUNT] = {[SOURCE_STATIC] = 1,
		[SOURCE_EXTERNAL] = 20,
		[SOURCE_KERNEL] = 210,
		[SOURCE_INTERNAL] = 200};

	(void)state;
	fib_feed_preference(r.feed, preference);
	route(SOURCE_KERNEL, "10.5.0.1/32", "192.0.2.1", 0, 7, true);
	feed_rig_announce_text(&r, 1, "10.5.0.1/32", FAR_OFF, 100);
	feed_rig_settle(&r);
	assert_true(usable("10.5.0.1/32", 1));
	assert_int_equal(sent_to(FAR_OFF), 1);
	feed_rig_announce_text(&r, 1, "10.6.0.0/16", "198.51.100.1", 100);
	route(SOURCE_STATIC, "10.6.0.0/16", "10.6.0.1", PORT_NONE, 0, true);
	assert_int_equal(sent_to("10.6.0.1"), 2);
	feed_rig_withdraw_text(&r, 1, "10.6.0.0/16");
	feed_rig_settle(&r);
	assert_null(list_of("10.6.0.1"));
	assert_int_equal(feed_rig_audit(&r), 0);
}

static void
flap(unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		fib_feed_port_down(r.feed, 0, 0);
		feed_rig_turn(&r, UINT64_MAX);
		fib_feed_port_up(r.feed, 0);
		feed_rig_turn(&r, UINT64_MAX);
	}
}

/* Ten changes at once are normal; with more the next hop stays down, longer each time. */
static void
test_held_down(void **state)
{
	struct nexthop_held held[2];

	(void)state;
	feed_rig_announce_text(&r, 1, "10.5.0.0/16", "192.0.2.1", 100);
	feed_rig_settle(&r);
	flap(5);
	assert_int_equal(nexthop_held_count(r.hops), 0);
	assert_true(told("192.0.2.1").up);
	for (uint64_t hold = NEXTHOP_HOLD_NS, n = 0; n < 8; n++) {
		flap(6);
		assert_int_equal(nexthop_held(r.hops, held, 2), 1);
		assert_int_equal(held[0].hold_ns, hold);
		assert_true(addr_equal(
			&held[0].addr, &(struct ip_addr){.b = {192, 0, 2, 1}, .afi = AFI_IPV4}));
		assert_false(told("192.0.2.1").up);
		flap(3);
		r.now_ns += hold - 1;
		feed_rig_turn(&r, UINT64_MAX);
		assert_false(told("192.0.2.1").up);
		assert_true(fib_feed_wait_ns(r.feed) > 0);
		r.now_ns++;
		feed_rig_settle(&r);
		assert_int_equal(nexthop_held_count(r.hops), 0);
		assert_true(told("192.0.2.1").up);
		hold = hold < NEXTHOP_HOLD_MAX_NS ? 2 * hold : hold;
	}
	/* after a quiet time the first hold is short again */
	r.now_ns += 2 * NEXTHOP_HOLD_MAX_NS;
	flap(6);
	assert_int_equal(nexthop_held(r.hops, held, 2), 1);
	assert_int_equal(held[0].hold_ns, NEXTHOP_HOLD_NS);
	feed_rig_settle(&r);
	assert_int_equal(sent_to(FAR_OFF), 1);
}

static void
test_by_default_routes(void **state)
{
	(void)state;
	feed_rig_announce_text(&r, 1, "10.5.0.0/16", "10.255.0.1", 100);
	feed_rig_announce_text(&r, 1, "0.0.0.0/0", "192.0.2.1", 100);
	feed_rig_settle(&r);
	assert_false(told("10.255.0.1").up);
	assert_true(list_of(FAR_OFF) == list_of("9.9.9.9"));
	fib_feed_resolve_via_default(r.feed, true);
	feed_rig_settle(&r);
	assert_true(told("10.255.0.1").up);
	assert_int_equal(feed_rig_lookup_text(&r, FAR_OFF).prefix.len, 16);
	fib_feed_resolve_via_default(r.feed, false);
	feed_rig_settle(&r);
	assert_false(told("10.255.0.1").up);
	assert_int_equal(feed_rig_lookup_text(&r, FAR_OFF).prefix.len, 0);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/* A peer's /32 cannot attract packets for a connected neighbour; a static /32 can. */
static void
test_longer_than_a_subnet(void **state)
{
	(void)state;
	feed_rig_announce_text(&r, 1, "10.5.0.0/16", "192.0.2.7", 100);
	feed_rig_announce_text(&r, 1, "192.0.2.7/32", "198.51.100.1", 100);
	feed_rig_neighbor_text(&r, "192.0.2.7", 0, 7);
	feed_rig_settle(&r);
	assert_int_equal(sent_to(FAR_OFF), 7);
	route(SOURCE_STATIC, "192.0.2.7/32", "203.0.113.1", 2, 0, true);
	assert_int_equal(sent_to(FAR_OFF), 3);
	assert_true(told("192.0.2.7").connected);
	route(SOURCE_STATIC, "192.0.2.7/32", NULL, 0, 0, false);
	assert_int_equal(sent_to(FAR_OFF), 7);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/*
 * Defaults: connected 0, static 1, external 20, kernel 110, internal 200; then configured values.
 */
static void
test_preference(void **state)
{
	uint8_t preference[SOURCE_COUNT] = {[SOURCE_STATIC] = 250,
		[SOURCE_KERNEL] = 110,
		[SOURCE_EXTERNAL] = 20,
		[SOURCE_INTERNAL] = 30};
	struct ip_addr hop = text_addr("192.0.2.1");
	struct rib_nlri n = {.prefix = text_prefix("10.5.0.0/16"), .label = 0xfffff};
	union rig_attrs a;
	uint32_t as = 64513;

	(void)state;
	rig_peer(&r.rig, 7, 64513, true, false);
	shard_peer_import(
		r.rig.shard, (struct peer_id){7}, FAMILY_IPV4_UNICAST, policy_accept_all());
	rig_up(&r.rig, 7, 64513, 7, true);
	feed_rig_announce_text(&r, 1, "10.5.0.0/16", "203.0.113.1", 50);
	feed_rig_settle(&r);
	assert_int_equal(sent_to(FAR_OFF), 3);
	route(SOURCE_KERNEL, "10.5.0.0/16", "198.51.100.1", 1, 20, true);
	assert_int_equal(sent_to(FAR_OFF), 2); /* kernel before internal */
	rig_attrs_make(&a, &as, 1, 0);
	a.a.next_hop = hop;
	a.a.has |= ATTR_HAS_LOCAL_PREF;
	a.a.local_pref = 200;
	rig_update_in(&r.rig, FAMILY_IPV4_UNICAST, 7, &a.a, &n, 1, r.rig.now_ns);
	feed_rig_settle(&r);
	assert_int_equal(sent_to(FAR_OFF), 1); /* external before both */
	assert_int_equal(feed_rig_audit(&r), 0);
	route(SOURCE_STATIC, "10.5.0.0/16", "203.0.113.1", PORT_NONE, 0, true);
	assert_int_equal(sent_to(FAR_OFF), 3);
	/* a static route without its next hop is unusable */
	fib_feed_port_down(r.feed, 2, 0);
	feed_rig_settle(&r);
	assert_int_equal(sent_to(FAR_OFF), 1);
	fib_feed_port_up(r.feed, 2);
	feed_rig_settle(&r);
	assert_int_equal(sent_to(FAR_OFF), 3);
	assert_int_equal(feed_rig_audit(&r), 0);
	fib_feed_preference(r.feed, preference);
	feed_rig_settle(&r);
	assert_int_equal(sent_to(FAR_OFF), 1);
	rig_event(&r.rig, RIB_SESSION_DOWN, 7);
	feed_rig_settle(&r);
	assert_int_equal(sent_to(FAR_OFF), 3); /* internal now, at 30 */
	assert_paths(FAR_OFF, 1, 0);
	feed_rig_withdraw_text(&r, 1, "10.5.0.0/16");
	feed_rig_settle(&r);
	assert_int_equal(sent_to(FAR_OFF), 2);
	route(SOURCE_KERNEL, "10.5.0.0/16", NULL, 0, 0, false);
	assert_int_equal(sent_to(FAR_OFF), 3);
	route(SOURCE_STATIC, "10.5.0.0/16", NULL, 0, 0, false);
	assert_null(list_of(FAR_OFF));
	assert_int_equal(feed_rig_audit(&r), 0);
}

/* Static routes resolved by static routes, added in any order; a loop resolves nothing. */
static void
test_static_by_static(void **state)
{
	struct prefix p = text_prefix("10.7.0.0/16");

	(void)state;
	route(SOURCE_STATIC, "10.5.0.0/16", "10.6.0.1", PORT_NONE, 0, true);
	assert_null(list_of(FAR_OFF));
	route(SOURCE_STATIC, "10.6.0.0/16", "10.7.0.1", PORT_NONE, 0, true);
	route(SOURCE_STATIC, "10.7.0.0/16", "192.0.2.1", PORT_NONE, 0, true);
	assert_int_equal(sent_to(FAR_OFF), 1);
	assert_int_equal(feed_rig_audit(&r), 0);
	route(SOURCE_STATIC, "10.7.0.0/16", "10.5.0.1", PORT_NONE, 0, true);
	assert_null(list_of(FAR_OFF));
	assert_null(list_of("10.6.0.1"));
	assert_null(list_of("10.7.0.1"));
	assert_int_equal(
		fib_feed_route(r.feed, VRF_DEFAULT, &p, SOURCE_STATIC, NULL, 0, 0, true), 0);
	feed_rig_settle(&r);
	assert_int_equal(list_of("10.7.0.1")->kind, PATH_LIST_BLACKHOLE);
	assert_int_equal(list_of(FAR_OFF)->kind, PATH_LIST_BLACKHOLE);
	/* directly on a link, as `ip route add 10.7.0.0/16 dev east` */
	route(SOURCE_KERNEL, "10.8.0.0/16", NULL, 1, 0, true);
	assert_int_equal(list_of("10.8.0.1")->kind, PATH_LIST_GLEAN);
	assert_int_equal(feed_rig_audit(&r), 0);
	assert_int_equal(
		fib_feed_route(r.feed, VRF_DEFAULT, &p, SOURCE_KERNEL, NULL, 0, 0, false), -ENOENT);
}

static void
set_blackhole(const char *prefix, bool present)
{
	struct prefix p = text_prefix(prefix);

	assert_int_equal(
		fib_feed_route(r.feed, VRF_DEFAULT, &p, SOURCE_STATIC, NULL, 0, 0, present), 0);
	feed_rig_settle(&r);
}

/*
 * A next hop resolved by a static blackhole (directly, or by a static or BGP route) is up, so its
 * path may be best; packets are dropped. A next hop with another route is not affected, and a
 * blackhole is no backup.
 */
static void
test_blackhole_next_hops(void **state)
{
	static const struct {
		const char *blackhole, *hop, *prefix, *addr, *further, *further_addr, *by;
	} family[] = {
		{"10.66.0.1/32", "10.66.0.1", "10.5.0.0/16", FAR_OFF, "10.6.0.0/16", "10.6.1.1",
			"10.5.0.1"},
		{"2001:db8:66::1/128", "2001:db8:66::1", "2001:db8:5::/48", "2001:db8:5::1",
			"2001:db8:6::/48", "2001:db8:6::1", "2001:db8:5::2"},
	};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		feed_rig_announce_text(&r, 1, family[i].prefix, family[i].hop, 200);
		feed_rig_announce_text(&r, 2, family[i].further, family[i].by, 200);
		feed_rig_settle(&r);
		assert_false(told(family[i].hop).up);
		assert_null(list_of(family[i].addr));
		set_blackhole(family[i].blackhole, true);
		assert_true(told(family[i].hop).up);
		assert_true(told(family[i].hop).connected); /* accepted for a single-hop peer */
		assert_int_equal(list_of(family[i].addr)->kind, PATH_LIST_BLACKHOLE);
		assert_true(told(family[i].by).up);
		assert_int_equal(list_of(family[i].further_addr)->kind, PATH_LIST_BLACKHOLE);
		assert_int_equal(feed_rig_audit(&r), 0);
		set_blackhole(family[i].blackhole, false);
		assert_false(told(family[i].hop).up);
		assert_null(list_of(family[i].addr));
		assert_null(list_of(family[i].further_addr));
		assert_int_equal(feed_rig_audit(&r), 0);
	}
	/* from a blackhole to a forwarding route and back: all prefixes follow */
	set_blackhole("10.66.0.1/32", true);
	assert_int_equal(list_of(FAR_OFF)->kind, PATH_LIST_BLACKHOLE);
	route(SOURCE_STATIC, "10.66.0.1/32", "192.0.2.1", PORT_NONE, 0, true);
	assert_paths(FAR_OFF, 1, 0);
	assert_int_equal(sent_to(FAR_OFF), 1);
	assert_int_equal(sent_to("10.6.1.1"), 1);
	set_blackhole("10.66.0.1/32", true);
	assert_int_equal(list_of(FAR_OFF)->kind, PATH_LIST_BLACKHOLE);
	assert_int_equal(list_of("10.6.1.1")->kind, PATH_LIST_BLACKHOLE);
	/* a better path forwards, without a backup */
	feed_rig_announce_text(&r, 3, "10.5.0.0/16", "192.0.2.1", 300);
	feed_rig_settle(&r);
	assert_paths(FAR_OFF, 1, 0);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/* The next hop `discard` is up at once, whatever routes exist. */
static void
test_discard(void **state)
{
	(void)state;
	feed_rig_announce_text(&r, 1, "10.5.0.0/16", "192.0.2.1", 100);
	feed_rig_announce_text(&r, 2, "10.5.1.1/32", "discard", 100);
	feed_rig_announce_text(&r, 1, "10.6.0.0/16", "10.5.1.1", 100);
	feed_rig_announce_text(&r, 2, "2001:db8:5::1/128", "discard", 100);
	feed_rig_settle(&r);
	assert_true(told("discard").up);
	assert_true(told("discard").connected);
	assert_int_equal(list_of("10.5.1.1")->kind, PATH_LIST_BLACKHOLE);
	assert_int_equal(sent_to("10.5.1.2"), 1);
	assert_int_equal(list_of("10.6.0.1")->kind, PATH_LIST_BLACKHOLE);
	assert_int_equal(list_of("2001:db8:5::1")->kind, PATH_LIST_BLACKHOLE);
	assert_int_equal(feed_rig_audit(&r), 0);
	feed_rig_withdraw_text(&r, 2, "10.5.1.1/32");
	feed_rig_settle(&r);
	assert_int_equal(sent_to("10.5.1.1"), 1);
	assert_int_equal(sent_to("10.6.0.1"), 1);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/* An unused next hop is released, and can be watched again. */
static void
test_unwatch(void **state)
{
	unsigned hops, releases;

	(void)state;
	feed_rig_announce_text(&r, 1, "10.5.0.0/16", "192.0.2.5", 100);
	feed_rig_announce_text(&r, 1, "10.6.0.0/16", "10.5.0.7", 100);
	feed_rig_settle(&r);
	hops = nexthop_count(r.hops);
	releases = r.releases;
	/* the shard releases the near next hop, but the far next hop depends on the near one */
	feed_rig_unwatch(&r, "192.0.2.5");
	feed_rig_drain(&r);
	assert_int_equal(nexthop_count(r.hops), hops);
	assert_int_equal(r.releases, releases);
	feed_rig_unwatch(&r, "10.5.0.7");
	feed_rig_drain(&r);
	assert_int_equal(nexthop_count(r.hops), hops - 2);
	assert_int_equal(r.releases, releases + 1);
	feed_rig_unwatch(&r, "10.5.0.7"); /* releasing an unwatched next hop has no effect */
	feed_rig_watch(&r, "192.0.2.5");
	feed_rig_watch(&r, "10.5.0.7");
	feed_rig_settle(&r);
	assert_int_equal(nexthop_count(r.hops), hops);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/* Next hops that no shard watches are resolved, and dropped when no route uses the next hop. */
static void
test_untracked(void **state)
{
	(void)state;
	feed_rig_fini(&r);
	feed_rig_init(&r, false, 0, FEED_BATCH);
	feed_rig_peer(&r, 1);
	rig_up(&r.rig, 1, RIG_OWN_ASN, 1, false);
	assert_int_equal(feed_rig_connected_text(&r, "192.0.2.254", 16, 0, true), 0);
	feed_rig_neighbor_text(&r, "192.0.2.1", 0, 1);
	feed_rig_announce_text(&r, 1, "10.5.0.0/16", "10.255.0.1", 100);
	feed_rig_settle(&r);
	assert_null(list_of(FAR_OFF));
	route(SOURCE_KERNEL, "10.255.0.0/24", "192.0.2.1", 0, 7, true);
	assert_int_equal(sent_to(FAR_OFF), 1);
	for (unsigned i = 0; i < 5000; i++) {
		feed_rig_announce(&r, 1, 0x0a060000u, 16, 0xc0000000u + i, 100);
		rig_settle(&r.rig);
		feed_rig_drain(&r);
	}
	assert_true(nexthop_count(r.hops) < 2500);
	assert_int_equal(sent_to(FAR_OFF), 1);
	assert_int_equal(r.tells.tail, 0);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/*
 * Without tracking no shard publishes a destination again. The backup of 10.7.0.0/16 leaves by 192.0.2.1
 * while the next hop 10.5.0.1 depends on 10.7.0.0/16. A host route ends the dependence, and the next hop
 * leaves by 198.51.100.1 as before.
 */
static void
test_untracked_without_own(void **state)
{
	(void)state;
	feed_rig_fini(&r);
	feed_rig_init(&r, false, 0, FEED_BATCH);
	for (uint16_t p = 1; p <= 2; p++) {
		feed_rig_peer(&r, p);
		rig_up(&r.rig, p, RIG_OWN_ASN, p, false);
	}
	assert_int_equal(feed_rig_connected_text(&r, "192.0.2.254", 24, 0, true), 0);
	assert_int_equal(feed_rig_connected_text(&r, "198.51.100.254", 24, 1, true), 0);
	feed_rig_neighbor_text(&r, "192.0.2.1", 0, 1);
	feed_rig_neighbor_text(&r, "198.51.100.1", 1, 2);
	route(SOURCE_KERNEL, "10.0.0.0/8", "192.0.2.1", 0, 7, true);
	feed_rig_announce_text(&r, 1, "10.5.0.0/16", "10.7.0.1", 100);
	feed_rig_announce_text(&r, 1, "10.7.0.0/16", "198.51.100.1", 200);
	feed_rig_announce_text(&r, 2, "10.7.0.0/16", FAR_OFF, 100);
	feed_rig_settle(&r);
	assert_int_equal(sent_to("10.7.0.1"), 2);
	assert_paths("10.7.0.1", 1, 1);
	assert_int_equal(feed_rig_audit(&r), 0);
	route(SOURCE_KERNEL, "10.5.0.1/32", "198.51.100.1", 1, 7, true);
	assert_int_equal(sent_to("10.7.0.1"), 2);
	assert_paths("10.7.0.1", 1, 0);
	assert_int_equal(feed_rig_audit(&r), 0);
}

/* ---- random recursion against a model that searches the whole table each time ---- */

#define LEVELS 14
#define LOWEST 3 /* levels on connected subnets */
#define OFFERS 3 /* lengths: 16, 24, 32 */

static struct {
	bool there[LEVELS][OFFERS];
	unsigned by[LEVELS][OFFERS]; /* always a lower level, so loops cannot occur */
	bool kernel[LEVELS][OFFERS];
	bool down[LOWEST];
} m;

static uint64_t seed, rng;

static unsigned
below(unsigned n)
{
	uint64_t z = (rng += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (unsigned)((z ^ (z >> 31)) % n);
}

static struct ip_addr
level_addr(unsigned i)
{
	static const uint32_t low[LOWEST] = {0xc0000201u, 0xc6336401u, 0xcb007101u};

	return addr_from_v4(i < LOWEST ? low[i] : 0x0a000001u + (i << 16));
}

static struct prefix
level_prefix(unsigned i, unsigned offer)
{
	struct ip_addr a = level_addr(i);

	return prefix_from_addr(&a, (uint8_t)(16 + 8 * offer));
}

/* -1: unreachable; else the connected level reached, with the number of routes passed in *depth. */
static int
model_level(unsigned i, unsigned *depth)
{
	*depth = 0;
	if (i < LOWEST)
		return m.down[i] ? -1 : (int)i;
	for (int offer = OFFERS - 1; offer >= 0; offer--) {
		unsigned far;
		int found;

		if (!m.there[i][offer])
			continue;
		found = model_level(m.by[i][offer], &far);
		if (found < 0 || far >= NEXTHOP_DEPTH_MAX)
			continue;
		*depth = far + 1;
		return found;
	}
	return -1;
}

static void
random_step(void)
{
	unsigned i = LOWEST + below(LEVELS - LOWEST), offer = below(OFFERS), port = below(LOWEST);
	struct prefix p = level_prefix(i, offer);
	struct fib_feed_hop hop = {.port = PORT_NONE};
	bool there = below(3) != 0;
	struct ip_addr a;

	if (below(8) == 0) {
		m.down[port] = !m.down[port];
		if (m.down[port])
			fib_feed_port_down(r.feed, (uint16_t)port, 0);
		else
			fib_feed_port_up(r.feed, (uint16_t)port);
		return;
	}
	if (!there && !m.there[i][offer])
		return;
	/* mostly the next lower level, for long chains */
	if (there)
		m.by[i][offer] = below(3) ? i - 1 : below(i);
	if (!m.there[i][offer])
		m.kernel[i][offer] = below(3) == 0;
	m.there[i][offer] = there;
	a = hop.addr = level_addr(m.by[i][offer]);
	if (m.kernel[i][offer])
		assert_int_equal(
			fib_feed_route(r.feed, VRF_DEFAULT, &p, SOURCE_KERNEL, &hop, 1, 5, there),
			0);
	else if (there)
		feed_rig_announce_to(&r, 1, &p, &a, 100);
	else
		feed_rig_withdraw_prefix(&r, 1, &p);
}

/* Each address must follow the longest route with a reachable next hop. */
static void
check_levels(void)
{
	for (unsigned i = LOWEST; i < LEVELS; i++) {
		struct ip_addr a = level_addr(i);
		char text[ADDR_TEXT_MAX];
		unsigned depth, got;
		int want = -1;

		/*
		 * a route exists when its next hop resolves: one level more than the limit of a
		 * next hop
		 */
		for (int offer = OFFERS - 1; offer >= 0 && want < 0; offer--) {
			if (m.there[i][offer])
				want = model_level(m.by[i][offer], &depth);
		}
		got = sent_to(addr_format(&a, text));
		if (got != (unsigned)(want + 1))
			fail_msg("seed %llu: %s goes to %u, not %d", (unsigned long long)seed, text,
				got, want + 1);
	}
}

static void
test_random_recursion(void **state)
{
	(void)state;
	for (seed = 1; seed <= test_size(15, 40); seed++) {
		rng = seed * 0x2545f4914f6cdd1du;
		memset(&m, 0, sizeof(m));
		begin(NULL);
		for (unsigned step = 0; step < 150; step++) {
			random_step();
			if (below(2)) {
				rig_settle(&r.rig);
				feed_rig_drain(&r);
			}
			if (below(5) != 0)
				continue;
			feed_rig_settle(&r);
			check_levels();
			assert_int_equal(feed_rig_audit(&r), 0);
		}
		end(NULL);
	}
}

/*
 * ---- random routes through their own prefix, against a model of the rule ----
 *
 * Each prefix has a path of peer 1 (preferred) and of peer 2, over a lower level, or at one length of a
 * level over the level itself; or a static route. So each state of the model has one solution.
 */

#define OWN_LEVELS 11 /* no chain has more than NEXTHOP_DEPTH_MAX routes */

struct own_offer {
	bool there[2], fixed;
	unsigned by[2];
};

static struct {
	struct own_offer offer[OWN_LEVELS][OFFERS];
	unsigned self[OWN_LEVELS]; /* the length with paths over the level itself */
} o;

static int own_level(unsigned i, int without);

/* The level that the path of peer `k` + 1 reaches; -1: not usable. */
static int
own_path(unsigned i, unsigned offer, unsigned k)
{
	const struct own_offer *f = &o.offer[i][offer];

	if (!f->there[k])
		return -1;
	return own_level(f->by[k], f->by[k] == i ? (int)offer : -1);
}

/* The level that level `i` reaches without the BGP route of length `without`. */
static int
own_level(unsigned i, int without)
{
	if (i < LOWEST)
		return m.down[i] ? -1 : (int)i;
	for (int offer = OFFERS - 1; offer >= 0; offer--) {
		const struct own_offer *f = &o.offer[i][offer];

		for (unsigned k = 0; k < 2 && (f->fixed || offer != without); k++) {
			int found = own_path(i, (unsigned)offer, k);

			/* a selected route over the level itself does not resolve the level */
			if (found >= 0 && f->by[k] == i)
				break;
			if (found >= 0)
				return found;
		}
	}
	return -1;
}

static void
own_step(void)
{
	unsigned i = LOWEST + below(OWN_LEVELS - LOWEST), offer = below(OFFERS), k = below(2);
	struct own_offer *f = &o.offer[i][offer];
	struct prefix p = level_prefix(i, offer);
	struct fib_feed_hop hop = {.port = PORT_NONE};
	unsigned port = below(LOWEST);
	struct ip_addr a;

	if (below(10) == 0) {
		m.down[port] = !m.down[port];
		if (m.down[port])
			fib_feed_port_down(r.feed, (uint16_t)port, 0);
		else
			fib_feed_port_up(r.feed, (uint16_t)port);
		return;
	}
	if (!f->there[0] && !f->there[1])
		f->fixed = offer != o.self[i] && below(4) == 0;
	k = f->fixed ? 0 : k;
	f->there[k] = below(4) != 0;
	f->by[k] = offer == o.self[i] && below(2) ? i : below(3) ? i - 1 : below(i);
	a = hop.addr = level_addr(f->by[k]);
	if (f->fixed)
		(void)fib_feed_route(
			r.feed, VRF_DEFAULT, &p, SOURCE_STATIC, &hop, 1, 0, f->there[k]);
	else if (f->there[k])
		feed_rig_announce_to(&r, (uint16_t)(1 + k), &p, &a, k == 0 ? 200 : 100);
	else
		feed_rig_withdraw_prefix(&r, (uint16_t)(1 + k), &p);
}

static void
own_check(void)
{
	char text[ADDR_TEXT_MAX], prefix[PREFIX_TEXT_MAX];

	for (unsigned i = LOWEST; i < OWN_LEVELS; i++) {
		struct ip_addr a = level_addr(i);
		int want = -1;

		for (int offer = OFFERS - 1; offer >= 0; offer--) {
			const struct own_offer *f = &o.offer[i][offer];
			struct prefix p = level_prefix(i, (unsigned)offer);

			prefix_format(&p, prefix);
			for (unsigned k = 0; k < 2; k++) {
				int found = own_path(i, (unsigned)offer, k);

				if (want < 0)
					want = found;
				if (f->there[k] && !f->fixed &&
					usable(prefix, (uint16_t)(1 + k)) != (found >= 0))
					fail_msg("seed %llu: path %u of %s",
						(unsigned long long)seed, k + 1, prefix);
			}
		}
		if (sent_to(addr_format(&a, text)) != (unsigned)(want + 1))
			fail_msg("seed %llu: %s goes to %u, not %d", (unsigned long long)seed, text,
				sent_to(text), want + 1);
	}
}

static void
test_random_own_prefixes(void **state)
{
	(void)state;
	for (seed = 1; seed <= test_size(15, 40); seed++) {
		rng = seed * 0x2545f4914f6cdd1du;
		memset(&m, 0, sizeof(m));
		memset(&o, 0, sizeof(o));
		begin(NULL);
		for (unsigned i = LOWEST; i < OWN_LEVELS; i++)
			o.self[i] = below(OFFERS);
		for (unsigned step = 0; step < 150; step++) {
			own_step();
			if (below(2)) {
				rig_settle(&r.rig);
				feed_rig_drain(&r);
			}
			if (below(5) != 0)
				continue;
			r.now_ns += 20 * NEXTHOP_HOLD_NS; /* the steps are no flaps */
			feed_rig_settle(&r);
			own_check();
			assert_int_equal(feed_rig_audit(&r), 0);
		}
		end(NULL);
	}
}

/*
 * ---- random circles ----
 *
 * Paths over any level, with static routes: whatever the routes, the threads come to rest, or a next
 * hop is held down.
 */
static void
test_random_circles(void **state)
{
	(void)state;
	for (seed = 1; seed <= test_size(15, 40); seed++) {
		rng = seed * 0x2545f4914f6cdd1du;
		begin(NULL);
		for (unsigned step = 0; step < 200; step++) {
			struct prefix p = level_prefix(LOWEST + below(5), below(OFFERS));
			struct fib_feed_hop hop = {.port = PORT_NONE, .addr = level_addr(below(8))};
			uint16_t peer = (uint16_t)(1 + below(3));

			if (below(5) == 0)
				(void)fib_feed_route(r.feed, VRF_DEFAULT, &p,
					below(2) ? SOURCE_STATIC : SOURCE_KERNEL, &hop, 1, 0,
					below(2));
			else if (below(4) != 0)
				feed_rig_announce_to(&r, peer, &p, &hop.addr, 100 * peer);
			else
				feed_rig_withdraw_prefix(&r, peer, &p);
			if (below(5) != 0)
				continue;
			r.now_ns += 20 * NEXTHOP_HOLD_NS;
			feed_rig_settle(&r);
			assert_int_equal(feed_rig_audit(&r), 0);
		}
		end(NULL);
	}
}

/* A route with 70 next hops, and a BGP route over it: 64 forward, and the lists say that 6 do not. */
static void
test_more_than_the_most(void **state)
{
	struct prefix p = text_prefix("10.99.0.0/16");
	struct fib_feed_hop hops[PATHS_MAX + 6];

	(void)state;
	for (unsigned i = 0; i < PATHS_MAX + 6; i++)
		hops[i] = (struct fib_feed_hop){addr_from_v4(0xc0000201 + i), 0};
	assert_int_equal(fib_feed_route(r.feed, VRF_DEFAULT, &p, SOURCE_KERNEL, hops, PATHS_MAX + 6,
				 5, true),
		0);
	feed_rig_settle(&r);
	feed_rig_announce_text(&r, 1, "10.5.0.0/16", "10.99.0.1", 100);
	feed_rig_settle(&r);
	assert_paths("10.99.0.1", PATHS_MAX, 0);
	assert_int_equal(list_of("10.99.0.1")->left_out, 6);
	assert_paths(FAR_OFF, PATHS_MAX, 0);
	assert_int_equal(list_of(FAR_OFF)->left_out, 6);
	assert_int_equal(path_lists_left_out(fib_path_lists(r.fib)), 1); /* one list for both */
	assert_int_equal(feed_rig_audit(&r), 0);
	assert_int_equal(
		fib_feed_route(r.feed, VRF_DEFAULT, &p, SOURCE_KERNEL, hops, PATHS_MAX, 5, true),
		0);
	feed_rig_settle(&r);
	assert_paths(FAR_OFF, PATHS_MAX, 0);
	assert_int_equal(list_of(FAR_OFF)->left_out, 0);
	assert_int_equal(path_lists_left_out(fib_path_lists(r.fib)), 0);
	assert_int_equal(feed_rig_audit(&r), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_more_than_the_most, begin, end),
		cmocka_unit_test_setup_teardown(test_lost_link, begin, end),
		cmocka_unit_test_setup_teardown(test_short_flap, begin, end),
		cmocka_unit_test_setup_teardown(test_link_back_without_neighbor, begin, end),
		cmocka_unit_test_setup_teardown(test_ecmp, begin, end),
		cmocka_unit_test_setup_teardown(test_by_kernel_routes, begin, end),
		cmocka_unit_test_setup_teardown(test_by_bgp_routes, begin, end),
		cmocka_unit_test_setup_teardown(test_through_itself, begin, end),
		cmocka_unit_test_setup_teardown(test_own_prefix, begin, end),
		cmocka_unit_test_setup_teardown(test_own_prefix_far, begin, end),
		cmocka_unit_test_setup_teardown(test_own_prefix_of_the_host, begin, end),
		cmocka_unit_test_setup_teardown(test_held_down, begin, end),
		cmocka_unit_test_setup_teardown(test_by_default_routes, begin, end),
		cmocka_unit_test_setup_teardown(test_longer_than_a_subnet, begin, end),
		cmocka_unit_test_setup_teardown(test_preference, begin, end),
		cmocka_unit_test_setup_teardown(test_static_by_static, begin, end),
		cmocka_unit_test_setup_teardown(test_blackhole_next_hops, begin, end),
		cmocka_unit_test_setup_teardown(test_discard, begin, end),
		cmocka_unit_test_setup_teardown(test_unwatch, begin, end),
		cmocka_unit_test_setup_teardown(test_untracked, begin, end),
		cmocka_unit_test_setup_teardown(test_untracked_without_own, begin, end),
		cmocka_unit_test(test_random_recursion),
		cmocka_unit_test(test_random_own_prefixes),
		cmocka_unit_test(test_random_circles),
	};

	return cmocka_run_group_tests_name("fib_feed_paths", tests, NULL, NULL);
}
