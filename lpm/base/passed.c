/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/base/passed.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

union control {
	char room[CMSG_SPACE(PASSED_MAX * sizeof(int))];
	struct cmsghdr align;
};

ssize_t
passed_send(int fd, const struct iovec *parts, unsigned part_count, const int *fds,
	unsigned fd_count, int flags)
{
	union control control = {0};
	struct msghdr h = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = part_count};
	ssize_t n;

	if (fd_count > PASSED_MAX)
		return -E2BIG;
	if (fd_count > 0) {
		struct cmsghdr *c;

		h.msg_control = control.room;
		h.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
	}
	do
		n = sendmsg(fd, &h, MSG_NOSIGNAL | flags);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Takes the descriptors of a message; closes those without room. */
static unsigned
take(struct msghdr *h, int *fds, unsigned fd_max)
{
	unsigned count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0;
			c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && i < n; i++) {
			int got;

			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(got));
			if (count < fd_max)
				fds[count++] = got;
			else
				(void)close(got);
		}
	}
	return count;
}

ssize_t
passed_receive(int fd, struct iovec *parts, unsigned part_count, int *fds, unsigned fd_max,
	unsigned *fd_count, int flags)
{
	union control control;
	struct msghdr h = {.msg_iov = parts,
		.msg_iovlen = part_count,
		.msg_control = control.room,
		.msg_controllen = sizeof(control.room)};
	ssize_t n;

	*fd_count = 0;
	do
		n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC | flags);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	*fd_count = take(&h, fds, fd_max);
	if (!(h.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return n;
	for (; *fd_count > 0; --*fd_count)
		(void)close(fds[*fd_count - 1]);
	return h.msg_flags & MSG_CTRUNC ? -EMFILE : -EMSGSIZE;
}
