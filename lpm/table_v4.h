/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One copy of an IPv4 table: a struct rte_lpm of DPDK (tbl24, tbl8), which this module allocates
 * and fills itself. A second array, the answers, holds the results of tbl24 in 16 bits each;
 * workers look there first. Random destinations of a full table then need half the cache lines: 5
 * % more packets a second.
 *
 * Painting writes the content of the shadow: each slot in the range gets its final value with one
 * store, whatever it held before. Painting is therefore repeatable and independent of the order of
 * changes. Not painted: 0/0 (kept as `miss` in the generation) and `waiting` entries. A /24
 * with longer prefixes needs a tbl8 group; the caller marks enough /24s as waiting for the rest to
 * fit.
 *
 * Writer: the fib thread, on a copy without readers. Readers: fib_read.h, rte_lpm's inlines,
 * table_v4_read().
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/path_list.h"

struct arena;
struct rte_lpm;
struct shadow;
struct shadow_cursor;
struct table_v4;

#define TABLE_V4_GROUPS_MAX (1u << 24) /* a group number must fit into rte_lpm's next-hop field */

#define TABLE_V4_LOOK UINT16_MAX /* 16-bit answer: look up in tbl24 instead */

/* Mapped size of one copy: tbl24, the answers and `groups` tbl8 groups, in whole huge pages. */
size_t table_v4_bytes(uint32_t groups);

/*
 * Creates an empty table. `huge`: use MAP_HUGETLB, else transparent huge pages, else normal pages.
 * Returns 0 or -ENOMEM.
 */
int table_v4_create(struct arena *a, uint32_t groups, bool huge, struct table_v4 **out);
void table_v4_destroy(struct table_v4 *t);

struct rte_lpm *table_v4_lpm(const struct table_v4 *t);
/*
 * One answer per /24: its path list, PATH_LIST_NONE without route, TABLE_V4_LOOK if the /24 has a
 * group or the list needs more than 16 bits.
 */
const uint16_t *table_v4_answers(const struct table_v4 *t);

/*
 * Frees the group of the /24 at `addr` if the shadow has no painted longer prefix there. Paint the
 * /24 afterwards.
 */
void table_v4_release(struct table_v4 *t, const struct shadow *s, uint32_t addr);

/*
 * Paints at most SHADOW_SEEKS prefixes in two steps, so their cache misses overlap; a prefix longer
 * than /24 paints its whole /24. table_v4_paint_end() returns the number of changed entries.
 * `word`: packed entries of the shadow; `key`: result of the first step, argument of the second.
 * The shadow must not change between the steps.
 */
void table_v4_paint_begin(const struct table_v4 *t, const struct shadow *s, unsigned n,
	const uint64_t *word, uint64_t *key, struct shadow_cursor *c);
uint64_t table_v4_paint_end(
	struct table_v4 *t, const struct shadow *s, uint64_t key, struct shadow_cursor *c);

/* Paints the whole table without regard to its content. */
uint64_t table_v4_rebuild(struct table_v4 *t, const struct shadow *s);

/*
 * Looks up `addr` and reads the length in the entry. Returns false without a route (0/0 then
 * decides). Any reader.
 */
bool table_v4_read(const struct rte_lpm *lpm, const uint16_t *answers, uint32_t addr,
	struct path_list_id *list, uint8_t *len);
