/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small files that a process with rights leaves for its next start, in a folder that a user without
 * rights may own. The user can put any name there, so a name is never followed as a link, and a
 * file of another user is not read.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

/*
 * Writes `bytes` bytes to a new file and renames the new file to `path`: a link or a file at `path`
 * is replaced, and its target does not change. Mode 0600. 0, -errno.
 */
int note_write(const char *path, const char *text, size_t bytes);
/* Opens `path`; NULL: no regular file of this user or of root. */
FILE *note_open(const char *path);
