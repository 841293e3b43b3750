/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/disk.h"

#include "control/base/log.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FAILED_MAX 8u /* files of main: FILE, history, audit trail, labels */
#define AGAIN_MAX_NS 60000000000u

/* A file whose last write failed. */
struct failed {
	char *file;
	int err;
};

struct disk {
	struct thread *owner, *thread; /* thread NULL: jobs run in the call */
	atomic_bool abandoned; /* disk_end() found a job that does not end: the owner ends */
	/* the owner: jobs that have not ended, the oldest first */
	struct disk_job *head, *tail;
	unsigned count;
	uint64_t moved_ns; /* when a job ended last, or when the first job came */
	uint64_t collected;
	struct timer slow;
	uint64_t again_ns; /* delay of the timer; above DISK_SLOW_NS: logged */
	struct failed failed[FAILED_MAX];
	/* the thread of the disk */
	_Atomic uint64_t ended; /* jobs; release: pairs with the acquire in collect() */
	sem_t more; /* a job has ended */
	atomic_bool told; /* `mail` is under way */
	struct thread_mail mail;
};

/* ---- files whose last write failed ---- */

static void
note_result(struct disk *d, const struct disk_job *j)
{
	const char *file = j->file;
	struct failed *f = NULL;
	int err = j->err;

	if (file == NULL || (err == 0 && j->keeps))
		return;
	for (unsigned i = 0; i < FAILED_MAX && f == NULL; i++)
		if (d->failed[i].file != NULL && strcmp(d->failed[i].file, file) == 0)
			f = &d->failed[i];
	for (unsigned i = 0; i < FAILED_MAX && f == NULL && err != 0; i++) {
		if (d->failed[i].file != NULL)
			continue;
		f = &d->failed[i];
		f->file = strdup(file);
	}
	if (f == NULL)
		return;
	f->err = err;
	if (err != 0)
		return;
	free(f->file);
	f->file = NULL;
}

/* ---- jobs ---- */

bool
disk_is_slow(const struct disk *d)
{
	return d->head != NULL && now_ns() - d->moved_ns >= DISK_SLOW_NS;
}

static void
slow_fire(struct timer *t)
{
	struct disk *d = (struct disk *)(void *)((char *)t - offsetof(struct disk, slow));
	uint64_t waits_ns = now_ns() - d->moved_ns;

	if (d->head == NULL || d->head->file == NULL)
		return;
	if (waits_ns < DISK_SLOW_NS) { /* jobs have ended since */
		(void)timer_arm(d->owner, t, DISK_SLOW_NS - waits_ns);
		return;
	}
	log_event(LOG_WARNING, "disk-slow file=%s waits_s=%llu jobs=%u", d->head->file,
		(unsigned long long)(waits_ns / 1000000000u), d->count);
	d->again_ns = 2 * d->again_ns < AGAIN_MAX_NS ? 2 * d->again_ns : AGAIN_MAX_NS;
	(void)timer_arm(d->owner, t, d->again_ns);
}

/* The end of the oldest job; its memory may be free afterwards. */
static void
job_end(struct disk *d)
{
	struct disk_job *j = d->head;
	uint64_t now = now_ns();

	d->head = j->next;
	d->count--;
	d->collected++;
	if (d->again_ns > DISK_SLOW_NS) {
		log_event(LOG_WARNING, "disk-slow-ended file=%s waited_s=%llu", j->file,
			(unsigned long long)((now - d->moved_ns) / 1000000000u));
		d->again_ns = DISK_SLOW_NS;
		(void)timer_arm(d->owner, &d->slow, DISK_SLOW_NS);
	}
	d->moved_ns = now;
	if (d->head == NULL)
		timer_cancel(d->owner, &d->slow);
	note_result(d, j);
	j->done(j, j->err);
}

static void
collect(struct disk *d)
{
	/* acquire: pairs with the release in job_run() */
	while (!d->abandoned &&
		d->collected != atomic_load_explicit(&d->ended, memory_order_acquire))
		job_end(d);
}

/* On the owner's thread. */
static void
jobs_ended(void *arg)
{
	struct disk *d = arg;

	atomic_store(&d->told, false); /* before collect(): a job that ends now sends again */
	collect(d);
}

/* On the thread of the disk. */
static void
job_run(void *arg)
{
	struct disk_job *j = arg;
	struct disk *d = j->disk;

	j->err = j->work(j);
	/* release: pairs with the acquire in collect(); the owner may free the job from here on */
	atomic_fetch_add_explicit(&d->ended, 1, memory_order_release);
	sem_post(&d->more);
	if (!d->abandoned && !atomic_exchange(&d->told, true))
		thread_send(d->owner, &d->mail, jobs_ended, d);
}

void
disk_run(struct disk *d, struct disk_job *j)
{
	if (d->abandoned)
		return;
	if (d->thread == NULL) {
		j->err = j->work(j);
		note_result(d, j);
		j->done(j, j->err);
		return;
	}
	j->disk = d;
	j->next = NULL;
	if (d->head == NULL) {
		d->head = j;
		d->moved_ns = now_ns();
		d->again_ns = DISK_SLOW_NS;
		(void)timer_arm(d->owner, &d->slow, DISK_SLOW_NS);
	} else {
		d->tail->next = j;
	}
	d->tail = j;
	d->count++;
	thread_send(d->thread, &j->mail, job_run, j);
}

bool
disk_await(struct disk *d, uint64_t patience_ns)
{
	uint64_t until = now_ns() + patience_ns;
	struct timespec ts = {
		.tv_sec = (time_t)(until / 1000000000u), .tv_nsec = (long)(until % 1000000000u)};

	for (collect(d); d->head != NULL && !d->abandoned; collect(d))
		if (sem_clockwait(&d->more, CLOCK_MONOTONIC, &ts) != 0 && errno != EINTR)
			break;
	return d->head == NULL;
}

bool
disk_alarm(const struct disk *d, char text[static DISK_ALARM_MAX])
{
	unsigned count = 0;
	const struct failed *first = NULL;

	for (unsigned i = 0; i < FAILED_MAX; i++) {
		if (d->failed[i].file == NULL)
			continue;
		first = first != NULL ? first : &d->failed[i];
		count++;
	}
	if (disk_is_slow(d))
		snprintf(text, DISK_ALARM_MAX,
			"the disk does not answer: %.160s has waited for more than %llu s, and %u "
			"files after it wait",
			d->head->file, (unsigned long long)(DISK_SLOW_NS / 1000000000u),
			d->count - 1);
	else if (count > 1)
		snprintf(text, DISK_ALARM_MAX, "%.160s cannot be written: %s; nor can %u others",
			first->file, strerrordesc_np(-first->err), count - 1);
	else if (count > 0)
		snprintf(text, DISK_ALARM_MAX, "%.200s cannot be written: %s", first->file,
			strerrordesc_np(-first->err));
	return disk_is_slow(d) || count > 0;
}

/* ---- life ---- */

int
disk_create(struct disk **out)
{
	struct disk *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return -ENOMEM;
	sem_init(&d->more, 0, 0);
	d->slow.fire = slow_fire;
	*out = d;
	return 0;
}

int
disk_start(struct disk *d, const char *name, struct thread *owner)
{
	const struct thread_config c = {.name = name, .unlisted = true};

	if (d->thread != NULL)
		return 0;
	d->owner = owner;
	return thread_create(&c, &d->thread);
}

bool
disk_end(struct disk *d, uint64_t patience_ns)
{
	if (d->thread == NULL || d->abandoned)
		return !d->abandoned;
	if (!disk_await(d, patience_ns)) {
		for (const struct disk_job *j = d->head; j != NULL; j = j->next) {
			if (j->file != NULL && !j->keeps)
				log_event(LOG_ERROR, "disk-left file=%s", j->file);
		}
		timer_cancel(d->owner, &d->slow);
		d->abandoned = true;
		return false;
	}
	thread_end(d->thread);
	thread_drain(d->owner); /* `mail` may be there */
	thread_free(d->thread);
	d->thread = NULL;
	return true;
}

void
disk_destroy(struct disk *d)
{
	if (d == NULL || d->abandoned)
		return; /* the thread of the disk still uses the memory */
	for (unsigned i = 0; i < FAILED_MAX; i++)
		free(d->failed[i].file);
	sem_destroy(&d->more);
	free(d);
}
