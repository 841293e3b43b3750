/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/journal.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
/*
 * An entry holds a line of 1 KiB twice: as message, and as fields, each with at most 11 octets more
 * than KEY=VALUE.
 */
#define ENTRY_MAX 8192

/* Names of the fields that keeld sets: an equal key appears in the message only. */
static const char *const reserved[] = {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "EVENT"};

struct entry {
	char text[ENTRY_MAX];
	size_t len;
};

static void
put(struct entry *e, const void *data, size_t len)
{
	if (len > sizeof(e->text) - e->len)
		return;
	memcpy(e->text + e->len, data, len);
	e->len += len;
}

/* The length precedes the value, so that the value may contain newlines. */
static void
put_field(struct entry *e, const char *name, size_t name_len, const char *value, size_t len)
{
	uint8_t le[8];

	if (name_len + len + 10 > sizeof(e->text) - e->len)
		return;
	for (unsigned i = 0; i < sizeof(le); i++)
		le[i] = (uint8_t)((uint64_t)len >> (8 * i));
	put(e, name, name_len);
	put(e, "\n", 1);
	put(e, le, sizeof(le));
	put(e, value, len);
	put(e, "\n", 1);
}

static void
put_text(struct entry *e, const char *name, const char *value, size_t len)
{
	put_field(e, name, strlen(name), value, len);
}

/* ---- the line ---- */

struct text {
	const char *p, *end;
};

/* The word up to the next blank; skips the blank. */
static struct text
take_word(struct text *line)
{
	struct text word = {line->p, line->p};

	while (word.end < line->end && *word.end != ' ')
		word.end++;
	line->p = word.end < line->end ? word.end + 1 : word.end;
	return word;
}

static int
priority_of(struct text level)
{
	switch (level.p < level.end ? *level.p : '\0') {
	case 'e':
		return LOG_ERR;
	case 'w':
		return LOG_WARNING;
	case 'd':
		return LOG_DEBUG;
	default:
		return LOG_INFO;
	}
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The next octet of a quoted value; reverses the escapes of log_escape(). */
static char
take_octet(struct text *line)
{
	char c = *line->p++;

	if (c != '\\' || line->p == line->end)
		return c;
	c = *line->p++;
	if (c == 'x' && line->end - line->p >= 2 && hex_digit(line->p[0]) >= 0 &&
		hex_digit(line->p[1]) >= 0) {
		c = (char)(hex_digit(line->p[0]) << 4 | hex_digit(line->p[1]));
		line->p += 2;
	}
	return c;
}

/*
 * Reads a value after '=', quoted or up to the next blank, and skips the blank. Returns the length.
 */
static size_t
take_value(struct text *line, char *out, size_t size)
{
	size_t len = 0;

	if (line->p < line->end && *line->p == '"') {
		line->p++;
		while (line->p < line->end && *line->p != '"' && len < size)
			out[len++] = take_octet(line);
	}
	struct text word = take_word(line);
	if (len == 0 && word.p < word.end && *word.p != '"') {
		len = (size_t)(word.end - word.p) < size ? (size_t)(word.end - word.p) : size;
		memcpy(out, word.p, len);
	}
	return len;
}

/* Converts a key to a field name; returns its length. 0: not valid as a field name. */
static size_t
field_name(struct text key, char *out, size_t size)
{
	size_t len = (size_t)(key.end - key.p);

	if (len == 0 || len >= size || !isalpha((unsigned char)*key.p))
		return 0;
	for (size_t i = 0; i < len; i++) {
		char c = key.p[i];

		if (!isalnum((unsigned char)c) && c != '_' && c != '-')
			return 0;
		out[i] = (char)(c == '-' ? '_' : toupper((unsigned char)c));
	}
	out[len] = '\0';
	for (unsigned i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		if (strcmp(out, reserved[i]) == 0)
			return 0;
	}
	return len;
}

/* Adds KEY=VALUE as a field; skips a word without '='. */
static void
take_pair(struct text *line, struct entry *e)
{
	char name[64], value[1024];
	struct text key = {line->p, line->p};
	size_t name_len, len;

	while (key.end < line->end && *key.end != '=' && *key.end != ' ')
		key.end++;
	line->p = key.end < line->end ? key.end + 1 : key.end;
	if (key.end == line->end || *key.end == ' ')
		return;
	name_len = field_name(key, name, sizeof(name));
	len = take_value(line, value, sizeof(value));
	if (name_len > 0)
		put_field(e, name, name_len, value, len);
}

static void
entry_make(struct entry *e, const char *line, unsigned len)
{
	struct text left = {line, line + len};
	struct text level, event;
	char priority;

	if (len > 0 && left.end[-1] == '\n')
		left.end--;
	(void)take_word(&left); /* the journal adds the time */
	level = take_word(&left);
	priority = (char)('0' + priority_of(level));
	put_text(e, "MESSAGE", left.p, (size_t)(left.end - left.p));
	put_text(e, "PRIORITY", &priority, 1);
	put_text(e, "SYSLOG_IDENTIFIER", "keeld", 5);
	event = take_word(&left);
	put_text(e, "EVENT", event.p, (size_t)(event.end - event.p));
	while (left.p < left.end)
		take_pair(&left, e);
}

/* ---- the socket ---- */

static int journal_fd = -1;

bool
journal_is_stderr(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t dev, ino;
	struct stat st;

	if (stream == NULL || sscanf(stream, "%ju:%ju", &dev, &ino) != 2 ||
		fstat(STDERR_FILENO, &st) != 0 || st.st_dev != dev || st.st_ino != ino)
		return false;
	if (journal_fd < 0)
		journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return journal_fd >= 0;
}

bool
journal_send(const char *line, unsigned len)
{
	/* Not connected: the journal may have restarted since the last line. */
	static const struct sockaddr_un journal = {
		.sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET};
	struct entry e = {.len = 0};
	ssize_t n;

	entry_make(&e, line, len);
	do
		n = sendto(journal_fd, e.text, e.len, MSG_NOSIGNAL,
			(const struct sockaddr *)&journal, sizeof(journal));
	while (n < 0 && errno == EINTR);
	return n >= 0;
}
