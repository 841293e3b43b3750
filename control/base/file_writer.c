/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/file_writer.h"

#include "control/base/threads.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct slot {
	struct thread_mail mail;
	struct file_writer *writer;
	bool busy;
	struct file_chunk chunk;
};

struct file_writer {
	struct thread *owner, *thread;
	void (*ready)(void *ctx);
	void *ctx;
	char *path, *name; /* name: of the complete file; NULL: `path` */
	int fd; /* of the writer; -1: closed */
	_Atomic int failed; /* the writer writes */
	bool abandoned;
	bool keep, finishing, finished; /* file_writer_finish(): called, done */
	struct thread_mail mail;
	struct slot *filling; /* NULL: none */
	struct slot *slot[FILE_CHUNKS];
};

static void
written(void *arg)
{
	struct slot *s = arg;

	s->busy = false;
	if (!s->writer->abandoned)
		s->writer->ready(s->writer->ctx);
}

/* On the writer's thread. */
static void
write_slot(void *arg)
{
	struct slot *s = arg;
	struct file_writer *w = s->writer;

	for (size_t at = 0; at < s->chunk.len && w->failed == 0;) {
		ssize_t n = write(w->fd, s->chunk.octets + at, s->chunk.len - at);

		if (n > 0)
			at += (size_t)n;
		else if (n == 0 || errno != EINTR)
			w->failed = n == 0 ? -EIO : -errno;
	}
	thread_send(w->owner, &s->mail, written, s);
}

static void
finish_done(void *arg)
{
	struct file_writer *w = arg;

	w->finished = true;
	if (!w->abandoned)
		w->ready(w->ctx);
}

/* On the writer's thread. */
static void
finish(void *arg)
{
	struct file_writer *w = arg;

	if (w->keep && w->failed == 0 && fsync(w->fd) != 0)
		w->failed = -errno;
	if (close(w->fd) != 0 && w->failed == 0)
		w->failed = -errno;
	w->fd = -1;
	if (w->keep && w->failed == 0 && rename(w->path, w->name) != 0)
		w->failed = -errno;
	if (!w->keep || w->failed != 0)
		unlink(w->path);
	thread_send(w->owner, &w->mail, finish_done, w);
}

static void
writer_free(struct file_writer *w)
{
	free(w->path);
	free(w->name);
	for (unsigned i = 0; i < FILE_CHUNKS; i++)
		free(w->slot[i]);
	free(w);
}

static int
slots_create(struct file_writer *w)
{
	for (unsigned i = 0; i < FILE_CHUNKS; i++) {
		w->slot[i] = malloc(sizeof(*w->slot[i]));
		if (w->slot[i] == NULL)
			return -ENOMEM;
		w->slot[i]->mail = (struct thread_mail){0};
		w->slot[i]->writer = w;
		w->slot[i]->busy = false;
	}
	return 0;
}

int
file_writer_create(const char *path, const char *name, struct thread *owner,
	void (*ready)(void *ctx), void *ctx, struct file_writer **out)
{
	const struct thread_config c = {.name = "keel-file", .unlisted = true};
	struct file_writer *w = calloc(1, sizeof(*w));
	int err;

	if (w == NULL)
		return -ENOMEM;
	w->owner = owner;
	w->ready = ready;
	w->ctx = ctx;
	w->path = strdup(path);
	w->name = name != NULL ? strdup(name) : NULL;
	err = w->path == NULL || (name != NULL && w->name == NULL) ? -ENOMEM : slots_create(w);
	if (err == 0 && name != NULL && unlink(path) != 0 && errno != ENOENT)
		err = -errno;
	if (err == 0) {
		w->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
		err = w->fd < 0 ? -errno : thread_create(&c, &w->thread);
		if (err != 0 && w->fd >= 0) {
			close(w->fd);
			unlink(path);
		}
	}
	if (err != 0) {
		writer_free(w);
		return err;
	}
	*out = w;
	return 0;
}

struct file_chunk *
file_writer_chunk(struct file_writer *w)
{
	for (unsigned i = 0; i < FILE_CHUNKS && w->filling == NULL; i++) {
		if (w->slot[i]->busy)
			continue;
		w->filling = w->slot[i];
		w->filling->chunk.len = 0;
	}
	return w->filling != NULL ? &w->filling->chunk : NULL;
}

void
file_writer_send(struct file_writer *w)
{
	struct slot *s = w->filling;

	w->filling = NULL;
	s->busy = true;
	thread_send(w->thread, &s->mail, write_slot, s);
}

bool
file_writer_idle(const struct file_writer *w)
{
	for (unsigned i = 0; i < FILE_CHUNKS; i++) {
		if (w->slot[i]->busy)
			return false;
	}
	return w->finishing == w->finished;
}

void
file_writer_finish(struct file_writer *w, bool keep)
{
	w->finishing = true;
	w->keep = keep;
	thread_send(w->thread, &w->mail, finish, w);
}

int
file_writer_failed(const struct file_writer *w)
{
	return w->failed;
}

int
file_writer_close(struct file_writer *w)
{
	int err;

	thread_end(w->thread);
	thread_free(w->thread);
	err = w->fd >= 0 && close(w->fd) != 0 ? -errno : 0;
	err = w->failed != 0 ? w->failed : err;
	writer_free(w);
	return err;
}

void
file_writer_abandon(struct file_writer *w, uint64_t patience_ns)
{
	w->abandoned = true;
	if (!thread_end_within(w->thread, patience_ns))
		return;
	thread_drain(w->owner); /* mails of the writer may be there */
	thread_free(w->thread);
	if (w->fd >= 0)
		close(w->fd);
	if (w->name != NULL && !w->finished)
		unlink(w->path);
	writer_free(w);
}
