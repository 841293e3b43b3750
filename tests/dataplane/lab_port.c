/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The data path of the lab port. bench_forward measures this path alone ("io"), so its cost can be
 * subtracted.
 */
#include "tests/dataplane/lab_port.h"
#include "lpm/base/base.h"

#include <errno.h>
#include <rte_byteorder.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <stdio.h>
#include <string.h>

#define POOL "keel_soft" /* pool of dataplane/port/port_buffers.c for vdevs */
#define MARK 0x4b4cu
#define MARK_AT 54
#define WORD_AT 56
#define NUMBER_BITS 40
#define NUMBER_MASK ((UINT64_C(1) << NUMBER_BITS) - 1)
#define CLASS_SHIFT 40
#define TAG_SHIFT 48
/* distance, in flows, of the source's prefetch: a burst */
#define AHEAD 128
#define FULL_EACH 64 /* one in 64 frames is checked completely */

/* Number of a frame: the source in the upper bits, below it a count from 1. */
#define SOURCE_SHIFT 36

/* Part of the buffer, from rearm_data to hash.rss, written at once, as vector drivers do. */
#define HEAD_AT offsetof(struct rte_mbuf, rearm_data)

struct head {
	alignas(32) uint8_t b[32];
};

/* Private state of a port. */
struct end {
	struct lab_side *side;
	struct rte_mempool *pool;
	struct head fresh;
	size_t frame_at; /* offset in a buffer */
	uint64_t number;
	uint64_t next_v4, next_v6;
	uint32_t sum; /* of the IPv4 header without destination */
	uint16_t ethdev;
	unsigned source; /* in the numbers of frames */
	bool ready;
	alignas(64) uint8_t v4[LAB_FRAME];
	uint8_t v6[LAB_FRAME];
	alignas(64) uint64_t last[2][1u << (NUMBER_BITS - SOURCE_SHIFT)]; /* by family and source */
	uint8_t mac[6];
};

static struct lab_shared *shared;
static struct end end[LAB_PORTS][LAB_QUEUES];

static inline void
add(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(
		c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

/* ---- frames ---- */

static void
make_templates(struct end *e)
{
	static const uint8_t from[6] = {0x02, 0, 0, 0, 0, 0x99};
	struct rte_ipv4_hdr *ip4 = (struct rte_ipv4_hdr *)(e->v4 + 14);
	struct rte_ipv6_hdr *ip6 = (struct rte_ipv6_hdr *)(e->v6 + 14);
	uint16_t mark = MARK;

	memset(e->v4, 0, LAB_FRAME);
	memset(e->v6, 0, LAB_FRAME);
	memcpy(e->v4, e->mac, 6);
	memcpy(e->v4 + 6, from, 6);
	memcpy(e->v6, e->v4, 12);
	e->v4[12] = 0x08;
	e->v6[12] = 0x86;
	e->v6[13] = 0xdd;
	ip4->version_ihl = 0x45;
	ip4->total_length = rte_cpu_to_be_16(LAB_FRAME - 14);
	ip4->time_to_live = LAB_TTL;
	ip4->next_proto_id = 17;
	ip4->src_addr = rte_cpu_to_be_32(0x64400001 + e->source);
	e->v4[35] = 9; /* ports: discard */
	e->v4[37] = 9;
	e->v4[39] = LAB_FRAME - 14 - 20;
	ip6->payload_len = rte_cpu_to_be_16(LAB_FRAME - 14 - 40);
	ip6->proto = 59; /* RFC 8200 4.7: no next header */
	ip6->hop_limits = LAB_TTL;
	memcpy(&ip6->src_addr, "\x20\x01\x0d\xb8\x00\x09", 6);
	e->v6[14 + offsetof(struct rte_ipv6_hdr, src_addr) + 15] = (uint8_t)(1 + e->source);
	memcpy(e->v4 + MARK_AT, &mark, sizeof(mark));
	memcpy(e->v6 + MARK_AT, &mark, sizeof(mark));
	e->sum = rte_raw_cksum(ip4, sizeof(*ip4));
}

/*
 * Check value of a frame: computed from its number and destination, so a changed destination is
 * detected.
 */
static inline uint64_t
tag(uint64_t number, uint64_t dst)
{
	return ((number * UINT64_C(0xd6e8feb86659fd93)) ^ dst) * UINT64_C(0x9e3779b97f4a7c15) >> 48;
}

static inline uint64_t
fold_v6(const uint8_t *dst)
{
	uint64_t w[2];

	memcpy(w, dst, sizeof(w));
	return w[0] ^ w[1];
}

static __rte_always_inline void
put_word(uint8_t *f, uint64_t number, uint8_t class, uint64_t dst)
{
	uint64_t word = number | (uint64_t) class << CLASS_SHIFT | tag(number, dst) << TAG_SHIFT;

	memcpy(f + WORD_AT, &word, sizeof(word));
}

static __rte_always_inline void
make_v4(const struct end *e, uint8_t *f, const struct lab_flow_v4 *flow, uint64_t number)
{
	uint32_t sum = e->sum + (flow->dst & 0xffff) + (flow->dst >> 16);
	uint16_t check;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	check = (uint16_t)~sum;
	memcpy(f, e->v4, LAB_FRAME);
	memcpy(f + 24, &check, sizeof(check));
	memcpy(f + 30, &flow->dst, sizeof(flow->dst));
	put_word(f, number, flow->class, flow->dst);
}

/* make_v4() with a label between the Ethernet header and the packet. */
static __rte_always_inline void
make_labelled(const struct end *e, uint8_t *f, const struct lab_flow_v4 *flow, uint64_t number,
	uint64_t labels)
{
	uint64_t random = (number * UINT64_C(0x9e3779b97f4a7c15)) >> 32;
	uint32_t label = LAB_LABEL_FIRST + (uint32_t)(random * labels >> 32);
	uint32_t entry = rte_cpu_to_be_32(label << 12 | 0x100 | LAB_TTL);

	make_v4(e, f + sizeof(entry), flow, number);
	memcpy(f, e->v4, 12);
	f[12] = 0x88;
	f[13] = 0x47;
	memcpy(f + 14, &entry, sizeof(entry));
}

static __rte_always_inline void
make_v6(const struct end *e, uint8_t *f, const struct lab_flow_v6 *flow, uint64_t number)
{
	memcpy(f, e->v6, LAB_FRAME);
	memcpy(f + 14, &flow->label, sizeof(flow->label));
	memcpy(f + 38, flow->dst, sizeof(flow->dst));
	put_word(f, number, flow->class, fold_v6(flow->dst));
}

/* ---- source ---- */

static struct head
head_of(uint16_t ethdev, uint16_t len)
{
	struct rte_mbuf m = {.data_off = RTE_PKTMBUF_HEADROOM,
		.nb_segs = 1,
		.port = ethdev,
		.pkt_len = len,
		.data_len = len};
	struct head h;

	static_assert(
		HEAD_AT + sizeof(h) == offsetof(struct rte_mbuf, hash.rss) + sizeof(m.hash.rss),
		"");
	rte_mbuf_refcnt_set(&m, 1);
	memcpy(&h, (const char *)&m + HEAD_AT, sizeof(h));
	return h;
}

/* Runs at the first frame: earlier the port has no address and no buffers. */
static bool
port_prepare(struct end *e)
{
	uint64_t mac = atomic_load_explicit(&e->side->mac, memory_order_relaxed);
	struct rte_ether_addr own;

	e->pool = rte_mempool_lookup(POOL);
	if (e->pool == NULL || (mac == 0 && rte_eth_macaddr_get(e->ethdev, &own) != 0))
		return false;
	memcpy(e->mac, mac != 0 ? (const uint8_t *)&mac : own.addr_bytes, 6);
	make_templates(e);
	e->fresh = head_of(e->ethdev, lab_count(&e->side->labels) > 0 ? LAB_FRAME + 4 : LAB_FRAME);
	e->frame_at =
		sizeof(struct rte_mbuf) + rte_pktmbuf_priv_size(e->pool) + RTE_PKTMBUF_HEADROOM;
	e->number = (uint64_t)e->source << SOURCE_SHIFT;
	e->ready = true;
	return true;
}

static __rte_always_inline uint8_t *
fresh_frame(const struct end *e, struct rte_mbuf *m)
{
	memcpy((char *)m + HEAD_AT, &e->fresh, sizeof(e->fresh));
	return (uint8_t *)m +
	       e->frame_at; /* without reading the buffer, which may not be in a near cache */
}

static inline uint64_t
after(uint64_t at, uint64_t count)
{
	return at + 1 == count ? 0 : at + 1;
}

/* Counters are copied to locals because stores to frames may alias them. */
static __rte_always_inline void
fill_v4(struct end *e, const struct lab_shared *s, struct rte_mbuf **pkt, unsigned n)
{
	const struct lab_flow_v4 *flow = lab_flows_v4(s);
	uint64_t at = e->next_v4, count = s->v4_count, number = e->number;

	for (unsigned i = 0; i < n; i++) {
		__builtin_prefetch(&flow[at + AHEAD]);
		make_v4(e, fresh_frame(e, pkt[i]), &flow[at], ++number);
		at = after(at, count);
	}
	e->next_v4 = at;
	e->number = number;
}

static __rte_always_inline void
fill_v6(struct end *e, const struct lab_shared *s, struct rte_mbuf **pkt, unsigned n)
{
	const struct lab_flow_v6 *flow = lab_flows_v6(s);
	uint64_t at = e->next_v6, count = s->v6_count, number = e->number;

	for (unsigned i = 0; i < n; i++) {
		__builtin_prefetch(&flow[at + AHEAD]);
		make_v6(e, fresh_frame(e, pkt[i]), &flow[at], ++number);
		at = after(at, count);
	}
	e->next_v6 = at;
	e->number = number;
}

/* True if the pattern has the bit of the next frame. */
static inline bool
is_next(const struct end *e, uint64_t pattern)
{
	return pattern >> ((e->number + 1) & 63) & 1;
}

static __attribute__((noinline)) void
fill_labelled(struct end *e, const struct lab_shared *s, struct rte_mbuf **pkt, unsigned n,
	uint64_t labels)
{
	const struct lab_flow_v4 *flow = lab_flows_v4(s);
	uint64_t pattern = s->v6_pattern;

	for (unsigned i = 0; i < n; i++) {
		if (is_next(e, pattern)) {
			fill_v6(e, s, &pkt[i], 1);
			continue;
		}
		make_labelled(e, fresh_frame(e, pkt[i]), &flow[e->next_v4], ++e->number, labels);
		e->next_v4 = after(e->next_v4, s->v4_count);
	}
}

static void
put_flood(struct end *e, const struct lab_shared *s, struct rte_mbuf *m)
{
	uint8_t *f = fresh_frame(e, m);

	memcpy(f, s->flood, LAB_FRAME);
	if (!(f[0] & 1))
		memcpy(f, e->mac, sizeof(e->mac));
	e->number++;
}

static __attribute__((noinline)) void
fill_beside_flood(struct end *e, const struct lab_shared *s, struct rte_mbuf **pkt, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (is_next(e, s->flood_pattern))
			put_flood(e, s, pkt[i]);
		else
			fill_v4(e, s, &pkt[i], 1);
}

static HOT void
fill(struct end *e, const struct lab_shared *s, struct rte_mbuf **pkt, unsigned n)
{
	uint64_t pattern = s->v6_pattern, labels = lab_count(&e->side->labels);

	if (s->flood_pattern != 0) {
		fill_beside_flood(e, s, pkt, n);
		return;
	}
	if (labels != 0)
		fill_labelled(e, s, pkt, n, labels);
	else if (pattern == 0)
		fill_v4(e, s, pkt, n);
	else if (pattern == UINT64_MAX)
		fill_v6(e, s, pkt, n);
	else
		for (unsigned i = 0; i < n; i++)
			if (is_next(e, pattern))
				fill_v6(e, s, &pkt[i], 1);
			else
				fill_v4(e, s, &pkt[i], 1);
}

/* ethdev knows a queue by the driver's private data. */
static inline struct end *
end_of(unsigned index, void *const *queues, const void *queue)
{
	static_assert(LAB_QUEUES == 2, "queue 0, or else queue 1");
	return &end[index][queues[0] != queue];
}

static inline uint16_t
receive(unsigned index, const void *queue, struct rte_mbuf **pkt, uint16_t n)
{
	struct end *e = end_of(index, rte_eth_fp_ops[end[index][0].ethdev].rxq.data, queue);
	uint64_t sent = lab_count(&e->side->sent), limit = lab_count(&e->side->limit);

	/* acquire: pairs with the store that starts the run, after all other setup */
	if (!atomic_load_explicit(&shared->run, memory_order_acquire) || sent >= limit)
		return 0;
	if (!e->ready && !port_prepare(e))
		return 0;
	if (n > limit - sent)
		n = (uint16_t)(limit - sent);
	if (rte_mempool_get_bulk(e->pool, (void **)pkt, n) != 0) {
		add(&e->side->starved, 1);
		return 0;
	}
	fill(e, shared, pkt, n);
	add(&e->side->sent, n);
	return n;
}

/* ---- sink ---- */

static bool
frame_is_intact(const uint8_t *f, uint64_t word, bool v6)
{
	unsigned ttl = LAB_TTL - shared->ttl_taken;
	uint64_t dst = 0;

	if (v6) {
		dst = fold_v6(f + 38);
		if (f[21] != ttl || f[18] != 0 || f[19] != LAB_FRAME - 14 - 40 || f[20] != 59)
			return false;
	} else {
		memcpy(&dst, f + 30, 4);
		if (f[22] != ttl || f[16] != 0 || f[17] != LAB_FRAME - 14 || f[23] != 17 ||
			rte_raw_cksum(f + 14, 20) != 0xffff)
			return false;
	}
	return tag(word & NUMBER_MASK, dst) == word >> TAG_SHIFT;
}

static inline bool
ours(const struct rte_mbuf *m)
{
	uint16_t mark;

	if (m->data_len != LAB_FRAME)
		return false;
	memcpy(&mark, rte_pktmbuf_mtod_offset(m, const uint8_t *, MARK_AT), sizeof(mark));
	return mark == MARK;
}

static void
misdirected(struct end *e, uint64_t word)
{
	add(&e->side->misdirected, 1);
	atomic_store_explicit(&e->side->bad_number, word & NUMBER_MASK, memory_order_relaxed);
	atomic_store_explicit(
		&e->side->bad_class, (uint8_t)(word >> CLASS_SHIFT), memory_order_relaxed);
}

/* Results of the sink for this burst, of one family and source at a time. */
struct sink_counts {
	uint64_t seen, reordered;
	uint64_t *last; /* source and family of `number` */
	uint64_t number;
};

/* Checks a frame on its way out. */
static inline void
check_frame(const struct lab_shared *s, unsigned index, struct end *e, const struct rte_mbuf *m,
	struct sink_counts *l)
{
	const uint8_t *f = rte_pktmbuf_mtod(m, const uint8_t *);
	uint64_t word, number, *last;
	bool v6;

	if (!ours(m))
		return;
	l->seen++;
	memcpy(&word, f + WORD_AT, sizeof(word));
	number = word & NUMBER_MASK;
	v6 = f[12] == 0x86;
	last = &e->last[v6][number >> SOURCE_SHIFT];
	if (last != l->last) {
		*l->last = l->number;
		l->last = last;
		l->number = *last;
	}
	l->reordered += number <= l->number;
	l->number = number;
	/*
	 * relaxed: a single value without dependent data; during a change it contains the ports of
	 * both generations
	 */
	if (!(atomic_load_explicit(
		      &s->allowed[(uint8_t)(word >> CLASS_SHIFT)], memory_order_relaxed) >>
			    index &
		    1))
		misdirected(e, word);
	if (number % FULL_EACH == 0) {
		add(&e->side->checked, 1);
		if (!frame_is_intact(f, word, v6))
			add(&e->side->damaged, 1);
	}
}

/*
 * Non-zero if the buffer is shared, has several segments, or is of a different pool or memory
 * type.
 */
static inline uint64_t
buffer_is_unusual(const struct rte_mbuf *m, const struct rte_mempool *pool)
{
	uint64_t rearm; /* data_off, refcnt, nb_segs, port */

	memcpy(&rearm, (const char *)m + HEAD_AT, sizeof(rearm));
	return ((rearm ^ (UINT64_C(1) << 16 | UINT64_C(1) << 32)) & UINT64_C(0x0000ffffffff0000)) |
	       m->ol_flags | ((uintptr_t)m->pool ^ (uintptr_t)pool);
}

static inline uint16_t
transmit(unsigned index, const void *queue, struct rte_mbuf **pkt, uint16_t n)
{
	struct end *e = end_of(index, rte_eth_fp_ops[end[index][0].ethdev].txq.data, queue);
	struct sink_counts l = {.last = &e->last[0][0], .number = e->last[0][0]};
	const struct lab_shared *s = shared;
	struct rte_mempool *pool;
	uint64_t odd = 0;

	if (n == 0)
		return 0;
	pool = pkt[0]->pool;
	for (unsigned i = 0; i < n; i++) {
		odd |= buffer_is_unusual(pkt[i], pool);
		check_frame(s, index, e, pkt[i], &l);
	}
	*l.last = l.number;
	add(&e->side->seen, l.seen);
	if (l.seen < n)
		add(&e->side->foreign, n - l.seen);
	if (l.reordered > 0)
		add(&e->side->reordered, l.reordered);
	if (odd == 0)
		rte_mempool_put_bulk(pool, (void **)pkt, n);
	else
		rte_pktmbuf_free_bulk(pkt, n);
	return n;
}

/* ---- replacing the functions of net_null ---- */

/*
 * ethdev passes a queue's private data, here of net_null, so each port needs its own pair of
 * functions.
 */
#define PAIR(i)                                                                                    \
	static uint16_t receive_##i(void *queue, struct rte_mbuf **pkt, uint16_t n)                \
	{                                                                                          \
		return receive(i, queue, pkt, n);                                                  \
	}                                                                                          \
	static uint16_t transmit_##i(void *queue, struct rte_mbuf **pkt, uint16_t n)               \
	{                                                                                          \
		return transmit(i, queue, pkt, n);                                                 \
	}
PAIR(0)
PAIR(1)
PAIR(2)
PAIR(3)
PAIR(4)
PAIR(5)
PAIR(6)
PAIR(7)
#undef PAIR

/*
 * Start of ethdev's device struct; rte_eth_dev_start() copies both pointers to the workers' array.
 */
struct eth_dev_head {
	eth_rx_burst_t receive;
	eth_tx_burst_t transmit;
};

/* internal function of librte_ethdev for drivers */
struct eth_dev_head *rte_eth_dev_allocated(const char *name);

static_assert(LAB_PORTS * LAB_QUEUES <= 1u << (NUMBER_BITS - SOURCE_SHIFT), "sources have numbers");

static bool replaced[LAB_PORTS]; /* net_null_labN has been replaced */

/*
 * Finds the new device. During the event only ethdev knows its name; a search by number fails
 * until the event is over.
 */
static struct eth_dev_head *
find_new_device(void)
{
	for (unsigned i = 0; i < LAB_PORTS; i++) {
		char name[RTE_ETH_NAME_MAX_LEN];
		struct eth_dev_head *head;

		(void)snprintf(name, sizeof(name), "net_null_lab%u", i);
		head = replaced[i] ? NULL : rte_eth_dev_allocated(name);
		if (head != NULL) {
			replaced[i] = true;
			return head;
		}
	}
	return NULL;
}

static int
port_appeared(uint16_t ethdev, enum rte_eth_event_type event, void *arg, void *result)
{
	static const struct eth_dev_head pair[LAB_PORTS] = {
		{receive_0, transmit_0},
		{receive_1, transmit_1},
		{receive_2, transmit_2},
		{receive_3, transmit_3},
		{receive_4, transmit_4},
		{receive_5, transmit_5},
		{receive_6, transmit_6},
		{receive_7, transmit_7},
	};
	unsigned index = atomic_load_explicit(&shared->taken, memory_order_relaxed);
	struct eth_dev_head *head = index < LAB_PORTS ? find_new_device() : NULL;

	if (head == NULL)
		return 0;
	for (unsigned q = 0; q < LAB_QUEUES; q++)
		end[index][q] = (struct end){.side = &shared->side[q * LAB_PORTS + index],
			.ethdev = ethdev,
			.source = q * LAB_PORTS + index};
	*head = pair[index];
	atomic_store_explicit(&shared->taken, index + 1, memory_order_relaxed);
	return 0;
}

int
lab_port_enable(struct lab_shared *s)
{
	shared = s;
	memset(replaced, 0, sizeof(replaced));
	atomic_store_explicit(&s->taken, 0, memory_order_relaxed);
	return rte_eth_dev_callback_register(RTE_ETH_ALL, RTE_ETH_EVENT_NEW, port_appeared, NULL);
}
