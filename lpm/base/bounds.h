/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory that pointers in tables may name. keelfwd follows pointers that keeld writes at any time,
 * so the bounds lie in private memory of keelfwd, and each pointer is read once, compared, and used. In
 * the process that owns the tables each pointer is inside.
 *
 * Behind the end of a region, up to the end of its place, there are zeros (lpm/base/region.h). An index from
 * the tables has a type or a mask that keeps it there.
 */
#pragma once

#include "lpm/base/base.h"

struct bounds {
	uint64_t from;
	uint64_t lines; /* of 64 bytes; UINT64_MAX: each pointer is inside */
	const void *nothing; /* zeros, in the place of a pointer that is outside */
};

#define BOUNDS_ALL ((struct bounds){.lines = UINT64_MAX})

/* `from` and `bytes` are multiples of a line; zeros follow. */
static inline struct bounds
bounds_of(const void *from, size_t bytes)
{
	return (struct bounds){.from = (uintptr_t)from,
		.lines = bytes / CACHE_LINE,
		.nothing = (const char *)from + bytes};
}

/*
 * The pointer, or NULL if the pointer is outside or not at the start of a line. A single comparison:
 * turned by six bits, an address inside a line is a large number.
 */
static inline const void *
bounds_check(const struct bounds *b, const void *p)
{
	uint64_t at = (uintptr_t)p - b->from;

	return (at >> 6 | at << 58) < b->lines ? p : NULL;
}

/* Like bounds_check(), with zeros instead of NULL. */
static inline const void *
bounds_or_nothing(const struct bounds *b, const void *p)
{
	uint64_t at = (uintptr_t)p - b->from;

	return (at >> 6 | at << 58) < b->lines ? p : b->nothing;
}

/* True if all `bytes` bytes from `p` on are inside. */
static inline bool
bounds_have(const struct bounds *b, const void *p, size_t bytes)
{
	uint64_t at = (uintptr_t)p - b->from, all = b->lines * CACHE_LINE;

	return bounds_check(b, p) != NULL && bytes <= all && at <= all - bytes;
}

/* A pointer in a table, read once: the compiler must not read the place again after a check. */
#define BOUNDS_READ(b, place)                                                                      \
	((__typeof__(place))bounds_check((b), __atomic_load_n(&(place), __ATOMIC_RELAXED)))

/* The same for a number: from here on the compiler does not know where `x` came from. */
#define READ_ONCE_DONE(x) __asm__("" : "+r"(x))
