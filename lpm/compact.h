/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The forwarding table of a VPN instance, for one family: a range table (lpm/range_table.h), or
 * for IPv4 a tree of groups (lpm/group_tree.h) from COMPACT_TREE_FROM routes on. A tree becomes a
 * range table again below COMPACT_RANGES_BELOW routes.
 *
 * A compact table is immutable. A commit that changes routes of the instance builds a new table
 * from the shadow, publishes the pointer by a release store, and destroys the old table after a
 * grace period of the workers' QSBR.
 *
 * Writer: the fib thread. Readers: workers and main, registered and online in the workers' QSBR; a
 * table stays valid until the reader's next quiescent report. Lookups are data-path safe.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/path_list.h"
#include "lpm/base/prefix.h"

struct arena;
struct group_tree;
struct range_table;
struct shadow;

#define COMPACT_ROUTES_MAX 16000u /* up to here no table is too large */
#define COMPACT_TREE_FROM 2049u
#define COMPACT_RANGES_BELOW 1024u
/* a tree of scattered long prefixes may be large: above this size a range table is used */
#define COMPACT_TREE_BYTES ((size_t)4 << 20)

enum compact_kind { COMPACT_RANGES, COMPACT_TREE };

/* First member of both kinds. */
struct compact {
	uint8_t kind; /* enum compact_kind */
	uint8_t afi;
};

/* The table of COMPACT_RANGES. */
static inline const struct range_table *
compact_ranges(const struct compact *c)
{
	return (const struct range_table *)(const void *)c;
}

/* The table of COMPACT_TREE. */
static inline const struct group_tree *
compact_tree(const struct compact *c)
{
	return (const struct group_tree *)(const void *)c;
}

/*
 * Builds the table of all routes of the shadow, the default route included. `old`, or NULL, is the
 * table to be replaced. Returns 0, -ENOMEM, or -E2BIG: too many routes for both kinds, so that the
 * instance needs a table like the default table.
 */
int compact_create(struct arena *a, enum afi afi, const struct shadow *routes,
	const struct compact *old, struct compact **out);
/* After a grace period without readers. NULL does nothing. */
void compact_destroy(struct compact *c);
size_t compact_bytes(const struct compact *c);
/*
 * Looks up 4 or 16 bytes of an address in wire order, with the length of the prefix. Returns false
 * without a route. Any reader.
 */
bool compact_read(
	const struct compact *c, const uint8_t *addr, struct path_list_id *list, uint8_t *len);

/*
 * Path lists of `n` addresses, IPv4 in host order, IPv6 in wire order; PATH_LIST_NONE where no
 * route matches. `_each` has table c[i] for address i; NULL is a table without routes.
 */
void compact_v4_lookup(const struct compact *c, const uint32_t *ip, uint32_t *list, unsigned n);
void compact_v4_lookup_each(
	const struct compact *const *c, const uint32_t *ip, uint32_t *list, unsigned n);
void compact_v6_lookup(
	const struct compact *c, const uint8_t (*ip)[16], uint32_t *list, unsigned n);
void compact_v6_lookup_each(
	const struct compact *const *c, const uint8_t (*ip)[16], uint32_t *list, unsigned n);
