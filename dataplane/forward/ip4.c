/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/forward/ip4.h"
#include "dataplane/forward/forward.h"

#include <rte_ip.h>
#include <string.h>

/* RFC 791 3.1 */
#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_LSRR 131
#define OPTION_SSRR 137

/* One's complement sum of the header, RFC 1071. 0xffff if the checksum is correct. */
static uint16_t
header_sum(const uint8_t *header, unsigned words32)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < words32; i++) {
		uint32_t w;
		memcpy(&w, header + 4 * i, sizeof(w));
		sum += w;
	}
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* RFC 1812 5.3.7, RFC 3927 7 (link-local addresses stay on their link). `a` in host order. */
static inline bool
martian(uint32_t a)
{
	return a >> 24 == 0 || a >> 24 == 127 || a >> 28 >= 14 || a >> 16 == 0xa9fe;
}

static inline bool
checksum_ok(const struct rte_mbuf *m, const uint8_t *header, unsigned words32)
{
	uint64_t offload = m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;

	if (offload == RTE_MBUF_F_RX_IP_CKSUM_GOOD)
		return true;
	return header_sum(header, words32) == 0xffff;
}

/*
 * True if the options contain a loose or strict source route (RFC 791 3.1). An option with an
 * impossible length ends the search; routers that do not use the options forward such packets.
 */
static bool
source_routed(const uint8_t *header, unsigned header_len)
{
	for (unsigned at = sizeof(struct rte_ipv4_hdr); at < header_len;) {
		unsigned type = header[at], len = at + 1 < header_len ? header[at + 1] : 0;

		if (type == OPTION_LSRR || type == OPTION_SSRR)
			return true;
		if (type == OPTION_END || (type != OPTION_NOP && len < 2))
			return false;
		at += type == OPTION_NOP ? 1 : len;
	}
	return false;
}

/* RFC 1812 5.2.2. Writes the destination to *dst. */
static inline enum drop_reason
check_header(const struct burst *b, const struct rte_mbuf *m, const struct rte_ipv4_hdr *ip,
	uint32_t *dst)
{
	unsigned len = rte_pktmbuf_data_len(m), header_len, total_len;

	if (forward_vlan_stripped(m))
		return DROP_vlan_stripped;
	if (len < ETHER_LEN + sizeof(*ip))
		return DROP_too_short;
	len -= ETHER_LEN;
	header_len = (ip->version_ihl & RTE_IPV4_HDR_IHL_MASK) * 4u;
	total_len = rte_be_to_cpu_16(ip->total_length);
	if (ip->version_ihl >> 4 != 4)
		return DROP_bad_version;
	if (header_len < sizeof(*ip) || header_len > len)
		return DROP_bad_header_length;
	if (!checksum_ok(m, (const uint8_t *)ip, header_len / 4))
		return DROP_bad_checksum;
	/* RFC 1812 5.2.2 (5); also, the frame must contain the whole packet. */
	if (total_len < header_len || total_len + ETHER_LEN > rte_pktmbuf_pkt_len(m))
		return DROP_too_short;
	if (martian(rte_be_to_cpu_32(ip->src_addr)))
		return DROP_bad_source;
	if (forward_is_own(b, m, AFI_IPV4, &ip->src_addr))
		return DROP_own_source;
	*dst = rte_be_to_cpu_32(ip->dst_addr);
	if (martian(*dst))
		return DROP_bad_destination;
	/* RFC 7126 4.3.5, 4.4.5 */
	if (!b->source_routes && header_len > sizeof(*ip) &&
		source_routed((const uint8_t *)ip, header_len))
		return DROP_source_route;
	/* RFC 1812 5.3.4: comes after the header checks because the rule is about forwarding. */
	return forward_is_group(m) ? DROP_link_broadcast : DROP_NOT;
}

/* Results of classification for all packets together. */
struct verdicts {
	words8 odd; /* not 0: some packet needs a check of its own */
	words8 trim; /* not 0: the link layer added bytes after some packet */
	words8 expired; /* negative: a TTL of 0 or 1 */
	words8 longest;
	uint32_t own; /* bit n: a packet of group n may have an own address as its source */
};

static __rte_always_inline words8
halves(words8 v)
{
	return (v & 0xffff) + (v >> 16);
}

/*
 * martian() for eight pairs of addresses, from the first two bytes in memory order. Non-zero lanes
 * are martians.
 */
static __rte_always_inline words8
martian8(words8 one, words8 other)
{
	halves16 both = (halves16)((one & 0xffff) | (other << 16)), net = both & 0xff;

	return (words8)((net - 1) | (223 - net) | (halves16)(net == 127) |
			(halves16)(both == 0xfea9)) &
	       0x80008000;
}

/*
 * Header word with the TTL reduced by one (RFC 1624): the checksum grows by 0x0100, which is 1 in
 * memory order, in one's complement arithmetic; 0xffff becomes 0. The result for TTL 0 is not
 * used.
 */
static __rte_always_inline words8
ttl_stepped(words8 third)
{
	words8 around = (words8)(third >> 17 == 0x7fff);

	return third + 0xffff - (around << 16);
}

/*
 * RFC 1812 5.2.2 for pkt[i..i+8), like check_header(), for headers of five words: the rows of
 * the eight headers are transposed to columns. Returns non-zero lanes for packets that need
 * check_header(). Conditions are differences, whose sign bits or bits are combined by OR.
 */
static __rte_always_inline words8
classify8(struct lane *l, unsigned i, const _Atomic uint8_t *filter, struct verdicts *all)
{
	const uint8_t *const *ip = (const uint8_t *const *)&l->ip[i];
	words8 r[4], low[2], high[2], first, second, third, source, destination, total, present,
		linear, vlan, behind, upper, sum, bad;

	for (unsigned k = 0; k < 4; k++)
		r[k] = load16_of(ip[k], ip[k + 4]);
	low[0] = low_of(r[0], r[1]);
	low[1] = low_of(r[2], r[3]);
	high[0] = high_of(r[0], r[1]);
	high[1] = high_of(r[2], r[3]);
	first = low_pairs_of(low[0], low[1]);
	second = high_pairs_of(low[0], low[1]);
	third = low_pairs_of(high[0], high[1]);
	source = high_pairs_of(high[0], high[1]);
	destination =
		(words8){load4(ip[0] + 16), load4(ip[1] + 16), load4(ip[2] + 16), load4(ip[3] + 16),
			load4(ip[4] + 16), load4(ip[5] + 16), load4(ip[6] + 16), load4(ip[7] + 16)};
	lengths_of(&l->pkt[i], &present, &linear, &vlan);
	total = (first >> 24) | (first >> 8 & 0xff00);
	behind = present - (total + ETHER_LEN);
	/*
	 * the sum of ten 16-bit halves is below 0xa0000; its own halves add up to 0xffff if the
	 * sum is a multiple of 0xffff, and never to twice 0xffff
	 */
	upper = (first >> 16) + (second >> 16) + (third >> 16) + (source >> 16) +
		(destination >> 16);
	sum = first + second + third + source + destination - (upper << 16) + upper;
	bad = (total - 20) | behind | (linear - (ETHER_LEN + 20));
	bad = (bad & 0x80000000) | martian8(source, destination) | ((first & 0xff) ^ 0x45) |
	      (halves(sum) ^ 0xffff) | vlan;
	all->odd |= bad;
	all->own |= (uint32_t)forward_maybe_own(filter, OWN_PLACE_V4(source)) << (i / 8);
	all->trim |= behind;
	all->expired |= (third & 0xff) - 2;
	all->longest = larger(all->longest, total);
	destination = swapped(destination);
	third = ttl_stepped(third);
	store8(&l->destination.v4[i], destination);
	store8(&l->first[i], destination >> FIB_READ_V4_FIRST);
	store8(&l->ttl_word[i], third);
	return bad;
}

/* Checks the marked packets one by one and closes the gaps of dropped packets. */
static __attribute__((noinline)) void
classify_rest(struct burst *b, const words8 *odd) RUNS_ON(role_worker)
{
	struct lane *l = &b->v4;
	unsigned kept = 0;

	for (unsigned i = 0; i < l->count; i++) {
		struct rte_mbuf *m = l->pkt[i];
		const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)l->ip[i];
		uint32_t destination = l->destination.v4[i];

		if (b->group || odd[i / 8][i % 8] != 0) {
			enum drop_reason reason = check_header(b, m, ip, &destination);

			if (reason != DROP_NOT) {
				forward_refuse(b, m, reason);
				continue;
			}
		}
		l->pkt[kept] = m;
		l->ip[kept] = l->ip[i];
		l->ttl_word[kept] = l->ttl_word[i];
		l->first[kept] = destination >> FIB_READ_V4_FIRST;
		l->destination.v4[kept++] = destination;
	}
	l->count = kept;
}

/* Marks packets of the groups with an own address as the source. True: some were marked. */
static __attribute__((noinline)) bool
mark_own(const struct burst *b, uint32_t groups, words8 *odd) RUNS_ON(role_worker)
{
	const struct lane *l = &b->v4;
	bool any = false;

	for (; groups != 0; groups &= groups - 1) {
		unsigned i = (unsigned)__builtin_ctz(groups) * 8;

		for (unsigned end = i + 8; i < end && i < l->count; i++) {
			if (!forward_is_own(b, l->pkt[i], AFI_IPV4, l->ip[i] + 12))
				continue;
			odd[i / 8][i % 8] = 1;
			any = true;
		}
	}
	return any;
}

HOT void
ip4_classify(struct burst *b)
{
	words8 odd[LANE_ROOM / 8];
	struct verdicts all = {.odd = {0}};
	struct lane *l = &b->v4;
	unsigned i = 0;

	lane_pad(l);
	do {
		odd[i / 8] = classify8(l, i, b->own_addresses->filter[0], &all);
		i += 8;
	} while (i < l->count);
	l->any_expired = any_negative(all.expired);
	l->longest = largest(all.longest);
	if (__builtin_expect(all.own != 0, 0) && mark_own(b, all.own, odd))
		all.odd[0] = 1;
	if (bits_of(all.odd) != 0 || b->group)
		classify_rest(b, odd);
	if (bits_of(all.trim) == 0)
		return;
	for (i = 0; i < l->count; i++)
		forward_trim(l->pkt[i], forward_len(l->ip[i], AFI_IPV4));
}

static __attribute__((noinline)) unsigned
finish_plain(const struct lane *l, unsigned i, unsigned end, const struct fib_reader *fib,
	struct outbox *out) RUNS_ON(role_worker)
{
	return forward_plain(l, i, end, AFI_IPV4, fib, out);
}

HOT void
ip4_finish(struct burst *b, const struct fib_reader *fib, const struct fib_generation *generation,
	struct vrf_id vrf, struct outbox *out)
{
	fib_read_v4_lists(fib, generation, vrf, b->v4.destination.v4, b->v4.list, b->v4.count);
	forward_finish(b, &b->v4, 0, b->v4.count, AFI_IPV4, fib, out, finish_plain);
}

HOT void
ip4_finish_each(struct burst *b, const struct fib_reader *fib,
	const struct fib_generation *generation, struct outbox *out)
{
	const struct compact *table[BURST_MAX];
	struct lane *l = &b->v4;
	bool painted = false;
	unsigned i = 0;

	do {
		uint16_t vrf = l->pkt[i]->port;

		table[i] = BOUNDS_READ(&fib->bounds, generation->v4[vrf].compact);
		painted |= generation->v4[vrf].answers != NULL;
	} while (++i < l->count);
	compact_v4_lookup_each(table, l->destination.v4, l->list, l->count);
	for (i = 0; painted && i < l->count; i++) {
		struct vrf_id vrf = {l->pkt[i]->port};
		const uint16_t *answers = BOUNDS_READ(&fib->bounds, generation->v4[vrf.v].answers);

		if (answers != NULL)
			l->list[i] = fib_read_v4_one(
				fib, generation, vrf, answers, l->destination.v4[i]);
	}
	forward_finish(b, l, 0, l->count, AFI_IPV4, fib, out, finish_plain);
}
