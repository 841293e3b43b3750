/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sorts prefixes of one family in the order of prefix_compare(): first all are added, then all are
 * read. An IPv4 prefix takes 8 bytes, an IPv6 prefix 24. Each step is bounded (a full run of 4,096
 * is sorted; runs are merged while reading), so both phases can be cut into slices. Owner: one
 * thread.
 */
#pragma once

#include "lpm/base/prefix.h"

struct arena;
struct prefix_sort;

/* 0, -ENOMEM. */
int prefix_sort_create(struct arena *a, enum afi afi, struct prefix_sort **out);
void prefix_sort_destroy(struct prefix_sort *s);
/* Before the first prefix_sort_next(). Duplicates are allowed. 0, -ENOMEM. */
int prefix_sort_add(struct prefix_sort *s, const struct prefix *p);
/*
 * The next distinct prefix; memory already read is freed. 1; 0 at the end; -ENOMEM, at the first
 * call alone.
 */
int prefix_sort_next(struct prefix_sort *s, struct prefix *out);
