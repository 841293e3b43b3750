/* SPDX-License-Identifier: BSD-3-Clause */
/* The methods control.*: the control threads of keeld, with or without a data plane. */
#include "control/rpc/rpc_impl.h"

#include "control/base/log.h"
#include "control/session/session.h"
#include "control/base/threads.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

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

static int
open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int count = -3; /* ".", "..", and the descriptor of the folder */

	if (d == NULL)
		return 0;
	while (readdir(d) != NULL)
		count++;
	closedir(d);
	return count;
}

/* keeld as the kernel counts it. */
static json_t *
process_json(const struct rpc_env *env)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long size = 0, resident = 0;
	long page = sysconf(_SC_PAGESIZE);
	struct timespec cpu = {0};
	struct rlimit files = {0};

	if (f != NULL) {
		if (fscanf(f, "%lu %lu", &size, &resident) != 2)
			size = resident = 0;
		fclose(f);
	}
	getrlimit(RLIMIT_NOFILE, &files);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	return json_pack("{s:f, s:I, s:I, s:i, s:I, s:f}", "cpu_s",
		(double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9, "resident_bytes",
		(json_int_t)resident * page, "virtual_bytes", (json_int_t)size * page, "open_fds",
		open_descriptors(), "max_fds", (json_int_t)files.rlim_cur, "started_s",
		wall_s() - (double)(now_ns() - env->started_ns) / 1e9);
}

static json_t *
control_stats(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
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
	return json_pack("{s:i, s:I, s:o, s:o, s:{s:I, s:I, s:i}, s:I, s:{s:I, s:I}, s:o}",
		"slice_budget_ns", (int)SLICE_NS, "alarm_checks", (json_int_t)env->alarm_checks,
		"threads", threads, "keepalive_late_ns",
		rpc_hist_since(
			speaker_keepalive_hist(env->layers->speaker), &env->marks->keepalive),
		"log", "written", (json_int_t)l.written, "lost", (json_int_t)l.lost, "waiting",
		(int)l.waiting, "commits", (json_int_t)apply_commits(env->apply), "rpc", "answered",
		(json_int_t)env->calls_answered, "refused", (json_int_t)env->calls_refused,
		"process", process_json(env));
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
	{"cpu_s", "number", "Processor time since the start.",
		COUNTER("keel_thread_cpu_seconds", "Processor time of a control thread.")},
	{"late_turns", "integer", "Turns of a control thread that lasted 1 s or longer.",
		COUNTER("keel_thread_late_turns")},
	{"slice_ns", "object", "Slices of work of 10 us or longer.", rpc_histogram_fields,
		SUMMARY("keel_thread_slice_seconds",
			"Slices of work that lasted 10 us or longer; a slice may take 1 ms.")},
	{"turn_ns", "object", "Turns of 10 us or longer, without sleep.", rpc_histogram_fields,
		SUMMARY("keel_thread_turn_seconds",
			"Turns of a thread's loop that lasted 10 us or longer, without sleep.")},
	{0},
};
static const struct rpc_field log_fields[] = {
	{"written", "integer", "Log lines written.", COUNTER("keel_log_lines")},
	{"lost", "integer",
		"Log lines lost because standard error was not read, or its disk was full.",
		COUNTER("keel_log_lines_lost")},
	{"waiting", "integer", "Log lines not written yet.", GAUGE("keel_log_lines_waiting")},
	{0},
};
static const struct rpc_field rpc_fields[] = {
	{"answered", "integer", "Calls answered with a result."},
	{"refused", "integer", "Calls answered with an error."},
	{0},
};
static const struct rpc_field process_fields[] = {
	{"cpu_s", "number", "Processor time of all threads, workers included.",
		COUNTER("keel_process_cpu_seconds")},
	{"resident_bytes", "integer", "Resident memory.",
		GAUGE("keel_process_resident_memory_bytes", "Resident memory of the process.")},
	{"virtual_bytes", "integer", "Virtual memory.",
		GAUGE("keel_process_virtual_memory_bytes", "Virtual memory of the process.")},
	{"open_fds", "integer", "Open descriptors.", GAUGE("keel_process_open_fds")},
	{"max_fds", "integer", "Limit of open descriptors.", GAUGE("keel_process_max_fds")},
	{"started_s", "number", "Unix time of the start of the daemon.",
		GAUGE("keel_process_start_time_seconds")},
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
		rpc_histogram_fields, SUMMARY("keel_keepalive_late_seconds")},
	{"log", "object", "The log.", log_fields},
	{"commits", "integer", "Commits, rollbacks and reloads since the start.",
		COUNTER("keel_commits", "Commits of configurations.")},
	{"rpc", "object", "Calls of methods since the start.", rpc_fields},
	{"process", "object", "The process.", process_fields},
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
