/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Only the inline functions of rte_rcu_qsbr are used. librte_rcu would add the thread registry of
 * rte_rcu_qsbr_check(), for which `used` and qsbr_done() stand here, and would load EAL into a
 * process without a data plane.
 *
 * The retire list starts one grace period per batch instead of one per object. Objects pushed
 * while a batch waits form the next batch. An object therefore waits for at most two grace
 * periods, and a push is one store.
 */
#include "lpm/base/qsbr.h"

#include "lpm/base/arena.h"
#include "lpm/base/inspect.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <rte_rcu_qsbr.h>

#define FULL_BUDGET 64 /* objects freed per call while a full list makes the writer wait */

struct qsbr {
	struct arena *arena;
	unsigned max_readers;
	_Atomic uint64_t used[QSBR_READERS_MAX / 64]; /* bitmap of handles in use */
	/* number of unregistered readers; makes qsbr_unregister visible to TSan, see qsbr_done */
	_Atomic unsigned gone;
	struct rte_rcu_qsbr v; /* followed by a cache line per reader */
};

struct retired {
	retire_fn *fn;
	void *ctx;
	void *p;
};

/* Positions only grow. [head, closed) waits for `token`; [closed, tail) has no grace period yet. */
struct retire_list {
	struct arena *arena;
	struct qsbr *qsbr;
	uint64_t head, closed, tail;
	uint64_t token;
	uint64_t mask;
	uint64_t waits;
	unsigned max;
	struct retired at[];
};

size_t
qsbr_bytes(unsigned max_readers)
{
	return sizeof(struct qsbr) + max_readers * sizeof(struct rte_rcu_qsbr_cnt);
}

int
qsbr_create(struct arena *a, unsigned max_readers, struct qsbr **out)
{
	struct qsbr *q;
	size_t size;

	if (max_readers == 0 || max_readers > QSBR_READERS_MAX)
		return -EINVAL;
	size = qsbr_bytes(max_readers);
	q = arena_alloc_aligned(a, alignof(struct qsbr), size);
	if (q == NULL)
		return -ENOMEM;
	memset(q, 0, size); /* all readers are offline: __RTE_QSBR_CNT_THR_OFFLINE is 0 */
	q->arena = a;
	q->max_readers = max_readers;
	q->v.token = __RTE_QSBR_CNT_INIT;
	q->v.max_threads = max_readers;
	*out = q;
	return 0;
}

void
qsbr_destroy(struct qsbr *q)
{
	if (q != NULL)
		arena_free(q->arena, q);
}

static void
handle_release(struct qsbr *q, unsigned id)
{
	/* release: pairs with the acquire exchange in handle_take */
	atomic_fetch_and_explicit(&q->used[id / 64], ~(1ull << (id % 64)), memory_order_release);
}

static bool
handle_take(struct qsbr *q, unsigned id)
{
	uint64_t bit = 1ull << (id % 64);

	/* acquire: pairs with the release in handle_release; release: pairs with the load in qsbr_done */
	return (atomic_fetch_or_explicit(&q->used[id / 64], bit, memory_order_acq_rel) & bit) == 0;
}

int
qsbr_register(struct qsbr *q, unsigned *id)
{
	for (unsigned i = 0; i < q->max_readers; i++) {
		if (!handle_take(q, i))
			continue;
		*id = i;
		return 0;
	}
	return -ENOSPC;
}

void
qsbr_unregister(struct qsbr *q, unsigned id)
{
	/* the next owner of the handle starts offline */
	rte_rcu_qsbr_thread_offline(&q->v, id);
	/* release: pairs with the load in qsbr_done */
	atomic_fetch_add_explicit(&q->gone, 1, memory_order_release);
	handle_release(q, id);
}

void
qsbr_online(struct qsbr *q, unsigned id)
{
	rte_rcu_qsbr_thread_online(&q->v, id);
}

void
qsbr_offline(struct qsbr *q, unsigned id)
{
	rte_rcu_qsbr_thread_offline(&q->v, id);
}

void
qsbr_quiescent(struct qsbr *q, unsigned id)
{
	rte_rcu_qsbr_quiescent(&q->v, id);
}

uint64_t
qsbr_start(struct qsbr *q)
{
	return rte_rcu_qsbr_start(&q->v);
}

/*
 * Like rte_rcu_qsbr_check(), without the shortcut over the oldest acknowledged token. With several
 * writers, one writer reads the shortcut's word while another writes; trusting the word skips the
 * acquire loads of the readers' counters.
 */
bool
qsbr_done(struct qsbr *q, uint64_t token)
{
	for (unsigned w = 0; w < QSBR_READERS_MAX / 64; w++) {
		/*
		 * acquire: pairs with handle_take; a reader registered after this load sees the
		 * published state
		 */
		uint64_t used = atomic_load_explicit(&q->used[w], memory_order_acquire);

		for (; used != 0; used &= used - 1) {
			unsigned i = w * 64 + (unsigned)__builtin_ctzll(used);
			/*
			 * acquire: pairs with the releases in rte_rcu_qsbr_quiescent and
			 * _thread_offline
			 */
			uint64_t c = __atomic_load_n(&q->v.qsbr_cnt[i].cnt, __ATOMIC_ACQUIRE);

			if (c != 0 && c < token) /* 0: the reader is offline */
				return false;
		}
	}
	/* acquire: pairs with the release in qsbr_unregister */
	(void)atomic_load_explicit(&q->gone, memory_order_acquire);
	return true;
}

void
qsbr_wait(struct qsbr *q, uint64_t token)
{
	while (!qsbr_done(q, token))
		sched_yield();
}

int
retire_list_create(struct arena *a, struct qsbr *q, unsigned max, struct retire_list **out)
{
	struct retire_list *r;
	uint64_t slots = 1;

	if (max == 0)
		return -EINVAL;
	while (slots < max)
		slots *= 2;
	r = arena_alloc_aligned(a, CACHE_LINE, sizeof(*r) + slots * sizeof(r->at[0]));
	if (r == NULL)
		return -ENOMEM;
	*r = (struct retire_list){.arena = a, .qsbr = q, .mask = slots - 1, .max = max};
	*out = r;
	return 0;
}

void
retire_list_destroy(struct retire_list *r)
{
	if (r == NULL)
		return;
	while (r->head != r->tail) {
		qsbr_wait(r->qsbr, qsbr_start(r->qsbr));
		(void)retire_reclaim(r, r->max);
	}
	arena_free(r->arena, r);
}

static void
batch_close(struct retire_list *r)
{
	r->token = qsbr_start(r->qsbr);
	r->closed = r->tail;
}

void
retire_push(struct retire_list *r, retire_fn *fn, void *ctx, void *p)
{
	while (r->tail - r->head >= r->max) {
		r->waits++;
		if (r->head == r->closed)
			batch_close(r);
		qsbr_wait(r->qsbr, r->token);
		(void)retire_reclaim(r, FULL_BUDGET);
	}
	r->at[r->tail & r->mask] = (struct retired){fn, ctx, p};
	r->tail++;
}

unsigned
retire_reclaim(struct retire_list *r, unsigned budget)
{
	unsigned n = 0;

	while (n < budget && r->head != r->tail) {
		uint64_t end;

		if (r->head == r->closed)
			batch_close(r);
		if (!qsbr_done(r->qsbr, r->token))
			break;
		/*
		 * free_fn may push objects and close the next batch, so keep the end of this batch
		 */
		end = r->closed;
		while (n < budget && r->head < end) {
			struct retired e = r->at[r->head & r->mask];

			r->head++;
			n++;
			e.fn(e.ctx, e.p);
		}
	}
	return n;
}

unsigned
retire_pending(const struct retire_list *r)
{
	return (unsigned)(r->tail - r->head);
}

uint64_t
retire_waits(const struct retire_list *r)
{
	return r->waits;
}
