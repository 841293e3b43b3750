/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks of 16 to SLAB_BLOCK_MAX bytes in size classes of 8 bytes, cut from chunks of 32 KiB. For
 * many blocks of slightly different sizes: an arena rounds sizes to classes of 16 to 64 bytes. A
 * slab has no lock and no thread cache. A chunk without blocks is returned to the arena at once.
 *
 * Owner and user: a single thread. Blocks may be read by any thread until the owner frees them.
 */
#pragma once

#include "lpm/base/base.h"

struct arena;
struct slab_chunk;

#define SLAB_BLOCK_MAX 512u /* larger blocks come from the arena */
#define SLAB_CLASSES (SLAB_BLOCK_MAX / 8 + 1)

struct slab {
	struct arena *arena;
	struct slab_chunk *partial[SLAB_CLASSES]; /* chunks with room, by class */
};

void slab_init(struct slab *s, struct arena *a);
/* Returns a block aligned to 8 bytes, or NULL. */
void *slab_alloc(struct slab *s, size_t size);
/* `size` as in slab_alloc(). */
void slab_free(struct slab *s, void *p, size_t size);
