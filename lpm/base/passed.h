/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages with descriptors over a Unix socket (SCM_RIGHTS). Any thread. */
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#define PASSED_MAX 128 /* descriptors of a message */

/* `fds` stay open here. Returns the octets, or -errno. */
ssize_t passed_send(int fd, const struct iovec *parts, unsigned part_count, const int *fds,
	unsigned fd_count, int flags);
/*
 * Descriptors beyond `fd_max` are closed, and all after an error. Returns the octets, or -errno; -EMFILE: no
 * room in this process for the descriptors; -EMSGSIZE: the message is longer than `parts`.
 */
ssize_t passed_receive(int fd, struct iovec *parts, unsigned part_count, int *fds, unsigned fd_max,
	unsigned *fd_count, int flags);
