/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commits on disk, in a folder: a document for each commit (`commit-ID.json`, mode 0600 because of
 * passwords) and `index.json` with id, time, comment and user. Files are written as config_save() does,
 * so each file is whole after a power loss. The last HISTORY_MAX commits are kept; ids continue
 * over restarts. The history knows an unconfirmed commit before FILE has the document, so a restart
 * finds the commit and rolls back.
 *
 * Writer: main.
 */
#pragma once

#include "lpm/base.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define HISTORY_MAX 100

struct history;

/*
 * Creates the folder if necessary and locks the folder. 0; -ENOMEM; a different -errno when the
 * folder cannot be used (-EWOULDBLOCK: another keeld uses the folder). In the last case *out is a
 * history in memory, and functions that write return the error.
 */
int history_open(const char *folder, struct history **out) RUNS_ON(role_main);
void history_close(struct history *h) RUNS_ON(role_main);

/* The id of the next commit, from 0. */
uint32_t history_next(const struct history *h) RUNS_ON(role_main);
/*
 * Writes the document of the next commit. `back_to` not negative: the commit waits for a
 * confirmation, or rolls back to `back_to`. 0, -errno.
 */
int history_prepare(struct history *h, const json_t *document, int64_t back_to) RUNS_ON(role_main);
/* The files and hashes of struct config.policy_files, for the next commit that is added. */
void history_policy_files(struct history *h, json_t *files) RUNS_ON(role_main);
/*
 * Adds the prepared commit. Without `waits` no commit waits for a confirmation any more. 0, -errno;
 * the commit has its id in either case.
 */
int history_add(struct history *h, const char *comment, const char *user, bool waits)
	RUNS_ON(role_main);
/*
 * No commit waits for a confirmation any more. 0; -errno: the commits still wait, since a restart
 * would roll back.
 */
int history_confirm(struct history *h) RUNS_ON(role_main);
/* As history_confirm(), but the commits wait only for a restart where the index cannot be written. */
int history_confirmed(struct history *h) RUNS_ON(role_main);
/*
 * True if `document` is a commit that waits for a confirmation; *back_to: the commit to roll back
 * to. After a restart the waiting commit has expired.
 */
bool history_waits(const struct history *h, const json_t *document, uint32_t *back_to)
	RUNS_ON(role_main);
/* The document of a commit, a new reference; NULL: not kept. */
json_t *history_document(const struct history *h, uint32_t id) RUNS_ON(role_main);
/* [{id, time, comment, user, policy_files?}], the oldest first; a new reference. */
json_t *history_list(const struct history *h) RUNS_ON(role_main);
/* The id of the last commit. False: no commit is kept. */
bool history_last(const struct history *h, uint32_t *id) RUNS_ON(role_main);
