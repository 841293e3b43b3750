/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/ring.h"

#include "lpm/arena.h"
#include "lpm/inspect.h"

#include <errno.h>
#include <stdio.h>
/*
 * Selects rte_ring's acquire/release variant: same instructions on x86, and ThreadSanitizer
 * understands the variant.
 */
#ifndef RTE_USE_C11_MEM_MODEL
#define RTE_USE_C11_MEM_MODEL 1
#endif
#include <rte_ring.h>

#define RING_COUNT_MAX (1u << 27)

struct ring {
	struct arena *arena;
	struct rte_ring r; /* followed by the slots */
};

int
ring_create(struct arena *a, const char *name, unsigned count, struct ring **out)
{
	char short_name[RTE_RING_NAMESIZE];
	unsigned slots = 2;
	struct ring *r;
	ssize_t size;

	if (count == 0 || count > RING_COUNT_MAX)
		return -EINVAL;
	while (slots - 1 < count)
		slots *= 2;
	size = rte_ring_get_memsize(slots);
	if (size < 0)
		return -EINVAL;
	r = arena_alloc_aligned(a, alignof(struct ring), offsetof(struct ring, r) + (size_t)size);
	if (r == NULL)
		return -ENOMEM;
	snprintf(short_name, sizeof(short_name), "%s", name);
	if (rte_ring_init(&r->r, short_name, slots, RING_F_SP_ENQ | RING_F_SC_DEQ) != 0) {
		arena_free(a, r);
		return -EINVAL;
	}
	r->arena = a;
	*out = r;
	return 0;
}

void
ring_destroy(struct ring *r)
{
	if (r != NULL)
		arena_free(r->arena, r);
}

bool
ring_push(struct ring *r, void *p)
{
	return rte_ring_sp_enqueue(&r->r, p) == 0;
}

void *
ring_pop(struct ring *r)
{
	void *p;

	return rte_ring_sc_dequeue(&r->r, &p) == 0 ? p : NULL;
}

unsigned
ring_count(const struct ring *r)
{
	return rte_ring_count(&r->r);
}

unsigned
ring_free_count(const struct ring *r)
{
	return rte_ring_free_count(&r->r);
}
