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
	/* The document and the policy files of `back_to`: a return reads no file. NULL before the first wait. */
	json_t *back_document, *back_files;
	bool busy; /* a confirmation is being stored, or the running document is saved again */
	bool confirms; /* `busy` may end in a confirmation */
	struct confirming *confirming; /* waits for the files of commits in force; or NULL */
	json_t *left; /* {path: text in force} of policy files with another text on disk; or NULL */
};

static void
log_not_written(int err)
{
	if (err != 0)
		log_event(LOG_ERROR, "history-not-written error=\"%s\"", strerror(-err));
}

void
apply_note_left(struct apply *apply, json_t *files)
{
	json_t *left = json_object(), *e;
	size_t i;

	json_array_foreach(files, i, e)
	{
		const char *path = json_string_value(json_object_get(e, "path"));

		if (!json_is_false(json_object_get(e, "on_disk")))
			continue;
		log_event(LOG_WARNING, "policy-file-left file=%s", path);
		json_object_set_nocheck(
			left, path, json_object_get(apply->running->policy_files, path));
	}
	json_decref(apply->history->left);
	apply->history->left = left;
}

bool
apply_policy_files_alarm(const struct apply *apply, char text[static APPLY_ALARM_MAX])
{
	const json_t *left = apply->history != NULL ? apply->history->left : NULL;
	const char *path = json_object_iter_key(json_object_iter((json_t *)(uintptr_t)left));

	/* reads only files that differed at the last commit, or at the start */
	if (path == NULL || !policy_files_changed(left))
		return false;
	snprintf(text, APPLY_ALARM_MAX,
		"the text of %.160s%s on disk is not the one in force; a commit of policy files "
		"takes the files",
		path, json_object_size(left) > 1 ? " and of other policy files" : "");
	return true;
}

json_t *
apply_last_texts(const char *state_dir)
{
	char *folder = NULL;
	json_t *texts = NULL;

	if (asprintf(&folder, "%s/%s", state_dir, FOLDER) >= 0)
		texts = history_last_texts(folder);
	free(folder);
	return texts;
}

/* ---- commit ---- */

/* A call of the history on its way to the disk; NULL: out of memory. */
struct noting {
	void (*done)(void *ctx, int err);
	void (*settled)(void *ctx); /* in place of done() */
	void *ctx;
};

static struct noting *
noting_new(void (*done)(void *ctx, int err), void (*settled)(void *ctx), void *ctx)
{
	struct noting *n = malloc(sizeof(*n));

	if (n != NULL)
		*n = (struct noting){done, settled, ctx};
	return n;
}

static void
noted(void *ctx, int err)
{
	struct noting *n = ctx;

	log_not_written(err);
	if (n->settled != NULL)
		n->settled(n->ctx);
	else
		n->done(n->ctx, err);
	free(n);
}

static void
only_logged(void *ctx, int err)
{
	(void)ctx;
	log_not_written(err);
}

static void
back_set(struct apply_history *h, json_t *document, json_t *files)
{
	json_incref(document);
	json_incref(files);
	json_decref(h->back_document);
	json_decref(h->back_files);
	h->back_document = document;
	h->back_files = files;
}

void
apply_history_prepare(struct apply *apply, const struct config *next, uint32_t confirm_s,
	void (*done)(void *ctx, int err), void *ctx)
{
	int64_t back_to = apply->history->waits ? apply->history->back_to : apply->history->current;
	struct noting *n = noting_new(done, NULL, ctx);
	int err = n == NULL ? -ENOMEM : history_policy_files(apply->history->h, next->policy_files);

	if (confirm_s != 0 && !apply->history->waits)
		back_set(apply->history, apply->running->document, apply->running->policy_files);
	if (err == 0) {
		history_prepare(
			apply->history->h, next->document, confirm_s != 0 ? back_to : -1, noted, n);
		return;
	}
	log_not_written(err);
	free(n);
	done(ctx, err);
}

json_t *
apply_policy_files(const struct apply *apply, const struct apply_user *user, int take)
{
	bool takes = take > 0;

	if (take < 0)
		takes = !apply_candidate_edited(apply, user) && !apply->history->waits;
	return takes ? NULL : apply->running->policy_files;
}

uint32_t
apply_history_next(const struct apply *apply)
{
	return history_next(apply->history->h);
}

uint32_t
apply_history_commit(
	struct apply *apply, const char *comment, const struct apply_user *user, uint32_t confirm_s)
{
	const char *name = user != NULL ? user->name : APPLY_NOBODY;

	if (confirm_s != 0 && !apply->history->waits)
		apply->history->back_to = apply->history->current;
	apply->history->current = history_add(apply->history->h, comment, name);
	apply->last_commit_id = apply->history->current;
	apply->history->waits = confirm_s != 0;
	if (!apply->history->waits)
		back_set(apply->history, NULL, NULL);
	timer_cancel(apply->layers->main_thread, &apply->history->timer);
	if (apply->history->waits)
		timer_arm(apply->layers->main_thread, &apply->history->timer,
			confirm_s * (uint64_t)1000000000);
	return apply->history->current;
}

void
apply_history_settle(struct apply *apply, uint32_t id, json_t *left, enum history_state state,
	void (*done)(void *ctx), void *ctx)
{
	struct noting *n = noting_new(NULL, done, ctx);

	history_settle(apply->history->h, id, left, state, n != NULL ? noted : only_logged, n);
	if (n == NULL)
		done(ctx);
}

bool
apply_history_busy(const struct apply *apply)
{
	return apply->history->busy;
}

bool
apply_confirm_waits(const struct apply *apply)
{
	return apply->history->waits;
}

/* ---- rollback ---- */

/*
 * The document of a commit, a new reference; NULL: not kept. It shares with the running document what is equal, so that a return of a
 * large document costs its difference in memory, and lists are not compiled again.
 */
static json_t *
document_like_running(struct apply *apply, uint32_t id) RUNS_ON(role_main)
{
	json_t *document = history_document(apply->history->h, id), *operations, *shared;
	struct faults f = {0};

	if (document == NULL)
		return NULL;
	operations = config_diff(apply->running->document, document);
	shared = config_patch(apply->running->document, operations, &f);
	faults_fini(&f);
	json_decref(operations);
	if (shared == NULL || !json_equal(shared, document)) {
		json_decref(shared);
		return document;
	}
	json_decref(document);
	return shared;
}

static int
roll_back(struct apply *apply, uint32_t to, const struct apply_user *user, const char *comment,
	void (*done)(void *ctx, struct apply_commit_result *r), void *ctx) RUNS_ON(role_main)
{
	struct apply_commit_order o = {.user = user, .comment = comment, .restores = true};
	char busy[APPLY_ALARM_MAX];
	json_t *document;
	int err = -ENOENT;

	if (!apply_may_change(apply, busy))
		return -EBUSY;
	document = document_like_running(apply, to);
	o.policy_files = history_texts(apply->history->h, to);
	if (document != NULL)
		err = apply_commit_start(apply, document, &o, done, ctx);
	if (err == 0)
		(void)apply_commit_finish(apply);
	json_decref(o.policy_files);
	json_decref(document);
	return err;
}

int
apply_rollback(struct apply *apply, uint32_t to, const struct apply_user *user,
	void (*done)(void *ctx, struct apply_commit_result *r), void *ctx)
{
	char comment[48];

	snprintf(comment, sizeof(comment), "rollback to %u", to);
	return roll_back(apply, to, user, comment, done, ctx);
}

#define EXPIRED_AGAIN_NS 100000000u
#define EXPIRED_RETRY_NS 10000000000u

/* `faults` may be NULL. */
static void
expired(struct apply *apply, int err, const struct faults *f) RUNS_ON(role_main)
{
	bool fault = f != NULL && f->count > 0;

	if (err != 0) { /* the commit still waits: a restart returns, too */
		log_event(LOG_ERROR, "rollback-failed to=%u error=\"%s\" path=%s reason=\"%s\"",
			apply->history->back_to, strerror(-err), fault ? f->fault[0].path : "",
			fault ? f->fault[0].reason : "");
		(void)timer_arm(
			apply->layers->main_thread, &apply->history->timer, EXPIRED_RETRY_NS);
	}
	apply_audit(apply, "timer", "confirm-expired",
		err == 0 ? NULL
		: fault	 ? f->fault[0].reason
			 : strerror(-err));
}

static void
expired_done(void *ctx, struct apply_commit_result *r) RUNS_ON(role_main)
{
	expired(ctx, r->err, &r->faults);
}

/* The configuration before, from memory, at any time: no disk and no other commit delays it. */
static int
return_back(struct apply *apply) RUNS_ON(role_main)
{
	struct apply_history *h = apply->history;
	struct apply_commit_order o = {.restores = true, .policy_files = h->back_files};
	char comment[80];
	int err;

	snprintf(comment, sizeof(comment), "rollback to %u: %u was not confirmed", h->back_to,
		h->current);
	o.comment = comment;
	err = apply_commit_begin(apply, h->back_document, &o, expired_done, apply);
	if (err == 0)
		(void)apply_commit_finish(apply);
	return err;
}

static void
confirm_expired(struct timer *t) RUNS_ON(role_main)
{
	struct apply_history *history =
		(struct apply_history *)(void *)((char *)t - offsetof(struct apply_history, timer));
	struct apply *apply = history->apply;
	uint32_t waiting = history->current;
	int err;

	if (history->busy && history->confirms) {
		(void)timer_arm(apply->layers->main_thread, t, EXPIRED_AGAIN_NS);
		return;
	}
	apply_commit_make_way(apply, "the commit before was not confirmed in time");
	/* The commit just finished confirms the other, or waits for a time of its own. */
	if (!apply->history->waits || apply->history->current != waiting)
		return;
	log_event(LOG_WARNING, "commit-not-confirmed id=%u back_to=%u", apply->history->current,
		apply->history->back_to);
	err = return_back(apply);
	if (err != 0)
		expired(apply, err, NULL);
}

/* ---- confirmation ---- */

/* A confirmation that is being stored. */
struct confirming {
	struct apply *apply;
	uint64_t deadline_ns; /* when the commit would have expired */
	void (*done)(void *ctx, int err);
	void *ctx;
};

static void
confirmed(void *ctx, int err) RUNS_ON(role_main)
{
	struct confirming *c = ctx;
	struct apply *apply = c->apply;
	uint64_t now = now_ns();

	log_not_written(err);
	apply->history->busy = false;
	if (err != 0) {
		timer_arm(apply->layers->main_thread, &apply->history->timer,
			c->deadline_ns > now ? c->deadline_ns - now : 0);
	} else {
		apply->history->waits = false;
		back_set(apply->history, NULL, NULL);
		log_event(LOG_INFO, "commit-confirmed id=%u", apply->history->current);
		apply_report(apply, "commit",
			json_pack("{s:s, s:I}", "event", "confirmed", "commit",
				(json_int_t)apply->history->current));
	}
	c->done(c->ctx, err);
	free(c);
}

void
apply_history_saved(struct apply *apply)
{
	struct confirming *c = apply->history->confirming;

	apply->history->confirming = NULL;
	if (c != NULL)
		history_confirm(apply->history->h, confirmed, c);
}

/*
 * The commit does not expire while its confirmation waits for the disk. The confirmation follows the indexes of the commits in force,
 * which still say that it waits.
 */
static int
confirm(struct apply *apply, void (*done)(void *ctx, int err), void *ctx) RUNS_ON(role_main)
{
	struct confirming *c = malloc(sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	*c = (struct confirming){apply, apply->history->timer.deadline_ns, done, ctx};
	timer_cancel(apply->layers->main_thread, &apply->history->timer);
	apply->history->busy = true;
	apply->history->confirms = true;
	apply->history->confirming = c;
	if (apply->saving == 0)
		apply_history_saved(apply);
	return 0;
}

int
apply_confirm(struct apply *apply, void (*done)(void *ctx, int err), void *ctx)
{
	char busy[APPLY_ALARM_MAX];

	if (!apply_may_change(apply, busy))
		return -EBUSY;
	return apply->history->waits ? confirm(apply, done, ctx) : -ENOENT;
}

/* A commit of the running document that waits for FILE. */
struct unchanged {
	struct apply *apply;
	bool confirms;
	bool waited; /* for a confirmation, at the call */
	int err; /* of FILE */
	void (*done)(void *ctx, int err);
	void *ctx;
};

static void
unchanged_end(void *ctx) RUNS_ON(role_main)
{
	struct unchanged *u = ctx;

	u->apply->history->busy = false;
	u->done(u->ctx, u->err);
	free(u);
}

static void
unchanged_confirmed(void *ctx, int err) RUNS_ON(role_main)
{
	(void)err; /* logged; the commit waits if not confirmed */
	unchanged_end(ctx);
}

static void
unchanged_saved(void *ctx, int err) RUNS_ON(role_main)
{
	struct unchanged *u = ctx;
	struct apply *apply = u->apply;

	u->err = err;
	if (u->confirms && apply->history->waits) {
		if (confirm(apply, unchanged_confirmed, u) != 0)
			unchanged_end(u);
	} else if (!u->waited && err == 0) { /* FILE may have held an unconfirmed commit */
		apply_history_settle(
			apply, apply->history->current, NULL, HISTORY_CONFIRMED, unchanged_end, u);
	} else {
		unchanged_end(u);
	}
}

int
apply_commit_unchanged(
	struct apply *apply, uint32_t confirm_s, void (*done)(void *ctx, int err), void *ctx)
{
	struct unchanged *u = malloc(sizeof(*u));

	if (u == NULL)
		return -ENOMEM;
	*u = (struct unchanged){.apply = apply,
		.confirms = confirm_s == 0,
		.waited = apply->history->waits,
		.done = done,
		.ctx = ctx};
	if (apply->history->waits && confirm_s != 0) {
		timer_cancel(apply->layers->main_thread, &apply->history->timer);
		timer_arm(apply->layers->main_thread, &apply->history->timer,
			confirm_s * (uint64_t)1000000000);
	}
	apply->history->busy = true;
	apply->history->confirms = u->confirms;
	apply_save(apply, unchanged_saved, u);
	return 0;
}

uint32_t
apply_commit_waiting(const struct apply *apply)
{
	return apply->history->waits ? apply->history->current : 0;
}

json_t *
apply_commit_document(const struct apply *apply, uint32_t id)
{
	return history_document(apply->history->h, id);
}

json_t *
apply_commit_files(const struct apply *apply, uint32_t id)
{
	return history_texts(apply->history->h, id);
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
start_rolled_back(struct apply *apply, uint32_t to) RUNS_ON(role_main)
{
	json_t *document = history_document(apply->history->h, to),
	       *texts = history_texts(apply->history->h, to);
	struct faults f = {0};
	struct config *back = document != NULL ? apply_parse(apply, document, texts, &f) : NULL;

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
	}
	json_decref(document);
	json_decref(texts);
	faults_fini(&f);
	return back != NULL;
}

/* Policy files that the last commit has not taken stay so, unless somebody has edited them since. */
static void
leave_files(struct apply *apply) RUNS_ON(role_main)
{
	json_t *texts = history_left_texts(apply->history->h, apply->running->policy_files);
	struct faults f = {0};
	struct config *as_it_ran = NULL;

	if (json_object_size(texts) > 0)
		as_it_ran = config_parse_with(
			apply->host, apply->running->document, texts, apply->running, &f);
	if (as_it_ran != NULL) {
		config_free(apply->running);
		apply_run(apply, as_it_ran);
	}
	faults_fini(&f);
	json_decref(texts);
}

static void
settled(void *ctx)
{
	(void)ctx;
}

/* Adds the running document to the history, in memory, for later rollbacks. */
static void
add_start(struct apply *apply, const char *comment) RUNS_ON(role_main)
{
	int err = history_policy_files(apply->history->h, apply->running->policy_files);

	log_not_written(err);
	history_prepare(apply->history->h, apply->running->document, -1, only_logged, NULL);
	apply->history->current = history_add(apply->history->h, comment, APPLY_NOBODY);
}

/* FILE of a start that has returned to an earlier commit. */
static void
returned(void *ctx, const struct apply_saved *r) RUNS_ON(role_main)
{
	struct apply *apply = ctx;

	apply_note_left(apply, r->files);
	apply_history_settle(apply, apply->last_commit_id, r->left,
		r->err != 0 ? HISTORY_NOT_WRITTEN : HISTORY_CONFIRMED, settled, NULL);
}

/* The texts of policy files on disk can differ from the texts in force. `added`: by add_start(). */
static void
settle_start(struct apply *apply, bool added) RUNS_ON(role_main)
{
	json_t *left, *files = policy_files_compare(
			      apply->running->policy_files, apply->running->policy_files, &left);

	apply_note_left(apply, files);
	apply_history_settle(apply, apply->history->current, added ? left : NULL, HISTORY_CONFIRMED,
		settled, NULL);
	json_decref(left);
	json_decref(files);
}

static bool
has_files(struct apply *apply, const json_t *files) RUNS_ON(role_main)
{
	json_t *last = history_texts(apply->history->h, apply->history->current);
	bool same = json_equal(last, files);

	json_decref(last);
	return same;
}

/* After a commit that was not confirmed before the restart. False: it stays (logged). */
static bool
start_returns(struct apply *apply) RUNS_ON(role_main)
{
	json_t *since;
	char comment[80];
	uint32_t back_to;

	if (!history_waits(apply->history->h, apply->running->document, &back_to))
		return false;
	since = history_waiting_texts(apply->history->h, apply->running->policy_files);
	if (!start_rolled_back(apply, back_to)) {
		json_decref(since);
		return false;
	}
	log_event(LOG_WARNING, "commit-not-confirmed reason=restart back_to=%u", back_to);
	snprintf(comment, sizeof(comment), "rollback to %u: not confirmed before a restart",
		back_to);
	add_start(apply, comment);
	apply->last_commit_id = apply->history->current;
	apply_save_files(apply, since, true, returned, apply);
	json_decref(since);
	apply_audit(apply, "restart", "confirm-expired", NULL);
	return true;
}

int
apply_history_start(struct apply *apply)
{
	char *folder = NULL;
	int err;

	apply->history = calloc(1, sizeof(*apply->history));
	if (apply->history == NULL)
		return -ENOMEM;
	apply->history->apply = apply;
	apply->history->timer.fire = confirm_expired;
	config_save_tidy(apply->config_file);
	if (asprintf(&folder, "%s/%s", apply->state_dir, FOLDER) < 0)
		return -ENOMEM;
	err = history_open(folder, apply->disk, &apply->history->h);
	free(folder);
	if (apply->history->h == NULL)
		return err;
	log_not_written(err);
	if (!start_returns(apply)) {
		bool last = history_is_last(apply->history->h, apply->running->document);

		(void)history_last(apply->history->h, &apply->history->current);
		if (last)
			leave_files(apply);
		last = last && has_files(apply, apply->running->policy_files);
		if (!last)
			add_start(apply, "start");
		settle_start(apply, !last);
	}
	apply->last_commit_id = apply->history->current;
	return 0;
}

void
apply_history_destroy(struct apply *apply)
{
	if (apply->history == NULL)
		return;
	timer_cancel(apply->layers->main_thread, &apply->history->timer);
	history_close(apply->history->h);
	json_decref(apply->history->left);
	json_decref(apply->history->back_document);
	json_decref(apply->history->back_files);
	free(apply->history);
}
