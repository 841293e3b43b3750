/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What IPv4 and IPv6 share of forwarding: the Ethernet check with the split of a burst by family, and the way from a path list to an
 * adjacency.
 *
 * Data-path safe: no memory, log, lock or system call.
 */
#pragma once

#include "dataplane/burst.h"
#include "lpm/base.h"
#include "lpm/fib_read.h"

#define DROP_NOT DROP_COUNT /* what a check says of a packet that goes on */

/* Fills the lanes' pkt[] from rx[0..n), by EtherType. `mac` is the receiving port's. */
void forward_split(struct burst *b, struct rte_mbuf *const *rx, unsigned n, const uint8_t mac[6])
	RUNS_ON(role_worker);
/* list[] -> adjacency[], of the lane of that family (destination[] is still in step with pkt[]). Fills waiting[]. */
void forward_resolve(struct burst *b, enum afi afi, const struct fib_reader *fib)
	RUNS_ON(role_worker);

/* Received as a link-layer broadcast or multicast (only a split burst can be). */
static inline bool
forward_is_group(const struct rte_mbuf *m)
{
	return *rte_pktmbuf_mtod(m, const uint8_t *) & 1;
}

/* What the link added behind the datagram of `ip_len` bytes is not forwarded. */
static inline void
forward_trim(struct rte_mbuf *m, unsigned ip_len)
{
	if (m->nb_segs == 1)
		m->pkt_len = m->data_len = (uint16_t)(ip_len + ETHER_LEN);
}

/*
 * The last check of a lane whose adjacencies are known: what passes moves up, what does not is dropped with its reason. Inlined with its
 * check, which is a constant where it is called: no packet costs a call.
 */
static __rte_always_inline void
forward_keep(struct burst *b, enum afi afi,
	enum drop_reason (*check)(struct rte_mbuf *m, const struct adjacency *a, bool own))
{
	struct lane *l = afi == AFI_IPV4 ? &b->v4 : &b->v6;
	unsigned kept = 0;

	for (unsigned i = 0; i < l->count; i++) {
		enum drop_reason reason = check(l->pkt[i], l->adjacency[i], b->own);

		if (reason == DROP_invariant) {
			burst_drop(b, l->pkt[i], reason);
			continue;
		}
		if (reason != DROP_NOT) {
			burst_fault(b, l->pkt[i], afi, reason, l->adjacency[i]->mtu);
			continue;
		}
		l->adjacency[kept] = l->adjacency[i];
		l->pkt[kept++] = l->pkt[i];
	}
	l->count = kept;
}
