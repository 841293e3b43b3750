/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last changes of the destinations of a shard, for rib.history: what happened to a path, and how
 * the best path moved.
 *
 * Two rings of HISTORY_RING records: changes of live messages, and changes of whole tables and walks,
 * so that a walk over a full table leaves the live changes in place. A new record replaces the
 * oldest. Writer: the shard, 80 bytes a record, in order. Reader: main, which looks through both
 * rings at each query. Memory: HISTORY_BYTES a ring, in pieces of 40 KiB while the ring fills for the first
 * time; not of the arena, whose bytes are those of routes.
 *
 * A walk over a full table would only replace its own records: at most HISTORY_BULK records of the second
 * kind are written in HISTORY_BULK_S, and further changes have none.
 *
 * An added path of a whole table is not recorded, because the path itself has the time (struct
 * rib_path): the initial table of a peer costs nothing. The record that replaces or removes the path
 * repeats this time.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"
#include "rib/table/attr.h"
#include "rib/table/decision.h"
#include "rib/table/dest.h"
#include "rib/shard/refused.h"
#include "rib/table/vpn.h"

struct arena;
struct history;

enum history_event {
	HISTORY_ANNOUNCED, /* a new path */
	HISTORY_REPLACED, /* the peer announced other attributes */
	HISTORY_WITHDRAWN, /* by the peer, or a route of this router that is gone */
	HISTORY_REFUSED, /* the announcement is refused for `cause`; a path of the peer goes */
	HISTORY_SESSION_LOST, /* the path went with the session */
	HISTORY_STALE, /* the path was not announced again in a refresh or after a restart, or aged */
	HISTORY_REEVALUATED, /* a kept announcement has another result by the present policy */
	HISTORY_NEXT_HOP_UP,
	HISTORY_NEXT_HOP_DOWN,
	HISTORY_RANKED, /* no path has changed: settings, a metric, or a router id moved the best path */
	HISTORY_EVENTS,
};

/* Names of a policy in records: an index of history_policy(); 0: none. */
#define HISTORY_POLICIES 4096u

struct history_change {
	uint64_t sequence; /* of the records of the shard; low 32 bits, not 0 */
	uint64_t time_ms; /* of the monotonic clock */
	enum history_event event;
	struct peer_id peer; /* of the path; HISTORY_RANKED: of the new best path */
	uint32_t path_id;
	/* HISTORY_REFUSED */
	enum refused_cause cause;
	uint32_t node;
	uint16_t policy; /* import policy of the peer at that time */
	/* The best path; HISTORY_NO_PEER: none. Equal peers: the same peer, or no change. */
	struct peer_id before, after;
	bool moved; /* the best path is a different path */
	/* With a path before and after: the step in which the path before loses; else DECISION_EQUAL */
	enum decision_reason reason;
	/* The attribute sets of the path, with their serial numbers: may be gone. .v == 0: none */
	struct attr_id set, old_set;
	uint32_t serial, old_serial;
	uint32_t since_s; /* the replaced or removed path; 0: none */
};
#define HISTORY_NO_PEER PEER_MAX

#define HISTORY_RING 8192u
#define HISTORY_BYTES (HISTORY_RING * 80u) /* 640 KiB */
#define HISTORY_BULK 4096u
#define HISTORY_BULK_S 10u

/* 0, -ENOMEM. */
int history_create(struct arena *a, struct history **out);
void history_destroy(struct history *h);
/* The writer. `bulk`: of a whole table or a walk. Fills in the sequence. Without memory: no record. */
void history_put(struct history *h, struct vrf_id vrf, enum family family, struct vpn_rd rd,
	const struct prefix *p, bool bulk, struct history_change *c);
/* The writer: a change of the second kind gets no record. */
void history_skip(struct history *h, uint64_t time_ms);
/* The writer: the index of a policy name. 0: more than HISTORY_POLICIES names, or no memory. */
uint16_t history_policy(struct history *h, const char *name);

/* Main: the name; NULL: none. Valid until history_destroy(). */
const char *history_policy_name(const struct history *h, uint16_t policy) RUNS_ON(role_main);
/*
 * Main: the last records of a prefix, at most half of HISTORY_FOUND in each ring, the newest first.
 * Returns the number. since_ms: from this time on the records of the live ring, and of the other
 * ring, are complete; 0: from the start on.
 */
#define HISTORY_FOUND 512u
unsigned history_find(const struct history *h, struct vrf_id vrf, enum family family,
	struct vpn_rd rd, const struct prefix *p, struct history_change out[HISTORY_FOUND],
	uint64_t since_ms[2]) RUNS_ON(role_main);
/* Main: the length of the longest prefix with a record that holds the address; -1: none. */
int history_longest(const struct history *h, struct vrf_id vrf, enum family family,
	struct vpn_rd rd, const struct ip_addr *a) RUNS_ON(role_main);
/* "announced", "next-hop-up": static text. */
const char *history_event_text(enum history_event e);
