/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/ip4.h"
#include "dataplane/forward.h"

#include <rte_ip.h>
#include <rte_prefetch.h>
#include <string.h>

/* One's complement sum over the header; 0xffff when it is right. RFC 1071. */
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

/* RFC 1812 5.3.7, RFC 3927 7 (link-local leaves no link). `a` in host order. */
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

/* RFC 1812 5.2.2. Leaves the destination in *dst. */
static inline enum drop_reason
check_header(const struct rte_mbuf *m, const struct rte_ipv4_hdr *ip, uint32_t *dst)
{
	unsigned len = rte_pktmbuf_data_len(m) - ETHER_LEN;
	unsigned header_len, total_len;

	if (len < sizeof(*ip))
		return DROP_too_short;
	header_len = (ip->version_ihl & RTE_IPV4_HDR_IHL_MASK) * 4u;
	total_len = rte_be_to_cpu_16(ip->total_length);
	if (ip->version_ihl >> 4 != 4)
		return DROP_bad_version;
	if (header_len < sizeof(*ip) || header_len > len)
		return DROP_bad_header_length;
	if (!checksum_ok(m, (const uint8_t *)ip, header_len / 4))
		return DROP_bad_checksum;
	/* RFC 1812 5.2.2 (5), and the link layer must have brought all of it. */
	if (total_len < header_len || total_len + ETHER_LEN > rte_pktmbuf_pkt_len(m))
		return DROP_too_short;
	if (martian(rte_be_to_cpu_32(ip->src_addr)))
		return DROP_bad_source;
	*dst = rte_be_to_cpu_32(ip->dst_addr);
	if (martian(*dst))
		return DROP_bad_destination;
	/* RFC 1812 5.3.4: comes after the header checks, as it is about forwarding. */
	return forward_is_group(m) ? DROP_link_broadcast : DROP_NOT;
}

/* As four packets at a time are looked at. */
typedef uint32_t words4 __attribute__((vector_size(16)));
typedef int32_t signed4 __attribute__((vector_size(16)));
typedef uint8_t bytes16 __attribute__((vector_size(16)));

/* What classification found of a burst's packets: all ones where a packet is not as most are. */
struct verdicts {
	words4 odd[(BURST_MAX + LANE_PAD) / 4]; /* to be looked at one by one */
	words4 any_odd;
	words4 any_trim; /* the link added something behind it */
	words4 any_expired; /* TTL 0 or 1 */
	words4 len_bits; /* of all lengths */
};

static inline bool
any(words4 mask)
{
	longs2 two = (longs2)mask;

	return (two[0] | two[1]) != 0;
}

static inline uint32_t
bits_of(words4 v)
{
	return v[0] | v[1] | v[2] | v[3];
}

static inline words4
swapped(words4 v)
{
	return (words4)__builtin_shufflevector(
		(bytes16)v, (bytes16)v, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
}

static inline words4
halves(words4 v)
{
	return (v & 0xffff) + (v >> 16);
}

/* martian() of four. */
static inline words4
martian4(words4 a)
{
	signed4 net = (signed4)(a >> 24);

	return (words4)(net < 1) | (words4)(net > 223) | (words4)(net == 127) |
	       (words4)(a >> 16 == 0xa9fe);
}

/* RFC 1624 for a TTL less by one: the checksum grows by 0x0100, which is 1 as it lies in memory, in one's complement; 0xffff becomes 0. */
static inline words4
ttl_stepped(words4 third)
{
	words4 sum = (third >> 16) + 1;

	sum = sum + ((sum + 1) >> 16);
	return ((third - 1) & 0xffff) | sum << 16;
}

static inline uint64_t
load_lengths(const struct rte_mbuf *m)
{
	uint64_t v; /* pkt_len, data_len and what is behind it */

	memcpy(&v, &m->pkt_len, sizeof(v));
	return v;
}

static inline uint32_t
load_destination(const uint8_t *ip)
{
	uint32_t v;

	memcpy(&v, ip + 16, sizeof(v));
	return v;
}

/*
 * RFC 1812 5.2.2 for pkt[i..i+4): a header of five words (their columns of the four packets are turned into rows), all that check_header()
 * looks at.
 */
static inline void
classify4(struct lane *l, unsigned i, const struct rte_lpm *lpm, struct verdicts *v)
{
	words4 r[4], low[2], high[2], first, second, third, source, destination, total, present,
		linear, sum, bad;
	longs2 lengths[2];

	for (unsigned k = 0; k < 4; k++) {
		l->ip[i + k] = rte_pktmbuf_mtod_offset(l->pkt[i + k], uint8_t *, ETHER_LEN);
		r[k] = (words4)load16(l->ip[i + k]);
	}
	low[0] = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
	low[1] = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
	high[0] = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
	high[1] = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
	first = __builtin_shufflevector(low[0], low[1], 0, 1, 4, 5);
	second = __builtin_shufflevector(low[0], low[1], 2, 3, 6, 7);
	third = __builtin_shufflevector(high[0], high[1], 0, 1, 4, 5);
	source = __builtin_shufflevector(high[0], high[1], 2, 3, 6, 7);
	destination = (words4){load_destination(l->ip[i]), load_destination(l->ip[i + 1]),
		load_destination(l->ip[i + 2]), load_destination(l->ip[i + 3])};
	sum = halves(first) + halves(second) + halves(third) + halves(source) + halves(destination);
	destination = swapped(destination);
	for (unsigned k = 0; lpm != NULL && k < 4; k++)
		rte_prefetch0(&lpm->tbl24[destination[k] >> 8]);
	lengths[0] = (longs2){load_lengths(l->pkt[i]), load_lengths(l->pkt[i + 1])};
	lengths[1] = (longs2){load_lengths(l->pkt[i + 2]), load_lengths(l->pkt[i + 3])};
	present = __builtin_shufflevector((words4)lengths[0], (words4)lengths[1], 0, 2, 4, 6);
	linear = __builtin_shufflevector((words4)lengths[0], (words4)lengths[1], 1, 3, 5, 7) &
		 0xffff;
	total = (first >> 24) | (first >> 8 & 0xff00);
	bad = (words4)((first & 0xff) != 0x45);
	bad |= (words4)(halves(halves(sum)) != 0xffff);
	bad |= (words4)((signed4)total < 20) |
	       (words4)((signed4)(total + ETHER_LEN) > (signed4)present);
	bad |= (words4)((signed4)linear < ETHER_LEN + 20);
	bad |= martian4(swapped(source)) | martian4(destination);
	v->odd[i / 4] = bad;
	v->any_odd |= bad;
	v->any_trim |= (words4)(total + ETHER_LEN != present);
	memcpy(&l->destination.v4[i], &destination, sizeof(destination));
	memcpy(&l->len[i], &total, sizeof(total));
	v->any_expired |= (words4)((signed4)(third & 0xff) <= 1);
	v->len_bits |= total;
	third = ttl_stepped(third);
	memcpy(&l->ttl_word[i], &third, sizeof(third));
}

/* Some are not as most are: each of these by itself; the others move up. */
static __attribute__((noinline)) void
classify_rest(struct burst *b, const struct verdicts *v) RUNS_ON(role_worker)
{
	struct lane *l = &b->v4;
	unsigned kept = 0;

	for (unsigned i = 0; i < l->count; i++) {
		struct rte_mbuf *m = l->pkt[i];
		const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)l->ip[i];
		uint32_t destination = l->destination.v4[i];

		if (b->group || v->odd[i / 4][i % 4] != 0) {
			enum drop_reason reason = check_header(m, ip, &destination);

			if (reason != DROP_NOT) {
				burst_drop(b, m, reason);
				continue;
			}
		}
		l->pkt[kept] = m;
		l->ip[kept] = l->ip[i];
		l->len[kept] = l->len[i];
		l->ttl_word[kept] = l->ttl_word[i];
		l->destination.v4[kept++] = destination;
	}
	l->count = kept;
}

void
ip4_classify(struct burst *b, const struct fib_generation *generation, struct vrf_id vrf)
{
	const struct rte_lpm *lpm = generation->v4[vrf.v].lpm;
	struct lane *l = &b->v4;
	struct verdicts v;

	v.any_odd = v.any_trim = v.any_expired = v.len_bits = (words4){0};

	/* the last four in full */
	for (unsigned i = l->count; i < l->count + LANE_PAD; i++)
		l->pkt[i] = l->pkt[l->count - 1];
	for (unsigned i = 0; i < l->count; i += 4)
		classify4(l, i, lpm, &v);
	l->any_expired = any(v.any_expired);
	l->len_bound = bits_of(v.len_bits);
	if (any(v.any_odd) || b->group)
		classify_rest(b, &v);
	if (!any(v.any_trim))
		return;
	for (unsigned i = 0; i < l->count; i++)
		forward_trim(l->pkt[i], l->len[i]);
}

void
ip4_finish(struct burst *b, const struct fib_reader *fib, const struct fib_generation *generation,
	struct vrf_id vrf, struct outbox *out)
{
	if (b->own)
		(void)forward_finish(b, AFI_IPV4, fib, generation, vrf, true, out, 0);
	else
		(void)forward_finish(b, AFI_IPV4, fib, generation, vrf, false, out, 0);
}
