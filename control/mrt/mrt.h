/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The key `mrt` of the document: table dumps at times, and files of received messages (RFC 6396).
 *
 * A file of kind `table` is written by a dump (control/mrt/mrt_dump.h) under FILE.tmp, and then renamed. Dumps begin at
 * multiples of the interval since 1970; a dump is left out while the dump before runs. A file of kind `updates` is a
 * record_file (control/base/record_file.h), to which the session thread copies records (control/session/session_mrt.c).
 *
 * Owner: main. Lifetime: created before apply, destroyed after the end of the threads.
 */
#pragma once

#include "lpm/base/base.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct config;
struct layers;
struct mrt;
struct mrt_dump_result;

/* `layers` is lent. 0, -ENOMEM. */
int mrt_create(const struct layers *layers, struct mrt **out) RUNS_ON(role_main);
/* After the end of the other threads: closes all files, and removes the files of unfinished dumps. */
void mrt_destroy(struct mrt *m) RUNS_ON(role_main);
/* The files of `c`, from now on. An entry with the same file and kind keeps its open file and its figures. */
void mrt_configure(struct mrt *m, const struct config *c) RUNS_ON(role_main);

/*
 * The dump of mrt.dump; one at a time, beside the dumps of the document. `path` must not exist. done() follows. 0,
 * -EBUSY, -errno.
 */
int mrt_ask(struct mrt *m, const char *path,
	void (*done)(void *ctx, const struct mrt_dump_result *r), void *ctx) RUNS_ON(role_main);
/* done() of mrt_ask() will not be called. */
void mrt_ask_forget(struct mrt *m) RUNS_ON(role_main);

/* The text of the alarm: files that cannot be written, or records lost in the last 60 s. False: no alarm. `m` may be NULL. */
bool mrt_alarm(struct mrt *m, char *text, size_t size) RUNS_ON(role_main);
/* The result of mrt.summary. NULL: no memory. */
json_t *mrt_summary(const struct mrt *m) RUNS_ON(role_main);
