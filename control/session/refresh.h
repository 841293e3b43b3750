/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Soft reset (RFC 2918, RFC 7313) as a state machine for the export to one peer and family: when a
 * walk begins, and which requests share a walk. Pure: the functions change their arguments only;
 * the session begins the walks. Owner: the session thread.
 *
 * Order: requests before our End-of-RIB wait for the End-of-RIB, because no BoRR may precede the
 * End-of-RIB. A request joins a running walk that has sent neither BoRR nor an entry. All later
 * requests share one more walk.
 *
 * Pace: a rest follows each walk (struct refresh_pace), shared by all peers of the session thread.
 * Its length is proportional to the walk, so that a peer with a thousand requests per second cannot
 * occupy the thread. A request during the rest waits for the end of the rest, or for an earlier
 * walk of its group. Infrequent requests and orders of an operator never wait.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Walks for frequent requests take at most one part in REFRESH_SHARE of the time of a thread. */
#define REFRESH_SHARE 4
/* Maximum length of a rest. */
#define REFRESH_REST_MAX_NS 3000000000u
/*
 * A peer that has not been answered for 10 s is answered at once, even if other peers send many
 * requests.
 */
#define REFRESH_SELDOM_NS 10000000000u

/* One for each session thread. */
struct refresh_pace {
	uint64_t free_ns; /* end of the rest */
};

/* The export side of one peer and family. */
struct refresh_serve {
	bool walking; /* a refresh walk is running (with or without BoRR) */
	bool first_sent; /* the walk has sent BoRR or an entry */
	bool pending; /* another walk is due */
	bool resting; /* the due walk waits for the end of the rest only */
	/* a request of the peer is a reason of the running or due walk: counts as `served` */
	bool for_peer, pending_for_peer;
	bool pending_order; /* an operator requested the due walk: no rest */
	uint64_t began_ns; /* start of the last walk for the peer; 0: no walk yet */
	uint64_t requests_received, served, coalesced;
};

/* Adds `spent_ns`, the time of walks until `now_ns`, to the rest. */
void refresh_pace_spent(struct refresh_pace *p, uint64_t now_ns, uint64_t spent_ns);

/* Handles a ROUTE-REFRESH of the peer. Returns true if the caller must begin a walk now. */
bool refresh_serve_request(struct refresh_serve *r, const struct refresh_pace *p,
	bool end_of_rib_sent, uint64_t now_ns);
/*
 * Handles a refresh by an operator: as a request, but not counted and without rest. Returns true if
 * the caller must begin a walk now.
 */
bool refresh_serve_order(struct refresh_serve *r, bool end_of_rib_sent, uint64_t now_ns);
/* Our End-of-RIB was sent. Returns true if the caller must begin a walk for waiting requests. */
bool refresh_serve_end_of_rib(
	struct refresh_serve *r, const struct refresh_pace *p, uint64_t now_ns);
/* The walk has sent BoRR, or is about to send its first entry. */
void refresh_serve_first_message(struct refresh_serve *r);
/* The walk ended (EoRR sent). Returns true if the caller must begin the next walk now. */
bool refresh_serve_walk_done(
	struct refresh_serve *r, const struct refresh_pace *p, uint64_t now_ns);
/*
 * The rest is over, or a walk of the update group begins. Returns true if a request was waiting: the
 * caller must begin a walk now.
 */
bool refresh_serve_resume(struct refresh_serve *r, uint64_t now_ns);
/* The session ended. The counters stay. */
void refresh_serve_reset(struct refresh_serve *r);
