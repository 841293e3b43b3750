/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A table dump: the unicast tables of the default VRF in a file, as TABLE_DUMP_V2 (control/session/mrt.h).
 *
 * Main reads the RIB in turns of 2 ms and fills chunks of a file_writer; without a free chunk the dump waits for the
 * disk. A failed write ends the dump.
 *
 * Owner: main. Lifetime: from mrt_dump_start() to done().
 */
#pragma once

#include "lpm/base/base.h"

#include <stdint.h>

struct layers;
struct mrt_dump;

struct mrt_dump_config {
	const struct layers *layers;
	uint32_t asn, router_id;
	uint32_t time_s; /* of the records */
	/* The file, which must not exist; with `name`, the file gets this name when it is complete. Lent for the call. */
	const char *path, *name;
};

struct mrt_dump_result {
	int error; /* 0, -errno: the file is not complete; -ECANCELED */
	uint64_t prefixes, routes, octets;
	/* routes beyond 512 of a prefix, routes with attributes above 65,535 octets, prefixes above 1 MiB */
	uint64_t left_out;
};

/* done() is called once, in a later turn of main. 0, -errno. */
int mrt_dump_start(const struct mrt_dump_config *c,
	void (*done)(void *ctx, const struct mrt_dump_result *r), void *ctx, struct mrt_dump **out)
	RUNS_ON(role_main);
/* Ends the dump early; with `name`, removes the file. done() follows. */
void mrt_dump_cancel(struct mrt_dump *d) RUNS_ON(role_main);
/* The process ends, and main runs no timers any more: waits up to `patience_ns` for the disk. done() is not called. */
void mrt_dump_destroy(struct mrt_dump *d, uint64_t patience_ns) RUNS_ON(role_main);
