/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/forward/worker.h"
#include "dataplane/forward/burst.h"
#include "dataplane/forward/forward.h"
#include "dataplane/forward/fragment.h"
#include "dataplane/forward/icmp.h"
#include "dataplane/forward/idle.h"
#include "dataplane/forward/ip4.h"
#include "dataplane/forward/ip6.h"
#include "dataplane/forward/mpls.h"
#include "dataplane/port/port_inner.h"
#include "dataplane/forward/worker_struct.h"
#include "lpm/fib_read.h"
#include "lpm/path_list.h"
#include "lpm/base/qsbr.h"
#include "lpm/base/ring.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_pause.h>
#include <string.h>

/* Transmits on a queue that other workers use, too. Waits for one burst of each of those workers. */
static __attribute__((noinline)) unsigned
transmit_shared(struct tx_buffer *t) RUNS_ON(role_worker)
{
	unsigned sent;

	if (t->closed)
		return 0;
	/* acquire: pairs with the release below, of the previous worker */
	while (atomic_exchange_explicit(&t->lock->held, true, memory_order_acquire))
		rte_pause();
	sent = rte_eth_tx_burst(t->ethdev, t->queue, t->pkt, (uint16_t)t->count);
	atomic_store_explicit(&t->lock->held, false, memory_order_release);
	return sent;
}

/* Returns the number of packets that the driver accepted. */
static inline unsigned
transmit(struct tx_buffer *t) RUNS_ON(role_worker)
{
	return t->lock == NULL ? rte_eth_tx_burst(t->ethdev, t->queue, t->pkt, (uint16_t)t->count)
			       : transmit_shared(t);
}

/* transmit() with the counters of a port on a VLAN. */
static __attribute__((noinline)) unsigned
transmit_tagged(struct worker *w, unsigned port) RUNS_ON(role_worker)
{
	struct tx_buffer *t = &w->tx[port];
	uint16_t octets[BURST_MAX]; /* the driver owns what it has accepted */
	unsigned sent;
	uint64_t sum = 0;

	for (unsigned i = 0; i < t->count; i++)
		octets[i] = (uint16_t)rte_pktmbuf_pkt_len(t->pkt[i]);
	sent = transmit(t);
	for (unsigned i = 0; i < sent; i++)
		sum += octets[i];
	count_add(&w->vlan_counters[port].tx_packets, sent);
	count_add(&w->vlan_counters[port].tx_bytes, sum);
	return sent;
}

/* The tables may say any MTU: drops the packets that would overflow buffers of the driver. */
static __attribute__((noinline)) void
drop_long(struct worker *w, unsigned port) RUNS_ON(role_worker)
{
	struct tx_buffer *t = &w->tx[port];
	unsigned kept = 0, dropped;

	for (unsigned i = 0; i < t->count; i++) {
		struct rte_mbuf *m = t->pkt[i];

		if (rte_pktmbuf_pkt_len(m) <= t->most)
			t->pkt[kept++] = m;
		else
			rte_pktmbuf_free_bulk(&m, 1);
	}
	dropped = t->count - kept;
	count_add(&w->tx_dropped[port], dropped);
	count_add(&w->stats.drops[DROP_invariant], dropped);
	t->count = kept;
}

static void
flush_port(struct worker *w, unsigned port, _Atomic uint64_t *sent_counter) RUNS_ON(role_worker)
{
	struct tx_buffer *t = &w->tx[port];
	unsigned sent, left;

	if (t->tag_octets != 0)
		vlan_push(w, port);
	if (t->most != 0)
		drop_long(w, port);
	sent = t->tag_octets == 0 ? transmit(t) : transmit_tagged(w, port);
	left = t->count - sent;
	count_add(sent_counter, sent);
	if (left > 0) {
		count_add(&w->tx_dropped[port], left);
		count_add(&w->stats.drops[t->closed ? DROP_port_removed : DROP_tx_full], left);
		rte_pktmbuf_free_bulk(&t->pkt[sent], left);
	}
	t->count = 0;
}

static void
flush(struct worker *w, uint64_t pending, _Atomic uint64_t *sent_counter) RUNS_ON(role_worker)
{
	while (pending != 0) {
		unsigned port = (unsigned)__builtin_ctzll(pending);

		pending &= pending - 1;
		flush_port(w, port, sent_counter);
	}
}

/*
 * Sends the fragments of a packet on a port whose buffer is empty. The packet counts as sent if all
 * fragments are sent.
 */
static void
send_fragments(struct worker *w, unsigned port, const struct split *x,
	_Atomic uint64_t *sent_counter) RUNS_ON(role_worker)
{
	struct tx_buffer *t = &w->tx[port];
	struct rte_mbuf *whole = x->pkt;
	enum drop_reason reason = DROP_no_buffer;
	unsigned sent, left;

	static_assert(FRAGMENTS_MAX <= BURST_MAX, "fit the buffer");
	if (t->most != 0 && x->head + x->mtu + t->tag_octets > t->most)
		reason = DROP_invariant; /* as in drop_long() */
	else if (!fragment_fits(x))
		reason = DROP_fragment_end;
	else
		t->count = fragment_v4(x, w->copies, t->pkt);
	rte_pktmbuf_free_bulk(&whole, 1);
	if (t->count == 0) {
		count_add(&w->stats.drops[reason], 1);
		return;
	}
	if (t->tag_octets != 0)
		vlan_push(w, port);
	sent = t->tag_octets == 0 ? transmit(t) : transmit_tagged(w, port);
	left = t->count - sent;
	count_add(&w->stats.fragments, sent);
	if (left == 0) {
		count_add(sent_counter, 1);
	} else {
		count_add(&w->tx_dropped[port], left);
		count_add(&w->stats.drops[t->closed ? DROP_port_removed : DROP_tx_full], 1);
		rte_pktmbuf_free_bulk(&t->pkt[sent], left);
	}
	t->count = 0;
}

/* flush_port() for a burst with packets to fragment: sends the packets in order. */
static void
flush_port_split(struct worker *w, const struct burst *b, unsigned port,
	_Atomic uint64_t *sent_counter) RUNS_ON(role_worker)
{
	struct tx_buffer *t = &w->tx[port];
	struct rte_mbuf *all[BURST_MAX];
	unsigned n = t->count, next = 0;

	for (unsigned i = 0; i < n;
		i++) /* memcpy() of a length that is no constant would be checked */
		all[i] = t->pkt[i];
	t->count = 0;
	for (unsigned i = 0; i < n; i++) {
		unsigned k = next;

		while (k < b->split_count && b->split[k].pkt != all[i])
			k++;
		if (k == b->split_count) { /* the packet is not to be fragmented */
			tx_add(t, all[i]);
			continue;
		}
		next = k + 1; /* split[] has the order of the packets of each port */
		if (t->count > 0)
			flush_port(w, port, sent_counter);
		send_fragments(w, port, &b->split[k], sent_counter);
	}
	if (t->count > 0)
		flush_port(w, port, sent_counter);
}

static __attribute__((noinline)) void
flush_split(struct worker *w, const struct burst *b, uint64_t pending,
	_Atomic uint64_t *sent_counter) RUNS_ON(role_worker)
{
	for (; pending != 0; pending &= pending - 1)
		flush_port_split(w, b, (unsigned)__builtin_ctzll(pending), sent_counter);
}

static void
waiting_show(struct worker *w) RUNS_ON(role_worker)
{
	atomic_store_explicit(&w->stats.waiting, w->resolve.count, memory_order_relaxed);
}

/*
 * Moves every waiting packet to the neighbour's queue, fault[] or dropped[]. Labelled packets cause no
 * error.
 */
static __attribute__((noinline)) void
report_waiting(struct worker *w, struct burst *b, struct vrf_id vrf, uint64_t now)
	RUNS_ON(role_worker)
{
	for (unsigned i = 0; i < b->waiting_count; i++) {
		const struct waiting *x = &b->waiting[i];
		enum resolve_fate fate = resolve_add(
			&w->resolve, b, x, b->each ? x->pkt->port : vrf.v, w->path_lists, now);

		if (fate == RESOLVE_WAITS)
			continue;
		if (fate == RESOLVE_FAILED && x->afi != AFI_NONE)
			burst_fault(b, x->pkt, (enum afi)x->afi, DROP_unresolved, 0);
		else
			burst_drop(b, x->pkt, DROP_unresolved);
	}
	waiting_show(w);
}

/*
 * Finishes a burst after its lookup: packets go to the transmit buffers, dropped packets are
 * freed, fault[] remains. Both families use one generation. Returns the ports with packets.
 */
static inline uint64_t
route(struct worker *w, struct burst *b, const struct fib_generation *generation, struct vrf_id vrf,
	uint64_t now) RUNS_ON(role_worker)
{
	struct outbox out = {
		.tx = w->tx, .ports = w->port_count, .ecmp_key = w->ecmp_key, .pipe = w->mpls_pipe};

	if (b->v4.count > 0 && !b->each)
		ip4_finish(b, w->fib, generation, vrf, &out);
	else if (b->v4.count > 0)
		ip4_finish_each(b, w->fib, generation, &out);
	if (b->v6.count > 0 && !b->each)
		ip6_finish(b, w->fib, generation, vrf, &out);
	else if (b->v6.count > 0)
		ip6_finish_each(b, w->fib, generation, &out);
	stage_end(STAGE_FINISH);
	if (b->waiting_count > 0)
		report_waiting(w, b, vrf, now);
	if (b->dropped_count > 0)
		rte_pktmbuf_free_bulk(b->dropped, b->dropped_count);
	return out.pending;
}

static inline void
classify(struct burst *b) RUNS_ON(role_worker)
{
	if (b->v4.count > 0)
		ip4_classify(b);
	if (b->v6.count > 0)
		ip6_classify(b);
	stage_end(STAGE_CLASSIFY);
}

/*
 * If the driver may sleep, the worker is an online reader only between read_begin() and
 * read_end().
 */
static void
read_begin(struct worker *w) RUNS_ON(role_worker)
{
	if (w->driver_may_sleep)
		qsbr_online(w->qsbr, w->reader);
}

static void
read_end(struct worker *w) RUNS_ON(role_worker)
{
	if (w->driver_may_sleep)
		qsbr_offline(w->qsbr, w->reader);
}

static inline void
look_up(const struct worker *w, struct burst *b, const struct fib_generation *generation,
	struct vrf_id vrf, unsigned step) RUNS_ON(role_worker)
{
	if (b->v6.count == 0 || b->each)
		return;
	ip6_look_up(b, w->fib, generation, vrf, step);
	stage_end(STAGE_FINISH);
}

/* Does all lookup steps of a classified burst. Followed by route_and_transmit(), which ends the read. */
static const struct fib_generation *
look_up_all(struct worker *w, struct burst *b, struct vrf_id vrf) RUNS_ON(role_worker)
{
	const struct fib_generation *generation;

	read_begin(w);
	generation = fib_read_begin(w->fib);
	for (unsigned step = 0; step < TABLE_V6_STEPS; step++)
		look_up(w, b, generation, vrf, step);
	return generation;
}

/* Finishes a burst after its lookup, ends the read, and transmits. */
static inline void
route_and_transmit(struct worker *w, struct burst *b, const struct fib_generation *generation,
	struct vrf_id vrf, uint64_t now, _Atomic uint64_t *sent_counter) RUNS_ON(role_worker)
{
	uint64_t pending = route(w, b, generation, vrf, now);

	read_end(w);
	if (__builtin_expect(b->split_count > 0, 0))
		flush_split(w, b, pending, sent_counter);
	else
		flush(w, pending, sent_counter);
	stage_end(STAGE_TRANSMIT);
}

/*
 * The port with the source address of ICMP errors: the receiving port, or for a packet popped to a
 * VPN instance a port of the instance. Without one: the receiving port.
 */
static uint16_t
source_port(const struct worker *w, const struct source *s, struct vrf_id vrf) RUNS_ON(role_worker)
{
	for (uint16_t port = 0; vrf.v != s->vrf.v && port < w->port_count; port++) {
		if (w->port_vrf[port].v == vrf.v)
			return port;
	}
	return s->port;
}

/*
 * Sends the ICMP errors about the faults of a burst, as a burst of this router. The errors are
 * routed in the VRF of the packets.
 */
static __attribute__((noinline)) void
answer_faults(struct worker *w, const struct burst *about, const struct source *s, uint64_t now)
	RUNS_ON(role_worker)
{
	struct burst b;

	burst_init(&b, &w->stats, true);
	b.each = about->each;
	for (unsigned i = 0; i < about->fault_count; i++) {
		const struct fault *f = &about->fault[i];
		struct vrf_id vrf = {about->each ? f->pkt->port : s->vrf.v};

		if (!icmp_allowed(f)) {
			b.dropped[b.dropped_count++] = f->pkt;
		} else if (!icmp_limit_take(&w->icmp_limit,
				   rte_pktmbuf_mtod_offset(f->pkt, const uint8_t *, ETHER_LEN),
				   (enum afi)f->afi, vrf,
				   f->reason == DROP_too_big ? ICMP_CLASS_TOO_BIG
							     : ICMP_CLASS_OTHER,
				   now)) {
			burst_drop(&b, f->pkt, DROP_icmp_limited);
		} else if (!icmp_make(&b, f, w->icmp_sources, source_port(w, s, vrf))) {
			b.dropped[b.dropped_count++] = f->pkt;
		}
	}
	count_add(&w->stats.icmp_errors, b.v4.count + b.v6.count);
	route_and_transmit(w, &b, look_up_all(w, &b, s->vrf), s->vrf, now, &w->stats.originated);
	for (unsigned i = 0; i < b.fault_count; i++) /* an error about an error */
		rte_pktmbuf_free_bulk(&b.fault[i].pkt, 1);
}

/*
 * Gives ICMP errors about packets of the kernel back to the kernel, by the TUN of the VRF in
 * rte_mbuf.port.
 */
static __attribute__((noinline)) void
return_faults(struct worker *w, const struct burst *about, uint64_t now) RUNS_ON(role_worker)
{
	for (unsigned i = 0; i < about->fault_count; i++) {
		const struct fault *f = &about->fault[i];
		struct rte_mbuf *m = f->pkt;
		struct vrf_id vrf = {m->port};
		bool sent = false;

		if (icmp_allowed(f)) {
			if (!icmp_limit_take(&w->icmp_limit,
				    rte_pktmbuf_mtod_offset(m, const uint8_t *, ETHER_LEN),
				    (enum afi)f->afi, vrf,
				    f->reason == DROP_too_big ? ICMP_CLASS_TOO_BIG
							      : ICMP_CLASS_OTHER,
				    now))
				count_add(&w->stats.drops[DROP_icmp_limited], 1);
			else
				sent = icmp_make_local(f) && punt_to_tun(&w->punt, m, vrf);
		}
		if (sent)
			count_add(&w->stats.icmp_errors, 1);
		else
			rte_pktmbuf_free_bulk(&m, 1);
	}
}

/* Starts the burst w->inner. Each packet has its VRF in rte_mbuf.port. */
static void
begin_inner(struct worker *w, uint16_t port, bool own) RUNS_ON(role_worker)
{
	struct burst *inner = &w->inner;

	burst_init(inner, &w->stats, own);
	inner->each = true;
	inner->host = !own;
	inner->port = port;
	if (!own)
		inner->own_addresses = w->own_addresses;
	inner->source_routes = w->forward_source_routes;
}

/* Forwards the labelled packets of a burst, and w->inner with the packets that lose their last label. */
static __attribute__((noinline)) void
finish_inner(struct worker *w, const struct burst *b, const struct source *s, uint64_t now)
	RUNS_ON(role_worker)
{
	const struct mpls_from from = {.vrf = s->vrf, .allowed = s->mpls};
	struct outbox out = {
		.tx = w->tx, .ports = w->port_count, .ecmp_key = w->ecmp_key, .pipe = w->mpls_pipe};
	const struct fib_generation *generation;
	struct burst *inner = &w->inner;
	uint64_t pending;

	read_begin(w);
	generation = fib_read_begin(w->fib);
	if (b->mpls.count > 0)
		mpls_finish(b, inner, &from, w->fib, generation, &out);
	if (!inner->own)
		classify(inner);
	pending = route(w, inner, generation, s->vrf, now);
	inner->dropped_count = 0; /* freed by route() */
	if (inner->host_count > 0)
		punt_labelled(&w->punt, inner, s->port, w->fib, generation, now);
	read_end(w);
	if (inner->dropped_count > 0)
		rte_pktmbuf_free_bulk(inner->dropped, inner->dropped_count);
	flush_split(w, inner, pending | out.pending,
		inner->own ? &w->stats.originated : &w->stats.forwarded);
	stage_end(STAGE_TRANSMIT);
	if (inner->fault_count > 0 && inner->own)
		return_faults(w, inner, now);
	else if (inner->fault_count > 0)
		answer_faults(w, inner, s, now);
}

/* Adds a packet that has waited to its lane. */
static void
join_again(struct burst *labelled, struct burst *inner, const struct resolve_packet *p)
	RUNS_ON(role_worker)
{
	struct lane *l = p->afi == AFI_IPV4 ? &inner->v4 : &inner->v6;
	uint8_t *ip = rte_pktmbuf_mtod_offset(p->pkt, uint8_t *, ETHER_LEN);

	p->pkt->port = p->vrf;
	if (p->failed && p->afi != AFI_NONE) {
		burst_fault(inner, p->pkt, (enum afi)p->afi, DROP_unresolved, 0);
	} else if (p->failed) {
		burst_drop(inner, p->pkt, DROP_unresolved);
	} else if (p->afi == AFI_NONE) {
		/* a port without `mpls` has dropped its packets before */
		labelled->mpls.pkt[labelled->mpls.count] = p->pkt;
		labelled->mpls.ip[labelled->mpls.count++] = ip;
		labelled->mpls.tunnelled++;
	} else {
		/* as classification does; packets of this router skip classification */
		if (p->afi == AFI_IPV4)
			l->destination.v4[l->count] =
				rte_be_to_cpu_32(((const struct rte_ipv4_hdr *)ip)->dst_addr);
		else
			memcpy(l->destination.v6[l->count], ip + 24, sizeof(l->destination.v6[0]));
		l->ip[l->count] = ip;
		l->pkt[l->count++] = p->pkt;
	}
}

/*
 * Looks up packets again after their neighbour was resolved, and reports neighbours without an answer.
 * Runs before the poll receives packets, because later packets of the flows must not overtake.
 */
static __attribute__((noinline)) void
serve_waiting(struct worker *w, uint64_t now) RUNS_ON(role_worker)
{
	struct burst *labelled = &w->burst[w->held == &w->burst[0]];
	struct resolve_packet p[BURST_MAX];
	unsigned n, i = 0;

	read_begin(w);
	n = resolve_take(
		&w->resolve, w->fib, fib_read_begin(w->fib), w->path_lists, now, p, BURST_MAX);
	read_end(w);
	while (i < n) {
		const struct resolve_packet *first = &p[i];
		const struct source from = {
			.port = first->port, .vrf = w->port_vrf[first->port], .mpls = true};

		burst_init(labelled, &w->stats, false);
		begin_inner(w, first->port, first->own);
		for (; i < n && p[i].port == first->port && p[i].own == first->own; i++)
			join_again(labelled, &w->inner, &p[i]);
		finish_inner(w, labelled, &from, now);
	}
	waiting_show(w);
}

/* Forwards the labelled packets of a received burst. */
static __attribute__((noinline)) void
finish_labelled(struct worker *w, const struct burst *b, const struct source *s, uint64_t now)
	RUNS_ON(role_worker)
{
	begin_inner(w, s->port, false);
	finish_inner(w, b, s, now);
}

/* Hands packets for this router to the kernel. */
static __attribute__((noinline)) void
hand_over(struct worker *w, struct burst *b, const struct source *s, uint64_t now)
	RUNS_ON(role_worker)
{
	const struct punt_source from = {.port = s->port, .vrf = s->vrf, .way = s->way};

	b->dropped_count = 0; /* freed by route() */
	read_begin(w);
	punt_burst(&w->punt, b, &from, w->fib, fib_read_begin(w->fib), now);
	read_end(w);
	if (b->dropped_count > 0)
		rte_pktmbuf_free_bulk(b->dropped, b->dropped_count);
}

/* Finishes a received burst after its lookup, and sends its ICMP errors. */
static inline __attribute__((always_inline)) void
finish(struct worker *w, struct burst *b, const struct source *s,
	const struct fib_generation *generation, uint64_t now) RUNS_ON(role_worker)
{
	route_and_transmit(w, b, generation, s->vrf, now, &w->stats.forwarded);
	if (b->fault_count > 0)
		answer_faults(w, b, s, now);
	if (__builtin_expect(b->host_count > 0, 0))
		hand_over(w, b, s, now);
	if (__builtin_expect(b->mpls.count > 0, 0))
		finish_labelled(w, b, s, now);
}

/* Finishes the held burst when no other burst follows. */
static void
finish_held(struct worker *w, uint64_t now) RUNS_ON(role_worker)
{
	struct burst *b = w->held;

	w->held = NULL;
	finish(w, b, w->held_source, look_up_all(w, b, w->held_source->vrf), now);
}

/*
 * Arranges prefetches of the first table words of `next`: one with each packet of `held` to be
 * finished, because a CPU can only keep some dozens of loads in flight. Prefetches are hints; the
 * table may have changed by then.
 */
static void
prefetch_first_words(struct lane *held, const struct lane *next, const uint32_t *words)
	RUNS_ON(role_worker)
{
	unsigned done = 0;

	if (words == NULL)
		return;
	if (held != NULL && held->count <= next->count) {
		held->prefetch_words = words;
		held->prefetch_first = next->first;
		done = held->count;
	}
	for (; done < next->count; done++)
		forward_prefetch(words, next->first[done]);
}

static void
prefetch_tables(const struct worker *w, struct burst *held, const struct burst *next,
	const struct fib_generation *g, struct vrf_id vrf) RUNS_ON(role_worker)
{
	prefetch_first_words(held != NULL ? &held->v4 : NULL, &next->v4,
		bounds_check(
			&w->fib->bounds, __atomic_load_n(&g->v4[vrf.v].answers, __ATOMIC_RELAXED)));
	prefetch_first_words(
		held != NULL ? &held->v6 : NULL, &next->v6, fib_read_v6_words(w->fib, g, vrf));
}

/* Starts a burst of n packets received from `s`. */
static inline void
split(struct worker *w, struct burst *b, unsigned n, const struct source *s) RUNS_ON(role_worker)
{
	/* relaxed: a single value without dependent data */
	uint64_t mac_word = atomic_load_explicit(s->mac, memory_order_relaxed);
	uint8_t mac[6];

	burst_init(b, &w->stats, false);
	b->port = s->port;
	b->vrf = s->vrf.v;
	b->own_addresses = w->own_addresses;
	b->host = s->way != HOST_WAY_NONE;
	/* RFC 7510 5: anybody can write the source of a tunnel's remote end into a packet */
	b->tunnels = s->mpls && s->vrf.v == VRF_DEFAULT.v;
	b->source_routes = w->forward_source_routes;
	memcpy(mac, &mac_word, sizeof(mac));
	forward_split(b, n, mac);
	count_add(&w->stats.received_v4, b->v4.count);
	count_add(&w->stats.received_v6, b->v6.count);
	stage_end(STAGE_SPLIT);
}

/*
 * Starts a burst while another is held, with the lookup steps of the held burst in between: each
 * step's prefetches get time to complete.
 */
static inline void
split_and_classify(struct worker *w, struct burst *b, unsigned n, const struct source *s,
	const struct fib_generation *generation) RUNS_ON(role_worker)
{
	struct vrf_id vrf = w->held_source->vrf;

	static_assert(TABLE_V6_STEPS == 3, "all of them");
	look_up(w, w->held, generation, vrf, 0);
	split(w, b, n, s);
	look_up(w, w->held, generation, vrf, 1);
	classify(b);
	look_up(w, w->held, generation, vrf, 2);
}

/* A copy of a packet in one buffer; NULL: dropped for *reason. */
static struct rte_mbuf *
in_one_buffer(struct worker *w, const struct rte_mbuf *m, enum drop_reason *reason)
	RUNS_ON(role_worker)
{
	struct rte_mbuf *one = w->copies != NULL ? rte_pktmbuf_alloc(w->copies) : NULL;
	uint32_t len = rte_pktmbuf_pkt_len(m);
	const void *data;
	uint8_t *to;

	*reason = DROP_no_buffer;
	if (one == NULL)
		return NULL;
	to = rte_pktmbuf_mtod(one, uint8_t *);
	data = len <= rte_pktmbuf_tailroom(one) ? rte_pktmbuf_read(m, 0, len, to) : NULL;
	if (data == NULL) {
		*reason = DROP_too_long;
		rte_pktmbuf_free_bulk(&one, 1);
		return NULL;
	}
	if (data != to)
		memcpy(to, data, len);
	one->data_len = (uint16_t)len;
	one->pkt_len = len;
	one->port = m->port;
	one->ol_flags = m->ol_flags & (RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_VLAN_STRIPPED);
	one->vlan_tci = m->vlan_tci;
	return one;
}

/*
 * Copies packets of several buffers into one buffer each: all stages may then read and extend a
 * packet, and drivers without chains (AF_XDP) send it. Returns the number of packets left.
 */
static __attribute__((noinline)) unsigned
unchain(struct worker *w, struct rte_mbuf **pkt, unsigned n) RUNS_ON(role_worker)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = pkt[i], *one = m;
		enum drop_reason reason;

		if (m->nb_segs > 1) {
			one = in_one_buffer(w, m, &reason);
			rte_pktmbuf_free_bulk(&m, 1);
		}
		if (one != NULL)
			pkt[kept++] = one;
		else
			count_add(&w->stats.drops[reason], 1);
	}
	return kept;
}

/* Forwards the packets in w->tagged, port by port. */
static __attribute__((noinline)) void
serve_tagged(struct worker *w, uint64_t now) RUNS_ON(role_worker)
{
	struct burst *b = &w->burst[w->held == &w->burst[0]];

	while (w->tagged.count > 0) {
		uint16_t port;
		unsigned n = vlan_next(w, b->v4.pkt, &port);
		const struct source *s = &w->vlan_source[port];

		split(w, b, n, s);
		classify(b);
		read_begin(w);
		prefetch_tables(w, NULL, b, fib_read_begin(w->fib), s->vrf);
		read_end(w);
		finish(w, b, s, look_up_all(w, b, s->vrf), now);
	}
}

/*
 * Polls a receive queue and returns the number of packets. A full burst is held until the next
 * burst, which probably follows, is classified.
 */
static unsigned
poll_source(struct worker *w, struct source *s, uint64_t now) RUNS_ON(role_worker)
{
	struct burst *held = w->held, *b = &w->burst[held == &w->burst[0]];
	unsigned most = s->most, n = rte_eth_rx_burst(s->ethdev, s->queue, b->v4.pkt, s->most);
	const struct fib_generation *generation;
	unsigned got = n;

	if (n == 0)
		return 0;
	if (__builtin_expect(s->chains, 0)) {
		n = unchain(w, b->v4.pkt, n);
		if (n == 0)
			return most;
	}
	if (__builtin_expect(s->vlans, 0)) {
		n = vlan_take(w, s, b->v4.pkt, n);
		if (n == 0) {
			if (held != NULL)
				finish_held(w, now);
			serve_tagged(w, now);
			return got;
		}
	}
	stage_end(STAGE_RECEIVE);
	read_begin(w);
	generation = fib_read_begin(w->fib);
	if (held != NULL) {
		split_and_classify(w, b, n, s, generation);
	} else {
		split(w, b, n, s);
		classify(b);
	}
	prefetch_tables(w, held, b, generation, s->vrf);
	w->held = NULL;
	if (held != NULL)
		finish(w, held, w->held_source, generation, now);
	else
		read_end(w);
	s->most = b->v6.count > n / BURST_V6_PART ? BURST_MAX : BURST_V4;
	if (n < most) {
		finish(w, b, s, look_up_all(w, b, s->vrf), now);
	} else {
		w->held = b;
		w->held_source = s;
	}
	if (__builtin_expect(s->vlans, 0))
		serve_tagged(w, now);
	return got;
}

/*
 * A packet of the kernel in a buffer of this worker: a port may keep buffers that it has sent until
 * it sends others, and the host thread would then find none. Without a buffer: the packet itself.
 */
static struct rte_mbuf *
own_copy(struct worker *w, struct rte_mbuf *m) RUNS_ON(role_worker)
{
	struct rte_mbuf *copy = w->copies != NULL ? rte_pktmbuf_alloc(w->copies) : NULL;
	uint16_t len = rte_pktmbuf_data_len(m);

	if (copy == NULL || rte_pktmbuf_tailroom(copy) < len) {
		rte_pktmbuf_free_bulk(&copy, copy != NULL);
		return m;
	}
	memcpy(rte_pktmbuf_append(copy, len), rte_pktmbuf_mtod(m, const void *), len);
	copy->port = m->port;
	rte_pktmbuf_free_bulk(&m, 1);
	return copy;
}

/* Sends frames of the kernel by their ports. Returns their number. */
static unsigned
poll_frames(struct worker *w) RUNS_ON(role_worker)
{
	struct rte_mbuf *m;
	uint64_t pending = 0;
	unsigned n = 0;

	for (; n < BURST_MAX && (m = ring_pop(w->frames)) != NULL; n++) {
		uint16_t port = m->port;

		tx_add(&w->tx[port], own_copy(w, m));
		pending |= UINT64_C(1) << port;
	}
	flush(w, pending, &w->stats.originated);
	return n;
}

/* Sends queued packets of the kernel, consecutive ones of a single VRF. Returns their number. */
static unsigned
poll_inject(struct worker *w, uint64_t now) RUNS_ON(role_worker)
{
	struct rte_mbuf *m = w->inject_next != NULL ? w->inject_next : ring_pop(w->inject);
	unsigned n = 0;
	struct vrf_id vrf;
	struct burst b;

	if (m == NULL)
		return 0;
	burst_init(&b, &w->stats, true);
	vrf.v = m->port;
	for (; m != NULL && m->port == vrf.v && n < BURST_MAX; n++) {
		struct rte_mbuf *own = own_copy(w, m);
		uint8_t *ip = rte_pktmbuf_mtod_offset(own, uint8_t *, ETHER_LEN);
		struct lane *l = *ip >> 4 == 4 ? &b.v4 : &b.v6;

		l->ip[l->count] = ip;
		l->pkt[l->count++] = own;
		m = ring_pop(w->inject);
	}
	w->inject_next = m;
	classify(&b);
	route_and_transmit(w, &b, look_up_all(w, &b, vrf), vrf, now, &w->stats.originated);
	if (__builtin_expect(b.fault_count > 0, 0))
		return_faults(w, &b, now);
	return n;
}

/*
 * Sleeps after a poll that began at `began`, and doubles *ns, the duration. Returns the time at the
 * end: sleep is no gap between polls.
 */
static __attribute__((noinline)) uint64_t
rest(struct worker *w, uint64_t began, unsigned *ns) RUNS_ON(role_worker)
{
	uint64_t poll = rte_rdtsc() - began, most;

	most = (uint64_t)(((unsigned __int128)poll * w->tsc_to_ns) >> 32) + IDLE_SWITCH_NS;
	most = most < IDLE_MOST_NS / IDLE_PARTS ? most * IDLE_PARTS : IDLE_MOST_NS;
	if (*ns > most)
		*ns = (unsigned)most;
	if (!w->driver_may_sleep)
		qsbr_offline(w->qsbr, w->reader);
	worker_idle(*ns);
	if (!w->driver_may_sleep)
		qsbr_online(w->qsbr, w->reader);
	*ns *= 2;
	return rte_rdtsc();
}

/* The polls between two orders of main. Returns the order. */
static unsigned
poll_all(struct worker *w) RUNS_ON(role_worker)
{
	uint64_t last = rte_rdtsc(), packet_at = last;
	unsigned had = 0, sleep_ns = IDLE_FIRST_NS, order;
	bool busy = false;

	if (!w->driver_may_sleep)
		qsbr_online(w->qsbr, w->reader);
	/* relaxed: take_view(), take_ports() and workers_stop() order what comes with an order */
	while ((order = atomic_load_explicit(&w->order, memory_order_relaxed)) == WORKER_GO_ON) {
		uint64_t now = rte_rdtsc();

		stage_end(STAGE_REST);
		/*
		 * now may be below last after the kernel moved the worker between unsynchronized
		 * TSCs: not a gap
		 */
		uint64_t gap = now > last ? now - last : 0;
		hist_add(&w->stats.loop_gap,
			(uint64_t)(((unsigned __int128)gap * w->tsc_to_ns) >> 32));
		if (busy) {
			count_add(&w->stats.busy_cycles, gap);
			count_add(&w->stats.busy_packets, had);
		}
		count_add(&w->stats.polls, 1);
		last = now;
		had = 0;
		/* held packets are finished by this loop in any case */
		busy = w->held != NULL;
		if (__builtin_expect(w->resolve.count > 0, 0))
			serve_waiting(w, now);
		for (unsigned i = 0; i < w->source_count; i++)
			had += poll_source(w, &w->source[i], now);
		if (had == 0 && w->held != NULL)
			finish_held(w, now);
		if (w->inject != NULL)
			had += poll_inject(w, now);
		if (w->punts && w->frames != NULL)
			had += poll_frames(w);
		if (w->punt.lent > 0)
			punt_reclaim(&w->punt);
		busy |= had > 0;
		if (!w->driver_may_sleep)
			qsbr_quiescent(w->qsbr, w->reader);
		if (!w->idle_adaptive)
			continue;
		if (busy) {
			packet_at = now;
			sleep_ns = IDLE_FIRST_NS;
		} else if (now - packet_at > w->idle_after || now < packet_at) {
			last = rest(w, now, &sleep_ns);
		}
	}
	if (w->held != NULL)
		finish_held(w, last);
	if (!w->driver_may_sleep)
		qsbr_offline(w->qsbr, w->reader);
	return order;
}

/* Between two bursts: the worker holds no packet, and no pointer into its tables. */
static void
take_view(struct worker *w) RUNS_ON(role_worker)
{
	/* acquire: pairs with the release in workers_switch */
	(void)atomic_load_explicit(&w->order, memory_order_acquire);
	w->fib = w->next.fib;
	w->path_lists = w->next.path_lists;
	w->qsbr = w->next.qsbr;
	w->reader = w->next.reader;
	w->ecmp_key = w->next.ecmp_key;
	w->mpls_pipe = w->next.mpls_pipe;
	w->idle_adaptive = w->next.idle_adaptive;
	w->forward_source_routes = w->next.forward_source_routes;
	resolve_forget_tables(&w->resolve);
	/* release: pairs with the acquire in wait_obeyed; the former tables are not used any more */
	atomic_store_explicit(&w->order, WORKER_GO_ON, memory_order_release);
}

void
worker_ports_take(struct worker *w)
{
	const struct worker_ports *next = &w->next_ports;

	/* acquire: pairs with the release in workers_take_ports */
	(void)atomic_load_explicit(&w->order, memory_order_acquire);
	w->source_count = next->source_count;
	w->port_count = next->port_count;
	w->driver_may_sleep = next->driver_may_sleep;
	w->punts = next->punts;
	w->copies = next->copies;
	w->resolve.most = next->waiting_most;
	for (unsigned i = 0; i < next->source_count; i++)
		w->source[i] = next->source[i];
	memcpy(w->vlan_source, next->vlan_source, sizeof(w->vlan_source));
	w->vlans = next->vlans;
	for (unsigned i = 0; i < PORTS_MAX; i++) {
		const struct tx_place *t = &next->tx[i];

		w->tx[i].ethdev = t->ethdev;
		w->tx[i].queue = t->queue;
		w->tx[i].lock = t->lock;
		w->tx[i].closed = t->closed;
		w->tx[i].most = t->most;
		vlan_tags(t->vlan, w->tx[i].tag, &w->tx[i].tag_octets);
		w->port_vrf[i] = t->vrf;
	}
}

/* Between two bursts. Frames of the kernel for a removed port must not leave by the next port of its number. */
static void
take_ports(struct worker *w) RUNS_ON(role_worker)
{
	worker_ports_take(w);
	for (unsigned i = 0; w->frames != NULL && i < FRAME_RING && poll_frames(w) > 0; i++)
		;
	/* release: pairs with the acquire in wait_obeyed; removed ports are not used any more */
	atomic_store_explicit(&w->order, WORKER_GO_ON, memory_order_release);
}

void
worker_loop(struct worker *w)
{
	unsigned order;

	while ((order = poll_all(w)) != WORKER_STOP) {
		if (order == WORKER_PORTS)
			take_ports(w);
		else
			take_view(w);
	}
	/* release: pairs with the load in wait_for */
	atomic_store_explicit(&w->ended, true, memory_order_release);
}
