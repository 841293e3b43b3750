/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bounded ring of pointers: one producer thread, one consumer thread. rte_ring on arena memory
 * (rte_ring_init, which needs no EAL).
 */
#pragma once

#include "lpm/base.h"

struct arena;
struct ring;

/* Holds `count` pointers (rounded up to a power of two minus one, as rte_ring does). 0, -ENOMEM, -EINVAL. */
int ring_create(struct arena *a, const char *name, unsigned count, struct ring **out);
void ring_destroy(struct ring *r);

/* Producer. False when full. */
bool ring_push(struct ring *r, void *p);
/* Consumer. NULL when empty. */
void *ring_pop(struct ring *r);
/* Either side; a snapshot. */
unsigned ring_count(const struct ring *r);
unsigned ring_free_count(const struct ring *r);
