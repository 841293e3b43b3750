/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/forward/punt.h"
#include "dataplane/forward/forward.h"
#include "dataplane/port/host_peers.h"
#include "lpm/fib_read.h"
#include "lpm/base/ring.h"

#include <rte_ether.h>
#include <string.h>

#define BGP_PORT 179
#define PROTOCOL_ICMP 1
#define PROTOCOL_TCP 6
#define PROTOCOL_ICMPV6 58

static inline unsigned
read16(const uint8_t *p)
{
	return p[0] * 256u + p[1];
}

/* ---- classes ---- */

/* The class by TCP ports, with `left` bytes from the TCP header on. */
static inline __attribute__((always_inline)) enum host_class
class_ports(const uint8_t *tcp, unsigned left)
{
	if (left < 4)
		return HOST_OTHERS;
	return read16(tcp) == BGP_PORT || read16(tcp + 2) == BGP_PORT ? HOST_BGP_OTHERS
								      : HOST_OTHERS;
}

static inline __attribute__((always_inline)) enum host_class
class_v4(const struct host_peers *peers, struct vrf_id vrf, const uint8_t *ip, unsigned left)
{
	unsigned header = left >= 20 ? (ip[0] & 15) * 4u : 0;

	if (header < 20)
		return HOST_OTHERS;
	if (ip[9] == PROTOCOL_ICMP)
		return HOST_ICMP;
	if (ip[9] != PROTOCOL_TCP)
		return HOST_OTHERS;
	if (host_peers_have(peers, vrf, AFI_IPV4, ip + 12))
		return HOST_BGP_PEERS;
	if ((read16(ip + 6) & 0x1fff) != 0 || header > left) /* a later fragment has no ports */
		return HOST_OTHERS;
	return class_ports(ip + header, left - header);
}

/* RFC 4861 6.1, 7.1: messages of neighbour discovery have hop limit 255. */
static inline bool
is_discovery(const uint8_t *ip, unsigned left)
{
	return left >= 48 && ip[6] == PROTOCOL_ICMPV6 && ip[7] == 255 && ip[40] >= 133 &&
	       ip[40] <= 137;
}

static inline __attribute__((always_inline)) enum host_class
class_v6(const struct host_peers *peers, struct vrf_id vrf, const uint8_t *ip, unsigned left)
{
	bool of_peer;

	if (left < 40)
		return HOST_OTHERS;
	of_peer = host_peers_have(peers, vrf, AFI_IPV6, ip + 8);
	if (ip[6] == PROTOCOL_TCP)
		return of_peer ? HOST_BGP_PEERS : class_ports(ip + 40, left - 40);
	if (ip[6] != PROTOCOL_ICMPV6)
		return HOST_OTHERS;
	if (!is_discovery(ip, left))
		return HOST_ICMP;
	/* RFC 4861 4.4: an advertisement from a link-local address names its target */
	if (ip[40] == 136 && left >= 64)
		of_peer |= host_peers_have(peers, vrf, AFI_IPV6, ip + 48);
	return of_peer ? HOST_BGP_PEERS : HOST_NEIGHBORS;
}

static inline __attribute__((always_inline)) enum host_class
class_of(const struct host_peers *peers, struct vrf_id vrf, const uint8_t *frame, unsigned len)
{
	const uint8_t *l3 = frame + ETHER_LEN;
	unsigned left = len - ETHER_LEN;

	switch (read16(frame + 12)) {
	case RTE_ETHER_TYPE_IPV4:
		return class_v4(peers, vrf, l3, left);
	case RTE_ETHER_TYPE_ARP: /* RFC 826: the sender's protocol address */
		return left >= 28 && host_peers_have(peers, vrf, AFI_IPV4, l3 + 14)
			       ? HOST_BGP_PEERS
			       : HOST_NEIGHBORS;
	case RTE_ETHER_TYPE_IPV6:
		return class_v6(peers, vrf, l3, left);
	}
	return HOST_OTHERS;
}

enum host_class
punt_class(const struct host_peers *peers, struct vrf_id vrf, const uint8_t *frame, unsigned len)
{
	return class_of(peers, vrf, frame, len);
}

/* ---- packets ---- */

/* True if the destination of an IP packet is an address of this router. */
static bool
is_local(const uint8_t *frame, unsigned len, struct vrf_id vrf, const struct fib_reader *fib,
	const struct fib_generation *g) RUNS_ON(role_worker)
{
	const uint8_t *ip = frame + ETHER_LEN;
	unsigned left = len - ETHER_LEN;
	uint8_t to6[1][16];
	uint32_t to4[1], list[1];

	if (read16(frame + 12) == RTE_ETHER_TYPE_IPV4 && left >= 20) {
		to4[0] = read16(ip + 16) << 16 | read16(ip + 18);
		fib_read_v4_lists(fib, g, vrf, to4, list, 1);
	} else if (read16(frame + 12) == RTE_ETHER_TYPE_IPV6 && left >= 40) {
		memcpy(to6[0], ip + 24, sizeof(to6[0]));
		/* RFC 4291 2.5.6: of this link, and the frame was sent to this router */
		if (to6[0][0] == 0xfe && (to6[0][1] & 0xc0) == 0x80)
			return true;
		fib_read_v6_bulk(fib, g, vrf, (const uint8_t(*)[16])to6, list, 1);
	} else {
		return false;
	}
	return fib_read_list(fib, list[0])->kind == PATH_LIST_PUNT;
}

/*
 * Checks of forwarding also drop packets for this router: those with a link-local address. All
 * other reasons of to_host[] mean a packet for this router.
 */
static bool
is_for_host(const struct host_packet *x, const struct punt_source *s, const struct fib_reader *fib,
	const struct fib_generation *g) RUNS_ON(role_worker)
{
	const uint64_t either = UINT64_C(1) << DROP_bad_source |
				UINT64_C(1) << DROP_bad_destination |
				UINT64_C(1) << DROP_link_scope;

	static_assert(DROP_COUNT <= 64, "bits of `either`");
	if (!(either >> x->reason & 1))
		return true;
	return is_local(rte_pktmbuf_mtod(x->pkt, const uint8_t *), rte_pktmbuf_data_len(x->pkt),
		s->vrf, fib, g);
}

/*
 * The kernel answers an echo request to an anycast address from an address that it chooses by the route to the
 * sender, out of the interface of the request: routes of this router are at keel0 alone. Neighbour discovery is about
 * the interface of the port.
 */
static inline bool
goes_to_tun(const struct host_packet *x)
{
	return x->anycast && x->pkt->nb_segs == 1 &&
	       !is_discovery(rte_pktmbuf_mtod(x->pkt, const uint8_t *) + ETHER_LEN,
		       rte_pktmbuf_data_len(x->pkt) - ETHER_LEN);
}

/*
 * Polices and queues to_host[] of a burst. Returns the number of queued packets. A flood must cost
 * little: after the first packet without a token, all further packets of the class in this burst are
 * dropped, and the drops of a class are counted together.
 */
static unsigned
police(struct punt *p, struct burst *b, const struct punt_source *s, const struct fib_reader *fib,
	const struct fib_generation *g, uint64_t now) RUNS_ON(role_worker)
{
	unsigned empty = 0, all = 0, taken = 0, dropped = b->dropped_count;
	uint64_t policed = 0; /* an octet for each class */

	static_assert(BURST_MAX < 256 && HOST_CLASSES <= 8, "octets of `policed`");
	for (unsigned i = 0; i < b->host_count; i++) {
		const struct host_packet *x = &b->to_host[i];
		struct rte_mbuf *m = x->pkt;
		bool tun = goes_to_tun(x);
		enum host_class class;

		if (__builtin_expect(
			    !is_for_host(x, s, fib, g) || (s->way == HOST_WAY_NONE && !tun), 0)) {
			count_add(&b->stats->drops[x->reason], 1);
			b->dropped[dropped++] = m;
			continue;
		}
		class = class_of(p->peers, s->vrf, rte_pktmbuf_mtod(m, const uint8_t *),
			rte_pktmbuf_data_len(m));
		if (!(empty >> class & 1)) {
			if (bucket_take(&p->bucket[s->port][class], now)) {
				m->port = tun ? (uint16_t)(PUNT_TUN | s->vrf.v) : s->port;
				if (ring_push(p->up[class], m)) {
					p->lent++;
					taken++;
				} else {
					count_add(&p->full[s->port][class], 1);
					count_add(&b->stats->drops[DROP_host_full], 1);
					b->dropped[dropped++] = m;
				}
				continue;
			}
			empty |= 1u << class;
		}
		policed += UINT64_C(1) << 8 * class;
		b->dropped[dropped++] = m;
	}
	b->dropped_count = dropped;
	for (unsigned class = 0; policed != 0; class ++, policed >>= 8) {
		count_add(&p->policed[s->port][class], policed & 255);
		all += policed & 255;
	}
	if (all > 0)
		count_add(&b->stats->drops[DROP_host_policed], all);
	return taken;
}

/* The kernel has a copy of each packet. Returns how many packets are for this router. */
static unsigned
leave_copies(struct burst *b, const struct punt_source *s, const struct fib_reader *fib,
	const struct fib_generation *g) RUNS_ON(role_worker)
{
	unsigned taken = 0;

	for (unsigned i = 0; i < b->host_count; i++) {
		const struct host_packet *x = &b->to_host[i];

		if (!is_for_host(x, s, fib, g)) {
			burst_drop(b, x->pkt, (enum drop_reason)x->reason);
		} else {
			b->dropped[b->dropped_count++] = x->pkt;
			taken++;
		}
	}
	return taken;
}

void
punt_burst(struct punt *p, struct burst *b, const struct punt_source *s,
	const struct fib_reader *fib, const struct fib_generation *generation, uint64_t now)
{
	count_add(&b->stats->punted, s->way == HOST_WAY_COPY
					     ? leave_copies(b, s, fib, generation)
					     : police(p, b, s, fib, generation, now));
	b->host_count = 0;
}

static bool
to_tun(struct punt *p, struct rte_mbuf *m, struct vrf_id vrf, enum host_class class)
	RUNS_ON(role_worker)
{
	static_assert(FIB_VRF_MAX <= PUNT_TUN && PORTS_MAX <= PUNT_TUN, "fits beside");
	m->port = (uint16_t)(PUNT_TUN | vrf.v);
	if (!ring_push(p->up[class], m))
		return false;
	p->lent++;
	return true;
}

void
punt_labelled(struct punt *p, struct burst *b, uint16_t port, const struct fib_reader *fib,
	const struct fib_generation *generation, uint64_t now)
{
	for (unsigned i = 0; i < b->host_count; i++) {
		const struct host_packet *x = &b->to_host[i];
		struct rte_mbuf *m = x->pkt;
		const struct punt_source s = {.port = port, .vrf = {m->port}};
		enum host_class class = class_of(p->peers, s.vrf,
			rte_pktmbuf_mtod(m, const uint8_t *), rte_pktmbuf_data_len(m));

		if (m->nb_segs > 1 || !is_for_host(x, &s, fib, generation)) {
			burst_drop(b, m, (enum drop_reason)x->reason);
		} else if (!bucket_take(&p->bucket[port][class], now)) {
			count_add(&p->policed[port][class], 1);
			burst_drop(b, m, DROP_host_policed);
		} else if (!to_tun(p, m, s.vrf, class)) {
			count_add(&p->full[port][class], 1);
			burst_drop(b, m, DROP_host_full);
		} else {
			count_add(&b->stats->punted, 1);
		}
	}
	b->host_count = 0;
}

bool
punt_to_tun(struct punt *p, struct rte_mbuf *m, struct vrf_id vrf)
{
	return to_tun(p, m, vrf, HOST_ICMP);
}

void
punt_reclaim(struct punt *p)
{
	struct rte_mbuf *m[BURST_MAX];
	unsigned n = 0;

	while (n < BURST_MAX && (m[n] = ring_pop(p->back)) != NULL)
		n++;
	p->lent -= n;
	if (n > 0)
		rte_pktmbuf_free_bulk(m, n);
}
