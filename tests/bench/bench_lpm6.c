/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Benchmark of the IPv6 table: lookups of table_v6 against rte_lpm6 and rte_fib6 (trie, with and
 * without AVX-512, and dummy), all with the same routes, in bursts of 64, on one CPU, in
 * rotating order; once with small pages, once with transparent huge pages for all tables.
 * Before the measurement all tables must give equal answers. Then the cost of loads and changes.
 *
 * Prints one sample a line, `METRIC DUT UNIT RUN VALUE`; scripts/bench makes the report. Rates are by
 * CPU time, so that other work on the machine costs caches but no time.
 */
#include "lpm/base/arena.h"
#include "lpm/inspect.h"
#include "lpm/shadow.h"
#include "lpm/table_v6.h"
#include "tests/bench/bench.h"
#include "tests/lpm/lpm6_test.h"

#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef KEEL_BENCH_RTE_LPM
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_fib6.h>
#include <rte_lpm6.h>
#include <rte_memory.h>
#endif

#define BURST 64
#define LISTS 256
#define RANDOM_COUNT (1u << 20)
#define GROUPS 100000
#define CHANGES 4096
#define DUT_MAX 8

static struct {
	unsigned runs;
	uint64_t window_ns;
	unsigned cpu;
} options = {.runs = 15, .window_ns = 250000000, .cpu = 1};

static const char *pages; /* "small" or "huge" */
static struct arena *arena;
static struct shadow *shadow;
static struct prefix *route;
static size_t route_count;
static uint8_t (*destination)[16]; /* RANDOM_COUNT addresses within prefixes of the table */
static uint64_t seed = 42;
static volatile uint64_t sink;

/* A lookup function: `out` gets list ids, 0 for none. */
struct dut {
	const char *name;
	void *table;
	void (*select)(void *table); /* before each measurement, or NULL */
	void (*lookup)(void *table, uint8_t (*ip)[16], uint32_t *out);
	int (*change)(void *table, const struct prefix *p, uint32_t list);
};

static struct dut dut[DUT_MAX];
static unsigned dut_count;

/* Metrics of both kinds of pages stand side by side: METRIC_small, METRIC_huge. */
static void
sample(const char *metric, const char *who, const char *unit, unsigned run, double value)
{
	printf("%s_%s %s %s %u %.4f\n", metric, pages, who, unit, run, value);
	fflush(stdout);
}

static void
dut_add(struct dut d)
{
	if (dut_count == DUT_MAX)
		die("too many devices under test");
	dut[dut_count++] = d;
}

static uint32_t
list_of(size_t i)
{
	return 1 + (uint32_t)(i % LISTS);
}

/* Compiled as the worker's lookups are. */
static HOT void
ours_lookup(void *table, uint8_t (*ip)[16], uint32_t *out)
{
	table_v6_lookup_bulk(table_v6_words(table), (const uint8_t(*)[16])ip, out, BURST, 0);
}

static int
ours_change(void *table, const struct prefix *p, uint32_t list)
{
	if (shadow_set(shadow, p, (struct path_list_id){list}, false) != 0)
		return -1;
	table_v6_paint(table, shadow, p);
	return 0;
}

static void
ours_make(void)
{
	struct table_v6 *table;
	uint64_t cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	for (size_t i = 0; i < route_count; i++) {
		if (shadow_set(shadow, &route[i], (struct path_list_id){list_of(i)}, false) != 0)
			die("shadow_set");
	}
	sample("shadow_set", "table_v6", "ns/prefix", 0,
		(double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) / (double)route_count);
	sample("shadow", "table_v6", "bytes/prefix", 0,
		(double)shadow_bytes(shadow) / (double)route_count);
	if (table_v6_create(arena, GROUPS, strcmp(pages, "huge") == 0, &table) != 0)
		die("no memory for the table");
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	table_v6_rebuild(table, shadow);
	sample("load", "table_v6", "ms", 0,
		(double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) / 1e6);
	for (unsigned run = 0; run < 3; run++) {
		cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		table_v6_rebuild(table, shadow);
		sample("rebuild", "table_v6", "ms", run,
			(double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) / 1e6);
	}
	sample("groups", "table_v6", "count", 0, table_v6_groups_used(table));
	if (table_v6_short(table) != 0)
		die("too few groups");
	dut_add((struct dut){"table_v6", table, NULL, ours_lookup, ours_change});
}

#ifdef KEEL_BENCH_RTE_LPM
static void
lpm6_lookup(void *table, uint8_t (*ip)[16], uint32_t *out)
{
	int32_t found[BURST];

	rte_lpm6_lookup_bulk_func(table, ip, found, BURST);
	for (unsigned i = 0; i < BURST; i++)
		out[i] = found[i] < 0 ? 0 : (uint32_t)found[i];
}

static int
lpm6_change(void *table, const struct prefix *p, uint32_t list)
{
	return rte_lpm6_add(table, p->b, p->len, list);
}

static void
fib6_lookup(void *table, uint8_t (*ip)[16], uint32_t *out)
{
	uint64_t found[BURST];

	rte_fib6_lookup_bulk(table, ip, found, BURST);
	for (unsigned i = 0; i < BURST; i++)
		out[i] = (uint32_t)found[i];
}

/*
 * Two lookup functions of one table. The choice reads CPU features, which takes microseconds under
 * a hypervisor and stays outside of the measurement.
 */
static void
fib6_scalar(void *table)
{
	if (rte_fib6_select_lookup(table, RTE_FIB6_LOOKUP_TRIE_SCALAR) != 0)
		die("rte_fib6_select_lookup");
}

static void
fib6_avx512(void *table)
{
	if (rte_fib6_select_lookup(table, RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512) != 0)
		die("rte_fib6_select_lookup");
}

static int
fib6_change(void *table, const struct prefix *p, uint32_t list)
{
	return rte_fib6_add(table, p->b, p->len, list);
}

static void
load(struct dut d)
{
	uint64_t cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	if (d.table == NULL)
		die("no memory for %s: %s", d.name, rte_strerror(rte_errno));
	for (size_t i = 0; i < route_count; i++) {
		int err = d.change(d.table, &route[i], list_of(i));

		if (err != 0)
			die("%s: route %zu: %d", d.name, i, err);
	}
	sample("load", d.name, "ms", 0, (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) / 1e6);
	dut_add(d);
}

#define PAGE 4096

/*
 * Without hugetlbfs EAL's memory is a memfd without transparent huge pages: replaces the memfd by
 * anonymous memory with the content of the used pages. No second thread runs.
 */
static int
list_huge(const struct rte_memseg_list *list, void *arg)
{
	size_t count = list->len / PAGE, used = 0;
	unsigned char *resident = malloc(count);
	char *base = list->base_va, *saved;

	(void)arg;
	if (resident == NULL || mincore(base, list->len, resident) != 0)
		die("mincore");
	for (size_t i = 0; i < count; i++)
		used += resident[i] & 1;
	saved = malloc((used + 1) * PAGE);
	if (saved == NULL)
		die("out of memory");
	used = 0;
	for (size_t i = 0; i < count; i++) {
		if (resident[i] & 1)
			memcpy(saved + used++ * PAGE, base + i * PAGE, PAGE);
	}
	if (mmap(base, list->len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != base ||
		madvise(base, list->len, MADV_HUGEPAGE) != 0)
		die("no huge pages for rte_lpm6 and rte_fib6");
	used = 0;
	for (size_t i = 0; i < count; i++) {
		if (resident[i] & 1)
			memcpy(base + i * PAGE, saved + used++ * PAGE, PAGE);
	}
	free(saved);
	free(resident);
	return 0;
}

static void
theirs_make(void)
{
	char *argv[] = {"bench_lpm6", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry",
		"-m", "2048", "-l", "0", "--log-level=3", "--force-max-simd-bitwidth=512"};
	struct rte_lpm6_config lpm = {
		.max_rules = (uint32_t)route_count + 1, .number_tbl8s = GROUPS};
	struct rte_fib6_conf trie = {.type = RTE_FIB6_TRIE,
		.max_routes = (int)route_count * 2,
		.trie = {.nh_sz = RTE_FIB6_TRIE_4B, .num_tbl8 = 1u << 19}};
	struct rte_fib6_conf dummy = {.type = RTE_FIB6_DUMMY, .max_routes = (int)route_count * 2};
	struct dut d;

	if (rte_eal_init((int)(sizeof(argv) / sizeof(argv[0])), argv) < 0) {
		fprintf(stderr,
			"bench_lpm6: EAL did not start (%s): rte_lpm6, rte_fib6 are left out\n",
			rte_strerror(rte_errno));
		return;
	}
	if (strcmp(pages, "huge") == 0)
		(void)rte_memseg_list_walk(list_huge, NULL);
	pin(options.cpu);
	load((struct dut){
		"rte_lpm6", rte_lpm6_create("bench", 0, &lpm), NULL, lpm6_lookup, lpm6_change});
	d = (struct dut){"rte_fib6", rte_fib6_create("trie", 0, &trie), fib6_scalar, fib6_lookup,
		fib6_change};
	load(d);
	if (rte_fib6_select_lookup(d.table, RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512) == 0) {
		d.name = "rte_fib6_avx512";
		d.select = fib6_avx512;
		dut_add(d);
	}
	load((struct dut){"rte_fib6_dummy", rte_fib6_create("dummy", 0, &dummy), NULL, fib6_lookup,
		fib6_change});
}
#endif

/* Random changes of the list, after the lookups; until then the tables are constant. */
static void
bench_changes(void)
{
	for (unsigned run = 0; run < options.runs; run++) {
		for (unsigned turn = 0; turn < dut_count; turn++) {
			const struct dut *d = &dut[(run + turn) % dut_count];
			uint64_t from = seed, cpu;

			if (strcmp(d->name, "rte_fib6_avx512") == 0)
				continue; /* the same table again */
			cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
			for (unsigned i = 0; i < CHANGES; i++) {
				size_t which = rnd_below(&from, (uint32_t)route_count);

				if (d->change(d->table, &route[which],
					    1 + rnd_below(&from, LISTS)) != 0)
					die("%s: change", d->name);
			}
			sample("change", d->name, "ns/prefix", run,
				(double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) / CHANGES);
		}
		(void)rnd(&seed);
	}
}

static double
measure(const struct dut *d, unsigned count)
{
	uint64_t begin, cpu, lookups = 0, sum = 0;
	unsigned at = 0;
	uint32_t out[BURST];

	if (d->select != NULL)
		d->select(d->table);
	/* a fifth of the window warms up */
	for (unsigned warm = 2; warm-- > 0;) {
		lookups = 0;
		cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		for (begin = cpu; clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin <
				  (warm ? options.window_ns / 5 : options.window_ns);) {
			for (unsigned b = 0; b < 256; b++) {
				d->lookup(d->table, &destination[at], out);
				at = (at + BURST) & (count - 1);
				sum += out[b % BURST];
			}
			lookups += 256 * BURST;
		}
		cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	}
	sink += sum;
	return (double)lookups * 1e3 / (double)cpu;
}

static void
bench_lookups(void)
{
	static const struct {
		const char *metric;
		unsigned count;
	} set[] = {{"lookup_64", 64}, {"lookup_512", 512}, {"lookup_4096", 4096},
		{"lookup_random", RANDOM_COUNT}};

	for (unsigned run = 0; run < options.runs; run++) {
		for (unsigned s = 0; s < sizeof(set) / sizeof(set[0]); s++) {
			for (unsigned turn = 0; turn < dut_count; turn++) {
				const struct dut *d = &dut[(run + turn) % dut_count];

				sample(set[s].metric, d->name, "M/s", run,
					measure(d, set[s].count));
			}
		}
	}
}

static void
check_equal(void)
{
	uint32_t expected[BURST], found[BURST];

	for (unsigned at = 0; at < RANDOM_COUNT; at += BURST) {
		dut[0].lookup(dut[0].table, &destination[at], expected);
		for (unsigned k = 1; k < dut_count; k++) {
			if (dut[k].select != NULL && (at == 0 || at == RANDOM_COUNT / 2))
				dut[k].select(dut[k].table);
			dut[k].lookup(dut[k].table, &destination[at], found);
			if (memcmp(expected, found, sizeof(found)) != 0)
				die("%s and %s differ in burst %u", dut[0].name, dut[k].name,
					at / BURST);
		}
	}
}

static void
destinations_make(void)
{
	destination = malloc(RANDOM_COUNT * sizeof(*destination));
	if (destination == NULL)
		die("out of memory");
	for (unsigned i = 0; i < RANDOM_COUNT; i++) {
		struct ip_addr a =
			v6_within(&route[rnd_below(&seed, (uint32_t)route_count)], &seed);

		memcpy(destination[i], a.b, sizeof(destination[i]));
	}
}

/* In a separate process, because EAL starts once and has one kind of memory. */
static void
bench_pages(void)
{
	if (arena_create("bench", &arena) != 0 || shadow_create(arena, AFI_IPV6, &shadow) != 0)
		die("out of memory");
	sample("prefixes", "table_v6", "count", 0, (double)route_count);
	ours_make();
#ifdef KEEL_BENCH_RTE_LPM
	theirs_make();
#endif
	check_equal();
	bench_lookups();
	bench_changes();
}

static void
options_read(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (bench_option(argc, argv, &i, &options.runs, &options.window_ns))
			continue;
		{
			fprintf(stderr, "usage: bench_lpm6 [--quick] [--runs N]\n");
			exit(2);
		}
	}
	if (options.runs == 0)
		die("runs out of range");
}

int
main(int argc, char **argv)
{
	static const char *const kind[] = {"small", "huge"};

	options_read(argc, argv);
	pin(options.cpu);
	route = v6_table(SIZE_MAX, &route_count);
	destinations_make();
	for (unsigned i = 0; i < 2; i++) {
		pid_t child = fork();
		int status;

		if (child < 0)
			die("no process");
		if (child == 0) {
			pages = kind[i];
			bench_pages();
			_exit(0);
		}
		if (waitpid(child, &status, 0) != child || status != 0)
			die("with %s pages: status %d", kind[i], status);
	}
	free(destination);
	free(route);
	return 0;
}
