/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The packed form of an attribute set: the octets that a table of interned sets stores. Equal sets
 * have equal octets, so packed sets are hashed and compared as bytes. struct attr_set is the form
 * that is built and edited; attr_pack() and attr_unpack() convert without loss.
 *
 * The head has four octets. NEXT_HOP, MED, LOCAL_PREF, AS_PATH and communities follow if present.
 * Rare attributes (AGGREGATOR, ORIGINATOR_ID, OTC, a link-local next hop, further lists) come
 * in a separate list, only if present. A path that is a single AS_SEQUENCE
 * takes two octets for most AS numbers. A set of a full table takes some 40 octets.
 *
 * Pure functions on their arguments; any thread.
 */
#pragma once

#include "lpm/base/base.h"

struct attr_packed;
struct attr_set;
struct ip_addr;

/* Room that attr_pack() needs for the set. */
size_t attr_pack_bound(const struct attr_set *a);
/*
 * Packs `a`, whose derived fields attr_set_derive() has set. Returns the size. `out` has any
 * alignment; all octets up to the size are written.
 */
size_t attr_pack(const struct attr_set *a, struct attr_packed *out);
/* As attr_pack(), of a set that differs from `like` at most in MED and LOCAL_PREF. */
size_t attr_pack_like(
	const struct attr_packed *like, const struct attr_set *a, struct attr_packed *out);
size_t attr_packed_size(const struct attr_packed *p);
/* True if the first `len` octets at `p` are a packed set, with `len` or up to 7 octets less. */
bool attr_packed_valid(const struct attr_packed *p, size_t len);

/*
 * True if `q` is `p` with standard communities appended: `count` values of four octets, without
 * values already in the set. False also for verbatim sets, and where an appended value gives a set
 * 127 communities or more: such sets need a comparison in unpacked form.
 */
bool attr_packed_is_appended(const struct attr_packed *p, const struct attr_packed *q,
	const uint8_t *values, unsigned count);

/* Size of the unpacked set: attr_set_size(). */
size_t attr_packed_set_size(const struct attr_packed *p);
/* Unpacks into `out`, which has room for attr_packed_set_size(). Returns `out`. */
struct attr_set *attr_unpack(const struct attr_packed *p, struct attr_set *out);
/*
 * Unpacks the fixed part only: `out` is a struct attr_set without room for `var`. For the decision
 * process, which reads no variable part. `origin_asn` is 0: the end of the path is not read.
 */
struct attr_set *attr_unpack_fixed(const struct attr_packed *p, struct attr_set *out);

/* attr_next_hop() of the set. */
struct ip_addr attr_packed_next_hop(const struct attr_packed *p);
/* attr_as_path_count() of the set. */
unsigned attr_packed_as_path_count(const struct attr_packed *p, uint32_t asn);
/* True if the set has the ORIGINATOR_ID. */
bool attr_packed_originator_is(const struct attr_packed *p, uint32_t originator_id);
/* True if CLUSTER_LIST contains the cluster. */
bool attr_packed_cluster_contains(const struct attr_packed *p, uint32_t cluster_id);
/* The extended communities of the set: *count values of eight octets, in any alignment. */
const uint8_t *attr_packed_ext_communities(const struct attr_packed *p, unsigned *count);
