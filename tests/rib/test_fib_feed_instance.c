/* SPDX-License-Identifier: BSD-3-Clause */
/* The feed and the tables of VPN instances. */
#include "rib/feed/fib_feed.h"
#include "rib/feed/fib_feed_impl.h"

#include "lpm/compact.h"
#include "lpm/label_table.h"
#include "lpm/tunnel_set.h"

#include "tests/rib/feed_rig.h"

#include <sys/resource.h>
#include <unistd.h>

#define V4(a, b, c, d)                                                                             \
	((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))
#define RED ((struct vrf_id){3})
#define HOP "192.0.2.1"

static struct feed_rig r;
static uint32_t groups = 1024; /* in each copy of a painted table */

static void
begin(void)
{
	feed_rig_init_groups(&r, 1, true, FEED_JOURNAL, FEED_BATCH, groups);
	feed_rig_peer(&r, 1);
	rig_up(&r.rig, 1, RIG_OWN_ASN, 1, false);
	assert_int_equal(feed_rig_connected(&r, V4(192, 0, 2, 254), 24, 0, true), 0);
	feed_rig_settle(&r);
}

static void
connect_in(struct vrf_id vrf, const char *local, uint8_t len, uint16_t port, bool up)
{
	struct ip_addr a = text_addr(local);
	struct prefix p = prefix_from_addr(&a, len);

	assert_int_equal(fib_feed_connected(r.feed, vrf, &p, &a, port, up), 0);
}

static void
static_in(struct vrf_id vrf, const char *prefix, const char *hop, bool present)
{
	struct prefix p = text_prefix(prefix);
	struct fib_feed_hop h = {.port = PORT_NONE};

	if (hop != NULL)
		h.addr = text_addr(hop);
	assert_int_equal(
		fib_feed_route(r.feed, vrf, &p, SOURCE_STATIC, &h, hop != NULL, 0, present), 0);
}

/* The list that a worker finds in an instance; NULL: no route. */
static const struct path_list *
look_up(struct vrf_id vrf, const char *text, uint8_t len)
{
	struct ip_addr a = text_addr(text);
	struct fib_result found;

	if (fib_lookup(r.fib, vrf, &a, &found) != 0 || !found.hit)
		return NULL;
	assert_int_equal(found.prefix.len, len);
	return &path_lists_array(fib_path_lists(r.fib))[found.path_list.v];
}

static void
test_routes_of_the_host(void **state)
{
	struct adjacency adj = {
		.ether = {2, 0, 0, 0, 0, 9}, .ether_len = 14, .port = 5, .mtu = 1500};
	struct ip_addr hop = text_addr(HOP);
	const struct path_list *l;
	struct next_hop_view v;

	(void)state;
	begin();
	assert_null(look_up(RED, HOP, 0));
	/* the subnet of the default table, on another port */
	connect_in(RED, "192.0.2.253", 24, 5, true);
	connect_in(RED, "2001:db8:1::1", 64, 5, true);
	static_in(RED, "10.0.0.0/8", HOP, true);
	static_in(RED, "2001:db8:2::/48", NULL, true);
	feed_rig_settle(&r);
	assert_int_equal(look_up(RED, "192.0.2.77", 24)->kind, PATH_LIST_GLEAN);
	assert_int_equal(look_up(RED, "192.0.2.77", 24)->port, 5);
	assert_int_equal(look_up(RED, "192.0.2.253", 32)->kind, PATH_LIST_PUNT);
	assert_int_equal(look_up(RED, "2001:db8:1::7", 64)->kind, PATH_LIST_GLEAN);
	assert_int_equal(look_up(RED, "2001:db8:2::7", 48)->kind, PATH_LIST_BLACKHOLE);
	assert_null(look_up(VRF_DEFAULT, "10.0.0.1", 8));
	assert_int_equal(look_up(VRF_DEFAULT, "192.0.2.77", 24)->port, 0);
	/* the neighbour in RED is not the neighbour of the default table */
	assert_int_equal(fib_feed_neighbor(r.feed, RED, &hop, 5, &adj), 0);
	feed_rig_settle(&r);
	l = look_up(RED, "10.0.0.1", 8);
	assert_int_equal(l->kind, PATH_LIST_FORWARD);
	assert_true(next_hop_peek(fib_path_lists(r.fib), l->path[0].next_hop, &v));
	assert_int_equal(v.vrf.v, RED.v);
	assert_int_equal(v.state, NEXT_HOP_UP);
	assert_int_equal(v.adjacency.ether[5], 9);
	assert_int_equal(look_up(RED, HOP, 32)->kind, PATH_LIST_FORWARD);
	assert_int_equal(look_up(VRF_DEFAULT, HOP, 24)->kind, PATH_LIST_GLEAN);
	assert_int_equal(feed_rig_audit(&r), 0);
	/* the link is lost */
	fib_feed_port_down(r.feed, 5, 0);
	feed_rig_settle(&r);
	assert_null(look_up(RED, "10.0.0.1", 8));
	fib_feed_port_up(r.feed, 5);
	feed_rig_settle(&r);
	assert_non_null(look_up(RED, "10.0.0.1", 8));
	static_in(RED, "10.0.0.0/8", NULL, false);
	static_in(RED, "2001:db8:2::/48", NULL, false);
	assert_int_equal(fib_feed_neighbor(r.feed, RED, &hop, 5, NULL), 0);
	connect_in(RED, "192.0.2.253", 24, 5, false);
	connect_in(RED, "2001:db8:1::1", 64, 5, false);
	feed_rig_settle(&r);
	assert_null(look_up(RED, "192.0.2.253", 0));
	assert_null(look_up(RED, "2001:db8:1::7", 0));
	assert_int_equal(feed_rig_audit(&r), 0);
	feed_rig_fini(&r);
}

/* ---- routes imported from a VPN ---- */

#define TARGET ((struct ext_community){UINT64_C(0x0002) << 48 | UINT64_C(64512) << 32 | 7})
#define BLUE ((struct vrf_id){4})

union vpn_attrs {
	struct attr_set a;
	uint8_t room[1024];
};

/* Announces a VPN route with the target; `hop` NULL withdraws. */
static void
vpn_route(uint16_t peer, const char *prefix, const char *hop, uint32_t label)
{
	struct rib_nlri n = {.prefix = text_prefix(prefix), .rd = {77}, .label = label};
	union vpn_attrs attrs = {.room = {0}};
	union rig_attrs plain;

	if (hop == NULL) {
		rig_update_in(&r.rig, FAMILY_VPNV4_UNICAST, peer, NULL, &n, 1, r.rig.now_ns);
		return;
	}
	rig_attrs_make(&plain, NULL, 0, 0);
	plain.a.next_hop = text_addr(hop);
	memcpy(&attrs, &plain, attr_set_size(&plain.a));
	ext_community_put(TARGET, attrs.a.var + attrs.a.as_path_len);
	attrs.a.ext_community_count = 1;
	attr_set_derive(&attrs.a);
	rig_update_in(&r.rig, FAMILY_VPNV4_UNICAST, peer, &attrs.a, &n, 1, r.rig.now_ns);
}

static void
vpn_begin(void)
{
	struct ext_community target = TARGET;
	struct table_id table;

	begin();
	role_enter_rib();
	assert_int_equal(
		shard_table_add(r.rig.shard, VRF_DEFAULT, FAMILY_VPNV4_UNICAST, &table), 0);
	for (uint16_t v = RED.v; v <= BLUE.v; v++) {
		struct shard_instance i = {
			.vrf = {v}, .import_targets = &target, .import_count = 1};

		assert_int_equal(
			shard_table_add(r.rig.shard, i.vrf, FAMILY_IPV4_UNICAST, &table), 0);
		assert_int_equal(shard_instance_set(r.rig.shard, &i), 0);
	}
	role_enter_fib();
	feed_rig_settle(&r);
}

/* A route of RED leaves by `mac` (0: not resolved) with these labels. */
static void
assert_way(const char *addr, uint8_t len, uint8_t mac, uint32_t tunnel, uint32_t label)
{
	const struct path_list *l = look_up(RED, addr, len);
	struct next_hop_view v;

	assert_non_null(l);
	assert_int_equal(l->kind, PATH_LIST_PUSH);
	assert_int_equal(l->path[0].label, label);
	assert_true(next_hop_peek(fib_path_lists(r.fib), l->path[0].next_hop, &v));
	assert_int_equal(v.state == NEXT_HOP_UP, mac != 0);
	if (mac == 0)
		return;
	assert_int_equal(v.adjacency.ether[5], mac);
	assert_int_equal(v.adjacency.label_count, tunnel != 0);
	if (tunnel != 0)
		assert_int_equal(v.adjacency.label[0], tunnel);
}

/*
 * The next hop of an imported route resolves in the default table; the tables of instances have the
 * edge router and the label. A moved underlay changes no table.
 */
static void
test_imported(void **state)
{
	struct fib_feed_lsp lsps[2] = {
		{.in_label = LABEL_NONE,
			.destination = text_prefix("198.51.100.0/24"),
			.next_hop = text_addr("192.0.2.3"),
			.label_count = 1,
			.label = {900001}},
		{.in_label = 600000,
			.next_hop = text_addr("192.0.2.3"),
			.label_count = 2,
			.label = {900002, 900003}},
	};
	struct label_entry entry;
	const struct path_list *l;
	struct next_hop_view v;
	uint64_t writes;

	(void)state;
	vpn_begin();
	static_in(VRF_DEFAULT, "198.51.100.0/24", HOP, true);
	vpn_route(1, "10.0.0.0/8", "198.51.100.1", 5001);
	vpn_route(1, "10.1.0.0/16", "198.51.100.1", 5002);
	feed_rig_settle(&r);
	assert_way("10.2.0.1", 8, 0, 0, 5001);
	assert_int_equal(feed_rig_neighbor_text(&r, HOP, 0, 9), 0);
	assert_int_equal(feed_rig_neighbor_text(&r, "192.0.2.3", 0, 13), 0);
	feed_rig_settle(&r);
	assert_way("10.2.0.1", 8, 9, 0, 5001);
	assert_way("10.1.0.1", 16, 9, 0, 5002);
	assert_int_equal(look_up(RED, "10.2.0.1", 8)->path[0].next_hop.v,
		look_up(BLUE, "10.1.0.1", 16)->path[0].next_hop.v);
	assert_null(look_up(VRF_DEFAULT, "10.0.0.1", 8));
	assert_int_equal(feed_rig_audit(&r), 0);
	/* the underlay moves: the route in the default table alone is written */
	writes = feed_rig_writes(&r);
	static_in(VRF_DEFAULT, "198.51.100.0/24", "192.0.2.3", true);
	feed_rig_settle(&r);
	assert_way("10.2.0.1", 8, 13, 0, 5001);
	assert_int_equal(feed_rig_writes(&r), writes + 1);
	/* the neighbour, then the link is lost, and comes back */
	assert_int_equal(feed_rig_neighbor_text(&r, "192.0.2.3", 0, 0), 0);
	assert_way("10.2.0.1", 8, 0, 0, 5001);
	assert_int_equal(feed_rig_neighbor_text(&r, "192.0.2.3", 0, 14), 0);
	assert_way("10.2.0.1", 8, 14, 0, 5001);
	fib_feed_port_down(r.feed, 0, 0);
	assert_way("10.2.0.1", 8, 0, 0, 5001);
	fib_feed_port_up(r.feed, 0);
	feed_rig_settle(&r);
	assert_way("10.2.0.1", 8, 14, 0, 5001);
	/* a tunnel to the edge router, and a transit path */
	assert_int_equal(fib_feed_lsps(r.feed, lsps, 2), 0);
	feed_rig_settle(&r);
	assert_way("10.2.0.1", 8, 14, 900001, 5001);
	assert_way("10.1.0.1", 16, 14, 900001, 5002);
	assert_int_equal(feed_rig_audit(&r), 0);
	assert_true(label_table_get(fib_labels(r.fib), 600000, &entry));
	assert_int_equal(entry.op, LABEL_SWAP);
	assert_int_equal(entry.out, 900003);
	l = &path_lists_array(fib_path_lists(r.fib))[entry.list.v];
	assert_true(next_hop_peek(fib_path_lists(r.fib), l->path[0].next_hop, &v));
	assert_int_equal(v.state, NEXT_HOP_UP);
	assert_int_equal(v.adjacency.label[0], 900002);
	/* one entry changes, the other one goes */
	lsps[0] = (struct fib_feed_lsp){.in_label = 600001, .vrf = BLUE};
	lsps[1].label_count = 0;
	assert_int_equal(fib_feed_lsps(r.feed, lsps, 2), 0);
	feed_rig_settle(&r);
	assert_way("10.2.0.1", 8, 14, 0, 5001);
	assert_true(label_table_get(fib_labels(r.fib), 600000, &entry));
	assert_int_equal(entry.op, LABEL_POP_FORWARD);
	assert_true(label_table_get(fib_labels(r.fib), 600001, &entry));
	assert_int_equal(entry.op, LABEL_POP_INSTANCE);
	assert_int_equal(entry.vrf.v, BLUE.v);
	assert_int_equal(fib_feed_lsps(r.feed, NULL, 0), 0);
	assert_int_equal(label_table_count(fib_labels(r.fib)), 0);
	/* implicit null: no label */
	vpn_route(1, "10.1.0.0/16", "198.51.100.1", 3);
	feed_rig_settle(&r);
	assert_int_equal(look_up(RED, "10.1.0.1", 16)->kind, PATH_LIST_FORWARD);
	vpn_route(1, "10.0.0.0/8", NULL, 0);
	vpn_route(1, "10.1.0.0/16", NULL, 0);
	feed_rig_settle(&r);
	assert_null(look_up(RED, "10.1.0.1", 16));
	assert_int_equal(feed_rig_audit(&r), 0);
	feed_rig_fini(&r);
}

/* The tunnel to the edge router of a route of RED; 0: none. */
static void
assert_tunnel(const char *addr, uint8_t len, uint8_t mac, uint32_t source, uint16_t mtu)
{
	struct next_hop_view v;

	assert_way(addr, len, mac, 0, 5001);
	assert_true(next_hop_peek(
		fib_path_lists(r.fib), look_up(RED, addr, len)->path[0].next_hop, &v));
	assert_int_equal(v.adjacency.udp_source, source);
	assert_int_equal(v.adjacency.mtu, mtu);
	assert_int_equal(v.adjacency.mtu_plain, source != 0 ? 0 : mtu);
}

/* A UDP tunnel comes before a label-switched path; workers accept packets from its end alone. */
static void
test_udp_tunnel(void **state)
{
	struct fib_feed_lsp lsp = {.in_label = LABEL_NONE,
		.destination = text_prefix("198.51.100.0/24"),
		.next_hop = text_addr("192.0.2.3"),
		.label_count = 1,
		.label = {900001}};
	struct fib_feed_tunnel tunnels[2] = {{text_addr("198.51.100.1"), text_addr("192.0.2.1")},
		{text_addr("198.51.100.2"), text_addr("192.0.2.1")}};
	struct tunnel ends = {0};
	const struct tunnel_reader *reader;
	uint32_t own;
	uint16_t mtu;

	(void)state;
	vpn_begin();
	reader = tunnel_reader(fib_tunnels(r.fib));
	memcpy(&own, tunnels[0].own.b, sizeof(own));
	static_in(VRF_DEFAULT, "198.51.100.0/24", HOP, true);
	vpn_route(1, "10.0.0.0/8", "198.51.100.1", 5001);
	assert_int_equal(feed_rig_neighbor_text(&r, HOP, 0, 9), 0);
	assert_int_equal(feed_rig_neighbor_text(&r, "192.0.2.3", 0, 13), 0);
	feed_rig_settle(&r);
	mtu = adjacencies_array(fib_path_lists(r.fib))[1].mtu;
	assert_tunnel("10.2.0.1", 8, 9, 0, mtu);
	assert_int_equal(fib_feed_lsps(r.feed, &lsp, 1), 0);
	assert_int_equal(fib_feed_tunnels(r.feed, tunnels, 2), 0);
	feed_rig_settle(&r);
	assert_tunnel("10.2.0.1", 8, 9, own, (uint16_t)(mtu - UDP_TUNNEL_HEADERS));
	memcpy(&ends.remote, tunnels[1].remote.b, sizeof(ends.remote));
	ends.own = own;
	assert_true(tunnel_known(reader, &BOUNDS_ALL, ends));
	assert_false(tunnel_known(reader, &BOUNDS_ALL, (struct tunnel){own, ends.remote}));
	/* the way moves below the tunnel */
	static_in(VRF_DEFAULT, "198.51.100.0/24", "192.0.2.3", true);
	feed_rig_settle(&r);
	assert_tunnel("10.2.0.1", 8, 13, own, (uint16_t)(mtu - UDP_TUNNEL_HEADERS));
	/* one tunnel less: the label-switched path follows */
	assert_int_equal(fib_feed_tunnels(r.feed, &tunnels[1], 1), 0);
	feed_rig_settle(&r);
	assert_way("10.2.0.1", 8, 13, 900001, 5001);
	assert_true(tunnel_known(reader, &BOUNDS_ALL, ends));
	assert_int_equal(fib_feed_tunnels(r.feed, NULL, 0), 0);
	assert_int_equal(fib_feed_lsps(r.feed, NULL, 0), 0);
	feed_rig_settle(&r);
	assert_tunnel("10.2.0.1", 8, 13, 0, mtu);
	assert_false(tunnel_known(reader, &BOUNDS_ALL, ends));
	assert_int_equal(feed_rig_audit(&r), 0);
	feed_rig_fini(&r);
}

/* The action of a label of ours: the outgoing label, the first label of the tunnel (0: none), and the neighbour (0: not resolved). */
static void
assert_swap(uint32_t label, enum label_op op, uint32_t out, uint32_t tunnel, uint8_t mac)
{
	struct label_entry entry;
	const struct path_list *l;
	struct next_hop_view v;

	assert_true(label_table_get(fib_labels(r.fib), label, &entry));
	assert_int_equal(entry.op, op);
	assert_int_equal(entry.out, out);
	l = &path_lists_array(fib_path_lists(r.fib))[entry.list.v];
	assert_int_equal(l->kind, PATH_LIST_FORWARD);
	assert_true(next_hop_peek(fib_path_lists(r.fib), l->path[0].next_hop, &v));
	assert_int_equal(v.state == NEXT_HOP_UP, mac != 0);
	if (mac == 0)
		return;
	assert_int_equal(v.adjacency.ether[5], mac);
	assert_int_equal(v.adjacency.label_count, tunnel != 0);
	if (tunnel != 0)
		assert_int_equal(v.adjacency.label[0], tunnel);
}

/*
 * RFC 4364 10 b: labels of ours are swapped for the labels of edges. All labels of an edge share a
 * path list, follow the underlay and the tunnel, and are removed alone.
 */
static void
test_swapped(void **state)
{
	struct fib_feed_lsp lsp = {.in_label = LABEL_NONE,
		.destination = text_prefix("198.51.100.0/24"),
		.next_hop = text_addr("192.0.2.3"),
		.label_count = 1,
		.label = {900001}};
	struct swap_order order[] = {
		{.label = 300000, .received = 5001, .present = true},
		{.label = 300001, .received = 5002, .present = true},
		{.label = 300002, .received = 3, .present = true},
		{.label = 300003, .received = 0, .present = true},
	};
	unsigned lists;

	(void)state;
	vpn_begin();
	static_in(VRF_DEFAULT, "198.51.100.0/24", HOP, true);
	for (unsigned i = 0; i < 4; i++)
		order[i].next_hop = text_addr("198.51.100.1");
	lists = path_lists_in_use(fib_path_lists(r.fib));
	fib_feed_swaps(r.feed, order, 4);
	feed_rig_settle(&r);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(order[i].result, 0);
	assert_int_equal(path_lists_in_use(fib_path_lists(r.fib)), lists + 1);
	assert_swap(300000, LABEL_SWAP, 5001, 0, 0);
	assert_int_equal(feed_rig_neighbor_text(&r, HOP, 0, 9), 0);
	assert_int_equal(feed_rig_neighbor_text(&r, "192.0.2.3", 0, 13), 0);
	feed_rig_settle(&r);
	assert_swap(300000, LABEL_SWAP, 5001, 0, 9);
	assert_swap(300001, LABEL_SWAP, 5002, 0, 9);
	assert_swap(300002, LABEL_POP_FORWARD, 0, 0, 9); /* implicit null */
	assert_swap(300003, LABEL_SWAP, 0, 0, 9);
	static_in(VRF_DEFAULT, "198.51.100.0/24", "192.0.2.3", true);
	feed_rig_settle(&r);
	assert_swap(300001, LABEL_SWAP, 5002, 0, 13);
	/* a tunnel to the edge, and none again; walks free edges without users */
	assert_int_equal(fib_feed_lsps(r.feed, &lsp, 1), 0);
	feed_rig_settle(&r);
	assert_swap(300001, LABEL_SWAP, 5002, 900001, 13);
	assert_swap(300002, LABEL_POP_FORWARD, 0, 900001, 13);
	assert_int_equal(fib_feed_lsps(r.feed, NULL, 0), 0);
	feed_rig_settle(&r);
	assert_swap(300000, LABEL_SWAP, 5001, 0, 13);
	order[0].present = order[2].present = false;
	order[1] = order[2];
	fib_feed_swaps(r.feed, order, 2);
	assert_int_equal(order[0].result, 0);
	assert_int_equal(label_table_count(fib_labels(r.fib)), 2);
	assert_swap(300001, LABEL_SWAP, 5002, 0, 13);
	fib_feed_swaps(r.feed, order, 2); /* no action: nothing happens */
	assert_int_equal(label_table_count(fib_labels(r.fib)), 2);
	feed_rig_fini(&r);
}

/*
 * A route of this router (a static or connected route, or a network) that another instance imports:
 * the table there says to look up again in the exporting instance. Own routes win.
 */
static void
test_imported_from_host(void **state)
{
	struct ext_community target = TARGET;
	struct shard_instance red = {.vrf = RED,
		.rd = {77},
		.label = 5001,
		.export_targets = &target,
		.export_count = 1};
	struct prefix p = text_prefix("10.9.0.0/16");
	struct vrf_id blue = BLUE;
	struct dest_view view;
	struct table_id table;
	union rig_attrs a;

	(void)state;
	vpn_begin();
	connect_in(RED, "192.0.2.253", 24, 5, true);
	static_in(RED, "10.9.0.0/16", HOP, true);
	rig_attrs_make(&a, NULL, 0, 0);
	role_enter_rib();
	assert_int_equal(shard_instance_set(r.rig.shard, &red), 0);
	assert_int_equal(shard_originate(r.rig.shard, RED, FAMILY_IPV4_UNICAST, &p, &a.a), 0);
	role_enter_fib();
	feed_rig_settle(&r);
	assert_int_equal(look_up(RED, "10.9.0.1", 16)->kind, PATH_LIST_FORWARD);
	assert_int_equal(shard_table_find(r.rig.shard, BLUE, FAMILY_IPV4_UNICAST, &table), 0);
	assert_true(dest_peek(shard_table(r.rig.shard, table),
		dest_find(shard_table(r.rig.shard, table), &p), &view));
	assert_non_null(view.paths);
	assert_int_equal(view.paths->eligible, 1);
	assert_int_equal(look_up(BLUE, "10.9.0.1", 16)->kind, PATH_LIST_INSTANCE);
	assert_int_equal(look_up(BLUE, "10.9.0.1", 16)->port, RED.v);
	assert_int_equal(feed_rig_audit_of(&r, &blue), 0);
	assert_int_equal(fib_feed_audit(r.feed)->not_installed, 0);
	static_in(BLUE, "10.9.0.0/16", NULL, true);
	feed_rig_settle(&r);
	assert_int_equal(look_up(BLUE, "10.9.0.1", 16)->kind, PATH_LIST_BLACKHOLE);
	assert_int_equal(feed_rig_audit(&r), 0);
	static_in(BLUE, "10.9.0.0/16", NULL, false);
	feed_rig_settle(&r);
	assert_int_equal(look_up(BLUE, "10.9.0.1", 16)->kind, PATH_LIST_INSTANCE);
	role_enter_rib();
	assert_int_equal(shard_originate(r.rig.shard, RED, FAMILY_IPV4_UNICAST, &p, NULL), 0);
	role_enter_fib();
	feed_rig_settle(&r);
	assert_null(look_up(BLUE, "10.9.0.1", 16));
	assert_int_equal(feed_rig_audit(&r), 0);
	feed_rig_fini(&r);
}

static size_t
address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu", &pages), 1);
	(void)fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static uint64_t
visible(void)
{
	const struct hist *h = fib_feed_update_hist(r.feed);
	struct hist_summary s;

	hist_summarize(&h, 1, &s);
	return s.count;
}

#define SCATTERED 3900u /* a tree of 4 MB, which needs a mapping of its own */

/*
 * The table of an instance finds no memory. Changes of other tables are published; the journal does
 * not count as visible, and the batch is committed when there is memory.
 */
static void
test_short(void **state)
{
	struct rlimit before, limit;
	uint64_t generation, seen;

	(void)state;
#ifdef KEEL_SANITIZED
	skip();
#endif
	begin();
	seen = visible();
	generation = fib_generation(r.fib);
	for (unsigned i = 0; i < SCATTERED; i++) {
		struct prefix p = prefix_from_v4(V4(1, 0, 0, 0) + (i << 16), 24);

		assert_int_equal(
			fib_feed_route(r.feed, RED, &p, SOURCE_STATIC, NULL, 0, 0, true), 0);
	}
	feed_rig_announce_text(&r, 1, "198.51.100.0/24", HOP, 100);
	rig_settle(&r.rig);
	while (feed_rig_pump_ask(&r) || feed_rig_pump_tell(&r))
		rig_settle(&r.rig);
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	limit = (struct rlimit){address_space() + (1 << 20), before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	for (unsigned i = 0; i < 5; i++) {
		qsbr_quiescent(r.workers, r.worker);
		r.now_ns += FEED_INTERVAL_NS;
		(void)feed_rig_turn(&r, UINT64_MAX);
	}
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	assert_true(fib_generation(r.fib) > generation);
	assert_non_null(look_up(VRF_DEFAULT, "198.51.100.1", 24));
	assert_null(look_up(RED, "1.7.0.1", 24));
	assert_int_equal(fib_batch_count(r.fib), SCATTERED);
	assert_int_equal(visible(), seen);
	feed_rig_settle(&r);
	assert_int_equal(visible(), seen + 1);
	assert_non_null(look_up(RED, "1.7.0.1", 24));
	assert_int_equal(feed_rig_audit(&r), 0);
	feed_rig_fini(&r);
}

/* ---- the audit of one instance ---- */

/* Announces `count` VPN routes of length `len`, from 10.0.0.0 on, 256 addresses apart. */
static void
vpn_routes(unsigned count, uint8_t len)
{
	for (unsigned i = 0; i < count; i++) {
		struct prefix p = prefix_from_v4(V4(10, 0, 0, 0) + (i << 8), len);
		char text[PREFIX_TEXT_MAX];

		prefix_format(&p, text);
		vpn_route(1, text, HOP, 5001);
		if (i % 4096 == 0)
			rig_settle(&r.rig);
	}
}

static void
import_nothing(struct vrf_id vrf)
{
	struct shard_instance i = {.vrf = vrf};

	role_enter_rib();
	assert_int_equal(shard_instance_set(r.rig.shard, &i), 0);
	role_enter_fib();
}

static void
assert_audit(struct vrf_id vrf, uint64_t mismatches, uint64_t not_installed)
{
	const struct fib_audit *a = fib_feed_audit(r.feed);

	assert_int_equal(feed_rig_audit_of(&r, &vrf), mismatches);
	assert_int_equal(a->error, 0);
	assert_int_equal(a->skipped, 0);
	assert_int_equal(a->not_installed, not_installed);
	for (uint64_t i = 0; i < mismatches; i++)
		assert_int_equal(a->mismatch[i].vrf.v, vrf.v);
}

/*
 * The table of RED is a range table, a tree, or painted. The audit of RED finds a wrong list and a
 * lost route; the audits of other VRFs do not see either.
 */
static void
test_audit(void **state)
{
	static const unsigned sizes[] = {40, COMPACT_TREE_FROM + 200, FIB_INSTANCE_ROUTES + 100};

	(void)state;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct prefix wrong = text_prefix("10.0.7.0/24"),
			      lost = text_prefix("10.0.20.0/24");
		struct path_list_id list, right;

		vpn_begin();
		assert_int_equal(feed_rig_neighbor_text(&r, HOP, 0, 9), 0);
		static_in(RED, "10.0.7.128/25", NULL, true);
		import_nothing(BLUE); /* memory_bytes has room for one painted table */
		vpn_routes(sizes[i], 24);
		feed_rig_settle(&r);
		assert_audit(RED, 0, 0);
		assert_true(fib_feed_audit(r.feed)->checked > sizes[i]);
		assert_audit(BLUE, 0, 0);
		assert_audit(VRF_DEFAULT, 0, 0);
		assert_int_equal(feed_rig_audit(&r), 0);

		assert_true(fib_shadow_get(r.fib, RED, &wrong, &right));
		path_list_ref(fib_path_lists(r.fib), right);
		assert_int_equal(path_list_get(fib_path_lists(r.fib), PATH_LIST_BLACKHOLE,
					 PORT_NONE, NULL, 0, &list),
			0);
		assert_int_equal(fib_set(r.fib, RED, &wrong, list), 0);
		path_list_unref(fib_path_lists(r.fib), list);
		feed_rig_drain(&r);
		/* the first address, and the address before the static route */
		assert_audit(RED, 2, 0);
		assert_true(prefix_equal(&fib_feed_audit(r.feed)->mismatch[0].expected, &wrong));
		assert_true(prefix_equal(&fib_feed_audit(r.feed)->mismatch[0].found, &wrong));
		assert_int_equal(fib_withdraw(r.fib, RED, &lost), 0);
		feed_rig_drain(&r);
		assert_audit(RED, 4, 0);
		assert_audit(BLUE, 0, 0);
		assert_audit(VRF_DEFAULT, 0, 0);
		assert_audit((struct vrf_id){FIB_VRF_MAX}, 0, 0);
		assert_int_equal(feed_rig_audit(&r), 4);
		assert_int_equal(fib_set(r.fib, RED, &wrong, right), 0);
		assert_int_equal(fib_set(r.fib, RED, &lost, right), 0);
		path_list_unref(fib_path_lists(r.fib), right);
		feed_rig_drain(&r);
		assert_audit(RED, 0, 0);
		feed_rig_fini(&r);
	}
}

/* One turn of all threads. The feed retries each second, so that feed_rig_settle() does not end. */
static void
turn_all(void)
{
	rig_settle(&r.rig);
	while ((int)feed_rig_pump_ask(&r) | (int)feed_rig_pump_tell(&r) |
		(int)feed_rig_pump_reports(&r))
		rig_settle(&r.rig);
	qsbr_quiescent(r.workers, r.worker);
	r.now_ns += FEED_INTERVAL_NS;
	(void)feed_rig_turn(&r, UINT64_MAX);
}

static void
assert_not_installed(const struct vrf_id *vrf, uint64_t count)
{
	const struct fib_audit *a = fib_feed_audit(r.feed);

	assert_int_equal(fib_feed_audit_begin(r.feed, vrf), 0);
	for (unsigned i = 0; a->running; i++) {
		turn_all();
		assert_true(i < 10000);
	}
	assert_int_equal(a->error, 0);
	assert_int_equal(a->mismatch_count, 0);
	assert_int_equal(a->not_installed, count);
}

/*
 * Routes beyond FIB_INSTANCE_ROUTES need a painted table, which has too few groups. These routes
 * count as not installed, also between the withdrawal of another route and the retry.
 */
static void
test_audit_without_room(void **state)
{
	enum { OVER = 50 };
	struct vrf_id red = RED, blue = BLUE, other = VRF_DEFAULT;
	struct path_list_id list;
	uint64_t refused = 0;
	unsigned turns = 0;

	(void)state;
	groups = 64;
	vpn_begin();
	groups = 1024;
	assert_int_equal(feed_rig_neighbor_text(&r, HOP, 0, 9), 0);
	vpn_routes(FIB_INSTANCE_ROUTES + OVER, 25);
	do {
		turn_all();
		assert_true(turns++ < 10000);
	} while (!fib_feed_drained(r.feed) || !fib_settled(r.fib));
	assert_not_installed(&red, OVER);
	assert_not_installed(&blue, OVER);
	assert_not_installed(&other, 0);
	assert_not_installed(NULL, 2 * OVER);
	vpn_route(1, "10.0.0.0/25", NULL, 0);
	for (unsigned i = 0; i < 20; i++)
		turn_all();
	assert_null(look_up(RED, "10.0.0.1", 25));
	for (uint32_t i = 0; i < FIB_INSTANCE_ROUTES + OVER; i++) {
		struct prefix p = prefix_from_v4(V4(10, 0, 0, 0) + (i << 8), 25);

		refused += !fib_shadow_get(r.fib, RED, &p, &list);
	}
	assert_not_installed(&red, refused - 1);
	feed_rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_routes_of_the_host),
		cmocka_unit_test(test_imported),
		cmocka_unit_test(test_swapped),
		cmocka_unit_test(test_udp_tunnel),
		cmocka_unit_test(test_imported_from_host),
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_audit),
		cmocka_unit_test(test_audit_without_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
