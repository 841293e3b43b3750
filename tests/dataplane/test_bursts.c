/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs the real worker between a source and a sink, which are callbacks on two ports of net_null.
 * The test thus controls the content of each poll: bursts of every size, with and without a pause,
 * and buffers that cannot come from a file.
 */
#include "dataplane/forward/burst.h"
#include "dataplane/port/port_inner.h"
#include "lab.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mempool.h>

#define PASSES 20

static const uint8_t neighbour[6] = {0x02, 0, 0, 0, 0, 0x0a};

static char directory[] = "/tmp/keel-test-bursts-XXXXXX";
static struct lab_fib lab;
static uint8_t in_mac[6];
static unsigned buffers;

/* Used by the worker's thread between lab_workers_up() and workers_stop(). */
typedef unsigned source_fn(struct rte_mbuf **pkt, unsigned most);
static source_fn *source;
static uint32_t sent[2], seen[2]; /* by family */
static uint64_t spun; /* cycles spent in the sink */
static unsigned polls, pause_us;
static bool late, reordered;
static _Atomic bool source_dry;

/* Results of run(). */
static uint64_t drops[DROP_COUNT], busy_cycles, busy_packets;

/* Makes a frame with the next number of the family. */
static struct rte_mbuf *
numbered(bool v6)
{
	static const uint8_t from[16] = {0x20, 0x01, 0x0d, 0xb8, 1},
			     to[16] = {0x20, 0x01, 0x0d, 0xb8, 2};
	struct rte_mbuf *m = rte_pktmbuf_alloc(port_own_pool());
	static uint64_t seed = 1;
	struct lab_frame f;

	if (m == NULL)
		abort();
	if (v6)
		lab_udp6(&f, in_mac, from, to, 64, 4, &seed);
	else
		lab_udp(&f, in_mac, IP(11, 0, 0, 1), IP(10, 1, 2, 3), 64, 0, 4, &seed);
	lab_set32(f.b + f.len - 4, ++sent[v6]);
	memcpy(rte_pktmbuf_append(m, (uint16_t)f.len), f.b, f.len);
	return m;
}

static uint16_t
receive(uint16_t ethdev, uint16_t queue, struct rte_mbuf **pkt, uint16_t n, uint16_t most,
	void *ctx)
{
	return (uint16_t)source(pkt, most);
}

static uint16_t
transmit(uint16_t ethdev, uint16_t queue, struct rte_mbuf **pkt, uint16_t n, void *ctx)
{
	uint64_t begin = rte_rdtsc();

	for (unsigned i = 0; i < n; i++) {
		const uint8_t *f = rte_pktmbuf_mtod(pkt[i], const uint8_t *);
		bool v6 = f[12] == 0x86;
		const uint8_t *number = f + (v6 ? 62 : 42);

		reordered |= ((uint32_t)number[0] << 24 | (uint32_t)number[1] << 16 |
				     (uint32_t)number[2] << 8 | number[3]) != ++seen[v6];
	}
	rte_delay_us_block(pause_us);
	spun += rte_rdtsc() - begin;
	return n;
}

static void
run_dry(bool now)
{
	/* release: pairs with the load in dry() */
	atomic_store_explicit(&source_dry, now, memory_order_release);
}

static bool
dry(void *ctx)
{
	(void)ctx;
	/* acquire: pairs with the store in run_dry() */
	return atomic_load_explicit(&source_dry, memory_order_acquire);
}

/*
 * Runs until the source has no more packets, then stops the worker. Checks that no buffer is lost.
 */
static void
run(source_fn *fn)
{
	const struct worker_stats *s;

	source = fn;
	memset(sent, 0, sizeof(sent));
	memset(seen, 0, sizeof(seen));
	spun = polls = 0;
	late = reordered = false;
	run_dry(false);
	lab_workers_up(&lab);
	assert_true(lab_wait(dry, NULL, 300));
	s = worker_stats(0);
	for (unsigned i = 0; i < DROP_COUNT; i++)
		drops[i] = lab_drops((enum drop_reason)i);
	busy_cycles = atomic_load_explicit(&s->busy_cycles, memory_order_relaxed);
	busy_packets = atomic_load_explicit(&s->busy_packets, memory_order_relaxed);
	workers_stop();
	assert_false(late);
	assert_int_equal(rte_mempool_avail_count(port_own_pool()), buffers);
}

/* Polls 0 to 127 return 0 to 127 packets, poll 128 returns the maximum; then everything repeats. */
static unsigned
sizes(struct rte_mbuf **pkt, unsigned most)
{
	unsigned step = polls % (BURST_MAX + 1), pass = polls / (BURST_MAX + 1),
		 n = step < most ? step : most;
	static bool paused;

	/*
	 * a burst that was not full has been sent; a full burst has been sent after an empty poll
	 */
	late |= paused && (seen[0] != sent[0] || seen[1] != sent[1]);
	late |= sent[0] - seen[0] + sent[1] - seen[1] > BURST_MAX;
	if (pass == PASSES)
		n = 0;
	else
		polls++;
	run_dry(pass == PASSES && paused);
	/* each pass pauses at different polls and has a different mix */
	if (pass < PASSES && !paused && n == most && polls % 3 == pass % 3) {
		polls--;
		n = 0;
	}
	paused = n == 0;
	for (unsigned i = 0; i < n; i++)
		pkt[i] = numbered(pass % 4 == 0	  ? false
				  : pass % 4 == 1 ? true
						  : (i * 7 + step) % (pass + 1) < 2);
	return n;
}

static void
test_sizes(void **state)
{
	(void)state;
	run(sizes);
	assert_false(reordered);
	assert_true(sent[0] > PASSES * BURST_MAX && sent[1] > PASSES * BURST_MAX);
	assert_int_equal(seen[0], sent[0]);
	assert_int_equal(seen[1], sent[1]);
}

static bool both_families;

/*
 * A full burst of plain packets except for three short ones, whose buffers still contain old bytes
 * after the end.
 */
static unsigned
short_ones(struct rte_mbuf **pkt, unsigned most)
{
	struct rte_mbuf *second;

	if (polls++ > 0) {
		run_dry(polls > 2);
		return 0;
	}
	for (unsigned i = 0; i < most; i++) {
		pkt[i] = numbered(both_families && i % 2);
	}
	pkt[3]->data_len = pkt[3]->pkt_len = 8;
	pkt[5]->data_len = pkt[5]->pkt_len = 13;
	rte_pktmbuf_mtod(pkt[5], uint8_t *)[24] ^= 1; /* wrong checksum */
	pkt[8]->data_len = 8;
	second = rte_pktmbuf_alloc(port_own_pool());
	if (second == NULL)
		abort();
	second->data_len = 38;
	pkt[8]->next = second;
	pkt[8]->nb_segs = 2;
	return most;
}

/* The first buffer lacks a complete Ethernet header, which alone counts. */
static void
test_short(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		both_families = round == 1;
		run(short_ones);
		for (unsigned i = 0; i < DROP_COUNT; i++)
			assert_int_equal(drops[i], i == DROP_too_short ? 3 : 0);
		assert_int_equal(seen[0], both_families ? BURST_V4 / 2 - 1 : BURST_V4 - 3);
		assert_int_equal(seen[1], both_families ? BURST_V4 / 2 - 2 : 0);
	}
}

/* A single foreign frame of a burst, neither IPv4 nor IPv6, or from an own address: place and kind. */
static unsigned other_at;
static enum other { OTHER_MPLS, OTHER_ARP, OTHER_VLAN_0, OTHER_OWN_SOURCE, OTHERS } other_kind;

static void
from_own_address(uint8_t *frame, bool v6)
{
	struct lab_frame f;

	if (v6) {
		memcpy(frame + 22, lab_addr("2001:db8::254").b, 16);
		return;
	}
	memcpy(f.b, frame, 34);
	lab_set32(f.b + 26, IP(192, 0, 2, 254));
	lab_fix_checksum(&f);
	memcpy(frame, f.b, 34);
}

/* An address of this router, and, in another VRF, the source of all packets: each finds the filter set. */
static void
set_own_addresses(void)
{
	static const char *const own[] = {"192.0.2.254", "2001:db8::254"},
				 *const sources[] = {"11.0.0.1", "2001:db8:100::"};

	role_enter_host();
	for (unsigned i = 0; i < 2; i++) {
		struct ip_addr a = lab_addr(own[i]), b = lab_addr(sources[i]);

		assert_int_equal(port_local_address_set(LAB_VRF, &a, true), 0);
		assert_int_equal(
			port_local_address_set((struct vrf_id){LAB_VRF.v + 1}, &b, true), 0);
	}
}

/* A full burst of both families with the foreign frame. */
static unsigned
one_other(struct rte_mbuf **pkt, unsigned most)
{
	static const uint8_t type[OTHER_OWN_SOURCE][2] = {{0x88, 0x47}, {0x08, 0x06}, {0x81, 0x00}};

	if (polls++ > 0) {
		run_dry(polls > 2);
		return 0;
	}
	for (unsigned i = 0; i < most; i++) {
		bool v6 = i % 5 == 2;
		uint8_t *f;

		pkt[i] = numbered(v6);
		if (i != other_at)
			continue;
		if (other_kind == OTHER_VLAN_0) { /* forwarded like a frame without tag */
			f = (uint8_t *)rte_pktmbuf_prepend(pkt[i], 4);
			memmove(f, f + 4, 12);
			memset(f + 14, 0, 2);
		} else {
			f = rte_pktmbuf_mtod(pkt[i], uint8_t *);
			sent[v6]--; /* dropped, so the next packet gets the number */
		}
		if (other_kind == OTHER_OWN_SOURCE)
			from_own_address(f, v6);
		else
			memcpy(f + 12, type[other_kind], 2);
	}
	return most;
}

/* At each place the foreign frame meets the checks of its kind, and all IP packets are forwarded in order. */
static void
test_one_other(void **state)
{
	static const enum drop_reason reason[OTHERS] = {
		DROP_mpls_port, DROP_not_ipv4, DROP_COUNT, DROP_own_source};

	(void)state;
	for (other_kind = 0; other_kind < OTHERS; other_kind++)
		for (other_at = 0; other_at < BURST_V4; other_at++) {
			run(one_other);
			for (unsigned i = 0; i < DROP_COUNT; i++)
				assert_int_equal(drops[i], i == reason[other_kind]);
			assert_false(reordered);
			assert_int_equal(seen[0], sent[0]);
			assert_int_equal(seen[1], sent[1]);
			assert_int_equal(
				seen[0] + seen[1] + (other_kind != OTHER_VLAN_0), BURST_V4);
		}
}

static unsigned stripped;

/*
 * Packets of both families. For every third packet the device removed a VLAN tag; for every third,
 * a tag of zeros or with a priority only (no VLAN).
 */
static unsigned
stripped_ones(struct rte_mbuf **pkt, unsigned most)
{
	if (polls++ > 0) {
		run_dry(polls > 2);
		return 0;
	}
	for (unsigned i = 0; i < most; i++) {
		bool v6 = i % 2;

		pkt[i] = numbered(v6);
		if (i / 2 % 3 == 0)
			continue;
		pkt[i]->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
		if (i / 2 % 3 == 1) {
			pkt[i]->vlan_tci = (uint16_t)(i % 8 << 13);
			continue;
		}
		pkt[i]->vlan_tci = (uint16_t)(10 + i);
		sent[v6]--; /* dropped, so the next packet gets the number */
		stripped++;
	}
	return most;
}

static void
test_vlan_stripped(void **state)
{
	(void)state;
	run(stripped_ones);
	assert_true(stripped > 16);
	for (unsigned i = 0; i < DROP_COUNT; i++)
		assert_int_equal(drops[i], i == DROP_vlan_stripped ? stripped : 0);
	assert_false(reordered);
	assert_int_equal(seen[0], sent[0]);
	assert_int_equal(seen[1], sent[1]);
	assert_int_equal(seen[0] + seen[1] + stripped, BURST_V4);
}

/* Every burst is full and followed by a pause. */
static unsigned
trains(struct rte_mbuf **pkt, unsigned most)
{
	if (polls++ % 2 != 0 || polls > 200) {
		run_dry(polls > 202);
		return 0;
	}
	for (unsigned i = 0; i < most; i++)
		pkt[i] = numbered(false);
	return most;
}

/* Finishing a held burst counts as busy time, even if nothing is received meanwhile. */
static void
test_busy_cycles(void **state)
{
	(void)state;
	pause_us = 20;
	run(trains);
	pause_us = 0;
	assert_int_equal(busy_packets, 100 * BURST_V4);
	assert_int_equal(seen[0], busy_packets);
	assert_true(busy_cycles >= spun);
}

/* A route that still names a removed port: each packet is dropped for that reason. The last test, as the port stays removed. */
static void
test_port_removed(void **state)
{
	(void)state;
	port_unserve(1);
	run(trains);
	for (unsigned i = 0; i < DROP_COUNT; i++)
		assert_int_equal(drops[i], i == DROP_port_removed ? 100 * BURST_V4 : 0);
	assert_int_equal(seen[0], 0);
}

static int
setup(void **state)
{
	struct next_hop_id a;

	(void)state;
	lab_eal_up(directory, 64);
	assert_int_equal(lab_port("in", "net_null0,no-rx=1"), 0);
	assert_int_equal(lab_port("out", "net_null1,no-rx=1"), 1);
	port_mac(0, in_mac);
	lab_fib_up(&lab);
	a = lab_next_hop(&lab, IP(192, 0, 2, 1), 1, neighbour, 1500);
	lab_route(&lab, IP(10, 0, 0, 0), 8, PATH_LIST_FORWARD, PORT_NONE, &a, 1);
	lab_route_text(&lab, "2001:db8::/32", PATH_LIST_FORWARD, PORT_NONE, &a, 1);
	lab_commit(&lab);
	set_own_addresses();
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
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_short), cmocka_unit_test(test_one_other),
		cmocka_unit_test(test_vlan_stripped), cmocka_unit_test(test_busy_cycles),
		cmocka_unit_test(test_port_removed)};
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
