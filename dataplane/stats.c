/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/stats.h"
#include "dataplane/port_impl.h"
#include "dataplane/worker.h"
#include "dataplane/worker_impl.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <string.h>
#include <sys/socket.h>

#ifndef SOL_XDP
#define SOL_XDP 283
#endif

/* What each worker's loop gap was when it was marked. Main only. */
static struct hist loop_gap_mark[RTE_MAX_LCORE];

static const struct {
	const char *name, *rfc, *text;
} reasons[DROP_COUNT] = {
#define DROP(name, rfc, text) {#name, rfc, text},
#include "dataplane/drops.def"
#undef DROP
};

const char *
drop_reason_text(enum drop_reason r)
{
	static char names[DROP_COUNT][24];
	char *out;

	if ((unsigned)r >= DROP_COUNT)
		return "unknown";
	/* Idempotent: two callers at once write the same bytes. */
	out = names[r];
	for (size_t i = 0; reasons[r].name[i] != '\0' && i < sizeof(names[r]) - 1; i++)
		out[i] = reasons[r].name[i] == '_' ? '-' : reasons[r].name[i];
	return out;
}

const char *
drop_reason_rfc(enum drop_reason r)
{
	return (unsigned)r < DROP_COUNT ? reasons[r].rfc : "";
}

/* AF_XDP's own losses. The kernel's counters since the socket was made. */
static void
xdp_counters_get(int fd, struct port_counters *out)
{
	struct xdp_statistics s = {0};
	socklen_t len = sizeof(s);

	if (fd < 0 || getsockopt(fd, SOL_XDP, XDP_STATISTICS, &s, &len) != 0)
		return;
	out->xdp_rx_dropped = s.rx_dropped;
	out->xdp_rx_ring_full = s.rx_ring_full;
	out->xdp_fill_empty = s.rx_fill_ring_empty_descs;
}

int
port_counters_get(uint16_t port, struct port_counters *out)
{
	struct rte_eth_stats s;
	int rc;

	memset(out, 0, sizeof(*out));
	if (port >= port_count())
		return -ENOENT;
	rc = rte_eth_stats_get(port_ethdev(port), &s);
	if (rc != 0)
		return rc;
	out->rx_packets = s.ipackets;
	out->tx_packets = s.opackets;
	out->rx_bytes = s.ibytes;
	out->tx_bytes = s.obytes;
	out->rx_missed = s.imissed;
	/* Not s.oerrors: for AF_XDP that counts what we counted already. */
	out->tx_dropped = workers_tx_dropped(port);
	xdp_counters_get(port_xdp_socket(port), out);
	return 0;
}

static void
hist_copy(struct hist *to, const struct hist *from)
{
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		atomic_store_explicit(&to->bucket[i],
			atomic_load_explicit(&from->bucket[i], memory_order_relaxed),
			memory_order_relaxed);
	atomic_store_explicit(&to->min, atomic_load_explicit(&from->min, memory_order_relaxed),
		memory_order_relaxed);
	atomic_store_explicit(&to->max, atomic_load_explicit(&from->max, memory_order_relaxed),
		memory_order_relaxed);
}

void
stats_forget_mark(void)
{
	for (unsigned i = 0; i < RTE_MAX_LCORE; i++)
		hist_reset(&loop_gap_mark[i]);
}

void
stats_reset_mark(void)
{
	for (unsigned i = 0; i < workers_count(); i++)
		hist_copy(&loop_gap_mark[i], &worker_stats(i)->loop_gap);
}

/* The least value that hist_bucket_of maps to step `i`. */
static uint64_t
step_floor(unsigned i)
{
	unsigned power = i >> HIST_SUB_BITS;
	uint64_t sub = i & ((1u << HIST_SUB_BITS) - 1);

	return power == 0 ? sub : ((UINT64_C(1) << HIST_SUB_BITS) + sub) << (power - 1);
}

/* now - mark. Ends that are older than the mark are known to a step only. */
static void
hist_subtract(struct hist *now, const struct hist *mark)
{
	uint64_t newest_max = atomic_load_explicit(&now->max, memory_order_relaxed);
	uint64_t min = 0, max = 0;

	if (atomic_load_explicit(&mark->min, memory_order_relaxed) == 0)
		return;
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		uint64_t n = atomic_load_explicit(&now->bucket[i], memory_order_relaxed) -
			     atomic_load_explicit(&mark->bucket[i], memory_order_relaxed);

		atomic_store_explicit(&now->bucket[i], n, memory_order_relaxed);
		if (n == 0)
			continue;
		if (min == 0)
			min = step_floor(i) + 1;
		max = i + 1 < HIST_BUCKETS ? step_floor(i + 1) - 1 : newest_max;
	}
	atomic_store_explicit(&now->min, min, memory_order_relaxed);
	if (newest_max == atomic_load_explicit(&mark->max, memory_order_relaxed) &&
		max < newest_max)
		atomic_store_explicit(&now->max, max, memory_order_relaxed);
}

void
stats_loop_gap(unsigned worker, struct hist_summary *out)
{
	static struct hist since; /* main only; too large for a stack that may be small */
	const struct hist *h = &since;

	memset(out, 0, sizeof(*out));
	if (worker >= workers_count())
		return;
	hist_copy(&since, &worker_stats(worker)->loop_gap);
	hist_subtract(&since, &loop_gap_mark[worker]);
	hist_summarize(&h, 1, out);
}
