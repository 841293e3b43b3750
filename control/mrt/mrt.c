/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/mrt/mrt.h"

#include "control/base/layers.h"
#include "control/base/log.h"
#include "control/base/record_file.h"
#include "control/config/config.h"
#include "control/mrt/mrt_dump.h"
#include "control/session/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define END_NS 2000000000u /* patience with the disk when keeld stops */
#define LOST_ALARM_NS 60000000000u /* an alarm about lost records lasts this long */

struct entry {
	struct mrt *mrt;
	struct entry *next;
	char *file;
	enum mrt_kind kind;
	uint32_t interval_s;
	/* MRT_UPDATES; NULL: could not be created, see `error` */
	struct record_file *records;
	/* MRT_TABLE */
	struct timer due;
	uint64_t due_s; /* Unix time */
	struct mrt_dump *dump; /* NULL: none runs */
	uint64_t dump_begin_s; /* of the running dump */
	uint64_t written, octets, files, left_out, skipped;
	uint64_t begin_s, written_s; /* of the last complete file */
	int error; /* errno; 0: none */
	bool leaves; /* in mrt.leaving */
	/* for the alarm */
	uint64_t lost_seen, lost_ns;
};

struct mrt {
	const struct layers *layers;
	uint32_t asn, router_id;
	struct entry *entries;
	struct entry *leaving; /* removed; the file is not closed yet */
	struct {
		struct mrt_dump *dump; /* NULL: none runs */
		void (*done)(void *ctx, const struct mrt_dump_result *r); /* NULL: forgotten */
		void *ctx;
	} asked;
};

static void
entry_failed(struct entry *e, int error)
{
	if (error != 0)
		log_event(LOG_ERROR, "mrt-failed file=%s error=\"%s\"", e->file,
			strerrordesc_np(error));
	e->error = error;
}

static void
entry_free(struct entry *e)
{
	free(e->file);
	free(e);
}

static void
unlink_entry(struct entry **list, const struct entry *e)
{
	while (*list != e)
		list = &(*list)->next;
	*list = e->next;
}

/* ---- tables ---- */

static void
table_arm(struct entry *e) RUNS_ON(role_main)
{
	uint64_t now = wall_ns(), interval_ns = (uint64_t)e->interval_s * 1000000000u;

	e->due_s = record_file_begin(now / 1000000000u, e->interval_s) + e->interval_s;
	if (timer_arm(e->mrt->layers->main_thread, &e->due, interval_ns - now % interval_ns) != 0)
		entry_failed(e, ENOMEM);
}

static void
table_done(void *ctx, const struct mrt_dump_result *r) RUNS_ON(role_main)
{
	struct entry *e = ctx;

	e->dump = NULL;
	if (e->leaves) {
		unlink_entry(&e->mrt->leaving, e);
		entry_free(e);
		return;
	}
	entry_failed(e, -r->error);
	if (r->error != 0)
		return;
	e->files++;
	e->written += r->prefixes + 1; /* and the peer index table */
	e->octets += r->octets;
	e->left_out += r->left_out;
	e->begin_s = e->dump_begin_s;
	e->written_s = wall_ns() / 1000000000u;
}

static void
table_begin(struct entry *e, uint64_t begin_s) RUNS_ON(role_main)
{
	char name[RECORD_FILE_NAME_MAX], path[RECORD_FILE_NAME_MAX + 4];
	struct mrt_dump_config c = {.layers = e->mrt->layers,
		.asn = e->mrt->asn,
		.router_id = e->mrt->router_id,
		.time_s = (uint32_t)(wall_ns() / 1000000000u),
		.path = path,
		.name = name};
	int err = -ENAMETOOLONG;

	if (record_file_name(name, e->file, begin_s)) {
		snprintf(path, sizeof(path), "%s.tmp", name);
		err = mrt_dump_start(&c, table_done, e, &e->dump);
	}
	e->dump_begin_s = begin_s;
	if (err != 0)
		entry_failed(e, -err);
}

static void
table_due(struct timer *t) RUNS_ON(role_main)
{
	struct entry *e = (struct entry *)(void *)((char *)t - offsetof(struct entry, due));

	uint64_t now_s = wall_ns() / 1000000000u;

	if (now_s >= e->due_s && e->dump != NULL)
		e->skipped++;
	else if (now_s >= e->due_s) /* otherwise the wall clock was set back */
		table_begin(e, record_file_begin(now_s, e->interval_s));
	table_arm(e);
}

/* ---- updates ---- */

/* The files of kind `updates`, as the session thread knows them. */
struct files_call {
	struct speaker *speaker;
	struct record_file *file[CONFIG_MRT_MAX];
	unsigned count;
};

static void
files_set(void *arg) RUNS_ON(role_session)
{
	const struct files_call *c = arg;

	speaker_record(c->speaker, c->file, c->count);
}

/* Gives the session thread the files of the present entries. */
static void
files_tell(struct mrt *m) RUNS_ON(role_main)
{
	struct files_call c = {.speaker = m->layers->speaker};

	for (const struct entry *e = m->entries; e != NULL; e = e->next) {
		if (e->records != NULL)
			c.file[c.count++] = e->records;
	}
	layers_call_session(m->layers, files_set, &c);
}

static void
file_closed(void *ctx, struct record_file *r) RUNS_ON(role_main)
{
	struct entry *e = ctx;

	(void)r;
	unlink_entry(&e->mrt->leaving, e);
	entry_free(e);
}

/* ---- configuration ---- */

/* NULL: out of memory. */
static struct entry *
entry_create(struct mrt *m, const struct config_mrt *k) RUNS_ON(role_main)
{
	struct entry *e = calloc(1, sizeof(*e));
	int err = 0;

	if (e == NULL || (e->file = strdup(k->file)) == NULL) {
		free(e);
		return NULL;
	}
	e->mrt = m;
	e->kind = k->kind;
	e->interval_s = k->interval_s;
	e->due.fire = table_due;
	if (e->kind == MRT_TABLE)
		table_arm(e);
	else
		err = record_file_create(
			e->file, e->interval_s, m->layers->main_thread, &e->records);
	if (err != 0)
		entry_failed(e, -err);
	return e;
}

static void
entry_change(struct entry *e, const struct config_mrt *k) RUNS_ON(role_main)
{
	if (e->interval_s == k->interval_s)
		return;
	e->interval_s = k->interval_s;
	if (e->kind == MRT_TABLE)
		table_arm(e);
	else if (e->records != NULL)
		record_file_interval(e->records, e->interval_s);
}

/* The session thread has no record_file of the entry any more. */
static void
entry_leave(struct entry *e) RUNS_ON(role_main)
{
	timer_cancel(e->mrt->layers->main_thread, &e->due);
	if (e->records == NULL && e->dump == NULL) {
		entry_free(e);
		return;
	}
	e->leaves = true;
	e->next = e->mrt->leaving;
	e->mrt->leaving = e;
	if (e->records != NULL)
		record_file_end(e->records, file_closed, e);
	else
		mrt_dump_cancel(e->dump);
}

/* Takes the entry of `k` out of the list. NULL: none. */
static struct entry *
entry_take(struct entry **list, const struct config_mrt *k)
{
	struct entry *e = *list;

	while (e != NULL && (e->kind != k->kind || strcmp(e->file, k->file) != 0))
		e = e->next;
	if (e != NULL)
		unlink_entry(list, e);
	return e;
}

void
mrt_configure(struct mrt *m, const struct config *c)
{
	struct entry *old = m->entries, *next;

	m->asn = c->asn;
	m->router_id = c->router_id;
	if (old == NULL && c->mrt_count == 0)
		return;
	m->entries = NULL;
	for (unsigned i = c->mrt_count; i-- > 0;) {
		const struct config_mrt *k = &c->mrt[i];
		struct entry *e = entry_take(&old, k);

		if (e != NULL)
			entry_change(e, k);
		else if ((e = entry_create(m, k)) == NULL)
			log_event(LOG_ERROR, "mrt-failed file=%s error=\"%s\"", k->file,
				strerrordesc_np(ENOMEM));
		if (e == NULL)
			continue;
		e->next = m->entries;
		m->entries = e;
	}
	files_tell(m);
	for (struct entry *e = old; e != NULL; e = next) {
		next = e->next;
		entry_leave(e);
	}
}

/* ---- mrt.dump ---- */

static void
asked_done(void *ctx, const struct mrt_dump_result *r) RUNS_ON(role_main)
{
	struct mrt *m = ctx;

	m->asked.dump = NULL;
	if (m->asked.done != NULL)
		m->asked.done(m->asked.ctx, r);
}

int
mrt_ask(struct mrt *m, const char *path, void (*done)(void *ctx, const struct mrt_dump_result *r),
	void *ctx)
{
	struct mrt_dump_config c = {.layers = m->layers,
		.asn = m->asn,
		.router_id = m->router_id,
		.time_s = (uint32_t)(wall_ns() / 1000000000u),
		.path = path};

	if (m->asked.dump != NULL)
		return -EBUSY;
	m->asked.done = done;
	m->asked.ctx = ctx;
	return mrt_dump_start(&c, asked_done, m, &m->asked.dump);
}

void
mrt_ask_forget(struct mrt *m)
{
	m->asked.done = NULL;
}

/* ---- figures ---- */

struct entry_figures {
	uint64_t records, octets, files, lost, begin_s, written_s;
	int error;
};

static void
entry_figures(const struct entry *e, struct entry_figures *out)
{
	struct record_file_figures f;

	*out = (struct entry_figures){.records = e->written,
		.octets = e->octets,
		.files = e->files,
		.lost = e->left_out,
		.begin_s = e->begin_s,
		.written_s = e->written_s,
		.error = e->error};
	if (e->records == NULL)
		return;
	record_file_figures(e->records, &f);
	*out = (struct entry_figures){
		f.records, f.octets, f.files, f.lost, f.begin_s, f.written_s, f.error};
}

/* The reason of the alarm about this file; NULL: none. */
static const char *
entry_fault(struct entry *e, uint64_t now)
{
	struct entry_figures f;

	entry_figures(e, &f);
	if (f.lost > e->lost_seen)
		e->lost_ns = now;
	e->lost_seen = f.lost;
	if (f.error != 0)
		return strerrordesc_np(f.error);
	return e->lost_ns != 0 && now - e->lost_ns < LOST_ALARM_NS ? "records were lost" : NULL;
}

bool
mrt_alarm(struct mrt *m, char *text, size_t size)
{
	uint64_t now = now_ns();
	unsigned more = 0;
	size_t len = 0;

	for (struct entry *e = m != NULL ? m->entries : NULL; e != NULL; e = e->next) {
		const char *fault = entry_fault(e, now);

		if (fault != NULL && len == 0)
			len = (size_t)snprintf(text, size, "%.160s: %s", e->file, fault);
		else if (fault != NULL)
			more++;
	}
	if (more > 0 && len < size)
		snprintf(text + len, size - len, "; and %u more file%s", more, more > 1 ? "s" : "");
	return len > 0;
}

static json_t *
entry_json(const struct entry *e)
{
	char name[RECORD_FILE_NAME_MAX];
	struct entry_figures f;
	json_t *o;

	entry_figures(e, &f);
	o = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "file", e->file, "kind",
		e->kind == MRT_TABLE ? "table" : "updates", "interval_s", (json_int_t)e->interval_s,
		"files", (json_int_t)f.files, "records", (json_int_t)f.records, "octets",
		(json_int_t)f.octets, "drops", (json_int_t)f.lost, "skipped",
		(json_int_t)e->skipped);
	if (f.begin_s != 0 && record_file_name(name, e->file, f.begin_s))
		json_object_set_new(o, "path", json_string(name));
	if (f.written_s != 0)
		json_object_set_new(o, "written", json_integer((json_int_t)f.written_s));
	if (f.error != 0)
		json_object_set_new(o, "error", json_string(strerrordesc_np(f.error)));
	return o;
}

json_t *
mrt_summary(const struct mrt *m)
{
	json_t *list = json_array();
	const struct entry *e = m->entries;

	for (; e != NULL; e = e->next)
		json_array_append_new(list, entry_json(e));
	return json_pack("{s:o}", "files", list);
}

/* ---- lifetime ---- */

int
mrt_create(const struct layers *layers, struct mrt **out)
{
	struct mrt *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return -ENOMEM;
	m->layers = layers;
	*out = m;
	return 0;
}

/* The end of a file runs messages to main, which may take further entries out of the list. */
static void
entries_destroy(struct entry **list) RUNS_ON(role_main)
{
	while (*list != NULL) {
		struct entry *e = *list;

		*list = e->next;
		timer_cancel(e->mrt->layers->main_thread, &e->due);
		if (e->records != NULL)
			record_file_destroy(e->records, END_NS);
		if (e->dump != NULL)
			mrt_dump_destroy(e->dump, END_NS);
		entry_free(e);
	}
}

void
mrt_destroy(struct mrt *m)
{
	if (m == NULL)
		return;
	if (m->asked.dump != NULL)
		mrt_dump_destroy(m->asked.dump, END_NS);
	entries_destroy(&m->entries);
	entries_destroy(&m->leaving);
	free(m);
}
