/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Prefixes of one family in the order of prefix_compare(): all are added, then all are read. An IPv4 prefix takes 8 bytes, an IPv6 prefix 24; each step
 * is bounded (a run of 4,096 is sorted when it is full, and the runs are merged while they are read), so that both halves can be cut into slices.
 * Owner: one thread.
 */
#pragma once

#include "lpm/prefix.h"

struct arena;
struct prefix_sort;

/* 0, -ENOMEM. */
int prefix_sort_create(struct arena *a, enum afi afi, struct prefix_sort **out);
void prefix_sort_destroy(struct prefix_sort *s);
/* Before the first prefix_sort_next(). The same prefix may be added several times. 0, -ENOMEM. */
int prefix_sort_add(struct prefix_sort *s, const struct prefix *p);
/* The next prefix, each once; memory that is read is freed. 1; 0: no more; -ENOMEM: at the first call. */
int prefix_sort_next(struct prefix_sort *s, struct prefix *out);
