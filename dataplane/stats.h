/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counters of a worker on their own cache lines, and of a port as ethdev tells them. Drop reasons: drops.def, one line each.
 *
 * Writer: the worker (relaxed load, add, store). Readers: main.
 */
#pragma once

#include "dataplane/port.h"
#include "lpm/base.h"
#include "lpm/hist.h"

#include <stdatomic.h>

enum drop_reason {
#define DROP(name, rfc, text) DROP_##name,
#include "dataplane/drops.def"
#undef DROP
	DROP_COUNT,
};

struct worker_stats {
	alignas(CACHE_LINE) _Atomic uint64_t forwarded; /* received, and sent on */
	_Atomic uint64_t
		originated; /* sent of our own: of our kernel's (worker_inject), and ICMP errors */
	_Atomic uint64_t icmp_errors; /* made, sent or not */
	_Atomic uint64_t received_v4, received_v6; /* by EtherType */
	_Atomic uint64_t punted;
	_Atomic uint64_t busy_cycles,
		busy_packets; /* of loops that had packets, or finished those of the one before: cycles a packet */
	_Atomic uint64_t polls;
	/* The host thread's, but in worker 0 only. */
	alignas(CACHE_LINE) _Atomic uint64_t injected;
	/* The worker's, but for inject_full, which is the host thread's. */
	alignas(CACHE_LINE) _Atomic uint64_t drops[DROP_COUNT];
	alignas(CACHE_LINE) struct hist loop_gap; /* time between two polls */
};

struct port_counters {
	uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes, rx_missed;
	uint64_t tx_dropped; /* ours: the driver took less than we gave */
	/* of AF_XDP, from XDP_STATISTICS where the driver shows it: what the socket lost for want of room */
	uint64_t xdp_rx_dropped, xdp_rx_ring_full, xdp_fill_empty;
};

const char *drop_reason_text(enum drop_reason r); /* the name in lower case with `-` */
const char *drop_reason_rfc(enum drop_reason r);
/* Main. 0, -errno. */
int port_counters_get(uint16_t port, struct port_counters *out);
/* Main: histograms start anew from the next summary (the difference to what was at this time). */
void stats_reset_mark(void);
/* Loop gap of one worker since the mark. */
void stats_loop_gap(unsigned worker, struct hist_summary *out);
