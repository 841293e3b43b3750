/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/labels.h"

#include "control/base/disk.h"
#include "control/base/log.h"
#include "control/config/config.h"
#include "control/config/vrf_names.h"
#include "rib/table/vpn.h"

#include <errno.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE 4200
#define FILE_NAME "labels.json"
#define BROKEN_NAME "labels.broken-"

enum use {
	USE_FILE, /* read from the file; not taken yet */
	USE_TAKEN,
	USE_RESTS,
};

struct entry {
	char name[VRF_NAME_MAX + 1];
	uint32_t label;
	enum use use;
	uint64_t free_ns; /* end of the rest */
	uint64_t
		due; /* the version of the file that has the entry as USE_TAKEN, for the first time */
	bool rested; /* with `due`: the file before has it as USE_RESTS; else it has no entry */
};

struct labels {
	struct labels_config config;
	struct entry *entry; /* by label */
	unsigned count, size;
	unsigned broken; /* number of the newest broken file; 0: none */
	bool unusable; /* a broken file is in the way and cannot be moved */
	bool changed; /* a new version of the file is due */
	uint64_t version, written; /* of the file: the last one begun, the last one on disk */
	bool writing; /* `version` is on its way to the disk */
	bool waits; /* in labels_take() */
	bool full; /* the last labels_take() found no label */
	int write_error; /* of the last write; 0: written */
};

static void
path_of(const struct labels *l, const char *name, char path[static PATH_SIZE])
{
	snprintf(path, PATH_SIZE, "%s/%s", l->config.folder, name);
}

static void
broken_path(const struct labels *l, unsigned n, char path[static PATH_SIZE])
{
	char name[64];

	snprintf(name, sizeof(name), BROKEN_NAME "%u", n);
	path_of(l, name, path);
}

/* ---- entries ---- */

static struct entry *
find_name(struct labels *l, const char *name)
{
	for (unsigned i = 0; i < l->count; i++)
		if (strcmp(l->entry[i].name, name) == 0)
			return &l->entry[i];
	return NULL;
}

/* The place of the lowest label from `label` on. */
static unsigned
place_of(const struct labels *l, uint32_t label)
{
	unsigned low = 0, high = l->count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (l->entry[middle].label < label)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct entry *
insert(struct labels *l, const char *name, uint32_t label)
{
	unsigned at = place_of(l, label);

	if (l->count == l->size) {
		unsigned size = l->size != 0 ? 2 * l->size : 16;
		struct entry *grown = realloc(l->entry, size * sizeof(*grown));

		if (grown == NULL)
			return NULL;
		l->entry = grown;
		l->size = size;
	}
	memmove(&l->entry[at + 1], &l->entry[at], (l->count - at) * sizeof(*l->entry));
	l->count++;
	l->entry[at] = (struct entry){.label = label};
	snprintf(l->entry[at].name, sizeof(l->entry[at].name), "%s", name);
	return &l->entry[at];
}

/* ---- the file ---- */

/* False: the element is not an entry, or repeats a name or a label. */
static bool
entry_read(struct labels *l, const json_t *value, uint64_t now_ns)
{
	const json_t *label = json_object_get(value, "label"),
		     *rests = json_object_get(value, "rests");
	const char *name = json_string_value(json_object_get(value, "name"));
	json_int_t n = json_integer_value(label);
	unsigned at;
	struct entry *e;

	if (!json_is_integer(label) || n < MPLS_FIRST_UNRESERVED || n > MPLS_LABEL_MAX ||
		name == NULL || name[0] == '\0' || strlen(name) > VRF_NAME_MAX ||
		!json_is_boolean(rests) || find_name(l, name) != NULL)
		return false;
	if ((uint32_t)n > l->config.last)
		return true; /* of an earlier version: the instance gets a label of the range */
	at = place_of(l, (uint32_t)n);
	if (at < l->count && l->entry[at].label == (uint32_t)n)
		return false;
	e = insert(l, name, (uint32_t)n);
	if (e == NULL)
		return false;
	e->use = json_is_true(rests) ? USE_RESTS : USE_FILE;
	e->free_ns = now_ns + LABELS_REST_NS;
	return true;
}

/* 0; -ENOENT: there is no file; -EINVAL: the file is broken. */
static int
file_read(struct labels *l, uint64_t now_ns)
{
	char path[PATH_SIZE];
	json_t *document, *list;
	bool whole = true;

	path_of(l, FILE_NAME, path);
	errno = 0;
	document = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	if (document == NULL)
		return errno == ENOENT ? -ENOENT : -EINVAL;
	list = json_object_get(document, "labels");
	whole = json_is_array(list) && json_object_size(document) == 1;
	for (size_t i = 0; whole && i < json_array_size(list); i++)
		whole = entry_read(l, json_array_get(list, i), now_ns);
	json_decref(document);
	return whole ? 0 : -EINVAL;
}

/* A version of the file on its way to the disk: one at a time. */
struct writing {
	struct disk_job job;
	struct labels *labels;
	json_t *document;
	char path[PATH_SIZE];
};

static int
writing_work(struct disk_job *j)
{
	struct writing *w = (struct writing *)(void *)((char *)j - offsetof(struct writing, job));

	return config_state_save(w->path, w->document);
}

static void
rest(struct entry *e, uint64_t now_ns)
{
	e->use = USE_RESTS;
	e->free_ns = now_ns + LABELS_REST_NS;
	e->due = 0;
}

/* The version ended without a file: its new labels are free again, or rest as before. */
static void
take_back(struct labels *l)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < l->count; i++) {
		struct entry e = l->entry[i];
		bool failed = e.due > l->written && e.due <= l->version;

		if (failed && !e.rested)
			continue;
		if (failed) {
			e.use = USE_RESTS;
			e.due = 0;
		}
		l->entry[kept++] = e;
	}
	l->count = kept;
}

static void write_next(struct labels *l);

static void
write_ended(struct labels *l, int err)
{
	char path[PATH_SIZE];

	l->writing = false;
	path_of(l, FILE_NAME, path);
	if (err != 0 && err != l->write_error)
		log_event(LOG_ERROR, "labels-not-written file=%s error=\"%s\"", path,
			strerrordesc_np(-err));
	l->write_error = err;
	if (err == 0)
		l->written = l->version;
	else
		take_back(l);
	if (err == 0 && !l->waits && l->config.written != NULL)
		l->config.written(l->config.ctx);
	write_next(l);
}

static void
writing_done(struct disk_job *j, int err)
{
	struct writing *w = (struct writing *)(void *)((char *)j - offsetof(struct writing, job));
	struct labels *l = w->labels;

	json_decref(w->document);
	free(w);
	write_ended(l, err);
}

/* NULL: out of memory. */
static json_t *
document_of(const struct labels *l)
{
	json_t *list = json_array(), *document = json_pack("{s:o}", "labels", list);

	for (unsigned i = 0; document != NULL && i < l->count; i++) {
		const struct entry *e = &l->entry[i];

		if (json_array_append_new(
			    list, json_pack("{s:i, s:s, s:b}", "label", (int)e->label, "name",
					  e->name, "rests", e->use == USE_RESTS)) == 0)
			continue;
		json_decref(document);
		document = NULL;
	}
	return document;
}

/* Begins a version with all changes, unless one is under way: the next one follows it. */
static void
write_next(struct labels *l)
{
	struct writing *w;

	if (l->writing || !l->changed)
		return;
	l->changed = false;
	l->writing = true;
	l->version++;
	w = malloc(sizeof(*w));
	if (w != NULL)
		*w = (struct writing){
			.job = {.file = w->path, .work = writing_work, .done = writing_done},
			.labels = l,
			.document = document_of(l)};
	if (w == NULL || w->document == NULL) {
		free(w);
		write_ended(l, -ENOMEM);
		return;
	}
	path_of(l, FILE_NAME, w->path);
	disk_run(l->config.disk, &w->job);
}

static void
find_broken(struct labels *l)
{
	char path[PATH_SIZE];

	for (unsigned n = 1; n <= l->config.ranges; n++) {
		broken_path(l, n, path);
		if (access(path, F_OK) == 0)
			l->broken = n;
	}
}

/* Keeps the broken file: the next start finds the file and skips the range, too. */
static void
move_broken(struct labels *l)
{
	char from[PATH_SIZE], to[PATH_SIZE];

	l->count = 0;
	path_of(l, FILE_NAME, from);
	broken_path(l, l->broken + 1, to);
	if (l->broken == l->config.ranges || rename(from, to) != 0) {
		l->unusable = true;
		log_event(LOG_ERROR, "labels-broken file=%s action=none", from);
		return;
	}
	l->broken++;
	log_event(LOG_ERROR, "labels-broken file=%s kept=%s", from, to);
}

int
labels_open(const struct labels_config *c, uint64_t now_ns, struct labels **out)
{
	struct labels *l = calloc(1, sizeof(*l));
	char path[PATH_SIZE];

	if (l == NULL)
		return -ENOMEM;
	l->config = *c;
	path_of(l, FILE_NAME, path);
	config_save_tidy(path);
	find_broken(l);
	if (file_read(l, now_ns) == -EINVAL)
		move_broken(l);
	*out = l;
	return 0;
}

void
labels_close(struct labels *l)
{
	if (l == NULL)
		return;
	free(l->entry);
	free(l);
}

/* ---- taking and releasing ---- */

static void
drop_rested(struct labels *l, uint64_t now_ns)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < l->count; i++)
		if (l->entry[i].use != USE_RESTS || l->entry[i].free_ns > now_ns)
			l->entry[kept++] = l->entry[i];
	l->count = kept;
}

/* The lowest free label of the range; 0: none. */
static uint32_t
lowest_free(const struct labels *l)
{
	uint32_t size = (l->config.last + 1) / l->config.ranges;
	uint32_t label = l->broken * size, end = label + size;

	if (label < l->config.first)
		label = l->config.first;
	if (l->broken >= l->config.ranges)
		return 0;
	for (unsigned at = place_of(l, label); at < l->count && l->entry[at].label == label; at++)
		label++;
	return label < end ? label : 0;
}

/* In memory. 0, -ENOSPC, -ENOMEM. */
static int
take_one(struct labels *l, const char *name)
{
	struct entry *e = find_name(l, name);
	bool rested = e != NULL && e->use == USE_RESTS;
	uint32_t lowest;

	if (e != NULL && !rested) {
		e->use = USE_TAKEN;
		return 0;
	}
	if (e == NULL) {
		lowest = lowest_free(l);
		l->full = lowest == 0;
		if (lowest == 0)
			return -ENOSPC;
		e = insert(l, name, lowest);
	}
	if (e == NULL)
		return -ENOMEM;
	e->use = USE_TAKEN;
	e->due = l->version + 1;
	e->rested = rested;
	l->changed = true;
	return 0;
}

int
labels_take(
	struct labels *l, const char *const *names, unsigned count, uint64_t now_ns, uint32_t *out)
{
	bool under_way = l->writing, late = false, lost = false;
	const struct entry *e;
	int one, result = 0;

	memset(out, 0, count * sizeof(*out));
	if (l->unusable)
		return -EIO;
	drop_rested(l, now_ns);
	for (unsigned i = 0; i < count; i++) {
		one = take_one(l, names[i]);
		result = one != 0 ? one : result;
	}
	/* written first: after a restart, a resting label would be free for a different name */
	l->waits = true;
	write_next(l);
	if (l->writing && !under_way)
		(void)disk_await(
			l->config.disk, disk_is_slow(l->config.disk) ? 0 : LABELS_PATIENCE_NS);
	l->waits = false;
	for (unsigned i = 0; i < count; i++) {
		e = find_name(l, names[i]);
		if (e != NULL && e->use == USE_TAKEN && e->due <= l->written)
			out[i] = e->label;
		late |= e != NULL && e->due > l->written;
		lost |= e == NULL || e->use != USE_TAKEN;
	}
	return result != 0 ? result : late ? -EINPROGRESS : lost ? l->write_error : 0;
}

void
labels_release(struct labels *l, const char *name, uint64_t now_ns)
{
	struct entry *e = find_name(l, name);

	if (e == NULL || e->use == USE_RESTS)
		return;
	rest(e, now_ns);
	l->changed = true;
}

void
labels_store(struct labels *l)
{
	/* without the write the label rests from the next start on */
	write_next(l);
}

void
labels_release_unused(struct labels *l, uint64_t now_ns)
{
	for (unsigned i = 0; i < l->count; i++) {
		if (l->entry[i].use != USE_FILE)
			continue;
		rest(&l->entry[i], now_ns);
		l->changed = true;
	}
	write_next(l);
}

bool
labels_alarm(const struct labels *l, char text[static LABELS_ALARM_MAX])
{
	char path[PATH_SIZE];

	if (l->unusable) {
		snprintf(text, LABELS_ALARM_MAX,
			"%.200s/" FILE_NAME " is broken and cannot be moved; instances get no "
			"labels",
			l->config.folder);
		return true;
	}
	if (l->full) {
		snprintf(text, LABELS_ALARM_MAX,
			"no MPLS label is free for an instance; %u are in use or rest", l->count);
		return true;
	}
	if (l->write_error != 0) {
		snprintf(text, LABELS_ALARM_MAX,
			"%.200s/" FILE_NAME " cannot be written (%s); new instances get no labels",
			l->config.folder, strerrordesc_np(-l->write_error));
		return true;
	}
	broken_path(l, l->broken, path);
	if (l->broken == 0 || access(path, F_OK) != 0)
		return false;
	snprintf(text, LABELS_ALARM_MAX,
		"a broken file of labels was kept as %.200s; delete it when no remote router uses "
		"its labels",
		path);
	return true;
}
