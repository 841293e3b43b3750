/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The router's end of the RPKI-to-Router protocol, versions 0 (RFC 6810) and 1 (RFC 8210), for one
 * cache: decoding, queries, the data of the cache, timers. Without sockets and clocks: the caller
 * passes octets and the time. For the thread keel-rpki.
 *
 * Data becomes visible as a whole, at End of Data. A cache that breaks the protocol, sends more
 * than RTR_RECORDS_MAX records or stalls loses the connection. The data of the last complete answer
 * stays until the interval of the cache ends, also while the cache begins a new session (RFC 8210
 * 5.1): the full answer of the new session replaces the data.
 */
#pragma once

#include "lpm/base/base.h"

struct arena;
struct rtr;
struct vrps;

#define RTR_RECORDS_MAX (2u << 20) /* four times the VRPs of the Internet: 48 MiB */
#define RTR_ANSWER_NS 30000000000u /* silence of a cache that owes octets */
#define RTR_WHOLE_NS 600000000000u /* from a query to End of Data */
#define RTR_TEXT_MAX 128

enum rtr_state {
	RTR_DOWN, /* no connection */
	RTR_SYNCING, /* a query is unanswered */
	RTR_SYNCED, /* the data is of this connection */
	RTR_NO_DATA, /* the cache has no data yet (RFC 8210 12, code 2) */
};

/* 0, -ENOMEM. */
int rtr_create(struct arena *a, struct rtr **out);
void rtr_destroy(struct rtr *r);

/* The transport is up: a query waits in rtr_output(). */
void rtr_connected(struct rtr *r, uint64_t now);
/*
 * Octets of the cache. 0; -EPROTO: end the connection, after an attempt to send rtr_output();
 * rtr_text() is the reason. *changed: the data is new, or was dropped.
 */
int rtr_input(struct rtr *r, const uint8_t *data, size_t len, uint64_t now, bool *changed);
/* Octets to send; rtr_sent() removes the first `len`. */
const uint8_t *rtr_output(const struct rtr *r, size_t *len);
void rtr_sent(struct rtr *r, size_t len);
/*
 * The transport has ended; an incomplete answer is dropped. True: a Serial Query was not answered;
 * the next query is a Reset Query.
 */
bool rtr_lost(struct rtr *r);
/*
 * Sends due queries, and drops expired data (*changed). 0; -ETIMEDOUT: end the connection. *next:
 * time of the next call; UINT64_MAX: none.
 */
int rtr_tick(struct rtr *r, uint64_t now, uint64_t *next, bool *changed);

enum rtr_state rtr_state(const struct rtr *r);
const char *rtr_state_text(enum rtr_state s);
/* The last complete, unexpired data, lent; NULL: none. */
struct vrps *rtr_vrps(const struct rtr *r);
/* The last error, found here or reported by the cache; "": none. */
const char *rtr_text(const struct rtr *r);

struct rtr_view {
	unsigned version;
	bool has_session;
	uint16_t session;
	uint32_t serial;
	uint64_t synced_ns, expires_ns; /* 0: no data */
	uint64_t answers, resets; /* complete answers, and full answers */
	uint64_t errors; /* connections ended by an error of the protocol, or by silence */
	uint32_t refresh_s, retry_s, expire_s;
};
void rtr_peek(const struct rtr *r, struct rtr_view *out);
