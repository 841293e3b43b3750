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
	apply->candidate_edited = !json_equal(next, apply->running->document);
	return true;
}

void
apply_candidate_discard(struct apply *apply)
{
	apply_commit_finish(apply);
	json_decref(apply->candidate);
	apply->candidate = json_deep_copy(apply->running->document);
	apply->candidate_edited = false;
	apply->candidate_revision++;
}

void
apply_candidate_committed(struct apply *apply, uint32_t revision)
{
	apply->candidate_edited = apply->candidate_revision != revision &&
				  !json_equal(apply->candidate, apply->running->document);
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
	apply->candidate_edited = !json_equal(apply->candidate, apply->running->document);
	apply->candidate_revision++;
}
