/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * BMP: sessions and tables for collectors (RFC 7854, RFC 9069).
 *
 * The thread keel-bmp owns the connections. Sources: the rings of changed paths (rib/table/path_ring.h), a cursor of the
 * journal, and session_monitor_peek() after each change of a session. The sources give names; the thread reads the
 * state by RCU and stores no route. A collector has an output buffer of fixed size. A change without room sets a bit
 * for the peer; when the collector reads again, Peer Down, Peer Up and all routes of the peer follow. A collector that
 * accepts no octets for `stall_s` is disconnected.
 *
 * Main creates, configures and destroys.
 */
#pragma once

#include "lpm/base/base.h"

#include <jansson.h>

struct bmp;
struct config;
struct layers;
struct thread;

struct bmp_config {
	const struct layers *layers;
	const char *version; /* of keeld; lent */
};

/* 0, -ENOMEM. */
int bmp_create(const struct bmp_config *c, struct bmp **out) RUNS_ON(role_main);
/* Starts the thread, after all others: *out. 0, -errno. */
int bmp_start(struct bmp *b, const unsigned *cpus, unsigned cpu_count, struct thread **out)
	RUNS_ON(role_main);
/* After the end of the shards. */
void bmp_destroy(struct bmp *b) RUNS_ON(role_main);
/* The collectors of `c`, from now on. A collector with equal keys keeps its connection. */
void bmp_configure(struct bmp *b, const struct config *c) RUNS_ON(role_main);

/*
 * Number of collectors; *down: of these, not connected for 30 s or longer. `b` may be NULL.
 */
unsigned bmp_collectors(const struct bmp *b, unsigned *down) RUNS_ON(role_main);

/* The result of bmp.summary. NULL: no memory. */
json_t *bmp_summary(struct bmp *b) RUNS_ON(role_main);
