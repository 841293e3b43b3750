/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
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
	if (m < 0)
		m = 0;
	n += m < (int)sizeof(line) - n - 40 ? m : (int)sizeof(line) - n - 41;
	if (dropped > 0)
		n += snprintf(line + n, sizeof(line) - (size_t)n - 1, " lines-held-back=%u", dropped);
	line[n++] = '\n';
	/* One write a line: threads do not mix within it. A closed stderr is nobody's loss. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

/*
 * Bytes of the character that begins `text`, when it may stand in a line as it is: UTF-8 (RFC 3629 4), and neither a control (C1 are
 * some terminals' escapes) nor a line or paragraph separator. 0: to be escaped.
 */
static size_t
plain_len(const unsigned char *text, size_t len)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = text[0] < 0x80 ? 1 : text[0] < 0xc0 ? 0 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : text[0] < 0xf8 ? 4 : 0;
	uint32_t c;

	if (n == 1)
		return text[0] >= 0x20 && text[0] != 0x7f;
	if (n == 0 || n > len)
		return 0;
	c = text[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (text[i] & 0x3fu);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	return c < 0xa0 || c == 0x2028 || c == 0x2029 ? 0 : n;
}

char *
log_escape(const char *text, size_t len, char *buf, size_t size)
{
	const unsigned char *in = (const unsigned char *)text;
	size_t n = 0, taken;

	if (size < 3) {
		if (size > 0)
			buf[0] = '\0';
		return buf;
	}
	buf[n++] = '"';
	/* room for the longest, the quote and the NUL */
	for (size_t i = 0; i < len && n + 6 <= size; i += taken) {
		taken = plain_len(&in[i], len - i);
		if (taken == 0) {
			n += (size_t)snprintf(buf + n, size - n, "\\x%02x", in[i]);
			taken = 1;
			continue;
		}
		if (in[i] == '"' || in[i] == '\\')
			buf[n++] = '\\';
		memcpy(buf + n, &in[i], taken);
		n += taken;
	}
	buf[n++] = '"';
	buf[n] = '\0';
	return buf;
}
