/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What IPv4 and IPv6 share of forwarding: the Ethernet check with the split of a burst by family, and the way from a path list to an
 * adjacency.
 *
 * Data-path safe: no memory, log, lock or system call.
 */
#pragma once

#include "dataplane/burst.h"
#include "dataplane/eight.h"
#include "lpm/base.h"
#include "lpm/fib_read.h"

#include <string.h>

#define DROP_NOT DROP_COUNT /* what a check says of a packet that goes on */

/* Fills the lanes' pkt[] and ip[] from v4.pkt[0..n), as received, by EtherType. `mac` is the receiving port's. */
void forward_split(struct burst *b, unsigned n, const uint8_t mac[6]) RUNS_ON(role_worker);
/* Path list `id`'s answer for pkt[i]; NULL: the packet has gone to dropped[], fault[] or waiting[]. */
const struct adjacency *forward_choose(struct burst *b, const struct lane *l, unsigned i,
	enum afi afi, uint32_t id, const struct fib_reader *fib) RUNS_ON(role_worker);

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

/* A list of one path without backups, whose next hop is up, is what most packets have: no call, no hash. */
static __rte_always_inline const struct adjacency *
forward_choose_plain(const struct path_list *list, const struct fib_reader *fib)
{
	if (list->kind != PATH_LIST_FORWARD || list->path_count != 1)
		return NULL;
	return fib_read_next_hop(fib, list->path[0].next_hop);
}

static __rte_always_inline unsigned
forward_len(const uint8_t *ip, enum afi afi)
{
	return afi == AFI_IPV4 ? ip[2] * 256u + ip[3] : ip[4] * 256u + ip[5] + 40;
}

/*
 * RFC 1812 5.3.1, RFC 8200 3: TTL is looked at only when forwarding; a hop limit that would become 0 ends here. RFC 1812 5.2.7.3, not done:
 * fragmentation; what does not fit is dropped with its reason. RFC 8200 5: routers do not fragment.
 */
static __rte_always_inline enum drop_reason
forward_check(const struct lane *l, unsigned i, const uint8_t *ip, const struct adjacency *a,
	enum afi afi, bool own)
{
	if (own) {
		if (forward_len(ip, afi) > a->mtu)
			return DROP_too_big;
	} else {
		/* ttl_word is less by one already */
		if (l->any_expired && (afi == AFI_IPV4 ? (uint8_t)(l->ttl_word[i] + 1) : ip[7]) <= 1)
			return DROP_ttl_expired;
		if (l->len_bound > a->mtu && l->len[i] > a->mtu)
			return DROP_too_big;
	}
	return a->ether_len == ETHER_LEN ? DROP_NOT : DROP_invariant;
}

/*
 * The Ethernet header, over the one that was there, and TTL. The EtherType is the packet's own: an IPv4 packet may leave to an IPv6 neighbour,
 * RFC 8950 4; a received one has it.
 */
static __rte_always_inline void
forward_rewrite(const struct lane *l, unsigned i, uint8_t *ip, const struct adjacency *a,
	enum afi afi, bool own)
{
	static const uint8_t type[2][2] = {{0x08, 0x00}, {0x86, 0xdd}};

	memcpy(ip - ETHER_LEN, a->ether, ETHER_LEN - 2);
	if (own)
		memcpy(ip - 2, type[afi == AFI_IPV6], 2);
	else if (afi == AFI_IPV4)
		memcpy(ip + 8, &l->ttl_word[i], sizeof(l->ttl_word[i]));
	else
		ip[7]--;
}

/* What does not leave. */
static __attribute__((noinline, unused)) void
forward_refuse(
	struct burst *b, struct rte_mbuf *m, enum afi afi, enum drop_reason reason, uint16_t mtu)
{
	if (reason == DROP_invariant)
		burst_drop(b, m, reason);
	else
		burst_fault(b, m, afi, reason, mtu);
}

/*
 * From the tables' words to packets in their ports' buffers. `afi` and `own` are constants where it is called. From packet `i` on; returns how far it
 * came: IPv6 stops where the table goes on below.
 */
static __rte_always_inline unsigned
forward_finish(struct burst *b, enum afi afi, const struct fib_reader *fib, uint32_t miss, bool own,
	struct outbox *out, unsigned i) RUNS_ON(role_worker)
{
	struct lane *l = afi == AFI_IPV4 ? &b->v4 : &b->v6;
	const struct path_list *lists = fib->path_lists;
	struct tx_buffer *tx = out->tx;
	unsigned ports = out->ports, count = l->count;
	uint64_t pending = out->pending;

	for (; i < count; i++) {
		struct rte_mbuf *m = l->pkt[i];
		uint8_t *ip = own ? rte_pktmbuf_mtod_offset(m, uint8_t *, ETHER_LEN) : l->ip[i];
		uint32_t word = l->word[i];
		uint32_t id = afi == AFI_IPV4 ? fib_read_v4_answer(word, miss) : table_v6_answer(word, miss);
		const struct adjacency *a;
		enum drop_reason reason;
		struct tx_buffer *t;

		if (afi == AFI_IPV6 && __builtin_expect(table_v6_goes_on(word), 0))
			break;
		a = forward_choose_plain(&lists[id], fib);
		if (__builtin_expect(a == NULL, 0)) {
			a = forward_choose(b, l, i, afi, id, fib);
			if (a == NULL)
				continue;
		}
		reason = forward_check(l, i, ip, a, afi, own);
		if (__builtin_expect(reason != DROP_NOT || a->port >= ports, 0)) {
			forward_refuse(
				b, m, afi, reason != DROP_NOT ? reason : DROP_invariant, a->mtu);
			continue;
		}
		forward_rewrite(l, i, ip, a, afi, own);
		t = &tx[a->port];
		t->pkt[t->count++] = m;
		pending |= UINT64_C(1) << a->port;
	}
	out->pending = pending;
	return i;
}
