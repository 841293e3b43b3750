/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/history.h"

#include "control/base/disk.h"
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

/* A document on disk. */
struct stored {
	uint32_t id;
	int64_t from; /* a difference from this commit; -1: whole */
	size_t len;
	bool needed; /* of drop_documents() */
};

/* The document that was written last: what the next one may be a difference from. */
struct tip {
	bool known;
	uint32_t id;
	unsigned chain; /* differences since the whole document */
	size_t whole, differences; /* octets */
};

struct history {
	char *folder, *index_file;
	struct disk *disk;
	json_t *commits; /* array of {id, time, comment, user} */
	json_t *waiting; /* ids of the commits that wait for a confirmation */
	uint32_t back_to;
	json_t *returns; /* of commits with a confirmation: {id: the commit to return to} */
	uint32_t next;
	int lock; /* the folder, open */
	int err; /* why the folder cannot be used, or 0 */
	/* of the next commit: the texts, their hashes, the document; or NULL */
	json_t *texts, *policy_files, *prepared;
	json_t *waiting_files; /* hashes of the newest commit of `waiting`; or NULL */
	/* documents by id and texts by hash that are not on disk: not yet, or not at all */
	json_t *memory;
	/* the last commit, to be compared with the next one */
	json_t *last_document; /* NULL: not known */
	uint32_t last_id;
	struct stored *stored;
	unsigned stored_count, stored_size;
	/* the thread of the disk, after history_open(); `before`: in case that tip.id is written again */
	struct tip tip, before;
};

/* One call that writes; in this order. */
struct writing {
	struct disk_job job;
	struct history *h;
	json_t *texts, *hashes; /* {path: text}, {path: hash}; or NULL */
	json_t *document, *last_document; /* or NULL */
	uint32_t id, last_id;
	char *index; /* or NULL */
	char *remove; /* path of a file; or NULL */
	struct stored stored; /* the result of `document` */
	struct writing
		*back; /* what the commit to return to has in memory only: written first; or NULL */
	int err; /* the result of `back` */
	json_t *waiting_files; /* before the call that adds `id` to `waiting`, or NULL */
	bool adds_waiting, confirms;
	void (*done)(void *ctx, int err); /* may be NULL */
	void *ctx;
};

/* Allocated; NULL when out of memory. */
static char *
path_of(const struct history *h, const char *name)
{
	char *path = NULL;

	return asprintf(&path, "%s/%s", h->folder, name) < 0 ? NULL : path;
}

/* `from`: as in struct stored. */
static char *
document_path(const struct history *h, uint32_t id, int64_t from)
{
	char name[64];

	if (from < 0)
		snprintf(name, sizeof(name), "commit-%u.json", id);
	else
		snprintf(name, sizeof(name), "commit-%u.from-%u.json", id, (uint32_t)from);
	return path_of(h, name);
}

/* The file of a text, by its hash. */
static char *
text_path(const struct history *h, const char *hash)
{
	char name[48];

	snprintf(name, sizeof(name), "policy-%.32s", hash);
	return path_of(h, name);
}

static const char *
key_of(uint32_t id, char buf[static 16])
{
	snprintf(buf, 16, "%u", id);
	return buf;
}

/* ---- texts of policy files ---- */

/* A new reference; NULL: not on disk. */
static json_t *
read_text_file(const struct history *h, const char *hash)
{
	char *path = text_path(h, hash);
	json_t *text = path != NULL ? policy_file_text(path) : NULL;

	free(path);
	return text;
}

/* A new reference; NULL: not kept. */
static json_t *
read_text(const struct history *h, const char *hash)
{
	json_t *text = json_object_get(h->memory, hash);

	return text != NULL ? json_incref(text) : h->err == 0 ? read_text_file(h, hash) : NULL;
}

static bool
has_hash(const json_t *files, const char *hash)
{
	const char *path, *text;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)files, path, value)
	{
		text = json_string_value(value);
		if (text != NULL && strcmp(text, hash) == 0)
			return true;
	}
	return false;
}

static bool
is_text_used(const struct history *h, const char *hash)
{
	size_t i;
	json_t *e;

	json_array_foreach(h->commits, i, e)
	{
		if (has_hash(json_object_get(e, "policy_files"), hash))
			return true;
	}
	return has_hash(h->waiting_files, hash) || has_hash(h->policy_files, hash);
}

/* ---- writing ---- */

/* A text is written once. -EEXIST: another text has the hash. */
static int
write_text(const struct history *h, const char *hash, const json_t *text)
{
	json_t *kept = read_text_file(h, hash);
	char *path;
	int err;

	if (kept != NULL) {
		err = json_equal(kept, text) ? 0 : -EEXIST;
		json_decref(kept);
		return err;
	}
	if (text == NULL)
		return -ENOENT;
	path = text_path(h, hash);
	err = path != NULL ? config_state_save_text(
				     path, json_string_value(text), json_string_length(text))
			   : -ENOMEM;
	free(path);
	return err;
}

static int
write_texts(const struct writing *w)
{
	const char *path;
	json_t *hash;
	int err = 0;

	json_object_foreach(w->hashes, path, hash)
	{
		if (err == 0)
			err = write_text(
				w->h, json_string_value(hash), json_object_get(w->texts, path));
	}
	return err;
}

/* The difference from the document before, allocated; NULL: the document is to be written whole. */
static char *
difference(const struct writing *w)
{
	const struct tip *t = &w->h->tip;
	json_t *operations;
	char *text;

	if (!t->known || w->last_document == NULL || t->id != w->last_id ||
		t->chain == HISTORY_CHAIN_MAX || t->whole < HISTORY_LARGE_OCTETS)
		return NULL;
	operations = config_diff(w->last_document, w->document);
	text = operations != NULL ? json_dumps(operations, JSON_COMPACT) : NULL;
	json_decref(operations);
	if (text == NULL || t->differences + strlen(text) <= t->whole / 4)
		return text;
	free(text);
	return NULL;
}

/*
 * Writes the document as `s` says. 0, -errno. A refused commit may have left the file of the other kind with this id, which must not
 * be there together with the right one.
 */
static int
write_document_as(const struct writing *w, struct stored *s, const char *text)
{
	char *path = document_path(w->h, s->id, s->from);
	char *other = s->from >= 0		 ? document_path(w->h, s->id, -1)
		      : w->last_document != NULL ? document_path(w->h, s->id, w->last_id)
						 : NULL;
	struct stat st;
	int err = -ENOMEM;

	if (other != NULL)
		(void)unlink(other);
	free(other);
	if (path != NULL && text != NULL)
		err = config_state_save_text(path, text, strlen(text));
	else if (path != NULL)
		err = config_state_save(path, w->document);
	if (err == 0)
		s->len = stat(path, &st) == 0 ? (size_t)st.st_size : 0;
	free(path);
	return err;
}

static int
write_document(struct writing *w)
{
	struct history *h = w->h;
	struct tip next;
	char *text;
	int err;

	if (h->tip.known && h->tip.id == w->id) /* a commit was refused after history_prepare() */
		h->tip = h->before;
	h->before = next = h->tip;
	text = difference(w);
	w->stored = (struct stored){.id = w->id, .from = text != NULL ? (int64_t)w->last_id : -1};
	err = write_document_as(w, &w->stored, text);
	if (text != NULL) {
		next.chain++;
		next.differences += w->stored.len;
	} else {
		next = (struct tip){.whole = w->stored.len};
	}
	next.known = err == 0;
	next.id = w->id;
	h->tip = next;
	free(text);
	return err;
}

/* On the thread of the disk. */
static int
writing_work(struct disk_job *j)
{
	struct writing *w = (struct writing *)(void *)((char *)j - offsetof(struct writing, job));
	int err = 0;

	if (w->back != NULL) {
		err = write_texts(w->back);
		if (err == 0 && w->back->document != NULL)
			err = write_document_as(w->back, &w->back->stored, NULL);
		w->back->err = err;
	}
	if (err == 0 && w->texts != NULL)
		err = write_texts(w);
	if (err == 0 && w->document != NULL)
		err = write_document(w);
	if (err == 0 && w->index != NULL) {
		char *path = path_of(w->h, "index.json");

		err = path != NULL ? config_state_save_text(path, w->index, strlen(w->index))
				   : -ENOMEM;
		free(path);
	}
	if (w->remove != NULL && unlink(w->remove) != 0 && errno != ENOENT)
		err = -errno;
	return err;
}

static void
writing_free(struct writing *w) /* NOLINT(misc-no-recursion): `back` has none */
{
	if (w->back != NULL)
		writing_free(w->back);
	json_decref(w->texts);
	json_decref(w->hashes);
	json_decref(w->document);
	json_decref(w->last_document);
	json_decref(w->waiting_files);
	free(w->index);
	free(w->remove);
	free(w);
}

static void written(struct writing *w, int err);

static void
writing_done(struct disk_job *j, int err)
{
	struct writing *w = (struct writing *)(void *)((char *)j - offsetof(struct writing, job));

	if (w->back != NULL)
		written(w->back, w->back->err);
	written(w, err);
	if (w->done != NULL)
		w->done(w->ctx, err);
	writing_free(w);
}

/* NULL: out of memory. */
static struct writing *
writing_new(struct history *h, void (*done)(void *ctx, int err), void *ctx)
{
	struct writing *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->h = h;
	w->done = done;
	w->ctx = ctx;
	w->job = (struct disk_job){.file = h->folder, .work = writing_work, .done = writing_done};
	return w;
}

static void
file_remove(struct history *h, char *path)
{
	struct writing *w = path != NULL ? writing_new(h, NULL, NULL) : NULL;

	if (w == NULL) {
		free(path); /* the next start removes the file */
		return;
	}
	w->remove = path;
	w->job.keeps = true;
	disk_run(h->disk, &w->job);
}

/* The text of the index; NULL: out of memory. `waiting`: ids. */
static char *
index_text(const struct history *h, const json_t *waiting)
{
	json_t *index = json_pack("{s:O, s:I}", "commits", h->commits, "next", (json_int_t)h->next);
	char *text, *line;

	if (index != NULL && json_array_size(waiting) > 0)
		json_object_set_new(index, "confirm",
			json_pack("{s:O, s:I, s:O*}", "commits", waiting, "back_to",
				(json_int_t)h->back_to, "policy_files", h->waiting_files));
	text = index != NULL ? json_dumps(index, JSON_INDENT(2)) : NULL;
	json_decref(index);
	line = text != NULL ? realloc(text, strlen(text) + 2) : NULL;
	if (line == NULL) {
		free(text);
		return NULL;
	}
	return strcat(line, "\n");
}

/* ---- documents on disk ---- */

static struct stored *
stored_find(const struct history *h, uint32_t id)
{
	for (unsigned i = 0; i < h->stored_count; i++)
		if (h->stored[i].id == id)
			return &h->stored[i];
	return NULL;
}

/* Without memory the document is not known, and the next start removes its file. */
static void
stored_set(struct history *h, const struct stored *s)
{
	struct stored *same = stored_find(h, s->id);

	if (same == NULL && h->stored_count == h->stored_size) {
		unsigned size = h->stored_size != 0 ? 2 * h->stored_size : 128;
		struct stored *grown = realloc(h->stored, size * sizeof(*grown));

		if (grown == NULL)
			return;
		h->stored = grown;
		h->stored_size = size;
	}
	if (same == NULL)
		same = &h->stored[h->stored_count++];
	*same = *s;
}

/* Removes the texts of `files`, {path: hash}, that no commit has. */
static void
drop_texts(struct history *h, const json_t *files)
{
	const char *path;
	json_t *hash;

	json_object_foreach((json_t *)(uintptr_t)files, path, hash)
	{
		if (!json_is_string(hash) || is_text_used(h, json_string_value(hash)))
			continue;
		json_object_del(h->memory, json_string_value(hash));
		if (h->err == 0)
			file_remove(h, text_path(h, json_string_value(hash)));
	}
}

int
history_policy_files(struct history *h, json_t *texts)
{
	json_t *hashes = policy_files_hashes(texts), *before = h->policy_files;

	if (hashes == NULL)
		return -ENOMEM;
	json_decref(h->texts);
	h->texts = json_incref(texts);
	h->policy_files = hashes;
	drop_texts(h, before); /* of a commit that was refused after history_prepare() */
	json_decref(before);
	return 0;
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
	h->waiting_files = json_incref(json_object_get(confirm, "policy_files"));
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

/* False: not the name of a document. */
static bool
stored_of_name(const char *name, struct stored *s)
{
	char rest[8];
	unsigned from;

	s->from = -1;
	if (sscanf(name, "commit-%9u.jso%7s", &s->id, rest) == 2)
		return strcmp(rest, "n") == 0;
	if (sscanf(name, "commit-%9u.from-%9u.jso%7s", &s->id, &from, rest) != 3)
		return false;
	s->from = from;
	return strcmp(rest, "n") == 0;
}

/* Lent; NULL: not listed. */
static json_t *
entry_of(const struct history *h, uint32_t id)
{
	size_t i;
	json_t *e;

	json_array_foreach(h->commits, i, e)
	{
		if (json_integer_value(json_object_get(e, "id")) == id)
			return e;
	}
	return NULL;
}

static bool
is_listed(const struct history *h, uint32_t id)
{
	size_t i;
	json_t *e;

	json_array_foreach(h->waiting, i, e)
	{
		if (json_integer_value(e) == id)
			return true;
	}
	return entry_of(h, id) != NULL;
}

/* Removes the documents that no commit needs: neither as its own, nor to get its own from a difference. */
static void
drop_documents(struct history *h)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < h->stored_count; i++)
		h->stored[i].needed = false;
	for (unsigned i = 0; i < h->stored_count; i++) {
		struct stored *s = &h->stored[i];

		/* an id from `next` on is being prepared */
		if (!is_listed(h, s->id) && s->id < h->next)
			continue;
		for (; s != NULL && !s->needed;
			s = s->from >= 0 ? stored_find(h, (uint32_t)s->from) : NULL)
			s->needed = true;
	}
	for (unsigned i = 0; i < h->stored_count; i++) {
		const struct stored s = h->stored[i];

		if (s.needed)
			h->stored[kept++] = s;
		else
			file_remove(h, document_path(h, s.id, s.from));
	}
	h->stored_count = kept;
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
	struct stored s, *other;

	if (d == NULL)
		return -errno;
	while ((e = readdir(d)) != NULL) {
		struct stat st;

		if (stored_of_name(e->d_name, &s)) {
			other = stored_find(h, s.id);
			s.len = fstatat(dirfd(d), e->d_name, &st, 0) == 0 ? (size_t)st.st_size : 0;
			if (other == NULL || s.from < 0) /* the whole one of two */
				stored_set(h, &s);
			if (!indexed && s.id >= h->next)
				h->next = s.id + 1;
		}
		if (strstr(e->d_name, ".tmp-") != NULL ||
			(strncmp(e->d_name, "policy-", 7) == 0 && indexed &&
				!is_text_used(h, e->d_name + 7)))
			file_remove(h, path_of(h, e->d_name));
	}
	closedir(d);
	/* commits from `next` on were prepared only */
	for (unsigned i = h->stored_count; i-- > 0;) {
		if (h->stored[i].id < h->next || is_listed(h, h->stored[i].id))
			continue;
		file_remove(h, document_path(h, h->stored[i].id, h->stored[i].from));
		h->stored[i] = h->stored[--h->stored_count];
	}
	drop_documents(h);
	return 0;
}

/* The state of the last commit for the next difference. */
static void
read_tip(struct history *h) RUNS_ON(role_main)
{
	struct tip t = {0};
	const struct stored *s = history_last(h, &t.id) ? stored_find(h, t.id) : NULL;

	for (; s != NULL && s->from >= 0 && t.chain < HISTORY_CHAIN_MAX; t.chain++) {
		t.differences += s->len;
		s = stored_find(h, (uint32_t)s->from);
	}
	t.known = s != NULL && s->from < 0;
	t.whole = t.known ? s->len : 0;
	h->tip = t;
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
read_folder(struct history *h) RUNS_ON(role_main)
{
	json_t *index = load_document(path_of(h, "index.json"));
	int err;

	if (index != NULL)
		read_index(h, index);
	err = remove_leftovers(h, index != NULL);
	read_tip(h);
	json_decref(index);
	return err;
}

int
history_open(const char *folder, struct disk *disk, struct history **out)
{
	struct history *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return -ENOMEM;
	h->lock = -1;
	h->disk = disk;
	h->folder = strdup(folder);
	h->commits = json_array();
	h->waiting = json_array();
	h->memory = json_object();
	h->returns = json_object();
	if (h->folder != NULL)
		h->index_file = path_of(h, "index.json");
	if (h->index_file == NULL || h->returns == NULL || h->commits == NULL ||
		h->waiting == NULL || h->memory == NULL) {
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
	json_decref(h->texts);
	json_decref(h->policy_files);
	json_decref(h->prepared);
	json_decref(h->waiting_files);
	json_decref(h->last_document);
	json_decref(h->returns);
	free(h->stored);
	free(h->index_file);
	free(h->folder);
	free(h);
}

/* ---- commits ---- */

uint32_t
history_next(const struct history *h)
{
	return h->next;
}

/* The ids of `waiting` after `id`; a new reference. */
static json_t *
waiting_after(const struct history *h, uint32_t id)
{
	json_t *after = json_array(), *e;
	size_t i;

	json_array_foreach(h->waiting, i, e)
	{
		if (json_integer_value(e) > id)
			json_array_append(after, e);
	}
	return after;
}

/* UINT32_MAX: none waits. */
static uint32_t
waiting_newest(const struct history *h)
{
	size_t n = json_array_size(h->waiting);

	return n > 0 ? (uint32_t)json_integer_value(json_array_get(h->waiting, n - 1)) : UINT32_MAX;
}

static void
waiting_remove(struct history *h, uint32_t id)
{
	size_t i;
	json_t *e;

	json_array_foreach(h->waiting, i, e)
	{
		if (json_integer_value(e) != id)
			continue;
		json_array_remove(h->waiting, i);
		return;
	}
}

/* On main, after writing_work(). */
static void
written(struct writing *w, int err)
{
	struct history *h = w->h;
	const struct stored *before;
	const char *path;
	json_t *hash;
	char key[16];

	if (w->document != NULL && err == 0) {
		before = stored_find(h, w->id);
		if (before != NULL && before->from != w->stored.from)
			file_remove(h, document_path(h, w->id, before->from));
		stored_set(h, &w->stored);
		if (json_object_get(h->memory, key_of(w->id, key)) == w->document)
			json_object_del(h->memory, key);
	}
	if (err == 0)
		json_object_foreach(w->hashes, path, hash)
			json_object_del(h->memory, json_string_value(hash));
	if (w->adds_waiting && err != 0) {
		if (waiting_newest(h) == w->id) { /* else a newer commit has its own files there */
			json_decref(h->waiting_files);
			h->waiting_files = json_incref(w->waiting_files);
		}
		waiting_remove(h, w->id);
	}
	if (w->confirms && err == 0) {
		json_array_clear(h->waiting);
		json_object_clear(h->returns);
	}
}

static void
remember(struct history *h, json_t *document)
{
	const char *path;
	char key[16];
	json_t *hash;

	json_object_set(h->memory, key_of(h->next, key), document);
	json_object_foreach(h->policy_files, path, hash) json_object_set(
		h->memory, json_string_value(hash), json_object_get(h->texts, path));
}

/* `w` NULL: out of memory. */
static void
writing_start(struct history *h, struct writing *w, void (*done)(void *ctx, int err), void *ctx)
{
	if (w != NULL && h->err == 0) {
		disk_run(h->disk, &w->job);
		return;
	}
	if (w != NULL) {
		written(w, h->err);
		writing_free(w);
	}
	done(ctx, h->err != 0 ? h->err : -ENOMEM);
}

/*
 * A return needs the document and the texts of `back_to` on disk: what is in memory failed to be written. *out: NULL where all is
 * on disk. False: out of memory.
 */
static bool
back_writing(struct history *h, uint32_t back_to, struct writing **out) RUNS_ON(role_main)
{
	json_t *of = json_object_get(entry_of(h, back_to), "policy_files"), *hash, *text;
	char key[16];
	json_t *document = json_object_get(h->memory, key_of(back_to, key));
	json_t *hashes = json_object(), *texts = json_object();
	const char *path;

	json_object_foreach(of, path, hash)
	{
		text = json_object_get(h->memory, json_string_value(hash));
		if (text != NULL) {
			json_object_set(hashes, path, hash);
			json_object_set(texts, path, text);
		}
	}
	*out = NULL;
	if (document == NULL && json_object_size(texts) == 0) {
		json_decref(hashes);
		json_decref(texts);
		return true;
	}
	*out = writing_new(h, NULL, NULL);
	if (*out == NULL) {
		json_decref(hashes);
		json_decref(texts);
		return false;
	}
	(*out)->id = back_to;
	(*out)->stored = (struct stored){.id = back_to, .from = -1};
	(*out)->hashes = hashes;
	(*out)->texts = texts;
	(*out)->document = json_incref(document);
	return true;
}

void
history_prepare(struct history *h, json_t *document, int64_t back_to,
	void (*done)(void *ctx, int err), void *ctx)
{
	struct writing *w = writing_new(h, done, ctx);
	bool room;
	char key[16];

	/* before remember(): what the two commits share is on disk */
	room = w != NULL && (back_to < 0 || back_writing(h, (uint32_t)back_to, &w->back));
	json_decref(h->prepared);
	h->prepared = json_incref(document);
	remember(h, document);
	if (w == NULL) {
		writing_start(h, w, done, ctx);
		return;
	}
	w->texts = json_incref(h->texts);
	w->hashes = json_incref(h->policy_files);
	w->document = json_incref(document);
	w->id = h->next;
	w->last_document = json_incref(h->last_document);
	w->last_id = h->last_id;
	if (back_to >= 0)
		json_object_set_new(
			h->returns, key_of(h->next, key), json_integer((json_int_t)back_to));
	else
		json_object_del(h->returns, key_of(h->next, key));
	if (!room) {
		written(w, -ENOMEM);
		writing_free(w);
		w = NULL;
	} else if (back_to >= 0) {
		/*
		 * Earlier commits keep waiting: until FILE has the new document, FILE has an earlier
		 * document of the list.
		 */
		if (json_array_size(h->waiting) == 0)
			h->back_to = (uint32_t)back_to;
		if (waiting_newest(h) != h->next)
			json_array_append_new(h->waiting, json_integer(h->next));
		w->adds_waiting = true;
		w->waiting_files = h->waiting_files;
		h->waiting_files = json_incref(h->policy_files);
		w->index = index_text(h, h->waiting);
		if (w->index == NULL) {
			written(w, -ENOMEM);
			writing_free(w);
			w = NULL;
		}
	}
	writing_start(h, w, done, ctx);
}

uint32_t
history_add(struct history *h, const char *comment, const char *user)
{
	json_array_append_new(h->commits,
		json_pack("{s:I, s:f, s:s, s:s, s:O*}", "id", (json_int_t)h->next, "time", wall_s(),
			"comment", comment, "user", user, "policy_files",
			json_object_size(h->policy_files) > 0 ? h->policy_files : NULL));
	json_decref(h->last_document);
	h->last_document = h->prepared;
	h->last_id = h->next;
	h->prepared = NULL;
	return h->next++;
}

/* Drops the oldest commit that is not the target of a rollback. */
static void
drop_oldest(struct history *h)
{
	bool spared = json_array_size(h->waiting) > 0 &&
		      json_integer_value(json_object_get(json_array_get(h->commits, 0), "id")) ==
			      h->back_to;
	json_t *e = json_incref(json_array_get(h->commits, spared));
	char key[16];

	json_array_remove(h->commits, spared);
	json_object_del(
		h->memory, key_of((uint32_t)json_integer_value(json_object_get(e, "id")), key));
	drop_texts(h, json_object_get(e, "policy_files"));
	json_decref(e);
}

void
history_settle(struct history *h, uint32_t id, json_t *left, enum history_state state,
	void (*done)(void *ctx, int err), void *ctx)
{
	struct writing *w = writing_new(h, done, ctx);
	char key[16];
	const json_t *back = json_object_get(h->returns, key_of(id, key));
	json_t *e = entry_of(h, id), *after;
	bool drops = json_array_size(h->commits) > HISTORY_MAX;

	if (json_object_size(left) > 0)
		json_object_set(e, "policy_left", left);
	if (state == HISTORY_CONFIRMED) {
		after = waiting_after(h, id);
		json_decref(h->waiting);
		h->waiting = after;
		if (json_array_size(after) > 0)
			h->back_to = id;
		else
			json_object_clear(h->returns);
	} else if (state == HISTORY_WAITS && back != NULL) {
		/* FILE has no earlier document any more */
		after = waiting_after(h, id);
		json_array_insert_new(after, 0, json_integer((json_int_t)id));
		json_decref(h->waiting);
		h->waiting = after;
		h->back_to = (uint32_t)json_integer_value(back);
	}
	while (json_array_size(h->commits) > HISTORY_MAX)
		drop_oldest(h);
	if (w != NULL) {
		w->job.file = h->index_file;
		w->index = index_text(h, h->waiting);
	}
	if (w != NULL && w->index == NULL) {
		writing_free(w);
		w = NULL;
	}
	writing_start(h, w, done, ctx);
	if (drops)
		drop_documents(h);
}

void
history_confirm(struct history *h, void (*done)(void *ctx, int err), void *ctx)
{
	struct writing *w = writing_new(h, done, ctx);

	if (w != NULL) {
		w->job.file = h->index_file;
		w->index = index_text(h, NULL);
	}
	if (w != NULL && w->index == NULL) {
		writing_free(w);
		w = NULL;
	}
	if (w != NULL)
		w->confirms = true;
	writing_start(h, w, done, ctx);
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

/* Puts the operations from the commit `s->from` to the commit `s->id` before *operations. False: unreadable. */
static bool
add_difference(const struct history *h, const struct stored *s, json_t **operations)
{
	json_t *more = load_document(document_path(h, s->id, s->from));

	if (!json_is_array(more) || json_array_extend(more, *operations) != 0) {
		json_decref(more);
		return false;
	}
	json_decref(*operations);
	*operations = more;
	return true;
}

/* A new reference; NULL: unreadable. */
static json_t *
read_document(const struct history *h, const struct stored *s)
{
	json_t *operations = json_array(), *whole, *document = NULL;
	struct faults f = {0};
	bool sound = operations != NULL;

	for (unsigned n = 0; sound && s != NULL && s->from >= 0; n++) {
		sound = n < HISTORY_CHAIN_MAX && add_difference(h, s, &operations);
		s = stored_find(h, (uint32_t)s->from);
	}
	whole = sound && s != NULL ? load_document(document_path(h, s->id, s->from)) : NULL;
	if (whole != NULL && json_array_size(operations) > 0)
		document = config_patch(whole, operations, &f);
	else
		document = json_incref(whole);
	faults_fini(&f);
	json_decref(whole);
	json_decref(operations);
	return document;
}

json_t *
history_document(const struct history *h, uint32_t id)
{
	char key[16];
	json_t *document = json_object_get(h->memory, key_of(id, key));
	const struct stored *s = stored_find(h, id);

	if (document != NULL)
		return json_incref(document);
	return s != NULL && is_listed(h, id) ? read_document(h, s) : NULL;
}

bool
history_is_last(struct history *h, json_t *document)
{
	json_t *last;
	bool same;

	if (!history_last(h, &h->last_id))
		return false;
	last = history_document(h, h->last_id);
	same = last != NULL && json_equal(last, document);
	json_decref(h->last_document);
	h->last_document = json_incref(same ? document : last);
	json_decref(last);
	return same;
}

json_t *
history_texts(const struct history *h, uint32_t id)
{
	json_t *texts = json_object(), *hash, *text;
	const char *path;

	json_object_foreach(json_object_get(entry_of(h, id), "policy_files"), path, hash)
	{
		text = json_is_string(hash) ? read_text(h, json_string_value(hash)) : NULL;
		if (text != NULL)
			json_object_set_new_nocheck(texts, path, text);
	}
	return texts;
}

json_t *
history_last_texts(const char *folder)
{
	struct history h = {.folder = (char *)(uintptr_t)folder,
		.commits = json_array(),
		.waiting = json_array()};
	json_t *index = load_document(path_of(&h, "index.json")), *texts = NULL;
	uint32_t id;

	if (index != NULL && h.commits != NULL && h.waiting != NULL) {
		read_index(&h, index);
		texts = history_last(&h, &id) ? history_texts(&h, id) : NULL;
	}
	json_decref(index);
	json_decref(h.commits);
	json_decref(h.waiting);
	json_decref(h.waiting_files);
	return texts;
}

/* Of `texts`, those with the hash in `hashes`. */
static json_t *
texts_within(const json_t *texts, const json_t *hashes)
{
	json_t *within = json_object(), *of_texts = policy_files_hashes(texts), *hash;
	const char *path;

	json_object_foreach(of_texts, path, hash)
	{
		if (json_equal(hash, json_object_get(hashes, path)))
			json_object_set_nocheck(within, path, json_object_get(texts, path));
	}
	json_decref(of_texts);
	return within;
}

json_t *
history_waiting_texts(const struct history *h, const json_t *texts)
{
	return texts_within(texts, h->waiting_files);
}

json_t *
history_left_texts(const struct history *h, const json_t *texts)
{
	uint32_t id = 0;
	json_t *left, *kept, *text;
	const char *path;
	void *next;

	if (!history_last(h, &id))
		return json_object();
	left = texts_within(texts, json_object_get(entry_of(h, id), "policy_left"));
	kept = history_texts(h, id);
	json_object_foreach_safe(kept, next, path, text)
	{
		if (json_object_get(left, path) == NULL)
			json_object_del(kept, path);
	}
	json_decref(left);
	return kept;
}

/* Replaces the hashes of an entry by the texts. `budget`: octets left for all entries. */
static void
entry_texts(const struct history *h, json_t *e, size_t *budget)
{
	json_t *files = json_object_get(e, "policy_files"), *hash, *text, *shown;
	const char *path;
	void *next;

	json_object_foreach_safe(files, next, path, hash)
	{
		size_t len;

		text = *budget > 0 && json_is_string(hash) ? read_text(h, json_string_value(hash))
							   : NULL;
		len = json_string_length(text);
		shown = text != NULL && len <= *budget ? json_stringn(json_string_value(text), len)
						       : NULL;
		*budget -= len <= *budget ? len : *budget;
		json_object_set_new_nocheck(files, path, shown != NULL ? shown : json_null());
		json_decref(text);
	}
	json_object_del(e, "policy_left");
}

json_t *
history_list(const struct history *h)
{
	json_t *list = json_deep_copy(h->commits);
	size_t budget = HISTORY_TEXTS_MAX;

	for (size_t i = json_array_size(list); i-- > 0;)
		entry_texts(h, json_array_get(list, i), &budget);
	return list;
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
