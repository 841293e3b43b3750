/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The worker with VPN instances, on lab ports (tests/dataplane/lab_port.h), IPv4, 1,048,576
 * destinations of a full table. In turns of 50 ms, in one run:
 *
 *   default   a full default table, no instances
 *   beside    the same with 1,000 instances of 100 routes, and with `instance`
 *   instance  the same full table in an instance
 *   labels    labelled packets to the 1,000 instances at random: one label is popped, and the packet
 *             is looked up in the instance
 *   changing, labels_changing   as `beside` and `labels`, while the second CPU changes 10,000 routes a
 *             second, of all 1,000 instances in turn, with a commit each FIB_COMMIT_INTERVAL_NS
 *
 * Rates are by the worker's CPU time; `changes` is the number of changes a
 * second. Prints METRIC DUT UNIT RUN VALUE, for scripts/bench.
 *
 * bench_forward_vpn [--quick] [--runs N] [--only DUT]
 */
#include "dataplane/port/port.h"
#include "dataplane/forward/worker.h"
#include "lpm/base/arena.h"
#include "lpm/fib.h"
#include "lpm/label_table.h"
#include "lpm/path_list.h"
#include "lpm/base/qsbr.h"
#include "tests/bench/bench.h"
#include "tests/bench/table.h"
#include "tests/dataplane/lab_flows.h"
#include "tests/lpm/lpm6_test.h"
#include "tests/lpm/tick.h"

#include <rte_launch.h>
#include <rte_lcore.h>
#include <unistd.h>

#define FLOWS (1u << 20)
#define OUTPUTS 2
#define PORTS 4 /* 0 and 1: default; 2: of the full instance; 3: with `mpls` */
#define INSTANCES 1000u
#define INSTANCE_ROUTES 100u
#define FULL ((struct vrf_id){INSTANCES + 1})
#define TURN_NS 50000000u
#define WARM_NS 20000000u
#define CHANGES_PER_S 10000u
#define CHANGES_PER_COMMIT (CHANGES_PER_S / (1000000000u / FIB_COMMIT_INTERVAL_NS))

enum dut { DEFAULT, BESIDE, INSTANCE, LABELS, CHANGING, LABELS_CHANGING, DUTS };
static const char *const dut_name[DUTS] = {
	"default", "beside", "instance", "labels", "changing", "labels_changing"};
static const uint16_t source_of[DUTS] = {0, 0, 2, 3, 0, 3};

static struct {
	unsigned runs;
	uint64_t window_ns;
	const char *only;
} options = {.runs = 5, .window_ns = 800000000};

/* A fib, with the lists of the outputs. */
struct tables {
	struct qsbr *qsbr;
	struct fib *fib;
	struct path_list_id list[OUTPUTS];
};

static struct {
	struct arena *arena;
	struct tables plain, vpn;
	struct prefix *route;
	size_t count;
	struct lab_shared *ports;
	clockid_t worker_clock;
	uint64_t changes; /* so far */
} b;

static void
commit(const struct tables *t)
{
	do {
		int rc = fib_commit(t->fib, clock_ns(CLOCK_MONOTONIC));

		if (rc != 0 && rc != -EAGAIN)
			die("fib_commit: %d", rc);
	} while (!fib_settled(t->fib));
}

static void
set(const struct tables *t, struct vrf_id vrf, const struct prefix *p, unsigned output)
{
	if (fib_set(t->fib, vrf, p, t->list[output]) != 0)
		die("fib_set");
}

static unsigned
output_of(size_t i)
{
	return (unsigned)(hash_mix(i) % OUTPUTS);
}

static void
tables_make(struct tables *t)
{
	if (qsbr_create(b.arena, 8, &t->qsbr) != 0 ||
		fib_create(&(struct fib_config){.arena = b.arena,
				   .workers = t->qsbr,
				   .memory_bytes = (size_t)1 << 30,
				   .huge = true,
				   .tbl8_groups = 4096},
			&t->fib) != 0 ||
		fib_vrf_add(t->fib, VRF_DEFAULT, AFI_IPV4) != 0)
		die("no memory for the tables");
	for (uint16_t i = 0; i < OUTPUTS; i++) {
		struct adjacency adj = {
			.ether = {0x02, 0, 0, 0, 0, 0xbb}, .ether_len = 14, .port = i, .mtu = 1500};
		struct path_lists *lists = fib_path_lists(t->fib);
		struct ip_addr a = addr_from_v4(0xc0000201u + i);
		struct path path = {.label = LABEL_NONE};

		port_mac(i, adj.ether + 6);
		if (next_hop_get(lists, VRF_DEFAULT, &a, i, &path.next_hop) != 0 ||
			next_hop_up(lists, path.next_hop, &adj) != 0 ||
			path_list_get(lists, PATH_LIST_FORWARD, PORT_NONE, &path, 1, &t->list[i]) !=
				0)
			die("next hop");
	}
	for (size_t i = 0; i < b.count; i++)
		set(t, VRF_DEFAULT, &b.route[i], output_of(i));
	commit(t);
}

static bool
labelled(enum dut d)
{
	return d == LABELS || d == LABELS_CHANGING;
}

/* The index of route `i` of an instance. */
static size_t
route_of(uint16_t vrf, unsigned i)
{
	return hash_mix((uint64_t)vrf << 32 | i) % b.count;
}

/* The next change: an instance after the other, a route after the other, to the other output and back. */
static void
change(const struct tables *t)
{
	uint64_t n = b.changes++, round = n / INSTANCES;
	uint16_t vrf = (uint16_t)(1 + n % INSTANCES);
	size_t at = route_of(vrf, 1 + (unsigned)(round % (INSTANCE_ROUTES - 1)));
	unsigned there = round / (INSTANCE_ROUTES - 1) % 2 == 0;

	set(t, (struct vrf_id){vrf}, &b.route[at], (output_of(at) + there) % OUTPUTS);
}

/* Changes routes at the rate until `end_ns`; a commit that readers delay is tried again at the next interval, as in keeld. */
static void
changes_pass(const struct tables *t, uint64_t end_ns)
{
	for (uint64_t at = clock_ns(CLOCK_MONOTONIC); at < end_ns; at += FIB_COMMIT_INTERVAL_NS) {
		int rc;

		tick_until(at);
		for (unsigned i = 0; i < CHANGES_PER_COMMIT; i++)
			change(t);
		rc = fib_commit(t->fib, clock_ns(CLOCK_MONOTONIC));
		if (rc != 0 && rc != -EAGAIN)
			die("fib_commit: %d", rc);
	}
	tick_until(end_ns);
}

/* 100 routes and a default route in each instance, and the full table in one more. */
static void
instances_make(const struct tables *t)
{
	static const struct prefix all = {.afi = AFI_IPV4};

	for (uint16_t v = 1; v <= INSTANCES; v++) {
		struct label_entry e = {.op = LABEL_POP_INSTANCE, .vrf = {v}};

		if (fib_instance_add(t->fib, e.vrf, AFI_IPV4) != 0 ||
			label_table_set(fib_labels(t->fib), LAB_LABEL_FIRST + v - 1, &e) != 0)
			die("out of memory");
		set(t, e.vrf, &all, v % OUTPUTS);
		for (unsigned i = 1; i < INSTANCE_ROUTES; i++) {
			size_t at = route_of(v, i);

			set(t, e.vrf, &b.route[at], output_of(at));
		}
	}
	if (fib_instance_add(t->fib, FULL, AFI_IPV4) != 0)
		die("out of memory");
	for (size_t i = 0; i < b.count; i++)
		set(t, FULL, &b.route[i], output_of(i));
	commit(t);
}

static void
flows_make(void)
{
	struct v4_route *r = v4_table(1200000, &b.count);
	struct shadow *s;

	b.route = malloc(b.count * sizeof(*b.route));
	if (b.route == NULL || shadow_create(b.arena, AFI_IPV4, &s) != 0)
		die("out of memory");
	for (size_t i = 0; i < b.count; i++) {
		b.route[i] = prefix_from_v4(r[i].addr, r[i].len);
		if (shadow_set(s, &b.route[i], LAB_LIST(output_of(i)), false) != 0)
			die("out of memory");
	}
	free(r);
	b.ports = lab_shared_create(NULL, FLOWS, 0);
	if (b.ports == NULL)
		die("out of memory");
	lab_flows_draw(b.ports, AFI_IPV4, s, b.route, b.count, 42);
	shadow_destroy(s);
	b.ports->ttl_taken = 1;
	atomic_store_explicit(&b.ports->side[3].labels, INSTANCES, memory_order_relaxed);
	atomic_store_explicit(&b.ports->run, 1, memory_order_release);
}

/* Only the port of `d` sends. An instance may send a packet anywhere. */
static void
source_set(enum dut d)
{
	for (unsigned i = 0; i < PORTS; i++)
		atomic_store_explicit(&b.ports->side[i].limit, i == source_of[d] ? UINT64_MAX : 0,
			memory_order_relaxed);
	for (unsigned i = 0; i < OUTPUTS; i++)
		atomic_store_explicit(&b.ports->allowed[i], labelled(d) ? UINT32_MAX : 1u << i,
			memory_order_relaxed);
}

static int
worker_clock(void *unused)
{
	return pthread_getcpuclockid(pthread_self(), &b.worker_clock);
}

static void
ports_make(void)
{
	static const char *const args[] = {"--force-max-simd-bitwidth=512", "-m", "1024"};
	static const unsigned control[] = {0};
	static unsigned worker[1];
	struct dataplane_error err = {""};
	char name[32];
	bool huge;

	worker[0] = (unsigned)sysconf(_SC_NPROCESSORS_ONLN) - 1;
	(void)snprintf(name, sizeof(name), "keel-bench-%d", (int)getpid());
	if (dataplane_init(&(struct dataplane_config){.worker_cpus = worker,
				   .worker_count = 1,
				   .control_cpus = control,
				   .control_count = 1,
				   .memory_mb = 2048,
				   .eal_args = args,
				   .eal_arg_count = 3,
				   .run_dir = "/tmp",
				   .name = name},
		    &huge, &err) != 0)
		die("%s", err.text);
	fprintf(stderr, "bench_forward_vpn: hugepages: %s\n", huge ? "yes" : "no");
	if (lab_port_enable(b.ports) != 0)
		die("lab_port_enable");
	for (unsigned i = 0; i < PORTS; i++) {
		char device[48];
		uint16_t port;

		(void)snprintf(device, sizeof(device), "net_null_lab%u,no-rx=1", i);
		(void)snprintf(name, sizeof(name), "lab%u", i);
		if (port_add(&(struct port_config){.name = name,
				     .device = device,
				     .vrf = i == 2 ? FULL : VRF_DEFAULT,
				     .mpls = i == 3,
				     .mtu = 1500},
			    &port, &err) != 0)
			die("%s", err.text);
	}
	if (rte_eal_remote_launch(worker_clock, NULL, 1) != 0 || rte_eal_wait_lcore(1) != 0)
		die("no worker's clock");
}

static uint64_t
seen(uint64_t *wrong, uint64_t *sent)
{
	uint64_t n = 0;

	*wrong = *sent = 0;
	for (unsigned i = 0; i < PORTS; i++) {
		const struct lab_side *s = &b.ports->side[i];

		n += lab_count(&s->seen);
		*sent += lab_count(&s->sent);
		*wrong += lab_count(&s->misdirected) + lab_count(&s->reordered) +
			  lab_count(&s->damaged) + lab_count(&s->foreign);
	}
	return n;
}

struct rate {
	uint64_t packets, cpu_ns, changes, ns;
};

static void
measure(enum dut d, uint64_t window_ns, struct rate *r)
{
	const struct tables *t = d == DEFAULT ? &b.plain : &b.vpn;
	struct dataplane_error err = {""};
	uint64_t wrong, sent, before, cpu, begin, changes = b.changes;

	source_set(d);
	if (workers_start(&(struct workers_config){.arena = b.arena,
				  .fib = fib_reader(t->fib),
				  .qsbr = t->qsbr,
				  .count = 1,
				  .path_lists = fib_path_lists(t->fib)},
		    &err) != 0)
		die("%s", err.text);
	tick_until(clock_ns(CLOCK_MONOTONIC) + WARM_NS);
	before = seen(&wrong, &sent);
	cpu = clock_ns(b.worker_clock);
	begin = clock_ns(CLOCK_MONOTONIC);
	if (d == CHANGING || d == LABELS_CHANGING)
		changes_pass(t, begin + window_ns);
	else
		tick_until(begin + window_ns);
	r->changes += b.changes - changes;
	r->ns += clock_ns(CLOCK_MONOTONIC) - begin;
	r->packets += seen(&wrong, &sent) - before;
	r->cpu_ns += clock_ns(b.worker_clock) - cpu;
	workers_stop();
	commit(t);
	if (seen(&wrong, &sent) != sent)
		die("%s: frames lost", dut_name[d]);
	if (wrong != 0)
		die("%s: %lu frames misdirected, reordered or damaged", dut_name[d],
			(unsigned long)wrong);
}

static void
measure_all(unsigned run)
{
	unsigned turns = (unsigned)((options.window_ns + TURN_NS - 1) / TURN_NS);
	struct rate rate[DUTS] = {{0}};

	for (unsigned turn = 0; turn < turns; turn++) {
		for (unsigned i = 0; i < DUTS; i++) {
			unsigned d = (run + turn + i) % DUTS;

			if (options.only == NULL || strcmp(options.only, dut_name[d]) == 0)
				measure((enum dut)d, options.window_ns / turns, &rate[d]);
		}
	}
	for (unsigned d = 0; d < DUTS; d++) {
		if (rate[d].cpu_ns != 0)
			printf("rate %s Mpps %u %.4f\n", dut_name[d], run,
				(double)rate[d].packets * 1e3 / (double)rate[d].cpu_ns);
		if (rate[d].changes != 0)
			printf("changes %s /s %u %.0f\n", dut_name[d], run,
				(double)rate[d].changes * 1e9 / (double)rate[d].ns);
	}
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (bench_option(argc, argv, &i, &options.runs, &options.window_ns))
			continue;
		if (strcmp(argv[i], "--only") != 0 || i + 1 == argc)
			die("usage: bench_forward_vpn [--quick] [--runs N] [--only DUT]");
		options.only = argv[++i];
	}
	role_enter_main();
	role_enter_fib();
	role_enter_host();
	if (arena_create("bench", &b.arena) != 0)
		die("out of memory");
	flows_make();
	ports_make();
	tables_make(&b.plain);
	tables_make(&b.vpn);
	instances_make(&b.vpn);
	for (unsigned run = 0; run < options.runs; run++)
		measure_all(run);
	dataplane_fini();
	return 0;
}
