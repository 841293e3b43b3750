/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The disk: one thread writes the files of main (FILE, the history, the audit trail, labels), and reads FILE, in the order in which main asks. A
 * disk that is slow, full or hung delays the work that waits for its file, and no other.
 *
 * A job that takes longer than DISK_SLOW_NS is logged with its file, and raises an alarm, as does a file whose last write failed.
 *
 * A second one, whose jobs have no file, does long work that needs no disk, and waits for none.
 *
 * All functions are called on the owner's thread. Before disk_start(), and after disk_end(), a job runs in the call.
 */
#pragma once

#include "control/base/threads.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;

#define DISK_SLOW_NS 2000000000u

/* In memory of the caller, which may free the job in done(). */
struct disk_job {
	/* For the log and the alarm, lent until done() has returned. NULL: neither. */
	const char *file;
	int (*work)(struct disk_job *j); /* on the thread of the disk: 0, -errno */
	void (*done)(struct disk_job *j, int err); /* on the owner's thread */
	bool keeps; /* success does not mean that `file` was written: the job reads or removes it */
	/* the fields below belong to disk.c */
	struct thread_mail mail;
	struct disk *disk;
	struct disk_job *next;
	int err;
};

int disk_create(struct disk **out);
/* Starts the thread; a second call does nothing. 0, -errno. */
int disk_start(struct disk *d, const char *name, struct thread *owner);
/* Runs j->work after all earlier jobs, then j->done. Without a thread both run in the call. */
void disk_run(struct disk *d, struct disk_job *j);
/* Waits until all jobs have ended, for at most `patience_ns`; calls their done(). False: a job is left. */
bool disk_await(struct disk *d, uint64_t patience_ns);
bool disk_is_slow(const struct disk *d); /* a job has taken longer than DISK_SLOW_NS */
/* The alarm. False: no alarm. */
#define DISK_ALARM_MAX 320
bool disk_alarm(const struct disk *d, char text[static DISK_ALARM_MAX]);
/*
 * The process ends: disk_await(), then the end of the thread. After `patience_ns` the jobs that are left are logged and their memory
 * stays: false; done() is not called any more, neither for them nor for later jobs.
 */
bool disk_end(struct disk *d, uint64_t patience_ns);
void disk_destroy(struct disk *d); /* after disk_end(), or without a thread */
