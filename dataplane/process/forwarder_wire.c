/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/process/forwarder_wire.h"

#include "dataplane/port/port_inner.h"
#include "dataplane/forward/worker_struct.h"
#include "lpm/compact.h"
#include "lpm/fib_read.h"
#include "lpm/base/qsbr.h"
#include "lpm/range_table.h"
#include "lpm/shared_tables.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t
forwarder_abi(void)
{
	const size_t parts[] = {
		FORWARDER_ABI,
		sizeof(struct forwarder_message),
		sizeof(struct worker),
		offsetof(struct worker, fib),
		offsetof(struct worker, cpu),
		sizeof(struct worker_stats),
		DROP_COUNT,
		PORTS_MAX,
		port_layout(),
		sizeof(struct fib_reader),
		sizeof(struct range_table),
		sizeof(struct fib_generation),
		FIB_VRF_MAX,
		sizeof(struct path_list),
		sizeof(struct path_list_far),
		sizeof(struct path),
		sizeof(struct adjacency),
		sizeof(struct label_reader),
		sizeof(struct compact),
		sizeof(struct tunnel_reader),
	};
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		h = (h ^ parts[i]) * 0x100000001b3;
	return h;
}

unsigned long
forwarder_home(void)
{
	struct stat s;

	return stat("/proc/self/ns/net", &s) == 0 ? (unsigned long)s.st_ino : 0;
}

/* True if the bytes lie inside the region; `align` is a power of two. */
static bool
inside(uint64_t address, size_t align, size_t bytes, const void *region, size_t region_bytes)
{
	uint64_t base = (uintptr_t)region;

	return address % align == 0 && address >= base && bytes <= region_bytes &&
	       address - base <= region_bytes - bytes;
}

bool
forwarder_publish_inside(const struct forwarder_publish *p, const void *region, size_t region_bytes)
{
	unsigned readers = 0;

	if (p->worker_count > sizeof(p->reader) / sizeof(p->reader[0]))
		return false;
	for (unsigned i = 0; i < p->worker_count; i++) {
		if (p->reader[i] >= QSBR_READERS_MAX)
			return false;
		readers = p->reader[i] >= readers ? p->reader[i] + 1 : readers;
	}
	return inside(p->fib, alignof(struct fib_reader), sizeof(struct fib_reader), region,
		       region_bytes) &&
	       inside(p->path_lists, alignof(void *), path_lists_bytes(), region, region_bytes) &&
	       inside(p->qsbr, CACHE_LINE, qsbr_bytes(readers), region, region_bytes);
}

int
forwarder_send(int fd, const struct forwarder_message *m, size_t body, const void *tail,
	size_t tail_bytes, const int *fds, unsigned fd_count)
{
	union {
		char room[CMSG_SPACE(FORWARDER_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec part[2] = {
		{.iov_base = (void *)(uintptr_t)m, .iov_len = sizeof(m->head) + body},
		{.iov_base = (void *)(uintptr_t)tail, .iov_len = tail_bytes}};
	struct msghdr h = {.msg_iov = part, .msg_iovlen = tail_bytes > 0 ? 2 : 1};
	ssize_t n;

	if (fd_count > 0) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		h.msg_control = control.room;
		h.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
	}
	do
		n = sendmsg(fd, &h, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* Takes the descriptors of a message; closes those without room. */
static unsigned
take_descriptors(struct msghdr *h, int *fds, unsigned fd_max)
{
	unsigned count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
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

int
forwarder_receive(int fd, struct forwarder_message *m, size_t *body, void *tail, size_t tail_max,
	size_t *tail_bytes, int *fds, unsigned fd_max, unsigned *fd_count)
{
	union {
		char room[CMSG_SPACE(FORWARDER_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec part[2] = {
		{.iov_base = m, .iov_len = sizeof(*m)}, {.iov_base = tail, .iov_len = tail_max}};
	struct msghdr h = {.msg_iov = part,
		.msg_iovlen = tail_max > 0 ? 2 : 1,
		.msg_control = control.room,
		.msg_controllen = sizeof(control.room)};
	unsigned got;
	ssize_t n;

	do
		n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	got = take_descriptors(&h, fds, fd_max);
	if (fd_count != NULL)
		*fd_count = got;
	if (n == 0)
		return -EPIPE;
	if ((size_t)n < sizeof(m->head) || (h.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
		m->head.magic != FORWARDER_MAGIC) {
		for (unsigned i = 0; i < got; i++)
			(void)close(fds[i]);
		if (fd_count != NULL)
			*fd_count = 0;
		return h.msg_flags & MSG_CTRUNC ? -EMFILE : -EPROTO;
	}
	*body = (size_t)n < sizeof(*m) ? (size_t)n - sizeof(m->head) : sizeof(*m) - sizeof(m->head);
	if (tail_bytes != NULL)
		*tail_bytes = (size_t)n > sizeof(*m) ? (size_t)n - sizeof(*m) : 0;
	return 0;
}
