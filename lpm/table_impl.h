/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the tables of both families: the memory mapping of a table, and the allocator for
 * groups of 256 words. Fib thread only. Inline because groups are allocated and freed while
 * painting.
 */
#pragma once

#include "lpm/base/arena.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define GROUP_ENTRIES 256u
#define NO_GROUP UINT32_MAX

struct table_map {
	void *at; /* aligned to a huge page */
	void *map; /* the whole mapping, including bytes skipped for alignment */
	size_t mapped;
	struct arena *in; /* the arena of a mapping in a region, or NULL */
	char *huge_end; /* of the huge pages of a mapping in a region; NULL: no more are wanted */
};

/*
 * Allocator of groups. `base` is the first word of group 0; allocated numbers start at the
 * argument of groups_reset().
 */
struct groups {
	uint32_t *base;
	uint32_t end; /* last number + 1 */
	uint32_t used;
	uint32_t fresh; /* groups from here on have not been used since the last reset */
	uint32_t free_head; /* freed groups, linked by their first word */
	struct table_map *map;
};

static inline size_t
table_map_bytes(size_t bytes)
{
	return (bytes + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
}

static inline int
table_map_huge(struct table_map *m, size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	*m = (struct table_map){.at = p, .map = p, .mapped = bytes};
	return 0;
}

/* Maps normal pages, aligned to a huge page so transparent huge pages can back the mapping. */
static inline int
table_map_small(struct table_map *m, size_t bytes, bool huge)
{
	void *p = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t skip;

	if (p == MAP_FAILED)
		return -ENOMEM;
	skip = -(uintptr_t)p & (HUGE_PAGE - 1);
	*m = (struct table_map){.at = (char *)p + skip, .map = p, .mapped = bytes + HUGE_PAGE};
	if (huge)
		(void)madvise(m->at, bytes, MADV_HUGEPAGE);
	return 0;
}

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1; an older kernel refuses */
#endif

/*
 * The next `bytes` of a mapping in a region, as far as there are some, become huge pages, whatever the
 * kernel's setting for shared memory is. The kernel makes none of a range without any page. Each call may
 * wait until kernel threads of all CPUs have run. Without a free huge page the rest of the mapping has normal
 * pages: a search at each further step would cost the fib thread milliseconds.
 */
static inline void
table_map_collapse(struct table_map *m, size_t bytes)
{
	char *from = m->huge_end, *end = (char *)m->at + m->mapped;

	bytes = table_map_bytes(bytes);
	m->huge_end = bytes < (size_t)(end - from) ? from + bytes : end;
	for (char *at = from; at < m->huge_end; at += HUGE_PAGE)
		__atomic_fetch_or(at, 0, __ATOMIC_RELAXED);
	if (madvise(from, (size_t)(m->huge_end - from), MADV_COLLAPSE) != 0)
		m->huge_end = NULL;
}

/* Takes the memory of a region, with huge pages for the first `resident` bytes. */
static inline int
table_map_in(struct table_map *m, struct arena *a, size_t bytes, size_t resident, bool huge)
{
	void *p = arena_map(a, bytes);

	if (p == NULL)
		return -ENOMEM;
	*m = (struct table_map){
		.at = p, .map = p, .mapped = bytes, .in = a, .huge_end = huge ? p : NULL};
	if (huge)
		table_map_collapse(m, resident);
	return 0;
}

/*
 * Maps zeroed memory. With `huge` the first `resident` bytes are populated now, so workers do not take
 * page faults for the first level.
 */
static inline int
table_map_create(struct table_map *m, struct arena *a, size_t bytes, size_t resident, bool huge)
{
	if (arena_region(a) != NULL) {
		if (table_map_in(m, a, bytes, resident, huge) != 0)
			return -ENOMEM;
	} else if ((!huge || table_map_huge(m, bytes) != 0) &&
		   table_map_small(m, bytes, huge) != 0) {
		return -ENOMEM;
	}
#ifdef MADV_POPULATE_WRITE
	/* before Linux 5.14 the first painting takes these page faults */
	if (huge)
		(void)madvise(m->at, resident, MADV_POPULATE_WRITE);
#endif
	return 0;
}

static inline void
table_map_destroy(struct table_map *m)
{
	if (m->in != NULL)
		arena_unmap(m->in, m->map, m->mapped);
	else
		(void)munmap(m->map, m->mapped);
}

/* Frees all groups; `first` is the lowest number to allocate. */
static inline void
groups_reset(struct groups *g, uint32_t first)
{
	g->used = 0;
	g->fresh = first;
	g->free_head = NO_GROUP;
}

static inline uint32_t *
group_at(const struct groups *g, uint32_t group)
{
	return &g->base[(size_t)group * GROUP_ENTRIES];
}

/* Allocates a group. Returns NO_GROUP if all are in use. */
static inline uint32_t
group_get(struct groups *g)
{
	uint32_t group = g->free_head;

	if (group != NO_GROUP)
		g->free_head = *group_at(g, group);
	else if (g->fresh < g->end)
		group = g->fresh++;
	else
		return NO_GROUP;
	/* in steps of a quarter: few calls for many groups */
	if (g->map->huge_end != NULL && (char *)group_at(g, group) >= g->map->huge_end)
		table_map_collapse(g->map, HUGE_PAGE + (size_t)g->used * GROUP_ENTRIES);
	g->used++;
	return group;
}

static inline void
group_put(struct groups *g, uint32_t group)
{
	*group_at(g, group) = g->free_head;
	g->free_head = group;
	g->used--;
}
