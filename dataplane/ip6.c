/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/ip6.h"
#include "dataplane/forward.h"

#include <rte_ip.h>
#include <rte_prefetch.h>
#include <string.h>

/*
 * RFC 4291 2.5.2, 2.5.3, 2.7 (a multicast destination: we forward none); IPv4-mapped ones stand for IPv4 inside a host and are not
 * forwardable, RFC 6890 2.2.3.
 */
static inline bool
martian(const uint8_t a[16])
{
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
link_local(const uint8_t a[16])
{
	return a[0] == 0xfe && (a[1] & 0xc0) == 0x80;
}

/*
 * RFC 8200 3. RFC 4007 9 and RFC 4443 3.1, not done: "beyond scope of source address" for a link-local source; the packet goes without a
 * word, as its sender chose an address that no router answers for.
 */
static inline enum drop_reason
check_header(const struct rte_mbuf *m, const struct rte_ipv6_hdr *ip)
{
	if (rte_pktmbuf_data_len(m) < ETHER_LEN + sizeof(*ip))
		return DROP_too_short;
	if ((ip->vtc_flow & RTE_BE32(0xf0000000)) != RTE_BE32(0x60000000))
		return DROP_bad_version;
	/* RFC 2675, not done: a jumbogram is larger than any MTU of ours. */
	if (rte_be_to_cpu_16(ip->payload_len) + sizeof(*ip) + ETHER_LEN > rte_pktmbuf_pkt_len(m))
		return DROP_bad_payload_length;
	if (martian(ip->src_addr))
		return DROP_bad_source;
	if (martian(ip->dst_addr))
		return DROP_bad_destination;
	if (link_local(ip->src_addr) || link_local(ip->dst_addr))
		return DROP_link_scope;
	return forward_is_group(m) ? DROP_link_broadcast : DROP_NOT;
}

/*
 * What most packets are: 2000::/3 at both ends (so no martian, and of no link's scope), all of it there. True: check_header() has nothing
 * to say.
 */
static inline bool
plain(const struct rte_mbuf *m, const struct rte_ipv6_hdr *ip, unsigned len)
{
	return ((unsigned)(ip->src_addr[0] ^ 0x20) | (unsigned)(ip->dst_addr[0] ^ 0x20)) < 0x20 &&
	       (ip->vtc_flow & RTE_BE32(0xf0000000)) == RTE_BE32(0x60000000) &&
	       len + ETHER_LEN <= rte_pktmbuf_pkt_len(m) &&
	       rte_pktmbuf_data_len(m) >= ETHER_LEN + sizeof(*ip);
}

void
ip6_classify(struct burst *b, const struct fib_generation *generation, struct vrf_id vrf)
{
	const uint32_t *words = generation->v6[vrf.v].words;
	struct lane *l = &b->v6;
	unsigned kept = 0;

	for (unsigned i = 0; i < l->count; i++) {
		struct rte_mbuf *m = l->pkt[i];
		struct rte_ipv6_hdr *ip =
			rte_pktmbuf_mtod_offset(m, struct rte_ipv6_hdr *, ETHER_LEN);
		unsigned len = rte_be_to_cpu_16(ip->payload_len) + (unsigned)sizeof(*ip);

		if (words != NULL)
			rte_prefetch0(&words[table_v6_index(ip->dst_addr)]);
		if (__builtin_expect(!plain(m, ip, len) || b->group, 0)) {
			enum drop_reason reason = check_header(m, ip);

			if (reason != DROP_NOT) {
				burst_drop(b, m, reason);
				continue;
			}
		}
		memcpy(l->destination.v6[kept], ip->dst_addr, sizeof(ip->dst_addr));
		forward_trim(m, len);
		l->len[kept] = len;
		l->ip[kept] = (uint8_t *)ip;
		l->pkt[kept++] = m;
	}
	l->count = kept;
}

void
ip6_finish(struct burst *b, const struct fib_reader *fib, const struct fib_generation *generation,
	struct vrf_id vrf, struct outbox *out)
{
	struct lane *l = &b->v6;

	fib_read_v6_bulk(
		generation, vrf, (const uint8_t(*)[16])l->destination.v6, l->list, l->count);
	if (b->own)
		forward_finish(b, AFI_IPV6, fib, generation, vrf, true, out);
	else
		forward_finish(b, AFI_IPV6, fib, generation, vrf, false, out);
}
