/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Benchmark of the tables of VPN instances: range tables (lpm/range_table.h), trees of groups
 * (lpm/group_tree.h), and trees with a first level of 16 bits ("first_levels"), which Keel has not.
 *
 * many_*: 1,000 instances of 100 routes; all addresses of a burst belong to one instance (burst),
 * or each address belongs to a random instance (random). size_N_*: four instances of N routes.
 *
 * flip_*: a commit of one changed route of one instance, beside the default table and 1 or 1,000
 * instances of 100 + 100 routes, and a commit that changes one route of the default table.
 *
 * Prints one sample a line, `METRIC DUT UNIT RUN VALUE`. Rates are by CPU time of the thread.
 */
#include "lpm/base/arena.h"
#include "lpm/fib.h"
#include "lpm/group_tree.h"
#include "lpm/base/qsbr.h"
#include "lpm/range_table.h"
#include "lpm/shadow.h"
#include "tests/bench/bench.h"
#include "tests/lpm/lpm6_test.h"

#define BURST 64
#define INSTANCES 1000u
#define ASKED (1u << 17)
#define EDGES 20 /* different path lists of an instance */

static struct {
	unsigned runs;
	uint64_t window_ns;
	unsigned cpu;
} options = {.runs = 5, .window_ns = 100000000, .cpu = 1};

static struct arena *arena;
static uint64_t seed = 42;
static volatile uint64_t sink;

struct asked {
	uint16_t instance;
	uint32_t v4;
	uint8_t v6[16];
};

static struct asked *asked;
static enum afi afi;
static unsigned instance_count;
static struct range_table *ranges[INSTANCES];
static struct group_tree *trees[INSTANCES];
static uint32_t *first[INSTANCES]; /* words: the first level of 16 bits, then groups */

static void
sample(const char *metric, const char *dut, const char *unit, unsigned run, double value)
{
	printf("%s %s %s %u %.4f\n", metric, dut, unit, run, value);
	fflush(stdout);
}

/* A route of a VPN: addresses of sites in 10.0.0.0/8 or a /32, mostly subnets, some links. */
static struct prefix
vpn_route(void)
{
	static const uint8_t v4[] = {24, 24, 24, 24, 24, 24, 22, 16, 30, 32};
	static const uint8_t v6[] = {64, 64, 64, 64, 64, 56, 48, 48, 127, 128};
	struct ip_addr a = {.afi = (uint8_t)afi};
	unsigned kind = rnd_below(&seed, 10);

	for (unsigned i = 0; i < prefix_max_len(afi) / 8; i++)
		a.b[i] = (uint8_t)rnd(&seed);
	if (afi == AFI_IPV6)
		memcpy(a.b, "\x20\x01\x0d\xb8", 4);
	else
		a.b[0] = 10;
	return prefix_from_addr(&a, afi == AFI_IPV6 ? v6[kind] : v4[kind]);
}

#define FIRST (1u << 16)

/* The tree of an instance with a first level of 16 bits. */
static void
first_make(unsigned i)
{
	const uint32_t *words = group_tree_words(trees[i]);
	size_t count = (trees[i]->bytes - sizeof(*trees[i])) / sizeof(uint32_t);
	uint32_t *w = malloc((FIRST + count) * sizeof(*w));

	if (w == NULL)
		die("out of memory");
	for (uint32_t slot = 0; slot < FIRST + count; slot++) {
		uint32_t word = slot < FIRST ? words[slot >> 8] : words[slot - FIRST];

		if (slot < FIRST)
			word = words[table_v6_step(slot >> 8, word, (uint8_t)slot)];
		w[slot] = table_v6_goes_on(word) ? word + FIRST / 256 : word;
	}
	first[i] = w;
}

/* Builds instance `i` of `count` routes, and its share of the addresses asked for. */
static void
instance_make(unsigned i, unsigned count, double *build_us)
{
	struct prefix *p = malloc(count * sizeof(*p));
	struct shadow *routes;
	uint64_t cpu;

	if (p == NULL || shadow_create(arena, afi, &routes) != 0)
		die("out of memory");
	for (unsigned k = 0; k < count; k++) {
		p[k] = vpn_route();
		if (shadow_set(routes, &p[k], (struct path_list_id){1 + rnd_below(&seed, EDGES)},
			    false) != 0)
			die("out of memory");
	}
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	if (range_table_create(arena, afi, routes, &ranges[i]) != 0)
		die("range table");
	build_us[0] = (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) / 1e3;
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	if (afi == AFI_IPV4) {
		if (group_tree_create(arena, routes, &trees[i]) != 0)
			die("tree");
		build_us[1] = (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) / 1e3;
		first_make(i);
	}
	for (unsigned k = i * BURST; k < ASKED; k += instance_count * BURST) {
		for (unsigned j = k; j < k + BURST && j < ASKED; j++) {
			const struct prefix *to = &p[rnd_below(&seed, count)];
			struct ip_addr a = v6_within(to, &seed);

			asked[j] = (struct asked){.instance = (uint16_t)i, .v4 = addr_v4(&a)};
			memcpy(asked[j].v6, a.b, 16);
		}
	}
	shadow_destroy(routes);
	free(p);
}

static void
instances_drop(void)
{
	for (unsigned i = 0; i < instance_count; i++) {
		range_table_destroy(ranges[i]);
		if (afi == AFI_IPV4) {
			group_tree_destroy(trees[i]);
			free(first[i]);
		}
	}
}

/* ---- lookups of one burst, as a worker has the addresses ---- */

static HOT uint64_t
ranges_each(const struct asked *a)
{
	const struct range_table *t[BURST];
	uint32_t ip[BURST], list[BURST];
	uint8_t ip6[BURST][16];
	uint64_t sum = 0;

	for (unsigned i = 0; i < BURST; i++) {
		t[i] = ranges[a[i].instance];
		ip[i] = a[i].v4;
		memcpy(ip6[i], a[i].v6, 16);
	}
	if (afi == AFI_IPV6)
		range_v6_lookup_each(t, (const uint8_t(*)[16])ip6, list, BURST);
	else
		range_v4_lookup_each(t, ip, list, BURST);
	for (unsigned i = 0; i < BURST; i++)
		sum += list[i];
	return sum;
}

static HOT uint64_t
ranges_one(const struct asked *a)
{
	uint32_t ip[BURST], list[BURST];
	uint8_t ip6[BURST][16];
	uint64_t sum = 0;

	for (unsigned i = 0; i < BURST; i++) {
		ip[i] = a[i].v4;
		memcpy(ip6[i], a[i].v6, 16);
	}
	if (afi == AFI_IPV6)
		range_v6_lookup(ranges[a->instance], (const uint8_t(*)[16])ip6, list, BURST);
	else
		range_v4_lookup(ranges[a->instance], ip, list, BURST);
	for (unsigned i = 0; i < BURST; i++)
		sum += list[i];
	return sum;
}

static HOT uint64_t
trees_one(const struct asked *a)
{
	uint32_t ip[BURST], list[BURST];
	uint64_t sum = 0;

	for (unsigned i = 0; i < BURST; i++)
		ip[i] = a[i].v4;
	group_tree_lookup(trees[a->instance], ip, list, BURST);
	for (unsigned i = 0; i < BURST; i++)
		sum += list[i];
	return sum;
}

static HOT uint64_t
first_one(const struct asked *a)
{
	const uint32_t *words = first[a->instance];
	uint32_t ip[BURST], slot[BURST];
	uint64_t sum = 0;

	for (unsigned i = 0; i < BURST; i++) {
		ip[i] = a[i].v4;
		slot[i] = ip[i] >> 16;
		__builtin_prefetch(&words[slot[i]]);
	}
	for (unsigned shift = 8;; shift = 0) {
		for (unsigned i = 0; i < BURST; i += 8) {
			words8 bytes;

			memcpy(&bytes, ip + i, sizeof(bytes));
			bytes = bytes >> shift & 0xff;
			table_v6_step8(words, slot + i, &bytes);
		}
		if (shift == 0)
			break;
	}
	for (unsigned i = 0; i < BURST; i++)
		sum += table_v6_answer(words[slot[i]], trees[a->instance]->miss);
	return sum;
}

/* A tree for each address, a level at a time. */
static HOT uint64_t
trees_each(const struct asked *a)
{
	const uint32_t *words[BURST];
	uint32_t slot[BURST];
	uint64_t sum = 0;

	for (unsigned i = 0; i < BURST; i++) {
		words[i] = group_tree_words(trees[a[i].instance]);
		slot[i] = a[i].v4 >> 24;
		__builtin_prefetch(&words[i][slot[i]]);
	}
	for (unsigned step = 1; step < 4; step++) {
		for (unsigned i = 0; i < BURST; i++) {
			slot[i] = table_v6_step(
				slot[i], words[i][slot[i]], (uint8_t)(a[i].v4 >> (24 - 8 * step)));
			__builtin_prefetch(&words[i][slot[i]]);
		}
	}
	for (unsigned i = 0; i < BURST; i++)
		sum += table_v6_answer(words[i][slot[i]], trees[a[i].instance]->miss);
	return sum;
}

static double
measure(uint64_t (*lookup)(const struct asked *))
{
	uint64_t begin, cpu = 0, lookups = 0, sum = 0;
	unsigned at = 0;

	/* a fifth of the window warms up */
	for (unsigned warm = 2; warm-- > 0;) {
		lookups = 0;
		begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		do {
			for (unsigned b = 0; b < 256; b++) {
				sum += lookup(&asked[at]);
				at = (at + BURST) & (ASKED - 1);
			}
			lookups += 256 * BURST;
			cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
		} while (cpu < (warm ? options.window_ns / 5 : options.window_ns));
	}
	sink += sum;
	return (double)lookups * 1e3 / (double)cpu;
}

static void
asked_shuffle(unsigned unit)
{
	unsigned count = ASKED / unit;
	struct asked *t = malloc(unit * sizeof(*t));

	if (t == NULL)
		die("out of memory");
	for (unsigned i = count; i > 1; i--) {
		unsigned j = rnd_below(&seed, i);

		memcpy(t, &asked[(i - 1) * unit], unit * sizeof(*t));
		memcpy(&asked[(i - 1) * unit], &asked[j * unit], unit * sizeof(*t));
		memcpy(&asked[j * unit], t, unit * sizeof(*t));
	}
	free(t);
}

static void
check_equal(bool one)
{
	for (unsigned at = 0; at < ASKED && afi == AFI_IPV4; at += BURST) {
		uint64_t expected = trees_each(&asked[at]);

		if (ranges_each(&asked[at]) != expected ||
			(one && (ranges_one(&asked[at]) != expected ||
					trees_one(&asked[at]) != expected ||
					first_one(&asked[at]) != expected)))
			die("the tables differ in burst %u", at / BURST);
	}
}

static void
rates(const char *name, const char *order, bool one)
{
	char metric[64];

	check_equal(one);
	snprintf(metric, sizeof(metric), "%s_%s", name, order);
	for (unsigned run = 0; run < options.runs; run++) {
		sample(metric, "ranges", "M/s", run, measure(one ? ranges_one : ranges_each));
		if (afi != AFI_IPV4)
			continue;
		sample(metric, "tree", "M/s", run, measure(one ? trees_one : trees_each));
		if (one)
			sample(metric, "first_levels", "M/s", run, measure(first_one));
	}
}

static void
bench(unsigned instances, unsigned count, const char *name, bool random)
{
	double us[2] = {0}, build[2] = {0};
	size_t bytes[2] = {0};

	instance_count = instances;
	for (unsigned i = 0; i < instances; i++) {
		instance_make(i, count, us);
		build[0] += us[0];
		build[1] += us[1];
		bytes[0] += range_table_bytes(ranges[i]);
		bytes[1] += afi == AFI_IPV4 ? trees[i]->bytes : 0;
	}
	for (unsigned k = 0; k < (afi == AFI_IPV4 ? 2 : 1); k++) {
		char metric[64];

		snprintf(metric, sizeof(metric), "%s_bytes", name);
		sample(metric, k ? "tree" : "ranges", "bytes", 0, (double)bytes[k] / instances);
		snprintf(metric, sizeof(metric), "%s_build", name);
		sample(metric, k ? "tree" : "ranges", "us", 0, build[k] / instances);
	}
	asked_shuffle(BURST);
	rates(name, "burst", true);
	if (random) {
		asked_shuffle(1);
		rates(name, "random", false);
	}
	instances_drop();
}

static struct prefix flip_prefix[2][100];
static struct path_list_id list[2];

static void
flip_routes(struct fib *fib, struct vrf_id vrf) RUNS_ON(role_fib)
{
	for (unsigned i = 0; i < 200; i++) {
		if (fib_set(fib, vrf, &flip_prefix[i / 100][i % 100], list[0]) != 0)
			die("fib_set");
	}
}

/* Microseconds of a commit that changes one route of `vrf`. */
static double
flip_us(struct fib *fib, struct vrf_id vrf) RUNS_ON(role_fib)
{
	enum { FLIPS = 2000 };
	uint64_t cpu = 0;

	for (unsigned i = 0; i < FLIPS; i++) {
		uint64_t begin;

		if (fib_set(fib, vrf, &flip_prefix[i % 2][i % 100], list[i / 100 % 2 ^ 1]) != 0)
			die("fib_set");
		begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		if (fib_commit(fib, 0) != 0)
			die("fib_commit");
		cpu += clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
	}
	return (double)cpu / 1e3 / FLIPS;
}

static void
bench_flips(unsigned instances, unsigned run)
{
	struct fib_config config = {.arena = arena, .memory_bytes = (size_t)1 << 30};
	char name[32];
	struct fib *fib;
	size_t before;

	role_enter_fib();
	if (qsbr_create(arena, 1, &config.workers) != 0 || fib_create(&config, &fib) != 0 ||
		fib_vrf_add(fib, VRF_DEFAULT, AFI_IPV4) != 0 ||
		fib_vrf_add(fib, VRF_DEFAULT, AFI_IPV6) != 0)
		die("no memory for the tables");
	for (uint32_t i = 0; i < 2; i++) {
		struct ip_addr addr = addr_from_v4(0xc0000200 + i);
		struct path path = {.label = LABEL_NONE};

		if (next_hop_get(fib_path_lists(fib), VRF_DEFAULT, &addr, 0, &path.next_hop) != 0 ||
			path_list_get(fib_path_lists(fib), PATH_LIST_FORWARD, PORT_NONE, &path, 1,
				&list[i]) != 0)
			die("no path list");
	}
	flip_routes(fib, VRF_DEFAULT);
	(void)fib_commit(fib, 0);
	(void)fib_commit(fib, 0);
	before = arena_bytes(arena);
	for (uint16_t v = 1; v <= instances; v++) {
		struct vrf_id vrf = {v};

		if (fib_instance_add(fib, vrf, AFI_IPV4) != 0 ||
			fib_instance_add(fib, vrf, AFI_IPV6) != 0)
			die("no instance");
		flip_routes(fib, vrf);
	}
	while (!fib_settled(fib))
		(void)fib_commit(fib, 0);
	snprintf(name, sizeof(name), "flip_%u", instances);
	sample(name, "bytes", "bytes/instance", run,
		(double)(arena_bytes(arena) - before) / instances);
	sample(name, "instance", "us", run, flip_us(fib, (struct vrf_id){1}));
	sample(name, "default", "us", run, flip_us(fib, VRF_DEFAULT));
	fib_destroy(fib);
	qsbr_destroy(config.workers);
}

static void
flips(void)
{
	for (unsigned i = 0; i < 200; i++) {
		afi = i < 100 ? AFI_IPV4 : AFI_IPV6;
		flip_prefix[i / 100][i % 100] = vpn_route();
	}
	for (unsigned run = 0; run < options.runs; run++) {
		bench_flips(1, run);
		bench_flips(INSTANCES, run);
	}
}

int
main(int argc, char **argv)
{
	static const unsigned size[] = {500, 1000, 2000, 4000, 8000, 16000};

	for (int i = 1; i < argc; i++) {
		if (bench_option(argc, argv, &i, &options.runs, &options.window_ns))
			continue;
		fprintf(stderr, "usage: bench_range [--quick] [--runs N]\n");
		return 2;
	}
	pin(options.cpu);
	asked = malloc(ASKED * sizeof(*asked));
	if (asked == NULL || arena_create("bench", &arena) != 0)
		die("out of memory");
	flips();
	for (unsigned family = 0; family < 2; family++) {
		const char *v = family == 0 ? "v4" : "v6";
		char name[32];

		afi = family == 0 ? AFI_IPV4 : AFI_IPV6;
		snprintf(name, sizeof(name), "many_%s", v);
		bench(INSTANCES, 100, name, true);
		for (unsigned s = 0; s < sizeof(size) / sizeof(size[0]); s++) {
			snprintf(name, sizeof(name), "size_%u_%s", size[s], v);
			bench(4, size[s], name, false);
		}
	}
	free(asked);
	arena_destroy(arena);
	return 0;
}
