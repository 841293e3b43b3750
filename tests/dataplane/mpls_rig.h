/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One frame through the stages for labelled packets, from the label or the header of a UDP tunnel
 * to transmission or the ICMP error, in a buffer of its size for AddressSanitizer. The packet ends
 * in one place, inside its buffer. For test_mpls_input.c and the fuzzer fuzz_mpls.c.
 */
#pragma once

#include "dataplane/forward/forward.h"
#include "dataplane/forward/icmp.h"
#include "dataplane/forward/ip4.h"
#include "dataplane/forward/ip6.h"
#include "dataplane/forward/mpls.h"
#include "dataplane/forward/udp_tunnel.h"
#include "lab.h"
#include "lpm/fib_read.h"
#include "lpm/label_table.h"

#include <rte_ip.h>

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

static inline struct path_list_id
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

static inline void
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
static inline bool
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
	if (!udp_tunnel_take(&burst, m, ip, fib_reader(lab.fib)))
		return false;
	assert_int_equal(burst.mpls.count + burst.dropped_count, 1);
	return burst.mpls.count == 1;
}

static inline void
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
static inline void
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
static inline void
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

#define INPUT_SEED 2u
#define INPUT_MIN (INPUT_SEED + ETHER_LEN)
#define INPUT_MAX (INPUT_SEED + FRAME_MAX)

/*
 * An input of the fuzzer: two octets, which select the UDP tunnel if their lowest bit is set, and
 * the frame. Other lengths are ignored.
 */
static inline void
run_input(const uint8_t *data, size_t len)
{
	uint64_t seed;

	if (len < INPUT_MIN || len > INPUT_MAX)
		return;
	seed = (uint64_t)data[0] << 8 | data[1];
	run(data + INPUT_SEED, (unsigned)len - INPUT_SEED, seed & 1 ? UDP_TUNNEL_HEADERS : 0,
		&seed);
}

/* The tables, and this thread as their reader. Returns the number of the reader. */
static inline unsigned
reader_begin(void)
{
	unsigned reader;

	lab_fib_up(&lab);
	make_tables();
	assert_int_equal(qsbr_register(lab.qsbr, &reader), 0);
	qsbr_online(lab.qsbr, reader);
	return reader;
}

static inline void
reader_end(unsigned reader)
{
	qsbr_offline(lab.qsbr, reader);
	qsbr_unregister(lab.qsbr, reader);
}
