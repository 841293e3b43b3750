/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taps: events of a trace (trace.start) from one thread to main. A thread without a trace has no
 * tap: an event costs one branch on a NULL pointer.
 *
 * A tap has one writer, the thread (session, rib, fib) that has the pointer, and one reader, main.
 * Main creates a tap, gives the tap to the thread by a call, and frees the tap after a second call
 * has taken the pointer back. Filters change on the thread of the writer. The ring is bounded; an
 * event without room is lost and counted.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"
#include "rib/table/dest.h"
#include "rib/table/vpn.h"

struct arena;

#define TRACES_MAX 8u /* a bit each in trace_event.traces */
#define TRACE_RING_OCTETS (1u << 20)
#define TRACE_NAME_MAX 64
#define TRACE_NO_PEER PEER_MAX

struct trace_filter {
	enum trace_of { TRACE_OF_NOTHING, TRACE_OF_PEER, TRACE_OF_PREFIX, TRACE_OF_POLICY } of;
	struct peer_id peer; /* TRACE_OF_PEER */
	/* TRACE_OF_PREFIX: in the unicast table of this VRF, and in VPN tables for VRF_DEFAULT */
	struct vrf_id vrf;
	struct prefix prefix;
	char policy[TRACE_NAME_MAX]; /* TRACE_OF_POLICY */
};

enum trace_kind {
	TRACE_RECEIVED, /* a message of `peer`; octets follow */
	TRACE_SENT, /* a message to `peer`, in the order of the output buffer; octets follow */
	/* the import policy of `policy`, or a rule, has decided on an announcement of `peer` */
	TRACE_VERDICT,
	TRACE_DECISION, /* a changed destination was published; `peer`: of the best path */
	TRACE_EXPORT, /* update group `number` has evaluated the destination */
	TRACE_FIB, /* a change of the forwarding tables, in the batch after generation `number` */
	TRACE_GENERATION, /* the changes before are in generation `number` */
	TRACE_KINDS,
};

/* Fields without a meaning for the kind are 0. */
struct trace_event {
	uint64_t time_ns; /* CLOCK_REALTIME; trace_put() sets it */
	uint8_t kind; /* enum trace_kind */
	uint8_t traces; /* bits of the filters that match */
	uint8_t family; /* enum family */
	bool permit; /* VERDICT, EXPORT; DECISION: a path is eligible; FIB: set, not withdrawn */
	/* VERDICT: enum refused_cause; EXPORT: enum update_refusal (control/export) */
	uint8_t reason;
	uint8_t unused;
	struct peer_id peer; /* TRACE_NO_PEER: none */
	struct vrf_id vrf;
	uint16_t local_port, remote_port; /* of a message */
	uint16_t paths; /* DECISION */
	uint32_t node; /* VERDICT, EXPORT: `seq` of the deciding node; 0: no node */
	uint32_t octets; /* of the message that follows */
	uint64_t number; /* DECISION: journal sequence; EXPORT, FIB, GENERATION: as above */
	struct vpn_rd rd;
	struct prefix prefix;
	struct ip_addr local, remote; /* of a message */
	char policy[TRACE_NAME_MAX]; /* VERDICT, EXPORT; "": none */
};

struct trace_tap;

/* Main. 0, -ENOMEM. */
int trace_tap_create(struct arena *a, struct trace_tap **out);
void trace_tap_destroy(struct trace_tap *t);
/* The writer: sets filter `i` of TRACES_MAX; NULL clears the filter. */
void trace_tap_set(struct trace_tap *t, unsigned i, const struct trace_filter *f);

/* The writer: bits of the filters that match. */
unsigned trace_of_peer(const struct trace_tap *t, struct peer_id peer);
unsigned trace_of_prefix(
	const struct trace_tap *t, struct vrf_id vrf, enum family family, const struct prefix *p);
/* `policy` NULL: none. */
unsigned trace_of_policy(const struct trace_tap *t, const char *policy);
/* Filter `i` of TRACES_MAX. */
const struct trace_filter *trace_filter_at(const struct trace_tap *t, unsigned i);
/* The writer: copies the event with `e->octets` octets, or counts a lost event. */
void trace_put(struct trace_tap *t, struct trace_event *e, const uint8_t *octets);
void trace_name(struct trace_event *e, const char *policy);

/*
 * Main: the oldest event; *octets (lent) follow. False: the ring is empty. The event stays until
 * trace_drop().
 */
bool trace_peek(struct trace_tap *t, struct trace_event *e, const uint8_t **octets);
void trace_drop(struct trace_tap *t);
/* Any thread: events lost for want of room, of all traces. */
uint64_t trace_lost(const struct trace_tap *t);
