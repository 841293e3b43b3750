/* SPDX-License-Identifier: BSD-3-Clause */
/* The sink of the lab port detects lost, overtaken, misdirected and changed frames. */
#include "tests/dataplane/lab_port.h"
#include "tests/dataplane/lab.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define N 64

static struct lab_shared *ports;

static uint16_t
arrive(struct rte_mbuf **pkt)
{
	uint16_t n = rte_eth_rx_burst(port_ethdev(0), 0, pkt, N);

	for (unsigned i = 0; i < n; i++) { /* like a router */
		uint8_t *f = rte_pktmbuf_mtod(pkt[i], uint8_t *);

		if (f[12] == 0x08) {
			f[22]--;
			f[24] += 1;
			f[25] += f[24] == 0;
		} else {
			f[21]--;
		}
	}
	return n;
}

static void
leave_by(uint16_t port, struct rte_mbuf **pkt, uint16_t n)
{
	assert_int_equal(rte_eth_tx_burst(port_ethdev(port), 0, pkt, n), n);
}

static uint64_t
sum(size_t at)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < 2; i++)
		n += lab_count((const _Atomic uint64_t *)((const char *)&ports->side[i] + at));
	return n;
}
#define SUM(name) sum(offsetof(struct lab_side, name))

/* Class 0 leaves by port 0, class 1 by port 1. */
static void
leave_right(struct rte_mbuf **pkt, uint16_t n)
{
	struct rte_mbuf *to[2][N];
	uint16_t count[2] = {0};

	for (unsigned i = 0; i < n; i++) {
		unsigned class = rte_pktmbuf_mtod(pkt[i], const uint8_t *)[56 + 5];

		to[class][count[class]++] = pkt[i];
	}
	for (uint16_t port = 0; port < 2; port++)
		if (count[port] > 0)
			leave_by(port, to[port], count[port]);
}

static void
all_right(void **state)
{
	struct rte_mbuf *pkt[N];

	for (unsigned i = 0; i < 100; i++) {
		uint16_t n = arrive(pkt);

		assert_int_equal(n, N);
		leave_right(pkt, n);
	}
	assert_int_equal(SUM(sent), 100 * N);
	assert_int_equal(SUM(seen), 100 * N);
	assert_int_equal(SUM(checked), 100);
	assert_int_equal(SUM(misdirected) + SUM(reordered) + SUM(damaged) + SUM(foreign), 0);
}

static void
lost(void **state)
{
	struct rte_mbuf *pkt[N];
	uint64_t unseen = SUM(sent) - SUM(seen);
	uint16_t n = arrive(pkt);

	rte_pktmbuf_free(pkt[n - 1]);
	leave_right(pkt, (uint16_t)(n - 1));
	assert_int_equal(SUM(sent) - SUM(seen), unseen + 1);
}

static void
overtaken(void **state)
{
	uint64_t before = SUM(reordered);
	struct rte_mbuf *pkt[N], *first;
	uint16_t n = arrive(pkt);

	/* two frames of one port */
	first = pkt[0];
	pkt[0] = pkt[4];
	pkt[4] = first;
	leave_right(pkt, n);
	assert_true(SUM(reordered) > before);
}

/* Overtaken by frames that leave one by one. */
static void
overtaken_together(void **state)
{
	struct rte_mbuf *pkt[N], *later[N];
	uint16_t n = arrive(pkt), behind = arrive(later);
	uint64_t before;

	for (unsigned i = 0; i < behind; i++)
		leave_right(&later[i], 1);
	before = SUM(reordered);
	leave_right(pkt, n);
	assert_int_equal(SUM(reordered), before + 4); /* the first of each family and port */
}

static void
misdirected(void **state)
{
	uint64_t before = SUM(misdirected), wrong = 0;
	struct rte_mbuf *pkt[N];
	uint16_t n = arrive(pkt);

	for (unsigned i = 0; i < n; i++)
		wrong += rte_pktmbuf_mtod(pkt[i], const uint8_t *)[56 + 5] != 1;
	assert_true(wrong > 0);
	leave_by(1, pkt, n);
	assert_int_equal(SUM(misdirected), before + wrong);
	/* while both generations may be in use, both ports are right */
	atomic_store_explicit(&ports->allowed[0], 3, memory_order_relaxed);
	n = arrive(pkt);
	leave_by(1, pkt, n);
	assert_int_equal(SUM(misdirected), before + wrong);
	atomic_store_explicit(&ports->allowed[0], 1, memory_order_relaxed);
}

/* Only one in 64 consecutive frames is checked completely, so all of them are changed. */
static void
changed(void **state)
{
	static const unsigned place[] = {22, 24, 30,
		62}; /* TTL, checksum, destination; for IPv6 the bytes at these offsets */

	for (unsigned k = 0; k < sizeof(place) / sizeof(place[0]); k++) {
		uint64_t before = SUM(damaged);
		struct rte_mbuf *pkt[N];
		uint16_t n = arrive(pkt);

		for (unsigned i = 0; i < n; i++)
			rte_pktmbuf_mtod(pkt[i],
				uint8_t *)[rte_pktmbuf_mtod(pkt[i], uint8_t *)[12] == 0x86 &&
							   place[k] < 38
						   ? 21
						   : place[k]] ^= 1;
		leave_right(pkt, n);
		assert_int_equal(SUM(damaged), before + 1);
	}
}

static void
foreign(void **state)
{
	uint64_t before = SUM(foreign), seen = SUM(seen);
	struct rte_mbuf *pkt[N];
	uint16_t n = arrive(pkt);

	(void)rte_pktmbuf_append(pkt[0], 1);
	leave_right(pkt, n);
	assert_int_equal(SUM(foreign), before + 1);
	assert_int_equal(SUM(seen), seen + n - 1);
}

/* A buffer with a second owner is not freed before that owner frees it. */
static void
shared(void **state)
{
	struct rte_mbuf *pkt[N], *m;
	uint16_t n = arrive(pkt);

	m = pkt[0];
	rte_mbuf_refcnt_update(m, 1);
	leave_right(pkt, n);
	assert_int_equal(rte_mbuf_refcnt_read(m), 1);
	rte_pktmbuf_free(m);
}

/* A lab frame in a buffer of a different pool, as the kernel may send, is returned to that pool. */
static void
of_another_pool(void **state)
{
	struct rte_mempool *other =
		rte_pktmbuf_pool_create("other", N, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	uint64_t seen = SUM(seen);
	struct rte_mbuf *pkt[N], *m;
	uint16_t n = arrive(pkt);

	assert_non_null(other);
	m = rte_pktmbuf_alloc(other);
	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, LAB_FRAME), rte_pktmbuf_mtod(pkt[1], const void *), LAB_FRAME);
	rte_pktmbuf_free(pkt[1]);
	pkt[1] = m;
	leave_right(pkt, n);
	assert_int_equal(SUM(seen), seen + n);
	assert_int_equal(rte_mempool_avail_count(other), N);
	rte_mempool_free(other);
}

static void
limited(void **state)
{
	uint64_t sent = SUM(sent);
	struct rte_mbuf *pkt[N];
	uint16_t n;

	atomic_store_explicit(&ports->side[0].limit, sent + 10, memory_order_relaxed);
	n = arrive(pkt);
	assert_int_equal(n, 10);
	leave_right(pkt, n);
	assert_int_equal(arrive(pkt), 0);
	assert_int_equal(SUM(sent), sent + 10);
}

static void
make_flows(void)
{
	struct lab_flow_v4 *v4 = (struct lab_flow_v4 *)(uintptr_t)lab_flows_v4(ports);
	struct lab_flow_v6 *v6 = (struct lab_flow_v6 *)(uintptr_t)lab_flows_v6(ports);

	for (unsigned i = 0; i < 128; i++) {
		v4[i] = (struct lab_flow_v4){.dst = 0x0000000a + (i << 8), .class = i >> 1 & 1};
		v6[i] = (struct lab_flow_v6){.dst = {0x20, 1, 0xd, 0xb8, [15] = (uint8_t)i},
			.label = 0x60,
			.class = i >> 1 & 1};
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_right),
		cmocka_unit_test(lost),
		cmocka_unit_test(overtaken),
		cmocka_unit_test(overtaken_together),
		cmocka_unit_test(misdirected),
		cmocka_unit_test(changed),
		cmocka_unit_test(foreign),
		cmocka_unit_test(shared),
		cmocka_unit_test(of_another_pool),
		cmocka_unit_test(limited),
	};
	static char directory[] = "/tmp/keel-test-lab-port-XXXXXX";
	int failed;

	role_enter_main();
	if (mkdtemp(directory) == NULL)
		return 1;
	ports = lab_shared_create(NULL, 128, 128);
	assert_non_null(ports);
	make_flows();
	ports->v6_pattern = UINT64_C(0xf0f0f0f0f0f0f0f0);
	atomic_store_explicit(&ports->allowed[0], 1, memory_order_relaxed);
	atomic_store_explicit(&ports->allowed[1], 2, memory_order_relaxed);
	lab_eal_up(directory, 256);
	assert_int_equal(lab_port_enable(ports), 0);
	lab_port("lab0", "net_null_lab0,no-rx=1");
	lab_port("lab1", "net_null_lab1,no-rx=1");
	atomic_store_explicit(&ports->run, 1, memory_order_release);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	dataplane_fini();
	lab_shared_close(ports);
	rmdir(directory);
	return failed;
}
