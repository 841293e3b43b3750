/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/swap.h"

#include "lpm/base/arena.h"
#include "lpm/base/hash.h"

#include <errno.h>
#include <stdatomic.h>

#define BUCKETS_MIN 64u
#define TIDY_STEP 16384u /* idle labels of one step: all labels in 16 steps */
#define AGAIN_NS UINT64_C(10000000000) /* between two evaluations for want of labels */
#define OWNERS 256u /* buckets; with one owner a configured peer, chains are short */

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

/* Exists while the owner has labels, or waits for some. */
struct owner {
	struct owner *next; /* in the bucket */
	struct swap_owner key;
	struct ip_addr last; /* the peer that asked last, of a group */
	uint32_t labels;
	bool wants; /* a label was refused since the last evaluation */
	uint64_t refused;
};

struct swap {
	struct swap *next; /* in the bucket */
	struct owner *owner; /* whose share has the label */
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
	struct owner *owner[OWNERS];
	uint32_t wanting; /* owners that want labels */
	bool no_memory; /* for a label, since the last evaluation */
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
	for (uint32_t i = 0; i < OWNERS; i++) {
		for (struct owner *o = s->owner[i], *next; o != NULL; o = next) {
			next = o->next;
			arena_free(s->c.arena, o);
		}
	}
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

/* ---- owners ---- */

static struct owner **
owner_at(struct swaps *s, const struct swap_owner *key)
{
	uint64_t h =
		key->dynamic ? hash_words(key->group, 1, 0) : addr_hash(&key->addr, key->addr.zone);
	struct owner **at = &s->owner[h & (OWNERS - 1)];

	while (*at != NULL && ((*at)->key.dynamic != key->dynamic ||
				      (key->dynamic ? (*at)->key.group != key->group
						    : !addr_equal(&(*at)->key.addr, &key->addr))))
		at = &(*at)->next;
	return at;
}

/* NULL: no memory. */
static struct owner *
owner_get(struct swaps *s, const struct swap_owner *key)
{
	struct owner **at = owner_at(s, key);

	if (*at == NULL) {
		*at = arena_calloc(s->c.arena, sizeof(**at));
		if (*at != NULL)
			(*at)->key = *key;
	}
	if (*at != NULL)
		(*at)->last = key->addr;
	return *at;
}

static void
owner_tidy(struct swaps *s, struct owner *o)
{
	struct owner **at;

	if (o->labels > 0 || o->wants)
		return;
	at = owner_at(s, &o->key);
	*at = o->next;
	arena_free(s->c.arena, o);
}

/*
 * One owner has at most half of the labels, a second one half of the rest, and so on: an owner may
 * have as many as are free. So no owner takes all, whatever the order in which they come.
 */
static bool
owner_has_room(const struct swaps *s, const struct owner *o)
{
	uint32_t used = atomic_load_explicit(&s->in_use, memory_order_relaxed),
		 left = used < s->window->count ? s->window->count - used : 0;

	return left > 0 && (o->labels < left || o->labels < SWAP_LEAST);
}

static void
owner_refuse(struct swaps *s, struct owner *o)
{
	o->refused++;
	s->wanting += !o->wants;
	o->wants = true;
	atomic_store_explicit(&s->full, true, memory_order_relaxed);
}

/* ---- labels ---- */

static struct swap **
label_at(const struct swaps *s, uint32_t label)
{
	assert(label >= s->c.first && label <= s->c.last);
	return &s->by_label[label - s->c.first];
}

/*
 * The next free label in the order of the numbers, so that a free label is not used again soon.
 * There is one: owner_has_room(). 0: the free ones are outside the window.
 */
static uint32_t
label_next(struct swaps *s)
{
	uint32_t size = s->c.last - s->c.first + 1;

	for (uint32_t i = s->window->count; i > 0; i--) {
		uint32_t label = s->c.first + (s->window->from - s->c.first + s->next) % size;

		s->next = (s->next + 1) % s->window->count;
		if (*label_at(s, label) == NULL)
			return label;
	}
	return 0;
}

/* NULL: no label for this owner, or no memory. */
static struct swap *
swap_make(struct swaps *s, const struct swap_owner *key, const struct ip_addr *next_hop,
	uint32_t received)
{
	struct owner *o = owner_get(s, key);
	struct swap *e = o != NULL ? arena_calloc(s->c.arena, sizeof(*e)) : NULL, **at;
	uint32_t label = e != NULL && owner_has_room(s, o) ? label_next(s) : 0;

	if (label == 0) {
		if (e != NULL)
			owner_refuse(s, o);
		s->no_memory |= e == NULL;
		if (o != NULL)
			owner_tidy(s, o);
		arena_free(s->c.arena, e);
		return NULL;
	}
	o->labels++;
	e->owner = o;
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

/* The best path of a route may move from one owner to another, with the same pair. */
static void
swap_inherit(struct swaps *s, struct swap *e, const struct swap_owner *key)
{
	struct owner *old = e->owner, *o;

	if (!key->dynamic && key->addr.afi == AFI_NONE)
		return; /* a peer that is unknown by now */
	o = owner_get(s, key);
	if (o == NULL || o == old)
		return;
	o->labels++;
	e->owner = o;
	old->labels--;
	owner_tidy(s, old);
}

uint32_t
swaps_label(struct swaps *s, const struct swap_owner *owner, const struct ip_addr *next_hop,
	uint32_t received)
{
	struct swap *e = *pair_at(s, next_hop, received);

	if (e == NULL)
		e = swap_make(s, owner, next_hop, received);
	else
		swap_inherit(s, e, owner);
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
		(*at)->owner->labels--;
		owner_tidy(s, (*at)->owner);
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

/* True: an owner that wants labels may have one. */
static bool
wanting_has_room(const struct swaps *s)
{
	for (uint32_t i = 0; s->wanting > 0 && i < OWNERS; i++)
		for (const struct owner *o = s->owner[i]; o != NULL; o = o->next)
			if (o->wants && owner_has_room(s, o))
				return true;
	return false;
}

/* The routes of these owners are evaluated again, and may be refused again. */
static void
wants_clear(struct swaps *s)
{
	for (uint32_t i = 0; s->wanting > 0 && i < OWNERS; i++) {
		for (struct owner *o = s->owner[i], *next; o != NULL; o = next) {
			next = o->next;
			if (!o->wants || !owner_has_room(s, o))
				continue;
			o->wants = false;
			s->wanting--;
			owner_tidy(s, o);
		}
	}
	if (s->wanting == 0)
		atomic_store_explicit(&s->full, false, memory_order_relaxed);
}

/* After enough labels became free for a try. */
static bool
evaluate_again(struct swaps *s, uint64_t now_ns)
{
	bool again = s->again || (now_ns >= s->again_ns && (s->no_memory || wanting_has_room(s)));

	if (!again)
		return false;
	wants_clear(s);
	s->no_memory = s->again = false;
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

bool
swaps_owner(struct swaps *s, const struct swap_owner *owner, struct swap_share *out)
{
	const struct owner *o = s != NULL ? *owner_at(s, owner) : NULL;

	*out = (struct swap_share){0};
	if (o == NULL)
		return false;
	*out = (struct swap_share){
		.owner = o->key, .labels = o->labels, .refused = o->refused, .wants = o->wants};
	out->owner.addr = o->last;
	return true;
}

unsigned
swaps_wanting(struct swaps *s, struct swap_share *wanting, struct swap_share *most)
{
	const struct owner *w = NULL, *m = NULL;

	for (uint32_t i = 0; s != NULL && s->wanting > 0 && i < OWNERS; i++) {
		for (const struct owner *o = s->owner[i]; o != NULL; o = o->next) {
			if (o->wants && (w == NULL || o->labels > w->labels))
				w = o;
			if (m == NULL || o->labels > m->labels)
				m = o;
		}
	}
	if (w == NULL)
		return 0;
	(void)swaps_owner(s, &w->key, wanting);
	(void)swaps_owner(s, &m->key, most);
	return s->wanting;
}
