/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Validated ROA payloads (VRPs) and the validation of route origins (RFC 6811).
 *
 * A `struct vrps` is an immutable, sorted set of VRPs with a reference count. Any thread may read
 * a set while the thread has a reference; the last vrps_unref() frees the set. The RPKI thread
 * builds sets; shards and main hold the published set.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"

struct arena;
struct attr_set;
struct vrps;

enum validation { VALIDATION_VALID, VALIDATION_INVALID, VALIDATION_NOT_FOUND, VALIDATION_STATES };

/* One record. A record of a list of changes is announced or withdrawn. */
struct vrp {
	uint64_t hi, lo; /* the address, high bits first; an IPv4 address in the upper half of hi */
	uint32_t asn;
	uint8_t afi, len, max_len;
	uint8_t withdraw;
};
static_assert(sizeof(struct vrp) == 24, "500,000 records: 12 MB, and 2 MB for the links");

/* The record of an announcement. Requires p->len <= max_len <= the family's maximum. */
struct vrp vrp_make(const struct prefix *p, uint8_t max_len, uint32_t asn);
struct prefix vrp_prefix(const struct vrp *v);

/*
 * Applies `count` changes to `old` (NULL: the empty set): *out, with one reference. Sorts `changes` in place. 0; -ENOMEM; -EEXIST: a record is announced that the set
 * has; -ENOENT: a record is withdrawn that the set does not have (RFC 8210 12, codes 7 and 6). *at:
 * the record of the error.
 */
int vrps_apply(struct arena *a, const struct vrps *old, struct vrp *changes, size_t count,
	struct vrps **out, struct vrp *at);
/* The records of all sets, with one reference. 0, -ENOMEM. */
int vrps_union(struct arena *a, struct vrps *const *sets, unsigned count, struct vrps **out);
/* The records that only one of two sets has; NULL: the empty set. 0, -ENOMEM. */
int vrps_difference(
	struct arena *a, const struct vrps *one, const struct vrps *other, struct vrps **out);
struct vrps *vrps_ref(struct vrps *v);
void vrps_unref(struct vrps *v); /* NULL: nothing */

size_t vrps_count(const struct vrps *v, enum afi afi); /* AFI_NONE: both families */
size_t vrps_memory(const struct vrps *v);
/* Records in order; i < vrps_count(v, AFI_NONE). */
const struct vrp *vrps_at(const struct vrps *v, size_t i);

/*
 * RFC 6811 2. `origin` 0: the route has no origin AS, so no VRP matches. `v` NULL: no VRP is known,
 * so every prefix is not-found.
 */
enum validation vrps_validate(const struct vrps *v, const struct prefix *p, uint32_t origin);
/* True if the prefix of a record covers `p`. */
bool vrps_cover(const struct vrps *v, const struct prefix *p);
/* Calls `each` for each record with a prefix that covers `p`. */
void vrps_covering(const struct vrps *v, const struct prefix *p,
	void (*each)(void *ctx, const struct vrp *record), void *ctx);

/* RFC 6811 2: the origin AS of a route; of an empty path, the own AS. 0: none. */
uint32_t vrp_origin(const struct attr_set *a, uint32_t own_asn);
const char *validation_text(enum validation v); /* valid, invalid, not-found */
