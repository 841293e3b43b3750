/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/ip6.h"
#include "dataplane/forward.h"

#include <rte_ip.h>
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

void
ip6_classify(struct burst *b)
{
	struct lane *l = &b->v6;
	unsigned kept = 0;

	for (unsigned i = 0; i < l->count; i++) {
		struct rte_mbuf *m = l->pkt[i];
		const struct rte_ipv6_hdr *ip =
			rte_pktmbuf_mtod_offset(m, const struct rte_ipv6_hdr *, ETHER_LEN);
		enum drop_reason reason = check_header(m, ip);

		if (reason != DROP_NOT) {
			burst_drop(b, m, reason);
			continue;
		}
		memcpy(l->destination.v6[kept], ip->dst_addr, sizeof(ip->dst_addr));
		forward_trim(m, rte_be_to_cpu_16(ip->payload_len) + (unsigned)sizeof(*ip));
		l->pkt[kept++] = m;
	}
	l->count = kept;
}

/* RFC 8200 3: a hop limit that would become 0 ends here. RFC 8200 5: routers do not fragment. */
static __rte_always_inline enum drop_reason
check_forward(struct rte_mbuf *m, const struct adjacency *a, bool own)
{
	struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv6_hdr *, ETHER_LEN);

	if (!own && ip->hop_limits <= 1)
		return DROP_ttl_expired;
	if (rte_be_to_cpu_16(ip->payload_len) + sizeof(*ip) > a->mtu)
		return DROP_too_big;
	if (a->ether_len != ETHER_LEN || a->port >= PORTS_MAX)
		return DROP_invariant;
	if (!own)
		ip->hop_limits--;
	return DROP_NOT;
}

void
ip6_route(struct burst *b, const struct fib_reader *fib, const struct fib_generation *generation,
	struct vrf_id vrf)
{
	struct lane *l = &b->v6;

	fib_read_v6_bulk(
		generation, vrf, (const uint8_t(*)[16])l->destination.v6, l->list, l->count);
	forward_resolve(b, AFI_IPV6, fib);
	forward_keep(b, AFI_IPV6, check_forward);
}
