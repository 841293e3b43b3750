/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/fib.h"
#include "lpm/inspect.h"

#include "lpm/shadow.h"
#include "lpm/table_v6.h"
#include "tests/lpm/fib_rig.h"
#include "tests/lpm/lpm6_check.h"
#include "tests/lpm/one_thread.h"
#include "tests/lpm/size.h"

#include <pthread.h>

#ifdef KEEL_SANITIZED
#define SCALE 10
#else
#define SCALE test_size(4, 1)
#endif

static void
fib_make(uint32_t groups)
{
	fib_begin((struct fib_config){.memory_bytes = (size_t)4 << 30,
		.huge = true,
		.tbl8_groups = 512,
		.groups_v6 = groups});
	assert_int_equal(fib_vrf_add(fib, VRF_DEFAULT, AFI_IPV6), 0);
	assert_int_equal(fib_vrf_add(fib, VRF_DEFAULT, AFI_IPV4), 0);
}

static struct fib_stats
stats(void)
{
	struct fib_stats s;

	assert_int_equal(fib_table_stats_get(fib, VRF_DEFAULT, AFI_IPV6, &s), 0);
	return s;
}

static void
test_basics(void **state)
{
	struct prefix p = pfx("2001:db8::/32"), found;
	struct ip_addr a = {.b = {0x20, 0x01, 0x0d, 0xb8}, .afi = AFI_IPV6};
	struct path_list_id id;
	struct fib_stats before;
	struct fib_result result;
	unsigned none;

	(void)state;
	fib_make(64);
	none = path_lists_in_use(fib_path_lists(fib));
	lists_make(5);
	check("2001:db8::1", NULL, list[0]);
	assert_int_equal(fib_withdraw(fib, VRF_DEFAULT, &p), -ENOENT);
	assert_int_equal(fib_set(fib, (struct vrf_id){3}, &p, list[0]), -ENOENT);
	assert_int_equal(fib_lookup(fib, (struct vrf_id){3}, &a, &result), -ENOENT);
	set("2001:db8::/32", list[0]);
	set("::/0", list[4]);
	set("10.0.0.0/8", list[3]);
	assert_int_equal(fib_batch_count(fib), 3);
	assert_true(fib_shadow_get(fib, VRF_DEFAULT, &p, &id));
	assert_int_equal(id.v, list[0].v);
	check("2001:db8::1", NULL, list[0]); /* not published yet */
	assert_int_equal(commit(), 0);
	check("2001:db8::1", "2001:db8::/32", list[0]);
	check("2002::1", "::/0", list[4]);
	check("10.1.2.3", "10.0.0.0/8", list[3]);
	check("11.1.2.3", NULL, list[3]); /* ::/0 does not affect IPv4 */
	assert_int_equal(stats().generation, 2);
	assert_int_equal(stats().writes, 2); /* a slot, and an entry of its group */
	assert_int_equal(stats().installed, 2);
	assert_int_equal(stats().groups_used, 1);
	settle();
	before = stats();
	set("2001:db8::/32", list[0]);
	assert_int_equal(commit(), 0);
	assert_int_equal(stats().generation, before.generation);
	set("2001:db8::/32", list[1]);
	set("2001:db8:1::/48", list[2]);
	set("2001:db8:1::7/128", list[3]);
	assert_int_equal(commit(), 0);
	check("2001:db8:1::7", "2001:db8:1::7/128", list[3]);
	check("2001:db8:1::8", "2001:db8:1::/48", list[2]);
	check("2001:db8:2::8", "2001:db8::/32", list[1]);
	assert_true(fib_shadow_next(fib, VRF_DEFAULT, NULL, &found));
	assert_int_equal(found.afi, AFI_IPV4);
	for (unsigned i = 0; i < 4; i++)
		assert_true(fib_shadow_next(fib, VRF_DEFAULT, &found, &found));
	assert_int_equal(found.len, 128);
	assert_false(fib_shadow_next(fib, VRF_DEFAULT, &found, &found));
	withdraw("2001:db8:1::/48");
	withdraw("2001:db8:1::7/128");
	assert_int_equal(commit(), 0);
	check("2001:db8:1::7", "2001:db8::/32", list[1]);
	assert_int_equal(stats().groups_used, 1);
	withdraw("2001:db8::/32");
	assert_true(fib_shadow_lookup(fib, VRF_DEFAULT, &a, &found, &id));
	assert_int_equal(found.len, 0);
	withdraw("::/0");
	assert_false(fib_shadow_lookup(fib, VRF_DEFAULT, &a, &found, &id));
	withdraw("10.0.0.0/8");
	settle();
	check("2001:db8::7", NULL, list[0]);
	assert_int_equal(stats().groups_used, 0);
	assert_int_equal(stats().installed, 0);
	lists_drop(5);
	path_lists_reclaim(fib_path_lists(fib));
	path_lists_reclaim(fib_path_lists(fib));
	assert_int_equal(path_lists_in_use(fib_path_lists(fib)), none);
	fib_unmake();
}

static struct prefix
flooded(unsigned i)
{
	struct ip_addr a = {.afi = AFI_IPV6, .b = {0x20, 0x01, 0x0d, (uint8_t)i, 1}};

	return prefix_from_addr(&a, 128);
}

/* 100 routes: more than the groups can hold. */
static void
flood(void)
{
	for (unsigned i = 0; i < 100; i++) {
		struct prefix p = flooded(i);

		assert_int_equal(fib_set(fib, VRF_DEFAULT, &p, list[0]), 0);
	}
}

/* As for IPv4: a sixteenth of the groups is for host routes. */
static void
test_groups_kept_back(void **state)
{
	struct prefix own, waits;

	(void)state;
	fib_make(16 * 26);
	lists_make(3);
	flood();
	waits = flooded(99);
	assert_int_equal(commit(), -ENOSPC);
	assert_true(stats().groups_used <= 15 * 26);
	assert_true(stats().not_installed > 0);
	assert_true(fib_is_waiting(fib, VRF_DEFAULT, &waits));
	assert_int_equal(prefix_parse("2001:db8:ffff::1/128", &own), 0);
	assert_int_equal(fib_set_host(fib, VRF_DEFAULT, &own, list[1]), 0);
	assert_int_equal(commit(), -ENOSPC);
	check("2001:db8:ffff::1", "2001:db8:ffff::1/128", list[1]);
	assert_int_equal(fib_set_host(fib, VRF_DEFAULT, &waits, list[2]), 0);
	assert_int_equal(commit(), -ENOSPC);
	assert_false(fib_is_waiting(fib, VRF_DEFAULT, &waits));
	for (unsigned i = 0; i < 60; i++) {
		struct prefix p = flooded(i);

		assert_int_equal(fib_withdraw(fib, VRF_DEFAULT, &p), 0);
		(void)commit();
	}
	settle();
	lists_drop(3);
	fib_unmake();
}

/* As for IPv4. */
static void
test_own_waits(void **state)
{
	struct prefix own[3];

	(void)state;
	fib_make(16 * 26);
	lists_make(3);
	flood();
	for (unsigned i = 0; i < 3; i++) {
		struct ip_addr a = {.afi = AFI_IPV6, .b = {0x20, 0x02, (uint8_t)i, 0, 1}};

		own[i] = prefix_from_addr(&a, 128);
		assert_int_equal(fib_set_host(fib, VRF_DEFAULT, &own[i], list[1]), 0);
	}
	assert_int_equal(commit(), -ENOSPC);
	settle();
	assert_false(fib_is_waiting(fib, VRF_DEFAULT, &own[0]));
	assert_true(fib_is_waiting(fib, VRF_DEFAULT, &own[2]));
	assert_int_equal(fib_withdraw(fib, VRF_DEFAULT, &own[0]), 0);
	assert_int_equal(commit(), -ENOSPC);
	assert_false(fib_is_waiting(fib, VRF_DEFAULT, &own[2]));
	check("2002:200:100::", "2002:200:100::/128", list[1]);
	settle();
	lists_drop(3);
	fib_unmake();
}

/*
 * All groups needed exist, each because of some neighbour: the routes are installed at once,
 * although others wait.
 */
static void
test_groups_of_others(void **state)
{
	static const char *const own = "2001:eff::1/128";
	static const char *const needs_none[] = {"2001:eff::2/128", "2001:eff::8/125",
		"2001:eff::80/121", "2001:eff:0:ff00::/56", "2001:eff:100::/40",
		"2001:eff:8000::/33", "2001:e80::/25", "2001:eee::/32"};
	static const char *const needs_some[] = {"2001:eff:100::1/128", "2001:eff:0:ff00::/57",
		"2001:eff::100/121", "2001:eff::1:0/113"};
	struct prefix p = pfx(own);

	(void)state;
	fib_make(16 * 26);
	lists_make(3);
	flood();
	for (unsigned i = 0; i < 8; i++)
		set(needs_none[i], list[1]);
	for (unsigned i = 0; i < 4; i++)
		set(needs_some[i], list[1]);
	assert_int_equal(commit(), -ENOSPC);
	/* added and removed again */
	assert_int_equal(fib_set_host(fib, VRF_DEFAULT, &p, list[2]), 0);
	withdraw(own);
	assert_int_equal(commit(), -ENOSPC);
	settle();
	for (unsigned i = 0; i < 8; i++) {
		struct prefix q = pfx(needs_none[i]);

		assert_true(fib_is_waiting(fib, VRF_DEFAULT, &q));
	}
	assert_int_equal(fib_set_host(fib, VRF_DEFAULT, &p, list[2]), 0);
	assert_int_equal(commit(), -ENOSPC);
	settle();
	for (unsigned i = 0; i < 8; i++) {
		p = pfx(needs_none[i]);
		assert_false(fib_is_waiting(fib, VRF_DEFAULT, &p));
	}
	check("2001:eff::2", "2001:eff::2/128", list[1]);
	check("2001:eff:1ff::2", "2001:eff:100::/40", list[1]);
	for (unsigned i = 0; i < 4; i++) {
		p = pfx(needs_some[i]);
		assert_true(fib_is_waiting(fib, VRF_DEFAULT, &p));
	}
	/* the routes now hold the groups themselves */
	withdraw(own);
	(void)commit();
	check("2001:eff::2", "2001:eff::2/128", list[1]);
	check("2001:eff::1", "2001:e80::/25", list[1]);
	lists_drop(3);
	fib_unmake();
}

/* The number of routes installed per commit is bounded. */
static void
test_groups_of_others_bounded(void **state)
{
	struct prefix own = pfx("2001:eff::/128");
	uint64_t waited, first;
	unsigned commits = 1;

	(void)state;
	fib_make(16 * 26);
	lists_make(3);
	flood();
	for (unsigned byte = 3; byte < 16; byte++) {
		for (unsigned i = 1; i < 256; i++) {
			struct ip_addr a = v6_addr(own.b);
			struct prefix p;

			a.b[byte] = (uint8_t)(a.b[byte] + i);
			p = prefix_from_addr(&a, (uint8_t)(byte * 8 + 8));
			assert_int_equal(fib_set(fib, VRF_DEFAULT, &p, list[1]), 0);
		}
	}
	assert_int_equal(commit(), -ENOSPC);
	waited = stats().not_installed;
	assert_int_equal(fib_set_host(fib, VRF_DEFAULT, &own, list[2]), 0);
	assert_int_equal(commit(), -ENOSPC);
	first = waited - stats().not_installed;
	assert_true(first > 0 && first <= 1024);
	for (; !fib_settled(fib); commits++)
		assert_int_equal(commit(), -ENOSPC);
	assert_int_equal(waited - stats().not_installed, 13 * 255);
	assert_true(commits <= 16);
	lists_drop(3);
	fib_unmake();
}

/*
 * A route already waiting for groups comes before a later route; a route without need for groups
 * does not wait.
 */
static void
test_waiting(void **state)
{
	struct prefix found;
	struct ip_addr a;
	struct path_list_id id;

	(void)state;
	fib_make(16);
	lists_make(6);
	set("2001:db8::1/128", list[0]); /* needs 13 groups */
	set("2001:db9::1/128", list[1]); /* needs 12 more */
	assert_int_equal(commit(), -ENOSPC);
	check("2001:db8::1", "2001:db8::1/128", list[0]);
	check("2001:db9::1", NULL, list[0]);
	assert_int_equal(stats().installed, 1);
	assert_int_equal(stats().not_installed, 1);
	assert_int_equal(prefix_parse("2001:db9::1/128", &found), 0);
	assert_true(fib_is_waiting(fib, VRF_DEFAULT, &found));
	assert_int_equal(prefix_parse("2001:db8::1/128", &found), 0);
	assert_false(fib_is_waiting(fib, VRF_DEFAULT, &found));
	/* waiting routes are in the shadow, visible to next hops and the audit */
	assert_int_equal(addr_parse("2001:db9::1", &a), 0);
	assert_true(fib_shadow_lookup(fib, VRF_DEFAULT, &a, &found, &id));
	assert_int_equal(id.v, list[1].v);
	set("2001:db8::2/128", list[2]); /* needs none */
	set("2001:dba::/48", list[3]); /* needs two, which are free, but another route waits */
	assert_int_equal(commit(), -ENOSPC);
	check("2001:db8::2", "2001:db8::2/128", list[2]);
	check("2001:dba::1", NULL, list[0]);
	assert_int_equal(stats().not_installed, 2);
	settle();
	/* a change and a flap of a waiting route */
	set("2001:db9::1/128", list[4]);
	withdraw("2001:dba::/48");
	set("2001:dba::/48", list[5]);
	assert_int_equal(commit(), -ENOSPC);
	check("2001:db9::1", NULL, list[0]);
	withdraw("2001:db8::1/128");
	assert_int_equal(commit(), -ENOSPC);
	withdraw("2001:db8::2/128");
	assert_int_equal(commit(), 0);
	check("2001:db8::2", NULL, list[0]);
	check("2001:db9::1", "2001:db9::1/128", list[4]);
	check("2001:dba::1", "2001:dba::/48", list[5]);
	assert_int_equal(stats().groups_used, 15);
	settle();
	check("2001:db9::1", "2001:db9::1/128", list[4]);
	lists_drop(6);
	fib_unmake();
}

static uint32_t
fib_answer(const uint8_t *b)
{
	struct ip_addr a = v6_addr(b);
	struct fib_result result;

	assert_int_equal(fib_lookup(fib, VRF_DEFAULT, &a, &result), 0);
	return result.hit ? result.path_list.v | (uint32_t)result.prefix.len << 24 : 0;
}

/* No route waits without need for groups, and the fib contains exactly these routes. */
static void
check_waiting(const struct prefix *p, const uint32_t *value, size_t count)
{
	struct shadow *installed;

	assert_int_equal(shadow_create(arena, AFI_IPV6, &installed), 0);
	for (size_t i = 0; i < count; i++) {
		if (value[i] != 0 && !fib_is_waiting(fib, VRF_DEFAULT, &p[i]))
			assert_int_equal(shadow_set(installed, &p[i],
						 (struct path_list_id){value[i]}, false),
				0);
	}
	for (size_t i = 0; i < count; i++) {
		if (value[i] != 0 && fib_is_waiting(fib, VRF_DEFAULT, &p[i]))
			assert_true(table_v6_need(installed, &p[i]) > 0);
	}
	shadow_destroy(installed);
}

/*
 * Far more routes than the groups can hold, added and removed. The oracle learns by a lookup of
 * each prefix's own addresses whether the route is installed. Each installed route must answer,
 * and no other route may.
 */
static void
test_exhaustion(void **state)
{
	enum { COUNT = 300, GROUPS = 200 };
	static struct prefix p[COUNT];
	static uint32_t value[COUNT];
	uint64_t seed = 11;
	size_t count;

	(void)state;
	fib_make(GROUPS);
	lists_make(50);
	for (unsigned i = 0; i < COUNT; i++) {
		struct prefix around = pfx(i % 2 ? "2001:db8::/44" : "2001::/20");

		p[i] = v6_long(&around, 1, &seed);
	}
	count = v6_unique(p, COUNT);
	memset(value, 0, sizeof(value));
	for (unsigned round = 0; round < 400 / SCALE; round++) {
		struct lpm6_oracle o;
		uint64_t present = 0, installed = 0;
		unsigned keep = round % 40 < 20 ? 80 : 10;

		for (unsigned k = 0; k < 40; k++) {
			size_t i = rnd_below(&seed, (uint32_t)count);

			if (rnd_below(&seed, 100) < keep) {
				struct path_list_id id = list[rnd_below(&seed, 50)];

				value[i] = id.v;
				if (i % 8 == 0)
					assert_int_equal(
						fib_set_host(fib, VRF_DEFAULT, &p[i], id), 0);
				else
					assert_int_equal(fib_set(fib, VRF_DEFAULT, &p[i], id), 0);
			} else {
				assert_int_equal(fib_withdraw(fib, VRF_DEFAULT, &p[i]),
					value[i] != 0 ? 0 : -ENOENT);
				value[i] = 0;
			}
		}
		(void)commit();
		lpm6_oracle_init(&o);
		qsbr_online(workers, me);
		for (size_t i = 0; i < count; i++) {
			struct ip_addr a = v6_addr(p[i].b);
			struct fib_result result;

			present += value[i] != 0;
			assert_int_equal(fib_lookup(fib, VRF_DEFAULT, &a, &result), 0);
			if (value[i] != 0 && result.hit && prefix_equal(&result.prefix, &p[i])) {
				lpm6_oracle_set(&o, p[i].b, p[i].len, value[i]);
				installed++;
			}
		}
		for (size_t i = 0; i < count; i++)
			check_edges(&o, &p[i], fib_answer);
		qsbr_offline(workers, me);
		lpm6_oracle_fini(&o);
		/* all expected routes are installed (no two start at the same address) */
		assert_int_equal(installed, stats().installed);
		assert_int_equal(stats().installed + stats().not_installed, present);
		assert_true(stats().groups_used <= GROUPS);
		check_waiting(p, value, count);
	}
	for (size_t i = 0; i < count; i++)
		(void)fib_withdraw(fib, VRF_DEFAULT, &p[i]);
	assert_int_equal(commit(), 0);
	settle();
	assert_int_equal(stats().groups_used, 0);
	lists_drop(50);
	fib_unmake();
}

/* The real table and long prefixes, in random order, in batches of any size: checks both copies. */
static void
test_full_table(void **state)
{
	static const unsigned keep[] = {100, 60, 90, 0};
	size_t real, more = 50000 / SCALE, count;
	struct prefix *p = v6_table(400000 / SCALE, &real), *sorted;
	struct lpm6_oracle o;
	uint32_t *value;
	uint64_t seed = 5;

	(void)state;
	fib_make(500000);
	lists_make(LISTS);
	lpm6_oracle_init(&o);
	p = realloc(p, (real + more) * sizeof(*p));
	assert_non_null(p);
	for (size_t i = 0; i < more; i++)
		p[real + i] = v6_long(p, real, &seed);
	count = v6_unique(p, real + more);
	value = calloc(count, sizeof(*value));
	assert_non_null(value);
	sorted = malloc(count * sizeof(*sorted));
	assert_non_null(sorted);
	memcpy(sorted, p, count * sizeof(*sorted));
	v6_shuffle(p, count, &seed);
	for (unsigned phase = 0; phase < sizeof(keep) / sizeof(keep[0]); phase++) {
		size_t at = 0;

		while (at < count) {
			size_t end = at + 1 + rnd_below(&seed, phase == 2 ? 200000 : 6000);

			for (; at < end && at < count; at++) {
				bool want = rnd_below(&seed, 100) < keep[phase];
				uint32_t v = want ? list[rnd_below(&seed, LISTS)].v : 0;

				if (want)
					assert_int_equal(fib_set(fib, VRF_DEFAULT, &p[at],
								 (struct path_list_id){v}),
						0);
				else if (value[at] != 0)
					assert_int_equal(fib_withdraw(fib, VRF_DEFAULT, &p[at]), 0);
				value[at] = v;
				lpm6_oracle_set(&o, p[at].b, p[at].len, v);
			}
			assert_int_equal(commit(), 0);
		}
		for (unsigned copy = 0; copy < 2; copy++) {
			qsbr_online(workers, me);
			for (size_t i = 0; i < count; i += copy + 1)
				check_edges(&o, &sorted[i], fib_answer);
			qsbr_offline(workers, me);
			settle();
			/* select the second copy by a change elsewhere */
			set("3ffe::/16", list[phase * 2 + copy]);
			assert_int_equal(commit(), 0);
			lpm6_oracle_set(
				&o, (const uint8_t[16]){0x3f, 0xfe}, 16, list[phase * 2 + copy].v);
		}
		print_message("%lu installed, %u groups, %lu rebuilds\n",
			(unsigned long)stats().installed, stats().groups_used,
			(unsigned long)stats().rebuilds);
	}
	assert_int_equal(stats().groups_used, 0);
	assert_int_equal(stats().installed, 1);
	lpm6_oracle_fini(&o);
	lists_drop(LISTS);
	fib_unmake();
	free(p);
	free(sorted);
	free(value);
}

/*
 * Commits with concurrent readers: every batch gives all IPv4 and IPv6 prefixes one list, so all
 * answers of a burst in both families are equal, also after withdrawals below a covering prefix.
 */
static struct {
	_Atomic bool stop;
	_Atomic unsigned looking; /* readers with at least one lookup */
	struct prefix spot[256];
} race;

static void *
reader_main(void *arg)
{
	uint64_t seed = (uintptr_t)arg, bursts = 0;
	unsigned id;

	role_enter_worker();
	if (qsbr_register(workers, &id) != 0)
		return NULL;
	qsbr_online(workers, id);
	while (!atomic_load_explicit(&race.stop, memory_order_relaxed)) {
		const struct fib_generation *g = fib_read_begin(fib_reader(fib));
		uint32_t v4[64], out4[64], out[64];
		uint8_t ip[64][16];

		for (unsigned i = 0; i < 64; i++) {
			struct ip_addr a = v6_within(&race.spot[rnd_below(&seed, 256)], &seed);

			memcpy(ip[i], a.b, 16);
			v4[i] = 10u << 24 | rnd_below(&seed, 1u << 24);
		}
		fib_read_v4_bulk(fib_reader(fib), g, VRF_DEFAULT, v4, out4, 64);
		fib_read_v6_bulk(
			fib_reader(fib), g, VRF_DEFAULT, (const uint8_t(*)[16])ip, out, 64);
		for (unsigned i = 0; i < 64; i++) {
			if (out[i] != out4[0] || out4[i] != out4[0] || out[i] == PATH_LIST_NONE) {
				fprintf(stderr, "%u, %u, %u in generation %lu\n", out[i], out4[i],
					out4[0], (unsigned long)g->number);
				return NULL;
			}
		}
		if (bursts++ == 0)
			atomic_fetch_add(&race.looking, 1);
		qsbr_quiescent(workers, id);
	}
	qsbr_offline(workers, id);
	qsbr_unregister(workers, id);
	return (void *)(uintptr_t)bursts;
}

static void
race_change(struct path_list_id id, uint64_t *seed)
{
	for (unsigned i = 0; i < 256; i++) {
		if (i % 8 != 0 && rnd_below(seed, 3) == 0)
			(void)fib_withdraw(fib, VRF_DEFAULT, &race.spot[i]);
		else
			assert_int_equal(fib_set(fib, VRF_DEFAULT, &race.spot[i], id), 0);
	}
	set("10.0.0.0/8", id);
}

static void
test_beside_readers(void **state)
{
	pthread_t reader[2];
	uint64_t seed = 5;

	(void)state;
	fib_make(8192);
	lists_make(LISTS);
	for (unsigned i = 0; i < 256; i++) {
		struct ip_addr a = {.b = {0x20, 0x01, (uint8_t)(i / 8)}, .afi = AFI_IPV6};

		race.spot[i] = i % 8 == 0
				       ? prefix_from_addr(&a, (uint8_t)(24 + rnd_below(&seed, 25)))
				       : v6_long(&race.spot[i / 8 * 8], 1, &seed);
	}
	race_change(list[0], &seed);
	assert_int_equal(commit(), 0);
	atomic_store(&race.stop, false);
	atomic_store(&race.looking, 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			pthread_create(&reader[i], NULL, reader_main, (void *)(uintptr_t)(i + 1)),
			0);
	/* on a busy machine the readers start late */
	for (unsigned n = 1; n < 600 / SCALE || atomic_load(&race.looking) < 2; n++) {
		race_change(list[n % LISTS], &seed);
		assert_int_equal(commit(), 0);
	}
	atomic_store_explicit(&race.stop, true, memory_order_relaxed);
	for (unsigned i = 0; i < 2; i++) {
		void *bursts;

		assert_int_equal(pthread_join(reader[i], &bursts), 0);
		assert_non_null(bursts);
	}
	lists_drop(LISTS);
	fib_unmake();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		one_thread_test(test_basics),
		one_thread_test(test_waiting),
		one_thread_test(test_groups_kept_back),
		one_thread_test(test_own_waits),
		one_thread_test(test_groups_of_others),
		one_thread_test(test_groups_of_others_bounded),
		one_thread_test(test_exhaustion),
		cmocka_unit_test(test_beside_readers),
		one_thread_test(test_full_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
