/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bounded queue of pointers from one producer thread to one consumer thread. Wraps rte_ring in
 * arena memory; rte_ring_init() works without EAL.
 */
#pragma once

#include "lpm/base/base.h"

struct arena;
struct ring;

/*
 * Room for `count` pointers, rounded up to a power of two minus one. Returns 0, -ENOMEM or
 * -EINVAL.
 */
int ring_create(struct arena *a, const char *name, unsigned count, struct ring **out);
void ring_destroy(struct ring *r);

/* Producer. Returns false if the ring is full. */
bool ring_push(struct ring *r, void *p);
/* Consumer. Returns NULL if the ring is empty. */
void *ring_pop(struct ring *r);
