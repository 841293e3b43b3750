/* SPDX-License-Identifier: BSD-3-Clause */
/* The methods control.*: the control threads of keeld, with or without a data plane. */
#include "control/rpc/rpc_impl.h"

#include "control/base/log.h"
#include "control/session/session.h"
#include "control/base/threads.h"

#include <string.h>

json_t *
rpc_hist_since(const struct hist *h, const struct hist *since)
{
	struct hist_summary s;

	hist_summarize_since(h, since, &s);
	return rpc_hist(&s);
}

void
rpc_control_mark(struct rpc_env *env)
{
	struct thread_figures f;

	for (unsigned i = 0; i < RPC_MARK_THREADS && thread_figures_get(i, &f); i++) {
		hist_copy(&env->marks->thread[i].slices, f.slices);
		hist_copy(&env->marks->thread[i].turns, f.turns);
	}
	hist_copy(&env->marks->keepalive, speaker_keepalive_hist(env->layers->speaker));
}

static json_t *
control_stats(struct rpc_env *env, json_t *params, struct rpc_call *call)
{
	json_t *threads = json_array();
	struct thread_figures f;
	struct log_figures l;

	(void)params;
	(void)call;
	log_figures_get(&l);
	for (unsigned i = 0; i < RPC_MARK_THREADS && thread_figures_get(i, &f); i++)
		json_array_append_new(threads,
			json_pack("{s:s, s:f, s:I, s:o, s:o}", "name", f.name, "cpu_s",
				(double)f.cpu_ns / 1e9, "late_turns", (json_int_t)f.late,
				"slice_ns", rpc_hist_since(f.slices, &env->marks->thread[i].slices),
				"turn_ns", rpc_hist_since(f.turns, &env->marks->thread[i].turns)));
	return json_pack("{s:i, s:I, s:o, s:o, s:{s:I, s:I, s:i}}", "slice_budget_ns",
		(int)SLICE_NS, "alarm_checks", (json_int_t)env->alarm_checks, "threads", threads,
		"keepalive_late_ns",
		rpc_hist_since(
			speaker_keepalive_hist(env->layers->speaker), &env->marks->keepalive),
		"log", "written", (json_int_t)l.written, "lost", (json_int_t)l.lost, "waiting",
		(int)l.waiting);
}

static json_t *
control_stats_reset(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	(void)params;
	(void)call;
	rpc_control_mark(env);
	rpc_fib_mark(env);
	return json_object();
}

static const struct rpc_field thread_fields[] = {
	{"name", "string", "Name of the thread."},
	{"cpu_s", "number", "Processor time since the start."},
	{"late_turns", "integer", "Turns of its loop that lasted 1 s or longer."},
	{"slice_ns", "object", "Slices of work of 10 us or longer.", rpc_histogram_fields},
	{"turn_ns", "object", "Turns of 10 us or longer, without sleep.", rpc_histogram_fields},
	{0},
};
static const struct rpc_field log_fields[] = {
	{"written", "integer", "Log lines written."},
	{"lost", "integer",
		"Log lines lost because standard error was not read, or its disk was full."},
	{"waiting", "integer", "Log lines not written yet."},
	{0},
};
static const struct rpc_field stats_result[] = {
	{"slice_budget_ns", "integer", "The time that one slice of work may take."},
	{"alarm_checks", "integer",
		"Checks for new alarms since the start: one each 0.2 s while a client subscribes "
		"to "
		"alarms, else one each 0.5 s."},
	{"threads", "object[]", "The control threads.", thread_fields},
	{"keepalive_late_ns", "object", "How late KEEPALIVE messages were sent.",
		rpc_histogram_fields},
	{"log", "object", "The log.", log_fields},
	{0},
};

const struct rpc_method rpc_control_methods[] = {
	{"control.stats", control_stats, NULL, stats_result,
		"Control threads: processor time, duration of slices and turns, delay of "
		"keepalives; log "
		"lines",
		NULL, RPC_READS, 0},
	{"control.stats.reset", control_stats_reset, NULL, NULL,
		"Starts the histograms of control.stats and fib.stats anew", NULL, RPC_CHANGES, 0},
	{0},
};
