/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/labels.h"

#include "control/base/log.h"
#include "control/config/config.h"
#include "control/config/vrf_names.h"
#include "rib/vpn.h"

#include <errno.h>
#include <jansson.h>
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
};

struct labels {
	struct labels_config config;
	struct entry *entry; /* by label */
	unsigned count, size;
	unsigned broken; /* number of the newest broken file; 0: none */
	bool unusable; /* a broken file is in the way and cannot be moved */
	bool changed; /* labels_store() is due */
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

static void
entry_remove(struct labels *l, const struct entry *e)
{
	unsigned at = (unsigned)(e - l->entry);

	memmove(&l->entry[at], &l->entry[at + 1], (l->count - at - 1) * sizeof(*l->entry));
	l->count--;
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

/* Writes all entries. 0, -errno. */
static int
file_write(struct labels *l)
{
	json_t *list = json_array(), *document = json_pack("{s:o}", "labels", list);
	char path[PATH_SIZE];
	int err = document != NULL ? 0 : -ENOMEM;

	for (unsigned i = 0; err == 0 && i < l->count; i++) {
		const struct entry *e = &l->entry[i];

		if (json_array_append_new(
			    list, json_pack("{s:i, s:s, s:b}", "label", (int)e->label, "name",
					  e->name, "rests", e->use == USE_RESTS)) != 0)
			err = -ENOMEM;
	}
	path_of(l, FILE_NAME, path);
	if (err == 0)
		err = config_save(path, document);
	json_decref(document);
	if (err != 0 && err != l->write_error)
		log_event(LOG_ERROR, "labels-not-written file=%s error=\"%s\"", path,
			strerrordesc_np(-err));
	l->write_error = err;
	return err;
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

enum taken { TAKEN_BEFORE, TAKEN_RESTED, TAKEN_NEW, TAKEN_NOT };

/* Without a write. */
static enum taken
take_one(struct labels *l, const char *name)
{
	struct entry *e = find_name(l, name);
	enum taken taken = TAKEN_NEW;
	uint32_t lowest;

	if (e != NULL) {
		taken = e->use == USE_RESTS ? TAKEN_RESTED : TAKEN_BEFORE;
	} else {
		lowest = lowest_free(l);
		l->full = lowest == 0;
		e = lowest != 0 ? insert(l, name, lowest) : NULL;
		if (e == NULL)
			return TAKEN_NOT;
	}
	e->use = USE_TAKEN;
	return taken;
}

static void
take_back(struct labels *l, const char *name, enum taken taken)
{
	struct entry *e = find_name(l, name);

	if (taken == TAKEN_NEW)
		entry_remove(l, e);
	else if (taken == TAKEN_RESTED)
		e->use = USE_RESTS;
}

int
labels_take(
	struct labels *l, const char *const *names, unsigned count, uint64_t now_ns, uint32_t *out)
{
	enum taken *taken = calloc(count + 1, sizeof(*taken));
	bool changed = false;
	int err = l->unusable ? -EIO : taken == NULL ? -ENOMEM : 0, result = err;

	memset(out, 0, count * sizeof(*out));
	if (err == 0)
		drop_rested(l, now_ns);
	for (unsigned i = 0; err == 0 && i < count; i++) {
		taken[i] = take_one(l, names[i]);
		changed |= taken[i] == TAKEN_RESTED || taken[i] == TAKEN_NEW;
		if (taken[i] == TAKEN_NOT)
			result = l->full ? -ENOSPC : -ENOMEM;
	}
	/* written first: after a restart, a resting label would be free for a different name */
	if (changed)
		err = file_write(l);
	for (unsigned i = 0; result != -EIO && taken != NULL && i < count; i++) {
		if (err != 0 && taken[i] != TAKEN_NOT)
			take_back(l, names[i], taken[i]);
		if (taken[i] == TAKEN_BEFORE || (err == 0 && taken[i] != TAKEN_NOT))
			out[i] = find_name(l, names[i])->label;
	}
	free(taken);
	return err != 0 ? err : result;
}

static void
rest(struct entry *e, uint64_t now_ns)
{
	e->use = USE_RESTS;
	e->free_ns = now_ns + LABELS_REST_NS;
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
	if (l->changed)
		(void)file_write(l);
	l->changed = false;
}

void
labels_release_unused(struct labels *l, uint64_t now_ns)
{
	bool changed = false;

	for (unsigned i = 0; i < l->count; i++) {
		if (l->entry[i].use != USE_FILE)
			continue;
		rest(&l->entry[i], now_ns);
		changed = true;
	}
	if (changed)
		(void)file_write(l);
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
