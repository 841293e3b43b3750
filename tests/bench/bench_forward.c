/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One worker beside loops with the work of l3fwd, on the same lab ports (tests/dataplane/lab_port.h): 1,048,576 destinations of each family within a
 * full table; the source writes each frame, and the sink checks each frame. In turn, in one run:
 *
 *   io        receive and transmit alone: the cost of the lab port
 *   keel      dataplane/forward/worker.c with all its checks
 *   lpm       receive, rte_lpm_lookup_bulk on keel's own rte_lpm (rte_lpm6_lookup_bulk_func on a table of the same routes), l3fwd's checks
 *             and rewrite, transmit
 *   fib       the same with rte_fib_lookup_bulk (rte_fib6_lookup_bulk), scalar
 *   fib_avx512   where the CPU has it
 *   best_other   the best of these loops in the run
 *
 * The routes and frames are of one family, and then of both (v46: a fifth of the frames is IPv6; only io and keel). The source of v46 writes frame by frame,
 * and costs more: beside v4 and v6 compare rate_less_io.
 *
 * The loops take turns of 50 ms, because the noise of virtual machines changes within a second.
 *
 * Each further loop uses its best burst of 32, 64, 128 or 256 (alternating windows before all: rate_burst_N), the worker its own
 * burst.
 *
 *   quiet, spinning, changing    keel again, one continuous worker, by the work of the second CPU: sleep; spinning without changes; 100,000 table changes
 *                                a second. If `spinning` is slower than `quiet` too, two busy CPUs share one core (execution units, clock frequency),
 *                                and the tables are not the cause.
 *
 * rate: the whole loop, lab port included. rate_less_io: without the time of `io` for a packet in the same run, so the common cost of receive and
 * transmit from memory does not bring the ratios closer to one.
 *
 *    one, one_spinning, two_own, two_shared    rate_workers, in processes of their own: one worker with both sources, the same while the second CPU
 *                                spins, two workers with transmit queues of their own, and two workers that share the only transmit queue of each
 *                                port. Packets a second of CPU time, times the number of workers.
 *
 * Then, in a separate pass, the worker's stages in TSC cycles a packet (bench_forward_stages: the same program, dataplane/forward/worker.c
 * compiled with its stages' clock). Rates are by the worker's CPU time. Prints METRIC DUT UNIT RUN VALUE, for scripts/bench.
 *
 * bench_forward [--quick] [--runs N] [--family 4|6|46] [--only DUT] [--seconds N]
 */
#include "tests/bench/bench_forward.h"
#include "dataplane/forward/burst.h"
#include "dataplane/port/port.h"
#include "dataplane/forward/stats.h"
#include "dataplane/forward/worker.h"
#ifdef KEEL_STAGES
#include "dataplane/forward/worker_struct.h"

#include <rte_cycles.h>
#endif
#include "lpm/base/arena.h"
#include "lpm/fib.h"
#include "lpm/fib_read.h"
#include "lpm/path_list.h"
#include "lpm/base/qsbr.h"
#include "tests/bench/bench.h"
#include "tests/dataplane/lab_flows.h"
#include "tests/lpm/lpm6_test.h"
#include "tests/lpm/tick.h"

#include <rte_launch.h>
#include <rte_lcore.h>
#include <sys/wait.h>
#include <unistd.h>

#define FLOWS (1u << 20)
#define V6_PATTERN                                                                                 \
	UINT64_C(0x8421084210842108) /* lab_shared.v6_pattern: a fifth of the frames is IPv6 */
#define HOPS 4
#define OUTPUTS 2
#define HUGEPAGES                                                                                  \
	1400 /* of 2 MiB: buffers 354 MB, Keel's tables 400 MB, tables of DPDK up to 1 GB */
#define CHANGES_PER_S 100000
#define CHANGE_EACH_NS FIB_COMMIT_INTERVAL_NS /* as keeld does */
#define BURST_RUNS 5
#define BURST_SIZES 4
#define BURST_WINDOW_NS 40000000u
#define TURN_NS 50000000u
#define CHANGES_WINDOWS 2u /* windows of each state of the second CPU: ratios near one need time */
#define WARM_NS 20000000u /* warm-up of the caches: a million packets */

static struct {
	unsigned runs;
	uint64_t window_ns;
	unsigned family; /* 4, 6, 46: mixed; 0: each of them */
	const char *only;
	unsigned queues; /* pairs of queues; 0: one worker */
} options = {.runs = 15, .window_ns = 800000000};

static struct {
	struct arena *arena;
	struct qsbr *qsbr;
	struct fib *fib;
	struct path_lists *lists;
	/* route i goes to hop i % HOPS, which is on port hop % OUTPUTS */
	struct path_list_id list[HOPS];
	struct prefix *route;
	uint8_t *hop; /* of route i, now */
	size_t count, v4_count; /* IPv4 first */
	struct lab_shared *ports;
	clockid_t worker_clock, second_clock;
	bool v4, v6; /* families of the routes and frames */
} b;

/* Frames of both families come in each burst. */
static bool
mixed(void)
{
	return b.v4 && b.v6;
}

static void
sample(const char *metric, const char *who, const char *unit, unsigned run, double value)
{
	printf("%s_v%s %s %s %u %.4f\n", metric,
		mixed() ? "46"
		: b.v6	? "6"
			: "4",
		who, unit, run, value);
	fflush(stdout);
}

/* ---- hugepages, for all tables and buffers alike ---- */

static long
nr_hugepages(long set)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", set < 0 ? "re" : "we");
	long n = -1;

	if (f == NULL)
		return -1;
	if (set >= 0)
		(void)fprintf(f, "%ld", set);
	else if (fscanf(f, "%ld", &n) != 1)
		n = -1;
	(void)fclose(f);
	return n;
}

/* ---- tables ---- */

static void
read_table(void)
{
	size_t v4_count = 0, v6_count = 0;
	struct v4_route *v4 = b.v4 ? v4_table(1200000, &v4_count) : NULL;
	struct prefix *v6 = b.v6 ? v6_table(400000, &v6_count) : NULL;

	b.v4_count = v4_count;
	b.count = v4_count + v6_count;
	b.route = malloc(b.count * sizeof(*b.route));
	if (b.route == NULL)
		die("out of memory");
	for (size_t i = 0; i < v4_count; i++)
		b.route[i] = prefix_from_v4(v4[i].addr, v4[i].len);
	for (size_t i = 0; i < v6_count; i++)
		b.route[v4_count + i] = v6[i];
	free(v4);
	free(v6);
	b.hop = malloc(b.count);
	if (b.hop == NULL)
		die("out of memory");
	for (size_t i = 0; i < b.count; i++)
		b.hop[i] = (uint8_t)(hash_mix(i) % HOPS);
}

static void
commit(void)
{
	int rc;

	while ((rc = fib_commit(b.fib, clock_ns(CLOCK_MONOTONIC))) == -EAGAIN)
		sched_yield();
	if (rc != 0)
		die("fib_commit: %d", rc);
}

/* A change without effect on the sink: the second hop of the same port. */
static void
change(size_t i)
{
	b.hop[i] = (uint8_t)((b.hop[i] + OUTPUTS) % HOPS);
	if (fib_set(b.fib, VRF_DEFAULT, &b.route[i], b.list[b.hop[i]]) != 0)
		die("fib_set");
}

static void
make_hop(unsigned i)
{
	struct adjacency adj = {.ether = {0x02, 0, 0, 0, 0, 0xbb},
		.ether_len = 14,
		.port = (uint16_t)(i % OUTPUTS),
		.mtu = 1500};
	struct ip_addr a = addr_from_v4(0xc0000201 + i);
	struct next_hop_id id;
	struct path path;

	port_mac(adj.port, adj.ether + 6);
	if (next_hop_get(b.lists, VRF_DEFAULT, &a, adj.port, &id) != 0 ||
		next_hop_up(b.lists, id, &adj) != 0)
		die("next hop");
	path = (struct path){.next_hop = id, .label = LABEL_NONE};
	if (path_list_get(b.lists, PATH_LIST_FORWARD, PORT_NONE, &path, 1, &b.list[i]) != 0)
		die("path list");
	forward_hop_set(b.list[i].v, adj.port, adj.ether);
}

static void
make_tables(void)
{
	if (qsbr_create(b.arena, 8, &b.qsbr) != 0 ||
		fib_create(&(struct fib_config){.arena = b.arena,
				   .workers = b.qsbr,
				   .memory_bytes = (size_t)1 << 30,
				   .huge = true,
				   .tbl8_groups = 4096,
				   .groups_v6 = 131072},
			&b.fib) != 0 ||
		(b.v4 && fib_vrf_add(b.fib, VRF_DEFAULT, AFI_IPV4) != 0) ||
		(b.v6 && fib_vrf_add(b.fib, VRF_DEFAULT, AFI_IPV6) != 0))
		die("no memory for the tables");
	b.lists = fib_path_lists(b.fib);
	for (unsigned i = 0; i < HOPS; i++)
		make_hop(i);
	for (size_t i = 0; i < b.count; i++)
		if (fib_set(b.fib, VRF_DEFAULT, &b.route[i], b.list[b.hop[i]]) != 0)
			die("fib_set");
	commit();
	while (!fib_settled(b.fib))
		commit();
}

/* The class of a destination is the only valid exit port. `any`: all ports are valid, for io without a lookup, because misdirected frames cost the sink time. */
static void
ports_allow(bool any)
{
	for (unsigned i = 0; i < OUTPUTS; i++)
		atomic_store_explicit(
			&b.ports->allowed[i], any ? UINT32_MAX : 1u << i, memory_order_relaxed);
}

/* Draws destinations within route[from..to). */
static void
draw_flows(enum afi afi, size_t from, size_t to)
{
	struct shadow *s;

	if (shadow_create(b.arena, afi, &s) != 0)
		die("out of memory");
	for (size_t i = from; i < to; i++)
		if (shadow_set(s, &b.route[i], LAB_LIST(b.hop[i] % OUTPUTS), false) != 0)
			die("out of memory");
	lab_flows_draw(b.ports, afi, s, &b.route[from], to - from, 42);
	shadow_destroy(s);
}

static void
make_flows(void)
{
	b.ports = lab_shared_create(NULL, b.v4 ? FLOWS : 0, b.v6 ? FLOWS : 0);
	if (b.ports == NULL)
		die("out of memory");
	if (b.v4)
		draw_flows(AFI_IPV4, 0, b.v4_count);
	if (b.v6)
		draw_flows(AFI_IPV6, b.v4_count, b.count);
	if (mixed())
		b.ports->v6_pattern = V6_PATTERN;
	ports_allow(false);
	/* with two workers each has a source: both queues of port 0, or both ports */
	if (options.queues != 1)
		atomic_store_explicit(&b.ports->side[1].limit, 0, memory_order_relaxed);
	atomic_store_explicit(&b.ports->side[LAB_PORTS + 1].limit, 0, memory_order_relaxed);
	atomic_store_explicit(&b.ports->run, 1, memory_order_release);
}

static int
worker_clock(void *clock)
{
	return pthread_getcpuclockid(pthread_self(), clock);
}

static void
make_ports(void)
{
	/* with hugepages EAL grows on demand */
	static const char *const args[] = {"--force-max-simd-bitwidth=512", "-m", "3072"};
	bool plenty = nr_hugepages(-1) >= HUGEPAGES;
	static const unsigned control[] = {0};
	static unsigned worker[2];
	struct dataplane_error err = {""};
	unsigned workers = options.queues > 0 ? 2 : 1;
	char name[32];
	bool huge;

	worker[0] = (unsigned)sysconf(_SC_NPROCESSORS_ONLN) - 1;
	worker[1] = worker[0] - 1;
	(void)snprintf(name, sizeof(name), "keel-bench-%d", (int)getpid());
	if (dataplane_init(&(struct dataplane_config){.worker_cpus = worker,
				   .worker_count = workers,
				   .control_cpus = control,
				   .control_count = 1,
				   .memory_mb = 2048,
				   .eal_args = args,
				   .eal_arg_count = plenty ? 1 : 3,
				   .run_dir = "/tmp",
				   .name = name},
		    &huge, &err) != 0)
		die("%s", err.text);
	fprintf(stderr, "bench_forward: hugepages: %s\n", huge ? "yes" : "no");
	if (lab_port_enable(b.ports) != 0)
		die("lab_port_enable");
	for (unsigned i = 0; i < OUTPUTS; i++) {
		char device[48];
		uint16_t port;

		(void)snprintf(device, sizeof(device), "net_null_lab%u,no-rx=1", i);
		(void)snprintf(name, sizeof(name), "lab%u", i);
		if (port_add(&(struct port_config){.name = name,
				     .device = device,
				     .mtu = 1500,
				     .queues = options.queues},
			    &port, &err) != 0)
			die("%s", err.text);
		forward_port_set(port, port_ethdev(port));
	}
	if (rte_eal_remote_launch(worker_clock, &b.worker_clock, 1) != 0 ||
		rte_eal_wait_lcore(1) != 0)
		die("no worker's clock");
	if (workers == 2 && (rte_eal_remote_launch(worker_clock, &b.second_clock, 2) != 0 ||
				    rte_eal_wait_lcore(2) != 0))
		die("no worker's clock");
}

/* ---- one measurement ---- */

static void
keel_start(unsigned workers)
{
	struct dataplane_error err = {""};

	if (workers_start(&(struct workers_config){.arena = b.arena,
				  .fib = fib_reader(b.fib),
				  .qsbr = b.qsbr,
				  .count = workers,
				  .path_lists = b.lists},
		    &err) != 0)
		die("%s", err.text);
}

struct counts {
	uint64_t seen, sent, wrong;
};

static struct counts
counts(void)
{
	struct counts c = {0};

	for (unsigned i = 0; i < OUTPUTS * LAB_QUEUES; i++) {
		const struct lab_side *s = &b.ports->side[i / OUTPUTS * LAB_PORTS + i % OUTPUTS];

		c.seen += lab_count(&s->seen);
		c.sent += lab_count(&s->sent);
		c.wrong += lab_count(&s->misdirected) + lab_count(&s->reordered) +
			   lab_count(&s->damaged) + lab_count(&s->foreign);
	}
	return c;
}

/* The work of the second CPU. */
enum beside { QUIET, SPINNING, CHANGING, BESIDES };

static void
apply_changes(uint64_t until, bool none)
{
	static uint64_t seed = 7;
	static uint64_t due;
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	for (due = now; now < until; now = clock_ns(CLOCK_MONOTONIC)) {
		if (now < due) {
			sched_yield();
			continue;
		}
		due += CHANGE_EACH_NS;
		if (none)
			continue;
		for (unsigned i = 0; i < CHANGES_PER_S / (1000000000u / CHANGE_EACH_NS); i++)
			change(rnd_below(&seed, (uint32_t)b.count));
		(void)fib_commit(b.fib, now); /* -EAGAIN: with the next changes */
	}
}

static void
pass_time(uint64_t ns, enum beside what)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + ns;

	if (what == QUIET)
		tick_until(until);
	else
		apply_changes(until, what == SPINNING);
}

/* ---- all ---- */

#ifdef KEEL_STAGES
/* One worker, one writer; the ends of a window are inexact by a few bursts of a million. */
static _Atomic uint64_t stage_cycles[STAGES];
static uint64_t stage_began;

void
stage_end(enum worker_stage s)
{
	uint64_t now = rte_rdtsc();

	atomic_store_explicit(&stage_cycles[s],
		atomic_load_explicit(&stage_cycles[s], memory_order_relaxed) + now - stage_began,
		memory_order_relaxed);
	stage_began = now;
}

static void
stages(void)
{
	static const char *const name[STAGES] = {
		"receive", "split", "classify", "finish", "transmit", "rest"};

	b.ports->ttl_taken = 1;
	for (unsigned run = 0; run < options.runs; run++) {
		uint64_t before[STAGES], packets;

		keel_start(1);
		pass_time(options.window_ns / 5, QUIET);
		for (unsigned i = 0; i < STAGES; i++)
			before[i] = lab_count(&stage_cycles[i]);
		packets = counts().seen;
		pass_time(options.window_ns, QUIET);
		packets = counts().seen - packets;
		for (unsigned i = 0; i < STAGES; i++) {
			char metric[32];

			(void)snprintf(metric, sizeof(metric), "cycles_%s", name[i]);
			sample(metric, "keel", "cycles/packet", run,
				(double)(lab_count(&stage_cycles[i]) - before[i]) /
					(double)packets);
		}
		workers_stop();
	}
}
#else
static unsigned burst_of[] = {[FORWARD_IO] = BURST_MAX, [FORWARD_FIB_AVX512] = 0}; /* by kind */

static void
other_start(enum forward_kind kind)
{
	if (kind == FORWARD_LPM && !b.v6)
		forward_lpm_set(fib_read_begin(fib_reader(b.fib))->v4[0].lpm);
	forward_start(kind, b.v6, burst_of[kind]);
}

struct rate {
	uint64_t packets, cpu_ns;
};

static double
mpps(const struct rate *r)
{
	return (double)r->packets * 1e3 / (double)r->cpu_ns;
}

/* Measures the running loop for `window_ns`, and adds its packets and CPU time to `r`. */
static void
measure_window(enum beside what, uint64_t warm_ns, uint64_t window_ns, struct rate *r)
{
	uint64_t packets, cpu;

	pass_time(warm_ns, what);
	packets = counts().seen;
	cpu = clock_ns(b.worker_clock);
	pass_time(window_ns, what);
	r->packets += counts().seen - packets;
	r->cpu_ns += clock_ns(b.worker_clock) - cpu;
}

/* All sent frames have arrived; at most `wrong` frames are wrong. */
static void
all_arrived(uint64_t wrong)
{
	struct counts c = counts();

	if (c.seen != c.sent)
		die("%lu frames lost", (unsigned long)(c.sent - c.seen));
	if (c.wrong != wrong)
		die("%lu frames misdirected, reordered or damaged",
			(unsigned long)(c.wrong - wrong));
}

static void
measure(enum forward_kind kind, uint64_t window_ns, struct rate *r)
{
	uint64_t wrong = counts().wrong;

	b.ports->ttl_taken = kind != FORWARD_IO;
	ports_allow(kind == FORWARD_IO);
	if (kind == FORWARD_KEEL)
		keel_start(1);
	else
		other_start(kind);
	measure_window(QUIET, WARM_NS, window_ns, r);
	if (kind == FORWARD_KEEL)
		workers_stop();
	else
		forward_stop();
	all_arrived(wrong);
}

static const char *const beside_name[BESIDES] = {"quiet", "spinning", "changing"};

/* One worker; the turns of the second CPU go up and down, and the first turn varies by run. */
static void
measure_changes(unsigned run)
{
	struct rate rate[BESIDES] = {{0}};
	uint64_t wrong = counts().wrong;
	unsigned turns = (unsigned)(CHANGES_WINDOWS * options.window_ns / TURN_NS) + 1;

	b.ports->ttl_taken = true;
	ports_allow(false);
	keel_start(1);
	pass_time(WARM_NS, QUIET);
	for (unsigned turn = 0; turn < turns; turn++)
		for (unsigned i = 0; i < BESIDES; i++) {
			unsigned step = turn % 2 != 0 ? BESIDES - 1 - i : i;
			enum beside what = (enum beside)((run + turn / 2 + step) % BESIDES);

			measure_window(what, WARM_NS, TURN_NS, &rate[what]);
		}
	workers_stop();
	all_arrived(wrong);
	for (unsigned i = 0; i < BESIDES; i++)
		sample("rate_beside_changes", beside_name[i], "Mpps", run, mpps(&rate[i]));
}

static uint64_t
cpu_of_workers(unsigned workers)
{
	return clock_ns(b.worker_clock) + (workers == 2 ? clock_ns(b.second_clock) : 0);
}

/* One window of one or two workers, and its packets for a second of each worker's CPU. */
static void
measure_workers_window(unsigned workers, enum beside what, struct rate *r)
{
	uint64_t packets, cpu;

	keel_start(workers);
	pass_time(WARM_NS, QUIET);
	packets = counts().seen;
	cpu = cpu_of_workers(workers);
	pass_time(TURN_NS, what);
	r->packets += (counts().seen - packets) * workers;
	r->cpu_ns += cpu_of_workers(workers) - cpu;
	workers_stop();
	all_arrived(0);
}

static void
measure_workers(unsigned run)
{
	struct rate rate[3] = {{0}};
	unsigned turns = (unsigned)(options.window_ns / TURN_NS) + 1;

	b.ports->ttl_taken = true;
	for (unsigned turn = 0; turn < turns; turn++)
		for (unsigned i = 0; i < 3; i++) {
			unsigned k = (run + turn + i) % 3;

			if (k == 2 || options.queues == 2)
				measure_workers_window(
					k == 2 ? 2 : 1, k == 1 ? SPINNING : QUIET, &rate[k]);
		}
	if (options.queues == 2) {
		sample("rate_workers", "one", "Mpps", run, mpps(&rate[0]));
		sample("rate_workers", "one_spinning", "Mpps", run, mpps(&rate[1]));
	}
	sample("rate_workers", options.queues == 2 ? "two_own" : "two_shared", "Mpps", run,
		mpps(&rate[2]));
}

static const struct dut {
	const char *name;
	enum forward_kind kind;
} dut[] = {
	{"io", FORWARD_IO},
	{"keel", FORWARD_KEEL},
	{"lpm", FORWARD_LPM},
	{"fib", FORWARD_FIB},
	{"fib_avx512", FORWARD_FIB_AVX512},
};
#define DUTS (sizeof(dut) / sizeof(dut[0]))

static int
by_rate(const void *one, const void *other)
{
	double x = *(const double *)one, y = *(const double *)other;

	return (x > y) - (x < y);
}

/* The best lookup loop by median. */
static void
bursts_find(void)
{
	static const unsigned size[BURST_SIZES] = {32, 64, 128, 256};
	double rate[FORWARD_FIB_AVX512 + 1][BURST_SIZES][BURST_RUNS],
		best[FORWARD_FIB_AVX512 + 1] = {0};
	char metric[32];

	for (unsigned i = 0; i < BURST_RUNS * BURST_SIZES; i++) {
		for (enum forward_kind k = FORWARD_LPM; k <= FORWARD_FIB_AVX512; k++) {
			if (!forward_has(k))
				continue;
			burst_of[k] = size[i % BURST_SIZES];
			struct rate r = {0};

			measure(k, BURST_WINDOW_NS, &r);
			rate[k][i % BURST_SIZES][i / BURST_SIZES] = mpps(&r);
		}
	}
	for (const struct dut *d = dut; d < dut + DUTS; d++) {
		if (d->kind < FORWARD_LPM || !forward_has(d->kind))
			continue;
		for (unsigned i = 0; i < BURST_SIZES; i++) {
			qsort(rate[d->kind][i], BURST_RUNS, sizeof(double), by_rate);
			(void)snprintf(metric, sizeof(metric), "rate_burst_%u", size[i]);
			sample(metric, d->name, "Mpps", 0, rate[d->kind][i][BURST_RUNS / 2]);
			if (rate[d->kind][i][BURST_RUNS / 2] > best[d->kind]) {
				best[d->kind] = rate[d->kind][i][BURST_RUNS / 2];
				burst_of[d->kind] = size[i];
			}
		}
	}
}

static bool
is_of_mixed(const char *name)
{
	return strcmp(name, "io") == 0 || strcmp(name, "keel") == 0;
}

static bool
wanted(const struct dut *d)
{
	if (mixed() && !is_of_mixed(d->name))
		return false;
	return forward_has(d->kind) && (options.only == NULL || strcmp(options.only, d->name) == 0);
}

static bool
beside_named(const char *name)
{
	for (unsigned i = 0; i < BESIDES; i++)
		if (strcmp(name, beside_name[i]) == 0)
			return true;
	return false;
}

static bool
named(const char *name)
{
	for (unsigned d = 0; d < DUTS; d++)
		if (strcmp(name, dut[d].name) == 0)
			return true;
	return beside_named(name) || strcmp(name, "workers") == 0;
}

static void
sample_rate(const char *metric, const char *who, unsigned run, double rate, double io)
{
	char less[40];

	sample(metric, who, "Mpps", run, rate);
	(void)snprintf(less, sizeof(less), "%s_less_io", metric);
	if (io > rate)
		sample(less, who, "Mpps", run, 1 / (1 / rate - 1 / io));
}

static void
measure_all(unsigned run)
{
	unsigned turns = (unsigned)((options.window_ns + TURN_NS - 1) / TURN_NS);
	struct rate rate[DUTS] = {{0}};
	double best = 0, io;

	for (unsigned turn = 0; turn < turns; turn++)
		for (unsigned i = 0; i < DUTS; i++) {
			unsigned d = (run + turn + i) % DUTS;

			if (wanted(&dut[d]))
				measure(dut[d].kind, options.window_ns / turns, &rate[d]);
		}
	io = rate[0].cpu_ns != 0 ? mpps(&rate[0]) : 0;
	for (unsigned d = 0; d < DUTS; d++) {
		if (!wanted(&dut[d]))
			continue;
		if (dut[d].kind >= FORWARD_LPM && mpps(&rate[d]) > best)
			best = mpps(&rate[d]);
		sample_rate("rate", dut[d].name, run, mpps(&rate[d]), io);
	}
	if (!mixed() && (options.only == NULL || beside_named(options.only)))
		measure_changes(run);
	if (best > 0)
		sample_rate("rate", "best_other", run, best, io);
}

static void
settle(void)
{
	commit();
	while (!fib_settled(b.fib))
		commit();
}
#endif

static int
run_family(unsigned family)
{
	b.v4 = family != 6;
	b.v6 = family != 4;
	role_enter_main();
	role_enter_fib();
	role_enter_host();
	read_table();
	if (arena_create("bench", &b.arena) != 0)
		die("out of memory");
	make_flows();
	make_ports();
	make_tables();
	sample("routes", "keel", "count", 0, (double)b.count);
	pin(0);
#ifdef KEEL_STAGES
	stages();
#else
	for (unsigned run = 0; run < options.runs && options.queues > 0; run++) {
		measure_workers(run);
		settle();
	}
	if (options.queues > 0)
		goto out;
	if (!mixed()) {
		forward_tables_make(b.route, b.hop, b.list, b.count, b.v6);
		if (options.only == NULL ||
			(strcmp(options.only, "keel") != 0 && !beside_named(options.only)))
			bursts_find();
	}
	for (unsigned run = 0; run < options.runs; run++) {
		measure_all(run);
		settle();
	}
out:
#endif
	dataplane_fini();
	return 0;
}

/* Runs each family in a process of its own, because EAL can start only once in a process. */
static int
run_process(unsigned family)
{
	int status = 1;
	pid_t child = fork();

	if (child == 0)
		exit(run_family(family));
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 1;
	return status;
}

static int
run_apart(unsigned family)
{
#ifdef KEEL_STAGES
	return run_process(family);
#else
	int status = 0;

	if (options.only == NULL || strcmp(options.only, "workers") != 0)
		status = run_process(family);
	if (family == 46 || (options.only != NULL && strcmp(options.only, "workers") != 0))
		return status; /* rate_workers: of one family */
	for (options.queues = 2; options.queues > 0; options.queues--)
		status |= run_process(family);
	return status;
#endif
}

int
main(int argc, char **argv)
{
	static const unsigned family[] = {4, 6, 46};
	long before = nr_hugepages(-1);
	int status = 0;

	for (int i = 1; i < argc; i++) {
		if (bench_option(argc, argv, &i, &options.runs, &options.window_ns))
			continue;
		if (strcmp(argv[i], "--family") == 0 && i + 1 < argc)
			options.family = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
			options.only = argv[++i];
		else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
			options.window_ns = strtoull(argv[++i], NULL, 10) * 1000000000u;
		else
			die("usage: bench_forward [--quick] [--runs N] [--family 4|6|46] [--only "
			    "DUT] [--seconds N]");
	}
#ifndef KEEL_STAGES
	if (options.only != NULL && !named(options.only))
		die("--only %s: there is none of that name", options.only);
	if (options.family == 46 && options.only != NULL && !is_of_mixed(options.only))
		die("--only %s: --family 46 has only io and keel", options.only);
#endif
	if (options.family != 0 && options.family != 4 && options.family != 6 &&
		options.family != 46)
		die("--family: 4, 6, or 46");
	if (before >= 0 && before < HUGEPAGES)
		(void)nr_hugepages(HUGEPAGES);
	for (const unsigned *f = family; f < family + 3; f++)
		if (options.family == 0 || options.family == *f)
			status |= run_apart(*f);
	if (before >= 0 && before < HUGEPAGES)
		(void)nr_hugepages(before);
	return status != 0;
}
