/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/worker.h"
#include "dataplane/burst.h"
#include "dataplane/ip4.h"
#include "dataplane/rewrite.h"
#include "dataplane/worker_impl.h"
#include "lpm/fib_read.h"
#include "lpm/path_list.h"
#include "lpm/qsbr.h"
#include "lpm/ring.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

/* Puts a burst's packets into their ports' buffers. A buffer holds a whole burst and is empty before it. */
static void
enqueue(struct worker *w, struct burst *b) RUNS_ON(role_worker)
{
	for (unsigned i = 0; i < b->count; i++) {
		uint16_t port = b->adjacency[i]->port;

		if (port >= w->port_count) {
			burst_drop(b, b->pkt[i], DROP_invariant);
			continue;
		}
		w->tx[port].pkt[w->tx[port].count++] = b->pkt[i];
		w->tx_pending |= UINT64_C(1) << port;
	}
}

static void
flush_port(struct worker *w, unsigned port) RUNS_ON(role_worker)
{
	struct tx_buffer *t = &w->tx[port];
	unsigned sent = rte_eth_tx_burst(t->ethdev, w->tx_queue, t->pkt, (uint16_t)t->count);
	unsigned left = t->count - sent;

	count_add(&w->stats.forwarded, sent);
	if (left > 0) {
		count_add(&w->tx_dropped[port], left);
		count_add(&w->stats.drops[DROP_tx_full], left);
		rte_pktmbuf_free_bulk(&t->pkt[sent], left);
	}
	t->count = 0;
}

static void
flush(struct worker *w) RUNS_ON(role_worker)
{
	while (w->tx_pending != 0) {
		unsigned port = (unsigned)__builtin_ctzll(w->tx_pending);

		w->tx_pending &= w->tx_pending - 1;
		flush_port(w, port);
	}
}

/* Asked for within the last GLEAN_REPEAT_MS, or beyond GLEANS_PER_S: not again. */
static bool
glean_wanted(struct worker *w, uint64_t key, uint64_t now) RUNS_ON(role_worker)
{
	struct glean_slot *s = &w->glean_slot[hash_mix(key) % GLEAN_SLOTS];

	if (s->key == key && now - s->tsc < w->glean_repeat)
		return false;
	/* Tokens are cycles, so that refilling needs no division. At most a tenth of a second's worth. */
	w->glean_tokens += now - w->glean_tsc;
	w->glean_tsc = now;
	if (w->glean_tokens > w->glean_period * (GLEANS_PER_S / 10))
		w->glean_tokens = w->glean_period * (GLEANS_PER_S / 10);
	if (w->glean_tokens < w->glean_period)
		return false;
	w->glean_tokens -= w->glean_period;
	s->key = key;
	s->tsc = now;
	return true;
}

/* The neighbour behind a next hop id, as UNRESOLVED_ON_PORT; 0 when it is none of IPv4. */
static uint64_t
glean_of_next_hop(const struct worker *w, uint32_t id) RUNS_ON(role_worker)
{
	struct next_hop_view v;

	if (w->path_lists == NULL || !next_hop_peek(w->path_lists, (struct next_hop_id){id}, &v))
		return 0;
	if (v.addr.afi != AFI_IPV4)
		return 0;
	return UNRESOLVED_ON_PORT(v.port, addr_v4(&v.addr));
}

static void
report_unresolved(struct worker *w, const struct burst *b, uint64_t now) RUNS_ON(role_worker)
{
	for (unsigned i = 0; i < b->unresolved_count; i++) {
		uint64_t key = b->unresolved[i];

		if (!glean_wanted(w, key, now))
			continue;
		if (key & UNRESOLVED_NEXT_HOP)
			key = glean_of_next_hop(w, (uint32_t)key);
		/* A full ring means that host is busy with earlier ones: the next packet asks again. */
		if (key != 0)
			(void)ring_push(w->gleans,
				(void *)(uintptr_t)key); // NOLINT(performance-no-int-to-ptr)
	}
}

static void
forward(struct worker *w, struct burst *b, const struct source *s, uint64_t now)
	RUNS_ON(role_worker)
{
	ip4_classify(b, s->mac);
	if (b->count > 0) {
		ip4_route(b, w->fib, s->vrf);
		rewrite_burst(b);
		enqueue(w, b);
	}
	if (b->unresolved_count > 0)
		report_unresolved(w, b, now);
	if (b->dropped_count > 0)
		rte_pktmbuf_free_bulk(b->dropped, b->dropped_count);
}

/* One receive queue: how many packets it had. */
static unsigned
poll_source(struct worker *w, const struct source *s, uint64_t now) RUNS_ON(role_worker)
{
	struct burst b;
	unsigned n;

	b.count = n = rte_eth_rx_burst(s->ethdev, s->queue, b.pkt, BURST_MAX);
	if (n == 0)
		return 0;
	b.dropped_count = b.unresolved_count = 0;
	b.stats = &w->stats;
	if (w->driver_may_sleep)
		qsbr_online(w->qsbr, w->reader);
	forward(w, &b, s, now);
	if (w->driver_may_sleep)
		qsbr_offline(w->qsbr, w->reader);
	flush(w);
	return n;
}

void
worker_loop(struct worker *w)
{
	uint64_t last = rte_rdtsc();
	unsigned had = 0;

	w->glean_tsc = last;
	if (!w->driver_may_sleep)
		qsbr_online(w->qsbr, w->reader);
	/* relaxed: nothing is handed over by it; workers_stop waits for the lcore to return */
	while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
		uint64_t now = rte_rdtsc();

		/* now may be below last when the kernel moved us between unsynchronized TSCs: not a gap */
		uint64_t gap = now > last ? now - last : 0;
		hist_add(&w->stats.loop_gap,
			(uint64_t)(((unsigned __int128)gap * w->tsc_to_ns) >> 32));
		if (had > 0) {
			count_add(&w->stats.busy_cycles, gap);
			count_add(&w->stats.busy_packets, had);
		}
		count_add(&w->stats.polls, 1);
		last = now;
		had = 0;
		for (unsigned i = 0; i < w->source_count; i++)
			had += poll_source(w, &w->source[i], now);
		if (!w->driver_may_sleep)
			qsbr_quiescent(w->qsbr, w->reader);
	}
	if (!w->driver_may_sleep)
		qsbr_offline(w->qsbr, w->reader);
	/* release: pairs with the load in workers_stop */
	atomic_store_explicit(&w->ended, true, memory_order_release);
}
