/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Per peer and family: what it has told us, in numbers, and its stale epochs. The routes themselves are the
 * paths in the destinations (rib/dest.h).
 *
 * Stale is a 16-bit stamp on a path that is not the (peer, family)'s present epoch: nothing is copied for an unchanged
 * route. BoRR and a new session open an epoch; EoRR, End-of-RIB of a session whose routes were retained, or the stale timer sweep what still has an
 * older one. BoRR during BoRR: the newest counts, one EoRR closes all. EoRR without BoRR, and BoRR before the End-of-RIB of a peer that
 * sends one, are ignored and counted (RFC 7313 4).
 *
 * Retained (RFC 4724 4.2): the session is lost and what it told stays, stale, until the End-of-RIB of the next one, or the stale timer.
 * Stamps are compared as serial numbers, so they must stay near each other: after ADJ_RIB_IN_EPOCHS without a sweep, BoRR opens
 * no further epoch until one is done, and what the peer said since the last one it opened counts as told again.
 *
 * Writer: the shard. Readers: main, relaxed counters.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/prefix.h"

#include <stdatomic.h>

struct adj_rib_in_counts {
	uint64_t received; /* stored: accepted, and with keep_all_routes kept rejected */
	uint64_t accepted;
	/*
	 * Prefixes refused since the session came up: each announcement that was, and with keep_all_routes each route that was accepted until a
	 * replay refused it.
	 */
	uint64_t rejected_total;
	uint64_t stale_swept;
	uint64_t borr_received, eorr_received, eorr_ignored;
	uint64_t borr_ignored;
	uint64_t counted; /* against max_prefixes */
	uint64_t
		kept; /* stored with what was received, be it accepted or rejected: all, once a keep_all_routes is filled */
	uint64_t replays_done; /* shard_peer_replay() numbers up to this one are done */
};

#define ADJ_RIB_IN_EPOCHS 16384u

/* One for each (peer, family). */
struct adj_rib_in {
	_Atomic uint64_t received, accepted, rejected_total, stale_swept;
	_Atomic uint64_t borr_received, eorr_received, eorr_ignored, borr_ignored;
	_Atomic uint64_t kept, replays_done;
	/*
	 * Stored paths but those that a sweep is about to take away: what max_prefixes counts. A path of a lost session does not
	 * count against the next one. Readers: the shards beside this one.
	 */
	_Atomic uint64_t counted;
	_Atomic uint64_t waiting; /* accepted paths whose next hop is no valid one now */
	uint64_t fresh,
		fresh_before; /* stored paths with the stamp of `epoch`; of the one before it, when it ended */
	_Atomic uint16_t epoch; /* stamp of what is fresh */
	uint16_t oldest; /* no path has an older stamp */
	bool refreshing; /* between BoRR and EoRR */
	bool retained; /* paths of an earlier session are kept until End-of-RIB; no BoRR counts */
	bool awaiting; /* End-of-RIB of this session, whatever is retained: no BoRR counts before it */
};

void adj_rib_in_init(struct adj_rib_in *a);
/* A new epoch; the old stamps are stale from here on. Returns it. */
uint16_t adj_rib_in_open_epoch(struct adj_rib_in *a);
/* Paths with a stamp before `below`, this epoch or the one before it, are about to be swept: they count no more. */
void adj_rib_in_doomed(struct adj_rib_in *a, uint16_t below);
/* A sweep of all stamps before `below` is done, or there were none. */
void adj_rib_in_swept(struct adj_rib_in *a, uint16_t below);
/* The session is lost, its paths stay: all are stale. True: a sweep of what was stale before must follow (RFC 4724 4.2). */
bool adj_rib_in_retain(struct adj_rib_in *a, uint16_t *below);
/* End-of-RIB, or the stale timer: true when a sweep must follow. */
bool adj_rib_in_end_of_rib(struct adj_rib_in *a);
bool adj_rib_in_timeout(struct adj_rib_in *a);
/* The session is lost, and nothing stays. Returns the epoch below which all goes. */
uint16_t adj_rib_in_lost(struct adj_rib_in *a);
/* A new session: opens an epoch. `awaiting`: the peer sends End-of-RIB. */
void adj_rib_in_up(struct adj_rib_in *a, bool awaiting);
/* BoRR: opens an epoch. EoRR: true when a sweep must follow, false (counted) when there was no BoRR. */
void adj_rib_in_begin_refresh(struct adj_rib_in *a);
bool adj_rib_in_end_refresh(struct adj_rib_in *a);
void adj_rib_in_counts_get(const struct adj_rib_in *a, struct adj_rib_in_counts *out);
