/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/ip4.h"
#include "dataplane/rewrite.h"

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_prefetch.h>
#include <string.h>

#define OK DROP_COUNT
#define PREFETCH_AHEAD 4

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

/* RFC 1812 5.2.2. `len`: bytes from the header's start. OK or the reason. */
static inline enum drop_reason
check_header(const struct rte_mbuf *m, const struct rte_ipv4_hdr *ip, unsigned len, uint32_t *dst)
{
	unsigned header_len = (ip->version_ihl & RTE_IPV4_HDR_IHL_MASK) * 4u;
	unsigned total_len = rte_be_to_cpu_16(ip->total_length);

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
	return martian(*dst) ? DROP_bad_destination : OK;
}

static inline enum drop_reason
check_frame(struct rte_mbuf *m, const uint8_t mac[6], uint32_t *dst)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	unsigned len = rte_pktmbuf_data_len(m);
	enum drop_reason reason;

	if (len < ETHER_LEN)
		return DROP_too_short;
	bool group = eth->dst_addr.addr_bytes[0] & 1;
	if (!group && memcmp(eth->dst_addr.addr_bytes, mac, 6) != 0)
		return DROP_other_host;
	if (eth->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4))
		return DROP_not_ipv4;
	if (len < ETHER_LEN + sizeof(struct rte_ipv4_hdr))
		return DROP_too_short;
	reason = check_header(m, (const struct rte_ipv4_hdr *)(eth + 1), len - ETHER_LEN, dst);
	/* RFC 1812 5.3.4: comes after the header checks, as it is about forwarding. */
	return reason == OK && group ? DROP_link_broadcast : reason;
}

/* What the link added behind the datagram is not forwarded. */
static inline void
trim_padding(struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip =
		rte_pktmbuf_mtod_offset(m, const struct rte_ipv4_hdr *, ETHER_LEN);

	if (m->nb_segs == 1)
		m->pkt_len = m->data_len =
			(uint16_t)(rte_be_to_cpu_16(ip->total_length) + ETHER_LEN);
}

void
ip4_classify(struct burst *b, const uint8_t mac[6])
{
	unsigned kept = 0;

	for (unsigned i = 0; i < b->count && i < PREFETCH_AHEAD; i++)
		rte_prefetch0(rte_pktmbuf_mtod(b->pkt[i], void *));
	for (unsigned i = 0; i < b->count; i++) {
		struct rte_mbuf *m = b->pkt[i];
		enum drop_reason reason;

		if (i + PREFETCH_AHEAD < b->count)
			rte_prefetch0(rte_pktmbuf_mtod(b->pkt[i + PREFETCH_AHEAD], void *));
		reason = check_frame(m, mac, &b->destination[kept]);
		if (reason != OK) {
			burst_drop(b, m, reason);
			continue;
		}
		trim_padding(m);
		b->pkt[kept++] = m;
	}
	b->count = kept;
}

/* RFC 1624 eqn. 3: HC' = ~(~HC + ~m + m'), with m the word of TTL and protocol. */
static inline void
decrement_ttl(struct rte_ipv4_hdr *ip)
{
	uint16_t before, after;
	uint32_t sum;

	memcpy(&before, &ip->time_to_live, sizeof(before));
	ip->time_to_live--;
	memcpy(&after, &ip->time_to_live, sizeof(after));
	sum = (uint16_t)~ip->hdr_checksum + (uint32_t)(uint16_t)~before + after;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->hdr_checksum = (uint16_t)~sum;
}

/* The next hop that fib_read_adjacency chose was not up: the same choice, by id. */
static inline uint64_t
chosen_next_hop(const struct path_list *list, uint32_t hash)
{
	unsigned i =
		list->path_count > 1 ? (unsigned)(((uint64_t)hash * list->path_count) >> 32) : 0;

	return UNRESOLVED_NEXT_HOP | list->path[i].next_hop.v;
}

/* The path list's answer for pkt[i]; OK leaves the adjacency in *out. */
static inline enum drop_reason
choose_adjacency(struct burst *b, unsigned i, const struct fib_reader *fib,
	const struct adjacency **out) RUNS_ON(role_worker)
{
	const struct rte_mbuf *m = b->pkt[i];
	const struct path_list *list = &fib->path_lists[b->list[i]];
	uint32_t hash = 0;

	if (b->list[i] == PATH_LIST_NONE)
		return DROP_no_route;
	switch ((enum path_list_kind)list->kind) {
	case PATH_LIST_FORWARD:
		if (list->path_count > 1)
			hash = rewrite_flow_hash(
				rte_pktmbuf_mtod_offset(m, const uint8_t *, ETHER_LEN),
				rte_pktmbuf_data_len(m) - ETHER_LEN);
		*out = fib_read_adjacency(fib, list, hash);
		if (*out != NULL)
			return OK;
		b->unresolved[b->unresolved_count++] = chosen_next_hop(list, hash);
		return DROP_unresolved;
	case PATH_LIST_GLEAN:
		b->unresolved[b->unresolved_count++] =
			UNRESOLVED_ON_PORT(list->port, b->destination[i]);
		return DROP_unresolved;
	case PATH_LIST_PUNT:
		return DROP_local_loop;
	case PATH_LIST_BLACKHOLE:
		return DROP_blackhole;
	}
	return DROP_invariant;
}

/*
 * RFC 1812 5.3.1: TTL is looked at only when forwarding. RFC 1812 5.2.7.3, not done: fragmentation; what does not fit is
 * dropped with its reason.
 */
static inline enum drop_reason
check_forward(struct rte_mbuf *m, const struct adjacency *a)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, ETHER_LEN);

	if (ip->time_to_live <= 1)
		return DROP_ttl_expired;
	if (rte_be_to_cpu_16(ip->total_length) > a->mtu)
		return DROP_too_big;
	if (a->ether_len != ETHER_LEN || a->port >= PORTS_MAX)
		return DROP_invariant;
	decrement_ttl(ip);
	return OK;
}

/* Finds each packet's adjacency, so that the last loop waits for none of them. */
static void
resolve(struct burst *b, const struct fib_reader *fib) RUNS_ON(role_worker)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < b->count; i++)
		rte_prefetch0(&fib->path_lists[b->list[i]]);
	for (unsigned i = 0; i < b->count; i++) {
		const struct adjacency *a = NULL;
		enum drop_reason reason = choose_adjacency(b, i, fib, &a);

		if (reason != OK) {
			burst_drop(b, b->pkt[i], reason);
			continue;
		}
		rte_prefetch0(a);
		b->adjacency[kept] = a;
		b->pkt[kept++] = b->pkt[i];
	}
	b->count = kept;
}

void
ip4_route(struct burst *b, const struct fib_reader *fib, struct vrf_id vrf)
{
	/* Once per burst: every packet of it sees one generation. */
	const struct fib_generation *generation = fib_read_begin(fib);
	unsigned kept = 0;

	fib_read_v4_bulk(generation, vrf, b->destination, b->list, b->count);
	resolve(b, fib);
	for (unsigned i = 0; i < b->count; i++) {
		enum drop_reason reason = check_forward(b->pkt[i], b->adjacency[i]);

		if (reason != OK) {
			burst_drop(b, b->pkt[i], reason);
			continue;
		}
		b->adjacency[kept] = b->adjacency[i];
		b->pkt[kept++] = b->pkt[i];
	}
	b->count = kept;
}
