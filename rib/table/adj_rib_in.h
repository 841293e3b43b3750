/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counters and stale epochs of a (peer, family). The routes themselves are paths in destinations
 * (rib/table/dest.h).
 *
 * A path is stale if the 16-bit stamp of the path differs from the current epoch of the (peer,
 * family), so an unchanged route is never copied. BoRR and a new session open an epoch. EoRR,
 * End-of-RIB after retention, or the stale timer sweep the paths of older epochs. After several
 * BoRR the newest counts, and one EoRR closes all. EoRR without BoRR, and BoRR before an announced
 * End-of-RIB, are ignored and counted (RFC 7313 4).
 *
 * Retained (RFC 4724 4.2): after the loss of a session its paths stay, stale, until the End-of-RIB
 * of the next session or the stale timer.
 *
 * Stamps are compared as serial numbers and must stay near each other: after ADJ_RIB_IN_EPOCHS
 * epochs without a sweep, BoRR opens no epoch until the next sweep, and routes received since the
 * last epoch count as refreshed.
 *
 * Writer: the shard. Readers: main, relaxed counters.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"

#include <stdatomic.h>

struct adj_rib_in_counts {
	uint64_t received; /* stored: accepted, and with keep_all_routes kept rejected */
	uint64_t accepted;
	/*
	 * Prefixes refused since the session came up: every refused announcement, and with
	 * keep_all_routes every accepted route that a replay refused.
	 */
	uint64_t rejected_total;
	uint64_t blackholed_total; /* accepted by POLICY_NODE_BLACKHOLE since the session came up */
	uint64_t stale_swept;
	uint64_t borr_received, eorr_received, eorr_ignored;
	uint64_t borr_ignored;
	uint64_t counted; /* against max_prefixes */
	/*
	 * stored with received attributes, accepted or rejected: all paths, once keep_all_routes is
	 * complete
	 */
	uint64_t kept;
	uint64_t replays_done; /* replays up to this number (shard_peer_replay()) are done */
};

#define ADJ_RIB_IN_EPOCHS 16384u

/* Per (peer, family). */
struct adj_rib_in {
	_Atomic uint64_t received, accepted, rejected_total, stale_swept, blackholed_total;
	_Atomic uint64_t borr_received, eorr_received, eorr_ignored, borr_ignored;
	_Atomic uint64_t kept, replays_done;
	/*
	 * Stored paths without paths that a sweep will remove: the count for max_prefixes. A path
	 * of a lost session does not count against the next session. Readers: the other shards.
	 */
	_Atomic uint64_t counted;
	_Atomic uint64_t waiting; /* accepted paths without a valid next hop */
	uint64_t fresh; /* stored paths with the stamp of `epoch` */
	uint64_t fresh_before; /* `fresh` at the end of the previous epoch */
	_Atomic uint16_t epoch; /* stamp of fresh paths */
	uint16_t oldest; /* no path has an older stamp */
	bool refreshing; /* between BoRR and EoRR */
	bool retained; /* paths of an earlier session are kept until End-of-RIB; no BoRR counts */
	/*
	 * the peer has announced End-of-RIB for this session, with or without retained paths: BoRR
	 * is ignored before
	 */
	bool awaiting;
};

void adj_rib_in_init(struct adj_rib_in *a);
/* Opens and returns a new epoch; paths with older stamps become stale. */
uint16_t adj_rib_in_open_epoch(struct adj_rib_in *a);
/*
 * Paths with a stamp before `below` (the current or previous epoch) will be swept and no longer
 * count against the limit.
 */
void adj_rib_in_doomed(struct adj_rib_in *a, uint16_t below);
/* Paths with a stamp before `below` are swept, or there were none. */
void adj_rib_in_swept(struct adj_rib_in *a, uint16_t below);
/*
 * The session is lost and the paths are retained, all stale. True: a sweep of paths that were stale
 * before must follow (RFC 4724 4.2), with `long_lived` (RFC 9494 4.2) only because there are too
 * many epochs.
 */
bool adj_rib_in_retain(struct adj_rib_in *a, bool long_lived, uint16_t *below);
/* End-of-RIB, or the stale timer: true when a sweep must follow. */
bool adj_rib_in_end_of_rib(struct adj_rib_in *a);
bool adj_rib_in_timeout(struct adj_rib_in *a);
/* The session is lost without retention. Returns the epoch below which paths are flushed. */
uint16_t adj_rib_in_lost(struct adj_rib_in *a);
/* A new session: opens an epoch. `awaiting`: the peer sends End-of-RIB. */
void adj_rib_in_up(struct adj_rib_in *a, bool awaiting);
/*
 * BoRR: opens an epoch. EoRR: true when a sweep must follow, false (counted) when there was no
 * BoRR.
 */
void adj_rib_in_begin_refresh(struct adj_rib_in *a);
bool adj_rib_in_end_refresh(struct adj_rib_in *a);
void adj_rib_in_counts_get(const struct adj_rib_in *a, struct adj_rib_in_counts *out);
