/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_LEN 1024

static const char *const level_text[] = {"error", "warning", "info", "debug"};
static _Atomic int log_level = LOG_INFO;

int
log_level_from_text(const char *text)
{
	for (unsigned i = 0; i < sizeof(level_text) / sizeof(level_text[0]); i++) {
		if (strcmp(text, level_text[i]) == 0)
			return (int)i;
	}
	return -1;
}

void
log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

/* True when this line may go out; what was held back is told once the next second begins. */
static bool
site_allows(struct log_site *site, long second, unsigned *dropped)
{
	*dropped = 0;
	if (site->second != second) {
		*dropped = site->dropped;
		*site = (struct log_site){.second = second};
	}
	if (site->count >= LOG_BURST) {
		site->dropped++;
		return false;
	}
	site->count++;
	return true;
}

void
log_write(struct log_site *site, enum log_level level, const char *fmt, ...)
{
	char line[LINE_MAX_LEN];
	struct timespec ts;
	struct tm tm;
	unsigned dropped;
	va_list ap;
	int n, m;

	if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed))
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	if (!site_allows(site, (long)ts.tv_sec, &dropped))
		return;
	gmtime_r(&ts.tv_sec, &tm);
	n = (int)strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	n += snprintf(line + n, sizeof(line) - (size_t)n, ".%03ldZ %s ", ts.tv_nsec / 1000000, level_text[level]);
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 40, fmt, ap);
	va_end(ap);
	n += m < (int)sizeof(line) - n - 40 ? m : (int)sizeof(line) - n - 41;
	if (dropped > 0)
		n += snprintf(line + n, sizeof(line) - (size_t)n - 1, " lines-held-back=%u", dropped);
	line[n++] = '\n';
	/* One write a line: threads do not mix within it. A closed stderr is nobody's loss. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

char *
log_escape(const char *text, size_t len, char *buf, size_t size)
{
	size_t n = 0;

	if (size < 3) {
		if (size > 0)
			buf[0] = '\0';
		return buf;
	}
	buf[n++] = '"';
	for (size_t i = 0; i < len && n + 6 < size; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '"' || c == '\\') {
			buf[n++] = '\\';
			buf[n++] = (char)c;
		} else if (c < 0x20 || c == 0x7f) {
			n += (size_t)snprintf(buf + n, size - n, "\\x%02x", c);
		} else {
			buf[n++] = (char)c;
		}
	}
	buf[n++] = '"';
	buf[n] = '\0';
	return buf;
}
