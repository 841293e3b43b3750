/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by shadow.c (public functions, IPv4) and shadow_v6.c (IPv6): root and counts of the tree.
 * Both include shadow_tree.h after defining their packing of nodes, so each family has its own
 * compiled tree.
 */
#pragma once

#include "lpm/shadow.h"

#define NODE_BYTES 1024

struct shadow {
	struct arena *arena;
	void *root;
	unsigned height; /* number of inner levels above the leaves */
	enum afi afi;
	uint64_t count;
	uint64_t node_count; /* includes spare nodes */
	uint64_t len_mask[3]; /* bit n: some prefix has length n. IPv4 uses only the first word */
	void *spare; /* reserved nodes, linked by their first pointer */
	unsigned spare_count;
	uint32_t len_count[129];
};

/* Counts a prefix of this length, and removes a prefix from the counts. */
static inline void
shadow_len_add(struct shadow *s, unsigned len)
{
	s->count++;
	s->len_count[len]++;
	s->len_mask[len / 64] |= 1ull << len % 64;
}

static inline void
shadow_len_drop(struct shadow *s, unsigned len)
{
	s->count--;
	if (--s->len_count[len] == 0)
		s->len_mask[len / 64] &= ~(1ull << len % 64);
}

/* The functions of shadow.h for AFI_IPV6. */
int shadow_v6_init(struct shadow *s);
void shadow_v6_clear(struct shadow *s);
void shadow_v6_fini(struct shadow *s);
int shadow_v6_set(struct shadow *s, const struct prefix *p, struct path_list_id list, bool waiting);
int shadow_v6_remove(struct shadow *s, const struct prefix *p);
bool shadow_v6_get(const struct shadow *s, const struct prefix *p, struct shadow_entry *out);
void shadow_v6_prefetch(const struct shadow *s, const struct prefix *p);
void shadow_v6_first(const struct shadow *s, struct shadow_cursor *c);
