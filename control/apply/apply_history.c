/* SPDX-License-Identifier: BSD-3-Clause */
/* What was committed, going back to it, and commits that go back by themselves unless they are confirmed. Contract section 2, `commit`. */
#include "control/apply/apply_impl.h"

#include "control/apply/history.h"
#include "control/base/log.h"
#include "control/rpc/rpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "commits" /* in the state folder */

static struct {
	struct history *h;
	uint32_t current; /* the commit that runs */
	bool waits; /* for a confirmation, until the timer fires */
	uint32_t back_to;
	struct timer timer;
} state;

static void
log_not_written(int err)
{
	if (err != 0)
		log_event(LOG_ERROR, "history-not-written error=\"%s\"", strerror(-err));
}

/* ---- commit ---- */

int
apply_history_prepare(struct keeld *k, const json_t *document, uint32_t confirm_s, struct faults *f)
{
	int64_t back_to = state.waits ? state.back_to : state.current;
	int err = history_prepare(state.h, document, confirm_s != 0 ? back_to : -1);

	(void)k;
	log_not_written(err);
	/* Without that on disk a restart would find nothing to go back to. */
	if (err == 0 || confirm_s == 0)
		return 0;
	faults_add(f, "", "the commit can't be kept until it is confirmed: %s", strerror(-err));
	return err;
}

void
apply_history_commit(struct keeld *k, const char *comment, uint32_t confirm_s, bool persisted)
{
	if (confirm_s != 0 && !state.waits)
		state.back_to = state.current;
	state.current = k->next_commit_id = history_next(state.h);
	/* FILE may still say what nobody confirmed: then a restart has to go back, too. */
	log_not_written(history_add(state.h, comment, confirm_s != 0 || !persisted));
	state.waits = confirm_s != 0;
	timer_cancel(k->main_thread, &state.timer);
	if (state.waits)
		timer_arm(k->main_thread, &state.timer, confirm_s * (uint64_t)1000000000);
}

bool
apply_confirm_waits(void)
{
	return state.waits;
}

/* ---- going back ---- */

/* Edits of the candidate stay edits, of what runs now. */
static void
candidate_follow(struct keeld *k, const json_t *old)
{
	struct faults f = {0};
	json_t *edits = config_diff(old, k->candidate),
	       *next = config_patch(k->running->document, edits, &f);

	if (next != NULL) {
		json_decref(k->candidate);
		k->candidate = next;
	}
	k->candidate_edited = !json_equal(k->candidate, k->running->document);
	k->candidate_revision++;
	json_decref(edits);
	faults_fini(&f);
}

static int
go_back(struct keeld *k, uint32_t to, const char *comment, json_t **effects, bool *persisted,
	struct faults *f)
{
	json_t *document, *old;
	int err;

	keeld_commit_finish(k);
	document = history_document(state.h, to);
	old = json_incref(k->running->document);
	err = document != NULL ? apply_commit(k, document, comment, 0, effects, persisted, f)
			       : -ENOENT;

	if (err == 0)
		candidate_follow(k, old);
	json_decref(document);
	json_decref(old);
	return err;
}

int
keeld_rollback(struct keeld *k, uint32_t to, json_t **effects, bool *persisted, struct faults *f)
{
	char comment[48];

	snprintf(comment, sizeof(comment), "rollback to %u", to);
	return go_back(k, to, comment, effects, persisted, f);
}

static void
confirm_late(struct timer *t)
{
	struct keeld *k = apply.k;
	struct faults f = {0};
	json_t *effects = NULL;
	bool persisted;
	char comment[80];
	int err;

	(void)t;
	keeld_commit_finish(k);
	if (!state.waits)
		return; /* it confirms */
	state.waits = false;
	log_event(
		LOG_WARNING, "commit-not-confirmed id=%u back_to=%u", state.current, state.back_to);
	snprintf(comment, sizeof(comment), "rollback to %u: %u was not confirmed", state.back_to,
		state.current);
	err = go_back(k, state.back_to, comment, &effects, &persisted, &f);
	if (err != 0)
		log_event(LOG_ERROR, "rollback-failed to=%u error=\"%s\" path=%s reason=\"%s\"",
			state.back_to, strerror(-err), f.count > 0 ? f.fault[0].path : "",
			f.count > 0 ? f.fault[0].reason : "");
	json_decref(effects);
	faults_fini(&f);
}

int
keeld_confirm(struct keeld *k)
{
	keeld_commit_finish(k);
	if (!state.waits)
		return -ENOENT;
	state.waits = false;
	timer_cancel(k->main_thread, &state.timer);
	log_not_written(history_confirmed(state.h));
	log_event(LOG_INFO, "commit-confirmed id=%u", state.current);
	rpc_event(k->rpc, "commit",
		json_pack("{s:s, s:I}", "event", "confirmed", "commit", (json_int_t)state.current));
	return 0;
}

uint32_t
keeld_commit_waiting(const struct keeld *k)
{
	(void)k;
	return state.waits ? state.current : 0;
}

bool
keeld_commit_unchanged(struct keeld *k, uint32_t confirm_s)
{
	bool persisted = apply_save(k);

	if (state.waits && confirm_s != 0) {
		timer_cancel(k->main_thread, &state.timer);
		timer_arm(k->main_thread, &state.timer, confirm_s * (uint64_t)1000000000);
	} else if (state.waits) {
		keeld_confirm(k);
	} else if (persisted) { /* FILE may have held a commit that was not confirmed */
		log_not_written(history_confirmed(state.h));
	}
	return persisted;
}

json_t *
keeld_history(const struct keeld *k)
{
	json_t *o = json_pack("{s:o}", "commits", history_list(state.h));
	uint64_t now = now_ns();

	(void)k;
	if (o != NULL && state.waits)
		json_object_set_new(o, "confirm",
			json_pack("{s:I, s:I, s:f}", "commit", (json_int_t)state.current, "back_to",
				(json_int_t)state.back_to, "remaining_s",
				state.timer.deadline_ns > now
					? (double)(state.timer.deadline_ns - now) / 1e9
					: 0.0));
	return o;
}

/* ---- start ---- */

/* What was not confirmed before the restart is not what to start with. */
static bool
start_back(struct keeld *k, uint32_t to, bool *persisted)
{
	json_t *document = history_document(state.h, to);
	struct faults f = {0};
	struct config *back = document != NULL ? config_parse(document, &f) : NULL;
	int err;

	if (back != NULL)
		apply_check_restart_keys(k->running, back, &f);
	if (back == NULL || f.count > 0) {
		log_event(LOG_ERROR, "rollback-failed to=%u path=%s reason=\"%s\"", to,
			f.count > 0 ? f.fault[0].path : "",
			f.count > 0 ? f.fault[0].reason : "not kept");
		config_free(back);
		back = NULL;
	} else {
		config_free(k->running);
		k->running = back;
		json_decref(k->candidate);
		k->candidate = json_deep_copy(document);
		err = config_save(k->config_file, document);
		*persisted = err == 0;
		if (err != 0)
			log_event(LOG_ERROR, "commit-not-persisted file=%s error=\"%s\"",
				k->config_file, strerror(-err));
	}
	json_decref(document);
	faults_fini(&f);
	return back != NULL;
}

/* What runs, for those who want to go back to it later. */
static void
note_start(struct keeld *k, const char *comment, bool persisted)
{
	int err = history_prepare(state.h, k->running->document, -1), added;

	state.current = history_next(state.h);
	added = history_add(state.h, comment, !persisted);
	log_not_written(err != 0 ? err : added);
}

static bool
is_last(const json_t *document)
{
	json_t *last = history_last(state.h, &state.current)
			       ? history_document(state.h, state.current)
			       : NULL;
	bool same = last != NULL && json_equal(last, document);

	json_decref(last);
	return same;
}

int
apply_history_start(struct keeld *k)
{
	char *folder = NULL, comment[80];
	uint32_t back_to;
	bool persisted = true;
	int err;

	state.timer.fire = confirm_late;
	config_save_tidy(k->config_file);
	if (asprintf(&folder, "%s/%s", k->state_dir, FOLDER) < 0)
		return -ENOMEM;
	err = history_open(folder, &state.h);
	free(folder);
	if (state.h == NULL)
		return err;
	log_not_written(err);
	if (history_waits(state.h, k->running->document, &back_to) &&
		start_back(k, back_to, &persisted)) {
		log_event(LOG_WARNING, "commit-not-confirmed reason=restart back_to=%u", back_to);
		snprintf(comment, sizeof(comment), "rollback to %u: not confirmed before a restart",
			back_to);
		note_start(k, comment, persisted);
	} else if (!is_last(k->running->document)) {
		note_start(k, "start", true);
	} else {
		log_not_written(history_confirmed(state.h));
	}
	k->next_commit_id = state.current;
	return 0;
}

void
apply_history_fini(void)
{
	history_close(state.h);
	state.h = NULL;
}
