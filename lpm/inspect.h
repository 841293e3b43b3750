/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Functions that only tests and benchmarks call: they look at the state of an object or run a part
 * of a module alone. Each belongs to the thread that owns its object.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/path_list.h"
#include "lpm/prefix.h"

struct arena;
struct fib;
struct hist;
struct retire_list;
struct ring;
struct shadow;
struct table_v4;
struct table_v6;

const char *arena_name(const struct arena *a);
/* Producer or consumer; the value may be outdated on return. */
unsigned ring_count(const struct ring *r);
unsigned ring_free_count(const struct ring *r);
uint64_t retire_waits(const struct retire_list *r);
/* The SipHash-1-3 part of hash_bytes(). */
uint64_t hash_sip(const void *bytes, size_t size);
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
/* Empties the histogram. Writer only, or while the writer adds nothing. */
void hist_reset(struct hist *h);
