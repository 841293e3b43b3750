/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What shadow.c (face, IPv4) and shadow_v6.c share: the tree's root and counts. The tree itself is
 * shadow_tree.h, included by each after it said how its nodes are packed, so each has its own.
 */
#pragma once

#include "lpm/shadow.h"

#define NODE_BYTES 1024

struct shadow {
	struct arena *arena;
	void *root;
	unsigned height; /* inner levels above the leaves */
	enum afi afi;
	uint64_t count;
	uint64_t node_count; /* with spares */
	uint64_t len_mask[3]; /* bit: some prefix has this length; IPv4 needs only the first word */
	void *spare; /* reserved nodes, linked by their first pointer */
	unsigned spare_count;
	uint32_t len_count[129];
};

/* A prefix of this length came, or went. */
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

/* The functions of shadow.h for a shadow of AFI_IPV6. */
int shadow_v6_init(struct shadow *s);
void shadow_v6_clear(struct shadow *s);
void shadow_v6_fini(struct shadow *s);
int shadow_v6_set(struct shadow *s, const struct prefix *p, struct path_list_id list, bool waiting);
int shadow_v6_remove(struct shadow *s, const struct prefix *p);
bool shadow_v6_get(const struct shadow *s, const struct prefix *p, struct shadow_entry *out);
void shadow_v6_prefetch(const struct shadow *s, const struct prefix *p);
void shadow_v6_first(const struct shadow *s, struct shadow_cursor *c);
