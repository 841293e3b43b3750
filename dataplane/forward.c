/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/forward.h"
#include "dataplane/rewrite.h"

#include <rte_ether.h>
#include <rte_prefetch.h>
#include <string.h>

#define PREFETCH_AHEAD 4

/* The packet's lane, or NULL with the reason. */
static inline struct lane *
lane_of(struct burst *b, const struct rte_mbuf *m, const uint8_t mac[6], enum drop_reason *reason)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);

	*reason = DROP_too_short;
	if (rte_pktmbuf_data_len(m) < ETHER_LEN)
		return NULL;
	*reason = DROP_other_host;
	if (!(eth->dst_addr.addr_bytes[0] & 1) && memcmp(eth->dst_addr.addr_bytes, mac, 6) != 0)
		return NULL;
	*reason = DROP_not_ipv4;
	if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4))
		return &b->v4;
	return eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6) ? &b->v6 : NULL;
}

void
forward_split(struct burst *b, struct rte_mbuf *const *rx, unsigned n, const uint8_t mac[6])
{
	for (unsigned i = 0; i < n && i < PREFETCH_AHEAD; i++)
		rte_prefetch0(rte_pktmbuf_mtod(rx[i], void *));
	for (unsigned i = 0; i < n; i++) {
		enum drop_reason reason;
		struct lane *l;

		if (i + PREFETCH_AHEAD < n)
			rte_prefetch0(rte_pktmbuf_mtod(rx[i + PREFETCH_AHEAD], void *));
		l = lane_of(b, rx[i], mac, &reason);
		if (l == NULL)
			burst_drop(b, rx[i], reason);
		else
			l->pkt[l->count++] = rx[i];
	}
}

static inline uint32_t
flow_hash(const struct rte_mbuf *m, enum afi afi) RUNS_ON(role_worker)
{
	const uint8_t *ip = rte_pktmbuf_mtod_offset(m, const uint8_t *, ETHER_LEN);
	unsigned len = rte_pktmbuf_data_len(m) - ETHER_LEN;

	return afi == AFI_IPV4 ? rewrite_flow_hash_v4(ip, len) : rewrite_flow_hash_v6(ip, len);
}

/* pkt[i] waits for its neighbour. */
static void
wait_for(struct burst *b, const struct lane *l, unsigned i, enum afi afi, uint16_t port,
	uint32_t next_hop) RUNS_ON(role_worker)
{
	struct waiting *w = &b->waiting[b->waiting_count++];

	*w = (struct waiting){
		.pkt = l->pkt[i], .next_hop = next_hop, .port = port, .afi = (uint8_t)afi};
	count_add(&b->stats->drops[DROP_unresolved], 1);
	if (next_hop != NEXT_HOP_NONE)
		return;
	if (afi == AFI_IPV4) {
		w->addr = addr_from_v4(l->destination.v4[i]);
	} else {
		w->addr.afi = AFI_IPV6;
		memcpy(w->addr.b, l->destination.v6[i], sizeof(w->addr.b));
	}
}

/* The path list's answer for pkt[i]; NULL: the packet has gone to dropped[] or waiting[]. */
static inline const struct adjacency *
choose_adjacency(struct burst *b, const struct lane *l, unsigned i, enum afi afi,
	const struct fib_reader *fib) RUNS_ON(role_worker)
{
	const struct path_list *list = &fib->path_lists[l->list[i]];
	const struct adjacency *a;
	enum drop_reason reason = DROP_invariant;
	uint32_t hash = 0;

	if (l->list[i] == PATH_LIST_NONE) {
		burst_fault(b, l->pkt[i], afi, DROP_no_route, 0);
		return NULL;
	}
	switch ((enum path_list_kind)list->kind) {
	case PATH_LIST_FORWARD:
		if (list->path_count > 1)
			hash = flow_hash(l->pkt[i], afi);
		a = fib_read_adjacency(fib, list, hash);
		if (a == NULL)
			wait_for(b, l, i, afi, PORT_NONE,
				list->path[fib_read_choice(list, hash)].next_hop.v);
		return a;
	case PATH_LIST_GLEAN:
		wait_for(b, l, i, afi, list->port, NEXT_HOP_NONE);
		return NULL;
	case PATH_LIST_PUNT:
		reason = DROP_local_loop;
		break;
	case PATH_LIST_BLACKHOLE:
		reason = DROP_blackhole;
		break;
	}
	burst_drop(b, l->pkt[i], reason);
	return NULL;
}

/* Finds each packet's adjacency, so that the loop behind it waits for none of them. */
static inline __attribute__((always_inline)) void
resolve(struct burst *b, struct lane *l, enum afi afi, const struct fib_reader *fib)
	RUNS_ON(role_worker)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < l->count; i++)
		rte_prefetch0(&fib->path_lists[l->list[i]]);
	for (unsigned i = 0; i < l->count; i++) {
		const struct adjacency *a = choose_adjacency(b, l, i, afi, fib);

		if (a == NULL)
			continue;
		rte_prefetch0(a);
		l->adjacency[kept] = a;
		l->pkt[kept++] = l->pkt[i];
	}
	l->count = kept;
}

void
forward_resolve(struct burst *b, enum afi afi, const struct fib_reader *fib)
{
	if (afi == AFI_IPV4)
		resolve(b, &b->v4, AFI_IPV4, fib);
	else
		resolve(b, &b->v6, AFI_IPV6, fib);
}
