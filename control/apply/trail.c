/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/trail.h"

#include "control/base/disk.h"
#include "control/base/log.h"
#include "control/base/threads.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A line that is not in the file yet. */
struct line {
	struct line *next, *prev;
	uint64_t id;
	size_t len; /* with the newline */
	int err; /* of the write */
	char text[];
};

struct trail {
	char *path;
	/* of the thread of the disk after trail_open() */
	int fd; /* of audit.log; -1: not open */
	size_t len; /* octets of audit.log */

	uint64_t next; /* id */
	struct disk *disk;
	struct disk_job job;
	/* The oldest first. `writing` belongs to the thread of the disk while the job runs. */
	struct line *writing, *writing_last, *waiting, *waiting_last;
	size_t waiting_octets; /* of both */
};

/* audit.log, audit.log.1 ... Allocated; NULL: out of memory. */
static char *
path_of(const struct trail *t, unsigned file)
{
	char *path = NULL;

	if (file == 0)
		return strdup(t->path);
	return asprintf(&path, "%s.%u", t->path, file) < 0 ? NULL : path;
}

/* The contents of a file, with a NUL at the end. Allocated; NULL: no such file, or out of memory. */
static char *
file_read(const struct trail *t, unsigned file, size_t *len)
{
	char *path = path_of(t, file), *text = NULL;
	int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
	size_t size = TRAIL_FILE_MAX + TRAIL_LINE_MAX;
	ssize_t n;

	*len = 0;
	if (fd >= 0)
		text = malloc(size + 1);
	while (text != NULL && *len < size && (n = read(fd, text + *len, size - *len)) > 0)
		*len += (size_t)n;
	if (text != NULL)
		text[*len] = '\0';
	if (fd >= 0)
		close(fd);
	free(path);
	return text;
}

/* The id of a line; 0: not a line of the trail, for example the rest of an interrupted write. */
static uint64_t
line_id(const char *line)
{
	static const char begin[] = "{\"id\":";

	return strncmp(line, begin, sizeof(begin) - 1) == 0
		       ? strtoull(line + sizeof(begin) - 1, NULL, 10)
		       : 0;
}

/*
 * The line before the octet `end`, which follows a newline: ends the line by a NUL, and returns its
 * beginning. NULL: no complete line.
 */
static char *
line_before(char *text, size_t *end)
{
	size_t at = *end;

	while (at > 0 && text[at - 1] != '\n')
		at--; /* an unfinished last line */
	if (at == 0)
		return NULL;
	text[--at] = '\0';
	while (at > 0 && text[at - 1] != '\n')
		at--;
	*end = at;
	return text + at;
}

static uint64_t
last_id(const struct trail *t)
{
	uint64_t id = 0;

	for (unsigned file = 0; file < TRAIL_FILES && id == 0; file++) {
		size_t end;
		char *text = file_read(t, file, &end), *line;

		while (text != NULL && id == 0 && (line = line_before(text, &end)) != NULL)
			id = line_id(line);
		free(text);
	}
	return id;
}

static void
log_not_written(int err)
{
	log_event(LOG_ERROR, "audit-not-written error=\"%s\"", strerror(-err));
}

/* 0, -errno. */
static int
file_open(struct trail *t)
{
	struct stat st;

	t->fd = open(
		t->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, 0600);
	if (t->fd < 0 || fstat(t->fd, &st) != 0)
		return -errno;
	t->len = (size_t)st.st_size;
	return 0;
}

int
trail_open(const char *folder, struct disk *disk, struct trail **out)
{
	struct trail *t = calloc(1, sizeof(*t));
	char last = '\n';
	int err;

	if (t == NULL || asprintf(&t->path, "%s/audit.log", folder) < 0) {
		free(t);
		return -ENOMEM;
	}
	*out = t;
	t->disk = disk;
	t->next = last_id(t) + 1;
	err = file_open(t);
	/* An interrupted write left the last line unfinished. */
	if (err == 0 && t->len > 0 && pread(t->fd, &last, 1, (off_t)t->len - 1) == 1 &&
		last != '\n' && write(t->fd, "\n", 1) == 1)
		t->len++;
	if (err != 0)
		log_not_written(err);
	return 0;
}

static void
lines_free(struct line *line)
{
	for (struct line *next; line != NULL; line = next) {
		next = line->next;
		free(line);
	}
}

void
trail_close(struct trail *t)
{
	if (t == NULL)
		return;
	lines_free(t->writing);
	lines_free(t->waiting);
	if (t->fd >= 0)
		close(t->fd);
	free(t->path);
	free(t);
}

/* Renames the files, the oldest first, and begins a new one. */
static int
rotate(struct trail *t)
{
	for (unsigned file = TRAIL_FILES - 1; file > 0; file--) {
		char *from = path_of(t, file - 1), *to = path_of(t, file);

		if (from != NULL && to != NULL)
			(void)rename(from, to); /* missing at first */
		free(from);
		free(to);
	}
	close(t->fd);
	return file_open(t);
}

static int
write_line(struct trail *t, const char *text, size_t len)
{
	ssize_t n;
	int err = t->fd < 0 ? file_open(t) : 0;

	if (err == 0 && t->len > 0 && t->len + len > TRAIL_FILE_MAX)
		err = rotate(t);
	if (err != 0)
		return err;
	n = write(t->fd, text, len);
	if (n == (ssize_t)len) {
		t->len += len;
		return 0;
	}
	err = n < 0 ? -errno : -ENOSPC;
	if (n > 0 && ftruncate(t->fd, (off_t)t->len) != 0) /* a part of the line */
		t->len += (size_t)n;
	return err;
}

/* On the thread of the disk. The last error; each line has its own. */
static int
lines_write(struct disk_job *j)
{
	struct trail *t = (struct trail *)(void *)((char *)j - offsetof(struct trail, job));
	int err = 0;

	for (struct line *line = t->writing; line != NULL; line = line->next) {
		line->err = write_line(t, line->text, line->len);
		err = line->err;
	}
	return err;
}

static void lines_written(struct disk_job *j, int err);

static void
lines_send(struct trail *t)
{
	t->writing = t->waiting;
	t->writing_last = t->waiting_last;
	t->waiting = t->waiting_last = NULL;
	t->job.file = t->path;
	t->job.work = lines_write;
	t->job.done = lines_written;
	disk_run(t->disk, &t->job);
}

static void
lines_written(struct disk_job *j, int err)
{
	struct trail *t = (struct trail *)(void *)((char *)j - offsetof(struct trail, job));
	struct line *written = t->writing;

	if (err != 0)
		log_not_written(err);
	t->writing = t->writing_last = NULL;
	for (const struct line *line = written; line != NULL; line = line->next) {
		t->waiting_octets -= line->len;
		/* the ids of lines in the files have no gap, unless later lines wait */
		if (line->err != 0 && line->next == NULL && line->id + 1 == t->next)
			t->next = line->id;
	}
	lines_free(written);
	if (t->waiting != NULL)
		lines_send(t);
}

/* 0; -EMSGSIZE, -ENOMEM, -EBUSY: the line is not kept. */
static int
line_add(struct trail *t, const char *text)
{
	size_t len = strlen(text) + 1;
	struct line *line;

	if (len > TRAIL_LINE_MAX)
		return -EMSGSIZE;
	if (t->waiting_octets + len > TRAIL_WAITING_MAX)
		return -EBUSY;
	line = malloc(sizeof(*line) + len);
	if (line == NULL)
		return -ENOMEM;
	*line = (struct line){.prev = t->waiting_last, .id = t->next++, .len = len};
	memcpy(line->text, text, len - 1);
	line->text[len - 1] = '\n';
	t->waiting_octets += len;
	if (t->waiting_last != NULL)
		t->waiting_last->next = line;
	else
		t->waiting = line;
	t->waiting_last = line;
	if (t->writing == NULL)
		lines_send(t);
	return 0;
}

void
trail_add(struct trail *t, json_t *members)
{
	json_t *line;
	char *text;
	int err;

	line = json_pack("{s:I, s:f}", "id", (json_int_t)t->next, "time", wall_s());
	json_object_update(line, members);
	text = line != NULL && members != NULL ? json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII)
					       : NULL;
	err = text != NULL ? line_add(t, text) : -ENOMEM;
	if (err != 0)
		log_not_written(err);
	free(text);
	json_decref(line);
	json_decref(members);
}

struct listing {
	json_t *list;
	unsigned limit;
	size_t octets; /* of the lines */
	uint64_t before, next;
};

/* Adds a line of `len` octets. True: the list is full, and `next` is set. */
static bool
list_line(struct listing *l, const char *text, size_t len, uint64_t id)
{
	json_t *entry;

	if (id == 0 || (l->before != 0 && id >= l->before))
		return false;
	if (json_array_size(l->list) == l->limit || l->octets >= TRAIL_LIST_MAX)
		return true;
	entry = json_loadb(text, len, 0, NULL);
	if (entry != NULL) {
		json_array_append_new(l->list, entry);
		l->octets += len;
		l->next = id;
	}
	return false;
}

/* Adds lines of a file. True: the list is full, and `next` is set. */
static bool
list_file(const struct trail *t, unsigned file, struct listing *l)
{
	size_t end;
	char *text = file_read(t, file, &end), *line;
	bool full = false;

	while (text != NULL && !full && (line = line_before(text, &end)) != NULL)
		full = list_line(l, line, strlen(line), line_id(line));
	free(text);
	return full;
}

/* Adds lines in memory, from the newest on; *oldest: the id of the oldest one. True: as list_file(). */
static bool
list_memory(const struct line *newest, struct listing *l, uint64_t *oldest)
{
	bool full = false;

	for (; newest != NULL && !full; newest = newest->prev) {
		*oldest = newest->id;
		full = list_line(l, newest->text, newest->len, newest->id);
	}
	return full;
}

json_t *
trail_list(const struct trail *t, unsigned limit, uint64_t before, uint64_t *next)
{
	struct listing l = {.list = json_array(), .limit = limit, .before = before};
	uint64_t oldest = 0;
	bool full = l.list != NULL && (list_memory(t->waiting_last, &l, &oldest) ||
					      list_memory(t->writing_last, &l, &oldest));

	/* A line of `writing` may be in the file already. */
	if (oldest != 0 && (l.before == 0 || l.before > oldest))
		l.before = oldest;
	for (unsigned file = 0; l.list != NULL && !full && file < TRAIL_FILES; file++)
		full = list_file(t, file, &l);
	*next = full ? l.next : 0;
	return l.list;
}
