/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker as its loop (worker.c), its starter (workers.c) and the counters (stats.c) see it.
 *
 * Writer: the worker, but for `stop` and what workers_start fills in before it launches the loop.
 */
#pragma once

#include "dataplane/burst.h"
#include "dataplane/worker.h"
#include "lpm/base.h"

#define SOURCES_MAX 128 /* receive queues of one worker */
#define GLEAN_SLOTS 256 /* direct-mapped: what was asked for lately */
#define GLEAN_RING 1024
#define GLEAN_PLACES (2 * GLEAN_RING)
#define GLEANS_PER_S 1000
#define GLEAN_REPEAT_MS 100 /* the same neighbour again */

struct ring;

/* A receive queue. */
struct source {
	uint16_t ethdev, queue;
	struct vrf_id vrf;
	uint8_t mac[6];
};

struct tx_buffer {
	struct rte_mbuf *pkt[BURST_MAX];
	unsigned count;
	uint16_t ethdev;
};

struct glean_slot {
	struct waiting of;
	uint64_t tsc; /* 0: never used */
};

struct worker {
	struct worker_stats stats;

	alignas(CACHE_LINE) const struct fib_reader *fib;
	const struct path_lists *path_lists;
	struct qsbr *qsbr;
	unsigned reader;
	unsigned source_count;
	unsigned port_count;
	uint16_t tx_queue;
	/*
	 * The driver of an AF_XDP port does system calls in receive and transmit, which may wait for a mutex that
	 * somebody reads statistics under: the worker is a reader only while it works on a burst.
	 */
	bool driver_may_sleep;
	uint64_t tsc_to_ns; /* ns = tsc * this >> 32: no division */
	uint64_t tx_pending; /* bit per port whose buffer has packets */
	_Atomic bool stop, ended;
	struct source source[SOURCES_MAX];
	struct tx_buffer tx[PORTS_MAX];

	struct ring *gleans; /* of pointers into glean[] */
	unsigned glean_next;
	uint64_t glean_tokens, glean_tsc; /* token bucket */
	uint64_t glean_period, glean_repeat; /* in TSC cycles */
	struct glean_slot glean_slot[GLEAN_SLOTS];
	struct glean glean[GLEAN_PLACES];

	alignas(CACHE_LINE) _Atomic uint64_t tx_dropped[PORTS_MAX];

	/* main's */
	alignas(CACHE_LINE) unsigned lcore;
	unsigned cpu;
};

/* Runs until `stop`. */
void worker_loop(struct worker *w) RUNS_ON(role_worker);
/* What the driver did not take of a port, summed over workers. */
uint64_t workers_tx_dropped(uint16_t port);
/* Workers start with empty histograms: no mark is older. */
void stats_forget_mark(void);
