/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commits of documents: effects, confirmation, rollback, history. A commit replaces the running
 * configuration as a whole, or changes nothing. Main only.
 */
#pragma once

#include "control/apply/apply.h"
#include "control/apply/candidate.h"

/* The result of a commit. `effects` and `faults` are lent. */
struct apply_commit_result {
	/* 0; -EINVAL with faults: refused; -EIO: the document cannot be stored for a confirmation */
	int err;
	json_t *effects; /* an array for the answer */
	bool persisted; /* FILE was written */
	struct faults faults;
};
/* The strings are lent for the call. */
struct apply_commit_order {
	const struct apply_user *user; /* the author; NULL: keeld itself, or a signal */
	const char *comment; /* NULL: none */
	uint32_t confirm_s; /* 0: no confirmation is needed */
	/* The revision of the author's candidate that is committed; 0: another document. */
	uint32_t candidate_revision;
	bool restores; /* a document of the history */
};
/* The name of the author of a commit without a user. */
#define APPLY_NOBODY "keeld"
/*
 * Commits `document` (takes a reference) in steps. Each step is a turn of main, so main answers
 * other requests in between. Finishes a commit under way first. Calls done() at the end, also when
 * the commit is refused.
 * With confirm_s: the previous configuration returns unless apply_confirm() is called within
 * confirm_s seconds and before a restart.
 * 0; -ENOMEM: done() is not called.
 */
int apply_commit_start(struct apply *apply, json_t *document, const struct apply_commit_order *o,
	void (*done)(void *ctx, struct apply_commit_result *r), void *ctx) RUNS_ON(role_main);
/*
 * A reload of FILE: what has to be done with `document`, just read from FILE.
 * RELOAD_UNCHANGED: nothing, FILE has the running document.
 * RELOAD_COMMIT: the caller commits `document`, an edit of FILE. apply_reload_committed() follows a
 * successful commit.
 * RELOAD_WRITTEN: FILE lacks a commit that could not be written (full disk), and FILE was not edited
 * since. A commit of `document` would revert that commit; the running document was written instead.
 * *err is 0 or -errno.
 */
enum apply_reload { RELOAD_UNCHANGED, RELOAD_COMMIT, RELOAD_WRITTEN };
enum apply_reload apply_reload_begin(struct apply *apply, const json_t *document, int *err)
	RUNS_ON(role_main);
void apply_reload_committed(struct apply *apply) RUNS_ON(role_main);
/*
 * Runs the remaining steps of a commit under way. Required before any use of the running
 * configuration or the history by another request.
 */
void apply_commit_finish(struct apply *apply) RUNS_ON(role_main);
/*
 * Adds a fault for each key of `next` that differs from the running document and is read only at
 * start.
 */
void apply_check_restart_keys(
	const struct apply *apply, const struct config *next, struct faults *f) RUNS_ON(role_main);
/* The effects of a commit of `document`, without jobs; nothing is changed. NULL with faults. */
json_t *apply_effects(const struct apply *apply, json_t *document, struct faults *f)
	RUNS_ON(role_main);
/*
 * The established sessions that a commit of `document` would end: [{address, vrf, reason}]; nothing is
 * changed. NULL with faults.
 */
json_t *apply_sessions_ended(const struct apply *apply, json_t *document, struct faults *f)
	RUNS_ON(role_main);

/*
 * Confirms the waiting commit. A later commit without confirm_s confirms as well (RFC 6241 8.4.1).
 * -ENOENT: no commit waits. Another -errno: the confirmation cannot be stored, and the commit waits.
 */
int apply_confirm(struct apply *apply) RUNS_ON(role_main);
/* The commit waiting for a confirmation; 0: none. */
uint32_t apply_commit_waiting(const struct apply *apply) RUNS_ON(role_main);
/*
 * A commit of the running document. The history gets no entry; FILE is written. Without confirm_s a
 * waiting commit is confirmed; with confirm_s the time of the waiting commit starts anew. True:
 * FILE was written.
 */
bool apply_commit_unchanged(struct apply *apply, uint32_t confirm_s) RUNS_ON(role_main);
/*
 * Commits the document of the commit `to` at once. Edits of candidates remain edits. Errors as in
 * apply_commit_result; -ENOENT: no such commit.
 */
int apply_rollback(struct apply *apply, uint32_t to, const struct apply_user *user,
	json_t **effects, bool *persisted, struct faults *f) RUNS_ON(role_main);
/* The document of a commit of the history, a new reference; NULL: not kept. */
json_t *apply_commit_document(const struct apply *apply, uint32_t id) RUNS_ON(role_main);
/* The id of the last commit. */
uint32_t apply_last_commit(const struct apply *apply) RUNS_ON(role_main);
/*
 * {commits: [{id, time, comment, user}], confirm: {commit, back_to, remaining_s}}, the oldest first;
 * `confirm` while a commit waits; `user` is missing in commits of earlier versions.
 */
json_t *apply_commits_json(const struct apply *apply) RUNS_ON(role_main);

/* The commits under way on all threads. */
struct apply_progress {
	bool running; /* changes may not be advertised yet */
	/* Families of peers with routes not yet evaluated by the new import policy. */
	unsigned unfinished;
	uint64_t held; /* paths refused by the new policy, in use until the end of the commit */
};
void apply_progress_get(const struct apply *apply, struct apply_progress *out) RUNS_ON(role_main);
