/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Soft reset as a state machine for one (peer, family), RFC 2918 and 7313: which request waits, which walk runs, what
 * coalesces. Pure: works on its arguments, the session performs what it returns.
 *
 * Serving a peer's requests: no BoRR leaves before our End-of-RIB (a request that comes earlier waits for it); a framed walk
 * ends first, requests before its first entry join it, later ones set one flag, and one more full walk serves them all.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Export side of one (peer, family). */
struct refresh_serve {
	bool walking;       /* a refresh walk runs (BoRR left, or plain walk without enhanced refresh) */
	bool first_sent;    /* it has sent its first entry */
	bool pending;       /* one more walk is owed */
	bool for_peer, pending_for_peer; /* a request of the peer is among those that they answer: such a walk is `served` */
	uint64_t requests_received, served, coalesced;
};

/* A ROUTE-REFRESH came. True: begin a walk now. */
bool refresh_serve_request(struct refresh_serve *r, bool end_of_rib_sent);
/* As that, but we want it ourselves: the counters are about the peer's requests. */
bool refresh_serve_order(struct refresh_serve *r, bool end_of_rib_sent);
/* Our End-of-RIB left. True: begin a walk now, for what waited. */
bool refresh_serve_end_of_rib(struct refresh_serve *r);
/* The walk's first entry leaves now. */
void refresh_serve_first_entry(struct refresh_serve *r);
/* The walk ended (EoRR left). True: begin the next one now. */
bool refresh_serve_walk_done(struct refresh_serve *r);
/* The session ended: the counters stay. */
void refresh_serve_reset(struct refresh_serve *r);
