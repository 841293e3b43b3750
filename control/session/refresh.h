/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Soft reset as a state machine for one (peer, family), RFC 2918 and 7313: which request waits, which walk runs, what
 * coalesces. Pure: works on its arguments, the session performs what it returns.
 *
 * Serving a peer's requests: no BoRR leaves before our End-of-RIB (a request that comes earlier waits for it); a framed walk
 * ends first, requests before its first entry join it, later ones set one flag, and one more full walk serves them all.
 *
 * What the walks may take: a peer that asks a thousand times a second would have a thread walk for ever. So behind a walk there is
 * a rest, struct refresh_pace, in proportion to what it took, for all peers of a session thread; a request in that time waits for the
 * rest's end or for a walk of its group, whichever is first. Who asks seldom, and our own orders, never wait.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Of a thread's time, one part in so many goes to answers of refreshes that come faster than that. */
#define REFRESH_SHARE 4
/* The rest behind one walk is no longer, whatever it took. */
#define REFRESH_REST_MAX_NS 3000000000u
/* Who was not answered for so long is answered at once: a flood of another's delays it by no rest. */
#define REFRESH_SELDOM_NS 10000000000u

/* Of one session thread. */
struct refresh_pace {
	uint64_t free_ns; /* the rest's end */
};

/* Export side of one (peer, family). */
struct refresh_serve {
	bool walking; /* a refresh walk runs (BoRR left, or plain walk without enhanced refresh) */
	bool first_sent; /* it has sent its first entry */
	bool pending; /* one more walk is owed */
	bool resting; /* it waits for the end of the rest, and for nothing else */
	bool for_peer,
		pending_for_peer; /* a request of the peer is among those that they answer: such a walk is `served` */
	bool pending_order; /* one of ours: it does not rest */
	uint64_t began_ns; /* the newest walk for the peer; 0: none yet */
	uint64_t requests_received, served, coalesced;
};

/* Walks took so long of the thread, until now. */
void refresh_pace_spent(struct refresh_pace *p, uint64_t now_ns, uint64_t spent_ns);

/* A ROUTE-REFRESH came. True: begin a walk now. */
bool refresh_serve_request(struct refresh_serve *r, const struct refresh_pace *p,
	bool end_of_rib_sent, uint64_t now_ns);
/* As that, but we want it ourselves: the counters are about the peer's requests. */
bool refresh_serve_order(struct refresh_serve *r, bool end_of_rib_sent, uint64_t now_ns);
/* Our End-of-RIB left. True: begin a walk now, for what waited. */
bool refresh_serve_end_of_rib(
	struct refresh_serve *r, const struct refresh_pace *p, uint64_t now_ns);
/* The walk's first entry leaves now. */
void refresh_serve_first_entry(struct refresh_serve *r);
/* The walk ended (EoRR left). True: begin the next one now. */
bool refresh_serve_walk_done(
	struct refresh_serve *r, const struct refresh_pace *p, uint64_t now_ns);
/* The rest is over, or a walk begins that this one can share. True: begin now. */
bool refresh_serve_resume(struct refresh_serve *r, uint64_t now_ns);
/* The session ended: the counters stay. */
void refresh_serve_reset(struct refresh_serve *r);
