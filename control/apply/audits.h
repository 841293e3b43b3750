/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Audits of the forwarding tables (rib/feed/fib_feed.h) for requests on main. The fib thread runs one
 * audit at a time. Requests for the same VRF during an audit share one audit.
 *
 * Writer: main, except audits_turn().
 */
#pragma once

#include "lpm/base/base.h"

struct audits;
struct fib_audit;
struct layers;

/* 0, -ENOMEM. `l` is lent. */
int audits_create(const struct layers *l, struct audits **out) RUNS_ON(role_main);
/*
 * Ends all requests with done(ctx, NULL); no further audit begins. An audit on the fib thread
 * continues.
 */
void audits_stop(struct audits *a) RUNS_ON(role_main);
/* After audits_stop(), when the threads have ended. */
void audits_destroy(struct audits *a) RUNS_ON(role_main);

/*
 * Requests an audit of the VRF `only` (NULL: of all) that begins after this call. Main calls done() once, with the result (lent), or
 * with NULL after audits_stop().
 * 0; -ENODEV without a data plane; -ENOMEM.
 */
int audits_begin(struct audits *a, const struct vrf_id *only,
	void (*done)(void *ctx, const struct fib_audit *result), void *ctx) RUNS_ON(role_main);
/* The progress of the audit for the request with `ctx`. False: the audit has not begun. */
bool audits_progress(const struct audits *a, const void *ctx, uint64_t *done, uint64_t *total)
	RUNS_ON(role_main);
/* After each turn of the feed: sends the end of an audit to main. */
void audits_turn(struct audits *a) RUNS_ON(role_fib);
