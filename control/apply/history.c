/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/history.h"
#include "control/base/threads.h"

#include "control/config/config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct history {
	char *folder;
	json_t *commits; /* array of {id, time, comment, user} */
	json_t *waiting; /* ids of the commits that wait for a confirmation */
	uint32_t back_to;
	uint32_t next;
	int lock; /* the folder, open */
	int err; /* why the folder cannot be used, or 0 */
	json_t *policy_files; /* of the next commit; NULL: none */
	json_t *memory; /* with `err`: documents by id, instead of files */
};

/* Allocated; NULL when out of memory. */
static char *
path_of(const struct history *h, const char *name)
{
	char *path = NULL;

	return asprintf(&path, "%s/%s", h->folder, name) < 0 ? NULL : path;
}

static char *
document_path(const struct history *h, uint32_t id)
{
	char name[32];

	snprintf(name, sizeof(name), "commit-%u.json", id);
	return path_of(h, name);
}

static int
write_file(char *path, const json_t *document)
{
	int err = path != NULL ? config_save(path, document) : -ENOMEM;

	free(path);
	return err;
}

static int
write_index(const struct history *h)
{
	json_t *index;
	int err;

	if (h->err != 0)
		return h->err;
	index = json_pack("{s:O, s:I}", "commits", h->commits, "next", (json_int_t)h->next);
	if (index != NULL && json_array_size(h->waiting) > 0)
		json_object_set_new(index, "confirm",
			json_pack("{s:O, s:I}", "commits", h->waiting, "back_to",
				(json_int_t)h->back_to));
	err = index != NULL ? write_file(path_of(h, "index.json"), index) : -ENOMEM;
	json_decref(index);
	return err;
}

static const char *
key_of(uint32_t id, char buf[static 16])
{
	snprintf(buf, 16, "%u", id);
	return buf;
}

static int
write_document(struct history *h, const json_t *document)
{
	char key[16];

	if (h->err == 0)
		return write_file(document_path(h, h->next), document);
	json_object_set_new(h->memory, key_of(h->next, key), json_deep_copy(document));
	return h->err;
}

/* ---- reading ---- */

static json_t *
load_document(char *path)
{
	struct faults f = {0};
	char *message = NULL;
	json_t *document = path != NULL ? config_load(path, &message, &f) : NULL;

	free(message);
	faults_fini(&f);
	free(path);
	return document;
}

static bool
entry_is_good(const json_t *e)
{
	json_int_t id = json_integer_value(json_object_get(e, "id"));

	return json_is_integer(json_object_get(e, "id")) && id >= 0 && id < UINT32_MAX &&
	       json_is_number(json_object_get(e, "time")) &&
	       json_is_string(json_object_get(e, "comment"));
}

static void
read_waiting(struct history *h, const json_t *confirm)
{
	const json_t *back_to = json_object_get(confirm, "back_to");
	size_t i;
	json_t *id;

	if (!json_is_integer(back_to))
		return;
	h->back_to = (uint32_t)json_integer_value(back_to);
	json_array_foreach(json_object_get(confirm, "commits"), i, id)
	{
		if (json_is_integer(id))
			json_array_append(h->waiting, id);
	}
}

static void
read_index(struct history *h, const json_t *index)
{
	json_int_t next = json_integer_value(json_object_get(index, "next"));
	size_t i;
	json_t *e;

	if (next > 0 && next < UINT32_MAX)
		h->next = (uint32_t)next;
	json_array_foreach(json_object_get(index, "commits"), i, e)
	{
		if (!entry_is_good(e))
			continue;
		json_array_append(h->commits, e);
		if (json_integer_value(json_object_get(e, "id")) >= h->next)
			h->next = (uint32_t)json_integer_value(json_object_get(e, "id")) + 1;
	}
	read_waiting(h, json_object_get(index, "confirm"));
}

static bool
id_of_name(const char *name, uint32_t *id)
{
	char rest[8];

	return sscanf(name, "commit-%9u.jso%7s", id, rest) == 2 && strcmp(rest, "n") == 0;
}

static bool
is_listed(const struct history *h, uint32_t id)
{
	size_t i;
	json_t *e;

	json_array_foreach(h->commits, i, e)
	{
		if (json_integer_value(json_object_get(e, "id")) == id)
			return true;
	}
	json_array_foreach(h->waiting, i, e)
	{
		if (json_integer_value(e) == id)
			return true;
	}
	return false;
}

/*
 * Removes half-written files and documents of unfinished commits of a killed process. Without an
 * index, ids continue after the ids of the documents.
 */
static int
remove_leftovers(struct history *h, bool indexed)
{
	DIR *d = opendir(h->folder);
	struct dirent *e;
	uint32_t id;

	if (d == NULL)
		return -errno;
	while ((e = readdir(d)) != NULL) {
		bool document = id_of_name(e->d_name, &id);

		if (document && !indexed && id >= h->next)
			h->next = id + 1;
		if (strstr(e->d_name, ".json.tmp-") != NULL || (document && !is_listed(h, id)))
			unlinkat(dirfd(d), e->d_name, 0);
	}
	closedir(d);
	return 0;
}

/*
 * Locks the folder: two keelds would use equal ids. The kernel drops the lock at the end of the
 * process.
 */
static int
lock_folder(struct history *h)
{
	if (mkdir(h->folder, 0700) != 0 && errno != EEXIST)
		return -errno;
	h->lock = open(h->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (h->lock < 0 || flock(h->lock, LOCK_EX | LOCK_NB) != 0)
		return -errno;
	return 0;
}

static int
read_folder(struct history *h)
{
	json_t *index = load_document(path_of(h, "index.json"));
	int err;

	if (index != NULL)
		read_index(h, index);
	err = remove_leftovers(h, index != NULL);
	json_decref(index);
	return err;
}

int
history_open(const char *folder, struct history **out)
{
	struct history *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return -ENOMEM;
	h->lock = -1;
	h->folder = strdup(folder);
	h->commits = json_array();
	h->waiting = json_array();
	h->memory = json_object();
	if (h->folder == NULL || h->commits == NULL || h->waiting == NULL || h->memory == NULL) {
		history_close(h);
		return -ENOMEM;
	}
	h->err = lock_folder(h);
	if (h->err == 0)
		h->err = read_folder(h);
	*out = h;
	return h->err;
}

void
history_close(struct history *h)
{
	if (h == NULL)
		return;
	if (h->lock >= 0)
		close(h->lock);
	json_decref(h->commits);
	json_decref(h->waiting);
	json_decref(h->memory);
	json_decref(h->policy_files);
	free(h->folder);
	free(h);
}

/* ---- writing ---- */

uint32_t
history_next(const struct history *h)
{
	return h->next;
}

int
history_prepare(struct history *h, const json_t *document, int64_t back_to)
{
	int err = write_document(h, document);

	if (err != 0 || back_to < 0)
		return err;
	/*
	 * Earlier commits keep waiting: until FILE has the new document, FILE has an earlier
	 * document of the list.
	 */
	if (json_array_size(h->waiting) == 0)
		h->back_to = (uint32_t)back_to;
	json_array_append_new(h->waiting, json_integer(h->next));
	err = write_index(h);
	if (err != 0)
		json_array_remove(h->waiting, json_array_size(h->waiting) - 1);
	return err;
}

static void
drop_document(struct history *h, uint32_t id)
{
	char key[16], *path = h->err == 0 ? document_path(h, id) : NULL;

	if (path != NULL)
		unlink(path);
	free(path);
	json_object_del(h->memory, key_of(id, key));
}

/* Drops the oldest commit that is not the target of a rollback. */
static void
drop_oldest(struct history *h)
{
	bool spared = json_array_size(h->waiting) > 0 &&
		      json_integer_value(json_object_get(json_array_get(h->commits, 0), "id")) ==
			      h->back_to;
	const json_t *e = json_array_get(h->commits, spared);

	drop_document(h, (uint32_t)json_integer_value(json_object_get(e, "id")));
	json_array_remove(h->commits, spared);
}

void
history_policy_files(struct history *h, json_t *files)
{
	json_decref(h->policy_files);
	h->policy_files = json_object_size(files) > 0 ? json_incref(files) : NULL;
}

int
history_add(struct history *h, const char *comment, const char *user, bool waits)
{
	json_array_append_new(h->commits,
		json_pack("{s:I, s:f, s:s, s:s, s:O*}", "id", (json_int_t)h->next, "time", wall_s(),
			"comment", comment, "user", user, "policy_files", h->policy_files));
	h->next++;
	if (!waits)
		json_array_clear(h->waiting);
	while (json_array_size(h->commits) > HISTORY_MAX)
		drop_oldest(h);
	return write_index(h);
}

int
history_confirm(struct history *h)
{
	json_t *waiting = json_copy(h->waiting);
	int err = waiting != NULL ? history_confirmed(h) : -ENOMEM;

	if (waiting != NULL && err != 0)
		json_array_extend(h->waiting, waiting);
	json_decref(waiting);
	return err;
}

int
history_confirmed(struct history *h)
{
	json_array_clear(h->waiting);
	return write_index(h);
}

/* ---- queries ---- */

bool
history_waits(const struct history *h, const json_t *document, uint32_t *back_to)
{
	size_t i;
	json_t *id;

	*back_to = h->back_to;
	json_array_foreach(h->waiting, i, id)
	{
		json_t *other = history_document(h, (uint32_t)json_integer_value(id));
		bool same = other != NULL && json_equal(other, document);

		json_decref(other);
		if (same)
			return true;
	}
	return false;
}

json_t *
history_document(const struct history *h, uint32_t id)
{
	char key[16];

	if (h->err != 0)
		return json_incref(json_object_get(h->memory, key_of(id, key)));
	return is_listed(h, id) ? load_document(document_path(h, id)) : NULL;
}

json_t *
history_list(const struct history *h)
{
	return json_deep_copy(h->commits);
}

bool
history_last(const struct history *h, uint32_t *id)
{
	size_t count = json_array_size(h->commits);

	if (count == 0)
		return false;
	*id = (uint32_t)json_integer_value(
		json_object_get(json_array_get(h->commits, count - 1), "id"));
	return true;
}
