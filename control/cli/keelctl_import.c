/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * import {bird | frr | vrp} FILE: runs keel-import(1), which is beside keelctl in a build and in an installation.
 * The document goes to standard output, the verdicts of the lines go to standard error.
 */
#include "control/cli/keelctl.h"

#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM "keel-import"

/* The path of the program beside this one. Cuts a path that is too long, and the program is not found. */
static void
program_path(char path[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof(PROGRAM));
	char *name;

	path[n > 0 ? n : 0] = '\0';
	name = strrchr(path, '/');
	strcpy(name != NULL ? name + 1 : path, PROGRAM);
}

void
import_command(struct ctl *ctl, const struct command *c)
{
	char path[PATH_MAX],
		*argv[] = {path, (char *)(size_t)c->dialect, (char *)(size_t)c->file, NULL};
	int err, status = 0;
	pid_t child;

	program_path(path);
	fflush(stdout);
	err = posix_spawn(&child, path, NULL, NULL, argv, environ);
	if (err != 0) {
		ctl_fail(ctl, EXIT_REFUSED, "%s: %s", path, strerror(err));
		return;
	}
	/* Ctrl-C ends the child, and the wait goes on until it has ended */
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	ctl->status = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_REFUSED;
}
