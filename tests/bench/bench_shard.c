/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Input of a shard: routes a second and bytes a route, for a full table of two peers or more, and the real length of a turn
 * of 1 ms. Only the
 * processor time within shard_work() counts; a consumer follows the journal, and one reader is
 * quiescent between turns.
 *
 *   bench_shard [PREFIXES [PREFIXES_A_SET [PEERS [4|6]]]]
 *   bench_shard feeds [PREFIXES [PREFIXES_A_SET [PEERS [MED]]]]
 *   bench_shard turns [PREFIXES [PREFIXES_A_SET [PEERS [PREFIXES_A_TURN]]]]
 *
 * turns: the peers announce the same prefixes in the same order, some prefixes of each peer in turn.
 * feeds: the peers announce the same prefixes, each in an order and with attributes of its own. Cost of a path whenever 1, 4, 8, 20, 30, 60, ...
 * peers have announced the table, then of single updates: random peers announce random prefixes with new attributes, or withdraw and announce
 * them. MED: every MEDth peer sends a MED (0: no peer).
 */
#include "rib/table/inspect.h"
#include "rib/policy/policy_build.h"
#include "tests/bench/shard_bench.h"

#include <stdio.h>

struct bench {
	struct shard_bench s;
	unsigned prefixes, set_size, peers, med;
};

static uint64_t
mix(uint64_t x)
{
	return hash_mix(x * 0x9e3779b97f4a7c15u + 1);
}

/* Of 24 bits each, without the unusable prefixes: 0/8, 127/8, 169.254/16, 224/3. */
#define BLOCKS (0xdd0000u - 0x100u)

/* Spread over the address space, /24 mostly, no two equal. */
static struct rib_nlri
nlri_at(uint64_t i)
{
	/* a permutation: 40499 has no factor in common with the number of blocks */
	uint32_t block = (uint32_t)(i * 40499u % BLOCKS) + 0x010000;

	block += block >= 0x7f0000 ? 0x10000 : 0;
	block += block >= 0xa9fe00 ? 0x100 : 0;

	return rig_nlri(block << 8, mix(i) % 8 < 5 ? 24 : 23 - (uint8_t)(mix(i) % 2));
}

/* Typical of the Internet: four hops, a few communities. */
static void
attrs_at(uint64_t set, unsigned peer, union rig_attrs *a)
{
	uint32_t path[8] = {65000 + peer, 1000 + (uint32_t)(mix(set) % 20)};
	unsigned hops = 3 + (unsigned)(mix(set * 3) % 4),
		 communities = (unsigned)(mix(set * 5) % 6);

	for (unsigned i = 2; i < hops; i++)
		path[i] = 2000 + (uint32_t)(mix(set * 7 + i) % 60000);
	rig_attrs_make(a, path, hops, 0x0a000000 + peer);
	for (unsigned i = 0; i < communities; i++) {
		uint32_t c = (uint32_t)mix(set * 11 + i % 3);

		memcpy(a->a.var + a->a.as_path_len + 4 * i, &c, 4);
	}
	a->a.community_count = (uint16_t)communities;
}

static void
announce_all(struct bench *b, unsigned peer)
{
	struct rib_nlri n[64];
	union rig_attrs a;

	b->s.rig.bulk = true; /* a whole table, as sessions mark it */
	for (uint64_t i = 0, set = 0; i < b->prefixes; i += b->set_size, set++) {
		for (unsigned k = 0; k < b->set_size; k++)
			n[k] = nlri_at(i + k);
		attrs_at(set, peer, &a);
		shard_bench_update(&b->s, (uint16_t)peer, &a.a, n, b->set_size);
	}
	shard_bench_settle(&b->s);
	b->s.rig.bulk = false;
}

static void
report(const struct bench *b, const char *what)
{
	const struct dest_table *t = shard_table(b->s.rig.shard, b->s.rig.table);
	uint64_t paths = dest_path_count(t);
	size_t bytes = dest_table_bytes(t) + attr_table_bytes(shard_attrs(b->s.rig.shard));

	printf("%-44s %8.0f routes/s  %7.1f ms  longest turn %6.2f ms  paths %8llu  sets %7u  "
	       "%6.1f + %5.1f MB  %5.1f B/path\n",
		what, b->prefixes / (b->s.busy_ns / 1e9), b->s.busy_ns / 1e6, b->s.longest_ns / 1e6,
		(unsigned long long)paths, attr_table_count(shard_attrs(b->s.rig.shard)),
		dest_table_bytes(t) / 1e6, attr_table_bytes(shard_attrs(b->s.rig.shard)) / 1e6,
		paths > 0 ? (double)bytes / (double)paths : 0.0);
	fflush(stdout);
}

static const struct policy *
small_policy(void)
{
	struct policy_as_path_list *paths;
	struct policy_prefix_list *l;
	struct policy_builder *b;
	struct prefix bogon = prefix_from_v4(0x0a000000, 8);
	struct policy *p = NULL;
	char error[128];

	if (policy_prefix_list_create(&l) != 0 ||
		policy_prefix_list_add(l, true, &bogon, 8, 32) != 0 ||
		policy_prefix_list_seal(l) != 0 || policy_as_path_list_create(&paths) != 0 ||
		policy_as_path_list_add(paths, true, "_100[0-9]_", error, sizeof(error)) != 0 ||
		policy_as_path_list_seal(paths) != 0 || policy_builder_create("small", &b) != 0 ||
		policy_builder_node(b, 10, false) != 0 ||
		policy_builder_match_prefix_list(b, l) != 0 ||
		policy_builder_node(b, 20, true) != 0 ||
		policy_builder_match_as_path_list(b, paths) != 0)
		abort();
	policy_builder_set_number(b, NUMBER_LOCAL_PREF, 120);
	if (policy_builder_node(b, 30, true) != 0 || policy_builder_finish(b, &p) != 0)
		abort();
	policy_prefix_list_unref(l);
	policy_as_path_list_unref(paths);
	return p;
}

static void
run(struct bench *b, const struct policy *policy, const char *name)
{
	char what[128];

	shard_bench_begin(&b->s, 0);
	for (uint16_t p = 1; p <= b->peers; p++) {
		rig_peer(&b->s.rig, p, 65000u + p, true, false);
		shard_peer_import(b->s.rig.shard, (struct peer_id){p}, rig_family(), policy);
		rig_up(&b->s.rig, p, 65000u + p, p, true);
	}
	shard_bench_settle(&b->s);
	for (unsigned p = 1; p <= b->peers; p++) {
		shard_bench_reset(&b->s);
		announce_all(b, p);
		(void)snprintf(what, sizeof(what), "%s: peer %u announces", name, p);
		report(b, what);
		shard_bench_reset(&b->s);
		rig_tell(&b->s.rig, 0, 0x0a000000 + p, true, true, 0);
		shard_bench_settle(&b->s);
		(void)snprintf(what, sizeof(what), "%s: its next hop comes up", name);
		report(b, what);
	}
	shard_bench_reset(&b->s);
	rig_event(&b->s.rig, RIB_BEGIN_REFRESH, 1);
	announce_all(b, 1);
	rig_event(&b->s.rig, RIB_END_REFRESH, 1);
	shard_bench_settle(&b->s);
	(void)snprintf(what, sizeof(what), "%s: peer 1 refreshes, nothing new", name);
	report(b, what);
	shard_bench_reset(&b->s);
	rig_event(&b->s.rig, RIB_SESSION_DOWN, 1);
	shard_bench_settle(&b->s);
	(void)snprintf(what, sizeof(what), "%s: peer 1 is flushed", name);
	report(b, what);
	shard_bench_reset(&b->s);
	for (uint16_t p = 2; p <= b->peers; p++)
		rig_event(&b->s.rig, RIB_SESSION_DOWN, p);
	shard_bench_settle(&b->s);
	(void)snprintf(what, sizeof(what), "%s: peers 2 to %u are flushed", name, b->peers);
	report(b, what);
	shard_bench_end(&b->s);
}

/* ---- feeds ---- */

#define SINGLES 200000u

/* The index of the peer's prefix number `k`: another order for each peer. */
static uint64_t
own_order(const struct bench *b, unsigned peer, uint64_t k)
{
	static const uint32_t step[] = {1, 7919, 104729, 15485863, 32452843, 49979687, 67867967};

	/* primes that no usual number of prefixes has as a factor */
	return (k * step[peer % 7] + mix(peer)) % b->prefixes;
}

static void
own_attrs(const struct bench *b, uint64_t serial, unsigned peer, union rig_attrs *a)
{
	attrs_at(mix(serial * 4099 + peer), peer, a);
	a->a.origin = mix(serial + peer) % 8 == 0 ? ORIGIN_INCOMPLETE : ORIGIN_IGP;
	if (b->med == 0 || peer % b->med != 0)
		return;
	a->a.has |= ATTR_HAS_MED;
	a->a.med = 1 + (uint32_t)(mix(serial) % 100);
}

static void
own_table(struct bench *b, unsigned peer)
{
	struct rib_nlri n[64];
	union rig_attrs a;

	b->s.rig.bulk = true;
	for (uint64_t k = 0; k + b->set_size <= b->prefixes; k += b->set_size) {
		for (unsigned i = 0; i < b->set_size; i++)
			n[i] = nlri_at(own_order(b, peer, k + i));
		own_attrs(b, k, peer, &a);
		shard_bench_update(&b->s, (uint16_t)peer, &a.a, n, b->set_size);
	}
	shard_bench_settle(&b->s);
	b->s.rig.bulk = false;
}

static void
single_updates(struct bench *b, unsigned peers, bool withdraw)
{
	union rig_attrs a;

	shard_bench_reset(&b->s);
	for (uint64_t i = 0; i < SINGLES; i++) {
		uint64_t r = mix(i / (withdraw ? 2 : 1) * 31 + peers + withdraw);
		unsigned peer = 1 + (unsigned)(r % peers);
		struct rib_nlri n = nlri_at((r >> 20) % b->prefixes);

		own_attrs(b, mix(i), peer, &a);
		shard_bench_update(
			&b->s, (uint16_t)peer, withdraw && i % 2 == 0 ? NULL : &a.a, &n, 1);
	}
	shard_bench_settle(&b->s);
}

/* The peer's session and next hop come up. */
static void
own_peer(struct bench *b, uint16_t p)
{
	struct rib_nlri n = nlri_at(0);
	union rig_attrs a;

	rig_peer(&b->s.rig, p, 65000u + p, true, false);
	shard_peer_import(b->s.rig.shard, (struct peer_id){p}, rig_family(), policy_accept_all());
	rig_up(&b->s.rig, p, 65000u + p, p, true);
	own_attrs(b, 0, p, &a);
	shard_bench_update(&b->s, p, &a.a, &n, 1);
	shard_bench_settle(&b->s);
	rig_tell(&b->s.rig, 0, 0x0a000000u + p, true, true, 0);
	shard_bench_settle(&b->s);
}

static void
run_feeds(struct bench *b)
{
	static const unsigned at[] = {1, 4, 8, 20, 30, 60, 100, 200, 500, 1000};
	const struct dest_table *t;
	unsigned from = 1;

	shard_bench_begin(&b->s, 0);
	t = shard_table(b->s.rig.shard, b->s.rig.table);
	printf("%6s %12s %12s %10s %10s %10s %14s %14s\n", "peers", "ns a path", "ns, mean",
		"entries", "B a path", "sets", "ns an update", "ns a withdrawal");
	for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]) && at[i] <= b->peers; i++) {
		uint64_t all = 0, entries = 0, last = 0;
		double single, withdrawn;

		for (; from <= at[i]; from++) {
			own_peer(b, (uint16_t)from);
			shard_bench_reset(&b->s);
			own_table(b, from);
			last = b->s.busy_ns;
			all += b->s.busy_ns;
			entries += b->s.entries;
		}
		single_updates(b, at[i], false);
		single = (double)b->s.busy_ns / SINGLES;
		single_updates(b, at[i], true);
		withdrawn = (double)b->s.busy_ns / SINGLES;
		printf("%6u %12.0f %12.0f %10.2f %10.1f %10u %14.0f %14.0f\n", at[i],
			(double)last / b->prefixes,
			(double)all / b->prefixes / (i > 0 ? at[i] - at[i - 1] : at[i]),
			(double)entries / b->prefixes / (i > 0 ? at[i] - at[i - 1] : at[i]),
			(double)dest_table_bytes(t) / (double)dest_path_count(t),
			attr_table_count(shard_attrs(b->s.rig.shard)), single, withdrawn);
		fflush(stdout);
	}
	shard_bench_end(&b->s);
}

/* ---- turns ---- */

/* Prefixes first .. end-1 of the peer's table. */
static void
turn(struct bench *b, unsigned peer, uint64_t first, uint64_t end)
{
	struct rib_nlri n[64];
	union rig_attrs a;

	for (uint64_t i = first; i < end; i += b->set_size) {
		for (unsigned k = 0; k < b->set_size; k++)
			n[k] = nlri_at(i + k);
		attrs_at(i / b->set_size * b->peers + peer, peer, &a);
		shard_bench_update(&b->s, (uint16_t)peer, &a.a, n, b->set_size);
	}
}

static void
run_turns(struct bench *b, unsigned each)
{
	uint64_t paths = (uint64_t)b->prefixes * b->peers;

	shard_bench_begin(&b->s, 0);
	for (uint16_t p = 1; p <= b->peers; p++)
		own_peer(b, p);
	shard_bench_reset(&b->s);
	b->s.rig.bulk = true;
	for (uint64_t first = 0; first < b->prefixes; first += each)
		for (unsigned p = 1; p <= b->peers; p++)
			turn(b, p, first, first + each < b->prefixes ? first + each : b->prefixes);
	shard_bench_settle(&b->s);
	printf("%u peers, %u prefixes a turn: %.1f ms, %.0f ns a path\n", b->peers, each,
		(double)b->s.busy_ns / 1e6, (double)b->s.busy_ns / (double)paths);
	shard_bench_end(&b->s);
}

/* ---- options ---- */

static unsigned
number(int argc, char **argv, int i, unsigned other)
{
	return argc > i ? (unsigned)strtoul(argv[i], NULL, 10) : other;
}

static int
main_turns(struct bench *b, int argc, char **argv)
{
	unsigned each = number(argc, argv, 5, 2048);

	b->prefixes = number(argc, argv, 2, 1000000);
	b->set_size = number(argc, argv, 3, 8);
	b->peers = number(argc, argv, 4, 4);
	if (b->prefixes == 0 || b->set_size == 0 || b->set_size > 64 || b->peers > 1000 ||
		each == 0 || each % b->set_size != 0) {
		fprintf(stderr, "usage: bench_shard turns [PREFIXES [PREFIXES_A_SET, at most 64 "
				"[PEERS, at most 1000 [PREFIXES_A_TURN, whole sets]]]]\n");
		return 2;
	}
	role_enter_rib();
	role_enter_session();
	run_turns(b, each);
	return 0;
}

static int
main_feeds(struct bench *b, int argc, char **argv)
{
	b->prefixes = number(argc, argv, 2, 20000);
	b->set_size = number(argc, argv, 3, 6);
	b->peers = number(argc, argv, 4, 60);
	b->med = number(argc, argv, 5, 0);
	if (b->prefixes == 0 || b->set_size == 0 || b->set_size > 64 || b->peers > 1000) {
		fprintf(stderr, "usage: bench_shard feeds [PREFIXES [PREFIXES_A_SET, at most 64 "
				"[PEERS, at most 1000 [MED]]]]\n");
		return 2;
	}
	role_enter_rib();
	role_enter_session();
	run_feeds(b);
	return 0;
}

int
main(int argc, char **argv)
{
	static struct bench b;
	const struct policy *small;

	if (argc > 1 && strcmp(argv[1], "feeds") == 0)
		return main_feeds(&b, argc, argv);
	if (argc > 1 && strcmp(argv[1], "turns") == 0)
		return main_turns(&b, argc, argv);

	b.prefixes = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1000000;
	b.set_size = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 6;
	b.peers = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 2;
	rig_mode = argc > 4 && strcmp(argv[4], "6") == 0 ? RIG_V6 : RIG_V4;
	if (b.prefixes == 0 || b.set_size == 0 || b.set_size > 64 || b.peers < 2 ||
		b.peers > 1000) {
		fprintf(stderr, "usage: bench_shard [PREFIXES [PREFIXES_A_SET, at most 64 [PEERS "
				"[4|6]]]]\n");
		return 2;
	}
	role_enter_rib();
	role_enter_session();
	run(&b, policy_accept_all(), "accept-all");
	small = small_policy();
	run(&b, small, "small policy");
	policy_destroy((struct policy *)(uintptr_t)small);
	return 0;
}
