/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The real code at a size beyond the cores of present machines: parallel parts run in sequence, each with its processor time.
 * bench_scale.py fits a model at small sizes and compares the model with these figures.
 *
 *   bench_scale shards ROUTES SHARDS [PATHS]   a table of ROUTES prefixes, from PATHS peers each, split over SHARDS by the first twelve bits
 *       (docs/architecture.md): each shard in turn loads its share, is measured, and is destroyed. Prints one line for each shard.
 *   bench_scale fib ROUTES READERS             ROUTES prefixes into the forwarding tables, then one change of each, by one writer,
 *       with READERS workers, which report once between two steps of the writer
 */
#include "rib/table/inspect.h"
#include "lpm/fib.h"
#include "tests/bench/shard_bench.h"
#include "tests/bench/table.h"
#include "tests/bench/tool.h"

#define NLRI_MAX 64u
#define READERS_MAX 64u
#define BATCH 4096u
#define LISTS 64u

static struct table table;

static void
must(bool ok, const char *what)
{
	if (!ok)
		die(what, EINVAL);
}

static void
table_make(uint32_t routes)
{
	must(table_generate(&table, AFI_IPV4, routes, 1) == 0, "table");
	for (uint32_t i = 0; i < table.set_count; i++)
		table.sets[i]->next_hop = rig_hop(0x0a000001);
}

/* ---- shards ---- */

static unsigned
shard_of(const struct prefix *p, unsigned shards)
{
	return p->len < 12 ? 0 : (unsigned)(hash_mix(prefix_v4(p) >> 20) % shards);
}

static uint32_t
announce(struct shard_bench *s, uint16_t peer, unsigned shard, unsigned shards)
{
	struct rib_nlri n[NLRI_MAX];
	uint32_t routes = 0, set = 0;
	unsigned count = 0;

	for (uint32_t i = 0; i <= table.entry_count; i++) {
		bool end = i == table.entry_count;

		if (!end && shard_of(&table.entry[i].prefix, shards) != shard)
			continue;
		if (count > 0 && (end || table.entry[i].set != set || count == NLRI_MAX)) {
			shard_bench_update(s, peer, table.sets[set], n, count);
			count = 0;
		}
		if (end)
			break;
		set = table.entry[i].set;
		n[count++] = (struct rib_nlri){.prefix = table.entry[i].prefix, .label = 0xfffff};
		routes++;
	}
	shard_bench_settle(s);
	return routes;
}

static void
shard_run(unsigned shard, unsigned shards, unsigned paths)
{
	static struct shard_bench s;
	const struct attr_table *attrs;
	const struct dest_table *dests;
	uint32_t routes = 0;

	shard_bench_begin(&s, 0);
	for (uint16_t p = 1; p <= paths; p++) {
		rig_peer(&s.rig, p, 65000u + p, true, true);
		rig_allow_as_in(&s.rig, p, UINT8_MAX);
		shard_peer_import(
			s.rig.shard, (struct peer_id){p}, rig_family(), policy_accept_all());
		rig_up(&s.rig, p, 65000u + p, p, true);
	}
	rig_tell(&s.rig, 0, 0x0a000001, true, true, 0);
	shard_bench_settle(&s);
	shard_bench_reset(&s);
	for (uint16_t p = 1; p <= paths; p++)
		routes += announce(&s, p, shard, shards);
	rig_tell(&s.rig, 0, 0x0a000001, true, true, 0);
	shard_bench_settle(&s);
	attrs = shard_attrs(s.rig.shard);
	dests = shard_table(s.rig.shard, s.rig.table);
	printf("shard %u routes %u cpu_ns %llu dest_bytes %zu attr_bytes %zu sets %u longest_ns "
	       "%llu\n",
		shard, routes, (unsigned long long)s.busy_ns, dest_table_bytes(dests),
		attr_table_bytes(attrs), attr_table_count(attrs), (unsigned long long)s.longest_ns);
	fflush(stdout);
	shard_bench_end(&s);
}

/* ---- forwarding tables ---- */

static struct {
	struct arena *arena;
	struct qsbr *workers;
	struct fib *fib;
	struct path_list_id list[LISTS];
	unsigned reader[READERS_MAX], readers;
	uint64_t set_ns, commit_ns;
} f;

static void
lists_make(void)
{
	struct path_lists *p = fib_path_lists(f.fib);

	for (unsigned i = 0; i < LISTS; i++) {
		struct ip_addr addr = addr_from_v4(0xc0000200 + i);
		struct path path = {.label = LABEL_NONE};

		must(next_hop_get(p, VRF_DEFAULT, &addr, 0, &path.next_hop) == 0 &&
				path_list_get(
					p, PATH_LIST_FORWARD, PORT_NONE, &path, 1, &f.list[i]) == 0,
			"path lists");
	}
}

/* Each worker ends a burst; the time does not count for the writer. */
static void
readers_pass(void)
{
	for (unsigned i = 0; i < f.readers; i++)
		qsbr_quiescent(f.workers, f.reader[i]);
}

static void
commit(void) RUNS_ON(role_fib)
{
	uint64_t begun = shard_bench_cpu();

	while (fib_commit(f.fib, begun) == -EAGAIN) {
		f.commit_ns += shard_bench_cpu() - begun;
		readers_pass();
		begun = shard_bench_cpu();
	}
	f.commit_ns += shard_bench_cpu() - begun;
}

static void
fill(unsigned turn, const char *what) RUNS_ON(role_fib)
{
	struct fib_stats st;

	f.set_ns = f.commit_ns = 0;
	for (uint32_t i = 0; i < table.entry_count; i += BATCH) {
		uint64_t begun = shard_bench_cpu();

		for (uint32_t k = i; k < i + BATCH && k < table.entry_count; k++)
			must(fib_set(f.fib, VRF_DEFAULT, &table.entry[k].prefix,
				     f.list[(k + turn) % LISTS]) == 0,
				"fib_set");
		f.set_ns += shard_bench_cpu() - begun;
		commit();
	}
	while (!fib_settled(f.fib))
		commit();
	fib_stats_get(f.fib, &st);
	printf("fib %s routes %u set_ns %llu commit_ns %llu commits %llu bytes %llu\n", what,
		table.entry_count, (unsigned long long)f.set_ns, (unsigned long long)f.commit_ns,
		(unsigned long long)st.commits, (unsigned long long)st.memory_bytes);
	fflush(stdout);
}

static void
fib_run(unsigned readers)
{
	struct fib_config c = {.memory_bytes = (size_t)2 << 30, .huge = true};

	role_enter_fib();
	must(arena_create("fib", &f.arena) == 0 &&
			qsbr_create(f.arena, READERS_MAX, &f.workers) == 0,
		"memory");
	c.arena = f.arena;
	c.workers = f.workers;
	must(fib_create(&c, &f.fib) == 0 && fib_vrf_add(f.fib, VRF_DEFAULT, AFI_IPV4) == 0, "fib");
	for (f.readers = 0; f.readers < readers; f.readers++) {
		must(qsbr_register(f.workers, &f.reader[f.readers]) == 0, "readers");
		qsbr_online(f.workers, f.reader[f.readers]);
	}
	lists_make();
	fill(0, "load");
	fill(1, "change");
}

int
main(int argc, char **argv)
{
	uint32_t routes = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
	unsigned n = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
	unsigned paths = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 1;
	bool shards = argc > 1 && strcmp(argv[1], "shards") == 0;

	if (routes == 0 || n == 0 || paths == 0 || paths > 64 ||
		(!shards && (strcmp(argv[1], "fib") != 0 || n > READERS_MAX))) {
		fprintf(stderr,
			"usage: bench_scale shards ROUTES SHARDS [PATHS] | fib ROUTES READERS\n");
		return 2;
	}
	role_enter_rib();
	role_enter_session();
	table_make(routes);
	if (shards) {
		for (unsigned i = 0; i < n; i++)
			shard_run(i, n, paths);
	} else {
		fib_run(n);
	}
	table_free(&table);
	return 0;
}
