/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs of Keel, which are installed in one folder. */
#pragma once

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The path of a program in the folder of the running program; `name` may begin with ../. 0; -ENOENT: it cannot be run. */
static inline int
beside(const char *name, char path[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *slash;
	size_t room;

	path[n > 0 ? n : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash == NULL)
		return -ENOENT;
	room = (size_t)(path + PATH_MAX - (slash + 1));
	return snprintf(slash + 1, room, "%s", name) < (int)room && access(path, X_OK) == 0
		       ? 0
		       : -ENOENT;
}
