/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log lines: an event and key=value pairs, rate limited per call site. Any thread of control.
 * `peer-down peer=192.0.2.2 vrf=default code=6 subcode=4`. Never per route, never a key; a peer's text is escaped.
 */
#pragma once

#include <stddef.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

/* "error", "warning", "info", "debug"; -1 when unknown. */
int log_level_from_text(const char *text);
void log_set_level(enum log_level level);

/* At most `LOG_BURST` lines a second from one call site; what was dropped is told on its next line. */
#define LOG_BURST 20
struct log_site {
	long second;
	unsigned count, dropped;
};
void log_write(struct log_site *site, enum log_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* fmt: `event key=%s key=%u`. */
#define log_event(level, ...) \
	do { \
		static _Thread_local struct log_site log_site_; \
		log_write(&log_site_, (level), __VA_ARGS__); \
	} while (0)

/* Quotes and escapes what came from elsewhere, so that it stays one token of one line; returns `buf`. */
char *log_escape(const char *text, size_t len, char *buf, size_t size);
