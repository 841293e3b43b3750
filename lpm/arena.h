/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A memory arena per subsystem with its byte count. jemalloc arenas; with -Dallocator=libc
 * (sanitizer builds) plain malloc and our own count.
 *
 * Any thread may allocate and free; arena_bytes() is exact when nobody is inside a call. An arena
 * outlives everything allocated from it. Out of memory is NULL, never an abort.
 */
#pragma once

#include "lpm/base.h"

struct arena;

/* `name` is kept by reference (a literal). 0, -ENOMEM. */
int arena_create(const char *name, struct arena **out);
/* Frees the arena; what it still holds is a leak of the caller's and asserts in debug builds. */
void arena_destroy(struct arena *a);
/*
 * What it will get from the system may come in transparent huge pages: less waiting for page tables where one looks here and there in
 * much, and more memory, as it is taken by 2 MB. Before the first allocation; on the thread that makes the arenas.
 */
void arena_use_huge(struct arena *a);

/* `size` in bytes, at least 16-byte aligned. NULL when out of memory. */
void *arena_alloc(struct arena *a, size_t size) __attribute__((malloc));
void *arena_calloc(struct arena *a, size_t size) __attribute__((malloc));
/*
 * The same, each page written: for what may be read before it is. A page that is read first is mapped a second time when it is written, and every CPU
 * that runs the process is interrupted for that.
 */
void *arena_calloc_touched(struct arena *a, size_t size) __attribute__((malloc));
/* `align` is a power of two; `size` is rounded up to it. */
void *arena_alloc_aligned(struct arena *a, size_t align, size_t size) __attribute__((malloc));
/* As realloc(3); on NULL the old block stays. */
void *arena_realloc(struct arena *a, void *p, size_t size);
void arena_free(struct arena *a, void *p);
/* As arena_free(), of something large of which there will be none again soon: its pages go back to the system at once. */
void arena_release(struct arena *a, void *p);
/* Whole pages of a block that will be written before they are read again go back to the system; the block stays. */
void arena_forget(void *p, size_t size);

/*
 * A reserve for the moment when the system gives no more memory: an allocation that would fail frees the arena's reserve, and a common one of
 * address space, and is tried again. Untouched, so it takes no pages. Main fills it, at the start and again when memory is back; true: the
 * reserve is full.
 */
bool arena_reserve(struct arena *a, size_t bytes);
/*
 * fn(ctx) runs on the thread whose allocation failed, in the middle of that allocation: once, then again after arena_short_end(). Main, before
 * other threads allocate.
 */
void arena_on_short(void (*fn)(void *ctx), void *ctx);
/* Any thread: an allocation failed since arena_short_end(). Never without arena_on_short(). */
bool arena_is_short(void);
void arena_short_end(void);

/*
 * Pages freed some ten seconds ago go back to the system. Busy arenas do it by themselves, in passing; quiet ones need somebody who calls
 * this, once a second or so, on a thread that may take milliseconds.
 */
void arena_decay(void);
/* All that is free goes back at once, with what the calling thread keeps in its cache. Takes milliseconds. */
void arena_trim(struct arena *a);

const char *arena_name(const struct arena *a);
/* Bytes allocated now (usable size, without allocator overhead). */
size_t arena_bytes(const struct arena *a);
