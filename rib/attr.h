/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Attribute sets: what paths share (RFC 4271 5). A value in canonical form that can be hashed and
 * compared as bytes; interned in a table it gets an id and a plain count.
 *
 * Writer of a table: the one thread that owns it (a rib shard for received and accepted sets, a session
 * thread for exported ones). Readers: any RIB reader, by id, until its next quiescent report. Ids are reused, so
 * a cache compares id and serial.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/prefix.h"

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
};

/*
 * Fixed part, then the variable parts in `var`, in this order and without padding between:
 *   AS_PATH: segments as on the wire, 4-octet ASNs (RFC 6793), network order
 *   communities (4 each), extended communities (8 each), large communities (12 each), CLUSTER_LIST (4 each): network order, as received
 *   unknown optional transitive attributes as on the wire: flags (Partial set), type, 2-octet length, value; by rising type
 * Unused bytes are zero. All integers of the fixed part are in host order. Addresses have IPv4 in four bytes.
 */
struct attr_set {
	uint32_t has; /* enum attr_bit */
	uint32_t med, local_pref;
	uint32_t aggregator_asn, aggregator_addr; /* the address in host order */
	uint32_t originator_id, otc;
	uint32_t
		first_asn; /* the neighbour AS: leftmost of the first AS_SEQUENCE; 0: none (our own, or starts with a set) */
	uint32_t origin_asn; /* rightmost of a last AS_SEQUENCE; 0: none, or a set */
	uint16_t
		as_path_hops; /* RFC 4271 9.1.2.2 a, RFC 5065 5.3: a set counts 1, confederation segments 0 */
	uint16_t as_path_len; /* bytes */
	uint16_t community_count, ext_community_count, large_community_count, cluster_count;
	uint16_t unknown_len; /* bytes */
	uint8_t origin; /* enum origin */
	uint8_t unused;
	struct ip_addr next_hop; /* NEXT_HOP, or the global one of MP_REACH_NLRI */
	struct ip_addr next_hop_link_local; /* AFI_NONE: absent; with its zone */
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
 * The address that is resolved and forwarded to. RFC 2545 3: the link-local one goes with a global one; alone it counts where the
 * global one is missing (::) or is itself link-local.
 */
static inline const struct ip_addr *
attr_next_hop(const struct attr_set *a)
{
	if (a->next_hop_link_local.afi != AFI_NONE &&
		(addr_is_unspecified(&a->next_hop) || addr_is_link_local(&a->next_hop)))
		return &a->next_hop_link_local;
	return &a->next_hop;
}

#define ATTR_SET_MAX                                                                               \
	(sizeof(struct attr_set) +                                                                 \
		131072) /* an extended message (RFC 8654), 2-octet ASNs widened */

/* Derives as_path_hops, first_asn and origin_asn from the path in `var`. For who builds or edits a set. */
void attr_set_derive(struct attr_set *a);
/* True when `asn` is anywhere in AS_PATH (loop detection, RFC 4271 9.1.2). */
bool attr_as_path_contains(const struct attr_set *a, uint32_t asn);
/* How often it is there. */
unsigned attr_as_path_count(const struct attr_set *a, uint32_t asn);
/*
 * Copies `a` into `out` (room for `out_size` bytes) with `asn` put in front `count` times (RFC 4271 5.1.2), splitting
 * a segment that would pass 255. 0, -ENOSPC.
 */
int attr_set_prepend(const struct attr_set *a, uint32_t asn, unsigned count, struct attr_set *out,
	size_t out_size);
/*
 * The path as people and regular expressions read it: plain numbers, one blank between, sets `{1,2}`, confederations `(1 2)`,
 * confederation sets `[1,2]`. Returns the length without NUL; writes at most size-1 bytes and a NUL, as snprintf does.
 */
size_t attr_as_path_format(const struct attr_set *a, char *buf, size_t size);

/* An AS number of the path, with its place in the text of attr_as_path_format(). */
struct as_path_number {
	uint32_t asn;
	bool first, last; /* at the very begin (end) of the text */
	bool follows; /* a single character separates the number from its predecessor */
};
/* All numbers of the path, in the order of the text. Returns the count; writes at most `size`. */
unsigned attr_as_path_numbers(const struct attr_set *a, struct as_path_number *out, unsigned size);

/*
 * Interned sets. `readers`: the RIB readers' QSBR (a set is freed a grace period after its last reference went).
 */
int attr_table_create(struct arena *a, struct qsbr *readers, struct attr_table **out);
void attr_table_destroy(struct attr_table *t);
/*
 * Memory by owner: each set counts for the owner that brought it first, until it is freed. attr_table_charge() turns this on, before the
 * first set, for owners below `owners`. 0, -ENOMEM.
 */
int attr_table_charge(struct attr_table *t, unsigned owners);
/* Sets that are new from here on count for this owner. */
void attr_table_owner(struct attr_table *t, unsigned owner);
size_t attr_table_charged(const struct attr_table *t, unsigned owner); /* any thread */

/* Finds or copies; takes `refs` references. 0, -ENOMEM (nothing changed). */
int attr_intern(struct attr_table *t, const struct attr_set *a, uint32_t refs, struct attr_id *out);
/* The same with its hash made before, be it by another thread: while that was under way, the place in the index could be prefetched. */
uint32_t attr_set_hash(const struct attr_set *a); /* keyed (lpm/hash.h); never 0 */
void attr_prefetch_hash(const struct attr_table *t, uint32_t hash);
int attr_intern_hashed(struct attr_table *t, const struct attr_set *a, uint32_t hash, uint32_t refs,
	struct attr_id *out);
void attr_ref(struct attr_table *t, struct attr_id id, uint32_t refs);
/* The same of an id kept from before whose serial is as it was; false: its last reference went meanwhile, nothing changed. */
bool attr_ref_again(struct attr_table *t, struct attr_id id, uint32_t refs);
void attr_unref(struct attr_table *t, struct attr_id id);
/* Frees what is past its grace period; once a loop. */
void attr_table_reclaim(struct attr_table *t);
/* A piece of that, 0.1 ms; true: there may be more. */
bool attr_table_reclaim_some(struct attr_table *t);
/* So much waits that attr_unref() will soon have to free it, all at once. */
bool attr_table_behind(const struct attr_table *t);
uint32_t attr_table_count(const struct attr_table *t); /* any thread */
size_t attr_table_bytes(const struct attr_table *t); /* any thread */
const struct hash_probes *attr_table_probes(
	const struct attr_table *t); /* any thread: of attr_intern() */

/*
 * Readers and the owner. NULL when the id is not in use. A reader has the id from what was published while it is online; one kept
 * from before (a cache) is good for attr_serial() only.
 */
const struct attr_set *attr_get(const struct attr_table *t, struct attr_id id);
/* Prefetches what attr_serial() reads; any id. */
void attr_prefetch(const struct attr_table *t, struct attr_id id);
/* A set's own lines; NULL is harmless. */
void attr_set_prefetch(const struct attr_set *a);
/* Changes each time the id is given to another set; 0 when not in use. */
uint32_t attr_serial(const struct attr_table *t, struct attr_id id);
