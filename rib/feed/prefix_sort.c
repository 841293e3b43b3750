/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/feed/prefix_sort_impl.h"

#include "lpm/base/arena.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RUN_ITEMS 4096u

/*
 * An item is compared word by word: IPv4 address << 8 | length; IPv6 the two halves of the address,
 * then the length.
 */
#define WORDS_V4 1u
#define WORDS_V6 3u

struct run {
	uint64_t *item;
	unsigned count, at;
};

struct prefix_sort {
	struct arena *arena;
	enum afi afi;
	unsigned words;
	struct run *run;
	unsigned run_count, run_size;
	unsigned *heap; /* runs by their present item; NULL while prefixes are added */
	unsigned heap_count;
	uint64_t last[WORDS_V6];
	bool any; /* `last` was given out */
};

int
prefix_sort_create(struct arena *a, enum afi afi, struct prefix_sort **out)
{
	struct prefix_sort *s = arena_calloc(a, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	s->arena = a;
	s->afi = afi;
	s->words = afi == AFI_IPV6 ? WORDS_V6 : WORDS_V4;
	*out = s;
	return 0;
}

void
prefix_sort_destroy(struct prefix_sort *s)
{
	if (s == NULL)
		return;
	for (unsigned i = 0; i < s->run_count; i++)
		arena_free(s->arena, s->run[i].item);
	arena_free(s->arena, s->run);
	arena_free(s->arena, s->heap);
	arena_free(s->arena, s);
}

static uint64_t
octets_get(const uint8_t b[8])
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 8; i++)
		v = v << 8 | b[i];
	return v;
}

static void
octets_put(uint8_t b[8], uint64_t v)
{
	for (unsigned i = 0; i < 8; i++)
		b[i] = (uint8_t)(v >> (56 - 8 * i));
}

static void
item_pack(const struct prefix_sort *s, const struct prefix *p, uint64_t *item)
{
	if (s->words == WORDS_V4) {
		item[0] = (uint64_t)prefix_v4(p) << 8 | p->len;
		return;
	}
	item[0] = octets_get(p->b);
	item[1] = octets_get(p->b + 8);
	item[2] = p->len;
}

static void
item_unpack(const struct prefix_sort *s, const uint64_t *item, struct prefix *out)
{
	if (s->words == WORDS_V4) {
		*out = prefix_from_v4((uint32_t)(item[0] >> 8), (uint8_t)item[0]);
		return;
	}
	*out = (struct prefix){.afi = AFI_IPV6, .len = (uint8_t)item[2]};
	octets_put(out->b, item[0]);
	octets_put(out->b + 8, item[1]);
}

static int
compare_v4(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return x[0] < y[0] ? -1 : x[0] > y[0];
}

static int
compare_v6(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	for (unsigned i = 0; i < WORDS_V6; i++) {
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	}
	return 0;
}

static void
run_sort(const struct prefix_sort *s, struct run *r)
{
	qsort(r->item, r->count, s->words * sizeof(*r->item),
		s->words == WORDS_V4 ? compare_v4 : compare_v6);
}

/* Appends an empty run. 0, -ENOMEM. */
static int
run_add(struct prefix_sort *s)
{
	struct run *r;

	if (s->run_count == s->run_size) {
		unsigned size = s->run_size != 0 ? 2 * s->run_size : 64;
		struct run *grown = arena_realloc(s->arena, s->run, size * sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		s->run = grown;
		s->run_size = size;
	}
	r = &s->run[s->run_count];
	*r = (struct run){0};
	r->item = arena_alloc(s->arena, RUN_ITEMS * s->words * sizeof(*r->item));
	if (r->item == NULL)
		return -ENOMEM;
	s->run_count++;
	return 0;
}

int
prefix_sort_add(struct prefix_sort *s, const struct prefix *p)
{
	struct run *r = s->run_count > 0 ? &s->run[s->run_count - 1] : NULL;

	if (r == NULL || r->count == RUN_ITEMS) {
		if (run_add(s) != 0)
			return -ENOMEM;
		r = &s->run[s->run_count - 1];
	}
	item_pack(s, p, &r->item[r->count++ * s->words]);
	if (r->count == RUN_ITEMS)
		run_sort(s, r);
	return 0;
}

/* ---- reading ---- */

static const uint64_t *
run_item(const struct prefix_sort *s, unsigned run)
{
	return &s->run[run].item[s->run[run].at * s->words];
}

static bool
is_before(const struct prefix_sort *s, unsigned a, unsigned b)
{
	const uint64_t *x = run_item(s, a), *y = run_item(s, b);

	return (s->words == WORDS_V4 ? compare_v4(x, y) : compare_v6(x, y)) < 0;
}

static void
heap_down(struct prefix_sort *s, unsigned at)
{
	unsigned run = s->heap[at];

	for (unsigned child; (child = 2 * at + 1) < s->heap_count; at = child) {
		if (child + 1 < s->heap_count && is_before(s, s->heap[child + 1], s->heap[child]))
			child++;
		if (!is_before(s, s->heap[child], run))
			break;
		s->heap[at] = s->heap[child];
	}
	s->heap[at] = run;
}

/* Of at least one run. 0, -ENOMEM. */
static int
heap_make(struct prefix_sort *s)
{
	s->heap = arena_alloc(s->arena, s->run_count * sizeof(*s->heap));
	if (s->heap == NULL)
		return -ENOMEM;
	if (s->run[s->run_count - 1].count < RUN_ITEMS)
		run_sort(s, &s->run[s->run_count - 1]);
	s->heap_count = s->run_count;
	for (unsigned i = 0; i < s->run_count; i++)
		s->heap[i] = i;
	for (unsigned i = s->run_count / 2; i-- > 0;)
		heap_down(s, i);
	return 0;
}

static void
heap_next(struct prefix_sort *s)
{
	struct run *r = &s->run[s->heap[0]];

	if (++r->at == r->count) {
		arena_free(s->arena, r->item);
		r->item = NULL;
		s->heap[0] = s->heap[--s->heap_count];
	}
	if (s->heap_count > 0)
		heap_down(s, 0);
}

int
prefix_sort_next(struct prefix_sort *s, struct prefix *out)
{
	if (s->heap == NULL && s->run_count > 0 && heap_make(s) != 0)
		return -ENOMEM;
	while (s->heap_count > 0) {
		const uint64_t *item = run_item(s, s->heap[0]);
		size_t size = s->words * sizeof(*item);
		bool same = s->any && memcmp(s->last, item, size) == 0;

		memcpy(s->last, item, size);
		s->any = true;
		heap_next(s);
		if (same)
			continue;
		item_unpack(s, s->last, out);
		return 1;
	}
	return 0;
}
