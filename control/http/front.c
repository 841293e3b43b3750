/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/http/front.h"

#include "lpm/base/passed.h"

#include <errno.h>
#include <sys/uio.h>

int
front_send(int fd, const struct front_message *m, int passed)
{
	struct iovec part = {(void *)(uintptr_t)m, sizeof(*m)};
	ssize_t n = passed_send(fd, &part, 1, &passed, passed >= 0, MSG_DONTWAIT);

	return n >= 0 ? 0 : (int)n;
}

int
front_receive(int fd, struct front_message *m, int *passed)
{
	struct iovec part = {m, sizeof(*m)};
	unsigned count;
	ssize_t n = passed_receive(fd, &part, 1, passed, 1, &count, MSG_DONTWAIT);

	if (count == 0)
		*passed = -1;
	if (n < 0)
		return (int)n;
	if (n != (ssize_t)sizeof(*m))
		return -EPIPE;
	m->from[FRONT_ADDRESS_MAX] = m->token[FRONT_TOKEN_MAX] = '\0';
	return 0;
}
