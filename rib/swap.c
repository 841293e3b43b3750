/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/swap.h"

#include "lpm/arena.h"
#include "lpm/hash.h"

#include <errno.h>
#include <stdatomic.h>

#define BUCKETS_MIN 64u
#define TIDY_STEP 16384u /* idle labels of one step: all labels in 16 steps */
#define AGAIN_NS UINT64_C(10000000000) /* between two evaluations for want of labels */

enum swap_state {
	SWAP_ORDERED, /* the first order is not answered */
	SWAP_INSTALLED,
	SWAP_FAILED,
	SWAP_RETRIED, /* ordered again after a failure */
	SWAP_REMOVED, /* the removal is not answered; the pair has no entry any more */
};

/* An idle label has no reference, or had none at the last step. */
enum swap_idle {
	IDLE_NOT,
	IDLE_NEW, /* since the last step */
	IDLE_WAITS, /* withdrawals may be in a stream */
	IDLE_RESTS,
};

struct swap {
	struct swap *next; /* in the bucket */
	struct swap *later; /* in the list of orders, or of failures */
	struct swap *idle_next;
	struct ip_addr next_hop;
	uint32_t received, label, refs;
	uint64_t since_ns; /* IDLE_WAITS, IDLE_RESTS */
	uint8_t state, idle;
	bool listed; /* in the list of idle labels */
	bool leaves; /* failed, and rested: failures_retry() removes the label */
};

struct list {
	struct swap *first, **end;
};

struct swaps {
	struct swaps_config c;
	struct swap **by_label;
	struct swap **bucket;
	uint32_t bucket_count, pairs;
	const struct swap_window *window; /* in use now */
	uint32_t next; /* place in the window where the next allocation begins */
	struct list orders, failures, idle;
	uint32_t idle_count;
	uint64_t asked, done;
	bool wanted; /* swaps_label() found no label */
	bool again; /* a label is installed after a failure, or has failed */
	uint64_t again_ns; /* earliest time of the next evaluation */
	uint64_t restart_ns; /* longest restart time in use */
	/* relaxed: figures */
	_Atomic uint32_t in_use, resting, failed;
	_Atomic bool full;
};

static void
list_init(struct list *l)
{
	l->first = NULL;
	l->end = &l->first;
}

static void
list_put(struct list *l, struct swap *e)
{
	e->later = NULL;
	*l->end = e;
	l->end = &e->later;
}

static struct swap *
list_take(struct list *l)
{
	struct swap *e = l->first;

	if (e == NULL)
		return NULL;
	l->first = e->later;
	if (l->first == NULL)
		l->end = &l->first;
	return e;
}

static void
idle_put(struct swaps *s, struct swap *e)
{
	e->idle_next = NULL;
	e->listed = true;
	*s->idle.end = e;
	s->idle.end = &e->idle_next;
	s->idle_count++;
}

static struct swap *
idle_take(struct swaps *s)
{
	struct swap *e = s->idle.first;

	s->idle.first = e->idle_next;
	if (s->idle.first == NULL)
		s->idle.end = &s->idle.first;
	e->listed = false;
	s->idle_count--;
	return e;
}

/* One thread writes the figures. */
static void
figure_add(_Atomic uint32_t *figure, int n)
{
	atomic_store_explicit(figure,
		atomic_load_explicit(figure, memory_order_relaxed) + (uint32_t)n,
		memory_order_relaxed);
}

int
swaps_create(const struct swaps_config *c, struct swaps **out)
{
	struct swaps *s = arena_calloc(c->arena, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	s->c = *c;
	s->window = c->all_ns == 0 ? &s->c.all : &s->c.fresh;
	list_init(&s->orders);
	list_init(&s->failures);
	list_init(&s->idle);
	s->bucket_count = BUCKETS_MIN;
	s->bucket = arena_calloc(c->arena, s->bucket_count * sizeof(struct swap *));
	s->by_label = arena_calloc(c->arena, (c->last - c->first + 1) * sizeof(struct swap *));
	if (s->bucket == NULL || s->by_label == NULL) {
		swaps_destroy(s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

void
swaps_destroy(struct swaps *s)
{
	if (s == NULL)
		return;
	for (uint32_t i = 0; s->by_label != NULL && i <= s->c.last - s->c.first; i++)
		arena_free(s->c.arena, s->by_label[i]);
	arena_free(s->c.arena, s->by_label);
	arena_free(s->c.arena, s->bucket);
	arena_free(s->c.arena, s);
}

/* ---- pairs ---- */

static uint64_t
pair_hash(const struct ip_addr *next_hop, uint32_t received)
{
	return addr_hash(next_hop, (uint64_t)next_hop->zone << 20 | received);
}

static struct swap **
pair_at(const struct swaps *s, const struct ip_addr *next_hop, uint32_t received)
{
	struct swap **at = &s->bucket[pair_hash(next_hop, received) & (s->bucket_count - 1)];

	while (*at != NULL &&
		((*at)->received != received || !addr_equal(&(*at)->next_hop, next_hop)))
		at = &(*at)->next;
	return at;
}

/* Without memory the chains become longer. */
static void
buckets_grow(struct swaps *s)
{
	uint32_t count = 2 * s->bucket_count;
	struct swap **bucket = arena_calloc(s->c.arena, count * sizeof(struct swap *));

	if (bucket == NULL)
		return;
	for (uint32_t i = 0; i < s->bucket_count; i++) {
		for (struct swap *e = s->bucket[i], *next; e != NULL; e = next) {
			struct swap **at =
				&bucket[pair_hash(&e->next_hop, e->received) & (count - 1)];

			next = e->next;
			e->next = *at;
			*at = e;
		}
	}
	arena_free(s->c.arena, s->bucket);
	s->bucket = bucket;
	s->bucket_count = count;
}

static void
pair_remove(struct swaps *s, struct swap *e)
{
	struct swap **at = &s->bucket[pair_hash(&e->next_hop, e->received) & (s->bucket_count - 1)];

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	s->pairs--;
}

/* ---- labels ---- */

static struct swap **
label_at(const struct swaps *s, uint32_t label)
{
	assert(label >= s->c.first && label <= s->c.last);
	return &s->by_label[label - s->c.first];
}

static bool
labels_free(const struct swaps *s)
{
	return atomic_load_explicit(&s->in_use, memory_order_relaxed) < s->window->count;
}

/*
 * The next free label in the order of the numbers, so that a free label is not used again soon.
 * 0: none.
 */
static uint32_t
label_next(struct swaps *s)
{
	uint32_t size = s->c.last - s->c.first + 1;

	for (uint32_t i = labels_free(s) ? s->window->count : 0; i > 0; i--) {
		uint32_t label = s->c.first + (s->window->from - s->c.first + s->next) % size;

		s->next = (s->next + 1) % s->window->count;
		if (*label_at(s, label) == NULL)
			return label;
	}
	return 0;
}

/* NULL: no label, or no memory. */
static struct swap *
swap_make(struct swaps *s, const struct ip_addr *next_hop, uint32_t received)
{
	struct swap *e = arena_calloc(s->c.arena, sizeof(*e)), **at;
	uint32_t label = e != NULL ? label_next(s) : 0;

	if (label == 0) {
		if (e != NULL)
			atomic_store_explicit(&s->full, true, memory_order_relaxed);
		arena_free(s->c.arena, e);
		s->wanted = true;
		return NULL;
	}
	e->next_hop = *next_hop;
	e->received = received;
	e->label = label;
	e->idle = IDLE_NEW;
	*label_at(s, label) = e;
	if (s->pairs >= s->bucket_count)
		buckets_grow(s);
	at = pair_at(s, next_hop, received);
	*at = e;
	s->pairs++;
	figure_add(&s->in_use, 1);
	figure_add(&s->resting, 1);
	idle_put(s, e);
	list_put(&s->orders, e);
	s->asked++;
	return e;
}

uint32_t
swaps_find(const struct swaps *s, const struct ip_addr *next_hop, uint32_t received)
{
	const struct swap *e = *pair_at(s, next_hop, received);

	return e != NULL && e->state != SWAP_FAILED && e->state != SWAP_RETRIED ? e->label : 0;
}

uint32_t
swaps_label(struct swaps *s, const struct ip_addr *next_hop, uint32_t received)
{
	const struct swap *e = *pair_at(s, next_hop, received);

	if (e == NULL)
		e = swap_make(s, next_hop, received);
	return e != NULL && e->state != SWAP_FAILED && e->state != SWAP_RETRIED ? e->label : 0;
}

void
swaps_hold(struct swaps *s, uint32_t label)
{
	struct swap *e = *label_at(s, label);

	if (e->refs++ > 0)
		return;
	e->idle = IDLE_NOT; /* stays in the list until the next step */
	figure_add(&s->resting, -1);
}

void
swaps_drop(struct swaps *s, uint32_t label)
{
	struct swap *e = *label_at(s, label);

	if (--e->refs > 0)
		return;
	e->idle = IDLE_NEW;
	figure_add(&s->resting, 1);
	if (!e->listed)
		idle_put(s, e);
}

/* ---- orders ---- */

uint64_t
swaps_asked(const struct swaps *s)
{
	return s != NULL ? s->asked : 0;
}

uint64_t
swaps_done(const struct swaps *s)
{
	return s != NULL ? s->done : 0;
}

unsigned
swaps_orders(struct swaps *s, struct swap_order *out, unsigned max)
{
	struct swap *e;
	unsigned n = 0;

	while (n < max && (e = list_take(&s->orders)) != NULL)
		out[n++] = (struct swap_order){.label = e->label,
			.received = e->received,
			.next_hop = e->next_hop,
			.present = e->state != SWAP_REMOVED};
	return n;
}

/* True: the first failure of the label. */
static bool
installed(struct swaps *s, struct swap *e, int result)
{
	bool failed = e->state == SWAP_RETRIED;

	s->done++;
	if (result == 0) {
		s->again |= failed;
		figure_add(&s->failed, failed ? -1 : 0);
		e->state = SWAP_INSTALLED;
		return false;
	}
	s->again |= !failed; /* routes with this label are withdrawn */
	figure_add(&s->failed, failed ? 0 : 1);
	e->state = SWAP_FAILED;
	list_put(&s->failures, e);
	return !failed;
}

bool
swaps_answer(struct swaps *s, const struct swap_order *order, unsigned count)
{
	bool fails = false;

	for (unsigned i = 0; i < count; i++) {
		struct swap **at = label_at(s, order[i].label);

		if (order[i].present) {
			fails |= installed(s, *at, order[i].result);
			continue;
		}
		arena_free(s->c.arena, *at);
		*at = NULL;
		figure_add(&s->in_use, -1);
	}
	return fails;
}

/* ---- rest and release ---- */

void
swaps_restart_time(struct swaps *s, uint32_t restart_s)
{
	uint64_t ns = restart_s * UINT64_C(1000000000);

	if (ns > s->restart_ns)
		s->restart_ns = ns;
}

static void
swap_remove(struct swaps *s, struct swap *e)
{
	figure_add(&s->failed, e->state == SWAP_FAILED ? -1 : 0);
	figure_add(&s->resting, -1);
	e->state = SWAP_REMOVED;
	pair_remove(s, e);
	list_put(&s->orders, e);
}

static void
failures_retry(struct swaps *s)
{
	struct swap *e;

	while ((e = list_take(&s->failures)) != NULL) {
		if (e->leaves) {
			swap_remove(s, e);
			continue;
		}
		e->state = SWAP_RETRIED;
		list_put(&s->orders, e);
		s->asked++;
	}
}

/* True: the label stays in the list. */
static bool
idle_step(struct swaps *s, struct swap *e, uint64_t now_ns, uint64_t passed_ns)
{
	switch ((enum swap_idle)e->idle) {
	case IDLE_NOT:
		return false;
	case IDLE_NEW: /* the withdrawal was made before now */
		e->idle = IDLE_WAITS;
		e->since_ns = now_ns;
		return true;
	case IDLE_WAITS:
		if (e->since_ns >= passed_ns)
			return true;
		e->idle = IDLE_RESTS;
		e->since_ns = now_ns;
		return true;
	case IDLE_RESTS:
		break;
	}
	if (now_ns - e->since_ns < SWAP_REST_NS + s->restart_ns)
		return true;
	e->leaves = e->state == SWAP_FAILED;
	if (e->state == SWAP_INSTALLED)
		swap_remove(s, e);
	return e->state != SWAP_REMOVED && !e->leaves;
}

/* After enough labels became free for a try. */
static bool
evaluate_again(struct swaps *s, uint64_t now_ns)
{
	bool room = labels_free(s);
	bool again = s->again || (s->wanted && room && now_ns >= s->again_ns);

	if (!again)
		return false;
	if (room) {
		s->wanted = false;
		atomic_store_explicit(&s->full, false, memory_order_relaxed);
	}
	s->again = false;
	s->again_ns = now_ns + AGAIN_NS;
	return true;
}

bool
swaps_tidy(struct swaps *s, uint64_t now_ns, uint64_t passed_ns)
{
	unsigned steps = s->idle_count < TIDY_STEP ? s->idle_count : TIDY_STEP;

	if (now_ns >= s->c.all_ns + s->restart_ns && s->window != &s->c.all) {
		s->window = &s->c.all;
		s->next = 0;
	}
	for (; steps > 0; steps--) {
		struct swap *e = idle_take(s);

		if (idle_step(s, e, now_ns, passed_ns))
			idle_put(s, e);
	}
	failures_retry(s);
	return evaluate_again(s, now_ns);
}

void
swaps_figures(const struct swaps *s, struct swaps_figures *out)
{
	*out = (struct swaps_figures){0};
	if (s == NULL)
		return;
	out->in_use = atomic_load_explicit(&s->in_use, memory_order_relaxed);
	out->resting = atomic_load_explicit(&s->resting, memory_order_relaxed);
	out->failed = atomic_load_explicit(&s->failed, memory_order_relaxed);
	out->full = atomic_load_explicit(&s->full, memory_order_relaxed);
}
