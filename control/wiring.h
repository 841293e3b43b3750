/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Builds the layers, starts their threads and carries the messages between them. Main calls each function once, in this order; every callback
 * runs on the thread that its layer names.
 */
#pragma once

#include "control/keeld.h"

/* Fills k->layers but for the threads: arenas, QSBRs, shards, forwarding tables, feed, netlink, speaker. k->apply exists. 0, -errno (logged). */
int wiring_create(struct keeld *k);
/* Starts the threads in the order in which they need each other: fib, session, rib, host. 0, -errno (logged). */
int wiring_start(struct keeld *k);
/* Ends the threads: session first, which sends its peers Cease, then rib, host, fib. */
void wiring_stop(struct keeld *k);
/* After wiring_stop(), or when wiring_create() failed. */
void wiring_destroy(struct keeld *k);
