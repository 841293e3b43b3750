/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The candidates: each user has a document for edits, and for the user's next commit. Without edits
 * the candidate of a user equals the running document, and takes no memory. Each edit gives the
 * candidate a new revision.
 *
 * A candidate keeps its base, the running document at the time of the edits. After a commit by another
 * user the edits are moved to the new running document, object by object (config_reconcile()). An
 * object that both users changed is a conflict: the candidate and its base keep the object as it was,
 * until the user resolves the conflict, edits the object as it runs now, or discards the edits.
 *
 * Main only. Lifetime: a candidate with edits lives until its commit, its discard, or the end of keeld.
 */
#pragma once

#include "control/apply/apply.h"

struct candidates;

/* The author of edits and commits. The strings are lent for the call. */
struct apply_user {
	const char *key; /* identifies the user: "uid 1000", "token ci" */
	const char *name; /* for people: "alice" */
};
/* Users with edits at the same time. */
#define CANDIDATES_MAX 64

int apply_candidates_create(struct apply *apply) RUNS_ON(role_main); /* 0, -ENOMEM */
void apply_candidates_destroy(struct apply *apply) RUNS_ON(role_main);

/* In all functions below NULL is a client without a candidate: its document is the running document. */

/* Lent until the next change. */
json_t *apply_candidate(const struct apply *apply, const struct apply_user *user)
	RUNS_ON(role_main);
uint32_t apply_candidate_revision(const struct apply *apply, const struct apply_user *user)
	RUNS_ON(role_main);
/* True: the candidate differs from the running document. */
bool apply_candidate_edited(const struct apply *apply, const struct apply_user *user)
	RUNS_ON(role_main);
/*
 * Replaces the candidate by `next`; takes `next` over. 1; 0: `next` equals the candidate, and nothing
 * changed; -ENOSPC: CANDIDATES_MAX users hold edits; -ENOMEM.
 */
int apply_candidate_replace(struct apply *apply, const struct apply_user *user, json_t *next)
	RUNS_ON(role_main);
/* The candidate becomes the running document. Finishes a commit under way first. */
void apply_candidate_discard(struct apply *apply, const struct apply_user *user) RUNS_ON(role_main);
/* As apply_candidate_discard(), for the user of this name. False: the user has no edits. */
bool apply_candidate_discard_of(struct apply *apply, const char *name) RUNS_ON(role_main);
/*
 * The objects of the candidate that another commit has changed since: [{object, base, running,
 * candidate, user, commit}], a new reference; empty: the candidate can be committed. NULL: out of
 * memory.
 */
json_t *apply_candidate_conflicts(const struct apply *apply, const struct apply_user *user)
	RUNS_ON(role_main);
/*
 * Ends all conflicts: with `mine` the edited keys of the candidate replace those of the other author
 * with the next commit; else the candidate takes the objects as they run. False: out of memory, nothing is changed.
 */
bool apply_candidate_resolve(struct apply *apply, const struct apply_user *user, bool mine)
	RUNS_ON(role_main);
/* The users with edits: [{user, since, edits, conflicts}], a new reference. */
json_t *apply_candidates_json(const struct apply *apply) RUNS_ON(role_main);
/* The names of the users with edits, "alice, bob". False: no user has edits. */
#define CANDIDATES_TEXT_MAX 256
bool apply_candidates_text(const struct apply *apply, char text[static CANDIDATES_TEXT_MAX])
	RUNS_ON(role_main);
/*
 * A commit has replaced `old` by the running document: all candidates follow. `user` is the author (NULL:
 * keeld). The commit was of the author's candidate of `candidate_revision`; later edits remain edits. 0:
 * the commit was of another document; edits of the author win over it, unless the candidate has conflicts.
 */
void apply_candidates_follow(struct apply *apply, const struct apply_user *user,
	uint32_t candidate_revision, const json_t *old) RUNS_ON(role_main);
