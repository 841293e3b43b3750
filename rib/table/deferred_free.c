/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/deferred_free_impl.h"

#include "lpm/base/arena.h"

#include <errno.h>

/*
 * 130,000 waiting objects: more than a shard publishes in the tens of ms that the slowest reader
 * takes.
 */
#define CHUNKS_MAX 256
#define PREFETCH_AHEAD 8

struct deferred_chunk {
	size_t count;
	void *object[DEFERRED_CHUNK];
};

void
deferred_free_init(
	struct deferred_free *l, struct arena *a, struct qsbr *readers, retire_fn *fn, void *ctx)
{
	*l = (struct deferred_free){.arena = a, .readers = readers, .fn = fn, .ctx = ctx};
}

static void
chunk_free(void *ctx, void *p)
{
	struct deferred_free *l = ctx;
	struct deferred_chunk *c = p;

	for (size_t i = 0; i < c->count; i++) {
		if (l->prefetch != NULL && i + PREFETCH_AHEAD < c->count)
			l->prefetch(l->ctx, c->object[i + PREFETCH_AHEAD]);
		l->fn(l->ctx, c->object[i]);
	}
	if (l->spare == NULL)
		l->spare = c;
	else
		arena_free(l->arena, c);
}

static void
chunk_close(struct deferred_free *l)
{
	struct deferred_chunk *c = l->open;

	l->open = NULL;
	retire_push(l->retire, chunk_free, l, c);
}

static bool
chunk_open(struct deferred_free *l)
{
	struct deferred_chunk *c = l->spare;

	if (l->retire == NULL &&
		retire_list_create(l->arena, l->readers, CHUNKS_MAX, &l->retire) < 0)
		return false;
	if (c == NULL)
		c = arena_alloc(l->arena, sizeof(*c));
	else
		l->spare = NULL;
	if (c == NULL)
		return false;
	c->count = 0;
	l->open = c;
	return true;
}

void
deferred_free_push(struct deferred_free *l, void *p)
{
	if (l->open == NULL && !chunk_open(l)) {
		qsbr_wait(l->readers, qsbr_start(l->readers));
		l->fn(l->ctx, p);
		return;
	}
	l->open->object[l->open->count++] = p;
	if (l->open->count == DEFERRED_CHUNK)
		chunk_close(l);
}

bool
deferred_free_reclaim(struct deferred_free *l, unsigned chunks)
{
	unsigned freed;

	if (l->retire == NULL)
		return false;
	freed = retire_reclaim(l->retire, chunks);
	/*
	 * one partial chunk waits at a time, so that loops faster than the readers do not fill the
	 * list
	 */
	if (l->open != NULL && l->open->count > 0 && retire_pending(l->retire) == 0)
		chunk_close(l);
	return freed == chunks;
}

bool
deferred_free_behind(const struct deferred_free *l)
{
	return l->retire != NULL && retire_pending(l->retire) > CHUNKS_MAX / 2;
}

bool
deferred_free_idle(const struct deferred_free *l)
{
	return l->retire == NULL ||
	       ((l->open == NULL || l->open->count == 0) && retire_pending(l->retire) == 0);
}

void
deferred_free_rest(struct deferred_free *l)
{
	if (l->retire == NULL || !deferred_free_idle(l))
		return;
	arena_free(l->arena, l->open);
	arena_free(l->arena, l->spare);
	l->open = l->spare = NULL;
	retire_list_destroy(l->retire);
	l->retire = NULL;
}

void
deferred_free_fini(struct deferred_free *l)
{
	if (l->open != NULL)
		chunk_close(l);
	if (l->retire != NULL)
		retire_list_destroy(l->retire);
	if (l->spare != NULL)
		arena_free(l->arena, l->spare);
	*l = (struct deferred_free){0};
}
