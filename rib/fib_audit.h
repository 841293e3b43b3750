/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The audit compares what the RIB and the host's routes ask for with what the workers' tables answer. An audit looks up the first and the last address
 * of every destination, every host route and every prefix of the fib, and one address before and behind, in both families. It is a walk in slices between
 * commits, and does not use the code by which the feed fills the tables.
 *
 * An address with another answer is a mismatch when no prefix that covers the address changed between two looks, and the workers' tables contain all that
 * the RIB held at the first look. An address whose prefixes keep changing is skipped after two seconds.
 *
 * Owner: the fib thread, which calls everything but fib_auditor_progress(). An auditor lives as long as its feed.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/prefix.h"

struct fib_auditor;
struct fib_feed;

struct fib_mismatch {
	struct vrf_id vrf;
	struct ip_addr addr;
	struct prefix expected, found; /* .afi == AFI_NONE: no route */
};
#define FIB_AUDIT_MISMATCHES_MAX 1000
/* The result of the newest audit. */
struct fib_audit {
	bool running;
	int error; /* -ENOMEM: the audit was given up, and the figures are those of a part */
	uint64_t checked, mismatch_count; /* addresses */
	uint64_t skipped; /* of the checked addresses: prefixes kept changing */
	uint64_t
		not_installed; /* prefixes that the fib has no room for: groups (fib_is_waiting()) or ids of next hops are out */
	struct fib_mismatch mismatch[FIB_AUDIT_MISMATCHES_MAX];
};

/* Reads the tables of `f`. 0, -ENOMEM. */
int fib_auditor_create(struct fib_feed *f, struct fib_auditor **out);
/* Ends a running audit. */
void fib_auditor_destroy(struct fib_auditor *a);
/* 0; -EBUSY: an audit is running; -ENODEV: the feed has no fib; -ENOMEM, which the result shows, too. */
int fib_auditor_begin(struct fib_auditor *a) RUNS_ON(role_fib);
/* One slice of a running audit, or nothing. True while there is more to do now. */
bool fib_auditor_work(struct fib_auditor *a, uint64_t deadline_ns) RUNS_ON(role_fib);
const struct fib_audit *fib_auditor_result(const struct fib_auditor *a) RUNS_ON(role_fib);
/* Any thread: prefixes that the audit has checked, of an estimate of all. */
void fib_auditor_progress(const struct fib_auditor *a, uint64_t *done, uint64_t *total);
