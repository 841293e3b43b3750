/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory and CPU time of interned attribute sets, by kind of table: the generator's full table, and sets that differ for each prefix, with
 * short paths, 30 AS numbers, or 32 communities. One thread, no readers. Bytes are what the allocator hands out, with slots and index.
 * Usage: bench_attr [SETS]
 */
#include "lpm/base/arena.h"
#include "lpm/base/qsbr.h"
#include "rib/table/attr.h"
#include "tests/bench/table.h"
#include "tests/lpm/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HOPS_MAX 30
#define COMMUNITIES_MAX 32
#define RECLAIM_EVERY 1000

struct kind {
	const char *name;
	enum afi afi;
	unsigned hops, communities; /* 0 hops: the generator's table */
};

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench_attr: %s failed\n", what);
	exit(1);
}

/* CPU time of the thread, independent of other work on the machine. */
static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void
next_hop_set(struct attr_set *a, enum afi afi, uint32_t value)
{
	a->next_hop = addr_from_v4(0xc0000200u + value % 16);
	a->next_hop.afi = (uint8_t)afi;
}

/* 3 of 10 AS numbers need four octets, as in tables of 2026. */
static size_t
set_make(struct attr_set *a, const struct kind *k, uint32_t value)
{
	uint64_t state = value;
	uint8_t *w = a->var;

	memset(a, 0, sizeof(*a));
	next_hop_set(a, k->afi, value);
	*w++ = 2;
	*w++ = (uint8_t)k->hops;
	for (unsigned i = 0; i < k->hops; i++) {
		uint64_t r = splitmix64(&state);
		uint32_t asn = r % 10 < 3 ? 196608 + (uint32_t)(r >> 40) % 200000
					  : 1 + (uint32_t)(r >> 40) % 64000;

		*w++ = (uint8_t)(asn >> 24);
		*w++ = (uint8_t)(asn >> 16);
		*w++ = (uint8_t)(asn >> 8);
		*w++ = (uint8_t)asn;
	}
	a->as_path_len = (uint16_t)(w - a->var);
	a->community_count = (uint16_t)k->communities;
	for (unsigned i = 0; i < k->communities; i++, w += 4) {
		uint32_t c = (uint32_t)splitmix64(&state);

		memcpy(w, &c, 4);
	}
	attr_set_derive(a);
	return attr_set_size(a);
}

struct run {
	const struct kind *kind;
	struct table table;
	uint32_t count;
	uint64_t value_bytes;
};

static const struct attr_set *
set_at(struct run *r, uint32_t i)
{
	static union {
		struct attr_set set;
		uint8_t bytes[sizeof(struct attr_set) + 2 + 4 * HOPS_MAX + 4 * COMMUNITIES_MAX];
	} room;

	if (r->kind->hops == 0) {
		next_hop_set(r->table.sets[i], r->kind->afi, i);
		return r->table.sets[i];
	}
	(void)set_make(&room.set, r->kind, i);
	return &room.set;
}

/* ns a set, with the time of making the set: the same in both passes and for every version. */
static double
pass(struct run *r, struct attr_table *t, struct attr_id *ids)
{
	uint64_t begin = now_ns();

	r->value_bytes = 0;
	for (uint32_t i = 0; i < r->count; i++) {
		const struct attr_set *a = set_at(r, i);

		r->value_bytes += attr_set_size(a);
		must(attr_intern(t, a, 1, &ids[i]) == 0, "attr_intern");
	}
	return (double)(now_ns() - begin) / r->count;
}

static void
run_kind(const struct kind *k, uint32_t count)
{
	struct run r = {.kind = k, .count = count};
	struct qsbr *readers;
	struct attr_table *t;
	struct attr_id *ids;
	struct arena *arena;
	double fresh, known;
	uint64_t begin;
	uint32_t sets;
	size_t before, bytes;

	if (k->hops == 0) {
		must(table_generate(&r.table, k->afi, 5 * count, 1) == 0, "table_generate");
		r.count = r.table.set_count;
	}
	must(arena_create("bench", &arena) == 0, "arena_create");
	must(qsbr_create(arena, 4, &readers) == 0, "qsbr_create");
	before = arena_bytes(arena);
	must(attr_table_create(arena, readers, &t) == 0, "attr_table_create");
	ids = malloc(2 * (size_t)r.count * sizeof(*ids));
	must(ids != NULL, "malloc");
	fresh = pass(&r, t, ids);
	bytes = arena_bytes(arena) - before;
	known = pass(&r, t, ids + r.count);
	sets = attr_table_count(t);
	begin = now_ns();
	for (uint32_t i = 0; i < 2 * r.count; i++) {
		attr_unref(t, ids[i], 1);
		if (i % RECLAIM_EVERY == 0)
			attr_table_reclaim(t);
	}
	printf("%-22s %9u %12.1f %9.1f %9.1f %9.1f %9.1f\n", k->name, sets,
		(double)r.value_bytes / r.count, (double)bytes / sets, fresh, known,
		(double)(now_ns() - begin) / sets);
	free(ids);
	attr_table_destroy(t);
	qsbr_destroy(readers);
	arena_destroy(arena);
	table_free(&r.table);
}

int
main(int argc, char **argv)
{
	static const struct kind kinds[] = {
		{"full table, IPv4", AFI_IPV4, 0, 0},
		{"full table, IPv6", AFI_IPV6, 0, 0},
		{"a prefix each, IPv4", AFI_IPV4, 4, 2},
		{"a prefix each, IPv6", AFI_IPV6, 4, 2},
		{"30 hops", AFI_IPV6, 30, 2},
		{"32 communities", AFI_IPV6, 4, 32},
	};
	uint32_t count = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 200000;

	if (count == 0 || count > 1u << 24) {
		fprintf(stderr, "usage: bench_attr [SETS]\n");
		return 2;
	}
	role_enter_rib();
	printf("%-22s %9s %12s %9s %9s %9s %9s\n", "sets", "count", "octets, open", "bytes",
		"new, ns", "known, ns", "freed, ns");
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		run_kind(&kinds[i], count);
	return 0;
}
