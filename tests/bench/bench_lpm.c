/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Benchmark of the IPv4 table. One reader on a separate CPU looks up in bursts of 64, while the
 * writer on the second CPU changes a batch of prefixes several times a second: with left-right
 * copies (fib.h), or in the single table of the reader (one store of the final answer for each
 * slot). Then the cost of a batch for the writer by size, beside painting everything; and the same
 * routes in a table of rte_lpm, made by rte_lpm_add, looked up by rte_lpm_lookup_bulk.
 *
 * Prints one sample a line, `METRIC DUT UNIT RUN VALUE`; scripts/bench makes the report. Samples of
 * one run are neighbours in time, and the order alternates. Rates are by the
 * reader's CPU time, so that other work on the machine costs caches but no time.
 */
#include "lpm/base/arena.h"
#include "lpm/fib.h"
#include "lpm/fib_read.h"
#include "lpm/inspect.h"
#include "lpm/base/qsbr.h"
#include "lpm/shadow.h"
#include "lpm/table_v4.h"
#include "tests/bench/bench.h"
#include "tests/lpm/lpm_test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <time.h>

#ifdef KEEL_BENCH_RTE_LPM
#include <rte_eal.h>
#include <rte_errno.h>
#endif

#define BURST 64
#define LISTS 256
#define RANDOM_COUNT (1u << 20)
#define LPM_ROUTES 50000

static struct {
	unsigned runs;
	uint64_t window_ns;
	unsigned batch;
	unsigned reader_cpu, writer_cpu;
} options = {.runs = 15, .window_ns = 250000000, .batch = 4096, .reader_cpu = 1, .writer_cpu = 0};

static struct arena *arena;
static struct qsbr *workers;
static struct v4_route *table;
static size_t table_count;
static uint32_t *destination; /* RANDOM_COUNT addresses within prefixes of the table */
static struct path_list_id list[LISTS];
static uint64_t seed = 42;

/* The alternative design: one table, painted under the reader. */
static struct {
	struct shadow *shadow;
	struct table_v4 *table;
	struct fib_generation generation;
	_Atomic(const struct fib_generation *) current;
	struct fib_reader reader;
} in_place;

static struct fib *fib;

static void
sample(const char *metric, const char *dut, const char *unit, unsigned run, double value)
{
	printf("%s %s %s %u %.4f\n", metric, dut, unit, run, value);
	fflush(stdout);
}

struct reading {
	const struct fib_reader *reader;
	const struct rte_lpm *theirs; /* instead of it */
	const uint32_t *ip;
	uint32_t ip_mask; /* count of addresses less one */
	_Atomic bool done;
	double rate; /* million lookups a second of CPU time */
	uint64_t sum;
};

/* Compiled as the worker's lookups are. */
static HOT uint64_t
read_bursts(struct reading *r, unsigned id, uint32_t *at, unsigned bursts)
{
	uint64_t sum = 0;

	for (unsigned b = 0; b < bursts; b++) {
		uint32_t out[BURST];

		if (r->theirs != NULL)
			rte_lpm_lookup_bulk(r->theirs, &r->ip[*at], out, BURST);
		else
			fib_read_v4_bulk(r->reader, fib_read_begin(r->reader), VRF_DEFAULT,
				&r->ip[*at], out, BURST);
		*at = (*at + BURST) & r->ip_mask;
		for (unsigned i = 0; i < BURST; i++)
			sum += out[i];
		qsbr_quiescent(workers, id);
	}
	return sum;
}

static void *
reader_main(void *arg)
{
	struct reading *r = arg;
	uint64_t begin, cpu, lookups = 0;
	uint32_t at = 0;
	unsigned id;

	role_enter_worker();
	pin(options.reader_cpu);
	if (qsbr_register(workers, &id) != 0)
		die("no reader handle");
	qsbr_online(workers, id);
	/* a fifth of the window warms up */
	for (begin = clock_ns(CLOCK_MONOTONIC);
		clock_ns(CLOCK_MONOTONIC) - begin < options.window_ns / 5;)
		r->sum += read_bursts(r, id, &at, 64);
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	for (begin = clock_ns(CLOCK_MONOTONIC);
		clock_ns(CLOCK_MONOTONIC) - begin < options.window_ns;) {
		r->sum += read_bursts(r, id, &at, 256);
		lookups += 256 * BURST;
	}
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	r->rate = (double)lookups * 1e3 / (double)cpu;
	qsbr_offline(workers, id);
	qsbr_unregister(workers, id);
	/* release: pairs with the acquire in measure */
	atomic_store_explicit(&r->done, true, memory_order_release);
	return NULL;
}

/*
 * A batch: prefixes of the table get a different list. Returns the time spent waiting for the
 * reader.
 */
static uint64_t
flip_left_right(void)
{
	uint64_t waited = 0, from;

	for (unsigned i = 0; i < options.batch; i++) {
		struct prefix p = v4_prefix(table[rnd_below(&seed, (uint32_t)table_count)]);

		if (fib_set(fib, VRF_DEFAULT, &p, list[rnd_below(&seed, LISTS)]) != 0)
			die("fib_set");
	}
	for (from = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		fib_commit(fib, clock_ns(CLOCK_MONOTONIC)) == -EAGAIN;) {
		sched_yield();
		waited += clock_ns(CLOCK_THREAD_CPUTIME_ID) - from;
		from = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	}
	return waited;
}

static uint64_t
flip_in_place(void)
{
	static struct v4_route changed[1 << 20];

	for (unsigned i = 0; i < options.batch; i++) {
		struct prefix p;

		changed[i] = table[rnd_below(&seed, (uint32_t)table_count)];
		p = v4_prefix(changed[i]);
		if (shadow_set(in_place.shadow, &p, list[rnd_below(&seed, LISTS)], false) != 0)
			die("shadow_set");
	}
	qsort(changed, options.batch, sizeof(changed[0]), v4_order);
	for (unsigned i = 0; i < options.batch; i++)
		table_v4_paint(in_place.table, in_place.shadow, changed[i].addr, changed[i].len);
	return 0;
}

/* `flips` a second while a reader runs. */
static double
measure(bool left_right, unsigned count, unsigned flips, double *flip_us, double *flips_done)
{
	struct reading r = {.reader = left_right ? fib_reader(fib) : &in_place.reader,
		.ip = destination,
		.ip_mask = count - 1};
	uint64_t begin = clock_ns(CLOCK_MONOTONIC), next = begin, busy = 0, done = 0;
	pthread_t thread;

	if (pthread_create(&thread, NULL, reader_main, &r) != 0)
		die("no thread");
	/* acquire: pairs with the release in reader_main */
	while (!atomic_load_explicit(&r.done, memory_order_acquire)) {
		uint64_t now = clock_ns(CLOCK_MONOTONIC), cpu;

		if (flips == 0 || now < next) {
			sched_yield();
			continue;
		}
		next = now > next + 1000000000u / flips ? now : next + 1000000000u / flips;
		cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		busy -= left_right ? flip_left_right() : flip_in_place();
		busy += clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
		done++;
	}
	pthread_join(thread, NULL);
	*flip_us = done > 0 ? (double)busy / 1e3 / (double)done : 0;
	*flips_done = (double)done * 1e9 / (double)(clock_ns(CLOCK_MONOTONIC) - begin);
	return r.rate;
}

static void
bench_flips(void)
{
	static const struct {
		const char *name;
		unsigned count;
	} set[] = {{"64", 64}, {"512", 512}, {"4096", 4096}, {"random", RANDOM_COUNT}};
	static const unsigned flips[] = {0, 20, 200};

	for (unsigned run = 0; run < options.runs; run++) {
		for (unsigned s = 0; s < sizeof(set) / sizeof(set[0]); s++) {
			for (unsigned f = 0; f < sizeof(flips) / sizeof(flips[0]); f++) {
				for (unsigned turn = 0; turn < 2; turn++) {
					bool left_right = (turn + run) % 2 == 0;
					const char *dut = left_right ? "left-right" : "in-place";
					double flip_us, flips_done;
					double rate = measure(left_right, set[s].count, flips[f],
						&flip_us, &flips_done);
					char metric[64];

					snprintf(metric, sizeof(metric), "lookup_%s_%u",
						set[s].name, flips[f]);
					sample(metric, dut, "M/s", run, rate);
					if (flips[f] != 200 || set[s].count != 4096)
						continue;
					sample("flip_cost", dut, "us", run, flip_us);
					sample("flips_done_of_200", dut, "1/s", run, flips_done);
				}
			}
		}
	}
}

/* Cost of a batch by size, beside painting everything. */
static void
bench_batches(void)
{
	static const unsigned size[] = {256, 4096, 16384, 32768, 65536, 131072, 262144};
	struct v4_route *changed = malloc(262144 * sizeof(*changed));
	unsigned runs = options.runs < 5 ? options.runs : 5;

	if (changed == NULL)
		die("out of memory");
	for (unsigned run = 0; run < runs; run++) {
		for (unsigned s = 0; s < sizeof(size) / sizeof(size[0]); s++) {
			char metric[64];
			uint64_t cpu;
			size_t count;

			for (unsigned i = 0; i < size[s]; i++) {
				struct prefix p;

				changed[i] = table[rnd_below(&seed, (uint32_t)table_count)];
				p = v4_prefix(changed[i]);
				(void)shadow_set(
					in_place.shadow, &p, list[rnd_below(&seed, LISTS)], false);
			}
			count = v4_unique(changed, size[s]);
			cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
			uint64_t done = 0;

			for (size_t i = 0; i < count; i++) {
				if (changed[i].addr < done)
					continue;
				table_v4_paint(in_place.table, in_place.shadow, changed[i].addr,
					changed[i].len);
				done = (uint64_t)(changed[i].addr | ~v4_mask(changed[i].len)) + 1;
			}
			cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
			snprintf(metric, sizeof(metric), "paint_%u", size[s]);
			sample(metric, "left-right", "ms", run, (double)cpu / 1e6);
		}
		uint64_t cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);

		table_v4_rebuild(in_place.table, in_place.shadow);
		sample("rebuild", "left-right", "ms", run,
			(double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) / 1e6);
	}
	free(changed);
}

static void
tables_make(void)
{
	struct fib_config config = {
		.arena = arena, .workers = workers, .memory_bytes = (size_t)2 << 30, .huge = true};
	uint64_t cpu;

	role_enter_fib();
	if (fib_create(&config, &fib) != 0 || fib_vrf_add(fib, VRF_DEFAULT, AFI_IPV4) != 0)
		die("no memory for the table");
	for (unsigned i = 0; i < LISTS; i++) {
		struct ip_addr addr = addr_from_v4(0xc0000200 + i);
		struct path path = {.label = LABEL_NONE};

		if (next_hop_get(fib_path_lists(fib), VRF_DEFAULT, &addr, 0, &path.next_hop) != 0 ||
			path_list_get(fib_path_lists(fib), PATH_LIST_FORWARD, PORT_NONE, &path, 1,
				&list[i]) != 0)
			die("no path list");
	}
	if (shadow_create(arena, AFI_IPV4, &in_place.shadow) != 0 ||
		table_v4_create(arena, 65536, true, &in_place.table) != 0)
		die("no memory for the table");
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	for (size_t i = 0; i < table_count; i++) {
		struct prefix p = v4_prefix(table[i]);

		if (fib_set(fib, VRF_DEFAULT, &p, list[i % LISTS]) != 0)
			die("fib_set");
	}
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	sample("set", "left-right", "ns/prefix", 0, (double)cpu / (double)table_count);
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	if (fib_commit(fib, 0) != 0)
		die("fib_commit");
	sample("first_commit", "left-right", "ms", 0,
		(double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) / 1e6);
	for (size_t i = 0; i < table_count; i++) {
		struct prefix p = v4_prefix(table[i]);

		if (shadow_set(in_place.shadow, &p, list[i % LISTS], false) != 0)
			die("shadow_set");
	}
	sample("shadow", "left-right", "bytes/prefix", 0,
		(double)shadow_bytes(in_place.shadow) / (double)table_count);
	table_v4_rebuild(in_place.table, in_place.shadow);
	in_place.generation = (struct fib_generation){.number = 1};
	in_place.generation.v4[0].lpm = table_v4_lpm(in_place.table);
	in_place.generation.v4[0].answers = table_v4_answers(in_place.table);
	atomic_store(&in_place.current, &in_place.generation);
	in_place.reader = (struct fib_reader){.current = &in_place.current, .bounds = BOUNDS_ALL};
}

static void
destinations_make(void)
{
	destination = malloc(RANDOM_COUNT * sizeof(*destination));
	if (destination == NULL)
		die("out of memory");
	for (unsigned i = 0; i < RANDOM_COUNT; i++) {
		struct v4_route r = table[rnd_below(&seed, (uint32_t)table_count)];

		destination[i] = r.addr | ((uint32_t)rnd(&seed) & ~v4_mask(r.len));
	}
}

#ifdef KEEL_BENCH_RTE_LPM
/* Equal routes in a table made by rte_lpm_add, and in the table of Keel, both without hugepages, because EAL has none here. */
static void
bench_rte_lpm(void)
{
	char *argv[] = {"bench_lpm", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "-m",
		"512", "-l", "0", "--log-level=3"};
	struct rte_lpm_config config = {.max_rules = LPM_ROUTES + 1, .number_tbl8s = 256};
	struct fib_generation generation = {.number = 1};
	_Atomic(const struct fib_generation *) current;
	struct fib_reader reader = {.current = &current, .bounds = BOUNDS_ALL};
	struct table_v4 *ours;
	struct shadow *shadow;
	struct rte_lpm *theirs;
	uint64_t cpu;

	if (rte_eal_init((int)(sizeof(argv) / sizeof(argv[0])), argv) < 0) {
		fprintf(stderr, "bench_lpm: EAL did not start (%s): rte_lpm is left out\n",
			rte_strerror(rte_errno));
		return;
	}
	pin(options.writer_cpu);
	theirs = rte_lpm_create("bench", 0, &config);
	if (theirs == NULL || shadow_create(arena, AFI_IPV4, &shadow) != 0 ||
		table_v4_create(arena, 256, false, &ours) != 0)
		die("no memory for rte_lpm's table");
	for (unsigned i = 0; i < LPM_ROUTES; i++) {
		struct v4_route r = table[(size_t)i * table_count / LPM_ROUTES];
		struct prefix p = v4_prefix(r);

		(void)shadow_set(shadow, &p, list[i % LISTS], false);
	}
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	for (unsigned i = 0; i < LPM_ROUTES; i++) {
		struct v4_route r = table[(size_t)i * table_count / LPM_ROUTES];

		if (rte_lpm_add(theirs, r.addr, r.len, list[i % LISTS].v) != 0)
			die("rte_lpm_add");
	}
	sample("add_50000", "rte_lpm", "ms", 0,
		(double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) / 1e6);
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	table_v4_rebuild(ours, shadow);
	sample("add_50000", "left-right", "ms", 0,
		(double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) / 1e6);
	generation.v4[0].lpm = table_v4_lpm(ours);
	generation.v4[0].answers = table_v4_answers(ours);
	atomic_store(&current, &generation);
	for (unsigned run = 0; run < options.runs; run++) {
		for (unsigned turn = 0; turn < 2; turn++) {
			unsigned which = (run + turn) % 2;
			struct reading r = {.reader = &reader,
				.theirs = which == 0 ? NULL : theirs,
				.ip = destination,
				.ip_mask = RANDOM_COUNT - 1};
			pthread_t thread;

			if (pthread_create(&thread, NULL, reader_main, &r) != 0)
				die("no thread");
			pthread_join(thread, NULL);
			sample("lookup_50000_routes", which == 0 ? "left-right" : "rte_lpm", "M/s",
				run, r.rate);
		}
	}
	rte_lpm_free(theirs);
	table_v4_destroy(ours);
	shadow_destroy(shadow);
	(void)rte_eal_cleanup();
}
#endif

static void
options_read(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (bench_option(argc, argv, &i, &options.runs, &options.window_ns))
			continue;
		if (strcmp(argv[i], "--batch") == 0 && i + 1 < argc) {
			options.batch = (unsigned)strtoul(argv[++i], NULL, 10);
		} else {
			fprintf(stderr,
				"usage: bench_lpm [--quick] [--runs N] [--batch PREFIXES]\n");
			exit(2);
		}
	}
	if (options.batch == 0 || options.batch > 1 << 20 || options.runs == 0)
		die("batch or runs out of range");
}

int
main(int argc, char **argv)
{
	role_enter_fib();
	options_read(argc, argv);
	pin(options.writer_cpu);
	if (arena_create("bench", &arena) != 0 || qsbr_create(arena, 4, &workers) != 0)
		die("out of memory");
	table = v4_table(SIZE_MAX, &table_count);
	destinations_make();
	tables_make();
	sample("prefixes", "left-right", "count", 0, (double)table_count);
	bench_flips();
	bench_batches();
#ifdef KEEL_BENCH_RTE_LPM
	bench_rte_lpm();
#endif
	table_v4_destroy(in_place.table);
	shadow_destroy(in_place.shadow);
	fib_destroy(fib);
	qsbr_destroy(workers);
	arena_destroy(arena);
	free(destination);
	free(table);
	return 0;
}
