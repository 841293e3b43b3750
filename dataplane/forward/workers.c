/* SPDX-License-Identifier: BSD-3-Clause */
/* Start, stop and access to workers from the main and host threads. The loop is in worker.c. */
#include "dataplane/forward/worker.h"
#include "dataplane/forward/idle.h"
#include "dataplane/port/port_inner.h"
#include "dataplane/forward/worker_struct.h"
#include "lpm/base/arena.h"
#include "lpm/fib.h"
#include "lpm/base/qsbr.h"
#include "lpm/base/ring.h"

#include <errno.h>
#include <pthread.h>
#include <rte_cycles.h>
#include <rte_ip.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_mempool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static int
worker_main(void *arg)
{
	struct worker *w = arg;
	char name[16];

	role_enter_worker();
	snprintf(name, sizeof(name), "keel-worker-%u", (w->lcore - 1) % 1000);
	(void)pthread_setname_np(pthread_self(), name);
	/*
	 * Not SCHED_FIFO: throttling by the kernel would stop the worker for 50 ms each second.
	 * Without permission the worker runs at normal priority, with longer gaps in the
	 * histogram.
	 */
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), -20);
	worker_idle_init();
	worker_loop(w);
	return 0;
}

#define AUTOGROUP "/proc/self/autogroup"

int
workers_autogroup_nice(int nice)
{
	FILE *f = fopen(AUTOGROUP, "r");
	int before = 0;

	if (f == NULL)
		return 0;
	if (fscanf(f, "%*s nice %d", &before) != 1)
		before = 0;
	fclose(f);
	f = fopen(AUTOGROUP, "w");
	if (f != NULL) {
		(void)fprintf(f, "%d", nice);
		(void)fclose(f); /* without permission: unchanged */
	}
	return before;
}

/* ---- ports ---- */

/* Of removed ports; never taken. */
static struct tx_lock closed_lock;

static void
describe_source(struct source *s, uint16_t port)
{
	s->port = port;
	s->vrf = port_vrf(port);
	s->mpls = port_mpls(port);
	s->chains = port_chains(port);
	s->mac = port_mac_place(port);
	s->way = port_host_way(port);
	s->most = BURST_V4;
}

static void
add_source(struct worker_ports *w, uint16_t port, unsigned queue)
{
	struct source *s = &w->source[w->source_count++];
	struct port_queue at = port_rx_queue(port, queue);

	describe_source(s, port);
	s->ethdev = at.ethdev;
	s->queue = at.queue;
	for (uint16_t other = 0; other < PORTS_MAX; other++)
		s->vlans |= w->tx[other].vlan.outer != 0 && w->vlans.key[other].parent == port;
}

static int
assign_queues(struct workers *all, struct dataplane_error *err)
{
	for (uint16_t port = 0; port < port_count(); port++) {
		for (unsigned queue = 0; port_is_served(port) && queue < port_rx_queues(port);
			queue++) {
			struct worker *w = all->worker[port_queue_worker(port, queue) % all->count];

			if (w->next_ports.source_count == SOURCES_MAX)
				return dataplane_fail(err, -ENOSPC,
					"too many receive queues: at most %u for each worker",
					SOURCES_MAX);
			add_source(&w->next_ports, port, queue);
		}
	}
	return 0;
}

/* The worker does not use the port: main may write the counters and buckets of its number. */
static void
begin_port(struct worker *w, uint16_t port)
{
	uint64_t hz = rte_get_tsc_hz();

	atomic_store_explicit(&w->tx_dropped[port], 0, memory_order_relaxed);
	atomic_store_explicit(&w->vlan_counters[port].rx_packets, 0, memory_order_relaxed);
	atomic_store_explicit(&w->vlan_counters[port].rx_bytes, 0, memory_order_relaxed);
	atomic_store_explicit(&w->vlan_counters[port].tx_packets, 0, memory_order_relaxed);
	atomic_store_explicit(&w->vlan_counters[port].tx_bytes, 0, memory_order_relaxed);
	for (unsigned i = 0; i < HOST_CLASSES; i++) {
		atomic_store_explicit(&w->punt.policed[port][i], 0, memory_order_relaxed);
		atomic_store_explicit(&w->punt.full[port][i], 0, memory_order_relaxed);
		bucket_init(&w->punt.bucket[port][i], hz, port_host_limits()->pps[i], rte_rdtsc());
	}
}

/* Packets that a worker may keep for neighbours, at least one. */
static unsigned
waiting_most(unsigned workers)
{
	const struct rte_mempool *pool = port_copy_pool();
	unsigned share = pool != NULL ? pool->size / RESOLVE_SHARE / workers : RESOLVE_PACKETS;

	return share == 0 ? 1 : share < RESOLVE_PACKETS ? share : RESOLVE_PACKETS;
}

/* All of next_ports but the receive queues. */
static void
prepare_ports(struct worker *w, unsigned index, unsigned workers)
{
	struct worker_ports *next = &w->next_ports;
	bool punts = next->punts;

	*next = (struct worker_ports){.port_count = port_count(),
		.punts = punts,
		.copies = port_copy_pool(),
		.waiting_most = waiting_most(workers)};
	for (uint16_t port = 0; port < PORTS_MAX; port++) {
		struct tx_place *t = &next->tx[port];

		*t = (struct tx_place){.lock = &closed_lock, .closed = true, .vrf = {FIB_VRF_MAX}};
		if (port >= port_count() || !port_is_served(port)) {
			w->served[port] = false;
			continue;
		}
		if (!w->served[port])
			begin_port(w, port);
		w->served[port] = true;
		struct port_queue at = port_tx_queue(port, index, &t->lock);
		t->ethdev = at.ethdev;
		t->queue = at.queue;
		t->closed = false;
		t->most = port_frame_most(port);
		t->vrf = port_vrf(port);
		t->vlan = port_vlan_get(port, &next->vlans.key[port].parent);
		if (t->vlan.outer != 0) {
			describe_source(&next->vlan_source[port], port);
			vlan_ports_add(next, port);
		}
		next->driver_may_sleep |= port_is_xdp(port);
		next->punts |= port_host_way(port) == HOST_WAY_TAP;
	}
}

static int
prepare_all(struct workers *all, struct dataplane_error *err)
{
	for (unsigned i = 0; i < all->count; i++)
		prepare_ports(all->worker[i], i, all->count);
	return assign_queues(all, err);
}

/* Frees the packets in a ring, then the ring. */
static void
packets_destroy(struct ring *r)
{
	struct rte_mbuf *m;

	while (r != NULL && (m = ring_pop(r)) != NULL)
		rte_pktmbuf_free(m);
	if (r != NULL)
		ring_destroy(r);
}

static void
destroy(struct arena *arena, struct worker *w)
{
	if (w == NULL)
		return;
	for (unsigned i = 0; i < HOST_CLASSES; i++)
		packets_destroy(w->punt.up[i]);
	packets_destroy(w->punt.back);
	packets_destroy(w->frames);
	rte_pktmbuf_free(w->punt.owed);
	if (w->registered)
		qsbr_unregister(w->qsbr, w->reader);
	resolve_fini(&w->resolve);
	if (w->resolve.gleans != NULL)
		ring_destroy(w->resolve.gleans);
	packets_destroy(w->inject);
	rte_pktmbuf_free(w->inject_next);
	arena_free(arena, w);
}

/* If getrandom() fails (before Linux 3.17), uses the time and a stack address. */
static void
random_key(uint64_t key[2])
{
	if (getrandom(key, 2 * sizeof(key[0]), 0) == (ssize_t)(2 * sizeof(key[0])))
		return;
	key[0] = rte_rdtsc();
	key[1] = (uint64_t)(uintptr_t)key;
}

static void
worker_init(struct worker *w, const struct workers_config *c, unsigned index)
{
	uint64_t hz = rte_get_tsc_hz(), key[2];

	random_key(key);
	icmp_limit_init(&w->icmp_limit, hz, key);
	w->fib = c->fib;
	w->icmp_sources = port_icmp_sources();
	w->path_lists = c->path_lists;
	w->ecmp_key = c->ecmp_key;
	w->mpls_pipe = c->mpls_pipe;
	w->idle_adaptive = c->idle_adaptive;
	w->forward_source_routes = c->forward_source_routes;
	w->idle_after = hz / 1000000 * IDLE_AFTER_US;
	w->lcore = index + 1;
	w->cpu = dataplane_worker_cpu(index);
	w->tsc_to_ns = (uint64_t)(((unsigned __int128)UINT64_C(1000000000) << 32) / hz);
	resolve_init(&w->resolve, hz, rte_rdtsc());
	w->punt.peers = port_host_peers();
	w->own_addresses = port_own_addresses();
}

/* The rings of the host path. */
static int
create_punt(struct arena *a, struct worker *w, unsigned index)
{
	int rc = ring_create(a, "punt back", PUNT_BACK_RING - 1, &w->punt.back);

	for (unsigned i = 0; rc == 0 && i < HOST_CLASSES; i++)
		rc = ring_create(a, "punt", (i == HOST_BGP_PEERS ? PUNT_RING_PEERS : PUNT_RING) - 1,
			&w->punt.up[i]);
	if (rc == 0 && index == 0)
		rc = ring_create(a, "frames", FRAME_RING - 1, &w->frames);
	return rc;
}

static int
create(const struct workers_config *c, unsigned index, struct worker **out)
{
	struct worker *w = arena_alloc_aligned(c->arena, alignof(struct worker), sizeof(*w));
	int rc;

	if (w == NULL)
		return -ENOMEM;
	memset(w, 0, sizeof(*w));
	worker_init(w, c, index);
	rc = ring_create(c->arena, "gleans", GLEAN_RING - 1, &w->resolve.gleans);
	if (rc == 0 && index == 0)
		rc = ring_create(c->arena, "inject", INJECT_RING - 1, &w->inject);
	if (rc == 0) /* a later port may have a TAP */
		rc = create_punt(c->arena, w, index);
	w->qsbr = c->qsbr;
	if (c->readers != NULL) {
		w->reader = c->readers[index];
	} else if (rc == 0) {
		rc = qsbr_register(c->qsbr, &w->reader);
		w->registered = rc == 0;
	}
	if (rc != 0) {
		destroy(c->arena, w);
		return rc;
	}
	*out = w;
	return 0;
}

static int
launch(const struct workers *all, struct dataplane_error *err)
{
	for (unsigned i = 0; i < all->count; i++) {
		int rc = rte_eal_remote_launch(worker_main, all->worker[i], all->worker[i]->lcore);

		if (rc != 0)
			return dataplane_fail(
				err, rc, "worker %u could not be started: %s", i, strerror(-rc));
	}
	return 0;
}

/*
 * EAL's wait spins, for at most one loop of the worker. Sanitizers do not see the ordering by EAL,
 * so `ended` repeats it.
 */
static void
wait_for(struct worker *w)
{
	(void)rte_eal_wait_lcore(w->lcore);
	/* acquire: pairs with the store at the end of worker_loop; false: the worker was never launched */
	(void)atomic_load_explicit(&w->ended, memory_order_acquire);
}

/* Stops the workers that have been launched, and destroys all. */
static void
workers_destroy(struct workers *all)
{
	for (unsigned i = 0; i < all->count; i++)
		atomic_store_explicit(&all->worker[i]->order, WORKER_STOP, memory_order_relaxed);
	for (unsigned i = 0; i < all->count; i++)
		wait_for(all->worker[i]);
	(void)workers_autogroup_nice(all->autogroup_before);
	workers_set(NULL);
	for (unsigned i = 0; i < all->count; i++)
		destroy(all->arena, all->worker[i]);
	arena_free(all->arena, all);
}

int
workers_start(const struct workers_config *c, struct dataplane_error *err)
{
	struct workers *all;
	int rc;

	if (workers_get() != NULL)
		return dataplane_fail(err, -EALREADY, "the workers are already running");
	if (c->count == 0 || c->count > dataplane_worker_count())
		return dataplane_fail(err, -EINVAL,
			"cannot start %u workers: worker_cpus names %u CPUs", c->count,
			dataplane_worker_count());
	if (port_own_pool() == NULL)
		return dataplane_fail(err, -ENOMEM,
			"no memory for packets of the host: raise /dataplane/memory_mb");
	all = arena_calloc(c->arena, sizeof(*all));
	if (all == NULL)
		return dataplane_fail(err, -ENOMEM, "no memory for the workers");
	all->arena = c->arena;
	all->autogroup_before = workers_autogroup_nice(-20);
	for (; all->count < c->count; all->count++) {
		rc = create(c, all->count, &all->worker[all->count]);
		if (rc != 0) {
			dataplane_fail(err, rc, "worker %u could not be created: %s", all->count,
				strerror(-rc));
			goto fail;
		}
	}
	rc = prepare_all(all, err);
	if (rc != 0)
		goto fail;
	for (unsigned i = 0; i < all->count; i++)
		worker_ports_take(all->worker[i]);
	workers_set(all);
	rc = launch(all, err);
	if (rc == 0)
		return 0;
fail:
	workers_destroy(all);
	return rc;
}

void
workers_stop(void)
{
	struct workers *all = workers_get();

	if (all != NULL)
		workers_destroy(all);
}

#define SWITCH_POLL_NS 20000

/* A worker obeys after its burst, within microseconds unless another task has its CPU. */
static void
wait_obeyed(struct worker *w)
{
	const struct timespec pause = {.tv_nsec = SWITCH_POLL_NS};

	/* acquire: pairs with the release in take_view and take_ports */
	while (atomic_load_explicit(&w->order, memory_order_acquire) != WORKER_GO_ON)
		(void)nanosleep(&pause, NULL);
}

int
workers_switch(const struct workers_config *c)
{
	struct workers *all = workers_get();

	if (all == NULL || c->readers == NULL || c->count != all->count)
		return -EINVAL;
	for (unsigned i = 0; i < all->count; i++) {
		struct worker *w = all->worker[i];

		if (w->registered)
			return -EBUSY;
		w->next = (struct worker_view){.fib = c->fib,
			.path_lists = c->path_lists,
			.qsbr = c->qsbr,
			.reader = c->readers[i],
			.ecmp_key = c->ecmp_key,
			.mpls_pipe = c->mpls_pipe,
			.idle_adaptive = c->idle_adaptive,
			.forward_source_routes = c->forward_source_routes};
		/* release: pairs with the acquire in take_view */
		atomic_store_explicit(&w->order, WORKER_VIEW, memory_order_release);
	}
	for (unsigned i = 0; i < all->count; i++)
		wait_obeyed(all->worker[i]);
	return 0;
}

int
workers_take_ports(struct dataplane_error *err)
{
	struct workers *all = workers_get();
	int rc = all != NULL ? prepare_all(all, err) : 0;

	if (all == NULL || rc != 0)
		return rc;
	/* release: pairs with the acquire in worker_ports_take */
	for (unsigned i = 0; i < all->count; i++)
		atomic_store_explicit(&all->worker[i]->order, WORKER_PORTS, memory_order_release);
	for (unsigned i = 0; i < all->count; i++)
		wait_obeyed(all->worker[i]);
	return 0;
}

uint64_t
workers_tx_dropped(uint16_t port)
{
	const struct workers *all = workers_get();
	uint64_t sum = 0;

	for (unsigned i = 0; all != NULL && port < PORTS_MAX && i < all->count; i++)
		sum += atomic_load_explicit(
			&all->worker[i]->tx_dropped[port], memory_order_relaxed);
	return sum;
}

/* True if the packet starts with an IP header. The worker checks the content. */
static bool
is_ip(const uint8_t *packet, unsigned len)
{
	if (len < sizeof(struct rte_ipv4_hdr))
		return false;
	return packet[0] >> 4 == 4 || (packet[0] >> 4 == 6 && len >= sizeof(struct rte_ipv6_hdr));
}

/* Copies a packet into a buffer with room for the Ethernet header. m->port holds the VRF. */
static struct rte_mbuf *
own_packet(struct vrf_id vrf, const void *packet, unsigned len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(port_own_pool());
	uint8_t *to;

	if (m == NULL)
		return NULL;
	to = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(ETHER_LEN + len));
	memset(to, 0, ETHER_LEN);
	memcpy(to + ETHER_LEN, packet, len);
	m->port = vrf.v;
	return m;
}

int
worker_inject(struct vrf_id vrf, const void *packet, unsigned len)
{
	struct worker *w = worker_at(0);
	struct rte_mbuf *m;

	if (!is_ip(packet, len) || len > WORKER_INJECT_MAX || vrf.v >= FIB_VRF_MAX)
		return -EINVAL;
	if (w == NULL)
		return -ENOBUFS;
	m = own_packet(vrf, packet, len);
	if (m == NULL || !ring_push(w->inject, m)) {
		rte_pktmbuf_free(m);
		count_add(&w->stats.drops[DROP_inject_full], 1);
		return -ENOBUFS;
	}
	count_add(&w->stats.injected, 1);
	return 0;
}

unsigned
worker_gleans(struct glean *out, unsigned max)
{
	struct workers *all = workers_get();
	unsigned n = 0;

	if (all == NULL)
		return 0;
	for (unsigned i = 0; i < all->count; i++) {
		struct worker *w = all->worker[(all->next_glean + i) % all->count];
		const struct glean *place;

		while (n < max && (place = ring_pop(w->resolve.gleans)) != NULL)
			out[n++] = *place;
	}
	all->next_glean++;
	return n;
}
