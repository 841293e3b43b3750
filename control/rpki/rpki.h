/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Origin validation: connections to RPKI caches (control/rpki/rtr.h), the choice among their data,
 * and its publication to the shards and to main.
 *
 * The thread keel-rpki owns connections and data, so a slow or large cache delays no other thread.
 * In use is the union of the data of all caches with the lowest `preference` among caches that are
 * synchronized; without such a cache, among caches with unexpired data. Used data of a removed
 * cache stays in use until the new caches have answered, or until the data expires. A change is
 * published when all shards have evaluated the routes of the change before.
 *
 * Main creates, configures and destroys. Lifetime: longer than the threads, the shards and the jobs,
 * which hold sets of VRPs.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"

#include <jansson.h>

struct config;
struct layers;
struct rpki;
struct vrps;

struct rpki_config {
	const struct layers *layers;
	/* Reports an event on main; takes `members` over. */
	void (*report)(void *ctx, const char *topic, json_t *members);
	void *ctx;
};

/* 0, -ENOMEM. */
int rpki_create(const struct rpki_config *c, struct rpki **out) RUNS_ON(role_main);
/* Starts the thread, after the threads of the shards: *out. 0, -errno. */
struct thread;
int rpki_start(struct rpki *r, const unsigned *cpus, unsigned cpu_count, struct thread **out)
	RUNS_ON(role_main);
/* After the end of all users of a set. */
void rpki_destroy(struct rpki *r) RUNS_ON(role_main);
/* The caches of `c`, from now on; a cache with an equal address, port and password keeps its connection. */
void rpki_configure(struct rpki *r, const struct config *c) RUNS_ON(role_main);
/* The published VRPs, lent until the next turn of main; NULL: none were published yet. `r` may be NULL. */
struct vrps *rpki_vrps(const struct rpki *r) RUNS_ON(role_main);

/*
 * True if caches are configured and none was synchronized for 5 s. *caches: their number. NULL: false.
 */
bool rpki_unsynced(const struct rpki *r, unsigned *caches) RUNS_ON(role_main);

/* The result of rpki.summary. */
json_t *rpki_summary(struct rpki *r) RUNS_ON(role_main);
