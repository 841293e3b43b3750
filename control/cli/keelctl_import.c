/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * import {bird | frr | vrp} FILE: runs keel-import(1), which is beside keelctl in a build and in an installation.
 * The document goes to standard output, the verdicts of the lines go to standard error.
 */
#include "control/cli/keelctl.h"

#include "lpm/base/beside.h"

#include <errno.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void
import_command(struct ctl *ctl, const struct command *c)
{
	char path[PATH_MAX], *argv[] = {path, (char *)(size_t)keyword(c, "bird|frr|vrp"),
				     (char *)(size_t)arg(c, "file"), NULL};
	int err, status = 0;
	pid_t child;

	fflush(stdout);
	err = beside("keel-import", path) == 0
		      ? posix_spawn(&child, path, NULL, NULL, argv, environ)
		      : ENOENT;
	if (err != 0) {
		ctl_fail(ctl, EXIT_REFUSED, "%s: %s", path, strerror(err));
		return;
	}
	/* Ctrl-C ends the child, and the wait goes on until it has ended */
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	ctl->status = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_REFUSED;
}
