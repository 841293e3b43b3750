/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/forward/ip6.h"
#include "dataplane/forward/forward.h"

#include <rte_ip.h>
#include <string.h>

#define TO_AT offsetof(struct rte_ipv6_hdr, dst_addr)
#define SOURCE_END (TO_AT - 4) /* last word of the source */
#define EXTENSIONS_MAX 8 /* as in icmp.c */
#define ANSWERS 32 /* answers read at once; finished while the next ones arrive */

/*
 * RFC 4291 2.5.2, 2.5.3, 2.7 (multicast is not forwarded). IPv4-mapped addresses represent IPv4
 * inside a host and must not be forwarded, RFC 6890 2.2.3.
 */
static inline bool
martian(const void *address)
{
	const uint8_t *a = address;
	uint64_t high, low;

	if (a[0] == 0xff)
		return true;
	memcpy(&high, a, sizeof(high));
	if (__builtin_expect(high != 0, 1))
		return false;
	memcpy(&low, a + 8, sizeof(low));
	low = rte_be_to_cpu_64(low);
	return low <= 1 || low >> 32 == 0xffff;
}

/* fe80::/10 */
static inline bool
link_local(const void *address)
{
	const uint8_t *a = address;

	return a[0] == 0xfe && (a[1] & 0xc0) == 0x80;
}

/*
 * RFC 5095 4.2: true if a routing header of type 0 follows the IPv6 header, directly or after
 * hop-by-hop and destination options, within the first EXTENSIONS_MAX headers of the first buffer.
 */
static bool
source_routed(const uint8_t *ip, unsigned len)
{
	uint8_t type = ip[6];
	unsigned at = sizeof(struct rte_ipv6_hdr);

	for (unsigned i = 0; i < EXTENSIONS_MAX && at + 8 <= len; i++) {
		if (type == IPPROTO_ROUTING && ip[at + 2] == 0)
			return true;
		if (type != IPPROTO_HOPOPTS && type != IPPROTO_DSTOPTS && type != IPPROTO_ROUTING)
			return false;
		type = ip[at];
		at += (ip[at + 1] + 1u) * 8;
	}
	return false;
}

/*
 * RFC 8200 3. RFC 4007 9 and RFC 4443 3.1, not done: "beyond scope of source address" for a
 * link-local source; the packet is dropped without an ICMP error.
 */
static inline enum drop_reason
check_header(const struct burst *b, const struct rte_mbuf *m, const struct rte_ipv6_hdr *ip)
{
	if (forward_vlan_stripped(m))
		return DROP_vlan_stripped;
	if (rte_pktmbuf_data_len(m) < ETHER_LEN + sizeof(*ip))
		return DROP_too_short;
	if ((ip->vtc_flow & RTE_BE32(0xf0000000)) != RTE_BE32(0x60000000))
		return DROP_bad_version;
	/* RFC 2675, not done: a jumbogram is larger than any supported MTU. */
	if (rte_be_to_cpu_16(ip->payload_len) + sizeof(*ip) + ETHER_LEN > rte_pktmbuf_pkt_len(m))
		return DROP_bad_payload_length;
	if (martian(&ip->src_addr))
		return DROP_bad_source;
	if (forward_is_own(b, m, AFI_IPV6, &ip->src_addr))
		return DROP_own_source;
	if (martian(&ip->dst_addr))
		return DROP_bad_destination;
	if (!b->source_routes &&
		source_routed((const uint8_t *)ip, rte_pktmbuf_data_len(m) - ETHER_LEN))
		return DROP_source_route;
	if (link_local(&ip->src_addr) || link_local(&ip->dst_addr))
		return DROP_link_scope;
	return forward_is_group(m) ? DROP_link_broadcast : DROP_NOT;
}

/* Results of classification for all packets together: bits that differ from the common kind. */
struct verdicts {
	words8 front, to; /* bits of version and source, and of the destination, for two packets */
	/*
	 * not 0: the link layer added bytes, or part of the packet is missing, or a VLAN tag was
	 * removed, or an extension header that may precede a routing header follows
	 */
	words8 behind;
	words8 lacking; /* negative: the first buffer has no complete header */
	words8 expired; /* negative: a hop limit of 0 or 1 */
	words8 longest;
	uint32_t own; /* bit n: a packet of group n may have an own address as its source */
};

/* Reads destinations and lengths of pkt[i..i+8) and the table index of each. */
static __rte_always_inline void
classify8(struct lane *l, unsigned i, const _Atomic uint8_t *filter, struct verdicts *all)
{
	const words8 front_is = {0x60, 0, 0x20, 0, 0x60, 0, 0x20, 0}, to_is = {0x20, 0, 0, 0, 0x20};
	const uint8_t *const *ip = (const uint8_t *const *)&l->ip[i];
	words8 r[4], second, fourth, last, len, next, present, linear, vlan;

	for (unsigned k = 0; k < 8; k++)
		l->first[i + k] = table_v6_index(ip[k] + TO_AT);
	for (unsigned k = 0; k < 8; k += 2) {
		words8 to = load16_of(ip[k] + TO_AT, ip[k + 1] + TO_AT);

		memcpy(l->destination.v6[i + k], &to, sizeof(to));
		all->to |= to ^ to_is;
	}
	for (unsigned k = 0; k < 4; k++) {
		r[k] = load16_of(ip[k], ip[k + 4]);
		all->front |= r[k] ^ front_is;
	}
	fourth = high_pairs_of(high_of(r[0], r[1]), high_of(r[2], r[3]));
	last = (words8){load4(ip[0] + SOURCE_END), load4(ip[1] + SOURCE_END),
		load4(ip[2] + SOURCE_END), load4(ip[3] + SOURCE_END), load4(ip[4] + SOURCE_END),
		load4(ip[5] + SOURCE_END), load4(ip[6] + SOURCE_END), load4(ip[7] + SOURCE_END)};
	all->own |= (uint32_t)forward_maybe_own(filter, OWN_PLACE_V6(fourth, last)) << (i / 8);
	/* payload length, next header, hop limit */
	second = high_pairs_of(low_of(r[0], r[1]), low_of(r[2], r[3]));
	len = ((second >> 8 & 0xff) | (second << 8 & 0xff00)) + sizeof(struct rte_ipv6_hdr);
	lengths_of(&l->pkt[i], &present, &linear, &vlan);
	next = second & 0xff << 16;
	all->behind |= ((len + ETHER_LEN) ^ present) | vlan |
		       (words8)((next == IPPROTO_HOPOPTS << 16) | (next == IPPROTO_ROUTING << 16) |
				(next == IPPROTO_DSTOPTS << 16));
	all->lacking |= linear - (uint32_t)(ETHER_LEN + sizeof(struct rte_ipv6_hdr));
	all->expired |= (second >> 24) - 2;
	all->longest = larger(all->longest, len);
}

/* True if a packet of the groups has an own address as its source. */
static __attribute__((noinline)) bool
has_own(const struct burst *b, uint32_t groups) RUNS_ON(role_worker)
{
	const struct lane *l = &b->v6;

	for (; groups != 0; groups &= groups - 1) {
		unsigned i = (unsigned)__builtin_ctz(groups) * 8;

		for (unsigned end = i + 8; i < end && i < l->count; i++)
			if (forward_is_own(b, l->pkt[i], AFI_IPV6, l->ip[i] + 8))
				return true;
	}
	return false;
}

/*
 * Checks the whole lane for the common kind: source and destination in 2000::/3 (thus neither
 * martian nor link-local), complete, without extra bytes. Returns true if all packets are of this
 * kind; check_header() and forward_trim() would then find nothing.
 */
static __rte_always_inline bool
classify_plain(const struct burst *b, struct lane *l) RUNS_ON(role_worker)
{
	const words8 front_of = {0xf0, 0, 0xe0, 0, 0xf0, 0, 0xe0, 0}, to_of = {0xe0, 0, 0, 0, 0xe0};
	struct verdicts all = {.front = {0}};

	lane_pad(l);
	for (unsigned i = 0; i < l->count; i += 8)
		classify8(l, i, b->own_addresses->filter[1], &all);
	l->any_expired = any_negative(all.expired);
	l->longest = largest(all.longest);
	if (__builtin_expect(all.own != 0, 0) && has_own(b, all.own))
		return false;
	return bits_of((all.front & front_of) | (all.to & to_of) | all.behind |
		       (all.lacking & 0x80000000)) == 0;
}

/* Checks the packets one by one and closes the gaps of dropped packets. */
static __attribute__((noinline)) void
classify_rest(struct burst *b) RUNS_ON(role_worker)
{
	struct lane *l = &b->v6;
	unsigned kept = 0;

	for (unsigned i = 0; i < l->count; i++) {
		struct rte_mbuf *m = l->pkt[i];
		enum drop_reason reason = check_header(b, m, (const struct rte_ipv6_hdr *)l->ip[i]);

		if (reason != DROP_NOT) {
			forward_refuse(b, m, reason);
			continue;
		}
		forward_trim(m, forward_len(l->ip[i], AFI_IPV6));
		memmove(l->destination.v6[kept], l->destination.v6[i],
			sizeof(l->destination.v6[i]));
		l->ip[kept] = l->ip[i];
		l->first[kept] = l->first[i];
		l->pkt[kept++] = m;
	}
	l->count = kept;
}

HOT void
ip6_classify(struct burst *b)
{
	if (!classify_plain(b, &b->v6) || b->group)
		classify_rest(b);
}

static __attribute__((noinline)) unsigned
finish_plain(const struct lane *l, unsigned i, unsigned end, const struct fib_reader *fib,
	struct outbox *out) RUNS_ON(role_worker)
{
	return forward_plain(l, i, end, AFI_IPV6, fib, out);
}

HOT void
ip6_look_up(struct burst *b, const struct fib_reader *fib, const struct fib_generation *generation,
	struct vrf_id vrf, unsigned step)
{
	struct lane *l = &b->v6;
	const uint8_t(*to)[16] = (const uint8_t(*)[16])l->destination.v6;

	static_assert(BURST_MAX <= TABLE_V6_BURST, "a burst is looked up at once");
	if (step == 0) /* a loop of its own for step 0 */
		fib_read_v6_step(fib, generation, vrf, to, l->slot, l->rest, l->count, 0);
	else
		fib_read_v6_step(fib, generation, vrf, to, l->slot, l->rest, l->count, step);
}

/*
 * Some answers of pkt[from..from+n) are below /48. Continues all lookups together, because single
 * lookups would wait for memory at each level.
 */
static __attribute__((noinline)) void
look_up_deep(struct lane *l, unsigned from, unsigned n, const struct fib_reader *fib,
	const struct fib_generation *generation, struct vrf_id vrf) RUNS_ON(role_worker)
{
	const uint32_t *words = fib_read_v6_words(fib, generation, vrf);

	if (words != NULL)
		table_v6_lookup_deep(
			words, (const uint8_t(*)[16])l->destination.v6 + from, l->slot + from, n);
	(void)fib_read_v6_lists(fib, generation, vrf, l->slot + from, l->list + from, n);
}

HOT void
ip6_finish(struct burst *b, const struct fib_reader *fib, const struct fib_generation *generation,
	struct vrf_id vrf, struct outbox *out)
{
	struct lane *l = &b->v6;

	for (unsigned i = 0, n; i < l->count; i += n) {
		n = l->count - i < ANSWERS ? l->count - i : ANSWERS;
		if (__builtin_expect(
			    fib_read_v6_lists(fib, generation, vrf, l->slot + i, l->list + i, n),
			    0))
			look_up_deep(l, i, n, fib, generation, vrf);
		forward_finish(b, l, i, i + n, AFI_IPV6, fib, out, finish_plain);
	}
}

HOT void
ip6_finish_each(struct burst *b, const struct fib_reader *fib,
	const struct fib_generation *generation, struct outbox *out)
{
	const struct compact *table[BURST_MAX];
	struct lane *l = &b->v6;
	const uint8_t(*to)[16] = (const uint8_t(*)[16])l->destination.v6;
	bool painted = false;
	unsigned i = 0;

	do {
		uint16_t vrf = l->pkt[i]->port;

		table[i] = BOUNDS_READ(&fib->bounds, generation->v6[vrf].compact);
		painted |= generation->v6[vrf].words != NULL;
	} while (++i < l->count);
	compact_v6_lookup_each(table, to, l->list, l->count);
	for (i = 0; painted && i < l->count; i++) {
		struct vrf_id vrf = {l->pkt[i]->port};

		if (generation->v6[vrf.v].words != NULL)
			fib_read_v6_bulk(fib, generation, vrf, to + i, l->list + i, 1);
	}
	forward_finish(b, l, 0, l->count, AFI_IPV6, fib, out, finish_plain);
}
