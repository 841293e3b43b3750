/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Workers: threads that forward packets, one per lcore. Each loops over receive, classify, lookup,
 * rewrite, transmit, and a quiescent report.
 *
 * Writer of a worker's state: the worker. Main starts and stops the workers. A packet to an
 * unresolved neighbour queues a glean request in a bounded ring, which the host thread drains.
 */
#pragma once

#include "dataplane/port/port.h"
#include "dataplane/forward/stats.h"
#include "lpm/base/base.h"
#include "lpm/base/prefix.h"

struct arena;
struct fib_reader;
struct path_lists;
struct qsbr;

struct workers_config {
	struct arena *arena;
	const struct fib_reader *fib;
	struct qsbr *qsbr;
	unsigned count; /* at most the number of CPUs in dataplane_config */
	/*
	 * May be NULL: unresolved next hops then cause no glean requests; addresses on a port's
	 * own subnet still do.
	 */
	const struct path_lists *path_lists;
	/*
	 * A registered reader of `qsbr` for each worker, which the caller unregisters after
	 * workers_stop(). NULL: each worker registers itself.
	 */
	const unsigned *readers;
	uint32_t ecmp_key; /* of the choice among equal paths */
	/* RFC 3443: labels and packets have separate TTLs (pipe model), instead of one (uniform) */
	bool mpls_pipe;
	bool idle_adaptive; /* workers without packets sleep (idle.h) */
	bool forward_source_routes; /* RFC 7126 4.3, 4.4, RFC 5095 4.2; else dropped */
};

/* A neighbour to resolve. A link-local address has its zone. */
struct glean {
	uint16_t port;
	struct ip_addr addr;
};

/*
 * Sets the nice value of this process's autogroup and returns the value before; 0 without autogroups.
 * Without permission the value stays. With sched_autogroup the kernel gives each session a group with
 * one weight, divided among CPUs by load: beside other busy sessions a worker at nice -20 would wait
 * for 100 ms and more, and a control thread would starve. With -20 for the group, a control thread has
 * the weight of nice 0.
 */
int workers_autogroup_nice(int nice);

/*
 * Starts a worker on each worker lcore. port_queue_worker() is the worker of a receive queue.
 * Workers share a transmit queue where a port has fewer queues than there are workers. Main. Returns 0, or -errno with `err`.
 */
int workers_start(const struct workers_config *c, struct dataplane_error *err);
/*
 * Makes all workers read other tables, each between two bursts. On return no worker uses the former
 * tables, nor their QSBR. Uses the members about tables and readers; needs `readers` here and in
 * workers_start(). Main. Returns 0, -EINVAL, -EBUSY (no `readers` in workers_start()).
 */
int workers_switch(const struct workers_config *c);
/* Stops all workers and waits for them. Main. */
void workers_stop(void);
unsigned workers_count(void);
/* Any thread. NULL, or UINT32_MAX, for an unknown worker. */
const struct worker_stats *worker_stats(unsigned worker);
unsigned worker_cpu(unsigned worker);
/*
 * Queues a copy of a packet from the kernel (TUN) for lookup and transmission without TTL
 * decrement. Returns 0; -ENOBUFS: dropped and counted; -EINVAL: not an IPv4 or IPv6 packet, or
 * longer than WORKER_INJECT_MAX.
 */
int worker_inject(struct vrf_id vrf, const void *packet, unsigned len) RUNS_ON(role_host);
/* Takes at most `max` glean requests and returns their number. */
unsigned worker_gleans(struct glean *out, unsigned max) RUNS_ON(role_host);
