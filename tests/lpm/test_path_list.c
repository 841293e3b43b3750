/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/path_list.h"

#include "lpm/base/arena.h"
#include "lpm/fib_read.h"
#include "lpm/base/qsbr.h"
#include "tests/lpm/one_thread.h"
#include "tests/lpm/rng.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

struct fixture {
	struct arena *arena;
	struct qsbr *qsbr;
	struct path_lists *p;
};

static int
setup(void **state)
{
	static struct fixture f;

	role_enter_fib();
	assert_int_equal(arena_create("path lists", &f.arena), 0);
	assert_int_equal(qsbr_create(f.arena, 8, &f.qsbr), 0);
	assert_int_equal(path_lists_create(f.arena, f.qsbr, &f.p), 0);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	/* a failed test may leave its reader online, which would block all grace periods */
	for (unsigned id = 0; id < 8; id++)
		qsbr_offline(f->qsbr, id);
	path_lists_destroy(f->p);
	qsbr_destroy(f->qsbr);
	assert_int_equal(arena_bytes(f->arena), 0);
	arena_destroy(f->arena);
	return 0;
}

static struct next_hop_id
hop(struct path_lists *p, uint32_t addr, uint16_t port)
{
	struct ip_addr a = addr_from_v4(addr);
	struct next_hop_id id;

	assert_int_equal(next_hop_get(p, VRF_DEFAULT, &a, port, &id), 0);
	return id;
}

static struct adjacency
adjacency(uint16_t port, uint8_t mac)
{
	struct adjacency a = {.ether_len = 14, .port = port, .mtu = 1500};

	memset(a.ether, mac, sizeof(a.ether));
	return a;
}

static uint32_t
adjacency_of(const struct path_lists *p, struct next_hop_id id)
{
	uint64_t w = atomic_load(&next_hops_array(p)[id.v]);

	return w >> 32 == NEXT_HOP_UP ? (uint32_t)w : 0;
}

static enum next_hop_state
state_of(const struct path_lists *p, struct next_hop_id id)
{
	return (enum next_hop_state)(atomic_load(&next_hops_array(p)[id.v]) >> 32);
}

static void
next_hops_by_key(void **state)
{
	struct path_lists *p = ((struct fixture *)*state)->p;
	struct next_hop_id a = hop(p, 1, 0), b = hop(p, 1, 1), c = hop(p, 2, 0), d;
	struct ip_addr addr = addr_from_v4(1), v6;
	struct next_hop_view v;

	assert_int_not_equal(a.v, 0);
	assert_int_not_equal(a.v, b.v);
	assert_int_not_equal(a.v, c.v);
	assert_int_equal(hop(p, 1, 0).v, a.v);
	assert_int_equal(next_hop_get(p, (struct vrf_id){1}, &addr, 0, &d), 0);
	assert_int_not_equal(a.v, d.v);
	assert_int_equal(addr_parse("fe80::2", &v6), 0);
	assert_int_equal(next_hop_get(p, VRF_DEFAULT, &v6, 3, &d), 0);
	assert_true(next_hop_peek(p, d, &v));
	assert_true(addr_equal(&v.addr, &v6));
	assert_int_equal(v.port, 3);
	assert_int_equal(v.state, NEXT_HOP_UNRESOLVED);
	assert_false(next_hop_peek(p, (struct next_hop_id){0}, &v));
	assert_false(next_hop_peek(p, (struct next_hop_id){1000}, &v));
	assert_false(next_hop_peek(p, (struct next_hop_id){UINT32_MAX}, &v));

	next_hop_unref(p, a);
	assert_true(next_hop_peek(p, a, &v)); /* two references */
	next_hop_unref(p, a);
	assert_false(next_hop_peek(p, a, &v));
	/* an unused id cannot be changed */
	assert_int_equal(next_hop_up(p, a, &(struct adjacency){.ether_len = 14}), -EINVAL);
}

static void
one_word_up_and_down(void **state)
{
	struct path_lists *p = ((struct fixture *)*state)->p;
	struct next_hop_id a = hop(p, 1, 0), b = hop(p, 2, 0);
	struct adjacency adj = adjacency(4, 0x11), other = adjacency(4, 0x22),
			 bad = adjacency(4, 1);
	struct next_hop_view v;
	uint32_t first;

	assert_int_equal(next_hop_up(p, a, &adj), 0);
	first = adjacency_of(p, a);
	assert_int_not_equal(first, 0);
	assert_memory_equal(
		&adjacencies_array(p)[first], &adj, offsetof(struct adjacency, mtu_plain));
	assert_int_equal(adjacencies_array(p)[first].mtu, adj.mtu);
	assert_int_equal(adjacencies_array(p)[first].mtu_plain, adj.mtu);
	/* equal content is shared regardless of unused labels; a repeated "up" changes nothing */
	memset(adj.label, 0xee, sizeof(adj.label));
	adj.mtu_plain = 9;
	assert_int_equal(next_hop_up(p, b, &adj), 0);
	assert_int_equal(adjacency_of(p, b), first);
	assert_int_equal(next_hop_up(p, a, &adj), 0);
	assert_int_equal(adjacency_of(p, a), first);

	assert_int_equal(next_hop_up(p, a, &other), 0);
	assert_int_not_equal(adjacency_of(p, a), first);
	assert_int_equal(adjacency_of(p, b), first);
	assert_true(next_hop_peek(p, a, &v));
	assert_int_equal(v.state, NEXT_HOP_UP);
	assert_int_equal(v.adjacency.ether[13], 0x22);

	next_hop_down(p, a, NEXT_HOP_DOWN);
	assert_int_equal(state_of(p, a), NEXT_HOP_DOWN);
	assert_int_equal(state_of(p, b), NEXT_HOP_UP);
	assert_true(next_hop_peek(p, a, &v));
	assert_int_equal(v.state, NEXT_HOP_DOWN);
	next_hop_down(p, a, NEXT_HOP_UNRESOLVED);
	assert_int_equal(state_of(p, a), NEXT_HOP_UNRESOLVED);
	next_hop_down(p, b, NEXT_HOP_UP);
	assert_int_equal(state_of(p, b), NEXT_HOP_UP);
	bad.ether_len = 15;
	assert_int_equal(next_hop_up(p, b, &bad), -EINVAL);
	/* with labels: another adjacency, which the loop for plain packets does not take */
	adj.label_count = 2;
	assert_int_equal(next_hop_up(p, b, &adj), 0);
	assert_int_not_equal(adjacency_of(p, b), first);
	assert_int_equal(adjacencies_array(p)[adjacency_of(p, b)].mtu, adj.mtu);
	assert_int_equal(adjacencies_array(p)[adjacency_of(p, b)].mtu_plain, 0);
	adj.label_count = PUSH_LABELS_MAX + 1;
	assert_int_equal(next_hop_up(p, b, &adj), -EINVAL);
}

static void
lists_are_interned(void **state)
{
	struct path_lists *p = ((struct fixture *)*state)->p;
	struct path ab[] = {{hop(p, 1, 0), LABEL_NONE}, {hop(p, 2, 0), LABEL_NONE}};
	struct path ba[] = {ab[1], ab[0]}, labelled[] = {{ab[0].next_hop, 100}, ab[1]};
	struct path_list_id x, y;

	assert_int_equal(path_list_get(p, PATH_LIST_FORWARD, PORT_NONE, ab, 2, &x), 0);
	assert_int_not_equal(x.v, PATH_LIST_NONE);
	assert_int_equal(path_list_get(p, PATH_LIST_FORWARD, PORT_NONE, ab, 2, &y), 0);
	assert_int_equal(x.v, y.v);
	assert_int_equal(path_lists_array(p)[x.v].path_count, 2);
	assert_int_equal(path_lists_array(p)[x.v].path[1].next_hop.v, ab[1].next_hop.v);
	assert_int_equal(path_list_get(p, PATH_LIST_FORWARD, PORT_NONE, ba, 2, &y), 0);
	assert_int_not_equal(x.v, y.v);
	assert_int_equal(path_list_get(p, PATH_LIST_FORWARD, PORT_NONE, ab, 1, &y), 0);
	assert_int_not_equal(x.v, y.v);
	assert_int_equal(path_list_get(p, PATH_LIST_FORWARD, PORT_NONE, labelled, 2, &y), 0);
	assert_int_not_equal(x.v, y.v);
	assert_int_equal(path_lists_array(p)[y.v].kind, PATH_LIST_PUSH);
	assert_int_equal(path_lists_array(p)[x.v].kind, PATH_LIST_FORWARD);
	labelled[0].label = 1u << 20;
	assert_int_equal(path_list_get(p, PATH_LIST_FORWARD, PORT_NONE, labelled, 2, &y), -EINVAL);
	assert_int_equal(path_lists_in_use(p), 4);

	assert_int_equal(path_list_get(p, PATH_LIST_GLEAN, 1, NULL, 0, &x), 0);
	assert_int_equal(path_list_get(p, PATH_LIST_GLEAN, 2, NULL, 0, &y), 0);
	assert_int_not_equal(x.v, y.v);
	assert_int_equal(path_lists_array(p)[y.v].port, 2);
	assert_int_equal(path_list_get(p, PATH_LIST_PUNT, PORT_NONE, NULL, 0, &x), 0);
	assert_int_equal(path_list_get(p, PATH_LIST_BLACKHOLE, PORT_NONE, NULL, 0, &y), 0);
	assert_int_not_equal(x.v, y.v);
	assert_int_equal(path_lists_array(p)[x.v].port, PORT_NONE);
	assert_int_equal(path_lists_in_use(p), 8);
}

static void
senseless_lists_are_refused(void **state)
{
	struct path_lists *p = ((struct fixture *)*state)->p;
	struct path many[PATHS_MAX + 1], gone = {hop(p, 9, 0), LABEL_NONE};
	struct path_list_id id;

	for (unsigned i = 0; i <= PATHS_MAX; i++)
		many[i] = (struct path){hop(p, 100 + i, 0), LABEL_NONE};
	next_hop_unref(p, gone.next_hop);
	assert_int_equal(path_list_get(p, PATH_LIST_FORWARD, PORT_NONE, NULL, 0, &id), -EINVAL);
	assert_int_equal(
		path_list_get(p, PATH_LIST_FORWARD, PORT_NONE, many, PATHS_MAX + 1, &id), -EINVAL);
	assert_int_equal(path_list_get(p, PATH_LIST_FORWARD, PORT_NONE, &gone, 1, &id), -EINVAL);
	assert_int_equal(path_list_get(p, PATH_LIST_GLEAN, PORT_NONE, NULL, 0, &id), -EINVAL);
	assert_int_equal(path_list_get(p, PATH_LIST_PUNT, PORT_NONE, many, 1, &id), -EINVAL);
	assert_int_equal(
		path_list_get(p, (enum path_list_kind)77, PORT_NONE, NULL, 0, &id), -EINVAL);
	assert_int_equal(path_lists_in_use(p), 0);
	assert_int_equal(path_list_get(p, PATH_LIST_FORWARD, PORT_NONE, many, PATHS_MAX, &id), 0);
	assert_int_equal(
		path_list_paths(p, id)[PATHS_MAX - 1].next_hop.v, many[PATHS_MAX - 1].next_hop.v);
}

/* An id and its content stay unchanged until the reader has been quiescent. */
static void
ids_wait_for_readers(void **state)
{
	struct fixture *f = *state;
	struct path_lists *p = f->p;
	struct path path = {hop(p, 1, 0), 55};
	struct adjacency adj = adjacency(1, 0x11);
	struct path_list_id list, next;
	struct next_hop_id other;
	struct next_hop_view v;
	unsigned reader;
	uint32_t a;

	assert_int_equal(next_hop_up(p, path.next_hop, &adj), 0);
	a = adjacency_of(p, path.next_hop);
	assert_int_equal(path_list_get(p, PATH_LIST_FORWARD, PORT_NONE, &path, 1, &list), 0);
	path_list_ref(p, list);
	next_hop_unref(p, path.next_hop); /* the list holds a reference */
	assert_int_equal(qsbr_register(f->qsbr, &reader), 0);
	qsbr_online(f->qsbr, reader);
	path_list_unref(p, list);
	assert_true(next_hop_peek(p, path.next_hop, &v));
	path_list_unref(p, list);
	assert_int_equal(path_lists_in_use(p), 0);
	assert_false(next_hop_peek(p, path.next_hop, &v));

	for (unsigned i = 0; i < 10; i++) {
		struct adjacency more = adjacency(2, (uint8_t)(0x20 + i));

		path_lists_reclaim(p);
		assert_int_equal(path_list_get(p, PATH_LIST_GLEAN, (uint16_t)i, NULL, 0, &next), 0);
		assert_int_not_equal(next.v, list.v);
		other = hop(p, 100 + i, 0);
		assert_int_not_equal(other.v, path.next_hop.v);
		assert_int_equal(next_hop_up(p, other, &more), 0);
		assert_int_not_equal(adjacency_of(p, other), a);
	}
	assert_int_equal(path_lists_array(p)[list.v].path[0].label, 55);
	assert_int_equal(adjacency_of(p, path.next_hop), a);
	assert_int_equal(adjacencies_array(p)[a].ether[0], 0x11);

	qsbr_offline(f->qsbr, reader);
	path_lists_reclaim(p);
	assert_int_equal(path_list_get(p, PATH_LIST_GLEAN, 99, NULL, 0, &next), 0);
	assert_int_equal(next.v, list.v);
	other = hop(p, 200, 0);
	assert_int_equal(other.v, path.next_hop.v);
	assert_int_equal(state_of(p, other), NEXT_HOP_UNRESOLVED);
	adj = adjacency(3, 0x77);
	assert_int_equal(next_hop_up(p, other, &adj), 0);
	assert_int_equal(adjacency_of(p, other), a);
}

static void
full_pools_say_so(void **state)
{
	struct fixture *f = *state;
	struct path_lists *p = f->p;
	struct path_list_id list = {0}, last = {0};
	struct next_hop_id id;
	struct ip_addr a;
	unsigned reader;

	for (unsigned i = 1; i < NEXT_HOP_MAX; i++) {
		struct adjacency adj = {.ether_len = 14, .port = (uint16_t)i, .mtu = 1500};
		struct path path = {hop(p, i, 0), LABEL_NONE};

		assert_int_equal(next_hop_up(p, path.next_hop, &adj), 0);
		assert_int_equal(
			path_list_get(p, PATH_LIST_FORWARD, PORT_NONE, &path, 1, &list), 0);
	}
	a = addr_from_v4(NEXT_HOP_MAX);
	assert_int_equal(next_hop_get(p, VRF_DEFAULT, &a, 0, &id), -ENOSPC);
	assert_int_equal(path_list_get(p, PATH_LIST_PUNT, PORT_NONE, NULL, 0, &last), -ENOSPC);
	/* existing entries are still found */
	id = hop(p, 77, 0);
	assert_int_equal(
		next_hop_up(p, id, &(struct adjacency){.ether_len = 14, .port = 7}), -ENOSPC);
	assert_int_equal(state_of(p, id), NEXT_HOP_UNRESOLVED);

	/* the last id becomes free without help when the readers are quiescent */
	assert_int_equal(qsbr_register(f->qsbr, &reader), 0);
	qsbr_online(f->qsbr, reader);
	path_list_unref(p, list);
	assert_int_equal(path_list_get(p, PATH_LIST_PUNT, PORT_NONE, NULL, 0, &last), -ENOSPC);
	qsbr_quiescent(f->qsbr, reader);
	assert_int_equal(path_list_get(p, PATH_LIST_PUNT, PORT_NONE, NULL, 0, &last), 0);
	assert_int_equal(last.v, list.v);
	qsbr_offline(f->qsbr, reader);
}

/* An id becomes available although many other ids are queued in front. */
static void
a_list_behind_others_comes_back(void **state)
{
	struct path_lists *p = ((struct fixture *)*state)->p;
	struct path path = {hop(p, 1, 0), LABEL_NONE};
	struct path_list_id list, again;

	for (path.label = 1; path.label < PATH_LIST_MAX; path.label++)
		assert_int_equal(
			path_list_get(p, PATH_LIST_FORWARD, PORT_NONE, &path, 1, &list), 0);
	/* each replaces the one before, which becomes unused */
	for (unsigned i = 0; i < 60000; i++) {
		struct adjacency adj = {.ether_len = 14, .port = (uint16_t)i, .mtu = 1500};

		assert_int_equal(next_hop_up(p, path.next_hop, &adj), 0);
	}
	path_list_unref(p, list);
	assert_int_equal(path_list_get(p, PATH_LIST_PUNT, PORT_NONE, NULL, 0, &again), 0);
	assert_int_equal(again.v, list.v);
}

#define KEYS 200

/*
 * Random gets and unrefs are compared with reference counts of the test; at the end all ids are
 * free.
 */
static void
counts_against_a_model(void **state)
{
	struct path_lists *p = ((struct fixture *)*state)->p;
	struct rng rng = rng_seeded(5);
	struct {
		struct path_list_id id;
		unsigned refs;
	} model[KEYS] = {0};
	unsigned in_use = 0;

	for (unsigned i = 0; i < 200000; i++) {
		unsigned k = rng_below(&rng, KEYS);
		struct path path[3];
		struct path_list_id id;

		if (rng_below(&rng, 2) && model[k].refs > 0) {
			path_list_unref(p, model[k].id);
			in_use -= --model[k].refs == 0;
		} else {
			for (unsigned j = 0; j < 3; j++)
				path[j] = (struct path){hop(p, (k + j) % 50, 0), k};
			assert_int_equal(
				path_list_get(p, PATH_LIST_FORWARD, PORT_NONE, path, 3, &id), 0);
			for (unsigned j = 0; j < 3; j++)
				next_hop_unref(p, path[j].next_hop);
			if (model[k].refs > 0)
				assert_int_equal(id.v, model[k].id.v);
			in_use += model[k].refs++ == 0;
			model[k].id = id;
		}
		assert_int_equal(path_lists_in_use(p), in_use);
		if (i % 7 == 0)
			path_lists_reclaim(p);
	}
	for (unsigned k = 0; k < KEYS; k++)
		for (; model[k].refs > 0; model[k].refs--)
			path_list_unref(p, model[k].id);
	assert_int_equal(path_lists_in_use(p), 0);
	for (uint32_t id = 1; id < 1000; id++)
		assert_false(
			next_hop_peek(p, (struct next_hop_id){id}, &(struct next_hop_view){0}));
}

/*
 * Readers follow a published list id to the adjacency while the writer changes MAC addresses and
 * replaces list and next hop together. The label of a list gives the port expected in the next
 * hop's address and adjacency.
 */
#define FLIPS 30000
#define HOPS 16

struct flipping {
	struct path_lists *p;
	struct qsbr *qsbr;
	_Atomic uint32_t current;
	_Atomic bool stop;
	_Atomic unsigned torn, wrong, down, peeked_wrong, peeked;
	_Atomic unsigned looking; /* readers with at least one lookup */
};

static bool
torn(const struct adjacency *a)
{
	for (unsigned i = 1; i < 14; i++)
		if (a->ether[i] != a->ether[0])
			return true;
	return a->ether_len != 14 || a->mtu != 1000 + a->ether[0];
}

static void
read_once(struct flipping *f)
{
	/* acquire: pairs with the release store in publish */
	uint32_t id = atomic_load_explicit(&f->current, memory_order_acquire);
	const struct path_list *l = &path_lists_array(f->p)[id];
	uint64_t w = atomic_load_explicit(
		&next_hops_array(f->p)[l->path[0].next_hop.v], memory_order_acquire);
	const struct adjacency *a = &adjacencies_array(f->p)[(uint32_t)w];

	if (w >> 32 != NEXT_HOP_UP)
		atomic_fetch_add(&f->down, 1);
	else if (torn(a))
		atomic_fetch_add(&f->torn, 1);
	else if (a->port != l->path[0].label)
		atomic_fetch_add(&f->wrong, 1);
}

static void
peek_once(struct flipping *f, uint32_t id)
{
	struct next_hop_view v;

	if (!next_hop_peek(f->p, (struct next_hop_id){id}, &v))
		return;
	atomic_fetch_add(&f->peeked, 1);
	if (v.port != addr_v4(&v.addr) || v.vrf.v != 0)
		atomic_fetch_add(&f->peeked_wrong, 1);
	if (v.state == NEXT_HOP_UP && (torn(&v.adjacency) || v.adjacency.port != v.port))
		atomic_fetch_add(&f->peeked_wrong, 1);
}

static void *
follow(void *arg)
{
	struct flipping *f = arg;
	uint64_t reads = 0;
	unsigned id;

	assert_int_equal(qsbr_register(f->qsbr, &id), 0);
	qsbr_online(f->qsbr, id);
	while (!atomic_load_explicit(&f->stop, memory_order_relaxed)) {
		for (unsigned i = 0; i < 32; i++)
			read_once(f);
		for (uint32_t i = 0; i < HOPS; i++)
			peek_once(f, i);
		qsbr_quiescent(f->qsbr, id);
		if (reads++ == 0)
			atomic_fetch_add(&f->looking, 1);
		if (reads % 64 == 0) {
			qsbr_offline(f->qsbr, id);
			sched_yield();
			qsbr_online(f->qsbr, id);
		}
	}
	qsbr_offline(f->qsbr, id);
	qsbr_unregister(f->qsbr, id);
	return NULL;
}

/* Publishes a new list with a new, resolved next hop, then releases the old list. */
static struct next_hop_id
publish(struct flipping *f, uint16_t port, struct path_list_id *held)
{
	struct path path = {hop(f->p, port, port), port};
	struct adjacency a = adjacency(port, (uint8_t)port);
	struct path_list_id id;

	a.mtu = 1000 + (uint8_t)port;
	assert_int_equal(next_hop_up(f->p, path.next_hop, &a), 0);
	assert_int_equal(path_list_get(f->p, PATH_LIST_FORWARD, PORT_NONE, &path, 1, &id), 0);
	/* release: pairs with the acquire load in read_once */
	atomic_store_explicit(&f->current, id.v, memory_order_release);
	next_hop_unref(f->p, path.next_hop);
	path_list_unref(f->p, *held);
	*held = id;
	return path.next_hop;
}

static void
readers_see_whole_adjacencies(void **state)
{
	struct fixture *fix = *state;
	struct rng rng = rng_seeded(6);
	struct flipping f = {.p = fix->p, .qsbr = fix->qsbr};
	struct path_list_id held = {PATH_LIST_NONE};
	uint16_t port = 1;
	struct next_hop_id hop_id = publish(&f, port, &held);
	pthread_t t[2];

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, follow, &f), 0);
	/* on a busy machine the readers start late */
	for (unsigned i = 0; i < FLIPS || atomic_load(&f.looking) < 2; i++) {
		struct adjacency a = adjacency(port, (uint8_t)rng_next(&rng));

		a.mtu = 1000 + a.ether[0];
		assert_int_equal(next_hop_up(f.p, hop_id, &a), 0);
		if (i % 5 == 0) {
			port = (uint16_t)(1 + rng_below(&rng, 60000));
			hop_id = publish(&f, port, &held);
		}
		path_lists_reclaim(f.p);
		if (i % 32 == 0)
			sched_yield();
	}
	atomic_store(&f.stop, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(atomic_load(&f.torn), 0);
	assert_int_equal(atomic_load(&f.wrong), 0);
	assert_int_equal(atomic_load(&f.down), 0);
	assert_int_equal(atomic_load(&f.peeked_wrong), 0);
	assert_true(atomic_load(&f.peeked) > 0);
}

/* ---- choice among equal paths ---- */

#define FLOWS_A_PATH 400u

/* A group of next hops by address, and a reader of its list. */
struct group {
	uint32_t addr[PATHS_MAX];
	unsigned count;
	struct path_list_id list;
};

static struct fib_reader
reader_of(const struct path_lists *p)
{
	return (struct fib_reader){.path_lists = path_lists_array(p),
		.path_lists_far = path_lists_far_array(p),
		.next_hops = next_hops_array(p),
		.adjacencies = adjacencies_array(p),
		.bounds = BOUNDS_ALL};
}

/* The lists of the fixture hold the next hops; all are up. */
static void
group_get(struct path_lists *p, struct group *g, unsigned backups)
{
	struct path path[LIST_PATHS_MAX];

	for (unsigned i = 0; i < g->count + backups; i++) {
		uint32_t addr = i < g->count ? g->addr[i] : 0x0a000001;
		struct adjacency adj = adjacency((uint16_t)(i & 7), (uint8_t)addr);

		path[i] = (struct path){hop(p, addr, 0), LABEL_NONE};
		assert_int_equal(next_hop_up(p, path[i].next_hop, &adj), 0);
	}
	assert_int_equal(
		path_list_get_backed(p, path, g->count + backups, backups, 0, &g->list), 0);
	for (unsigned i = 0; i < g->count + backups; i++)
		next_hop_unref(p, path[i].next_hop);
}

/* A next hop that a list holds. */
static struct next_hop_id
held(struct path_lists *p, uint32_t addr)
{
	struct next_hop_id id = hop(p, addr, 0);

	next_hop_unref(p, id);
	return id;
}

static uint32_t
flow(unsigned i)
{
	return (uint32_t)hash_mix((uint64_t)i * 0x9e3779b97f4a7c15u);
}

/* The address that the flow takes; 0: no next hop is up. */
static uint32_t
taken(const struct path_lists *p, struct path_list_id list, unsigned i)
{
	const struct fib_reader r = reader_of(p);
	const struct fib_list l = fib_read_head(&r, list.v);
	struct next_hop_view v;
	struct fib_hop to;

	if (!fib_read_path(&r, &l, flow(i), &to))
		return 0;
	assert_true(next_hop_peek(p, to.path.next_hop, &v));
	assert_int_equal(v.state, NEXT_HOP_UP);
	return addr_v4(&v.addr);
}

static unsigned
place_of(const struct group *g, uint32_t addr)
{
	unsigned i = 0;

	while (i < g->count && g->addr[i] != addr)
		i++;
	assert_true(i < g->count);
	return i;
}

/*
 * The number of a path is binomial: 6 standard deviations, for some 20,000 counters. `all`: flows among
 * `parts`.
 */
static void
assert_share(unsigned n, unsigned all, unsigned parts)
{
	double mean = (double)all / parts, is = n, off = is > mean ? is - mean : mean - is;

	assert_true(off * off <= 36 * mean * (1 - 1.0 / parts) + 1);
}

/*
 * Random groups: a lost next hop, whether its word or the list says so, moves its own flows, in equal
 * parts to all others; its return brings them back; the order of the paths means nothing.
 */
static void
only_flows_of_a_lost_path_move(void **state)
{
	struct path_lists *p = ((struct fixture *)*state)->p;
	static uint32_t first[PATHS_MAX * FLOWS_A_PATH];
	struct rng rng = rng_seeded(1);

	for (unsigned round = 0; round < 120; round++) {
		unsigned count = round < PATHS_MAX - 1 ? round + 2
						       : 2 + rng_below(&rng, PATHS_MAX - 1),
			 flows = count * FLOWS_A_PATH, lost = rng_below(&rng, count),
			 backups = round & 1;
		unsigned had[PATHS_MAX] = {0}, got[PATHS_MAX] = {0};
		struct group all = {.count = count}, without, turned = {.count = count};
		uint32_t base = (uint32_t)rng_next(&rng), step = 1 + rng_below(&rng, 300);
		struct next_hop_id id;

		for (unsigned i = 0; i < count; i++)
			all.addr[i] = base + i * step;
		for (unsigned i = 0; i < count; i++)
			turned.addr[i] = all.addr[count - 1 - i];
		without = all;
		without.addr[lost] = without.addr[--without.count];
		group_get(p, &all, backups);
		group_get(p, &without, 0);
		group_get(p, &turned, 0);
		for (unsigned f = 0; f < flows; f++) {
			first[f] = taken(p, all.list, f);
			had[place_of(&all, first[f])]++;
			assert_int_equal(taken(p, turned.list, f), first[f]);
		}
		for (unsigned i = 0; i < count; i++)
			assert_share(had[i], flows, count);
		id = held(p, all.addr[lost]);
		next_hop_down(p, id, NEXT_HOP_DOWN);
		for (unsigned f = 0; f < flows; f++) {
			uint32_t then = taken(p, without.list, f);

			assert_int_equal(taken(p, all.list, f), then);
			if (first[f] == all.addr[lost])
				got[place_of(&all, then)]++;
			else
				assert_int_equal(then, first[f]);
		}
		assert_int_equal(got[lost], 0);
		for (unsigned i = 0; i < count; i++)
			if (i != lost)
				assert_share(got[i], had[lost], count - 1);
		assert_int_equal(
			next_hop_up(p, id, &(struct adjacency){.ether_len = 14, .mtu = 1500}), 0);
		for (unsigned f = 0; f < flows; f++)
			assert_int_equal(taken(p, all.list, f), first[f]);
		for (unsigned i = 0; i < count; i++)
			next_hop_down(p, held(p, all.addr[i]), NEXT_HOP_DOWN);
		assert_int_equal(taken(p, all.list, 0), backups > 0 ? 0x0a000001 : 0);
		path_list_unref(p, all.list);
		path_list_unref(p, without.list);
		path_list_unref(p, turned.list);
		path_lists_reclaim(p);
	}
}

/* A process with other ids, made in another order, chooses alike: after a restart flows stay. */
static void
other_ids_choose_alike(void **state)
{
	struct fixture *f = *state;
	struct path_lists *other;
	struct group here = {.count = 20}, there = {.count = 20};

	assert_int_equal(path_lists_create(f->arena, f->qsbr, &other), 0);
	for (unsigned i = 0; i < 20; i++) {
		here.addr[i] = 0xc0000201 + i;
		there.addr[19 - i] = 0xc0000201 + i;
	}
	for (unsigned i = 0; i < 100; i++)
		(void)hop(other, 0x0b000000 + i, 3);
	group_get(f->p, &here, 0);
	group_get(other, &there, 0);
	for (unsigned i = 0; i < 20 * FLOWS_A_PATH; i++)
		assert_int_equal(taken(f->p, here.list, i), taken(other, there.list, i));
	path_lists_destroy(other);
}

/* One address on two ports, or with two labels: both get their part. */
static void
one_address_twice(void **state)
{
	struct path_lists *p = ((struct fixture *)*state)->p;
	struct path path[3] = {
		{hop(p, 1, 0), LABEL_NONE}, {hop(p, 1, 1), LABEL_NONE}, {hop(p, 1, 0), 20}};
	const struct fib_reader r = reader_of(p);
	struct path_list_id id;
	unsigned n[3] = {0};

	assert_int_equal(path_list_get(p, PATH_LIST_FORWARD, PORT_NONE, path, 3, &id), 0);
	const struct fib_list l = fib_read_head(&r, id.v);

	for (unsigned i = 0; i < 3 * FLOWS_A_PATH; i++)
		n[fib_read_choice(&l, flow(i))]++;
	for (unsigned i = 0; i < 3; i++)
		assert_share(n[i], 3 * FLOWS_A_PATH, 3);
}

/* Lists with paths that forward nothing are counted while they are in use. */
static void
paths_beyond_the_most_are_counted(void **state)
{
	struct path_lists *p = ((struct fixture *)*state)->p;
	struct path path[PATHS_MAX];
	struct path_list_id id, same, full;

	for (unsigned i = 0; i < PATHS_MAX; i++)
		path[i] = (struct path){hop(p, 100 + i, 0), LABEL_NONE};
	assert_int_equal(path_list_get_backed(p, path, PATHS_MAX, 0, 0, &full), 0);
	assert_int_equal(path_lists_left_out(p), 0);
	assert_int_equal(path_list_get_backed(p, path, PATHS_MAX, 0, 3, &id), 0);
	assert_int_equal(path_list_get_backed(p, path, PATHS_MAX, 0, 3, &same), 0);
	assert_int_equal(id.v, same.v);
	assert_int_not_equal(id.v, full.v);
	assert_int_equal(path_lists_array(p)[id.v].left_out, 3);
	assert_int_equal(path_lists_left_out(p), 1);
	path_list_unref(p, id);
	assert_int_equal(path_lists_left_out(p), 1);
	path_list_unref(p, same);
	assert_int_equal(path_lists_left_out(p), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		one_thread_test_in(next_hops_by_key, setup, teardown),
		one_thread_test_in(one_word_up_and_down, setup, teardown),
		one_thread_test_in(lists_are_interned, setup, teardown),
		one_thread_test_in(senseless_lists_are_refused, setup, teardown),
		one_thread_test_in(ids_wait_for_readers, setup, teardown),
		one_thread_test_in(only_flows_of_a_lost_path_move, setup, teardown),
		one_thread_test_in(other_ids_choose_alike, setup, teardown),
		one_thread_test_in(one_address_twice, setup, teardown),
		one_thread_test_in(paths_beyond_the_most_are_counted, setup, teardown),
		one_thread_test_in(full_pools_say_so, setup, teardown),
		one_thread_test_in(a_list_behind_others_comes_back, setup, teardown),
		one_thread_test_in(counts_against_a_model, setup, teardown),
		cmocka_unit_test_setup_teardown(readers_see_whole_adjacencies, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
