/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames of random octets through the stages for labelled packets, from the label or the header of a
 * UDP tunnel to transmission or the ICMP error, in buffers of their size for AddressSanitizer. Each packet ends in one place, inside
 * its buffer.
 *
 * KEEL_SEED (1), KEEL_RUNS (1,000,000; with sanitizers 200,000): for long runs.
 */
#include "dataplane/forward.h"
#include "dataplane/icmp.h"
#include "dataplane/ip4.h"
#include "dataplane/ip6.h"
#include "dataplane/mpls.h"
#include "dataplane/udp_tunnel.h"
#include "lab.h"
#include "lpm/fib_read.h"
#include "lpm/label_table.h"
#include "tests/fuzz/mutate.h"

#include <rte_ip.h>
#include "tests/lpm/size.h"

#ifdef KEEL_SANITIZED
#define RUNS 200000
#else
#define RUNS 1000000
#endif
#define FRAME_MAX 200u
#define TAIL 64 /* the stages read whole vectors; a buffer of a driver has more room */
#define LABELS 8u /* from LABEL_FIRST on */
#define PORTS 2
#define EDGE RTE_BE32(0xc6120002)
#define OWN RTE_BE32(0xc6120001)

static struct lab_fib lab;
static struct icmp_sources sources;
static struct worker_stats stats;
static struct burst burst, inner, errors;
static struct tx_buffer tx[PORTS];
static unsigned ended[4]; /* sent, dropped, waiting, faults */

static struct path_list_id
list_to(uint8_t number, bool up, unsigned labels, uint32_t label)
{
	struct adjacency adj = {.ether = {2, 0, 0, 0, 0, number},
		.ether_len = 14,
		.label_count = (uint8_t)labels,
		.port = number % PORTS,
		.mtu = 150,
		.label = {70, 71, 72, 73, 74, 75}};
	struct ip_addr a = addr_from_v4(IP(192, 0, 2, number));
	struct path path = {.label = label};
	struct path_list_id list;

	if (number == 7) { /* a UDP tunnel */
		adj.udp_source = OWN;
		adj.udp_destination = EDGE;
	}
	assert_int_equal(next_hop_get(lab.lists, VRF_DEFAULT, &a, adj.port, &path.next_hop), 0);
	if (up)
		assert_int_equal(next_hop_up(lab.lists, path.next_hop, &adj), 0);
	assert_int_equal(
		path_list_get(lab.lists, PATH_LIST_FORWARD, PORT_NONE, &path, 1, &list), 0);
	return list;
}

static void
make_tables(void)
{
	static const char *const prefixes[] = {"10.0.0.0/8", "128.0.0.0/1", "2000::/3"};
	struct label_entry entry[LABELS] = {{.op = LABEL_POP_INSTANCE, .vrf = {1}},
		{.op = LABEL_POP_INSTANCE, .vrf = {2}}, /* without a table */
		{.op = LABEL_POP_FORWARD, .list = list_to(1, true, 0, LABEL_NONE)},
		{.op = LABEL_SWAP,
			.list = list_to(2, true, PUSH_LABELS_MAX, LABEL_NONE),
			.out = 9000},
		{.op = LABEL_SWAP, .list = list_to(3, false, 0, LABEL_NONE), .out = 9001},
		{.op = LABEL_REMOVED}, {.op = LABEL_POP_FORWARD, .list = list_to(4, true, 2, 9002)},
		{.op = LABEL_SWAP_STACK, .list = list_to(1, true, 0, LABEL_NONE)}};

	assert_int_equal(fib_instance_add(lab.fib, (struct vrf_id){1}, AFI_IPV4), 0);
	assert_int_equal(fib_instance_add(lab.fib, (struct vrf_id){1}, AFI_IPV6), 0);
	for (unsigned i = 0; i < LABELS; i++)
		assert_int_equal(
			label_table_set(fib_labels(lab.fib), LABEL_FIRST + i, &entry[i]), 0);
	for (unsigned i = 0; i < 3; i++) {
		struct prefix p;

		assert_int_equal(prefix_parse(prefixes[i], &p), 0);
		assert_int_equal(
			fib_set(lab.fib, (struct vrf_id){1}, &p,
				list_to((uint8_t)(5 + i), true, i, i > 0 ? 9003 : LABEL_NONE)),
			0);
	}
	assert_int_equal(tunnel_sets_put(fib_tunnels(lab.fib), &(struct tunnel){EDGE, OWN}, 1), 0);
	lab_commit(&lab);
}

/*
 * Puts the packet into UDP, with some faults; what follows the Ethernet header keeps the checks of
 * IPv4. True: the packet is in the lane of labels.
 */
static bool
tunnel_in(struct rte_mbuf *m, uint64_t *seed)
{
	uint8_t *ip = rte_pktmbuf_mtod_offset(m, uint8_t *, ETHER_LEN);
	unsigned len = m->data_len - ETHER_LEN, most = len / 4 < 15 ? len / 4 : 15,
		 words = lab_below(seed, 8) ? 5 : 5 + lab_below(seed, most - 4),
		 total = lab_below(seed, 8) ? len
					    : 4 * words + lab_below(seed, len - 4 * words + 1);
	struct rte_ipv4_hdr h = {
		.version_ihl = (uint8_t)(0x40 | words),
		.total_length = rte_cpu_to_be_16((uint16_t)total),
		.fragment_offset = lab_below(seed, 8) ? 0 : (uint16_t)lab_random(seed),
		.next_proto_id = lab_below(seed, 8) ? IPPROTO_UDP : 6,
		.src_addr = lab_below(seed, 8) ? EDGE : (uint32_t)lab_random(seed),
		.dst_addr = OWN,
	};
	uint16_t udp[4] = {0, RTE_BE16(UDP_TUNNEL_PORT),
		rte_cpu_to_be_16((
			uint16_t)(lab_below(seed, 8) ? total - 4 * words : lab_below(seed, 65536))),
		lab_below(seed, 8) ? 0 : (uint16_t)lab_random(seed)};

	memcpy(ip, &h, sizeof(h));
	if (4 * words + sizeof(udp) <= len)
		memcpy(ip + 4 * words, udp, sizeof(udp));
	if (!udp_tunnel_take(&burst, m, ip, fib_reader(lab.fib)->tunnels))
		return false;
	assert_int_equal(burst.mpls.count + burst.dropped_count, 1);
	return burst.mpls.count == 1;
}

static void
check_inside(const struct rte_mbuf *m, const uint8_t *buffer)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	unsigned sum = 0;

	assert_true(m->pkt_len == m->data_len && m->data_len >= ETHER_LEN);
	assert_true(p >= buffer && p + m->data_len <= buffer + m->buf_len - TAIL);
	for (unsigned i = 0; i < m->data_len; i++)
		sum += p[i];
	assert_true(sum != 1); /* reads all octets */
}

/* Faults become ICMP errors in their buffers. */
static void
answer(const uint8_t *buffer)
{
	burst_init(&errors, &stats, true);
	for (unsigned i = 0; i < inner.fault_count; i++) {
		const struct fault *f = &inner.fault[i];

		if (icmp_allowed(f) && icmp_make(&errors, f, &sources, 0))
			check_inside(f->pkt, buffer);
	}
}

/* `tunnel`: 0, or the octets of the headers of a UDP tunnel before the packet. */
static void
run(const uint8_t *data, unsigned len, unsigned tunnel, uint64_t *seed)
{
	const struct fib_generation *g = fib_read_begin(fib_reader(lab.fib));
	uint8_t options = data[0], *frame,
		*buffer = malloc(RTE_PKTMBUF_HEADROOM + tunnel + len + TAIL);
	struct mpls_from from = {.vrf = VRF_DEFAULT, .allowed = (options & 0x0f) != 0};
	struct outbox out = {.tx = tx, .ports = PORTS, .pipe = options & 0x10};
	struct rte_mbuf m = {.buf_addr = buffer,
		.buf_len = (uint16_t)(RTE_PKTMBUF_HEADROOM + tunnel + len + TAIL),
		.data_off = RTE_PKTMBUF_HEADROOM,
		.data_len = (uint16_t)(tunnel + len),
		.pkt_len = tunnel + len,
		.nb_segs = 1};
	unsigned sent, count;

	assert_non_null(buffer);
	memset(buffer, 0, m.buf_len);
	frame = buffer + RTE_PKTMBUF_HEADROOM + tunnel;
	memcpy(frame, data, len);
	if ((options & 0xe0) != 0 && len >= 18) { /* mostly a known label */
		uint32_t label = LABEL_FIRST + frame[14] % LABELS;

		frame[14] = (uint8_t)(label >> 12);
		frame[15] = (uint8_t)(label >> 4);
		frame[16] = (uint8_t)(label << 4 | (frame[16] & 15));
	}
	if (options & 1)
		frame[0] &= 0xfe;
	burst_init(&burst, &stats, false);
	burst_init(&inner, &stats, false);
	inner.each = true;
	if (tunnel == 0) {
		burst.mpls.pkt[0] = &m;
		burst.mpls.ip[0] = frame + ETHER_LEN;
		burst.mpls.count = 1;
	} else if (!tunnel_in(&m, seed)) {
		free(buffer);
		return;
	}
	tx[0].count = tx[1].count = 0;
	mpls_finish(&burst, &inner, &from, fib_reader(lab.fib), g, &out);
	if (inner.v4.count > 0)
		ip4_classify(&inner);
	if (inner.v6.count > 0)
		ip6_classify(&inner);
	if (inner.v4.count > 0)
		ip4_finish_each(&inner, fib_reader(lab.fib), g, &out);
	if (inner.v6.count > 0)
		ip6_finish_each(&inner, fib_reader(lab.fib), g, &out);
	sent = tx[0].count + tx[1].count;
	count = sent + inner.dropped_count + inner.waiting_count + inner.fault_count;
	if (count != 1)
		fail_msg("the packet ended in %u places", count);
	assert_true((out.pending == 0) == (sent == 0));
	if (sent > 0)
		check_inside(&m, buffer);
	answer(buffer);
	ended[0] += sent;
	ended[1] += inner.dropped_count;
	ended[2] += inner.waiting_count;
	ended[3] += inner.fault_count;
	free(buffer);
}

/* A frame with one or two labels above IPv4 or IPv6, then some mutations. */
static unsigned
make_input(uint8_t *to, uint64_t *seed)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1}, v6[16] = {0x20, 1, 0xd, 0xb8, 1};
	unsigned labels = 1 + lab_below(seed, 3), changes = lab_below(seed, 6);
	struct lab_frame f;
	size_t len;

	if (lab_below(seed, 2))
		lab_udp(&f, mac, IP(11, 1, 1, 1), IP(10, 1, 1, 1), (uint8_t)lab_below(seed, 256),
			lab_below(seed, 3), lab_below(seed, 80), seed);
	else
		lab_udp6(&f, mac, v6, v6, (uint8_t)lab_below(seed, 256), lab_below(seed, 60), seed);
	memcpy(to, f.b, ETHER_LEN);
	len = ETHER_LEN;
	for (unsigned i = 0; i < labels; i++, len += 4)
		lab_set32(to + len, (lab_below(seed, 3) ? LABEL_FIRST + lab_below(seed, LABELS)
							: lab_below(seed, 4))
						    << 12 |
					    (uint32_t)(i + 1 == labels) << 8 |
					    lab_below(seed, 256));
	memcpy(to + len, f.b + ETHER_LEN, f.len - ETHER_LEN);
	len += f.len - ETHER_LEN;
	if (lab_below(seed, 8) == 0)
		len = ETHER_LEN + lab_below(seed, (uint32_t)(len - ETHER_LEN));
	for (unsigned i = 0; i < changes; i++)
		len = mutate(to, len, FRAME_MAX, seed);
	to[0] = (uint8_t)lab_random(seed); /* the options, and the first octet of the frame */
	return len < ETHER_LEN ? ETHER_LEN : (unsigned)len;
}

static void
test_input(void **state)
{
	uint64_t seed = test_setting("KEEL_SEED", 1), runs = test_setting("KEEL_RUNS", RUNS);
	uint8_t input[FRAME_MAX + 32];
	unsigned reader;

	(void)state;
	lab_fib_up(&lab);
	make_tables();
	assert_int_equal(qsbr_register(lab.qsbr, &reader), 0);
	qsbr_online(lab.qsbr, reader);
	for (uint64_t i = 0; i < runs; i++)
		run(input, make_input(input, &seed), lab_below(&seed, 3) ? 0 : UDP_TUNNEL_HEADERS,
			&seed);
	qsbr_offline(lab.qsbr, reader);
	qsbr_unregister(lab.qsbr, reader);
	print_message("%u sent, %u dropped, %u waiting, %u faults\n", ended[0], ended[1], ended[2],
		ended[3]);
	for (unsigned i = 0; i < 4; i++)
		assert_true(ended[i] > 0);
	for (unsigned i = DROP_mpls_port; i <= DROP_udp_checksum; i++)
		assert_true(stats.drops[i] > 0);
	lab_fib_down(&lab);
}

/* Gives a tunnel packet of `chain` buffers to udp_tunnel_take(). */
static struct rte_mbuf
take_tunnel(uint8_t *buffer, unsigned len, uint16_t chain)
{
	const unsigned total = 20 + 8 + 4; /* a label alone; Ethernet padding follows */
	struct rte_ipv4_hdr h = {.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = RTE_BE16(20 + 8 + 4),
		.next_proto_id = IPPROTO_UDP,
		.src_addr = EDGE,
		.dst_addr = OWN};
	uint16_t udp[4] = {0, RTE_BE16(UDP_TUNNEL_PORT), RTE_BE16(8 + 4), 0};
	struct rte_mbuf m = {.buf_addr = buffer,
		.buf_len = (uint16_t)len,
		.data_len = (uint16_t)(ETHER_LEN + total),
		.pkt_len = ETHER_LEN + total + 100u * (chain - 1u),
		.nb_segs = chain,
		.ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD};

	memcpy(buffer + ETHER_LEN, &h, sizeof(h));
	memcpy(buffer + ETHER_LEN + sizeof(h), udp, sizeof(udp));
	burst_init(&burst, &stats, false);
	assert_true(udp_tunnel_take(&burst, &m, buffer + ETHER_LEN, fib_reader(lab.fib)->tunnels));
	return m;
}

/* Of a chain the tunnel takes no packet: padding in later buffers would follow the MPLS packet. */
static void
test_buffers(void **state)
{
	uint8_t buffer[128] = {0};
	uint64_t dropped;
	struct rte_mbuf m;

	(void)state;
	lab_fib_up(&lab);
	make_tables();
	m = take_tunnel(buffer, sizeof(buffer), 1);
	assert_int_equal(burst.mpls.count, 1);
	assert_int_equal(m.pkt_len, ETHER_LEN + 4);
	/* the checksum of an IPv4 header below the label is unknown */
	assert_int_equal(m.ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK, 0);
	dropped = stats.drops[DROP_udp_short];
	(void)take_tunnel(buffer, sizeof(buffer), 2);
	assert_int_equal(burst.mpls.count, 0);
	assert_int_equal(burst.dropped_count, 1);
	assert_int_equal(stats.drops[DROP_udp_short], dropped + 1);
	lab_fib_down(&lab);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buffers),
		cmocka_unit_test(test_input),
	};

	role_enter_main();
	role_enter_worker();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
