/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The system calls that keelfwd gives up after the start. keelfwd takes requests from a process
 * that parses octets of strangers, and its workers parse frames of strangers. The list names the refused
 * calls, not the allowed calls: a driver of DPDK may use any call, and a missing call would be noticed on the
 * day of a fault. The packaged unit adds a list of allowed calls.
 */
#pragma once

#include <stdbool.h>

/*
 * In all threads, for good. Refused calls fail with EPERM; with `namespaces` setns() enters network namespaces alone. 0, -errno;
 * -ENOTSUP: built without libseccomp.
 */
int keelfwd_calls_limit(bool namespaces);
