/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The labels for VPN routes that leave with our next hop (rib/table/swap.h): 262144 to 524287, in 16 parts.
 * These labels are not stable over restarts. Remote routers may have labels of earlier processes
 * until their sessions with those processes have ended. So each start takes the next part, and after
 * SWAP_START_REST_NS further parts that were in use before; a process never uses the eight parts of
 * the next eight starts.
 *
 * The file `swap-labels.json` in the state directory has the number of the start. Without a sound
 * file, or when the file cannot be written, all labels rest at first, and an alarm says so.
 *
 * Main only.
 */
#pragma once

#include "lpm/base/base.h"
#include "rib/table/swap.h"

#include <stdbool.h>

/* Longer than the default hold times of other routers (at most 240 s, of BIRD). */
#define SWAP_START_REST_NS UINT64_C(300000000000)

/* The labels of this start. False: the file is broken or cannot be written, so all labels rest. */
bool swap_range_take(const char *folder, uint64_t now_ns, struct swaps_config *out)
	RUNS_ON(role_main);
