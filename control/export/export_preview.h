/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A preview of exports: how the routes that are advertised to peers would change under other export policies and rules. Nothing is sent. The
 * rules of control/export/update_group_rules.c run on scratch groups without members and without a stream, and each result is compared with
 * the Adj-RIB-Out of the peer's update group.
 *
 * Writer: the session thread, which is a RIB reader.
 */
#pragma once

#include "lpm/base.h"
#include "rib/policy.h"
#include "rib/preview.h"
#include "rib/shards.h"

struct arena;
struct attr_table;
struct config_peer;
struct export_preview;
struct update_member;

/* A preview of one table. The pointers are lent as long as the preview. */
struct export_preview_config {
	struct arena *arena;
	const struct shards *shards;
	struct attr_table *exported; /* of the session thread */
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
 * `next`: its configuration then (only for the call), `cluster_id` (RFC 4456 7) and `policy` (lent as long as `e`) with it. A peer that is told nothing now, not being up,
 * counts nothing. 0, -ENOMEM.
 */
int export_preview_peer(struct export_preview *e, struct peer_id peer,
	const struct config_peer *next, uint32_t cluster_id, const struct policy *policy)
	RUNS_ON(role_session);
/*
 * The same change has new import policies: each destination is evaluated on its best path after them. `import` is of the same table; lent, and used by
 * export_preview_run() and export_preview_default() only.
 */
void export_preview_imports(struct export_preview *e, struct preview *import) RUNS_ON(role_session);
/*
 * From `from` on, until the deadline: where to go on; `end` when it is done. *err: 0, -ENOMEM; -EAGAIN: preview_question() of the import preview has to
 * be answered first.
 */
uint32_t export_preview_run(struct export_preview *e, uint32_t from, uint32_t end,
	uint64_t deadline_ns, int *err) RUNS_ON(role_session);
/* Behind the last slice, in the same turn: the default route, the table's or the one that we make up. 0, -ENOMEM, -EAGAIN as above: run again, then this. */
int export_preview_default(struct export_preview *e) RUNS_ON(role_session);
/* Any thread, while nothing runs. */
void export_preview_counts(
	const struct export_preview *e, struct peer_id peer, struct preview_counts *out);
