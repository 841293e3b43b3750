/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loops with the work of l3fwd, its checks (header length and version) and its rewrite (sixteen bytes of Ethernet header blended, TTL
 * and checksum stepped), for each lookup function, in bursts of any size up to BURST.
 */
#include "tests/bench/bench_forward.h"
#include "tests/bench/bench.h"

#include <rte_cpuflags.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_ip.h>
#include <rte_launch.h>
#include <rte_lpm.h>
#include <rte_lpm6.h>
#include <rte_prefetch.h>
#include <stdatomic.h>

#define BURST 256
#define HOPS_MAX 16
#define PORTS 2
#define ETHER 14
#define AHEAD 4

struct hop {
	alignas(16) uint8_t ether[16];
	uint16_t port;
};

struct buffer {
	struct rte_mbuf *pkt[BURST];
	uint16_t count;
};

static struct {
	struct rte_lpm *lpm;
	struct rte_lpm6 *lpm6;
	struct rte_fib *fib;
	struct rte_fib6 *fib6;
	bool avx512;
	struct hop hop[HOPS_MAX]; /* by path list; 0: no route */
	uint16_t ethdev[PORTS];
	uint16_t burst; /* of the loop to be started */
	_Atomic bool stop;
} o;

void
forward_lpm_set(struct rte_lpm *lpm)
{
	o.lpm = lpm;
}

void
forward_hop_set(uint32_t list, uint16_t port, const uint8_t ether[12])
{
	if (list >= HOPS_MAX)
		die("too many path lists");
	memcpy(o.hop[list].ether, ether, 12);
	o.hop[list].port = port;
}

void
forward_port_set(uint16_t port, uint16_t ethdev)
{
	o.ethdev[port] = ethdev;
}

/* ---- tables ---- */

/* Two octets an entry, like the tables of the worker: four are 8 % slower (AVX-512). rte_lpm always has four. */
static void
make_v4(const struct prefix *route, const uint8_t *hop, const struct path_list_id *list,
	size_t count)
{
	struct rte_fib_conf c = {.type = RTE_FIB_DIR24_8,
		.max_routes = (int)count + 1,
		.dir24_8 = {.nh_sz = RTE_FIB_DIR24_8_2B, .num_tbl8 = 4096}};

	o.fib = rte_fib_create("bench", 0, &c);
	if (o.fib == NULL)
		die("rte_fib_create: %s", rte_strerror(rte_errno));
	for (size_t i = 0; i < count; i++)
		if (rte_fib_add(o.fib, prefix_v4(&route[i]), route[i].len, list[hop[i]].v) != 0)
			die("rte_fib_add");
	o.avx512 = rte_fib_select_lookup(o.fib, RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512) == 0;
}

/* Four octets an entry: two octets are too few for the groups of these routes. */
static void
make_v6(const struct prefix *route, const uint8_t *hop, const struct path_list_id *list,
	size_t count)
{
	struct rte_lpm6_config lpm = {.max_rules = (uint32_t)count + 1, .number_tbl8s = 100000};
	struct rte_fib6_conf trie = {.type = RTE_FIB6_TRIE,
		.max_routes = (int)count * 2,
		.trie = {.nh_sz = RTE_FIB6_TRIE_4B, .num_tbl8 = 1u << 19}};

	o.lpm6 = rte_lpm6_create("bench", 0, &lpm);
	o.fib6 = rte_fib6_create("bench", 0, &trie);
	if (o.lpm6 == NULL || o.fib6 == NULL)
		die("rte_lpm6_create, rte_fib6_create: %s", rte_strerror(rte_errno));
	for (size_t i = 0; i < count; i++)
		if (rte_lpm6_add(o.lpm6, (const void *)route[i].b, route[i].len, list[hop[i]].v) !=
				0 ||
			rte_fib6_add(o.fib6, (const void *)route[i].b, route[i].len,
				list[hop[i]].v) != 0)
			die("rte_lpm6_add, rte_fib6_add: route %zu", i);
	o.avx512 = rte_fib6_select_lookup(o.fib6, RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512) == 0;
}

void
forward_tables_make(const struct prefix *route, const uint8_t *hop, const struct path_list_id *list,
	size_t count, bool v6)
{
	if (v6)
		make_v6(route, hop, list, count);
	else
		make_v4(route, hop, list, count);
}

bool
forward_has(enum forward_kind kind)
{
	return kind != FORWARD_FIB_AVX512 || o.avx512;
}

/* ---- the loop ---- */

static inline void
send_all(struct buffer *to)
{
	for (unsigned port = 0; port < PORTS; port++) {
		uint16_t sent;

		if (to[port].count == 0)
			continue;
		sent = rte_eth_tx_burst(o.ethdev[port], 0, to[port].pkt, to[port].count);
		if (sent < to[port].count)
			rte_pktmbuf_free_bulk(&to[port].pkt[sent], to[port].count - sent);
		to[port].count = 0;
	}
}

static inline void
rewrite(struct rte_mbuf *m, const struct hop *h)
{
	uint8_t *f = rte_pktmbuf_mtod(m, uint8_t *);
	__m128i was = _mm_loadu_si128((const __m128i *)f);

	_mm_storeu_si128((__m128i *)f,
		_mm_blend_epi16(was, _mm_load_si128((const __m128i *)h->ether), 0x3f));
}

/* rfc1812_process of l3fwd. False: drop. */
static inline bool
step_v4(struct rte_mbuf *m)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, ETHER);
	uint8_t ihl = (uint8_t)(ip->version_ihl - RTE_IPV4_MIN_IHL - (4 << 4));

	ip->time_to_live--;
	ip->hdr_checksum++;
	return ihl <= RTE_IPV4_HDR_IHL_MASK - RTE_IPV4_MIN_IHL;
}

static inline __attribute__((always_inline)) void
look_up_v4(enum forward_kind kind, const uint32_t *ip, uint32_t *list, unsigned n)
{
	uint64_t found[BURST];

	if (kind == FORWARD_LPM) {
		rte_lpm_lookup_bulk(o.lpm, ip, list, n);
		for (unsigned i = 0; i < n; i++)
			list[i] = list[i] & RTE_LPM_LOOKUP_SUCCESS ? list[i] & 0xffffff : 0;
		return;
	}
	rte_fib_lookup_bulk(o.fib, (uint32_t *)(uintptr_t)ip, found, (int)n);
	for (unsigned i = 0; i < n; i++)
		list[i] = (uint32_t)found[i];
}

static inline __attribute__((always_inline)) void
look_up_v6(enum forward_kind kind, uint8_t (*ip)[16], uint32_t *list, unsigned n)
{
	uint64_t found[BURST];
	int32_t found6[BURST];

	if (kind == FORWARD_LPM) {
		rte_lpm6_lookup_bulk_func(o.lpm6, (void *)ip, found6, n);
		for (unsigned i = 0; i < n; i++)
			list[i] = found6[i] < 0 ? 0 : (uint32_t)found6[i];
		return;
	}
	rte_fib6_lookup_bulk(o.fib6, (void *)ip, found, (int)n);
	for (unsigned i = 0; i < n; i++)
		list[i] = (uint32_t)found[i];
}

static inline __attribute__((always_inline)) void
destinations(struct rte_mbuf *const *pkt, unsigned n, bool v6, uint32_t *v4, uint8_t (*at)[16])
{
	for (unsigned i = 0; i < n && i < AHEAD; i++)
		rte_prefetch0(rte_pktmbuf_mtod(pkt[i], void *));
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *f = rte_pktmbuf_mtod(pkt[i], const uint8_t *);

		if (i + AHEAD < n)
			rte_prefetch0(rte_pktmbuf_mtod(pkt[i + AHEAD], void *));
		if (v6)
			memcpy(at[i], f + 38, 16);
		else
			v4[i] = rte_be_to_cpu_32(*(const unaligned_uint32_t *)(f + 30));
	}
}

static inline __attribute__((always_inline)) void
forward_burst(enum forward_kind kind, bool v6, struct rte_mbuf **pkt, unsigned n, struct buffer *to)
{
	uint8_t ip6[BURST][16];
	uint32_t ip4[BURST], list[BURST];

	destinations(pkt, n, v6, ip4, ip6);
	if (v6)
		look_up_v6(kind, ip6, list, n);
	else
		look_up_v4(kind, ip4, list, n);
	for (unsigned i = 0; i < n; i++) {
		const struct hop *h = &o.hop[list[i] < HOPS_MAX ? list[i] : 0];

		if (v6)
			rte_pktmbuf_mtod_offset(pkt[i], struct rte_ipv6_hdr *, ETHER)->hop_limits--;
		if (list[i] == 0 || (!v6 && !step_v4(pkt[i]))) {
			rte_pktmbuf_free(pkt[i]);
			continue;
		}
		rewrite(pkt[i], h);
		to[h->port].pkt[to[h->port].count++] = pkt[i];
	}
	send_all(to);
}

/* `kind` and `v6` are constants after inlining. */
static inline __attribute__((always_inline)) int
loop(enum forward_kind kind, bool v6)
{
	struct rte_mbuf *pkt[BURST];
	struct buffer to[PORTS] = {{.count = 0}};
	uint16_t burst = o.burst;

	while (!atomic_load_explicit(&o.stop, memory_order_relaxed)) {
		for (unsigned port = 0; port < PORTS; port++) {
			unsigned n = rte_eth_rx_burst(o.ethdev[port], 0, pkt, burst);

			if (n == 0)
				continue;
			if (kind == FORWARD_IO)
				(void)rte_eth_tx_burst(o.ethdev[port], 0, pkt, (uint16_t)n);
			else
				forward_burst(kind, v6, pkt, n, to);
		}
	}
	return 0;
}

#define LOOP(name, kind, v6)                                                                       \
	static int loop_##name(void *unused)                                                       \
	{                                                                                          \
		return loop(kind, v6);                                                             \
	}
LOOP(io, FORWARD_IO, false)
LOOP(lpm, FORWARD_LPM, false)
LOOP(fib, FORWARD_FIB, false)
LOOP(lpm6, FORWARD_LPM, true)
LOOP(fib6, FORWARD_FIB, true)
#undef LOOP

static void
select_lookup(enum forward_kind kind, bool v6)
{
	bool vector = kind == FORWARD_FIB_AVX512;

	if (kind < FORWARD_FIB)
		return;
	if ((v6 ? rte_fib6_select_lookup(o.fib6,
			  vector ? RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512 : RTE_FIB6_LOOKUP_TRIE_SCALAR)
		: rte_fib_select_lookup(o.fib, vector ? RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512
						      : RTE_FIB_LOOKUP_DIR24_8_SCALAR_MACRO)) != 0)
		die("select_lookup");
}

void
forward_start(enum forward_kind kind, bool v6, unsigned burst)
{
	lcore_function_t *f = kind == FORWARD_IO    ? loop_io
			      : kind == FORWARD_LPM ? (v6 ? loop_lpm6 : loop_lpm)
						    : (v6 ? loop_fib6 : loop_fib);

	select_lookup(kind, v6);
	o.burst = (uint16_t)(burst < BURST ? burst : BURST);
	atomic_store_explicit(&o.stop, false, memory_order_relaxed);
	if (rte_eal_remote_launch(f, NULL, 1) != 0)
		die("rte_eal_remote_launch");
}

void
forward_stop(void)
{
	atomic_store_explicit(&o.stop, true, memory_order_relaxed);
	(void)rte_eal_wait_lcore(1);
}
