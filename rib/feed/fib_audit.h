/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The audit compares the routes of the RIB and the host with the answers of the workers' tables.
 *
 * An audit looks up the first and the last address of every destination, every host route and every
 * prefix of the fib, and the addresses directly before and after, in both families. An audit covers
 * one VRF, or all: the default table and the VPN instances. The audit is a walk in slices between commits. The audit finds longest matches by itself, without code of the
 * tables.
 *
 * A different answer is a mismatch if no prefix that covers the address changed between two
 * lookups, and the workers' tables contain all routes that the RIB held at the first lookup. An
 * address whose prefixes keep changing is skipped after two seconds.
 *
 * Owner: the fib thread, except for fib_auditor_progress(). An auditor lives as long as its feed.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"

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
	int error; /* -ENOMEM: the audit stopped early, and the figures are partial */
	uint64_t checked, mismatch_count; /* addresses */
	uint64_t skipped; /* of the checked addresses: prefixes kept changing */
	/*
	 * prefixes without room in the fib: no groups (fib_is_waiting()), no ids of next hops, or an
	 * instance without room for a painted table (fib_is_full())
	 */
	uint64_t not_installed;
	struct fib_mismatch mismatch[FIB_AUDIT_MISMATCHES_MAX];
};

/* Reads the tables of `f`. 0, -ENOMEM. */
int fib_auditor_create(struct fib_feed *f, struct fib_auditor **out);
/* Ends a running audit. */
void fib_auditor_destroy(struct fib_auditor *a);
/*
 * Audits the VRF `only`; NULL: all. 0; -EBUSY: an audit is running; -ENODEV: the feed has no fib;
 * -ENOMEM, also noted in the result.
 */
int fib_auditor_begin(struct fib_auditor *a, const struct vrf_id *only) RUNS_ON(role_fib);
/* One slice of a running audit. True if more work is due now. */
bool fib_auditor_work(struct fib_auditor *a, uint64_t deadline_ns) RUNS_ON(role_fib);
const struct fib_audit *fib_auditor_result(const struct fib_auditor *a) RUNS_ON(role_fib);
/* Any thread: prefixes checked so far, and an estimate of the total. */
void fib_auditor_progress(const struct fib_auditor *a, uint64_t *done, uint64_t *total);
