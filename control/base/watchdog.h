/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The watchdog: a thread is late when a turn lasts WATCHDOG_LATE_NS. Watches all threads of control/base/threads.h, main included.
 *
 * Runs on the thread keel-watch, which reads the notes of all threads (lpm/base/note_work.h), logs `thread-late` and
 * `thread-late-end`, and records. Main turns the records into alarms and events. Created by main before the other threads start, destroyed by main
 * before the threads end.
 *
 * Feeds the service manager's watchdog (control/base/service.h) while no turn is older than half of the manager's interval.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct watchdog;

#define WATCHDOG_RECORDS 64
#define WATCHDOG_LATE_NS 1000000000u
/*
 * The alarm of a late main thread becomes readable after the turn, so the alarm stays for this
 * time. Other alarms end with the turn.
 */
#define WATCHDOG_MAIN_KEPT_NS 60000000000u

/* 0, -errno. */
int watchdog_create(const unsigned *cpus, unsigned cpu_count, struct watchdog **out);
/* May be called with NULL. */
void watchdog_destroy(struct watchdog *w);

/* A late turn. */
struct watchdog_late {
	uint64_t number; /* from 1, in the order of detection */
	char thread[16];
	char doing[64]; /* at the last check of the turn */
	double since_s; /* wall clock: begin of the turn */
	uint64_t ns; /* length of the turn until now, or until the check that found the end */
	bool ended;
	bool alarm; /* is an alarm now */
};
/*
 * Any thread. Late turn `number`; false: no such turn yet, or the record was overwritten: the last
 * 64 are kept.
 */
bool watchdog_late_get(struct watchdog *w, uint64_t number, struct watchdog_late *out);
#define WATCHDOG_KIND "thread-late" /* of the alarm */
/* The alarm in words; returns `buf`. */
char *watchdog_text(const struct watchdog_late *late, char *buf, size_t size);
/* Any thread. The highest number; 0: no thread was late. */
uint64_t watchdog_late_count(struct watchdog *w);
