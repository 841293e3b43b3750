/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/record_file.h"

#include "control/base/log.h"
#include "control/base/threads.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BATCH_OCTETS (256u << 10)
#define RECORD_MAX (128u << 10)
static_assert(2 * (RECORD_MAX + 16) <= RECORD_FILE_RING_OCTETS, "a gap and a record fit");

/* The ring: records of 8-octet multiples, each contiguous. A length of 0 is a gap up to the end of the ring. */
struct record {
	uint32_t len; /* of the octets that follow */
	uint32_t time_s;
};
static_assert(sizeof(struct record) == 8, "a head fits everywhere");

struct record_file {
	char *pattern;
	struct thread *owner, *thread;
	struct thread_mail mail;
	void (*closed)(void *ctx, struct record_file *r);
	void *ctx;
	bool ending, destroyed; /* main: record_file_end(), record_file_destroy() */
	_Atomic uint32_t interval_s;

	/* the writer thread */
	struct thread *self;
	struct timer poll;
	int fd; /* -1: not open */
	bool ended;
	size_t batch_len;
	unsigned batch_count;
	uint8_t *batch;
	/* written by the writer thread, read by any thread */
	_Atomic uint64_t records, octets, files, begin_s, written_s, unwritten;
	_Atomic int error;

	/* octets ever put, and ever taken */
	alignas(CACHE_LINE) _Atomic uint64_t put; /* the producer writes */
	_Atomic uint64_t lost; /* the producer writes */
	alignas(CACHE_LINE) _Atomic uint64_t taken; /* the writer thread writes */
	alignas(CACHE_LINE) uint8_t ring[RECORD_FILE_RING_OCTETS];
};

/* A counter with one writer. */
static void
count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed);
}

static uint64_t
get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* ---- names ---- */

uint64_t
record_file_begin(uint64_t time_s, uint32_t interval_s)
{
	return time_s - time_s % interval_s;
}

bool
record_file_name(char name[static RECORD_FILE_NAME_MAX], const char *pattern, uint64_t begin_s)
{
	time_t t = (time_t)begin_s;
	struct tm tm;

	gmtime_r(&t, &tm);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	return strftime(name, RECORD_FILE_NAME_MAX, pattern, &tm) > 0;
#pragma GCC diagnostic pop
}

/* ---- the producer ---- */

static struct record *
record_at(struct record_file *r, uint64_t at)
{
	return (struct record *)(void *)&r->ring[at % RECORD_FILE_RING_OCTETS];
}

void
record_file_put(struct record_file *r, uint32_t time_s, const void *head, size_t head_len,
	const void *body, size_t body_len)
{
	uint64_t put = atomic_load_explicit(&r->put, memory_order_relaxed);
	/* acquire: pairs with the release in ring_write() */
	uint64_t taken = atomic_load_explicit(&r->taken, memory_order_acquire);
	uint64_t left = RECORD_FILE_RING_OCTETS - put % RECORD_FILE_RING_OCTETS;
	size_t len = sizeof(struct record) + (head_len + body_len + 7) / 8 * 8;
	uint64_t need = len > left ? left + len : len;
	struct record *to;

	if (head_len + body_len > RECORD_MAX || RECORD_FILE_RING_OCTETS - (put - taken) < need) {
		count(&r->lost, 1);
		thread_wake(r->thread);
		return;
	}
	if (len > left) {
		record_at(r, put)->len = 0;
		put += left;
	}
	to = record_at(r, put);
	*to = (struct record){.len = (uint32_t)(head_len + body_len), .time_s = time_s};
	memcpy(to + 1, head, head_len);
	memcpy((uint8_t *)(to + 1) + head_len, body, body_len);
	/* release: pairs with the acquire in ring_write() */
	atomic_store_explicit(&r->put, put + len, memory_order_release);
	if (put + len - taken >= RECORD_FILE_RING_OCTETS / 2)
		thread_wake(r->thread);
}

/* ---- the writer thread ---- */

static void
failed(struct record_file *r, int error)
{
	int before = atomic_exchange_explicit(&r->error, error, memory_order_relaxed);

	if (error != 0 && error != before)
		log_event(LOG_ERROR, "mrt-failed file=%s error=\"%s\"", r->pattern,
			strerrordesc_np(error));
}

static void
file_close(struct record_file *r)
{
	if (r->fd < 0)
		return;
	if (close(r->fd) != 0)
		failed(r, errno);
	r->fd = -1;
}

static void
file_open(struct record_file *r)
{
	char name[RECORD_FILE_NAME_MAX];

	if (!record_file_name(name, r->pattern, get(&r->begin_s))) {
		failed(r, ENAMETOOLONG);
		return;
	}
	/* O_NONBLOCK: a FIFO without a reader is an error */
	r->fd = open(
		name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640);
	if (r->fd < 0) {
		failed(r, errno);
		return;
	}
	count(&r->files, 1);
	failed(r, 0);
}

/* 0, or errno: then the file ends with the last batch before. */
static int
batch_append(const struct record_file *r)
{
	struct stat st;
	size_t at = 0;
	int err = 0;

	while (at < r->batch_len && err == 0) {
		ssize_t n = write(r->fd, r->batch + at, r->batch_len - at);

		if (n > 0)
			at += (size_t)n;
		else if (n == 0 || errno != EINTR)
			err = n == 0 ? EIO : errno;
	}
	if (err != 0 && at > 0 && fstat(r->fd, &st) == 0 &&
		ftruncate(r->fd, st.st_size - (off_t)at) != 0)
		err = errno;
	return err;
}

static void
batch_write(struct record_file *r)
{
	int err;

	if (r->batch_len == 0)
		return;
	if (r->fd < 0)
		file_open(r);
	err = r->fd < 0 ? atomic_load_explicit(&r->error, memory_order_relaxed) : batch_append(r);
	if (err == 0) {
		count(&r->records, r->batch_count);
		count(&r->octets, r->batch_len);
		atomic_store_explicit(&r->written_s, wall_ns() / 1000000000u, memory_order_relaxed);
	} else {
		count(&r->unwritten, r->batch_count);
	}
	failed(r, err);
	r->batch_len = 0;
	r->batch_count = 0;
}

/* The files of another interval follow. */
static void
file_rotate(struct record_file *r, uint64_t begin_s)
{
	batch_write(r);
	file_close(r);
	atomic_store_explicit(&r->begin_s, begin_s, memory_order_relaxed);
	file_open(r);
}

/* Takes one record into the batch. */
static void
batch_take(struct record_file *r, const struct record *from, uint32_t interval_s)
{
	uint64_t begin_s = record_file_begin(from->time_s, interval_s);

	if (begin_s != get(&r->begin_s))
		file_rotate(r, begin_s);
	if (BATCH_OCTETS - r->batch_len < from->len)
		batch_write(r);
	memcpy(r->batch + r->batch_len, from + 1, from->len);
	r->batch_len += from->len;
	r->batch_count++;
}

/* Writes the records that are in the ring now; opens the file of the interval when the ring is empty. */
static void
ring_write(struct record_file *r)
{
	uint32_t interval_s = atomic_load_explicit(&r->interval_s, memory_order_relaxed);
	/* before the ring is read: a record of an earlier interval is in the ring by now */
	uint64_t begin_s = record_file_begin(wall_ns() / 1000000000u, interval_s);
	/* acquire: pairs with the release in record_file_put() */
	uint64_t put = atomic_load_explicit(&r->put, memory_order_acquire);
	uint64_t at = get(&r->taken);

	while (at != put) {
		const struct record *from = record_at(r, at);

		if (from->len == 0) {
			at += RECORD_FILE_RING_OCTETS - at % RECORD_FILE_RING_OCTETS;
			continue;
		}
		batch_take(r, from, interval_s);
		at += sizeof(*from) + ((size_t)from->len + 7) / 8 * 8;
		/* release: pairs with the acquire in record_file_put() */
		atomic_store_explicit(&r->taken, at, memory_order_release);
	}
	batch_write(r);
	if (begin_s > get(&r->begin_s))
		file_rotate(r, begin_s);
}

static bool
record_file_work(void *ctx, uint64_t now, uint64_t deadline_ns)
{
	struct record_file *r = ctx;

	(void)now;
	(void)deadline_ns;
	if (!r->ended)
		ring_write(r);
	return false;
}

/* The thread runs work() after its timers. */
static void
poll_again(struct timer *t)
{
	struct record_file *r =
		(struct record_file *)(void *)((char *)t - offsetof(struct record_file, poll));

	(void)timer_arm(r->self, t, RECORD_FILE_POLL_NS);
}

static int
record_file_start(void *ctx, struct thread *self)
{
	struct record_file *r = ctx;

	r->self = self;
	r->poll.fire = poll_again;
	return timer_arm(self, &r->poll, RECORD_FILE_POLL_NS);
}

static void
record_file_stop(void *ctx)
{
	struct record_file *r = ctx;

	if (r->ended)
		return;
	ring_write(r);
	file_close(r);
	r->ended = true;
}

/* ---- main ---- */

static void
record_file_free(struct record_file *r)
{
	free(r->pattern);
	free(r->batch);
	free(r);
}

int
record_file_create(
	const char *pattern, uint32_t interval_s, struct thread *owner, struct record_file **out)
{
	struct record_file *r = aligned_alloc(alignof(struct record_file), sizeof(*r));
	const struct thread_config c = {.name = "keel-file",
		.ctx = r,
		.start = record_file_start,
		.stop = record_file_stop,
		.work = record_file_work,
		.unlisted = true};
	int err = -ENOMEM;

	if (r == NULL)
		return -ENOMEM;
	memset(r, 0, offsetof(struct record_file, ring));
	r->owner = owner;
	r->fd = -1;
	r->interval_s = interval_s;
	r->pattern = strdup(pattern);
	r->batch = malloc(BATCH_OCTETS);
	if (r->pattern != NULL && r->batch != NULL)
		err = thread_create(&c, &r->thread);
	if (err != 0) {
		record_file_free(r);
		return err;
	}
	*out = r;
	return 0;
}

void
record_file_interval(struct record_file *r, uint32_t interval_s)
{
	atomic_store_explicit(&r->interval_s, interval_s, memory_order_relaxed);
}

void
record_file_figures(const struct record_file *r, struct record_file_figures *out)
{
	*out = (struct record_file_figures){
		.records = get(&r->records),
		.octets = get(&r->octets),
		.files = get(&r->files),
		.lost = get(&r->lost) + get(&r->unwritten),
		.begin_s = get(&r->begin_s),
		.written_s = get(&r->written_s),
		.error = atomic_load_explicit(&r->error, memory_order_relaxed),
	};
}

/* On the owner's thread. */
static void
ended(void *arg)
{
	struct record_file *r = arg;

	if (r->destroyed)
		return;
	thread_end(r->thread);
	thread_free(r->thread);
	if (r->closed != NULL)
		r->closed(r->ctx, r);
	record_file_free(r);
}

/* On the writer thread. */
static void
end(void *arg)
{
	struct record_file *r = arg;

	record_file_stop(r);
	thread_send(r->owner, &r->mail, ended, r);
}

void
record_file_end(struct record_file *r, void (*closed)(void *ctx, struct record_file *r), void *ctx)
{
	r->ending = true;
	r->closed = closed;
	r->ctx = ctx;
	thread_send(r->thread, &r->mail, end, r);
}

void
record_file_destroy(struct record_file *r, uint64_t patience_ns)
{
	r->destroyed = true;
	if (!thread_end_within(r->thread, patience_ns))
		return;
	if (r->ending)
		thread_drain(r->owner); /* `mail` may be there */
	thread_free(r->thread);
	record_file_free(r);
}
