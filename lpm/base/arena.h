/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory arenas: one for each subsystem, with a count of allocated bytes. Built on jemalloc
 * arenas; with -Dallocator=libc (sanitizer builds) on malloc and a separate count.
 *
 * Any thread may allocate and free unless a function says otherwise. The owner creates the arena
 * before, and destroys the arena after, all allocations from it. Running out of memory returns
 * NULL and never aborts.
 */
#pragma once

#include "lpm/base/base.h"

struct arena;
struct region;

/* Keeps a pointer to `name`, which must outlive the arena. Returns 0 or -ENOMEM. */
int arena_create(const char *name, struct arena **out);
/*
 * An arena whose blocks are in `r`, which must outlive the arena. arena_use_huge(), arena_reserve()
 * and arena_trim() do nothing there. Returns 0 or -ENOMEM.
 */
int arena_create_in(const char *name, struct region *r, struct arena **out);
/* Destroys the arena. The caller must have freed every block; debug builds assert this. */
void arena_destroy(struct arena *a);
/*
 * Asks the kernel to back the arena with transparent huge pages. Random access to large tables
 * then misses the TLB less often; memory grows in steps of 2 MB. Call on the thread that creates
 * the arenas, before the first allocation.
 */
void arena_use_huge(struct arena *a);

/*
 * Returns a block of `size` bytes, aligned to at least 16 bytes, or NULL. arena_calloc() returns
 * zeroed memory.
 */
void *arena_alloc(struct arena *a, size_t size) __attribute__((malloc));
void *arena_calloc(struct arena *a, size_t size) __attribute__((malloc));
/*
 * Like arena_calloc(), and writes every page. For memory that readers may read before the first
 * write: reading an untouched page maps the shared zero page, and the first write then sends a
 * TLB-shootdown IPI to every CPU that runs the process.
 */
void *arena_calloc_touched(struct arena *a, size_t size) __attribute__((malloc));
/* `align` is a power of two; `size` is rounded up to a multiple of `align`. */
#define ARENA_PAGE 4096u
void *arena_alloc_aligned(struct arena *a, size_t align, size_t size) __attribute__((malloc));
/* Like realloc(3): if it returns NULL, the old block is unchanged. */
void *arena_realloc(struct arena *a, void *p, size_t size);
void arena_free(struct arena *a, void *p);
/*
 * Frees a large block and returns its pages to the system at once. For sizes that will not be
 * allocated again soon.
 */
void arena_release(struct arena *a, void *p);
/*
 * Returns the whole pages inside a block to the system. The block stays allocated; its content is
 * undefined until written again.
 */
void arena_discard(void *p, size_t size);
/*
 * Maps the whole pages inside a block, which will be written soon: a call for many pages is cheaper
 * than a page fault for each. The content stays.
 */
void arena_populate(void *p, size_t size);

/*
 * Returns zeroed memory, aligned to a page, whose pages take no memory until they are written. Not
 * counted by arena_bytes(). NULL: no memory.
 */
void *arena_map(struct arena *a, size_t bytes);
void arena_unmap(struct arena *a, void *p, size_t bytes);
/* The region of an arena, or NULL. */
struct region *arena_region(const struct arena *a);

/*
 * Keeps a reserve for the time when the system is out of memory. A failing allocation frees the
 * reserve of its arena and a piece of address space shared by all arenas, then retries. The
 * reserve is untouched memory and takes no pages. Main calls this at start and again when memory
 * is available. Returns true if the reserve is full.
 */
bool arena_reserve(struct arena *a, size_t bytes);
/*
 * Sets the callback for failed allocations. fn(ctx) runs inside the failing allocation, on its
 * thread: for the first failure, and for the first failure after each arena_short_end(). Main
 * calls this before other threads allocate.
 */
void arena_on_short(void (*fn)(void *ctx), void *ctx);
/*
 * True if an allocation has failed since the last arena_short_end(). Any thread. Always false
 * without arena_on_short().
 */
bool arena_is_short(void);
void arena_short_end(void);

/*
 * Returns pages that were freed about ten seconds ago to the system. Busy arenas do so while
 * allocating; quiet arenas depend on a call about once a second, on a thread that may be blocked
 * for milliseconds.
 */
void arena_decay(void);
/*
 * Returns all free pages of the arena, and the calling thread's cache of free blocks, to the
 * system at once. Takes milliseconds.
 */
void arena_trim(struct arena *a);

/*
 * Number of bytes allocated now: usable sizes, without the allocator's overhead. Exact while no
 * thread is inside an arena function.
 */
size_t arena_bytes(const struct arena *a);
