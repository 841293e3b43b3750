/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adj-RIB-Out of an update group. An entry names a record, which identifies the advertised path,
 * and an edit: a number of the group for the changes by rules and policy. The exported attributes
 * are not stored: the packer makes the octets from the accepted set.
 *
 * Groups of a table share what they agree on: the record of a destination takes 6 bytes once for
 * all groups (12 after a change), and a group with one edit takes one bit a destination. In a table
 * with labels (RFC 8277) an entry also has the advertised label, which takes 4 bytes more: routes of
 * one record may have different labels.
 *
 * Records are shared by the groups of a session thread. A record holds no reference on the
 * accepted set, because sets belong to the thread of a shard; the serial number shows whether the
 * id still names the same set.
 *
 * Writer: the session thread that owns the groups. Each step takes microseconds. DEST_NONE is a valid id here: the default route generated for a peer
 * (`default_originate`).
 */
#pragma once

#include "lpm/base/base.h"
#include "rib/table/attr.h"
#include "rib/table/dest.h"
#include "rib/table/journal.h"

struct adj_records;
struct adj_rib_out;
struct arena;
struct hash_probes;
struct swaps;

DEFINE_ID(adj_record_id, uint32_t); /* 0: none; below ADJ_RECORDS_MAX */
#define ADJ_RECORDS_MAX (UINT32_C(1) << 24)

/* An advertised path. */
struct adj_path {
	/* id across shards (rib/shard/shards.h); 0: a default route made by the group */
	struct attr_id accepted;
	uint32_t serial; /* attr_serial() of the accepted set */
	union {
		uint32_t originator; /* router id of the source, if the route is reflected */
		/*
		 * `swapped`: the label of ours that the route was advertised with (rib/table/swap.h); a
		 * reflected route keeps its label. The record has a reference on the label.
		 */
		uint32_t swap;
	};
	struct peer_id source; /* PEER_SELF: a route of this router */
	uint8_t kind; /* enum route_source */
	bool swapped;
};

/* Created first, destroyed last. 0, -ENOMEM. */
int adj_records_create(struct arena *a, struct adj_records **out);
void adj_records_destroy(struct adj_records *r);
/* Before the first record with a swapped label. `s` outlives the records. */
void adj_records_swaps(struct adj_records *r, struct swaps *s);
/*
 * The record of `p` with a reference for the caller, found or made. 0, -ENOMEM (also for too many
 * records).
 */
int adj_record_get(struct adj_records *r, const struct adj_path *p, struct adj_record_id *out);
/* Prefetches the list for adj_record_get(). With `record`, in a later call: the first record. */
void adj_record_prefetch(const struct adj_records *r, struct attr_id accepted, bool record);
void adj_record_ref(struct adj_records *r, struct adj_record_id id);
void adj_record_put(struct adj_records *r, struct adj_record_id id);
const struct adj_path *adj_record_path(const struct adj_records *r, struct adj_record_id id);
/*
 * A hash of the attributes of the accepted set that external peers receive; 0: not computed. The
 * caller sets the hash while the set exists.
 */
uint64_t adj_record_likeness(const struct adj_records *r, struct adj_record_id id);
void adj_record_like(struct adj_records *r, struct adj_record_id id, uint64_t likeness);
uint32_t adj_records_count(const struct adj_records *r);
/* of adj_record_get(); any thread */
const struct hash_probes *adj_records_probes(const struct adj_records *r);

struct adj_route {
	struct adj_record_id record; /* 0: not advertised */
	uint32_t label:24; /* 0 in a table without labels, and if not advertised */
	uint32_t edit:8; /* 1 to ADJ_EDIT_MAX; 0: not advertised */
};
/*
 * A larger struct is returned through memory: written in pieces and read in words, which stalls
 * until the pieces, and all stores before, reach the cache.
 */
static_assert(sizeof(struct adj_route) == 8, "one register");
#define ADJ_EDIT_MAX 255u

/* Of a group of `table`; `labels`: the table has labels, the same for all groups. 0, -ENOMEM. */
int adj_rib_out_create(struct arena *a, struct adj_records *records, struct table_id table,
	bool labels, struct adj_rib_out **out);
void adj_rib_out_destroy(struct adj_rib_out *o);
/*
 * A bounded step of emptying (4,096 entries); true if more is due. Afterwards only
 * adj_rib_out_destroy() may follow.
 */
bool adj_rib_out_dismantle(struct adj_rib_out *o);
/*
 * Sets the route of `dest`. Takes ownership of one reference on r.record; the reference of the old
 * route passes to the caller in *old. 0; -ENOMEM: nothing changed and the reference is dropped;
 * never for a withdrawal.
 */
int adj_rib_out_set(
	struct adj_rib_out *o, struct dest_id dest, struct adj_route r, struct adj_route *old);
/*
 * Sets the route of those of `n` destinations that have no route; added[i] becomes true for these,
 * else false. *count: their number. In a table with labels, destination i gets label[i] instead of
 * r.label. Takes the needed references on r.record itself. 0; -ENOMEM: the first destinations are
 * set, and added[] is valid for these and *count.
 */
int adj_rib_out_add(struct adj_rib_out *o, const struct dest_id *dest, unsigned n,
	struct adj_route r, const uint32_t *label, bool *added, unsigned *count);
struct adj_route adj_rib_out_get(const struct adj_rib_out *o, struct dest_id dest);
/* As adj_rib_out_get(), with a reference on the record for the caller. */
struct adj_route adj_rib_out_hold(struct adj_rib_out *o, struct dest_id dest);
/* Prefetches an entry. With `record`, in a later call: the record of the entry. */
void adj_rib_out_prefetch(const struct adj_rib_out *o, struct dest_id dest, bool record);

uint64_t adj_rib_out_count(const struct adj_rib_out *o);
/* Number of entries from `source`. */
uint64_t adj_rib_out_count_from(const struct adj_rib_out *o, struct peer_id source);
/* Sets used[n] for each edit n of an entry. Reads all entries. */
void adj_rib_out_edits(const struct adj_rib_out *o, bool used[ADJ_EDIT_MAX + 1]);
/*
 * A bounded step of copying `from` into an empty Adj-RIB-Out: 4,096 entries at *at, which advances.
 * 1 if more is due, 0, -ENOMEM. `from` must not change during the copy.
 */
int adj_rib_out_copy(struct adj_rib_out *o, const struct adj_rib_out *from, uint32_t *at);
