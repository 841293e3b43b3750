/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cost of a replay of kept routes for the shard, and memory of kept routes: the full table of one peer of a dump, with the policies of
 * POLICIES_DIR. On the table of changes.json the counts of changes.json must come out.
 *
 *   bench_replay DUMP.mrt POLICIES_DIR [ordered|shuffled [REPEAT]]
 *
 * Ordered: prefixes arrive packed by attribute set, like the table of a speaker; shuffled: in random order, like after long churn. REPEAT: runs of
 * the replay without changes (for a profile).
 */
#include "control/config/config.h"
#include "control/config/policy_compile.h"
#include "rib/table/inspect.h"
#include "rib/policy/policy_build.h"
#include "tests/bench/shard_bench.h"
#include "tests/bench/table.h"
#include "tests/lpm/rng.h"

#include <jansson.h>
#include <stdio.h>

#define NLRI_MAX 64u
#define PEER 1

struct bench {
	struct shard_bench s;
	struct table table;
	const char *dir;
	unsigned repeat;
};

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench_replay: %s failed\n", what);
	exit(1);
}

static struct adj_rib_in_counts
counts(const struct bench *b)
{
	struct adj_rib_in_counts c;

	shard_peer_counts(b->s.rig.shard, (struct peer_id){PEER}, rig_family(), &c);
	return c;
}

/* ---- the table ---- */

static int
by_set(const void *a, const void *b)
{
	const struct table_entry *x = a, *y = b;

	if (x->set != y->set)
		return x->set < y->set ? -1 : 1;
	return prefix_compare(&x->prefix, &y->prefix);
}

static int
by_value(const void *a, const void *b)
{
	const struct attr_set *x = *(struct attr_set *const *)a, *y = *(struct attr_set *const *)b;
	size_t m = attr_set_size(x), n = attr_set_size(y);
	int c = memcmp(x, y, m < n ? m : n);

	return c != 0 ? c : (m > n) - (m < n);
}

/* A dump repeats sets: equal sets get one number. */
static void
sets_number(struct table *t)
{
	struct attr_set **sorted = malloc(t->set_count * sizeof(struct attr_set *));

	must(sorted != NULL, "memory");
	memcpy(sorted, t->sets, t->set_count * sizeof(struct attr_set *));
	qsort(sorted, t->set_count, sizeof(struct attr_set *), by_value);
	for (uint32_t i = 0; i < t->entry_count; i++) {
		uint32_t low = 0, high = t->set_count;

		while (low < high) { /* searches the first set that is not less */
			uint32_t middle = low + (high - low) / 2;

			if (by_value(&sorted[middle], &t->sets[t->entry[i].set]) < 0)
				low = middle + 1;
			else
				high = middle;
		}
		t->entry[i].set = low;
	}
	free(t->sets);
	t->sets = sorted;
}

static void
table_order(struct table *t, bool shuffled)
{
	uint64_t state = 1;

	sets_number(t);
	qsort(t->entry, t->entry_count, sizeof(*t->entry), by_set);
	for (uint32_t i = t->entry_count; shuffled && i > 1; i--) {
		uint32_t k = (uint32_t)(splitmix64(&state) % i);
		struct table_entry e = t->entry[i - 1];

		t->entry[i - 1] = t->entry[k];
		t->entry[k] = e;
	}
	for (uint32_t i = 0; i < t->set_count; i++)
		t->sets[i]->next_hop = rig_hop(0x0a000001);
}

static void
announce_all(struct bench *b)
{
	const struct table *t = &b->table;
	struct rib_nlri n[NLRI_MAX];
	unsigned count = 0;

	for (uint32_t i = 0; i < t->entry_count; i++) {
		n[count++] = (struct rib_nlri){.prefix = t->entry[i].prefix, .label = 0xfffff};
		if (i + 1 < t->entry_count && t->entry[i + 1].set == t->entry[i].set &&
			count < NLRI_MAX)
			continue;
		shard_bench_update(&b->s, PEER, t->sets[t->entry[i].set], n, count);
		count = 0;
	}
	shard_bench_settle(&b->s);
}

static void
shard_begin(struct bench *b, bool keep, const struct policy *policy)
{
	shard_bench_begin(&b->s, 1u << 22);
	rig_peer(&b->s.rig, PEER, 3356, true, false);
	/* two routes of the table have our own AS in the path */
	rig_allow_as_in(&b->s.rig, PEER, UINT8_MAX);
	shard_peer_keep(b->s.rig.shard, (struct peer_id){PEER}, rig_family(), keep);
	shard_peer_import(b->s.rig.shard, (struct peer_id){PEER}, rig_family(), policy);
	rig_up(&b->s.rig, PEER, 3356, 7, true);
	announce_all(b);
	rig_tell(&b->s.rig, 0, 0x0a000001, true, true, 0);
	shard_bench_settle(&b->s);
}

/* ---- policies ---- */

static json_t *
load(const struct bench *b, const char *file)
{
	char path[512];
	json_t *o;

	(void)snprintf(path, sizeof(path), "%s/%s", b->dir, file);
	o = json_load_file(path, 0, NULL);
	must(o != NULL, path);
	return o;
}

static struct policy_set *
compile(const json_t *document)
{
	struct faults f = {0};
	struct policy_set *s = policy_set_compile(document, &f);

	must(s != NULL, "compiling");
	return s;
}

static void
report(const struct bench *b, const char *what)
{
	struct adj_rib_in_counts c = counts(b);

	printf("%-46s %7.1f ms %6.3f us/route  longest turn %5.2f ms  told %7llu  accepted %7llu "
	       "of %7llu  sets %6u\n",
		what, b->s.busy_ns / 1e6, b->s.busy_ns / 1e3 / b->table.entry_count,
		b->s.longest_ns / 1e6, (unsigned long long)b->s.entries,
		(unsigned long long)c.accepted, (unsigned long long)c.received,
		attr_table_count(shard_attrs(b->s.rig.shard)));
	fflush(stdout);
}

static void
replay(struct bench *b, const struct policy *p, const char *what)
{
	uint64_t number;

	shard_bench_reset(&b->s);
	shard_peer_import(b->s.rig.shard, (struct peer_id){PEER}, rig_family(), p);
	number = shard_peer_replay(b->s.rig.shard, (struct peer_id){PEER}, rig_family());
	shard_bench_settle(&b->s);
	must(counts(b).replays_done == number, "replaying");
	report(b, what);
}

static uint64_t
expected(const json_t *change, const char *key)
{
	const json_t *e = json_object_get(json_object_get(change, "expected"), "ipv4-unicast");

	return (uint64_t)json_integer_value(json_object_get(e, key));
}

/* The counts of changes.json, if the table is the right one. */
static void
check(const struct bench *b, const json_t *change, uint64_t before)
{
	uint64_t added = expected(change, "added"), removed = expected(change, "removed"),
		 changed = expected(change, "changed");

	if (added + removed + changed + expected(change, "same") > b->table.entry_count)
		return;
	must(b->s.entries == added + removed + changed &&
			counts(b).accepted == before + added - removed,
		"what changes.json expects");
}

static void
run_policy(struct bench *b, const char *file, const char *name, const json_t *changes)
{
	json_t *document = load(b, file), *change;
	struct policy_set *old = compile(document);
	const struct policy *p = policy_set_find(old, name);
	struct faults f = {0};
	size_t i;
	char what[128];

	shard_begin(b, true, p);
	(void)snprintf(what, sizeof(what), "%s: the peer announces all", name);
	report(b, what);
	(void)snprintf(what, sizeof(what), "%s: replayed, nothing new", name);
	for (unsigned n = 0; n < b->repeat; n++) {
		replay(b, p, what);
		must(b->s.entries == 0, "keeping quiet");
	}
	json_array_foreach(changes, i, change)
	{
		uint64_t before = counts(b).accepted;
		struct policy_set *next;
		json_t *patched;

		if (strcmp(json_string_value(json_object_get(change, "file")), file) != 0)
			continue;
		patched = config_patch(document, json_object_get(change, "patch"), &f);
		must(patched != NULL, "patching");
		next = compile(patched);
		replay(b, policy_set_find(next, name),
			json_string_value(json_object_get(change, "name")));
		check(b, change, before);
		replay(b, p, "  and back");
		policy_set_free(next);
		json_decref(patched);
	}
	shard_bench_end(&b->s);
	policy_set_free(old);
	json_decref(document);
}

/* ---- memory ---- */

/* Refuses every tenth of the table's own prefixes. */
static struct policy *
refuse_tenth(const struct table *t)
{
	struct policy_prefix_list *l;
	struct policy_builder *b;
	struct policy *p = NULL;

	must(policy_prefix_list_create(&l) == 0, "a list");
	for (uint32_t i = 0; i < t->entry_count; i++)
		if (prefix_hash(&t->entry[i].prefix) % 10 == 0) {
			const struct prefix *x = &t->entry[i].prefix;

			must(policy_prefix_list_add(l, true, x, x->len, x->len) == 0, "a list");
		}
	must(policy_prefix_list_seal(l) == 0 && policy_builder_create("tenth", &b) == 0 &&
			policy_builder_node(b, 10, false) == 0 &&
			policy_builder_match_prefix_list(b, l) == 0 &&
			policy_builder_node(b, 20, true) == 0 && policy_builder_finish(b, &p) == 0,
		"a policy");
	policy_prefix_list_unref(l);
	return p;
}

static size_t
memory(struct bench *b, bool keep, const struct policy *p)
{
	size_t bytes;

	shard_begin(b, keep, p);
	report(b, keep ? "memory: keep on" : "memory: keep off");
	bytes = dest_table_bytes(shard_table(b->s.rig.shard, b->s.rig.table)) +
		attr_table_bytes(shard_attrs(b->s.rig.shard));
	printf("  %6.1f MB in tables, %6.1f MB allocated\n", bytes / 1e6,
		arena_bytes(b->s.rig.arena) / 1e6);
	shard_bench_end(&b->s);
	return bytes;
}

int
main(int argc, char **argv)
{
	static struct bench b;
	struct policy *tenth;
	json_t *changes;
	size_t off, on;

	if (argc < 3) {
		fprintf(stderr,
			"usage: bench_replay DUMP.mrt POLICIES_DIR [ordered|shuffled [REPEAT]]\n");
		return 2;
	}
	role_enter_rib();
	role_enter_session();
	b.dir = argv[2];
	b.repeat = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 1;
	must(table_read_mrt(&b.table, AFI_IPV4, argv[1], 0) == 0, argv[1]);
	table_order(&b.table, argc > 3 && strcmp(argv[3], "shuffled") == 0);
	printf("%u routes\n", b.table.entry_count);
	changes = load(&b, "changes.json");
	run_policy(&b, "attributes-only.json", "attributes-only", changes);
	run_policy(&b, "prefix-heavy.json", "prefix-heavy", changes);
	run_policy(&b, "mixed.json", "mixed", changes);
	tenth = refuse_tenth(&b.table);
	off = memory(&b, false, tenth);
	on = memory(&b, true, tenth);
	printf("memory: %+.1f %%\n", 100.0 * ((double)on / (double)off - 1));
	policy_destroy(tenth);
	json_decref(changes);
	table_free(&b.table);
	return 0;
}
