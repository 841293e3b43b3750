/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commits of documents: effects, confirmation, rollback, history. A commit replaces the running
 * configuration as a whole, or changes nothing. Main only.
 */
#pragma once

#include "control/apply/apply.h"
#include "control/apply/candidate.h"

/* The result of a commit. In done() it is lent. */
struct apply_commit_result {
	/* 0; -EINVAL with faults: refused; -EIO: the document cannot be stored for a confirmation */
	int err;
	uint32_t commit, revision; /* of the commit; others may have followed */
	json_t *document; /* in force, or refused */
	json_t *effects; /* an array for the answer */
	json_t *restart_required; /* of apply_restart_required(), for the answer */
	bool persisted; /* FILE was written */
	json_t *policy_files; /* of policy_files_compare(), for the answer */
	struct faults faults;
};
void apply_commit_result_fini(struct apply_commit_result *r);
/* The strings are lent for the call. */
struct apply_commit_order {
	const struct apply_user *user; /* the author; NULL: keeld itself, or a signal */
	const char *comment; /* NULL: none */
	uint32_t confirm_s; /* 0: no confirmation is needed */
	/* The revision of the author's candidate that is committed; 0: another document. */
	uint32_t candidate_revision;
	bool restores; /* a document and policy files of the history */
	/* {path: text} of the files that are not read from disk; NULL: all are read */
	json_t *policy_files;
};
/* The name of the author of a commit without a user. */
#define APPLY_NOBODY "keeld"
/*
 * Commits `document` (takes a reference) in steps. Each step is a turn of main, so main answers
 * other requests in between. Finishes a commit under way first. Calls done() when the commit is on disk, and when it is refused.
 * The thread of the disk writes: a commit with confirm_s waits for the history before it changes anything; any other is in force
 * while its files are written, and other commits may follow.
 * With confirm_s: the previous configuration returns unless apply_confirm() is called within
 * confirm_s seconds and before a restart.
 * 0; -ENOMEM, -EBUSY (apply_may_change()): done() is not called.
 */
int apply_commit_start(struct apply *apply, json_t *document, const struct apply_commit_order *o,
	void (*done)(void *ctx, struct apply_commit_result *r), void *ctx) RUNS_ON(role_main);
/*
 * False: the disk has not written the files of an earlier change, which this one must not overtake. `text`: what to tell the client.
 * Otherwise no commit is under way.
 */
bool apply_may_change(struct apply *apply, char text[static APPLY_ALARM_MAX]) RUNS_ON(role_main);
/*
 * apply_may_change(), and FILE and the policy files on disk are as keeld or an editor has left them: required before they are read.
 * False: they are being written.
 */
bool apply_may_read_files(struct apply *apply, char text[static APPLY_ALARM_MAX])
	RUNS_ON(role_main);
/*
 * Reads FILE on the thread of the disk, after all files that were to be written before, and again after a commit that came meanwhile.
 * loaded(), in a turn of main: the document, which shares the values of the running one, lent; NULL: the reason is `message`, of FILE as
 * a whole, or `f`.
 */
typedef void apply_loaded(void *ctx, json_t *document, const char *message, struct faults *f);
/* False: out of memory. */
bool apply_load(struct apply *apply, apply_loaded *loaded, void *ctx) RUNS_ON(role_main);
/* The queue for long work that needs no disk. */
struct disk *apply_aside(const struct apply *apply) RUNS_ON(role_main);
/* How a reload of FILE ended, in RELOAD_BUSY to RELOAD_UNREADABLE without a commit. */
enum apply_reload_end {
	RELOAD_BUSY, /* try again; `text` says why */
	RELOAD_EDITED, /* the candidates of the users `text` hold edits */
	RELOAD_UNCONFIRMED, /* a commit waits for its confirmation */
	RELOAD_UNREADABLE, /* `text`, of FILE as a whole, or `faults` */
	RELOAD_UNCHANGED, /* FILE has the running document */
	/*
	 * FILE lacked a commit that could not be written (full disk), and was not edited since. A commit of FILE would revert that commit, so the running
	 * document was written; `err`: not written.
	 */
	RELOAD_WRITTEN,
	RELOAD_COMMITTED, /* `result`, also of a refused commit */
	RELOAD_NOT_BEGUN, /* `err`: of apply_commit_start() */
};
struct apply_reloaded {
	enum apply_reload_end end;
	int err;
	const char *text;
	const struct faults *faults;
	struct apply_commit_result *result;
};
typedef void apply_reload_done(void *ctx, const struct apply_reloaded *r);
/* Finishes a running commit, reads FILE, then commits FILE by `order`, which is lent until done(). */
void apply_reload(struct apply *apply, const struct apply_commit_order *order,
	apply_reload_done *done, void *ctx) RUNS_ON(role_main);
/* Writes the running document to FILE. done(): 0; -errno: not written, and logged. */
void apply_save(struct apply *apply, void (*done)(void *ctx, int err), void *ctx)
	RUNS_ON(role_main);
/*
 * Runs the remaining steps of a commit under way. Required before any use of the running
 * configuration or the history by another request. False: the commit waits for the disk, and has changed nothing yet.
 */
bool apply_commit_finish(struct apply *apply) RUNS_ON(role_main);
/*
 * keeld ends: waits for the files of commits for at most `patience_ns`, and answers. A commit that has not changed anything
 * after that time is refused.
 */
void apply_files_end(struct apply *apply, uint64_t patience_ns) RUNS_ON(role_main);
/*
 * config_parse_with() for a document that may become the running one: keys that are read at start have the
 * values of the start, and `document` of the result is the document as given. NULL with faults.
 */
struct config *apply_parse(const struct apply *apply, json_t *document, const json_t *policy_files,
	struct faults *f) RUNS_ON(role_main);
/*
 * Pointers of the keys that are read at start, and that differ in `document` from the start; with `was`
 * only those that differ from `was`, too. A new array.
 */
json_t *apply_restart_required(const struct apply *apply, const json_t *was, const json_t *document)
	RUNS_ON(role_main);
/* Those of the running document. */
json_t *apply_restart_pending(const struct apply *apply) RUNS_ON(role_main);
/*
 * The policy files for a commit of the user's candidate, lent; NULL: those on disk. `take` decides;
 * negative: a file that somebody edits is taken by a commit that holds no edit of the document, and that
 * confirms no other commit. A different commit cannot mean the file.
 */
json_t *apply_policy_files(const struct apply *apply, const struct apply_user *user, int take)
	RUNS_ON(role_main);
/* The effects of a commit of `next`, without jobs; nothing is changed. NULL: no memory. */
json_t *apply_effects(const struct apply *apply, const struct config *next) RUNS_ON(role_main);
/*
 * The established sessions that a commit of `document` would end: [{address, vrf, reason}]; nothing is
 * changed. NULL with faults.
 */
json_t *apply_sessions_ended(const struct apply *apply, json_t *document,
	const json_t *policy_files, struct faults *f) RUNS_ON(role_main);

/*
 * Confirms the waiting commit. A later commit without confirm_s confirms as well (RFC 6241 8.4.1). 0: done() follows; with an error
 * the confirmation cannot be stored, and the commit waits. -ENOENT: no commit waits. -EBUSY: see apply_may_change(); -ENOMEM.
 */
int apply_confirm(struct apply *apply, void (*done)(void *ctx, int err), void *ctx)
	RUNS_ON(role_main);
/* The commit waiting for a confirmation; 0: none. */
uint32_t apply_commit_waiting(const struct apply *apply) RUNS_ON(role_main);
/*
 * A commit of the running document, after apply_may_change(). The history gets no entry; FILE is written. Without confirm_s a
 * waiting commit is confirmed; with confirm_s the time of the waiting commit starts anew. done(): 0 where FILE was written.
 * 0; -ENOMEM: done() is not called.
 */
int apply_commit_unchanged(struct apply *apply, uint32_t confirm_s,
	void (*done)(void *ctx, int err), void *ctx) RUNS_ON(role_main);
/*
 * Commits the document of the commit `to` at once. Edits of candidates remain edits. 0: done() follows, as in
 * apply_commit_start(). -ENOENT: no such commit; -EBUSY: see apply_may_change(); -ENOMEM.
 */
int apply_rollback(struct apply *apply, uint32_t to, const struct apply_user *user,
	void (*done)(void *ctx, struct apply_commit_result *r), void *ctx) RUNS_ON(role_main);
/* The document of a commit of the history, a new reference; NULL: not kept. */
json_t *apply_commit_document(const struct apply *apply, uint32_t id) RUNS_ON(role_main);
/* The policy files of a commit, {path: text}, a new reference. */
json_t *apply_commit_files(const struct apply *apply, uint32_t id) RUNS_ON(role_main);
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
