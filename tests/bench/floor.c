/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * floor: the least that a speaker does with a full table, in one thread: parse the UPDATEs of a feed, intern their attributes by a hash of the octets,
 * and enter each prefix into a hash table. No socket, no decision, no export. For each pass one JSON line, with the CPU time of the pass:
 *   {"event": "pass", "ns": for each route, "routes", "sets"}
 *
 *   floor --count N [--seed N] --per-set N [--shuffle] [--attributes SEED] [--asn N] [--passes N]
 *
 * The octets are those of feed with the same options.
 */
#include "control/bgp/bgp_attr.h"
#include "control/bgp/bgp_msg.h"
#include "tests/bench/held.h"
#include "tests/bench/table.h"

#include <time.h>

static struct {
	uint32_t count, passes;
	uint64_t seed;
	struct table_own own;
} opt = {.count = 1000000, .passes = 3, .seed = 1, .own = {.seed = 1, .per_set = 8}};

static struct table table;
static uint8_t *octets;
static size_t octets_len, octets_size;

/* An interned set: the octets of the attributes of an UPDATE. */
struct set {
	uint64_t hash;
	uint32_t id; /* 0: free */
	uint16_t len;
	uint8_t *p;
};

static struct set *sets;
static uint32_t sets_size, sets_count; /* size: a power of two, at most half used */
static struct held prefixes;
static uint8_t *pool; /* of all sets */
static size_t pool_len;

/* ---- the octets of a feed ---- */

static uint8_t *
room(void)
{
	if (octets_size - octets_len < BGP_MSG_MAX) {
		octets_size = 2 * octets_size + (1u << 20);
		octets = realloc(octets, octets_size);
		if (octets == NULL)
			die("octets", ENOMEM);
	}
	return octets + octets_len;
}

static void
encode_table(void)
{
	static const struct bgp_encode_options encode = {.as4 = true, .send_communities = true};
	struct update_packer packer;

	for (uint32_t i = 0; i < table.entry_count;) {
		uint32_t set = table.entry[i].set;

		table.sets[set]->next_hop = (struct ip_addr){.b = {198, 18, 0, 2}, .afi = AFI_IPV4};
		if (!update_packer_begin(&packer, FAMILY_IPV4_UNICAST, table.sets[set], &encode,
			    room(), BGP_MSG_MAX))
			die("set", EMSGSIZE);
		while (i < table.entry_count && table.entry[i].set == set &&
			update_packer_add(&packer, &table.entry[i].prefix, 0))
			i++;
		octets_len += update_packer_finish(&packer);
	}
}

/* ---- a pass ---- */

/* The id of the set with these octets. */
static uint32_t
intern(const uint8_t *p, uint16_t len)
{
	uint64_t hash = held_octets(0, p, len);
	uint32_t at = (uint32_t)hash & (sets_size - 1);

	for (; sets[at].id != 0; at = (at + 1) & (sets_size - 1)) {
		if (sets[at].hash == hash && sets[at].len == len && memcmp(sets[at].p, p, len) == 0)
			return sets[at].id;
	}
	sets[at] = (struct set){hash, ++sets_count, len, pool + pool_len};
	memcpy(sets[at].p, p, len);
	pool_len += len;
	return sets[at].id;
}

/* RFC 4271 4.3: each attribute lies within the block. */
static bool
attributes_whole(const uint8_t *p, size_t len)
{
	const uint8_t *end = p + len;

	while (end - p >= 3) {
		size_t head = p[0] & WIRE_EXTENDED_LENGTH ? 4 : 3;

		if ((size_t)(end - p) < head)
			return false;
		p += head + (head == 4 ? (size_t)p[2] << 8 | p[3] : p[2]);
	}
	return p == end;
}

static void
update(const uint8_t *msg, size_t len)
{
	const uint8_t *at = msg + BGP_HEADER_LEN, *end = msg + len;
	uint16_t attributes_len;
	uint64_t prefix[BGP_MSG_MAX / 2];
	unsigned n = 0;
	uint32_t set;

	at += 2; /* nothing is withdrawn */
	attributes_len = (uint16_t)(at[0] << 8 | at[1]);
	at += 2;
	if (!attributes_whole(at, attributes_len))
		die("UPDATE", EPROTO);
	set = intern(at, attributes_len);
	/* the cache misses of one message overlap */
	for (at += attributes_len; at < end; at += 1 + (*at + 7) / 8) {
		prefix[n] = held_prefix(*at, at + 1);
		__builtin_prefetch(&prefixes.slot[prefix[n++] & (prefixes.size - 1)], 1);
	}
	for (unsigned i = 0; i < n; i++)
		held_set(&prefixes, prefix[i], set);
}

static uint64_t
cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void
room_for_passes(void)
{
	size_t size = 2;

	while (size < 2ull * opt.count)
		size *= 2;
	held_resize(&prefixes, size);
	for (sets_size = 2; sets_size < 2 * table.set_count; sets_size *= 2)
		;
	sets = calloc(sets_size, sizeof(*sets));
	pool = malloc(octets_len);
	if (sets == NULL || pool == NULL)
		die("sets", ENOMEM);
}

/* From empty tables whose memory was touched before. */
static void
pass(void)
{
	uint64_t begin;

	memset(prefixes.slot, 0, prefixes.size * sizeof(*prefixes.slot));
	prefixes.used = prefixes.count = prefixes.sum = 0;
	memset(sets, 0, sets_size * sizeof(*sets));
	memset(pool, 0, octets_len);
	sets_count = 0;
	pool_len = 0;
	begin = cpu_ns();
	for (size_t at = 0; at < octets_len;) {
		size_t len = (size_t)octets[at + 16] << 8 | octets[at + 17];

		update(octets + at, len);
		at += len;
	}
	if (prefixes.count != opt.count)
		die("routes", EBADMSG);
	printf("{\"event\": \"pass\", \"ns\": %.2f, \"routes\": %llu, \"sets\": %u}\n",
		(double)(cpu_ns() - begin) / opt.count, (unsigned long long)prefixes.count,
		sets_count);
}

int
main(int argc, char **argv)
{
	const struct tool_option options[] = {{"count", OPTION_U32, &opt.count},
		{"seed", OPTION_U64, &opt.seed}, {"per-set", OPTION_U32, &opt.own.per_set},
		{"attributes", OPTION_U64, &opt.own.seed}, {"asn", OPTION_U32, &opt.own.first_asn},
		{"shuffle", OPTION_FLAG, &opt.own.shuffle}, {"passes", OPTION_U32, &opt.passes}};
	int err;

	options_read(argc, argv, options, sizeof(options) / sizeof(options[0]));
	if (opt.count == 0 || opt.own.per_set == 0) {
		fprintf(stderr, "floor: --count and --per-set are at least 1\n");
		return 2;
	}
	err = table_generate(&table, AFI_IPV4, opt.count, opt.seed);
	if (err == 0)
		err = table_own(&table, &opt.own);
	if (err != 0)
		die("table", err);
	encode_table();
	room_for_passes();
	for (uint32_t i = 0; i < opt.passes; i++)
		pass();
	table_free(&table);
	return 0;
}
