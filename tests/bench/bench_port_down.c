/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loss of a link: fib_feed_port_down() with few and with many prefixes on the port, alternating, with an equal number of next hops. The
 * caches are swept before each run. Then the decision of the RIB and the tables, until everything is settled.
 *
 *   bench_port_down [FEW [MANY [NEXT_HOPS [RUNS]]]]     METRIC DUT UNIT RUN VALUE, one a line
 */
#include "tests/rib/feed_rig.h"

#include "rib/shard/walk.h"

#define SWEEP (64u << 20)

static struct feed_rig few, many;

static void
fill(struct feed_rig *r, unsigned prefixes, unsigned next_hops)
{
	feed_rig_init(r, true, 0, FEED_BATCH);
	for (uint16_t p = 1; p <= 2; p++) {
		feed_rig_peer(r, p);
		rig_up(&r->rig, p, RIG_OWN_ASN, p, false);
		/* 172.16.0.0/16 and 172.17.0.0/16 */
		feed_rig_connected(
			r, 0xac0ffffeu + (uint32_t)p * 0x10000u, 16, (uint16_t)(p - 1), true);
		for (unsigned i = 0; i < next_hops; i++)
			feed_rig_neighbor(r, 0xac0f0001u + (uint32_t)p * 0x10000u + i,
				(uint16_t)(p - 1), (uint8_t)p);
	}
	for (unsigned i = 0; i < prefixes; i++) {
		for (uint16_t p = 1; p <= 2; p++)
			feed_rig_announce(r, p, (i * 40503u & 0xffffffu) << 8, 24,
				0xac0f0001u + (uint32_t)p * 0x10000u + i % next_hops,
				p == 1 ? 200 : 100);
		if (i % 20000 == 0)
			feed_rig_settle(r);
	}
	feed_rig_settle(r);
}

/* MAC of the next hop of a packet, 0: dropped. */
static unsigned
taken(const struct feed_rig *r, uint32_t addr)
{
	struct ip_addr a = addr_from_v4(addr);
	const struct path_list *l;
	struct fib_result found;
	struct next_hop_view v;

	assert_int_equal(fib_lookup(r->fib, VRF_DEFAULT, &a, &found), 0);
	l = &path_lists_array(fib_path_lists(r->fib))[found.path_list.v];
	for (unsigned i = 0; found.hit && i < l->path_count + (unsigned)l->backup_count; i++) {
		if (next_hop_peek(fib_path_lists(r->fib), l->path[i].next_hop, &v) &&
			v.state == NEXT_HOP_UP)
			return v.adjacency.ether[5];
	}
	return 0;
}

static void
sweep(void)
{
	static volatile uint8_t room[SWEEP];

	for (unsigned i = 0; i < SWEEP; i += CACHE_LINE)
		room[i]++;
}

static void
run(struct feed_rig *r, const char *name, unsigned n, bool behind)
{
	uint64_t begin, lost;

	assert_int_equal(taken(r, 40503u << 8), 1);
	sweep();
	begin = walk_clock();
	fib_feed_port_down(r->feed, 0, begin);
	lost = walk_clock();
	printf("port_down %s us %u %.2f\n", name, n, (double)(lost - begin) / 1000);
	assert_int_equal(taken(r, 40503u << 8), 2);
	if (behind) {
		feed_rig_settle(r);
		printf("settled %s ms %u %.1f\n", name, n, (double)(walk_clock() - lost) / 1000000);
	}
	fib_feed_port_up(r->feed, 0);
	if (behind)
		feed_rig_settle(r);
}

int
main(int argc, char **argv)
{
	unsigned few_prefixes = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 10000;
	unsigned many_prefixes = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1000000;
	unsigned next_hops = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 16;
	unsigned runs = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 50;

	fill(&few, few_prefixes, next_hops);
	fill(&many, many_prefixes, next_hops);
	for (unsigned n = 0; n < runs; n++) {
		run(&few, "few", n, n < 3);
		run(&many, "many", n, n < 3);
	}
	return 0;
}
