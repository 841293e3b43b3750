/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/base/qsbr.h"

#include "lpm/base/arena.h"
#include "lpm/base/inspect.h"
#include "tests/lpm/rng.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <cmocka.h>

static struct arena *arena;

static int
setup(void **state)
{
	struct qsbr *q;

	assert_int_equal(arena_create("qsbr", &arena), 0);
	assert_int_equal(qsbr_create(arena, 8, &q), 0);
	*state = q;
	return 0;
}

static int
teardown(void **state)
{
	qsbr_destroy(*state);
	assert_int_equal(arena_bytes(arena), 0);
	arena_destroy(arena);
	return 0;
}

static void
limits(void **state)
{
	unsigned id, last;
	struct qsbr *q;

	assert_int_equal(qsbr_create(arena, 0, &q), -EINVAL);
	assert_int_equal(qsbr_create(arena, 129, &q), -EINVAL);
	assert_int_equal(qsbr_create(arena, 128, &q), 0);
	for (unsigned i = 0; i < 128; i++) {
		assert_int_equal(qsbr_register(q, &last), 0);
		assert_true(last < 128);
	}
	assert_int_equal(qsbr_register(q, &id), -ENOSPC);
	qsbr_unregister(q, 77);
	assert_int_equal(qsbr_register(q, &id), 0);
	assert_int_equal(id, 77);
	assert_int_equal(qsbr_register(q, &id), -ENOSPC);
	qsbr_destroy(q);
}

static void
waits_for_whom_it_must(void **state)
{
	struct qsbr *q = *state;
	unsigned a, b, c;
	uint64_t t;

	assert_true(qsbr_done(q, qsbr_start(q))); /* no readers */
	assert_int_equal(qsbr_register(q, &a), 0);
	assert_int_equal(qsbr_register(q, &b), 0);
	assert_true(qsbr_done(q, qsbr_start(q))); /* registered, but offline */

	qsbr_online(q, a);
	qsbr_online(q, b);
	t = qsbr_start(q);
	assert_false(qsbr_done(q, t));
	qsbr_quiescent(q, a);
	assert_false(qsbr_done(q, t));
	qsbr_offline(q, b);
	assert_true(qsbr_done(q, t));

	/* a grace period does not wait for readers that come online later */
	t = qsbr_start(q);
	qsbr_online(q, b);
	assert_false(qsbr_done(q, t));
	qsbr_quiescent(q, a);
	assert_true(qsbr_done(q, t));
	assert_int_equal(qsbr_register(q, &c), 0);
	qsbr_online(q, c);
	assert_true(qsbr_done(q, t));

	/* an unregistered reader blocks nothing; the next reader with its handle starts fresh */
	t = qsbr_start(q);
	qsbr_offline(q, b);
	qsbr_quiescent(q, a);
	assert_false(qsbr_done(q, t));
	qsbr_unregister(q, c);
	assert_true(qsbr_done(q, t));
	assert_int_equal(qsbr_register(q, &c), 0);
	qsbr_offline(q, a);
	assert_true(qsbr_done(q, qsbr_start(q)));
}

#define OBJECTS 1000

struct freed {
	unsigned at[OBJECTS];
	unsigned n;
};

static void
note_freed(void *ctx, void *p)
{
	struct freed *f = ctx;

	f->at[f->n++] = *(unsigned *)p;
}

static void
retired_in_order_after_grace(void **state)
{
	struct qsbr *q = *state;
	static unsigned number[OBJECTS];
	struct freed f = {.n = 0};
	struct retire_list *r;
	unsigned id;

	assert_int_equal(retire_list_create(arena, q, OBJECTS, &r), 0);
	assert_int_equal(qsbr_register(q, &id), 0);
	qsbr_online(q, id);
	for (unsigned i = 0; i < OBJECTS; i++) {
		number[i] = i;
		retire_push(r, note_freed, &f, &number[i]);
		if (i == 300)
			assert_int_equal(retire_reclaim(r, OBJECTS), 0); /* closes a batch of 301 */
	}
	assert_int_equal(retire_pending(r), OBJECTS);
	qsbr_quiescent(q, id);
	assert_int_equal(retire_reclaim(r, 100), 100);
	assert_int_equal(retire_reclaim(r, OBJECTS), 201); /* the rest was pushed later */
	assert_int_equal(retire_reclaim(r, OBJECTS), 0);
	assert_int_equal(retire_pending(r), 699);
	qsbr_offline(q, id);
	assert_int_equal(retire_reclaim(r, OBJECTS), 699);
	assert_int_equal(retire_reclaim(r, OBJECTS), 0);
	assert_int_equal(f.n, OBJECTS);
	for (unsigned i = 0; i < OBJECTS; i++)
		assert_int_equal(f.at[i], i);
	assert_int_equal(retire_waits(r), 0);
	retire_list_destroy(r);
}

struct again {
	struct retire_list *list;
	unsigned left, freed;
};

static void
push_another(void *ctx, void *p)
{
	struct again *a = ctx;

	a->freed++;
	if (a->left > 0) {
		a->left--;
		retire_push(a->list, push_another, ctx, p);
	}
}

/* Like an adjacency retired by a next hop while the next hop is freed. */
static void
free_may_retire_more(void **state)
{
	struct again a = {.left = 500};

	assert_int_equal(retire_list_create(arena, *state, 4, &a.list), 0);
	for (unsigned i = 0; i < 20; i++) {
		retire_push(a.list, push_another, &a, &a);
		assert_true(retire_pending(a.list) <= 4);
	}
	retire_list_destroy(a.list);
	assert_int_equal(a.left, 0);
	assert_int_equal(a.freed, 520);
}

struct reader {
	struct qsbr *qsbr;
	_Atomic bool online, stop;
};

static void *
be_quiescent(void *arg)
{
	struct reader *r = arg;
	unsigned id;

	assert_int_equal(qsbr_register(r->qsbr, &id), 0);
	qsbr_online(r->qsbr, id);
	atomic_store(&r->online, true);
	while (!atomic_load(&r->stop)) {
		sched_yield();
		qsbr_quiescent(r->qsbr, id);
	}
	qsbr_offline(r->qsbr, id);
	qsbr_unregister(r->qsbr, id);
	return NULL;
}

static void
full_list_waits(void **state)
{
	struct reader reader = {.qsbr = *state};
	static unsigned number[OBJECTS];
	struct freed f = {.n = 0};
	struct retire_list *r;
	pthread_t t;

	assert_int_equal(retire_list_create(arena, *state, 10, &r), 0);
	assert_int_equal(pthread_create(&t, NULL, be_quiescent, &reader), 0);
	while (!atomic_load(&reader.online))
		sched_yield();
	for (unsigned i = 0; i < OBJECTS; i++) {
		number[i] = i;
		retire_push(r, note_freed, &f, &number[i]);
		assert_true(retire_pending(r) <= 10);
	}
	assert_true(retire_waits(r) >= 1);
	assert_true(f.n >= OBJECTS - 10);
	retire_list_destroy(r);
	atomic_store(&reader.stop, true);
	pthread_join(t, NULL);
	assert_int_equal(f.n, OBJECTS);
	for (unsigned i = 0; i < OBJECTS; i++)
		assert_int_equal(f.at[i], i);
}

/*
 * Readers follow a pointer that the writer replaces. The old object is overwritten when it is
 * free.
 */
#define READERS 3
#define SWAPS 20000
#define DEAD UINT64_MAX

struct object {
	uint64_t a, b;
};

struct shared {
	struct qsbr *qsbr;
	_Atomic(struct object *) current;
	_Atomic bool stop;
	_Atomic unsigned bad;
	_Atomic uint64_t reads;
};

static void *
read_objects(void *arg)
{
	struct shared *s = arg;
	uint64_t reads = 0, last = 0;
	unsigned id;

	while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
		/* at run time, on any thread */
		assert_int_equal(qsbr_register(s->qsbr, &id), 0);
		qsbr_online(s->qsbr, id);
		for (unsigned i = 0; i < 500; i++) {
			/* acquire: pairs with the release store in replaced_objects_are_never_read */
			struct object *o = atomic_load_explicit(&s->current, memory_order_acquire);
			uint64_t a = o->a;

			if (a == DEAD || o->b != a * 3 || a < last)
				atomic_fetch_add(&s->bad, 1);
			last = a;
			reads++;
			qsbr_quiescent(s->qsbr, id);
			if (i % 50 == 0) {
				qsbr_offline(s->qsbr, id);
				sched_yield();
				qsbr_online(s->qsbr, id);
			}
		}
		qsbr_unregister(s->qsbr, id);
		atomic_fetch_add(&s->reads, reads);
		reads = 0;
	}
	return NULL;
}

static void
kill_object(void *ctx, void *p)
{
	struct object *o = p;

	*o = (struct object){DEAD, DEAD};
	arena_free(ctx, o);
}

static void
replaced_objects_are_never_read(void **state)
{
	static struct shared s;
	struct retire_list *r;
	pthread_t t[READERS];
	struct object *o = arena_calloc(arena, sizeof(*o));

	s = (struct shared){.qsbr = *state};
	atomic_store(&s.current, o);
	assert_int_equal(retire_list_create(arena, *state, 64, &r), 0);
	for (unsigned i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, read_objects, &s), 0);
	/* on a busy machine the readers start late */
	for (uint64_t n = 1; n <= SWAPS || atomic_load(&s.reads) == 0; n++) {
		struct object *old = o;

		o = arena_alloc(arena, sizeof(*o));
		*o = (struct object){n, n * 3};
		/* release: pairs with the acquire load in read_objects */
		atomic_store_explicit(&s.current, o, memory_order_release);
		retire_push(r, kill_object, arena, old);
		(void)retire_reclaim(r, 4);
		if (n % 16 == 0)
			sched_yield();
	}
	atomic_store(&s.stop, true);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(atomic_load(&s.bad), 0);
	assert_true(atomic_load(&s.reads) > 0);
	retire_list_destroy(r);
	arena_free(arena, o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(limits, setup, teardown),
		cmocka_unit_test_setup_teardown(waits_for_whom_it_must, setup, teardown),
		cmocka_unit_test_setup_teardown(retired_in_order_after_grace, setup, teardown),
		cmocka_unit_test_setup_teardown(free_may_retire_more, setup, teardown),
		cmocka_unit_test_setup_teardown(full_list_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(replaced_objects_are_never_read, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
