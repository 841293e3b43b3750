/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The audit trail: one line of JSON for each call that changes something, in the state directory. The
 * file `audit.log` is renamed to `audit.log.1` when it has TRAIL_FILE_MAX octets, and so on up to
 * `audit.log.3`; older lines are dropped. The thread of the disk appends lines without fsync, after the
 * answer to the call: a kill or a power loss can lose the last lines, but no commit, whose author is in the
 * history too. Lines that wait for the disk are in memory, at most TRAIL_WAITING_MAX octets; further lines are
 * dropped.
 *
 * Main only. Lifetime: of the struct apply.
 */
#pragma once

#include "lpm/base/base.h"

#include <jansson.h>
#include <stdint.h>

#define TRAIL_FILE_MAX (2u << 20)
#define TRAIL_FILES 4
/* Octets of one line; a longer line is not written. */
#define TRAIL_LINE_MAX 8192
/* Octets of the lines of one list, plus one line: main parses them in one turn. */
#define TRAIL_LIST_MAX (512u << 10)
#define TRAIL_WAITING_MAX (1u << 20)

struct disk;
struct trail;

/* Continues the files of the folder. 0, -ENOMEM. A folder that cannot be used is logged. `disk`: lent. */
int trail_open(const char *folder, struct disk *disk, struct trail **out) RUNS_ON(role_main);
/* After disk_end(). */
void trail_close(struct trail *t) RUNS_ON(role_main);
/* Appends {id, time, ...members}; takes `members` over (NULL: out of memory). A failure is logged. */
void trail_add(struct trail *t, json_t *members) RUNS_ON(role_main);
/*
 * At most `limit` lines, and at most some TRAIL_LIST_MAX octets, with an id below `before` (0: no bound), the newest first. *next: the bound for
 * the next call; 0: there are no older lines. NULL: out of memory.
 */
json_t *trail_list(const struct trail *t, unsigned limit, uint64_t before, uint64_t *next)
	RUNS_ON(role_main);
