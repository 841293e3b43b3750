/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commits on disk, in a folder: a document for each commit, `index.json` with id, time, comment, user and the hashes of policy
 * files, and each text of a policy file once (`policy-HASH`). The document of commit ID is `commit-ID.json`, or, where the documents
 * are large and differ little, `commit-ID.from-BEFORE.json`: the operations (RFC 6902) that turn the document of the commit BEFORE
 * into this one. A document is at most HISTORY_CHAIN_MAX differences away from a whole one. All have mode 0600 because of passwords,
 * and are written as config_state_save() does, so each file is whole after a power loss. The last HISTORY_MAX commits are kept; ids
 * continue over restarts. The history knows an unconfirmed commit before FILE has the document, so a restart finds the commit and
 * rolls back.
 *
 * The thread of the disk writes, in the order of the calls; done() follows on main, with 0 or -errno. Until then a document is in
 * memory. Queries and history_open() read on main.
 *
 * Main only.
 */
#pragma once

#include "lpm/base/base.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define HISTORY_MAX 100
#define HISTORY_CHAIN_MAX 16
/* Smaller documents are always written whole. */
#define HISTORY_LARGE_OCTETS 65536

struct disk;
struct history;

/*
 * Creates the folder if necessary and locks the folder. 0; -ENOMEM; a different -errno when the
 * folder cannot be used (-EWOULDBLOCK: another keeld uses the folder). In the last case *out is a
 * history in memory, and functions that write end with the error. `disk`: lent.
 */
int history_open(const char *folder, struct disk *disk, struct history **out) RUNS_ON(role_main);
/* After disk_end(). */
void history_close(struct history *h) RUNS_ON(role_main);

/* The id of the next commit, from 0. */
uint32_t history_next(const struct history *h) RUNS_ON(role_main);
/* The policy files of the next commit, {path: text}, before history_prepare(); 0, -ENOMEM. */
int history_policy_files(struct history *h, json_t *texts) RUNS_ON(role_main);
/*
 * Writes the document, which does not change any more, and the policy files of the next commit. `back_to` not negative: the commit
 * waits for a confirmation, or rolls back to `back_to`.
 */
void history_prepare(struct history *h, json_t *document, int64_t back_to,
	void (*done)(void *ctx, int err), void *ctx) RUNS_ON(role_main);
/* Adds the prepared commit, in memory. Returns its id. history_settle() is to follow. */
uint32_t history_add(struct history *h, const char *comment, const char *user) RUNS_ON(role_main);
enum history_state {
	HISTORY_CONFIRMED, /* FILE has it; neither the commit nor one before waits any more */
	HISTORY_WAITS, /* FILE has it; the commit waits, and none before */
	HISTORY_NOT_WRITTEN, /* FILE has an earlier document: what waited waits */
};
/*
 * Writes the index with the commit `id`, when FILE has its document or cannot have it. `left`, for history_left_texts(): the hashes of policy files whose text on disk is
 * another one and has not been taken; NULL: as they were. After an error the list in memory is as the call says.
 */
void history_settle(struct history *h, uint32_t id, json_t *left, enum history_state state,
	void (*done)(void *ctx, int err), void *ctx) RUNS_ON(role_main);
/*
 * No commit waits for a confirmation any more. After an error they still wait, since a restart would roll back. No other call
 * that writes may follow before done().
 */
void history_confirm(struct history *h, void (*done)(void *ctx, int err), void *ctx)
	RUNS_ON(role_main);
/*
 * True if `document` is a commit that waits for a confirmation; *back_to: the commit to roll back
 * to. After a restart the waiting commit has expired.
 */
bool history_waits(const struct history *h, const json_t *document, uint32_t *back_to)
	RUNS_ON(role_main);
/* The document of a commit, a new reference; NULL: not kept. */
json_t *history_document(const struct history *h, uint32_t id) RUNS_ON(role_main);
/* The policy files of a commit as far as they are kept, {path: text}; a new reference. */
json_t *history_texts(const struct history *h, uint32_t id) RUNS_ON(role_main);
/* Of `texts`, those that the commit waiting for a confirmation has as well; a new reference. */
json_t *history_waiting_texts(const struct history *h, const json_t *texts) RUNS_ON(role_main);
/*
 * `texts` are those on disk at a start with the document of the last commit. The kept texts of the files
 * that the commit has left on disk as they are now; a new reference.
 */
json_t *history_left_texts(const struct history *h, const json_t *texts) RUNS_ON(role_main);
/*
 * The policy files of the last commit in `folder`, as history_texts(), before history_open(); NULL: no commit, or out of memory. Nothing
 * is written.
 */
json_t *history_last_texts(const char *folder) RUNS_ON(role_main);
/*
 * [{id, time, comment, user, policy_files?}], the oldest first; a new reference. `policy_files`:
 * {path: text}, of the newest commits; null instead of a text where all would be more than
 * HISTORY_TEXTS_MAX octets, or where the text is no UTF-8.
 */
#define HISTORY_TEXTS_MAX 262144
json_t *history_list(const struct history *h) RUNS_ON(role_main);
/* The id of the last commit. False: no commit is kept. */
bool history_last(const struct history *h, uint32_t *id) RUNS_ON(role_main);
/* At a start: true if `document` is that of the last commit. The next commit is compared with the last one. */
bool history_is_last(struct history *h, json_t *document) RUNS_ON(role_main);
