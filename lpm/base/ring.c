/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/base/ring.h"

#include "lpm/base/arena.h"
#include "lpm/base/in_use.h"
#include "lpm/base/inspect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
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
	unsigned slots = 2;
	struct ring *r;
	size_t size;

	if (count == 0 || count > RING_COUNT_MAX)
		return -EINVAL;
	while (slots - 1 < count)
		slots *= 2;
	size = sizeof(*r) + slots * sizeof(void *);
	r = arena_alloc_aligned(a, alignof(struct ring), size);
	if (r == NULL)
		return -ENOMEM;
	memset(r, 0, size);
	r->arena = a;
	/* as rte_ring_init(), without librte_ring: that library loads EAL into a process without a data plane */
	snprintf(r->r.name, sizeof(r->r.name), "%s", name);
	r->r.flags = RING_F_SP_ENQ | RING_F_SC_DEQ;
	r->r.prod.sync_type = r->r.cons.sync_type = RTE_RING_SYNC_ST;
	r->r.size = slots;
	r->r.mask = r->r.capacity = slots - 1;
	*out = r;
	return 0;
}

void
ring_destroy(struct ring *r)
{
	if (r == NULL)
		return;
	in_use_end_all(r);
	arena_free(r->arena, r);
}

bool
ring_push(struct ring *r, void *p)
{
	in_use_begin(p, IN_USE_ENTRY, r); /* first: the receiver may free it at once */
	if (rte_ring_sp_enqueue(&r->r, p) == 0)
		return true;
	in_use_end(p, IN_USE_ENTRY, r);
	return false;
}

void *
ring_pop(struct ring *r)
{
	void *p;

	if (rte_ring_sc_dequeue(&r->r, &p) != 0)
		return NULL;
	in_use_end(p, IN_USE_ENTRY, r);
	return p;
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
