/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A preview of exports: how the routes advertised to peers would change under other export policies and rules. Nothing is sent. The
 * rules of control/export/update_group_rules.c run on scratch groups without members and without a stream, and each result is compared with
 * the Adj-RIB-Out of the peer's update group.
 *
 * Writer: the session thread, a RIB reader.
 */
#pragma once

#include "lpm/base/base.h"
#include "rib/policy/policy.h"
#include "rib/shard/preview.h"
#include "rib/shard/shards.h"

struct arena;
struct adj_records;
struct config_peer;
struct export_preview;
struct swaps;
struct update_member;

/* A preview of one table. The pointers are lent as long as the preview. */
struct export_preview_config {
	struct arena *arena;
	const struct shards *shards;
	struct adj_records *records; /* of the session thread */
	struct swaps *swaps; /* of the session thread; a preview allocates no label */
	enum family family;
	/* The member of `peer` in an update group of `family`. NULL: no route of the family is advertised to the peer. */
	const struct update_member *(*member)(void *ctx, struct peer_id peer, enum family family);
	void *ctx;
};
/* 0, -ENOMEM. */
int export_preview_create(const struct export_preview_config *c, struct export_preview **out)
	RUNS_ON(role_session);
void export_preview_destroy(struct export_preview *e) RUNS_ON(role_session);
/*
 * Adds a peer with its new configuration `next` (lent for the call), `cluster_id` (RFC 4456 7) and `policy` (lent as long as `e`). The counts of a peer
 * without an established session stay 0. 0, -ENOMEM.
 */
int export_preview_peer(struct export_preview *e, struct peer_id peer,
	const struct config_peer *next, uint32_t cluster_id, const struct policy *policy)
	RUNS_ON(role_session);
/*
 * For a change with new import policies, too: each destination is evaluated with the best path under the new import policies. `import` is a
 * preview of the same table; lent, and used only by export_preview_run() and export_preview_default().
 */
void export_preview_imports(struct export_preview *e, struct preview *import) RUNS_ON(role_session);
/*
 * Evaluates prefix `i` of preview_own() of the import preview, after the destinations; `alone`: instead of
 * the destinations, where nothing else changes. 0, -ENOMEM; -EAGAIN, as below.
 */
int export_preview_own(struct export_preview *e, unsigned i, bool alone) RUNS_ON(role_session);
/*
 * Evaluates the destinations from `from` on, until the deadline. Returns where the next slice begins; `end`: done. *err: 0, -ENOMEM; -EAGAIN: answer
 * preview_question() of the import preview first.
 */
uint32_t export_preview_run(struct export_preview *e, uint32_t from, uint32_t end,
	uint64_t deadline_ns, int *err) RUNS_ON(role_session);
/*
 * Evaluates the default route, of the table or originated by us (default_originate). After the last slice, in the same turn. 0, -ENOMEM; -EAGAIN, as
 * above: call export_preview_run() and then this function again.
 */
int export_preview_default(struct export_preview *e) RUNS_ON(role_session);
/* Any thread, while no slice runs. */
void export_preview_counts(
	const struct export_preview *e, struct peer_id peer, struct preview_counts *out);
