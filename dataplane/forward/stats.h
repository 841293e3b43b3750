/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counters of workers, each on cache lines of its own, and of ports as counted by ethdev. The drop
 * reasons are in drops.def.
 *
 * Writer: the worker, with relaxed load, add and store. Readers: main. Worker counters live from
 * workers_start() to workers_stop().
 */
#pragma once

#include "dataplane/port/port.h"
#include "lpm/base/base.h"
#include "lpm/base/hist.h"

#include <stdatomic.h>

enum drop_reason {
#define DROP(reason, name, rfc, text) DROP_##reason,
#include "dataplane/forward/drops.def"
#undef DROP
	DROP_COUNT,
};

struct worker_stats {
	alignas(CACHE_LINE) _Atomic uint64_t forwarded; /* received and sent on */
	/* sent by this router: packets of the kernel (worker_inject()) and ICMP errors */
	_Atomic uint64_t originated;
	_Atomic uint64_t icmp_errors; /* created, whether sent or not */
	_Atomic uint64_t fragments; /* sent; `forwarded` and `originated` count whole packets */
	_Atomic uint64_t received_v4, received_v6; /* by EtherType */
	_Atomic uint64_t punted;
	/* of loops with packets, including packets held from the loop before: cycles per packet */
	_Atomic uint64_t busy_cycles, busy_packets;
	_Atomic uint64_t polls;
	_Atomic uint64_t waiting; /* packets that wait now for the address of a neighbour */
	/* Written by the host thread, in worker 0 only. */
	alignas(CACHE_LINE) _Atomic uint64_t injected;
	/* Written by the worker, except inject_full, which the host thread writes. */
	alignas(CACHE_LINE) _Atomic uint64_t drops[DROP_COUNT];
	alignas(CACHE_LINE) struct hist loop_gap; /* time between two polls */
};

/* Name of the reason in statistics, such as "too-short"; "unknown" for other values. */
const char *drop_reason_text(enum drop_reason r);
/* Reads the counters of a port. Main. Returns 0 or -errno. */
int port_counters_get(uint16_t port, struct port_counters *out);
/*
 * Reads the counters of the driver of a port, from number `first` on. Names of the second device and
 * of later devices of an AF_XDP port begin with the queue. Main. Returns the number of counters read, at
 * most `max`; 0 at the end.
 */
unsigned port_driver_counters(
	uint16_t port, unsigned first, struct driver_counter *out, unsigned max);
/* Starts new loop-gap histograms: later summaries cover only the time after this call. Main. */
void stats_reset_mark(void);
/* Loop gap of one worker since stats_reset_mark(). Main. */
void stats_loop_gap(unsigned worker, struct hist_summary *out);
