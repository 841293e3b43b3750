/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adj-RIB-Out of one update group: 4 bytes by destination id, the interned exported set (0: not advertised).
 * Writer: the session thread that owns the group. Segments, so that growing moves nothing.
 */
#pragma once

#include "lpm/base.h"
#include "rib/attr.h"
#include "rib/dest.h"

struct adj_rib_out;
struct arena;

/* `exported` counts the references that entries hold. 0, -ENOMEM. */
int adj_rib_out_create(struct arena *a, struct attr_table *exported, struct adj_rib_out **out);
void adj_rib_out_destroy(struct adj_rib_out *o);
/* A bounded piece of emptying it (4,096 entries); true while there is more. Nothing else but _destroy() may follow. */
bool adj_rib_out_dismantle(struct adj_rib_out *o);
/* Takes over one reference on `id` (0: withdrawn) and lets go of the old one. 0, -ENOMEM. *changed. */
int adj_rib_out_set(struct adj_rib_out *o, struct dest_id dest, struct attr_id id, bool *changed);
struct attr_id adj_rib_out_get(const struct adj_rib_out *o, struct dest_id dest);
uint64_t adj_rib_out_count(const struct adj_rib_out *o);
