/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cost of the lowest parts of the RIB: a table of 1 million destinations and 190,000 attribute sets, one thread, no readers online.
 * Prefixes are all different, /24 mostly, in random order. Usage: bench_rib [DESTINATIONS [SETS]]
 */
#include "lpm/base/arena.h"
#include "lpm/base/qsbr.h"
#include "rib/table/inspect.h"
#include "rib/table/journal.h"
#include "rib/shard/walk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SET_BYTES 160
#define SLICE 1000 /* publications between two reclaims */
#define LAPS 5 /* samples of the median */

/* CPU time of the thread, independent of other work on the machine. */
static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench_rib: %s failed\n", what);
	exit(1);
}

struct bench {
	struct arena *arena;
	struct qsbr *readers;
	struct dest_table *table;
	struct journal *journal;
	uint32_t count;
	struct prefix *prefix;
	uint64_t slowest_get_ns;
	bool shuffled;
};

/* An odd multiplier walks all 24 bits without repeating. */
static void
prefixes_make(struct bench *b)
{
	for (uint32_t i = 0; i < b->count; i++) {
		uint32_t slot = i * 0x9e3779b1u & 0xffffffu;
		/* some /22 and /23, where their low bits are free */
		uint8_t len = (slot & 3) == 0 && i % 3 == 0   ? 22
			      : (slot & 1) == 0 && i % 3 == 1 ? 23
							      : 24;
		b->prefix[i] = prefix_from_v4(slot << 8, len);
	}
}

static struct path_set *
set_make(struct bench *b, uint32_t value)
{
	struct path_set *s = path_set_alloc(b->table, 1);

	must(s != NULL, "path_set_alloc");
	memset(s->path, 0, sizeof(s->path[0]));
	s->eligible = 1;
	s->path[0].time_s = value;
	return s;
}

enum pass { PASS_GET, PASS_PUBLISH, PASS_WITHDRAW };

static uint32_t
pass_index(const struct bench *b, uint32_t n)
{
	return b->shuffled ? (uint32_t)((uint64_t)n * 2654435761u % b->count) : n;
}

/* All destinations once; ns each. */
static double
publish_pass(struct bench *b, enum pass pass, bool timed)
{
	uint64_t begin = now_ns(), t0 = 0, spent;
	struct dest_id id;

	for (uint32_t n = 0; n < b->count; n++) {
		/* in a different order, like a second peer */
		uint32_t i = pass_index(b, n);
		if (n + 16 < b->count)
			dest_prefetch(b->table, prefix_hash(&b->prefix[pass_index(b, n + 16)]));
		if (timed)
			t0 = now_ns();
		must(dest_get(b->table, &b->prefix[i], &id) == 0, "dest_get");
		if (timed && (spent = now_ns() - t0) > b->slowest_get_ns)
			b->slowest_get_ns = spent;
		if (pass == PASS_GET)
			continue;
		dest_publish(b->table, id, pass == PASS_PUBLISH ? set_make(b, i) : NULL,
			journal_next_sequence(b->journal));
		journal_append(b->journal, (struct table_id){0}, id);
		if (n % SLICE == 0)
			dest_reclaim(b->table, journal_safe_sequence(b->journal));
	}
	return (double)(now_ns() - begin) / b->count;
}

static int
double_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double
median_pass(struct bench *b, enum pass pass)
{
	double t[LAPS];

	for (unsigned i = 0; i < LAPS; i++)
		t[i] = publish_pass(b, pass, false);
	qsort(t, LAPS, sizeof(t[0]), double_compare);
	return t[LAPS / 2];
}

static bool
visit(void *ctx, struct dest_id id, const struct dest_view *view)
{
	*(uint64_t *)ctx += view->sequence;
	return true;
}

static void
bench_readers(struct bench *b)
{
	uint64_t begin = now_ns(), sum = 0;
	struct walk w;

	walk_begin(&w, b->table);
	while (walk_slice(&w, 4096, 0, NULL, visit, &sum))
		;
	printf("walk, ns an id                     %7.1f\n", (double)(now_ns() - begin) / b->count);
	begin = now_ns();
	for (uint32_t i = 0; i < b->count; i++)
		sum += dest_find(b->table, &b->prefix[i]).v;
	printf("dest_find, ns                      %7.1f\n", (double)(now_ns() - begin) / b->count);
	begin = now_ns();
	for (uint32_t i = 0; i < b->count; i++) {
		struct ip_addr a = addr_from_v4(prefix_v4(&b->prefix[i]) | 1);
		struct dest_view v;
		sum += dest_longest(b->table, &a, &v).v;
	}
	printf("dest_longest (3 lengths), ns       %7.1f  (%llu)\n",
		(double)(now_ns() - begin) / b->count, (unsigned long long)sum);
}

static void
bench_dest(struct bench *b)
{
	double fill;

	must(dest_table_create(b->arena, b->readers, AFI_IPV4, &b->table) == 0,
		"dest_table_create");
	fill = publish_pass(b, PASS_PUBLISH, false);
	printf("%u destinations, one path each\n", b->count);
	printf("get + publish + append, first, ns  %7.1f\n", fill);
	b->shuffled = true;
	printf("get alone, known, ns               %7.1f\n", median_pass(b, PASS_GET));
	printf("get + publish + append, again, ns  %7.1f  (with the old set's end)\n",
		median_pass(b, PASS_PUBLISH));
	for (unsigned i = 0; i < 100; i++)
		dest_reclaim(b->table, journal_safe_sequence(b->journal));
	printf("bytes a destination                %7.1f  (32 of the path set)\n",
		(double)dest_table_bytes(b->table) / b->count);
	bench_readers(b);
	printf("withdraw with reclaim, ns          %7.1f\n", publish_pass(b, PASS_WITHDRAW, false));
	dest_table_destroy(b->table);
	must(dest_table_create(b->arena, b->readers, AFI_IPV4, &b->table) == 0,
		"dest_table_create");
	b->shuffled = false;
	publish_pass(b, PASS_PUBLISH, true);
	printf("slowest dest_get of a filling, us  %7.1f  (page faults in it)\n",
		(double)b->slowest_get_ns / 1000);
	dest_table_destroy(b->table);
}

static void
attr_make(struct attr_set *a, uint32_t value)
{
	memset(a, 0, SET_BYTES);
	a->next_hop = addr_from_v4(0xc0000200u + value % 16);
	a->local_pref = 100;
	a->as_path_len = 2 + 4 * 4;
	a->community_count = (SET_BYTES - sizeof(*a) - a->as_path_len) / 4;
	a->var[0] = 2;
	a->var[1] = 4;
	memcpy(a->var + 2, &value, 4);
	memcpy(a->var + 14, &value, 4);
	a->first_asn = a->origin_asn = value;
}

/* Interns all sets; ns each. */
static double
attr_pass(struct attr_table *t, uint32_t count)
{
	alignas(struct attr_set) uint8_t buffer[SET_BYTES];
	struct attr_set *a = (struct attr_set *)(void *)buffer;
	uint64_t begin = now_ns();
	struct attr_id id;

	for (uint32_t i = 0; i < count; i++) {
		attr_make(a, i * 0x9e3779b1u);
		must(attr_intern(t, a, 1, &id) == 0, "attr_intern");
	}
	return (double)(now_ns() - begin) / count;
}

static void
bench_attr(struct bench *b, uint32_t count)
{
	struct attr_table *t;
	uint64_t begin;

	must(attr_table_create(b->arena, b->readers, &t) == 0, "attr_table_create");
	printf("%u attribute sets of up to %u bytes\n", count, SET_BYTES);
	printf("attr_intern, new, ns               %7.1f\n", attr_pass(t, count));
	printf("attr_intern, known, ns             %7.1f\n", attr_pass(t, count));
	printf("bytes a set                        %7.1f\n", (double)attr_table_bytes(t) / count);
	begin = now_ns();
	for (uint32_t i = 1; i <= count; i++) {
		attr_unref(t, (struct attr_id){i}, 1);
		attr_unref(t, (struct attr_id){i}, 1);
		if (i % SLICE == 0)
			attr_table_reclaim(t);
	}
	printf("attr_unref to nothing, ns          %7.1f\n", (double)(now_ns() - begin) / count);
	attr_table_destroy(t);
}

int
main(int argc, char **argv)
{
	struct bench b = {.count = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000};
	uint32_t sets = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 190000;

	role_enter_rib();
	if (b.count == 0 || b.count > 1u << 24 || sets == 0) {
		fprintf(stderr, "usage: bench_rib [DESTINATIONS (at most %u) [SETS]]\n", 1u << 24);
		return 2;
	}
	b.prefix = calloc(b.count, sizeof(*b.prefix));
	must(b.prefix != NULL && arena_create("bench", &b.arena) == 0, "memory");
	must(qsbr_create(b.arena, 4, &b.readers) == 0, "qsbr_create");
	must(journal_create(b.arena, 1 << 20, &b.journal) == 0, "journal_create");
	prefixes_make(&b);
	bench_dest(&b);
	bench_attr(&b, sets);
	journal_destroy(b.journal);
	qsbr_destroy(b.readers);
	arena_destroy(b.arena);
	free(b.prefix);
	return 0;
}
