/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Export: one ordered stream for what shares bytes. First dump, live changes, refresh with BoRR and EoRR and End-of-RIB are entries
 * of it, so nothing can overtake anything. In this version a group has one member: its session.
 *
 * Writer: the session thread, which is a RIB reader. Adj-RIB-Out is rib/adj_rib_out.h; exported attribute sets are interned in a table of
 * this thread. A destination's present state is read when it is sent; withdrawals obey journal_entry_is_last().
 */
#pragma once

#include "control/bgp_attr.h"
#include "lpm/base.h"
#include "rib/policy.h"
#include "rib/shard.h"

struct arena;
struct attr_table;
struct update_group;

struct update_group_config {
	struct arena *arena;
	struct shard *shard;
	struct table_id table;
	enum family family;
	struct attr_table *exported; /* of the session thread, which alone reads it */
	struct peer_id member;
	bool external;
	uint32_t local_as, peer_as;
	struct ip_addr local_addr;   /* our end of the session: next-hop-self */
	bool next_hop_self, next_hop_unchanged;
	struct bgp_encode_options encode;
	const struct policy *policy; /* NULL: none */
	struct policy_context context;
	unsigned batch; /* changes gathered at once; 0: 2,048. Small ones are for tests: more of the order shows */
};

/* Subscribes to the journal and opens the first dump. 0, -ENOMEM, -ENOSPC. */
int update_group_create(const struct update_group_config *c, struct update_group **out) RUNS_ON(role_session);
void update_group_destroy(struct update_group *g) RUNS_ON(role_session);
/*
 * The same in slices: a full table takes longer than one. The journal's cursor goes with the first. False: `g` is gone.
 */
bool update_group_dismantle(struct update_group *g, uint64_t deadline_ns) RUNS_ON(role_session);
/* Another export policy: a walk that sends differences only. */
void update_group_policy(struct update_group *g, const struct policy *p) RUNS_ON(role_session);
/* A walk that sends everything again; framed: BoRR before and EoRR behind it (RFC 7313 4). */
void update_group_refresh(struct update_group *g, bool framed) RUNS_ON(role_session);

enum update_group_mark { MARK_NONE, MARK_END_OF_RIB, MARK_BORR, MARK_FIRST_ENTRY, MARK_EORR, MARK_WALK_DONE /* of a refresh, framed or not */,
	MARK_POLICY_DONE };
/*
 * Encodes up to `size` octets of whole messages into `buf` (at least one message's room), until the deadline. Returns the octets, 0 when
 * there is nothing to send now. *more: call again. `mark` is told on this thread in stream order.
 */
size_t update_group_encode(struct update_group *g, uint8_t *buf, size_t size, uint64_t deadline_ns, bool *more,
	void (*mark)(void *ctx, enum update_group_mark m), void *ctx) RUNS_ON(role_session);
/* Is there anything to encode? Cheap: for each turn of the loop. */
bool update_group_pending(const struct update_group *g) RUNS_ON(role_session);
/* 0, or why the stream can't go on (-ENOMEM, -ENOSPC): what was sent and the Adj-RIB-Out may differ, the session must end. */
int update_group_error(const struct update_group *g);
/* Other rules for the next hop: a walk that sends differences only. */
void update_group_next_hop(struct update_group *g, bool next_hop_self, bool next_hop_unchanged) RUNS_ON(role_session);
uint64_t update_group_advertised(const struct update_group *g);
/* The exported set of a destination; NULL: nothing is advertised. */
const struct attr_set *update_group_exported(const struct update_group *g, struct dest_id dest);
