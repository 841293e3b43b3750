/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads FILE on the thread of the disk, and commits it: SIGHUP here, config.reload in control/rpc. */
#include "control/apply/apply_impl.h"

#include "control/apply/candidate.h"
#include "control/base/log.h"
#include "lpm/base/note_work.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define LOADS_AGAIN 8 /* commits that may come, each while FILE is read once more */

/* FILE on its way from the disk. */
struct load {
	struct disk_job job;
	struct apply *apply;
	struct load *next; /* of apply->loads */
	uint32_t revision; /* of `running` */
	unsigned again;
	json_t *running; /* the document of the time of the call */
	json_t *document;
	char *message;
	struct faults faults;
	apply_loaded *loaded;
	void *ctx;
};

/* On the thread of the disk. The documents that others read at the same time do not change (config_own()). */
static int
load_work(struct disk_job *j)
{
	struct load *l = (struct load *)(void *)((char *)j - offsetof(struct load, job));

	l->document = config_share(config_load(j->file, &l->message, &l->faults), l->running);
	return 0;
}

static void
load_fini(struct load *l)
{
	json_decref(l->document);
	json_decref(l->running);
	free(l->message);
	faults_fini(&l->faults);
}

/* The timer continues in another turn: a wait for the disk, in which this function may run, must not begin a commit. */
static void
load_done(struct disk_job *j, int err) RUNS_ON(role_main)
{
	struct load *l = (struct load *)(void *)((char *)j - offsetof(struct load, job)), **at;

	(void)err;
	for (at = &l->apply->loads; *at != NULL;)
		at = &(*at)->next;
	*at = l;
	if (timer_arm(l->apply->layers->main_thread, &l->apply->load_timer, 0) != 0)
		apply_loads_take(l->apply);
}

static void
load_run(struct load *l) RUNS_ON(role_main)
{
	struct apply *apply = l->apply;

	load_fini(l);
	l->document = NULL;
	l->message = NULL;
	l->faults = (struct faults){0};
	l->next = NULL;
	l->revision = apply->revision;
	l->running = json_incref(apply->running->document);
	disk_run(apply->disk, &l->job);
}

/* FILE that was read before a commit must not undo the commit: it is read again. */
void
apply_loads_take(struct apply *apply)
{
	char busy[APPLY_ALARM_MAX];

	while (apply->loads != NULL) {
		struct load *l = apply->loads;

		apply->loads = l->next;
		note_work("reload of FILE");
		if (!apply->ends)
			(void)apply_may_read_files(apply, busy); /* a commit under way ends */
		if (!apply->ends && l->revision != apply->revision && l->again++ < LOADS_AGAIN) {
			load_run(l);
			continue;
		}
		if (apply->ends || l->revision != apply->revision) {
			json_decref(l->document);
			l->document = NULL;
			free(l->message);
			l->message = strdup(
				apply->ends ? "keeld ends" : "commits came while FILE was read");
		}
		l->loaded(l->ctx, l->document,
			l->message != NULL || l->faults.count > 0 ? l->message : "out of memory",
			&l->faults);
		load_fini(l);
		free(l);
	}
}

void
apply_loads_fire(struct timer *t)
{
	apply_loads_take((struct apply *)(void *)((char *)t - offsetof(struct apply, load_timer)));
}

bool
apply_load(struct apply *apply, apply_loaded *loaded, void *ctx)
{
	struct load *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return false;
	*l = (struct load){.job = {.file = apply->config_file,
				   .work = load_work,
				   .done = load_done,
				   .keeps = true},
		.apply = apply,
		.loaded = loaded,
		.ctx = ctx};
	load_run(l);
	return true;
}

/* ---- FILE is committed ---- */

struct reload {
	struct apply *apply;
	const struct apply_commit_order *order;
	apply_reload_done *done;
	void *ctx;
};

static void
reload_end(struct reload *r, const struct apply_reloaded *how) RUNS_ON(role_main)
{
	r->done(r->ctx, how);
	free(r);
}

/* True: the reload has ended. An edit that comes while FILE is read is based anew on what FILE says. */
static bool
reload_refused(struct reload *r, bool read) RUNS_ON(role_main)
{
	char text[APPLY_ALARM_MAX];
	struct apply_reloaded how = {.end = RELOAD_BUSY, .text = text};

	static_assert(CANDIDATES_TEXT_MAX <= APPLY_ALARM_MAX, "room for the users");
	if (apply_may_read_files(r->apply, text)) {
		if (!read && apply_candidates_text(r->apply, text))
			how.end = RELOAD_EDITED;
		else if (apply_confirm_waits(r->apply))
			how.end = RELOAD_UNCONFIRMED;
		else
			return false;
	}
	reload_end(r, &how);
	return true;
}

void
apply_in_file(struct apply *apply, json_t *document)
{
	json_t *old = apply->in_file;

	apply->in_file = json_incref(document);
	json_decref(old);
}

static void
reload_written(void *ctx, int err) RUNS_ON(role_main)
{
	reload_end(ctx, &(struct apply_reloaded){.end = RELOAD_WRITTEN, .err = err});
}

static void
reload_committed(void *ctx, struct apply_commit_result *result) RUNS_ON(role_main)
{
	struct reload *r = ctx;

	if (result->err == 0)
		apply_in_file(r->apply, result->document);
	reload_end(r, &(struct apply_reloaded){.end = RELOAD_COMMITTED, .result = result});
}

static void
reload_loaded(void *ctx, json_t *document, const char *message, struct faults *f) RUNS_ON(role_main)
{
	struct reload *r = ctx;
	struct apply *apply = r->apply;
	const struct config *running = apply->running;
	struct apply_reloaded how = {.end = RELOAD_UNREADABLE, .text = message, .faults = f};
	bool same = document != NULL && json_equal(document, running->document);

	if (document != NULL && reload_refused(r, true))
		return;
	if (same && !policy_files_changed(running->policy_files)) {
		apply_in_file(apply, running->document);
		how.end = RELOAD_UNCHANGED;
	} else if (document != NULL && !same && json_equal(document, apply->in_file)) {
		apply_save(apply, reload_written, r);
		return;
	} else if (document != NULL) {
		how.end = RELOAD_NOT_BEGUN;
		how.err = apply_commit_start(apply, document, r->order, reload_committed, r);
		if (how.err == 0)
			return;
	}
	reload_end(r, &how);
}

void
apply_reload(struct apply *apply, const struct apply_commit_order *order, apply_reload_done *done,
	void *ctx)
{
	struct apply_reloaded how = {.end = RELOAD_NOT_BEGUN, .err = -ENOMEM};
	struct reload *r = malloc(sizeof(*r));

	if (r == NULL) {
		done(ctx, &how);
		return;
	}
	*r = (struct reload){apply, order, done, ctx};
	if (!reload_refused(r, false) && !apply_load(apply, reload_loaded, r))
		reload_end(r, &how);
}

/* ---- SIGHUP ---- */

static void
log_refused(const char *reason)
{
	char escaped[512];

	log_event(LOG_ERROR, "reload-refused reason=%s",
		log_escape(reason, strlen(reason), escaped, sizeof(escaped)));
}

/* Logs every fault, without the rate limit of log_event(): SIGHUP has no other answer. Returns the first. */
static const char *
log_faults(const struct faults *f)
{
	char path[256], reason[512];

	for (unsigned i = 0; i < f->count; i++) {
		const struct fault *one = &f->fault[i];

		log_write(&(struct log_site){0}, LOG_ERROR, "reload-refused path=%s reason=%s",
			log_escape(one->path, strlen(one->path), path, sizeof(path)),
			log_escape(one->reason, strlen(one->reason), reason, sizeof(reason)));
	}
	return f->count > 0 ? f->fault[0].reason : NULL;
}

static void
signal_end(void *ctx, const struct apply_reloaded *r) RUNS_ON(role_main)
{
	struct apply *apply = ctx;
	const char *fault = NULL, *first;
	char users[2 * CANDIDATES_TEXT_MAX];

	switch (r->end) {
	case RELOAD_BUSY:
		fault = r->text;
		log_refused(fault);
		break;
	case RELOAD_EDITED:
		fault = "a candidate holds edits";
		log_event(LOG_ERROR, "reload-refused reason=candidate-holds-edits users=%s",
			log_escape(r->text, strlen(r->text), users, sizeof(users)));
		break;
	case RELOAD_UNCONFIRMED:
		fault = "a commit waits for its confirmation";
		log_event(LOG_ERROR, "reload-refused reason=commit-awaits-confirmation");
		break;
	case RELOAD_UNREADABLE:
		fault = r->text;
		if (fault != NULL)
			log_refused(fault);
		first = log_faults(r->faults);
		fault = fault != NULL ? fault : first;
		break;
	case RELOAD_UNCHANGED:
		log_event(LOG_INFO, "reload-unchanged file=%s", apply->config_file);
		break;
	case RELOAD_WRITTEN:
		fault = r->err != 0 ? strerror(-r->err) : NULL;
		if (r->err == 0)
			log_event(LOG_WARNING, "reload-written file=%s", apply->config_file);
		else
			log_event(LOG_ERROR, "reload-refused reason=commit-not-persisted");
		break;
	case RELOAD_COMMITTED:
		fault = log_faults(&r->result->faults);
		if (fault == NULL && r->result->err != 0)
			fault = strerror(-r->result->err);
		break;
	case RELOAD_NOT_BEGUN:
		fault = strerror(-r->err);
		break;
	}
	apply_audit(apply, "signal", "SIGHUP", fault);
	if (!apply->ends)
		apply->reloaded();
}

void
apply_reload_signal(struct apply *apply, void (*done)(void))
{
	static const struct apply_commit_order order = {.comment = "SIGHUP"};

	apply->reloaded = done;
	apply_reload(apply, &order, signal_end, apply);
}
