/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

static FILE *captured;
static int real_stderr;
static char text[1 << 20];

static int
begin(void **state)
{
	(void)state;
	captured = tmpfile();
	real_stderr = dup(STDERR_FILENO);
	dup2(fileno(captured), STDERR_FILENO);
	log_set_level(LOG_INFO);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
	fclose(captured);
	log_set_level(LOG_INFO);
	return 0;
}

/* Reads all lines since the last call; returns their number. */
static unsigned
lines(void)
{
	unsigned count = 0;
	size_t n;

	rewind(captured);
	n = fread(text, 1, sizeof(text) - 1, captured);
	text[n] = '\0';
	assert_int_equal(ftruncate(fileno(captured), 0), 0);
	lseek(STDERR_FILENO, 0, SEEK_SET);
	for (char *p = text; (p = strchr(p, '\n')) != NULL; p++)
		count++;
	assert_true(n == 0 || text[n - 1] == '\n');
	return count;
}

/* Waits for an early part of a wall-clock second, so that several lines fit in. */
static long
second_begins(void)
{
	struct timespec ts;

	do
		clock_gettime(CLOCK_REALTIME, &ts);
	while (ts.tv_nsec > 400000000);
	return (long)ts.tv_sec;
}

static long
second(void)
{
	return (long)time(NULL);
}

static void
test_line(void **state)
{
	struct log_site site = {0};
	struct tm tm;
	int ms, used = 0;

	(void)state;
	log_write(&site, LOG_WARNING, "peer-down peer=%s code=%u", "192.0.2.2", 6u);
	assert_int_equal(lines(), 1);
	assert_int_equal(sscanf(text, "%d-%d-%dT%d:%d:%d.%3dZ %n", &tm.tm_year, &tm.tm_mon,
				 &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms, &used),
		7);
	assert_int_equal(used, 25);
	assert_string_equal(text + used, "warning peer-down peer=192.0.2.2 code=6\n");
}

static void
test_levels(void **state)
{
	struct log_site site = {0};

	(void)state;
	assert_int_equal(log_level_from_text("error"), LOG_ERROR);
	assert_int_equal(log_level_from_text("warning"), LOG_WARNING);
	assert_int_equal(log_level_from_text("info"), LOG_INFO);
	assert_int_equal(log_level_from_text("debug"), LOG_DEBUG);
	assert_int_equal(log_level_from_text(""), -1);
	assert_int_equal(log_level_from_text("Info"), -1);
	for (enum log_level set = LOG_ERROR; set <= LOG_DEBUG; set++) {
		log_set_level(set);
		for (enum log_level level = LOG_ERROR; level <= LOG_DEBUG; level++) {
			site = (struct log_site){0};
			log_write(&site, level, "event");
			assert_int_equal(lines(), level <= set);
			assert_int_equal(site.count,
				level <= set); /* suppressed levels do not use up the rate */
		}
	}
}

/*
 * Each site has a limit per second; the number of suppressed lines is reported once, with the next
 * line; other sites are not affected.
 */
static void
test_rate(void **state)
{
	struct log_site site, other;
	long now;

	(void)state;
	/* repeated when a second ended in between */
	do {
		lines();
		site = other = (struct log_site){0};
		now = second_begins();
		for (unsigned i = 0; i < LOG_BURST + 30; i++)
			log_write(&site, LOG_INFO, "flap n=%u", i);
		log_write(&other, LOG_INFO, "other");
	} while (second() != now);
	assert_int_equal(lines(), LOG_BURST + 1);
	assert_non_null(strstr(text, "flap n=19\n"));
	assert_null(strstr(text, "flap n=20"));
	assert_non_null(strstr(text, " info other\n"));
	assert_int_equal(site.dropped, 30);
	/* as if a second had passed */
	site.second--;
	log_write(&site, LOG_INFO, "flap n=%u", 99u);
	assert_int_equal(lines(), 1);
	assert_non_null(strstr(text, "flap n=99 lines-held-back=30\n"));
	site.second--;
	log_write(&site, LOG_INFO, "flap n=%u", 100u);
	assert_int_equal(lines(), 1);
	assert_null(strstr(text, "held-back"));
	/* a clock set back starts a new second, too */
	site.second += 1000;
	site.count = LOG_BURST;
	log_write(&site, LOG_INFO, "back");
	assert_int_equal(lines(), 1);
}

/* A line of any length is cut at its end, and still reports suppressed lines. */
static void
test_long_lines(void **state)
{
	char *long_text = malloc(5000);
	struct log_site site;

	(void)state;
	memset(long_text, 'a', 4999);
	for (unsigned len = 900; len < 1100; len++) {
		site = (struct log_site){.second = 1, .dropped = 4000000000u};
		log_write(&site, LOG_INFO, "text=%.*s", (int)len, long_text);
		assert_int_equal(lines(), 1);
		assert_true(strlen(text) <= 1024);
		assert_true(strlen(text) > 900);
		assert_non_null(strstr(text, "a lines-held-back=4000000000\n"));
	}
	long_text[4999] = '\0';
	site = (struct log_site){0};
	log_write(&site, LOG_INFO, "text=%s", long_text);
	assert_int_equal(lines(), 1);
	assert_true(strlen(text) <= 1024);
	free(long_text);
}

static void
assert_escaped(const char *in, size_t len, const char *want)
{
	char buf[256];

	assert_ptr_equal(log_escape(in, len, buf, sizeof(buf)), buf);
	assert_string_equal(buf, want);
}

#define ESCAPED(in, want) assert_escaped(in, sizeof(in) - 1, want)

static void
test_escape(void **state)
{
	(void)state;
	ESCAPED("", "\"\"");
	ESCAPED("maintenance at 5", "\"maintenance at 5\"");
	ESCAPED("a\"b\\c", "\"a\\\"b\\\\c\"");
	/* no second line, no terminal control */
	ESCAPED("a\nb\r\0c\x1b[2J\x7f", "\"a\\x0ab\\x0d\\x00c\\x1b[2J\\x7f\"");
	/* UTF-8 (RFC 9003) stays readable */
	ESCAPED("Gr\xc3\xbc\xc3\x9f"
		"e \xe2\x82\xac \xf0\x9f\x98\x80",
		"\"Gr\xc3\xbc\xc3\x9f"
		"e \xe2\x82\xac \xf0\x9f\x98\x80\"");
	/* C1 controls are controls (0x9b is a terminal's CSI), and so are line separators, in UTF-8 too */
	ESCAPED("\xc2\x9b"
		"2J\xc2\x85",
		"\"\\xc2\\x9b2J\\xc2\\x85\"");
	ESCAPED("\xe2\x80\xa8|\xe2\x80\xa9", "\"\\xe2\\x80\\xa8|\\xe2\\x80\\xa9\"");
	/*
	 * and invalid UTF-8: single octet, truncated, overlong, surrogate, beyond the last code
	 * point
	 */
	ESCAPED("\x9b"
		"2J\xff",
		"\"\\x9b2J\\xff\"");
	ESCAPED("x\xe2\x82", "\"x\\xe2\\x82\"");
	ESCAPED("\xe2\x82z", "\"\\xe2\\x82z\"");
	ESCAPED("\xc0\x8a\xe0\x80\x8a", "\"\\xc0\\x8a\\xe0\\x80\\x8a\"");
	ESCAPED("\xed\xa0\x80\xf4\x90\x80\x80", "\"\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80\"");
}

/* An escape that does not fit is left out as a whole; quotes are always closed. */
static void
test_escape_fits(void **state)
{
	static const char in[] = "ab\"\n\xe2\x82\xac\x80z";
	char whole[64], buf[64];

	(void)state;
	log_escape(in, sizeof(in) - 1, whole, sizeof(whole));
	for (size_t size = 0; size <= sizeof(buf); size++) {
		size_t len;

		memset(buf, '#', sizeof(buf));
		log_escape(in, sizeof(in) - 1, buf, size);
		for (size_t i = size; i < sizeof(buf); i++)
			assert_int_equal(buf[i], '#');
		if (size == 0)
			continue;
		len = strlen(buf);
		assert_true(len < size);
		if (size < 3) {
			assert_int_equal(len, 0);
			continue;
		}
		assert_int_equal(buf[0], '"');
		assert_int_equal(buf[len - 1], '"');
		assert_memory_equal(buf, whole, len - 1);
		assert_true(
			len == strlen(whole) || whole[len - 1] != '\x82'); /* no split character */
		assert_true(len == 2 || buf[len - 2] != '\\');
	}
	assert_string_equal(buf, whole);
}

/* ---- the writer ---- */

#define LOGGERS 4
#define LINES_EACH 3000

/* Makes stderr a pipe of 4,096 octets; returns the read end. */
static int
unread_pipe(void)
{
	int fd[2];

	assert_int_equal(pipe(fd), 0);
	assert_true(fcntl(fd[1], F_SETPIPE_SZ, 4096) == 4096);
	dup2(fd[1], STDERR_FILENO);
	close(fd[1]);
	return fd[0];
}

struct logger {
	pthread_t thread;
	unsigned number;
};

/* Each line has its own site, so that no rate limit applies. */
static void *
logger_run(void *arg)
{
	const struct logger *me = arg;

	for (unsigned i = 0; i < LINES_EACH; i++)
		log_write(&(struct log_site){0}, LOG_INFO, "line logger=%u n=%u", me->number, i);
	return NULL;
}

/* Reads into text[len]; 0 at the end of the pipe. */
static size_t
read_some(int fd, size_t len)
{
	ssize_t n = read(fd, text + len, sizeof(text) - 1 - len);

	assert_true(n >= 0);
	text[len + (size_t)n] = '\0';
	return (size_t)n;
}

static void
read_all(int fd)
{
	size_t len = 0;

	for (size_t n; (n = read_some(fd, len)) > 0;)
		len += n;
}

/*
 * Logging threads end although the pipe is never read. Each line is then written or counted, in the
 * order of its thread.
 */
static void
test_unread(void **state)
{
	struct logger loggers[LOGGERS];
	unsigned next[LOGGERS] = {0}, seen = 0, said = 0, number, n;
	struct log_figures before, f;
	int fd = unread_pipe();
	size_t len = 0;

	(void)state;
	log_figures_get(&before);
	assert_int_equal(log_start(NULL, 0), 0);
	for (unsigned i = 0; i < LOGGERS; i++) {
		loggers[i].number = i;
		assert_int_equal(
			pthread_create(&loggers[i].thread, NULL, logger_run, &loggers[i]), 0);
	}
	for (unsigned i = 0; i < LOGGERS; i++)
		assert_int_equal(pthread_join(loggers[i].thread, NULL), 0);
	log_figures_get(&f);
	assert_true(f.lost - before.lost >= LOGGERS * LINES_EACH - LOG_LINES_MAX - 4096 / 30);
	assert_true(f.waiting > LOG_LINES_MAX / 2 && f.waiting <= LOG_LINES_MAX);
	/* After reading, the notice comes without a new line; the next line follows the notice. */
	do
		len += read_some(fd, len);
	while (strstr(text, "log-lost") == NULL || text[len - 1] != '\n');
	log_write(&(struct log_site){0}, LOG_INFO, "after");
	assert_true(log_end(10000000000u));
	dup2(real_stderr, STDERR_FILENO);
	(void)read_some(fd, len);
	assert_non_null(strstr(text + len, " info after\n"));
	close(fd);
	for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
		const char *at;

		*end = '\0';
		if ((at = strstr(line, " warning log-lost lines=")) != NULL) {
			assert_int_equal(sscanf(at, " warning log-lost lines=%u", &n), 1);
			assert_true(seen > 0);
			said += n;
		} else if ((at = strstr(line, " info line ")) != NULL) {
			assert_int_equal(sscanf(at, " info line logger=%u n=%u", &number, &n), 2);
			assert_true(number < LOGGERS && n >= next[number]);
			next[number] = n + 1;
			seen++;
		}
	}
	assert_true(said > 0);
	log_figures_get(&f);
	assert_int_equal(said, f.lost - before.lost);
	assert_int_equal(seen + said, LOGGERS * LINES_EACH);
	assert_int_equal(f.written - before.written, seen + 1);
	assert_int_equal(f.waiting, 0);
}

/* Lines refused by a full disk are counted; the notice precedes the next line. */
static void
test_full_disk(void **state)
{
	struct log_figures before, f;
	int full = open("/dev/full", O_WRONLY), fd;

	(void)state;
	assert_true(full >= 0);
	dup2(full, STDERR_FILENO);
	close(full);
	log_figures_get(&before);
	assert_int_equal(log_start(NULL, 0), 0);
	for (unsigned i = 0; i < 5; i++)
		log_write(&(struct log_site){0}, LOG_INFO, "line n=%u", i);
	do {
		sched_yield();
		log_figures_get(&f);
	} while (f.waiting > 0);
	fd = unread_pipe();
	log_write(&(struct log_site){0}, LOG_INFO, "room");
	assert_true(log_end(10000000000u));
	dup2(real_stderr, STDERR_FILENO);
	read_all(fd);
	close(fd);
	assert_non_null(strstr(text, " warning log-lost lines=5\n"));
	assert_non_null(strstr(text, " info room\n"));
	assert_true(strstr(text, "log-lost") < strstr(text, "room"));
	log_figures_get(&f);
	assert_int_equal(f.lost - before.lost, 5);
	assert_int_equal(f.written - before.written, 1);
}

/* log_end() writes all queued lines. Later lines are written directly. */
static void
test_end_writes_all(void **state)
{
	int fd = unread_pipe();

	(void)state;
	assert_int_equal(log_start(NULL, 0), 0);
	for (unsigned i = 0; i < 40; i++)
		log_write(&(struct log_site){0}, LOG_INFO, "line n=%u", i);
	assert_true(log_end(10000000000u));
	log_write(&(struct log_site){0}, LOG_INFO, "last");
	dup2(real_stderr, STDERR_FILENO);
	read_all(fd);
	close(fd);
	for (unsigned i = 0; i < 40; i++) {
		char want[32];

		snprintf(want, sizeof(want), " info line n=%u\n", i);
		assert_non_null(strstr(text, want));
	}
	assert_string_equal(text + strlen(text) - 11, " info last\n");
}

/* log_end() returns although the pipe is full; later lines are dropped and counted. */
static void
test_end_gives_up(void **state)
{
	struct log_figures before, f;
	int fd = unread_pipe(), nowhere = open("/dev/null", O_WRONLY);

	(void)state;
	assert_true(nowhere >= 0);
	assert_int_equal(log_start(NULL, 0), 0);
	for (unsigned i = 0; i < 400; i++)
		log_write(&(struct log_site){0}, LOG_INFO, "line n=%u", i);
	assert_false(log_end(10000000));
	log_figures_get(&before);
	for (unsigned i = 0; i < 400; i++)
		log_write(&(struct log_site){0}, LOG_INFO, "line n=%u", i);
	log_figures_get(&f);
	assert_int_equal(f.lost - before.lost, 400);
	dup2(nowhere, STDERR_FILENO);
	close(fd);
	assert_true(log_end(10000000000u)); /* stderr takes lines again */
	dup2(real_stderr, STDERR_FILENO);
	close(nowhere);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_line, begin, end),
		cmocka_unit_test_setup_teardown(test_levels, begin, end),
		cmocka_unit_test_setup_teardown(test_rate, begin, end),
		cmocka_unit_test_setup_teardown(test_long_lines, begin, end),
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_escape_fits),
		cmocka_unit_test_setup_teardown(test_unread, begin, end),
		cmocka_unit_test_setup_teardown(test_full_disk, begin, end),
		cmocka_unit_test_setup_teardown(test_end_writes_all, begin, end),
		cmocka_unit_test_setup_teardown(test_end_gives_up, begin, end),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
