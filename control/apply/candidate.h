/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The candidate: the document for edits by operators, and for the next commit. Without edits the
 * candidate equals the running document. Each change gives the candidate a new revision. Main only.
 */
#pragma once

#include "control/apply/apply.h"

/*
 * The candidate holds a reference to its document; apply_candidate_end() releases the reference.
 * No other file changes the candidate.
 */
void apply_candidate_begin(struct apply *apply) RUNS_ON(role_main);
void apply_candidate_end(struct apply *apply);
/* Lent until the next change. */
json_t *apply_candidate(const struct apply *apply) RUNS_ON(role_main);
uint32_t apply_candidate_revision(const struct apply *apply) RUNS_ON(role_main);
/* True: the candidate differs from the running document. */
bool apply_candidate_edited(const struct apply *apply) RUNS_ON(role_main);
/*
 * Replaces the candidate by `next`; takes `next` over. False: `next` equals the candidate, and
 * nothing changed.
 */
bool apply_candidate_replace(struct apply *apply, json_t *next) RUNS_ON(role_main);
/* The candidate becomes a copy of the running document. Finishes a commit under way first. */
void apply_candidate_discard(struct apply *apply) RUNS_ON(role_main);
/* After a commit of the candidate of `revision`. Edits during the commit remain edits. */
void apply_candidate_committed(struct apply *apply, uint32_t revision) RUNS_ON(role_main);
/*
 * After a commit of another document than the candidate; `old` ran before. Applies the edits of
 * the candidate to the new running document.
 */
void apply_candidate_follow(struct apply *apply, const json_t *old) RUNS_ON(role_main);
