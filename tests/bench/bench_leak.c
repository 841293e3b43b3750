/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The share of the leak engine in a load: VPNv4 routes of many distinguishers with equal prefixes,
 * stored alone and imported into an instance for each distinguisher, by turns. Then one instance
 * gets a target, and loses the target. Then one prefix of many distinguishers, imported into many
 * instances. CPU time within shard_work().
 *
 *   bench_leak [INSTANCES [PREFIXES_AN_INSTANCE [PREFIXES_A_SET [ROUNDS]]]]
 */
#include "tests/bench/shard_bench.h"

#include <stdio.h>

struct bench {
	struct shard_bench s;
	struct table_id vpn;
	unsigned instances, prefixes, set_size, rounds;
};

static struct ext_community
target_at(unsigned instance)
{
	return (struct ext_community){UINT64_C(2) << 48 | UINT64_C(64512) << 32 | (instance + 1)};
}

static void
attrs_at(unsigned instance, unsigned set, union rig_attrs *a)
{
	uint32_t path[] = {65000 + set % 50, 1000 + set, 2000 + set * 7 % 1000};
	uint8_t *w;

	rig_attrs_make(a, path, 3, 0x0a000001);
	a->a.has |= ATTR_HAS_LOCAL_PREF;
	a->a.local_pref = 100;
	w = a->a.var + a->a.as_path_len;
	ext_community_put(target_at(instance), w);
	a->a.ext_community_count = 1;
}

static void
instance_set(struct bench *b, unsigned instance, unsigned further)
{
	const struct ext_community targets[] = {target_at(instance), target_at(further)};
	struct shard_instance i = {.vrf = {(uint16_t)(instance + 1)},
		.label = RIB_LABEL_NONE,
		.import_targets = targets,
		.import_count = further != instance ? 2 : 1};

	if (shard_instance_set(b->s.rig.shard, &i) != 0)
		abort();
}

static void
begin(struct bench *b, bool leak)
{
	struct shard *s;

	shard_bench_begin(&b->s, 0);
	s = b->s.rig.shard;
	if (shard_table_add(s, VRF_DEFAULT, FAMILY_VPNV4_UNICAST, &b->vpn) != 0)
		abort();
	for (unsigned i = 0; leak && i < b->instances; i++) {
		struct table_id table;

		if (shard_table_add(s, (struct vrf_id){(uint16_t)(i + 1)}, FAMILY_IPV4_UNICAST,
			    &table) != 0) {
			fprintf(stderr, "no room for the table of instance %u\n", i);
			exit(1);
		}
		instance_set(b, i, i);
	}
	rig_peer(&b->s.rig, 1, RIG_OWN_ASN, false, false);
	rig_up(&b->s.rig, 1, RIG_OWN_ASN, 1, false);
	shard_bench_settle(&b->s);
	shard_bench_reset(&b->s);
}

static void
load(struct bench *b)
{
	static unsigned batches;
	struct rib_nlri n[64];
	union rig_attrs a;

	for (unsigned i = 0; i < b->instances; i++) {
		for (unsigned p = 0; p < b->prefixes; p += b->set_size) {
			unsigned count =
				b->prefixes - p < b->set_size ? b->prefixes - p : b->set_size;

			for (unsigned k = 0; k < count; k++)
				n[k] = (struct rib_nlri){
					.prefix = prefix_from_v4(0x0b000000 + ((p + k) << 8), 24),
					.rd = {(UINT64_C(64512) << 32) + i + 1},
					.label = 100 + i};
			attrs_at(i, p / b->set_size, &a);
			rig_update_in(
				&b->s.rig, FAMILY_VPNV4_UNICAST, 1, &a.a, n, count, rig_clock());
			if (++batches % 1024 == 0) {
				rig_put(&b->s.rig);
				while (!rig_drained(&b->s.rig))
					(void)shard_bench_turn(&b->s);
			}
		}
	}
	shard_bench_settle(&b->s);
}

static uint64_t
imported(const struct bench *b, unsigned instance)
{
	struct shard_instance_counts c;

	shard_instance_counts(b->s.rig.shard, (struct vrf_id){(uint16_t)(instance + 1)}, &c);
	return c.imported;
}

static double
run(struct bench *b, bool leak)
{
	uint64_t routes = (uint64_t)b->instances * b->prefixes, all = 0;
	double ms;

	begin(b, leak);
	load(b);
	ms = (double)b->s.busy_ns / 1e6;
	for (unsigned i = 0; i < b->instances; i++)
		all += imported(b, i);
	if (all != (leak ? routes : 0)) {
		fprintf(stderr, "imported %llu routes\n", (unsigned long long)all);
		exit(1);
	}
	printf("%-28s %8.1f ms %6.0f ns a route  longest turn %.2f ms  entries %llu\n",
		leak ? "imported into instances" : "stored alone", ms,
		(double)b->s.busy_ns / (double)routes, b->s.longest_ns / 1e6,
		(unsigned long long)b->s.entries);
	if (leak && b->instances > 1) {
		shard_bench_reset(&b->s);
		instance_set(b, 0, 1);
		shard_bench_settle(&b->s);
		printf("  a target more              %8.1f ms  entries %llu  imported %llu\n",
			b->s.busy_ns / 1e6, (unsigned long long)b->s.entries,
			(unsigned long long)imported(b, 0));
		shard_bench_reset(&b->s);
		instance_set(b, 0, 0);
		shard_bench_settle(&b->s);
		printf("  the target goes            %8.1f ms  entries %llu  imported %llu\n",
			b->s.busy_ns / 1e6, (unsigned long long)b->s.entries,
			(unsigned long long)imported(b, 0));
		shard_bench_reset(&b->s);
		rig_event(&b->s.rig, RIB_SESSION_DOWN, 1);
		shard_bench_settle(&b->s);
		printf("  the session is lost        %8.1f ms  entries %llu\n", b->s.busy_ns / 1e6,
			(unsigned long long)b->s.entries);
	}
	shard_bench_end(&b->s);
	return ms;
}

#define SHARED_RDS 500u
#define SHARED_INSTANCES 100u

/* One prefix of 500 distinguishers, imported into 100 instances, withdrawn with the session. */
static void
run_shared(struct bench *b)
{
	struct ext_community targets[SHARED_RDS];
	unsigned instances = b->instances;
	union rig_attrs a;

	b->instances = 0;
	begin(b, false);
	for (unsigned i = 0; i < SHARED_RDS; i++)
		targets[i] = target_at(i);
	for (unsigned i = 0; i < SHARED_INSTANCES; i++) {
		struct shard_instance x = {.vrf = {(uint16_t)(i + 1)},
			.label = RIB_LABEL_NONE,
			.import_targets = targets,
			.import_count = SHARED_RDS};
		struct table_id table;

		if (shard_table_add(b->s.rig.shard, x.vrf, FAMILY_IPV4_UNICAST, &table) != 0 ||
			shard_instance_set(b->s.rig.shard, &x) != 0)
			abort();
	}
	shard_bench_settle(&b->s);
	shard_bench_reset(&b->s);
	for (unsigned i = 0; i < SHARED_RDS; i++) {
		struct rib_nlri n = {.prefix = prefix_from_v4(0x0b000000, 24),
			.rd = {(UINT64_C(64512) << 32) + i + 1},
			.label = 100 + i};

		attrs_at(i, i, &a);
		rig_update_in(&b->s.rig, FAMILY_VPNV4_UNICAST, 1, &a.a, &n, 1, rig_clock());
	}
	shard_bench_settle(&b->s);
	printf("a prefix of %u RDs into %u instances %8.1f ms  imported %llu\n", SHARED_RDS,
		SHARED_INSTANCES, b->s.busy_ns / 1e6,
		(unsigned long long)imported(b, 0) * SHARED_INSTANCES);
	shard_bench_reset(&b->s);
	rig_event(&b->s.rig, RIB_SESSION_DOWN, 1);
	shard_bench_settle(&b->s);
	printf("  the session is lost        %8.1f ms\n", b->s.busy_ns / 1e6);
	shard_bench_end(&b->s);
	b->instances = instances;
}

static unsigned
number(int argc, char **argv, int i, unsigned other)
{
	return argc > i ? (unsigned)strtoul(argv[i], NULL, 10) : other;
}

int
main(int argc, char **argv)
{
	static struct bench b;

	b.instances = number(argc, argv, 1, 500);
	b.prefixes = number(argc, argv, 2, 1000);
	b.set_size = number(argc, argv, 3, 10);
	b.rounds = number(argc, argv, 4, 3);
	if (b.instances == 0 || b.instances >= SHARD_INSTANCES_MAX || b.prefixes == 0 ||
		b.set_size == 0 || b.set_size > 64 || b.rounds == 0) {
		fprintf(stderr, "usage: bench_leak [INSTANCES, below 4096 [PREFIXES_AN_INSTANCE "
				"[PREFIXES_A_SET, at most 64 [ROUNDS]]]]\n");
		return 2;
	}
	for (unsigned i = 0; i < b.rounds; i++) {
		double alone = run(&b, false), with = run(&b, true);

		printf("imported / stored alone: %.2f\n", with / alone);
		run_shared(&b);
	}
	return 0;
}
