/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/candidate.h"

#include "control/apply/apply_impl.h"

json_t *
apply_candidate(const struct apply *apply)
{
	return apply->candidate;
}

uint32_t
apply_candidate_revision(const struct apply *apply)
{
	return apply->candidate_revision;
}

bool
apply_candidate_edited(const struct apply *apply)
{
	return apply->candidate_edited;
}

/* The candidate equals the running document. Documents are immutable, so both are one. */
static void
share_running(struct apply *apply)
{
	json_t *old = apply->candidate;

	apply->candidate = json_incref(apply->running->document);
	json_decref(old);
	apply->candidate_edited = false;
}

void
apply_candidate_begin(struct apply *apply)
{
	share_running(apply);
	apply->candidate_revision = 1;
}

void
apply_candidate_end(struct apply *apply)
{
	json_decref(apply->candidate);
	apply->candidate = NULL;
}

/* Compares the candidate with the running document. */
static void
compare_running(struct apply *apply)
{
	apply->candidate_edited = true;
	if (json_equal(apply->candidate, apply->running->document))
		share_running(apply);
}

bool
apply_candidate_replace(struct apply *apply, json_t *next)
{
	if (json_equal(next, apply->candidate)) {
		json_decref(next);
		return false;
	}
	json_decref(apply->candidate);
	apply->candidate = next;
	apply->candidate_revision++;
	compare_running(apply);
	return true;
}

void
apply_candidate_discard(struct apply *apply)
{
	apply_commit_finish(apply);
	share_running(apply);
	apply->candidate_revision++;
}

void
apply_candidate_committed(struct apply *apply, uint32_t revision)
{
	bool edits = apply->candidate_revision != revision;

	compare_running(apply);
	apply->candidate_edited &= edits;
	apply->candidate_revision++;
}

void
apply_candidate_follow(struct apply *apply, const json_t *old)
{
	json_t *next = config_rebase(old, apply->candidate, apply->running->document);

	if (next != NULL) {
		json_decref(apply->candidate);
		apply->candidate = next;
	}
	compare_running(apply);
	apply->candidate_revision++;
}
