/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets waiting for a neighbour: the real worker between a source and a sink, callbacks on ports of
 * net_null. Each packet ends in a number. At the end of each test no buffer is lost.
 */
#include "dataplane/forward/resolve.h"
#include "dataplane/port/port_inner.h"
#include "dataplane/forward/worker_struct.h"
/* half a processor is too little for a worker that polls and a test that answers within 3 s */
#define LAB_IDLE 1
#include "lab.h"
#include "lpm/base/ring.h"
#include "lpm/fib_read.h"
#include "lpm/label_table.h"

#include <rte_byteorder.h>
#include <rte_ethdev.h>
#include <rte_mempool.h>

#define INSTANCE 9
#define LABEL_IN 100u /* popped to the instance */
#define LABEL_SWITCHED 101u
#define LABEL_OUT 200u
#define VPN_LABEL 300u
#define GIVEN 4096

static const uint8_t neighbour[6] = {0x02, 0, 0, 0, 0, 0x0a}, edge_udp[4] = {198, 18, 0, 2};
static const uint8_t v6_source[16] = {0x20, 0x01, 0x0d, 0xb8, 1, [15] = 7};

static char directory[] = "/tmp/keel-test-resolve-XXXXXX";
static struct lab_fib lab;
static uint8_t in_mac[6];
static unsigned buffers;
static uint64_t seed = 1;

/* Frames for the worker, written by main, and frames of the worker. */
static struct lab_frame given[GIVEN], seen[GIVEN];
static _Atomic unsigned given_count, taken, seen_count;
static unsigned number;

/* ---- the ports ---- */

static uint16_t
receive(uint16_t ethdev, uint16_t queue, struct rte_mbuf **pkt, uint16_t n, uint16_t most,
	void *ctx)
{
	/* acquire: pairs with the release in give() */
	unsigned count = atomic_load_explicit(&given_count, memory_order_acquire),
		 at = atomic_load_explicit(&taken, memory_order_relaxed);

	for (n = 0; n < most && at < count; n++, at++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(port_own_pool());

		if (m == NULL)
			abort();
		memcpy(rte_pktmbuf_append(m, (uint16_t)given[at].len), given[at].b, given[at].len);
		pkt[n] = m;
	}
	atomic_store_explicit(&taken, at, memory_order_relaxed);
	return n;
}

static uint16_t
transmit(uint16_t ethdev, uint16_t queue, struct rte_mbuf **pkt, uint16_t n, void *ctx)
{
	unsigned at = atomic_load_explicit(&seen_count, memory_order_relaxed);

	for (unsigned i = 0; i < n; i++, at++) {
		struct lab_frame *f = &seen[at];

		if (at == GIVEN)
			abort();
		f->len = rte_pktmbuf_data_len(pkt[i]);
		memcpy(f->b, rte_pktmbuf_mtod(pkt[i], const void *), f->len);
	}
	/* release: pairs with the acquire in seen_now() */
	atomic_store_explicit(&seen_count, at, memory_order_release);
	return n;
}

static unsigned
seen_now(void)
{
	/* acquire: pairs with the release in transmit() */
	return atomic_load_explicit(&seen_count, memory_order_acquire);
}

/* ---- packets ---- */

static void
give(struct lab_frame *f)
{
	unsigned at = atomic_load_explicit(&given_count, memory_order_relaxed);

	assert_true(at < GIVEN);
	lab_set32(f->b + f->len - 4, ++number);
	given[at] = *f;
	/* release: pairs with the acquire in receive() */
	atomic_store_explicit(&given_count, at + 1, memory_order_release);
}

static void
make(struct lab_frame *f, const char *to)
{
	struct ip_addr a = lab_addr(to);

	if (a.afi == AFI_IPV6)
		lab_udp6(f, in_mac, v6_source, a.b, 64, 20, &seed);
	else
		lab_udp(f, in_mac, IP(11, 0, 0, 7), addr_v4(&a), 64, 0, 20, &seed);
}

static void
give_to(const char *to)
{
	struct lab_frame f;

	make(&f, to);
	give(&f);
}

static void
give_label(const char *to, uint32_t label)
{
	struct lab_frame f;

	make(&f, to);
	memmove(f.b + 18, f.b + 14, f.len - 14);
	f.len += 4;
	lab_set32(f.b + 14, label << 12 | 0x100 | 64);
	f.b[12] = 0x88;
	f.b[13] = 0x47;
	give(&f);
}

static void
give_kernel(const char *to)
{
	struct lab_frame f;

	make(&f, to);
	lab_set32(f.b + f.len - 4, ++number);
	role_enter_host();
	assert_int_equal(worker_inject(LAB_VRF, f.b + 14, f.len - 14), 0);
}

static unsigned
waiting(void)
{
	return (unsigned)atomic_load_explicit(&worker_stats(0)->waiting, memory_order_relaxed);
}

static bool
as_many_wait(void *ctx)
{
	return waiting() == *(unsigned *)ctx;
}

static void
wait_waiting(unsigned count)
{
	if (!lab_wait(as_many_wait, &count, 60))
		fail_msg("%u wait instead of %u", waiting(), count);
}

static bool
as_many_seen(void *ctx)
{
	return seen_now() >= *(unsigned *)ctx;
}

static uint32_t
number_of(const struct lab_frame *f)
{
	const uint8_t *p = f->b + f->len - 4;

	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The packets first..first+count left, in this order, to the neighbour. */
static void
expect_numbers(unsigned first, unsigned count)
{
	if (!lab_wait(as_many_seen, &count, 60))
		fail_msg("%u of %u left", seen_now(), count);
	for (unsigned i = 0; i < count; i++) {
		assert_memory_equal(seen[i].b, neighbour, 6);
		if (number_of(&seen[i]) != first + i)
			fail_msg("packet %u is number %u instead of %u", i, number_of(&seen[i]),
				first + i);
	}
	wait_waiting(0);
	assert_int_equal(seen_now(), count);
}

/* ---- routes ---- */

static void
set_list(struct vrf_id vrf, const char *text, struct path_list_id list)
{
	struct prefix p;

	role_enter_fib();
	assert_int_equal(prefix_parse(text, &p), 0);
	assert_int_equal(fib_set(lab.fib, vrf, &p, list), 0);
}

static struct path_list_id
list_to(struct next_hop_id hop, uint32_t label)
{
	struct path path = {.next_hop = hop, .label = label};
	struct path_list_id list;

	role_enter_fib();
	assert_int_equal(
		path_list_get(lab.lists, PATH_LIST_FORWARD, PORT_NONE, &path, 1, &list), 0);
	return list;
}

static void
hop_up(struct next_hop_id hop, const struct adjacency *more)
{
	struct adjacency a = *more;

	role_enter_fib();
	a.ether_len = 14;
	a.port = 1;
	a.mtu = 1400;
	memcpy(a.ether, neighbour, 6);
	port_mac(1, a.ether + 6);
	assert_int_equal(next_hop_up(lab.lists, hop, &a), 0);
}

static const struct adjacency plain;

static struct next_hop_id
lost_hop(unsigned last)
{
	return lab_next_hop(&lab, IP(192, 0, 2, last), 1, NULL, 0);
}

/* ---- a test ---- */

static void
clear(void)
{
	atomic_store_explicit(&given_count, 0, memory_order_relaxed);
	atomic_store_explicit(&taken, 0, memory_order_relaxed);
	atomic_store_explicit(&seen_count, 0, memory_order_relaxed);
	number = 0;
}

static void
begin(void)
{
	clear();
	lab_workers_up(&lab);
}

static void
end(void)
{
	workers_stop();
	assert_int_equal(rte_mempool_avail_count(port_own_pool()), buffers);
}

/* The kernel has answered a request for a destination on the subnet. */
static void
answer(const char *prefix)
{
	struct next_hop_id up = lost_hop(250);

	hop_up(up, &plain);
	set_list(LAB_VRF, prefix, list_to(up, LABEL_NONE));
	lab_commit(&lab);
}

static void
neighbours_on_the_subnet(const char *to, const char *prefix, unsigned ttl_at)
{
	struct glean g[4];
	struct prefix p;

	begin();
	for (unsigned i = 0; i < 20; i++)
		give_to(to);
	wait_waiting(20);
	role_enter_host();
	assert_int_equal(worker_gleans(g, 4), 1);
	assert_int_equal(g[0].port, 1);
	assert_int_equal(seen_now(), 0);
	answer(prefix);
	expect_numbers(1, 20);
	assert_int_equal(seen[0].b[ttl_at], 63);
	assert_int_equal(worker_stats(0)->forwarded, 20);
	for (unsigned i = 0; i < DROP_COUNT; i++)
		assert_int_equal(lab_drops((enum drop_reason)i), 0);
	role_enter_fib();
	assert_int_equal(prefix_parse(prefix, &p), 0);
	assert_int_equal(fib_withdraw(lab.fib, LAB_VRF, &p), 0);
	lab_commit(&lab);
	end();
}

static void
test_subnet(void **state)
{
	(void)state;
	neighbours_on_the_subnet("10.5.0.9", "10.5.0.9/32", 22);
	neighbours_on_the_subnet("2001:db8:5::9", "2001:db8:5::9/128", 21);
}

/* Kinds of packets to an unresolved next hop, and the expected frames. */
static const struct way {
	const char *name, *to;
	void (*give)(const char *to);
	struct adjacency a;
	uint8_t type[2]; /* EtherType */
	unsigned more; /* octets before the IP header or the label */
} ways[];

static void
give_switched(const char *to)
{
	give_label(to, LABEL_SWITCHED);
}

static void
give_popped(const char *to)
{
	give_label(to, LABEL_IN);
}

static bool
is_asked(void *ctx)
{
	struct glean g[4];

	(void)ctx;
	role_enter_host();
	return worker_gleans(g, 4) > 0;
}

static const struct way ways[] = {
	{"IPv4", "10.3.0.1", give_to, {.port = 1}, {0x08, 0x00}, 0},
	{"IPv6", "2001:db8:3::1", give_to, {.port = 1}, {0x86, 0xdd}, 0},
	{"a tunnel of labels", "10.3.0.1", give_to, {.label_count = 2, .label = {7, 8}},
		{0x88, 0x47}, 8},
	{"a label of the path", "10.4.0.1", give_to, {.port = 1}, {0x88, 0x47}, 4},
	{"MPLS over UDP", "10.4.0.1", give_to,
		{.udp_source = 1, .udp_destination = RTE_BE32(0xc6120002)}, {0x08, 0x00}, 32},
	{"a switched label", "10.1.0.1", give_switched, {.port = 1}, {0x88, 0x47}, 0},
	{"a packet for an instance", "10.7.0.1", give_popped, {.port = 1}, {0x08, 0x00}, 0},
	{"a packet of the kernel", "10.3.0.1", give_kernel, {.port = 1}, {0x08, 0x00}, 0},
	{"equal paths, another one comes up", "10.8.0.1", give_to, {.port = 1}, {0x08, 0x00}, 0},
};

static struct next_hop_id hop, other_hop;

static void
test_next_hops(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		const struct way *w = &ways[i];
		bool equal = strncmp(w->name, "equal", 5) == 0, kernel = w->give == give_kernel;

		print_message("%s\n", w->name);
		begin();
		for (unsigned n = 0; n < 20; n++)
			w->give(w->to);
		wait_waiting(20);
		for (unsigned n = 0; i == 0 && n < 2; n++) /* again, without a further packet */
			assert_true(lab_wait(is_asked, NULL, 60));
		/* the flow waits for one of two equal paths */
		for (unsigned h = 0; h < (equal ? 2 : 1) && seen_now() == 0; h++)
			hop_up(h == 0 ? other_hop : hop, &w->a);
		if (!equal)
			hop_up(hop, &w->a);
		expect_numbers(1, 20);
		for (unsigned n = 0; n < 20; n++)
			assert_memory_equal(seen[n].b + 12, w->type, 2);
		if (w->give == give_to)
			assert_int_equal(seen[0].len, given[0].len + w->more);
		if (w->a.udp_destination != 0)
			assert_memory_equal(seen[0].b + 30, edge_udp, 4);
		if (w->type[0] == 0x08 && w->more == 0)
			assert_int_equal(seen[0].b[22], kernel ? 64 : 63);
		assert_int_equal(
			kernel ? worker_stats(0)->originated : worker_stats(0)->forwarded, 20);
		role_enter_fib();
		next_hop_down(lab.lists, hop, NEXT_HOP_UNRESOLVED);
		next_hop_down(lab.lists, other_hop, NEXT_HOP_UNRESOLVED);
		end();
	}
}

static bool
hundred_dropped(void *ctx)
{
	(void)ctx;
	return lab_drops(DROP_neighbor_queue) == 100;
}

/* RFC 4861 7.2.2: a new packet replaces the oldest one of the neighbour. */
static void
test_room_of_a_neighbour(void **state)
{
	(void)state;
	begin();
	give_to("10.5.0.1"); /* another neighbour keeps its packet */
	for (unsigned i = 0; i < RESOLVE_EACH + 100; i++)
		give_to("10.3.0.1");
	assert_true(lab_wait(hundred_dropped, NULL, 60));
	wait_waiting(RESOLVE_EACH + 1);
	hop_up(hop, &plain);
	wait_waiting(1);
	assert_true(lab_wait(as_many_seen, &(unsigned){RESOLVE_EACH}, 60));
	for (unsigned i = 0; i < RESOLVE_EACH; i++)
		assert_int_equal(number_of(&seen[i]), 102 + i);
	assert_int_equal(seen_now(), RESOLVE_EACH);
	role_enter_fib();
	next_hop_down(lab.lists, hop, NEXT_HOP_UNRESOLVED);
	end();
}

/* A packet for a neighbour at the counted time `now`. */
static struct rte_mbuf *
wait_at(struct resolve *r, struct worker_stats *stats, const struct waiting *to, uint64_t now,
	enum resolve_fate fate)
{
	static struct burst b;
	struct waiting x = *to;

	x.pkt = rte_pktmbuf_alloc(port_own_pool());
	assert_non_null(x.pkt);
	burst_init(&b, stats, false);
	role_enter_worker();
	assert_int_equal(resolve_add(r, &b, &x, 0, NULL, now), fate);
	return x.pkt;
}

/*
 * A scan of a subnet, 350 addresses a second, is bounded; packets of a neighbour with an answer after a
 * second, the time of the kernel for a second request, are not replaced. Time is counted, so the speed
 * of the machine changes nothing.
 */
static void
test_scan(void **state)
{
	static struct resolve r;
	static struct worker_stats stats;
	const uint64_t hz = 1000000000;
	const struct fib_reader *fib = fib_reader(lab.fib);
	struct waiting scanned = {.next_hop = NEXT_HOP_NONE, .port = 1},
		       to_hop = {.next_hop = hop.v, .list = list_to(hop, LABEL_NONE).v};
	struct rte_mbuf *kept[8];
	struct resolve_packet out[BURST_MAX];
	unsigned got, used, most = 0;
	uint64_t now = hz;
	char to[20];

	(void)state;
	assert_int_equal(ring_create(lab.arena, "gleans", GLEAN_RING - 1, &r.gleans), 0);
	resolve_init(&r, hz, now);
	for (unsigned i = 0; i < 700; i++, now += hz / 350) {
		snprintf(to, sizeof(to), "10.5.%u.%u", 1 + i / 250, 1 + i % 250);
		scanned.addr = lab_addr(to);
		wait_at(&r, &stats, &scanned, now, RESOLVE_WAITS);
		for (unsigned n = 0; i == 250 && n < 8; n++)
			kept[n] = wait_at(&r, &stats, &to_hop, now, RESOLVE_WAITS);
		if (i == 600)
			hop_up(hop, &plain);
		used = buffers - rte_mempool_avail_count(port_own_pool());
		most = used > most ? used : most;
		role_enter_worker();
		got = resolve_take(&r, fib, fib_read_begin(fib), NULL, now, out, BURST_MAX);
		assert_int_equal(got, i == 600 ? 8 : 0);
		for (unsigned n = 0; n < got; n++) {
			assert_ptr_equal(out[n].pkt, kept[n]);
			assert_false(out[n].failed);
			rte_pktmbuf_free(kept[n]);
		}
	}
	assert_true(most > RESOLVE_PACKETS / 2 && most <= RESOLVE_PACKETS);
	assert_int_equal(r.count + stats.drops[DROP_neighbor_queue], 700);
	/* after three seconds without an answer a further packet causes an error at once */
	rte_pktmbuf_free(wait_at(&r, &stats, &scanned, now + 3 * hz, RESOLVE_FAILED));
	resolve_fini(&r);
	ring_destroy(r.gleans);
	assert_int_equal(rte_mempool_avail_count(port_own_pool()), buffers);
	role_enter_fib();
	next_hop_down(lab.lists, hop, NEXT_HOP_UNRESOLVED);
}

/* RFC 4861 7.2.2, RFC 1122 2.3.2.2: an error about each packet. */
static void
test_failure(void **state)
{
	uint64_t start = lab_now_ns();
	unsigned count = 4;

	(void)state;
	begin();
	give_to("10.5.0.9");
	give_to("2001:db8:3::1");
	give_label("10.1.0.1", LABEL_SWITCHED); /* causes no error */
	give_to("10.5.0.9");
	give_to("2001:db8:3::1");
	wait_waiting(5);
	if (!lab_wait(as_many_seen, &count, 60))
		fail_msg("%u errors", seen_now());
	assert_true(lab_now_ns() - start > UINT64_C(2900000000));
	wait_waiting(0);
	assert_int_equal(lab_drops(DROP_unresolved), 5);
	assert_int_equal(worker_stats(0)->icmp_errors, 4);
	for (unsigned i = 0; i < 4; i++) {
		bool v6 = seen[i].b[12] == 0x86;
		const uint8_t *icmp = seen[i].b + (v6 ? 54 : 34);

		assert_memory_equal(icmp, v6 ? "\x01\x03" : "\x03\x01", 2);
	}
	/* further packets cause errors, too: at once, says test_scan() */
	give_to("10.5.0.9");
	count = 5;
	assert_true(lab_wait(as_many_seen, &count, 60));
	end();
}

/* After a change of tables the packets are looked up in the new tables. */
static void
test_other_tables(void **state)
{
	static struct lab_fib other;
	struct next_hop_id up;
	struct workers_config c = {.arena = lab.arena, .count = 1, .idle_adaptive = LAB_IDLE};
	struct dataplane_error err;
	unsigned readers[2];

	(void)state;
	lab_fib_up(&other);
	up = lab_next_hop(&other, IP(192, 0, 2, 77), 1, neighbour, 1500);
	lab_route(&other, IP(10, 3, 0, 0), 16, PATH_LIST_FORWARD, PORT_NONE, &up, 1);
	lab_commit(&other);
	assert_int_equal(qsbr_register(lab.qsbr, &readers[0]), 0);
	assert_int_equal(qsbr_register(other.qsbr, &readers[1]), 0);
	c.fib = fib_reader(lab.fib);
	c.qsbr = lab.qsbr;
	c.path_lists = lab.lists;
	c.readers = &readers[0];
	clear();
	assert_int_equal(workers_start(&c, &err), 0);
	for (unsigned i = 0; i < 20; i++)
		give_to("10.3.0.1");
	give_to("10.5.0.9"); /* without a route in the new tables */
	wait_waiting(21);
	c.fib = fib_reader(other.fib);
	c.qsbr = other.qsbr;
	c.path_lists = other.lists;
	c.readers = &readers[1];
	assert_int_equal(workers_switch(&c), 0);
	expect_numbers(1, 20);
	assert_true(lab_drops(DROP_no_route) >= 1); /* the error about it has no route, either */
	end();
	qsbr_unregister(lab.qsbr, readers[0]);
	qsbr_unregister(other.qsbr, readers[1]);
	lab_fib_down(&other);
}

/* The last test: the port of the packets is removed while they wait. */
static void
test_port_removed(void **state)
{
	struct dataplane_error err;

	(void)state;
	begin();
	for (unsigned i = 0; i < 20; i++)
		give_to("10.3.0.1");
	give_to("10.5.0.9");
	wait_waiting(21);
	port_unserve(0);
	assert_int_equal(workers_take_ports(&err), 0);
	hop_up(hop, &plain);
	wait_waiting(1);
	assert_true(lab_wait(as_many_seen, &(unsigned){20}, 60));
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(number_of(&seen[i]), 1 + i);
	end(); /* with a packet that waits */
}

static void
set_label(uint32_t label, struct label_entry e)
{
	role_enter_fib();
	assert_int_equal(label_table_set(fib_labels(lab.fib), label, &e), 0);
}

static int
setup(void **state)
{
	const struct port_config in = {
		.name = "in", .device = "net_null0,no-rx=1", .mpls = true, .mtu = 1500};
	struct ip_addr v4 = lab_addr("192.0.2.254"), v6 = lab_addr("2001:db8:a::fe");
	struct vrf_id instance = {INSTANCE};
	struct dataplane_error err;
	struct next_hop_id back;
	uint16_t port;

	(void)state;
	lab_eal_up(directory, 64);
	assert_int_equal(port_add(&in, &port, &err), 0);
	assert_int_equal(lab_port("out", "net_null1,no-rx=1"), 1);
	port_mac(0, in_mac);
	role_enter_host();
	port_icmp_source_set(0, AFI_IPV4, &v4);
	port_icmp_source_set(0, AFI_IPV6, &v6);
	lab_fib_up(&lab);
	hop = lost_hop(1);
	other_hop = lost_hop(2);
	back = lab_next_hop(&lab, IP(192, 0, 2, 9), 1, neighbour, 1500);
	lab_route(&lab, IP(11, 0, 0, 0), 8, PATH_LIST_FORWARD, PORT_NONE, &back, 1);
	lab_route_text(&lab, "2001:db8:100::/40", PATH_LIST_FORWARD, PORT_NONE, &back, 1);
	lab_route(&lab, IP(10, 3, 0, 0), 16, PATH_LIST_FORWARD, PORT_NONE, &hop, 1);
	lab_route_text(&lab, "2001:db8:3::/48", PATH_LIST_FORWARD, PORT_NONE, &hop, 1);
	set_list(VRF_DEFAULT, "10.4.0.0/16", list_to(hop, VPN_LABEL));
	lab_route(&lab, IP(10, 5, 0, 0), 16, PATH_LIST_GLEAN, 1, NULL, 0);
	lab_route_text(&lab, "2001:db8:5::/48", PATH_LIST_GLEAN, 1, NULL, 0);
	lab_route(&lab, IP(10, 8, 0, 0), 16, PATH_LIST_FORWARD, PORT_NONE,
		(struct next_hop_id[]){hop, other_hop}, 2);
	role_enter_fib();
	assert_int_equal(fib_instance_add(lab.fib, instance, AFI_IPV4), 0);
	set_list(instance, "10.7.0.0/16", list_to(hop, LABEL_NONE));
	set_label(LABEL_IN, (struct label_entry){.op = LABEL_POP_INSTANCE, .vrf = instance});
	set_label(LABEL_SWITCHED,
		(struct label_entry){
			.op = LABEL_SWAP, .list = list_to(hop, LABEL_NONE), .out = LABEL_OUT});
	lab_commit(&lab);
	buffers = rte_mempool_avail_count(port_own_pool());
	assert_non_null(rte_eth_add_rx_callback(port_ethdev(0), 0, receive, NULL));
	assert_non_null(rte_eth_add_tx_callback(port_ethdev(1), 0, transmit, NULL));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	dataplane_fini();
	lab_fib_down(&lab);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_subnet),
		cmocka_unit_test(test_next_hops), cmocka_unit_test(test_room_of_a_neighbour),
		cmocka_unit_test(test_scan), cmocka_unit_test(test_failure),
		cmocka_unit_test(test_other_tables), cmocka_unit_test(test_port_removed)};
	int failed;

	if (!cpu_has_level())
		return 77;
	role_enter_main();
	if (mkdtemp(directory) == NULL)
		return 1;
	failed = cmocka_run_group_tests(tests, setup, teardown);
	rmdir(directory);
	return failed;
}
