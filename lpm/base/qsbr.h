/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Grace periods for RCU (rte_rcu_qsbr, without EAL), and a bounded list of objects waiting to be
 * freed after a grace period. keeld has two instances: for workers that read forwarding
 * generations, and for readers of the RIB.
 *
 * A reader thread registers once, goes online before reading shared objects, and reports a
 * quiescent state (no references held) at least once per loop. A reader goes offline around calls
 * that may sleep. Each retire list belongs to one writer thread.
 */
#pragma once

#include "lpm/base/base.h"

struct arena;
struct qsbr;
struct retire_list;

#define QSBR_READERS_MAX 128 /* the handles of readers are lower */

/* Room for `max_readers` readers, at most QSBR_READERS_MAX. Returns 0, -ENOMEM or -EINVAL. */
int qsbr_create(struct arena *a, unsigned max_readers, struct qsbr **out);
void qsbr_destroy(struct qsbr *q);
/* Bytes of a struct qsbr with room for `max_readers` readers, for keelfwd, which checks shared memory. */
size_t qsbr_bytes(unsigned max_readers);

/*
 * Registers the calling thread as a reader. *id is the reader's handle; the reader starts offline.
 * Any thread. Returns 0 or -ENOSPC.
 */
int qsbr_register(struct qsbr *q, unsigned *id);
void qsbr_unregister(struct qsbr *q, unsigned id);
/* Only the thread that registered `id`. */
void qsbr_online(struct qsbr *q, unsigned id);
void qsbr_offline(struct qsbr *q, unsigned id);
void qsbr_quiescent(struct qsbr *q, unsigned id);

/*
 * Starts a grace period and returns its token. The period is over when every reader that is online
 * now has been quiescent or offline. Writer.
 */
uint64_t qsbr_start(struct qsbr *q);
/* True if the grace period of `token` is over. Does not wait. Writer. */
bool qsbr_done(struct qsbr *q, uint64_t token);
/* Waits for the end of the grace period in a sched_yield() loop. For tests and shutdown. */
void qsbr_wait(struct qsbr *q, uint64_t token);

/* Frees `p`. Runs on the writer thread, inside retire_reclaim(). */
typedef void retire_fn(void *ctx, void *p);

/* Creates a list of at most `max` waiting objects. Returns 0, -ENOMEM or -EINVAL. */
int retire_list_create(struct arena *a, struct qsbr *q, unsigned max, struct retire_list **out);
/* Waits for the grace periods of all objects, frees the objects, then the list. */
void retire_list_destroy(struct retire_list *r);
/*
 * Queues `p` for fn(ctx, p) after a grace period. Never fails: if the list is full, waits for the
 * oldest batch first. retire_waits() counts such waits; a growing count means `max` is too small.
 */
void retire_push(struct retire_list *r, retire_fn *fn, void *ctx, void *p);
/* Frees at most `budget` objects after their grace period. Returns the number freed. */
unsigned retire_reclaim(struct retire_list *r, unsigned budget);
unsigned retire_pending(const struct retire_list *r);
