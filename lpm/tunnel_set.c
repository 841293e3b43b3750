/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/tunnel_set.h"

#include "lpm/base/arena.h"
#include "lpm/base/qsbr.h"

#include <errno.h>
#include <string.h>

#define RETIRED_MAX 16 /* sets that wait for readers */

struct tunnel_sets {
	struct tunnel_reader reader; /* read by workers */
	struct arena *arena;
	struct retire_list *retired;
};

int
tunnel_sets_create(struct arena *a, struct qsbr *workers, struct tunnel_sets **out)
{
	struct tunnel_sets *s = arena_alloc_aligned(a, CACHE_LINE, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	*s = (struct tunnel_sets){.arena = a};
	if (retire_list_create(a, workers, RETIRED_MAX, &s->retired) < 0) {
		arena_free(a, s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

void
tunnel_sets_destroy(struct tunnel_sets *s)
{
	if (s == NULL)
		return;
	retire_list_destroy(s->retired);
	arena_free(s->arena,
		(void *)(uintptr_t)atomic_load_explicit(&s->reader.set, memory_order_relaxed));
	arena_free(s->arena, s);
}

static void
set_free(void *ctx, void *set)
{
	struct tunnel_sets *s = ctx;

	arena_free(s->arena, set);
}

static void
set_add(struct tunnel_set *set, struct tunnel t)
{
	uint32_t i = tunnel_hash(t) & set->mask;

	while (set->slot[i].remote != 0)
		i = (i + 1) & set->mask;
	set->slot[i] = t;
}

int
tunnel_sets_put(struct tunnel_sets *s, const struct tunnel *t, unsigned count)
{
	struct tunnel_set *set = NULL, *old;
	uint32_t slots = 2;

	if (count > TUNNELS_MAX)
		return -ENOSPC;
	while (slots < 2 * count)
		slots *= 2;
	if (count > 0) {
		size_t bytes = sizeof(*set) + slots * sizeof(set->slot[0]);

		set = arena_alloc_aligned(s->arena, CACHE_LINE, bytes);
		if (set == NULL)
			return -ENOMEM;
		memset(set, 0, bytes);
		set->mask = slots - 1;
	}
	for (unsigned i = 0; i < count; i++)
		set_add(set, t[i]);
	old = (struct tunnel_set *)(uintptr_t)atomic_load_explicit(
		&s->reader.set, memory_order_relaxed);
	/* release: pairs with the acquire in tunnel_known */
	atomic_store_explicit(&s->reader.set, set, memory_order_release);
	if (old != NULL)
		retire_push(s->retired, set_free, s, old);
	(void)retire_reclaim(s->retired, RETIRED_MAX);
	return 0;
}

const struct tunnel_reader *
tunnel_reader(const struct tunnel_sets *s)
{
	return &s->reader;
}
