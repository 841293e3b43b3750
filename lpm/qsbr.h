/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Grace periods: rte_rcu_qsbr (which needs no EAL) and a bounded list of what waits for one.
 * Two instances live in keeld: one for the workers (generations), one for RIB readers.
 *
 * A reader registers once, is online while it may hold references, and reports quiescent (holding none)
 * at least once a loop; around anything that may sleep it is offline. One writer thread owns a retire list.
 */
#pragma once

#include "lpm/base.h"

struct arena;
struct qsbr;
struct retire_list;

/* Room for `max_readers` (at most 128). 0, -ENOMEM, -EINVAL. */
int qsbr_create(struct arena *a, unsigned max_readers, struct qsbr **out);
void qsbr_destroy(struct qsbr *q);

/* Any thread. *id is the reader's handle; it starts offline. 0, -ENOSPC. */
int qsbr_register(struct qsbr *q, unsigned *id);
void qsbr_unregister(struct qsbr *q, unsigned id);
/* The reader's own thread. */
void qsbr_online(struct qsbr *q, unsigned id);
void qsbr_offline(struct qsbr *q, unsigned id);
void qsbr_quiescent(struct qsbr *q, unsigned id);

/* Writer: opens a grace period; the token is done when every reader online at this time was quiescent since. */
uint64_t qsbr_start(struct qsbr *q);
/* Does not wait. */
bool qsbr_done(struct qsbr *q, uint64_t token);
/* Waits by yielding: for tests and for stopping. */
void qsbr_wait(struct qsbr *q, uint64_t token);

/* `free_fn(ctx, p)` runs on the writer's thread, in retire_reclaim(). */
typedef void retire_fn(void *ctx, void *p);

/* At most `max` objects wait at once. 0, -ENOMEM. */
int retire_list_create(struct arena *a, struct qsbr *q, unsigned max, struct retire_list **out);
/* Waits for all and frees them. */
void retire_list_destroy(struct retire_list *r);
/* Never fails: a full list first waits out the oldest (counted: the bound was too small). */
void retire_push(struct retire_list *r, retire_fn *fn, void *ctx, void *p);
/* Frees what is past its grace period, at most `budget` objects; returns how many. */
unsigned retire_reclaim(struct retire_list *r, unsigned budget);
unsigned retire_pending(const struct retire_list *r);
uint64_t retire_waits(const struct retire_list *r);
