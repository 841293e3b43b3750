/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Oracle for longest-prefix match of IPv6: a binary tree with a node per bit and a value where a
 * prefix ends. Shares no code with lpm/.
 *
 * An answer is value | length << 24, or 0 without a match; ::/0 answers with length 0. Values are
 * 1 to 0xffffff.
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>

struct lpm6_node {
	uint32_t child[2]; /* 0: none */
	uint32_t value;
};

struct lpm6_oracle {
	struct lpm6_node *node; /* node 0 is the root; nodes are never freed */
	uint32_t count, room;
};

static inline uint32_t
lpm6_oracle_node(struct lpm6_oracle *o)
{
	if (o->count == o->room) {
		o->room = o->room ? o->room * 2 : 1024;
		o->node = realloc(o->node, o->room * sizeof(*o->node));
		if (o->node == NULL)
			abort();
	}
	o->node[o->count] = (struct lpm6_node){.value = 0};
	return o->count++;
}

static inline void
lpm6_oracle_init(struct lpm6_oracle *o)
{
	*o = (struct lpm6_oracle){.node = NULL};
	(void)lpm6_oracle_node(o);
}

static inline void
lpm6_oracle_fini(struct lpm6_oracle *o)
{
	free(o->node);
}

static inline unsigned
lpm6_oracle_bit(const uint8_t *addr, unsigned i)
{
	return addr[i / 8] >> (7 - i % 8) & 1;
}

/* Sets a prefix; `value` 0 removes the prefix. */
static inline void
lpm6_oracle_set(struct lpm6_oracle *o, const uint8_t *addr, unsigned len, uint32_t value)
{
	uint32_t at = 0;

	for (unsigned i = 0; i < len; i++) {
		unsigned bit = lpm6_oracle_bit(addr, i);

		if (o->node[at].child[bit] == 0) {
			uint32_t below = lpm6_oracle_node(o);

			o->node[at].child[bit] = below;
		}
		at = o->node[at].child[bit];
	}
	o->node[at].value = value;
}

static inline uint32_t
lpm6_oracle_lookup(const struct lpm6_oracle *o, const uint8_t *addr)
{
	uint32_t at = 0, best = o->node[0].value;

	for (unsigned i = 0; i < 128; i++) {
		at = o->node[at].child[lpm6_oracle_bit(addr, i)];
		if (at == 0)
			break;
		if (o->node[at].value != 0)
			best = o->node[at].value | (i + 1) << 24;
	}
	return best;
}
