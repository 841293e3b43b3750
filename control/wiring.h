/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What joins the layers: threads around their work functions, and the messages that travel between them.
 * Built once at start by main; each callback runs on the thread that its layer names.
 */
#pragma once

#include "control/keeld.h"

struct fib_audit;

/* The layers that have no thread yet: arenas, QSBRs, shard, fib, feed, speaker. 0, -errno (logged). */
int wiring_create(struct keeld *k);
void wiring_destroy(struct keeld *k);
/* Threads, in the order in which they need each other: fib, session, rib, host. 0, -errno (logged). */
int wiring_start(struct keeld *k);
/* Session first (it says goodbye to its peers), then rib, fib, host. */
void wiring_stop(struct keeld *k);

/*
 * Runs an audit (rib/fib_feed.h) that begins after this call and tells its result on the main thread; it is lent for the call.
 * 0; -ENODEV without a data plane; -ENOMEM.
 */
int keeld_audit(struct keeld *k, void (*done)(void *ctx, const struct fib_audit *a), void *ctx);
/* Of the audit that was asked for with that `ctx`. False: it has not begun. */
bool keeld_audit_progress(const struct keeld *k, const void *ctx, uint64_t *done, uint64_t *total);
/* Bytes of memory that the RIB takes. */
size_t keeld_rib_bytes(const struct keeld *k);
/* For readers' sections of main: RIB (rib/dest.h) and forwarding tables (fib_lookup). At most 1 ms between begin and end. */
void keeld_rib_read_begin(struct keeld *k);
void keeld_rib_read_end(struct keeld *k);
void keeld_fib_read_begin(struct keeld *k);
void keeld_fib_read_end(struct keeld *k);
