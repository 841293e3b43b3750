/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state of a worker, shared by its loop (worker.c), start and stop (workers.c) and counters
 * (stats.c).
 *
 * Writer: the worker, except `order`, `next`, `next_ports` and the fields set by workers_start() before
 * launch.
 */
#pragma once

#include "dataplane/forward/bucket.h"
#include "dataplane/forward/burst.h"
#include "dataplane/forward/icmp_limit.h"
#include "dataplane/forward/punt.h"
#include "dataplane/forward/resolve.h"
#include "dataplane/forward/worker.h"
#include "lpm/base/base.h"

#define SOURCES_MAX 128 /* receive queues per worker */
#define INJECT_RING 512

#define FRAME_RING 256 /* frames of the kernel */

struct ring;
struct rte_mempool;

/*
 * Ports on VLANs of other ports (worker_vlan.c): first[] and next[] are chains of port numbers, plus 1, by a hash
 * of parent and tags.
 */
#define VLAN_CHAINS 256
struct vlan_ports {
	uint8_t first[VLAN_CHAINS], next[PORTS_MAX];
	struct vlan_key {
		uint16_t parent;
		struct port_vlan vlan;
	} key[PORTS_MAX];
};

/* A receive queue, or a port on a VLAN, which receives from queues of its parent. */
struct source {
	uint16_t ethdev, queue;
	uint16_t port;
	struct vrf_id vrf;
	bool mpls; /* port_config.mpls */
	bool chains; /* port_chains() */
	bool vlans; /* the port has ports on VLANs */
	enum host_way way; /* port_host_way() */
	const _Atomic uint64_t *mac; /* port_mac_place() */
	uint16_t most; /* size limit of the next burst */
};

/* Packets of a received burst without their tags; rte_mbuf.port is the port on the VLAN. */
struct tagged {
	struct rte_mbuf *pkt[BURST_MAX];
	unsigned count;
};

/* Of a port on a VLAN; other ports are counted by their devices. Frames with their tags. */
struct vlan_counters {
	_Atomic uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
};

/* Orders of main to a worker, read once a loop. */
enum worker_order {
	WORKER_GO_ON,
	WORKER_STOP,
	WORKER_VIEW, /* use `next`; the worker answers with WORKER_GO_ON */
	WORKER_PORTS, /* use `next_ports`; answered by WORKER_GO_ON, too */
};

/* The ports of a worker. Main writes, and the worker copies between two bursts. */
struct worker_ports {
	unsigned source_count, port_count;
	bool driver_may_sleep, punts;
	struct rte_mempool *copies;
	unsigned waiting_most; /* resolve.most */
	struct source source[SOURCES_MAX];
	struct source vlan_source[PORTS_MAX];
	struct vlan_ports vlans;
	struct tx_place {
		uint16_t ethdev, queue;
		struct tx_lock *lock;
		bool closed;
		uint16_t most;
		struct port_vlan vlan;
		struct vrf_id vrf;
	} tx[PORTS_MAX];
};

/* The tables of a worker, and the worker's reader id. */
struct worker_view {
	const struct fib_reader *fib;
	const struct path_lists *path_lists;
	struct qsbr *qsbr;
	unsigned reader;
	uint32_t ecmp_key; /* workers_config.ecmp_key */
	bool mpls_pipe; /* workers_config.mpls_pipe */
	bool idle_adaptive;
	bool forward_source_routes;
};

struct worker {
	struct worker_stats stats;

	alignas(CACHE_LINE) const struct fib_reader *fib;
	const struct icmp_sources *icmp_sources;
	const struct own_addresses *own_addresses;
	const struct path_lists *path_lists;
	struct qsbr *qsbr;
	unsigned reader;
	bool registered; /* `reader` is to be unregistered at the end */
	unsigned source_count;
	unsigned port_count;
	struct vrf_id port_vrf[PORTS_MAX];
	/*
	 * An AF_XDP driver makes system calls in receive and transmit, and these may wait for a
	 * mutex held by a reader of statistics. The worker is then an online reader only while
	 * working on a burst.
	 */
	bool driver_may_sleep;
	/* of all workers; random unless configured: routers in a row choose independently */
	uint32_t ecmp_key;
	bool mpls_pipe; /* workers_config.mpls_pipe */
	bool idle_adaptive; /* workers_config.idle_adaptive */
	bool forward_source_routes; /* workers_config.forward_source_routes */
	uint64_t idle_after; /* TSC cycles without a packet until the first sleep */
	uint64_t tsc_to_ns; /* ns = tsc * tsc_to_ns >> 32, without division */
	_Atomic unsigned order; /* enum worker_order */
	_Atomic bool ended;
	struct source source[SOURCES_MAX];
	struct source vlan_source[PORTS_MAX]; /* by port */
	struct vlan_ports vlans;
	struct tagged tagged;
	struct tx_buffer tx[PORTS_MAX];
	struct burst burst[2];
	struct burst inner; /* packets whose last label was removed */
	struct burst *held; /* classified but not finished; or NULL */
	const struct source *held_source;

	struct icmp_limit icmp_limit;
	/* Packets from the host thread. Only worker 0 has the ring. */
	struct ring *inject;
	/* taken from the ring, but of another VRF than the packets before */
	struct rte_mbuf *inject_next;
	/*
	 * Frames of the kernel from the TAPs of the ports, by the host thread. Only worker 0 has the
	 * ring. rte_mbuf.port is the port.
	 */
	struct ring *frames;
	/* for copies of packets from both rings: a port keeps buffers until it sends others */
	struct rte_mempool *copies;
	struct punt punt;
	bool punts; /* a port of the router has, or had, a TAP */
	struct resolve resolve;

	alignas(CACHE_LINE) _Atomic uint64_t tx_dropped[PORTS_MAX];
	struct vlan_counters vlan_counters[PORTS_MAX];

	/* written by main */
	alignas(CACHE_LINE) unsigned lcore;
	unsigned cpu;
	struct worker_view next; /* written before WORKER_VIEW */
	struct worker_ports next_ports; /* written before WORKER_PORTS */
	bool served[PORTS_MAX]; /* in next_ports */
};

/*
 * Stages of the loop, timed only by bench_forward_stages: reading a clock between stages costs as
 * much as some stages.
 */
enum worker_stage {
	STAGE_RECEIVE,
	STAGE_SPLIT,
	STAGE_CLASSIFY,
	STAGE_FINISH,
	STAGE_TRANSMIT,
	STAGE_REST,
	STAGES,
};

#ifdef KEEL_STAGES
void stage_end(enum worker_stage s);
#else
static inline void
stage_end(enum worker_stage s)
{
	(void)s;
}
#endif

/* Uses next_ports. The worker, or main before the launch. */
void worker_ports_take(struct worker *w);
/* Main. The workers use the served ports (port_inner.h), and on return no removed port. */
int workers_take_ports(struct dataplane_error *err);
/* ---- worker_vlan.c ---- */

/* The tags of a VLAN as they stand in a frame; no octets: no VLAN. */
void vlan_tags(struct port_vlan vlan, uint8_t tag[2 * VLAN_TAG], uint16_t *octets);
/* Main, with next_ports. The port is on a VLAN. */
void vlan_ports_add(struct worker_ports *next, uint16_t port);
/*
 * Moves the packets with tags of ports on VLANs of `s` from pkt[0..n) to w->tagged, without their tags. Returns
 * the number of packets left.
 */
unsigned vlan_take(struct worker *w, const struct source *s, struct rte_mbuf **pkt, unsigned n)
	RUNS_ON(role_worker);
/* Moves the packets of the port of the first packet in w->tagged to pkt[]. Returns their number. */
unsigned vlan_next(struct worker *w, struct rte_mbuf **pkt, uint16_t *port) RUNS_ON(role_worker);
/* Inserts the tags of the port into the packets of its transmit buffer. */
void vlan_push(struct worker *w, unsigned port) RUNS_ON(role_worker);

/* Runs until WORKER_STOP. */
void worker_loop(struct worker *w) RUNS_ON(role_worker);
/* NULL: there is no such worker. Any thread. */
struct worker *worker_at(unsigned worker);
/* All workers, from workers_start() to workers_stop(). Main writes before the first launch. */
struct workers {
	struct arena *arena;
	unsigned count;
	unsigned next_glean; /* host thread: worker whose ring is drained first, in turn */
	int autogroup_before;
	struct worker *worker[RTE_MAX_LCORE];
};
/*
 * At file scope (worker_read.c), because the worker lcores belong to EAL, of which a process has one. NULL
 * while no workers exist; other threads may ask before main has started them.
 */
struct workers *workers_get(void);
/* Main. Forgets the marks of stats_reset_mark(). */
void workers_set(struct workers *all);
/* Packets not accepted by the driver of a port, summed over all workers. */
uint64_t workers_tx_dropped(uint16_t port);
/* RFC and section of the reason in drops.def, or "". */
const char *drop_reason_rfc(enum drop_reason r);
