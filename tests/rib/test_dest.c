/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/dest.h"
#include "tests/lpm/one_thread.h"
#include "tests/lpm/size.h"
#include "tests/rib/rib_test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#ifdef __SANITIZE_THREAD__ /* one thread: nothing for ThreadSanitizer */
#define OPERATIONS 20000
#elif defined(KEEL_SANITIZED)
#define OPERATIONS test_size(80000, 250000)
#else
#define OPERATIONS test_size(300000, 1000000)
#endif
#define UNIVERSE 60000

/* ---- against a sorted array ---- */

enum entry_state { NONE, LIVE, TOMBSTONE };

struct entry {
	struct prefix prefix;
	struct vpn_rd rd;
	enum entry_state state;
	uint32_t id;
	uint32_t value; /* value of its first path */
	uint16_t count, eligible;
	uint16_t epoch; /* epoch of its last path */
	uint64_t sequence;
};

struct model {
	struct rib_test base;
	struct dest_table *table;
	enum afi afi;
	bool vpn; /* keys with one of RDS distinguishers */
	uint64_t random, sequence, safe;
	uint32_t live, tombstones, paths, entries;
	struct entry *entry; /* sorted by prefix and distinguisher */
	uint32_t *owner; /* by id: entry + 1 while the id is in the table */
};

static int
entry_compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = prefix_compare(&x->prefix, &y->prefix);

	return order != 0 ? order : vpn_rd_compare(x->rd, y->rd);
}

/* Few distinguishers that share octets; 0 among them. */
#define RDS 8u

static struct vpn_rd
random_rd(struct model *m)
{
	uint64_t i = m->vpn ? random_below(&m->random, RDS) : 0;

	return (struct vpn_rd){(i & 1) << 48 | (i & 2) << 30 | i >> 2};
}

/* Nested prefixes: few leading bits, all lengths. */
static struct prefix
random_prefix(struct model *m)
{
	struct ip_addr a = {.afi = (uint8_t)m->afi};
	unsigned max = prefix_max_len(m->afi), bytes = max / 8;

	for (unsigned i = 0; i < bytes; i++)
		a.b[i] = (uint8_t)(random_next(&m->random) & (i < bytes / 2 ? 0x03 : 0xff));
	return prefix_from_addr(&a, (uint8_t)random_below(&m->random, max + 1));
}

static void
model_begin(struct model *m, enum afi afi, bool vpn, uint64_t seed)
{
	*m = (struct model){.afi = afi, .vpn = vpn, .random = seed};
	rib_test_begin(&m->base);
	assert_int_equal((vpn ? dest_table_create_vpn : dest_table_create)(
				 m->base.arena, m->base.readers, afi, &m->table),
		0);
	m->entry = calloc(UNIVERSE, sizeof(*m->entry));
	m->owner = calloc(UNIVERSE * 4, sizeof(*m->owner));
	assert_non_null(m->entry);
	assert_non_null(m->owner);
	for (unsigned i = 0; i < UNIVERSE; i++) {
		m->entry[i].prefix = random_prefix(m);
		m->entry[i].rd = random_rd(m);
	}
	qsort(m->entry, UNIVERSE, sizeof(*m->entry), entry_compare);
	for (unsigned i = 0; i < UNIVERSE; i++)
		if (m->entries == 0 || entry_compare(&m->entry[i], &m->entry[m->entries - 1]) != 0)
			m->entry[m->entries++] = m->entry[i];
}

static void
model_end(struct model *m)
{
	dest_table_destroy(m->table);
	rib_test_end(&m->base);
	free(m->entry);
	free(m->owner);
}

static struct entry *
model_find(struct model *m, const struct prefix *p)
{
	struct entry key = {.prefix = *p};

	return bsearch(&key, m->entry, m->entries, sizeof(key), entry_compare);
}

/* Paths of every shape: mostly such as can be packed, some at the limits of the packed form. */
static struct rib_path
path_of(const struct entry *e, unsigned i)
{
	uint64_t r = hash_mix(e->value * 8ull + i);
	uint32_t set = (r & 7) == 0 ? 0xffffff : (uint32_t)(r >> 8 & 0xfffff) + 1;
	uint32_t flags = (uint32_t)(r >> 28 & 0xf) << PATH_SOURCE_SHIFT;
	/* a peer has one path */
	struct rib_path p = {.peer = {(uint16_t)((r >> 32 & (PEER_MAX - 16)) | i)},
		.accepted = {set},
		.label_flags = 0xfffffu << 12 | flags,
		.time_s = i == 0 ? e->value : (uint32_t)r};

	atomic_init(&p.epoch, i + 1 == e->count ? e->epoch : (uint16_t)(r >> 44));
	if (r >> 60 & 1)
		p.received = p.accepted;
	if ((r >> 58 & 3) == 0)
		p.received.v = (uint32_t)(r >> 9) | 1;
	if (r >> 61 & 1)
		p.label_flags |= PATH_NEXT_HOP_UP;
	if ((r >> 50 & 7) == 0) {
		p.received.v = set;
		p.accepted.v = 0;
		p.label_flags |= PATH_REJECTED;
	}
	switch (r >> 53 & 31) {
	case 0:
		p.path_id = 1;
		break;
	case 1:
		p.label_flags ^= (uint32_t)(r & 0xfffff) << 12;
		break;
	case 5:
	case 6:
		p.label_flags ^= 1u << (12 + i);
		break;
	case 2:
		p.accepted.v = 1u << 24;
		break;
	case 3:
		p.received.v = set - 1;
		break;
	case 4:
		p.accepted.v = 0;
		break;
	default:
		break;
	}
	return p;
}

static void
check_path(const struct rib_path *p, const struct rib_path *want)
{
	assert_int_equal(p->peer.v, want->peer.v);
	assert_int_equal(atomic_load(&p->epoch), atomic_load(&want->epoch));
	assert_int_equal(p->accepted.v, want->accepted.v);
	assert_int_equal(p->received.v, want->received.v);
	assert_int_equal(p->path_id, want->path_id);
	assert_int_equal(p->label_flags, want->label_flags);
	assert_int_equal(p->time_s, want->time_s);
}

/* dest_peek_best() returns the first path of dest_peek(). */
static void
check_best(const struct dest_table *t, struct dest_id id, const struct dest_view *all)
{
	const struct rib_path *first = &all->paths->path[0];
	struct dest_view v;

	assert_true(dest_peek_best(t, id, &v));
	assert_true(prefix_equal(&v.prefix, &all->prefix) && v.rd.v == all->rd.v);
	assert_true(v.sequence == all->sequence && v.identity == all->identity);
	assert_non_null(v.paths);
	assert_true(v.paths->count >= 1 && v.paths->count <= all->paths->count);
	assert_int_equal(v.paths->eligible > 0, all->paths->eligible > 0);
	check_path(&v.paths->path[0], first);
	if (first->accepted.v != 0)
		assert_int_equal(dest_hint_best(t, id).v, first->accepted.v);
}

/* Paths behind the ordered paths stand in any order. */
static const struct rib_path *
find_path(const struct dest_view *v, const struct rib_path *want, unsigned i)
{
	if (i < v->ordered)
		return &v->paths->path[i];
	for (unsigned k = v->ordered; k < v->paths->count; k++)
		if (v->paths->path[k].peer.v == want->peer.v)
			return &v->paths->path[k];
	fail();
	return NULL;
}

static void
check_entry(struct model *m, const struct entry *e)
{
	union {
		struct path_set set;
		uint8_t room[sizeof(struct path_set) + 16 * sizeof(struct rib_path)];
	} room;
	struct dest_id id = dest_find_rd(m->table, e->rd, &e->prefix);
	struct prefix prefix;
	struct dest_view v;

	if (e->state == NONE) {
		assert_int_equal(id.v, DEST_NONE);
		return;
	}
	assert_int_equal(id.v, e->id);
	assert_true(dest_hint_prefix(m->table, id, &prefix) && prefix_equal(&prefix, &e->prefix));
	assert_true(dest_peek_all(m->table, id, &v, &room.set, 16));
	assert_true(prefix_equal(&v.prefix, &e->prefix));
	assert_int_equal(v.rd.v, e->rd.v);
	assert_true(dest_is(m->table, id, e->rd, &e->prefix));
	assert_false(dest_is(m->table, (struct dest_id){id.v + 1}, e->rd, &e->prefix));
	assert_false(dest_is(m->table, id, (struct vpn_rd){e->rd.v + RDS}, &e->prefix));
	assert_int_equal(v.sequence, (uint32_t)e->sequence);
	if (e->state == TOMBSTONE) {
		assert_null(v.paths);
		assert_true(dest_peek_best(m->table, id, &v) && v.paths == NULL);
		assert_int_equal(dest_hint_best(m->table, id).v, 0);
		return;
	}
	assert_non_null(v.paths);
	assert_int_equal(v.paths->count, e->count);
	assert_int_equal(v.paths->eligible, e->eligible);
	assert_int_equal(v.paths->multipath, e->eligible);
	for (unsigned i = 0; i < e->count; i++) {
		struct rib_path want = path_of(e, i);

		check_path(find_path(&v, &want, i), &want);
	}
	check_best(m->table, id, &v);
}

/* Changes the stamp of the last path in place; the path set stays. */
static void
restamp(struct model *m, struct entry *e)
{
	struct dest_view before, after;

	if (e->state != LIVE)
		return;
	assert_true(dest_peek(m->table, (struct dest_id){e->id}, &before));
	e->epoch = (uint16_t)random_next(&m->random);
	dest_stamp(m->table, (struct dest_id){e->id}, e->count - 1u, e->epoch);
	assert_true(dest_peek(m->table, (struct dest_id){e->id}, &after));
	assert_int_equal(before.identity, after.identity);
	check_entry(m, e);
}

static void
change(struct model *m, struct entry *e)
{
	struct path_set *set = NULL;
	struct dest_id id;

	assert_int_equal(dest_get_rd(m->table, e->rd, &e->prefix, &id), 0);
	if (e->state == NONE) {
		/* no other entry owns this id */
		assert_int_equal(m->owner[id.v], 0);
		m->owner[id.v] = (uint32_t)(e - m->entry) + 1;
		e->id = id.v;
	}
	assert_int_equal(id.v, e->id);
	m->paths -= e->state == LIVE ? e->count : 0;
	m->live -= e->state == LIVE;
	m->tombstones -= e->state == TOMBSTONE;
	e->sequence = ++m->sequence;
	if (random_below(&m->random, 2) == 0) {
		e->count = (uint16_t)(1 + random_below(&m->random,
						  random_below(&m->random, 8) ? 4 : 12));
		e->value = (uint32_t)m->sequence;
		e->epoch = (uint16_t)random_next(&m->random);
		e->eligible = (uint16_t)random_below(&m->random, e->count + 1u);
		if (e->count == 1 && random_below(&m->random, 8) > 0)
			e->eligible = path_of(e, 0).label_flags & PATH_NEXT_HOP_UP;
		set = path_set_alloc(m->table, e->count);
		assert_non_null(set);
		set->eligible = set->multipath = e->eligible;
		for (unsigned i = 0; i < e->count; i++)
			set->path[i] = path_of(e, i);
		m->paths += e->count;
		m->live++;
	} else {
		m->tombstones++;
	}
	e->state = set != NULL ? LIVE : TOMBSTONE;
	dest_publish(m->table, id, set, e->sequence);
}

/* Tombstones up to `safe` are freed together, the rest stay. */
static void
reclaim(struct model *m)
{
	m->safe += random_below(&m->random, (uint32_t)(m->sequence + 2 - m->safe));
	while (dest_reclaim(m->table, m->safe))
		;
	for (uint32_t i = 0; i < m->entries; i++) {
		struct entry *e = &m->entry[i];
		if (e->state == TOMBSTONE && e->sequence < m->safe) {
			e->state = NONE;
			m->owner[e->id] = 0;
			m->tombstones--;
		}
	}
}

static void
check_longest(struct model *m)
{
	struct prefix p = random_below(&m->random, 2) == 0
				  ? random_prefix(m)
				  : m->entry[random_below(&m->random, m->entries)].prefix;
	struct ip_addr a = {.afi = p.afi};
	const struct entry *want = NULL;
	struct dest_view v;
	struct dest_id id;

	memcpy(a.b, p.b, sizeof(a.b));
	for (int len = (int)prefix_max_len(m->afi); len >= 0 && want == NULL; len--) {
		p = prefix_from_addr(&a, (uint8_t)len);
		const struct entry *e = model_find(m, &p);
		if (e != NULL && e->state == LIVE && e->eligible > 0)
			want = e;
	}
	id = dest_longest(m->table, &a, &v);
	assert_int_equal(id.v, want != NULL ? want->id : DEST_NONE);
	if (want != NULL)
		assert_true(prefix_equal(&v.prefix, &want->prefix));
}

static void
check_all(struct model *m)
{
	uint32_t used = 0;
	struct dest_view v;

	for (uint32_t i = 0; i < m->entries; i++)
		check_entry(m, &m->entry[i]);
	for (uint32_t id = 0; id < dest_limit(m->table); id++) {
		bool there = dest_peek(m->table, (struct dest_id){id}, &v);

		assert_int_equal(
			dest_hint_prefix(m->table, (struct dest_id){id}, &v.prefix), there);
		used += there;
	}
	assert_int_equal(used, m->live + m->tombstones);
	for (uint32_t beyond = 0; beyond < 3; beyond++) {
		struct dest_id never = {dest_limit(m->table) + 600 * beyond};

		assert_false(dest_peek(m->table, never, &v));
		assert_false(dest_is(m->table, never, m->entry[0].rd, &m->entry[0].prefix));
		assert_int_equal(dest_hint_best(m->table, never).v, 0);
		assert_false(dest_hint_prefix(m->table, never, &v.prefix));
		dest_prefetch_paths(m->table, never);
	}
	assert_int_equal(dest_count(m->table), m->live);
	assert_int_equal(dest_tombstones(m->table), m->tombstones);
	assert_int_equal(dest_path_count(m->table), m->paths);
}

static void
agrees_with_a_sorted_array(enum afi afi, bool vpn, unsigned operations, uint64_t seed)
{
	struct model m;

	model_begin(&m, afi, vpn, seed);
	for (unsigned n = 0; n < operations; n++) {
		struct entry *e = &m.entry[random_below(&m.random, m.entries)];

		if (m.random % 8 == 0)
			check_longest(&m);
		change(&m, e);
		check_entry(&m, e);
		restamp(&m, &m.entry[random_below(&m.random, m.entries)]);
		check_entry(&m, &m.entry[random_below(&m.random, m.entries)]);
		if (n % (operations / 64) == 0) {
			reclaim(&m);
			check_all(&m);
		}
	}
	reclaim(&m);
	check_all(&m);
	/* ids are dense and reused: hardly more than the highest number in use */
	assert_true(dest_limit(m.table) <= m.entries + 2 * operations / 64);
	model_end(&m);
}

static void
ipv4_agrees_with_a_sorted_array(void **state)
{
	agrees_with_a_sorted_array(AFI_IPV4, false, OPERATIONS, 11);
}

static void
ipv6_agrees_with_a_sorted_array(void **state)
{
	agrees_with_a_sorted_array(AFI_IPV6, false, OPERATIONS / 4, 12);
}

static void
vpnv4_agrees_with_a_sorted_array(void **state)
{
	agrees_with_a_sorted_array(AFI_IPV4, true, OPERATIONS / 4, 13);
}

static void
vpnv6_agrees_with_a_sorted_array(void **state)
{
	agrees_with_a_sorted_array(AFI_IPV6, true, OPERATIONS / 4, 14);
}

/* ---- ids ---- */

static struct path_set *
one_path(struct dest_table *t, uint32_t value)
{
	struct path_set *s = path_set_alloc(t, 1);

	assert_non_null(s);
	memset(s->path, 0, sizeof(s->path[0]));
	s->eligible = 1;
	s->path[0].time_s = value;
	return s;
}

static struct dest_id
put(struct dest_table *t, uint32_t addr, uint8_t len, uint64_t sequence, uint32_t value)
{
	struct prefix p = test_prefix(addr, len);
	struct dest_id id;

	assert_int_equal(dest_get(t, &p, &id), 0);
	dest_publish(t, id, one_path(t, value), sequence);
	return id;
}

static void
reclaim_often(struct dest_table *t, uint64_t safe)
{
	for (unsigned i = 0; i < 8; i++)
		dest_reclaim(t, safe);
}

static void
an_id_waits_for_cursors_and_readers(void **state)
{
	struct rib_test base;
	struct dest_table *t;
	struct dest_id a, b;
	struct dest_view v;
	const struct path_set *seen;
	unsigned reader;

	rib_test_begin(&base);
	assert_int_equal(qsbr_register(base.readers, &reader), 0);
	assert_int_equal(dest_table_create(base.arena, base.readers, test_afi, &t), 0);
	a = put(t, 0x0a000000, 8, 1, 100);
	qsbr_online(base.readers, reader);
	assert_true(dest_peek(t, a, &v));
	seen = v.paths;
	dest_publish(t, a, NULL, 2);
	/* a cursor is still before the tombstone */
	reclaim_often(t, 2);
	assert_true(dest_peek(t, a, &v));
	assert_null(v.paths);
	assert_int_equal(v.sequence, 2);
	assert_int_equal(dest_tombstones(t), 1);
	assert_int_equal(seen->path[0].time_s, 100);
	/* the cursor passed, but the reader is not quiescent: removed, and the id is not reused */
	reclaim_often(t, 3);
	assert_false(dest_peek(t, a, &v));
	assert_int_equal(dest_tombstones(t), 0);
	b = put(t, 0x0b000000, 8, 3, 101);
	assert_int_not_equal(b.v, a.v);
	assert_int_equal(seen->path[0].time_s, 100);
	qsbr_quiescent(base.readers, reader);
	reclaim_often(t, 3);
	b = put(t, 0x0c000000, 8, 4, 102);
	assert_int_equal(b.v, a.v);
	/* a revived tombstone is not counted */
	dest_publish(t, b, NULL, 5);
	assert_int_equal(put(t, 0x0c000000, 8, 6, 103).v, b.v);
	reclaim_often(t, 100);
	assert_true(dest_peek(t, b, &v));
	assert_non_null(v.paths);
	qsbr_offline(base.readers, reader);
	qsbr_unregister(base.readers, reader);
	dest_table_destroy(t);
	rib_test_end(&base);
}

static void
what_is_never_published_goes(void **state)
{
	struct rib_test base;
	struct dest_table *t;
	struct prefix p = test_prefix(0x0a000000, 8), other;
	struct dest_id id;
	struct dest_view v;

	rib_test_begin(&base);
	assert_int_equal(dest_table_create(base.arena, base.readers, test_afi, &t), 0);
	assert_int_equal(dest_get(t, &p, &id), 0);
	assert_true(dest_peek(t, id, &v));
	assert_null(v.paths);
	assert_int_equal(dest_tombstones(t), 0);
	dest_reclaim(t, 1);
	assert_false(dest_peek(t, id, &v));
	assert_int_equal(dest_find(t, &p).v, DEST_NONE);
	assert_int_equal(
		prefix_parse(test_afi == AFI_IPV4 ? "2001:db8::/32" : "192.0.2.0/24", &other), 0);
	assert_int_equal(dest_get(t, &other, &id), -EINVAL);
	assert_int_equal(dest_get_rd(t, (struct vpn_rd){1}, &p, &id), -EINVAL);
	assert_int_equal(dest_find_rd(t, (struct vpn_rd){1}, &p).v, DEST_NONE);
	assert_int_equal(dest_find(t, &other).v, DEST_NONE);
	dest_table_destroy(t);
	rib_test_end(&base);
}

/* Sequences are compared by their low 32 bits, also across 2^32. */
static void
tombstones_pass_across_the_wrap(void **state)
{
	struct rib_test base;
	struct dest_table *t;
	uint64_t sequence = (1ull << 32) - 8;
	struct dest_id id[16];
	struct dest_view v;

	rib_test_begin(&base);
	assert_int_equal(dest_table_create(base.arena, base.readers, test_afi, &t), 0);
	for (uint32_t i = 0; i < 16; i++)
		id[i] = put(t, i << 8, 24, 1 + i, i);
	for (uint32_t i = 0; i < 16; i++)
		dest_publish(t, id[i], NULL, sequence + i);
	for (uint32_t i = 0; i < 16; i++) {
		dest_reclaim(t, sequence + i);
		assert_int_equal(dest_tombstones(t), 16 - i);
		assert_true(dest_peek(t, id[i], &v));
		assert_true(i == 0 || !dest_peek(t, id[i - 1], &v));
	}
	dest_table_destroy(t);
	rib_test_end(&base);
}

/*
 * A quiet publish keeps the old sequence; a tombstone that never was in the journal waits for no
 * consumer.
 */
static void
what_is_quiet_has_no_sequence_of_its_own(void **state)
{
	struct prefix p = test_prefix(0x0b000000, 8);
	struct rib_test base;
	struct dest_table *t;
	struct dest_id a, b;
	struct dest_view v;

	rib_test_begin(&base);
	assert_int_equal(dest_table_create(base.arena, base.readers, test_afi, &t), 0);
	assert_int_equal(dest_get(t, &p, &b), 0);
	dest_publish(t, b, one_path(t, 1), 0);
	assert_int_equal(dest_count(t), 1);
	reclaim_often(t, 1000);
	assert_int_equal(dest_find(t, &p).v, b.v);
	a = put(t, 0x0a000000, 8, 5, 100);
	dest_publish(t, a, NULL, 6);
	dest_publish(t, a, one_path(t, 101), 0);
	dest_publish(t, a, one_path(t, 102), 0);
	assert_int_equal(dest_tombstones(t), 0);
	assert_int_equal(dest_path_count(t), 2);
	dest_publish(t, a, NULL, 0);
	dest_publish(t, b, NULL, 0);
	assert_true(dest_peek(t, a, &v));
	assert_null(v.paths);
	assert_int_equal(v.sequence, 6);
	assert_int_equal(dest_tombstones(t), 1);
	assert_int_equal(dest_count(t) + dest_path_count(t), 0);
	reclaim_often(t, 6);
	assert_false(dest_peek(t, b, &v));
	assert_true(dest_peek(t, a, &v));
	reclaim_often(t, (1ull << 31) + 10);
	assert_false(dest_peek(t, a, &v));
	assert_int_equal(dest_tombstones(t), 0);
	dest_table_destroy(t);
	rib_test_end(&base);
}

/* ---- memory after a withdrawal ---- */

#define MANY 20000u /* several segments, and an index of 2^15 slots */

static uint32_t
many_addr(uint32_t i)
{
	return 0x0a000000 | i << 4;
}

/* A thousand VPN instances have tables with few routes. */
static void
ten_routes_take_little_memory(void **state)
{
	for (unsigned vpn = 0; vpn < 2; vpn++) {
		struct rib_test base;
		struct dest_table *t;
		uint64_t sequence = 0, safe;
		struct dest_view v;
		size_t before;

		rib_test_begin(&base);
		before = arena_bytes(base.arena);
		assert_int_equal((vpn ? dest_table_create_vpn : dest_table_create)(
					 base.arena, base.readers, test_afi, &t),
			0);
		for (unsigned round = 0; round < 3; round++) {
			for (uint32_t i = 0; i < 10; i++)
				put(t, many_addr(i + round), 28, ++sequence, i);
			dest_publish(t, (struct dest_id){round}, NULL, ++sequence);
			assert_false(dest_at_rest(t));
			safe = sequence;
			/* a cursor is still before the tombstone */
			reclaim_often(t, safe);
			assert_false(dest_at_rest(t));
			reclaim_often(t, safe + 1);
			assert_true(dest_at_rest(t));
			assert_true(dest_table_bytes(t) <= arena_bytes(base.arena) - before);
			assert_true(arena_bytes(base.arena) - before <= 8192);
			/* ids without memory are safe */
			for (uint32_t id = dest_limit(t); id < 2048; id++)
				assert_false(dest_peek(t, (struct dest_id){id}, &v));
		}
		dest_table_destroy(t);
		rib_test_end(&base);
	}
}

/* Withdraws destinations `from` to before `end`, except `kept`. */
static void
withdraw_many(struct dest_table *t, uint32_t from, uint32_t end, uint32_t kept, uint64_t *sequence)
{
	for (uint32_t i = from; i < end; i++) {
		struct prefix p = test_prefix(many_addr(i), 28);

		if (i != kept)
			dest_publish(t, dest_find(t, &p), NULL, ++*sequence);
	}
	/* ids wait in two lists, one after the other */
	for (unsigned idle = 0; idle < 8;)
		idle = dest_reclaim(t, *sequence + 1) ? 0 : idle + 1;
}

static void
a_withdrawal_frees_segments_and_index(void **state)
{
	struct rib_test base;
	struct dest_table *t;
	size_t empty, full, bytes;
	uint64_t sequence = 0;
	struct dest_id ids[MANY], id;
	struct dest_view v;

	rib_test_begin(&base);
	assert_int_equal(dest_table_create(base.arena, base.readers, test_afi, &t), 0);
	put(t, many_addr(0), 28, ++sequence, 1);
	withdraw_many(t, 0, 1, DEST_NONE, &sequence);
	empty = dest_table_bytes(t);
	for (unsigned round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < MANY; i++)
			ids[i] = put(t, many_addr(i), 28, ++sequence, i);
		full = dest_table_bytes(t);
		/* ids are dense, and in the order of arrival after each withdrawal of all */
		assert_int_equal(dest_limit(t), MANY);
		for (uint32_t i = 0; i < MANY; i++)
			assert_int_equal(ids[i].v, i);
		/* one destination in the middle keeps the ids below, not their memory */
		withdraw_many(t, 0, MANY, MANY / 2, &sequence);
		assert_true(dest_limit(t) > MANY / 2 && dest_limit(t) < MANY);
		bytes = dest_table_bytes(t) - empty;
		assert_true(bytes < (full - empty) / 4);
		for (uint32_t i = 0; i < MANY; i++)
			assert_int_equal(dest_peek(t, ids[i], &v), i == MANY / 2);
		/* a new destination needs no new segment */
		id = put(t, 0x0b000000, 28, ++sequence, 7);
		assert_true(id.v < MANY);
		assert_true(dest_table_bytes(t) - empty < bytes + 100);
		assert_true(dest_peek(t, ids[MANY / 2], &v));
		assert_int_equal(v.paths->path[0].time_s, MANY / 2);
		dest_publish(t, id, NULL, ++sequence);
		withdraw_many(t, MANY / 2, MANY / 2 + 1, DEST_NONE, &sequence);
		assert_int_equal(dest_limit(t), 0);
		assert_int_equal(dest_table_bytes(t), empty);
	}
	dest_table_destroy(t);
	rib_test_end(&base);
}

/* A table returns while a smaller index is being filled: the smaller index has no room for it. */
static void
a_table_returns_while_the_index_shrinks(void **state)
{
	struct rib_test base;
	struct dest_table *t;
	uint64_t sequence = 0;

	rib_test_begin(&base);
	assert_int_equal(dest_table_create(base.arena, base.readers, test_afi, &t), 0);
	for (unsigned round = 0; round < 8; round++) {
		for (uint32_t i = 0; i < 5 * MANY; i++)
			put(t, many_addr(i), 28, ++sequence, i);
		for (uint32_t i = 0; i < 5 * MANY; i++) {
			struct prefix p = test_prefix(many_addr(i), 28);

			dest_publish(t, dest_find(t, &p), NULL, ++sequence);
		}
		while (dest_limit(t) > 0)
			(void)dest_reclaim(t, sequence + 1);
		for (unsigned i = 0; i < round * 8; i++)
			(void)dest_reclaim(t, sequence + 1);
		for (uint32_t i = 0; i < MANY; i++)
			put(t, many_addr(i), 28, ++sequence, i + round);
		for (uint32_t i = 0; i < MANY; i++) {
			struct prefix p = test_prefix(many_addr(i), 28);
			struct dest_id id = dest_find(t, &p);
			struct dest_view v;

			assert_true(dest_peek(t, id, &v));
			assert_true(prefix_equal(&v.prefix, &p));
			assert_int_equal(v.paths->path[0].time_s, i + round);
		}
		assert_int_equal(dest_count(t), MANY);
	}
	dest_table_destroy(t);
	rib_test_end(&base);
}

/* Ids that are withdrawn and reused while most destinations stay: no id above the highest in use. */
static void
ids_come_from_the_lowest_segment(void **state)
{
	struct rib_test base;
	struct dest_table *t;
	uint64_t sequence = 0;

	rib_test_begin(&base);
	assert_int_equal(dest_table_create(base.arena, base.readers, test_afi, &t), 0);
	for (uint32_t i = 0; i < MANY; i++)
		put(t, many_addr(i), 28, ++sequence, i);
	for (uint32_t i = 0; i < MANY; i += 100)
		withdraw_many(t, i, i + 50, DEST_NONE, &sequence);
	for (uint32_t i = 0; i < MANY / 2; i++)
		assert_true(put(t, 0x0b000000 | i << 4, 28, ++sequence, i).v < MANY);
	assert_int_equal(dest_limit(t), MANY);
	assert_int_equal(put(t, 0x0c000000, 28, ++sequence, 1).v, MANY);
	for (uint32_t i = 50; i < MANY; i += 100) {
		struct prefix p = test_prefix(many_addr(i), 28);
		struct dest_id id = dest_find(t, &p);

		assert_int_equal(id.v, i);
	}
	dest_table_destroy(t);
	rib_test_end(&base);
}

/* ---- readers beside the owner ---- */

#define STABLE 2000 /* always present: 10.x.y.0/24 */
/* inserted and removed, so that the index grows and is rebuilt: 11.x.y.z/32 */
#define CHURN thread_turns(30000u, 4000u)
#define STAMP(addr) ((addr)*2654435761u)

struct shared {
	struct rib_test base;
	struct dest_table *table;
	_Atomic bool stop;
	_Atomic uint32_t there; /* of a growing table: destinations */
};

struct reader {
	struct shared *shared;
	uint64_t random, bad, found, looks;
};

/*
 * A view has the requested prefix and its paths, and an id keeps its prefix while the reader is
 * online.
 */
static bool
look_is_good(struct reader *r, const struct prefix *p, bool stable)
{
	const struct dest_table *t = r->shared->table;
	struct dest_id id = dest_find(t, p);
	struct dest_view v;

	if (id.v == DEST_NONE)
		return !stable;
	for (unsigned i = 0; i < 3; i++) {
		if (!dest_peek(t, id, &v))
			return !stable;
		if (!prefix_equal(&v.prefix, p))
			return false;
		if (v.paths == NULL && stable)
			return false;
		if (v.paths != NULL && v.paths->path[0].time_s != STAMP(test_number(p)))
			return false;
	}
	r->found += !stable;
	return true;
}

static bool
longest_is_good(struct reader *r, uint32_t addr)
{
	struct ip_addr a = test_addr(addr | 77);
	struct dest_view v;
	struct dest_id id = dest_longest(r->shared->table, &a, &v);

	return id.v != DEST_NONE && v.prefix.len == test_len(24) && prefix_contains(&v.prefix, &a);
}

static bool
scan_is_good(struct reader *r)
{
	const struct dest_table *t = r->shared->table;
	uint32_t limit = dest_limit(t), stable = 0;
	struct dest_view v;

	for (uint32_t id = 0; id < limit; id++) {
		if (!dest_peek(t, (struct dest_id){id}, &v))
			continue;
		if (v.paths != NULL && v.paths->path[0].time_s != STAMP(test_number(&v.prefix)))
			return false;
		stable += v.paths != NULL && v.prefix.len == test_len(24);
	}
	return stable == STABLE;
}

static void *
read_table(void *arg)
{
	struct reader *r = arg;
	struct qsbr *q = r->shared->base.readers;
	unsigned id;

	assert_int_equal(qsbr_register(q, &id), 0);
	qsbr_online(q, id);
	do {
		uint32_t stable = 0x0a000000 | random_below(&r->random, STABLE) << 8;
		struct prefix p = test_prefix(stable, 24);
		struct prefix c = test_prefix(0x0b000000 | random_below(&r->random, CHURN), 32);

		r->bad += !look_is_good(r, &p, true);
		r->bad += !look_is_good(r, &c, false);
		r->bad += !longest_is_good(r, stable);
		if (r->looks++ % 1024 == 0)
			r->bad += !scan_is_good(r);
		qsbr_quiescent(q, id);
	} while (!atomic_load_explicit(&r->shared->stop, memory_order_relaxed));
	qsbr_offline(q, id);
	qsbr_unregister(q, id);
	return NULL;
}

/* Withdraws all destinations that come and go; their segments are freed beside the readers. */
static void
end_of_wave(struct dest_table *t, uint64_t *sequence)
{
	for (uint32_t i = 0; i < CHURN; i++) {
		struct prefix p = test_prefix(0x0b000000 | i, 32);
		struct dest_id id = dest_find(t, &p);

		if (id.v != DEST_NONE)
			dest_publish(t, id, NULL, ++*sequence);
	}
	for (unsigned i = 0; dest_limit(t) > 2 * STABLE; i++) {
		assert_true(i < 10000000);
		if (!dest_reclaim(t, *sequence + 1))
			(void)sched_yield();
	}
}

static void
readers_beside_the_owner(void **state)
{
	struct shared s = {.stop = false};
	struct reader reader[2];
	pthread_t thread[2];
	uint64_t random = 5, sequence = 0;
	const unsigned wave = thread_turns(50000, 7000);

	rib_test_begin(&s.base);
	assert_int_equal(dest_table_create(s.base.arena, s.base.readers, test_afi, &s.table), 0);
	for (uint32_t i = 0; i < STABLE; i++)
		put(s.table, 0x0a000000 | i << 8, 24, ++sequence, STAMP(0x0a000000 | i << 8));
	for (unsigned i = 0; i < 2; i++) {
		reader[i] = (struct reader){.shared = &s, .random = i};
		assert_int_equal(pthread_create(&thread[i], NULL, read_table, &reader[i]), 0);
	}
	for (unsigned n = 0; n < 4 * wave * test_size(1, 2); n++) {
		/* waves of growing and shrinking */
		uint32_t addr = 0x0b000000 | random_below(&random, CHURN);
		bool shrink = n / wave % 2 == 1;
		struct prefix p = test_prefix(addr, 32);
		struct dest_id id = dest_find(s.table, &p);

		if (random_below(&random, 8) == 0)
			put(s.table, 0x0a000000 | (n % STABLE) << 8, 24, ++sequence,
				STAMP(0x0a000000 | (n % STABLE) << 8));
		if ((random_below(&random, 8) == 0) == shrink)
			put(s.table, addr, 32, ++sequence, STAMP(addr));
		else if (id.v != DEST_NONE)
			dest_publish(s.table, id, NULL, ++sequence);
		if (n % 32 == 0)
			dest_reclaim(s.table, sequence > 100 ? sequence - 100 : 0);
		if (n % (2 * wave) == 2 * wave - 1)
			end_of_wave(s.table, &sequence);
	}
	atomic_store(&s.stop, true);
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(thread[i], NULL);
		print_message("reader: %llu looks, %llu found what comes and goes\n",
			(unsigned long long)reader[i].looks, (unsigned long long)reader[i].found);
		assert_int_equal(reader[i].bad, 0);
	}
	dest_table_destroy(s.table);
	rib_test_end(&s.base);
}

/* ---- readers beside a table that grows from nothing ---- */

static void *
read_table_growing(void *arg)
{
	struct reader *r = arg;
	struct qsbr *q = r->shared->base.readers;
	unsigned id;

	assert_int_equal(qsbr_register(q, &id), 0);
	qsbr_online(q, id);
	do {
		uint32_t there = atomic_load(&r->shared->there);

		for (unsigned i = 0; i < 16 && there > 0; i++) {
			uint32_t addr = 0x0a000000 | random_below(&r->random, there) << 8;
			struct prefix p = test_prefix(addr, 24);

			r->bad += !look_is_good(r, &p, true);
		}
		qsbr_quiescent(q, id);
	} while (!atomic_load_explicit(&r->shared->stop, memory_order_relaxed));
	qsbr_offline(q, id);
	qsbr_unregister(q, id);
	return NULL;
}

static void
readers_beside_a_growing_table(void **state)
{
	for (unsigned round = 0; round < 8; round++) {
		struct shared s = {.stop = false};
		struct reader reader = {.shared = &s, .random = round};
		uint64_t sequence = 0;
		pthread_t thread;

		rib_test_begin(&s.base);
		assert_int_equal(
			dest_table_create(s.base.arena, s.base.readers, test_afi, &s.table), 0);
		assert_int_equal(pthread_create(&thread, NULL, read_table_growing, &reader), 0);
		for (uint32_t i = 0; i < STABLE; i++) {
			uint32_t addr = 0x0a000000 | i << 8;

			put(s.table, addr, 24, ++sequence, STAMP(addr));
			atomic_store(&s.there, i + 1);
			/* a change of a destination after the copy of the segment */
			addr = 0x0a000000 | (i / 2) << 8;
			put(s.table, addr, 24, ++sequence, STAMP(addr));
			if (i % 8 == 0)
				dest_reclaim(s.table, sequence);
		}
		atomic_store(&s.stop, true);
		pthread_join(thread, NULL);
		assert_int_equal(reader.bad, 0);
		dest_table_destroy(s.table);
		rib_test_end(&s.base);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		one_thread_test(an_id_waits_for_cursors_and_readers),
		one_thread_test(what_is_never_published_goes),
		one_thread_test(tombstones_pass_across_the_wrap),
		one_thread_test(what_is_quiet_has_no_sequence_of_its_own),
		one_thread_test(ten_routes_take_little_memory),
		one_thread_test(a_withdrawal_frees_segments_and_index),
		one_thread_test(a_table_returns_while_the_index_shrinks),
		one_thread_test(ids_come_from_the_lowest_segment),
		cmocka_unit_test(readers_beside_the_owner),
		cmocka_unit_test(readers_beside_a_growing_table),
	};

	const struct CMUnitTest both[] = {
		one_thread_test(ipv4_agrees_with_a_sorted_array),
		one_thread_test(ipv6_agrees_with_a_sorted_array),
		one_thread_test(vpnv4_agrees_with_a_sorted_array),
		one_thread_test(vpnv6_agrees_with_a_sorted_array),
	};
	int failed;

	role_enter_rib();
	failed = cmocka_run_group_tests_name("both", both, NULL, NULL);
	failed += cmocka_run_group_tests_name("IPv4", tests, NULL, NULL);
	test_afi = AFI_IPV6;
	return failed + cmocka_run_group_tests_name("IPv6", tests, NULL, NULL);
}
