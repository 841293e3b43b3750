/* SPDX-License-Identifier: BSD-3-Clause */
/* For feed, crowd and probe: the end with a reason, and commands on standard input. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void __attribute__((noreturn)) die(const char *what, int err)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
		strerror(err < 0 ? -err : err));
	exit(1);
}

/* Those that are there, a line each; false: one of them was the last (`command` said so), or whoever started us is gone. */
static inline bool
commands_read(bool (*command)(char *line))
{
	static char buf[4096];
	static size_t len;
	ssize_t n = read(STDIN_FILENO, buf + len, sizeof(buf) - len - 1);
	char *end;

	if (n <= 0)
		return false;
	len += (size_t)n;
	buf[len] = '\0';
	while ((end = strchr(buf, '\n')) != NULL) {
		size_t used = (size_t)(end - buf) + 1;
		bool go_on;

		*end = '\0';
		go_on = command(buf);
		memmove(buf, buf + used, len - used + 1);
		len -= used;
		if (!go_on)
			return false;
	}
	return true;
}
