/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log lines on stderr: an event and key=value pairs, rate limited per call site. Any thread of control.
 * `peer-down peer=192.0.2.2 vrf=default code=6 subcode=4`. Never per route, never a key; a peer's text is escaped.
 *
 * Between log_start() and log_end(), log_write() queues the line in a ring of LOG_LINES_MAX lines; the thread keel-log writes the ring to stderr.
 * A full stderr blocks keel-log only: a logging thread never blocks, allocates or takes a lock. When the ring is full, lines are lost and counted
 * until the ring is empty again; then `log-lost lines=N` is written at the place of the gap. Lines keep their order.
 *
 * Under systemd, where stderr is the journal's stream, keel-log sends each line to the journal with a field for each key instead
 * (control/base/journal.h). A full journal blocks keel-log only, as a full stderr does.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

/* "error", "warning", "info", "debug"; -1 when unknown. */
int log_level_from_text(const char *text);
void log_set_level(enum log_level level);
const char *log_level_name(void);

/*
 * At most `LOG_BURST` lines per second from one call site; the next line reports the count of
 * dropped lines.
 */
#define LOG_BURST 20
struct log_site {
	long second;
	unsigned count, dropped;
};
void log_write(struct log_site *site, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* fmt: `event key=%s key=%u`. */
#define log_event(level, ...)                                                                      \
	do {                                                                                       \
		static _Thread_local struct log_site log_site_;                                    \
		log_write(&log_site_, (level), __VA_ARGS__);                                       \
	} while (0)

/*
 * A second of LOG_BURST lines from each of 25 call sites. 512 KiB; pages take memory after their
 * first use only.
 */
#define LOG_LINES_MAX 512

/*
 * Main, before other logging threads start: starts the writer and installs crash handlers (SIGABRT,
 * SIGSEGV etc.) that wait up to 1 s for queued lines. Without the writer, and after log_end(), the
 * calling thread writes to stderr directly. 0, -errno.
 */
int log_start(const unsigned *cpus, unsigned cpu_count);
/*
 * Main, after all other logging threads have ended: writes the queued lines and ends the writer.
 * False: stderr did not accept all lines within `patience_ns`; later lines are dropped; the call
 * may be repeated.
 */
bool log_end(uint64_t patience_ns);

struct log_figures {
	uint64_t written; /* lines written */
	/* lines dropped because the ring was full, or because stderr failed (disk full) */
	uint64_t lost;
	unsigned waiting; /* lines queued */
};
/* Any thread. */
void log_figures_get(struct log_figures *out);

/* Quotes and escapes foreign text as one token of one line; returns `buf`. */
char *log_escape(const char *text, size_t len, char *buf, size_t size);
