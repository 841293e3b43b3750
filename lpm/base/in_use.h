/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that others reach: a timer that is armed, a watch, a node in a list, an argument of a
 * message on its way, a pointer in a ring. Whoever arms, links or sends says so here, and says when
 * it ends. A block that is freed with such an address in it stops the process at once, in the
 * function that freed it (docs/decisions/0032-whoever-frees-ends-what-is-armed.md).
 *
 * Only in builds for debugging, of which ThreadSanitizer's is none: the lock here would hide races.
 * Elsewhere the functions are empty. Any thread.
 */
#pragma once

#include "lpm/base/base.h"

enum in_use_as { IN_USE_TIMER, IN_USE_WATCH, IN_USE_NODE, IN_USE_MESSAGE, IN_USE_ENTRY };

#if !defined(KEEL_RELEASE) && !defined(__SANITIZE_THREAD__)
#define KEEL_IN_USE
#endif

#ifdef KEEL_IN_USE

/* `owner` reaches `p`: the thread of a timer, the ring of an entry; NULL: in_use_end_all() is not needed. */
void in_use_begin(const void *p, enum in_use_as as, const void *owner);
/* Ends one use; no effect without one. */
void in_use_end(const void *p, enum in_use_as as, const void *owner);
/* The owner is gone, and reaches nothing any more. */
void in_use_end_all(const void *owner);
/* Stops the process if a part of the block is in use. Every function that frees memory calls it. */
void in_use_check(const void *block, size_t size);

#else

static inline void
in_use_begin(const void *p, enum in_use_as as, const void *owner)
{
}
static inline void
in_use_end(const void *p, enum in_use_as as, const void *owner)
{
}
static inline void
in_use_end_all(const void *owner)
{
}
static inline void
in_use_check(const void *block, size_t size)
{
}

#endif
