/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/http/front.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union control {
	char room[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

int
front_send(int fd, const struct front_message *m, int passed)
{
	struct iovec part = {(void *)(uintptr_t)m, sizeof(*m)};
	union control control = {0};
	struct msghdr h = {.msg_iov = &part, .msg_iovlen = 1};
	struct cmsghdr *c;

	if (passed >= 0) {
		h.msg_control = control.room;
		h.msg_controllen = sizeof(control.room);
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(passed));
		memcpy(CMSG_DATA(c), &passed, sizeof(passed));
	}
	return sendmsg(fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 ? 0 : -errno;
}

int
front_receive(int fd, struct front_message *m, int *passed)
{
	struct iovec part = {m, sizeof(*m)};
	union control control;
	struct msghdr h = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.room,
		/* of one descriptor: the kernel closes further ones */
		.msg_controllen = CMSG_LEN(sizeof(*passed))};
	ssize_t n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *c;

	*passed = -1;
	if (n < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&h);
	if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(passed, CMSG_DATA(c), sizeof(*passed));
	if (n != (ssize_t)sizeof(*m))
		return -EPIPE;
	m->from[FRONT_ADDRESS_MAX] = m->token[FRONT_TOKEN_MAX] = '\0';
	return 0;
}
