/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets through the loop of a worker, from the receive queue and from the kernel to transmission, ICMP
 * errors, fragments and the rings of the host path, without EAL: the burst functions of ethdev and the pool of packet
 * buffers are this file's, so AddressSanitizer guards each buffer. For test_wire_input.c and the fuzzer
 * fuzz_wire.c.
 *
 * An input: an octet of options (RIG_...), then packets, each with a head of four octets: flags of the
 * packet (MEND_...), offload flags, where to cut the packet into buffers (0: nowhere), octets of the
 * frame / 4; and the frame.
 */
#pragma once

#include "dataplane/port/host_peers.h"
#include "dataplane/forward/icmp.h"
#include "dataplane/forward/mpls.h"
#include "dataplane/forward/udp_tunnel.h"
#include "dataplane/forward/worker_struct.h"
#include "lab.h"
#include "lpm/label_table.h"
#include "lpm/base/ring.h"
#include "lpm/tunnel_set.h"

#include <rte_ethdev.h>
#include <rte_mempool.h>

#define RIG_PIPE 0x01
#define RIG_MPLS 0x02 /* the port takes labels */
#define RIG_WAY 0x0c /* enum host_way */
#define RIG_CHAINS 0x10 /* the worker expects packets in several buffers */
#define RIG_OTHER_VRF 0x20
#define RIG_KERNEL                                                                                 \
	0x40 /* of three packets, one is a frame of the port's TAP, one a packet of keel0 */
#define RIG_VLANS 0x80 /* the first port has the others on VLANs 10, and 20 with 7 */
#define MEND_V4 0x01 /* right total length and checksum */
#define MEND_MAC 0x02 /* addressed to the port */
#define MEND_LABEL 0x04 /* a label of the table */
#define MEND_FILL 0x70 /* times 256 octets behind the frame, which belong to the packet */
#define MEND_UDP 0x80 /* below the headers of a UDP tunnel */

#define HEAD 4u
#define PACKETS 32u
#define FRAME_MAX 4096u
#define TAP_FRAME_MIN 60u /* host_path.c pads */
#define ROOM 2304 /* of a buffer for copies and fragments; less than the longest packet */
#define TAIL 64 /* the stages read whole vectors; a buffer of a driver has more room */
#define PORTS 3
#define LABELS 8u
#define EDGE RTE_BE32(0xc6120002)
#define OWN RTE_BE32(0xc6120001)

static struct lab_fib lab;
static struct worker *worker;
static struct icmp_sources sources;
static struct host_peers peers;
static struct own_addresses own_addresses;
static _Atomic uint64_t mac_word;
static const uint8_t port_mac_bytes[6] = {2, 'w', 'i', 'r', 'e', 1};

/* ---- packet buffers ---- */

static struct {
	struct rte_mempool pool;
	struct rte_pktmbuf_pool_private private;
} buffers;
static long live; /* buffers in use */

/* A buffer with exactly this room behind the headroom. */
static inline struct rte_mbuf *
buffer_new(unsigned room)
{
	unsigned len = RTE_PKTMBUF_HEADROOM + room;
	struct rte_mbuf *m = calloc(1, sizeof(*m) + len);

	assert_non_null(m);
	m->buf_addr = m + 1;
	m->buf_len = (uint16_t)len;
	m->pool = &buffers.pool;
	rte_mbuf_refcnt_set(m, 1);
	rte_pktmbuf_reset(m);
	live++;
	return m;
}

static inline int
pool_enqueue(struct rte_mempool *mp, void *const *obj, unsigned n)
{
	(void)mp;
	for (unsigned i = 0; i < n; i++)
		free(obj[i]);
	live -= (long)n;
	return 0;
}

static inline int
pool_dequeue(struct rte_mempool *mp, void **obj, unsigned n)
{
	(void)mp;
	for (unsigned i = 0; i < n; i++)
		obj[i] = buffer_new(buffers.private.mbuf_data_room_size - RTE_PKTMBUF_HEADROOM);
	return 0;
}

static inline int
pool_alloc(struct rte_mempool *mp)
{
	(void)mp;
	return 0;
}

static inline unsigned
pool_count(const struct rte_mempool *mp)
{
	(void)mp;
	return 1u << 16;
}

static inline void
make_pool(void)
{
	static const struct rte_mempool_ops ops = {.name = "keel_rig",
		.alloc = pool_alloc,
		.enqueue = pool_enqueue,
		.dequeue = pool_dequeue,
		.get_count = pool_count};

	buffers.pool.ops_index = rte_mempool_register_ops(&ops);
	assert_true(buffers.pool.ops_index >= 0);
	buffers.pool.private_data_size = sizeof(buffers.private);
	buffers.private.mbuf_data_room_size = RTE_PKTMBUF_HEADROOM + ROOM;
}

/* ---- the device ---- */

static struct rte_mbuf *queue[PACKETS];
static unsigned given, queued, sent_v4, sent_all;
static unsigned longest_sent[PORTS]; /* octets */
static bool labelled; /* some packet of the input may have labels */

/*
 * After the last packet: packets waiting for a neighbour are looked up again, then the neighbours fail,
 * then the worker gets the order to stop.
 */
static inline void
run_dry(void)
{
	struct resolve *r = &worker->resolve;
	static bool again;

	if (r->count == 0 && worker->held == NULL) {
		atomic_store_explicit(&worker->order, WORKER_STOP, memory_order_relaxed);
		r->give_up = UINT64_MAX;
		again = false;
	} else if (!again) {
		resolve_forget_tables(r);
		again = true;
	} else {
		r->give_up = r->next_look = 0;
	}
}

static inline uint16_t
rig_receive(void *q, struct rte_mbuf **to, uint16_t most)
{
	uint16_t n = 0;

	(void)q;
	while (n < queued && n < most) {
		to[n] = queue[n];
		n++;
	}
	queued = 0;
	if (n == 0)
		run_dry();
	return n;
}

/*
 * What leaves is whole, inside its buffers, and, as IPv4, as long as it says, or padded. Who pops the
 * label for a next hop does not judge the packet below.
 */
static inline void
check_sent(const struct rte_mbuf *m)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	static volatile unsigned octets; /* each octet is read */
	unsigned sum = 0, all = 0;

	assert_true(m->data_len >= ETHER_LEN + 1u);
	for (const struct rte_mbuf *s = m; s != NULL; s = s->next) {
		assert_true(s->data_off + s->data_len <= s->buf_len);
		for (unsigned i = 0; i < s->data_len; i++)
			sum += rte_pktmbuf_mtod(s, const uint8_t *)[i];
		all += s->data_len;
	}
	octets = sum;
	(void)octets;
	assert_true(all == m->pkt_len);
	sent_all++;
	if (p[12] == 0x08 && p[13] == 0x00 && p[ETHER_LEN] >> 4 == 4 &&
		m->data_len >= ETHER_LEN + 20u) {
		assert_true(labelled || m->pkt_len >= ETHER_LEN + p[16] * 256u + p[17]);
		sent_v4++;
	}
}

static inline uint16_t
rig_transmit(void *q, struct rte_mbuf **m, uint16_t n)
{
	uint16_t accepted = n > 60 ? 60 : n; /* sometimes the queue is full */
	unsigned *longest = q;

	for (uint16_t i = 0; i < accepted; i++) {
		check_sent(m[i]);
		*longest = m[i]->pkt_len > *longest ? m[i]->pkt_len : *longest;
	}
	rte_pktmbuf_free_bulk(m, accepted);
	return accepted;
}

static inline void
make_device(void)
{
	static void *none[1], *longest_of[PORTS];

	for (unsigned i = 0; i < PORTS; i++) {
		rte_eth_fp_ops[i].rx_pkt_burst = rig_receive;
		rte_eth_fp_ops[i].tx_pkt_burst = rig_transmit;
		rte_eth_fp_ops[i].rxq.data = rte_eth_fp_ops[i].rxq.clbk = none;
		longest_of[i] = &longest_sent[i];
		rte_eth_fp_ops[i].txq.data = &longest_of[i];
		rte_eth_fp_ops[i].txq.clbk = none;
	}
}

/* ---- tables ---- */

enum rig_hop { HOP_PLAIN = 1, HOP_SMALL, HOP_LABELS, HOP_UDP, HOP_DOWN, HOP_TINY };

static inline struct path
path_to(enum rig_hop number, uint32_t label)
{
	struct adjacency adj = {.ether = {2, 0, 0, 0, 0, (uint8_t)number},
		.ether_len = 14,
		.port = number % PORTS,
		.mtu = number == HOP_SMALL  ? 600
		       : number == HOP_TINY ? 68
					    : 1500,
		.label_count = number == HOP_LABELS ? PUSH_LABELS_MAX : 0,
		.label = {70, 71, 72, 73, 74, 75}};
	struct ip_addr a = addr_from_v4(IP(192, 0, 2, (uint8_t)number));
	struct path path = {.label = label};

	role_enter_fib();
	if (number == HOP_UDP) {
		adj.mtu -= UDP_TUNNEL_HEADERS;
		adj.udp_source = OWN;
		adj.udp_destination = EDGE;
	}
	assert_int_equal(next_hop_get(lab.lists, VRF_DEFAULT, &a, adj.port, &path.next_hop), 0);
	if (number != HOP_DOWN)
		assert_int_equal(next_hop_up(lab.lists, path.next_hop, &adj), 0);
	return path;
}

static inline struct path_list_id
list_of(enum path_list_kind kind, const struct path *path, unsigned count)
{
	struct path_list_id list;

	role_enter_fib();
	assert_int_equal(path_list_get(lab.lists, kind, kind == PATH_LIST_GLEAN ? 1 : PORT_NONE,
				 path, count, &list),
		0);
	return list;
}

static inline struct path_list_id
list_to(enum rig_hop number, uint32_t label)
{
	struct path path = path_to(number, label);

	return list_of(PATH_LIST_FORWARD, &path, 1);
}

static inline void
make_routes(struct vrf_id vrf)
{
	struct path equal[3] = {path_to(HOP_PLAIN, LABEL_NONE), path_to(HOP_SMALL, LABEL_NONE),
		path_to(HOP_LABELS, 9003)};
	const struct {
		const char *prefix;
		struct path_list_id list;
	} routes[] = {{"10.0.0.0/8", list_to(HOP_PLAIN, LABEL_NONE)},
		{"11.0.0.0/8", list_to(HOP_SMALL, LABEL_NONE)},
		{"12.0.0.0/8", list_to(HOP_LABELS, 9000)}, {"13.0.0.0/8", list_to(HOP_UDP, 9001)},
		{"14.0.0.0/8", list_to(HOP_UDP, LABEL_NONE)},
		{"15.0.0.0/8", list_to(HOP_DOWN, LABEL_NONE)},
		{"16.0.0.0/8", list_of(PATH_LIST_FORWARD, equal, 3)},
		{"17.0.0.0/8", list_of(PATH_LIST_GLEAN, NULL, 0)},
		{"18.0.0.0/8", list_of(PATH_LIST_BLACKHOLE, NULL, 0)},
		{"19.0.0.0/8", list_to(HOP_TINY, LABEL_NONE)},
		{"198.18.0.1/32", list_of(PATH_LIST_PUNT, NULL, 0)},
		{"2001::/16", list_to(HOP_PLAIN, LABEL_NONE)},
		{"2002::/16", list_to(HOP_SMALL, LABEL_NONE)},
		{"2003::/16", list_to(HOP_LABELS, 9000)}, {"2004::/16", list_to(HOP_UDP, 9001)},
		{"2005::/16", list_to(HOP_DOWN, LABEL_NONE)},
		{"2006::/16", list_of(PATH_LIST_FORWARD, equal, 3)},
		{"2007::/16", list_of(PATH_LIST_GLEAN, NULL, 0)},
		{"2008::1/128", list_of(PATH_LIST_PUNT, NULL, 0)}};

	role_enter_fib();
	for (unsigned i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		struct prefix p;

		assert_int_equal(prefix_parse(routes[i].prefix, &p), 0);
		assert_int_equal(fib_set(lab.fib, vrf, &p, routes[i].list), 0);
	}
}

static inline void
make_tables(void)
{
	struct label_entry entry[LABELS] = {{.op = LABEL_POP_INSTANCE, .vrf = {1}},
		{.op = LABEL_POP_INSTANCE, .vrf = {2}}, /* without a table */
		{.op = LABEL_POP_FORWARD, .list = list_to(HOP_SMALL, LABEL_NONE)},
		{.op = LABEL_SWAP, .list = list_to(HOP_LABELS, LABEL_NONE), .out = 9000},
		{.op = LABEL_SWAP, .list = list_to(HOP_DOWN, LABEL_NONE), .out = 9001},
		{.op = LABEL_REMOVED},
		{.op = LABEL_SWAP, .list = list_to(HOP_UDP, 9002), .out = 9004},
		{.op = LABEL_SWAP, .list = list_to(HOP_SMALL, LABEL_NONE), .out = 9005}};

	role_enter_fib();
	assert_int_equal(fib_instance_add(lab.fib, (struct vrf_id){1}, AFI_IPV4), 0);
	assert_int_equal(fib_instance_add(lab.fib, (struct vrf_id){1}, AFI_IPV6), 0);
	for (unsigned i = 0; i < LABELS; i++)
		assert_int_equal(
			label_table_set(fib_labels(lab.fib), LABEL_FIRST + i, &entry[i]), 0);
	make_routes(VRF_DEFAULT);
	make_routes((struct vrf_id){1});
	assert_int_equal(tunnel_sets_put(fib_tunnels(lab.fib), &(struct tunnel){EDGE, OWN}, 1), 0);
	lab_commit(&lab);
}

static const struct port_vlan rig_vlan[PORTS] = {{0, 0}, {10, 0}, {20, 7}};

static inline void
rig_vlans(struct worker *w)
{
	for (uint16_t i = 1; i < PORTS; i++) {
		w->next_ports.tx[i].vlan = rig_vlan[i];
		vlan_ports_add(&w->next_ports, i);
	}
	w->vlans = w->next_ports.vlans;
}

static inline void
make_worker(void)
{
	struct worker *w = arena_alloc_aligned(lab.arena, alignof(struct worker), sizeof(*w));
	const struct ip_addr v4 = addr_from_v4(IP(192, 0, 2, 254));
	struct ip_addr v6 = {.afi = AFI_IPV6, .b = {0x20, 1, 0xd, 0xb8, [15] = 1}};

	uint64_t mac = 0;

	assert_non_null(w);
	memset(w, 0, sizeof(*w));
	worker = w;
	memcpy(&mac, port_mac_bytes, sizeof(port_mac_bytes));
	mac_word = mac;
	w->fib = fib_reader(lab.fib);
	w->icmp_sources = &sources;
	w->own_addresses = &own_addresses;
	w->path_lists = lab.lists;
	w->qsbr = lab.qsbr;
	assert_int_equal(qsbr_register(lab.qsbr, &w->reader), 0);
	w->source_count = 1;
	w->port_count = PORTS;
	w->copies = &buffers.pool;
	w->punts = true;
	w->punt.peers = &peers;
	resolve_init(&w->resolve, 1000000000, 0);
	w->resolve.give_up = UINT64_MAX;
	w->resolve.bucket.period = 0; /* no limit */
	assert_int_equal(ring_create(lab.arena, "gleans", GLEAN_RING - 1, &w->resolve.gleans), 0);
	assert_int_equal(ring_create(lab.arena, "frames", FRAME_RING - 1, &w->frames), 0);
	assert_int_equal(ring_create(lab.arena, "inject", FRAME_RING - 1, &w->inject), 0);
	assert_int_equal(ring_create(lab.arena, "back", PUNT_BACK_RING - 1, &w->punt.back), 0);
	for (unsigned i = 0; i < HOST_CLASSES; i++)
		assert_int_equal(ring_create(lab.arena, "punt", PUNT_RING - 1, &w->punt.up[i]), 0);
	rig_vlans(w);
	for (uint16_t i = 0; i < PORTS; i++) {
		w->tx[i].ethdev = i;
		icmp_source_set(&sources, i, AFI_IPV4, &v4);
		icmp_source_set(&sources, i, AFI_IPV6, &v6);
	}
	role_enter_host();
	assert_true(own_addresses_set(&own_addresses, VRF_DEFAULT, &v4, true));
	assert_true(own_addresses_set(&own_addresses, VRF_DEFAULT, &v6, true));
}

static inline void
rig_begin(void)
{
	lab_fib_up(&lab);
	make_tables();
	make_pool();
	make_device();
	make_worker();
}

static inline void
rig_end(void)
{
	qsbr_unregister(lab.qsbr, worker->reader);
	ring_destroy(worker->resolve.gleans);
	ring_destroy(worker->frames);
	ring_destroy(worker->inject);
	ring_destroy(worker->punt.back);
	for (unsigned i = 0; i < HOST_CLASSES; i++)
		ring_destroy(worker->punt.up[i]);
	arena_free(lab.arena, worker);
	lab_fib_down(&lab);
}

/* ---- inputs ---- */

static inline void
put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Repairs what random changes break most often. */
static inline void
mend(uint8_t *frame, unsigned len, uint8_t flags)
{
	unsigned at = 12, header;

	if ((flags & MEND_MAC) && len >= 6)
		memcpy(frame, port_mac_bytes, 6);
	if (len >= 18 && frame[12] == 0x81 && frame[13] == 0)
		at = 16;
	if ((flags & MEND_LABEL) && len >= at + 6 && frame[at] == 0x88 && frame[at + 1] == 0x47) {
		uint32_t label = LABEL_FIRST + frame[at + 4] % LABELS;

		frame[at + 2] = (uint8_t)(label >> 12);
		frame[at + 3] = (uint8_t)(label >> 4);
		frame[at + 4] = (uint8_t)(label << 4 | (frame[at + 4] & 15));
		while (at + 6 <= len && !(frame[at + 4] & 1))
			at += 4;
		at += 4;
	} else if (len < at + 2 || frame[at] != 0x08 || frame[at + 1] != 0) {
		return;
	}
	at += 2;
	if (!(flags & MEND_V4) || len < at + 20)
		return;
	header = (frame[at] & 15) * 4u;
	if (frame[at] >> 4 != 4 || header < 20 || at + header > len)
		return;
	put16(frame + at + 2, len - at);
	put16(frame + at + 10, lab_checksum(frame + at, header));
}

/* The frame below the headers of a UDP tunnel, instead of its Ethernet header. Returns its length. */
static inline unsigned
put_udp(uint8_t *to, const uint8_t *frame, unsigned len)
{
	struct rte_ipv4_hdr ip = {.version_ihl = RTE_IPV4_VHL_DEF,
		.time_to_live = 9,
		.next_proto_id = IPPROTO_UDP,
		.src_addr = EDGE,
		.dst_addr = OWN};
	unsigned inner = len - ETHER_LEN;

	ip.total_length = rte_cpu_to_be_16((uint16_t)(inner + 28));
	memcpy(to, frame, ETHER_LEN);
	put16(to + 12, 0x0800);
	memcpy(to + ETHER_LEN, &ip, sizeof(ip));
	put16(to + ETHER_LEN + 10, lab_checksum(to + ETHER_LEN, 20));
	put16(to + 34, 50000);
	put16(to + 36, 6635);
	put16(to + 38, inner + 8);
	put16(to + 40, 0);
	memcpy(to + 42, frame + ETHER_LEN, inner);
	return len + 28;
}

static inline uint64_t
offloads(uint8_t bits)
{
	return (bits & 1 ? RTE_MBUF_F_RX_IP_CKSUM_GOOD : 0) |
	       (bits & 2 ? RTE_MBUF_F_RX_IP_CKSUM_BAD : 0) |
	       (bits & 4 ? RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED : 0) |
	       (bits & 8 ? RTE_MBUF_F_RX_RSS_HASH : 0) |
	       (bits & 16 ? RTE_MBUF_F_RX_QINQ_STRIPPED : 0) |
	       (bits & 32 ? RTE_MBUF_F_RX_L4_CKSUM_BAD : 0);
}

/* The packet in buffers of its size; `cut`: octets of each buffer but the last, 0: one buffer. */
static inline struct rte_mbuf *
packet_new(const uint8_t *frame, unsigned len, uint8_t bits, unsigned cut)
{
	struct rte_mbuf *first = NULL, **next = &first;
	unsigned segments = 0;

	for (unsigned at = 0; at < len; segments++) {
		unsigned part = cut == 0 || segments == 7 || len - at < cut ? len - at : cut;
		struct rte_mbuf *m = buffer_new(part + TAIL);

		memcpy(rte_pktmbuf_mtod(m, void *), frame + at, part);
		m->data_len = (uint16_t)part;
		*next = m;
		next = &m->next;
		at += part;
	}
	first->pkt_len = len;
	first->nb_segs = (uint16_t)segments;
	first->ol_flags = offloads(bits);
	first->vlan_tci = bits & 64 ? 5 : 0;
	return first;
}

/* The driver sends a frame of a TAP as it is: the kernel is trusted. */
static inline void
give_frame(uint8_t *frame, unsigned len)
{
	struct rte_mbuf *m;

	if (len < TAP_FRAME_MIN)
		memset(frame + len, 0, TAP_FRAME_MIN - len);
	m = packet_new(frame, len < TAP_FRAME_MIN ? TAP_FRAME_MIN : len, 0, 0);
	m->port = (uint16_t)(len % PORTS);
	labelled = true; /* no worker has judged the header */
	assert_true(ring_push(worker->frames, m));
}

/* As worker_inject(), which takes only what begins like an IP packet. */
static inline void
give_injected(uint8_t *frame, unsigned len, struct vrf_id vrf)
{
	unsigned version = len > ETHER_LEN ? frame[ETHER_LEN] >> 4 : 0;
	unsigned least = version == 4 ? 20 : version == 6 ? 40 : FRAME_MAX;
	struct rte_mbuf *m;

	if (len < ETHER_LEN + least || len > ETHER_LEN + WORKER_INJECT_MAX)
		return;
	memset(frame, 0, ETHER_LEN);
	m = packet_new(frame, len, 0, 0);
	m->port = vrf.v;
	assert_true(ring_push(worker->inject, m));
}

/* Gives the worker a packet of the input. Returns the octets used; 0: no further packet. */
static inline size_t
give_packet(const uint8_t *data, size_t left, bool kernel)
{
	static uint8_t frame[FRAME_MAX], wrapped[FRAME_MAX];
	uint8_t *use = frame;
	unsigned len, used;

	if (left < HEAD + 1 || given == PACKETS)
		return 0;
	len = data[3] * 4u;
	used = len < left - HEAD ? len : (unsigned)(left - HEAD);
	if (used < 14)
		return 0;
	memcpy(frame, data + HEAD, used);
	len = used + ((data[0] & MEND_FILL) >> 4) * 256u;
	memset(frame + used, 0xa5, len - used);
	mend(frame, len, data[0]);
	labelled |= data[0] & MEND_UDP;
	if (data[0] & MEND_UDP) {
		len = put_udp(wrapped, frame, len);
		use = wrapped;
	}
	if (kernel && given % 3 == 1)
		give_frame(use, len);
	else if (kernel && given % 3 == 2)
		give_injected(use, len, worker->source[0].vrf);
	else
		queue[queued++] = packet_new(use, len, data[1], data[2]);
	given++;
	return HEAD + used;
}

/* The host thread: reads the packets, and returns the buffers to the worker or frees them. */
static inline unsigned
drain_host(void)
{
	unsigned n = 0;

	for (unsigned c = 0; c < HOST_CLASSES; c++) {
		struct rte_mbuf *m;

		while ((m = ring_pop(worker->punt.up[c])) != NULL) {
			for (const struct rte_mbuf *s = m; s != NULL; s = s->next)
				assert_true(s->data_off + s->data_len <= s->buf_len);
			rte_pktmbuf_free(m);
			n++;
		}
	}
	while (ring_pop(worker->resolve.gleans) != NULL)
		;
	return n;
}

static unsigned host_packets;

static inline void
run_input(const uint8_t *data, size_t len)
{
	struct source *s = &worker->source[0];
	size_t at = 1, used;

	if (len < 1)
		return;
	*s = (struct source){.vrf = {data[0] & RIG_OTHER_VRF ? 1 : 0},
		.mpls = data[0] & RIG_MPLS,
		.chains = data[0] & RIG_CHAINS,
		.way = (enum host_way)(((data[0] & RIG_WAY) >> 2) % 3),
		.mac = &mac_word,
		.most = BURST_V4};
	s->vlans = data[0] & RIG_VLANS;
	for (uint16_t i = 1; i < PORTS; i++) {
		worker->vlan_source[i] = *s;
		worker->vlan_source[i].port = i;
		vlan_tags(s->vlans ? rig_vlan[i] : (struct port_vlan){0}, worker->tx[i].tag,
			&worker->tx[i].tag_octets);
	}
	worker->mpls_pipe = data[0] & RIG_PIPE;
	labelled = data[0] & RIG_MPLS;
	given = queued = 0;
	while (at < len && (used = give_packet(data + at, len - at, data[0] & RIG_KERNEL)) > 0)
		at += used;
	atomic_store_explicit(&worker->order, WORKER_GO_ON, memory_order_relaxed);
	role_enter_worker();
	worker_loop(worker);
	host_packets += drain_host();
	assert_int_equal(live, 0);
}
