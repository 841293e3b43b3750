/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker as its loop (worker.c), its starter (workers.c) and the counters (stats.c) see it.
 *
 * Writer: the worker, but for `stop` and what workers_start fills in before it launches the loop.
 */
#pragma once

#include "dataplane/burst.h"
#include "dataplane/icmp_limit.h"
#include "dataplane/worker.h"
#include "lpm/base.h"

#define SOURCES_MAX 128 /* receive queues of one worker */
#define GLEAN_SLOTS 256 /* direct-mapped: what was asked for lately */
#define GLEAN_RING 1024
#define GLEAN_PLACES (2 * GLEAN_RING)
#define GLEANS_PER_S 1000
#define GLEAN_REPEAT_MS 100 /* the same neighbour again */
#define GLEAN_GIVE_UP_S 3 /* the kernel asks three times, a second apart */
#define GLEAN_FORGET_S 10 /* nobody asked for it: another time, another beginning */
#define INJECT_RING 512

struct ring;

/* Tokens are TSC cycles, so that refilling needs no division. At most a tenth of a second's worth. */
struct bucket {
	uint64_t tokens, tsc;
	uint64_t period; /* cycles a token */
	uint64_t most;
};

/* A receive queue. */
struct source {
	uint16_t ethdev, queue;
	uint16_t port;
	struct vrf_id vrf;
	const _Atomic uint64_t *mac; /* port_mac_place() */
	uint16_t most; /* packets of the next burst */
};

struct glean_slot {
	struct waiting of;
	uint64_t tsc; /* last asked; 0: never used */
	uint64_t since; /* first asked */
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
	_Atomic bool stop, ended;
	struct source source[SOURCES_MAX];
	struct tx_buffer tx[PORTS_MAX];
	struct burst burst[2];
	struct burst *held; /* the one that is classified and not finished, or NULL */
	const struct source *held_source;

	struct ring *gleans; /* of pointers into glean[] */
	unsigned glean_next;
	struct bucket glean_bucket;
	struct icmp_limit icmp_limit;
	uint64_t glean_repeat, glean_give_up, glean_forget; /* in TSC cycles */
	/* From the host thread; NULL but in worker 0. */
	struct ring *inject;
	struct rte_mbuf *inject_next; /* taken, and of another VRF than those before it */
	struct glean_slot glean_slot[GLEAN_SLOTS];
	struct glean glean[GLEAN_PLACES];

	alignas(CACHE_LINE) _Atomic uint64_t tx_dropped[PORTS_MAX];

	/* main's */
	alignas(CACHE_LINE) unsigned lcore;
	unsigned cpu;
};

/* Where a loop's time goes, for bench_forward_stages alone: a clock between stages costs as much as some of them. */
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

/* Runs until `stop`. */
void worker_loop(struct worker *w) RUNS_ON(role_worker);
/* What the driver did not take of a port, summed over workers. */
uint64_t workers_tx_dropped(uint16_t port);
/* Workers start with empty histograms: no mark is older. */
void stats_forget_mark(void);
