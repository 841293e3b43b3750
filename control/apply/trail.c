/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/trail.h"
#include "control/base/threads.h"

#include "control/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct trail {
	char *path;
	int fd; /* of audit.log; -1: not open */
	size_t len; /* octets of audit.log */
	uint64_t next; /* id */
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

	t->fd = open(t->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
	if (t->fd < 0 || fstat(t->fd, &st) != 0)
		return -errno;
	t->len = (size_t)st.st_size;
	return 0;
}

int
trail_open(const char *folder, struct trail **out)
{
	struct trail *t = calloc(1, sizeof(*t));
	char last = '\n';
	int err;

	if (t == NULL || asprintf(&t->path, "%s/audit.log", folder) < 0) {
		free(t);
		return -ENOMEM;
	}
	*out = t;
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

void
trail_close(struct trail *t)
{
	if (t == NULL)
		return;
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

void
trail_add(struct trail *t, json_t *members)
{
	json_t *line;
	char *text;
	size_t len;
	int err;

	line = json_pack("{s:I, s:f}", "id", (json_int_t)t->next, "time", wall_s());
	json_object_update(line, members);
	text = line != NULL && members != NULL ? json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII)
					       : NULL;
	len = text != NULL ? strlen(text) : 0;
	if (text == NULL) {
		err = -ENOMEM;
	} else if (len >= TRAIL_LINE_MAX) {
		err = -EMSGSIZE;
	} else {
		text[len] = '\n'; /* in place of the NUL */
		err = write_line(t, text, len + 1);
	}
	if (err == 0)
		t->next++;
	else
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

/* Adds lines of a file. True: the list is full, and `next` is set. */
static bool
list_file(const struct trail *t, unsigned file, struct listing *l)
{
	size_t end;
	char *text = file_read(t, file, &end), *line;
	bool full = false;

	while (text != NULL && !full && (line = line_before(text, &end)) != NULL) {
		uint64_t id = line_id(line);
		json_t *entry;

		if (id == 0 || (l->before != 0 && id >= l->before))
			continue;
		full = json_array_size(l->list) == l->limit || l->octets >= TRAIL_LIST_MAX;
		entry = full ? NULL : json_loads(line, 0, NULL);
		if (entry != NULL) {
			json_array_append_new(l->list, entry);
			l->octets += strlen(line);
			l->next = id;
		}
	}
	free(text);
	return full;
}

json_t *
trail_list(const struct trail *t, unsigned limit, uint64_t before, uint64_t *next)
{
	struct listing l = {.list = json_array(), .limit = limit, .before = before};
	bool full = false;

	for (unsigned file = 0; l.list != NULL && !full && file < TRAIL_FILES; file++)
		full = list_file(t, file, &l);
	*next = full ? l.next : 0;
	return l.list;
}
