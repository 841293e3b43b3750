/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Causes for not using an announced route, with names and counters.
 *
 * The shard counts refused prefixes by peer, family and cause (shard_peer_refused()), and remembers
 * the last ones (rib/shard/refused.c). Sessions have no counters for refusals. A session that refuses the routes of
 * an UPDATE puts a withdrawal with the cause in rib_record.refused; the shard then withdraws,
 * counts and remembers each prefix of the record. An ordinary withdrawal has the cause REFUSED_NOT.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"
#include "rib/table/dest.h"
#include "rib/table/vpn.h"

struct arena;

/*
 * REFUSED_NEXT_HOP and REFUSED_NOT_INSTALLED are states of stored paths, and count the paths in
 * that state now. All other causes count announcements since the session came up.
 */
enum refused_cause {
	REFUSED_NOT,
	REFUSED_AS_LOOP,
	REFUSED_ORIGINATOR_LOOP,
	REFUSED_CLUSTER_LOOP,
	REFUSED_FIRST_AS, /* enforce_first_as (RFC 4271 6.3) */
	REFUSED_AS_PATH_LENGTH, /* max_as_path_length */
	REFUSED_AS_SET, /* RFC 9774 3 */
	REFUSED_ROUTE_LEAK, /* OTC (RFC 9234) */
	REFUSED_NEXT_HOP,
	REFUSED_NO_POLICY, /* RFC 8212 */
	REFUSED_POLICY,
	REFUSED_BLACKHOLE, /* RFC 7999 3.3 */
	REFUSED_PREFIX_LIMIT, /* max_prefixes */
	REFUSED_UNUSABLE_PREFIX,
	REFUSED_UNUSABLE_LABEL, /* of a VPN route: reserved (RFC 7274 2) */
	REFUSED_NOT_INSTALLED, /* no room in the forwarding tables */
	/* RFC 7606: treated as withdrawn because of an attribute; refused_malformed() */
	/* "malformed-attribute": a type not listed below, or the attribute list itself */
	REFUSED_MALFORMED_OTHER,
	REFUSED_MALFORMED_ORIGIN,
	REFUSED_MALFORMED_AS_PATH,
	REFUSED_MALFORMED_NEXT_HOP,
	REFUSED_MALFORMED_MED,
	REFUSED_MALFORMED_LOCAL_PREF,
	REFUSED_MALFORMED_ATOMIC_AGGREGATE,
	REFUSED_MALFORMED_AGGREGATOR,
	REFUSED_MALFORMED_COMMUNITIES,
	REFUSED_MALFORMED_ORIGINATOR_ID,
	REFUSED_MALFORMED_CLUSTER_LIST,
	REFUSED_MALFORMED_MP_REACH,
	REFUSED_MALFORMED_MP_UNREACH,
	REFUSED_MALFORMED_EXT_COMMUNITIES,
	REFUSED_MALFORMED_IPV6_EXT_COMMUNITIES,
	REFUSED_MALFORMED_LARGE_COMMUNITIES,
	REFUSED_MALFORMED_OTC,
	REFUSED_CAUSES,
};

/* The cause for an attribute type (RFC 4271 4.3); 0: no particular attribute. */
enum refused_cause refused_malformed(uint8_t attribute_type);
/* "as-loop", "malformed-as-path": the key in `refused` of bgp.peers. Static text. */
const char *refused_text(enum refused_cause cause);
/* True for the operator's policy: REFUSED_POLICY, REFUSED_NO_POLICY. */
bool refused_by_policy(enum refused_cause cause);
/*
 * False for policy and for loops: a neighbour may send routes back that this router has advertised
 * (RFC 4271 9.1.2, RFC 4456 8), and many do. All other causes raise an alarm.
 */
bool refused_alarms(enum refused_cause cause);

/* ---- the last refused prefixes of a shard ---- */

/*
 * A ring of the last REFUSED_RING refused announcements; a new entry replaces the oldest. The shard
 * writes 48 bytes an entry, in order, and no index. The reader (main) keeps an index over the ring,
 * and adds new entries at each lookup. Memory: 6 MiB of entries, allocated at the first refusal of
 * the shard, and 1 MiB of index, allocated at the first lookup.
 */
#define REFUSED_RING (1u << 17)

struct refused_ring;
struct refused_route {
	struct peer_id peer;
	enum refused_cause cause;
	uint32_t time_s; /* of the monotonic clock */
	uint16_t time_ms; /* and milliseconds */
	uint16_t policy; /* REFUSED_POLICY: the import policy, history_policy() */
	/* REFUSED_POLICY: `seq` of the node that refused the route; 0: no node matched, or no record */
	uint32_t node;
};

/* 0, -ENOMEM. */
int refused_ring_create(struct arena *a, struct refused_ring **out);
void refused_ring_destroy(struct refused_ring *r);
/* The writer. `rd`: 0 except in VPN families. */
void refused_ring_put(struct refused_ring *r, enum family family, struct vpn_rd rd,
	const struct prefix *p, const struct refused_route *what);
/*
 * Reader: up to `max` entries of a prefix, the newest first, one per peer; none of a peer whose
 * newest entry has the cause REFUSED_NOT: the peer has withdrawn the prefix since. Returns the
 * number; 0 without memory for the index.
 */
unsigned refused_ring_find(struct refused_ring *r, enum family family, struct vpn_rd rd,
	const struct prefix *p, struct refused_route *out, unsigned max) RUNS_ON(role_main);
/* As refused_ring_find(), all entries of all peers, with those of REFUSED_NOT. */
unsigned refused_ring_all(struct refused_ring *r, enum family family, struct vpn_rd rd,
	const struct prefix *p, struct refused_route *out, unsigned max) RUNS_ON(role_main);
