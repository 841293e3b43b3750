/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Functions that only tests and benchmarks call: they look at the state of an object or run a part
 * of a module alone; those of lpm/base/ are in lpm/base/inspect.h. Each belongs to the thread that owns its object.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/path_list.h"
#include "lpm/base/prefix.h"

struct fib;
struct shadow;
struct table_v4;
struct table_v6;

/* Number of references. */
unsigned path_list_refs(const struct path_lists *p, struct path_list_id id) RUNS_ON(role_fib);
/* Longest set prefix that covers `addr`, from the shadow. */
bool fib_shadow_lookup(const struct fib *f, struct vrf_id vrf, const struct ip_addr *addr,
	struct prefix *prefix, struct path_list_id *out);
uint32_t table_v4_groups_used(const struct table_v4 *t);
/* Paints addr/len; for lengths above 24, the whole /24. Returns the number of changed entries. */
uint64_t table_v4_paint(struct table_v4 *t, const struct shadow *s, uint32_t addr, uint8_t len);
/*
 * Number of paintings without a free group although the caller had reserved groups. Not 0 only
 * after a bug.
 */
uint64_t table_v4_short(const struct table_v4 *t);
uint32_t table_v6_groups_used(const struct table_v6 *t);
/*
 * Number of prefixes without a free group although the caller had reserved groups. Not 0 only
 * after a bug.
 */
uint64_t table_v6_short(const struct table_v6 *t);
