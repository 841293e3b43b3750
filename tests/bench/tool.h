/* SPDX-License-Identifier: BSD-3-Clause */
/* For feed, crowd and probe: the end with a reason, and commands on standard input. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
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

/* Runs the available commands, a line each. False: the last command (`command` returned false), or the parent has closed the pipe. */
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

/* ---- options ---- */

struct tool_option {
	const char *name; /* without -- */
	enum { OPTION_TEXT, OPTION_U16, OPTION_U32, OPTION_U64, OPTION_FLAG } kind;
	void *value; /* const char *, uint16_t, ... or (FLAG, which takes no argument) bool */
};

static inline void
option_set(const struct tool_option *o, const char *text)
{
	unsigned long long n =
		o->kind == OPTION_TEXT || o->kind == OPTION_FLAG ? 0 : strtoull(text, NULL, 10);

	switch (o->kind) {
	case OPTION_TEXT:
		*(const char **)o->value = text;
		break;
	case OPTION_U16:
		*(uint16_t *)o->value = (uint16_t)n;
		break;
	case OPTION_U32:
		*(uint32_t *)o->value = (uint32_t)n;
		break;
	case OPTION_U64:
		*(uint64_t *)o->value = n;
		break;
	case OPTION_FLAG:
		*(bool *)o->value = true;
		break;
	}
}

/* Ends the program (2) on an unknown option or a missing argument. */
static inline void
options_read(int argc, char **argv, const struct tool_option *option, unsigned count)
{
	for (int i = 1; i < argc; i++) {
		const struct tool_option *o = NULL;

		for (unsigned k = 0; k < count; k++) {
			if (strncmp(argv[i], "--", 2) == 0 &&
				strcmp(argv[i] + 2, option[k].name) == 0)
				o = &option[k];
		}
		if (o == NULL || (o->kind != OPTION_FLAG && i + 1 == argc)) {
			fprintf(stderr, "%s: %s is no option, or lacks its argument\n",
				program_invocation_short_name, argv[i]);
			exit(2);
		}
		option_set(o, o->kind == OPTION_FLAG ? NULL : argv[++i]);
	}
}
