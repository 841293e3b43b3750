/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One copy of an IPv4 table: our writer into DPDK's public struct rte_lpm (tbl24, tbl8), in our own
 * mapping; and beside it tbl24's answers again in 16 bits each, where workers look first. The cache
 * lines that random destinations of a full table need are half as many: 5 % more packets a second.
 *
 * It paints what the shadow says, and only that: each slot of the range gets its final answer with
 * one store, whatever was there, so painting is repeatable and does not depend on the order of the
 * changes. 0/0 is not painted (the generation holds it as miss entry); entries marked `waiting` are
 * not painted. A /24 with longer prefixes has a tbl8 group; the caller reserved: it marks so many
 * /24 as waiting that the rest fits.
 *
 * Writer: the fib thread, on a copy that no reader has. Readers: fib_read.h, rte_lpm's inlines, table_v4_read.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/path_list.h"

struct arena;
struct rte_lpm;
struct shadow;
struct shadow_cursor;
struct table_v4;

#define TABLE_V4_GROUPS_MAX (1u << 24) /* rte_lpm's next hop field holds a group's number */

#define TABLE_V4_LOOK UINT16_MAX /* an answer of 16 bits: look at tbl24 */

/* Of one copy, mapped: tbl24, its answers and `groups` tbl8 groups, in whole huge pages. */
size_t table_v4_bytes(uint32_t groups);

/* Empty. `huge`: MAP_HUGETLB, else transparent huge pages, else small ones. 0, -ENOMEM. */
int table_v4_create(struct arena *a, uint32_t groups, bool huge, struct table_v4 **out);
void table_v4_destroy(struct table_v4 *t);

struct rte_lpm *table_v4_lpm(const struct table_v4 *t);
/* One a /24: its path list, PATH_LIST_NONE where there is none, TABLE_V4_LOOK where a group has it or it needs more bits. */
const uint16_t *table_v4_answers(const struct table_v4 *t);
uint32_t table_v4_groups_used(const struct table_v4 *t);

/*
 * Gives back the group of the /24 at `addr` when the shadow has nothing longer there; paint that
 * /24 afterwards.
 */
void table_v4_release(struct table_v4 *t, const struct shadow *s, uint32_t addr);

/* Paints addr/len (longer than /24: its whole /24), one alone. Returns how many entries changed. */
uint64_t table_v4_paint(struct table_v4 *t, const struct shadow *s, uint32_t addr, uint8_t len);

/*
 * That for up to SHADOW_SEEKS prefixes of a batch in two steps, so that their cache misses go beside each other: `word` is as the shadow packs
 * it, `key` what the second step is given. The shadow does not change from the one to the other.
 */
void table_v4_paint_begin(const struct table_v4 *t, const struct shadow *s, unsigned n,
	const uint64_t *word, uint64_t *key, struct shadow_cursor *c);
uint64_t table_v4_paint_end(
	struct table_v4 *t, const struct shadow *s, uint64_t key, struct shadow_cursor *c);

/* Paints everything, in order, whatever was there. */
uint64_t table_v4_rebuild(struct table_v4 *t, const struct shadow *s);

/* Paintings that found no group though the caller had reserved: 0, or a bug. */
uint64_t table_v4_short(const struct table_v4 *t);

/* Any reader: the entry that answers for `addr`; false where there is none (then 0/0 decides). */
bool table_v4_read(const struct rte_lpm *lpm, const uint16_t *answers, uint32_t addr,
	struct path_list_id *list, uint8_t *len);
