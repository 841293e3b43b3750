/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records for the shards: how session_in.c puts them into batches. Other files of the room use
 * input_*() of session_impl.h.
 */
#pragma once

#include "control/session/session_impl.h"

/* ---- runs ---- */

/*
 * Counts prefixes in the open run. `bulk`: of a whole table. Returns their work for a shard, in
 * nanoseconds.
 */
uint64_t run_add(struct speaker *s, enum family family, unsigned prefixes, bool bulk, uint64_t now)
	RUNS_ON(role_session);
/* Hands over the run if it is full. False: it is full, and too many runs are unfinished. */
bool run_room(struct speaker *s) RUNS_ON(role_session);
/* True if the open run takes live changes although run_room() is false. */
bool run_live_room(const struct speaker *s);
/* True if live prefixes in the open run would wait for the whole table of another peer. */
bool run_mixed(const struct speaker *s, uint64_t now);

/* ---- batches ---- */

/* Octets left in the open batch. */
size_t batch_room(const struct speaker_input *in);
/* Makes room for a record of `len` octets in the open batch. False: no batch is free. */
bool batch_reserve(struct speaker *s, unsigned shard, size_t len) RUNS_ON(role_session);
/* Acquires `count` empty batches in advance. False: too few are free. */
bool spares_reserve(struct speaker *s, unsigned shard, unsigned count) RUNS_ON(role_session);

/* ---- records ---- */

/*
 * Order between shards (docs/decisions/0006): a record that may withdraw a prefix follows all
 * earlier records of covering and covered prefixes. Of two such prefixes in two shards, the wide
 * prefix belongs to the first shard. `under`: bits of the shards of the covered prefixes.
 */
void order_record(const struct speaker *s, uint32_t under, struct rib_order *out)
	RUNS_ON(role_session);
/* The first shard has the wide record: all later records of the shards in `under` follow it. */
void order_later_records(struct speaker *s, uint32_t under) RUNS_ON(role_session);

/* Octets of a record without a rib_order. */
size_t record_len(size_t payload_len, size_t nlri_len);
/* Room must be reserved. `payload` (may be NULL) is copied and padded. */
struct rib_record *record_begin(const struct speaker_input *in, const struct peer *p,
	enum rib_record_kind kind, enum family f, const void *payload, size_t payload_len,
	uint64_t now);
/* Where the prefixes of the record begin. */
uint8_t *record_nlri(struct rib_record *r);
/* `order` (may be NULL): for a wide record, or for a record of a peer with a limit. */
void record_end(struct speaker_input *in, struct rib_record *r, const struct rib_order *order);
/*
 * Puts a record without prefixes into a batch of each shard. False: no batch. The end of a session, of a
 * refresh or of the stale time takes prefixes off the count for max_prefixes. So with a limit no shard
 * runs the record before all shards have checked the earlier prefixes.
 */
bool record_put(struct speaker *s, const struct peer *p, enum rib_record_kind kind, enum family f,
	const void *payload, size_t payload_len) RUNS_ON(role_session);
