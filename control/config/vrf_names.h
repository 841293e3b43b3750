/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ids of the VPN instances. A name keeps an id while the name has references: each configuration
 * holds a reference on each instance, and control/apply/ holds a reference while the tables of an
 * instance exist. An id is free for a new name when the tables and all configurations with the old
 * name are freed. `default` has id 0 without a reference.
 *
 * Main only. Lifetime: longer than each struct config parsed with the object.
 */
#pragma once

#include "lpm/base/base.h"

#include <stdbool.h>

#define VRF_NAME_MAX 10 /* octets of a name, without the NUL */
#define VRF_IDS_MAX 1024 /* ids, that of `default` included */

struct vrf_names;

/* NULL: out of memory. */
struct vrf_names *vrf_names_create(void);
void vrf_names_destroy(struct vrf_names *n);
/*
 * Takes a reference on the name; a new name gets the free id that follows from its text. 0; -ENOSPC: all ids are in
 * use; -ENOMEM.
 */
int vrf_names_take(struct vrf_names *n, const char *name, struct vrf_id *out);
/* Releases a reference. */
void vrf_names_drop(struct vrf_names *n, struct vrf_id id);
/* False: the name has no reference. */
bool vrf_names_find(const struct vrf_names *n, const char *name, struct vrf_id *out);
/* The name of an id, `default` included. NULL: the id is free. */
const char *vrf_names_text(const struct vrf_names *n, struct vrf_id id);
