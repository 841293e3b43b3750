/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Attribute sets, shared by paths (RFC 4271 5). struct attr_set is the form that is built, edited
 * and matched. Interned in a table, a set is stored packed (rib/table/attr_packed.h) and has an id and a
 * reference count.
 *
 * Owner and writer of a table: a single thread (a rib shard for received and accepted sets, a
 * session thread for exported sets). Readers: any RIB reader, by id, until its next quiescent
 * report. Ids are reused, so caches compare id and serial.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"
#include "rib/table/attr_packed.h"

struct arena;
struct qsbr;
struct attr_table;

DEFINE_ID(attr_id, uint32_t); /* 0: none */

enum origin { ORIGIN_IGP, ORIGIN_EGP, ORIGIN_INCOMPLETE };

enum attr_bit {
	ATTR_HAS_MED = 1u << 0,
	ATTR_HAS_LOCAL_PREF = 1u << 1,
	ATTR_HAS_ATOMIC_AGGREGATE = 1u << 2,
	ATTR_HAS_AGGREGATOR = 1u << 3,
	ATTR_HAS_ORIGINATOR_ID = 1u << 4,
	ATTR_HAS_OTC = 1u << 5, /* RFC 9234 */
	/* derived: LLGR_STALE is among the communities; the fixed part is enough for the decision */
	ATTR_LLGR_STALE = 1u << 6,
};

/*
 * The fixed part, then the variable parts in `var`, in this order and without padding:
 *
 *   AS_PATH: segments in wire form, 4-octet ASNs (RFC 6793), network order
 *   communities (4 bytes each), extended communities (8), large communities (12), CLUSTER_LIST (4):
 *   network order, as received
 *   unknown optional transitive attributes in wire form: flags (Partial set), type, 2-octet length,
 *   value; in ascending order of type
 *
 * Unused bytes are zero. Integers of the fixed part are in host order. IPv4 addresses have four
 * bytes.
 */
struct attr_set {
	uint32_t has; /* enum attr_bit */
	uint32_t med, local_pref;
	uint32_t aggregator_asn, aggregator_addr; /* the address is in host order */
	uint32_t originator_id, otc;
	/*
	 * neighbour AS: leftmost of the first AS_SEQUENCE; 0: none (originated here, or
	 * starts with a set)
	 */
	uint32_t first_asn;
	uint32_t origin_asn; /* rightmost of a final AS_SEQUENCE; 0: none, or a set */
	/* RFC 4271 9.1.2.2 a, RFC 5065 5.3: a set counts 1, confederation segments 0 */
	uint16_t as_path_hops;
	uint16_t as_path_len; /* bytes */
	uint16_t community_count, ext_community_count, large_community_count, cluster_count;
	uint16_t unknown_len; /* bytes */
	uint8_t origin; /* enum origin */
	uint8_t unused;
	struct ip_addr next_hop; /* NEXT_HOP, or the global address of MP_REACH_NLRI */
	struct ip_addr next_hop_link_local; /* AFI_NONE: absent; includes its zone */
	uint8_t var[];
};

static inline size_t
attr_set_var_len(const struct attr_set *a)
{
	return (size_t)a->as_path_len + 4u * a->community_count + 8u * a->ext_community_count +
	       12u * a->large_community_count + 4u * a->cluster_count + a->unknown_len;
}

static inline size_t
attr_set_size(const struct attr_set *a)
{
	return sizeof(*a) + attr_set_var_len(a);
}

static inline const uint8_t *
attr_as_path(const struct attr_set *a)
{
	return a->var;
}

static inline const uint8_t *
attr_communities(const struct attr_set *a)
{
	return a->var + a->as_path_len;
}

static inline const uint8_t *
attr_ext_communities(const struct attr_set *a)
{
	return attr_communities(a) + 4u * a->community_count;
}

static inline const uint8_t *
attr_large_communities(const struct attr_set *a)
{
	return attr_ext_communities(a) + 8u * a->ext_community_count;
}

static inline const uint8_t *
attr_cluster_list(const struct attr_set *a)
{
	return attr_large_communities(a) + 12u * a->large_community_count;
}

static inline const uint8_t *
attr_unknown(const struct attr_set *a)
{
	return attr_cluster_list(a) + 4u * a->cluster_count;
}

/*
 * The address used for resolution and forwarding. RFC 2545 3: a link-local address accompanies a
 * global one; the link-local address is used only if the global address is missing (::) or itself
 * link-local.
 */
static inline const struct ip_addr *
attr_next_hop_of(const struct ip_addr *next_hop, const struct ip_addr *link_local)
{
	if (link_local->afi != AFI_NONE &&
		(addr_is_unspecified(next_hop) || addr_is_link_local(next_hop)))
		return link_local;
	return next_hop;
}

static inline const struct ip_addr *
attr_next_hop(const struct attr_set *a)
{
	return attr_next_hop_of(&a->next_hop, &a->next_hop_link_local);
}

/* RFC 9494 */
#define COMMUNITY_LLGR_STALE 0xffff0006u
#define COMMUNITY_NO_LLGR 0xffff0007u

static inline bool
attr_has_community(const struct attr_set *a, uint32_t community)
{
	const uint8_t *p = attr_communities(a);

	for (unsigned i = 0; i < a->community_count; i++, p += 4)
		if (((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]) ==
			community)
			return true;
	return false;
}

#define ATTR_SET_MAX                                                                               \
	(sizeof(struct attr_set) +                                                                 \
		131072) /* an extended message (RFC 8654) with 2-octet ASNs widened */

#define ATTR_PACKED_MAX (ATTR_SET_MAX + 8)

/*
 * Computes as_path_hops, first_asn and origin_asn from the path in `var`, and ATTR_LLGR_STALE.
 * Call after building or editing a set.
 */
void attr_set_derive(struct attr_set *a);
/* The part of attr_set_derive() after a change of communities. */
void attr_derive_communities(struct attr_set *a);
/* attr_set_derive() with the `as_path_len` octets of the path at `path`. */
void attr_derive_path(struct attr_set *a, const uint8_t *path);
/* Number of occurrences. */
unsigned attr_as_path_count(const struct attr_set *a, uint32_t asn);
unsigned attr_path_count(const uint8_t *path, size_t len, uint32_t asn);
/*
 * Copies `a` to `out` (room for `out_size` bytes) with `asn` prepended `count` times (RFC 4271
 * 5.1.2). Splits segments above 255 numbers. Returns 0 or -ENOSPC.
 */
int attr_set_prepend(const struct attr_set *a, uint32_t asn, unsigned count, struct attr_set *out,
	size_t out_size);
/*
 * Formats the path for people and regular expressions: plain numbers with single blanks, sets
 * `{1,2}`, confederations `(1 2)`, confederation sets `[1,2]`. Returns the length without NUL;
 * writes at most size-1 bytes and a NUL, like snprintf.
 */
size_t attr_as_path_format(const struct attr_set *a, char *buf, size_t size);

/* An AS number of the path, with its place in the text of attr_as_path_format(). */
struct as_path_number {
	uint32_t asn;
	bool first, last; /* at the very start (end) of the text */
	bool follows; /* a single character separates the number from its predecessor */
};
/*
 * Lists all numbers of the path in the order of the text. Returns their count; writes at most
 * `size`.
 */
unsigned attr_as_path_numbers(const struct attr_set *a, struct as_path_number *out, unsigned size);

/*
 * Table of interned sets. `readers` is the QSBR of RIB readers: a set is freed a grace period
 * after its last reference was released.
 */
int attr_table_create(struct arena *a, struct qsbr *readers, struct attr_table **out);
void attr_table_destroy(struct attr_table *t);
/*
 * Memory accounting by owner: each set counts for the owner active at its creation, until the set
 * is freed. attr_table_charge() enables accounting for owners below `owners`, before the first
 * set. Returns 0 or -ENOMEM.
 */
int attr_table_charge(struct attr_table *t, unsigned owners);
/* Sets created from now on count for this owner. */
void attr_table_owner(struct attr_table *t, unsigned owner);
size_t attr_table_charged(const struct attr_table *t, unsigned owner); /* any thread */

/*
 * Finds an equal set or stores `a`; takes `refs` references. Returns 0, -ENOMEM or -E2BIG (above
 * ATTR_SET_MAX); on error nothing changed.
 */
int attr_intern(struct attr_table *t, const struct attr_set *a, uint32_t refs, struct attr_id *out);
/* The same, faster, where `a` differs from `like` at most in MED and LOCAL_PREF; or NULL. */
int attr_intern_like(struct attr_table *t, const struct attr_packed *like, const struct attr_set *a,
	uint32_t refs, struct attr_id *out);
/*
 * attr_intern() of a set packed and hashed earlier, possibly by another thread, so the index could
 * be prefetched. `size` is attr_packed_size().
 */
uint32_t attr_packed_hash(
	const struct attr_packed *p, size_t size); /* keyed (lpm/base/hash.h); not 0 */
void attr_prefetch_hash(const struct attr_table *t, uint32_t hash);
int attr_intern_packed(struct attr_table *t, const struct attr_packed *p, size_t size,
	uint32_t hash, uint32_t refs, struct attr_id *out);
/* True if the interned set equals `a`. The owner; packs `a`. False also without memory. */
bool attr_equals(struct attr_table *t, struct attr_id id, const struct attr_set *a);
void attr_ref(struct attr_table *t, struct attr_id id, uint32_t refs);
/*
 * attr_ref() for an id kept from before with an unchanged serial. Returns false, without change,
 * if the last reference was released meanwhile.
 */
bool attr_ref_again(struct attr_table *t, struct attr_id id, uint32_t refs);
/* Ends `refs` references. After the last reference and a grace period the set is freed. */
void attr_unref(struct attr_table *t, struct attr_id id, uint32_t refs);
/* Frees sets whose grace period is over. Call once per loop. */
void attr_table_reclaim(struct attr_table *t);
/* Likewise for at most 0.1 ms. Returns true if more may be left. */
bool attr_table_reclaim_some(struct attr_table *t);
/* True if many sets wait to be freed: attr_unref() will soon have to free the whole backlog. */
bool attr_table_behind(const struct attr_table *t);
uint32_t attr_table_count(const struct attr_table *t); /* any thread */
/* any thread: of attr_intern() */
const struct hash_probes *attr_table_probes(const struct attr_table *t);

/*
 * Returns the packed set of an id, or NULL if the id is not in use. Readers and the owner. A reader
 * gets ids from published data while online; for an id kept from before (a cache), only
 * attr_serial() may be used.
 */
const struct attr_packed *attr_get(const struct attr_table *t, struct attr_id id);
/*
 * attr_get(), unpacked into `out` with room for ATTR_SET_MAX. Returns `out`, or NULL if the id is
 * not in use.
 */
struct attr_set *attr_read(const struct attr_table *t, struct attr_id id, struct attr_set *out);
/* Prefetches the slot read by attr_serial(). Any id is allowed. */
void attr_prefetch(const struct attr_table *t, struct attr_id id);
/* Prefetches the set itself. NULL is allowed. */
void attr_packed_prefetch(const struct attr_packed *p);
/* Serial number of an id: changes each time the id is reused; 0 if the id is not in use. */
uint32_t attr_serial(const struct attr_table *t, struct attr_id id);
