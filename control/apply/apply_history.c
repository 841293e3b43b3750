/* SPDX-License-Identifier: BSD-3-Clause */
/* The history of commits, rollback, and the rollback of unconfirmed commits. */
#include "control/apply/apply_impl.h"

#include "control/apply/candidate.h"
#include "control/apply/history.h"
#include "control/base/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "commits" /* in the state folder */

struct apply_history {
	struct apply *apply;
	struct history *h;
	uint32_t current; /* the running commit */
	bool waits; /* `current` waits for a confirmation until the timer fires */
	uint32_t back_to;
	struct timer timer;
};

static void
log_not_written(int err)
{
	if (err != 0)
		log_event(LOG_ERROR, "history-not-written error=\"%s\"", strerror(-err));
}

/* ---- commit ---- */

int
apply_history_prepare(
	struct apply *apply, const json_t *document, uint32_t confirm_s, struct faults *f)
{
	int64_t back_to = apply->history->waits ? apply->history->back_to : apply->history->current;
	int err = history_prepare(apply->history->h, document, confirm_s != 0 ? back_to : -1);

	log_not_written(err);
	/* Without the entry on disk a restart could not roll back. */
	if (err == 0 || confirm_s == 0)
		return 0;
	faults_add(f, "", "the commit cannot be stored until the confirmation: %s", strerror(-err));
	return err;
}

uint32_t
apply_history_next(const struct apply *apply)
{
	return history_next(apply->history->h);
}

void
apply_history_commit(struct apply *apply, const char *comment, const struct apply_user *user,
	uint32_t confirm_s, bool persisted)
{
	const char *name = user != NULL ? user->name : APPLY_NOBODY;

	if (confirm_s != 0 && !apply->history->waits)
		apply->history->back_to = apply->history->current;
	apply->history->current = apply->last_commit_id = history_next(apply->history->h);
	/*
	 * Not persisted: FILE may still hold an unconfirmed commit, so a restart has to roll back,
	 * too.
	 */
	history_policy_files(apply->history->h, apply->running->policy_files);
	log_not_written(
		history_add(apply->history->h, comment, name, confirm_s != 0 || !persisted));
	apply->history->waits = confirm_s != 0;
	timer_cancel(apply->layers->main_thread, &apply->history->timer);
	if (apply->history->waits)
		timer_arm(apply->layers->main_thread, &apply->history->timer,
			confirm_s * (uint64_t)1000000000);
}

bool
apply_confirm_waits(const struct apply *apply)
{
	return apply->history->waits;
}

/* ---- rollback ---- */

static int
roll_back(struct apply *apply, uint32_t to, const struct apply_commit_order *o, json_t **effects,
	bool *persisted, struct faults *f) RUNS_ON(role_main)
{
	json_t *document;
	int err;

	apply_commit_finish(apply);
	document = history_document(apply->history->h, to);
	err = document != NULL ? apply_commit(apply, document, o, effects, persisted, f) : -ENOENT;
	json_decref(document);
	return err;
}

int
apply_rollback(struct apply *apply, uint32_t to, const struct apply_user *user, json_t **effects,
	bool *persisted, struct faults *f)
{
	char comment[48];

	snprintf(comment, sizeof(comment), "rollback to %u", to);
	return roll_back(apply, to,
		&(struct apply_commit_order){.user = user, .comment = comment, .restores = true},
		effects, persisted, f);
}

static void
confirm_expired(struct timer *t) RUNS_ON(role_main)
{
	struct apply_history *history =
		(struct apply_history *)(void *)((char *)t - offsetof(struct apply_history, timer));
	struct apply *apply = history->apply;
	uint32_t waiting = history->current;
	struct faults f = {0};
	json_t *effects = NULL;
	bool persisted;
	char comment[80];
	int err;

	apply_commit_finish(apply);
	/* The commit just finished confirms the other, or waits for a time of its own. */
	if (!apply->history->waits || apply->history->current != waiting)
		return;
	apply->history->waits = false;
	log_event(LOG_WARNING, "commit-not-confirmed id=%u back_to=%u", apply->history->current,
		apply->history->back_to);
	snprintf(comment, sizeof(comment), "rollback to %u: %u was not confirmed",
		apply->history->back_to, apply->history->current);
	err = roll_back(apply, apply->history->back_to,
		&(struct apply_commit_order){.comment = comment, .restores = true}, &effects,
		&persisted, &f);
	if (err != 0)
		log_event(LOG_ERROR, "rollback-failed to=%u error=\"%s\" path=%s reason=\"%s\"",
			apply->history->back_to, strerror(-err), f.count > 0 ? f.fault[0].path : "",
			f.count > 0 ? f.fault[0].reason : "");
	apply_audit(apply, "timer", "confirm-expired",
		err == 0      ? NULL
		: f.count > 0 ? f.fault[0].reason
			      : strerror(-err));
	json_decref(effects);
	faults_fini(&f);
}

int
apply_confirm(struct apply *apply)
{
	int err;

	apply_commit_finish(apply);
	if (!apply->history->waits)
		return -ENOENT;
	err = history_confirm(apply->history->h);
	log_not_written(err);
	if (err != 0)
		return err;
	apply->history->waits = false;
	timer_cancel(apply->layers->main_thread, &apply->history->timer);
	log_event(LOG_INFO, "commit-confirmed id=%u", apply->history->current);
	apply_report(apply, "commit",
		json_pack("{s:s, s:I}", "event", "confirmed", "commit",
			(json_int_t)apply->history->current));
	return 0;
}

uint32_t
apply_commit_waiting(const struct apply *apply)
{
	return apply->history->waits ? apply->history->current : 0;
}

bool
apply_commit_unchanged(struct apply *apply, uint32_t confirm_s)
{
	bool persisted = apply_save(apply) == 0;

	if (apply->history->waits && confirm_s != 0) {
		timer_cancel(apply->layers->main_thread, &apply->history->timer);
		timer_arm(apply->layers->main_thread, &apply->history->timer,
			confirm_s * (uint64_t)1000000000);
	} else if (apply->history->waits) {
		(void)apply_confirm(apply); /* logged; the commit waits if not confirmed */
	} else if (persisted) { /* FILE may have held an unconfirmed commit */
		log_not_written(history_confirmed(apply->history->h));
	}
	return persisted;
}

json_t *
apply_commit_document(const struct apply *apply, uint32_t id)
{
	return history_document(apply->history->h, id);
}

json_t *
apply_commits_json(const struct apply *apply)
{
	json_t *o = json_pack("{s:o}", "commits", history_list(apply->history->h));
	uint64_t now = now_ns();

	if (o != NULL && apply->history->waits)
		json_object_set_new(o, "confirm",
			json_pack("{s:I, s:I, s:f}", "commit", (json_int_t)apply->history->current,
				"back_to", (json_int_t)apply->history->back_to, "remaining_s",
				apply->history->timer.deadline_ns > now
					? (double)(apply->history->timer.deadline_ns - now) / 1e9
					: 0.0));
	return o;
}

/* ---- start ---- */

/*
 * Starts with the document of the commit `to`, after a restart without confirmation. False: no
 * usable document (logged).
 */
static bool
start_rolled_back(struct apply *apply, uint32_t to, bool *persisted) RUNS_ON(role_main)
{
	json_t *document = history_document(apply->history->h, to);
	struct faults f = {0};
	struct config *back = document != NULL ? config_parse(apply->host, document, &f) : NULL;

	if (back != NULL)
		apply_restart_keys(apply, back, &f);
	if (back != NULL && f.count == 0)
		(void)apply_ports(apply, back, true, &f);
	if (back == NULL || f.count > 0) {
		log_event(LOG_ERROR, "rollback-failed to=%u path=%s reason=\"%s\"", to,
			f.count > 0 ? f.fault[0].path : "",
			f.count > 0 ? f.fault[0].reason : "the commit is not in the history");
		config_free(back);
		back = NULL;
	} else {
		config_free(apply->running);
		apply_run(apply, back);
		*persisted = apply_save(apply) == 0;
	}
	json_decref(document);
	faults_fini(&f);
	return back != NULL;
}

/* Adds the running document to the history, for later rollbacks. */
static void
add_start(struct apply *apply, const char *comment, bool persisted) RUNS_ON(role_main)
{
	int err = history_prepare(apply->history->h, apply->running->document, -1), added;

	apply->history->current = history_next(apply->history->h);
	history_policy_files(apply->history->h, apply->running->policy_files);
	added = history_add(apply->history->h, comment, APPLY_NOBODY, !persisted);
	log_not_written(err != 0 ? err : added);
}

static bool
is_last(struct apply *apply, const json_t *document) RUNS_ON(role_main)
{
	json_t *last = history_last(apply->history->h, &apply->history->current)
			       ? history_document(apply->history->h, apply->history->current)
			       : NULL;
	bool same = last != NULL && json_equal(last, document);

	json_decref(last);
	return same;
}

int
apply_history_start(struct apply *apply)
{
	char *folder = NULL, comment[80];
	uint32_t back_to;
	bool persisted = true;
	int err;

	apply->history = calloc(1, sizeof(*apply->history));
	if (apply->history == NULL)
		return -ENOMEM;
	apply->history->apply = apply;
	apply->history->timer.fire = confirm_expired;
	config_save_tidy(apply->config_file);
	if (asprintf(&folder, "%s/%s", apply->state_dir, FOLDER) < 0)
		return -ENOMEM;
	err = history_open(folder, &apply->history->h);
	free(folder);
	if (apply->history->h == NULL)
		return err;
	log_not_written(err);
	if (history_waits(apply->history->h, apply->running->document, &back_to) &&
		start_rolled_back(apply, back_to, &persisted)) {
		log_event(LOG_WARNING, "commit-not-confirmed reason=restart back_to=%u", back_to);
		snprintf(comment, sizeof(comment), "rollback to %u: not confirmed before a restart",
			back_to);
		add_start(apply, comment, persisted);
		apply->last_commit_id = apply->history->current;
		apply_audit(apply, "restart", "confirm-expired", NULL);
	} else if (!is_last(apply, apply->running->document)) {
		add_start(apply, "start", true);
	} else {
		log_not_written(history_confirmed(apply->history->h));
	}
	apply->last_commit_id = apply->history->current;
	return 0;
}

void
apply_history_destroy(struct apply *apply)
{
	if (apply->history == NULL)
		return;
	history_close(apply->history->h);
	free(apply->history);
}
