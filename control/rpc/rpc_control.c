/* SPDX-License-Identifier: BSD-3-Clause */
/* control.*: how keeld's own threads do, with a data plane or without. */
#include "control/rpc/rpc_impl.h"

#include "control/base/log.h"
#include "control/session/session.h"
#include "control/base/threads.h"

#include <string.h>

#define MARKS_MAX 32 /* threads: main, fib, host, sessions, shards */

/* What the histograms were when they were started anew. Main only. */
static struct {
	struct hist slices, turns;
} mark[MARKS_MAX];
static struct hist keepalive_mark;

json_t *
rpc_hist_since(const struct hist *h, const struct hist *since)
{
	struct hist_summary s;

	hist_summarize_since(h, since, &s);
	return rpc_hist(&s);
}

void
rpc_control_mark(struct keeld *k)
{
	struct thread_figures f;

	for (unsigned i = 0; i < MARKS_MAX && thread_figures_get(i, &f); i++) {
		hist_copy(&mark[i].slices, f.slices);
		hist_copy(&mark[i].turns, f.turns);
	}
	hist_copy(&keepalive_mark, speaker_keepalive_hist(k->speaker));
}

static json_t *
control_stats(struct keeld *k, json_t *params, struct rpc_call *call)
{
	json_t *threads = json_array();
	struct thread_figures f;
	struct log_figures l;

	(void)params;
	(void)call;
	log_figures_get(&l);
	for (unsigned i = 0; i < MARKS_MAX && thread_figures_get(i, &f); i++)
		json_array_append_new(
			threads, json_pack("{s:s, s:f, s:I, s:o, s:o}", "name", f.name, "cpu_s",
					 (double)f.cpu_ns / 1e9, "late_turns", (json_int_t)f.late,
					 "slice_ns", rpc_hist_since(f.slices, &mark[i].slices),
					 "turn_ns", rpc_hist_since(f.turns, &mark[i].turns)));
	return json_pack("{s:i, s:o, s:o, s:{s:I, s:I, s:i}}", "slice_budget_ns", (int)SLICE_NS,
		"threads", threads, "keepalive_late_ns",
		rpc_hist_since(speaker_keepalive_hist(k->speaker), &keepalive_mark), "log",
		"written", (json_int_t)l.written, "lost", (json_int_t)l.lost, "waiting",
		(int)l.waiting);
}

static json_t *
control_stats_reset(struct keeld *k, json_t *params, struct rpc_call *call)
{
	(void)params;
	(void)call;
	rpc_control_mark(k);
	rpc_fib_mark(k);
	return json_object();
}

const struct rpc_method rpc_control_methods[] = {
	{"control.stats", control_stats, "",
		"slice_budget_ns:integer threads:array keepalive_late_ns:object log:object",
		"keeld's control threads: processor time, how long slices and turns took, how late "
		"keepalives left; log lines written, lost and waiting",
		RPC_READS},
	{"control.stats.reset", control_stats_reset, "", "",
		"Histograms of control.stats and fib.stats start anew", RPC_CHANGES},
	{0},
};
